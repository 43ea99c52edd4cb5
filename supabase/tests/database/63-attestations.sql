-- Attestations: who signs what about whom, only right after proving who they are, and that it stays as it was signed.

begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press'), tests.unit('north', 'works');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'), tests.member('marco', 'works', 'unit_manager', 'north', 'north'), tests.member('ines', 'works', 'instructor'),
  tests.member('audrey', 'works', 'auditor'), tests.member('dora', 'works', 'learner', 'north'), tests.member('sid', 'works'), tests.member('petra', 'press', 'tenant_admin'), tests.member('paul', 'press');
select tests.course('safety', 'works', 'ines', 1), tests.course('novel', 'press', 'petra', 1);
select tests.enrollment('dora', 'safety'), tests.enrollment('sid', 'safety'), tests.enrollment('ines', 'safety'), tests.enrollment('paul', 'novel');

-- Somebody whose token says so of how and when they signed in.
create function tests.signed_in(name text, amr jsonb) returns void language plpgsql as $$
begin
  perform tests.as(name);
  perform set_config('request.jwt.claims', (current_setting('request.jwt.claims')::jsonb || jsonb_build_object('amr', amr))::text, true);
end
$$;
create function tests.amr(seconds_ago numeric, method text default 'password') returns jsonb language sql as $$
  select jsonb_build_array(jsonb_build_object('method', method, 'timestamp', floor(extract(epoch from now())) - seconds_ago))
$$;
create function tests.statement(key text) returns uuid language sql as $$
  select s.id from lms.attestation_statements s where s.key = statement.key and s.retired_at is null
$$;
create function tests.signs(who text, statement uuid, enrollment text, amr jsonb default tests.amr(10)) returns text language plpgsql as $$
declare
  v_result text;
begin
  perform tests.signed_in(who, amr);
  begin
    v_result := tests.error_of(format('select lms.sign_attestation(%L, %L)', statement, tests.id(enrollment)));
    raise exception using errcode = 'UNDO0';
  exception when sqlstate 'UNDO0' then null;
  end;
  perform tests.as_owner();
  return v_result;
end
$$;
create function tests.publishes(who text, tenant text, key text default 'oath', meaning text default 'completed', signer text default 'learner', body text default 'I did it.', language text default 'en') returns text language sql as $$
  select tests.try(who, format('select lms.publish_attestation_statement(%L, %L, %L, %L, %L, %L)', tests.id(tenant), key, meaning, signer, body, language))
$$;

-- =====================================================================================================
-- Statements
-- =====================================================================================================

select is(tests.publishes(who, tenant), expected, format('%s publishes a statement in %s: %s', who, tenant, expected))
from (values
  ('boss', 'works', '1'), ('hanna', 'works', '1'), ('marco', 'works', '42501'), ('ines', 'works', '42501'), ('dora', 'works', '42501'), ('audrey', 'works', '42501'), ('petra', 'works', '42501'),
  ('boss', 'press', '42501'), ('boss', 'nowhere', '42501'), ('anonymous', 'works', '42501'), ('service', 'works', '1')
) as cases (who, tenant, expected);
select is(tests.publishes('boss', 'works', key, meaning, signer, body, language), expected, format('%s, %s by %s, "%s", %s: %s', key, meaning, signer, left(body, 10), language, expected))
from (values
  ('Not a key', 'completed', 'learner', 'x', 'en', '23514 slug_is_lower_case_words_joined_by_hyphens'), ('oath', 'loved', 'learner', 'x', 'en', '23514 statement_meaning_is_known'),
  ('oath', 'completed', 'anybody', 'x', 'en', '23514 statement_signer_is_known'), ('oath', 'completed', 'learner', ' ', 'en', '23514 statement_is_1_to_10000_characters'),
  ('oath', 'completed', 'learner', repeat('x', 10001), 'en', '23514 statement_is_1_to_10000_characters'), ('oath', 'completed', 'learner', 'x', 'English', '23514 locale_is_a_language_tag'), (null, 'completed', 'learner', 'x', 'en', '23502')
) as cases (key, meaning, signer, body, language, expected);

select tests.as('boss');
select lms.publish_attestation_statement(tests.id('works'), 'oath', 'completed', 'learner', 'I did it.');
select lms.publish_attestation_statement(tests.id('works'), 'oath', 'completed', 'learner', 'I did it myself.');
select lms.publish_attestation_statement(tests.id('works'), 'rules', 'understood', 'learner', E'I have understood "the rules" \u2013 all of them.', 'en-GB');
select lms.publish_attestation_statement(tests.id('works'), 'training', 'trained', 'staff', 'I have trained this person.');
select tests.as('petra');
select lms.publish_attestation_statement(tests.id('press'), 'oath', 'completed', 'learner', 'I read it.');
select tests.as_owner();
select results_eq($$ select version, retired_at is null from lms.attestation_statements where tenant_id = tests.id('works') and key = 'oath' order by version $$, $$ values (1, false), (2, true) $$, 'a new version takes the place of the one before');
select id as old from lms.attestation_statements where tenant_id = tests.id('works') and key = 'oath' and version = 1 \gset
select id as oath from lms.attestation_statements where tenant_id = tests.id('works') and key = 'oath' and version = 2 \gset
select id as foreign from lms.attestation_statements where tenant_id = tests.id('press') \gset
select tests.statement('rules') as rules, tests.statement('training') as training \gset
select is(tests.error_of(format('update lms.attestation_statements set %s where id = %L', change, :'oath')), '42501', 'a statement stays as it is: ' || change)
from unnest(array['body = ''Other''', 'meaning = ''approved''', 'version = 3', 'signer = ''staff''']) as change;
select is(tests.error_of('update lms.attestation_statements set retired_at = null'), '42501', 'nor is it brought back');
select is(tests.error_of('delete from lms.attestation_statements'), '42501', 'nor taken away');
select is(tests.sees_as(who, 'lms.attestation_statements'), expected, format('%s sees %s statements', who, expected))
from (values ('dora', '4'), ('ines', '4'), ('paul', '1'), ('boss', '4'), ('anonymous', '42501')) as cases (who, expected);
select is(tests.try(who, format('select lms.retire_attestation_statement(%L)', :'oath')), expected, format('%s retires it: %s', who, expected))
from (values ('boss', '1'), ('hanna', '1'), ('dora', '42501'), ('ines', '42501'), ('petra', '404 statement_not_found'), ('anonymous', '42501')) as cases (who, expected);

-- =====================================================================================================
-- Who signs, when
-- =====================================================================================================

select is(tests.signs('dora', :'oath', 'dora takes safety'), '409 not_completed', 'what says that it was completed is not signed before');
select is(tests.signs('ines', :'training', 'dora takes safety'), '409 not_completed', '... by trainers neither');
select is(tests.signs('dora', :'rules', 'dora takes safety'), 'none', 'what was understood may be');
select tests.as('dora');
select lms.complete_lesson(tests.id('safety/1'));
select tests.as_owner();
select is(tests.signs(who, statement, enrollment), expected, format('%s signs the %s about %s: %s', who, what, enrollment, expected))
from (values
  ('dora', :'oath'::uuid, 'oath', 'dora takes safety', 'none'), ('sid', :'oath', 'oath', 'dora takes safety', '404 enrollment_not_found'), ('boss', :'oath', 'oath', 'dora takes safety', '403 not_the_signer'),
  ('ines', :'oath', 'oath', 'dora takes safety', '403 not_the_signer'), ('dora', :'training', 'training', 'dora takes safety', '403 not_the_signer'), ('ines', :'training', 'training', 'dora takes safety', 'none'),
  ('boss', :'training', 'training', 'dora takes safety', 'none'), ('hanna', :'training', 'training', 'dora takes safety', 'none'), ('marco', :'training', 'training', 'dora takes safety', '403 not_the_signer'),
  ('audrey', :'training', 'training', 'dora takes safety', '403 not_the_signer'), ('petra', :'training', 'training', 'dora takes safety', '404 enrollment_not_found'),
  -- Nobody certifies themselves, staff neither.
  ('ines', :'training', 'training', 'ines takes safety', '403 not_the_signer'),
  ('dora', :'foreign', 'foreign oath', 'dora takes safety', '404 statement_not_found'), ('dora', :'old', 'old oath', 'dora takes safety', '409 statement_retired'), ('dora', :'oath', 'oath', 'paul takes novel', '404 enrollment_not_found'),
  ('dora', tests.id('nothing'), 'nothing', 'dora takes safety', '404 statement_not_found'), ('dora', :'oath', 'oath', 'nothing', '404 enrollment_not_found')
) as cases (who, statement, what, enrollment, expected);
select is(tests.try(who, format('select lms.sign_attestation(%L, %L)', :'oath', tests.id('dora takes safety'))), '42501', format('%s signs nothing', who)) from unnest(array['anonymous', 'service']) as who;

select is(tests.signs('dora', :'oath', 'dora takes safety', amr), expected, format('signed in %s: %s', amr, expected))
from (values
  (tests.amr(0), 'none'), (tests.amr(299), 'none'), (tests.amr(302), '403 reauthentication_required'), (tests.amr(-20), 'none'), (tests.amr(-90), '403 reauthentication_required'),
  (tests.amr(10, 'oauth'), '403 reauthentication_required'), (tests.amr(10, 'token_refresh'), '403 reauthentication_required'), (tests.amr(10, 'anonymous'), '403 reauthentication_required'),
  (tests.amr(10, 'totp'), 'none'), (tests.amr(10, 'otp'), 'none'), (tests.amr(4000) || tests.amr(10, 'totp'), 'none'), (tests.amr(4000) || tests.amr(10, 'oauth'), '403 reauthentication_required'),
  ('[]', '403 reauthentication_required'), ('null', '403 reauthentication_required'), ('{}', '403 reauthentication_required'), ('["password"]', '403 reauthentication_required'),
  ('[{"method": "password"}]', '403 reauthentication_required'), ('[{"method": "password", "timestamp": "now"}]', '403 reauthentication_required'), ('[{"method": "password", "timestamp": 1e300}]', '403 reauthentication_required')
) as cases (amr, expected);
-- Whoever belongs to two organisations signs the statements of each about its own courses.
select tests.member('gina', 'works'), tests.enrollment('gina', 'safety');
insert into lms.memberships (tenant_id, user_id) values (tests.id('press'), tests.id('gina'));
select is(tests.signs('gina', :'foreign', 'gina takes safety'), '404 statement_not_found', 'INV-T1: not one organisation''s statement about another one''s course');
select is(tests.signs('gina', :'rules', 'gina takes safety'), 'none', '... its own is');
-- A suspended member signs nothing.
update lms.memberships set status = 'suspended' where id = tests.id('dora in works');
select is(tests.signs('dora', :'oath', 'dora takes safety'), '404 enrollment_not_found', 'INV-T4: whoever is suspended signs nothing');
update lms.memberships set status = 'active' where id = tests.id('dora in works');
update lms.enrollments set status = 'dropped' where id = tests.id('sid takes safety');
select is(tests.signs('sid', :'rules', 'sid takes safety'), '409 enrollment_not_open', 'nothing is signed about what was left');

-- =====================================================================================================
-- What was signed
-- =====================================================================================================

select tests.signed_in('dora', tests.amr(60));
select set_config('timezone', 'Asia/Kolkata', true), set_config('datestyle', 'German', true);
select (lms.sign_attestation(:'oath', tests.id('dora takes safety'))).id as signature \gset
select set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO', true);
select tests.as_owner();
select is(row(a.signed_by, a.user_id, a.unit_id, a.signed_at, a.reauthenticated_at)::text, row(tests.id('dora'), tests.id('dora'), tests.id('north'), now(), to_timestamp(floor(extract(epoch from now())) - 60))::text, 'a signature says who, about whom, when, and since when they were known')
from lms.attestations a;
select is(a.sha256, encode(sha256(convert_to(a.document, 'UTF8')), 'hex'), 'the hash is that of the document') from lms.attestations a;
select is(a.document::jsonb::text, a.document, '... which has one form') from lms.attestations a;
select is(
  (select array_agg(k order by k) from jsonb_object_keys(a.document::jsonb) as k), array['authenticated_at', 'course', 'enrollment', 'learner', 'signed_at', 'signer', 'statement', 'tenant', 'type'], '... and says all there is'
) from lms.attestations a;
select is(a.document::jsonb #>> path::text[], expected, format('the document says %s: %s', path, expected))
from lms.attestations a, (values
  ('{statement,body}', 'I did it myself.'), ('{statement,version}', '2'), ('{statement,meaning}', 'completed'), ('{signer,name}', 'Dora'), ('{learner,name}', 'Dora'), ('{course,title}', 'Safety'), ('{course,version}', '1'),
  ('{enrollment,cycle}', '1'), ('{enrollment,status}', 'completed'), ('{signed_at}', to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
) as parts (path, expected);
select tests.as('dora');
select is((lms.sign_attestation(:'oath', tests.id('dora takes safety'))).id, :'signature'::uuid, 'INV-P6: signing again answers the signature that there is');
select tests.as_owner();
select is(tests.error_of(format('update lms.attestations set %s', change)), '42501', 'what was signed stays: ' || change)
from unnest(array['document = ''{}''', 'signed_at = now() - interval ''1 day''', 'signed_by = user_id, statement_id = statement_id, document = document || '' ''', 'reauthenticated_at = signed_at', 'unit_id = unit_id']) as change;
select is(tests.error_of('delete from lms.attestations'), '42501', 'nobody takes it away');
select is(tests.error_of('truncate lms.attestations'), '42501', '... all of it neither');
select is(tests.try(who, statement), '42501', format('%s: %s', who, left(statement, 50)))
from unnest(array['dora', 'boss', 'service']) as who,
  unnest(array['insert into lms.attestations (document) values (''{}'')', 'update lms.attestations set document = ''{}''', 'delete from lms.attestations', 'insert into lms.attestation_statements (body) values (''x'')', 'update lms.attestation_statements set body = ''x''']) as statement;
update public.profiles set first_name = 'Dorothea' where id = tests.id('dora');
update lms.courses set title = 'Renamed' where id = tests.id('safety');
select is(a.document::jsonb #>> '{signer,name}', 'Dora', 'what changes later does not change it') from lms.attestations a;

select is(tests.sees_as(who, 'lms.attestations'), expected, format('%s sees %s attestations', who, expected))
from (values ('dora', '1'), ('sid', '0'), ('boss', '1'), ('hanna', '1'), ('marco', '1'), ('ines', '1'), ('audrey', '1'), ('petra', '0'), ('anonymous', '42501')) as cases (who, expected);
select is((select count(*) from audit.log l where l.table_name = 'lms.attestations' and l.operation = 'INSERT' and l.changes ? 'document'), 1::bigint, 'the audit trail knows that it was signed');
select is((select count(*) from audit.log l where l.table_name = 'lms.attestations' and l.changes::text ~ 'Dora'), 0::bigint, '... and holds no name');

select * from finish();
rollback;
