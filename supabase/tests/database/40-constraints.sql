begin;
\ir ../helpers.sql
select * from no_plan();

-- Each constraint refuses what its name says, also from whoever owns the tables: it is what stays when a policy, a trigger
-- or an import has a fault. Where triggers say it first, to tell more, their own tests ask them.

select tests.tenant('works'), tests.tenant('press'), tests.unit('north', 'works'), tests.unit('south', 'press');
select tests.member('boss', 'works', 'tenant_admin'), tests.member('dora', 'works'), tests.member('ines', 'works', 'instructor');
select tests.member('paul', 'press', 'instructor'), tests.person('gus');
select tests.course('safety', 'works', 'ines'), tests.course('novel', 'press', 'paul');
select tests.enrollment('dora', 'safety');
insert into lms.lesson_progress (lesson_id, user_id, progress_percentage) values (tests.id('safety/1'), tests.id('dora'), 20);
insert into lms.learning_paths (id, tenant_id, slug, title) values (tests.id('way'), tests.id('works'), 'way', 'Way');
insert into lms.path_enrollments (tenant_id, path_id, user_id) values (tests.id('works'), tests.id('way'), tests.id('dora'));
insert into billing.entitlements (tenant_id, user_id, source) values (tests.id('works'), tests.id('dora'), 'grant');
insert into lms.block_progress (block_id, user_id) select b.id, tests.id('dora') from lms.lesson_blocks b where b.lesson_id = tests.id('safety/1');
insert into lms.cohorts (id, tenant_id, name) values (tests.id('cohort'), tests.id('works'), 'Spring');
insert into lms.invitations (id, tenant_id, email, role_id, expires_at)
values (tests.id('invitation'), tests.id('works'), 'new@example.com', tests.role_id('works', 'learner'), now() + interval '1 day');
insert into private.invitation_tokens (invitation_id, token_hash) values (tests.id('invitation'), '\x01');
update lms.org_units set code = 'N' where id = tests.id('north');
update lms.memberships set employee_number = '1' where id = tests.id('dora in works');
select tests.unit('west', 'works');

create table tests.refusals (name text, statement text);

-- Of which tenant.
insert into tests.refusals values
  ('23503 org_unit_belongs_to_a_tenant', format('insert into lms.org_units (tenant_id, name) values (%L, ''Lost'')', tests.id('nowhere'))),
  ('23503 role_belongs_to_a_tenant', format('insert into lms.roles (tenant_id, key, name) values (%L, ''lost'', ''Lost'')', tests.id('nowhere'))),
  ('23503 membership_belongs_to_a_tenant', format('insert into lms.memberships (tenant_id, user_id) values (%L, %L)', tests.id('nowhere'), tests.id('gus'))),
  ('23503 membership_is_of_a_person', format('insert into lms.memberships (tenant_id, user_id) values (%L, %L)', tests.id('works'), tests.id('nobody'))),
  ('23503 cohort_belongs_to_a_tenant', format('insert into lms.cohorts (tenant_id, name) values (%L, ''Lost'')', tests.id('nowhere'))),
  ('23503 course_belongs_to_a_tenant', format('insert into lms.courses (tenant_id, slug, title, instructor_id) values (%L, ''lost'', ''Lost'', %L)', tests.id('nowhere'), tests.id('ines'))),
  ('23503 invitation_belongs_to_a_tenant', format('update lms.invitations set tenant_id = %L', tests.id('nowhere'))),
  ('23503 invitation_role_is_of_the_same_tenant', format('update lms.invitations set role_id = %L', tests.role_id('press', 'learner'))),
  ('23503 invitation_unit_is_of_the_same_tenant', format('update lms.invitations set unit_id = %L', tests.id('south'))),
  ('23503 assigning_role_is_of_the_same_tenant', format(
    'insert into lms.assignable_roles (tenant_id, role_id, assignable_role_id) values (%L, %L, %L)',
    tests.id('works'), tests.role_id('press', 'hr_admin'), tests.role_id('works', 'learner')
  )),
  ('23503 builtin_role_permissions_key_fkey', 'insert into private.builtin_role_permissions (key, permission) values (''king'', ''members.read'')'),
  ('23503 builtin_role_permissions_permission_fkey', 'insert into private.builtin_role_permissions (key, permission) values (''learner'', ''cheese.read'')'),
  ('23503 builtin_assignable_roles_key_fkey', 'insert into private.builtin_assignable_roles (key, assignable_key) values (''king'', ''learner'')'),
  ('23503 builtin_assignable_roles_assignable_key_fkey', 'insert into private.builtin_assignable_roles (key, assignable_key) values (''learner'', ''king'')'),
  ('23503 job_run_is_of_a_job', 'insert into ops.job_runs (job, started_at, finished_at, status, rows_done) values (''no-such-job'', now(), now(), ''succeeded'', 0)'),
  ('23503 platform_admins_user_id_fkey', format('insert into private.platform_admins (user_id) values (%L)', tests.id('nobody')));

-- Once.
insert into tests.refusals values
  ('23505 org_unit_code_is_taken', format('update lms.org_units set code = ''N'' where id = %L', tests.id('west'))),
  ('23505 employee_number_is_taken', format('update lms.memberships set employee_number = ''1'' where id = %L', tests.id('ines in works'))),
  ('23505 cycle_is_taken', format(
    'insert into lms.enrollments (course_id, user_id, cycle, status, enrolled_at, dropped_at) values (%L, %L, 1, ''dropped'', now(), now())',
    tests.id('safety'), tests.id('dora')
  )),
  ('23505 invitation_token_is_unique', format(
    'with i as (insert into lms.invitations (tenant_id, email, role_id, expires_at) values (%L, ''two@example.com'', %L, now()) returning id)
     insert into private.invitation_tokens (invitation_id, token_hash) select id, ''\x01'' from i',
    tests.id('works'), tests.role_id('works', 'learner')
  ));

-- What a value may be.
insert into tests.refusals
select '23514 ' || name, statement
from (values
  ('invitations_are_valid_for_1_to_90_days', 'update lms.tenants set invitation_valid_days = 0'),
  ('invitations_are_valid_for_1_to_90_days', 'update lms.tenants set invitation_valid_days = 91'),
  ('tenant_domain_is_a_host_name', 'update lms.tenants set domain = ''-works.example'''),
  ('tenant_domain_is_a_host_name', 'update lms.tenants set domain = ''works'''),
  ('tenant_settings_are_an_object', 'update lms.tenants set settings = ''[]'''),
  ('tenant_settings_are_an_object', 'update lms.tenants set settings = jsonb_build_object(''x'', repeat(''x'', 50000))'),
  ('org_unit_code_is_short', 'update lms.org_units set code = ''a b'''),
  ('org_unit_code_is_short', 'update lms.org_units set code = repeat(''x'', 41)'),
  ('org_unit_kind_is_known', 'update lms.org_units set kind = ''planet'''),
  ('permission_is_dotted_words', 'insert into lms.permissions (permission, description) values (''everything'', ''All'')'),
  ('role_key_is_words_joined_by_underscores', format('insert into lms.roles (tenant_id, key, name) values (%L, ''Big Boss'', ''Boss'')', tests.id('works'))),
  ('job_title_is_short', 'update lms.memberships set job_title = repeat(''x'', 201)'),
  ('membership_has_an_end_exactly_when_ended', format('update lms.memberships set ended_at = now() where id = %L', tests.id('dora in works'))),
  ('invitation_accepted_by_somebody', format('update lms.invitations set accepted_by = %L', tests.id('gus'))),
  ('invitation_is_not_both_accepted_and_revoked', format('update lms.invitations set accepted_at = now(), accepted_by = %L, revoked_at = now()', tests.id('gus'))),
  ('invited_first_name_is_one_short_line', 'update lms.invitations set first_name = repeat(''x'', 101)'),
  ('invited_first_name_is_one_short_line', 'update lms.invitations set first_name = E''Ann\nBcc: all'''),
  ('invited_last_name_is_one_short_line', 'update lms.invitations set last_name = repeat(''x'', 101)'),
  ('invited_last_name_is_one_short_line', 'update lms.invitations set last_name = E''Ann\rBcc: all'''),
  ('invited_job_title_is_short', 'update lms.invitations set job_title = repeat(''x'', 201)'),
  ('cohort_description_is_short', 'update lms.cohorts set description = repeat(''x'', 5001)'),
  ('meta_description_is_short', 'update lms.courses set meta_description = repeat(''x'', 501)'),
  ('meta_keywords_are_short', 'update lms.courses set meta_keywords = repeat(''x'', 501)'),
  ('version_label_is_short', 'update lms.courses set version_label = repeat(''x'', 51)'),
  ('course_staff_part_is_known', 'update lms.course_staff set part = ''guru'''),
  ('module_description_is_short', 'update lms.modules set description = repeat(''x'', 20001)'),
  ('module_order_is_within_a_million', 'update lms.modules set order_index = -1'),
  ('module_order_is_within_a_million', 'update lms.modules set order_index = 1000000'),
  ('release_is_a_day_of_calendars', 'update lms.lessons set release_on = ''1899-12-31'''),
  ('watched_parts_are_seconds', 'update lms.block_progress set watched = ''{[-5,10)}'''),
  ('watched_parts_are_few', 'update lms.block_progress set watched = (select range_agg(int4range(n * 2, n * 2 + 1)) from generate_series(1, 9000) n)'),
  ('path_due_date_is_finite', 'update lms.path_enrollments set due_at = ''infinity'''),
  ('entitlement_dates_are_finite', 'update billing.entitlements set valid_until = ''infinity'''),
  ('entitlement_dates_are_finite', 'update billing.entitlements set valid_from = ''-infinity'''),
  ('due_and_expiry_dates_are_finite', 'update lms.enrollments set expires_at = ''-infinity'''),
  ('lesson_description_is_short', 'update lms.lessons set description = repeat(''x'', 20001)'),
  ('block_content_has_the_shape_of_its_type', 'update lms.lesson_blocks set content = ''{"html": "x"}'''),
  ('block_metadata_is_an_object', 'update lms.lesson_blocks set metadata = ''[]'''),
  ('block_metadata_is_an_object', 'update lms.lesson_blocks set metadata = jsonb_build_object(''x'', repeat(''x'', 20000))'),
  ('block_order_is_within_a_million', 'update lms.lesson_blocks set order_index = -1'),
  ('enrollment_source_is_known', 'update lms.enrollments set source = ''magic'''),
  ('has_a_completion_date_exactly_when_completed', 'update lms.lesson_progress set completed_at = now()'),
  ('has_a_completion_date_exactly_when_completed', 'update lms.lesson_progress set progress_percentage = 100, completed_at = null'),
  ('idempotency_key_is_1_to_255_characters', format('insert into private.idempotency_keys (user_id, operation, key, request) values (%L, ''enroll'', '''', ''{}'')', tests.id('dora'))),
  ('job_name_is_words_joined_by_hyphens', 'update ops.jobs set name = ''Drop Everything'' where name = ''seal-audit-log'''),
  ('longest_gap_is_positive', 'update ops.jobs set longest_gap = interval ''0'''),
  ('job_run_status_is_known', 'insert into ops.job_runs (job, started_at, finished_at, status) values (''seal-audit-log'', now(), now(), ''pending'')'),
  ('job_run_has_rows_or_an_error', 'insert into ops.job_runs (job, started_at, finished_at, status) values (''seal-audit-log'', now(), now(), ''succeeded'')'),
  ('job_run_has_rows_or_an_error', 'insert into ops.job_runs (job, started_at, finished_at, status) values (''seal-audit-log'', now(), now(), ''failed'')'),
  ('there_is_one_audit_key', 'insert into private.audit_key (is_only_row) values (false)')
) as v (name, statement);

set constraints all immediate;
select is(tests.outcome_of(r.statement), r.name, format('%s: %s', split_part(r.name, ' ', 2), left(r.statement, 90))) from tests.refusals r;

select * from finish();
rollback;
