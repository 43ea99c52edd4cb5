-- The outbox: what is claimed by whom and when, what becomes of it, dead letters; webhooks and texts of mails.

begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press'), tests.unit('north', 'works');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'), tests.member('marco', 'works', 'unit_manager', 'north', 'north'), tests.member('ines', 'works', 'instructor'),
  tests.member('dora', 'works', 'learner', 'north'), tests.member('sid', 'works'), tests.member('petra', 'press', 'tenant_admin'), tests.member('paul', 'press');
select tests.custom_role('works', 'keeper', '{tenant.settings}');
select tests.member('part', 'works', 'keeper', 'north', 'north');

create function tests.notifies(who text, kind text, key text, tenant text default 'works', params jsonb default '{}') returns void language sql as $$
  select private.notify(tests.id(tenant), tests.id(who), kind, null, null, params, key)
$$;
create function tests.claims(channel text, how_many integer default 50) returns setof lms.delivery language plpgsql as $$
begin
  perform tests.as_service();
  return query select * from lms.claim_deliveries(channel, how_many, 60);
  perform tests.as_owner();
end
$$;
create function tests.settles(delivery lms.delivery, outcome text, error text default null, seconds integer default 0) returns boolean language plpgsql as $$
declare
  v_settled boolean;
begin
  perform tests.as_service();
  v_settled := lms.settle_delivery(delivery.id, delivery.lease, outcome, error, seconds);
  perform tests.as_owner();
  return v_settled;
end
$$;
create function tests.states() returns text language sql as $$
  select string_agg(n.status || ' ' || n.count, ', ' order by n.status) from (select o.status, count(*) from private.outbox o group by 1) n
$$;
create temporary table claimed of lms.delivery;
grant all on claimed to public;

-- =====================================================================================================
-- Claims and leases
-- =====================================================================================================

select is(tests.try(who, statement), expected, format('%s: %s', who, expected))
from (values ('boss', '42501'), ('dora', '42501'), ('anonymous', '42501'), ('service', '0')) as cases (who, expected),
  unnest(array[$$ select * from lms.claim_deliveries('email') $$, $$ select where lms.settle_delivery(gen_random_uuid(), gen_random_uuid(), 'delivered') $$]) as statement;
select is(tests.try('service', statement), '422 ' || code, statement) from (values
  ($$ select lms.claim_deliveries('pigeon') $$, 'invalid_claim'), ($$ select lms.claim_deliveries(null) $$, 'invalid_claim'), ($$ select lms.claim_deliveries('email', 0) $$, 'invalid_claim'),
  ($$ select lms.claim_deliveries('email', 10, 1) $$, 'invalid_claim'), ($$ select lms.settle_delivery(null, null, 'lost') $$, 'invalid_outcome'), ($$ select lms.settle_delivery(null, null, 'failed', null, -1) $$, 'invalid_outcome')
) as cases (statement, code);

select tests.notifies('dora', 'training_due', '1', params => '{"course": "Cranes", "starts_at": "2031-05-01 12:00:00+00"}');
update lms.tenants set time_zone = 'America/Denver' where id = tests.id('works');
insert into claimed select * from tests.claims('email');
select results_eq(
  'select recipient, organization, language, attempt, params from claimed',
  $$ values ('dora@example.com', 'Works', 'en', 1, '{"course": "Cranes", "starts_at": "2031-05-01 06:00", "person": "Dora", "organization": "Works"}'::jsonb) $$,
  'a claim holds all that it takes to write the mail, times by the clock of the organisation'
);
select is_empty($$ select * from tests.claims('email') $$, 'what is claimed is claimed by nobody else');
update private.outbox set leased_until = now();
create temporary table again as select * from tests.claims('email');
select results_eq('select id, attempt from again', 'select id, 2 from claimed', 'when the lease is over it is claimed again, by the same id');
select ok(not tests.settles(c, 'delivered'), 'whoever lost the lease says nothing any more') from claimed c;
select ok(tests.settles(c::text::lms.delivery, 'deferred'), 'giving it back costs no attempt') from again c;
select is((select o.attempts from private.outbox o), 1, '... indeed');
create function tests.fail_once(seconds integer default 0) returns void language plpgsql as $$
declare
  v_delivery lms.delivery;
begin
  for v_delivery in select * from tests.claims('email') loop
    perform tests.settles(v_delivery, 'failed', 'smtp 451', seconds);
  end loop;
end
$$;
select tests.fail_once(600);
select is_empty($$ select * from tests.claims('email') $$, 'a failure waits for its pause');
update private.outbox set next_attempt_at = now();
select tests.fail_once() from generate_series(1, 9);
select is(tests.states(), 'pending 1', 'eleven attempts are not enough');
select tests.fail_once();
select is(tests.states(), 'dead 1', 'twelve are');

-- =====================================================================================================
-- Dead letters
-- =====================================================================================================

select is(tests.try(who, format('select * from lms.get_delivery_failures(%L)', tests.id('works'))), expected, format('%s sees failures: %s', who, expected))
from (values
  ('boss', '1'), ('hanna', '42501'), ('marco', '42501'), ('part', '42501'), ('ines', '42501'), ('dora', '42501'), ('petra', '404 tenant_not_found'), ('anonymous', '42501')
) as cases (who, expected);
select results_eq(
  format('select d.channel, d.kind, d.status, d.attempts, d.last_error from private.read_delivery_failures(%L, 10, null) d', tests.id('works')),
  $$ values ('email', 'training_due', 'dead', 12, 'smtp 451') $$, 'what failed, and how'
);
create function tests.replays(who text) returns text language plpgsql as $$
declare
  v_replayed text;
begin
  perform tests.be(who);
  begin
    select lms.replay_deliveries(array(select c.id from claimed c))::text into v_replayed;
  exception when others then v_replayed := sqlstate;
  end;
  perform tests.as_owner();
  return v_replayed;
end
$$;
select is(tests.replays(who), expected, format('%s replays %s', who, expected))
from (values ('hanna', '0'), ('part', '0'), ('dora', '0'), ('petra', '0'), ('anonymous', '42501'), ('boss', '1'), ('boss', '0')) as cases (who, expected);
select is((select c.attempt from tests.claims('email') c where c.id = (select id from claimed)), 1, 'what is replayed begins anew, by the same id');

-- =====================================================================================================
-- Whom nothing is sent to any more
-- =====================================================================================================

delete from private.outbox;
select tests.notifies(who, 'training_due', 'x') from unnest(array['dora', 'sid', 'marco', 'ines']) as who;
update lms.memberships set status = 'suspended' where user_id = tests.id('sid');
update lms.memberships set status = 'ended' where user_id = tests.id('marco');
delete from auth.users where id = tests.id('ines');
update auth.users set email = 'dora@elsewhere.example' where id = tests.id('dora');
select is((select array_agg(c.recipient) from tests.claims('email') c), '{dora@elsewhere.example}', 'to whoever is active, at the address of the day');
select is(tests.states(), 'discarded 3, pending 1', '... and to nobody else, ever');
delete from private.outbox;
select tests.notifies('paul', 'training_due', 'x', 'press');
update lms.tenants set is_active = false where id = tests.id('press');
select is_empty($$ select * from tests.claims('email') $$, 'nothing leaves an organisation that is switched off');
update lms.tenants set is_active = true where id = tests.id('press');
select isnt_empty($$ select * from tests.claims('email') $$, '... until it is back');

-- In turns: a flood in one organisation holds up no other.
delete from private.outbox;
select tests.notifies('dora', 'training_due', 'flood ' || n) from generate_series(1, 30) n;
select tests.notifies('paul', 'training_due', 'late', 'press');
select is((select count(*) from tests.claims('email', 2) c where c.tenant_id = tests.id('press')), 1::bigint, 'of two that are claimed one is of the other organisation');

-- =====================================================================================================
-- Webhooks
-- =====================================================================================================

delete from private.outbox;
delete from lms.notifications;
select is(tests.try(who, format('select lms.create_webhook(%L, %L)', tests.id('works'), 'https://hooks.works.example/x')), expected, format('%s makes a webhook: %s', who, expected))
from (values
  ('boss', '1'), ('hanna', '42501'), ('marco', '404 tenant_not_found'), ('part', '42501'), ('dora', '42501'), ('petra', '404 tenant_not_found'), ('anonymous', '42501')
) as cases (who, expected);
select is(tests.try('boss', format('select lms.create_webhook(%L, %L, %L)', tests.id('works'), url, kinds)), expected, format('%s for %s: %s', url, kinds, expected))
from (values
  ('https://a.example:8443/x?y=z', '{training_due}', '1'), ('http://127.0.0.1:9/x', '{}', '1'), ('http://a.example/x', '{}', '23514 webhook_address_is_https_without_a_password'),
  ('https://u:p@a.example/', '{}', '23514 webhook_address_is_https_without_a_password'), ('http://127.0.0.1@evil.example/', '{}', '23514 webhook_address_is_https_without_a_password'),
  ('http://localhost.evil.example/', '{}', '23514 webhook_address_is_https_without_a_password'), (E'https://a.example/\r\nX: y', '{}', '23514 webhook_address_is_https_without_a_password'),
  ('https://a.example\@b.example/', '{}', '23514 webhook_address_is_https_without_a_password'), ('file:///etc/passwd', '{}', '23514 webhook_address_is_https_without_a_password'), ('https://a.example/', '{birthday}', '422 unknown_notification_kind')
) as cases (url, kinds, expected);
create temporary table secrets as select null::uuid as webhook_id, ''::text as url, null::text[] as kinds, ''::text as secret limit 0;
grant all on secrets to public;
select tests.as('boss');
insert into secrets select * from lms.create_webhook(tests.id('works'), 'https://hooks.works.example/all');
insert into secrets select * from lms.create_webhook(tests.id('works'), 'https://hooks.works.example/some', '{certificate_issued}');
select tests.as('petra');
insert into secrets select * from lms.create_webhook(tests.id('press'), 'https://hooks.press.example/');
select tests.as_owner();
select ok((select bool_and(s.secret ~ '^whsec_[A-Za-z0-9+/]{43}=$') from secrets s), 'each has a secret of its own');
select is(tests.sees_as('boss', 'lms.webhooks'), '2', 'an administrator sees those of the organisation');
select is(tests.sees_as('dora', 'lms.webhooks'), '0', '... a learner none');
select is(tests.try('boss', 'update lms.webhooks set tenant_id = gen_random_uuid()'), '42501', 'a webhook keeps its organisation');
select is(tests.try('petra', format('update lms.webhooks set url = %L', 'https://evil.example/')), '1', 'nobody changes others''');
select is(tests.try('petra', format('select lms.rotate_webhook_secret(%L)', (select webhook_id from secrets where url like '%all'))), '404 webhook_not_found', '... or their secrets');
select is(tests.try('boss', 'select * from private.webhook_states'), '42501', 'nobody reads a secret again');

select private.notify(tests.id('works'), tests.id('dora'), 'enrollment_decided', null, null, '{"status": "declined", "reason": "Private", "course": "Cranes", "request_id": "1"}', 'x');
insert into claimed select * from tests.claims('webhook');
select results_eq(
  $$ select url, payload -> 'data' from claimed where webhook_id is not null $$,
  $$ select 'https://hooks.works.example/all', jsonb_build_object(
       'event_id', n.id, 'tenant_id', n.tenant_id, 'user_id', n.user_id, 'course_id', null, 'enrollment_id', null, 'status', 'declined', 'request_id', '1'
     ) from lms.notifications n $$,
  'webhooks get ids, days and states, of kinds that they asked for, in their own organisation'
);
select is((select secrets from claimed where webhook_id is not null), (select array[s.secret] from secrets s where s.url like '%all'), '... signed by their secret');
select tests.notifies('dora', 'training_due', 'more ' || n) from generate_series(1, 30) n;
select is_empty($$ select * from tests.claims('webhook') $$, 'one run at a time is at a receiver');
select tests.settles(c, 'delivered') from claimed c where c.webhook_id is not null;
select is((select count(*) from tests.claims('webhook', 500)), 20::bigint, 'and takes some at a time');
update private.outbox set leased_until = now() where lease is not null;
select tests.settles(c, 'failed', 'http 500') from (select c from tests.claims('webhook', 500) c limit 5) k;
update private.outbox set leased_until = now(), next_attempt_at = now() where status = 'pending';
select is_empty($$ select * from tests.claims('webhook') $$, 'after five failures in a row it is left alone');
update private.webhook_states set paused_until = now();
select is((select count(*) from tests.claims('webhook', 500)), 1::bigint, '... then one is tried');
select tests.settles(c, 'delivered') from (select o.id, o.lease from private.outbox o where o.leased_until > now()) o,
  lateral (select (jsonb_populate_record(null::lms.delivery, jsonb_build_object('id', o.id, 'lease', o.lease))).*) c;
select ok((select count(*) from tests.claims('webhook', 500)) > 1, '... and when that was taken, the rest');
select tests.as('boss');
select isnt((lms.rotate_webhook_secret(s.webhook_id)).secret, s.secret, 'a secret can be replaced') from secrets s where s.url like '%all';
select tests.as_owner();
update private.outbox set leased_until = now() where lease is not null;
select is(cardinality(c.secrets), 2, '... and both sign for a day') from tests.claims('webhook', 1) c;
update private.webhook_states set previous_until = now() - interval '1 minute';
update private.outbox set leased_until = now() where lease is not null;
select is(cardinality(c.secrets), 1, '... not longer') from tests.claims('webhook', 1) c;
select lives_ok('delete from lms.webhooks', 'a webhook that is removed takes along what waits for it');
select is((select count(*) from private.outbox o where o.channel = 'webhook'), 0::bigint, '... indeed');

-- =====================================================================================================
-- Texts
-- =====================================================================================================

select is_empty(
  $$ select k.kind, l.language from lms.notification_kinds k cross join (values ('en'), ('de'), ('es')) as l (language)
     where not exists (select from lms.standard_templates b where b.kind = k.kind and b.language = l.language) $$,
  'every kind has a text in three languages'
);
create function tests.writes(who text, body text, subject text default 'Subject', tenant text default 'works', kind text default 'training_due') returns text language sql as $$
  select tests.try(who, format('insert into lms.message_templates (tenant_id, kind, language, subject, body) values (%L, %L, %L, %L, %L)', tests.id(tenant), kind, 'de', subject, body))
$$;
select is(tests.writes(who, 'x'), expected, format('%s writes a text: %s', who, expected))
from (values ('boss', '1'), ('hanna', '42501'), ('part', '42501'), ('dora', '42501'), ('petra', '42501'), ('anonymous', '42501')) as cases (who, expected);
select is(tests.writes('boss', body, subject), expected, format('"%s": %s', left(subject || body, 40), expected))
from (values
  ('S', 'Hello {{person}}, {{course}} {{ due_on }} {{organization}} {{link}}', '1'), ('S', '{{email}}', '422 unknown_placeholder'), ('{{token}}', 'x', '422 unknown_placeholder'), ('S', '{{course.secret}}', '422 unknown_placeholder'),
  ('S', '{{}}', '422 unknown_placeholder'), (E'A\r\nBcc: x@y.example', 'x', '23514 subject_is_one_line_of_1_to_200_characters'), ('S', '', '23514 body_is_1_to_10000_characters'), ('S', repeat('x', 10001), '23514 body_is_1_to_10000_characters')
) as cases (subject, body, expected);
insert into lms.message_templates (tenant_id, kind, language, subject, body) values
  (tests.id('works'), 'training_due', 'de', 'Unser Text', 'x'), (tests.id('works'), 'training_due', 'fr', 'Notre texte', 'x'), (tests.id('press'), 'training_due', 'es', 'De otros', 'x');
delete from private.outbox;
update public.profile_private set locale = l.locale from (values ('boss', 'de-AT'), ('hanna', 'es'), ('part', 'ja'), ('dora', null)) as l (who, locale) where profile_id = tests.id(l.who);
update lms.tenants set locale = 'fr-CA' where id = tests.id('works');
select tests.notifies(who, 'training_due', 'text') from unnest(array['boss', 'hanna', 'part', 'dora']) as who;
select results_eq(
  'select split_part(c.recipient, ''@'', 1), c.language, c.subject from tests.claims(''email'') c order by 1',
  $$ values ('boss', 'de', 'Unser Text'), ('dora', 'fr', 'Notre texte'), ('hanna', 'es', 'Vence pronto: {{course}}'), ('part', 'fr', 'Notre texte') $$,
  'in the language of the person, else of the organisation, and in the words of the organisation where it has any'
);

-- =====================================================================================================
-- Invitations
-- =====================================================================================================

delete from private.outbox;
create function tests.invites(email text) returns text language plpgsql as $$
declare
  v_token text;
begin
  perform tests.as('boss');
  v_token := (lms.invite(tests.id('works'), email)).token;
  perform tests.as_owner();
  return v_token;
end
$$;
select tests.invites('new@example.com');
select is(tests.states(), null, 'without an address for the link to lead to nobody is mailed');
update lms.tenants set settings = '{"notifications": {"app_url": "https://learn.works.example/"}}' where id = tests.id('works');
create temporary table token as select tests.invites('new@example.com') as token;
select results_eq(
  $$ select c.recipient, c.params ->> 'link' from tests.claims('email') c $$,
  $$ select 'new@example.com', 'https://learn.works.example?invitation=' || t.token from token t $$, 'else the mail holds the link'
);
select tests.invites('new@example.com');
select is(tests.states(), 'discarded 1, pending 1', 'the mail with the link that has died is not sent any more');
select is((select count(*) from private.outbox o where o.status <> 'pending' and o.token is not null), 0::bigint, 'and no token is kept longer than it takes');
select tests.settles(c, 'delivered') from tests.claims('email') c;
select is((select count(*) from private.outbox o where o.token is not null), 0::bigint, '... nor once it is delivered');
select tests.invites('new@example.com') from generate_series(1, 10);
select is((select count(*) from private.outbox), 3::bigint, 'nobody''s inbox is filled by inviting them again and again');
update lms.invitations set revoked_at = now();
select is_empty($$ select * from tests.claims('email') $$, 'a revoked invitation is not mailed');

-- =====================================================================================================
-- Forgetting
-- =====================================================================================================

delete from private.outbox;
delete from lms.notifications;
select tests.notifies('dora', 'training_due', n::text) from generate_series(1, 4) n;
with numbered as (select o.id, row_number() over (order by o.id) as n from private.outbox o)
update private.outbox o
set created_at = now() - interval '40 days',
    status = case k.n when 1 then 'delivered' when 2 then 'dead' else 'pending' end,
    delivered_at = case k.n when 1 then now() end, dead_at = case k.n when 2 then now() end,
    next_attempt_at = case k.n when 3 then now() - interval '40 days' else now() end
from numbered k where k.id = o.id;
select is(ops.forget_deliveries(), 2, 'what was delivered is forgotten after a month, and what nobody asks for is given up');
select is(tests.states(), 'dead 2, pending 1', '... and dead letters stay for longer');

select * from finish();
rollback;
