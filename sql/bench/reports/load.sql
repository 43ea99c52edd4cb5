-- Question events and enrolments, for measuring reports: ten million and one million unless psql was given -v events=N
-- -v enrollments=N. 50 tenants, of which the first has half of everything. Deterministic. Into a database that holds the
-- migrations only, as superuser: sql/bench/reports/run does it.

\if :{?events} \else \set events 10000000 \endif
\if :{?enrollments} \else \set enrollments 1000000 \endif
set statement_timeout = 0;
set client_min_messages = warning;
create schema bench;
grant usage on schema bench to authenticated;

create function bench.make_past_partitions() returns void language plpgsql as $$
declare
  v_month timestamptz;
begin
  for v_month in select generate_series(date_trunc('month', now()) - interval '12 months', date_trunc('month', now()) - interval '1 month', '1 month') loop
    execute format(
      'create table private.%I partition of analytics.question_events for values from (%L) to (%L)',
      to_char(v_month, '"question_events_"YYYY_MM'), v_month, v_month + interval '1 month'
    );
  end loop;
end
$$;
select bench.make_past_partitions();
select ops.make_event_partitions();

-- 20,000 people; of each kind of thing the first half is the first tenant's, the rest is spread over the others. Ten units in
-- each tenant, half of them below the first of it, and 20 courses, 200 in the first.
set session_replication_role = replica;
create function bench.tenant(n bigint) returns bigint language sql immutable as $$ select case when n % 2 = 0 then 0 else 1 + n / 2 % 49 end $$;
insert into auth.users (instance_id, id, aud, role, email, created_at, updated_at)
select '00000000-0000-0000-0000-000000000000', md5('user:' || n)::uuid, 'authenticated', 'authenticated', 'u' || n || '@example.com', now(), now()
from generate_series(-1, 19999) n;
insert into public.profiles (id, user_id) select u.id, u.id from auth.users u;
set session_replication_role = origin;
insert into lms.tenants (id, slug, name) select md5('tenant:' || t)::uuid, 'tenant-' || t, 'Tenant ' || t from generate_series(0, 49) t;
insert into lms.org_units (id, tenant_id, parent_id, name)
select md5('unit:' || t || ':' || u)::uuid, md5('tenant:' || t)::uuid, case when u between 1 and 4 then md5('unit:' || t || ':0')::uuid end, 'Unit ' || u
from generate_series(0, 49) t, generate_series(0, 9) u order by u;
set session_replication_role = replica;
insert into lms.memberships (id, tenant_id, user_id, unit_id)
select md5('membership:' || n)::uuid, md5('tenant:' || bench.tenant(n))::uuid, md5('user:' || n)::uuid, md5('unit:' || bench.tenant(n) || ':' || n / 98 % 10)::uuid
from generate_series(0, 19999) n;
insert into lms.courses (id, tenant_id, slug, title, instructor_id, status, published_at)
select md5('course:' || t || ':' || c)::uuid, md5('tenant:' || t)::uuid, 'course-' || c, 'Course ' || c, md5('user:0')::uuid, 'published', now()
from generate_series(0, 49) t, generate_series(0, case t when 0 then 199 else 19 end) c;
insert into lms.course_versions (id, tenant_id, course_id, number, title, description, language, is_sequential, items_total, content_hash)
select md5('version:' || c.id)::uuid, c.tenant_id, c.id, 1, c.title, '', 'en', false, 10, 'x' from lms.courses c;
create table bench.learner as
select n::bigint as n, bench.tenant(n) as t, md5('tenant:' || bench.tenant(n))::uuid as tenant_id, md5('user:' || n)::uuid as user_id,
  md5('unit:' || bench.tenant(n) || ':' || n / 98 % 10)::uuid as unit_id
from generate_series(0, 19999) n;
alter table bench.learner add primary key (n);

create table bench.indexes as
select x.indexrelid::regclass::text as name, replace(pg_get_indexdef(x.indexrelid), ' ON ONLY ', ' ON ') as definition
from pg_index x
where x.indrelid in ('analytics.question_events'::regclass, 'lms.enrollments'::regclass)
  and not x.indisprimary and not exists (select from pg_constraint k where k.conindid = x.indexrelid);
select format('drop index %s', i.name) from bench.indexes i \gexec
set maintenance_work_mem = '512MB';
\timing on
-- Everybody takes the first course of their tenant, then one after the other, and where there are no more, again.
insert into lms.enrollments (
  id, tenant_id, course_id, version_id, user_id, unit_id, cycle, status, enrolled_at, started_at, completed_at, dropped_at, items_total, items_done
)
select
  md5('enrollment:' || g.n)::uuid, l.tenant_id, c.id, md5('version:' || c.id)::uuid, l.user_id, l.unit_id, g.n / 20000 + 1, s.status, d.at,
  case when s.status <> 'enrolled' then d.at + interval '1 day' end, case when s.status = 'completed' then d.at + interval '30 days' end,
  case when s.status = 'dropped' then d.at + interval '20 days' end, 10, case s.status when 'completed' then 10 when 'enrolled' then 0 else hashint8(g.n) % 5 + 5 end
from generate_series(0, :enrollments - 1) g (n)
join bench.learner l on l.n = g.n % 20000
cross join lateral (select g.n / 20000 as turn, case l.t when 0 then 199 else 19 end as courses) k
cross join lateral (select md5('course:' || l.t || ':' || case k.turn when 0 then 0 else 1 + (k.turn + l.n / 2) % k.courses end)::uuid as id) c
cross join lateral (
  select (array['completed', 'dropped', 'completed', 'in_progress', 'enrolled'])[1 + abs(hashint8(g.n + 7)::bigint) % case when k.turn > k.courses then 3 else 5 end] as status
) s
cross join lateral (select now() - (1 - g.n::float8 / :enrollments) * interval '365 days' as at) d;

create procedure bench.load(events bigint) language plpgsql as $$
declare
  v_from bigint := 0;
begin
  while v_from < events loop
    insert into analytics.question_events (
      id, tenant_id, course_id, user_id, unit_id, enrollment_id, section_key, question_key, is_correct, attempt_index, response_meta, answered_at, received_at, xid
    )
    select gen_random_uuid(), l.tenant_id, md5('course:' || l.t || ':' || k.c)::uuid, l.user_id, l.unit_id, md5('enrollment:' || l.n)::uuid, 'section-' || (g.n / 20000) % 100 / 10,
      'question-' || (g.n / 20000) % 100, hashint8(g.n) % 3 <> 0, 1, '{"ms": 1200}', d.at, d.at, '7'
    from generate_series(v_from, least(v_from + 500000, events) - 1) g (n)
    join bench.learner l on l.n = (g.n * 7919) % 20000
    cross join lateral (select floor(power((hashint8(g.n + 3) & 65535) / 65536.0, 2) * case l.t when 0 then 200 else 20 end) as c) k
    cross join lateral (select now() - (1 - g.n::float8 / events) * interval '365 days' as at) d;
    v_from := v_from + 500000;
    commit;
  end loop;
end
$$;
call bench.load(:events);
select i.definition from bench.indexes i \gexec
set session_replication_role = origin;
vacuum (analyze) analytics.question_events, lms.enrollments, lms.memberships;
-- The sums of all of it.
set work_mem = '256MB';
select ops.rebuild_rollups() as cells;
\timing off
vacuum (analyze) private.report_cells, private.question_cells, private.activity_cells, private.active_days;

-- Somebody who reads all reports of the first tenant, and somebody who reads those of its first unit and what is below it.
insert into lms.memberships (tenant_id, user_id) values (md5('tenant:0')::uuid, md5('user:-1')::uuid);
insert into lms.role_grants (tenant_id, membership_id, role_id)
select r.tenant_id, m.id, r.id from lms.roles r join lms.memberships m on m.tenant_id = r.tenant_id and m.user_id = md5('user:-1')::uuid
where r.tenant_id = md5('tenant:0')::uuid and r.key = 'hr_admin';
insert into lms.role_grants (tenant_id, membership_id, role_id, unit_id)
select r.tenant_id, md5('membership:0')::uuid, r.id, md5('unit:0:0')::uuid from lms.roles r where r.tenant_id = md5('tenant:0')::uuid and r.key = 'unit_manager';

-- What has not been added up: 5,000 answers and 5,000 changes of enrolments, half of them of the first tenant.
alter table analytics.question_events disable trigger _200_place, disable trigger _500_sessions;
insert into analytics.question_events (id, tenant_id, course_id, user_id, unit_id, enrollment_id, section_key, question_key, is_correct)
select gen_random_uuid(), l.tenant_id, md5('course:' || l.t || ':' || g.n % 20)::uuid, l.user_id, l.unit_id, md5('enrollment:' || l.n)::uuid, 'section-' || g.n % 100 / 10, 'question-' || g.n % 100, g.n % 4 > 0
from generate_series(0, 4999) g (n) join bench.learner l on l.n = (g.n * 7919) % 20000;
alter table analytics.question_events enable trigger _200_place, enable trigger _500_sessions;
update lms.enrollments e set items_done = e.items_done + 1
where e.id in (select k.id from lms.enrollments k where k.status = 'in_progress' and k.items_done < 8 order by k.id limit 5000);
vacuum (analyze) lms.role_grants, private.report_changes;
select
  (select count(*) from analytics.question_events) as events, (select count(*) from lms.enrollments) as enrollments,
  (select count(*) from analytics.question_events q, private.report_state s where q.xid >= s.horizon) as unfolded_events,
  (select count(*) from private.report_changes) as unfolded_changes,
  (select pg_size_pretty(sum(pg_total_relation_size(i.inhrelid))) from pg_inherits i where i.inhparent = 'analytics.question_events'::regclass) as events_size,
  pg_size_pretty(pg_total_relation_size('lms.enrollments')) as enrollments_size,
  pg_size_pretty(pg_total_relation_size('private.report_cells')) as report_cells, pg_size_pretty(pg_total_relation_size('private.question_cells')) as question_cells,
  pg_size_pretty(pg_total_relation_size('private.active_days')) as active_days, pg_size_pretty(pg_total_relation_size('private.activity_cells')) as activity_cells
\gx
