-- Enrolments and progress.

create table world.enrollments (name text primary key, course text, person text, lessons text[]);

insert into world.enrollments
-- Everybody who belongs to home takes the public course, so that each has something of their own.
select name, 'public', name, array['first']
from world.people
where tenant = 'home' and name not in ('teacher', 'colleague', 'deputy', 'chief', 'neighbor', 'fellow', 'mover')
union all values
  ('learner_private', 'enrolled', 'learner', array['first']),
  ('outsider', 'abroad_restricted', 'outsider', array['first']),
  ('colleague', 'restricted', 'colleague', array['first']),
  ('colleague_private', 'private', 'colleague', array['first']),
  ('colleague_staffed', 'staffed', 'colleague', array['first']),
  ('neighbor', 'restricted', 'neighbor', array['first']),
  ('neighbor_staffed', 'staffed', 'neighbor', array['first']),
  -- Finished in the manager's unit, before moving away from it.
  ('mover', 'archived', 'mover', array['first', 'next', 'preview']),
  ('abroad_learner', 'abroad_restricted', 'abroad_learner', array['first']),
  ('abroad_draft', 'abroad_draft', 'abroad_learner', array['first']);

insert into lms.enrollments (id, course_id, user_id, source, enrolled_by)
select world.id('enrollments.' || name), world.id('courses.' || course), world.id('people.' || person), 'assigned', null
from world.enrollments;

insert into lms.lesson_progress (enrollment_id, user_id, lesson_id, progress_percentage, last_position)
select
  world.id('enrollments.' || e.name), world.id('people.' || e.person),
  world.id(format('lessons.%s.%s', e.course, lesson)),
  case when e.name = 'mover' then 100 else 50 end,
  jsonb_build_object('note', world.canary(format('position.%s.%s', e.name, lesson)))
from world.enrollments e, unnest(e.lessons) as lesson;

insert into lms.block_progress (enrollment_id, user_id, block_id, progress_percentage, last_position)
select
  world.id('enrollments.' || e.name), world.id('people.' || e.person), world.id(format('blocks.%s.%s', e.course, lesson)), 50,
  jsonb_build_object('note', world.canary(format('block-position.%s.%s', e.name, lesson)))
from world.enrollments e, unnest(e.lessons) as lesson;

insert into lms.progress_corrections (
  id, tenant_id, course_id, user_id, enrollment_id, lesson_id, old_percentage, new_percentage, reason, corrected_by
)
select
  world.id('corrections.' || n.name), e.tenant_id, e.course_id, e.user_id, e.id,
  world.id(format('lessons.%s.first', n.course)), 50, 40, world.canary('correction.' || n.name), null
from world.enrollments n
join lms.enrollments e on e.id = world.id('enrollments.' || n.name);

insert into lms.lesson_notes (id, lesson_id, user_id, body, position)
select
  world.id('notes.' || e.name), world.id(format('lessons.%s.first', e.course)), world.id('people.' || e.person),
  world.canary('note.' || e.name), jsonb_build_object('note', world.canary('note-position.' || e.name))
from world.enrollments e;
