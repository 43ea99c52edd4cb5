-- Notifications: what people are told, once, and by which channel they want to be told.
-- What leaves the house (mail, webhooks) is in the outbox file; what reminds people of dates is in the reminders file.
-- Undo: drop functions lms.mark_notifications_read, private.notify, private.notify_all; drop table lms.notifications; drop
-- trigger _300_notification_kinds on public.profile_private and on lms.tenants; drop table lms.notification_kinds; then the
-- type and functions below.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Kinds
-- =====================================================================================================

-- A table rather than a CHECK: clients show the list where people choose, and what a text about each kind may say
-- (placeholders) stands beside it.
create table lms.notification_kinds (
  kind text primary key constraint notification_kind_is_words_joined_by_underscores check (kind ~ '^[a-z]+(_[a-z]+)*$'),
  description text not null,
  placeholders text[] not null default '{}',
  in_app boolean not null,
  email boolean not null
);

comment on table lms.notification_kinds is 'What people are notified of. A closed list, as permissions are.';
comment on column lms.notification_kinds.placeholders is
  'What texts about it may name, beside person, organization and link: see lms.message_templates.';
comment on column lms.notification_kinds.in_app is 'Shown in lms.notifications, where neither person nor organisation says otherwise.';
comment on column lms.notification_kinds.email is 'Mailed, where neither person nor organisation says otherwise.';

insert into lms.notification_kinds (kind, description, placeholders, in_app, email) values
  ('training_assigned', 'A rule asks you to take a course', '{course, due_on}', true, true),
  ('training_due', 'A course is due soon', '{course, due_on, days}', true, true),
  ('training_overdue', 'A course is overdue', '{course, due_on, days}', true, true),
  ('course_completed', 'You have completed a course', '{course}', false, false),
  ('certificate_issued', 'You have earned a certificate', '{course, serial, expires_on}', true, true),
  ('certificate_expiring', 'A certificate expires soon', '{course, serial, expires_on, days}', true, true),
  ('result_released', 'The result of an assessment can be seen', '{course, assessment}', true, true),
  ('grading_waits', 'Work waits to be graded by you', '{course, assessment}', true, false),
  ('enrollment_requested', 'Somebody asks to take a course of yours', '{course}', true, true),
  ('enrollment_decided', 'Your request to take a course was decided', '{course, status, reason}', true, true),
  ('session_changed', 'A session that you are booked for has changed', '{course, session, status, starts_at, place}', true, true),
  ('evidence_submitted', 'Evidence of training taken elsewhere waits for a decision', '{course}', true, false),
  ('evidence_decided', 'Your evidence of training was decided', '{course, status, reason}', true, true),
  ('report_ready', 'A report that you asked for is ready', '{report, figures}', true, true),
  ('invitation', 'You are invited to join an organisation', '{invited_until}', false, true);

-- The shape is checked where the column is; that the kinds exist, here, or a misspelt wish would silently be none.
create function private.refuse_unknown_kinds(p_preferences jsonb)
returns void
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_unknown text[];
begin
  v_unknown := array(
    select w.key
    from jsonb_object_keys(case jsonb_typeof(p_preferences) when 'object' then p_preferences else '{}' end) as w (key)
    where w.key not in ('in_app', 'email') and not exists (select from lms.notification_kinds k where k.kind = w.key)
    order by w.key
  );
  if v_unknown <> '{}' then
    perform private.fail(
      'unknown_notification_kind', 'There is no such kind of notification.', 422, jsonb_build_object('kinds', v_unknown),
      'lms.notification_kinds lists them.'
    );
  end if;
end
$$;

create function private.check_preferred_kinds()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.refuse_unknown_kinds(new.notification_preferences);
  return new;
end
$$;

create trigger _300_notification_kinds before update of notification_preferences on public.profile_private
  for each row when (new.notification_preferences is distinct from old.notification_preferences)
  execute function private.check_preferred_kinds();

create function private.check_default_kinds()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.refuse_unknown_kinds(new.settings #> '{notifications,defaults}');
  return new;
end
$$;

create trigger _300_notification_kinds before insert or update of settings on lms.tenants
  for each row execute function private.check_default_kinds();

-- The person's word for the kind, else for the channel; else the organisation's, likewise; else what is usual.
create function private.is_wanted(p_preferences jsonb, p_defaults jsonb, p_kind text, p_channel text, p_usual boolean)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
begin
  return coalesce(
    p_preferences -> p_kind -> p_channel, p_preferences -> p_channel, p_defaults -> p_kind -> p_channel,
    p_defaults -> p_channel, to_jsonb(p_usual)
  )::boolean;
end
$$;

-- =====================================================================================================
-- Table
-- =====================================================================================================

create table lms.notifications (
  id uuid primary key default private.uuid_v7(),
  tenant_id uuid not null constraint notification_is_of_a_tenant references lms.tenants (id),
  user_id uuid not null constraint notification_is_for_a_person references public.profiles (id),
  kind text not null constraint notification_kind_is_known references lms.notification_kinds (kind),
  course_id uuid,
  enrollment_id uuid,
  params jsonb not null default '{}' constraint notification_params_are_a_small_object
    check (jsonb_typeof(params) = 'object' and length(params::text) <= 8000),
  dedupe_key text not null constraint notification_dedupe_key_is_1_to_200_characters check (length(dedupe_key) between 1 and 200),
  is_shown boolean not null default true,
  created_at timestamptz not null default now(),
  read_at timestamptz,
  constraint told_once unique (tenant_id, user_id, dedupe_key),
  constraint notification_course_is_of_the_same_tenant foreign key (tenant_id, course_id)
    references lms.courses (tenant_id, id) on delete set null (course_id),
  constraint notification_is_about_the_persons_own_cycle foreign key (enrollment_id, tenant_id, course_id, user_id)
    references lms.enrollments (id, tenant_id, course_id, user_id) on delete set null (enrollment_id)
);
create index notifications_by_user on lms.notifications (user_id, id desc) where is_shown;
create index notifications_unread on lms.notifications (user_id, id desc) where is_shown and read_at is null;
create index notifications_by_person on lms.notifications (user_id);
create index notifications_by_kind on lms.notifications (kind);
create index notifications_by_course on lms.notifications (tenant_id, course_id);
create index notifications_by_enrollment on lms.notifications (enrollment_id, tenant_id, course_id, user_id);
create index notifications_by_age on lms.notifications (created_at);

comment on table lms.notifications is
  'What somebody was told. Newest first: order=id.desc. Everybody sees their own, and marks them read: '
  'mark_notifications_read.';
comment on column lms.notifications.params is
  'What a sentence about it says: of the placeholders of its kind those that apply. Names ending in _on are days, in _at times.';
comment on column lms.notifications.dedupe_key is 'Of the fact that it follows: nobody is told the same twice.';
comment on column lms.notifications.is_shown is 'False where the person does not want it here, and it was only mailed.';

-- When something was read is the server's time, and once read it is not read again later.
create function private.date_reading()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if private.is_api_call() and new.read_at is not null then
    new.read_at := coalesce(old.read_at, now());
  end if;
  return new;
end
$$;

create trigger _200_read before update of read_at on lms.notifications
  for each row execute function private.date_reading();

-- =====================================================================================================
-- Notifying
-- =====================================================================================================

create type private.notice as (
  tenant_id uuid, user_id uuid, kind text, course_id uuid, enrollment_id uuid, params jsonb, dedupe_key text
);

-- The way to make notifications. INV-P3: it never fails the fact that it follows, and never waits for the outside: mails and
-- webhooks are rows of the outbox, written in the same transaction, so that neither exists without the other. Rows in a fixed
-- order, since two that tell the same people the same wait for each other.
-- Nothing reaches those whose membership is suspended or has ended, nor anybody in a tenant that is switched off. Who asks from
-- outside is told; so it takes no membership.
create function private.notify_all(p_notices private.notice[])
returns integer
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_told lms.notifications[];
begin
  begin
    with told as (
      insert into lms.notifications (
        tenant_id, user_id, kind, course_id, enrollment_id, params, dedupe_key, is_shown
      )
      select
        n.tenant_id, n.user_id, n.kind, coalesce(n.course_id, e.course_id), own.id,
        jsonb_strip_nulls(jsonb_build_object('course', c.title) || coalesce(n.params, '{}')),
        n.dedupe_key, wish.in_app
      from unnest(p_notices) n
      join lms.notification_kinds k on k.kind = n.kind
      join lms.tenants t on t.id = n.tenant_id and t.is_active
      join public.profile_private p on p.profile_id = n.user_id
      left join lms.enrollments e on e.id = n.enrollment_id and e.tenant_id = n.tenant_id
      left join lms.courses c on c.id = coalesce(n.course_id, e.course_id) and c.tenant_id = n.tenant_id
      -- What staff is told about a learner's cycle refers to the course alone.
      left join lms.enrollments own on own.id = e.id and own.user_id = n.user_id and own.course_id = c.id
      cross join lateral (
        select
          private.is_wanted(p.notification_preferences, t.settings #> '{notifications,defaults}', k.kind, 'in_app', k.in_app),
          private.is_wanted(p.notification_preferences, t.settings #> '{notifications,defaults}', k.kind, 'email', k.email)
      ) as wish (in_app, email)
      where not exists (
          select from lms.memberships m where m.tenant_id = n.tenant_id and m.user_id = n.user_id and m.status <> 'active'
        )
        and (wish.in_app or wish.email or private.has_webhook(n.tenant_id, n.kind))
      order by n.tenant_id, n.user_id, n.dedupe_key
      on conflict (tenant_id, user_id, dedupe_key) do nothing
      returning *
    )
    select array_agg(d::lms.notifications) into v_told from told d;
    perform private.enqueue_deliveries(v_told);
    return coalesce(cardinality(v_told), 0);
  exception
    when others then
      raise warning 'Notifications (% of kind %) were not made: %: %', cardinality(p_notices), p_notices[1].kind, sqlstate, sqlerrm;
      return 0;
  end;
end
$$;

comment on function private.notify_all is
  'Tells people something, each once for a dedupe_key, by the channels that they want; returns how many were told anew. '
  'Whatever goes wrong is a warning.';

-- Whether any channel takes it, as notify_all asks for each.
create function private.reaches_somebody(p_notice private.notice)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return exists (
    select
    from lms.tenants t
    join lms.notification_kinds k on k.kind = p_notice.kind
    join public.profile_private p on p.profile_id = p_notice.user_id
    where t.id = p_notice.tenant_id and (
      private.is_wanted(p.notification_preferences, t.settings #> '{notifications,defaults}', k.kind, 'in_app', k.in_app)
      or private.is_wanted(p.notification_preferences, t.settings #> '{notifications,defaults}', k.kind, 'email', k.email)
      or private.has_webhook(t.id, k.kind)
    )
  );
end
$$;

create function private.notify(
  p_tenant_id uuid, p_user_id uuid, p_kind text, p_course_id uuid, p_enrollment_id uuid, p_params jsonb, p_dedupe_key text
)
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  perform private.notify_all(array[
    (p_tenant_id, p_user_id, p_kind, p_course_id, p_enrollment_id, p_params, p_dedupe_key)::private.notice
  ]);
end
$$;

comment on function private.notify is
  'notify_all for one. p_params: of the placeholders of the kind those that apply; the course''s title is added.';

create function lms.mark_notifications_read(p_ids uuid[] default null)
returns integer
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_read integer;
begin
  -- As the caller: policies leave them their own.
  update lms.notifications n
  set read_at = now()
  where n.user_id = (select auth.uid()) and n.is_shown and n.read_at is null and (p_ids is null or n.id = any (p_ids));
  get diagnostics v_read = row_count;
  return v_read;
end
$$;

comment on function lms.mark_notifications_read is
  'Marks the caller''s notifications read: those named, or all; returns how many were not yet. Again changes nothing.';

grant execute on function lms.mark_notifications_read to authenticated, service_role;

-- =====================================================================================================
-- Policies and grants
-- =====================================================================================================

alter table lms.notification_kinds enable row level security;
alter table lms.notifications enable row level security;

grant select on lms.notification_kinds to authenticated, service_role;
grant select on lms.notifications to authenticated, service_role;
grant update (read_at) on lms.notifications to authenticated;

create policy "The list of kinds is open to people signed in" on lms.notification_kinds
  for select to authenticated
  using (true);

create policy "People see their own notifications" on lms.notifications
  for select to authenticated
  using (
    user_id = (select auth.uid()) and is_shown and tenant_id <> all (array(select private.closed_tenants()))
  );

create policy "People mark their own notifications" on lms.notifications
  for update to authenticated
  using (
    user_id = (select auth.uid()) and is_shown and tenant_id <> all (array(select private.closed_tenants()))
  )
  with check (
    user_id = (select auth.uid()) and is_shown and tenant_id <> all (array(select private.closed_tenants()))
  );

notify pgrst, 'reload schema';
