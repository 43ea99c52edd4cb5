-- Open path enrolments whose counters differ from the facts; no rows is the answer to hope for.
--   psql "$DB_URL" -f sql/check-paths.sql

select
  e.id as path_enrollment_id,
  e.status,
  e.items_done,
  facts.done as done_by_the_facts,
  e.items_total,
  facts.total as total_by_the_facts
from lms.path_enrollments e
cross join lateral private.count_path_items(e.path_id, e.user_id) facts
where e.status in ('enrolled', 'in_progress')
  and (
    (e.items_done, e.items_total) is distinct from (facts.done, facts.total)
    or (facts.total > 0 and facts.done = facts.total)
  )
order by e.id;
