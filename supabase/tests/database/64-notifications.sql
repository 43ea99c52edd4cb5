-- Notifications: who is told of what, once, by which channel; preferences; and reminders of dates, which catch up after a gap.

begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press'), tests.unit('north', 'works');
update lms.tenants set time_zone = 'America/Denver' where id = tests.id('works');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'), tests.member('ines', 'works', 'instructor'), tests.member('dora', 'works', 'learner', 'north'),
  tests.member('sid', 'works'), tests.member('gone', 'works'), tests.member('petra', 'press', 'tenant_admin'), tests.member('paul', 'press');
select tests.person('stranger');
select tests.course('safety', 'works', 'ines', 1, 'public'), tests.course('cranes', 'works', 'ines', 1), tests.course('novel', 'press', 'petra', 1);
update lms.memberships set status = 'suspended' where user_id = tests.id('sid');
update lms.memberships set status = 'ended' where user_id = tests.id('gone');

create function tests.notifies(who text, kind text, key text, tenant text default 'works', params jsonb default '{}') returns void language sql as $$
  select private.notify(tests.id(tenant), tests.id(who), kind, null, null, params, key)
$$;
-- What somebody was told: kind and channels, in order.
create function tests.told(who text) returns text[] language sql as $$
  select coalesce(array_agg(
    n.kind || case when n.is_shown then '' else ' hidden' end
      || case when exists (select from private.outbox o where o.event_id = n.id and o.channel = 'email') then ' mailed' else '' end
    order by n.id
  ), '{}')
  from lms.notifications n where n.user_id = tests.id(who)
$$;
create function tests.prefers(who text, wish jsonb) returns void language sql as $$
  update public.profile_private set notification_preferences = wish where profile_id = tests.id(who)
$$;
create function tests.untell() returns void language sql as $$
  delete from private.outbox; delete from lms.notifications
$$;

-- =====================================================================================================
-- Once, and whom
-- =====================================================================================================

select tests.notifies('dora', 'training_due', 'a'), tests.notifies('dora', 'training_due', 'a'), tests.notifies('dora', 'grading_waits', 'b');
select is(tests.told('dora'), '{training_due mailed,grading_waits}', 'the same is told once, by the usual channels of its kind');
select tests.notifies('sid', 'training_due', 'a'), tests.notifies('gone', 'training_due', 'a'), tests.notifies('stranger', 'enrollment_decided', 'a');
select is(tests.told(who), expected::text[], who || ': ' || expected)
from (values ('sid', '{}'), ('gone', '{}'), ('stranger', '{enrollment_decided mailed}')) as cases (who, expected);
update lms.tenants set is_active = false where id = tests.id('press');
select tests.notifies('paul', 'training_due', 'a', 'press');
select is(tests.told('paul'), '{}', 'nothing in an organisation that is switched off');
update lms.tenants set is_active = true where id = tests.id('press');

-- INV-P3
select is(tests.error_of(statement), 'none', 'a notification that cannot be made fails nothing: ' || statement)
from (values
  ($$ select tests.notifies('dora', 'no_such_kind', 'x') $$), ($$ select tests.notifies('dora', 'training_due', null) $$),
  ($$ select tests.notifies('nobody', 'training_due', 'x') $$), ($$ select tests.notifies('dora', 'training_due', 'x', 'nowhere') $$),
  ($$ select tests.notifies('dora', 'training_due', repeat('x', 300)) $$), ($$ select tests.notifies('dora', 'training_due', 'x', params => to_jsonb(repeat('x', 9000))) $$),
  ('select private.notify_all(null)'), ($$ select private.notify_all('{}') $$)
) as cases (statement);
select is(cardinality(tests.told('dora')), 2, '... and makes none');
select private.notify(tests.id('works'), tests.id('dora'), 'training_due', tests.id('novel'), null, '{}', 'foreign course');
select is(cardinality(tests.told('dora')), 2, 'INV-T1: none about a course of another organisation');
select tests.enrollment('paul', 'novel');
select private.notify(tests.id('works'), tests.id('dora'), 'training_due', tests.id('safety'), tests.id('paul takes novel'), '{}', 'foreign cycle');
select is((select n.enrollment_id from lms.notifications n where n.dedupe_key = 'foreign cycle'), null, '... and no cycle of somebody else');

-- =====================================================================================================
-- Preferences
-- =====================================================================================================

select tests.untell();
select tests.prefers('dora', wish::jsonb), tests.notifies('dora', 'training_due', wish) from (values
  ('{"email": false}'), ('{"in_app": false}'), ('{"email": false, "training_due": {"email": true}}'), ('{"training_due": {"in_app": false, "email": false}}')
) as w (wish);
select is(tests.told('dora'), '{training_due,training_due hidden mailed,training_due mailed}', 'what somebody wants: for a kind, else for all kinds');
select is(tests.sees_as('dora', 'lms.notifications'), '2', 'what is only mailed, or not wanted at all, is not shown');
select tests.prefers('dora', '{}'), tests.untell();
update lms.tenants set settings = '{"notifications": {"defaults": {"email": false, "training_overdue": {"email": true}}}}' where id = tests.id('works');
select tests.notifies('dora', 'training_due', '1'), tests.notifies('dora', 'training_overdue', '2');
select tests.prefers('dora', '{"training_due": {"email": true}}'), tests.notifies('dora', 'training_due', '3');
select is(tests.told('dora'), '{training_due,training_overdue mailed,training_due mailed}', 'what the organisation says counts where the person says nothing');
select tests.prefers('dora', '{}');
update lms.tenants set settings = '{}' where id = tests.id('works');
select is(tests.try('boss', format('update lms.tenants set settings = %L where id = %L', jsonb_build_object('notifications', value::jsonb), tests.id('works'))), expected, format('settings %s: %s', value, expected))
from (values
  ('{"reminders": {"days_before_due": [30, 7, 1], "days_overdue": [], "days_before_expiry": [90]}}', '1'), ('{"app_url": "https://learn.example/app"}', '1'),
  ('{"reminders": {"days_before_due": [-1]}}', '23514 notification_settings_have_the_documented_shape'), ('{"reminders": {"days_before_due": 7}}', '23514 notification_settings_have_the_documented_shape'),
  ('{"reminders": {"weeks": [1]}}', '23514 notification_settings_have_the_documented_shape'), ('{"app_url": "javascript:alert(1)"}', '23514 notification_settings_have_the_documented_shape'),
  ('{"app_url": "https://a.example/?x="}', '23514 notification_settings_have_the_documented_shape'), ('{"defaults": {"birthday": {"email": true}}}', '422 unknown_notification_kind'), ('[]', '23514 notification_settings_have_the_documented_shape')
) as cases (value, expected);

-- =====================================================================================================
-- One's own
-- =====================================================================================================

select tests.untell(), tests.notifies('dora', 'training_due', '1'), tests.notifies('dora', 'training_due', '2'), tests.notifies('hanna', 'training_due', '1');
select is(tests.sees_as(who, 'lms.notifications'), expected, format('%s sees %s', who, expected))
from (values ('dora', '2'), ('hanna', '1'), ('boss', '0'), ('petra', '0'), ('anonymous', '42501')) as cases (who, expected);
select is(tests.try('dora', 'update lms.notifications set kind = ''report_ready'''), '42501', 'nobody writes them');
select is(tests.try('dora', 'update lms.notifications set read_at = now()'), '2', 'but that they have read their own');
select tests.as('dora');
select is(lms.mark_notifications_read(array(select n.id from lms.notifications n limit 1)), 1, 'one is marked read');
select is(lms.mark_notifications_read(), 1, '... then the rest');
select is(lms.mark_notifications_read(), 0, '... and again none');
update lms.notifications set read_at = '2001-01-01';
select ok((select min(n.read_at) > '2020-01-01' from lms.notifications n), 'when is the server''s time');
select tests.as_owner();
select is((select count(*) from lms.notifications n where n.user_id = tests.id('hanna') and n.read_at is null), 1::bigint, 'nobody else''s is');
update lms.memberships set status = 'suspended' where user_id = tests.id('dora');
select is(tests.sees_as('dora', 'lms.notifications'), '0', 'INV-T4: not while suspended');
update lms.memberships set status = 'active' where user_id = tests.id('dora');

-- =====================================================================================================
-- Facts
-- =====================================================================================================

select tests.untell();
select tests.as('hanna');
select lms.enroll(tests.id('cranes'), tests.id('dora'), '2031-05-02 06:00+00');
select tests.as_owner();
select is(tests.told('dora'), '{training_assigned mailed}', 'who is assigned a course is told');
select is((select n.params from lms.notifications n), '{"course": "Cranes", "due_on": "2031-05-01"}', '... by when, by the organisation''s calendar');
select tests.untell(), tests.as('dora');
select lms.complete_lesson(tests.id('cranes/1'));
select tests.as_owner();
select is(tests.told('dora'), '{certificate_issued mailed}', 'who completes it is told of the certificate');
select tests.untell();
update lms.courses set issues_certificate = true, certificate_validity_months = 12 where id = tests.id('safety');
select tests.as('dora');
select lms.enroll(tests.id('safety')), lms.complete_lesson(tests.id('safety/1'));
select tests.as_owner();
select is(tests.told('dora'), '{certificate_issued mailed}', 'not of what they did themselves, but of what they have earned');
select tests.untell();
update lms.courses set self_enrollment = 'approval' where id = tests.id('safety');
select tests.as('stranger');
select lms.request_enrollment(tests.id('safety'));
select tests.as('ines');
select lms.decide_enrollment_request(r.id, false, 'Members first') from lms.enrollment_requests r;
select tests.as_owner();
select is(tests.told('ines'), '{enrollment_requested mailed}', 'staff is told who asks');
select is(tests.told('stranger'), '{enrollment_decided mailed}', '... and who asked, what became of it');
select is((select n.params ->> 'status' from lms.notifications n where n.user_id = tests.id('stranger')), 'declined', '... namely');
select tests.untell(), tests.as('stranger');
select lms.request_enrollment(tests.id('safety'));
select tests.as('ines');
select lms.decide_enrollment_request(r.id, true) from lms.enrollment_requests r where r.status = 'pending';
select tests.as_owner();
select is(tests.told('stranger'), '{enrollment_decided mailed}', 'who is let in is told once');

-- =====================================================================================================
-- Dates
-- =====================================================================================================

-- From the clock of training, at ten in the morning in Denver.
create function tests.remind(day date, hour text default '17:00') returns bigint language plpgsql as $$
begin
  perform set_config('lyceum.now', day || ' ' || hour || '+00', true);
  return ops.remind();
end
$$;
create function tests.reminders(who text) returns text[] language sql as $$
  select coalesce(array_agg(n.kind || ' ' || (n.params ->> 'days') order by n.id), '{}')
  from lms.notifications n where n.user_id = tests.id(who) and n.params ? 'days'
$$;
delete from lms.notifications;
select tests.member('wanda', 'works', 'learner', 'north');
select tests.course('forklifts', 'works', 'ines', 1);
insert into lms.enrollments (id, course_id, user_id, enrolled_at, due_at, source)
values (tests.id('wanda takes forklifts'), tests.id('forklifts'), tests.id('wanda'), '2031-01-01 17:00+00', '2031-02-01 07:00+00', 'assigned');
select tests.untell();

select is(tests.remind('2031-01-10'), 0::bigint, 'nothing is near');
select is(tests.remind('2031-01-17', '11:00'), 0::bigint, 'nobody is woken up at night');
select is(tests.remind('2031-01-17'), 1::bigint, 'two weeks before, in the morning');
select is(tests.remind('2031-01-17', '20:00'), 0::bigint, '... once');
select is(tests.remind('2031-01-18'), 0::bigint, '... and not every day');
select is(tests.reminders('wanda'), '{training_due 14}', 'wanda was reminded');
-- INV-O4: the job does not run for weeks.
select is(tests.remind('2031-02-09'), 1::bigint, 'after a gap one reminder comes, not all that were missed');
select is(tests.reminders('wanda'), '{"training_due 14","training_overdue 9"}', '... that of the last threshold which has passed');
select is(tests.remind(day::date), 0::bigint, 'and nothing until the next one: ' || day) from (values ('2031-02-10'), ('2031-03-01')) as d (day);
select is(tests.remind('2031-03-02'), 1::bigint, 'a month overdue');
-- The same, day by day: what it ends with is what the gap ended with.
delete from lms.notifications;
delete from private.reminded_days;
select tests.remind(d::date) from generate_series('2031-01-10'::date, '2031-02-09', '1 day') d;
select is(tests.reminders('wanda'), '{"training_due 14","training_due 3","training_overdue 1","training_overdue 7"}', 'a run every day sends each threshold');
select tests.remind(d::date) from generate_series('2031-02-10'::date, '2031-03-01', '1 day') d;
select is((tests.reminders('wanda'))[5], null, '... and then waits for the next as well');

select tests.untell();
delete from private.reminded_days;
update lms.enrollments set due_at = '2031-06-01 06:00+00' where id = tests.id('wanda takes forklifts');
update lms.tenants set settings = '{"notifications": {"reminders": {"days_before_due": [5], "days_overdue": []}}}' where id = tests.id('works');
select is(tests.remind('2031-05-20'), 0::bigint, 'an organisation has a schedule of its own');
select is(tests.remind('2031-05-27'), 1::bigint, '... that counts');
select is(tests.remind('2031-06-09'), 0::bigint, '... also where it says never');
update lms.tenants set settings = '{}' where id = tests.id('works');
update lms.memberships set status = 'suspended' where user_id = tests.id('wanda');
select is(tests.remind('2031-06-10'), 0::bigint, 'nobody who is suspended is reminded');
update lms.memberships set status = 'active' where user_id = tests.id('wanda');
insert into lms.enrollments (course_id, user_id, enrolled_at, due_at, source) values (tests.id('cranes'), tests.id('hanna'), '2031-06-10 17:00+00', '2031-06-12 06:00+00', 'assigned');
select tests.untell();
select is(tests.remind('2031-06-11'), 1::bigint, 'a threshold that had passed when it was assigned is none: wanda alone, who is overdue');

-- By rules: who is excused or has done it is left alone, who has to renew is told of that and not of the certificate as well.
select tests.untell();
delete from private.reminded_days;
delete from lms.enrollments where due_at is not null and status <> 'completed';
insert into lms.assignment_rules (id, tenant_id, name, unit_id, status, activated_at, due_after_days, recurs_every_months)
values (tests.id('rule'), tests.id('works'), 'Rule', tests.id('north'), 'active', '2031-07-01', 30, 12);
insert into lms.assignment_rule_courses (rule_id, course_id) values (tests.id('rule'), tests.id('forklifts'));
select set_config('lyceum.now', '2031-07-01 17:00+00', true), ops.apply_assignment_rules();
select tests.untell();
select is(tests.remind('2031-07-29'), 2::bigint, 'dora and wanda are reminded of what the rule asks');
insert into lms.training_waivers (tenant_id, user_id, course_id, reason, granted_at) values (tests.id('works'), tests.id('dora'), tests.id('forklifts'), 'On leave', '2031-07-30');
select is(tests.remind('2031-08-09'), 1::bigint, 'who is excused is left alone');
select is(tests.reminders('dora'), '{"training_due 1"}', '... namely dora, reminded before that');
select is((select count(*) from lms.certificates c where c.user_id = tests.id('dora') and c.expires_at is not null), 1::bigint, 'dora has a certificate that expires');
select tests.untell();
delete from private.reminded_days;
select is(tests.remind((select (min(c.expires_at) - interval '10 days')::date from lms.certificates c where c.user_id = tests.id('dora'))), 1::bigint, 'and is told before it does');
select ok((tests.reminders('dora'))[1] like 'certificate_expiring %', '... of that');
select tests.untell();
delete from private.reminded_days;
update lms.certificates set revoked_at = now(), revoked_reason = 'Mistake' where user_id = tests.id('dora');
select is(tests.remind((select (min(c.expires_at) - interval '10 days')::date from lms.certificates c where c.user_id = tests.id('dora'))), 0::bigint, 'not once it is revoked');

-- Set-based: as many statements for a thousand as for one.
select tests.untell();
select set_config('lyceum.now', '', true);
insert into auth.users (instance_id, id, aud, role, email, raw_app_meta_data, raw_user_meta_data, created_at, updated_at)
select '00000000-0000-0000-0000-000000000000', tests.id('crowd ' || n), 'authenticated', 'authenticated', format('crowd%s@example.com', n), '{}', '{}', now(), now() from generate_series(1, 1000) n;
insert into lms.memberships (tenant_id, user_id) select tests.id('works'), tests.id('crowd ' || n) from generate_series(1, 1000) n;
insert into lms.enrollments (course_id, user_id, source) select tests.id('cranes'), tests.id('crowd ' || n), 'assigned' from generate_series(1, 1000) n;
select is((select count(*) from private.outbox o where o.kind = 'training_assigned'), 1000::bigint, 'a thousand who are enrolled at once are told');

select * from finish();
rollback;
