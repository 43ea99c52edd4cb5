-- Tenancy: tenants, their org units, who belongs to them, and which rights each membership carries.
-- Who may change roles and grants is in the roles file.
-- Undo: drop tables lms.role_grants, memberships, role_permissions, roles, permissions, org_units, tenants,
-- private.org_unit_closure, builtin_role_permissions, builtin_roles; then the functions below.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Tables
-- =====================================================================================================

-- {defaults: as notification preferences, reminders: {days_before_due, days_overdue, days_before_expiry: [days]}, app_url}.
create function private.is_notification_settings(value jsonb)
returns boolean
language sql
immutable
set search_path = ''
as $$
  select case jsonb_typeof(value)
    when 'object' then
      value - array['defaults', 'reminders', 'app_url'] = '{}'
      and private.is_notification_preferences(coalesce(value -> 'defaults', '{}'))
      and coalesce(value ->> 'app_url', 'https://example.com') ~ '^https?://[^\s<>"?#]+$'
      and length(coalesce(value ->> 'app_url', '')) <= 500
      and jsonb_typeof(coalesce(value -> 'app_url', '""')) = 'string'
      and case jsonb_typeof(coalesce(value -> 'reminders', '{}'))
        when 'object' then
          coalesce(value -> 'reminders', '{}') - array['days_before_due', 'days_overdue', 'days_before_expiry'] = '{}'
          and not exists (
            select
            from jsonb_each(case jsonb_typeof(value -> 'reminders') when 'object' then value -> 'reminders' else '{}' end) as days
            where case jsonb_typeof(days.value)
              when 'array' then jsonb_array_length(days.value) > 20 or exists (
                select
                from jsonb_array_elements(case jsonb_typeof(days.value) when 'array' then days.value else '[]' end) as day
                where day::text !~ '^[0-9]{1,3}$'
              )
              else true
            end
          )
        else false
      end
    else false
  end
$$;

create table lms.tenants (
  id uuid primary key default gen_random_uuid(),
  slug private.slug not null constraint tenant_slug_is_taken unique,
  name private.title not null,
  domain text constraint tenant_domain_is_taken unique
    constraint tenant_domain_is_a_host_name check (domain ~ '^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$'),
  settings jsonb not null default '{}'
    constraint tenant_settings_are_an_object check (jsonb_typeof(settings) = 'object' and length(settings::text) <= 50000)
    constraint notification_settings_have_the_documented_shape
    check (private.is_notification_settings(coalesce(settings -> 'notifications', '{}'))),
  time_zone private.time_zone not null default 'UTC',
  locale private.locale not null default 'en',
  invitation_valid_days integer not null default 14
    constraint invitations_are_valid_for_1_to_90_days check (invitation_valid_days between 1 and 90),
  is_active boolean not null default true,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

comment on table lms.tenants is 'An organisation: the hard isolation boundary. Every row of its data carries its id.';
comment on column lms.tenants.settings is
  'Free but for what is documented: notifications, {defaults: as people''s notification_preferences, reminders: '
  '{days_before_due, days_overdue, days_before_expiry: [days]}, app_url: where the links in mails lead}.';
comment on column lms.tenants.time_zone is 'IANA name; days and due dates of the tenant are counted in it.';
comment on column lms.tenants.is_active is 'False closes the tenant to its members on their next request.';

-- INV-T1: here and below, references between rows of tenant data are composite, (tenant_id, x_id), so that a row
-- that points into another tenant cannot exist.
create table lms.org_units (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null constraint org_unit_belongs_to_a_tenant references lms.tenants (id),
  parent_id uuid,
  kind text not null default 'unit' constraint org_unit_kind_is_known check (kind in ('plant', 'site', 'department', 'team', 'unit')),
  name private.title not null,
  code text constraint org_unit_code_is_short check (code ~ '^[A-Za-z0-9_.-]{1,40}$'),
  archived_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint org_unit_of_its_tenant unique (tenant_id, id),
  constraint org_unit_parent_is_of_the_same_tenant foreign key (tenant_id, parent_id) references lms.org_units (tenant_id, id),
  constraint org_unit_code_is_taken unique (tenant_id, code),
  constraint org_unit_name_is_taken_among_siblings unique nulls not distinct (tenant_id, parent_id, name)
);

comment on table lms.org_units is 'A plant, site, department or team of a tenant; a tree. Archived rather than deleted.';

create table private.org_unit_closure (
  ancestor_id uuid not null references lms.org_units (id) on delete cascade,
  descendant_id uuid not null references lms.org_units (id) on delete cascade,
  primary key (ancestor_id, descendant_id)
);
create index org_unit_closure_by_descendant on private.org_unit_closure (descendant_id);

comment on table private.org_unit_closure is
  'Every unit with each unit at or below it, kept by trigger: policies ask for subtrees by equality.';

create table lms.permissions (
  permission text primary key constraint permission_is_dotted_words check (permission ~ '^[a-z]+\.[a-z]+$'),
  description text not null
);

comment on table lms.permissions is 'The closed vocabulary of rights. Policies ask for permissions, never for role names.';

insert into lms.permissions (permission, description) values
  ('catalog.read', 'See every course of the tenant, drafts too'),
  ('catalog.author', 'Create courses; edit those one is staff of'),
  ('catalog.write', 'Edit every course of the tenant; comes with catalog.read'),
  ('catalog.publish', 'Publish every course of the tenant'),
  ('enrollments.read', 'See enrolments in scope'),
  ('enrollments.write', 'Enrol people in scope, set due dates'),
  ('progress.read', 'See progress in scope'),
  ('progress.correct', 'Correct recorded progress'),
  ('assessments.grade', 'Grade in scope'),
  ('members.read', 'See people in scope'),
  ('members.write', 'Change memberships and units in scope'),
  ('roles.write', 'Define roles'),
  ('reports.read', 'Read reports in scope'),
  ('certificates.write', 'Issue and revoke certificates'),
  ('content.write', 'Write articles and series'),
  ('content.moderate', 'Moderate comments and reviews'),
  ('media.write', 'Manage files of the tenant'),
  ('billing.read', 'See the tenant''s subscriptions, invoices and payments'),
  ('billing.write', 'Grant and revoke entitlements'),
  ('audit.read', 'Read the audit trail'),
  ('tenant.settings', 'Change the tenant''s settings');

create table lms.roles (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null constraint role_belongs_to_a_tenant references lms.tenants (id),
  key text not null constraint role_key_is_words_joined_by_underscores check (key ~ '^[a-z][a-z0-9_]{1,60}$'),
  name private.title not null,
  description text not null default '',
  is_builtin boolean not null default false,
  created_at timestamptz not null default now(),
  constraint role_of_its_tenant unique (tenant_id, id),
  constraint role_key_is_taken unique (tenant_id, key)
);

comment on table lms.roles is 'Sets of permissions. The built-in ones are copied into each tenant.';

create table lms.role_permissions (
  tenant_id uuid not null,
  role_id uuid not null,
  permission text not null constraint role_permission_is_known references lms.permissions (permission),
  primary key (role_id, permission),
  constraint role_permission_is_of_the_same_tenant foreign key (tenant_id, role_id)
    references lms.roles (tenant_id, id) on delete cascade
);
comment on table lms.role_permissions is 'Which permissions a role carries.';
create index role_permissions_by_tenant on lms.role_permissions (tenant_id, role_id);
create index role_permissions_by_permission on lms.role_permissions (permission);

create table lms.memberships (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null constraint membership_belongs_to_a_tenant references lms.tenants (id),
  user_id uuid not null constraint membership_is_of_a_person references public.profiles (id),
  unit_id uuid,
  status text not null default 'active' constraint membership_status_is_known check (status in ('active', 'suspended', 'ended')),
  job_title text constraint job_title_is_short check (length(job_title) <= 200),
  employee_number text constraint employee_number_is_short check (employee_number ~ '\S' and length(employee_number) <= 60),
  is_guest boolean not null default false,
  joined_at timestamptz not null default now(),
  ended_at timestamptz,
  ended_by uuid,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  -- INV-T2
  constraint one_membership_per_tenant_and_person unique (tenant_id, user_id),
  constraint membership_of_its_tenant unique (tenant_id, id),
  constraint membership_unit_is_of_the_same_tenant foreign key (tenant_id, unit_id)
    references lms.org_units (tenant_id, id) on delete set null (unit_id),
  constraint employee_number_is_taken unique (tenant_id, employee_number),
  constraint membership_has_an_end_exactly_when_ended check ((status = 'ended') = (ended_at is not null))
);
create index memberships_by_user on lms.memberships (user_id);
create index memberships_by_unit on lms.memberships (tenant_id, unit_id);
create index memberships_by_unit_and_number on lms.memberships (unit_id, employee_number);

comment on table lms.memberships is 'One person in one tenant: home unit, job title, employee number, status.';
comment on column lms.memberships.unit_id is
  'Home unit. Moving to another takes open enrolments along; roles limited to a unit stay where they were granted.';
comment on column lms.memberships.is_guest is
  'Joined by enrolling in an open public course: takes what they enrolled in, and sees nothing else of the tenant.';
comment on column lms.memberships.ended_by is 'Who ended it; the person themselves when they left.';

create table lms.role_grants (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null,
  membership_id uuid not null,
  role_id uuid not null,
  unit_id uuid,
  created_at timestamptz not null default now(),
  -- INV-T2
  constraint one_grant_per_membership_role_and_unit unique nulls not distinct (membership_id, role_id, unit_id),
  constraint grant_membership_is_of_the_same_tenant foreign key (tenant_id, membership_id)
    references lms.memberships (tenant_id, id) on delete cascade,
  constraint grant_role_is_of_the_same_tenant foreign key (tenant_id, role_id) references lms.roles (tenant_id, id),
  constraint grant_unit_is_of_the_same_tenant foreign key (tenant_id, unit_id) references lms.org_units (tenant_id, id)
);
create index role_grants_by_membership on lms.role_grants (tenant_id, membership_id);
create index role_grants_by_role on lms.role_grants (tenant_id, role_id);
create index role_grants_by_unit on lms.role_grants (tenant_id, unit_id);

comment on table lms.role_grants is 'A role given to a membership: for the whole tenant, or for one org unit and all below it.';

create trigger _100_timestamps before update on lms.tenants
  for each row execute function private.touch_updated_at();
create trigger _100_timestamps before update on lms.org_units
  for each row execute function private.touch_updated_at();
create trigger _100_timestamps before update on lms.memberships
  for each row execute function private.touch_updated_at();

-- =====================================================================================================
-- Built-in roles
-- =====================================================================================================

create table private.builtin_roles (
  key text primary key,
  name text not null,
  description text not null
);

create table private.builtin_role_permissions (
  key text not null references private.builtin_roles (key),
  permission text not null references lms.permissions (permission),
  primary key (key, permission)
);
create index builtin_role_permissions_by_permission on private.builtin_role_permissions (permission);

insert into private.builtin_roles (key, name, description) values
  ('learner', 'Learner', 'Takes courses, sees what is theirs'),
  ('instructor', 'Instructor', 'Creates courses; edits, publishes and follows those they are staff of'),
  ('unit_manager', 'Unit manager', 'Assigns, follows and reports on the people of a unit and all below it'),
  ('hr_admin', 'HR administrator', 'People, assignments and all reports; no authoring'),
  ('tenant_admin', 'Administrator', 'Everything in the tenant'),
  ('auditor', 'Auditor', 'Reads enrolments, progress, reports and the audit trail; writes nothing');

insert into private.builtin_role_permissions (key, permission)
select 'tenant_admin', permission from lms.permissions
union all values
  ('instructor', 'catalog.author'),
  ('unit_manager', 'catalog.read'),
  ('unit_manager', 'members.read'),
  ('unit_manager', 'members.write'),
  ('unit_manager', 'enrollments.read'),
  ('unit_manager', 'enrollments.write'),
  ('unit_manager', 'progress.read'),
  ('unit_manager', 'reports.read'),
  ('hr_admin', 'catalog.read'),
  ('hr_admin', 'members.read'),
  ('hr_admin', 'members.write'),
  ('hr_admin', 'enrollments.read'),
  ('hr_admin', 'enrollments.write'),
  ('hr_admin', 'progress.read'),
  ('hr_admin', 'progress.correct'),
  ('hr_admin', 'reports.read'),
  ('hr_admin', 'certificates.write'),
  ('auditor', 'enrollments.read'),
  ('auditor', 'progress.read'),
  ('auditor', 'reports.read'),
  ('auditor', 'audit.read');

create function private.copy_builtin_roles()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  insert into lms.roles (tenant_id, key, name, description, is_builtin)
  select new.id, b.key, b.name, b.description, true
  from private.builtin_roles b;

  insert into lms.role_permissions (tenant_id, role_id, permission)
  select r.tenant_id, r.id, b.permission
  from lms.roles r
  join private.builtin_role_permissions b on b.key = r.key
  where r.tenant_id = new.id;

  return new;
end
$$;

create trigger _500_builtin_roles after insert on lms.tenants
  for each row execute function private.copy_builtin_roles();

-- =====================================================================================================
-- The tree of units
-- =====================================================================================================

-- Two concurrent moves could each be harmless and together make a cycle, so changes of one tenant's tree queue up
-- behind the tenant's row.
create function private.keep_org_unit_tree()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if tg_op = 'UPDATE' and (new.tenant_id, new.id) is distinct from (old.tenant_id, old.id) then
    raise insufficient_privilege using message = 'An org unit keeps its id and its tenant.';
  end if;

  perform from lms.tenants where id = new.tenant_id for no key update;

  if tg_op = 'INSERT' then
    -- One statement may bring children before their parents: those that came before hang below the new unit.
    insert into private.org_unit_closure (ancestor_id, descendant_id)
    select new.id, new.id
    union
    select new.id, below.descendant_id
    from lms.org_units child
    join private.org_unit_closure below on below.ancestor_id = child.id
    where child.parent_id = new.id;
  end if;

  if exists (
    select from private.org_unit_closure
    where ancestor_id = new.id and descendant_id = new.parent_id
  ) then
    perform private.fail(
      'org_unit_below_itself', 'A unit cannot be placed below itself.', 409,
      jsonb_build_object('unit_id', new.id, 'parent_id', new.parent_id)
    );
  end if;

  if tg_op = 'UPDATE' then
    delete from private.org_unit_closure c
    using private.org_unit_closure below
    where below.ancestor_id = new.id
      and c.descendant_id = below.descendant_id
      and not exists (
        select from private.org_unit_closure inner_link
        where inner_link.ancestor_id = new.id and inner_link.descendant_id = c.ancestor_id
      );
  end if;

  insert into private.org_unit_closure (ancestor_id, descendant_id)
  select above.ancestor_id, below.descendant_id
  from private.org_unit_closure above
  cross join private.org_unit_closure below
  where above.descendant_id = new.parent_id and below.ancestor_id = new.id;

  return new;
end
$$;

create trigger _500_tree_on_insert after insert on lms.org_units
  for each row execute function private.keep_org_unit_tree();
create trigger _500_tree_on_move after update of id, tenant_id, parent_id on lms.org_units
  for each row when (
    (old.tenant_id, old.id, old.parent_id) is distinct from (new.tenant_id, new.id, new.parent_id)
  )
  execute function private.keep_org_unit_tree();

-- Deleting is for units made by mistake. The foreign keys would take the unit off people and off what they earned there,
-- so a unit that anything refers to is archived instead.
create function private.keep_used_unit()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if exists (select from lms.memberships m where m.tenant_id = old.tenant_id and m.unit_id = old.id)
    or exists (select from lms.enrollments e where e.tenant_id = old.tenant_id and e.unit_id = old.id)
    or exists (select from lms.path_enrollments e where e.tenant_id = old.tenant_id and e.unit_id = old.id)
    or exists (select from analytics.learning_sessions s where s.tenant_id = old.tenant_id and s.unit_id = old.id)
    or exists (select from analytics.question_events e where e.unit_id = old.id)
    or exists (select from analytics.activity_events e where e.unit_id = old.id)
    or exists (select from lms.org_units u where u.tenant_id = old.tenant_id and u.parent_id = old.id)
  then
    perform private.fail(
      'unit_in_use', 'People, enrolments or other units belong to this unit.', 409, jsonb_build_object('unit_id', old.id),
      'Archive it: set archived_at.'
    );
  end if;
  return old;
end
$$;

create trigger _150_unused before delete on lms.org_units
  for each row execute function private.keep_used_unit();

-- =====================================================================================================
-- What the caller may do: helpers of policies
-- =====================================================================================================
-- Each takes no user id, so nobody can ask on behalf of another, and returns a set, so that a policy evaluates it
-- once per statement. INV-T4: they look rights up in tables, so a suspension holds from the next statement on.

create function private.my_tenants()
returns setof uuid
language plpgsql
stable security definer
rows 2
set search_path = ''
as $$
begin
  return query
  select m.tenant_id
  from lms.memberships m
  where m.user_id = (select auth.uid()) and m.status = 'active' and not m.is_guest
    and (select t.is_active from lms.tenants t where t.id = m.tenant_id);
end
$$;

comment on function private.my_tenants is 'Tenants of which the caller is an active member, guests not counted.';

create function private.joined_tenants()
returns setof uuid
language plpgsql
stable security definer
rows 2
set search_path = ''
as $$
begin
  return query
  select m.tenant_id
  from lms.memberships m
  where m.user_id = (select auth.uid()) and m.status = 'active'
    and (select t.is_active from lms.tenants t where t.id = m.tenant_id);
end
$$;

comment on function private.joined_tenants is 'Tenants of which the caller is an active member or guest.';

create function private.closed_tenants()
returns setof uuid
language plpgsql
stable security definer
rows 1
set search_path = ''
as $$
begin
  return query
  select m.tenant_id
  from lms.memberships m
  where m.user_id = (select auth.uid())
    and (m.status = 'suspended' or not (select t.is_active from lms.tenants t where t.id = m.tenant_id));
end
$$;

comment on function private.closed_tenants is
  'Tenants whose rows the caller may not read even where they are their own. Asked in this negative form, because '
  'somebody who joins by enrolling must see the row that the same statement returns.';

create function private.tenants_where(wanted text)
returns setof uuid
language plpgsql
stable security definer
rows 2
set search_path = ''
as $$
begin
  return query
  select m.tenant_id
  from lms.memberships m
  join lms.tenants t on t.id = m.tenant_id
  join lms.role_grants g on g.tenant_id = m.tenant_id and g.membership_id = m.id
  join lms.role_permissions p on p.role_id = g.role_id
  where m.user_id = (select auth.uid()) and m.status = 'active' and t.is_active
    and g.unit_id is null and p.permission = wanted;
end
$$;

comment on function private.tenants_where is 'Tenants in the whole of which the caller holds the permission.';

create function private.tenants_partly_where(wanted text)
returns setof uuid
language plpgsql
stable security definer
rows 2
set search_path = ''
as $$
begin
  return query
  select m.tenant_id
  from lms.memberships m
  join lms.tenants t on t.id = m.tenant_id
  join lms.role_grants g on g.tenant_id = m.tenant_id and g.membership_id = m.id
  join lms.role_permissions p on p.role_id = g.role_id
  where m.user_id = (select auth.uid()) and m.status = 'active' and t.is_active
    and p.permission = wanted;
end
$$;

comment on function private.tenants_partly_where is
  'Tenants in which the caller holds the permission somewhere: for things that belong to no unit, such as courses.';

create function private.units_where(wanted text)
returns setof uuid
language plpgsql
stable security definer
rows 5
set search_path = ''
as $$
begin
  return query
  select c.descendant_id
  from lms.memberships m
  join lms.tenants t on t.id = m.tenant_id
  join lms.role_grants g on g.tenant_id = m.tenant_id and g.membership_id = m.id
  join lms.role_permissions p on p.role_id = g.role_id
  join private.org_unit_closure c on c.ancestor_id = g.unit_id
  where m.user_id = (select auth.uid()) and m.status = 'active' and t.is_active
    and p.permission = wanted;
end
$$;

comment on function private.units_where is
  'Org units in which the caller holds the permission by a grant on the unit or on one above it. Grants on the whole '
  'tenant are not listed here: ask tenants_where as well.';

grant execute on function
  private.my_tenants, private.joined_tenants, private.closed_tenants, private.tenants_where, private.tenants_partly_where, private.units_where
to anon, authenticated, service_role;

-- =====================================================================================================
-- Memberships change
-- =====================================================================================================

create function private.date_membership_end()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  -- Saying "ended" again must not make it somebody else's doing: who left by choice would not be safe from being fetched back.
  if tg_op = 'UPDATE' and new.status = old.status then
    return new;
  end if;
  if new.status = 'ended' then
    new.ended_at := case when private.is_api_call() then now() else coalesce(new.ended_at, now()) end;
    new.ended_by := case when private.is_api_call() then (select auth.uid()) else new.ended_by end;
  else
    new.ended_at := null;
    new.ended_by := null;
  end if;
  return new;
end
$$;

create trigger _200_end_date before insert or update of status on lms.memberships
  for each row execute function private.date_membership_end();

-- =====================================================================================================
-- Policies and grants
-- =====================================================================================================
grant execute on function private.is_notification_settings to authenticated, service_role;

alter table lms.tenants enable row level security;
alter table lms.org_units enable row level security;
alter table lms.permissions enable row level security;
alter table lms.roles enable row level security;
alter table lms.role_permissions enable row level security;
alter table lms.memberships enable row level security;
alter table lms.role_grants enable row level security;
alter table private.org_unit_closure enable row level security;
alter table private.builtin_roles enable row level security;
alter table private.builtin_role_permissions enable row level security;
alter table private.sign_up_notes enable row level security;

grant all on
  lms.tenants, lms.org_units, lms.permissions, lms.roles, lms.role_permissions, lms.memberships, lms.role_grants
to service_role;

grant select on lms.tenants to authenticated;
grant update (name, settings, time_zone, locale, invitation_valid_days) on lms.tenants to authenticated;

create policy "Members see their tenants" on lms.tenants
  for select to authenticated
  using (id = any (array(select private.my_tenants())));

create policy "Settings are changed by those allowed to" on lms.tenants
  for update to authenticated
  using (id = any (array(select private.tenants_where('tenant.settings'))))
  with check (id = any (array(select private.tenants_where('tenant.settings'))));

grant select, delete on lms.org_units to authenticated;
grant insert (tenant_id, parent_id, kind, name, code) on lms.org_units to authenticated;
grant update (parent_id, kind, name, code, archived_at) on lms.org_units to authenticated;

create policy "Members see the units of their tenants" on lms.org_units
  for select to authenticated
  using (tenant_id = any (array(select private.my_tenants())));

create policy "Units are added below units in one's scope" on lms.org_units
  for insert to authenticated
  with check (
    tenant_id = any (array(select private.tenants_where('members.write')))
    or parent_id = any (array(select private.units_where('members.write')))
  );

-- A unit manager changes what lies below the own unit: renaming or moving the unit itself is for those above.
create policy "Units are changed below units in one's scope" on lms.org_units
  for update to authenticated
  using (
    tenant_id = any (array(select private.tenants_where('members.write')))
    or parent_id = any (array(select private.units_where('members.write')))
  )
  with check (
    tenant_id = any (array(select private.tenants_where('members.write')))
    or parent_id = any (array(select private.units_where('members.write')))
  );

create policy "Units are deleted below units in one's scope" on lms.org_units
  for delete to authenticated
  using (
    tenant_id = any (array(select private.tenants_where('members.write')))
    or parent_id = any (array(select private.units_where('members.write')))
  );

grant select on lms.permissions to authenticated;

create policy "The vocabulary of permissions is open to people signed in" on lms.permissions
  for select to authenticated
  using (true);

grant select, delete on lms.memberships to authenticated;
grant insert (tenant_id, user_id, unit_id, job_title, employee_number) on lms.memberships to authenticated;
grant update (unit_id, status, job_title, employee_number, is_guest) on lms.memberships to authenticated;

-- INV-T4: the own membership disappears with the suspension, like everything else of that tenant.
create policy "Memberships are seen by their person and in scope" on lms.memberships
  for select to authenticated
  using (
    (user_id = (select auth.uid()) and tenant_id = any (array(select private.joined_tenants())))
    or tenant_id = any (array(select private.tenants_where('members.read')))
    or unit_id = any (array(select private.units_where('members.read')))
  );

create policy "Memberships are added in scope" on lms.memberships
  for insert to authenticated
  with check (
    tenant_id = any (array(select private.tenants_where('members.write')))
    or unit_id = any (array(select private.units_where('members.write')))
  );

-- Ending a membership keeps its history; deleting one is for what was a mistake, and anything that refers to it stops it.
create policy "Memberships are deleted by administrators" on lms.memberships
  for delete to authenticated
  using (tenant_id = any (array(select private.tenants_where('roles.write'))));

create policy "Memberships are changed in scope" on lms.memberships
  for update to authenticated
  using (
    tenant_id = any (array(select private.tenants_where('members.write')))
    or unit_id = any (array(select private.units_where('members.write')))
  )
  with check (
    tenant_id = any (array(select private.tenants_where('members.write')))
    or unit_id = any (array(select private.units_where('members.write')))
  );

notify pgrst, 'reload schema';
