-- People, tenants, their units, memberships and roles.

set session_replication_role = replica;
set client_min_messages = warning;

insert into auth.users (instance_id, id, aud, role, email, email_confirmed_at, raw_app_meta_data, raw_user_meta_data, created_at, updated_at)
select '00000000-0000-0000-0000-000000000000', p.id, 'authenticated', 'authenticated',
  'person' || p.n || '@bench.test', '2023-01-01', '{"provider": "email", "providers": ["email"]}', '{}', '2023-01-01', '2023-01-01'
from bench.person p;

insert into public.profiles (id, user_id, first_name, last_name, created_at, updated_at)
select p.id, p.id,
  (array['Ada', 'Ben', 'Chloe', 'Dev', 'Elena', 'Farid', 'Grace', 'Hiro', 'Ines', 'Jonas'])[1 + p.n % 10],
  (array['Abbott', 'Brandt', 'Castro', 'Dubois', 'Eriksen', 'Fischer', 'Garcia', 'Haddad', 'Ito', 'Jensen'])[1 + p.n / 10 % 10] || ' ' || p.n,
  '2023-01-01', '2023-01-01'
from bench.person p;

insert into public.profile_private (profile_id, email, created_at, updated_at)
select p.id, 'person' || p.n || '@bench.test', '2023-01-01', '2023-01-01'
from bench.person p;

insert into lms.tenants (id, slug, name, created_at, updated_at)
select t.id, 'tenant-' || t.t, 'Tenant ' || t.t, '2023-01-01', '2023-01-01'
from bench.tenant t;

insert into lms.roles (id, tenant_id, key, name, description, is_builtin)
select md5('role:' || t.t || ':' || b.key)::uuid, t.id, b.key, b.name, b.description, true
from bench.tenant t, private.builtin_roles b;

insert into lms.role_permissions (tenant_id, role_id, permission)
select r.tenant_id, r.id, b.permission
from lms.roles r
join private.builtin_role_permissions b on b.key = r.key;

-- Each unit has four below it.
insert into lms.org_units (id, tenant_id, parent_id, kind, name, code)
select bench.id('unit', t.first_unit + i), t.id,
  case when i > 1 then bench.id('unit', t.first_unit + (i + 2) / 4) end,
  case when i = 1 then 'plant' when i <= 5 then 'department' else 'team' end,
  'Unit ' || i, 'U-' || i
from bench.tenant t, generate_series(1, t.units) i;

insert into private.org_unit_closure (ancestor_id, descendant_id)
with recursive link (ancestor_id, descendant_id) as (
  select u.id, u.id from lms.org_units u
  union all
  select l.ancestor_id, u.id from link l join lms.org_units u on u.parent_id = l.descendant_id
)
select ancestor_id, descendant_id from link;

insert into lms.memberships (id, tenant_id, user_id, unit_id, status, employee_number, joined_at, ended_at, created_at, updated_at)
select p.membership_id, p.tenant_id, p.id, p.unit_id,
  case when p.part is null and p.rank > 100 and bench.draw(p.n, 3) < 0.02 then 'ended' else 'active' end,
  'E' || p.n, '2023-01-01',
  case when p.part is null and p.rank > 100 and bench.draw(p.n, 3) < 0.02 then timestamptz '2025-06-01' end,
  '2023-01-01', '2023-01-01'
from bench.person p;

-- One in twenty-five also learns at the largest tenant.
insert into lms.memberships (id, tenant_id, user_id, joined_at, created_at, updated_at)
select bench.id('second membership', p.n), t.id, p.id, '2023-06-01', '2023-06-01', '2023-06-01'
from bench.person p, bench.tenant t
where t.t = 1 and p.t <> 1 and p.part is null and p.rank > 100 and bench.draw(p.n, 4) < 0.04;

-- Ranks 1 to 3 administer, the next ones teach (one for ten courses), then one manager for each unit.
insert into lms.role_grants (id, tenant_id, membership_id, role_id, unit_id)
select md5('grant:' || p.n || ':' || held.key)::uuid, p.tenant_id, p.membership_id,
  md5('role:' || p.t || ':' || held.key)::uuid, held.unit_id
from bench.person p
join bench.tenant t on t.t = p.t
cross join lateral (
  select
    case
      when p.rank = 1 then 'tenant_admin'
      when p.rank = 2 then 'hr_admin'
      when p.rank = 3 then 'auditor'
      when p.rank <= 4 + t.courses / 10 then 'instructor'
      when p.rank <= 4 + t.courses / 10 + t.units then 'unit_manager'
    end as key,
    case when p.rank > 4 + t.courses / 10 then bench.id('unit', t.first_unit + p.rank - 4 - t.courses / 10) end as unit_id
  union all
  select 'learner', null
) held
where held.key is not null;

analyze auth.users, public.profiles, public.profile_private, lms.tenants, lms.roles, lms.role_permissions,
  lms.org_units, private.org_unit_closure, lms.memberships, lms.role_grants;
