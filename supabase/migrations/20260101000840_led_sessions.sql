-- Led sessions: training that happens at a place and a time, who has a seat, who was there, and who showed that they can do it.
-- Undo: delete from ops.jobs where name in ('fill-session-seats', 'settle-attendance'), with their cron jobs; drop functions
-- lms.book_session, cancel_booking, record_attendance, sign_off, withdraw_sign_off, cancel_session, ops.fill_session_seats,
-- settle_attendance; drop tables lms.session_bookings, led_sessions; then the functions below; take private.led_evidence out of
-- private.lesson_evidence and private.follows_from_others out of the triggers that name it.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Tables
-- =====================================================================================================

create table lms.led_sessions (
  id uuid primary key default private.uuid_v7(),
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  course_id uuid not null,
  lesson_id uuid,
  unit_id uuid,
  title private.title not null,
  starts_at timestamptz not null,
  ends_at timestamptz not null,
  place_name text constraint session_place_is_1_to_300_characters check (place_name ~ '\S' and length(place_name) <= 300),
  place_address text constraint session_address_is_1_to_1000_characters
    check (place_address ~ '\S' and length(place_address) <= 1000),
  seats integer constraint session_seats_are_1_to_100000 check (seats between 1 and 100000),
  trainer_id uuid constraint session_trainer_is_a_person references public.profiles (id),
  trainer_name text constraint session_trainer_name_is_1_to_300_characters
    check (trainer_name ~ '\S' and length(trainer_name) <= 300),
  trainer_address text constraint session_trainer_address_is_1_to_1000_characters
    check (trainer_address ~ '\S' and length(trainer_address) <= 1000),
  materials text constraint session_materials_are_1_to_5000_characters check (materials ~ '\S' and length(materials) <= 5000),
  status text not null default 'scheduled'
    constraint session_status_is_known check (status in ('scheduled', 'held', 'cancelled')),
  held_at timestamptz,
  cancelled_at timestamptz,
  cancelled_by uuid,
  cancel_reason text constraint session_cancel_reason_is_1_to_1000_characters
    check (cancel_reason ~ '\S' and length(cancel_reason) <= 1000),
  created_by uuid,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint session_of_its_course unique (tenant_id, course_id, id),
  constraint session_course_is_of_the_same_tenant foreign key (tenant_id, course_id) references lms.courses (tenant_id, id),
  constraint session_lesson_is_of_the_same_course foreign key (tenant_id, course_id, lesson_id)
    references lms.lessons (tenant_id, course_id, id),
  constraint session_unit_is_of_the_same_tenant foreign key (tenant_id, unit_id)
    references lms.org_units (tenant_id, id) on delete set null (unit_id),
  constraint session_trainer_is_a_member foreign key (tenant_id, trainer_id) references lms.memberships (tenant_id, user_id),
  constraint session_has_one_trainer check (trainer_id is null or trainer_name is null),
  -- isfinite: the end of an endless session would never come, and its seats never be free.
  constraint session_ends_within_31_days_after_it_begins
    check (isfinite(starts_at) and ends_at > starts_at and ends_at <= starts_at + interval '31 days'),
  constraint session_has_the_dates_of_its_status check (
    (status = 'held') = (held_at is not null) and (status = 'cancelled') = (cancelled_at is not null)
    and (cancelled_at is null) = (cancel_reason is null)
  )
);
create index led_sessions_by_course on lms.led_sessions (course_id, starts_at);
create index led_sessions_by_course_of_tenant on lms.led_sessions (tenant_id, course_id);
create index led_sessions_by_lesson on lms.led_sessions (tenant_id, course_id, lesson_id);
create index led_sessions_by_tenant on lms.led_sessions (tenant_id, starts_at, id);
create index led_sessions_by_unit on lms.led_sessions (unit_id, starts_at);
create index led_sessions_by_unit_of_tenant on lms.led_sessions (tenant_id, unit_id);
create index led_sessions_by_trainer on lms.led_sessions (trainer_id, starts_at);
create index led_sessions_by_trainer_of_tenant on lms.led_sessions (tenant_id, trainer_id);

comment on table lms.led_sessions is
  'Training at a place and a time, led by a trainer. Staff of the course, or enrollments.write in the tenant or the session''s '
  'unit, plan it; who takes the course books it: book_session. A lesson whose completion_rule is attendance or sign_off completes by '
  'the sessions that name it.';
comment on column lms.led_sessions.tenant_id is 'Taken from the course.';
comment on column lms.led_sessions.lesson_id is 'The lesson that is taught; null: the course as a whole. Stays as it was planned.';
comment on column lms.led_sessions.unit_id is 'Whose managers plan it, beside the staff of the course; null: nobody else''s.';
comment on column lms.led_sessions.starts_at is 'An instant; show it in the tenant''s time zone, which is the place''s.';
comment on column lms.led_sessions.seats is 'Null: any number.';
comment on column lms.led_sessions.trainer_id is 'A member who teaches, or trainer_name for somebody from outside.';
comment on column lms.led_sessions.trainer_address is
  'Training records print it: 49 CFR 172.704(d)(4). Who takes the course sees it: a business address.';
comment on column lms.led_sessions.materials is
  'A description of what was used, or where it is kept; null: what the course says. Training records print it.';
comment on column lms.led_sessions.status is 'held as soon as attendance is recorded; cancelled by cancel_session.';

create table lms.session_bookings (
  id uuid primary key default private.uuid_v7(),
  tenant_id uuid not null,
  session_id uuid not null,
  course_id uuid not null,
  enrollment_id uuid not null,
  user_id uuid not null constraint booking_is_of_a_person references public.profiles (id),
  status text not null
    constraint booking_status_is_known check (status in ('booked', 'waitlisted', 'cancelled', 'attended', 'absent')),
  booked_at timestamptz not null default now(),
  booked_by uuid,
  cancelled_at timestamptz,
  recorded_at timestamptz,
  recorded_by uuid,
  change_reason text constraint booking_change_reason_is_1_to_1000_characters
    check (change_reason ~ '\S' and length(change_reason) <= 1000),
  signed_off_at timestamptz,
  signed_off_by uuid,
  sign_off_note text constraint sign_off_note_is_1_to_5000_characters
    check (sign_off_note ~ '\S' and length(sign_off_note) <= 5000),
  updated_at timestamptz not null default now(),
  constraint one_booking_per_session_and_cycle unique (session_id, enrollment_id),
  constraint booking_is_of_the_enrolled_learner foreign key (enrollment_id, tenant_id, course_id, user_id)
    references lms.enrollments (id, tenant_id, course_id, user_id),
  constraint booking_is_of_a_session_of_the_course foreign key (tenant_id, course_id, session_id)
    references lms.led_sessions (tenant_id, course_id, id),
  constraint booking_has_the_dates_of_its_status check (
    (status = 'cancelled') = (cancelled_at is not null) and (status in ('attended', 'absent')) = (recorded_at is not null)
  ),
  constraint only_who_was_there_is_signed_off check (signed_off_at is null or status = 'attended'),
  constraint sign_off_note_is_of_a_sign_off check (sign_off_note is null or signed_off_at is not null)
);
create index session_bookings_by_session on lms.session_bookings (tenant_id, course_id, session_id);
create index session_bookings_by_queue on lms.session_bookings (session_id, booked_at, id) where status = 'waitlisted';
create index session_bookings_by_enrollment on lms.session_bookings (enrollment_id, tenant_id, course_id, user_id);
create index session_bookings_by_user on lms.session_bookings (user_id, booked_at desc);
create index session_bookings_by_course on lms.session_bookings (course_id, booked_at desc);
create index session_bookings_by_tenant on lms.session_bookings (tenant_id, booked_at desc, id desc);
-- Evidence that may not have counted yet: ops.settle_attendance.
create index session_bookings_attended on lms.session_bookings (enrollment_id) where status = 'attended';

comment on table lms.session_bookings is
  'Who has a seat in a session, or waits for one, was there, and was signed off. Written by book_session, cancel_booking, '
  'record_attendance, sign_off and withdraw_sign_off.';
comment on column lms.session_bookings.booked_at is 'The order of the waiting list.';
comment on column lms.session_bookings.change_reason is 'Why attendance or sign-off was changed after it had been recorded.';
comment on column lms.session_bookings.signed_off_at is 'When somebody else testified that they can do it.';

create trigger _100_timestamps before update on lms.led_sessions
  for each row execute function private.touch_updated_at();
create trigger _100_timestamps before update on lms.session_bookings
  for each row execute function private.touch_updated_at();

create function private.place_session()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_course record;
begin
  select c.tenant_id, c.deleted_at into v_course from lms.courses c where c.id = new.course_id;
  new.tenant_id := coalesce(v_course.tenant_id, '00000000-0000-0000-0000-000000000000');
  if private.is_api_call() then
    if v_course.deleted_at is not null then
      perform private.fail('course_not_found', 'There is no such course.', 404);
    elsif new.lesson_id is not null and not exists (
      select from lms.lessons l where l.id = new.lesson_id and l.course_id = new.course_id and l.deleted_at is null
    ) then
      perform private.fail('lesson_not_found', 'The course has no such lesson.', 404);
    end if;
    new.created_by := (select auth.uid());
  end if;
  return new;
end
$$;

create trigger _200_place before insert on lms.led_sessions
  for each row execute function private.place_session();

-- =====================================================================================================
-- Seats
-- =====================================================================================================

-- A seat is free again as soon as the cycle that took it has ended without completion: that is a fact, and waits for no job. Who
-- has booked in two cycles of theirs sits on one chair.
create function private.count_session_seats(p_session_id uuid)
returns integer
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select count(distinct b.user_id)
    from lms.session_bookings b
    join lms.enrollments e on e.id = b.enrollment_id
    where b.session_id = p_session_id and (
      b.status in ('attended', 'absent')
      or (b.status = 'booked' and e.status not in ('dropped', 'expired') and (e.expires_at is null or e.expires_at > now()))
    )
  );
end
$$;

-- INV-E4: the caller holds the session, so that two who give out seats count one after the other. In the order of asking;
-- whoever is no longer taking the course is passed over.
create function private.fill_session(p_session_id uuid)
returns integer
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_session lms.led_sessions;
  v_free integer;
  v_filled integer;
begin
  select * into v_session from lms.led_sessions s where s.id = p_session_id for no key update;
  if v_session.status <> 'scheduled' or v_session.ends_at <= now() then
    return 0;
  end if;
  v_free := coalesce(v_session.seats - private.count_session_seats(p_session_id), 100000);
  update lms.session_bookings b
  set status = 'booked'
  where b.id in (
    select w.id
    from lms.session_bookings w
    join lms.enrollments e on e.id = w.enrollment_id
    where w.session_id = p_session_id and w.status = 'waitlisted' and e.status in ('enrolled', 'in_progress', 'paused')
      and (e.expires_at is null or e.expires_at > now())
    order by w.booked_at, w.id
    limit greatest(v_free, 0)
  );
  get diagnostics v_filled = row_count;
  return v_filled;
end
$$;

-- Fewer seats than are taken would take one from somebody, and nobody says from whom. The row is locked by the update.
create function private.change_session_seats()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_taken constant integer := private.count_session_seats(new.id);
begin
  if new.seats < v_taken then
    perform private.fail(
      'seats_are_taken', 'More seats are taken than that.', 409, jsonb_build_object('taken', v_taken), 'Cancel bookings first.'
    );
  end if;
  return new;
end
$$;

create trigger _300_seats before update of seats on lms.led_sessions
  for each row when (old.seats is distinct from new.seats)
  execute function private.change_session_seats();

create function private.fill_changed_session()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.fill_session(new.id);
  return null;
end
$$;

create trigger _500_fill after update of seats on lms.led_sessions
  for each row when (old.seats is distinct from new.seats)
  execute function private.fill_changed_session();

-- What was held or called off is history; titles and addresses may be put right.
create function private.keep_session_dates()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if private.is_api_call() then
    perform private.fail(
      'session_not_scheduled', 'What was held or cancelled keeps its times and seats.', 409, jsonb_build_object('status', old.status)
    );
  end if;
  return new;
end
$$;

create trigger _250_history before update of starts_at, ends_at, seats on lms.led_sessions
  for each row when (
    old.status <> 'scheduled'
    and (old.starts_at, old.ends_at, old.seats) is distinct from (new.starts_at, new.ends_at, new.seats)
  )
  execute function private.keep_session_dates();

-- INV-O4: seats that became free because a cycle ended, whenever.
create function ops.fill_session_seats(p_batch integer default 1000)
returns integer
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_session_id uuid;
  v_filled integer := 0;
begin
  for v_session_id in
    select s.id
    from lms.led_sessions s
    where s.status = 'scheduled' and s.ends_at > now()
      -- Only those where somebody can be let in: full ones, with people who wait for months, would leave the others no turn.
      and exists (
        select
        from lms.session_bookings b
        join lms.enrollments e on e.id = b.enrollment_id
        where b.session_id = s.id and b.status = 'waitlisted' and e.status in ('enrolled', 'in_progress', 'paused')
          and (e.expires_at is null or e.expires_at > now())
      )
      and (s.seats is null or private.count_session_seats(s.id) < s.seats)
    order by s.starts_at, s.id
    limit p_batch
    for no key update of s skip locked
  loop
    v_filled := v_filled + private.fill_session(v_session_id);
  end loop;
  return v_filled;
end
$$;

comment on function ops.fill_session_seats is
  'Gives free seats of sessions to come to those who wait for them, in order, in at most p_batch sessions; returns how many.';
grant execute on function ops.fill_session_seats to service_role;

-- =====================================================================================================
-- What attendance completes
-- =====================================================================================================

-- INV-P3: for lesson_evidence. Only a session that names the lesson counts for it.
create function private.led_evidence(p_enrollment_id uuid, p_lesson_id uuid, p_rule text)
returns numeric
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  return case when exists (
    select
    from lms.session_bookings b
    join lms.led_sessions s on s.id = b.session_id and s.lesson_id = p_lesson_id
    where b.enrollment_id = p_enrollment_id and b.status = 'attended' and (p_rule = 'attendance' or b.signed_off_at is not null)
  ) then 100 else 0 end;
end
$$;

-- Lets pass exactly what the evidence says, in the transaction that wrote it, whoever recorded it.
create function private.follows_from_attendance(p_enrollment_id uuid, p_lesson_id uuid, p_percentage numeric)
returns boolean
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  return p_percentage = 100 and exists (
    select
    from lms.enrollments e
    join lms.version_lessons l on l.version_id = e.version_id and l.lesson_id = p_lesson_id
      and l.completion_rule in ('attendance', 'sign_off')
    join lms.session_bookings b on b.enrollment_id = e.id and b.updated_at = now()
    join lms.led_sessions s on s.id = b.session_id and s.lesson_id = p_lesson_id
    where e.id = p_enrollment_id and private.led_evidence(p_enrollment_id, p_lesson_id, l.completion_rule) = 100
  );
end
$$;

-- INV-P3: what others than the learner have recorded, by calls that check them: graders, or trainers.
create function private.follows_from_others(p_enrollment_id uuid, p_lesson_id uuid, p_percentage numeric)
returns boolean
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  return private.follows_from_scores(p_enrollment_id, p_lesson_id, p_percentage)
    or private.follows_from_attendance(p_enrollment_id, p_lesson_id, p_percentage);
end
$$;

-- INV-P1: up only. Attendance that is corrected later takes nothing back; staff does, by correct_progress, which is on record.
-- INV-P4: of a lesson that is not open yet the attendance waits, and counts when it is: ops.settle_attendance.
-- The caller holds the enrolment.
create function private.settle_attendance_of(p_enrollment_id uuid, p_lesson_id uuid)
returns boolean
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_enrollment lms.enrollments;
  v_rule text;
begin
  select * into v_enrollment from lms.enrollments e where e.id = p_enrollment_id;
  select l.completion_rule into v_rule
  from lms.version_lessons l
  where l.version_id = v_enrollment.version_id and l.lesson_id = p_lesson_id
    and l.completion_rule in ('attendance', 'sign_off');
  if not found or v_enrollment.status not in ('enrolled', 'in_progress', 'paused')
    or private.led_evidence(p_enrollment_id, p_lesson_id, v_rule) < 100
    or exists (select from private.closed_lessons(p_enrollment_id, p_lesson_id))
  then
    return false;
  end if;
  insert into lms.lesson_progress as p (enrollment_id, user_id, lesson_id, progress_percentage)
  values (p_enrollment_id, v_enrollment.user_id, p_lesson_id, 100)
  on conflict (enrollment_id, lesson_id) do update
  set progress_percentage = 100, completed_at = coalesce(p.completed_at, now()), last_accessed_at = now(), updated_at = now()
  where p.progress_percentage < 100;
  return found;
end
$$;

-- INV-O4: from the data: lessons that opened after somebody had been there, and cycles that moved to a version which asks for it.
-- What staff has taken back by correct_progress after the attendance was recorded stays taken back.
create function ops.settle_attendance(p_batch integer default 1000)
returns integer
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_pending record;
  v_settled integer := 0;
begin
  for v_pending in
    select distinct e.course_id, e.user_id, b.enrollment_id, s.lesson_id
    from lms.session_bookings b
    join lms.led_sessions s on s.id = b.session_id
    join lms.enrollments e on e.id = b.enrollment_id and e.status in ('enrolled', 'in_progress', 'paused')
    join lms.version_lessons l on l.version_id = e.version_id and l.lesson_id = s.lesson_id
      and l.completion_rule in ('attendance', 'sign_off')
    where b.status = 'attended' and (l.completion_rule = 'attendance' or b.signed_off_at is not null)
      and not exists (
        select
        from lms.lesson_progress p
        where p.enrollment_id = b.enrollment_id and p.lesson_id = s.lesson_id and p.completed_at is not null
      )
      and not exists (
        select
        from lms.progress_corrections c
        where c.enrollment_id = b.enrollment_id and c.lesson_id = s.lesson_id
          and c.corrected_at > coalesce(b.signed_off_at, b.recorded_at)
      )
      -- What waits, for months perhaps, is not held: its learner goes on meanwhile.
      and not exists (select from private.closed_lessons(b.enrollment_id, s.lesson_id))
    order by e.course_id, e.user_id
  loop
    exit when v_settled >= p_batch;
    perform from lms.enrollments e where e.id = v_pending.enrollment_id for no key update skip locked;
    continue when not found;
    begin
      v_settled := v_settled + private.settle_attendance_of(v_pending.enrollment_id, v_pending.lesson_id)::integer;
    exception
      -- One that fails holds up no other.
      when others then
        raise warning 'Attendance of enrolment % does not count: %: %', v_pending.enrollment_id, sqlstate, sqlerrm;
    end;
  end loop;
  return v_settled;
end
$$;

comment on function ops.settle_attendance is
  'Completes lessons that complete by attendance or sign-off and were not open when it was recorded, at most p_batch per run; '
  'returns how many.';
grant execute on function ops.settle_attendance to service_role;

-- =====================================================================================================
-- Who runs a session
-- =====================================================================================================

create function private.may_run_session(p_session lms.led_sessions)
returns boolean
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  return not private.is_api_call() or coalesce(
    p_session.course_id = any (array(select private.staffed_courses()))
      or p_session.tenant_id = any (array(select private.tenants_where('enrollments.write')))
      or p_session.unit_id = any (array(select private.units_where('enrollments.write'))),
    false
  );
end
$$;

-- Read as the caller: a session or booking that they do not see does not exist for them.
create function private.require_session(p_session_id uuid)
returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  if not exists (select from lms.led_sessions s where s.id = p_session_id) then
    perform private.fail('session_not_found', 'There is no such session.', 404);
  end if;
end
$$;

create function private.require_booking(p_booking_id uuid)
returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  if not exists (select from lms.session_bookings b where b.id = p_booking_id) then
    perform private.fail('booking_not_found', 'There is no such booking.', 404);
  end if;
end
$$;

create function private.check_session_reason(p_reason text)
returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  if coalesce(p_reason, '') !~ '\S' or length(p_reason) > 1000 then
    perform private.fail(
      'invalid_reason', 'This takes a reason of up to 1000 characters.', 422, jsonb_build_object('field', 'p_reason')
    );
  end if;
end
$$;

-- =====================================================================================================
-- Booking
-- =====================================================================================================
-- Definer, because nobody may write the tables; so they check their caller. All take the enrolment first, then the session,
-- then bookings.

-- The cycle that somebody takes now, held; none where it is not theirs to take.
create function private.hold_open_cycle(p_course_id uuid, p_user_id uuid)
returns lms.enrollments
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_enrollment lms.enrollments;
begin
  select * into v_enrollment
  from lms.enrollments e
  where e.user_id = p_user_id and e.course_id = p_course_id and e.status in ('enrolled', 'in_progress', 'paused')
    and (e.expires_at is null or e.expires_at > now())
  for no key update;
  return v_enrollment;
end
$$;

create function private.book_session_of(p_session_id uuid, p_user_id uuid)
returns lms.session_bookings
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_self constant boolean := p_user_id is not distinct from (select auth.uid());
  v_session lms.led_sessions;
  v_enrollment lms.enrollments;
  v_booking lms.session_bookings;
  v_is_free boolean;
begin
  select * into v_session from lms.led_sessions s where s.id = p_session_id;
  if private.is_api_call() then
    if (v_self and not v_session.tenant_id = any (array(select private.joined_tenants())))
      or exists (select from lms.courses c where c.id = v_session.course_id and c.deleted_at is not null)
    then
      perform private.fail('session_not_found', 'There is no such session.', 404);
    elsif not v_self and not coalesce(private.may_enroll_others(v_session.tenant_id, v_session.course_id, p_user_id), false) then
      raise insufficient_privilege using message = 'Booking for others takes enrollments.write in their unit, or being staff of the course.';
    end if;
  end if;
  v_enrollment := private.hold_open_cycle(v_session.course_id, p_user_id);
  if v_enrollment.id is null then
    perform private.fail(
      'not_enrolled', 'The course is not being taken.', 409, jsonb_build_object('course_id', v_session.course_id), 'Enrol first: lms.enroll.'
    );
  elsif v_enrollment.status = 'paused' then
    perform private.fail('enrollment_paused', 'The enrolment is paused.', 409, null, 'Resume it first: set_enrollment_status.');
  end if;

  -- INV-E4: the last seat is given out by one after the other.
  select * into v_session from lms.led_sessions s where s.id = p_session_id for no key update;
  if v_session.status = 'cancelled' then
    perform private.fail('session_cancelled', 'The session was cancelled.', 409);
  elsif v_session.status = 'held' or v_session.starts_at <= now() then
    perform private.fail('session_over', 'The session has begun.', 409, jsonb_build_object('starts_at', v_session.starts_at));
  end if;
  select * into v_booking
  from lms.session_bookings b
  where b.session_id = p_session_id and b.enrollment_id = v_enrollment.id;
  if v_booking.status in ('booked', 'waitlisted') then
    return v_booking;
  end if;
  -- Those who were waiting come first.
  perform private.fill_session(p_session_id);
  v_is_free := v_session.seats is null or private.count_session_seats(p_session_id) < v_session.seats or exists (
    -- The seat that they took in the cycle before.
    select
    from lms.session_bookings b
    join lms.enrollments e on e.id = b.enrollment_id and e.status = 'completed'
    where b.session_id = p_session_id and b.user_id = p_user_id and b.status = 'booked'
  );
  insert into lms.session_bookings as b (tenant_id, session_id, course_id, enrollment_id, user_id, status, booked_at, booked_by)
  values (
    v_session.tenant_id, p_session_id, v_session.course_id, v_enrollment.id, p_user_id,
    case when v_is_free then 'booked' else 'waitlisted' end, clock_timestamp(), (select auth.uid())
  )
  -- Coming back is to the end of the queue.
  on conflict (session_id, enrollment_id) do update
  set status = excluded.status, booked_at = excluded.booked_at, booked_by = excluded.booked_by, cancelled_at = null
  returning * into v_booking;
  return v_booking;
end
$$;

create function lms.book_session(p_session_id uuid, p_user_id uuid default null)
returns lms.session_bookings
language plpgsql
volatile
set search_path = ''
as $$
begin
  perform private.require_session(p_session_id);
  return private.book_session_of(p_session_id, coalesce(p_user_id, (select auth.uid())));
end
$$;

comment on function lms.book_session is
  'Takes a seat in a session for the caller, or with rights for somebody else who takes its course; booked, or waitlisted when all '
  'seats are taken. Again changes nothing. 404 session_not_found; 409 not_enrolled, enrollment_paused, session_cancelled, session_over; '
  '403 without rights.';

create function private.cancel_booking_of(p_booking_id uuid)
returns lms.session_bookings
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_booking lms.session_bookings;
  v_session lms.led_sessions;
  v_is_staff boolean;
begin
  select * into v_booking from lms.session_bookings b where b.id = p_booking_id;
  v_is_staff := not private.is_api_call()
    or coalesce(private.may_enroll_others(v_booking.tenant_id, v_booking.course_id, v_booking.user_id), false);
  if not v_is_staff and not (
    v_booking.user_id = (select auth.uid()) and v_booking.tenant_id = any (array(select private.joined_tenants()))
  ) then
    raise insufficient_privilege using message = 'Cancelling for others takes enrollments.write in their unit, or being staff of the course.';
  end if;
  select * into v_session from lms.led_sessions s where s.id = v_booking.session_id for no key update;
  select * into v_booking from lms.session_bookings b where b.id = p_booking_id for no key update;
  if v_booking.status = 'cancelled' then
    return v_booking;
  elsif v_booking.status in ('attended', 'absent') then
    perform private.fail('attendance_recorded', 'Attendance was recorded: it is not cancelled any more.', 409);
  elsif v_session.starts_at <= now() and not v_is_staff then
    -- Or being absent could be undone.
    perform private.fail('session_over', 'The session has begun.', 409, jsonb_build_object('starts_at', v_session.starts_at));
  end if;
  update lms.session_bookings b
  set status = 'cancelled', cancelled_at = now()
  where b.id = p_booking_id
  returning * into v_booking;
  perform private.fill_session(v_session.id);
  return v_booking;
end
$$;

create function lms.cancel_booking(p_booking_id uuid)
returns lms.session_bookings
language plpgsql
volatile
set search_path = ''
as $$
begin
  perform private.require_booking(p_booking_id);
  return private.cancel_booking_of(p_booking_id);
end
$$;

comment on function lms.cancel_booking is
  'Gives a seat back, before the session begins; staff also later, as long as attendance is not recorded. The first who waits gets '
  'it. Again changes nothing. 404 booking_not_found; 409 session_over, attendance_recorded; 403 without rights.';

create function private.cancel_session_of(p_session_id uuid, p_reason text)
returns lms.led_sessions
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_session lms.led_sessions;
begin
  select * into v_session from lms.led_sessions s where s.id = p_session_id for no key update;
  if not private.may_run_session(v_session) then
    raise insufficient_privilege using message = 'Sessions are run by staff of the course, or with enrollments.write in their scope.';
  elsif v_session.status = 'cancelled' then
    return v_session;
  elsif v_session.status = 'held' then
    perform private.fail('session_over', 'The session was held.', 409);
  end if;
  update lms.session_bookings b
  set status = 'cancelled', cancelled_at = now()
  where b.session_id = p_session_id and b.status in ('booked', 'waitlisted');
  update lms.led_sessions s
  set status = 'cancelled', cancelled_at = now(), cancelled_by = (select auth.uid()), cancel_reason = p_reason
  where s.id = p_session_id
  returning * into v_session;
  return v_session;
end
$$;

create function lms.cancel_session(p_session_id uuid, p_reason text)
returns lms.led_sessions
language plpgsql
volatile
set search_path = ''
as $$
begin
  perform private.require_session(p_session_id);
  perform private.check_session_reason(p_reason);
  return private.cancel_session_of(p_session_id, p_reason);
end
$$;

comment on function lms.cancel_session is
  'Calls a session off, with all its bookings; again changes nothing. By staff of the course, or with enrollments.write in the tenant '
  'or the session''s unit: 403. 404 session_not_found; 409 session_over; 422 invalid_reason.';

-- =====================================================================================================
-- Attendance
-- =====================================================================================================

-- What is wrong with the rows, as a list; empty when nothing is.
create function private.find_attendance_faults(p_rows jsonb)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  if jsonb_typeof(p_rows) is distinct from 'array' or jsonb_array_length(p_rows) not between 1 and 1000 then
    return '[{"code": "not_a_list"}]'::jsonb;
  end if;
  return (
    select coalesce(jsonb_agg(jsonb_build_object('row', f.place, 'code', f.code) order by f.place), '[]')
    from (
      select
        r.place - 1 as place,
        case
          when jsonb_typeof(r.doc) <> 'object' then 'not_an_object'
          when r.doc - array['user_id', 'status'] <> '{}' then 'unknown_field'
          when coalesce(r.doc ->> 'user_id', '') !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then 'invalid_id'
          when coalesce(r.doc ->> 'status', '') not in ('attended', 'absent') then 'invalid_status'
          when count(*) over (partition by lower(r.doc ->> 'user_id')) > 1 then 'duplicate_row'
        end as code
      from (
        select e.doc, e.place from jsonb_array_elements(p_rows) with ordinality as e (doc, place)
      ) r
    ) f
    where f.code is not null
  );
end
$$;

create function private.record_attendance_of(p_session_id uuid, p_rows jsonb, p_reason text)
returns setof lms.session_bookings
language plpgsql
volatile security definer
rows 20
set search_path = ''
as $$
declare
  v_session lms.led_sessions;
  v_row record;
  v_enrollment lms.enrollments;
  v_booking lms.session_bookings;
  v_missing jsonb;
begin
  select * into v_session from lms.led_sessions s where s.id = p_session_id;
  if not private.may_run_session(v_session) then
    raise insufficient_privilege using message = 'Sessions are run by staff of the course, or with enrollments.write in their scope.';
  elsif private.is_api_call() and exists (
    select from jsonb_array_elements(p_rows) as r where (r ->> 'user_id')::uuid = (select auth.uid())
  ) then
    perform private.fail('own_attendance', 'Nobody records their own attendance.', 403);
  end if;

  -- The cycles first, in the order of people, as all who lock several: the booked one, else the one that is taken now. Who runs
  -- a session for one unit records nothing of people of another: to them they are not there.
  perform e.id
  from lms.enrollments e
  where e.course_id = v_session.course_id
    and e.user_id in (select (r ->> 'user_id')::uuid from jsonb_array_elements(p_rows) as r)
    and (
      e.status in ('enrolled', 'in_progress', 'paused')
      or exists (select from lms.session_bookings b where b.session_id = p_session_id and b.enrollment_id = e.id)
    )
  order by e.user_id, e.cycle
  for no key update;
  select * into v_session from lms.led_sessions s where s.id = p_session_id for no key update;
  if v_session.status = 'cancelled' then
    perform private.fail('session_cancelled', 'The session was cancelled.', 409);
  elsif v_session.starts_at > now() then
    perform private.fail('session_not_begun', 'The session has not begun.', 409, jsonb_build_object('starts_at', v_session.starts_at));
  end if;

  for v_row in
    select (r.doc ->> 'user_id')::uuid as user_id, r.doc ->> 'status' as status, r.place - 1 as place
    from jsonb_array_elements(p_rows) with ordinality as r (doc, place)
    order by 1
  loop
    v_booking := null;
    v_enrollment := null;
    select b.* into v_booking
    from lms.session_bookings b
    join lms.enrollments e on e.id = b.enrollment_id
    where b.session_id = p_session_id and b.user_id = v_row.user_id
    order by e.cycle desc
    limit 1;
    if v_booking.id is null or (v_booking.recorded_at is null and exists (
      select from lms.enrollments e where e.id = v_booking.enrollment_id and e.status in ('completed', 'dropped', 'expired')
    )) then
      -- Who came without a booking, or begins anew since, was there all the same: a fact is not limited by seats. It counts for
      -- the cycle that is taken now, not for one that was over before.
      v_enrollment := private.hold_open_cycle(v_session.course_id, v_row.user_id);
      if v_enrollment.id is not null then
        v_booking := null;
      end if;
    end if;
    if (v_booking.id is null and v_enrollment.id is null) or (private.is_api_call() and not coalesce(
      private.may_enroll_others(v_session.tenant_id, v_session.course_id, v_row.user_id), false
    )) then
      v_missing := coalesce(v_missing, '[]') || jsonb_build_object('row', v_row.place, 'code', 'person_not_found');
      continue;
    elsif v_booking.status in ('attended', 'absent') and v_booking.status <> v_row.status then
      perform private.check_session_reason(p_reason);
      if v_booking.signed_off_at is not null then
        perform private.fail(
          'signed_off', 'They were signed off.', 409, jsonb_build_object('booking_id', v_booking.id),
          'Withdraw the sign-off first: withdraw_sign_off.'
        );
      end if;
    end if;
    if v_booking.id is null then
      insert into lms.session_bookings (
        tenant_id, session_id, course_id, enrollment_id, user_id, status, booked_by, recorded_at, recorded_by
      )
      values (
        v_session.tenant_id, p_session_id, v_session.course_id, v_enrollment.id, v_row.user_id, v_row.status, (select auth.uid()),
        now(), (select auth.uid())
      )
      returning * into v_booking;
    elsif v_booking.status <> v_row.status then
      update lms.session_bookings b
      set status = v_row.status, recorded_at = now(), recorded_by = (select auth.uid()), cancelled_at = null,
          change_reason = case when b.recorded_at is not null then p_reason end
      where b.id = v_booking.id
      returning * into v_booking;
    end if;
    if v_booking.status = 'attended' and v_session.lesson_id is not null then
      perform private.settle_attendance_of(v_booking.enrollment_id, v_session.lesson_id);
    end if;
    return next v_booking;
  end loop;
  if v_missing is not null then
    perform private.fail('invalid_rows', 'Some rows name people who do not take the course; nothing was recorded.', 422, v_missing);
  end if;
  update lms.led_sessions s
  set status = 'held', held_at = now()
  where s.id = p_session_id and s.status = 'scheduled';
end
$$;

create function lms.record_attendance(p_session_id uuid, p_rows jsonb, p_reason text default null)
returns setof lms.session_bookings
language plpgsql
volatile
rows 20
set search_path = ''
as $$
declare
  v_faults jsonb;
begin
  perform private.require_session(p_session_id);
  v_faults := private.find_attendance_faults(p_rows);
  if v_faults <> '[]' then
    perform private.fail('invalid_rows', 'Some rows cannot be read; nothing was recorded.', 422, v_faults);
  end if;
  return query select * from private.record_attendance_of(p_session_id, p_rows, p_reason);
end
$$;

comment on function lms.record_attendance is
  'Records who was there: p_rows = [{user_id, status: attended or absent}], at most 1,000, all or nothing. A lesson that completes by '
  'attendance completes. Changing what was recorded takes p_reason, and takes back no completion: that is correct_progress. People without '
  'a booking are added. By staff of the course, or with enrollments.write in the tenant or the session''s unit, of people in that '
  'scope; nobody for themselves: 403 own_attendance. 404 session_not_found; 409 session_cancelled, session_not_begun, signed_off; '
  '422 invalid_rows [{row, code}], invalid_reason.';

-- =====================================================================================================
-- Sign-off
-- =====================================================================================================

-- The booking, with its cycle and session held, in their order, for somebody who may testify about the person.
create function private.hold_booking(p_booking_id uuid)
returns lms.session_bookings
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_booking lms.session_bookings;
  v_session lms.led_sessions;
begin
  select * into v_booking from lms.session_bookings b where b.id = p_booking_id;
  perform from lms.enrollments e where e.id = v_booking.enrollment_id for no key update;
  select * into v_session from lms.led_sessions s where s.id = v_booking.session_id for no key update;
  if private.is_api_call() then
    if v_booking.user_id = (select auth.uid()) then
      perform private.fail('own_sign_off', 'Nobody signs themselves off.', 403);
    elsif not private.may_run_session(v_session)
      or not coalesce(private.may_enroll_others(v_booking.tenant_id, v_booking.course_id, v_booking.user_id), false)
    then
      raise insufficient_privilege using message = 'Signing off takes being staff of the course, or enrollments.write in the person''s scope.';
    end if;
  end if;
  select * into v_booking from lms.session_bookings b where b.id = p_booking_id for no key update;
  return v_booking;
end
$$;

create function private.sign_off_of(p_booking_id uuid, p_note text)
returns lms.session_bookings
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_booking lms.session_bookings := private.hold_booking(p_booking_id);
  v_lesson_id uuid;
begin
  if v_booking.signed_off_at is not null then
    return v_booking;
  elsif v_booking.status <> 'attended' then
    perform private.fail(
      'not_attended', 'Only who was there is signed off.', 409, jsonb_build_object('status', v_booking.status),
      'Record it first: record_attendance.'
    );
  end if;
  update lms.session_bookings b
  set signed_off_at = now(), signed_off_by = (select auth.uid()), sign_off_note = p_note
  where b.id = p_booking_id
  returning * into v_booking;
  select s.lesson_id into v_lesson_id from lms.led_sessions s where s.id = v_booking.session_id;
  if v_lesson_id is not null then
    perform private.settle_attendance_of(v_booking.enrollment_id, v_lesson_id);
  end if;
  return v_booking;
end
$$;

create function lms.sign_off(p_booking_id uuid, p_note text default null)
returns lms.session_bookings
language plpgsql
volatile
set search_path = ''
as $$
begin
  perform private.require_booking(p_booking_id);
  if p_note is not null and (p_note !~ '\S' or length(p_note) > 5000) then
    perform private.fail('invalid_note', 'A note has 1 to 5000 characters.', 422, jsonb_build_object('field', 'p_note'));
  end if;
  return private.sign_off_of(p_booking_id, p_note);
end
$$;

comment on function lms.sign_off is
  'Testifies, in the caller''s own name, that somebody who was there can do what was taught; a lesson that completes by sign-off '
  'completes. Again changes nothing. By those who may record the attendance; nobody for themselves: 403 own_sign_off. 404 '
  'booking_not_found; 409 not_attended; 422 invalid_note.';

create function private.withdraw_sign_off_of(p_booking_id uuid, p_reason text)
returns lms.session_bookings
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_booking lms.session_bookings := private.hold_booking(p_booking_id);
begin
  if v_booking.signed_off_at is null then
    return v_booking;
  end if;
  update lms.session_bookings b
  set signed_off_at = null, signed_off_by = null, sign_off_note = null, change_reason = p_reason
  where b.id = p_booking_id
  returning * into v_booking;
  return v_booking;
end
$$;

create function lms.withdraw_sign_off(p_booking_id uuid, p_reason text)
returns lms.session_bookings
language plpgsql
volatile
set search_path = ''
as $$
begin
  perform private.require_booking(p_booking_id);
  perform private.check_session_reason(p_reason);
  return private.withdraw_sign_off_of(p_booking_id, p_reason);
end
$$;

comment on function lms.withdraw_sign_off is
  'Takes a sign-off back, with a reason; what it has completed stays, and is taken back by correct_progress. By those who may sign '
  'off: 403. 404 booking_not_found; 422 invalid_reason.';

grant execute on function
  private.require_session, private.require_booking, private.check_session_reason, private.find_attendance_faults,
  private.book_session_of, private.cancel_booking_of, private.cancel_session_of, private.record_attendance_of, private.sign_off_of,
  private.withdraw_sign_off_of
to authenticated, service_role;
grant execute on function
  lms.book_session, lms.cancel_booking, lms.cancel_session, lms.record_attendance, lms.sign_off, lms.withdraw_sign_off
to authenticated, service_role;

-- =====================================================================================================
-- Policies and grants
-- =====================================================================================================

alter table lms.led_sessions enable row level security;
alter table lms.session_bookings enable row level security;

grant all on lms.led_sessions to service_role;
grant select on lms.session_bookings to service_role;
grant select on lms.led_sessions, lms.session_bookings to authenticated;
grant insert (
  course_id, lesson_id, unit_id, title, starts_at, ends_at, place_name, place_address, seats, trainer_id, trainer_name,
  trainer_address, materials
) on lms.led_sessions to authenticated;
grant update (
  title, starts_at, ends_at, place_name, place_address, seats, trainer_id, trainer_name, trainer_address, materials
) on lms.led_sessions to authenticated;

create policy "Sessions are seen by learners of the course, staff and managers" on lms.led_sessions
  for select to authenticated
  using (
    course_id = any (array(select private.my_courses()))
    or tenant_id = any (array(select private.tenants_partly_where('enrollments.read')))
  );

-- Also that the course is one that they see: a session tells its id and that it exists.
create policy "Sessions are planned by staff and in scope" on lms.led_sessions
  for insert to authenticated
  with check (
    exists (select from lms.courses c where c.id = course_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('enrollments.write')))
      or unit_id = any (array(select private.units_where('enrollments.write')))
    )
  );

create policy "Sessions are changed by staff and in scope" on lms.led_sessions
  for update to authenticated
  using (
    course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('enrollments.write')))
    or unit_id = any (array(select private.units_where('enrollments.write')))
  )
  with check (
    course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('enrollments.write')))
    or unit_id = any (array(select private.units_where('enrollments.write')))
  );

create policy "Bookings are seen by their learner, staff and in scope" on lms.session_bookings
  for select to authenticated
  using (
    (user_id = (select auth.uid()) and tenant_id <> all (array(select private.closed_tenants())))
    or tenant_id = any (array(select private.tenants_where('enrollments.read')))
    or course_id = any (array(select private.staffed_courses()))
    or exists (
      select from private.enrollment_scopes e
      where e.id = enrollment_id and e.unit_id = any (array(select private.units_where('enrollments.read')))
    )
  );

notify pgrst, 'reload schema';
