begin;
\ir ../helpers.sql
select * from no_plan();

-- =====================================================================================================
-- Trees by lot: nobody's report is about anybody outside their scope
-- =====================================================================================================

select tests.tenant('works'), tests.tenant('mill');
create function tests.draw(n integer, purpose integer) returns integer language sql immutable as $$
  select (hashint8extended(n, purpose) & 1048575)::integer
$$;
-- Twelve units, each below one before it or below none.
do $$ begin
  for i in 1..12 loop
    perform tests.unit('u' || i, 'works', case when i > 2 and tests.draw(i, 1) % 4 > 0 then 'u' || 1 + tests.draw(i, 2) % (i - 1) end);
  end loop;
end $$;
select tests.unit('saw', 'mill');
select tests.member('ines', 'works', 'instructor'), tests.member('ina', 'mill', 'instructor'), tests.member('hanna', 'works', 'hr_admin'), tests.member('audrey', 'works', 'auditor'),
  tests.member('tina', 'works', 'tenant_admin'), tests.member('hal', 'mill', 'hr_admin');
select tests.member('mia' || i, 'works', 'unit_manager', 'u' || 1 + tests.draw(i, 3) % 12, 'u' || i) from generate_series(1, 12) i;
select tests.member('p' || i, 'works', 'learner', case when tests.draw(i, 4) % 10 > 0 then 'u' || 1 + tests.draw(i, 5) % 12 end) from generate_series(1, 60) i;
select tests.member('m' || i, 'mill', 'learner', 'saw') from generate_series(1, 5) i;
select tests.course(c, 'works', 'ines', 2) from unnest(array['safety', 'ladders']) c;
select tests.course('paint', 'works', 'tina', 2), tests.course('planks', 'mill', 'ina', 2);
select tests.enrollment('p' || i, c) from generate_series(1, 60) i, unnest(array['safety', 'ladders', 'paint']) with ordinality c (c, n) where tests.draw(i * 3 + n::integer, 6) % 3 > 0;
select tests.enrollment('mia' || i, 'safety') from generate_series(1, 12) i;
select tests.enrollment('m' || i, 'planks') from generate_series(1, 5) i;
insert into analytics.question_events (user_id, course_id, section_key, question_key, is_correct)
select e.user_id, e.course_id, 's', 'q' || k, tests.draw(hashtext(e.id::text), k) % 2 = 0 from lms.enrollments e, generate_series(1, 2) k;
insert into analytics.activity_events (user_id, course_id, event_type) select e.user_id, e.course_id, 'view_section' from lms.enrollments e;
insert into lms.lesson_progress (user_id, lesson_id, progress_percentage) select e.user_id, tests.id((select c.slug from lms.courses c where c.id = e.course_id) || '/1'), 100 from lms.enrollments e
where exists (select from lms.lessons l where l.id = tests.id((select c.slug from lms.courses c where c.id = e.course_id) || '/1')) and tests.draw(hashtext(e.id::text), 9) % 2 = 0;
-- Some have moved since; what they have finished stays.
update lms.memberships set unit_id = tests.id('u1') where user_id in (select tests.id('p' || i) from generate_series(1, 60, 7) i);
insert into lms.assignment_rules (id, tenant_id, name, status, activated_at) values (tests.id('rule'), tests.id('works'), 'Rule', 'active', now());
insert into lms.training_requirements (tenant_id, rule_id, course_id, user_id, since, due_at)
select e.tenant_id, tests.id('rule'), e.course_id, e.user_id, now() - interval '1 hour', now() + interval '9 days' from lms.enrollments e where e.tenant_id = tests.id('works');
insert into lms.cohorts (id, tenant_id, name) values (tests.id('class'), tests.id('works'), 'Class');
insert into lms.cohort_members (cohort_id, user_id) select tests.id('class'), tests.id('p' || i) from generate_series(1, 20) i;

-- What the policies let the caller read, in their scope: the same questions, of the tables, without any of the reports' helpers.
create function tests.in_scope(unit uuid, course uuid, permission text) returns boolean language plpgsql stable security definer as $$
begin
  return exists (
    select from lms.memberships m join lms.role_grants g on g.membership_id = m.id join lms.role_permissions p on p.role_id = g.role_id
    where m.user_id = auth.uid() and m.tenant_id = tests.id('works') and p.permission = in_scope.permission and m.status = 'active'
      and (g.unit_id is null or exists (with recursive up as (select in_scope.unit as id union select o.parent_id from up join lms.org_units o on o.id = up.id) select from up where up.id = g.unit_id))
  ) or exists (select from lms.course_staff s where s.course_id = course and s.user_id = auth.uid());
end $$;

create function tests.wrong(who text) returns setof text language plpgsql as $$
declare
  v_tenant constant uuid := tests.id('works');
  v_unit uuid; v_course uuid; v_cohort uuid;
begin
  perform tests.as(who);
  for v_unit, v_course, v_cohort in
    select u.id, c.id, k.id
    from (values (null::uuid), (tests.id('u1')), (tests.id('u5')), (tests.id('saw'))) u (id), (values (null::uuid), (tests.id('safety')), (tests.id('planks'))) c (id),
      (values (null::uuid), (tests.id('class'))) k (id)
  loop
    create temp table rows_of on commit drop as
      -- As the caller, through the policies.
      select e.* from lms.enrollments e
      where e.tenant_id = v_tenant and tests.in_scope(e.unit_id, e.course_id, 'enrollments.read') and (v_course is null or e.course_id = v_course)
        and (v_cohort is null or e.user_id in (select k.user_id from lms.cohort_members k where k.cohort_id = v_cohort))
        and (v_unit is null or e.unit_id in (with recursive down as (select v_unit as id union select o.id from down join lms.org_units o on o.parent_id = down.id) select d.id from down d));
    create temp table answers_of on commit drop as
      select q.* from analytics.question_events q
      where q.tenant_id = v_tenant and tests.in_scope(q.unit_id, q.course_id, 'progress.read') and (v_course is null or q.course_id = v_course)
        and (v_cohort is null or q.user_id in (select k.user_id from lms.cohort_members k where k.cohort_id = v_cohort))
        and (v_unit is null or q.unit_id in (with recursive down as (select v_unit as id union select o.id from down join lms.org_units o on o.parent_id = down.id) select d.id from down d));
    return query
    select who || ' ' || what || ' ' || coalesce(v_unit::text, '-') || ' ' || coalesce(v_course::text, '-') from (
      select 'completion rate' as what where (select r.total_enrolled || ' ' || r.completed || ' ' || r.in_progress from analytics.get_completion_rate(v_tenant, v_unit, v_course, v_cohort) r)
        <> (select count(*) || ' ' || count(*) filter (where e.status = 'completed') || ' ' || count(*) filter (where e.status = 'in_progress') from rows_of e)
      union all
      select 'progress summary' where array(select r.course_id || ' ' || r.total_enrolled || ' ' || r.average_progress from analytics.get_progress_summary(v_tenant, v_unit, v_course, v_cohort) r order by 1)
        <> array(select e.course_id || ' ' || count(*) || ' ' || round(avg(e.progress_percentage), 2) from rows_of e group by e.course_id order by 1)
      union all
      select 'funnel' where (select r.enrolled || ' ' || r.started from analytics.get_enrollment_funnel(v_tenant, v_unit, v_course, v_cohort) r) <> (select count(*) || ' ' || count(e.started_at) from rows_of e)
      union all
      select 'most missed' where array(select r.course_id || r.question_key || ' ' || r.total_attempts || ' ' || r.incorrect_attempts from analytics.get_most_missed_questions(v_tenant, v_unit, v_course, v_cohort, null, null, 1, 1000) r order by 1)
        <> array(select q.course_id || q.question_key || ' ' || count(*) || ' ' || count(*) filter (where not q.is_correct) from answers_of q group by q.course_id, q.question_key order by 1)
      union all
      select 'engagement' where (select sum(r.events) || ' ' || max(r.active_learners) from analytics.get_engagement(v_tenant, v_unit, v_course, v_cohort, null, null, 'month') r)
        <> (select count(*) + count(distinct (q.user_id, q.course_id)) || ' ' || count(distinct q.user_id) from answers_of q)
      union all
      select 'retention' where coalesce((select sum(r.active) from analytics.get_cohort_retention(v_tenant, v_unit, v_course, v_cohort) r), 0) <> (select count(distinct e.user_id) from rows_of e where e.user_id in (select q.user_id from answers_of q))
      union all
      select 'due training' where array(select r.user_id || ' ' || r.course_id from analytics.get_due_training(v_tenant, v_unit, v_course, v_cohort, p_limit => 1000) r order by 1)
        <> array(
          select q.user_id || ' ' || q.course_id from lms.training_requirements q
          where q.tenant_id = v_tenant and (v_course is null or q.course_id = v_course) and (v_cohort is null or q.user_id in (select k.user_id from lms.cohort_members k where k.cohort_id = v_cohort))
            and tests.in_scope(tests.home(q.user_id), q.course_id, 'enrollments.read')
            and (v_unit is null or tests.home(q.user_id) in (with recursive down as (select v_unit as id union select o.id from down join lms.org_units o on o.parent_id = down.id) select d.id from down d))
            and not exists (select from lms.enrollments e where e.user_id = q.user_id and e.course_id = q.course_id and e.completed_at is not null)
          order by 1)
      union all
      select 'lessons' where v_course is not null and v_cohort is null and coalesce((select sum(r.reached) from analytics.get_lesson_drop_off(v_tenant, v_unit, v_course) r), 0)
        <> (select count(*) from lms.lesson_progress p where p.enrollment_id in (select e.id from rows_of e))
      union all
      select 'overview' where v_course is null and v_cohort is null and array(select coalesce(r.unit_id::text, '-') || ' ' || r.total_enrollments from analytics.get_organization_overview(v_tenant, v_unit, 1000) r where r.total_enrollments > 0 order by 1)
        <> array(select coalesce(e.unit_id::text, '-') || ' ' || count(*) from rows_of e group by e.unit_id order by 1)
    ) w;
    drop table rows_of, answers_of;
  end loop;
  perform tests.as_owner();
end $$;
create function tests.home(person uuid) returns uuid language sql stable security definer as $$ select m.unit_id from lms.memberships m where m.user_id = person and m.tenant_id = tests.id('works') $$;

select is_empty(format('select tests.wrong(%L)', who), format('INV-O5: every report of %s is what the policies let them read in their scope', who))
from unnest(array['hanna', 'audrey', 'ines'] || array(select 'mia' || i from generate_series(1, 12, 2) i)) who;
select cmp_ok((select count(distinct (select count(*) from private.org_unit_closure c where c.ancestor_id = tests.id('u' || i))) from generate_series(1, 12) i), '>', 2::bigint, 'the trees have subtrees of several sizes');

-- By the sums as well: all of it below the horizon.
select tests.as_owner();
select ops.rebuild_rollups();
update private.report_state set horizon = (pg_current_xact_id()::text::numeric + 1)::text::xid8;
select private.make_rollups((pg_current_xact_id()::text::numeric + 1)::text::xid8, null);
delete from private.report_changes; delete from private.lesson_changes;
select is_empty(format('select tests.wrong(%L)', who), format('... from the sums alone: %s', who))
from unnest(array['hanna', 'ines', 'mia1', 'mia2', 'mia12']) who;

select tests.as_owner();
update private.report_state set horizon = '0';
select private.make_rollups('0', null);

-- =====================================================================================================
-- Who is refused
-- =====================================================================================================

select is(tests.error_of(format('select * from analytics.%s', call)), '403 report_not_allowed', who || ': ' || call)
from unnest(array['p1', 'hal', 'm1']) who cross join lateral (select tests.as(who)) a
cross join unnest(array['get_completion_rate(tests.id(''works''))', 'get_progress_summary(tests.id(''works''))', 'get_enrollment_funnel(tests.id(''works''))', 'get_organization_overview(tests.id(''works''))',
  'get_most_missed_questions(tests.id(''works''))', 'get_question_difficulty(tests.id(''works''))', 'get_due_training(tests.id(''works''))', 'get_training_matrix(tests.id(''works''))',
  'get_engagement(tests.id(''works''))', 'get_lesson_drop_off(tests.id(''works''), null, tests.id(''safety''))', 'get_cohort_retention(tests.id(''works''))', 'get_completion_rate(tests.id(''nowhere''))']) call;
select tests.as_owner();
-- Neither permission is a way around the other.
insert into lms.roles (id, tenant_id, key, name) values (tests.id('reader'), tests.id('works'), 'reader', 'Reader'), (tests.id('counter'), tests.id('works'), 'counter', 'Counter');
insert into lms.role_permissions (tenant_id, role_id, permission) values (tests.id('works'), tests.id('reader'), 'enrollments.read'), (tests.id('works'), tests.id('counter'), 'reports.read');
insert into lms.role_grants (tenant_id, membership_id, role_id) values (tests.id('works'), tests.id('p2 in works'), tests.id('reader')), (tests.id('works'), tests.id('p3 in works'), tests.id('counter'));
select tests.as('p2');
select is(tests.error_of($$ select analytics.get_completion_rate(tests.id('works')) $$), '403 report_not_allowed', 'enrollments.read alone reads no reports');
select tests.as('p3');
select is(tests.error_of($$ select analytics.get_completion_rate(tests.id('works')) $$), '403 report_not_allowed', 'reports.read alone reads nobody''s enrolments');
select tests.as_owner();
update lms.memberships set status = 'suspended' where user_id = tests.id('hanna');
select tests.as('hanna');
select is(tests.error_of($$ select analytics.get_completion_rate(tests.id('works')) $$), '403 report_not_allowed', 'INV-T4: who is suspended reads no reports');
select tests.as_owner();
update lms.memberships set status = 'active' where user_id = tests.id('hanna');
select tests.as('p1');
select is(tests.error_of('select * from private.enrollment_numbers(null, ''total'')'), '42501', 'what adds up asks nobody, so nobody asks it');

-- =====================================================================================================
-- What counts
-- =====================================================================================================

select tests.as_owner();
select tests.tenant('plant'), tests.unit('hall', 'plant'), tests.member('ida', 'plant', 'instructor'), tests.member('hugo', 'plant', 'hr_admin');
select tests.member('k' || i, 'plant', 'learner', 'hall') from generate_series(1, 8) i;
select tests.course('welding', 'plant', 'ida', 4), tests.course('lifting', 'plant', 'ida', 2);
select tests.enrollment('k' || i, 'welding') from generate_series(1, 8) i;
select tests.enrollment('k1', 'lifting');
insert into lms.lesson_progress (user_id, lesson_id, progress_percentage)
select tests.id(p), l.id, 100 from (values ('k1', 4), ('k2', 2), ('k3', 1)) d (p, n) cross join lateral (select id from lms.lessons where course_id = tests.id('welding') order by order_index limit d.n) l;
update lms.enrollments set status = 'paused' where user_id = tests.id('k4');
update lms.enrollments set status = 'paused' where user_id = tests.id('k3');
update lms.enrollments set status = 'dropped' where user_id in (tests.id('k5'));
-- Again, for the second time.
insert into lms.enrollments (course_id, user_id) values (tests.id('welding'), tests.id('k1'));
update lms.memberships set status = 'suspended' where user_id = tests.id('k7');
update lms.memberships set status = 'ended' where user_id = tests.id('k8');

select tests.as('hugo');
select results_eq($$ select * from analytics.get_completion_rate(tests.id('plant'), p_course_id => tests.id('welding')) $$, $$ values (8::bigint, 1::bigint, 2::bigint, 5::bigint, 12.50) $$, 'each cycle counts, dropped ones do not; paused ones by whether they were begun');
select results_eq($$ select enrolled, started, half, completed, started_rate, half_rate, completed_rate from analytics.get_enrollment_funnel(tests.id('plant'), p_course_id => tests.id('welding')) $$, $$ values (9::bigint, 3::bigint, 2::bigint, 1::bigint, 33.33, 22.22, 11.11) $$, 'the funnel counts dropped ones, and each stage those after it');
select results_eq($$ select title, slug, total_enrolled, average_progress, completed, completion_rate from analytics.get_progress_summary(tests.id('plant')) $$, $$ values ('Lifting', 'lifting', 1::bigint, 0.00, 0::bigint, 0.00), ('Welding', 'welding', 8, 21.88, 1, 12.50) $$, 'by title, with the mean of the percentages');
select results_eq($$ select name, total_users, total_enrollments, completed_enrollments, average_progress from analytics.get_organization_overview(tests.id('plant')) $$, $$ values ('hall', 7::bigint, 9::bigint, 1::bigint, 19.44), (null, 2, 0, 0, null) $$, 'INV-N2: people once, with several enrolments; who has left is not among them, what they did is');
select results_eq($$ select total_enrolled, completion_rate from analytics.get_completion_rate(tests.id('plant'), p_from => '2020-01-01', p_until => '2020-12-31') $$, $$ values (0::bigint, 0::numeric) $$, 'a period is that of enrolling');
select is((select total_enrolled from analytics.get_completion_rate(tests.id('plant'), p_from => (now() at time zone 'UTC')::date, p_until => (now() at time zone 'UTC')::date)), 9::bigint, '... both days included');
select results_eq($$ select "position", reached, completed, dropped_off, drop_off_rate from analytics.get_lesson_drop_off(tests.id('plant'), null, tests.id('welding')) $$, $$ values (0, 3::bigint, 3::bigint, 0::bigint, 0.00), (1, 2, 2, 0, 0.00), (2, 1, 1, 0, 0.00), (3, 1, 1, 0, 0.00) $$, 'how far they came, lesson by lesson');
select is(tests.error_of($$ select analytics.get_lesson_drop_off(tests.id('plant')) $$), '422 course_required');

-- A deleted course.
select tests.as_owner();
update lms.courses set deleted_at = now() where id = tests.id('lifting');
select tests.as('hugo');
select is((select total_enrolled from analytics.get_completion_rate(tests.id('plant'))), 8::bigint, 'INV-C3: a deleted course is in no report');
select tests.as_owner();
update lms.courses set deleted_at = null where id = tests.id('lifting');
select tests.as('hugo');
select is((select total_enrolled from analytics.get_completion_rate(tests.id('plant'))), 9::bigint, '... until it is restored');

-- Pages.
select tests.as_owner();
create function tests.walk(call text, size integer) returns bigint language plpgsql as $$
declare v_after text; v_n integer; v_total bigint := 0; v_page jsonb;
begin
  loop
    execute format('select jsonb_agg(r) from analytics.%s, p_limit => %s, p_after => %L) r', call, size, v_after) into v_page;
    exit when v_page is null;
    v_total := v_total + jsonb_array_length(v_page);
    v_after := v_page -> -1 ->> 'cursor';
    exit when v_total > 10000;
  end loop;
  return v_total;
end $$;
select tests.as('hanna');
select is(tests.walk(call, 3), tests.walk(call, 1000), 'page by page as at once: ' || call)
from unnest(array['get_progress_summary(tests.id(''works'')', 'get_organization_overview(tests.id(''works'')', 'get_most_missed_questions(tests.id(''works''), p_min_attempts => 1', 'get_question_difficulty(tests.id(''works'')',
  'get_due_training(tests.id(''works'')', 'get_training_matrix(tests.id(''works'')', 'get_learner_summary(tests.id(''works''), tests.id(''p1'')', 'get_learner_timeline(tests.id(''works''), tests.id(''p1'')']) call;
select cmp_ok(tests.walk('get_due_training(tests.id(''works'')', 7), '>', 100::bigint);
select is(tests.error_of(format('select * from analytics.get_progress_summary(tests.id(''works''), p_after => %L)', bad)), '422 invalid_cursor', 'a cursor that is none') from unnest(array['x', 'W10', '', 'WyJhIl0', '////', 'é']) bad;
select is(tests.error_of(format('select * from analytics.get_progress_summary(tests.id(''works''), p_limit => %s)', bad)), '422 invalid_limit') from unnest(array['0', '1001', 'null', '-1']) bad;
select is(tests.error_of(format('select * from analytics.get_completion_rate(tests.id(''works''), p_from => %L, p_until => %L)', a, b)), '422 invalid_period') from (values ('2024-02-01', '2024-01-01'), ('infinity', null), (null, '-infinity'), ('4000-01-01 BC', null), (null, '20000-01-01')) p (a, b);
select is(tests.error_of($$ select * from analytics.get_engagement(tests.id('works'), p_step => 'hour') $$), '422 invalid_step');
select is(tests.error_of($$ select * from analytics.get_engagement(tests.id('works'), p_from => '1950-01-01', p_until => '2020-01-01') $$), '422 invalid_period');
select is(tests.error_of($$ select * from analytics.get_due_training(tests.id('works'), p_states => '{late}') $$), '422 invalid_state');

-- Questions.
select tests.as_owner();
insert into analytics.question_events (user_id, course_id, section_key, question_key, is_correct, is_counted)
select tests.id('k' || i), tests.id('welding'), 's', q, is_right, counted
from (values (1, 'hard', false, true), (2, 'hard', false, true), (3, 'hard', true, true), (4, 'hard', false, true), (6, 'hard', false, true),
  (1, 'easy', true, true), (2, 'easy', true, true), (3, 'easy', true, true), (4, 'easy', true, true), (6, 'easy', false, true),
  (1, 'rare', false, true), (2, 'rare', false, true), (1, 'hard', null, true), (2, 'hard', true, false)) a (i, q, is_right, counted);
select tests.as('hugo');
select results_eq($$ select question_key, total_attempts, incorrect_attempts, miss_rate from analytics.get_most_missed_questions(tests.id('plant')) $$, $$ values ('hard', 5::bigint, 4::bigint, 80.00), ('easy', 5, 1, 20.00) $$, 'answered five times or more, judged, and counted');
select is((select count(*) from analytics.get_most_missed_questions(tests.id('plant'), p_min_attempts => 2)), 3::bigint, '... or as often as one says');
select results_eq($$ select question_key, total_attempts, correct_attempts, success_rate from analytics.get_question_difficulty(tests.id('plant'), p_course_id => tests.id('welding')) $$, $$ values ('easy', 5::bigint, 4::bigint, 80.00), ('hard', 5, 1, 20.00) $$);

-- k3 knows most, k6 nothing: what k3 alone answers tells them apart.
select results_eq($$ select question_key, discrimination from analytics.get_question_difficulty(tests.id('plant'), p_course_id => tests.id('welding')) $$, $$ values ('easy', 0.25), ('hard', 0.53) $$, 'discrimination by the other questions');
select is((select bool_and(discrimination is null) from analytics.get_question_difficulty(tests.id('plant'))), true, '... of one course only');

-- INV-A1: the manager who takes the exam.
select tests.as_owner();
update lms.memberships set unit_id = tests.id('hall') where user_id = tests.id('hugo');
select tests.enrollment('hugo', 'welding');
insert into analytics.question_events (user_id, course_id, section_key, question_key, is_correct, source, attempt_id, enrollment_id)
values (tests.id('hugo'), tests.id('welding'), 'exam', 'secret', false, 'server', tests.id('attempt'), tests.id('hugo takes welding'));
select tests.as('hugo');
select is_empty($$ select * from analytics.get_most_missed_questions(tests.id('plant'), p_min_attempts => 1) where question_key = 'secret' $$, 'INV-A1: nobody learns from a report whether their own answer was right');
select is_empty($$ select * from analytics.get_question_difficulty(tests.id('plant'), p_course_id => tests.id('welding'), p_min_attempts => 1) where question_key = 'secret' $$);
select is_empty($$ select * from analytics.get_learner_timeline(tests.id('plant')) where subject = 'secret' $$, '... nor from their timeline');
select tests.as('ida');
select is((select total_attempts from analytics.get_most_missed_questions(tests.id('plant'), p_min_attempts => 1) where question_key = 'secret'), 1::bigint, 'the staff of the course counts it');

-- =====================================================================================================
-- Days are those of the organisation
-- =====================================================================================================

select tests.as_owner();
update lms.tenants set time_zone = 'Pacific/Auckland' where id = tests.id('plant');
insert into analytics.activity_events (user_id, course_id, event_type, received_at) values (tests.id('k1'), tests.id('welding'), 'view_section', '2025-03-01 10:59Z'), (tests.id('k1'), tests.id('welding'), 'view_section', '2025-03-01 11:01Z'), (tests.id('k2'), tests.id('welding'), 'view_section', '2025-03-01 11:02Z');
select tests.as('hugo');
select results_eq($$ select period_start, active_learners, events from analytics.get_engagement(tests.id('plant'), p_from => '2025-02-28', p_until => '2025-03-03') $$, $$ values (date '2025-02-28', 0::bigint, 0::bigint), ('2025-03-01', 1, 1), ('2025-03-02', 2, 2), ('2025-03-03', 0, 0) $$, 'a day begins at midnight of the organisation');
select results_eq($$ select period_start, active_learners, events from analytics.get_engagement(tests.id('plant'), p_from => '2025-03-01', p_until => '2025-03-02', p_step => 'month') $$, $$ values (date '2025-03-01', 2::bigint, 3::bigint) $$, '... and people are counted once in a month');

-- The learner.
select tests.as('k1');
select bag_eq($$ select title, status, cycle, progress_percent, current_section is not null from analytics.get_learner_summary(tests.id('plant')) where title = 'Welding' $$, $$ values ('Welding', 'enrolled', 2, 0.00, false), ('Welding', 'completed', 1, 100.00, true) $$, 'learners see their own cycles');
select is_empty($$ select * from analytics.get_learner_summary(tests.id('plant'), tests.id('k2')) $$, '... and nobody else''s');
select is_empty($$ select * from analytics.get_learner_timeline(tests.id('plant'), tests.id('k2')) $$);
select bag_has($$ select kind from analytics.get_learner_timeline(tests.id('plant')) $$, $$ values ('enrolled'), ('started'), ('completed'), ('lesson_completed'), ('answered'), ('view_section') $$, 'what they did and reached');
select results_eq($$ select occurred_at from analytics.get_learner_timeline(tests.id('plant'), p_from => '2025-03-02', p_until => '2025-03-02') $$, $$ values (timestamptz '2025-03-01 11:01Z') $$, '... in days of the organisation');

select finish();
rollback;
