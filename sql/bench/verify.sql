-- Triggers were off while the rows were loaded, so what they and the foreign keys promise is checked here: one row for
-- each promise, with how many rows break it.

select 'counters of enrolments equal their facts' as promise, count(*) as broken
from lms.enrollments e
join (
  select l.version_id, count(*) filter (where l.requires_completion) as items
  from lms.version_lessons l
  group by l.version_id
) total on total.version_id = e.version_id
left join (
  select p.enrollment_id,
    count(*) filter (where p.completed_at is not null and l.requires_completion) as done,
    sum(p.time_spent_seconds) as seconds,
    min(p.first_accessed_at) as first_at,
    max(p.last_accessed_at) as last_at
  from lms.lesson_progress p
  join lms.enrollments e on e.id = p.enrollment_id
  join lms.version_lessons l on l.version_id = e.version_id and l.lesson_id = p.lesson_id
  group by p.enrollment_id
) fact on fact.enrollment_id = e.id
join lms.courses c on c.id = e.course_id
where (e.items_total, e.items_done, e.time_spent_seconds, e.started_at, e.last_accessed_at)
    is distinct from (total.items::integer, coalesce(fact.done, 0)::integer, coalesce(fact.seconds, 0)::bigint, fact.first_at, fact.last_at)
  or (e.status = 'completed') <> (
    e.items_done = e.items_total and coalesce(e.final_grade, 0) >= c.required_score and e.status not in ('dropped', 'expired')
  )
union all
select 'enrolments are in the unit of their member', count(*)
from lms.enrollments e
join lms.memberships m on m.tenant_id = e.tenant_id and m.user_id = e.user_id
where e.unit_id is distinct from m.unit_id
union all
select 'learner_10 has 10 past records, learner_10000 has 10,000', count(*)
from bench.persona a
where a.name in ('learner_10', 'learner_10000')
  and (select count(*) from lms.lesson_progress p where p.user_id = a.id)::text <> substr(a.name, 9)
union all
select 'foreign key ' || k.conname || ' holds', (
  xpath('/row/n/text()', query_to_xml(format(
    'select count(*) as n from %s c where not exists (select from %s p where %s) and %s',
    k.conrelid::regclass, k.confrelid::regclass,
    (select string_agg(format('c.%I = p.%I', ca.attname, pa.attname), ' and ')
      from unnest(k.conkey, k.confkey) as pair (c, p)
      join pg_attribute ca on ca.attrelid = k.conrelid and ca.attnum = pair.c
      join pg_attribute pa on pa.attrelid = k.confrelid and pa.attnum = pair.p),
    (select string_agg(format('c.%I is not null', ca.attname), ' and ')
      from unnest(k.conkey) as col (n)
      join pg_attribute ca on ca.attrelid = k.conrelid and ca.attnum = col.n)
  ), false, true, ''))
)[1]::text::bigint
from pg_constraint k
where k.contype = 'f' and k.connamespace in ('lms'::regnamespace, 'private'::regnamespace, 'public'::regnamespace);
