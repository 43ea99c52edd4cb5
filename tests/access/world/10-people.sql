-- People.

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
    notification_preferences = '{"training_due": {"email": false}}',
    locale = 'en', time_zone = 'UTC'
from (select name, row_number() over (order by name) as place from world.people) n
where p.profile_id = world.id('people.' || n.name);

insert into private.platform_admins (user_id) values (world.id('people.platform_admin'));
