-- Enrolments whose counters differ from the facts; no rows is the answer to hope for.
--   psql "$DB_URL" -f sql/check-progress.sql
-- Facts are the completed lessons and passed assessments that count in the version that is taken. Reads everything once: about a second per million
-- progress rows. ops.recount_progress() mends open ones.

select
  e.id as enrollment_id,
  e.status,
  e.items_done,
  coalesce(facts.done, 0) as done_by_the_facts,
  e.items_total,
  items.total as total_by_the_facts
from lms.enrollments e
join (
  select v.id as version_id, count(l.lesson_id) + (
    select count(*) from lms.version_assessments a where a.version_id = v.id and a.is_mandatory
  ) as total
  from lms.course_versions v
  left join lms.version_lessons l on l.version_id = v.id and l.requires_completion
  group by v.id
) items on items.version_id = e.version_id
left join (
  select done.enrollment_id, count(*) as done
  from (
    select p.enrollment_id
    from lms.lesson_progress p
    join lms.enrollments e on e.id = p.enrollment_id
    join lms.version_lessons l on l.version_id = e.version_id and l.lesson_id = p.lesson_id and l.requires_completion
    where p.completed_at is not null
    union all
    select p.enrollment_id
    from lms.assessment_progress p
    join lms.enrollments e on e.id = p.enrollment_id
    join lms.version_assessments a on a.version_id = e.version_id and a.assessment_id = p.assessment_id and a.is_mandatory
    where p.completed_at is not null
  ) done
  group by done.enrollment_id
) facts on facts.enrollment_id = e.id
where e.status in ('enrolled', 'in_progress', 'paused')
  and (e.items_done, e.items_total) is distinct from (coalesce(facts.done, 0), items.total)
order by e.id;
