-- What every test file starts with: `begin;` then `\ir ../helpers.sql`; it ends with `rollback;`.
-- Runs as `postgres`, which is not superuser. pgTAP is expected in schema `tap`, `extensions` or `public`.
--
-- Things are named, not numbered: tests.id('lena') is the id of the person, course or unit called lena, so that a test
-- reads without variables. Builders run as the role that migrations run as, so no rule for clients applies to them.

\set QUIET 1
set local client_min_messages = error;
set local search_path = public, extensions, tap;

create schema tests;
grant usage on schema tests to public;
alter default privileges in schema tests grant execute on functions to public;

-- =====================================================================================================
-- Who is asking
-- =====================================================================================================

create function tests.id(name text) returns uuid language sql immutable as $$ select md5(name)::uuid $$;

-- As PostgREST does it: the role and the claims of the token, for the rest of the transaction.
create function tests.as(name text) returns void language plpgsql as $$
begin
  perform set_config('role', 'authenticated', true);
  perform set_config('request.jwt.claims', json_build_object(
    'sub', tests.id(name), 'role', 'authenticated', 'aud', 'authenticated', 'email', name || '@example.com'
  )::text, true);
end
$$;

create function tests.as_anonymous() returns void language plpgsql as $$
begin
  perform set_config('role', 'anon', true);
  perform set_config('request.jwt.claims', '{"role": "anon"}', true);
end
$$;

create function tests.as_service() returns void language plpgsql as $$
begin
  perform set_config('role', 'service_role', true);
  perform set_config('request.jwt.claims', '{"role": "service_role"}', true);
end
$$;

create function tests.as_owner() returns void language plpgsql as $$
begin
  perform set_config('role', 'none', true);
  perform set_config('request.jwt.claims', '', true);
end
$$;

create function tests.be(name text) returns void language plpgsql as $$
begin
  case name
    when 'anonymous' then perform tests.as_anonymous();
    when 'service' then perform tests.as_service();
    when 'owner' then perform tests.as_owner();
    else perform tests.as(name);
  end case;
end
$$;

-- =====================================================================================================
-- What a statement does
-- =====================================================================================================

-- How a statement fails: '409 not_eligible' for the errors that we raise for PostgREST, '23514 constraint_name' for
-- constraints, '42501' and the like for the rest; 'none' when it does not fail. What it wrote is undone when it fails.
create function tests.error_of(statement text) returns text language plpgsql as $$
declare
  v_state text; v_message text; v_detail text; v_constraint text;
begin
  execute statement;
  return 'none';
exception when others then
  get stacked diagnostics
    v_state = returned_sqlstate, v_message = message_text, v_detail = pg_exception_detail, v_constraint = constraint_name;
  if v_state = 'PGRST' then
    return (v_detail::jsonb ->> 'status') || ' ' || (v_message::jsonb ->> 'code');
  end if;
  return btrim(v_state || ' ' || coalesce(v_constraint, ''));
end
$$;

-- The same, without doing it.
create function tests.outcome_of(statement text) returns text language plpgsql as $$
begin
  raise exception using errcode = 'UNDO1', message = tests.error_of(statement);
exception
  when sqlstate 'UNDO1' then return sqlerrm;
end
$$;

-- The parsed body of an error that we raise: {code, message, details, hint}; `details` parsed as well.
create function tests.failure_of(statement text) returns jsonb language plpgsql as $$
declare
  v_state text; v_message text; v_body jsonb;
begin
  execute statement;
  return null;
exception when others then
  get stacked diagnostics v_state = returned_sqlstate, v_message = message_text;
  if v_state <> 'PGRST' then
    return jsonb_build_object('code', v_state, 'message', v_message);
  end if;
  v_body := v_message::jsonb;
  return v_body || jsonb_build_object('details', (v_body ->> 'details')::jsonb);
end
$$;

-- The codes of the reasons that a refused enrolment lists, in order of the alphabet.
create function tests.reasons_of(statement text) returns text[] language sql as $$
  select coalesce(array_agg(reason ->> 'code' order by reason ->> 'code'), '{}')
  from jsonb_array_elements(tests.failure_of(statement) -> 'details') as reason
$$;

-- How many rows a statement returned or wrote.
create function tests.rows_of(statement text) returns bigint language plpgsql as $$
declare
  v_rows bigint;
begin
  execute statement;
  get diagnostics v_rows = row_count;
  return v_rows;
end
$$;

-- How many rows of a table the asking role sees: a number, or the error.
create function tests.sees(relation text, condition text default 'true') returns text language plpgsql as $$
declare
  v_rows bigint;
begin
  execute format('select count(*) from %s where %s', relation, condition) into v_rows;
  return v_rows::text;
exception when others then
  return sqlstate;
end
$$;

-- What a statement of somebody does: the number of its rows, or how it fails. What it wrote is undone, so that the
-- cases of a list do not depend on each other. 'anonymous' and 'service' stand for callers without a person.
create function tests.try(name text, statement text) returns text language plpgsql as $$
declare
  v_result text;
begin
  perform tests.be(name);
  begin
    v_result := tests.rows_of(statement)::text;
    -- What was tried is undone, so that the cases do not depend on each other.
    raise exception using errcode = 'UNDO0';
  exception
    when sqlstate 'UNDO0' then null;
    when others then v_result := tests.error_of(statement);
  end;
  perform tests.as_owner();
  return v_result;
end
$$;

create function tests.sees_as(name text, relation text, condition text default 'true') returns text language plpgsql as $$
declare
  v_rows text;
begin
  perform tests.be(name);
  v_rows := tests.sees(relation, condition);
  perform tests.as_owner();
  return v_rows;
end
$$;

-- =====================================================================================================
-- Builders
-- =====================================================================================================

create function tests.person(name text, meta jsonb default '{}') returns uuid language sql as $$
  insert into auth.users (instance_id, id, aud, role, email, raw_app_meta_data, raw_user_meta_data, created_at, updated_at)
  values (
    '00000000-0000-0000-0000-000000000000', tests.id(name), 'authenticated', 'authenticated', name || '@example.com',
    '{"provider": "email"}', meta, now(), now()
  )
  returning id
$$;

-- The person owns their address.
create function tests.confirm(name text) returns void language sql as $$
  update auth.users set email_confirmed_at = now() where id = tests.id(name)
$$;

create function tests.tenant(slug text) returns uuid language sql as $$
  insert into lms.tenants (id, slug, name) values (tests.id(slug), slug, initcap(slug)) returning id
$$;

create function tests.unit(name text, tenant text, parent text default null) returns uuid language sql as $$
  insert into lms.org_units (id, tenant_id, parent_id, name)
  values (tests.id(name), tests.id(tenant), case when parent is not null then tests.id(parent) end, name)
  returning id
$$;

create function tests.role_id(tenant text, key text) returns uuid language sql stable as $$
  select r.id from lms.roles r where r.tenant_id = tests.id(tenant) and r.key = $2
$$;

-- `scope`: the unit that the role is limited to. The membership is tests.id('<name> in <tenant>').
create function tests.member(name text, tenant text, role text default 'learner', unit text default null, scope text default null)
returns uuid language plpgsql as $$
begin
  if not exists (select from auth.users u where u.id = tests.id(name)) then
    perform tests.person(name, jsonb_build_object('first_name', initcap(name)));
  end if;
  insert into lms.memberships (id, tenant_id, user_id, unit_id)
  values (
    tests.id(name || ' in ' || tenant), tests.id(tenant), tests.id(name),
    case when unit is not null then tests.id(unit) end
  );
  insert into lms.role_grants (tenant_id, membership_id, role_id, unit_id)
  values (
    tests.id(tenant), tests.id(name || ' in ' || tenant), tests.role_id(tenant, role),
    case when scope is not null then tests.id(scope) end
  );
  return tests.id(name || ' in ' || tenant);
end
$$;

-- A role beside the built-in ones; its id is tests.id('<key> of <tenant>').
create function tests.custom_role(tenant text, key text, permissions text[] default '{}') returns uuid language plpgsql as $$
begin
  insert into lms.roles (id, tenant_id, key, name) values (tests.id(key || ' of ' || tenant), tests.id(tenant), key, key);
  insert into lms.role_permissions (tenant_id, role_id, permission)
  select tests.id(tenant), tests.id(key || ' of ' || tenant), p from unnest(permissions) as p;
  return tests.id(key || ' of ' || tenant);
end
$$;

-- One more role for a member.
create function tests.grant_role(name text, tenant text, role text, scope text default null) returns uuid language sql as $$
  insert into lms.role_grants (tenant_id, membership_id, role_id, unit_id)
  values (
    tests.id(tenant), tests.id(name || ' in ' || tenant), tests.role_id(tenant, role),
    case when scope is not null then tests.id(scope) end
  )
  returning id
$$;

-- A course with one module, tests.id('<slug>/m'), and lessons tests.id('<slug>/1') ... of one block each.
create function tests.course(
  slug text, tenant text, instructor text, lessons integer default 2, visibility text default 'restricted',
  status text default 'published'
)
returns uuid language plpgsql as $$
begin
  insert into lms.courses (id, tenant_id, slug, title, visibility, status, published_at, instructor_id)
  values (
    tests.id(slug), tests.id(tenant), slug, initcap(slug), visibility, status,
    case when status <> 'draft' then now() end, tests.id(instructor)
  );
  insert into lms.modules (id, course_id, title, order_index) values (tests.id(slug || '/m'), tests.id(slug), 'Module', 0);
  insert into lms.lessons (id, module_id, title, order_index)
  select tests.id(slug || '/' || n), tests.id(slug || '/m'), 'Lesson ' || n, n - 1
  from generate_series(1, lessons) as n;
  insert into lms.lesson_blocks (lesson_id, type, content, order_index)
  select tests.id(slug || '/' || n), 'markdown', jsonb_build_object('markdown', 'Secret of lesson ' || n), 0
  from generate_series(1, lessons) as n;
  if status <> 'draft' then
    perform private.freeze_course(tests.id(slug));
  end if;
  return tests.id(slug);
end
$$;

-- What publishing does, without asking who or whether.
create function tests.republish(course text) returns integer language sql as $$
  select (private.freeze_course(tests.id(course))).number
$$;

-- The enrolment is tests.id('<name> takes <course>').
create function tests.enrollment(name text, course text) returns uuid language sql as $$
  insert into lms.enrollments (id, course_id, user_id)
  values (tests.id(name || ' takes ' || course), tests.id(course), tests.id(name))
  returning id
$$;

-- What the enrolment says: 'status done/total percentage'.
create function tests.standing(name text, course text) returns text language sql as $$
  select format('%s %s/%s %s', e.status, e.items_done, e.items_total, e.progress_percentage)
  from lms.enrollments e
  where e.user_id = tests.id(name) and e.course_id = tests.id(course)
  order by e.cycle desc
  limit 1
$$;
