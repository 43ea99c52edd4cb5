-- Bulk enrolment: many people into many courses by one call, each row for itself, and what waits for the invited.
-- Undo: drop function lms.enroll_in_bulk; drop trigger _600_enroll_promised on lms.invitations; drop table
-- lms.pending_enrollments; then types and functions below; take the first branch out of private.begin_enrollment, and the
-- call of private.hold_promised_courses out of private.accept_invitation_of_caller.

set lock_timeout = '5s';
set statement_timeout = '60s';

create type lms.bulk_row_result as (
  row integer, outcome text, code text, message text, details jsonb, user_id uuid, course_id uuid, enrollment_id uuid
);
comment on type lms.bulk_row_result is
  'What became of one row. `row`: as the row says, else its place from 1. `outcome`: enrolled, already_enrolled, invited or '
  'refused; of a dry run would_enroll, already_enrolled, would_invite or refused. `code`, `message` and `details` say why.';

-- =====================================================================================================
-- What waits for the invited
-- =====================================================================================================

create table lms.pending_enrollments (
  id uuid primary key default private.uuid_v7(),
  tenant_id uuid not null,
  invitation_id uuid not null,
  course_id uuid not null,
  due_at timestamptz,
  expires_at timestamptz,
  status text not null default 'pending'
    constraint pending_enrollment_status_is_known check (status in ('pending', 'enrolled', 'refused')),
  reasons jsonb,
  settled_at timestamptz,
  created_by uuid,
  created_at timestamptz not null default now(),
  constraint one_pending_enrollment_per_invitation_and_course unique (invitation_id, course_id),
  constraint pending_enrollment_invitation_is_of_the_same_tenant foreign key (tenant_id, invitation_id)
    references lms.invitations (tenant_id, id) on delete cascade,
  constraint pending_enrollment_course_is_of_the_same_tenant foreign key (tenant_id, course_id)
    references lms.courses (tenant_id, id),
  constraint pending_enrollment_is_settled_exactly_when_it_has_ended check ((status = 'pending') = (settled_at is null)),
  constraint pending_due_and_expiry_dates_are_finite check (isfinite(due_at) and isfinite(expires_at))
);
create index pending_enrollments_by_invitation on lms.pending_enrollments (tenant_id, invitation_id);
create index pending_enrollments_by_course on lms.pending_enrollments (tenant_id, course_id);
create index pending_enrollments_by_course_alone on lms.pending_enrollments (course_id);

comment on table lms.pending_enrollments is
  'Enrolments of people who have been invited and have not come yet. They begin when the invitation is accepted, and go '
  'with it when it is removed.';
comment on column lms.pending_enrollments.status is
  'pending; enrolled when the invitation was accepted; refused when something stood in the way by then.';
comment on column lms.pending_enrollments.reasons is 'Why it was refused: [{code, message, details}].';
comment on column lms.pending_enrollments.created_by is
  'Whose right it is: without it when the person comes, nobody is enrolled. Null for the service.';

-- =====================================================================================================
-- Reading rows
-- =====================================================================================================

-- `line`: the row's place in the call. `fault`: {code, message, details}, why it goes no further.
create type private.bulk_row as (
  line integer, row_number integer, user_id uuid, email text, employee_number text, course_id uuid, course_slug text,
  unit_code text, due_at timestamptz, expires_at timestamptz, person_id uuid, fault jsonb
);

-- An instant, or a day, of which the last second is meant. By pattern first: the cast alone takes 'tomorrow', 'infinity' and
-- dates whose order of day and month depends on the server's settings.
create function private.read_instant(p_text text, p_time_zone text)
returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
begin
  if p_text ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$' then
    return (p_text::date + time '23:59:59') at time zone p_time_zone;
  elsif p_text ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?([Zz]|[+-][0-9]{2}:?[0-9]{2})$' then
    return p_text::timestamptz;
  end if;
  return null;
exception
  when data_exception then
    return null;
end
$$;

-- All rows by one query: 10,000 calls of a function would take longer than enrolling.
create function private.parse_bulk_rows(p_rows jsonb, p_time_zone text)
returns setof private.bulk_row
language plpgsql
stable
set search_path = ''
as $$
declare
  known constant text[] := array[
    'row', 'user_id', 'email', 'employee_number', 'course_id', 'course_slug', 'unit_code', 'due_at', 'expires_at'
  ];
  -- Also the no-break space and the byte order mark, which spreadsheets leave behind.
  blanks constant text := E' \t\r\n\u00a0\ufeff';
  is_uuid constant text := '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$';
begin
  return query
  select
    e.ordinality::integer,
    case when jsonb_typeof(o.r -> 'row') = 'number' and (o.r ->> 'row') ~ '^[0-9]{1,9}$' then (o.r ->> 'row')::integer
      else e.ordinality::integer end,
    case when t.user_id ~ is_uuid then t.user_id::uuid end,
    t.email, t.employee_number,
    case when t.course_id ~ is_uuid then t.course_id::uuid end,
    t.course_slug, t.unit_code, d.due_at, d.expires_at, null::uuid,
    case
      when jsonb_typeof(e.value) <> 'object' then private.import_fault('not_an_object', 'A row is an object of texts.')
      when o.r - known <> '{}' then private.import_fault(
        'unknown_column', 'There is no such column.',
        jsonb_build_object('columns', (select jsonb_agg(left(c, 60)) from jsonb_object_keys(o.r - known) c), 'known', known)
      )
      -- Strict: the lax way looks into a list, and finds texts.
      when (o.r - 'row') @? 'strict $.* ? (@.type() != "string" && @.type() != "null")' then
        private.import_fault('not_text', 'A value is not a text.')
      when o.r ? 'row' and (jsonb_typeof(o.r -> 'row') <> 'number' or (o.r ->> 'row') !~ '^[0-9]{1,9}$') then
        private.import_fault('invalid_row', 'row is a whole number.')
      when t.user_id is null and t.email is null and t.employee_number is null then
        private.import_fault('person_missing', 'The row names nobody: user_id, email or employee_number.')
      when t.course_id is null and t.course_slug is null then
        private.import_fault('course_missing', 'The row names no course: course_id or course_slug.')
      when t.user_id !~ is_uuid then
        private.import_fault('invalid_id', 'The value is not a UUID.', jsonb_build_object('column', 'user_id'))
      when t.course_id !~ is_uuid then
        private.import_fault('invalid_id', 'The value is not a UUID.', jsonb_build_object('column', 'course_id'))
      when (t.due_at is not null and d.due_at is null) or (t.expires_at is not null and d.expires_at is null) then
        private.import_fault(
          'invalid_date', 'A date is YYYY-MM-DD, or a time with its offset such as 2031-05-01T08:00:00Z.',
          jsonb_build_object('column', case when t.due_at is not null and d.due_at is null then 'due_at' else 'expires_at' end)
        )
      -- It would have run out at once, and the next run of the same list would enrol again.
      when d.expires_at <= now() then
        private.import_fault('invalid_date', 'The enrolment would have run out already.', jsonb_build_object('column', 'expires_at'))
    end
  from jsonb_array_elements(p_rows) with ordinality as e
  cross join lateral (select case jsonb_typeof(e.value) when 'object' then e.value else '{}' end as r) o
  cross join lateral (
    select
      lower(nullif(btrim(o.r ->> 'user_id', blanks), '')) as user_id,
      lower(nullif(btrim(o.r ->> 'email', blanks), '')) as email,
      nullif(btrim(o.r ->> 'employee_number', blanks), '') as employee_number,
      lower(nullif(btrim(o.r ->> 'course_id', blanks), '')) as course_id,
      lower(nullif(btrim(o.r ->> 'course_slug', blanks), '')) as course_slug,
      nullif(btrim(o.r ->> 'unit_code', blanks), '') as unit_code,
      nullif(btrim(o.r ->> 'due_at', blanks), '') as due_at,
      nullif(btrim(o.r ->> 'expires_at', blanks), '') as expires_at
    offset 0
  ) t
  cross join lateral (
    select
      case when t.due_at is not null then private.read_instant(t.due_at, p_time_zone) end as due_at,
      case when t.expires_at is not null then private.read_instant(t.expires_at, p_time_zone) end as expires_at
    offset 0
  ) d;
end
$$;

-- Which course is meant, read as the caller: one that they do not see does not exist for them.
create function private.find_bulk_courses(p_tenant_id uuid, p_rows private.bulk_row[])
returns private.bulk_row[]
language plpgsql
stable
set search_path = ''
-- Plans that know how many rows there are: without, ten are assumed, and each of thousands compared with each of thousands.
set plan_cache_mode = force_custom_plan
set jit = off
as $$
begin
  return array(
    with visible as materialized (
      select c.id, c.slug::text as slug
      from lms.courses c
      where c.tenant_id = p_tenant_id and (
        c.id = any (array(select r.course_id from unnest(p_rows) r where r.course_id is not null))
        or c.slug = any (array(select r.course_slug from unnest(p_rows) r where r.course_slug is not null))
      )
    )
    select (
      r.line, r.row_number, r.user_id, r.email, r.employee_number, coalesce(i.id, s.id), r.course_slug, r.unit_code, r.due_at,
      r.expires_at, r.person_id,
      case
        when r.fault is not null then r.fault
        when (r.course_id is not null and i.id is null) or (r.course_slug is not null and s.id is null) then
          private.import_fault('course_not_found', 'There is no such course.')
        when i.id <> s.id then
          private.import_fault('course_ambiguous', 'course_id and course_slug are of two courses.')
      end
    )::private.bulk_row
    from unnest(p_rows) r
    left join visible i on i.id = r.course_id
    left join visible s on s.slug = r.course_slug
    order by r.line
  );
end
$$;

-- Who is meant: every identifier of the row has to lead to the same person. Definer, because row level security would hide
-- addresses from every index; so it looks only at people whom the caller may see with their number and address, as the
-- policies of memberships and of the private part say, and only an id is taken for what it is: about others nothing follows
-- from it. A guest let themselves in, so their address counts only once it is confirmed: or whoever signs up with somebody
-- else's would be enrolled for them.
create function private.find_bulk_people(p_tenant_id uuid, p_rows private.bulk_row[])
returns private.bulk_row[]
language plpgsql
stable security definer
set search_path = ''
set plan_cache_mode = force_custom_plan
set jit = off
as $$
declare
  v_everywhere constant boolean := not private.is_api_call()
    or p_tenant_id = any (array(select private.tenants_where('members.read')));
  v_units constant uuid[] := array(select private.units_where('members.read'));
begin
  return array(
    select (
      r.line, r.row_number, r.user_id, r.email, r.employee_number, r.course_id, r.course_slug, r.unit_code, r.due_at,
      r.expires_at, who.person_id,
      case
        when r.fault is not null then r.fault
        when (r.employee_number is not null and n.user_id is null) or (r.email is not null and a.user_ids is null) then
          private.import_fault('person_not_found', 'There is no such person among those you may see.')
        when who.person_id <> n.user_id or not who.person_id = any (a.user_ids)
          or (r.user_id is null and n.user_id is null and cardinality(a.user_ids) > 1)
        then private.import_fault('person_ambiguous', 'What the row says fits more than one person.')
      end
    )::private.bulk_row
    from unnest(p_rows) r
    left join lateral (
      select m.user_id
      from lms.memberships m
      where m.tenant_id = p_tenant_id and m.employee_number = r.employee_number
        and (v_everywhere or m.unit_id = any (v_units))
    ) n on r.fault is null and r.employee_number is not null
    left join lateral (
      select array_agg(m.user_id) as user_ids
      from public.profile_private p
      join lms.memberships m on m.tenant_id = p_tenant_id and m.user_id = p.profile_id
      where lower(p.email) = r.email and m.status <> 'ended'
        and (v_everywhere or m.unit_id = any (v_units))
        and (not m.is_guest or exists (
          select from auth.users u where u.id = m.user_id and u.email_confirmed_at is not null and u.is_sso_user = false
        ))
    ) a on r.fault is null and r.email is not null
    cross join lateral (select coalesce(r.user_id, n.user_id, a.user_ids[1]) as person_id) who
    order by r.line
  );
end
$$;

-- =====================================================================================================
-- What stands in the way, for many at once
-- =====================================================================================================

create type private.bulk_pair as (line integer, course_id uuid, user_id uuid);
create type private.bulk_verdict as (
  line integer, course_id uuid, user_id uuid, unit_id uuid, open_enrollment_id uuid, reasons lms.eligibility_reason[]
);

-- INV-E3: what private.enrollment_obstacles says of people whom staff enrols, asked for each pair in the order of lines, with
-- those before it enrolled where nothing stood in the way. A few statements instead of six for each pair; that both agree,
-- pair by pair, is tested.
create function private.bulk_obstacles(p_pairs private.bulk_pair[])
returns setof private.bulk_verdict
language plpgsql
stable
set search_path = ''
set plan_cache_mode = force_custom_plan
set jit = off
as $$
begin
  return query
  with courses as materialized (
    select
      w.course_id, c.id, c.tenant_id, c.status, c.visibility, c.capacity, t.is_active,
      case when c.capacity is not null then private.count_taken_seats(c.id) end as taken
    from (select distinct p.course_id from unnest(p_pairs) p) w
    left join lms.courses c on c.id = w.course_id and c.deleted_at is null
    left join lms.tenants t on t.id = c.tenant_id
  ),
  asked as (
    select
      p.line, p.course_id, p.user_id, m.unit_id, e.id as open_id, c.capacity, c.taken,
      case when not c.is_active then array[
        ('tenant_inactive', 'The organisation is not active.', null)::lms.eligibility_reason
      ] end
      || case when c.status is distinct from 'published' then array[
        ('not_published', 'The course is not published.', jsonb_build_object('status', c.status))::lms.eligibility_reason
      ] end
      || case
        when m.status = 'suspended' then array[
          ('membership_suspended', 'The membership is suspended.', null)::lms.eligibility_reason
        ]
        when m.status = 'ended'
          or (m.id is null and not (c.visibility is not distinct from 'public' and private.is_asking(p.course_id, p.user_id)))
        then array[('not_a_member', 'The person is not a member of the organisation.', null)::lms.eligibility_reason]
      end
      || case when e.id is not null then array[(
        'already_enrolled', 'There is an open enrolment already.',
        case when m.status <> 'suspended' then jsonb_build_object('enrollment_id', e.id) end
      )::lms.eligibility_reason] end as reasons
    from unnest(p_pairs) p
    join courses c on c.course_id = p.course_id
    left join lms.memberships m on m.tenant_id = c.tenant_id and m.user_id = p.user_id
    left join lms.enrollments e on e.user_id = p.user_id and e.course_id = p.course_id
      and e.status in ('enrolled', 'in_progress', 'paused') and (e.expires_at is null or e.expires_at > now())
  ),
  counted as (
    select
      a.*,
      -- INV-E4: seats are given in the order of lines, and only as many as there are.
      a.capacity - a.taken <= count(*) filter (where a.reasons is null) over (
        partition by a.course_id order by a.line rows between unbounded preceding and 1 preceding
      ) as is_full
    from asked a
  )
  select
    c.line, c.course_id, c.user_id, c.unit_id, c.open_id,
    coalesce(c.reasons || case when c.is_full then array[
      ('capacity_full', 'All places are taken.', jsonb_build_object('capacity', c.capacity))::lms.eligibility_reason
    ] end, '{}')
  from counted c;
end
$$;

-- =====================================================================================================
-- Beginning many cycles
-- =====================================================================================================

-- Puts in place what private.admit_enrollment would for each, for pairs of which nothing stands in the way and whose courses
-- and memberships are held. Returns the verdicts with the ids of the new enrolments as open_enrollment_id, or with the reason
-- why a row could not be written: the other rows are.
create function private.begin_enrollments(
  p_verdicts private.bulk_verdict[], p_rows private.bulk_row[], p_source text, p_enrolled_by uuid,
  p_enrolled_at timestamptz default now()
)
returns setof private.bulk_verdict
language plpgsql
volatile
set search_path = ''
set plan_cache_mode = force_custom_plan
set jit = off
as $$
declare
  v_course_id uuid;
  v_begun private.bulk_verdict[];
  v_verdict private.bulk_verdict;
  v_state text;
  v_message text;
  v_constraint text;
  v_fault jsonb;
begin
  if cardinality(p_verdicts) = 0 then
    return;
  end if;
  -- The service may have put a course in place without publishing it: what it holds now is then the first version.
  for v_course_id in
    select distinct v.course_id
    from unnest(p_verdicts) v
    where not exists (select from lms.course_versions o where o.course_id = v.course_id)
    order by v.course_id
  loop
    perform private.freeze_course(v_course_id);
  end loop;

  begin
    -- The date is the fact: an open cycle that has run out makes room for the next one.
    update lms.enrollments e
    set status = 'expired', expired_at = e.expires_at
    from unnest(p_verdicts) v
    where e.user_id = v.user_id and e.course_id = v.course_id
      and e.status in ('enrolled', 'in_progress', 'paused') and e.expires_at <= now();

    perform set_config('lyceum.admitted', 'true', true);
    with versions as materialized (
      select c.course_id, l.id, l.tenant_id, l.items_total
      from (select distinct v.course_id from unnest(p_verdicts) v) c
      cross join lateral private.latest_version(c.course_id) l
    ),
    begun as (
      insert into lms.enrollments (
        tenant_id, course_id, version_id, user_id, unit_id, cycle, source, enrolled_by, enrolled_at, due_at, expires_at,
        items_total
      )
      select
        l.tenant_id, v.course_id, l.id, v.user_id, v.unit_id,
        (
          select coalesce(max(e.cycle), 0) + 1
          from lms.enrollments e
          where e.user_id = v.user_id and e.course_id = v.course_id
        ),
        p_source, p_enrolled_by, p_enrolled_at, r.due_at, r.expires_at, l.items_total
      from unnest(p_verdicts) v
      join unnest(p_rows) r on r.line = v.line
      join versions l on l.course_id = v.course_id
      order by v.course_id, v.user_id
      returning id, course_id, user_id
    )
    select array_agg((v.line, v.course_id, v.user_id, v.unit_id, b.id, '{}')::private.bulk_verdict) into v_begun
    from unnest(p_verdicts) v
    left join begun b on b.course_id = v.course_id and b.user_id = v.user_id;
    perform set_config('lyceum.admitted', '', true);
    -- Not before now: what was returned is not taken back when the statement fails.
    return query select * from unnest(v_begun);
    return;
  exception
    when others then
      get stacked diagnostics v_state = returned_sqlstate, v_message = message_text, v_constraint = constraint_name;
      -- What passes is for the whole call to be tried again; the rest is the fault of some row, found by going through them.
      if v_state like '40%' or v_state like '53%' or v_state like '55%' or v_state like '57%' then
        raise;
      end if;
  end;

  if cardinality(p_verdicts) = 1 then
    v_verdict := p_verdicts[1];
    v_fault := private.describe_failure(v_state, v_message, v_constraint);
    v_verdict.reasons := array[
      (v_fault ->> 'code', v_fault ->> 'message', v_fault -> 'details')::lms.eligibility_reason
    ];
    return next v_verdict;
    return;
  end if;
  -- Halves: one bad row among a thousand costs ten more statements, not a thousand.
  return query select * from private.begin_enrollments(
    p_verdicts[:cardinality(p_verdicts) / 2], p_rows, p_source, p_enrolled_by, p_enrolled_at
  );
  return query select * from private.begin_enrollments(
    p_verdicts[cardinality(p_verdicts) / 2 + 1:], p_rows, p_source, p_enrolled_by, p_enrolled_at
  );
end
$$;

-- Definer, because enrolments get most of their columns from the server; so it checks its caller for each row, after
-- the membership is locked: whose unit it is may have changed until then. Locks as everything that enrols: courses,
-- memberships, enrolments, each in the order of ids.
create function private.enroll_bulk_rows(p_tenant_id uuid, p_rows private.bulk_row[], p_dry_run boolean)
returns lms.bulk_row_result[]
language plpgsql
volatile security definer
set search_path = ''
set plan_cache_mode = force_custom_plan
set jit = off
as $$
declare
  v_caller constant uuid := case when private.is_api_call() then (select auth.uid()) end;
  v_everywhere constant boolean := not private.is_api_call()
    or p_tenant_id = any (array(select private.tenants_where('enrollments.write')));
  v_units constant uuid[] := array(select private.units_where('enrollments.write'));
  v_staffed constant uuid[] := array(select private.staffed_courses());
  v_people uuid[];
  v_course_id uuid;
  v_pairs private.bulk_pair[];
  v_verdicts private.bulk_verdict[];
  v_own private.bulk_row;
  v_enrollment_id uuid;
  v_reasons lms.eligibility_reason[];
begin
  if not p_dry_run then
    for v_course_id in
      select distinct r.course_id from unnest(p_rows) r where r.fault is null order by r.course_id
    loop
      perform private.hold_course(v_course_id);
    end loop;
    v_people := array(
      select r.person_id
      from unnest(p_rows) r
      left join lms.memberships m on m.tenant_id = p_tenant_id and m.user_id = r.person_id
      where r.fault is null
        and (v_everywhere or r.course_id = any (v_staffed) or m.unit_id = any (v_units) or r.person_id = v_caller)
    );
    perform from lms.memberships m
    where m.tenant_id = p_tenant_id and m.user_id = any (v_people)
    order by m.user_id
    for no key update;
  end if;

  p_rows := array(
    select (
      r.line, r.row_number, r.user_id, r.email, r.employee_number, r.course_id, r.course_slug, r.unit_code, r.due_at,
      r.expires_at, r.person_id,
      case
        when r.fault is not null then r.fault
        when c.id is null then private.import_fault('course_not_found', 'There is no such course.')
        when not (v_everywhere or r.course_id = any (v_staffed) or coalesce(m.unit_id = any (v_units), false))
          and (r.person_id is distinct from v_caller or r.due_at is not null or r.expires_at is not null)
        then private.import_fault(
          'out_of_scope', 'Enrolling this person takes enrollments.write in their unit, or being staff of the course.'
        )
      end
    )::private.bulk_row
    from unnest(p_rows) r
    left join lms.courses c on c.id = r.course_id and c.tenant_id = p_tenant_id
    left join lms.memberships m on m.tenant_id = p_tenant_id and m.user_id = r.person_id
    order by r.line
  );
  p_rows := array(
    select (
      r.line, r.row_number, r.user_id, r.email, r.employee_number, r.course_id, r.course_slug, r.unit_code, r.due_at,
      r.expires_at, r.person_id,
      coalesce(r.fault, case when r.first_row is not null then private.import_fault(
        'duplicate_row', 'An earlier row says the same.', jsonb_build_object('row', r.first_row)
      ) end)
    )::private.bulk_row
    from (
      select
        o.*,
        case when o.fault is null and row_number() over same > 1 then first_value(o.row_number) over same end as first_row
      from unnest(p_rows) o
      window same as (partition by o.fault is null, o.person_id, o.course_id order by o.line)
    ) r
    order by r.line
  );

  v_pairs := array(
    select (r.line, r.course_id, r.person_id)::private.bulk_pair
    from unnest(p_rows) r
    where r.fault is null and r.person_id is distinct from v_caller
    order by r.line
  );
  v_verdicts := array(select v from private.bulk_obstacles(v_pairs) v);
  if not p_dry_run then
    -- Being let into a public course that one has asked for is one of the ways to belong, as a guest.
    insert into lms.memberships (tenant_id, user_id, is_guest)
    select distinct p_tenant_id, v.user_id, true
    from unnest(v_verdicts) v
    where cardinality(v.reasons) = 0 and not exists (
      select from lms.memberships m where m.tenant_id = p_tenant_id and m.user_id = v.user_id
    )
    order by v.user_id
    on conflict (tenant_id, user_id) do nothing;
    v_verdicts := array(select v from unnest(v_verdicts) v where cardinality(v.reasons) > 0) || array(
      select b
      from private.begin_enrollments(
        array(select v from unnest(v_verdicts) v where cardinality(v.reasons) = 0), p_rows, 'bulk', v_caller
      ) b
    );
  end if;

  -- Whoever names themselves enrols themselves, by the rules for that, after those whom they assign.
  for v_own in
    select r.* from unnest(p_rows) r where r.fault is null and r.person_id = v_caller order by r.line
  loop
    v_enrollment_id := null;
    v_reasons := array(select o from private.enrollment_obstacles(v_own.course_id, v_caller, true) o);
    if cardinality(v_reasons) = 0 and not p_dry_run then
      begin
        insert into lms.enrollments (course_id, user_id, due_at, expires_at)
        values (v_own.course_id, v_caller, v_own.due_at, v_own.expires_at)
        returning id into v_enrollment_id;
      exception
        when sqlstate 'PGRST' then
          v_reasons := array(
            select (f ->> 'code', f ->> 'message', f -> 'details')::lms.eligibility_reason
            from private.describe_failure(sqlstate, sqlerrm, null) f
          );
      end;
    end if;
    if cardinality(v_reasons) > 0 then
      select e.id into v_enrollment_id
      from lms.enrollments e
      where e.user_id = v_caller and e.course_id = v_own.course_id and e.status in ('enrolled', 'in_progress', 'paused')
        and (e.expires_at is null or e.expires_at > now());
    end if;
    v_verdicts := v_verdicts
      || (v_own.line, v_own.course_id, v_caller, null, v_enrollment_id, v_reasons)::private.bulk_verdict;
  end loop;

  return array(
    select case
      when r.fault is not null then (
        r.row_number, 'refused', r.fault ->> 'code', r.fault ->> 'message', nullif(r.fault -> 'details', 'null'),
        case when r.fault ->> 'code' <> 'person_ambiguous' then r.person_id end,
        case when r.fault ->> 'code' not in ('course_not_found', 'course_ambiguous') then r.course_id end, null
      )::lms.bulk_row_result
      when cardinality(v.reasons) = 0 then (
        r.row_number, case when p_dry_run then 'would_enroll' else 'enrolled' end, null, null, null, r.person_id, r.course_id,
        v.open_enrollment_id
      )::lms.bulk_row_result
      -- Where a list is sent again, this is what became of it the first time, whatever has become of the course since.
      when v.open_enrollment_id is not null and not exists (
        select from unnest(v.reasons) o where o.code = 'membership_suspended'
      ) then (
        r.row_number, 'already_enrolled', 'already_enrolled', 'There is an open enrolment already.',
        null, r.person_id, r.course_id, v.open_enrollment_id
      )::lms.bulk_row_result
      else (
        r.row_number, 'refused', 'not_eligible', v.reasons[1].message, to_jsonb(v.reasons), r.person_id, r.course_id, null
      )::lms.bulk_row_result
    end
    from unnest(p_rows) r
    left join unnest(v_verdicts) v on v.line = r.line
    order by r.line
  );
end
$$;

-- =====================================================================================================
-- Inviting those who are not there yet
-- =====================================================================================================

-- The invitation of a row and what is to follow it, in the caller's name. An invitation that stands is left as it is: its
-- link would die. Definer, because nobody may write the table; so it checks its caller.
create function private.promise_enrollment(p_invitation_id uuid, p_row private.bulk_row)
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_invitation lms.invitations;
begin
  select * into v_invitation from lms.invitations i where i.id = p_invitation_id;
  if private.is_api_call() and not (
    private.holds((select auth.uid()), 'enrollments.write', v_invitation.tenant_id, v_invitation.unit_id)
    or p_row.course_id = any (array(select private.staffed_courses()))
  ) then
    perform private.fail(
      'out_of_scope', 'Enrolling this person takes enrollments.write in their unit, or being staff of the course.', 403
    );
  end if;
  insert into lms.pending_enrollments as p (tenant_id, invitation_id, course_id, due_at, expires_at, created_by)
  values (
    v_invitation.tenant_id, v_invitation.id, p_row.course_id, p_row.due_at, p_row.expires_at,
    case when private.is_api_call() then (select auth.uid()) end
  )
  on conflict (invitation_id, course_id) do nothing;
end
$$;

-- As the caller: of an invitation that they do not see they learn what inviting tells everybody, and not whose it is.
create function private.find_open_invitation(p_tenant_id uuid, p_email text)
returns uuid
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select i.id
    from lms.invitations i
    where i.tenant_id = p_tenant_id and i.email = p_email and i.accepted_at is null and i.revoked_at is null
      and i.expires_at > now()
  );
end
$$;

-- As the caller, so that every rule for invitations holds. In the order of addresses, or two calls could wait for each other.
-- Returns an answer for each row that is dealt with by it.
create function private.invite_bulk_rows(p_tenant_id uuid, p_rows private.bulk_row[], p_dry_run boolean)
returns jsonb
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_answers jsonb := jsonb_build_object();
  v_row private.bulk_row;
  v_last private.bulk_row;
  v_unit_id uuid;
  v_invitation_id uuid;
  v_issued lms.issued_invitation;
  v_answer jsonb;
  v_state text;
  v_message text;
  v_constraint text;
begin
  for v_row in
    select
      r.line, r.row_number, r.user_id, r.email, first_value(r.employee_number) over numbered, r.course_id, r.course_slug,
      first_value(r.unit_code) over placed, r.due_at, r.expires_at, r.person_id, r.fault
    from unnest(p_rows) r
    where r.fault ->> 'code' = 'person_not_found' and r.email is not null and r.user_id is null
    -- One invitation for all rows of a person, with what any of them says.
    window
      numbered as (partition by r.email order by r.employee_number is null, r.line),
      placed as (partition by r.email order by r.unit_code is null, r.line)
    order by r.email, r.course_id, r.line
  loop
    if (v_last.email, v_last.course_id) = (v_row.email, v_row.course_id) then
      v_answers := v_answers || jsonb_build_object(v_row.line, private.import_fault(
        'duplicate_row', 'An earlier row says the same.', jsonb_build_object('row', v_last.row_number)
      ));
      continue;
    end if;
    v_last := v_row;
    begin
      v_invitation_id := private.find_open_invitation(p_tenant_id, v_row.email);
      v_issued := null;
      if v_invitation_id is null then
        v_unit_id := null;
        if v_row.unit_code is not null then
          select u.id into v_unit_id from lms.org_units u where u.tenant_id = p_tenant_id and u.code = v_row.unit_code;
          if not found then
            perform private.fail('unit_not_found', 'There is no unit with this code.', 404);
          end if;
        end if;
        v_issued := lms.invite(
          p_tenant_id, v_row.email, p_unit_id => v_unit_id, p_employee_number => v_row.employee_number
        );
        v_invitation_id := v_issued.invitation_id;
      end if;
      perform private.promise_enrollment(v_invitation_id, v_row);
      v_answer := jsonb_build_object('outcome', 'invited', 'details', case
        when v_issued.invitation_id is null then jsonb_build_object('invitation_id', v_invitation_id)
        else jsonb_build_object(
          'invitation_id', v_invitation_id, 'expires_at', v_issued.expires_at, 'token', v_issued.token
        )
      end);
      if p_dry_run then
        raise exception using errcode = 'DRYRN';
      end if;
    exception
      when sqlstate 'DRYRN' then
        v_answer := jsonb_build_object('outcome', 'would_invite');
      when sqlstate 'PGRST' or insufficient_privilege or integrity_constraint_violation then
        get stacked diagnostics v_state = returned_sqlstate, v_message = message_text, v_constraint = constraint_name;
        v_answer := private.describe_failure(v_state, v_message, v_constraint);
    end;
    v_answers := v_answers || jsonb_build_object(v_row.line, v_answer);
  end loop;
  return v_answers;
end
$$;

-- Before the membership is locked: whoever enrols locks in this order.
create function private.hold_promised_courses(p_invitation_id uuid)
returns void
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_course_id uuid;
begin
  for v_course_id in
    select p.course_id
    from lms.pending_enrollments p
    where p.invitation_id = p_invitation_id and p.status = 'pending'
    order by p.course_id
  loop
    perform private.hold_course(v_course_id);
  end loop;
end
$$;

-- Whoever comes is enrolled in what was set aside for them: by the rules for those whom staff enrols, because staff did. As
-- with the role of the invitation, nobody keeps a right to enrol by having used it beforehand. What stands in the way, or
-- fails, is noted and keeps nobody from coming.
create function private.begin_promised_enrollments()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_promise lms.pending_enrollments;
  v_unit_id uuid;
  v_reasons lms.eligibility_reason[];
begin
  select m.unit_id into v_unit_id
  from lms.memberships m
  where m.tenant_id = new.tenant_id and m.user_id = new.accepted_by;
  for v_promise in
    select p.*
    from lms.pending_enrollments p
    where p.invitation_id = new.id and p.status = 'pending'
    order by p.course_id
    for no key update
  loop
    if v_promise.created_by is not null
      and not private.holds(v_promise.created_by, 'enrollments.write', new.tenant_id, v_unit_id)
      and not private.is_course_staff(v_promise.course_id, v_promise.created_by)
    then
      v_reasons := array[
        ('not_allowed', 'Whoever wanted this enrolment may not enrol the person any more.', null)::lms.eligibility_reason
      ];
    elsif v_promise.expires_at <= now() then
      v_reasons := array[('expired', 'The enrolment would have run out already.', null)::lms.eligibility_reason];
    else
      select v.reasons into v_reasons
      from private.bulk_obstacles(array[(1, v_promise.course_id, new.accepted_by)::private.bulk_pair]) v;
      if cardinality(v_reasons) = 0 then
        select b.reasons into v_reasons
        from private.begin_enrollments(
          array[(1, v_promise.course_id, new.accepted_by, v_unit_id, null, '{}')::private.bulk_verdict],
          array[(
            1, 1, null, null, null, null, null, null, v_promise.due_at, v_promise.expires_at, null, null
          )::private.bulk_row],
          'invitation', v_promise.created_by
        ) b;
      end if;
    end if;
    update lms.pending_enrollments p
    set status = case when cardinality(v_reasons) = 0 then 'enrolled' else 'refused' end,
        reasons = case when cardinality(v_reasons) > 0 then to_jsonb(v_reasons) end,
        settled_at = now()
    where p.id = v_promise.id;
  end loop;
  return null;
end
$$;

create function private.is_course_staff(p_course_id uuid, p_user_id uuid)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return exists (
    select
    from lms.course_staff s
    join lms.memberships m on m.tenant_id = s.tenant_id and m.user_id = s.user_id and m.status = 'active'
    join lms.role_grants g on g.tenant_id = m.tenant_id and g.membership_id = m.id
    join lms.role_permissions p on p.role_id = g.role_id and p.permission in ('catalog.author', 'catalog.write')
    where s.course_id = p_course_id and s.user_id = p_user_id
  );
end
$$;

comment on function private.is_course_staff is
  'What private.staffed_courses says of the caller, of anybody. No API role may call it.';

create trigger _600_enroll_promised after update of accepted_at on lms.invitations
  for each row when (old.accepted_at is null and new.accepted_at is not null)
  execute function private.begin_promised_enrollments();

-- =====================================================================================================
-- The call
-- =====================================================================================================

-- What was answered once, for those who may still read it.
create function private.repeat_bulk_answer(p_answer jsonb)
returns setof lms.bulk_row_result
language plpgsql
stable
set search_path = ''
as $$
begin
  return query
  select
    r.row, case when k.is_readable then r.outcome else 'refused' end, case when k.is_readable then r.code else 'out_of_scope' end,
    case when k.is_readable then r.message else 'You may not see this enrolment any more.' end,
    case when k.is_readable then r.details end, case when k.is_readable then r.user_id end,
    case when k.is_readable then r.course_id end, case when k.is_readable then r.enrollment_id end
  from jsonb_populate_recordset(null::lms.bulk_row_result, p_answer) with ordinality as r (
    "row", outcome, code, message, details, user_id, course_id, enrollment_id, place
  )
  left join lms.enrollments e on e.id = r.enrollment_id
  cross join lateral (select r.enrollment_id is null or e.id is not null as is_readable) k
  order by r.place;
end
$$;

-- One array, not a set of rows: of a set PostgREST answers max-rows, and leaves out the rest without a word.
create function lms.enroll_in_bulk(
  p_tenant_id uuid,
  p_rows jsonb,
  p_dry_run boolean default false,
  p_invite boolean default false,
  p_batch_key text default null
)
returns lms.bulk_row_result[]
language plpgsql
volatile
set search_path = ''
as $$
declare
  most_rows constant integer := 10000;
  v_dry_run constant boolean := coalesce(p_dry_run, false);
  v_time_zone text;
  v_answer jsonb;
  v_rows private.bulk_row[];
  v_invited jsonb := jsonb_build_object();
  v_results lms.bulk_row_result[];
begin
  -- Read as the caller: a tenant that they cannot see does not exist for them.
  select t.time_zone into v_time_zone from lms.tenants t where t.id = p_tenant_id;
  if not found then
    perform private.fail('tenant_not_found', 'There is no such organisation.', 404);
  elsif private.is_api_call() and not p_tenant_id = any (array(select private.tenants_partly_where('enrollments.write')))
    and not exists (
      select from lms.courses c where c.tenant_id = p_tenant_id and c.id = any (array(select private.staffed_courses()))
    )
  then
    raise insufficient_privilege using
      message = 'Enrolling other people takes enrollments.write in their unit, or being staff of the course.';
  elsif jsonb_typeof(p_rows) is distinct from 'array' then
    perform private.fail('rows_not_a_list', 'p_rows is a list of rows.', 422);
  elsif jsonb_array_length(p_rows) > most_rows then
    perform private.fail(
      'too_many_rows', format('At most %s rows at a time.', most_rows), 413, jsonb_build_object('most_rows', most_rows)
    );
  end if;

  if p_batch_key is not null and not v_dry_run then
    if length(p_batch_key) not between 1 and 255 then
      perform private.fail('invalid_idempotency_key', 'An idempotency key has 1 to 255 characters.', 422);
    end if;
    -- The rows themselves are not kept: they name people.
    v_answer := private.claim_idempotency_key('enroll_in_bulk', p_batch_key, jsonb_build_object(
      'tenant_id', p_tenant_id, 'invite', coalesce(p_invite, false),
      'sha256', encode(sha256(convert_to(p_rows::text, 'UTF8')), 'hex')
    ));
    if v_answer is not null then
      return array(select r from private.repeat_bulk_answer(v_answer) r);
    end if;
  end if;

  v_rows := array(select r from private.parse_bulk_rows(p_rows, v_time_zone) r order by r.line);
  v_rows := private.find_bulk_courses(p_tenant_id, v_rows);
  v_rows := private.find_bulk_people(p_tenant_id, v_rows);
  if p_invite then
    v_invited := private.invite_bulk_rows(p_tenant_id, v_rows, v_dry_run);
  end if;
  v_results := private.enroll_bulk_rows(p_tenant_id, v_rows, v_dry_run);
  if v_invited <> '{}' then
    v_results := array(
      select case when i.answer is null then r.result else (
        (r.result).row, coalesce(i.answer ->> 'outcome', 'refused'), i.answer ->> 'code', i.answer ->> 'message',
        nullif(i.answer -> 'details', 'null'), null, (r.result).course_id, null
      )::lms.bulk_row_result end
      from (select o as result, row_number() over () as line from unnest(v_results) o) r
      left join lateral (select v_invited -> r.line::text as answer) i on true
      order by r.line
    );
  end if;

  if p_batch_key is not null and not v_dry_run then
    -- A token is shown once and kept nowhere.
    perform private.store_idempotent_answer('enroll_in_bulk', p_batch_key, (
      select coalesce(jsonb_agg(jsonb_set_lax(
        to_jsonb(r), '{details}', case when r.outcome = 'invited' then r.details - 'token' else r.details end
      )), '[]')
      from unnest(v_results) r
    ));
  end if;
  return v_results;
end
$$;

comment on function lms.enroll_in_bulk is
  'Enrols many people at once and answers for each row, in their order. A row is an object of texts: user_id, email or '
  'employee_number (all that are given must fit the same person); course_id or course_slug; due_at, expires_at (a time with '
  'its offset, or a day, of which the end in the tenant''s time zone is meant); unit_code, the home unit of whoever is '
  'invited; and row, a number to find it by. A row that is refused changes nothing, and the others are not touched by it: '
  'person_missing, person_not_found, person_ambiguous, course_missing, course_not_found, course_ambiguous, invalid_id, '
  'invalid_date, invalid_row, unknown_column, not_text, not_an_object, out_of_scope, duplicate_row, not_eligible with '
  'details = [{code, message, details}]. Who is enrolled already stays so: sending rows again enrols nobody twice, and with '
  'the same p_batch_key it gives the answer of the first time. p_invite invites unknown addresses; the enrolment follows '
  'when they join, and details.token belongs into the link. p_dry_run tells and changes nothing. For others than oneself '
  'it takes enrollments.write in their scope, or being staff of the course; finding people by email or number, members.read. '
  'At most 10,000 rows (413 too_many_rows). 404 tenant_not_found; 403 without rights; 422 rows_not_a_list, '
  'invalid_idempotency_key, idempotency_key_reused.';

grant execute on function
  private.read_instant, private.parse_bulk_rows, private.find_bulk_courses, private.find_bulk_people, private.enroll_bulk_rows,
  private.promise_enrollment, private.find_open_invitation, private.invite_bulk_rows, private.repeat_bulk_answer
to authenticated, service_role;
grant execute on function lms.enroll_in_bulk to authenticated, service_role;

-- =====================================================================================================
-- Policies and grants
-- =====================================================================================================

alter table lms.pending_enrollments enable row level security;
grant all on lms.pending_enrollments to service_role;
grant select, delete on lms.pending_enrollments to authenticated;

create policy "Pending enrolments are seen with their invitation and in scope" on lms.pending_enrollments
  for select to authenticated
  using (
    tenant_id = any (array(select private.tenants_where('enrollments.read')))
    or course_id = any (array(select private.staffed_courses()))
    or exists (select from lms.invitations i where i.id = invitation_id)
  );

-- Who may enrol in the whole tenant may think better of it; to call off all of somebody's, revoke their invitation.
create policy "Pending enrolments are called off by those who enrol" on lms.pending_enrollments
  for delete to authenticated
  using (
    tenant_id = any (array(select private.tenants_where('enrollments.write')))
    or course_id = any (array(select private.staffed_courses()))
  );

notify pgrst, 'reload schema';
