begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press'), tests.unit('north', 'works'), tests.unit('south', 'works');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'), tests.member('marco', 'works', 'unit_manager', 'north', 'north'),
  tests.member('ines', 'works', 'instructor'), tests.member('ivan', 'works', 'instructor'), tests.member('audrey', 'works', 'auditor'),
  tests.member('dora', 'works', 'learner', 'north'), tests.member('sid', 'works', 'learner', 'south'), tests.member('eve', 'works', 'learner', 'north'),
  tests.member('petra', 'press', 'tenant_admin');
select tests.person('noah');
select
  tests.course('safety', 'works', 'ines', 4), tests.course('hidden', 'works', 'ines', 2, 'private'), tests.course('open', 'works', 'ines', 2, 'public'),
  tests.course('sketch', 'works', 'ines', 2, 'restricted', 'draft'), tests.course('novel', 'press', 'petra', 2);

-- 'safety': two modules; lesson 2 optional, lesson 3 not published, lesson 4 in the second module.
insert into lms.modules (id, course_id, title) values (tests.id('safety/m2'), tests.id('safety'), 'Second');
update lms.lessons set module_id = tests.id('safety/m2'), order_index = 0 where id = tests.id('safety/4');
update lms.lessons set requires_completion = false where id = tests.id('safety/2');
update lms.lessons set is_published = false where id = tests.id('safety/3');
update lms.lessons set is_preview = true where id in (tests.id('open/1'), tests.id('safety/2'), tests.id('sketch/1'));
select tests.republish('safety'), tests.republish('open');
savepoint clean;

-- =====================================================================================================
-- get_course_outline
-- =====================================================================================================

create function tests.outline(who text, course text) returns text language plpgsql as $$
declare
  v_outline text;
begin
  perform tests.be(who);
  select format('%s %s/%s %s: %s', coalesce(o.enrollment_status, '-'), o.completed_lessons, o.total_lessons, o.percentage, (
    select string_agg(m.title || '(' || (
      select coalesce(string_agg(format('%s %s', l.title, l.status), ', ' order by position), '') from unnest(m.lessons) with ordinality as l (
        id, title, type, duration, order_index, requires_completion, is_published, is_preview, status, progress_percentage, completed_at, position)
    ) || ')', ' ' order by place)
    from unnest(o.modules) with ordinality as m (id, title, description, order_index, lessons, place)
  ))
  into v_outline
  from lms.get_course_outline(tests.id(course)) as o;
  perform tests.as_owner();
  return v_outline;
end
$$;

select is(tests.outline('dora', 'safety'), '- 0/2 0: Module(Lesson 1 not_started, Lesson 2 not_started) Second(Lesson 4 not_started)', 'before enrolling, a learner sees the published structure and nothing done');
select is(tests.outline('ines', 'safety'), '- 0/2 0: Module(Lesson 1 not_started, Lesson 2 not_started, Lesson 3 not_started) Second(Lesson 4 not_started)', 'staff sees unpublished lessons as well, which do not count');
select is(tests.outline('noah', 'open'), '- 0/2 0: Module(Lesson 1 not_started, Lesson 2 not_started)', 'an outsider sees the structure of a public course');

select tests.enrollment('dora', 'safety'), tests.enrollment('eve', 'safety');
select tests.as('dora');
select lms.record_progress(tests.id('safety/1'), 30), lms.complete_lesson(tests.id('safety/4'));
select tests.as_owner();
select is(tests.outline('dora', 'safety'), 'in_progress 1/2 50.00: Module(Lesson 1 in_progress, Lesson 2 not_started) Second(Lesson 4 completed)', 'the outline carries the caller''s own progress');
select is(tests.outline('eve', 'safety'), 'enrolled 0/2 0.00: Module(Lesson 1 not_started, Lesson 2 not_started) Second(Lesson 4 not_started)', '... and nobody else''s');
select is(tests.outline('boss', 'safety') like '- 0/2 0: %', true, 'administrators see their own progress, not that of learners');
update lms.modules set order_index = 1 - order_index where course_id = tests.id('safety');
select is(tests.outline('ines', 'safety') like '%Second(%Module(%', true, 'modules come in order');
update lms.modules set deleted_at = now() where id = tests.id('safety/m');
select is(tests.outline('ines', 'safety') like '%Module%', false, 'deleted modules are left out');
select is(tests.outline('dora', 'safety') like '%Module(%Second(%', true, 'INV-C1: ... which changes nothing of the version that somebody takes');
select is(tests.outline('sid', 'safety') like '%Module(%Second(%', true, '... nor of the one that others would take');
select tests.republish('safety');
select is(tests.outline('sid', 'safety'), '- 0/1 0: Second(Lesson 4 not_started)', '... until it is published');
select is(tests.outline('dora', 'safety') like '%Module(%Second(%', true, 'INV-C1: ... and then for those who begin');
rollback to clean;

select is(tests.try(who, format('select lms.get_course_outline(%L)', tests.id(course))), expected, format('%s asks for the outline of %s: %s', who, course, expected))
from (values
  ('anonymous', 'open', '42501'), ('noah', 'open', '1'), ('noah', 'safety', '404 course_not_found'), ('dora', 'hidden', '404 course_not_found'), ('dora', 'sketch', '404 course_not_found'),
  ('dora', 'novel', '404 course_not_found'), ('petra', 'safety', '404 course_not_found'), ('ivan', 'hidden', '404 course_not_found'), ('ines', 'hidden', '1'), ('marco', 'hidden', '1'), ('dora', 'nothing', '404 course_not_found')
) as cases (who, course, expected);

-- =====================================================================================================
-- get_lesson
-- =====================================================================================================

insert into lms.lesson_blocks (lesson_id, type, content, order_index, deleted_at) values
  (tests.id('hidden/1'), 'link', '{"url": "https://example.com"}', 7, null), (tests.id('hidden/1'), 'markdown', '{"markdown": "Gone"}', 3, now());
select tests.republish('hidden');
select tests.enrollment('eve', c) from unnest(array['safety', 'hidden', 'open', 'sketch']) as c;
select is(tests.try(who, format('select lms.get_lesson(%L)', tests.id(lesson))), expected, format('%s reads %s: %s', who, lesson, expected))
from (values
  ('anonymous', 'open/1', '1'), ('anonymous', 'open/2', '403 not_enrolled'), ('anonymous', 'safety/2', '404 lesson_not_found'), ('anonymous', 'sketch/1', '404 lesson_not_found'), ('anonymous', 'nothing', '404 lesson_not_found'),
  ('noah', 'open/1', '1'), ('noah', 'open/2', '403 not_enrolled'), ('noah', 'safety/2', '404 lesson_not_found'), ('petra', 'open/2', '403 not_enrolled'), ('petra', 'safety/1', '404 lesson_not_found'),
  ('dora', 'safety/1', '403 not_enrolled'), ('dora', 'safety/2', '1'), ('dora', 'safety/3', '404 lesson_not_found'), ('dora', 'hidden/1', '404 lesson_not_found'), ('dora', 'sketch/1', '404 lesson_not_found'), ('dora', 'novel/1', '404 lesson_not_found'),
  ('eve', 'safety/1', '1'), ('eve', 'safety/3', '404 lesson_not_found'), ('eve', 'hidden/1', '1'), ('eve', 'open/2', '1'),
  ('ines', 'safety/3', '1'), ('ines', 'sketch/2', '1'), ('ivan', 'safety/1', '403 not_enrolled'), ('ivan', 'hidden/1', '404 lesson_not_found'),
  ('boss', 'hidden/1', '1'), ('boss', 'novel/1', '404 lesson_not_found'), ('marco', 'hidden/1', '403 not_enrolled'), ('hanna', 'safety/1', '403 not_enrolled'), ('audrey', 'safety/1', '403 not_enrolled')
) as cases (who, lesson, expected);

create function tests.reads_while(status text) returns text language plpgsql as $$
declare
  v_result text;
begin
  begin
    update lms.enrollments e set status = reads_while.status, items_done = case reads_while.status when 'completed' then e.items_total else e.items_done end where e.user_id = tests.id('eve') and e.course_id = tests.id('hidden') and e.status <> reads_while.status;
    v_result := tests.try('eve', format('select lms.get_lesson(%L)', tests.id('hidden/1')));
    raise exception using errcode = 'UNDO0';
  exception when sqlstate 'UNDO0' then null;
  end;
  return v_result;
end
$$;
select is(tests.reads_while(status), expected, format('while the enrolment is %s, its lessons are read: %s', status, expected))
from (values ('enrolled', '1'), ('in_progress', '1'), ('paused', '1'), ('completed', '1'), ('dropped', '404 lesson_not_found'), ('expired', '404 lesson_not_found')) as cases (status, expected);

-- The helper answers nobody whom get_lesson would refuse.
select is(tests.try(who, format('select private.read_lesson(%L, null)', tests.id(lesson))), '403 not_enrolled', format('the helper behind get_lesson refuses %s the lesson %s', who, lesson))
from (values ('dora', 'hidden/1'), ('dora', 'novel/1'), ('noah', 'safety/1'), ('anonymous', 'open/2'), ('marco', 'safety/1'), ('dora', 'nothing')) as cases (who, lesson);

select tests.as('eve');
select lms.record_progress(tests.id('hidden/1'), 20, 5, '{"second": 9}');
select is(
  (select (title, status, progress_percentage, last_position, (select array_agg(b.type) from unnest(blocks) as b))::text from lms.get_lesson(tests.id('hidden/1'))),
  ('Lesson 1', 'in_progress', 20, '{"second": 9}'::jsonb, array['markdown', 'link'])::text, 'a lesson comes with its live blocks in order and the caller''s progress'
);
select lms.complete_lesson(tests.id('hidden/1')), lms.complete_lesson(tests.id('hidden/2'));
select tests.as_owner();
insert into lms.enrollments (course_id, user_id) values (tests.id('hidden'), tests.id('eve'));
select tests.as('eve');
select is(
  (select (status, progress_percentage)::text from lms.get_lesson(tests.id('hidden/1'))), '(not_started,0)', 'in a new cycle, a lesson done in the one before is not done'
);
select tests.as_owner();
rollback to clean;

-- =====================================================================================================
-- get_course_progress
-- =====================================================================================================

select tests.enrollment('dora', 'safety'), tests.enrollment('sid', 'safety'), tests.enrollment('dora', 'hidden');
select tests.as('dora');
select lms.complete_lesson(tests.id('safety/1'));
select tests.as_owner();

create function tests.progress(who text, course text, learner text default null) returns text language plpgsql as $$
declare
  v_progress text;
begin
  perform tests.be(who);
  select format('%s %s/%s %s', p.percentage, p.completed_lessons, p.total_lessons, coalesce(p.status, '-')) into v_progress
  from lms.get_course_progress(tests.id(course), case when learner is not null then tests.id(learner) end) as p;
  perform tests.as_owner();
  return v_progress;
exception when sqlstate 'PGRST' then
  return (sqlerrm::jsonb) ->> 'code';
end
$$;

select is(tests.progress(who, course, learner), expected, format('%s asks how far %s is in %s: %s', who, coalesce(learner, 'self'), course, expected))
from (values
  ('dora', 'safety', null, '50.00 1/2 in_progress'), ('dora', 'safety', 'dora', '50.00 1/2 in_progress'), ('marco', 'safety', 'dora', '50.00 1/2 in_progress'), ('ines', 'safety', 'dora', '50.00 1/2 in_progress'),
  ('hanna', 'safety', 'dora', '50.00 1/2 in_progress'), ('audrey', 'safety', 'dora', '50.00 1/2 in_progress'), ('boss', 'safety', 'dora', '50.00 1/2 in_progress'),
  -- Somebody one may not follow is answered like somebody who is not enrolled, or does not exist.
  ('eve', 'safety', 'dora', '0 0/2 -'), ('eve', 'safety', 'nobody', '0 0/2 -'), ('eve', 'safety', null, '0 0/2 -'), ('marco', 'safety', 'sid', '0 0/2 -'), ('ivan', 'safety', 'dora', '0 0/2 -'),
  ('eve', 'hidden', 'dora', 'course_not_found'), ('petra', 'safety', 'dora', 'course_not_found'), ('noah', 'safety', 'dora', 'course_not_found'), ('noah', 'open', 'dora', '0 0/2 -'), ('eve', 'nothing', null, 'course_not_found')
) as cases (who, course, learner, expected);
select is(tests.try('anonymous', format('select lms.get_course_progress(%L)', tests.id('open'))), '42501', 'anonymous callers ask for no progress');

-- =====================================================================================================
-- get_user_courses
-- =====================================================================================================

create function tests.courses_of(who text, learner text default null, page integer default 100, after uuid default null) returns text language plpgsql as $$
declare
  v_courses text;
begin
  perform tests.be(who);
  select coalesce(string_agg(format('%s %s', c.slug, c.progress), ', ' order by c.slug), '') into v_courses
  from lms.get_user_courses(case when learner is not null then tests.id(learner) end, page, after) as c;
  perform tests.as_owner();
  return v_courses;
end
$$;
select is(tests.courses_of(who, learner), expected, format('%s lists the courses of %s: %s', who, coalesce(learner, 'self'), expected))
from (values
  ('dora', null, 'hidden 0.00, safety 50.00'), ('dora', 'dora', 'hidden 0.00, safety 50.00'), ('marco', 'dora', 'hidden 0.00, safety 50.00'), ('hanna', 'dora', 'hidden 0.00, safety 50.00'), ('ines', 'dora', 'hidden 0.00, safety 50.00'),
  ('marco', 'sid', ''), ('eve', 'dora', ''), ('sid', 'dora', ''), ('ivan', 'dora', ''), ('petra', 'dora', ''), ('noah', 'dora', ''), ('noah', null, ''), ('dora', 'nobody', ''),
  -- The auditor follows learners, but has no part in private courses.
  ('audrey', 'dora', 'safety 50.00')
) as cases (who, learner, expected);
select is(tests.try('dora', format('select lms.get_user_courses(null, %s)', page)), '422 invalid_limit', format('a page of %s is refused', page)) from unnest(array['0', '-1', '1001', 'null']) as page;
select is(tests.try('dora', format('select lms.get_user_courses(null, 10, %L)', after)), '422 invalid_cursor', format('a page after %s is refused, not empty', what))
from (values ('no enrolment', gen_random_uuid()), ('somebody else''s', tests.id('sid takes safety'))) as cursors (what, after);
select is(tests.try('anonymous', 'select lms.get_user_courses()'), '42501', 'anonymous callers list no courses');
rollback to clean;

-- Twenty-three courses, several begun at the same instant, read in pages of five.
select tests.course('many-' || n, 'works', 'ines', 1) from generate_series(1, 23) as n;
insert into lms.enrollments (course_id, user_id, enrolled_at)
select tests.id('many-' || n), tests.id('dora'), now() - make_interval(days => n / 4) from generate_series(1, 23) as n;
create temporary table pages (page integer, place integer, enrollment_id uuid, enrolled_at timestamptz);
grant select, insert on pages to public;
select tests.as('dora');
do $$
declare
  v_after uuid;
begin
  for v_page in 1..6 loop
    insert into pages select v_page, row_number() over (), c.enrollment_id, c.enrolled_at from lms.get_user_courses(null, 5, v_after) as c;
    select p.enrollment_id into v_after from pages p where p.page = v_page order by p.place desc limit 1;
    exit when not found;
  end loop;
end
$$;
select tests.as_owner();
select is((select count(distinct enrollment_id) from pages), 23::bigint, 'paging finds every course');
select is((select count(*) from pages), 23::bigint, '... each of them once');
select is((select array_agg(n order by page) from (select page, count(*) as n from pages group by page) as sizes), '{5,5,5,5,3}', '... in pages of five');
select is_empty(
  'select 1 from (select enrolled_at, lag(enrolled_at) over (order by page, place) as before from pages) as walk where before < enrolled_at', '... newest first'
);
rollback to clean;

-- =====================================================================================================
-- get_dashboard
-- =====================================================================================================

select tests.as('noah');
select is(
  (select (active_courses, statistics, recent_activity, due_items)::text from lms.get_dashboard()), '({},"(0,0,0,0,0.00,0)",{},{})', 'who has done nothing has an empty home, not an error'
);
select tests.as_owner();

select tests.course('done', 'works', 'ines', 2), tests.course('left', 'works', 'ines', 2), tests.course('late', 'works', 'ines', 3), tests.course('rest', 'works', 'ines', 2);
select tests.enrollment('dora', c) from unnest(array['safety', 'done', 'left', 'late', 'rest']) as c;
select tests.enrollment('eve', 'safety');
update lms.enrollments set due_at = now() + interval '3 days' where id = tests.id('dora takes safety');
update lms.enrollments set due_at = now() - interval '1 day' where id = tests.id('dora takes late');
update lms.enrollments set due_at = now() - interval '9 days' where id in (tests.id('dora takes done'), tests.id('dora takes left'));
select tests.as('dora');
select lms.record_progress(tests.id('safety/1'), 100, 60), lms.record_progress(tests.id('safety/2'), 50, 30), lms.record_progress(tests.id('done/1'), 100, 10), lms.record_progress(tests.id('done/2'), 100, 10);
select lms.complete_lesson(tests.id('left/1')), lms.complete_lesson(tests.id('late/1'));
select lms.set_enrollment_status(tests.id('dora takes left'), 'dropped'), lms.set_enrollment_status(tests.id('dora takes rest'), 'paused');
select tests.as('eve');
select lms.complete_lesson(tests.id('safety/1'));
select tests.as('dora');
create temporary table home as select * from lms.get_dashboard();
select tests.as_owner();

select is(
  (select array_agg(format('%s %s %s/%s %s', c.title, c.status, c.completed_lessons, c.total_lessons, c.percentage) order by c.title) from home, unnest(active_courses) as c),
  array['Late in_progress 1/3 33.33', 'Rest paused 0/2 0.00', 'Safety in_progress 1/2 50.00'], 'active courses are the open ones, with their progress'
);
select is((select (statistics).active_courses from home), 3, 'statistics: active courses');
select is((select (statistics).completed_courses from home), 1, 'statistics: completed courses');
select is((select (statistics).completed_lessons from home), 5, 'statistics: required lessons done over all cycles');
select is((select (statistics).time_spent_seconds from home), 110::bigint, 'statistics: seconds spent');
select is((select (statistics).average_percentage from home), 27.78, 'statistics: the average over open cycles');
select is((select (statistics).overdue_courses from home), 1, 'statistics: overdue is open and past due, not completed or dropped');
select is(
  (select array_agg(format('%s %s', d.title, d.is_overdue) order by place) from home, unnest(due_items) with ordinality as d (enrollment_id, course_id, title, due_at, is_overdue, percentage, place)),
  array['Late t', 'Safety f'], 'due items: the open ones, soonest first'
);
select is(
  (select array_agg(format('%s %s', a.course_title, a.lesson_title) order by a.course_title, a.lesson_title) from home, unnest(recent_activity) as a),
  array['Done Lesson 1', 'Done Lesson 2', 'Late Lesson 1', 'Left Lesson 1', 'Safety Lesson 1'], 'recent activity: the own lessons that were completed, and nobody else''s'
);
update lms.enrollments set last_accessed_at = now() - interval '1 day' where id = tests.id('dora takes safety');
update lms.lesson_progress set completed_at = now() - interval '1 hour' where lesson_id = tests.id('late/1');
select tests.as('dora');
select is((select array_agg(c.title order by place) from lms.get_dashboard() as h, unnest(h.active_courses) with ordinality as c (enrollment_id, course_id, title, thumbnail_url, status, percentage, completed_lessons, total_lessons, current_lesson_id, due_at, last_accessed_at, place)),
  array['Late', 'Safety', 'Rest'], 'active courses: last used first, untouched ones last');
select is((select (h.recent_activity)[5].course_title from lms.get_dashboard() as h), 'Late', 'recent activity: latest first');
select tests.as_owner();
update lms.memberships set status = 'suspended' where user_id = tests.id('dora');
select tests.as('dora');
select is((select (active_courses, statistics, recent_activity, due_items)::text from lms.get_dashboard()), '({},"(0,0,0,0,0.00,0)",{},{})', 'INV-T4: who is suspended has an empty home');
select tests.as_owner();
select is(tests.try('anonymous', 'select lms.get_dashboard()'), '42501', 'anonymous callers have no home');

select * from finish();
rollback;
