begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'), tests.member('ines', 'works', 'instructor'), tests.member('iva', 'works', 'instructor'),
  tests.member('lena', 'works'), tests.member('sue', 'works', 'tenant_admin'), tests.member('petra', 'press', 'tenant_admin'), tests.member('pia', 'press', 'instructor');
select tests.person('noah'), tests.person('gus');
insert into lms.memberships (id, tenant_id, user_id, is_guest) values (tests.id('gus in works'), tests.id('works'), tests.id('gus'), true);
update lms.memberships set status = 'suspended' where id = tests.id('sue in works');

select
  tests.course('open', 'works', 'ines', visibility => 'public'), tests.course('inside', 'works', 'ines'), tests.course('secret', 'works', 'ines', visibility => 'private'),
  tests.course('sketch', 'works', 'ines', visibility => 'public', status => 'draft'), tests.course('gone', 'works', 'ines', visibility => 'public'),
  tests.course('other', 'works', 'iva'), tests.course('news', 'press', 'pia', visibility => 'public'), tests.course('memo', 'press', 'pia');
update lms.courses set deleted_at = now() where id = tests.id('gone');
select tests.enrollment('gus', 'secret');

create function tests.category(name text, tenant text, parent text default null) returns uuid language sql as $$
  insert into lms.categories (id, tenant_id, parent_id, slug, name)
  values (tests.id(name), tests.id(tenant), case when parent is not null then tests.id(parent) end, name, initcap(name)) returning id
$$;
create function tests.tag(name text, tenant text) returns uuid language sql as $$
  insert into lms.tags (id, tenant_id, slug, name) values (tests.id('#' || name), tests.id(tenant), name, name) returning id
$$;
create function tests.file_under(course text, category text) returns text language sql immutable as $$
  select format('insert into lms.course_categories (course_id, category_id) values (%L, %L)', tests.id(course), tests.id(category))
$$;
create function tests.mark(course text, tag text) returns text language sql immutable as $$
  select format('insert into lms.course_tags (course_id, tag_id) values (%L, %L)', tests.id(course), tests.id('#' || tag))
$$;
-- 'name places depth own/total' of what somebody sees, in order.
create function tests.tree_as(name text, tenant text) returns text language plpgsql as $$
declare
  v_tree text;
begin
  perform tests.be(name);
  select string_agg(format('%s%s %s/%s', repeat('>', n.depth), n.slug, n.course_count, n.total_course_count), ', ' order by n.place) into v_tree
  from unnest(lms.get_categories(tests.id(tenant))) with ordinality as n (id, parent_id, depth, slug, name, description, icon_url, color, order_index, course_count, total_course_count, place);
  perform tests.as_owner();
  return v_tree;
end
$$;

select tests.category('safety', 'works'), tests.category('fire', 'works', 'safety'), tests.category('alarm', 'works', 'fire'), tests.category('office', 'works'), tests.category('plans', 'works', 'office'),
  tests.category('empty', 'works'), tests.category('papers', 'press'), tests.category('internal', 'press');
select tests.tag('hot', 'works'), tests.tag('quiet', 'works'), tests.tag('future', 'works'), tests.tag('ink', 'press'), tests.tag('memos', 'press');
insert into lms.course_categories (course_id, category_id)
select tests.id(course), tests.id(category)
from (values ('open', 'alarm'), ('open', 'safety'), ('inside', 'safety'), ('inside', 'fire'), ('secret', 'office'), ('sketch', 'plans'), ('gone', 'plans'), ('gone', 'empty'), ('news', 'papers'), ('memo', 'internal')) as c (course, category);
insert into lms.course_tags (course_id, tag_id)
select tests.id(course), tests.id('#' || tag) from (values ('open', 'hot'), ('inside', 'quiet'), ('sketch', 'future'), ('gone', 'future'), ('news', 'ink'), ('memo', 'memos')) as t (course, tag);

select results_eq(
  $$ select slug::text, order_index from lms.categories where tenant_id = tests.id('works') and parent_id is null order by order_index $$,
  $$ values ('safety', 0), ('office', 1), ('empty', 2) $$, 'a category goes last among its siblings'
);
select is((select count(*) from lms.course_categories where tenant_id = tests.id('works')), 8::bigint, 'a bridge is of the tenant of the course');

-- =====================================================================================================
-- Who sees what
-- =====================================================================================================

select is((tests.sees_as(who, 'lms.categories'), tests.sees_as(who, 'lms.tags'), tests.sees_as(who, 'lms.course_categories'), tests.sees_as(who, 'lms.course_tags'))::text, (categories, tags, places, marks)::text,
  format('%s sees so many categories, tags, places, marks', who))
from (values
  -- safety > fire > alarm of works, papers of press.
  ('anonymous', 4, 2, 3, 2), ('noah', 4, 2, 3, 2), ('sue', 4, 2, 3, 2), ('gus', 5, 2, 4, 2),
  ('lena', 7, 4, 5, 3), ('ines', 7, 4, 7, 4), ('iva', 7, 4, 5, 3), ('hanna', 7, 4, 7, 4), ('boss', 7, 4, 7, 4), ('petra', 5, 3, 4, 3)
) as sights (who, categories, tags, places, marks);
select is(tests.sees_as(who, 'lms.categories', 'slug in (''office'', ''plans'', ''empty'', ''internal'')'), '0', format('nothing that leads to hidden courses only is shown to %s', who)) from unnest(array['anonymous', 'noah', 'sue']) as who;
select is(tests.sees_as('gus', 'lms.categories', 'slug = ''office'''), '1', 'a guest sees the category of the private course that they take');

select is(tests.tree_as(who, 'works'), tree, format('the tree as %s sees it', who))
from (values
  ('anonymous', 'safety 1/1, >fire 0/1, >>alarm 1/1'), ('noah', 'safety 1/1, >fire 0/1, >>alarm 1/1'), ('sue', 'safety 1/1, >fire 0/1, >>alarm 1/1'), ('petra', 'safety 1/1, >fire 0/1, >>alarm 1/1'),
  ('gus', 'safety 1/1, >fire 0/1, >>alarm 1/1, office 1/1'),
  ('lena', 'safety 2/2, >fire 1/2, >>alarm 1/1, office 0/0, >plans 0/0, empty 0/0'),
  ('boss', 'safety 2/2, >fire 1/2, >>alarm 1/1, office 1/1, >plans 0/0, empty 0/0')
) as trees (who, tree);
select is(tests.tree_as('lena', 'press'), 'papers 1/1', 'of another tenant, what leads to public courses');
select is(lms.get_categories(tests.id('nothing')), '{}'::lms.category_node[], 'a tenant that does not exist has no categories');
-- The counts against what the same person finds by REST.
select tests.as('lena');
select is(
  (select sum(n.course_count)::bigint from unnest(lms.get_categories(tests.id('works'))) n),
  (select count(*) from lms.course_categories p join lms.courses c on c.id = p.course_id and c.status = 'published' where p.tenant_id = tests.id('works')), 'the counts are those of REST'
);
select tests.as_owner();

-- =====================================================================================================
-- Who changes what
-- =====================================================================================================

select is(tests.try(who, statement), expected, format('%s: %s: %s', who, what, expected))
from (values
  ('boss', 'adds a category', format('insert into lms.categories (tenant_id, slug, name) values (%L, ''new'', ''New'')', tests.id('works')), '1'),
  ('boss', 'adds one below', format('insert into lms.categories (tenant_id, parent_id, slug, name, color, icon_url, description) values (%L, %L, ''new'', ''New'', ''#00ff7F'', ''/i.svg'', ''x'')', tests.id('works'), tests.id('fire')), '1'),
  ('boss', 'adds one below another tenant''s', format('insert into lms.categories (tenant_id, parent_id, slug, name) values (%L, %L, ''new'', ''New'')', tests.id('works'), tests.id('papers')), '23503 category_parent_is_of_the_same_tenant'),
  ('boss', 'adds one to another tenant', format('insert into lms.categories (tenant_id, slug, name) values (%L, ''new'', ''New'')', tests.id('press')), '42501'),
  ('boss', 'takes a slug again', format('insert into lms.categories (tenant_id, slug, name) values (%L, ''fire'', ''New'')', tests.id('works')), '23505 category_slug_is_taken'),
  ('boss', 'takes a slug of another tenant', format('insert into lms.categories (tenant_id, slug, name) values (%L, ''papers'', ''New'')', tests.id('works')), '1'),
  ('boss', 'takes a place again', format('insert into lms.categories (tenant_id, slug, name, order_index) values (%L, ''new'', ''New'', 1)', tests.id('works')), '23P01 category_order_is_taken'),
  ('boss', 'an unknown colour', format('insert into lms.categories (tenant_id, slug, name, color) values (%L, ''new'', ''New'', ''red'')', tests.id('works')), '23514 color_is_a_hash_and_six_digits'),
  ('boss', 'a script as icon', format('insert into lms.categories (tenant_id, slug, name, icon_url) values (%L, ''new'', ''New'', ''javascript:x'')', tests.id('works')), '23514 web_address_is_http_or_a_path'),
  ('boss', 'renames all', 'update lms.categories set name = ''New''', '6'), ('petra', 'renames all', 'update lms.categories set name = ''New''', '2'),
  ('ines', 'renames all', 'update lms.categories set name = ''New''', '0'), ('hanna', 'renames all', 'update lms.categories set name = ''New''', '0'), ('sue', 'renames all', 'update lms.categories set name = ''New''', '0'), ('gus', 'renames all', 'update lms.categories set name = ''New''', '0'),
  ('ines', 'adds a category', format('insert into lms.categories (tenant_id, slug, name) values (%L, ''new'', ''New'')', tests.id('works')), '42501'),
  ('hanna', 'adds a category', format('insert into lms.categories (tenant_id, slug, name) values (%L, ''new'', ''New'')', tests.id('works')), '42501'),
  ('anonymous', 'adds a category', format('insert into lms.categories (tenant_id, slug, name) values (%L, ''new'', ''New'')', tests.id('works')), '42501'),
  ('boss', 'hands one to another tenant', format('update lms.categories set tenant_id = %L', tests.id('press')), '42501'),
  ('service', 'hands one to another tenant', format('update lms.categories set tenant_id = %L where id = %L', tests.id('press'), tests.id('empty')), '42501'),
  ('boss', 'removes one in use', format('delete from lms.categories where id = %L', tests.id('alarm')), '409 category_in_use'),
  ('boss', 'removes one with others below', format('delete from lms.categories where id = %L', tests.id('office')), '409 category_in_use'),
  ('boss', 'removes one of deleted courses', format('delete from lms.categories where id = %L', tests.id('empty')), '1'),
  ('boss', 'removes one of a draft', format('delete from lms.categories where id = %L', tests.id('plans')), '409 category_in_use'),
  ('boss', 'removes another tenant''s', format('delete from lms.categories where id = %L', tests.id('papers')), '0'), ('ines', 'removes one', format('delete from lms.categories where id = %L', tests.id('empty')), '0'),
  ('boss', 'adds a tag', format('insert into lms.tags (tenant_id, slug, name, color) values (%L, ''new'', ''New'', ''#000000'')', tests.id('works')), '1'), ('boss', 'adds a tag again', format('insert into lms.tags (tenant_id, slug, name) values (%L, ''hot'', ''New'')', tests.id('works')), '23505 tag_slug_is_taken'),
  ('boss', 'adds a tag to another tenant', format('insert into lms.tags (tenant_id, slug, name) values (%L, ''new'', ''New'')', tests.id('press')), '42501'), ('ines', 'adds a tag', format('insert into lms.tags (tenant_id, slug, name) values (%L, ''new'', ''New'')', tests.id('works')), '42501'),
  ('boss', 'renames tags', 'update lms.tags set name = ''New''', '3'), ('ines', 'renames tags', 'update lms.tags set name = ''New''', '0'), ('boss', 'removes tags', 'delete from lms.tags', '3'), ('ines', 'removes tags', 'delete from lms.tags', '0'), ('lena', 'removes tags', 'delete from lms.tags', '0'),

  ('ines', 'files an own course', tests.file_under('secret', 'empty'), '1'), ('ines', 'files it twice', tests.file_under('secret', 'office'), '23505 course_categories_pkey'), ('ines', 'files somebody''s course', tests.file_under('other', 'empty'), '42501'),
  ('boss', 'files any course', tests.file_under('other', 'empty'), '1'), ('hanna', 'files a course', tests.file_under('other', 'empty'), '42501'), ('lena', 'files a course', tests.file_under('other', 'empty'), '42501'), ('gus', 'files the course taken', tests.file_under('secret', 'empty'), '42501'),
  ('ines', 'files under another tenant''s', tests.file_under('secret', 'papers'), '23503 category_of_course_is_of_the_same_tenant'), ('ines', 'files under nothing', tests.file_under('secret', 'nothing'), '23503 category_of_course_is_of_the_same_tenant'),
  ('boss', 'files another tenant''s course', tests.file_under('news', 'empty'), '42501'), ('boss', 'files no course', tests.file_under('nothing', 'empty'), '42501'), ('boss', 'files a deleted course', tests.file_under('gone', 'office'), '42501'), ('sue', 'files a course', tests.file_under('open', 'empty'), '42501'),
  ('boss', 'says which tenant', format('insert into lms.course_categories (tenant_id, course_id, category_id) values (%L, %L, %L)', tests.id('works'), tests.id('open'), tests.id('empty')), '42501'),
  ('service', 'across tenants', tests.file_under('open', 'papers'), '23503 category_of_course_is_of_the_same_tenant'),
  ('boss', 'takes all out', 'delete from lms.course_categories', '6'), ('ines', 'takes all out', 'delete from lms.course_categories', '6'), ('iva', 'takes all out', 'delete from lms.course_categories', '0'), ('lena', 'takes all out', 'delete from lms.course_categories', '0'), ('gus', 'takes all out', 'delete from lms.course_categories', '0'),
  ('ines', 'tags an own course', tests.mark('inside', 'hot'), '1'), ('iva', 'tags somebody''s course', tests.mark('inside', 'hot'), '42501'), ('boss', 'tags any course', tests.mark('other', 'hot'), '1'), ('ines', 'tags with another tenant''s', tests.mark('inside', 'ink'), '23503 tag_of_course_is_of_the_same_tenant'),
  ('boss', 'tags another tenant''s course', tests.mark('news', 'hot'), '42501'), ('boss', 'tags a deleted course', tests.mark('gone', 'hot'), '42501'), ('lena', 'tags a course', tests.mark('inside', 'hot'), '42501'),
  ('boss', 'takes all tags off', 'delete from lms.course_tags', '3'), ('ines', 'takes all tags off', 'delete from lms.course_tags', '3'), ('iva', 'takes all tags off', 'delete from lms.course_tags', '0'),
  ('boss', 'puts another course in the place', format('update lms.course_categories set course_id = %L', tests.id('open')), '42501'), ('boss', 'another course under a tag', format('update lms.course_tags set course_id = %L', tests.id('open')), '42501')
) as cases (who, what, statement, expected);

savepoint before;
delete from lms.categories where id = tests.id('empty');
select is((select count(*) from lms.course_categories where course_id = tests.id('gone')), 1::bigint, 'a deleted course leaves a category that is removed, and only that one');
rollback to before;
delete from lms.tags where id = tests.id('#hot');
select is((select count(*) from lms.course_tags where course_id = tests.id('open')), 0::bigint, 'a removed tag is taken off its courses');
rollback to before;

-- =====================================================================================================
-- The tree
-- =====================================================================================================

create function tests.move(category text, parent text, more text default '') returns text language sql immutable as $$
  select format('update lms.categories set parent_id = %L%s where id = %L', case when parent <> '' then tests.id(parent) end, more, tests.id(category))
$$;
-- The closure, counted anew from the parents.
create view tests.closure as
  with recursive walk as (
    select id as ancestor_id, id as descendant_id, 0 as depth from lms.categories
    union all
    select w.ancestor_id, c.id, w.depth + 1 from walk w join lms.categories c on c.parent_id = w.descendant_id
  )
  select * from walk;
select set_eq('select * from private.category_closure', 'select * from tests.closure', 'the closure is that of the tree');
select is(tests.try('boss', tests.move('safety', 'alarm')), '409 category_below_itself', 'a category does not go below itself');
select is(tests.try('boss', tests.move('safety', 'safety')), '409 category_below_itself', '... nor directly');
select is(tests.try('boss', tests.move('empty', 'papers')), '23503 category_parent_is_of_the_same_tenant', 'nor below another tenant''s');
select is(tests.try('ines', tests.move('fire', 'office')), '0', 'an instructor moves nothing');
select tests.as('boss');
select is(tests.rows_of(tests.move('fire', 'office')), 1::bigint, 'a branch is moved by its parent');
select tests.as_owner();
select set_eq('select * from private.category_closure', 'select * from tests.closure', '... and takes along what is below it');
select is((select order_index from lms.categories where id = tests.id('fire')), 1, '... to the last place there');
select is(tests.tree_as('anonymous', 'works'), 'safety 1/1, office 0/1, >fire 0/1, >>alarm 1/1', '... with its courses');
select tests.as('boss');
select is(tests.rows_of(tests.move('fire', '', ', order_index = 7')), 1::bigint, 'to the top, to a place of choice');
select is(tests.rows_of('update lms.categories set order_index = 2 - order_index where parent_id is null and order_index < 3'), 3::bigint, 'a reorder is one statement');
select tests.as_owner();
select results_eq($$ select slug::text from lms.categories where tenant_id = tests.id('works') and parent_id is null order by order_index $$, array['empty', 'office', 'safety', 'fire'], '... and holds');
select set_eq('select * from private.category_closure', 'select * from tests.closure', 'the closure follows');
insert into lms.categories (id, tenant_id, parent_id, slug, name)
select tests.id('deep' || n), tests.id('works'), case when n > 1 then tests.id('deep' || n - 1) end, 'deep' || n, 'Deep' from generate_series(10, 1, -1) as n;
select set_eq('select * from private.category_closure', 'select * from tests.closure', 'children may come before their parents');
select is(tests.try('boss', format('insert into lms.categories (tenant_id, parent_id, slug, name) values (%L, %L, ''deeper'', ''Deep'')', tests.id('works'), tests.id('deep10'))), '409 category_too_deep', 'there are ten levels');
select is(tests.try('boss', tests.move('deep1', 'office')), '409 category_too_deep', '... also for a branch that is moved');
select is(tests.try('boss', tests.move('deep5', '')), '1', '... up is free');
rollback to before;

-- =====================================================================================================
-- Featured courses
-- =====================================================================================================

select is(tests.try(who, statement), expected, format('%s: %s: %s', who, what, expected))
from (values
  ('ines', 'features an own course', format('update lms.courses set is_featured = true where id = %L', tests.id('open')), '42501'), ('boss', 'features a course', format('update lms.courses set is_featured = true where id = %L', tests.id('open')), '1'),
  ('ines', 'says again that it is not', format('update lms.courses set is_featured = false, title = ''New'' where id = %L', tests.id('open')), '1'),
  ('ines', 'creates a featured one', format('insert into lms.courses (tenant_id, slug, title, is_featured) values (%L, ''star'', ''Star'', true)', tests.id('works')), '42501'), ('ines', 'creates one', format('insert into lms.courses (tenant_id, slug, title, is_featured) values (%L, ''star'', ''Star'', false)', tests.id('works')), '1'),
  ('boss', 'creates a featured one', format('insert into lms.courses (tenant_id, slug, title, is_featured) values (%L, ''star'', ''Star'', true)', tests.id('works')), '1'), ('service', 'features a course', format('update lms.courses set is_featured = true where id = %L', tests.id('open')), '1')
) as cases (who, what, statement, expected);
update lms.courses set is_featured = true where id in (tests.id('open'), tests.id('inside'), tests.id('sketch'));
select is(tests.try('ines', format('update lms.courses set is_featured = false where id = %L', tests.id('open'))), '42501', 'nor does an instructor take a course off the front page');
select is(tests.try('ines', format('update lms.courses set title = ''New'', is_featured = true where id = %L', tests.id('open'))), '1', '... but edits it');
select is(tests.sees_as('anonymous', 'lms.courses', 'is_featured') || tests.sees_as('lena', 'lms.courses', 'is_featured'), '12', 'featured are, for everybody, those that they see');

-- =====================================================================================================
-- Closed
-- =====================================================================================================

update lms.tenants set is_active = false where id = tests.id('works');
select is(tests.sees_as('boss', 'lms.categories', format('tenant_id = %L', tests.id('works'))), '3', 'of a closed tenant, members see what everybody sees');

select * from finish();
rollback;
