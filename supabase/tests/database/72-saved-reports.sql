-- Saved reports: who keeps and shares which definitions; and digests, once for each time that has come, with the owner's rights.

begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press'), tests.unit('north', 'works'), tests.unit('south', 'works'), tests.unit('far', 'press');
update lms.tenants set time_zone = 'America/Denver' where id = tests.id('works');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'),
  tests.member('marco', 'works', 'unit_manager', 'north', 'north'), tests.member('mira', 'works', 'unit_manager', 'south', 'south'),
  tests.member('ines', 'works', 'instructor'), tests.member('dora', 'works', 'learner', 'north'), tests.member('sven', 'works', 'learner', 'south'),
  tests.member('sid', 'works'), tests.member('petra', 'press', 'tenant_admin');
select tests.course('safety', 'works', 'ines', 1), tests.course('novel', 'press', 'petra', 1);
select tests.enrollment('dora', 'safety'), tests.enrollment('sven', 'safety');
update lms.enrollments set unit_id = tests.id(case user_id when tests.id('dora') then 'north' else 'south' end) where tenant_id = tests.id('works');
update lms.memberships set status = 'suspended' where user_id = tests.id('sid');

create function tests.saving(report text, parameters text default '{}', rest text default '', tenant text default 'works') returns text language sql as $$
  select format(
    'insert into analytics.saved_reports (tenant_id, name, report, parameters%s) values (%L, ''Monthly'', %L, %L%s)',
    case when rest = '' then '' else ', ' || split_part(rest, '=', 1) end, tests.id(tenant), report, parameters,
    case when rest = '' then '' else ', ' || split_part(rest, '=', 2) end
  )
$$;
create function tests.about(unit text) returns text language sql as $$
  select jsonb_build_object('unit_id', tests.id(unit))::text
$$;

-- =====================================================================================================
-- Definitions
-- =====================================================================================================

select is(tests.try('hanna', tests.saving(report, parameters)), expected, report || ' ' || parameters)
from (values
  ('completion-rate', '{}', '1'),
  ('completion-rate', '{"from": "2026-01-01", "until": "2026-01-31"}', '1'),
  ('completion-rate', '{"last_days": 30}', '1'),
  ('engagement', '{"step": "week", "last_days": 3660}', '1'),
  ('due-training', '{"states": ["due", "overdue"], "limit": 100}', '1'),
  ('lesson-drop-off', '{"course_id": "6f1c0b5e-8f3d-4f0a-9a57-2f0d1c9b7e11"}', '1'),
  ('no-such-report', '{}', '422 report_not_found'),
  ('describe-report', '{}', '422 report_not_found'),
  ('completion_rate', '{}', '422 report_not_found'),
  ('completion-rate', '{"states": ["due"]}', '422 invalid_report_parameters'),
  ('completion-rate', '{"unit": "x"}', '422 invalid_report_parameters'),
  ('completion-rate', '{"unit_id": "x"}', '422 invalid_report_parameters'),
  ('completion-rate', '{"unit_id": null}', '422 invalid_report_parameters'),
  ('completion-rate', '{"tenant_id": "6f1c0b5e-8f3d-4f0a-9a57-2f0d1c9b7e11"}', '422 invalid_report_parameters'),
  ('completion-rate', '{"from": "2026-02-30"}', '422 invalid_report_parameters'),
  ('completion-rate', '{"from": "tomorrow"}', '422 invalid_report_parameters'),
  ('completion-rate', '{"from": "2026-02-01", "until": "2026-01-31"}', '422 invalid_report_parameters'),
  ('completion-rate', '{"last_days": 30, "until": "2026-01-31"}', '422 invalid_report_parameters'),
  ('completion-rate', '{"last_days": 0}', '422 invalid_report_parameters'),
  ('completion-rate', '{"last_days": 1e9}', '422 invalid_report_parameters'),
  ('completion-rate', '{"limit": 5}', '422 invalid_report_parameters'),
  ('engagement', '{"step": "year"}', '422 invalid_report_parameters'),
  ('due-training', '{"states": []}', '422 invalid_report_parameters'),
  ('due-training', '{"states": "due"}', '422 invalid_report_parameters'),
  ('due-training', '{"after": "x"}', '422 invalid_report_parameters'),
  ('lesson-drop-off', '{}', '422 invalid_report_parameters'),
  ('completion-rate', '[]', '23514 saved_parameters_are_a_small_object')
) as cases (report, parameters, expected);

select is(
  tests.failure_of(tests.saving('completion-rate', '{"a": 1, "from": "x"}')) -> 'details' -> 'parameters', '["a", "from"]',
  'all that is wrong is told at once'
);

select is(tests.try(who, tests.saving('completion-rate', parameters, rest, tenant)), expected, who || ' ' || rest || ' ' || tenant || ': ' || expected)
from (values
  ('dora', '{}', '', 'works', '1'),
  ('dora', '{}', '', 'press', '42501'), ('sid', '{}', '', 'works', '42501'), ('petra', '{}', '', 'works', '42501'), ('anonymous', '{}', '', 'works', '42501'),
  -- Not in another's name, nor with a date of one's own.
  ('hanna', '{}', 'owner_id=' || quote_literal(tests.id('dora')), 'works', '42501'),
  ('hanna', '{}', 'digested_at=now()', 'works', '42501'), ('hanna', '{}', 'unit_id=null', 'works', '42501'),
  -- Sharing fills the lists of others.
  ('dora', '{}', 'is_shared=true', 'works', '42501'), ('hanna', '{}', 'is_shared=true', 'works', '1'),
  ('marco', '{}', 'is_shared=true', 'works', '42501'), ('marco', tests.about('north'), 'is_shared=true', 'works', '1'),
  ('marco', tests.about('south'), 'is_shared=true', 'works', '42501'),
  -- INV-T1
  ('hanna', tests.about('far'), '', 'works', '23503 saved_report_is_about_a_unit_of_the_same_tenant')
) as cases (who, parameters, rest, tenant, expected);

select tests.as('hanna');
insert into analytics.saved_reports (tenant_id, name, report) values (tests.id('works'), 'hanna, own', 'completion-rate');
insert into analytics.saved_reports (tenant_id, name, report, is_shared) values (tests.id('works'), 'hanna, shared', 'completion-rate', true);
insert into analytics.saved_reports (tenant_id, name, report, parameters, is_shared)
values (tests.id('works'), 'hanna, south', 'completion-rate', tests.about('south')::jsonb, true);
select tests.as('marco');
insert into analytics.saved_reports (tenant_id, name, report, parameters, is_shared)
values (tests.id('works'), 'marco, north', 'completion-rate', tests.about('north')::jsonb, true);
select tests.as_owner();

create function tests.names_as(who text) returns text[] language plpgsql as $$
declare
  v_names text[];
begin
  perform tests.be(who);
  select coalesce(array_agg(s.name order by s.name), '{}') into v_names from analytics.saved_reports s;
  perform tests.as_owner();
  return v_names;
end
$$;
select is(tests.names_as(who), expected::text[], who || ' sees ' || expected)
from (values
  ('hanna', '{"hanna, own","hanna, shared","hanna, south","marco, north"}'), ('boss', '{"hanna, shared","hanna, south","marco, north"}'),
  ('marco', '{"marco, north"}'), ('mira', '{"hanna, south"}'), ('dora', '{}'), ('sid', '{}'), ('petra', '{}')
) as cases (who, expected);

select is(tests.try(who, statement), expected, who || ': ' || statement || ': ' || expected)
from (values
  ('boss', $$ update analytics.saved_reports set name = 'x' where name = 'hanna, shared' $$, '0'),
  ('boss', $$ delete from analytics.saved_reports where name = 'hanna, shared' $$, '0'),
  ('hanna', $$ update analytics.saved_reports set name = 'x' where name = 'hanna, shared' $$, '1'),
  ('hanna', $$ update analytics.saved_reports set parameters = '{"x": 1}' where name = 'hanna, shared' $$, '422 invalid_report_parameters'),
  ('hanna', $$ update analytics.saved_reports set report = 'engagement' where name = 'hanna, shared' $$, '1'),
  ('hanna', $$ update analytics.saved_reports set owner_id = owner_id $$, '42501'),
  ('marco', $$ update analytics.saved_reports set parameters = '{}' where name = 'marco, north' $$, '42501'),
  ('hanna', $$ delete from analytics.saved_reports where name = 'hanna, shared' $$, '1')
) as cases (who, statement, expected);

insert into analytics.saved_reports (tenant_id, owner_id, name, report)
select tests.id('works'), tests.id('dora'), 'one of many', 'learner-summary' from generate_series(1, 99);
select is(tests.try('dora', tests.saving('learner-summary')), '1', 'the hundredth is saved');
insert into analytics.saved_reports (tenant_id, owner_id, name, report) values (tests.id('works'), tests.id('dora'), 'one of many', 'learner-summary');
select is(tests.try('dora', tests.saving('learner-summary')), '409 too_many_saved_reports', '... and no more');
delete from analytics.saved_reports where owner_id = tests.id('dora');

-- Every report can be saved, and nothing that is none.
select is(
  array(
    select 'analytics.' || p.proname from pg_proc p where p.pronamespace = 'analytics'::regnamespace and p.proname like 'get\_%' and p.prorettype <> 'trigger'::regtype
      and private.report_parameters(replace(substr(p.proname, 5), '_', '-')) is null
  ), '{}'::text[], 'every report of the database can be saved'
);
select is(
  private.report_parameters('question-difficulty'), '{unit_id,course_id,cohort_id,from,until,min_attempts,limit,last_days}'::text[],
  'parameters are those of the function, under the names that clients use'
);

-- =====================================================================================================
-- What a report is about
-- =====================================================================================================

create function tests.described_to(who text, arguments text) returns text language plpgsql as $$
declare
  v_told text;
begin
  perform tests.be(who);
  execute format('select concat_ws(''|'', d.organization, d.time_zone, d.unit, d.course, d.cohort) from analytics.describe_report(%s) d', arguments) into v_told;
  perform tests.as_owner();
  return v_told;
end
$$;
select is(tests.described_to(who, arguments), expected, who || ' is told ' || coalesce(expected, 'nothing'))
from (values
  ('hanna', format('%L, null, %L, %L', tests.id('works'), tests.id('north'), tests.id('safety')), 'Works|America/Denver|north|Safety'),
  ('dora', format('%L, null, %L, %L', tests.id('works'), tests.id('far'), tests.id('novel')), 'Works|America/Denver'),
  ('petra', format('%L, null, %L, %L', tests.id('works'), tests.id('north'), tests.id('safety')), null),
  ('sid', format('%L', tests.id('works')), null)
) as cases (who, arguments, expected);

-- =====================================================================================================
-- When a digest is due
-- =====================================================================================================

select is(
  private.latest_digest(schedule, hour, 'America/Denver', at::timestamptz), expected::timestamptz, schedule || ' at ' || hour || ', ' || at
)
from (values
  ('daily', 7, '2026-03-04 14:00Z', '2026-03-04 07:00-07'), ('daily', 7, '2026-03-04 13:59Z', '2026-03-03 07:00-07'),
  -- Over the change of the clocks, and at an hour that does not exist on that day.
  ('daily', 7, '2026-03-08 13:00Z', '2026-03-08 07:00-06'), ('daily', 2, '2026-03-08 10:00Z', '2026-03-08 03:00-06'),
  ('daily', 0, '2026-03-04 07:00Z', '2026-03-04 00:00-07'), ('daily', 0, '2026-03-04 06:59Z', '2026-03-03 00:00-07'),
  ('weekly', 7, '2026-03-04 14:00Z', '2026-03-02 07:00-07'), ('weekly', 7, '2026-03-02 13:59Z', '2026-02-23 07:00-07'),
  ('monthly', 7, '2026-03-04 14:00Z', '2026-03-01 07:00-07'), ('monthly', 7, '2026-03-01 13:00Z', '2026-02-01 07:00-07'),
  ('monthly', 23, '2026-01-01 12:00Z', '2025-12-01 23:00-07')
) as cases (schedule, hour, at, expected);

-- =====================================================================================================
-- Digests
-- =====================================================================================================

delete from analytics.saved_reports;
create function tests.digests(who text) returns text[] language sql as $$
  select coalesce(array_agg((n.params ->> 'report') || coalesce(': ' || (n.params ->> 'figures'), '') order by n.params ->> 'report'), '{}')
  from lms.notifications n
  where n.user_id = tests.id(who) and n.kind = 'report_ready'
$$;
create function tests.scheduled(who text, report text, parameters jsonb default '{}', tenant text default 'works') returns void language sql as $$
  insert into analytics.saved_reports (tenant_id, owner_id, name, report, parameters, schedule, hour, locale, digested_at)
  values (tests.id(tenant), tests.id(who), report, report, parameters, 'daily', 0, 'en', now() - interval '5 days')
$$;

select tests.scheduled('hanna', 'completion-rate'), tests.scheduled('marco', 'completion-rate'), tests.scheduled('dora', 'completion-rate'),
  tests.scheduled('dora', 'learner-summary'), tests.scheduled('sid', 'completion-rate'), tests.scheduled('ines', 'progress-summary'),
  tests.scheduled('boss', 'completion-rate', tests.about('south')::jsonb), tests.scheduled('mira', 'completion-rate', tests.about('north')::jsonb);
update lms.enrollments set status = 'completed', completed_at = now(), items_total = 1, items_done = 1 where id = tests.id('dora takes safety');
select is(ops.schedule_report_digests(), 7::bigint, 'five missed days make one digest of each, and none for who is suspended');
select is(tests.digests(who), expected::text[], who || ' is told ' || expected)
from (values
  ('hanna', '{completion-rate: Completed: 1 / 2 (50.00%)}'),
  -- A unit's manager counts the unit, whatever the report asks for.
  ('marco', '{completion-rate: Completed: 1 / 1 (100.00%)}'), ('mira', '{completion-rate: Completed: 0 / 0 (0%)}'),
  ('boss', '{completion-rate: Completed: 0 / 1 (0.00%)}'), ('ines', '{progress-summary: Completed: 1 / 2 (50.00%)}'),
  -- Who may not read a report is not told of it; what has no figures is a link.
  ('dora', '{learner-summary}'), ('sid', '{}')
) as cases (who, expected);
select is(ops.schedule_report_digests(), 0::bigint, 'INV-O4: the same time again tells nobody anything');
select is(current_setting('request.jwt.claims', true), '', 'nobody''s name stays behind');
select is(coalesce(current_setting('lyceum.on_behalf', true), ''), '', '... nor their rights');

-- What is told is what the owner reads.
create function tests.rate_as(who text, unit text default null) returns text language plpgsql as $$
declare
  v_told text;
begin
  perform tests.be(who);
  select r.completed || ' / ' || r.total_enrolled into v_told
  from analytics.get_completion_rate(tests.id('works'), case when unit is not null then tests.id(unit) end) r;
  perform tests.as_owner();
  return v_told;
end
$$;
select ok((tests.digests(who))[1] like '%' || tests.rate_as(who, unit) || '%', who || ' reads the same')
from (values ('hanna', null), ('marco', null), ('ines', null), ('boss', 'south'), ('mira', 'north')) as cases (who, unit);

-- Rights are those of the moment.
delete from lms.role_grants g using lms.memberships m where m.id = g.membership_id and m.user_id = tests.id('hanna');
update analytics.saved_reports set digested_at = now() - interval '5 days';
delete from lms.notifications;
select ops.schedule_report_digests();
select is(tests.digests('hanna'), '{}', 'who has lost the right to a report is not told of it any more');
select is(tests.digests('marco'), '{completion-rate: Completed: 1 / 1 (100.00%)}', '... others are');

-- A change of the schedule counts from now.
update analytics.saved_reports set digested_at = now() - interval '5 days' where owner_id = tests.id('boss');
select tests.as('boss');
update analytics.saved_reports set hour = 1;
select tests.as_owner();
delete from lms.notifications;
select ops.schedule_report_digests();
select is(tests.digests('boss'), '{}', 'what lies before a new schedule is not caught up with');

-- One that cannot be made stops no other.
delete from analytics.saved_reports;
select tests.scheduled('boss', 'completion-rate'), tests.scheduled('marco', 'completion-rate');
alter table analytics.saved_reports disable trigger user;
update analytics.saved_reports set parameters = '{"unit_id": "broken"}' where owner_id = tests.id('boss');
alter table analytics.saved_reports enable trigger user;
delete from lms.notifications;
set local client_min_messages = error;
select is(ops.schedule_report_digests(), 2::bigint, 'a broken definition is passed over');
set local client_min_messages = warning;
select is(tests.digests('marco'), '{completion-rate: Completed: 1 / 1 (100.00%)}', '... and the others are told');
select is(tests.digests('boss'), '{}', '... it is not');

-- In the language of the definition, with relative periods.
delete from analytics.saved_reports;
delete from lms.notifications;
select tests.scheduled('boss', 'progress-summary', '{"last_days": 7}'), tests.scheduled('boss', 'engagement', '{"last_days": 7}'), tests.scheduled('boss', 'due-training');
update analytics.saved_reports set locale = 'de';
select ops.schedule_report_digests();
select is(
  tests.digests('boss'), array['due-training', 'engagement: Ereignisse: 0, Abschlüsse: 1', U&'progress-summary: Abgeschlossen: 1 / 2 (50,00\00A0%)'],
  'figures are told in the language of the definition'
);

-- INV-T1, and what goes with its owner or its unit.
insert into analytics.saved_reports (tenant_id, owner_id, name, report, parameters)
values (tests.id('works'), tests.id('boss'), 'north', 'completion-rate', tests.about('north')::jsonb);
select is(
  tests.error_of(format('insert into analytics.saved_reports (tenant_id, owner_id, name, report) values (%L, %L, ''x'', ''completion-rate'')', tests.id('press'), tests.id('boss'))),
  '23503 owner_is_a_member', 'owners are members'
);

select * from finish();
rollback;
