-- Audit seals: a chain of hashes over the audit log, per tenant, and its verification.
-- Undo: delete from ops.jobs where name = 'seal-audit-log', with its cron job; drop functions audit.verify,
-- ops.seal_audit_log, audit.hash_seal, audit.hash_row; drop tables audit.seal_state, audit.heads, audit.seals.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Sealing
-- =====================================================================================================

create table audit.seals (
  tenant_id uuid not null,
  number bigint not null,
  log_ids bigint[] not null,
  row_hashes bytea[] not null,
  previous_hash bytea not null,
  hash bytea not null,
  sealed_at timestamptz not null,
  primary key (tenant_id, number)
);

comment on table audit.seals is
  'Per tenant a chain of seals over rows of the log: each names its rows, holds a hash of each, and is hashed together '
  'with the seal before it.';
comment on column audit.seals.tenant_id is 'The nil UUID for rows that belong to no tenant.';
comment on column audit.seals.previous_hash is 'Of the seal before it; of the first one, a hash of the tenant''s id.';

create table audit.heads (
  tenant_id uuid primary key,
  number bigint not null,
  hash bytea not null,
  sealed_at timestamptz not null,
  constraint head_is_a_seal foreign key (tenant_id, number) references audit.seals (tenant_id, number)
);

comment on table audit.heads is
  'The newest seal of each tenant. Kept elsewhere, it proves later that nothing sealed until then was altered.';

-- Everything up to (sealed_xid, sealed_id) is sealed. Numbers of transactions mean nothing to another cluster: rows up
-- to restored_id were restored there from a dump, and are told apart by whether a seal names them. While restored_by is
-- set, these are still being sealed.
create table audit.seal_state (
  is_only_row boolean primary key default true constraint there_is_one_seal_state check (is_only_row),
  system_identifier bigint not null,
  sealed_xid xid8 not null default '0',
  sealed_id bigint not null default 0,
  restored_id bigint not null default 0,
  restored_by xid8
);
insert into audit.seal_state (system_identifier)
select c.system_identifier from pg_control_system() as c;

comment on table audit.seal_state is 'How far the log is sealed.';

create trigger _100_append_only before update or delete on audit.seals
  for each row execute function audit.refuse_change();
create trigger _100_never_emptied before truncate on audit.seals
  for each statement execute function audit.refuse_change();

alter table audit.seals enable row level security;
alter table audit.heads enable row level security;
alter table audit.seal_state enable row level security;

-- The same text whatever the time zone, the date style or the encoding of the session.
create function audit.hash_row(p_row audit.log)
returns bytea
language plpgsql
immutable
set search_path = ''
as $$
begin
  return sha256(convert_to(
    jsonb_build_array(
      p_row.id, p_row.xid::text, to_char(p_row.recorded_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'),
      p_row.tenant_id, p_row.table_name, p_row.row_id, p_row.operation, p_row.changes,
      p_row.actor_id, p_row.actor_role, p_row.via, p_row.address, p_row.client, p_row.request_id
    )::text,
    'UTF8'
  ));
end
$$;

comment on function audit.hash_row is
  'SHA-256 of all columns of the row, as a JSON array in UTF-8, times in UTC to the microsecond.';

create function audit.hash_seal(p_seal audit.seals)
returns bytea
language plpgsql
immutable
set search_path = ''
as $$
begin
  return sha256(
    p_seal.previous_hash || int8send(p_seal.number) || timestamptz_send(p_seal.sealed_at)
    || (
      select string_agg(int8send(l.id), '' order by l.position)
      from unnest(p_seal.log_ids) with ordinality as l (id, position)
    )
    || (
      select string_agg(r.hash, '' order by r.position)
      from unnest(p_seal.row_hashes) with ordinality as r (hash, position)
    )
  );
end
$$;

comment on function audit.hash_seal is
  'SHA-256 of the previous seal''s hash, the number, the time (8 bytes each, big-endian; microseconds since 2000), the '
  'ids and the row hashes.';

-- INV-O2. Rows of transactions that are still running cannot be seen and may come later, so rows are sealed up to the
-- oldest of them.
create function ops.seal_audit_log(p_batch integer default 100000)
returns bigint
language plpgsql
volatile security definer
set search_path = ''
-- As in audit.verify.
set enable_nestloop = off
set jit = off
as $$
declare
  v_system_identifier bigint;
  v_horizon xid8;
  v_state audit.seal_state;
  v_end_xid xid8;
  v_end_id bigint;
  v_seal record;
  v_rows bigint := 0;
  v_restored bigint := 0;
begin
  select c.system_identifier into v_system_identifier from pg_control_system() as c;
  select * into v_state from audit.seal_state for update;
  v_horizon := pg_snapshot_xmin(pg_current_snapshot());

  if v_state.system_identifier <> v_system_identifier then
    v_state.system_identifier := v_system_identifier;
    v_state.sealed_xid := v_horizon;
    v_state.sealed_id := 0;
    v_state.restored_id := nextval(pg_get_serial_sequence('audit.log', 'id'));
    v_state.restored_by := pg_current_xact_id();
  end if;

  select l.xid, l.id into v_end_xid, v_end_id
  from audit.log l
  where (l.xid, l.id) > (v_state.sealed_xid, v_state.sealed_id) and l.xid < v_horizon and l.id > v_state.restored_id
  order by l.xid, l.id
  offset p_batch - 1
  limit 1;
  if not found then
    v_end_xid := greatest(v_horizon, v_state.sealed_xid);
    v_end_id := case when v_end_xid = v_state.sealed_xid then v_state.sealed_id else 0 end;
  end if;

  for v_seal in
    with fresh as (
      select l.id, coalesce(l.tenant_id, '00000000-0000-0000-0000-000000000000') as tenant_id, audit.hash_row(l) as hash
      from audit.log l
      where (l.xid, l.id) > (v_state.sealed_xid, v_state.sealed_id) and (l.xid, l.id) <= (v_end_xid, v_end_id)
        and l.id > v_state.restored_id
    ), restored as (
      select l.id, coalesce(l.tenant_id, '00000000-0000-0000-0000-000000000000') as tenant_id, audit.hash_row(l) as hash
      from audit.log l
      where v_state.restored_by is not null and l.id <= v_state.restored_id
        and not exists (
          select from (select unnest(s.log_ids) as id from audit.seals s) as sealed where sealed.id = l.id
        )
      order by l.id
      limit p_batch
    ), grouped as (
      select r.tenant_id, array_agg(r.id order by r.id) as log_ids, array_agg(r.hash order by r.id) as row_hashes
      from (select * from fresh union all select * from restored) as r
      group by r.tenant_id
    ), added as (
      insert into audit.seals as s (tenant_id, number, log_ids, row_hashes, previous_hash, hash, sealed_at)
      select
        n.tenant_id, n.number, n.log_ids, n.row_hashes, n.previous_hash,
        audit.hash_seal((n.tenant_id, n.number, n.log_ids, n.row_hashes, n.previous_hash, null, now())::audit.seals),
        now()
      from (
        select
          g.tenant_id, coalesce(h.number, 0) + 1 as number, g.log_ids, g.row_hashes,
          coalesce(h.hash, sha256(uuid_send(g.tenant_id))) as previous_hash
        from grouped g
        left join audit.heads h on h.tenant_id = g.tenant_id
      ) as n
      returning s.*
    )
    select
      a.tenant_id, a.number, a.hash, a.sealed_at, cardinality(a.log_ids) as rows_sealed,
      (select count(*) from unnest(a.log_ids) as i (id) where i.id <= v_state.restored_id) as restored_sealed
    from added a
    order by a.tenant_id
  loop
    insert into audit.heads as h (tenant_id, number, hash, sealed_at)
    values (v_seal.tenant_id, v_seal.number, v_seal.hash, v_seal.sealed_at)
    on conflict (tenant_id) do update
    set number = excluded.number, hash = excluded.hash, sealed_at = excluded.sealed_at;
    -- Leaves the database with the server's log, where nobody who can write the database can take it back.
    raise log 'audit head: tenant % number % hash %', v_seal.tenant_id, v_seal.number, encode(v_seal.hash, 'hex');
    v_rows := v_rows + v_seal.rows_sealed;
    v_restored := v_restored + v_seal.restored_sealed;
  end loop;

  if v_state.restored_by < v_horizon and v_restored < p_batch then
    v_state.restored_by := null;
  end if;
  update audit.seal_state s
  set system_identifier = v_state.system_identifier,
      sealed_xid = v_end_xid,
      sealed_id = v_end_id,
      restored_id = v_state.restored_id,
      restored_by = v_state.restored_by;
  return v_rows;
end
$$;

comment on function ops.seal_audit_log is
  'Seals rows of the audit log whose transactions are over, at most p_batch per run; returns how many.';

-- =====================================================================================================
-- Verification
-- =====================================================================================================

create function audit.verify(p_tenant_id uuid default null, p_heads jsonb default null)
returns table (tenant_id uuid, seal_number bigint, log_id bigint, problem text)
language plpgsql
stable
set search_path = ''
-- The planner expects a handful of ids in each seal, and would compare each row with each. What it then thinks
-- of the nested loops that are left must not make it compile them.
set enable_nestloop = off
set jit = off
as $$
declare
  v_state audit.seal_state;
  v_xids_count boolean;
begin
  select * into v_state from audit.seal_state;
  -- Just restored and not sealed since: numbers of transactions are those of another cluster.
  v_xids_count := v_state.system_identifier = (select c.system_identifier from pg_control_system() as c);

  return query
  with chain as (
    select
      s.tenant_id, s.number, s.hash, s.hash is distinct from audit.hash_seal(s) as is_altered,
      lag(s.number, 1, 0::bigint) over earlier + 1 as expected_number,
      s.previous_hash is distinct from lag(s.hash, 1, sha256(uuid_send(s.tenant_id))) over earlier as is_broken
    from audit.seals s
    where p_tenant_id is null or s.tenant_id = p_tenant_id
    window earlier as (partition by s.tenant_id order by s.number)
  ), sealed as (
    select s.tenant_id, s.number, i.id, i.hash
    from audit.seals s
    cross join unnest(s.log_ids, s.row_hashes) as i (id, hash)
    where p_tenant_id is null or s.tenant_id = p_tenant_id
  ), heads as (
    select h.tenant_id, h.number, encode(h.hash, 'hex') as hash
    from audit.heads h
    union all
    select h.tenant_id, h.number, h.hash
    from jsonb_to_recordset(p_heads) as h (tenant_id uuid, number bigint, hash text)
  ), problems as (
    select c.tenant_id, c.expected_number as number, null::bigint as log_id, 'seal missing' as problem
    from chain c
    where c.number <> c.expected_number
    union all
    select c.tenant_id, c.number, null, 'seal altered'
    from chain c
    where c.is_altered or (c.is_broken and c.number = c.expected_number)
    union all
    select
      h.tenant_id, h.number, null,
      case when c.number is null then 'seal missing' else 'seal differs from the head' end
    from heads h
    left join chain c on c.tenant_id = h.tenant_id and c.number = h.number
    where (p_tenant_id is null or h.tenant_id = p_tenant_id) and c.hash is distinct from decode(h.hash, 'hex')
    union all
    select i.tenant_id, i.number, i.id, case when l.id is null then 'row missing' else 'row altered' end
    from sealed i
    left join audit.log l on l.id = i.id
    where l.id is null or i.hash is distinct from audit.hash_row(l)
    union all
    select coalesce(l.tenant_id, '00000000-0000-0000-0000-000000000000'), null, l.id, 'row slipped in'
    from audit.log l
    where (p_tenant_id is null or coalesce(l.tenant_id, '00000000-0000-0000-0000-000000000000') = p_tenant_id)
      and v_xids_count
      and case
        when l.id <= v_state.restored_id then v_state.restored_by is null
        else (l.xid, l.id) <= (v_state.sealed_xid, v_state.sealed_id)
          or l.xid >= pg_snapshot_xmax(pg_current_snapshot())
      end
      and not exists (
        select from (select unnest(s.log_ids) as id from audit.seals s) as i where i.id = l.id
      )
  )
  select distinct on (p.tenant_id) p.tenant_id, p.number, p.log_id, p.problem
  from problems p
  order by p.tenant_id, p.number, p.log_id nulls first, p.problem;
end
$$;

comment on function audit.verify is
  'The first broken link of each tenant''s chain, or of one tenant''s: which seal, which row, what is wrong. No rows: '
  'nothing was altered. p_heads: heads kept elsewhere, [{tenant_id, number, hash}], against which the chain is held as '
  'well.';

select ops.register_job(
  'seal-audit-log', '*/5 * * * *', 'ops.seal_audit_log', interval '1 hour',
  'The audit log is sealed, tenant by tenant, and the newest seals are written to the server''s log.'
);
