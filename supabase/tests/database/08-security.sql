-- What is open to whom, asked of the database's own catalogue. A table, function, policy or grant that is added and not
-- listed here fails: opening something is a decision, and this is where it is written down.

begin;
\ir ../helpers.sql
select * from no_plan();

create view tests.exposed as select oid, nspname from pg_namespace where nspname in ('public', 'lms', 'content', 'media', 'billing', 'analytics');
create view tests.ours as select * from tests.exposed union all select oid, nspname from pg_namespace where nspname in ('private', 'ops', 'audit');
create view tests.relations as
  select c.*, n.nspname from pg_class c join tests.ours n on n.oid = c.relnamespace
  where not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e');
create view tests.functions as
  select p.*, n.nspname from pg_proc p join tests.ours n on n.oid = p.pronamespace
  where not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e');

-- =====================================================================================================
-- Tables
-- =====================================================================================================

select is_empty($$ select oid::regclass from tests.relations where relkind in ('r', 'p') and not relrowsecurity $$, 'every table has row level security');
select is_empty(
  $$ select c.oid::regclass from tests.relations c where c.relkind in ('r', 'p') and c.nspname in ('private', 'ops', 'audit')
     -- What the event views, which read as their caller, read: by policy, and no address leads to it.
     and c.oid not in ('private.question_events'::regclass, 'private.activity_events'::regclass)
     and exists (select from aclexplode(c.relacl) a where a.grantee in (0, 'anon'::regrole, 'authenticated'::regrole)) $$,
  'no client holds anything on a table that is not exposed'
);
select is_empty(
  $$ select c.oid::regclass from tests.relations c join tests.exposed e on e.oid = c.relnamespace where c.relkind in ('r', 'p')
     and not exists (select from pg_policy p where p.polrelid = c.oid)
     and exists (select from aclexplode(c.relacl) a where a.grantee in ('anon'::regrole, 'authenticated'::regrole)) $$,
  'every exposed table that clients reach has a policy'
);
select is_empty(
  $$ select c.oid::regclass::text from tests.relations c, aclexplode(c.relacl) a where a.grantee = 0
     union all select p.oid::regprocedure::text from tests.functions p, aclexplode(p.proacl) a where a.grantee = 0 $$,
  'nothing is granted to PUBLIC'
);
select is_empty($$ select p.oid::regprocedure from tests.functions p where p.proacl is null $$, 'no function has the default grants, which include PUBLIC');
select is_empty(
  $$ select c.oid::regclass from tests.relations c where c.relkind in ('v', 'm') and not coalesce(c.reloptions @> '{security_invoker=true}', false)
     -- Ids only, for policies; their comments say why.
     and c.oid not in ('private.learner_scopes'::regclass, 'private.enrollment_scopes'::regclass, 'private.membership_scopes'::regclass, 'private.staff_scopes'::regclass)
     and c.oid <> 'private.attempt_scopes'::regclass
     and c.oid <> 'private.employment_ends'::regclass
     and c.oid not in ('private.category_scopes'::regclass, 'private.latest_versions'::regclass) $$,
  'every view asks with the rights of its caller; there are no materialised ones'
);
select is_empty($$ select c.oid::regclass from tests.relations c where c.relkind = 'f' $$, 'there are no foreign tables');

select set_eq(
  $$
    select r.name || ' ' || c.oid::regclass || ' ' || a.privilege_type
    from tests.relations c, aclexplode(c.relacl) a, (values ('anon'), ('authenticated')) as r (name)
    where a.grantee = r.name::regrole
  $$,
  array[
    'anon lms.courses SELECT', 'anon lms.modules SELECT', 'anon lms.lessons SELECT',
    'authenticated profiles SELECT', 'authenticated profile_private SELECT', 'authenticated lms.people SELECT',
    'authenticated lms.tenants SELECT', 'authenticated lms.org_units SELECT', 'authenticated lms.permissions SELECT', 'authenticated lms.roles SELECT',
    'authenticated lms.role_permissions SELECT', 'authenticated lms.memberships SELECT', 'authenticated lms.role_grants SELECT',
    'authenticated lms.courses SELECT', 'authenticated lms.course_staff SELECT', 'authenticated lms.modules SELECT', 'authenticated lms.lessons SELECT',
    'authenticated lms.lesson_blocks SELECT', 'authenticated lms.enrollments SELECT', 'authenticated lms.lesson_progress SELECT',
    'authenticated lms.invitations SELECT', 'authenticated lms.cohorts SELECT', 'authenticated lms.cohort_members SELECT', 'authenticated lms.assignable_roles SELECT',
    -- Removing a row says nothing of its columns, so it can only be granted as a whole.
    'authenticated lms.org_units DELETE', 'authenticated lms.memberships DELETE', 'authenticated lms.roles DELETE', 'authenticated lms.role_permissions DELETE',
    'authenticated lms.assignable_roles DELETE', 'authenticated lms.role_grants DELETE', 'authenticated lms.invitations DELETE', 'authenticated lms.cohorts DELETE',
    'authenticated lms.cohort_members DELETE',
    'authenticated lms.certificates SELECT', 'authenticated lms.attestation_statements SELECT', 'authenticated lms.attestations SELECT',
    -- Versions, gating and what follows from them.
    'authenticated lms.course_versions SELECT', 'authenticated lms.version_lessons SELECT', 'authenticated lms.version_blocks SELECT', 'anon lms.version_blocks SELECT',
    'authenticated lms.block_revisions SELECT', 'anon lms.block_revisions SELECT', 'authenticated lms.block_progress SELECT', 'authenticated lms.progress_corrections SELECT',
    'anon lms.skills SELECT', 'authenticated lms.skills SELECT', 'authenticated lms.skills DELETE',
    'anon lms.lesson_skills SELECT', 'authenticated lms.lesson_skills SELECT', 'authenticated lms.lesson_skills DELETE',
    'authenticated lms.lesson_prerequisites SELECT', 'anon lms.lesson_prerequisites SELECT', 'authenticated lms.lesson_prerequisites DELETE',
    'authenticated billing.entitlements SELECT', 'authenticated billing.people SELECT', 'authenticated lms.enrollment_requests SELECT',
    'authenticated lms.course_prerequisites SELECT', 'anon lms.course_prerequisites SELECT', 'authenticated lms.course_prerequisites DELETE',
    'authenticated lms.lesson_notes SELECT', 'authenticated lms.lesson_notes DELETE',
    'anon lms.learning_paths SELECT', 'anon lms.learning_path_courses SELECT', 'authenticated lms.learning_paths SELECT', 'authenticated lms.learning_path_courses SELECT',
    'authenticated lms.learning_path_courses DELETE', 'authenticated lms.path_enrollments SELECT',
    'authenticated lms.pending_enrollments SELECT', 'authenticated lms.pending_enrollments DELETE',
    'anon lms.course_reviews SELECT', 'authenticated lms.course_reviews SELECT', 'authenticated lms.course_reviews DELETE', 'authenticated lms.review_reports SELECT',
    'anon lms.categories SELECT', 'anon lms.tags SELECT', 'anon lms.course_categories SELECT', 'anon lms.course_tags SELECT', 'anon private.category_scopes SELECT',
    'authenticated lms.categories SELECT', 'authenticated lms.tags SELECT', 'authenticated lms.course_categories SELECT', 'authenticated lms.course_tags SELECT', 'authenticated private.category_scopes SELECT',
    'authenticated lms.categories DELETE', 'authenticated lms.tags DELETE', 'authenticated lms.course_categories DELETE', 'authenticated lms.course_tags DELETE',
    'authenticated lms.notification_kinds SELECT', 'authenticated lms.notifications SELECT', 'authenticated lms.standard_templates SELECT',
    'authenticated lms.message_templates SELECT', 'authenticated lms.message_templates DELETE', 'authenticated lms.webhooks SELECT', 'authenticated lms.webhooks DELETE',
    'authenticated lms.assignment_rules SELECT', 'authenticated lms.assignment_rules DELETE', 'authenticated lms.assignment_rule_courses SELECT', 'authenticated lms.assignment_rule_courses DELETE',
    'authenticated lms.training_requirements SELECT', 'authenticated lms.training_waivers SELECT',
    'authenticated lms.led_sessions SELECT', 'authenticated lms.session_bookings SELECT', 'authenticated lms.outside_training SELECT',
    'authenticated lms.training_records SELECT', 'authenticated lms.training_record_settings SELECT', 'authenticated private.employment_ends SELECT',
    'anon private.latest_versions SELECT', 'authenticated private.latest_versions SELECT',
    -- Assessments, and attempts at them.
    'authenticated lms.assessments SELECT', 'authenticated lms.assessment_sections SELECT', 'authenticated lms.questions SELECT', 'authenticated lms.question_skills SELECT', 'authenticated lms.version_assessments SELECT', 'authenticated lms.question_revisions SELECT', 'authenticated lms.version_questions SELECT', 'authenticated lms.accommodations SELECT',
    'authenticated lms.assessment_attempts SELECT', 'authenticated lms.attempt_questions SELECT', 'authenticated lms.attempt_answers SELECT', 'authenticated lms.answer_scores SELECT', 'authenticated lms.attempt_scores SELECT', 'authenticated lms.grade_overrides SELECT', 'authenticated lms.grading_assignments SELECT', 'authenticated lms.assessment_progress SELECT',
    'authenticated lms.question_skills DELETE', 'authenticated private.attempt_scopes SELECT', 'authenticated lms.assessment_results SELECT',
    'authenticated analytics.people SELECT', 'authenticated analytics.question_events SELECT', 'authenticated analytics.activity_events SELECT', 'authenticated analytics.learning_sessions SELECT',
    'authenticated analytics.event_types SELECT', 'authenticated analytics.event_types DELETE',
    'authenticated private.question_events SELECT', 'authenticated private.activity_events SELECT',
    'authenticated analytics.saved_reports SELECT', 'authenticated analytics.saved_reports DELETE',
    'authenticated private.learner_scopes SELECT', 'authenticated private.enrollment_scopes SELECT', 'authenticated private.membership_scopes SELECT', 'authenticated private.staff_scopes SELECT'
  ],
  'clients hold exactly these rights on whole tables: to read and to remove'
);

select set_eq(
  $$
    select r.name || ' ' || a.attrelid::regclass || ' ' || g.privilege_type || ' ' || string_agg(a.attname, ' ' order by a.attname)
    from pg_attribute a
    join tests.relations c on c.oid = a.attrelid, aclexplode(a.attacl) g, (values ('anon'), ('authenticated'), ('-')) as r (name)
    where g.grantee = case when r.name = '-' then 0 else to_regrole(r.name)::oid end
    group by r.name, a.attrelid, g.privilege_type
  $$,
  array[
    'authenticated lms.notifications UPDATE read_at',
    'authenticated lms.message_templates INSERT body kind language subject tenant_id',
    'authenticated lms.message_templates UPDATE body subject',
    'authenticated lms.webhooks UPDATE description is_active kinds url',
    'authenticated profiles UPDATE avatar_url bio first_name last_name location social_links username website',
    'authenticated profile_private UPDATE knowledge_profile learning_interests learning_preferences locale notification_preferences phone time_zone',
    'authenticated lms.tenants UPDATE invitation_valid_days locale name settings time_zone',
    'authenticated lms.org_units INSERT code kind name parent_id tenant_id',
    'authenticated lms.org_units UPDATE archived_at code kind name parent_id',
    'authenticated lms.memberships INSERT employee_number job_title tenant_id unit_id user_id',
    'authenticated lms.memberships UPDATE employee_number is_guest job_title status unit_id',
    'authenticated lms.roles INSERT description key name tenant_id',
    'authenticated lms.roles UPDATE description name',
    'authenticated lms.role_permissions INSERT permission role_id tenant_id',
    'authenticated lms.assignable_roles INSERT assignable_role_id role_id tenant_id',
    'authenticated lms.role_grants INSERT membership_id role_id tenant_id unit_id',
    'authenticated lms.role_grants UPDATE role_id unit_id',
    'authenticated lms.cohorts INSERT description ends_on name starts_on tenant_id unit_id',
    'authenticated lms.cohorts UPDATE archived_at description ends_on name starts_on unit_id',
    'authenticated lms.cohort_members INSERT cohort_id user_id',
    'authenticated lms.courses INSERT allow_retake capacity certificate_renewal_days certificate_validity_months currency description difficulty enrollment_closes_at enrollment_opens_at estimated_minutes instructor_id is_featured is_sequential issues_certificate language max_attempts meta_description meta_keywords metadata price required_score self_enrollment slug tenant_id thumbnail_url title version_label visibility',
    'authenticated lms.courses UPDATE allow_retake capacity certificate_renewal_days certificate_validity_months currency description difficulty enrollment_closes_at enrollment_opens_at estimated_minutes is_featured is_sequential issues_certificate language max_attempts meta_description meta_keywords metadata price required_score self_enrollment slug thumbnail_url title version_label visibility',
    'authenticated lms.assignment_rules INSERT cohort_id description due_after_days due_on job_title name path_id recurs_every_months renewal_window_days role_id tenant_id unit_id',
    'authenticated lms.assignment_rules UPDATE cohort_id description due_after_days due_on job_title name path_id recurs_every_months renewal_window_days role_id unit_id',
    'authenticated lms.assignment_rule_courses INSERT course_id rule_id',
    'authenticated lms.led_sessions INSERT course_id ends_at lesson_id materials place_address place_name seats starts_at title trainer_address trainer_id trainer_name unit_id',
    'authenticated lms.led_sessions UPDATE ends_at materials place_address place_name seats starts_at title trainer_address trainer_id trainer_name',
    'authenticated lms.training_record_settings INSERT course_id keeps_training_record materials trainer_address trainer_name',
    'authenticated lms.training_record_settings UPDATE keeps_training_record materials trainer_address trainer_name',
    'authenticated lms.learning_paths INSERT description is_ordered language slug tenant_id thumbnail_url title visibility',
    'authenticated lms.learning_paths UPDATE description is_ordered language slug thumbnail_url title visibility',
    'authenticated lms.learning_path_courses INSERT course_id is_required order_index path_id',
    'authenticated lms.learning_path_courses UPDATE is_required order_index',
    'authenticated lms.path_enrollments UPDATE due_at',
    'authenticated lms.course_reviews INSERT body course_id rating title user_id',
    'authenticated lms.course_reviews UPDATE body rating title',
    'authenticated lms.categories INSERT color description icon_url name order_index parent_id slug tenant_id',
    'authenticated lms.categories UPDATE color description icon_url name order_index parent_id slug',
    'authenticated lms.tags INSERT color name slug tenant_id',
    'authenticated lms.tags UPDATE color name slug',
    'authenticated lms.course_categories INSERT category_id course_id',
    'authenticated lms.course_tags INSERT course_id tag_id',
    'authenticated lms.modules INSERT course_id description key order_index title',
    'authenticated lms.modules UPDATE description key order_index title',
    'authenticated lms.lessons INSERT completion_rule description duration is_preview is_published key module_id objectives order_index release_after_days release_on required_watched_percentage requires_completion title type',
    'authenticated lms.lessons UPDATE completion_rule description duration is_preview is_published key module_id objectives order_index release_after_days release_on required_watched_percentage requires_completion title type',
    'authenticated lms.lesson_blocks INSERT content is_optional lesson_id metadata order_index title type',
    'authenticated lms.lesson_blocks UPDATE content is_optional metadata order_index title type',
    'authenticated lms.assessments INSERT ai_generated answers_shown closes_at cooldown_minutes course_id grading_method holds_grades instructions is_mandatory is_published key kind lesson_id max_attempts opens_at order_index passing_percentage shuffle_options shuffle_questions sources time_limit_minutes title weight',
    'authenticated lms.assessments UPDATE ai_generated answers_shown closes_at cooldown_minutes grading_method holds_grades instructions is_mandatory is_published key kind lesson_id max_attempts opens_at order_index passing_percentage shuffle_options shuffle_questions sources time_limit_minutes title weight',
    'authenticated lms.assessment_sections INSERT assessment_id draw_count key order_index title',
    'authenticated lms.assessment_sections UPDATE draw_count key order_index title',
    'authenticated lms.questions INSERT assessment_id content order_index points prompt question_key scoring section_id type',
    'authenticated lms.questions UPDATE content order_index points prompt question_key scoring section_id type',
    'authenticated lms.question_skills INSERT question_id skill_id',
    'authenticated lms.enrollments INSERT course_id due_at enrolled_at expires_at user_id',
    'authenticated lms.enrollments UPDATE due_at expires_at',
    'authenticated lms.lesson_progress INSERT completed_at last_position lesson_id progress_percentage time_spent_seconds updated_at user_id',
    'authenticated lms.lesson_progress UPDATE completed_at last_position lesson_id progress_percentage time_spent_seconds updated_at user_id',
    'authenticated lms.lesson_prerequisites INSERT lesson_id prerequisite_lesson_id',
    'authenticated lms.skills INSERT description key name tenant_id',
    'authenticated lms.skills UPDATE description key name',
    'authenticated lms.lesson_skills INSERT lesson_id mastery_threshold part skill_id',
    'authenticated lms.lesson_skills UPDATE mastery_threshold part',
    'authenticated lms.course_prerequisites INSERT course_id min_completion_percentage prerequisite_course_id',
    'authenticated lms.course_prerequisites UPDATE min_completion_percentage',
    'authenticated analytics.event_types INSERT description event_type tenant_id',
    'authenticated analytics.event_types UPDATE description',
    'authenticated analytics.saved_reports INSERT format hour is_shared locale name parameters report schedule tenant_id',
    'authenticated analytics.saved_reports UPDATE format hour is_shared locale name parameters report schedule',
    'authenticated analytics.question_events INSERT answered_at attempt_index course_id id is_correct question_key response_meta section_key user_id',
    'authenticated analytics.activity_events INSERT course_id event_type id meta occurred_at user_id',
    'authenticated lms.lesson_notes INSERT body lesson_id position user_id',
    'authenticated lms.lesson_notes UPDATE body position',
    'authenticated lms.block_progress INSERT block_id last_position progress_percentage user_id watched',
    'authenticated lms.block_progress UPDATE block_id last_position progress_percentage user_id watched'
  ],
  'clients write exactly these columns'
);

select is_empty(
  $$ select c.oid::regclass, a.privilege_type from tests.relations c, aclexplode(c.relacl) a where c.relkind = 'S' and a.grantee in (0, 'anon'::regrole, 'authenticated'::regrole) $$,
  'clients hold nothing on sequences'
);

-- =====================================================================================================
-- Functions
-- =====================================================================================================

create function tests.executable_by(role text, exposed boolean) returns setof text language sql as $$
  select p.oid::regprocedure::text
  from tests.functions p
  where has_function_privilege(role, p.oid, 'execute') and has_schema_privilege(role, p.pronamespace, 'usage')
    and exposed = exists (select from tests.exposed e where e.oid = p.pronamespace)
$$;

select set_eq($$ select tests.executable_by('anon', true) $$, array[
  'lms.verify_certificate(text)',
  'lms.search(text,uuid,text,uuid,text,text,text,integer,text)', 'lms.get_search_facets(text,uuid,text,uuid,text,text,text)', 'lms.suggest_searches(text,uuid,integer)',
  'lms.get_categories(uuid)', 'lms.get_learning_path(uuid)',
  'lms.get_invitation(text)', 'lms.get_lesson(uuid,uuid)'
], 'anonymous callers can call exactly these functions');
select set_eq(
  $$ select tests.executable_by('authenticated', true) $$,
  array[
    'lms.mark_notifications_read(uuid[])', 'lms.create_webhook(uuid,text,text[],text)', 'lms.rotate_webhook_secret(uuid)', 'lms.get_delivery_failures(uuid,integer,uuid)', 'lms.replay_deliveries(uuid[])',
    'lms.set_assignment_rule_status(uuid,text)', 'lms.preview_assignment_rule(uuid,integer,uuid)', 'lms.explain_assignment(uuid,uuid)', 'lms.grant_training_waiver(uuid,uuid,text,timestamp with time zone)', 'lms.revoke_training_waiver(uuid)',
    'lms.get_training_status(uuid,uuid,uuid,uuid,timestamp with time zone,integer,uuid)',
    -- Reports.
    'analytics.get_completion_rate(uuid,uuid,uuid,uuid,date,date)', 'analytics.get_progress_summary(uuid,uuid,uuid,uuid,date,date,integer,text)',
    'analytics.get_enrollment_funnel(uuid,uuid,uuid,uuid,date,date)', 'analytics.get_organization_overview(uuid,uuid,integer,text)',
    'analytics.get_most_missed_questions(uuid,uuid,uuid,uuid,date,date,integer,integer,text)',
    'analytics.get_question_difficulty(uuid,uuid,uuid,uuid,date,date,integer,integer,text)',
    'analytics.get_learner_summary(uuid,uuid,integer,text)', 'analytics.get_learner_timeline(uuid,uuid,uuid,date,date,integer,text)',
    'analytics.get_due_training(uuid,uuid,uuid,uuid,text[],integer,text)', 'analytics.get_training_matrix(uuid,uuid,uuid,uuid,date,integer,text)',
    'analytics.get_engagement(uuid,uuid,uuid,uuid,date,date,text)', 'analytics.get_lesson_drop_off(uuid,uuid,uuid)',
    'analytics.describe_report(uuid,uuid,uuid,uuid,uuid,boolean)',
    'analytics.get_cohort_retention(uuid,uuid,uuid,uuid,date,date,text)',
    'lms.book_session(uuid,uuid)', 'lms.cancel_booking(uuid)', 'lms.cancel_session(uuid,text)', 'lms.record_attendance(uuid,jsonb,text)', 'lms.sign_off(uuid,text)', 'lms.withdraw_sign_off(uuid,text)',
    'lms.submit_outside_training(uuid,text,date,uuid,text,boolean,text,text,text)', 'lms.withdraw_outside_training(uuid)', 'lms.review_outside_training(uuid,boolean,text,boolean)',
    'lms.get_training_records(uuid,uuid,uuid,uuid,date,date,integer,text)', 'lms.correct_training_record(uuid,text,text,text,text,text)',
    'lms.publish_attestation_statement(uuid,text,text,text,text,text)', 'lms.retire_attestation_statement(uuid)', 'lms.sign_attestation(uuid,uuid)',
    'lms.verify_certificate(text)', 'lms.issue_certificate(uuid,text)', 'lms.revoke_certificate(uuid,text,boolean)', 'lms.reissue_certificate(uuid,text,text)',
    'lms.search(text,uuid,text,uuid,text,text,text,integer,text)', 'lms.get_search_facets(text,uuid,text,uuid,text,text,text)', 'lms.suggest_searches(text,uuid,integer)',
    'lms.enroll_in_bulk(uuid,jsonb,boolean,boolean,text)',
    'lms.get_categories(uuid)',
    'lms.get_learning_path(uuid)', 'lms.publish_learning_path(uuid)', 'lms.archive_learning_path(uuid)', 'lms.delete_learning_path(uuid)', 'lms.restore_learning_path(uuid)',
    'lms.enroll_in_path(uuid,uuid,timestamp with time zone)', 'lms.continue_path(uuid)', 'lms.leave_path(uuid,uuid)',
    'lms.reply_to_review(uuid,text)', 'lms.report_review(uuid,text)', 'lms.moderate_review(uuid,text,text)',
    'lms.import_course(uuid,jsonb,boolean)', 'lms.export_course(uuid)',
    'lms.import_assessments(uuid,jsonb,boolean)', 'lms.export_assessments(uuid)',
    'lms.archive_course(uuid)', 'lms.check_enrollment_eligibility(uuid,uuid)', 'lms.complete_lesson(uuid)', 'lms.enroll(uuid,uuid,timestamp with time zone,text)',
    'lms.get_course_outline(uuid)', 'lms.get_course_progress(uuid,uuid)', 'lms.get_dashboard()', 'lms.get_lesson(uuid,uuid)', 'lms.get_user_courses(uuid,integer,uuid)',
    'lms.invite(uuid,text,text,uuid,boolean,text,text,text,text)', 'lms.get_invitation(text)', 'lms.accept_invitation(text)', 'lms.revoke_invitation(uuid)', 'lms.leave_tenant(uuid)',
    'lms.get_health()', 'lms.get_my_access()', 'lms.get_tenants(integer,text)', 'lms.create_tenant(text,text,text,text,text,text)', 'lms.set_tenant_active(uuid,boolean)',
    'lms.import_people(uuid,jsonb,boolean,integer,boolean)', 'lms.get_audit_heads(uuid)',
    'lms.get_audit_trail(uuid,text,text,uuid,timestamp with time zone,timestamp with time zone,bigint,integer)',
    'lms.check_course(uuid)', 'lms.unpublish_course(uuid)', 'lms.get_version_diff(uuid,integer,integer)', 'lms.migrate_enrollments(uuid,text,integer,integer)',
    'lms.preview_enrollment_migration(uuid,text,integer,integer,uuid)', 'lms.record_block_progress(uuid,numeric,jsonb,jsonb)', 'lms.correct_progress(uuid,uuid,numeric,text)',
    'billing.grant_entitlement(uuid,uuid,uuid,timestamp with time zone,timestamp with time zone,text)', 'billing.revoke_entitlement(uuid,text)',
    'lms.request_enrollment(uuid,text)', 'lms.decide_enrollment_request(uuid,boolean,text)', 'lms.withdraw_enrollment_request(uuid)', 'lms.change_enrollment(uuid,text,timestamp with time zone,boolean)',
    'lms.delete_course(uuid)', 'lms.delete_module(uuid)', 'lms.delete_lesson(uuid)', 'lms.delete_block(uuid)', 'lms.restore_course(uuid)', 'lms.restore_module(uuid)', 'lms.restore_lesson(uuid)',
    'lms.restore_block(uuid)', 'lms.get_deleted_items(uuid,integer,uuid)', 'lms.reorder(uuid,uuid[])', 'lms.duplicate_course(uuid,uuid,text,text)',
    'lms.set_answer_key(uuid,jsonb,text)', 'lms.get_answer_key(uuid)',
    'lms.delete_assessment(uuid)', 'lms.delete_assessment_section(uuid)', 'lms.delete_question(uuid)',
    'lms.restore_assessment(uuid)', 'lms.restore_assessment_section(uuid)', 'lms.restore_question(uuid)',
    'lms.grant_accommodation(uuid,uuid,uuid,integer,integer,timestamp with time zone,timestamp with time zone,text)', 'lms.revoke_accommodation(uuid)',
    'lms.start_attempt(uuid)', 'lms.get_attempt(uuid)', 'lms.save_answers(uuid,jsonb)', 'lms.submit_attempt(uuid,jsonb)', 'lms.get_attempt_review(uuid)',
    'lms.get_grading_queue(uuid,uuid,boolean,integer,uuid,uuid)', 'lms.get_grading_task(uuid,uuid)', 'lms.allocate_grading(uuid,uuid[],boolean)',
    'lms.grade_answer(uuid,uuid,numeric,text,jsonb)', 'lms.override_grade(uuid,numeric,text)', 'lms.release_grades(uuid,uuid[])',
    'lms.correct_answer_key(uuid,jsonb,text,text)', 'lms.preview_regrade(uuid)', 'lms.regrade(uuid,text)', 'lms.get_gradebook(uuid,integer,uuid)',
    'lms.publish_course(uuid)', 'lms.record_progress(uuid,numeric,integer,jsonb)', 'lms.set_enrollment_status(uuid,text)'
  ],
  'people signed in can call exactly these functions'
);
select set_eq(
  $$ select tests.executable_by('anon', false) $$,
  array[
    'private.read_certificate(text)',
    'private.read_path(uuid,uuid,jsonb)',
    'private.search_for_caller(text,private.search_filter,integer,text)', 'private.count_facets_for_caller(text,private.search_filter)', 'private.suggest_to_caller(text,uuid,integer)',
    'private.check_search(text,uuid,text,uuid,text,text,text)',
    'private.check_request()', 'private.closed_tenants()', 'private.enrolled_courses()', 'private.fail(text,text,integer,jsonb,text)', 'private.is_api_call()', 'private.is_time_zone(text)',
    'private.joined_tenants()', 'private.my_courses()', 'private.my_tenants()', 'private.preview_invitation(text)', 'private.read_lesson(uuid,uuid)', 'private.takes_lesson(uuid)', 'private.require_course(uuid)', 'private.staffed_courses()',
    'private.tenants_partly_where(text)', 'private.tenants_where(text)', 'private.units_where(text)'
  ],
  'what runs as an anonymous caller reaches exactly these helpers'
);
select set_eq(
  $$ select tests.executable_by('authenticated', false) $$,
  array[
    'private.read_instant(text,text)', 'private.parse_bulk_rows(jsonb,text)', 'private.find_bulk_courses(uuid,private.bulk_row[])', 'private.find_bulk_people(uuid,private.bulk_row[])',
    'private.enroll_bulk_rows(uuid,private.bulk_row[],boolean)', 'private.promise_enrollment(uuid,private.bulk_row)', 'private.find_open_invitation(uuid,text)',
    'private.invite_bulk_rows(uuid,private.bulk_row[],boolean)', 'private.repeat_bulk_answer(jsonb)',
    'private.publish_statement(lms.attestation_statements)', 'private.retire_statement(uuid)', 'private.sign_attestation_of(uuid,uuid)',
    'private.read_certificate(text)', 'private.require_certificate(uuid)', 'private.check_certificate_reason(text)',
    'private.issue_certificate_of(uuid,text)', 'private.revoke_certificate_of(uuid,text,boolean)', 'private.reissue_certificate_of(uuid,text,text)',
    'private.my_paths()', 'private.read_path(uuid,uuid,jsonb)', 'private.set_path_status(uuid,text)', 'private.set_path_deleted(uuid,boolean)', 'private.drop_path(uuid,uuid)',
    'private.prepare_path(uuid,uuid,timestamp with time zone,boolean)', 'private.enter_path_courses(uuid[],uuid)', 'private.settle_path(uuid,uuid,jsonb)',
    'private.search_for_caller(text,private.search_filter,integer,text)', 'private.count_facets_for_caller(text,private.search_filter)', 'private.suggest_to_caller(text,uuid,integer)',
    'private.check_search(text,uuid,text,uuid,text,text,text)',
    'private.set_review_reply(uuid,text)', 'private.file_review_report(uuid,text)', 'private.set_review_status(uuid,text,text)',
    'private.apply_course_document(uuid,jsonb)', 'private.is_day(text)', 'private.find_document_faults(jsonb)', 'private.document_parts(jsonb)', 'private.document_fields()',
    'private.is_document_value(text,jsonb)',
    'private.apply_bank(uuid,jsonb)', 'private.read_bank(uuid)',
    'private.admit_enrollment(lms.enrollments)', 'private.change_enrollment_status(uuid,text)', 'private.check_request()', 'private.claim_idempotency_key(text,text,jsonb)', 'private.closed_tenants()',
    'private.count_course_items(uuid)', 'private.enrolled_courses()', 'private.enrollment_obstacles_for_caller(uuid,uuid)', 'private.fail(text,text,integer,jsonb,text)',
    'private.is_api_call()', 'private.is_block_content(text,jsonb)', 'private.is_knowledge_profile(jsonb)', 'private.is_learning_preferences(jsonb)', 'private.is_list_of_words(jsonb)',
    'private.is_map_of_web_addresses(jsonb)', 'private.is_safe_html(text)', 'private.is_time_zone(text)', 'private.is_web_address(text)', 'private.my_courses()', 'private.my_tenants()',
    'private.read_lesson(uuid,uuid)', 'private.takes_lesson(uuid)', 'private.require_course(uuid)', 'private.require_course_publisher(uuid)', 'private.check_course_for_caller(uuid)',
    'private.diff_versions(uuid,integer,integer)', 'private.migration_target(uuid,text,integer)', 'private.preview_migration_of(lms.enrollments,lms.course_versions,text)',
    'private.my_open_hand_ins()',
    'private.session_grain()', 'private.take_receipt(uuid,text,uuid)', 'private.refuse_event(uuid,uuid)', 'private.refuse_event_type(text,uuid)', 'private.is_shut_out(uuid)',
    'private.begin_activity(uuid,timestamp with time zone)', 'private.session_idle_time()',
    'private.count_answers(uuid,uuid,text,timestamp with time zone,uuid)', 'private.count_answers_so_far(uuid,uuid,text,timestamp with time zone,uuid)',
    'private.move_enrollments(lms.course_versions,text,integer)', 'private.parse_watched(jsonb)', 'private.correct_progress_of(uuid,uuid,numeric,text)', 'private.my_versions()', 'private.my_open_lessons()',
    'private.grant_entitlement_to(billing.entitlements)', 'private.revoke_entitlement_of(uuid,text)', 'private.request_enrollment_of_caller(uuid,text)', 'private.decide_request(uuid,boolean,text)',
    'private.withdraw_request_of_caller(uuid)', 'private.delete_course_of(uuid)', 'private.restore_course_of(uuid)', 'private.delete_part(text,uuid)', 'private.restore_part(text,uuid)',
    'private.list_deleted_items(uuid,integer,uuid)', 'private.duplicate_course_of(uuid,uuid,text,text)', 'private.version_outline(uuid,uuid)', 'private.closed_lessons_of_caller(uuid)', 'private.refuse_enrollment(lms.eligibility_reason[])', 'private.refuse_progress(text,uuid)', 'private.set_course_status(uuid,text)',
    'private.staffed_courses()', 'private.store_idempotent_answer(text,text,jsonb)', 'private.tenants_partly_where(text)', 'private.tenants_where(text)', 'private.units_where(text)', 'private.uuid_v7()',
    'private.joined_tenants()', 'private.my_addresses()', 'private.my_cohorts()', 'private.my_fellows()', 'private.cohorts_where(text)',
    'private.preview_invitation(text)', 'private.issue_invitation(lms.invitations)', 'private.accept_invitation_of_caller(text)', 'private.revoke_open_invitation(uuid)',
    'private.end_membership_of_caller(uuid)', 'private.access_of_caller()',
    'private.is_notification_preferences(jsonb)', 'private.is_notification_settings(jsonb)', 'private.write_webhook(lms.webhooks)', 'private.replace_webhook_secret(uuid)',
    'private.read_delivery_failures(uuid,integer,uuid)', 'private.replay_deliveries_of_caller(uuid[])',
    'private.change_rule_status(uuid,text)', 'private.explain_rule(lms.assignment_rules,uuid)', 'private.preview_rule(uuid,integer,uuid)', 'private.training_clock()', 'private.write_waiver(lms.training_waivers)',
    -- Reports.
    'private.require_page(integer)', 'private.require_step(text)', 'private.require_period(date,date)', 'private.make_cursor(text[])', 'private.read_cursor(text,text[])', 'private.day_begins(date,text)',
    'private.report_enrollments(uuid,uuid,uuid,uuid,date,date,text)', 'private.report_questions(uuid,uuid,uuid,uuid,date,date)', 'private.report_discrimination(uuid,uuid,uuid,uuid,date,date)',
    'private.report_engagement(uuid,uuid,uuid,uuid,date,date,text)', 'private.report_overview(uuid,uuid)', 'private.report_lessons(uuid,uuid,uuid)',
    'private.report_retention(uuid,uuid,uuid,uuid,date,date,text)',
    'private.report_training(uuid,uuid,uuid,uuid,timestamp with time zone,text[],integer,uuid,uuid)',
    'private.require_session(uuid)', 'private.require_booking(uuid)', 'private.check_session_reason(text)', 'private.find_attendance_faults(jsonb)',
    'private.book_session_of(uuid,uuid)', 'private.cancel_booking_of(uuid)', 'private.cancel_session_of(uuid,text)', 'private.record_attendance_of(uuid,jsonb,text)',
    'private.sign_off_of(uuid,text)', 'private.withdraw_sign_off_of(uuid,text)',
    'private.write_evidence(lms.outside_training)', 'private.require_evidence(uuid)', 'private.withdraw_evidence(uuid)', 'private.review_evidence(uuid,boolean,text,boolean)',
    'private.my_evidence_folders()', 'private.may_file_evidence(text)', 'private.correct_record(uuid,text,text,text,text,text)', 'private.parse_record_cursor(text)',
    'private.course_ids_of_rule(uuid)', 'private.units_below(uuid)', 'private.training_status_at(uuid,uuid[],uuid,timestamp with time zone)', 'private.end_waiver(uuid)', 'private.my_rules()',
    'private.is_platform_admin()', 'private.read_health()', 'private.require_platform_admin()', 'private.list_tenants(integer,text,uuid)', 'private.found_tenant(lms.tenants,text)', 'private.switch_tenant(uuid,boolean)',
    'private.import_fault(text,text,jsonb)', 'private.parse_person(jsonb)', 'private.describe_failure(text,text,text)', 'private.match_people(uuid,jsonb)',
    'private.find_import_fault(private.matched_person)', 'private.require_role_scope(uuid,boolean,uuid)', 'private.give_imported_role(private.matched_person,uuid)',
    'private.update_imported_member(private.matched_person)', 'private.want_invitation(private.matched_person,uuid,lms.invitations)',
    'private.refresh_invitations(private.matched_person,uuid)', 'private.add_imported_person(private.matched_person,uuid,boolean,lms.people_import_result)',
    'private.apply_person(private.matched_person,uuid,boolean)', 'private.end_missing_person(lms.people_import_result)',
    'private.find_missing_people(uuid,lms.people_import_result[])', 'private.apply_people(uuid,jsonb,integer,boolean)',
    'private.my_open_assessments()', 'private.my_shown_attempts()',
    'private.write_answer_key(uuid,jsonb,text)', 'private.read_answer_key(uuid)',
    'private.delete_assessment_part(text,uuid)', 'private.restore_assessment_part(text,uuid)',
    'private.grant_accommodation_to(lms.accommodations)', 'private.revoke_accommodation_of(uuid)',
    'private.begin_attempt(uuid)', 'private.takes_assessment(uuid)', 'private.ordered_content(text,jsonb,text[])',
    'private.save_answers_of_caller(uuid,jsonb)', 'private.submit_attempt_of_caller(uuid,jsonb)', 'private.review_attempt(uuid)',
    'private.require_attempt(uuid)', 'private.require_published_assessment(uuid)', 'private.read_grading_task(uuid,uuid)', 'private.allocate_grading_of(uuid,uuid[],boolean)',
    'private.grade_answer_of(uuid,uuid,numeric,text,jsonb)', 'private.override_grade_of(uuid,numeric,text)', 'private.release_grades_of(uuid,uuid[])',
    'private.correct_key_of(uuid,jsonb,text,text)', 'private.preview_regrade_of(uuid)', 'private.regrade_of(uuid,text)',
    'private.read_audit_trail(uuid,text,text,uuid,timestamp with time zone,timestamp with time zone,bigint,integer)', 'private.read_audit_head(uuid)'
  ],
  'what runs as somebody signed in reaches exactly these helpers'
);

select is_empty($$ select p.oid::regprocedure from tests.functions p where not coalesce(p.proconfig @> array['search_path=""'], false) $$, 'every function has an empty search path');
select is_empty($$ select p.oid::regprocedure from tests.functions p join tests.exposed e on e.oid = p.pronamespace where p.prosecdef $$, 'no exposed function runs as its owner: helpers in private do, and check their caller');
select is_empty($$ select p.pronamespace::regnamespace, p.proname from tests.functions p join tests.exposed e on e.oid = p.pronamespace group by 1, 2 having count(*) > 1 $$, 'INV-O5: each exposed function has one signature');
select is_empty(
  $$ select p.oid::regprocedure from tests.functions p where p.nspname = 'private' and p.prosecdef and p.proretset and has_function_privilege('authenticated', p.oid, 'execute')
     and exists (select from unnest(p.proargtypes) as t where t in ('uuid'::regtype, 'uuid[]'::regtype)) 
     -- Answer for oneself and for people whom one may enrol, or whose enrolments one sees (five more); for administrators of the platform; with audit.read; for those who publish the course (two);
     -- for courses that one may restore; for own enrolments; for authors of a key; and the titles of a version, asked by get_course_outline once it has seen the course.
     and p.proname not in (
       -- Reports find out by themselves, in private.report_scope, what their caller may read of what is asked for.
       'report_enrollments', 'report_questions', 'report_discrimination', 'report_engagement', 'report_overview', 'report_lessons', 'report_retention', 'report_training',
       'enrollment_obstacles_for_caller', 'explain_rule', 'preview_rule', 'course_ids_of_rule', 'training_status_at', 'units_below', 'list_tenants', 'read_audit_trail', 'check_course_for_caller', 'diff_versions', 'list_deleted_items', 'closed_lessons_of_caller', 'version_outline',
       'preview_regrade_of',
       -- With tenant.settings in the tenant that it names.
       'read_delivery_failures',
       -- For those who run the session, about people in their scope.
       'record_attendance_of'
     ) $$,
  'helpers of policies take no id: nobody can ask on behalf of another'
);
select is_empty(
  $$ select p.oid::regprocedure from tests.functions p join tests.exposed e on e.oid = p.pronamespace where obj_description(p.oid, 'pg_proc') is null $$,
  'every exposed function says what it does'
);
select is_empty(
  $$ select c.oid::regclass from tests.relations c join tests.exposed e on e.oid = c.relnamespace where c.relkind in ('r', 'p', 'v') and obj_description(c.oid, 'pg_class') is null $$,
  'every exposed table and view says what it is'
);

-- =====================================================================================================
-- Policies
-- =====================================================================================================

create view tests.policies as
  select p.*, pg_get_expr(p.polqual, p.polrelid) as using_text, pg_get_expr(p.polwithcheck, p.polrelid) as check_text
  from pg_policy p join tests.relations c on c.oid = p.polrelid;

select cmp_ok((select count(*) from tests.policies), '>', 30::bigint, 'there are policies to check');
select is_empty(
  $$ select polrelid::regclass, polname from tests.policies where polroles = '{0}' or exists (select from unnest(polroles) as r where r not in ('anon'::regrole, 'authenticated'::regrole)) $$,
  'every policy is for anon or authenticated, never for PUBLIC'
);
select is_empty(
  $$ select polrelid::regclass, polcmd, r from tests.policies, unnest(polroles) as r group by 1, 2, 3 having count(*) > 1 $$, 'one policy per table, verb and role'
);
select is_empty($$ select polrelid::regclass, polname from tests.policies where polcmd = '*' $$, 'no policy is for all verbs at once');
select is_empty($$ select polrelid::regclass, polname from tests.policies where not polpermissive $$, 'no policy is restrictive: each says the whole rule');
select is_empty($$ select polrelid::regclass, polname from tests.policies where polcmd = 'w' and (polqual is null or polwithcheck is null) $$, 'every policy for changes has USING and WITH CHECK');
select is_empty($$ select polrelid::regclass, polname from tests.policies where polcmd = 'a' and polwithcheck is null $$, 'every policy for new rows has WITH CHECK');
select is_empty(
  $$ select polrelid::regclass, polname from tests.policies where polrelid not in ('lms.permissions'::regclass, 'lms.notification_kinds'::regclass, 'lms.standard_templates'::regclass) and 'true' in (using_text, check_text) $$,
  'no policy says simply yes, but for the vocabularies, and the texts that come with the product'
);
select is_empty(
  $$ select polrelid::regclass, polname from tests.policies, unnest(array[using_text, check_text]) as t where regexp_replace(t, 'SELECT auth\.uid\(\)', '', 'gi') ~ 'auth\.(uid|jwt|role|email)\(' $$,
  'policies ask who is calling once per statement: (select auth.uid())'
);
select is_empty(
  $$ select polrelid::regclass, polname from tests.policies, unnest(array[using_text, check_text]) as t where t ~* 'user_metadata|raw_user_meta|request\.jwt|auth\.jwt' $$, 'no policy reads rights from a token'
);
select is_empty(
  $$ select polrelid::regclass, polname from tests.policies p, unnest(array[using_text, check_text]) as t, tests.functions f
     where f.nspname = 'private' and t ~ ('private\.' || f.proname || '\(') and exists (select from unnest(p.polroles) as r where not has_function_privilege(r, f.oid, 'execute')) $$,
  'whoever a policy is for can execute its helpers'
);
-- A grant without a policy is a table that always looks empty; a policy without a grant a rule that never applies.
select set_eq(
  $$
    select distinct p.polrelid::regclass::text, r::regrole::text, case p.polcmd when 'r' then 'SELECT' when 'a' then 'INSERT' when 'w' then 'UPDATE' when 'd' then 'DELETE' end
    from tests.policies p, unnest(p.polroles) as r
  $$,
  $$
    select distinct g.relation, g.grantee, g.privilege
    from (
      select c.oid::regclass::text as relation, a.grantee::regrole::text as grantee, a.privilege_type as privilege from tests.relations c, aclexplode(c.relacl) a where c.relkind in ('r', 'p')
      union all
      select c.oid::regclass::text, g.grantee::regrole::text, g.privilege_type from tests.relations c join pg_attribute a on a.attrelid = c.oid, aclexplode(a.attacl) g where c.relkind in ('r', 'p')
    ) as g
    where g.grantee in ('anon', 'authenticated')
  $$,
  'for every right there is a policy, and for every policy a right'
);

-- =====================================================================================================
-- Keys, indexes, types
-- =====================================================================================================

select is_empty(
  $$ select c.oid::regclass from tests.relations c where c.relkind in ('r', 'p') and not exists (select from pg_constraint k where k.conrelid = c.oid and k.contype = 'p') $$, 'every table has a primary key'
);
select is_empty(
  $$
    select k.conrelid::regclass, k.conname
    from pg_constraint k
    join tests.relations c on c.oid = k.conrelid
    where k.contype = 'f' and not exists (
      select
      from pg_index i
      where i.indrelid = k.conrelid and i.indisvalid and i.indpred is null
        -- Leading columns are columns of the key, and more than the tenant alone, in which all rows may lie.
        and i.indkey[0] = any (k.conkey)
        and (
          cardinality(k.conkey) = 1
          or (select a.attname from pg_attribute a where a.attrelid = i.indrelid and a.attnum = i.indkey[0]) <> 'tenant_id'
          or i.indkey[1] = any (k.conkey)
          or (i.indisunique and i.indnkeyatts = 1)
        )
    )
  $$,
  'every foreign key has an index'
);
select is_empty(
  $$ select least(k.conrelid, k.confrelid)::regclass, greatest(k.conrelid, k.confrelid)::regclass, count(*)
     from pg_constraint k join tests.exposed e on e.oid = k.connamespace
     where k.contype = 'f' and k.conrelid <> k.confrelid
       -- A role that may assign a role, a lesson that waits for a lesson, a course for a course: the comments of the tables say how to embed.
       and k.conrelid not in ('lms.assignable_roles'::regclass, 'lms.lesson_prerequisites'::regclass, 'lms.course_prerequisites'::regclass)
     group by 1, 2 having count(*) > 1 $$,
  'between two tables there is one foreign key, or PostgREST cannot embed without asking which'
);
select is_empty($$ select k.conrelid::regclass, k.conname from pg_constraint k join tests.ours n on n.oid = k.connamespace where not k.convalidated $$, 'every constraint is validated');
select is_empty(
  $$ select a.attrelid::regclass, a.attname, a.atttypid::regtype from pg_attribute a join tests.relations c on c.oid = a.attrelid
     where c.relkind in ('r', 'p', 'v') and a.attnum > 0 and not a.attisdropped
       and (a.atttypid in ('timestamp'::regtype, 'float4'::regtype, 'float8'::regtype, 'money'::regtype, 'json'::regtype) or exists (select from pg_type t where t.oid = a.atttypid and t.typtype = 'e')) $$,
  'no column is a time without zone, a float, money, json or an enum'
);
select is_empty(
  $$ select t.tgrelid::regclass, t.tgname from pg_trigger t join tests.relations c on c.oid = t.tgrelid where t.tgenabled not in ('O', 'A') $$, 'every trigger is enabled'
);
select is_empty(
  $$ select a.attrelid::regclass from pg_attribute a join tests.relations c on c.oid = a.attrelid and c.relkind in ('r', 'p')
     where a.attname = 'updated_at' and c.oid not in ('lms.lesson_progress'::regclass, 'lms.block_progress'::regclass) -- the triggers that judge progress set it
       and not exists (select from pg_trigger t where t.tgrelid = c.oid and t.tgname = '_100_timestamps' and t.tgfoid = 'private.touch_updated_at'::regproc) $$,
  'every table that says when it was changed has the trigger that says so'
);
select is_empty(
  $$ select c.oid::regclass::text from tests.relations c where c.relkind in ('r', 'p') and c.relowner <> 'postgres'::regrole
     union all select p.oid::regprocedure::text from tests.functions p where p.proowner <> 'postgres'::regrole $$, 'everything belongs to the role of the migrations'
);

-- =====================================================================================================
-- Without any token, and with a strange one
-- =====================================================================================================

select tests.tenant('works'), tests.member('ines', 'works', 'instructor'), tests.course('safety', 'works', 'ines');
-- A role without claims, as when a gateway forwards no token; and claims without a subject.
select set_config('role', 'authenticated', true), set_config('request.jwt.claims', claims, true) from (values ('')) as c (claims);
select is(tests.sees('lms.courses') || tests.sees('lms.memberships') || tests.sees('public.profiles') || tests.sees('lms.enrollments'), '0000', 'somebody signed in without claims sees nothing');
select set_config('request.jwt.claims', '{"role": "authenticated"}', true);
select is(tests.sees('lms.courses') || tests.sees('lms.memberships') || tests.sees('public.profiles') || tests.sees('lms.enrollments'), '0000', 'nor without a subject');
select is(tests.error_of(format('select lms.enroll(%L)', tests.id('safety'))), '400 user_required', 'nor can they enrol');
select is(tests.error_of(format('select lms.complete_lesson(%L)', tests.id('safety/1'))), expected, 'nor record progress')
from (values ('404 lesson_not_found')) as c (expected);
select set_config('request.jwt.claims', format('{"sub": "%s", "role": "authenticated", "user_metadata": {"role": "tenant_admin", "tenant_id": "%s"}, "app_metadata": {"role": "service_role"}}', tests.id('stranger'), tests.id('works')), true);
select is(tests.sees('lms.courses') || tests.sees('lms.memberships') || tests.sees('lms.tenants'), '000', 'claims about roles and tenants give no rights');
select tests.as_owner();

select * from finish();
rollback;
