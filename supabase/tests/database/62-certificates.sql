-- Certificates: one for each completed cycle, whatever happens; what they say, to whom, and what comes after them.

begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press'), tests.unit('north', 'works'), tests.unit('south', 'works');
update lms.tenants set time_zone = 'America/Denver' where id = tests.id('works');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'), tests.member('marco', 'works', 'unit_manager', 'north', 'north'),
  tests.member('ines', 'works', 'instructor'), tests.member('audrey', 'works', 'auditor'), tests.member('dora', 'works', 'learner', 'north'),
  tests.member('sid', 'works', 'learner', 'south'), tests.member('petra', 'press', 'tenant_admin'), tests.member('paul', 'press');
select tests.course('safety', 'works', 'ines', 1), tests.course('extra', 'works', 'ines', 1), tests.course('novel', 'press', 'petra', 1);
update lms.courses set certificate_validity_months = 12, certificate_renewal_days = 30 where id = tests.id('safety');

create function tests.certificates(name text, course text) returns bigint language sql as $$
  select count(*) from lms.certificates c where c.user_id = tests.id(name) and c.course_id = tests.id(course)
$$;
create function tests.completes(name text, course text) returns void language plpgsql as $$
begin
  perform tests.as(name);
  perform lms.complete_lesson(tests.id(course || '/1'));
  perform tests.as_owner();
end
$$;
-- What the world sees of the latest certificate.
create function tests.verified(name text, course text, who text default 'anonymous') returns lms.certificate_verification language plpgsql as $$
declare
  v_code text;
  v_verification lms.certificate_verification;
begin
  select c.code into v_code from lms.certificates c where c.user_id = tests.id(name) and c.course_id = tests.id(course) order by c.cycle desc, c.edition desc limit 1;
  perform tests.be(who);
  v_verification := lms.verify_certificate(v_code);
  perform tests.as_owner();
  return v_verification;
end
$$;

-- =====================================================================================================
-- Issuing
-- =====================================================================================================

select tests.enrollment('dora', 'safety'), tests.enrollment('sid', 'extra'), tests.enrollment('paul', 'novel');
select is(tests.certificates('dora', 'safety'), 0::bigint, 'nothing is certified before it is completed');
select tests.completes('dora', 'safety');
select tests.completes('dora', 'safety');
select is(tests.certificates('dora', 'safety'), 1::bigint, 'completing brings one certificate, reporting it again no other');
select is(
  (select row(c.tenant_id, c.enrollment_id, c.unit_id, c.cycle, c.edition, c.holder_name, c.course_title, c.version_number, c.valid_from, c.issued_by)::text from lms.certificates c),
  (select row(e.tenant_id, e.id, tests.id('north'), 1, 1, 'Dora', 'Safety', 1, e.completed_at, null)::text from lms.enrollments e where e.user_id = tests.id('dora')),
  'it says whose, what and since when'
);
select matches((select serial from lms.certificates), '^WORKS-[0-9]{4}-[0-9]{8}$', 'the serial number is of the organisation and the year');
select matches((select code from lms.certificates), '^[0-7][0-9A-HJKMNP-TV-Z]{25}$', 'the code is 128 bits of base 32');
select is(
  (select expires_at at time zone 'America/Denver' from lms.certificates), (select (valid_from at time zone 'America/Denver') + interval '12 months' from lms.certificates),
  'it is valid for as many months as the course says, by the clock on the wall'
);
select is((select count(distinct private.new_certificate_code()) from generate_series(1, 2000)), 2000::bigint, 'codes do not repeat');
select is((select count(distinct left(private.new_certificate_code(), 1)) from generate_series(1, 200)), 8::bigint, '... and use all of their first character');
select is((select count(distinct right(private.new_certificate_code(), 1)) from generate_series(1, 1000)), 32::bigint, '... and of their last');

-- The course changes its name and rules, and the person theirs; the certificate does not.
update lms.courses set title = 'Renamed', certificate_validity_months = 60 where id = tests.id('safety');
update public.profiles set first_name = 'Dorothea' where id = tests.id('dora');
select is(row((v).holder_name, (v).course_title, (v).status)::text, '(Dora,Safety,valid)', 'a certificate keeps what it said')
from (select tests.verified('dora', 'safety') as v) as s;
update lms.courses set title = 'Safety', certificate_validity_months = 12 where id = tests.id('safety');
select is(tests.error_of(format('update lms.certificates set %s', change)), '42501', 'nobody changes it: ' || change)
from unnest(array['holder_name = ''Eve''', 'code = private.new_certificate_code()', 'expires_at = null', 'serial = ''X''', 'valid_from = now() - interval ''1 year''', 'user_id = user_id, edition = 2']) as change;
select is(tests.error_of('delete from lms.certificates'), '42501', 'nor takes it away');
select is(tests.error_of('update lms.certificates set renewed_by = null'), 'none', '... what came after it is bookkeeping');

-- Courses that issue none.
update lms.courses set issues_certificate = false where id = tests.id('extra');
select tests.completes('sid', 'extra');
select is(tests.certificates('sid', 'extra'), 0::bigint, 'a course may issue none');
select is(ops.issue_certificates(), 0, '... nor does the job then');

-- INV-P3: a certificate that cannot be issued takes nothing away from the completion.
create function tests.break() returns trigger language plpgsql as $$ begin raise exception 'the printer is on fire'; end $$;
create trigger broken before insert on lms.certificates for each row execute function tests.break();
select lives_ok($$ select tests.completes('paul', 'novel') $$, 'INV-P3: a completion stands whatever becomes of its certificate');
select is(tests.standing('paul', 'novel'), 'completed 1/1 100.00', '... all of it');
select is(tests.certificates('paul', 'novel'), 0::bigint, '... which is missing then');
select is(ops.issue_certificates(), 0, 'INV-O1: the job outlives what it cannot issue');
drop trigger broken on lms.certificates;
select is(ops.issue_certificates(), 1, 'INV-O4: the job finds it later');
select is(tests.certificates('paul', 'novel'), 1::bigint, '... and issues it');
select is(ops.issue_certificates(), 0, '... once');
select is((select valid_from from lms.certificates where user_id = tests.id('paul')), (select completed_at from lms.enrollments where user_id = tests.id('paul')), '... from the day of the completion');
select is((ops.run_job('issue-certificates')).status, 'succeeded', 'the job runs as one');

-- Imported history.
insert into lms.enrollments (course_id, user_id, source, status, enrolled_at, started_at, completed_at, items_total, items_done, cycle)
values (tests.id('safety'), tests.id('sid'), 'import', 'completed', '2020-01-31 12:00Z', '2020-01-31 12:00Z', '2020-01-31 20:00Z', 1, 1, 1);
select is(tests.certificates('sid', 'safety'), 1::bigint, 'what was completed elsewhere and is imported is certified too');
select is((tests.verified('sid', 'safety')).status, 'expired', '... and has long expired');
select matches((select serial from lms.certificates where user_id = tests.id('sid')), '^WORKS-2020-', '... under the year of the completion');

-- A number that is taken is drawn again: the same chance draws the same number, which is taken by then.
select setseed(0.5);
savepoint drawn;
create temp table drawn as select f.serial from lms.enrollments e, private.write_certificate(e) f where e.id = tests.id('sid takes extra');
update lms.certificates set revoked_at = now(), revoked_reason = 'x' where user_id = tests.id('dora');
select setseed(0.5);
select isnt(f.serial, (select serial from drawn), 'a serial number that is taken is drawn again') from lms.enrollments e join lms.certificates c on c.enrollment_id = e.id, private.write_certificate(e, null, c) f where c.user_id = tests.id('dora');
rollback to drawn;

-- =====================================================================================================
-- Verifying
-- =====================================================================================================

select is((tests.verified('dora', 'safety', who)).status, 'valid', who || ' may verify what they have the code of')
from unnest(array['anonymous', 'petra', 'dora', 'service']) as who;
select is(
  (select array_agg(k order by k) from jsonb_object_keys(to_jsonb(tests.verified('dora', 'safety'))) as k),
  array['achievement_id', 'code', 'course_title', 'expires_at', 'expires_on_day', 'holder_name', 'issued_at', 'issuer_id', 'issuer_name', 'language', 'revoked_at', 'revoked_on_day', 'serial', 'status', 'valid_from', 'valid_from_day'],
  'a verifier is told this and no more'
);
select is(
  (select count(*) from lms.certificates c, lateral (select to_jsonb(tests.verified('dora', 'safety'))::text as t) v
   where c.user_id = tests.id('dora') and (v.t ~ c.id::text or v.t ~ c.user_id::text or v.t ~ c.course_id::text or v.t ~ c.enrollment_id::text or v.t ~ c.tenant_id::text)),
  0::bigint, '... no id of a row'
);
create function tests.serial_of(code text) returns text language plpgsql as $$
declare
  v_serial text;
begin
  perform tests.as_anonymous();
  v_serial := (lms.verify_certificate(code)).serial;
  perform tests.as_owner();
  return v_serial;
end
$$;
select is(tests.serial_of(t.typed), c.serial, 'a code may be typed in ' || t.how)
from lms.certificates c, lateral (values
  (lower(code), 'small letters'), (regexp_replace(code, '(.{4})', '\1-', 'g'), 'groups'), (' ' || translate(code, '01', 'oL') || ' ', 'letters for digits')
) as t (typed, how)
where c.user_id = tests.id('dora');
select is(tests.try('anonymous', format('select lms.verify_certificate(%L)', code)), '404 certificate_not_found', format('no certificate: %s', left(code, 30)))
from unnest(array['', '0', repeat('0', 26), repeat('Z', 5000), '%', null, (select left(code, 25) from lms.certificates limit 1), (select code || '0' from lms.certificates limit 1)]) as code;
select is(tests.try('anonymous', 'select * from lms.certificates'), '42501', 'without a code there is nothing to see');

-- =====================================================================================================
-- Who sees, revokes and replaces
-- =====================================================================================================

select is(tests.sees_as(who, 'lms.certificates'), expected, format('%s sees %s certificates', who, expected))
from (values ('dora', '1'), ('sid', '1'), ('paul', '1'), ('boss', '2'), ('hanna', '2'), ('marco', '1'), ('ines', '2'), ('audrey', '2'), ('petra', '1')) as cases (who, expected);
update lms.memberships set status = 'suspended' where id = tests.id('dora in works');
select is(tests.sees_as('dora', 'lms.certificates'), '1', 'INV-T4: who is suspended keeps sight of what they earned');
select is(tests.sees_as('dora', 'lms.enrollments'), '0', '... and of nothing else');
update lms.memberships set status = 'active' where id = tests.id('dora in works');

create function tests.certificate(name text, course text) returns uuid language sql stable as $$
  select c.id from lms.certificates c where c.user_id = tests.id(name) and c.course_id = tests.id(course) order by c.cycle desc, c.edition desc limit 1
$$;
select is(tests.try(who, format('select lms.revoke_certificate(%L, %L)', tests.certificate(whose, course), 'Mistake')), expected, format('%s revokes the certificate of %s: %s', who, whose, expected))
from (values
  ('boss', 'dora', 'safety', '1'), ('hanna', 'dora', 'safety', '1'), ('marco', 'dora', 'safety', '42501'), ('ines', 'dora', 'safety', '42501'), ('audrey', 'dora', 'safety', '42501'),
  ('dora', 'dora', 'safety', '42501'), ('sid', 'dora', 'safety', '404 certificate_not_found'), ('petra', 'dora', 'safety', '404 certificate_not_found'), ('boss', 'paul', 'novel', '404 certificate_not_found'),
  ('anonymous', 'dora', 'safety', '42501'), ('service', 'dora', 'safety', '1')
) as cases (who, whose, course, expected);
select is(tests.try(who, format('select lms.reissue_certificate(%L, %L)', tests.certificate('dora', 'safety'), 'Name')), expected, format('%s replaces it: %s', who, expected))
from (values ('boss', '1'), ('hanna', '1'), ('marco', '42501'), ('ines', '42501'), ('dora', '42501'), ('sid', '404 certificate_not_found'), ('petra', '404 certificate_not_found'), ('anonymous', '42501')) as cases (who, expected);
-- A right for one unit reaches what was earned there.
select tests.custom_role('works', 'registrar', '{certificates.write}');
insert into lms.role_grants (tenant_id, membership_id, role_id, unit_id) values (tests.id('works'), tests.id('marco in works'), tests.id('registrar of works'), tests.id('north'));
select is(tests.try('marco', format('select lms.revoke_certificate(%L, %L)', tests.certificate(whose, 'safety'), 'Mistake')), expected, format('a registrar of the north revokes the certificate of %s: %s', whose, expected))
from (values ('dora', '1'), ('sid', '404 certificate_not_found')) as cases (whose, expected);
select is(tests.try('boss', format('select lms.revoke_certificate(%L, %L)', tests.certificate('dora', 'safety'), reason)), expected, format('a reason of %s characters: %s', length(reason), expected))
from (values ('', '422 invalid_reason'), (' ', '422 invalid_reason'), (null, '422 invalid_reason'), (repeat('x', 1001), '422 invalid_reason'), (repeat('x', 1000), '1')) as cases (reason, expected);
select is(tests.try('boss', format('select lms.reissue_certificate(%L, %L, %L)', tests.certificate('dora', 'safety'), 'Name', name)), expected, format('in the name of "%s": %s', translate(left(name, 10), E'\n', '/'), expected))
from (values (' ', '422 invalid_name'), (E'A\nB', '422 invalid_name'), (repeat('x', 301), '422 invalid_name'), ('Łukasz O''Neill', '1')) as cases (name, expected);
select is(tests.try(who, statement), '42501', format('%s: %s', who, left(statement, 40)))
from unnest(array['boss', 'dora']) as who,
  unnest(array['insert into lms.certificates (code) values (null)', 'update lms.certificates set revoked_at = null', 'delete from lms.certificates', 'truncate lms.certificates']) as statement;
-- Nobody for themselves.
select tests.enrollment('boss', 'safety'), tests.completes('boss', 'safety');
select is(tests.try('boss', statement), '403 own_certificate', left(statement, 40))
from unnest(array[
  format('select lms.revoke_certificate(%L, %L)', tests.certificate('boss', 'safety'), 'x'), format('select lms.reissue_certificate(%L, %L, %L)', tests.certificate('boss', 'safety'), 'x', 'King'),
  format('select lms.issue_certificate(%L, %L)', tests.id('boss takes safety'), 'x')
]) as statement;

-- Issuing by hand.
select is(tests.try(who, format('select lms.issue_certificate(%L, %L)', tests.id(enrollment), 'Asked for')), expected, format('%s issues one for %s: %s', who, enrollment, expected))
from (values
  ('boss', 'sid takes extra', '1'), ('hanna', 'sid takes extra', '1'), ('ines', 'sid takes extra', '42501'), ('sid', 'sid takes extra', '42501'), ('marco', 'sid takes extra', '404 enrollment_not_found'),
  ('boss', 'dora takes safety', '409 certificate_exists'), ('boss', 'paul takes novel', '404 enrollment_not_found')
) as cases (who, enrollment, expected);
select tests.enrollment('dora', 'extra');
select is(tests.try('boss', format('select lms.issue_certificate(%L, %L)', tests.id('dora takes extra'), 'x')), '409 not_completed', 'not before it is completed');

-- Replaced: the old code says so, the new one holds; revoked for good.
select code as old_code, id as old_id from lms.certificates where user_id = tests.id('dora') \gset
update lms.courses set certificate_validity_months = 24, title = 'New' where id = tests.id('safety');
select tests.as('hanna');
select is((lms.reissue_certificate(:'old_id', 'Married')).holder_name, 'Dorothea', 'a certificate is replaced in the name of today');
select tests.as_owner();
select is(array_agg(row(edition, revoked_at is not null, issued_by)::text order by edition), array['(1,t,)', format('(2,f,%s)', tests.id('hanna'))], 'two editions, of which one stands') from lms.certificates where user_id = tests.id('dora');
select is((select count(distinct serial || code) from lms.certificates where user_id = tests.id('dora')), 2::bigint, '... under other numbers');
select is((select count(distinct row(valid_from, expires_at, course_title::text, version_number)) from lms.certificates where user_id = tests.id('dora')), 1::bigint, '... which says the same, whatever the course says now');
update lms.courses set certificate_validity_months = 12, title = 'Safety' where id = tests.id('safety');
select is(array_agg(distinct valid_from), array[(select completed_at from lms.enrollments where id = tests.id('dora takes safety'))], '... valid from the same day') from lms.certificates where user_id = tests.id('dora');
select is((lms.verify_certificate(:'old_code')).status, 'revoked', 'the old code says that it was revoked');
select is(tests.try('boss', format('select lms.reissue_certificate(%L, %L)', :'old_id', 'x')), '409 certificate_replaced', 'what was replaced is not replaced again');
select is(tests.error_of(format('update lms.certificates set revoked_at = null, revoked_reason = null where id = %L', :'old_id')), '42501', 'a revocation is not taken back');
select is(tests.error_of(format('insert into lms.certificates select (jsonb_populate_record(c, jsonb_build_object(''id'', gen_random_uuid(), ''edition'', 3, ''serial'', ''x'', ''code'', private.new_certificate_code()))).* from lms.certificates c where c.id = %L', tests.certificate('dora', 'safety'))), '23505 one_standing_certificate_per_cycle', 'two editions do not stand at once');
select tests.as('boss');
select is((lms.revoke_certificate(tests.certificate('dora', 'safety'), 'Fraud')).revoked_reason, 'Fraud', 'and revoked');
select is((lms.revoke_certificate(tests.certificate('dora', 'safety'), 'Again')).revoked_reason, 'Fraud', '... once');
select tests.as_owner();
select is((tests.verified('dora', 'safety')).status, 'revoked', 'a verifier sees that');
select is(ops.issue_certificates(), 0, 'the job issues none in place of one that was revoked');
select is((select count(*) from audit.log l where l.table_name = 'lms.certificates' and l.changes::text ~ (select string_agg(c.code, '|') || '|Dora|Fraud' from lms.certificates c)), 0::bigint, 'the audit trail holds no code, no name and no reason');
select is((select count(*) from audit.log l where l.table_name = 'lms.certificates' and l.operation = 'UPDATE' and l.changes ? 'revoked_at'), 2::bigint, '... and every revocation');

-- =====================================================================================================
-- Renewal
-- =====================================================================================================

-- Whose certificate is about to expire: a cycle completed so long ago, by people of all kinds.
create function tests.expiring(name text, days integer) returns void language plpgsql as $$
begin
  if not exists (select from lms.memberships where id = tests.id(name || ' in works')) then
    perform tests.member(name, 'works', 'learner', 'north');
  end if;
  insert into lms.enrollments (course_id, user_id, source, status, enrolled_at, started_at, completed_at, items_total, items_done)
  select tests.id('safety'), tests.id(name), 'import', 'completed', t.at, t.at, t.at, 1, 1
  from (select ((now() at time zone 'America/Denver') + make_interval(days => days) - interval '12 months') at time zone 'America/Denver' as at) as t;
end
$$;
create function tests.cycles(name text) returns text language sql as $$
  select string_agg(format('%s %s', e.cycle, e.status), ', ' order by e.cycle) from lms.enrollments e where e.user_id = tests.id(name) and e.course_id = tests.id('safety')
$$;
select tests.expiring('early', 40), tests.expiring('due', 20), tests.expiring('late', -20), tests.expiring('gone', 20), tests.expiring('barred', 20), tests.expiring('busy', 20), tests.expiring('left', 20), tests.expiring('unworthy', 20);
update lms.memberships set status = 'ended' where id = tests.id('gone in works');
update lms.memberships set status = 'suspended' where id = tests.id('barred in works');
select tests.enrollment('busy', 'safety'), tests.enrollment('left', 'safety');
update lms.enrollments set status = 'dropped' where id = tests.id('left takes safety');
update lms.certificates set revoked_at = now(), revoked_reason = 'x' where user_id = tests.id('unworthy');
-- Not while it is no course for anybody.
update lms.courses set status = 'archived' where id = tests.id('safety');
select is(ops.open_renewals(), 0, 'an archived course renews nobody');
update lms.courses set status = 'published' where id = tests.id('safety');
select is(ops.open_renewals(1), 1, 'a run does as much as it is told');
select is(ops.open_renewals(), 2, 'the next one the rest');
select is(ops.open_renewals(), 0, 'INV-O1: and then there is nothing to do');
select is(tests.cycles(who), expected, format('%s: %s', who, expected))
from (values
  ('early', '1 completed'), ('due', '1 completed, 2 enrolled'), ('late', '1 completed, 2 enrolled'), ('sid', '1 completed, 2 enrolled'), ('gone', '1 completed'), ('barred', '1 completed'),
  ('busy', '1 completed, 2 enrolled'), ('left', '1 completed, 2 dropped'), ('unworthy', '1 completed')
) as cases (who, expected);
select is(row(e.due_at, e.source)::text, row(c.expires_at, 'rule')::text, 'the next cycle is due when the certificate expires')
from lms.enrollments e join lms.certificates c on c.user_id = e.user_id and c.course_id = e.course_id where e.user_id = tests.id('due') and e.cycle = 2;
select is((tests.verified('due', 'safety')).status, 'valid', 'meanwhile the certificate is valid');
-- What is settled is not looked at again, and who cannot be renewed is for a later day: a run costs what there is to do.
select is((select string_agg(split_part(u.email, '@', 1), ' ' order by u.email) from private.renewals r join lms.certificates c on c.id = r.certificate_id join auth.users u on u.id = c.user_id where r.checked_at = '-infinity' and split_part(u.email, '@', 1) not in ('boss', 'dora')), 'early', 'only who is not due yet is new to it');
select is((select string_agg(split_part(u.email, '@', 1), ' ' order by u.email) from private.renewals r join lms.certificates c on c.id = r.certificate_id join auth.users u on u.id = c.user_id where r.checked_at > '-infinity'), 'barred gone', '... who has left or is suspended is asked about again');
update lms.memberships set status = 'active' where user_id = tests.id('barred');
select is(ops.open_renewals(), 0, 'not at once');
update private.renewals set checked_at = checked_at - interval '1 day' where checked_at > '-infinity';
select is(ops.open_renewals(), 1, '... but a day later');
select is(tests.cycles('barred'), '1 completed, 2 enrolled', 'who is back is renewed');
select tests.completes('due', 'safety');
select is((select array_agg(c.renewed_by = n.id order by c.cycle) from lms.certificates c left join lms.certificates n on n.user_id = c.user_id and n.cycle = 2 where c.user_id = tests.id('due')), array[true, null], 'what follows is remembered');
select is(tests.certificates('due', 'safety'), 2::bigint, 'one certificate for each cycle');
-- The certificate of an earlier cycle that comes late finds the later one.
create trigger broken before insert on lms.certificates for each row execute function tests.break();
select tests.expiring('slow', -700);
drop trigger broken on lms.certificates;
select tests.enrollment('slow', 'safety'), tests.completes('slow', 'safety');
select is(ops.issue_certificates(), 1, 'one came late');
select is((select array_agg(c.renewed_by = n.id order by c.cycle) from lms.certificates c left join lms.certificates n on n.user_id = c.user_id and n.cycle = 2 where c.user_id = tests.id('slow')), array[true, null], '... and is followed by the later one');
select tests.as('boss');
select is((lms.revoke_certificate(tests.certificate('slow', 'safety'), 'Mistake')).renewed_by, null, 'one that is revoked');
select tests.as_owner();
select is((select renewed_by from lms.certificates where user_id = tests.id('slow') and cycle = 1), null, '... has renewed nothing');
select is(tests.error_of(format('update lms.courses set certificate_validity_months = null where id = %L', tests.id('safety'))), '23514 only_certificates_that_expire_are_renewed', 'what never expires is never renewed');

-- Training law: names stay when a login goes.
delete from auth.users where id = tests.id('due');
select is((tests.verified('due', 'safety')).holder_name, 'Due', 'a certificate outlives the login of its holder');

select * from finish();
rollback;
