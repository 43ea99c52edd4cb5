-- Marking: what waits, who grades it, overrides, held grades, and keys that were wrong.

begin;
\ir ../helpers.sql
\ir ../assessments.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press');
select tests.unit('north', 'works'), tests.unit('south', 'works');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'), tests.member('alan', 'works', 'auditor'),
  tests.member('ines', 'works', 'instructor'), tests.member('ivan', 'works', 'instructor'),
  tests.member('dora', 'works', 'learner', 'north'), tests.member('sid', 'works', 'learner', 'south'), tests.member('eve', 'works'),
  tests.member('paula', 'press', 'tenant_admin');
select tests.custom_role('works', 'marker', array['assessments.grade']);
select tests.member('mark', 'works', 'learner'), tests.member('nora', 'works', 'learner');
select tests.grant_role('mark', 'works', 'marker', 'north'), tests.grant_role('nora', 'works', 'marker');
select tests.course('safety', 'works', 'ines', 2), tests.course('other', 'works', 'ivan', 1);
update lms.lessons set completion_rule = 'assessment' where id = tests.id('safety/1');
select
  tests.assessment('quiz', 'safety', 'safety/1', '{"passing_percentage": 50, "weight": 1}'),
  tests.assessment('essay', 'safety', null, '{"passing_percentage": 60, "weight": 3, "holds_grades": true, "is_mandatory": true}'),
  tests.assessment('poll', 'safety', null, '{"kind": "survey", "weight": 0, "is_mandatory": false}');
select
  tests.question('q1', 'quiz', 'single', '{"options": [{"id": "a", "text": "One"}, {"id": "b", "text": "Two"}, {"id": "c", "text": "Three"}]}', '{"correct": "b"}', 3),
  tests.question('q2', 'quiz', 'true_false', '{}', '{"correct": true}', 1, 'partial_negative'),
  tests.question('e1', 'essay', 'essay', '{}', '{"rubric": [{"id": "r1", "criterion": "Clear", "points": 2}, {"id": "r2", "criterion": "True", "points": 1}], "model_answer": "canary-of-the-model"}', 5),
  tests.question('e2', 'essay', 'true_false', '{}', '{"correct": true}', 5),
  tests.question('e3', 'essay', 'essay', '{}', null, 1),
  tests.question('s1', 'poll', 'true_false', '{}', '{"correct": true}');
select tests.republish('safety');
select tests.enrollment(who, 'safety') from unnest(array['dora', 'sid', 'eve', 'mark']) as who;

create function tests.attempt_of(who text, assessment text) returns uuid language sql as $$
  select t.id from lms.assessment_attempts t where t.user_id = tests.id(who) and t.assessment_id = tests.id(assessment) order by t.number desc limit 1
$$;
create function tests.hand_in(who text, assessment text, variadic pairs text[]) returns text language plpgsql as $$
declare
  v_receipt lms.attempt_receipt;
begin
  perform tests.be(who);
  select * into v_receipt from lms.submit_attempt(
    (lms.start_attempt(tests.id(assessment))).id,
    (select jsonb_object_agg(tests.id(pairs[n]), pairs[n + 1]::jsonb) from generate_series(1, cardinality(pairs), 2) n)
  );
  perform tests.as_owner();
  return concat_ws(' ', v_receipt.status, v_receipt.percentage, case when v_receipt.passed then 'passed' end);
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
create function tests.grading(learner text, assessment text, question text, points numeric, rubric jsonb default null, feedback text default null) returns text language sql as $$
  select format('select lms.grade_answer(%L, %L, %L, %L, %L)', tests.attempt_of(learner, assessment), tests.id(question), points, feedback, rubric)
$$;
create function tests.overriding(learner text, assessment text, percentage numeric, reason text default 'So.') returns text language sql as $$
  select format('select lms.override_grade(%L, %L, %L)', tests.attempt_of(learner, assessment), percentage, reason)
$$;
create function tests.score(who text, assessment text) returns text language sql as $$
  select concat_ws(' ', s.points || '/' || s.max_points, trim_scale(s.percentage), case when s.passed then 'passed' else 'failed' end, s.source, case when s.released_at is null then 'held' end)
  from lms.attempt_scores s where s.attempt_id = tests.attempt_of(who, assessment)
$$;
create function tests.grade_of(who text) returns text language sql as $$
  select concat_ws(' ', tests.standing(who, 'safety'), e.final_grade) from lms.enrollments e where e.id = tests.id(who || ' takes safety')
$$;

select is(tests.hand_in('dora', 'essay', 'e1', '{"text": "Because."}', 'e2', 'true', 'e3', '{"text": "So."}'), 'submitted', 'an essay waits');
select is(tests.hand_in('sid', 'essay', 'e1', '{"text": "Why?"}', 'e2', 'false'), 'submitted', 'so does another one');
select is(tests.hand_in('mark', 'essay', 'e1', '{"text": "Mine."}'), 'submitted', 'and that of a grader');

-- =====================================================================================================
-- The queue
-- =====================================================================================================

create function tests.queue(who text, arguments text default '') returns text language plpgsql as $$
declare
  v_result text;
begin
  perform tests.be(who);
  execute format(
    $s$ select coalesce(string_agg(coalesce(d.name, '?') || ':' || q.prompt, ' ' order by d.name, q.prompt), '-')
        from lms.get_grading_queue(%s) q left join (values ('dora'), ('sid'), ('mark')) as d (name) on tests.id(d.name) = q.user_id $s$, arguments
  ) into v_result;
  perform tests.as_owner();
  return replace(v_result, 'Prompt of ', '');
exception when insufficient_privilege then
  perform tests.as_owner();
  return '42501';
end
$$;
select is(tests.queue('ines'), 'dora:e1 dora:e3 mark:e1 sid:e1', 'staff sees what waits');
select is(tests.queue('boss'), 'dora:e1 dora:e3 mark:e1 sid:e1', 'so do administrators');
select is(tests.queue('nora'), 'dora:e1 dora:e3 mark:e1 sid:e1', 'and graders');
select is(tests.queue('mark'), 'dora:e1 dora:e3', 'a grader of a unit sees that of the unit, and never their own');
select is(tests.queue(who), '-', who || ' sees nothing of it') from unnest(array['dora', 'eve', 'ivan', 'paula']) as who;
select is(tests.queue('anonymous'), '42501', 'nor does a stranger');
select is(tests.queue('ines', 'p_limit => 1'), 'dora:e1', 'a page of it');
select is(tests.queue('ines', format('p_after_attempt_id => %L, p_after_question_id => %L', tests.attempt_of('dora', 'essay'), tests.id('e1'))), 'dora:e3 mark:e1 sid:e1', 'the next page');
select is(tests.queue('ines', format('p_after_attempt_id => %L', tests.attempt_of('dora', 'essay'))), 'mark:e1 sid:e1', 'or after an attempt');
select is(tests.try('ines', 'select * from lms.get_grading_queue(p_limit => 1001)'), '422 invalid_limit', 'pages are limited');
select is(tests.queue('ines', format('p_assessment_id => %L', tests.id('quiz'))), '-', 'of one assessment');

create function tests.allocating(graders text[], again boolean default false) returns text language sql as $$
  select format('select lms.allocate_grading(%L, %L, %L)', tests.id('essay'), array(select tests.id(g) from unnest(graders) g), again)
$$;
select is(tests.try('dora', tests.allocating('{ines}')), '42501', 'learners allocate nothing');
select is(tests.try('paula', tests.allocating('{ines}')), '404 assessment_not_found', 'for strangers there is nothing to allocate');
select is(tests.try('ines', tests.allocating('{ines,dora}')), '422 not_a_grader', 'nothing is allocated to those who may not grade');
select is(tests.try('ines', tests.allocating('{ines,paula}')), '422 not_a_grader', 'nor to strangers');
select is(tests.try('ines', tests.allocating('{ines,mark}')), '422 not_a_grader', 'nor to those who grade in one unit only');
select is(tests.try('ines', tests.allocating('{}')), '422 invalid_graders', 'to nobody neither');
select is(tests.call('ines', tests.allocating('{ines,nora}')), 'none', 'staff allocates');
select is(
  (select array_agg(n order by n) from (select count(*) as n from lms.grading_assignments group by grader_id) g), array[2, 2]::bigint[], 'evenly'
);
select is((select count(distinct grader_id) from lms.grading_assignments where attempt_id = tests.attempt_of('dora', 'essay')), 1::bigint, 'an attempt with one grader');
select is(
  (select string_agg(distinct tests.queue(w, 'p_is_mine => true'), ' | ') from unnest(array['dora']) w), '-', 'a learner has nothing to grade'
);
select isnt(tests.queue('nora', 'p_is_mine => true'), '-', 'graders see what is theirs');
select is(tests.call('ines', tests.allocating('{nora}', true)), 'none', 'allocated anew');
select is(tests.queue('ines', 'p_is_mine => true'), '-', 'all of it to another one');

-- =====================================================================================================
-- Grades by hand
-- =====================================================================================================

select is(tests.try(who, tests.grading('dora', 'essay', 'e1', 3)), result, who || ' grades: ' || result)
from (values
  ('dora', '403 own_attempt'), ('sid', '404 attempt_not_found'), ('eve', '404 attempt_not_found'), ('ivan', '404 attempt_not_found'),
  ('paula', '404 attempt_not_found'), ('anonymous', '42501'), ('ines', '1'), ('boss', '1'), ('nora', '1'), ('mark', '1'), ('service', '1'),
  ('alan', '404 attempt_not_found')
) as c (who, result);
select is(tests.try('mark', tests.grading('sid', 'essay', 'e1', 3)), '404 attempt_not_found', 'of another unit there is nothing to grade');
select is(tests.try('mark', tests.grading('mark', 'essay', 'e1', 5)), '403 own_attempt', 'nobody grades themselves');
select is(tests.try('mark', tests.overriding('mark', 'essay', 100)), '403 own_attempt', 'nor overrides their own grade');
select is(tests.try('ines', tests.grading('dora', 'essay', 'e1', p)), '422 invalid_points', 'points are what they may be: ' || coalesce(p::text, 'null'))
from unnest(array[-1, 5.01, 0.001, 'NaN', null]::numeric[]) as p;
select is(tests.try('ines', tests.grading('dora', 'essay', 'q1', 1)), '404 question_not_found', 'only what was asked');
select is(tests.try('ines', tests.grading('dora', 'essay', 'e1', p, r::jsonb)), '422 invalid_rubric', 'a rubric is as its criteria are: ' || r)
from (values (null, '{"r1": 2}'), (null, '{"r1": 2.5, "r2": 0}'), (null, '{"r1": 2, "r2": 1, "r3": 1}'), (null, '[]'), (null, '{"r1": "x", "r2": 1}'), (null, '{"r1": -1, "r2": 1}'), (1, '{"r1": 1, "r2": 1}'), (null, '7'), (null, '{"r1": 0.001, "r2": 1}')) as c (p, r);
select is(tests.try('ines', tests.grading('dora', 'essay', 'e3', null, '{}')), '422 invalid_rubric', 'where there is none, none can be given');
select is(tests.try('ines', tests.grading('dora', 'essay', 'e3', 1, null, repeat('x', 20001))), '422 invalid_feedback', 'feedback is limited');

select is(tests.call('ines', tests.grading('dora', 'essay', 'e1', null, '{"r1": 1, "r2": 1}', 'Good')), 'none', 'graded by its rubric');
select is(
  (select points || ' ' || source || ' ' || feedback || ' ' || (graded_by = tests.id('ines')) from lms.answer_scores where attempt_id = tests.attempt_of('dora', 'essay') and question_id = tests.id('e1')),
  '3.33 grader Good true', 'two of three of five points, and it is known by whom'
);
select is(tests.score('dora', 'essay'), null, 'no score while another answer waits');
select is(tests.call('boss', tests.grading('dora', 'essay', 'e3', 0.5)), 'none', 'somebody else grades the other one');
select is(tests.score('dora', 'essay'), '8.83/11.00 80.27 passed grader held', 'the score is cut off, and held back');
select is((select status from lms.assessment_attempts where id = tests.attempt_of('dora', 'essay')), 'graded', 'nothing waits any more');
select is(tests.grade_of('dora'), 'in_progress 0/4 0.00 0.00', 'held scores complete nothing');
select is(tests.sees_as('dora', 'lms.attempt_scores'), '0', 'and the learner does not see them');
select is(tests.sees_as('dora', 'lms.answer_scores'), '0', 'nor the points');
select is((select percentage from lms.assessment_progress where enrollment_id = tests.id('dora takes safety') and assessment_id = tests.id('essay')), null, 'nor in the standing');
select is(tests.call('nora', tests.grading('dora', 'essay', 'e1', 4)), 'none', 'graded again');
select is(
  (select explanation -> 'before' ->> 'points' from lms.answer_scores where attempt_id = tests.attempt_of('dora', 'essay') and question_id = tests.id('e1')), '3.33',
  'INV-A4: it says what it was before'
);
select is(tests.call('ines', tests.grading('dora', 'essay', 'e2', 2)), 'none', 'also what the key had graded');
select is(tests.score('dora', 'essay'), '6.50/11.00 59.09 failed grader held', 'the score follows');
select is(tests.call('ines', tests.grading('dora', 'essay', 'e2', 5)), 'none', 'and back');
select is(tests.score('dora', 'essay'), '9.50/11.00 86.36 passed grader held', 'the score follows again');

select is(tests.call('dora', format('select lms.start_attempt(%L)', tests.id('quiz'))), 'none', 'an attempt is begun');
select is(tests.try('ines', tests.grading('dora', 'quiz', 'q1', 1)), '409 attempt_not_submitted', 'what is under way is not graded');
select is(tests.try('ines', tests.overriding('dora', 'quiz', 1)), '409 attempt_not_submitted', 'nor overridden');

-- What a grader sees.
create function tests.task(who text, learner text, question text) returns text language plpgsql as $$
declare
  v_result text;
begin
  perform tests.be(who);
  begin
    select concat_ws(' ', t.response::text, t.key ->> 'model_answer', t.given, t.source) into v_result
    from lms.get_grading_task(tests.attempt_of(learner, 'essay'), tests.id(question)) t;
  exception when others then
    v_result := tests.error_of(format('select lms.get_grading_task(%L, %L)', tests.attempt_of(learner, 'essay'), tests.id(question)));
  end;
  perform tests.as_owner();
  return v_result;
end
$$;
select is(tests.task('ines', 'dora', 'e1'), '{"text": "Because."} canary-of-the-model 4.00 grader', 'staff sees answer, key and points');
select is(tests.task('nora', 'dora', 'e1'), '{"text": "Because."} canary-of-the-model 4.00 grader', 'so do graders');
select is(tests.task('mark', 'dora', 'e1'), '{"text": "Because."} 4.00 grader', 'INV-A1: not the key while they take the course themselves');
select is(tests.task('dora', 'dora', 'e1'), '403 own_attempt', 'its learner does not');
select is(tests.task('mark', 'mark', 'e1'), '403 own_attempt', 'nor a grader of their own');
select is(tests.task(who, 'dora', 'e1'), '404 attempt_not_found', 'nor does ' || who) from unnest(array['sid', 'ivan', 'paula']) as who;

-- =====================================================================================================
-- Releasing
-- =====================================================================================================

create function tests.releasing(learners text[] default null) returns text language sql as $$
  select format('select lms.release_grades(%L, %L)', tests.id('essay'), case when learners is not null then array(select tests.attempt_of(l, 'essay') from unnest(learners) l) end)
$$;
select is(tests.try(who, tests.releasing()), result, who || ' releases: ' || result)
from (values ('dora', '42501'), ('sid', '42501'), ('alan', '404 assessment_not_found'), ('ivan', '404 assessment_not_found'), ('paula', '404 assessment_not_found'), ('anonymous', '42501'), ('ines', '1'), ('nora', '1'), ('mark', '1')) as c (who, result);
select is(tests.call('ines', tests.releasing('{sid}')), 'none', 'those named');
select is(tests.score('dora', 'essay'), '9.50/11.00 86.36 passed grader held', 'others stay held back');
select is(tests.call('mark', tests.releasing()), 'none', 'by a grader of the unit');
select is(tests.score('dora', 'essay'), '9.50/11.00 86.36 passed grader', 'released');
select is(tests.sees_as('dora', 'lms.attempt_scores'), '1', 'and seen');
select is(tests.grade_of('dora'), 'in_progress 1/4 25.00 64.77', 'and counted: three quarters of 86.36');
select is(tests.call('ines', tests.releasing()), 'none', 'again, nothing happens');
select is(tests.grade_of('dora'), 'in_progress 1/4 25.00 64.77', 'nor is it counted twice');

-- =====================================================================================================
-- Overrides
-- =====================================================================================================

select is(tests.try(who, tests.overriding('dora', 'essay', 100)), result, who || ' overrides: ' || result)
from (values ('dora', '403 own_attempt'), ('sid', '404 attempt_not_found'), ('ivan', '404 attempt_not_found'), ('paula', '404 attempt_not_found'), ('anonymous', '42501'), ('ines', '1'), ('boss', '1'), ('mark', '1')) as c (who, result);
select is(tests.try('ines', tests.overriding('dora', 'essay', p)), '422 invalid_percentage', 'a percentage is one: ' || coalesce(p::text, 'null')) from unnest(array[-1, 100.01, 99.999, 'NaN', null]::numeric[]) as p;
select is(tests.try('ines', tests.overriding('dora', 'essay', 50, r)), '422 invalid_reason', 'a reason is given') from unnest(array['', ' ', null, repeat('x', 1001)]) as r;
select is(tests.call('ines', tests.overriding('dora', 'essay', 0, 'Copied from sid.')), 'none', 'overridden');
select is(tests.score('dora', 'essay'), '9.50/11.00 0 failed override', 'it stands, and the points are still told');
select is(tests.grade_of('dora'), 'in_progress 0/4 0.00 0.00', 'and takes the pass away');
select is(tests.call('ines', tests.overriding('dora', 'essay', 0, 'Copied from sid.')), 'none', 'again');
select is((select count(*) from lms.grade_overrides), 1::bigint, 'which is one override');
select is(tests.call('boss', tests.overriding('dora', 'essay', 75, 'No, sid copied.')), 'none', 'and overridden again');
select is(tests.grade_of('dora'), 'in_progress 1/4 25.00 56.25', 'which gives it back');
select is(
  (select string_agg(concat_ws('>', trim_scale(old_percentage), trim_scale(new_percentage)) || ' ' || (overridden_by = tests.id('ines')), ', ' order by id) from lms.grade_overrides),
  '86.36>0 true, 0>75 false', 'INV-A4: all of it stays on record'
);
select is(tests.call('ines', tests.grading('dora', 'essay', 'e1', 0)), 'none', 'its answers may get other points');
select is(tests.score('dora', 'essay'), '5.50/11.00 75 passed override', 'the override stands');
select is(tests.try('ines', $$ update lms.grade_overrides set reason = 'x' $$), '42501', 'nobody rewrites history');
select is(tests.try('ines', $$ delete from lms.grade_overrides $$), '42501', 'nor removes it');
select is(tests.call('ines', tests.overriding('sid', 'essay', 61)), 'none', 'what waits can be overridden');
select is(tests.score('sid', 'essay'), '0.00/11.00 61 passed override held', 'and waits for its release');
select is(tests.queue('ines'), 'mark:e1', 'nor does it wait any more');

-- =====================================================================================================
-- A key was wrong
-- =====================================================================================================

select is(tests.hand_in('dora', 'quiz', 'q1', '"c"', 'q2', 'true'), 'graded 25.00', 'by the wrong key, it is wrong');
select is(tests.hand_in('sid', 'quiz', 'q1', '"b"', 'q2', 'true'), 'graded 100.00 passed', 'by the wrong key, it is right');
select is((select progress_percentage::numeric from lms.lesson_progress where user_id = tests.id('sid') and lesson_id = tests.id('safety/1')), 100::numeric, 'which completes its lesson');
select is(tests.grade_of('sid'), 'in_progress 2/4 50.00 25.00', 'and the assessment: two items');
select is(tests.call('eve', format('select lms.start_attempt(%L)', tests.id('quiz'))), 'none', 'another one is under way');
select is(tests.hand_in('mark', 'quiz', 'q1', '"c"', 'q2', 'false'), 'graded 0.00', 'and one is worth less than nothing, which is 0');

create function tests.correcting(question text, key jsonb, reason text default 'A typo.') returns text language sql as $$
  select format('select lms.correct_answer_key(%L, %L, %L, %L)', tests.id(question), key, 'It is three.', reason)
$$;
create function tests.regrading(question text) returns text language sql as $$
  select format('select lms.regrade(%L, %L)', tests.id(question), 'A typo.')
$$;
select is(tests.try(who, tests.correcting('q1', '{"correct": "c"}')), result, who || ' corrects a key: ' || result)
from (values ('dora', '404 question_not_found'), ('nora', '404 question_not_found'), ('ivan', '404 question_not_found'), ('paula', '404 question_not_found'), ('anonymous', '42501'), ('ines', '1'), ('boss', '1')) as c (who, result);
select is(tests.try(who, tests.regrading('q1')), result, who || ' regrades: ' || result)
from (values ('dora', '404 question_not_found'), ('nora', '404 question_not_found'), ('ivan', '404 question_not_found'), ('paula', '404 question_not_found'), ('anonymous', '42501'), ('ines', '1')) as c (who, result);
select is(tests.try(who, format('select lms.preview_regrade(%L)', tests.id('q1'))), result, who || ' looks ahead: ' || result)
from (values ('dora', '404 question_not_found'), ('nora', '404 question_not_found'), ('anonymous', '42501'), ('ines', '0')) as c (who, result);
select is(tests.try('ines', tests.correcting('q1', '{"correct": "z"}')), '422 invalid_key', 'a key is one to the question');
select is(tests.try('ines', tests.correcting('q1', '{"correct": "c"}', ' ')), '422 invalid_reason', 'with a reason');
select tests.question('unpublished', 'quiz', 'true_false', '{}', '{"correct": true}');
select is(tests.try('ines', tests.correcting('unpublished', '{"correct": false}')), '409 question_not_published', 'of drafts the key is set');

select tests.as('ines');
select is((select c.revisions || ' ' || c.attempts from lms.correct_answer_key(tests.id('q1'), '{"correct": "c"}', 'It is three.', 'A typo.') c), '1 4', 'corrected: four attempts had the old one');
select is((select c.revisions || ' ' || c.attempts from lms.correct_answer_key(tests.id('q1'), '{"correct": "c"}', 'It is three.', 'A typo.') c), '0 4', 'the same again is no correction');
select tests.as_owner();
select is((select key ->> 'correct' from private.answer_keys where question_id = tests.id('q1')), 'c', 'the draft is corrected, too');
select is((select string_agg(key ->> 'correct', '' order by number) from private.key_revisions k join lms.question_revisions r on r.id = k.revision_id where r.question_id = tests.id('q1')), 'bc', 'the old key stays on record');
select is(tests.score('dora', 'quiz'), '1.00/4.00 25 failed auto', 'INV-A3: by itself a correction changes no score');
select tests.as('ines');
select is(
  (select string_agg(concat_ws(' ', p.old_points, p.new_points, trim_scale(p.old_percentage), trim_scale(p.new_percentage), p.old_passed, p.new_passed), ' | ' order by p.old_percentage, p.new_percentage) from lms.preview_regrade(tests.id('q1')) p),
  '0.00 3.00 0 50 f t | 0.00 3.00 25 100 f t | 3.00 0.00 100 25 t f | ', 'a preview says who gains and who loses'
);
select tests.as_owner();
select is(tests.score('dora', 'quiz'), '1.00/4.00 25 failed auto', 'and changes nothing');
select tests.as('ines');
select is((select r.regraded || ' ' || r.changed || ' ' || r.remaining from lms.regrade(tests.id('q1'), 'A typo.') r), '4 3 0', 'regraded');
select is((select r.regraded || ' ' || r.changed || ' ' || r.remaining from lms.regrade(tests.id('q1'), 'A typo.') r), '0 0 0', 'once');
select is((select count(*) from lms.preview_regrade(tests.id('q1'))), 0::bigint, 'nothing is left to regrade');
select tests.as_owner();
select is(tests.score('dora', 'quiz'), '4.00/4.00 100 passed regrade', 'who was right gains');
select is(tests.score('sid', 'quiz'), '1.00/4.00 25 failed regrade', 'who was wrong loses');
select is(tests.score('mark', 'quiz'), '2.00/4.00 50 passed regrade', 'negative credit counts as before');
select is(tests.grade_of('dora'), 'in_progress 3/4 75.00 81.25', 'standing and grade follow up');
select is(tests.grade_of('sid'), 'in_progress 0/4 0.00 6.25', 'and down, the lesson too');
select is(
  (select explanation -> 'before' ->> 'points' || ' ' || (explanation -> 'regraded' ->> 'reason') || ' ' || (graded_by = tests.id('ines')) from lms.answer_scores where attempt_id = tests.attempt_of('dora', 'quiz') and question_id = tests.id('q1')),
  '0.00 A typo. true', 'INV-A4: it says why, by whom, and what it was before'
);
select is(tests.hand_in('eve', 'quiz', 'q1', '"c"'), 'graded 75.00 passed', 'who was under way is graded by the new key');
select is(tests.call('ines', format('select lms.grade_answer(%L, %L, 0)', tests.attempt_of('eve', 'quiz'), tests.id('q1'))), 'none', 'what a person has given');
select is(tests.call('ines', tests.correcting('q1', '{"correct": "a"}')), 'none', 'and the key is corrected again');
select is(tests.call('ines', tests.regrading('q1')), 'none', 'and regraded');
select is(tests.score('eve', 'quiz'), '0.00/4.00 0 failed grader', 'stays as it was given');
select is(tests.score('dora', 'quiz'), '1.00/4.00 25 failed regrade', 'while others follow');
select is(tests.call('ines', tests.correcting('q1', '{"correct": "c"}')), 'none', 'corrected back');
select is(tests.call('ines', tests.regrading('q1')), 'none', 'and regraded');
select is(tests.grade_of('dora'), 'in_progress 3/4 75.00 81.25', 'all is as it was');

-- A corrected key of an overridden attempt, of one that was deleted, of an opinion.
select is(tests.call('ines', tests.correcting('e2', '{"correct": false}')), 'none', 'another key');
select is(tests.call('ines', tests.regrading('e2')), 'none', 'regraded');
select is(tests.score('dora', 'essay'), '5.50/11.00 75 passed override', 'points that a grader gave and percentages that were overridden stay');
select is(tests.score('sid', 'essay'), '5.00/11.00 61 passed override held', 'points by the key follow, the override stays');
select is(tests.hand_in('dora', 'poll', 's1', 'true'), 'graded 100.00 passed', 'an opinion');
select is(tests.call('ines', tests.correcting('s1', '{"correct": false}')), 'none', 'has a key that nobody asks for');
select is(tests.call('ines', tests.regrading('s1')), 'none', 'and is not graded by it');
select is(tests.score('dora', 'poll'), '1.00/1.00 100 passed auto', 'an opinion is not wrong');
select is(tests.call('ines', format('select lms.delete_question(%L)', tests.id('q2'))), 'none', 'deleted in the draft');
select is(tests.call('ines', tests.correcting('q2', '{"correct": false}')), 'none', 'it was asked all the same');
select is((select count(*)::text from private.outdated_attempts(tests.id('q2'))), '4', 'of those who had it');

-- A rubric that comes after the essays.
select is(tests.try('ines', tests.grading('mark', 'essay', 'e3', null, '{"r": 1}')), '422 invalid_rubric', 'there is no rubric yet');
select is(tests.call('ines', tests.correcting('e3', '{"rubric": [{"id": "r", "criterion": "Good", "points": 4}]}')), 'none', 'now there is');
select is(tests.call('ines', tests.regrading('e3')), 'none', 'for what was handed in as well');
select is(tests.call('ines', tests.grading('mark', 'essay', 'e3', null, '{"r": 1}')), 'none', 'and is graded by it');
select is((select points from lms.answer_scores where attempt_id = tests.attempt_of('mark', 'essay') and question_id = tests.id('e3')), 0.25, 'a quarter');
select is((select k.key -> 'rubric' -> 0 ->> 'id' from private.answer_keys k where k.question_id = tests.id('e3')), 'r', 'the draft has it, too');

-- The author of a key who took the course: their attempt is for others to judge.
select tests.enrollment('ines', 'safety');
select tests.hand_in('ines', 'quiz', 'q2', 'true');
select is(tests.try('ines', tests.grading('ines', 'quiz', 'q1', 3)), '403 own_attempt', 'staff does not grade itself');
select is(tests.try('ines', tests.overriding('ines', 'quiz', 100)), '403 own_attempt', 'nor overrides its own grade');
select is(tests.call('ines', tests.correcting('q2', '{"correct": true}', 'For me.')), 'none', 'the author corrects the key');
select is(tests.call('ines', tests.regrading('q2')), 'none', 'and regrades');
select is(tests.score('ines', 'quiz'), '0.00/4.00 0 failed auto', 'all but their own attempt');
select is(tests.call('boss', tests.regrading('q2')), 'none', 'which somebody else does');
select is(tests.score('ines', 'quiz'), '1.00/4.00 25 failed regrade', 'then it counts');

-- Published states of one question: those with the same mistake are corrected, one that asked the contrary keeps its key.
select tests.course('worded', 'works', 'ines', 1);
select tests.assessment('wording', 'worded');
select tests.question('w1', 'wording', 'true_false', '{}', '{"correct": true}');
select tests.republish('worded');
update lms.questions set prompt = 'Is it not?' where id = tests.id('w1');
update private.answer_keys set key = '{"correct": false}' where question_id = tests.id('w1');
select tests.republish('worded');
update lms.questions set prompt = 'Is it?' where id = tests.id('w1');
update private.answer_keys set key = '{"correct": true}' where question_id = tests.id('w1');
select tests.republish('worded');
create function tests.keys_of(question text) returns text language sql as $$
  select string_agg(distinct r.prompt || ' ' || ((private.current_key(r.id)).key ->> 'correct'), ', ' order by r.prompt || ' ' || ((private.current_key(r.id)).key ->> 'correct'))
  from lms.question_revisions r where r.question_id = tests.id(question)
$$;
select is(tests.keys_of('w1'), 'Is it not? false, Is it? true, Prompt of w1 true', 'three published states');
select is(tests.call('ines', tests.correcting('w1', '{"correct": false}')), 'none', 'the key of the latest one is corrected');
select is(tests.keys_of('w1'), 'Is it not? false, Is it? false, Prompt of w1 false', 'and that of the state which had the same');
update private.answer_keys set key = '{"correct": true}' where question_id = tests.id('w1');
select tests.republish('worded');
update lms.questions set prompt = 'Is it, or not?' where id = tests.id('w1');
select tests.republish('worded');
select is(tests.call('ines', tests.correcting('w1', '{"correct": false}', 'Again.')), 'none', 'corrected again');
select is((select count(*) from private.key_revisions k join lms.question_revisions r on r.id = k.revision_id where r.question_id = tests.id('w1') and r.prompt = 'Is it not?'), 1::bigint, 'one that had another key is left alone');

select * from finish();
rollback;
