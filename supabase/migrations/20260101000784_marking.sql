-- Marking: what waits for a person, who is to grade it, what they give, and what becomes of scores when a key was wrong.
-- Undo: drop functions lms.get_grading_queue, get_grading_task, allocate_grading, grade_answer, override_grade, release_grades,
-- correct_answer_key, preview_regrade, regrade; then the types and functions below.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Who may grade
-- =====================================================================================================

-- Attempts that the caller may grade: as staff of the course, or with assessments.grade in scope. Nobody's own.
create function private.is_gradable(p_course_id uuid, p_tenant_id uuid, p_enrollment_id uuid, p_user_id uuid)
returns boolean
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  return not private.is_api_call() or (
    p_user_id is distinct from (select auth.uid()) and (
      p_course_id = any (array(select private.staffed_courses()))
      or p_tenant_id = any (array(select private.tenants_where('assessments.grade')))
      or exists (
        select
        from lms.enrollments e
        where e.id = p_enrollment_id and e.unit_id = any (array(select private.units_where('assessments.grade')))
      )
    )
  );
end
$$;

create function private.require_grader(p_attempt lms.assessment_attempts)
returns void
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  if p_attempt.id is null then
    perform private.fail('attempt_not_found', 'There is no such attempt.', 404);
  elsif not private.is_api_call() then
    return;
  elsif private.is_gradable(p_attempt.course_id, p_attempt.tenant_id, p_attempt.enrollment_id, p_attempt.user_id) then
    return;
  elsif p_attempt.user_id = (select auth.uid()) then
    perform private.fail('own_attempt', 'Nobody grades themselves.', 403);
  end if;
  raise insufficient_privilege using
    message = 'Grading takes being staff of the course, or assessments.grade in the learner''s unit.';
end
$$;

-- The enrolment first, as everywhere: what a score completes is written there. Then the attempt, so that of two who grade at
-- once the second one sees what the first one gave.
create function private.lock_attempt_to_grade(p_attempt_id uuid)
returns lms.assessment_attempts
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_attempt lms.assessment_attempts;
begin
  select * into v_attempt from lms.assessment_attempts t where t.id = p_attempt_id;
  perform private.require_grader(v_attempt);
  perform from lms.enrollments e where e.id = v_attempt.enrollment_id for no key update;
  select * into v_attempt from lms.assessment_attempts t where t.id = p_attempt_id for no key update;
  if v_attempt.status = 'in_progress' then
    perform private.fail('attempt_not_submitted', 'The attempt is still under way.', 409);
  end if;
  return v_attempt;
end
$$;

-- Read as the caller: an attempt that they cannot see does not exist for them.
create function private.require_attempt(p_attempt_id uuid)
returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  if not exists (select from lms.assessment_attempts t where t.id = p_attempt_id) then
    perform private.fail('attempt_not_found', 'There is no such attempt.', 404);
  end if;
end
$$;

-- Graders need not see the draft.
create function private.require_published_assessment(p_assessment_id uuid)
returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  if not exists (select from lms.version_assessments a where a.assessment_id = p_assessment_id) then
    perform private.fail('assessment_not_found', 'There is no such assessment.', 404);
  end if;
end
$$;

-- =====================================================================================================
-- From answers to a score
-- =====================================================================================================

-- Adds up what the answers got. Without effect while one of them waits, unless somebody has said by hand what the attempt is
-- worth: that stands, whatever its answers get later. The caller holds enrolment and attempt.
create function private.score_attempt(p_attempt_id uuid, p_source text)
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_attempt lms.assessment_attempts;
  v_rules record;
  v_old lms.attempt_scores;
  v_waiting integer;
  v_points numeric;
  v_max_points numeric;
  v_percentage numeric;
begin
  select * into v_attempt from lms.assessment_attempts t where t.id = p_attempt_id;
  select v.passing_percentage, a.holds_grades into v_rules
  from lms.version_assessments v
  join lms.assessments a on a.id = v.assessment_id
  where v.version_id = v_attempt.version_id and v.assessment_id = v_attempt.assessment_id;
  select * into v_old from lms.attempt_scores s where s.attempt_id = p_attempt_id;
  select
    count(*) filter (where s.points is null), greatest(coalesce(sum(s.points), 0), 0), sum(q.points)
  into v_waiting, v_points, v_max_points
  from lms.attempt_questions q
  left join lms.answer_scores s on s.attempt_id = q.attempt_id and s.question_id = q.question_id
  where q.attempt_id = p_attempt_id;
  if v_waiting > 0 and v_old.source is distinct from 'override' then
    return;
  end if;

  v_percentage := case
    when v_old.source = 'override' then v_old.percentage
    when v_max_points > 0 then trunc(100 * v_points / v_max_points, 2)
    else 100
  end;
  insert into lms.attempt_scores as s (
    attempt_id, tenant_id, course_id, user_id, enrollment_id, assessment_id, points, max_points, percentage, passed,
    released_at, source
  )
  values (
    p_attempt_id, v_attempt.tenant_id, v_attempt.course_id, v_attempt.user_id, v_attempt.enrollment_id,
    v_attempt.assessment_id, v_points, coalesce(v_max_points, 0), v_percentage,
    v_percentage >= coalesce(v_rules.passing_percentage, 0), case when not v_rules.holds_grades then now() end, p_source
  )
  on conflict (attempt_id) do update
  set points = excluded.points,
      max_points = excluded.max_points,
      percentage = excluded.percentage,
      passed = excluded.passed,
      source = case when s.source = 'override' then s.source else excluded.source end,
      graded_at = now();
  update lms.assessment_attempts t set status = 'graded' where t.id = p_attempt_id and t.status = 'submitted';
  perform private.settle_assessment(v_attempt.enrollment_id, v_attempt.assessment_id);
end
$$;

comment on function private.score_attempt is
  'Adds up the points of an attempt that is handed in, once none of its answers waits; an override stands.';

-- =====================================================================================================
-- What waits
-- =====================================================================================================

create type lms.queued_answer as (
  attempt_id uuid, question_id uuid, course_id uuid, assessment_id uuid, assessment_title text, user_id uuid,
  display_name text, number integer, type text, prompt text, points numeric, submitted_at timestamptz, grader_id uuid
);
comment on type lms.queued_answer is 'An answer that waits for a grader. points: what it can get; grader_id: who is to grade it.';

create function lms.get_grading_queue(
  p_course_id uuid default null,
  p_assessment_id uuid default null,
  p_is_mine boolean default false,
  p_limit integer default 50,
  p_after_attempt_id uuid default null,
  p_after_question_id uuid default null
)
returns setof lms.queued_answer
language plpgsql
stable
rows 50
set search_path = ''
as $$
declare
  v_after timestamptz;
  v_position integer := -1;
begin
  if p_limit is null or p_limit not between 1 and 1000 then
    perform private.fail('invalid_limit', 'A page has 1 to 1000 rows.', 422, jsonb_build_object('field', 'p_limit'));
  end if;
  if p_after_attempt_id is not null then
    select t.submitted_at into v_after from lms.assessment_attempts t where t.id = p_after_attempt_id;
    if v_after is null then
      perform private.fail('attempt_not_found', 'There is no such attempt.', 404);
    end if;
    select q.position into v_position
    from lms.attempt_questions q
    where q.attempt_id = p_after_attempt_id and q.question_id = p_after_question_id;
    -- All of that attempt was seen where no question of it is named.
    v_position := coalesce(v_position, 1000000);
  end if;
  -- Read as the caller; what they see as a learner is left out, and so is their own.
  return query
  select
    t.id, q.question_id, t.course_id, t.assessment_id, v.title, t.user_id, n.display_name, t.number, r.type, r.prompt,
    q.points::numeric, t.submitted_at, g.grader_id
  from lms.assessment_attempts t
  join lms.answer_scores s on s.attempt_id = t.id and s.points is null
  join lms.attempt_questions q on q.attempt_id = s.attempt_id and q.question_id = s.question_id
  join lms.question_revisions r on r.id = q.revision_id
  join lms.version_assessments v on v.version_id = t.version_id and v.assessment_id = t.assessment_id
  left join lms.grading_assignments g on g.attempt_id = s.attempt_id and g.question_id = s.question_id
  left join lms.people n on n.id = t.user_id
  where t.status = 'submitted' and t.user_id is distinct from (select auth.uid())
    and (p_course_id is null or t.course_id = p_course_id)
    and (p_assessment_id is null or t.assessment_id = p_assessment_id)
    and (p_is_mine is not true or g.grader_id = (select auth.uid()))
    and (
      t.course_id = any (array(select private.staffed_courses()))
      or t.tenant_id = any (array(select private.tenants_where('assessments.grade')))
      or exists (
        select from private.enrollment_scopes e
        where e.id = t.enrollment_id and e.unit_id = any (array(select private.units_where('assessments.grade')))
      )
    )
    and (v_after is null or (t.submitted_at, t.id, q.position) > (v_after, p_after_attempt_id, v_position))
  order by t.submitted_at, t.id, q.position
  limit p_limit;
end
$$;

comment on function lms.get_grading_queue is
  'Answers that wait for a grader, those that the caller may grade, the longest waiting first; of one course or assessment, '
  'or (p_is_mine) allocated to the caller. The next page begins after p_after_attempt_id and p_after_question_id. 422 '
  'invalid_limit.';

create type lms.grading_task as (
  attempt_id uuid, question_id uuid, type text, prompt text, content jsonb, points numeric, response jsonb, key jsonb,
  key_explanation text, key_number integer, key_reason text, given numeric, source text, explanation jsonb, feedback text,
  graded_by uuid, graded_at timestamptz
);
comment on type lms.grading_task is
  'An answer as its grader sees it: the question as it was asked, the key that it is graded by (its rubric above all), and what '
  'it got: given by whom or what (source, graded_by), when, and how that came about.';

-- INV-A1: a grader may be a learner of the same course. Those who write its keys may read them; other graders do not while
-- they take the course themselves.
create function private.read_grading_task(p_attempt_id uuid, p_question_id uuid)
returns lms.grading_task
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_attempt lms.assessment_attempts;
  v_task lms.grading_task;
begin
  select * into v_attempt from lms.assessment_attempts t where t.id = p_attempt_id;
  perform private.require_grader(v_attempt);
  if v_attempt.status = 'in_progress' then
    perform private.fail('attempt_not_submitted', 'The attempt is still under way.', 409);
  end if;
  select
    q.attempt_id, q.question_id, r.type, r.prompt, r.content, q.points, n.response, k.key, k.explanation, k.number, k.reason,
    s.points, s.source, s.explanation, s.feedback, s.graded_by, s.graded_at
  into v_task
  from lms.attempt_questions q
  join lms.question_revisions r on r.id = q.revision_id
  left join lms.attempt_answers n on n.attempt_id = q.attempt_id and n.question_id = q.question_id
  left join lms.answer_scores s on s.attempt_id = q.attempt_id and s.question_id = q.question_id
  left join private.attempt_keys p on p.attempt_id = q.attempt_id and p.question_id = q.question_id
  left join private.key_revisions k on k.id = p.key_revision_id
  where q.attempt_id = p_attempt_id and q.question_id = p_question_id;
  if not found then
    perform private.fail('question_not_found', 'The attempt asks no such question.', 404);
  end if;
  if private.is_api_call()
    and v_attempt.course_id <> all (array(select private.staffed_courses()))
    and v_attempt.tenant_id <> all (array(select private.tenants_where('catalog.write')))
    and private.takes_course(v_attempt.course_id)
  then
    v_task.key := null;
    v_task.key_explanation := null;
    v_task.key_reason := null;
  end if;
  return v_task;
end
$$;

create function lms.get_grading_task(p_attempt_id uuid, p_question_id uuid)
returns lms.grading_task
language plpgsql
stable
set search_path = ''
as $$
begin
  perform private.require_attempt(p_attempt_id);
  return private.read_grading_task(p_attempt_id, p_question_id);
end
$$;

comment on function lms.get_grading_task is
  'INV-A4: one answer with its question, its key or rubric, and what it got, by whom or what, when and why. For those who may '
  'grade it; key null: there is none, or the grader takes the course and may not read it. 404 attempt_not_found, '
  'question_not_found; 403 own_attempt, 42501; 409 attempt_not_submitted.';

-- =====================================================================================================
-- Who is to grade what
-- =====================================================================================================

-- Whether somebody else could grade in a course, for all of whose learners: the caller's helpers know the caller only.
create function private.grades_course(p_user_id uuid, p_course_id uuid)
returns boolean
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  return exists (
    select
    from lms.courses c
    join lms.memberships m on m.tenant_id = c.tenant_id and m.user_id = p_user_id and m.status = 'active'
    join lms.role_grants g on g.tenant_id = m.tenant_id and g.membership_id = m.id
    join lms.role_permissions p on p.role_id = g.role_id
    where c.id = p_course_id and (
      (p.permission = 'assessments.grade' and g.unit_id is null)
      or (p.permission in ('catalog.author', 'catalog.write') and exists (
        select from lms.course_staff s where s.course_id = p_course_id and s.user_id = p_user_id
      ))
    )
  );
end
$$;

create function private.allocate_grading_of(p_assessment_id uuid, p_grader_ids uuid[], p_reallocate boolean)
returns integer
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_assessment lms.assessments;
  v_attempt record;
  v_chosen bigint;
  v_loads bigint[];
  v_unfit uuid[];
  v_allocated integer := 0;
begin
  -- Two who allocate at once would each give out the same answers.
  select * into v_assessment from lms.assessments a where a.id = p_assessment_id for no key update;
  if private.is_api_call() and not coalesce(
    v_assessment.course_id = any (array(select private.staffed_courses()))
      or v_assessment.tenant_id = any (array(select private.tenants_where('assessments.grade'))),
    false
  ) then
    raise insufficient_privilege using message = 'Allocating takes being staff of the course, or assessments.grade.';
  end if;
  select array_agg(g.id) into v_unfit
  from unnest(p_grader_ids) as g (id)
  where not private.grades_course(g.id, v_assessment.course_id);
  if v_unfit is not null then
    perform private.fail(
      'not_a_grader', 'Not all of them may grade in this course.', 422,
      jsonb_build_object('field', 'p_grader_ids', 'user_ids', to_jsonb(v_unfit))
    );
  end if;

  v_loads := array(
    select (
      select count(*)
      from lms.grading_assignments a
      join lms.answer_scores s on s.attempt_id = a.attempt_id and s.question_id = a.question_id and s.points is null
      where a.grader_id = g.id and a.course_id = v_assessment.course_id
    )
    from unnest(p_grader_ids) with ordinality as g (id, place)
    order by g.place
  );
  for v_attempt in
    select w.attempt_id, w.user_id, array_agg(w.question_id order by w.question_id) as question_ids
    from (
      select s.attempt_id, s.question_id, t.user_id, t.submitted_at
      from lms.assessment_attempts t
      join lms.answer_scores s on s.attempt_id = t.id and s.points is null
      left join lms.grading_assignments g on g.attempt_id = s.attempt_id and g.question_id = s.question_id
      where t.course_id = v_assessment.course_id and t.assessment_id = p_assessment_id and t.status = 'submitted'
        and (p_reallocate or g.attempt_id is null)
      order by t.submitted_at, t.id, s.question_id
      limit 5000
    ) w
    group by w.submitted_at, w.attempt_id, w.user_id
    order by w.submitted_at, w.attempt_id
  loop
    -- All of an attempt with one grader; else whoever has the fewest. Nobody grades themselves.
    v_chosen := null;
    select g.place into v_chosen
    from unnest(p_grader_ids, v_loads) with ordinality as g (id, load, place)
    where g.id <> v_attempt.user_id
    order by
      exists (
        select from lms.grading_assignments a where a.attempt_id = v_attempt.attempt_id and a.grader_id = g.id
      ) desc,
      g.load, g.id
    limit 1;
    continue when v_chosen is null;
    insert into lms.grading_assignments as a (attempt_id, question_id, tenant_id, course_id, grader_id, assigned_by)
    select
      v_attempt.attempt_id, q.id, v_assessment.tenant_id, v_assessment.course_id, p_grader_ids[v_chosen], (select auth.uid())
    from unnest(v_attempt.question_ids) as q (id)
    on conflict (attempt_id, question_id) do update
    set grader_id = excluded.grader_id, assigned_by = excluded.assigned_by, assigned_at = now();
    v_loads[v_chosen] := v_loads[v_chosen] + cardinality(v_attempt.question_ids);
    v_allocated := v_allocated + cardinality(v_attempt.question_ids);
  end loop;
  return v_allocated;
end
$$;

create function lms.allocate_grading(p_assessment_id uuid, p_grader_ids uuid[], p_reallocate boolean default false)
returns integer
language plpgsql
volatile
set search_path = ''
as $$
begin
  perform private.require_published_assessment(p_assessment_id);
  if cardinality(array_remove(p_grader_ids, null)) is distinct from cardinality(p_grader_ids)
    or coalesce(cardinality(p_grader_ids), 0) not between 1 and 100
  then
    perform private.fail('invalid_graders', 'Name 1 to 100 graders.', 422, jsonb_build_object('field', 'p_grader_ids'));
  end if;
  return private.allocate_grading_of(p_assessment_id, p_grader_ids, coalesce(p_reallocate, false));
end
$$;

comment on function lms.allocate_grading is
  'Shares the answers that wait in an assessment among graders, evenly, an attempt with one of them, nobody''s own; those that '
  'are allocated already stay where they are unless p_reallocate. Returns how many were allocated, 5000 at most per call. '
  'For staff of the course and assessments.grade. 404 assessment_not_found; 422 invalid_graders, not_a_grader {user_ids}.';

-- =====================================================================================================
-- Grading an answer
-- =====================================================================================================

-- Points by a rubric are in proportion: what the question is worth times what its criteria got of what they can give.
create function private.grade_answer_of(
  p_attempt_id uuid, p_question_id uuid, p_points numeric, p_feedback text, p_rubric jsonb
)
returns lms.answer_scores
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_attempt lms.assessment_attempts;
  v_question record;
  v_before lms.answer_scores;
  v_score lms.answer_scores;
  v_points numeric := p_points;
  v_given numeric;
  v_possible numeric;
  v_faults text[];
  v_explanation jsonb := '{"reason": "graded"}'::jsonb;
begin
  v_attempt := private.lock_attempt_to_grade(p_attempt_id);
  select q.points, r.scoring, private.json_list(k.key -> 'rubric') as rubric into v_question
  from lms.attempt_questions q
  join lms.question_revisions r on r.id = q.revision_id
  left join private.attempt_keys p on p.attempt_id = q.attempt_id and p.question_id = q.question_id
  left join private.key_revisions k on k.id = p.key_revision_id
  where q.attempt_id = p_attempt_id and q.question_id = p_question_id;
  if not found then
    perform private.fail('question_not_found', 'The attempt asks no such question.', 404);
  elsif length(p_feedback) > 20000 then
    perform private.fail('invalid_feedback', 'Feedback has at most 20000 characters.', 422, jsonb_build_object('field', 'p_feedback'));
  end if;

  if p_rubric is not null then
    -- Every criterion, nothing else, each from 0 to what it can give.
    select
      array_agg(r.entry ->> 'id') filter (where not coalesce(
        scale(private.json_decimal(p_rubric -> (r.entry ->> 'id'))) <= 2
          and private.json_decimal(p_rubric -> (r.entry ->> 'id')) between 0 and private.json_decimal(r.entry -> 'points'),
        false
      )),
      sum(private.json_decimal(p_rubric -> (r.entry ->> 'id'))), sum(private.json_decimal(r.entry -> 'points'))
    into v_faults, v_given, v_possible
    from jsonb_array_elements(v_question.rubric) as r (entry);
    if p_points is not null or v_faults is not null or v_possible is null or jsonb_typeof(p_rubric) <> 'object'
      or private.has_other_fields(p_rubric, private.ids_of(v_question.rubric))
    then
      perform private.fail(
        'invalid_rubric', 'The rubric wants points for each of its criteria, and no others beside them.', 422,
        jsonb_build_object('field', 'p_rubric', 'rubric', v_question.rubric, 'criteria', to_jsonb(v_faults))
      );
    end if;
    v_points := private.round_half_up(v_question.points * v_given, v_possible);
    v_explanation := v_explanation || jsonb_build_object('rubric', p_rubric, 'earned', v_given, 'of', v_possible);
  elsif not coalesce(
    p_points between case v_question.scoring when 'partial_negative' then -v_question.points else 0 end and v_question.points
      and scale(trim_scale(p_points)) <= 2,
    false
  ) then
    perform private.fail(
      'invalid_points', 'Points are from 0 to what the question is worth, with two digits at most.', 422,
      jsonb_build_object('field', 'p_points', 'points', v_question.points)
    );
  end if;

  select * into v_before from lms.answer_scores s where s.attempt_id = p_attempt_id and s.question_id = p_question_id;
  if v_before.source = 'grader' and v_before.graded_by is not distinct from (select auth.uid())
    and (v_before.points, v_before.feedback, v_before.explanation -> 'rubric')
      is not distinct from (v_points, p_feedback, p_rubric)
  then
    return v_before;
  end if;
  -- INV-A4: what it was before is told with what it is; all of it is in the audit trail.
  if v_before.points is not null then
    v_explanation := v_explanation || jsonb_build_object('before', jsonb_build_object(
      'points', v_before.points, 'source', v_before.source, 'graded_by', v_before.graded_by, 'graded_at', v_before.graded_at
    ));
  end if;
  insert into lms.answer_scores as s (
    attempt_id, question_id, tenant_id, course_id, user_id, points, is_correct, source, explanation, feedback, graded_by, graded_at
  )
  values (
    p_attempt_id, p_question_id, v_attempt.tenant_id, v_attempt.course_id, v_attempt.user_id, v_points,
    v_points = v_question.points, 'grader', v_explanation, p_feedback, (select auth.uid()), now()
  )
  on conflict (attempt_id, question_id) do update
  set points = excluded.points,
      is_correct = excluded.is_correct,
      source = excluded.source,
      explanation = excluded.explanation,
      feedback = excluded.feedback,
      graded_by = excluded.graded_by,
      graded_at = excluded.graded_at
  returning * into v_score;
  perform private.score_attempt(p_attempt_id, 'grader');
  return v_score;
end
$$;

create function lms.grade_answer(
  p_attempt_id uuid, p_question_id uuid, p_points numeric default null, p_feedback text default null, p_rubric jsonb default null
)
returns lms.answer_scores
language plpgsql
volatile
set search_path = ''
as $$
begin
  perform private.require_attempt(p_attempt_id);
  return private.grade_answer_of(p_attempt_id, p_question_id, p_points, p_feedback, p_rubric);
end
$$;

comment on function lms.grade_answer is
  'Gives an answer its points, or p_rubric {criterion id: points}, of which they follow in proportion; also where the key had '
  'graded it, and again. With the last answer that waits, the attempt gets its score. For staff of the course and '
  'assessments.grade in scope, never for one''s own. 404 attempt_not_found, question_not_found; 403 own_attempt, 42501; 409 '
  'attempt_not_submitted; 422 invalid_points {points}, invalid_rubric {rubric, criteria}, invalid_feedback.';

-- =====================================================================================================
-- Overriding a grade
-- =====================================================================================================

create function private.override_grade_of(p_attempt_id uuid, p_percentage numeric, p_reason text)
returns lms.attempt_scores
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_attempt lms.assessment_attempts;
  v_before lms.attempt_scores;
  v_score lms.attempt_scores;
begin
  v_attempt := private.lock_attempt_to_grade(p_attempt_id);
  select * into v_before from lms.attempt_scores s where s.attempt_id = p_attempt_id;
  if v_before.source = 'override' and v_before.percentage = p_percentage and p_reason = (
    select o.reason from lms.grade_overrides o where o.attempt_id = p_attempt_id order by o.id desc limit 1
  ) then
    return v_before;
  end if;
  insert into lms.grade_overrides (tenant_id, course_id, user_id, attempt_id, old_percentage, new_percentage, reason, overridden_by)
  values (
    v_attempt.tenant_id, v_attempt.course_id, v_attempt.user_id, p_attempt_id, v_before.percentage, p_percentage, p_reason,
    (select auth.uid())
  );
  insert into lms.attempt_scores as s (
    attempt_id, tenant_id, course_id, user_id, enrollment_id, assessment_id, points, max_points, percentage, passed,
    released_at, source
  )
  select
    v_attempt.id, v_attempt.tenant_id, v_attempt.course_id, v_attempt.user_id, v_attempt.enrollment_id, v_attempt.assessment_id,
    0, 0, p_percentage, false, case when not a.holds_grades then now() end, 'override'
  from lms.assessments a
  where a.id = v_attempt.assessment_id
  on conflict (attempt_id) do update
  set percentage = excluded.percentage, source = 'override', graded_at = now();
  -- Points, passing and all that follows, from the percentage that now stands.
  perform private.score_attempt(p_attempt_id, 'override');
  select * into v_score from lms.attempt_scores s where s.attempt_id = p_attempt_id;
  return v_score;
end
$$;

create function lms.override_grade(p_attempt_id uuid, p_percentage numeric, p_reason text)
returns lms.attempt_scores
language plpgsql
volatile
set search_path = ''
as $$
begin
  perform private.require_attempt(p_attempt_id);
  if not coalesce(p_percentage between 0 and 100 and scale(trim_scale(p_percentage)) <= 2, false) then
    perform private.fail(
      'invalid_percentage', 'The percentage is a number from 0 to 100, with two digits at most.', 422,
      jsonb_build_object('field', 'p_percentage')
    );
  elsif coalesce(p_reason, '') !~ '\S' or length(p_reason) > 1000 then
    perform private.fail('invalid_reason', 'An override takes a reason of up to 1000 characters.', 422, jsonb_build_object('field', 'p_reason'));
  end if;
  return private.override_grade_of(p_attempt_id, trim_scale(p_percentage), p_reason);
end
$$;

comment on function lms.override_grade is
  'Says by hand what an attempt is worth, up or down, with a reason that is kept in grade_overrides. It stands whatever its '
  'answers get later, until it is overridden again, and takes a pass away or gives one. For staff of the course and '
  'assessments.grade in scope, never for one''s own. 404 attempt_not_found; 403 own_attempt, 42501; 409 '
  'attempt_not_submitted; 422 invalid_percentage, invalid_reason.';

-- =====================================================================================================
-- Releasing what was held back
-- =====================================================================================================

create type lms.release_receipt as (released integer, remaining integer);
comment on type lms.release_receipt is 'remaining: scores that may be released by the next call; 0: all of them are.';

create function private.release_grades_of(p_assessment_id uuid, p_attempt_ids uuid[])
returns lms.release_receipt
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_assessment lms.assessments;
  v_held record;
  v_receipt lms.release_receipt := (0, 0);
begin
  select * into v_assessment from lms.assessments a where a.id = p_assessment_id;
  for v_held in
    select s.attempt_id, s.enrollment_id
    from lms.attempt_scores s
    where s.tenant_id = v_assessment.tenant_id and s.course_id = v_assessment.course_id and s.assessment_id = p_assessment_id
      and s.released_at is null and (p_attempt_ids is null or s.attempt_id = any (p_attempt_ids))
      and private.is_gradable(s.course_id, s.tenant_id, s.enrollment_id, s.user_id)
    order by s.enrollment_id, s.attempt_id
  loop
    if v_receipt.released = 1000 then
      v_receipt.remaining := v_receipt.remaining + 1;
      continue;
    end if;
    perform from lms.enrollments e where e.id = v_held.enrollment_id for no key update;
    update lms.attempt_scores s
    set released_at = now()
    where s.attempt_id = v_held.attempt_id and s.released_at is null;
    if found then
      perform private.settle_assessment(v_held.enrollment_id, p_assessment_id);
      v_receipt.released := v_receipt.released + 1;
    end if;
  end loop;
  return v_receipt;
end
$$;

create function lms.release_grades(p_assessment_id uuid, p_attempt_ids uuid[] default null)
returns lms.release_receipt
language plpgsql
volatile
set search_path = ''
as $$
begin
  perform private.require_published_assessment(p_assessment_id);
  if private.is_api_call() and not exists (
    select from lms.version_assessments a
    where a.assessment_id = p_assessment_id and (
      a.course_id = any (array(select private.staffed_courses()))
      or a.tenant_id = any (array(select private.tenants_partly_where('assessments.grade')))
    )
  ) then
    raise insufficient_privilege using message = 'Releasing takes being staff of the course, or assessments.grade.';
  end if;
  return private.release_grades_of(p_assessment_id, p_attempt_ids);
end
$$;

comment on function lms.release_grades is
  'Lets learners see scores that were held back, of all attempts at an assessment or of those named, as far as the caller may '
  'grade them; what they complete is completed with it. At most 1000 at once: repeat while `remaining` is above 0. 404 '
  'assessment_not_found; 403 without the right to grade.';

-- =====================================================================================================
-- A key was wrong
-- =====================================================================================================

create type lms.key_correction as (question_id uuid, revisions integer, attempts integer);
comment on type lms.key_correction is
  'revisions: how many published states of the question got the new key; attempts: how many were asked it by an older one, and '
  'would be graded again by `regrade`.';

-- As for the draft's key, but a question that authors have deleted since has been asked all the same.
create function private.require_key_corrector(p_question_id uuid)
returns lms.questions
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_question lms.questions;
begin
  select q.* into v_question
  from lms.questions q
  where q.id = p_question_id and (
    not private.is_api_call()
    or q.course_id = any (array(select private.staffed_courses()))
    or q.tenant_id = any (array(select private.tenants_where('catalog.write')))
  );
  if not found then
    perform private.fail('question_not_found', 'There is no such question.', 404);
  end if;
  return v_question;
end
$$;

-- Which key holds for a published state of a question.
create function private.current_key(p_revision_id uuid)
returns private.key_revisions
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_key private.key_revisions;
begin
  select * into v_key from private.key_revisions k where k.revision_id = p_revision_id order by k.number desc limit 1;
  return v_key;
end
$$;

-- Attempts that were asked a question by another key than holds now, or by none: a rubric may come later.
create function private.outdated_attempts(p_question_id uuid)
returns table (attempt_id uuid, enrollment_id uuid, key_revision_id uuid)
language plpgsql
stable security definer
rows 100
set search_path = ''
as $$
begin
  return query
  select t.id, t.enrollment_id, latest.id
  from lms.question_revisions r
  cross join lateral private.current_key(r.id) as latest
  join lms.attempt_questions q on q.tenant_id = r.tenant_id and q.course_id = r.course_id and q.revision_id = r.id
  join lms.assessment_attempts t on t.id = q.attempt_id
  left join private.attempt_keys p on p.attempt_id = q.attempt_id and p.question_id = q.question_id
  where r.question_id = p_question_id and latest.id is not null and p.key_revision_id is distinct from latest.id;
end
$$;

create function private.correct_key_of(p_question_id uuid, p_key jsonb, p_explanation text, p_reason text)
returns lms.key_correction
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_question constant lms.questions := private.require_key_corrector(p_question_id);
  v_published record;
  v_revision record;
  v_faults text[];
  v_correction lms.key_correction := (p_question_id, 0, 0);
begin
  -- Waits for attempts that are being started, which took the old key and would be seen by no regrade; those that start from
  -- here on take the new one. (Their foreign key locks this row.)
  perform from lms.assessments a where a.id = v_question.assessment_id for update;
  select r.id, r.type, r.content, k.key, k.explanation into v_published
  from lms.version_questions q
  join lms.course_versions v on v.id = q.version_id
  join lms.question_revisions r on r.id = q.revision_id
  cross join lateral private.current_key(r.id) as k
  where q.question_id = p_question_id and q.tenant_id = v_question.tenant_id and q.course_id = v_question.course_id
  order by v.number desc
  limit 1;
  if not found then
    perform private.fail(
      'question_not_published', 'The question was not published yet.', 409, null, 'Set its key: set_answer_key.'
    );
  end if;
  v_faults := array(select private.key_faults(v_published.type, v_published.content, p_key));
  if v_faults <> '{}' then
    perform private.fail(
      'invalid_key', 'This is not a key to the question as it was published.', 422,
      jsonb_build_object('field', 'p_key', 'type', v_published.type, 'faults', to_jsonb(v_faults))
    );
  end if;

  -- All published states that had the same mistake; one that asked something else, and had another key, keeps it.
  for v_revision in
    select r.id, r.tenant_id, r.course_id, k.number
    from lms.question_revisions r
    cross join lateral private.current_key(r.id) as k
    where r.question_id = p_question_id and r.type = v_published.type
      and k.key is not distinct from v_published.key and k.explanation is not distinct from v_published.explanation
      and (k.key, k.explanation) is distinct from (p_key, p_explanation)
      and not exists (select from private.key_faults(r.type, r.content, p_key))
  loop
    insert into private.key_revisions (tenant_id, course_id, revision_id, number, key, explanation, reason, created_by)
    values (
      v_revision.tenant_id, v_revision.course_id, v_revision.id, coalesce(v_revision.number, 0) + 1, p_key, p_explanation,
      p_reason, (select auth.uid())
    );
    v_correction.revisions := v_correction.revisions + 1;
  end loop;
  -- The draft too, or the next version would bring the mistake back.
  if not exists (select from private.key_faults(v_question.type, v_question.content, p_key)) then
    insert into private.answer_keys as k (question_id, tenant_id, course_id, key, explanation, updated_at, updated_by)
    values (p_question_id, v_question.tenant_id, v_question.course_id, p_key, p_explanation, now(), (select auth.uid()))
    on conflict (question_id) do update
    set key = excluded.key, explanation = excluded.explanation, updated_at = now(), updated_by = excluded.updated_by
    where k.key = v_published.key;
  end if;
  select count(*) into v_correction.attempts from private.outdated_attempts(p_question_id);
  return v_correction;
end
$$;

create function lms.correct_answer_key(p_question_id uuid, p_key jsonb, p_explanation text, p_reason text)
returns lms.key_correction
language plpgsql
volatile
set search_path = ''
as $$
begin
  if p_explanation is null or length(p_explanation) > 20000 then
    perform private.fail(
      'invalid_explanation', 'An explanation has at most 20000 characters.', 422, jsonb_build_object('field', 'p_explanation')
    );
  elsif coalesce(p_reason, '') !~ '\S' or length(p_reason) > 1000 then
    perform private.fail('invalid_reason', 'A correction takes a reason of up to 1000 characters.', 422, jsonb_build_object('field', 'p_reason'));
  end if;
  return private.correct_key_of(p_question_id, p_key, p_explanation, p_reason);
end
$$;

comment on function lms.correct_answer_key is
  'Replaces the key of a published question, in all published states that had the same one, and in the draft; new attempts '
  'are graded by it, earlier ones when regrade is called (preview_regrade says what that would change). The old key stays on '
  'record, with who corrected it and why. For staff of the course and catalog.write. 404 question_not_found; 409 '
  'question_not_published; 422 invalid_key {faults}, invalid_explanation, invalid_reason.';

-- What an answer gets by a key; nulls where regrading leaves it as it is: opinions, and what a person has given.
create function private.grade_again(p_attempt_id uuid, p_question_id uuid, p_key_revision_id uuid)
returns private.grading
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_question record;
begin
  select r.type, r.content, r.scoring, q.points, k.key, n.response into v_question
  from lms.attempt_questions q
  join lms.assessment_attempts t on t.id = q.attempt_id and t.status <> 'in_progress'
  join lms.version_assessments v on v.version_id = t.version_id and v.assessment_id = t.assessment_id and v.kind <> 'survey'
  join lms.question_revisions r on r.id = q.revision_id
  join lms.answer_scores s on s.attempt_id = q.attempt_id and s.question_id = q.question_id and s.source in ('auto', 'regrade')
  join private.key_revisions k on k.id = p_key_revision_id
  left join lms.attempt_answers n on n.attempt_id = q.attempt_id and n.question_id = q.question_id
  where q.attempt_id = p_attempt_id and q.question_id = p_question_id;
  if not found then
    return null;
  end if;
  return private.grade_response(
    v_question.type, v_question.content, v_question.scoring, v_question.points, v_question.key, v_question.response
  );
end
$$;

create type lms.regrade_preview as (
  attempt_id uuid, user_id uuid, status text, old_points numeric, new_points numeric, old_percentage numeric,
  new_percentage numeric, old_passed boolean, new_passed boolean, is_overridden boolean
);
comment on type lms.regrade_preview is
  'old_points, new_points: of the question. new_percentage null: the attempt is under way, or another answer waits. '
  'is_overridden: its percentage was set by hand and stays.';

create function private.preview_regrade_of(p_question_id uuid)
returns setof lms.regrade_preview
language plpgsql
stable security definer
rows 100
set search_path = ''
as $$
begin
  perform private.require_key_corrector(p_question_id);
  return query
  select
    a.id, a.user_id, a.status, a.old_points, a.new_points, a.old_percentage, a.new_percentage, a.old_passed,
    a.new_percentage >= coalesce(a.passing_percentage, 0), coalesce(a.is_overridden, false)
  from (
    select
      t.id, t.user_id, t.status, s.points as old_points, coalesce(g.points, s.points) as new_points,
      c.percentage::numeric as old_percentage, c.passed as old_passed, c.source = 'override' as is_overridden,
      v.passing_percentage,
      case
        when c.source = 'override' then c.percentage::numeric
        when t.status = 'in_progress' or all_of.waiting > 0 then null
        when all_of.max_points > 0 then
          trunc(100 * greatest(all_of.points + coalesce(g.points, s.points), 0) / all_of.max_points, 2)
      end as new_percentage
    from private.outdated_attempts(p_question_id) o
    join lms.assessment_attempts t on t.id = o.attempt_id
    join lms.version_assessments v on v.version_id = t.version_id and v.assessment_id = t.assessment_id
    left join lms.answer_scores s on s.attempt_id = t.id and s.question_id = p_question_id
    left join lms.attempt_scores c on c.attempt_id = t.id
    cross join lateral private.grade_again(t.id, p_question_id, o.key_revision_id) as g
    cross join lateral (
      select
        count(*) filter (where q.question_id <> p_question_id and w.points is null)
          + count(*) filter (where q.question_id = p_question_id and coalesce(g.points, w.points) is null) as waiting,
        coalesce(sum(w.points) filter (where q.question_id <> p_question_id), 0) as points, sum(q.points) as max_points
      from lms.attempt_questions q
      left join lms.answer_scores w on w.attempt_id = q.attempt_id and w.question_id = q.question_id
      where q.attempt_id = t.id
    ) as all_of
  ) a
  order by a.id;
end
$$;

create function lms.preview_regrade(p_question_id uuid)
returns setof lms.regrade_preview
language plpgsql
stable
rows 100
set search_path = ''
as $$
begin
  return query select * from private.preview_regrade_of(p_question_id);
end
$$;

comment on function lms.preview_regrade is
  'What regrade would make of each attempt that was asked a question by a key that has been corrected since, by attempt id. '
  'Writes nothing. For staff of the course and catalog.write. 404 question_not_found.';

create type lms.regrade_receipt as (regraded integer, changed integer, remaining integer);
comment on type lms.regrade_receipt is
  'regraded: attempts that are now judged by the corrected key; changed: those whose points changed; remaining: attempts for '
  'the next call.';

-- Attempts under way move to the new key as well: whether they are handed in before or after, they end with it.
create function private.regrade_of(p_question_id uuid, p_reason text)
returns lms.regrade_receipt
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_outdated record;
  v_key private.key_revisions;
  v_before lms.answer_scores;
  v_grading private.grading;
  v_receipt lms.regrade_receipt := (0, 0, 0);
begin
  perform private.require_key_corrector(p_question_id);
  for v_outdated in
    select o.attempt_id, o.enrollment_id, t.user_id
    from private.outdated_attempts(p_question_id) o
    join lms.assessment_attempts t on t.id = o.attempt_id
    -- In the order of enrolments, as whoever locks several does.
    order by o.enrollment_id, o.attempt_id
  loop
    -- A key's author may have sat the test: their own attempt is left to others.
    continue when private.is_api_call() and v_outdated.user_id = (select auth.uid());
    if v_receipt.regraded = 1000 then
      v_receipt.remaining := v_receipt.remaining + 1;
      continue;
    end if;
    perform from lms.enrollments e where e.id = v_outdated.enrollment_id for no key update;
    perform from lms.assessment_attempts t where t.id = v_outdated.attempt_id for no key update;
    -- By what holds now, under the lock: another regrade may have been faster, or the key corrected again.
    select latest.* into v_key
    from lms.attempt_questions q
    cross join lateral private.current_key(q.revision_id) as latest
    left join private.attempt_keys p on p.attempt_id = q.attempt_id and p.question_id = q.question_id
    where q.attempt_id = v_outdated.attempt_id and q.question_id = p_question_id
      and p.key_revision_id is distinct from latest.id;
    continue when not found;
    insert into private.attempt_keys as p (attempt_id, question_id, tenant_id, key_revision_id)
    values (v_outdated.attempt_id, p_question_id, v_key.tenant_id, v_key.id)
    on conflict (attempt_id, question_id) do update set key_revision_id = excluded.key_revision_id;
    v_receipt.regraded := v_receipt.regraded + 1;

    v_grading := private.grade_again(v_outdated.attempt_id, p_question_id, v_key.id);
    select * into v_before
    from lms.answer_scores s
    where s.attempt_id = v_outdated.attempt_id and s.question_id = p_question_id;
    -- What waits for a person goes on waiting.
    continue when v_grading.points is null;
    update lms.answer_scores s
    set points = v_grading.points,
        is_correct = v_grading.is_correct,
        source = 'regrade',
        explanation = v_grading.explanation || jsonb_build_object(
          'regraded', jsonb_build_object('reason', p_reason, 'key_number', v_key.number),
          'before', jsonb_build_object(
            'points', v_before.points, 'source', v_before.source, 'graded_by', v_before.graded_by, 'graded_at', v_before.graded_at
          )
        ),
        graded_by = (select auth.uid()),
        graded_at = now()
    where s.attempt_id = v_outdated.attempt_id and s.question_id = p_question_id;
    if v_grading.points is distinct from v_before.points then
      v_receipt.changed := v_receipt.changed + 1;
      perform private.score_attempt(v_outdated.attempt_id, 'regrade');
    end if;
  end loop;
  return v_receipt;
end
$$;

create function lms.regrade(p_question_id uuid, p_reason text)
returns lms.regrade_receipt
language plpgsql
volatile
set search_path = ''
as $$
begin
  if coalesce(p_reason, '') !~ '\S' or length(p_reason) > 1000 then
    perform private.fail('invalid_reason', 'Regrading takes a reason of up to 1000 characters.', 422, jsonb_build_object('field', 'p_reason'));
  end if;
  return private.regrade_of(p_question_id, p_reason);
end
$$;

comment on function lms.regrade is
  'Grades a question again, in all attempts that were asked it by a key that has been corrected since, under way or handed in; '
  'scores, passes and grades follow, up or down. What a person has given, and overrides, stay; so does the caller''s own '
  'attempt. At most 1000 attempts at once: repeat while `remaining` is above 0. Repeating it changes nothing more. For staff of '
  'the course and catalog.write. 404 question_not_found; 422 invalid_reason.';

grant execute on function
  private.require_attempt, private.require_published_assessment, private.read_grading_task, private.allocate_grading_of, private.grade_answer_of,
  private.override_grade_of, private.release_grades_of, private.correct_key_of, private.preview_regrade_of, private.regrade_of
to authenticated, service_role;
grant execute on function
  lms.get_grading_queue, lms.get_grading_task, lms.allocate_grading, lms.grade_answer, lms.override_grade, lms.release_grades,
  lms.correct_answer_key, lms.preview_regrade, lms.regrade
to authenticated, service_role;

notify pgrst, 'reload schema';
