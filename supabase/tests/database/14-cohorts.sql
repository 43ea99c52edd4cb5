begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press');
select tests.unit('north', 'works'), tests.unit('dock', 'works', 'north'), tests.unit('south', 'works'), tests.unit('desk', 'press');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'), tests.member('marco', 'works', 'unit_manager', 'north', 'north'),
  tests.member('ines', 'works', 'instructor'), tests.member('audrey', 'works', 'auditor'),
  tests.member('dora', 'works', 'learner', 'dock'), tests.member('drew', 'works', 'learner', 'dock'), tests.member('sid', 'works', 'learner', 'south'), tests.member('lou', 'works'),
  tests.member('petra', 'press', 'tenant_admin'), tests.member('paul', 'press', 'learner', 'desk');
select tests.person('noah'), tests.person('gus');
insert into lms.memberships (id, tenant_id, user_id, is_guest) values (tests.id('gus in works'), tests.id('works'), tests.id('gus'), true);

create function tests.cohort(name text, tenant text, unit text default null) returns uuid language sql as $$
  insert into lms.cohorts (id, tenant_id, unit_id, name) values (tests.id(name), tests.id(tenant), case when unit is not null then tests.id(unit) end, name) returning id
$$;
create function tests.joins(name text, cohort text) returns text language sql immutable as $$
  select format('insert into lms.cohort_members (cohort_id, user_id) values (%L, %L)', tests.id(cohort), tests.id(name))
$$;

select tests.cohort('apprentices', 'works'), tests.cohort('dockers', 'works', 'dock'), tests.cohort('southerners', 'works', 'south'), tests.cohort('editors', 'press');
insert into lms.cohort_members (cohort_id, user_id)
select tests.id(c), tests.id(n) from (values ('apprentices', 'dora'), ('apprentices', 'sid'), ('dockers', 'dora'), ('dockers', 'drew'), ('southerners', 'sid'), ('editors', 'paul')) as m (c, n);
select is((select count(*) from lms.cohort_members where tenant_id = tests.id('works')), 5::bigint, 'a place in a cohort is of the tenant of the cohort');

-- =====================================================================================================
-- Who sees what
-- =====================================================================================================

select is((tests.sees_as(who, 'lms.cohorts'), tests.sees_as(who, 'lms.cohort_members'), tests.sees_as(who, 'public.profiles'))::text, (cohorts, places, people)::text, format('%s sees so many cohorts, places in them, people', who))
from (values
  ('boss', 3, 5, 10), ('hanna', 3, 5, 10), ('marco', 1, 2, 3), ('ines', 0, 0, 1), ('audrey', 0, 0, 1), ('dora', 2, 4, 3), ('drew', 1, 2, 2), ('sid', 2, 3, 2), ('lou', 0, 0, 1),
  ('gus', 0, 0, 1), ('noah', 0, 0, 1), ('petra', 1, 1, 2), ('paul', 1, 1, 1)
) as sights (who, cohorts, places, people);
select is(tests.sees_as('dora', 'lms.people', format('id in (%L, %L)', tests.id('sid'), tests.id('drew'))), '2', 'fellows see each other''s names');
select is(tests.sees_as('dora', 'public.profile_private'), '1', '... and nothing private');
select is(tests.sees_as('dora', 'lms.memberships') || tests.sees_as('dora', 'lms.enrollments'), '10', '... and neither memberships nor enrolments');
select is(tests.sees_as('anonymous', relation), '42501', 'anonymous callers see no ' || relation) from unnest(array['lms.cohorts', 'lms.cohort_members']) as relation;

-- =====================================================================================================
-- Who makes, changes and fills them
-- =====================================================================================================

select is(tests.try(who, statement), expected, format('%s: %s: %s', who, what, expected))
from (values
  ('boss', 'a cohort for everybody', format('insert into lms.cohorts (tenant_id, name) values (%L, ''New'')', tests.id('works')), '1'),
  ('hanna', 'a cohort of a unit', format('insert into lms.cohorts (tenant_id, unit_id, name) values (%L, %L, ''New'')', tests.id('works'), tests.id('south')), '1'),
  ('marco', 'a cohort of the own unit', format('insert into lms.cohorts (tenant_id, unit_id, name) values (%L, %L, ''New'')', tests.id('works'), tests.id('dock')), '1'),
  ('marco', 'a cohort of another unit', format('insert into lms.cohorts (tenant_id, unit_id, name) values (%L, %L, ''New'')', tests.id('works'), tests.id('south')), '42501'),
  ('marco', 'a cohort for everybody', format('insert into lms.cohorts (tenant_id, name) values (%L, ''New'')', tests.id('works')), '42501'),
  ('marco', 'a cohort of another tenant with the own unit', format('insert into lms.cohorts (tenant_id, unit_id, name) values (%L, %L, ''New'')', tests.id('press'), tests.id('dock')), '23503 cohort_unit_is_of_the_same_tenant'),
  ('boss', 'a cohort of another tenant', format('insert into lms.cohorts (tenant_id, name) values (%L, ''New'')', tests.id('press')), '42501'),
  ('boss', 'a cohort with a unit of another tenant', format('insert into lms.cohorts (tenant_id, unit_id, name) values (%L, %L, ''New'')', tests.id('works'), tests.id('desk')), '23503 cohort_unit_is_of_the_same_tenant'),
  ('boss', 'the same name again', format('insert into lms.cohorts (tenant_id, name) values (%L, ''apprentices'')', tests.id('works')), '23505 cohort_name_is_taken'),
  ('boss', 'it ends before it begins', format('insert into lms.cohorts (tenant_id, name, starts_on, ends_on) values (%L, ''New'', ''2026-02-01'', ''2026-01-31'')', tests.id('works')), '23514 cohort_ends_after_it_starts'),
  ('dora', 'a cohort', format('insert into lms.cohorts (tenant_id, name) values (%L, ''New'')', tests.id('works')), '42501'),
  ('ines', 'a cohort', format('insert into lms.cohorts (tenant_id, name) values (%L, ''New'')', tests.id('works')), '42501'),
  ('audrey', 'a cohort', format('insert into lms.cohorts (tenant_id, name) values (%L, ''New'')', tests.id('works')), '42501'),

  ('boss', 'renames all', 'update lms.cohorts set name = name || ''!''', '3'), ('marco', 'renames all', 'update lms.cohorts set name = name || ''!''', '1'),
  ('dora', 'renames all', 'update lms.cohorts set name = name || ''!''', '0'), ('audrey', 'renames all', 'update lms.cohorts set name = name || ''!''', '0'),
  ('marco', 'moves one out of the scope', format('update lms.cohorts set unit_id = %L', tests.id('south')), '42501'), ('marco', 'makes one everybody''s', 'update lms.cohorts set unit_id = null', '42501'),
  ('marco', 'moves one within the scope', format('update lms.cohorts set unit_id = %L', tests.id('north')), '1'), ('marco', 'archives one', 'update lms.cohorts set archived_at = now()', '1'),
  ('marco', 'takes one in', format('update lms.cohorts set unit_id = %L where id = %L', tests.id('dock'), tests.id('southerners')), '0'),
  ('boss', 'hands one to another tenant', format('update lms.cohorts set tenant_id = %L', tests.id('press')), '42501'),
  ('boss', 'deletes all', 'delete from lms.cohorts', '3'), ('marco', 'deletes all', 'delete from lms.cohorts', '1'), ('dora', 'deletes all', 'delete from lms.cohorts', '0'), ('ines', 'deletes all', 'delete from lms.cohorts', '0'),

  ('marco', 'adds somebody in scope', tests.joins('marco', 'dockers'), '1'), ('marco', 'adds somebody out of scope', tests.joins('sid', 'dockers'), '42501'), ('marco', 'adds somebody of no unit', tests.joins('lou', 'dockers'), '42501'),
  ('marco', 'adds to a cohort out of scope', tests.joins('drew', 'southerners'), '42501'), ('marco', 'adds to a cohort of the tenant', tests.joins('drew', 'apprentices'), '42501'),
  ('hanna', 'adds anybody to anything', tests.joins('sid', 'dockers'), '1'), ('hanna', 'adds a guest', tests.joins('gus', 'apprentices'), '1'), ('hanna', 'adds somebody twice', tests.joins('dora', 'dockers'), '23505 cohort_members_pkey'),
  ('boss', 'adds a stranger', tests.joins('noah', 'dockers'), '42501'), ('boss', 'adds somebody of another tenant', tests.joins('paul', 'dockers'), '42501'), ('boss', 'adds nobody', tests.joins('nobody', 'dockers'), '42501'),
  ('boss', 'adds to a cohort of another tenant', tests.joins('dora', 'editors'), '42501'), ('boss', 'adds to no cohort', tests.joins('dora', 'nothing'), '42501'), ('petra', 'adds to a cohort of another tenant', tests.joins('paul', 'dockers'), '42501'),
  ('dora', 'adds herself', tests.joins('dora', 'southerners'), '42501'), ('drew', 'adds themselves', tests.joins('drew', 'apprentices'), '42501'), ('ines', 'adds somebody', tests.joins('lou', 'apprentices'), '42501'),
  ('boss', 'says which tenant', format('insert into lms.cohort_members (tenant_id, cohort_id, user_id) values (%L, %L, %L)', tests.id('works'), tests.id('dockers'), tests.id('sid')), '42501'),
  ('boss', 'puts somebody else in the place', format('update lms.cohort_members set user_id = %L', tests.id('lou')), '42501'),
  ('hanna', 'takes all out', 'delete from lms.cohort_members', '5'), ('marco', 'takes all out', 'delete from lms.cohort_members', '2'), ('dora', 'takes herself out', format('delete from lms.cohort_members where user_id = %L', tests.id('dora')), '0'), ('audrey', 'takes all out', 'delete from lms.cohort_members', '0'),
  ('service', 'adds somebody of another tenant', tests.joins('paul', 'dockers'), '23503 cohort_member_is_a_member'), ('service', 'adds to no cohort', tests.joins('dora', 'nothing'), '23503 cohort_member_is_of_the_same_tenant')
) as cases (who, what, statement, expected);

-- To write takes seeing whom: who may only write sees nobody to add.
select tests.custom_role('works', 'writer', '{members.write}'), tests.member('wim', 'works', 'writer');
select is(tests.try('wim', tests.joins('lou', 'apprentices')), '42501', 'whoever does not see people does not add them');

-- =====================================================================================================
-- Suspended, ended, gone
-- =====================================================================================================

savepoint together;
update lms.memberships set status = 'suspended' where id = tests.id('dora in works');
select is(tests.sees_as('dora', 'lms.cohorts') || tests.sees_as('dora', 'lms.cohort_members') || tests.sees_as('dora', 'public.profiles'), '001', 'INV-T4: suspended, a person sees no cohort and no fellow');
select is(tests.sees_as('drew', 'lms.cohort_members'), '2', '... and keeps the place in it');
update lms.memberships set status = 'ended' where id = tests.id('dora in works');
select is(tests.sees_as('dora', 'lms.cohorts') || tests.sees_as('dora', 'lms.cohort_members') || tests.sees_as('dora', 'public.profiles'), '001', 'who left sees no cohort and no fellow');
select is(tests.sees_as('drew', 'lms.cohort_members') || tests.sees_as('drew', 'public.profiles'), '11', '... and is not seen by them any more');
select is(tests.try('hanna', tests.joins('dora', 'dockers')), '42501', '... nor added again');
update lms.memberships set status = 'active' where id = tests.id('dora in works');
select is(tests.sees_as('dora', 'lms.cohort_members'), '0', 'who comes back is in no cohort');
rollback to together;
update lms.tenants set is_active = false where id = tests.id('works');
select is(tests.sees_as(who, 'lms.cohorts') || tests.sees_as(who, 'lms.cohort_members'), '00', format('when the tenant is closed, %s sees no cohort', who)) from unnest(array['boss', 'marco', 'dora']) as who;
rollback to together;
delete from lms.cohorts where id = tests.id('dockers');
select is((select count(*) from lms.cohort_members where cohort_id = tests.id('dockers')), 0::bigint, 'with a cohort go the places in it');

-- A cohort of a unit that is gone belongs to the whole tenant.
select tests.unit('short lived', 'works');
select tests.cohort('pop-up', 'works', 'short lived');
delete from lms.org_units where id = tests.id('short lived');
select is((select unit_id from lms.cohorts where id = tests.id('pop-up')), null, 'a cohort outlives its unit');

select * from finish();
rollback;
