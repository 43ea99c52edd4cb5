-- A world with every kind of row, for the access matrix. Three organisations: `home`, where the roles act; `abroad`, of
-- which they must see nothing; and `sister`, where one of them works as well.
--
-- Rows are named: world.id('courses.draft') is the id of that course, and the matrix says $courses.draft. Every text
-- that can carry one holds a canary that is unique to its row, so that a row which leaks is recognised anywhere.
-- Runs as the migrations' role, in a throw-away database.

create schema world;

create table world.names (name text primary key, id uuid not null);

create function world.id(p_name text)
returns uuid
language plpgsql
as $$
declare
  v_id uuid;
begin
  insert into world.names (name, id) values (p_name, md5(p_name)::uuid) on conflict (name) do nothing;
  select n.id into v_id from world.names n where n.name = p_name;
  return v_id;
end
$$;

-- For the matrix' own predicates: a name that nothing in this file has is a mistake.
create function world.the(p_name text)
returns uuid
language plpgsql
stable
as $$
declare
  v_id uuid;
begin
  select n.id into v_id from world.names n where n.name = p_name;
  if not found then
    raise exception 'There is no % in tests/access/world.sql.', p_name;
  end if;
  return v_id;
end
$$;

create function world.canary(p_name text)
returns text
language sql
immutable
return 'canary-' || translate(p_name, '._', '--');

begin;

-- =====================================================================================================
-- People
-- =====================================================================================================

create table world.people (name text primary key, tenant text, unit text, role text, role_unit text);

-- The first twelve are the personas that walk the matrix.
insert into world.people values
  ('learner', 'home', 'line', 'learner', null),
  ('instructor', 'home', 'site', 'instructor', null),
  ('unit_manager', 'home', 'plant', 'unit_manager', 'plant'),
  ('hr_admin', 'home', null, 'hr_admin', null),
  ('tenant_admin', 'home', null, 'tenant_admin', null),
  ('auditor', 'home', null, 'auditor', null),
  ('suspended', 'home', 'site', 'tenant_admin', null),
  ('ended', 'home', 'site', 'learner', null),
  ('guest', 'home', null, null, null),
  ('outsider', 'abroad', null, 'tenant_admin', null),
  ('stranger', null, null, null, null),
  ('platform_admin', null, null, null, null),
  -- In the manager's unit.
  ('colleague', 'home', 'line', 'learner', 'line'),
  ('deputy', 'home', 'plant', 'unit_manager', 'plant'),
  ('chief', 'home', 'line', 'tenant_admin', null),
  -- Elsewhere in the organisation.
  ('neighbor', 'home', 'site', 'learner', 'site'),
  ('fellow', 'home', 'site', 'learner', null),
  ('mover', 'home', 'line', 'learner', null),
  ('teacher', 'home', null, 'instructor', null),
  -- Elsewhere.
  ('abroad_teacher', 'abroad', null, 'instructor', null),
  ('abroad_learner', 'abroad', 'abroad', 'learner', 'abroad'),
  ('abroad_clerk', 'abroad', null, 'learner', null),
  ('sister_worker', 'sister', 'sister', 'learner', null);

insert into auth.users (
  instance_id, id, aud, role, email, encrypted_password, email_confirmed_at, raw_app_meta_data, raw_user_meta_data,
  created_at, updated_at
)
select
  '00000000-0000-0000-0000-000000000000', world.id('people.' || name), 'authenticated', 'authenticated',
  world.canary('email.' || name) || '@example.test', secret, now(), '{"provider": "email", "providers": ["email"]}',
  jsonb_build_object(
    'first_name', world.canary('first-name.' || name), 'last_name', world.canary('last-name.' || name),
    'username', world.canary(name), 'avatar_url', '/' || world.canary('avatar.' || name)
  ),
  now(), now()
from world.people, (select extensions.crypt('lyceum-matrix', extensions.gen_salt('bf', 4)) as secret) as once;

insert into auth.identities (provider_id, user_id, identity_data, provider, created_at, updated_at)
select id::text, id, jsonb_build_object('sub', id, 'email', email, 'email_verified', true), 'email', now(), now()
from auth.users;

update public.profiles p
set bio = world.canary('bio.' || n.name), location = world.canary('location.' || n.name),
    website = '/' || world.canary('website.' || n.name),
    social_links = jsonb_build_object('site', 'https://' || world.canary('link.' || n.name) || '.test')
from world.people n
where p.id = world.id('people.' || n.name);

update public.profile_private p
set phone = '+999' || lpad(n.place::text, 6, '0'),
    learning_preferences = '{"preferred_pace": "slow"}',
    knowledge_profile = jsonb_build_object('note', world.canary('knowledge.' || n.name)),
    learning_interests = jsonb_build_array(world.canary('interest.' || n.name)),
    notification_preferences = jsonb_build_object('note', world.canary('notification.' || n.name)),
    locale = 'en', time_zone = 'UTC'
from (select name, row_number() over (order by name) as place from world.people) n
where p.profile_id = world.id('people.' || n.name);

insert into private.platform_admins (user_id) values (world.id('people.platform_admin'));

-- =====================================================================================================
-- Organisations, units, roles
-- =====================================================================================================

insert into lms.tenants (id, slug, name, domain, settings)
select
  world.id('tenants.' || name), world.canary('tenant-slug.' || name), world.canary('tenant-name.' || name),
  world.canary('tenant-domain.' || name) || '.test',
  jsonb_build_object('note', world.canary('tenant-settings.' || name))
from (values ('home'), ('abroad'), ('sister')) as tenants (name);

insert into lms.org_units (id, tenant_id, parent_id, name, code)
select
  world.id('units.' || name), world.id('tenants.' || tenant),
  case when parent <> '' then world.id('units.' || parent) end,
  world.canary('unit-name.' || name), world.canary('unit-code.' || name)
from (values
  -- The manager's unit, one below it, and one below it where nobody works; then two outside.
  ('plant', 'home', ''), ('line', 'home', 'plant'), ('empty_line', 'home', 'plant'),
  ('site', 'home', ''), ('depot', 'home', ''),
  ('abroad', 'abroad', ''), ('abroad_empty', 'abroad', ''), ('sister', 'sister', ''), ('sister_empty', 'sister', '')
) as units (name, tenant, parent);

-- The built-in roles came with the tenants, under ids of their own.
insert into world.names (name, id)
select format('roles.%s.%s', n.tenant, r.key), r.id
from lms.roles r
join (values ('home'), ('abroad'), ('sister')) as n (tenant) on r.tenant_id = world.id('tenants.' || n.tenant);

insert into lms.roles (id, tenant_id, key, name, description)
select
  world.id(format('roles.%s.%s', tenant, key)), world.id('tenants.' || tenant),
  translate(world.canary(format('role-key.%s.%s', tenant, key)), '-', '_'),
  world.canary(format('role-name.%s.%s', tenant, key)), world.canary(format('role-description.%s.%s', tenant, key))
from (values ('home', 'custom'), ('home', 'unused'), ('abroad', 'custom')) as roles (tenant, key);

insert into lms.role_permissions (tenant_id, role_id, permission)
select r.tenant_id, r.id, 'certificates.write'
from lms.roles r
where not r.is_builtin;

insert into lms.assignable_roles (tenant_id, role_id, assignable_role_id) values
  (world.id('tenants.home'), world.id('roles.home.custom'), world.id('roles.home.learner')),
  (world.id('tenants.abroad'), world.id('roles.abroad.custom'), world.id('roles.abroad.learner'));

insert into lms.memberships (id, tenant_id, user_id, unit_id, job_title, employee_number, is_guest)
select
  world.id('memberships.' || p.name), world.id('tenants.' || p.tenant), world.id('people.' || p.name),
  case when p.unit <> '' then world.id('units.' || p.unit) end, world.canary('job.' || p.name),
  world.canary('number.' || p.name), p.name = 'guest'
from world.people p
where p.tenant <> '';

insert into lms.role_grants (id, tenant_id, membership_id, role_id, unit_id)
select
  world.id('grants.' || p.name), world.id('tenants.' || p.tenant), world.id('memberships.' || p.name),
  world.id(format('roles.%s.%s', p.tenant, p.role)),
  case when p.role_unit <> '' then world.id('units.' || p.role_unit) end
from world.people p
where p.role <> '';

-- HR works for the sister organisation as well.
insert into lms.memberships (id, tenant_id, user_id, job_title, employee_number)
values (
  world.id('memberships.sister.hr_admin'), world.id('tenants.sister'), world.id('people.hr_admin'),
  world.canary('job.sister.hr_admin'), world.canary('number.sister.hr_admin')
);
insert into lms.role_grants (id, tenant_id, membership_id, role_id) values
  (
    world.id('grants.sister.hr_admin'), world.id('tenants.sister'), world.id('memberships.sister.hr_admin'),
    world.id('roles.sister.hr_admin')
  ),
  (world.id('grants.custom'), world.id('tenants.home'), world.id('memberships.fellow'), world.id('roles.home.custom'));

-- =====================================================================================================
-- Invitations and cohorts
-- =====================================================================================================

insert into lms.invitations (
  id, tenant_id, email, role_id, unit_id, limited_to_unit, first_name, last_name, job_title, employee_number,
  invited_by, expires_at, revoked_at
)
select
  world.id('invitations.' || i.name), world.id('tenants.' || i.tenant),
  coalesce(nullif(i.email, ''), world.canary('invited.' || i.name)) || '@example.test',
  world.id(format('roles.%s.learner', i.tenant)), world.id('units.' || i.unit), true,
  world.canary('invited-first.' || i.name), world.canary('invited-last.' || i.name),
  world.canary('invited-job.' || i.name),
  world.canary('invited-number.' || i.name), world.id('people.' || i.inviter), now() + interval '7 days',
  case when i.name = 'revoked' then now() end
from (values
  ('unit', 'home', '', 'line', 'unit_manager'), ('tenant', 'home', '', 'site', 'hr_admin'),
  ('revoked', 'home', '', 'site', 'hr_admin'),
  ('stranger', 'home', 'canary-email-stranger', 'site', 'hr_admin'), ('foreign', 'abroad', '', 'abroad', 'outsider')
) as i (name, tenant, email, unit, inviter);

insert into private.invitation_tokens (invitation_id, token_hash)
select i.id, sha256(convert_to('token-' || n.name, 'UTF8'))
from lms.invitations i
join world.names n on n.id = i.id;

insert into lms.cohorts (id, tenant_id, unit_id, name, description)
select
  world.id('cohorts.' || name), world.id('tenants.' || tenant),
  case when unit <> '' then world.id('units.' || unit) end,
  world.canary('cohort-name.' || name), world.canary('cohort-description.' || name)
from (values
  ('line', 'home', 'line'), ('site', 'home', 'site'), ('tenant', 'home', ''), ('abroad', 'abroad', 'abroad')
) as cohorts (name, tenant, unit);

insert into lms.cohort_members (cohort_id, user_id)
select world.id('cohorts.' || cohort), world.id('people.' || person)
from (values
  ('line', 'learner'), ('line', 'fellow'), ('site', 'neighbor'),
  ('tenant', 'teacher'), ('tenant', 'suspended'), ('tenant', 'fellow'),
  ('abroad', 'abroad_learner')
) as members (cohort, person);

-- =====================================================================================================
-- Courses, each with a published and an unpublished lesson
-- =====================================================================================================

create table world.courses (name text primary key, tenant text, status text, visibility text, teacher text);

insert into world.courses values
  ('public', 'home', 'published', 'public', 'teacher'),
  ('open', 'home', 'published', 'public', 'teacher'),
  ('restricted', 'home', 'published', 'restricted', 'teacher'),
  ('enrolled', 'home', 'published', 'private', 'teacher'),
  ('private', 'home', 'published', 'private', 'teacher'),
  ('draft', 'home', 'draft', 'public', 'teacher'),
  ('archived', 'home', 'archived', 'public', 'teacher'),
  ('deleted', 'home', 'published', 'public', 'teacher'),
  ('staffed', 'home', 'published', 'private', 'instructor'),
  ('staffed_draft', 'home', 'draft', 'restricted', 'instructor'),
  ('abroad_public', 'abroad', 'published', 'public', 'abroad_teacher'),
  ('abroad_restricted', 'abroad', 'published', 'restricted', 'abroad_teacher'),
  ('abroad_private', 'abroad', 'published', 'private', 'abroad_teacher'),
  ('abroad_draft', 'abroad', 'draft', 'public', 'abroad_teacher');

insert into lms.courses (
  id, tenant_id, slug, title, description, status, visibility, instructor_id, published_at, thumbnail_url,
  meta_description, meta_keywords, version_label, metadata
)
select
  world.id('courses.' || name), world.id('tenants.' || tenant), world.canary('course-slug.' || name),
  world.canary('course-title.' || name), world.canary('course-description.' || name), status, visibility,
  world.id('people.' || teacher), case when status <> 'draft' then now() end,
  '/' || world.canary('course-thumbnail.' || name), world.canary('course-meta.' || name),
  world.canary('course-keywords.' || name), world.canary('course-version.' || name),
  jsonb_build_object('note', world.canary('course-metadata.' || name))
from world.courses;

update lms.course_staff s
set id = world.id('staff.' || c.name)
from world.courses c
where s.course_id = world.id('courses.' || c.name);

insert into lms.modules (id, course_id, title, description)
select
  world.id('modules.' || name), world.id('courses.' || name), world.canary('module-title.' || name),
  world.canary('module-description.' || name)
from world.courses;

insert into lms.lessons (id, module_id, title, description, is_published, is_preview, objectives, order_index)
select
  world.id(format('lessons.%s.%s', c.name, l.name)), world.id('modules.' || c.name),
  world.canary(format('lesson-title.%s.%s', c.name, l.name)),
  world.canary(format('lesson-description.%s.%s', c.name, l.name)),
  l.name <> 'hidden', l.name = 'preview', array[world.canary(format('lesson-objective.%s.%s', c.name, l.name))], l.place
from world.courses c
cross join (values ('first', 0), ('next', 1), ('hidden', 2), ('preview', 3)) as l (name, place);

insert into lms.lesson_blocks (id, lesson_id, type, title, content, metadata)
select
  world.id(format('blocks.%s.%s', c.name, l.name)), world.id(format('lessons.%s.%s', c.name, l.name)), 'markdown',
  world.canary(format('block-title.%s.%s', c.name, l.name)),
  jsonb_build_object('markdown', world.canary(format('block-content.%s.%s', c.name, l.name))),
  jsonb_build_object('note', world.canary(format('block-metadata.%s.%s', c.name, l.name)))
from world.courses c
cross join (values ('first'), ('next'), ('hidden'), ('preview')) as l (name);

-- =====================================================================================================
-- Enrolments and progress
-- =====================================================================================================

create table world.enrollments (name text primary key, course text, person text, lessons text[]);

insert into world.enrollments
-- Everybody who belongs to home takes the public course, so that each has something of their own.
select name, 'public', name, array['first']
from world.people
where tenant = 'home' and name not in ('teacher', 'colleague', 'deputy', 'chief', 'neighbor', 'fellow', 'mover')
union all values
  ('learner_private', 'enrolled', 'learner', array['first']),
  ('outsider', 'abroad_restricted', 'outsider', array['first']),
  ('colleague', 'restricted', 'colleague', array['first']),
  ('colleague_private', 'private', 'colleague', array['first']),
  ('colleague_staffed', 'staffed', 'colleague', array['first']),
  ('neighbor', 'restricted', 'neighbor', array['first']),
  ('neighbor_staffed', 'staffed', 'neighbor', array['first']),
  -- Finished in the manager's unit, before moving away from it.
  ('mover', 'archived', 'mover', array['first', 'next', 'preview']),
  ('abroad_learner', 'abroad_restricted', 'abroad_learner', array['first']),
  ('abroad_draft', 'abroad_draft', 'abroad_learner', array['first']);

insert into lms.enrollments (id, course_id, user_id, source, enrolled_by)
select world.id('enrollments.' || name), world.id('courses.' || course), world.id('people.' || person), 'assigned', null
from world.enrollments;

insert into lms.lesson_progress (enrollment_id, user_id, lesson_id, progress_percentage, last_position)
select
  world.id('enrollments.' || e.name), world.id('people.' || e.person),
  world.id(format('lessons.%s.%s', e.course, lesson)),
  case when e.name = 'mover' then 100 else 50 end,
  jsonb_build_object('note', world.canary(format('position.%s.%s', e.name, lesson)))
from world.enrollments e, unnest(e.lessons) as lesson;

-- =====================================================================================================
-- What happened since
-- =====================================================================================================

update lms.memberships set unit_id = world.id('units.site') where id = world.id('memberships.mover');
update lms.memberships set status = 'suspended' where id = world.id('memberships.suspended');
update lms.memberships set status = 'ended' where id = world.id('memberships.ended');
update lms.courses set deleted_at = now() where id = world.id('courses.deleted');
update lms.modules set deleted_at = now() where id = world.id('modules.deleted');
update lms.lessons set deleted_at = now() where course_id = world.id('courses.deleted');
update lms.lesson_blocks set deleted_at = now() where course_id = world.id('courses.deleted');

commit;

-- =====================================================================================================
-- Words of the matrix' predicates
-- =====================================================================================================

-- The unit that the manager manages, and all below it.
create function world.in_unit(p_unit_id uuid)
returns boolean
language sql
stable
return coalesce(
  p_unit_id in (world.the('units.plant'), world.the('units.line'), world.the('units.empty_line')), false
);

-- What a course is to this person.
create function world.course_is(p_kind text, p_course_id uuid, p_person_id uuid)
returns boolean
language sql
stable
return (
  select p_kind = case
    when c.deleted_at is not null then 'deleted'
    when exists (select from lms.course_staff s where s.course_id = c.id and s.user_id = p_person_id) then 'staffed'
    when c.status = 'published' and c.visibility = 'public' then
      case c.tenant_id when world.the('tenants.home') then 'public' else 'foreign_public' end
    when c.tenant_id <> world.the('tenants.home') then 'foreign'
    when c.status = 'published' and c.visibility = 'restricted' then 'restricted'
    when exists (select from lms.enrollments e where e.course_id = c.id and e.user_id = p_person_id) then 'enrolled'
    else 'private'
  end
  from lms.courses c
  where c.id = p_course_id
);
