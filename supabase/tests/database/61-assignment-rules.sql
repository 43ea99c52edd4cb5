begin;
\ir ../helpers.sql
select * from no_plan();

-- Who has to take what by which rule, since when, by when, and again. The clock is set, so that a year passes here.

select tests.tenant('works'), tests.tenant('press'), tests.unit('plant', 'works'), tests.unit('north', 'works', 'plant'), tests.unit('south', 'works');
update lms.tenants set time_zone = 'Europe/Berlin' where id = tests.id('works');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'), tests.member('marco', 'works', 'unit_manager', 'plant', 'plant'),
  tests.member('ines', 'works', 'instructor'), tests.member('dora', 'works', 'learner', 'north'), tests.member('sid', 'works', 'learner', 'south'),
  tests.member('petra', 'press', 'tenant_admin');
select tests.course('hazmat', 'works', 'ines', 1), tests.course('intro', 'works', 'ines', 1), tests.course('novel', 'press', 'petra', 1);
insert into lms.cohorts (id, tenant_id, name) values (tests.id('autumn'), tests.id('works'), 'Autumn');

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
-- Who is under a rule.
create function tests.under(name text) returns text language sql as $$
  select coalesce(string_agg(split_part(u.email, '@', 1), ' ' order by u.email), '-')
  from lms.training_requirements q join auth.users u on u.id = q.user_id
  where q.rule_id = tests.id(name) and q.ended_at is null
$$;
create function tests.stands(who text, course text) returns text language sql as $$
  select concat_ws(' ', s.state, 'due ' || (s.due_at at time zone 'Europe/Berlin')::text)
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
select tests.at('2025-01-10 09:00+01');
savepoint clean;

-- From draft to effect, and back; by the clock on the wall, which is that of clients.
select tests.at('');
select tests.rule('HazMat', 'hazmat', format('unit_id = %L, due_after_days = 14, recurs_every_months = 12', tests.id('plant')));
select ops.apply_assignment_rules();
select is(tests.under('HazMat'), '-', 'a draft asks nothing of anybody');
select tests.as('marco');
select results_eq(
  format('select user_id, change, enrolls from lms.preview_assignment_rule(%L)', tests.id('HazMat')),
  $$ select u.id, 'begins', true from unnest(array[tests.id('dora'), tests.id('marco')]) as u (id) order by u.id $$,
  'a preview says whom it would be about'
);
select is((lms.set_assignment_rule_status(tests.id('HazMat'), 'active')).status, 'active', 'it is put into effect');
select tests.as_owner();
select is(ops.apply_assignment_marks() > 0, true, 'the job derives what follows');
select is(tests.under('HazMat'), 'dora marco', 'the unit and all below it');
select is(ops.apply_assignment_marks(), 0::bigint, 'again: nothing');
select is(ops.apply_assignment_rules(), 0::bigint, 'INV-O1: everything again: nothing');
select is(tests.cycles('dora', 'hazmat'), 'enrolled rule due ' || ((now() at time zone 'Europe/Berlin')::date + 15), 'the person is enrolled, due at the end of the fourteenth day');
select is((lms.set_assignment_rule_status(tests.id('HazMat'), 'ended')).status, 'ended', 'it is ended');
select is(ops.apply_assignment_marks() > 0, true, 'the job takes it away');
select is(tests.under('HazMat'), '-', 'nobody is under it');
select is(tests.cycles('dora', 'hazmat') like 'dropped rule%', true, 'what nobody had begun is dropped');
select is(tests.error_of(format('select lms.set_assignment_rule_status(%L, ''active'')', tests.id('HazMat'))), '409 transition_not_allowed', 'an ended rule stays ended');
rollback to clean;

-- A year of one person.
select tests.rule('HazMat', 'hazmat', format('unit_id = %L, due_after_days = 14, recurs_every_months = 12, renewal_window_days = 30', tests.id('plant')));
update lms.assignment_rules set status = 'active', activated_at = private.training_clock() where id = tests.id('HazMat');
select ops.apply_assignment_marks();
select is(tests.stands('dora', 'hazmat'), 'due due 2025-01-25 00:00:00', 'due at the end of the fourteenth day');
select tests.at('2025-01-24 23:59:59+01');
select is(tests.stands('dora', 'hazmat'), 'due due 2025-01-25 00:00:00', '... not a second before');
select tests.at('2025-01-25 00:00:00+01');
select is(tests.stands('dora', 'hazmat'), 'overdue due 2025-01-25 00:00:00', '... but then');
select tests.at('2025-01-31 23:30+01');
select tests.completes('dora', 'hazmat');
select is(tests.stands('dora', 'hazmat'), 'done due 2026-02-01 00:00:00', 'a completion holds a year, to the end of the day where the organisation is');
select is(tests.cycles('dora', 'hazmat'), 'completed rule due 2025-01-25', 'one cycle');
select tests.at('2026-01-01 12:00+01');
select ops.apply_assignment_rules();
select is(tests.cycles('dora', 'hazmat'), 'completed rule due 2025-01-25', 'not yet another one');
select tests.at('2026-01-02 00:00:00+01');
select is(tests.stands('dora', 'hazmat'), 'expiring due 2026-02-01 00:00:00', 'thirty days before, it is to be renewed');
-- A week without the job.
select tests.at('2026-01-09 03:00+01');
select ops.apply_assignment_rules();
select is(tests.cycles('dora', 'hazmat'), 'completed rule due 2025-01-25, enrolled rule due 2026-02-01', 'INV-O4: a late job opens the same cycle, due at the same time');
select is(ops.apply_assignment_rules(), 0::bigint, '... once');
select tests.at('2026-02-01 00:00:00+01');
select is(tests.stands('dora', 'hazmat'), 'expired due 2026-02-01 00:00:00', 'it has run out');
select tests.completes('dora', 'hazmat');
select is(tests.stands('dora', 'hazmat'), 'done due 2027-02-02 00:00:00', 'renewed');
select is((select s.state from lms.get_training_status(tests.id('works'), tests.id('dora'), tests.id('hazmat'), p_at => '2025-01-20') s), 'due', 'and what it was a year ago can still be said');
select is((select s.state from lms.get_training_status(tests.id('works'), tests.id('dora'), tests.id('hazmat'), p_at => '2025-01-28') s), 'overdue', '... to the day');
rollback to clean;

-- Joining, moving, changing job, joining a cohort, getting a role, leaving.
select
  tests.rule('unit', 'intro', format('unit_id = %L', tests.id('south'))), tests.rule('title', 'intro', 'job_title = '' Welder '''), tests.rule('cohort', 'intro', format('cohort_id = %L', tests.id('autumn'))),
  tests.rule('role', 'intro', format('role_id = %L', tests.role_id('works', 'instructor'))), tests.rule('both', 'intro', format('job_title = ''welder'', unit_id = %L', tests.id('south')));
update lms.assignment_rules set status = 'active', activated_at = private.training_clock();
select ops.apply_assignment_marks();
create function tests.all_under() returns text language sql as $$
  select string_agg(n || ': ' || tests.under(n), ', ' order by place) from unnest(array['unit', 'title', 'cohort', 'role', 'both']) with ordinality as u (n, place)
$$;
select is(tests.all_under(), 'unit: sid, title: -, cohort: -, role: ines, both: -', 'at first');
create function tests.after(statement text) returns text language plpgsql as $$
begin
  execute statement;
  perform ops.apply_assignment_marks();
  return tests.all_under();
end
$$;
select is(tests.after(format('update lms.memberships set job_title = ''welder'' where user_id = %L', tests.id('dora'))), 'unit: sid, title: dora, cohort: -, role: ines, both: -', 'another job');
select is(tests.after(format('update lms.memberships set unit_id = %L where user_id = %L', tests.id('south'), tests.id('dora'))), 'unit: dora sid, title: dora, cohort: -, role: ines, both: dora', 'another unit');
select is(tests.after(format('insert into lms.cohort_members (cohort_id, user_id) values (%L, %L)', tests.id('autumn'), tests.id('sid'))), 'unit: dora sid, title: dora, cohort: sid, role: ines, both: dora', 'a cohort');
select is(tests.after(format('select tests.grant_role(''sid'', ''works'', ''instructor'')')), 'unit: dora sid, title: dora, cohort: sid, role: ines sid, both: dora', 'a role');
select is(tests.after(format('delete from lms.role_grants where membership_id = %L and role_id = %L', tests.id('sid in works'), tests.role_id('works', 'instructor'))), 'unit: dora sid, title: dora, cohort: sid, role: ines, both: dora', '... and taken away');
select is(tests.after('select tests.member(''nora'', ''works'', ''learner'', ''south'')'), 'unit: dora nora sid, title: dora, cohort: sid, role: ines, both: dora', 'somebody joins');
select is(tests.after(format('update lms.org_units set parent_id = %L where id = %L', tests.id('south'), tests.id('plant'))), 'unit: dora marco nora sid, title: dora, cohort: sid, role: ines, both: dora', 'a unit moves below another');
select is(tests.cycles('nora', 'intro'), 'enrolled rule', 'one cycle, however many rules');
select is(tests.after(format('update lms.memberships set status = ''ended'' where user_id = %L', tests.id('dora'))), 'unit: marco nora sid, title: -, cohort: sid, role: ines, both: -', 'somebody leaves');
select is((select string_agg(distinct q.end_reason, ' ') from lms.training_requirements q where q.user_id = tests.id('dora')), 'left', '... and the record says so');
select is(tests.cycles('dora', 'intro'), 'dropped rule', '... and what they had not begun is dropped');
select is(tests.after(format('update lms.memberships set status = ''suspended'' where user_id = %L', tests.id('nora'))), 'unit: marco nora sid, title: -, cohort: sid, role: ines, both: -', 'who is suspended stays under it');
select is(tests.after(format('update lms.assignment_rules set unit_id = %L where id = %L', tests.id('plant'), tests.id('unit'))), 'unit: marco, title: -, cohort: sid, role: ines, both: -', 'a rule changes');
select is((select string_agg(distinct q.end_reason, ' ') from lms.training_requirements q where q.user_id = tests.id('sid') and q.rule_id = tests.id('unit')), 'rule_changed', '... and the record says so');
select is(tests.cycles('sid', 'intro'), 'enrolled rule', 'who is still asked by another rule keeps the cycle');
rollback to clean;

-- Waivers.
select tests.rule('HazMat', 'hazmat', format('unit_id = %L, due_after_days = 14', tests.id('plant')));
update lms.assignment_rules set status = 'active', activated_at = private.training_clock();
insert into lms.training_waivers (id, tenant_id, user_id, course_id, reason, granted_at, expires_at) values (tests.id('waiver'), tests.id('works'), tests.id('dora'), tests.id('hazmat'), 'On leave', '2025-01-01', '2025-03-01');
select ops.apply_assignment_marks();
select is(tests.stands('dora', 'hazmat'), 'waived due 2025-01-25 00:00:00', 'who is excused is excused');
select is(tests.cycles('dora', 'hazmat'), '-', '... and not enrolled');
select tests.at('2025-03-01 02:00+01');
select ops.apply_assignment_rules();
select is(tests.stands('dora', 'hazmat'), 'overdue due 2025-01-25 00:00:00', 'until the waiver ends');
select is(tests.cycles('dora', 'hazmat'), 'enrolled rule due 2025-01-25', '... and then is enrolled');
select is(tests.try(who, format('select lms.grant_training_waiver(%L, %L, %L)', tests.id(course), tests.id(person), reason)), expected, format('%s excuses %s from %s: %s', who, person, course, expected))
from (values
  ('hanna', 'dora', 'hazmat', 'Done elsewhere', '1'), ('marco', 'dora', 'hazmat', 'Done elsewhere', '1'), ('marco', 'sid', 'hazmat', 'Done elsewhere', '404 person_not_found'),
  ('marco', 'marco', 'hazmat', 'Done elsewhere', '403 own_waiver'), ('dora', 'dora', 'hazmat', 'Done elsewhere', '404 person_not_found'), ('ines', 'dora', 'hazmat', 'Done elsewhere', '404 person_not_found'),
  ('petra', 'dora', 'hazmat', 'Done elsewhere', '404 course_not_found'), ('hanna', 'petra', 'hazmat', 'Done elsewhere', '404 person_not_found'), ('hanna', 'dora', 'novel', 'Done elsewhere', '404 course_not_found'),
  ('hanna', 'dora', 'hazmat', ' ', '422 invalid_reason'), ('hanna', 'dora', 'hazmat', repeat('x', 1001), '422 invalid_reason')
) as cases (who, person, course, reason, expected);
select is(tests.try('hanna', format('select lms.grant_training_waiver(%L, %L, ''x'', %L)', tests.id('hazmat'), tests.id('dora'), until)), '422 invalid_expiry', 'not until ' || until) from (values ('2020-01-01'), ('infinity'), ('-infinity')) as v (until);
select is(tests.try(who, format('select lms.revoke_training_waiver(%L)', tests.id('waiver'))), expected, format('%s revokes a waiver: %s', who, expected))
from (values ('hanna', '1'), ('marco', '1'), ('dora', '42501'), ('ines', '42501'), ('petra', '404 waiver_not_found'), ('anonymous', '42501')) as cases (who, expected);
rollback to clean;

-- What a rule cannot override, and what it leaves alone.
select tests.rule('HazMat', 'hazmat', format('unit_id = %L, due_after_days = 14', tests.id('plant')));
insert into lms.enrollments (course_id, user_id, due_at) values (tests.id('hazmat'), tests.id('dora'), '2025-06-01');
update lms.courses set capacity = 1 where id = tests.id('hazmat');
update lms.assignment_rules set status = 'active', activated_at = private.training_clock();
select ops.apply_assignment_marks();
select is(tests.cycles('dora', 'hazmat'), 'enrolled self due 2025-06-01', 'a date that staff has set stays');
select is(tests.cycles('marco', 'hazmat'), '-', 'INV-E4: a full course stays full');
select is(tests.stands('marco', 'hazmat'), 'due due 2025-01-25 00:00:00', '... and is due all the same');
update lms.courses set capacity = null where id = tests.id('hazmat');
select ops.apply_assignment_rules();
select is(tests.cycles('marco', 'hazmat'), 'enrolled rule due 2025-01-25', 'once there is room, the next run enrols');
rollback to clean;

-- A learning path: its required courses, one after the other where it is ordered.
insert into lms.learning_paths (id, tenant_id, slug, title, status, published_at) values (tests.id('plan'), tests.id('works'), 'plan', 'Plan', 'published', now());
insert into lms.learning_path_courses (path_id, course_id) values (tests.id('plan'), tests.id('intro'));
insert into lms.learning_path_courses (path_id, course_id) values (tests.id('plan'), tests.id('hazmat'));
insert into lms.assignment_rules (id, tenant_id, name, unit_id, path_id, status, activated_at) values (tests.id('by path'), tests.id('works'), 'By path', tests.id('north'), tests.id('plan'), 'active', private.training_clock());
select ops.apply_assignment_rules();
select is(tests.cycles('dora', 'intro') || '; ' || tests.cycles('dora', 'hazmat'), 'enrolled rule; -', 'the first course of an ordered path');
select tests.completes('dora', 'intro');
select ops.apply_assignment_rules();
select is(tests.cycles('dora', 'intro') || '; ' || tests.cycles('dora', 'hazmat'), 'completed rule; enrolled rule', '... and then the next');
rollback to clean;

-- Why a rule applies, or not.
select tests.rule('HazMat', 'hazmat', format('unit_id = %L, job_title = ''Welder'', cohort_id = %L, role_id = %L', tests.id('plant'), tests.id('autumn'), tests.role_id('works', 'learner')));
update lms.assignment_rules set status = 'active', activated_at = private.training_clock();
update lms.memberships set job_title = 'welder ' where user_id = tests.id('dora');
select tests.as('hanna');
select results_eq(
  format('select criterion, required, actual, is_met from lms.explain_assignment(%L, %L)', tests.id('HazMat'), tests.id('dora')),
  $$ values ('status', 'active', 'active', true), ('membership', 'active', 'active', true), ('role', 'Learner', 'Learner', true), ('job_title', 'Welder', 'welder ', true), ('unit', 'plant', 'north', true), ('cohort', 'Autumn', null, false) $$,
  'each criterion, what it asks for and what is'
);
select tests.as_owner();
select is(tests.try(who, format('select * from lms.explain_assignment(%L, %L)', tests.id('HazMat'), tests.id(person))), expected, format('%s asks about %s: %s', who, person, expected))
from (values ('hanna', 'sid', '6'), ('marco', 'dora', '6'), ('marco', 'sid', '404 person_not_found'), ('hanna', 'petra', '6'), ('dora', 'dora', '404 rule_not_found'), ('petra', 'petra', '404 rule_not_found')) as cases (who, person, expected);
rollback to clean;

-- Whoever sees that something is required sees where the person stands, by all rules and completions, also those that they do
-- not see one by one.
select tests.member('nora', 'works', 'unit_manager', 'north', 'north');
select tests.rule('For all', 'hazmat', 'due_after_days = 1'), tests.rule('North', 'hazmat', format('unit_id = %L, due_after_days = 300', tests.id('north')));
update lms.assignment_rules set status = 'active', activated_at = private.training_clock();
select ops.apply_assignment_rules();
select tests.at('2025-01-20 09:00+01');
create function tests.stands_for(who text, whose text) returns text language plpgsql as $$
declare
  v_result text;
begin
  perform tests.as(who);
  select format('%s due %s, %s rules seen', s.state, (s.due_at at time zone 'Europe/Berlin')::date, cardinality(s.rule_ids)) into v_result
  from lms.get_training_status(tests.id('works'), tests.id(whose), tests.id('hazmat'), p_at => '2025-01-20 09:00+01') s;
  perform tests.as_owner();
  return v_result;
end
$$;
select is(tests.stands_for(who, 'dora'), expected, format('dora, as %s sees it: %s', who, expected))
from (values
  ('boss', 'overdue due 2025-01-12, 2 rules seen'), ('dora', 'overdue due 2025-01-12, 2 rules seen'), ('nora', 'overdue due 2025-01-12, 2 rules seen'),
  ('ines', 'overdue due 2025-01-12, 1 rules seen'), ('sid', null), ('petra', null)
) as cases (who, expected);
rollback to clean;

-- A cycle that was begun for another reason is not dropped with a requirement that has ended.
select tests.rule('HazMat', 'hazmat', format('unit_id = %L', tests.id('plant')));
update lms.assignment_rules set status = 'active', activated_at = private.training_clock();
select ops.apply_assignment_marks();
select tests.completes('dora', 'hazmat');
select tests.at('2025-03-01 09:00+01');
update lms.memberships set unit_id = tests.id('south') where user_id = tests.id('dora');
select ops.apply_assignment_marks();
select tests.at('2025-06-01 09:00+01');
insert into lms.enrollments (course_id, user_id, source, enrolled_at) values (tests.id('hazmat'), tests.id('dora'), 'rule', private.training_clock());
select ops.apply_assignment_rules();
select is(tests.cycles('dora', 'hazmat'), 'completed rule, enrolled rule', 'a renewal stays');
rollback to clean;

-- An organisation that is switched off, and somebody who is suspended, do not begin anew.
select tests.rule('HazMat', 'hazmat', format('unit_id = %L, due_after_days = 14', tests.id('plant')));
update lms.assignment_rules set status = 'active', activated_at = private.training_clock();
select ops.apply_assignment_marks();
update lms.memberships set status = 'suspended' where user_id = tests.id('dora');
select tests.at('2025-03-01 09:00+01');
select ops.apply_assignment_rules();
update lms.tenants set is_active = false;
select ops.apply_assignment_rules();
update lms.tenants set is_active = true;
update lms.memberships set status = 'active' where user_id = tests.id('dora');
select ops.apply_assignment_rules();
select is(tests.stands('dora', 'hazmat'), 'overdue due 2025-01-25 00:00:00', 'overdue as before');
select is(tests.cycles('dora', 'hazmat'), 'enrolled rule due 2025-01-25', '... in the same cycle');
rollback to clean;

-- One person who cannot be enrolled holds up nobody else.
select tests.rule('HazMat', 'hazmat', format('unit_id = %L', tests.id('plant')));
update lms.assignment_rules set status = 'active', activated_at = private.training_clock();
create function tests.fail_for_dora() returns trigger language plpgsql as $$ begin if new.user_id = tests.id('dora') then raise numeric_value_out_of_range; end if; return new; end $$;
create trigger _000_fail before insert on lms.enrollments for each row execute function tests.fail_for_dora();
select ops.apply_assignment_rules();
select is(tests.cycles('dora', 'hazmat') || '; ' || tests.cycles('marco', 'hazmat'), '-; enrolled rule', 'the other one is enrolled');
drop trigger _000_fail on lms.enrollments;
select ops.apply_assignment_rules();
select is(tests.cycles('dora', 'hazmat'), 'enrolled rule', 'and the first by the next run');
rollback to clean;

-- Who joins while a rule is still a draft leaves a mark: it may be put into effect before they are seen.
select ops.apply_assignment_rules();
select tests.rule('HazMat', 'hazmat', format('unit_id = %L', tests.id('south')));
select tests.member('nora', 'works', 'learner', 'south');
update lms.assignment_rules set status = 'active', activated_at = private.training_clock();
delete from private.assignment_marks where rule_id is not null;
select ops.apply_assignment_marks();
select is(tests.under('HazMat'), 'nora', 'by the mark of the person alone');
rollback to clean;

-- A rule is no way to what its author does not see.
select tests.custom_role('works', 'assigner', array['enrollments.read', 'enrollments.write']), tests.member('carl', 'works', 'assigner', 'north', 'north');
select tests.course('secret', 'works', 'ines', 1, 'private');
insert into lms.learning_paths (id, tenant_id, slug, title) values (tests.id('plan'), tests.id('works'), 'plan', 'Plan');
insert into lms.learning_path_courses (path_id, course_id) values (tests.id('plan'), tests.id('secret'));
select is(tests.try('carl', format('insert into lms.assignment_rules (tenant_id, name, unit_id, %s) values (%L, ''New'', %L, %L)', field, tests.id('works'), tests.id('north'), tests.id(what))), '42501', format('not by %s', field))
from (values ('path_id', 'plan'), ('cohort_id', 'autumn')) as cases (field, what);
insert into lms.assignment_rules (id, tenant_id, name, unit_id, path_id) values (tests.id('by path'), tests.id('works'), 'By path', tests.id('north'), tests.id('plan'));
select is(tests.try('carl', format('select lms.set_assignment_rule_status(%L, ''active'')', tests.id('by path'))), '403 course_not_visible', 'nor by putting somebody else''s draft into effect');
rollback to clean;

-- Who may make rules, and for whom.
create function tests.makes(who text, tenant text, unit text) returns text language sql as $$
  select tests.try(who, format('insert into lms.assignment_rules (tenant_id, name, unit_id) values (%L, ''New'', %L)', tests.id(tenant), case when unit <> '' then tests.id(unit) end))
$$;
select is(tests.makes(who, tenant, unit), expected, format('%s makes a rule for %s in %s: %s', who, coalesce(nullif(unit, ''), 'all'), tenant, expected))
from (values
  ('boss', 'works', '', '1'), ('hanna', 'works', '', '1'), ('marco', 'works', 'plant', '1'), ('marco', 'works', 'north', '1'), ('marco', 'works', 'south', '42501'), ('marco', 'works', '', '42501'),
  ('ines', 'works', '', '42501'), ('dora', 'works', 'north', '42501'), ('petra', 'works', '', '42501'), ('petra', 'press', 'north', '23503 assignment_rule_unit_is_of_the_same_tenant'), ('anonymous', 'works', '', '42501')
) as cases (who, tenant, unit, expected);
select tests.rule('South', 'intro', format('unit_id = %L', tests.id('south'))), tests.rule('Plant', 'intro', format('unit_id = %L', tests.id('plant')));
select is(tests.try('marco', statement), expected, format('%s: %s', expected, statement))
from (values
  (format('update lms.assignment_rules set unit_id = %L where name = ''Plant''', tests.id('south')), '42501'), ('update lms.assignment_rules set unit_id = null where name = ''Plant''', '42501'),
  ('update lms.assignment_rules set description = ''x'' where name = ''South''', '0'), ('update lms.assignment_rules set status = ''active''', '42501'), ('delete from lms.assignment_rules where name = ''Plant''', '1'), ('delete from lms.assignment_rules where name = ''South''', '0'),
  (format('insert into lms.assignment_rule_courses (rule_id, course_id) values (%L, %L)', tests.id('South'), tests.id('hazmat')), '42501'), (format('insert into lms.assignment_rule_courses (rule_id, course_id) values (%L, %L)', tests.id('Plant'), tests.id('hazmat')), '1'),
  (format('insert into lms.assignment_rule_courses (rule_id, course_id) values (%L, %L)', tests.id('Plant'), tests.id('novel')), '42501'), ('delete from lms.training_requirements', '42501'), ('insert into lms.training_waivers (reason) values (''x'')', '42501'),
  (format('select lms.set_assignment_rule_status(%L, ''active'')', tests.id('South')), '404 rule_not_found'), (format('select lms.preview_assignment_rule(%L)', tests.id('South')), '404 rule_not_found')
) as cases (statement, expected);
select is(tests.try('boss', format('select lms.set_assignment_rule_status(%L, %L)', tests.id('Plant'), status)), expected, format('to %s: %s', status, expected))
from (values ('active', '1'), ('ended', '409 transition_not_allowed'), ('draft', '422 invalid_status'), (null, '422 invalid_status')) as cases (status, expected);
delete from lms.assignment_rule_courses where rule_id = tests.id('Plant');
select is(tests.try('boss', format('select lms.set_assignment_rule_status(%L, ''active'')', tests.id('Plant'))), '409 rule_without_courses', 'a rule that assigns nothing is not put into effect');

-- Constraints.
select is(tests.try('owner', 'update lms.assignment_rules set ' || change || ' where name = ''Plant'''), '23514 ' || expected, change)
from (values
  ('due_after_days = -1', 'due_is_within_10_years'), ('due_on = ''infinity''', 'due_is_a_day_of_calendars'), ('due_on = ''2025-01-01'', due_after_days = 3', 'assignment_is_due_by_days_or_by_date'), ('recurs_every_months = 0', 'recurrence_is_1_to_120_months'),
  ('recurs_every_months = 1, renewal_window_days = 28', 'renewal_window_is_shorter_than_the_period'), ('renewal_window_days = 367', 'renewal_window_is_within_a_year'), ('job_title = '' ''', 'assigned_job_title_is_1_to_200_characters'),
  ('status = ''active''', 'assignment_rule_has_the_dates_of_its_status'), ('status = ''odd'', activated_at = now()', 'assignment_rule_status_is_known'), ('description = repeat(''x'', 5001)', 'assignment_rule_description_is_short')
) as cases (change, expected);
insert into lms.training_requirements (tenant_id, rule_id, course_id, user_id, since) values (tests.id('works'), tests.id('Plant'), tests.id('intro'), tests.id('dora'), now());
select is(tests.error_of('update lms.training_requirements set ' || change), '23514 ' || expected, change)
from (values ('ended_at = now()', 'requirement_has_a_reason_exactly_when_ended'), ('ended_at = now() - interval ''1 day'', end_reason = ''left''', 'requirement_ends_after_it_begins'), ('ended_at = now(), end_reason = ''tired''', 'requirement_end_reason_is_known')) as cases (change, expected);
select is(tests.error_of(format('insert into lms.training_waivers (tenant_id, user_id, course_id, reason, expires_at) values (%L, %L, %L, %L, %L)', tests.id('works'), tests.id('dora'), tests.id('intro'), reason, until)), '23514 ' || expected, expected)
from (values ('x', 'infinity', 'waiver_expiry_is_finite'), ('x', '2020-01-01', 'waiver_ends_after_it_begins'), (' ', '2090-01-01', 'waiver_reason_is_1_to_1000_characters')) as cases (reason, until, expected);

-- Who sees what.
select ops.apply_assignment_rules();
select is(tests.sees_as(who, relation), expected, format('%s sees %s of %s', who, expected, relation))
from (values
  ('dora', 'lms.training_requirements', '1'), ('sid', 'lms.training_requirements', '0'), ('marco', 'lms.training_requirements', '1'), ('hanna', 'lms.training_requirements', '1'), ('ines', 'lms.training_requirements', '1'), ('petra', 'lms.training_requirements', '0'), ('anonymous', 'lms.training_requirements', '42501'),
  ('dora', 'lms.assignment_rules', '1'), ('sid', 'lms.assignment_rules', '0'), ('marco', 'lms.assignment_rules', '1'), ('hanna', 'lms.assignment_rules', '2'), ('petra', 'lms.assignment_rules', '0'), ('dora', 'lms.assignment_rule_courses', '0'), ('hanna', 'lms.assignment_rule_courses', '1')
) as cases (who, relation, expected);

select * from finish();
rollback;
