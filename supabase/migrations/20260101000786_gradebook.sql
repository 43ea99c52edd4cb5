-- Gradebook: what released scores make of a learner's standing in an assessment, and that of the course.
-- Undo: drop function lms.get_gradebook; drop view lms.assessment_results; then types and functions below; take the calls of
-- private.restate_assessments, weighted_grade, recount_assessments and follows_from_scores out of the triggers that name them.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- What the attempts say
-- =====================================================================================================

-- The only place that says which score counts, and since when an assessment is passed. From closed attempts and their
-- released scores alone, so that it can be asked again at any time.
create function private.assessment_facts(p_enrollment_id uuid, p_assessment_id uuid, p_version_id uuid)
returns lms.assessment_progress
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_rules lms.version_assessments;
  v_facts lms.assessment_progress;
begin
  select * into v_rules
  from lms.version_assessments a
  where a.version_id = p_version_id and a.assessment_id = p_assessment_id;
  if not found then
    -- Not part of the version any more: by the rules under which it was taken last.
    select a.* into v_rules
    from lms.assessment_attempts t
    join lms.version_assessments a on a.version_id = t.version_id and a.assessment_id = t.assessment_id
    where t.enrollment_id = p_enrollment_id and t.assessment_id = p_assessment_id
    order by t.number desc
    limit 1;
  end if;
  v_facts.enrollment_id := p_enrollment_id;
  v_facts.assessment_id := p_assessment_id;
  select
    case v_rules.grading_method
      when 'latest' then (array_agg(s.percentage order by t.number desc) filter (where s.attempt_id is not null))[1]
      when 'average' then trunc(avg(s.percentage), 2)
      else max(s.percentage)
    end,
    count(*),
    -- Any attempt that passed counts for good: trying again takes nothing away. Where nothing has to be passed, handing in
    -- is enough, and waits for no release.
    case
      when v_rules.passing_percentage is null then min(t.submitted_at)
      else min(s.released_at) filter (where s.passed)
    end
  into v_facts.percentage, v_facts.attempts_count, v_facts.passed_at
  from lms.assessment_attempts t
  join lms.enrollments e on e.id = t.enrollment_id
  left join lms.attempt_scores s on s.attempt_id = t.id and s.released_at is not null
  where t.enrollment_id = p_enrollment_id and t.assessment_id = p_assessment_id and t.status <> 'in_progress'
    -- What was left open when the course was completed, and handed in afterwards, changes nothing: its grade stands.
    and not coalesce(t.started_at <= e.completed_at and t.submitted_at > e.completed_at, false);
  v_facts.completed_at := v_facts.passed_at;
  return v_facts;
end
$$;

-- What was not taken counts 0. Cut off, as percentages of progress are, and exactly: a quotient that was rounded first could
-- reach a required score that it misses.
create function private.weighted_grade(p_enrollment_id uuid, p_version_id uuid, p_by_its_rules boolean default false)
returns numeric
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  return (
    select round(div(100 * sum(a.weight * coalesce(
      case when p_by_its_rules then (private.assessment_facts(p_enrollment_id, a.assessment_id, p_version_id)).percentage end,
      p.percentage, 0
    )), sum(a.weight)) / 100, 2)
    from lms.version_assessments a
    left join lms.assessment_progress p on p.enrollment_id = p_enrollment_id and p.assessment_id = a.assessment_id
    where a.version_id = p_version_id and a.weight > 0
  );
end
$$;

comment on function private.weighted_grade is
  'trunc(sum(weight * percentage) / sum(weight), 2) over the weighted assessments of a version; null when it has none. '
  'p_by_its_rules: with scores counted as that version counts them, also where another one is being taken.';

-- Another version may count several attempts differently.
create function private.restate_assessments(p_enrollment_id uuid, p_version_id uuid)
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  update lms.assessment_progress p
  set percentage = f.percentage,
      passed_at = coalesce(p.passed_at, f.passed_at),
      completed_at = coalesce(p.completed_at, f.completed_at),
      updated_at = now()
  from (
    select k.assessment_id, counted.percentage, counted.passed_at, counted.completed_at
    from lms.assessment_progress k
    cross join lateral private.assessment_facts(p_enrollment_id, k.assessment_id, p_version_id) as counted
    where k.enrollment_id = p_enrollment_id and counted.attempts_count > 0
  ) as f
  where p.enrollment_id = p_enrollment_id and p.assessment_id = f.assessment_id and (
    p.percentage is distinct from f.percentage or (p.completed_at is null and f.completed_at is not null)
  );
end
$$;

-- =====================================================================================================
-- What it makes of the learner's standing
-- =====================================================================================================

-- INV-P3: a lesson that completes by its assessments follows their scores, whoever made the change that led there: the
-- learner who hands in, a grader, a job. Exactly what the scores say, and in the transaction that changed them.
create function private.follows_from_scores(p_enrollment_id uuid, p_lesson_id uuid, p_percentage numeric)
returns boolean
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_lesson lms.version_lessons;
begin
  select l.* into v_lesson
  from lms.enrollments e
  join lms.version_lessons l on l.version_id = e.version_id and l.lesson_id = p_lesson_id
  where e.id = p_enrollment_id and l.completion_rule = 'assessment';
  return found
    and exists (
      select
      from lms.version_assessments a
      join lms.assessment_progress p on p.enrollment_id = p_enrollment_id and p.assessment_id = a.assessment_id
      where a.version_id = v_lesson.version_id and a.lesson_id = p_lesson_id and p.updated_at = now()
    )
    and p_percentage = private.lesson_evidence(p_enrollment_id, v_lesson);
end
$$;

-- INV-P2, INV-P3: from the scores, whoever calls, as often as they like. Locks the enrolment before it reads what was counted,
-- so that of two at once each counts its own.
--
-- Up and down: a lower score only comes from staff (an override, a corrected key), which is on record; trying again takes
-- nothing away. A completed cycle stays completed, with what completed it; its final grade is corrected.
create function private.settle_assessment(p_enrollment_id uuid, p_assessment_id uuid)
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_enrollment lms.enrollments;
  v_pinned lms.version_assessments;
  v_lesson lms.version_lessons;
  v_before lms.assessment_progress;
  v_now lms.assessment_progress;
  v_evidence_before numeric;
  v_evidence numeric;
begin
  select * into v_enrollment from lms.enrollments e where e.id = p_enrollment_id for no key update;
  select * into v_pinned
  from lms.version_assessments a
  where a.version_id = v_enrollment.version_id and a.assessment_id = p_assessment_id;
  select * into v_lesson
  from lms.version_lessons l
  where l.version_id = v_enrollment.version_id and l.lesson_id = v_pinned.lesson_id and l.completion_rule = 'assessment';
  select * into v_before
  from lms.assessment_progress p
  where p.enrollment_id = p_enrollment_id and p.assessment_id = p_assessment_id;
  if v_lesson.lesson_id is not null then
    v_evidence_before := private.lesson_evidence(p_enrollment_id, v_lesson);
  end if;

  v_now := private.assessment_facts(p_enrollment_id, p_assessment_id, v_enrollment.version_id);
  if v_enrollment.status = 'completed' then
    v_now.passed_at := coalesce(v_before.passed_at, v_now.passed_at);
    v_now.completed_at := coalesce(v_before.completed_at, v_now.completed_at);
  end if;
  insert into lms.assessment_progress as p (
    enrollment_id, assessment_id, tenant_id, course_id, user_id, percentage, attempts_count, passed_at, completed_at
  )
  values (
    p_enrollment_id, p_assessment_id, v_enrollment.tenant_id, v_enrollment.course_id, v_enrollment.user_id,
    v_now.percentage, v_now.attempts_count, v_now.passed_at, v_now.completed_at
  )
  on conflict (enrollment_id, assessment_id) do update
  set percentage = excluded.percentage,
      attempts_count = excluded.attempts_count,
      passed_at = excluded.passed_at,
      completed_at = excluded.completed_at,
      updated_at = now();

  update lms.enrollments e
  set items_done = e.items_done + case
        when e.status <> 'completed' and coalesce(v_pinned.is_mandatory, false) then
          (v_now.completed_at is not null)::integer - (v_before.completed_at is not null)::integer
        else 0
      end,
      final_grade = case
        when v_pinned.weight > 0 then private.weighted_grade(e.id, e.version_id)
        else e.final_grade
      end
  where e.id = p_enrollment_id;

  if v_lesson.lesson_id is null then
    return;
  end if;
  v_evidence := private.lesson_evidence(p_enrollment_id, v_lesson);
  -- Downwards only what these scores had given: what staff has given by correct_progress stays.
  insert into lms.lesson_progress as p (enrollment_id, user_id, lesson_id, progress_percentage)
  values (p_enrollment_id, v_enrollment.user_id, v_lesson.lesson_id, v_evidence)
  on conflict (enrollment_id, lesson_id) do update
  set progress_percentage = excluded.progress_percentage,
      completed_at = case when excluded.progress_percentage >= 100 then coalesce(p.completed_at, now()) end,
      last_accessed_at = now(),
      updated_at = now()
  where p.progress_percentage < excluded.progress_percentage
    or (
      p.progress_percentage > excluded.progress_percentage and p.progress_percentage = v_evidence_before
      and v_enrollment.status <> 'completed'
    );
end
$$;

comment on function private.settle_assessment is
  'Brings assessment_progress, the lesson it completes, items_done and final_grade of an enrolment up to its released scores.';

-- For ops.recount_progress: standings that differ from what the attempts say.
create function private.recount_assessments(p_course_id uuid)
returns bigint
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_taken record;
  v_enrollment lms.enrollments;
  v_facts lms.assessment_progress;
  v_grade numeric;
  v_settled bigint := 0;
begin
  for v_taken in
    select distinct t.enrollment_id, t.assessment_id
    from lms.assessment_attempts t
    join lms.enrollments e on e.id = t.enrollment_id and e.status in ('enrolled', 'in_progress', 'paused')
    where t.status <> 'in_progress' and (p_course_id is null or t.course_id = p_course_id)
    order by t.enrollment_id, t.assessment_id
  loop
    select * into v_enrollment from lms.enrollments e where e.id = v_taken.enrollment_id;
    v_facts := private.assessment_facts(v_taken.enrollment_id, v_taken.assessment_id, v_enrollment.version_id);
    v_grade := private.weighted_grade(v_enrollment.id, v_enrollment.version_id);
    continue when exists (
      select
      from lms.assessment_progress p
      where p.enrollment_id = v_taken.enrollment_id and p.assessment_id = v_taken.assessment_id
        and (p.percentage, p.attempts_count, p.passed_at, p.completed_at)
          is not distinct from (v_facts.percentage, v_facts.attempts_count, v_facts.passed_at, v_facts.completed_at)
        and (
          v_enrollment.final_grade is not distinct from v_grade
          -- A grade that this assessment has no part in is not recounted by it.
          or not exists (
            select from lms.version_assessments a
            where a.version_id = v_enrollment.version_id and a.assessment_id = v_taken.assessment_id and a.weight > 0
          )
        )
    );
    perform private.settle_assessment(v_taken.enrollment_id, v_taken.assessment_id);
    v_settled := v_settled + 1;
  end loop;
  return v_settled;
end
$$;

-- =====================================================================================================
-- Results
-- =====================================================================================================

create view lms.assessment_results with (security_invoker) as
  select
    p.tenant_id, p.course_id, p.assessment_id, p.user_id, p.enrollment_id, p.percentage, p.attempts_count, p.passed_at,
    p.completed_at
  from lms.assessment_progress p;

comment on view lms.assessment_results is
  'Per enrolment and assessment the released score that counts (best, latest or average of the attempts), how many attempts '
  'were handed in, and since when it is passed. Seen as assessment_progress is.';
grant select on lms.assessment_results to authenticated, service_role;

create type lms.gradebook_entry as (
  assessment_id uuid, title text, weight numeric, is_mandatory boolean, percentage numeric, attempts_count integer,
  passed_at timestamptz
);
create type lms.gradebook_row as (
  enrollment_id uuid, user_id uuid, display_name text, version_id uuid, status text, progress_percentage numeric,
  final_grade numeric, entries lms.gradebook_entry[]
);
comment on type lms.gradebook_row is
  'One enrolment: entries in the order of the version that it takes. percentage null: no released score, which counts 0. '
  'final_grade: the weighted mean, cut to two digits; null when nothing weighted has been handed in.';

create function lms.get_gradebook(p_course_id uuid, p_limit integer default 100, p_after_enrollment_id uuid default null)
returns setof lms.gradebook_row
language plpgsql
stable
rows 100
set search_path = ''
as $$
begin
  perform private.require_course(p_course_id);
  if p_limit is null or p_limit not between 1 and 1000 then
    perform private.fail('invalid_limit', 'A page has 1 to 1000 rows.', 422, jsonb_build_object('field', 'p_limit'));
  end if;
  -- Read as the caller: staff and graders see those in their scope, learners themselves.
  return query
  select
    e.id, e.user_id, n.display_name, e.version_id, e.status, e.progress_percentage, e.final_grade::numeric,
    array(
      select (
        a.assessment_id, a.title, a.weight, a.is_mandatory, r.percentage::numeric, coalesce(r.attempts_count, 0), r.passed_at
      )::lms.gradebook_entry
      from lms.version_assessments a
      left join lms.assessment_results r on r.enrollment_id = e.id and r.assessment_id = a.assessment_id
      where a.version_id = e.version_id
      order by a.order_index
    )
  from lms.enrollments e
  left join lms.people n on n.id = e.user_id
  where e.course_id = p_course_id and (p_after_enrollment_id is null or e.id > p_after_enrollment_id)
  order by e.id
  limit p_limit;
end
$$;

comment on function lms.get_gradebook is
  'The enrolments of a course that the caller may follow, with their scores and final grades, by enrolment id; the next page '
  'begins after p_after_enrollment_id. A learner gets their own. 404 course_not_found; 422 invalid_limit.';

grant execute on function lms.get_gradebook to authenticated, service_role;

notify pgrst, 'reload schema';
