-- The roles of a hosted Supabase project, with the rights and memberships they have there.
-- Runs as supabase_admin (the cluster's only superuser) and may run again at any time: roles belong to the
-- cluster, not to one database. Passwords are set by the caller, never here.

do $$
declare
  wanted constant text[][] := array[
    -- role, attributes
    ['anon',                   'nologin noinherit'],
    ['authenticated',          'nologin noinherit'],
    ['service_role',           'nologin noinherit bypassrls'],
    ['authenticator',          'login noinherit'],
    ['dashboard_user',         'nologin createrole createdb replication'],
    ['supabase_auth_admin',    'login noinherit createrole'],
    ['supabase_storage_admin', 'login noinherit createrole'],
    -- The role that owns the project's objects is NOT superuser, there as here.
    ['postgres',               'login createrole createdb replication bypassrls']
  ];
  r text[];
begin
  foreach r slice 1 in array wanted loop
    if not exists (select from pg_catalog.pg_roles where rolname = r[1]) then
      execute format('create role %I %s', r[1], r[2]);
    end if;
  end loop;
end
$$;

grant anon, authenticated, service_role to authenticator;
grant anon, authenticated, service_role, authenticator to postgres with admin option;
-- The storage service acts with the role of the caller's token, so that policies on storage.objects decide.
grant authenticator to supabase_storage_admin;
grant pg_monitor, pg_signal_backend, pg_read_all_data, pg_checkpoint to postgres;

-- What supautils lets `postgres` do on a hosted project: policies on storage.objects, a pre-request function,
-- and replicated loads without triggers.
grant supabase_storage_admin to postgres;
grant set on parameter "pgrst.db_pre_request" to postgres;
grant set on parameter "session_replication_role" to postgres;

-- Statement limits that hosted sets for the API roles.
alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
alter role authenticator set statement_timeout = '8s';
alter role postgres set search_path = "$user", public, extensions;
alter role supabase_auth_admin set search_path = auth;
alter role supabase_auth_admin set idle_in_transaction_session_timeout = '60s';
alter role supabase_storage_admin set search_path = storage;
