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
        from lms.lessons l
        left join lms.lesson_progress p on p.enrollment_id = e.id and p.lesson_id = l.id
        where l.course_id = e.course_id and l.requires_completion and l.is_published and l.deleted_at is null
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

-- Everything in every order, from two devices at once.
do $$
begin
  perform setseed(0.7);
  for i in 1..300 loop
    perform tests.as((array['dora', 'sid'])[1 + floor(random() * 2)]);
    perform lms.record_progress(tests.id('safety/' || 1 + floor(random() * 3)), round((random() * 104)::numeric - 2, 2));
  end loop;
exception when sqlstate 'PGRST' then
  raise exception 'an order of reports failed: %', sqlerrm;
end
$$ \g /dev/null
select * from finish();
rollback;
