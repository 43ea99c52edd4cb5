begin;
\ir ../helpers.sql
select * from no_plan();

create function tests.note_count(name text) returns bigint language sql as $$
  select count(*) from private.sign_up_notes n where n.user_id = tests.id(name)
$$;

-- =====================================================================================================
-- INV-T5: signing up never fails, and there is a profile afterwards
-- =====================================================================================================

create temporary table sign_ups (name text, meta jsonb, first_name text, last_name text, display_name text, username text, notes integer);
insert into sign_ups values
  ('plain',        '{"first_name": "Ada", "last_name": "Brandt", "username": "ada"}', 'Ada', 'Brandt', 'Ada Brandt', 'ada', 0),
  ('whole-name',   '{"full_name": "Ada de la Brandt"}', 'Ada', 'de la Brandt', 'Ada de la Brandt', null, 0),
  ('oauth-name',   '{"name": "Cher"}', 'Cher', '', 'Cher', null, 0),
  ('nothing',      '{}', '', '', 'Learner', null, 0),
  ('sql-null',     null, '', '', 'Learner', null, 0),
  ('json-null',    'null', '', '', 'Learner', null, 0),
  ('an-array',     '["first_name", "Ada"]', '', '', 'Learner', null, 0),
  ('a-string',     '"first_name"', '', '', 'Learner', null, 0),
  ('a-number',     '5', '', '', 'Learner', null, 0),
  ('null-names',   '{"first_name": null, "last_name": null, "username": null, "avatar_url": null}', '', '', 'Learner', null, 0),
  ('blank-names',  '{"first_name": "   ", "last_name": ""}', '', '', 'Learner', null, 0),
  ('numbers',      '{"first_name": 12, "last_name": true}', '12', 'true', '12 true', null, 0),
  ('controls',     '{"first_name": "A\u0001\u001bd\na", "last_name": "\u007fB"}', 'A  d a', 'B', 'A  d a B', null, 0),
  ('taken',        '{"first_name": "Eve", "username": "ada"}', 'Eve', '', 'Eve', null, 1),
  ('taken-case',   '{"first_name": "Eve", "username": "ADA"}', 'Eve', '', 'Eve', null, 1),
  ('bad-username', '{"first_name": "Eve", "username": "a b<script>"}', 'Eve', '', 'Eve', null, 1),
  ('short-user',   '{"first_name": "Eve", "username": ""}', 'Eve', '', 'Eve', null, 1),
  ('object-user',  '{"first_name": "Eve", "username": {"a": [1]}}', 'Eve', '', 'Eve', null, 1),
  ('script-image', '{"first_name": "Eve", "avatar_url": "javascript:alert(1)"}', 'Eve', '', 'Eve', null, 1),
  ('all-wrong',    '{"first_name": ["x"], "username": 1, "avatar_url": {"a": 1}, "role": "tenant_admin", "tenant_id": "x", "plant": "none"}', '["x"]', '', '["x"]', null, 2);

select is(
  tests.error_of(format('select tests.person(%L, %L)', name, meta)), 'none', format('INV-T5: sign-up does not fail with %s', name)
)
from sign_ups;

select is(
  (p.first_name, p.last_name, p.display_name, p.username), (s.first_name, s.last_name, s.display_name, s.username),
  format('INV-T5: what is usable of %s is in the profile', s.name)
)
from sign_ups s
left join public.profiles p on p.id = tests.id(s.name);

select is(tests.note_count(name), notes::bigint, format('INV-T5: what was left out of %s is noted', name)) from sign_ups;

select is(
  (select count(*) from sign_ups s join public.profile_private p on p.profile_id = tests.id(s.name) and p.email = s.name || '@example.com'),
  (select count(*) from sign_ups), 'INV-T5: everybody has a private part with their address'
);
select is((select count(*) from lms.memberships), 0::bigint, 'INV-T5: signing up makes nobody a member, whatever the metadata claims');

-- Ten megabytes in every field.
select is(
  tests.error_of(format(
    'select tests.person(%L, jsonb_build_object(''first_name'', t, ''last_name'', t, ''full_name'', t, ''username'', t, ''avatar_url'', ''https://x/'' || t)) from repeat(%L, 5000000) as t',
    'huge', 'ab'
  )),
  'none', 'INV-T5: sign-up does not fail with ten megabytes in every field'
);
select is(
  (select (length(first_name), length(last_name), username is null, avatar_url is null) from public.profiles where id = tests.id('huge')),
  (100, 100, true, true), 'INV-T5: long names are cut, a long username and picture left out'
);
select cmp_ok(
  (select max(length(note)) from private.sign_up_notes where user_id = tests.id('huge')), '<', 1000,
  'INV-T5: the note about it does not carry the ten megabytes'
);

-- A login without an address, as with phone numbers and anonymous sign-ins.
insert into auth.users (id, aud, role, phone) values (tests.id('phone-only'), 'authenticated', 'authenticated', '15551234567');
select is(
  (select email from public.profile_private where profile_id = tests.id('phone-only')), null,
  'INV-T5: a login without an address has a profile'
);

-- Whatever goes wrong with the profile, the login is made.
savepoint broken;
alter table public.profile_private add constraint broken check (false) not valid;
select is(tests.error_of($$ select tests.person('no-private') $$), 'none', 'INV-T5: sign-up survives a private part that cannot be made');
select is((select count(*) from public.profiles where id = tests.id('no-private')), 1::bigint, 'INV-T5: ... and makes the profile');
alter table public.profiles add constraint broken check (false) not valid;
select is(tests.error_of($$ select tests.person('no-profile') $$), 'none', 'INV-T5: sign-up survives a profile that cannot be made');
select is((select count(*) from auth.users where id = tests.id('no-profile')), 1::bigint, 'INV-T5: ... and makes the login');
update auth.users set email = 'other@example.com', last_sign_in_at = now() where id = tests.id('plain');
select is(
  (select email from auth.users where id = tests.id('plain')), 'other@example.com', 'INV-T5: signing in survives a profile that cannot follow'
);
rollback to broken;

-- =====================================================================================================
-- The profile follows the login
-- =====================================================================================================

update auth.users set email = 'ada@new.example' where id = tests.id('plain');
select is((select email from public.profile_private where profile_id = tests.id('plain')), 'ada@new.example', 'the address follows the login');
update auth.users set last_sign_in_at = '2026-01-02 03:04:05+00' where id = tests.id('plain');
select is((select last_seen_at from public.profiles where id = tests.id('plain')), '2026-01-02 03:04:05+00', 'signing in is seen in the profile');
update auth.users set raw_user_meta_data = '{"first_name": "Mallory", "username": "root"}' where id = tests.id('plain');
select is((select first_name || username from public.profiles where id = tests.id('plain')), 'Adaada', 'later metadata does not overwrite the profile');

delete from auth.users where id = tests.id('plain');
select is(
  (select (id = tests.id('plain'), user_id is null, is_active, display_name) from public.profiles where username = 'ada'),
  (true, true, false, 'Ada Brandt'::text), 'a deleted login leaves the profile, inactive, with its names'
);
select is(
  tests.error_of($$ select tests.person('plain', '{"first_name": "Other", "username": "ada"}') $$), 'none',
  'a login can be made again under the id of a deleted one'
);
select is(
  (select (user_id, is_active, first_name, username) from public.profiles where id = tests.id('plain')),
  (tests.id('plain'), true, 'Ada'::text, 'ada'::text), '... and has its profile back'
);
select is((select email from public.profile_private where profile_id = tests.id('plain')), 'plain@example.com', '... with the new address');

-- =====================================================================================================
-- What people may write of themselves
-- =====================================================================================================

select tests.person('lena', '{"first_name": "Lena"}'), tests.person('noah', '{"first_name": "Noah"}');

select tests.as('lena');
select is(tests.rows_of($$ update public.profiles set first_name = 'Lena M.', bio = 'Hello' $$), 1::bigint, 'people change their own profile, and no other, without any filter');
select is(tests.rows_of(format('update public.profiles set first_name = %L where id = %L', 'Owned', tests.id('noah'))), 0::bigint, 'nobody changes somebody else''s profile');
select is(tests.rows_of($$ update public.profile_private set phone = '+1 555 0100' $$), 1::bigint, 'people change their own private part, and no other');

select is(tests.error_of(format('update public.profiles set %I = %s', name, value)), '42501', format('profiles.%s is not for clients', name))
from (values
  ('id', 'gen_random_uuid()'), ('user_id', 'null'), ('is_active', 'default'), ('display_name', 'default'),
  ('last_seen_at', 'now()'), ('created_at', 'now()'), ('updated_at', 'now()')
) as columns (name, value);
select is(tests.error_of(format('update public.profile_private set %I = %s', name, value)), '42501', format('profile_private.%s is not for clients', name))
from (values ('profile_id', 'gen_random_uuid()'), ('email', quote_literal('x@example.com')), ('created_at', 'now()'), ('updated_at', 'now()')) as columns (name, value);

select is(tests.error_of('delete from public.profiles'), '42501', 'clients delete no profiles');
select is(tests.error_of('delete from public.profile_private'), '42501', 'clients delete no private parts');
select is(tests.error_of(format('insert into public.profiles (id) values (%L)', gen_random_uuid())), '42501', 'clients make no profiles');
select is(tests.error_of(format('insert into public.profile_private (profile_id) values (%L)', gen_random_uuid())), '42501', 'clients make no private parts');
select is(tests.sees('private.sign_up_notes'), '42501', 'the notes of sign-ups are not for clients');
select is(tests.sees('auth.users'), '42501', 'logins are not for clients');

select is(
  tests.error_of(format('update public.profiles set %I = %L where id = %L', field, value, tests.id('lena'))), expected,
  format('profiles.%s = %s: %s', field, to_json(left(value, 40)), expected)
)
from (values
  ('username', 'lena_m.1-x', 'none'), ('username', 'ab', '23514 username_is_3_to_40_letters_digits_or_marks'),
  ('username', 'a@b.c', '23514 username_is_3_to_40_letters_digits_or_marks'), ('username', E'lena\n', '23514 username_is_3_to_40_letters_digits_or_marks'),
  ('username', repeat('a', 41), '23514 username_is_3_to_40_letters_digits_or_marks'), ('username', 'ADA', '23505 username_is_taken'),
  ('first_name', repeat('a', 101), '23514 first_name_is_one_short_line'), ('first_name', E'Lena\r\nBcc: all', '23514 first_name_is_one_short_line'),
  ('last_name', E'\x1b[31m', '23514 last_name_is_one_short_line'), ('last_name', 'O''Brien-Żółć', 'none'),
  ('bio', repeat('a', 5001), '23514 bio_is_short'), ('location', repeat('a', 201), '23514 location_is_short'),
  ('avatar_url', 'javascript:alert(1)', '23514 web_address_is_http_or_a_path'), ('avatar_url', 'https://example.com/a.png', 'none'),
  ('website', 'example.com', '23514 web_address_is_http_or_a_path'),
  ('social_links', '{"mastodon": "https://example.social/@lena"}', 'none'), ('social_links', '[]', '23514 social_links_are_web_addresses'),
  ('social_links', 'null', '23514 social_links_are_web_addresses'), ('social_links', '{"x": "javascript:alert(1)"}', '23514 social_links_are_web_addresses'),
  ('social_links', '{"x": 1}', '23514 social_links_are_web_addresses'), ('social_links', '{"x": {"y": "https://a.b"}}', '23514 social_links_are_web_addresses'),
  ('social_links', (select jsonb_object_agg(n::text, 'https://example.com/' || repeat('a', 400))::text from generate_series(1, 100) as n), '23514 social_links_are_web_addresses')
) as cases (field, value, expected);

select is(
  tests.error_of(format('update public.profile_private set %I = %L where profile_id = %L', field, value, tests.id('lena'))), expected,
  format('profile_private.%s = %s: %s', field, to_json(left(value, 60)), expected)
)
from (values
  ('phone', '+49 (30) 1234-5', 'none'), ('phone', '12', '23514 phone_is_digits_and_marks'), ('phone', '<script>', '23514 phone_is_digits_and_marks'),
  ('learning_preferences', '{}', 'none'),
  ('learning_preferences', '{"preferred_pace": "slow", "learning_style": "visual", "preferred_media_types": ["video", "rich_text"]}', 'none'),
  ('learning_preferences', '{"preferred_pace": "warp"}', '23514 learning_preferences_have_the_documented_shape'),
  ('learning_preferences', '{"preferred_pace": 5}', '23514 learning_preferences_have_the_documented_shape'),
  ('learning_preferences', '{"preferred_media_types": "video"}', '23514 learning_preferences_have_the_documented_shape'),
  ('learning_preferences', '{"preferred_media_types": ["tape"]}', '23514 learning_preferences_have_the_documented_shape'),
  ('learning_preferences', '{"preferred_media_types": {"0": "video"}}', '23514 learning_preferences_have_the_documented_shape'),
  ('learning_preferences', '{"is_admin": true}', '23514 learning_preferences_have_the_documented_shape'),
  ('learning_preferences', '[]', '23514 learning_preferences_have_the_documented_shape'),
  ('learning_preferences', '"slow"', '23514 learning_preferences_have_the_documented_shape'),
  ('learning_preferences', 'null', '23514 learning_preferences_have_the_documented_shape'),
  ('learning_preferences', '{"preferred_media_types": [' || rtrim(repeat('"video",', 1000), ',') || ']}', '23514 learning_preferences_have_the_documented_shape'),
  ('knowledge_profile', '{"apest": {"apostle": 0, "prophet": 100, "teacher": 33.3}, "notes": ["free", {"form": true}]}', 'none'),
  ('knowledge_profile', '{"apest": {"apostle": 100.1}}', '23514 knowledge_profile_has_the_documented_shape'),
  ('knowledge_profile', '{"apest": {"apostle": -1}}', '23514 knowledge_profile_has_the_documented_shape'),
  ('knowledge_profile', '{"apest": {"apostle": "50"}}', '23514 knowledge_profile_has_the_documented_shape'),
  ('knowledge_profile', '{"apest": {"apostle": null}}', '23514 knowledge_profile_has_the_documented_shape'),
  ('knowledge_profile', '{"apest": {"pope": 50}}', '23514 knowledge_profile_has_the_documented_shape'),
  ('knowledge_profile', '{"apest": []}', '23514 knowledge_profile_has_the_documented_shape'),
  ('knowledge_profile', '{"apest": null}', '23514 knowledge_profile_has_the_documented_shape'),
  ('knowledge_profile', '{"apest": 5}', '23514 knowledge_profile_has_the_documented_shape'),
  ('knowledge_profile', '[]', '23514 knowledge_profile_has_the_documented_shape'),
  ('knowledge_profile', '{"x": "' || repeat('a', 20001) || '"}', '23514 knowledge_profile_has_the_documented_shape'),
  ('learning_interests', '["Rust", "law"]', 'none'), ('learning_interests', '[]', 'none'),
  ('learning_interests', '[""]', '23514 learning_interests_are_a_list_of_words'), ('learning_interests', '[1]', '23514 learning_interests_are_a_list_of_words'),
  ('learning_interests', '[null]', '23514 learning_interests_are_a_list_of_words'), ('learning_interests', '{"a": 1}', '23514 learning_interests_are_a_list_of_words'),
  ('learning_interests', '["' || repeat('a', 101) || '"]', '23514 learning_interests_are_a_list_of_words'),
  ('learning_interests', '[' || rtrim(repeat('"a",', 201), ',') || ']', '23514 learning_interests_are_a_list_of_words'),
  ('notification_preferences', '{"email": false}', 'none'), ('notification_preferences', '{"email": false, "training_due": {"email": true, "in_app": false}}', 'none'),
  ('notification_preferences', '[]', '23514 notification_preferences_have_the_documented_shape'), ('notification_preferences', '{"email": "no"}', '23514 notification_preferences_have_the_documented_shape'),
  ('notification_preferences', '{"training_due": {"sms": true}}', '23514 notification_preferences_have_the_documented_shape'), ('notification_preferences', '{"training_due": {"email": null}}', '23514 notification_preferences_have_the_documented_shape'),
  ('notification_preferences', '{"training_due": true}', '23514 notification_preferences_have_the_documented_shape'), ('notification_preferences', '{"x": "' || repeat('a', 10000) || '"}', '422 unknown_notification_kind'),
  ('notification_preferences', '{"birthday": {"email": true}}', '422 unknown_notification_kind'),
  ('locale', 'de-AT', 'none'), ('locale', 'german', '23514 locale_is_a_language_tag'),
  ('time_zone', 'Europe/Vienna', 'none'), ('time_zone', 'Vienna', '23514 time_zone_is_known')
) as cases (field, value, expected);

-- =====================================================================================================
-- Who sees whom
-- =====================================================================================================

select tests.as_owner();
select tests.tenant('works'), tests.tenant('press');
select tests.unit('north', 'works'), tests.unit('dock', 'works', 'north'), tests.unit('south', 'works');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'),
  tests.member('marco', 'works', 'unit_manager', 'north', 'north'), tests.member('ines', 'works', 'instructor'),
  tests.member('audrey', 'works', 'auditor'), tests.member('dora', 'works', 'learner', 'dock'), tests.member('sid', 'works', 'learner', 'south'),
  tests.member('petra', 'press', 'tenant_admin'), tests.member('quinn', 'works', 'hr_admin');
update lms.memberships set status = 'suspended' where user_id = tests.id('quinn');
select tests.course('safety', 'works', 'ines', visibility => 'private'), tests.enrollment('dora', 'safety');

create function tests.people_seen(relation text, key text) returns text[] language plpgsql as $$
declare
  v_seen text[];
begin
  execute format(
    'select coalesce(array_agg(n order by n), ''{}'') from unnest(%L::text[]) as n where exists (select from %s p where p.%I = tests.id(n))',
    array['audrey', 'boss', 'dora', 'hanna', 'ines', 'marco', 'noah', 'petra', 'quinn', 'sid'], relation, key
  ) into v_seen;
  return v_seen;
end
$$;

create temporary table sights (name text, profiles text[], private_parts text[]);
grant select on sights to public;
insert into sights values
  ('noah', '{noah}', '{noah}'),
  ('dora', '{dora,ines}', '{dora}'),
  ('sid', '{sid}', '{sid}'),
  ('ines', '{dora,ines}', '{ines}'),
  ('marco', '{dora,ines,marco}', '{dora,marco}'),
  ('hanna', '{audrey,boss,dora,hanna,ines,marco,quinn,sid}', '{audrey,boss,dora,hanna,ines,marco,quinn,sid}'),
  ('boss', '{audrey,boss,dora,hanna,ines,marco,quinn,sid}', '{audrey,boss,dora,hanna,ines,marco,quinn,sid}'),
  ('audrey', '{audrey,dora}', '{audrey}'),
  ('quinn', '{quinn}', '{quinn}'),
  ('petra', '{petra}', '{petra}');

create function tests.as_and(name text, relation text, key text) returns text[] language plpgsql as $$
declare
  v_seen text[];
begin
  perform tests.as(name);
  v_seen := tests.people_seen(relation, key);
  perform tests.as_owner();
  return v_seen;
end
$$;

select is(tests.as_and(name, 'public.profiles', 'id'), profiles, format('%s sees exactly these people', name)) from sights;
select is(tests.as_and(name, 'lms.people', 'id'), profiles, format('%s sees the same people in the view', name)) from sights;
select is(tests.as_and(name, 'public.profile_private', 'profile_id'), private_parts, format('%s sees exactly these private parts', name)) from sights;

select tests.as_anonymous();
select is(tests.sees('public.profiles'), '42501', 'anonymous callers see no profiles');
select is(tests.sees('public.profile_private'), '42501', 'anonymous callers see no private parts');
select is(tests.sees('lms.people'), '42501', 'anonymous callers see no people');
select is(tests.error_of('update public.profiles set bio = null'), '42501', 'anonymous callers change no profile');
select tests.as_owner();

select * from finish();
rollback;
