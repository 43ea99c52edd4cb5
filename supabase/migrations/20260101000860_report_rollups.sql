-- What reports are made of: in whose scope, which rows count, and what they add up to.
-- Undo: drop the functions and types below.

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
  deleted_courses uuid[]
);

comment on type private.report_scope is
  'What a report is about. A row counts that is in the caller''s scope (is_whole, or its unit in units, or its course in '
  'courses) and asked for (of_units, of_course, of_people, from_day to until_day; null: not limited), and whose course is not '
  'deleted. Days are those of the tenant''s time zone.';

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
  if p_from > p_until then
    perform private.fail('invalid_period', 'A period ends after it begins.', 422, jsonb_build_object('field', 'p_until'));
  end if;

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
  v_scope.from_day := p_from;
  v_scope.until_day := p_until;
  v_scope.deleted_courses := array(
    select c.id from lms.courses c where c.tenant_id = p_tenant_id and c.deleted_at is not null
  );
  return v_scope;
end
$$;

comment on function private.report_scope is
  'What the caller may read of what is asked for, with reports.read and the permission of the rows, or as staff of a course. 403 '
  'report_not_allowed where that can be nothing; 422 invalid_period.';

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
  return translate(encode(convert_to(array_to_json(p_key)::text, 'UTF8'), 'base64'), E'\n+/=', '-_');
end
$$;

comment on function private.make_cursor is 'The key of a row as text that clients hand back to continue after it.';

create function private.read_cursor(p_cursor text, p_length integer)
returns text[]
language plpgsql
immutable
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
  if cardinality(v_key) <> p_length then
    raise invalid_text_representation;
  end if;
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

create function private.step_start(p_step text, p_day date)
returns date
language plpgsql
immutable
set search_path = ''
as $$
begin
  return date_trunc(p_step, p_day::timestamp)::date;
end
$$;

grant execute on function
  private.make_cursor, private.read_cursor, private.require_page, private.require_step, private.step_start
to authenticated, service_role;

-- =====================================================================================================
-- What rows add up to
-- =====================================================================================================

-- What one cycle adds: the only place that says so.
create view private.enrollment_counts as
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

create function private.enrollment_numbers(p_scope private.report_scope, p_group text)
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

create function private.question_numbers(p_scope private.report_scope)
returns setof private.question_numbers
language plpgsql
stable
rows 1000
set search_path = ''
as $$
begin
  return query
  select q.course_id, q.section_key::text, q.question_key::text, count(*), count(*) filter (where q.is_correct)
  from analytics.question_events q
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
      and q.attempt_id <> all (array(select private.my_shown_attempts()))
    )
  group by 1, 2, 3;
end
$$;

create type private.activity_numbers as (period_start date, people bigint, events bigint);

create function private.activity_numbers(p_scope private.report_scope, p_step text)
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
    select q.tenant_id, q.unit_id, q.course_id, q.user_id, q.received_at from analytics.question_events q
    union all
    select v.tenant_id, v.unit_id, v.course_id, v.user_id, v.received_at from analytics.activity_events v
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

create function private.outcome_numbers(p_scope private.report_scope, p_step text)
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
create function private.people_numbers(p_scope private.report_scope)
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

create function private.lesson_numbers(p_scope private.report_scope)
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
    and (p_scope.is_whole or e.unit_id = any (p_scope.units))
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
    select e.user_id, private.step_start(p_step, min((e.enrolled_at at time zone p_scope.time_zone)::date)) as started
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
    select c.started, c.user_id, private.step_start(p_step, (a.received_at at time zone p_scope.time_zone)::date) as at
    from cohorts c
    join (
      select q.tenant_id, q.unit_id, q.course_id, q.user_id, q.received_at from analytics.question_events q
      union all
      select v.tenant_id, v.unit_id, v.course_id, v.user_id, v.received_at from analytics.activity_events v
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
begin
  -- Whole steps: people are not counted by adding up days.
  v_scope.until_day := date_trunc(p_step, coalesce(p_until, (now() at time zone v_scope.time_zone)::date)::timestamp) + v_step - interval '1 day';
  v_scope.from_day := date_trunc(p_step, coalesce(p_from::timestamp, v_scope.until_day - 11 * v_step));
  if v_scope.until_day - v_scope.from_day > 3660 then
    perform private.fail('invalid_period', 'The period is at most ten years.', 422, jsonb_build_object('field', 'p_from'));
  end if;
  v_outcomes.from_day := v_scope.from_day;
  v_outcomes.until_day := v_scope.until_day;
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
    select n.unit_id from private.people_numbers(v_scope) n
  ) u
  left join private.enrollment_numbers(v_scope, 'unit') e on e.group_id is not distinct from u.unit_id
  left join private.people_numbers(v_scope) p on p.unit_id is not distinct from u.unit_id;
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
  -- Who began when is told by enrolments, which take a permission of their own.
  perform private.report_scope('enrollments.read', p_tenant_id, p_unit_id, p_course_id, p_cohort_id, p_from, p_until);
  return query select * from private.retention_numbers(v_scope, p_step);
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
  private.report_enrollments, private.report_questions, private.report_engagement, private.report_overview,
  private.report_lessons, private.report_retention, private.report_training
to authenticated, service_role;

notify pgrst, 'reload schema';
