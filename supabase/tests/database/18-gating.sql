begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'), tests.member('marco', 'works', 'unit_manager'),
  tests.member('ines', 'works', 'instructor'), tests.member('ivan', 'works', 'instructor'), tests.member('dora', 'works'), tests.member('sid', 'works'),
  tests.member('eve', 'works'), tests.member('petra', 'press', 'tenant_admin');
select tests.course('safety', 'works', 'ines', 4), tests.course('other', 'works', 'ivan', 2), tests.course('novel', 'press', 'petra', 2);

create function tests.needs(lesson text, prerequisite text) returns text language sql as $$
  select format('insert into lms.lesson_prerequisites (lesson_id, prerequisite_lesson_id) values (%L, %L)', tests.id(lesson), tests.id(prerequisite))
$$;
create function tests.attempt(who text, lesson text, percentage numeric default 100) returns text language plpgsql as $$
declare
  v_result text;
begin
  perform tests.be(who);
  v_result := tests.error_of(format('select lms.record_progress(%L, %s)', tests.id(lesson), percentage));
  perform tests.as_owner();
  return v_result;
end
$$;
-- The codes of what keeps each lesson closed, as the outline says.
create function tests.closed(who text, course text) returns text language plpgsql as $$
declare
  v_text text;
begin
  perform tests.be(who);
  select string_agg(l.title || ': ' || (select string_agg(o.code, '+') from unnest(l.obstacles) as o), ', ' order by l.order_index)
  into v_text
  from lms.get_course_outline(tests.id(course)) as outline, unnest(outline.modules) as m, unnest(m.lessons) as l
  where cardinality(l.obstacles) > 0;
  perform tests.as_owner();
  return coalesce(v_text, '');
end
$$;
create function tests.report(who text, block text, percentage text default 'null', watched text default null) returns text language plpgsql as $$
declare
  v_result text;
begin
  perform tests.be(who);
  v_result := tests.error_of(format('select lms.record_block_progress(%L, %s, %L)', tests.id(block), percentage, watched::jsonb));
  perform tests.as_owner();
  return v_result;
end
$$;
create function tests.lesson_of(who text, lesson text) returns text language sql as $$
  select format('%s %s', p.status, p.progress_percentage) from lms.lesson_progress p where p.user_id = tests.id(who) and p.lesson_id = tests.id(lesson)
$$;
savepoint clean;

-- =====================================================================================================
-- Lesson prerequisites
-- =====================================================================================================

select is(tests.try(who, tests.needs(lesson, prerequisite)), expected, format('%s lets %s wait for %s: %s', who, lesson, prerequisite, expected))
from (values
  ('ines', 'safety/2', 'safety/1', '1'), ('boss', 'safety/2', 'safety/1', '1'), ('ivan', 'safety/2', 'safety/1', '42501'), ('dora', 'safety/2', 'safety/1', '42501'), ('hanna', 'safety/2', 'safety/1', '42501'),
  ('petra', 'safety/2', 'safety/1', '42501'), ('anonymous', 'safety/2', 'safety/1', '42501'), ('ines', 'safety/2', 'safety/2', '409 prerequisite_circle'),
  ('ines', 'safety/2', 'other/1', '23503 prerequisite_lesson_is_of_the_same_course'), ('boss', 'safety/2', 'novel/1', '23503 prerequisite_lesson_is_of_the_same_course'), ('ines', 'other/1', 'safety/1', '42501')
) as cases (who, lesson, prerequisite, expected);

do $$ begin execute tests.needs('safety/2', 'safety/1'); execute tests.needs('safety/3', 'safety/2'); end $$;
select is(tests.error_of(tests.needs('safety/1', 'safety/2')), '409 prerequisite_circle', 'two lessons do not wait for each other');
select is(tests.try('dora', tests.needs('safety/1', 'safety/2')), '42501', 'who may not write learns nothing of circles');
select is(tests.error_of(tests.needs('safety/1', 'safety/3')), '409 prerequisite_circle', 'nor in a larger circle');
select is(tests.error_of(format('update lms.lesson_prerequisites set lesson_id = %L, prerequisite_lesson_id = %L where lesson_id = %L', tests.id('safety/1'), tests.id('safety/2'), tests.id('safety/3'))), '409 prerequisite_circle', 'nor by a change of the service');
select is(tests.try('eve', 'delete from lms.lesson_prerequisites'), '0', 'learners take no prerequisites away');
select is(tests.try('ines', 'delete from lms.lesson_prerequisites'), '2', 'staff does');

-- INV-P4
select tests.republish('safety');
select tests.enrollment('dora', 'safety');
select is(tests.closed('dora', 'safety'), 'Lesson 2: prerequisite_unmet, Lesson 3: prerequisite_unmet', 'the outline says what is closed');
select is(tests.attempt('dora', 'safety/2', 1), '409 lesson_locked', 'INV-P4: a closed lesson accepts no progress, however little');
select is(tests.try('dora', format('insert into lms.lesson_progress (user_id, lesson_id, progress_percentage) values (%L, %L, 0)', tests.id('dora'), tests.id('safety/2'))), '409 lesson_locked', 'INV-P4: nor over REST');
select tests.as('dora');
select is(
  tests.failure_of(format('select lms.complete_lesson(%L)', tests.id('safety/3'))) #> '{details,0,details,lessons}', jsonb_build_array(jsonb_build_object('lesson_id', tests.id('safety/2'), 'title', 'Lesson 2')),
  'INV-P4: ... and says which are missing'
);
select is(tests.error_of(format('select lms.get_lesson(%L)', tests.id('safety/2'))), '409 lesson_locked', 'its content is closed as well');
select is(tests.sees('lms.version_blocks'), '2', '... also over REST');
select tests.as_owner();
select is(tests.attempt('dora', 'safety/1', 99), 'none', 'what is open can be begun');
select is(tests.attempt('dora', 'safety/2'), '409 lesson_locked', '... and nearly done is not done');
select is(tests.attempt('dora', 'safety/1'), 'none', 'it is completed');
select is(tests.closed('dora', 'safety'), 'Lesson 3: prerequisite_unmet', '... which opens the next one');
select is(tests.attempt('dora', 'safety/2'), 'none', '... to be completed');
select is(tests.attempt('dora', 'safety/3', 40), 'none', '... and so on');
-- A later version that closes what was begun.
do $$ begin execute tests.needs('safety/3', 'safety/4'); end $$;
select tests.republish('safety');
select is((lms.migrate_enrollments(tests.id('safety'), 'move')).moved, 1, 'the learner is moved to a version in which more comes first');
select is(tests.attempt('dora', 'safety/3', 40), 'none', 'INV-P6: what was reported before can be reported again');
select is(tests.attempt('dora', 'safety/3', 41), '409 lesson_locked', '... but goes no further');
select is(tests.closed('dora', 'safety'), 'Lesson 3: prerequisite_unmet', 'what is completed stays open');
rollback to clean;

-- =====================================================================================================
-- One after the other
-- =====================================================================================================

update lms.courses set is_sequential = true where id = tests.id('safety');
update lms.lessons set requires_completion = false where id = tests.id('safety/2');
select tests.republish('safety');
select tests.enrollment('dora', 'safety');
select is(tests.closed('dora', 'safety'), 'Lesson 2: prerequisite_unmet, Lesson 3: prerequisite_unmet, Lesson 4: prerequisite_unmet', 'a sequential course opens with its first lesson');
select is(tests.attempt('dora', 'safety/1'), 'none', 'it is completed');
select is(tests.closed('dora', 'safety'), 'Lesson 4: prerequisite_unmet', '... which opens the optional one and the next required one');
update lms.lessons set order_index = 9 - order_index where course_id = tests.id('safety');
select is(tests.closed('dora', 'safety'), 'Lesson 4: prerequisite_unmet', 'INV-C1: a reordered draft opens and closes nothing');
rollback to clean;

-- =====================================================================================================
-- Release by date and by days, in the tenant's time zone
-- =====================================================================================================

create function tests.opens(days integer, on_day date, enrolled timestamptz, zone text) returns timestamptz language plpgsql as $$
declare
  v_lesson lms.version_lessons;
begin
  v_lesson.release_after_days := days;
  v_lesson.release_on := on_day;
  return private.release_time(v_lesson, enrolled, zone);
end
$$;
select is(tests.opens(days, day::date, enrolled::timestamptz, zone), expected::timestamptz, format('%s days, day %s, enrolled %s in %s: %s', days, day, enrolled, zone, expected))
from (values
  (0, null, '2026-03-01 05:30Z', 'UTC', '2026-03-01 00:00Z'), (1, null, '2026-03-01 23:59Z', 'UTC', '2026-03-02 00:00Z'),
  -- Still the last of February in Denver; and a day of 23 hours.
  (1, null, '2026-03-01 05:30Z', 'America/Denver', '2026-03-01 07:00Z'), (8, null, '2026-03-01 05:30Z', 'America/Denver', '2026-03-08 07:00Z'), (9, null, '2026-03-01 05:30Z', 'America/Denver', '2026-03-09 06:00Z'),
  (null, '2026-07-01', '2026-03-01 05:30Z', 'Pacific/Auckland', '2026-06-30 12:00Z'), (null, null, '2026-03-01 05:30Z', 'UTC', null)
) as cases (days, day, enrolled, zone, expected);

update lms.tenants set time_zone = 'Pacific/Auckland' where id = tests.id('works');
update lms.lessons set release_after_days = 3 where id = tests.id('safety/2');
update lms.lessons set release_on = (now() at time zone 'Pacific/Auckland')::date + 1 where id = tests.id('safety/3');
update lms.lessons set release_on = (now() at time zone 'Pacific/Auckland')::date where id = tests.id('safety/4');
select is(tests.error_of(format('update lms.lessons set release_on = now() where id = %L', tests.id('safety/2'))), '23514 lesson_is_released_by_days_or_by_date', 'a lesson is released by days or by date');
select tests.republish('safety');
select tests.enrollment('dora', 'safety'), tests.enrollment('sid', 'safety');
update lms.enrollments set enrolled_at = now() - interval '3 days' where id = tests.id('sid takes safety');
select is(tests.closed('dora', 'safety'), 'Lesson 2: not_released, Lesson 3: not_released', 'lessons open at their time');
select is(tests.closed('sid', 'safety'), 'Lesson 3: not_released', '... days count from the learner''s own enrolment');
select is(tests.attempt('dora', 'safety/2'), '409 lesson_locked', 'INV-P4: what is not released accepts no progress');
select is(tests.attempt('sid', 'safety/2'), 'none', '... what is, does');
rollback to clean;

-- =====================================================================================================
-- Completion by blocks
-- =====================================================================================================

insert into lms.lesson_blocks (id, lesson_id, type, content, is_optional) values
  (tests.id('b1'), tests.id('safety/2'), 'markdown', '{"markdown": "More"}', false), (tests.id('b2'), tests.id('safety/2'), 'markdown', '{"markdown": "If you like"}', true),
  (tests.id('v1'), tests.id('safety/3'), 'video', '{"url": "https://example.com/a", "duration": 100}', false), (tests.id('v2'), tests.id('safety/3'), 'youtube', '{"video_id": "abcdefghijk", "duration": 300}', false),
  (tests.id('v3'), tests.id('safety/4'), 'video', '{"url": "https://example.com/b"}', false);
insert into lms.lesson_blocks (id, lesson_id, type, content) select tests.id('b0'), tests.id('safety/2'), 'markdown', '{"markdown": "First"}';
update lms.lesson_blocks set deleted_at = now() where lesson_id in (tests.id('safety/2'), tests.id('safety/3')) and id not in (tests.id('b0'), tests.id('b1'), tests.id('b2'), tests.id('v1'), tests.id('v2'));
update lms.lessons set completion_rule = 'all_blocks' where id = tests.id('safety/2');
update lms.lessons set completion_rule = 'watched', required_watched_percentage = 75 where id = tests.id('safety/3');
select tests.republish('safety');
select tests.enrollment('dora', 'safety'), tests.enrollment('sid', 'safety');
savepoint taught;

select is(tests.attempt('dora', lesson, percentage), expected, format('INV-P3: %s claims %s percent: %s', lesson, percentage, expected))
from (values ('safety/1', 100, 'none'), ('safety/2', 100, '409 evidence_required'), ('safety/2', 1, '409 evidence_required'), ('safety/2', 0, 'none'), ('safety/3', 100, '409 evidence_required')) as cases (lesson, percentage, expected);
select is(tests.try('dora', format('update lms.lesson_progress set progress_percentage = 100 where lesson_id = %L', tests.id('safety/2'))), '409 evidence_required', 'INV-P3: nor over REST');

select is(tests.report('dora', 'b0', '50'), 'none', 'a block is half read');
select is(tests.lesson_of('dora', 'safety/2'), 'not_started 0', '... which completes nothing');
select is(tests.report('dora', 'b2', '100'), 'none', 'an optional block is read');
select is(tests.report('dora', 'b0', '100'), 'none', 'a mandatory one');
select is(tests.lesson_of('dora', 'safety/2'), 'in_progress 50.00', 'one of two mandatory blocks is half of the lesson');
select is(tests.report('dora', 'b0', '10'), 'none', 'a late report');
select is((select (progress_percentage, completed_at is not null)::text from lms.block_progress where block_id = tests.id('b0')), '(100,t)', 'INV-P1: ... takes nothing back');
select is(tests.report('dora', 'b1', '100'), 'none', 'the last one');
select is(tests.lesson_of('dora', 'safety/2'), 'completed 100.00', 'INV-P3: the lesson completes by evidence');
select is(tests.standing('dora', 'safety'), 'in_progress 2/4 50.00', '... and counts');
select is(tests.lesson_of('sid', 'safety/2'), null, 'nobody else''s');

select is(tests.report('dora', 'v1', '60'), '409 evidence_required', 'INV-P3: how much of a video was watched is not claimed');
select is(tests.report('dora', 'v1', 'null', watched), expected, format('watched %s: %s', watched, expected))
from (values
  ('[[0, 30], [20, 40]]', 'none'), ('[]', 'none'), ('[[90, 500]]', 'none'), ('[[40, 30]]', '422 invalid_watched'), ('[[1]]', '422 invalid_watched'), ('{"a": 1}', '422 invalid_watched'),
  ('"all"', '422 invalid_watched'), ('[["a", "b"]]', '422 invalid_watched')
) as cases (watched, expected);
select is((select (progress_percentage, watched)::text from lms.block_progress where block_id = tests.id('v1')), '(50.00,"{[0,40),[90,100)}")', 'what was watched adds up, counts once, and ends with the video');
select is(tests.lesson_of('dora', 'safety/3'), 'in_progress 12.50', 'fifty of four hundred seconds');
select is(tests.report('dora', 'v2', 'null', '[[0, 249]]'), 'none', 'more is watched');
select is(tests.lesson_of('dora', 'safety/3'), 'in_progress 74.75', 'just below what the rule asks for');
select is(tests.report('dora', 'v2', 'null', '[[249, 250]]'), 'none', 'one second more');
select is(tests.lesson_of('dora', 'safety/3'), 'completed 100', 'INV-P3: three quarters were asked for');
select is(tests.report('dora', 'v3', '30'), 'none', 'of a video of unknown length, the client says how far');
select is(tests.report('dora', 'v3', '30', '[[-5, 10]]'), '409 block_without_duration', '... not in seconds');

-- Who, where, and what clients cannot write.
select is(tests.report(who, block, '10'), expected, format('%s reports on %s: %s', who, block, expected))
from (values
  ('eve', 'b0', '409 not_enrolled'), ('petra', 'b0', '404 block_not_found'), ('anonymous', 'b0', '42501'), ('dora', 'nowhere', '404 block_not_found'), ('sid', 'b0', 'none')
) as cases (who, block, expected);
select is(tests.try('dora', statement), expected, format('%s: %s', expected, left(statement, 60)))
from (values
  (format('insert into lms.block_progress (user_id, block_id, progress_percentage) values (%L, %L, 10)', tests.id('sid'), tests.id('b0')), '42501'),
  (format('update lms.block_progress set user_id = %L', tests.id('sid')), '42501'), ('update lms.block_progress set completed_at = now()', '42501'), ('update lms.block_progress set lesson_id = gen_random_uuid()', '42501'),
  ('delete from lms.block_progress', '42501'), ('update lms.block_progress set progress_percentage = 101', '23514 percentage_is_between_0_and_100')
) as cases (statement, expected);
select is(tests.sees_as(who, 'lms.block_progress'), expected, format('%s sees %s of block progress', who, expected))
from (values ('dora', '6'), ('sid', '1'), ('eve', '0'), ('ines', '7'), ('ivan', '0'), ('hanna', '7'), ('boss', '7'), ('petra', '0'), ('anonymous', '42501')) as cases (who, expected);

-- Paused, suspended, finished.
update lms.enrollments set status = 'paused' where id = tests.id('sid takes safety');
select is(tests.report('sid', 'b1', '10'), '409 enrollment_paused', 'a paused enrolment takes no reports');
update lms.memberships set status = 'suspended' where user_id = tests.id('dora');
select is(tests.report('dora', 'b1', '10'), '403 membership_suspended', 'INV-T4: nor does somebody suspended');
select is(tests.try('dora', 'update lms.block_progress set progress_percentage = 100'), '0', 'INV-T4: ... change what is there');
rollback to taught;

-- =====================================================================================================
-- Corrections
-- =====================================================================================================

select is(tests.attempt('dora', 'safety/1'), 'none', 'something is completed');
create function tests.correct(who text, enrollment text, lesson text, percentage text, reason text default 'Paper form, 3 May') returns text language sql as $$
  select tests.try(who, format('select lms.correct_progress(%L, %L, %s, %L)', tests.id(enrollment), tests.id(lesson), percentage, reason))
$$;
select is(tests.correct(who, 'dora takes safety', lesson, percentage, reason), expected, format('%s corrects %s to %s: %s', who, lesson, percentage, expected))
from (values
  ('hanna', 'safety/1', '40', 'Signed by somebody else', '1'), ('boss', 'safety/2', '100', 'Seen', '1'), ('marco', 'safety/1', '40', 'x', '42501'), ('ines', 'safety/1', '40', 'x', '42501'), ('eve', 'safety/1', '40', 'x', '404 enrollment_not_found'),
  ('dora', 'safety/1', '40', 'x', '42501'), ('petra', 'safety/1', '40', 'x', '404 enrollment_not_found'), ('anonymous', 'safety/1', '40', 'x', '42501'), ('hanna', 'safety/1', '101', 'x', '422 invalid_percentage'),
  ('hanna', 'safety/1', '40', ' ', '422 invalid_reason'), ('hanna', 'safety/1', '40', null, '422 invalid_reason'), ('hanna', 'other/1', '40', 'x', '404 lesson_not_found'), ('hanna', 'nothing', '40', 'x', '404 lesson_not_found'),
  ('service', 'safety/1', '40', 'x', '1')
) as cases (who, lesson, percentage, reason, expected);
select tests.as('hanna');
select is((select (lesson_percentage, completed_lessons)::text from lms.correct_progress(tests.id('dora takes safety'), tests.id('safety/1'), 40, 'Signed by somebody else')), '(40,0)', 'INV-P1: staff takes a completion back');
select is((select (lesson_percentage, completed_lessons)::text from lms.correct_progress(tests.id('dora takes safety'), tests.id('safety/2'), 100, 'Seen doing it')), '(100,1)', '... and grants one, evidence or not');
select tests.as_owner();
select is(tests.attempt('dora', 'safety/1', 30), 'none', 'a late report');
select is(tests.lesson_of('dora', 'safety/1'), 'in_progress 40', '... changes nothing of it');
select is(
  (select string_agg(format('%s->%s by %s: %s', old_percentage, new_percentage, p.display_name, reason), ', ' order by new_percentage) from lms.progress_corrections c join public.profiles p on p.id = c.corrected_by),
  '100->40 by Hanna: Signed by somebody else, 0->100 by Hanna: Seen doing it', 'who corrected what, and why, is kept'
);
select is(tests.sees_as(who, 'lms.progress_corrections'), expected, format('%s sees %s corrections', who, expected))
from (values ('dora', '2'), ('sid', '0'), ('ines', '2'), ('ivan', '0'), ('hanna', '2'), ('petra', '0'), ('anonymous', '42501')) as cases (who, expected);
select is(tests.try('hanna', statement), '42501', left(statement, 40))
from unnest(array['insert into lms.progress_corrections (reason) values (''x'')', 'update lms.progress_corrections set reason = ''x''', 'delete from lms.progress_corrections']) as statement;
-- A correction lets exactly itself pass.
select is(tests.try('hanna', format('update lms.lesson_progress set progress_percentage = 100 where user_id = %L', tests.id('dora'))), '0', 'staff writes no progress but by corrections');
select tests.enrollment('hanna', 'safety');
select is(tests.correct('hanna', 'hanna takes safety', 'safety/1', '100'), '403 own_progress', 'nobody corrects their own progress');
update lms.enrollments set status = 'dropped' where id = tests.id('dora takes safety');
select is(tests.correct('hanna', 'dora takes safety', 'safety/1', '100'), '409 enrollment_not_open', 'INV-E1: what is finished is not corrected');

select * from finish();
rollback;
