begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'), tests.member('ines', 'works', 'instructor'),
  tests.member('ivan', 'works', 'instructor'), tests.member('dora', 'works'), tests.member('petra', 'press', 'tenant_admin'), tests.member('paul', 'press', 'instructor');
select tests.member('ines', 'press', 'instructor');
select
  tests.course('safety', 'works', 'ines', 3), tests.course('other', 'works', 'ivan', 2), tests.course('hidden', 'works', 'ivan', 1, 'private'), tests.course('novel', 'press', 'petra', 2);
insert into lms.modules (id, course_id, title) values (tests.id('safety/m2'), tests.id('safety'), 'Second');
create function tests.blocks_of(lesson text) returns uuid language sql as $$ select id from lms.lesson_blocks where lesson_id = tests.id(lesson) order by order_index limit 1 $$;
create function tests.draft(course text) returns text language sql as $$
  select string_agg(m.title || '(' || coalesce((
    select string_agg(l.title || coalesce('[' || (select count(*) from lms.lesson_blocks b where b.lesson_id = l.id and b.deleted_at is null) || ']', ''), ' ' order by l.order_index)
    from lms.lessons l where l.module_id = m.id and l.deleted_at is null
  ), '') || ')', ' ' order by m.order_index)
  from lms.modules m where m.course_id = tests.id(course) and m.deleted_at is null
$$;
create function tests.do(who text, statement text) returns text language plpgsql as $$
declare
  v_result text;
begin
  perform tests.be(who);
  v_result := tests.error_of(statement);
  perform tests.as_owner();
  return v_result;
end
$$;
create function tests.trash(who text) returns text language plpgsql as $$
declare
  v_text text;
begin
  perform tests.as(who);
  select string_agg(kind || ' ' || title, ', ') into v_text from lms.get_deleted_items(tests.id('works'));
  perform tests.as_owner();
  return v_text;
end
$$;
create function tests.order_of(parent text, variadic names text[]) returns text language sql as $$
  select format('select lms.reorder(%L, %L::uuid[])', tests.id(parent), (select array_agg(tests.id(n) order by place) from unnest(names) with ordinality as u (n, place)))
$$;
create function tests.copy(course text, tenant text, slug text default null) returns text language sql as $$
  select format('select lms.duplicate_course(%L, %L, %L)', tests.id(course), case when tenant is not null then tests.id(tenant) end, slug)
$$;
savepoint clean;

-- =====================================================================================================
-- INV-C3: deleting and restoring
-- =====================================================================================================

select is(tests.try(who, format('select lms.delete_%s(%L)', kind, case kind when 'block' then tests.blocks_of(name) else tests.id(name) end)), expected, format('%s deletes the %s %s: %s', who, kind, name, expected))
from (values
  ('ines', 'course', 'safety', '1'), ('boss', 'course', 'safety', '1'), ('ivan', 'course', 'safety', '42501'), ('dora', 'course', 'safety', '42501'), ('hanna', 'course', 'safety', '42501'), ('petra', 'course', 'safety', '404 course_not_found'), ('dora', 'course', 'hidden', '404 course_not_found'),
  ('dora', 'course', 'nothing', '404 course_not_found'), ('anonymous', 'course', 'safety', '42501'), ('service', 'course', 'safety', '1'),
  ('ines', 'module', 'safety/m', '1'), ('ivan', 'module', 'safety/m', '42501'), ('dora', 'module', 'safety/m', '42501'), ('petra', 'module', 'safety/m', '404 module_not_found'),
  ('ines', 'lesson', 'safety/1', '1'), ('ivan', 'lesson', 'safety/1', '42501'), ('dora', 'lesson', 'hidden/1', '404 lesson_not_found'), ('petra', 'lesson', 'safety/1', '404 lesson_not_found'),
  ('ines', 'block', 'safety/1', '1'), ('ivan', 'block', 'safety/1', '404 block_not_found'), ('dora', 'block', 'safety/1', '404 block_not_found')
) as cases (who, kind, name, expected);

select is(tests.do('ines', format('select lms.delete_block(%L)', tests.blocks_of('safety/1'))), 'none', 'a block is deleted');
select is(tests.do('ines', format('select lms.delete_lesson(%L)', tests.id('safety/2'))), 'none', 'a lesson is deleted');
select is(tests.draft('safety'), 'Module(Lesson 1[0] Lesson 3[1]) Second()', '... with its blocks');
select is(tests.sees_as('ines', 'lms.lessons', format('course_id = %L', tests.id('safety'))), '2', 'INV-C3: what is deleted is seen by nobody');
select is(tests.do('ines', format('select lms.delete_module(%L)', tests.id('safety/m'))), 'none', 'a module is deleted');
select is(tests.draft('safety'), 'Second()', '... with its lessons');
select is(tests.trash('ines'), 'module Module', 'what can be restored: not apart what went with it');
select is(tests.trash('ivan'), null, '... to those who may');
select is(tests.trash('boss'), 'module Module', '... administrators too');
select is(tests.trash('dora'), null, '... and nobody else');
select is(tests.trash('petra'), null, '... least of all elsewhere');
select is(tests.do('ines', format('select lms.restore_lesson(%L)', tests.id('safety/1'))), '409 parent_deleted', 'a lesson does not come back without its module');
select is(tests.try(who, format('select lms.restore_module(%L)', tests.id('safety/m'))), expected, format('%s restores a module: %s', who, expected))
from (values ('ines', '1'), ('boss', '1'), ('ivan', '404 module_not_found'), ('dora', '404 module_not_found'), ('petra', '404 module_not_found'), ('anonymous', '42501')) as cases (who, expected);
insert into lms.modules (course_id, title, order_index) values (tests.id('safety'), 'In its place', 0);
select is(tests.do('ines', format('select lms.restore_module(%L)', tests.id('safety/m'))), 'none', 'the module is restored');
select is(tests.draft('safety'), 'In its place() Second() Module(Lesson 1[0] Lesson 3[1])', 'INV-C3: ... with what went with it, not with what went before; last, because its place is taken');
select is(tests.trash('ines'), 'lesson Lesson 2, block Lesson 1', 'these can be restored as well');
select is(tests.do('ines', format('select lms.restore_lesson(%L)', tests.id('safety/2'))), 'none', 'the lesson');
select is(tests.do('ines', format('select lms.restore_block(%L)', tests.blocks_of('safety/1'))), 'none', 'the block');
select is(tests.draft('safety'), 'In its place() Second() Module(Lesson 1[1] Lesson 2[1] Lesson 3[1])', '... each where it was');
select is(tests.trash('ines'), null, 'nothing is left to restore');
select is(tests.do('ines', format('select lms.restore_lesson(%L)', tests.id('safety/2'))), 'none', 'restoring again changes nothing');
select is(tests.draft('safety'), 'In its place() Second() Module(Lesson 1[1] Lesson 2[1] Lesson 3[1])', '... really');
rollback to clean;

-- Courses: what people do in them keeps them, and what they did stays.
select tests.enrollment('dora', 'safety');
select is(tests.do('ines', format('select lms.delete_course(%L)', tests.id('safety'))), '409 course_in_use', 'a course that people are taking is not deleted');
select tests.as('dora');
select lms.complete_lesson(tests.id('safety/' || n)) from generate_series(1, 3) as n;
select tests.as_owner();
select is(tests.do('ines', format('select lms.delete_course(%L)', tests.id('safety'))), 'none', 'a course that they have finished is');
select is(tests.sees_as('dora', 'lms.courses', format('id = %L', tests.id('safety'))), '0', 'INV-C3: it is no longer seen');
select tests.as('dora');
select is((select title || ' ' || progress || ' ' || status from lms.get_user_courses()), 'Safety 100.00 completed', 'INV-C3: ... but stays in the record of those who took it');
select tests.as_owner();
select is(tests.trash('ines'), 'course Safety', 'it can be restored');
select is(tests.do('ivan', format('select lms.restore_course(%L)', tests.id('safety'))), '404 course_not_found', '... by nobody else');
select is(tests.do('ines', format('select lms.restore_course(%L)', tests.id('safety'))), 'none', '... by its staff');
select is(tests.sees_as('dora', 'lms.courses', format('id = %L', tests.id('safety'))), '1', 'and is there again');
rollback to clean;

-- =====================================================================================================
-- Order
-- =====================================================================================================

select is(tests.do('ines', tests.order_of('safety/m', 'safety/3', 'safety/1', 'safety/2')), 'none', 'lessons are put in another order');
select is(tests.draft('safety'), 'Module(Lesson 3[1] Lesson 1[1] Lesson 2[1]) Second()', '... as listed');
select is(tests.do('ines', tests.order_of('safety', 'safety/m2', 'safety/m')), 'none', 'so are modules');
select is(tests.draft('safety'), 'Second() Module(Lesson 3[1] Lesson 1[1] Lesson 2[1])', '... as listed');
insert into lms.lesson_blocks (id, lesson_id, type, content) values (tests.id('b2'), tests.id('safety/1'), 'markdown', '{"markdown": "x"}');
select is(tests.do('ines', format('select lms.reorder(%L, array[%L, %L]::uuid[])', tests.id('safety/1'), tests.id('b2'), tests.blocks_of('safety/1'))), 'none', 'and blocks');
select is(tests.blocks_of('safety/1'), tests.id('b2'), '... as listed');
select is(tests.try(who, statement), expected, format('%s reorders: %s', who, expected))
from (values
  ('boss', tests.order_of('safety/m', 'safety/1', 'safety/2', 'safety/3'), '1'), ('ivan', tests.order_of('safety/m', 'safety/1', 'safety/2', 'safety/3'), '42501'), ('dora', tests.order_of('safety/m', 'safety/1', 'safety/2', 'safety/3'), '42501'),
  ('petra', tests.order_of('safety/m', 'safety/1', 'safety/2', 'safety/3'), '404 parent_not_found'), ('ines', tests.order_of('safety/m', 'safety/1', 'safety/2'), '409 order_out_of_date'), ('ines', tests.order_of('safety/m', 'safety/1', 'safety/2', 'other/1'), '409 order_out_of_date'),
  ('ines', tests.order_of('safety/m', 'safety/1', 'safety/2', 'safety/3', 'safety/3'), '409 order_out_of_date'), ('ines', tests.order_of('safety/m', 'safety/1', 'safety/1', 'safety/3'), '409 order_out_of_date'), ('ines', format('select lms.reorder(%L, null)', tests.id('safety/m')), '409 order_out_of_date'),
  ('ines', tests.order_of('nothing', 'safety/1'), '404 parent_not_found'), ('anonymous', tests.order_of('safety/m', 'safety/1'), '42501')
) as cases (who, statement, expected);
rollback to clean;

-- =====================================================================================================
-- Copies
-- =====================================================================================================

insert into lms.lesson_prerequisites (lesson_id, prerequisite_lesson_id) values (tests.id('safety/2'), tests.id('safety/1'));
update lms.lessons set deleted_at = now() where id = tests.id('safety/3');
update lms.lessons set release_after_days = 3, is_published = false where id = tests.id('safety/2');
select is(tests.try(who, tests.copy(course, tenant, slug)), expected, format('%s copies %s to %s: %s', who, course, coalesce(tenant, 'its tenant'), expected))
from (values
  ('ines', 'safety', null, null, '1'), ('ines', 'safety', 'press', null, '1'), ('boss', 'safety', null, null, '1'), ('boss', 'safety', 'press', null, '42501'), ('ivan', 'safety', null, null, '42501'), ('ivan', 'safety', 'press', null, '42501'),
  ('dora', 'safety', null, null, '42501'), ('petra', 'safety', 'press', null, '404 course_not_found'), ('ines', 'novel', 'works', null, '42501'), ('ines', 'safety', 'nowhere', null, '42501'), ('ines', 'safety', null, 'safety', '23505 course_slug_is_taken'),
  ('ines', 'safety', null, 'Not a slug', '23514 slug_is_lower_case_words_joined_by_hyphens'), ('anonymous', 'safety', null, null, '42501')
) as cases (who, course, tenant, slug, expected);
insert into lms.tags (id, tenant_id, slug, name) values (tests.id('tag'), tests.id('works'), 'tag', 'Tag');
insert into lms.course_tags (course_id, tag_id) values (tests.id('safety'), tests.id('tag'));
select is(tests.do('ines', tests.copy('safety', null)), 'none', 'a course is copied');
select is(tests.do('ines', tests.copy('safety', null)), 'none', '... twice');
select is(tests.do('ines', tests.copy('safety', 'press')), 'none', '... and to another tenant');
select is(
  (select string_agg(format('%s %s %s %s', t.slug, c.slug, c.status, c.title), ', ' order by t.slug, c.slug) from lms.courses c join lms.tenants t on t.id = c.tenant_id where c.instructor_id = tests.id('ines')),
  'press safety draft Safety, works safety published Safety, works safety-copy draft Safety, works safety-copy-2 draft Safety', 'a copy is a draft, under a slug of its own'
);
select is(
  (select string_agg(concat_ws(' ', l.title, l.is_published, l.release_after_days, b.content ->> 'markdown', (select n.title from lms.lesson_prerequisites p join lms.lessons n on n.id = p.prerequisite_lesson_id where p.lesson_id = l.id)), ', ' order by l.order_index)
   from lms.lessons l join lms.courses c on c.id = l.course_id join lms.lesson_blocks b on b.lesson_id = l.id where c.slug = 'safety' and c.tenant_id = tests.id('press') and l.tenant_id = c.tenant_id),
  'Lesson 1 t Secret of lesson 1, Lesson 2 f 3 Secret of lesson 2 Lesson 1', 'INV-T1: ... with content, settings and prerequisites, all in the new tenant; without what was deleted'
);
select is((select string_agg(c.slug, ' ' order by c.slug) from lms.course_tags t join lms.courses c on c.id = t.course_id), 'safety safety-copy safety-copy-2', 'INV-T1: tags are copied within their tenant');
rollback to clean;

-- =====================================================================================================
-- Notes
-- =====================================================================================================

select tests.enrollment('dora', 'safety');
select is(tests.try(who, format('insert into lms.lesson_notes (lesson_id, body) values (%L, %L) returning *', tests.id(lesson), body)), expected, format('%s notes something on %s: %s', who, lesson, expected))
from (values
  ('dora', 'safety/1', 'Remember', '1'), ('dora', 'safety/1', ' ', '23514 note_is_1_to_20000_characters'), ('dora', 'other/1', 'x', '42501'), ('dora', 'novel/1', 'x', '42501'), ('dora', 'nothing', 'x', '42501'), ('ines', 'safety/1', 'x', '1'), ('hanna', 'safety/1', 'x', '42501'),
  ('anonymous', 'safety/1', 'x', '42501')
) as cases (who, lesson, body, expected);
select is(tests.try('dora', format('insert into lms.lesson_notes (lesson_id, user_id, body) values (%L, %L, %L)', tests.id('safety/1'), tests.id('ines'), 'x')), '42501', 'nobody notes in another''s name');
select tests.as('dora');
insert into lms.lesson_notes (lesson_id, body) values (tests.id('safety/1'), 'Mine');
select tests.as_owner();
select is((select (tenant_id, course_id, user_id)::text from lms.lesson_notes), (tests.id('works'), tests.id('safety'), tests.id('dora'))::text, 'keys follow from the lesson and the caller');
select is(tests.sees_as(who, 'lms.lesson_notes'), expected, format('%s sees %s notes', who, expected))
from (values ('dora', '1'), ('ines', '0'), ('boss', '0'), ('hanna', '0'), ('petra', '0'), ('anonymous', '42501')) as cases (who, expected);
select is(tests.try('dora', statement), expected, format('%s: %s', expected, statement))
from (values ('update lms.lesson_notes set body = ''Changed''', '1'), ('update lms.lesson_notes set lesson_id = gen_random_uuid()', '42501'), ('delete from lms.lesson_notes', '1')) as cases (statement, expected);
select is(tests.try('ines', 'delete from lms.lesson_notes'), '0', 'nobody else removes them');
update lms.memberships set status = 'suspended' where user_id = tests.id('dora');
select is(tests.sees_as('dora', 'lms.lesson_notes'), '0', 'INV-T4: a suspended member does not read their notes');

-- The courses of a path, and categories below another one and at the top.
insert into lms.learning_paths (id, tenant_id, slug, title) values (tests.id('plan'), tests.id('works'), 'plan', 'Plan');
insert into lms.learning_path_courses (path_id, course_id) select tests.id('plan'), c.id from lms.courses c where c.tenant_id = tests.id('works') and c.deleted_at is null order by c.slug limit 2;
insert into lms.categories (id, tenant_id, parent_id, slug, name)
values (tests.id('top'), tests.id('works'), null, 'top', 'Top'), (tests.id('other'), tests.id('works'), null, 'other', 'Other'), (tests.id('a'), tests.id('works'), tests.id('top'), 'a', 'A'), (tests.id('b'), tests.id('works'), tests.id('top'), 'b', 'B');
create function tests.listed(parent text) returns uuid[] language sql as $$
  select array_agg(s.id order by s.order_index)
  from (
    select c.course_id as id, c.order_index from lms.learning_path_courses c where c.path_id = tests.id(parent)
    union all
    select k.id, k.order_index from lms.categories k where coalesce(k.parent_id, k.tenant_id) = tests.id(parent)
  ) s
$$;
create function tests.turned(parent text) returns uuid[] language sql as $$
  select array_agg(u.id order by u.place desc) from unnest(tests.listed(parent)) with ordinality as u (id, place)
$$;
create function tests.turn(who text, parent text) returns text language plpgsql as $$
declare
  v_turned constant uuid[] := tests.turned(parent);
  v_result text;
begin
  v_result := tests.do(who, format('select lms.reorder(%L, %L::uuid[])', tests.id(parent), v_turned));
  return v_result || case when tests.listed(parent) = v_turned then ', turned' else '' end;
end
$$;
select is(tests.turn(who, parent), expected, format('%s turns round what is in %s: %s', who, parent, expected))
from (values
  ('boss', 'plan', 'none, turned'), ('boss', 'top', 'none, turned'), ('boss', 'works', 'none, turned'),
  ('dora', 'plan', '404 parent_not_found'), ('dora', 'top', '404 parent_not_found'), ('petra', 'top', '404 parent_not_found')
) as cases (who, parent, expected);
select is(tests.try('boss', format('select lms.reorder(%L, array[%L]::uuid[])', tests.id('top'), tests.id('a'))), '409 order_out_of_date', 'all of them');

select * from finish();
rollback;
