-- Attempts: everybody who takes a course has handed in the quiz of its first lesson, and is writing its exam.

insert into lms.assessment_attempts (
  id, tenant_id, course_id, user_id, enrollment_id, version_id, assessment_id, number, status, started_at, submitted_at, closed_by
)
select
  world.id(format('attempts.%s.%s', n.name, a.name)), e.tenant_id, e.course_id, e.user_id, e.id, e.version_id,
  world.id(format('assessments.%s.%s', n.course, a.name)), 1, a.status, now() - interval '1 hour', a.submitted_at, a.closed_by
from world.enrollments n
join lms.enrollments e on e.id = world.id('enrollments.' || n.name)
cross join (values
  ('quiz', 'graded', now(), 'learner'), ('exam', 'in_progress', null, null)
) as a (name, status, submitted_at, closed_by);

-- The exam of one's own by $attempts.me.
insert into world.names (name, id) select 'attempts.' || n.name, world.id(format('attempts.%s.exam', n.name)) from world.enrollments n;

insert into lms.attempt_questions (attempt_id, question_id, tenant_id, course_id, user_id, revision_id, position, section_title, points)
select
  t.id, v.question_id, t.tenant_id, t.course_id, t.user_id, v.revision_id, 0, v.section_title, 1
from lms.assessment_attempts t
join lms.version_questions v on v.version_id = t.version_id and v.assessment_id = t.assessment_id;

insert into private.attempt_keys (attempt_id, question_id, tenant_id, key_revision_id)
select q.attempt_id, q.question_id, q.tenant_id, k.id
from lms.attempt_questions q
join private.key_revisions k on k.revision_id = q.revision_id;

insert into lms.attempt_answers (attempt_id, question_id, tenant_id, course_id, user_id, response)
select q.attempt_id, q.question_id, q.tenant_id, q.course_id, q.user_id, to_jsonb(world.canary('response.' || q.attempt_id))
from lms.attempt_questions q;

insert into lms.answer_scores (
  attempt_id, question_id, tenant_id, course_id, user_id, points, is_correct, explanation, feedback, graded_at
)
select
  q.attempt_id, q.question_id, q.tenant_id, q.course_id, q.user_id, 1, true,
  jsonb_build_object('expected', world.canary('score-explanation.' || q.attempt_id)), world.canary('score-feedback.' || q.attempt_id), now()
from lms.attempt_questions q
join lms.assessment_attempts t on t.id = q.attempt_id and t.status = 'graded';

-- One is held back.
insert into lms.attempt_scores (
  attempt_id, tenant_id, course_id, user_id, enrollment_id, assessment_id, points, max_points, percentage, passed, released_at
)
select
  t.id, t.tenant_id, t.course_id, t.user_id, t.enrollment_id, t.assessment_id, 1, 1, 100, true,
  case when t.enrollment_id <> world.id('enrollments.learner_private') then now() end
from lms.assessment_attempts t
where t.status = 'graded';

insert into lms.grade_overrides (id, tenant_id, course_id, user_id, attempt_id, old_percentage, new_percentage, reason)
select
  md5('override' || t.id)::uuid, t.tenant_id, t.course_id, t.user_id, t.id, 50, 100, world.canary('override-reason.' || t.id)
from lms.assessment_attempts t
where t.status = 'graded';

insert into lms.grading_assignments (attempt_id, question_id, tenant_id, course_id, grader_id)
select
  q.attempt_id, q.question_id, q.tenant_id, q.course_id,
  case
    when q.attempt_id = world.id('attempts.neighbor.quiz') then world.id('people.instructor')
    when q.tenant_id = world.id('tenants.abroad') then world.id('people.abroad_teacher')
    else world.id('people.teacher')
  end
from lms.attempt_questions q
join lms.assessment_attempts t on t.id = q.attempt_id and t.status = 'graded';

insert into lms.assessment_progress (
  enrollment_id, assessment_id, tenant_id, course_id, user_id, percentage, attempts_count, passed_at, completed_at
)
select s.enrollment_id, s.assessment_id, s.tenant_id, s.course_id, s.user_id, s.percentage, 1, now(), now()
from lms.attempt_scores s
where s.released_at is not null;

insert into lms.accommodations (id, tenant_id, course_id, user_id, extra_time_percentage, reason)
select
  world.id('accommodations.' || n.name), e.tenant_id, e.course_id, e.user_id, 50, world.canary('accommodation-reason.' || n.name)
from world.enrollments n
join lms.enrollments e on e.id = world.id('enrollments.' || n.name);
