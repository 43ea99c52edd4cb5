begin;
\ir ../helpers.sql
select * from no_plan();

-- Attacks on sessions, evidence and training records, each of which went through once.

select tests.tenant('works'), tests.unit('north', 'works');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('marco', 'works', 'unit_manager', 'north', 'north'),
  tests.member('ines', 'works', 'instructor'), tests.member('iris', 'works', 'instructor'),
  tests.member('dora', 'works', 'learner', 'north'), tests.member('nils', 'works', 'learner', 'north'), tests.member('sid', 'works', 'learner', 'north');
-- One lesson by sign-off; of the other course one by attendance.
select tests.course('hazmat', 'works', 'ines', 1), tests.course('forklift', 'works', 'iris', 2);
update lms.lessons set completion_rule = 'sign_off' where id = tests.id('hazmat/1');
update lms.lessons set completion_rule = 'attendance' where id = tests.id('forklift/1');
select tests.republish('hazmat'), tests.republish('forklift');

create function tests.session(name text, course text, lesson text, seats integer default null, begins interval default '-1 hour') returns uuid language sql as $$
  insert into lms.led_sessions (id, course_id, lesson_id, title, starts_at, ends_at, seats)
  values (tests.id(name), tests.id(course), tests.id(lesson), name, now() + begins, now() + begins + interval '2 hours', seats)
  returning id
$$;
create function tests.booking(name text, session text) returns uuid language sql as $$
  select b.id from lms.session_bookings b where b.user_id = tests.id(name) and b.session_id = tests.id(session)
$$;
create function tests.attends(name text, session text) returns text language sql as $$
  select format('select * from lms.record_attendance(%L, %L)', tests.id(session), jsonb_build_array(jsonb_build_object('user_id', tests.id(name), 'status', 'attended')))
$$;

-- =====================================================================================================
-- Documents of others
-- =====================================================================================================

create function tests.path(name text, file text) returns text language sql as $$ select format('%s/%s/%s', tests.id('works'), tests.id(name), file) $$;
create function tests.hand_in(course text, person text, file text) returns text language sql as $$
  select format('select * from lms.submit_outside_training(%L, ''School'', current_date - 1, %L, p_document_path => %L)', tests.id(course), tests.id(person), tests.path(person, file))
$$;
select tests.as('dora');
insert into storage.objects (bucket_id, name) values ('evidence', tests.path('dora', 'card.pdf')), ('evidence', tests.path('dora', 'medical.pdf'));
select lives_ok(tests.hand_in('forklift', 'dora', 'card.pdf'), 'dora hands in a card for a course of iris''s');
select tests.as_owner();
select is(tests.sees_as('ines', 'storage.objects', $$ bucket_id = 'evidence' $$), '0', 'which ines does not see');
select is(tests.try('ines', tests.hand_in('hazmat', 'dora', 'card.pdf')), '422 document_not_found', 'nor by handing it in for her own course, in dora''s name');
select is(tests.try('ines', tests.hand_in('hazmat', 'dora', 'medical.pdf')), '422 document_not_found', 'nor what was never handed in');
select is(tests.try('marco', tests.hand_in('hazmat', 'dora', 'medical.pdf')), '1', 'who sees the folder names what is in it');
select is(tests.try('dora', tests.hand_in('hazmat', 'dora', 'card.pdf')), '1', 'so does whom it is about');

-- What the service has removed.
savepoint removed;
select set_config('storage.allow_delete_query', 'true', true);
delete from storage.objects where name = tests.path('dora', 'card.pdf');
select is(
  tests.try('dora', format('insert into storage.objects (bucket_id, name) values (''evidence'', %L)', tests.path('dora', 'card.pdf'))),
  '42501', 'no other document takes the place of one that was looked at'
);
rollback to removed;

-- =====================================================================================================
-- A sign-off that was withdrawn
-- =====================================================================================================

insert into lms.training_record_settings (course_id, trainer_address) values (tests.id('hazmat'), '1 Depot Road');
create function tests.record(name text) returns lms.training_records language sql as $$
  select private.current_record(e.id) from lms.enrollments e where e.user_id = tests.id(name) and e.course_id = tests.id('hazmat') order by e.cycle desc limit 1
$$;
select tests.enrollment('dora', 'hazmat'), tests.session('yard', 'hazmat', 'hazmat/1');
select tests.as('ines');
select lives_ok(tests.attends('dora', 'yard'), 'dora was there');
select lives_ok(format('select lms.sign_off(%L, ''Stacks safely'')', tests.booking('dora', 'yard')), 'and is signed off');
select tests.as_owner();
select is((tests.record('dora')).certifier_name, 'Ines', 'which certifies her');
savepoint signed;
select tests.as('ines');
select lives_ok(format('select lms.withdraw_sign_off(%L, ''Wrong person'')', tests.booking('dora', 'yard')), 'it was somebody else');
select tests.as_owner();
select results_eq(
  $$ select r.edition, r.tested_at, r.certified_at, r.certified_by, r.certification_text, r.missing, r.correction_reason from tests.record('dora') r $$,
  $$ values (2, null::timestamptz, null::timestamptz, null::uuid, null, array['tested_at', 'certified_at'], 'The sign-off was withdrawn.') $$,
  'the record goes on certifying nothing that nobody testifies to'
);
select is((select r.certifier_name from lms.training_records r where r.edition = 1), 'Ines', 'what it said before stays');
select is(tests.standing('dora', 'hazmat'), 'completed 1/1 100.00', 'INV-P1: and the completion');
select is(ops.write_training_records(), 0, 'INV-O1: once');
select tests.as('boss');
select lives_ok(format('select lms.sign_off(%L, ''Saw it myself'')', tests.booking('dora', 'yard')), 'who saw it signs');
select tests.as_owner();
select is((tests.record('dora')).certifier_name, 'Boss', 'which is filled in, in their name');
select is(ops.write_training_records(), 0, 'at once');
rollback to signed;

-- =====================================================================================================
-- Records of nobody
-- =====================================================================================================

savepoint nameless;
select tests.as('nils');
update public.profiles set first_name = '', last_name = '' where id = tests.id('nils');
select tests.as_owner();
insert into lms.enrollments (course_id, user_id, source, status, enrolled_at, completed_at, started_at, items_total, items_done)
values (tests.id('hazmat'), tests.id('nils'), 'import', 'completed', now(), now(), now(), 1, 1);
select is((tests.record('nils')).missing, array['employee_name', 'tested_at', 'certified_at'], '172.704(d)(1): who took their name away before completing is not recorded as if that were one');
create temporary table nameless as select (tests.record('nils')).id;
grant select on nameless to authenticated;
select tests.as('boss');
select lives_ok($$ select lms.correct_training_record(n.id, 'It was Nils', p_employee_name => 'Nils North') from nameless n $$, 'HR says who it was');
select tests.as_owner();
select is((tests.record('nils')).missing, array['tested_at', 'certified_at'], 'which the record then says');
rollback to nameless;

-- =====================================================================================================
-- A cycle that was over, with a seat
-- =====================================================================================================

select tests.enrollment('nils', 'forklift'), tests.session('hall', 'forklift', 'forklift/1', null, '1 day');
select tests.as('nils');
select lives_ok(format('select lms.book_session(%L)', tests.id('hall')), 'nils takes a seat');
select tests.as_owner();
insert into lms.lesson_progress (user_id, lesson_id, progress_percentage) values (tests.id('nils'), tests.id('forklift/1'), 100), (tests.id('nils'), tests.id('forklift/2'), 100);
insert into lms.enrollments (course_id, user_id, source) values (tests.id('forklift'), tests.id('nils'), 'rule');
select is(tests.standing('nils', 'forklift'), 'enrolled 0/2 0.00', 'has completed the course otherwise, and takes it again');
update lms.led_sessions set starts_at = now() - interval '1 hour', ends_at = now() + interval '1 hour' where id = tests.id('hall');
select tests.as('iris');
select lives_ok(tests.attends('nils', 'hall'), 'he comes');
select tests.as_owner();
select is(tests.standing('nils', 'forklift'), 'in_progress 1/2 50.00', 'which counts for the cycle that he takes now');

-- And a person has one seat.
savepoint seats;
insert into lms.led_sessions (id, course_id, title, starts_at, ends_at, seats) values (tests.id('two'), tests.id('forklift'), 'Two', now() + interval '1 day', now() + interval '2 days', 2);
select tests.as('nils');
select (lms.book_session(tests.id('two'))).status;
select tests.as_owner();
insert into lms.lesson_progress (user_id, lesson_id, progress_percentage) values (tests.id('nils'), tests.id('forklift/2'), 100);
insert into lms.enrollments (course_id, user_id, source) values (tests.id('forklift'), tests.id('nils'), 'rule');
select tests.as('nils');
select is((lms.book_session(tests.id('two'))).status, 'booked', 'nils, a third time, takes his seat for the cycle of now');
select tests.as_owner();
select tests.enrollment('sid', 'forklift');
select tests.as('sid');
select is((lms.book_session(tests.id('two'))).status, 'booked', 'and not that of sid as well');
select tests.as_owner();
insert into lms.lesson_progress (user_id, lesson_id, progress_percentage) values (tests.id('nils'), tests.id('forklift/1'), 100), (tests.id('nils'), tests.id('forklift/2'), 100);
insert into lms.enrollments (course_id, user_id, source) values (tests.id('forklift'), tests.id('nils'), 'rule');
select tests.as('nils');
select is((lms.book_session(tests.id('two'))).status, 'booked', 'a full session is not full for who has the seat');
select tests.as_owner();
rollback to seats;

-- A course that was deleted.
savepoint deleted;
select tests.session('never', 'forklift', 'forklift/1', null, '1 day');
select tests.enrollment('dora', 'forklift');
update lms.courses set deleted_at = now() where id = tests.id('forklift');
select is(tests.try('dora', format('select lms.book_session(%L)', tests.id('never'))), '404 session_not_found', 'nobody takes a seat in a course that is gone');
select is(tests.try('boss', format('select lms.book_session(%L, %L)', tests.id('never'), tests.id('dora'))), '404 session_not_found', 'nor gives one');
rollback to deleted;

-- =====================================================================================================
-- Claims
-- =====================================================================================================

-- Nothing that a client writes completes what a trainer has to say.
select tests.enrollment('dora', 'forklift');
select tests.as('dora');
insert into lms.lesson_progress (user_id, lesson_id, progress_percentage) values (tests.id('dora'), tests.id('forklift/1'), 0);
select tests.as_owner();
select results_eq(
  format(
    $$ select tests.try('dora', s) from unnest(array[
      'update lms.lesson_progress set progress_percentage = 100, completed_at = now() where lesson_id = ''%1$s''',
      'insert into lms.lesson_progress (user_id, lesson_id, progress_percentage, completed_at) values (''%2$s'', ''%1$s'', 100, now()) on conflict (enrollment_id, lesson_id) do update set progress_percentage = excluded.progress_percentage, completed_at = excluded.completed_at',
      'update lms.lesson_progress set progress_percentage = 99.9999999999 where lesson_id = ''%1$s''',
      'update lms.lesson_progress set progress_percentage = ''NaN'' where lesson_id = ''%1$s''',
      'select lms.correct_progress(''%3$s'', ''%1$s'', 100, ''x'')'
    ]) as s $$,
    tests.id('forklift/1'), tests.id('dora'), tests.id('dora takes forklift')
  ),
  $$ values ('409 evidence_required'), ('409 evidence_required'), ('409 evidence_required'), ('23514 percentage_is_between_0_and_100'), ('42501') $$,
  'INV-P3: no PATCH, no upsert, no correction of one''s own'
);

-- =====================================================================================================
-- Jobs that are kept busy
-- =====================================================================================================

-- A full session with people who wait, and after it one where a seat has become free.
select tests.enrollment('sid', 'forklift');
select tests.session('full', 'forklift', 'forklift/1', 1, '1 day'), tests.session('free', 'forklift', 'forklift/1', 1, '2 days');
select tests.as('dora');
select lms.book_session(tests.id('full'));
select tests.as('sid');
select lms.book_session(tests.id('full')), lms.book_session(tests.id('free'));
select tests.as('nils');
select lms.book_session(tests.id('free'));
select tests.as_owner();
update lms.enrollments set status = 'dropped' where user_id = tests.id('sid') and course_id = tests.id('forklift');
select tests.as('nils');
select lms.book_session(tests.id('full'));
select tests.as_owner();
select is(ops.fill_session_seats(1), 1, 'INV-O4: sessions without a free seat keep none from those that have one');

-- Records that lack what nobody will say, in a course whose settings were changed since.
insert into lms.enrollments (course_id, user_id, source, status, enrolled_at, completed_at, started_at, items_total, items_done)
select tests.id('hazmat'), tests.id(n), 'import', 'completed', now(), now(), now(), 1, 1 from unnest(array['nils', 'sid', 'boss', 'marco']) as n;
select is((select count(*) from lms.training_records r where r.missing <> '{}'), 4::bigint, 'four are neither tested nor certified');
alter table lms.training_record_settings disable trigger _100_timestamps;
update lms.training_record_settings set updated_at = now() + interval '1 second';
create table tests.looked_at (enrollment_id uuid);
alter function private.write_training_record rename to write_training_record_really;
create function private.write_training_record(p_enrollment lms.enrollments) returns boolean language plpgsql as $$
begin
  insert into tests.looked_at values (p_enrollment.id);
  return private.write_training_record_really(p_enrollment);
end
$$;
select is(ops.write_training_records(3), 0, 'nothing is to be added to them');
select is((select count(*) from tests.looked_at), 3::bigint, 'a run looks at no more than it was told to');
select is(ops.write_training_records(3), 0, 'the next one looks at others first');
select is((select count(distinct l.enrollment_id) from tests.looked_at l), 4::bigint, 'so that all have their turn');

-- Attendance of lessons that are not open.
insert into lms.lesson_prerequisites (lesson_id, prerequisite_lesson_id) values (tests.id('forklift/1'), tests.id('forklift/2'));
select tests.republish('forklift');
insert into lms.enrollments (course_id, user_id, source) values (tests.id('forklift'), tests.id('sid'), 'rule');
select tests.session('early', 'forklift', 'forklift/1');
select tests.as('iris');
select lives_ok(tests.attends('sid', 'early'), 'sid comes too early');
select tests.as_owner();
truncate tests.looked_at;
alter function private.settle_attendance_of rename to settle_attendance_of_really;
create function private.settle_attendance_of(p_enrollment_id uuid, p_lesson_id uuid) returns boolean language plpgsql as $$
begin
  insert into tests.looked_at values (p_enrollment_id);
  return private.settle_attendance_of_really(p_enrollment_id, p_lesson_id);
end
$$;
select is(ops.settle_attendance(), 0, 'INV-P4: which does not count yet');
select is((select count(*) from tests.looked_at), 0::bigint, 'and is not held by every run until it does');
insert into lms.lesson_progress (user_id, lesson_id, progress_percentage) values (tests.id('sid'), tests.id('forklift/2'), 100);
select is(ops.settle_attendance(), 1, 'then it counts');

select * from finish();
rollback;
