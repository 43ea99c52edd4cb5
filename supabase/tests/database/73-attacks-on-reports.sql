begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('mill');
select tests.unit('line', 'works'), tests.unit('dock', 'works'), tests.unit('saw', 'mill');
select tests.member('ines', 'works', 'instructor'), tests.member('tina', 'works', 'tenant_admin'), tests.member('mia', 'works', 'unit_manager', 'line', 'line');
select tests.member('lee', 'works', 'learner', 'line'), tests.member('lou', 'works', 'learner', 'line'), tests.member('dan', 'works', 'learner', 'dock'), tests.member('deb', 'works', 'learner', 'dock');
select tests.course('safety', 'works', 'ines', 2), tests.course('ladders', 'works', 'tina', 2);
select tests.enrollment(p, 'safety') from unnest(array['lee', 'lou', 'dan', 'deb']) p;

-- =====================================================================================================
-- One permission here, another there
-- =====================================================================================================

-- Follows progress everywhere, but sees enrolments of the line alone.
select tests.custom_role('works', 'follower', array['reports.read', 'progress.read']), tests.custom_role('works', 'registrar', array['reports.read', 'enrollments.read']);
select tests.member('fay', 'works', 'follower'), tests.grant_role('fay', 'works', 'registrar', 'line');
select tests.member('rex', 'works', 'registrar'), tests.member('rob', 'works', 'registrar', null, 'line');

select tests.as('fay');
select is((select count(*) from lms.enrollments where course_id = tests.id('safety')), 2::bigint, 'who sees two enrolments');
select is((select distinct size from analytics.get_cohort_retention(tests.id('works'))), 2::bigint, '... is told of two people who began');
select is((select sum(completions) from analytics.get_engagement(tests.id('works'))), 0::numeric);
select is((select total_enrolled from analytics.get_completion_rate(tests.id('works'))), 2::bigint);
select tests.as('mia');
select is((select distinct size from analytics.get_cohort_retention(tests.id('works'))), 2::bigint, 'a unit manager is told of the unit');
select tests.as('tina');
select is((select distinct size from analytics.get_cohort_retention(tests.id('works'))), 4::bigint, 'who sees all is told of all');
select tests.as('rex');
select is((select count(*) from lms.memberships where user_id <> tests.id('rex')), 0::bigint, 'who sees no memberships');
select is((select sum(total_users) from analytics.get_organization_overview(tests.id('works'))), 0::numeric, '... is not told how many there are');
select is((select sum(total_enrollments) from analytics.get_organization_overview(tests.id('works'))), 4::numeric, '... but of enrolments');
select tests.as('rob');
select is((select sum(total_users) from analytics.get_organization_overview(tests.id('works'))), 0::numeric);
select tests.as('mia');
select is((select total_users from analytics.get_organization_overview(tests.id('works')) where unit_id = tests.id('line')), 3::bigint, 'a unit manager sees both');
select tests.as_owner();

-- =====================================================================================================
-- A midnight that comes twice
-- =====================================================================================================
-- On the Azores clocks go from one back to midnight: 25 October 2026, 00:00 to 01:00, comes twice, at 00:00Z and at 01:00Z.

update lms.tenants set time_zone = 'Atlantic/Azores' where id = tests.id('works');
delete from private.stale_reports;
insert into lms.enrollments (course_id, user_id, enrolled_at) values (tests.id('ladders'), tests.id('lee'), '2026-10-25 00:30Z'), (tests.id('ladders'), tests.id('lou'), '2026-10-24 23:59Z'), (tests.id('ladders'), tests.id('dan'), '2026-10-25 01:30Z');
insert into analytics.question_events (user_id, course_id, section_key, question_key, is_correct, received_at)
select e.user_id, e.course_id, 's', 'q', true, e.enrolled_at from lms.enrollments e where e.course_id = tests.id('ladders');

create function tests.days() returns setof text language plpgsql as $$
begin
  return query
  select 'enrolled ' || d.day || ': ' || r.total_enrolled from unnest(array['2026-10-24', '2026-10-25']::date[]) d (day),
    lateral analytics.get_completion_rate(tests.id('works'), p_course_id => tests.id('ladders'), p_from => d.day, p_until => d.day) r
  union all
  select 'answered ' || d.day || ': ' || r.total_attempts from unnest(array['2026-10-24', '2026-10-25']::date[]) d (day),
    lateral analytics.get_question_difficulty(tests.id('works'), p_course_id => tests.id('ladders'), p_from => d.day, p_until => d.day, p_min_attempts => 1) r
  union all
  select 'active ' || r.period_start || ': ' || r.active_learners || ' ' || r.events
  from analytics.get_engagement(tests.id('works'), p_course_id => tests.id('ladders'), p_from => '2026-10-24', p_until => '2026-10-25') r
  union all
  select 'timeline ' || d.day || ': ' || r.kind from unnest(array['2026-10-24', '2026-10-25']::date[]) d (day),
    lateral analytics.get_learner_timeline(tests.id('works'), tests.id('lee'), tests.id('ladders'), d.day, d.day) r
  order by 1;
end $$;
create table tests.expected (line text);
insert into tests.expected values ('enrolled 2026-10-24: 1'), ('enrolled 2026-10-25: 2'), ('answered 2026-10-24: 1'), ('answered 2026-10-25: 2'), ('active 2026-10-24: 1 1'), ('active 2026-10-25: 2 2'),
  ('timeline 2026-10-25: answered'), ('timeline 2026-10-25: enrolled');
select bag_eq('select tests.days()', 'select line from tests.expected', 'both of its hours are of the day that begins, before they are added up');
update private.report_state set system_identifier = 1;
select bag_eq('select tests.days()', 'select line from tests.expected', '... by the facts');
select ops.rebuild_rollups();
update private.report_changes set xid = '7';
select bag_eq('select tests.days()', 'select line from tests.expected', '... and afterwards');
update lms.tenants set time_zone = 'UTC' where id = tests.id('works');

-- =====================================================================================================
-- Cursors and parameters that nobody was given
-- =====================================================================================================

select tests.as('tina');
select is(tests.error_of(format('select * from analytics.%s(%L, p_after => %L)', f.name, tests.id('works'), private.make_cursor(variadic f.key))), '422 invalid_cursor', format('a forged cursor of %s is no cursor', f.name))
from (values
  ('get_progress_summary', array['a', 'b']), ('get_organization_overview', array['a', 'b']), ('get_most_missed_questions', array['a', 'b', 'c', 'd']),
  ('get_most_missed_questions', array['1', 'b', 'c', 'd']), ('get_question_difficulty', array['a', 'b', 'c']), ('get_learner_summary', array['a', 'b']),
  ('get_learner_timeline', array['a', 'b', 'c']), ('get_learner_timeline', array['294276-12-31 23:59:59.999999Z', 'b', 'c']), ('get_due_training', array['a', 'b']), ('get_training_matrix', array['a', null])
) f (name, key);
select is(
  tests.error_of(format('insert into analytics.saved_reports (tenant_id, name, report, parameters) values (%L, %L, %L, %L)', tests.id('works'), 'x', 'engagement', p)),
  '422 invalid_report_parameters', format('%s are no parameters', p)
) from unnest(array['{"step": null}', '{"step": 1}', '{"from": null}', '{"unit_id": null}', '{"last_days": null}']) p;

-- =====================================================================================================
-- Events in somebody else's name
-- =====================================================================================================

select tests.as('lee');
insert into analytics.question_events (id, course_id, section_key, question_key) values (tests.id('mine'), tests.id('safety'), 's', 'q');
select tests.as('lou');
-- Whether somebody's id has been taken is nobody else's to know; nor may they be kept waiting.
select matches(tests.outcome_of(format('insert into analytics.question_events (id, user_id, course_id, section_key, question_key) values (%L, %L, %L, %L, %L)', i, u, tests.id('safety'), 's', 'q')), '^42501$', format('%s: not for %s', i, u))
from unnest(array[tests.id('mine'), tests.id('new')]) i, unnest(array[tests.id('lee'), null]) u;
select matches(tests.outcome_of(format('insert into analytics.activity_events (id, user_id, course_id, event_type) values (%L, %L, %L, %L)', tests.id('new'), u, tests.id('safety'), 'open_file')), '^42501$')
from unnest(array[tests.id('lee'), null]) u;
-- Columns in any order, defaults, ids that repeat.
select lives_ok($$ insert into analytics.question_events (question_key, user_id, id, section_key, course_id, answered_at) values
  ('q1', default, tests.id('a'), 's', tests.id('safety'), default), ('q2', tests.id('lou'), tests.id('a'), 's', tests.id('safety'), now()), ('q3', default, default, 's', tests.id('safety'), null) $$);
select results_eq('select question_key::text from analytics.question_events where user_id = auth.uid() and course_id = tests.id(''safety'') order by 1', $$ values ('q1'), ('q3') $$, 'the first of an id is taken');
select tests.as_owner();
update lms.memberships set status = 'suspended' where user_id = tests.id('lee');
select tests.as('lee');
select matches(tests.outcome_of(format('insert into analytics.question_events (id, course_id, section_key, question_key) values (%L, %L, %L, %L)', i, tests.id('safety'), 's', 'q')), '^42501$', 'nothing is taken from a suspended member, also not again')
from unnest(array[tests.id('mine'), tests.id('newer')]) i;
select tests.as_owner();

select is(private.day_begins(d.day, d.zone), d.instant, format('%s begins in %s', d.day, d.zone))
from (values
  ('2026-10-25'::date, 'Atlantic/Azores', '2026-10-25 00:00Z'::timestamptz), ('2026-10-26', 'Atlantic/Azores', '2026-10-26 01:00Z'),
  -- Where midnight is left out.
  ('2026-09-06', 'America/Santiago', '2026-09-06 04:00Z'), ('2026-11-01', 'America/Havana', '2026-11-01 04:00Z'),
  ('2026-07-01', 'UTC', '2026-07-01 00:00Z'), ('infinity', 'UTC', 'infinity'), (null, 'UTC', null)
) d (day, zone, instant);

-- =====================================================================================================
-- Events that are removed from their partition
-- =====================================================================================================

select ops.make_event_partitions();
create function tests.notices(partition regclass) returns boolean language plpgsql as $$
begin
  delete from private.stale_reports;
  execute format('alter table %s disable trigger _100_append_only', partition);
  execute format('delete from %s', partition);
  execute format('alter table %s enable trigger _100_append_only', partition);
  return exists (select from private.stale_reports where tenant_id = tests.id('works'));
end $$;
insert into analytics.question_events (user_id, course_id, section_key, question_key, received_at)
select tests.id('lou'), tests.id('safety'), 's', 'q', t from unnest(array[now(), now() + interval '1 month', now() - interval '9 years']) t;
insert into analytics.activity_events (user_id, course_id, event_type, received_at)
select tests.id('lou'), tests.id('safety'), 'open_file', t from unnest(array[now(), now() + interval '1 month', now() - interval '9 years']) t;
create table tests.partitions as
select distinct tableoid::regclass as partition from private.question_events where tenant_id = tests.id('works')
union select tableoid::regclass from private.activity_events where tenant_id = tests.id('works');
select cmp_ok((select count(*) from tests.partitions), '>=', 4::bigint, 'events are in several partitions');
select ok(tests.notices(partition), format('whoever removes events from %s is noticed', partition)) from tests.partitions order by partition::text;

select finish();
rollback;
