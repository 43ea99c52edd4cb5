-- Invitations: how a person becomes a member by their own consent, and how they leave.
-- Undo: drop functions lms.invite, get_invitation, accept_invitation, revoke_invitation, leave_tenant; drop tables
-- private.invitation_tokens, lms.invitations; then the types and functions below.

set lock_timeout = '5s';
set statement_timeout = '60s';

create domain private.email_address as text
  constraint email_is_an_address_in_lower_case
  check (value ~ '^[^\s@<>,;:"\\]+@[^\s@<>,;:"\\]+\.[^\s@<>,;:"\\]+$' and length(value) <= 320 and value = lower(value));

-- =====================================================================================================
-- Tables
-- =====================================================================================================

create table lms.invitations (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null constraint invitation_belongs_to_a_tenant references lms.tenants (id),
  email private.email_address not null,
  role_id uuid not null,
  unit_id uuid,
  limited_to_unit boolean not null default true,
  first_name text not null default '' constraint invited_first_name_is_one_short_line
    check (length(first_name) <= 100 and first_name !~ '[\x01-\x1f\x7f]'),
  last_name text not null default '' constraint invited_last_name_is_one_short_line
    check (length(last_name) <= 100 and last_name !~ '[\x01-\x1f\x7f]'),
  job_title text constraint invited_job_title_is_short check (length(job_title) <= 200),
  employee_number text constraint invited_employee_number_is_short
    check (employee_number ~ '\S' and length(employee_number) <= 60),
  invited_by uuid,
  expires_at timestamptz not null,
  accepted_at timestamptz,
  accepted_by uuid,
  revoked_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint invitation_of_its_tenant unique (tenant_id, id),
  constraint invitation_role_is_of_the_same_tenant foreign key (tenant_id, role_id) references lms.roles (tenant_id, id),
  constraint invitation_unit_is_of_the_same_tenant foreign key (tenant_id, unit_id) references lms.org_units (tenant_id, id),
  constraint invitation_is_not_both_accepted_and_revoked check (accepted_at is null or revoked_at is null),
  constraint invitation_accepted_by_somebody check ((accepted_at is null) = (accepted_by is null))
);
create unique index one_open_invitation_per_address on lms.invitations (tenant_id, email)
  where accepted_at is null and revoked_at is null;
create unique index one_open_invitation_per_employee_number on lms.invitations (tenant_id, employee_number)
  where accepted_at is null and revoked_at is null;
create index invitations_by_tenant on lms.invitations (tenant_id, created_at desc, id desc);
create index invitations_by_role on lms.invitations (tenant_id, role_id);
create index invitations_by_unit on lms.invitations (tenant_id, unit_id);
create index invitations_by_unit_alone on lms.invitations (unit_id);
create index invitations_by_address on lms.invitations (email);

comment on table lms.invitations is
  'Somebody was asked to become a member. Open until accepted, revoked or past expires_at. Made by lms.invite.';
comment on column lms.invitations.unit_id is 'Home unit of the membership to come.';
comment on column lms.invitations.limited_to_unit is 'The role covers unit_id and what is below it; false: the whole tenant.';
comment on column lms.invitations.first_name is 'For the profile, where the person has given no name themselves.';

-- The token is what the invitation is worth, so it is kept apart, where no API role reads, and only as a hash.
create table private.invitation_tokens (
  invitation_id uuid primary key references lms.invitations (id) on delete cascade,
  token_hash bytea not null constraint invitation_token_is_unique unique
);
alter table private.invitation_tokens enable row level security;

create trigger _100_timestamps before update on lms.invitations
  for each row execute function private.touch_updated_at();

-- =====================================================================================================
-- Accepting
-- =====================================================================================================

-- An accepted invitation is a membership: whoever marks it accepted causes both. Somebody who is a member already keeps
-- their unit and gains the role.
create function private.admit_invited()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_membership_id uuid;
begin
  insert into lms.memberships as m (tenant_id, user_id, unit_id, job_title, employee_number)
  values (new.tenant_id, new.accepted_by, new.unit_id, new.job_title, new.employee_number)
  on conflict (tenant_id, user_id) do update set
    status = 'active',
    is_guest = false,
    unit_id = case when m.status = 'active' and not m.is_guest then coalesce(m.unit_id, excluded.unit_id) else excluded.unit_id end,
    job_title = coalesce(excluded.job_title, m.job_title),
    employee_number = coalesce(m.employee_number, excluded.employee_number)
  returning m.id into v_membership_id;

  insert into lms.role_grants (tenant_id, membership_id, role_id, unit_id)
  values (new.tenant_id, v_membership_id, new.role_id, case when new.limited_to_unit then new.unit_id end)
  on conflict do nothing;

  update public.profiles p
  set first_name = new.first_name, last_name = new.last_name
  where p.id = new.accepted_by and p.first_name = '' and p.last_name = '' and new.first_name || new.last_name <> '';
  return null;
end
$$;

create trigger _500_admit after update of accepted_at on lms.invitations
  for each row when (old.accepted_at is null and new.accepted_at is not null)
  execute function private.admit_invited();

-- Definer, because the invited person may not see the invitation's tenant yet. The token alone is not enough: it can be
-- forwarded, and whoever invites holds it too, so the caller must own the address.
create function private.accept_invitation_of_caller(p_token text)
returns lms.memberships
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_user_id constant uuid := (select auth.uid());
  v_invitation lms.invitations;
  v_login record;
  v_membership lms.memberships;
begin
  select i.* into v_invitation
  from private.invitation_tokens t
  join lms.invitations i on i.id = t.invitation_id
  where t.token_hash = sha256(convert_to(p_token, 'UTF8'))
  -- Both, in the order in which they are written: or the old token, found before a renewal, would open the new invitation.
  for no key update of i, t;
  if not found or v_invitation.revoked_at is not null then
    perform private.fail('invitation_not_found', 'There is no such invitation.', 404);
  end if;

  select lower(u.email) as email, u.email_confirmed_at into v_login from auth.users u where u.id = v_user_id;
  if v_login.email is distinct from v_invitation.email then
    perform private.fail(
      'invitation_for_another_address', 'This invitation was sent to another e-mail address.', 403, null,
      'Sign in with the address that received it.'
    );
  elsif v_login.email_confirmed_at is null then
    perform private.fail('email_not_confirmed', 'Your e-mail address is not confirmed yet.', 403);
  end if;

  perform private.hold_promised_courses(v_invitation.id);
  select * into v_membership
  from lms.memberships m
  where m.tenant_id = v_invitation.tenant_id and m.user_id = v_user_id
  for no key update;
  if v_invitation.accepted_at is not null then
    if v_membership.status = 'active' then
      return v_membership;
    end if;
    perform private.fail('invitation_used', 'This invitation has been used.', 409, null, 'Ask for a new one.');
  end if;
  if v_invitation.expires_at <= now() then
    perform private.fail('invitation_expired', 'This invitation has expired.', 409, null, 'Ask for a new one.');
  elsif v_membership.status = 'suspended' then
    perform private.fail('membership_suspended', 'The membership is suspended.', 403);
  elsif not (select t.is_active from lms.tenants t where t.id = v_invitation.tenant_id) then
    perform private.fail('tenant_inactive', 'The organisation is not active.', 409);
  elsif v_invitation.invited_by is not null and not private.may_invite(
    v_invitation.invited_by, v_invitation.tenant_id, v_invitation.role_id, v_invitation.unit_id, v_invitation.limited_to_unit
  ) then
    -- Or somebody who is about to lose their rights could keep them, by inviting themselves beforehand.
    perform private.fail(
      'invitation_void', 'Whoever sent this invitation may not give this role any more.', 409, null, 'Ask for a new one.'
    );
  elsif v_membership.employee_number is null and exists (
    select
    from lms.memberships m
    where m.tenant_id = v_invitation.tenant_id and m.employee_number = v_invitation.employee_number
  ) then
    perform private.fail(
      'employee_number_taken', 'Another member has the employee number of this invitation by now.', 409, null,
      'Ask for a new one.'
    );
  end if;

  update lms.invitations i set accepted_at = now(), accepted_by = v_user_id where i.id = v_invitation.id;
  select * into v_membership
  from lms.memberships m
  where m.tenant_id = v_invitation.tenant_id and m.user_id = v_user_id;
  return v_membership;
end
$$;

-- INV-T3. A platform administrator appoints the first administrator of a tenant, and from then on has no say in it.
create function private.may_invite(
  p_user_id uuid, p_tenant_id uuid, p_role_id uuid, p_unit_id uuid, p_limited_to_unit boolean
)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return private.may_grant(p_user_id, p_tenant_id, p_role_id, case when p_limited_to_unit then p_unit_id end)
    or (
      exists (select from private.platform_admins a where a.user_id = p_user_id)
      and not exists (
        select
        from lms.role_grants g
        join lms.roles r on r.id = g.role_id and r.key = 'tenant_admin'
        where g.tenant_id = p_tenant_id
      )
    );
end
$$;

create function lms.accept_invitation(p_token text)
returns lms.memberships
language plpgsql
volatile
set search_path = ''
as $$
begin
  return private.accept_invitation_of_caller(p_token);
end
$$;

comment on function lms.accept_invitation is
  'Makes the caller a member and returns the membership; again the same when repeated. The caller''s confirmed e-mail '
  'address must be the invited one. 404 invitation_not_found; 403 invitation_for_another_address, email_not_confirmed, '
  'membership_suspended; 409 invitation_expired, invitation_used, invitation_void, employee_number_taken, unit_archived, '
  'tenant_inactive.';

-- =====================================================================================================
-- Inviting
-- =====================================================================================================

create type lms.issued_invitation as (
  invitation_id uuid, tenant_id uuid, email text, role_id uuid, unit_id uuid, expires_at timestamptz, token text
);
comment on type lms.issued_invitation is
  'An invitation with its token, which is shown this once: the database keeps a hash.';

-- Inviting an address again renews: the old link dies, the new one says what was said last.
create function private.issue_invitation(p_invitation lms.invitations)
returns lms.issued_invitation
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_token constant text := translate(encode(extensions.gen_random_bytes(32), 'base64'), '+/=' || chr(10), '-_');
  v_invitation lms.invitations;
begin
  if private.is_api_call() and not private.may_invite(
    (select auth.uid()), p_invitation.tenant_id, p_invitation.role_id, p_invitation.unit_id, p_invitation.limited_to_unit
  ) then
    perform private.refuse_grant();
  end if;
  if exists (select from lms.org_units u where u.id = p_invitation.unit_id and u.archived_at is not null) then
    perform private.fail('unit_archived', 'This unit is archived: nobody joins it.', 409);
  end if;

  insert into lms.invitations as i (
    tenant_id, email, role_id, unit_id, limited_to_unit, first_name, last_name, job_title, employee_number, invited_by,
    expires_at
  )
  values (
    p_invitation.tenant_id, p_invitation.email, p_invitation.role_id, p_invitation.unit_id, p_invitation.limited_to_unit,
    coalesce(p_invitation.first_name, ''), coalesce(p_invitation.last_name, ''), p_invitation.job_title,
    p_invitation.employee_number, case when private.is_api_call() then (select auth.uid()) end,
    now() + make_interval(days => (select t.invitation_valid_days from lms.tenants t where t.id = p_invitation.tenant_id))
  )
  on conflict (tenant_id, email) where accepted_at is null and revoked_at is null do update set
    role_id = excluded.role_id,
    unit_id = excluded.unit_id,
    limited_to_unit = excluded.limited_to_unit,
    first_name = excluded.first_name,
    last_name = excluded.last_name,
    job_title = excluded.job_title,
    employee_number = excluded.employee_number,
    invited_by = excluded.invited_by,
    expires_at = excluded.expires_at
  -- An invitation that others sent and that still stands is theirs to renew: its link would die here as well.
  where not private.is_api_call() or i.expires_at <= now()
    or private.holds((select auth.uid()), 'members.write', i.tenant_id, i.unit_id)
  returning * into v_invitation;
  if not found then
    perform private.fail(
      'already_invited', 'Somebody else of the organisation has invited this address.', 409, null,
      'Wait until it is accepted, or ask an administrator of the whole organisation.'
    );
  end if;

  insert into private.invitation_tokens as t (invitation_id, token_hash)
  values (v_invitation.id, sha256(convert_to(v_token, 'UTF8')))
  on conflict (invitation_id) do update set token_hash = excluded.token_hash;
  perform private.enqueue_invitation(v_invitation, v_token);

  return (
    v_invitation.id, v_invitation.tenant_id, v_invitation.email, v_invitation.role_id, v_invitation.unit_id,
    v_invitation.expires_at, v_token
  )::lms.issued_invitation;
end
$$;

create function lms.invite(
  p_tenant_id uuid,
  p_email text,
  p_role text default 'learner',
  p_unit_id uuid default null,
  p_limited_to_unit boolean default true,
  p_job_title text default null,
  p_employee_number text default null,
  p_first_name text default '',
  p_last_name text default ''
)
returns lms.issued_invitation
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_invitation lms.invitations;
begin
  -- Read as the caller: a tenant, unit or role that they cannot see does not exist for them.
  if not exists (select from lms.tenants t where t.id = p_tenant_id) then
    perform private.fail('tenant_not_found', 'There is no such organisation.', 404);
  end if;
  if p_unit_id is not null and not exists (select from lms.org_units u where u.tenant_id = p_tenant_id and u.id = p_unit_id) then
    perform private.fail('unit_not_found', 'There is no such unit.', 404);
  end if;
  select r.id into v_invitation.role_id from lms.roles r where r.tenant_id = p_tenant_id and r.key = p_role;
  if not found then
    perform private.fail('role_not_found', 'There is no such role.', 404, jsonb_build_object('role', p_role));
  end if;
  if exists (
    select
    from lms.memberships m
    join public.profile_private p on p.profile_id = m.user_id
    where m.tenant_id = p_tenant_id and lower(p.email) = lower(btrim(p_email)) and m.status <> 'ended' and not m.is_guest
  ) then
    perform private.fail(
      'already_a_member', 'A member has this e-mail address.', 409, null, 'Change their membership and roles instead.'
    );
  end if;

  v_invitation.tenant_id := p_tenant_id;
  v_invitation.email := lower(btrim(p_email));
  v_invitation.unit_id := p_unit_id;
  v_invitation.limited_to_unit := p_limited_to_unit;
  v_invitation.job_title := p_job_title;
  v_invitation.employee_number := p_employee_number;
  v_invitation.first_name := p_first_name;
  v_invitation.last_name := p_last_name;
  return private.issue_invitation(v_invitation);
end
$$;

comment on function lms.invite is
  'Invites an address, or renews its open invitation: a new token and a new term (tenants.invitation_valid_days). Needs '
  'members.write for the unit, and the right to give the role there. The token is returned this once; it goes into the '
  'link that the person receives. 404 tenant_not_found, unit_not_found, role_not_found; 403 role_not_grantable; '
  '409 already_a_member, already_invited, unit_archived.';

create type lms.invitation_preview as (
  tenant_id uuid, tenant_name text, email text, role_name text, unit_name text, expires_at timestamptz, is_open boolean
);
comment on type lms.invitation_preview is 'What the holder of a token may know before signing up.';

create function private.preview_invitation(p_token text)
returns lms.invitation_preview
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_preview lms.invitation_preview;
begin
  select
    i.tenant_id, t.name, i.email, r.name, u.name, i.expires_at, i.accepted_at is null and i.expires_at > now() and t.is_active
  into v_preview
  from private.invitation_tokens k
  join lms.invitations i on i.id = k.invitation_id
  join lms.tenants t on t.id = i.tenant_id
  join lms.roles r on r.id = i.role_id
  left join lms.org_units u on u.id = i.unit_id
  where k.token_hash = sha256(convert_to(p_token, 'UTF8')) and i.revoked_at is null;
  if not found then
    perform private.fail('invitation_not_found', 'There is no such invitation.', 404);
  end if;
  return v_preview;
end
$$;

create function lms.get_invitation(p_token text)
returns lms.invitation_preview
language plpgsql
stable
set search_path = ''
as $$
begin
  return private.preview_invitation(p_token);
end
$$;

comment on function lms.get_invitation is
  'Who invites to what, for the page that a link leads to, also before signing up. 404 invitation_not_found.';

-- =====================================================================================================
-- Revoking, leaving
-- =====================================================================================================

create function private.revoke_open_invitation(p_invitation_id uuid)
returns lms.invitations
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_invitation lms.invitations;
begin
  select * into v_invitation from lms.invitations i where i.id = p_invitation_id for no key update;
  if private.is_api_call()
    and not private.holds((select auth.uid()), 'members.write', v_invitation.tenant_id, v_invitation.unit_id)
  then
    raise insufficient_privilege using message = 'Revoking this invitation takes members.write for its unit.';
  end if;
  if v_invitation.accepted_at is not null then
    perform private.fail('invitation_used', 'This invitation has been accepted.', 409, null, 'End the membership instead.');
  end if;
  update lms.invitations i
  set revoked_at = now()
  where i.id = p_invitation_id and i.revoked_at is null
  returning * into v_invitation;
  if not found then
    select * into v_invitation from lms.invitations i where i.id = p_invitation_id;
  end if;
  return v_invitation;
end
$$;

create function lms.revoke_invitation(p_invitation_id uuid)
returns lms.invitations
language plpgsql
volatile
set search_path = ''
as $$
begin
  if not exists (select from lms.invitations i where i.id = p_invitation_id) then
    perform private.fail('invitation_not_found', 'There is no such invitation.', 404);
  end if;
  return private.revoke_open_invitation(p_invitation_id);
end
$$;

comment on function lms.revoke_invitation is
  'The link stops working. Needs members.write for the unit. 404 invitation_not_found; 409 invitation_used.';

create function private.end_membership_of_caller(p_tenant_id uuid)
returns lms.memberships
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_membership lms.memberships;
begin
  if not p_tenant_id = any (array(select private.joined_tenants())) then
    perform private.fail('tenant_not_found', 'There is no such organisation.', 404);
  end if;
  update lms.memberships m
  set status = 'ended'
  where m.tenant_id = p_tenant_id and m.user_id = (select auth.uid()) and m.status = 'active'
  returning * into v_membership;
  return v_membership;
end
$$;

create function lms.leave_tenant(p_tenant_id uuid)
returns lms.memberships
language plpgsql
volatile
set search_path = ''
as $$
begin
  return private.end_membership_of_caller(p_tenant_id);
end
$$;

comment on function lms.leave_tenant is
  'Ends the caller''s own membership and returns it. What was earned stays on record; the way back is an invitation. '
  '404 tenant_not_found; 409 last_administrator.';

create function ops.forget_invitations(p_batch integer default 10000)
returns integer
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_forgotten integer;
begin
  delete from lms.invitations i
  where i.id in (
    select o.id
    from lms.invitations o
    where coalesce(o.accepted_at, o.revoked_at, o.expires_at) < now() - interval '90 days'
    limit p_batch
    for update skip locked
  );
  get diagnostics v_forgotten = row_count;
  return v_forgotten;
end
$$;

comment on function ops.forget_invitations is
  'Removes invitations that were accepted, revoked or expired 90 days ago, at most p_batch per run; returns how many. The '
  'addresses of people who never came are not kept.';
grant execute on function ops.forget_invitations to service_role;

-- =====================================================================================================
-- Policies and grants
-- =====================================================================================================

create function private.my_addresses()
returns setof text
language plpgsql
stable security definer
rows 1
set search_path = ''
as $$
begin
  return query
  select lower(u.email)::text from auth.users u where u.id = (select auth.uid()) and u.email_confirmed_at is not null;
end
$$;

comment on function private.my_addresses is 'The caller''s e-mail address, once confirmed.';

grant execute on function
  private.my_addresses, private.accept_invitation_of_caller, private.issue_invitation, private.revoke_open_invitation,
  private.end_membership_of_caller
to authenticated, service_role;
grant execute on function private.preview_invitation to anon, authenticated, service_role;
grant execute on function lms.accept_invitation, lms.leave_tenant to authenticated;
grant execute on function lms.invite, lms.revoke_invitation to authenticated, service_role;
grant execute on function lms.get_invitation to anon, authenticated, service_role;

alter table lms.invitations enable row level security;
grant all on lms.invitations to service_role;
grant select, delete on lms.invitations to authenticated;

create policy "Invitations are seen by the invited and in scope" on lms.invitations
  for select to authenticated
  using (
    (email = any (array(select private.my_addresses())) and tenant_id <> all (array(select private.closed_tenants())))
    or tenant_id = any (array(select private.tenants_where('members.read')))
    or unit_id = any (array(select private.units_where('members.read')))
  );

create policy "Invitations are deleted by administrators" on lms.invitations
  for delete to authenticated
  using (tenant_id = any (array(select private.tenants_where('roles.write'))));

notify pgrst, 'reload schema';
