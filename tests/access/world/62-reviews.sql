-- Reviews, and reports on some of them.

create table world.reviews (name text primary key, course text, person text, status text);

insert into world.reviews values
  -- Of a course that most have not begun, so that everybody can still write one of the course that they have.
  ('learner', 'open', 'learner', 'visible'), ('instructor', 'open', 'instructor', 'visible'),
  ('unit_manager', 'open', 'unit_manager', 'visible'), ('hr_admin', 'open', 'hr_admin', 'visible'),
  ('tenant_admin', 'open', 'tenant_admin', 'visible'), ('auditor', 'open', 'auditor', 'visible'),
  ('guest', 'open', 'guest', 'visible'), ('suspended', 'open', 'suspended', 'visible'), ('ended', 'open', 'ended', 'visible'),
  ('outsider', 'abroad_restricted', 'outsider', 'visible'),
  ('learner_hidden', 'restricted', 'learner', 'hidden'),
  ('public', 'public', 'colleague', 'visible'), ('restricted', 'restricted', 'colleague', 'visible'),
  ('hidden', 'public', 'neighbor', 'hidden'), ('private', 'private', 'colleague', 'visible'),
  ('enrolled', 'enrolled', 'colleague', 'visible'),
  ('staffed', 'staffed', 'colleague', 'visible'), ('staffed_hidden', 'staffed', 'neighbor', 'hidden'),
  ('archived', 'archived', 'mover', 'visible'), ('deleted', 'deleted', 'colleague', 'visible'),
  ('abroad_public', 'abroad_public', 'abroad_learner', 'visible'), ('abroad', 'abroad_restricted', 'abroad_learner', 'visible'),
  ('abroad_hidden', 'abroad_public', 'abroad_teacher', 'hidden');

insert into lms.course_reviews (
  id, course_id, user_id, rating, title, body, status, hidden_reason, reply, replied_at, replied_by
)
select
  world.id('reviews.' || name), world.id('courses.' || course), world.id('people.' || person), 4,
  world.canary('review-title.' || name), world.canary('review-body.' || name), status,
  case status when 'hidden' then world.canary('review-hidden.' || name) end,
  world.canary('review-reply.' || name), now(), world.id('people.teacher')
from world.reviews;

insert into lms.review_reports (id, tenant_id, review_id, user_id, reason, closed_at, outcome, outcome_note)
select
  world.id('reports.' || person), world.id('tenants.' || tenant), world.id('reviews.' || review),
  world.id('people.' || person), world.canary('report-reason.' || person),
  case when person = 'colleague' then now() end, case when person = 'colleague' then 'kept' end,
  case when person = 'colleague' then world.canary('report-outcome.' || person) end
from (values
  ('learner', 'home', 'restricted'), ('colleague', 'home', 'public'), ('neighbor', 'home', 'staffed'),
  ('suspended', 'home', 'public'), ('stranger', 'home', 'public'), ('abroad_learner', 'abroad', 'abroad')
) as reports (person, tenant, review);
