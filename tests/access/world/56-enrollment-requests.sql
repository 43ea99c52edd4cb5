-- Requests to take a course: of everybody for the course that waits for another, and of some for what an instructor teaches.

insert into lms.enrollment_requests (id, tenant_id, course_id, user_id, unit_id, status, message, requested_at)
select
  world.id('requests.' || r.name), c.tenant_id, c.id, world.id('people.' || r.person),
  (select m.unit_id from lms.memberships m where m.tenant_id = c.tenant_id and m.user_id = world.id('people.' || r.person)),
  r.status, world.canary('request.' || r.name), now()
from (
  select name, 'waiting' as course, name as person, 'pending' as status
  from world.people
  where tenant = 'home' and name not in ('guest', 'deputy', 'chief', 'fellow')
  union all values
    ('guest', 'public', 'guest', 'waiting'), ('neighbor_staffed', 'staffed_draft', 'neighbor', 'waiting'),
    ('stranger', 'open', 'stranger', 'pending'),
    ('outsider', 'abroad_private', 'outsider', 'pending'), ('abroad_learner', 'abroad_public', 'abroad_learner', 'pending')
) as r (name, course, person, status)
join lms.courses c on c.id = world.id('courses.' || r.course);
