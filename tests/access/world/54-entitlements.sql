-- Entitlements, one for everybody who belongs somewhere; but for those whose membership the matrix removes.

insert into billing.entitlements (id, tenant_id, user_id, course_id, source, valid_until, reason)
select
  world.id('entitlements.' || p.name), m.tenant_id, m.user_id, world.id(case p.tenant when 'home' then 'courses.open' else 'courses.abroad_public' end),
  'grant', now() + interval '1 year', world.canary('entitlement.' || p.name)
from world.people p
join lms.memberships m on m.id = world.id('memberships.' || p.name)
where p.tenant in ('home', 'abroad') and p.name not in ('deputy', 'chief', 'fellow', 'abroad_clerk');
