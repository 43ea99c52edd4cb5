-- Attempts: who may start one and when, what is saved, what is handed in, and what nobody gets to see before its time.

begin;
\ir ../helpers.sql
\ir ../assessments.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'), tests.member('alan', 'works', 'auditor'), tests.member('ines', 'works', 'instructor'),
  tests.member('ivan', 'works', 'instructor'), tests.member('dora', 'works'), tests.member('sid', 'works'), tests.member('eve', 'works'),
  tests.member('paula', 'press', 'tenant_admin');
select tests.course('safety', 'works', 'ines', 2), tests.course('other', 'works', 'ivan', 1), tests.course('novel', 'press', 'paula', 1);
select tests.assessment('quiz', 'safety', 'safety/1', '{"passing_percentage": 50, "answers_shown": "never"}'), tests.assessment('exam', 'safety'), tests.assessment('pool', 'safety', null, '{"is_mandatory": false, "weight": 0}');
select
  tests.question('q1', 'quiz', 'single', '{"options": [{"id": "a", "text": "One"}, {"id": "b", "text": "Two"}]}', '{"correct": "b"}', 3),
  tests.question('q2', 'quiz', 'true_false', '{}', '{"correct": true}'),
  tests.question('q3', 'exam', 'short_answer', '{}', '{"accepted": [{"text": "canary-of-the-key"}]}'),
  tests.question('q4', 'exam', 'essay', '{}', '{"model_answer": "canary-of-the-model"}', 3);
update private.answer_keys set explanation = 'canary-of-the-explanation';
select tests.section('draw', 'pool', 3);
select tests.question('p' || n, 'pool', 'true_false', '{}', '{"correct": true}', 1, 'all_or_nothing', 'draw') from generate_series(1, 9) n;
select tests.question('p0', 'pool', 'ordering', '{"items": [{"id": "z", "text": "1"}, {"id": "c", "text": "2"}, {"id": "m", "text": "3"}, {"id": "d", "text": "4"}, {"id": "x", "text": "5"}]}', '{"order": ["z", "c", "m", "d", "x"]}');
select tests.republish('safety');
select tests.enrollment('dora', 'safety'), tests.enrollment('sid', 'safety');

-- 'started', or how it fails, with all reasons.
create function tests.start(who text, assessment text) returns text language plpgsql as $$
declare
  v_failure jsonb;
  v_view lms.attempt_view;
begin
  perform tests.be(who);
  v_failure := tests.failure_of(format('select lms.start_attempt(%L)', tests.id(assessment)));
  perform tests.as_owner();
  return coalesce(
    case when v_failure ->> 'code' = 'not_startable' then (select string_agg(r ->> 'code', ' ' order by r ->> 'code') from jsonb_array_elements(v_failure -> 'details') r) else v_failure ->> 'code' end,
    'started'
  );
end
$$;
create function tests.attempt_of(who text, assessment text) returns uuid language sql as $$
  select t.id from lms.assessment_attempts t where t.user_id = tests.id(who) and t.assessment_id = tests.id(assessment) order by t.number desc limit 1
$$;
create function tests.answers(variadic pairs text[]) returns jsonb language sql as $$
  select jsonb_object_agg(tests.id(pairs[n]), pairs[n + 1]::jsonb) from generate_series(1, cardinality(pairs), 2) n
$$;
create function tests.save(who text, assessment text, answers jsonb, whose text default null) returns text language plpgsql as $$
declare
  v_attempt constant uuid := tests.attempt_of(coalesce(whose, who), assessment);
  v_result text;
begin
  perform tests.be(who);
  v_result := tests.error_of(format('select lms.save_answers(%L, %L)', v_attempt, answers));
  perform tests.as_owner();
  return v_result;
end
$$;
create function tests.submit(who text, assessment text, answers jsonb default null, whose text default null) returns text language plpgsql as $$
declare
  v_attempt constant uuid := tests.attempt_of(coalesce(whose, who), assessment);
  v_receipt lms.attempt_receipt;
  v_result text;
begin
  perform tests.be(who);
  begin
    v_receipt := lms.submit_attempt(v_attempt, answers);
    v_result := concat_ws(' ', v_receipt.status, v_receipt.closed_by, v_receipt.points || '/' || v_receipt.max_points, v_receipt.percentage, case when v_receipt.passed then 'passed' when not v_receipt.passed then 'failed' end);
  exception when others then
    v_result := tests.error_of(format('select lms.submit_attempt(%L, %L)', v_attempt, answers));
  end;
  perform tests.as_owner();
  return v_result;
end
$$;
create function tests.saved(who text, assessment text) returns text language sql as $$
  select coalesce(string_agg(r.question_key || '=' || n.response, ' ' order by r.question_key), '')
  from lms.attempt_answers n join lms.attempt_questions q using (attempt_id, question_id) join lms.question_revisions r on r.id = q.revision_id
  where n.attempt_id = tests.attempt_of(who, assessment)
$$;
-- An hour ago, everything of an attempt.
create function tests.age(who text, assessment text, by interval) returns void language sql as $$
  update lms.assessment_attempts set started_at = started_at - by, deadline_at = deadline_at - by, submitted_at = submitted_at - by where id = tests.attempt_of(who, assessment)
$$;
create function tests.sets(assessment text, change text) returns void language plpgsql as $$
begin
  execute format('update lms.assessments set %s where id = %L', change, tests.id(assessment));
end
$$;
create function tests.tried(who text, assessment text, times integer, ago interval default '0') returns void language sql as $$
  insert into lms.assessment_attempts (tenant_id, course_id, user_id, enrollment_id, version_id, assessment_id, number, status, started_at, submitted_at, closed_by)
  select e.tenant_id, e.course_id, e.user_id, e.id, e.version_id, tests.id(assessment), n, 'graded', now() - ago - interval '1 minute', now() - ago, 'learner'
  from lms.enrollments e, generate_series(1, times) n where e.user_id = tests.id(who) and e.course_id = tests.id('safety')
$$;
create function tests.again(who text, ends text) returns void language plpgsql as $$
begin
  update lms.enrollments set status = ends where user_id = tests.id(who);
  insert into lms.enrollments (course_id, user_id) values (tests.id('safety'), tests.id(who));
end
$$;
savepoint clean;

-- =====================================================================================================
-- Starting
-- =====================================================================================================

select is(tests.start(who, assessment), expected, format('%s starts %s: %s', who, assessment, expected))
from (values
  ('dora', 'quiz', 'started'), ('eve', 'quiz', 'assessment_not_found'), ('ines', 'quiz', 'not_enrolled'), ('boss', 'quiz', 'not_enrolled'), ('hanna', 'quiz', 'assessment_not_found'), ('paula', 'quiz', 'assessment_not_found'),
  ('dora', 'nothing', 'assessment_not_found'), ('anonymous', 'quiz', '42501')
) as cases (who, assessment, expected);
select is(tests.standing('dora', 'safety'), 'in_progress 0/4 0.00', 'who starts an assessment has begun the course');
select is(tests.start('dora', 'quiz'), 'started', 'again');
select is((select count(*) from lms.assessment_attempts), 1::bigint, 'INV-A2: an open one is returned');
select is(
  (select string_agg(concat_ws(' ', q.position, r.question_key, q.points, q.option_order), ', ' order by q.position) from lms.attempt_questions q join lms.question_revisions r on r.id = q.revision_id), '0 q1 3.00 {}, 1 q2 1.00 {}',
  'its questions are those of the version'
);
select is((select count(*) from private.attempt_keys), 2::bigint, 'and its keys');
rollback to clean;

create function tests.start_after(change text) returns text language plpgsql as $$
declare
  v_result text;
begin
  begin
    if change <> '' then
      execute change;
    end if;
    v_result := tests.start('dora', 'quiz');
    raise exception using errcode = 'UNDO2';
  exception when sqlstate 'UNDO2' then
    return v_result;
  end;
end
$$;
select is(tests.start_after(change), expected, format('%s: %s', change, expected))
from (values
  ('', 'started'),
  ('update lms.enrollments set status = ''paused''', 'enrollment_paused'),
  ('update lms.enrollments set status = ''dropped''', 'assessment_not_found'),
  ('update lms.enrollments set expires_at = now() - interval ''1 second'', enrolled_at = now() - interval ''1 day''', 'assessment_not_found'),
  ('update lms.memberships set status = ''suspended'' where user_id = tests.id(''dora'')', 'assessment_not_found'),
  ('update lms.courses set deleted_at = now()', 'assessment_not_found'),
  ('update lms.assessments set deleted_at = now()', 'started'),
  ('update lms.assessments set is_published = false', 'started'),
  ('update lms.assessments set opens_at = now() + interval ''1 minute''', 'not_open_yet'),
  ('update lms.assessments set closes_at = now()', 'closed'),
  ('update lms.assessments set closes_at = now() + interval ''1 minute''', 'started'),
  ('insert into lms.accommodations (tenant_id, course_id, user_id, closes_at) select tenant_id, course_id, user_id, now() + interval ''1 hour'' from lms.enrollments; update lms.assessments set closes_at = now()', 'started'),
  ('insert into lms.accommodations (tenant_id, course_id, user_id, closes_at, revoked_at) select tenant_id, course_id, user_id, now() + interval ''1 hour'', now() from lms.enrollments; update lms.assessments set closes_at = now()', 'closed'),
  ('insert into lms.accommodations (tenant_id, course_id, user_id, assessment_id, closes_at) select tenant_id, course_id, user_id, tests.id(''exam''), now() + interval ''1 hour'' from lms.enrollments; update lms.assessments set closes_at = now()', 'closed'),
  ('insert into lms.accommodations (tenant_id, course_id, user_id, opens_at) select tenant_id, course_id, user_id, now() - interval ''1 hour'' from lms.enrollments; update lms.assessments set opens_at = now() + interval ''1 hour''', 'started'),
  ('select tests.tried(''dora'', ''quiz'', 2); update lms.assessments set max_attempts = 2', 'max_attempts_reached'),
  ('select tests.tried(''dora'', ''quiz'', 2); update lms.assessments set max_attempts = 2; insert into lms.accommodations (tenant_id, course_id, user_id, extra_attempts) select tenant_id, course_id, user_id, 1 from lms.enrollments', 'started'),
  ('select tests.tried(''dora'', ''quiz'', 1); update lms.assessments set max_attempts = 2', 'started'),
  ('select tests.tried(''dora'', ''quiz'', 1); update lms.assessments set cooldown_minutes = 10', 'cooldown'),
  ('select tests.tried(''dora'', ''quiz'', 1, interval ''11 minutes''); update lms.assessments set cooldown_minutes = 10', 'started'),
  ('select tests.tried(''dora'', ''quiz'', 2); update lms.assessments set max_attempts = 2, opens_at = now() + interval ''1 minute''', 'max_attempts_reached not_open_yet'),
  ('update lms.enrollments set items_done = items_total, status = ''in_progress''', 'course_completed'),
  -- Dropping a course and taking it up again gives no attempts back; a new cycle after a finished one does.
  ('select tests.tried(''dora'', ''quiz'', 2), tests.again(''dora'', ''dropped''); update lms.assessments set max_attempts = 2', 'max_attempts_reached'),
  ('select tests.tried(''dora'', ''quiz'', 1), tests.again(''dora'', ''dropped''); update lms.assessments set cooldown_minutes = 10', 'cooldown'),
  ('select tests.tried(''dora'', ''quiz'', 2), tests.again(''dora'', ''expired''); update lms.assessments set max_attempts = 2', 'started')
) as cases (change, expected);

-- The lesson of an assessment has to be open.
insert into lms.lesson_prerequisites (lesson_id, prerequisite_lesson_id) values (tests.id('safety/1'), tests.id('safety/2'));
select tests.republish('safety');
update lms.enrollments set version_id = (select id from lms.course_versions where course_id = tests.id('safety') order by number desc limit 1);
select is(tests.start('dora', 'quiz'), 'lesson_locked', 'an assessment of a lesson opens with the lesson');
select is(tests.start('dora', 'exam'), 'started', 'one of the course does not wait for lessons');
rollback to clean;

-- What other courses come first for comes first for assessments, too.
insert into lms.course_prerequisites (course_id, prerequisite_course_id) values (tests.id('safety'), tests.id('other'));
select is(tests.start('dora', 'exam'), 'prerequisite_unmet', 'an assessment of the course waits for other courses');
select is(tests.start('dora', 'quiz'), 'lesson_locked', 'and so does one of a lesson');
select is(tests.sees_as('dora', 'lms.assessments'), '0', 'until then it is not seen');
update lms.enrollments set status = 'in_progress' where user_id = tests.id('dora');
select is(tests.start('dora', 'exam'), 'started', 'a course that was begun is not closed by what is asked for later');
rollback to clean;

-- =====================================================================================================
-- Saving
-- =====================================================================================================

select tests.start('dora', 'quiz');
select is(tests.save('dora', 'quiz', tests.answers('q1', '"a"')), 'none', 'an answer is saved');
select is(tests.save('dora', 'quiz', tests.answers('q2', 'true')), 'none', 'another one');
select is(tests.saved('dora', 'quiz'), 'q1="a" q2=true', 'those not named stay');
select is(tests.save('dora', 'quiz', tests.answers('q1', '"b"', 'q2', 'null')), 'none', 'changed, and taken back');
select is(tests.saved('dora', 'quiz'), 'q1="b"', 'the last one counts, and null is none');
select is(tests.save(who, 'quiz', answers, 'dora'), expected, format('%s saves %s: %s', who, answers, expected))
from (values
  ('dora', '{}'::jsonb, 'none'), ('dora', '[]', '422 invalid_answers'), ('dora', '"a"', '422 invalid_answers'), ('dora', tests.answers('q3', '"x"'), '422 invalid_answers'), ('dora', '{"nonsense": 1}', '422 invalid_answers'),
  ('dora', tests.answers('q1', '7'), '422 invalid_answers'), ('sid', tests.answers('q1', '"a"'), '404 attempt_not_found'), ('ines', tests.answers('q1', '"a"'), '42501'), ('boss', tests.answers('q1', '"a"'), '42501'),
  ('paula', tests.answers('q1', '"a"'), '404 attempt_not_found'), ('anonymous', tests.answers('q1', '"a"'), '42501')
) as cases (who, answers, expected);
select is(tests.save('dora', 'quiz', tests.answers('q2', 'true', 'q1', '7')), '422 invalid_answers', 'one that does not fit');
select is(tests.saved('dora', 'quiz'), 'q1="b"', 'and nothing is saved');
select tests.as('dora');
select is(
  (select jsonb_agg(f -> 'faults' order by f -> 'faults') from jsonb_array_elements(tests.failure_of(format('select lms.save_answers(%L, %L)', tests.attempt_of('dora', 'quiz'), tests.answers('q3', '1', 'q1', '7'))) -> 'details') f),
  '[["not_an_option"], ["not_asked"]]', 'all faults at once'
);
select is((lms.save_answers(tests.attempt_of('dora', 'quiz'), tests.answers('q1', '"b"'))).saved, 0, 'what is saved already is not saved again');
select is((lms.save_answers(tests.attempt_of('dora', 'quiz'), tests.answers('q1', '"a"', 'q2', 'true'))).saved, 2, 'the receipt says how many were');
select is(
  (select string_agg(concat_ws(' ', q.position, q.question_key, q.response), ', ' order by q.position) from unnest((lms.get_attempt(tests.attempt_of('dora', 'quiz'))).questions) q),
  '0 q1 "a", 1 q2 true', 'the attempt shows what is saved'
);
select tests.as_owner();

-- Whose enrolment or membership is not active writes nothing.
create function tests.save_after(change text) returns text language plpgsql as $$
declare
  v_result text;
begin
  begin
    execute change;
    v_result := tests.save('dora', 'quiz', tests.answers('q1', '"b"')) || ', ' || tests.submit('dora', 'quiz');
    raise exception using errcode = 'UNDO2';
  exception when sqlstate 'UNDO2' then
    return v_result;
  end;
end
$$;
select is(tests.save_after(change), expected, format('%s: %s', change, expected))
from (values
  ('update lms.enrollments set status = ''paused'' where user_id = tests.id(''dora'')', '409 enrollment_paused, 409 enrollment_paused'),
  ('update lms.enrollments set status = ''dropped'' where user_id = tests.id(''dora'')', '409 not_enrolled, 409 not_enrolled'),
  ('update lms.memberships set status = ''suspended'' where user_id = tests.id(''dora'')', '404 attempt_not_found, 404 attempt_not_found'),
  ('update lms.memberships set status = ''ended'', ended_at = now() where user_id = tests.id(''dora'')', '403 membership_suspended, 403 membership_suspended'),
  ('update lms.assessment_attempts set deadline_at = now(), started_at = now() - interval ''1 hour''', '409 attempt_over, graded deadline 1.00/4.00 25.00 failed'),
  ('update lms.enrollments set enrolled_at = now() - interval ''2 hours'', expires_at = now() where user_id = tests.id(''dora'')', '409 attempt_over, graded deadline 1.00/4.00 25.00 failed'),
  ('update lms.assessment_attempts set deadline_at = now() + interval ''1 second''', 'none, graded learner 4.00/4.00 100.00 passed')
) as cases (change, expected);
rollback to clean;

-- =====================================================================================================
-- Handing in
-- =====================================================================================================

select tests.start('dora', 'quiz');
select is(tests.submit(who, 'quiz', null, 'dora'), expected, format('%s hands in what is dora''s: %s', who, expected))
from (values ('sid', '404 attempt_not_found'), ('ines', '42501'), ('boss', '42501'), ('paula', '404 attempt_not_found'), ('anonymous', '42501')) as cases (who, expected);
select is(tests.submit('dora', 'quiz', '{"x": 1}'), '422 invalid_answers', 'answers that do not fit keep it open');
select is(tests.submit('dora', 'quiz', tests.answers('q1', '"b"')), 'graded learner 3.00/4.00 75.00 passed', 'answers may come with it');
select is(tests.submit('dora', 'quiz', tests.answers('q2', 'true')), 'graded learner 3.00/4.00 75.00 passed', 'INV-A2: the second time changes nothing');
select is(tests.saved('dora', 'quiz'), 'q1="b"', 'nor is anything saved then');
select is(tests.save('dora', 'quiz', tests.answers('q2', 'true')), '409 attempt_over', 'nor by saving');
select is(tests.standing('dora', 'safety'), 'in_progress 1/4 25.00', 'INV-P2: what is passed counts');
select is((select count(*) from lms.answer_scores), 2::bigint, 'each question has its points, unanswered ones too');
select is(tests.start('dora', 'quiz'), 'started', 'another attempt');
select is(tests.submit('dora', 'quiz'), 'graded learner 0.00/4.00 0.00 failed', 'with nothing in it');
select is(tests.standing('dora', 'safety'), 'in_progress 1/4 25.00', 'takes nothing away');
select is((select concat_ws(' ', percentage, attempts_count) from lms.assessment_progress), '75.00 2', 'the best one counts');
rollback to clean;

select tests.start('dora', 'exam');
select is(tests.submit('dora', 'exam', tests.answers('q3', '"x"', 'q4', '{"text": "Long"}')), 'submitted learner', 'what waits for a grader has no score');
select is((select count(*) from lms.attempt_scores), 0::bigint, 'not even a hidden one');
rollback to clean;

select tests.sets('quiz', 'holds_grades = true');
select tests.start('dora', 'quiz');
select is(tests.submit('dora', 'quiz', tests.answers('q1', '"b"')), 'graded learner', 'a score that is held back is not told');
select is(tests.sees_as(who, 'lms.attempt_scores'), expected, format('%s sees %s held scores', who, expected))
from (values ('dora', '0'), ('sid', '0'), ('hanna', '0'), ('alan', '0'), ('ines', '1'), ('boss', '1'), ('ivan', '0'), ('paula', '0')) as cases (who, expected);
select is(tests.standing('dora', 'safety'), 'in_progress 0/4 0.00', 'and counts nothing');
update lms.attempt_scores set released_at = now();
select is(tests.sees_as(who, 'lms.attempt_scores'), expected, format('%s sees %s released scores', who, expected))
from (values ('dora', '1'), ('sid', '0'), ('hanna', '1'), ('alan', '1'), ('ines', '1'), ('boss', '1'), ('ivan', '0'), ('paula', '0')) as cases (who, expected);
rollback to clean;

-- A survey has no right answers.
select tests.sets('quiz', 'kind = ''survey'', passing_percentage = null');
select tests.republish('safety');
update lms.enrollments set version_id = (select id from lms.course_versions where course_id = tests.id('safety') order by number desc limit 1);
select tests.start('dora', 'quiz');
select is(tests.submit('dora', 'quiz', tests.answers('q1', '"a"')), 'graded learner 3.00/4.00 75.00 passed', 'a survey counts what is answered');
rollback to clean;

-- =====================================================================================================
-- Time
-- =====================================================================================================

create function tests.minutes(who text, assessment text) returns numeric language sql as $$
  select round(extract(epoch from t.deadline_at - t.started_at) / 60, 2) from lms.assessment_attempts t where t.id = tests.attempt_of(who, assessment)
$$;
create function tests.minutes_after(change text) returns text language plpgsql as $$
declare
  v_result text;
begin
  begin
    execute change;
    perform tests.start('dora', 'quiz');
    v_result := coalesce(tests.minutes('dora', 'quiz')::text, 'none');
    raise exception using errcode = 'UNDO2';
  exception when sqlstate 'UNDO2' then
    return v_result;
  end;
end
$$;
select is(tests.minutes_after(change), expected, format('%s: %s minutes', change, expected))
from (values
  ('select', 'none'), ('update lms.assessments set time_limit_minutes = 30', '30.00'), ('update lms.assessments set closes_at = now() + interval ''20 minutes''', '20.00'),
  ('update lms.assessments set time_limit_minutes = 30, closes_at = now() + interval ''20 minutes''', '20.00'), ('update lms.assessments set time_limit_minutes = 30, closes_at = now() + interval ''40 minutes''', '30.00'),
  ('update lms.assessments set time_limit_minutes = 30; insert into lms.accommodations (tenant_id, course_id, user_id, extra_time_percentage) select tenant_id, course_id, user_id, x from lms.enrollments, unnest(array[25, 50]) x', '45.00'),
  ('update lms.assessments set time_limit_minutes = 30, closes_at = now() + interval ''35 minutes''; insert into lms.accommodations (tenant_id, course_id, user_id, extra_time_percentage) select tenant_id, course_id, user_id, 50 from lms.enrollments', '35.00'),
  ('update lms.assessments set time_limit_minutes = 30; insert into lms.accommodations (tenant_id, course_id, user_id, extra_time_percentage) select tenant_id, course_id, tests.id(''sid''), 50 from lms.enrollments', '30.00')
) as cases (change, expected);

select tests.sets('quiz', 'time_limit_minutes = 30');
select tests.start('dora', 'quiz');
select tests.as('boss');
select isnt((lms.grant_accommodation(tests.id('dora'), tests.id('safety'), p_extra_time_percentage => 100)).id, null, 'time is granted while an attempt is open');
select tests.as_owner();
select is(tests.minutes('dora', 'quiz'), 60.00, 'which gains it at once');
select tests.save('dora', 'quiz', tests.answers('q1', '"b"'));
select tests.age('dora', 'quiz', '61 minutes');
select is(tests.save('dora', 'quiz', tests.answers('q1', '"a"')), '409 attempt_over', 'after the deadline nothing is saved');
select is(ops.close_expired_attempts(), 1, 'the job closes it');
select is(ops.close_expired_attempts(), 0, 'once');
select is((select concat_ws(' ', status, closed_by, submitted_at = deadline_at) from lms.assessment_attempts), 'graded deadline t', 'at its deadline');
select is(tests.submit('dora', 'quiz', tests.answers('q1', '"a"')), 'graded deadline 3.00/4.00 75.00 passed', 'with what was saved in time');
rollback to clean;

select tests.sets('quiz', 'time_limit_minutes = 30, max_attempts = 2');
select tests.start('dora', 'quiz'), tests.age('dora', 'quiz', '31 minutes');
select is(tests.start('dora', 'quiz'), 'started', 'starting closes one whose time has run out');
select is((select string_agg(concat_ws(' ', number, status, closed_by), ', ' order by number) from lms.assessment_attempts), '1 graded deadline, 2 in_progress', 'and begins the next');
select tests.age('dora', 'quiz', '31 minutes');
select is(tests.start('dora', 'quiz'), 'started', 'the last one is returned');
select is((select string_agg(concat_ws(' ', number, status, closed_by), ', ' order by number) from lms.assessment_attempts), '1 graded deadline, 2 graded deadline', 'closed');
select is(tests.start('dora', 'quiz'), 'max_attempts_reached', 'and then there is none');
rollback to clean;

select tests.start('dora', 'quiz');
update lms.enrollments set enrolled_at = now() - interval '1 day', expires_at = now() - interval '1 minute' where user_id = tests.id('dora');
select is(ops.close_expired_attempts(), 1, 'an attempt ends with its enrolment');
rollback to clean;

-- =====================================================================================================
-- What was asked stays (INV-A3)
-- =====================================================================================================

select tests.start('dora', 'quiz');
update private.answer_keys set key = '{"correct": "a"}' where question_id = tests.id('q1');
update lms.questions set points = 7 where id = tests.id('q1');
select tests.republish('safety');
insert into private.key_revisions (tenant_id, course_id, revision_id, number, key, explanation, reason)
select k.tenant_id, k.course_id, k.revision_id, 2, '{"correct": false}', '', 'corrected' from private.key_revisions k join lms.question_revisions r on r.id = k.revision_id where r.question_key = 'q2' and k.number = 1;
select is(tests.submit('dora', 'quiz', tests.answers('q1', '"b"', 'q2', 'true')), 'graded learner 4.00/4.00 100.00 passed', 'INV-A3: by the questions and keys as they stood when it started');
select tests.start('dora', 'quiz');
select is(tests.submit('dora', 'quiz', tests.answers('q1', '"b"', 'q2', 'true')), 'graded learner 3.00/4.00 75.00 passed', 'the next one takes the corrected key of its version');
rollback to clean;

-- =====================================================================================================
-- Pools and order
-- =====================================================================================================

create function tests.asked(who text) returns text language sql as $$
  select string_agg(r.question_key || array_to_string(q.option_order, ''), ' ' order by q.position) from lms.attempt_questions q join lms.question_revisions r on r.id = q.revision_id where q.attempt_id = tests.attempt_of(who, 'pool')
$$;
select tests.sets('pool', 'shuffle_questions = true, shuffle_options = true');
select tests.start('dora', 'pool');
select is((select count(*) from lms.attempt_questions where attempt_id = tests.attempt_of('dora', 'pool')), 4::bigint, 'three are drawn, and the one in no section is asked');
select is((select section_title from lms.attempt_questions where position = 0), null, 'which comes first');
create table tests.orders as select tests.asked('dora') as before;
select tests.start('dora', 'pool');
select is(tests.asked('dora'), (select before from tests.orders), 'the order of an attempt stays');
select tests.as('dora');
select is(
  (select string_agg(i ->> 'id', '' order by n) from unnest((lms.get_attempt(tests.attempt_of('dora', 'pool'))).questions) q, jsonb_array_elements(q.content -> 'items') with ordinality x (i, n) where q.type = 'ordering'),
  (select array_to_string(option_order, '') from lms.attempt_questions where option_order <> '{}'), 'and so does what is to be put in order'
);
select tests.as_owner();
do $$ begin for n in 1..20 loop perform tests.submit('dora', 'pool'), tests.start('dora', 'pool'); end loop; end $$;
select cmp_ok((select count(distinct question_id) from lms.attempt_questions), '>', 7::bigint, 'other attempts draw others');
select cmp_ok((select count(distinct option_order) from lms.attempt_questions where option_order <> '{}'), '>', 5::bigint, 'in other orders');
select is((select count(*) from lms.assessment_attempts t where (select count(*) from lms.attempt_questions q where q.attempt_id = t.id) <> 4), 0::bigint, 'and always as many');
select is((select array_agg(distinct max_points) from lms.attempt_scores), array[4.00], 'worth the same');
rollback to clean;

-- =====================================================================================================
-- The outline
-- =====================================================================================================

create function tests.outline(who text) returns text language plpgsql as $$
declare
  v_text text;
begin
  perform tests.be(who);
  select
    (select string_agg(concat_ws(' ', l.title, (select string_agg(concat_ws(' ', a.title, a.attempts_count, a.percentage), '+' order by a.order_index) from unnest(l.assessments) a)), ', ' order by l.order_index)
     from unnest(o.modules) m, unnest(m.lessons) l)
    || '; ' || coalesce((select string_agg(concat_ws(' ', a.title, a.attempts_count, a.percentage), '+' order by a.order_index) from unnest(o.assessments) a), '')
  into v_text
  from lms.get_course_outline(tests.id('safety')) o;
  perform tests.as_owner();
  return v_text;
end
$$;
select tests.start('dora', 'quiz'), tests.submit('dora', 'quiz', tests.answers('q1', '"b"'));
select is(tests.outline(who), expected, format('%s sees in the outline: %s', who, expected))
from (values
  ('dora', 'Lesson 1 Quiz 1 75.00, Lesson 2; Exam 0+Pool 0'), ('sid', 'Lesson 1 Quiz 0, Lesson 2; Exam 0+Pool 0'), ('ines', 'Lesson 1 Quiz 0, Lesson 2; Exam 0+Pool 0'), ('eve', 'Lesson 1, Lesson 2; '), ('hanna', 'Lesson 1, Lesson 2; ')
) as cases (who, expected);
rollback to clean;

-- =====================================================================================================
-- Who sees attempts
-- =====================================================================================================

select tests.start('dora', 'quiz'), tests.submit('dora', 'quiz', tests.answers('q1', '"b"')), tests.start('dora', 'exam');
select is(tests.sees_as(who, 'lms.' || relation), expected, format('%s sees %s of %s', who, expected, relation))
from unnest(array['assessment_attempts 2', 'attempt_questions 4', 'attempt_answers 1', 'answer_scores 2', 'attempt_scores 1', 'assessment_progress 1', 'question_revisions 14']) as r (text),
  lateral (select split_part(r.text, ' ', 1), split_part(r.text, ' ', 2)) as t (relation, rows),
  (values ('dora'), ('sid'), ('eve'), ('ines'), ('ivan'), ('boss'), ('hanna'), ('alan'), ('paula'), ('anonymous')) as w (who),
  lateral (select case
    when who = 'anonymous' then '42501'
    when who in ('ines', 'boss') then t.rows
    when who = 'dora' then case relation when 'answer_scores' then '0' when 'question_revisions' then '4' else t.rows end
    when who in ('hanna', 'alan') and relation in ('attempt_scores', 'assessment_progress') then t.rows
    else '0'
  end) as e (expected);
select is(tests.try('dora', format('update lms.%s set %s', relation, change)), '42501', format('learners write nothing of %s', relation))
from (values ('assessment_attempts', 'status = ''graded'''), ('attempt_answers', 'response = ''1'''), ('answer_scores', 'points = 9'), ('attempt_scores', 'percentage = 100'), ('assessment_progress', 'passed_at = now()'), ('attempt_questions', 'points = 9')) as cases (relation, change);
insert into lms.grade_overrides (tenant_id, course_id, user_id, attempt_id, new_percentage, reason) select tenant_id, course_id, user_id, attempt_id, 90, 'Seen' from lms.attempt_scores;
insert into lms.grading_assignments (attempt_id, question_id, tenant_id, course_id, grader_id) select attempt_id, question_id, tenant_id, course_id, tests.id('ivan') from lms.answer_scores limit 1;
select is(tests.sees_as(who, 'lms.grade_overrides') || tests.sees_as(who, 'lms.grading_assignments'), expected, format('%s sees overrides and who is to grade: %s', who, expected))
from (values ('dora', '10'), ('sid', '00'), ('ines', '11'), ('ivan', '01'), ('boss', '11'), ('hanna', '10'), ('alan', '10'), ('paula', '00')) as cases (who, expected);
update lms.attempt_scores set released_at = null;
select is(tests.sees_as(who, 'lms.grade_overrides'), expected, format('%s sees %s overrides of held scores', who, expected)) from (values ('dora', '0'), ('hanna', '0'), ('ines', '1')) as cases (who, expected);
update lms.attempt_scores set released_at = now();
update lms.memberships set status = 'ended', ended_at = now() where user_id = tests.id('dora');
select is(tests.sees_as('dora', 'lms.' || relation), expected, format('who has left sees %s of %s', expected, relation))
from (values ('assessment_attempts', '2'), ('attempt_scores', '1'), ('attempt_answers', '1'), ('attempt_questions', '0'), ('question_revisions', '0')) as cases (relation, expected);
rollback to clean;

-- Being moved to another version meanwhile loses nothing.
select tests.start('dora', 'quiz'), tests.save('dora', 'quiz', tests.answers('q1', '"b"'));
update lms.assessments set deleted_at = now() where id = tests.id('quiz');
select tests.republish('safety');
update lms.enrollments set version_id = (select id from lms.course_versions where course_id = tests.id('safety') order by number desc limit 1) where user_id = tests.id('dora');
select is(tests.start('dora', 'quiz'), 'assessment_not_found', 'what has left the version and the draft is not started');
select is(tests.save('dora', 'quiz', tests.answers('q2', 'true')), 'none', 'an attempt that was open goes on');
select is(tests.submit('dora', 'quiz'), 'graded learner 4.00/4.00 100.00 passed', 'and is handed in');
select is(tests.standing('dora', 'safety'), 'in_progress 0/3 0.00', 'for a version that does not ask for it');
rollback to clean;

-- =====================================================================================================
-- INV-A1: no key before its time
-- =====================================================================================================
-- A string is planted in every key; everything that a learner can select is searched for it, whatever tables there will be.

create function tests.finds(who text, needle text) returns text language plpgsql as $$
declare
  v_table record;
  v_rows bigint;
  v_found text[] := '{}';
begin
  perform tests.be(who);
  for v_table in
    select c.oid::regclass as name
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('public', 'lms', 'content', 'media', 'billing', 'analytics') and c.relkind in ('r', 'v', 'p', 'm') and has_table_privilege(c.oid, 'select')
  loop
    execute format('select count(*) from %s t where t::text like %L', v_table.name, '%' || needle || '%') into v_rows;
    if v_rows > 0 then
      v_found := v_found || v_table.name::text;
    end if;
  end loop;
  perform tests.as_owner();
  return array_to_string(v_found, ' ');
end
$$;
select tests.start('dora', 'quiz'), tests.start('dora', 'exam'), tests.start('sid', 'exam');
select is(tests.finds('dora', 'canary'), '', 'INV-A1: while an attempt is open no key is found');
select tests.submit('dora', 'quiz', tests.answers('q1', '"a"')), tests.submit('dora', 'exam', tests.answers('q3', '"wrong"'));
select is(tests.finds('dora', 'canary'), '', 'nor when it is handed in');
select is(tests.finds('sid', 'canary'), '', 'nor by who is still writing');
update lms.answer_scores set points = 0, is_correct = false, graded_at = now(), explanation = '{"expected": "canary"}';
update lms.assessment_attempts set status = 'graded' where status = 'submitted';
update lms.attempt_scores set passed = false;
create function tests.found_when(change text, who text default 'dora') returns text language plpgsql as $$
declare
  v_result text;
begin
  begin
    execute change;
    v_result := tests.finds(who, 'canary');
    raise exception using errcode = 'UNDO2';
  exception when sqlstate 'UNDO2' then
    return v_result;
  end;
end
$$;
select is(tests.found_when(change, who), expected, format('%s, %s: %s', who, change, expected))
from (values
  ('dora', 'update lms.assessments set answers_shown = ''never''', ''),
  -- What the walk finds where it is shown proves that it looks.
  ('dora', 'update lms.assessments set answers_shown = ''after_submit''', 'lms.answer_scores'),
  ('sid', 'update lms.assessments set answers_shown = ''after_submit''', ''),
  ('ines', 'select', 'lms.answer_scores'),
  ('dora', 'update lms.assessments set answers_shown = ''after_submit''; update lms.attempt_scores set released_at = null', ''),
  ('dora', 'update lms.assessments set answers_shown = ''after_pass''', ''),
  ('dora', 'update lms.assessments set answers_shown = ''after_pass''; update lms.attempt_scores set passed = true', 'lms.answer_scores'),
  ('dora', 'update lms.assessments set answers_shown = ''after_pass''; update lms.attempt_scores set passed = true, released_at = null', ''),
  ('dora', 'update lms.assessments set answers_shown = ''after_close''', ''),
  ('dora', 'update lms.assessments set answers_shown = ''after_close'', closes_at = now() + interval ''1 minute''', ''),
  ('dora', 'update lms.assessments set answers_shown = ''after_close'', closes_at = now()', 'lms.answer_scores'),
  -- Somebody may still write: then nobody is shown what was right.
  ('dora', 'update lms.assessments set answers_shown = ''after_close'', closes_at = now(); insert into lms.accommodations (tenant_id, course_id, user_id, closes_at) values (tests.id(''works''), tests.id(''safety''), tests.id(''sid''), now() + interval ''1 hour'')', ''),
  ('dora', 'update lms.assessments set answers_shown = ''after_submit''; update lms.memberships set status = ''ended'', ended_at = now() where user_id = tests.id(''dora'')', '')
) as cases (who, change, expected);

-- The review shows what the same rule allows.
create function tests.review(who text, whose text default null) returns text language plpgsql as $$
declare
  v_attempt constant uuid := tests.attempt_of(coalesce(whose, who), 'exam');
  v_review lms.attempt_review;
begin
  perform tests.be(who);
  v_review := lms.get_attempt_review(v_attempt);
  perform tests.as_owner();
  return concat_ws(' ', v_review.status, v_review.is_shown, v_review.percentage, cardinality(v_review.answers),
    case when v_review::text like '%canary%' then 'keys' end);
exception when others then
  perform tests.as_owner();
  return tests.failure_of(format('select lms.get_attempt_review(%L)', v_attempt)) ->> 'code';
end
$$;
create function tests.review_when(who text, whose text, change text) returns text language plpgsql as $$
declare
  v_result text;
begin
  begin
    execute change;
    v_result := tests.review(who, whose);
    raise exception using errcode = 'UNDO2';
  exception when sqlstate 'UNDO2' then
    return v_result;
  end;
end
$$;
select is(tests.review_when(who, 'dora', change), expected, format('%s, %s: %s', who, change, expected))
from (values
  ('dora', 'update lms.assessments set answers_shown = ''never''', 'graded f 0.00 2'), ('dora', 'update lms.assessments set answers_shown = ''after_submit''', 'graded t 0.00 2 keys'),
  ('dora', 'update lms.assessments set answers_shown = ''after_pass''', 'graded f 0.00 2'), ('dora', 'update lms.assessments set answers_shown = ''after_submit''; update lms.attempt_scores set released_at = null', 'graded f 2'),
  ('dora', 'update lms.assessments set answers_shown = ''after_submit''; update lms.assessment_attempts set status = ''in_progress'', submitted_at = null, closed_by = null', 'in_progress f 0.00 2'),
  ('ines', 'update lms.assessments set answers_shown = ''never''', 'graded t 0.00 2 keys'), ('boss', 'update lms.assessments set answers_shown = ''never''; update lms.attempt_scores set released_at = null', 'graded t 0.00 2 keys'),
  ('dora', 'update lms.memberships set status = ''ended'', ended_at = now() where user_id = tests.id(''dora'')', 'graded f 0.00 0')
) as cases (who, change, expected);
select is(tests.try(who, format('select lms.get_attempt_review(%L)', tests.attempt_of('dora', 'exam'))), expected, format('%s looks back on what is dora''s: %s', who, expected))
from (values ('dora', '1'), ('ines', '1'), ('boss', '1'), ('sid', '404 attempt_not_found'), ('hanna', '404 attempt_not_found'), ('alan', '404 attempt_not_found'), ('ivan', '404 attempt_not_found'), ('paula', '404 attempt_not_found'), ('anonymous', '42501')) as cases (who, expected);

select * from finish();
rollback;
