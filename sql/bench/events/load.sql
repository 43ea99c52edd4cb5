-- Question events of 20,000 learners in 50 tenants, over the last twelve months, for measuring; ten million unless psql was
-- given -v events=N. Deterministic. Into a database that holds the migrations only, as superuser: sql/bench/events/run does it.
-- Event n is the (n / 20000)th of learner n % 20000, who goes through the 100 questions of their course again and again.

\if :{?events} \else \set events 10000000 \endif
set statement_timeout = 0;
set client_min_messages = warning;
create schema bench;
grant usage on schema bench to authenticated;

-- The months that are over; the job makes the others.
create function bench.make_past_partitions() returns void language plpgsql as $$
declare
  v_month timestamptz;
begin
  for v_month in select generate_series(date_trunc('month', now()) - interval '12 months', date_trunc('month', now()) - interval '1 month', '1 month') loop
    execute format(
      'create table private.%I partition of private.question_events for values from (%L) to (%L)',
      to_char(v_month, '"question_events_"YYYY_MM'), v_month, v_month + interval '1 month'
    );
  end loop;
end
$$;
select bench.make_past_partitions();
select ops.make_event_partitions();

set session_replication_role = replica;
insert into auth.users (instance_id, id, aud, role, email, created_at, updated_at)
select '00000000-0000-0000-0000-000000000000', md5('user:' || n)::uuid, 'authenticated', 'authenticated', 'u' || n || '@example.com', now(), now()
from generate_series(0, 19999) n;
insert into public.profiles (id, user_id) select u.id, u.id from auth.users u;
insert into lms.tenants (id, slug, name) select md5('tenant:' || t)::uuid, 'tenant-' || t, 'Tenant ' || t from generate_series(0, 49) t;
insert into lms.org_units (id, tenant_id, name) select md5('unit:' || t)::uuid, md5('tenant:' || t)::uuid, 'Plant' from generate_series(0, 49) t;
insert into lms.memberships (tenant_id, user_id, unit_id)
select md5('tenant:' || n % 50)::uuid, md5('user:' || n)::uuid, md5('unit:' || n % 50)::uuid from generate_series(0, 19999) n;
insert into lms.courses (id, tenant_id, slug, title, instructor_id, status, published_at)
select md5('course:' || c)::uuid, md5('tenant:' || c % 50)::uuid, 'course-' || c, 'Course ' || c, md5('user:0')::uuid, 'published', now() from generate_series(0, 199) c;
insert into lms.course_versions (id, tenant_id, course_id, number, title, description, language, is_sequential, items_total, content_hash)
select md5('version:' || c)::uuid, md5('tenant:' || c % 50)::uuid, md5('course:' || c)::uuid, 1, 'Course ' || c, '', 'en', false, 1, 'x' from generate_series(0, 199) c;
insert into lms.enrollments (id, tenant_id, course_id, version_id, user_id, unit_id, cycle, enrolled_at)
select md5('enrollment:' || n)::uuid, md5('tenant:' || n % 50)::uuid, md5('course:' || n % 200)::uuid, md5('version:' || n % 200)::uuid, md5('user:' || n)::uuid,
  md5('unit:' || n % 50)::uuid, 1, now() - interval '13 months'
from generate_series(0, 19999) n;
create table bench.learner as
select n::bigint as n, e.id, e.tenant_id, e.course_id, e.user_id, e.unit_id
from generate_series(0, 19999) n
join lms.enrollments e on e.id = md5('enrollment:' || n)::uuid;
alter table bench.learner add primary key (n);
analyze bench.learner;

-- As they were answered, half a million at a time.
create procedure bench.load(events bigint) language plpgsql as $$
declare
  v_from bigint := 0;
begin
  while v_from < events loop
    insert into private.question_events (
      id, tenant_id, course_id, user_id, unit_id, enrollment_id, section_key, question_key, is_correct, response_meta, answered_at, received_at, is_time_plausible, source, is_counted
    )
    select gen_random_uuid(), l.tenant_id, l.course_id, l.user_id, l.unit_id, l.id, 'section-' || (g.n / 20000) % 100 / 10, 'question-' || (g.n / 20000) % 100,
      hashint8(g.n) % 3 <> 0, '{"ms": 1200}', d.at, d.at, true, 'client', true
    from generate_series(v_from, least(v_from + 500000, events) - 1) g (n)
    join bench.learner l on l.n = g.n % 20000
    cross join lateral (select now() - (1 - g.n::float8 / events) * interval '365 days' as at) d;
    v_from := v_from + 500000;
    commit;
  end loop;
end
$$;
-- Indexes row by row take several times as long as making them afterwards.
create table bench.indexes as
select x.indexrelid::regclass::text as name, replace(pg_get_indexdef(x.indexrelid), ' ON ONLY ', ' ON ') as definition
from pg_index x
where x.indrelid = 'private.question_events'::regclass and not x.indisprimary;
select format('drop index %s', i.name) from bench.indexes i \gexec
set maintenance_work_mem = '512MB';
\timing on
call bench.load(:events);
select i.definition from bench.indexes i \gexec
\timing off
set session_replication_role = origin;

-- The same without anything of ours: neither policies nor rules, replays, sessions, transaction ids.
create table bench.plain (like private.question_events including defaults) partition by range (received_at);
alter table bench.plain drop xid, add primary key (received_at, id), alter received_at set default now(), alter answered_at set default now();
do $$
declare v_partition record;
begin
  for v_partition in select c.relname, pg_get_expr(c.relpartbound, c.oid) as bound from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'private.question_events'::regclass loop
    execute format('create table bench.%I partition of bench.plain %s', 'plain_' || v_partition.relname, v_partition.bound);
  end loop;
end
$$;
\timing on
insert into bench.plain select id, tenant_id, course_id, user_id, unit_id, enrollment_id, section_key, question_key, is_correct, response_meta, answered_at, received_at, is_time_plausible, source, is_counted, attempt_id from private.question_events;
create index on bench.plain (user_id, received_at desc, id desc);
create index on bench.plain (tenant_id, received_at desc, id desc);
create index on bench.plain (unit_id, received_at desc, id desc);
create index on bench.plain (course_id, question_key, user_id, received_at);
\timing off
grant insert, select on bench.plain to authenticated;
-- Everybody is at it already: opening a session is for the first event of many.
insert into analytics.learning_sessions (tenant_id, course_id, user_id, unit_id, enrollment_id, started_at, last_activity_at)
select l.tenant_id, l.course_id, l.user_id, l.unit_id, l.id, now(), now() from bench.learner l;
vacuum (analyze) private.question_events, bench.plain, lms.enrollments, lms.memberships;
select (select count(*) from private.question_events) as events,
  (select pg_size_pretty(sum(pg_total_relation_size(i.inhrelid))) from pg_inherits i where i.inhparent = 'private.question_events'::regclass) as size,
  (select pg_size_pretty(sum(pg_total_relation_size(i.inhrelid))) from pg_inherits i where i.inhparent = 'bench.plain'::regclass) as plain_size;
