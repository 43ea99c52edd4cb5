-- Attacks on notifications, the outbox and reminders: what keeps somebody from being told, or tells them twice or in vain.

begin;
\ir ../helpers.sql
\ir ../assessments.sql
select * from no_plan();

select tests.tenant('works'), tests.unit('north', 'works');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('ines', 'works', 'instructor'), tests.member('dora', 'works', 'learner', 'north'),
  tests.member('wanda', 'works', 'learner', 'north'), tests.member('nils', 'works', 'learner', 'north');
select tests.course('safety', 'works', 'ines', 2), tests.course('cranes', 'works', 'ines', 1), tests.course('forklifts', 'works', 'ines', 1);

create function tests.at(moment text) returns text language sql as $$ select set_config('lyceum.now', moment, true) $$;
create function tests.told(who text) returns text[] language sql as $$
  select array(select n.kind from lms.notifications n where n.user_id = tests.id(who) order by n.id)
$$;
create function tests.untell() returns void language sql as $$
  delete from private.outbox; delete from lms.notifications; delete from private.reminded_days
$$;
create function tests.due(who text, course text) returns text language sql as $$
  select string_agg(e.status || ' ' || coalesce((e.due_at - interval '1 second')::date::text, 'undated'), ', ' order by e.cycle)
  from lms.enrollments e where e.user_id = tests.id(who) and e.course_id = tests.id(course)
$$;
savepoint clean;

-- =====================================================================================================
-- Reminders that nobody wants, and those that fail
-- =====================================================================================================

insert into lms.enrollments (course_id, user_id, enrolled_at, due_at, source)
select tests.id(c), tests.id(w), '2031-01-01', '2031-02-01', 'assigned' from unnest('{dora,wanda,nils}'::text[]) w, unnest('{cranes,forklifts}'::text[]) c;
select tests.untell(), tests.at('2031-01-18 12:00+00');
-- The first in the order of people.
update public.profile_private set notification_preferences = '{"training_due": {"in_app": false, "email": false}}'
where profile_id <> (select max(u::text)::uuid from unnest(array[tests.id('dora'), tests.id('wanda'), tests.id('nils')]) u);
select ops.remind(1);
select ops.remind(1);
select is((select count(*) from lms.notifications), 2::bigint, 'people who want none do not stand before those who do');
rollback to clean;

insert into lms.enrollments (course_id, user_id, enrolled_at, due_at, source) values (tests.id('cranes'), tests.id('dora'), '2031-01-01', '2031-02-01', 'assigned');
select tests.untell(), tests.at('2031-01-18 12:00+00');
create function tests.break() returns trigger language plpgsql as $$ begin raise exception 'The disk is full.'; end $$;
create trigger _000_broken before insert on lms.notifications for each row execute function tests.break();
set local client_min_messages = error;
select is(ops.remind(), 0::bigint, 'what cannot be written reminds nobody');
reset client_min_messages;
drop trigger _000_broken on lms.notifications;
select is(ops.remind(), 1::bigint, '... and is tried again by the next run of the same day');
rollback to clean;

-- =====================================================================================================
-- Dates of rules that ask no more
-- =====================================================================================================

insert into lms.assignment_rules (id, tenant_id, name, unit_id, status, activated_at, due_after_days)
values (tests.id('rule'), tests.id('works'), 'Rule', tests.id('north'), 'active', '2031-01-01', 30);
insert into lms.assignment_rule_courses (rule_id, course_id) values (tests.id('rule'), tests.id('safety'));
select tests.at('2031-01-01 12:00+00'), ops.apply_assignment_rules();
insert into lms.lesson_progress (user_id, lesson_id, progress_percentage, completed_at, first_accessed_at)
select tests.id(w), tests.id('safety/1'), 100, '2031-01-02', '2031-01-02' from unnest('{dora,wanda}'::text[]) w;
update lms.enrollments set due_at = '2031-03-01' where user_id = tests.id('wanda');
select is(array[tests.due('dora', 'safety'), tests.due('wanda', 'safety'), tests.due('nils', 'safety')], array['in_progress 2031-01-31', 'in_progress 2031-02-28', 'enrolled 2031-01-31'], 'a rule has dated what two have begun, one of them by hand since, and one has not');
select tests.at('2031-01-10 12:00+00');
update lms.assignment_rules set status = 'ended', ended_at = '2031-01-10 12:00+00' where id = tests.id('rule');
select ops.apply_assignment_marks();
select is(array[tests.due('dora', 'safety'), tests.due('wanda', 'safety'), tests.due('nils', 'safety')], array['in_progress undated', 'in_progress 2031-02-28', 'dropped 2031-01-31'], 'once it asks no more, its date goes; what was dated by hand keeps its date');
select tests.untell(), tests.at('2031-02-05 12:00+00'), ops.remind();
select is(tests.told('dora'), '{}', '... and nobody is told that they are late for what nobody asks');
rollback to clean;

-- Two runs, of the minute and of the night, would hold organisations in different orders.
select ops.apply_assignment_marks();
select ok(
  exists (
    select from pg_locks l
    where l.locktype = 'advisory' and l.pid = pg_backend_pid() and l.granted
      and (l.classid::bigint << 32) | l.objid::bigint = hashtextextended('lyceum assignment marks', 0)
  ),
  'runs that apply rules go one after the other'
);

-- =====================================================================================================
-- Renewals that a certificate asks for
-- =====================================================================================================

update lms.courses set issues_certificate = true, certificate_validity_months = 12, certificate_renewal_days = 60 where id = tests.id('cranes');
insert into lms.enrollments (course_id, user_id, source, enrolled_at) values (tests.id('cranes'), tests.id('dora'), 'assigned', now() - interval '330 days');
insert into lms.lesson_progress (user_id, lesson_id, progress_percentage, completed_at, first_accessed_at)
values (tests.id('dora'), tests.id('cranes/1'), 100, now() - interval '325 days', now() - interval '326 days');
insert into lms.assignment_rules (id, tenant_id, name, unit_id, status, activated_at, due_after_days)
values (tests.id('rule'), tests.id('works'), 'Rule', tests.id('north'), 'active', now() - interval '300 days', 30);
insert into lms.assignment_rule_courses (rule_id, course_id) values (tests.id('rule'), tests.id('cranes'));
select tests.at((now() - interval '300 days')::text), ops.apply_assignment_rules();
select tests.at(''), ops.open_renewals();
select is((select string_agg(e.status, ', ' order by e.cycle) from lms.enrollments e where e.user_id = tests.id('dora')), 'completed, enrolled', 'a certificate that runs out has opened the next cycle, while a rule asks for the course');
update lms.assignment_rules set status = 'ended', ended_at = now() where id = tests.id('rule');
select ops.apply_assignment_marks();
select is((select string_agg(e.status, ', ' order by e.cycle) from lms.enrollments e where e.user_id = tests.id('dora')), 'completed, enrolled', 'the end of the rule does not take it away: it was not the rule that began it');
rollback to clean;

-- =====================================================================================================
-- Staff that may do nothing about it
-- =====================================================================================================

select tests.member('tom', 'works', 'instructor'), tests.member('una', 'works', 'instructor');
insert into lms.course_staff (tenant_id, course_id, user_id) select tests.id('works'), tests.id('safety'), tests.id(w) from unnest('{tom,una}'::text[]) w;
-- Tom is staff in name only: his role is gone. Una takes the course herself.
delete from lms.role_grants g using lms.memberships m where m.id = g.membership_id and m.user_id = tests.id('tom');
update lms.courses set self_enrollment = 'approval', visibility = 'public' where id = tests.id('safety');
select tests.assessment('exam', 'safety'), tests.question('essay', 'exam', 'essay', '{}', '{"model_answer": "..."}'), tests.republish('safety');
select tests.untell(), tests.as('dora');
select lms.request_enrollment(tests.id('safety'));
select tests.as_owner();
select is(array[tests.told('ines')::text, tests.told('tom')::text, tests.told('una')::text], '{"{enrollment_requested}","{}","{enrollment_requested}"}', 'of requests those are told who may decide');
select tests.enrollment('una', 'safety'), tests.untell(), tests.as('una');
select lms.start_attempt(tests.id('exam'));
select lms.submit_attempt(t.id, jsonb_build_object(tests.id('essay'), '{"text": "Words"}'::jsonb)) from lms.assessment_attempts t where t.user_id = tests.id('una');
select tests.as_owner();
select is((select t.status from lms.assessment_attempts t), 'submitted', 'una''s work waits to be graded');
select tests.untell(), tests.at(to_char(now(), 'YYYY-MM-DD') || ' 12:00+00'), ops.remind();
select is(array[tests.told('ines')::text, tests.told('tom')::text, tests.told('una')::text], '{"{grading_waits}","{}","{}"}', 'of work that waits those are told who may grade it, not who handed it in');
select tests.untell();
update lms.courses set deleted_at = now() where id = tests.id('safety');
select ops.remind();
select is(tests.told('ines'), '{}', '... and nobody once the course is in the bin');
rollback to clean;

-- =====================================================================================================
-- What was told once, however long ago
-- =====================================================================================================

update lms.tenants set settings = '{"notifications": {"reminders": {"days_before_due": [999], "days_overdue": [30], "days_before_expiry": []}}}' where id = tests.id('works');
insert into lms.enrollments (course_id, user_id, enrolled_at, due_at, source) values
  (tests.id('cranes'), tests.id('dora'), now() - interval '1 day', now() + interval '999 days', 'assigned'),
  (tests.id('forklifts'), tests.id('dora'), now() - interval '70 days', now() - interval '30 days', 'assigned');
select tests.untell();
select tests.at(to_char(now(), 'YYYY-MM-DD') || ' 12:00+00'), ops.remind();
select is(tests.told('dora'), '{training_due,training_overdue}', 'reminded three years ahead, and of what is a month overdue');
update lms.notifications set created_at = now() - interval '900 days';
select ops.forget_deliveries();
select tests.at(to_char(now() + interval '900 days', 'YYYY-MM-DD') || ' 12:00+00');
select is(ops.remind(), 0::bigint, '... which is not told again when years have passed');
update lms.notifications set created_at = now() - interval '1201 days';
select ops.forget_deliveries();
select is(tests.told('dora'), '{}', 'in the end it is forgotten');
select tests.at(to_char(now() + interval '1201 days', 'YYYY-MM-DD') || ' 12:00+00'), ops.remind();
select is(tests.told('dora'), '{training_overdue}', 'what has become overdue since then is told of');
select is((select n.course_id from lms.notifications n), tests.id('cranes'), '... but not again what has been overdue for years');
rollback to clean;

-- =====================================================================================================
-- A million deliveries
-- =====================================================================================================

-- What jobs and calls look for among all deliveries, they find by an index, whatever else there is.
create function tests.plan_of(statement text) returns text language plpgsql as $$
declare
  v_line text;
  v_plan text := '';
begin
  for v_line in execute 'explain ' || statement loop
    v_plan := v_plan || v_line || E'\n';
  end loop;
  return v_plan;
end
$$;
set local enable_seqscan = off;
set local enable_sort = off;
select matches(tests.plan_of(statement), index, index || ' serves its query')
from (values
  ($$ select from private.outbox o where o.tenant_id = tests.id('works') and (o.status = 'dead' or (o.status = 'pending' and o.last_error is not null)) order by o.id desc limit 100 $$, 'outbox_failures'),
  ($$ select from private.outbox d where d.status = 'pending' and d.next_attempt_at < now() - interval '30 days' order by d.next_attempt_at limit 10 $$, 'outbox_waiting'),
  ($$ select from private.outbox d where d.status in ('delivered', 'discarded') and d.created_at < now() - interval '30 days' order by d.created_at limit 10 $$, 'outbox_settled'),
  ($$ select from private.outbox d where d.status = 'dead' and d.created_at < now() - interval '120 days' order by d.created_at limit 10 $$, 'outbox_dead')
) as cases (statement, index);

select * from finish();
rollback;
