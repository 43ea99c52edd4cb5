-- Courses, their staff, modules, lessons and blocks.

set session_replication_role = replica;
set client_min_messages = warning;

-- Course c of tenant t. The last two of the home tenant have 5 and 5,000 lessons and only the completion benchmark's
-- learners; the others have 5 to 31, more often few.
create table bench.course as
select
  t.first_course + c as n,
  bench.id('course', t.first_course + c) as id,
  t.t,
  t.id as tenant_id,
  c,
  case
    when t.is_home and c = t.courses then 5000
    when t.is_home and c = t.courses - 1 then 5
    else 5 + floor(29 * power(bench.draw(t.first_course + c, 11), 2))::integer
  end as lessons,
  t.is_home and c >= t.courses - 1 as is_special,
  bench.id('person', t.first_person + 4 + (c - 1) / 10 % greatest(1, t.courses / 10)) as instructor_id
from bench.tenant t, generate_series(1, t.courses) c;
alter table bench.course add primary key (n);
create index on bench.course (t, c);

insert into lms.courses (
  id, tenant_id, slug, title, description, status, visibility, instructor_id, required_score, created_at, updated_at, published_at
)
select
  c.id, c.tenant_id, 'course-' || c.c, 'Course ' || c.c, repeat('What this course is about. ', 10),
  case when not c.is_special and c.c > 4 and bench.draw(c.n, 12) < 0.05 then 'archived' else 'published' end,
  case when c.is_special then 'restricted' when bench.draw(c.n, 13) < 0.25 then 'public' when bench.draw(c.n, 13) < 0.9 then 'restricted' else 'private' end,
  c.instructor_id,
  case when not c.is_special and bench.draw(c.n, 14) < 0.1 then 70 else 0 end,
  timestamptz '2023-01-01' + c.n * interval '1 hour', '2023-01-01', timestamptz '2023-01-02' + c.n * interval '1 hour'
from bench.course c;

insert into lms.course_staff (id, tenant_id, course_id, user_id, part)
select bench.id('staff', c.n), c.tenant_id, c.id, c.instructor_id, 'instructor'
from bench.course c;

-- Five lessons to a module.
insert into lms.modules (id, tenant_id, course_id, key, title, order_index)
select md5('module:' || c.n || ':' || m)::uuid, c.tenant_id, c.id, 'module-' || m + 1, 'Module ' || m + 1, m
from bench.course c, generate_series(0, (c.lessons - 1) / 5) m;

insert into lms.lessons (
  id, tenant_id, course_id, module_id, key, title, type, duration, order_index, requires_completion, is_published, is_preview, deleted_at
)
select
  md5('lesson:' || c.n || ':' || i)::uuid, c.tenant_id, c.id, md5('module:' || c.n || ':' || i / 5)::uuid,
  'lesson-' || i + 1, 'Lesson ' || i + 1, case when i % 3 = 1 then 'video' else 'text' end, 5 + i % 20, i % 5,
  c.is_special or i = 0 or bench.draw(c.n * 10000 + i, 21) >= 0.1,
  c.is_special or i = 0 or bench.draw(c.n * 10000 + i, 22) >= 0.03,
  i = 0,
  case when not c.is_special and i > 0 and bench.draw(c.n * 10000 + i, 23) < 0.02 then timestamptz '2023-03-01' end
from bench.course c, generate_series(0, c.lessons - 1) i;

insert into lms.lesson_blocks (id, tenant_id, course_id, lesson_id, type, content, order_index)
select md5('block:' || l.id || ':' || b)::uuid, l.tenant_id, l.course_id, l.id, 'rich_text',
  jsonb_build_object('html', '<p>' || repeat('A paragraph of text. ', 20) || '</p>'), b
from lms.lessons l, generate_series(0, 1) b;

-- One version of each, as it stands.
insert into lms.course_versions (
  id, tenant_id, course_id, number, title, description, language, is_sequential, items_total, content_hash, published_at
)
select
  bench.id('version', c.n), k.tenant_id, k.id, 1, k.title, k.description, k.language, false,
  (select count(*) from lms.lessons l where l.course_id = k.id and l.requires_completion and l.is_published and l.deleted_at is null),
  md5('version:' || c.n), k.published_at
from bench.course c
join lms.courses k on k.id = c.id;

insert into lms.version_lessons (
  version_id, lesson_id, tenant_id, course_id, module_id, module_title, module_description, module_index, lesson_index,
  title, description, type, duration, requires_completion, is_preview, objectives, completion_rule,
  required_watched_percentage, prerequisite_ids
)
select
  bench.id('version', c.n), l.id, l.tenant_id, l.course_id, l.module_id, m.title, m.description,
  dense_rank() over (partition by c.n order by m.order_index) - 1,
  row_number() over (partition by c.n order by m.order_index, l.order_index) - 1,
  l.title, l.description, l.type, l.duration, l.requires_completion, l.is_preview, l.objectives, l.completion_rule,
  l.required_watched_percentage, '{}'
from bench.course c
join lms.lessons l on l.course_id = c.id and l.is_published and l.deleted_at is null
join lms.modules m on m.id = l.module_id;

insert into lms.block_revisions (id, tenant_id, course_id, lesson_id, block_id, content_hash, type, content, metadata, is_optional)
select b.id, b.tenant_id, b.course_id, b.lesson_id, b.id, md5(b.id::text), b.type, b.content, b.metadata, b.is_optional
from lms.lesson_blocks b
join lms.lessons l on l.id = b.lesson_id and l.is_published and l.deleted_at is null;

insert into lms.version_blocks (version_id, block_id, tenant_id, course_id, lesson_id, revision_id, order_index, is_preview)
select v.version_id, b.block_id, b.tenant_id, b.course_id, b.lesson_id, b.id,
  row_number() over (partition by v.version_id, b.lesson_id order by b.block_id) - 1, v.is_preview
from lms.block_revisions b
join lms.version_lessons v on v.lesson_id = b.lesson_id;

update lms.modules set published_at = '2023-01-02';
update lms.lessons set published_at = '2023-01-02' where is_published and deleted_at is null;

-- The lessons that a learner can work through, in order, with what the first `ordinal` of them add up to.
create table bench.lesson as
select
  c.n as course_n,
  row_number() over walk as ordinal,
  l.id,
  l.duration * 60 as seconds,
  sum(l.requires_completion::integer) over walk as required_upto,
  sum(l.duration * 60) over walk as seconds_upto
from bench.course c
join lms.lessons l on l.course_id = c.id
join lms.modules m on m.id = l.module_id
where l.is_published and l.deleted_at is null
window walk as (partition by c.n order by m.order_index, l.order_index);
alter table bench.lesson add primary key (course_n, ordinal);

alter table bench.course add column visible_lessons integer, add column required_lessons integer, add column last_required integer;
update bench.course c
set visible_lessons = s.visible, required_lessons = s.required, last_required = s.last_required
from (
  select a.course_n, max(a.ordinal) as visible, max(a.required_upto) as required,
    (select min(b.ordinal) from bench.lesson b where b.course_n = a.course_n and b.required_upto = max(a.required_upto)) as last_required
  from bench.lesson a
  group by a.course_n
) s
where s.course_n = c.n;

analyze bench.course, bench.lesson, lms.courses, lms.course_staff, lms.modules, lms.lessons, lms.lesson_blocks,
  lms.course_versions, lms.version_lessons, lms.version_blocks, lms.block_revisions;
