-- Gradebook: which score counts, the final grade, and what follows from them.

begin;
\ir ../helpers.sql
\ir ../assessments.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press');
select tests.unit('north', 'works');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'), tests.member('ulla', 'works', 'unit_manager', 'north', 'north'),
  tests.member('ines', 'works', 'instructor'), tests.member('ivan', 'works', 'instructor'),
  tests.member('dora', 'works', 'learner', 'north'), tests.member('sid', 'works'), tests.member('eve', 'works'), tests.member('kim', 'works'), tests.member('lea', 'works'), tests.member('zoe', 'works'), tests.member('zed', 'works'),
  tests.member('paula', 'press', 'tenant_admin');
select tests.course('safety', 'works', 'ines', 2);
update lms.lessons set completion_rule = 'assessment' where id = tests.id('safety/1');
update lms.courses set required_score = 60 where id = tests.id('safety');
select
  tests.assessment('best', 'safety', 'safety/1', '{"passing_percentage": 50, "weight": 1}'),
  tests.assessment('latest', 'safety', 'safety/1', '{"passing_percentage": 50, "weight": 2, "grading_method": "latest"}'),
  tests.assessment('average', 'safety', null, '{"weight": 0.333333, "grading_method": "average"}'),
  tests.assessment('extra', 'safety', null, '{"weight": 0, "is_mandatory": false, "passing_percentage": 100}');
-- Ten true_false questions each: so many right ones, so many tens of percent.
select tests.question(a || n, a, 'true_false', '{}', '{"correct": true}') from unnest(array['best', 'latest', 'average', 'extra']) a, generate_series(1, 10) n;
select tests.republish('safety');
select tests.enrollment(who, 'safety') from unnest(array['dora', 'sid', 'eve', 'kim', 'lea']) as who;

create function tests.take(who text, assessment text, tens integer) returns text language plpgsql as $$
declare
  v_attempt uuid;
  v_receipt lms.attempt_receipt;
begin
  perform tests.be(who);
  v_attempt := (lms.start_attempt(tests.id(assessment))).id;
  select * into v_receipt from lms.submit_attempt(v_attempt, (select jsonb_object_agg(tests.id(assessment || n), true) from generate_series(1, tens) n));
  perform tests.as_owner();
  return trim_scale(v_receipt.percentage)::text;
exception when others then
  perform tests.as_owner();
  return tests.error_of(format('select lms.start_attempt(%L)', tests.id(assessment)));
end
$$;
create function tests.call(who text, statement text) returns text language plpgsql as $$
declare
  v_result text;
begin
  perform tests.be(who);
  v_result := tests.error_of(statement);
  perform tests.as_owner();
  return v_result;
end
$$;
create function tests.counts(who text, assessment text) returns text language sql as $$
  select concat_ws(' ', trim_scale(p.percentage), p.attempts_count, case when p.passed_at is not null then 'passed' end)
  from lms.assessment_results p where p.enrollment_id = tests.id(who || ' takes safety') and p.assessment_id = tests.id(assessment)
$$;
create function tests.grade_of(who text) returns text language sql as $$
  select concat_ws(' ', tests.standing(who, 'safety'), e.final_grade) from lms.enrollments e where e.id = tests.id(who || ' takes safety')
$$;
create function tests.lesson_of(who text) returns text language sql as $$
  select trim_scale(progress_percentage)::text from lms.lesson_progress where user_id = tests.id(who) and lesson_id = tests.id('safety/1')
$$;

-- =====================================================================================================
-- Which score counts
-- =====================================================================================================

select is(tests.grade_of('dora'), 'enrolled 0/5 0.00', 'two lessons and three mandatory assessments; no grade before anything is taken');
select is(tests.take('dora', 'best', 4), '40', 'a first try');
select is(tests.counts('dora', 'best'), '40 1', 'counts, and is not enough');
select is(tests.take('dora', 'best', 7), '70', 'a second try');
select is(tests.take('dora', 'best', 3), '30', 'a third one');
select is(tests.counts('dora', 'best'), '70 3 passed', 'best: the best one');
select is(tests.lesson_of('dora'), '50', 'the lesson has another one');
select is(tests.call('dora', format('select lms.complete_lesson(%L)', tests.id('safety/1'))), '409 evidence_required', 'INV-P3: and is not completed by saying so');
select is(tests.grade_of('dora'), 'in_progress 1/5 20.00 21.00', 'what was not taken counts 0: 70 / 3.333333');
select is(tests.take('dora', 'latest', 9), '90', 'of the other one');
select is(tests.lesson_of('dora'), '100', 'the lesson is completed by both');
select is(tests.grade_of('dora'), 'in_progress 3/5 60.00 75.00', 'which is an item, too: 250 / 3.333333 is 75.0000075');
select is(tests.take('dora', 'latest', 2), '20', 'trying again');
select is(tests.counts('dora', 'latest'), '20 2 passed', 'latest: the latest one; what was passed stays passed');
select is(tests.grade_of('dora'), 'in_progress 3/5 60.00 33.00', 'INV-P1: no item is lost, the grade follows');
select is(tests.take('dora', 'average', 10), '100', 'average');
select is(tests.take('dora', 'average', 5), '50', 'of');
select is(tests.take('dora', 'average', 5), '50', 'three');
select is(tests.counts('dora', 'average'), '66.66 3 passed', 'cut off, and handed in is passed where nothing has to be reached');
select is(tests.grade_of('dora'), 'in_progress 4/5 80.00 39.66', '(70 + 40 + 0.333333 * 66.66) / 3.333333 is 39.666');
select is(tests.take('dora', 'extra', 10), '100', 'what has no weight');
select is(tests.grade_of('dora'), 'in_progress 4/5 80.00 39.66', 'counts for nothing');
select is(tests.call('dora', format('select lms.complete_lesson(%L)', tests.id('safety/2'))), 'none', 'the last item');
select is(tests.grade_of('dora'), 'in_progress 5/5 100.00 39.66', 'INV-P2: all done, but the grade is missed');
select is(tests.take('dora', 'latest', 6), '60', 'better');
select is(tests.grade_of('dora'), 'completed 5/5 100.00 63.66', 'completes it');
select is(tests.take('dora', 'latest', 10), '409 not_startable', 'and its grade stands');

-- =====================================================================================================
-- What staff corrects
-- =====================================================================================================

create function tests.overriding(who text, assessment text, percentage numeric) returns text language sql as $$
  select tests.call('ines', format('select lms.override_grade(%L, %L, %L)', (
    select t.id from lms.assessment_attempts t where t.user_id = tests.id(who) and t.assessment_id = tests.id(assessment) order by t.number desc limit 1
  ), percentage, 'So.'))
$$;
select is(tests.overriding('dora', 'latest', 0), 'none', 'of a completed cycle');
select is(tests.grade_of('dora'), 'completed 5/5 100.00 27.66', 'the grade is corrected, the cycle stays completed');
select is(tests.counts('dora', 'latest'), '0 3 passed', 'with what completed it');
select is(tests.lesson_of('dora'), '100', 'the lesson as well');
select is(tests.call('ines', format('select lms.override_grade(%L, 0, %L)', (select t.id from lms.assessment_attempts t where t.user_id = tests.id('dora') and t.assessment_id = tests.id('best') and t.number = 2), 'So.')), 'none', 'also where no attempt passes any more');
select is(tests.counts('dora', 'best') || ', ' || tests.grade_of('dora'), '40 3 passed, completed 5/5 100.00 18.66', 'it stays completed');

select tests.take('sid', 'best', 10), tests.take('sid', 'latest', 10);
select is(tests.grade_of('sid') || ' ' || tests.lesson_of('sid'), 'in_progress 3/5 60.00 90.00 100', 'of an open one');
select is(tests.overriding('sid', 'latest', 10), 'none', 'staff takes a pass away');
select is(tests.grade_of('sid') || ' ' || tests.lesson_of('sid'), 'in_progress 1/5 20.00 36.00 50', 'the assessment and the lesson go with it');
select is((select completed_at from lms.lesson_progress where user_id = tests.id('sid') and lesson_id = tests.id('safety/1')), null, 'altogether');
select is(tests.overriding('sid', 'latest', 50), 'none', 'and gives it back');
select is(tests.grade_of('sid') || ' ' || tests.lesson_of('sid'), 'in_progress 3/5 60.00 60.00 100', 'they come back');
-- What staff has given by hand is not taken by scores.
select is(tests.call('boss', format('select lms.correct_progress(%L, %L, 100, %L)', tests.id('eve takes safety'), tests.id('safety/1'), 'Knows it.')), 'none', 'a lesson is given');
select tests.take('eve', 'best', 6);
select is(tests.overriding('eve', 'best', 0), 'none', 'a score is taken');
select is(tests.grade_of('eve') || ' ' || tests.lesson_of('eve'), 'in_progress 1/5 20.00 0.00 100', 'the lesson stays given');

-- A grade that arrives when its learner has paused, left, or run out of time.
select is(tests.take('kim', 'best', 2), '20', 'a score');
select is(tests.call('kim', format('select lms.set_enrollment_status(%L, %L)', tests.id('kim takes safety'), 'paused')), 'none', 'a pause');
select is(tests.overriding('kim', 'best', 80), 'none', 'the grade arrives');
select is(tests.grade_of('kim') || ' ' || tests.lesson_of('kim'), 'paused 1/5 20.00 24.00 50', 'and counts');
select is(tests.call('kim', format('select lms.set_enrollment_status(%L, %L)', tests.id('kim takes safety'), 'resumed')), 'none', 'resumed');
select is(tests.grade_of('kim'), 'in_progress 1/5 20.00 24.00', 'as it was');
update lms.enrollments set enrolled_at = now() - interval '1 day', expires_at = now() - interval '1 minute' where id = tests.id('kim takes safety');
select is(tests.overriding('kim', 'best', 40), 'none', 'after its time');
select is(tests.grade_of('kim') || ' ' || tests.lesson_of('kim'), 'in_progress 0/5 0.00 12.00 0', 'all the same');
select is(tests.call('kim', format('update lms.lesson_progress set progress_percentage = 50 where lesson_id = %L', tests.id('safety/1'))), '409 enrollment_expired', 'but clients record nothing any more');
update lms.enrollments set expires_at = null where id = tests.id('kim takes safety');
select is(tests.call('kim', format('select lms.set_enrollment_status(%L, %L)', tests.id('kim takes safety'), 'dropped')), 'none', 'who has left');
select is(tests.overriding('kim', 'best', 100), 'none', 'is graded');
select is(tests.grade_of('kim'), 'dropped 1/5 20.00 30.00', 'and stays away');

-- =====================================================================================================
-- Counted again
-- =====================================================================================================

select is(ops.recount_progress(), 0::bigint, 'counting again finds no difference');
update lms.assessment_progress set percentage = 1, passed_at = null, completed_at = null where user_id = tests.id('sid') and assessment_id = tests.id('best');
update lms.enrollments set items_done = 0, final_grade = 1 where id = tests.id('sid takes safety');
select cmp_ok(ops.recount_progress(tests.id('safety')), '>=', 1::bigint, 'and mends what was broken by hand');
select is(tests.grade_of('sid'), 'in_progress 3/5 60.00 60.00', 'all of it');
select is(ops.recount_progress(), 0::bigint, 'once');

-- What was saved in time counts, also for the lesson, when it is handed in after the end.
select tests.enrollment('zed', 'safety');
select tests.take('zed', 'best', 10);
select is(tests.lesson_of('zed'), '50', 'half of a lesson');
select tests.as('zed');
select (lms.start_attempt(tests.id('latest'))).id as attempt \gset
select (lms.save_answers(:'attempt', (select jsonb_object_agg(tests.id('latest' || n), true) from generate_series(1, 10) n))).saved;
select tests.as_owner();
update lms.enrollments set enrolled_at = now() - interval '1 day', expires_at = now() where id = tests.id('zed takes safety');
select is(tests.call('zed', format('select lms.submit_attempt(%L)', :'attempt')), 'none', 'handed in after the end');
select is(tests.grade_of('zed') || ' ' || tests.lesson_of('zed'), 'in_progress 3/5 60.00 90.00 100', 'counts in full');
select tests.enrollment('zoe', 'safety');
select tests.take('zoe', 'best', 10), tests.take('zoe', 'latest', 9), tests.take('zoe', 'latest', 2);
select tests.call('zoe', format('select lms.complete_lesson(%L)', tests.id('safety/2')));
select is(tests.grade_of('zoe'), 'in_progress 4/5 80.00 42.00', 'by the version that is taken, too little');

-- Another version counts otherwise.
update lms.assessments set grading_method = 'best', weight = 1 where id = tests.id('latest');
update lms.assessments set is_mandatory = false where id = tests.id('average');
select tests.republish('safety');
select tests.take('sid', 'latest', 4);
select is(tests.counts('sid', 'latest') || ', ' || tests.grade_of('sid'), '40 2 passed, in_progress 3/5 60.00 54.00', 'by its own version');
select tests.as('ines');
select is((select concat_ws(' ', p.items_done_after, p.items_total_after, p.completes) from lms.preview_enrollment_migration(tests.id('safety'), 'move') p where p.user_id = tests.id('sid')), '3 4 f', 'looking ahead');
select is((select concat_ws(' ', p.items_done_after, p.items_total_after, p.completes) from lms.preview_enrollment_migration(tests.id('safety'), 'move') p where p.user_id = tests.id('zoe')), '4 4 t', 'who would complete, by the grade that the other version gives');
select lives_ok(format('select lms.migrate_enrollments(%L, %L)', tests.id('safety'), 'move'), 'moved');
select tests.as_owner();
select is(tests.grade_of('zoe'), 'completed 4/4 100.00 81.42', 'does');
select is(tests.counts('sid', 'latest') || ', ' || tests.grade_of('sid'), '50 2 passed, in_progress 3/4 75.00 64.28', 'by the new one: (100 + 50) / 2.333333');
select is(ops.recount_progress(), 0::bigint, 'and nothing differs');
select is(tests.call('sid', format('select lms.complete_lesson(%L)', tests.id('safety/2'))), 'none', 'the last item');
select is(tests.grade_of('sid'), 'completed 4/4 100.00 64.28', 'completes it');

-- =====================================================================================================
-- Who sees it
-- =====================================================================================================

create function tests.book(who text) returns text language plpgsql as $$
declare
  v_result text;
begin
  perform tests.be(who);
  begin
    select coalesce(string_agg(d.name || ':' || coalesce(b.final_grade::text, '-') || ':' || (select count(*) from unnest(b.entries) e where e.percentage is not null), ' ' order by d.name), 'none') into v_result
    from lms.get_gradebook(tests.id('safety')) b join unnest(array['dora', 'sid', 'eve', 'kim', 'lea']) as d (name) on tests.id(d.name) = b.user_id;
  exception when others then
    v_result := tests.error_of(format('select * from lms.get_gradebook(%L)', tests.id('safety')));
  end;
  perform tests.as_owner();
  return v_result;
end
$$;
select is(tests.book('ines'), 'dora:18.66:4 eve:0.00:1 kim:30.00:1 lea:-:0 sid:64.28:2', 'staff sees the gradebook of the course');
select is(tests.book('hanna'), 'dora:18.66:4 eve:0.00:1 kim:30.00:1 lea:-:0 sid:64.28:2', 'so does who follows everybody');
select is(tests.book('ulla'), 'dora:18.66:4', 'who follows a unit sees its people');
select is(tests.book('dora'), 'dora:18.66:4', 'a learner sees their own');
select is(tests.book('ivan'), 'none', 'others see nobody');
select is(tests.book('paula'), '404 course_not_found', 'strangers not even the course');
select is(tests.try('ines', format('select * from lms.get_gradebook(%L, 2)', tests.id('safety'))), '2', 'by pages');
select is(
  tests.rows_of(format('select * from lms.get_gradebook(%L, 100, (select e.id from lms.enrollments e where e.course_id = %L order by e.id offset 1 limit 1))', tests.id('safety'), tests.id('safety'))),
  5::bigint, 'the next page'
);
select is(tests.try('ines', format('select * from lms.get_gradebook(%L, 0)', tests.id('safety'))), '422 invalid_limit', 'of a size');
select is(tests.sees_as(who, 'lms.assessment_results'), seen, who || ' sees results: ' || seen)
from (values ('ines', '12'), ('hanna', '12'), ('ulla', '4'), ('dora', '4'), ('lea', '0'), ('ivan', '0'), ('paula', '0')) as c (who, seen);
select is(tests.try('dora', 'update lms.assessment_results set percentage = 100'), '42501', 'nobody writes results');
select is(tests.try('dora', format('update lms.enrollments set final_grade = 100 where id = %L', tests.id('dora takes safety'))), '42501', 'nor grades');

-- Exact, where a rounded quotient would reach what is missed.
create function tests.weighted(variadic pairs numeric[]) returns numeric language plpgsql as $$
declare
  v_grade numeric;
begin
  delete from lms.assessment_progress where enrollment_id = tests.id('lea takes exact');
  insert into lms.assessment_progress (enrollment_id, assessment_id, tenant_id, course_id, user_id, percentage)
  select tests.id('lea takes exact'), tests.id('exact' || n), tests.id('works'), tests.id('exact'), tests.id('lea'), pairs[n] from generate_series(1, 3) n;
  select private.weighted_grade(e.id, e.version_id) into v_grade from lms.enrollments e where e.id = tests.id('lea takes exact');
  return v_grade;
end
$$;
select tests.course('exact', 'works', 'ines', 1);
select tests.assessment('exact' || n, 'exact', null, format('{"weight": %s}', w)::jsonb) from (values (1, '999999.999999'), (2, '0.000001'), (3, '1000000')) as c (n, w);
select tests.question('exact-q' || n, 'exact' || n, 'true_false', '{}', '{"correct": true}') from generate_series(1, 3) n;
select tests.republish('exact');
select tests.enrollment('lea', 'exact');
select is(tests.weighted(100, 0, 100), 99.99, 'a millionth of a millionth short of 100 is not 100');
select is(tests.weighted(100, 100, 100), 100.00, 'and 100 is');
select is(tests.weighted(50, 49.99, 50), 49.99, 'nor is it 50');

select * from finish();
rollback;
