-- Foundation: the schemas, what nobody may do by default, and the few helpers that every later domain uses.
-- Undo: drop schema private, ops, lms, content, media, billing, analytics cascade; alter role authenticated and anon reset
-- plan_cache_mode, authenticator reset pgrst.db_pre_request; then restore the default privileges of role postgres in schema
-- public (see the hosted project's documentation).

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Schemas
-- =====================================================================================================

create schema lms;
create schema content;
create schema media;
create schema billing;
create schema analytics;
create schema private;
create schema ops;

comment on schema lms is 'Learning: tenants, people''s memberships, courses, enrolments and progress.';
comment on schema content is 'Publishing: articles, series and their editing.';
comment on schema media is 'Files and folders.';
comment on schema billing is 'Plans, payments and what they entitle to.';
comment on schema analytics is 'Learning events and reports.';
comment on schema private is 'Helpers of policies, keys and settings. Not exposed: clients never address it.';
comment on schema ops is 'Maintenance: jobs and health. Not exposed.';

grant usage on schema lms, content, media, billing, analytics to anon, authenticated, service_role;
-- Policies, defaults and CHECKs run as the caller, so the API roles must reach the helpers they name;
-- which helpers, is granted one by one.
grant usage on schema private to anon, authenticated, service_role;
grant usage on schema ops to service_role;

-- =====================================================================================================
-- Nothing is open by default
-- =====================================================================================================
-- Hosted projects hand new objects in `public` to the API roles, and PostgreSQL hands new functions to everybody.
-- A forgotten grant must mean "nobody", so both are taken back: in the global form and inside the schema,
-- because one does not undo the other.

alter default privileges for role postgres revoke execute on functions from public;
alter default privileges for role postgres in schema public
  revoke all on functions from anon, authenticated, service_role;
alter default privileges for role postgres in schema public
  revoke all on tables from anon, authenticated, service_role;
alter default privileges for role postgres in schema public
  revoke all on sequences from anon, authenticated, service_role;

-- =====================================================================================================
-- Errors
-- =====================================================================================================

create function private.fail(
  code text,
  message text,
  status integer default 400,
  details jsonb default null,
  hint text default null
)
returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  raise sqlstate 'PGRST' using
    message = json_build_object('code', code, 'message', message, 'details', details::text, 'hint', hint)::text,
    detail = json_build_object('status', status, 'headers', json_build_object())::text;
end
$$;

comment on function private.fail is
  'Raises an error that PostgREST answers as {code, message, details, hint} with the given HTTP status. '
  '`code` is stable and for programs, `message` a sentence for people, `details` JSON as text, `hint` what to do.';
grant execute on function private.fail to anon, authenticated, service_role;

-- =====================================================================================================
-- Who is asking
-- =====================================================================================================

-- In plpgsql, as all helpers that triggers call: an SQL function with a search_path of its own is planned at every call.
create function private.is_api_call()
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return coalesce(current_setting('role', true), 'none') in ('anon', 'authenticated')
    -- Jobs that read with somebody's rights say so: nobody gains by it, for it only takes rights away.
    or coalesce(current_setting('lyceum.on_behalf', true), '') <> '';
end
$$;

comment on function private.is_api_call is
  'True when a client is behind the statement, also inside SECURITY DEFINER functions (they change current_user, '
  'not the role setting). The service role, jobs and imports are not clients: they may set past times.';
grant execute on function private.is_api_call to anon, authenticated, service_role;

-- =====================================================================================================
-- Before every request
-- =====================================================================================================

-- The planner's statistics know rows that policies hide, and `count=planned` hands out its estimates: how many members
-- another tenant has, how e-mail addresses are distributed. Exact counts see what the caller sees.
create function private.check_request()
returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  if current_setting('request.headers', true)::json ->> 'prefer' ~* 'count\s*=\s*(planned|estimated)' then
    perform private.fail('count_not_available', 'Counts are exact here: ask for count=exact.', 400);
  end if;
end
$$;

grant execute on function private.check_request to anon, authenticated, service_role;
alter role authenticator set pgrst.db_pre_request = 'private.check_request';
notify pgrst, 'reload config';

-- =====================================================================================================
-- Plans
-- =====================================================================================================

-- A statement's policies are planned with it, and that costs more than running it. PostgREST prepares its statements and
-- sets these for each request, so a plan is made once per connection and kept. It is made without knowing the values, which
-- suits tables that are read through indexes on ids; sets of columns that depend on each other have statistics of their own.
alter role authenticated set plan_cache_mode = 'force_generic_plan';
alter role anon set plan_cache_mode = 'force_generic_plan';

-- =====================================================================================================
-- Keys and timestamps
-- =====================================================================================================

create function private.uuid_v7()
returns uuid
language plpgsql
volatile
set search_path = ''
as $$
declare
  microseconds constant bigint := (extract(epoch from clock_timestamp()) * 1000000)::bigint;
  random constant bytea := uuid_send(gen_random_uuid());
begin
  -- RFC 9562, method 3: 48 bits of milliseconds, version, 12 bits of sub-millisecond fraction, variant, random.
  return encode(
    substring(int8send(microseconds / 1000) from 3)
    || substring(int4send(28672 + ((microseconds % 1000) * 4096 / 1000)::integer) from 3)
    || set_byte(substring(random from 9), 0, (get_byte(random, 8) & 63) | 128),
    'hex'
  )::uuid;
end
$$;

comment on function private.uuid_v7 is
  'A time-ordered UUID (version 7, RFC 9562) with sub-millisecond bits: rows that arrive in time order land on the '
  'same index pages.';
grant execute on function private.uuid_v7 to authenticated, service_role;

create function private.touch_updated_at()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  new.updated_at := now();
  return new;
end
$$;

-- =====================================================================================================
-- Domains that hold validation
-- =====================================================================================================

create domain private.slug as text
  constraint slug_is_lower_case_words_joined_by_hyphens
  check (value ~ '^[a-z0-9]+(-[a-z0-9]+)*$' and length(value) <= 100);

create domain private.title as text
  constraint title_is_one_to_300_characters
  check (value ~ '\S' and length(value) <= 300 and value !~ '[\x01-\x1f]');

create domain private.web_address as text
  constraint web_address_is_http_or_a_path
  check (value ~ '^(https?://[^\s<>"]+|/[^\s<>"]*)$' and length(value) <= 2000);

-- Without a scale: a cast to numeric(5, 2) would round a client's 99.999 up to a completion.
create domain private.percentage as numeric
  constraint percentage_is_between_0_and_100 check (value between 0 and 100 and scale(value) <= 10);

-- Domains rather than CHECKs of the table: each CHECK of a table is prepared anew by every statement that writes it, a
-- domain's once per session, and progress is written more often than anything else.
create domain private.total_seconds as integer
  constraint time_spent_is_at_most_a_year check (value between 0 and 31536000);

create domain private.resume_position as jsonb
  constraint last_position_is_small check (length(value::text) <= 4000);

create function private.is_time_zone(name text)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  perform now() at time zone name;
  return name ~ '^[A-Za-z]';
exception
  when invalid_parameter_value then
    return false;
end
$$;

comment on function private.is_time_zone is 'True for names of the IANA time zone database, such as America/Denver.';

create domain private.time_zone as text
  constraint time_zone_is_known check (private.is_time_zone(value));

create domain private.locale as text
  constraint locale_is_a_language_tag check (value ~ '^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?$');

grant execute on function private.is_time_zone to anon, authenticated, service_role;

notify pgrst, 'reload schema';
