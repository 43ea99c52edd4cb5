-- Assessments as one document: in, again without a trace, changed, out and in elsewhere; and who may do it.

begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'), tests.member('ines', 'works', 'instructor'),
  tests.member('ivan', 'works', 'instructor'), tests.member('dora', 'works'), tests.member('paula', 'press', 'tenant_admin');
select tests.custom_role('works', 'catalogger', array['catalog.write', 'catalog.read']), tests.member('cato', 'works', 'catalogger');
select
  tests.course('welding', 'works', 'ines', 3, 'public'), tests.course('copy', 'works', 'ines', 3), tests.course('gone', 'works', 'ines', 1),
  tests.course('novel', 'press', 'paula', 1);
update lms.lessons l set key = 'lesson-' || (l.order_index + 1) where l.course_id in (tests.id('welding'), tests.id('copy'));
update lms.courses set deleted_at = now() where id = tests.id('gone');
insert into lms.skills (tenant_id, key, name) values (tests.id('works'), 'arc', 'Arc'), (tests.id('works'), 'gas', 'Gas'), (tests.id('press'), 'plot', 'Plot');

create table tests.documents (name text primary key, doc jsonb);
grant select on tests.documents to public;
insert into tests.documents values ('bank', $${
  "format": "lyceum-assessments-1",
  "assessments": [
    {
      "key": "gas-quiz", "lesson": "lesson-2", "title": "Gas", "instructions": "Be careful.", "weight": 2.5, "passing_percentage": 62.5,
      "max_attempts": 3, "cooldown_minutes": 10, "time_limit_minutes": 20, "opens_at": "2030-01-01T08:00:00+02:00",
      "closes_at": "2030-06-01T00:00:00.500Z", "shuffle_questions": true, "answers_shown": "after_submit", "grading_method": "latest",
      "sources": [{"name": "Handbook", "page": null}],
      "sections": [{"key": "pool", "title": "Pool", "draw_count": 1}],
      "questions": [
        {"question_key": "gas.1", "type": "single", "prompt": "Blue is?", "content": {"options": [{"id": "a", "text": "Oxygen"}, {"id": "b", "text": "Argon"}]},
         "points": 2.5, "skills": ["gas", "arc"], "answer": {"correct": "a"}, "explanation": "By the norm."},
        {"question_key": "gas.2", "section": "pool", "type": "numeric", "prompt": "How many?", "answer": {"value": "1/3"}},
        {"question_key": "gas.3", "section": "pool", "type": "essay", "prompt": "Why?"}
      ]
    },
    {
      "key": "final", "kind": "exam", "title": "Final", "is_mandatory": false, "holds_grades": true, "sections": [],
      "questions": [{"question_key": "final.1", "type": "true_false", "prompt": "True?", "answer": {"correct": true}, "skills": ["arc"]}]
    },
    {"key": "survey", "lesson": "lesson-2", "kind": "survey", "title": "Survey", "sections": [], "questions": []}
  ]
}$$);
create function tests.doc(name text) returns jsonb language sql stable as $$ select d.doc from tests.documents d where d.name = $1 $$;
-- What an import did, as created/updated/removed of assessments, sections, questions, keys and skills.
create function tests.import(course text, doc jsonb, dry boolean default false) returns text language sql as $$
  select string_agg(concat_ws('/', p.part ->> 'created', p.part ->> 'updated', p.part ->> 'removed'), ' ' order by p.place)
  from lms.import_assessments(tests.id(course), doc, dry) r
  cross join lateral unnest(array[r.assessments, r.sections, r.questions, r.answer_keys, r.skills]) with ordinality as p (part, place)
$$;
-- Every row of the course's assessments, with the transaction that wrote it and where it lies.
create function tests.traces(course text) returns setof text language sql stable security definer as $$
  select 'assessment ' || a.xmin || a.ctid from lms.assessments a where a.course_id = tests.id(course)
  union all select 'section ' || a.xmin || a.ctid from lms.assessment_sections a where a.course_id = tests.id(course)
  union all select 'question ' || a.xmin || a.ctid from lms.questions a where a.course_id = tests.id(course)
  union all select 'key ' || a.xmin || a.ctid from private.answer_keys a where a.course_id = tests.id(course)
  union all select 'skill ' || a.xmin || a.ctid from lms.question_skills a where a.course_id = tests.id(course)
$$;
create function tests.faults_of(doc jsonb, course text default 'welding') returns setof text language sql as $$
  select concat_ws(' ', nullif(f ->> 'path', ''), f ->> 'code')
  from jsonb_array_elements(tests.failure_of(format('select lms.import_assessments(%L, %L)', tests.id(course), doc)) -> 'details') as f
$$;
-- The document with one value of it replaced.
create function tests.with(path text, value jsonb) returns jsonb language sql stable as $$
  select jsonb_set(tests.doc('bank'), string_to_array(path, '.'), value)
$$;
create function tests.tells(doc jsonb, expected text[], name text) returns text language sql as $$
  select is(array(select f from tests.faults_of(doc) f order by f collate "C"), array(select e from unnest(expected) e order by e collate "C"), name)
$$;
savepoint clean;

-- =====================================================================================================
-- In, and again
-- =====================================================================================================

select tests.as('ines');
select is(tests.import('welding', tests.doc('bank'), true), '3/0/0 1/0/0 4/0/0 3/0/0 3/0/0', 'a dry run tells what would be done');
select is(tests.sees('lms.assessments'), '0', '... and does nothing');
select is(tests.import('welding', tests.doc('bank')), '3/0/0 1/0/0 4/0/0 3/0/0 3/0/0', 'everything is made');
select results_eq(
  $$ select a.key, a.kind, a.weight, a.passing_percentage::numeric, a.opens_at, a.order_index, l.key from lms.assessments a left join lms.lessons l on l.id = a.lesson_id order by a.key $$,
  $$ values
    ('final', 'exam', 1::numeric, null::numeric, null::timestamptz, 0, null::text),
    ('gas-quiz', 'quiz', 2.5, 62.5, '2030-01-01 06:00Z', 0, 'lesson-2'),
    ('survey', 'survey', 1, null, null, 1, 'lesson-2') $$,
  'as the document says'
);
select is((lms.get_answer_key(q.id)).explanation, 'By the norm.', 'keys and explanations too') from lms.questions q where q.question_key = 'gas.1';
select tests.as_owner();
create table tests.before as select * from tests.traces('welding') as t;
select tests.as('cato');
select is(tests.import('welding', tests.doc('bank')), '0/0/0 0/0/0 0/0/0 0/0/0 0/0/0', 'INV-N1: the same again is nothing');
select tests.as_owner();
select set_eq('select * from tests.traces(''welding'')', 'select * from tests.before', '... and writes no row');

-- Out, and into another course: the same, byte for byte.
select tests.as('ines');
select is(tests.import('copy', lms.export_assessments(tests.id('welding'))), '3/0/0 1/0/0 4/0/0 3/0/0 3/0/0', 'what goes out comes in elsewhere');
select is(lms.export_assessments(tests.id('copy'))::text, lms.export_assessments(tests.id('welding'))::text, 'as the same document');
select is(
  (lms.export_assessments(tests.id('welding')) -> 'assessments' -> 0) - '{questions,sections}'::text[],
  '{"key": "gas-quiz", "title": "Gas", "lesson": "lesson-2", "weight": 2.5, "sources": [{"name": "Handbook", "page": null}], "opens_at": "2030-01-01T06:00:00Z",
    "closes_at": "2030-06-01T00:00:00.5Z", "instructions": "Be careful.", "max_attempts": 3, "answers_shown": "after_submit", "grading_method": "latest", "cooldown_minutes": 10,
    "shuffle_questions": true, "passing_percentage": 62.5, "time_limit_minutes": 20}'::jsonb,
  'without what has its default'
);
select is(tests.import('welding', lms.export_assessments(tests.id('welding'))), '0/0/0 0/0/0 0/0/0 0/0/0 0/0/0', 'what went out is what there is');
select is((select array_agg(a ->> 'key') from jsonb_array_elements(lms.export_assessments(tests.id('welding')) -> 'assessments') a), '{gas-quiz,survey,final}', 'lessons first, in their order');

-- =====================================================================================================
-- Changed
-- =====================================================================================================

select is(tests.import('welding', tests.with('assessments.0.questions.0.prompt', '"Blue?"')), '0/0/0 0/0/0 0/1/0 0/0/0 0/0/0', 'a changed question');
select is(tests.import('welding', tests.with('assessments.0.questions.0.answer', '{"correct": "b"}')), '0/0/0 0/0/0 0/1/0 0/1/0 0/0/0', 'a changed key, and the question as it was');
select is(tests.import('welding', tests.with('assessments.0.questions', '[]')), '0/0/0 0/0/0 0/0/3 0/0/0 0/0/0', 'questions that are gone');
select is(tests.sees('lms.questions', format('course_id = %L and question_key like ''gas.%%''', tests.id('welding'))), '0', '... are seen by nobody');
select is(tests.import('welding', tests.doc('bank')), '0/0/0 0/0/0 0/3/0 0/1/0 0/0/0', '... and come back as what they were, with the key of the document');
select is(tests.import('welding', tests.with('assessments.0.questions.0', (tests.doc('bank') #> '{assessments,0,questions,0}') - '{answer,explanation}'::text[])), '0/0/0 0/0/0 0/0/0 0/0/0 0/0/0', 'without an answer the key stays');
select is(
  tests.import('welding', tests.with('assessments.0.questions.0', (tests.doc('bank') #> '{assessments,0,questions,0}') - '{answer,explanation}'::text[] || '{"type": "true_false", "content": {}}')),
  '0/0/0 0/0/0 0/1/0 0/0/1 0/0/0', '... unless it is no key to the question any more'
);
select is(tests.import('welding', tests.with('assessments.0.questions.0.skills', '["gas"]')), '0/0/0 0/0/0 0/1/0 1/0/0 0/0/1', 'a skill that is gone');
select is(tests.import('welding', tests.with('assessments.0.sections.0.key', '"basin"') #- '{assessments,0,questions,1,section}' #- '{assessments,0,questions,2,section}'), '0/0/0 1/0/1 0/2/0 0/0/0 1/0/0', 'another section');
select is(tests.import('welding', tests.doc('bank')), '0/0/0 0/1/1 0/2/0 0/0/0 0/0/0', '... and the first comes back');

-- Two assessments change places; the third, which the document does not name, keeps its own.
insert into lms.assessments (lesson_id, key, title) values (tests.id('welding/2'), 'own', 'Own');
select is(
  tests.import('welding', jsonb_set(tests.doc('bank'), '{assessments}', jsonb_build_array(tests.doc('bank') #> '{assessments,2}', tests.doc('bank') #> '{assessments,0}'))),
  '0/2/0 0/0/0 0/0/0 0/0/0 0/0/0', 'the order of assessments'
);
select is((select string_agg(a.key, ' ' order by a.order_index) from lms.assessments a where a.lesson_id = tests.id('welding/2')), 'survey gas-quiz own', '... with the others where they were');
select is(
  tests.import('welding', jsonb_set(tests.doc('bank'), '{assessments}', jsonb_build_array(
    tests.doc('bank') #> '{assessments,2}', jsonb '{"key": "new", "lesson": "lesson-2", "title": "New"}', (tests.doc('bank') #> '{assessments,0}')
  ))), '1/1/0 0/0/0 0/0/0 0/0/0 0/0/0', 'a new one between'
);
select is((select string_agg(a.key, ' ' order by a.order_index) from lms.assessments a where a.lesson_id = tests.id('welding/2')), 'survey new own gas-quiz', '... takes the place of the next, which goes last');
select is(
  tests.import('welding', jsonb_set(tests.doc('bank'), '{assessments}', jsonb_build_array(
    tests.doc('bank') #> '{assessments,2}', jsonb '{"key": "new", "lesson": "lesson-2", "title": "New"}', (tests.doc('bank') #> '{assessments,0}')
  ))), '0/0/0 0/0/0 0/0/0 0/0/0 0/0/0', '... once'
);
select is(tests.import('welding', tests.with('assessments.0.lesson', '"lesson-3"')), '0/1/0 0/0/0 0/0/0 0/0/0 0/0/0', 'an assessment moves to another lesson');
select lms.delete_assessment(a.id) from lms.assessments a where a.key = 'gas-quiz' and a.course_id = tests.id('welding');
select is(tests.import('welding', tests.doc('bank')), '0/2/0 0/1/0 0/3/0 0/0/0 0/0/0', 'a deleted one comes back with what hangs below, in its place');
select tests.as_owner();
rollback to clean;

-- =====================================================================================================
-- Who may
-- =====================================================================================================

select is(tests.try(who, format('select lms.import_assessments(%L, tests.doc(''bank''))', tests.id(course))), expected, format('%s imports into %s: %s', who, course, expected))
from (values
  ('ines', 'welding', '1'), ('boss', 'welding', '1'), ('cato', 'welding', '1'), ('service', 'welding', '1'), ('owner', 'welding', '1'),
  ('ivan', 'welding', '404 course_not_found'), ('hanna', 'welding', '404 course_not_found'), ('dora', 'welding', '404 course_not_found'),
  ('paula', 'welding', '404 course_not_found'), ('anonymous', 'welding', '42501'), ('ines', 'novel', '404 course_not_found'),
  ('ines', 'gone', '404 course_not_found'), ('boss', 'gone', '404 course_not_found'), ('ines', 'nowhere', '404 course_not_found')
) as cases (who, course, expected);
select is(tests.try(who, format('select lms.export_assessments(%L)', tests.id('welding'))), expected, format('%s exports: %s', who, expected))
from (values
  ('ines', '1'), ('boss', '1'), ('cato', '1'), ('service', '1'), ('ivan', '404 course_not_found'), ('hanna', '404 course_not_found'), ('dora', '404 course_not_found'),
  ('paula', '404 course_not_found'), ('anonymous', '42501')
) as cases (who, expected);
-- Not even what is wrong with it in a course is told to others.
select is(tests.try('dora', format($$select lms.import_assessments(%L, '{"assessments": [{"lesson": "lesson-9"}]}')$$, tests.id('welding'))), '404 course_not_found', 'a stranger is told nothing about the course');
select is(tests.try(who, format('select %s', call)), '42501', format('%s: %s', who, call))
from (values ('dora'), ('ines'), ('anonymous')) as w (who),
  (values ('private.import_bank_keys(null, null)'), ('private.find_bank_faults(null, null)'), ('private.bank_assessments(null, null)'), ('private.require_bank_author(null)')) as c (call);
select is(tests.try('boss', 'select * from private.answer_keys'), '42501', 'INV-A1: keys stay where they are');
-- The owner of the key is who imported it; the lock that orders imports is the course's.
select tests.as('ines');
select tests.import('welding', tests.doc('bank'));
select tests.as_owner();
select is(count(*), 3::bigint, 'whose keys they are') from private.answer_keys k where k.updated_by = tests.id('ines');
rollback to clean;

-- =====================================================================================================
-- Faults, all at once and in their places
-- =====================================================================================================

select tests.as('ines');
select tests.tells('null', '{not_an_object}', 'null is no document');
select tests.tells('[]', '{not_an_object}', 'nor a list');
select tests.tells('{}', '{"format missing_field","assessments missing_field"}', 'nothing');
select tests.tells('{"format": "x", "assessments": {}, "more": 1}', '{"format invalid_value","assessments wrong_kind","more unknown_field"}', 'other things');
select tests.tells('{"format": "lyceum-assessments-1", "assessments": [1, {"sections": [2], "questions": [null]}]}', array[
  'assessments[0] not_an_object', 'assessments[1].sections[0] not_an_object', 'assessments[1].questions[0] not_an_object',
  'assessments[1].key missing_field', 'assessments[1].title missing_field'
], 'parts that are none');
select tests.tells(jsonb_build_object('format', 'lyceum-assessments-1', 'assessments', jsonb_build_array(
  '{"key": "Not a slug", "title": "a\u0007b", "kind": "game", "weight": -1, "passing_percentage": 100.5, "max_attempts": 0, "cooldown_minutes": 1.5, "time_limit_minutes": "1",
    "opens_at": "2030-02-30T00:00:00Z", "closes_at": "2030-01-01", "grading_method": "worst", "answers_shown": "always", "holds_grades": "yes", "sources": {}, "lesson": "lesson-9"}'::jsonb
)), array[
  'assessments[0].key invalid_value', 'assessments[0].title invalid_value', 'assessments[0].kind invalid_value', 'assessments[0].weight invalid_value', 'assessments[0].passing_percentage invalid_value',
  'assessments[0].max_attempts invalid_value', 'assessments[0].cooldown_minutes wrong_kind', 'assessments[0].time_limit_minutes wrong_kind', 'assessments[0].opens_at wrong_kind', 'assessments[0].closes_at wrong_kind',
  'assessments[0].grading_method invalid_value', 'assessments[0].answers_shown invalid_value', 'assessments[0].holds_grades wrong_kind', 'assessments[0].sources wrong_kind', 'assessments[0].lesson unknown_lesson'
], 'values of an assessment');
select tests.tells(tests.with('assessments.0.questions.0', '{"question_key": "-", "type": "riddle", "prompt": " ", "points": 0.001, "scoring": "luck", "content": [], "answer": 1, "skills": ["arc", 7], "section": "sea"}'), array[
  'assessments[0].questions[0].question_key invalid_value', 'assessments[0].questions[0].prompt invalid_value', 'assessments[0].questions[0].points invalid_value', 'assessments[0].questions[0].content wrong_kind',
  'assessments[0].questions[0].answer wrong_kind', 'assessments[0].questions[0].skills wrong_kind', 'assessments[0].questions[0].section unknown_section'
], 'values of a question');
select tests.tells(tests.with('assessments.0.questions.0.type', '"riddle"'), '{assessments[0].questions[0].content unknown_type}', 'a type that there is not');
select tests.tells(tests.with('assessments.0.questions.0.content', '{"options": [{"id": "a", "text": "A", "correct": true}]}'), '{assessments[0].questions[0].content too_few_entries,assessments[0].questions[0].content unknown_field}', 'content that is none');
select tests.tells(tests.with('assessments.0.questions.0.answer', '{"correct": "c"}'), '{assessments[0].questions[0].answer correct_invalid}', 'a key that is none');
select tests.tells(tests.with('assessments.0.questions.2.explanation', '"Because."'), '{assessments[0].questions[2].explanation explanation_without_answer}', 'an explanation of nothing');
select tests.tells(tests.with('assessments.0.questions.1.question_key', '"gas.1"'), '{assessments[0].questions[1].question_key duplicate_key}', 'a key twice');
select tests.tells(tests.with('assessments.1.questions.0.question_key', '"gas.1"'), '{assessments[1].questions[0].question_key duplicate_key}', 'a question in two assessments');
select tests.tells(tests.with('assessments.1.key', '"gas-quiz"'), '{assessments[1].key duplicate_key}', 'an assessment twice');
select tests.tells(tests.with('assessments.0.questions.0.skills', '["arc", "plot", "flying"]'), '{assessments[0].questions[0].skills unknown_skill,assessments[0].questions[0].skills unknown_skill}', 'skills of others');
select tests.tells(tests.with('assessments.0.closes_at', '"2029-01-01T00:00:00Z"'), '{assessments[0].closes_at closes_before_it_opens}', 'a window that is none');
select tests.tells(tests.with('assessments.0.questions.0.prompt', to_jsonb(repeat('x', 20001))), '{assessments[0].questions[0].prompt too_long}', 'a prompt that is too long');
select is(tests.sees('lms.assessments'), '0', 'nothing of all this was written');
select tests.import('welding', tests.doc('bank'));
select tests.tells(
  jsonb_set(tests.doc('bank'), '{assessments}', '[{"key": "other", "title": "Other", "questions": [{"question_key": "gas.1", "type": "essay", "prompt": "Why?"}]}]'),
  '{assessments[0].questions[0].question_key question_of_another_assessment}', 'a question stays in its assessment'
);
select is(tests.failure_of(format('select lms.import_assessments(%L, %L)', tests.id('welding'), tests.doc('bank') - 'format')) -> 'code', '"assessments_not_importable"', 'what it is called');
-- Numbers that would be gigabytes when written out, and nesting.
select is((tests.failure_of(format('select lms.import_assessments(%L, %L)', tests.id('welding'), replace(tests.doc('bank')::text, '"weight": 2.5', '"weight": 1e100000'))) -> 'details' -> 0 ->> 'code'), 'wrong_kind', 'a number of 100,000 digits');
select is(tests.import('welding', jsonb_set(tests.doc('bank'), '{assessments,0,title}', to_jsonb('İstanbul ''; drop table lms.questions; --'::text))), '0/1/0 0/0/0 0/0/0 0/0/0 0/0/0', 'text is text');
select tests.as_owner();

select * from finish();
rollback;
