-- Courses whose rating differs from their visible reviews; no rows is the answer to hope for.
--   psql "$DB_URL" -f sql/check-ratings.sql

select
  c.id as course_id,
  c.rating_count,
  count(r.id) as count_by_the_facts,
  c.rating_average,
  round(avg(r.rating), 2) as average_by_the_facts
from lms.courses c
left join lms.course_reviews r on r.course_id = c.id and r.status = 'visible'
group by c.id
having (c.rating_count, c.rating_sum, c.rating_average)
  is distinct from (count(r.id)::integer, coalesce(sum(r.rating), 0)::integer, round(avg(r.rating), 2))
order by c.id;
