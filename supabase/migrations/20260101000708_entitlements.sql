-- Entitlements: who has the right to take what has to be paid for. Apart from enrolments: money is one thing, learning
-- another. A purchase, a plan, a seat or an administrator grants one.
-- Undo: drop functions billing.grant_entitlement, revoke_entitlement; drop view billing.people; drop table
-- billing.entitlements; drop functions private.has_entitlement, grant_entitlement_to, revoke_entitlement_of.

set lock_timeout = '5s';
set statement_timeout = '60s';

create table billing.entitlements (
  id uuid primary key default private.uuid_v7(),
  tenant_id uuid not null,
  user_id uuid not null constraint entitlement_is_of_a_person references public.profiles (id),
  course_id uuid,
  source text not null constraint entitlement_source_is_known check (source in ('purchase', 'plan', 'seat', 'grant')),
  valid_from timestamptz not null default now(),
  valid_until timestamptz,
  revoked_at timestamptz,
  granted_by uuid,
  reason text constraint entitlement_reason_is_short check (length(reason) <= 1000),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint entitlement_is_of_a_member foreign key (tenant_id, user_id) references lms.memberships (tenant_id, user_id),
  constraint entitlement_course_is_of_the_same_tenant foreign key (tenant_id, course_id) references lms.courses (tenant_id, id),
  constraint entitlement_dates_are_finite check (isfinite(valid_from) and isfinite(valid_until)),
  constraint entitlement_ends_after_it_begins check (valid_until > valid_from)
);
create index entitlements_by_user on billing.entitlements (user_id, tenant_id);
create index entitlements_by_tenant on billing.entitlements (tenant_id, created_at desc, id desc);
create index entitlements_by_member on billing.entitlements (tenant_id, user_id);
create index entitlements_by_course on billing.entitlements (tenant_id, course_id);

comment on table billing.entitlements is
  'The right of a person to take a course, or everything of a tenant, without paying now. Ending one keeps cycles that have '
  'begun; it decides about beginning.';
comment on column billing.entitlements.course_id is 'Null: everything of the tenant.';
comment on column billing.entitlements.valid_until is 'Counts before then; null is without end.';

create trigger _100_timestamps before update on billing.entitlements
  for each row execute function private.touch_updated_at();

-- The one predicate that decides about what is paid for.
create function private.has_entitlement(p_tenant_id uuid, p_user_id uuid, p_course_id uuid)
returns boolean
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  return exists (
    select
    from billing.entitlements e
    where e.user_id = p_user_id and e.tenant_id = p_tenant_id
      and (e.course_id is null or e.course_id = p_course_id)
      and e.valid_from <= now() and (e.valid_until is null or e.valid_until > now())
      and (e.revoked_at is null or e.revoked_at > now())
  );
end
$$;

comment on function private.has_entitlement is 'True while the person may take the course, or anything of the tenant, paid for.';

-- Definer, because nobody may write the table; so they check their caller.
create function private.grant_entitlement_to(p_wanted billing.entitlements)
returns billing.entitlements
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_entitlement billing.entitlements;
begin
  if private.is_api_call() and not coalesce(
    p_wanted.tenant_id = any (array(select private.tenants_where('billing.write'))), false
  ) then
    raise insufficient_privilege using message = 'Granting entitlements takes billing.write.';
  end if;
  if not exists (
    select
    from lms.memberships m
    where m.tenant_id = p_wanted.tenant_id and m.user_id = p_wanted.user_id and m.status <> 'ended'
  ) then
    perform private.fail('person_not_found', 'The organisation has no such member.', 404);
  elsif p_wanted.course_id is not null and not exists (
    select from lms.courses c where c.tenant_id = p_wanted.tenant_id and c.id = p_wanted.course_id and c.deleted_at is null
  ) then
    perform private.fail('course_not_found', 'The organisation has no such course.', 404);
  end if;
  insert into billing.entitlements (tenant_id, user_id, course_id, source, valid_from, valid_until, granted_by, reason)
  values (
    p_wanted.tenant_id, p_wanted.user_id, p_wanted.course_id, 'grant', coalesce(p_wanted.valid_from, now()),
    p_wanted.valid_until, (select auth.uid()), p_wanted.reason
  )
  returning * into v_entitlement;
  return v_entitlement;
end
$$;

create function billing.grant_entitlement(
  p_tenant_id uuid,
  p_user_id uuid,
  p_course_id uuid default null,
  p_valid_until timestamptz default null,
  p_valid_from timestamptz default null,
  p_reason text default null
)
returns billing.entitlements
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_wanted billing.entitlements;
begin
  v_wanted.tenant_id := p_tenant_id;
  v_wanted.user_id := p_user_id;
  v_wanted.course_id := p_course_id;
  v_wanted.valid_from := p_valid_from;
  v_wanted.valid_until := p_valid_until;
  v_wanted.reason := p_reason;
  return private.grant_entitlement_to(v_wanted);
end
$$;

comment on function billing.grant_entitlement is
  'Lets a member take a course, or everything of the tenant, without paying. Takes billing.write in the whole tenant: 403. '
  '404 person_not_found, course_not_found; 23514 entitlement_ends_after_it_begins.';

create function private.revoke_entitlement_of(p_entitlement_id uuid, p_reason text)
returns billing.entitlements
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_entitlement billing.entitlements;
begin
  select * into v_entitlement from billing.entitlements e where e.id = p_entitlement_id for no key update;
  if private.is_api_call() and not coalesce(
    v_entitlement.tenant_id = any (array(select private.tenants_where('billing.write'))), false
  ) then
    raise insufficient_privilege using message = 'Revoking entitlements takes billing.write.';
  end if;
  update billing.entitlements e
  set revoked_at = now(), reason = coalesce(p_reason, e.reason)
  where e.id = p_entitlement_id and e.revoked_at is null
  returning * into v_entitlement;
  if not found then
    select * into v_entitlement from billing.entitlements e where e.id = p_entitlement_id;
  end if;
  return v_entitlement;
end
$$;

create function billing.revoke_entitlement(p_entitlement_id uuid, p_reason text default null)
returns billing.entitlements
language plpgsql
volatile
set search_path = ''
as $$
begin
  -- Read as the caller: somebody else's entitlement does not exist for them.
  if not exists (select from billing.entitlements e where e.id = p_entitlement_id) then
    perform private.fail('entitlement_not_found', 'There is no such entitlement.', 404);
  end if;
  return private.revoke_entitlement_of(p_entitlement_id, p_reason);
end
$$;

comment on function billing.revoke_entitlement is
  'Ends an entitlement now; revoking again changes nothing. Takes billing.write in the whole tenant: 403. 404 '
  'entitlement_not_found.';

grant execute on function private.grant_entitlement_to, private.revoke_entitlement_of to authenticated, service_role;
grant execute on function billing.grant_entitlement, billing.revoke_entitlement to authenticated, service_role;

-- =====================================================================================================
-- Policies and grants
-- =====================================================================================================

alter table billing.entitlements enable row level security;

grant all on billing.entitlements to service_role;
grant select on billing.entitlements to authenticated;

create policy "Entitlements are seen by their holder and in scope" on billing.entitlements
  for select to authenticated
  using (
    (user_id = (select auth.uid()) and tenant_id <> all (array(select private.closed_tenants())))
    or tenant_id = any (array(select private.tenants_where('enrollments.read')))
    or tenant_id = any (array(select private.tenants_where('billing.read')))
    or exists (
      select from private.membership_scopes m
      where m.user_id = entitlements.user_id and m.tenant_id = entitlements.tenant_id
        and m.unit_id = any (array(select private.units_where('enrollments.read')))
    )
  );

create view billing.people with (security_invoker = true) as
  select p.id, p.display_name, p.avatar_url
  from public.profiles p;

comment on view billing.people is
  'Names and pictures, as far as the caller may see them; embeds from every column that holds a person''s id.';

grant select on billing.people to authenticated, service_role;

notify pgrst, 'reload schema';
