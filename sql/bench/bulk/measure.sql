-- 10,000 enrolments, audited, three ways in turns, six rounds: lms.enroll_in_bulk in calls of 1,000 rows as HR, claims and role
-- set as PostgREST does; COPY into a table and one INSERT ... SELECT by a superuser, with everything that the table's triggers
-- do; and the same with every trigger off that is no foreign key and no audit, the values computed by the query. Prints; asserts
-- nothing but that each wrote its rows.

set statement_timeout = 0;
set client_min_messages = warning;
set synchronous_commit = on;
create table bench.result (way text, ms numeric);
create table bench.person (n integer primary key, id uuid, email text, number text);
insert into bench.person select n, md5('user:' || n)::uuid, 'u' || n || '@example.com', 'E' || n from generate_series(1, 5000) n;

-- People by id, address and number in turns; of round r two courses.
create function bench.rows_of(course integer, part integer) returns jsonb language sql as $$
  select jsonb_agg(jsonb_build_object(
    'row', n, case n % 3 when 0 then 'user_id' when 1 then 'email' else 'employee_number' end, case n % 3 when 0 then id::text when 1 then email else number end,
    'course_slug', 'course-' || course, 'due_at', '2031-05-01'
  ) order by n)
  from bench.person where n > 1000 * part and n <= 1000 * (part + 1)
$$;

create table bench.stage (course_id uuid, user_id uuid, due_at timestamptz);
-- The server writes and reads it.
\set file '/tmp/lyceum-bulk-bench.csv'

create procedure bench.ours(course integer) language plpgsql as $$
declare
  v_rows jsonb;
  v_told integer;
  v_ms numeric := 0;
  v_started timestamptz;
begin
  for c in course..course + 1 loop
    for part in 0..4 loop
      v_rows := bench.rows_of(c, part);
      commit;
      perform set_config('request.jwt.claims', json_build_object('sub', md5('user:0')::uuid, 'role', 'authenticated')::text, true);
      perform set_config('request.headers', '{"x-client-info": "bench", "user-agent": "bench"}', true);
      perform set_config('request.method', 'POST', true);
      perform set_config('request.path', '/rpc/enroll_in_bulk', true);
      perform set_config('plan_cache_mode', 'force_generic_plan', true);
      perform set_config('role', 'authenticated', true);
      v_started := clock_timestamp();
      select count(*) into v_told from unnest(lms.enroll_in_bulk(md5('tenant')::uuid, v_rows, false, false, 'round ' || c || '.' || part)) b where b.outcome = 'enrolled';
      perform set_config('role', 'none', true);
      commit;
      v_ms := v_ms + extract(epoch from clock_timestamp() - v_started) * 1000;
      if v_told <> 1000 then
        raise exception 'only % of 1,000 rows', v_told;
      end if;
    end loop;
  end loop;
  insert into bench.result values ('ours', v_ms);
end
$$;

\set course 1
\ir round.sql
\ir round.sql
\ir round.sql
\ir round.sql
\ir round.sql
\ir round.sql

select way, count(*) as rounds, round(percentile_cont(0.5) within group (order by ms)::numeric) as median_ms, round(min(ms)) as least, round(max(ms)) as most,
  round((percentile_cont(0.5) within group (order by ms) / (select percentile_cont(0.5) within group (order by r.ms) from bench.result r where r.way = 'ours'))::numeric, 2) as of_ours
from bench.result group by way order by way;
select round(o.ms / b.ms, 2) as ours_to_bar, b.way
from (select way, percentile_cont(0.5) within group (order by ms)::numeric as ms from bench.result group by way) b,
  (select percentile_cont(0.5) within group (order by ms)::numeric as ms from bench.result where way = 'ours') o
where b.way <> 'ours';
select count(*) as enrolments, count(distinct (user_id, course_id)) as pairs, (select count(*) from audit.log where table_name = 'lms.enrollments' and operation = 'INSERT') as audited
from lms.enrollments where source = 'bulk';
