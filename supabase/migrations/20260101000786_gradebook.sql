-- Gradebook: what released scores make of a learner's standing in an assessment, and that of the course.
-- Undo: drop function private.settle_assessment.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- INV-P2, INV-P3: from the scores, whoever calls, as often as they like. The caller holds the enrolment.
create function private.settle_assessment(p_enrollment_id uuid, p_assessment_id uuid)
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_enrollment lms.enrollments;
  v_assessment lms.version_assessments;
  v_lesson lms.version_lessons;
  v_progress lms.assessment_progress;
  v_before timestamptz;
  v_evidence numeric;
begin
  select * into v_enrollment from lms.enrollments e where e.id = p_enrollment_id for no key update;
  select * into v_assessment
  from lms.version_assessments a
  where a.version_id = v_enrollment.version_id and a.assessment_id = p_assessment_id;
  select p.completed_at into v_before
  from lms.assessment_progress p
  where p.enrollment_id = p_enrollment_id and p.assessment_id = p_assessment_id;

  select
    case v_assessment.grading_method
      when 'latest' then (array_agg(s.percentage order by t.number desc) filter (where s.attempt_id is not null))[1]
      when 'average' then trunc(avg(s.percentage), 2)
      else max(s.percentage)
    end,
    count(*), min(s.released_at) filter (where s.passed),
    case
      when v_assessment.passing_percentage is null then min(t.submitted_at)
      else min(s.released_at) filter (where s.passed)
    end
  into v_progress.percentage, v_progress.attempts_count, v_progress.passed_at, v_progress.completed_at
  from lms.assessment_attempts t
  left join lms.attempt_scores s on s.attempt_id = t.id and s.released_at is not null
  where t.enrollment_id = p_enrollment_id and t.assessment_id = p_assessment_id and t.status <> 'in_progress';

  insert into lms.assessment_progress as p (
    enrollment_id, assessment_id, tenant_id, course_id, user_id, percentage, attempts_count, passed_at, completed_at
  )
  values (
    p_enrollment_id, p_assessment_id, v_enrollment.tenant_id, v_enrollment.course_id, v_enrollment.user_id,
    v_progress.percentage, v_progress.attempts_count, coalesce(v_progress.passed_at, v_progress.completed_at), v_progress.completed_at
  )
  on conflict (enrollment_id, assessment_id) do update
  set percentage = excluded.percentage,
      attempts_count = excluded.attempts_count,
      passed_at = coalesce(p.passed_at, excluded.passed_at),
      completed_at = coalesce(p.completed_at, excluded.completed_at),
      updated_at = now();

  if v_enrollment.status not in ('enrolled', 'in_progress') then
    return;
  end if;
  update lms.enrollments e
  set items_done = e.items_done + (v_assessment.is_mandatory and v_before is null and v_progress.completed_at is not null)::integer,
      final_grade = (
        select trunc(sum(a.weight * coalesce(p.percentage, 0)) / nullif(sum(a.weight), 0), 2)
        from lms.version_assessments a
        left join lms.assessment_progress p on p.enrollment_id = e.id and p.assessment_id = a.assessment_id
        where a.version_id = e.version_id and a.weight > 0
      )
  where e.id = p_enrollment_id;

  select * into v_lesson
  from lms.version_lessons l
  where l.version_id = v_enrollment.version_id and l.lesson_id = v_assessment.lesson_id and l.completion_rule = 'assessment';
  if found then
    v_evidence := private.lesson_evidence(p_enrollment_id, v_lesson);
    insert into lms.lesson_progress as p (enrollment_id, user_id, lesson_id, progress_percentage)
    values (p_enrollment_id, v_enrollment.user_id, v_lesson.lesson_id, v_evidence)
    on conflict (enrollment_id, lesson_id) do update
    set progress_percentage = greatest(p.progress_percentage, excluded.progress_percentage),
        completed_at = coalesce(p.completed_at, excluded.completed_at)
    where p.progress_percentage < excluded.progress_percentage;
  end if;
end
$$;

notify pgrst, 'reload schema';
