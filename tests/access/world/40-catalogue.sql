-- Courses, each with a published and an unpublished lesson.

create table world.courses (name text primary key, tenant text, status text, visibility text, teacher text);

insert into world.courses values
  ('public', 'home', 'published', 'public', 'teacher'),
  ('open', 'home', 'published', 'public', 'teacher'),
  ('restricted', 'home', 'published', 'restricted', 'teacher'),
  ('waiting', 'home', 'published', 'restricted', 'teacher'),
  ('enrolled', 'home', 'published', 'private', 'teacher'),
  ('private', 'home', 'published', 'private', 'teacher'),
  ('draft', 'home', 'draft', 'public', 'teacher'),
  ('archived', 'home', 'archived', 'public', 'teacher'),
  ('deleted', 'home', 'published', 'public', 'teacher'),
  ('staffed', 'home', 'published', 'private', 'instructor'),
  ('staffed_draft', 'home', 'draft', 'restricted', 'instructor'),
  ('abroad_public', 'abroad', 'published', 'public', 'abroad_teacher'),
  ('abroad_restricted', 'abroad', 'published', 'restricted', 'abroad_teacher'),
  ('abroad_private', 'abroad', 'published', 'private', 'abroad_teacher'),
  ('abroad_draft', 'abroad', 'draft', 'public', 'abroad_teacher');

insert into lms.courses (
  id, tenant_id, slug, title, description, status, visibility, instructor_id, published_at, thumbnail_url,
  meta_description, meta_keywords, version_label, metadata
)
select
  world.id('courses.' || name), world.id('tenants.' || tenant), world.canary('course-slug.' || name),
  world.canary('course-title.' || name), world.canary('course-description.' || name), status, visibility,
  world.id('people.' || teacher), case when status <> 'draft' then now() end,
  '/' || world.canary('course-thumbnail.' || name), world.canary('course-meta.' || name),
  world.canary('course-keywords.' || name), world.canary('course-version.' || name),
  jsonb_build_object('note', world.canary('course-metadata.' || name))
from world.courses;

update lms.course_staff s
set id = world.id('staff.' || c.name)
from world.courses c
where s.course_id = world.id('courses.' || c.name);

insert into lms.modules (id, course_id, title, description)
select
  world.id('modules.' || name), world.id('courses.' || name), world.canary('module-title.' || name),
  world.canary('module-description.' || name)
from world.courses;

insert into lms.lessons (id, module_id, title, description, is_published, is_preview, objectives, order_index)
select
  world.id(format('lessons.%s.%s', c.name, l.name)), world.id('modules.' || c.name),
  world.canary(format('lesson-title.%s.%s', c.name, l.name)),
  world.canary(format('lesson-description.%s.%s', c.name, l.name)),
  l.name <> 'hidden', l.name = 'preview', array[world.canary(format('lesson-objective.%s.%s', c.name, l.name))], l.place
from world.courses c
cross join (values ('first', 0), ('next', 1), ('hidden', 2), ('preview', 3)) as l (name, place);

insert into lms.lesson_blocks (id, lesson_id, type, title, content, metadata)
select
  world.id(format('blocks.%s.%s', c.name, l.name)), world.id(format('lessons.%s.%s', c.name, l.name)), 'markdown',
  world.canary(format('block-title.%s.%s', c.name, l.name)),
  jsonb_build_object('markdown', world.canary(format('block-content.%s.%s', c.name, l.name))),
  jsonb_build_object('note', world.canary(format('block-metadata.%s.%s', c.name, l.name)))
from world.courses c
cross join (values ('first'), ('next'), ('hidden'), ('preview')) as l (name);

insert into lms.lesson_prerequisites (lesson_id, prerequisite_lesson_id)
select world.id(format('lessons.%s.preview', name)), world.id(format('lessons.%s.first', name))
from world.courses;

insert into lms.course_prerequisites (course_id, prerequisite_course_id)
select
  world.id('courses.' || name), world.id(case tenant when 'home' then 'courses.open' else 'courses.abroad_public' end)
from world.courses
where name not in ('open', 'restricted', 'abroad_public');
