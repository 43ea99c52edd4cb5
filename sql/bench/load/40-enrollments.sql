-- Enrolments: who takes what, how far they are, and the counters that follow from it.

set session_replication_role = replica;
set client_min_messages = warning;
set work_mem = '512MB';
set maintenance_work_mem = '1GB';

-- How many courses a person takes falls off as a power; which ones, by the square of an even draw: the first courses
-- of a tenant are taken most. One in twenty-five has taken the course before.
create unlogged table bench.plan as
with wish as (
  select distinct on (p.n, c.n) p.n as person_n, c.n as course_n, p.n * 1000 + j as n
  from bench.person p
  join bench.tenant t on t.t = p.t
  cross join lateral generate_series(1, least(200, t.courses * 2, floor(3.8 / power(1 - bench.draw(p.n, 31), 0.45))::integer)) j
  join bench.course c on c.t = p.t and c.c = 1 + floor(t.courses * power(bench.draw(p.n * 1000 + j, 32), 2))::integer
  where p.part is null and not c.is_special
), cycled as (
  select w.*, case when bench.draw(w.n, 33) < 0.04 then 2 else 1 end as cycles from wish w
)
select person_n, course_n, cycle, w.n * 4 + cycle as n,
  case
    when cycle < cycles then 'completed'
    when bench.draw(w.n, 34) < 0.10 then 'enrolled'
    when bench.draw(w.n, 34) < 0.40 then 'in_progress'
    when bench.draw(w.n, 34) < 0.44 then 'paused'
    when bench.draw(w.n, 34) < 0.92 then 'completed'
    when bench.draw(w.n, 34) < 0.97 then 'dropped'
    else 'expired'
  end as status,
  null::integer as done
from cycled w, generate_series(1, cycles) cycle
order by bench.draw(w.n, 35), cycle
limit (select enrollments from bench.size);

-- 10 past records, in an open cycle of a longer course.
insert into bench.plan (person_n, course_n, cycle, n, status, done)
select p.n, c.n, 1, p.n * 4000, 'in_progress', 9
from bench.person p
join lateral (
  select c.n from bench.course c
  where c.t = p.t and not c.is_special and c.last_required >= 10
  order by c.n
  limit 1
) c on true
where p.part = 'learner_10';

-- 10,000 past records: finished cycles of every course, again and again; the cycle that passes the mark is dropped.
insert into bench.plan (person_n, course_n, cycle, n, status, done)
select p.n, c.n, c.cycle, p.n * 4000 + row_number() over (order by c.upto),
  case when c.upto <= 10000 then 'completed' else 'dropped' end,
  case when c.upto > 10000 then 10000 - (c.upto - c.visible_lessons) - 1 end
from bench.person p
join lateral (
  select c.n, cycle, c.visible_lessons, sum(c.visible_lessons) over (order by cycle, c.n) as upto
  from bench.course c, generate_series(1, 1000) cycle
  where c.t = p.t and not c.is_special
) c on c.upto - c.visible_lessons < 10000
where p.part = 'learner_10000';

-- Fresh enrolments in the courses with 5 and with 5,000 lessons: what the completion benchmark works through.
insert into bench.plan (person_n, course_n, cycle, n, status, done)
select p.n, c.n, 1, p.n * 4000 + 3000 + (c.lessons > 5)::integer, 'enrolled', null
from bench.person p
join bench.course c on c.t = p.t and c.is_special
where p.part is not null;

-- The first `done` lessons are completed, at a steady pace; whoever is under way has begun the one after them.
create unlogged table bench.enrollment as
select
  (lpad(to_hex((extract(epoch from d.enrolled_at) * 1000)::bigint), 12, '0') || '7' || substr(md5(d.n::text), 1, 3) || '8' || substr(md5(d.n::text), 4, 15))::uuid as id,
  d.*,
  case when d.status <> 'enrolled' then d.enrolled_at + interval '1 day' end as started_at
from (
  select
    p.n, p.person_n, p.course_n, p.cycle, p.status,
    timestamptz '2023-02-01' + (bench.draw(p.n, 41) * 300 + p.cycle * 300 * (p.cycle < 3)::integer) * interval '1 day' as enrolled_at,
    case
      when p.done is not null then p.done
      when p.status = 'enrolled' then 0
      when p.status = 'completed' then c.visible_lessons
      else floor(bench.draw(p.n, 42) * c.last_required)::integer
    end as done,
    p.status not in ('enrolled', 'completed') as has_begun_next,
    1 + p.n % 3 as pace,
    (120.0 / c.visible_lessons * (0.1 + 0.9 * bench.draw(p.n, 43))) * interval '1 day' as step
  from bench.plan p
  join bench.course c on c.n = p.course_n
) d;
create index on bench.enrollment (n);
analyze bench.enrollment;

-- Indexes that belong to no constraint are built once the rows are there.
create table bench.index_to_rebuild as
select i.indexrelid::regclass::text as name, pg_get_indexdef(i.indexrelid) as definition, i.indrelid::regclass::text as on_table
from pg_index i
where i.indrelid in ('lms.enrollments'::regclass, 'lms.lesson_progress'::regclass)
  and not exists (select from pg_constraint c where c.conindid = i.indexrelid);

do $$
declare
  index_name text;
begin
  for index_name in select name from bench.index_to_rebuild loop
    execute 'drop index ' || index_name;
  end loop;
end
$$;

insert into lms.enrollments (
  id, tenant_id, course_id, version_id, user_id, unit_id, cycle, status, source, due_at, enrolled_at, started_at, completed_at,
  dropped_at, paused_at, expired_at, items_total, items_done, time_spent_seconds, current_lesson_id, last_accessed_at,
  final_grade, created_at, updated_at
)
select
  e.id, p.tenant_id, c.id, bench.id('version', c.n), p.id, p.unit_id, e.cycle, e.status,
  case when bench.draw(e.n, 44) < 0.6 then 'assigned' else 'self' end,
  case when bench.draw(e.n, 44) < 0.6 then e.enrolled_at + interval '90 days' end,
  e.enrolled_at, e.started_at,
  case when e.status = 'completed' then e.started_at + e.step * (c.last_required - 0.5) end,
  case when e.status = 'dropped' then e.started_at + e.step * (e.done + 2) end,
  case when e.status = 'paused' then e.started_at + e.step * (e.done + 2) end,
  case when e.status = 'expired' then e.started_at + e.step * (e.done + 2) end,
  c.required_lessons, coalesce(l.required_upto, 0),
  coalesce(l.seconds_upto, 0) * e.pace + e.has_begun_next::integer * 30 * e.pace,
  case when e.has_begun_next then n.id else l.id end,
  e.started_at + e.step * (e.done - 0.5 + e.has_begun_next::integer),
  case when e.status = 'completed' and k.required_score > 0 then 85 end,
  e.enrolled_at, e.enrolled_at
from bench.enrollment e
join bench.person p on p.n = e.person_n
join bench.course c on c.n = e.course_n
join lms.courses k on k.id = c.id
left join bench.lesson l on l.course_n = e.course_n and l.ordinal = e.done
left join bench.lesson n on n.course_n = e.course_n and n.ordinal = e.done + 1 and e.has_begun_next
order by e.enrolled_at;
