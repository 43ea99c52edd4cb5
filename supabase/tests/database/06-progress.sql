begin;
\ir ../helpers.sql
select * from no_plan();

-- The seeds' upsert: neither enrolment nor conflict target beyond the primary key, and times of the client's own.
create function tests.upsert(learner text, lesson text, percentage text, at text default 'now()') returns text language sql as $$
  select format(
    'insert into lms.lesson_progress (user_id, lesson_id, progress_percentage, updated_at, completed_at) values (%L, %L, %s, %s, %s)
     on conflict (enrollment_id, lesson_id) do update set user_id = excluded.user_id, lesson_id = excluded.lesson_id,
       progress_percentage = excluded.progress_percentage, updated_at = excluded.updated_at, completed_at = excluded.completed_at
     returning *',
    tests.id(learner), tests.id(lesson), percentage, at, at
  )
$$;
create function tests.record(lesson text, percentage text) returns text language sql as $$
  select format('select lms.record_progress(%L, %s)', tests.id(lesson), percentage)
$$;
create function tests.complete(who text, variadic lessons text[]) returns void language plpgsql as $$
declare
  v_lesson text;
begin
  perform tests.as(who);
  foreach v_lesson in array lessons loop
    perform lms.complete_lesson(tests.id(v_lesson));
  end loop;
  perform tests.as_owner();
end
$$;
-- The counters of every enrolment, counted afresh.
create function tests.counters_are_exact(description text) returns text language sql as $$
  select is_empty(
    $q$
      select e.id, e.status, e.items_done, e.items_total, c.done, c.total, e.progress_percentage
      from lms.enrollments e
      cross join lateral (
        select count(*) as total, count(p.completed_at) as done
        from lms.version_lessons l
        left join lms.lesson_progress p on p.enrollment_id = e.id and p.lesson_id = l.lesson_id
        where l.version_id = e.version_id and l.requires_completion
      ) c
      where e.status in ('enrolled', 'in_progress', 'paused') and (
        (e.items_done, e.items_total) <> (c.done, c.total)
        or e.progress_percentage <> case when c.total = 0 then 0 else floor(10000.0 * c.done / c.total) / 100 end
      )
    $q$, description
  )
$$;

select tests.tenant('works'), tests.tenant('press'), tests.unit('north', 'works'), tests.unit('south', 'works');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('marco', 'works', 'unit_manager', 'north', 'north'), tests.member('ines', 'works', 'instructor'),
  tests.member('ivan', 'works', 'instructor'), tests.member('audrey', 'works', 'auditor'), tests.member('dora', 'works', 'learner', 'north'),
  tests.member('sid', 'works', 'learner', 'south'), tests.member('eve', 'works', 'learner', 'north'), tests.member('petra', 'press', 'tenant_admin');
select tests.person('noah');
select
  tests.course('safety', 'works', 'ines', 3), tests.course('hidden', 'works', 'ines', 2, 'private'), tests.course('open', 'works', 'ines', 2, 'public'),
  tests.course('novel', 'press', 'petra', 2), tests.course('other', 'works', 'ivan', 2);
select tests.enrollment('dora', 'safety'), tests.enrollment('sid', 'safety'), tests.enrollment('sid', 'other');
create table tests.highest (enrollment_id uuid, lesson_id uuid, progress_percentage numeric, time_spent_seconds integer);
savepoint clean;

-- =====================================================================================================
-- INV-P1, INV-P6: only forward, whatever is replayed, late or reordered
-- =====================================================================================================

select tests.as('dora');
select is((select (lesson_status, lesson_percentage, course_status, course_percentage, completed_lessons, total_lessons) from lms.record_progress(tests.id('safety/1'), 40)),
  ('in_progress'::text, 40::numeric, 'in_progress'::text, 0::numeric, 0, 3), 'recording returns where lesson and course stand');
select is((select lesson_percentage from lms.record_progress(tests.id('safety/1'), 30)), 40::numeric, 'INV-P1: a late report does not take a lesson back');
select is((select lesson_percentage from lms.record_progress(tests.id('safety/1'), 0)), 40::numeric, 'INV-P1: nor does nothing');
select is((select (lesson_percentage, lesson_status) from lms.record_progress(tests.id('safety/1'), 99.999)), (99.999, 'in_progress'::text), 'INV-P2: 99.999 percent is no completion, and is not rounded to one');
select is((select (lesson_status, completed_lessons, course_percentage) from lms.complete_lesson(tests.id('safety/1'))), ('completed'::text, 1, 33.33), 'INV-P2: one of three is 33.33');
select is((select (lesson_status, completed_lessons, course_percentage) from lms.complete_lesson(tests.id('safety/1'))), ('completed'::text, 1, 33.33), 'INV-P6: completing twice counts once');
select is((select (lesson_status, lesson_percentage, completed_lessons) from lms.record_progress(tests.id('safety/1'), 10)), ('completed'::text, 100::numeric, 1), 'INV-P1: what is completed stays completed');
select is((select course_percentage from lms.complete_lesson(tests.id('safety/3'))), 66.66, 'INV-P2: two of three is 66.66, cut off, not rounded');
select tests.as_owner();
select is(tests.standing('dora', 'safety'), 'in_progress 2/3 66.66', 'INV-P2: the enrolment says so');
select is(tests.standing('sid', 'safety'), 'enrolled 0/3 0.00', 'another learner of the course stands where they stood');
select is((select (started_at, current_lesson_id) from lms.enrollments where id = tests.id('dora takes safety')), (now(), tests.id('safety/3')), 'the enrolment says since when and where');
select tests.as('dora');
select is((select (course_status, course_percentage) from lms.complete_lesson(tests.id('safety/2'))), ('completed'::text, 100.00), 'INV-P2: all of them complete the course');
select tests.as_owner();
select is((select completed_at from lms.enrollments where id = tests.id('dora takes safety')), now(), 'INV-E5: ... at the server''s time');
select tests.counters_are_exact('INV-P2: the counters are exact');

-- A completed enrolment is replayed.
update lms.lesson_progress set last_accessed_at = '2020-01-01', updated_at = '2020-01-01', completed_at = '2020-01-01', first_accessed_at = '2020-01-01';
update lms.enrollments set updated_at = updated_at;
create temporary table before as select to_jsonb(p) as was from lms.lesson_progress p union all select to_jsonb(e) from lms.enrollments e;
select tests.as('dora');
select is(tests.error_of(statement), 'none', 'INV-P6: a completed enrolment can be replayed: ' || what)
from (values
  ('complete_lesson', format('select lms.complete_lesson(%L)', tests.id('safety/1'))), ('record_progress', tests.record('safety/2', '55')),
  ('the seeds'' upsert', tests.upsert('dora', 'safety/3', '100', '''2035-01-01''')), ('an update', 'update lms.lesson_progress set progress_percentage = 7, completed_at = null')
) as replays (what, statement);
select tests.as_owner();
select is_empty($$ select to_jsonb(p) from lms.lesson_progress p union all select to_jsonb(e) from lms.enrollments e except select was from before $$, 'INV-P6: ... and nothing changes, not even a time');
rollback to clean;

-- Everything in every order, from any device.
do $$
begin
  perform setseed(0.7);
  for i in 1..300 loop
    perform tests.as((array['dora', 'sid'])[1 + floor(random() * 2)::integer]);
    perform lms.record_progress(
      tests.id('safety/' || 1 + floor(random() * 3)), least(100, round((random() * 104)::numeric, 2)), floor(random() * 500)::integer
    );
    perform tests.as_owner();
    if exists (
      select from lms.lesson_progress p
      join tests.highest h using (enrollment_id, lesson_id)
      where p.progress_percentage < h.progress_percentage or p.time_spent_seconds < h.time_spent_seconds
    ) then
      raise exception 'a lesson went back';
    end if;
    delete from tests.highest;
    insert into tests.highest select enrollment_id, lesson_id, progress_percentage, time_spent_seconds from lms.lesson_progress;
  end loop;
end
$$;
select tests.counters_are_exact('INV-P1, INV-P2: 300 random reports took no lesson back, and the counters are exact');
select is(
  (select sum(e.time_spent_seconds)::bigint from lms.enrollments e), (select sum(p.time_spent_seconds) from lms.lesson_progress p),
  'INV-P6: time spent is the sum of the lessons'' totals'
);
rollback to clean;

-- =====================================================================================================
-- The seeds' upsert
-- =====================================================================================================

select tests.as('dora');
select is(tests.rows_of(tests.upsert('dora', 'safety/1', '25', quote_literal('1999-01-01'))), 1::bigint, 'the seeds'' upsert finds the enrolment');
select is(
  (select (enrollment_id, tenant_id, course_id, progress_percentage, status, completed_at, updated_at, first_accessed_at, last_accessed_at)::text from lms.lesson_progress),
  (tests.id('dora takes safety'), tests.id('works'), tests.id('safety'), 25, 'in_progress', null::timestamptz, now(), now(), now())::text,
  'INV-P3: keys, status and times are the server''s, whatever the client sends'
);
select is(tests.rows_of(tests.upsert('dora', 'safety/1', '100', quote_literal('2035-01-01'))), 1::bigint, 'the second upsert meets the same row');
select is((select (progress_percentage, completed_at)::text from lms.lesson_progress), (100, now())::text, 'INV-P3: a completion happens now, not in 2035');
select is(tests.rows_of(tests.upsert('dora', 'safety/1', '20')), 1::bigint, 'a late upsert is taken');
select is((select (progress_percentage, completed_at)::text from lms.lesson_progress), (100, now())::text, 'INV-P1: ... and changes nothing');
select is(
  tests.rows_of(format(
    'insert into lms.lesson_progress (user_id, lesson_id, progress_percentage) select %L, id, 100 from lms.lessons where course_id = %L
     on conflict (enrollment_id, lesson_id) do update set progress_percentage = excluded.progress_percentage', tests.id('dora'), tests.id('safety'))),
  3::bigint, 'an upsert of a whole course'
);
select tests.as_owner();
select is(tests.standing('dora', 'safety'), 'completed 3/3 100.00', '... completes it');
rollback to clean;

select tests.as('dora');
insert into lms.lesson_progress (user_id, lesson_id, progress_percentage, completed_at) values (tests.id('dora'), tests.id('safety/2'), 100, '2035-01-01');
select is((select completed_at from lms.lesson_progress), now(), 'INV-P3: nor does a lesson that is completed at once');
select tests.as_owner();
rollback to clean;

select is(tests.try('dora', tests.upsert('dora', 'safety/1', value)), expected, format('REST: %s percent: %s', value, expected))
from (values
  ('-1', '23514 percentage_is_between_0_and_100'), ('101', '23514 percentage_is_between_0_and_100'), ('100.0000001', '23514 percentage_is_between_0_and_100'),
  ('''NaN''', '23514 percentage_is_between_0_and_100'), ('''Infinity''', '23514 percentage_is_between_0_and_100'), ('''-Infinity''', '23514 percentage_is_between_0_and_100'),
  ('''all''', '22P02'), ('null', '23502'), ('0', '1'), ('100', '1')
) as cases (value, expected);
select is(tests.try('dora', tests.record('safety/1', value)), expected, format('RPC: %s percent: %s', value, expected))
from (values
  ('-1', '422 invalid_percentage'), ('101', '422 invalid_percentage'), ('100.0000001', '422 invalid_percentage'), ('''NaN''', '422 invalid_percentage'),
  ('''Infinity''', '422 invalid_percentage'), ('null', '422 invalid_percentage'), ('0', '1'), ('100', '1')
) as cases (value, expected);
insert into lms.lesson_progress (user_id, lesson_id, progress_percentage) values (tests.id('dora'), tests.id('safety/1'), 10);
select is(tests.try('dora', format('update lms.lesson_progress set progress_percentage = %s', value)), '23514 percentage_is_between_0_and_100', format('REST: a change to %s percent is refused', value))
from unnest(array['-1', '101', '''NaN''', '''Infinity''']) as value;
select is(tests.try('dora', format('select lms.record_progress(%L, 10, %s, %s)', tests.id('safety/2'), seconds, position)), expected, format('RPC: %s seconds at %s: %s', seconds, left(position, 20), expected))
from (values
  ('-1', 'null', '23514 time_spent_is_at_most_a_year'), ('31536001', 'null', '23514 time_spent_is_at_most_a_year'), ('60', '''{"second": 12.5}''', '1'),
  ('0', quote_literal('"' || repeat('x', 4000) || '"'), '23514 last_position_is_small')
) as cases (seconds, position, expected);
rollback to clean;

select tests.as('dora');
select is((lms.record_progress(tests.id('safety/1'), 10, 60, '{"second": 5}')).lesson_percentage, 10::numeric, 'time and place are recorded');
select is((lms.record_progress(tests.id('safety/1'), 10, 60)).lesson_percentage, 10::numeric, 'and again');
select is((select (time_spent_seconds::integer, last_position::jsonb) from lms.lesson_progress), (60, '{"second": 5}'::jsonb), 'INV-P6: the same time sent twice counts once; a report without a place keeps it');
select is((lms.record_progress(tests.id('safety/1'), 10, 45)).lesson_percentage, 10::numeric, 'an older total');
select is((select time_spent_seconds::integer from lms.lesson_progress), 60, 'INV-P6: ... takes nothing away');
select is((lms.record_progress(tests.id('safety/2'), 0, 30)).lesson_status, 'not_started', 'nothing done yet');
select tests.as_owner();
select is((select time_spent_seconds from lms.enrollments where id = tests.id('dora takes safety')), 90::bigint, 'the enrolment adds it up');
rollback to clean;

-- =====================================================================================================
-- INV-P3: what clients cannot write
-- =====================================================================================================

insert into lms.lesson_progress (user_id, lesson_id, progress_percentage) values (tests.id('dora'), tests.id('safety/1'), 10), (tests.id('sid'), tests.id('safety/1'), 10);
select is(
  tests.try('dora', format('insert into lms.lesson_progress (user_id, lesson_id, progress_percentage, %I) values (%L, %L, 1, %s)', name, tests.id('dora'), tests.id('safety/2'), value)), '42501',
  format('INV-P3: clients do not insert lesson_progress.%s', name)
)
from (values
  ('enrollment_id', quote_literal(tests.id('sid takes safety'))), ('tenant_id', quote_literal(tests.id('press'))), ('course_id', quote_literal(tests.id('open'))),
  ('first_accessed_at', 'now()'), ('last_accessed_at', 'now()')
) as columns (name, value);
select is(tests.try('dora', format('update lms.lesson_progress set %I = %s', name, value)), '42501', format('INV-P3: clients do not update lesson_progress.%s', name))
from (values
  ('enrollment_id', quote_literal(tests.id('sid takes safety'))), ('tenant_id', quote_literal(tests.id('press'))), ('course_id', quote_literal(tests.id('open'))),
  ('first_accessed_at', 'now()'), ('last_accessed_at', 'now()'), ('status', 'default'), ('user_id', quote_literal(tests.id('sid'))), ('lesson_id', quote_literal(tests.id('safety/2')))
) as columns (name, value);
select matches(
  tests.try('dora', format('insert into lms.lesson_progress (user_id, lesson_id, status) values (%L, %L, %L)', tests.id('dora'), tests.id('safety/2'), 'completed')), '^(42501|428C9)',
  'INV-P3: status is never written'
);
select is(tests.try(who, 'delete from lms.lesson_progress'), '42501', format('%s deletes no progress', who)) from unnest(array['anonymous', 'dora', 'ines', 'boss']) as who;

select is(tests.try(who, 'update lms.lesson_progress set progress_percentage = 90'), rows, format('%s advances so many lessons: %s', who, rows))
from (values ('anonymous', '42501'), ('noah', '0'), ('dora', '1'), ('eve', '0'), ('ines', '0'), ('marco', '0'), ('boss', '0'), ('audrey', '0'), ('petra', '0')) as cases (who, rows);
select is(tests.try(who, tests.upsert('dora', 'safety/2', '100')), '42501', format('INV-P3: %s records no progress for dora', who))
from unnest(array['anonymous', 'noah', 'sid', 'eve', 'ines', 'marco', 'boss', 'petra']) as who;
select is(tests.sees_as(who, 'lms.lesson_progress'), rows, format('%s sees so much progress: %s', who, rows))
from (values
  ('anonymous', '42501'), ('noah', '0'), ('dora', '1'), ('sid', '1'), ('eve', '0'), ('ines', '2'), ('ivan', '0'), ('marco', '1'), ('boss', '2'), ('audrey', '2'), ('petra', '0'), ('service', '2')
) as cases (who, rows);
rollback to clean;

-- =====================================================================================================
-- Where nothing can be recorded, and what is said
-- =====================================================================================================

select tests.course('sketch', 'works', 'ines', 2, 'restricted', 'draft');
insert into lms.lessons (id, module_id, title) values (tests.id('safety/new'), tests.id('safety/m'), 'New'), (tests.id('safety/4'), tests.id('safety/m'), 'Next');
update lms.lessons set is_published = false where id = tests.id('safety/new');
select tests.republish('safety');
create temporary table refusals (who text, lesson text, expected text);
insert into refusals values
  ('dora', 'nowhere', '404 lesson_not_found'), ('dora', 'safety/new', '404 lesson_not_found'), ('dora', 'safety/4', '409 lesson_not_in_version'),
  ('dora', 'open/1', '409 not_enrolled'), ('dora', 'other/1', '409 not_enrolled'), ('noah', 'open/1', '409 not_enrolled'), ('ines', 'hidden/1', '409 not_enrolled'),
  -- A lesson that one cannot see is answered like one that does not exist.
  ('dora', 'hidden/1', '404 lesson_not_found'), ('dora', 'sketch/1', '404 lesson_not_found'), ('dora', 'novel/1', '404 lesson_not_found'),
  ('noah', 'safety/1', '404 lesson_not_found'), ('petra', 'safety/1', '404 lesson_not_found');
select is(tests.try(who, format('select lms.complete_lesson(%L)', tests.id(lesson))), expected, format('%s completes %s by RPC: %s', who, lesson, expected)) from refusals;
select is(tests.try(who, tests.upsert(who, lesson, '50')), expected, format('%s completes %s by REST: %s', who, lesson, expected)) from refusals;
select tests.as('dora');
select is(
  tests.failure_of(format('select lms.complete_lesson(%L)', tests.id('hidden/1'))) #- '{details,lesson_id}',
  tests.failure_of(format('select lms.complete_lesson(%L)', tests.id('nowhere'))) #- '{details,lesson_id}',
  'a hidden lesson and none get the same answer, word for word'
);
select tests.as_owner();
select is(tests.try('anonymous', format('select lms.complete_lesson(%L)', tests.id('open/1'))), '42501', 'anonymous callers record nothing');
rollback to clean;

create function tests.in_status(status text, statement text) returns text language plpgsql as $$
declare
  v_result text;
begin
  begin
    update lms.enrollments e set status = in_status.status where e.id = tests.id('dora takes safety');
    v_result := tests.try('dora', statement);
    raise exception using errcode = 'UNDO0';
  exception when sqlstate 'UNDO0' then null;
  end;
  return v_result;
end
$$;
insert into lms.lesson_progress (user_id, lesson_id, progress_percentage) values (tests.id('dora'), tests.id('safety/1'), 10);
select is(tests.in_status(status, statement), expected, format('while the enrolment is %s, not by %s', status, what))
from (values ('paused', '409 enrollment_paused'), ('dropped', '409 not_enrolled'), ('expired', '409 not_enrolled')) as states (status, expected)
cross join (values
  ('upserting a lesson begun', tests.upsert('dora', 'safety/1', '60')), ('upserting another lesson', tests.upsert('dora', 'safety/2', '60')),
  ('complete_lesson', format('select lms.complete_lesson(%L)', tests.id('safety/1'))), ('an update', 'update lms.lesson_progress set progress_percentage = 60')
) as ways (what, statement);
rollback to clean;

-- =====================================================================================================
-- Cycles
-- =====================================================================================================

select tests.complete('dora', 'safety/1', 'safety/2', 'safety/3');
select tests.as('dora');
select is((select (cycle, items_done, progress_percentage)::text from lms.enroll(tests.id('safety'))), '(2,0,0.00)', 'a second cycle begins at nothing');
select is((select (course_percentage, lesson_percentage)::text from lms.record_progress(tests.id('safety/1'), 50)), '(0.00,50)', 'progress counts for the open cycle');
select is((select array_agg(progress_percentage::integer order by progress_percentage) from lms.lesson_progress where lesson_id = tests.id('safety/1')), '{50,100}', '... and the finished one keeps its own');
select tests.as_owner();
select is(
  (select string_agg(format('%s %s', status, items_done), ', ' order by cycle) from lms.enrollments where user_id = tests.id('dora')), 'completed 3, in_progress 0',
  'INV-E1: the finished cycle is not touched'
);
select tests.as('dora');
select is((select status from lms.set_enrollment_status((select id from lms.enrollments where cycle = 2), 'dropped')), 'dropped', 'the second cycle is dropped');
select is((select (course_status, completed_lessons) from lms.complete_lesson(tests.id('safety/1'))), ('completed'::text, 3), 'a replay then meets the completed cycle');
select tests.as_owner();
rollback to clean;

-- The grade that a course asks for.
update lms.courses set required_score = 80 where slug = 'safety';
select tests.complete('dora', 'safety/1', 'safety/2', 'safety/3');
select is(tests.standing('dora', 'safety'), 'in_progress 3/3 100.00', 'INV-P2: without the grade that it takes, a course is not completed');
update lms.enrollments set final_grade = 79.99 where id = tests.id('dora takes safety');
select is(tests.standing('dora', 'safety'), 'in_progress 3/3 100.00', 'INV-P2: nor with one below it');
savepoint graded;
update lms.enrollments set final_grade = 80 where id = tests.id('dora takes safety');
select is(tests.standing('dora', 'safety'), 'completed 3/3 100.00', 'INV-P2: it is with that grade');
rollback to graded;
select tests.as('ines');
update lms.courses set required_score = 75 where id = tests.id('safety');
select tests.as_owner();
select is(tests.standing('dora', 'safety'), 'completed 3/3 100.00', 'INV-P2: ... and when the author asks for less');
rollback to clean;

-- =====================================================================================================
-- Imports
-- =====================================================================================================

update lms.enrollments set enrolled_at = '2020-01-01';
select tests.as_service();
insert into lms.lesson_progress (user_id, lesson_id, progress_percentage, completed_at, first_accessed_at) values
  (tests.id('dora'), tests.id('safety/1'), 100, '2020-02-01', '2020-01-15'), (tests.id('dora'), tests.id('safety/2'), 100, '2020-03-01', '2020-02-15');
insert into lms.lesson_progress (enrollment_id, user_id, lesson_id, progress_percentage) values (tests.id('sid takes safety'), tests.id('sid'), tests.id('safety/1'), 100);
select is(
  (select (status, items_done, started_at) from lms.enrollments where id = tests.id('dora takes safety')), ('in_progress'::text, 2, '2020-01-15'::timestamptz), 'INV-E5: an import says when it was'
);
insert into lms.lesson_progress (user_id, lesson_id, progress_percentage, completed_at) values (tests.id('dora'), tests.id('safety/3'), 100, '2020-04-01');
select is(
  (select (status, completed_at) from lms.enrollments where id = tests.id('dora takes safety')), ('completed'::text, '2020-04-01'::timestamptz), 'INV-E5: ... and when it was completed'
);
update lms.lesson_progress set progress_percentage = 40, completed_at = null where user_id = tests.id('sid');
select is(tests.standing('sid', 'safety'), 'in_progress 0/3 0.00', 'INV-P2: a correction downwards by the service is counted as well');
update lms.lesson_progress set progress_percentage = 100, completed_at = now() where user_id = tests.id('sid');
select is(tests.standing('sid', 'safety'), 'in_progress 1/3 33.33', 'INV-P2: ... and back');
select tests.as_owner();
select tests.counters_are_exact('INV-P2: the counters are exact after an import');

select * from finish();
rollback;
