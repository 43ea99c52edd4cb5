-- Events: what learners do and answer, one row each, added and never changed.
-- Undo: delete from ops.jobs where name in ('make-event-partitions', 'forget-event-receipts'), with their cron jobs; drop
-- trigger _500_question_events on lms.assessment_attempts; drop views analytics.question_events, analytics.activity_events,
-- analytics.people; drop tables private.question_events, private.activity_events, analytics.event_types,
-- private.event_receipts; then the functions and domains below.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Which activities there are
-- =====================================================================================================

create table analytics.event_types (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid constraint event_type_belongs_to_a_tenant references lms.tenants (id),
  event_type text not null constraint event_type_is_words_joined_by_underscores
    check (event_type ~ '^[a-z][a-z0-9]*(_[a-z0-9]+)*$' and length(event_type) <= 60),
  description text not null default '' constraint event_type_description_is_short check (length(description) <= 500),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint event_type_is_taken unique nulls not distinct (tenant_id, event_type)
);

comment on table analytics.event_types is
  'The activities that events may name: the built-in ones (tenant_id null), and those that a tenant has registered.';
comment on column analytics.event_types.tenant_id is 'Null: built in, for every tenant.';

insert into analytics.event_types (event_type, description) values
  ('view_section', 'A section of a course was opened'),
  ('start_course', 'The learner began to work on the course'),
  ('complete_course', 'The client saw the course come to its end; whether it is completed, enrollments say'),
  ('start_lesson', 'A lesson was opened'),
  ('complete_lesson', 'The client saw a lesson come to its end; whether it is completed, lesson_progress says'),
  ('play_media', 'A video or audio began to play'),
  ('pause_media', 'A video or audio was stopped'),
  ('open_file', 'A file was opened or downloaded'),
  ('open_link', 'A link was followed');

create trigger _100_timestamps before update on analytics.event_types
  for each row execute function private.touch_updated_at();

-- A tenant's own type must not change what a built-in one means.
create function private.keep_builtin_event_types()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if new.tenant_id is not null and exists (
    select from analytics.event_types t where t.tenant_id is null and t.event_type = new.event_type
  ) then
    perform private.fail(
      'event_type_is_builtin', 'There is a built-in event type of that name.', 409,
      jsonb_build_object('event_type', new.event_type)
    );
  end if;
  return new;
end
$$;

create trigger _200_not_builtin before insert or update of tenant_id, event_type on analytics.event_types
  for each row execute function private.keep_builtin_event_types();

-- =====================================================================================================
-- Tables
-- =====================================================================================================
-- Millions of rows, written by many at once: so few indexes, no foreign keys (each would look up and lock a row for every
-- event; tenant, course and learner come from the enrolment, whoever writes, INV-T1), no trigger for each row, no counter, and
-- nothing that two learners would both write. Domains rather than CHECKs, which every statement would prepare anew.
-- By month of the server's clock; what no partition is there for lands in the default one and stays there.
-- In `private`: clients meet the views below, through which rows come in complete.

create domain private.event_key as text
  constraint event_key_is_1_to_200_characters check (value ~ '\S' and length(value) <= 200 and value !~ '[\x01-\x1f]');

create domain private.event_details as jsonb
  constraint event_details_are_a_small_object check (jsonb_typeof(value) = 'object' and pg_column_size(value) <= 8192);

create domain private.event_source as text
  constraint event_source_is_known check (value in ('client', 'server'));

create table private.question_events (
  id uuid not null,
  tenant_id uuid not null,
  course_id uuid not null,
  user_id uuid not null,
  unit_id uuid,
  enrollment_id uuid not null,
  section_key private.event_key not null,
  question_key private.event_key not null,
  is_correct boolean,
  response_meta private.event_details,
  answered_at timestamptz not null,
  received_at timestamptz not null,
  is_time_plausible boolean not null,
  source private.event_source not null,
  is_counted boolean not null,
  attempt_id uuid,
  xid xid8 not null default pg_current_xact_id(),
  primary key (received_at, id)
) partition by range (received_at);

create index question_events_by_user on private.question_events (user_id, received_at desc, id desc);
create index question_events_by_tenant on private.question_events (tenant_id, received_at desc, id desc);
create index question_events_by_unit on private.question_events (unit_id, received_at desc, id desc);
create index question_events_by_question on private.question_events (course_id, question_key, user_id, received_at);
create index question_events_by_transaction on private.question_events (xid);

create table private.question_events_default partition of private.question_events default;

comment on table private.question_events is 'What analytics.question_events shows.';
comment on column private.question_events.xid is 'The transaction: reports find by it what they have not added up yet.';

create table private.activity_events (
  id uuid not null,
  tenant_id uuid not null,
  course_id uuid not null,
  user_id uuid not null,
  unit_id uuid,
  enrollment_id uuid not null,
  event_type text not null,
  meta private.event_details,
  occurred_at timestamptz not null,
  received_at timestamptz not null,
  is_time_plausible boolean not null,
  xid xid8 not null default pg_current_xact_id(),
  primary key (received_at, id)
) partition by range (received_at);

create index activity_events_by_user on private.activity_events (user_id, received_at desc, id desc);
create index activity_events_by_tenant on private.activity_events (tenant_id, received_at desc, id desc);
create index activity_events_by_unit on private.activity_events (unit_id, received_at desc, id desc);
create index activity_events_by_course on private.activity_events (course_id, event_type, received_at desc);
create index activity_events_by_transaction on private.activity_events (xid);

create table private.activity_events_default partition of private.activity_events default;

comment on table private.activity_events is 'What analytics.activity_events shows.';
comment on column private.activity_events.xid is 'The transaction: reports find by it what they have not added up yet.';

-- By learner, so that nobody can use up, or wait for, somebody else's ids.
create table private.event_receipts (
  user_id uuid not null,
  kind text not null,
  event_id uuid not null,
  received_at timestamptz not null default now(),
  primary key (user_id, kind, event_id)
);
-- Written with many an event, read once an hour: a summary by blocks costs next to nothing to keep.
create index event_receipts_by_time on private.event_receipts using brin (received_at) with (pages_per_range = 16);

comment on table private.event_receipts is
  'Which events of clients have been taken, for 90 days: a partitioned table has no key over all of its rows.';

alter table analytics.event_types enable row level security;
alter table private.question_events enable row level security;
alter table private.activity_events enable row level security;
alter table private.question_events_default enable row level security;
alter table private.activity_events_default enable row level security;
alter table private.event_receipts enable row level security;

-- =====================================================================================================
-- Added, never changed
-- =====================================================================================================

create function private.refuse_event_change()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  raise insufficient_privilege using
    message = format('Rows of %I.%I are never changed.', tg_table_schema, tg_table_name);
end
$$;

create trigger _100_append_only before update or delete on private.question_events
  for each row execute function private.refuse_event_change();
create trigger _100_append_only before update or delete on private.activity_events
  for each row execute function private.refuse_event_change();
create trigger _100_never_emptied before truncate on private.question_events
  for each statement execute function private.refuse_event_change();
create trigger _100_never_emptied before truncate on private.activity_events
  for each statement execute function private.refuse_event_change();
create trigger _100_never_emptied before truncate on private.question_events_default
  for each statement execute function private.refuse_event_change();
create trigger _100_never_emptied before truncate on private.activity_events_default
  for each statement execute function private.refuse_event_change();

-- =====================================================================================================
-- What clients see
-- =====================================================================================================

-- Counted when it is read: a counter that every answer moves would cost a third of the rate at which they are taken.
create function private.count_answers(
  p_user_id uuid, p_course_id uuid, p_question_key text, p_received_at timestamptz, p_id uuid
)
returns integer
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  return (
    select count(*)
    from private.question_events e
    where e.course_id = p_course_id and e.question_key = p_question_key and e.user_id = p_user_id
      and (e.received_at, e.id) <= (p_received_at, p_id)
  );
end
$$;

-- The same of a row that the running statement has just added, which nothing stable sees.
create function private.count_answers_so_far(
  p_user_id uuid, p_course_id uuid, p_question_key text, p_received_at timestamptz, p_id uuid
)
returns integer
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  return private.count_answers(p_user_id, p_course_id, p_question_key, p_received_at, p_id);
end
$$;

create view analytics.question_events with (security_invoker = true) as
  select
    e.id, e.tenant_id, e.course_id, e.user_id, e.unit_id, e.enrollment_id, e.section_key, e.question_key, e.is_correct,
    private.count_answers(e.user_id, e.course_id, e.question_key, e.received_at, e.id) as attempt_index,
    e.response_meta, e.answered_at, e.received_at, e.is_time_plausible, e.source, e.is_counted, e.attempt_id
  from private.question_events e;

comment on view analytics.question_events is
  'One answer to one question. Insert them (never upsert), also many at once, with {course_id, section_key, question_key, '
  'is_correct} and, so that sending them again is harmless, an id; the rest is the server''s. They are never changed. Send the '
  'scope of a list (tenant_id, unit_id, course_id or user_id) and a range of received_at.';
comment on column analytics.question_events.id is 'Chosen by the client: sent again within 90 days, it is taken once.';
comment on column analytics.question_events.tenant_id is 'Taken from the enrolment.';
comment on column analytics.question_events.user_id is 'Whose answer; may be left out.';
comment on column analytics.question_events.unit_id is 'Org unit at the time; taken from the enrolment.';
comment on column analytics.question_events.enrollment_id is 'The cycle that it belongs to: the latest one in the course.';
comment on column analytics.question_events.section_key is
  'From clients their own; from the server the key of the lesson, or of the assessment of a course as a whole.';
comment on column analytics.question_events.question_key is 'As in questions, or the client''s own.';
comment on column analytics.question_events.is_correct is
  'Null: not judged, or not yet. From a client it is a claim: it never feeds mastery, and counts in reports where is_counted.';
comment on column analytics.question_events.attempt_index is
  'The 1st, 2nd... answer of this learner to this question of the course that was received, counted by the server; what a '
  'client sends is overruled. Leave it out of select where it is not needed: it is counted for each row.';
comment on column analytics.question_events.response_meta is 'What the client wants to keep with it: an object of up to 8 kB.';
comment on column analytics.question_events.answered_at is 'As the client says, also if it was offline then; else when it was received.';
comment on column analytics.question_events.received_at is 'Server time.';
comment on column analytics.question_events.is_time_plausible is
  'False: answered_at is more than five minutes after received_at or more than 90 days before it.';
comment on column analytics.question_events.source is 'server: from a graded attempt.';
comment on column analytics.question_events.is_counted is
  'False: a client''s claim about a question whose answer the server knows. Reports leave it out.';
comment on column analytics.question_events.attempt_id is 'The attempt that a server''s event comes from.';

create view analytics.activity_events with (security_invoker = true) as
  select
    e.id, e.tenant_id, e.course_id, e.user_id, e.unit_id, e.enrollment_id, e.event_type, e.meta, e.occurred_at, e.received_at,
    e.is_time_plausible
  from private.activity_events e;

comment on view analytics.activity_events is
  'One thing that a learner did: {course_id, event_type} and, as for question_events, an id. event_type is one of event_types. '
  'What is claimed here (complete_course) completes nothing. Inserts and lists as for question_events.';
comment on column analytics.activity_events.id is 'Chosen by the client: sent again within 90 days, it is taken once.';
comment on column analytics.activity_events.tenant_id is 'Taken from the enrolment.';
comment on column analytics.activity_events.user_id is 'Who did it; may be left out.';
comment on column analytics.activity_events.unit_id is 'Org unit at the time; taken from the enrolment.';
comment on column analytics.activity_events.enrollment_id is 'The cycle that it belongs to: the latest one in the course.';
comment on column analytics.activity_events.meta is 'What the client wants to keep with it: an object of up to 8 kB.';
comment on column analytics.activity_events.occurred_at is 'As the client says, also if it was offline then; else when it was received.';
comment on column analytics.activity_events.received_at is 'Server time.';
comment on column analytics.activity_events.is_time_plausible is
  'False: occurred_at is more than five minutes after received_at or more than 90 days before it.';

-- =====================================================================================================
-- Taking an event
-- =====================================================================================================
-- A rule writes the server's columns into the client's INSERT, so that a batch is one statement over sets; a trigger for each
-- row doing the same halves the rate. What it looks up, it looks up as the owner; who is calling, it asks once a statement. Tenants
-- are those of private.joined_tenants (INV-T4): to call it costs as much as two rows.

-- One learner's batches are taken one after the other: two that hold the same ids in another order would otherwise wait for
-- each other. Nobody waits for another learner's (INV-N1).
create function private.lock_events_of(p_user_id uuid)
returns void
language plpgsql
volatile
set search_path = ''
as $$
begin
  perform pg_advisory_xact_lock(uuid_hash_extended(p_user_id, 790));
end
$$;

-- False: it has been taken before.
create function private.take_receipt(p_user_id uuid, p_kind text, p_event_id uuid)
returns boolean
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  -- In place of the call above, which would cost as much as the row.
  perform pg_advisory_xact_lock(uuid_hash_extended(p_user_id, 790));
  insert into private.event_receipts (user_id, kind, event_id) values (p_user_id, p_kind, p_event_id)
  on conflict do nothing;
  return found;
end
$$;

-- An event that nobody can be credited with. Reads courses as the caller: one that they cannot see must be answered like one
-- that does not exist.
create function private.refuse_event(p_user_id uuid, p_course_id uuid)
returns uuid
language plpgsql
stable
set search_path = ''
as $$
begin
  if private.is_api_call() and p_user_id is distinct from auth.uid() then
    raise insufficient_privilege using message = 'Events are recorded by the learner.';
  end if;
  if private.is_shut_out(p_course_id) then
    raise insufficient_privilege using message = 'Nothing is recorded while the membership is not active.';
  end if;
  if exists (select from lms.courses c where c.id = p_course_id) then
    perform private.refuse_progress('not_enrolled', p_course_id);
  end if;
  perform private.fail('course_not_found', 'There is no such course.', 404);
  return null;
end
$$;

-- INV-T4
create function private.is_shut_out(p_course_id uuid)
returns boolean
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  return exists (
    select
    from lms.enrollments e
    where e.user_id = auth.uid() and e.course_id = p_course_id and e.tenant_id <> all (array(select private.joined_tenants()))
  );
end
$$;

create function private.refuse_event_type(p_event_type text, p_tenant_id uuid)
returns text
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  perform private.fail(
    'unknown_event_type', 'There is no such event type.', 422,
    jsonb_build_object(
      'event_type', left(p_event_type, 100),
      'known', (
        select jsonb_agg(t.event_type order by t.event_type)
        from analytics.event_types t
        where t.tenant_id is null or t.tenant_id = p_tenant_id
      )
    ),
    'Administrators register further types in analytics.event_types.'
  );
  return null;
end
$$;

create rule take_question_event as on insert to analytics.question_events do instead
  insert into private.question_events as taken (
    id, tenant_id, course_id, user_id, unit_id, enrollment_id, section_key, question_key, is_correct, response_meta,
    answered_at, received_at, is_time_plausible, source, is_counted, attempt_id
  )
  select
    coalesce(n.id, gen_random_uuid()), e.tenant_id, n.course_id, n.user_id, coalesce(n.unit_id, e.unit_id),
    case
      when e.user_id is distinct from n.user_id then private.refuse_event(n.user_id, n.course_id)
      when s.id is null and n.answered_at > n.received_at - private.session_idle_time()
        and n.received_at > now() - private.session_idle_time()
        then private.begin_activity(e.id, n.received_at)
      else e.id
    end,
    n.section_key, n.question_key, n.is_correct, n.response_meta, n.answered_at, n.received_at,
    n.answered_at between n.received_at - interval '90 days' and n.received_at + interval '5 minutes',
    n.source,
    coalesce(n.is_counted, not exists (
      select
      from lms.question_revisions r
      join private.key_revisions k on k.revision_id = r.id
      where r.course_id = n.course_id and r.question_key = n.question_key
    )),
    n.attempt_id
  from (
    -- Kept apart by the clock, which makes that each of a batch has its own time, and order.
    select
      c.id, c.course_id, c.user_id, c.unit_id, c.enrollment_id, c.section_key, c.question_key, c.is_correct, c.response_meta,
      coalesce(c.answered_at, c.received_at) as answered_at, c.received_at, c.source, c.is_counted, c.attempt_id
    from (
      select
        new.id as id, new.course_id as course_id, new.user_id as user_id, new.unit_id as unit_id,
        new.enrollment_id as enrollment_id, new.section_key as section_key, new.question_key as question_key,
        new.is_correct as is_correct, new.response_meta as response_meta, new.answered_at as answered_at,
        coalesce(new.received_at, clock_timestamp()) as received_at, coalesce(new.source, 'client') as source,
        new.is_counted as is_counted, new.attempt_id as attempt_id
    ) c
  ) n
  left join lateral (
    select a.id, a.tenant_id, a.user_id, a.unit_id
    from lms.enrollments a
    where a.user_id = coalesce((select auth.uid()), n.user_id) and a.course_id = n.course_id
      and (n.enrollment_id is null or a.id = n.enrollment_id)
      and (a.tenant_id = any (array(
        select m.tenant_id
        from lms.memberships m
        join lms.tenants t on t.id = m.tenant_id
        where m.user_id = (select auth.uid()) and m.status = 'active' and t.is_active
      )) or not (select private.is_api_call()))
    order by a.cycle desc
    limit 1
  ) e on true
  left join analytics.learning_sessions s
    on s.enrollment_id = e.id and s.ended_at is null and s.last_activity_at > n.received_at - private.session_grain()
  -- What is refused above takes no receipt, nor asks whether there is one: that would tell of, and wait for, somebody else.
  where n.id is null or e.user_id is distinct from n.user_id or private.take_receipt(n.user_id, 'question', n.id)
  returning
    taken.id, taken.tenant_id, taken.course_id, taken.user_id, taken.unit_id, taken.enrollment_id, taken.section_key,
    taken.question_key, taken.is_correct,
    private.count_answers_so_far(taken.user_id, taken.course_id, taken.question_key, taken.received_at, taken.id),
    taken.response_meta, taken.answered_at, taken.received_at, taken.is_time_plausible, taken.source, taken.is_counted,
    taken.attempt_id;

create rule take_activity_event as on insert to analytics.activity_events do instead
  insert into private.activity_events as taken (
    id, tenant_id, course_id, user_id, unit_id, enrollment_id, event_type, meta, occurred_at, received_at, is_time_plausible
  )
  select
    coalesce(n.id, gen_random_uuid()), e.tenant_id, n.course_id, n.user_id, coalesce(n.unit_id, e.unit_id),
    case
      when e.user_id is distinct from n.user_id then private.refuse_event(n.user_id, n.course_id)
      when s.id is null and n.occurred_at > n.received_at - private.session_idle_time()
        and n.received_at > now() - private.session_idle_time()
        then private.begin_activity(e.id, n.received_at)
      else e.id
    end,
    case
      when exists (
        select
        from analytics.event_types t
        where t.event_type = n.event_type and (t.tenant_id is null or t.tenant_id = e.tenant_id)
      ) then n.event_type
      else private.refuse_event_type(n.event_type, e.tenant_id)
    end,
    n.meta, n.occurred_at, n.received_at,
    n.occurred_at between n.received_at - interval '90 days' and n.received_at + interval '5 minutes'
  from (
    select
      c.id, c.course_id, c.user_id, c.unit_id, c.enrollment_id, c.event_type, c.meta,
      coalesce(c.occurred_at, c.received_at) as occurred_at, c.received_at
    from (
      select
        new.id as id, new.course_id as course_id, new.user_id as user_id, new.unit_id as unit_id,
        new.enrollment_id as enrollment_id, new.event_type as event_type, new.meta as meta, new.occurred_at as occurred_at,
        coalesce(new.received_at, clock_timestamp()) as received_at
    ) c
  ) n
  left join lateral (
    select a.id, a.tenant_id, a.user_id, a.unit_id
    from lms.enrollments a
    where a.user_id = coalesce((select auth.uid()), n.user_id) and a.course_id = n.course_id
      and (n.enrollment_id is null or a.id = n.enrollment_id)
      and (a.tenant_id = any (array(
        select m.tenant_id
        from lms.memberships m
        join lms.tenants t on t.id = m.tenant_id
        where m.user_id = (select auth.uid()) and m.status = 'active' and t.is_active
      )) or not (select private.is_api_call()))
    order by a.cycle desc
    limit 1
  ) e on true
  left join analytics.learning_sessions s
    on s.enrollment_id = e.id and s.ended_at is null and s.last_activity_at > n.received_at - private.session_grain()
  -- What is refused above takes no receipt, nor asks whether there is one: that would tell of, and wait for, somebody else.
  where n.id is null or e.user_id is distinct from n.user_id or private.take_receipt(n.user_id, 'activity', n.id)
  returning
    taken.id, taken.tenant_id, taken.course_id, taken.user_id, taken.unit_id, taken.enrollment_id, taken.event_type, taken.meta,
    taken.occurred_at, taken.received_at, taken.is_time_plausible;

alter view analytics.question_events alter column user_id set default auth.uid();
alter view analytics.activity_events alter column user_id set default auth.uid();

-- =====================================================================================================
-- What the server knows: an attempt's answers
-- =====================================================================================================

-- INV-A4: handing in emits one event per answer, once, because an attempt leaves in_progress once. What waits for a grader
-- has no result yet; regrading changes scores, not what happened.
create function private.record_answers()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  -- Also where somebody else closes it, a job or staff: so not by way of the view, which takes what is the caller's.
  insert into private.question_events (
    id, tenant_id, course_id, user_id, unit_id, enrollment_id, section_key, question_key, is_correct, answered_at, received_at,
    is_time_plausible, source, is_counted, attempt_id
  )
  select
    gen_random_uuid(), new.tenant_id, new.course_id, new.user_id, e.unit_id, new.enrollment_id, coalesce(l.key, v.key),
    r.question_key, s.is_correct, a.saved_at, clock_timestamp(), true, 'server', true, new.id
  from lms.attempt_answers a
  join lms.attempt_questions q on q.attempt_id = a.attempt_id and q.question_id = a.question_id
  join lms.question_revisions r on r.id = q.revision_id
  join lms.version_assessments v on v.version_id = new.version_id and v.assessment_id = new.assessment_id
  join lms.enrollments e on e.id = new.enrollment_id
  left join lms.lessons l on l.id = v.lesson_id
  left join lms.answer_scores s on s.attempt_id = a.attempt_id and s.question_id = a.question_id
  where a.attempt_id = new.id and a.response <> 'null'
  order by q.position;
  if new.closed_by = 'learner' then
    perform private.begin_activity(new.enrollment_id, now());
  end if;
  return null;
end
$$;

create trigger _500_question_events after update of status on lms.assessment_attempts
  for each row when (old.status = 'in_progress' and new.status <> 'in_progress')
  execute function private.record_answers();

-- =====================================================================================================
-- Partitions
-- =====================================================================================================

-- INV-O4: months that are missing are found by looking, not by counting runs. A month of which the default partition
-- already holds rows is left to it: nothing is moved.
create function ops.make_event_partitions()
returns integer
language plpgsql
volatile security definer
set search_path = ''
-- Attaching waits for readers of the default partition, and new readers then wait for it.
set lock_timeout = '3s'
as $$
declare
  v_instant constant text := 'YYYY-MM-DD"T00:00:00Z"';
  v_table text;
  v_month timestamp;
  v_name text;
  v_is_used boolean;
  v_made integer := 0;
begin
  foreach v_table in array array['question_events', 'activity_events'] loop
    for v_offset in 0..3 loop
      v_month := date_trunc('month', now() at time zone 'UTC') + make_interval(months => v_offset);
      v_name := v_table || to_char(v_month, '"_"YYYY_MM');
      execute format(
        'select exists (select from private.%I d where d.received_at >= $1 and d.received_at < $2)', v_table || '_default'
      )
      into v_is_used
      using v_month at time zone 'UTC', (v_month + interval '1 month') at time zone 'UTC';
      if to_regclass('private.' || v_name) is null and not v_is_used then
        execute format('create table private.%I (like private.%I including defaults)', v_name, v_table);
        execute format('alter table private.%I enable row level security', v_name);
        execute format(
          'create trigger _100_never_emptied before truncate on private.%I '
          'for each statement execute function private.refuse_event_change()',
          v_name
        );
        -- What is done to a partition by its own name, the triggers of the table do not see.
        perform private.watch_events(format('private.%I', v_name)::regclass);
        execute format(
          'alter table private.%I attach partition private.%I for values from (%L) to (%L)',
          v_table, v_name, to_char(v_month, v_instant), to_char(v_month + interval '1 month', v_instant)
        );
        v_made := v_made + 1;
      end if;
    end loop;
  end loop;
  return v_made;
end
$$;

comment on function ops.make_event_partitions is
  'Makes the partitions of question and activity events for this month and the next three, where they are missing; returns '
  'how many.';

-- =====================================================================================================
-- Receipts are forgotten after 90 days
-- =====================================================================================================

create function ops.forget_event_receipts(p_batch integer default 50000)
returns integer
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_forgotten integer;
begin
  delete from private.event_receipts r
  where (r.user_id, r.kind, r.event_id) in (
    select o.user_id, o.kind, o.event_id
    from private.event_receipts o
    where o.received_at < now() - interval '90 days'
    limit p_batch
    for update skip locked
  );
  get diagnostics v_forgotten = row_count;
  return v_forgotten;
end
$$;

comment on function ops.forget_event_receipts is
  'Removes receipts of events once they are 90 days old, at most p_batch per run; returns how many. Events that are sent '
  'again later are taken again, and marked by their time.';

grant execute on function ops.make_event_partitions, ops.forget_event_receipts to service_role;
grant execute on function
  private.count_answers, private.count_answers_so_far, private.take_receipt, private.refuse_event,
  private.is_shut_out, private.refuse_event_type
to authenticated, service_role;

-- =====================================================================================================
-- Policies and grants
-- =====================================================================================================

create view analytics.people with (security_invoker = true) as
  select p.id, p.display_name, p.avatar_url
  from public.profiles p;

comment on view analytics.people is
  'Names and pictures, as far as the caller may see them; embeds from learning_sessions. Events refer to it by user_id, '
  'without a foreign key: ask for people?id=in.(...).';

grant all on analytics.event_types to service_role;
-- An import may put past events in place; nobody changes or removes any.
grant select, insert on analytics.question_events, analytics.activity_events to service_role;
grant select on private.question_events, private.activity_events to service_role;
grant select on analytics.people to authenticated, service_role;

grant select, delete on analytics.event_types to authenticated;
grant insert (tenant_id, event_type, description) on analytics.event_types to authenticated;
grant update (description) on analytics.event_types to authenticated;

-- The views are read as the caller (INV-O5), so that the policies below hold.
grant select on private.question_events, private.activity_events to authenticated;
grant select on analytics.question_events, analytics.activity_events to authenticated;
-- attempt_index is accepted because clients send it, and overruled.
grant insert (id, user_id, course_id, section_key, question_key, is_correct, attempt_index, response_meta, answered_at)
  on analytics.question_events to authenticated;
grant insert (id, user_id, course_id, event_type, meta, occurred_at) on analytics.activity_events to authenticated;

create policy "Event types are seen by members, built-in ones by all" on analytics.event_types
  for select to authenticated
  using (tenant_id is null or tenant_id = any (array(select private.joined_tenants())));

create policy "Event types are registered by those who change settings" on analytics.event_types
  for insert to authenticated
  with check (tenant_id = any (array(select private.tenants_where('tenant.settings'))));

create policy "Event types are described by those who change settings" on analytics.event_types
  for update to authenticated
  using (tenant_id = any (array(select private.tenants_where('tenant.settings'))))
  with check (tenant_id = any (array(select private.tenants_where('tenant.settings'))));

create policy "Event types are removed by those who change settings" on analytics.event_types
  for delete to authenticated
  using (tenant_id = any (array(select private.tenants_where('tenant.settings'))));

-- INV-A1: what an attempt was right about its learner sees when the assessment shows it, whatever else they may read.
create policy "Answers are seen by their learner, staff and in scope" on private.question_events
  for select to authenticated
  using (
    (
      user_id = (select auth.uid()) and tenant_id <> all (array(select private.closed_tenants()))
      and (source = 'client' or attempt_id = any (array(select private.my_shown_attempts())))
    )
    or (
      (source = 'client' or user_id <> (select auth.uid()))
      and (
        tenant_id = any (array(select private.tenants_where('progress.read')))
        or unit_id = any (array(select private.units_where('progress.read')))
      )
    )
    or course_id = any (array(select private.staffed_courses()))
  );

create policy "Activity is seen by its learner, staff and in scope" on private.activity_events
  for select to authenticated
  using (
    (user_id = (select auth.uid()) and tenant_id <> all (array(select private.closed_tenants())))
    or tenant_id = any (array(select private.tenants_where('progress.read')))
    or unit_id = any (array(select private.units_where('progress.read')))
    or course_id = any (array(select private.staffed_courses()))
  );

notify pgrst, 'reload schema';
