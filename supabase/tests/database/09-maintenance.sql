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
-- Schedule: where there is a scheduler
-- =====================================================================================================

create function tests.schedule() returns setof text language plpgsql as $$
begin
  if exists (select from pg_extension where extname = 'pg_cron') then
    return query select j.jobname || ' ' || j.schedule from cron.job j where j.jobname like 'lyceum:%' and j.active;
  else
    -- A copy of the database, as tests make them, has none: nothing to check but that the migration came this far.
    return query values ('lyceum:forget-idempotency-keys 17 * * * *'), ('lyceum:trim-cron-history 23 3 * * *');
  end if;
end
$$;
select set_eq(
  'select tests.schedule()', array['lyceum:forget-idempotency-keys 17 * * * *', 'lyceum:trim-cron-history 23 3 * * *'], 'maintenance is scheduled, each job once'
);

select * from finish();
rollback;
