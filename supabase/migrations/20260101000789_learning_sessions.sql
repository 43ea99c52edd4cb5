-- Learning sessions: how long somebody was at it, as far as their events tell.
-- Undo: delete from ops.jobs where name = 'end-learning-sessions', with its cron job; drop table analytics.learning_sessions;
-- then the functions below.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Table
-- =====================================================================================================

create table analytics.learning_sessions (
  id uuid primary key default private.uuid_v7(),
  tenant_id uuid not null,
  course_id uuid not null,
  user_id uuid not null constraint session_is_of_a_person references public.profiles (id),
  unit_id uuid,
  enrollment_id uuid not null,
  started_at timestamptz not null,
  last_activity_at timestamptz not null,
  ended_at timestamptz,
  duration_seconds integer generated always as (extract(epoch from ended_at - started_at)::integer) stored,
  constraint session_is_of_the_enrolled_learner foreign key (enrollment_id, tenant_id, course_id, user_id)
    references lms.enrollments (id, tenant_id, course_id, user_id),
  constraint session_unit_is_of_the_same_tenant foreign key (tenant_id, unit_id)
    references lms.org_units (tenant_id, id) on delete set null (unit_id),
  constraint session_goes_forward check (
    last_activity_at >= started_at and (ended_at is null or ended_at = last_activity_at)
  )
  -- last_activity_at is in no index: while a session goes on, its row alone is written.
) with (fillfactor = 85);

create unique index one_open_session on analytics.learning_sessions (enrollment_id) where ended_at is null;
create index learning_sessions_by_user on analytics.learning_sessions (user_id, started_at desc, id desc);
create index learning_sessions_by_tenant on analytics.learning_sessions (tenant_id, started_at desc, id desc);
create index learning_sessions_by_unit on analytics.learning_sessions (unit_id, started_at desc, id desc);
create index learning_sessions_by_unit_of_tenant on analytics.learning_sessions (tenant_id, unit_id);
create index learning_sessions_by_course on analytics.learning_sessions (course_id, started_at desc, id desc);
create index learning_sessions_by_enrollment on analytics.learning_sessions (enrollment_id, tenant_id, course_id, user_id);

comment on table analytics.learning_sessions is
  'A time in which a learner was active in a course: from one event to the last before 30 minutes without any. Opened by the '
  'first event and ended by a job. By the server''s clock; events that arrive more than 30 minutes late belong to none.';
comment on column analytics.learning_sessions.unit_id is 'Org unit when it began.';
comment on column analytics.learning_sessions.last_activity_at is 'To five minutes while the session is open, exact once it has ended.';
comment on column analytics.learning_sessions.ended_at is 'The last activity; null while the session is open.';
comment on column analytics.learning_sessions.duration_seconds is 'Null while the session is open; 0 when there was one event.';

-- =====================================================================================================
-- Opening and ending
-- =====================================================================================================

create function private.session_idle_time()
returns interval
language plpgsql
immutable
set search_path = ''
as $$
begin
  return interval '30 minutes';
end
$$;

-- From the facts, so that it does not matter how often anybody looked meanwhile.
create function private.last_activity(p_session analytics.learning_sessions)
returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
begin
  return greatest(
    p_session.started_at,
    (
      select max(e.received_at)
      from private.question_events e
      where e.user_id = p_session.user_id and e.received_at >= p_session.last_activity_at
        and e.received_at < p_session.last_activity_at + private.session_idle_time()
        and e.enrollment_id = p_session.enrollment_id
        and e.answered_at > e.received_at - private.session_idle_time()
    ),
    (
      select max(e.received_at)
      from private.activity_events e
      where e.user_id = p_session.user_id and e.received_at >= p_session.last_activity_at
        and e.received_at < p_session.last_activity_at + private.session_idle_time()
        and e.enrollment_id = p_session.enrollment_id
        and e.occurred_at > e.received_at - private.session_idle_time()
    )
  );
end
$$;

-- Once in five minutes at most it writes: of a learner who answers every few seconds, most events cost one look.
create function private.session_grain()
returns interval
language plpgsql
immutable
set search_path = ''
as $$
begin
  return interval '5 minutes';
end
$$;

create function private.follow_activity(p_enrollment_id uuid, p_at timestamptz)
returns void
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_session analytics.learning_sessions;
  v_last timestamptz;
begin
  select * into v_session
  from analytics.learning_sessions s
  where s.enrollment_id = p_enrollment_id and s.ended_at is null;
  if found and p_at < v_session.last_activity_at + private.session_grain() then
    return;
  end if;

  -- The job may be ending it.
  select * into v_session
  from analytics.learning_sessions s
  where s.enrollment_id = p_enrollment_id and s.ended_at is null
  for no key update;
  if found then
    v_last := v_session.last_activity_at;
    if p_at >= v_last + private.session_idle_time() then
      v_last := private.last_activity(v_session);
    end if;
    if p_at < v_last + private.session_idle_time() then
      update analytics.learning_sessions s set last_activity_at = p_at where s.id = v_session.id;
      return;
    end if;
    update analytics.learning_sessions s set last_activity_at = v_last, ended_at = v_last where s.id = v_session.id;
  end if;

  insert into analytics.learning_sessions (
    tenant_id, course_id, user_id, unit_id, enrollment_id, started_at, last_activity_at
  )
  select e.tenant_id, e.course_id, e.user_id, e.unit_id, e.id, p_at, p_at
  from lms.enrollments e
  where e.id = p_enrollment_id
  on conflict do nothing;
end
$$;

-- What the taking of an event calls (events), where no session has been active lately.
create function private.begin_activity(p_enrollment_id uuid, p_at timestamptz)
returns uuid
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  perform private.lock_events_of((select e.user_id from lms.enrollments e where e.id = p_enrollment_id));
  perform private.follow_activity(p_enrollment_id, p_at);
  return p_enrollment_id;
end
$$;

-- INV-O4: when a session ended is read from the events, whenever this runs.
create function ops.end_learning_sessions(p_batch integer default 5000)
returns integer
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_session analytics.learning_sessions;
  v_last timestamptz;
  v_seen integer := 0;
begin
  for v_session in
    select s.*
    from analytics.learning_sessions s
    where s.ended_at is null and s.last_activity_at <= now() - private.session_idle_time()
    order by s.last_activity_at
    limit p_batch
    for no key update skip locked
  loop
    v_last := private.last_activity(v_session);
    update analytics.learning_sessions s
    set last_activity_at = v_last,
        ended_at = case when v_last <= now() - private.session_idle_time() then v_last end
    where s.id = v_session.id;
    v_seen := v_seen + 1;
  end loop;
  return v_seen;
end
$$;

comment on function ops.end_learning_sessions is
  'Ends learning sessions in which nothing has happened for 30 minutes, with the time of their last event, at most p_batch '
  'per run; returns how many it looked at.';

grant execute on function ops.end_learning_sessions to service_role;
grant execute on function private.session_idle_time, private.session_grain, private.begin_activity to authenticated, service_role;

-- =====================================================================================================
-- Policies and grants
-- =====================================================================================================

alter table analytics.learning_sessions enable row level security;

grant all on analytics.learning_sessions to service_role;
grant select on analytics.learning_sessions to authenticated;

create policy "Sessions are seen by their learner, staff and in scope" on analytics.learning_sessions
  for select to authenticated
  using (
    (user_id = (select auth.uid()) and tenant_id <> all (array(select private.closed_tenants())))
    or tenant_id = any (array(select private.tenants_where('progress.read')))
    or unit_id = any (array(select private.units_where('progress.read')))
    or course_id = any (array(select private.staffed_courses()))
  );

notify pgrst, 'reload schema';
