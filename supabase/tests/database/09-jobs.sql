begin;
\ir ../helpers.sql
select * from no_plan();

-- =====================================================================================================
-- Answers kept for replays are forgotten after a week
-- =====================================================================================================

insert into private.idempotency_keys (user_id, operation, key, request, created_at)
select tests.id('dora'), 'enroll', 'key ' || n, '{}', now() - make_interval(days => n) from generate_series(0, 20) as n;

select tests.as_service();
select is(ops.forget_idempotency_keys(5), 5, 'a run is bounded by its batch');
select tests.as_owner();
select is((select array_agg(key order by created_at desc) from private.idempotency_keys where created_at < now() - interval '12 days'), '{key 13,key 14,key 15}', 'the oldest go first');
select tests.as_service();
select is(ops.forget_idempotency_keys(), 8, 'the next run catches up');
select is(ops.forget_idempotency_keys(), 0, 'INV-O1: a run with nothing to do does nothing');
select tests.as_owner();
select is((select array_agg(key order by created_at desc) from private.idempotency_keys), '{key 0,key 1,key 2,key 3,key 4,key 5,key 6,key 7}', 'a week of answers is kept, to the day');

select is(tests.try(who, 'select ops.forget_idempotency_keys()'), '42501', format('%s cannot run maintenance', who)) from unnest(array['anonymous', 'dora']) as who;
select is(tests.sees_as('service', 'private.idempotency_keys'), '42501', 'even the service role reads no kept answers');

-- A forgotten key is free again: the request is then judged as a new one.
select tests.tenant('works'), tests.member('ines', 'works', 'instructor'), tests.member('eve', 'works'), tests.course('safety', 'works', 'ines');
select tests.as('eve');
select is((lms.enroll(tests.id('safety'), null, null, 'once')).cycle, 1, 'an enrolment with a key');
select tests.as_owner();
update private.idempotency_keys set created_at = now() - interval '8 days' where key = 'once';
select is(ops.forget_idempotency_keys(), 1, 'its answer is forgotten');
select tests.as('eve');
select is(tests.error_of(format('select lms.enroll(%L, null, null, %L)', tests.id('safety'), 'once')), '409 not_eligible', '... and still there is one enrolment');
select tests.as_owner();

-- =====================================================================================================
-- Registry and schedule
-- =====================================================================================================

select set_eq(
  'select name, schedule from ops.jobs',
  $$ values ('close-expired-attempts', '* * * * *'), ('fill-free-seats', '* * * * *'), ('advance-learning-paths', '*/5 * * * *'), ('forget-idempotency-keys', '17 * * * *'), ('forget-invitations', '31 2 * * *'), ('trim-run-history', '23 3 * * *'), ('repair-search', '41 * * * *'),
       ('drop-left-enrollments', '53 2 * * *'),
       ('schedule-report-digests', '*/10 * * * *'),
       ('fold-reports', '* * * * *'), ('check-rollups', '7 4 * * *'),
       ('make-event-partitions', '47 2 * * *'), ('forget-event-receipts', '37 * * * *'), ('end-learning-sessions', '*/5 * * * *'),
       ('apply-assignment-marks', '* * * * *'), ('apply-assignment-rules', '13 1 * * *'),
       ('remind', '29 * * * *'), ('forget-deliveries', '*/10 * * * *'),
       ('fill-session-seats', '* * * * *'), ('settle-attendance', '*/5 * * * *'),
       ('write-training-records', '29 * * * *'), ('forget-training-records', '7 3 * * *'),
       ('issue-certificates', '11 * * * *'), ('open-renewals', '*/15 * * * *'),
       ('seal-audit-log', '*/5 * * * *'), ('make-audit-partitions', '41 2 * * *') $$,
  'these jobs are registered'
);

create function tests.schedule() returns setof text language plpgsql as $$
begin
  if exists (select from pg_extension where extname = 'pg_cron') then
    return query select format('%s %s %s', j.jobname, j.schedule, j.command) from cron.job j where j.jobname like 'lyceum:%' and j.active;
  else
    -- A copy of the database, as tests make them, has no scheduler: nothing to check but that the migration came this far.
    return query select format('lyceum:%s %s select ops.run_job(%L)', j.name, j.schedule, j.name) from ops.jobs j;
  end if;
end
$$;
select set_eq(
  'select tests.schedule()', $$ select format('lyceum:%s %s select ops.run_job(%L)', j.name, j.schedule, j.name) from ops.jobs j $$,
  'each job is scheduled once, and only through ops.run_job'
);
select is_empty('select name from ops.jobs where to_regproc(function_name) is null', 'every job has its function');
select is(tests.error_of($$ select ops.register_job('no-such', '* * * * *', 'ops.no_such', '1 day', 'x') $$), '42883', 'a job without a function is not registered');

-- =====================================================================================================
-- INV-O1: each run leaves a row; failure and absence show in one view
-- =====================================================================================================

create function tests.health(job text) returns text language sql as $$
  select concat_ws(' ', case when is_overdue then 'overdue' else 'fine' end, last_status, last_rows_done, last_error) from ops.health where name = job
$$;

select set_eq('select name from ops.health where is_overdue', 'select name from ops.jobs', 'jobs that never ran are overdue');
select tests.as_service();
select is((ops.run_job(name)).status, 'succeeded', format('%s runs', name)) from ops.jobs order by name;
select is_empty('select name from ops.health where is_overdue', 'once all ran, none is overdue');
select is((ops.run_job(name)).status, 'succeeded', format('%s runs again', name)) from ops.jobs order by name;
select is(tests.error_of($$ select ops.run_job('no-such') $$), 'P0002', 'a job that does not exist is an error');
select tests.as_owner();

create table tests.work (n integer);
create function tests.five() returns integer language plpgsql as $$ begin insert into tests.work select generate_series(1, 5); return 5; end $$;
create function tests.nothing() returns integer language plpgsql as $$ begin return null; end $$;
create function tests.half() returns integer language plpgsql as $$ begin insert into tests.work values (99); perform 1 / 0; return 1; end $$;
create function tests.cancelled() returns integer language plpgsql as $$ begin insert into tests.work values (98); raise query_canceled; end $$;
create function tests.asserting() returns integer language plpgsql as $$ begin assert false, 'no'; return 1; end $$;
create function tests.which_job() returns integer language plpgsql as $$ begin insert into tests.work values (length(current_setting('lyceum.job'))); return 1; end $$;
select ops.register_job(name, '* * * * *', fn, '1 hour', 'test')
from (values ('five', 'tests.five'), ('nothing', 'tests.nothing'), ('half', 'tests.half'), ('cancelled', 'tests.cancelled'), ('asserting', 'tests.asserting'), ('which-job', 'tests.which_job')) as j (name, fn);

select is((ops.run_job('five')).rows_done, 5::bigint, 'a run says how many rows it dealt with');
select is((ops.run_job('nothing')).rows_done, 0::bigint, 'no answer counts as no rows');
select is(tests.health('five'), 'fine succeeded 5', 'a job that succeeded is fine');
select is((ops.run_job('half')).status, 'failed', 'a job that fails does not make its run fail');
select is(tests.health('half'), 'overdue failed 22012: division by zero', 'its failure shows, and that it never succeeded');
select is((ops.run_job('cancelled')).status, 'failed', 'a job that is cancelled leaves its row as well');
select is((ops.run_job('asserting')).status, 'failed', '... and one whose assertion fails');
select is((select array_agg(n order by n) from tests.work), '{1,2,3,4,5}', 'what a failed job wrote is undone');
select is((select count(*) from ops.job_runs where job in ('five', 'half', 'cancelled', 'asserting')), 4::bigint, 'each run left its row');
select ok(not exists (select from ops.job_runs where finished_at < started_at), 'runs have a beginning and an end');

select set_config('lyceum.job', 'outer', true);
select ops.run_job('which-job');
select is((select max(n) from tests.work), length('which-job'), 'the audit trail can name the job');
select is(current_setting('lyceum.job'), 'outer', '... and is told when it is over');

update ops.job_runs set started_at = now() - interval '61 minutes', finished_at = now() where job = 'five';
select is(tests.health('five'), 'overdue succeeded 5', 'a job whose last success is too long ago is overdue');
insert into ops.job_runs (job, started_at, finished_at, status, error) values ('five', now(), now(), 'failed', 'boom');
select is(tests.health('five'), 'overdue failed boom', 'a failure is no success');
insert into ops.job_runs (job, started_at, finished_at, status) values ('nothing', clock_timestamp() + interval '1 minute', clock_timestamp() + interval '1 minute', 'skipped');
select is(tests.health('nothing'), 'fine skipped', 'a skipped run neither');

-- A run of the same job that another session is busy with is not simulated here: an advisory lock is its own session's.

-- Trimming keeps what tells since when a success is missing.
insert into ops.job_runs (job, started_at, finished_at, status, rows_done, error)
select 'half', now() - make_interval(days => n), now() - make_interval(days => n), case when n = 35 or n = 50 then 'succeeded' else 'failed' end,
  case when n = 35 or n = 50 then 1 end, case when n = 35 or n = 50 then null else 'boom' end
from generate_series(20, 60) as n;
select is(ops.trim_run_history(3), 3, 'a run of the trimming is bounded');
select is(ops.trim_run_history(), 26, 'the next one catches up');
select is(ops.trim_run_history(), 0, 'and then there is nothing to do');
select is((select array_agg(extract(day from now() - started_at)::integer order by started_at) from ops.job_runs where job = 'half' and rows_done is not null), '{35}', 'the newest success stays, however old');
select is((select count(*) from ops.job_runs where job = 'half' and started_at < now() - interval '30 days' and rows_done is null), 0::bigint, 'failures older than 30 days go');

-- =====================================================================================================
-- Who may
-- =====================================================================================================

select is(tests.try(who, statement), '42501', format('%s: %s', who, statement))
from unnest(array['anonymous', 'dora']) as who,
  unnest(array['select * from ops.jobs', 'select * from ops.job_runs', 'select * from ops.health', $$ select ops.run_job('five') $$, 'select ops.trim_run_history()', 'select ops.seal_audit_log()']) as statement;
select is(tests.try('service', statement), '42501', 'the service: ' || statement)
from unnest(array[
  $$ insert into ops.jobs values ('x', '* * * * *', 'pg_catalog.pg_sleep', 'x', '1 day') $$, 'delete from ops.job_runs', $$ update ops.jobs set function_name = 'pg_catalog.now' $$,
  $$ select ops.register_job('x', '* * * * *', 'ops.run_job', '1 day', 'x') $$
]) as statement;
select isnt(tests.sees_as('service', 'ops.health'), '42501', 'the service reads the health of jobs');

select * from finish();
rollback;
