-- The demo: a manufacturer with six plants and a HazMat course, and a publisher with a public course.
-- Everything in it is invented. Every person signs in with the password `lyceum-demo`.
-- Runs once, in an empty database, as `postgres`; dates are relative to the day it is loaded.

begin;

-- =====================================================================================================
-- People
-- =====================================================================================================

create temporary table demo_people (
  id uuid, email text, first_name text, last_name text, tenant text, unit text, role text, job_title text,
  employee_number text
) on commit drop;

insert into demo_people values
  ('d0000000-0000-4000-8000-000000000001', 'ada@ironworks.example',    'Ada',    'Brandt',    'ironworks', null,          'tenant_admin', 'Head of training',      'IW-0001'),
  ('d0000000-0000-4000-8000-000000000002', 'hanna@ironworks.example',  'Hanna',  'Okafor',    'ironworks', null,          'hr_admin',     'HR partner',            'IW-0002'),
  ('d0000000-0000-4000-8000-000000000003', 'marco@ironworks.example',  'Marco',  'Silva',     'ironworks', 'Millbrook',   'unit_manager', 'Plant manager',         'IW-0003'),
  ('d0000000-0000-4000-8000-000000000004', 'ines@ironworks.example',   'Ines',   'Lindqvist', 'ironworks', 'Harbor City', 'instructor',   'Safety trainer',        'IW-0004'),
  ('d0000000-0000-4000-8000-000000000005', 'audrey@ironworks.example', 'Audrey', 'Chen',      'ironworks', null,          'auditor',      'External auditor',      'IW-0005'),
  ('d0000000-0000-4000-8000-000000000006', 'lena@ironworks.example',   'Lena',   'Fischer',   'ironworks', 'Millbrook',   'learner',      'Forklift operator',     'IW-0101'),
  ('d0000000-0000-4000-8000-000000000007', 'noah@ironworks.example',   'Noah',   'Adeyemi',   'ironworks', 'Millbrook',   'learner',      'Warehouse operator',    'IW-0102'),
  ('d0000000-0000-4000-8000-000000000008', 'mia@ironworks.example',    'Mia',    'Novak',     'ironworks', 'Harbor City', 'learner',      'Shipping clerk',        'IW-0103'),
  ('d0000000-0000-4000-8000-000000000009', 'omar@ironworks.example',   'Omar',   'Haddad',    'ironworks', 'Red Mesa',    'learner',      'Furnace operator',      'IW-0104'),
  ('d0000000-0000-4000-8000-000000000010', 'ruth@ironworks.example',   'Ruth',   'Kaplan',    'ironworks', 'Cedar Falls', 'learner',      'Shift lead',            'IW-0105'),
  ('d0000000-0000-4000-8000-000000000011', 'tomas@ironworks.example',  'Tomas',  'Vega',      'ironworks', 'Lakeview',    'learner',      'Welder',                'IW-0106'),
  ('d0000000-0000-4000-8000-000000000012', 'wren@ironworks.example',   'Wren',   'Walker',    'ironworks', 'Stonebridge', 'learner',      'Maintenance mechanic',  'IW-0107'),
  ('d0000000-0000-4000-8000-000000000013', 'sam@ironworks.example',    'Sam',    'Moreau',    'ironworks', 'Millbrook',   'learner',      'Warehouse operator',    'IW-0108'),
  ('d0000000-0000-4000-8000-000000000021', 'petra@fieldnotes.example', 'Petra',  'Novotna',   'fieldnotes', null,         'tenant_admin', 'Publisher',             null),
  ('d0000000-0000-4000-8000-000000000022', 'eli@fieldnotes.example',   'Eli',    'Sorensen',  'fieldnotes', null,         'instructor',   'Editor',                null),
  ('d0000000-0000-4000-8000-000000000023', 'zoe@fieldnotes.example',   'Zoe',    'Martin',    'fieldnotes', null,         'learner',      null,                    null),
  ('d0000000-0000-4000-8000-000000000031', 'dev@lyceum.example',       'Dev',    'Raman',     null,         null,         null,           null,                    null);

insert into auth.users (
  instance_id, id, aud, role, email, encrypted_password, email_confirmed_at, raw_app_meta_data, raw_user_meta_data,
  created_at, updated_at
)
select
  '00000000-0000-0000-0000-000000000000', id, 'authenticated', 'authenticated', email,
  extensions.crypt('lyceum-demo', extensions.gen_salt('bf')), now(),
  '{"provider": "email", "providers": ["email"]}', jsonb_build_object('first_name', first_name, 'last_name', last_name),
  now() - interval '60 days', now() - interval '60 days'
from demo_people;

insert into auth.identities (provider_id, user_id, identity_data, provider, created_at, updated_at)
select id::text, id, jsonb_build_object('sub', id, 'email', email, 'email_verified', true), 'email', now(), now()
from demo_people;

-- =====================================================================================================
-- Two organisations
-- =====================================================================================================

insert into lms.tenants (id, slug, name, domain, time_zone) values
  ('a0000000-0000-4000-8000-000000000001', 'ironworks', 'Northgate Ironworks', 'ironworks.example', 'America/Chicago'),
  ('a0000000-0000-4000-8000-000000000002', 'fieldnotes', 'Field Notes Press', 'fieldnotes.example', 'Europe/Prague');

insert into lms.org_units (tenant_id, kind, name, code)
select 'a0000000-0000-4000-8000-000000000001', 'plant', plant, code
from (values
  ('Harbor City', 'HC'), ('Millbrook', 'MB'), ('Red Mesa', 'RM'), ('Cedar Falls', 'CF'), ('Lakeview', 'LV'), ('Stonebridge', 'SB')
) as plants (plant, code);

insert into lms.org_units (tenant_id, parent_id, kind, name, code)
select u.tenant_id, u.id, 'department', 'Warehouse', u.code || '-WH'
from lms.org_units u
where u.code in ('HC', 'MB');

insert into lms.memberships (tenant_id, user_id, unit_id, job_title, employee_number, joined_at)
select t.id, p.id, u.id, p.job_title, p.employee_number, now() - interval '60 days'
from demo_people p
join lms.tenants t on t.slug = p.tenant
left join lms.org_units u on u.tenant_id = t.id and u.name = p.unit;

insert into lms.role_grants (tenant_id, membership_id, role_id, unit_id)
select m.tenant_id, m.id, r.id, case when p.role = 'unit_manager' then m.unit_id end
from demo_people p
join lms.memberships m on m.user_id = p.id
join lms.roles r on r.tenant_id = m.tenant_id and r.key = p.role;

-- Runs the installation; belongs to no organisation.
insert into private.platform_admins (user_id) values ('d0000000-0000-4000-8000-000000000031');

-- Noah also reads in his own time: one person may belong to several organisations.
insert into lms.memberships (tenant_id, user_id)
values ('a0000000-0000-4000-8000-000000000002', 'd0000000-0000-4000-8000-000000000007');

-- A trainer of trainers, as a role of the company's own; this year's apprentices; and somebody who has yet to answer.
insert into lms.roles (id, tenant_id, key, name, description) values (
  'b0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000001', 'safety_lead', 'Safety lead',
  'Follows the training of a plant and appoints its trainers'
);
insert into lms.role_permissions (tenant_id, role_id, permission)
select 'a0000000-0000-4000-8000-000000000001', 'b0000000-0000-4000-8000-000000000001', permission
from unnest(array['members.read', 'members.write', 'enrollments.read', 'progress.read', 'reports.read']) as permission;
insert into lms.assignable_roles (tenant_id, role_id, assignable_role_id)
select r.tenant_id, 'b0000000-0000-4000-8000-000000000001', r.id
from lms.roles r
where r.tenant_id = 'a0000000-0000-4000-8000-000000000001' and r.key = 'instructor';

insert into lms.cohorts (id, tenant_id, unit_id, name, starts_on)
select 'e0000000-0000-4000-8000-000000000001', u.tenant_id, u.id, 'Apprentices', (now() - interval '60 days')::date
from lms.org_units u
where u.code = 'MB';
insert into lms.cohort_members (cohort_id, user_id) values
  ('e0000000-0000-4000-8000-000000000001', 'd0000000-0000-4000-8000-000000000006'),
  ('e0000000-0000-4000-8000-000000000001', 'd0000000-0000-4000-8000-000000000013');

select from lms.invite(
  'a0000000-0000-4000-8000-000000000001', 'uma@ironworks.example', 'learner',
  (select u.id from lms.org_units u where u.code = 'RM'), true, 'Furnace operator', 'IW-0109', 'Uma', 'Petrov'
);

-- =====================================================================================================
-- Courses
-- =====================================================================================================

insert into lms.courses (
  id, tenant_id, slug, title, description, visibility, difficulty, estimated_minutes, instructor_id, self_enrollment,
  is_featured, version_label
) values
  (
    'c0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000001', 'hazmat-handling',
    'Handling Hazardous Materials', 'For everyone who packs, labels, loads or receives dangerous goods at one of our plants.',
    'restricted', 'beginner', 75, 'd0000000-0000-4000-8000-000000000004', 'open', true, '2026'
  ),
  (
    'c0000000-0000-4000-8000-000000000002', 'a0000000-0000-4000-8000-000000000001', 'forklift-refresher',
    'Forklift Refresher', 'A short yearly refresher: inspection, loads, pedestrians.',
    'restricted', 'beginner', 20, 'd0000000-0000-4000-8000-000000000004', 'open', false, '3'
  ),
  (
    'c0000000-0000-4000-8000-000000000003', 'a0000000-0000-4000-8000-000000000001', 'plant-leadership',
    'Leading a Plant', 'For plant managers, by invitation.',
    'private', 'advanced', 120, 'd0000000-0000-4000-8000-000000000004', 'closed', false, null
  ),
  (
    'c0000000-0000-4000-8000-000000000011', 'a0000000-0000-4000-8000-000000000002', 'writing-for-busy-readers',
    'Writing for Busy Readers', 'How to say one thing at a time, to people who have none to spare.',
    'public', 'intermediate', 45, 'd0000000-0000-4000-8000-000000000022', 'open', true, null
  ),
  (
    'c0000000-0000-4000-8000-000000000012', 'a0000000-0000-4000-8000-000000000002', 'editors-workshop',
    'The Editor''s Workshop', 'Six manuscripts, and what became of them.',
    'public', 'advanced', 240, 'd0000000-0000-4000-8000-000000000022', 'open', false, null
  );

update lms.courses set price = 49, currency = 'EUR' where slug = 'editors-workshop';

create temporary table demo_lessons (
  course text, module_order integer, module text, lesson_order integer, lesson text, duration integer, required boolean,
  preview boolean, body text
) on commit drop;

insert into demo_lessons values
  ('hazmat-handling', 0, 'Know what you have in front of you', 0, 'Nine classes, nine kinds of harm', 10, true, true,
   E'# Nine classes, nine kinds of harm\n\nDangerous goods come in nine classes. The class tells you **how** a material can hurt you: by exploding, by burning, by poisoning, by corroding, or by something rarer.\n\nLearn the shape and color of each label first. The words on it come second: from across a loading dock you will only see the diamond.'),
  ('hazmat-handling', 0, 'Know what you have in front of you', 1, 'Reading a safety data sheet', 15, true, false,
   E'# Reading a safety data sheet\n\nSixteen sections, always in the same order. In an emergency you need four of them:\n\n- Section 4: first aid\n- Section 5: fire fighting\n- Section 6: spills\n- Section 8: what to wear'),
  ('hazmat-handling', 0, 'Know what you have in front of you', 2, 'Shipping papers', 10, true, false,
   E'# Shipping papers\n\nIdentification number, proper shipping name, hazard class, packing group: in that order, without anything in between.'),
  ('hazmat-handling', 1, 'Pack, label, load', 0, 'Choosing the packaging', 10, true, false,
   E'# Choosing the packaging\n\nThe packing group decides how strong the package has to be. I is great danger, II is medium, III is minor.'),
  ('hazmat-handling', 1, 'Pack, label, load', 1, 'Labels and placards', 10, true, false,
   E'# Labels and placards\n\nA label goes on the package, a placard on the vehicle. Both must be readable from where the next person will stand.'),
  ('hazmat-handling', 1, 'Pack, label, load', 2, 'What must not travel together', 10, true, false,
   E'# What must not travel together\n\nAcids and cyanides. Oxidizers and fuels. When the segregation table says X, no amount of careful stacking helps.'),
  ('hazmat-handling', 2, 'When something goes wrong', 0, 'The first five minutes', 5, true, false,
   E'# The first five minutes\n\nLeave, warn, call. In that order. Nobody was ever praised for staying to save the pallet.'),
  ('hazmat-handling', 2, 'When something goes wrong', 1, 'Security awareness', 5, true, false,
   E'# Security awareness\n\nWho is asking for this load, and why today? If the papers and the person do not fit together, stop and ask.'),
  ('hazmat-handling', 2, 'When something goes wrong', 2, 'Stories from our plants', 10, false, false,
   E'# Stories from our plants\n\nThree near misses from the last two years, told by the people who were there. Optional, and the most popular part of this course.'),
  ('forklift-refresher', 0, 'Before you move', 0, 'The walk-around', 5, true, false, E'Tires, forks, chain, horn, belt. Two minutes, every shift.'),
  ('forklift-refresher', 0, 'Before you move', 1, 'Loads and how they shift', 10, true, false, E'Keep the load low and tilted back. If you cannot see over it, drive backwards.'),
  ('forklift-refresher', 0, 'Before you move', 2, 'People on foot', 5, true, false, E'They are looking at their phone. Assume it.'),
  ('plant-leadership', 0, 'The first month', 0, 'Walk the floor', 30, true, false, E'Before you change anything, watch a whole shift. All three of them.'),
  ('plant-leadership', 0, 'The first month', 1, 'Numbers that matter', 30, true, false, E'Pick five. Post them where everybody walks past.'),
  ('writing-for-busy-readers', 0, 'One thing at a time', 0, 'Start with the answer', 10, true, true, E'# Start with the answer\n\nYour reader may stop after any sentence. Arrange them so that they lose as little as possible when they do.'),
  ('writing-for-busy-readers', 0, 'One thing at a time', 1, 'Cut the run-up', 10, true, false, E'# Cut the run-up\n\nDelete your first paragraph. Nine times in ten the piece begins with the second.'),
  ('writing-for-busy-readers', 1, 'Words', 0, 'Verbs carry the weight', 10, true, false, E'# Verbs carry the weight\n\n*We made a decision* is three words too long.'),
  ('writing-for-busy-readers', 1, 'Words', 1, 'Read it aloud', 15, true, false, E'# Read it aloud\n\nWhere you run out of breath, there is a full stop missing.'),
  ('editors-workshop', 0, 'The first reading', 0, 'Read it as a reader', 60, true, true, E'# Read it as a reader\n\nPut the pencil away. You only get to read it for the first time once.');

insert into lms.modules (course_id, title, order_index)
select distinct c.id, d.module, d.module_order
from demo_lessons d
join lms.courses c on c.slug = d.course;

insert into lms.lessons (module_id, title, duration, order_index, requires_completion, is_preview)
select m.id, d.lesson, d.duration, d.lesson_order, d.required, d.preview
from demo_lessons d
join lms.courses c on c.slug = d.course
join lms.modules m on m.course_id = c.id and m.order_index = d.module_order;

insert into lms.lesson_blocks (lesson_id, type, content, order_index)
select l.id, 'markdown', jsonb_build_object('markdown', d.body), 0
from demo_lessons d
join lms.courses c on c.slug = d.course
join lms.modules m on m.course_id = c.id and m.order_index = d.module_order
join lms.lessons l on l.module_id = m.id and l.order_index = d.lesson_order;

do $$ begin perform lms.publish_course(id) from lms.courses; end $$;

-- =====================================================================================================
-- Learning so far
-- =====================================================================================================

-- How many of the required lessons each has done. Lena has yet to enrol: that is the README's first session.
create temporary table demo_learning (email text, course text, days_ago integer, done integer, due_in_days integer) on commit drop;

insert into demo_learning values
  ('noah@ironworks.example',  'hazmat-handling', 30, 5, 7),
  ('mia@ironworks.example',   'hazmat-handling', 40, 8, null),
  ('omar@ironworks.example',  'hazmat-handling', 35, 8, null),
  ('ruth@ironworks.example',  'hazmat-handling', 20, 3, -2),
  ('tomas@ironworks.example', 'hazmat-handling', 10, 0, 20),
  ('wren@ironworks.example',  'hazmat-handling', 12, 1, 18),
  ('sam@ironworks.example',   'hazmat-handling', 25, 2, 5),
  ('lena@ironworks.example',  'forklift-refresher', 15, 1, 14),
  ('noah@ironworks.example',  'forklift-refresher', 15, 3, null),
  ('marco@ironworks.example', 'plant-leadership', 9, 1, null),
  ('zoe@fieldnotes.example',  'writing-for-busy-readers', 8, 2, null),
  ('noah@ironworks.example',  'writing-for-busy-readers', 5, 1, null);

insert into lms.enrollments (course_id, user_id, source, enrolled_at, due_at)
select c.id, p.id, 'assigned', now() - make_interval(days => d.days_ago), now() + make_interval(days => d.due_in_days)
from demo_learning d
join demo_people p on p.email = d.email
join lms.courses c on c.slug = d.course;

insert into lms.lesson_progress (
  user_id, lesson_id, progress_percentage, time_spent_seconds, first_accessed_at, last_accessed_at, completed_at
)
select
  p.id, l.id, 100, 60 * l.duration,
  now() - make_interval(days => d.days_ago) + make_interval(hours => 20 * l.place::integer - 1),
  now() - make_interval(days => d.days_ago) + make_interval(hours => 20 * l.place::integer),
  now() - make_interval(days => d.days_ago) + make_interval(hours => 20 * l.place::integer)
from demo_learning d
join demo_people p on p.email = d.email
join lms.courses c on c.slug = d.course
join lateral (
  select l.id, l.duration, row_number() over (order by m.order_index, l.order_index) as place
  from lms.lessons l
  join lms.modules m on m.id = l.module_id
  where l.course_id = c.id and l.requires_completion
) l on l.place <= d.done
order by p.id, c.id, l.place;

-- Sam is suspended: what that means can be tried by signing in.
update lms.memberships set status = 'suspended' where user_id = 'd0000000-0000-4000-8000-000000000013';

commit;
