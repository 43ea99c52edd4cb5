-- What reports are made of: in whose scope, which rows count, what they add up to, and the sums that are kept so that asking
-- costs what the answer does and not what the history does. docs/reports.md draws how.
-- Undo: delete from ops.jobs where name in ('fold-reports', 'check-rollups'), with their cron jobs; drop the triggers _700_reports
-- of lms.enrollments, lms.memberships, lms.tenants, analytics.learning_sessions, private.question_events and
-- activity_events; drop the tables private.report_*; then the functions, views and types below.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Scope
-- =====================================================================================================
-- Reports add up rows that nobody could list in the time, so they are not read row by row through the policies. What the
-- policies would let the caller read is therefore said here, once, and every report takes it from here; tests compare it
-- with the policies themselves. The caller's own rows are no part of it: a report is about the people in somebody's scope.

create type private.report_scope as (
  tenant_id uuid,
  time_zone text,
  is_whole boolean,
  units uuid[],
  courses uuid[],
  of_units uuid[],
  of_course uuid,
  of_people uuid[],
  from_day date,
  until_day date,
  since timestamptz,
  before timestamptz,
  deleted_courses uuid[]
);

comment on type private.report_scope is
  'What a report is about. A row counts that is in the caller''s scope (is_whole, or its unit in units, or its course in '
  'courses) and asked for (of_units, of_course, of_people, from_day to until_day; null: not limited), and whose course is not '
  'deleted. Days are those of the tenant''s time zone.';

create function private.require_period(p_from date, p_until date)
returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  -- Beyond these there are no days before and after, nor months around them.
  if p_from > p_until or p_from < date '1900-01-01' or p_until < date '1900-01-01' or p_from > date '9999-01-01' or p_until > date '9999-01-01' then
    perform private.fail(
      'invalid_period', 'A period begins before it ends, between 1900 and 9999.', 422, jsonb_build_object('field', 'p_until')
    );
  end if;
end
$$;

-- Where clocks are put back over midnight (the Azores), its hour comes twice, and both are of the new day: the cast takes the
-- second, and what happened in the first would be on one day by its date and on the day before by its time.
create function private.day_begins(p_day date, p_time_zone text)
returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
declare
  v_at constant timestamptz := p_day::timestamp at time zone p_time_zone;
  v_just_before constant timestamptz := v_at - interval '1 microsecond';
begin
  if isfinite(v_at) and (v_just_before at time zone p_time_zone) >= p_day then
    return v_just_before - ((v_just_before at time zone p_time_zone) - p_day::timestamp);
  end if;
  return v_at;
end
$$;

comment on function private.day_begins is 'The first instant of a day of a time zone.';

-- Days and the instants between which they lie: of many rows these are compared in a fraction of the time.
create function private.set_period(p_scope private.report_scope, p_from date, p_until date)
returns private.report_scope
language plpgsql
stable
set search_path = ''
as $$
begin
  p_scope.from_day := p_from;
  p_scope.until_day := p_until;
  p_scope.since := coalesce(private.day_begins(p_from, p_scope.time_zone), '-infinity');
  p_scope.before := coalesce(private.day_begins(p_until + 1, p_scope.time_zone), 'infinity');
  return p_scope;
end
$$;

create function private.report_scope(
  p_permission text, p_tenant_id uuid, p_unit_id uuid, p_course_id uuid, p_cohort_id uuid, p_from date, p_until date
)
returns private.report_scope
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_scope private.report_scope;
begin
  v_scope.tenant_id := p_tenant_id;
  if not private.is_api_call() then
    v_scope.is_whole := true;
    v_scope.units := '{}';
    v_scope.courses := '{}';
  else
    -- Reports ask for their own permission and for that of the rows: neither is a way around the other.
    v_scope.is_whole := p_tenant_id = any (array(select private.tenants_where('reports.read')))
      and p_tenant_id = any (array(select private.tenants_where(p_permission)));
    v_scope.units := array(
      select u.id
      from lms.org_units u
      where u.tenant_id = p_tenant_id
        and (
          u.id = any (array(select private.units_where('reports.read')))
          or p_tenant_id = any (array(select private.tenants_where('reports.read')))
        )
        and (
          u.id = any (array(select private.units_where(p_permission)))
          or p_tenant_id = any (array(select private.tenants_where(p_permission)))
        )
        and not v_scope.is_whole
    );
    v_scope.courses := array(
      select c.id
      from lms.courses c
      where c.tenant_id = p_tenant_id and c.id = any (array(select private.staffed_courses())) and c.deleted_at is null
    );
    if not (v_scope.is_whole or cardinality(v_scope.units) > 0 or cardinality(v_scope.courses) > 0) then
      -- Also where there is no such tenant.
      perform private.fail(
        'report_not_allowed', 'You read no reports in this organisation.', 403, null,
        'It takes reports.read in it or in one of its units, or being on the staff of one of its courses.'
      );
    end if;
  end if;
  perform private.require_period(p_from, p_until);

  select t.time_zone into v_scope.time_zone from lms.tenants t where t.id = p_tenant_id;
  if p_unit_id is not null then
    v_scope.of_units := array(
      select c.descendant_id
      from private.org_unit_closure c
      join lms.org_units u on u.id = c.descendant_id
      where c.ancestor_id = p_unit_id and u.tenant_id = p_tenant_id
    );
  end if;
  v_scope.of_course := p_course_id;
  if p_cohort_id is not null then
    v_scope.of_people := array(
      select k.user_id
      from lms.cohort_members k
      where k.cohort_id = p_cohort_id and k.tenant_id = p_tenant_id and (
        not private.is_api_call()
        or k.cohort_id = any (array(select private.my_cohorts()))
        or k.cohort_id = any (array(select private.cohorts_where('members.read')))
      )
    );
  end if;
  v_scope := private.set_period(v_scope, p_from, p_until);
  v_scope.deleted_courses := array(
    select c.id from lms.courses c where c.tenant_id = p_tenant_id and c.deleted_at is not null
  );
  return v_scope;
end
$$;

comment on function private.report_scope is
  'What the caller may read of what is asked for, with reports.read and the permission of the rows, or as staff of a course. 403 '
  'report_not_allowed where that can be nothing; 422 invalid_period.';

-- Where a report shows two kinds of rows in one number, or beside each other: what of a scope another permission covers as well.
create function private.also_where(p_scope private.report_scope, p_permission text)
returns private.report_scope
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  if not private.is_api_call() or p_scope.tenant_id = any (array(select private.tenants_where(p_permission))) then
    return p_scope;
  end if;
  p_scope.units := array(
    select u.id
    from lms.org_units u
    where u.tenant_id = p_scope.tenant_id and u.id = any (array(select private.units_where(p_permission)))
      and (p_scope.is_whole or u.id = any (p_scope.units))
  );
  p_scope.is_whole := false;
  return p_scope;
end
$$;

-- =====================================================================================================
-- Pages
-- =====================================================================================================

create function private.make_cursor(variadic p_key text[])
returns text
language plpgsql
immutable
set search_path = ''
as $$
begin
  return translate(encode(convert_to(array_to_json(p_key)::text, 'UTF8'), 'base64'), E'+/=\n', '-_');
end
$$;

comment on function private.make_cursor is 'The key of a row as text that clients hand back to continue after it.';

-- Clients may send anything: a key that is none of its types is refused here, in words, before a cast would.
create function private.read_cursor(p_cursor text, variadic p_types text[])
returns text[]
language plpgsql
stable
set search_path = ''
as $$
declare
  v_text text;
  v_key text[];
begin
  if p_cursor is null then
    return null;
  end if;
  v_text := translate(p_cursor, '-_', '+/');
  v_text := v_text || repeat('=', (4 - length(v_text) % 4) % 4);
  v_key := array(
    select e.value from json_array_elements_text(convert_from(decode(v_text, 'base64'), 'UTF8')::json) with ordinality as e (value, place)
    order by e.place
  );
  if cardinality(v_key) <> cardinality(p_types) then
    raise invalid_text_representation;
  end if;
  for i in 1..cardinality(p_types) loop
    if coalesce(
      case p_types[i]
        when 'uuid' then v_key[i]::uuid is null
        when 'numeric' then v_key[i]::numeric is null
        -- After it there must be another instant.
        when 'timestamptz' then v_key[i]::timestamptz > timestamptz '9999-12-31 00:00Z'
        else v_key[i] is null
      end,
      true
    ) then
      raise invalid_text_representation;
    end if;
  end loop;
  return v_key;
exception
  when data_exception then
    perform private.fail(
      'invalid_cursor', 'This is no cursor of this report.', 422, jsonb_build_object('field', 'p_after'),
      'Send the cursor of the last row that was received.'
    );
    return null;
end
$$;

create function private.require_page(p_limit integer)
returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  if p_limit is null or p_limit not between 1 and 1000 then
    perform private.fail('invalid_limit', 'A page has 1 to 1000 rows.', 422, jsonb_build_object('field', 'p_limit'));
  end if;
end
$$;

create function private.require_step(p_step text)
returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  if p_step is null or p_step not in ('day', 'week', 'month') then
    perform private.fail(
      'invalid_step', 'The step is day, week or month.', 422, jsonb_build_object('field', 'p_step')
    );
  end if;
end
$$;

grant execute on function
  private.make_cursor, private.read_cursor, private.require_page, private.require_step, private.require_period,
  private.day_begins
to authenticated, service_role;

-- =====================================================================================================
-- What rows add up to
-- =====================================================================================================
-- From the facts themselves: of cohorts, where the sums do not hold, and what the sums are compared with.

-- What one cycle adds: the only place that says so.
create view private.enrollment_counts with (security_invoker = true) as
select
  e.tenant_id, e.unit_id, e.course_id, e.user_id, e.enrolled_at, e.completed_at,
  (e.status = 'dropped')::integer as dropped,
  (e.status = 'completed')::integer as completed,
  (e.status in ('enrolled', 'paused', 'expired') and e.started_at is null)::integer as not_started,
  (e.status = 'completed' or e.started_at is not null or e.items_done > 0)::integer as started,
  (e.status = 'completed' or (e.items_total > 0 and 2 * e.items_done >= e.items_total))::integer as half,
  case when e.status = 'dropped' then 0 else (100 * e.progress_percentage)::integer end as progress
from lms.enrollments e;

create type private.enrollment_numbers as (
  group_id uuid,
  enrolled bigint,
  dropped bigint,
  completed bigint,
  not_started bigint,
  started bigint,
  half bigint,
  progress bigint
);

comment on type private.enrollment_numbers is
  'Cycles, of these dropped, completed, not begun (and not dropped); begun, at least half done (completed ones included); sum of '
  'the percentages of those not dropped, in hundredths.';

create function private.enrollment_facts(p_scope private.report_scope, p_group text)
returns setof private.enrollment_numbers
language plpgsql
stable
rows 100
set search_path = ''
as $$
begin
  return query
  select
    case p_group when 'course' then e.course_id when 'unit' then e.unit_id end,
    count(*), sum(e.dropped), sum(e.completed), sum(e.not_started), sum(e.started), sum(e.half), sum(e.progress)
  from private.enrollment_counts e
  where e.tenant_id = p_scope.tenant_id
    and (p_scope.is_whole or e.unit_id = any (p_scope.units) or e.course_id = any (p_scope.courses))
    and (p_scope.of_units is null or e.unit_id = any (p_scope.of_units))
    and (p_scope.of_course is null or e.course_id = p_scope.of_course)
    and (p_scope.of_people is null or e.user_id = any (p_scope.of_people))
    and (p_scope.from_day is null or (e.enrolled_at at time zone p_scope.time_zone)::date >= p_scope.from_day)
    and (p_scope.until_day is null or (e.enrolled_at at time zone p_scope.time_zone)::date <= p_scope.until_day)
    and e.course_id <> all (p_scope.deleted_courses)
  group by 1;
end
$$;

create type private.question_numbers as (
  course_id uuid,
  section_key text,
  question_key text,
  attempts bigint,
  correct bigint
);

create function private.question_facts(p_scope private.report_scope)
returns setof private.question_numbers
language plpgsql
stable
rows 1000
set search_path = ''
as $$
begin
  return query
  select q.course_id, q.section_key::text, q.question_key::text, count(*), count(*) filter (where q.is_correct)
  from private.question_events q
  where q.tenant_id = p_scope.tenant_id and q.is_counted and q.is_correct is not null
    and (p_scope.is_whole or q.unit_id = any (p_scope.units) or q.course_id = any (p_scope.courses))
    and (p_scope.of_units is null or q.unit_id = any (p_scope.of_units))
    and (p_scope.of_course is null or q.course_id = p_scope.of_course)
    and (p_scope.of_people is null or q.user_id = any (p_scope.of_people))
    and (p_scope.from_day is null or (q.received_at at time zone p_scope.time_zone)::date >= p_scope.from_day)
    and (p_scope.until_day is null or (q.received_at at time zone p_scope.time_zone)::date <= p_scope.until_day)
    and q.course_id <> all (p_scope.deleted_courses)
    -- INV-A1: the caller's own answers in assessments only once they are shown to them, as the policy of events has it.
    and not (
      q.source = 'server' and q.user_id is not distinct from (select auth.uid()) and private.is_api_call()
      and q.course_id <> all (p_scope.courses)
      and not coalesce(q.attempt_id = any (array(select private.my_shown_attempts())), false)
    )
  group by 1, 2, 3;
end
$$;

create type private.activity_numbers as (period_start date, people bigint, events bigint);

create function private.activity_facts(p_scope private.report_scope, p_step text)
returns setof private.activity_numbers
language plpgsql
stable
rows 100
set search_path = ''
as $$
begin
  return query
  select date_trunc(p_step, a.received_at at time zone p_scope.time_zone)::date, count(distinct a.user_id), count(*)
  from (
    select q.tenant_id, q.unit_id, q.course_id, q.user_id, q.received_at from private.question_events q
    union all
    select v.tenant_id, v.unit_id, v.course_id, v.user_id, v.received_at from private.activity_events v
  ) a
  where a.tenant_id = p_scope.tenant_id
    and (p_scope.is_whole or a.unit_id = any (p_scope.units) or a.course_id = any (p_scope.courses))
    and (p_scope.of_units is null or a.unit_id = any (p_scope.of_units))
    and (p_scope.of_course is null or a.course_id = p_scope.of_course)
    and (p_scope.of_people is null or a.user_id = any (p_scope.of_people))
    and (p_scope.from_day is null or (a.received_at at time zone p_scope.time_zone)::date >= p_scope.from_day)
    and (p_scope.until_day is null or (a.received_at at time zone p_scope.time_zone)::date <= p_scope.until_day)
    and a.course_id <> all (p_scope.deleted_courses)
  group by 1;
end
$$;

create type private.outcome_numbers as (period_start date, completions bigint, seconds bigint);

create function private.outcome_facts(p_scope private.report_scope, p_step text)
returns setof private.outcome_numbers
language plpgsql
stable
rows 100
set search_path = ''
as $$
begin
  return query
  select date_trunc(p_step, a.at at time zone p_scope.time_zone)::date, sum(a.completions)::bigint, sum(a.seconds)::bigint
  from (
    select e.tenant_id, e.unit_id, e.course_id, e.user_id, e.completed_at as at, 1 as completions, 0 as seconds
    from private.enrollment_counts e
    where e.completed_at is not null
    union all
    select s.tenant_id, s.unit_id, s.course_id, s.user_id, s.started_at, 0, s.duration_seconds
    from analytics.learning_sessions s
    where s.ended_at is not null
  ) a
  where a.tenant_id = p_scope.tenant_id
    and (p_scope.is_whole or a.unit_id = any (p_scope.units) or a.course_id = any (p_scope.courses))
    and (p_scope.of_units is null or a.unit_id = any (p_scope.of_units))
    and (p_scope.of_course is null or a.course_id = p_scope.of_course)
    and (p_scope.of_people is null or a.user_id = any (p_scope.of_people))
    and (p_scope.from_day is null or (a.at at time zone p_scope.time_zone)::date >= p_scope.from_day)
    and (p_scope.until_day is null or (a.at at time zone p_scope.time_zone)::date <= p_scope.until_day)
    and a.course_id <> all (p_scope.deleted_courses)
  group by 1;
end
$$;

create type private.people_numbers as (unit_id uuid, people bigint);

-- INV-N2: a person once, in their home unit of today. Who is suspended still belongs to it; guests belong to none.
create function private.people_facts(p_scope private.report_scope)
returns setof private.people_numbers
language plpgsql
stable
rows 100
set search_path = ''
as $$
begin
  return query
  select m.unit_id, count(*)
  from lms.memberships m
  where m.tenant_id = p_scope.tenant_id and m.status <> 'ended' and not m.is_guest
    and (p_scope.is_whole or m.unit_id = any (p_scope.units))
    and (p_scope.of_units is null or m.unit_id = any (p_scope.of_units))
  group by 1;
end
$$;

create type private.lesson_numbers as (lesson_id uuid, reached bigint, completed bigint);

create function private.lesson_facts(p_scope private.report_scope)
returns setof private.lesson_numbers
language plpgsql
stable
rows 100
set search_path = ''
as $$
begin
  return query
  select p.lesson_id, count(*), count(p.completed_at)
  from lms.lesson_progress p
  join lms.enrollments e on e.id = p.enrollment_id
  where p.tenant_id = p_scope.tenant_id and p.course_id = p_scope.of_course
    and (p_scope.is_whole or e.unit_id = any (p_scope.units) or p.course_id = any (p_scope.courses))
    and (p_scope.of_units is null or e.unit_id = any (p_scope.of_units))
    and p.course_id <> all (p_scope.deleted_courses)
  group by p.lesson_id;
end
$$;

create type private.retention_numbers as (started date, period integer, size bigint, active bigint);

create function private.retention_numbers(p_scope private.report_scope, p_step text)
returns setof private.retention_numbers
language plpgsql
stable
rows 100
set search_path = ''
as $$
declare
  v_months constant boolean := p_step = 'month';
  v_days constant integer := case p_step when 'week' then 7 else 1 end;
begin
  return query
  with begun as (
    select e.user_id, date_trunc(p_step, min(e.enrolled_at at time zone p_scope.time_zone))::date as started
    from private.enrollment_counts e
    where e.tenant_id = p_scope.tenant_id
      and (p_scope.is_whole or e.unit_id = any (p_scope.units) or e.course_id = any (p_scope.courses))
      and (p_scope.of_units is null or e.unit_id = any (p_scope.of_units))
      and (p_scope.of_course is null or e.course_id = p_scope.of_course)
      and (p_scope.of_people is null or e.user_id = any (p_scope.of_people))
      and e.course_id <> all (p_scope.deleted_courses)
    group by e.user_id
  ),
  cohorts as (
    select b.user_id, b.started
    from begun b
    where (p_scope.from_day is null or b.started >= p_scope.from_day) and (p_scope.until_day is null or b.started <= p_scope.until_day)
  ),
  active as (
    select c.started, c.user_id, date_trunc(p_step, a.received_at at time zone p_scope.time_zone)::date as at
    from cohorts c
    join (
      select q.tenant_id, q.unit_id, q.course_id, q.user_id, q.received_at from private.question_events q
      union all
      select v.tenant_id, v.unit_id, v.course_id, v.user_id, v.received_at from private.activity_events v
    ) a on a.user_id = c.user_id and a.tenant_id = p_scope.tenant_id
    where (p_scope.is_whole or a.unit_id = any (p_scope.units) or a.course_id = any (p_scope.courses))
      and (p_scope.of_units is null or a.unit_id = any (p_scope.of_units))
      and (p_scope.of_course is null or a.course_id = p_scope.of_course)
      and a.course_id <> all (p_scope.deleted_courses)
    group by 1, 2, 3
  ),
  counted as (
    select
      a.started,
      case
        when v_months then
          (12 * (extract(year from a.at) - extract(year from a.started)) + extract(month from a.at) - extract(month from a.started))::integer
        else (a.at - a.started) / v_days
      end as period,
      count(*) as active
    from active a
    where a.at >= a.started
    group by 1, 2
  ),
  sizes as (
    select c.started, count(*) as size from cohorts c group by 1
  )
  select s.started, n.period, s.size, coalesce(k.active, 0)
  from sizes s
  cross join generate_series(0, 11) as n (period)
  left join counted k on k.started = s.started and k.period = n.period
  where case
    when v_months then (s.started + make_interval(months => n.period))::date
    else s.started + n.period * v_days
  end <= (now() at time zone p_scope.time_zone)::date;
end
$$;

-- =====================================================================================================
-- Sums that are kept
-- =====================================================================================================
-- Whoever records something must not wait for whoever else does (INV-N1), so nobody but a job writes a sum. A fact carries
-- the id of its transaction: events themselves, and for rows that change, lines in private.report_changes that say by how
-- much. The job takes a horizon below which every transaction has ended, adds up what lies between the last horizon and
-- this one, and moves it. A report reads, in one snapshot, the sums and what lies beyond the horizon: together, everything.

create table private.report_state (
  is_only_row boolean primary key default true constraint report_state_is_one_row check (is_only_row),
  horizon xid8 not null default '0',
  -- Of the cluster whose transactions are counted: in a restored dump they mean nothing, and the sums are made anew.
  system_identifier bigint not null,
  folded_at timestamptz,
  checked_at timestamptz
);
insert into private.report_state (system_identifier) select c.system_identifier from pg_control_system() as c;

comment on table private.report_state is 'Up to which transaction the sums of reports go.';

create table private.report_changes (
  id bigint generated always as identity,
  tenant_id uuid not null,
  unit_id uuid,
  course_id uuid,
  at timestamptz,
  enrolled integer not null default 0,
  dropped integer not null default 0,
  completed integer not null default 0,
  not_started integer not null default 0,
  started integer not null default 0,
  half integer not null default 0,
  progress integer not null default 0,
  completions integer not null default 0,
  seconds integer not null default 0,
  people integer not null default 0,
  xid xid8 not null default pg_current_xact_id(),
  primary key (xid, id)
);

comment on table private.report_changes is
  'By how much changes of enrolments, sessions and memberships change sums; removed when they have been added up. `at` places '
  'them in a day: of an enrolment its beginning, of a completion its end, of a session its beginning; people are placed in none.';

create table private.lesson_changes (
  id bigint generated always as identity,
  tenant_id uuid not null,
  course_id uuid not null,
  lesson_id uuid not null,
  reached integer not null,
  completed integer not null,
  xid xid8 not null default pg_current_xact_id(),
  primary key (xid, id)
);

comment on table private.lesson_changes is
  'As report_changes, of lesson_progress; written by private.count_progress. Not when rows are removed: moving old detail out '
  'changes no report.';

-- In the keys, because unique keys take no nulls: every unit, or every course, is 0000..., none is ffff...; every day -infinity.
create table private.report_cells (
  tenant_id uuid not null,
  unit_key uuid not null,
  course_key uuid not null,
  day date not null,
  enrolled bigint not null,
  dropped bigint not null,
  completed bigint not null,
  not_started bigint not null,
  started bigint not null,
  half bigint not null,
  progress bigint not null,
  completions bigint not null,
  seconds bigint not null,
  people bigint not null,
  primary key (tenant_id, unit_key, course_key, day)
);
create index report_cells_by_day on private.report_cells (tenant_id, unit_key, day, course_key)
  where course_key <> '00000000-0000-0000-0000-000000000000';

create table private.question_cells (
  tenant_id uuid not null,
  unit_key uuid not null,
  month date not null,
  course_id uuid not null,
  question_key text collate "C" not null,
  section_key text collate "C" not null,
  attempts bigint not null,
  correct bigint not null,
  primary key (tenant_id, unit_key, month, course_id, question_key, section_key)
);

create index question_cells_by_course on private.question_cells (tenant_id, course_id, unit_key, month);

create table private.lesson_cells (
  tenant_id uuid not null,
  course_id uuid not null,
  lesson_id uuid not null,
  reached bigint not null,
  completed bigint not null,
  primary key (tenant_id, course_id, lesson_id)
);

create table private.active_days (
  tenant_id uuid not null,
  user_id uuid not null,
  day date not null,
  course_id uuid not null,
  unit_key uuid not null,
  events bigint not null,
  primary key (tenant_id, user_id, day, course_id, unit_key)
);
create index active_days_by_unit on private.active_days (tenant_id, unit_key, day, course_id);
create index active_days_by_course on private.active_days (tenant_id, course_id, day);

create table private.activity_cells (
  tenant_id uuid not null,
  unit_key uuid not null,
  course_key uuid not null,
  step text not null,
  period_start date not null,
  people bigint not null,
  events bigint not null,
  primary key (tenant_id, unit_key, course_key, step, period_start)
);

create table private.active_elsewhere (
  tenant_id uuid not null,
  step text not null,
  period_start date not null,
  user_id uuid not null,
  unit_key uuid not null,
  primary key (tenant_id, step, period_start, user_id, unit_key)
);

create table private.stale_reports (
  id bigint generated always as identity primary key,
  tenant_id uuid not null,
  noted_at timestamptz not null default now()
);

comment on table private.report_cells is 'Sums of report_changes, of each unit and all, each course and all, each day and all.';
comment on table private.question_cells is 'Judged answers that count, of each unit and all, each month and all.';
comment on table private.lesson_cells is 'Sums of lesson_changes.';
comment on table private.active_days is 'Who had how many events on which day, in which course and unit: people are counted once, which no sum can do.';
comment on table private.activity_cells is 'How many people and events, of all, of each unit and of each course, each day, week and month.';
comment on table private.active_elsewhere is 'The units of those who were active in more than one of them in a day, week or month.';
comment on table private.stale_reports is
  'Organisations whose sums do not hold, because a fact was changed or removed that nobody changes or removes, or because their '
  'days begin at other hours now. Their reports are made of the facts until a job has made the sums anew.';

alter table private.report_state enable row level security;
alter table private.report_changes enable row level security;
alter table private.lesson_changes enable row level security;
alter table private.report_cells enable row level security;
alter table private.question_cells enable row level security;
alter table private.lesson_cells enable row level security;
alter table private.active_days enable row level security;
alter table private.activity_cells enable row level security;
alter table private.active_elsewhere enable row level security;
alter table private.stale_reports enable row level security;

-- =====================================================================================================
-- Noting changes
-- =====================================================================================================

create function private.note_enrollments(p_rows lms.enrollments[], p_sign integer)
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  insert into private.report_changes (
    tenant_id, unit_id, course_id, at, enrolled, dropped, completed, not_started, started, half, progress
  )
  select
    e.tenant_id, e.unit_id, e.course_id, e.enrolled_at, p_sign,
    p_sign * (e.status = 'dropped')::integer,
    p_sign * (e.status = 'completed')::integer,
    p_sign * (e.status in ('enrolled', 'paused', 'expired') and e.started_at is null)::integer,
    p_sign * (e.status = 'completed' or e.started_at is not null or e.items_done > 0)::integer,
    p_sign * (e.status = 'completed' or (e.items_total > 0 and 2 * e.items_done >= e.items_total))::integer,
    p_sign * case when e.status = 'dropped' then 0 else (100 * e.progress_percentage)::integer end
  from unnest(p_rows) e;
  insert into private.report_changes (tenant_id, unit_id, course_id, at, completions)
  select e.tenant_id, e.unit_id, e.course_id, e.completed_at, p_sign
  from unnest(p_rows) e
  where e.completed_at is not null;
end
$$;

create function private.note_new_enrollments()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.note_enrollments(array(select row(n.*)::lms.enrollments from new_rows n), 1);
  return null;
end
$$;

create function private.note_removed_enrollments()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.note_enrollments(array(select row(o.*)::lms.enrollments from old_rows o), -1);
  return null;
end
$$;

-- Row by row, and for the usual case, progress, one line that says by how much: it is part of recording progress.
create function private.note_changed_enrollment()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if old.unit_id is distinct from new.unit_id or old.enrolled_at <> new.enrolled_at
    or old.completed_at is distinct from new.completed_at
  then
    perform private.note_enrollments(array[old], -1);
    perform private.note_enrollments(array[new], 1);
    return null;
  end if;
  insert into private.report_changes (tenant_id, unit_id, course_id, at, dropped, completed, not_started, started, half, progress)
  values (
    new.tenant_id, new.unit_id, new.course_id, new.enrolled_at,
    (new.status = 'dropped')::integer - (old.status = 'dropped')::integer,
    (new.status = 'completed')::integer - (old.status = 'completed')::integer,
    (new.status in ('enrolled', 'paused', 'expired') and new.started_at is null)::integer
      - (old.status in ('enrolled', 'paused', 'expired') and old.started_at is null)::integer,
    (new.status = 'completed' or new.started_at is not null or new.items_done > 0)::integer
      - (old.status = 'completed' or old.started_at is not null or old.items_done > 0)::integer,
    (new.status = 'completed' or (new.items_total > 0 and 2 * new.items_done >= new.items_total))::integer
      - (old.status = 'completed' or (old.items_total > 0 and 2 * old.items_done >= old.items_total))::integer,
    case when new.status = 'dropped' then 0 else (100 * new.progress_percentage)::integer end
      - case when old.status = 'dropped' then 0 else (100 * old.progress_percentage)::integer end
  );
  return null;
end
$$;

create trigger _700_reports after insert on lms.enrollments
  referencing new table as new_rows
  for each statement execute function private.note_new_enrollments();
create trigger _700_reports_removed after delete on lms.enrollments
  referencing old table as old_rows
  for each statement execute function private.note_removed_enrollments();
create trigger _700_reports_changed after update on lms.enrollments
  for each row when (
    old.items_done <> new.items_done or old.status <> new.status or old.items_total <> new.items_total
    or old.unit_id is distinct from new.unit_id or old.started_at is distinct from new.started_at
    or old.completed_at is distinct from new.completed_at or old.enrolled_at <> new.enrolled_at
  )
  execute function private.note_changed_enrollment();

create function private.note_membership()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if tg_op <> 'INSERT' and old.status <> 'ended' and not old.is_guest then
    insert into private.report_changes (tenant_id, unit_id, people) values (old.tenant_id, old.unit_id, -1);
  end if;
  if tg_op <> 'DELETE' and new.status <> 'ended' and not new.is_guest then
    insert into private.report_changes (tenant_id, unit_id, people) values (new.tenant_id, new.unit_id, 1);
  end if;
  return null;
end
$$;

create trigger _700_reports after insert or delete on lms.memberships
  for each row execute function private.note_membership();
create trigger _700_reports_changed after update on lms.memberships
  for each row when ((old.unit_id, old.status, old.is_guest) is distinct from (new.unit_id, new.status, new.is_guest))
  execute function private.note_membership();

create function private.note_session()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if tg_op <> 'INSERT' and old.ended_at is not null then
    insert into private.report_changes (tenant_id, unit_id, course_id, at, seconds)
    values (old.tenant_id, old.unit_id, old.course_id, old.started_at, -old.duration_seconds);
  end if;
  if tg_op <> 'DELETE' and new.ended_at is not null then
    insert into private.report_changes (tenant_id, unit_id, course_id, at, seconds)
    values (new.tenant_id, new.unit_id, new.course_id, new.started_at, new.duration_seconds);
  end if;
  return null;
end
$$;

create trigger _700_reports after insert on analytics.learning_sessions
  for each row when (new.ended_at is not null) execute function private.note_session();
create trigger _700_reports_removed after delete on analytics.learning_sessions
  for each row when (old.ended_at is not null) execute function private.note_session();
create trigger _700_reports_changed after update on analytics.learning_sessions
  for each row when (
    (old.ended_at, old.started_at, old.unit_id) is distinct from (new.ended_at, new.started_at, new.unit_id)
    and (old.ended_at is not null or new.ended_at is not null)
  )
  execute function private.note_session();

-- Events are never changed. Where they are nevertheless, in an erasure or a repair by hand, the sums of the organisation are
-- not trusted any more; whoever does it past the triggers that forbid it is noticed, too.
create function private.note_changed_events()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  insert into private.stale_reports (tenant_id) select distinct o.tenant_id from old_rows o;
  return null;
end
$$;

-- Triggers of statements belong to the table that a statement names: partitions have their own.
create function private.watch_events(p_table regclass)
returns void
language plpgsql
volatile
set search_path = ''
as $$
begin
  execute format(
    'create trigger _700_reports_removed after delete on %s referencing old table as old_rows '
    'for each statement execute function private.note_changed_events()',
    p_table
  );
  execute format(
    'create trigger _700_reports_changed after update on %s referencing old table as old_rows '
    'for each statement execute function private.note_changed_events()',
    p_table
  );
  execute format('alter table %s enable always trigger _700_reports_removed', p_table);
  execute format('alter table %s enable always trigger _700_reports_changed', p_table);
end
$$;

do $$
begin
  perform private.watch_events(t.name)
  from unnest(array[
    'private.question_events', 'private.question_events_default', 'private.activity_events', 'private.activity_events_default'
  ]::regclass[]) as t (name);
end
$$;

create function private.note_time_zone()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  insert into private.stale_reports (tenant_id) values (new.id);
  return null;
end
$$;

create trigger _700_reports after update of time_zone on lms.tenants
  for each row when (old.time_zone <> new.time_zone) execute function private.note_time_zone();

-- =====================================================================================================
-- Folding
-- =====================================================================================================

-- What a set of new events makes of who was active when. People are counted where they were not active in that step before.
create function private.fold_activity(p_from xid8, p_until xid8, p_anew boolean default false, p_tenant_id uuid default null)
returns void
language plpgsql
volatile
set search_path = ''
-- Each person is looked up; what statistics say of a table that is just being filled is of no use.
set enable_seqscan = off
as $$
declare
  v_all constant uuid := uuid '00000000-0000-0000-0000-000000000000';
  v_none constant uuid := uuid 'ffffffff-ffff-ffff-ffff-ffffffffffff';
begin
  with events as (
    select a.tenant_id, a.user_id, (a.received_at at time zone t.time_zone)::date as day, a.course_id, coalesce(a.unit_id, v_none) as unit_key,
      sum(a.events) as events
    from (
      select q.tenant_id, q.user_id, q.received_at, q.course_id, q.unit_id, 1 as events
      from private.question_events q
      where q.xid >= p_from and q.xid < p_until and (p_tenant_id is null or q.tenant_id = p_tenant_id)
      union all
      select v.tenant_id, v.user_id, v.received_at, v.course_id, v.unit_id, 1
      from private.activity_events v
      where v.xid >= p_from and v.xid < p_until and (p_tenant_id is null or v.tenant_id = p_tenant_id)
    ) a
    join lms.tenants t on t.id = a.tenant_id
    group by 1, 2, 3, 4, 5
  ),
  added as (
    insert into private.active_days as d (tenant_id, user_id, day, course_id, unit_key, events)
    select e.tenant_id, e.user_id, e.day, e.course_id, e.unit_key, e.events from events e
    on conflict (tenant_id, user_id, day, course_id, unit_key) do update set events = d.events + excluded.events
    -- Rows that were there already have a past.
    returning d.*, d.xmax = 0 as is_new
  ),
  -- `active_days` is read as it was before this statement.
  people as (
    select k.tenant_id, k.unit_key, k.course_key, s.step, k.period_start, count(*) as people
    from unnest(array['day', 'week', 'month']) as s (step)
    cross join lateral (
      select distinct n.tenant_id, u.unit_key, u.course_key, date_trunc(s.step, n.day::timestamp)::date as period_start, n.user_id
      from added n
      cross join lateral (values (v_all, v_all), (n.unit_key, v_all), (v_all, n.course_id)) as u (unit_key, course_key)
      where n.is_new
    ) k
    where p_anew or not exists (
      select
      from private.active_days d
      where d.tenant_id = k.tenant_id and d.user_id = k.user_id
        and d.day >= k.period_start and d.day < k.period_start + ('1 ' || s.step)::interval
        and (k.course_key = v_all or d.course_id = k.course_key)
        and (k.unit_key = v_all or d.unit_key = k.unit_key)
    )
    group by 1, 2, 3, 4, 5
  ),
  counted as (
    select e.tenant_id, u.unit_key, u.course_key, s.step, date_trunc(s.step, e.day::timestamp)::date as period_start, sum(e.events)::bigint as events
    from events e
    cross join unnest(array['day', 'week', 'month']) as s (step)
    cross join lateral (values (v_all, v_all), (e.unit_key, v_all), (v_all, e.course_id)) as u (unit_key, course_key)
    group by 1, 2, 3, 4, 5
  )
  insert into private.activity_cells as r (tenant_id, unit_key, course_key, step, period_start, people, events)
  select n.tenant_id, n.unit_key, n.course_key, n.step, n.period_start, coalesce(p.people, 0), n.events
  from counted n
  left join people p using (tenant_id, unit_key, course_key, step, period_start)
  on conflict (tenant_id, unit_key, course_key, step, period_start) do update
  set people = r.people + excluded.people, events = r.events + excluded.events;

  -- Those of them who were in several units.
  insert into private.active_elsewhere (tenant_id, step, period_start, user_id, unit_key)
  select distinct m.tenant_id, m.step, m.period_start, m.user_id, d.unit_key
  from (
    select a.tenant_id, a.user_id, s.step, date_trunc(s.step, a.day::timestamp)::date as period_start
    from (
      select e.tenant_id, e.user_id, (e.received_at at time zone t.time_zone)::date as day
      from (
        select q.tenant_id, q.user_id, q.received_at
        from private.question_events q
        where q.xid >= p_from and q.xid < p_until and not p_anew
        union all
        select v.tenant_id, v.user_id, v.received_at
        from private.activity_events v
        where v.xid >= p_from and v.xid < p_until and not p_anew
      ) e
      join lms.tenants t on t.id = e.tenant_id
      union
      select d.tenant_id, d.user_id, d.day
      from private.active_days d
      where p_anew and (d.tenant_id, d.user_id) in (
        select o.tenant_id, o.user_id
        from private.active_days o
        where p_tenant_id is null or o.tenant_id = p_tenant_id
        group by 1, 2
        having count(distinct o.unit_key) > 1
      )
    ) a
    cross join unnest(array['day', 'week', 'month']) as s (step)
    group by 1, 2, 3, 4
  ) m
  join private.active_days d on d.tenant_id = m.tenant_id and d.user_id = m.user_id
    and d.day >= m.period_start and d.day < m.period_start + ('1 ' || m.step)::interval
  where exists (
    select
    from private.active_days o
    where o.tenant_id = m.tenant_id and o.user_id = m.user_id
      and o.day >= m.period_start and o.day < m.period_start + ('1 ' || m.step)::interval and o.unit_key <> d.unit_key
  )
  on conflict do nothing;
end
$$;

create function private.fold_questions(p_from xid8, p_until xid8, p_tenant_id uuid default null)
returns void
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_all constant uuid := uuid '00000000-0000-0000-0000-000000000000';
  v_none constant uuid := uuid 'ffffffff-ffff-ffff-ffff-ffffffffffff';
begin
  insert into private.question_cells as r (tenant_id, unit_key, month, course_id, question_key, section_key, attempts, correct)
  select a.tenant_id, u.unit_key, m.month, a.course_id, a.question_key, a.section_key, sum(a.attempts), sum(a.correct)
  from (
    select
      q.tenant_id, coalesce(q.unit_id, v_none) as unit_key, date_trunc('month', q.received_at at time zone t.time_zone)::date as month,
      q.course_id, q.question_key::text as question_key, q.section_key::text as section_key,
      count(*) as attempts, count(*) filter (where q.is_correct) as correct
    from private.question_events q
    join lms.tenants t on t.id = q.tenant_id
    where q.xid >= p_from and q.xid < p_until and q.is_counted and q.is_correct is not null
      and (p_tenant_id is null or q.tenant_id = p_tenant_id)
    group by 1, 2, 3, 4, 5, 6
  ) a
  cross join lateral (values (v_all), (a.unit_key)) as u (unit_key)
  cross join lateral (values (date '-infinity'), (a.month)) as m (month)
  group by 1, 2, 3, 4, 5, 6
  on conflict (tenant_id, unit_key, month, course_id, question_key, section_key) do update
  set attempts = r.attempts + excluded.attempts, correct = r.correct + excluded.correct;
end
$$;

-- Everything that lines of report_changes have ever said, from the facts.
create view private.report_facts with (security_invoker = true) as
select
  e.tenant_id, e.unit_id, e.course_id, e.enrolled_at as at, 1 as enrolled, e.dropped, e.completed, e.not_started, e.started, e.half,
  e.progress, 0 as completions, 0 as seconds, 0 as people
from private.enrollment_counts e
union all
select e.tenant_id, e.unit_id, e.course_id, e.completed_at, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0
from private.enrollment_counts e
where e.completed_at is not null
union all
select s.tenant_id, s.unit_id, s.course_id, s.started_at, 0, 0, 0, 0, 0, 0, 0, 0, s.duration_seconds, 0
from analytics.learning_sessions s
where s.ended_at is not null
union all
select m.tenant_id, m.unit_id, null, null, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1
from lms.memberships m
where m.status <> 'ended' and not m.is_guest;

-- From lines below the horizon; or, where the sums are made anew, from the facts less the lines beyond it, in one statement
-- and so in one snapshot.
create function private.fold_changes(p_from xid8, p_until xid8, p_anew boolean default false, p_tenant_id uuid default null)
returns void
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_all constant uuid := uuid '00000000-0000-0000-0000-000000000000';
  v_none constant uuid := uuid 'ffffffff-ffff-ffff-ffff-ffffffffffff';
begin
  insert into private.report_cells as r (
    tenant_id, unit_key, course_key, day, enrolled, dropped, completed, not_started, started, half, progress, completions, seconds, people
  )
  select
    a.tenant_id, u.unit_key, c.course_key, d.day, sum(a.enrolled), sum(a.dropped), sum(a.completed), sum(a.not_started), sum(a.started),
    sum(a.half), sum(a.progress), sum(a.completions), sum(a.seconds), sum(a.people)
  from (
    select
      l.tenant_id, coalesce(l.unit_id, v_none) as unit_key, coalesce(l.course_id, v_none) as course_key,
      (l.at at time zone t.time_zone)::date as day,
      sum(l.enrolled) as enrolled, sum(l.dropped) as dropped, sum(l.completed) as completed, sum(l.not_started) as not_started,
      sum(l.started) as started, sum(l.half) as half, sum(l.progress) as progress, sum(l.completions) as completions,
      sum(l.seconds) as seconds, sum(l.people) as people
    from (
      select
        h.tenant_id, h.unit_id, h.course_id, h.at, h.enrolled, h.dropped, h.completed, h.not_started, h.started, h.half, h.progress,
        h.completions, h.seconds, h.people
      from private.report_changes h
      where not p_anew and h.xid >= p_from and h.xid < p_until
      union all
      select f.* from private.report_facts f where p_anew and (p_tenant_id is null or f.tenant_id = p_tenant_id)
      union all
      select
        h.tenant_id, h.unit_id, h.course_id, h.at, -h.enrolled, -h.dropped, -h.completed, -h.not_started, -h.started, -h.half, -h.progress,
        -h.completions, -h.seconds, -h.people
      from private.report_changes h
      where p_anew and h.xid >= p_until and (p_tenant_id is null or h.tenant_id = p_tenant_id)
    ) l
    join lms.tenants t on t.id = l.tenant_id
    group by 1, 2, 3, 4
  ) a
  cross join lateral (values (v_all), (a.unit_key)) as u (unit_key)
  cross join lateral (values (v_all), (a.course_key)) as c (course_key)
  cross join lateral (values (date '-infinity'), (a.day)) as d (day)
  where c.course_key <> v_none and d.day is not null
  group by 1, 2, 3, 4
  on conflict (tenant_id, unit_key, course_key, day) do update
  set enrolled = r.enrolled + excluded.enrolled,
      dropped = r.dropped + excluded.dropped,
      completed = r.completed + excluded.completed,
      not_started = r.not_started + excluded.not_started,
      started = r.started + excluded.started,
      half = r.half + excluded.half,
      progress = r.progress + excluded.progress,
      completions = r.completions + excluded.completions,
      seconds = r.seconds + excluded.seconds,
      people = r.people + excluded.people;
end
$$;

create function private.fold_lessons(p_from xid8, p_until xid8, p_anew boolean default false, p_tenant_id uuid default null)
returns void
language plpgsql
volatile
set search_path = ''
as $$
begin
  insert into private.lesson_cells as r (tenant_id, course_id, lesson_id, reached, completed)
  select a.tenant_id, a.course_id, a.lesson_id, sum(a.reached), sum(a.completed)
  from (
    select h.tenant_id, h.course_id, h.lesson_id, h.reached::bigint as reached, h.completed::bigint as completed
    from private.lesson_changes h
    where not p_anew and h.xid >= p_from and h.xid < p_until
    union all
    select p.tenant_id, p.course_id, p.lesson_id, count(*), count(p.completed_at)
    from lms.lesson_progress p
    where p_anew and (p_tenant_id is null or p.tenant_id = p_tenant_id)
    group by 1, 2, 3
    union all
    select h.tenant_id, h.course_id, h.lesson_id, -h.reached, -h.completed
    from private.lesson_changes h
    where p_anew and h.xid >= p_until and (p_tenant_id is null or h.tenant_id = p_tenant_id)
  ) a
  group by 1, 2, 3
  on conflict (tenant_id, course_id, lesson_id) do update
  set reached = r.reached + excluded.reached, completed = r.completed + excluded.completed;
end
$$;

-- The sums of one organisation, or of all, anew, up to the horizon. Whoever calls it holds private.report_state.
create function private.make_rollups(p_horizon xid8, p_tenant_id uuid)
returns void
language plpgsql
volatile
set search_path = ''
as $$
begin
  -- First, so that what is noted from now on is left to the next time.
  delete from private.stale_reports s where p_tenant_id is null or s.tenant_id = p_tenant_id;
  delete from private.report_cells c where p_tenant_id is null or c.tenant_id = p_tenant_id;
  delete from private.question_cells c where p_tenant_id is null or c.tenant_id = p_tenant_id;
  delete from private.lesson_cells c where p_tenant_id is null or c.tenant_id = p_tenant_id;
  delete from private.activity_cells c where p_tenant_id is null or c.tenant_id = p_tenant_id;
  delete from private.active_days d where p_tenant_id is null or d.tenant_id = p_tenant_id;
  delete from private.active_elsewhere d where p_tenant_id is null or d.tenant_id = p_tenant_id;
  perform private.fold_changes('0', p_horizon, true, p_tenant_id);
  perform private.fold_lessons('0', p_horizon, true, p_tenant_id);
  perform private.fold_questions('0', p_horizon, p_tenant_id);
  perform private.fold_activity('0', p_horizon, true, p_tenant_id);
end
$$;

create function ops.rebuild_rollups(p_tenant_id uuid default null)
returns bigint
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_state private.report_state;
  v_cluster constant bigint := (select c.system_identifier from pg_control_system() as c);
  v_table regclass;
begin
  select * into v_state from private.report_state for update;
  if v_state.system_identifier <> v_cluster then
    -- A restored dump. Its rows carry ids of another cluster's transactions; those that have not come here yet would be taken
    -- for ones beyond the horizon. They are below it from now on.
    p_tenant_id := null;
    foreach v_table in array array['private.question_events', 'private.activity_events']::regclass[] loop
      execute format('alter table %s disable trigger _100_append_only', v_table);
      execute format('update %s set xid = ''3'' where xid >= pg_snapshot_xmin(pg_current_snapshot())', v_table);
      execute format('alter table %s enable trigger _100_append_only', v_table);
    end loop;
    delete from private.report_changes;
    delete from private.lesson_changes;
  end if;
  if p_tenant_id is null then
    v_state.horizon := pg_snapshot_xmin(pg_current_snapshot());
  end if;
  perform private.make_rollups(v_state.horizon, p_tenant_id);
  if p_tenant_id is null then
    delete from private.report_changes h where h.xid < v_state.horizon;
    delete from private.lesson_changes h where h.xid < v_state.horizon;
    update private.report_state s
    set horizon = v_state.horizon, system_identifier = v_cluster, folded_at = clock_timestamp();
  end if;
  return (select count(*) from private.report_cells c where p_tenant_id is null or c.tenant_id = p_tenant_id);
end
$$;

comment on function ops.rebuild_rollups is
  'Makes the sums of reports anew from the facts, of one organisation or of all; returns how many rows of report_cells there are. '
  'Reports are right meanwhile. For operators: after data was loaded past the triggers, or when check-rollups has found a difference.';

-- INV-O1, INV-O4: whatever has been committed since the last time, about p_batch rows of each kind at most.
create function ops.fold_reports(p_batch integer default 200000)
returns bigint
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_state private.report_state;
  v_horizon xid8;
  v_full xid8;
  v_table regclass;
  v_rows bigint := 0;
  v_some bigint;
  v_tenant_id uuid;
begin
  -- One at a time. Whoever reads, and whoever records, waits for nobody here.
  select * into v_state from private.report_state for update;
  if v_state.system_identifier <> (select c.system_identifier from pg_control_system() as c) then
    return ops.rebuild_rollups();
  end if;

  v_horizon := pg_snapshot_xmin(pg_current_snapshot());
  foreach v_table in array
    array['private.question_events', 'private.activity_events', 'private.report_changes', 'private.lesson_changes']::regclass[]
  loop
    -- Up to the transaction that fills the batch, and all of that one: any id below the oldest running one will do.
    execute format('select xid from %s where xid >= $1 and xid < $2 order by xid offset $3 limit 1', v_table)
    into v_full using v_state.horizon, v_horizon, p_batch;
    if v_full is not null then
      v_horizon := (v_full::text::numeric + 1)::text::xid8;
    end if;
  end loop;
  foreach v_table in array
    array['private.question_events', 'private.activity_events', 'private.report_changes', 'private.lesson_changes']::regclass[]
  loop
    execute format('select count(*) from %s where xid >= $1 and xid < $2', v_table) into v_some using v_state.horizon, v_horizon;
    v_rows := v_rows + v_some;
  end loop;

  perform private.fold_changes(v_state.horizon, v_horizon);
  perform private.fold_lessons(v_state.horizon, v_horizon);
  perform private.fold_questions(v_state.horizon, v_horizon);
  perform private.fold_activity(v_state.horizon, v_horizon);
  delete from private.report_changes h where h.xid < v_horizon;
  delete from private.lesson_changes h where h.xid < v_horizon;
  update private.report_state s set horizon = v_horizon, folded_at = clock_timestamp();

  -- One organisation a time: its sums are needed, but not at once, since reports do without.
  select s.tenant_id into v_tenant_id from private.stale_reports s order by s.noted_at limit 1;
  if found then
    perform private.make_rollups(v_horizon, v_tenant_id);
  end if;
  return v_rows;
end
$$;

comment on function ops.fold_reports is
  'Adds what has been committed since the last run to the sums of reports, about p_batch rows of each kind at most; returns how many.';

-- =====================================================================================================
-- Reading
-- =====================================================================================================

-- Null where the sums do not hold: then the facts are asked.
create function private.rollup_horizon(p_scope private.report_scope)
returns xid8
language plpgsql
stable
set search_path = ''
as $$
begin
  if p_scope.of_people is not null or exists (select from private.stale_reports s where s.tenant_id = p_scope.tenant_id) then
    return null;
  end if;
  return (
    select s.horizon
    from private.report_state s
    where s.system_identifier = (select c.system_identifier from pg_control_system() as c)
  );
end
$$;

-- Which rows of the sums a scope takes. Of `units` all courses count except `apart`: deleted ones, and those of which the
-- caller is staff. Of these, `courses`, whatever `course_units` there are.
create type private.rollup_keys as (units uuid[], apart uuid[], course_units uuid[], courses uuid[]);

create function private.rollup_keys(p_scope private.report_scope)
returns private.rollup_keys
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_all constant uuid := uuid '00000000-0000-0000-0000-000000000000';
  v_keys private.rollup_keys;
begin
  if p_scope.is_whole then
    v_keys.units := coalesce(p_scope.of_units, array[v_all]);
    v_keys.apart := p_scope.deleted_courses;
    v_keys.course_units := '{}';
    v_keys.courses := '{}';
  else
    v_keys.units := array(
      select u.id from unnest(p_scope.units) as u (id) where p_scope.of_units is null or u.id = any (p_scope.of_units)
    );
    v_keys.apart := p_scope.deleted_courses || p_scope.courses;
    v_keys.course_units := coalesce(p_scope.of_units, array[v_all]);
    v_keys.courses := p_scope.courses;
  end if;
  return v_keys;
end
$$;

-- Rows of the sums are looked up key by key: `offset 0` keeps the planner, which knows no key, from reading all of an
-- organisation instead.
-- What lies beyond the horizon is found by its transaction. To a planner that does not know the horizon it is a third of the
-- table, and an index by organisation looks better: so the organisation is asked for in words that no index serves.
create function private.enrollment_sums(p_scope private.report_scope, p_group text, p_horizon xid8)
returns setof private.enrollment_numbers
language plpgsql
stable
rows 100
set search_path = ''
-- Sums are looked up by their keys, a few of them; plans are made without knowing how few.
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_material = off
as $$
declare
  v_all constant uuid := uuid '00000000-0000-0000-0000-000000000000';
  v_none constant uuid := uuid 'ffffffff-ffff-ffff-ffff-ffffffffffff';
  v_keys private.rollup_keys := private.rollup_keys(p_scope);
  v_first date := date '-infinity';
  v_last date := date '-infinity';
begin
  if p_scope.from_day is not null or p_scope.until_day is not null then
    v_first := coalesce(p_scope.from_day, date '0001-01-01');
    v_last := coalesce(p_scope.until_day, date '99999-01-01');
  end if;
  if p_group = 'unit' and v_keys.units = array[v_all] then
    v_keys.units := array(select u.id from lms.org_units u where u.tenant_id = p_scope.tenant_id) || v_none;
  end if;
  if p_group = 'unit' and v_keys.course_units = array[v_all] then
    v_keys.course_units := array(select u.id from lms.org_units u where u.tenant_id = p_scope.tenant_id) || v_none;
  end if;

  return query
  select
    s.group_id, sum(s.enrolled)::bigint, sum(s.dropped)::bigint, sum(s.completed)::bigint, sum(s.not_started)::bigint,
    sum(s.started)::bigint, sum(s.half)::bigint, sum(s.progress)::bigint
  from (
    -- All courses at once, and less those that are apart.
    select
      case when p_group = 'unit' then nullif(k.unit_key, v_none) end as group_id,
      k.sign * r.enrolled as enrolled, k.sign * r.dropped as dropped, k.sign * r.completed as completed,
      k.sign * r.not_started as not_started, k.sign * r.started as started, k.sign * r.half as half, k.sign * r.progress as progress
    from (
      select u.id as unit_key, v_all as course_key, 1 as sign from unnest(v_keys.units) as u (id)
      union all
      select u.id, c.id, -1 from unnest(v_keys.units) as u (id), unnest(v_keys.apart) as c (id)
      union all
      select u.id, c.id, 1 from unnest(v_keys.course_units) as u (id), unnest(v_keys.courses) as c (id)
    ) k
    cross join lateral (
      select l.*
      from private.report_cells l
      where l.tenant_id = p_scope.tenant_id and l.unit_key = k.unit_key and l.course_key = k.course_key
        and l.day >= v_first and l.day <= v_last
      offset 0
    ) r
    where p_group <> 'course' and p_scope.of_course is null
    union all
    -- One course.
    select
      case p_group when 'unit' then nullif(u.id, v_none) when 'course' then r.course_key end,
      r.enrolled, r.dropped, r.completed, r.not_started, r.started, r.half, r.progress
    from (
      select u.id from unnest(v_keys.units) as u (id) where p_scope.of_course <> all (v_keys.apart)
      union all
      select u.id from unnest(v_keys.course_units) as u (id) where p_scope.of_course = any (v_keys.courses)
    ) u
    cross join lateral (
      select l.*
      from private.report_cells l
      where l.tenant_id = p_scope.tenant_id and l.unit_key = u.id and l.course_key = p_scope.of_course
        and l.day >= v_first and l.day <= v_last
      offset 0
    ) r
    where p_scope.of_course is not null
    union all
    -- Each course.
    select r.course_key, r.enrolled, r.dropped, r.completed, r.not_started, r.started, r.half, r.progress
    from unnest(v_keys.units) as u (id)
    cross join lateral (
      select l.*
      from private.report_cells l
      where l.tenant_id = p_scope.tenant_id and l.unit_key = u.id and l.course_key <> '00000000-0000-0000-0000-000000000000'
        and l.day >= v_first and l.day <= v_last
      offset 0
    ) r
    where p_group = 'course' and p_scope.of_course is null and r.course_key <> all (v_keys.apart)
    union all
    select r.course_key, r.enrolled, r.dropped, r.completed, r.not_started, r.started, r.half, r.progress
    from unnest(v_keys.course_units) as u (id)
    cross join unnest(v_keys.courses) as c (id)
    cross join lateral (
      select l.*
      from private.report_cells l
      where l.tenant_id = p_scope.tenant_id and l.unit_key = u.id and l.course_key = c.id
        and l.day >= v_first and l.day <= v_last
      offset 0
    ) r
    where p_group = 'course' and p_scope.of_course is null
    union all
    -- What lies beyond the horizon.
    select
      case p_group when 'course' then h.course_id when 'unit' then h.unit_id end,
      h.enrolled, h.dropped, h.completed, h.not_started, h.started, h.half, h.progress
    from private.report_changes h
    where h.xid >= p_horizon and h.tenant_id is not distinct from p_scope.tenant_id and h.course_id is not null
      and (p_scope.is_whole or h.unit_id = any (p_scope.units) or h.course_id = any (p_scope.courses))
      and (p_scope.of_units is null or h.unit_id = any (p_scope.of_units))
      and (p_scope.of_course is null or h.course_id = p_scope.of_course)
      and h.at >= p_scope.since and h.at < p_scope.before
      and h.course_id <> all (p_scope.deleted_courses)
  ) s
  group by s.group_id
  having sum(s.enrolled) > 0;
end
$$;

create function private.enrollment_numbers(p_scope private.report_scope, p_group text)
returns setof private.enrollment_numbers
language plpgsql
stable
rows 100
set search_path = ''
as $$
declare
  v_horizon constant xid8 := private.rollup_horizon(p_scope);
begin
  if v_horizon is null then
    return query select * from private.enrollment_facts(p_scope, p_group);
  else
    return query select * from private.enrollment_sums(p_scope, p_group, v_horizon);
  end if;
end
$$;

create function private.outcome_sums(p_scope private.report_scope, p_step text, p_horizon xid8)
returns setof private.outcome_numbers
language plpgsql
stable
rows 100
set search_path = ''
-- Sums are looked up by their keys, a few of them; plans are made without knowing how few.
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_material = off
as $$
declare
  v_all constant uuid := uuid '00000000-0000-0000-0000-000000000000';
  v_keys constant private.rollup_keys := private.rollup_keys(p_scope);
begin
  return query
  select date_trunc(p_step, s.day::timestamp)::date, sum(s.completions)::bigint, sum(s.seconds)::bigint
  from (
    select r.day, k.sign * r.completions as completions, k.sign * r.seconds as seconds
    from (
      select u.id as unit_key, v_all as course_key, 1 as sign from unnest(v_keys.units) as u (id) where p_scope.of_course is null
      union all
      select u.id, c.id, -1 from unnest(v_keys.units) as u (id), unnest(v_keys.apart) as c (id) where p_scope.of_course is null
      union all
      select u.id, c.id, 1 from unnest(v_keys.course_units) as u (id), unnest(v_keys.courses) as c (id)
      where p_scope.of_course is null or c.id = p_scope.of_course
      union all
      select u.id, p_scope.of_course, 1 from unnest(v_keys.units) as u (id) where p_scope.of_course <> all (v_keys.apart)
    ) k
    cross join lateral (
      select l.*
      from private.report_cells l
      where l.tenant_id = p_scope.tenant_id and l.unit_key = k.unit_key and l.course_key = k.course_key
        and l.day >= p_scope.from_day and l.day <= p_scope.until_day
      offset 0
    ) r
    union all
    select (h.at at time zone p_scope.time_zone)::date, h.completions, h.seconds
    from private.report_changes h
    where h.xid >= p_horizon and h.tenant_id is not distinct from p_scope.tenant_id and (h.completions <> 0 or h.seconds <> 0)
      and (p_scope.is_whole or h.unit_id = any (p_scope.units) or h.course_id = any (p_scope.courses))
      and (p_scope.of_units is null or h.unit_id = any (p_scope.of_units))
      and (p_scope.of_course is null or h.course_id = p_scope.of_course)
      and h.at >= p_scope.since and h.at < p_scope.before
      and h.course_id <> all (p_scope.deleted_courses)
  ) s
  group by 1
  having sum(s.completions) <> 0 or sum(s.seconds) <> 0;
end
$$;

-- For periods that have a beginning and an end.
create function private.outcome_numbers(p_scope private.report_scope, p_step text)
returns setof private.outcome_numbers
language plpgsql
stable
rows 100
set search_path = ''
as $$
declare
  v_horizon constant xid8 := private.rollup_horizon(p_scope);
begin
  if v_horizon is null then
    return query select * from private.outcome_facts(p_scope, p_step);
  else
    return query select * from private.outcome_sums(p_scope, p_step, v_horizon);
  end if;
end
$$;

create function private.people_sums(p_scope private.report_scope, p_horizon xid8)
returns setof private.people_numbers
language plpgsql
stable
rows 100
set search_path = ''
-- Sums are looked up by their keys, a few of them; plans are made without knowing how few.
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_material = off
as $$
declare
  v_all constant uuid := uuid '00000000-0000-0000-0000-000000000000';
  v_none constant uuid := uuid 'ffffffff-ffff-ffff-ffff-ffffffffffff';
  v_units uuid[] := (private.rollup_keys(p_scope)).units;
begin
  if v_units = array[v_all] then
    v_units := array(select u.id from lms.org_units u where u.tenant_id = p_scope.tenant_id) || v_none;
  end if;
  return query
  select nullif(s.unit_key, v_none), sum(s.people)::bigint
  from (
    select r.unit_key, r.people
    from unnest(v_units) as u (id)
    cross join lateral (
      select l.*
      from private.report_cells l
      where l.tenant_id = p_scope.tenant_id and l.unit_key = u.id and l.course_key = v_all and l.day = '-infinity'
      offset 0
    ) r
    union all
    select coalesce(h.unit_id, v_none), h.people
    from private.report_changes h
    where h.xid >= p_horizon and h.tenant_id is not distinct from p_scope.tenant_id and h.people <> 0
      and (p_scope.is_whole or h.unit_id = any (p_scope.units))
      and (p_scope.of_units is null or h.unit_id = any (p_scope.of_units))
  ) s
  group by s.unit_key
  having sum(s.people) > 0;
end
$$;

create function private.people_numbers(p_scope private.report_scope)
returns setof private.people_numbers
language plpgsql
stable
rows 100
set search_path = ''
as $$
declare
  v_horizon constant xid8 := private.rollup_horizon(p_scope);
begin
  if v_horizon is null then
    return query select * from private.people_facts(p_scope);
  else
    return query select * from private.people_sums(p_scope, v_horizon);
  end if;
end
$$;

create function private.lesson_numbers(p_scope private.report_scope)
returns setof private.lesson_numbers
language plpgsql
stable
rows 100
set search_path = ''
as $$
declare
  v_horizon constant xid8 := private.rollup_horizon(p_scope);
begin
  -- Sums are kept of whole courses; of a unit, its enrolments in the course are few.
  if v_horizon is null or p_scope.of_units is not null
    or not (p_scope.is_whole or p_scope.of_course = any (p_scope.courses))
    or p_scope.of_course = any (p_scope.deleted_courses)
  then
    return query select * from private.lesson_facts(p_scope);
    return;
  end if;
  return query
  select s.lesson_id, sum(s.reached)::bigint, sum(s.completed)::bigint
  from (
    select r.lesson_id, r.reached, r.completed
    from private.lesson_cells r
    where r.tenant_id = p_scope.tenant_id and r.course_id = p_scope.of_course
    union all
    select h.lesson_id, h.reached, h.completed
    from private.lesson_changes h
    where h.xid >= v_horizon and h.tenant_id = p_scope.tenant_id and h.course_id = p_scope.of_course
  ) s
  group by s.lesson_id
  having sum(s.reached) > 0;
end
$$;

-- INV-A1: the caller's own answers in assessments only once they are shown to them, as the policy of events has it.
create function private.my_hidden_answers(p_scope private.report_scope)
returns setof private.question_events
language plpgsql
stable
rows 10
set search_path = ''
as $$
begin
  if private.is_api_call() then
    return query
    select q.*
    from private.question_events q
    where q.user_id = (select auth.uid()) and q.tenant_id = p_scope.tenant_id and q.source = 'server'
      and q.is_counted and q.is_correct is not null
      and q.course_id <> all (p_scope.courses)
      and not coalesce(q.attempt_id = any (array(select private.my_shown_attempts())), false);
  end if;
end
$$;

create function private.question_sums(p_scope private.report_scope, p_horizon xid8)
returns setof private.question_numbers
language plpgsql
stable
rows 1000
set search_path = ''
-- Sums are looked up by their keys, a few of them; plans are made without knowing how few.
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_material = off
as $$
declare
  v_keys constant private.rollup_keys := private.rollup_keys(p_scope);
  v_first date := date '-infinity';
  v_last date := date '-infinity';
  v_from date := p_scope.from_day;
  v_until date := p_scope.until_day;
  v_edges daterange[] := array[]::daterange[];
  v_since timestamptz;
  v_before timestamptz;
begin
  -- Whole months from the sums, the days before and after them from the facts.
  if v_from is not null or v_until is not null then
    v_first := coalesce(date_trunc('month', v_from::timestamp + interval '1 month' - interval '1 day')::date, date '0001-01-01');
    -- The first day that is not in a whole month.
    v_last := coalesce(date_trunc('month', v_until::timestamp + interval '1 day')::date, date '99999-01-01');
    if v_first >= v_last then
      v_edges := array[daterange(v_from, v_until + 1)];
      v_last := v_first;
    else
      v_edges := array(
        select e.edge
        from unnest(array[daterange(v_from, v_first), daterange(v_last, v_until + 1)]) as e (edge)
        where not isempty(e.edge) and not lower_inf(e.edge) and not upper_inf(e.edge)
      );
    end if;
    v_since := private.day_begins(v_first, p_scope.time_zone);
    v_before := private.day_begins(v_last, p_scope.time_zone);
    v_last := v_last - 1;
  end if;

  return query
  select s.course_id, s.section_key, s.question_key, sum(s.attempts)::bigint, sum(s.correct)::bigint
  from (
    select r.course_id, r.section_key, r.question_key, r.attempts, r.correct
    from unnest(v_keys.units) as u (id)
    cross join lateral (
      select l.*
      from private.question_cells l
      where l.tenant_id = p_scope.tenant_id and l.unit_key = u.id and l.month >= v_first and l.month <= v_last
      offset 0
    ) r
    where p_scope.of_course is null and r.course_id <> all (v_keys.apart)
    union all
    select r.course_id, r.section_key, r.question_key, r.attempts, r.correct
    from (
      select u.id as unit_key, p_scope.of_course as course_id from unnest(v_keys.units) as u (id) where p_scope.of_course <> all (v_keys.apart)
      union all
      select u.id, c.id
      from unnest(v_keys.course_units) as u (id), unnest(v_keys.courses) as c (id)
      where p_scope.of_course is null or c.id = p_scope.of_course
    ) k
    -- Nothing at all where neither end is open and no month is whole.
    cross join lateral (
      select l.*
      from private.question_cells l
      where l.tenant_id = p_scope.tenant_id and l.unit_key = k.unit_key and l.course_id = k.course_id
        and l.month >= v_first and l.month <= v_last
      offset 0
    ) r
    union all
    select q.course_id, q.section_key::text, q.question_key::text, 1, q.is_correct::integer
    from private.question_events q
    where q.xid >= p_horizon and q.tenant_id is not distinct from p_scope.tenant_id and q.is_counted and q.is_correct is not null
      and (p_scope.is_whole or q.unit_id = any (p_scope.units) or q.course_id = any (p_scope.courses))
      and (p_scope.of_units is null or q.unit_id = any (p_scope.of_units))
      and (p_scope.of_course is null or q.course_id = p_scope.of_course)
      and q.course_id <> all (p_scope.deleted_courses)
      and (
        v_first = '-infinity'
        or (q.received_at >= v_since and q.received_at < v_before)
      )
    union all
    select q.course_id, q.section_key::text, q.question_key::text, 1, q.is_correct::integer
    from unnest(v_edges) as e (edge)
    cross join lateral (
      select private.day_begins(lower(e.edge), p_scope.time_zone) as since, private.day_begins(upper(e.edge), p_scope.time_zone) as before
      offset 0
    ) d
    cross join lateral (
      select k.course_id, k.section_key, k.question_key, k.is_correct
      from private.question_events k
      where k.tenant_id = p_scope.tenant_id
        and k.received_at >= d.since and k.received_at < d.before
        and k.is_counted and k.is_correct is not null
        and (p_scope.is_whole or k.unit_id = any (p_scope.units) or k.course_id = any (p_scope.courses))
        and (p_scope.of_units is null or k.unit_id = any (p_scope.of_units))
        and (p_scope.of_course is null or k.course_id = p_scope.of_course)
        and k.course_id <> all (p_scope.deleted_courses)
      -- Edge by edge, and not at all where there is none.
      offset 0
    ) q
    union all
    select q.course_id, q.section_key::text, q.question_key::text, -1, -q.is_correct::integer
    from private.my_hidden_answers(p_scope) q
    where (p_scope.is_whole or q.unit_id = any (p_scope.units) or q.course_id = any (p_scope.courses))
      and (p_scope.of_units is null or q.unit_id = any (p_scope.of_units))
      and (p_scope.of_course is null or q.course_id = p_scope.of_course)
      and q.course_id <> all (p_scope.deleted_courses)
      and (v_from is null or (q.received_at at time zone p_scope.time_zone)::date >= v_from)
      and (v_until is null or (q.received_at at time zone p_scope.time_zone)::date <= v_until)
  ) s
  group by 1, 2, 3
  having sum(s.attempts) > 0;
end
$$;

create function private.question_numbers(p_scope private.report_scope)
returns setof private.question_numbers
language plpgsql
stable
rows 1000
set search_path = ''
as $$
declare
  v_horizon constant xid8 := private.rollup_horizon(p_scope);
begin
  if v_horizon is null then
    return query select * from private.question_facts(p_scope);
  else
    return query select * from private.question_sums(p_scope, v_horizon);
  end if;
end
$$;

-- How many people. Where sums are kept of what the scope takes (everything, some units, or one course), these, less those who
-- were active in several of the units and so are in several sums. Else from the days on which each was active.
create function private.activity_sums(p_scope private.report_scope, p_step text, p_horizon xid8)
returns setof private.activity_numbers
language plpgsql
stable
rows 100
set search_path = ''
-- Sums are looked up by their keys, a few of them; plans are made without knowing how few.
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_material = off
as $$
declare
  v_all constant uuid := uuid '00000000-0000-0000-0000-000000000000';
  v_none constant uuid := uuid 'ffffffff-ffff-ffff-ffff-ffffffffffff';
  v_step constant interval := ('1 ' || p_step)::interval;
  v_keys constant private.rollup_keys := private.rollup_keys(p_scope);
  v_units constant uuid[] := case when p_scope.of_course = any (v_keys.courses) then v_keys.course_units else v_keys.units end;
  v_course_key constant uuid := coalesce(p_scope.of_course, v_all);
  v_is_kept boolean;
begin
  if p_scope.of_course = any (p_scope.deleted_courses) then
    return;
  end if;
  v_is_kept := case
    when p_scope.of_course is not null then v_units = array[v_all]
    else v_keys.courses = '{}' and not exists (
      select
      from unnest(p_scope.deleted_courses) as c (id)
      cross join lateral (
        select l.*
        from private.activity_cells l
        where l.tenant_id = p_scope.tenant_id and l.unit_key = v_all and l.course_key = c.id and l.step = p_step
          and l.period_start >= p_scope.from_day and l.period_start <= p_scope.until_day
        offset 0
      ) r
    )
  end;

  return query
  -- By transaction alone; which period each belongs to is found afterwards, by the clock rather than by a list of periods, of
  -- which ten years have thousands.
  with recent as materialized (
    select q.user_id, q.received_at
    from private.question_events q
    where q.xid >= p_horizon and q.tenant_id is not distinct from p_scope.tenant_id
      and (p_scope.is_whole or q.unit_id = any (p_scope.units) or q.course_id = any (p_scope.courses))
      and (p_scope.of_units is null or q.unit_id = any (p_scope.of_units))
      and (p_scope.of_course is null or q.course_id = p_scope.of_course)
      and q.course_id <> all (p_scope.deleted_courses)
    union all
    select v.user_id, v.received_at
    from private.activity_events v
    where v.xid >= p_horizon and v.tenant_id is not distinct from p_scope.tenant_id
      and (p_scope.is_whole or v.unit_id = any (p_scope.units) or v.course_id = any (p_scope.courses))
      and (p_scope.of_units is null or v.unit_id = any (p_scope.of_units))
      and (p_scope.of_course is null or v.course_id = p_scope.of_course)
      and v.course_id <> all (p_scope.deleted_courses)
  ),
  tail as materialized (
    select p.day::date as period_start, (p.day + v_step)::date as next_start, a.user_id, count(*) as events
    from recent a
    cross join lateral (select date_trunc(p_step, a.received_at at time zone p_scope.time_zone) as day) p
    where a.received_at >= p_scope.since and a.received_at < p_scope.before
    group by 1, 2, 3
  ),
  kept as (
    select r.period_start, r.people, r.events
    from unnest(v_units) as u (id)
    cross join lateral (
      select l.*
      from private.activity_cells l
      where l.tenant_id = p_scope.tenant_id and l.unit_key = u.id and l.course_key = v_course_key
        and l.step = p_step and l.period_start >= p_scope.from_day and l.period_start <= p_scope.until_day
      offset 0
    ) r
    where v_is_kept
    union all
    select m.period_start, 1 - count(*), 0
    from private.active_elsewhere m
    where v_is_kept and v_units <> array[v_all] and m.tenant_id = p_scope.tenant_id and m.step = p_step
      and m.period_start >= p_scope.from_day and m.period_start <= p_scope.until_day and m.unit_key = any (v_units)
    group by m.period_start, m.user_id
    union all
    select t.period_start, count(*), 0
    from tail t
    where v_is_kept and not exists (
      select
      from private.active_days d
      where d.tenant_id = p_scope.tenant_id and d.user_id = t.user_id and d.day >= t.period_start and d.day < t.next_start
        and (v_course_key = v_all or d.course_id = v_course_key)
        and (v_units = array[v_all] or d.unit_key = any (v_units))
    )
    group by 1
  ),
  chosen as (
    select u.id as unit_key from unnest(v_keys.units) as u (id) where v_keys.units <> array[v_all]
    union all
    select o.id from lms.org_units o where o.tenant_id = p_scope.tenant_id and v_keys.units = array[v_all]
    union all
    select v_none where v_keys.units = array[v_all]
  ),
  days as (
    select d.day, d.user_id, d.events
    from chosen c
    cross join lateral (
      select l.*
      from private.active_days l
      where l.tenant_id = p_scope.tenant_id and l.unit_key = c.unit_key
        and l.day >= p_scope.from_day and l.day <= p_scope.until_day
      offset 0
    ) d
    where not v_is_kept and p_scope.of_course is null and d.course_id <> all (v_keys.apart)
    union all
    select d.day, d.user_id, d.events
    from private.active_days d
    where not v_is_kept and d.tenant_id = p_scope.tenant_id and d.course_id = p_scope.of_course and p_scope.of_course <> all (v_keys.apart)
      and d.day >= p_scope.from_day and d.day <= p_scope.until_day
      and (v_keys.units = array[v_all] or d.unit_key = any (v_keys.units))
    union all
    select d.day, d.user_id, d.events
    from unnest(v_keys.courses) as c (id)
    cross join lateral (
      select l.*
      from private.active_days l
      where l.tenant_id = p_scope.tenant_id and l.course_id = c.id
        and l.day >= p_scope.from_day and l.day <= p_scope.until_day
      offset 0
    ) d
    where not v_is_kept and (p_scope.of_course is null or c.id = p_scope.of_course)
      and (v_keys.course_units = array[v_all] or d.unit_key = any (v_keys.course_units))
  ),
  counted as (
    select p.period_start, count(distinct p.user_id) as people, sum(p.events)::bigint as events
    from (
      select date_trunc(p_step, d.day::timestamp)::date as period_start, d.user_id, d.events from days d
      union all
      select n.period_start, n.user_id, 0 from tail n where not v_is_kept
    ) p
    group by 1
  )
  select a.period_start, sum(a.people)::bigint, sum(a.events)::bigint
  from (
    select k.* from kept k
    union all
    select c.* from counted c
    union all
    select n.period_start, 0, n.events from tail n
  ) a
  group by 1
  having sum(a.events) > 0;
end
$$;

-- For periods that begin and end with whole steps.
create function private.activity_numbers(p_scope private.report_scope, p_step text)
returns setof private.activity_numbers
language plpgsql
stable
rows 100
set search_path = ''
as $$
declare
  v_horizon constant xid8 := private.rollup_horizon(p_scope);
begin
  if v_horizon is null then
    return query select * from private.activity_facts(p_scope, p_step);
  else
    return query select * from private.activity_sums(p_scope, p_step, v_horizon);
  end if;
end
$$;

-- =====================================================================================================
-- Checking
-- =====================================================================================================

create function private.whole_report(p_tenant_id uuid)
returns private.report_scope
language plpgsql
stable
set search_path = ''
as $$
begin
  return private.report_scope('reports.read', p_tenant_id, null, null, null, null, null);
end
$$;

-- What the sums say and the facts do not, of one organisation. Both are read in one snapshot.
create function private.rollup_differences(p_tenant_id uuid)
returns setof text
language plpgsql
stable
rows 1
set search_path = ''
as $$
declare
  v_scope private.report_scope := private.whole_report(p_tenant_id);
  v_horizon constant xid8 := private.rollup_horizon(v_scope);
begin
  if v_horizon is null then
    return;
  end if;
  return query
  select 'enrolments by course' where exists (
    (select private.enrollment_sums(v_scope, 'course', v_horizon)::text except all select private.enrollment_facts(v_scope, 'course')::text)
    union all
    (select private.enrollment_facts(v_scope, 'course')::text except all select private.enrollment_sums(v_scope, 'course', v_horizon)::text)
  );
  return query
  select 'enrolments by unit' where exists (
    (select private.enrollment_sums(v_scope, 'unit', v_horizon)::text except all select private.enrollment_facts(v_scope, 'unit')::text)
    union all
    (select private.enrollment_facts(v_scope, 'unit')::text except all select private.enrollment_sums(v_scope, 'unit', v_horizon)::text)
  );
  return query
  select 'people' where exists (
    (select private.people_sums(v_scope, v_horizon)::text except all select private.people_facts(v_scope)::text)
    union all
    (select private.people_facts(v_scope)::text except all select private.people_sums(v_scope, v_horizon)::text)
  );
  return query
  select 'answers' where exists (
    (select private.question_sums(v_scope, v_horizon)::text except all select private.question_facts(v_scope)::text)
    union all
    (select private.question_facts(v_scope)::text except all select private.question_sums(v_scope, v_horizon)::text)
  );
  v_scope := private.set_period(
    v_scope, date_trunc('month', now() - interval '13 months')::date, (date_trunc('month', now() + interval '2 months') - interval '1 day')::date
  );
  return query
  select 'activity' where exists (
    (select private.activity_sums(v_scope, 'month', v_horizon)::text except all select private.activity_facts(v_scope, 'month')::text)
    union all
    (select private.activity_facts(v_scope, 'month')::text except all select private.activity_sums(v_scope, 'month', v_horizon)::text)
  );
  return query
  select 'completions and time' where exists (
    (select private.outcome_sums(v_scope, 'month', v_horizon)::text except all select private.outcome_facts(v_scope, 'month')::text)
    union all
    (select private.outcome_facts(v_scope, 'month')::text except all select private.outcome_sums(v_scope, 'month', v_horizon)::text)
  );
end
$$;

create function ops.check_rollups(p_tenants integer default 3)
returns bigint
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_tenant_id uuid;
  v_differences text[];
  v_checked bigint := 0;
begin
  for v_tenant_id in select t.id from lms.tenants t order by random() limit p_tenants loop
    v_differences := array(select d from private.rollup_differences(v_tenant_id) d);
    if cardinality(v_differences) > 0 then
      -- The run fails, which shows in the health of jobs, and nothing is put right unseen: the reason has to be found.
      raise data_corrupted using
        message = format('Sums of reports of organisation %s differ from the facts: %s.', v_tenant_id, array_to_string(v_differences, ', ')),
        hint = format('select ops.rebuild_rollups(%L) makes them anew.', v_tenant_id);
    end if;
    v_checked := v_checked + 1;
  end loop;
  return v_checked;
end
$$;

comment on function ops.check_rollups is
  'Compares the sums of some organisations, chosen at random, with the facts; returns how many. Fails, and says where, when they '
  'differ: then ops.rebuild_rollups makes them anew.';

grant execute on function ops.rebuild_rollups, ops.fold_reports, ops.check_rollups to service_role;

-- =====================================================================================================
-- For the reports
-- =====================================================================================================
-- The only ways in: each finds out by itself what its caller may read, and hands that on to the functions above, which
-- nobody else may call.

create function private.report_enrollments(
  p_tenant_id uuid, p_unit_id uuid, p_course_id uuid, p_cohort_id uuid, p_from date, p_until date, p_group text
)
returns setof private.enrollment_numbers
language plpgsql
stable security definer
rows 100
set search_path = ''
as $$
declare
  v_scope constant private.report_scope :=
    private.report_scope('enrollments.read', p_tenant_id, p_unit_id, p_course_id, p_cohort_id, p_from, p_until);
begin
  return query select * from private.enrollment_numbers(v_scope, p_group);
end
$$;

create function private.report_questions(
  p_tenant_id uuid, p_unit_id uuid, p_course_id uuid, p_cohort_id uuid, p_from date, p_until date
)
returns setof private.question_numbers
language plpgsql
stable security definer
rows 1000
set search_path = ''
as $$
declare
  v_scope constant private.report_scope :=
    private.report_scope('progress.read', p_tenant_id, p_unit_id, p_course_id, p_cohort_id, p_from, p_until);
begin
  return query select * from private.question_numbers(v_scope);
end
$$;

create type private.question_discrimination as (section_key text, question_key text, discrimination numeric);

-- Over the learners of one course: how well they answer a question, against how well they answer the others.
create function private.report_discrimination(
  p_tenant_id uuid, p_unit_id uuid, p_course_id uuid, p_cohort_id uuid, p_from date, p_until date
)
returns setof private.question_discrimination
language plpgsql
stable security definer
rows 100
set search_path = ''
as $$
declare
  v_scope constant private.report_scope :=
    private.report_scope('progress.read', p_tenant_id, p_unit_id, p_course_id, p_cohort_id, p_from, p_until);
begin
  if p_course_id is null then
    return;
  end if;
  return query
  with answers as (
    select q.user_id, q.section_key::text as section_key, q.question_key::text as question_key, count(*) as n, count(*) filter (where q.is_correct) as c
    from private.question_events q
    where q.tenant_id = v_scope.tenant_id and q.course_id = p_course_id and q.is_counted and q.is_correct is not null
      and (v_scope.is_whole or q.unit_id = any (v_scope.units) or q.course_id = any (v_scope.courses))
      and (v_scope.of_units is null or q.unit_id = any (v_scope.of_units))
      and (v_scope.of_people is null or q.user_id = any (v_scope.of_people))
      and q.received_at >= v_scope.since and q.received_at < v_scope.before
      and q.course_id <> all (v_scope.deleted_courses)
      -- INV-A1
      and not (
        q.source = 'server' and q.user_id is not distinct from (select auth.uid()) and private.is_api_call()
        and q.course_id <> all (v_scope.courses)
      )
    group by 1, 2, 3
  ),
  shares as (
    select a.section_key, a.question_key, a.c::numeric / a.n as own, (t.c - a.c)::numeric / nullif(t.n - a.n, 0) as others
    from answers a
    join (select k.user_id, sum(k.n) as n, sum(k.c) as c from answers k group by 1) t on t.user_id = a.user_id
  )
  select s.section_key, s.question_key, round(corr(s.own, s.others)::numeric, 2)
  from shares s
  where s.others is not null
  group by 1, 2;
end
$$;

create type private.engagement_numbers as (period_start date, people bigint, events bigint, seconds bigint, completions bigint);

create function private.report_engagement(
  p_tenant_id uuid, p_unit_id uuid, p_course_id uuid, p_cohort_id uuid, p_from date, p_until date, p_step text
)
returns setof private.engagement_numbers
language plpgsql
stable security definer
rows 100
set search_path = ''
as $$
declare
  v_step constant interval := ('1 ' || p_step)::interval;
  -- Completions are enrolments, the rest is progress: whoever reads reports here reads both, or nothing is shown.
  v_scope private.report_scope :=
    private.report_scope('progress.read', p_tenant_id, p_unit_id, p_course_id, p_cohort_id, p_from, p_until);
  v_outcomes private.report_scope :=
    private.report_scope('enrollments.read', p_tenant_id, p_unit_id, p_course_id, p_cohort_id, p_from, p_until);
  v_from date;
  v_until date;
begin
  -- Whole steps: people are not counted by adding up days.
  v_until := date_trunc(p_step, coalesce(p_until, (now() at time zone v_scope.time_zone)::date)::timestamp) + v_step - interval '1 day';
  v_from := date_trunc(p_step, coalesce(p_from::timestamp, v_until - 11 * v_step));
  if v_until - v_from > 3660 then
    perform private.fail('invalid_period', 'The period is at most ten years.', 422, jsonb_build_object('field', 'p_from'));
  end if;
  v_scope := private.set_period(v_scope, v_from, v_until);
  v_outcomes := private.set_period(v_outcomes, v_from, v_until);
  return query
  select
    p.day::date, coalesce(a.people, 0), coalesce(a.events, 0), coalesce(o.seconds, 0), coalesce(o.completions, 0)
  from generate_series(v_scope.from_day::timestamp, v_scope.until_day::timestamp, v_step) as p (day)
  left join private.activity_numbers(v_scope, p_step) a on a.period_start = p.day::date
  left join private.outcome_numbers(v_outcomes, p_step) o on o.period_start = p.day::date
  where v_scope.time_zone is not null;
end
$$;

create type private.overview_numbers as (
  unit_id uuid, people bigint, enrolled bigint, dropped bigint, completed bigint, progress bigint
);

-- Staff of a course are answered for its enrolments; how many people work in a unit is not theirs to know.
create function private.report_overview(p_tenant_id uuid, p_unit_id uuid)
returns setof private.overview_numbers
language plpgsql
stable security definer
rows 100
set search_path = ''
as $$
declare
  v_scope constant private.report_scope :=
    private.report_scope('enrollments.read', p_tenant_id, p_unit_id, null, null, null, null);
  -- Nor is it that of whoever does not see the memberships.
  v_members constant private.report_scope := private.also_where(v_scope, 'members.read');
begin
  return query
  select
    u.unit_id, coalesce(p.people, 0), coalesce(e.enrolled, 0), coalesce(e.dropped, 0), coalesce(e.completed, 0), coalesce(e.progress, 0)
  from (
    select o.id as unit_id
    from lms.org_units o
    where o.tenant_id = p_tenant_id and o.archived_at is null
      and (v_scope.is_whole or o.id = any (v_scope.units))
      and (p_unit_id is null or o.id = any (v_scope.of_units))
    union
    select n.group_id from private.enrollment_numbers(v_scope, 'unit') n
    union
    select n.unit_id from private.people_numbers(v_members) n
  ) u
  left join private.enrollment_numbers(v_scope, 'unit') e on e.group_id is not distinct from u.unit_id
  left join private.people_numbers(v_members) p on p.unit_id is not distinct from u.unit_id;
end
$$;

create function private.report_lessons(p_tenant_id uuid, p_unit_id uuid, p_course_id uuid)
returns setof private.lesson_numbers
language plpgsql
stable security definer
rows 100
set search_path = ''
as $$
declare
  v_scope constant private.report_scope := private.report_scope('progress.read', p_tenant_id, p_unit_id, p_course_id, null, null, null);
begin
  return query select * from private.lesson_numbers(v_scope);
end
$$;

create function private.report_retention(
  p_tenant_id uuid, p_unit_id uuid, p_course_id uuid, p_cohort_id uuid, p_from date, p_until date, p_step text
)
returns setof private.retention_numbers
language plpgsql
stable security definer
rows 100
set search_path = ''
as $$
declare
  v_scope constant private.report_scope :=
    private.report_scope('progress.read', p_tenant_id, p_unit_id, p_course_id, p_cohort_id, p_from, p_until);
begin
  -- Who began when is told by enrolments, which take a permission of their own: where there is none of it, nothing is told.
  perform private.report_scope('enrollments.read', p_tenant_id, p_unit_id, p_course_id, p_cohort_id, p_from, p_until);
  return query select * from private.retention_numbers(private.also_where(v_scope, 'enrollments.read'), p_step);
end
$$;

-- Where people in scope stand with what rules ask of them, in order of person and course, after the one and not more than
-- the other. Whoever has to take much comes in many rows, so people are taken a few at a time.
create function private.report_training(
  p_tenant_id uuid, p_unit_id uuid, p_course_id uuid, p_cohort_id uuid, p_at timestamptz, p_states text[], p_limit integer,
  p_after_user_id uuid, p_after_course_id uuid
)
returns setof lms.training_status
language plpgsql
stable security definer
rows 100
set search_path = ''
as $$
declare
  v_scope constant private.report_scope :=
    private.report_scope('enrollments.read', p_tenant_id, p_unit_id, p_course_id, p_cohort_id, null, null);
  v_people uuid[];
  v_next uuid := p_after_user_id;
  v_includes_next boolean := true;
  v_found integer;
  v_left integer := p_limit;
begin
  loop
    v_people := array(
      select distinct q.user_id
      from lms.training_requirements q
      where q.tenant_id = p_tenant_id and q.course_id <> all (v_scope.deleted_courses)
        and (v_next is null or q.user_id > v_next or (v_includes_next and q.user_id = v_next))
        and (p_course_id is null or q.course_id = p_course_id)
        and (v_scope.of_people is null or q.user_id = any (v_scope.of_people))
        and (
          v_scope.is_whole or q.course_id = any (v_scope.courses)
          or exists (
            select
            from lms.memberships m
            where m.tenant_id = q.tenant_id and m.user_id = q.user_id and m.unit_id = any (v_scope.units)
          )
        )
        and (v_scope.of_units is null or exists (
          select
          from lms.memberships m
          where m.tenant_id = q.tenant_id and m.user_id = q.user_id and m.unit_id = any (v_scope.of_units)
        ))
      order by q.user_id
      limit 100
    );
    exit when cardinality(v_people) = 0;
    return query
    select s.*
    from private.training_status_at(p_tenant_id, v_people, p_course_id, p_at) s
    where (p_states is null or s.state = any (p_states))
      and (p_after_user_id is null or (s.user_id, s.course_id) > (p_after_user_id, coalesce(p_after_course_id, p_after_user_id)))
      and s.course_id <> all (v_scope.deleted_courses)
      -- What somebody in the list has to take elsewhere is not part of a course's report, nor is what the caller has to.
      and (
        v_scope.is_whole or s.course_id = any (v_scope.courses)
        or exists (
          select
          from lms.memberships m
          where m.tenant_id = p_tenant_id and m.user_id = s.user_id and m.unit_id = any (v_scope.units)
        )
      )
    order by s.user_id, s.course_id
    limit v_left;
    get diagnostics v_found = row_count;
    v_left := v_left - v_found;
    exit when v_left <= 0;
    v_next := v_people[cardinality(v_people)];
    v_includes_next := false;
  end loop;
end
$$;

grant execute on function
  private.report_enrollments, private.report_questions, private.report_discrimination, private.report_engagement, private.report_overview,
  private.report_lessons, private.report_retention, private.report_training
to authenticated, service_role;

notify pgrst, 'reload schema';
