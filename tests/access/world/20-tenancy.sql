-- Organisations, units, roles.

insert into lms.tenants (id, slug, name, domain, settings)
select
  world.id('tenants.' || name), world.canary('tenant-slug.' || name), world.canary('tenant-name.' || name),
  world.canary('tenant-domain.' || name) || '.test',
  jsonb_build_object('note', world.canary('tenant-settings.' || name))
from (values ('home'), ('abroad'), ('sister')) as tenants (name);

insert into lms.org_units (id, tenant_id, parent_id, name, code)
select
  world.id('units.' || name), world.id('tenants.' || tenant),
  case when parent <> '' then world.id('units.' || parent) end,
  world.canary('unit-name.' || name), world.canary('unit-code.' || name)
from (values
  -- The manager's unit, one below it, and one below it where nobody works; then two outside.
  ('plant', 'home', ''), ('line', 'home', 'plant'), ('empty_line', 'home', 'plant'),
  ('site', 'home', ''), ('depot', 'home', ''),
  ('abroad', 'abroad', ''), ('abroad_empty', 'abroad', ''), ('sister', 'sister', ''), ('sister_empty', 'sister', '')
) as units (name, tenant, parent);

-- The built-in roles came with the tenants, under ids of their own.
insert into world.names (name, id)
select format('roles.%s.%s', n.tenant, r.key), r.id
from lms.roles r
join (values ('home'), ('abroad'), ('sister')) as n (tenant) on r.tenant_id = world.id('tenants.' || n.tenant);

insert into lms.roles (id, tenant_id, key, name, description)
select
  world.id(format('roles.%s.%s', tenant, key)), world.id('tenants.' || tenant),
  translate(world.canary(format('role-key.%s.%s', tenant, key)), '-', '_'),
  world.canary(format('role-name.%s.%s', tenant, key)), world.canary(format('role-description.%s.%s', tenant, key))
from (values ('home', 'custom'), ('home', 'unused'), ('abroad', 'custom')) as roles (tenant, key);

insert into lms.role_permissions (tenant_id, role_id, permission)
select r.tenant_id, r.id, 'certificates.write'
from lms.roles r
where not r.is_builtin;

insert into lms.assignable_roles (tenant_id, role_id, assignable_role_id) values
  (world.id('tenants.home'), world.id('roles.home.custom'), world.id('roles.home.learner')),
  (world.id('tenants.abroad'), world.id('roles.abroad.custom'), world.id('roles.abroad.learner'));

insert into lms.memberships (id, tenant_id, user_id, unit_id, job_title, employee_number, is_guest)
select
  world.id('memberships.' || p.name), world.id('tenants.' || p.tenant), world.id('people.' || p.name),
  case when p.unit <> '' then world.id('units.' || p.unit) end, world.canary('job.' || p.name),
  world.canary('number.' || p.name), p.name = 'guest'
from world.people p
where p.tenant <> '';

insert into lms.role_grants (id, tenant_id, membership_id, role_id, unit_id)
select
  world.id('grants.' || p.name), world.id('tenants.' || p.tenant), world.id('memberships.' || p.name),
  world.id(format('roles.%s.%s', p.tenant, p.role)),
  case when p.role_unit <> '' then world.id('units.' || p.role_unit) end
from world.people p
where p.role <> '';

-- HR works for the sister organisation as well.
insert into lms.memberships (id, tenant_id, user_id, job_title, employee_number)
values (
  world.id('memberships.sister.hr_admin'), world.id('tenants.sister'), world.id('people.hr_admin'),
  world.canary('job.sister.hr_admin'), world.canary('number.sister.hr_admin')
);
insert into lms.role_grants (id, tenant_id, membership_id, role_id) values
  (
    world.id('grants.sister.hr_admin'), world.id('tenants.sister'), world.id('memberships.sister.hr_admin'),
    world.id('roles.sister.hr_admin')
  ),
  (world.id('grants.custom'), world.id('tenants.home'), world.id('memberships.fellow'), world.id('roles.home.custom'));
