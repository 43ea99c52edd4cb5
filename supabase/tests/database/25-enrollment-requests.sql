begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press'), tests.unit('north', 'works'), tests.unit('south', 'works');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'), tests.member('marco', 'works', 'unit_manager', 'north', 'north'), tests.member('ines', 'works', 'instructor'),
  tests.member('ivan', 'works', 'instructor'), tests.member('dora', 'works', 'learner', 'north'), tests.member('sid', 'works', 'learner', 'south'), tests.member('eve', 'works', 'learner', 'north'), tests.member('finn', 'works', 'learner', 'north'),
  tests.member('petra', 'press', 'tenant_admin');
select tests.person('noah');
select tests.course('free', 'works', 'ines', 1), tests.course('asked', 'works', 'ines', 1), tests.course('small', 'works', 'ines', 1), tests.course('secret', 'works', 'ines', 1, 'private'), tests.course('open', 'works', 'ines', 1, 'public'), tests.course('novel', 'press', 'petra', 1);
update lms.courses set self_enrollment = 'approval' where slug in ('asked', 'open');
update lms.courses set capacity = 1 where slug = 'small';

create function tests.request(who text, course text) returns text language plpgsql as $$
declare
  v_result text;
begin
  perform tests.be(who);
  v_result := tests.error_of(format('select lms.request_enrollment(%L)', tests.id(course)));
  perform tests.as_owner();
  if v_result <> 'none' then
    return v_result;
  end if;
  return (select r.status from lms.enrollment_requests r where r.user_id = tests.id(who) and r.course_id = tests.id(course) order by r.requested_at desc, r.id desc limit 1);
end
$$;
create function tests.request_of(who text, course text) returns uuid language sql as $$
  select r.id from lms.enrollment_requests r where r.user_id = tests.id(who) and r.course_id = tests.id(course) order by r.id desc limit 1
$$;
create function tests.decide(who text, learner text, course text, approve boolean) returns text language plpgsql as $$
declare
  v_result text;
begin
  perform tests.be(who);
  v_result := tests.error_of(format('select lms.decide_enrollment_request(%L, %L, %L)', tests.request_of(learner, course), approve, 'Because'));
  perform tests.as_owner();
  if v_result <> 'none' then
    return v_result;
  end if;
  return (select r.status from lms.enrollment_requests r where r.id = tests.request_of(learner, course));
end
$$;
-- Requests of one moment are told apart by their ids.
create function tests.queue(course text) returns text language sql as $$
  select coalesce(string_agg(p.display_name, ' ' order by r.requested_at, r.id), '')
  from lms.enrollment_requests r join public.profiles p on p.id = r.user_id where r.course_id = tests.id(course) and r.status = 'waiting'
$$;
create function tests.taking(course text) returns text language sql as $$
  select coalesce(string_agg(p.display_name, ' ' order by p.display_name), '')
  from lms.enrollments e join public.profiles p on p.id = e.user_id where e.course_id = tests.id(course) and e.status in ('enrolled', 'in_progress', 'paused')
$$;
savepoint clean;

-- =====================================================================================================
-- Asking
-- =====================================================================================================

select is(tests.request(who, course), expected, format('%s asks for %s: %s', who, course, expected))
from (values
  ('dora', 'free', 'enrolled'), ('dora', 'asked', 'pending'), ('dora', 'asked', 'pending'), ('dora', 'small', 'enrolled'), ('sid', 'small', 'waiting'), ('eve', 'small', 'waiting'), ('sid', 'small', 'waiting'), ('noah', 'open', 'pending'),
  ('dora', 'secret', '404 course_not_found'), ('dora', 'novel', '404 course_not_found'), ('noah', 'free', '404 course_not_found'), ('dora', 'free', '409 not_eligible'), ('anonymous', 'free', '42501')
) as cases (who, course, expected);
select is((select count(*) from lms.enrollment_requests where user_id = tests.id('dora') and course_id = tests.id('asked')), 1::bigint, 'asking twice is one request');
update lms.courses set price = 5 where slug = 'asked';
select is(tests.request('eve', 'asked'), '409 not_eligible', 'approval does not stand for payment');
rollback to clean;

-- =====================================================================================================
-- Approval
-- =====================================================================================================

select is(tests.request('dora', 'asked'), 'pending', 'somebody asks');
select is(tests.request('marco', 'asked'), 'pending', 'a manager, too');
select is(tests.sees_as(who, 'lms.enrollment_requests'), expected, format('%s sees %s requests', who, expected))
from (values ('dora', '1'), ('sid', '0'), ('ines', '2'), ('ivan', '0'), ('marco', '2'), ('hanna', '2'), ('boss', '2'), ('petra', '0'), ('anonymous', '42501')) as cases (who, expected);
select is(tests.decide('marco', 'marco', 'asked', true), '403 own_request', 'nobody lets themselves in');
select is(tests.try('dora', format('select lms.decide_enrollment_request(%L, true)', tests.request_of('dora', 'asked'))), '403 own_request', '... least of all a learner');
select is(tests.try(who, format('select lms.decide_enrollment_request(%L, true)', tests.request_of('dora', 'asked'))), expected, format('%s decides: %s', who, expected))
from (values ('ines', '1'), ('marco', '1'), ('hanna', '1'), ('ivan', '404 request_not_found'), ('sid', '404 request_not_found'), ('petra', '404 request_not_found'), ('anonymous', '42501')) as cases (who, expected);
select is(tests.decide('ines', 'dora', 'asked', null), '422 decision_required', 'a decision is true or false');
select is(tests.decide('ines', 'dora', 'asked', true), 'enrolled', 'staff lets them in');
select is((select (e.source, e.enrolled_by)::text from lms.enrollments e where e.user_id = tests.id('dora')), ('assigned', tests.id('ines'))::text, '... and has done so');
select is(tests.decide('ines', 'dora', 'asked', false), '409 request_is_closed', 'what is decided is decided');
select is(tests.decide('ines', 'marco', 'asked', false), 'declined', 'staff declines');
select is(tests.taking('asked'), 'Dora', '... and nobody is enrolled by that');
select is(tests.request('marco', 'asked'), 'pending', 'they may ask again');
select is(tests.try(who, format('select lms.withdraw_enrollment_request(%L)', tests.request_of('marco', 'asked'))), expected, format('%s withdraws it: %s', who, expected))
from (values ('marco', '1'), ('ines', '42501'), ('boss', '42501'), ('dora', '404 request_not_found')) as cases (who, expected);
select is(tests.try('dora', statement), '42501', left(statement, 40))
from unnest(array['insert into lms.enrollment_requests (status) values (''waiting'')', 'update lms.enrollment_requests set requested_at = ''2000-01-01''', 'delete from lms.enrollment_requests']) as statement;

select is(tests.request('noah', 'open'), 'pending', 'a stranger asks for a public course');
select is(tests.sees_as('ines', 'lms.people', format('id = %L', tests.id('noah'))), '1', 'who decides sees who asks');
select is(tests.sees_as('ivan', 'lms.people', format('id = %L', tests.id('noah'))), '0', '... and nobody else');
select is(tests.decide('marco', 'noah', 'open', true), '404 request_not_found', 'who belongs to no unit is not for its manager');
select is(tests.decide('ines', 'noah', 'open', true), 'enrolled', 'staff lets them in');
select is((select (is_guest, status)::text from lms.memberships where user_id = tests.id('noah')), '(t,active)', '... as a guest');
update lms.memberships set status = 'suspended' where user_id = tests.id('eve');
select is(tests.request('eve', 'asked'), '404 course_not_found', 'INV-T4: a suspended member asks for nothing');
rollback to clean;

-- =====================================================================================================
-- Seats
-- =====================================================================================================

select is(tests.request('dora', 'small'), 'enrolled', 'the only seat is taken');
select is(tests.request('sid', 'small') || tests.request('eve', 'small') || tests.request('finn', 'small'), 'waitingwaitingwaiting', 'three wait');
update lms.enrollment_requests set requested_at = now() - case user_id when tests.id('sid') then interval '3 minutes' when tests.id('eve') then interval '2 minutes' else interval '1 minute' end where status = 'waiting';
select is((ops.run_job('fill-free-seats')).rows_done, 0::bigint, 'there is nothing to give');
update lms.enrollments set status = 'dropped' where user_id = tests.id('dora');
select is(tests.request('dora', 'small'), 'waiting', 'whoever left goes to the end of the queue');
select tests.as('dora');
select is(tests.reasons_of(format('select lms.enroll(%L)', tests.id('small'))), '{capacity_full}', 'INV-E4: nobody takes a seat that others wait for');
select tests.as('eve');
select is(tests.reasons_of(format('select lms.enroll(%L)', tests.id('small'))), '{capacity_full}', '... not before their turn');
select tests.as('sid');
select is(tests.error_of(format('select lms.enroll(%L)', tests.id('small'))), 'none', 'whose turn it is may take it');
select tests.as_owner();
select is(tests.queue('small'), 'Eve Finn Dora', '... and waits no longer');
update lms.courses set capacity = 3 where slug = 'small';
select is((ops.run_job('fill-free-seats')).rows_done, 2::bigint, 'INV-O4: more seats are given out');
select is(tests.taking('small') || ' | ' || tests.queue('small'), 'Eve Finn Sid | Dora', '... in order');
select is((ops.run_job('fill-free-seats')).rows_done, 0::bigint, 'INV-O1: a second run changes nothing');
update lms.courses set capacity = null where slug = 'small';
update lms.memberships set status = 'suspended' where user_id = tests.id('dora');
select is((ops.run_job('fill-free-seats')).rows_done, 1::bigint, 'whoever may no longer begin');
select is((select (status, decision_reason)::text from lms.enrollment_requests where user_id = tests.id('dora') and status = 'declined'), '(declined,"The membership is suspended.")', '... loses their place, and is told why');
rollback to clean;

-- A stranger waits as well.
update lms.courses set self_enrollment = 'open', capacity = 1 where slug = 'open';
select is(tests.request('dora', 'open') || ' ' || tests.request('noah', 'open'), 'enrolled waiting', 'a stranger waits for a seat in a public course');
update lms.enrollments set status = 'dropped' where user_id = tests.id('dora');
select is((ops.run_job('fill-free-seats')).rows_done, 1::bigint, '... and gets it');
select is((select is_guest from lms.memberships where user_id = tests.id('noah')), true, '... as a guest');
rollback to clean;

-- Approved while all is taken.
update lms.courses set capacity = 1 where slug = 'asked';
select is(tests.request('dora', 'asked') || tests.request('sid', 'asked') || tests.request('eve', 'asked'), 'pendingpendingpending', 'three ask for one seat');
update lms.enrollment_requests set requested_at = now() - case user_id when tests.id('dora') then interval '3 minutes' when tests.id('sid') then interval '2 minutes' else interval '1 minute' end;
select is(tests.decide('ines', 'eve', 'asked', true), 'enrolled', 'the one who is approved first gets it');
select is(tests.decide('ines', 'sid', 'asked', true), 'waiting', 'the next one waits');
select is(tests.decide('ines', 'dora', 'asked', true), 'waiting', 'and the next');
select is(tests.queue('asked'), 'Dora Sid', '... in the order of asking');
update lms.enrollments set status = 'dropped' where user_id = tests.id('eve');
select is((ops.run_job('fill-free-seats')).rows_done, 1::bigint, 'the seat becomes free');
select is(tests.taking('asked'), 'Dora', '... and goes to who asked first');

-- One call for both, or neither.
select tests.as('hanna');
select is((select (status, due_at)::text from lms.change_enrollment((select id from lms.enrollments where user_id = tests.id('dora') and status = 'enrolled'), 'paused', '2031-05-01Z', true)), ('paused', '2031-05-01Z'::timestamptz)::text, 'staff pauses and sets a date in one call');
select is(tests.error_of(format('select lms.change_enrollment(%L, %L, %L, true)', (select id from lms.enrollments where user_id = tests.id('dora')), 'gone', '2032-05-01Z')), '422 invalid_status', 'what fails');
select is((select due_at from lms.enrollments where user_id = tests.id('dora')), '2031-05-01Z'::timestamptz, '... changes nothing');
select is((lms.change_enrollment((select id from lms.enrollments where user_id = tests.id('dora')), null, null, true)).due_at, null, 'a date is taken away');
select tests.as('dora');
select is((lms.change_enrollment((select id from lms.enrollments where user_id = tests.id('dora')), 'resumed')).status, 'enrolled', 'a learner resumes');
select is(tests.error_of(format('select lms.change_enrollment(%L, null, %L, true)', (select id from lms.enrollments where user_id = tests.id('dora')), '2032-05-01Z')), '42501', '... and sets no dates');
select is(tests.error_of(format('select lms.change_enrollment(%L)', gen_random_uuid())), '404 enrollment_not_found', 'nor anything of what is not there');
select tests.as_owner();

select * from finish();
rollback;
