-- People import: rows of a personnel system applied to memberships, so that a nightly feed keeps a tenant in step.
-- Undo: drop function lms.import_people; then the functions and types below.

set lock_timeout = '5s';
set statement_timeout = '60s';

create type lms.people_import_result as (
  line integer, action text, employee_number text, email text, membership_id uuid, invitation_id uuid, token text,
  code text, message text, details jsonb
);
comment on type lms.people_import_result is
  'What became of one row. `line` counts rows from 1, null for people missing from them. `action`: created, invited, '
  'updated, moved, restored, ended, unchanged or failed. `code`, `message` and `details` say why a row failed, or what to '
  'know about one that did not. `token` belongs into the link of an invitation and is shown this once.';

-- =====================================================================================================
-- Reading rows
-- =====================================================================================================

create type private.imported_person as (
  employee_number text, email text, first_name text, last_name text, unit text, job_title text, role text,
  role_scope text, status text
);
create type private.parsed_person as (person private.imported_person, faults jsonb[]);

create function private.import_fault(p_code text, p_message text, p_details jsonb default null)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return jsonb_build_object('code', p_code, 'message', p_message, 'details', p_details);
end
$$;

-- A row as texts without blanks around them, and all that is wrong with its form.
create function private.parse_person(p_row jsonb)
returns private.parsed_person
language plpgsql
immutable
set search_path = ''
as $$
declare
  known constant text[] := array[
    'employee_number', 'email', 'first_name', 'last_name', 'unit', 'job_title', 'role', 'role_scope', 'status'
  ];
  -- Also the no-break space and the byte order mark, which spreadsheets leave behind.
  blanks constant text := E' \t\r\n\u00a0\ufeff';
  v_column text;
  v_person private.imported_person;
  v_faults jsonb[] := array[]::jsonb[];
begin
  if jsonb_typeof(p_row) is distinct from 'object' then
    v_faults := v_faults || private.import_fault('not_an_object', 'A row is an object of texts.');
    return (v_person, v_faults)::private.parsed_person;
  end if;
  -- First, and even of a faulty row: the person that it names is not missing.
  v_person.employee_number := nullif(btrim(p_row ->> 'employee_number', blanks), '');
  v_person.email := nullif(lower(btrim(p_row ->> 'email', blanks)), '');
  for v_column in select c from jsonb_object_keys(p_row) as c order by c loop
    if not v_column = any (known) then
      v_faults := v_faults || private.import_fault(
        'unknown_column', 'There is no such column.', jsonb_build_object('column', left(v_column, 60), 'known', known)
      );
    elsif jsonb_typeof(p_row -> v_column) not in ('string', 'null') then
      v_faults := v_faults
        || private.import_fault('not_text', 'The value is not a text.', jsonb_build_object('column', v_column));
    end if;
  end loop;
  if cardinality(v_faults) > 0 then
    return (v_person, v_faults)::private.parsed_person;
  end if;
  v_person.first_name := coalesce(btrim(p_row ->> 'first_name', blanks), '');
  v_person.last_name := coalesce(btrim(p_row ->> 'last_name', blanks), '');
  v_person.unit := nullif(btrim(p_row ->> 'unit', blanks), '');
  v_person.job_title := nullif(btrim(p_row ->> 'job_title', blanks), '');
  v_person.role := nullif(btrim(p_row ->> 'role', blanks), '');
  v_person.role_scope := nullif(lower(btrim(p_row ->> 'role_scope', blanks)), '');
  v_person.status := nullif(lower(btrim(p_row ->> 'status', blanks)), '');

  if v_person.employee_number is null and v_person.email is null then
    v_faults := v_faults || private.import_fault('nobody_named', 'The row has neither employee_number nor email.');
  end if;
  if length(v_person.employee_number) > 60 then
    v_faults := v_faults
      || private.import_fault('employee_number_too_long', 'employee_number has more than 60 characters.');
  end if;
  begin
    perform v_person.email::private.email_address;
  exception
    when check_violation then
      v_faults := v_faults || private.import_fault('invalid_email', 'email is not an address.');
  end;
  if length(v_person.job_title) > 200 then
    v_faults := v_faults || private.import_fault('job_title_too_long', 'job_title has more than 200 characters.');
  end if;
  if v_person.first_name || v_person.last_name ~ '[\x01-\x1f\x7f]'
    or length(v_person.first_name) > 100
    or length(v_person.last_name) > 100
  then
    v_faults := v_faults || private.import_fault('invalid_name', 'A name is one line of at most 100 characters.');
  end if;
  if v_person.role_scope not in ('unit', 'tenant') then
    v_faults := v_faults || private.import_fault('invalid_role_scope', 'role_scope is unit or tenant.');
  end if;
  if v_person.status not in ('active', 'suspended', 'ended') then
    v_faults := v_faults || private.import_fault('invalid_status', 'status is active, suspended or ended.');
  end if;
  return (v_person, v_faults)::private.parsed_person;
end
$$;

-- What an exception of a row becomes in its report.
create function private.describe_failure(p_state text, p_message text, p_constraint text)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_body jsonb;
begin
  if p_state = 'PGRST' then
    v_body := p_message::jsonb;
    return private.import_fault(
      v_body ->> 'code', concat_ws(' ', v_body ->> 'message', v_body ->> 'hint'), (v_body ->> 'details')::jsonb
    );
  elsif coalesce(p_constraint, '') <> '' then
    return private.import_fault(p_constraint, format('The row breaks the rule: %s.', replace(p_constraint, '_', ' ')));
  elsif p_state = '42501' then
    return private.import_fault('not_allowed', p_message);
  end if;
  return private.import_fault(p_state, 'The row could not be applied.');
end
$$;

-- =====================================================================================================
-- Who is meant
-- =====================================================================================================

-- `first_line`: the first row about the same person, perhaps this one. `known_as`: the address under which a member signs
-- in, where the caller may see it. `invitation`: the open one of the address; `other_invitation_id`: that of the number.
create type private.matched_person as (
  line integer, source jsonb, person private.imported_person, faults jsonb[], first_line integer,
  member lms.memberships, known_as text, by_number uuid, by_email uuid,
  invitation lms.invitations, other_invitation_id uuid,
  unit_id uuid, role_id uuid, held_everywhere boolean, held_in uuid[]
);

-- Read as the caller, all at once: a question per row would ask every policy again. Nested loops are off because the
-- planner takes any list of rows for a hundred of them, and then compares each of thousands with each of thousands; and
-- what it cannot do without them looks so expensive to it that it would compile the query for seconds.
create function private.match_people(p_tenant_id uuid, p_rows jsonb)
returns setof private.matched_person
language plpgsql
stable
set search_path = ''
set enable_nestloop = off
set jit = off
as $$
begin
  return query
  with parsed as materialized (
    select e.ordinality::integer as line, e.value as source, p.person, p.faults
    from jsonb_array_elements(p_rows) with ordinality as e
    cross join lateral private.parse_person(e.value) as p
  ),
  members as materialized (
    select m as member, m.id, m.employee_number, lower(p.email) as email
    from lms.memberships m
    left join public.profile_private p on p.profile_id = m.user_id
    where m.tenant_id = p_tenant_id
  ),
  addresses as materialized (
    -- Two logins may have one address; whoever is still a member is meant.
    select distinct on (m.email) m.email, m.id
    from members m
    where m.email is not null
    order by m.email, (m.member).status = 'ended', (m.member).joined_at desc, m.id
  ),
  found as materialized (
    select
      r.line, r.source, r.person, r.faults, n.id as by_number,
      case when n.email = (r.person).email then n.id else a.id end as by_email
    from parsed r
    left join members n on n.employee_number = (r.person).employee_number
    left join addresses a on a.email = (r.person).email
  ),
  invitations as materialized (
    select i as invitation, i.id, i.email::text as email, i.employee_number
    from lms.invitations i
    where i.tenant_id = p_tenant_id and i.accepted_at is null and i.revoked_at is null
  ),
  grants as materialized (
    select g.membership_id, g.role_id, bool_or(g.unit_id is null) as everywhere, array_agg(g.unit_id) as units
    from lms.role_grants g
    where g.tenant_id = p_tenant_id
    group by g.membership_id, g.role_id
  )
  select
    f.line, f.source, f.person, f.faults,
    least(
      case when (f.person).employee_number is not null then min(f.line) over same_number end,
      case when (f.person).email is not null then min(f.line) over same_email end,
      case when m.id is not null then min(f.line) over same_member end
    ),
    m.member, m.email, f.by_number, f.by_email, i.invitation, ni.id, u.id, o.id, coalesce(g.everywhere, false), g.units
  from found f
  left join members m on m.id = coalesce(f.by_number, f.by_email)
  left join invitations i on i.email = (f.person).email
  left join invitations ni on ni.employee_number = (f.person).employee_number
  left join lms.org_units u on u.tenant_id = p_tenant_id and u.code = (f.person).unit
  left join lms.roles o on o.tenant_id = p_tenant_id and o.key = coalesce((f.person).role, 'learner')
  left join grants g on g.membership_id = m.id and g.role_id = o.id
  window
    same_number as (partition by (f.person).employee_number),
    same_email as (partition by (f.person).email),
    same_member as (partition by m.id)
  order by f.line;
end
$$;

-- An address counts once it is confirmed: whoever signs up first with somebody else's must not be taken for them. Nor
-- does one that another organisation's single sign-on vouches for; those people are invited.
create function private.login_of(p_email text)
returns uuid
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  return (
    select u.id
    from auth.users u
    where u.email = p_email and u.is_sso_user = false and u.email_confirmed_at is not null and u.deleted_at is null
  );
end
$$;

-- =====================================================================================================
-- Applying one row
-- =====================================================================================================
-- Writes as the caller, so every rule for memberships, roles and invitations holds here as it does for REST.

-- What stands in the way of a row, as far as it can be told before writing; null when nothing does.
create function private.find_import_fault(p_match private.matched_person)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_person constant private.imported_person := p_match.person;
begin
  if cardinality(p_match.faults) > 0 then
    return case cardinality(p_match.faults)
      when 1 then p_match.faults[1]
      else p_match.faults[1] || jsonb_build_object('details', jsonb_build_object('faults', p_match.faults))
    end;
  elsif p_match.first_line < p_match.line then
    return private.import_fault(
      'named_twice', 'An earlier row is about the same person.', jsonb_build_object('line', p_match.first_line)
    );
  elsif p_match.by_number <> p_match.by_email then
    return private.import_fault('two_people', 'employee_number belongs to one member and email to another.');
  elsif v_person.status = 'ended' then
    return null;
  elsif v_person.unit is not null and p_match.unit_id is null then
    return private.import_fault(
      'unit_not_found', 'There is no unit with this code.', jsonb_build_object('unit', v_person.unit)
    );
  elsif p_match.role_id is null then
    return private.import_fault('role_not_found', 'There is no such role.', jsonb_build_object('role', v_person.role));
  elsif (p_match.member).id is null and v_person.email is null then
    return private.import_fault('email_missing', 'Nobody has this employee_number; a new person needs an email.');
  end if;
  return null;
end
$$;

-- A role with rights that is to be limited to a unit needs one: without, it would cover the whole tenant.
create function private.require_role_scope(p_role_id uuid, p_is_limited boolean, p_unit_id uuid)
returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  if p_is_limited and p_unit_id is null and exists (select from lms.role_permissions p where p.role_id = p_role_id) then
    perform private.fail(
      'role_scope_missing', 'There is no unit to limit this role to.', 422, null,
      'Name a unit, or say role_scope = tenant if that is meant.'
    );
  end if;
end
$$;

-- The row's role, which whoever joins or comes back also gets when the row names none. A role is given, never taken away:
-- taking it is for administrators. Returns whether anything was written.
create function private.give_imported_role(p_match private.matched_person, p_unit_id uuid)
returns boolean
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_member constant lms.memberships := p_match.member;
  v_is_limited constant boolean := (p_match.person).role_scope is distinct from 'tenant';
  v_scope constant uuid := case when v_is_limited then p_unit_id end;
begin
  if (p_match.person).role is null and v_member.status <> 'ended' and not v_member.is_guest then
    return false;
  elsif p_match.held_everywhere or v_scope = any (p_match.held_in) then
    -- Ending a membership takes its roles, so what was held is held.
    return false;
  end if;
  perform private.require_role_scope(p_match.role_id, v_is_limited, p_unit_id);
  -- A role limited to the home unit moves along with it when the feed names both.
  update lms.role_grants g
  set unit_id = v_scope
  where g.tenant_id = v_member.tenant_id and g.membership_id = v_member.id and g.role_id = p_match.role_id
    and g.unit_id = v_member.unit_id and v_scope is distinct from v_member.unit_id;
  if not found then
    insert into lms.role_grants (tenant_id, membership_id, role_id, unit_id)
    values (v_member.tenant_id, v_member.id, p_match.role_id, v_scope);
  end if;
  return true;
end
$$;

create function private.update_imported_member(p_match private.matched_person)
returns text
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_person constant private.imported_person := p_match.person;
  v_member constant lms.memberships := p_match.member;
  v_wanted lms.memberships := v_member;
  v_action text;
  v_is_role_given boolean := false;
begin
  if v_person.status = 'ended' then
    v_wanted.status := 'ended';
  else
    if p_match.source ? 'unit' then
      v_wanted.unit_id := p_match.unit_id;
    end if;
    if p_match.source ? 'job_title' then
      v_wanted.job_title := v_person.job_title;
    end if;
    v_wanted.employee_number := coalesce(v_person.employee_number, v_member.employee_number);
    -- Whoever is listed belongs; a suspension made by hand stays until the feed says otherwise.
    v_wanted.status := coalesce(
      v_person.status, case v_member.status when 'ended' then 'active' else v_member.status end
    );
  end if;

  v_action := case
    when v_wanted is not distinct from v_member then 'unchanged'
    when v_wanted.status = 'ended' then 'ended'
    when v_member.status = 'ended' then 'restored'
    when v_wanted.unit_id is distinct from v_member.unit_id then 'moved'
    else 'updated'
  end;
  if v_action = 'restored' and v_member.ended_by = v_member.user_id then
    -- Here as well as in the trigger, which leaves the service alone.
    perform private.fail(
      'left_by_choice', 'This person has left; only they can come back.', 409, null, 'Invite them: lms.invite.'
    );
  end if;
  if v_action <> 'unchanged' then
    -- From the row as it is by now: what somebody else has changed meanwhile, and the feed does not speak of, stays.
    update lms.memberships m
    set
      unit_id = case when v_wanted.unit_id is distinct from v_member.unit_id then v_wanted.unit_id else m.unit_id end,
      job_title = case
        when v_wanted.job_title is distinct from v_member.job_title then v_wanted.job_title else m.job_title
      end,
      employee_number = coalesce(v_wanted.employee_number, m.employee_number),
      status = case when v_wanted.status <> v_member.status then v_wanted.status else m.status end
    where m.id = v_member.id;
    if not found then
      raise insufficient_privilege using message = 'This membership is out of your scope.';
    end if;
  end if;
  if v_wanted.status <> 'ended' then
    v_is_role_given := private.give_imported_role(p_match, v_wanted.unit_id);
  end if;
  return case when v_action = 'unchanged' and v_is_role_given then 'updated' else v_action end;
end
$$;

-- The invitation as the row wants it: what the row does not speak of stays.
create function private.want_invitation(p_match private.matched_person, p_tenant_id uuid, p_open lms.invitations)
returns lms.invitations
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_person constant private.imported_person := p_match.person;
  v_wanted lms.invitations := p_open;
begin
  v_wanted.tenant_id := p_tenant_id;
  v_wanted.email := v_person.email;
  v_wanted.employee_number := coalesce(v_person.employee_number, p_open.employee_number);
  if p_match.source ? 'unit' then
    v_wanted.unit_id := p_match.unit_id;
  end if;
  if p_match.source ? 'job_title' then
    v_wanted.job_title := v_person.job_title;
  end if;
  if v_person.role is not null or p_open.id is null then
    v_wanted.role_id := p_match.role_id;
    v_wanted.limited_to_unit := v_person.role_scope is distinct from 'tenant';
  end if;
  if p_match.source ?| array['first_name', 'last_name'] or p_open.id is null then
    v_wanted.first_name := v_person.first_name;
    v_wanted.last_name := v_person.last_name;
  end if;
  return v_wanted;
end
$$;

-- The open invitations that the row is about, as they are by now: an earlier row may have given the number to somebody
-- else, or revoked what it had.
create function private.refresh_invitations(p_match private.matched_person, p_tenant_id uuid)
returns private.matched_person
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_match private.matched_person := p_match;
  v_invitation lms.invitations;
begin
  select * into v_invitation
  from lms.invitations i
  where i.tenant_id = p_tenant_id and i.email::text = (p_match.person).email
    and i.accepted_at is null and i.revoked_at is null;
  v_match.invitation := v_invitation;
  v_match.other_invitation_id := (
    select i.id
    from lms.invitations i
    where i.tenant_id = p_tenant_id and i.employee_number = (p_match.person).employee_number
      and i.accepted_at is null and i.revoked_at is null
  );
  return v_match;
end
$$;

-- Somebody who is no member: with a login, and only for the service, a membership; otherwise an invitation. Whether a
-- login exists is nothing that a tenant's administrator learns here.
create function private.add_imported_person(
  p_match private.matched_person, p_tenant_id uuid, p_invite boolean, inout result lms.people_import_result
)
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_person constant private.imported_person := p_match.person;
  v_match private.matched_person := p_match;
  v_open lms.invitations := p_match.invitation;
  v_wanted lms.invitations;
  v_issued lms.issued_invitation;
  v_user_id uuid;
begin
  if not private.is_api_call() and not p_invite then
    v_user_id := private.login_of(v_person.email);
  end if;

  v_wanted := private.want_invitation(p_match, p_tenant_id, v_open);
  if v_user_id is null and v_person.status is distinct from 'ended' and v_wanted is not distinct from v_open
    and v_person.employee_number is not distinct from v_open.employee_number and v_open.expires_at > now()
  then
    -- No earlier row has touched it: that would have been one of the same address or number.
    result.action := 'unchanged';
    result.invitation_id := v_open.id;
    return;
  end if;

  if v_open.id is not null or p_match.other_invitation_id is not null then
    v_match := private.refresh_invitations(p_match, p_tenant_id);
    v_open := v_match.invitation;
    v_wanted := private.want_invitation(v_match, p_tenant_id, v_open);
  end if;

  if v_person.status = 'ended' then
    result.invitation_id := coalesce(v_match.other_invitation_id, v_open.id);
    if result.invitation_id is not null then
      perform private.revoke_open_invitation(result.invitation_id);
    end if;
    result.action := case when result.invitation_id is null then 'unchanged' else 'ended' end;
    return;
  end if;

  perform private.require_role_scope(v_wanted.role_id, v_wanted.limited_to_unit, v_wanted.unit_id);
  if v_match.other_invitation_id <> v_open.id or v_open.id is null and v_match.other_invitation_id is not null then
    -- The number has gone to another address, and the old invitation with it.
    perform private.revoke_open_invitation(v_match.other_invitation_id);
  end if;
  if v_user_id is null then
    if v_wanted is not distinct from v_open and v_open.expires_at > now() then
      result.action := 'unchanged';
      result.invitation_id := v_open.id;
    else
      v_issued := private.issue_invitation(v_wanted);
      result.action := 'invited';
      result.invitation_id := v_issued.invitation_id;
      result.token := v_issued.token;
    end if;
    return;
  end if;

  if v_open.id is not null then
    perform private.revoke_open_invitation(v_open.id);
  end if;
  insert into lms.memberships (tenant_id, user_id, unit_id, job_title, employee_number, status)
  values (
    p_tenant_id, v_user_id, v_wanted.unit_id, v_wanted.job_title, v_wanted.employee_number,
    coalesce(v_person.status, 'active')
  )
  returning id into result.membership_id;
  insert into lms.role_grants (tenant_id, membership_id, role_id, unit_id)
  values (
    p_tenant_id, result.membership_id, v_wanted.role_id, case when v_wanted.limited_to_unit then v_wanted.unit_id end
  );
  result.action := 'created';
end
$$;

create function private.apply_person(
  p_match private.matched_person, p_tenant_id uuid, p_invite boolean, out result lms.people_import_result
)
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_fault jsonb;
  v_state text;
  v_message text;
  v_constraint text;
begin
  result.line := p_match.line;
  result.employee_number := (p_match.person).employee_number;
  result.email := (p_match.person).email;
  v_fault := private.find_import_fault(p_match);
  if v_fault is null then
    begin
      if (p_match.member).id is null then
        result := private.add_imported_person(p_match, p_tenant_id, p_invite, result);
      else
        result.membership_id := (p_match.member).id;
        result.action := private.update_imported_member(p_match);
        if p_match.known_as <> result.email then
          result.code := 'email_differs';
          result.message := 'The person signs in with another address; only they can change it.';
        end if;
      end if;
    exception
      when others then
        get stacked diagnostics v_state = returned_sqlstate, v_message = message_text, v_constraint = constraint_name;
        v_fault := private.describe_failure(v_state, v_message, v_constraint);
    end;
  end if;
  if v_fault is not null then
    result.membership_id := (p_match.member).id;
    result.action := 'failed';
    result.code := v_fault ->> 'code';
    result.message := v_fault ->> 'message';
    result.details := nullif(v_fault -> 'details', 'null');
  end if;
end
$$;

-- =====================================================================================================
-- Applying all
-- =====================================================================================================

-- One whom no row names: their membership ends, or their invitation.
create function private.end_missing_person(p_missing lms.people_import_result, out result lms.people_import_result)
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_fault jsonb;
  v_state text;
  v_message text;
  v_constraint text;
begin
  result := p_missing;
  if p_missing.membership_id is not null then
    update lms.memberships m set status = 'ended' where m.id = p_missing.membership_id;
    if not found then
      raise insufficient_privilege using message = 'This membership is out of your scope.';
    end if;
  else
    perform private.revoke_open_invitation(p_missing.invitation_id);
  end if;
  result.action := 'ended';
exception
  when others then
    get stacked diagnostics v_state = returned_sqlstate, v_message = message_text, v_constraint = constraint_name;
    v_fault := private.describe_failure(v_state, v_message, v_constraint);
    result.action := 'failed';
    result.code := v_fault ->> 'code';
    result.message := v_fault ->> 'message';
    result.details := nullif(v_fault -> 'details', 'null');
end
$$;

-- People with an employee number whom none of the rows names. A row that fails still says that the person is there.
create function private.find_missing_people(p_tenant_id uuid, p_results lms.people_import_result[])
returns setof lms.people_import_result
language plpgsql
stable
set search_path = ''
set enable_nestloop = off
set jit = off
as $$
begin
  return query
  with named as materialized (
    select r.membership_id, r.employee_number, r.email from unnest(p_results) as r
  )
  select
    null::integer, null::text, m.employee_number, null::text, m.id, null::uuid, null::text, null::text, null::text,
    null::jsonb
  from lms.memberships m
  where m.tenant_id = p_tenant_id and m.status <> 'ended' and m.employee_number is not null
    and not exists (select from named n where n.membership_id = m.id)
    -- Of a row about two people, that is one of them.
    and not exists (
      select
      from named n
      join public.profile_private p on lower(p.email) = n.email
      where p.profile_id = m.user_id
    )
  union all
  select
    null::integer, null::text, i.employee_number, i.email::text, null::uuid, i.id, null::text, null::text, null::text,
    null::jsonb
  from lms.invitations i
  where i.tenant_id = p_tenant_id and i.accepted_at is null and i.revoked_at is null and i.employee_number is not null
    and not exists (select from named n where n.employee_number = i.employee_number)
    and not exists (select from named n where n.email = i.email::text)
  order by 3;
end
$$;

create function private.apply_people(p_tenant_id uuid, p_rows jsonb, p_end_limit integer, p_invite boolean)
returns lms.people_import_result[]
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_match private.matched_person;
  v_missing lms.people_import_result[];
  v_person lms.people_import_result;
  v_results lms.people_import_result[] := array[]::lms.people_import_result[];
begin
  for v_match in select * from private.match_people(p_tenant_id, p_rows) loop
    v_results := v_results || private.apply_person(v_match, p_tenant_id, p_invite);
  end loop;

  if p_end_limit > 0 then
    v_missing := array(select private.find_missing_people(p_tenant_id, v_results));
    if cardinality(v_missing) > p_end_limit then
      perform private.fail(
        'too_many_missing', 'More people are missing from the rows than may be ended; nothing was changed.', 409,
        jsonb_build_object('missing', cardinality(v_missing), 'limit', p_end_limit),
        'Is the file complete? If so, raise p_end_limit.'
      );
    end if;
    foreach v_person in array v_missing loop
      v_results := v_results || private.end_missing_person(v_person);
    end loop;
  end if;
  return v_results;
end
$$;

create function lms.import_people(
  p_tenant_id uuid, p_rows jsonb, p_dry_run boolean default false, p_end_limit integer default 0,
  p_invite boolean default false
)
-- Not a set: of a set, the API returns no more rows than its limit for pages.
returns lms.people_import_result[]
language plpgsql
volatile
set search_path = ''
-- PostgREST takes this over for the whole request: a first feed is long.
set statement_timeout = '5min'
as $$
declare
  v_results lms.people_import_result[];
begin
  if not exists (select from lms.tenants t where t.id = p_tenant_id) then
    perform private.fail('tenant_not_found', 'There is no such organisation.', 404);
  end if;
  if private.is_api_call() and not (
    p_tenant_id = any (array(select private.tenants_where('members.read')))
    and p_tenant_id = any (array(select private.tenants_where('members.write')))
  ) then
    raise insufficient_privilege using
      message = 'Importing people takes members.read and members.write in the whole tenant.';
  end if;
  if jsonb_typeof(p_rows) is distinct from 'array' then
    perform private.fail('invalid_rows', 'p_rows is a list of rows.', 422);
  elsif jsonb_array_length(p_rows) > 20000 then
    perform private.fail(
      'too_many_rows', 'At most 20,000 rows at a time.', 413, jsonb_build_object('rows', jsonb_array_length(p_rows))
    );
  elsif p_end_limit is null or p_end_limit < 0 then
    perform private.fail('invalid_end_limit', 'p_end_limit is 0 or more.', 422);
  elsif not pg_try_advisory_xact_lock(hashtextextended('lyceum import people ' || p_tenant_id, 0)) then
    -- Two feeds at once would each take the other's people for unknown, and wait here with a connection each.
    perform private.fail(
      'import_under_way', 'Another import of this organisation is under way.', 409, null, 'Try again when it has ended.'
    );
  end if;

  begin
    v_results := private.apply_people(p_tenant_id, p_rows, p_end_limit, coalesce(p_invite, false));
    if p_dry_run then
      -- Back to how it was; what was found out stays in the variable.
      raise exception using errcode = 'DRYRN';
    end if;
  exception
    when sqlstate 'DRYRN' then
      return array(
        select (
          r.line, r.action, r.employee_number, r.email, case when r.action <> 'created' then r.membership_id end,
          case when r.action <> 'invited' then r.invitation_id end, null, r.code, r.message, r.details
        )::lms.people_import_result
        from unnest(v_results) as r
      );
  end;
  return v_results;
end
$$;

comment on function lms.import_people is
  'Brings the memberships of a tenant in step with rows of a personnel system and answers for each row, in their order. '
  'A row is an object of texts: employee_number, email, first_name, last_name, unit (its code), job_title, role (its '
  'key), role_scope (unit or tenant; unit when left out), status (active, suspended, ended). People are found by '
  'employee_number, then by email, as they stand before the first row is applied. A column that is left out changes '
  'nothing; an empty unit or job_title clears it; of whoever is ended nothing else changes. Roles are given, never taken. '
  'Unknown people are invited; for the service, those with a confirmed login become members unless p_invite. Rows that '
  'cannot be applied are reported and change nothing; the others are applied. p_end_limit > 0 also ends the memberships '
  'and invitations with an employee number that no row names, unless there are more than that: then nothing is changed '
  '(409 too_many_missing). p_dry_run reports and changes nothing. Takes members.read and members.write in the whole '
  'tenant, and for roles the right to give them. At most 20,000 rows (413 too_many_rows); one import of a tenant at a time '
  '(409 import_under_way).';

grant execute on function
  private.import_fault, private.parse_person, private.describe_failure, private.match_people, private.find_import_fault,
  private.require_role_scope, private.give_imported_role, private.update_imported_member, private.want_invitation,
  private.refresh_invitations, private.add_imported_person, private.apply_person, private.end_missing_person,
  private.find_missing_people, private.apply_people
to authenticated, service_role;
grant execute on function private.login_of to service_role;
grant execute on function lms.import_people to authenticated, service_role;

notify pgrst, 'reload schema';
