begin;
\ir ../helpers.sql
select * from no_plan();

-- =====================================================================================================
-- Keys
-- =====================================================================================================

create temporary table made as select n, private.uuid_v7() as id from generate_series(1, 2000) as n;

select is(count(distinct id), 2000::bigint, 'uuid_v7: 2000 keys are 2000 different keys') from made;
select is(
  count(*) filter (where substr(id::text, 15, 1) <> '7'), 0::bigint, 'uuid_v7: every key says version 7'
) from made;
select is(
  count(*) filter (where substr(id::text, 20, 1) !~ '[89ab]'), 0::bigint, 'uuid_v7: every key has the RFC''s variant'
) from made;
select ok(
  bool_and(
    abs(('x' || replace(substr(id::text, 1, 13), '-', ''))::bit(48)::bigint - extract(epoch from clock_timestamp()) * 1000) < 60000
  ),
  'uuid_v7: the first 48 bits are the milliseconds of now'
) from made;
-- Within one microsecond the order is left to chance, so neighbours are compared a little apart.
select is(
  (select count(*) from made a join made b on b.n = a.n + 100 where b.id < a.id), 0::bigint,
  'uuid_v7: later keys sort after earlier ones'
);
select ok(
  (select max(get_byte(uuid_send(id), 6) & 15) > 0 or max(get_byte(uuid_send(id), 7)) > 0 from made),
  'uuid_v7: the fraction of the millisecond is in the key'
);

-- =====================================================================================================
-- Errors
-- =====================================================================================================

select is(
  tests.failure_of($$ select private.fail('some_code', E'A "sentence"\nwith a break', 409, '{"a": [1]}', 'Do this.') $$),
  jsonb_build_object('code', 'some_code', 'message', E'A "sentence"\nwith a break', 'details', '{"a": [1]}'::jsonb, 'hint', 'Do this.'),
  'fail(): code, message, details and hint come back as they went in, line breaks too'
);
select is(tests.error_of($$ select private.fail('some_code', 'No.') $$), '400 some_code', 'fail(): the status is 400 unless told');
select is(tests.error_of($$ select private.fail('some_code', 'No.', 404) $$), '404 some_code', 'fail(): the status is as told');
select is(
  (tests.failure_of($$ select private.fail('some_code', 'No.') $$)) -> 'details', 'null'::jsonb,
  'fail(): details may be absent'
);

-- =====================================================================================================
-- Who is asking
-- =====================================================================================================

select ok(not private.is_api_call(), 'is_api_call: the owner of the database is no client');
select tests.as_service();
select ok(not private.is_api_call(), 'is_api_call: the service role is no client');
select tests.as('lena');
select ok(private.is_api_call(), 'is_api_call: somebody signed in is a client');
select tests.as_anonymous();
select ok(private.is_api_call(), 'is_api_call: an anonymous caller is a client');
select tests.as_owner();

create function tests.definer_is_api_call() returns boolean language sql security definer as $$ select private.is_api_call() $$;

select tests.as('lena');
select ok(tests.definer_is_api_call(), 'is_api_call: a client stays one inside a security definer function');
select tests.as_owner();

-- =====================================================================================================
-- Domains
-- =====================================================================================================

create function tests.fits(type text, value text) returns boolean language sql as $$
  select tests.error_of(format('select %L::%s', value, type)) = 'none'
$$;

select is(tests.fits('private.' || type, value), expected, format('%s: %s', type, to_json(left(value, 40))))
from (values
  ('slug', 'a', true), ('slug', 'hazmat-2026', true), ('slug', '', false), ('slug', '-a', false), ('slug', 'a-', false),
  ('slug', 'a--b', false), ('slug', 'A', false), ('slug', 'ä', false), ('slug', E'a\n', false), ('slug', 'a b', false),
  ('slug', '../a', false), ('slug', repeat('a', 100), true), ('slug', repeat('a', 101), false),
  ('title', 'x', true), ('title', '', false), ('title', '   ', false), ('title', E'a\tb', false), ('title', E'a\nb', false),
  ('title', E'a\x1bb', false), ('title', 'Ошибка 💥 "quoted" <b>', true), ('title', repeat('x', 300), true), ('title', repeat('x', 301), false),
  ('web_address', 'https://example.com/a?b=c#d', true), ('web_address', 'http://localhost:3000', true),
  ('web_address', '/storage/v1/object/a.png', true), ('web_address', 'javascript:alert(1)', false),
  ('web_address', ' https://example.com', false), ('web_address', 'data:text/html,x', false), ('web_address', 'JaVaScRiPt://x', false),
  ('web_address', 'https://exa mple.com', false), ('web_address', 'https://example.com/"onload="x', false),
  ('web_address', E'https://example.com/\nx', false), ('web_address', 'ftp://example.com', false), ('web_address', '', false),
  ('web_address', 'https://example.com/<script>', false), ('web_address', 'https://e.com/' || repeat('a', 2000), false),
  ('percentage', '0', true), ('percentage', '100', true), ('percentage', '99.999', true), ('percentage', '-0.0001', false),
  ('percentage', '100.0001', false), ('percentage', 'NaN', false), ('percentage', 'Infinity', false), ('percentage', '-Infinity', false),
  ('time_zone', 'America/Denver', true), ('time_zone', 'UTC', true), ('time_zone', 'Mars/Olympus', false), ('time_zone', '', false),
  ('time_zone', '+05:00', false), ('time_zone', '<x>-3', false), ('time_zone', 'America/Denver; drop table x', false),
  ('locale', 'en', true), ('locale', 'pt-BR', true), ('locale', 'zh-Hant-TW', true), ('locale', 'es-419', true), ('locale', 'EN', false),
  ('locale', 'english', false), ('locale', 'en_US', false), ('locale', E'en\n', false)
) as cases (type, value, expected);

select is('99.999'::private.percentage::text, '99.999', 'percentage: 99.999 is not rounded up to a completion');

-- =====================================================================================================
-- Nothing is open by default
-- =====================================================================================================

create table public.forgotten (id bigint generated always as identity, secret text);
create sequence public.forgotten_sequence;
create view public.forgotten_view as select 1 as one;
create function public.forgotten_call() returns integer language sql as 'select 1';
create table lms.forgotten (id integer);
create function lms.forgotten_call() returns integer language sql as 'select 1';
create function private.forgotten_call() returns integer language sql as 'select 1';

select ok(
  not has_table_privilege(r.name, t.name, p.privilege),
  format('a new table %s gives %s no %s', t.name, r.name, p.privilege)
)
from (values ('anon'), ('authenticated'), ('service_role')) as r (name)
cross join (values ('public.forgotten'), ('public.forgotten_view'), ('lms.forgotten')) as t (name)
cross join (values ('select, insert, update, delete, truncate, references, trigger')) as p (privilege);

select ok(
  not has_sequence_privilege(r.name, 'public.forgotten_sequence', 'usage, select, update'),
  format('a new sequence in public gives %s nothing', r.name)
)
from (values ('anon'), ('authenticated'), ('service_role')) as r (name);

select ok(
  not has_function_privilege(r.name, f.name, 'execute'), format('a new function %s cannot be called by %s', f.name, r.name)
)
from (values ('anon'), ('authenticated'), ('service_role')) as r (name)
cross join (values ('public.forgotten_call()'), ('lms.forgotten_call()'), ('private.forgotten_call()')) as f (name);

select ok(
  not has_schema_privilege(r.name, s.name, 'create'), format('%s cannot create anything in %s', r.name, s.name)
)
from (values ('anon'), ('authenticated'), ('service_role')) as r (name)
cross join (values ('public'), ('lms'), ('content'), ('media'), ('billing'), ('analytics'), ('private'), ('ops')) as s (name);

select ok(not has_schema_privilege(r.name, 'ops', 'usage'), format('%s does not reach schema ops', r.name))
from (values ('anon'), ('authenticated')) as r (name);

select * from finish();
rollback;
