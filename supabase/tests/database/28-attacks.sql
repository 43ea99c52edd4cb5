begin;
\ir ../helpers.sql
select * from no_plan();

-- What an attack on courses, enrolment and progress found. Each of these once worked.

select tests.tenant('works'), tests.unit('north', 'works'), tests.unit('south', 'works');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('marco', 'works', 'unit_manager', 'north', 'north'),
  tests.member('ines', 'works', 'instructor'), tests.member('dora', 'works', 'learner', 'north'),
  tests.member('sid', 'works', 'learner', 'south'), tests.member('eve', 'works', 'learner', 'north');
select tests.custom_role('works', 'catalogger', array['catalog.write', 'catalog.read']), tests.member('cato', 'works', 'catalogger');
select tests.course('base', 'works', 'ines', 1), tests.course('adv', 'works', 'ines', 3), tests.course('pub', 'works', 'ines', 2, 'public');

create function tests.block_of(lesson text) returns uuid language sql stable security definer as $$
  select b.id from lms.lesson_blocks b where b.lesson_id = tests.id(lesson)
$$;
create function tests.state_of(who text, course text) returns text language sql stable as $$
  select string_agg(e.status || coalesce(' until ' || e.expires_at::date, ''), ', ' order by e.cycle)
  from lms.enrollments e where e.user_id = tests.id(who) and e.course_id = tests.id(course)
$$;
savepoint clean;

-- A preview that was taken back; the content itself did not change, so old and new version share it.
update lms.lessons set is_preview = true where id = tests.id('pub/1');
select tests.republish('pub');
select is(tests.sees_as(who, 'lms.block_revisions'), '1', 'a preview is seen: ' || who) from (values ('anonymous'), ('dora')) as w (who);
update lms.lessons set is_preview = false where id = tests.id('pub/1');
select tests.republish('pub');
select is(tests.sees_as(who, relation), '0', format('a preview that was taken back is closed: %s, %s', who, relation))
from (values ('anonymous'), ('dora')) as w (who), (values ('lms.version_blocks'), ('lms.block_revisions')) as r (relation);
rollback to clean;

-- A preview whose lesson was deleted or taken out of the draft.
update lms.lessons set is_preview = true where course_id = tests.id('pub');
select tests.republish('pub');
select is(tests.sees_as('anonymous', 'lms.block_revisions'), '2', 'two previews are seen');
select tests.as('ines');
select lms.delete_lesson(tests.id('pub/1'));
update lms.lessons set is_published = false where id = tests.id('pub/2');
select is(tests.sees_as(who, relation), '0', format('INV-C3: gone, their previews are: %s, %s', who, relation))
from (values ('anonymous'), ('dora')) as w (who), (values ('lms.version_blocks'), ('lms.block_revisions')) as r (relation);
rollback to clean;

-- What is open is asked once for a cycle, and of many cycles of one version for the last.
update lms.courses set is_sequential = true where id = tests.id('adv');
select tests.republish('adv');
insert into lms.enrollments (course_id, user_id, cycle, status, enrolled_at, started_at, dropped_at) values (tests.id('adv'), tests.id('dora'), 1, 'dropped', now(), now(), now());
select tests.enrollment('dora', 'adv'), tests.enrollment('dora', 'base');
create sequence tests.asked;
grant usage on sequence tests.asked to public;
alter function private.closed_lessons rename to closed_lessons_as_they_are;
create function private.closed_lessons(p_enrollment_id uuid, p_lesson_id uuid default null) returns setof lms.lesson_gate language plpgsql stable security definer as $$
begin
  perform nextval('tests.asked');
  return query select * from private.closed_lessons_as_they_are(p_enrollment_id, p_lesson_id);
end
$$;
select is(tests.sees_as('dora', 'lms.block_revisions'), '2', 'the first lesson of a sequential course, and that of another');
select is(nextval('tests.asked'), 2::bigint, 'INV-P5: what is closed was asked once');
rollback to clean;

-- An imported completion: what is required counts as done, in the outline, for content and over REST alike.
update lms.courses set is_sequential = true where id = tests.id('adv');
insert into lms.lessons (id, module_id, title, requires_completion, release_on) values (tests.id('adv/4'), tests.id('adv/m'), 'Later', false, '2090-01-01');
select tests.republish('adv');
insert into lms.enrollments (id, course_id, user_id, source, status, items_done, enrolled_at, started_at, completed_at) values (tests.id('imported'), tests.id('adv'), tests.id('dora'), 'import', 'completed', 3, '2020-01-01', '2020-01-01', '2020-02-01');
select tests.as('dora');
select is(tests.error_of(format('select lms.get_lesson(%L)', tests.id('adv/3'))), 'none', 'its lessons can be read again');
select is(tests.sees('lms.block_revisions'), '3', '... also over REST');
select is(tests.error_of(format('select lms.complete_lesson(%L)', tests.id('adv/4'))), '409 lesson_locked', 'INV-P4: what is not released is closed all the same');
select is(
  (select string_agg(l.title || ': ' || l.obstacles[1].code, ', ') from unnest((lms.get_course_outline(tests.id('adv'))).modules) m, unnest(m.lessons) l where cardinality(l.obstacles) > 0),
  'Later: not_released', '... and the outline says so'
);
rollback to clean;

-- Pausing is no way around what comes first.
insert into lms.course_prerequisites (course_id, prerequisite_course_id) values (tests.id('adv'), tests.id('base'));
select tests.enrollment('dora', 'adv');
select tests.as('dora');
select is(tests.error_of(format('select lms.get_lesson(%L)', tests.id('adv/1'))), '409 lesson_locked', 'an assigned course waits for others');
select is((lms.set_enrollment_status(tests.id('dora takes adv'), 'paused')).status, 'paused', 'it is paused');
select is(tests.error_of(format('select lms.get_lesson(%L)', tests.id('adv/1'))), '409 lesson_locked', 'INV-P4: ... and still waits');
select is(tests.sees('lms.block_revisions'), '0', '... also over REST');
select is((lms.set_enrollment_status(tests.id('dora takes adv'), 'resumed')).status, 'enrolled', 'it is resumed');
select is(tests.error_of(format('select lms.complete_lesson(%L)', tests.id('adv/1'))), '409 lesson_locked', 'INV-P4: ... and takes no progress');
rollback to clean;

-- Days and numbers that break what counts with them.
select is(tests.try('ines', statement), expected, 'refused: ' || left(statement, 70))
from (values
  ('update lms.lessons set release_on = ''5874897-12-31''', '23514 release_is_a_day_of_calendars'),
  ('update lms.lessons set release_on = ''infinity''', '23514 release_is_a_day_of_calendars'),
  (format($s$insert into lms.lesson_blocks (lesson_id, type, content) values (%L, 'video', '{"url": "https://example.com/v", "duration": 1e300}')$s$, tests.id('adv/1')), '23514 block_content_has_the_shape_of_its_type'),
  (format($s$insert into lms.lesson_blocks (lesson_id, type, content) values (%L, 'video', '{"url": "https://example.com/v", "duration": 604801}')$s$, tests.id('adv/1')), '23514 block_content_has_the_shape_of_its_type'),
  (format($s$insert into lms.lesson_blocks (lesson_id, type, content) values (%L, 'video', '{"url": "https://example.com/v", "duration": 604800}')$s$, tests.id('adv/1')), '1'),
  ('update lms.modules set order_index = 2147483647', '23514 module_order_is_within_a_million'),
  ('update lms.lessons set order_index = 1000000 where title = ''Lesson 1''', '23514 lesson_order_is_within_a_million')
) as cases (statement, expected);

-- A completed cycle takes no claims that an open one would not.
update lms.lessons set requires_completion = false, completion_rule = 'all_blocks' where id = tests.id('adv/2');
update lms.lessons set requires_completion = false, release_on = '2090-01-01' where id = tests.id('adv/3');
select tests.republish('adv');
select tests.enrollment('dora', 'adv');
select tests.as('dora');
select is((lms.complete_lesson(tests.id('adv/1'))).course_status, 'completed', 'the course is completed by its required lesson');
select is((lms.complete_lesson(tests.id('adv/1'))).lesson_percentage, 100::numeric, 'INV-P6: reporting it again is harmless');
select is(tests.error_of(format('select lms.complete_lesson(%L)', tests.id('adv/2'))), '409 evidence_required', 'INV-P3: a claim without evidence is refused afterwards as well');
select is(tests.error_of(format('select lms.complete_lesson(%L)', tests.id('adv/3'))), '409 lesson_locked', 'INV-P4: ... and a lesson that is not released');
select is(tests.error_of(format('select lms.get_lesson(%L)', tests.id('adv/3'))), '409 lesson_locked', '... whose content is closed as over REST');
select is(tests.error_of(format('insert into lms.lesson_progress (user_id, lesson_id, progress_percentage) values (%L, %L, 5) on conflict (enrollment_id, lesson_id) do update set progress_percentage = 100', tests.id('dora'), tests.id('adv/2'))), '409 evidence_required', '... nor bit by bit');
select is((lms.record_block_progress(tests.block_of('adv/2'), 100)).lesson_status, 'completed', 'what the blocks show counts on');
rollback to clean;

-- Updating block progress by itself, past every insert.
update lms.lessons set completion_rule = 'all_blocks' where id = tests.id('adv/1');
select tests.republish('adv');
select tests.enrollment('dora', 'adv'), tests.enrollment('dora', 'base');
select tests.as('dora');
select lms.record_block_progress(tests.block_of('adv/1'), 10), lms.record_block_progress(tests.block_of('base/1'), 10);
select tests.as_owner();
create function tests.advance(n integer) returns text language sql as $$
  select tests.try('dora', format('update lms.block_progress set progress_percentage = %s where course_id = %L', n, tests.id('adv')))
$$;
select is(tests.advance(20), '1', 'an open one advances');
update lms.enrollments set status = 'paused' where id = tests.id('dora takes adv');
select is(tests.advance(20), '409 enrollment_paused', 'a paused one does not');
update lms.enrollments set status = 'dropped' where id = tests.id('dora takes adv');
select is(tests.advance(20), '409 not_enrolled', 'nor one that was left');
select tests.enrollment('sid', 'adv');
select tests.as('sid');
select lms.record_block_progress(tests.block_of('adv/1'), 10);
select tests.as_owner();
update lms.lessons set release_on = '2090-01-01' where id = tests.id('adv/1');
select tests.republish('adv');
select is((lms.migrate_enrollments(tests.id('adv'), 'move')).moved, 1, 'a lesson is held back from now on');
select is(tests.try('sid', 'update lms.block_progress set progress_percentage = 100'), '409 lesson_locked', 'INV-P4: a block of a closed lesson does not advance');
select is(tests.try('sid', format('insert into lms.block_progress (user_id, block_id, progress_percentage) values (%L, %L, 10) on conflict (enrollment_id, block_id) do update set progress_percentage = 10', tests.id('sid'), tests.block_of('adv/1'))), '1', 'INV-P6: what was reported before can be reported again');
update lms.courses set deleted_at = now() where id = tests.id('base');
select is(tests.try('dora', format('update lms.block_progress set progress_percentage = 30 where course_id = %L', tests.id('base'))), '404 block_not_found', 'of a deleted course there is no block');
rollback to clean;

-- What was watched, in huge amounts and of what does not play.
select tests.enrollment('dora', 'adv');
select is(tests.try('dora', format('insert into lms.block_progress (user_id, block_id, watched) values (%L, %L, ''{[0,10)}'')', tests.id('dora'), tests.block_of('adv/1'))), '409 block_without_duration', 'what does not play is not watched');
update lms.lesson_blocks set type = 'video', content = '{"url": "https://example.com/v", "duration": 604800}' where lesson_id = tests.id('base/1');
select tests.republish('base');
select tests.enrollment('dora', 'base');
select is(
  tests.try('dora', format('insert into lms.block_progress (user_id, block_id, watched) select %L, %L, (select range_agg(int4range(n * 2, n * 2 + 1)) from generate_series(0, 302399) n)', tests.id('dora'), tests.block_of('base/1'))),
  '23514 watched_parts_are_few', 'a hundred thousand pieces are not kept'
);
select is(tests.try('dora', format('select lms.record_block_progress(%L, null, (select jsonb_agg(jsonb_build_array(n * 2, n * 2 + 1)) from generate_series(1, %s) n))', tests.block_of('base/1'), n)), expected, n || ' pieces')
from (values (1000, '1'), (2001, '422 invalid_watched')) as cases (n, expected);
rollback to clean;

-- Who answers for content does not thereby follow people.
select tests.enrollment('dora', 'adv');
select tests.as('dora');
select lms.record_progress(tests.id('adv/1'), 40, 5, '{"page": 7}');
select is((select (l.status, l.progress_percentage, l.last_position)::text from lms.get_lesson(tests.id('adv/1'), tests.id('dora takes adv')) l), '(in_progress,40,"{""page"": 7}")', 'the learner sees where they are');
select tests.as('cato');
select is((select (l.status, l.progress_percentage, l.last_position)::text from lms.get_lesson(tests.id('adv/1'), tests.id('dora takes adv')) l), '(not_started,0,)', 'an editor of content sees the content only');
select tests.as('ines');
select is((lms.get_lesson(tests.id('adv/1'), tests.id('dora takes adv'))).status, 'in_progress', 'the teacher sees both');
rollback to clean;

-- The queue: what keeps a learner from beginning keeps the job from beginning for them.
update lms.courses set capacity = 1 where id = tests.id('adv');
select tests.enrollment('eve', 'adv');
select tests.as('dora');
select is((lms.request_enrollment(tests.id('adv'))).status, 'waiting', 'one waits');
select tests.as_owner();
create function tests.served(change text) returns text language plpgsql as $$
declare
  v_result text;
begin
  begin
    execute 'update lms.courses set capacity = 2, ' || change || ' where slug = ''adv''';
    perform ops.fill_free_seats();
    select r.status || coalesce(': ' || r.decision_reason, '') into v_result from lms.enrollment_requests r where r.user_id = tests.id('dora');
    raise exception using errcode = 'UNDO0';
  exception
    when sqlstate 'UNDO0' then return v_result;
  end;
end
$$;
select is(tests.served(change), expected, change)
from (values
  ('price = 0', 'enrolled'), ('price = 500', 'declined: The course has to be bought.'), ('visibility = ''private''', 'declined: The course is private: staff enrols its learners.'),
  ('self_enrollment = ''closed''', 'declined: Learners cannot enrol themselves.'), ('self_enrollment = ''approval''', 'pending')
) as cases (change, expected);
update lms.enrollment_requests set status = 'waiting', decided_by = tests.id('ines') where user_id = tests.id('dora');
select is(tests.served('price = 500'), 'enrolled', 'whom staff has let in, staff has let in');
rollback to clean;

-- Seats: not two by another date, and none for who has left.
update lms.courses set capacity = 1 where id = tests.id('adv');
select tests.enrollment('eve', 'adv');
update lms.enrollments set expires_at = now() - interval '1 day';
select tests.as('dora');
select is((lms.enroll(tests.id('adv'))).status, 'enrolled', 'a cycle that has run out makes room');
select is(tests.try('ines', format('update lms.enrollments set %s where user_id = %L', change, tests.id('eve'))), '409 enrollment_not_open', 'INV-E1: it is not brought back by ' || change)
from (values ('expires_at = null'), ('expires_at = now() + interval ''1 day'''), ('due_at = now() + interval ''1 day''')) as cases (change);
update lms.memberships set status = 'ended' where user_id = tests.id('dora');
select is(tests.try('sid', format('select lms.enroll(%L)', tests.id('adv'))), '409 not_eligible', 'INV-E4: who has left may come back to their seat');
select is(ops.drop_left_enrollments(), 0, '... for a month');
update lms.memberships set ended_at = now() - interval '31 days' where user_id = tests.id('dora');
select is(ops.drop_left_enrollments(), 1, '... and then gives it up');
select is(ops.drop_left_enrollments(), 0, '... once');
select is(tests.try('sid', format('select lms.enroll(%L)', tests.id('adv'))), '1', '... to the next one');
rollback to clean;

-- A finished cycle keeps its dates, whoever manages the unit where it was earned; and dates are days.
select tests.enrollment('dora', 'base'), tests.enrollment('dora', 'adv');
select tests.as('dora');
select is((lms.complete_lesson(tests.id('base/1'))).course_status, 'completed', 'a course is completed');
select tests.as_owner();
update lms.memberships set unit_id = tests.id('south') where user_id = tests.id('dora');
select is(tests.try('marco', format('update lms.enrollments set expires_at = now() where course_id = %L', tests.id('base'))), '409 enrollment_not_open', 'a former manager takes nothing away');
select is(tests.try('boss', format('update lms.enrollments set %s = %L where course_id = %L', field, value, tests.id('adv'))), '23514 due_and_expiry_dates_are_finite', format('%s is not %s', field, value))
from (values ('expires_at'), ('due_at')) as f (field), (values ('-infinity'), ('infinity')) as v (value);
rollback to clean;

-- Leaving and coming back keeps what staff has set.
insert into lms.enrollments (course_id, user_id, expires_at, due_at) values (tests.id('adv'), tests.id('dora'), now() + interval '9 days', now() + interval '5 days');
select tests.as('dora');
select (lms.set_enrollment_status(e.id, 'dropped')).status from lms.enrollments e;
select is((select (e.due_at = now() + interval '5 days', e.expires_at = now() + interval '9 days')::text from lms.enroll(tests.id('adv')) e), '(t,t)', 'both dates are kept');
rollback to clean;

-- Of a deleted course nothing is read, also by those who completed it.
select tests.enrollment('dora', 'base');
select tests.as('dora');
select is((lms.complete_lesson(tests.id('base/1'))).course_status, 'completed', 'a course is completed');
select is(tests.sees('lms.block_revisions'), '1', 'its content is kept open');
select tests.as('ines');
select lms.delete_course(tests.id('base'));
select is(tests.sees_as('dora', relation), '0', 'INV-C3: deleted, it is gone: ' || relation) from (values ('lms.version_blocks'), ('lms.block_revisions')) as r (relation);
rollback to clean;

-- A lesson does not move into a module that is gone.
insert into lms.modules (id, course_id, title) values (tests.id('m2'), tests.id('adv'), 'Second');
insert into lms.lessons (id, module_id, title) values (tests.id('x'), tests.id('m2'), 'X');
select tests.as('ines');
select lms.delete_module(tests.id('adv/m'));
select is(tests.error_of(format('update lms.lessons set module_id = %L where id = %L', tests.id('adv/m'), tests.id('x'))), '404 module_not_found', 'a deleted module is none');
select is(tests.error_of(format('select lms.restore_module(%L)', tests.id('adv/m'))), 'none', '... and comes back');
rollback to clean;

-- A last place that is taken, and an order with gaps that the caller does not see.
update lms.lessons set order_index = 999999 where id = tests.id('adv/3');
select is(tests.try('ines', format('insert into lms.lessons (module_id, title) values (%L, ''New'')', tests.id('adv/m'))), '409 order_is_full', 'behind the last place there is none, and what to do is said');
insert into lms.learning_paths (id, tenant_id, slug, title) values (tests.id('plan'), tests.id('works'), 'plan', 'Plan');
insert into lms.learning_path_courses (path_id, course_id) select tests.id('plan'), tests.id(c) from unnest(array['base', 'adv', 'pub']) as u (c);
update lms.courses set deleted_at = now() where id = tests.id('base');
select tests.as('boss');
select is(tests.error_of(format('select lms.reorder(%L, array[%L, %L]::uuid[])', tests.id('plan'), tests.id('pub'), tests.id('adv'))), 'none', 'a path with a deleted course is put in order');
select is((select array_agg(c.course_id order by c.order_index) from lms.learning_path_courses c where c.path_id = tests.id('plan')), array[tests.id('pub'), tests.id('adv')], '... as it was asked');
rollback to clean;

-- Documents of courses that are none.
create function tests.faults_of(lesson text) returns text language plpgsql as $$
begin
  perform tests.as('ines');
  return (
    select string_agg(f ->> 'code', ', ')
    from jsonb_array_elements(tests.failure_of(format(
      'select lms.import_course(%L, %L)', tests.id('works'),
      jsonb_build_object('format', 'lyceum-course-1', 'slug', 'new', 'title', 'New', 'modules', jsonb_build_array(jsonb_build_object('key', 'm', 'title', 'M', 'lessons', jsonb_build_array('{"key": "l", "title": "L"}'::jsonb || lesson::jsonb))))
    )) -> 'details') f
  );
end
$$;
select is(tests.faults_of(lesson), expected, lesson)
from (values
  ('{"release_on": "foo"}', 'invalid_date'), ('{"release_on": ""}', 'invalid_date'), ('{"release_on": "2024-02-30"}', 'invalid_date'), ('{"release_on": "tomorrow"}', 'invalid_date'), ('{"release_on": "2024-02-29"}', null),
  ('{"key": ""}', 'empty_key'), ('{"skills": [{"key": "a"}, {"key": "b"}, {"key": "a"}]}', 'duplicate_skill')
) as cases (lesson, expected);
select tests.as_owner();
rollback to clean;

-- A copy of a course whose address has a hyphen where it is cut.
update lms.courses set slug = repeat('a', 89) || '-bcd' where id = tests.id('adv');
select tests.as('ines');
select is((lms.duplicate_course(tests.id('adv'))).slug::text, repeat('a', 89) || '-copy', 'the copy has an address');

select tests.as_owner();
select * from finish();
rollback;
