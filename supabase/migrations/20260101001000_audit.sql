-- Audit: who changed which row of what, and from where. The proof that this record was not altered is in the seals file.
-- Undo: delete from ops.jobs where name = 'make-audit-partitions', with its cron job; drop the triggers named
-- _900_audit_*; drop table private.audit_key; drop schema audit cascade.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- No role holds anything in it, the service role neither: rows get in by triggers, and out by lms.get_audit_trail.
create schema audit;
comment on schema audit is 'The audit trail. Not exposed, and closed to every API role.';

-- =====================================================================================================
-- The log
-- =====================================================================================================

-- A domain: a CHECK of the table would be prepared anew by every statement that is recorded.
create domain audit.operation as text
  constraint audit_operation_is_known check (value in ('INSERT', 'UPDATE', 'DELETE', 'RESTORE', 'TRUNCATE'));

-- By month of the server's clock; what no partition is there for lands in the default one and stays there.
create table audit.log (
  id bigint not null generated always as identity,
  xid xid8 not null default pg_current_xact_id(),
  recorded_at timestamptz not null default clock_timestamp(),
  tenant_id uuid,
  table_name text not null,
  row_id text,
  operation audit.operation not null,
  changes jsonb not null,
  actor_id uuid,
  actor_role text not null,
  via text,
  address text,
  client text,
  request_id text,
  -- In the order in which rows are sealed.
  primary key (xid, id, recorded_at)
) partition by range (recorded_at);

create index log_by_tenant on audit.log (tenant_id, id);
create index log_by_row on audit.log (row_id);
create index log_by_actor on audit.log (actor_id, id);

create table audit.log_default partition of audit.log default;

comment on table audit.log is
  'One row per changed row of a watched table, written in the same transaction. Nothing refers to it and it refers to '
  'nothing: it outlives what it tells about.';
comment on column audit.log.xid is 'The transaction: rows with the same one were changed together.';
comment on column audit.log.tenant_id is 'Null for what belongs to no tenant: profiles, platform administrators.';
comment on column audit.log.row_id is 'The primary key; composite ones are joined by commas. Null for TRUNCATE.';
comment on column audit.log.operation is 'Setting deleted_at counts as DELETE, clearing it as RESTORE.';
comment on column audit.log.changes is
  '{column: {old, new}} of the columns that changed; without old when the row is new, without new when it is gone, and '
  'then without columns that are null. Personal columns are {hash}, values over 8 kB {sha256, bytes}, secret ones {}.';
comment on column audit.log.actor_id is 'Who was signed in; null for jobs, imports and consoles.';
comment on column audit.log.actor_role is 'The role of the request; without one, the role of the connection.';
comment on column audit.log.via is 'The job, else the request''s method and path.';
comment on column audit.log.address is 'X-Forwarded-For as it arrived: only as true as the proxy in front makes it.';
comment on column audit.log.client is 'X-Client-Info and User-Agent: claimed by the caller.';
comment on column audit.log.request_id is 'X-Request-Id: finds the request in other logs. Claimed by the caller.';

create function audit.refuse_change()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  raise insufficient_privilege using
    message = format('Rows of %I.%I are never changed.', tg_table_schema, tg_table_name);
end
$$;

create trigger _100_append_only before update or delete on audit.log
  for each row execute function audit.refuse_change();
create trigger _100_never_emptied before truncate on audit.log
  for each statement execute function audit.refuse_change();
create trigger _100_never_emptied before truncate on audit.log_default
  for each statement execute function audit.refuse_change();

alter table audit.log enable row level security;
alter table audit.log_default enable row level security;

-- INV-O4: months that are missing are found by looking, not by counting runs. A month of which the default partition
-- already holds rows is left to it.
create function ops.make_audit_partitions()
returns integer
language plpgsql
volatile security definer
set search_path = ''
-- Attaching waits for readers of the default partition, and new readers then wait for it.
set lock_timeout = '3s'
as $$
declare
  v_instant constant text := 'YYYY-MM-DD"T00:00:00Z"';
  v_month timestamp := date_trunc('month', now() at time zone 'UTC');
  v_name text;
  v_made integer := 0;
begin
  for v_offset in 0..3 loop
    v_name := to_char(v_month, '"log_"YYYY_MM');
    if to_regclass('audit.' || v_name) is null and not exists (
      select
      from audit.log_default d
      where d.recorded_at >= v_month at time zone 'UTC'
        and d.recorded_at < (v_month + interval '1 month') at time zone 'UTC'
    ) then
      execute format('create table audit.%I (like audit.log including defaults)', v_name);
      execute format('alter table audit.%I enable row level security', v_name);
      execute format(
        'create trigger _100_never_emptied before truncate on audit.%I '
        'for each statement execute function audit.refuse_change()',
        v_name
      );
      execute format(
        'alter table audit.log attach partition audit.%I for values from (%L) to (%L)',
        v_name, to_char(v_month, v_instant), to_char(v_month + interval '1 month', v_instant)
      );
      v_made := v_made + 1;
    end if;
    v_month := v_month + interval '1 month';
  end loop;
  return v_made;
end
$$;

comment on function ops.make_audit_partitions is
  'Makes the partitions of the audit log for this month and the next three, where they are missing; returns how many.';

-- =====================================================================================================
-- What a row says
-- =====================================================================================================

-- Whoever could read it could try out which name or address a hash stands for.
create table private.audit_key (
  is_only_row boolean primary key default true constraint there_is_one_audit_key check (is_only_row),
  key bytea not null default extensions.gen_random_bytes(32)
);
alter table private.audit_key enable row level security;
insert into private.audit_key default values;

comment on table private.audit_key is
  'The key of the hashes that stand for personal values in the audit log, generated for this installation.';

create function audit.hash_personal(p_column text, p_value jsonb, p_key bytea default null)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  if p_value is null or p_value = 'null' then
    return null;
  elsif p_value in ('""', '{}', '[]') then
    -- Nothing to hide; and most of what a sign-up writes.
    return p_value;
  end if;
  return jsonb_build_object('hash', encode(
    extensions.hmac(
      convert_to(p_column || E'\n' || p_value, 'UTF8'),
      coalesce(p_key, (select k.key from private.audit_key k)),
      'sha256'
    ),
    'hex'
  ));
end
$$;

comment on function audit.hash_personal is
  '{hash}: HMAC-SHA256 of a personal value. The same value in the same column gives the same hash: one sees that a '
  'value was changed back, and not what it is. Empty values stay as they are. The key is looked up unless it is given.';

create function audit.shorten(p_value jsonb)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_bytes bytea;
begin
  if p_value is null or pg_column_size(p_value) <= 8192 then
    return p_value;
  end if;
  v_bytes := convert_to(coalesce(p_value #>> '{}', ''), 'UTF8');
  return jsonb_build_object('sha256', encode(sha256(v_bytes), 'hex'), 'bytes', length(v_bytes));
end
$$;

comment on function audit.shorten is 'The value, or {sha256, bytes} of its text when it is larger than 8 kB.';

-- =====================================================================================================
-- Recording
-- =====================================================================================================

-- INSERT, DELETE and TRUNCATE of every watched table, statement by statement: thousands of rows at once are written
-- by one INSERT. Arguments: table, column of the tenant, and as arrays the key, the personal, the secret and the
-- left out columns.
create function audit.record_rows()
returns trigger
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_table constant text := tg_argv[0];
  v_tenant constant text := tg_argv[1];
  v_key constant text[] := tg_argv[2]::text[];
  v_personal constant text[] := tg_argv[3]::text[];
  v_secret constant text[] := tg_argv[4]::text[];
  v_left_out constant text[] := tg_argv[5]::text[];
  v_side constant text := case tg_op when 'INSERT' then 'new' else 'old' end;
  v_now constant timestamptz := clock_timestamp();
  v_role text := current_setting('role');
  v_job constant text := nullif(current_setting('lyceum.job', true), '');
  v_via text := nullif(btrim(left(
    concat_ws(' ', current_setting('request.method', true), current_setting('request.path', true)), 200
  )), '');
  v_address text := host(inet_client_addr());
  v_client text := current_setting('application_name');
  v_hash_key bytea;
  v_actor_id uuid;
  v_headers jsonb;
begin
  begin
    v_actor_id := auth.uid();
    v_headers := nullif(current_setting('request.headers', true), '')::jsonb;
  exception
    when others then
      -- Whatever is wrong with a token or a header, the fact is recorded.
      v_headers := null;
  end;
  if v_job is not null and v_role not in ('anon', 'authenticated') then
    v_via := 'job ' || left(v_job, 100);
  end if;
  if v_role = 'none' then
    v_role := session_user;
  end if;
  if v_headers is not null then
    v_address := v_headers ->> 'x-forwarded-for';
    v_client := nullif(concat_ws(' ', v_headers ->> 'x-client-info', v_headers ->> 'user-agent'), '');
  end if;

  if tg_op = 'TRUNCATE' then
    insert into audit.log (
      recorded_at, table_name, operation, changes, actor_id, actor_role, via, address, client, request_id
    )
    values (
      v_now, v_table, tg_op, '{}',
      v_actor_id, v_role, v_via, left(v_address, 100), left(v_client, 300), left(v_headers ->> 'x-request-id', 100)
    );
    return null;
  end if;

  if v_personal <> '{}' then
    select k.key into v_hash_key from private.audit_key k;
  end if;
  insert into audit.log (
    recorded_at, tenant_id, table_name, row_id, operation, changes,
    actor_id, actor_role, via, address, client, request_id
  )
  select
    v_now, (r.body ->> v_tenant)::uuid, v_table,
    concat_ws(',', r.body ->> v_key[1], r.body ->> v_key[2], r.body ->> v_key[3], r.body ->> v_key[4]), tg_op,
    (
      select coalesce(jsonb_object_agg(c.key, case
        when c.key = any (v_secret) then '{}'
        when c.key = any (v_personal) then
          jsonb_build_object(v_side, audit.hash_personal(v_table || '.' || c.key, c.value, v_hash_key))
        when pg_column_size(c.value) > 8192 then jsonb_build_object(v_side, audit.shorten(c.value))
        else jsonb_build_object(v_side, c.value)
      end), '{}')
      from jsonb_each(r.body) as c
      where c.value <> 'null' and c.key <> all (v_left_out)
    ),
    v_actor_id, v_role, v_via, left(v_address, 100), left(v_client, 300), left(v_headers ->> 'x-request-id', 100)
  from (select to_jsonb(t) as body from changed_rows t offset 0) as r;
  return null;
end
$$;

-- What a domain's own trigger finds worth a row, of a table of which audit.watch records corrections only. Rare, so that
-- it need not be quick.
create function audit.record_change(p_tenant_id uuid, p_table text, p_row_id text, p_changes jsonb)
returns void
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_role constant text := current_setting('role');
  v_job constant text := nullif(current_setting('lyceum.job', true), '');
  v_actor_id uuid;
  v_headers jsonb;
begin
  begin
    v_actor_id := auth.uid();
    v_headers := nullif(current_setting('request.headers', true), '')::jsonb;
  exception
    when others then
      -- Whatever is wrong with a token or a header, the fact is recorded.
      v_headers := null;
  end;
  insert into audit.log (
    tenant_id, table_name, row_id, operation, changes, actor_id, actor_role, via, address, client, request_id
  )
  values (
    p_tenant_id, p_table, p_row_id, 'UPDATE', p_changes, v_actor_id, case v_role when 'none' then session_user else v_role end,
    case
      when v_job is not null and v_role not in ('anon', 'authenticated') then 'job ' || left(v_job, 100)
      else nullif(btrim(left(
        concat_ws(' ', current_setting('request.method', true), current_setting('request.path', true)), 200
      )), '')
    end,
    left(case when v_headers is null then host(inet_client_addr()) else v_headers ->> 'x-forwarded-for' end, 100),
    left(case
      when v_headers is null then current_setting('application_name')
      else nullif(concat_ws(' ', v_headers ->> 'x-client-info', v_headers ->> 'user-agent'), '')
    end, 300),
    left(v_headers ->> 'x-request-id', 100)
  );
end
$$;

create table audit.watched_tables (
  table_name text primary key,
  columns text[] not null,
  personal text[] not null,
  secret text[] not null,
  ignored text[] not null,
  corrections_only boolean not null
);
alter table audit.watched_tables enable row level security;

comment on table audit.watched_tables is 'What audit.watch was told, and which columns the table had then.';

-- UPDATE has a function for each table, which compares column by column: converting whole rows to jsonb, to find the
-- one value that changed, costs several times as much. And it compares in the function, not in the trigger's WHEN:
-- a condition over many columns is parsed anew by every statement, which costs more than the function.
create function audit.write_update_function(
  p_table regclass, p_name text, p_watched audit.watched_tables, p_key text[], p_tenant text
)
returns void
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_column record;
  v_side text;
  v_values text[];
  v_comparisons text := '';
  v_compared text[] := '{}'::text[];
  v_operation text := quote_literal('UPDATE');
begin
  for v_column in
    select
      a.attname as name,
      coalesce(nullif(t.typbasetype, 0), t.oid) in (
        'text'::regtype, 'varchar'::regtype, 'bpchar'::regtype
      ) as is_text,
      t.typlen > 0 or coalesce(nullif(t.typbasetype, 0), t.oid) = 'numeric'::regtype as is_small
    from pg_catalog.pg_attribute a
    join pg_catalog.pg_type t on t.oid = a.atttypid
    where a.attrelid = p_table and a.attname = any (p_watched.columns) and a.attname <> all (p_watched.ignored)
    order by a.attnum
  loop
    v_values := '{}'::text[];
    foreach v_side in array array['old', 'new'] loop
      v_values := v_values || format(
        case
          when v_column.name = any (p_watched.personal) then 'audit.hash_personal(%3$L, to_jsonb(%1$s.%2$I))'
          when v_column.is_small then '%1$s.%2$I'
          when v_column.is_text then
            'case when octet_length(%1$s.%2$I) > 8000 then audit.shorten(to_jsonb(%1$s.%2$I)) '
            'else to_jsonb(%1$s.%2$I) end'
          else 'audit.shorten(to_jsonb(%1$s.%2$I))'
        end,
        v_side, v_column.name, p_watched.table_name || '.' || v_column.name
      );
    end loop;
    v_compared := v_compared || v_column.name::text;
    v_comparisons := v_comparisons || format(
      $part$
  if old.%1$I is distinct from new.%1$I then
    v_changes := v_changes || jsonb_build_object(%1$L, %2$s);
  end if;$part$,
      v_column.name,
      case
        when v_column.name = any (p_watched.secret) then '''{}''::jsonb'
        else format(E'jsonb_build_object(\n      ''old'', %s,\n      ''new'', %s\n    )', v_values[1], v_values[2])
      end
    );
    if v_column.name = 'deleted_at' then
      v_operation := 'case when old.deleted_at is null and new.deleted_at is not null then ''DELETE'' '
        'when old.deleted_at is not null and new.deleted_at is null then ''RESTORE'' else ''UPDATE'' end';
    end if;
  end loop;

  execute format(
    $create$
create or replace function audit.%1$I()
returns trigger
language plpgsql
volatile security definer
set search_path = ''
as $body$
declare
  v_changes jsonb := '{}';
  v_role text := current_setting('role');
  v_job text;
  v_via text;
  v_actor_id uuid;
  v_headers jsonb;
  v_address text;
  v_client text;
begin%2$s%3$s
  if v_changes = '{}' then
    return null;
  end if;

  begin
    v_actor_id := auth.uid();
    v_headers := nullif(current_setting('request.headers', true), '')::jsonb;
  exception
    when others then
      -- Whatever is wrong with a token or a header, the fact is recorded.
      v_headers := null;
  end;
  if v_headers is null then
    v_address := host(inet_client_addr());
    v_client := current_setting('application_name');
  else
    v_address := v_headers ->> 'x-forwarded-for';
    v_client := nullif(concat_ws(' ', v_headers ->> 'x-client-info', v_headers ->> 'user-agent'), '');
  end if;
  v_job := nullif(current_setting('lyceum.job', true), '');
  if v_job is not null and v_role not in ('anon', 'authenticated') then
    v_via := 'job ' || left(v_job, 100);
  else
    v_via := nullif(btrim(left(
      concat_ws(' ', current_setting('request.method', true), current_setting('request.path', true)), 200
    )), '');
  end if;

  insert into audit.log (
    tenant_id, table_name, row_id, operation, changes, actor_id, actor_role, via, address, client, request_id
  )
  values (
    %4$s, %5$L, concat_ws(',', %6$s),
    %7$s,
    v_changes, v_actor_id, case v_role when 'none' then session_user else v_role end, v_via,
    left(v_address, 100), left(v_client, 300), left(v_headers ->> 'x-request-id', 100)
  );
  return null;
end
$body$
    $create$,
    p_name,
    -- Where counters change far more often than anything else, one comparison spares the many.
    case
      when cardinality(p_watched.ignored) > 1 then format(
        E'\n  if (%s)\n    is not distinct from (%s)\n  then\n    return null;\n  end if;\n',
        (select string_agg(format('old.%I', c.name), ', ' order by c.position)
          from unnest(v_compared) with ordinality as c (name, position)),
        (select string_agg(format('new.%I', c.name), ', ' order by c.position)
          from unnest(v_compared) with ordinality as c (name, position))
      )
      else ''
    end,
    v_comparisons,
    case when p_tenant <> '' then format('new.%I', p_tenant) else 'null' end,
    p_watched.table_name,
    (
      select string_agg(format('old.%I', k.name), ', ' order by k.position)
      from unnest(p_key) with ordinality as k (name, position)
    ),
    v_operation
  );
end
$$;

-- INV-O2
create function audit.watch(
  p_table regclass, personal text[] default '{}', secret text[] default '{}', ignored text[] default '{}',
  corrections text default null
)
returns void
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_watched audit.watched_tables;
  v_function text;
  v_key text[];
  v_left_out text[];
  v_tenant text;
  v_arguments text;
  v_unknown text;
begin
  select n.nspname || '.' || c.relname, 'record_' || n.nspname || '_' || c.relname
  into v_watched.table_name, v_function
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.oid = p_table;
  select
    array_agg(a.attname::text order by a.attnum) filter (where a.attgenerated = '' and a.attname <> 'updated_at'),
    coalesce(
      array_agg(a.attname::text order by a.attnum) filter (where a.attgenerated <> '' or a.attname = 'updated_at'), '{}'
    )
  into v_watched.columns, v_left_out
  from pg_catalog.pg_attribute a
  where a.attrelid = p_table and a.attnum > 0 and not a.attisdropped;
  select array_agg(a.attname::text order by k.position) into v_key
  from pg_catalog.pg_index i
  cross join unnest(i.indkey) with ordinality as k (attnum, position)
  join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
  where i.indrelid = p_table and i.indisprimary;
  if v_key is null or cardinality(v_key) > 4 then
    raise exception 'Table % cannot be watched: it needs a primary key of at most four columns.', p_table;
  end if;
  select c.name into v_unknown
  from unnest(personal || secret || ignored) as c (name)
  where c.name <> all (v_watched.columns || v_left_out)
  limit 1;
  if found then
    raise undefined_column using message = format('Table %s has no column %s to be treated apart.', p_table, v_unknown);
  end if;
  v_watched.personal := personal;
  v_watched.secret := secret;
  v_watched.ignored := ignored || array['updated_at'];
  v_watched.corrections_only := corrections is not null;
  v_tenant := case
    when v_watched.table_name = 'lms.tenants' then 'id'
    when 'tenant_id' = any (v_watched.columns) then 'tenant_id'
    else ''
  end;
  insert into audit.watched_tables
  select v_watched.*
  on conflict (table_name) do update
  set columns = excluded.columns,
      personal = excluded.personal,
      secret = excluded.secret,
      ignored = excluded.ignored,
      corrections_only = excluded.corrections_only;

  perform audit.write_update_function(p_table, v_function, v_watched, v_key, v_tenant);
  execute format(
    'create or replace trigger _900_audit_update after update on %s for each row %s execute function audit.%I()',
    p_table, 'when (' || corrections || ')', v_function
  );
  v_arguments := format(
    'audit.record_rows(%L, %L, %L, %L, %L, %L)', v_watched.table_name, v_tenant, v_key, personal, secret, v_left_out
  );
  execute format(
    'create or replace trigger _900_audit_delete after delete on %s referencing old table as changed_rows '
    'for each statement execute function %s',
    p_table, v_arguments
  );
  execute format(
    'create or replace trigger _900_audit_truncate after truncate on %s for each statement execute function %s',
    p_table, v_arguments
  );
  if corrections is null then
    execute format(
      'create or replace trigger _900_audit_insert after insert on %s referencing new table as changed_rows '
      'for each statement execute function %s',
      p_table, v_arguments
    );
  end if;
end
$$;

comment on function audit.watch is
  'Records every change of a table from now on. personal: columns of which only a keyed hash is kept; secret: columns '
  'of which nothing is kept but that they changed; ignored: columns whose change alone is not worth a row (updated_at '
  'never is). corrections: a condition on old and new; then only such updates, deletions and TRUNCATE are recorded. '
  'To be called again after a column was added: audit.gaps lists what it does not know.';

create view audit.gaps
with (security_invoker = true)
as
select w.table_name, a.attname::text as column_name
from audit.watched_tables w
join pg_catalog.pg_attribute a on a.attrelid = to_regclass(w.table_name)
where a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
  and a.attname <> 'updated_at' and a.attname <> all (w.columns)
union all
select n.nspname || '.' || c.relname, null
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and not c.relispartition
  and n.nspname in ('public', 'lms', 'content', 'media', 'billing', 'analytics', 'private')
  and (
    n.nspname || '.' || c.relname in ('lms.tenants', 'public.profiles', 'public.profile_private')
    or exists (
      select from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
    )
  )
  -- Made of other tables, and made anew from them; events, which nobody can change, and what follows from them; and what only
  -- says that something is to be looked at. What people were told follows from what is recorded, and says itself when that was.
  and n.nspname || '.' || c.relname not in (
    'private.search_documents', 'analytics.question_events', 'analytics.activity_events', 'analytics.learning_sessions',
    'private.assignment_marks',
    'private.report_changes', 'private.lesson_changes', 'private.report_cells', 'private.question_cells', 'private.lesson_cells',
    'private.active_days', 'private.activity_cells', 'private.active_elsewhere', 'private.stale_reports',
    'lms.notifications', 'private.outbox', 'private.reminded_days'
  )
  and not exists (select from audit.watched_tables w where w.table_name = n.nspname || '.' || c.relname);

comment on view audit.gaps is
  'Tables of tenants and people that are not watched, and columns added since their table was. Empty when all is well.';

-- =====================================================================================================
-- What is watched
-- =====================================================================================================
-- A table of tenants or people that is missing here shows in audit.gaps, and fails a test.

select
  audit.watch('lms.tenants'),
  audit.watch('lms.org_units'),
  audit.watch('lms.roles'),
  audit.watch('lms.role_permissions'),
  audit.watch('lms.assignable_roles'),
  audit.watch('lms.memberships', personal => '{job_title, employee_number}'),
  audit.watch('lms.role_grants'),
  audit.watch('lms.invitations', personal => '{email, first_name, last_name, job_title, employee_number}'),
  audit.watch('lms.cohorts'),
  audit.watch('lms.cohort_members'),
  audit.watch('private.platform_admins'),
  audit.watch(
    'public.profiles',
    personal => '{username, first_name, last_name, avatar_url, bio, location, website, social_links}',
    ignored => '{last_seen_at}'
  ),
  audit.watch(
    'public.profile_private',
    personal => '{email, phone, learning_preferences, knowledge_profile, learning_interests, notification_preferences, '
      'locale, time_zone}'
  ),
  -- What a review makes of its course follows from the review.
  audit.watch('lms.courses', ignored => '{rating_count, rating_sum}'),
  audit.watch('lms.course_staff'),
  audit.watch('analytics.saved_reports', personal => '{name}', ignored => '{digested_at}'),
  audit.watch('lms.modules', ignored => '{published_at}'),
  audit.watch('lms.lessons', ignored => '{published_at}'),
  audit.watch('lms.categories'),
  audit.watch('lms.tags'),
  audit.watch('lms.course_reviews', personal => '{title, body, reply, hidden_reason}'),
  audit.watch('lms.review_reports', personal => '{reason, outcome_note}'),
  audit.watch('lms.learning_paths'),
  audit.watch('lms.learning_path_courses'),
  -- What completing courses makes of a path follows from the courses.
  audit.watch('lms.path_enrollments', ignored => '{items_total, items_done, advance_at}'),
  audit.watch('lms.course_categories'),
  audit.watch('lms.course_tags'),
  audit.watch('lms.lesson_blocks'),
  audit.watch('lms.lesson_prerequisites'),
  audit.watch('lms.skills'),
  audit.watch('lms.lesson_skills'),
  audit.watch('lms.course_prerequisites'),
  audit.watch('billing.entitlements', personal => '{reason}'),
  audit.watch('lms.pending_enrollments'),
  audit.watch('lms.enrollment_requests', personal => '{message, decision_reason}'),
  audit.watch('lms.lesson_notes', personal => '{body}'),
  audit.watch('lms.assignment_rules'),
  audit.watch('lms.assignment_rule_courses'),
  audit.watch('lms.training_requirements'),
  audit.watch('lms.training_waivers', personal => '{reason}'),
  audit.watch('lms.message_templates'),
  audit.watch('lms.webhooks'),
  audit.watch('lms.course_versions'),
  -- What a version consists of comes with it and never changes: the hash in course_versions stands for it.
  audit.watch('lms.version_lessons', corrections => 'true'),
  audit.watch('lms.block_revisions', corrections => 'true'),
  audit.watch('lms.version_blocks', corrections => 'true'),
  -- What recording progress writes is derived from lesson_progress, and far too frequent.
  audit.watch(
    'lms.enrollments',
    ignored => '{items_total, items_done, time_spent_seconds, last_accessed_at, current_lesson_id}'
  ),
  -- What others than clients give is recorded by private.advance_progress.
  audit.watch(
    'lms.lesson_progress',
    corrections => 'new.progress_percentage < old.progress_percentage or new.completed_at <> old.completed_at'
  ),
  audit.watch('lms.block_progress', corrections => 'new.progress_percentage < old.progress_percentage'),
  -- Who has the code sees what the certificate says.
  audit.watch('lms.certificates', personal => '{holder_name, issue_reason, revoked_reason}', secret => '{code}'),
  audit.watch('lms.attestation_statements'),
  audit.watch('lms.attestations', personal => '{document}'),
  audit.watch('lms.progress_corrections', personal => '{reason}'),
  audit.watch('lms.assessments', ignored => '{published_at}'),
  audit.watch('lms.assessment_sections'),
  audit.watch('lms.questions'),
  audit.watch('lms.question_skills'),
  -- INV-A1: who reads the audit trail reads no keys.
  audit.watch('private.answer_keys', secret => '{key, explanation}'),
  audit.watch('private.key_revisions', secret => '{key, explanation}', corrections => 'true'),
  audit.watch('lms.version_assessments', corrections => 'true'),
  audit.watch('lms.question_revisions', corrections => 'true'),
  audit.watch('lms.version_questions', corrections => 'true'),
  audit.watch('lms.accommodations', personal => '{reason}'),
  -- Starting and handing in are what the rows say themselves; what else happens to an attempt is recorded.
  audit.watch(
    'lms.assessment_attempts',
    corrections => 'new.started_at <> old.started_at or new.deadline_at is distinct from old.deadline_at '
      'or new.submitted_at <> old.submitted_at or (new.status = ''in_progress'' and old.status <> ''in_progress'')'
  ),
  audit.watch('lms.attempt_questions', corrections => 'true'),
  audit.watch('private.attempt_keys', corrections => 'true'),
  -- Clients save all the time; nobody else does.
  audit.watch('lms.attempt_answers', personal => '{response}', corrections => 'not private.is_api_call()'),
  -- INV-A4: what a grade was changed to, by whom and when.
  audit.watch('lms.answer_scores', personal => '{feedback}', secret => '{explanation}', corrections => 'true'),
  audit.watch('lms.attempt_scores', corrections => 'true'),
  audit.watch('lms.grade_overrides', personal => '{reason}'),
  audit.watch('lms.grading_assignments'),
  audit.watch(
    'lms.assessment_progress',
    corrections => 'new.percentage < old.percentage or new.passed_at <> old.passed_at '
      'or new.completed_at <> old.completed_at or (old.completed_at is not null and new.completed_at is null)'
  ),
  audit.watch('analytics.event_types');

select ops.register_job(
  'make-audit-partitions', '41 2 * * *', 'ops.make_audit_partitions', interval '3 days',
  'The audit log has a partition for each of the next months.'
);
