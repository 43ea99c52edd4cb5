-- Maintenance: what has to happen without anybody asking, and how it is scheduled.
-- Undo: select cron.unschedule(jobname) from cron.job where jobname like 'lyceum:%'; drop the function below.

set lock_timeout = '5s';
set statement_timeout = '60s';

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
grant execute on function ops.forget_idempotency_keys to service_role;

-- pg_cron lives in one database of a cluster; copies of this one, as tests make them, have no scheduler.
do $$
begin
  if exists (select from pg_catalog.pg_extension where extname = 'pg_cron') then
    perform cron.schedule('lyceum:forget-idempotency-keys', '17 * * * *', 'select ops.forget_idempotency_keys()');
    -- pg_cron never forgets a run by itself.
    perform cron.schedule(
      'lyceum:trim-cron-history', '23 3 * * *',
      $job$ delete from cron.job_run_details where end_time < now() - interval '14 days' $job$
    );
  end if;
end
$$;
