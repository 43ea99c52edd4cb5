-- Reports: one function each, for those who read reports in an organisation, in one of its units, or as staff of a course.
-- docs/reports.md says of each what is above and below the line, what it does with cycles and dropped enrolments, and which
-- date places a row.
-- Undo: drop the functions below.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Completion and progress
-- =====================================================================================================

create function analytics.get_completion_rate(
  p_tenant_id uuid,
  p_unit_id uuid default null,
  p_course_id uuid default null,
  p_cohort_id uuid default null,
  p_from date default null,
  p_until date default null
)
returns table (total_enrolled bigint, completed bigint, in_progress bigint, not_started bigint, completion_rate numeric)
language plpgsql
stable
rows 1
set search_path = ''
as $$
begin
  return query
  select
    n.total, n.done, n.total - n.done - n.waiting, n.waiting,
    coalesce(round(100.0 * n.done / nullif(n.total, 0), 2), 0)
  from (
    select
      coalesce(sum(e.enrolled - e.dropped), 0)::bigint as total, coalesce(sum(e.completed), 0)::bigint as done,
      coalesce(sum(e.not_started), 0)::bigint as waiting
    from private.report_enrollments(p_tenant_id, p_unit_id, p_course_id, p_cohort_id, p_from, p_until, 'total') e
  ) n;
end
$$;

comment on function analytics.get_completion_rate is
  'Of the cycles enrolled in the period and not dropped, how many are completed, begun and not begun; completion_rate = 100 * '
  'completed / total_enrolled, 0 when there are none. p_unit_id: with all units below it, by the unit of the enrolment; p_from, '
  'p_until: days of the organisation, both included. For reports.read with enrollments.read, or staff of the course; 403 '
  'report_not_allowed for others; 422 invalid_period.';

create function analytics.get_progress_summary(
  p_tenant_id uuid,
  p_unit_id uuid default null,
  p_course_id uuid default null,
  p_cohort_id uuid default null,
  p_from date default null,
  p_until date default null,
  p_limit integer default 100,
  p_after text default null
)
returns table (
  course_id uuid, title text, slug text, total_enrolled bigint, average_progress numeric, completed bigint, completion_rate numeric,
  cursor text
)
language plpgsql
stable
rows 100
set search_path = ''
as $$
declare
  v_after constant text[] := private.read_cursor(p_after, 'text', 'uuid');
begin
  perform private.require_page(p_limit);
  return query
  select
    s.id, nullif(s.name, ''), s.short, s.total, round(s.progress / 100.0 / s.total, 2), s.done, round(100.0 * s.done / s.total, 2),
    private.make_cursor(s.name, s.id::text)
  from (
    -- Titles as the caller reads courses.
    select
      e.group_id as id, coalesce(c.title, '')::text as name, c.slug::text as short, e.enrolled - e.dropped as total, e.completed as done,
      e.progress
    from private.report_enrollments(p_tenant_id, p_unit_id, p_course_id, p_cohort_id, p_from, p_until, 'course') e
    left join lms.courses c on c.id = e.group_id
    where e.enrolled > e.dropped
  ) s
  where p_after is null or (s.name collate "C", s.id) > (v_after[1] collate "C", v_after[2]::uuid)
  order by s.name collate "C", s.id
  limit p_limit;
end
$$;

comment on function analytics.get_progress_summary is
  'get_completion_rate for each course with such cycles, and the mean of their progress_percentage. By title; the title is null '
  'where the caller does not see the course. Next page: p_after = cursor of the last row. 422 invalid_limit, invalid_cursor.';

create function analytics.get_enrollment_funnel(
  p_tenant_id uuid,
  p_unit_id uuid default null,
  p_course_id uuid default null,
  p_cohort_id uuid default null,
  p_from date default null,
  p_until date default null
)
returns table (
  enrolled bigint, started bigint, half bigint, completed bigint, started_rate numeric, half_rate numeric, completed_rate numeric
)
language plpgsql
stable
rows 1
set search_path = ''
as $$
begin
  return query
  select
    n.enrolled, n.started, n.half, n.completed, round(100.0 * n.started / nullif(n.enrolled, 0), 2),
    round(100.0 * n.half / nullif(n.enrolled, 0), 2), round(100.0 * n.completed / nullif(n.enrolled, 0), 2)
  from (
    select
      coalesce(sum(e.enrolled), 0)::bigint as enrolled, coalesce(sum(e.started), 0)::bigint as started,
      coalesce(sum(e.half), 0)::bigint as half, coalesce(sum(e.completed), 0)::bigint as completed
    from private.report_enrollments(p_tenant_id, p_unit_id, p_course_id, p_cohort_id, p_from, p_until, 'total') e
  ) n;
end
$$;

comment on function analytics.get_enrollment_funnel is
  'Of all cycles enrolled in the period, dropped ones too, how many were begun, reached half of the items, and were completed; '
  'each stage includes those after it. Rates are of enrolled; null when there are none.';

create function analytics.get_organization_overview(
  p_tenant_id uuid,
  p_unit_id uuid default null,
  p_limit integer default 100,
  p_after text default null
)
returns table (
  unit_id uuid, name text, total_users bigint, total_enrollments bigint, completed_enrollments bigint, average_progress numeric,
  cursor text
)
language plpgsql
stable
rows 100
set search_path = ''
as $$
declare
  v_after constant text[] := private.read_cursor(p_after, 'text', 'uuid');
  v_last constant uuid := uuid 'ffffffff-ffff-ffff-ffff-ffffffffffff';
begin
  perform private.require_page(p_limit);
  return query
  select
    nullif(s.id, v_last), nullif(s.label, ''), s.people, s.total, s.done, round(s.progress / 100.0 / nullif(s.total, 0), 2),
    private.make_cursor(s.label, s.id::text)
  from (
    select
      coalesce(o.unit_id, v_last) as id, coalesce(u.name, '')::text as label, o.people, o.enrolled - o.dropped as total, o.completed as done,
      o.progress
    from private.report_overview(p_tenant_id, p_unit_id) o
    left join lms.org_units u on u.id = o.unit_id
  ) s
  where p_after is null or (s.id = v_last, s.label collate "C", s.id) > (v_after[2]::uuid = v_last, v_after[1] collate "C", v_after[2]::uuid)
  order by s.id = v_last, s.label collate "C", s.id
  limit p_limit;
end
$$;

comment on function analytics.get_organization_overview is
  'One row per unit, by name, and one for what belongs to no unit (unit_id null, last): people by their home unit of today, each '
  'once, suspended ones included, guests not, where the caller has members.read (else 0); cycles '
  'that are not dropped by the unit they were taken in. average_progress: null '
  'when there are none.';

-- =====================================================================================================
-- Questions
-- =====================================================================================================

create function analytics.get_most_missed_questions(
  p_tenant_id uuid,
  p_unit_id uuid default null,
  p_course_id uuid default null,
  p_cohort_id uuid default null,
  p_from date default null,
  p_until date default null,
  p_min_attempts integer default 5,
  p_limit integer default 10,
  p_after text default null
)
returns table (
  course_id uuid, question_key text, section_key text, total_attempts bigint, incorrect_attempts bigint, miss_rate numeric, cursor text
)
language plpgsql
stable
rows 10
set search_path = ''
as $$
declare
  v_after constant text[] := private.read_cursor(p_after, 'numeric', 'uuid', 'text', 'text');
begin
  perform private.require_page(p_limit);
  return query
  select
    s.course_id, s.question_key, s.section_key, s.attempts, s.attempts - s.correct, s.rate,
    private.make_cursor(s.rate::text, s.course_id::text, s.question_key, s.section_key)
  from (
    select n.*, round(100.0 * (n.attempts - n.correct) / n.attempts, 2) as rate
    from private.report_questions(p_tenant_id, p_unit_id, p_course_id, p_cohort_id, p_from, p_until) n
    where n.attempts >= greatest(coalesce(p_min_attempts, 5), 1)
  ) s
  where p_after is null
    or (-s.rate, s.course_id, s.question_key collate "C", s.section_key collate "C")
      > (-v_after[1]::numeric, v_after[2]::uuid, v_after[3] collate "C", v_after[4] collate "C")
  order by s.rate desc, s.course_id, s.question_key collate "C", s.section_key collate "C"
  limit p_limit;
end
$$;

comment on function analytics.get_most_missed_questions is
  'Questions with at least p_min_attempts judged answers received in the period, those first of which most answers are wrong: '
  'miss_rate = 100 * incorrect_attempts / total_attempts. Every answer counts, of all cycles; claims about questions that the server '
  'judges, and answers that nobody has judged, do not. For reports.read with progress.read, or staff of the course.';

create function analytics.get_question_difficulty(
  p_tenant_id uuid,
  p_unit_id uuid default null,
  p_course_id uuid default null,
  p_cohort_id uuid default null,
  p_from date default null,
  p_until date default null,
  p_min_attempts integer default 5,
  p_limit integer default 100,
  p_after text default null
)
returns table (
  course_id uuid, question_key text, section_key text, total_attempts bigint, correct_attempts bigint, incorrect_attempts bigint,
  success_rate numeric, discrimination numeric, cursor text
)
language plpgsql
stable
rows 100
set search_path = ''
as $$
declare
  v_after constant text[] := private.read_cursor(p_after, 'uuid', 'text', 'text');
begin
  perform private.require_page(p_limit);
  return query
  select
    s.course_id, s.question_key, s.section_key, s.attempts, s.correct, s.attempts - s.correct, round(100.0 * s.correct / s.attempts, 2),
    d.discrimination, private.make_cursor(s.course_id::text, s.question_key, s.section_key)
  from private.report_questions(p_tenant_id, p_unit_id, p_course_id, p_cohort_id, p_from, p_until) s
  left join private.report_discrimination(p_tenant_id, p_unit_id, p_course_id, p_cohort_id, p_from, p_until) d
    on d.section_key = s.section_key and d.question_key = s.question_key
  where s.attempts >= greatest(coalesce(p_min_attempts, 5), 1)
    and (
      p_after is null
      or (s.course_id, s.question_key collate "C", s.section_key collate "C")
        > (v_after[1]::uuid, v_after[2] collate "C", v_after[3] collate "C")
    )
  order by s.course_id, s.question_key collate "C", s.section_key collate "C"
  limit p_limit;
end
$$;

comment on function analytics.get_question_difficulty is
  'How hard questions are: success_rate = 100 * correct_attempts / total_attempts, over the same answers as '
  'get_most_missed_questions; discrimination, where p_course_id names a course: from -1 to 1, the '
  'correlation of learners'' share of right answers to it with their share of right answers to the course''s other questions; null '
  'where either does not vary. Asking for one course costs what its answers do.';

-- =====================================================================================================
-- One learner
-- =====================================================================================================

create function analytics.get_learner_summary(
  p_tenant_id uuid, p_user_id uuid default null, p_limit integer default 100, p_after text default null
)
returns table (
  course_id uuid, title text, status text, cycle integer, enrolled_at timestamptz, completed_at timestamptz, due_at timestamptz,
  progress_percent numeric, current_section text, last_active_at timestamptz, seconds_spent bigint, final_grade numeric, cursor text
)
language plpgsql
stable
rows 20
set search_path = ''
as $$
declare
  v_user_id constant uuid := coalesce(p_user_id, (select auth.uid()));
  v_after constant text[] := private.read_cursor(p_after, 'timestamptz', 'uuid');
begin
  perform private.require_page(p_limit);
  return query
  -- Read as the caller: learners themselves, others as they see enrolments. INV-C3: a course that is no longer shown keeps
  -- the title by which it was taken.
  select
    e.course_id, coalesce(c.title, v.title)::text, e.status, e.cycle, e.enrolled_at, e.completed_at, e.due_at, e.progress_percentage,
    l.title::text, e.last_accessed_at, e.time_spent_seconds, e.final_grade::numeric,
    private.make_cursor(to_char(e.enrolled_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), e.id::text)
  from lms.enrollments e
  left join lms.courses c on c.id = e.course_id
  left join lms.course_versions v on v.id = e.version_id
  left join lms.version_lessons l on l.version_id = e.version_id and l.lesson_id = e.current_lesson_id
  where e.user_id = v_user_id and e.tenant_id = p_tenant_id
    and (p_after is null or (e.enrolled_at, e.id) < (v_after[1]::timestamptz, v_after[2]::uuid))
  order by e.enrolled_at desc, e.id desc
  limit p_limit;
end
$$;

comment on function analytics.get_learner_summary is
  'All cycles of the caller, or of somebody whose enrolments the caller sees, latest first, dropped ones too; current_section is the '
  'lesson last worked on. Nothing where there is nobody to be seen.';

create function analytics.get_learner_timeline(
  p_tenant_id uuid,
  p_user_id uuid default null,
  p_course_id uuid default null,
  p_from date default null,
  p_until date default null,
  p_limit integer default 100,
  p_after text default null
)
returns table (
  occurred_at timestamptz, kind text, course_id uuid, course_title text, subject text, detail jsonb, cursor text
)
language plpgsql
stable
rows 100
set search_path = ''
as $$
declare
  v_user_id constant uuid := coalesce(p_user_id, (select auth.uid()));
  v_after constant text[] := private.read_cursor(p_after, 'timestamptz', 'text', 'text');
  v_time_zone constant text := coalesce((select t.time_zone from lms.tenants t where t.id = p_tenant_id), 'UTC');
  v_since timestamptz;
  v_until timestamptz;
begin
  perform private.require_page(p_limit);
  perform private.require_period(p_from, p_until);
  v_since := coalesce(private.day_begins(p_from, v_time_zone), '-infinity');
  v_until := coalesce(private.day_begins(p_until + 1, v_time_zone), 'infinity');
  if p_after is not null then
    -- What happened at the same moment as the last row received is sorted out below.
    v_until := least(v_until, v_after[1]::timestamptz + interval '1 microsecond');
  end if;
  return query
  -- INV-A1: read as the caller, so that answers in assessments appear when they are shown.
  with things as (
    select k.at, k.kind, k.id, e.course_id, null::text as subject, k.detail
    from lms.enrollments e
    cross join lateral (values
      (e.enrolled_at, 'enrolled', jsonb_build_object('cycle', e.cycle, 'source', e.source)),
      (e.started_at, 'started', jsonb_build_object('cycle', e.cycle)),
      (e.completed_at, 'completed', jsonb_build_object('cycle', e.cycle, 'final_grade', e.final_grade)),
      (e.dropped_at, 'dropped', jsonb_build_object('cycle', e.cycle)),
      (e.expired_at, 'expired', jsonb_build_object('cycle', e.cycle)),
      (e.paused_at, 'paused', jsonb_build_object('cycle', e.cycle))
    ) as d (at, kind, detail)
    cross join lateral (select d.at, d.kind, d.kind || ' ' || e.id as id, d.detail) k
    where e.user_id = v_user_id and e.tenant_id = p_tenant_id and k.at >= v_since and k.at < v_until
      and (p_course_id is null or e.course_id = p_course_id)
    union all
    (
      select p.completed_at, 'lesson_completed', p.enrollment_id || ' ' || p.lesson_id, p.course_id, l.title::text, null::jsonb
      from lms.lesson_progress p
      left join lms.lessons l on l.id = p.lesson_id
      where p.user_id = v_user_id and p.tenant_id = p_tenant_id and p.completed_at >= v_since and p.completed_at < v_until
        and (p_course_id is null or p.course_id = p_course_id)
        and (p_after is null or (p.completed_at, 'lesson_completed' collate "C", (p.enrollment_id || ' ' || p.lesson_id) collate "C")
          < (v_after[1]::timestamptz, v_after[2] collate "C", v_after[3] collate "C"))
      order by p.completed_at desc, (p.enrollment_id || ' ' || p.lesson_id) collate "C" desc
      limit p_limit
    )
    union all
    (
      select q.received_at, 'answered', q.id::text, q.course_id, q.question_key::text,
        jsonb_build_object('section_key', q.section_key, 'is_correct', q.is_correct)
      from private.question_events q
      where q.user_id = v_user_id and q.tenant_id = p_tenant_id and q.received_at >= v_since and q.received_at < v_until
        and (p_course_id is null or q.course_id = p_course_id)
        and (p_after is null or (q.received_at, 'answered' collate "C", q.id::text collate "C")
          < (v_after[1]::timestamptz, v_after[2] collate "C", v_after[3] collate "C"))
      order by q.received_at desc, q.id desc
      limit p_limit
    )
    union all
    (
      select a.received_at, a.event_type, a.id::text, a.course_id, null, a.meta::jsonb
      from private.activity_events a
      where a.user_id = v_user_id and a.tenant_id = p_tenant_id and a.received_at >= v_since and a.received_at < v_until
        and (p_course_id is null or a.course_id = p_course_id)
        and (p_after is null or (a.received_at, a.event_type collate "C", a.id::text collate "C")
          < (v_after[1]::timestamptz, v_after[2] collate "C", v_after[3] collate "C"))
      order by a.received_at desc, a.event_type collate "C" desc, a.id desc
      limit p_limit
    )
  )
  select
    t.at, t.kind, t.course_id, c.title::text, t.subject, t.detail,
    private.make_cursor(to_char(t.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), t.kind, t.id)
  from things t
  left join lms.courses c on c.id = t.course_id
  where p_after is null or (t.at, t.kind collate "C", t.id collate "C")
    < (v_after[1]::timestamptz, v_after[2] collate "C", v_after[3] collate "C")
  order by t.at desc, t.kind collate "C" desc, t.id collate "C" desc
  limit p_limit;
end
$$;

comment on function analytics.get_learner_timeline is
  'What the caller, or somebody whom the caller may follow, did and reached, latest first: enrolled, started, completed, dropped, '
  'expired, paused, lesson_completed, answered (by when it was received; one''s own answers in assessments once they are shown) and '
  'the types of activity events.';

-- =====================================================================================================
-- Training that is asked for
-- =====================================================================================================

create function analytics.get_due_training(
  p_tenant_id uuid,
  p_unit_id uuid default null,
  p_course_id uuid default null,
  p_cohort_id uuid default null,
  p_states text[] default array['due', 'overdue', 'expiring', 'expired'],
  p_limit integer default 100,
  p_after text default null
)
returns table (
  user_id uuid, display_name text, unit_id uuid, unit_name text, course_id uuid, title text, state text, due_at timestamptz,
  completed_at timestamptz, expires_at timestamptz, cursor text
)
language plpgsql
stable
rows 100
set search_path = ''
as $$
declare
  v_after constant text[] := private.read_cursor(p_after, 'uuid', 'uuid');
begin
  perform private.require_page(p_limit);
  if not coalesce(p_states, '{}') <@ array['due', 'overdue', 'expiring', 'expired', 'done', 'waived'] then
    perform private.fail(
      'invalid_state', 'There is no such state.', 422,
      jsonb_build_object('field', 'p_states', 'known', array['due', 'overdue', 'expiring', 'expired', 'done', 'waived'])
    );
  end if;
  return query
  -- Names, units and titles as the caller reads them.
  select
    s.user_id, n.display_name::text, m.unit_id, u.name::text, s.course_id, c.title::text, s.state, s.due_at, s.completed_at, s.expires_at,
    private.make_cursor(s.user_id::text, s.course_id::text)
  from private.report_training(
    p_tenant_id, p_unit_id, p_course_id, p_cohort_id, private.training_clock(), p_states, p_limit, v_after[1]::uuid, v_after[2]::uuid
  ) s
  left join lms.people n on n.id = s.user_id
  left join lms.memberships m on m.tenant_id = p_tenant_id and m.user_id = s.user_id
  left join lms.org_units u on u.id = m.unit_id
  left join lms.courses c on c.id = s.course_id
  order by s.user_id, s.course_id;
end
$$;

comment on function analytics.get_due_training is
  'Who has to do what, of the training that rules ask for: due, overdue, expiring (it runs out soon) or expired; p_states chooses '
  'others: done, waived. By the home unit of today; by person and course.';

create function analytics.get_training_matrix(
  p_tenant_id uuid,
  p_unit_id uuid default null,
  p_course_id uuid default null,
  p_cohort_id uuid default null,
  p_at date default null,
  p_limit integer default 100,
  p_after text default null
)
returns table (
  user_id uuid, display_name text, job_title text, unit_name text, course_id uuid, title text, state text, due_at timestamptz,
  completed_at timestamptz, expires_at timestamptz, cursor text
)
language plpgsql
stable
rows 100
set search_path = ''
as $$
declare
  v_after constant text[] := private.read_cursor(p_after, 'uuid', 'uuid');
  v_time_zone constant text := coalesce((select t.time_zone from lms.tenants t where t.id = p_tenant_id), 'UTC');
begin
  perform private.require_page(p_limit);
  perform private.require_period(p_at, p_at);
  return query
  select
    s.user_id, n.display_name::text, m.job_title, u.name::text, s.course_id, c.title::text, s.state, s.due_at, s.completed_at, s.expires_at,
    private.make_cursor(s.user_id::text, s.course_id::text)
  from private.report_training(
    p_tenant_id, p_unit_id, p_course_id, p_cohort_id,
    least(private.training_clock(), private.day_begins(p_at + 1, v_time_zone) - interval '1 microsecond'),
    null, p_limit, v_after[1]::uuid, v_after[2]::uuid
  ) s
  left join lms.people n on n.id = s.user_id
  left join lms.memberships m on m.tenant_id = p_tenant_id and m.user_id = s.user_id
  left join lms.org_units u on u.id = m.unit_id
  left join lms.courses c on c.id = s.course_id
  order by s.user_id, s.course_id;
end
$$;

comment on function analytics.get_training_matrix is
  'Every person in scope with every course that rules ask of them, and where it stands: now, or at the end of the day p_at of the past.';

-- =====================================================================================================
-- Over time
-- =====================================================================================================

create function analytics.get_engagement(
  p_tenant_id uuid,
  p_unit_id uuid default null,
  p_course_id uuid default null,
  p_cohort_id uuid default null,
  p_from date default null,
  p_until date default null,
  p_step text default 'day'
)
returns table (period_start date, active_learners bigint, events bigint, learning_seconds bigint, completions bigint)
language plpgsql
stable
rows 30
set search_path = ''
as $$
begin
  perform private.require_step(p_step);
  return query
  select n.period_start, n.people, n.events, n.seconds, n.completions
  from private.report_engagement(p_tenant_id, p_unit_id, p_course_id, p_cohort_id, p_from, p_until, p_step) n
  order by n.period_start;
end
$$;

comment on function analytics.get_engagement is
  'Per day, week (from Monday) or month: people with at least one question or activity event, each once; events; seconds of learning '
  'sessions that began then and have ended; cycles completed then. Whole steps from that of p_from to that of p_until; twelve of them '
  'until today where nothing is said. 422 invalid_step, invalid_period.';

create function analytics.get_lesson_drop_off(p_tenant_id uuid, p_unit_id uuid default null, p_course_id uuid default null)
returns table (
  lesson_id uuid, "position" integer, title text, reached bigint, completed bigint, dropped_off bigint, drop_off_rate numeric
)
language plpgsql
stable
rows 30
set search_path = ''
as $$
begin
  if p_course_id is null then
    perform private.fail('course_required', 'Drop-off is counted within one course.', 422, jsonb_build_object('field', 'p_course_id'));
  end if;
  return query
  select
    n.lesson_id, l.lesson_index, l.title::text, n.reached, n.completed, n.reached - n.completed,
    round(100.0 * (n.reached - n.completed) / nullif(n.reached, 0), 2)
  from private.report_lessons(p_tenant_id, p_unit_id, p_course_id) n
  left join lateral (
    -- As the latest version that the caller sees has it.
    select v.lesson_index, v.title
    from lms.version_lessons v
    join lms.course_versions k on k.id = v.version_id
    where v.course_id = p_course_id and v.lesson_id = n.lesson_id
    order by k.number desc
    limit 1
  ) l on true
  order by l.lesson_index, n.lesson_id;
end
$$;

comment on function analytics.get_lesson_drop_off is
  'Per lesson of a course that anybody has reached: cycles that began it, completed it, and did not (yet): dropped_off = reached - '
  'completed. All cycles, dropped ones too. 422 course_required.';

create function analytics.get_cohort_retention(
  p_tenant_id uuid,
  p_unit_id uuid default null,
  p_course_id uuid default null,
  p_cohort_id uuid default null,
  p_from date default null,
  p_until date default null,
  p_step text default 'month'
)
returns table (started date, size bigint, period integer, active bigint, retention_rate numeric)
language plpgsql
stable
rows 100
set search_path = ''
as $$
begin
  perform private.require_step(p_step);
  return query
  select n.started, n.size, n.period, n.active, round(100.0 * n.active / nullif(n.size, 0), 2)
  from private.report_retention(p_tenant_id, p_unit_id, p_course_id, p_cohort_id, p_from, p_until, p_step) n
  order by n.started, n.period;
end
$$;

comment on function analytics.get_cohort_retention is
  'Of those whose first enrolment (in the course, or at all) fell into a day, week or month, how many had an event in that step '
  '(period 0) and in each of the eleven after it, as far as they have begun. Where the caller has enrollments.read and progress.read.';

grant execute on function
  analytics.get_completion_rate, analytics.get_progress_summary, analytics.get_enrollment_funnel, analytics.get_organization_overview,
  analytics.get_most_missed_questions, analytics.get_question_difficulty, analytics.get_learner_summary, analytics.get_learner_timeline,
  analytics.get_due_training, analytics.get_training_matrix, analytics.get_engagement, analytics.get_lesson_drop_off,
  analytics.get_cohort_retention
to authenticated, service_role;

notify pgrst, 'reload schema';
