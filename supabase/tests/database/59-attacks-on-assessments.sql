begin;
\ir ../helpers.sql
select * from no_plan();

-- What an attack on assessments found. Each of these once worked.

select tests.tenant('works'), tests.unit('north', 'works');
select tests.member('boss', 'works', 'tenant_admin'), tests.member('ines', 'works', 'instructor'), tests.member('dora', 'works', 'learner', 'north'), tests.member('sid', 'works', 'learner', 'north');
select tests.custom_role('works', 'marker', array['assessments.grade']), tests.member('nora', 'works', 'marker'), tests.member('mark', 'works', 'marker', 'north', 'north');
select tests.course('safety', 'works', 'ines', 1);
insert into lms.assessments (id, course_id, title, is_mandatory, answers_shown, passing_percentage) values (tests.id('quiz'), tests.id('safety'), 'Quiz', true, 'never', 60);
insert into lms.questions (id, assessment_id, type, prompt, content)
select tests.id('q' || n), tests.id('quiz'), 'single', 'Which?', '{"options": [{"id": "a", "text": "A"}, {"id": "b", "text": "B"}]}' from generate_series(1, 2) n;
insert into private.answer_keys (question_id, tenant_id, course_id, key) select tests.id('q' || n), tests.id('works'), tests.id('safety'), '{"correct": "b"}' from generate_series(1, 2) n;
select tests.republish('safety');

create function tests.begins(who text) returns uuid language plpgsql as $$
declare v_id uuid;
begin
  perform tests.as(who);
  v_id := (lms.start_attempt(tests.id('quiz'))).id;
  perform tests.as_owner();
  return v_id;
end
$$;
create function tests.latest(who text) returns uuid language sql stable security definer as $$
  select t.id from lms.assessment_attempts t where t.user_id = tests.id(who) order by t.started_at desc, t.number desc limit 1
$$;
create function tests.hands_in(who text, one text, two text) returns text language plpgsql as $$
declare v_result text;
begin
  perform tests.as(who);
  v_result := tests.error_of(format('select lms.submit_attempt(%L, %L)', tests.latest(who), jsonb_build_object(tests.id('q1'), one, tests.id('q2'), two)));
  perform tests.as_owner();
  return v_result;
end
$$;
-- Keys, points and scores that somebody sees of an attempt.
create function tests.sees_of(who text, whose text) returns text language plpgsql as $$
declare v_result text;
begin
  perform tests.as(who);
  select format('%s keys, %s points, %s scores', count(*) filter (where a.key is not null),
    (select count(*) from lms.answer_scores s where s.attempt_id = tests.latest(whose)), (select count(*) from lms.attempt_scores s where s.attempt_id = tests.latest(whose)))
  into v_result from unnest((lms.get_attempt_review(tests.latest(whose))).answers) a;
  perform tests.as_owner();
  return v_result;
end
$$;
create function tests.final(who text) returns text language sql stable as $$
  select format('%s %s/%s grade %s', e.status, e.items_done, e.items_total, e.final_grade) from lms.enrollments e where e.user_id = tests.id(who) order by e.cycle desc limit 1
$$;
savepoint clean;

-- INV-A1: a right to grade opens nobody's own attempt, nor keys of a course that they take.
select tests.enrollment(n, 'safety') from unnest(array['nora', 'mark', 'dora']) as u (n);
select tests.begins(n) from unnest(array['nora', 'mark', 'dora']) as u (n);
update lms.assessments set holds_grades = true;
select is(tests.sees_of(n, n), '0 keys, 0 points, 0 scores', n || ' sees nothing while they write') from unnest(array['nora', 'mark', 'dora']) as u (n);
select is(tests.hands_in(n, 'b', 'a'), 'none', n || ' hands in') from unnest(array['nora', 'mark', 'dora']) as u (n);
select is(tests.sees_of(n, n), '0 keys, 0 points, 0 scores', n || ' sees nothing of what is held back') from unnest(array['nora', 'mark', 'dora']) as u (n);
select is(tests.sees_of(n, 'dora'), '0 keys, 2 points, 1 scores', n || ' grades dora, without the keys to their own course') from unnest(array['nora', 'mark']) as u (n);
update lms.enrollments set status = 'dropped' where user_id = tests.id('mark');
select is(tests.sees_of('mark', 'dora'), '2 keys, 2 points, 1 scores', 'who does not take it sees keys');
select is(tests.sees_of('ines', 'dora'), '2 keys, 2 points, 1 scores', '... and so does the author');
rollback to clean;

-- A key that is set back after a correction: the draft's counts, also where nothing else changed.
select tests.as('ines');
select lms.correct_answer_key(tests.id('q1'), '{"correct": "a"}', '', 'By mistake');
select lms.set_answer_key(tests.id('q1'), '{"correct": "b"}', '');
select lms.publish_course(tests.id('safety'));
select tests.as_owner();
select tests.enrollment('dora', 'safety'), tests.begins('dora');
select is(tests.hands_in('dora', 'b', 'b'), 'none', 'answers by the key that the author sees');
select is((select s.percentage::numeric from lms.attempt_scores s where s.attempt_id = tests.latest('dora')), 100.00, '... are right');
rollback to clean;

-- One attempt that cannot be closed holds up no other.
update lms.assessments set time_limit_minutes = 10;
select tests.enrollment(n, 'safety'), tests.begins(n) from unnest(array['dora', 'sid']) as u (n);
update lms.assessment_attempts set started_at = now() - interval '1 hour', deadline_at = now() - interval '50 minutes';
create function tests.fail_for_dora() returns trigger language plpgsql as $$ begin if new.user_id = tests.id('dora') then raise numeric_value_out_of_range; end if; return new; end $$;
create trigger _000_fail before insert on lms.attempt_scores for each row execute function tests.fail_for_dora();
select is(ops.close_expired_attempts(), 1, 'the other one is closed');
select is((select string_agg(t.status, ' ' order by t.user_id = tests.id('dora')) from lms.assessment_attempts t), 'graded in_progress', '... and the faulty one is left as it was');
select is(left(tests.error_of('select ops.close_expired_attempts()'), 5), 'P0001', 'a run that does nothing but fail says so');
rollback to clean;

-- after_close waits for those who still write.
update lms.assessments set answers_shown = 'after_close', closes_at = null;
select tests.enrollment(n, 'safety'), tests.begins(n) from unnest(array['dora', 'sid']) as u (n);
select is(tests.hands_in('sid', 'b', 'a'), 'none', 'one hands in');
update lms.assessments set closes_at = now() - interval '1 minute';
select is(tests.sees_of('sid', 'sid'), '0 keys, 0 points, 1 scores', 'INV-A1: closed meanwhile, but another one still writes');
select is(tests.hands_in('dora', 'b', 'b'), 'none', '... who hands in');
select is(tests.sees_of('sid', 'sid'), '2 keys, 2 points, 1 scores', '... whereupon all are shown');
rollback to clean;

-- An attempt left open when the course was completed changes nothing afterwards; one left open in a cycle that was dropped
-- ends with it, and the cooldown counts from then.
update lms.assessments set grading_method = 'latest', answers_shown = 'after_pass', cooldown_minutes = 1440;
select tests.republish('safety');
insert into lms.enrollments (course_id, user_id, enrolled_at) values (tests.id('safety'), tests.id('dora'), now() - interval '2 hours');
select tests.begins('dora');
select is(tests.hands_in('dora', 'b', 'b'), 'none', 'passed');
update lms.assessments set cooldown_minutes = 0;
update lms.assessment_attempts set submitted_at = submitted_at - interval '1 hour', started_at = started_at - interval '1 hour';
select tests.begins('dora');
update lms.assessment_attempts set started_at = started_at - interval '30 minutes' where status = 'in_progress';
insert into lms.lesson_progress (user_id, lesson_id, progress_percentage, completed_at) values (tests.id('dora'), tests.id('safety/1'), 100, now() - interval '1 minute');
select is(tests.final('dora'), 'completed 2/2 grade 100.00', 'the course is completed');
select is(tests.hands_in('dora', 'a', 'a'), 'none', 'the one that was left open is handed in');
select is(tests.final('dora'), 'completed 2/2 grade 100.00', '... and the grade stands');
update lms.assessments set cooldown_minutes = 1440;
select tests.enrollment('sid', 'safety'), tests.begins('sid');
update lms.enrollments set status = 'dropped' where user_id = tests.id('sid');
insert into lms.enrollments (course_id, user_id) values (tests.id('safety'), tests.id('sid'));
select is(tests.try('sid', format('select lms.start_attempt(%L)', tests.id('quiz'))), '409 not_startable', 'leaving and coming back is no way around the cooldown');
update lms.enrollments set dropped_at = now() - interval '1 minute' where status = 'dropped';
select is(ops.close_expired_attempts(), 1, 'an attempt of a cycle that was left is closed');
rollback to clean;

-- Moving to a version in which handing in is enough.
select tests.enrollment('dora', 'safety'), tests.begins('dora');
select is(tests.hands_in('dora', 'a', 'a'), 'none', 'failed');
update lms.assessments set passing_percentage = null;
select tests.republish('safety');
select tests.as('boss');
select is((select (p.items_done_before, p.items_done_after)::text from lms.preview_enrollment_migration(tests.id('safety'), 'move') p), '(0,1)', 'the preview says that it counts then');
select tests.as_owner();
select is((lms.migrate_enrollments(tests.id('safety'), 'move')).moved, 1, 'one is moved');
select is(tests.final('dora'), 'in_progress 1/2 grade 0.00', '... and it counts');
select is(ops.recount_progress(), 0::bigint, 'INV-P2: as the facts say');

-- =====================================================================================================
-- More time for those who are at it
-- =====================================================================================================

select tests.course('fire', 'works', 'ines', 2);
insert into lms.assessments (id, course_id, lesson_id, title, time_limit_minutes, passing_percentage)
values (tests.id('drill'), tests.id('fire'), tests.id('fire/1'), 'Drill', 30, 60);
insert into lms.questions (id, assessment_id, type, prompt, content) values
  (tests.id('drill q'), tests.id('drill'), 'true_false', 'True?', '{}'),
  (tests.id('pairs'), tests.id('drill'), 'matching', 'Match.', '{"prompts": [{"id": "p1", "text": "A"}, {"id": "p2", "text": "B"}], "choices": [{"id": "c1", "text": "a"}, {"id": "c2", "text": "b"}]}');
insert into private.answer_keys (question_id, tenant_id, course_id, key) values
  (tests.id('drill q'), tests.id('works'), tests.id('fire'), '{"correct": true}'),
  (tests.id('pairs'), tests.id('works'), tests.id('fire'), '{"pairs": {"p1": "c1", "p2": "c2"}}');
create function tests.warns_of_pairs() returns bigint language sql as $$
  select count(*) from private.find_assessment_faults(tests.id('fire')) f where f.code = 'ids_tell_the_pairs'
$$;
select is(tests.warns_of_pairs(), 1::bigint, 'ids that tell which belongs to which are found before publishing');
update private.answer_keys set key = '{"pairs": {"p1": "c2", "p2": "c1"}}' where question_id = tests.id('pairs');
select is(tests.warns_of_pairs(), 0::bigint, '... others are not');
update lms.questions set deleted_at = now() where id = tests.id('pairs');
select tests.republish('fire');
select tests.enrollment('dora', 'fire'), tests.enrollment('sid', 'fire');
select tests.as('dora');
select lms.start_attempt(tests.id('drill'));
select tests.as_owner();
create function tests.minutes_left() returns numeric language sql as $$
  select round(extract(epoch from deadline_at - started_at) / 60) from lms.assessment_attempts where assessment_id = tests.id('drill') and user_id = tests.id('dora')
$$;
select is(tests.minutes_left(), 30::numeric, 'half an hour');
update lms.assessments set time_limit_minutes = 45 where id = tests.id('drill');
select is(tests.minutes_left(), 45::numeric, 'more time reaches an attempt that has begun');
update lms.assessments set time_limit_minutes = 5 where id = tests.id('drill');
select is(tests.minutes_left(), 45::numeric, '... less does not');
update lms.assessments set closes_at = now() + interval '10 minutes' where id = tests.id('drill');
select is(tests.minutes_left(), 45::numeric, '... nor does a closing date');
update lms.assessments set closes_at = null, time_limit_minutes = null where id = tests.id('drill');
select is(tests.minutes_left(), null, 'a limit that is taken away is taken away for all');

-- =====================================================================================================
-- A lesson that a new version completes by what was passed before
-- =====================================================================================================

select tests.as('dora');
select lms.submit_attempt(
  (select id from lms.assessment_attempts where assessment_id = tests.id('drill')), jsonb_build_object(tests.id('drill q'), true)
);
select tests.as_owner();
select is((select completed_at from lms.lesson_progress where user_id = tests.id('dora') and lesson_id = tests.id('fire/1')), null, 'passed, and the lesson waits for the learner''s word');
update lms.lessons set completion_rule = 'assessment' where id = tests.id('fire/1');
select tests.republish('fire');
select tests.as('boss');
create temporary table foreseen as select enrollment_id, items_done_after, percentage_after, completes from lms.preview_enrollment_migration(tests.id('fire'), 'move') where user_id = tests.id('dora');
select is((select items_done_after from foreseen), 2, 'the preview counts it');
select lms.migrate_enrollments(tests.id('fire'), 'move');
select tests.as_owner();
select results_eq(
  $$ select e.id, e.items_done, e.progress_percentage::numeric, e.status = 'completed' from lms.enrollments e where e.user_id = tests.id('dora') and e.course_id = tests.id('fire') $$,
  $$ select enrollment_id, items_done_after, percentage_after, completes from foreseen $$, 'INV-P2: and so it comes'
);
select isnt((select completed_at from lms.lesson_progress where user_id = tests.id('dora') and lesson_id = tests.id('fire/1')), null, 'the lesson is completed by what was passed');
select is((select count(*) from lms.lesson_progress where user_id = tests.id('sid') and lesson_id = tests.id('fire/1') and completed_at is not null), 0::bigint, 'nobody else''s is');

select * from finish();
rollback;
