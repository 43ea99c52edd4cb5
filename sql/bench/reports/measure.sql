-- Each report, asked as somebody signed in, against the plain GROUP BY over the facts, asked as superuser. Alternating; prints the
-- medians, their ratio, and whether the numbers are the same. Asserts nothing.

\if :{?rounds} \else \set rounds 7 \endif
set client_min_messages = warning;
set jit = off;
drop table if exists bench.measured;
create table bench.measured (n integer generated always as identity, report text, scope text, plain_ms numeric, ours_ms numeric, same boolean);

create or replace procedure bench.compare(report text, scope text, who text, ours text, plain text, rounds integer) language plpgsql as $$
declare
  v_start timestamptz;
  v_plain float8[] := '{}';
  v_ours float8[] := '{}';
  v_answer text;
  v_expected text;
  v_ours_sql constant text := format('select md5(string_agg(r::text, '';'' order by r::text)) from (%s) r', ours);
  v_plain_sql constant text := format('select md5(string_agg(r::text, '';'' order by r::text)) from (%s) r', plain);
begin
  for i in 0..rounds loop
    perform set_config('role', 'none', true), set_config('plan_cache_mode', 'auto', true);
    v_start := clock_timestamp();
    execute v_plain_sql into v_expected;
    if i > 0 then v_plain := v_plain || extract(epoch from clock_timestamp() - v_start) * 1000; end if;
    perform set_config('role', 'authenticated', true), set_config('plan_cache_mode', 'force_generic_plan', true),
      set_config('request.jwt.claims', json_build_object('sub', md5(who)::uuid, 'role', 'authenticated')::text, true);
    for j in 1..5 loop
      v_start := clock_timestamp();
      execute v_ours_sql into v_answer;
      if i > 0 then v_ours := v_ours || extract(epoch from clock_timestamp() - v_start) * 1000; end if;
    end loop;
  end loop;
  perform set_config('role', 'none', true);
  insert into bench.measured (report, scope, plain_ms, ours_ms, same) values (
    report, scope, (select percentile_cont(0.5) within group (order by m) from unnest(v_plain) m),
    (select percentile_cont(0.5) within group (order by m) from unnest(v_ours) m), v_answer is not distinct from v_expected
  );
  commit;
end
$$;

create or replace function bench.measures(extra text) returns text language sql as $$
  select format($f$from lms.enrollments e join lms.courses c on c.id = e.course_id and c.deleted_at is null where e.tenant_id = md5('tenant:0')::uuid %s$f$, extra)
$$;
create or replace procedure bench.enrollments(scope text, who text, parameters text, condition text, rounds integer) language plpgsql as $$
begin
  call bench.compare('completion rate', scope, who, format('select total_enrolled, completed, in_progress, not_started, completion_rate from analytics.get_completion_rate(md5(''tenant:0'')::uuid%s)', parameters),
    format('select count(*) filter (where e.status <> ''dropped'') as total, count(*) filter (where e.status = ''completed''), count(*) filter (where e.status = ''in_progress''), count(*) filter (where e.status = ''enrolled''), round(100.0 * count(*) filter (where e.status = ''completed'') / nullif(count(*) filter (where e.status <> ''dropped''), 0), 2) %s', bench.measures(condition)), rounds);
  call bench.compare('enrolment funnel', scope, who, format('select enrolled, started, half, completed from analytics.get_enrollment_funnel(md5(''tenant:0'')::uuid%s)', parameters),
    format('select count(*), count(*) filter (where e.started_at is not null), count(*) filter (where 2 * e.items_done >= e.items_total), count(*) filter (where e.status = ''completed'') %s', bench.measures(condition)), rounds);
  call bench.compare('progress summary', scope, who, format('select course_id, total_enrolled, average_progress, completed, completion_rate from analytics.get_progress_summary(md5(''tenant:0'')::uuid%s, p_limit => 1000)', parameters),
    format('select e.course_id, count(*), round(avg(e.progress_percentage), 2), count(*) filter (where e.status = ''completed''), round(100.0 * count(*) filter (where e.status = ''completed'') / count(*), 2) %s and e.status <> ''dropped'' group by 1', bench.measures(condition)), rounds);
end
$$;
create or replace procedure bench.questions(scope text, who text, parameters text, condition text, rounds integer) language plpgsql as $$
begin
  call bench.compare('most missed questions', scope, who, format('select course_id, question_key, total_attempts, incorrect_attempts, miss_rate from analytics.get_most_missed_questions(md5(''tenant:0'')::uuid%s)', parameters),
    format('select q.course_id, q.question_key, count(*), count(*) filter (where not q.is_correct), round(100.0 * count(*) filter (where not q.is_correct) / count(*), 2)
      from analytics.question_events q where q.tenant_id = md5(''tenant:0'')::uuid and q.is_counted and q.is_correct is not null %s group by q.course_id, q.question_key, q.section_key having count(*) >= 5
      order by 5 desc, 1, q.question_key collate "C", q.section_key collate "C" limit 10', condition), rounds);
end
$$;
create or replace procedure bench.engagement(scope text, who text, parameters text, condition text, rounds integer) language plpgsql as $$
begin
  call bench.compare('engagement by month', scope, who, format('select period_start, active_learners, events from analytics.get_engagement(md5(''tenant:0'')::uuid%s, p_step => ''month'')', parameters),
    format('select m.month::date, count(distinct q.user_id), count(q.user_id)
      from generate_series(date_trunc(''month'', now()) - interval ''11 months'', date_trunc(''month'', now()), ''1 month'') as m (month)
      left join analytics.question_events q on q.received_at >= m.month and q.received_at < m.month + interval ''1 month'' and q.tenant_id = md5(''tenant:0'')::uuid %s
      group by 1', condition), rounds);
end
$$;

set timezone = 'UTC';
call bench.enrollments('tenant', 'user:-1', '', '', :rounds);
call bench.enrollments('course', 'user:-1', $$, p_course_id => md5('course:0:0')::uuid$$, $$and e.course_id = md5('course:0:0')::uuid$$, :rounds);
call bench.enrollments('unit and below', 'user:-1', $$, p_unit_id => md5('unit:0:0')::uuid$$, $$and e.unit_id in (select descendant_id from private.org_unit_closure where ancestor_id = md5('unit:0:0')::uuid)$$, :rounds);
call bench.enrollments('manager', 'user:0', '', $$and e.unit_id in (select descendant_id from private.org_unit_closure where ancestor_id = md5('unit:0:0')::uuid)$$, :rounds);
call bench.enrollments('tenant, a quarter', 'user:-1', $$, p_from => (date_trunc('month', now()) - interval '5 months')::date, p_until => (date_trunc('month', now()) - interval '2 months')::date - 1$$, $$and e.enrolled_at >= date_trunc('month', now()) - interval '5 months' and e.enrolled_at < date_trunc('month', now()) - interval '2 months'$$, :rounds);
call bench.compare('organisation overview', 'tenant', 'user:-1', 'select unit_id, total_users, total_enrollments, completed_enrollments, average_progress from analytics.get_organization_overview(md5(''tenant:0'')::uuid)',
  'select u.id, coalesce(m.people, 0), coalesce(e.total, 0), coalesce(e.done, 0), e.average from (select id from lms.org_units where tenant_id = md5(''tenant:0'')::uuid union all select null) u
   left join (select unit_id, count(*) as people from lms.memberships where tenant_id = md5(''tenant:0'')::uuid and status <> ''ended'' and not is_guest group by 1) m on m.unit_id is not distinct from u.id
   left join (select e.unit_id, count(*) as total, count(*) filter (where e.status = ''completed'') as done, round(avg(e.progress_percentage), 2) as average from lms.enrollments e where e.tenant_id = md5(''tenant:0'')::uuid and e.status <> ''dropped'' group by 1) e on e.unit_id is not distinct from u.id', :rounds);
call bench.questions('tenant', 'user:-1', '', '', :rounds);
call bench.questions('course', 'user:-1', $$, p_course_id => md5('course:0:0')::uuid$$, $$and q.course_id = md5('course:0:0')::uuid$$, :rounds);
call bench.questions('manager', 'user:0', '', $$and q.unit_id in (select descendant_id from private.org_unit_closure where ancestor_id = md5('unit:0:0')::uuid)$$, :rounds);
call bench.questions('tenant, a quarter', 'user:-1', $$, p_from => (date_trunc('month', now()) - interval '5 months')::date, p_until => (date_trunc('month', now()) - interval '2 months')::date - 1$$, $$and q.received_at >= date_trunc('month', now()) - interval '5 months' and q.received_at < date_trunc('month', now()) - interval '2 months'$$, :rounds);
call bench.engagement('tenant', 'user:-1', '', '', :rounds);
call bench.engagement('course', 'user:-1', $$, p_course_id => md5('course:0:0')::uuid$$, $$and q.course_id = md5('course:0:0')::uuid$$, :rounds);
call bench.engagement('manager', 'user:0', '', $$and q.unit_id in (select descendant_id from private.org_unit_closure where ancestor_id = md5('unit:0:0')::uuid)$$, :rounds);

select report, scope, round(plain_ms, 1) as plain_ms, round(ours_ms, 2) as ours_ms, round(plain_ms / ours_ms) as times, same from bench.measured order by n;
