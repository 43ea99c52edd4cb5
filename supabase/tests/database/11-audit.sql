begin;
\ir ../helpers.sql
select * from no_plan();

-- What was recorded since the last call, one line per row: 'UPDATE lms.courses {"title": ...}'.
create table tests.mark (id bigint);
insert into tests.mark select coalesce(max(id), 0) from audit.log;
create function tests.recorded(wanted text default '%') returns setof text language plpgsql as $$
declare
  v_mark constant bigint := (select m.id from tests.mark m);
begin
  update tests.mark set id = coalesce((select max(l.id) from audit.log l), 0);
  return query
  select format('%s %s %s', l.operation, l.table_name, l.changes) from audit.log l where l.id > v_mark and l.table_name like wanted order by l.id;
end
$$;
create function tests.forget() returns void language sql as $$ update tests.mark set id = coalesce((select max(l.id) from audit.log l), 0) $$;
create function tests.newest() returns audit.log language sql as $$ select l from audit.log l order by l.id desc limit 1 $$;

-- =====================================================================================================
-- INV-O2: closed to every API role
-- =====================================================================================================

create view tests.audit_relations as select c.* from pg_class c where c.relnamespace = 'audit'::regnamespace;
select is_empty(
  $$ select r from unnest(array['anon', 'authenticated', 'service_role', 'authenticator']) as r where has_schema_privilege(r, 'audit', 'usage') or has_schema_privilege(r, 'audit', 'create') $$,
  'no API role enters schema audit'
);
select is_empty(
  $$
    select r, c.oid::regclass, v
    from unnest(array['anon', 'authenticated', 'service_role', 'authenticator']) as r, unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) as v, tests.audit_relations c
    where c.relkind in ('r', 'p', 'v') and has_table_privilege(r, c.oid, v)
  $$,
  'no API role holds any right on anything in it'
);
select is_empty(
  $$ select r, c.oid::regclass from unnest(array['anon', 'authenticated', 'service_role', 'authenticator']) as r, tests.audit_relations c where c.relkind = 'S' and has_sequence_privilege(r, c.oid, 'usage, select, update') $$,
  '... nor on its sequence'
);
select is_empty(
  $$ select r, p.oid::regprocedure from unnest(array['anon', 'authenticated', 'service_role', 'authenticator']) as r, pg_proc p where p.pronamespace = 'audit'::regnamespace and has_function_privilege(r, p.oid, 'execute') $$,
  '... nor may call a function in it'
);
select is_empty($$ select c.oid::regclass from tests.audit_relations c where c.relkind in ('r', 'p') and not c.relrowsecurity $$, 'every table in it has row level security');
select is_empty($$ select p.oid::regprocedure from pg_proc p where p.pronamespace = 'audit'::regnamespace and not coalesce(p.proconfig @> array['search_path=""'], false) $$, 'every function in it has an empty search path');
select is_empty($$ select r from unnest(array['anon', 'authenticated', 'service_role']) as r where has_table_privilege(r, 'private.audit_key', 'select') $$, 'no API role reads the key of the hashes');
select is(length((select key from private.audit_key)), 32, 'the key is there');

select is(tests.try(who, statement), '42501', format('%s: %s', who, statement))
from unnest(array['anonymous', 'dora', 'service']) as who,
  unnest(array[
    'select * from audit.log', 'delete from audit.log', 'truncate audit.log', $$ insert into audit.log (table_name, operation, changes, actor_role) values ('x', 'INSERT', '{}', 'x') $$,
    'update audit.log_default set changes = ''{}''', 'delete from audit.seals', 'select * from audit.heads', 'select * from audit.row_history', 'select * from private.audit_key'
  ]) as statement;

-- Whoever owns the tables can disable triggers; everybody else who gets a right by mistake is stopped by them.
select tests.tenant('works');
select is(tests.error_of(statement), '42501', 'refused even to the owner: ' || statement)
from unnest(array[
  'update audit.log set changes = ''{}''', 'delete from audit.log', 'truncate audit.log', 'truncate audit.log_default', 'delete from audit.log_default', 'truncate audit.seals cascade'
]) as statement;

-- =====================================================================================================
-- Everything is watched
-- =====================================================================================================

select is_empty('select * from audit.gaps', 'every table of tenants and people is watched, with all its columns');
select set_eq(
  $$ select t.tgrelid::regclass::text, count(*) from pg_trigger t where t.tgname in ('_900_audit_insert', '_900_audit_update', '_900_audit_delete', '_900_audit_truncate') group by 1 $$,
  $$ select to_regclass(w.table_name)::text, case when w.corrections_only then 3 else 4 end::bigint from audit.watched_tables w $$,
  'each by a trigger for every verb'
);
create table lms.unwatched (id uuid primary key, tenant_id uuid);
create table private.unwatched (id uuid primary key, tenant_id uuid);
alter table lms.courses add added_later text;
select set_eq('select table_name, column_name from audit.gaps', $$ values ('lms.unwatched', null), ('private.unwatched', null), ('lms.courses', 'added_later') $$, 'a new table and a new column show');
select audit.watch('lms.unwatched'), audit.watch('private.unwatched'), audit.watch('lms.courses');
select is_empty('select * from audit.gaps', '... until they are watched');
drop table lms.unwatched, private.unwatched;
alter table lms.courses drop added_later;
delete from audit.watched_tables where table_name in ('lms.unwatched', 'private.unwatched');
select audit.watch('lms.courses');

select set_eq(
  'select table_name from audit.watched_tables',
  array[
    'analytics.event_types',
    'analytics.saved_reports',
    'lms.message_templates', 'lms.webhooks',
    'lms.learning_paths', 'lms.learning_path_courses', 'lms.path_enrollments',
    'lms.assignment_rules', 'lms.assignment_rule_courses', 'lms.training_requirements', 'lms.training_waivers',
    'lms.led_sessions', 'lms.session_bookings', 'lms.outside_training', 'lms.training_records', 'lms.training_record_settings',
    'lms.course_reviews', 'lms.review_reports',
    'lms.categories', 'lms.tags', 'lms.course_categories', 'lms.course_tags',
    'lms.tenants', 'lms.org_units', 'lms.roles', 'lms.role_permissions', 'lms.assignable_roles', 'lms.memberships', 'lms.role_grants', 'lms.invitations', 'lms.cohorts',
    'lms.cohort_members', 'private.platform_admins', 'public.profiles', 'public.profile_private', 'lms.courses', 'lms.course_staff', 'lms.modules', 'lms.lessons',
    'lms.lesson_blocks', 'lms.enrollments', 'lms.lesson_progress',
    'lms.skills', 'lms.lesson_skills',
    'lms.assessments', 'lms.assessment_sections', 'lms.questions', 'lms.question_skills', 'private.answer_keys', 'private.key_revisions',
    'lms.version_assessments', 'lms.question_revisions', 'lms.version_questions', 'lms.accommodations',
    'lms.assessment_attempts', 'lms.attempt_questions', 'private.attempt_keys', 'lms.attempt_answers', 'lms.answer_scores', 'lms.attempt_scores',
    'lms.grade_overrides', 'lms.grading_assignments', 'lms.assessment_progress',
    'lms.certificates', 'lms.attestation_statements', 'lms.attestations',
    'lms.lesson_prerequisites', 'lms.course_prerequisites', 'billing.entitlements', 'lms.enrollment_requests', 'lms.pending_enrollments', 'lms.lesson_notes', 'lms.course_versions', 'lms.version_lessons', 'lms.block_revisions', 'lms.version_blocks', 'lms.block_progress', 'lms.progress_corrections'
  ],
  'exactly these tables are watched'
);
select is(tests.error_of($$ select audit.watch('lms.courses', personal => '{no_such}') $$), '42703', 'a column that does not exist cannot be personal');

-- =====================================================================================================
-- What is recorded
-- =====================================================================================================

select tests.member('tina', 'works', 'tenant_admin'), tests.member('ines', 'works', 'instructor'), tests.member('dora', 'works');
select tests.course('safety', 'works', 'ines');
select tests.forget();

select tests.as('tina');
update lms.courses set title = 'Safety first', capacity = 20 where id = tests.id('safety');
select tests.as_owner();
select results_eq(
  'select tests.recorded()', array['UPDATE lms.courses {"title": {"new": "Safety first", "old": "Safety"}, "capacity": {"new": 20, "old": null}}'],
  'an update records the columns that changed, old and new, in their own types'
);
select is((tests.newest()).row_id, tests.id('safety')::text, 'it names the row');
select is((tests.newest()).tenant_id, tests.id('works'), '... and the tenant');
select is((tests.newest()).actor_id, tests.id('tina'), '... and who it was');
select is((tests.newest()).actor_role, 'authenticated', '... and in which role');
select is((tests.newest()).xid, pg_current_xact_id(), '... and the transaction');
select ok((tests.newest()).recorded_at between now() and clock_timestamp(), '... and when, by the server''s clock');

update lms.courses set title = title, updated_at = now() + interval '1 day' where id = tests.id('safety');
select is_empty('select tests.recorded()', 'an update that changes nothing is not recorded');

insert into lms.cohorts (id, tenant_id, name) values (tests.id('cohort'), tests.id('works'), 'Spring');
select is((tests.newest()).operation || (tests.newest()).table_name || (tests.newest()).actor_role, 'INSERTlms.cohorts' || session_user, 'an insert is recorded, whoever writes');
select is((tests.newest()).changes -> 'name', '{"new": "Spring"}', '... with its values');
select ok(not (tests.newest()).changes ? 'archived_at' and not (tests.newest()).changes ? 'updated_at', '... but for those that are null, and updated_at');
insert into lms.cohort_members (tenant_id, cohort_id, user_id) values (tests.id('works'), tests.id('cohort'), tests.id('dora'));
select is((tests.newest()).row_id, concat_ws(',', tests.id('cohort'), tests.id('dora')), 'a composite key is joined by commas');
delete from lms.cohort_members where cohort_id = tests.id('cohort');
select is(((tests.newest()).operation, (tests.newest()).row_id, (tests.newest()).changes -> 'user_id')::text, ('DELETE', concat_ws(',', tests.id('cohort'), tests.id('dora')), jsonb_build_object('old', tests.id('dora')))::text, 'a deletion is recorded with what is gone');

update lms.modules set deleted_at = '2026-01-02 03:04:05+00' where id = tests.id('safety/m');
select is((tests.newest()).operation, 'DELETE', 'setting deleted_at is a deletion');
update lms.modules set deleted_at = null where id = tests.id('safety/m');
select is((tests.newest()).operation, 'RESTORE', 'clearing it restores');

select tests.forget();
truncate lms.cohort_members;
select results_eq('select tests.recorded()', array['TRUNCATE lms.cohort_members {}'], 'TRUNCATE is recorded');

-- Many rows of several tenants in one statement; what a constraint deletes; upserts.
select tests.tenant('mill');
select tests.forget();
insert into lms.org_units (id, tenant_id, name) select tests.id('u' || n), tests.id(case n % 2 when 0 then 'works' else 'mill' end), 'u' || n from generate_series(1, 100) as n;
select set_eq(
  $$ select l.tenant_id, count(*) as n, count(distinct l.row_id) as different from audit.log l, tests.mark m where l.id > m.id and l.table_name = 'lms.org_units' group by 1 $$,
  $$ values (tests.id('works'), 50::bigint, 50::bigint), (tests.id('mill'), 50, 50) $$, 'of many rows each is recorded, with its tenant'
);
select tests.forget();
update lms.org_units set code = 'c' || name where tenant_id = tests.id('mill');
select is((select count(*) from tests.recorded('lms.org_units')), 50::bigint, 'likewise when they are updated');
delete from private.org_unit_closure;
delete from lms.org_units where tenant_id = tests.id('mill');
select is((select count(*) from tests.recorded('lms.org_units') as r where r like 'DELETE%'), 50::bigint, '... and deleted');

insert into lms.roles (id, tenant_id, key, name) select tests.id('role' || n), tests.id('works'), 'role' || n, 'Role' from generate_series(1, 3) as n;
insert into lms.role_permissions (tenant_id, role_id, permission) select tests.id('works'), tests.id('role' || n), p from generate_series(1, 3) as n, unnest(array['members.read', 'reports.read']) as p;
select tests.forget();
delete from lms.roles where id in (tests.id('role1'), tests.id('role2'), tests.id('role3'));
select set_eq(
  $$ select l.table_name, count(*) as n, count(distinct l.row_id) as different from audit.log l, tests.mark m where l.id > m.id and l.operation = 'DELETE' group by 1 $$,
  $$ values ('lms.roles', 3::bigint, 3::bigint), ('lms.role_permissions', 6, 6) $$, 'what a foreign key deletes along is recorded, each row once'
);
select tests.forget();
insert into lms.cohorts (id, tenant_id, name) values (tests.id('cohort'), tests.id('works'), 'Summer') on conflict (id) do update set name = excluded.name;
select results_eq('select tests.recorded()', array['UPDATE lms.cohorts {"name": {"new": "Summer", "old": "Spring"}}'], 'an upsert is recorded as what it did');
with changed as (update lms.cohorts set name = 'Autumn' where id = tests.id('cohort') returning id) select from changed;
select is((select count(*) from tests.recorded()), 1::bigint, 'so is a statement within a statement');

-- =====================================================================================================
-- Personal, secret and large values; odd types
-- =====================================================================================================

select is((select l.changes -> 'social_links' from audit.log l where l.table_name = 'public.profiles' and l.row_id = tests.id('dora')::text and l.operation = 'INSERT'), '{"new": {}}', 'empty values need no hash');
select tests.forget();
update public.profiles set bio = 'canary-bio' where id = tests.id('dora');
select ok((tests.newest()).changes #>> '{bio,new,hash}' ~ '^[0-9a-f]{64}$' and (tests.newest()).changes -> 'bio' -> 'old' = 'null', 'of a personal column there is a hash, of nothing nothing');
create table tests.hashes as select (tests.newest()).changes #>> '{bio,new,hash}' as hash;
update public.profiles set bio = 'other' where id = tests.id('dora');
update public.profiles set bio = 'canary-bio', location = 'canary-bio' where id = tests.id('dora');
select is((tests.newest()).changes #>> '{bio,new,hash}', (select hash from tests.hashes), 'the same value has the same hash: it was changed back');
select isnt((tests.newest()).changes #>> '{location,new,hash}', (select hash from tests.hashes), '... but not in another column');
select isnt((select hash from tests.hashes), encode(sha256('canary-bio'), 'hex'), 'without the key the hash cannot be tried out');
update lms.memberships set employee_number = 'canary-number', job_title = 'canary-title' where user_id = tests.id('dora');
update public.profile_private set phone = '+15550100', learning_interests = '["canary-interest"]' where profile_id = tests.id('dora');
delete from lms.role_grants where membership_id = tests.id('dora in works');
insert into lms.invitations (tenant_id, email, role_id, first_name, last_name, job_title, employee_number, expires_at)
select tests.id('works'), 'canary-mail@example.com', tests.role_id('works', 'learner'), 'canary-first', 'canary-last', 'canary-job', 'canary-no', now() + interval '1 day';
select is_empty($$ select * from audit.log l where l.changes::text like '%canary%' or l.changes::text like '%15550100%' or l.changes::text like '%@example.com%' or l.changes::text like '%Dora%' $$, 'no name, address, number or free text of a person is in the log');
select is(
  (select l.changes #>> '{email,new,hash}' from audit.log l where l.table_name = 'lms.invitations' order by l.id desc limit 1),
  audit.hash_personal('lms.invitations.email', '"canary-mail@example.com"') ->> 'hash', 'inserts and updates hash alike'
);
update lms.invitations set first_name = 'other';
update lms.invitations set first_name = 'canary-first';
select is((tests.newest()).changes #>> '{first_name,new,hash}', (select l.changes #>> '{first_name,new,hash}' from audit.log l where l.table_name = 'lms.invitations' and l.operation = 'INSERT' order by l.id desc limit 1), '... so that a change back to what was inserted shows');

create table tests.odd (
  a integer, "Odd ""name" text, secret text, private_note text, big text, body jsonb, list text[], amount numeric, at timestamptz, span interval, slug private.slug, bytes bytea, ranges int4range,
  percentage private.percentage, doubled integer generated always as (a * 2) stored, updated_at timestamptz, ignored integer, primary key ("Odd ""name", a)
);
select audit.watch('tests.odd', personal => '{private_note}', secret => '{secret}', ignored => '{ignored}');
insert into tests.odd (a, "Odd ""name", secret, private_note) values (1, 'x', 'canary-secret', 'canary-note');
select is((tests.newest()).row_id, 'x,1', 'keys are in their own order');
select is((tests.newest()).changes - 'private_note', '{"a": {"new": 1}, "secret": {}, "Odd \"name": {"new": "x"}}', 'of a secret there is only that it is there');
update tests.odd set secret = 'canary-other';
select is((tests.newest()).changes, '{"secret": {}}', '... and that it changed');
update tests.odd set ignored = 5, updated_at = now();
select is((tests.newest()).changes, '{"secret": {}}', 'an ignored column alone makes no row');
update tests.odd set big = repeat('x', 8000), body = '{"n": null, "d": 1.50, "a": [1, {"b": "\"é\n"}]}', list = array['a', null, 'é"'], amount = 'NaN', at = 'infinity', span = '1 year 2 days', slug = 'a-b', bytes = '\x00ff', ranges = '[1,)', percentage = 99.999;
select is(
  (tests.newest()).changes - 'big',
  '{"at": {"new": "infinity", "old": null}, "body": {"new": {"a": [1, {"b": "\"é\n"}], "d": 1.50, "n": null}, "old": null}, "list": {"new": ["a", null, "é\""], "old": null}, "slug": {"new": "a-b", "old": null},
    "span": {"new": "1 year 2 days", "old": null}, "bytes": {"new": "\\x00ff", "old": null}, "amount": {"new": "NaN", "old": null}, "ranges": {"new": "[1,)", "old": null}, "percentage": {"new": 99.999, "old": null}}',
  'values of all types are recorded'
);
select is(length((tests.newest()).changes #>> '{big,new}'), 8000, 'a value of 8,000 characters is kept');
update tests.odd set big = repeat('é', 5000000), body = jsonb_build_object('x', repeat('y', 9000)), list = array_fill('z'::text, array[5000]);
select is((tests.newest()).changes #> '{big,new}', jsonb_build_object('bytes', 10000000, 'sha256', encode(sha256(convert_to(repeat('é', 5000000), 'UTF8')), 'hex')), 'of a large one its size and SHA-256');
select is((tests.newest()).changes #> '{body,new,bytes}', to_jsonb(length(jsonb_build_object('x', repeat('y', 9000))::text)), '... of JSON as well');
select ok((tests.newest()).changes #> '{list,new}' ? 'sha256', '... and of lists');
select ok((select pg_column_size(l.changes) < 20000 from audit.log l order by id desc limit 1), 'the log stays small');
delete from tests.odd;
select ok((tests.newest()).changes #> '{big,old}' ? 'sha256' and (tests.newest()).changes #> '{amount,old}' = '"NaN"' and not (tests.newest()).changes ? 'doubled', 'a deletion likewise; what is computed from other columns is left out');
select is((select string_agg(l.changes::text, '') ~ 'canary' from audit.log l where l.table_name = 'tests.odd'), false, 'neither secrets nor personal values are anywhere');

-- =====================================================================================================
-- Progress is not recorded, corrections are
-- =====================================================================================================

select tests.enrollment('dora', 'safety');
select tests.forget();
select tests.as('dora');
select lms.record_progress(tests.id('safety/1'), 40);
select tests.as_owner();
select results_eq($$ select l.changes #>> '{status,new}' from audit.log l, tests.mark m where l.id > m.id $$, array['in_progress'], 'the beginning of a course is recorded');
select tests.forget();
select tests.as('dora');
select lms.record_progress(tests.id('safety/1'), 70), lms.complete_lesson(tests.id('safety/1'));
select tests.as_owner();
select is_empty('select tests.recorded()', 'progress is not');
select tests.as('dora');
select lms.complete_lesson(tests.id('safety/2'));
select tests.as_owner();
select results_eq($$ select l.changes #>> '{status,new}' from audit.log l, tests.mark m where l.id > m.id order by l.table_name desc $$, array['completed', null], 'the completion is, and the certificate that comes with it');
select tests.forget();
select tests.as_service();
update lms.lesson_progress set progress_percentage = 30, completed_at = null where lesson_id = tests.id('safety/1');
select tests.as_owner();
select is((select l.changes #> '{progress_percentage}' from audit.log l, tests.mark m where l.id > m.id and l.table_name = 'lms.lesson_progress'), '{"new": 30, "old": 100}', 'a correction that takes progress away is recorded');
select tests.forget();
update lms.lesson_progress set completed_at = completed_at - interval '1 day' where lesson_id = tests.id('safety/2');
select is((tests.newest()).table_name, 'lms.lesson_progress', '... and one that moves a completion');
delete from lms.lesson_progress where lesson_id = tests.id('safety/2');
select is((tests.newest()).operation || (tests.newest()).row_id, format('DELETE%s,%s', tests.id('dora takes safety'), tests.id('safety/2')), '... and one that deletes it');

-- What somebody else than the learner gives shows as well.
select tests.member('otto', 'works'), tests.enrollment('otto', 'safety');
insert into lms.lesson_progress (lesson_id, user_id, progress_percentage) values (tests.id('safety/1'), tests.id('otto'), 20);
select tests.forget();
select tests.as_service();
update lms.lesson_progress set time_spent_seconds = 60, last_accessed_at = now() where lesson_id = tests.id('safety/1') and user_id = tests.id('otto');
select tests.as_owner();
select is_empty('select tests.recorded()', 'what the service notes beside the percentage is no correction');
select tests.as_service();
update lms.lesson_progress set progress_percentage = 60 where lesson_id = tests.id('safety/1') and user_id = tests.id('otto');
select tests.as_owner();
select results_eq(
  'select tests.recorded()', array['UPDATE lms.lesson_progress {"progress_percentage": {"new": 60, "old": 20}}'],
  'a percentage that the service raises is recorded, once'
);
select is(
  ((tests.newest()).tenant_id, (tests.newest()).row_id, (tests.newest()).actor_role)::text,
  (tests.id('works'), concat_ws(',', tests.id('otto takes safety'), tests.id('safety/1')), 'service_role')::text,
  '... of which tenant and row, and by whom'
);
select tests.forget();
update lms.lesson_progress set progress_percentage = 100, completed_at = '2026-01-02 03:04:05+00' where lesson_id = tests.id('safety/1') and user_id = tests.id('otto') and progress_percentage = 60;
select is(
  (tests.newest()).changes,
  jsonb_build_object(
    'progress_percentage', jsonb_build_object('old', 60, 'new', 100),
    'completed_at', jsonb_build_object('old', null, 'new', timestamptz '2026-01-02 03:04:05+00')
  ),
  'a completion that the owner of the database gives is recorded with its date'
);

-- =====================================================================================================
-- From where
-- =====================================================================================================

create function tests.rename(title text) returns audit.log language plpgsql as $$
begin
  update lms.courses c set title = $1 where c.id = tests.id('safety');
  return tests.newest();
end
$$;
select set_config('request.method', 'PATCH', true), set_config('request.path', '/courses', true), set_config('request.headers', json_build_object(
  'x-forwarded-for', '10.1.2.3', 'user-agent', 'agent/1', 'x-client-info', 'supabase-js/2', 'x-request-id', 'request-1', 'authorization', 'Bearer canary-token', 'cookie', 'canary-cookie'
)::text, true), set_config('lyceum.job', 'forged-job', true);
select tests.as('ines');
select is(tests.error_of($$ update lms.courses set title = 'By Ines' where id = tests.id('safety') $$), 'none', 'a change over HTTP');
select tests.as_owner();
select is(
  ((tests.newest()).via, (tests.newest()).address, (tests.newest()).client, (tests.newest()).request_id)::text, ('PATCH /courses', '10.1.2.3', 'supabase-js/2 agent/1', 'request-1')::text,
  'the request is recorded; a job that a client''s session claims is not'
);
select is_empty($$ select * from audit.log l where l::text like '%canary-token%' or l::text like '%canary-cookie%' $$, 'tokens and cookies are not');
select is((tests.rename('By a job')).via, 'job forged-job', 'outside of requests the job is recorded');
select set_config('lyceum.job', '', true);

select set_config('request.headers', json_build_object('x-forwarded-for', repeat('1', 5000), 'user-agent', repeat('é', 5000), 'x-request-id', repeat('3', 5000))::text, true), set_config('request.path', repeat('/x', 5000), true);
select is((select array[length(l.via), length(l.address), length(l.client), length(l.request_id)] from tests.rename('Long') as l), '{200,100,300,100}', 'what a caller claims is cut to size');
select isnt((tests.rename('Malformed ' || n)).id, null, format('malformed headers do not make a write fail: %s', left(headers, 30)))
from (select row_number() over () as n, headers, set_config('request.headers', headers, true) from unnest(array['', 'no json', '[]', '"x"', '7', 'null', '{"x-forwarded-for": {"a": 1}}', '{"user-agent": "\ud800"}', '{"x-request-id": "\u0000"}', repeat('[', 100000)]) as headers offset 0) as h;
select set_config('request.headers', '', true), set_config('request.path', '', true), set_config('request.method', '', true);
select isnt((tests.rename('Claims ' || claims)).id, null, 'nor do odd claims: ' || claims)
from (select claims, set_config('request.jwt.claims', claims, true) from unnest(array['{"sub": "no-uuid"}', 'no json', '[]', '{"sub": {"a": 1}}']) as claims offset 0) as c;
select set_config('request.jwt.claims', '', true);
select is(((tests.rename('Console')).actor_id, (tests.newest()).via)::text, (null::uuid, null::text)::text, 'a console has neither person nor path');

-- INV-T5
delete from private.audit_key;
select tests.person('newcomer', '{"first_name": "New"}');
select is((select first_name from public.profiles where id = tests.id('newcomer')), 'New', 'somebody signs up even when the key of the hashes is lost');
select is((select l.changes #> '{first_name,new}' from audit.log l where l.table_name = 'public.profiles' and l.row_id = tests.id('newcomer')::text and l.operation = 'INSERT'), '{"hash": null}', '... which is recorded, without hashes');
select is_empty($$ select * from private.sign_up_notes where user_id = tests.id('newcomer') $$, '... and nothing had to be worked around');
insert into private.audit_key default values;

-- =====================================================================================================
-- Reading
-- =====================================================================================================

select tests.member('audrey', 'works', 'auditor'), tests.member('mona', 'works', 'unit_manager', 'u2', 'u2'), tests.member('max', 'mill', 'tenant_admin');
-- audit.read for a unit is not audit.read for the tenant.
insert into lms.roles (id, tenant_id, key, name) values (tests.id('unit auditor'), tests.id('works'), 'unit_auditor', 'Unit auditor');
insert into lms.role_permissions values (tests.id('works'), tests.id('unit auditor'), 'audit.read');
insert into lms.role_grants (tenant_id, membership_id, role_id, unit_id) values (tests.id('works'), tests.id('mona in works'), tests.id('unit auditor'), tests.id('u2'));

select is(tests.try(who, format('select * from lms.get_audit_trail(%L)', tests.id('works'))), '42501', format('%s does not read the trail', who))
from unnest(array['anonymous', 'service', 'ines', 'dora', 'mona', 'max', 'stranger']) as who;
select is(tests.try(who, format('select * from lms.get_audit_heads(%L)', tests.id('works'))), '42501', format('%s does not read the heads', who))
from unnest(array['anonymous', 'service', 'ines', 'dora', 'mona', 'max', 'stranger']) as who;
select is(tests.try('audrey', 'select * from lms.get_audit_trail(null)'), '42501', 'there is no trail of no tenant');
select is(tests.try('audrey', format('select * from lms.get_audit_trail(%L)', gen_random_uuid())), '42501', 'a tenant that does not exist is answered like a foreign one');

create function tests.trail(name text, arguments text) returns setof lms.audit_entry language plpgsql as $$
begin
  perform tests.be(name);
  return query execute format('select * from lms.get_audit_trail(%L, %s)', tests.id('works'), arguments);
  perform tests.as_owner();
end
$$;
select is((select count(*) || ' ' || (array_agg(id) = array_agg(id order by id desc))::text from tests.trail('audrey', 'p_limit => 500')), (select count(*) || ' true' from audit.log where tenant_id = tests.id('works')), 'auditors read it, newest first');
select is((select count(*) from tests.trail('tina', 'p_limit => 7')), 7::bigint, 'administrators as well; a page is as long as asked for');
select is((select count(*) from tests.trail('tina', 'null')), 50::bigint, '... or fifty');
select is(tests.error_of(format('select * from lms.get_audit_trail(%L, p_limit => %s)', tests.id('works'), n)), '422 invalid_limit', format('a limit of %s is refused', n)) from unnest(array['0', '501', 'null', '-1']) as n;
create function tests.all_pages() returns setof bigint language plpgsql as $$
declare
  v_before bigint; v_page bigint[];
begin
  loop
    v_page := array(select t.id from tests.trail('audrey', format('p_limit => 97, p_before_id => %L', v_before)) as t);
    return query select unnest(v_page);
    exit when cardinality(v_page) < 97;
    v_before := v_page[97];
  end loop;
end
$$;
select results_eq('select * from tests.all_pages()', $$ select l.id from audit.log l where l.tenant_id = tests.id('works') order by l.id desc $$, 'page by page one reads all of the tenant''s rows, and no other');
select results_eq(
  $$ select distinct table_name || row_id from tests.trail('audrey', format('%L, %L', 'lms.courses', tests.id('safety'))) $$, array['lms.courses' || tests.id('safety')], 'the trail of a row'
);
select results_eq($$ select distinct actor_id from tests.trail('audrey', format('p_actor_id => %L', tests.id('ines'))) $$, array[tests.id('ines')], 'the trail of a person');
select results_eq($$ select distinct table_name from tests.trail('audrey', $b$ 'lms.roles', p_limit => 500 $b$) $$, array['lms.roles'], 'the trail of a table');
select is((select count(*) from tests.trail('audrey', $$ p_from => now() + interval '1 day' $$)), 0::bigint, 'from a time');
select is((select count(*) from tests.trail('audrey', $$ p_until => now() - interval '1 day' $$)), 0::bigint, 'until a time');
select is((select count(*) from tests.trail('audrey', $$ p_from => now() - interval '1 day', p_until => now() + interval '1 day' $$)), 50::bigint, 'between times');
select is((select count(*) from tests.trail('audrey', $$ '''; drop table audit.log; --', ''' or true --' $$)), 0::bigint, 'what is asked for is a value, never SQL');
update lms.memberships set status = 'suspended' where user_id = tests.id('audrey');
select is(tests.try('audrey', format('select * from lms.get_audit_trail(%L)', tests.id('works'))), '42501', 'INV-T4: a suspended auditor reads nothing');
update lms.memberships set status = 'active' where user_id = tests.id('audrey');

select results_eq(
  $$ select column_name, old_value, new_value, actor from audit.row_history where row_id = tests.id('safety')::text and actor_id = tests.id('tina') order by id, column_name $$,
  $$ values ('capacity', 'null'::jsonb, '20'::jsonb, 'Tina'), ('title', '"Safety"', '"Safety first"', 'Tina') $$, 'operators see what happened to a row'
);
select results_eq(
  $$ select tenant, operation, table_name, column_names from audit.person_history where actor_id = tests.id('tina') order by id $$, $$ values ('works'::private.slug, 'UPDATE', 'lms.courses', array['title', 'capacity']) $$, '... and what a person did'
);

create function tests.plan_of(condition text) returns text language plpgsql as $$
declare
  v_line text; v_plan text := '';
begin
  set local enable_seqscan = off; set local enable_bitmapscan = off; set local enable_sort = off;
  for v_line in execute 'explain (costs off) select * from audit.log l where ' || condition || ' order by l.id desc limit 50' loop
    v_plan := v_plan || v_line || E'\n';
  end loop;
  reset enable_seqscan; reset enable_bitmapscan; reset enable_sort;
  return v_plan;
end
$$;
select alike(tests.plan_of($$ l.tenant_id = tests.id('works') $$), '%Index Scan Backward using log_default_tenant_id_id_idx%', 'the trail of a tenant walks an index');
select alike(tests.plan_of($$ l.actor_id = tests.id('works') $$), '%Index Scan Backward using log_default_actor_id_id_idx%', '... of a person');
select alike(tests.plan_of($$ l.row_id = 'x' $$), '%log_default_row_id_idx%', '... of a row');

-- =====================================================================================================
-- Sealing
-- =====================================================================================================

-- Rows of the running transaction cannot be sealed: these are made to look like those of earlier ones.
create function tests.age() returns void language plpgsql as $$
begin
  alter table audit.log disable trigger _100_append_only;
  update audit.log l set xid = '3' where l.xid = pg_current_xact_id();
  alter table audit.log enable trigger _100_append_only;
end
$$;
create function tests.unsealed() returns bigint language sql as $$ select count(*) from audit.log l where not exists (select from audit.seals s where l.id = any (s.log_ids)) $$;
-- Up to the last row and no further, so that the next rows can be aged as well.
create function tests.seal() returns bigint language plpgsql as $$
begin
  perform tests.age();
  return ops.seal_audit_log(tests.unsealed()::integer);
end
$$;
create function tests.problems(heads jsonb default null, tenant text default null) returns setof text language sql as $$
  select format('%s: seal %s, row %s: %s', coalesce((select t.slug from lms.tenants t where t.id = v.tenant_id), 'platform'), coalesce(v.seal_number::text, '-'), case when v.log_id is null then '-' else 'n' end, v.problem)
  from audit.verify(case when tenant is not null then tests.id(tenant) end, heads) as v
$$;
-- What verification says after a statement of somebody who disabled the triggers; undone afterwards.
create function tests.tamper(statement text, heads jsonb default null) returns text[] language plpgsql as $$
declare
  v_problems text[];
begin
  begin
    alter table audit.log disable trigger user;
    alter table audit.log_default disable trigger user;
    alter table audit.seals disable trigger user;
    execute statement;
    v_problems := array(select tests.problems(heads));
    raise exception using errcode = 'UNDO0';
  exception when sqlstate 'UNDO0' then null;
  end;
  return v_problems;
end
$$;

select is(ops.seal_audit_log(), 0::bigint, 'what may still be undone is not sealed');
select is_empty('select tests.problems()', 'nothing sealed, nothing broken');
update audit.seal_state set sealed_xid = '0', sealed_id = 0;
select tests.age();
select is(ops.seal_audit_log(10), 10::bigint, 'a run of the sealing is bounded');
select is(ops.seal_audit_log(10), 10::bigint, '... and the next one goes on');
select is_empty('select tests.problems()', '... and the chain holds');
select is(tests.seal() > 300, true, 'the rest');
select is(tests.unsealed(), 0::bigint, 'every row is in a seal');
select is((select count(*) from (select unnest(log_ids) from audit.seals) as i), (select count(*) from audit.log), '... in one');
select set_eq('select tenant_id, number from audit.heads', 'select tenant_id, max(number) from audit.seals group by 1', 'the heads are the newest seals');
select is_empty('select tests.problems()', 'the chain holds');
select set_config('request.jwt.claims', format('{"sub": "%s"}', tests.id('ines')), true);
select tests.rename('Sealed 1'), tests.rename('Sealed 2'), tests.seal();
select set_config('request.jwt.claims', '', true);
select tests.rename('Sealed 3'), tests.seal();
select is_empty('select tests.problems()', 'it holds as it grows');
select is((select count(distinct s.number) from audit.seals s where tenant_id = tests.id('mill')), (select number from audit.heads where tenant_id = tests.id('mill')), 'tenants have chains of their own');
create table tests.exported as select jsonb_agg(jsonb_build_object('tenant_id', h.tenant_id, 'number', h.number, 'hash', encode(h.hash, 'hex'))) as heads from audit.heads h;
grant select on tests.exported to authenticated;
select is_empty('select tests.problems((select heads from tests.exported))', 'and holds against heads kept elsewhere');

select tests.as('audrey');
select is((select array[number::text, hash] from lms.get_audit_heads(tests.id('works'))), (select array[h ->> 'number', h ->> 'hash'] from tests.exported, jsonb_array_elements(heads) as h where h ->> 'tenant_id' = tests.id('works')::text), 'auditors get the head of their tenant');
select tests.as_owner();
select is_empty('select tests.problems((select jsonb_agg(to_jsonb(h)) from audit.heads h where false))', 'no heads are no heads');

set local time zone 'Asia/Kathmandu'; set local datestyle = 'German, DMY'; set local intervalstyle = 'sql_standard'; set local bytea_output = 'escape'; set local extra_float_digits = -5;
select is_empty('select tests.problems((select heads from tests.exported))', 'settings of a session do not matter');
set local time zone 'UTC'; set local datestyle to default; set local intervalstyle to default; set local bytea_output to default; set local extra_float_digits to default;

-- The third seal from the end of works holds two rows, then come one of one row, and so on.
create table tests.target as
  select s.number, s.log_ids[1] as id, (select max(number) from audit.seals where tenant_id = tests.id('works')) as last
  from audit.seals s where s.tenant_id = tests.id('works') and s.log_ids[1] = (select min(id) from audit.log where changes #>> '{title,new}' = 'Sealed 1');

select is(tests.tamper(format('update audit.log set %s where id = (select id from tests.target)', change)), array[(select format('works: seal %s, row n: row altered', number) from tests.target)], 'found: ' || change)
from unnest(array[
  $$ changes = '{}' $$, $$ changes = jsonb_set(changes, '{title,new}', '"x"') $$, $$ recorded_at = recorded_at + interval '1 microsecond' $$, $$ actor_id = tests.id('max') $$, $$ actor_id = null $$, $$ actor_role = 'x' $$, $$ tenant_id = tests.id('mill') $$,
  $$ tenant_id = null $$, $$ table_name = 'lms.lessons' $$, $$ row_id = '1' $$, $$ operation = 'DELETE' $$, $$ via = 'x' $$, $$ address = 'x' $$, $$ client = 'x' $$, $$ request_id = 'x' $$, $$ xid = '7' $$
]) as change;
select is(tests.tamper('delete from audit.log where id = (select id from tests.target)'), array[(select format('works: seal %s, row n: row missing', number) from tests.target)], 'found: a row that was deleted');
select is(tests.tamper('with gone as (delete from audit.log where id = (select id from tests.target) returning *) insert into audit.log overriding system value select id + 1000000, xid, recorded_at, tenant_id, table_name, row_id, operation, changes, actor_id, actor_role, via, address, client, request_id from gone'), array[(select format('works: seal %s, row n: row missing', number) from tests.target)], 'found: a row that got another id');
select is(tests.tamper('truncate audit.log'), array(select format('%s: seal 1, row n: row missing', coalesce((select t.slug from lms.tenants t where t.id = h.tenant_id), 'platform')) from audit.heads h order by tenant_id), 'found: the log was emptied');
select is(
  tests.tamper($$ insert into audit.log (xid, tenant_id, table_name, row_id, operation, changes, actor_role) values ('2', tests.id('works'), 'lms.courses', 'x', 'UPDATE', '{}', 'x') $$),
  array['works: seal -, row n: row slipped in'], 'found: a row that was slipped in below what is sealed'
);
select is(
  tests.tamper($$ insert into audit.log (xid, tenant_id, table_name, row_id, operation, changes, actor_role) values ('9223372036854775807', null, 'public.profiles', 'x', 'UPDATE', '{}', 'x') $$),
  array['platform: seal -, row n: row slipped in'], 'found: a row of a transaction that is still to come'
);
select is(
  tests.tamper('insert into audit.log (id, xid, recorded_at, tenant_id, table_name, row_id, operation, changes, actor_role) overriding system value select id, xid, recorded_at + interval ''1 day'', tenant_id, table_name, row_id, operation, changes, actor_role from audit.log where id = (select id from tests.target)'),
  array[(select format('works: seal %s, row n: row altered', number) from tests.target)], 'found: a second row with the id of a sealed one'
);
select is(tests.tamper(format('update audit.seals set %s where tenant_id = tests.id(''works'') and number = (select number from tests.target)', change)), array[(select format('works: seal %s, row -: seal altered', number) from tests.target)], 'found: ' || change)
from unnest(array[
  $$ hash = sha256('x') $$, $$ previous_hash = sha256('x') $$, $$ sealed_at = sealed_at - interval '1 day' $$, $$ log_ids = log_ids[1:1], row_hashes = row_hashes[1:1] $$, $$ row_hashes[1] = sha256('x') $$, $$ row_hashes = null $$
]) as change where change not like '%null%';
select is(tests.tamper($$ delete from audit.seals where tenant_id = tests.id('works') and number = (select number from tests.target) $$), array[(select format('works: seal %s, row -: seal missing', number) from tests.target)], 'found: a seal is missing in the middle');
-- Whoever alters a row, its seal, and everything that follows from it, needs the later seals as well.
create function tests.forge() returns void language plpgsql as $$
declare
  v_target record; v_seal audit.seals;
begin
  select * into v_target from tests.target;
  update audit.log set changes = '{}' where id = v_target.id;
  select * into v_seal from audit.seals s where s.tenant_id = tests.id('works') and s.number = v_target.number;
  v_seal.row_hashes[1] := (select audit.hash_row(l) from audit.log l where l.id = v_target.id);
  update audit.seals s set row_hashes = v_seal.row_hashes, hash = audit.hash_seal(v_seal) where s.tenant_id = tests.id('works') and s.number = v_target.number;
end
$$;
create function tests.forge_on() returns void language plpgsql as $$
declare
  v_seal audit.seals; v_last bytea;
begin
  perform tests.forge();
  v_last := (select s.hash from audit.seals s, tests.target t where s.tenant_id = tests.id('works') and s.number = t.number);
  for v_seal in select s.* from audit.seals s, tests.target t where s.tenant_id = tests.id('works') and s.number > t.number order by s.number loop
    v_seal.previous_hash := v_last;
    v_last := audit.hash_seal(v_seal);
    update audit.seals s set previous_hash = v_seal.previous_hash, hash = v_last where s.tenant_id = v_seal.tenant_id and s.number = v_seal.number;
  end loop;
  update audit.heads set hash = v_last where tenant_id = tests.id('works');
end
$$;
create function tests.shorten_chain() returns void language plpgsql as $$
begin
  delete from audit.heads where tenant_id = tests.id('works');
  delete from audit.log l using audit.seals s, tests.target t where s.tenant_id = tests.id('works') and s.number >= t.number and l.id = any (s.log_ids);
  delete from audit.seals s using tests.target t where s.tenant_id = tests.id('works') and s.number >= t.number;
  insert into audit.heads select s.tenant_id, s.number, s.hash, s.sealed_at from audit.seals s where s.tenant_id = tests.id('works') order by number desc limit 1;
end
$$;
select is(tests.tamper('select tests.forge()'), array[(select format('works: seal %s, row -: seal altered', number + 1) from tests.target)], 'found: a row and its seal rewritten together');
select is(tests.tamper('select tests.forge_on()'), '{}', 'not found without a head from elsewhere: everything from there on rewritten');
select is(tests.tamper('select tests.forge_on()', (select heads from tests.exported)), array[(select format('works: seal %s, row -: seal differs from the head', last) from tests.target)], '... but with one');
select is(tests.tamper('select tests.shorten_chain()'), '{}', 'not found without a head from elsewhere: the end cut off, with all traces');
select is(tests.tamper('select tests.shorten_chain()', (select heads from tests.exported)), array[(select format('works: seal %s, row -: seal missing', last) from tests.target)], '... but with one');
select is(
  tests.tamper($$ alter table audit.heads drop constraint head_is_a_seal; delete from audit.seals s using tests.target t where s.tenant_id = tests.id('works') and s.number > t.number; delete from audit.log where id = (select max(id) from audit.log) $$),
  array[(select format('works: seal %s, row -: seal missing', last) from tests.target)], 'found: seals cut off and the head forgotten'
);
select is((select count(*) from unnest(tests.tamper('delete from audit.heads; delete from audit.seals')) as p where p like '%row slipped in'), (select count(*) from audit.heads), 'found: all seals deleted, the log left');
select is((select count(*) from unnest(tests.tamper('delete from audit.heads; delete from audit.seals; truncate audit.log', (select heads from tests.exported))) as p where p like '%seal missing'), (select count(*) from audit.heads), 'found with heads: everything deleted');
select results_eq($$ select tests.problems(tenant => 'works') $$, array[]::text[], 'one tenant''s chain alone');
select is_empty('select tests.problems((select heads from tests.exported))', 'and after all this the chain holds as before');

-- =====================================================================================================
-- After dump and restore, transactions are numbered anew
-- =====================================================================================================

select tests.rename('Before the restore, unsealed');
select tests.age();
create table tests.before as select max(number) as number from audit.seals where tenant_id = tests.id('works');
update audit.seal_state set system_identifier = 1;
select is_empty('select tests.problems()', 'a restored log that was not sealed since is not called broken');
select is(ops.seal_audit_log(100000), 1::bigint, 'after a restore rows that no seal names are sealed, once');
select ok((select restored_by is not null and restored_id > (select max(id) from audit.log) from audit.seal_state), '... and looked for again, until no transaction is left that was running then');
select is(ops.seal_audit_log(), 0::bigint, '... and no row twice');
select is_empty('select tests.problems((select heads from tests.exported))', 'the chain goes on where it was');
select is(tests.unsealed(), 0::bigint, 'nothing is left out');
update audit.seal_state set restored_by = '1';
select ops.seal_audit_log();
select is((select restored_by from audit.seal_state), null, 'then sealing goes by transactions again');
select is(tests.tamper($$ insert into audit.log (id, xid, tenant_id, table_name, row_id, operation, changes, actor_role) overriding system value values ((select s.log_ids[1] from audit.seals s where s.tenant_id = tests.id('works') and s.number = 1), '2', tests.id('works'), 'lms.courses', 'x', 'UPDATE', '{}', 'x') $$), array['works: seal 1, row n: row altered'], 'a row slipped in among restored ones under an id in use');
select is(tests.tamper($$ delete from audit.log where id = 3; $$) <> '{}', true, 'a restored row deleted');
select is(tests.tamper($$ insert into audit.log (id, xid, tenant_id, table_name, row_id, operation, changes, actor_role) overriding system value values (-3, '2', tests.id('works'), 'lms.courses', 'x', 'UPDATE', '{}', 'x') $$), array['works: seal -, row n: row slipped in'], '... or slipped in under a new one is found');

-- =====================================================================================================
-- Partitions
-- =====================================================================================================

select is(ops.make_audit_partitions(), 3, 'partitions are made ahead; the month that the default one holds rows of stays with it');
select is(ops.make_audit_partitions(), 0, 'INV-O1: and only once');
select is((select count(*) from pg_inherits where inhparent = 'audit.log'::regclass), 4::bigint, 'they belong to the log');
create table tests.next as select to_char((now() at time zone 'UTC') + interval '1 month', '"audit.log_"YYYY_MM') as name;
insert into audit.log (recorded_at, table_name, operation, changes, actor_role) values (date_trunc('month', now() at time zone 'UTC') at time zone 'UTC' + interval '1 month', 'x', 'INSERT', '{}', 'x');
select is(tests.rows_of('select * from ' || name), 1::bigint, 'a row of next month lands there') from tests.next;
select is(tests.error_of(format(statement, name)), '42501', 'and is protected there: ' || statement) from tests.next, unnest(array['truncate %s', 'delete from %s', 'update %s set changes = ''{"a": 1}''']) as statement;
select is_empty($$ select c.oid::regclass from tests.audit_relations c where c.relkind in ('r', 'p') and not c.relrowsecurity $$, 'partitions have row level security');
select is_empty($$ select r, c.oid::regclass from unnest(array['anon', 'authenticated', 'service_role']) as r, tests.audit_relations c where c.relkind = 'r' and has_table_privilege(r, c.oid, 'select, insert, update, delete, truncate') $$, '... and are closed to API roles');

-- Nobody who cannot disable triggers changes what was sealed, the owner of the tables neither.
select tests.as_owner();
select ok(exists (select from audit.seals) and exists (select from audit.log), 'there is something to change');
select is(tests.error_of(statement), '42501', 'refused: ' || statement)
from (values
  ('update audit.seals set number = number'), ('delete from audit.seals'), ('truncate audit.seals, audit.heads'),
  ('update audit.log set operation = operation'), ('delete from audit.log'), ('truncate audit.log')
) as changes (statement);

select * from finish();
rollback;
