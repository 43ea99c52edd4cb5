begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press');
select tests.unit('north', 'works'), tests.unit('dock', 'works', 'north'), tests.unit('bay', 'works', 'dock'), tests.unit('south', 'works');
select tests.unit('desk', 'press');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'),
  tests.member('marco', 'works', 'unit_manager', 'north', 'north'), tests.member('ines', 'works', 'instructor'),
  tests.member('audrey', 'works', 'auditor'), tests.member('dora', 'works', 'learner', 'dock'), tests.member('sid', 'works', 'learner', 'south'),
  tests.member('petra', 'press', 'tenant_admin'), tests.member('paul', 'press', 'learner', 'desk');
select tests.person('noah');
select tests.course('safety', 'works', 'ines'), tests.course('novel', 'press', 'petra');
select tests.enrollment('dora', 'safety'), tests.enrollment('paul', 'novel');

-- =====================================================================================================
-- INV-T1: a reference into another tenant cannot exist, whoever writes it
-- =====================================================================================================

-- From the catalogue of the database, so that a table that comes later is held to it as well.
select is_empty(
  $$
    select k.conrelid::regclass, k.conname
    from pg_constraint k
    join pg_namespace n on n.oid = k.connamespace
    where k.contype = 'f' and n.nspname in ('public', 'lms', 'content', 'media', 'billing', 'analytics')
      and exists (select from pg_attribute a where a.attrelid = k.conrelid and a.attname = 'tenant_id' and not a.attisdropped)
      and exists (select from pg_attribute a where a.attrelid = k.confrelid and a.attname = 'tenant_id' and not a.attisdropped)
      and not exists (
        select
        from unnest(k.conkey, k.confkey) as pair (from_column, to_column)
        join pg_attribute f on f.attrelid = k.conrelid and f.attnum = pair.from_column and f.attname = 'tenant_id'
        join pg_attribute t on t.attrelid = k.confrelid and t.attnum = pair.to_column and t.attname = 'tenant_id'
      )
  $$,
  'INV-T1: every foreign key between two tables of tenant data goes through tenant_id'
);
select is_empty(
  $$
    select k.conrelid::regclass, k.conname from pg_constraint k where k.contype = 'f' and k.confmatchtype <> 's'
    union all
    select a.attrelid::regclass, a.attname
    from pg_attribute a
    join pg_class c on c.oid = a.attrelid and c.relkind in ('r', 'p')
    join pg_namespace n on n.oid = c.relnamespace and n.nspname in ('public', 'lms', 'content', 'media', 'billing', 'analytics')
    where a.attname = 'tenant_id' and not a.attnotnull
      -- Null: built in, for every tenant. No key refers to it.
      and c.oid <> 'analytics.event_types'::regclass
  $$,
  'INV-T1: tenant_id is never null, so no composite key is skipped'
);
select is_empty(
  $$
    select k.conrelid::regclass, k.conname
    from pg_constraint k
    join pg_namespace n on n.oid = k.connamespace
    where k.contype = 'f' and k.confdeltype = 'n' and n.nspname in ('public', 'lms', 'content', 'media', 'billing', 'analytics')
      and exists (
        select from unnest(coalesce(k.confdelsetcols, k.conkey)) as column_number
        join pg_attribute a on a.attrelid = k.conrelid and a.attnum = column_number
        where a.attnotnull
      )
  $$,
  'INV-T1: ON DELETE SET NULL empties the reference only, never the tenant'
);

select matches(tests.error_of(statement), '^(' || expected || ')', 'INV-T1: ' || name)
from (values
  ('a unit below a unit of another tenant',
    format('insert into lms.org_units (tenant_id, parent_id, name) values (%L, %L, %L)', tests.id('works'), tests.id('desk'), 'spy'),
    '23503 org_unit_parent_is_of_the_same_tenant'),
  ('a unit moved below a unit of another tenant',
    format('update lms.org_units set parent_id = %L where id = %L', tests.id('desk'), tests.id('south')),
    '23503 org_unit_parent_is_of_the_same_tenant'),
  ('a unit handed to another tenant',
    format('update lms.org_units set tenant_id = %L where id = %L', tests.id('press'), tests.id('bay')), '42501|23503 '),
  ('a membership with a home unit of another tenant',
    format('update lms.memberships set unit_id = %L where id = %L', tests.id('desk'), tests.id('dora in works')),
    '23503 membership_unit_is_of_the_same_tenant'),
  ('a membership handed to another tenant',
    format('update lms.memberships set tenant_id = %L where id = %L', tests.id('press'), tests.id('hanna in works')),
    '23503 grant_membership_is_of_the_same_tenant'),
  ('a grant to a membership of another tenant',
    format('insert into lms.role_grants (tenant_id, membership_id, role_id) values (%L, %L, %L)', tests.id('works'), tests.id('paul in press'), tests.role_id('works', 'tenant_admin')),
    '23503 grant_membership_is_of_the_same_tenant'),
  ('a grant of a role of another tenant',
    format('insert into lms.role_grants (tenant_id, membership_id, role_id) values (%L, %L, %L)', tests.id('press'), tests.id('paul in press'), tests.role_id('works', 'tenant_admin')),
    '23503 grant_role_is_of_the_same_tenant'),
  ('a grant on a unit of another tenant',
    format('insert into lms.role_grants (tenant_id, membership_id, role_id, unit_id) values (%L, %L, %L, %L)', tests.id('press'), tests.id('paul in press'), tests.role_id('press', 'unit_manager'), tests.id('north')),
    '23503 grant_unit_is_of_the_same_tenant'),
  ('a permission of a role of another tenant',
    format('insert into lms.role_permissions (tenant_id, role_id, permission) values (%L, %L, %L)', tests.id('press'), tests.role_id('works', 'learner'), 'catalog.write'),
    '23503 role_permission_is_of_the_same_tenant'),
  ('a course taught by somebody of another tenant',
    format('insert into lms.courses (tenant_id, slug, title, instructor_id) values (%L, %L, %L, %L)', tests.id('works'), 'x', 'X', tests.id('petra')),
    '23503 course_instructor_is_a_member'),
  ('a course handed to another tenant',
    format('update lms.courses set tenant_id = %L where id = %L', tests.id('press'), tests.id('safety')), '23503 '),
  ('staff of another tenant',
    format('insert into lms.course_staff (tenant_id, course_id, user_id) values (%L, %L, %L)', tests.id('works'), tests.id('safety'), tests.id('paul')),
    '23503 course_staff_is_a_member'),
  ('staff of a course of another tenant',
    format('insert into lms.course_staff (tenant_id, course_id, user_id) values (%L, %L, %L)', tests.id('press'), tests.id('safety'), tests.id('paul')),
    '23503 course_staff_is_of_the_same_tenant'),
  ('a module handed to another tenant',
    format('update lms.modules set tenant_id = %L where id = %L', tests.id('press'), tests.id('safety/m')), '23503 '),
  ('a module moved to a course of another tenant',
    format('update lms.modules set course_id = %L, key = ''moved'' where id = %L', tests.id('novel'), tests.id('safety/m')), '23503 '),
  ('a lesson handed to another tenant',
    format('update lms.lessons set tenant_id = %L where id = %L', tests.id('press'), tests.id('safety/1')), '23503 '),
  ('a lesson moved to a course of another tenant',
    format('update lms.lessons set tenant_id = %L, course_id = %L, module_id = %L where id = %L', tests.id('press'), tests.id('novel'), tests.id('novel/m'), tests.id('safety/1')),
    '409 module_of_another_course'),
  ('a block handed to another tenant',
    format('update lms.lesson_blocks set tenant_id = %L where lesson_id = %L', tests.id('press'), tests.id('safety/1')), '23503 block_is_of_the_same_course'),
  ('a block moved to a lesson of another tenant',
    format('update lms.lesson_blocks set lesson_id = %L, order_index = 9 where lesson_id = %L', tests.id('novel/1'), tests.id('safety/1')), '23503 block_is_of_the_same_course'),
  ('an enrolment of somebody who is no member',
    format('insert into lms.enrollments (course_id, user_id) values (%L, %L)', tests.id('safety'), tests.id('paul')), '23503 enrollment_is_of_a_member'),
  ('an enrolment with a unit of another tenant',
    format('update lms.enrollments set unit_id = %L where id = %L', tests.id('desk'), tests.id('dora takes safety')), '23503 enrollment_unit_is_of_the_same_tenant'),
  ('an enrolment handed to another tenant',
    format('update lms.enrollments set tenant_id = %L where id = %L', tests.id('press'), tests.id('dora takes safety')), '42501'),
  ('progress in a lesson of another tenant under an own enrolment',
    format('insert into lms.lesson_progress (enrollment_id, lesson_id, user_id) values (%L, %L, %L)', tests.id('dora takes safety'), tests.id('novel/1'), tests.id('dora')),
    '23503 progress_is_of_the_enrolled_learner'),
  ('progress of somebody else under an enrolment',
    format('insert into lms.lesson_progress (enrollment_id, lesson_id, user_id) values (%L, %L, %L)', tests.id('dora takes safety'), tests.id('safety/1'), tests.id('paul')),
    '23503 progress_is_of_the_enrolled_learner')
) as cases (name, statement, expected);

-- =====================================================================================================
-- INV-T2
-- =====================================================================================================

select is(
  tests.error_of(format('insert into lms.memberships (tenant_id, user_id, unit_id) values (%L, %L, %L)', tests.id('works'), tests.id('dora'), tests.id('south'))),
  '23505 one_membership_per_tenant_and_person', 'INV-T2: one membership per tenant and person'
);
select is(
  tests.error_of(format('insert into lms.role_grants (tenant_id, membership_id, role_id) values (%L, %L, %L)', tests.id('works'), tests.id('boss in works'), tests.role_id('works', 'tenant_admin'))),
  '23505 one_grant_per_membership_role_and_unit', 'INV-T2: one grant per membership and role for the whole tenant, NULL included'
);
select is(
  tests.error_of(format('insert into lms.role_grants (tenant_id, membership_id, role_id, unit_id) values (%L, %L, %L, %L)', tests.id('works'), tests.id('marco in works'), tests.role_id('works', 'unit_manager'), tests.id('north'))),
  '23505 one_grant_per_membership_role_and_unit', 'INV-T2: one grant per membership, role and unit'
);
select lives_ok(
  format('insert into lms.role_grants (tenant_id, membership_id, role_id, unit_id) values (%L, %L, %L, %L)', tests.id('works'), tests.id('sid in works'), tests.role_id('works', 'unit_manager'), tests.id('south')),
  'the same role for another unit is another grant'
);
delete from lms.role_grants where membership_id = tests.id('sid in works') and unit_id is not null;

-- =====================================================================================================
-- Roles
-- =====================================================================================================

select is(
  (select array_agg(key order by key) from lms.roles where tenant_id = tests.id('press') and is_builtin),
  '{auditor,hr_admin,instructor,learner,tenant_admin,unit_manager}', 'a new tenant has the built-in roles'
);
select is(
  (select count(*) from lms.role_permissions where role_id = tests.role_id('press', 'tenant_admin')), (select count(*) from lms.permissions),
  'administrators hold every permission'
);
select is((select count(*) from lms.role_permissions where role_id = tests.role_id('press', 'learner')), 0::bigint, 'learners hold none');
select is_empty(
  $$
    select p.permission from lms.role_permissions p join lms.roles r on r.id = p.role_id
    where r.key = 'auditor' and p.permission !~ '\.read$'
  $$, 'auditors only read'
);
select is_empty(
  $$ select p.permission from lms.role_permissions p join lms.roles r on r.id = p.role_id where r.key = 'hr_admin' and p.permission in ('catalog.author', 'catalog.write', 'catalog.publish') $$,
  'HR administrators do not author'
);
select is(
  tests.error_of(format('insert into lms.role_permissions (tenant_id, role_id, permission) values (%L, %L, %L)', tests.id('works'), tests.role_id('works', 'learner'), 'everything.all')),
  '23503 role_permission_is_known', 'the vocabulary of permissions is closed'
);

-- =====================================================================================================
-- Units: the tree and its closure
-- =====================================================================================================

create view tests.closure_by_recursion as
  with recursive walk (ancestor_id, descendant_id) as (
    select u.id, u.id from lms.org_units u
    union
    select w.ancestor_id, u.id from walk w join lms.org_units u on u.parent_id = w.descendant_id
  )
  select * from walk;

create function tests.closure_is_exact(description text) returns text language sql as $$
  select set_eq('select ancestor_id, descendant_id from private.org_unit_closure', 'select * from tests.closure_by_recursion', description)
$$;

select tests.closure_is_exact('the closure is exact after inserts');

select is(
  tests.error_of(format('update lms.org_units set parent_id = %L where id = %L', tests.id(below), tests.id(unit))), '409 org_unit_below_itself',
  format('%s cannot be moved below %s', unit, below)
)
from (values ('north', 'north'), ('north', 'dock'), ('north', 'bay'), ('dock', 'bay'), ('bay', 'bay')) as moves (unit, below);

select tests.closure_is_exact('refused moves leave the closure as it was');
update lms.org_units set parent_id = tests.id('south') where id = tests.id('dock');
select tests.closure_is_exact('a subtree that moves takes its own along');
update lms.org_units set parent_id = null where id = tests.id('dock');
select tests.closure_is_exact('a subtree that becomes a root is below nothing');
update lms.org_units set parent_id = tests.id('north') where id = tests.id('dock');
update lms.org_units set name = name || ' ' where tenant_id = tests.id('press');
select tests.closure_is_exact('renaming moves nothing');

select is(
  tests.error_of(format('insert into lms.org_units (id, tenant_id, parent_id, name) values (%L, %L, %1$L, %L)', tests.id('self'), tests.id('works'), 'self')),
  '409 org_unit_below_itself', 'a unit cannot be made below itself'
);
select is(
  tests.error_of(format('insert into lms.org_units (id, tenant_id, parent_id, name) values (%1$L, %3$L, %2$L, %4$L), (%2$L, %3$L, %1$L, %5$L)', tests.id('egg'), tests.id('hen'), tests.id('works'), 'egg', 'hen')),
  '409 org_unit_below_itself', 'two units cannot be made below each other in one statement'
);
select is(
  tests.error_of(format('update lms.org_units set parent_id = case id when %1$L then %2$L else %1$L end::uuid where id in (%1$L, %2$L)', tests.id('north'), tests.id('south'))),
  '409 org_unit_below_itself', 'two units cannot be moved below each other in one statement'
);

-- An import may name children before their parents.
insert into lms.org_units (id, tenant_id, parent_id, name) values
  (tests.id('leaf'), tests.id('works'), tests.id('twig'), 'leaf'),
  (tests.id('twig'), tests.id('works'), tests.id('branch'), 'twig'),
  (tests.id('leaf2'), tests.id('works'), tests.id('twig'), 'leaf2'),
  (tests.id('branch'), tests.id('works'), tests.id('south'), 'branch');
select tests.closure_is_exact('the closure is exact when one statement brings children before parents');
delete from lms.org_units where name in ('leaf', 'leaf2');
delete from lms.org_units where name = 'twig';
delete from lms.org_units where name = 'branch';
select tests.closure_is_exact('the closure is exact after a subtree is deleted');

-- Random trees, moved about at random; what would make a cycle is refused and leaves nothing behind.
do $$
declare
  v_units uuid[];
  v_refused integer := 0;
begin
  perform setseed(0.42);
  insert into lms.org_units (tenant_id, name) select tests.id('press'), 'random ' || n from generate_series(1, 40) as n;
  select array_agg(id order by name) into v_units from lms.org_units where name like 'random %';
  for i in 1..400 loop
    begin
      update lms.org_units
      set parent_id = case when random() < 0.1 then null else v_units[1 + floor(random() * 40)] end
      where id = v_units[1 + floor(random() * 40)::integer * (i % 2) + (i % 40) * (1 - i % 2)];
    exception when sqlstate 'PGRST' then
      v_refused := v_refused + 1;
    end;
  end loop;
  perform set_config('tests.refused', v_refused::text, true);
end
$$;

select tests.closure_is_exact('the closure is exact after 400 random moves');
select cmp_ok(current_setting('tests.refused')::integer, '>', 10, 'some of the random moves would have made cycles and were refused');
select cmp_ok((select max(n) from (select count(*) as n from private.org_unit_closure group by descendant_id) as depths), '>', 4::bigint, 'the random trees were deep');
select is_empty(
  $$ select ancestor_id from private.org_unit_closure a where ancestor_id <> descendant_id and exists (
       select from private.org_unit_closure b where b.ancestor_id = a.descendant_id and b.descendant_id = a.ancestor_id) $$,
  'no unit is above and below another'
);
update lms.org_units set parent_id = null where name like 'random %';
delete from lms.org_units where name like 'random %';

select is(
  tests.error_of(format('insert into lms.org_units (tenant_id, name) values (%L, %L)', tests.id('works'), 'north')),
  '23505 org_unit_name_is_taken_among_siblings', 'roots of the same name are siblings as well'
);

-- =====================================================================================================
-- Who may change units
-- =====================================================================================================

select is(tests.try(who, statement), expected, format('%s %s: %s', who, what, expected))
from (
  values
    ('boss', 'adds a root', 'root', '1'), ('hanna', 'adds a root', 'root', '1'), ('marco', 'adds a root', 'root', '42501'),
    ('dora', 'adds a root', 'root', '42501'), ('audrey', 'adds a root', 'root', '42501'), ('ines', 'adds a root', 'root', '42501'),
    ('petra', 'adds a root in another tenant', 'root', '42501'), ('noah', 'adds a root', 'root', '42501'),
    ('marco', 'adds below the own unit', 'below north', '1'), ('marco', 'adds further below', 'below dock', '1'),
    ('marco', 'adds below another unit', 'below south', '42501'),
    ('hanna', 'adds a unit of another tenant', 'foreign root', '42501'),
    ('marco', 'renames the own unit', 'rename north', '0'), ('marco', 'renames a unit below', 'rename dock', '1'),
    ('marco', 'renames another unit', 'rename south', '0'), ('hanna', 'renames any unit', 'rename south', '1'),
    ('dora', 'renames the own unit', 'rename dock', '0'), ('petra', 'renames a unit of another tenant', 'rename south', '0'),
    ('marco', 'moves a unit out of the scope', 'dock to south', '42501'), ('marco', 'makes a unit a root', 'dock to root', '42501'),
    ('marco', 'moves a unit within the scope', 'bay to north', '1'), ('hanna', 'moves a unit', 'dock to south', '1'),
    ('boss', 'deletes a unit made by mistake', 'delete', '1'), ('marco', 'deletes a unit below', 'delete', '1'),
    ('marco', 'deletes the own unit', 'delete north', '0'), ('marco', 'deletes another unit', 'delete south', '0'),
    ('dora', 'deletes a unit', 'delete', '0'), ('audrey', 'deletes a unit', 'delete', '0'), ('petra', 'deletes a unit of another tenant', 'delete', '0'),
    ('hanna', 'deletes the home of somebody', 'delete south', '409 unit_in_use'), ('hanna', 'deletes a unit with units below', 'delete north', '409 unit_in_use'),
    ('marco', 'archives a unit below', 'archive dock', '1'), ('marco', 'archives the own unit', 'archive north', '0'), ('dora', 'archives a unit', 'archive dock', '0'),
    ('boss', 'chooses the id of a unit', 'id', '42501'),
    ('boss', 'hands a unit to another tenant', 'tenant', '42501')
) as cases (who, what, deed, expected)
join (
  values
    ('root', format('insert into lms.org_units (tenant_id, name) values (%L, %L)', tests.id('works'), 'new')),
    ('foreign root', format('insert into lms.org_units (tenant_id, name) values (%L, %L)', tests.id('press'), 'new')),
    ('below north', format('insert into lms.org_units (tenant_id, parent_id, name) values (%L, %L, %L)', tests.id('works'), tests.id('north'), 'new')),
    ('below dock', format('insert into lms.org_units (tenant_id, parent_id, name) values (%L, %L, %L)', tests.id('works'), tests.id('dock'), 'new')),
    ('below south', format('insert into lms.org_units (tenant_id, parent_id, name) values (%L, %L, %L)', tests.id('works'), tests.id('south'), 'new')),
    ('rename north', format('update lms.org_units set name = %L where id = %L', 'x', tests.id('north'))),
    ('rename dock', format('update lms.org_units set name = %L where id = %L', 'x', tests.id('dock'))),
    ('rename south', format('update lms.org_units set name = %L where id = %L', 'x', tests.id('south'))),
    ('dock to south', format('update lms.org_units set parent_id = %L where id = %L', tests.id('south'), tests.id('dock'))),
    ('dock to root', format('update lms.org_units set parent_id = null where id = %L', tests.id('dock'))),
    ('bay to north', format('update lms.org_units set parent_id = %L where id = %L', tests.id('north'), tests.id('bay'))),
    ('delete', format('delete from lms.org_units where id = %L', tests.id('bay'))),
    ('delete north', format('delete from lms.org_units where id = %L', tests.id('north'))),
    ('delete south', format('delete from lms.org_units where id = %L', tests.id('south'))),
    ('archive dock', format('update lms.org_units set archived_at = now() where id = %L', tests.id('dock'))),
    ('archive north', format('update lms.org_units set archived_at = now() where id = %L', tests.id('north'))),
    ('id', format('insert into lms.org_units (id, tenant_id, name) values (%L, %L, %L)', tests.id('x'), tests.id('works'), 'new')),
    ('tenant', format('update lms.org_units set tenant_id = %L where id = %L', tests.id('press'), tests.id('bay')))
) as deeds (deed, statement) using (deed);

-- What was earned in a unit says so for good, and a unit with others below it is no leaf.
savepoint unused;
select tests.unit('hollow', 'works'), tests.unit('inside', 'works', 'hollow'), tests.unit('memory', 'works');
update lms.enrollments set unit_id = tests.id('memory') where id = tests.id('dora takes safety');
select is(tests.try('hanna', format('delete from lms.org_units where id = %L', tests.id(unit))), expected, format('a unit is deleted, %s: %s', unit, expected))
from (values ('memory', '409 unit_in_use'), ('hollow', '409 unit_in_use'), ('inside', '1')) as cases (unit, expected);
rollback to unused;

-- =====================================================================================================
-- Who may change memberships, and what they see of tenancy
-- =====================================================================================================

create function tests.membership_change(name text, change text) returns text language sql as $$
  select format('update lms.memberships set %s where id = %L', change, tests.id(name || ' in works'))
$$;

select is(tests.try(who, tests.membership_change(whose, change)), expected, format('%s changes %s of %s: %s', who, change, whose, expected))
from (values
  ('hanna', 'dora', 'job_title = ''Lead''', '1'), ('boss', 'sid', 'status = ''suspended''', '1'), ('marco', 'dora', 'job_title = ''Lead''', '1'),
  ('marco', 'sid', 'job_title = ''Lead''', '0'), ('dora', 'dora', 'job_title = ''Boss''', '0'), ('dora', 'sid', 'status = ''suspended''', '0'),
  ('ines', 'dora', 'status = ''suspended''', '0'), ('audrey', 'dora', 'job_title = ''x''', '0'), ('petra', 'dora', 'status = ''suspended''', '0'),
  ('marco', 'dora', format('unit_id = %L', tests.id('bay')), '1'), ('marco', 'dora', format('unit_id = %L', tests.id('south')), '42501'),
  ('marco', 'dora', 'unit_id = null', '42501'), ('marco', 'sid', format('unit_id = %L', tests.id('north')), '0'),
  ('hanna', 'dora', format('unit_id = %L', tests.id('desk')), '23503 membership_unit_is_of_the_same_tenant'),
  ('boss', 'dora', format('user_id = %L', tests.id('noah')), '42501'), ('boss', 'dora', format('tenant_id = %L', tests.id('press')), '42501'),
  ('boss', 'dora', 'joined_at = now()', '42501'), ('boss', 'dora', 'ended_at = now()', '42501'),
  ('boss', 'dora', 'employee_number = ''  ''', '23514 employee_number_is_short'), ('boss', 'dora', 'status = ''vip''', '23514 membership_status_is_known')
) as cases (who, whose, change, expected);

-- Reading further than writing: the rule for writing holds by itself.
savepoint reader;
insert into lms.roles (id, tenant_id, key, name) values (tests.id('reader'), tests.id('works'), 'reader', 'Reader');
insert into lms.role_permissions (tenant_id, role_id, permission) values (tests.id('works'), tests.id('reader'), 'members.read');
insert into lms.role_grants (tenant_id, membership_id, role_id) values (tests.id('works'), tests.id('marco in works'), tests.id('reader'));
select is(tests.sees_as('marco', 'lms.memberships'), '7', 'with a role to read, a unit manager sees all memberships');
select is(tests.try('marco', tests.membership_change(whose, change)), expected, format('... and still changes %s of %s: %s', change, whose, expected))
from (values
  ('dora', format('unit_id = %L', tests.id('south')), '42501'), ('dora', format('unit_id = %L', tests.id('bay')), '1'), ('sid', 'job_title = ''x''', '0'), ('sid', format('unit_id = %L', tests.id('north')), '0')
) as cases (whose, change, expected);
rollback to reader;

select is(tests.try(who, statement), '42501', format('%s may not: %s', who, left(statement, 60)))
from unnest(array['dora', 'hanna', 'boss', 'noah']) as who
cross join unnest(array[
  'update lms.roles set is_builtin = false',
  'update lms.role_permissions set permission = ''catalog.write''',
  'update lms.role_grants set membership_id = membership_id',
  'insert into lms.permissions (permission, description) values (''a.b'', ''x'')',
  'insert into lms.tenants (slug, name) values (''mine'', ''Mine'')',
  'delete from lms.tenants',
  'update lms.tenants set slug = ''mine''',
  'update lms.tenants set is_active = false',
  'update lms.tenants set domain = ''evil.example'''
]) as statement;

select is(tests.try(who, 'update lms.tenants set name = ''Renamed'''), expected, format('%s renames so many tenants: %s', who, expected))
from (values ('boss', '1'), ('petra', '1'), ('hanna', '0'), ('marco', '0'), ('dora', '0'), ('noah', '0'), ('audrey', '0')) as cases (who, expected);

select is(
  (tests.sees_as(who, 'lms.tenants'), tests.sees_as(who, 'lms.org_units'), tests.sees_as(who, 'lms.roles'), tests.sees_as(who, 'lms.memberships'), tests.sees_as(who, 'lms.role_grants'))::text,
  (tenants, units, roles, memberships, grants)::text,
  format('%s sees so many tenants, units, roles, memberships, grants', who)
)
from (values
  ('noah', 0, 0, 0, 0, 0), ('dora', 1, 4, 6, 1, 1), ('marco', 1, 4, 6, 2, 2), ('hanna', 1, 4, 6, 7, 7), ('boss', 1, 4, 6, 7, 7),
  ('ines', 1, 4, 6, 1, 1), ('audrey', 1, 4, 6, 1, 1), ('petra', 1, 1, 6, 2, 2), ('paul', 1, 1, 6, 1, 1)
) as sights (who, tenants, units, roles, memberships, grants);

select tests.as_anonymous();
select is(tests.sees(relation), '42501', 'anonymous callers do not see ' || relation)
from unnest(array['lms.tenants', 'lms.org_units', 'lms.permissions', 'lms.roles', 'lms.role_permissions', 'lms.memberships', 'lms.role_grants', 'private.org_unit_closure']) as relation;
select tests.as_owner();

-- =====================================================================================================
-- INV-T4: rights end with the next statement
-- =====================================================================================================

create function tests.works_rows(name text) returns text language sql as $$
  select concat_ws(' ',
    tests.sees_as(name, 'lms.tenants'), tests.sees_as(name, 'lms.org_units'), tests.sees_as(name, 'lms.roles'),
    tests.sees_as(name, 'lms.role_permissions'), tests.sees_as(name, 'lms.memberships'), tests.sees_as(name, 'lms.role_grants'),
    tests.sees_as(name, 'lms.courses'), tests.sees_as(name, 'lms.course_staff'), tests.sees_as(name, 'lms.modules'),
    tests.sees_as(name, 'lms.lessons'), tests.sees_as(name, 'lms.lesson_blocks'), tests.sees_as(name, 'lms.enrollments'),
    tests.sees_as(name, 'lms.lesson_progress')
  ) || case when tests.sees_as(name, 'lms.invitations') || tests.sees_as(name, 'lms.cohorts') || tests.sees_as(name, 'lms.cohort_members')
      || tests.sees_as(name, 'lms.assignable_roles') = '0000' then '' else ' and more' end
$$;

-- Boss is the last administrator, which is another rule; a second one stands in.
select tests.member('second', 'works', 'tenant_admin');
insert into lms.lesson_progress (user_id, lesson_id, progress_percentage) values (tests.id('dora'), tests.id('safety/1'), 50);

select isnt(tests.works_rows(who), '0 0 0 0 0 0 0 0 0 0 0 0 0', format('INV-T4: %s sees the tenant while active', who))
from unnest(array['boss', 'hanna', 'marco', 'ines', 'audrey', 'dora']) as who;

-- Everybody was invited once and is in a cohort, so that there is something to lose.
insert into lms.cohorts (id, tenant_id, name) values (tests.id('class'), tests.id('works'), 'Class');
insert into lms.cohort_members (cohort_id, user_id) select tests.id('class'), m.user_id from lms.memberships m where m.tenant_id = tests.id('works');
insert into lms.invitations (tenant_id, email, role_id, expires_at, accepted_at, accepted_by)
select m.tenant_id, u.email, tests.role_id('works', 'learner'), now(), now(), m.user_id
from lms.memberships m join auth.users u on u.id = m.user_id where m.tenant_id = tests.id('works');
update auth.users set email_confirmed_at = now();
select is(tests.works_rows('dora') ~ ' and more$', true, 'INV-T4: an active member sees their cohort and their invitation');

savepoint active;
update lms.memberships set status = 'suspended' where tenant_id = tests.id('works') and user_id <> tests.id('second');
select is(tests.works_rows(who), '0 0 0 0 0 0 0 0 0 0 0 0 0', format('INV-T4: suspended, %s sees nothing of the tenant', who))
from unnest(array['boss', 'hanna', 'marco', 'ines', 'audrey', 'dora']) as who;
select is(tests.sees_as(who, 'public.profiles') || tests.sees_as(who, 'public.profile_private'), '11', format('INV-T4: suspended, %s still sees their own profile', who))
from unnest(array['boss', 'hanna', 'marco', 'ines', 'audrey', 'dora']) as who;
select is(tests.try(who, statement), expected, format('INV-T4: suspended, %s writes nothing: %s', who, left(statement, 50)))
from (values
  ('boss', 'update lms.tenants set name = ''x''', '0'), ('boss', 'update lms.memberships set status = ''active''', '0'),
  ('hanna', 'update lms.memberships set status = ''active''', '0'), ('marco', 'update lms.org_units set name = ''x''', '0'),
  ('hanna', format('insert into lms.org_units (tenant_id, name) values (%L, %L)', tests.id('works'), 'new'), '42501'),
  ('ines', 'update lms.courses set title = ''x''', '0'), ('ines', 'update lms.lessons set title = ''x''', '0'),
  ('ines', format('insert into lms.courses (tenant_id, slug, title) values (%L, %L, %L)', tests.id('works'), 'n', 'N'), '42501'),
  ('ines', format('insert into lms.lessons (module_id, title) values (%L, %L)', tests.id('safety/m'), 'N'), '42501'),
  ('dora', 'update lms.lesson_progress set progress_percentage = 100', '0'),
  ('dora', format('select lms.complete_lesson(%L)', tests.id('safety/1')), '403 membership_suspended'),
  ('dora', format('select lms.set_enrollment_status(%L, %L)', tests.id('dora takes safety'), 'dropped'), '404 enrollment_not_found'),
  ('dora', format('select lms.get_lesson(%L)', tests.id('safety/1')), '404 lesson_not_found'),
  ('dora', format('select lms.get_course_outline(%L)', tests.id('safety')), '404 course_not_found'),
  ('dora', format('select lms.leave_tenant(%L)', tests.id('works')), '404 tenant_not_found'),
  ('boss', format('select lms.invite(%L, %L)', tests.id('works'), 'me@example.com'), '404 tenant_not_found'),
  ('boss', format('insert into lms.roles (tenant_id, key, name) values (%L, %L, %L)', tests.id('works'), 'mine', 'Mine'), '42501'),
  ('boss', 'delete from lms.role_grants', '0'), ('boss', 'delete from lms.memberships', '0'), ('hanna', 'delete from lms.cohort_members', '0'),
  ('hanna', format('insert into lms.role_grants (tenant_id, membership_id, role_id) values (%L, %L, %L)', tests.id('works'), tests.id('dora in works'), tests.role_id('works', 'instructor')), '403 role_not_grantable'),
  ('ines', format('select lms.publish_course(%L)', tests.id('safety')), '404 course_not_found')
) as cases (who, statement, expected);
update lms.memberships set status = 'active' where tenant_id = tests.id('works');
select isnt(tests.works_rows('dora'), '0 0 0 0 0 0 0 0 0 0 0 0 0', 'INV-T4: active again, dora sees the tenant again');

update lms.tenants set is_active = false where id = tests.id('works');
select is(tests.works_rows(who), '0 0 0 0 0 0 0 0 0 0 0 0 0', format('INV-T4: when the tenant is closed, %s sees nothing of it', who))
from unnest(array['boss', 'hanna', 'marco', 'ines', 'audrey', 'dora']) as who;
select is(tests.try('dora', format('select lms.complete_lesson(%L)', tests.id('safety/1'))), '403 membership_suspended', 'INV-T4: when the tenant is closed, nothing is recorded');
rollback to active;

-- Who left keeps the record of what they did, and nothing else.
savepoint active;
update lms.memberships set status = 'ended' where user_id = tests.id('dora');
delete from lms.invitations;
select is(tests.works_rows('dora'), '0 0 0 0 0 0 0 0 0 0 0 1 1', 'INV-T4: who left sees the own record, and neither courses nor colleagues');
select is(tests.try('dora', format('select lms.get_lesson(%L)', tests.id('safety/1'))), '404 lesson_not_found', 'INV-T4: who left reads no content');
select is(tests.try('dora', 'update lms.lesson_progress set progress_percentage = 100'), '0', 'INV-T4: who left records nothing by REST');
select is(tests.try('dora', format('select lms.complete_lesson(%L)', tests.id('safety/1'))), '403 membership_suspended', 'INV-T4: who left records nothing by RPC');
update lms.memberships set status = 'ended' where user_id = tests.id('ines');
select is(tests.works_rows('ines'), '0 0 0 0 0 0 0 0 0 0 0 0 0', 'INV-T4: who left teaches nothing');
rollback to active;

-- A person of two tenants loses one of them only.
savepoint active;
select tests.member('dora', 'press', 'tenant_admin');
update lms.memberships set status = 'suspended' where id = tests.id('dora in press');
select is(tests.sees_as('dora', 'lms.tenants'), '1', 'INV-T4: suspended in one tenant, a person keeps the other');
select is(tests.sees_as('dora', 'lms.enrollments'), '1', 'INV-T4: ... and the enrolments there');
rollback to active;

-- =====================================================================================================
-- Dates of memberships
-- =====================================================================================================

savepoint active;
update lms.memberships set status = 'ended', ended_at = '2020-01-01' where id = tests.id('dora in works');
select is((select ended_at from lms.memberships where id = tests.id('dora in works')), '2020-01-01', 'an import may say when somebody left');
update lms.memberships set status = 'active' where id = tests.id('dora in works');
select is((select ended_at from lms.memberships where id = tests.id('dora in works')), null, 'who is back has no end');
select tests.as('hanna');
update lms.memberships set status = 'ended' where id = tests.id('sid in works');
select is((select ended_at from lms.memberships where id = tests.id('sid in works')), now(), 'for clients, the server says when');
select tests.as_owner();
rollback to active;

-- =====================================================================================================
-- INV-T3, its second half: the last administrator stays
-- =====================================================================================================

delete from lms.role_grants where membership_id = tests.id('second in works');

create function tests.removals() returns table (how text, statement text) language sql as $$
  values
    ('suspending', format('update lms.memberships set status = ''suspended'' where id = %L', tests.id('boss in works'))),
    ('ending', format('update lms.memberships set status = ''ended'' where id = %L', tests.id('boss in works'))),
    ('taking the role away', format('delete from lms.role_grants where membership_id = %L', tests.id('boss in works'))),
    ('giving another role instead', format('update lms.role_grants set role_id = %L where membership_id = %L', tests.role_id('works', 'learner'), tests.id('boss in works'))),
    ('narrowing the role to a unit', format('update lms.role_grants set unit_id = %L where membership_id = %L', tests.id('north'), tests.id('boss in works'))),
    ('handing the grant to a suspended member', format('update lms.role_grants set membership_id = %L where membership_id = %L', tests.id('second in works'), tests.id('boss in works'))),
    ('deleting the membership', format('delete from lms.memberships where id = %L', tests.id('boss in works'))),
    ('suspending everybody', 'update lms.memberships set status = ''suspended'''),
    ('deleting all grants', 'delete from lms.role_grants')
$$;

update lms.memberships set status = 'suspended' where id = tests.id('second in works');
select is(tests.error_of(statement), '409 last_administrator', format('INV-T3: %s the last administrator is refused, even to the owner', how)) from tests.removals();
select tests.as_service();
select is(tests.error_of(statement), '409 last_administrator', format('INV-T3: %s the last administrator is refused to the service role', how)) from tests.removals();
select tests.as_owner();
select is(tests.try('boss', statement), '409 last_administrator', 'INV-T3: an administrator cannot suspend themselves away')
from tests.removals() where how = 'suspending';
select is(tests.try('hanna', statement), '42501', 'HR cannot suspend an administrator, the last one or not')
from tests.removals() where how = 'suspending';

update lms.memberships set status = 'active' where id = tests.id('second in works');
select tests.role_id('works', 'tenant_admin') as admin_role \gset
insert into lms.role_grants (tenant_id, membership_id, role_id, unit_id) values (tests.id('works'), tests.id('second in works'), :'admin_role', tests.id('north'));
select is(tests.error_of(statement), '409 last_administrator', 'INV-T3: an administrator of one unit does not stand in for one of the tenant')
from tests.removals() where how = 'suspending';
update lms.role_grants set unit_id = null where membership_id = tests.id('second in works');
select is(tests.error_of(statement), 'none', format('INV-T3: %s is fine while another administrator stays', how))
from tests.removals() where how = 'suspending';
select is(
  tests.error_of(format('update lms.memberships set status = ''suspended'' where id in (%L, %L)', tests.id('boss in works'), tests.id('second in works'))),
  '409 last_administrator', 'INV-T3: two administrators cannot be removed by one statement'
);

-- Nobody can sign in as somebody without a login: such an administrator is none.
update lms.memberships set status = 'active' where id = tests.id('boss in works');
create function tests.lockouts() returns table (how text, statement text) language sql as $$
  values
    ('deleting the login of', format('delete from auth.users where id = %L', tests.id('boss'))),
    ('marking as deleted the login of', format('update auth.users set deleted_at = now() where id = %L', tests.id('boss'))),
    ('unlinking from the login', format('update public.profiles set user_id = null where id = %L', tests.id('boss')))
$$;
select is(tests.outcome_of(statement), 'none', format('INV-T3: %s an administrator is fine while another stays', how)) from tests.lockouts();
select is(
  tests.outcome_of(format('delete from auth.users where id in (%L, %L)', tests.id('boss'), tests.id('second'))),
  '409 last_administrator', 'INV-T3: the logins of both administrators cannot be deleted by one statement'
);
select is(
  tests.outcome_of(format('update auth.users set deleted_at = now() where id in (%L, %L)', tests.id('boss'), tests.id('second'))),
  '409 last_administrator', 'INV-T3: ... nor be marked as deleted'
);

savepoint locked_out;
delete from auth.users where id = tests.id('second');
select is(tests.outcome_of(statement), '409 last_administrator', format('INV-T3: %s the last administrator with a login is refused', how)) from tests.lockouts();
select is(tests.outcome_of(statement), '409 last_administrator', format('INV-T3: an administrator without a login does not stand in: %s', how)) from tests.removals()
where how not like 'handing%';
select is(
  tests.outcome_of(format('update lms.memberships set status = ''suspended'' where id = %L', tests.id('second in works'))),
  'none', 'INV-T3: who has no login can be taken out of office'
);
rollback to locked_out;
update auth.users set deleted_at = now() where id = tests.id('second');
select is(tests.outcome_of(statement), '409 last_administrator', format('INV-T3: ... nor one whose login is marked as deleted: %s', how))
from tests.removals() where how = 'suspending';
rollback to locked_out;

update lms.role_grants set unit_id = tests.id('north') where membership_id = tests.id('second in works');
select is(tests.outcome_of(statement), '409 last_administrator', format('INV-T3: ... nor one of a unit: %s', how)) from tests.lockouts();
select is(
  tests.outcome_of(format('delete from auth.users where id = %L', tests.id('second'))),
  'none', 'INV-T3: the login of whoever administers a unit only can be deleted'
);
update lms.memberships set status = 'suspended' where id = tests.id('second in works');
select is(
  tests.outcome_of(format('delete from auth.users where id = %L', tests.id('second'))),
  'none', 'INV-T3: ... and of whoever is suspended'
);

select * from finish();
rollback;
