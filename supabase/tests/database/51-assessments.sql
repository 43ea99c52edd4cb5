-- Assessments: who writes them, who sees them, what publishing makes of them; and that no learner reaches a key.

begin;
\ir ../helpers.sql
\ir ../assessments.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'), tests.member('ines', 'works', 'instructor'),
  tests.member('ivan', 'works', 'instructor'), tests.member('dora', 'works'), tests.member('sid', 'works'), tests.member('eve', 'works'),
  tests.member('paula', 'press', 'tenant_admin');
select
  tests.course('safety', 'works', 'ines', 3), tests.course('other', 'works', 'ivan', 1), tests.course('sketch', 'works', 'ines', 1, 'restricted', 'draft'),
  tests.course('novel', 'press', 'paula', 1);
select tests.assessment('quiz', 'safety', 'safety/1'), tests.assessment('exam', 'safety');
select
  tests.question('q1', 'quiz', 'single', '{"options": [{"id": "a", "text": "One"}, {"id": "b", "text": "Two"}]}', '{"correct": "b"}'),
  tests.question('q2', 'quiz', 'true_false', '{}', '{"correct": true}'),
  tests.question('q3', 'exam', 'short_answer', '{}', '{"accepted": [{"text": "canary-of-the-key"}]}'),
  tests.question('q4', 'exam', 'essay', '{}', null, 4);
select tests.enrollment('dora', 'safety');
savepoint clean;

-- =====================================================================================================
-- Authors write, by REST
-- =====================================================================================================

select is(tests.try(who, format($$insert into lms.assessments (course_id, title) values (%L, 'New')$$, tests.id(course))), expected, format('%s adds an assessment to %s: %s', who, course, expected))
from (values
  ('ines', 'safety', '1'), ('boss', 'safety', '1'), ('ivan', 'safety', '42501'), ('hanna', 'safety', '42501'), ('dora', 'safety', '42501'), ('paula', 'safety', '42501'),
  ('anonymous', 'safety', '42501'), ('ines', 'novel', '42501'), ('service', 'safety', '1')
) as cases (who, course, expected);
select is(tests.try(who, format($$insert into lms.assessments (lesson_id, title) values (%L, 'New')$$, tests.id(lesson))), expected, format('%s adds an assessment to %s: %s', who, lesson, expected))
from (values ('ines', 'safety/2', '1'), ('dora', 'safety/2', '42501'), ('ines', 'novel/1', '42501'), ('ines', 'nowhere', '42501')) as cases (who, lesson, expected);
select is(
  tests.try('boss', format($$insert into lms.assessments (course_id, lesson_id, title) values (%L, %L, 'New')$$, tests.id('safety'), tests.id('other/1'))),
  '23503 assessment_is_of_a_lesson_of_the_same_course', 'not of one course and a lesson of another'
);
select is(tests.try('ines', format('update lms.assessments set lesson_id = %L where id = %L', tests.id('other/1'), tests.id('quiz'))), '23503 assessment_is_of_a_lesson_of_the_same_course', 'nor moved there');
select is(tests.try('ines', format('update lms.assessments set %s where id = %L', change, tests.id('quiz'))), expected, format('%s: %s', change, expected))
from (values
  ('title = ''T''', '1'), ('course_id = course_id', '42501'), ('tenant_id = tenant_id', '42501'), ('published_at = now()', '42501'), ('deleted_at = now()', '42501'), ('weight = -1', '23514 weight_is_not_negative'),
  ('weight = ''NaN''', '23514 weight_is_not_negative'), ('kind = ''game''', '23514 assessment_kind_is_known'), ('passing_percentage = 101', '23514 percentage_is_between_0_and_100'),
  ('max_attempts = 0', '23514 attempts_are_1_to_1000'), ('time_limit_minutes = 0', '23514 time_limit_is_within_a_month'), ('cooldown_minutes = -1', '23514 cooldown_is_within_a_year'),
  ('opens_at = ''2030-01-02'', closes_at = ''2030-01-01''', '23514 assessment_opens_before_it_closes'), ('closes_at = ''infinity''', '23514 assessment_window_is_finite'),
  ('answers_shown = ''always''', '23514 answers_shown_is_known'), ('grading_method = ''worst''', '23514 grading_method_is_known'), ('sources = ''{}''', '23514 sources_are_a_list'), ('order_index = 1000000', '23514 assessment_order_is_within_a_million'),
  ('key = ''Not a slug''', '23514 assessment_key_is_a_slug'), ('key = ''exam''', '23505 assessment_key_is_taken')
) as cases (change, expected);
select is(tests.try(who, format('update lms.%s set %s where id = %L', relation, change, tests.id(row))), expected, format('%s sets %s of %s: %s', who, change, row, expected))
from (values
  ('ines', 'questions', 'prompt = ''P''', 'q1', '1'), ('boss', 'questions', 'prompt = ''P''', 'q1', '1'), ('ivan', 'questions', 'prompt = ''P''', 'q1', '0'), ('dora', 'questions', 'prompt = ''P''', 'q1', '0'),
  ('ines', 'questions', 'assessment_id = assessment_id', 'q1', '42501'), ('ines', 'questions', 'points = 0', 'q1', '23514 points_are_positive'), ('ines', 'questions', 'points = ''NaN''', 'q1', '23514 points_are_positive'),
  ('ines', 'questions', 'type = ''riddle''', 'q1', '23514 question_type_is_known'), ('ines', 'questions', 'content = ''[]''', 'q1', '23514 question_content_is_an_object'), ('ines', 'questions', 'prompt = '' ''', 'q1', '23514 prompt_is_1_to_20000_characters'),
  ('ines', 'questions', 'order_index = 1', 'q1', '23P01 question_order_is_taken'), ('dora', 'assessments', 'title = ''T''', 'quiz', '0'), ('hanna', 'assessments', 'title = ''T''', 'quiz', '0'), ('paula', 'assessments', 'title = ''T''', 'quiz', '0')
) as cases (who, relation, change, row, expected);
select tests.section('pool', 'exam', 1), tests.section('elsewhere', 'quiz');
-- Without a condition, so that only the policy for changes decides which rows there are.
select is(tests.try(who, format('update lms.%s', change)), expected, format('%s, %s: %s', who, change, expected))
from (values ('assessments set instructions = ''I''', '2'), ('assessment_sections set draw_count = null', '2'), ('questions set scoring = ''partial''', '4')) as c (change, rows),
  (values ('ines'), ('boss'), ('ivan'), ('hanna'), ('dora'), ('paula')) as w (who), lateral (select case when who in ('ines', 'boss') then rows else '0' end) as e (expected);
select is(tests.try(who, format(statement, tests.id('quiz'))), expected, format('%s, %s: %s', who, statement, expected))
from (values ('insert into lms.assessment_sections (assessment_id, title) values (%L, ''New'')'), ('insert into lms.questions (assessment_id, type, prompt) values (%L, ''essay'', ''New'')')) as c (statement),
  (values ('ines'), ('boss'), ('ivan'), ('hanna'), ('dora'), ('paula')) as w (who), lateral (select case when who in ('ines', 'boss') then '1' else '42501' end) as e (expected);
select is(
  tests.try('ines', format('update lms.questions set section_id = %L where id = %L', tests.id('elsewhere'), tests.id('q3'))), '23503 question_is_of_a_section_of_the_assessment',
  'a question is in a section of its own assessment'
);
select is(tests.try('ines', format('update lms.questions set section_id = %L where id = %L', tests.id('pool'), tests.id('q3'))), '1', 'which it may join');
select is((select string_agg(order_index || ' ' || question_key, ', ' order by order_index) from lms.questions where assessment_id = tests.id('quiz')), '0 q1, 1 q2', 'positions follow');
select is(tests.try('ines', format($$insert into lms.questions (assessment_id, type, prompt) values (%L, 'essay', 'New')$$, tests.id('quiz'))), '1', 'position and key are found');
select is(tests.try('ines', format($$insert into lms.assessments (lesson_id, title) values (%L, 'Quiz')$$, tests.id('safety/1'))), '1', 'a title may come again: the key is another');
select is(
  (select array_agg(distinct (course_id, tenant_id)::text) from (select course_id, tenant_id from lms.assessments where key in ('quiz', 'exam') union all select course_id, tenant_id from lms.questions where question_key like 'q_' union all select course_id, tenant_id from private.answer_keys) r),
  array[(tests.id('safety'), tests.id('works'))::text], 'course and tenant follow from the parent'
);
insert into lms.skills (id, tenant_id, key, name) values (tests.id('skill'), tests.id('works'), 'skill', 'Skill'), (tests.id('theirs'), tests.id('press'), 'theirs', 'Theirs');
select is(tests.try(who, format('insert into lms.question_skills (question_id, skill_id) values (%L, %L)', tests.id('q1'), tests.id(skill))), expected, format('%s tags q1 with %s: %s', who, skill, expected))
from (values ('ines', 'skill', '1'), ('ivan', 'skill', '42501'), ('dora', 'skill', '42501'), ('ines', 'theirs', '23503 skill_of_question_is_of_the_same_tenant')) as cases (who, skill, expected);
insert into lms.question_skills (question_id, skill_id) values (tests.id('q1'), tests.id('skill'));
select is(tests.sees_as(who, 'lms.question_skills'), expected, format('%s sees %s tags', who, expected)) from (values ('ines', '1'), ('boss', '1'), ('dora', '0'), ('ivan', '0'), ('paula', '0'), ('anonymous', '42501')) as cases (who, expected);
select is(tests.try(who, 'delete from lms.question_skills'), expected, format('%s takes tags away: %s', who, expected)) from (values ('ines', '1'), ('boss', '1'), ('dora', '0'), ('ivan', '0'), ('hanna', '0'), ('paula', '0')) as cases (who, expected);
rollback to clean;

-- =====================================================================================================
-- Keys
-- =====================================================================================================

create function tests.key_of(who text, question text) returns text language plpgsql as $$
declare
  v_key text;
begin
  perform tests.be(who);
  begin
    select k.key::text into v_key from lms.get_answer_key(tests.id(question)) k;
  exception when others then
    v_key := tests.error_of(format('select lms.get_answer_key(%L)', tests.id(question)));
  end;
  perform tests.as_owner();
  return v_key;
end
$$;
select is(tests.key_of(who, question), expected, format('%s reads the key to %s: %s', who, question, expected))
from (values
  ('ines', 'q2', '{"correct": true}'), ('boss', 'q2', '{"correct": true}'), ('ines', 'q4', null), ('ivan', 'q2', '404 question_not_found'), ('hanna', 'q2', '404 question_not_found'), ('dora', 'q2', '404 question_not_found'),
  ('eve', 'q2', '404 question_not_found'), ('paula', 'q2', '404 question_not_found'), ('anonymous', 'q2', '42501'), ('dora', 'nothing', '404 question_not_found'), ('service', 'q2', '{"correct": true}')
) as cases (who, question, expected);
select is(tests.try(who, format('select lms.set_answer_key(%L, %L)', tests.id(question), key)), expected, format('%s sets the key to %s: %s', who, question, expected))
from (values
  ('ines', 'q2', '{"correct": false}', '1'), ('boss', 'q2', '{"correct": false}', '1'), ('ivan', 'q2', '{"correct": false}', '404 question_not_found'), ('dora', 'q2', '{"correct": false}', '404 question_not_found'),
  ('paula', 'q2', '{"correct": false}', '404 question_not_found'), ('anonymous', 'q2', '{}', '42501'), ('ines', 'q2', '[]', '422 invalid_key'), ('ines', 'q2', '{}', '422 invalid_key'), ('ines', 'nothing', '{}', '404 question_not_found')
) as cases (who, question, key, expected);
select is(tests.try('ines', format('select lms.set_answer_key(%L, ''{"correct": true}'', null)', tests.id('q2'))), '422 invalid_explanation', 'an explanation is a text');
select is(tests.sees_as(who, relation), '42501', format('%s reads nothing of %s', who, relation))
from unnest(array['private.answer_keys', 'private.key_revisions', 'private.attempt_keys']) as relation, unnest(array['dora', 'ines', 'boss', 'anonymous']) as who;
rollback to clean;

-- =====================================================================================================
-- What stands in the way of publishing
-- =====================================================================================================

create function tests.faults_after(change text, course text default 'safety') returns text language plpgsql as $$
declare
  v_text text;
begin
  begin
    execute change;
    select string_agg(f.severity || ' ' || f.code, ', ' order by f.severity, f.code) into v_text from private.find_course_faults(tests.id(course)) f where f.code <> 'lesson_without_content';
    raise exception using errcode = 'UNDO2', message = coalesce(v_text, '');
  exception when sqlstate 'UNDO2' then
    return sqlerrm;
  end;
end
$$;
select is(tests.faults_after(change), expected, format('%s: %s', change, expected))
from (values
  ('select', ''),
  (format('delete from private.answer_keys where question_id = %L', tests.id('q1')), 'fault question_without_key'),
  (format('update lms.questions set content = ''{}'' where id = %L', tests.id('q1')), 'fault question_invalid'),
  (format('update private.answer_keys set key = ''{}'' where question_id = %L', tests.id('q2')), 'fault question_invalid'),
  (format('update lms.questions set deleted_at = now() where assessment_id = %L', tests.id('quiz')), 'fault assessment_without_questions'),
  ('select tests.section(''pool'', ''quiz'', 3), tests.put_in_section(''q1'', ''pool'')', 'fault draw_count_too_high'),
  ('select tests.section(''pool'', ''quiz'', 1), tests.put_in_section(''q1'', ''pool'')', ''),
  (format('update lms.lessons set completion_rule = ''assessment'' where id = %L', tests.id('safety/2')), 'fault lesson_rule_without_assessment'),
  (format('update lms.lessons set completion_rule = ''assessment'' where id = %L', tests.id('safety/1')), ''),
  ('update lms.courses set required_score = 50', ''),
  ('update lms.courses set required_score = 50; update lms.assessments set weight = 0', 'fault required_score_unreachable'),
  ('update lms.courses set required_score = 50; update lms.assessments set kind = ''survey''', 'fault required_score_unreachable'),
  (format('update lms.assessments set kind = ''survey'' where true; delete from private.answer_keys where question_id = %L', tests.id('q1')), ''),
  ('update lms.tenants set settings = ''{"assessment_per_lesson": true}''', 'fault lesson_without_assessment, fault lesson_without_assessment'),
  ('update lms.tenants set settings = ''{"final_assessment": true}''', ''),
  (format('update lms.tenants set settings = ''{"final_assessment": true}''; update lms.assessments set is_mandatory = false where id = %L', tests.id('exam')), 'fault no_final_assessment'),
  ('update lms.lessons set requires_completion = false', ''),
  ('update lms.lessons set requires_completion = false; update lms.assessments set is_mandatory = false', 'fault no_required_lesson'),
  ('update lms.lessons set requires_completion = false; update lms.assessments set is_published = false', 'fault no_required_lesson'),
  ('select tests.question(''q5'', ''quiz'', ''ordering'', ''{"items": [{"id": "1", "text": "A"}, {"id": "2", "text": "B"}]}'', ''{"order": ["1", "2"]}'')', 'warning ids_tell_the_order'),
  ('select tests.question(''q5'', ''quiz'', ''ordering'', ''{"items": [{"id": "1", "text": "A"}, {"id": "2", "text": "B"}]}'', ''{"order": ["2", "1"]}'')', '')
) as cases (change, expected);
select ok(
  not exists (
    select from private.find_course_faults(tests.id('safety')) f where f.details::text like '%canary%' or f.message like '%canary%'
  ), 'faults do not tell keys'
);
delete from private.answer_keys where question_id = tests.id('q1');
select is(tests.try('ines', format('select lms.publish_course(%L)', tests.id('safety'))), '409 not_publishable', 'a fault keeps the course from being published');
rollback to clean;

-- =====================================================================================================
-- Publishing
-- =====================================================================================================

select is((select items_total from lms.course_versions where course_id = tests.id('safety')), 3, 'before, three lessons are to be done');
select is(tests.republish('safety'), 2, 'assessments make another version');
select is((select items_total from lms.course_versions where course_id = tests.id('safety') and number = 2), 5, 'INV-P2: mandatory assessments are items');
select is(
  (select string_agg(concat_ws(' ', v.order_index, v.key, v.kind, v.is_mandatory, v.weight), ', ' order by v.order_index) from lms.version_assessments v), '0 quiz quiz t 1, 1 exam quiz t 1',
  'those of lessons come first'
);
select is((select string_agg(concat_ws(' ', v.order_index, r.question_key), ', ' order by v.assessment_id, v.order_index) from lms.version_questions v join lms.question_revisions r on r.id = v.revision_id where v.assessment_id = tests.id('quiz')), '0 q1, 1 q2', 'questions are frozen in order');
select is((select count(*) from private.key_revisions), 3::bigint, 'and so are keys, where there are any');
select is(tests.republish('safety'), 2, 'unchanged: no version');
select is(tests.republish('novel'), 1, 'and none of a course without assessments');
create function tests.version_after(change text) returns text language plpgsql as $$
declare
  v_version integer;
begin
  begin
    execute change;
    v_version := tests.republish('safety');
    raise exception using errcode = 'UNDO2', message = format('version %s, %s revisions, %s keys', v_version, (select count(*) from lms.question_revisions), (select count(*) from private.key_revisions));
  exception when sqlstate 'UNDO2' then
    return sqlerrm;
  end;
end
$$;
select is(tests.version_after(change), expected, format('%s: %s', change, expected))
from (values
  ('update lms.assessments set instructions = ''Read'' where key = ''quiz''', 'version 3, 4 revisions, 3 keys'),
  ('update lms.assessments set passing_percentage = 50 where key = ''quiz''', 'version 3, 4 revisions, 3 keys'),
  ('update lms.assessments set weight = 2 where key = ''quiz''', 'version 3, 4 revisions, 3 keys'),
  ('update lms.assessments set max_attempts = 2, time_limit_minutes = 10, answers_shown = ''never'' where key = ''quiz''', 'version 2, 4 revisions, 3 keys'),
  ('update lms.questions set prompt = ''P'' where question_key = ''q1''', 'version 3, 5 revisions, 4 keys'),
  ('update lms.questions set order_index = 5 where question_key = ''q1''', 'version 3, 4 revisions, 3 keys'),
  ('update private.answer_keys set key = ''{"correct": false}'' where question_id = tests.id(''q2'')', 'version 3, 5 revisions, 4 keys'),
  ('update private.answer_keys set explanation = ''Because'' where question_id = tests.id(''q2'')', 'version 3, 5 revisions, 4 keys'),
  ('select tests.section(''pool'', ''quiz'', 1), tests.put_in_section(''q1'', ''pool'')', 'version 3, 4 revisions, 3 keys'),
  ('update lms.assessments set deleted_at = now() where key = ''quiz''', 'version 3, 4 revisions, 3 keys')
) as cases (change, expected);
-- What a change makes of the draft, as the diff between the version and the draft tells it.
create function tests.diff_after(change text) returns text language plpgsql as $$
declare
  v_text text;
begin
  begin
    execute change;
    perform tests.as('ines');
    select string_agg(concat_ws(' ', d.kind, d.change, d.title, (select string_agg(k, '+' order by k) from jsonb_object_keys(d.details) as k)), ', ') into v_text
    from lms.get_version_diff(tests.id('safety'), 2) as d;
    raise exception using errcode = 'UNDO2';
  exception when sqlstate 'UNDO2' then
    return coalesce(v_text, 'nothing');
  end;
end
$$;
select is(tests.diff_after(change), expected, format('%s: %s', change, expected))
from (values
  ('select', 'nothing'), ('update lms.assessments set weight = 2 where key = ''quiz''', 'assessment changed Quiz weight'), ('update lms.assessments set max_attempts = 2', 'nothing'),
  ('update lms.assessments set is_published = false where key = ''exam''', 'assessment removed Exam, question removed, question removed'),
  ('update lms.questions set prompt = ''P'' where question_key = ''q1''', 'question changed content_hash'), ('update private.answer_keys set key = ''{"correct": false}'' where question_id = tests.id(''q2'')', 'question changed content_hash'),
  ('update lms.questions set order_index = 5 where question_key = ''q1''', 'question moved order_index, question moved order_index'), ('select tests.question(''q7'', ''exam'', ''essay'')', 'question added'),
  ('update lms.assessments set order_index = 9 where key = ''exam''; update lms.assessments set lesson_id = null where key = ''quiz''', 'assessment moved Quiz lesson_id')
) as cases (change, expected);
select is(tests.error_of(statement), '42501', format('INV-C1: %s is refused to the service', statement))
from unnest(array[
  'update lms.version_assessments set title = ''T''', 'delete from lms.version_assessments', 'update lms.version_questions set order_index = 9', 'delete from lms.version_questions',
  'update lms.question_revisions set prompt = ''P''', 'delete from lms.question_revisions', 'update private.key_revisions set key = ''{}''', 'delete from private.key_revisions'
]) as statement;
-- The hash tells nothing: whoever knows all of a question but its key cannot find the key by trying.
select ok(
  not exists (
    select
    from lms.question_revisions r, unnest(array['a', 'b']) as guess
    where r.question_key = 'q1' and r.content_hash = encode(sha256(convert_to(jsonb_build_array(
      r.question_key, r.type, r.prompt, r.content, r.points, r.scoring, r.skill_ids, jsonb_build_object('correct', guess), ''
    )::text, 'UTF8')), 'hex')
  ), 'INV-A1: the hash of a revision cannot be guessed'
);
-- Items stand in an order that says nothing, whatever order the author wrote them in.
select tests.question('o', 'quiz', 'ordering', '{"items": [{"id": "w", "text": "1"}, {"id": "x", "text": "2"}, {"id": "y", "text": "3"}, {"id": "z", "text": "4"}]}', '{"order": ["z", "y", "x", "w"]}');
create function tests.published_items(items jsonb) returns text language plpgsql as $$
begin
  update lms.questions set content = jsonb_build_object('items', items) where id = tests.id('o');
  perform tests.republish('safety');
  return (
    select string_agg(i ->> 'id', '' order by n)
    from lms.course_versions v join lms.version_questions q on q.version_id = v.id and q.question_id = tests.id('o') join lms.question_revisions r on r.id = q.revision_id, jsonb_array_elements(r.content -> 'items') with ordinality as x (i, n)
    where v.course_id = tests.id('safety') and v.number = (select max(number) from lms.course_versions where course_id = tests.id('safety'))
  );
end
$$;
select is(
  tests.published_items('[{"id": "w", "text": "1"}, {"id": "x", "text": "2"}, {"id": "y", "text": "3"}, {"id": "z", "text": "4"}]'),
  tests.published_items('[{"id": "z", "text": "4"}, {"id": "w", "text": "1"}, {"id": "y", "text": "3"}, {"id": "x", "text": "2"}]'),
  'INV-A1: the order of what is to be put in order does not come from the author'
);
rollback to clean;

-- Being moved to another version counts the assessments that are done.
select tests.republish('safety');
select tests.pass('dora', 'quiz');
select is(tests.standing('dora', 'safety'), 'in_progress 0/3 0.00', 'what the version does not ask for counts nothing');
update lms.enrollments set version_id = (select id from lms.course_versions where course_id = tests.id('safety') and number = 2) where user_id = tests.id('dora');
select is(tests.standing('dora', 'safety'), 'in_progress 1/5 20.00', 'INV-P2: and is counted once the version does');
update lms.enrollments set items_done = 0 where user_id = tests.id('dora');
select is(ops.recount_progress(), 1::bigint, 'a counter that is wrong is found');
select is(tests.standing('dora', 'safety'), 'in_progress 1/5 20.00', 'and put right');
select is(ops.recount_progress(), 0::bigint, 'and then nothing is');
rollback to clean;

-- =====================================================================================================
-- Who sees what
-- =====================================================================================================

select tests.republish('safety');
select tests.enrollment('sid', 'safety');
select is(tests.sees_as(who, 'lms.' || relation), expected, format('%s sees %s of %s', who, expected, relation))
from (values
  -- Dora takes the version without assessments, Sid the one with them.
  ('dora', 'assessments', '0'), ('sid', 'assessments', '2'), ('eve', 'assessments', '0'), ('ines', 'assessments', '2'), ('boss', 'assessments', '2'), ('ivan', 'assessments', '0'), ('hanna', 'assessments', '0'), ('paula', 'assessments', '0'), ('anonymous', 'assessments', '42501'),
  ('dora', 'version_assessments', '0'), ('sid', 'version_assessments', '2'), ('ines', 'version_assessments', '2'), ('boss', 'version_assessments', '2'), ('hanna', 'version_assessments', '2'), ('ivan', 'version_assessments', '0'), ('paula', 'version_assessments', '0'),
  ('sid', 'questions', '0'), ('eve', 'questions', '0'), ('ines', 'questions', '4'), ('boss', 'questions', '4'), ('hanna', 'questions', '0'), ('ivan', 'questions', '0'), ('paula', 'questions', '0'), ('anonymous', 'questions', '42501'),
  ('sid', 'version_questions', '0'), ('ines', 'version_questions', '4'), ('hanna', 'version_questions', '0'), ('sid', 'question_revisions', '0'), ('ines', 'question_revisions', '4'), ('hanna', 'question_revisions', '0'), ('paula', 'question_revisions', '0')
) as cases (who, relation, expected);
insert into lms.lesson_prerequisites (lesson_id, prerequisite_lesson_id) values (tests.id('safety/1'), tests.id('safety/2'));
select tests.republish('safety');
select tests.enrollment('eve', 'safety');
select is(tests.sees_as('eve', 'lms.assessments'), '1', 'the assessment of a lesson that is not open yet is not seen');
select is(tests.sees_as('eve', 'lms.version_assessments'), '1', 'nor what was published of it');
rollback to clean;

-- =====================================================================================================
-- Taking away and bringing back
-- =====================================================================================================

select tests.section('part', 'quiz'), tests.put_in_section('q2', 'part');
create function tests.left_of(course text) returns text language sql as $$
  select concat_ws(' ',
    (select string_agg(key, '' order by key) from lms.assessments where course_id = tests.id(course) and deleted_at is null),
    (select string_agg(key, '' order by key) from lms.assessment_sections where course_id = tests.id(course) and deleted_at is null),
    (select string_agg(question_key, '' order by question_key) from lms.questions where course_id = tests.id(course) and deleted_at is null))
$$;
create function tests.by(who text, statement text) returns text language plpgsql as $$
declare
  v_result text;
begin
  perform tests.be(who);
  v_result := tests.error_of(statement);
  perform tests.as_owner();
  return v_result;
end
$$;
select is(tests.try(who, format('select lms.%s(%L)', call, tests.id(row))), expected, format('%s: %s(%s): %s', who, call, row, expected))
from (values
  ('ines', 'delete_assessment', 'quiz', '1'), ('boss', 'delete_assessment', 'quiz', '1'), ('ivan', 'delete_assessment', 'quiz', '404 assessment_not_found'), ('dora', 'delete_assessment', 'quiz', '404 assessment_not_found'),
  ('ines', 'delete_question', 'q1', '1'), ('dora', 'delete_question', 'q1', '404 question_not_found'), ('ines', 'delete_assessment_section', 'part', '1'), ('hanna', 'delete_assessment_section', 'part', '404 section_not_found'),
  ('dora', 'restore_assessment', 'quiz', '404 assessment_not_found'), ('ivan', 'restore_question', 'q1', '404 question_not_found'), ('paula', 'restore_assessment_section', 'part', '404 section_not_found'), ('ines', 'restore_assessment', 'nothing', '404 assessment_not_found')
) as cases (who, call, row, expected);
select is(tests.by('ines', format('select lms.delete_question(%L)', tests.id('q1'))), 'none', 'a question goes');
select is(tests.by('ines', format('select lms.delete_assessment(%L)', tests.id('quiz'))), 'none', 'an assessment goes');
select is(tests.left_of('safety'), 'exam q3q4', 'with what hangs below');
create function tests.gone(who text) returns text language plpgsql as $$
declare
  v_text text;
begin
  perform tests.be(who);
  select string_agg(d.kind || ' ' || d.title, ', ' order by d.kind, d.title) into v_text from lms.get_deleted_items(tests.id('works')) d;
  perform tests.as_owner();
  return v_text;
end
$$;
select is(tests.gone('ines'), 'assessment Quiz', 'it is listed, and what went with it is not');
select is(tests.gone('dora'), null, 'to those who may restore it');
update lms.lessons set deleted_at = now() where id = tests.id('safety/3');
select is(tests.by('ines', format($f$insert into lms.assessments (lesson_id, title) values (%L, 'New')$f$, tests.id('safety/3'))), '404 lesson_not_found', 'nothing is added to a lesson that is gone');
select is(tests.by('ines', format('update lms.assessments set lesson_id = %L where id = %L', tests.id('safety/3'), tests.id('exam'))), '404 lesson_not_found', 'nor moved there');
select is(tests.by('ines', format('select lms.restore_question(%L)', tests.id('q2'))), '409 parent_deleted', 'nothing comes back alone');
select is(tests.by('ines', format('select lms.restore_assessment(%L)', tests.id('quiz'))), 'none', 'it comes back');
select is(tests.left_of('safety'), 'examquiz part q2q3q4', 'with what was deleted with it, and not what was before');
select is(tests.by('ines', format('select lms.delete_assessment_section(%L)', tests.id('part'))), 'none', 'a section goes');
select tests.question('q6', 'quiz', 'true_false', '{}', '{"correct": true}');
update lms.questions set order_index = 1 where id = tests.id('q6');
select is(tests.by('ines', format('select lms.restore_assessment_section(%L)', tests.id('part'))), 'none', 'and comes back');
select is((select string_agg(question_key, ' ' order by order_index) from lms.questions where assessment_id = tests.id('quiz') and deleted_at is null), 'q6 q2', 'its questions last, where their place was taken');
rollback to clean;

-- Copies take questions and keys along.
select tests.as('ines');
select (lms.duplicate_course(tests.id('safety'), null, 'copy')).slug;
select tests.as_owner();
select is(
  (select string_agg(concat_ws(' ', a.key, q.question_key, k.key), ', ' order by a.key, q.question_key)
   from lms.courses c join lms.assessments a on a.course_id = c.id join lms.questions q on q.assessment_id = a.id left join private.answer_keys k on k.question_id = q.id where c.slug = 'copy'),
  'exam q3 {"accepted": [{"text": "canary-of-the-key"}]}, exam q4, quiz q1 {"correct": "b"}, quiz q2 {"correct": true}', 'a copy of a course has its assessments'
);
rollback to clean;

-- =====================================================================================================
-- Accommodations
-- =====================================================================================================

create function tests.grants(who text, whom text, extra text default '50') returns text language sql as $$
  select tests.try(who, format('select lms.grant_accommodation(%L, %L, p_extra_time_percentage => %s)', tests.id(whom), tests.id('safety'), extra))
$$;
select is(tests.grants(who, whom), expected, format('%s grants %s time: %s', who, whom, expected))
from (values
  ('boss', 'dora', '1'), ('ines', 'dora', '42501'), ('hanna', 'dora', '42501'), ('dora', 'dora', '42501'), ('boss', 'boss', '403 own_accommodation'), ('paula', 'dora', '404 course_not_found'), ('boss', 'paula', '404 person_not_found'), ('boss', 'nobody', '404 person_not_found'), ('anonymous', 'dora', '42501')
) as cases (who, whom, expected);
select is(tests.grants('boss', 'dora', '401'), '23514 extra_time_is_0_to_400_percent', 'within limits');
select is(tests.try('boss', format('select lms.grant_accommodation(%L, %L, %L)', tests.id('dora'), tests.id('other'), tests.id('quiz'))), '404 assessment_not_found', 'of an assessment of that course');
insert into lms.accommodations (id, tenant_id, course_id, user_id, reason) values (tests.id('grant'), tests.id('works'), tests.id('safety'), tests.id('dora'), 'Private');
select is(tests.sees_as(who, 'lms.accommodations'), expected, format('%s sees %s accommodations', who, expected))
from (values ('dora', '1'), ('sid', '0'), ('ines', '1'), ('ivan', '0'), ('hanna', '1'), ('boss', '1'), ('paula', '0'), ('anonymous', '42501')) as cases (who, expected);
select is(tests.try(who, format('select lms.revoke_accommodation(%L)', tests.id('grant'))), expected, format('%s revokes it: %s', who, expected))
from (values ('boss', '1'), ('ines', '42501'), ('dora', '42501'), ('paula', '404 accommodation_not_found')) as cases (who, expected);

select * from finish();
rollback;
