-- Outbox: what has to leave the house, mails and webhooks, as rows written with the facts that they tell of. The function
-- `outbox` claims them, delivers, and says what came of it: at least once, with the same id each time.
-- Undo: drop functions lms.claim_deliveries, settle_delivery, get_delivery_failures, replay_deliveries, create_webhook,
-- rotate_webhook_secret, ops.forget_deliveries; delete from ops.jobs where name = 'forget-deliveries', with its cron job; drop
-- tables private.outbox, private.webhook_states, lms.webhooks, lms.message_templates, lms.standard_templates; then the types
-- and functions below.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- What mails say
-- =====================================================================================================

create domain private.mail_subject as text
  constraint subject_is_one_line_of_1_to_200_characters
  check (value ~ '\S' and length(value) <= 200 and value !~ '[\x01-\x1f\x7f]');

create domain private.mail_body as text
  constraint body_is_1_to_10000_characters
  check (value ~ '\S' and length(value) <= 10000 and value !~ '[\x01-\x08\x0b-\x1f\x7f]');

create table lms.standard_templates (
  kind text not null constraint standard_template_kind_is_known references lms.notification_kinds (kind),
  language private.locale not null,
  subject private.mail_subject not null,
  body private.mail_body not null,
  primary key (kind, language)
);

comment on table lms.standard_templates is 'What mails say where the organisation says nothing else. See lms.message_templates.';

create table lms.message_templates (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null constraint message_template_belongs_to_a_tenant references lms.tenants (id),
  kind text not null constraint message_template_kind_is_known references lms.notification_kinds (kind),
  language private.locale not null,
  subject private.mail_subject not null,
  body private.mail_body not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint one_template_per_kind_and_language unique (tenant_id, kind, language)
);
create index message_templates_by_kind on lms.message_templates (kind);

comment on table lms.message_templates is
  'What mails of an organisation say, by kind and language; elsewhere lms.standard_templates counts. Plain text: {{name}} is '
  'replaced by what the kind''s placeholders name, or person, organization and link, and a line in which one of them is empty is left '
  'out. The language is the person''s, else the organisation''s, else en; de-AT falls back to de.';

create trigger _100_timestamps before update on lms.message_templates
  for each row execute function private.touch_updated_at();

-- A text can name nothing but what its kind provides about its own recipient: there is no way from a template to other data.
create function private.check_placeholders()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_known constant text[] := array['person', 'organization', 'link']
    || (select k.placeholders from lms.notification_kinds k where k.kind = new.kind);
  v_unknown text[];
begin
  v_unknown := array(
    select distinct btrim(m.name[1])
    from regexp_matches(new.subject || E'\n' || new.body, '\{\{(.*?)\}\}', 'g') as m (name)
    where btrim(m.name[1]) <> all (v_known)
    order by 1
  );
  if v_unknown <> '{}' then
    perform private.fail(
      'unknown_placeholder', 'Messages of this kind have no such placeholder.', 422,
      jsonb_build_object('unknown', v_unknown, 'known', v_known)
    );
  end if;
  return new;
end
$$;

create trigger _200_placeholders before insert or update on lms.message_templates
  for each row execute function private.check_placeholders();
create trigger _200_placeholders before insert or update on lms.standard_templates
  for each row execute function private.check_placeholders();

insert into lms.standard_templates (kind, language, subject, body) values
  ('training_assigned', 'en', 'New training: {{course}}', E'Hello {{person}},\n\n{{organization}} asks you to take "{{course}}".\nIt is due on {{due_on}}.\n\n{{link}}'),
  ('training_assigned', 'de', 'Neue Schulung: {{course}}', E'Guten Tag {{person}},\n\n{{organization}} bittet Sie, „{{course}}“ zu absolvieren.\nFällig am {{due_on}}.\n\n{{link}}'),
  ('training_assigned', 'es', 'Nueva formación: {{course}}', E'Hola, {{person}}:\n\n{{organization}} le pide que realice «{{course}}».\nVence el {{due_on}}.\n\n{{link}}'),
  ('training_due', 'en', 'Due soon: {{course}}', E'Hello {{person}},\n\n"{{course}}" is due on {{due_on}}.\n\n{{link}}'),
  ('training_due', 'de', 'Bald fällig: {{course}}', E'Guten Tag {{person}},\n\n„{{course}}“ ist am {{due_on}} fällig.\n\n{{link}}'),
  ('training_due', 'es', 'Vence pronto: {{course}}', E'Hola, {{person}}:\n\n«{{course}}» vence el {{due_on}}.\n\n{{link}}'),
  ('training_overdue', 'en', 'Overdue: {{course}}', E'Hello {{person}},\n\n"{{course}}" was due on {{due_on}} and is not completed yet.\n\n{{link}}'),
  ('training_overdue', 'de', 'Überfällig: {{course}}', E'Guten Tag {{person}},\n\n„{{course}}“ war am {{due_on}} fällig und ist noch nicht abgeschlossen.\n\n{{link}}'),
  ('training_overdue', 'es', 'Vencido: {{course}}', E'Hola, {{person}}:\n\n«{{course}}» venció el {{due_on}} y aún no está completado.\n\n{{link}}'),
  ('course_completed', 'en', 'Completed: {{course}}', E'Hello {{person}},\n\nyou have completed "{{course}}".\n\n{{link}}'),
  ('course_completed', 'de', 'Abgeschlossen: {{course}}', E'Guten Tag {{person}},\n\nSie haben „{{course}}“ abgeschlossen.\n\n{{link}}'),
  ('course_completed', 'es', 'Completado: {{course}}', E'Hola, {{person}}:\n\nha completado «{{course}}».\n\n{{link}}'),
  ('certificate_issued', 'en', 'Your certificate: {{course}}', E'Hello {{person}},\n\nyou have earned the certificate {{serial}} for "{{course}}".\nIt is valid until {{expires_on}}.\n\n{{link}}'),
  ('certificate_issued', 'de', 'Ihr Zertifikat: {{course}}', E'Guten Tag {{person}},\n\nSie haben das Zertifikat {{serial}} für „{{course}}“ erworben.\nEs gilt bis {{expires_on}}.\n\n{{link}}'),
  ('certificate_issued', 'es', 'Su certificado: {{course}}', E'Hola, {{person}}:\n\nha obtenido el certificado {{serial}} de «{{course}}».\nEs válido hasta el {{expires_on}}.\n\n{{link}}'),
  ('certificate_expiring', 'en', 'Expires soon: {{course}}', E'Hello {{person}},\n\nyour certificate {{serial}} for "{{course}}" expires on {{expires_on}}.\n\n{{link}}'),
  ('certificate_expiring', 'de', 'Läuft bald ab: {{course}}', E'Guten Tag {{person}},\n\nIhr Zertifikat {{serial}} für „{{course}}“ läuft am {{expires_on}} ab.\n\n{{link}}'),
  ('certificate_expiring', 'es', 'Caduca pronto: {{course}}', E'Hola, {{person}}:\n\nsu certificado {{serial}} de «{{course}}» caduca el {{expires_on}}.\n\n{{link}}'),
  ('result_released', 'en', 'Your result: {{assessment}}', E'Hello {{person}},\n\nyour result of "{{assessment}}" in "{{course}}" can be seen now.\n\n{{link}}'),
  ('result_released', 'de', 'Ihr Ergebnis: {{assessment}}', E'Guten Tag {{person}},\n\nIhr Ergebnis von „{{assessment}}“ in „{{course}}“ liegt vor.\n\n{{link}}'),
  ('result_released', 'es', 'Su resultado: {{assessment}}', E'Hola, {{person}}:\n\nya puede ver su resultado de «{{assessment}}» en «{{course}}».\n\n{{link}}'),
  ('grading_waits', 'en', 'To be graded: {{assessment}}', E'Hello {{person}},\n\nwork on "{{assessment}}" in "{{course}}" waits to be graded.\n\n{{link}}'),
  ('grading_waits', 'de', 'Zu bewerten: {{assessment}}', E'Guten Tag {{person}},\n\neine Arbeit zu „{{assessment}}“ in „{{course}}“ wartet auf Bewertung.\n\n{{link}}'),
  ('grading_waits', 'es', 'Por calificar: {{assessment}}', E'Hola, {{person}}:\n\nhay un trabajo de «{{assessment}}» en «{{course}}» por calificar.\n\n{{link}}'),
  ('enrollment_requested', 'en', 'Request to take {{course}}', E'Hello {{person}},\n\nsomebody asks to take "{{course}}" and waits for your decision.\n\n{{link}}'),
  ('enrollment_requested', 'de', 'Anfrage zu {{course}}', E'Guten Tag {{person}},\n\njemand möchte „{{course}}“ belegen und wartet auf Ihre Entscheidung.\n\n{{link}}'),
  ('enrollment_requested', 'es', 'Solicitud para {{course}}', E'Hola, {{person}}:\n\nalguien solicita realizar «{{course}}» y espera su decisión.\n\n{{link}}'),
  ('enrollment_decided', 'en', 'Your request: {{course}}', E'Hello {{person}},\n\nyour request to take "{{course}}" was decided: {{status}}.\n{{reason}}\n\n{{link}}'),
  ('enrollment_decided', 'de', 'Ihre Anfrage: {{course}}', E'Guten Tag {{person}},\n\nüber Ihre Anfrage zu „{{course}}“ wurde entschieden: {{status}}.\n{{reason}}\n\n{{link}}'),
  ('enrollment_decided', 'es', 'Su solicitud: {{course}}', E'Hola, {{person}}:\n\nse ha decidido sobre su solicitud de «{{course}}»: {{status}}.\n{{reason}}\n\n{{link}}'),
  ('session_changed', 'en', 'Session: {{session}}', E'Hello {{person}},\n\nyour session "{{session}}" ({{course}}): {{status}}.\nIt begins: {{starts_at}}.\nPlace: {{place}}\n\n{{link}}'),
  ('session_changed', 'de', 'Termin: {{session}}', E'Guten Tag {{person}},\n\nIhr Termin „{{session}}“ ({{course}}): {{status}}.\nBeginn: {{starts_at}}.\nOrt: {{place}}\n\n{{link}}'),
  ('session_changed', 'es', 'Sesión: {{session}}', E'Hola, {{person}}:\n\nsu sesión «{{session}}» ({{course}}): {{status}}.\nComienza: {{starts_at}}.\nLugar: {{place}}\n\n{{link}}'),
  ('evidence_submitted', 'en', 'Evidence to be decided on', E'Hello {{person}},\n\nevidence of training for "{{course}}" waits for a decision.\n\n{{link}}'),
  ('evidence_submitted', 'de', 'Nachweis zu prüfen', E'Guten Tag {{person}},\n\nein Schulungsnachweis für „{{course}}“ wartet auf eine Entscheidung.\n\n{{link}}'),
  ('evidence_submitted', 'es', 'Justificante por revisar', E'Hola, {{person}}:\n\nun justificante de formación para «{{course}}» espera una decisión.\n\n{{link}}'),
  ('evidence_decided', 'en', 'Your evidence: {{course}}', E'Hello {{person}},\n\nyour evidence of training for "{{course}}" was decided: {{status}}.\n{{reason}}\n\n{{link}}'),
  ('evidence_decided', 'de', 'Ihr Nachweis: {{course}}', E'Guten Tag {{person}},\n\nüber Ihren Schulungsnachweis für „{{course}}“ wurde entschieden: {{status}}.\n{{reason}}\n\n{{link}}'),
  ('evidence_decided', 'es', 'Su justificante: {{course}}', E'Hola, {{person}}:\n\nse ha decidido sobre su justificante para «{{course}}»: {{status}}.\n{{reason}}\n\n{{link}}'),
  ('report_ready', 'en', 'Your report is ready', E'Hello {{person}},\n\nthe report "{{report}}" is ready.\n{{figures}}\n\n{{link}}'),
  ('report_ready', 'de', 'Ihr Bericht ist fertig', E'Guten Tag {{person}},\n\nder Bericht „{{report}}“ ist fertig.\n{{figures}}\n\n{{link}}'),
  ('report_ready', 'es', 'Su informe está listo', E'Hola, {{person}}:\n\nel informe «{{report}}» está listo.\n{{figures}}\n\n{{link}}'),
  ('invitation', 'en', 'Invitation to {{organization}}', E'Hello {{person}},\n\n{{organization}} invites you to learn with them. Sign up or sign in with the address that received this mail:\n\n{{link}}\n\nThe invitation ends on {{invited_until}}.'),
  ('invitation', 'de', 'Einladung zu {{organization}}', E'Guten Tag {{person}},\n\n{{organization}} lädt Sie zum Lernen ein. Melden Sie sich mit der Adresse an, die diese Nachricht erhalten hat:\n\n{{link}}\n\nDie Einladung endet am {{invited_until}}.'),
  ('invitation', 'es', 'Invitación a {{organization}}', E'Hola, {{person}}:\n\n{{organization}} le invita a su formación. Regístrese o inicie sesión con la dirección que recibió este mensaje:\n\n{{link}}\n\nLa invitación termina el {{invited_until}}.');

-- =====================================================================================================
-- Webhooks
-- =====================================================================================================

-- Over TLS. Plain HTTP is for receivers on the same machine, in development: the function refuses private addresses
-- wherever it is not told otherwise, and it looks at the address that a name resolves to.
create domain private.webhook_address as text
  constraint webhook_address_is_https_without_a_password check (
    value ~ '^(https://[^\s<>"@\\/?#]+|http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?)(/[^\s<>"@\\#]*)?$' and length(value) <= 2000
  );

create table lms.webhooks (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null constraint webhook_belongs_to_a_tenant references lms.tenants (id),
  url private.webhook_address not null,
  description text not null default '' constraint webhook_description_is_short check (length(description) <= 500),
  kinds text[] not null default '{}' constraint webhook_kinds_are_few check (cardinality(kinds) <= 50),
  is_active boolean not null default true,
  created_by uuid,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint webhook_of_its_tenant unique (tenant_id, id)
);

comment on table lms.webhooks is
  'Where an organisation''s own systems are told of events: POST with Standard Webhooks signatures, ids and dates only. Made by '
  'create_webhook, which tells the secret this once.';
comment on column lms.webhooks.kinds is 'Of lms.notification_kinds; empty: all.';
comment on column lms.webhooks.is_active is 'False: nothing is added; what waits is sent when it is true again, within 30 days.';

create trigger _100_timestamps before update on lms.webhooks
  for each row execute function private.touch_updated_at();

create function private.check_webhook_kinds()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.refuse_unknown_kinds((select jsonb_object_agg(k.kind, true) from unnest(new.kinds) as k (kind)));
  return new;
end
$$;

create trigger _200_kinds before insert or update of kinds on lms.webhooks
  for each row execute function private.check_webhook_kinds();

-- Secrets, where no API role reads; and how the receiver has been answering: after several failures in a row it is left alone
-- for a while, so that one that is down costs nobody anything.
create table private.webhook_states (
  webhook_id uuid primary key constraint state_of_a_webhook references lms.webhooks (id) on delete cascade,
  secret text not null,
  previous_secret text,
  previous_until timestamptz,
  failures integer not null default 0,
  paused_until timestamptz
);
alter table private.webhook_states enable row level security;

comment on column private.webhook_states.previous_secret is 'Signs as well for a day after it was replaced.';

create function private.new_webhook_secret()
returns text
language plpgsql
volatile
set search_path = ''
as $$
begin
  return 'whsec_' || encode(extensions.gen_random_bytes(32), 'base64');
end
$$;

create function private.require_webhook_right(p_tenant_id uuid)
returns void
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  if private.is_api_call() and not coalesce(p_tenant_id = any (array(select private.tenants_where('tenant.settings'))), false) then
    raise insufficient_privilege using message = 'Webhooks take tenant.settings in the whole organisation.';
  end if;
end
$$;

create type lms.issued_webhook as (webhook_id uuid, url text, kinds text[], secret text);
comment on type lms.issued_webhook is 'A webhook with its secret, which is told this once.';

-- Definer, because nobody may write secrets; so they check their caller.
create function private.write_webhook(p_wanted lms.webhooks)
returns lms.issued_webhook
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_webhook lms.webhooks;
  v_secret constant text := private.new_webhook_secret();
begin
  perform private.require_webhook_right(p_wanted.tenant_id);
  -- Each event is sent to each of them.
  perform pg_advisory_xact_lock(hashtextextended('lyceum webhooks ' || p_wanted.tenant_id, 0));
  if (select count(*) from lms.webhooks w where w.tenant_id = p_wanted.tenant_id) >= 20 then
    perform private.fail('too_many_webhooks', 'An organisation has at most 20 webhooks.', 409);
  end if;
  insert into lms.webhooks (tenant_id, url, description, kinds, created_by)
  values (p_wanted.tenant_id, p_wanted.url, p_wanted.description, p_wanted.kinds, (select auth.uid()))
  returning * into v_webhook;
  insert into private.webhook_states (webhook_id, secret) values (v_webhook.id, v_secret);
  return (v_webhook.id, v_webhook.url, v_webhook.kinds, v_secret)::lms.issued_webhook;
end
$$;

create function lms.create_webhook(p_tenant_id uuid, p_url text, p_kinds text[] default '{}', p_description text default '')
returns lms.issued_webhook
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_wanted lms.webhooks;
begin
  -- Read as the caller: a tenant that they cannot see does not exist for them.
  if not exists (select from lms.tenants t where t.id = p_tenant_id) then
    perform private.fail('tenant_not_found', 'There is no such organisation.', 404);
  end if;
  v_wanted.tenant_id := p_tenant_id;
  v_wanted.url := p_url;
  v_wanted.kinds := coalesce(p_kinds, '{}');
  v_wanted.description := coalesce(p_description, '');
  return private.write_webhook(v_wanted);
end
$$;

comment on function lms.create_webhook is
  'Has events of a tenant sent to an address (https), of the kinds named or of all, and returns the secret that signs them, this '
  'once. Takes tenant.settings in the whole tenant: 403. 404 tenant_not_found; 409 too_many_webhooks; 422 '
  'unknown_notification_kind; 23514 webhook_address_is_https_without_a_password.';

create function private.replace_webhook_secret(p_webhook_id uuid)
returns lms.issued_webhook
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_webhook lms.webhooks;
  v_secret constant text := private.new_webhook_secret();
begin
  select * into v_webhook from lms.webhooks w where w.id = p_webhook_id for no key update;
  perform private.require_webhook_right(v_webhook.tenant_id);
  update private.webhook_states s
  set previous_secret = s.secret, previous_until = now() + interval '1 day', secret = v_secret
  where s.webhook_id = p_webhook_id;
  return (v_webhook.id, v_webhook.url, v_webhook.kinds, v_secret)::lms.issued_webhook;
end
$$;

create function lms.rotate_webhook_secret(p_webhook_id uuid)
returns lms.issued_webhook
language plpgsql
volatile
set search_path = ''
as $$
begin
  -- Read as the caller: another tenant's webhook does not exist for them.
  if not exists (select from lms.webhooks w where w.id = p_webhook_id) then
    perform private.fail('webhook_not_found', 'There is no such webhook.', 404);
  end if;
  return private.replace_webhook_secret(p_webhook_id);
end
$$;

comment on function lms.rotate_webhook_secret is
  'Gives a webhook another secret, which is returned this once; for a day both sign. Takes tenant.settings in the whole tenant. '
  '404 webhook_not_found.';

grant execute on function private.write_webhook, private.replace_webhook_secret to authenticated, service_role;
grant execute on function lms.create_webhook, lms.rotate_webhook_secret to authenticated, service_role;

-- =====================================================================================================
-- The outbox
-- =====================================================================================================

create table private.outbox (
  id uuid primary key default private.uuid_v7(),
  tenant_id uuid not null constraint delivery_is_of_a_tenant references lms.tenants (id),
  channel text not null constraint delivery_channel_is_known check (channel in ('email', 'webhook')),
  kind text not null constraint delivery_kind_is_known references lms.notification_kinds (kind),
  user_id uuid constraint delivery_is_about_a_person references public.profiles (id),
  invitation_id uuid,
  webhook_id uuid,
  event_id uuid not null,
  course_id uuid,
  enrollment_id uuid,
  params jsonb not null default '{}',
  token text,
  status text not null default 'pending'
    constraint delivery_status_is_known check (status in ('pending', 'delivered', 'dead', 'discarded')),
  attempts integer not null default 0,
  next_attempt_at timestamptz not null default now(),
  lease uuid,
  leased_until timestamptz,
  last_error text constraint delivery_error_is_short check (length(last_error) <= 500),
  created_at timestamptz not null default now(),
  delivered_at timestamptz,
  dead_at timestamptz,
  constraint delivery_invitation_is_of_the_same_tenant foreign key (tenant_id, invitation_id)
    references lms.invitations (tenant_id, id) on delete cascade,
  constraint delivery_webhook_is_of_the_same_tenant foreign key (tenant_id, webhook_id)
    references lms.webhooks (tenant_id, id) on delete cascade,
  constraint delivery_has_one_receiver check (
    case channel when 'email' then webhook_id is null and (user_id is null) <> (invitation_id is null) else webhook_id is not null end
  ),
  constraint delivery_has_the_dates_of_its_status check (
    (status = 'delivered') = (delivered_at is not null) and (status = 'dead') = (dead_at is not null)
  ),
  constraint delivery_keeps_no_token_once_it_is_settled check (status = 'pending' or token is null)
);
create index outbox_mails on private.outbox (tenant_id, next_attempt_at) where status = 'pending' and channel = 'email';
create index outbox_of_webhooks on private.outbox (webhook_id, next_attempt_at) where status = 'pending';
create index outbox_by_webhook on private.outbox (tenant_id, webhook_id);
create index outbox_by_invitation on private.outbox (tenant_id, invitation_id);
create index outbox_by_person on private.outbox (user_id);
create index outbox_by_kind on private.outbox (kind);
create index outbox_failures on private.outbox (tenant_id, id) where status = 'dead' or (status = 'pending' and last_error is not null);
create index outbox_waiting on private.outbox (next_attempt_at) where status = 'pending';
create index outbox_settled on private.outbox (created_at) where status in ('delivered', 'discarded');
create index outbox_dead on private.outbox (created_at) where status = 'dead';

comment on table private.outbox is
  'What is to be delivered, and what came of it. Addresses are looked up when it is sent: nothing goes to one that somebody has given '
  'up, and none is kept here.';
comment on column private.outbox.event_id is 'The notification: the same for all who are told of the same event.';
comment on column private.outbox.token is
  'What opens an invitation, in the clear, from when it is sent until it is delivered or given up: the mail cannot be written without.';
alter table private.outbox enable row level security;

create function private.has_webhook(p_tenant_id uuid, p_kind text)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return exists (
    select from lms.webhooks w where w.tenant_id = p_tenant_id and w.is_active and (w.kinds = '{}' or p_kind = any (w.kinds))
  );
end
$$;

create function private.enqueue_deliveries(p_told lms.notifications[])
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  insert into private.outbox (tenant_id, channel, kind, user_id, event_id, course_id, enrollment_id, params)
  select n.tenant_id, 'email', n.kind, n.user_id, n.id, n.course_id, n.enrollment_id, n.params
  from unnest(p_told) n
  join lms.notification_kinds k on k.kind = n.kind
  join lms.tenants t on t.id = n.tenant_id
  join public.profile_private p on p.profile_id = n.user_id and p.email is not null
  where private.is_wanted(p.notification_preferences, t.settings #> '{notifications,defaults}', k.kind, 'email', k.email);

  -- One that somebody is deleting is passed over: to wait for it, and then to fail, would cost the people their notifications.
  with receivers as materialized (
    select w.id, w.tenant_id, w.kinds
    from lms.webhooks w
    where w.tenant_id = any (array(select distinct n.tenant_id from unnest(p_told) n)) and w.is_active
    order by w.id
    for key share skip locked
  )
  insert into private.outbox (tenant_id, channel, kind, user_id, webhook_id, event_id, course_id, enrollment_id, params)
  select
    n.tenant_id, 'webhook', n.kind, n.user_id, w.id, n.id, n.course_id, n.enrollment_id,
    -- Ids, days, times and states: what a receiver needs to look the rest up with rights of its own.
    coalesce(
      (
        select jsonb_object_agg(p.key, p.value)
        from jsonb_each(n.params) as p
        where p.key in ('status', 'days') or p.key ~ '_(on|at|id)$'
      ),
      '{}'
    )
  from unnest(p_told) n
  join receivers w on w.tenant_id = n.tenant_id and (w.kinds = '{}' or n.kind = any (w.kinds));
end
$$;

-- Where there is an address for its link to lead to, an invitation is mailed; else whoever invites passes the link on. The
-- link of a renewed invitation is dead, so its mail is not sent any more. Three a day to one address: nobody's inbox is filled
-- by inviting them again and again.
create function private.enqueue_invitation(p_invitation lms.invitations, p_token text)
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  begin
    update private.outbox o
    set status = 'discarded', token = null
    where o.tenant_id = p_invitation.tenant_id and o.invitation_id = p_invitation.id and o.status = 'pending';
    insert into private.outbox (tenant_id, channel, kind, invitation_id, event_id, params, token)
    select
      t.id, 'email', 'invitation', p_invitation.id, p_invitation.id,
      jsonb_build_object('invited_until', (p_invitation.expires_at at time zone t.time_zone)::date), p_token
    from lms.tenants t
    where t.id = p_invitation.tenant_id and t.settings #>> '{notifications,app_url}' is not null
      and coalesce((t.settings #>> '{notifications,defaults,invitation,email}')::boolean, true)
      and (
        select count(*)
        from private.outbox o
        join lms.invitations i on i.id = o.invitation_id
        where o.tenant_id = t.id and i.email = p_invitation.email and o.created_at > now() - interval '1 day'
      ) < 3;
  exception
    when others then
      raise warning 'The mail of invitation % was not made: %: %', p_invitation.id, sqlstate, sqlerrm;
  end;
end
$$;

-- =====================================================================================================
-- Delivering: for the service role alone
-- =====================================================================================================

create type lms.delivery as (
  id uuid, lease uuid, channel text, kind text, attempt integer, created_at timestamptz, tenant_id uuid, webhook_id uuid,
  recipient text, organization text, language text, subject text, body text, params jsonb, url text, secrets text[],
  payload jsonb
);
comment on type lms.delivery is
  'A delivery that the caller holds until its lease ends. Mails: recipient, language, subject and body with their placeholders, '
  'params. Webhooks: url, secrets, payload.';

create function private.first_language(p_languages text[])
returns setof text
language plpgsql
immutable
rows 5
set search_path = ''
as $$
begin
  return query
  select f.language
  from (
    select l.language, l.place * 2 as place from unnest(p_languages) with ordinality as l (language, place)
    union all
    select split_part(l.language, '-', 1), l.place * 2 + 1 from unnest(p_languages) with ordinality as l (language, place)
  ) f
  where f.language is not null
  group by f.language
  order by min(f.place);
end
$$;

-- Times as the clock on the wall of the organisation shows them.
create function private.local_params(p_params jsonb, p_time_zone text)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return coalesce(
    (
      select jsonb_object_agg(
        p.key,
        case
          when p.key ~ '_at$' and p.value #>> '{}' ~ '^\d{4}-\d\d-\d\d[T ]\d\d:\d\d'
            then to_jsonb(to_char((p.value #>> '{}')::timestamptz at time zone p_time_zone, 'YYYY-MM-DD HH24:MI'))
          else p.value
        end
      )
      from jsonb_each(p_params) as p
    ),
    '{}'
  );
end
$$;

-- Nothing goes to somebody who is no longer active when it is sent. Whoever asked from outside has no membership.
create function private.may_be_mailed(p_delivery private.outbox)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  if p_delivery.invitation_id is not null then
    return exists (
      select
      from lms.invitations i
      where i.id = p_delivery.invitation_id and i.accepted_at is null and i.revoked_at is null and i.expires_at > now()
    );
  end if;
  return exists (
    select
    from public.profiles p
    join public.profile_private q on q.profile_id = p.id and q.email is not null
    where p.id = p_delivery.user_id and p.is_active
  ) and not exists (
    select
    from lms.memberships m
    where m.tenant_id = p_delivery.tenant_id and m.user_id = p_delivery.user_id and m.status <> 'active'
  );
end
$$;

-- One receiver that is slow, down or flooded stops no other: of each webhook and of each tenant's mails a few are taken at a
-- time, in turns; of a webhook none while another run is at it or it is paused, and after that one, to see whether it is back.
-- Two runs at once take different ones; what a run that died had taken is taken again when its lease is over, by the same id.
create function private.take_deliveries(p_channel text, p_limit integer, p_lease_seconds integer)
returns setof lms.delivery
language plpgsql
volatile security definer
rows 50
set search_path = ''
as $$
declare
  c_most_attempts constant integer := 12;
  v_ids uuid[];
begin
  if p_channel = 'email' then
    select array_agg(c.id order by c.turn, c.next_attempt_at) into v_ids
    from (
      select o.id, o.turn, o.next_attempt_at
      from lms.tenants t
      cross join lateral (
        select k.id, k.next_attempt_at, row_number() over (order by k.next_attempt_at, k.id) as turn
        from private.outbox k
        where k.tenant_id = t.id and k.status = 'pending' and k.channel = 'email' and k.next_attempt_at <= now()
          and (k.leased_until is null or k.leased_until <= now())
        order by k.next_attempt_at, k.id
        limit p_limit
      ) o
      where t.is_active
      order by o.turn, o.next_attempt_at
      limit p_limit
    ) c;
  else
    -- Whoever holds the state holds the webhook's queue.
    select array_agg(c.id) into v_ids
    from (
      select o.id
      from lms.webhooks w
      join lms.tenants t on t.id = w.tenant_id and t.is_active
      join lateral (
        select s.failures
        from private.webhook_states s
        where s.webhook_id = w.id and (s.paused_until is null or s.paused_until <= now())
        for update skip locked
      ) s on true
      cross join lateral (
        select k.id, k.next_attempt_at, row_number() over (order by k.next_attempt_at, k.id) as turn
        from private.outbox k
        where k.webhook_id = w.id and k.status = 'pending' and k.next_attempt_at <= now()
        order by k.next_attempt_at, k.id
        limit case when s.failures >= 5 then 1 else 20 end
      ) o
      where w.is_active and not exists (
        select from private.outbox l where l.webhook_id = w.id and l.status = 'pending' and l.leased_until > now()
      )
      order by o.turn, o.next_attempt_at
      limit p_limit
    ) c;
  end if;

  v_ids := array(
    select o.id
    from private.outbox o
    where o.id = any (v_ids) and o.status = 'pending' and (o.leased_until is null or o.leased_until <= now())
    for no key update skip locked
  );
  update private.outbox o
  set status = 'discarded', token = null, lease = null, leased_until = null
  where o.id = any (v_ids) and o.channel = 'email' and not private.may_be_mailed(o);
  -- Runs that died with it, again and again.
  update private.outbox o
  set status = 'dead', dead_at = now(), token = null, lease = null, leased_until = null,
      last_error = coalesce(o.last_error, 'no run came back')
  where o.id = any (v_ids) and o.status = 'pending' and o.attempts >= c_most_attempts;

  return query
  with taken as (
    update private.outbox o
    set lease = gen_random_uuid(), leased_until = now() + make_interval(secs => p_lease_seconds), attempts = o.attempts + 1
    where o.id = any (v_ids) and o.status = 'pending'
    returning o.*
  )
  select
    o.id, o.lease, o.channel, o.kind, o.attempts, o.created_at, o.tenant_id, o.webhook_id,
    coalesce(q.email, i.email::text), t.name::text, text.language, text.subject, text.body,
    case o.channel when 'email' then
      jsonb_strip_nulls(private.local_params(o.params, t.time_zone) || jsonb_build_object(
        'person', coalesce(nullif(p.first_name, ''), p.display_name, nullif(i.first_name, '')),
        'organization', t.name,
        'link', rtrim(t.settings #>> '{notifications,app_url}', '/') || case when o.token is not null then '?invitation=' || o.token else '' end
      ))
    end,
    w.url::text,
    case when s.webhook_id is not null then
      array_remove(array[s.secret, case when s.previous_until > now() then s.previous_secret end], null)
    end,
    case o.channel when 'webhook' then jsonb_build_object(
      'type', o.kind,
      'timestamp', o.created_at,
      'data', jsonb_build_object(
        'event_id', o.event_id, 'tenant_id', o.tenant_id, 'user_id', o.user_id, 'course_id', o.course_id,
        'enrollment_id', o.enrollment_id
      ) || o.params
    ) end
  from taken o
  join lms.tenants t on t.id = o.tenant_id
  left join public.profiles p on p.id = o.user_id and o.channel = 'email'
  left join public.profile_private q on q.profile_id = p.id
  left join lms.invitations i on i.id = o.invitation_id
  left join lms.webhooks w on w.id = o.webhook_id
  left join private.webhook_states s on s.webhook_id = w.id
  left join lateral (
    select m.language, m.subject, m.body
    from private.first_language(array[q.locale::text, t.locale::text, 'en']) with ordinality as l (language, place)
    join (
      select a.language::text, a.subject::text, a.body::text, 1 as source
      from lms.message_templates a
      where a.tenant_id = o.tenant_id and a.kind = o.kind
      union all
      select b.language::text, b.subject::text, b.body::text, 2
      from lms.standard_templates b
      where b.kind = o.kind
    ) m on m.language = l.language
    order by l.place, m.source
    limit 1
  ) as text on o.channel = 'email'
  order by o.created_at, o.id;
end
$$;

create function lms.claim_deliveries(p_channel text, p_limit integer default 50, p_lease_seconds integer default 60)
returns setof lms.delivery
language plpgsql
volatile
rows 50
set search_path = ''
as $$
begin
  if not coalesce(p_channel in ('email', 'webhook') and p_limit between 1 and 500 and p_lease_seconds between 5 and 900, false) then
    perform private.fail('invalid_claim', 'Channel, limit (1 to 500) or lease (5 to 900 seconds) is at fault.', 422);
  end if;
  return query select * from private.take_deliveries(p_channel, p_limit, p_lease_seconds);
end
$$;

comment on function lms.claim_deliveries is
  'Hands out deliveries that are due, each for p_lease_seconds, and counts the attempt. For the service role.';

-- `delivered`; `failed`, to be tried again after p_retry_seconds, or dead by then; `rejected`, dead at once, for the receiver will
-- never take it; `deferred`, given back untried. Says false when the lease is over and somebody else may have it.
create function private.note_delivery(p_id uuid, p_lease uuid, p_outcome text, p_error text, p_retry_seconds integer)
returns boolean
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  c_most_attempts constant integer := 12;
  c_most_failures constant integer := 5;
  v_delivery private.outbox;
  v_outcome text := p_outcome;
begin
  select * into v_delivery from private.outbox o where o.id = p_id and o.lease = p_lease and o.status = 'pending' for no key update;
  if not found then
    return false;
  end if;
  if v_outcome = 'failed' and v_delivery.attempts >= c_most_attempts then
    v_outcome := 'rejected';
  end if;
  update private.outbox o
  set status = case v_outcome when 'delivered' then 'delivered' when 'rejected' then 'dead' else 'pending' end,
      delivered_at = case v_outcome when 'delivered' then now() end,
      dead_at = case v_outcome when 'rejected' then now() end,
      token = case when v_outcome in ('failed', 'deferred') then o.token end,
      attempts = case v_outcome when 'deferred' then greatest(o.attempts - 1, 0) else o.attempts end,
      next_attempt_at = now() + make_interval(secs => p_retry_seconds),
      last_error = case when v_outcome = 'delivered' then null else coalesce(left(p_error, 500), o.last_error) end,
      lease = null, leased_until = null
  where o.id = p_id;
  if v_delivery.webhook_id is not null and p_outcome <> 'deferred' then
    update private.webhook_states s
    set failures = case p_outcome when 'failed' then least(s.failures + 1, 1000) else 0 end,
        paused_until = case when p_outcome = 'failed' and s.failures + 1 >= c_most_failures
          then now() + make_interval(secs => least(30 * power(2, least(s.failures + 1 - c_most_failures, 7)), 3600))
        end
    where s.webhook_id = v_delivery.webhook_id;
  end if;
  return true;
end
$$;

create function lms.settle_delivery(
  p_id uuid, p_lease uuid, p_outcome text, p_error text default null, p_retry_seconds integer default 60
)
returns boolean
language plpgsql
volatile
set search_path = ''
as $$
begin
  if not coalesce(
    p_outcome in ('delivered', 'failed', 'rejected', 'deferred') and p_retry_seconds between 0 and 604800, false
  ) then
    perform private.fail('invalid_outcome', 'Outcome or pause (up to a week) is at fault.', 422);
  end if;
  return private.note_delivery(p_id, p_lease, p_outcome, p_error, p_retry_seconds);
end
$$;

comment on function lms.settle_delivery is
  'Says what came of a delivery: delivered, failed, rejected or deferred. After 12 failures it is dead. For the service role.';

grant execute on function private.take_deliveries, private.note_delivery, lms.claim_deliveries, lms.settle_delivery to service_role;

-- =====================================================================================================
-- Dead letters
-- =====================================================================================================

create type lms.delivery_failure as (
  id uuid, channel text, kind text, status text, user_id uuid, webhook_id uuid, course_id uuid, attempts integer,
  last_error text, created_at timestamptz, next_attempt_at timestamptz, dead_at timestamptz
);
comment on type lms.delivery_failure is 'status: dead, until it is replayed; pending, tried in vain and to be tried again at next_attempt_at.';

-- Definer, because nobody reads the outbox; so it checks its caller.
create function private.read_delivery_failures(p_tenant_id uuid, p_limit integer, p_after uuid)
returns setof lms.delivery_failure
language plpgsql
stable security definer
rows 100
set search_path = ''
as $$
begin
  perform private.require_webhook_right(p_tenant_id);
  return query
  select
    o.id, o.channel, o.kind, o.status, o.user_id, o.webhook_id, o.course_id, o.attempts, o.last_error, o.created_at,
    case o.status when 'pending' then o.next_attempt_at end, o.dead_at
  from private.outbox o
  where o.tenant_id = p_tenant_id and (o.status = 'dead' or (o.status = 'pending' and o.last_error is not null))
    and (p_after is null or o.id < p_after)
  order by o.id desc
  limit p_limit;
end
$$;

create function lms.get_delivery_failures(p_tenant_id uuid, p_limit integer default 100, p_after uuid default null)
returns setof lms.delivery_failure
language plpgsql
stable
rows 100
set search_path = ''
as $$
begin
  if p_limit is null or p_limit not between 1 and 1000 then
    perform private.fail('invalid_limit', 'The limit is a number from 1 to 1000.', 422, jsonb_build_object('field', 'p_limit'));
  elsif not exists (select from lms.tenants t where t.id = p_tenant_id) then
    perform private.fail('tenant_not_found', 'There is no such organisation.', 404);
  end if;
  return query select * from private.read_delivery_failures(p_tenant_id, p_limit, p_after);
end
$$;

comment on function lms.get_delivery_failures is
  'Mails and webhooks of a tenant that could not be delivered, newest first: dead ones, and those that are still tried. Next page: '
  'p_after = the last id received. Takes tenant.settings in the whole tenant: 403. 404 tenant_not_found; 422 invalid_limit.';

create function private.replay_deliveries_of_caller(p_ids uuid[])
returns integer
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_replayed integer;
begin
  -- Others' are passed over, as if there were none. An invitation's mail is written no more: its token is gone.
  update private.outbox o
  set status = 'pending', dead_at = null, attempts = 0, next_attempt_at = now()
  where o.id in (
    select d.id
    from private.outbox d
    where d.id = any (p_ids) and d.status = 'dead' and d.kind <> 'invitation' and (
      not private.is_api_call() or d.tenant_id = any (array(select private.tenants_where('tenant.settings')))
    )
    order by d.id
    for no key update
  );
  get diagnostics v_replayed = row_count;
  update private.webhook_states s
  set failures = 0, paused_until = null
  where s.paused_until is not null and s.webhook_id in (
    select o.webhook_id from private.outbox o where o.id = any (p_ids) and o.status = 'pending' and o.webhook_id is not null
      and (not private.is_api_call() or o.tenant_id = any (array(select private.tenants_where('tenant.settings'))))
  );
  return v_replayed;
end
$$;

create function lms.replay_deliveries(p_ids uuid[])
returns integer
language plpgsql
volatile
set search_path = ''
as $$
begin
  if p_ids is null or cardinality(p_ids) > 1000 then
    perform private.fail('invalid_ids', 'Name up to 1000 deliveries.', 422, jsonb_build_object('field', 'p_ids'));
  end if;
  return private.replay_deliveries_of_caller(p_ids);
end
$$;

comment on function lms.replay_deliveries is
  'Sends dead deliveries again, with the ids that they had; returns how many are tried anew. Others than dead ones, those of '
  'organisations in which the caller lacks tenant.settings, and mails of invitations (invite again) are passed over. 422 invalid_ids.';

grant execute on function private.read_delivery_failures, private.replay_deliveries_of_caller to authenticated, service_role;
grant execute on function lms.get_delivery_failures, lms.replay_deliveries to authenticated, service_role;

-- =====================================================================================================
-- Forgetting
-- =====================================================================================================

create function ops.forget_deliveries(p_batch integer default 10000)
returns integer
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_given_up integer;
  v_forgotten integer;
  v_notices integer;
begin
  -- Nobody has asked for it for a month: the webhook is switched off, or the organisation is.
  update private.outbox o
  set status = 'dead', dead_at = now(), token = null, lease = null, leased_until = null, last_error = coalesce(o.last_error, 'never sent')
  where o.id in (
    select d.id
    from private.outbox d
    where d.status = 'pending' and d.next_attempt_at < now() - interval '30 days'
    order by d.next_attempt_at
    limit p_batch
    for no key update skip locked
  );
  get diagnostics v_given_up = row_count;
  delete from private.outbox o
  where o.id in (
    -- Each by an index of its own: the dead of the last months would stand before all others in one of all.
    select s.id
    from (
      select d.id
      from private.outbox d
      where d.status in ('delivered', 'discarded') and d.created_at < now() - interval '30 days'
      order by d.created_at
      limit p_batch
      for update skip locked
    ) s
    union all
    select s.id
    from (
      select d.id
      from private.outbox d
      where d.status = 'dead' and d.created_at < now() - interval '120 days'
      order by d.created_at
      limit p_batch
      for update skip locked
    ) s
  );
  get diagnostics v_forgotten = row_count;
  -- Longer than anything is reminded of: what was told once is not told again.
  delete from lms.notifications n
  where n.id in (
    select d.id from lms.notifications d where d.created_at < now() - interval '1200 days' order by d.created_at limit p_batch
    for update skip locked
  );
  get diagnostics v_notices = row_count;
  return v_given_up + v_forgotten + v_notices;
end
$$;

comment on function ops.forget_deliveries is
  'Gives up what nobody asked for in 30 days, forgets deliveries after 30 days, dead ones after 120 and notifications after 1200; '
  'returns how many.';

grant execute on function ops.forget_deliveries to service_role;

-- =====================================================================================================
-- Policies and grants
-- =====================================================================================================

alter table lms.standard_templates enable row level security;
alter table lms.message_templates enable row level security;
alter table lms.webhooks enable row level security;

grant select on lms.standard_templates to authenticated, service_role;

create policy "Built-in texts are open to people signed in" on lms.standard_templates
  for select to authenticated
  using (true);

grant all on lms.message_templates to service_role;
grant select, delete on lms.message_templates to authenticated;
grant insert (tenant_id, kind, language, subject, body) on lms.message_templates to authenticated;
grant update (subject, body) on lms.message_templates to authenticated;

create policy "Texts of mails are seen by those who keep settings" on lms.message_templates
  for select to authenticated
  using (tenant_id = any (array(select private.tenants_where('tenant.settings'))));

create policy "Texts of mails are added by those who keep settings" on lms.message_templates
  for insert to authenticated
  with check (tenant_id = any (array(select private.tenants_where('tenant.settings'))));

create policy "Texts of mails are changed by those who keep settings" on lms.message_templates
  for update to authenticated
  using (tenant_id = any (array(select private.tenants_where('tenant.settings'))))
  with check (tenant_id = any (array(select private.tenants_where('tenant.settings'))));

create policy "Texts of mails are removed by those who keep settings" on lms.message_templates
  for delete to authenticated
  using (tenant_id = any (array(select private.tenants_where('tenant.settings'))));

-- Made by create_webhook alone: a row without a secret would send nothing.
grant select on lms.webhooks to service_role;
grant select, delete on lms.webhooks to authenticated;
grant update (url, description, kinds, is_active) on lms.webhooks to authenticated;

create policy "Webhooks are seen by those who keep settings" on lms.webhooks
  for select to authenticated
  using (tenant_id = any (array(select private.tenants_where('tenant.settings'))));

create policy "Webhooks are changed by those who keep settings" on lms.webhooks
  for update to authenticated
  using (tenant_id = any (array(select private.tenants_where('tenant.settings'))))
  with check (tenant_id = any (array(select private.tenants_where('tenant.settings'))));

create policy "Webhooks are removed by those who keep settings" on lms.webhooks
  for delete to authenticated
  using (tenant_id = any (array(select private.tenants_where('tenant.settings'))));

notify pgrst, 'reload schema';
