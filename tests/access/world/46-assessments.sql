-- Assessments: of each course one of its first lesson and one of its own, with questions whose keys nobody may see.

insert into lms.assessments (id, course_id, lesson_id, key, title, instructions, is_mandatory, weight, answers_shown, sources)
select
  world.id(format('assessments.%s.%s', c.name, a.name)), world.id('courses.' || c.name),
  case a.name when 'quiz' then world.id(format('lessons.%s.first', c.name)) end, world.canary(format('assessment-key.%s.%s', c.name, a.name)),
  world.canary(format('assessment-title.%s.%s', c.name, a.name)),
  world.canary(format('assessment-instructions.%s.%s', c.name, a.name)), false, 0,
  case a.name when 'quiz' then 'after_submit' else 'never' end,
  jsonb_build_array(world.canary(format('assessment-source.%s.%s', c.name, a.name)))
from world.courses c
cross join (values ('quiz'), ('exam')) as a (name);

insert into lms.assessment_sections (id, assessment_id, key, title)
select
  world.id('sections.' || c.name), world.id(format('assessments.%s.quiz', c.name)), world.canary('section-key.' || c.name),
  world.canary('section-title.' || c.name)
from world.courses c;

insert into lms.questions (id, assessment_id, section_id, question_key, type, prompt, content)
select
  world.id(format('questions.%s.%s', c.name, a.name)), world.id(format('assessments.%s.%s', c.name, a.name)),
  case a.name when 'quiz' then world.id('sections.' || c.name) end, world.canary(format('question-key.%s.%s', c.name, a.name)), 'single',
  world.canary(format('question-prompt.%s.%s', c.name, a.name)),
  jsonb_build_object('options', jsonb_build_array(
    jsonb_build_object('id', 'a', 'text', world.canary(format('option.%s.%s', c.name, a.name))), jsonb_build_object('id', 'b', 'text', 'Other')
  ))
from world.courses c
cross join (values ('quiz'), ('exam')) as a (name);

insert into private.answer_keys (question_id, tenant_id, course_id, key, explanation)
select q.id, q.tenant_id, q.course_id, '{"correct": "a"}', world.canary(format('answer-key.%s.%s', c.name, a.name))
from world.courses c
cross join (values ('quiz'), ('exam')) as a (name)
join lms.questions q on q.id = world.id(format('questions.%s.%s', c.name, a.name));

insert into lms.question_skills (question_id, skill_id)
select q.id, k.skill_id
from world.courses c
join lms.questions q on q.id = world.id(format('questions.%s.quiz', c.name))
join lms.lesson_skills k on k.course_id = q.course_id;
