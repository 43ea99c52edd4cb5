-- People: one profile per person, and apart from it what fewer may read.
-- Who sees whom is decided in the visibility file, once memberships, staff and enrolments exist.
-- Undo: drop trigger on_auth_user_created, on_auth_user_changed on auth.users; drop table public.profile_private,
-- public.profiles, private.sign_up_notes; drop the functions below.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Validation of JSON that clients write
-- =====================================================================================================

create function private.is_learning_preferences(value jsonb)
returns boolean
language sql
immutable
set search_path = ''
as $$
  select
    jsonb_typeof(value) = 'object'
    and length(value::text) <= 2000
    and value - array['preferred_pace', 'preferred_media_types', 'learning_style'] = '{}'
    and coalesce(value ->> 'preferred_pace', 'medium') in ('slow', 'medium', 'fast')
    and coalesce(value ->> 'learning_style', 'mixed') in ('visual', 'auditory', 'kinesthetic', 'mixed')
    and case jsonb_typeof(coalesce(value -> 'preferred_media_types', '[]'))
      when 'array' then coalesce(value -> 'preferred_media_types', '[]') <@
        '["rich_text", "markdown", "image", "video", "audio", "file", "link", "youtube", "vimeo", "quiz", "assignment", "interactive", "code_exercise"]'
      else false
    end
$$;

create function private.is_knowledge_profile(value jsonb)
returns boolean
language sql
immutable
set search_path = ''
as $$
  -- Free form but for `apest`: five gifts, each scored 0 to 100.
  select
    jsonb_typeof(value) = 'object'
    and length(value::text) <= 20000
    and case when value ? 'apest' then
      jsonb_typeof(value -> 'apest') = 'object'
      and (value -> 'apest') - array['apostle', 'prophet', 'evangelist', 'shepherd', 'teacher'] = '{}'
      and not exists (
        select
        from jsonb_each(case jsonb_typeof(value -> 'apest') when 'object' then value -> 'apest' else '{}' end) as gift
        where case jsonb_typeof(gift.value)
          when 'number' then (gift.value)::text::numeric not between 0 and 100
          else true
        end
      )
    else true end
$$;

create function private.is_list_of_words(value jsonb)
returns boolean
language sql
immutable
set search_path = ''
as $$
  select case jsonb_typeof(value)
    when 'array' then
      jsonb_array_length(value) <= 200
      and not exists (
        select from jsonb_array_elements(value) as element
        where jsonb_typeof(element) <> 'string' or length(element #>> '{}') not between 1 and 100
      )
    else false
  end
$$;

create function private.is_map_of_web_addresses(value jsonb)
returns boolean
language sql
immutable
set search_path = ''
as $$
  select case jsonb_typeof(value)
    when 'object' then not exists (
      select from jsonb_each(value) as link
      where jsonb_typeof(link.value) <> 'string'
        or link.value #>> '{}' !~ '^https?://[^\s<>"]+$'
        or length(link.key) > 50
        or length(link.value #>> '{}') > 500
    ) and length(value::text) <= 10000
    else false
  end
$$;

-- {in_app, email} for everything, {kind: {in_app, email}} for one kind; each true or false.
create function private.is_notification_preferences(value jsonb)
returns boolean
language sql
immutable
set search_path = ''
as $$
  select case jsonb_typeof(value)
    when 'object' then not exists (
      select
      from jsonb_each(value) as wish
      where case
        when wish.key in ('in_app', 'email') then jsonb_typeof(wish.value) <> 'boolean'
        when wish.key !~ '^[a-z_]{1,50}$' then true
        else case jsonb_typeof(wish.value)
          when 'object' then wish.value - array['in_app', 'email'] <> '{}'
            or jsonb_typeof(coalesce(wish.value -> 'in_app', 'true')) <> 'boolean'
            or jsonb_typeof(coalesce(wish.value -> 'email', 'true')) <> 'boolean'
          else true
        end
      end
    ) and length(value::text) <= 10000
    else false
  end
$$;

grant execute on function
  private.is_learning_preferences, private.is_knowledge_profile, private.is_list_of_words,
  private.is_map_of_web_addresses, private.is_notification_preferences
to authenticated, service_role;

-- =====================================================================================================
-- Tables
-- =====================================================================================================

create table public.profiles (
  id uuid primary key,
  user_id uuid constraint profile_belongs_to_a_login references auth.users (id) on delete set null,
  username text constraint username_is_3_to_40_letters_digits_or_marks check (username ~ '^[A-Za-z0-9_.-]{3,40}$'),
  first_name text not null default ''
    constraint first_name_is_one_short_line check (length(first_name) <= 100 and first_name !~ '[\x01-\x1f\x7f]'),
  last_name text not null default ''
    constraint last_name_is_one_short_line check (length(last_name) <= 100 and last_name !~ '[\x01-\x1f\x7f]'),
  display_name text not null generated always as (
    coalesce(nullif(btrim(first_name || ' ' || last_name), ''), username, 'Learner')
  ) stored,
  avatar_url private.web_address,
  bio text constraint bio_is_short check (length(bio) <= 5000),
  location text constraint location_is_short check (length(location) <= 200),
  website private.web_address,
  social_links jsonb not null default '{}'
    constraint social_links_are_web_addresses check (private.is_map_of_web_addresses(social_links)),
  is_active boolean not null generated always as (user_id is not null) stored,
  last_seen_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint one_profile_per_login unique (user_id)
);

create unique index username_is_taken on public.profiles (lower(username));

comment on table public.profiles is
  'One row per person: what others may see of them. `id` equals the id of the person''s login and stays when the '
  'login is deleted: the names that training law makes an employer keep do not vanish with it.';
comment on column public.profiles.user_id is 'The login; null once it is deleted.';
comment on column public.profiles.is_active is 'True while the person has a login.';
comment on column public.profiles.last_seen_at is 'Last sign-in.';

create table public.profile_private (
  profile_id uuid primary key constraint private_part_belongs_to_a_profile references public.profiles (id) on delete cascade,
  email text,
  phone text constraint phone_is_digits_and_marks check (phone ~ '^\+?[0-9 ()./-]{3,30}$'),
  learning_preferences jsonb not null default '{}'
    constraint learning_preferences_have_the_documented_shape check (private.is_learning_preferences(learning_preferences)),
  knowledge_profile jsonb not null default '{}'
    constraint knowledge_profile_has_the_documented_shape check (private.is_knowledge_profile(knowledge_profile)),
  learning_interests jsonb not null default '[]'
    constraint learning_interests_are_a_list_of_words check (private.is_list_of_words(learning_interests)),
  notification_preferences jsonb not null default '{}'
    constraint notification_preferences_have_the_documented_shape
    check (private.is_notification_preferences(notification_preferences)),
  locale private.locale,
  time_zone private.time_zone,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create index people_by_address on public.profile_private (lower(email));

comment on table public.profile_private is
  'What fewer people may read of a person. A table of its own because row level security cannot hide columns.';
comment on column public.profile_private.email is 'Follows the login''s address; changed there, not here.';
comment on column public.profile_private.learning_preferences is
  '{preferred_pace: slow|medium|fast, preferred_media_types: [block types], learning_style: visual|auditory|kinesthetic|mixed}, all optional.';
comment on column public.profile_private.knowledge_profile is
  'Free-form object; `apest` holds the five gifts (apostle, prophet, evangelist, shepherd, teacher), each 0 to 100.';
comment on column public.profile_private.notification_preferences is
  '{in_app: boolean, email: boolean, <kind>: {in_app, email}}, all optional; a kind''s own entry counts first. What is not said '
  'is as the organisation has it. Kinds: lms.notification_kinds.';
comment on column public.profile_private.learning_interests is 'List of words, matched against categories.';

create table private.sign_up_notes (
  id bigint generated always as identity primary key,
  user_id uuid not null,
  note text not null,
  created_at timestamptz not null default now()
);

comment on table private.sign_up_notes is 'What a sign-up had to work around so that it did not fail (INV-T5).';

create trigger _100_timestamps before update on public.profiles
  for each row execute function private.touch_updated_at();
create trigger _100_timestamps before update on public.profile_private
  for each row execute function private.touch_updated_at();

-- =====================================================================================================
-- A person appears with the login
-- =====================================================================================================

create function private.clean_name(value text)
returns text
language sql
immutable
set search_path = ''
as $$
  -- Cut before it is searched: a text of hundreds of megabytes must not become an error.
  select left(btrim(regexp_replace(left(coalesce(value, ''), 1000), '[\x01-\x1f\x7f]', ' ', 'g')), 100)
$$;

-- INV-T5: never raises. What the metadata offers is taken where it is usable and left out, with a note, where not:
-- it is the person's own text, so it may be missing, malformed or taken. Rights are never read from it.
create function private.create_profile_of_login()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  meta constant jsonb := case jsonb_typeof(new.raw_user_meta_data) when 'object' then new.raw_user_meta_data else '{}' end;
  whole_name constant text := private.clean_name(coalesce(meta ->> 'full_name', meta ->> 'name'));
begin
  begin
    insert into public.profiles as p (id, user_id, first_name, last_name)
    values (
      new.id,
      new.id,
      coalesce(nullif(private.clean_name(meta ->> 'first_name'), ''), split_part(whole_name, ' ', 1)),
      coalesce(
        nullif(private.clean_name(meta ->> 'last_name'), ''),
        btrim(substr(whole_name, length(split_part(whole_name, ' ', 1)) + 1))
      )
    )
    -- A login made again under the id of a deleted one takes its profile back.
    on conflict (id) do update set user_id = excluded.user_id;
  exception
    when others then
      insert into private.sign_up_notes (user_id, note) values (new.id, 'names left out: ' || sqlerrm);
      insert into public.profiles (id, user_id) values (new.id, new.id) on conflict do nothing;
  end;

  begin
    insert into public.profile_private (profile_id, email)
    values (new.id, new.email)
    on conflict (profile_id) do update set email = excluded.email;
  exception
    when others then
      insert into private.sign_up_notes (user_id, note) values (new.id, 'private part left out: ' || sqlerrm);
  end;

  begin
    update public.profiles
    set username = meta ->> 'username'
    where id = new.id and meta ->> 'username' is not null;
  exception
    when others then
      insert into private.sign_up_notes (user_id, note) values (new.id, 'username left out: ' || sqlerrm);
  end;

  begin
    update public.profiles
    set avatar_url = meta ->> 'avatar_url'
    where id = new.id and meta ->> 'avatar_url' is not null;
  exception
    when others then
      insert into private.sign_up_notes (user_id, note) values (new.id, 'avatar left out: ' || sqlerrm);
  end;

  return new;
exception
  when others then
    raise warning 'profile of login % could not be made: %', new.id, sqlerrm;
    return new;
end
$$;

create trigger on_auth_user_created after insert on auth.users
  for each row execute function private.create_profile_of_login();

create function private.follow_login()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if new.email is distinct from old.email then
    update public.profile_private set email = new.email where profile_id = new.id;
  end if;
  if new.last_sign_in_at is distinct from old.last_sign_in_at then
    update public.profiles set last_seen_at = new.last_sign_in_at where id = new.id;
  end if;
  return new;
exception
  when others then
    -- A sign-in must not fail because its echo here does.
    raise warning 'profile of login % could not follow it: %', new.id, sqlerrm;
    return new;
end
$$;

create trigger on_auth_user_changed after update of email, last_sign_in_at on auth.users
  for each row execute function private.follow_login();

-- =====================================================================================================
-- Grants
-- =====================================================================================================

alter table public.profiles enable row level security;
alter table public.profile_private enable row level security;

grant select on public.profiles to authenticated;
grant update (username, first_name, last_name, avatar_url, bio, location, website, social_links)
  on public.profiles to authenticated;
grant select on public.profile_private to authenticated;
grant update (
  phone, learning_preferences, knowledge_profile, learning_interests, notification_preferences, locale, time_zone
) on public.profile_private to authenticated;
grant all on public.profiles, public.profile_private to service_role;

create policy "People change their own profile" on public.profiles
  for update to authenticated
  using (id = (select auth.uid()))
  with check (id = (select auth.uid()));

create policy "People change their own private part" on public.profile_private
  for update to authenticated
  using (profile_id = (select auth.uid()))
  with check (profile_id = (select auth.uid()));

notify pgrst, 'reload schema';
