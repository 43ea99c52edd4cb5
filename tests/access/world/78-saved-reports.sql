-- Reports that people keep for themselves, and that they share.

insert into analytics.saved_reports (id, tenant_id, owner_id, name, report, parameters, is_shared, schedule)
select
  world.id('saved_reports.' || saved.name), world.id('tenants.' || tenant), world.id('people.' || person),
  world.canary('saved-report.' || saved.name), 'due-training',
  case when unit <> '' then jsonb_build_object('unit_id', world.id('units.' || unit)) else '{}' end, is_shared, 'weekly'
from (values
  ('learner', 'home', 'learner', '', false), ('colleague', 'home', 'colleague', '', false), ('instructor', 'home', 'instructor', '', false),
  ('unit_manager', 'home', 'unit_manager', 'plant', true), ('line', 'home', 'hr_admin', 'line', true), ('site', 'home', 'hr_admin', 'site', true),
  ('hr_admin', 'home', 'hr_admin', '', false), ('tenant_admin', 'home', 'tenant_admin', '', true), ('auditor', 'home', 'auditor', '', false),
  ('suspended', 'home', 'suspended', '', true), ('ended', 'home', 'ended', '', false), ('abroad_learner', 'abroad', 'abroad_learner', '', false),
  ('outsider', 'abroad', 'outsider', '', true)
) as saved (name, tenant, person, unit, is_shared);
