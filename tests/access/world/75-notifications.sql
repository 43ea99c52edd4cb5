-- What people were told, what could not be delivered, webhooks, and what mails say.

-- What the rows above have told people has no canary.
delete from private.outbox;
delete from lms.notifications;

insert into lms.notifications (id, tenant_id, user_id, kind, course_id, params, dedupe_key)
select
  world.id('notifications.' || person), world.id('tenants.' || tenant), world.id('people.' || person), 'training_due',
  world.id('courses.' || course), jsonb_build_object('course', world.canary('notification-course.' || person)),
  world.canary('notification-key.' || person)
from (values
  ('learner', 'home', 'restricted'), ('colleague', 'home', 'restricted'), ('instructor', 'home', 'staffed'),
  ('unit_manager', 'home', 'restricted'), ('hr_admin', 'home', 'restricted'), ('tenant_admin', 'home', 'restricted'),
  ('auditor', 'home', 'restricted'), ('guest', 'home', 'public'), ('suspended', 'home', 'restricted'),
  ('ended', 'home', 'restricted'), ('neighbor', 'home', 'staffed'), ('abroad_learner', 'abroad', 'abroad_restricted'),
  ('outsider', 'abroad', 'abroad_restricted')
) as told (person, tenant, course);

insert into lms.message_templates (id, tenant_id, kind, language, subject, body)
select
  world.id('templates.' || tenant), world.id('tenants.' || tenant), 'training_due', 'en', world.canary('template-subject.' || tenant),
  world.canary('template-body.' || tenant)
from unnest(array['home', 'abroad']) as tenant;

insert into lms.webhooks (id, tenant_id, url, description, kinds)
select
  world.id('webhooks.' || tenant), world.id('tenants.' || tenant), 'https://' || world.canary('webhook.' || tenant) || '.test/',
  world.canary('webhook-description.' || tenant), '{training_due}'
from unnest(array['home', 'abroad']) as tenant;
insert into private.webhook_states (webhook_id, secret)
select w.id, private.new_webhook_secret() from lms.webhooks w;

insert into private.outbox (id, tenant_id, channel, kind, user_id, event_id, status, dead_at, attempts, last_error)
select
  world.id('deliveries.' || person), world.id('tenants.' || tenant), 'email', 'training_due', world.id('people.' || person),
  world.id('notifications.' || person), 'dead', now(), 12, 'smtp 550'
from (values ('learner', 'home'), ('abroad_learner', 'abroad')) as dead (person, tenant);
