-- Medians of lms.search and its companions as a learner of a middling tenant and as nobody, and the plan of the statement
-- inside. Prints; asserts nothing.

set statement_timeout = 0;
set client_min_messages = notice;
create table bench.result (place serial, what text, caller text, found text, median_ms numeric, slowest_ms numeric);

create function bench.measure(what text, caller text, statement text, rounds integer default 9) returns void
language plpgsql as $$
declare
  v_started timestamptz;
  v_times float8[] := '{}';
  v_found text;
begin
  perform set_config('request.jwt.claims', case when caller = 'anon' then '{"role": "anon"}' else json_build_object('sub', md5(caller)::uuid, 'role', 'authenticated')::text end, true);
  perform set_config('role', case when caller = 'anon' then 'anon' else 'authenticated' end, true);
  for i in 1..rounds + 2 loop
    v_started := clock_timestamp();
    execute statement into v_found;
    if i > 2 then
      v_times := v_times || extract(epoch from clock_timestamp() - v_started)::float8 * 1000;
    end if;
  end loop;
  perform set_config('role', 'none', true);
  raise notice '%, %: %', what, caller, v_times;
  insert into bench.result (what, caller, found, median_ms, slowest_ms)
  select what, caller, v_found, round(percentile_cont(0.5) within group (order by t)::numeric, 1), round(max(t)::numeric, 1) from unnest(v_times) t;
end
$$;

create function bench.search(query text, more text default '') returns text language sql immutable as $$
  select format('select cardinality(s.results) || case when s.is_partial then '' of too many'' else '''' end from lms.search(%L %s) s', query, more)
$$;
select bench.word(1) as common \gset
select bench.word(60) as middling \gset
select bench.word(2990) as rare \gset

select bench.measure(what, caller, statement)
from (values ('user:10'), ('user:50'), ('anon')) as c (caller), (values
  ('a rare word', bench.search(:'rare')),
  ('a middling word', bench.search(:'middling')),
  ('two words', bench.search(:'middling' || ' ' || :'rare')),
  ('a word of most texts', bench.search(:'common')),
  ('a word of every title', bench.search('course')),
  ('a phrase', bench.search('"' || :'common' || ' ' || :'middling' || '"')),
  ('a common word without another', bench.search(:'common' || ' -' || :'middling')),
  ('a word of every title, in one small tenant', bench.search('course', format(', p_tenant_id => %L', md5('tenant:50')::uuid))),
  ('a word of every title, of one tag and difficulty', bench.search('course', ', p_tag => ''tag-3'', p_difficulty => ''expert''')),
  ('a typing error', bench.search('x' || :'rare')),
  ('a typing error in a word of every title', bench.search('coursse')),
  ('facets of a middling word', format('select (lms.get_search_facets(%L)).total', :'middling')),
  ('facets of a word of every title', 'select (lms.get_search_facets(''course'')).total'),
  ('suggestions', format('select cardinality(lms.suggest_searches(%L))', left(:'rare', 5))),
  ('suggestions for what every title begins with', 'select cardinality(lms.suggest_searches(''cou''))')
) as s (what, statement);

select what, caller, found, median_ms, slowest_ms from bench.result order by place;
select pg_size_pretty(pg_total_relation_size('private.search_documents')) as documents, pg_size_pretty(pg_relation_size('private.search_documents_by_words')) as index_of_words;

-- By index: how often a table was read in whole, of all searches for a word, and how often by index.
begin;
select count(*) as searches
from (values ('user:10'), ('anon')) as c (caller), (values (:'rare'), (:'middling'), (:'common'), ('course'), ('coursse')) as w (word),
  lateral bench.measure('again: ' || word, caller, bench.search(word), 1);
select relname, seq_scan, idx_scan
from pg_stat_xact_all_tables
where relname in ('search_documents', 'courses', 'lessons', 'version_lessons') and seq_scan + idx_scan > 0;
commit;

-- What is found is what the caller sees: results whose course policies hide from them. All must be 0.
create function bench.unseen(caller text, query text) returns table (results integer, hidden integer)
language plpgsql as $$
begin
  perform set_config('request.jwt.claims', case when caller = 'anon' then '{"role": "anon"}' else json_build_object('sub', md5(caller)::uuid, 'role', 'authenticated')::text end, true);
  perform set_config('role', case when caller = 'anon' then 'anon' else 'authenticated' end, true);
  select count(*), count(*) filter (where not exists (select from lms.courses c where c.id = r.course_id)) into results, hidden
  from lms.search(query, p_limit => 100) s, unnest(s.results) r;
  perform set_config('role', 'none', true);
  return next;
end
$$;
select c.caller, w.word, u.results, u.hidden
from (values ('user:10'), ('user:50'), ('anon')) as c (caller), (values (:'rare'), (:'middling'), (:'common'), ('course'), ('coursse')) as w (word),
  lateral bench.unseen(caller, word) u;
