-- Outbox: what has to leave the house, mails and webhooks, as rows written with the facts that they tell of. The function
-- `outbox` claims them, delivers, and says what came of it: at least once, with the same id each time.
-- Undo: drop functions lms.claim_deliveries, settle_delivery, get_delivery_failures, replay_deliveries, create_webhook,
-- rotate_webhook_secret, ops.forget_deliveries; delete from ops.jobs where name = 'forget-deliveries', with its cron job; drop
-- tables private.outbox, private.webhook_states, lms.webhooks, lms.message_templates, lms.builtin_templates; then the types
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

create table lms.builtin_templates (
  kind text not null constraint builtin_template_kind_is_known references lms.notification_kinds (kind),
  language private.locale not null,
  subject private.mail_subject not null,
  body private.mail_body not null,
  primary key (kind, language)
);

comment on table lms.builtin_templates is 'What mails say where the organisation says nothing else. See lms.message_templates.';

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
  'What mails of an organisation say, by kind and language; elsewhere lms.builtin_templates counts. Plain text: {{name}} is '
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
create trigger _200_placeholders before insert or update on lms.builtin_templates
  for each row execute function private.check_placeholders();

insert into lms.builtin_templates (kind, language, subject, body) values
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
create index outbox_dead on private.outbox (tenant_id, id) where status = 'dead';
create index outbox_by_age on private.outbox (created_at);

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
  join lms.webhooks w on w.tenant_id = n.tenant_id and w.is_active and (w.kinds = '{}' or n.kind = any (w.kinds));
end
$$;
