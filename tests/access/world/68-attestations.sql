-- Statements to be signed, and signatures of everybody about themselves.

insert into lms.attestation_statements (id, tenant_id, key, version, meaning, signer, language, body)
values
  (world.id('statements.oath'), world.id('tenants.home'), world.canary('statement-oath'), 1, 'completed', 'learner', 'en', world.canary('statement-body.oath')),
  (world.id('statements.training'), world.id('tenants.home'), world.canary('statement-training'), 1, 'trained', 'staff', 'en', world.canary('statement-body.training')),
  (world.id('statements.abroad'), world.id('tenants.abroad'), world.canary('statement-abroad'), 1, 'completed', 'learner', 'en', world.canary('statement-body.abroad'));

insert into lms.attestations (
  id, tenant_id, statement_id, enrollment_id, course_id, user_id, unit_id, signed_by, signed_at, reauthenticated_at, document
)
select
  world.id('attestations.' || n.name), e.tenant_id,
  case e.tenant_id when world.id('tenants.home') then world.id('statements.oath') else world.id('statements.abroad') end,
  e.id, e.course_id, e.user_id, e.unit_id, e.user_id, now(), now(),
  jsonb_build_object('note', world.canary('attestation.' || n.name))::text
from world.enrollments n
join lms.enrollments e on e.id = world.id('enrollments.' || n.name);
