-- Jobs: what has to happen without anybody asking, when, and what came of it.
-- Undo: select cron.unschedule(jobname) from cron.job where jobname like 'lyceum:%'; drop functions lms.get_health,
-- private.read_health; drop type lms.job_health; drop view ops.health; drop tables ops.job_runs, ops.jobs; drop the
-- functions below.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Registry
-- =====================================================================================================

create table ops.jobs (
  name text primary key constraint job_name_is_words_joined_by_hyphens check (name ~ '^[a-z]+(-[a-z]+)*$'),
  schedule text not null,
  function_name text not null,
  description text not null,
  longest_gap interval not null constraint longest_gap_is_positive check (longest_gap > interval '0'),
  registered_at timestamptz not null default now()
);

comment on table ops.jobs is 'What is to run regularly. Written by ops.register_job.';
comment on column ops.jobs.schedule is 'As in a crontab, in UTC.';
comment on column ops.jobs.function_name is
  'Called without arguments. It does a bounded amount of work, derived from data rather than from the clock, and '
  'returns the number of rows it dealt with.';
comment on column ops.jobs.longest_gap is 'Overdue when the last success is longer ago than this.';

-- INV-O1
create table ops.job_runs (
  id bigint primary key generated always as identity,
  job text not null constraint job_run_is_of_a_job references ops.jobs (name) on delete cascade,
  started_at timestamptz not null,
  finished_at timestamptz not null,
  status text not null constraint job_run_status_is_known check (status in ('succeeded', 'failed', 'skipped')),
  rows_done bigint,
  error text,
  constraint job_run_has_rows_or_an_error check (
    (status = 'succeeded') = (rows_done is not null) and (status = 'failed') = (error is not null)
  )
);
create index job_runs_by_job on ops.job_runs (job, started_at desc);

comment on table ops.job_runs is
  'What came of each run; older than 30 days it is trimmed. Skipped: the run before was still going on.';

alter table ops.jobs enable row level security;
alter table ops.job_runs enable row level security;

-- pg_cron lives in one database of a cluster; copies of this one, as tests make them, have no scheduler.
create function ops.register_job(
  p_name text, p_schedule text, p_function_name text, p_longest_gap interval, p_description text
)
returns void
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_scheduler constant regnamespace := to_regnamespace('cron');
begin
  if to_regproc(p_function_name) is null then
    raise undefined_function using
      message = format('Job %s names the function %s, of which there is not exactly one.', p_name, p_function_name);
  end if;
  insert into ops.jobs as j (name, schedule, function_name, longest_gap, description)
  values (p_name, p_schedule, p_function_name, p_longest_gap, p_description)
  on conflict (name) do update
  set schedule = excluded.schedule,
      function_name = excluded.function_name,
      longest_gap = excluded.longest_gap,
      description = excluded.description;
  if v_scheduler is not null then
    execute format('select %s.schedule($1, $2, $3)', v_scheduler)
    using 'lyceum:' || p_name, p_schedule, format('select ops.run_job(%L)', p_name);
  end if;
end
$$;

comment on function ops.register_job is
  'Adds a job to the registry, or changes it, and schedules it where there is a scheduler. Elsewhere have '
  '`select ops.run_job(name)` called at the times that ops.jobs lists.';

-- =====================================================================================================
-- Running
-- =====================================================================================================

-- The job's work is undone when it fails, its row here is not. Rows that the job writes to audited tables name it.
create function ops.run_job(p_name text)
returns ops.job_runs
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_outer_job constant text := coalesce(current_setting('lyceum.job', true), '');
  v_function_name text;
  v_run ops.job_runs;
begin
  select j.function_name into v_function_name from ops.jobs j where j.name = p_name;
  if not found then
    raise no_data_found using
      message = format('There is no job %s.', p_name), hint = 'select name from ops.jobs lists them.';
  end if;

  v_run.started_at := clock_timestamp();
  if pg_try_advisory_xact_lock(hashtextextended('ops.run_job ' || p_name, 0)) then
    perform set_config('lyceum.job', p_name, true);
    begin
      execute format('select %s()', v_function_name) into v_run.rows_done;
      v_run.rows_done := coalesce(v_run.rows_done, 0);
      v_run.status := 'succeeded';
    exception
      -- Cancelling and failed assertions are not among `others`.
      when query_canceled or assert_failure or others then
        v_run.status := 'failed';
        v_run.error := format('%s: %s', sqlstate, sqlerrm);
    end;
    perform set_config('lyceum.job', v_outer_job, true);
  else
    v_run.status := 'skipped';
  end if;

  insert into ops.job_runs (job, started_at, finished_at, status, rows_done, error)
  values (p_name, v_run.started_at, clock_timestamp(), v_run.status, v_run.rows_done, v_run.error)
  returning * into v_run;
  return v_run;
end
$$;

comment on function ops.run_job is
  'Runs a job of ops.jobs now and returns its row of ops.job_runs. Never fails because the job does; skips it while '
  'another run of it is going on.';

create view ops.health
with (security_invoker = true)
as
select
  j.name,
  j.schedule,
  j.longest_gap,
  success.started_at as last_succeeded_at,
  coalesce(success.started_at < now() - j.longest_gap, true) as is_overdue,
  last.started_at as last_started_at,
  last.status as last_status,
  last.rows_done as last_rows_done,
  failure.started_at as last_failed_at,
  failure.error as last_error,
  j.description
from ops.jobs j
left join lateral (
  select r.started_at, r.status, r.rows_done
  from ops.job_runs r
  where r.job = j.name
  order by r.started_at desc, r.id desc
  limit 1
) as last on true
left join lateral (
  select r.started_at
  from ops.job_runs r
  where r.job = j.name and r.status = 'succeeded'
  order by r.started_at desc
  limit 1
) as success on true
left join lateral (
  select r.started_at, r.error
  from ops.job_runs r
  where r.job = j.name and r.status = 'failed'
  order by r.started_at desc
  limit 1
) as failure on true;

comment on view ops.health is
  'Each job with its last run, success and failure. A job that has not succeeded for too long, or never, is overdue.';

grant select on ops.jobs, ops.job_runs, ops.health to service_role;
grant execute on function ops.run_job to service_role;

-- =====================================================================================================
-- For administrators of the platform
-- =====================================================================================================

create type lms.job_health as (
  job text, description text, schedule text, longest_gap interval, is_overdue boolean, last_started_at timestamptz,
  last_status text, last_rows_done bigint, last_succeeded_at timestamptz, last_failed_at timestamptz, last_error text
);
comment on type lms.job_health is 'A job, whether it runs as it should, and what went wrong last.';

create function private.read_health()
returns setof lms.job_health
language plpgsql
stable security definer
rows 20
set search_path = ''
as $$
begin
  perform private.require_platform_admin();
  return query
  select
    h.name, h.description, h.schedule, h.longest_gap, h.is_overdue, h.last_started_at, h.last_status, h.last_rows_done,
    h.last_succeeded_at, h.last_failed_at, h.last_error
  from ops.health h
  order by h.is_overdue desc, h.name;
end
$$;

create function lms.get_health()
returns setof lms.job_health
language plpgsql
stable
rows 20
set search_path = ''
as $$
begin
  return query select * from private.read_health();
end
$$;

comment on function lms.get_health is
  'Every scheduled job with its last run, success and failure, overdue ones first. For platform administrators; 403 for '
  'everybody else.';

grant execute on function private.read_health, lms.get_health to authenticated, service_role;

-- =====================================================================================================
-- Jobs
-- =====================================================================================================

create function ops.forget_idempotency_keys(p_batch integer default 10000)
returns integer
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_forgotten integer;
begin
  delete from private.idempotency_keys k
  where (k.user_id, k.operation, k.key) in (
    select o.user_id, o.operation, o.key
    from private.idempotency_keys o
    where o.created_at < now() - interval '7 days'
    order by o.created_at
    limit p_batch
    for update skip locked
  );
  get diagnostics v_forgotten = row_count;
  return v_forgotten;
end
$$;

comment on function ops.forget_idempotency_keys is
  'Removes answers kept for replays once they are a week old, at most p_batch per run; returns how many.';

create function ops.trim_run_history(p_batch integer default 10000)
returns integer
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_cron_history constant regclass := to_regclass('cron.job_run_details');
  v_runs integer;
  v_cron_runs integer := 0;
begin
  -- The newest success of each job stays, or nobody could tell since when it is missing.
  delete from ops.job_runs r
  where r.id in (
    select o.id
    from ops.job_runs o
    where o.started_at < now() - interval '30 days'
      and (o.status <> 'succeeded' or exists (
        select
        from ops.job_runs later
        where later.job = o.job and later.status = 'succeeded' and later.started_at > o.started_at
      ))
    order by o.id
    limit p_batch
  );
  get diagnostics v_runs = row_count;
  -- pg_cron never forgets a run by itself.
  if v_cron_history is not null then
    execute format(
      $delete$
        delete from %1$s
        where runid in (
          select d.runid
          from %1$s d
          where d.end_time < now() - interval '14 days'
          order by d.runid
          limit $1
        )
      $delete$,
      v_cron_history
    )
    using p_batch;
    get diagnostics v_cron_runs = row_count;
  end if;
  return v_runs + v_cron_runs;
end
$$;

comment on function ops.trim_run_history is
  'Removes runs of jobs after 30 days and the scheduler''s own records after 14, at most p_batch of each; returns how '
  'many.';

grant execute on function ops.forget_idempotency_keys, ops.trim_run_history to service_role;

select
  ops.register_job(
    'close-expired-attempts', '* * * * *', 'ops.close_expired_attempts', interval '30 minutes',
    'Attempts whose time has run out are handed in with what was saved by then.'
  ),
  ops.register_job(
    'fill-free-seats', '* * * * *', 'ops.fill_free_seats', interval '30 minutes',
    'Those who wait for a seat are enrolled, in order, when there is one.'
  ),
  ops.register_job(
    'advance-learning-paths', '*/5 * * * *', 'ops.advance_learning_paths', interval '1 hour',
    'Who has done a course of an ordered path is enrolled in the next one.'
  ),
  ops.register_job(
    'drop-left-enrollments', '53 2 * * *', 'ops.drop_left_enrollments', interval '3 days',
    'Who left a month ago gives up their place.'
  ),
  ops.register_job(
    'apply-assignment-marks', '* * * * *', 'ops.apply_assignment_marks', interval '30 minutes',
    'What rules ask of people who joined, moved, changed or left, and of rules that changed, is derived again.'
  ),
  ops.register_job(
    'apply-assignment-rules', '13 1 * * *', 'ops.apply_assignment_rules', interval '3 days',
    'All requirements are derived again from the data; renewals open.'
  ),
  ops.register_job(
    'issue-certificates', '11 * * * *', 'ops.issue_certificates', interval '1 day',
    'Completed cycles whose certificate was not issued with them get it.'
  ),
  ops.register_job(
    'open-renewals', '*/15 * * * *', 'ops.open_renewals', interval '1 day',
    'Whose certificate is about to expire is enrolled in the next cycle, where the course says so.'
  ),
  ops.register_job(
    'remind', '29 * * * *', 'ops.remind', interval '1 day',
    'People are reminded of dates that come near or have passed, in the morning of each organisation.'
  ),
  ops.register_job(
    'forget-deliveries', '*/10 * * * *', 'ops.forget_deliveries', interval '3 days',
    'Deliveries are forgotten after 30 days, dead ones after 120, notifications after 1200.'
  ),
  ops.register_job(
    'fill-session-seats', '* * * * *', 'ops.fill_session_seats', interval '30 minutes',
    'Seats of led sessions that became free go to those who wait for them.'
  ),
  ops.register_job(
    'settle-attendance', '*/5 * * * *', 'ops.settle_attendance', interval '1 hour',
    'Attendance counts for lessons that were not open yet when it was recorded.'
  ),
  ops.register_job(
    'write-training-records', '29 * * * *', 'ops.write_training_records', interval '1 day',
    'Completed cycles whose training record was not written with them get it; what was missing is filled in.'
  ),
  ops.register_job(
    'forget-training-records', '7 3 * * *', 'ops.forget_training_records', interval '7 days',
    'Training records are forgotten when the law has them kept no longer.'
  ),
  ops.register_job(
    'forget-idempotency-keys', '17 * * * *', 'ops.forget_idempotency_keys', interval '1 day',
    'Answers kept for replays are forgotten after a week.'
  ),
  ops.register_job(
    'forget-invitations', '31 2 * * *', 'ops.forget_invitations', interval '3 days',
    'Invitations are forgotten 90 days after they were accepted, revoked or had expired.'
  ),
  ops.register_job(
    'make-event-partitions', '47 2 * * *', 'ops.make_event_partitions', interval '3 days',
    'Question and activity events have a partition for each of the next months.'
  ),
  ops.register_job(
    'forget-event-receipts', '37 * * * *', 'ops.forget_event_receipts', interval '1 day',
    'Which events have been taken is forgotten after 90 days.'
  ),
  ops.register_job(
    'schedule-report-digests', '*/10 * * * *', 'ops.schedule_report_digests', interval '2 hours',
    'Owners of scheduled reports are told their headline figures, once for each time that has come.'
  ),
  ops.register_job(
    'end-learning-sessions', '*/5 * * * *', 'ops.end_learning_sessions', interval '1 hour',
    'Learning sessions end when nothing has happened in them for half an hour.'
  ),
  ops.register_job(
    'repair-search', '41 * * * *', 'ops.repair_search', interval '1 day',
    'What is searched is compared with the data, a batch of courses at a time, and put right.'
  ),
  ops.register_job(
    'fold-reports', '* * * * *', 'ops.fold_reports', interval '30 minutes',
    'What has been recorded is added to the sums of reports.'
  ),
  ops.register_job(
    'check-rollups', '7 4 * * *', 'ops.check_rollups', interval '3 days',
    'The sums of reports of some organisations are compared with the facts.'
  ),
  ops.register_job(
    'trim-run-history', '23 3 * * *', 'ops.trim_run_history', interval '3 days',
    'Runs of jobs are kept for 30 days, the scheduler''s own records for 14.'
  );
