-- Audit trail: how operators and those with audit.read read the audit log.
-- Undo: drop functions lms.get_audit_trail, lms.get_audit_heads, private.read_audit_trail, private.read_audit_head,
-- private.require_audit_read; drop types lms.audit_entry, lms.audit_head; drop views audit.row_history,
-- audit.person_history.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Reading, for operators
-- =====================================================================================================

create view audit.row_history
with (security_invoker = true)
as
select
  l.table_name, l.row_id, l.id, l.recorded_at, l.operation::text as operation, c.key as column_name,
  c.value -> 'old' as old_value, c.value -> 'new' as new_value,
  coalesce(p.display_name, l.actor_role) as actor, l.actor_id, l.via, l.address, l.client, l.request_id, l.tenant_id
from audit.log l
left join lateral jsonb_each(l.changes) as c on true
left join public.profiles p on p.id = l.actor_id;

comment on view audit.row_history is 'What happened to a row, column by column: where row_id = ... order by id.';

create view audit.person_history
with (security_invoker = true)
as
select
  l.actor_id, p.display_name as actor, l.id, l.recorded_at, t.slug as tenant, l.operation::text as operation,
  l.table_name, l.row_id,
  array(select jsonb_object_keys(l.changes)) as column_names, l.actor_role, l.via, l.address, l.client, l.request_id
from audit.log l
left join public.profiles p on p.id = l.actor_id
left join lms.tenants t on t.id = l.tenant_id
where l.actor_id is not null;

comment on view audit.person_history is 'What a person did: where actor_id = ... order by id.';

-- =====================================================================================================
-- Reading, for those with audit.read
-- =====================================================================================================

create type lms.audit_entry as (
  id bigint, recorded_at timestamptz, table_name text, row_id text, operation text, changes jsonb, actor_id uuid,
  actor_role text, via text, address text, client text, request_id text
);
comment on type lms.audit_entry is
  'One changed row; changes is {column: {old, new}}. Personal values are {hash}, equal for equal values; values over '
  '8 kB are {sha256, bytes}. address, client and request_id are what the caller''s request said.';

create type lms.audit_head as (tenant_id uuid, number bigint, hash text, sealed_at timestamptz);
comment on type lms.audit_head is 'The newest seal of a tenant''s audit trail; hash in hexadecimal.';

create function private.require_audit_read(p_tenant_id uuid)
returns void
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  if p_tenant_id is null or not p_tenant_id = any (array(select private.tenants_where('audit.read'))) then
    raise insufficient_privilege using message = 'This takes the permission audit.read in the whole tenant.';
  end if;
end
$$;

-- Reads as the owner, who alone may; the conditions are put together here so that each question walks its own index.
create function private.read_audit_trail(
  p_tenant_id uuid, p_table text, p_row_id text, p_actor_id uuid, p_from timestamptz, p_until timestamptz,
  p_before_id bigint, p_limit integer
)
returns lms.audit_entry[]
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_entries lms.audit_entry[];
begin
  perform private.require_audit_read(p_tenant_id);
  execute
    'select coalesce(array_agg(e::lms.audit_entry order by (e).id desc), ''{}'') from ('
    'select (l.id, l.recorded_at, l.table_name, l.row_id, l.operation::text, l.changes, l.actor_id, l.actor_role, l.via, '
    'l.address, l.client, l.request_id)::lms.audit_entry as e from audit.log l where l.tenant_id = $1'
    || case when p_table is not null then ' and l.table_name = $2' else '' end
    || case when p_row_id is not null then ' and l.row_id = $3' else '' end
    || case when p_actor_id is not null then ' and l.actor_id = $4' else '' end
    || case when p_from is not null then ' and l.recorded_at >= $5' else '' end
    || case when p_until is not null then ' and l.recorded_at < $6' else '' end
    || case when p_before_id is not null then ' and l.id < $7' else '' end
    || ' order by l.id desc limit $8) as page'
  into v_entries
  using p_tenant_id, p_table, p_row_id, p_actor_id, p_from, p_until, p_before_id, p_limit;
  return v_entries;
end
$$;

create function lms.get_audit_trail(
  p_tenant_id uuid, p_table text default null, p_row_id text default null, p_actor_id uuid default null,
  p_from timestamptz default null, p_until timestamptz default null, p_before_id bigint default null,
  p_limit integer default 50
)
returns setof lms.audit_entry
language plpgsql
stable
set search_path = ''
as $$
begin
  if p_limit is null or p_limit not between 1 and 500 then
    perform private.fail('invalid_limit', 'The limit is 1 to 500.', 422);
  end if;
  return query
  select e.*
  from unnest(
    private.read_audit_trail(p_tenant_id, p_table, p_row_id, p_actor_id, p_from, p_until, p_before_id, p_limit)
  ) as e;
end
$$;

comment on function lms.get_audit_trail is
  'Who changed what in a tenant, newest first; the next page is p_before_id = the last id. Optionally of one table '
  '(lms.courses), one row (its id), one person, from and until a time. Takes audit.read in the whole tenant, otherwise '
  '403. 422 invalid_limit.';

create function private.read_audit_head(p_tenant_id uuid)
returns lms.audit_head
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_head lms.audit_head;
begin
  perform private.require_audit_read(p_tenant_id);
  select h.tenant_id, h.number, encode(h.hash, 'hex'), h.sealed_at into v_head
  from audit.heads h
  where h.tenant_id = p_tenant_id;
  return v_head;
end
$$;

create function lms.get_audit_heads(p_tenant_id uuid)
returns setof lms.audit_head
language plpgsql
stable
set search_path = ''
as $$
declare
  v_head constant lms.audit_head := private.read_audit_head(p_tenant_id);
begin
  if v_head.tenant_id is not null then
    return next v_head;
  end if;
end
$$;

comment on function lms.get_audit_heads is
  'The newest seal of the tenant''s audit trail, to be kept outside: with it anybody can prove later that nothing sealed '
  'until then was altered. Empty when nothing is sealed yet. Takes audit.read in the whole tenant, otherwise 403.';

-- Not to anon: there is nothing that it could read.
grant execute on function
  private.read_audit_trail, private.read_audit_head, lms.get_audit_trail, lms.get_audit_heads
to authenticated;

notify pgrst, 'reload schema';
