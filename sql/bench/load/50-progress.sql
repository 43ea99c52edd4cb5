-- Progress in lessons, in the order of time, as it would have arrived: a learner's rows lie scattered.

set session_replication_role = replica;
set client_min_messages = warning;
set work_mem = '1GB';
set maintenance_work_mem = '1GB';

alter table lms.lesson_progress drop constraint lesson_progress_pkey;

insert into lms.lesson_progress (
  enrollment_id, lesson_id, tenant_id, course_id, user_id, progress_percentage, time_spent_seconds,
  first_accessed_at, last_accessed_at, completed_at, updated_at
)
select
  e.id, l.id, p.tenant_id, c.id, p.id,
  case when l.ordinal <= e.done then 100 else 40 end,
  case when l.ordinal <= e.done then l.seconds else 30 end * e.pace,
  e.started_at + e.step * (l.ordinal - 1),
  e.started_at + e.step * (l.ordinal - 0.5),
  case when l.ordinal <= e.done then e.started_at + e.step * (l.ordinal - 0.5) end,
  e.started_at + e.step * (l.ordinal - 0.5)
from bench.enrollment e
join bench.person p on p.n = e.person_n
join bench.course c on c.n = e.course_n
join bench.lesson l on l.course_n = e.course_n and l.ordinal <= e.done + e.has_begun_next::integer
order by e.started_at + e.step * (l.ordinal - 1);

drop table bench.plan, bench.enrollment;
