-- Enrolment: one learner's cycles through a course, and who may begin one.
-- Undo: drop functions lms.enroll, lms.check_enrollment_eligibility, lms.set_enrollment_status; drop tables
-- lms.enrollments, private.idempotency_keys; then types and functions below.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Table
-- =====================================================================================================

create table lms.enrollments (
  id uuid primary key default private.uuid_v7(),
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  course_id uuid not null,
  version_id uuid not null default '00000000-0000-0000-0000-000000000000',
  user_id uuid not null constraint enrollment_is_of_a_person references public.profiles (id),
  unit_id uuid,
  cycle integer not null default 0,
  status text not null default 'enrolled',
  source text not null default 'self' constraint enrollment_source_is_known
    check (source in ('self', 'assigned', 'bulk', 'rule', 'invitation', 'purchase', 'import', 'evidence')),
  enrolled_by uuid,
  due_at timestamptz,
  expires_at timestamptz,
  enrolled_at timestamptz not null default now(),
  started_at timestamptz,
  completed_at timestamptz,
  dropped_at timestamptz,
  paused_at timestamptz,
  expired_at timestamptz,
  items_total integer not null default 0,
  items_done integer not null default 0,
  -- INV-P2: 100.00 means all of them, so it is cut off, never rounded up.
  progress_percentage numeric(5, 2) not null generated always as (
    case when items_total = 0 then 0 else trunc(100.0 * items_done / items_total, 2) end
  ) stored,
  time_spent_seconds bigint not null default 0,
  current_lesson_id uuid,
  last_accessed_at timestamptz,
  final_grade private.percentage,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint enrollment_of_its_learner unique (id, tenant_id, course_id, user_id),
  constraint enrollment_course_is_of_the_same_tenant foreign key (tenant_id, course_id) references lms.courses (tenant_id, id),
  constraint enrollment_version_is_of_the_same_course foreign key (tenant_id, course_id, version_id)
    references lms.course_versions (tenant_id, course_id, id),
  constraint enrollment_is_of_a_member foreign key (tenant_id, user_id) references lms.memberships (tenant_id, user_id),
  constraint enrollment_unit_is_of_the_same_tenant foreign key (tenant_id, unit_id)
    references lms.org_units (tenant_id, id) on delete set null (unit_id),
  constraint cycle_is_taken unique (user_id, course_id, cycle),
  -- INV-E5: a date that a status implies has no default and is there exactly when the status says so. One constraint for
  -- all: every statement that writes the table prepares each of them anew, and recording progress is such a statement.
  constraint status_is_known_and_its_dates_follow check (
    case status
      when 'enrolled' then started_at is null
      when 'in_progress' then started_at is not null
      when 'completed' then started_at is not null and completed_at >= enrolled_at and items_done = items_total
      when 'paused' then true
      when 'dropped' then true
      when 'expired' then true
      else false
    end
    and (status = 'completed') = (completed_at is not null)
    and (status = 'dropped') = (dropped_at is not null)
    and (status = 'paused') = (paused_at is not null)
    and (status = 'expired') = (expired_at is not null)
  ),
  constraint counters_are_in_range check (
    cycle >= 1 and items_done between 0 and items_total and time_spent_seconds >= 0
  ),
  constraint due_and_expiry_dates_are_finite check (isfinite(due_at) and isfinite(expires_at))
) with (fillfactor = 85);

-- INV-E1
create unique index one_open_cycle on lms.enrollments (user_id, course_id)
  where status in ('enrolled', 'in_progress', 'paused');
-- Whether somebody has ever completed a course, at the same cost for any history.
create index completed_enrollments on lms.enrollments (user_id, course_id) where status = 'completed';
create index enrollments_by_user on lms.enrollments (user_id, enrolled_at desc, id desc);
create index enrollments_by_tenant on lms.enrollments (tenant_id, enrolled_at desc, id desc);
create index enrollments_by_unit on lms.enrollments (unit_id, enrolled_at desc, id desc);
create index enrollments_by_course on lms.enrollments (course_id, enrolled_at desc, id desc);
create index enrollments_by_version on lms.enrollments (tenant_id, course_id, version_id);
create index enrollments_by_member on lms.enrollments (tenant_id, user_id);
create index enrollments_by_unit_of_tenant on lms.enrollments (tenant_id, unit_id);

-- Without them the planner takes (tenant, person) for one enrolment, and a check of one walks through all of the person.
create statistics lms.enrollments_dependent_columns (dependencies)
  on tenant_id, user_id, course_id, version_id, unit_id from lms.enrollments;

-- No index on last_accessed_at nor on progress: recording progress stays a heap-only update.

comment on table lms.enrollments is
  'One learner''s cycle through one course. Overdue is not stored: it is due_at in the past and not completed.';
comment on column lms.enrollments.cycle is 'The 1st, 2nd... time the same learner takes the same course.';
comment on column lms.enrollments.unit_id is 'Org unit at the time: an open enrolment moves along with the person, a finished one stays.';
comment on column lms.enrollments.version_id is
  'The version of the course that this cycle is about: the latest one at its beginning, until migrate_enrollments moves it.';
comment on column lms.enrollments.items_total is 'Required lessons and mandatory assessments of the version.';
comment on column lms.enrollments.progress_percentage is 'trunc(100 * items_done / items_total, 2); 0 when there is nothing to do.';
comment on column lms.enrollments.enrolled_at is 'Server time; what a client sends is overruled.';
comment on column lms.enrollments.current_lesson_id is 'The lesson last worked on.';

create trigger _100_timestamps before update on lms.enrollments
  for each row execute function private.touch_updated_at();

-- =====================================================================================================
-- Eligibility
-- =====================================================================================================

create type lms.eligibility_reason as (code text, message text, details jsonb);
create type lms.enrollment_eligibility as (eligible boolean, reasons lms.eligibility_reason[]);

comment on type lms.eligibility_reason is 'A stable code, a sentence for people, and machine-readable details.';

-- Who has run out of time makes room. Who has left does so once ops.drop_left_enrollments has ended their cycle: until then
-- they may come back to it.
create function private.count_taken_seats(p_course_id uuid)
returns integer
language sql
stable
set search_path = ''
as $$
  select count(*)
  from lms.enrollments e
  where e.course_id = p_course_id and e.status in ('enrolled', 'in_progress', 'paused')
    and (e.expires_at is null or e.expires_at > now())
$$;

-- INV-E3: every path that enrols asks this one function. `p_self`: the learner enrols on their own, so the
-- course's rules for that apply; otherwise staff assigns, and only facts stand in the way.
create function private.enrollment_obstacles(p_course_id uuid, p_user_id uuid, p_self boolean)
returns setof lms.eligibility_reason
language plpgsql
stable
set search_path = ''
as $$
declare
  v_course lms.courses;
  v_tenant lms.tenants;
  v_member lms.memberships;
  v_open lms.enrollments;
  v_finished integer;
  v_completed integer;
  v_missing jsonb;
begin
  select * into v_course from lms.courses c where c.id = p_course_id and c.deleted_at is null;
  select * into v_tenant from lms.tenants t where t.id = v_course.tenant_id;
  select * into v_member from lms.memberships m where m.tenant_id = v_course.tenant_id and m.user_id = p_user_id;
  select * into v_open
  from lms.enrollments e
  where e.user_id = p_user_id and e.course_id = p_course_id and e.status in ('enrolled', 'in_progress', 'paused')
    and (e.expires_at is null or e.expires_at > now());
  select count(*), count(*) filter (where e.status = 'completed') into v_finished, v_completed
  from lms.enrollments e
  where e.user_id = p_user_id and e.course_id = p_course_id and e.status in ('completed', 'dropped', 'expired');

  if not v_tenant.is_active then
    return next ('tenant_inactive', 'The organisation is not active.', null)::lms.eligibility_reason;
  end if;
  if v_course.status is distinct from 'published' then
    return next ('not_published', 'The course is not published.', jsonb_build_object('status', v_course.status))::lms.eligibility_reason;
  end if;
  if v_member.status = 'suspended' then
    return next ('membership_suspended', 'The membership is suspended.', null)::lms.eligibility_reason;
  elsif v_member.status = 'ended'
    or (v_member.id is null and not (v_course.visibility = 'public' and (p_self or private.is_asking(p_course_id, p_user_id))))
  then
    return next ('not_a_member', 'The person is not a member of the organisation.', null)::lms.eligibility_reason;
  end if;
  if v_open.id is not null then
    -- Whoever is suspended sees nothing of the tenant, the ids of their own rows neither.
    return next (
      'already_enrolled', 'There is an open enrolment already.',
      case when v_member.status <> 'suspended' then jsonb_build_object('enrollment_id', v_open.id) end
    )::lms.eligibility_reason;
  end if;
  if p_self then
    if v_course.visibility = 'private' then
      return next ('not_visible', 'The course is private: staff enrols its learners.', null)::lms.eligibility_reason;
    end if;
    if v_course.self_enrollment = 'closed' then
      return next ('self_enrollment_closed', 'Learners cannot enrol themselves.', null)::lms.eligibility_reason;
    elsif v_course.self_enrollment = 'approval' then
      return next ('approval_required', 'Enrolment has to be approved by staff.', null)::lms.eligibility_reason;
    end if;
    if now() < v_course.enrollment_opens_at or now() >= v_course.enrollment_closes_at then
      return next (
        'window_closed', 'Enrolment is not open at this time.',
        jsonb_build_object('opens_at', v_course.enrollment_opens_at, 'closes_at', v_course.enrollment_closes_at)
      )::lms.eligibility_reason;
    end if;
    -- Staff may assign a course whose prerequisites are unmet: it then waits for them.
    v_missing := private.describe_missing_prerequisites(p_course_id, p_user_id);
    if v_missing is not null then
      return next ('prerequisite_unmet', 'Other courses come first.', jsonb_build_object('courses', v_missing))::lms.eligibility_reason;
    end if;
    if v_course.price > 0 and not private.has_entitlement(v_course.tenant_id, p_user_id, p_course_id) then
      return next (
        'payment_required', 'The course has to be bought.',
        jsonb_build_object('price', v_course.price, 'currency', v_course.currency)
      )::lms.eligibility_reason;
    end if;
    if v_completed > 0 and not v_course.allow_retake then
      return next ('retake_not_allowed', 'The course cannot be taken again.', null)::lms.eligibility_reason;
    end if;
    if v_finished >= v_course.max_attempts then
      return next (
        'max_attempts_reached', 'All attempts are used up.', jsonb_build_object('max_attempts', v_course.max_attempts)
      )::lms.eligibility_reason;
    end if;
  end if;
  -- Staff may pass the queue; learners wait for their turn.
  if v_course.capacity is not null and v_course.capacity <= private.count_taken_seats(p_course_id)
    + (case when p_self then private.count_waiting_ahead(p_course_id, p_user_id) else 0 end)
  then
    return next ('capacity_full', 'All places are taken.', jsonb_build_object('capacity', v_course.capacity))::lms.eligibility_reason;
  end if;
end
$$;

-- A course that the person does not see is not named to them.
create function private.describe_missing_prerequisites(p_course_id uuid, p_user_id uuid)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select jsonb_agg(jsonb_build_object(
      'course_id', m.course_id,
      'title', case
        when c.status = 'published' and c.visibility <> 'private' or exists (
          select from lms.enrollments e where e.user_id = p_user_id and e.course_id = m.course_id
        ) then m.title
      end,
      'min_completion_percentage', m.min_completion_percentage,
      'percentage', m.percentage
    ) order by m.title)
    from private.missing_course_prerequisites(p_course_id, p_user_id) m
    join lms.courses c on c.id = m.course_id
  );
end
$$;

create function private.may_enroll_others(p_tenant_id uuid, p_course_id uuid, p_user_id uuid)
returns boolean
language sql
stable
set search_path = ''
as $$
  select
    p_tenant_id = any (array(select private.tenants_where('enrollments.write')))
    or p_course_id = any (array(select private.staffed_courses()))
    or exists (
      select
      from lms.memberships m
      where m.tenant_id = p_tenant_id and m.user_id = p_user_id
        and m.unit_id = any (array(select private.units_where('enrollments.write')))
    )
$$;

-- What must be read past the caller's own view: memberships, seats, other people's enrolments. It answers only for
-- a course that the caller was seen to see, and for other people only to those who may enrol them.
create function private.enrollment_obstacles_for_caller(p_course_id uuid, p_user_id uuid)
returns setof lms.eligibility_reason
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_self constant boolean := p_user_id is not distinct from (select auth.uid());
begin
  if private.is_api_call() and not v_self and not coalesce(
    private.may_enroll_others((select c.tenant_id from lms.courses c where c.id = p_course_id), p_course_id, p_user_id), false
  ) then
    raise insufficient_privilege using message = 'Enrolling other people takes enrollments.write in their unit, or being staff of the course.';
  end if;
  return query select * from private.enrollment_obstacles(p_course_id, p_user_id, v_self);
end
$$;

grant execute on function private.enrollment_obstacles_for_caller to authenticated, service_role;

create function private.refuse_enrollment(p_reasons lms.eligibility_reason[])
returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  perform private.fail(
    'not_eligible',
    p_reasons[1].message,
    409,
    to_jsonb(p_reasons),
    'See details for every reason.'
  );
end
$$;

grant execute on function private.refuse_enrollment to authenticated, service_role;

create function lms.check_enrollment_eligibility(p_course_id uuid, p_user_id uuid default null)
returns lms.enrollment_eligibility
language plpgsql
stable
set search_path = ''
as $$
declare
  v_reasons lms.eligibility_reason[];
begin
  if not exists (select from lms.courses c where c.id = p_course_id) then
    perform private.fail('course_not_found', 'There is no such course.', 404);
  end if;
  select coalesce(array_agg(r), '{}') into v_reasons
  from private.enrollment_obstacles_for_caller(p_course_id, coalesce(p_user_id, (select auth.uid()))) r;
  return (cardinality(v_reasons) = 0, v_reasons)::lms.enrollment_eligibility;
end
$$;

comment on function lms.check_enrollment_eligibility is
  'May this person be enrolled? All reasons against at once: {eligible, reasons: [{code, message, details}]}. '
  'Without p_user_id: may the caller enrol? 404 course_not_found; 403 for people one may not enrol.';

-- =====================================================================================================
-- Beginning a cycle
-- =====================================================================================================

-- INV-E4: whoever gives out seats of a course holds it first, before any membership or enrolment. The row keeps a
-- publication, and a change of its capacity, from slipping in between. It is shared, so seats that are limited take a lock
-- of their own: two who shared the row could not both ask for more of it. Whether they are limited is read only then.
create function private.hold_course(p_course_id uuid, p_wait boolean default true)
returns boolean
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_seats constant bigint := hashtextextended('lyceum seats ' || p_course_id, 0);
begin
  if not exists (select from lms.course_versions v where v.course_id = p_course_id) then
    -- Its first version may have to be made.
    perform from lms.courses c where c.id = p_course_id for no key update;
  elsif p_wait then
    perform from lms.courses c where c.id = p_course_id for share;
  else
    perform from lms.courses c where c.id = p_course_id for share skip locked;
  end if;
  if not found then
    return false;
  elsif not exists (select from lms.courses c where c.id = p_course_id and c.capacity is not null) then
    return true;
  elsif p_wait then
    perform pg_advisory_xact_lock(v_seats);
    return true;
  end if;
  return pg_try_advisory_xact_lock(v_seats);
end
$$;

comment on function private.hold_course is
  'Keeps a course and its seats as they are until the transaction ends. False where there is no such course, or, without '
  'p_wait, where somebody else is busy with it.';

-- Everything that a new row gets from the server. Locks in this order: course, membership. The membership queues up a
-- learner's simultaneous requests.
create function private.admit_enrollment(new_row lms.enrollments)
returns lms.enrollments
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_course lms.courses;
  v_version lms.course_versions;
  v_self constant boolean := new_row.user_id is not distinct from (select auth.uid());
  v_reasons lms.eligibility_reason[];
begin
  select * into v_course from lms.courses c where c.id = new_row.course_id;
  if not found then
    return new_row;
  end if;
  new_row.tenant_id := v_course.tenant_id;

  if private.is_api_call() then
    if not v_self and not private.may_enroll_others(v_course.tenant_id, v_course.id, new_row.user_id) then
      raise insufficient_privilege using
        message = 'Enrolling other people takes enrollments.write in their unit, or being staff of the course.';
    end if;
    if v_self and (new_row.due_at is not null or new_row.expires_at is not null)
      and not private.may_enroll_others(v_course.tenant_id, v_course.id, new_row.user_id)
    then
      raise insufficient_privilege using message = 'Due and expiry dates are set by staff.';
    end if;
    new_row.enrolled_at := now();
    new_row.enrolled_by := (select auth.uid());
    new_row.source := case when v_self then 'self' else 'assigned' end;
  end if;

  perform private.hold_course(v_course.id);
  if v_course.visibility = 'public' and v_course.status = 'published' and (
    (private.is_api_call() and v_self and v_course.self_enrollment = 'open')
    or private.is_asking(v_course.id, new_row.user_id)
  ) then
    -- Enrolling in an open public course, or being let into one, is one of the ways to belong, as a guest; not the way back
    -- for somebody whose membership has ended.
    insert into lms.memberships (tenant_id, user_id, is_guest) values (v_course.tenant_id, new_row.user_id, true)
    on conflict (tenant_id, user_id) do nothing;
  end if;

  perform from lms.memberships m
  where m.tenant_id = v_course.tenant_id and m.user_id = new_row.user_id
  for no key update;

  -- The date is the fact: an open cycle that has run out makes room for the next one, whether a job has been by or not.
  update lms.enrollments e
  set status = 'expired', expired_at = e.expires_at
  where e.user_id = new_row.user_id and e.course_id = v_course.id
    and e.status in ('enrolled', 'in_progress', 'paused') and e.expires_at <= now();

  if private.is_api_call() then
    select array_agg(r) into v_reasons
    from private.enrollment_obstacles(v_course.id, new_row.user_id, v_self) r;
    if v_reasons is not null then
      perform private.refuse_enrollment(v_reasons);
    end if;
    -- Leaving and coming back does not lose the dates that staff has set; staff itself may set none.
    if v_self and new_row.due_at is null and new_row.expires_at is null then
      select case e.status when 'dropped' then e.due_at end, case when e.status = 'dropped' and e.expires_at > now() then e.expires_at end
      into new_row.due_at, new_row.expires_at
      from lms.enrollments e
      where e.user_id = new_row.user_id and e.course_id = v_course.id
      order by e.cycle desc
      limit 1;
    end if;
  end if;

  select m.unit_id into new_row.unit_id
  from lms.memberships m
  where m.tenant_id = v_course.tenant_id and m.user_id = new_row.user_id;
  if new_row.cycle < 1 then
    select coalesce(max(e.cycle), 0) + 1 into new_row.cycle
    from lms.enrollments e
    where e.user_id = new_row.user_id and e.course_id = v_course.id;
  end if;

  if private.is_api_call() or new_row.version_id = '00000000-0000-0000-0000-000000000000' then
    -- The service may have put a course in place without publishing it: what it holds now is then the first version.
    v_version := private.latest_version(v_course.id);
    if v_version.id is null then
      v_version := private.freeze_course(v_course.id);
    end if;
  else
    select * into v_version from lms.course_versions v where v.id = new_row.version_id;
  end if;
  new_row.version_id := v_version.id;
  new_row.items_total := v_version.items_total;
  return new_row;
end
$$;

create function private.begin_enrollment()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  -- Judged and filled in already: many at once, by private.begin_enrollments, or done elsewhere, by private.review_evidence.
  -- Clients write neither the column nor the setting.
  if new.source in ('bulk', 'invitation', 'rule', 'evidence') and current_setting('lyceum.admitted', true) = 'true' then
    return new;
  end if;
  -- Read as the caller: enrolling in a hidden course must look like enrolling in none.
  if new.course_id is not null and not exists (select from lms.courses c where c.id = new.course_id) then
    perform private.fail('course_not_found', 'There is no such course.', 404);
  end if;
  return private.admit_enrollment(new);
end
$$;

grant execute on function private.admit_enrollment to authenticated, service_role;

create trigger _200_begin before insert on lms.enrollments
  for each row execute function private.begin_enrollment();

-- =====================================================================================================
-- Transitions
-- =====================================================================================================

create function private.is_enrollment_transition(from_status text, to_status text)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case from_status
    when 'enrolled' then to_status in ('in_progress', 'completed', 'paused', 'dropped', 'expired')
    when 'in_progress' then to_status in ('completed', 'paused', 'dropped', 'expired')
    when 'paused' then to_status in ('enrolled', 'in_progress', 'dropped', 'expired')
    else false
  end;
end
$$;

-- INV-E2 and the second half of INV-P2, for whoever writes: a cycle whose items are all done, with the grade it
-- needs, is completed by that very update; any other change of status is one of the allowed ones; its date follows.
create function private.settle_enrollment()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_at timestamptz;
begin
  if new.status is distinct from old.status and not private.is_enrollment_transition(old.status, new.status) then
    perform private.fail(
      'transition_not_allowed', format('An enrolment that is %s cannot become %s.', old.status, new.status), 409,
      jsonb_build_object('from', old.status, 'to', new.status)
    );
  end if;

  -- After the transition was judged: a paused cycle of which an author made nothing remain is resumed and thereby
  -- completed.
  if new.status in ('enrolled', 'in_progress') and new.items_total > 0 and new.items_done >= new.items_total
    and coalesce(new.final_grade, 0) >= (select c.required_score from lms.courses c where c.id = new.course_id)
  then
    new.status := 'completed';
  end if;

  if new.status is distinct from old.status then
    -- Server time for clients; imports and jobs may say when it really was.
    v_at := case when private.is_api_call() then now() end;
    if new.status in ('in_progress', 'completed') then
      new.started_at := coalesce(old.started_at, v_at, new.started_at, new.completed_at, now());
    end if;
    new.completed_at := coalesce(v_at, new.completed_at, now());
    new.dropped_at := coalesce(v_at, new.dropped_at, now());
    new.expired_at := coalesce(v_at, new.expired_at, now());
    new.paused_at := coalesce(v_at, new.paused_at, now());
  end if;

  new.completed_at := case when new.status = 'completed' then new.completed_at end;
  new.dropped_at := case when new.status = 'dropped' then new.dropped_at end;
  new.expired_at := case when new.status = 'expired' then new.expired_at end;
  new.paused_at := case when new.status = 'paused' then new.paused_at end;
  return new;
end
$$;

create trigger _200_settle before update of status, version_id, items_total, items_done, final_grade on lms.enrollments
  for each row execute function private.settle_enrollment();

-- INV-P2: moving to another version counts again, from the facts, whoever moves it. The row is locked by the update, and
-- completions lock it before they count, so each is counted once. INV-C1: a finished cycle keeps what it was about.
create function private.count_for_version()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if old.status not in ('enrolled', 'in_progress', 'paused') then
    perform private.fail(
      'version_is_pinned', 'A finished enrolment keeps the version that it was about.', 409,
      jsonb_build_object('enrollment_id', old.id)
    );
  end if;
  select v.items_total into new.items_total from lms.course_versions v where v.id = new.version_id;
  select count(*) into new.items_done
  from lms.lesson_progress p
  join lms.version_lessons l on l.version_id = new.version_id and l.lesson_id = p.lesson_id
  where p.enrollment_id = old.id and p.completed_at is not null and l.requires_completion;
  -- By the rules of the new version first: where handing in is enough now, what was handed in counts.
  perform private.restate_assessments(old.id, new.version_id);
  new.items_done := new.items_done + private.count_assessments_done(old.id, new.version_id);
  -- What staff or an import has set stays where no assessment makes a grade, before or after.
  if exists (
    select from lms.version_assessments a where a.version_id in (old.version_id, new.version_id) and a.weight > 0
  ) then
    new.final_grade := case
      when old.final_grade is not null or exists (
        select from lms.assessment_progress p where p.enrollment_id = old.id
      ) then private.weighted_grade(old.id, new.version_id)
    end;
  end if;
  return new;
end
$$;

create trigger _150_version before update of version_id on lms.enrollments
  for each row when (old.version_id is distinct from new.version_id)
  execute function private.count_for_version();

-- INV-E1, INV-E4: a cycle that has ended, also by running out of time, is not brought back by another date: its seat may
-- be somebody else's. Imports may correct history.
create function private.keep_ended_dates()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if private.is_api_call() and (old.status not in ('enrolled', 'in_progress', 'paused') or old.expires_at <= clock_timestamp()) then
    perform private.fail(
      'enrollment_not_open', 'The enrolment has ended: its dates stay as they are.', 409,
      jsonb_build_object('status', old.status, 'expires_at', old.expires_at), 'Enrol the person again.'
    );
  end if;
  return new;
end
$$;

create trigger _120_ended before update of due_at, expires_at on lms.enrollments
  for each row when ((old.due_at, old.expires_at) is distinct from (new.due_at, new.expires_at))
  execute function private.keep_ended_dates();

create function private.keep_enrollment_key()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  raise insufficient_privilege using message = 'An enrolment keeps its learner, its course, its cycle and its beginning.';
end
$$;

create trigger _300_key before update of id, tenant_id, course_id, user_id, cycle on lms.enrollments
  for each row when (
    (old.id, old.tenant_id, old.course_id, old.user_id, old.cycle)
    is distinct from (new.id, new.tenant_id, new.course_id, new.user_id, new.cycle)
  )
  execute function private.keep_enrollment_key();

-- Open enrolments move along with the person, finished ones stay where they were earned.
create function private.take_enrollments_along()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  update lms.enrollments e
  set unit_id = new.unit_id
  where e.tenant_id = new.tenant_id and e.user_id = new.user_id and e.status in ('enrolled', 'in_progress', 'paused');
  return null;
end
$$;

create trigger _500_enrollments_follow after update of unit_id on lms.memberships
  for each row when (old.unit_id is distinct from new.unit_id)
  execute function private.take_enrollments_along();

-- Whoever has left for a month does not keep their place. Not at once: a feed that leaves somebody out by mistake, and
-- brings them back the next day, must not cost them what they have begun.
create function ops.drop_left_enrollments(p_batch integer default 5000)
returns integer
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_dropped integer;
begin
  update lms.enrollments e
  set status = 'dropped', dropped_at = now()
  where e.id in (
    select o.id
    from lms.enrollments o
    join lms.memberships m on m.tenant_id = o.tenant_id and m.user_id = o.user_id
    where m.status = 'ended' and m.ended_at < now() - interval '30 days' and o.status in ('enrolled', 'in_progress', 'paused')
    order by o.id
    limit p_batch
    for no key update of o skip locked
  );
  get diagnostics v_dropped = row_count;
  return v_dropped;
end
$$;

comment on function ops.drop_left_enrollments is
  'Ends the open cycles of those who left more than 30 days ago, at most p_batch per run; returns how many.';
grant execute on function ops.drop_left_enrollments to service_role;

-- =====================================================================================================
-- Calls
-- =====================================================================================================

create table private.idempotency_keys (
  user_id uuid not null,
  operation text not null,
  key text not null constraint idempotency_key_is_1_to_255_characters check (length(key) between 1 and 255),
  request jsonb not null,
  response jsonb,
  created_at timestamptz not null default now(),
  primary key (user_id, operation, key)
);
create index idempotency_keys_by_age on private.idempotency_keys (created_at);
alter table private.idempotency_keys enable row level security;

comment on table private.idempotency_keys is
  'Answers already given, by the key that the client chose; forgotten after a week.';

-- Returns the answer given before, or null after taking the key. A simultaneous request with the same key waits on
-- the primary key until the first one commits, and then finds its answer.
create function private.claim_idempotency_key(p_operation text, p_key text, p_request jsonb)
returns jsonb
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_known private.idempotency_keys;
begin
  insert into private.idempotency_keys (user_id, operation, key, request)
  values (coalesce((select auth.uid()), '00000000-0000-0000-0000-000000000000'), p_operation, p_key, p_request)
  on conflict do nothing;
  if found then
    return null;
  end if;
  select * into v_known
  from private.idempotency_keys k
  where k.user_id = coalesce((select auth.uid()), '00000000-0000-0000-0000-000000000000')
    and k.operation = p_operation and k.key = p_key;
  if v_known.request is distinct from p_request then
    perform private.fail(
      'idempotency_key_reused', 'This idempotency key was used for a different request.', 422, null,
      'Use a new key for a new request.'
    );
  end if;
  return v_known.response;
end
$$;

create function private.store_idempotent_answer(p_operation text, p_key text, p_response jsonb)
returns void
language sql
volatile security definer
set search_path = ''
as $$
  update private.idempotency_keys k
  set response = p_response
  where k.user_id = coalesce((select auth.uid()), '00000000-0000-0000-0000-000000000000')
    and k.operation = p_operation and k.key = p_key and k.response is null
$$;

grant execute on function private.claim_idempotency_key, private.store_idempotent_answer to authenticated, service_role;

create function lms.enroll(
  p_course_id uuid,
  p_user_id uuid default null,
  p_due_at timestamptz default null,
  p_idempotency_key text default null
)
returns lms.enrollments
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_user_id constant uuid := coalesce(p_user_id, (select auth.uid()));
  -- The due date as an instant: as text, it would differ with the client's time zone.
  v_request constant jsonb := jsonb_build_object(
    'course_id', p_course_id, 'user_id', v_user_id, 'due_at', extract(epoch from p_due_at)
  );
  v_answer jsonb;
  v_enrollment lms.enrollments;
begin
  if v_user_id is null then
    perform private.fail('user_required', 'Nobody to enrol: sign in, or name the learner.', 400);
  end if;
  if p_idempotency_key is not null then
    if length(p_idempotency_key) not between 1 and 255 then
      perform private.fail('invalid_idempotency_key', 'An idempotency key has 1 to 255 characters.', 422);
    end if;
    v_answer := private.claim_idempotency_key('enroll', p_idempotency_key, v_request);
    if v_answer is not null then
      -- Kept answers are for those who may still read what they say.
      if not exists (select from lms.enrollments e where e.id = (v_answer ->> 'id')::uuid) then
        perform private.fail('course_not_found', 'There is no such course.', 404);
      end if;
      return jsonb_populate_record(null::lms.enrollments, v_answer);
    end if;
  end if;

  insert into lms.enrollments (course_id, user_id, due_at)
  values (p_course_id, v_user_id, p_due_at)
  returning * into v_enrollment;

  if p_idempotency_key is not null then
    perform private.store_idempotent_answer('enroll', p_idempotency_key, to_jsonb(v_enrollment));
  end if;
  return v_enrollment;
end
$$;

comment on function lms.enroll is
  'Enrols the caller, or with rights somebody else, and returns the enrolment. The same idempotency key gives the same '
  'answer. 404 course_not_found; 409 not_eligible with details = [{code, message, details}]; 403 without rights; '
  '422 idempotency_key_reused.';

create function lms.change_enrollment(
  p_enrollment_id uuid,
  p_status text default null,
  p_due_at timestamptz default null,
  p_change_due_at boolean default false
)
returns lms.enrollments
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_enrollment lms.enrollments;
begin
  select * into v_enrollment from lms.enrollments e where e.id = p_enrollment_id;
  if not found then
    perform private.fail('enrollment_not_found', 'There is no such enrolment.', 404);
  end if;
  if p_change_due_at then
    update lms.enrollments e set due_at = p_due_at where e.id = p_enrollment_id returning * into v_enrollment;
    if not found then
      raise insufficient_privilege using message = 'Due dates are set by staff.';
    end if;
  end if;
  if p_status is not null then
    v_enrollment := lms.set_enrollment_status(p_enrollment_id, p_status);
  end if;
  return v_enrollment;
end
$$;

comment on function lms.change_enrollment is
  'set_enrollment_status, a new due date (p_change_due_at; null takes it away), or both or neither. 404 '
  'enrollment_not_found; 403 without rights; 409 transition_not_allowed, enrollment_not_open; 422 invalid_status.';

create function lms.set_enrollment_status(p_enrollment_id uuid, p_status text)
returns lms.enrollments
language plpgsql
volatile
set search_path = ''
as $$
begin
  -- Read as the caller: somebody else's enrolment does not exist for them.
  if not exists (select from lms.enrollments e where e.id = p_enrollment_id) then
    perform private.fail('enrollment_not_found', 'There is no such enrolment.', 404);
  end if;
  if p_status is null or p_status not in ('paused', 'resumed', 'dropped') then
    perform private.fail(
      'invalid_status', 'The status can be set to paused, resumed or dropped.', 422,
      jsonb_build_object('allowed', array['paused', 'resumed', 'dropped'])
    );
  end if;
  return private.change_enrollment_status(p_enrollment_id, p_status);
end
$$;

comment on function lms.set_enrollment_status is
  'paused, resumed or dropped: by the learner, course staff, or with enrollments.write. 404 enrollment_not_found; '
  '409 transition_not_allowed; 422 invalid_status.';

-- Definer, because `status` is granted to nobody; so it checks its caller.
create function private.change_enrollment_status(p_enrollment_id uuid, p_status text)
returns lms.enrollments
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_enrollment lms.enrollments;
begin
  select * into v_enrollment from lms.enrollments e where e.id = p_enrollment_id for no key update;
  if private.is_api_call() and not coalesce(
    (v_enrollment.user_id = (select auth.uid()) and v_enrollment.tenant_id = any (array(select private.joined_tenants())))
      or private.may_enroll_others(v_enrollment.tenant_id, v_enrollment.course_id, v_enrollment.user_id),
    false
  ) then
    raise insufficient_privilege using message = 'Changing this enrolment takes being its learner, course staff, or enrollments.write.';
  end if;
  if p_status = 'resumed' and v_enrollment.status <> 'paused' then
    perform private.fail(
      'transition_not_allowed', 'Only a paused enrolment can be resumed.', 409,
      jsonb_build_object('from', v_enrollment.status, 'to', 'resumed')
    );
  end if;
  update lms.enrollments e
  set status = case
    when p_status <> 'resumed' then p_status
    when e.started_at is null then 'enrolled'
    else 'in_progress'
  end
  where e.id = p_enrollment_id and (p_status = 'resumed' or e.status <> p_status)
  returning * into v_enrollment;
  if not found then
    select * into v_enrollment from lms.enrollments e where e.id = p_enrollment_id;
  end if;
  return v_enrollment;
end
$$;

grant execute on function private.change_enrollment_status to authenticated, service_role;
grant execute on function lms.enroll, lms.check_enrollment_eligibility, lms.set_enrollment_status, lms.change_enrollment
  to authenticated, service_role;

-- =====================================================================================================
-- Policies and grants
-- =====================================================================================================

alter table lms.enrollments enable row level security;

grant all on lms.enrollments to service_role;
grant select on lms.enrollments to authenticated;
-- enrolled_at is accepted because clients send it, and overruled.
grant insert (user_id, course_id, enrolled_at, due_at, expires_at) on lms.enrollments to authenticated;
grant update (due_at, expires_at) on lms.enrollments to authenticated;

create policy "Enrolments are seen by their learner, staff and in scope" on lms.enrollments
  for select to authenticated
  using (
    (user_id = (select auth.uid()) and tenant_id <> all (array(select private.closed_tenants())))
    or tenant_id = any (array(select private.tenants_where('enrollments.read')))
    or unit_id = any (array(select private.units_where('enrollments.read')))
    or course_id = any (array(select private.staffed_courses()))
  );

-- The trigger has decided by then whether this person may begin this course.
create policy "People enrol themselves, and others in scope" on lms.enrollments
  for insert to authenticated
  with check (
    user_id = (select auth.uid())
    or tenant_id = any (array(select private.tenants_where('enrollments.write')))
    or unit_id = any (array(select private.units_where('enrollments.write')))
    or course_id = any (array(select private.staffed_courses()))
  );

create policy "Due and expiry dates are changed in scope" on lms.enrollments
  for update to authenticated
  using (
    tenant_id = any (array(select private.tenants_where('enrollments.write')))
    or unit_id = any (array(select private.units_where('enrollments.write')))
    or course_id = any (array(select private.staffed_courses()))
  )
  with check (
    tenant_id = any (array(select private.tenants_where('enrollments.write')))
    or unit_id = any (array(select private.units_where('enrollments.write')))
    or course_id = any (array(select private.staffed_courses()))
  );

notify pgrst, 'reload schema';
