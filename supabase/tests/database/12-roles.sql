begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press');
select tests.unit('north', 'works'), tests.unit('dock', 'works', 'north'), tests.unit('bay', 'works', 'dock'), tests.unit('south', 'works');
select tests.unit('desk', 'press');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('second', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'),
  tests.member('marco', 'works', 'unit_manager', 'north', 'north'), tests.member('ines', 'works', 'instructor'), tests.member('audrey', 'works', 'auditor'),
  tests.member('dora', 'works', 'learner', 'dock'), tests.member('sid', 'works', 'learner', 'south'), tests.member('lou', 'works'),
  tests.member('petra', 'press', 'tenant_admin'), tests.member('paul', 'press', 'learner', 'desk');
select tests.person('noah');
select tests.course('safety', 'works', 'ines'), tests.course('fair', 'works', 'ines', visibility => 'public'), tests.course('secret', 'works', 'ines', visibility => 'private');
update lms.courses set self_enrollment = 'open';
select tests.enrollment('dora', 'safety');

-- =====================================================================================================
-- INV-T3: nobody gives what they do not have. Against a model that knows nothing of the rule's own functions
-- =====================================================================================================

create table tests.defined (role text, permission text);
insert into tests.defined values
  ('clerk', 'members.read'), ('clerk', 'members.write'), ('reporter', 'reports.read'), ('teacher', 'catalog.author'),
  ('lead', 'members.read'), ('lead', 'members.write'), ('lead', 'reports.read'),
  ('chief', 'members.read'), ('chief', 'members.write'), ('chief', 'reports.read'), ('chief', 'roles.write'),
  ('designer', 'roles.write'), ('designer', 'members.read'), ('appointer', 'members.read'), ('appointer', 'members.write');
create table tests.assigns (role text, assignable text);
insert into tests.assigns values ('appointer', 'teacher'), ('lister', 'teacher');
create table tests.holds (name text, role text, scope text);
insert into tests.holds values
  ('clerk everywhere', 'clerk', null), ('clerk north', 'clerk', 'north'), ('lead north', 'lead', 'north'), ('lead dock', 'lead', 'dock'),
  ('clerk reporting dock', 'clerk', null), ('clerk reporting dock', 'reporter', 'dock'),
  ('reporter clerk dock', 'reporter', null), ('reporter clerk dock', 'clerk', 'dock'),
  ('chief everywhere', 'chief', null), ('chief north', 'chief', 'north'), ('designer', 'designer', null),
  ('clerk designer', 'clerk', null), ('clerk designer', 'designer', null),
  ('appointer north', 'appointer', 'north'), ('clerk listing dock', 'clerk', null), ('clerk listing dock', 'lister', 'dock'),
  ('lister', 'lister', null), ('reporter', 'reporter', null), ('nobody', 'empty', null);

select tests.custom_role('works', r.role, array(select d.permission from tests.defined d where d.role = r.role))
from (select role from tests.defined union select role from tests.holds union select assignable from tests.assigns) as r;
insert into lms.assignable_roles (tenant_id, role_id, assignable_role_id)
select tests.id('works'), tests.role_id('works', a.role), tests.role_id('works', a.assignable) from tests.assigns a;
select tests.member(h.name, 'works', min(h.role), 'dock', min(h.scope) filter (where h.role = (select min(o.role) from tests.holds o where o.name = h.name)))
from tests.holds h group by h.name;
insert into lms.role_grants (tenant_id, membership_id, role_id, unit_id)
select tests.id('works'), tests.id(h.name || ' in works'), tests.role_id('works', h.role), case when h.scope is not null then tests.id(h.scope) end
from tests.holds h on conflict do nothing;
-- The built-in roles take part as well.
insert into tests.defined select r.key, p.permission from lms.roles r join lms.role_permissions p on p.role_id = r.id where r.is_builtin and r.tenant_id = tests.id('works');
insert into tests.assigns values ('hr_admin', 'instructor');
insert into tests.holds values ('boss', 'tenant_admin', null), ('hanna', 'hr_admin', null), ('marco', 'unit_manager', 'north');

-- A unit covers itself and what is below it; no unit covers all.
create function tests.covers(scope text, place text) returns boolean language sql immutable as $$
  select scope is null or coalesce(scope = place or (scope, place) in (('north', 'dock'), ('north', 'bay'), ('dock', 'bay')), false)
$$;
create function tests.has(who text, wanted text, place text) returns boolean language sql stable as $$
  select exists (select from tests.holds h join tests.defined d on d.role = h.role where h.name = who and d.permission = wanted and tests.covers(h.scope, place))
$$;
-- Is it theirs to give?
create function tests.gives(who text, given text, place text) returns boolean language sql stable as $$
  select tests.has(who, 'members.write', place) and (
    not exists (select from tests.defined d where d.role = given and not tests.has(who, d.permission, place))
    or exists (select from tests.holds h join tests.assigns a on a.role = h.role where h.name = who and a.assignable = given and tests.covers(h.scope, place))
  )
$$;

create table tests.givers as select distinct name from tests.holds union select unnest(array['petra', 'noah', 'dora']);
create table tests.places (scope text);
insert into tests.places values (null), ('north'), ('dock'), ('bay'), ('south');
-- Who receives, and their home.
create table tests.receivers (name text, home text);
insert into tests.receivers values ('dora', 'dock'), ('lou', null);

create table tests.gifts as
  select g.name as giver, t.name as receiver, t.home, r.role, p.scope,
    tests.try(g.name, format(
      'insert into lms.role_grants (tenant_id, membership_id, role_id, unit_id) values (%L, %L, %L, %L)',
      tests.id('works'), tests.id(t.name || ' in works'), tests.role_id('works', r.role), case when p.scope is not null then tests.id(p.scope) end
    )) as result
  from tests.givers g, tests.receivers t, tests.places p,
    unnest(array['empty', 'teacher', 'lead', 'appointer', 'instructor', 'unit_manager', 'tenant_admin']) as r (role);

select is_empty(
  $$
    select giver, receiver, role, scope, result, expected
    from tests.gifts, lateral (
      select case when tests.has(giver, 'members.write', home) and tests.gives(giver, role, scope) then '1' else '403 role_not_grantable' end as expected
    ) as e
    where result <> expected
  $$,
  'INV-T3: for every giver, role, scope and receiver, a role is given exactly if it is the giver''s to give'
);
select cmp_ok((select count(*) from tests.gifts where result = '1'), '>', 150::bigint, '... and many are');
select is((select count(*) from tests.gifts where result = '1' and giver in ('petra', 'noah', 'dora', 'reporter', 'designer', 'lister', 'nobody')), 0::bigint, 'without members.write nobody gives anything, whatever else they hold');
select set_eq(
  $$ select role, scope from tests.gifts where giver = 'appointer north' and receiver = 'dora' and result = '1' $$,
  $$ select r, s from unnest(array['empty', 'teacher', 'appointer']) as r, unnest(array['north', 'dock', 'bay']) as s $$,
  'an assignable role is given within the unit where one may assign it'
);
select set_eq(
  $$ select distinct role from tests.gifts where giver = 'hanna' and result = '1' and role in ('instructor', 'unit_manager', 'tenant_admin') $$, array['instructor', 'unit_manager'],
  'HR appoints instructors and managers, not administrators'
);

-- Every permission of the vocabulary by itself: the rule knows no permission that gives itself away.
select is(
  tests.try('clerk everywhere', format('insert into lms.role_grants (tenant_id, membership_id, role_id) values (%L, %L, %L)', tests.id('works'), tests.id(receiver || ' in works'), tests.custom_role('works', 'only_' || replace(permission, '.', '_'), array[permission]))),
  case when permission in ('members.read', 'members.write') then '1' else '403 role_not_grantable' end,
  format('INV-T3: a clerk gives %s to %s only if they hold it', permission, receiver)
)
from lms.permissions, (values ('dora')) as r (receiver);
select is(
  tests.try('clerk everywhere', format('insert into lms.role_grants (tenant_id, membership_id, role_id) values (%L, %L, %L)', tests.id('works'), tests.id('clerk everywhere in works'), tests.role_id('works', 'only_' || replace(permission, '.', '_')))),
  case when permission in ('members.read', 'members.write') then '1' else '403 role_not_grantable' end,
  format('INV-T3: nor %s to themselves', permission)
)
from lms.permissions;

-- Taking a role away in part is taking it: both what was and what comes must be theirs to give.
create table tests.changes as
  select g.name as giver, r.name as receiver, r.home, o.role as old_role, o.scope as old_scope, n.role as new_role, n.scope as new_scope
  from unnest(array['clerk everywhere', 'lead north', 'chief everywhere', 'chief north', 'appointer north', 'hanna', 'boss', 'petra']) as g (name),
    (values ('dora', 'dock'), ('sid', 'south')) as r (name, home),
    (values ('empty', null), ('lead', 'dock'), ('lead', 'south'), ('tenant_admin', null), ('teacher', 'dock')) as o (role, scope),
    (values ('reporter', null), ('reporter', 'bay'), ('clerk', 'south')) as n (role, scope);
create function tests.change_result(c tests.changes) returns text language plpgsql as $$
declare v_result text;
begin
  insert into lms.role_grants (id, tenant_id, membership_id, role_id, unit_id)
  values (tests.id('changed'), tests.id('works'), tests.id(c.receiver || ' in works'), tests.role_id('works', c.old_role), case when c.old_scope is not null then tests.id(c.old_scope) end);
  v_result := tests.try(c.giver, format(
    'update lms.role_grants set role_id = %L, unit_id = %L where id = %L', tests.role_id('works', c.new_role), case when c.new_scope is not null then tests.id(c.new_scope) end, tests.id('changed')
  ));
  v_result := v_result || ' / ' || tests.try(c.giver, format('delete from lms.role_grants where id = %L', tests.id('changed')));
  delete from lms.role_grants where id = tests.id('changed');
  return v_result;
end
$$;
-- What a caller does not see, or may not touch at all, is as if it were not there: no row, no error.
select is_empty(
  $$
    select c.*, r.result, e.expected
    from tests.changes c, tests.change_result(c) as r (result), lateral (
      select
        case
          when not (tests.has(giver, 'members.read', home) and tests.has(giver, 'members.write', old_scope)) then '0'
          when tests.has(giver, 'members.write', home) and tests.gives(giver, old_role, old_scope) and tests.gives(giver, new_role, new_scope) then '1'
          else '403 role_not_grantable'
        end || ' / ' ||
        case
          when not (tests.has(giver, 'members.read', home) and tests.has(giver, 'roles.write', null)) then '0'
          when tests.has(giver, 'members.write', home) and tests.gives(giver, old_role, old_scope) then '1'
          else '403 role_not_grantable'
        end as expected
    ) as e
    where r.result <> e.expected
  $$,
  'INV-T3: a grant is changed or taken away exactly if both what it was and what it becomes are the caller''s to give'
);

-- =====================================================================================================
-- Defining roles
-- =====================================================================================================

create function tests.fill(role text, permission text, tenant text default 'works') returns text language sql as $$
  select format('insert into lms.role_permissions (tenant_id, role_id, permission) values (%L, %L, %L)', tests.id(tenant), tests.role_id(tenant, role), permission)
$$;
create function tests.list(role text, assignable text, tenant text default 'works') returns text language sql as $$
  select format('insert into lms.assignable_roles (tenant_id, role_id, assignable_role_id) values (%L, %L, %L)', tests.id(tenant), tests.role_id(tenant, role), tests.role_id(tenant, assignable))
$$;

select is(tests.try(who, statement), expected, format('%s %s: %s', who, what, expected))
from (values
  ('boss', 'fills a role', tests.fill('empty', 'catalog.write'), '1'),
  ('boss', 'fills a built-in role', tests.fill('learner', 'catalog.write'), '409 builtin_role'),
  ('chief everywhere', 'fills a role with what they hold', tests.fill('empty', 'reports.read'), '1'),
  ('chief everywhere', 'fills a role with what they do not hold', tests.fill('empty', 'catalog.write'), '403 permission_not_held'),
  ('chief everywhere', 'fills the own role with what they do not hold', tests.fill('chief', 'audit.read'), '403 permission_not_held'),
  ('chief everywhere', 'fills the own role with what is there', tests.fill('chief', 'roles.write'), '23505 role_permissions_pkey'),
  ('chief north', 'defines roles for the tenant with a unit''s rights', tests.fill('empty', 'reports.read'), '403 permission_not_held'),
  ('designer', 'fills the own role', tests.fill('designer', 'catalog.write'), '403 permission_not_held'),
  ('designer', 'fills a role with the right to define roles', tests.fill('empty', 'roles.write'), '1'),
  ('clerk designer', 'fills the other own role', tests.fill('clerk', 'roles.write'), '1'),
  ('clerk designer', 'fills the other own role with more', tests.fill('clerk', 'enrollments.write'), '403 permission_not_held'),
  ('hanna', 'fills a role', tests.fill('empty', 'members.read'), '403 permission_not_held'),
  ('marco', 'fills a role', tests.fill('empty', 'members.read'), '403 permission_not_held'),
  ('dora', 'fills the own role', tests.fill('learner', 'catalog.write'), '403 permission_not_held'),
  ('petra', 'fills a role of another tenant', tests.fill('empty', 'members.read'), '403 permission_not_held'),
  ('petra', 'asks whether a role of another tenant is built in', tests.fill('learner', 'members.read'), '403 permission_not_held'),
  ('boss', 'fills a role with an unknown permission', tests.fill('empty', 'every.thing'), '403 permission_not_held'),
  ('boss', 'empties a role', format('delete from lms.role_permissions where role_id = %L', tests.role_id('works', 'lead')), '3'),
  ('boss', 'empties a built-in role', format('delete from lms.role_permissions where role_id = %L', tests.role_id('works', 'hr_admin')), '409 builtin_role'),
  ('boss', 'empties all roles', 'delete from lms.role_permissions', '409 builtin_role'),
  ('hanna', 'empties a role', format('delete from lms.role_permissions where role_id = %L', tests.role_id('works', 'lead')), '0'),
  ('chief north', 'empties a role', format('delete from lms.role_permissions where role_id = %L', tests.role_id('works', 'lead')), '0'),
  ('petra', 'empties a role of another tenant', format('delete from lms.role_permissions where role_id = %L', tests.role_id('works', 'lead')), '0'),

  ('boss', 'lists a role as assignable', tests.list('lead', 'teacher'), '1'),
  ('chief everywhere', 'lists what they could give', tests.list('lead', 'reporter'), '1'),
  ('chief everywhere', 'lists what they could not give', tests.list('lead', 'teacher'), '403 role_not_grantable'),
  ('chief everywhere', 'lists administrators for the own role', tests.list('chief', 'tenant_admin'), '403 role_not_grantable'),
  ('clerk everywhere', 'lists without defining roles', tests.list('clerk', 'empty'), '403 role_not_grantable'),
  ('designer', 'lists without members.write', tests.list('designer', 'empty'), '403 role_not_grantable'),
  ('clerk designer', 'lists what they could give', tests.list('designer', 'clerk'), '1'),
  ('clerk designer', 'lists more than that', tests.list('clerk', 'lead'), '403 role_not_grantable'),
  ('clerk listing dock', 'makes assignable everywhere what is so in a unit', tests.list('clerk', 'teacher'), '403 role_not_grantable'),
  ('chief north', 'lists with a unit''s rights', tests.list('chief', 'empty'), '403 role_not_grantable'),
  ('boss', 'lets a built-in role assign', tests.list('unit_manager', 'instructor'), '409 builtin_role'),
  ('petra', 'lists in another tenant', tests.list('lead', 'empty'), '403 role_not_grantable'),
  ('boss', 'unlists', 'delete from lms.assignable_roles where role_id = ' || quote_literal(tests.role_id('works', 'lister')), '1'),
  ('boss', 'unlists for a built-in role', 'delete from lms.assignable_roles where role_id = ' || quote_literal(tests.role_id('works', 'hr_admin')), '409 builtin_role'),
  ('hanna', 'unlists', 'delete from lms.assignable_roles', '0'), ('chief north', 'unlists', 'delete from lms.assignable_roles', '0'), ('petra', 'unlists in another tenant', 'delete from lms.assignable_roles where tenant_id = ' || quote_literal(tests.id('works')), '0'),
  ('boss', 'changes what is assignable', format('update lms.assignable_roles set assignable_role_id = %L', tests.role_id('works', 'chief')), '42501'),

  ('boss', 'adds a role', format('insert into lms.roles (tenant_id, key, name) values (%L, ''coach'', ''Coach'')', tests.id('works')), '1'),
  ('chief everywhere', 'adds a role', format('insert into lms.roles (tenant_id, key, name) values (%L, ''coach'', ''Coach'')', tests.id('works')), '1'),
  ('boss', 'adds a role twice', format('insert into lms.roles (tenant_id, key, name) values (%L, ''tenant_admin'', ''Me too'')', tests.id('works')), '23505 role_key_is_taken'),
  ('boss', 'adds a built-in role', format('insert into lms.roles (tenant_id, key, name, is_builtin) values (%L, ''coach'', ''Coach'', true)', tests.id('works')), '42501'),
  ('boss', 'adds a role to another tenant', format('insert into lms.roles (tenant_id, key, name) values (%L, ''coach'', ''Coach'')', tests.id('press')), '42501'),
  ('chief north', 'adds a role', format('insert into lms.roles (tenant_id, key, name) values (%L, ''coach'', ''Coach'')', tests.id('works')), '42501'),
  ('hanna', 'adds a role', format('insert into lms.roles (tenant_id, key, name) values (%L, ''coach'', ''Coach'')', tests.id('works')), '42501'),
  ('boss', 'renames a role', format('update lms.roles set name = ''x'' where id = %L', tests.role_id('works', 'lead')), '1'),
  ('boss', 'renames a built-in role', format('update lms.roles set name = ''x'' where id = %L', tests.role_id('works', 'learner')), '409 builtin_role'),
  ('boss', 'changes the key of a role', format('update lms.roles set key = ''x'' where id = %L', tests.role_id('works', 'lead')), '42501'),
  ('hanna', 'renames a role', format('update lms.roles set name = ''x'' where id = %L', tests.role_id('works', 'lead')), '0'),
  ('chief north', 'renames a role', format('update lms.roles set name = ''x'' where id = %L', tests.role_id('works', 'lead')), '0'),
  ('petra', 'renames a role of another tenant', format('update lms.roles set name = ''x'' where id = %L', tests.role_id('works', 'lead')), '0'),
  ('boss', 'deletes a role that somebody holds', format('delete from lms.roles where id = %L', tests.role_id('works', 'lead')), '23503 grant_role_is_of_the_same_tenant'),
  ('boss', 'deletes a role that nobody holds', format('delete from lms.roles where id = %L', tests.role_id('works', 'only_audit_read')), '1'),
  ('boss', 'deletes an assignable role that nobody holds', format('delete from lms.roles where id = %L', tests.role_id('works', 'teacher')), '1'),
  ('boss', 'deletes a built-in role', format('delete from lms.roles where id = %L', tests.role_id('works', 'auditor')), '409 builtin_role'),
  ('hanna', 'deletes a role', format('delete from lms.roles where id = %L', tests.role_id('works', 'teacher')), '0'),
  ('chief north', 'deletes a role', format('delete from lms.roles where id = %L', tests.role_id('works', 'teacher')), '0'),
  ('petra', 'deletes a role of another tenant', format('delete from lms.roles where id = %L', tests.role_id('works', 'teacher')), '0')
) as cases (who, what, statement, expected);

-- The built-in ones stay as they are whoever writes, but for migrations.
create table tests.on_builtin as select * from unnest(array[
  format('update lms.roles set name = ''x'' where id = %L', tests.role_id('works', 'learner')), format('delete from lms.roles where id = %L', tests.role_id('press', 'auditor')),
  format('update lms.roles set is_builtin = false where id = %L', tests.role_id('works', 'tenant_admin')), tests.fill('learner', 'catalog.write'),
  format('delete from lms.role_permissions where role_id = %L', tests.role_id('works', 'hr_admin')),
  format('update lms.role_permissions set role_id = %L where role_id = %L', tests.role_id('works', 'learner'), tests.role_id('works', 'reporter')),
  format('update lms.role_permissions set permission = ''audit.read'' where role_id = %L', tests.role_id('works', 'instructor')),
  tests.list('learner', 'instructor'), format('delete from lms.assignable_roles where role_id = %L', tests.role_id('works', 'hr_admin')),
  format('update lms.assignable_roles set role_id = %L where role_id = %L', tests.role_id('works', 'learner'), tests.role_id('works', 'lister'))
]) as statement;
select is(tests.try('service', statement), '409 builtin_role', 'the service does not change built-in roles: ' || left(statement, 70)) from tests.on_builtin;
select isnt(tests.try('owner', statement), '409 builtin_role', 'migrations may: ' || left(statement, 70)) from tests.on_builtin;
-- The command line of hosted projects signs in as another role and becomes this one.
set local role postgres;
select is(tests.error_of(tests.fill('learner', 'reports.read')), 'none', 'migrations may, also where they have become their role by SET ROLE');
reset role;
delete from lms.role_permissions where role_id = tests.role_id('works', 'learner');
select is(tests.try('service', format('update lms.roles set name = ''x'' where id = %L', tests.role_id('works', 'lead'))), '1', 'the service changes other roles');

-- What a role is deleted with, goes with it.
delete from lms.roles where id = tests.role_id('works', 'teacher');
select is((select count(*) from lms.assignable_roles a where a.tenant_id = tests.id('works')), 1::bigint, 'a role that is gone is assignable by nobody');

-- =====================================================================================================
-- INV-T3 by way of the tree: moving a unit below one is giving the roles held there
-- =====================================================================================================

select tests.unit('annex', 'works');
select tests.grant_role('sid', 'works', 'tenant_admin', 'annex');
select is(tests.try(who, format('update lms.org_units set parent_id = %s where id = %L', coalesce(quote_literal(tests.id(below)), 'null'), tests.id(unit))), expected, format('%s moves %s below %s: %s', who, unit, below, expected))
from (values
  ('clerk reporting dock', 'south', 'dock', '403 role_not_grantable'), ('clerk everywhere', 'south', 'dock', '403 role_not_grantable'),
  ('clerk reporting dock', 'south', 'bay', '403 role_not_grantable'), ('boss', 'south', 'dock', '1'),
  ('hanna', 'south', 'annex', '403 role_not_grantable'), ('boss', 'south', 'annex', '1'),
  ('clerk everywhere', 'dock', null, '1'), ('marco', 'bay', 'north', '1'), ('clerk everywhere', 'bay', 'north', '1')
) as cases (who, unit, below, expected);
delete from lms.role_grants where unit_id = tests.id('annex');

-- =====================================================================================================
-- Suspending, ending, moving, deleting people with rights
-- =====================================================================================================

select tests.member('mid', 'works', 'unit_manager', 'dock', 'dock'), tests.member('high', 'works', 'unit_manager', 'dock', 'north'), tests.member('stray', 'works', 'tenant_admin', 'bay');
create function tests.membership_change(name text, change text) returns text language sql as $$
  select format('update lms.memberships set %s where id = %L', change, tests.id(name || ' in works'))
$$;
select is(tests.try(who, tests.membership_change(whose, change)), expected, format('%s sets %s of %s: %s', who, change, whose, expected))
from (
  values
    ('boss', 'second', '1'), ('chief everywhere', 'boss', '1'), ('hanna', 'boss', '42501'), ('hanna', 'ines', '1'), ('hanna', 'chief everywhere', '42501'),
    ('clerk everywhere', 'hanna', '1'), ('clerk everywhere', 'designer', '42501'), ('marco', 'mid', '1'), ('marco', 'high', '1'), ('marco', 'stray', '42501'),
    ('mid', 'high', '42501'), ('mid', 'mid', '1'), ('mid', 'dora', '1'), ('lead dock', 'clerk designer', '42501'), ('chief north', 'designer', '42501'),
    ('marco', 'sid', '0'), ('dora', 'lou', '0'), ('designer', 'dora', '0'), ('petra', 'dora', '0')
) as people (who, whose, expected)
cross join unnest(array['status = ''suspended''', 'status = ''ended''', format('unit_id = %L', tests.id('bay'))]) as change
-- Nobody is moved out of or into what is not the manager's, and to where they are already nothing is moved.
where not (change like 'unit_id%' and whose in ('stray'));

select is(tests.try(who, format('delete from lms.memberships where id = %L', tests.id(whose || ' in works'))), expected, format('%s deletes the membership of %s: %s', who, whose, expected))
from (values
  ('boss', 'lou', '1'), ('chief everywhere', 'lou', '1'), ('boss', 'dora', '23503 enrollment_is_of_a_member'), ('boss', 'second', '1'),
  ('designer', 'lou', '42501'), ('hanna', 'lou', '0'), ('marco', 'dora', '0'), ('chief north', 'dora', '0'), ('petra', 'lou', '0'), ('lou', 'lou', '0'), ('dora', 'lou', '0'),
  ('clerk designer', 'boss', '1'), ('service', 'lou', '1')
) as cases (who, whose, expected);
select tests.as('boss');
delete from lms.memberships where id = tests.id('mid in works');
select tests.as_owner();
select is((select count(*) from lms.role_grants where membership_id = tests.id('mid in works')), 0::bigint, 'with a membership go its roles');

-- =====================================================================================================
-- Ending and coming back
-- =====================================================================================================

create function tests.ending(name text) returns text language sql stable as $$
  select format('%s by %s, %s roles', m.status, coalesce((select p.first_name from public.profiles p where p.id = m.ended_by), 'nobody'), (select count(*) from lms.role_grants g where g.membership_id = m.id))
  from lms.memberships m where m.id = tests.id(name || ' in works')
$$;

savepoint coming_back;
select tests.as('ines');
select is((lms.leave_tenant(tests.id('works'))).status, 'ended', 'people leave');
select tests.as_owner();
select is(tests.ending('ines'), 'ended by Ines, 0 roles', 'who leaves has ended it themselves, and holds no role any more');
select is(tests.try(who, tests.membership_change('ines', change)), expected, format('%s on somebody who left: %s: %s', who, change, expected))
from (values
  ('hanna', 'status = ''active''', '409 left_by_choice'), ('boss', 'status = ''active''', '409 left_by_choice'), ('boss', 'status = ''suspended''', '409 left_by_choice'),
  ('service', 'status = ''active''', '1'), ('hanna', 'status = ''ended''', '1'), ('ines', 'status = ''active''', '0')
) as cases (who, change, expected);
select tests.as('hanna');
update lms.memberships set status = 'ended', job_title = 'Gone' where id = tests.id('ines in works');
select tests.as_owner();
select is(tests.ending('ines'), 'ended by Ines, 0 roles', 'ending again what has ended does not make it somebody else''s doing');
select is(tests.try('hanna', tests.membership_change('ines', 'status = ''active''')), '409 left_by_choice', '... and so does not open a way to fetch people back');
select is(tests.try('ines', format('select lms.leave_tenant(%L)', tests.id('works'))), '404 tenant_not_found', 'nobody leaves twice');

select tests.as('hanna');
update lms.memberships set status = 'ended' where id in (tests.id('marco in works'), tests.id('lou in works'));
select tests.as_owner();
select is(tests.ending('marco'), 'ended by Hanna, 0 roles', 'who is removed was removed by somebody, and their roles went');
select tests.as('hanna');
update lms.memberships set status = 'active' where id = tests.id('marco in works');
select tests.as_owner();
select is(tests.ending('marco'), 'active by nobody, 0 roles', 'who was removed can be restored, as a plain member');
select is(tests.try('marco', 'update lms.memberships set job_title = ''x'''), '0', '... with none of the old rights');
select is(
  tests.try('boss', format('insert into lms.role_grants (tenant_id, membership_id, role_id) values (%L, %L, %L)', tests.id('works'), tests.id('lou in works'), tests.role_id('works', 'learner'))),
  '409 membership_ended', 'an ended membership receives no roles'
);
select is(
  tests.try('service', format('update lms.role_grants set membership_id = %L where membership_id = %L', tests.id('lou in works'), tests.id('audrey in works'))),
  '409 membership_ended', '... not even by handing one over'
);
select is(
  tests.try(who, format('insert into lms.role_grants (tenant_id, membership_id, role_id) values (%L, %L, %L)', tests.id('works'), membership, tests.role_id('works', 'learner'))),
  '403 role_not_grantable', format('%s does not learn whether a membership exists or has ended', who)
)
from unnest(array['petra', 'dora', 'noah']) as who, unnest(array[tests.id('lou in works'), tests.id('sid in works'), tests.id('nowhere')]) as membership;
select is(tests.try('noah', format('select lms.leave_tenant(%L)', tests.id('works'))), '404 tenant_not_found', 'who does not belong cannot leave');
rollback to coming_back;

-- =====================================================================================================
-- INV-T3, its second half: the last administrator stays, by every route that clients have
-- =====================================================================================================

savepoint one_administrator;
update lms.memberships set status = 'ended' where id in (tests.id('second in works'), tests.id('stray in works'));
create table tests.routes as
select * from (values
  ('leaving', format('select lms.leave_tenant(%L)', tests.id('works'))),
  ('suspending oneself', tests.membership_change('boss', 'status = ''suspended''')),
  ('ending oneself', tests.membership_change('boss', 'status = ''ended''')),
  ('deleting the own membership', format('delete from lms.memberships where id = %L', tests.id('boss in works'))),
  ('deleting the own grant', format('delete from lms.role_grants where membership_id = %L', tests.id('boss in works'))),
  ('taking another role instead', format('update lms.role_grants set role_id = %L where membership_id = %L', tests.role_id('works', 'learner'), tests.id('boss in works'))),
  ('narrowing the own grant', format('update lms.role_grants set unit_id = %L where membership_id = %L', tests.id('north'), tests.id('boss in works')))
) as routes (what, statement);
select is(tests.try('boss', statement), '409 last_administrator', 'INV-T3: the last administrator stays: ' || what) from tests.routes;
select is(tests.try('service', statement), '409 last_administrator', 'INV-T3: ... whoever asks: ' || what) from tests.routes where what <> 'leaving';
select is(tests.try('clerk designer', format('delete from lms.memberships where id = %L', tests.id('boss in works'))), '409 last_administrator', 'INV-T3: ... another with the right to define roles does not remove them');
select tests.as('boss');
select is(
  (select array_agg(format('%s %s', r.action, r.code)) from unnest(lms.import_people(tests.id('works'), '[{"email": "boss@example.com", "status": "ended"}, {"email": "boss@example.com", "status": "suspended"}]')) as r),
  '{"failed last_administrator","failed named_twice"}', 'INV-T3: ... nor does an import'
);
select tests.as_owner();
update lms.memberships set status = 'active' where id = tests.id('stray in works');
select tests.grant_role('stray', 'works', 'tenant_admin', 'north');
select is(tests.try('boss', statement), '409 last_administrator', 'INV-T3: an administrator of a unit does not stand in: ' || what) from tests.routes;
select tests.grant_role('stray', 'works', 'tenant_admin');
select is(tests.try('boss', statement), '1', 'INV-T3: with another one in office it works: ' || what) from tests.routes where what <> 'deleting the own grant' and what <> 'narrowing the own grant';
rollback to one_administrator;

-- =====================================================================================================
-- Adding people by their id: only whom one looks after already
-- =====================================================================================================

select tests.member('both', 'works', 'tenant_admin'), tests.member('cleo', 'works');
insert into lms.memberships (id, tenant_id, user_id) values (tests.id('both in press'), tests.id('press'), tests.id('both'));
select tests.grant_role('both', 'press', 'tenant_admin');
select tests.person('gus');
insert into lms.memberships (id, tenant_id, user_id, is_guest) values (tests.id('gus in works'), tests.id('works'), tests.id('gus'), true);
update lms.memberships set status = 'suspended' where id = tests.id('sid in works');
update lms.memberships set status = 'ended' where id = tests.id('lou in works');
update lms.org_units set archived_at = now() where id = tests.id('desk');

select is(
  tests.try(who, format('insert into lms.memberships (tenant_id, user_id, unit_id) values (%L, %L, %L)', tests.id(tenant), tests.id(whom), case when unit is not null then tests.id(unit) end)),
  expected, format('%s adds %s to %s: %s', who, whom, tenant, expected)
)
from (values
  ('both', 'cleo', 'press', null, '1'), ('both', 'sid', 'press', null, '1'), ('both', 'lou', 'press', null, '404 person_not_found'),
  ('both', 'gus', 'press', null, '404 person_not_found'), ('both', 'noah', 'press', null, '404 person_not_found'), ('both', 'nobody at all', 'press', null, '404 person_not_found'),
  ('both', 'cleo', 'works', null, '23505 one_membership_per_tenant_and_person'), ('both', 'cleo', 'press', 'desk', '409 unit_archived'),
  ('both', 'cleo', 'press', 'dock', '23503 membership_unit_is_of_the_same_tenant'),
  ('boss', 'paul', 'works', null, '404 person_not_found'), ('boss', 'cleo', 'press', null, '404 person_not_found'), ('hanna', 'noah', 'works', null, '404 person_not_found'),
  ('marco', 'paul', 'works', 'dock', '404 person_not_found'), ('petra', 'cleo', 'press', null, '404 person_not_found'), ('dora', 'dora', 'press', null, '404 person_not_found'),
  ('noah', 'noah', 'works', null, '404 person_not_found'), ('service', 'noah', 'works', null, '1')
) as cases (who, whom, tenant, unit, expected);
select is(tests.try('both', format('insert into lms.memberships (tenant_id, user_id, %s) values (%L, %L, %s)', c, tests.id('press'), tests.id('cleo'), v)), '42501', 'nobody who adds people sets ' || c)
from (values ('is_guest', 'false'), ('status', '''active'''), ('joined_at', 'now()'), ('ended_by', 'null')) as columns (c, v);

-- Whom one looked after until now is nobody whom one looks after.
savepoint still_known;
update lms.memberships set status = 'suspended' where id = tests.id('both in works');
select is(tests.try('both', format('insert into lms.memberships (tenant_id, user_id) values (%L, %L)', tests.id('press'), tests.id('cleo'))), '404 person_not_found', 'suspended there, nobody is taken along from there');
rollback to still_known;
update lms.tenants set is_active = false where id = tests.id('works');
select is(tests.try('both', format('insert into lms.memberships (tenant_id, user_id) values (%L, %L)', tests.id('press'), tests.id('cleo'))), '404 person_not_found', 'nor from a tenant that is closed');
rollback to still_known;

-- Of a manager, the people in the own unit are known, and no others.
select tests.member('mona', 'works', 'unit_manager', 'north', 'north');
insert into lms.memberships (id, tenant_id, user_id) values (tests.id('mona in press'), tests.id('press'), tests.id('mona'));
select tests.grant_role('mona', 'press', 'tenant_admin');
select is(tests.try('mona', format('insert into lms.memberships (tenant_id, user_id) values (%L, %L)', tests.id('press'), tests.id(whom))), expected, format('a manager of a unit adds %s elsewhere: %s', whom, expected))
from (values ('dora', '1'), ('sid', '404 person_not_found'), ('cleo', '404 person_not_found')) as cases (whom, expected);

-- =====================================================================================================
-- Archived units
-- =====================================================================================================

update lms.org_units set archived_at = now() where id = tests.id('bay');
select is(tests.try(who, tests.membership_change(whose, change)), expected, format('archived unit: %s sets %s of %s: %s', who, change, whose, expected))
from (values
  ('hanna', 'dora', format('unit_id = %L', tests.id('bay')), '409 unit_archived'), ('service', 'dora', format('unit_id = %L', tests.id('bay')), '409 unit_archived'),
  ('hanna', 'stray', 'job_title = ''Last one''', '1'), ('boss', 'stray', format('unit_id = %L', tests.id('south')), '1'), ('boss', 'stray', format('unit_id = %L, job_title = ''x''', tests.id('bay')), '1'),
  -- Whether it is archived is nothing that another tenant's administrator learns.
  ('hanna', 'dora', format('unit_id = %L', tests.id('desk')), '23503 membership_unit_is_of_the_same_tenant')
) as cases (who, whose, change, expected);

-- =====================================================================================================
-- Guests: they came by an open public course, and see nothing else
-- =====================================================================================================

delete from lms.memberships where id = tests.id('gus in works');
select tests.as('gus');
select lms.enroll(tests.id('fair'));
select tests.as_owner();
select is((select format('%s %s', m.status, m.is_guest) from lms.memberships m where m.user_id = tests.id('gus')), 'active t', 'who enrols in an open public course becomes a guest');
select is(tests.sees_as('gus', relation), expected, format('a guest sees of %s: %s', relation, expected))
from (values
  ('lms.tenants', '0'), ('lms.org_units', '0'), ('lms.roles', '0'), ('lms.role_permissions', '0'), ('lms.assignable_roles', '0'), ('lms.memberships', '1'),
  ('lms.role_grants', '0'), ('lms.courses', '1'), ('lms.modules', '1'), ('lms.lessons', '2'), ('lms.lesson_blocks', '0'), ('lms.enrollments', '1'), ('lms.lesson_progress', '0'),
  ('lms.invitations', '0'), ('lms.cohorts', '0'), ('lms.cohort_members', '0'),
  -- Themselves, and who teaches the course.
  ('public.profiles', '2'), ('public.profile_private', '1'), ('lms.people', '2'), ('lms.course_staff', '1')
) as sights (relation, expected);
select is(tests.try('gus', statement), expected, format('a guest: %s', expected || ' ' || left(statement, 60)))
from (values
  (format('select lms.enroll(%L)', tests.id('safety')), '404 course_not_found'), (format('select lms.enroll(%L)', tests.id('secret')), '404 course_not_found'),
  (format('select lms.complete_lesson(%L)', tests.id('fair/1')), '1'), (format('select lms.get_lesson(%L)', tests.id('fair/1')), '1'), (format('select lms.get_lesson(%L)', tests.id('safety/1')), '404 lesson_not_found'),
  (format('select lms.invite(%L, %L)', tests.id('works'), 'friend@example.com'), '404 tenant_not_found'), ('update lms.memberships set is_guest = false', '0'),
  (format('select lms.leave_tenant(%L)', tests.id('works')), '1')
) as cases (statement, expected);
-- What staff assigns to a guest, they see as well: that, and no more.
select tests.enrollment('gus', 'secret');
select is(tests.sees_as('gus', 'lms.courses'), '2', 'a guest sees what staff enrolled them in');
select is(tests.sees_as('gus', 'lms.tenants') || tests.sees_as('gus', 'lms.courses', format('id = %L', tests.id('safety'))), '00', '... and still nothing else');

savepoint guest;
select is(tests.try(who, format('update lms.memberships set is_guest = false where user_id = %L', tests.id('gus'))), expected, format('%s makes a guest a member: %s', who, expected))
from (values ('boss', '1'), ('hanna', '1'), ('marco', '0'), ('ines', '0'), ('audrey', '0'), ('petra', '0')) as cases (who, expected);
select tests.as('hanna');
update lms.memberships set is_guest = false where user_id = tests.id('gus');
select tests.as_owner();
select is(tests.sees_as('gus', 'lms.tenants') || tests.sees_as('gus', 'lms.courses', format('id = %L', tests.id('safety'))), '11', 'a guest made a member sees what members see');
select is(tests.try(who, format('update lms.memberships set is_guest = true where user_id = %L', tests.id(whose))), '409 member_is_no_guest', format('%s makes no guest of %s', who, whose))
from (values ('boss', 'dora'), ('hanna', 'gus'), ('service', 'dora'), ('boss', 'boss')) as cases (who, whose);
rollback to guest;
select tests.as('hanna');
insert into lms.role_grants (tenant_id, membership_id, role_id)
select m.tenant_id, m.id, tests.role_id('works', 'learner') from lms.memberships m where m.user_id = tests.id('gus');
select tests.as_owner();
select is((select m.is_guest from lms.memberships m where m.user_id = tests.id('gus')), false, 'who is given a role is no guest');
rollback to guest;
select tests.as('gus');
select lms.leave_tenant(tests.id('works'));
select tests.as_owner();
select is(tests.try('gus', format('select lms.enroll(%L)', tests.id('fair'))), '409 not_eligible', 'a guest who left does not come back by enrolling');

select * from finish();
rollback;
