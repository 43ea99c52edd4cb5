-- Roles: who may define them, who may give them to whom, and that a tenant never loses its last administrator.
-- Undo: drop table lms.assignable_roles, private.platform_admins; drop the triggers and functions below; revoke the grants and drop the policies on
-- lms.roles, role_permissions and role_grants.

set lock_timeout = '5s';
set statement_timeout = '60s';

create table lms.assignable_roles (
  tenant_id uuid not null,
  role_id uuid not null,
  assignable_role_id uuid not null,
  primary key (role_id, assignable_role_id),
  constraint assigning_role_is_of_the_same_tenant foreign key (tenant_id, role_id)
    references lms.roles (tenant_id, id) on delete cascade,
  constraint assignable_role_is_of_the_same_tenant foreign key (tenant_id, assignable_role_id)
    references lms.roles (tenant_id, id) on delete cascade
);
create index assignable_roles_by_role on lms.assignable_roles (tenant_id, role_id);
create index assignable_roles_by_assignable_role on lms.assignable_roles (tenant_id, assignable_role_id);

comment on table lms.assignable_roles is
  'Roles that the holders of a role may give to others although they do not hold all their permissions. Two keys lead to '
  'roles: embed with roles!assignable_role_is_of_the_same_tenant.';

-- =====================================================================================================
-- Built-in roles: what they may assign, and that they stay as they are
-- =====================================================================================================

create table private.builtin_assignable_roles (
  key text not null references private.builtin_roles (key),
  assignable_key text not null references private.builtin_roles (key),
  primary key (key, assignable_key)
);
create index builtin_assignable_roles_by_assignable on private.builtin_assignable_roles (assignable_key);
alter table private.builtin_assignable_roles enable row level security;

-- HR appoints trainers without being able to author courses.
insert into private.builtin_assignable_roles (key, assignable_key) values ('hr_admin', 'instructor');

create function private.copy_builtin_assignable_roles()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  insert into lms.assignable_roles (tenant_id, role_id, assignable_role_id)
  select new.id, r.id, a.id
  from private.builtin_assignable_roles b
  join lms.roles r on r.tenant_id = new.id and r.key = b.key
  join lms.roles a on a.tenant_id = new.id and a.key = b.assignable_key;
  return new;
end
$$;

create trigger _510_builtin_assignable_roles after insert on lms.tenants
  for each row execute function private.copy_builtin_assignable_roles();

-- A tenant that changes what its built-in roles mean could lock itself out, and an auditor could no longer know what
-- "administrator" meant. Only migrations change them; a custom role beside them takes a moment.
create function private.keep_builtin_roles()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if coalesce(current_setting('role', true), 'none') in ('anon', 'authenticated', 'service_role') and exists (
    select from lms.roles r
    -- Of the same tenant: what another one has is not told.
    where r.is_builtin and r.tenant_id = (to_jsonb(coalesce(new, old)) ->> 'tenant_id')::uuid and r.id in (
      case tg_table_name when 'roles' then (to_jsonb(old) ->> 'id')::uuid else (to_jsonb(old) ->> 'role_id')::uuid end,
      case tg_table_name when 'roles' then (to_jsonb(new) ->> 'id')::uuid else (to_jsonb(new) ->> 'role_id')::uuid end
    )
  ) then
    perform private.fail(
      'builtin_role', 'Built-in roles cannot be changed.', 409, null, 'Define a role of your own beside them.'
    );
  end if;
  return coalesce(new, old);
end
$$;

create trigger _250_builtin before update or delete on lms.roles
  for each row when (pg_trigger_depth() = 0) execute function private.keep_builtin_roles();
create trigger _250_builtin before insert or update or delete on lms.role_permissions
  for each row when (pg_trigger_depth() = 0) execute function private.keep_builtin_roles();
create trigger _250_builtin before insert or update or delete on lms.assignable_roles
  for each row when (pg_trigger_depth() = 0) execute function private.keep_builtin_roles();

-- =====================================================================================================
-- Administrators of the platform
-- =====================================================================================================

-- Apart from tenants and their roles on purpose: running the platform gives no sight of anybody's learning. Written in
-- SQL by whoever runs the database, by no API role.
create table private.platform_admins (
  user_id uuid primary key references public.profiles (id),
  created_at timestamptz not null default now()
);
alter table private.platform_admins enable row level security;

comment on table private.platform_admins is 'Who runs the installation: makes and closes tenants, watches jobs.';

-- =====================================================================================================
-- Nobody gives what they do not have (INV-T3)
-- =====================================================================================================
-- With the person as argument, because an invitation is judged by the rights of whoever sent it. No API role may call
-- these two.

create function private.holds(p_user_id uuid, p_permission text, p_tenant_id uuid, p_unit_id uuid)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return exists (
    select
    from lms.memberships m
    join lms.tenants t on t.id = m.tenant_id and t.is_active
    join lms.role_grants g on g.tenant_id = m.tenant_id and g.membership_id = m.id
    join lms.role_permissions p on p.role_id = g.role_id and p.permission = p_permission
    where m.user_id = p_user_id and m.tenant_id = p_tenant_id and m.status = 'active'
      and (
        g.unit_id is null
        or exists (
          select from private.org_unit_closure c where c.ancestor_id = g.unit_id and c.descendant_id = p_unit_id
        )
      )
  );
end
$$;

comment on function private.holds is
  'Does the person hold the permission for the unit, or for the whole tenant when p_unit_id is null?';

create function private.may_grant(p_user_id uuid, p_tenant_id uuid, p_role_id uuid, p_unit_id uuid)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return private.holds(p_user_id, 'members.write', p_tenant_id, p_unit_id)
    -- Or the answer would tell a role of another tenant from none.
    and exists (select from lms.roles r where r.tenant_id = p_tenant_id and r.id = p_role_id)
    and (
      not exists (
        select
        from lms.role_permissions p
        where p.role_id = p_role_id and not private.holds(p_user_id, p.permission, p_tenant_id, p_unit_id)
      )
      or exists (
        select
        from lms.memberships m
        join lms.role_grants g on g.tenant_id = m.tenant_id and g.membership_id = m.id
        join lms.assignable_roles a on a.role_id = g.role_id and a.assignable_role_id = p_role_id
        where m.user_id = p_user_id and m.tenant_id = p_tenant_id and m.status = 'active'
          and (
            g.unit_id is null
            or exists (
              select from private.org_unit_closure c where c.ancestor_id = g.unit_id and c.descendant_id = p_unit_id
            )
          )
      )
    );
end
$$;

comment on function private.may_grant is
  'INV-T3. May the person give this role, limited to the unit or for the whole tenant when p_unit_id is null? It takes '
  'members.write there, and all of the role''s permissions there or a role that lists it as assignable.';

-- Two administrators who take each other's rights away at once must not both succeed on rights that the other has just
-- lost: clients who change rights in a tenant queue up, and after the wait rights are looked up afresh, here and in the
-- row triggers below, because policies go on with what was true before it. Only those who could change anything are made to
-- wait for one another.
create function private.queue_role_changes()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_members_write uuid[];
  v_roles_write uuid[];
  v_tenant_id uuid;
begin
  if private.is_api_call() then
    v_members_write := array(select private.tenants_partly_where('members.write'));
    v_roles_write := array(select private.tenants_where('roles.write'));
    for v_tenant_id in select unnest(v_members_write) union select unnest(v_roles_write) order by 1 loop
      perform pg_advisory_xact_lock(hashtextextended('lyceum role changes ' || v_tenant_id, 0));
    end loop;
    if not v_members_write <@ array(select private.tenants_partly_where('members.write'))
      or not v_roles_write <@ array(select private.tenants_where('roles.write'))
    then
      raise insufficient_privilege using message = 'Your rights were changed at the same moment.';
    end if;
  end if;
  return null;
end
$$;

create trigger _050_queue before insert or update or delete on lms.roles
  for each statement when (pg_trigger_depth() = 0) execute function private.queue_role_changes();
create trigger _050_queue before insert or update or delete on lms.role_permissions
  for each statement when (pg_trigger_depth() = 0) execute function private.queue_role_changes();
create trigger _050_queue before insert or update or delete on lms.assignable_roles
  for each statement when (pg_trigger_depth() = 0) execute function private.queue_role_changes();
create trigger _050_queue before insert or update or delete on lms.role_grants
  for each statement when (pg_trigger_depth() = 0) execute function private.queue_role_changes();
create trigger _050_queue before insert or delete or update of status, unit_id, is_guest on lms.memberships
  for each statement when (pg_trigger_depth() = 0) execute function private.queue_role_changes();

create function private.refuse_grant()
returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  perform private.fail(
    'role_not_grantable', 'You cannot give or take this role here.', 403, null,
    'It takes members.write for the person and the unit, and all of the role''s permissions there or a role that may assign it.'
  );
end
$$;

-- The whole rule, also what the policies ask: after waiting in the queue, what they saw may be out of date.
create function private.check_role_grant()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_member lms.memberships;
begin
  if tg_op = 'INSERT' or (tg_op = 'UPDATE' and new.membership_id <> old.membership_id) then
    -- The lock keeps the membership from ending, and with it its roles from being taken, while one is added.
    perform from lms.memberships m where m.id = new.membership_id for no key update;
  end if;
  select * into v_member from lms.memberships m where m.id = coalesce(new.membership_id, old.membership_id);
  if private.is_api_call() then
    if not private.holds((select auth.uid()), 'members.write', v_member.tenant_id, v_member.unit_id)
      or (tg_op <> 'INSERT' and not private.may_grant((select auth.uid()), old.tenant_id, old.role_id, old.unit_id))
      or (tg_op <> 'DELETE' and not private.may_grant((select auth.uid()), new.tenant_id, new.role_id, new.unit_id))
    then
      perform private.refuse_grant();
    end if;
  end if;
  -- Said only to those who may know.
  if tg_op <> 'DELETE' and v_member.status = 'ended' then
    perform private.fail('membership_ended', 'This membership has ended.', 409, null, 'Invite the person again.');
  end if;
  return coalesce(new, old);
end
$$;

create trigger _150_grantable before insert or update or delete on lms.role_grants
  for each row when (pg_trigger_depth() = 0) execute function private.check_role_grant();

-- Roles limited to a unit cover what is moved below it, so moving a unit is giving those roles there. Without this, whoever
-- may arrange all units could pull them below the one where they hold more.
create function private.check_unit_move()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if private.is_api_call() and exists (
    select
    from lms.role_grants g
    join private.org_unit_closure c on c.ancestor_id = g.unit_id and c.descendant_id = new.parent_id
    where g.tenant_id = old.tenant_id
      and not exists (
        select from private.org_unit_closure o where o.ancestor_id = g.unit_id and o.descendant_id = old.id
      )
      and not private.may_grant((select auth.uid()), old.tenant_id, g.role_id, old.id)
  ) then
    perform private.refuse_grant();
  end if;
  return new;
end
$$;

create trigger _150_reach before update of parent_id on lms.org_units
  for each row when (pg_trigger_depth() = 0 and old.parent_id is distinct from new.parent_id)
  execute function private.check_unit_move();

-- Who holds a role is no guest.
create function private.receive_guest()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  update lms.memberships m set is_guest = false
  where m.tenant_id = new.tenant_id and m.id = new.membership_id and m.is_guest;
  return null;
end
$$;

create trigger _500_no_guest after insert on lms.role_grants
  for each row execute function private.receive_guest();

create function private.keep_member()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  perform private.fail(
    'member_is_no_guest', 'A member does not become a guest.', 409, null, 'End the membership instead.'
  );
  return null;
end
$$;

create trigger _200_no_guest_again before update of is_guest on lms.memberships
  for each row when (new.is_guest and not old.is_guest) execute function private.keep_member();

-- Defining a role is a way of giving rights to everybody who holds it.
create function private.check_role_permission()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if private.is_api_call() and not (
    private.holds((select auth.uid()), 'roles.write', new.tenant_id, null)
    and private.holds((select auth.uid()), new.permission, new.tenant_id, null)
  ) then
    perform private.fail(
      'permission_not_held', 'A role can only be given permissions that you hold in the whole tenant.', 403,
      jsonb_build_object('permission', new.permission)
    );
  end if;
  return new;
end
$$;

create trigger _200_held before insert or update on lms.role_permissions
  for each row when (pg_trigger_depth() = 0) execute function private.check_role_permission();

create function private.check_assignable_role()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if private.is_api_call() and not (
    private.holds((select auth.uid()), 'roles.write', new.tenant_id, null)
    and private.may_grant((select auth.uid()), new.tenant_id, new.assignable_role_id, null)
  ) then
    perform private.refuse_grant();
  end if;
  return new;
end
$$;

create trigger _200_grantable before insert or update on lms.assignable_roles
  for each row when (pg_trigger_depth() = 0) execute function private.check_assignable_role();

-- =====================================================================================================
-- Memberships change
-- =====================================================================================================

-- A tenant may read the private part of its members, so nobody becomes one without their doing by somebody who merely
-- learnt their id: a client adds people whom they look after already, somewhere. Everybody else is invited.
create function private.check_added_member()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if private.is_api_call() and not (
    private.holds((select auth.uid()), 'members.write', new.tenant_id, new.unit_id)
    and exists (
      select
      from lms.memberships m
      where m.user_id = new.user_id and m.status in ('active', 'suspended') and not m.is_guest
        and private.holds((select auth.uid()), 'members.read', m.tenant_id, m.unit_id)
    )
  ) then
    perform private.fail(
      'person_not_found', 'There is nobody of that id among the people you look after.', 404, null, 'Invite them: lms.invite.'
    );
  end if;
  return new;
end
$$;

-- Guests have asked for it, by enrolling; no client inserts one.
create trigger _150_known before insert on lms.memberships
  for each row when (pg_trigger_depth() = 0 and not new.is_guest) execute function private.check_added_member();

-- Whoever suspends, ends, moves or deletes somebody takes their rights away or changes what these cover. Within a unit
-- that is for those who hold the same rights there: a manager must not remove the manager above, nor the administrator who
-- happens to work in the unit. For the whole tenant it is for everybody with members.write there, but administrators
-- (roles.write) are changed by administrators only.
create function private.protect_higher_roles()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_user_id constant uuid := (select auth.uid());
  v_tenant_wide boolean;
begin
  -- Leaving is everybody's right.
  if not private.is_api_call() or (old.user_id = v_user_id and tg_op = 'UPDATE' and new.status = 'ended') then
    return coalesce(new, old);
  end if;

  -- As the policies have asked; they may have asked before a wait.
  if not private.holds(v_user_id, 'members.write', old.tenant_id, old.unit_id)
    or (tg_op = 'UPDATE' and not private.holds(v_user_id, 'members.write', new.tenant_id, new.unit_id))
  then
    raise insufficient_privilege using message = 'Changing this membership takes members.write for its unit.';
  end if;

  v_tenant_wide := private.holds(v_user_id, 'members.write', old.tenant_id, null);
  if exists (
    select
    from lms.role_grants g
    join lms.role_permissions p on p.role_id = g.role_id
    where g.tenant_id = old.tenant_id and g.membership_id = old.id
      and (p.permission = 'roles.write' or not v_tenant_wide)
      and not private.holds(v_user_id, p.permission, g.tenant_id, g.unit_id)
  ) then
    raise insufficient_privilege using message = 'This person holds rights that you do not hold yourself.';
  end if;

  if tg_op = 'UPDATE' and old.status = 'ended' and new.status <> 'ended' and old.ended_by = old.user_id then
    perform private.fail(
      'left_by_choice', 'This person has left; only they can come back.', 409, null, 'Invite them: lms.invite.'
    );
  end if;
  return coalesce(new, old);
end
$$;

create trigger _150_higher_roles before update of status, unit_id, is_guest on lms.memberships
  for each row when (
    pg_trigger_depth() = 0
    and (
      old.status is distinct from new.status or old.unit_id is distinct from new.unit_id
      or old.is_guest is distinct from new.is_guest
    )
  )
  execute function private.protect_higher_roles();
create trigger _150_higher_roles_deleted before delete on lms.memberships
  for each row execute function private.protect_higher_roles();

create function private.refuse_archived_unit()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if exists (
    select from lms.org_units u where u.tenant_id = new.tenant_id and u.id = new.unit_id and u.archived_at is not null
  ) then
    perform private.fail('unit_archived', 'This unit is archived: nobody joins it.', 409, jsonb_build_object('unit_id', new.unit_id));
  end if;
  return new;
end
$$;

create trigger _200_open_unit before insert on lms.memberships
  for each row when (new.unit_id is not null) execute function private.refuse_archived_unit();
create trigger _200_open_unit_moved before update of unit_id on lms.memberships
  for each row when (new.unit_id is not null and old.unit_id is distinct from new.unit_id)
  execute function private.refuse_archived_unit();

-- Who comes back later comes back as a plain member: rights end with the membership.
create function private.end_role_grants()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  delete from lms.role_grants g where g.tenant_id = new.tenant_id and g.membership_id = new.id;
  return null;
end
$$;

create trigger _500_grants_end after update of status on lms.memberships
  for each row when (new.status = 'ended' and old.status <> 'ended')
  execute function private.end_role_grants();

-- A tenant without an administrator could only be repaired from outside, so the last one stays, whoever writes (INV-T3).
-- Whom nobody can sign in as, because the login is gone, administers nothing. The tenant's row is locked first: of two
-- administrators removing each other, the second one counts the first.
create function private.require_an_administrator(p_tenant_id uuid)
returns void
language plpgsql
volatile
set search_path = ''
as $$
begin
  perform from lms.tenants t where t.id = p_tenant_id for no key update;
  if not exists (
    select
    from lms.role_grants g
    join lms.roles r on r.id = g.role_id and r.key = 'tenant_admin'
    join lms.memberships m on m.id = g.membership_id and m.status = 'active'
    join public.profiles p on p.id = m.user_id
    join auth.users u on u.id = p.user_id and u.deleted_at is null
    where g.tenant_id = p_tenant_id and g.unit_id is null
  ) then
    perform private.fail(
      'last_administrator', 'A tenant keeps at least one active administrator.', 409, null,
      'Make somebody else administrator first.'
    );
  end if;
end
$$;

create function private.keep_an_administrator()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_tenant_id uuid;
begin
  for v_tenant_id in
    select distinct o.tenant_id
    from old_rows o
    join lms.roles r on r.tenant_id = o.tenant_id and r.key = 'tenant_admin'
    where case tg_table_name
      when 'role_grants' then (to_jsonb(o) ->> 'role_id')::uuid = r.id
      else to_jsonb(o) ->> 'status' = 'active' and exists (
        select from lms.role_grants g where g.tenant_id = o.tenant_id and g.membership_id = o.id and g.role_id = r.id
      )
    end
    order by o.tenant_id
  loop
    perform private.require_an_administrator(v_tenant_id);
  end loop;
  return null;
end
$$;

create trigger _600_last_administrator after update on lms.memberships
  referencing old table as old_rows
  for each statement execute function private.keep_an_administrator();
create trigger _600_last_administrator_changed after update on lms.role_grants
  referencing old table as old_rows
  for each statement execute function private.keep_an_administrator();
create trigger _600_last_administrator_removed after delete on lms.role_grants
  referencing old table as old_rows
  for each statement execute function private.keep_an_administrator();

-- Deleting the last administrator's login would leave a tenant that nobody can sign in to as administrator, so that is
-- refused as well: Supabase Auth rolls back and answers 500, and the login stays. Logins are deleted by operators, who
-- can appoint somebody else first; a sign-up or sign-in never comes here.
create function private.keep_an_administrator_who_can_sign_in()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_tenant_id uuid;
begin
  for v_tenant_id in
    select distinct m.tenant_id
    from lms.memberships m
    join lms.role_grants g on g.tenant_id = m.tenant_id and g.membership_id = m.id and g.unit_id is null
    join lms.roles r on r.id = g.role_id and r.key = 'tenant_admin'
    where m.user_id = old.id and m.status = 'active'
    order by m.tenant_id
  loop
    perform private.require_an_administrator(v_tenant_id);
  end loop;
  return null;
end
$$;

create trigger _600_last_administrator_locked_out after update of user_id on public.profiles
  for each row when (old.user_id is not null and new.user_id is null)
  execute function private.keep_an_administrator_who_can_sign_in();
create trigger on_auth_user_marked_deleted after update of deleted_at on auth.users
  for each row when (old.deleted_at is null and new.deleted_at is not null)
  execute function private.keep_an_administrator_who_can_sign_in();

-- =====================================================================================================
-- Policies and grants
-- =====================================================================================================

alter table lms.assignable_roles enable row level security;
grant all on lms.assignable_roles to service_role;

grant select, delete on lms.roles, lms.role_permissions, lms.assignable_roles, lms.role_grants to authenticated;
grant insert (tenant_id, key, name, description) on lms.roles to authenticated;
grant update (name, description) on lms.roles to authenticated;
grant insert (tenant_id, role_id, permission) on lms.role_permissions to authenticated;
grant insert (tenant_id, role_id, assignable_role_id) on lms.assignable_roles to authenticated;
grant insert (tenant_id, membership_id, role_id, unit_id) on lms.role_grants to authenticated;
grant update (role_id, unit_id) on lms.role_grants to authenticated;

create policy "Members see the roles of their tenants" on lms.roles
  for select to authenticated
  using (tenant_id = any (array(select private.my_tenants())));

create policy "Roles are defined by those allowed to" on lms.roles
  for insert to authenticated
  with check (tenant_id = any (array(select private.tenants_where('roles.write'))));

create policy "Roles are renamed by those allowed to define them" on lms.roles
  for update to authenticated
  using (tenant_id = any (array(select private.tenants_where('roles.write'))))
  with check (tenant_id = any (array(select private.tenants_where('roles.write'))));

create policy "Roles are deleted by those allowed to define them" on lms.roles
  for delete to authenticated
  using (tenant_id = any (array(select private.tenants_where('roles.write'))));

create policy "Members see what the roles of their tenants allow" on lms.role_permissions
  for select to authenticated
  using (tenant_id = any (array(select private.my_tenants())));

create policy "Permissions are added by those allowed to define roles" on lms.role_permissions
  for insert to authenticated
  with check (tenant_id = any (array(select private.tenants_where('roles.write'))));

create policy "Permissions are taken away by those allowed to define roles" on lms.role_permissions
  for delete to authenticated
  using (tenant_id = any (array(select private.tenants_where('roles.write'))));

create policy "Members see what the roles of their tenants may assign" on lms.assignable_roles
  for select to authenticated
  using (tenant_id = any (array(select private.my_tenants())));

create policy "Assignable roles are listed by those allowed to define roles" on lms.assignable_roles
  for insert to authenticated
  with check (tenant_id = any (array(select private.tenants_where('roles.write'))));

create policy "Assignable roles are removed by those allowed to define roles" on lms.assignable_roles
  for delete to authenticated
  using (tenant_id = any (array(select private.tenants_where('roles.write'))));

create policy "Role grants are seen with their membership" on lms.role_grants
  for select to authenticated
  using (exists (select from lms.memberships m where m.id = membership_id));

-- Which role, and where, is for the trigger: a policy would ask it with what was true before a wait.
create policy "Roles are given to people in scope" on lms.role_grants
  for insert to authenticated
  with check (
    tenant_id = any (array(select private.tenants_where('members.write')))
    or unit_id = any (array(select private.units_where('members.write')))
  );

create policy "Roles are changed for people in scope" on lms.role_grants
  for update to authenticated
  using (
    tenant_id = any (array(select private.tenants_where('members.write')))
    or unit_id = any (array(select private.units_where('members.write')))
  )
  with check (
    tenant_id = any (array(select private.tenants_where('members.write')))
    or unit_id = any (array(select private.units_where('members.write')))
  );

create policy "Roles are taken away by administrators" on lms.role_grants
  for delete to authenticated
  using (tenant_id = any (array(select private.tenants_where('roles.write'))));

notify pgrst, 'reload schema';
