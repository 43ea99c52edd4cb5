-- What people did and answered.

insert into analytics.event_types (id, tenant_id, event_type, description)
select world.id('event_types.' || tenant), world.id('tenants.' || tenant), 'wave_' || tenant, world.canary('event-type.' || tenant)
from unnest(array['home', 'sister', 'abroad']) tenant;

insert into analytics.question_events (id, user_id, course_id, section_key, question_key, is_correct, response_meta)
select
  world.id('answers.' || e.name), world.id('people.' || e.person), world.id('courses.' || e.course), world.canary('answer-section.' || e.name),
  world.canary('answer-question.' || e.name), true, jsonb_build_object('note', world.canary('answer-meta.' || e.name))
from world.enrollments e;

-- As handing in an attempt leaves it.
insert into analytics.question_events (id, user_id, course_id, section_key, question_key, is_correct, source, attempt_id)
select
  world.id('answers.shown_later.' || e.name), world.id('people.' || e.person), world.id('courses.' || e.course), 'exam',
  world.canary('answer-in-exam.' || e.name), true, 'server', world.id('attempts.unshown.' || e.name)
from world.enrollments e;

-- These open the sessions.
insert into analytics.activity_events (id, user_id, course_id, event_type, meta)
select
  world.id('activities.' || e.name), world.id('people.' || e.person), world.id('courses.' || e.course), 'view_section',
  jsonb_build_object('note', world.canary('activity.' || e.name))
from world.enrollments e;
