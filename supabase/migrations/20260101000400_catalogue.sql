-- Catalogue: courses > modules > lessons > blocks, as their authors work on them, and the staff of a course. What learners
-- take are versions of it: the versions file.
-- Undo: drop tables lms.lesson_blocks, lessons, modules, course_staff, courses; then the functions below.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Block content
-- =====================================================================================================

create function private.is_safe_html(html text)
returns boolean
language sql
immutable
set search_path = ''
as $$
  -- An allow list: what remains after taking away every tag of the known harmless form must contain no tag at all.
  -- Script, style, event handlers and javascript: addresses therefore cannot be stored, whoever renders the block.
  select regexp_replace(
    html,
    '</?(p|br|hr|h[1-6]|ul|ol|li|strong|em|b|i|u|s|sub|sup|code|pre|blockquote|a|img|figure|figcaption|table|thead|tbody|tr|th|td|div|span)'
    || '(\s+((class|title|alt|lang|dir|width|height|colspan|rowspan)="[^"<>]*"|(href|src)="(https?://|mailto:|/|#)[^"<>]*"))*\s*/?>',
    '', 'gi'
  ) !~ '<'
$$;

comment on function private.is_safe_html is
  'True when the text holds only tags and attributes from an allow list; addresses must be http(s), mailto, paths or anchors.';

create function private.is_web_address(value text)
returns boolean
language sql
immutable
set search_path = ''
as $$
  select value ~ '^(https?://[^\s<>"]+|/[^\s<>"]*)$' and length(value) <= 2000
$$;

-- Which keys each type of block needs and may have. `url` and `thumbnail_url` are addresses, `html` is checked HTML,
-- durations are seconds, sizes bytes; the rest is text. What is optional may be null.
create function private.is_block_content(type text, content jsonb)
returns boolean
language sql
immutable
set search_path = ''
as $$
  select jsonb_typeof(content) = 'object' and length(content::text) <= 500000 and coalesce(
    case type
      when 'rich_text' then
        content - array['html', 'plain_text'] = '{}'
        and jsonb_typeof(content -> 'html') = 'string' and private.is_safe_html(content ->> 'html')
      when 'markdown' then
        content - array['markdown'] = '{}' and jsonb_typeof(content -> 'markdown') = 'string'
      when 'image' then
        content - array['url', 'alt_text', 'caption'] = '{}'
        and private.is_web_address(content ->> 'url') and jsonb_typeof(content -> 'alt_text') = 'string'
      when 'video' then
        content - array['url', 'thumbnail_url', 'duration', 'captions_url', 'transcript'] = '{}'
        and private.is_web_address(content ->> 'url')
      when 'audio' then
        content - array['url', 'duration', 'transcript'] = '{}' and private.is_web_address(content ->> 'url')
      when 'file' then
        content - array['url', 'filename', 'file_type', 'file_size'] = '{}'
        and private.is_web_address(content ->> 'url') and content ->> 'filename' ~ '\S'
      when 'link' then
        content - array['url', 'title', 'description'] = '{}' and private.is_web_address(content ->> 'url')
      when 'youtube' then
        content - array['video_id', 'title', 'thumbnail_url', 'duration'] = '{}'
        and content ->> 'video_id' ~ '^[A-Za-z0-9_-]{11}$'
      when 'vimeo' then
        content - array['video_id', 'title', 'thumbnail_url', 'duration'] = '{}'
        and content ->> 'video_id' ~ '^[0-9]{1,12}$'
      when 'quiz' then jsonb_typeof(content -> 'instructions') = 'string' and content - array['instructions'] = '{}'
      when 'assignment' then jsonb_typeof(content -> 'instructions') = 'string' and content - array['instructions'] = '{}'
      when 'interactive' then
        content - array['url', 'title', 'height'] = '{}' and private.is_web_address(content ->> 'url')
      when 'code_exercise' then
        content - array['language', 'instructions', 'starter_code'] = '{}'
        and content ->> 'language' ~ '^[A-Za-z0-9+#.-]{1,40}$' and jsonb_typeof(content -> 'instructions') = 'string'
    end
    and coalesce(private.is_web_address(content ->> 'thumbnail_url'), true)
    and coalesce(private.is_web_address(content ->> 'captions_url'), true)
    and not exists (
      select
      from jsonb_each(case jsonb_typeof(content) when 'object' then content else '{}' end) as part
      where case
        when jsonb_typeof(part.value) = 'null' then false
        -- A week, a petabyte and any screen: beyond them numbers only break what counts with them.
        when part.key in ('duration', 'file_size', 'height') then
          jsonb_typeof(part.value) <> 'number' or part.value < '0' or part.value > case part.key
            when 'duration' then '604800'::jsonb
            when 'file_size' then '1000000000000000'
            else '100000'
          end
        else jsonb_typeof(part.value) <> 'string'
      end
    ),
    false
  )
$$;

comment on function private.is_block_content is 'True when the JSON has the shape that the block type documents.';
grant execute on function private.is_safe_html, private.is_web_address, private.is_block_content to authenticated, service_role;

-- =====================================================================================================
-- Tables
-- =====================================================================================================

create table lms.courses (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null constraint course_belongs_to_a_tenant references lms.tenants (id),
  slug private.slug not null,
  title private.title not null,
  description text not null default '' constraint course_description_is_short check (length(description) <= 20000),
  status text not null default 'draft' constraint course_status_is_known check (status in ('draft', 'published', 'archived')),
  visibility text not null default 'restricted'
    constraint course_visibility_is_known check (visibility in ('public', 'restricted', 'private')),
  difficulty text not null default 'beginner'
    constraint course_difficulty_is_known check (difficulty in ('beginner', 'intermediate', 'advanced', 'expert')),
  language private.locale not null default 'en',
  estimated_minutes integer constraint estimated_minutes_are_positive check (estimated_minutes > 0),
  -- NaN compares as greater than every number, so it takes an upper bound to keep it out.
  price numeric(12, 2) not null default 0 constraint price_is_not_negative check (price >= 0 and price < 'Infinity'),
  currency text not null default 'USD' constraint currency_is_an_iso_code check (currency ~ '^[A-Z]{3}$'),
  instructor_id uuid not null constraint course_instructor_is_a_person references public.profiles (id),
  required_score private.percentage not null default 0,
  allow_retake boolean not null default true,
  max_attempts integer constraint max_attempts_are_positive check (max_attempts > 0),
  capacity integer constraint capacity_is_not_negative check (capacity >= 0),
  self_enrollment text not null default 'open'
    constraint self_enrollment_is_known check (self_enrollment in ('open', 'approval', 'closed')),
  enrollment_opens_at timestamptz,
  enrollment_closes_at timestamptz,
  is_sequential boolean not null default false,
  issues_certificate boolean not null default true,
  certificate_validity_months integer
    constraint certificate_validity_is_1_to_600_months check (certificate_validity_months between 1 and 600),
  certificate_renewal_days integer
    constraint certificate_renewal_is_within_3650_days check (certificate_renewal_days between 0 and 3650),
  is_featured boolean not null default false,
  thumbnail_url private.web_address,
  meta_description text constraint meta_description_is_short check (length(meta_description) <= 500),
  meta_keywords text constraint meta_keywords_are_short check (length(meta_keywords) <= 500),
  version_label text constraint version_label_is_short check (length(version_label) <= 50),
  metadata jsonb not null default '{}'
    constraint course_metadata_is_an_object check (jsonb_typeof(metadata) = 'object' and length(metadata::text) <= 50000),
  rating_count integer not null default 0,
  rating_sum integer not null default 0,
  -- INV-C2: null, not 0, while there are no ratings.
  rating_average numeric(3, 2) generated always as (
    case when rating_count > 0 then round(rating_sum::numeric / rating_count, 2) end
  ) stored,
  published_at timestamptz,
  deleted_at timestamptz,
  created_by uuid,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint course_of_its_tenant unique (tenant_id, id),
  constraint course_slug_is_taken unique (tenant_id, slug),
  -- INV-T1, also for people: who teaches is a member.
  constraint course_instructor_is_a_member foreign key (tenant_id, instructor_id) references lms.memberships (tenant_id, user_id),
  constraint ratings_are_1_to_5_each check (rating_count >= 0 and rating_sum between rating_count and 5 * rating_count),
  constraint enrollment_opens_before_it_closes check (enrollment_opens_at < enrollment_closes_at),
  constraint only_certificates_that_expire_are_renewed
    check (certificate_renewal_days is null or certificate_validity_months is not null),
  constraint course_has_a_publication_date_once_published check (status = 'draft' or published_at is not null)
);
create index courses_by_tenant_and_age on lms.courses (tenant_id, created_at desc, id desc);
create index courses_by_instructor on lms.courses (tenant_id, instructor_id);
create index courses_by_instructor_alone on lms.courses (instructor_id);
create index courses_open_to_everyone on lms.courses (created_at desc, id desc)
  where status = 'published' and visibility = 'public' and deleted_at is null;
create index courses_featured on lms.courses (tenant_id, created_at desc, id desc) where is_featured and deleted_at is null;

comment on table lms.courses is 'A course. Its content hangs below it: modules > lessons > blocks.';
comment on column lms.courses.visibility is
  'public: anyone sees the card; restricted: members of the tenant; private: those enrolled, and staff.';
comment on column lms.courses.status is
  'Changed by publish_course, unpublish_course and archive_course, never by writing the row.';
comment on column lms.courses.enrollment_opens_at is 'Learners enrol themselves from then on; null is at any time.';
comment on column lms.courses.enrollment_closes_at is 'Learners enrol themselves before then; null is at any time.';
comment on column lms.courses.is_sequential is 'Each lesson opens when the required lesson before it is completed.';
comment on column lms.courses.required_score is 'Final grade (0 to 100) needed for completion; 0 asks for none.';
comment on column lms.courses.max_attempts is 'How many cycles a learner may begin without staff; null is any number.';
comment on column lms.courses.issues_certificate is 'Whoever completes a cycle gets a certificate.';
comment on column lms.courses.certificate_validity_months is
  'How long a certificate is valid, from completion on; null is without end. Certificates keep the dates they were issued with.';
comment on column lms.courses.certificate_renewal_days is
  'So many days before a certificate expires, its holder is enrolled in the next cycle; null: nobody is by itself.';
comment on column lms.courses.is_featured is 'Shown first in the catalogue; set with catalog.write.';
comment on column lms.courses.rating_average is
  'Mean of the visible reviews, 1.00 to 5.00; null without any. Kept by the server, as are rating_count and rating_sum.';
comment on column lms.courses.capacity is 'How many may be enrolled at a time; null is any number.';

create table lms.course_staff (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null,
  course_id uuid not null,
  user_id uuid not null constraint course_staff_is_a_person references public.profiles (id),
  part text not null default 'co_instructor'
    constraint course_staff_part_is_known check (part in ('instructor', 'co_instructor', 'trainer')),
  created_at timestamptz not null default now(),
  constraint one_part_per_course_and_person unique (course_id, user_id),
  constraint course_staff_is_of_the_same_tenant foreign key (tenant_id, course_id)
    references lms.courses (tenant_id, id) on delete cascade,
  constraint course_staff_is_a_member foreign key (tenant_id, user_id) references lms.memberships (tenant_id, user_id)
);
create index course_staff_by_user on lms.course_staff (user_id, course_id);
create index course_staff_by_course on lms.course_staff (tenant_id, course_id);
create index course_staff_by_member on lms.course_staff (tenant_id, user_id);

comment on table lms.course_staff is 'Who edits, publishes and follows a course: its instructor, co-instructors and trainers.';

create table lms.modules (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  course_id uuid not null,
  key text not null default '' constraint module_key_is_a_slug
    check (key ~ '^[a-z0-9]+(-[a-z0-9]+)*$' and length(key) <= 100),
  title private.title not null,
  description text not null default '' constraint module_description_is_short check (length(description) <= 20000),
  order_index integer not null default -1 constraint module_order_is_within_a_million check (order_index between 0 and 999999),
  published_at timestamptz,
  deleted_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint module_of_its_course unique (tenant_id, course_id, id),
  -- Among deleted ones too: a part that comes back in an import is found again, with its history.
  constraint module_key_is_taken unique (course_id, key),
  constraint module_is_of_the_same_tenant foreign key (tenant_id, course_id) references lms.courses (tenant_id, id),
  -- An exclusion rather than a unique constraint: only it can be both partial and deferrable, and a reorder is one
  -- statement that passes through duplicates.
  constraint module_order_is_taken exclude using btree (course_id with =, order_index with =)
    where (deleted_at is null) deferrable
);
create index modules_by_course on lms.modules (course_id, order_index);

comment on table lms.modules is 'A part of a course; holds lessons.';
comment on column lms.modules.tenant_id is 'Taken from the course.';
comment on column lms.modules.key is
  'What imports and exports know it by, unique in the course; left out, it is made of the title. It stays when the title changes.';
comment on column lms.modules.published_at is 'When it first became part of a version; until then only authors see it.';
comment on column lms.modules.order_index is 'Position among the course''s modules, from 0; left out, the module goes last.';

create table lms.lessons (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  course_id uuid not null default '00000000-0000-0000-0000-000000000000',
  module_id uuid not null,
  key text not null default '' constraint lesson_key_is_a_slug
    check (key ~ '^[a-z0-9]+(-[a-z0-9]+)*$' and length(key) <= 100),
  title private.title not null,
  description text not null default '' constraint lesson_description_is_short check (length(description) <= 20000),
  type text not null default 'text' constraint lesson_type_is_known
    check (type in ('text', 'video', 'audio', 'document', 'quiz', 'assignment', 'interactive', 'code_exercise')),
  duration integer constraint lesson_duration_is_not_negative check (duration >= 0),
  order_index integer not null default -1 constraint lesson_order_is_within_a_million check (order_index between 0 and 999999),
  requires_completion boolean not null default true,
  is_published boolean not null default true,
  is_preview boolean not null default false,
  objectives text[] not null default '{}' constraint lesson_objectives_are_few check (cardinality(objectives) <= 50),
  completion_rule text not null default 'manual'
    constraint completion_rule_is_known check (completion_rule in ('manual', 'all_blocks', 'watched', 'assessment', 'attendance', 'sign_off')),
  required_watched_percentage private.percentage not null default 90
    constraint required_watched_percentage_is_positive check (required_watched_percentage > 0),
  release_after_days integer constraint release_is_within_10_years check (release_after_days between 0 and 3650),
  release_on date constraint release_is_a_day_of_calendars check (release_on between '1900-01-01' and '9999-12-31'),
  published_at timestamptz,
  deleted_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint lesson_is_released_by_days_or_by_date check (release_after_days is null or release_on is null),
  constraint lesson_of_its_course unique (tenant_id, course_id, id),
  constraint lesson_key_is_taken unique (course_id, key),
  constraint lesson_is_of_the_same_course foreign key (tenant_id, course_id, module_id)
    references lms.modules (tenant_id, course_id, id),
  constraint lesson_order_is_taken exclude using btree (module_id with =, order_index with =)
    where (deleted_at is null) deferrable
);
create index lessons_by_module on lms.lessons (module_id, order_index);
create index lessons_by_course on lms.lessons (course_id);
create index lessons_by_module_of_course on lms.lessons (tenant_id, course_id, module_id);
-- A course belongs to one tenant and a module to one course; not knowing that, the planner takes (tenant, course) for
-- one lesson and lets a foreign key check walk through all of the course.
create statistics lms.lessons_dependent_columns (dependencies) on tenant_id, course_id, module_id from lms.lessons;

comment on table lms.lessons is 'What a learner works through; its content is in blocks, so the syllabus can be read without it.';
comment on column lms.lessons.duration is 'Minutes.';
comment on column lms.lessons.requires_completion is 'Counts towards the course''s percentage.';
comment on column lms.lessons.is_preview is 'Its content may be read without being enrolled.';
comment on column lms.lessons.course_id is 'Taken from the module.';
comment on column lms.lessons.key is 'As a module''s key: what imports and exports know the lesson by, unique in the course.';
comment on column lms.lessons.is_published is 'Part of the next version. Learners keep the versions that they take.';
comment on column lms.lessons.published_at is 'When it first became part of a version; until then only authors see it.';
comment on column lms.lessons.completion_rule is
  'manual: the learner says so; all_blocks: when all its mandatory blocks are completed; watched: when '
  'required_watched_percentage of its video and audio was played; assessment: when its mandatory assessments, or all where '
  'none is mandatory, are passed; attendance: when the learner was at a led session of the lesson; sign_off: when they were signed '
  'off there. But for manual it completes by evidence only.';
comment on column lms.lessons.release_after_days is
  'Opens so many days after enrolment, at the beginning of that day in the tenant''s time zone.';
comment on column lms.lessons.release_on is 'Opens on this day, at its beginning in the tenant''s time zone.';

create table lms.lesson_blocks (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  course_id uuid not null default '00000000-0000-0000-0000-000000000000',
  lesson_id uuid not null,
  type text not null constraint block_type_is_known check (type in (
    'rich_text', 'markdown', 'image', 'video', 'audio', 'file', 'link', 'youtube', 'vimeo', 'quiz', 'assignment',
    'interactive', 'code_exercise'
  )),
  title private.title,
  content jsonb not null,
  metadata jsonb not null default '{}'
    constraint block_metadata_is_an_object check (jsonb_typeof(metadata) = 'object' and length(metadata::text) <= 20000),
  is_optional boolean not null default false,
  order_index integer not null default -1 constraint block_order_is_within_a_million check (order_index between 0 and 999999),
  deleted_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint block_content_has_the_shape_of_its_type check (private.is_block_content(type, content)),
  constraint block_is_of_the_same_course foreign key (tenant_id, course_id, lesson_id)
    references lms.lessons (tenant_id, course_id, id),
  constraint block_order_is_taken exclude using btree (lesson_id with =, order_index with =)
    where (deleted_at is null) deferrable
);
create index lesson_blocks_by_lesson on lms.lesson_blocks (lesson_id, order_index);
create index lesson_blocks_by_lesson_of_course on lms.lesson_blocks (tenant_id, course_id, lesson_id);

comment on table lms.lesson_blocks is 'The content of a lesson, in order. Learners read it through get_lesson.';

-- A review is no change of the course.
create trigger _100_timestamps before update on lms.courses
  for each row when ((old.rating_count, old.rating_sum) is not distinct from (new.rating_count, new.rating_sum))
  execute function private.touch_updated_at();
create trigger _100_timestamps before update on lms.modules
  for each row execute function private.touch_updated_at();
create trigger _100_timestamps before update on lms.lessons
  for each row execute function private.touch_updated_at();
create trigger _100_timestamps before update on lms.lesson_blocks
  for each row execute function private.touch_updated_at();

-- =====================================================================================================
-- Keys and positions that follow from the parent
-- =====================================================================================================
-- A client names the parent only. Tenant and course are looked up, so a claimed one cannot be wrong; a parent that
-- does not exist is left to the foreign key. A position that is left out is the last one: the parent's row is locked
-- so that two authors who append at once do not meet on the same place.

-- A key that an author did not choose: the title's Latin letters and digits; where that is taken, with a number, and after
-- some tries with a piece of the id: a thousand lessons of one title must not count up to each other.
create function private.key_of_title(p_title text, p_kind text, p_id uuid, p_try integer)
returns text
language sql
immutable
set search_path = ''
as $$
  select coalesce(
    nullif(trim('-' from left(trim('-' from regexp_replace(lower(p_title), '[^a-z0-9]+', '-', 'g')), 80)), ''), p_kind
  ) || case when p_try = 1 then '' when p_try <= 9 then '-' || p_try else '-' || left(md5(p_id::text || p_try), 12) end
$$;

create function private.next_place(p_last integer)
returns integer
language plpgsql
immutable
set search_path = ''
as $$
begin
  if p_last >= 999999 then
    perform private.fail('order_is_full', 'The last place is taken.', 409, null, 'Put its siblings in order first: lms.reorder.');
  end if;
  return coalesce(p_last, -1) + 1;
end
$$;

create function private.place_module()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  select c.tenant_id into new.tenant_id from lms.courses c where c.id = new.course_id;
  new.tenant_id := coalesce(new.tenant_id, '00000000-0000-0000-0000-000000000000');
  if new.key = '' then
    -- Two authors who add a part of the same title at once do not meet on one key.
    perform from lms.courses c where c.id = new.course_id for no key update;
    for attempt in 1..12 loop
      new.key := private.key_of_title(new.title, 'module', new.id, attempt);
      exit when not exists (select from lms.modules m where m.course_id = new.course_id and m.key = new.key);
    end loop;
  end if;
  if new.order_index < 0 then
    perform from lms.courses c where c.id = new.course_id for no key update;
    select private.next_place(max(m.order_index)) into new.order_index
    from lms.modules m
    where m.course_id = new.course_id and m.deleted_at is null;
  end if;
  return new;
end
$$;

create trigger _200_place before insert on lms.modules
  for each row execute function private.place_module();

create function private.place_lesson()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  parent record;
begin
  if new.key = '' then
    perform from lms.courses c
    where c.id = (select m.course_id from lms.modules m where m.id = new.module_id)
    for no key update;
  end if;
  -- Held, so that it is not deleted meanwhile.
  if new.order_index < 0 then
    perform from lms.modules m where m.id = new.module_id for no key update;
  else
    perform from lms.modules m where m.id = new.module_id for share;
  end if;
  select m.tenant_id, m.course_id, m.deleted_at into parent from lms.modules m where m.id = new.module_id;
  if parent.deleted_at is not null and new.deleted_at is null then
    perform private.fail('module_not_found', 'There is no such module.', 404);
  elsif tg_op = 'UPDATE' and parent.course_id is distinct from old.course_id then
    perform private.fail(
      'module_of_another_course', 'A lesson can only move between modules of its own course.', 409,
      jsonb_build_object('lesson_id', new.id, 'module_id', new.module_id)
    );
  end if;
  if parent.course_id is not null then
    new.tenant_id := parent.tenant_id;
    new.course_id := parent.course_id;
  end if;
  if new.key = '' then
    for attempt in 1..12 loop
      new.key := private.key_of_title(new.title, 'lesson', new.id, attempt);
      exit when not exists (select from lms.lessons l where l.course_id = new.course_id and l.key = new.key);
    end loop;
  end if;
  if new.order_index < 0 then
    select private.next_place(max(l.order_index)) into new.order_index
    from lms.lessons l
    where l.module_id = new.module_id and l.deleted_at is null;
  end if;
  return new;
end
$$;

create trigger _200_place before insert or update of module_id on lms.lessons
  for each row execute function private.place_lesson();

create function private.place_block()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  parent record;
begin
  select l.tenant_id, l.course_id into parent from lms.lessons l where l.id = new.lesson_id;
  if parent.course_id is not null then
    new.tenant_id := parent.tenant_id;
    new.course_id := parent.course_id;
  end if;
  if new.order_index < 0 then
    perform from lms.lessons l where l.id = new.lesson_id for no key update;
    select private.next_place(max(b.order_index)) into new.order_index
    from lms.lesson_blocks b
    where b.lesson_id = new.lesson_id and b.deleted_at is null;
  end if;
  return new;
end
$$;

create trigger _200_place before insert on lms.lesson_blocks
  for each row execute function private.place_block();

-- =====================================================================================================
-- Staff
-- =====================================================================================================

create function private.staffed_courses()
returns setof uuid
language plpgsql
stable security definer
rows 5
set search_path = ''
as $$
begin
  return query
  select s.course_id
  from lms.course_staff s
  join lms.memberships m on m.tenant_id = s.tenant_id and m.user_id = s.user_id
  join lms.tenants t on t.id = s.tenant_id
  where s.user_id = (select auth.uid()) and m.status = 'active' and t.is_active
    and exists (
      select
      from lms.role_grants g
      join lms.role_permissions p on p.role_id = g.role_id and p.permission in ('catalog.author', 'catalog.write')
      where g.tenant_id = m.tenant_id and g.membership_id = m.id
    );
end
$$;

comment on function private.staffed_courses is
  'Courses of which the caller is staff, as long as a role of theirs still lets them author.';
grant execute on function private.staffed_courses to anon, authenticated, service_role;

-- An instructor creates courses in the own name; putting somebody else in charge takes catalog.write.
create function private.claim_course()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if private.is_api_call() then
    new.created_by := (select auth.uid());
    new.instructor_id := coalesce(new.instructor_id, (select auth.uid()));
    if new.instructor_id is distinct from (select auth.uid())
      and not new.tenant_id = any (array(select private.tenants_where('catalog.write')))
    then
      raise insufficient_privilege using
        message = 'Creating a course for another instructor takes the permission catalog.write.';
    end if;
  end if;
  return new;
end
$$;

alter table lms.courses alter column instructor_id set default auth.uid();

create trigger _200_claim before insert on lms.courses
  for each row execute function private.claim_course();

-- The front page belongs to the organisation: an instructor does not put the own course there, nor takes it away.
create function private.keep_featured()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if private.is_api_call() and not new.tenant_id = any (array(select private.tenants_where('catalog.write'))) then
    raise insufficient_privilege using message = 'Featuring a course takes the permission catalog.write.';
  end if;
  return new;
end
$$;

create trigger _250_featured before insert on lms.courses
  for each row when (new.is_featured) execute function private.keep_featured();
create trigger _250_featured_changed before update of is_featured on lms.courses
  for each row when (old.is_featured is distinct from new.is_featured) execute function private.keep_featured();

create function private.staff_course_with_instructor()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  insert into lms.course_staff (tenant_id, course_id, user_id, part)
  values (new.tenant_id, new.id, new.instructor_id, 'instructor')
  on conflict (course_id, user_id) do update set part = 'instructor';
  return null;
end
$$;

create trigger _500_staff after insert or update of instructor_id on lms.courses
  for each row execute function private.staff_course_with_instructor();

-- =====================================================================================================
-- Grants
-- =====================================================================================================
-- The policies follow in the visibility file, because being enrolled is one of the ways to see a course.

alter table lms.courses enable row level security;
alter table lms.course_staff enable row level security;
alter table lms.modules enable row level security;
alter table lms.lessons enable row level security;
alter table lms.lesson_blocks enable row level security;

grant all on lms.courses, lms.course_staff, lms.modules, lms.lessons, lms.lesson_blocks to service_role;

grant select on lms.courses, lms.modules, lms.lessons to anon, authenticated;
grant select on lms.course_staff, lms.lesson_blocks to authenticated;

grant insert (
  tenant_id, slug, title, description, visibility, difficulty, language, estimated_minutes, price, currency,
  instructor_id, required_score, allow_retake, max_attempts, capacity, self_enrollment, enrollment_opens_at,
  enrollment_closes_at, is_sequential, issues_certificate, certificate_validity_months, certificate_renewal_days, is_featured,
  thumbnail_url, meta_description, meta_keywords, version_label, metadata
) on lms.courses to authenticated;
grant update (
  slug, title, description, visibility, difficulty, language, estimated_minutes, price, currency, required_score,
  allow_retake, max_attempts, capacity, self_enrollment, enrollment_opens_at, enrollment_closes_at, is_sequential,
  issues_certificate, certificate_validity_months, certificate_renewal_days, is_featured, thumbnail_url, meta_description,
  meta_keywords, version_label, metadata
) on lms.courses to authenticated;

grant insert (course_id, key, title, description, order_index) on lms.modules to authenticated;
grant update (key, title, description, order_index) on lms.modules to authenticated;

grant insert (
  module_id, key, title, description, type, duration, order_index, requires_completion, is_published, is_preview, objectives,
  completion_rule, required_watched_percentage, release_after_days, release_on
) on lms.lessons to authenticated;
grant update (
  module_id, key, title, description, type, duration, order_index, requires_completion, is_published, is_preview, objectives,
  completion_rule, required_watched_percentage, release_after_days, release_on
) on lms.lessons to authenticated;

grant insert (lesson_id, type, title, content, metadata, is_optional, order_index) on lms.lesson_blocks to authenticated;
grant update (type, title, content, metadata, is_optional, order_index) on lms.lesson_blocks to authenticated;

notify pgrst, 'reload schema';
