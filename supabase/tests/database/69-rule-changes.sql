begin;
\ir ../helpers.sql
select * from no_plan();

-- What becomes of requirements and enrolments when people, rules, waivers and certificates change while no job runs, and in how
-- large steps the job goes. The clock is set.

select tests.tenant('works'), tests.unit('plant', 'works'), tests.unit('north', 'works', 'plant'), tests.unit('south', 'works');
update lms.tenants set time_zone = 'Europe/Berlin' where id = tests.id('works');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'), tests.member('marco', 'works', 'unit_manager', 'plant', 'plant'),
  tests.member('ines', 'works', 'instructor'), tests.member('dora', 'works', 'learner', 'north'), tests.member('sid', 'works', 'learner', 'south');
select tests.course('hazmat', 'works', 'ines', 1), tests.course('intro', 'works', 'ines', 1), tests.course('forklift', 'works', 'ines', 1);
insert into lms.cohorts (id, tenant_id, name) values (tests.id('autumn'), tests.id('works'), 'Autumn');
select tests.custom_role('works', 'guard', array['members.read']);

create function tests.at(moment text) returns text language sql as $$ select set_config('lyceum.now', moment, true) $$;
create function tests.rule(name text, course text, more text default '') returns uuid language plpgsql as $$
begin
  execute format('insert into lms.assignment_rules (id, tenant_id, name) values (%L, %L, %L)', tests.id(name), tests.id('works'), name);
  if more <> '' then
    execute format('update lms.assignment_rules set %s where id = %L', more, tests.id(name));
  end if;
  insert into lms.assignment_rule_courses (rule_id, course_id) values (tests.id(name), tests.id(course));
  return tests.id(name);
end
$$;
create function tests.activate() returns void language sql as $$
  update lms.assignment_rules set status = 'active', activated_at = private.training_clock() where status = 'draft'
$$;
create function tests.stands(who text, course text) returns text language sql as $$
  select concat_ws(' ', s.state, 'due ' || (s.due_at at time zone 'Europe/Berlin')::date)
  from lms.get_training_status(tests.id('works'), tests.id(who), tests.id(course)) s
$$;
create function tests.cycles(who text, course text) returns text language sql as $$
  select coalesce(string_agg(e.status || ' ' || e.source || coalesce(' due ' || (e.due_at at time zone 'Europe/Berlin')::date, ''), ', ' order by e.cycle), '-')
  from lms.enrollments e where e.user_id = tests.id(who) and e.course_id = tests.id(course)
$$;
create function tests.completes(who text, course text) returns void language sql as $$
  insert into lms.lesson_progress (user_id, lesson_id, progress_percentage, completed_at, first_accessed_at)
  values (tests.id(who), tests.id(course || '/1'), 100, private.training_clock(), private.training_clock())
$$;
-- What was asked of whom, from when to when, and why it ended.
create function tests.asked(who text default null) returns text[] language sql as $$
  select array(
    select concat_ws(' ', r.name, (q.since at time zone 'Europe/Berlin')::date, '-', (q.ended_at at time zone 'Europe/Berlin')::date, q.end_reason)
    from lms.training_requirements q join lms.assignment_rules r on r.id = q.rule_id
    where who is null or q.user_id = tests.id(who)
    order by q.since, r.name, q.user_id
  )
$$;
select tests.at('2025-01-01 09:00+01');
savepoint clean;

-- =====================================================================================================
-- Changes while the job is down: each counts at its own time
-- =====================================================================================================

select tests.rule('Plant', 'hazmat', format('unit_id = %L', tests.id('plant'))), tests.rule('South', 'intro', format('unit_id = %L', tests.id('south'))), tests.rule('Welders', 'forklift', 'job_title = ''Welder''');
select tests.activate();
select ops.apply_assignment_marks();
select tests.at('2025-01-02 09:00+01'), tests.member('nora', 'works', 'learner', 'north');
select tests.at('2025-01-04 09:00+01');
update lms.memberships set unit_id = tests.id('south') where user_id = tests.id('nora');
select tests.at('2025-01-06 09:00+01');
update lms.memberships set job_title = 'welder' where user_id = tests.id('nora');
select tests.at('2025-01-09 09:00+01');
select ops.apply_assignment_marks();
select is(tests.asked('nora'), array['Plant 2025-01-02 - 2025-01-04 moved_on', 'South 2025-01-04 -', 'Welders 2025-01-06 -'], 'who joined one plant, moved to another and got a job: each from its own day');
select is(tests.cycles('nora', 'hazmat') || '; ' || tests.cycles('nora', 'intro'), '-; enrolled rule', '... and is enrolled in what is asked now only');
rollback to clean;

-- Everything that can change, with the job after each change and with the job once: the same record.
create function tests.a_month(is_job_up boolean) returns text[] language plpgsql as $$
declare
  v_statement text;
  v_day integer := 2;
  v_record text[];
begin
  perform tests.rule('Plant', 'hazmat', format('unit_id = %L', tests.id('plant'))), tests.rule('South', 'intro', format('unit_id = %L', tests.id('south'))),
    tests.rule('Welders', 'forklift', 'job_title = ''Welder'''), tests.rule('Autumn', 'forklift', format('cohort_id = %L', tests.id('autumn'))),
    tests.rule('Guards', 'intro', format('role_id = %L', tests.id('guard of works'))), tests.rule('Welders of the plant', 'intro', format('job_title = ''welder'', unit_id = %L', tests.id('plant')));
  perform tests.activate();
  perform ops.apply_assignment_marks();
  foreach v_statement in array array[
    'select tests.member(''nora'', ''works'', ''learner'', ''north'')',
    'update lms.memberships set job_title = '' WELDER '' where user_id = tests.id(''nora'')',
    'insert into lms.cohort_members (cohort_id, user_id) values (tests.id(''autumn''), tests.id(''nora''))',
    'update lms.memberships set unit_id = tests.id(''south'') where user_id = tests.id(''nora'')',
    'select tests.grant_role(''nora'', ''works'', ''guard'')',
    'select tests.grant_role(''nora'', ''works'', ''guard'', ''south'')',
    'delete from lms.role_grants where membership_id = tests.id(''nora in works'') and role_id = tests.id(''guard of works'') and unit_id is null',
    'update lms.org_units set parent_id = tests.id(''plant'') where id = tests.id(''south'')',
    'update lms.memberships set job_title = ''Fitter'', unit_id = tests.id(''north'') where user_id = tests.id(''nora'')',
    'delete from lms.role_grants where membership_id = tests.id(''nora in works'') and role_id = tests.id(''guard of works'')',
    'delete from lms.cohort_members where user_id = tests.id(''nora'')',
    'update lms.memberships set status = ''suspended'' where user_id = tests.id(''nora'')',
    'update lms.org_units set parent_id = null where id = tests.id(''south'')',
    'update lms.memberships set status = ''active'' where user_id = tests.id(''nora'')',
    'insert into lms.cohort_members (cohort_id, user_id) values (tests.id(''autumn''), tests.id(''nora''))',
    'update lms.memberships set status = ''ended'' where user_id = tests.id(''nora'')',
    'update lms.memberships set status = ''active'', unit_id = tests.id(''south'') where user_id = tests.id(''nora'')',
    'insert into lms.memberships (tenant_id, user_id, is_guest) values (tests.id(''works''), tests.person(''gus''), true)',
    'update lms.memberships set is_guest = false, unit_id = tests.id(''north'') where user_id = tests.id(''gus'')',
    'update lms.memberships set unit_id = tests.id(''south'') where user_id = tests.id(''gus'')'
  ] loop
    perform tests.at(format('2025-01-%s 09:00+01', lpad(v_day::text, 2, '0')));
    execute v_statement;
    v_day := v_day + 1;
    if is_job_up then
      perform ops.apply_assignment_marks();
    end if;
  end loop;
  perform ops.apply_assignment_marks();
  v_record := tests.asked();
  raise exception using errcode = 'UNDO3', message = v_record::text;
exception
  when sqlstate 'UNDO3' then return sqlerrm::text[];
end
$$;
create table tests.records as select is_job_up, tests.a_month(is_job_up) as record from unnest(array[true, false]) as is_job_up;
select cmp_ok((select cardinality(record) from tests.records where is_job_up), '>', 15, 'a month in which much happens');
select is((select record from tests.records where not is_job_up), (select record from tests.records where is_job_up), 'INV-O4: a month without the job leaves the record that the job would have left');
rollback to clean;

-- What is said about somebody from their row, and what the rule finds among all, is the same.
select tests.rule('Plant', 'hazmat', format('unit_id = %L', tests.id('plant'))), tests.rule('Welders', 'forklift', 'job_title = '' Welder '''), tests.rule('Autumn', 'forklift', format('cohort_id = %L', tests.id('autumn'))), tests.rule('All', 'intro'),
  tests.rule('Guards', 'intro', format('role_id = %L', tests.id('guard of works'))), tests.rule('Guards of the plant', 'intro', format('role_id = %L, unit_id = %L', tests.id('guard of works'), tests.id('plant')));
insert into lms.cohort_members (cohort_id, user_id) values (tests.id('autumn'), tests.id('dora')), (tests.id('autumn'), tests.id('sid'));
update lms.memberships set job_title = 'WELDER' where user_id in (tests.id('sid'), tests.id('marco'));
select tests.grant_role('dora', 'works', 'guard', 'north'), tests.grant_role('ines', 'works', 'guard');
select set_eq(
  $$ select r.name, u from lms.assignment_rules r, private.people_of_rule(r) u $$,
  $$ select r.name, w.user_id
     from private.rules_of_people(tests.id('works'), array(select f from private.facts_of_members(array_fill(tests.id('works'), array[6]), array(select m.user_id from lms.memberships m where m.tenant_id = tests.id('works')), now()) f), array(select r.id from lms.assignment_rules r)) w
     join lms.assignment_rules r on r.id = w.rule_id $$,
  'whom a rule finds, and which rules somebody is under, agree'
);
rollback to clean;

-- A rule that changes while the job is down asks for new things from then on, not from when somebody came under it.
select tests.rule('Plant', 'hazmat', format('unit_id = %L', tests.id('plant')));
select tests.activate();
select ops.apply_assignment_marks();
select tests.at('2025-01-02 09:00+01');
update lms.memberships set job_title = 'Welder' where user_id = tests.id('sid');
select tests.at('2025-01-04 09:00+01');
update lms.assignment_rules set unit_id = tests.id('south') where name = 'Plant';
select tests.at('2025-01-05 09:00+01');
update lms.assignment_rules set description = 'In other words' where name = 'Plant';
select tests.at('2025-01-09 09:00+01');
select ops.apply_assignment_marks();
select is(tests.asked('sid'), array['Plant 2025-01-04 -'], 'since the rule changed');
select is(tests.asked('dora'), array['Plant 2025-01-01 - 2025-01-04 rule_changed'], '... and until then');
rollback to clean;

-- A learning path that changes, and a course that is taken away, count from when it happened, not from the night.
insert into lms.learning_paths (id, tenant_id, slug, title, status, published_at) values (tests.id('plan'), tests.id('works'), 'plan', 'Plan', 'published', now());
insert into lms.learning_path_courses (path_id, course_id) values (tests.id('plan'), tests.id('intro'));
insert into lms.assignment_rules (id, tenant_id, name, unit_id, path_id, status, activated_at) values (tests.id('By path'), tests.id('works'), 'By path', tests.id('north'), tests.id('plan'), 'active', private.training_clock());
select ops.apply_assignment_rules();
select tests.at('2025-01-03 09:00+01');
insert into lms.learning_path_courses (path_id, course_id) values (tests.id('plan'), tests.id('hazmat'));
select tests.at('2025-01-05 09:00+01');
select ops.apply_assignment_marks();
select is(tests.asked('dora'), array['By path 2025-01-01 -', 'By path 2025-01-03 -'], 'a course that is put into the path');
select tests.at('2025-01-06 09:00+01');
update lms.courses set deleted_at = now() where id = tests.id('hazmat');
select tests.at('2025-01-09 09:00+01');
select ops.apply_assignment_marks();
select is(tests.asked('dora'), array['By path 2025-01-01 -', 'By path 2025-01-03 - 2025-01-06 rule_changed'], 'a course that is deleted');
rollback to clean;

-- What an organisation does while it is switched off is looked at when it is back, at its own time.
select tests.rule('Plant', 'hazmat', format('unit_id = %L', tests.id('plant')));
select tests.activate();
select ops.apply_assignment_marks();
update lms.tenants set is_active = false;
select tests.at('2025-01-03 09:00+01');
update lms.memberships set unit_id = tests.id('north') where user_id = tests.id('sid');
select tests.at('2025-01-05 09:00+01');
select ops.apply_assignment_rules();
update lms.tenants set is_active = true;
select tests.at('2025-01-09 09:00+01');
select ops.apply_assignment_marks();
select is(tests.asked('sid'), array['Plant 2025-01-03 -'], 'what happened meanwhile is not forgotten');
rollback to clean;

-- Whose mark has to wait is left alone by the nightly run: it would say that something begins tonight.
select tests.rule('Plant', 'hazmat', format('unit_id = %L', tests.id('plant')));
select tests.activate();
select ops.apply_assignment_marks();
select tests.at('2025-01-02 09:00+01');
update lms.memberships set job_title = 'A' where user_id = tests.id('dora');
update lms.memberships set job_title = 'B' where user_id = tests.id('dora');
update lms.memberships set job_title = 'C' where user_id = tests.id('dora');
update lms.memberships set job_title = 'D' where user_id = tests.id('dora');
select tests.at('2025-01-03 09:00+01');
update lms.memberships set unit_id = tests.id('north') where user_id = tests.id('sid');
select tests.at('2025-01-09 09:00+01');
select ops.apply_assignment_rules(p_people => 4);
select ops.apply_assignment_marks(p_people => 4) from generate_series(1, 5);
select is(tests.asked('sid'), array['Plant 2025-01-03 -'], 'since the move, although the night came first');
rollback to clean;

-- Only what a rule asks leaves a mark.
select tests.rule('Plant', 'hazmat', format('unit_id = %L', tests.id('plant')));
select tests.activate();
select ops.apply_assignment_marks();
update lms.assignment_rules set name = 'Another name', description = 'More words';
select is((select count(*) from private.assignment_marks), 0::bigint, 'another name or description is nothing to look at');
update lms.assignment_rules set due_after_days = 3;
select is((select count(*) from private.assignment_marks), 1::bigint, 'another date is');
rollback to clean;

-- =====================================================================================================
-- INV-O1: in steps
-- =====================================================================================================

select tests.member('p' || n, 'works', 'learner', 'north') from generate_series(1, 9) n;
select tests.rule('All', 'hazmat'), tests.rule('All again', 'intro');
select tests.activate();
delete from private.assignment_marks where user_id is not null;
select cmp_ok(ops.apply_assignment_marks(p_people => 4, p_enrollments => 3), '>', 0::bigint, 'a first step');
select cmp_ok((select count(distinct q.user_id) from lms.training_requirements q), '<=', 4::bigint, 'no more people than it was told');
select cmp_ok((select count(*) from lms.enrollments), '<=', 4::bigint, '... and enrolments: those of one person more at most');
create function tests.steps() returns integer language plpgsql as $$
declare
  v_steps integer := 0;
  v_before bigint;
begin
  while exists (select from private.assignment_marks) loop
    v_before := (select count(*) from lms.enrollments);
    perform ops.apply_assignment_marks(p_people => 4, p_enrollments => 3);
    v_steps := v_steps + 1;
    if (select count(*) from lms.enrollments) - v_before > 4 or v_steps > 100 then
      return null;
    end if;
  end loop;
  return v_steps;
end
$$;
select cmp_ok(tests.steps(), '>', 3, 'it comes to an end, in small steps');
select is((select count(*) from lms.training_requirements), 30::bigint, '... when everything is asked of everybody');
select is((select count(*) from lms.enrollments), 30::bigint, '... and everybody is enrolled');
-- What the last rules have opened is closed in steps as well.
savepoint opened;
update lms.assignment_rules set status = 'ended', ended_at = private.training_clock();
select cmp_ok(tests.steps(), '>', 3, 'the rules end: in steps');
select is((select count(*) from lms.enrollments e where e.status = 'dropped'), 30::bigint, '... until all is closed');
rollback to opened;
-- The night, too.
delete from lms.training_requirements;
select tests.at('2025-02-01 01:00+01');
select cmp_ok(ops.apply_assignment_rules(p_people => 4, p_enrollments => 3), '<=', 12::bigint, 'the nightly run begins');
select cmp_ok((select count(distinct q.user_id) from lms.training_requirements q), '<=', 4::bigint, '... with some');
select cmp_ok(tests.steps(), '>=', 2, '... and the others follow');
select is((select count(*) from lms.training_requirements), 30::bigint, 'all of them');
select is(ops.apply_assignment_rules(), 0::bigint, 'INV-O1: again: nothing');
rollback to clean;

-- =====================================================================================================
-- What rules name stays
-- =====================================================================================================

insert into lms.learning_paths (id, tenant_id, slug, title, status, published_at) values (tests.id('plan'), tests.id('works'), 'plan', 'Plan', 'published', now());
insert into lms.learning_path_courses (path_id, course_id) values (tests.id('plan'), tests.id('intro'));
select tests.unit('empty', 'works');
select tests.rule('By cohort', 'hazmat', format('cohort_id = %L', tests.id('autumn'))), tests.rule('By role', 'hazmat', format('role_id = %L', tests.id('guard of works'))), tests.rule('By unit', 'hazmat', format('unit_id = %L', tests.id('empty'))), tests.rule('By path', 'hazmat', format('path_id = %L', tests.id('plan')));
select is(tests.try('boss', statement), '409 named_by_rules', statement)
from (values
  (format('delete from lms.cohorts where id = %L', tests.id('autumn'))), (format('delete from lms.roles where id = %L', tests.id('guard of works'))),
  (format('delete from lms.org_units where id = %L', tests.id('empty'))), (format('select lms.delete_learning_path(%L)', tests.id('plan')))
) as cases (statement);
select tests.as('boss');
select is(tests.failure_of(format('delete from lms.cohorts where id = %L', tests.id('autumn'))) #>> '{details,rules,0,name}', 'By cohort', 'it says which rules');
select tests.as_owner();
-- Whoever sees no rules is not told their names.
select tests.custom_role('works', 'clerk', array['members.read', 'members.write']), tests.member('carl', 'works', 'clerk');
select tests.as('carl');
select is(tests.failure_of(format('delete from lms.cohorts where id = %L', tests.id('autumn'))) -> 'details' -> 'rules', '[]', '... to those who see them');
select tests.as_owner();
delete from lms.assignment_rules;
select is(tests.try('boss', statement), '1', statement)
from (values
  (format('delete from lms.cohorts where id = %L', tests.id('autumn'))), (format('delete from lms.roles where id = %L', tests.id('guard of works'))),
  (format('delete from lms.org_units where id = %L', tests.id('empty'))), (format('select lms.delete_learning_path(%L)', tests.id('plan')))
) as cases (statement);
rollback to clean;

-- =====================================================================================================
-- Due dates follow the rule, as long as nobody has set one by hand
-- =====================================================================================================

select tests.rule('Plant', 'hazmat', format('unit_id = %L, due_after_days = 14', tests.id('plant')));
select tests.activate();
select ops.apply_assignment_marks();
select is(tests.cycles('dora', 'hazmat'), 'enrolled rule due 2025-01-16', 'at first');
update lms.assignment_rules set due_after_days = 7;
select ops.apply_assignment_marks();
select is(tests.cycles('dora', 'hazmat'), 'enrolled rule due 2025-01-09', 'the rule gives less time');
select is((select l.changes -> 'due_at' is not null from audit.log l where l.table_name = 'lms.enrollments' and l.operation = 'UPDATE' order by l.id desc limit 1), true, '... which is on record');
select tests.rule('Stricter', 'hazmat', 'due_after_days = 2');
select tests.activate();
select ops.apply_assignment_marks();
select is(tests.cycles('dora', 'hazmat'), 'enrolled rule due 2025-01-04', 'a stricter rule comes');
update lms.assignment_rules set status = 'ended', ended_at = private.training_clock() where name = 'Stricter';
select ops.apply_assignment_marks();
select is(tests.cycles('dora', 'hazmat'), 'enrolled rule due 2025-01-09', '... and goes');
update lms.enrollments set due_at = '2025-03-01 12:00+01' where user_id = tests.id('dora');
update lms.assignment_rules set due_after_days = 5 where name = 'Plant';
select ops.apply_assignment_marks();
select is(tests.cycles('dora', 'hazmat') || '; ' || tests.cycles('marco', 'hazmat'), 'enrolled rule due 2025-03-01; enrolled rule due 2025-01-07', 'a date that was set by hand stays; the others follow');
update lms.assignment_rules set due_after_days = null where name = 'Plant';
select ops.apply_assignment_marks();
select is(tests.cycles('marco', 'hazmat'), 'enrolled rule', 'no date any more');
update lms.enrollments set due_at = '2025-05-01 12:00+01' where user_id = tests.id('marco');
update lms.assignment_rules set due_after_days = 9 where name = 'Plant';
select ops.apply_assignment_rules();
select is(tests.cycles('marco', 'hazmat'), 'enrolled rule due 2025-05-01', '... and one that is then set by hand stays, too');
select is(ops.apply_assignment_rules(), 0::bigint, 'again: nothing');
rollback to clean;

-- =====================================================================================================
-- A completion that had run out before
-- =====================================================================================================

select tests.rule('Plant', 'hazmat', format('unit_id = %L, due_after_days = 14, recurs_every_months = 12', tests.id('plant')));
select tests.activate();
select tests.at('2023-01-01 09:00+01');
insert into lms.enrollments (course_id, user_id, enrolled_at) values (tests.id('hazmat'), tests.id('sid'), private.training_clock());
select tests.completes('sid', 'hazmat');
select tests.at('2025-01-10 09:00+01');
update lms.memberships set unit_id = tests.id('north') where user_id = tests.id('sid');
select ops.apply_assignment_marks();
select is(tests.stands('sid', 'hazmat'), 'due due 2025-01-25', 'is due as for everybody who comes under the rule');
select is(tests.cycles('sid', 'hazmat'), 'completed self, enrolled rule due 2025-01-25', '... and enrolled');
select tests.at('2025-01-25 00:00+01');
select is(tests.stands('sid', 'hazmat'), 'overdue due 2025-01-25', '... and then overdue');
select tests.completes('sid', 'hazmat');
select is(tests.stands('sid', 'hazmat'), 'done due 2026-01-26', '... until it is done');
select tests.at('2026-01-26 00:00+01');
select is(tests.stands('sid', 'hazmat'), 'expired due 2026-01-26', 'what runs out under the rule has run out');
rollback to clean;

-- One that still holds for another rule: the strictest counts.
select tests.rule('For good', 'hazmat', format('unit_id = %L', tests.id('plant'))), tests.rule('Each year', 'hazmat', format('unit_id = %L, due_after_days = 3, recurs_every_months = 12', tests.id('plant')));
select tests.activate();
select tests.at('2023-01-01 09:00+01');
insert into lms.enrollments (course_id, user_id, enrolled_at) values (tests.id('hazmat'), tests.id('sid'), private.training_clock());
select tests.completes('sid', 'hazmat');
select tests.at('2025-01-10 09:00+01');
update lms.memberships set unit_id = tests.id('north') where user_id = tests.id('sid');
select ops.apply_assignment_marks();
select is(tests.stands('sid', 'hazmat'), 'due due 2025-01-14', 'due by the one, whatever holds by the other');
rollback to clean;

-- =====================================================================================================
-- Waivers
-- =====================================================================================================

select tests.rule('Plant', 'hazmat', format('unit_id = %L, due_after_days = 14', tests.id('plant')));
select tests.activate();
select ops.apply_assignment_marks();
select tests.as('hanna');
create temporary table waiver as select (lms.grant_training_waiver(tests.id('hazmat'), tests.id('dora'), 'On leave')).id;
select tests.as_owner();
-- As if it had been granted by the clock of this test.
update lms.training_waivers set granted_at = private.training_clock();
update private.assignment_marks set marked_at = private.training_clock();
select ops.apply_assignment_marks();
select is(tests.cycles('dora', 'hazmat'), 'dropped rule due 2025-01-16', 'what a rule has begun and nobody has touched ends with the waiver');
select tests.at('2025-01-05 09:00+01');
select ops.apply_assignment_rules();
select is(tests.cycles('dora', 'hazmat'), 'dropped rule due 2025-01-16', '... for as long as it lasts');
select lms.revoke_training_waiver(id) from waiver;
select ops.apply_assignment_marks();
select is(tests.cycles('dora', 'hazmat'), 'dropped rule due 2025-01-16, enrolled rule due 2025-01-16', '... and begins again after it');
-- What was begun is left alone.
update lms.enrollments set status = 'in_progress', started_at = private.training_clock() where user_id = tests.id('dora') and status = 'enrolled';
insert into lms.training_waivers (tenant_id, user_id, course_id, reason, granted_at) values (tests.id('works'), tests.id('dora'), tests.id('hazmat'), 'On leave', private.training_clock());
select ops.apply_assignment_rules();
select is(tests.cycles('dora', 'hazmat'), 'dropped rule due 2025-01-16, in_progress rule due 2025-01-16', 'what was begun stays');
rollback to clean;

-- =====================================================================================================
-- A preview of an ordered path
-- =====================================================================================================

insert into lms.learning_paths (id, tenant_id, slug, title, status, published_at) values (tests.id('plan'), tests.id('works'), 'plan', 'Plan', 'published', now());
insert into lms.learning_path_courses (path_id, course_id) values (tests.id('plan'), tests.id('intro'));
insert into lms.learning_path_courses (path_id, course_id) values (tests.id('plan'), tests.id('hazmat'));
insert into lms.assignment_rules (id, tenant_id, name, unit_id, path_id) values (tests.id('By path'), tests.id('works'), 'By path', tests.id('north'), tests.id('plan'));
create function tests.previewed() returns text language sql as $$
  select string_agg(c.slug || ' ' || p.enrolls, ', ' order by c.slug desc) from lms.preview_assignment_rule(tests.id('By path')) p join lms.courses c on c.id = p.course_id where p.user_id = tests.id('dora')
$$;
select is(tests.previewed(), 'intro true, hazmat false', 'only the next course would be begun');
insert into lms.assignment_rule_courses (rule_id, course_id) values (tests.id('By path'), tests.id('hazmat'));
select is(tests.previewed(), 'intro true, hazmat true', '... and what the rule names itself');
delete from lms.assignment_rule_courses;
update lms.learning_paths set is_ordered = false;
select is(tests.previewed(), 'intro true, hazmat true', 'without an order all of them');
rollback to clean;

-- =====================================================================================================
-- Certificates that are revoked
-- =====================================================================================================

select tests.at('');
select tests.rule('Plant', 'hazmat', format('unit_id = %L, due_after_days = 14', tests.id('plant')));
select tests.at((now() - interval '100 days')::text);
select tests.activate();
delete from private.assignment_marks where user_id is not null;
select ops.apply_assignment_rules();
select tests.completes('dora', 'hazmat'), tests.completes('marco', 'hazmat');
select tests.at('');
select is(tests.stands('dora', 'hazmat') || ', ' || (select count(*) from lms.certificates), 'done, 2', 'done, with a certificate');
create function tests.certificate(who text) returns uuid language sql as $$ select c.id from lms.certificates c where c.user_id = tests.id(who) order by c.edition desc limit 1 $$;
select lms.revoke_certificate(tests.certificate('dora'), 'Wrong name');
select ops.apply_assignment_marks();
select is(tests.stands('dora', 'hazmat'), 'done', 'a certificate that is revoked takes away no training');
select is(tests.try('dora', format('select lms.revoke_certificate(%L, ''x'', true)', tests.certificate('marco'))), '404 certificate_not_found', 'learners void nothing');
select lms.revoke_certificate(tests.certificate('dora'), 'She was not there', p_voids_training => true);
select ops.apply_assignment_marks();
select is(tests.stands('dora', 'hazmat'), 'due due ' || ((now() at time zone 'Europe/Berlin')::date + 15), '... unless the training is found void: due again, with the time that the rule gives');
select is(tests.cycles('dora', 'hazmat') like 'completed rule%, enrolled rule due ' || ((now() at time zone 'Europe/Berlin')::date + 15), true, '... in a new cycle; the old one is history');
select is((select s.state from lms.get_training_status(tests.id('works'), tests.id('dora'), p_at => now() - interval '1 day') s), 'done', 'as it was known then');
select is((select s.state from lms.get_training_status(tests.id('works'), tests.id('marco')) s), 'done', 'nobody else''s');
select lms.reissue_certificate(tests.certificate('dora'), 'She was there after all');
select ops.apply_assignment_marks();
select is(tests.stands('dora', 'hazmat'), 'done', 'a certificate that is issued again brings it back');
select is((select e.status from lms.enrollments e where e.user_id = tests.id('dora') order by e.cycle desc limit 1), 'enrolled', '... and what was opened meanwhile is left');
rollback to clean;

-- =====================================================================================================
-- Who manages a unit, and who has moved
-- =====================================================================================================

select tests.rule('Plant', 'hazmat', format('unit_id = %L', tests.id('plant'))), tests.rule('South', 'intro', format('unit_id = %L', tests.id('south')));
select tests.activate();
select ops.apply_assignment_marks();
create function tests.matrix_of(who text) returns text language plpgsql as $$
declare
  v_seen text;
begin
  perform tests.as(who);
  select string_agg(split_part(u.name, '@', 1) || ' ' || c.slug, ', ' order by u.name, c.slug) into v_seen
  from lms.get_training_status(tests.id('works'), p_at => '2025-01-08') s
  join (values (tests.id('dora'), 'dora'), (tests.id('marco'), 'marco'), (tests.id('sid'), 'sid')) as u (id, name) on u.id = s.user_id
  join (values (tests.id('hazmat'), 'hazmat'), (tests.id('intro'), 'intro')) as c (id, slug) on c.id = s.course_id;
  perform tests.as_owner();
  return v_seen;
end
$$;
select is(tests.matrix_of('marco'), 'dora hazmat, marco hazmat', 'a manager sees the unit and all below it');
select is(tests.try('marco', format('select lms.enroll(%L, %L)', tests.id('forklift'), tests.id(person))), expected, format('a manager assigns to %s: %s', person, expected))
from (values ('dora', '1'), ('sid', '42501'), ('hanna', '42501')) as cases (person, expected);
select tests.completes('sid', 'intro');
select tests.enrollment('sid', 'forklift');
update lms.memberships set unit_id = tests.id('north') where user_id = tests.id('sid');
select ops.apply_assignment_marks();
select is(tests.matrix_of('marco'), 'dora hazmat, marco hazmat, sid hazmat', 'who moves there is seen there, with what is asked now');
select is(
  (select string_agg(c.slug || ' ' || e.status || ' ' || u.name, ', ' order by c.slug) from lms.enrollments e join lms.courses c on c.id = e.course_id join lms.org_units u on u.id = e.unit_id where e.user_id = tests.id('sid')),
  'forklift enrolled north, hazmat enrolled north, intro completed south', 'INV-E6: open enrolments move along, finished ones stay where they were earned'
);
select is(tests.sees_as('marco', 'lms.enrollments', format('user_id = %L', tests.id('sid'))), '2', '... and are seen there');
select is(tests.try('marco', format('select lms.enroll(%L, %L)', tests.id('intro'), tests.id('sid'))), '1', 'a manager assigns to who has come');

select * from finish();
rollback;
