-- Skills, and which lessons are about them.

insert into lms.skills (id, tenant_id, key, name, description)
select
  world.id('skills.' || name), world.id('tenants.' || tenant), world.canary('skill-key.' || name),
  world.canary('skill-name.' || name), world.canary('skill-description.' || name)
from (values
  ('public', 'home'), ('restricted', 'home'), ('hidden', 'home'), ('empty', 'home'),
  ('abroad_public', 'abroad'), ('abroad_restricted', 'abroad'), ('abroad_empty', 'abroad')
) as skills (name, tenant);

insert into lms.lesson_skills (lesson_id, skill_id, mastery_threshold)
select world.id(format('lessons.%s.first', course)), world.id('skills.' || skill), 0.85
from (values
  ('public', 'public'), ('restricted', 'restricted'), ('enrolled', 'restricted'), ('private', 'restricted'),
  ('draft', 'hidden'), ('archived', 'hidden'), ('deleted', 'hidden'), ('staffed', 'restricted'),
  ('staffed_draft', 'hidden'),
  ('abroad_public', 'abroad_public'), ('abroad_restricted', 'abroad_restricted'), ('abroad_draft', 'abroad_restricted')
) as lessons (course, skill);
