begin;
\ir ../helpers.sql
select * from no_plan();

-- Who is told of sessions and of training taken elsewhere.

select tests.tenant('works'), tests.unit('north', 'works');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('ines', 'works', 'instructor'), tests.member('dora', 'works', 'learner', 'north'),
  tests.member('nils', 'works', 'learner', 'north'), tests.member('sid', 'works', 'learner', 'north');
select tests.course('forklift', 'works', 'ines', 1);
select tests.enrollment('dora', 'forklift'), tests.enrollment('nils', 'forklift'), tests.enrollment('sid', 'forklift');
insert into lms.led_sessions (id, course_id, title, starts_at, ends_at, place_name, seats)
values (tests.id('day'), tests.id('forklift'), 'Day', now() + interval '1 day', now() + interval '26 hours', 'Hall 2', 1);

create function tests.told(who text) returns text language sql as $$
  select coalesce(string_agg(concat_ws(' ', n.kind, n.params ->> 'status', n.params ->> 'place'), ', ' order by n.id), '-')
  from lms.notifications n where n.user_id = tests.id(who) and n.kind in ('session_changed', 'evidence_submitted', 'evidence_decided')
$$;

select tests.as('dora');
select lms.book_session(tests.id('day'));
select tests.as('nils');
select lms.book_session(tests.id('day'));
select tests.as_owner();
select is(tests.told('dora') || tests.told('nils'), '--', 'whoever books knows');

update lms.led_sessions set title = 'The day' where id = tests.id('day');
select is(tests.told('dora') || tests.told('nils'), '--', 'another title is no news');
update lms.led_sessions set place_name = 'Hall 3' where id = tests.id('day');
update lms.led_sessions set place_name = 'Hall 3' where id = tests.id('day');
select is(tests.told('dora'), 'session_changed scheduled Hall 3', 'who is booked is told of another place, once');
select is(tests.told('nils'), 'session_changed scheduled Hall 3', 'and who waits');
select is(tests.told('sid'), '-', 'nobody else is');

select tests.as('dora');
select lms.cancel_booking((select id from lms.session_bookings where user_id = tests.id('dora')));
select tests.as_owner();
select ops.fill_session_seats();
select is(tests.told('nils'), 'session_changed scheduled Hall 3, session_changed booked Hall 3', 'who gets a seat that became free is told');
select is(tests.told('dora'), 'session_changed scheduled Hall 3', 'who gave it back is not');

select tests.as('ines');
select lms.cancel_session(tests.id('day'), 'The trainer is ill.');
select tests.as_owner();
select matches(tests.told('nils'), 'session_changed cancelled Hall 3$', 'who was booked is told that it is called off');
select is(tests.told('dora'), 'session_changed scheduled Hall 3', 'who had cancelled before is not')
where (select cancelled_at from lms.session_bookings where user_id = tests.id('dora')) <> now();

insert into lms.outside_training (id, tenant_id, course_id, user_id, provider_name, taken_on, submitted_by)
values (tests.id('proof'), tests.id('works'), tests.id('forklift'), tests.id('sid'), 'School', '2024-02-02', tests.id('sid'));
select is(tests.told('ines'), 'evidence_submitted', 'staff of the course is told of evidence that waits');
select is(tests.told('sid'), '-', 'who hands it in is not');
update lms.outside_training set status = 'rejected', reviewed_at = now(), reviewed_by = tests.id('ines'), review_reason = 'Too old.' where id = tests.id('proof');
select is(tests.told('sid'), 'evidence_decided rejected', 'but of what becomes of it');

select * from finish();
rollback;
