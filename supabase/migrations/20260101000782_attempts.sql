-- Attempts: one learner's answers to one assessment, the time they have, and what becomes of them.
-- Undo: drop functions lms.start_attempt, get_attempt, save_answers, submit_attempt, get_attempt_review, ops.close_expired_attempts; drop tables
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
create index attempts_by_course on lms.assessment_attempts (course_id, id);
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
  response jsonb not null constraint response_is_short check (pg_column_size(response) <= 200000),
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
  points numeric(14, 2) not null,
  max_points numeric(14, 2) not null,
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

create trigger _100_timestamps before update on lms.assessment_progress
  for each row execute function private.touch_updated_at();

comment on table lms.assessment_progress is
  'Where a learner stands in an assessment: what lesson_progress is for lessons. Follows from released scores; nobody claims it.';
comment on column lms.assessment_progress.percentage is 'The released score that counts by the grading method; null: none yet.';
comment on column lms.assessment_progress.completed_at is 'Since when it counts as an item of the course.';

-- INV-P2: what count_for_version and others add to the lessons.
create function private.count_assessments_done(p_enrollment_id uuid, p_version_id uuid)
returns integer
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  return (
    select count(*)
    from lms.assessment_progress p
    join lms.version_assessments a on a.version_id = p_version_id and a.assessment_id = p.assessment_id and a.is_mandatory
    where p.enrollment_id = p_enrollment_id and p.completed_at is not null
  );
end
$$;

comment on function private.count_assessments_done is 'How many mandatory assessments of a version an enrolment has completed.';

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
      ) and not exists (
        -- Nor while anybody still writes: who began before the rules changed, and whose extra time was revoked.
        select
        from lms.assessment_attempts o
        join lms.enrollments e on e.id = o.enrollment_id
        where o.assessment_id = t.assessment_id and o.status = 'in_progress' and (o.deadline_at is null or o.deadline_at > now())
          and e.status in ('enrolled', 'in_progress', 'paused') and (e.expires_at is null or e.expires_at > now())
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
    -- INV-A1: not one's own by a right to grade.
    or (user_id <> (select auth.uid()) and (
      tenant_id = any (array(select private.tenants_where('assessments.grade')))
      or exists (
        select from private.attempt_scopes s
        where s.id = attempt_id and s.unit_id = any (array(select private.units_where('assessments.grade')))
      )
    ))
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
    or (user_id <> (select auth.uid()) and (
      tenant_id = any (array(select private.tenants_where('assessments.grade')))
      or exists (
        select from private.enrollment_scopes e
        where e.id = enrollment_id and e.unit_id = any (array(select private.units_where('assessments.grade')))
      )
    ))
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

-- =====================================================================================================
-- How an assessment is conducted for one learner
-- =====================================================================================================

create type private.conduct as (max_attempts integer, extra_time_percentage integer, opens_at timestamptz, closes_at timestamptz);

-- Of several accommodations that hold, the most generous counts, each part by itself.
create function private.conduct_of(p_assessment lms.assessments, p_user_id uuid)
returns private.conduct
language plpgsql
stable
set search_path = ''
as $$
declare
  v_conduct private.conduct;
  v_extra_attempts integer;
  v_opens_at timestamptz;
  v_closes_at timestamptz;
begin
  select coalesce(max(g.extra_time_percentage), 0), coalesce(max(g.extra_attempts), 0), min(g.opens_at), max(g.closes_at)
  into v_conduct.extra_time_percentage, v_extra_attempts, v_opens_at, v_closes_at
  from lms.accommodations g
  where g.user_id = p_user_id and g.course_id = p_assessment.course_id and g.revoked_at is null
    and (g.assessment_id is null or g.assessment_id = p_assessment.id);
  v_conduct.max_attempts := p_assessment.max_attempts + v_extra_attempts;
  v_conduct.opens_at := case when p_assessment.opens_at is not null then least(p_assessment.opens_at, v_opens_at) end;
  v_conduct.closes_at := case when p_assessment.closes_at is not null then greatest(p_assessment.closes_at, v_closes_at) end;
  return v_conduct;
end
$$;

create function private.attempt_deadline(p_assessment lms.assessments, p_conduct private.conduct, p_started_at timestamptz)
returns timestamptz
language plpgsql
immutable
set search_path = ''
as $$
begin
  return least(
    p_started_at + make_interval(secs => p_assessment.time_limit_minutes * 60 * (100 + p_conduct.extra_time_percentage) / 100.0),
    p_conduct.closes_at
  );
end
$$;

comment on function private.attempt_deadline is 'Null when neither a time limit nor a closing date holds.';

create function private.extend_open_attempts(p_accommodation lms.accommodations)
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  perform from lms.enrollments e
  where e.user_id = p_accommodation.user_id and e.course_id = p_accommodation.course_id
    and e.status in ('enrolled', 'in_progress', 'paused', 'completed')
  order by e.id
  for no key update;
  update lms.assessment_attempts t
  set deadline_at = greatest(
    t.deadline_at,
    private.attempt_deadline(a, private.conduct_of(a, t.user_id), t.started_at)
  )
  from lms.assessments a
  where a.id = t.assessment_id and t.status = 'in_progress' and t.deadline_at is not null
    and t.user_id = p_accommodation.user_id and t.course_id = p_accommodation.course_id
    and (p_accommodation.assessment_id is null or t.assessment_id = p_accommodation.assessment_id);
end
$$;

-- An author who gives more time gives it to those who are at it as well. Less time is for those who begin later.
create function private.extend_attempts_of_assessment()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform from lms.enrollments e
  where e.id in (
    select t.enrollment_id from lms.assessment_attempts t
    where t.course_id = new.course_id and t.assessment_id = new.id and t.status = 'in_progress'
  )
  order by e.id
  for no key update;
  update lms.assessment_attempts t
  set deadline_at = d.later
  from lms.assessment_attempts o
  cross join lateral private.attempt_deadline(new, private.conduct_of(new, o.user_id), o.started_at) as d (later)
  where o.course_id = new.course_id and o.assessment_id = new.id and o.status = 'in_progress' and t.id = o.id
    and (d.later is null or d.later > t.deadline_at);
  return null;
end
$$;

create trigger _500_extend_attempts after update of time_limit_minutes, closes_at on lms.assessments
  for each row when (
    old.time_limit_minutes is distinct from new.time_limit_minutes or old.closes_at is distinct from new.closes_at
  ) execute function private.extend_attempts_of_assessment();

-- INV-A2: the one place that says what keeps somebody from starting. Called with the enrolment locked.
create function private.attempt_obstacles(p_enrollment lms.enrollments, p_assessment lms.assessments, p_lesson_id uuid)
returns setof lms.eligibility_reason
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_conduct constant private.conduct := private.conduct_of(p_assessment, p_enrollment.user_id);
  v_attempts integer;
  v_free_at timestamptz;
begin
  if p_enrollment.status = 'completed' then
    return next ('course_completed', 'The course is completed, and its grade stands.', null)::lms.eligibility_reason;
  end if;
  return query
  select 'lesson_locked', 'The lesson of this assessment is not open yet.',
    jsonb_build_object('lesson_id', g.lesson_id, 'obstacles', to_jsonb(g.obstacles))
  from private.closed_lessons(p_enrollment.id, p_lesson_id) g
  where p_lesson_id is not null;
  -- What other courses must come first holds for what is in no lesson, too.
  if p_lesson_id is null and p_enrollment.started_at is null then
    return query
    select 'prerequisite_unmet', 'Other courses come first.', jsonb_build_object('courses', m.courses)
    from private.describe_missing_prerequisites(p_enrollment.course_id, p_enrollment.user_id) as m (courses)
    where m.courses is not null;
  end if;
  if now() < v_conduct.opens_at then
    return next (
      'not_open_yet', 'The assessment opens later.', jsonb_build_object('opens_at', v_conduct.opens_at)
    )::lms.eligibility_reason;
  end if;
  if now() >= v_conduct.closes_at then
    return next (
      'closed', 'The assessment has closed.', jsonb_build_object('closes_at', v_conduct.closes_at)
    )::lms.eligibility_reason;
  end if;
  -- Who drops a course and takes it up again has not begun anew: those cycles count together.
  select
    count(*), max(coalesce(t.submitted_at, private.attempt_end(t))) + make_interval(mins => p_assessment.cooldown_minutes)
  into v_attempts, v_free_at
  from lms.assessment_attempts t
  where t.user_id = p_enrollment.user_id and t.assessment_id = p_assessment.id
    and t.enrollment_id in (
      select e.id
      from lms.enrollments e
      where e.user_id = p_enrollment.user_id and e.course_id = p_enrollment.course_id and e.cycle > coalesce((
        select max(ended.cycle)
        from lms.enrollments ended
        where ended.user_id = p_enrollment.user_id and ended.course_id = p_enrollment.course_id
          and ended.cycle < p_enrollment.cycle and ended.status <> 'dropped'
      ), 0)
    );
  if v_attempts >= v_conduct.max_attempts then
    return next (
      'max_attempts_reached', 'All attempts are used up.', jsonb_build_object('max_attempts', v_conduct.max_attempts)
    )::lms.eligibility_reason;
  elsif p_assessment.cooldown_minutes > 0 and clock_timestamp() < v_free_at then
    return next (
      'cooldown', 'The next attempt has to wait.', jsonb_build_object('until', v_free_at)
    )::lms.eligibility_reason;
  end if;
end
$$;

-- Time is over by the deadline of the attempt, or when the enrolment has run out.
create function private.attempt_end(p_attempt lms.assessment_attempts)
returns timestamptz
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  return least(p_attempt.deadline_at, (
    select least(e.expires_at, e.dropped_at, e.expired_at) from lms.enrollments e where e.id = p_attempt.enrollment_id
  ));
end
$$;

-- =====================================================================================================
-- Grading and closing
-- =====================================================================================================

-- Grades what the key can grade. INV-A3: by the revisions and keys that the attempt began with. The points are written
-- before the status changes: who follows the status finds them. A key that fails leaves the answer to a grader rather
-- than the attempt open.
create function private.grade_attempt(p_attempt_id uuid)
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_attempt lms.assessment_attempts;
  v_assessment record;
  v_question record;
  v_grading private.grading;
  v_waits boolean := false;
  v_points numeric := 0;
  v_max_points numeric := 0;
  v_percentage numeric;
begin
  select * into v_attempt from lms.assessment_attempts t where t.id = p_attempt_id;
  select v.kind, v.passing_percentage, a.holds_grades into v_assessment
  from lms.version_assessments v
  join lms.assessments a on a.id = v.assessment_id
  where v.version_id = v_attempt.version_id and v.assessment_id = v_attempt.assessment_id;

  for v_question in
    select q.question_id, q.points, r.type, r.content, r.scoring, k.key, n.response
    from lms.attempt_questions q
    join lms.question_revisions r on r.id = q.revision_id
    left join private.attempt_keys t on t.attempt_id = q.attempt_id and t.question_id = q.question_id
    left join private.key_revisions k on k.id = t.key_revision_id
    left join lms.attempt_answers n on n.attempt_id = q.attempt_id and n.question_id = q.question_id
    where q.attempt_id = p_attempt_id
    order by q.position
  loop
    v_max_points := v_max_points + v_question.points;
    if v_question.response is null or private.is_unanswered(v_question.type, v_question.response) then
      v_grading := (0, case when v_assessment.kind <> 'survey' then false end, false, '{"reason": "unanswered"}');
    elsif v_assessment.kind = 'survey' then
      -- What is asked for an opinion has no right answer: it counts as answered.
      v_grading := (v_question.points, null, false, '{"reason": "answered"}');
    else
      begin
        v_grading := private.grade_response(
          v_question.type, v_question.content, v_question.scoring, v_question.points, v_question.key, v_question.response
        );
      exception
        when others then
          v_grading := (null, null, true, jsonb_build_object('fault', sqlstate));
      end;
    end if;
    insert into lms.answer_scores (
      attempt_id, question_id, tenant_id, course_id, user_id, points, is_correct, source, explanation, graded_at
    )
    values (
      p_attempt_id, v_question.question_id, v_attempt.tenant_id, v_attempt.course_id, v_attempt.user_id,
      case when not v_grading.waits then v_grading.points end, case when not v_grading.waits then v_grading.is_correct end,
      'auto', v_grading.explanation, case when not v_grading.waits then now() end
    );
    v_waits := v_waits or v_grading.waits;
    v_points := v_points + coalesce(v_grading.points, 0);
  end loop;

  if not v_waits then
    v_points := greatest(v_points, 0);
    v_percentage := case when v_max_points > 0 then trunc(100 * v_points / v_max_points, 2) else 100 end;
    insert into lms.attempt_scores (
      attempt_id, tenant_id, course_id, user_id, enrollment_id, assessment_id, points, max_points, percentage, passed, released_at
    )
    values (
      p_attempt_id, v_attempt.tenant_id, v_attempt.course_id, v_attempt.user_id, v_attempt.enrollment_id,
      v_attempt.assessment_id, v_points, v_max_points, v_percentage,
      v_percentage >= coalesce(v_assessment.passing_percentage, 0),
      case when not v_assessment.holds_grades then now() end
    );
  end if;
  update lms.assessment_attempts t
  set status = case when v_waits then 'submitted' else 'graded' end,
      submitted_at = coalesce(v_attempt.submitted_at, now()),
      closed_by = coalesce(v_attempt.closed_by, 'learner')
  where t.id = p_attempt_id;
  perform private.settle_assessment(v_attempt.enrollment_id, v_attempt.assessment_id);
end
$$;

-- Closes an open attempt, which the caller holds locked, with what is saved.
create function private.close_attempt(p_attempt lms.assessment_attempts, p_by text, p_at timestamptz)
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  update lms.assessment_attempts t
  set status = 'submitted', submitted_at = greatest(p_at, t.started_at), closed_by = p_by
  where t.id = p_attempt.id and t.status = 'in_progress';
  if found then
    perform private.grade_attempt(p_attempt.id);
  end if;
end
$$;

-- =====================================================================================================
-- What a learner gets to see
-- =====================================================================================================

create type lms.attempt_question_view as (
  question_id uuid,
  question_key text,
  "position" integer,
  section_title text,
  type text,
  prompt text,
  content jsonb,
  points numeric,
  response jsonb,
  saved_at timestamptz
);
create type lms.attempt_view as (
  id uuid,
  assessment_id uuid,
  enrollment_id uuid,
  user_id uuid,
  title text,
  kind text,
  instructions text,
  number integer,
  status text,
  started_at timestamptz,
  deadline_at timestamptz,
  submitted_at timestamptz,
  closed_by text,
  server_time timestamptz,
  questions lms.attempt_question_view[]
);
comment on type lms.attempt_view is
  'An attempt with its questions in their order, their options as this learner sees them, and what is saved of the answers. '
  'No keys and no points. The time left is deadline_at minus server_time.';

create function private.ordered_content(p_type text, p_content jsonb, p_order text[])
returns jsonb
language sql
immutable
set search_path = ''
as $$
  select case
    when cardinality(p_order) = 0 or list.name is null then p_content
    else p_content || jsonb_build_object(list.name, (
      select jsonb_agg(part.item order by array_position(p_order, part.item ->> 'id'))
      from jsonb_array_elements(p_content -> list.name) as part (item)
    ))
  end
  from (
    select case
      when p_type in ('single', 'multiple') then 'options' when p_type = 'ordering' then 'items' when p_type = 'matching' then 'choices'
    end as name
  ) list
$$;

create function lms.get_attempt(p_attempt_id uuid)
returns lms.attempt_view
language plpgsql
stable
set search_path = ''
as $$
declare
  v_view lms.attempt_view;
begin
  -- Read as the caller: what they may not see does not exist for them.
  select
    t.id, t.assessment_id, t.enrollment_id, t.user_id, v.title, v.kind, v.instructions, t.number, t.status, t.started_at,
    t.deadline_at, t.submitted_at, t.closed_by
  into
    v_view.id, v_view.assessment_id, v_view.enrollment_id, v_view.user_id, v_view.title, v_view.kind, v_view.instructions,
    v_view.number, v_view.status, v_view.started_at, v_view.deadline_at, v_view.submitted_at, v_view.closed_by
  from lms.assessment_attempts t
  left join lms.version_assessments v on v.version_id = t.version_id and v.assessment_id = t.assessment_id
  where t.id = p_attempt_id;
  if not found then
    perform private.fail('attempt_not_found', 'There is no such attempt.', 404);
  end if;
  v_view.server_time := clock_timestamp();
  select coalesce(array_agg(
    (
      q.question_id, r.question_key, q.position, q.section_title, r.type, r.prompt,
      private.ordered_content(r.type, r.content, q.option_order), q.points, n.response, n.saved_at
    )::lms.attempt_question_view
    order by q.position
  ), '{}')
  into v_view.questions
  from lms.attempt_questions q
  join lms.question_revisions r on r.id = q.revision_id
  left join lms.attempt_answers n on n.attempt_id = q.attempt_id and n.question_id = q.question_id
  where q.attempt_id = p_attempt_id;
  return v_view;
end
$$;

comment on function lms.get_attempt is
  'An attempt with its questions, in the order and with the options of this attempt, and the answers saved so far; for its '
  'learner, staff of the course and graders. Keys are in none of it. 404 attempt_not_found.';

-- =====================================================================================================
-- Starting
-- =====================================================================================================

-- The order is drawn once and kept. Items to be put in order and choices to be matched are always mixed.
create function private.mixed_ids(p_type text, p_content jsonb, p_shuffle boolean)
returns text[]
language sql
volatile
set search_path = ''
as $$
  select case
    when list.name is null or jsonb_typeof(p_content -> list.name) <> 'array' then '{}'
    else array(
      select part.item ->> 'id'
      from jsonb_array_elements(p_content -> list.name) as part (item)
      order by random()
    )
  end
  from (
    select case
      when p_type in ('single', 'multiple') and p_shuffle then 'options'
      when p_type = 'ordering' then 'items'
      when p_type = 'matching' then 'choices'
    end as name
  ) list
$$;

create function private.ask_questions(p_attempt lms.assessment_attempts, p_assessment lms.assessments)
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  insert into lms.attempt_questions (
    attempt_id, question_id, tenant_id, course_id, user_id, revision_id, position, option_order, section_title, points
  )
  select
    p_attempt.id, d.question_id, p_attempt.tenant_id, p_attempt.course_id, p_attempt.user_id, d.revision_id,
    (row_number() over (order by d.section_place, d.place) - 1)::integer,
    private.mixed_ids(r.type, r.content, p_assessment.shuffle_options), d.section_title, r.points
  from (
    select
      q.question_id, q.revision_id, q.section_title,
      min(q.order_index) over (partition by q.section_id) as section_place,
      case when p_assessment.shuffle_questions then row_number() over (partition by q.section_id order by random()) else q.order_index end
        as place,
      row_number() over (partition by q.section_id order by q.luck) as drawn, q.draw_count
    from (
      select v.*, random() as luck
      from lms.version_questions v
      where v.version_id = p_attempt.version_id and v.assessment_id = p_attempt.assessment_id
    ) q
  ) d
  join lms.question_revisions r on r.id = d.revision_id
  where d.draw_count is null or d.drawn <= d.draw_count;

  insert into private.attempt_keys (attempt_id, question_id, tenant_id, key_revision_id)
  select q.attempt_id, q.question_id, q.tenant_id, k.id
  from lms.attempt_questions q
  cross join lateral (
    select k.id from private.key_revisions k where k.revision_id = q.revision_id order by k.number desc limit 1
  ) k
  where q.attempt_id = p_attempt.id;
end
$$;

-- Whether the caller knows of the assessment because it belongs to the version that they take, its lesson open or not, and
-- in the draft still or not.
create function private.takes_assessment(p_assessment_id uuid)
returns boolean
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  return exists (
    select
    from lms.version_assessments v
    join lms.courses c on c.id = v.course_id and c.deleted_at is null
    where v.assessment_id = p_assessment_id and v.version_id = any (array(select private.my_versions()))
      and v.course_id = any (array(select private.enrolled_courses()))
  );
end
$$;

-- Definer, because attempts are written by nobody; the learner is the caller. The enrolment is locked before anything is
-- counted: of many requests at once the first one starts the attempt, and the others find it (INV-A2).
create function private.begin_attempt(p_assessment_id uuid)
returns uuid
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_assessment lms.assessments;
  v_enrollment lms.enrollments;
  v_pinned lms.version_assessments;
  v_attempt lms.assessment_attempts;
  v_reasons lms.eligibility_reason[];
begin
  select * into v_assessment from lms.assessments a where a.id = p_assessment_id;
  v_enrollment := private.cycle_to_record((select auth.uid()), v_assessment.course_id, true);
  if v_enrollment.id is null then
    perform private.fail(
      'not_startable', 'The course is not being taken.', 409,
      jsonb_build_array(jsonb_build_object(
        'code', 'not_enrolled', 'message', 'The course is not being taken.',
        'details', jsonb_build_object('course_id', v_assessment.course_id)
      )),
      'Enrol first: lms.enroll.'
    );
  end if;
  select * into v_pinned
  from lms.version_assessments v
  where v.version_id = v_enrollment.version_id and v.assessment_id = p_assessment_id;
  if not found then
    perform private.fail(
      'assessment_not_in_version', 'The assessment is not part of the version of the course that is being taken.', 409,
      jsonb_build_object('course_id', v_assessment.course_id)
    );
  end if;

  select * into v_attempt
  from lms.assessment_attempts t
  where t.enrollment_id = v_enrollment.id and t.assessment_id = p_assessment_id and t.status = 'in_progress'
  for no key update;
  if found then
    if now() < private.attempt_end(v_attempt) or private.attempt_end(v_attempt) is null then
      return v_attempt.id;
    end if;
    perform private.close_attempt(v_attempt, 'deadline', private.attempt_end(v_attempt));
    -- What it was worth may have completed the course.
    select * into v_enrollment from lms.enrollments e where e.id = v_enrollment.id;
  end if;

  select array_agg(o) into v_reasons
  from private.attempt_obstacles(v_enrollment, v_assessment, v_pinned.lesson_id) o;
  if v_reasons is not null then
    if v_attempt.id is not null then
      -- Refusing would undo the closing. The closed attempt is the answer; asking again is refused.
      return v_attempt.id;
    end if;
    perform private.fail(
      'not_startable', v_reasons[1].message, 409, to_jsonb(v_reasons), 'See details for every reason.'
    );
  end if;

  insert into lms.assessment_attempts (
    tenant_id, course_id, user_id, enrollment_id, version_id, assessment_id, number, started_at, deadline_at
  )
  select
    v_enrollment.tenant_id, v_enrollment.course_id, v_enrollment.user_id, v_enrollment.id, v_enrollment.version_id,
    p_assessment_id, coalesce(max(t.number), 0) + 1, now(),
    private.attempt_deadline(v_assessment, private.conduct_of(v_assessment, v_enrollment.user_id), now())
  from lms.assessment_attempts t
  where t.enrollment_id = v_enrollment.id and t.assessment_id = p_assessment_id
  returning * into v_attempt;
  perform private.ask_questions(v_attempt, v_assessment);

  -- Who begins an assessment has begun the course.
  update lms.enrollments e
  set status = 'in_progress', started_at = coalesce(e.started_at, now())
  where e.id = v_enrollment.id and e.status = 'enrolled';
  update lms.enrollments e set last_accessed_at = now() where e.id = v_enrollment.id;
  return v_attempt.id;
end
$$;

create function lms.start_attempt(p_assessment_id uuid)
returns lms.attempt_view
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_attempt_id uuid;
begin
  -- Read as the caller: what is hidden from them does not exist for them.
  if not exists (select from lms.assessments a where a.id = p_assessment_id)
    and not private.takes_assessment(p_assessment_id)
  then
    perform private.fail('assessment_not_found', 'There is no such assessment.', 404);
  end if;
  -- Two statements: what is begun in one is seen by the next.
  v_attempt_id := private.begin_attempt(p_assessment_id);
  return lms.get_attempt(v_attempt_id);
end
$$;

comment on function lms.start_attempt is
  'Starts an attempt of the caller and returns it with its questions; an open one is returned as it is. If time has run out '
  'of the open one and no other may follow, it is closed and returned closed. 404 assessment_not_found; 409 not_startable '
  'with details = [{code, message, details}], every reason at once: not_enrolled, course_completed, lesson_locked '
  '{obstacles}, prerequisite_unmet, not_open_yet {opens_at}, closed {closes_at}, max_attempts_reached {max_attempts}, '
  'cooldown {until}; 409 assessment_not_in_version, enrollment_paused, enrollment_expired; 403 membership_suspended.';

-- =====================================================================================================
-- Saving
-- =====================================================================================================

create type lms.answers_receipt as (
  attempt_id uuid, status text, saved integer, deadline_at timestamptz, server_time timestamptz
);
comment on type lms.answers_receipt is 'saved: how many answers of the call differ from what was saved before.';

-- INV-T4 and the state of the enrolment, for whoever writes into an attempt.
create function private.require_attempt_of_caller(p_attempt lms.assessment_attempts)
returns void
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_enrollment lms.enrollments;
begin
  if p_attempt.user_id is distinct from (select auth.uid()) then
    raise insufficient_privilege using message = 'Answers are given by the learner.';
  elsif p_attempt.tenant_id <> all (array(select private.joined_tenants())) then
    perform private.refuse_progress('suspended', p_attempt.course_id);
  end if;
  select * into v_enrollment from lms.enrollments e where e.id = p_attempt.enrollment_id;
  if v_enrollment.status = 'paused' then
    perform private.refuse_progress('paused', p_attempt.course_id);
  elsif v_enrollment.status in ('dropped', 'expired') then
    perform private.refuse_progress('not_enrolled', p_attempt.course_id);
  end if;
end
$$;

-- All faults at once, and nothing is saved then. Null takes an answer back. Sizes are measured, not written out: a number of a
-- few bytes may have a hundred thousand digits.
create function private.store_answers(p_attempt lms.assessment_attempts, p_answers jsonb)
returns integer
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_faults jsonb;
  v_saved integer;
  v_removed integer;
begin
  if jsonb_typeof(p_answers) is distinct from 'object' or pg_column_size(p_answers) > 2000000 then
    perform private.fail(
      'invalid_answers', 'The answers are an object of question id and response.', 422, jsonb_build_object('field', 'p_answers')
    );
  end if;
  select jsonb_agg(jsonb_build_object('question_id', given.question_id, 'faults', to_jsonb(given.codes))) into v_faults
  from (
    select
      a.key as question_id,
      case
        when q.question_id is null then array['not_asked']
        when jsonb_typeof(a.value) = 'null' then '{}'
        when pg_column_size(a.value) > 200000 then array['too_long']
        else array(select private.response_faults(r.type, r.content, a.value))
      end as codes
    from jsonb_each(p_answers) a
    left join lms.attempt_questions q on q.attempt_id = p_attempt.id and q.question_id::text = a.key
    left join lms.question_revisions r on r.id = q.revision_id
  ) given
  where cardinality(given.codes) > 0;
  if v_faults is not null then
    perform private.fail('invalid_answers', 'Some answers do not fit their questions; nothing was saved.', 422, v_faults);
  end if;

  delete from lms.attempt_answers n
  using jsonb_each(p_answers) a
  where n.attempt_id = p_attempt.id and n.question_id::text = a.key and jsonb_typeof(a.value) = 'null';
  get diagnostics v_removed = row_count;
  insert into lms.attempt_answers as n (attempt_id, question_id, tenant_id, course_id, user_id, response)
  select p_attempt.id, q.question_id, q.tenant_id, q.course_id, q.user_id, a.value
  from jsonb_each(p_answers) a
  join lms.attempt_questions q on q.attempt_id = p_attempt.id and q.question_id::text = a.key
  where jsonb_typeof(a.value) <> 'null'
  on conflict (attempt_id, question_id) do update
  set response = excluded.response, saved_at = now()
  where n.response is distinct from excluded.response;
  get diagnostics v_saved = row_count;
  return v_saved + v_removed;
end
$$;

create function private.refuse_after_end(p_attempt lms.assessment_attempts)
returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  perform private.fail(
    'attempt_over', 'The attempt is over; what was saved before counts.', 409,
    jsonb_build_object(
      'attempt_id', p_attempt.id, 'deadline_at', p_attempt.deadline_at, 'submitted_at', p_attempt.submitted_at
    ),
    'submit_attempt returns what became of it.'
  );
end
$$;

-- Definer, because answers are written by nobody. Only the attempt is locked: saving waits for nothing else that the
-- learner does. The request counts when it arrives, not when its turn comes.
create function private.save_answers_of_caller(p_attempt_id uuid, p_answers jsonb)
returns lms.answers_receipt
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_attempt lms.assessment_attempts;
  v_receipt lms.answers_receipt;
begin
  select * into v_attempt from lms.assessment_attempts t where t.id = p_attempt_id for no key update;
  perform private.require_attempt_of_caller(v_attempt);
  if v_attempt.status <> 'in_progress' or now() >= private.attempt_end(v_attempt) then
    perform private.refuse_after_end(v_attempt);
  end if;
  v_receipt.saved := private.store_answers(v_attempt, p_answers);
  v_receipt.attempt_id := v_attempt.id;
  v_receipt.status := v_attempt.status;
  v_receipt.deadline_at := v_attempt.deadline_at;
  v_receipt.server_time := clock_timestamp();
  return v_receipt;
end
$$;

create function lms.save_answers(p_attempt_id uuid, p_answers jsonb)
returns lms.answers_receipt
language plpgsql
volatile
set search_path = ''
as $$
begin
  if not exists (select from lms.assessment_attempts t where t.id = p_attempt_id) then
    perform private.fail('attempt_not_found', 'There is no such attempt.', 404);
  end if;
  return private.save_answers_of_caller(p_attempt_id, p_answers);
end
$$;

comment on function lms.save_answers is
  'Saves answers of an open attempt, {question id: response}; null takes one back, those not named stay. The receipt says '
  'that it is saved. Repeating it changes nothing. 404 attempt_not_found; 409 attempt_over {deadline_at, submitted_at}, '
  'enrollment_paused, not_enrolled; 422 invalid_answers [{question_id, faults}], and nothing is saved; 403 '
  'membership_suspended, 42501 for anybody but the learner.';

-- =====================================================================================================
-- Handing in
-- =====================================================================================================

create type lms.attempt_receipt as (
  attempt_id uuid,
  assessment_id uuid,
  number integer,
  status text,
  submitted_at timestamptz,
  closed_by text,
  points numeric,
  max_points numeric,
  percentage numeric,
  passed boolean,
  released_at timestamptz
);
comment on type lms.attempt_receipt is
  'What became of an attempt. Points, percentage and passed are null while something waits for a grader or is held back.';

-- The enrolment first, as everywhere: what the score completes is written there.
create function private.submit_attempt_of_caller(p_attempt_id uuid, p_answers jsonb)
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_attempt lms.assessment_attempts;
  v_end timestamptz;
begin
  perform from lms.enrollments e
  where e.id = (select t.enrollment_id from lms.assessment_attempts t where t.id = p_attempt_id)
  for no key update;
  select * into v_attempt from lms.assessment_attempts t where t.id = p_attempt_id for no key update;
  perform private.require_attempt_of_caller(v_attempt);
  if v_attempt.status <> 'in_progress' then
    return;
  end if;
  v_end := private.attempt_end(v_attempt);
  if now() >= v_end then
    perform private.close_attempt(v_attempt, 'deadline', v_end);
    return;
  end if;
  if p_answers is not null then
    perform private.store_answers(v_attempt, p_answers);
  end if;
  perform private.close_attempt(v_attempt, 'learner', now());
end
$$;

create function lms.submit_attempt(p_attempt_id uuid, p_answers jsonb default null)
returns lms.attempt_receipt
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_receipt lms.attempt_receipt;
begin
  if not exists (select from lms.assessment_attempts t where t.id = p_attempt_id) then
    perform private.fail('attempt_not_found', 'There is no such attempt.', 404);
  end if;
  perform private.submit_attempt_of_caller(p_attempt_id, p_answers);
  -- Read as the caller, own rows only: a score that is held back is no row of theirs, also where they are staff.
  select
    t.id, t.assessment_id, t.number, t.status, t.submitted_at, t.closed_by, s.points, s.max_points, s.percentage, s.passed,
    s.released_at
  into v_receipt
  from lms.assessment_attempts t
  left join lms.attempt_scores s on s.attempt_id = t.id and s.released_at is not null
  where t.id = p_attempt_id;
  return v_receipt;
end
$$;

comment on function lms.submit_attempt is
  'Hands an attempt in, with answers to be saved first if given, and returns what it is worth as far as that is known. '
  'Repeating it returns the same. After the deadline what was saved by then is handed in, and answers that come with the '
  'call no longer count (closed_by: deadline). 404 attempt_not_found; 409 enrollment_paused, not_enrolled; 422 '
  'invalid_answers; 403 membership_suspended, 42501 for anybody but the learner.';

-- =====================================================================================================
-- Looking back
-- =====================================================================================================

create type lms.answer_review as (
  question_id uuid,
  question_key text,
  "position" integer,
  section_title text,
  type text,
  prompt text,
  content jsonb,
  max_points numeric,
  response jsonb,
  points numeric,
  is_correct boolean,
  source text,
  explanation jsonb,
  feedback text,
  key jsonb,
  key_explanation text
);
create type lms.attempt_review as (
  attempt_id uuid,
  assessment_id uuid,
  user_id uuid,
  number integer,
  status text,
  submitted_at timestamptz,
  answers_shown text,
  is_shown boolean,
  points numeric,
  max_points numeric,
  percentage numeric,
  passed boolean,
  released_at timestamptz,
  answers lms.answer_review[]
);
comment on type lms.attempt_review is
  'An attempt looked back on. is_shown: whether the caller may see what was right; if not, points, is_correct, source, '
  'explanation, feedback, key and key_explanation of the answers are null.';

-- Definer, because it is the one route of learners to keys (INV-A1); so it decides by the caller: of their own attempt by the
-- rule of the assessment, of others for staff and graders.
create function private.takes_course(p_course_id uuid)
returns boolean
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  return exists (
    select from lms.enrollments e
    where e.user_id = (select auth.uid()) and e.course_id = p_course_id and e.status in ('enrolled', 'in_progress', 'paused')
  );
end
$$;

create function private.review_attempt(p_attempt_id uuid)
returns lms.attempt_review
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_attempt lms.assessment_attempts;
  v_writes boolean;
  v_grades boolean;
  v_keys boolean;
  v_own boolean;
  v_review lms.attempt_review;
begin
  select * into v_attempt from lms.assessment_attempts t where t.id = p_attempt_id;
  v_own := coalesce(
    v_attempt.user_id = (select auth.uid()) and v_attempt.tenant_id <> all (array(select private.closed_tenants())), false
  );
  v_writes := not private.is_api_call() or coalesce(
    v_attempt.course_id = any (array(select private.staffed_courses()))
      or v_attempt.tenant_id = any (array(select private.tenants_where('catalog.write'))),
    false
  );
  -- INV-A1: a right to grade opens nobody's own attempts, and whoever takes the course sees keys by its rules only.
  v_grades := v_writes or coalesce(
    v_attempt.user_id <> (select auth.uid()) and (
      v_attempt.tenant_id = any (array(select private.tenants_where('assessments.grade')))
      or exists (
        select from private.enrollment_scopes e
        where e.id = v_attempt.enrollment_id and e.unit_id = any (array(select private.units_where('assessments.grade')))
      )
    ),
    false
  );
  v_keys := v_writes or (v_grades and not private.takes_course(v_attempt.course_id));
  if v_attempt.id is null or not (v_own or v_grades) then
    perform private.fail('attempt_not_found', 'There is no such attempt.', 404);
  end if;

  v_review.attempt_id := v_attempt.id;
  v_review.assessment_id := v_attempt.assessment_id;
  v_review.user_id := v_attempt.user_id;
  v_review.number := v_attempt.number;
  v_review.status := v_attempt.status;
  v_review.submitted_at := v_attempt.submitted_at;
  select a.answers_shown into v_review.answers_shown from lms.assessments a where a.id = v_attempt.assessment_id;
  v_review.is_shown := v_grades or p_attempt_id in (select s from private.my_shown_attempts() s);
  v_keys := v_keys or (v_own and v_review.is_shown);
  select s.points, s.max_points, s.percentage, s.passed, s.released_at
  into v_review.points, v_review.max_points, v_review.percentage, v_review.passed, v_review.released_at
  from lms.attempt_scores s
  where s.attempt_id = p_attempt_id and (v_grades or s.released_at is not null);

  select coalesce(array_agg(
    (
      q.question_id, r.question_key, q.position, q.section_title, r.type, r.prompt,
      private.ordered_content(r.type, r.content, q.option_order), q.points, n.response,
      case when v_review.is_shown then s.points end, case when v_review.is_shown then s.is_correct end,
      case when v_review.is_shown then s.source end, case when v_review.is_shown then s.explanation end,
      case when v_review.is_shown then s.feedback end, case when v_keys then k.key end, case when v_keys then k.explanation end
    )::lms.answer_review
    order by q.position
  ), '{}')
  into v_review.answers
  from lms.attempt_questions q
  join lms.question_revisions r on r.id = q.revision_id
  left join lms.attempt_answers n on n.attempt_id = q.attempt_id and n.question_id = q.question_id
  left join lms.answer_scores s on s.attempt_id = q.attempt_id and s.question_id = q.question_id
  left join private.attempt_keys a on a.attempt_id = q.attempt_id and a.question_id = q.question_id
  left join private.key_revisions k on k.id = a.key_revision_id
  where q.attempt_id = p_attempt_id
    -- What was asked is content: for learners as long as they are enrolled.
    and (v_grades or q.course_id = any (array(select private.enrolled_courses())));
  return v_review;
end
$$;

create function lms.get_attempt_review(p_attempt_id uuid)
returns lms.attempt_review
language plpgsql
stable
set search_path = ''
as $$
begin
  return private.review_attempt(p_attempt_id);
end
$$;

comment on function lms.get_attempt_review is
  'An attempt looked back on: questions, answers, points, and what was right, by the key it was graded against. For its '
  'learner as far as the assessment''s answers_shown allows (is_shown), for staff of the course and graders all of it. 404 '
  'attempt_not_found.';

-- =====================================================================================================
-- Closing what ran out
-- =====================================================================================================

-- A little after the deadline: a request that arrived in time may still wait for its turn. By deadline the oldest first;
-- locked in the order of enrolments, as whoever locks several does.
create function ops.close_expired_attempts(p_batch integer default 1000)
returns integer
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_due record;
  v_attempt lms.assessment_attempts;
  v_closed integer := 0;
  v_failure text;
begin
  for v_due in
    select d.id, d.enrollment_id
    from (
      (
        select t.id, t.enrollment_id, t.deadline_at as ends_at
        from lms.assessment_attempts t
        where t.status = 'in_progress' and t.deadline_at < now() - interval '5 seconds'
        order by t.deadline_at
        limit p_batch
      )
      union
      (
        select t.id, t.enrollment_id, e.expires_at
        from lms.assessment_attempts t
        join lms.enrollments e on e.id = t.enrollment_id
        where t.status = 'in_progress' and e.expires_at < now() - interval '5 seconds'
          and (t.deadline_at is null or t.deadline_at > e.expires_at)
        order by e.expires_at
        limit p_batch
      )
      union
      -- Nobody can go on with an attempt of a cycle that was left.
      (
        select t.id, t.enrollment_id, coalesce(e.dropped_at, e.expired_at)
        from lms.assessment_attempts t
        join lms.enrollments e on e.id = t.enrollment_id
        where t.status = 'in_progress' and e.status in ('dropped', 'expired')
        order by 3
        limit p_batch
      )
    ) d
    order by d.enrollment_id, d.id
    limit p_batch
  loop
    perform from lms.enrollments e where e.id = v_due.enrollment_id for no key update skip locked;
    continue when not found;
    select * into v_attempt from lms.assessment_attempts t where t.id = v_due.id for no key update skip locked;
    -- It may have been handed in, or been given more time, since.
    continue when not found or v_attempt.status <> 'in_progress' or private.attempt_end(v_attempt) > now();
    -- One that cannot be closed holds up no other; the job fails when the rest is done, once it closed none.
    begin
      perform private.close_attempt(v_attempt, 'deadline', coalesce(private.attempt_end(v_attempt), now()));
      v_closed := v_closed + 1;
    exception
      when others then
        v_failure := format('Attempt %s cannot be closed: %s %s', v_due.id, sqlstate, sqlerrm);
        raise warning '%', v_failure;
    end;
  end loop;
  if v_failure is not null and v_closed = 0 then
    raise exception '%', v_failure;
  end if;
  return v_closed;
end
$$;

comment on function ops.close_expired_attempts is
  'Hands in attempts whose time has run out, with what was saved by then, at most p_batch per run; returns how many.';

grant execute on function
  private.begin_attempt, private.takes_assessment, private.save_answers_of_caller, private.submit_attempt_of_caller,
  private.ordered_content, private.review_attempt
to authenticated, service_role;
grant execute on function ops.close_expired_attempts to service_role;
grant execute on function lms.start_attempt, lms.get_attempt, lms.save_answers, lms.submit_attempt, lms.get_attempt_review
  to authenticated, service_role;

notify pgrst, 'reload schema';
