-- Versions: what learners take. Publishing freezes the authors' draft, content included; what was frozen never changes.
-- Undo: drop functions lms.check_course, publish_course, unpublish_course, archive_course, get_version_diff; drop tables
-- lms.version_blocks, block_revisions, version_lessons, course_versions; then types and functions below.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Tables
-- =====================================================================================================

create table lms.course_versions (
  id uuid primary key default private.uuid_v7(),
  tenant_id uuid not null,
  course_id uuid not null,
  number integer not null constraint version_number_is_positive check (number >= 1),
  version_label text,
  title private.title not null,
  description text not null,
  language private.locale not null,
  is_sequential boolean not null,
  items_total integer not null constraint version_items_are_not_negative check (items_total >= 0),
  content_hash text not null,
  published_by uuid,
  published_at timestamptz not null default now(),
  constraint version_of_its_course unique (tenant_id, course_id, id),
  constraint version_number_is_taken unique (course_id, number),
  constraint version_is_of_the_same_tenant foreign key (tenant_id, course_id) references lms.courses (tenant_id, id)
);
create index course_versions_by_course on lms.course_versions (tenant_id, course_id);

comment on table lms.course_versions is
  'A published state of a course, frozen. Enrolments are pinned to one; later versions change nothing for them unless '
  'migrate_enrollments moves them.';
comment on column lms.course_versions.number is 'Counts up from 1 within the course.';
comment on column lms.course_versions.items_total is 'Required lessons and mandatory assessments: what a learner has to finish.';
comment on column lms.course_versions.content_hash is
  'SHA-256 over settings, lessons, blocks and assessments: equal hashes, equal courses. Publishing an unchanged draft makes no version.';

create table lms.version_lessons (
  version_id uuid not null,
  lesson_id uuid not null,
  tenant_id uuid not null,
  course_id uuid not null,
  module_id uuid not null,
  module_title text not null,
  module_description text not null,
  module_index integer not null,
  lesson_index integer not null,
  title text not null,
  description text not null,
  type text not null,
  duration integer,
  requires_completion boolean not null,
  is_preview boolean not null,
  objectives text[] not null,
  completion_rule text not null,
  required_watched_percentage numeric not null,
  release_after_days integer,
  release_on date,
  prerequisite_ids uuid[] not null,
  primary key (version_id, lesson_id),
  constraint version_lesson_of_its_version unique (tenant_id, course_id, version_id, lesson_id),
  constraint version_lesson_is_of_the_same_course foreign key (tenant_id, course_id, version_id)
    references lms.course_versions (tenant_id, course_id, id),
  constraint version_lesson_is_a_lesson_of_the_course foreign key (tenant_id, course_id, lesson_id)
    references lms.lessons (tenant_id, course_id, id)
);
create index version_lessons_by_lesson on lms.version_lessons (tenant_id, course_id, lesson_id);

comment on table lms.version_lessons is 'The lessons of a version as they were when it was published.';
comment on column lms.version_lessons.module_index is 'Position of the module, from 0, without gaps.';
comment on column lms.version_lessons.lesson_index is 'Position within the course, from 0, without gaps.';
comment on column lms.version_lessons.prerequisite_ids is
  'Lessons to complete first. Of a sequential course also the required lesson before it.';

-- Unchanged blocks are shared by all versions that contain them.
create table lms.block_revisions (
  id uuid primary key default private.uuid_v7(),
  tenant_id uuid not null,
  course_id uuid not null,
  lesson_id uuid not null,
  block_id uuid not null,
  content_hash text not null,
  type text not null,
  title text,
  content jsonb not null,
  metadata jsonb not null,
  is_optional boolean not null,
  created_at timestamptz not null default now(),
  constraint revision_of_its_course unique (tenant_id, course_id, id),
  constraint revision_is_taken unique (block_id, content_hash),
  constraint revision_is_of_a_lesson_of_the_course foreign key (tenant_id, course_id, lesson_id)
    references lms.lessons (tenant_id, course_id, id)
);
create index block_revisions_by_lesson on lms.block_revisions (tenant_id, course_id, lesson_id);

comment on table lms.block_revisions is 'What a block held when it was published. Outlives the block itself.';

create table lms.version_blocks (
  version_id uuid not null,
  block_id uuid not null,
  tenant_id uuid not null,
  course_id uuid not null,
  lesson_id uuid not null,
  revision_id uuid not null,
  order_index integer not null,
  is_preview boolean not null,
  primary key (version_id, block_id),
  constraint version_block_is_of_a_lesson_of_the_version foreign key (tenant_id, course_id, version_id, lesson_id)
    references lms.version_lessons (tenant_id, course_id, version_id, lesson_id),
  constraint version_block_is_a_revision_of_the_course foreign key (tenant_id, course_id, revision_id)
    references lms.block_revisions (tenant_id, course_id, id)
);
create index version_blocks_by_lesson on lms.version_blocks (version_id, lesson_id, order_index);
create index version_blocks_by_lesson_of_course on lms.version_blocks (tenant_id, course_id, version_id, lesson_id);
create index version_blocks_by_revision on lms.version_blocks (tenant_id, course_id, revision_id);
create index version_blocks_by_revision_alone on lms.version_blocks (revision_id);

comment on table lms.version_blocks is
  'Which block revisions a version contains. With content: version_blocks?select=order_index,block_revisions(*).';
comment on column lms.version_blocks.is_preview is 'Of a preview lesson, which those read who are not enrolled.';

-- =====================================================================================================
-- INV-C1: what was published stays as it is, whoever writes
-- =====================================================================================================

create function private.refuse_version_change()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  raise insufficient_privilege using message = 'A published version never changes.', hint = 'Publish the course again.';
end
$$;

create trigger _100_immutable before update or delete on lms.course_versions
  for each row execute function private.refuse_version_change();
create trigger _100_immutable before update or delete on lms.version_lessons
  for each row execute function private.refuse_version_change();
create trigger _100_immutable before update or delete on lms.block_revisions
  for each row execute function private.refuse_version_change();
create trigger _100_immutable before update or delete on lms.version_blocks
  for each row execute function private.refuse_version_change();

-- Nor does it grow: its lessons and blocks come in the transaction that publishes it.
create function private.refuse_late_version_rows()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if exists (
    select
    from (select distinct n.version_id from new_rows n) as touched
    join lms.course_versions v on v.id = touched.version_id
    where v.published_at <> now()
  ) then
    raise insufficient_privilege using message = 'A published version never changes.', hint = 'Publish the course again.';
  end if;
  return null;
end
$$;

create trigger _300_in_one_go after insert on lms.version_lessons
  referencing new table as new_rows
  for each statement execute function private.refuse_late_version_rows();
create trigger _300_in_one_go after insert on lms.version_blocks
  referencing new table as new_rows
  for each statement execute function private.refuse_late_version_rows();

-- =====================================================================================================
-- The draft, as it would be published
-- =====================================================================================================

create function private.latest_version(p_course_id uuid)
returns lms.course_versions
language plpgsql
stable
set search_path = ''
as $$
declare
  v_version lms.course_versions;
begin
  select * into v_version from lms.course_versions v where v.course_id = p_course_id order by v.number desc limit 1;
  return v_version;
end
$$;

comment on function private.latest_version is 'The version that new enrolments are pinned to; nulls where there is none.';

-- The only place that says which lessons a course consists of, in which order, and what opens each.
create function private.draft_lessons(p_course_id uuid)
returns setof lms.version_lessons
language sql
stable
set search_path = ''
as $$
  with placed as (
    select
      l.*, m.title as module_title, m.description as module_description,
      dense_rank() over (order by m.order_index) - 1 as module_index,
      row_number() over walk - 1 as lesson_index
    from lms.lessons l
    join lms.modules m on m.id = l.module_id
    where l.course_id = p_course_id and l.is_published and l.deleted_at is null and m.deleted_at is null
    window walk as (order by m.order_index, l.order_index)
  ), chained as (
    select
      p.*,
      max(p.lesson_index) filter (where p.requires_completion)
        over (order by p.lesson_index rows between unbounded preceding and 1 preceding) as required_index_before
    from placed p
  )
  select
    null::uuid, l.id, l.tenant_id, l.course_id, l.module_id, l.module_title::text, l.module_description,
    l.module_index::integer, l.lesson_index::integer, l.title::text, l.description, l.type, l.duration,
    l.requires_completion, l.is_preview, l.objectives, l.completion_rule, l.required_watched_percentage::numeric,
    l.release_after_days, l.release_on,
    array(
      select p.prerequisite_lesson_id
      from lms.lesson_prerequisites p
      join lms.lessons needed on needed.id = p.prerequisite_lesson_id
      join lms.modules m on m.id = needed.module_id
      where p.lesson_id = l.id and needed.is_published and needed.deleted_at is null and m.deleted_at is null
      union
      select before.id
      where before.id is not null
      order by 1
    )
  from chained l
  left join placed before on before.lesson_index = l.required_index_before
    and (select c.is_sequential from lms.courses c where c.id = p_course_id)
  order by l.lesson_index
$$;

create type private.draft_block as (
  lesson_id uuid, block_id uuid, order_index integer, is_preview boolean, content_hash text
);

create function private.draft_blocks(p_course_id uuid)
returns setof private.draft_block
language sql
stable
set search_path = ''
as $$
  select
    b.lesson_id, b.id, (row_number() over (partition by b.lesson_id order by b.order_index) - 1)::integer, l.is_preview,
    encode(sha256(convert_to(
      jsonb_build_array(b.type, b.title, b.content, b.metadata, b.is_optional)::text, 'UTF8'
    )), 'hex')
  from lms.lesson_blocks b
  join lms.lessons l on l.id = b.lesson_id
  join lms.modules m on m.id = l.module_id
  where b.course_id = p_course_id and b.deleted_at is null
    and l.is_published and l.deleted_at is null and m.deleted_at is null
  order by 1, 3
$$;

create function private.count_course_items(p_course_id uuid)
returns integer
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_version constant lms.course_versions := private.latest_version(p_course_id);
begin
  if v_version.id is not null then
    return v_version.items_total;
  end if;
  return (select count(*) from private.draft_lessons(p_course_id) l where l.requires_completion)
    + (select count(*) from private.draft_assessments(p_course_id) a where a.is_mandatory);
end
$$;

comment on function private.count_course_items is
  'How many items somebody who enrols now has to finish: the required lessons and mandatory assessments of the latest '
  'version (INV-P2), before the first one those of the draft.';

-- =====================================================================================================
-- What stands in the way of publishing
-- =====================================================================================================

create type lms.course_finding as (severity text, code text, message text, details jsonb);
comment on type lms.course_finding is 'severity: a fault keeps a course from being published, a warning does not.';

-- INV-C4
create function private.find_course_faults(p_course_id uuid)
returns setof lms.course_finding
language plpgsql
stable
set search_path = ''
as $$
begin
  if not exists (select from private.draft_lessons(p_course_id) l where l.requires_completion)
    and not exists (select from private.draft_assessments(p_course_id) a where a.is_mandatory)
  then
    return next (
      'fault', 'no_required_lesson',
      'The course has no published lesson that requires completion, and no mandatory assessment.', null
    )::lms.course_finding;
  end if;

  return query
  select
    'fault', 'prerequisite_not_published', format('"%s" waits for a lesson that will not be part of the course.', l.title),
    jsonb_build_object('lesson_id', l.lesson_id, 'prerequisite_lesson_id', p.prerequisite_lesson_id)
  from private.draft_lessons(p_course_id) l
  join lms.lesson_prerequisites p on p.lesson_id = l.lesson_id
  where p.prerequisite_lesson_id <> all (l.prerequisite_ids);

  return query
  select
    case c.status when 'draft' then 'fault' else 'warning' end,
    case c.status when 'draft' then 'prerequisite_course_not_published' else 'prerequisite_course_not_available' end,
    case c.status
      when 'draft' then format('The course waits for "%s", which is not published.', c.title)
      else format('The course names "%s" as a prerequisite, which nobody can take any more: it is not asked for.', c.title)
    end,
    jsonb_build_object('prerequisite_course_id', c.id)
  from lms.course_prerequisites p
  join lms.courses c on c.id = p.prerequisite_course_id
  where p.course_id = p_course_id and (c.status <> 'published' or c.deleted_at is not null);

  return query
  select
    'fault', 'rule_without_blocks',
    format('"%s" is completed by its mandatory blocks, and has none.', l.title),
    jsonb_build_object('lesson_id', l.lesson_id)
  from private.draft_lessons(p_course_id) l
  where l.completion_rule = 'all_blocks' and not exists (
    select from lms.lesson_blocks b where b.lesson_id = l.lesson_id and b.deleted_at is null and not b.is_optional
  );

  return query
  select
    'fault', 'rule_without_media',
    format('"%s" is completed by watching, and has no mandatory video or audio with a duration.', l.title),
    jsonb_build_object('lesson_id', l.lesson_id)
  from private.draft_lessons(p_course_id) l
  where l.completion_rule = 'watched' and not exists (
    select
    from lms.lesson_blocks b
    where b.lesson_id = l.lesson_id and b.deleted_at is null and not b.is_optional
      and private.media_seconds(b.type, b.content) > 0
  );

  return query select * from private.find_assessment_faults(p_course_id);

  -- No fault: sessions are planned as long as a course is taken, also after it was published or imported.
  return query
  select
    'warning', 'rule_without_session',
    format('"%s" is completed by attendance or sign-off, and no session of it is to come.', l.title),
    jsonb_build_object('lesson_id', l.lesson_id)
  from private.draft_lessons(p_course_id) l
  where l.completion_rule in ('attendance', 'sign_off') and not exists (
    select from lms.led_sessions s where s.lesson_id = l.lesson_id and s.status = 'scheduled' and s.ends_at > now()
  );

  return query
  select
    'warning', 'lesson_without_content', format('"%s" has no content.', l.title), jsonb_build_object('lesson_id', l.lesson_id)
  from private.draft_lessons(p_course_id) l
  where not exists (select from lms.lesson_blocks b where b.lesson_id = l.lesson_id and b.deleted_at is null);

  return query
  select
    'warning', 'module_without_lessons', format('"%s" has no published lesson.', m.title),
    jsonb_build_object('module_id', m.id)
  from lms.modules m
  where m.course_id = p_course_id and m.deleted_at is null and not exists (
    select from lms.lessons l where l.module_id = m.id and l.is_published and l.deleted_at is null
  );
end
$$;

create function private.media_seconds(type text, content jsonb)
returns integer
language sql
immutable
set search_path = ''
as $$
  select case
    when type in ('video', 'audio', 'youtube', 'vimeo') and jsonb_typeof(content -> 'duration') = 'number'
      then ceil((content ->> 'duration')::numeric)::integer
    else 0
  end
$$;

comment on function private.media_seconds is 'How long a block plays; 0 for what does not play, or not for a known time.';

-- =====================================================================================================
-- Freezing
-- =====================================================================================================

create type private.course_draft as (
  faults lms.course_finding[], lessons lms.version_lessons[], blocks private.draft_block[], contents lms.lesson_blocks[],
  assessments jsonb
);

-- INV-C1: one statement, and so one snapshot. What an author changes meanwhile is in the version as a whole or not at all:
-- it cannot be judged in one state, hashed in a second and frozen in a third.
create function private.read_draft(p_course_id uuid)
returns private.course_draft
language plpgsql
stable
set search_path = ''
as $$
declare
  v_draft private.course_draft;
begin
  select
    array(select f from private.find_course_faults(p_course_id) f where f.severity = 'fault'),
    array(select l from private.draft_lessons(p_course_id) l),
    array(select d from private.draft_blocks(p_course_id) d),
    array(
      select b from private.draft_blocks(p_course_id) d join lms.lesson_blocks b on b.id = d.block_id order by b.id
    ),
    private.read_draft_assessments(p_course_id)
  into v_draft;
  return v_draft;
end
$$;

-- The course is locked, so that nobody enrols while the count changes, and two publications make two numbers.
create function private.freeze_course(p_course_id uuid, p_refuse_faults boolean default false)
returns lms.course_versions
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_course lms.courses;
  v_draft private.course_draft;
  v_latest lms.course_versions;
  v_version lms.course_versions;
begin
  select * into v_course from lms.courses c where c.id = p_course_id for no key update;
  v_draft := private.read_draft(p_course_id);
  if p_refuse_faults and cardinality(v_draft.faults) > 0 then
    perform private.fail('not_publishable', 'The course cannot be published yet.', 409, (
      select jsonb_agg(jsonb_build_object('code', f.code, 'message', f.message, 'details', f.details))
      from unnest(v_draft.faults) f
    ));
  end if;
  v_latest := private.latest_version(p_course_id);

  select encode(sha256(convert_to(concat_ws(
    E'\n',
    jsonb_build_array(v_course.title, v_course.description, v_course.language, v_course.is_sequential),
    (
      select jsonb_agg(to_jsonb(l) - array['version_id', 'tenant_id', 'course_id'] order by l.lesson_index)
      from unnest(v_draft.lessons) l
    ),
    (
      select jsonb_agg(to_jsonb(b) order by b.lesson_id, b.order_index)
      from unnest(v_draft.blocks) b
    ),
    v_draft.assessments ->> 'hash'
  ), 'UTF8')), 'hex') into v_version.content_hash;
  if v_version.content_hash = v_latest.content_hash then
    perform private.renew_keys(v_draft.assessments);
    return v_latest;
  end if;

  insert into lms.course_versions (
    tenant_id, course_id, number, version_label, title, description, language, is_sequential, items_total, content_hash,
    published_by
  )
  select
    v_course.tenant_id, v_course.id, coalesce(v_latest.number, 0) + 1, v_course.version_label, v_course.title,
    v_course.description, v_course.language, v_course.is_sequential,
    (select count(*) from unnest(v_draft.lessons) l where l.requires_completion) + (v_draft.assessments ->> 'items')::integer,
    v_version.content_hash, (select auth.uid())
  returning * into v_version;

  insert into lms.version_lessons (
    version_id, lesson_id, tenant_id, course_id, module_id, module_title, module_description, module_index, lesson_index,
    title, description, type, duration, requires_completion, is_preview, objectives, completion_rule,
    required_watched_percentage, release_after_days, release_on, prerequisite_ids
  )
  select
    v_version.id, l.lesson_id, l.tenant_id, l.course_id, l.module_id, l.module_title, l.module_description, l.module_index,
    l.lesson_index, l.title, l.description, l.type, l.duration, l.requires_completion, l.is_preview, l.objectives,
    l.completion_rule, l.required_watched_percentage, l.release_after_days, l.release_on, l.prerequisite_ids
  from unnest(v_draft.lessons) l;

  insert into lms.block_revisions (
    tenant_id, course_id, lesson_id, block_id, content_hash, type, title, content, metadata, is_optional
  )
  select b.tenant_id, b.course_id, b.lesson_id, b.id, d.content_hash, b.type, b.title, b.content, b.metadata, b.is_optional
  from unnest(v_draft.blocks) d
  join unnest(v_draft.contents) b on b.id = d.block_id
  on conflict (block_id, content_hash) do nothing;

  insert into lms.version_blocks (
    version_id, block_id, tenant_id, course_id, lesson_id, revision_id, order_index, is_preview
  )
  select v_version.id, d.block_id, r.tenant_id, r.course_id, d.lesson_id, r.id, d.order_index, d.is_preview
  from unnest(v_draft.blocks) d
  join lms.block_revisions r on r.block_id = d.block_id and r.content_hash = d.content_hash;

  perform private.freeze_assessments(v_version, v_draft.assessments);

  -- Modules before lessons, as whoever puts lessons in order locks them.
  update lms.modules m
  set published_at = now()
  where m.published_at is null and m.course_id = p_course_id
    and exists (select from lms.version_lessons v where v.version_id = v_version.id and v.module_id = m.id);
  update lms.lessons l
  set published_at = now()
  from lms.version_lessons v
  where v.version_id = v_version.id and l.id = v.lesson_id and l.published_at is null;
  perform private.index_course(p_course_id);
  return v_version;
end
$$;

comment on function private.freeze_course is
  'Makes a version of the draft, or returns the latest one when nothing has changed since. Does not check its caller, and '
  'the draft only when p_refuse_faults.';

-- =====================================================================================================
-- Calls
-- =====================================================================================================

create function private.require_course_publisher(p_course_id uuid)
returns void
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  if private.is_api_call() and not exists (
    select from lms.courses c
    where c.id = p_course_id and (
      c.id = any (array(select private.staffed_courses()))
      or c.tenant_id = any (array(select private.tenants_where('catalog.publish')))
    )
  ) then
    raise insufficient_privilege using message = 'This takes being staff of the course, or catalog.publish.';
  end if;
end
$$;

-- Read as the caller: a course that they cannot see does not exist for them.
create function private.require_course(p_course_id uuid)
returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  if not exists (select from lms.courses c where c.id = p_course_id) then
    perform private.fail('course_not_found', 'There is no such course.', 404);
  end if;
end
$$;

create function lms.check_course(p_course_id uuid)
returns setof lms.course_finding
language plpgsql
stable
rows 5
set search_path = ''
as $$
begin
  perform private.require_course(p_course_id);
  return query select * from private.check_course_for_caller(p_course_id);
end
$$;

comment on function lms.check_course is
  'What would keep the draft from being published (faults), and what looks like an oversight (warnings), all at once. '
  '404 course_not_found; 403 when the caller is neither staff of it nor allowed to publish.';

create function private.check_course_for_caller(p_course_id uuid)
returns setof lms.course_finding
language plpgsql
stable security definer
rows 5
set search_path = ''
as $$
begin
  perform private.require_course_publisher(p_course_id);
  return query select * from private.find_course_faults(p_course_id);
end
$$;

create function lms.publish_course(p_course_id uuid)
returns lms.courses
language plpgsql
volatile
set search_path = ''
as $$
begin
  perform private.require_course(p_course_id);
  return private.set_course_status(p_course_id, 'published');
end
$$;

comment on function lms.publish_course is
  'Freezes the draft as a version, unless nothing has changed since the latest one, and opens the course to enrolment. '
  'Those enrolled keep their version: migrate_enrollments moves them. Lists all faults at once: 409 not_publishable, '
  'details = [{code, message, details}]. 404 course_not_found; 403 when the caller is neither staff of it nor allowed '
  'to publish.';

create function lms.unpublish_course(p_course_id uuid)
returns lms.courses
language plpgsql
volatile
set search_path = ''
as $$
begin
  perform private.require_course(p_course_id);
  return private.set_course_status(p_course_id, 'draft');
end
$$;

comment on function lms.unpublish_course is
  'Takes a course off the catalogue while it is worked on; those enrolled keep it. 404 course_not_found; 403 as for '
  'publishing.';

create function lms.archive_course(p_course_id uuid)
returns lms.courses
language plpgsql
volatile
set search_path = ''
as $$
begin
  perform private.require_course(p_course_id);
  return private.set_course_status(p_course_id, 'archived');
end
$$;

comment on function lms.archive_course is
  'Closes a course to new enrolment and takes it off the catalogue for good; those enrolled keep it.';

-- Definer, because `status` is granted to nobody; so it checks its caller.
create function private.set_course_status(p_course_id uuid, p_status text)
returns lms.courses
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_course lms.courses;
begin
  perform private.require_course_publisher(p_course_id);
  if p_status = 'published' then
    perform private.freeze_course(p_course_id, true);
  end if;
  update lms.courses c
  set status = p_status,
      published_at = case when p_status = 'draft' then c.published_at else coalesce(c.published_at, now()) end
  where c.id = p_course_id
  returning * into v_course;
  return v_course;
end
$$;

-- =====================================================================================================
-- What changed
-- =====================================================================================================

create type lms.version_change as (
  kind text, change text, module_id uuid, lesson_id uuid, block_id uuid, title text, details jsonb, assessment_id uuid,
  question_id uuid
);
comment on type lms.version_change is
  'kind: course, module, lesson, block, assessment or question. change: added, removed, changed or moved. details: {field: '
  '{from, to}} of what changed; of blocks and questions the hashes of their revisions.';

create function private.version_lessons_of(p_course_id uuid, p_number integer)
returns setof lms.version_lessons
language plpgsql
stable
set search_path = ''
as $$
begin
  if p_number is null then
    return query select * from private.draft_lessons(p_course_id);
  else
    return query
    select l.*
    from lms.course_versions v
    join lms.version_lessons l on l.version_id = v.id
    where v.course_id = p_course_id and v.number = p_number;
  end if;
end
$$;

create function private.version_blocks_of(p_course_id uuid, p_number integer)
returns setof private.draft_block
language plpgsql
stable
set search_path = ''
as $$
begin
  if p_number is null then
    return query select * from private.draft_blocks(p_course_id);
  else
    return query
    select b.lesson_id, b.block_id, b.order_index, b.is_preview, r.content_hash
    from lms.course_versions v
    join lms.version_blocks b on b.version_id = v.id
    join lms.block_revisions r on r.id = b.revision_id
    where v.course_id = p_course_id and v.number = p_number;
  end if;
end
$$;

create function private.changed_fields(p_from jsonb, p_to jsonb)
returns jsonb
language sql
immutable
set search_path = ''
as $$
  select jsonb_object_agg(f.key, jsonb_build_object('from', f.value, 'to', p_to -> f.key))
  from jsonb_each(p_from) f
  where f.value is distinct from p_to -> f.key
$$;

create function private.diff_versions(p_course_id uuid, p_from integer, p_to integer)
returns setof lms.version_change
language plpgsql
stable security definer
rows 50
set search_path = ''
as $$
declare
  v_known integer;
  -- Where a lesson stands follows from where it was moved; that alone is told as a move.
  v_places constant text[] := array['version_id', 'tenant_id', 'course_id', 'module_id', 'module_index', 'lesson_index',
    'module_title', 'module_description'];
begin
  perform private.require_course_publisher(p_course_id);
  foreach v_known in array array_remove(array[p_from, p_to], null) loop
    if not exists (select from lms.course_versions v where v.course_id = p_course_id and v.number = v_known) then
      perform private.fail('version_not_found', format('The course has no version %s.', v_known), 404);
    end if;
  end loop;

  return query
  with sides as (
    select n.side, v.title, v.description, v.language::text as language, v.is_sequential
    from (values ('from', p_from), ('to', p_to)) as n (side, number)
    join lms.course_versions v on v.course_id = p_course_id and v.number = n.number
    union all
    select n.side, c.title, c.description, c.language::text, c.is_sequential
    from (values ('from', p_from), ('to', p_to)) as n (side, number)
    join lms.courses c on c.id = p_course_id
    where n.number is null
  ), fields as (
    select private.changed_fields(to_jsonb(f) - 'side', to_jsonb(t) - 'side') as changed, t.title
    from sides f, sides t
    where f.side = 'from' and t.side = 'to'
  )
  select 'course', 'changed', null::uuid, null::uuid, null::uuid, f.title::text, f.changed, null::uuid, null::uuid
  from fields f
  where f.changed is not null;

  return query
  with f as (
    select distinct l.module_id, l.module_index, l.module_title as title, l.module_description as description
    from private.version_lessons_of(p_course_id, p_from) l
  ), t as (
    select distinct l.module_id, l.module_index, l.module_title as title, l.module_description as description
    from private.version_lessons_of(p_course_id, p_to) l
  )
  select
    'module',
    case
      when f.module_id is null then 'added'
      when t.module_id is null then 'removed'
      when (f.title, f.description) is distinct from (t.title, t.description) then 'changed'
      else 'moved'
    end,
    coalesce(t.module_id, f.module_id), null::uuid, null::uuid, coalesce(t.title, f.title),
    case
      when f.module_id is not null and t.module_id is not null then
        private.changed_fields(to_jsonb(f) - 'module_id', to_jsonb(t) - 'module_id')
    end,
    null::uuid, null::uuid
  from f
  full join t on t.module_id = f.module_id
  where (f.*) is distinct from (t.*)
  order by coalesce(t.module_index, f.module_index), 3;

  return query
  with f as (
    select l.* from private.version_lessons_of(p_course_id, p_from) l
  ), t as (
    select l.* from private.version_lessons_of(p_course_id, p_to) l
  ), compared as (
    select
      f.lesson_id as was, t.lesson_id as is_now, coalesce(t.module_id, f.module_id) as module_id,
      coalesce(t.title, f.title) as title, coalesce(t.lesson_index, f.lesson_index) as place,
      private.changed_fields(to_jsonb(f) - v_places, to_jsonb(t) - v_places) as changed,
      case when f.module_id <> t.module_id or f.lesson_index <> t.lesson_index then
        private.changed_fields(
          jsonb_build_object('module_id', f.module_id, 'lesson_index', f.lesson_index),
          jsonb_build_object('module_id', t.module_id, 'lesson_index', t.lesson_index)
        )
      end as moved
    from f
    full join t on t.lesson_id = f.lesson_id
  )
  select
    'lesson',
    case
      when c.was is null then 'added'
      when c.is_now is null then 'removed'
      when c.changed is not null then 'changed'
      else 'moved'
    end,
    c.module_id, coalesce(c.is_now, c.was), null::uuid, c.title,
    case when c.was is not null and c.is_now is not null then coalesce(c.changed || coalesce(c.moved, '{}'), c.moved) end,
    null::uuid, null::uuid
  from compared c
  where c.was is null or c.is_now is null or c.changed is not null or c.moved is not null
  order by c.place, 4;

  return query
  with f as (
    select b.* from private.version_blocks_of(p_course_id, p_from) b
  ), t as (
    select b.* from private.version_blocks_of(p_course_id, p_to) b
  )
  select
    'block',
    case
      when f.block_id is null then 'added'
      when t.block_id is null then 'removed'
      when f.content_hash <> t.content_hash then 'changed'
      else 'moved'
    end,
    null::uuid, coalesce(t.lesson_id, f.lesson_id), coalesce(t.block_id, f.block_id), null::text,
    case
      when f.block_id is not null and t.block_id is not null then
        private.changed_fields(
          to_jsonb(f) - array['block_id', 'is_preview'], to_jsonb(t) - array['block_id', 'is_preview']
        )
    end,
    null::uuid, null::uuid
  from f
  full join t on t.block_id = f.block_id
  left join private.version_lessons_of(p_course_id, p_from) was on was.lesson_id = f.lesson_id
  left join private.version_lessons_of(p_course_id, p_to) now on now.lesson_id = t.lesson_id
  where (f.lesson_id, f.order_index, f.content_hash) is distinct from (t.lesson_id, t.order_index, t.content_hash)
  order by coalesce(now.lesson_index, was.lesson_index), coalesce(t.order_index, f.order_index), 5;

  return query select * from private.diff_assessments(p_course_id, p_from, p_to);
end
$$;

create function lms.get_version_diff(p_course_id uuid, p_from integer, p_to integer default null)
returns setof lms.version_change
language plpgsql
stable
rows 50
set search_path = ''
as $$
begin
  perform private.require_course(p_course_id);
  return query select * from private.diff_versions(p_course_id, p_from, p_to);
end
$$;

comment on function lms.get_version_diff is
  'What differs between two versions of a course, by their numbers; without p_to, between a version and the draft. For '
  'staff of the course and catalog.publish. 404 course_not_found, version_not_found.';

grant execute on function
  private.require_course, private.require_course_publisher, private.set_course_status, private.check_course_for_caller,
  private.count_course_items, private.diff_versions
to authenticated, service_role;
grant execute on function private.require_course to anon;
grant execute on function private.freeze_course to service_role;
grant execute on function
  lms.check_course, lms.publish_course, lms.unpublish_course, lms.archive_course, lms.get_version_diff
to authenticated, service_role;

-- =====================================================================================================
-- Grants
-- =====================================================================================================
-- The policies follow in the version visibility file, because a version is seen by those enrolled in it.

alter table lms.course_versions enable row level security;
alter table lms.version_lessons enable row level security;
alter table lms.block_revisions enable row level security;
alter table lms.version_blocks enable row level security;

grant select on lms.course_versions, lms.version_lessons, lms.block_revisions, lms.version_blocks to service_role;
grant select on lms.course_versions, lms.version_lessons to authenticated;
grant select on lms.block_revisions, lms.version_blocks to anon, authenticated;

notify pgrst, 'reload schema';
