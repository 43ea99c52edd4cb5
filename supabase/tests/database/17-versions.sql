begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'), tests.member('ines', 'works', 'instructor'),
  tests.member('ivan', 'works', 'instructor'), tests.member('dora', 'works'), tests.member('sid', 'works'), tests.member('eve', 'works'),
  tests.member('petra', 'press', 'tenant_admin');
select tests.person('noah');
select
  tests.course('safety', 'works', 'ines', 3), tests.course('other', 'works', 'ivan', 2), tests.course('open', 'works', 'ines', 2, 'public'),
  tests.course('sketch', 'works', 'ines', 2, 'restricted', 'draft'), tests.course('novel', 'press', 'petra', 1);

create function tests.author(change text) returns text language plpgsql as $$
begin
  perform tests.as('ines');
  execute change;
  perform tests.as_owner();
  return tests.standing('dora', 'safety') || ', ' || tests.standing('sid', 'safety');
end
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
create function tests.publish(who text, course text) returns text language sql as $$
  select tests.try(who, format('select lms.publish_course(%L)', tests.id(course)))
$$;
create function tests.content(who text, lesson text, enrollment uuid default null) returns text language plpgsql as $$
declare
  v_text text;
begin
  perform tests.be(who);
  begin
    select format('%s %s: %s', coalesce(c.version::text, 'draft'), c.title, (select string_agg(b.content ->> 'markdown', '|') from unnest(c.blocks) as b))
    into v_text
    from lms.get_lesson(tests.id(lesson), enrollment) as c;
  exception when others then
    v_text := tests.error_of(format('select lms.get_lesson(%L, %L)', tests.id(lesson), enrollment));
  end;
  perform tests.as_owner();
  return v_text;
end
$$;
create function tests.findings(course text) returns text language plpgsql as $$
declare
  v_findings text;
begin
  perform tests.as('ines');
  select string_agg(f.severity || ' ' || f.code, ', ' order by f.severity, f.code) into v_findings from lms.check_course(tests.id(course)) as f;
  perform tests.as_owner();
  return coalesce(v_findings, '');
end
$$;
create function tests.preview(who text, policy text) returns text language plpgsql as $$
declare
  v_text text;
begin
  perform tests.be(who);
  select string_agg(
    format('%s %s->%s %s/%s->%s/%s%s', p.display_name, m.from_version, case when m.moves then m.to_version end, m.items_done_before, m.items_total_before,
      m.items_done_after, m.items_total_after, case when m.completes then ' completes' end),
    ', ' order by p.display_name
  )
  into v_text
  from lms.preview_enrollment_migration(tests.id('safety'), policy) as m
  join lms.people p on p.id = m.user_id;
  perform tests.as_owner();
  return v_text;
end
$$;
create function tests.migrate(who text, policy text, version integer default null) returns text language plpgsql as $$
declare
  v_text text;
begin
  perform tests.be(who);
  select (m)::text into v_text from lms.migrate_enrollments(tests.id('safety'), policy, version) as m;
  perform tests.as_owner();
  return v_text;
end
$$;
create function tests.diff(from_version integer, to_version integer) returns text language plpgsql as $$
declare
  v_text text;
begin
  perform tests.as('ines');
  select string_agg(concat_ws(' ', d.kind, d.change, d.title, (select string_agg(k, '+' order by k) from jsonb_object_keys(d.details) as k)), ', ')
  into v_text
  from lms.get_version_diff(tests.id('safety'), from_version, to_version) as d;
  perform tests.as_owner();
  return coalesce(v_text, 'nothing');
end
$$;
savepoint clean;

-- =====================================================================================================
-- Publishing
-- =====================================================================================================

select is(tests.publish(who, course), expected, format('%s publishes %s: %s', who, course, expected))
from (values
  ('ines', 'sketch', '1'), ('boss', 'sketch', '1'), ('ivan', 'sketch', '404 course_not_found'), ('hanna', 'sketch', '42501'), ('dora', 'sketch', '404 course_not_found'),
  ('petra', 'sketch', '404 course_not_found'), ('anonymous', 'sketch', '42501'), ('ines', 'other', '42501'), ('service', 'sketch', '1')
) as cases (who, course, expected);

select is((select count(*) from lms.course_versions where course_id = tests.id('safety')), 1::bigint, 'a published course has a version');
select is((private.freeze_course(tests.id('safety'))).number, 1, 'INV-C1: publishing without a change makes no version');
update lms.lessons set title = 'Renamed' where id = tests.id('safety/1');
select is(tests.republish('safety'), 2, 'publishing a change makes one');
select is((select (v.number, v.items_total, v.title)::text from lms.course_versions v where v.course_id = tests.id('safety') and v.number = 1), '(1,3,Safety)', 'a version says what it was');
update lms.lesson_blocks set content = '{"markdown": "Changed"}' where lesson_id = tests.id('safety/1');
select is(tests.republish('safety'), 3, 'so does changed content');
select is((select count(*) from lms.block_revisions where course_id = tests.id('safety')), 4::bigint, 'unchanged blocks are shared by versions: three of the first and one more');
select is((select count(*) from lms.version_blocks where course_id = tests.id('safety')), 9::bigint, '... each of which lists all of its blocks');
update lms.lesson_blocks set content = '{"markdown": "Secret of lesson 1"}' where lesson_id = tests.id('safety/1');
update lms.lessons set title = 'Lesson 1' where id = tests.id('safety/1');
select is(tests.republish('safety'), 4, 'going back is a change');
select is(
  (select count(distinct content_hash) from lms.course_versions where course_id = tests.id('safety')), 3::bigint, 'equal hashes, equal content'
);
rollback to clean;

select is(tests.error_of(statement), '42501', 'INV-C1: ' || what)
from (values
  ('a version is not changed', 'update lms.course_versions set items_total = 0'), ('a version is not removed', 'delete from lms.course_versions'),
  ('its lessons are not changed', 'update lms.version_lessons set requires_completion = false'), ('its lessons are not removed', 'delete from lms.version_lessons'),
  ('revisions are not changed', 'update lms.block_revisions set content = ''{"markdown": "x"}'''), ('revisions are not removed', 'delete from lms.block_revisions'),
  ('its blocks are not moved', 'update lms.version_blocks set order_index = 9'), ('its blocks are not removed', 'delete from lms.version_blocks')
) as cases (what, statement);

-- =====================================================================================================
-- INV-C4: what stands in the way
-- =====================================================================================================

select is(tests.findings('sketch'), '', 'a course with content and a required lesson has nothing to be mended');
update lms.lessons set requires_completion = false where course_id = tests.id('sketch');
select is(tests.findings('sketch'), 'fault no_required_lesson', 'INV-C4: nothing to complete');
update lms.lessons set requires_completion = true, completion_rule = 'watched' where id = tests.id('sketch/1');
insert into lms.lessons (id, module_id, title, completion_rule, is_published) values
  (tests.id('sketch/3'), tests.id('sketch/m'), 'Empty', 'all_blocks', true), (tests.id('sketch/4'), tests.id('sketch/m'), 'Unpublished', 'manual', false);
insert into lms.modules (course_id, title) values (tests.id('sketch'), 'Nothing here');
insert into lms.lesson_prerequisites (lesson_id, prerequisite_lesson_id) values (tests.id('sketch/2'), tests.id('sketch/4'));
select is(
  tests.findings('sketch'),
  'fault prerequisite_not_published, fault rule_without_blocks, fault rule_without_media, warning lesson_without_content, warning module_without_lessons',
  'INV-C4: all findings at once'
);
select tests.as('ines');
select is(
  (select array_agg(f ->> 'code' order by f ->> 'code') from jsonb_array_elements(tests.failure_of(format('select lms.publish_course(%L)', tests.id('sketch'))) -> 'details') as f),
  '{prerequisite_not_published,rule_without_blocks,rule_without_media}', 'INV-C4: publishing is refused with all faults'
);
select tests.as_owner();
select is((select status from lms.courses where id = tests.id('sketch')), 'draft', '... and nothing is published');
select is(tests.try(who, format('select * from lms.check_course(%L)', tests.id('sketch'))), expected, format('%s checks the draft: %s', who, expected))
from (values ('ines', '5'), ('boss', '5'), ('hanna', '42501'), ('dora', '404 course_not_found'), ('petra', '404 course_not_found')) as cases (who, expected);
rollback to clean;

-- A paused, unpublished, archived course.
select tests.enrollment('dora', 'safety');
select tests.as('ines');
select is((lms.unpublish_course(tests.id('safety'))).status, 'draft', 'a course is taken off the catalogue');
select tests.as('sid');
select is(tests.error_of(format('select lms.enroll(%L)', tests.id('safety'))), '404 course_not_found', '... nobody begins it');
select tests.as('dora');
select is((lms.complete_lesson(tests.id('safety/1'))).completed_lessons, 1, '... those enrolled go on');
select tests.as('ines');
select is((lms.publish_course(tests.id('safety'))).status, 'published', '... and it is published again');
select is((lms.archive_course(tests.id('safety'))).status, 'archived', 'or archived');
select tests.as_owner();
select is((select count(*) from lms.course_versions where course_id = tests.id('safety')), 1::bigint, '... all of which makes no version');
rollback to clean;

-- =====================================================================================================
-- INV-C1: drafts change nobody's progress
-- =====================================================================================================

select tests.enrollment('dora', 'safety'), tests.enrollment('sid', 'safety');
select tests.complete('dora', 'safety/1'), tests.complete('sid', 'safety/1', 'safety/2', 'safety/3');
select is(tests.standing('dora', 'safety') || ', ' || tests.standing('sid', 'safety'), 'in_progress 1/3 33.33, completed 3/3 100.00', 'before authors change anything');
savepoint learned;

create temporary table changes (what text, change text);
insert into changes values
  ('adding a lesson', format('insert into lms.lessons (module_id, title) values (%L, %L)', tests.id('safety/m'), 'New')),
  ('taking a lesson out', format('update lms.lessons set is_published = false where id = %L', tests.id('safety/1'))),
  ('making one optional', format('update lms.lessons set requires_completion = false where id = %L', tests.id('safety/2'))),
  ('making all optional', format('update lms.lessons set requires_completion = false where course_id = %L', tests.id('safety'))),
  ('reordering', format('update lms.lessons set order_index = 9 - order_index where course_id = %L', tests.id('safety'))),
  ('rewriting', format('update lms.lesson_blocks set content = %L where course_id = %L', '{"markdown": "New"}', tests.id('safety'))),
  ('making it sequential', format('update lms.courses set is_sequential = true where id = %L', tests.id('safety')));
select is(tests.author(change), 'in_progress 1/3 33.33, completed 3/3 100.00', 'INV-C1: ' || what || ' changes nobody''s progress') from changes;
select is(tests.republish('safety'), 2, 'all of it is published');
select is(tests.standing('dora', 'safety') || ', ' || tests.standing('sid', 'safety'), 'in_progress 1/3 33.33, completed 3/3 100.00', 'INV-C1: ... which changes nobody''s progress either');
select is(tests.content('dora', 'safety/1'), '1 Lesson 1: Secret of lesson 1', 'whoever takes the first version reads the first version, also of a lesson that was taken out');
select is(tests.content('sid', 'safety/1'), '1 Lesson 1: Secret of lesson 1', 'so does whoever has finished it');
select is(tests.content('ines', 'safety/2'), 'draft Lesson 2: New', 'authors read the draft');
select is(tests.content('ines', 'safety/1', tests.id('sid takes safety')), '1 Lesson 1: Secret of lesson 1', 'authors see what somebody was trained on, to the block');
select is(tests.content('eve', 'safety/1', tests.id('sid takes safety')), '404 lesson_not_found', '... which others do not');
select is(tests.content('eve', 'safety/2', tests.id('sid takes safety')), '404 enrollment_not_found', '... whatever lesson they ask for');
rollback to learned;

-- The lesson is no longer there at all.
update lms.lessons set deleted_at = now() where id = tests.id('safety/2');
update lms.lesson_blocks set deleted_at = now() where lesson_id = tests.id('safety/2');
select tests.republish('safety');
select is(tests.content('dora', 'safety/2'), '1 Lesson 2: Secret of lesson 2', 'a lesson deleted since is still read by those who take it');
select tests.complete('dora', 'safety/2');
select is(tests.standing('dora', 'safety'), 'in_progress 2/3 66.66', '... and completed');
select tests.enrollment('eve', 'safety');
select is(tests.standing('eve', 'safety'), 'enrolled 0/2 0.00', 'whoever begins later takes the later version');
select is(tests.content('eve', 'safety/2'), '404 lesson_not_found', '... without it');
rollback to learned;

-- =====================================================================================================
-- Moving to another version
-- =====================================================================================================

select tests.enrollment('eve', 'safety');
insert into lms.lessons (id, module_id, title) values (tests.id('safety/4'), tests.id('safety/m'), 'Lesson 4');
update lms.lessons set requires_completion = false where id = tests.id('safety/3');
update lms.lessons set is_published = false where id = tests.id('safety/2');
select tests.republish('safety');

select is(tests.preview('ines', 'move'), 'Dora 1->2 1/3->1/2, Eve 1->2 0/3->0/2', 'a preview says where everybody would stand; finished cycles are not in it');
select is(tests.preview('ines', 'move_if_not_started'), 'Dora 1-> 1/3->1/3, Eve 1->2 0/3->0/2', '... by policy');
select is(tests.preview('ines', 'keep'), 'Dora 1-> 1/3->1/3, Eve 1-> 0/3->0/3', '... also that nobody moves');
select is(tests.migrate('ines', 'keep'), '(0,2,0,0,0,0)', 'keep moves nobody');
savepoint offered;
select is(tests.migrate('ines', 'move_if_not_started'), '(1,1,0,0,0,0)', 'those who have not begun are moved');
select is(tests.standing('dora', 'safety') || ', ' || tests.standing('eve', 'safety'), 'in_progress 1/3 33.33, enrolled 0/2 0.00', '... and only they');
rollback to offered;
select is(tests.migrate('boss', 'move'), '(2,0,0,1,0,0)', 'everybody is moved; one gains');
select is(tests.standing('dora', 'safety') || ', ' || tests.standing('eve', 'safety') || ', ' || tests.standing('sid', 'safety'), 'in_progress 1/2 50.00, enrolled 0/2 0.00, completed 3/3 100.00', '... but who has finished');
select is(tests.migrate('boss', 'move'), '(0,0,0,0,0,0)', 'again, it changes nothing');
select is(tests.migrate('boss', 'move', 1), '(2,0,0,0,1,0)', 'people are moved back');
select is(tests.standing('dora', 'safety'), 'in_progress 1/3 33.33', '... to where they were');
rollback to offered;
select tests.complete('dora', 'safety/3');
update lms.lessons set is_published = false where id = tests.id('safety/4');
select tests.republish('safety');
select is(tests.preview('ines', 'move') like 'Dora 1->3 2/3->1/1 completes,%', true, 'a preview says who completes');
select is(tests.migrate('ines', 'move'), '(2,0,1,1,0,0)', '... and moving completes them');
select is(tests.standing('dora', 'safety'), 'completed 1/1 100.00', 'INV-P2: nothing remains to be done');
rollback to offered;
select is(tests.try(who, format('select lms.migrate_enrollments(%L, %L, %s)', tests.id('safety'), policy, version)), expected, format('%s moves people (%s, %s): %s', who, policy, version, expected))
from (values
  ('ines', 'move', 'null', '1'), ('ines', 'everybody', 'null', '422 invalid_policy'), ('ines', 'move', '7', '404 version_not_found'), ('ivan', 'move', 'null', '42501'), ('hanna', 'move', 'null', '42501'),
  ('dora', 'move', 'null', '42501'), ('petra', 'move', 'null', '404 course_not_found'), ('anonymous', 'move', 'null', '42501')
) as cases (who, policy, version, expected);
select is(
  tests.error_of(format('update lms.enrollments set version_id = (select id from lms.course_versions where course_id = %L and number = 2) where id = %L', tests.id('safety'), tests.id('sid takes safety'))),
  '409 version_is_pinned', 'INV-C1: a finished cycle keeps its version, whoever writes'
);
select is(
  tests.error_of(format('update lms.enrollments set version_id = (select id from lms.course_versions where course_id = %L) where id = %L', tests.id('other'), tests.id('dora takes safety'))),
  '23503 enrollment_version_is_of_the_same_course', 'an enrolment has a version of its course'
);
select tests.as('dora');
select is(tests.error_of('update lms.enrollments set version_id = gen_random_uuid()'), '42501', 'learners do not choose their version');
select tests.as_owner();
rollback to clean;

-- Learners, authors and migrations at random: counters stay equal to the facts, versions to what they were.
select tests.enrollment('dora', 'safety'), tests.enrollment('sid', 'safety'), tests.enrollment('eve', 'safety');
do $$
declare
  v_lesson uuid;
begin
  perform setseed(0.3);
  insert into lms.lessons (module_id, title) select tests.id('safety/m'), 'Lesson ' || n from generate_series(4, 9) as n;
  for i in 1..200 loop
    select id into v_lesson from lms.lessons where course_id = tests.id('safety') order by md5(id::text || i::text) limit 1;
    case floor(random() * 7)
      when 0 then update lms.lessons set is_published = not is_published where id = v_lesson;
      when 1 then update lms.lessons set requires_completion = not requires_completion where id = v_lesson;
      when 2 then update lms.lessons set deleted_at = case when deleted_at is null then now() end where id = v_lesson;
      when 3 then perform tests.republish('safety');
      when 4 then perform lms.migrate_enrollments(tests.id('safety'), (array['move', 'move_if_not_started'])[1 + i % 2]);
      else
        perform tests.as((array['dora', 'sid', 'eve'])[1 + i % 3]);
        perform tests.error_of(format('select lms.record_progress(%L, %s)', v_lesson, (array[50, 100])[1 + (i % 2)]));
        perform tests.as_owner();
    end case;
  end loop;
end
$$;
select is_empty(
  $q$
    select e.id, e.items_done, e.items_total, c.done, c.total
    from lms.enrollments e
    cross join lateral (
      select count(*) as total, count(p.completed_at) as done
      from lms.version_lessons l
      left join lms.lesson_progress p on p.enrollment_id = e.id and p.lesson_id = l.lesson_id
      where l.version_id = e.version_id and l.requires_completion
    ) c
    where (e.items_done, e.items_total) <> (c.done, c.total)
  $q$, 'INV-P2: after random deeds of learners and an author, the counters are exact'
);
select cmp_ok((select count(*) from lms.course_versions where course_id = tests.id('safety')), '>', 5::bigint, '... over many versions');
select is(ops.recount_progress(), 0::bigint, 'counting again finds no difference');
rollback to clean;
select tests.enrollment('dora', 'safety');
select tests.complete('dora', 'safety/1');
update lms.enrollments set items_done = 0;
select is(ops.recount_progress(), 1::bigint, 'counting again finds a difference that was made');
select is(tests.standing('dora', 'safety'), 'in_progress 1/3 33.33', '... and mends it');
rollback to clean;

-- =====================================================================================================
-- What changed
-- =====================================================================================================

select is(tests.diff(1, null), 'nothing', 'a draft that was just published differs in nothing');
update lms.courses set title = 'Safety first', is_sequential = true where id = tests.id('safety');
insert into lms.modules (id, course_id, title) values (tests.id('safety/m2'), tests.id('safety'), 'Second');
update lms.lessons set module_id = tests.id('safety/m2'), order_index = 0 where id = tests.id('safety/1');
update lms.lessons set title = 'Two' where id = tests.id('safety/2');
update lms.lessons set is_published = false where id = tests.id('safety/3');
insert into lms.lessons (module_id, title) values (tests.id('safety/m2'), 'Four');
update lms.lesson_blocks set content = '{"markdown": "Changed"}' where lesson_id = tests.id('safety/2');
create temporary table draft as select tests.diff(1, null) as diff;
select tests.republish('safety');
select is(tests.diff(1, 2), (select diff from draft), 'what differs from the draft differs from the version that is made of it');
select is(tests.diff(2, null), 'nothing', 'and nothing is left in the draft');
select matches(tests.diff(1, 2), pattern, 'a diff tells: ' || pattern)
from unnest(array[
  'course changed Safety first is_sequential\+title', 'module added Second', 'lesson changed Two ', 'lesson removed Lesson 3', 'lesson added Four', 'block changed content_hash', 'block removed'
]) as pattern;
select is(tests.try(who, format('select * from lms.get_version_diff(%L, %s)', tests.id('safety'), version)), expected, format('%s compares with version %s: %s', who, version, expected))
from (values ('dora', 1, '42501'), ('petra', 1, '404 course_not_found'), ('ines', 9, '404 version_not_found')) as cases (who, version, expected);
rollback to clean;

-- =====================================================================================================
-- Who sees versions and their content
-- =====================================================================================================

update lms.lessons set is_preview = true where id in (tests.id('open/1'), tests.id('safety/1'));
select tests.republish('open'), tests.republish('safety');
select tests.enrollment('dora', 'safety'), tests.enrollment('sid', 'safety');
update lms.enrollments set status = 'dropped' where id = tests.id('sid takes safety');
select is(tests.sees_as(who, relation), expected, format('%s sees %s of %s', who, expected, relation))
from (values
  ('anonymous', 'lms.course_versions', '42501'), ('anonymous', 'lms.version_lessons', '42501'), ('anonymous', 'lms.version_blocks', '1'), ('anonymous', 'lms.block_revisions', '1'),
  ('noah', 'lms.course_versions', '0'), ('noah', 'lms.version_lessons', '0'), ('noah', 'lms.version_blocks', '1'), ('noah', 'lms.block_revisions', '1'),
  -- Of the version that they take, and previews of what they see.
  ('dora', 'lms.course_versions', '1'), ('dora', 'lms.version_lessons', '3'), ('dora', 'lms.version_blocks', '4'), ('dora', 'lms.block_revisions', '4'),
  ('sid', 'lms.course_versions', '1'), ('sid', 'lms.version_lessons', '3'), ('sid', 'lms.version_blocks', '2'), ('sid', 'lms.block_revisions', '2'),
  ('eve', 'lms.course_versions', '0'), ('eve', 'lms.version_blocks', '2'),
  ('petra', 'lms.course_versions', '1'), ('petra', 'lms.version_blocks', '2'), ('petra', 'lms.block_revisions', '2'),
  ('hanna', 'lms.course_versions', '5'), ('hanna', 'lms.version_blocks', '2'), ('boss', 'lms.course_versions', '5')
) as cases (who, relation, expected);

-- Drafts of lessons and modules are seen by authors only, until they are published.
insert into lms.modules (id, course_id, title) values (tests.id('safety/m2'), tests.id('safety'), 'Second');
insert into lms.lessons (id, module_id, title) values (tests.id('safety/new'), tests.id('safety/m2'), 'New');
select is(tests.sees_as(who, 'lms.lessons', format('id = %L', tests.id('safety/new'))) || tests.sees_as(who, 'lms.modules', format('id = %L', tests.id('safety/m2'))), expected, format('%s sees a lesson and a module that are not published: %s', who, expected))
from (values ('ines', '11'), ('boss', '11'), ('hanna', '11'), ('dora', '00'), ('eve', '00')) as cases (who, expected);
select tests.republish('safety');
select is(tests.sees_as('eve', 'lms.lessons', format('id = %L', tests.id('safety/new'))), '1', '... until then');

select * from finish();
rollback;
