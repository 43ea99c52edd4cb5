begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press'), tests.unit('plant', 'works'), tests.unit('line', 'works', 'plant');
select tests.member('tina', 'works', 'tenant_admin'), tests.member('ines', 'works', 'instructor'), tests.member('mia', 'works', 'unit_manager', 'plant', 'plant');
select tests.member('dora', 'works', 'learner', 'line'), tests.member('eve', 'works'), tests.member('sam', 'works', 'learner', 'line'), tests.member('paul', 'press', 'tenant_admin');
select tests.course('safety', 'works', 'ines'), tests.course('secret', 'works', 'ines', 2, 'private'), tests.course('novel', 'press', 'paul');
select tests.enrollment('dora', 'safety'), tests.enrollment('eve', 'safety'), tests.enrollment('sam', 'safety'), tests.enrollment('paul', 'novel');

-- What a client sends: an answer, an activity.
create function tests.answer(question text, course text default 'safety', more text default '', vals text default '') returns text language sql as $$
  select format('insert into analytics.question_events (course_id, section_key, question_key, is_correct%s) values (%L, ''s1'', %L, false%s)', more, tests.id(course), question, vals)
$$;
create function tests.act(type text, course text default 'safety', more text default '', vals text default '') returns text language sql as $$
  select format('insert into analytics.activity_events (course_id, event_type%s) values (%L, %L%s)', more, tests.id(course), type, vals)
$$;

-- =====================================================================================================
-- What the server sets
-- =====================================================================================================

select tests.as('dora');
insert into analytics.question_events (user_id, course_id, section_key, question_key, is_correct, attempt_index, response_meta, answered_at)
values (tests.id('dora'), tests.id('safety'), 'ppe', 'q-gloves', true, 99, '{"ms": 1200}', '2001-01-01');
insert into analytics.activity_events (course_id, event_type, meta) values (tests.id('safety'), 'view_section', '{"section": "ppe"}');
select is(tests.outcome_of(format('insert into analytics.activity_events (user_id, course_id, event_type) values (%L, %L, ''view_section'')', tests.id('dora'), tests.id('safety'))), 'none', 'who it is may be said');
select tests.as_owner();
select results_eq(
  'select tenant_id, user_id, unit_id, enrollment_id, attempt_index, source, is_counted, answered_at, received_at between now() and clock_timestamp(), is_time_plausible from analytics.question_events',
  $$ values (tests.id('works'), tests.id('dora'), tests.id('line'), tests.id('dora takes safety'), 1, 'client'::private.event_source, true, timestamptz '2001-01-01', true, false) $$,
  'tenant, unit, cycle, time received and the number of the attempt are the server''s; an absurd time is kept, and marked'
);
select results_eq(
  'select tenant_id, user_id, unit_id, enrollment_id, occurred_at = received_at, received_at between now() and clock_timestamp(), is_time_plausible from analytics.activity_events',
  $$ values (tests.id('works'), tests.id('dora'), tests.id('line'), tests.id('dora takes safety'), true, true, true) $$,
  'a client need not say who and when'
);

select is(tests.try('dora', tests.answer('q', 'safety', ', ' || name, ', ' || value)), '42501', format('a client does not write %s', name))
from (values
  ('tenant_id', quote_literal(tests.id('works'))), ('unit_id', quote_literal(tests.id('line'))), ('received_at', 'now()'), ('source', '''server'''), ('is_counted', 'true'),
  ('is_time_plausible', 'true'), ('enrollment_id', quote_literal(tests.id('dora takes safety'))), ('attempt_id', quote_literal(tests.id('x')))
) as c (name, value);
select is(tests.try('dora', tests.act('view_section', 'safety', ', ' || name, ', ' || value)), '42501', format('nor of an activity %s', name))
from (values ('tenant_id', quote_literal(tests.id('works'))), ('unit_id', quote_literal(tests.id('line'))), ('received_at', 'now()'), ('enrollment_id', quote_literal(tests.id('dora takes safety')))) as c (name, value);

-- When somebody says that it was.
create table tests.times (what text, at text, plausible boolean);
insert into tests.times values ('now', 'now()', true), ('offline for a month', 'now() - interval ''30 days''', true), ('a clock that is four minutes fast', 'now() + interval ''4 minutes''', true),
  ('tomorrow', 'now() + interval ''1 day''', false), ('last year', 'now() - interval ''1 year''', false), ('never', '''infinity''', false), ('always', '''-infinity''', false), ('nothing said', 'null', true);
grant select on tests.times to public;
create function tests.plausible(at text) returns boolean language plpgsql as $$
declare v boolean; v_act boolean;
begin
  execute tests.answer('q-time', 'safety', ', answered_at', ', ' || at) || ' returning is_time_plausible' into v;
  execute tests.act('view_section', 'safety', ', occurred_at', ', ' || at) || ' returning is_time_plausible' into v_act;
  return case when v = v_act then v end;
end $$;
select tests.as('dora');
select is(tests.plausible(at), plausible, format('%s: %s', what, case when plausible then 'taken as it is' else 'marked' end)) from tests.times;
select tests.as_owner();

-- =====================================================================================================
-- Who may
-- =====================================================================================================

select is(tests.try(who, statement), answer, format('%s: %s in %s', who, what, course))
from (values
  ('dora', 'safety', '1'), ('dora', 'secret', '404 course_not_found'), ('dora', 'novel', '404 course_not_found'), ('dora', 'no such', '404 course_not_found'),
  -- Staff see the course, and do not spoil its figures.
  ('ines', 'safety', '409 not_enrolled'), ('tina', 'secret', '409 not_enrolled'), ('anonymous', 'safety', '42501')
) as c (who, course, answer), lateral (values ('an answer', tests.answer('q', course)), ('an activity', tests.act('view_section', course))) as s (what, statement);
select is(
  tests.try('dora', format('insert into analytics.question_events (user_id, course_id, section_key, question_key) values (%L, %L, ''s'', ''q'')', tests.id(other), tests.id(course))), '42501',
  format('nobody answers for %s in %s, and whether they are enrolled is not told', other, course)
) from (values ('eve', 'safety'), ('eve', 'novel'), ('paul', 'novel'), ('ghost', 'safety')) as c (other, course);
update lms.memberships set status = 'suspended' where id = tests.id('sam in works');
select is(tests.try('sam', tests.answer('q')), '42501', 'INV-T4: who is suspended records nothing');
select is(tests.try('sam', tests.act('view_section')), '42501', '... at all');
update lms.memberships set status = 'active' where id = tests.id('sam in works');

-- =====================================================================================================
-- Who sees
-- =====================================================================================================

select tests.as('eve');
select lives_ok(tests.answer('q-gloves'));
select lives_ok(tests.act('start_course'));
select tests.as('paul');
select lives_ok(tests.answer('q1', 'novel'));
select lives_ok(tests.act('start_course', 'novel'));
select tests.as_owner();
select is(tests.sees_as(who, relation, condition), n, format('%s sees %s of %s', who, n, relation))
from (values ('dora', '1'), ('eve', '1'), ('sam', '0'), ('mia', '1'), ('ines', '2'), ('tina', '2'), ('paul', '1'), ('anonymous', '42501')) as c (who, n),
  (values ('analytics.question_events', 'question_key <> ''q-time'''), ('analytics.activity_events', 'event_type <> ''view_section'' or meta is not null')) as r (relation, condition);
select tests.as('mia');
select results_eq('select p.display_name from analytics.question_events e join analytics.people p on p.id = e.user_id where e.question_key <> ''q-time''', array['Dora'], 'with names');
select tests.as_owner();

-- =====================================================================================================
-- Added, never changed
-- =====================================================================================================

create table tests.changes (statement text);
insert into tests.changes
select format(s, t) from unnest(array['analytics.question_events', 'analytics.activity_events', 'private.question_events', 'private.activity_events']) t, unnest(array['update %s set meta_is = 1', 'update %s set course_id = course_id', 'delete from %s', 'truncate %s']) s where s not like '%meta_is%' and not (s like 'truncate%' and t like 'analytics%');
grant select on tests.changes to public;
select is(tests.try(who, statement), '42501', format('%s cannot: %s', who, statement)) from tests.changes, unnest(array['anonymous', 'dora', 'tina', 'service', 'owner']) who;
select is(tests.error_of('truncate private.question_events_default'), '42501', 'nor is a partition emptied');
select is(tests.error_of('delete from private.activity_events_default'), '42501', '... or reduced');
select is(tests.try('tina', format('select * from private.%I', t)), '42501', format('nobody addresses %s', t)) from unnest(array['question_events_default', 'activity_events_default', 'event_receipts']) t;
select is(tests.try('service', format('select * from private.%I', t)), '42501', format('nor does the service: %s', t)) from unnest(array['event_receipts']) t;

-- =====================================================================================================
-- Replays
-- =====================================================================================================

create function tests.batch(ids text[], question text default 'q-replay') returns bigint language sql as $$
  with taken as (
    insert into analytics.question_events (id, course_id, section_key, question_key, is_correct)
    select md5(i)::uuid, tests.id('safety'), 's', question, true from unnest(ids) with ordinality as b (i, place) order by place returning 1
  ) select count(*) from taken
$$;
select tests.as('dora');
select is(tests.batch('{a,b,c}'), 3::bigint, 'a batch is taken');
select is(tests.batch('{a,b,c}'), 0::bigint, 'sent again, it is a success that changes nothing');
select is(tests.batch('{c,d,d,b}'), 1::bigint, 'of a batch that overlaps, what is new; of the same id twice, one');
select tests.as_service();
-- A moment later: this file is one transaction, in which all have the same time.
select is(tests.rows_of(format(
  'insert into analytics.question_events (id, user_id, course_id, section_key, question_key, received_at) values (%L, %L, %L, ''s'', ''q-replay'', %L)',
  md5('a')::uuid, tests.id('eve'), tests.id('safety'), now() + interval '1 second'
)), 1::bigint, 'ids are each learner''s own: nobody uses up somebody else''s');
select tests.as('dora');
insert into analytics.activity_events (id, course_id, event_type) select md5(i)::uuid, tests.id('safety'), 'open_file' from unnest(array['a', 'e', 'a']) i;
insert into analytics.activity_events (id, course_id, event_type) select md5(i)::uuid, tests.id('safety'), 'open_file' from unnest(array['e', 'a']) i;
select is((select count(*) from analytics.activity_events where event_type = 'open_file'), 2::bigint, 'an activity is no answer: its id is its own, and replays are harmless as well');
select is((select array_agg(attempt_index order by attempt_index) from analytics.question_events where question_key = 'q-replay' and user_id = tests.id('dora')), array[1, 2, 3, 4], 'what was not taken is not counted as an attempt');
-- A batch of which one is refused is refused whole, and can be sent again whole.
select is(tests.error_of($$ insert into analytics.question_events (id, course_id, section_key, question_key) values (md5('f')::uuid, tests.id('safety'), 's', 'q-f'), (md5('g')::uuid, tests.id('safety'), 's', '') $$), '23514 event_key_is_1_to_200_characters', 'a refused batch');
select is(tests.batch('{f,g}', 'q-f'), 2::bigint, '... leaves no receipts');
select tests.as_owner();

-- =====================================================================================================
-- Attempts are counted by the server
-- =====================================================================================================

select tests.as('dora');
insert into analytics.question_events (course_id, section_key, question_key) select tests.id('safety'), 's', q from unnest(array['q-a', 'q-b', 'q-a', 'q-a', 'q-b']) q;
insert into analytics.question_events (course_id, section_key, question_key) values (tests.id('safety'), 'another section', 'q-a');
select tests.as('eve');
insert into analytics.question_events (course_id, section_key, question_key) values (tests.id('safety'), 's', 'q-a');
select tests.as_owner();
select results_eq(
  $$ select user_id = tests.id('dora'), question_key::text, string_agg(attempt_index::text, ' ' order by attempt_index) from analytics.question_events where question_key in ('q-a', 'q-b') group by 1, 2 order by 1, 2 $$,
  $$ values (false, 'q-a', '1'), (true, 'q-a', '1 2 3 4'), (true, 'q-b', '1 2') $$, 'by learner and question, also within a batch'
);

-- =====================================================================================================
-- Types of activities
-- =====================================================================================================

select tests.as('dora');
select is(tests.failure_of(tests.act('fly')) -> 'code', '"unknown_event_type"', 'an unknown type is refused');
select ok(tests.failure_of(tests.act('fly')) #> '{details,known}' @> '["view_section", "start_course", "complete_course"]', '... with the list of those that there are');
select tests.as_owner();
select is(tests.try(who, format('insert into analytics.event_types (tenant_id, event_type, description) values (%L, ''open_sds'', ''Data sheet'')', tests.id('works'))), answer, format('%s registers a type: %s', who, answer))
from (values ('anonymous', '42501'), ('dora', '42501'), ('ines', '42501'), ('mia', '42501'), ('paul', '42501'), ('tina', '1')) as c (who, answer);
select is(tests.try('tina', format('insert into analytics.event_types (tenant_id, event_type) values (%L, %L)', tests.id('works'), name)), answer, format('%s: %s', name, answer))
from (values ('view_section', '409 event_type_is_builtin'), ('Open SDS', '23514 event_type_is_words_joined_by_underscores'), ('x_', '23514 event_type_is_words_joined_by_underscores'), (repeat('x', 61), '23514 event_type_is_words_joined_by_underscores')) as c (name, answer);
select is(tests.try('tina', 'insert into analytics.event_types (event_type) values (''open_sds'')'), '42501', 'nobody registers for everybody');
select is(tests.try('tina', 'update analytics.event_types set description = ''x'' where tenant_id is null'), '0', 'nor changes what is built in');
select is(tests.try('tina', 'delete from analytics.event_types'), '0', '... or removes it');
select tests.as('tina');
insert into analytics.event_types (tenant_id, event_type, description) values (tests.id('works'), 'open_sds', 'Data sheet');
select is(tests.error_of(format('insert into analytics.event_types (tenant_id, event_type) values (%L, ''open_sds'')', tests.id('works'))), '23505 event_type_is_taken', 'once');
select is(tests.rows_of($$ update analytics.event_types set description = 'Safety data sheet' where event_type = 'open_sds' $$), 1::bigint, 'they describe it');
select tests.as_owner();
select is(tests.try('tina', 'delete from analytics.event_types where event_type = ''open_sds'''), '1', '... or take it back');
select is(tests.try('dora', 'update analytics.event_types set description = ''x'''), '0', 'others do not');
select is(tests.try('dora', 'delete from analytics.event_types'), '0', 'neither');
select tests.as('dora');
select is(tests.error_of(tests.act('open_sds')), 'none', 'then its members use it');
select is(tests.sees('analytics.event_types', 'tenant_id is not null'), '1', '... and see it');
select tests.as('paul');
select is(tests.failure_of(tests.act('open_sds', 'novel')) -> 'code', '"unknown_event_type"', 'others do not');
select ok(not tests.failure_of(tests.act('open_sds', 'novel')) #> '{details,known}' @> '["open_sds"]', 'nor are they told of it');
select is(tests.sees('analytics.event_types', 'tenant_id is not null'), '0', 'nor see it');
select tests.as_owner();

-- =====================================================================================================
-- Values
-- =====================================================================================================

select is(tests.try('dora', statement), answer, answer || ': ' || left(statement, 150)) from (values
  (tests.answer(repeat('q', 200)), '1'), (tests.answer(repeat('q', 201)), '23514 event_key_is_1_to_200_characters'), (tests.answer(' '), '23514 event_key_is_1_to_200_characters'),
  (tests.answer('q', 'safety', ', response_meta', ', ''[]'''), '23514 event_details_are_a_small_object'),
  (tests.answer('q', 'safety', ', response_meta', format(', %L', jsonb_build_object('x', (select string_agg(md5(n::text), '') from generate_series(1, 300) n)))), '23514 event_details_are_a_small_object'),
  (tests.act('view_section', 'safety', ', meta', ', ''"x"'''), '23514 event_details_are_a_small_object'),
  (format('insert into analytics.question_events (course_id, section_key) values (%L, ''s'')', tests.id('safety')), '23502'),
  (format('insert into analytics.question_events (course_id, section_key, question_key, is_correct) values (%L, ''s'', ''q'', null)', tests.id('safety')), '1')
) as c (statement, answer);

select is(tests.error_of(statement), answer, answer) from (values
  (format('insert into analytics.event_types (tenant_id, event_type) values (%L, ''wave'')', tests.id('nowhere')), '23503 event_type_belongs_to_a_tenant'),
  (format('insert into analytics.event_types (tenant_id, event_type, description) values (%L, ''wave'', repeat(''x'', 501))', tests.id('works')), '23514 event_type_description_is_short'),
  (format('insert into analytics.question_events (user_id, course_id, section_key, question_key, source) values (%L, %L, ''s'', ''q'', ''oracle'')', tests.id('dora'), tests.id('safety')), '23514 event_source_is_known'),
  (format('insert into analytics.activity_events (user_id, course_id, enrollment_id, event_type) values (%L, %L, %L, ''wave'')', tests.id('dora'), tests.id('safety'), tests.id('dora takes safety')), '422 unknown_event_type')
) as c (statement, answer);

-- =====================================================================================================
-- The service and imports
-- =====================================================================================================

select tests.as_service();
insert into analytics.question_events (user_id, course_id, tenant_id, section_key, question_key, received_at, answered_at)
values (tests.id('sam'), tests.id('safety'), tests.id('press'), 's', 'q-past', '2020-03-05', '2020-03-04');
insert into analytics.activity_events (user_id, course_id, tenant_id, event_type, received_at)
values (tests.id('sam'), tests.id('safety'), tests.id('press'), 'view_section', '2020-03-05');
select results_eq(
  $$ select tenant_id, received_at, is_time_plausible, attempt_index from analytics.question_events where question_key = 'q-past' $$,
  $$ values (tests.id('works'), timestamptz '2020-03-05', true, 1) $$, 'INV-T1: an import may say when, and not of which tenant'
);
select is((select tenant_id from analytics.activity_events where received_at = '2020-03-05'), tests.id('works'), '... of neither');
select is(tests.error_of(format('insert into analytics.question_events (user_id, course_id, section_key, question_key) values (%L, %L, ''s'', ''q'')', tests.id('sam'), tests.id('novel'))), '409 not_enrolled', 'nobody''s event is in a course that they do not take');
select is(
  tests.error_of(format('insert into analytics.question_events (enrollment_id, user_id, course_id, section_key, question_key) values (%L, %L, %L, ''s'', ''q-given'')', tests.id('eve takes safety'), tests.id(person), tests.id(course))), answer, format('a cycle that is given is one of the person and course: %s, %s', person, course)
) from (values ('paul', 'novel', '409 not_enrolled'), ('dora', 'safety', '409 not_enrolled'), ('eve', 'safety', 'none')) as c (person, course, answer);
select results_eq($$ select user_id, enrollment_id from analytics.question_events where question_key = 'q-given' $$, $$ values (tests.id('eve'), tests.id('eve takes safety')) $$, '... and is taken');
select tests.as_owner();

-- The cycle is the latest one.
update lms.enrollments set status = 'dropped' where id = tests.id('eve takes safety');
insert into lms.enrollments (id, course_id, user_id) values (tests.id('second cycle'), tests.id('safety'), tests.id('eve'));
select tests.as('eve');
insert into analytics.activity_events (course_id, event_type) values (tests.id('safety'), 'pause_media');
select tests.as_owner();
select is((select enrollment_id from analytics.activity_events where event_type = 'pause_media'), tests.id('second cycle'), 'an event belongs to the latest cycle');

-- =====================================================================================================
-- INV-A4: handing in an attempt emits one event per answer; claims about questions with a key count for nothing
-- =====================================================================================================

-- As publishing and starting would have left it: two questions that were answered, one that was not, one essay.
insert into lms.assessments (id, course_id, title, key, answers_shown) values (tests.id('quiz'), tests.id('safety'), 'Quiz', 'final-quiz', 'after_submit');
insert into lms.questions (id, assessment_id, question_key, type, prompt) select tests.id('quiz ' || k), tests.id('quiz'), k, case k when 'q-essay' then 'essay' else 'true_false' end, 'Is it?' from unnest(array['q-yes', 'q-no', 'q-left', 'q-essay', 'q-survey']) k;
insert into private.answer_keys (question_id, tenant_id, course_id, key) select q.id, q.tenant_id, q.course_id, '{"correct": true}' from lms.questions q where q.question_key in ('q-yes', 'q-no', 'q-left');
insert into lms.version_assessments (version_id, assessment_id, tenant_id, course_id, key, kind, title, instructions, is_mandatory, weight, grading_method, order_index)
select e.version_id, tests.id('quiz'), e.tenant_id, e.course_id, 'final-quiz', 'quiz', 'Quiz', '', true, 1, 'best', 0 from lms.enrollments e where e.id = tests.id('dora takes safety');
insert into lms.question_revisions (id, tenant_id, course_id, assessment_id, question_id, question_key, content_hash, type, prompt, content, points, scoring, skill_ids)
select tests.id('revision of ' || q.question_key), q.tenant_id, q.course_id, q.assessment_id, q.id, q.question_key, 'x', q.type, q.prompt, q.content, 1, 'all_or_nothing', '{}' from lms.questions q where q.assessment_id = tests.id('quiz');
insert into private.key_revisions (tenant_id, course_id, revision_id, number, key, explanation)
select r.tenant_id, r.course_id, r.id, 1, '{"correct": true}', '' from lms.question_revisions r where r.question_key in ('q-yes', 'q-no', 'q-left');
insert into lms.questions (id, assessment_id, question_key, type, prompt) values (tests.id('draft question'), tests.id('quiz'), 'q-draft', 'true_false', 'Is it?');
insert into private.answer_keys (question_id, tenant_id, course_id, key) select q.id, q.tenant_id, q.course_id, '{"correct": true}' from lms.questions q where q.question_key = 'q-draft';
create function tests.attempt(name text, number integer) returns uuid language plpgsql as $$
declare v_id uuid := tests.id(name || ' attempt ' || number);
begin
  insert into lms.assessment_attempts (id, tenant_id, course_id, user_id, enrollment_id, version_id, assessment_id, number)
  select v_id, e.tenant_id, e.course_id, e.user_id, e.id, e.version_id, tests.id('quiz'), $2 from lms.enrollments e where e.id = tests.id(name || ' takes safety');
  insert into lms.attempt_questions (attempt_id, question_id, tenant_id, course_id, user_id, revision_id, position, points)
  select v_id, r.question_id, r.tenant_id, r.course_id, tests.id(name), r.id, row_number() over (order by r.question_key), 1 from lms.question_revisions r where r.assessment_id = tests.id('quiz');
  insert into lms.attempt_answers (attempt_id, question_id, tenant_id, course_id, user_id, response, saved_at)
  select v_id, q.question_id, q.tenant_id, q.course_id, q.user_id, case q.question_id when tests.id('quiz q-essay') then '"Long"'::jsonb else 'true' end, now() - interval '2 minutes'
  from lms.attempt_questions q where q.attempt_id = v_id and q.question_id not in (tests.id('quiz q-left'), tests.id('quiz q-survey'));
  insert into lms.answer_scores (attempt_id, question_id, tenant_id, course_id, user_id, points, is_correct, graded_at)
  select v_id, q.question_id, q.tenant_id, q.course_id, q.user_id, case when q.question_id <> tests.id('quiz q-essay') then (q.question_id = tests.id('quiz q-yes'))::integer end,
    case when q.question_id <> tests.id('quiz q-essay') then q.question_id = tests.id('quiz q-yes') end, case when q.question_id <> tests.id('quiz q-essay') then now() end
  from lms.attempt_questions q where q.attempt_id = v_id;
  return v_id;
end $$;
select tests.attempt('dora', 1);
select is((select count(*) from analytics.question_events where source = 'server'), 0::bigint, 'an attempt under way emits nothing');
update lms.assessment_attempts set status = 'submitted', submitted_at = now(), closed_by = 'learner' where id = tests.id('dora attempt 1');
create function tests.server_events() returns setof text language sql as $$
  select concat_ws(' ', section_key, question_key, coalesce(is_correct::text, 'waits'), attempt_index, answered_at < received_at, is_counted, unit_id = tests.id('line'), enrollment_id = tests.id('dora takes safety'))
  from analytics.question_events where source = 'server' and attempt_id = tests.id('dora attempt 1') order by question_key
$$;
select results_eq('select tests.server_events()', array['final-quiz q-essay waits 1 t t t t', 'final-quiz q-no false 1 t t t t', 'final-quiz q-yes true 1 t t t t'], 'INV-A4: one event per answer, by what the server knows');
update lms.assessment_attempts set status = 'graded' where id = tests.id('dora attempt 1');
update lms.assessment_attempts set status = 'submitted' where id = tests.id('dora attempt 1');
update lms.assessment_attempts set status = 'graded' where id = tests.id('dora attempt 1');
select is((select count(*) from analytics.question_events where source = 'server'), 3::bigint, '... once: grading and grading again emit nothing');

select tests.as('dora');
insert into analytics.question_events (course_id, section_key, question_key, is_correct) select tests.id('safety'), 's', k, true from unnest(array['q-yes', 'q-essay', 'q-survey', 'q-own', 'q-draft']) k;
select results_eq(
  $$ select question_key::text, attempt_index, is_counted from analytics.question_events where source = 'client' and question_key in ('q-yes', 'q-essay', 'q-survey', 'q-own', 'q-draft') order by 1 $$,
  $$ values ('q-draft', 1, true), ('q-essay', 2, true), ('q-own', 1, true), ('q-survey', 1, true), ('q-yes', 2, false) $$, 'INV-A4: a claim about a published question that has a key counts for nothing; of drafts nothing is told'
);
-- INV-A1: before the score is released, the events say nothing of it either.
select is(tests.sees('analytics.question_events', 'source = ''server'''), '0', 'INV-A1: its learner does not read from events what is not shown yet');
select tests.as('ines');
select is(tests.sees('analytics.question_events', 'source = ''server'''), '3', 'staff does');
select tests.as('mia');
select is(tests.sees('analytics.question_events', 'source = ''server'''), '3', '... and their manager');
select tests.as_owner();
select tests.grant_role('dora', 'works', 'hr_admin');
select tests.as('dora');
select is(tests.sees('analytics.question_events', 'source = ''server'''), '0', 'nor by rights over everybody: they do not reach the own attempts');
select tests.as_owner();
insert into lms.attempt_scores (attempt_id, tenant_id, course_id, user_id, enrollment_id, assessment_id, points, max_points, percentage, passed, released_at)
select t.id, t.tenant_id, t.course_id, t.user_id, t.enrollment_id, t.assessment_id, 1, 4, 25, false, now() from lms.assessment_attempts t where t.id = tests.id('dora attempt 1');
select tests.as('dora');
select is(tests.sees('analytics.question_events', 'source = ''server'''), '3', 'once it is shown, they read them');
select tests.as_owner();

-- The deadline closes it: a job, on nobody's behalf.
select tests.attempt('sam', 1);
update lms.assessment_attempts set status = 'graded', submitted_at = now(), closed_by = 'deadline' where id = tests.id('sam attempt 1');
select is((select count(*) from analytics.question_events where attempt_id = tests.id('sam attempt 1') and user_id = tests.id('sam')), 3::bigint, 'whoever closes an attempt, its answers are recorded');

-- =====================================================================================================
-- Partitions
-- =====================================================================================================

select tests.as_service();
select is(ops.make_event_partitions(), 6, 'this month is left to the default partitions, which hold some of it; the next three get their own');
select is(ops.make_event_partitions(), 0, 'INV-O1: a second run does nothing');
select tests.as_owner();
select is((select count(*) from private.question_events_default) > 0, true, 'nothing is moved');
create function tests.partition_of(at timestamptz) returns text language plpgsql as $$
declare v text;
begin
  execute format($q$ insert into analytics.question_events (user_id, course_id, section_key, question_key, received_at) values (%L, %L, 's', 'q-month', %L) $q$, tests.id('dora'), tests.id('safety'), at);
  select e.tableoid::regclass::text into v from private.question_events e where e.question_key = 'q-month' and e.received_at = at;
  return v;
end $$;
select is(tests.partition_of(date_trunc('month', now(), 'UTC') + interval '1 month'), to_char(now() at time zone 'UTC' + interval '1 month', '"private.question_events_"YYYY_MM'), 'the month begins in its partition')
where extract(day from now()) <= 28;
select is(tests.partition_of(now() - interval '40 days'), 'private.question_events_default', 'what no partition is there for is taken all the same');
select is_empty(
  $$ select i.inhrelid::regclass from pg_inherits i join pg_class c on c.oid = i.inhrelid
     where i.inhparent in ('private.question_events'::regclass, 'private.activity_events'::regclass)
       and (not c.relrowsecurity or c.relnamespace <> 'private'::regnamespace or exists (select from aclexplode(c.relacl) a where a.grantee in (0, 'anon'::regrole, 'authenticated'::regrole, 'service_role'::regrole))
         or not exists (select from pg_trigger t where t.tgrelid = c.oid and t.tgname = '_100_never_emptied')) $$,
  'partitions are unexposed, granted to nobody and never emptied'
);
select is(tests.error_of(format('delete from private.%I', to_char(now() at time zone 'UTC' + interval '1 month', '"question_events_"YYYY_MM'))), '42501', 'what is in a new partition is not removed either');
select is((select tgenabled::text from pg_trigger where tgrelid = to_regclass(to_char(now() at time zone 'UTC' + interval '1 month', '"private.question_events_"YYYY_MM')) and tgname = '_100_append_only'), 'O', 'its rows are kept like all');
-- A month that the default partition already holds rows of.
insert into analytics.activity_events (user_id, course_id, event_type, received_at) values (tests.id('dora'), tests.id('safety'), 'view_section', now() + interval '150 days');
select is(ops.make_event_partitions(), 0, 'INV-O4: what is there decides');

-- =====================================================================================================
-- Receipts are forgotten after 90 days
-- =====================================================================================================

update private.event_receipts set received_at = now() - interval '91 days' where user_id = tests.id('dora') and kind = 'question';
select is((select count(*) from private.event_receipts where user_id = tests.id('dora') and kind = 'question'), 6::bigint, 'there are receipts');
select tests.as_service();
select is(ops.forget_event_receipts(4), 4, 'a run is bounded');
select is(ops.forget_event_receipts(), 2, 'the next catches up');
select is(ops.forget_event_receipts(), 0, 'younger ones stay');
select tests.as_owner();
select is(tests.try(who, format('select ops.%s()', job)), '42501', format('%s does not run %s', who, job)) from unnest(array['anonymous', 'dora', 'tina']) who, unnest(array['make_event_partitions', 'forget_event_receipts', 'end_learning_sessions']) job;

-- =====================================================================================================
-- A unit that events refer to
-- =====================================================================================================

update lms.enrollments set unit_id = null where unit_id = tests.id('line');
update lms.memberships set unit_id = null where unit_id = tests.id('line');
select is(tests.try('tina', format('delete from lms.org_units where id = %L', tests.id('line'))), '409 unit_in_use', 'a unit where something happened stays');

select * from finish();
rollback;
