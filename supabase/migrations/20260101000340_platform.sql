-- Platform: the calls by which its administrators make and close tenants, and what a caller may do where.
-- Undo: drop functions lms.get_my_access, get_tenants, create_tenant, set_tenant_active; then the types and functions below.

set lock_timeout = '5s';
set statement_timeout = '60s';

create function private.is_platform_admin()
returns boolean
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  return exists (select from private.platform_admins a where a.user_id = (select auth.uid()));
end
$$;

-- True for the service as well: it acts for the platform where no person is signed in.
create function private.require_platform_admin()
returns void
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  if private.is_api_call() and not private.is_platform_admin() then
    raise insufficient_privilege using message = 'This takes being an administrator of the platform.';
  end if;
end
$$;

-- =====================================================================================================
-- Tenants
-- =====================================================================================================

create type lms.tenant_overview as (
  tenant_id uuid, slug text, name text, domain text, time_zone text, locale text, is_active boolean, active_members bigint,
  published_courses bigint, created_at timestamptz
);
comment on type lms.tenant_overview is 'A tenant as the platform sees it: sizes, and nobody''s data.';

create function private.list_tenants(p_limit integer, p_after_slug text, p_tenant_id uuid)
returns setof lms.tenant_overview
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  perform private.require_platform_admin();
  return query
  select
    t.id, t.slug::text, t.name::text, t.domain, t.time_zone::text, t.locale::text, t.is_active,
    (select count(*) from lms.memberships m where m.tenant_id = t.id and m.status = 'active'),
    (select count(*) from lms.courses c where c.tenant_id = t.id and c.status = 'published' and c.deleted_at is null),
    t.created_at
  from lms.tenants t
  where t.slug::text > coalesce(p_after_slug, '') and (p_tenant_id is null or t.id = p_tenant_id)
  order by t.slug::text
  limit p_limit;
end
$$;

create function lms.get_tenants(p_limit integer default 100, p_after_slug text default null)
returns setof lms.tenant_overview
language plpgsql
stable
set search_path = ''
as $$
begin
  if p_limit is null or p_limit not between 1 and 500 then
    perform private.fail('invalid_limit', 'The limit is 1 to 500.', 422);
  end if;
  return query select * from private.list_tenants(p_limit, p_after_slug, null);
end
$$;

comment on function lms.get_tenants is
  'All tenants by slug, for platform administrators; the next page starts after the last slug. 403 for everybody else.';

create function private.found_tenant(p_tenant lms.tenants, p_admin_email text)
returns lms.issued_invitation
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_tenant_id uuid;
  v_invitation lms.invitations;
begin
  perform private.require_platform_admin();
  insert into lms.tenants (slug, name, domain, time_zone, locale)
  values (p_tenant.slug, p_tenant.name, p_tenant.domain, p_tenant.time_zone, p_tenant.locale)
  returning id into v_tenant_id;

  v_invitation.tenant_id := v_tenant_id;
  v_invitation.email := lower(btrim(p_admin_email));
  v_invitation.limited_to_unit := false;
  select r.id into v_invitation.role_id from lms.roles r where r.tenant_id = v_tenant_id and r.key = 'tenant_admin';
  return private.issue_invitation(v_invitation);
end
$$;

create function lms.create_tenant(
  p_slug text, p_name text, p_admin_email text, p_domain text default null, p_time_zone text default 'UTC',
  p_locale text default 'en'
)
returns lms.issued_invitation
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_tenant lms.tenants;
begin
  v_tenant.slug := p_slug;
  v_tenant.name := p_name;
  v_tenant.domain := p_domain;
  v_tenant.time_zone := p_time_zone;
  v_tenant.locale := p_locale;
  return private.found_tenant(v_tenant, p_admin_email);
end
$$;

comment on function lms.create_tenant is
  'Makes a tenant and invites its first administrator: returns that invitation, its token shown this once. For platform '
  'administrators; 403 for everybody else. 409 23505 tenant_slug_is_taken.';

create function private.switch_tenant(p_tenant_id uuid, p_is_active boolean)
returns lms.tenant_overview
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_overview lms.tenant_overview;
begin
  perform private.require_platform_admin();
  if p_is_active is null then
    perform private.fail('invalid_argument', 'p_is_active is true or false.', 422);
  end if;
  update lms.tenants t set is_active = p_is_active where t.id = p_tenant_id and t.is_active <> p_is_active;
  select * into v_overview from private.list_tenants(1, null, p_tenant_id);
  if not found then
    perform private.fail('tenant_not_found', 'There is no such organisation.', 404);
  end if;
  return v_overview;
end
$$;

create function lms.set_tenant_active(p_tenant_id uuid, p_is_active boolean)
returns lms.tenant_overview
language plpgsql
volatile
set search_path = ''
as $$
begin
  return private.switch_tenant(p_tenant_id, p_is_active);
end
$$;

comment on function lms.set_tenant_active is
  'Closes a tenant to its members on their next request, or opens it again. For platform administrators; 403 for everybody '
  'else. 404 tenant_not_found.';

-- =====================================================================================================
-- What may I do where?
-- =====================================================================================================

create type lms.held_role as (key text, name text, unit_id uuid);
create type lms.held_permission as (permission text, is_tenant_wide boolean, unit_ids uuid[]);
create type lms.tenant_access as (
  tenant_id uuid, slug text, name text, time_zone text, locale text, membership_id uuid, unit_id uuid, is_guest boolean,
  roles lms.held_role[], permissions lms.held_permission[], staffed_course_ids uuid[]
);
create type lms.my_access as (user_id uuid, is_platform_admin boolean, tenants lms.tenant_access[]);

comment on type lms.held_role is 'A role of the caller; unit_id is null where it covers the whole tenant.';
comment on type lms.held_permission is
  'A permission of the caller: in the whole tenant, or in these units, each with all units below it.';
comment on type lms.tenant_access is 'What the caller may do in one tenant.';
comment on type lms.my_access is 'What the caller may do where.';

create function private.access_of_caller()
returns lms.my_access
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_access lms.my_access;
begin
  v_access.user_id := (select auth.uid());
  v_access.is_platform_admin := private.is_platform_admin();
  select coalesce(array_agg((
    t.id, t.slug, t.name, t.time_zone, t.locale, m.id, m.unit_id, m.is_guest,
    array(
      select (r.key, r.name, g.unit_id)::lms.held_role
      from lms.role_grants g
      join lms.roles r on r.id = g.role_id
      where g.tenant_id = m.tenant_id and g.membership_id = m.id
      order by r.key, g.unit_id nulls first
    ),
    array(
      select (
        p.permission, bool_or(g.unit_id is null),
        coalesce(array_agg(distinct g.unit_id) filter (where g.unit_id is not null), '{}')
      )::lms.held_permission
      from lms.role_grants g
      join lms.role_permissions p on p.role_id = g.role_id
      where g.tenant_id = m.tenant_id and g.membership_id = m.id
      group by p.permission
      order by p.permission
    ),
    array(
      select s.course_id
      from lms.course_staff s
      where s.tenant_id = m.tenant_id and s.user_id = m.user_id
        and s.course_id = any (array(select private.staffed_courses()))
      order by s.course_id
    )
  )::lms.tenant_access order by t.slug), '{}')
  into v_access.tenants
  from lms.memberships m
  join lms.tenants t on t.id = m.tenant_id and t.is_active
  where m.user_id = v_access.user_id and m.status = 'active';
  return v_access;
end
$$;

create function lms.get_my_access()
returns lms.my_access
language plpgsql
stable
set search_path = ''
as $$
begin
  return private.access_of_caller();
end
$$;

comment on function lms.get_my_access is
  'What the caller may do where: per tenant the roles, the permissions with their scope, and the courses that they are '
  'staff of. For showing and hiding parts of a client; the database decides again on every call. Tenants in which the '
  'caller is suspended are not listed.';

grant execute on function
  private.is_platform_admin, private.require_platform_admin, private.list_tenants, private.found_tenant, private.switch_tenant,
  private.access_of_caller
to authenticated, service_role;
grant execute on function lms.get_my_access to authenticated;
grant execute on function lms.get_tenants, lms.create_tenant, lms.set_tenant_active to authenticated, service_role;

notify pgrst, 'reload schema';
