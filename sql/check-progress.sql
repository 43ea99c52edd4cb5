-- Enrolments whose counters differ from the facts; no rows is the answer to hope for.
--   psql "$DB_URL" -f sql/check-progress.sql
-- Facts are the completed lessons that count. Of open cycles the number of lessons that count is compared as well;
-- finished ones keep what they were finished with. Reads everything once: about a second per million progress rows.

select
  e.id as enrollment_id,
  e.status,
  e.items_done,
  coalesce(facts.done, 0) as done_by_the_facts,
  e.items_total,
  items.total as total_by_the_facts
from lms.enrollments e
join (
  select c.id as course_id, count(l.id) as total
  from lms.courses c
  left join lms.lessons l on l.course_id = c.id and l.requires_completion and l.is_published and l.deleted_at is null
  group by c.id
) items on items.course_id = e.course_id
left join (
  select p.enrollment_id, count(*) as done
  from lms.lesson_progress p
  join lms.lessons l on l.id = p.lesson_id and l.requires_completion and l.is_published and l.deleted_at is null
  where p.completed_at is not null
  group by p.enrollment_id
) facts on facts.enrollment_id = e.id
where e.status in ('enrolled', 'in_progress', 'paused')
  and (e.items_done, e.items_total) is distinct from (coalesce(facts.done, 0), items.total)
order by e.id;
