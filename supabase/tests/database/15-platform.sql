begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press');
select tests.unit('north', 'works'), tests.unit('dock', 'works', 'north'), tests.unit('south', 'works');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'), tests.member('marco', 'works', 'unit_manager', 'north', 'north'),
  tests.member('ines', 'works', 'instructor'), tests.member('dora', 'works', 'learner', 'dock'), tests.member('petra', 'press', 'tenant_admin');
select tests.person('dev'), tests.person('noah'), tests.person('first'), tests.person('ghost');
select tests.confirm(n) from unnest(array['dev', 'noah', 'first']) as n;
insert into private.platform_admins (user_id) values (tests.id('dev'));
select tests.course('safety', 'works', 'ines'), tests.course('draft', 'works', 'ines', status => 'draft');
select tests.enrollment('dora', 'safety');

-- =====================================================================================================
-- Who administers the platform
-- =====================================================================================================

select is(tests.try(who, statement), expected, format('%s: %s: %s', who, left(statement, 45), expected))
from (values ('dev', '1', '42501'), ('service', '1', '42501'), ('boss', '42501', '42501'), ('hanna', '42501', '42501'), ('dora', '42501', '42501'), ('noah', '42501', '42501'), ('anonymous', '42501', '42501')) as people (who, called, written),
lateral (values
  ('select lms.create_tenant(''newco'', ''New'', ''first@example.com'')', called),
  (format('select lms.set_tenant_active(%L, false)', tests.id('works')), called),
  (format('select lms.set_tenant_active(%L, true)', tests.id('nowhere')), case called when '1' then '404 tenant_not_found' else called end),
  ('insert into lms.tenants (slug, name) values (''mine'', ''Mine'')', case who when 'service' then '1' else written end),
  ('delete from lms.tenants', case who when 'service' then '23503 membership_belongs_to_a_tenant' else written end),
  (format('insert into private.platform_admins (user_id) values (%L)', tests.id('noah')), written),
  ('select * from private.platform_admins', written), ('delete from private.platform_admins', written)
) as cases (statement, expected)
-- Which of its keys stops the service from deleting tenants is not what is tested.
where not (who = 'service' and statement like 'delete from lms.tenants');
select is(tests.try(who, 'select lms.get_tenants()'), expected, format('%s lists tenants: %s', who, expected))
from (values ('dev', '2'), ('service', '2'), ('boss', '42501'), ('dora', '42501'), ('noah', '42501'), ('anonymous', '42501')) as cases (who, expected);

-- =====================================================================================================
-- What they see: sizes, and nobody
-- =====================================================================================================

select tests.as('dev');
select set_eq(
  $$ select slug, name, is_active, active_members, published_courses from lms.get_tenants() $$, $$ values ('works', 'Works', true, 5::bigint, 1::bigint), ('press', 'Press', true, 1, 0) $$,
  'platform administrators see tenants and their sizes'
);
select set_eq(
  $$ select key from jsonb_object_keys((select to_jsonb(t) from lms.get_tenants(1) as t)) as key $$,
  array['tenant_id', 'slug', 'name', 'domain', 'time_zone', 'locale', 'is_active', 'active_members', 'published_courses', 'created_at'], '... and nothing else of them'
);
select is((select array_agg(slug) from lms.get_tenants(1)), '{press}', 'by slug, so many at a time');
select is((select array_agg(slug) from lms.get_tenants(1, 'press')), '{works}', '... and the next ones after the last slug');
select is((select array_agg(slug) from lms.get_tenants(1, 'works')), null, '... to the end');
select is(tests.error_of(format('select lms.get_tenants(%s)', n)), '422 invalid_limit', 'a limit of ' || n || ' is refused') from unnest(array['0', '-1', '501', 'null']) as n;
select tests.as_owner();
select is(tests.sees_as('dev', relation), expected, format('a platform administrator sees of %s: %s', relation, expected))
from (values
  ('lms.tenants', '0'), ('lms.org_units', '0'), ('lms.roles', '0'), ('lms.role_permissions', '0'), ('lms.assignable_roles', '0'), ('lms.memberships', '0'), ('lms.role_grants', '0'), ('lms.invitations', '0'), ('lms.cohorts', '0'),
  ('lms.cohort_members', '0'), ('lms.courses', '0'), ('lms.course_staff', '0'), ('lms.modules', '0'), ('lms.lessons', '0'), ('lms.lesson_blocks', '0'), ('lms.enrollments', '0'), ('lms.lesson_progress', '0'),
  ('public.profiles', '1'), ('public.profile_private', '1'), ('lms.people', '1')
) as sights (relation, expected);
select is(tests.try('dev', statement), expected, format('a platform administrator: %s: %s', left(statement, 60), expected))
from (values
  (format('insert into lms.role_grants (tenant_id, membership_id, role_id) values (%L, %L, %L)', tests.id('works'), tests.id('dora in works'), tests.role_id('works', 'tenant_admin')), '403 role_not_grantable'),
  (format('insert into lms.memberships (tenant_id, user_id) values (%L, %L)', tests.id('works'), tests.id('dev')), '404 person_not_found'),
  (format('select lms.invite(%L, ''dev@example.com'', ''tenant_admin'')', tests.id('works')), '404 tenant_not_found'),
  (format('select lms.import_people(%L, ''[]'')', tests.id('works')), '404 tenant_not_found'), ('update lms.tenants set name = ''x''', '0'),
  (format('select lms.leave_tenant(%L)', tests.id('works')), '404 tenant_not_found')
) as cases (statement, expected);

-- =====================================================================================================
-- Making and closing tenants
-- =====================================================================================================

select tests.as('dev');
select token as first_token, tenant_id as new_tenant from lms.create_tenant('newco', 'New Company', ' First@Example.com ', 'newco.example', 'Europe/Prague', 'cs') \gset
select is(tests.error_of('select lms.create_tenant(''newco'', ''Again'', ''first@example.com'')'), '23505 tenant_slug_is_taken', 'a slug is taken once');
select is(tests.error_of(format('select lms.create_tenant(%s)', arguments)), expected, format('a tenant of %s: %s', arguments, expected))
from (values
  ($$ 'No Slug', 'x', 'first@example.com' $$, '23514 slug_is_lower_case_words_joined_by_hyphens'), ($$ 'good', ' ', 'first@example.com' $$, '23514 title_is_one_to_300_characters'),
  ($$ 'good', 'x', 'nobody' $$, '23514 email_is_an_address_in_lower_case'), ($$ 'good', 'x', 'first@example.com', p_time_zone => 'Mars/Olympus' $$, '23514 time_zone_is_known'),
  ($$ 'good', 'x', 'first@example.com', p_domain => 'newco.example' $$, '23505 tenant_domain_is_taken')
) as cases (arguments, expected);
select tests.as_owner();
select is(
  (select format('%s %s %s %s', t.slug, t.time_zone, t.locale, (select count(*) from lms.roles r where r.tenant_id = t.id and r.is_builtin)) from lms.tenants t where t.id = :'new_tenant'),
  'newco Europe/Prague cs 6', 'a new tenant is as ordered, with its roles'
);
select is((select count(*) from lms.memberships where tenant_id = :'new_tenant'), 0::bigint, 'whoever makes a tenant is no member of it');
select is(tests.sees_as('dev', 'lms.tenants') || tests.sees_as('dev', 'lms.invitations'), '00', '... and sees nothing of it');
select is(tests.try('noah', format('select lms.accept_invitation(%L)', :'first_token')), '403 invitation_for_another_address', 'only the invited one becomes its administrator');
savepoint founding;
delete from private.platform_admins;
select is(tests.try('first', format('select lms.accept_invitation(%L)', :'first_token')), '409 invitation_void', 'an invitation is worth what its sender may: who is no platform administrator any more appoints nobody');
rollback to founding;
select tests.as('first');
select lms.accept_invitation(:'first_token');
select tests.as_owner();
select is(
  (select array_agg(format('%s %s %s', m.status, r.key, g.unit_id is null)) from lms.memberships m join lms.role_grants g on g.membership_id = m.id join lms.roles r on r.id = g.role_id where m.tenant_id = :'new_tenant'),
  '{"active tenant_admin t"}', 'the invited one is administrator of the whole tenant'
);
-- From then on the platform has no say in it.
select is(tests.try('dev', format('select private.issue_invitation(jsonb_populate_record(null::lms.invitations, %L))', jsonb_build_object('tenant_id', t.id, 'email', 'noah@example.com', 'role_id', r.id, 'limited_to_unit', false))), expected, format('a platform administrator appoints one for %s: %s', t.slug, expected))
from lms.tenants t join lms.roles r on r.tenant_id = t.id and r.key = 'tenant_admin', lateral (values ('403 role_not_grantable')) as e (expected);
-- Invited while the tenant had nobody, accepted after it had somebody.
select tests.as('dev');
select token as late_token, tenant_id as late_tenant from lms.create_tenant('late', 'Late', 'noah@example.com') \gset
select tests.as_owner();
insert into lms.memberships (id, tenant_id, user_id) values (tests.id('ghost in late'), :'late_tenant', tests.id('ghost'));
insert into lms.role_grants (tenant_id, membership_id, role_id) select :'late_tenant', tests.id('ghost in late'), r.id from lms.roles r where r.tenant_id = :'late_tenant' and r.key = 'tenant_admin';
select is(tests.try('noah', format('select lms.accept_invitation(%L)', :'late_token')), '409 invitation_void', 'once a tenant has an administrator, an invitation by the platform is void');

savepoint closing;
select tests.as('dev');
select is((lms.set_tenant_active(tests.id('works'), false)).is_active, false, 'platform administrators close tenants');
select is((lms.set_tenant_active(tests.id('works'), false)).is_active, false, '... which are then closed');
select is(tests.error_of(format('select lms.set_tenant_active(%L, null)', tests.id('works'))), '422 invalid_argument', '... or open, nothing else');
select tests.as_owner();
select is(tests.sees_as(who, 'lms.tenants') || tests.sees_as(who, 'lms.courses') || tests.sees_as(who, 'lms.enrollments'), '000', format('INV-T4: ... and %s sees nothing of it', who)) from unnest(array['boss', 'dora']) as who;
select tests.as('dev');
select is((lms.set_tenant_active(tests.id('works'), true)).is_active, true, '... and open them again');
select tests.as_owner();
select is(tests.sees_as('dora', 'lms.courses'), '1', '... to their members');
rollback to closing;

-- =====================================================================================================
-- What may I do where?
-- =====================================================================================================

create function tests.access(name text) returns jsonb language plpgsql as $$
declare v_access jsonb;
begin
  perform tests.be(name);
  v_access := to_jsonb(lms.get_my_access());
  perform tests.as_owner();
  return v_access;
end
$$;
insert into lms.memberships (id, tenant_id, user_id, is_guest) values (tests.id('dora in press'), tests.id('press'), tests.id('dora'), true);
select tests.grant_role('marco', 'works', 'instructor', 'dock'), tests.grant_role('marco', 'works', 'unit_manager', 'south');

select is(tests.access('noah'), jsonb_build_object('user_id', tests.id('noah'), 'is_platform_admin', false, 'tenants', '[]'::jsonb), 'somebody new may do nothing anywhere');
select is(tests.access('dev'), jsonb_build_object('user_id', tests.id('dev'), 'is_platform_admin', true, 'tenants', '[]'::jsonb), 'a platform administrator may do nothing in tenants');
select is(
  tests.access('dora'),
  jsonb_build_object('user_id', tests.id('dora'), 'is_platform_admin', false, 'tenants', jsonb_build_array(
    jsonb_build_object('tenant_id', tests.id('press'), 'slug', 'press', 'name', 'Press', 'time_zone', 'UTC', 'locale', 'en', 'membership_id', tests.id('dora in press'), 'unit_id', null, 'is_guest', true, 'roles', '[]'::jsonb, 'permissions', '[]'::jsonb, 'staffed_course_ids', '[]'::jsonb),
    jsonb_build_object('tenant_id', tests.id('works'), 'slug', 'works', 'name', 'Works', 'time_zone', 'UTC', 'locale', 'en', 'membership_id', tests.id('dora in works'), 'unit_id', tests.id('dock'), 'is_guest', false,
      'roles', jsonb_build_array(jsonb_build_object('key', 'learner', 'name', 'Learner', 'unit_id', null)), 'permissions', '[]'::jsonb, 'staffed_course_ids', '[]'::jsonb)
  )), 'a learner of one tenant and guest of another: exactly this'
);
select is(
  (select jsonb_agg(r ->> 'key' || ' ' || coalesce((select u.name from lms.org_units u where u.id = (r ->> 'unit_id')::uuid), '-')) from jsonb_array_elements(tests.access('marco') -> 'tenants' -> 0 -> 'roles') as r)::text,
  (select jsonb_agg(x order by k, u) from (values ('instructor', tests.id('dock'), 'instructor dock'), ('unit_manager', tests.id('north'), 'unit_manager north'), ('unit_manager', tests.id('south'), 'unit_manager south')) as e (k, u, x))::text,
  'a manager of two units who teaches in one: the roles with their scope'
);
select is(
  (select p from jsonb_array_elements(tests.access('marco') -> 'tenants' -> 0 -> 'permissions') as p where p ->> 'permission' = 'members.write'),
  jsonb_build_object('permission', 'members.write', 'is_tenant_wide', false, 'unit_ids', (select jsonb_agg(u order by u) from unnest(array[tests.id('north'), tests.id('south')]) as u)), '... the permissions with all units'
);
select set_eq(
  $$ select p ->> 'permission' from jsonb_array_elements(tests.access('marco') -> 'tenants' -> 0 -> 'permissions') as p $$,
  $$ select distinct b.permission from private.builtin_role_permissions b where b.key in ('unit_manager', 'instructor') $$, '... and no others'
);
select is(
  (select p from jsonb_array_elements(tests.access('boss') -> 'tenants' -> 0 -> 'permissions') as p where p ->> 'permission' = 'roles.write'),
  '{"permission": "roles.write", "is_tenant_wide": true, "unit_ids": []}', 'an administrator holds permissions everywhere'
);
select is(jsonb_array_length(tests.access('boss') -> 'tenants' -> 0 -> 'permissions'), (select count(*) from lms.permissions)::integer, '... all of them');
select is(tests.access('ines') -> 'tenants' -> 0 -> 'staffed_course_ids', (select jsonb_agg(c order by c) from unnest(array[tests.id('safety'), tests.id('draft')]) as c), 'an instructor is told the courses that they are staff of');

-- It says what the helpers of policies say.
create function tests.helper_says(who text, p text) returns text language plpgsql as $$
declare v_answer text;
begin
  perform tests.be(who);
  v_answer := format('%s %s', array(select private.tenants_where(p) order by 1), array(select private.tenants_partly_where(p) as t group by t order by 1));
  perform tests.as_owner();
  return v_answer;
end
$$;
select is_empty(
  $$
    select who, p.permission
    from unnest(array['boss', 'hanna', 'marco', 'ines', 'dora', 'petra', 'noah', 'dev']) as who, lms.permissions p,
      lateral (select tests.access(who) as a) as x
    where tests.helper_says(who, p.permission) <> format('%s %s',
      array(select (t ->> 'tenant_id')::uuid from jsonb_array_elements(a -> 'tenants') as t, jsonb_array_elements(t -> 'permissions') as h where h ->> 'permission' = p.permission and (h ->> 'is_tenant_wide')::boolean order by 1),
      array(select (t ->> 'tenant_id')::uuid from jsonb_array_elements(a -> 'tenants') as t, jsonb_array_elements(t -> 'permissions') as h where h ->> 'permission' = p.permission order by 1))
  $$,
  'what a client is told is what policies decide by'
);

update lms.memberships set status = 'suspended' where id = tests.id('marco in works');
update lms.memberships set status = 'ended' where id = tests.id('ines in works');
select is(tests.access(who) -> 'tenants', '[]', format('%s, who is not active, may do nothing', who)) from unnest(array['marco', 'ines']) as who;
update lms.tenants set is_active = false where id = tests.id('works');
select is(tests.access('boss') -> 'tenants', '[]', 'in a closed tenant nobody may do anything');
select tests.as_anonymous();
select is(tests.error_of('select lms.get_my_access()'), '42501', 'anonymous callers are not asked');
select set_config('role', 'authenticated', true), set_config('request.jwt.claims', '{"role": "authenticated"}', true);
select is(to_jsonb(lms.get_my_access()), '{"user_id": null, "is_platform_admin": false, "tenants": []}', 'a token without a subject may do nothing');
select is(tests.error_of(statement), '42501', 'a token without a subject: ' || left(statement, 40))
from unnest(array['select lms.get_tenants()', 'select lms.create_tenant(''a'', ''b'', ''c@example.com'')', format('select lms.set_tenant_active(%L, false)', tests.id('press'))]) as statement;
select tests.as_owner();

select * from finish();
rollback;
