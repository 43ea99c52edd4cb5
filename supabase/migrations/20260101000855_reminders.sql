-- Who is told of what: facts, as they happen, and dates, as they come near or pass.
-- Undo: delete from ops.jobs where name = 'remind', with its cron job; drop function ops.remind; drop table
-- private.reminded_days; drop the triggers _800_notify* on lms.enrollments, enrollment_requests, certificates,
-- attempt_scores, led_sessions, session_bookings and outside_training; then the functions below.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Facts
-- =====================================================================================================
-- Each ends in private.notify_all, which fails nothing (INV-P3); what they look up before is wrapped for the same reason.

-- The last day on which something is in time: dates are the first moment after it.
create function private.last_day(p_at timestamptz, p_time_zone text)
returns date
language plpgsql
stable
set search_path = ''
as $$
begin
  return ((p_at - interval '1 microsecond') at time zone p_time_zone)::date;
end
$$;

-- By rules and by staff; thousands in one statement are told by one. Who asked to be let in is told of the decision instead, and
-- what an import says is no news.
create function private.tell_of_assignments()
returns trigger
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  perform private.notify_all(array_agg(
    (
      e.tenant_id, e.user_id, 'training_assigned', e.course_id, e.id,
      jsonb_build_object('due_on', private.last_day(e.due_at, t.time_zone)), 'assigned ' || e.id
    )::private.notice
  ))
  from added e
  join lms.tenants t on t.id = e.tenant_id
  where e.source in ('rule', 'assigned', 'bulk') and e.status = 'enrolled' and e.user_id is distinct from (select auth.uid())
    and not exists (
      select
      from lms.enrollment_requests r
      where r.course_id = e.course_id and r.user_id = e.user_id and r.status = 'enrolled' and r.decided_at = now()
    )
  having count(*) > 0;
  return null;
exception
  when others then
    raise warning 'Nobody was told of an assignment: %: %', sqlstate, sqlerrm;
    return null;
end
$$;

create trigger _800_notify after insert on lms.enrollments
  referencing new table as added
  for each statement execute function private.tell_of_assignments();

create function private.tell_of_completion()
returns trigger
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  perform private.notify(
    new.tenant_id, new.user_id, 'course_completed', new.course_id, new.id,
    jsonb_build_object('completed_at', new.completed_at), 'completed ' || new.id
  );
  return null;
end
$$;

create trigger _800_notify_completion after update on lms.enrollments
  for each row when (new.status = 'completed' and old.status <> 'completed')
  execute function private.tell_of_completion();

-- First editions of completions that are news: what an import brings was earned long ago.
create function private.tell_of_certificates()
returns trigger
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  perform private.notify_all(array_agg(
    (
      c.tenant_id, c.user_id, 'certificate_issued', c.course_id, c.enrollment_id,
      jsonb_build_object(
        'course', c.course_title, 'serial', c.serial, 'certificate_id', c.id,
        'expires_on', private.last_day(c.expires_at, t.time_zone)
      ),
      'certificate ' || c.id
    )::private.notice
  ))
  from added c
  join lms.tenants t on t.id = c.tenant_id
  where c.edition = 1 and c.valid_from > private.training_clock() - interval '7 days'
  having count(*) > 0;
  return null;
exception
  when others then
    raise warning 'Nobody was told of a certificate: %: %', sqlstate, sqlerrm;
    return null;
end
$$;

create trigger _800_notify after insert on lms.certificates
  referencing new table as added
  for each statement execute function private.tell_of_certificates();

-- What a machine has graded while the learner waited is no news to them; what somebody has graded, or let go, is.
create function private.tell_of_result()
returns trigger
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  perform private.notify(
    new.tenant_id, new.user_id, 'result_released', new.course_id, new.enrollment_id,
    jsonb_build_object(
      'assessment', (select a.title from lms.assessments a where a.id = new.assessment_id),
      'assessment_id', new.assessment_id, 'attempt_id', new.attempt_id
    ),
    'result ' || new.attempt_id
  );
  return null;
exception
  when others then
    raise warning 'Nobody was told of the result of attempt %: %: %', new.attempt_id, sqlstate, sqlerrm;
    return null;
end
$$;

create trigger _800_notify after insert on lms.attempt_scores
  for each row when (new.released_at is not null and new.source in ('grader', 'override'))
  execute function private.tell_of_result();
create trigger _800_notify_release after update on lms.attempt_scores
  for each row when (new.released_at is not null and old.released_at is null)
  execute function private.tell_of_result();

-- Staff of a course that may act as such: whose roles do not let them author any more is staff in name only, and is told nothing
-- (as private.staffed_courses says of the caller).
create function private.acting_staff(p_course_id uuid)
returns table (user_id uuid, since timestamptz)
language plpgsql
stable
rows 5
set search_path = ''
as $$
begin
  return query
  select s.user_id, s.created_at
  from lms.course_staff s
  join lms.memberships m on m.tenant_id = s.tenant_id and m.user_id = s.user_id and m.status = 'active'
  where s.course_id = p_course_id and exists (
    select
    from lms.role_grants g
    join lms.role_permissions p on p.role_id = g.role_id and p.permission in ('catalog.author', 'catalog.write')
    where g.tenant_id = m.tenant_id and g.membership_id = m.id
  );
end
$$;

-- Staff of the course of those who ask; those who ask of what becomes of it, unless it was their own doing.
create function private.tell_of_request()
returns trigger
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  if tg_op = 'INSERT' then
    perform private.notify_all(array_agg(
      (
        new.tenant_id, s.user_id, 'enrollment_requested', new.course_id, null,
        jsonb_build_object('request_id', new.id), 'request ' || new.id
      )::private.notice
    ))
    from (
      select a.user_id from private.acting_staff(new.course_id) a
      where a.user_id <> new.user_id
      order by a.since, a.user_id
      limit 20
    ) s
    having count(*) > 0;
  else
    perform private.notify(
      new.tenant_id, new.user_id, 'enrollment_decided', new.course_id, null,
      jsonb_build_object('request_id', new.id, 'status', new.status, 'reason', left(new.decision_reason, 1000)),
      format('request %s %s', new.id, new.status)
    );
  end if;
  return null;
exception
  when others then
    raise warning 'Nobody was told of request %: %: %', new.id, sqlstate, sqlerrm;
    return null;
end
$$;

create trigger _800_notify after insert on lms.enrollment_requests
  for each row when (new.status = 'pending')
  execute function private.tell_of_request();
create trigger _800_notify_decision after update on lms.enrollment_requests
  for each row when (
    new.status <> old.status and new.status in ('enrolled', 'waiting', 'declined') and new.decided_by is distinct from new.user_id
  )
  execute function private.tell_of_request();

-- Those who are booked, or wait: of a session that is called off or moved; and those who get a seat that became free.
create function private.tell_of_session()
returns trigger
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  perform private.notify_all(array_agg(
    (
      new.tenant_id, b.user_id, 'session_changed', new.course_id, b.enrollment_id,
      jsonb_build_object(
        'session', new.title, 'session_id', new.id, 'status', new.status, 'starts_at', new.starts_at, 'place', new.place_name
      ),
      format('session %s %s %s %s', new.id, new.status, new.starts_at, md5(concat_ws(' ', new.place_name, new.place_address)))
    )::private.notice
  ))
  from lms.session_bookings b
  where b.tenant_id = new.tenant_id and b.course_id = new.course_id and b.session_id = new.id
    and (b.status in ('booked', 'waitlisted') or (new.status = 'cancelled' and b.cancelled_at = now()))
    and b.user_id is distinct from (select auth.uid())
  having count(*) > 0;
  return null;
exception
  when others then
    raise warning 'Nobody was told of session %: %: %', new.id, sqlstate, sqlerrm;
    return null;
end
$$;

create trigger _800_notify after update on lms.led_sessions
  for each row when (
    (new.status = 'cancelled' and old.status <> 'cancelled')
    or (
      new.status = 'scheduled' and (old.starts_at, old.ends_at, old.place_name, old.place_address)
        is distinct from (new.starts_at, new.ends_at, new.place_name, new.place_address)
    )
  )
  execute function private.tell_of_session();

create function private.tell_of_seat()
returns trigger
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  perform private.notify(
    s.tenant_id, new.user_id, 'session_changed', s.course_id, new.enrollment_id,
    jsonb_build_object(
      'session', s.title, 'session_id', s.id, 'status', new.status, 'starts_at', s.starts_at, 'place', s.place_name
    ),
    format('seat %s %s', new.id, new.updated_at)
  )
  from lms.led_sessions s
  where s.id = new.session_id;
  return null;
exception
  when others then
    raise warning 'Nobody was told of the seat of booking %: %: %', new.id, sqlstate, sqlerrm;
    return null;
end
$$;

create trigger _800_notify after update on lms.session_bookings
  for each row when (old.status = 'waitlisted' and new.status = 'booked')
  execute function private.tell_of_seat();

-- Staff of the course of evidence that waits; whose it is, of what becomes of it.
create function private.tell_of_evidence()
returns trigger
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  if new.status = 'submitted' then
    perform private.notify_all(array_agg(
      (
        new.tenant_id, s.user_id, 'evidence_submitted', new.course_id, null,
        jsonb_build_object('evidence_id', new.id), 'evidence ' || new.id
      )::private.notice
    ))
    from (
      select s.user_id from lms.course_staff s
      where s.course_id = new.course_id and s.user_id <> new.user_id and s.user_id is distinct from new.submitted_by
      order by s.created_at, s.id
      limit 20
    ) s
    having count(*) > 0;
  else
    perform private.notify(
      new.tenant_id, new.user_id, 'evidence_decided', new.course_id, new.enrollment_id,
      jsonb_build_object('evidence_id', new.id, 'status', new.status, 'reason', new.review_reason),
      format('evidence %s %s', new.id, new.status)
    );
  end if;
  return null;
exception
  when others then
    raise warning 'Nobody was told of evidence %: %: %', new.id, sqlstate, sqlerrm;
    return null;
end
$$;

create trigger _800_notify after insert on lms.outside_training
  for each row when (new.status = 'submitted')
  execute function private.tell_of_evidence();
create trigger _800_notify_decision after update on lms.outside_training
  for each row when (new.status <> old.status and new.status in ('accepted', 'rejected'))
  execute function private.tell_of_evidence();

-- =====================================================================================================
-- Dates
-- =====================================================================================================

create table private.reminded_days (
  tenant_id uuid primary key constraint reminded_day_is_of_a_tenant references lms.tenants (id) on delete cascade,
  day date not null
);
alter table private.reminded_days enable row level security;

comment on table private.reminded_days is
  'The last day of each organisation on which all of it was looked through. Spares looking again on the same day; what is sent '
  'follows from the data and from what was sent.';

create function private.reminder_days(p_settings jsonb, p_which text, p_usual integer[])
returns integer[]
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_days constant jsonb := p_settings #> array['notifications', 'reminders', p_which];
begin
  if v_days is null then
    return p_usual;
  end if;
  return array(select d::integer from jsonb_array_elements_text(v_days) as d);
end
$$;

-- What people of a tenant are to be reminded of on a day, each of the last threshold that has passed and of none before it. So a
-- run that comes a week late sends what one in time would have sent last, and one that comes again sends nothing.
-- Dates that rules ask for come from where people stand with them (nothing that is done, waived or not required any more), other
-- due dates from the open cycles that have them. A threshold that had passed when the course was assigned is none, and one that
-- passed a year ago is none any more: what was told of it will be forgotten.
create function private.reminders_at(p_tenant_id uuid, p_at timestamptz)
returns setof private.notice
language plpgsql
stable security definer
rows 1000
set search_path = ''
as $$
declare
  v_tenant lms.tenants;
  v_today date;
  v_before_due integer[];
  v_overdue integer[];
  v_before_expiry integer[];
begin
  select * into v_tenant from lms.tenants t where t.id = p_tenant_id;
  v_today := (p_at at time zone v_tenant.time_zone)::date;
  v_before_due := private.reminder_days(v_tenant.settings, 'days_before_due', '{14, 3}');
  v_overdue := private.reminder_days(v_tenant.settings, 'days_overdue', '{1, 7, 30}');
  v_before_expiry := private.reminder_days(v_tenant.settings, 'days_before_expiry', '{60, 14}');

  return query
  with required as materialized (
    select s.* from private.training_status_at(p_tenant_id, null, null, p_at) s
  ), due as (
    select s.user_id, s.course_id, s.due_at, s.state in ('expiring', 'expired') as is_renewal, (
      select min(q.since) from lms.training_requirements q
      where q.user_id = s.user_id and q.course_id = s.course_id and q.tenant_id = p_tenant_id and q.ended_at is null
    ) as since
    from required s
    where s.state in ('due', 'overdue', 'expiring', 'expired') and s.due_at is not null
    union all
    select e.user_id, e.course_id, e.due_at, false, e.enrolled_at
    from lms.enrollments e
    where e.tenant_id = p_tenant_id and e.status in ('enrolled', 'in_progress', 'paused') and e.due_at is not null
      and (e.expires_at is null or e.expires_at > p_at)
      and not exists (select from required r where r.user_id = e.user_id and r.course_id = e.course_id)
  ), dated as (
    select
      d.user_id, d.course_id, private.last_day(d.due_at, v_tenant.time_zone) as due_on,
      (d.since at time zone v_tenant.time_zone)::date as since_on, e.id as enrollment_id
    from due d
    join lms.courses c on c.id = d.course_id and c.deleted_at is null
    left join lateral (
      select o.id from lms.enrollments o
      where o.user_id = d.user_id and o.course_id = d.course_id and o.status in ('enrolled', 'in_progress', 'paused')
      limit 1
    ) e on true
  )
  select
    p_tenant_id, d.user_id, r.kind, d.course_id, d.enrollment_id,
    jsonb_build_object('due_on', d.due_on, 'days', abs(d.due_on - v_today)),
    format('%s %s %s %s', r.kind, d.course_id, d.due_on, r.threshold)
  from dated d
  cross join lateral (
    select
      case when d.due_on >= v_today then 'training_due' else 'training_overdue' end as kind,
      case when d.due_on >= v_today
        then (select min(t) from unnest(v_before_due) as t where t >= d.due_on - v_today and d.due_on - t > d.since_on)
        else (select max(t) from unnest(v_overdue) as t where t <= v_today - d.due_on)
      end as threshold
  ) r
  where r.threshold is not null and v_today - d.due_on - r.threshold <= 365
  union all
  select
    p_tenant_id, c.user_id, 'certificate_expiring', c.course_id, c.enrollment_id,
    jsonb_build_object(
      'course', c.course_title, 'serial', c.serial, 'certificate_id', c.id, 'expires_on', x.expires_on,
      'days', x.expires_on - v_today
    ),
    format('certificate_expiring %s %s', c.id, x.threshold)
  from lms.certificates c
  cross join lateral (select private.last_day(c.expires_at, v_tenant.time_zone) as expires_on) y
  cross join lateral (
    select y.expires_on, (
      select min(t) from unnest(v_before_expiry) as t
      where t >= y.expires_on - v_today and y.expires_on - t > (c.valid_from at time zone v_tenant.time_zone)::date
    ) as threshold
  ) x
  where c.tenant_id = p_tenant_id and c.revoked_at is null and c.renewed_by is null
    and c.expires_at > p_at and c.expires_at <= p_at + interval '1001 days'
    and x.threshold is not null
    -- Whom a rule asks to renew is told when that is due, and whom none asks any more, or who is excused, of neither.
    and not exists (
      select from required r
      where r.user_id = c.user_id and r.course_id = c.course_id and r.state in ('expiring', 'expired', 'waived')
    )
  union all
  -- Work that waits for a grader, who is somebody else than its author: once, until more has come.
  select
    p_tenant_id, w.grader_id, 'grading_waits', w.course_id, null,
    jsonb_build_object('assessment', a.title, 'assessment_id', w.assessment_id),
    format('grading_waits %s %s', w.assessment_id, w.newest)
  from (
    select s.user_id as grader_id, t.course_id, t.assessment_id, max(t.newest) as newest
    from (
      select o.course_id, o.assessment_id, o.user_id, max(o.id::text) as newest
      from lms.assessment_attempts o
      where o.tenant_id = p_tenant_id and o.status = 'submitted'
      group by o.course_id, o.assessment_id, o.user_id
    ) t
    join (
      select c.id, g.user_id
      from lms.courses c
      cross join lateral private.acting_staff(c.id) g
      where c.deleted_at is null and c.id = any (array(
        select o.course_id from lms.assessment_attempts o where o.tenant_id = p_tenant_id and o.status = 'submitted'
      ))
    ) s on s.id = t.course_id and s.user_id <> t.user_id
    group by s.user_id, t.course_id, t.assessment_id
  ) w
  join lms.assessments a on a.id = w.assessment_id and a.deleted_at is null;
end
$$;

-- Mail at midnight is read by nobody: from six in the morning on, where the organisation is.
create function ops.remind(p_batch integer default 5000)
returns bigint
language plpgsql
volatile security definer
set search_path = ''
set jit = off
as $$
declare
  v_now constant timestamptz := private.training_clock();
  v_tenant record;
  v_notices private.notice[];
  v_told integer;
  v_done bigint := 0;
begin
  for v_tenant in
    select t.id, (v_now at time zone t.time_zone)::date as day
    from lms.tenants t
    left join private.reminded_days r on r.tenant_id = t.id
    where t.is_active and extract(hour from v_now at time zone t.time_zone) >= 6
      and r.day is distinct from (v_now at time zone t.time_zone)::date
    order by r.day nulls first, t.id
  loop
    exit when v_done >= p_batch;
    begin
      v_notices := array(
        select n
        from private.reminders_at(v_tenant.id, v_now) n
        where not exists (
            select
            from lms.notifications o
            where o.tenant_id = n.tenant_id and o.user_id = n.user_id and o.dedupe_key = n.dedupe_key
          )
          and not exists (
            select from lms.memberships m
            where m.tenant_id = n.tenant_id and m.user_id = n.user_id and m.status <> 'active'
          )
          -- Who wants none would be found again by each run, and stand before all others.
          and private.reaches_somebody(n)
        order by n.user_id, n.dedupe_key
        limit p_batch
      );
      v_told := private.notify_all(v_notices);
      v_done := v_done + v_told;
      -- INV-O1: the rest of a large organisation comes with the next runs, and what could not be written as well.
      if cardinality(v_notices) < p_batch and v_told = cardinality(v_notices) then
        insert into private.reminded_days (tenant_id, day)
        values (v_tenant.id, v_tenant.day)
        on conflict (tenant_id) do update set day = excluded.day;
      end if;
    exception
      -- One organisation that fails holds up no other.
      when others then
        raise warning 'Nobody of organisation % was reminded: %: %', v_tenant.id, sqlstate, sqlerrm;
    end;
  end loop;
  return v_done;
end
$$;

comment on function ops.remind is
  'Reminds people of dates that come near or have passed, once a day from six in the morning of each organisation; returns how many '
  'were told.';

grant execute on function ops.remind to service_role;
