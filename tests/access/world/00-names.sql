-- A world with every kind of row, for the access matrix. Three organisations: `home`, where the roles act; `abroad`, of
-- which they must see nothing; and `sister`, where one of them works as well.
--
-- Rows are named: world.id('courses.draft') is the id of that course, and the matrix says $courses.draft. Every text
-- that can carry one holds a canary that is unique to its row, so that a row which leaks is recognised anywhere.
-- Runs as the migrations' role, in a throw-away database.

create schema world;

create table world.names (name text primary key, id uuid not null);

create function world.id(p_name text)
returns uuid
language plpgsql
as $$
declare
  v_id uuid;
begin
  insert into world.names (name, id) values (p_name, md5(p_name)::uuid) on conflict (name) do nothing;
  select n.id into v_id from world.names n where n.name = p_name;
  return v_id;
end
$$;

-- For the matrix' own predicates: a name that nothing in this file has is a mistake.
create function world.the(p_name text)
returns uuid
language plpgsql
stable
as $$
declare
  v_id uuid;
begin
  select n.id into v_id from world.names n where n.name = p_name;
  if not found then
    raise exception 'There is no % in tests/access/world.', p_name;
  end if;
  return v_id;
end
$$;

create function world.canary(p_name text)
returns text
language sql
immutable
return 'canary-' || translate(p_name, '._', '--');
