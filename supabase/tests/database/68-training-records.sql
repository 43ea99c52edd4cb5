begin;
\ir ../helpers.sql
select * from no_plan();

-- Training records: every field of 49 CFR 172.704(d), as it was, for as long as the law says.

select tests.tenant('works'), tests.tenant('press'), tests.unit('north', 'works'), tests.unit('south', 'works');
update lms.tenants set time_zone = 'America/Denver' where id = tests.id('works');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'), tests.member('marco', 'works', 'unit_manager', 'north', 'north'),
  tests.member('ines', 'works', 'instructor'), tests.member('iris', 'works', 'instructor'), tests.member('audit', 'works', 'auditor'),
  tests.member('dora', 'works', 'learner', 'north'), tests.member('sid', 'works', 'learner', 'south'), tests.member('nils', 'works', 'learner', 'north'),
  tests.member('petra', 'press', 'tenant_admin');
-- One lesson by the learner's word, one by sign-off.
select tests.course('hazmat', 'works', 'ines', 2), tests.course('plain', 'works', 'ines', 1), tests.course('novel', 'press', 'petra', 1);
update lms.lessons set completion_rule = 'sign_off' where id = tests.id('hazmat/2');
select tests.republish('hazmat');

create function tests.record(name text, course text default 'hazmat') returns lms.training_records language sql as $$
  select private.current_record(e.id) from lms.enrollments e where e.user_id = tests.id(name) and e.course_id = tests.id(course) order by e.cycle desc limit 1
$$;
create function tests.completes(name text) returns void language plpgsql as $$
begin
  insert into lms.lesson_progress (user_id, lesson_id, progress_percentage) values (tests.id(name), tests.id('hazmat/1'), 100), (tests.id(name), tests.id('hazmat/2'), 100);
end
$$;

-- =====================================================================================================
-- Settings
-- =====================================================================================================

create function tests.settings(course text) returns text language sql as $$
  select format('insert into lms.training_record_settings (course_id, trainer_address) values (%L, ''1 Depot Road'')', tests.id(course))
$$;
select is(tests.try('iris', tests.settings('hazmat')), '42501', 'staff of another course does not say what records print');
select is(tests.try('hanna', tests.settings('hazmat')), '42501', 'nor HR');
select is(tests.try('petra', tests.settings('hazmat')), '42501', 'nor another tenant');
select tests.as('ines');
select lives_ok(tests.settings('hazmat'), 'staff of the course does');
select tests.as_owner();
select is(tests.sees_as('dora', 'lms.training_record_settings') || tests.sees_as('hanna', 'lms.training_record_settings') || tests.sees_as('petra', 'lms.training_record_settings'), '010', 'learners need not know a trainer''s address');

-- =====================================================================================================
-- By sessions, with a sign-off
-- =====================================================================================================

select tests.enrollment('dora', 'hazmat'), tests.enrollment('sid', 'hazmat'), tests.enrollment('nils', 'hazmat'), tests.enrollment('nils', 'plain');
insert into lms.led_sessions (id, course_id, lesson_id, title, starts_at, ends_at, trainer_name, trainer_address, materials)
values (tests.id('day'), tests.id('hazmat'), tests.id('hazmat/2'), 'Day', now() - interval '2 hours', now() - interval '1 hour', 'Rosa Road', '7 Hill Street', 'Binder 12, training office');
select tests.as('dora');
select lms.complete_lesson(tests.id('hazmat/1'));
select tests.as('ines');
select count(*) from lms.record_attendance(tests.id('day'), jsonb_build_array(jsonb_build_object('user_id', tests.id('dora'), 'status', 'attended')));
select lms.sign_off(b.id, 'Loads and secures safely') from lms.session_bookings b where b.user_id = tests.id('dora');
select tests.as_owner();
select results_eq(
  $$
    select r.edition, r.employer_name, r.employee_name, r.completed_on, r.materials, r.trainer_name, r.trainer_address, r.tested_by, r.certification, r.certifier_name, r.certification_text, r.missing
    from tests.record('dora') r
  $$,
  $$
    values (1, 'Works', 'Dora', (now() at time zone 'America/Denver')::date, 'Binder 12, training office', 'Rosa Road', '7 Hill Street', 'sign_off', 'sign_off', 'Ines', 'Loads and secures safely', '{}'::text[])
  $$,
  '172.704(d): name, completion, materials, trainer with address, and who certifies that they were trained and tested'
);
select is((tests.record('nils', 'plain')).id, null, 'no record of a course that keeps none');

-- =====================================================================================================
-- What is missing, and is filled in
-- =====================================================================================================

select tests.completes('sid');
select results_eq(
  $$ select r.materials ~ 'Hazmat, version 2, kept in full under [0-9a-f]{64}', r.trainer_name, r.trainer_address, r.missing from tests.record('sid') r $$,
  $$ values (true, 'Ines', '1 Depot Road', array['tested_at', 'certified_at']) $$,
  'INV-P3: a completion is recorded also where something is not known, and the record says what'
);
select is(ops.write_training_records(), 0, 'nothing has become known');
create function tests.sign(signer text, learner text) returns void language plpgsql as $$
begin
  insert into lms.attestations (tenant_id, statement_id, enrollment_id, course_id, user_id, signed_by, signed_at, reauthenticated_at, document)
  select e.tenant_id, tests.id('statement'), e.id, e.course_id, e.user_id, tests.id(signer), clock_timestamp(), clock_timestamp(), '{}'
  from lms.enrollments e where e.user_id = tests.id(learner) and e.course_id = tests.id('hazmat') order by e.cycle desc limit 1;
end
$$;
insert into lms.attestation_statements (id, tenant_id, key, version, meaning, signer, language, body)
values (tests.id('statement'), tests.id('works'), 'trained', 1, 'trained', 'staff', 'en', 'Trained and tested as 49 CFR 172 subpart H requires.');
savepoint unsigned;
select tests.sign('sid', 'sid');
select is((tests.record('sid')).missing, array['tested_at', 'certified_at'], 'nobody certifies themselves');
rollback to unsigned;
select tests.sign('hanna', 'sid');
select results_eq(
  $$ select r.edition, r.certification, r.certifier_name, r.certification_text, r.missing, r.correction_reason from tests.record('sid') r $$,
  $$ values (2, 'attestation', 'Hanna', 'Trained and tested as 49 CFR 172 subpart H requires.', array['tested_at'], 'What was missing has become known.') $$,
  'a signature is filled in by the next edition, at once'
);
-- Where writing fails, the completion stands and the job catches up.
create function tests.fail() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
create trigger _050_fail before insert on lms.training_records for each row execute function tests.fail();
select tests.completes('nils');
select is(tests.standing('nils', 'hazmat'), 'completed 2/2 100.00', 'INV-P3: no record keeps a completion from being one');
select is((tests.record('nils')).id, null, 'without its record');
select is(ops.write_training_records(), 0, 'one that still fails stops no job');
drop trigger _050_fail on lms.training_records;
select is(ops.write_training_records(), 1, 'INV-O4: the job writes it later');
select is(ops.write_training_records(), 0, 'INV-O1: once');

-- =====================================================================================================
-- It stays as it was
-- =====================================================================================================

create function tests.snapshot() returns text language sql as $$ select md5(string_agg(r::text, '|' order by r.id)) from lms.training_records r $$;
create temporary table before as select tests.snapshot() as seal;
update lms.led_sessions set trainer_name = 'Somebody else', materials = 'Other' where id = tests.id('day');
update public.profiles set first_name = 'Dorothea' where id = tests.id('dora');
update lms.tenants set name = 'Works Inc' where id = tests.id('works');
update lms.courses set title = 'Renamed' where id = tests.id('hazmat');
select is(ops.write_training_records(), 0, 'what changes later changes no record');
select is(tests.snapshot(), (select seal from before), 'nothing of it');
select is(tests.error_of($$ update lms.training_records set employee_name = 'X' $$), '42501', 'whoever writes');
select is(tests.error_of($$ delete from lms.training_records $$), '42501', 'or removes');
select is(tests.error_of($$ truncate lms.training_records $$), '42501', 'or empties');
select is(tests.try('service', $$ delete from lms.training_records $$), '42501', 'the service neither');
select is(tests.try('boss', $$ update lms.training_records set employee_name = 'X' $$), '42501', 'nor an administrator');
delete from auth.users where id = tests.id('dora');
select is((select r.employee_name from lms.get_training_records(tests.id('works'), tests.id('dora')) r), 'Dora', 'without a login the name stays');
update public.profiles set first_name = 'Erased', last_name = '' where id = tests.id('dora');
select is((select r.employee_name from lms.get_training_records(tests.id('works'), tests.id('dora')) r), 'Dora', 'and when the person is erased');

-- =====================================================================================================
-- Corrections
-- =====================================================================================================

create function tests.correct(name text, more text default ', p_trainer_address => ''8 Hill Street''') returns text language sql as $$
  select format('select * from lms.correct_training_record(%L, ''Wrong street''%s)', (tests.record(name)).id, more)
$$;
select is(tests.try('audit', tests.correct('sid')), '42501', 'an auditor corrects nothing');
select is(tests.try('ines', tests.correct('sid')), '42501', 'nor the trainer');
select is(tests.try('marco', tests.correct('sid')), '404 record_not_found', 'a manager of another unit does not see it');
select is(tests.try('petra', tests.correct('sid')), '404 record_not_found', 'nor another tenant');
select is(tests.try('hanna', tests.correct('sid', '')), '422 nothing_to_correct', 'a correction corrects something');
select is(tests.try('hanna', format('select * from lms.correct_training_record(%L, '' '', ''X'')', (tests.record('sid')).id)), '422 invalid_reason', 'for a reason');
select is(tests.try('hanna', tests.correct('sid', ', p_materials => '' ''')), '23514 record_materials_are_1_to_6000_characters', 'with a value');
select tests.grant_role('sid', 'works', 'hr_admin');
select is(tests.try('sid', tests.correct('sid')), '403 own_record', 'nobody corrects their own');
create temporary table looked_at as select (tests.record('sid')).id;
grant select on looked_at to authenticated;
select tests.as('hanna');
select is((select r.trainer_address from lms.correct_training_record((select id from looked_at), 'Wrong street', p_trainer_address => '8 Hill Street') r), '8 Hill Street', 'HR corrects');
select is(tests.error_of($$ select lms.correct_training_record((select id from looked_at), 'Again', p_trainer_address => '9') $$), '409 record_replaced', 'what was looked at');
select tests.as_owner();
select results_eq(
  $$ select r.edition, r.trainer_address, r.corrected_by is not null, r.correction_reason from lms.training_records r where r.user_id = tests.id('sid') order by 1 $$,
  $$ values (1, '1 Depot Road', false, null), (2, '1 Depot Road', false, 'What was missing has become known.'), (3, '8 Hill Street', true, 'Wrong street') $$,
  'and each edition stays'
);

-- =====================================================================================================
-- Evidence
-- =====================================================================================================

select tests.member('emil', 'works', 'learner', 'north');
select tests.as('emil');
select (lms.submit_outside_training(tests.id('hazmat'), 'Road School', current_date - 30, p_provider_address => '3 Lane', p_was_tested => true, p_materials => 'Green book')).status;
select tests.as('ines');
select (lms.review_outside_training(o.id, true)).status from lms.outside_training o where o.user_id = tests.id('emil');
select tests.as_owner();
select results_eq(
  $$ select r.completed_on, r.materials, r.trainer_name, r.trainer_address, r.tested_by, r.certification, r.certifier_name, r.missing from tests.record('emil') r $$,
  $$ values (current_date - 30, 'Green book', 'Road School', '3 Lane', 'evidence', 'evidence', 'Ines', '{}'::text[]) $$,
  'of training taken elsewhere: who gave it, and who accepted it'
);

-- =====================================================================================================
-- How long
-- =====================================================================================================

select results_eq(
  $$ select r.kept_at_least_until, r.kept_until from lms.get_training_records(tests.id('works'), tests.id('emil')) r $$,
  $$ values ((current_date - 30 + interval '3 years')::date, null::date) $$, 'as long as somebody is employed there is no end'
);
update lms.memberships set status = 'ended', ended_at = now() where id = tests.id('emil in works');
select is((select r.kept_until from lms.get_training_records(tests.id('works'), tests.id('emil')) r), (current_date - 30 + interval '3 years')::date, 'then three years at least');
select is(ops.forget_training_records(), 0, 'nothing goes before its time');
update lms.memberships set ended_at = '2020-03-01 12:00-07' where id = tests.id('emil in works');
select is(ops.forget_training_records(), 0, 'nor when only one of the times is over');
savepoint long_ago;
select tests.member('olga', 'works', 'learner', 'north');
insert into lms.enrollments (course_id, user_id, source, status, enrolled_at, completed_at, started_at, items_total, items_done)
values (tests.id('hazmat'), tests.id('olga'), 'import', 'completed', '2015-01-01', '2015-02-01 12:00-07', '2015-01-01', 2, 2);
select is((tests.record('olga')).completed_on, '2015-02-01'::date, 'what was imported has its record');
select is(ops.forget_training_records(), 0, 'who is employed keeps what is ten years old');
update lms.memberships set status = 'ended', ended_at = '2026-01-31 12:00-07' where id = tests.id('olga in works');
select is((select r.kept_until from lms.get_training_records(tests.id('works'), tests.id('olga')) r), '2026-05-01'::date, 'who left keeps it 90 days more');
update lms.memberships set ended_at = now() - interval '89 days' where id = tests.id('olga in works');
select is(ops.forget_training_records(), 0, 'all of them');
select is(tests.error_of(format('delete from lms.training_records where user_id = %L', tests.id('olga'))), '42501', 'nobody removes it before');
update lms.memberships set ended_at = now() - interval '93 days' where id = tests.id('olga in works');
select is(ops.forget_training_records(), 1, 'then it is forgotten');
select is(ops.write_training_records(), 0, 'and not written again');
rollback to long_ago;

-- =====================================================================================================
-- Reading
-- =====================================================================================================

create function tests.reads(who text, more text default '') returns text language plpgsql as $$
declare v_names text;
begin
  perform tests.be(who);
  execute format('select coalesce(string_agg(r.employee_name, '' '' order by r.employee_name), ''-'') from lms.get_training_records(%L%s) r', tests.id('works'), more) into v_names;
  perform tests.as_owner();
  return v_names;
end
$$;
select is(tests.reads('hanna'), 'Dora Emil Nils Sid', 'HR reads all');
select is(tests.reads('audit'), 'Dora Emil Nils Sid', 'so does the auditor');
select is(tests.reads('marco'), 'Dora Emil Nils', 'a manager those of the unit');
select is(tests.reads('ines'), 'Dora Emil Nils Sid', 'staff those of the course');
select is(tests.reads('iris'), '-', 'of another course nothing');
select is(tests.reads('nils'), 'Nils', 'people their own');
select is(tests.reads('emil'), 'Emil', 'INV-T4: also when they have left');
select is(tests.reads('petra'), '-', 'another tenant nothing');
select is(tests.reads('hanna', format(', p_unit_id => %L', tests.id('south'))), 'Sid', 'by unit');
select is(tests.reads('hanna', ', p_until => current_date - 1'), 'Emil', 'by day');
select is(tests.try('hanna', format('select * from lms.get_training_records(%L, p_limit => 0)', tests.id('works'))), '422 invalid_limit', 'a limit is one');
select is(tests.try('hanna', format('select * from lms.get_training_records(%L, p_after => ''nonsense'')', tests.id('works'))), '422 invalid_cursor', 'a cursor, too');
create function tests.page_through() returns text language plpgsql as $$
declare v_after text; v_row record; v_names text[] := '{}';
begin
  loop
    select r.cursor, r.employee_name into v_row from lms.get_training_records(tests.id('works'), p_limit => 1, p_after => v_after) r;
    exit when not found;
    v_after := v_row.cursor;
    v_names := v_names || v_row.employee_name;
  end loop;
  return array_to_string(array(select n from unnest(v_names) n order by 1), ' ');
end
$$;
select is(tests.page_through(), 'Dora Emil Nils Sid', 'INV-O5: pages leave nobody out, also those who finished at one moment');
insert into lms.enrollments (course_id, user_id, source, status, enrolled_at, completed_at, started_at, items_total, items_done)
values (tests.id('hazmat'), tests.id('nils'), 'import', 'completed', now(), now() + interval '1 second', now(), 2, 2);
select is((select string_agg(r.is_most_recent::text, ' ') from lms.get_training_records(tests.id('works'), tests.id('nils')) r), 'true false', 'which of several is the most recent is said');

-- =====================================================================================================
-- Copies of the course
-- =====================================================================================================

update lms.training_record_settings set materials = 'Shelf 4', trainer_name = 'Rosa Road' where course_id = tests.id('hazmat');
select tests.member('ines', 'press', 'instructor');
create temporary table copies (home uuid, abroad uuid);
create temporary table documents (doc jsonb);
grant select, insert on copies, documents to authenticated;
select tests.as('ines');
insert into copies select (lms.duplicate_course(tests.id('hazmat'))).id, (lms.duplicate_course(tests.id('hazmat'), tests.id('press'), 'copy')).id;
insert into documents select lms.export_course(tests.id('hazmat'));
select tests.as_owner();
select results_eq(
  $$ select s.keeps_training_record, s.materials, s.trainer_name, s.trainer_address from copies c join lms.training_record_settings s on s.course_id in (c.home, c.abroad) order by s.trainer_name nulls last $$,
  $$ values (true, 'Shelf 4', 'Rosa Road', '1 Depot Road'), (true, 'Shelf 4', null, null) $$,
  'a copy keeps records, too; who trains, and where, stays in the organisation'
);
select is(
  (select string_agg(l.completion_rule, ' ' order by l.order_index) from copies c join lms.lessons l on l.course_id = c.home), 'manual sign_off', 'and completes by the same rules'
);
select is((select doc -> 'training_record' from documents), '{"keeps_training_record": true, "materials": "Shelf 4", "trainer_name": "Rosa Road", "trainer_address": "1 Depot Road"}', 'an export says so');
select tests.as('ines');
select lives_ok($$ select lms.import_course(tests.id('press'), doc) from documents $$, 'an import takes it');
select tests.as_owner();
select is((select s.trainer_address from lms.training_record_settings s join lms.courses c on c.id = s.course_id where c.slug = 'hazmat' and c.tenant_id = tests.id('press')), '1 Depot Road', 'as it is');
select tests.as('ines');
select lives_ok($$ select lms.import_course(tests.id('press'), doc - 'training_record') from documents $$, 'a document that says nothing of it');
select tests.as_owner();
select is((select s.materials from lms.training_record_settings s join lms.courses c on c.id = s.course_id where c.slug = 'hazmat' and c.tenant_id = tests.id('press')), 'Shelf 4', 'leaves it');
select is(
  (select string_agg(f.path || ' ' || f.code, ', ' order by f.path) from documents, private.find_document_faults(doc || '{"training_record": {"materials": 1, "x": 2}}') f),
  'training_record.materials wrong_kind, training_record.x unknown_field', 'what it cannot say is refused'
);

select * from finish();
rollback;
