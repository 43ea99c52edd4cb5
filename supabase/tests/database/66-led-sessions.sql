begin;
\ir ../helpers.sql
select * from no_plan();

-- Led sessions: seats, attendance, sign-off, and what they complete.

select tests.tenant('works'), tests.tenant('press'), tests.unit('north', 'works'), tests.unit('south', 'works');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('marco', 'works', 'unit_manager', 'north', 'north'),
  tests.member('ines', 'works', 'instructor'), tests.member('iris', 'works', 'instructor'), tests.member('audit', 'works', 'auditor'),
  tests.member('dora', 'works', 'learner', 'north'), tests.member('nils', 'works', 'learner', 'north'), tests.member('sid', 'works', 'learner', 'south'),
  tests.member('petra', 'press', 'tenant_admin');
-- Lesson 1 by attendance, 2 by sign-off, 3 by the learner's word; 2 waits for 1.
select tests.course('forklift', 'works', 'ines', 3), tests.course('other', 'works', 'iris', 1), tests.course('novel', 'press', 'petra', 1);
update lms.lessons set completion_rule = 'attendance' where id = tests.id('forklift/1');
update lms.lessons set completion_rule = 'sign_off' where id = tests.id('forklift/2');
select results_eq(
  $$ select severity, code from private.find_course_faults(tests.id('forklift')) $$,
  $$ values ('warning', 'rule_without_session'), ('warning', 'rule_without_session') $$,
  'a lesson that completes by a session that is not planned yet is an oversight, no fault: sessions are planned later, too'
);
select tests.republish('forklift');
select
  tests.enrollment('dora', 'forklift'), tests.enrollment('nils', 'forklift'), tests.enrollment('sid', 'forklift'), tests.enrollment('ines', 'forklift'),
  tests.enrollment('marco', 'forklift'), tests.enrollment('dora', 'other');

create function tests.session(name text, course text, lesson text default null, seats integer default null, begins interval default '1 day', unit text default null)
returns uuid language sql as $$
  insert into lms.led_sessions (id, course_id, lesson_id, unit_id, title, starts_at, ends_at, seats)
  values (tests.id(name), tests.id(course), case when lesson is not null then tests.id(lesson) end, case when unit is not null then tests.id(unit) end, name, now() + begins, now() + begins + interval '2 hours', seats)
  returning id
$$;
create function tests.bookings(session text) returns text language sql as $$
  select coalesce(string_agg(split_part(u.email, '@', 1) || ' ' || b.status, ', ' order by b.booked_at, b.id), '-')
  from lms.session_bookings b join auth.users u on u.id = b.user_id where b.session_id = tests.id(session)
$$;
create function tests.booking(name text, session text) returns uuid language sql as $$
  select b.id from lms.session_bookings b where b.user_id = tests.id(name) and b.session_id = tests.id(session)
$$;
create function tests.rows(variadic pairs text[]) returns jsonb language sql as $$
  select jsonb_agg(jsonb_build_object('user_id', tests.id(split_part(p, ' ', 1)), 'status', split_part(p, ' ', 2))) from unnest(pairs) as p
$$;
create function tests.record(session text, variadic pairs text[]) returns text language sql as $$
  select format('select * from lms.record_attendance(%L, %L)', tests.id(session), tests.rows(variadic pairs))
$$;

-- =====================================================================================================
-- Planning
-- =====================================================================================================

create function tests.plan_for(unit text default null, course text default 'forklift') returns text language sql as $$
  select format(
    'insert into lms.led_sessions (course_id, unit_id, title, starts_at, ends_at) values (%L, %L, ''New'', now() + interval ''1 day'', now() + interval ''25 hours'')',
    tests.id(course), case when unit is not null then tests.id(unit) end
  )
$$;
select is(tests.try('ines', tests.plan_for()), '1', 'an instructor plans sessions of their own course');
select is(tests.try('iris', tests.plan_for()), '42501', 'an instructor of another course does not');
select is(tests.try('dora', tests.plan_for()), '42501', 'a learner does not');
select is(tests.try('marco', tests.plan_for('north')), '1', 'a manager does, for their unit');
select is(tests.try('marco', tests.plan_for('south')), '42501', 'and for no other');
select is(tests.try('marco', tests.plan_for()), '42501', 'nor for everybody');
select is(tests.try('petra', tests.plan_for()), '42501', 'nobody does in another tenant');
select is(
  tests.error_of(format('insert into lms.led_sessions (course_id, lesson_id, title, starts_at, ends_at) values (%L, %L, ''x'', now(), now() + interval ''1 hour'')', tests.id('forklift'), tests.id('other/1'))),
  '23503 session_lesson_is_of_the_same_course', 'a session is of a lesson of its course'
);
select is(
  tests.error_of(format('insert into lms.led_sessions (course_id, trainer_id, title, starts_at, ends_at) values (%L, %L, ''x'', now(), now() + interval ''1 hour'')', tests.id('forklift'), tests.id('petra'))),
  '23503 session_trainer_is_a_member', 'INV-T1: a trainer of ours is a member'
);
select is(
  tests.error_of(format('insert into lms.led_sessions (course_id, title, starts_at, ends_at) values (%L, ''x'', now(), ''infinity'')', tests.id('forklift'))),
  '23514 session_ends_within_31_days_after_it_begins', 'a session ends'
);

-- =====================================================================================================
-- Seats
-- =====================================================================================================

select tests.session('basics', 'forklift', 'forklift/1', 1);
select tests.as('dora');
select is((lms.book_session(tests.id('basics'))).status, 'booked', 'INV-E4: the seat goes to who asks first');
select is((lms.book_session(tests.id('basics'))).status, 'booked', 'asking again changes nothing');
select tests.as('nils');
select is((lms.book_session(tests.id('basics'))).status, 'waitlisted', 'then people wait');
select tests.as('sid');
select is((lms.book_session(tests.id('basics'))).status, 'waitlisted', 'one after the other');
select tests.as_owner();
select is(tests.try('audit', format('select lms.book_session(%L)', tests.id('basics'))), '409 not_enrolled', 'who does not take the course has no seat in it');
select is(tests.try('petra', format('select lms.book_session(%L)', tests.id('basics'))), '404 session_not_found', 'a session of another tenant does not exist');
select is(tests.try('dora', format('select lms.book_session(%L, %L)', tests.id('basics'), tests.id('nils'))), '42501', 'learners book for nobody else');
select is(tests.try('marco', format('select lms.book_session(%L, %L)', tests.id('basics'), tests.id('sid'))), '42501', 'nor managers for people of other units');
select is(tests.try('marco', format('select lms.book_session(%L, %L)', tests.id('basics'), tests.id('nils'))), '1', 'but for their own');
select is(tests.error_of(format('update lms.led_sessions set seats = 0 where id = %L', tests.id('basics'))), '409 seats_are_taken', 'no seat is taken away');
select is(tests.try('nils', format('select lms.cancel_booking(%L)', tests.booking('dora', 'basics'))), '404 booking_not_found', 'a seat of somebody else is not seen');
select is(tests.try('iris', format('select lms.cancel_booking(%L)', tests.booking('dora', 'basics'))), '404 booking_not_found', 'by staff of another course neither');
select is(tests.try('audit', format('select lms.cancel_booking(%L)', tests.booking('dora', 'basics'))), '42501', 'an auditor sees it and leaves it');
savepoint before_cancelling;
select tests.as('dora');
select is((lms.cancel_booking(tests.booking('dora', 'basics'))).status, 'cancelled', 'a seat is given back');
select is((lms.cancel_booking(tests.booking('dora', 'basics'))).status, 'cancelled', 'once');
select is((lms.book_session(tests.id('basics'))).status, 'waitlisted', 'who comes back is at the end of the queue');
select tests.as_owner();
select is(tests.bookings('basics'), 'nils booked, sid waitlisted, dora waitlisted', 'it went to who had waited longest');
update lms.led_sessions set seats = 2 where id = tests.id('basics');
select is(tests.bookings('basics'), 'nils booked, sid booked, dora waitlisted', 'one more seat lets one more in');
rollback to before_cancelling;
update lms.enrollments set status = 'dropped' where id = tests.id('dora takes forklift');
select tests.as('ines');
select is((lms.book_session(tests.id('basics'))).status, 'waitlisted', 'a seat whose cycle has ended is free: for who waits, not for who comes now');
select tests.as_owner();
select is(tests.bookings('basics'), 'dora booked, nils booked, sid waitlisted, ines waitlisted', 'and they got it');
update lms.enrollments set status = 'paused' where id = tests.id('nils takes forklift');
select is(ops.fill_session_seats(), 0, 'a pause keeps the seat');
update lms.enrollments set status = 'dropped' where id = tests.id('nils takes forklift');
select is(ops.fill_session_seats(), 1, 'INV-O4: the job gives out what became free');
select is(ops.fill_session_seats(), 0, 'INV-O1: once');
rollback to before_cancelling;
update lms.memberships set status = 'suspended' where id = tests.id('sid in works');
select is(tests.try('sid', format('select lms.book_session(%L)', tests.id('basics'))), '404 session_not_found', 'INV-T4: who is suspended books nothing');
update lms.memberships set status = 'active' where id = tests.id('sid in works');
select is(tests.try('ines', format('select lms.cancel_session(%L, '' '')', tests.id('basics'))), '422 invalid_reason', 'calling off takes a reason');
select is(tests.try('dora', format('select lms.cancel_session(%L, ''x'')', tests.id('basics'))), '42501', 'and the right to');
select is(tests.try('marco', format('select lms.cancel_session(%L, ''x'')', tests.id('basics'))), '42501', 'which a manager does not have for the session of all');
select tests.as('ines');
select is((lms.cancel_session(tests.id('basics'), 'The hall is closed')).status, 'cancelled', 'a session is called off');
select is((lms.cancel_session(tests.id('basics'), 'Again')).cancel_reason, 'The hall is closed', 'once');
select tests.as_owner();
select is(tests.bookings('basics'), 'dora cancelled, nils cancelled, sid cancelled', 'with its bookings');
select is(tests.try('dora', format('select lms.book_session(%L)', tests.id('basics'))), '409 session_cancelled', 'and is booked no more');
rollback to before_cancelling;

-- =====================================================================================================
-- Attendance
-- =====================================================================================================

select is(tests.try('ines', tests.record('basics', 'dora attended')), '409 session_not_begun', 'nobody was at what has not begun');
update lms.led_sessions set starts_at = now() - interval '1 hour', ends_at = now() + interval '1 hour' where id = tests.id('basics');
select is(tests.try('sid', format('select lms.book_session(%L)', tests.id('basics'))), '409 session_over', 'what has begun is not booked');
select is(tests.try('dora', format('select lms.cancel_booking(%L)', tests.booking('dora', 'basics'))), '409 session_over', 'nor cancelled by who is about to be absent');
select is(tests.try('dora', format('select lms.complete_lesson(%L)', tests.id('forklift/1'))), '409 evidence_required', 'INV-P3: nobody claims to have been there');
select is(tests.try('dora', tests.record('basics', 'dora attended')), '42501', 'nor records it');
select is(tests.try('ines', tests.record('basics', 'ines attended')), '403 own_attendance', 'the trainer neither, for themselves');
select is(tests.try('boss', tests.record('basics', 'boss attended')), '403 own_attendance', 'an administrator neither');
select is(tests.try('iris', tests.record('basics', 'dora attended')), '404 session_not_found', 'an instructor of another course does not see it');
select is(tests.try('marco', tests.record('basics', 'dora attended')), '42501', 'a manager records in sessions of their unit');
select is(tests.try('ines', tests.record('basics', 'iris attended')), '422 invalid_rows', 'of people who take the course');
select is(tests.try('ines', tests.record('basics', 'dora attended', 'dora absent')), '422 invalid_rows', 'each once');
select is(tests.try('ines', tests.record('basics', 'dora late')), '422 invalid_rows', 'as there or not');
select is(tests.try('ines', format('select * from lms.record_attendance(%L, ''{}'')', tests.id('basics'))), '422 invalid_rows', 'in a list');
select tests.as('ines');
select is((select count(*) from lms.record_attendance(tests.id('basics'), tests.rows('dora attended', 'nils absent', 'sid attended'))), 3::bigint, 'the trainer records, also who came without a seat');
select tests.as_owner();
select is(tests.bookings('basics'), 'dora attended, nils absent, sid attended', 'all of it');
select is((select s.status from lms.led_sessions s where s.id = tests.id('basics')), 'held', 'the session was held');
select is(tests.standing('dora', 'forklift') || ', ' || tests.standing('nils', 'forklift'), 'in_progress 1/3 33.33, enrolled 0/3 0.00', 'being there completes the lesson, being absent does not');
select is(tests.try('ines', format('select lms.cancel_session(%L, ''x'')', tests.id('basics'))), '409 session_over', 'what was held is not called off');
select is(tests.try('ines', format('update lms.led_sessions set starts_at = now() + interval ''1 day'', ends_at = now() + interval ''2 days'' where id = %L', tests.id('basics'))), '409 session_not_scheduled', 'nor moved');
select is(tests.try('ines', tests.record('basics', 'dora absent')), '422 invalid_reason', 'what was recorded is changed with a reason');
select tests.as('ines');
select is((lms.record_attendance(tests.id('basics'), tests.rows('dora absent'), 'Mixed up')).status, 'absent', 'and with one it is');
select tests.as_owner();
select is(tests.standing('dora', 'forklift'), 'in_progress 1/3 33.33', 'INV-P1: which takes back no completion silently');
select is((select b.change_reason from lms.session_bookings b where b.id = tests.booking('dora', 'basics')), 'Mixed up', 'the reason is kept');
select tests.as('boss');
select is((lms.correct_progress(tests.id('dora takes forklift'), tests.id('forklift/1'), 0, 'Was not there')).lesson_percentage, 0.0, 'staff takes it back, on record');
select tests.as_owner();
select is(ops.settle_attendance(), 0, 'where it stays taken back');
select is(tests.try('dora', format('select lms.complete_lesson(%L)', tests.id('forklift/1'))), '409 evidence_required', 'and is not claimed');

-- A session of a unit, run by its manager.
select tests.session('north day', 'forklift', 'forklift/1', null, '-1 hour', 'north');
select is(tests.try('marco', tests.record('north day', 'sid attended')), '422 invalid_rows', 'a manager records nothing of people elsewhere');
select is(tests.try('marco', tests.record('north day', 'marco attended')), '403 own_attendance', 'nor of themselves');
select is(tests.try('marco', tests.record('north day', 'nils attended')), '1', 'but of the people of the unit');

-- =====================================================================================================
-- Sign-off
-- =====================================================================================================

select tests.session('practice', 'forklift', 'forklift/2', null, '-1 hour');
insert into lms.lesson_prerequisites (lesson_id, prerequisite_lesson_id) values (tests.id('forklift/2'), tests.id('forklift/1'));
select tests.republish('forklift');
select tests.as('boss');
select lms.migrate_enrollments(tests.id('forklift'), 'move');
select tests.as('ines');
select lives_ok(tests.record('practice', 'sid attended', 'dora attended', 'nils absent', 'marco attended'), 'people come to practise');
select is(tests.error_of(format('select lms.sign_off(%L)', tests.booking('nils', 'practice'))), '409 not_attended', 'who was not there is not signed off');
select is((lms.sign_off(tests.booking('sid', 'practice'), 'Stacks safely')).signed_off_by, tests.id('ines'), 'the trainer signs, in their own name');
select is((lms.sign_off(tests.booking('sid', 'practice'), 'Twice')).sign_off_note, 'Stacks safely', 'once');
select tests.as_owner();
select is(tests.standing('sid', 'forklift'), 'in_progress 2/3 66.66', 'which completes the lesson');
select is(tests.try('marco', format('select lms.sign_off(%L)', tests.booking('marco', 'practice'))), '403 own_sign_off', 'nobody signs themselves off');
select is(tests.try('marco', format('select lms.sign_off(%L)', tests.booking('dora', 'practice'))), '42501', 'a manager does not in the session of all');
select is(tests.try('iris', format('select lms.sign_off(%L)', tests.booking('dora', 'practice'))), '404 booking_not_found', 'staff of another course does not see it');
select is(tests.try('audit', format('select lms.sign_off(%L)', tests.booking('dora', 'practice'))), '42501', 'an auditor only looks');
select is(tests.try('ines', tests.record('practice', 'sid absent')), '422 invalid_reason', 'without a reason not');
select is(tests.try('ines', format('select * from lms.record_attendance(%L, %L, ''x'')', tests.id('practice'), tests.rows('sid absent'))), '409 signed_off', 'and who was signed off was there');
select tests.as('ines');
select is((lms.withdraw_sign_off(tests.booking('sid', 'practice'), 'Wrong person')).signed_off_at, null, 'a sign-off is taken back, with a reason');
select is((lms.sign_off(tests.booking('dora', 'practice'))).signed_off_by, tests.id('ines'), 'dora is signed off before she has done what comes first');
select tests.as_owner();
select is(tests.standing('sid', 'forklift'), 'in_progress 2/3 66.66', 'INV-P1: what it completed stays');
select is(tests.standing('dora', 'forklift'), 'in_progress 0/3 0.00', 'INV-P4: of a lesson that is not open it does not count yet');
select tests.as('boss');
select lms.correct_progress(tests.id('dora takes forklift'), tests.id('forklift/1'), 100, 'Was there after all');
select tests.as_owner();
select is(ops.settle_attendance(), 1, 'INV-O4: it counts when the lesson opens');
select is(tests.standing('dora', 'forklift'), 'in_progress 2/3 66.66', 'by the job');
select is(ops.settle_attendance(), 0, 'INV-O1: once');

update lms.session_bookings set recorded_at = now() - interval '1 hour' where user_id = tests.id('sid');
select tests.as('boss');
select lms.correct_progress(tests.id('sid takes forklift'), tests.id('forklift/1'), 0, 'Slept');
select tests.as_owner();
select is(ops.settle_attendance(), 0, 'what staff has taken back since stays taken back');
update lms.session_bookings set recorded_at = now() + interval '1 second' where user_id = tests.id('sid');
select is(ops.settle_attendance(), 1, 'until he was at another session');

-- Nobody writes by hand.
select is(tests.try('dora', $$ update lms.session_bookings set status = 'attended' where user_id = tests.id('dora') $$), '42501', 'learners do not mark themselves');
select is(tests.try('boss', $$ update lms.session_bookings set signed_off_at = now() $$), '42501', 'administrators neither');
select is(tests.try('boss', $$ update lms.led_sessions set status = 'held' $$), '42501', 'nor set the status');
select is(tests.sees_as('petra', 'lms.led_sessions') || ' ' || tests.sees_as('petra', 'lms.session_bookings'), '0 0', 'another tenant sees nothing');

select * from finish();
rollback;
