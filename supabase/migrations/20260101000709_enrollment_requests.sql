-- Enrolment requests: asking to be let in, and waiting for a seat.
-- Undo: delete from ops.jobs where name = 'fill-free-seats', with its cron job; drop functions lms.request_enrollment,
-- decide_enrollment_request, withdraw_enrollment_request, ops.fill_free_seats; drop trigger _500_requests on
-- lms.enrollments; drop table lms.enrollment_requests; then the functions below.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Table
-- =====================================================================================================

create table lms.enrollment_requests (
  id uuid primary key default private.uuid_v7(),
  tenant_id uuid not null,
  course_id uuid not null,
  user_id uuid not null constraint enrollment_request_is_of_a_person references public.profiles (id),
  unit_id uuid,
  status text not null constraint enrollment_request_status_is_known
    check (status in ('pending', 'waiting', 'enrolled', 'declined', 'withdrawn')),
  message text constraint enrollment_request_message_is_short check (length(message) <= 1000),
  requested_at timestamptz not null default now(),
  decided_at timestamptz,
  decided_by uuid,
  decision_reason text constraint decision_reason_is_short check (length(decision_reason) <= 1000),
  updated_at timestamptz not null default now(),
  constraint enrollment_request_course_is_of_the_same_tenant foreign key (tenant_id, course_id)
    references lms.courses (tenant_id, id),
  constraint enrollment_request_unit_is_of_the_same_tenant foreign key (tenant_id, unit_id)
    references lms.org_units (tenant_id, id) on delete set null (unit_id),
  constraint enrollment_request_is_decided_once_it_has_ended check (status in ('pending', 'waiting') or decided_at is not null)
);
create unique index one_live_request on lms.enrollment_requests (course_id, user_id) where status in ('pending', 'waiting');
create index enrollment_requests_waiting on lms.enrollment_requests (course_id, requested_at, id) where status = 'waiting';
create index enrollment_requests_by_course on lms.enrollment_requests (tenant_id, course_id);
create index enrollment_requests_by_user on lms.enrollment_requests (user_id, requested_at desc, id desc);
create index enrollment_requests_by_unit on lms.enrollment_requests (tenant_id, unit_id);
create index enrollment_requests_by_unit_alone on lms.enrollment_requests (unit_id);
create index enrollment_requests_by_tenant on lms.enrollment_requests (tenant_id, requested_at desc, id desc);

comment on table lms.enrollment_requests is
  'pending: staff has yet to decide; waiting: let in, but all seats are taken. Served in the order of requested_at.';
comment on column lms.enrollment_requests.unit_id is 'The person''s unit when they asked: who decides there sees the request.';
comment on column lms.enrollment_requests.decided_by is 'Null where the system decided.';

create trigger _100_timestamps before update on lms.enrollment_requests
  for each row execute function private.touch_updated_at();

create function private.is_asking(p_course_id uuid, p_user_id uuid)
returns boolean
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  return exists (
    select from lms.enrollment_requests r
    where r.course_id = p_course_id and r.user_id = p_user_id and r.status in ('pending', 'waiting')
  );
end
$$;

comment on function private.is_asking is 'True while the person has asked to take the course: being let in is then their doing.';

-- However somebody gets in, they have stopped asking.
create function private.close_enrollment_requests()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  update lms.enrollment_requests r
  set status = 'enrolled', decided_at = now(), decided_by = new.enrolled_by
  where r.course_id = new.course_id and r.user_id = new.user_id and r.status in ('pending', 'waiting');
  return null;
end
$$;

create trigger _500_requests after insert on lms.enrollments
  for each row execute function private.close_enrollment_requests();

-- =====================================================================================================
-- The queue
-- =====================================================================================================

-- Seats that somebody in the queue waits for are not free for those behind, nor for newcomers.
create function private.count_waiting_ahead(p_course_id uuid, p_user_id uuid)
returns integer
language plpgsql
stable
set search_path = ''
as $$
declare
  v_mine record;
begin
  select r.requested_at, r.id into v_mine
  from lms.enrollment_requests r
  where r.course_id = p_course_id and r.user_id = p_user_id and r.status = 'waiting';
  return (
    select count(*)
    from lms.enrollment_requests r
    where r.course_id = p_course_id and r.status = 'waiting' and r.user_id <> p_user_id
      and (v_mine.id is null or (r.requested_at, r.id) < (v_mine.requested_at, v_mine.id))
  );
end
$$;

comment on function private.count_waiting_ahead is 'How many wait for a seat before this person; all who wait, if they do not.';

-- INV-O4: who gets in follows from who waits and how many seats are free, not from when somebody left. Courses and
-- memberships that are busy are left to the next run: it holds those of others already. Who waits by their own wish is
-- subject to what learners are subject to (price, closing, prerequisites), whom staff has let in only to facts. Somebody who
-- may no longer begin loses their place; where approval is required since, staff decides.
create function ops.fill_free_seats()
returns bigint
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_request record;
  v_full uuid[] := '{}'::uuid[];
  v_reasons lms.eligibility_reason[];
  v_done bigint := 0;
begin
  for v_request in
    select r.id, r.course_id, r.user_id, r.tenant_id, r.decided_by is null as is_self
    from lms.enrollment_requests r
    join lms.courses c on c.id = r.course_id and c.status = 'published' and c.deleted_at is null
    where r.status = 'waiting' and (c.capacity is null or c.capacity > private.count_taken_seats(c.id))
    order by r.course_id, r.requested_at, r.id
    limit 1000
  loop
    continue when v_request.course_id = any (v_full);
    if not private.hold_course(v_request.course_id, p_wait => false) then
      v_full := v_full || v_request.course_id;
      continue;
    end if;
    perform from lms.memberships m
    where m.tenant_id = v_request.tenant_id and m.user_id = v_request.user_id
    for no key update skip locked;
    if not found and exists (
      select from lms.memberships m where m.tenant_id = v_request.tenant_id and m.user_id = v_request.user_id
    ) then
      v_full := v_full || v_request.course_id;
      continue;
    end if;

    -- It may have been withdrawn since; whoever is doing that now is waited for.
    perform from lms.enrollment_requests r where r.id = v_request.id and r.status = 'waiting' for no key update;
    continue when not found;

    select array_agg(o) into v_reasons
    from private.enrollment_obstacles(v_request.course_id, v_request.user_id, v_request.is_self) o;
    if exists (select from unnest(v_reasons) r where r.code = 'capacity_full') then
      v_full := v_full || v_request.course_id;
    elsif v_reasons[1].code = 'approval_required' and cardinality(v_reasons) = 1 then
      update lms.enrollment_requests r set status = 'pending' where r.id = v_request.id;
      v_done := v_done + 1;
    elsif v_reasons is not null then
      update lms.enrollment_requests r
      set status = 'declined', decided_at = now(), decision_reason = (
        select o.message from unnest(v_reasons) o where o.code <> 'approval_required' limit 1
      )
      where r.id = v_request.id and r.status = 'waiting';
      v_done := v_done + 1;
    else
      insert into lms.enrollments (course_id, user_id, source) values (v_request.course_id, v_request.user_id, 'self');
      v_done := v_done + 1;
    end if;
  end loop;
  return v_done;
end
$$;

comment on function ops.fill_free_seats is
  'Enrols those who wait, in order, as far as there are seats; returns how many requests it dealt with.';

-- =====================================================================================================
-- Calls
-- =====================================================================================================

-- Definer, because nobody may write the table; it acts for the caller only. Locks as beginning a cycle does: course, then
-- membership, so that places in the queue are given out one after the other.
create function private.request_enrollment_of_caller(p_course_id uuid, p_message text)
returns lms.enrollment_requests
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_user_id constant uuid := (select auth.uid());
  v_course lms.courses;
  v_request lms.enrollment_requests;
  v_reasons lms.eligibility_reason[];
  v_status text;
begin
  select * into v_course from lms.courses c where c.id = p_course_id;
  perform private.hold_course(p_course_id);
  perform from lms.memberships m
  where m.tenant_id = v_course.tenant_id and m.user_id = v_user_id
  for no key update;

  select * into v_request
  from lms.enrollment_requests r
  where r.course_id = p_course_id and r.user_id = v_user_id and r.status in ('pending', 'waiting');
  if found then
    return v_request;
  end if;

  select array_agg(o) into v_reasons from private.enrollment_obstacles(p_course_id, v_user_id, true) o;
  if exists (select from unnest(v_reasons) r where r.code not in ('approval_required', 'capacity_full')) then
    perform private.refuse_enrollment(v_reasons);
  end if;
  v_status := case
    when v_reasons is null then 'enrolled'
    when exists (select from unnest(v_reasons) r where r.code = 'approval_required') then 'pending'
    else 'waiting'
  end;
  if v_status = 'enrolled' then
    insert into lms.enrollments (course_id, user_id) values (p_course_id, v_user_id);
  end if;
  insert into lms.enrollment_requests (tenant_id, course_id, user_id, unit_id, status, message, decided_at)
  values (
    v_course.tenant_id, p_course_id, v_user_id,
    (select m.unit_id from lms.memberships m where m.tenant_id = v_course.tenant_id and m.user_id = v_user_id),
    v_status, p_message, case v_status when 'enrolled' then now() end
  )
  returning * into v_request;
  return v_request;
end
$$;

create function lms.request_enrollment(p_course_id uuid, p_message text default null)
returns lms.enrollment_requests
language plpgsql
volatile
set search_path = ''
as $$
begin
  perform private.require_course(p_course_id);
  return private.request_enrollment_of_caller(p_course_id, p_message);
end
$$;

comment on function lms.request_enrollment is
  'Asks to take a course. With nothing in the way the caller is enrolled at once (status enrolled); where staff has to approve, '
  'the request is pending; where only seats are missing, waiting. Asking again returns the same request. 404 '
  'course_not_found; 409 not_eligible with details = [{code, message, details}] when anything else is in the way.';

-- Definer, because nobody may write the table; so it checks its caller.
create function private.decide_request(p_request_id uuid, p_approve boolean, p_reason text)
returns lms.enrollment_requests
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_request lms.enrollment_requests;
  v_reasons lms.eligibility_reason[];
begin
  select * into v_request from lms.enrollment_requests r where r.id = p_request_id;
  if private.is_api_call() then
    if v_request.user_id = (select auth.uid()) then
      perform private.fail('own_request', 'Nobody decides about their own request.', 403);
    elsif not coalesce(
      private.may_enroll_others(v_request.tenant_id, v_request.course_id, v_request.user_id), false
    ) then
      raise insufficient_privilege using
        message = 'Deciding takes enrollments.write in the person''s unit, or being staff of the course.';
    end if;
  end if;

  perform private.hold_course(v_request.course_id);
  perform from lms.memberships m
  where m.tenant_id = v_request.tenant_id and m.user_id = v_request.user_id
  for no key update;
  select * into v_request from lms.enrollment_requests r where r.id = p_request_id for no key update;
  if v_request.status not in ('pending', 'waiting') then
    perform private.fail(
      'request_is_closed', 'The request is no longer open.', 409, jsonb_build_object('status', v_request.status)
    );
  end if;

  if not p_approve then
    update lms.enrollment_requests r
    set status = 'declined', decided_at = now(), decided_by = (select auth.uid()), decision_reason = p_reason
    where r.id = p_request_id
    returning * into v_request;
    return v_request;
  end if;

  select array_agg(o) into v_reasons
  from private.enrollment_obstacles(v_request.course_id, v_request.user_id, false) o;
  if exists (select from unnest(v_reasons) r where r.code <> 'capacity_full') then
    perform private.refuse_enrollment(v_reasons);
  elsif v_reasons is not null or private.count_waiting_ahead(v_request.course_id, v_request.user_id) > 0 then
    -- Whoever asked earlier comes first, also of those who were let in before.
    update lms.enrollment_requests r
    set status = 'waiting', decided_by = (select auth.uid()), decision_reason = p_reason
    where r.id = p_request_id
    returning * into v_request;
  else
    update lms.enrollment_requests r set decision_reason = p_reason where r.id = p_request_id;
    insert into lms.enrollments (course_id, user_id, source, enrolled_by)
    values (v_request.course_id, v_request.user_id, 'assigned', (select auth.uid()));
    select * into v_request from lms.enrollment_requests r where r.id = p_request_id;
  end if;
  return v_request;
end
$$;

create function lms.decide_enrollment_request(p_request_id uuid, p_approve boolean, p_reason text default null)
returns lms.enrollment_requests
language plpgsql
volatile
set search_path = ''
as $$
begin
  -- Read as the caller: a request that they do not see does not exist for them.
  if not exists (select from lms.enrollment_requests r where r.id = p_request_id) then
    perform private.fail('request_not_found', 'There is no such request.', 404);
  elsif p_approve is null then
    perform private.fail('decision_required', 'Say true or false.', 422, jsonb_build_object('field', 'p_approve'));
  end if;
  return private.decide_request(p_request_id, p_approve, p_reason);
end
$$;

comment on function lms.decide_enrollment_request is
  'Lets somebody in, or not: enrolled, or waiting while all seats are taken or others wait before them. By staff of the '
  'course, or with enrollments.write in the person''s scope. 404 request_not_found; 403 own_request, 42501; 409 '
  'request_is_closed, not_eligible; 422 decision_required.';

create function private.withdraw_request_of_caller(p_request_id uuid)
returns lms.enrollment_requests
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_request lms.enrollment_requests;
begin
  select * into v_request from lms.enrollment_requests r where r.id = p_request_id for no key update;
  if private.is_api_call() and v_request.user_id is distinct from (select auth.uid()) then
    raise insufficient_privilege using message = 'A request is withdrawn by whoever made it.';
  elsif v_request.status in ('pending', 'waiting') then
    update lms.enrollment_requests r
    set status = 'withdrawn', decided_at = now(), decided_by = (select auth.uid())
    where r.id = p_request_id
    returning * into v_request;
  elsif v_request.status <> 'withdrawn' then
    perform private.fail(
      'request_is_closed', 'The request is no longer open.', 409, jsonb_build_object('status', v_request.status)
    );
  end if;
  return v_request;
end
$$;

create function lms.withdraw_enrollment_request(p_request_id uuid)
returns lms.enrollment_requests
language plpgsql
volatile
set search_path = ''
as $$
begin
  if not exists (select from lms.enrollment_requests r where r.id = p_request_id) then
    perform private.fail('request_not_found', 'There is no such request.', 404);
  end if;
  return private.withdraw_request_of_caller(p_request_id);
end
$$;

comment on function lms.withdraw_enrollment_request is
  'Stops asking; doing so again changes nothing. 404 request_not_found; 403 for somebody else''s; 409 request_is_closed.';

grant execute on function
  private.request_enrollment_of_caller, private.decide_request, private.withdraw_request_of_caller
to authenticated, service_role;
grant execute on function lms.request_enrollment, lms.decide_enrollment_request, lms.withdraw_enrollment_request
  to authenticated, service_role;

-- =====================================================================================================
-- Policies and grants
-- =====================================================================================================

-- Who decides sees who asks.
create or replace view private.learner_scopes as
  select e.user_id, e.tenant_id, e.unit_id, e.course_id from lms.enrollments e
  union all
  select r.user_id, r.tenant_id, r.unit_id, r.course_id
  from lms.enrollment_requests r
  where r.status in ('pending', 'waiting');

alter table lms.enrollment_requests enable row level security;

grant all on lms.enrollment_requests to service_role;
grant select on lms.enrollment_requests to authenticated;

create policy "Requests are seen by whoever made them, staff and in scope" on lms.enrollment_requests
  for select to authenticated
  using (
    (user_id = (select auth.uid()) and tenant_id <> all (array(select private.closed_tenants())))
    or tenant_id = any (array(select private.tenants_where('enrollments.read')))
    or unit_id = any (array(select private.units_where('enrollments.read')))
    or course_id = any (array(select private.staffed_courses()))
  );

notify pgrst, 'reload schema';
