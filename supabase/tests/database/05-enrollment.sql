begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press');
select tests.unit('north', 'works'), tests.unit('dock', 'works', 'north'), tests.unit('south', 'works');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'), tests.member('marco', 'works', 'unit_manager', 'north', 'north'),
  tests.member('ines', 'works', 'instructor'), tests.member('ivan', 'works', 'instructor'), tests.member('audrey', 'works', 'auditor'),
  tests.member('dora', 'works', 'learner', 'dock'), tests.member('sid', 'works', 'learner', 'south'), tests.member('eve', 'works', 'learner', 'dock'),
  tests.member('quinn', 'works', 'learner', 'dock'), tests.member('petra', 'press', 'tenant_admin'), tests.member('paul', 'press');
select tests.person('noah');
update lms.memberships set status = 'suspended' where user_id = tests.id('quinn');

select
  tests.course('safety', 'works', 'ines', 4), tests.course('closed', 'works', 'ines', 1), tests.course('hidden', 'works', 'ines', 1, 'private'),
  tests.course('open', 'works', 'ines', 2, 'public'), tests.course('sketch', 'works', 'ines', 1, 'restricted', 'draft'), tests.course('empty', 'works', 'ines', 0),
  tests.course('novel', 'press', 'petra', 1), tests.course('other', 'works', 'ivan', 1);
update lms.courses set self_enrollment = 'closed' where slug = 'closed';

create function tests.enroll(course text, learner text default null, key text default null) returns text language sql as $$
  select format('select lms.enroll(%L, %L, null, %L)', tests.id(course), case when learner is not null then tests.id(learner) end, key)
$$;
create function tests.insert_for(learner text, course text) returns text language sql as $$
  select format('insert into lms.enrollments (user_id, course_id, enrolled_at) values (%L, %L, now()) returning *', tests.id(learner), tests.id(course))
$$;

create function tests.with_course(course text, changes text) returns void language plpgsql as $$
begin
  execute format('update lms.courses set %s where id = %L', changes, tests.id(course));
end
$$;

create function tests.after(course text, changes text, who text, learner text default null) returns text language plpgsql as $$
declare
  v_result text;
begin
  begin
    perform tests.with_course(course, changes);
    v_result := tests.refusals(who, course, learner);
    raise exception using errcode = 'UNDO0';
  exception when sqlstate 'UNDO0' then null;
  end;
  perform tests.as_owner();
  return v_result;
end
$$;

create function tests.refusals(who text, course text, learner text default null) returns text language plpgsql as $$
declare
  v_refused text[];
  v_told text[];
  v_eligible boolean;
begin
  perform tests.be(who);
  select e.eligible, array(select r.code from unnest(e.reasons) as r order by r.code) into v_eligible, v_told
  from lms.check_enrollment_eligibility(tests.id(course), tests.id(coalesce(learner, who))) as e;
  v_refused := tests.reasons_of(tests.insert_for(coalesce(learner, who), course));
  perform tests.as_owner();
  if v_told is distinct from v_refused or v_eligible <> (cardinality(v_told) = 0) then
    return format('asked: %s (%s), tried: %s', v_told, v_eligible, v_refused);
  end if;
  return array_to_string(v_told, ' ');
end
$$;

create function tests.transition(who text, from_status text, to_status text) returns text language plpgsql as $$
declare
  v_result text;
begin
  begin
    perform tests.enrollment('dora', 'safety');
    if from_status <> 'enrolled' then
      update lms.enrollments set status = from_status, items_done = case from_status when 'completed' then items_total else 0 end
      where id = tests.id('dora takes safety');
    end if;
    perform tests.be(who);
    -- Completed takes all items done; see the test of the constraint below.
    v_result := tests.error_of(format(
      'update lms.enrollments set status = %L%s where id = %L',
      to_status, case to_status when 'completed' then ', items_done = items_total' else '' end, tests.id('dora takes safety')
    ));
    if v_result = 'none' then
      select e.status into v_result from lms.enrollments e where e.id = tests.id('dora takes safety');
    end if;
    raise exception using errcode = 'UNDO0';
  exception when sqlstate 'UNDO0' then null;
  end;
  perform tests.as_owner();
  return v_result;
end
$$;

create function tests.set_status(who text, from_status text, wanted text) returns text language plpgsql as $$
declare
  v_result text;
begin
  begin
    perform tests.enrollment('dora', 'safety');
    if from_status <> 'enrolled' then
      update lms.enrollments set status = from_status, items_done = case from_status when 'completed' then items_total else 0 end
      where id = tests.id('dora takes safety');
    end if;
    perform tests.be(who);
    v_result := tests.error_of(format('select lms.set_enrollment_status(%L, %L)', tests.id('dora takes safety'), wanted));
    if v_result = 'none' then
      perform tests.as_owner();
      select e.status into v_result from lms.enrollments e where e.id = tests.id('dora takes safety');
    end if;
    raise exception using errcode = 'UNDO0';
  exception when sqlstate 'UNDO0' then null;
  end;
  perform tests.as_owner();
  return v_result;
end
$$;

-- =====================================================================================================
-- Who enrols whom, by RPC and by REST
-- =====================================================================================================

create temporary table cases (who text, learner text, course text, expected text);
insert into cases values
  ('dora', 'dora', 'safety', '1'), ('dora', 'eve', 'safety', '42501'), ('dora', 'dora', 'hidden', '404 course_not_found'), ('dora', 'dora', 'sketch', '404 course_not_found'),
  ('dora', 'dora', 'novel', '404 course_not_found'), ('dora', 'dora', 'closed', '409 not_eligible'), ('dora', 'paul', 'novel', '404 course_not_found'),
  ('noah', 'noah', 'safety', '404 course_not_found'), ('noah', 'noah', 'open', '1'), ('noah', 'dora', 'open', '42501'),
  ('quinn', 'quinn', 'safety', '404 course_not_found'), ('quinn', 'quinn', 'open', '409 not_eligible'), ('quinn', 'dora', 'open', '42501'),
  ('petra', 'petra', 'safety', '404 course_not_found'), ('petra', 'dora', 'safety', '404 course_not_found'), ('petra', 'dora', 'open', '42501'), ('petra', 'petra', 'open', '1'),
  ('petra', 'dora', 'novel', '409 not_eligible'), ('petra', 'paul', 'novel', '1'),
  ('marco', 'dora', 'safety', '1'), ('marco', 'dora', 'hidden', '1'), ('marco', 'dora', 'closed', '1'), ('marco', 'sid', 'safety', '42501'), ('marco', 'boss', 'safety', '42501'),
  ('marco', 'noah', 'open', '42501'), ('marco', 'quinn', 'safety', '409 not_eligible'), ('marco', 'dora', 'sketch', '409 not_eligible'), ('marco', 'dora', 'novel', '404 course_not_found'),
  ('hanna', 'sid', 'hidden', '1'), ('hanna', 'noah', 'open', '409 not_eligible'), ('hanna', 'paul', 'novel', '404 course_not_found'), ('boss', 'sid', 'hidden', '1'),
  ('ines', 'sid', 'hidden', '1'), ('ines', 'sid', 'other', '42501'), ('ines', 'ines', 'hidden', '409 not_eligible'), ('ivan', 'sid', 'safety', '42501'),
  ('audrey', 'dora', 'safety', '42501'), ('audrey', 'audrey', 'safety', '1');
select is(tests.try(who, tests.enroll(course, learner)), expected, format('%s enrols %s in %s by RPC: %s', who, learner, course, expected)) from cases;
select is(tests.try(who, tests.insert_for(learner, course)), expected, format('%s enrols %s in %s by REST: %s', who, learner, course, expected)) from cases;
select is(tests.try('anonymous', tests.enroll('open')), '42501', 'anonymous callers enrol nobody by RPC');
select is(tests.try('anonymous', tests.insert_for('noah', 'open')), '42501', 'anonymous callers enrol nobody by REST');
select is(tests.try('dora', format('select lms.enroll(%L)', gen_random_uuid())), '404 course_not_found', 'a course that does not exist is answered like a hidden one');
select is(tests.try('dora', 'select lms.enroll(null)'), '23502', 'no course at all is refused');
select is(tests.try('service', tests.enroll('open')), '400 user_required', 'the service role has to name the learner');

-- =====================================================================================================
-- What the server decides
-- =====================================================================================================

savepoint clean;
select tests.as('dora');
create temporary table answer as select * from lms.enroll(tests.id('safety'));
select is(
  (select (tenant_id, user_id, unit_id, cycle, status, source, enrolled_by, enrolled_at, started_at, items_total, items_done, progress_percentage) from answer),
  (tests.id('works'), tests.id('dora'), tests.id('dock'), 1, 'enrolled'::text, 'self'::text, tests.id('dora'), now(), null::timestamptz, 4, 0, 0::numeric(5, 2)),
  'an enrolment gets tenant, unit, cycle, status, source, dates and counters from the server'
);
select is((select substr(id::text, 15, 1) from answer), '7', 'enrolments have time-ordered keys');
select tests.as_owner();
rollback to clean;

select tests.as('dora');
insert into lms.enrollments (user_id, course_id, enrolled_at) values (tests.id('dora'), tests.id('safety'), '1999-01-01');
select is((select enrolled_at from lms.enrollments), now(), 'INV-E5: the server''s time wins over the client''s');
select tests.as_owner();
rollback to clean;

select is(tests.try('dora', format('insert into lms.enrollments (user_id, course_id, %I) values (%L, %L, %s)', name, tests.id('dora'), tests.id('safety'), value)), '42501', format('clients do not write enrollments.%s', name))
from (values
  ('id', 'gen_random_uuid()'), ('tenant_id', quote_literal(tests.id('press'))), ('unit_id', quote_literal(tests.id('south'))), ('cycle', '7'), ('status', '''completed'''), ('source', '''purchase'''),
  ('enrolled_by', quote_literal(tests.id('boss'))), ('started_at', 'now()'), ('completed_at', 'now()'), ('dropped_at', 'now()'), ('paused_at', 'now()'), ('expired_at', 'now()'), ('items_total', '1'), ('items_done', '1'),
  ('time_spent_seconds', '1'), ('current_lesson_id', 'null'), ('last_accessed_at', 'now()'), ('final_grade', '100'), ('created_at', 'now()'), ('updated_at', 'now()')
) as columns (name, value);
select is(tests.try('dora', format('insert into lms.enrollments (user_id, course_id, %I) values (%L, %L, %L)', name, tests.id('dora'), tests.id('safety'), now())), '42501', format('learners do not set %s of their own enrolment', name))
from unnest(array['due_at', 'expires_at']) as name;
select is(tests.try('dora', format('select lms.enroll(%L, null, now())', tests.id('safety'))), '42501', 'learners do not set their due date by RPC either');
select is(tests.try('marco', format('select lms.enroll(%L, %L, now())', tests.id('safety'), tests.id('dora'))), '1', 'managers set due dates');

select tests.as('marco');
insert into lms.enrollments (user_id, course_id, due_at) values (tests.id('dora'), tests.id('hidden'), '2030-01-01');
select is((select (source, enrolled_by, due_at) from lms.enrollments where course_id = tests.id('hidden')), ('assigned'::text, tests.id('marco'), '2030-01-01'::timestamptz), 'an assignment says by whom');
select tests.as_owner();
rollback to clean;

-- Joining a public course.
select tests.as('noah');
select is((select (tenant_id, status) from lms.enroll(tests.id('open'))), (tests.id('works'), 'enrolled'::text), 'enrolling in an open public course works for outsiders, and returns the enrolment');
select is((select (status, unit_id) from lms.memberships where user_id = tests.id('noah')), ('active'::text, null::uuid), '... and makes them members');
select is((select count(*) from lms.role_grants), 0::bigint, '... without any role');
select is((lms.complete_lesson(tests.id('open/1'))).course_percentage, 50::numeric, '... who can begin at once');
select tests.as_owner();
rollback to clean;
select tests.member('ned', 'works');
update lms.memberships set status = 'ended' where user_id = tests.id('ned');
select is(tests.refusals('ned', 'open'), 'not_a_member', 'a membership that the tenant has ended is not begun again by a public course');
select is(tests.try('ned', tests.insert_for('ned', 'safety')), '404 course_not_found', '... nor by any other');
select is((select status from lms.memberships where user_id = tests.id('quinn')), 'suspended', 'enrolling does not lift a suspension');
rollback to clean;
update lms.courses set price = 5 where slug = 'open';
select is(tests.try('noah', tests.enroll('open')), '409 not_eligible', 'a public course with a price is not joined for free');
select is((select count(*) from lms.memberships where user_id = tests.id('noah')), 0::bigint, '... and a refused enrolment makes nobody a member');
rollback to clean;

-- =====================================================================================================
-- INV-E3: eligibility
-- =====================================================================================================

-- Each answer is what asking says AND what trying says: `refusals` compares the two.
select is(tests.after(course, changes, who, learner), expected, format('INV-E3: %s for %s in %s with %s', coalesce(nullif(expected, ''), 'nothing'), coalesce(learner, who), course, changes))
from (values
  ('safety', 'title = title', 'dora', null, ''),
  ('safety', 'self_enrollment = ''closed''', 'dora', null, 'self_enrollment_closed'),
  ('safety', 'self_enrollment = ''approval''', 'dora', null, 'approval_required'),
  ('safety', 'price = 10', 'dora', null, 'payment_required'),
  ('safety', 'capacity = 0', 'dora', null, 'capacity_full'),
  ('safety', 'visibility = ''private''', 'ines', null, 'not_visible'),
  ('safety', 'status = ''archived''', 'ines', null, 'not_published'),
  ('safety', 'status = ''draft''', 'ines', null, 'not_published'),
  ('safety', 'status = ''archived'', visibility = ''private'', self_enrollment = ''closed'', price = 3, capacity = 0', 'ines', null, 'capacity_full not_published not_visible payment_required self_enrollment_closed'),
  ('open', 'self_enrollment = ''approval'', price = 3', 'noah', null, 'approval_required payment_required'),
  ('open', 'title = title', 'quinn', null, 'membership_suspended'),
  ('open', 'capacity = 0, self_enrollment = ''closed''', 'quinn', null, 'capacity_full membership_suspended self_enrollment_closed'),
  -- Assigning: the course's rules for learners do not apply, facts do.
  ('safety', 'self_enrollment = ''closed'', price = 10, visibility = ''private''', 'hanna', 'dora', ''),
  ('safety', 'capacity = 0, status = ''archived''', 'hanna', 'dora', 'capacity_full not_published'),
  ('safety', 'title = title', 'hanna', 'quinn', 'membership_suspended'),
  ('safety', 'title = title', 'hanna', 'noah', 'not_a_member'),
  ('open', 'title = title', 'hanna', 'noah', 'not_a_member')
) as cases (course, changes, who, learner, expected);

select tests.enrollment('dora', 'safety');
select is(tests.refusals('dora', 'safety'), 'already_enrolled', 'INV-E3: already_enrolled');
select is(
  (select r.details ->> 'enrollment_id' from private.enrollment_obstacles(tests.id('safety'), tests.id('dora'), true) as r), tests.id('dora takes safety')::text,
  'INV-E3: ... and in which enrolment'
);
update lms.enrollments set items_done = items_total where id = tests.id('dora takes safety');
select is(tests.after('safety', 'title = title', 'dora'), '', 'INV-E3: a completed course may be taken again');
select is(tests.after('safety', 'allow_retake = false', 'dora'), 'retake_not_allowed', 'INV-E3: ... unless retakes are not allowed');
select is(tests.after('safety', 'max_attempts = 1', 'dora'), 'max_attempts_reached', 'INV-E3: ... or all attempts are used up');
select is(tests.after('safety', 'max_attempts = 2', 'dora'), '', 'INV-E3: ... which they are not while one is left');
select is(tests.after('safety', 'max_attempts = 1, allow_retake = false', 'dora'), 'max_attempts_reached retake_not_allowed', 'INV-E3: both are said');
select is(tests.after('safety', 'max_attempts = 1, allow_retake = false', 'hanna', 'dora'), '', 'INV-E3: staff may give another attempt');
rollback to clean;
select tests.enrollment('dora', 'safety');
update lms.enrollments set status = 'dropped' where id = tests.id('dora takes safety');
select is(tests.after('safety', 'allow_retake = false', 'dora'), '', 'INV-E3: a dropped course is no retake');
select is(tests.after('safety', 'max_attempts = 1', 'dora'), 'max_attempts_reached', 'INV-E3: but an attempt');
rollback to clean;
select tests.enrollment('eve', 'safety');
select is(tests.after('safety', 'capacity = 1', 'dora'), 'capacity_full', 'INV-E4: one of one place is taken');
update lms.enrollments set expires_at = now() - interval '1 day' where course_id = tests.id('safety') and status in ('enrolled', 'in_progress', 'paused');
select is(tests.after('safety', 'capacity = 1', 'dora'), '', 'INV-E4: ... until its time has run out, whether a job has been by or not');
update lms.enrollments set expires_at = null where course_id = tests.id('safety');
select is(tests.after('safety', 'capacity = 2', 'dora'), '', 'INV-E4: one of two places is free');
update lms.enrollments set status = 'paused' where id = tests.id('eve takes safety');
select is(tests.after('safety', 'capacity = 1', 'dora'), 'capacity_full', 'INV-E4: who pauses keeps the place');
update lms.enrollments set status = 'dropped' where id = tests.id('eve takes safety');
select is(tests.after('safety', 'capacity = 1', 'dora'), '', 'INV-E4: who drops out frees it');
update lms.tenants set is_active = false where slug = 'works';
select is(tests.refusals('noah', 'open'), 'tenant_inactive', 'INV-E3: tenant_inactive');
select is(tests.try('dora', tests.enroll('safety')), '404 course_not_found', 'INV-E3: the courses of an inactive tenant are hidden from its members');
rollback to clean;

select is(tests.try(who, format('select lms.check_enrollment_eligibility(%L, %L)', tests.id(course), tests.id(learner))), expected, format('%s asks about %s in %s: %s', who, learner, course, expected))
from (values
  ('dora', 'eve', 'safety', '42501'), ('dora', 'noah', 'open', '42501'), ('noah', 'dora', 'open', '42501'), ('noah', 'noah', 'safety', '404 course_not_found'), ('marco', 'sid', 'safety', '42501'),
  ('marco', 'dora', 'safety', '1'), ('ivan', 'dora', 'safety', '42501'), ('ines', 'sid', 'safety', '1'), ('petra', 'dora', 'open', '42501'), ('anonymous', 'dora', 'open', '42501'), ('service', 'dora', 'safety', '1')
) as questions (who, learner, course, expected);
update lms.courses set deleted_at = now() where slug = 'safety';
select ok(not (lms.check_enrollment_eligibility(tests.id('safety'), tests.id('dora'))).eligible, 'INV-E3: nobody is eligible for a deleted course, not even when the service asks');
rollback to clean;

select tests.as('dora');
select is(
  tests.failure_of(tests.enroll('closed')),
  '{"code": "not_eligible", "message": "Learners cannot enrol themselves.", "hint": "See details for every reason.",
    "details": [{"code": "self_enrollment_closed", "message": "Learners cannot enrol themselves.", "details": null}]}'::jsonb,
  'INV-E3: a refusal carries code, sentence and all reasons'
);
select tests.as_owner();

-- =====================================================================================================
-- INV-E1: one open cycle
-- =====================================================================================================

select tests.enrollment('dora', 'safety');
select is(tests.error_of(tests.insert_for('dora', 'safety')), '23505 one_open_cycle', 'INV-E1: a second open cycle is refused, even to the owner');
select tests.as_service();
select is(tests.error_of(tests.insert_for('dora', 'safety')), '23505 one_open_cycle', 'INV-E1: ... and to the service role');
select tests.as_owner();
update lms.enrollments set status = 'paused';
select is(tests.error_of(tests.insert_for('dora', 'safety')), '23505 one_open_cycle', 'INV-E1: a paused cycle is open');
update lms.enrollments set status = 'dropped';
select tests.as('dora');
select is((lms.enroll(tests.id('safety'))).cycle, 2, 'INV-E1: after the first cycle comes the second');
select tests.as_owner();
select is(
  tests.error_of('update lms.enrollments set status = ''enrolled'', dropped_at = null where cycle = 1'), '409 transition_not_allowed', 'INV-E1: a finished cycle is not reopened'
);
select is(tests.error_of(format('update lms.enrollments set %s where cycle = 2', change)), '42501', format('an enrolment keeps its key: %s', change))
from unnest(array[
  'cycle = 9', format('user_id = %L', tests.id('eve')), format('course_id = %L', tests.id('open')), 'id = gen_random_uuid()', format('tenant_id = %L', tests.id('press'))
]) as change;
select is(tests.error_of('update lms.enrollments set cycle = 1 where cycle = 2'), '42501', 'cycles are not renumbered');
rollback to clean;

-- =====================================================================================================
-- INV-E2: transitions
-- =====================================================================================================

select is(
  tests.transition(who, f, t),
  case
    when f = t then t
    when (f, t) in (
      ('enrolled', 'in_progress'), ('enrolled', 'completed'), ('enrolled', 'paused'), ('enrolled', 'dropped'), ('enrolled', 'expired'),
      ('in_progress', 'completed'), ('in_progress', 'paused'), ('in_progress', 'dropped'), ('in_progress', 'expired'),
      ('paused', 'enrolled'), ('paused', 'in_progress'), ('paused', 'dropped'), ('paused', 'expired')
    ) then t
    else '409 transition_not_allowed'
  end,
  format('INV-E2: %s takes an enrolment from %s to %s', who, f, t)
)
from unnest(array['owner', 'service']) as who,
  unnest(array['enrolled', 'in_progress', 'paused', 'completed', 'dropped', 'expired']) as f,
  unnest(array['enrolled', 'in_progress', 'paused', 'completed', 'dropped', 'expired']) as t;
select is(tests.transition(who, 'enrolled', 'completed'), '42501', format('INV-E2: %s cannot write a status', who)) from unnest(array['dora', 'boss', 'hanna', 'ines', 'marco']) as who;
select is(tests.transition('owner', 'enrolled', 'overdue'), '409 transition_not_allowed', 'INV-E2: overdue is derived, never stored');

select is(tests.set_status(who, f, wanted), expected, format('%s sets an enrolment that is %s to %s: %s', who, f, wanted, expected))
from (values
  ('dora', 'enrolled', 'paused', 'paused'), ('dora', 'in_progress', 'paused', 'paused'), ('dora', 'paused', 'paused', 'paused'), ('dora', 'paused', 'resumed', 'enrolled'),
  ('dora', 'enrolled', 'dropped', 'dropped'), ('dora', 'paused', 'dropped', 'dropped'), ('dora', 'dropped', 'dropped', 'dropped'),
  ('dora', 'enrolled', 'resumed', '409 transition_not_allowed'), ('dora', 'dropped', 'resumed', '409 transition_not_allowed'), ('dora', 'completed', 'dropped', '409 transition_not_allowed'),
  ('dora', 'completed', 'paused', '409 transition_not_allowed'), ('dora', 'expired', 'paused', '409 transition_not_allowed'),
  ('dora', 'enrolled', 'completed', '422 invalid_status'), ('dora', 'enrolled', 'expired', '422 invalid_status'), ('dora', 'enrolled', null, '422 invalid_status'), ('dora', 'enrolled', 'enrolled', '422 invalid_status'),
  ('marco', 'enrolled', 'paused', 'paused'), ('hanna', 'enrolled', 'dropped', 'dropped'), ('boss', 'enrolled', 'dropped', 'dropped'), ('ines', 'enrolled', 'dropped', 'dropped'), ('service', 'enrolled', 'dropped', 'dropped'),
  ('audrey', 'enrolled', 'dropped', '42501'), ('eve', 'enrolled', 'dropped', '404 enrollment_not_found'), ('sid', 'enrolled', 'paused', '404 enrollment_not_found'), ('ivan', 'enrolled', 'dropped', '404 enrollment_not_found'),
  ('petra', 'enrolled', 'dropped', '404 enrollment_not_found'), ('noah', 'enrolled', 'dropped', '404 enrollment_not_found'), ('anonymous', 'enrolled', 'dropped', '42501')
) as cases (who, f, wanted, expected);
select is(
  tests.try('eve', format('select private.change_enrollment_status(%L, %L)', id, 'dropped')), '42501', 'the helper behind set_enrollment_status checks its caller as well'
)
from tests.enrollment('dora', 'safety') as id;
rollback to clean;

-- A paused cycle of which nothing remains in the version that it is moved to must not be stuck.
select tests.enrollment('dora', 'open');
insert into lms.lesson_progress (user_id, lesson_id, progress_percentage) values (tests.id('dora'), tests.id('open/1'), 100);
update lms.enrollments set status = 'paused' where id = tests.id('dora takes open');
update lms.lessons set is_published = false where id = tests.id('open/2');
select tests.republish('open');
select (lms.migrate_enrollments(tests.id('open'), 'move')).moved;
select is(tests.standing('dora', 'open'), 'paused 1/1 100.00', 'a paused enrolment is counted again, and stays paused');
select tests.as('dora');
select is((select status from lms.set_enrollment_status(tests.id('dora takes open'), 'resumed')), 'completed', 'INV-P2: ... and is completed by being resumed');
select tests.as_owner();
rollback to clean;

-- =====================================================================================================
-- INV-E5: dates
-- =====================================================================================================

select tests.enrollment('dora', 'safety');
select is(tests.error_of(format('update lms.enrollments set %s', change)), expected, format('INV-E5: %s: %s', change, expected))
from (values
  ('items_done = items_total, completed_at = enrolled_at - interval ''1 second''', '23514 status_is_known_and_its_dates_follow'),
  ('status = ''completed''', '23514 status_is_known_and_its_dates_follow'),
  ('completed_at = now()', '23514 status_is_known_and_its_dates_follow'), ('dropped_at = now()', '23514 status_is_known_and_its_dates_follow'),
  ('paused_at = now()', '23514 status_is_known_and_its_dates_follow'), ('expired_at = now()', '23514 status_is_known_and_its_dates_follow'),
  ('started_at = now()', '23514 status_is_known_and_its_dates_follow'), ('items_done = 5', '23514 counters_are_in_range'), ('final_grade = 101', '23514 percentage_is_between_0_and_100')
) as cases (change, expected);
update lms.enrollments set enrolled_at = '2020-01-01';
update lms.enrollments set items_done = items_total, completed_at = '2020-02-02';
select is((select (completed_at, started_at) from lms.enrollments), ('2020-02-02'::timestamptz, '2020-02-02'::timestamptz), 'INV-E5: an import may say when it was completed');
rollback to clean;
select tests.enrollment('dora', 'safety');
update lms.enrollments set enrolled_at = '2020-01-01';
select tests.as('dora');
select is((select (status, paused_at) from lms.set_enrollment_status(tests.id('dora takes safety'), 'paused')), ('paused'::text, now()), 'INV-E5: pausing says when');
select is((select (status, paused_at) from lms.set_enrollment_status(tests.id('dora takes safety'), 'resumed')), ('enrolled'::text, null::timestamptz), 'INV-E5: resuming forgets it');
select is((select (status, dropped_at) from lms.set_enrollment_status(tests.id('dora takes safety'), 'dropped')), ('dropped'::text, now()), 'INV-E5: dropping says when');
select tests.as_owner();
rollback to clean;

-- =====================================================================================================
-- INV-E6: moving to another unit
-- =====================================================================================================

select tests.enrollment('dora', 'safety'), tests.enrollment('dora', 'open'), tests.enrollment('dora', 'closed'), tests.enrollment('eve', 'safety');
update lms.enrollments set items_done = items_total where id = tests.id('dora takes open');
update lms.enrollments set status = 'paused' where id = tests.id('dora takes closed');
select is(tests.sees_as('marco', 'lms.enrollments'), '4', 'a manager sees the enrolments of the unit');
update lms.memberships set unit_id = tests.id('south') where user_id = tests.id('dora');
select results_eq(
  $$ select course_id, unit_id from lms.enrollments where user_id = tests.id('dora') order by status $$,
  $$ values (tests.id('open'), tests.id('dock')), (tests.id('safety'), tests.id('south')), (tests.id('closed'), tests.id('south')) $$,
  'INV-E6: open enrolments move along, finished ones stay'
);
select is((select unit_id from lms.enrollments where user_id = tests.id('eve')), tests.id('dock'), 'INV-E6: nobody else''s move');
select is(tests.sees_as('marco', 'lms.enrollments'), '2', 'the manager keeps seeing what was earned in the unit');
update lms.memberships set unit_id = null where user_id = tests.id('dora');
select is((select count(*) from lms.enrollments where user_id = tests.id('dora') and unit_id is null), 2::bigint, 'INV-E6: leaving all units counts as a move');
rollback to clean;

-- =====================================================================================================
-- INV-E4: idempotency
-- =====================================================================================================

select tests.as('dora');
create temporary table answers as
  select 1 as n, e.* from lms.enroll(tests.id('safety'), null, null, 'key-1') as e;
insert into answers select 2, e.* from lms.enroll(tests.id('safety'), null, null, 'key-1') as e;
insert into answers select 3, e.* from lms.enroll(tests.id('safety'), tests.id('dora'), null, 'key-1') as e;
select is((select count(distinct (to_jsonb(a) - 'n')) from answers a), 1::bigint, 'INV-E4: the same key gives the same answer, also when the caller is named');
select is((select count(*) from lms.enrollments), 1::bigint, 'INV-E4: ... and one enrolment');
select is(tests.error_of(tests.enroll('open', null, 'key-1')), '422 idempotency_key_reused', 'INV-E4: the same key for another course is refused');
select is(tests.error_of(tests.enroll('safety', null, 'key-2')), '409 not_eligible', 'INV-E4: another key is another request');
select is(tests.error_of(tests.enroll('safety')), '409 not_eligible', 'INV-E4: so is none');
select is(tests.error_of(tests.enroll('open', null, key)), '422 invalid_idempotency_key', format('a key of %s characters is refused', length(key))) from unnest(array['', repeat('x', 256)]) as key;
select is(tests.error_of(tests.enroll('open', null, repeat('ä', 255))), 'none', 'a key of 255 characters is taken');
select lives_ok(format('select lms.set_enrollment_status(id, %L) from lms.enrollments', 'dropped'), 'the enrolment changes');
select is((select status from lms.enroll(tests.id('safety'), null, null, 'key-1')), 'enrolled', 'INV-E4: a replay gives the old answer and begins no new cycle');
select is((select count(*) from lms.enrollments where course_id = tests.id('safety')), 1::bigint, 'INV-E4: ... really none');
select is(tests.error_of(tests.enroll('closed', null, 'key-3')), '409 not_eligible', 'a refused request');
select tests.as_owner();
update lms.courses set self_enrollment = 'open' where slug = 'closed';
select tests.as('dora');
select is(tests.error_of(tests.enroll('closed', null, 'key-3')), 'none', 'INV-E4: ... leaves its key free: it may be tried again');
select tests.as('eve');
select is((select user_id from lms.enroll(tests.id('safety'), null, null, 'key-1')), tests.id('eve'), 'INV-E4: keys of different people do not meet');
select is(tests.sees('private.idempotency_keys'), '42501', 'the kept answers are not for clients');
select tests.as('marco');
set local time zone 'UTC';
select is((select due_at from lms.enroll(tests.id('open'), tests.id('eve'), '2030-01-01 00:00+00', 'key-9')), '2030-01-01 00:00+00', 'an assignment with a due date and a key');
set local time zone 'Asia/Tokyo';
select is(
  tests.error_of(format('select lms.enroll(%L, %L, %L, %L)', tests.id('open'), tests.id('eve'), '2030-01-01 09:00+09', 'key-9')), 'none',
  'INV-E4: the same instant from a client of another time zone is the same request'
);
set local time zone 'UTC';
select is(
  tests.error_of(format('select lms.enroll(%L, %L, %L, %L)', tests.id('open'), tests.id('eve'), '2030-01-01 09:00+00', 'key-9')), '422 idempotency_key_reused', 'INV-E4: another due date is another request'
);
select tests.as_owner();
rollback to clean;

-- =====================================================================================================
-- Who reads and changes enrolments
-- =====================================================================================================

select tests.enrollment('dora', 'safety'), tests.enrollment('sid', 'safety'), tests.enrollment('quinn', 'safety'), tests.enrollment('sid', 'other'), tests.enrollment('paul', 'novel');
select is(tests.sees_as(who, 'lms.enrollments'), rows, format('%s sees so many enrolments: %s', who, rows))
from (values
  ('anonymous', '42501'), ('noah', '0'), ('eve', '0'), ('dora', '1'), ('sid', '2'), ('quinn', '0'), ('ines', '3'), ('ivan', '1'), ('marco', '2'), ('hanna', '4'), ('boss', '4'), ('audrey', '4'), ('petra', '1'), ('paul', '1'), ('service', '5')
) as cases (who, rows);
select is(tests.try(who, 'update lms.enrollments set due_at = now()'), rows, format('%s changes so many due dates: %s', who, rows))
from (values
  ('anonymous', '42501'), ('noah', '0'), ('dora', '0'), ('sid', '0'), ('quinn', '0'), ('ines', '3'), ('ivan', '1'), ('marco', '2'), ('hanna', '4'), ('boss', '4'), ('audrey', '0'), ('petra', '1')
) as cases (who, rows);
select is(tests.try(who, format('update lms.enrollments set %s', change)), '42501', format('%s may not: %s', who, change))
from unnest(array['dora', 'boss', 'hanna', 'ines', 'marco', 'audrey']) as who,
  unnest(array['status = ''completed''', 'items_done = 4', 'items_total = 0', 'final_grade = 100', 'completed_at = now()', 'tenant_id = tenant_id', 'user_id = user_id', 'cycle = 2', 'enrolled_at = now()', 'unit_id = null', 'source = ''import''', 'time_spent_seconds = 1']) as change;
select is(tests.try(who, 'delete from lms.enrollments'), '42501', format('%s deletes no enrolment', who)) from unnest(array['anonymous', 'dora', 'boss', 'ines']) as who;
select is(tests.try('dora', format('insert into lms.enrollments (user_id, course_id) values (%1$L, %2$L), (%3$L, %2$L)', tests.id('dora'), tests.id('open'), tests.id('eve'))), '42501', 'an own enrolment does not carry a stranger''s along');

select * from finish();
rollback;
