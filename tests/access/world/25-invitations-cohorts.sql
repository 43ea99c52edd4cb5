-- Invitations and cohorts.

insert into lms.invitations (
  id, tenant_id, email, role_id, unit_id, limited_to_unit, first_name, last_name, job_title, employee_number,
  invited_by, expires_at, revoked_at
)
select
  world.id('invitations.' || i.name), world.id('tenants.' || i.tenant),
  coalesce(nullif(i.email, ''), world.canary('invited.' || i.name)) || '@example.test',
  world.id(format('roles.%s.learner', i.tenant)), world.id('units.' || i.unit), true,
  world.canary('invited-first.' || i.name), world.canary('invited-last.' || i.name),
  world.canary('invited-job.' || i.name),
  world.canary('invited-number.' || i.name), world.id('people.' || i.inviter), now() + interval '7 days',
  case when i.name = 'revoked' then now() end
from (values
  ('unit', 'home', '', 'line', 'unit_manager'), ('tenant', 'home', '', 'site', 'hr_admin'),
  ('revoked', 'home', '', 'site', 'hr_admin'),
  ('stranger', 'home', 'canary-email-stranger', 'site', 'hr_admin'), ('foreign', 'abroad', '', 'abroad', 'outsider')
) as i (name, tenant, email, unit, inviter);

insert into private.invitation_tokens (invitation_id, token_hash)
select i.id, sha256(convert_to('token-' || n.name, 'UTF8'))
from lms.invitations i
join world.names n on n.id = i.id;

insert into lms.cohorts (id, tenant_id, unit_id, name, description)
select
  world.id('cohorts.' || name), world.id('tenants.' || tenant),
  case when unit <> '' then world.id('units.' || unit) end,
  world.canary('cohort-name.' || name), world.canary('cohort-description.' || name)
from (values
  ('line', 'home', 'line'), ('site', 'home', 'site'), ('tenant', 'home', ''), ('abroad', 'abroad', 'abroad')
) as cohorts (name, tenant, unit);

insert into lms.cohort_members (cohort_id, user_id)
select world.id('cohorts.' || cohort), world.id('people.' || person)
from (values
  ('line', 'learner'), ('line', 'fellow'), ('site', 'neighbor'),
  ('tenant', 'teacher'), ('tenant', 'suspended'), ('tenant', 'fellow'),
  ('abroad', 'abroad_learner')
) as members (cohort, person);
