-- Certificates, as if every cycle had been completed; one of them, a revoked one.

insert into lms.certificates (
  id, tenant_id, course_id, user_id, enrollment_id, unit_id, cycle, serial, code, holder_name, course_title, version_number,
  issue_reason, valid_from, revoked_at, revoked_reason
)
select
  world.id('certificates.' || n.name), e.tenant_id, e.course_id, e.user_id, e.id, e.unit_id, e.cycle,
  world.canary('certificate-serial.' || n.name), '0' || upper(left(md5('certificates.' || n.name), 25)),
  world.canary('certificate-holder.' || n.name), world.canary('certificate-title.' || n.name), 1,
  world.canary('certificate-reason.' || n.name), now(),
  case when n.name = 'neighbor' then now() end,
  case when n.name = 'neighbor' then world.canary('certificate-revoked.' || n.name) end
from world.enrollments n
join lms.enrollments e on e.id = world.id('enrollments.' || n.name)
where e.status <> 'completed';

-- The one that came with a completion.
insert into world.names (name, id)
select 'certificates.mover', c.id from lms.certificates c where c.enrollment_id = world.id('enrollments.mover');
