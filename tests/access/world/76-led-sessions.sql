-- Led sessions with their bookings, training taken elsewhere, training records and what they print.

insert into lms.led_sessions (
  id, course_id, lesson_id, unit_id, title, starts_at, ends_at, place_name, place_address, trainer_name, trainer_address, materials,
  status, held_at, cancelled_at, cancel_reason
)
select
  world.id('sessions.' || s.name), world.id('courses.' || s.course), world.id(format('lessons.%s.first', s.course)),
  case when s.unit <> '' then world.id('units.' || s.unit) end, world.canary('session-title.' || s.name),
  now() + s.begins, now() + s.begins + interval '1 hour', world.canary('session-place.' || s.name),
  world.canary('session-address.' || s.name), world.canary('session-trainer.' || s.name),
  world.canary('session-trainer-address.' || s.name), world.canary('session-materials.' || s.name), s.status,
  case s.status when 'held' then now() end, case s.status when 'cancelled' then now() end,
  case s.status when 'cancelled' then world.canary('session-reason.' || s.name) end
from (
  select name, name as course, '' as unit, interval '1 day' as begins, 'scheduled' as status from world.courses
  union all values
    ('plant', 'restricted', 'plant', interval '1 day', 'scheduled'), ('plant_past', 'restricted', 'plant', interval '-2 hours', 'held'),
    ('past_public', 'public', '', interval '-2 hours', 'held'), ('past_staffed', 'staffed', '', interval '-2 hours', 'held'),
    ('past_restricted', 'restricted', '', interval '-2 hours', 'held'),
    ('past_abroad', 'abroad_restricted', '', interval '-2 hours', 'held'),
    ('cancelled', 'restricted', '', interval '1 day', 'cancelled')
) s;

insert into lms.session_bookings (id, tenant_id, session_id, course_id, enrollment_id, user_id, status)
select world.id('bookings.' || n.name), e.tenant_id, world.id('sessions.' || n.course), e.course_id, e.id, e.user_id, 'booked'
from world.enrollments n
join lms.enrollments e on e.id = world.id('enrollments.' || n.name);

insert into lms.session_bookings (
  id, tenant_id, session_id, course_id, enrollment_id, user_id, status, recorded_at, change_reason, signed_off_at, signed_off_by,
  sign_off_note
)
select
  world.id(format('%s.%s', p.kind, n.name)), e.tenant_id, world.id('sessions.' || p.session), e.course_id, e.id, e.user_id, 'attended',
  now(), world.canary(format('booking-reason.%s.%s', p.kind, n.name)), case when p.kind = 'signed' then now() end,
  case when p.kind = 'signed' then world.id('people.teacher') end,
  case when p.kind = 'signed' then world.canary('sign-off.' || n.name) end
from (values
  ('attended', 'public', 'past_public'), ('attended', 'staffed', 'past_staffed'), ('attended', 'restricted', 'past_restricted'),
  ('attended', 'abroad_restricted', 'past_abroad'), ('signed', 'restricted', 'plant_past')
) as p (kind, course, session)
join world.enrollments n on n.course = p.course
join lms.enrollments e on e.id = world.id('enrollments.' || n.name);

insert into lms.outside_training (
  id, tenant_id, course_id, user_id, provider_name, provider_address, taken_on, materials, document_path, note, submitted_by, status,
  reviewed_at, reviewed_by, review_reason
)
select
  world.id('evidence.' || o.name), c.tenant_id, c.id, world.id('people.' || o.person), world.canary('evidence-provider.' || o.name),
  world.canary('evidence-address.' || o.name), '2020-02-02'::date + o.place::integer, world.canary('evidence-materials.' || o.name),
  world.canary('evidence-document.' || o.name), world.canary('evidence-note.' || o.name), world.id('people.' || o.person), o.status,
  case o.status when 'rejected' then now() end, case o.status when 'rejected' then world.id('people.teacher') end,
  case o.status when 'rejected' then world.canary('evidence-reason.' || o.name) end
from (
  select n.*, row_number() over (order by n.name) as place
  from (values
    ('learner', 'learner', 'public', 'submitted'), ('instructor', 'instructor', 'public', 'submitted'),
    ('unit_manager', 'unit_manager', 'public', 'submitted'), ('hr_admin', 'hr_admin', 'public', 'submitted'),
    ('tenant_admin', 'tenant_admin', 'public', 'submitted'), ('auditor', 'auditor', 'public', 'submitted'),
    ('guest', 'guest', 'public', 'submitted'), ('suspended', 'suspended', 'public', 'submitted'), ('ended', 'ended', 'public', 'submitted'),
    ('colleague', 'colleague', 'restricted', 'submitted'), ('neighbor', 'neighbor', 'restricted', 'submitted'),
    ('neighbor_staffed', 'neighbor', 'staffed', 'submitted'), ('rejected', 'neighbor', 'restricted', 'rejected'),
    ('outsider', 'outsider', 'abroad_restricted', 'submitted'), ('abroad_learner', 'abroad_learner', 'abroad_restricted', 'submitted')
  ) as n (name, person, course, status)
) o
join lms.courses c on c.id = world.id('courses.' || o.course);

insert into lms.training_record_settings (course_id, materials, trainer_name, trainer_address)
select
  world.id('courses.' || name), world.canary('record-settings-materials.' || name), world.canary('record-settings-trainer.' || name),
  world.canary('record-settings-address.' || name)
from world.courses
where name not in ('draft', 'staffed_draft', 'abroad_draft');

-- As if every cycle had been completed.
insert into lms.training_records (
  id, tenant_id, course_id, user_id, enrollment_id, unit_id, cycle, edition, employer_name, employee_name, course_title, version_number,
  content_hash, completed_at, completed_on, materials, trainer_name, trainer_address, certified_at, certified_by, certifier_name,
  certification, certification_text, correction_reason
)
select
  world.id(format('records%s.%s', case d.edition when 1 then '_first' else '' end, n.name)), e.tenant_id, e.course_id, e.user_id, e.id,
  e.unit_id, e.cycle, d.edition, world.canary(format('record-employer.%s.%s', d.edition, n.name)),
  world.canary(format('record-employee.%s.%s', d.edition, n.name)), world.canary(format('record-title.%s.%s', d.edition, n.name)), 1,
  world.canary(format('record-hash.%s.%s', d.edition, n.name)), now(), current_date,
  world.canary(format('record-materials.%s.%s', d.edition, n.name)), world.canary(format('record-trainer.%s.%s', d.edition, n.name)),
  world.canary(format('record-address.%s.%s', d.edition, n.name)), now(), world.id('people.teacher'),
  world.canary(format('record-certifier.%s.%s', d.edition, n.name)), 'attestation',
  world.canary(format('record-certification.%s.%s', d.edition, n.name)),
  case d.edition when 2 then world.canary('record-reason.' || n.name) end
from world.enrollments n
join lms.enrollments e on e.id = world.id('enrollments.' || n.name)
cross join (values (1), (2)) as d (edition);
