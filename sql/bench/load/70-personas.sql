-- The people and courses that the benchmark asks for by name.

set client_min_messages = warning;

create table bench.persona (name text primary key, id uuid not null);

insert into bench.persona (name, id)
select 'tenant', t.id from bench.tenant t where t.is_home
union all
select 'hr_admin', p.id from bench.person p join bench.tenant t on t.t = p.t and t.is_home where p.rank = 2
union all
-- Manages the second unit, which has some, but not most, of the tenant's units below it.
select 'unit_manager', p.id from bench.person p join bench.tenant t on t.t = p.t and t.is_home where p.rank = 4 + t.courses / 10 + 2
union all
select 'unit', bench.id('unit', t.first_unit + 2) from bench.tenant t where t.is_home
union all
select p.part, p.id from bench.person p where p.part in ('learner_10', 'learner_10000')
union all
select 'course_' || c.lessons, c.id from bench.course c where c.is_special;

-- A typical learner: six courses, one of them under way, nothing else to their name.
insert into bench.persona (name, id)
select 'learner', p.id
from bench.person p
join bench.tenant t on t.t = p.t and t.is_home
join lms.memberships m on m.id = p.membership_id and m.status = 'active'
where p.part is null and p.rank > 100
order by
  abs(6 - (select count(*) from lms.enrollments e where e.user_id = p.id)),
  not exists (select from lms.enrollments e where e.user_id = p.id and e.status = 'in_progress'),
  p.n
limit 1;

insert into bench.persona (name, id)
select 'learner_course', e.course_id
from lms.enrollments e
join bench.persona p on p.name = 'learner' and p.id = e.user_id
join bench.course c on c.id = e.course_id
where e.status = 'in_progress'
order by abs(14 - c.lessons), e.id
limit 1;

insert into bench.persona (name, id)
select 'learner_enrollment', e.id
from lms.enrollments e
join bench.persona p on p.name = 'learner' and p.id = e.user_id
join bench.persona c on c.name = 'learner_course' and c.id = e.course_id
where e.status = 'in_progress';

-- The instructor of a course of middling length that many take.
insert into bench.persona (name, id)
select picked.name, picked.id
from (
  select c.id as course_id, c.instructor_id
  from bench.course c
  join bench.tenant t on t.t = c.t and t.is_home
  where not c.is_special
  order by (select count(*) from lms.enrollments e where e.course_id = c.id) < 100, abs(14 - c.visible_lessons), c.n
  limit 1
) chosen
cross join lateral (values ('instructor', chosen.instructor_id), ('instructor_course', chosen.course_id)) picked (name, id);

-- Loaded past the triggers: reports are made of the facts until somebody calls ops.rebuild_rollups().
insert into private.stale_reports (tenant_id) select t.id from bench.tenant t;
