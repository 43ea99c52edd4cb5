begin;
\ir ../helpers.sql
select * from no_plan();

-- Training taken elsewhere: handed in, looked at by somebody else, and counted as of when it was taken.

select tests.tenant('works'), tests.tenant('press'), tests.unit('north', 'works'), tests.unit('south', 'works');
update lms.tenants set time_zone = 'America/Denver' where id = tests.id('works');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('marco', 'works', 'unit_manager', 'north', 'north'),
  tests.member('ines', 'works', 'instructor'), tests.member('iris', 'works', 'instructor'), tests.member('audit', 'works', 'auditor'),
  tests.member('dora', 'works', 'learner', 'north'), tests.member('sid', 'works', 'learner', 'south'), tests.member('petra', 'press', 'tenant_admin');
select tests.course('hazmat', 'works', 'ines', 2), tests.course('raw', 'works', 'ines', 1, 'restricted', 'draft'), tests.course('novel', 'press', 'petra', 1);
update lms.courses set certificate_validity_months = 36 where id = tests.id('hazmat');

create function tests.submit(taken date, more text default '', course text default 'hazmat') returns text language sql as $$
  select format('select * from lms.submit_outside_training(%L, ''Road School'', %L%s)', tests.id(course), taken, more)
$$;
create function tests.for_person(name text) returns text language sql as $$ select format(', %L', tests.id(name)) $$;
create function tests.today() returns date language sql as $$ select (now() at time zone 'America/Denver')::date $$;
create function tests.last_of(name text) returns uuid language sql as $$
  select o.id from lms.outside_training o where o.user_id = tests.id(name) order by o.id desc limit 1
$$;
create function tests.review(name text, accept boolean, reason text default null, ends boolean default false) returns text language sql as $$
  select format('select * from lms.review_outside_training(%L, %L, %L, %L)', tests.last_of(name), accept, reason, ends)
$$;
create function tests.cycles(name text, course text default 'hazmat') returns text language sql as $$
  select coalesce(string_agg(concat_ws(' ', e.status, e.source, (e.completed_at at time zone 'America/Denver')::date), ', ' order by e.cycle), '-')
  from lms.enrollments e where e.user_id = tests.id(name) and e.course_id = tests.id(course)
$$;

-- =====================================================================================================
-- Handing in
-- =====================================================================================================

select is(tests.try('dora', tests.submit(tests.today())), '1', 'what was taken today can be handed in');
select is(tests.try('dora', tests.submit(tests.today() + 1)), '422 taken_in_the_future', 'what will be taken cannot');
select is(tests.try('dora', tests.submit('1812-06-24')), '23514 taken_on_is_a_day_of_calendars', 'nor what nobody alive has taken');
select is(tests.try('dora', tests.submit('-infinity')), '422 invalid_date', 'nor what was taken never');
select is(tests.try('dora', tests.submit('2001-05-01')), '1', 'older than the course itself is all right');
select is(tests.try('dora', tests.submit(tests.today(), '', 'novel')), '404 course_not_found', 'a course of another tenant does not exist');
select is(tests.try('dora', tests.submit(tests.today(), tests.for_person('sid'))), '404 person_not_found', 'learners hand in nothing for others');
select is(tests.try('marco', tests.submit(tests.today(), tests.for_person('sid'))), '404 person_not_found', 'nor managers for people elsewhere');
select is(tests.try('marco', tests.submit(tests.today(), tests.for_person('dora'))), '1', 'but for their own');
select is(tests.try('boss', tests.submit(tests.today(), tests.for_person('petra'))), '404 person_not_found', 'nobody for who is no member');
select is(tests.try('dora', tests.submit(tests.today(), ', p_document_path => ''x/y/z.pdf''')), '422 document_not_found', 'a document is there');
update lms.memberships set status = 'suspended' where id = tests.id('sid in works');
select is(tests.try('sid', tests.submit(tests.today())), '404 course_not_found', 'INV-T4: who is suspended hands in nothing');
update lms.memberships set status = 'active' where id = tests.id('sid in works');

-- Documents.
create function tests.path(name text, file text) returns text language sql as $$ select format('%s/%s/%s', tests.id('works'), tests.id(name), file) $$;
create function tests.upload(path text) returns text language sql as $$
  select format('insert into storage.objects (bucket_id, name, owner_id) values (''evidence'', %L, null)', path)
$$;
select is(tests.try('dora', tests.upload(tests.path('dora', 'a.pdf'))), '1', 'a document is filed in one''s own folder');
select is(tests.try('dora', tests.upload(tests.path('sid', 'a.pdf'))), '42501', 'in no other''s');
select is(tests.try('marco', tests.upload(tests.path('dora', 'a.pdf'))), '1', 'a manager files for the people of the unit');
select is(tests.try('marco', tests.upload(tests.path('sid', 'a.pdf'))), '42501', 'not for those of another');
select is(tests.try('petra', tests.upload(tests.path('dora', 'a.pdf'))), '42501', 'nobody from another tenant does');
select is(tests.try('dora', tests.upload(tests.path('dora', 'deep/a.pdf'))), '42501', 'nothing lies deeper');
select tests.as('dora');
select lives_ok(tests.upload(tests.path('dora', 'card.pdf')), 'dora files her card');
select tests.as('sid');
select lives_ok(tests.upload(tests.path('sid', 'card.pdf')), 'sid his');
select tests.as_owner();
select is(
  tests.try('sid', tests.submit(tests.today(), format(', p_document_path => %L', tests.path('dora', 'card.pdf')))),
  '422 document_not_found', 'nobody hands in what somebody else has filed'
);
select tests.as('dora');
select lives_ok(tests.submit(tests.today() - 10, format(', p_was_tested => true, p_document_path => %L', tests.path('dora', 'card.pdf'))), 'dora hands in her card');
select tests.as_owner();
select is(tests.try('dora', tests.submit(tests.today() - 10)), '409 training_was_submitted', 'the same training is handed in once');
select set_config('storage.allow_delete_query', 'true', true);
select is(tests.try('dora', format('delete from storage.objects where name = %L', tests.path('dora', 'card.pdf'))), '42501', 'what was handed in stays');
select is(tests.try('sid', format('delete from storage.objects where name = %L', tests.path('sid', 'card.pdf'))), '1', 'what was not can be taken back');
select is(tests.error_of($$ update storage.objects set version = '2' where bucket_id = 'evidence' $$), '42501', 'and nobody puts another document in its place');
select is(
  (select string_agg(n || ' ' || tests.sees_as(n, 'storage.objects', format('name = %L', tests.path('dora', 'card.pdf'))), ', ') from unnest(array['dora', 'marco', 'ines', 'audit', 'iris', 'sid', 'petra']) as n),
  'dora 1, marco 1, ines 1, audit 1, iris 0, sid 0, petra 0', 'a document is seen with what names it'
);

-- =====================================================================================================
-- Reviewing
-- =====================================================================================================

select is(tests.try('dora', tests.review('dora', true)), '403 own_evidence', 'nobody reviews their own');
select is(tests.try('sid', tests.review('dora', true)), '404 evidence_not_found', 'or sees that of others');
select is(tests.try('iris', tests.review('dora', true)), '404 evidence_not_found', 'staff of another course neither');
select is(tests.try('audit', tests.review('dora', true)), '42501', 'an auditor only looks');
select is(tests.try('petra', tests.review('dora', true)), '404 evidence_not_found', 'in another tenant it does not exist');
select is(tests.try('ines', tests.review('dora', false)), '422 invalid_reason', 'rejecting takes a reason');
select is(tests.try('ines', tests.review('dora', true)), '1', 'staff of the course accepts');
select is(tests.try('marco', tests.review('dora', true)), '1', 'or the manager of the unit');
savepoint handed_in;
select tests.as('marco');
select lives_ok(tests.submit(tests.today() - 20, tests.for_person('dora')), 'a manager hands in for somebody');
select tests.as_owner();
select is(tests.try('marco', tests.review('dora', true)), '403 own_evidence', 'and does not review what they handed in');
select is(tests.try('dora', tests.review('dora', true)), '403 own_evidence', 'nor does whom it is about');
select is(tests.error_of(format('update lms.outside_training set status = ''rejected'', reviewed_at = now(), review_reason = ''x'', reviewed_by = submitted_by where id = %L', tests.last_of('dora'))), '23514 nobody_reviews_what_is_their_own', 'whoever writes');
select is(tests.try('ines', format('select * from lms.withdraw_outside_training(%L)', tests.last_of('dora'))), '42501', 'a reviewer withdraws nothing');
select tests.as('dora');
select is((lms.withdraw_outside_training(tests.last_of('dora'))).status, 'withdrawn', 'whom it is about takes it back');
select is((lms.withdraw_outside_training(tests.last_of('dora'))).status, 'withdrawn', 'once');
select tests.as_owner();
select is(tests.try('ines', tests.review('dora', true)), '409 already_reviewed', 'what was withdrawn is not reviewed');
select tests.as('dora');
select lives_ok(tests.submit(tests.today() - 20), 'and it can be handed in anew');
select tests.as('ines');
select is((lms.review_outside_training(tests.last_of('dora'), false, 'Not legible')).review_reason, 'Not legible', 'it is rejected');
select is((lms.review_outside_training(tests.last_of('dora'), false, 'Again')).review_reason, 'Not legible', 'once');
select is(tests.error_of(format('select lms.review_outside_training(%L, true)', tests.last_of('dora'))), '409 already_reviewed', 'and not accepted after that');
select tests.as_owner();
select is(tests.try('dora', format('select * from lms.withdraw_outside_training(%L)', tests.last_of('dora'))), '409 already_reviewed', 'nor withdrawn');
select is(tests.try('dora', tests.submit(tests.today() - 20)), '1', 'something better is handed in');
select is(tests.cycles('dora'), '-', 'so far nothing was completed');
rollback to handed_in;

-- =====================================================================================================
-- What follows
-- =====================================================================================================

select tests.as('ines');
select is((lms.review_outside_training(tests.last_of('dora'), true)).status, 'accepted', 'it is accepted');
select is((lms.review_outside_training(tests.last_of('dora'), true)).reviewed_by, tests.id('ines'), 'once');
select tests.as_owner();
select is(tests.cycles('dora'), format('completed evidence %s', tests.today() - 10), 'INV-E5: a cycle was completed on the day when the training was taken');
select results_eq(
  $$ select e.cycle, e.unit_id, e.progress_percentage, e.enrolled_at = e.completed_at, e.enrolled_by = tests.id('ines') from lms.enrollments e where e.user_id = tests.id('dora') $$,
  $$ values (1, tests.id('north'), 100.00, true, true) $$, 'in full, in her unit'
);
select is((select (c.expires_at at time zone 'America/Denver')::date from lms.certificates c where c.user_id = tests.id('dora')), (tests.today() - 10 + interval '36 months')::date, 'its certificate holds from then on');
select is(tests.error_of(format('update lms.enrollments set status = ''in_progress'' where user_id = %L', tests.id('dora'))), '409 transition_not_allowed', 'INV-E1: it is not reopened');

-- Older training than what was completed changes nothing; newer one does.
select tests.as('dora');
select lives_ok(tests.submit(tests.today() - 400), 'dora finds an older card');
select tests.as('ines');
select is(tests.error_of(tests.review('dora', true)), '409 completed_later', 'which changes nothing any more');
select lives_ok(tests.review('dora', false, 'Superseded'), 'and is rejected');
select tests.as('dora');
select lives_ok(tests.submit(tests.today() - 1), 'and a newer one');
select tests.as_owner();

-- An open cycle.
savepoint open_cycle;
insert into lms.enrollments (course_id, user_id, source) values (tests.id('hazmat'), tests.id('dora'), 'rule');
select tests.as('ines');
select lives_ok(tests.review('dora', true), 'is ended when nobody has begun it');
select tests.as_owner();
select is(tests.cycles('dora'), format('completed evidence %s, dropped rule, completed evidence %s', tests.today() - 10, tests.today() - 1), 'INV-E1: and the completed one follows it');
select is((select count(*) from lms.certificates c where c.user_id = tests.id('dora') and c.renewed_by is not null), 1::bigint, 'its certificate renews the one before');
rollback to open_cycle;
select tests.enrollment('dora', 'hazmat');
insert into lms.lesson_progress (user_id, lesson_id, progress_percentage) values (tests.id('dora'), tests.id('hazmat/1'), 100);
select is(tests.try('ines', tests.review('dora', true)), '409 cycle_under_way', 'what she has begun is not thrown away in passing');
select tests.as('ines');
select lives_ok(tests.review('dora', true, null, true), 'but where the reviewer says so');
select tests.as_owner();
select is(tests.cycles('dora'), format('completed evidence %s, dropped self, completed evidence %s', tests.today() - 10, tests.today() - 1), 'it ends');
rollback to open_cycle;
update lms.memberships set status = 'ended', ended_at = now() where id = tests.id('dora in works');
select is(tests.try('ines', tests.review('dora', true)), '409 not_a_member', 'who has left completes nothing');
rollback to open_cycle;
select tests.as('ines');
select is(tests.error_of(tests.submit(tests.today(), tests.for_person('dora'), 'raw')), 'none', 'evidence for a draft may be handed in');
select tests.as_owner();
select is(tests.try('boss', tests.review('dora', true)), '409 not_published', 'and waits for its publication');

-- Under a rule that recurs, status and next cycle go by the day when it was taken.
rollback to open_cycle;
insert into lms.assignment_rules (id, tenant_id, name, unit_id, due_after_days, recurs_every_months, renewal_window_days)
values (tests.id('rule'), tests.id('works'), 'Rule', tests.id('south'), 14, 12, 30);
insert into lms.assignment_rule_courses (rule_id, course_id) values (tests.id('rule'), tests.id('hazmat'));
update lms.assignment_rules set status = 'active', activated_at = now() where id = tests.id('rule');
select ops.apply_assignment_rules();
select is(tests.cycles('sid'), 'enrolled rule', 'a rule enrols sid');
select tests.as('sid');
select lives_ok(tests.submit((tests.today() - interval '11 months 15 days')::date), 'who has been trained eleven months ago');
select tests.as('marco');
select is(tests.error_of(tests.review('sid', true)), '404 evidence_not_found', 'a manager of another unit does not see it');
select tests.as('ines');
select lives_ok(tests.review('sid', true), 'which is accepted');
select tests.as_owner();
select results_eq(
  $$ select s.state, (s.completed_at at time zone 'America/Denver')::date from lms.get_training_status(tests.id('works'), tests.id('sid')) s $$,
  $$ values ('expiring', (tests.today() - interval '11 months 15 days')::date) $$, 'it holds for two weeks more'
);
select ops.apply_assignment_marks();
select is(tests.cycles('sid'), format('dropped rule, completed evidence %s, enrolled rule', (tests.today() - interval '11 months 15 days')::date), 'INV-O4: and the next cycle is open already');

-- Nobody writes by hand, and nobody claims the source.
select is(tests.try('dora', $$ update lms.outside_training set status = 'accepted' $$), '42501', 'nobody accepts by hand');
select is(tests.try('dora', format('insert into lms.enrollments (course_id, user_id, source) values (%L, %L, ''evidence'')', tests.id('hazmat'), tests.id('dora'))), '42501', 'or claims the source');

select * from finish();
rollback;
