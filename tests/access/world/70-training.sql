-- Rules that ask for training, whom they are about, and who is excused.

insert into lms.assignment_rules (id, tenant_id, name, description, unit_id, job_title, status, activated_at, due_after_days)
select
  world.id('rules.' || name), world.id('tenants.' || tenant), world.canary('rule-name.' || name),
  world.canary('rule-description.' || name), case when unit <> '' then world.id('units.' || unit) end,
  world.canary('rule-job.' || name), status, case status when 'active' then now() end, 14
from (values
  ('line', 'home', 'line', 'active'), ('site', 'home', 'site', 'active'), ('unit_draft', 'home', 'plant', 'draft'),
  ('whole', 'home', '', 'draft'), ('abroad', 'abroad', 'abroad', 'active'), ('abroad_draft', 'abroad', '', 'draft')
) as rules (name, tenant, unit, status);

insert into lms.assignment_rule_courses (rule_id, course_id)
select world.id('rules.' || rule), world.id('courses.' || course)
from (values
  ('line', 'restricted'), ('site', 'staffed'), ('unit_draft', 'public'), ('whole', 'public'),
  ('abroad', 'abroad_restricted'), ('abroad_draft', 'abroad_restricted')
) as assigned (rule, course);

insert into lms.training_requirements (id, tenant_id, rule_id, course_id, user_id, since, due_at)
select
  world.id('requirements.' || person), world.id('tenants.' || tenant), world.id('rules.' || rule),
  world.id('courses.' || course), world.id('people.' || person), now(), now() + interval '14 days'
from (values
  ('learner', 'home', 'line', 'restricted'), ('colleague', 'home', 'line', 'restricted'),
  ('instructor', 'home', 'site', 'restricted'), ('neighbor', 'home', 'site', 'staffed'),
  ('suspended', 'home', 'site', 'restricted'), ('ended', 'home', 'site', 'restricted'),
  ('abroad_learner', 'abroad', 'abroad', 'abroad_restricted'), ('outsider', 'abroad', 'abroad', 'abroad_restricted')
) as required (person, tenant, rule, course);

insert into lms.training_waivers (id, tenant_id, user_id, course_id, reason)
select q_id, r.tenant_id, r.user_id, r.course_id, world.canary('waiver-reason.' || n.person)
from (values
  ('learner'), ('colleague'), ('instructor'), ('neighbor'), ('suspended'), ('ended'), ('abroad_learner'), ('outsider')
) as n (person)
join lms.training_requirements r on r.id = world.id('requirements.' || n.person)
cross join lateral (select world.id('waivers.' || n.person) as q_id) ids;
