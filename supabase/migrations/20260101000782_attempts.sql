-- Attempts: one learner's answers to one assessment, the time they have, and what becomes of them.
-- Undo: drop functions lms.start_attempt, get_attempt, save_answers, submit_attempt, ops.close_expired_attempts; drop tables
-- lms.assessment_progress, grading_assignments, grade_overrides, attempt_scores, answer_scores, attempt_answers,
-- private.attempt_keys, lms.attempt_questions, assessment_attempts; then types and functions below.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Tables
-- =====================================================================================================
-- Clients write none of them: every row comes from a call.

create table lms.assessment_attempts (
  id uuid primary key default private.uuid_v7(),
  tenant_id uuid not null,
  course_id uuid not null,
  user_id uuid not null constraint attempt_is_of_a_person references public.profiles (id),
  enrollment_id uuid not null,
  version_id uuid not null,
  assessment_id uuid not null,
  number integer not null constraint attempt_number_is_positive check (number >= 1),
  status text not null default 'in_progress'
    constraint attempt_status_is_known check (status in ('in_progress', 'submitted', 'graded')),
  started_at timestamptz not null default now(),
  deadline_at timestamptz,
  submitted_at timestamptz,
  closed_by text constraint attempt_closing_is_known check (closed_by in ('learner', 'deadline')),
  constraint attempt_of_its_learner unique (id, tenant_id, course_id, user_id),
  constraint attempt_of_its_enrollment unique (id, tenant_id, course_id, user_id, enrollment_id, assessment_id),
  constraint attempt_number_is_taken unique (enrollment_id, assessment_id, number),
  constraint attempt_is_of_the_enrolled_learner foreign key (enrollment_id, tenant_id, course_id, user_id)
    references lms.enrollments (id, tenant_id, course_id, user_id),
  constraint attempt_is_at_an_assessment_of_the_course foreign key (tenant_id, course_id, assessment_id)
    references lms.assessments (tenant_id, course_id, id),
  constraint attempt_is_at_an_assessment_of_the_version foreign key (tenant_id, course_id, version_id, assessment_id)
    references lms.version_assessments (tenant_id, course_id, version_id, assessment_id),
  constraint attempt_is_closed_exactly_when_it_is_over check (
    (status = 'in_progress') = (submitted_at is null) and (status = 'in_progress') = (closed_by is null)
  ),
  constraint attempt_ends_after_it_starts check (deadline_at > started_at and submitted_at >= started_at)
) with (fillfactor = 85);

-- INV-A2: however many requests start one at once.
create unique index one_open_attempt on lms.assessment_attempts (enrollment_id, assessment_id) where status = 'in_progress';
create index attempts_by_user on lms.assessment_attempts (user_id, assessment_id);
create index attempts_by_enrollment on lms.assessment_attempts (enrollment_id, tenant_id, course_id, user_id);
create index attempts_by_assessment on lms.assessment_attempts (tenant_id, course_id, assessment_id, id);
create index attempts_by_version on lms.assessment_attempts (tenant_id, course_id, version_id, assessment_id);
create index attempts_by_deadline on lms.assessment_attempts (deadline_at) where status = 'in_progress';
create index attempts_waiting_for_a_grader on lms.assessment_attempts (course_id, submitted_at, id) where status = 'submitted';

comment on table lms.assessment_attempts is
  'One learner''s attempt at an assessment. Written by start_attempt, submit_attempt and the job that closes expired ones.';
comment on column lms.assessment_attempts.number is 'The 1st, 2nd... attempt of this enrolment at this assessment.';
comment on column lms.assessment_attempts.status is
  'in_progress; submitted: handed in, something waits for a grader; graded: all of it has its points.';
comment on column lms.assessment_attempts.deadline_at is
  'Until then answers are saved, by the server''s clock: the time limit with what the learner was granted, or the closing of '
  'the assessment. Null: no limit.';
comment on column lms.assessment_attempts.closed_by is 'deadline: time ran out, and what was saved by then counts.';

create table lms.attempt_questions (
  attempt_id uuid not null,
  question_id uuid not null,
  tenant_id uuid not null,
  course_id uuid not null,
  user_id uuid not null,
  revision_id uuid not null,
  position integer not null constraint attempt_position_is_not_negative check (position >= 0),
  option_order text[] not null default '{}',
  section_title text,
  points numeric(8, 2) not null,
  -- With the tenant, so that answers refer to it through their tenant (INV-T1).
  primary key (attempt_id, question_id, tenant_id),
  constraint attempt_position_is_taken unique (attempt_id, position),
  constraint attempt_question_is_of_an_attempt_of_the_learner foreign key (attempt_id, tenant_id, course_id, user_id)
    references lms.assessment_attempts (id, tenant_id, course_id, user_id),
  constraint attempt_question_is_a_revision_of_the_course foreign key (tenant_id, course_id, revision_id)
    references lms.question_revisions (tenant_id, course_id, id)
);
create index attempt_questions_by_attempt on lms.attempt_questions (attempt_id, tenant_id, course_id, user_id);
create index attempt_questions_by_revision on lms.attempt_questions (tenant_id, course_id, revision_id);
create index attempt_questions_by_user_and_revision on lms.attempt_questions (revision_id, user_id);

comment on table lms.attempt_questions is
  'INV-A3: which questions an attempt asks, as they stood when it started, in which order. Nothing about their answers.';
comment on column lms.attempt_questions.option_order is
  'Ids of options, items or choices in the order in which they are shown to this learner; empty: as in content.';

-- INV-A1: apart from attempt_questions, so that what an attempt was graded by is no column that learners could reach.
create table private.attempt_keys (
  attempt_id uuid not null,
  question_id uuid not null,
  tenant_id uuid not null,
  key_revision_id uuid not null,
  primary key (attempt_id, question_id),
  constraint attempt_key_is_to_a_question_of_the_attempt foreign key (attempt_id, question_id, tenant_id)
    references lms.attempt_questions (attempt_id, question_id, tenant_id),
  constraint attempt_key_is_a_key_of_the_same_tenant foreign key (tenant_id, key_revision_id)
    references private.key_revisions (tenant_id, id)
);
create index attempt_keys_by_question on private.attempt_keys (attempt_id, question_id, tenant_id);
create index attempt_keys_by_key_revision on private.attempt_keys (tenant_id, key_revision_id);

comment on table private.attempt_keys is
  'Against which key each answer is graded: the one that held when the attempt started, until it is regraded.';

create table lms.attempt_answers (
  attempt_id uuid not null,
  question_id uuid not null,
  tenant_id uuid not null,
  course_id uuid not null,
  user_id uuid not null,
  response jsonb not null constraint response_is_short check (length(response::text) <= 200000),
  saved_at timestamptz not null default now(),
  primary key (attempt_id, question_id),
  constraint answer_is_to_a_question_of_the_attempt foreign key (attempt_id, question_id, tenant_id)
    references lms.attempt_questions (attempt_id, question_id, tenant_id),
  constraint answer_is_of_an_attempt_of_the_learner foreign key (attempt_id, tenant_id, course_id, user_id)
    references lms.assessment_attempts (id, tenant_id, course_id, user_id)
) with (fillfactor = 85);
create index attempt_answers_by_question on lms.attempt_answers (attempt_id, question_id, tenant_id);
create index attempt_answers_by_attempt on lms.attempt_answers (attempt_id, tenant_id, course_id, user_id);

comment on table lms.attempt_answers is 'What a learner answered, as last saved. No row: nothing.';
comment on column lms.attempt_answers.saved_at is 'When this answer was last changed, by the server''s clock.';

create table lms.answer_scores (
  attempt_id uuid not null,
  question_id uuid not null,
  tenant_id uuid not null,
  course_id uuid not null,
  user_id uuid not null,
  points numeric(8, 2),
  is_correct boolean,
  source text not null default 'auto'
    constraint score_source_is_known check (source in ('auto', 'grader', 'override', 'regrade')),
  explanation jsonb,
  feedback text constraint feedback_is_short check (length(feedback) <= 20000),
  graded_by uuid,
  graded_at timestamptz,
  primary key (attempt_id, question_id),
  constraint score_is_of_a_question_of_the_attempt foreign key (attempt_id, question_id, tenant_id)
    references lms.attempt_questions (attempt_id, question_id, tenant_id),
  constraint score_is_of_an_attempt_of_the_learner foreign key (attempt_id, tenant_id, course_id, user_id)
    references lms.assessment_attempts (id, tenant_id, course_id, user_id),
  constraint score_is_graded_exactly_when_it_has_points check ((points is null) = (graded_at is null))
);
create index answer_scores_by_question on lms.answer_scores (attempt_id, question_id, tenant_id);
create index answer_scores_by_attempt on lms.answer_scores (attempt_id, tenant_id, course_id, user_id);

comment on table lms.answer_scores is
  'The points of each answer, and why. Its learner sees them once the score is released and the assessment shows answers.';
comment on column lms.answer_scores.points is 'Null: waits for a grader. With negative credit it may be below 0.';
comment on column lms.answer_scores.source is 'auto: by the key; grader; regrade: by a corrected key; override.';
comment on column lms.answer_scores.explanation is 'How the points came about: what was given, what was right, what counted.';

create table lms.attempt_scores (
  attempt_id uuid primary key,
  tenant_id uuid not null,
  course_id uuid not null,
  user_id uuid not null,
  enrollment_id uuid not null,
  assessment_id uuid not null,
  points numeric(10, 2) not null,
  max_points numeric(10, 2) not null,
  percentage private.percentage not null,
  passed boolean not null,
  released_at timestamptz,
  source text not null default 'auto'
    constraint attempt_score_source_is_known check (source in ('auto', 'grader', 'override', 'regrade')),
  graded_at timestamptz not null default now(),
  constraint attempt_score_is_of_an_attempt_of_the_enrollment
    foreign key (attempt_id, tenant_id, course_id, user_id, enrollment_id, assessment_id)
    references lms.assessment_attempts (id, tenant_id, course_id, user_id, enrollment_id, assessment_id)
);
create index attempt_scores_by_attempt
  on lms.attempt_scores (attempt_id, tenant_id, course_id, user_id, enrollment_id, assessment_id);
create index attempt_scores_by_enrollment on lms.attempt_scores (enrollment_id, assessment_id);
create index attempt_scores_by_user on lms.attempt_scores (user_id);
create index attempt_scores_by_course on lms.attempt_scores (tenant_id, course_id, assessment_id);

comment on table lms.attempt_scores is
  'What an attempt is worth, once all of it is graded. While held back (released_at null) its learner has no such row.';
comment on column lms.attempt_scores.percentage is 'trunc(100 * points / max_points, 2), not below 0; or what an override says.';

create table lms.grade_overrides (
  id uuid primary key default private.uuid_v7(),
  tenant_id uuid not null,
  course_id uuid not null,
  user_id uuid not null,
  attempt_id uuid not null,
  old_percentage private.percentage,
  new_percentage private.percentage not null,
  reason text not null constraint override_reason_is_1_to_1000_characters check (reason ~ '\S' and length(reason) <= 1000),
  overridden_by uuid,
  overridden_at timestamptz not null default now(),
  constraint override_is_of_an_attempt_of_the_learner foreign key (attempt_id, tenant_id, course_id, user_id)
    references lms.assessment_attempts (id, tenant_id, course_id, user_id)
);
create index grade_overrides_by_attempt on lms.grade_overrides (attempt_id, tenant_id, course_id, user_id);
create index grade_overrides_by_user on lms.grade_overrides (user_id);
create index grade_overrides_by_course on lms.grade_overrides (tenant_id, course_id);

comment on table lms.grade_overrides is 'Grades that staff has set by hand, and why: history, append only. Written by override_grade.';
comment on column lms.grade_overrides.old_percentage is 'Null: there was none yet.';

create table lms.grading_assignments (
  attempt_id uuid not null,
  question_id uuid not null,
  tenant_id uuid not null,
  course_id uuid not null,
  grader_id uuid not null constraint grader_is_a_person references public.profiles (id),
  assigned_by uuid,
  assigned_at timestamptz not null default now(),
  primary key (attempt_id, question_id),
  constraint assignment_is_of_a_question_of_the_attempt foreign key (attempt_id, question_id, tenant_id)
    references lms.attempt_questions (attempt_id, question_id, tenant_id),
  constraint assignment_is_in_a_course_of_the_same_tenant foreign key (tenant_id, course_id)
    references lms.courses (tenant_id, id),
  constraint grader_is_a_member foreign key (tenant_id, grader_id) references lms.memberships (tenant_id, user_id)
);
create index grading_assignments_by_question on lms.grading_assignments (attempt_id, question_id, tenant_id);
create index grading_assignments_by_course on lms.grading_assignments (tenant_id, course_id);
create index grading_assignments_by_grader on lms.grading_assignments (grader_id, course_id);
create index grading_assignments_by_member on lms.grading_assignments (tenant_id, grader_id);

comment on table lms.grading_assignments is 'Who is to grade which answer. Written by allocate_grading.';

create table lms.assessment_progress (
  enrollment_id uuid not null,
  assessment_id uuid not null,
  tenant_id uuid not null,
  course_id uuid not null,
  user_id uuid not null,
  percentage private.percentage,
  attempts_count integer not null default 0 constraint attempts_count_is_not_negative check (attempts_count >= 0),
  passed_at timestamptz,
  completed_at timestamptz,
  updated_at timestamptz not null default now(),
  primary key (enrollment_id, assessment_id),
  constraint assessment_progress_is_of_the_enrolled_learner foreign key (enrollment_id, tenant_id, course_id, user_id)
    references lms.enrollments (id, tenant_id, course_id, user_id),
  constraint assessment_progress_is_of_an_assessment_of_the_course foreign key (tenant_id, course_id, assessment_id)
    references lms.assessments (tenant_id, course_id, id)
) with (fillfactor = 85);
create index assessment_progress_by_enrollment on lms.assessment_progress (enrollment_id, tenant_id, course_id, user_id);
create index assessment_progress_by_user on lms.assessment_progress (user_id, assessment_id);
create index assessment_progress_by_assessment on lms.assessment_progress (tenant_id, course_id, assessment_id);

comment on table lms.assessment_progress is
  'Where a learner stands in an assessment: what lesson_progress is for lessons. Follows from released scores; nobody claims it.';
comment on column lms.assessment_progress.percentage is 'The released score that counts by the grading method; null: none yet.';
comment on column lms.assessment_progress.completed_at is 'Since when it counts as an item of the course.';

-- =====================================================================================================
-- Who sees them
-- =====================================================================================================

create view private.attempt_scopes as
  select a.id, e.unit_id
  from lms.assessment_attempts a
  join lms.enrollments e on e.id = a.enrollment_id;

comment on view private.attempt_scopes is
  'To which unit an attempt belongs, for the policies of what hangs below it. Not an invoker''s view, on purpose, as '
  'enrollment_scopes; tells only ids; clients cannot address it.';
grant select on private.attempt_scopes to authenticated;

-- INV-A1: the one place that says when a learner may see what was right. An assessment that closes has closed for all,
-- accommodations included: who still writes must not be helped by who has finished.
create function private.my_shown_attempts()
returns setof uuid
language plpgsql
stable security definer
rows 20
set search_path = ''
as $$
begin
  return query
  select t.id
  from lms.assessment_attempts t
  join lms.assessments a on a.id = t.assessment_id
  join lms.attempt_scores s on s.attempt_id = t.id and s.released_at is not null
  where t.user_id = (select auth.uid()) and t.status <> 'in_progress'
    and t.tenant_id = any (array(select private.joined_tenants()))
    and case a.answers_shown
      when 'after_submit' then true
      when 'after_pass' then exists (
        select
        from lms.attempt_scores passed
        where passed.enrollment_id = t.enrollment_id and passed.assessment_id = t.assessment_id
          and passed.passed and passed.released_at is not null
      )
      when 'after_close' then a.closes_at <= now() and not exists (
        select
        from lms.accommodations g
        where g.tenant_id = t.tenant_id and g.course_id = t.course_id and g.revoked_at is null and g.closes_at > now()
          and (g.assessment_id is null or g.assessment_id = t.assessment_id)
      )
      else false
    end;
end
$$;

comment on function private.my_shown_attempts is
  'Attempts of the caller of which they may see points, keys and explanations, by the rule of the assessment.';

alter table lms.assessment_attempts enable row level security;
alter table lms.attempt_questions enable row level security;
alter table lms.attempt_answers enable row level security;
alter table lms.answer_scores enable row level security;
alter table lms.attempt_scores enable row level security;
alter table lms.grade_overrides enable row level security;
alter table lms.grading_assignments enable row level security;
alter table lms.assessment_progress enable row level security;
alter table private.attempt_keys enable row level security;

create policy "Attempts are seen by their learner, staff and graders" on lms.assessment_attempts
  for select to authenticated
  using (
    (user_id = (select auth.uid()) and tenant_id <> all (array(select private.closed_tenants())))
    or course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('assessments.grade')))
    or exists (
      select from private.enrollment_scopes e
      where e.id = enrollment_id and e.unit_id = any (array(select private.units_where('assessments.grade')))
    )
  );

-- What was asked is content: for learners as long as they are enrolled.
create policy "What an attempt asks is seen by its learner, staff and graders" on lms.attempt_questions
  for select to authenticated
  using (
    (user_id = (select auth.uid()) and course_id = any (array(select private.enrolled_courses())))
    or course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('assessments.grade')))
    or exists (
      select from private.attempt_scopes s
      where s.id = attempt_id and s.unit_id = any (array(select private.units_where('assessments.grade')))
    )
  );

create policy "Answers are seen by their learner, staff and graders" on lms.attempt_answers
  for select to authenticated
  using (
    (user_id = (select auth.uid()) and tenant_id <> all (array(select private.closed_tenants())))
    or course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('assessments.grade')))
    or exists (
      select from private.attempt_scopes s
      where s.id = attempt_id and s.unit_id = any (array(select private.units_where('assessments.grade')))
    )
  );

create policy "Points are seen by their learner when shown, and by graders" on lms.answer_scores
  for select to authenticated
  using (
    (user_id = (select auth.uid()) and attempt_id = any (array(select private.my_shown_attempts())))
    or course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('assessments.grade')))
    or exists (
      select from private.attempt_scopes s
      where s.id = attempt_id and s.unit_id = any (array(select private.units_where('assessments.grade')))
    )
  );

create policy "Scores are seen once released, and by graders" on lms.attempt_scores
  for select to authenticated
  using (
    (
      released_at is not null
      and (
        (user_id = (select auth.uid()) and tenant_id <> all (array(select private.closed_tenants())))
        or tenant_id = any (array(select private.tenants_where('progress.read')))
        or exists (
          select from private.enrollment_scopes e
          where e.id = enrollment_id and e.unit_id = any (array(select private.units_where('progress.read')))
        )
      )
    )
    or course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('assessments.grade')))
    or exists (
      select from private.enrollment_scopes e
      where e.id = enrollment_id and e.unit_id = any (array(select private.units_where('assessments.grade')))
    )
  );

create policy "Overrides are seen with the score" on lms.grade_overrides
  for select to authenticated
  using (exists (select from lms.attempt_scores s where s.attempt_id = grade_overrides.attempt_id));

create policy "Who is to grade is seen by graders and staff" on lms.grading_assignments
  for select to authenticated
  using (
    (grader_id = (select auth.uid()) and tenant_id = any (array(select private.my_tenants())))
    or course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('assessments.grade')))
    or exists (
      select from private.attempt_scopes s
      where s.id = attempt_id and s.unit_id = any (array(select private.units_where('assessments.grade')))
    )
  );

create policy "Standing is seen by the learner, staff and in scope" on lms.assessment_progress
  for select to authenticated
  using (
    (user_id = (select auth.uid()) and tenant_id <> all (array(select private.closed_tenants())))
    or tenant_id = any (array(select private.tenants_where('progress.read')))
    or course_id = any (array(select private.staffed_courses()))
    or exists (
      select from private.enrollment_scopes e
      where e.id = enrollment_id and e.unit_id = any (array(select private.units_where('progress.read')))
    )
  );

-- The attempt's own policy decides which of its questions are seen.
create policy "Published questions are seen by those asked and by authors" on lms.question_revisions
  for select to authenticated
  using (
    exists (select from lms.attempt_questions q where q.revision_id = question_revisions.id)
    or course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
  );

-- An import may put past attempts in place.
grant all on
  lms.assessment_attempts, lms.attempt_questions, lms.attempt_answers, lms.answer_scores, lms.attempt_scores,
  lms.assessment_progress, lms.grading_assignments, private.attempt_keys
to service_role;
grant select on lms.grade_overrides to service_role;
grant select on
  lms.assessment_attempts, lms.attempt_questions, lms.attempt_answers, lms.answer_scores, lms.attempt_scores,
  lms.grade_overrides, lms.grading_assignments, lms.assessment_progress
to authenticated;
grant execute on function private.my_shown_attempts to authenticated, service_role;

-- CALLS

notify pgrst, 'reload schema';
