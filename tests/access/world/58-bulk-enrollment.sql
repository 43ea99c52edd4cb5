-- Enrolments that wait for the invited.

insert into lms.pending_enrollments (id, tenant_id, invitation_id, course_id, due_at)
select world.id('pending.' || p.name), c.tenant_id, world.id('invitations.' || p.invitation), c.id, now() + interval '90 days'
from (values
  ('unit', 'unit', 'restricted'), ('tenant', 'tenant', 'restricted'), ('staffed', 'tenant', 'staffed'),
  ('stranger', 'stranger', 'waiting'), ('foreign', 'foreign', 'abroad_restricted')
) as p (name, invitation, course)
join lms.courses c on c.id = world.id('courses.' || p.course);
