-- Course import and export: a whole course as one document, in and out. docs/course-format.md describes it.
-- An import writes the draft, all of it or nothing; what is there already is found by the keys of modules and lessons, and
-- what is as the document says is not written at all. What the document leaves out is marked as deleted: its history stays.
-- Undo: drop functions lms.import_course, lms.export_course; then the helpers and types private.block_match, imported_course.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- The document
-- =====================================================================================================

-- Every object of the document with what it is and where it stands. Lists that are no lists hold nothing; that they are
-- none is said of their owner.
create function private.document_parts(p_course jsonb)
returns table (level text, path text, doc jsonb)
language sql
immutable
set search_path = ''
as $$
  with modules as (
    select format('modules[%s]', m.place - 1) as path, m.doc
    from jsonb_array_elements(case jsonb_typeof(p_course -> 'modules') when 'array' then p_course -> 'modules' else '[]' end)
      with ordinality as m (doc, place)
  ), lessons as (
    select format('%s.lessons[%s]', m.path, l.place - 1) as path, l.doc
    from modules m
    cross join jsonb_array_elements(case jsonb_typeof(m.doc -> 'lessons') when 'array' then m.doc -> 'lessons' else '[]' end)
      with ordinality as l (doc, place)
  )
  select 'course', '', p_course
  union all
  select 'skill', format('skills[%s]', s.place - 1), s.doc
  from jsonb_array_elements(case jsonb_typeof(p_course -> 'skills') when 'array' then p_course -> 'skills' else '[]' end)
    with ordinality as s (doc, place)
  union all
  select 'training_record', 'training_record', p_course -> 'training_record'
  where coalesce(p_course -> 'training_record', 'null') <> 'null'
  union all
  select 'module', m.path, m.doc from modules m
  union all
  select 'lesson', l.path, l.doc from lessons l
  union all
  select 'lesson_skill', format('%s.skills[%s]', l.path, s.place - 1), s.doc
  from lessons l
  cross join jsonb_array_elements(case jsonb_typeof(l.doc -> 'skills') when 'array' then l.doc -> 'skills' else '[]' end)
    with ordinality as s (doc, place)
  union all
  select 'block', format('%s.blocks[%s]', l.path, b.place - 1), b.doc
  from lessons l
  cross join jsonb_array_elements(case jsonb_typeof(l.doc -> 'blocks') when 'array' then l.doc -> 'blocks' else '[]' end)
    with ordinality as b (doc, place)
$$;

-- Which fields there are, of which kind; `!` marks those that must be there. A field that is null is not there.
create function private.document_fields()
returns table (level text, field text, kind text, is_needed boolean)
language sql
immutable
set search_path = ''
as $$
  select f.level, rtrim(w.word, '!'), f.kind, w.word like '%!'
  from (values
    ('course', 'string', 'format! slug! title! description language difficulty visibility thumbnail_url meta_description '
      || 'meta_keywords version_label'),
    ('course', 'boolean', 'is_sequential allow_retake'),
    ('course', 'integer', 'estimated_minutes max_attempts'),
    ('course', 'number', 'required_score'),
    ('course', 'object', 'metadata training_record'),
    ('course', 'array', 'skills modules'),
    ('course', 'strings', 'tags'),
    ('training_record', 'string', 'materials trainer_name trainer_address'),
    ('training_record', 'boolean', 'keeps_training_record'),
    ('skill', 'string', 'key! name! description'),
    ('module', 'string', 'key! title! description'),
    ('module', 'array', 'lessons'),
    ('lesson', 'string', 'key! title! description type completion_rule release_on'),
    ('lesson', 'boolean', 'requires_completion is_published is_preview'),
    ('lesson', 'integer', 'duration release_after_days'),
    ('lesson', 'number', 'required_watched_percentage'),
    ('lesson', 'strings', 'objectives prerequisites'),
    ('lesson', 'array', 'skills blocks'),
    ('lesson_skill', 'string', 'key! part'),
    ('lesson_skill', 'number', 'mastery_threshold'),
    ('block', 'string', 'type! title'),
    ('block', 'boolean', 'is_optional'),
    ('block', 'object', 'content! metadata')
  ) as f (level, kind, words)
  cross join string_to_table(f.words, ' ') as w (word)
$$;

create function private.is_document_value(p_kind text, p_value jsonb)
returns boolean
language sql
immutable
set search_path = ''
as $$
  select case p_kind
    when 'integer' then jsonb_typeof(p_value) = 'number' and p_value::text ~ '^-?[0-9]{1,9}$'
    when 'number' then jsonb_typeof(p_value) = 'number' and length(p_value::text) <= 30
    when 'strings' then jsonb_typeof(p_value) = 'array' and not jsonb_path_exists(p_value, 'strict $[*] ? (@.type() != "string")')
    else jsonb_typeof(p_value) = p_kind
  end
$$;

-- All that is wrong with a document by itself. What the columns' own constraints say of values is left to them.
create function private.is_day(p_text text)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
begin
  return p_text ~ '^\d{4}-\d\d-\d\d$' and to_char(make_date(
    left(p_text, 4)::integer, substr(p_text, 6, 2)::integer, right(p_text, 2)::integer
  ), 'YYYY-MM-DD') = p_text;
exception
  when datetime_field_overflow then
    return false;
end
$$;

create function private.find_document_faults(p_course jsonb)
returns table (path text, code text, message text)
language plpgsql
immutable
set search_path = ''
as $$
begin
  return query
  select p.path, 'not_an_object', 'This is an object.'
  from private.document_parts(p_course) p
  where jsonb_typeof(p.doc) <> 'object';

  return query
  with parts as (
    select p.* from private.document_parts(p_course) p where jsonb_typeof(p.doc) = 'object'
  )
  select concat_ws('.', nullif(p.path, ''), k.field), 'unknown_field', format('A %s has no such field.', replace(p.level, '_', ' '))
  from parts p
  cross join jsonb_object_keys(p.doc) as k (field)
  where not exists (select from private.document_fields() f where f.level = p.level and f.field = k.field)
  union all
  select concat_ws('.', nullif(p.path, ''), f.field), 'wrong_kind', format('This is a %s.', replace(f.kind, 'strings', 'list of texts'))
  from parts p
  join private.document_fields() f on f.level = p.level
  where coalesce(p.doc -> f.field, 'null') <> 'null' and not private.is_document_value(f.kind, p.doc -> f.field)
  union all
  select concat_ws('.', nullif(p.path, ''), f.field), 'missing_field', 'This must be there.'
  from parts p
  join private.document_fields() f on f.level = p.level and f.is_needed
  where coalesce(p.doc -> f.field, 'null') = 'null';

  if p_course ->> 'format' is distinct from 'lyceum-course-1' then
    return query select 'format', 'unknown_format', 'The format is lyceum-course-1.';
  end if;

  return query
  select p.path || '.key', 'duplicate_key', format('%s is the key of an earlier %s.', p.doc ->> 'key', p.level)
  from (
    select d.*, count(*) over (partition by d.level, d.doc ->> 'key' order by d.place) as nth
    from private.document_parts(p_course) with ordinality as d (level, path, doc, place)
    where d.level in ('skill', 'module', 'lesson') and d.doc ->> 'key' is not null
  ) p
  where p.nth > 1;

  return query
  select p.path || '.key', 'empty_key', 'A key is not empty.'
  from private.document_parts(p_course) p
  where p.level in ('skill', 'module', 'lesson') and p.doc ->> 'key' = '';

  return query
  select l.path || '.release_on', 'invalid_date', 'This is a day, as 2026-01-31.'
  from private.document_parts(p_course) l
  where l.level = 'lesson' and l.doc ->> 'release_on' is not null and not private.is_day(l.doc ->> 'release_on');

  return query
  select l.path || '.skills', 'duplicate_skill', format('%s is named twice.', k.key)
  from private.document_parts(p_course) l
  cross join lateral (
    select s.doc ->> 'key' as key
    from jsonb_array_elements(case jsonb_typeof(l.doc -> 'skills') when 'array' then l.doc -> 'skills' else '[]' end) as s (doc)
    group by 1
    having count(*) > 1 and s.doc ->> 'key' is not null
  ) k
  where l.level = 'lesson';

  return query
  select l.path || '.prerequisites', 'unknown_prerequisite', format('No lesson of the document has the key %s.', n.key)
  from private.document_parts(p_course) l
  cross join jsonb_array_elements_text(
    case jsonb_typeof(l.doc -> 'prerequisites') when 'array' then l.doc -> 'prerequisites' else '[]' end
  ) as n (key)
  where l.level = 'lesson' and not exists (
    select from private.document_parts(p_course) o where o.level = 'lesson' and o.doc ->> 'key' = n.key
  );

  return query
  select b.path || '.content', 'invalid_content', format('This is no content of a block of type %s.', b.doc ->> 'type')
  from private.document_parts(p_course) b
  where b.level = 'block' and jsonb_typeof(b.doc -> 'type') = 'string' and jsonb_typeof(b.doc -> 'content') = 'object'
    and not private.is_block_content(b.doc ->> 'type', b.doc -> 'content');
end
$$;

create function private.document_modules(p_course jsonb)
returns table (place integer, key text, title text, description text)
language sql
immutable
set search_path = ''
as $$
  select (m.place - 1)::integer, m.doc ->> 'key', m.doc ->> 'title', coalesce(m.doc ->> 'description', '')
  from jsonb_array_elements(coalesce(nullif(p_course -> 'modules', 'null'), '[]')) with ordinality as m (doc, place)
$$;

create function private.document_lessons(p_course jsonb)
returns table (
  module_key text, place integer, key text, title text, description text, type text, duration integer,
  requires_completion boolean, is_published boolean, is_preview boolean, objectives text[], completion_rule text,
  required_watched_percentage numeric, release_after_days integer, release_on date, prerequisites text[], skills jsonb, blocks jsonb
)
language sql
stable
set search_path = ''
as $$
  select
    m.doc ->> 'key', (l.place - 1)::integer, l.doc ->> 'key', l.doc ->> 'title', coalesce(l.doc ->> 'description', ''),
    coalesce(l.doc ->> 'type', 'text'), (l.doc ->> 'duration')::integer,
    coalesce((l.doc ->> 'requires_completion')::boolean, true), coalesce((l.doc ->> 'is_published')::boolean, true),
    coalesce((l.doc ->> 'is_preview')::boolean, false),
    array(select jsonb_array_elements_text(coalesce(nullif(l.doc -> 'objectives', 'null'), '[]'))),
    coalesce(l.doc ->> 'completion_rule', 'manual'), coalesce((l.doc ->> 'required_watched_percentage')::numeric, 90),
    (l.doc ->> 'release_after_days')::integer, (l.doc ->> 'release_on')::date,
    array(select jsonb_array_elements_text(coalesce(nullif(l.doc -> 'prerequisites', 'null'), '[]'))),
    coalesce(nullif(l.doc -> 'skills', 'null'), '[]'), coalesce(nullif(l.doc -> 'blocks', 'null'), '[]')
  from jsonb_array_elements(coalesce(nullif(p_course -> 'modules', 'null'), '[]')) as m (doc)
  cross join jsonb_array_elements(coalesce(nullif(m.doc -> 'lessons', 'null'), '[]')) with ordinality as l (doc, place)
$$;

-- =====================================================================================================
-- Import
-- =====================================================================================================

-- Which block of the course a block of the document is. Blocks have no keys: one is the same as long as its type and content
-- are; of those that changed, the first of a type was the first of that type before. So a block that is only moved, or has one
-- added before it, keeps its id, and what learners did in it.
create type private.block_match as (lesson_id uuid, place integer, block_id uuid, doc jsonb);

create function private.match_blocks(p_course_id uuid, p_course jsonb)
returns setof private.block_match
language sql
stable
set search_path = ''
as $$
  with wanted as (
    select
      l.id as lesson_id, b.place, b.doc, b.doc ->> 'type' as type,
      row_number() over (partition by l.id, b.doc ->> 'type', b.doc -> 'content' order by b.place) as nth
    from private.document_lessons(p_course) d
    join lms.lessons l on l.course_id = p_course_id and l.key = d.key
    cross join jsonb_array_elements(d.blocks) with ordinality as b (doc, place)
  ), existing as (
    -- Those of a lesson that comes back come back with it.
    select
      b.id, b.lesson_id, b.type, b.content, b.order_index,
      row_number() over (partition by b.lesson_id, b.type, b.content order by b.order_index, b.id) as nth
    from lms.lesson_blocks b
    join lms.lessons l on l.id = b.lesson_id
    where b.course_id = p_course_id and (b.deleted_at is null or b.deleted_at = l.deleted_at)
  ), same as (
    select w.lesson_id, w.place, e.id
    from wanted w
    join existing e on e.lesson_id = w.lesson_id and e.type = w.type and e.content = w.doc -> 'content' and e.nth = w.nth
  ), changed as (
    select w.lesson_id, w.place, e.id
    from (
      select w.*, row_number() over (partition by w.lesson_id, w.type order by w.place) as rest
      from wanted w
      where not exists (select from same s where s.lesson_id = w.lesson_id and s.place = w.place)
    ) w
    join (
      select e.*, row_number() over (partition by e.lesson_id, e.type order by e.order_index, e.id) as rest
      from existing e
      where not exists (select from same s where s.id = e.id)
    ) e on e.lesson_id = w.lesson_id and e.type = w.type and e.rest = w.rest
  )
  select w.lesson_id, (w.place - 1)::integer, coalesce(s.id, c.id), w.doc
  from wanted w
  left join same s on s.lesson_id = w.lesson_id and s.place = w.place
  left join changed c on c.lesson_id = w.lesson_id and c.place = w.place
$$;

create function private.import_modules(p_course_id uuid, p_course jsonb, p_at timestamptz)
returns jsonb
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_removed integer;
  v_updated integer;
  v_created integer;
begin
  update lms.modules m
  set deleted_at = p_at
  where m.course_id = p_course_id and m.deleted_at is null
    and not exists (select from private.document_modules(p_course) d where d.key = m.key);
  get diagnostics v_removed = row_count;

  update lms.modules m
  set title = d.title, description = d.description, order_index = d.place, deleted_at = null
  from private.document_modules(p_course) d
  where m.course_id = p_course_id and m.key = d.key
    and (m.title::text, m.description, m.order_index, m.deleted_at)
      is distinct from (d.title, d.description, d.place, null::timestamptz);
  get diagnostics v_updated = row_count;

  insert into lms.modules (course_id, key, title, description, order_index)
  select p_course_id, d.key, d.title, d.description, d.place
  from private.document_modules(p_course) d
  where not exists (select from lms.modules m where m.course_id = p_course_id and m.key = d.key)
  order by d.place;
  get diagnostics v_created = row_count;

  return jsonb_build_object('created', v_created, 'updated', v_updated, 'removed', v_removed);
end
$$;

create function private.import_lessons(p_course_id uuid, p_course jsonb, p_at timestamptz)
returns jsonb
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_removed integer;
  v_updated integer;
  v_created integer;
begin
  update lms.lessons l
  set deleted_at = p_at
  where l.course_id = p_course_id and l.deleted_at is null
    and not exists (select from private.document_lessons(p_course) d where d.key = l.key);
  get diagnostics v_removed = row_count;

  -- One statement, moves between modules included: places are compared when it ends.
  update lms.lessons l
  set module_id = m.id, title = d.title, description = d.description, type = d.type, duration = d.duration,
      order_index = d.place, requires_completion = d.requires_completion, is_published = d.is_published,
      is_preview = d.is_preview, objectives = d.objectives, completion_rule = d.completion_rule,
      required_watched_percentage = d.required_watched_percentage, release_after_days = d.release_after_days,
      release_on = d.release_on, deleted_at = null
  from private.document_lessons(p_course) d
  join lms.modules m on m.course_id = p_course_id and m.key = d.module_key
  where l.course_id = p_course_id and l.key = d.key
    and (
      l.module_id, l.title::text, l.description, l.type, l.duration, l.order_index, l.requires_completion, l.is_published,
      l.is_preview, l.objectives, l.completion_rule, l.required_watched_percentage::numeric, l.release_after_days,
      l.release_on, l.deleted_at
    ) is distinct from (
      m.id, d.title, d.description, d.type, d.duration, d.place, d.requires_completion, d.is_published,
      d.is_preview, d.objectives, d.completion_rule, d.required_watched_percentage, d.release_after_days,
      d.release_on, null::timestamptz
    );
  get diagnostics v_updated = row_count;

  insert into lms.lessons (
    module_id, key, title, description, type, duration, order_index, requires_completion, is_published, is_preview,
    objectives, completion_rule, required_watched_percentage, release_after_days, release_on
  )
  select
    m.id, d.key, d.title, d.description, d.type, d.duration, d.place, d.requires_completion, d.is_published, d.is_preview,
    d.objectives, d.completion_rule, d.required_watched_percentage, d.release_after_days, d.release_on
  from private.document_lessons(p_course) d
  join lms.modules m on m.course_id = p_course_id and m.key = d.module_key
  where not exists (select from lms.lessons l where l.course_id = p_course_id and l.key = d.key);
  get diagnostics v_created = row_count;

  return jsonb_build_object('created', v_created, 'updated', v_updated, 'removed', v_removed);
end
$$;

create function private.import_blocks(p_course_id uuid, p_matches private.block_match[], p_at timestamptz)
returns jsonb
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_removed integer;
  v_updated integer;
  v_created integer;
begin
  update lms.lesson_blocks b
  set deleted_at = p_at
  where b.course_id = p_course_id and b.deleted_at is null
    and not exists (select from unnest(p_matches) w where w.block_id = b.id);
  get diagnostics v_removed = row_count;

  update lms.lesson_blocks b
  set title = w.doc ->> 'title', content = w.doc -> 'content', metadata = coalesce(nullif(w.doc -> 'metadata', 'null'), '{}'),
      is_optional = coalesce((w.doc ->> 'is_optional')::boolean, false), order_index = w.place, deleted_at = null
  from unnest(p_matches) w
  where b.id = w.block_id
    and (b.title::text, b.content, b.metadata, b.is_optional, b.order_index, b.deleted_at) is distinct from (
      w.doc ->> 'title', w.doc -> 'content', coalesce(nullif(w.doc -> 'metadata', 'null'), '{}'),
      coalesce((w.doc ->> 'is_optional')::boolean, false), w.place, null::timestamptz
    );
  get diagnostics v_updated = row_count;

  insert into lms.lesson_blocks (lesson_id, type, title, content, metadata, is_optional, order_index)
  select
    w.lesson_id, w.doc ->> 'type', w.doc ->> 'title', w.doc -> 'content', coalesce(nullif(w.doc -> 'metadata', 'null'), '{}'),
    coalesce((w.doc ->> 'is_optional')::boolean, false), w.place
  from unnest(p_matches) w
  where w.block_id is null;
  get diagnostics v_created = row_count;

  return jsonb_build_object('created', v_created, 'updated', v_updated, 'removed', v_removed);
end
$$;

create function private.import_prerequisites(p_course_id uuid, p_course jsonb)
returns jsonb
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_removed integer;
  v_created integer;
begin
  delete from lms.lesson_prerequisites p
  using lms.lessons l, lms.lessons n, private.document_lessons(p_course) d
  where p.course_id = p_course_id and l.id = p.lesson_id and n.id = p.prerequisite_lesson_id and d.key = l.key
    and n.key <> all (d.prerequisites);
  get diagnostics v_removed = row_count;

  insert into lms.lesson_prerequisites (lesson_id, prerequisite_lesson_id)
  select l.id, n.id
  from private.document_lessons(p_course) d
  join lms.lessons l on l.course_id = p_course_id and l.key = d.key
  join lms.lessons n on n.course_id = p_course_id and n.key = any (d.prerequisites)
  where not exists (
    select from lms.lesson_prerequisites p where p.lesson_id = l.id and p.prerequisite_lesson_id = n.id
  );
  get diagnostics v_created = row_count;

  return jsonb_build_object('created', v_created, 'removed', v_removed);
end
$$;

-- Skills are the tenant's: those that are missing are added, others are left as they are.
create function private.import_skills(p_course lms.courses, p_document jsonb)
returns jsonb
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_added integer;
  v_removed integer;
  v_updated integer;
  v_created integer;
begin
  insert into lms.skills (tenant_id, key, name, description)
  select p_course.tenant_id, s.doc ->> 'key', s.doc ->> 'name', coalesce(s.doc ->> 'description', '')
  from jsonb_array_elements(coalesce(nullif(p_document -> 'skills', 'null'), '[]')) as s (doc)
  where not exists (select from lms.skills k where k.tenant_id = p_course.tenant_id and k.key = s.doc ->> 'key')
  order by s.doc ->> 'key'
  on conflict (tenant_id, key) do nothing;
  get diagnostics v_added = row_count;

  delete from lms.lesson_skills k
  using lms.lessons l, lms.skills s, private.document_lessons(p_document) d
  where k.course_id = p_course.id and l.id = k.lesson_id and s.id = k.skill_id and d.key = l.key
    and not exists (select from jsonb_array_elements(d.skills) as w (doc) where w.doc ->> 'key' = s.key);
  get diagnostics v_removed = row_count;

  update lms.lesson_skills k
  set part = coalesce(w.doc ->> 'part', 'teaches'), mastery_threshold = (w.doc ->> 'mastery_threshold')::numeric
  from private.document_lessons(p_document) d
  join lms.lessons l on l.course_id = p_course.id and l.key = d.key
  cross join jsonb_array_elements(d.skills) as w (doc)
  join lms.skills s on s.tenant_id = p_course.tenant_id and s.key = w.doc ->> 'key'
  where k.lesson_id = l.id and k.skill_id = s.id
    and (k.part, k.mastery_threshold)
      is distinct from (coalesce(w.doc ->> 'part', 'teaches'), (w.doc ->> 'mastery_threshold')::numeric);
  get diagnostics v_updated = row_count;

  insert into lms.lesson_skills (lesson_id, skill_id, part, mastery_threshold)
  select l.id, s.id, coalesce(w.doc ->> 'part', 'teaches'), (w.doc ->> 'mastery_threshold')::numeric
  from private.document_lessons(p_document) d
  join lms.lessons l on l.course_id = p_course.id and l.key = d.key
  cross join jsonb_array_elements(d.skills) as w (doc)
  join lms.skills s on s.tenant_id = p_course.tenant_id and s.key = w.doc ->> 'key'
  where not exists (select from lms.lesson_skills k where k.lesson_id = l.id and k.skill_id = s.id);
  get diagnostics v_created = row_count;

  return jsonb_build_object('added', v_added, 'created', v_created, 'updated', v_updated, 'removed', v_removed);
end
$$;

-- Words for the catalogue are chosen by those who write it: who may not add a tag does without it, and is told.
create function private.import_tags(p_course lms.courses, p_document jsonb)
returns jsonb
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_tags constant text[] := array(select jsonb_array_elements_text(p_document -> 'tags'));
  v_removed integer;
  v_created integer;
begin
  if not private.is_api_call() or p_course.tenant_id = any (array(select private.tenants_where('catalog.write'))) then
    insert into lms.tags (tenant_id, slug, name)
    select p_course.tenant_id, t.slug, t.slug
    from (select distinct unnest(v_tags) as slug) t
    where not exists (select from lms.tags k where k.tenant_id = p_course.tenant_id and k.slug = t.slug)
    on conflict (tenant_id, slug) do nothing;
  end if;

  delete from lms.course_tags m
  using lms.tags t
  where m.course_id = p_course.id and t.id = m.tag_id and t.slug <> all (v_tags);
  get diagnostics v_removed = row_count;

  insert into lms.course_tags (course_id, tag_id)
  select p_course.id, t.id
  from lms.tags t
  where t.tenant_id = p_course.tenant_id and t.slug = any (v_tags)
    and not exists (select from lms.course_tags m where m.course_id = p_course.id and m.tag_id = t.id);
  get diagnostics v_created = row_count;

  return jsonb_build_object('created', v_created, 'removed', v_removed);
end
$$;

-- What was taken otherwise than the document says.
create function private.find_import_remarks(p_course lms.courses, p_document jsonb)
returns jsonb
language sql
stable
set search_path = ''
as $$
  select coalesce(jsonb_agg(jsonb_build_object('code', r.code, 'message', r.message, 'key', r.key) order by r.code, r.key), '[]')
  from (
    select 'skill_differs' as code, s.key, 'The skill has another name or description in the tenant; it is left as it is.' as message
    from jsonb_array_elements(coalesce(nullif(p_document -> 'skills', 'null'), '[]')) as w (doc)
    join lms.skills s on s.tenant_id = p_course.tenant_id and s.key = w.doc ->> 'key'
    where (s.name::text, s.description) is distinct from (w.doc ->> 'name', coalesce(w.doc ->> 'description', ''))
    union all
    select 'tag_left_out', t.slug, 'There is no such tag, and adding one takes catalog.write.'
    from jsonb_array_elements_text(coalesce(nullif(p_document -> 'tags', 'null'), '[]')) as t (slug)
    where not exists (select from lms.tags k where k.tenant_id = p_course.tenant_id and k.slug = t.slug)
  ) r
$$;

-- The row of the course: found by its slug and locked, or made.
create type private.imported_course as (course lms.courses, action text);

create function private.import_course_row(p_tenant_id uuid, p_document jsonb)
returns private.imported_course
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_course lms.courses;
  v_action text := 'unchanged';
  v_new lms.courses;
begin
  select * into v_course from lms.courses c where c.tenant_id = p_tenant_id and c.slug = p_document ->> 'slug' for no key update;
  if found then
    if private.is_api_call() and not (
      v_course.id = any (array(select private.staffed_courses()))
      or p_tenant_id = any (array(select private.tenants_where('catalog.write')))
    ) then
      -- As for whoever would create one: the slug is gone, whatever has it.
      perform private.fail(
        'course_slug_is_taken', 'Another course has this slug.', 409, jsonb_build_object('slug', p_document ->> 'slug')
      );
    elsif v_course.deleted_at is not null then
      perform private.fail(
        'course_deleted', 'The course is deleted.', 409, jsonb_build_object('course_id', v_course.id), 'Restore it first: restore_course.'
      );
    end if;
  elsif (select auth.uid()) is null then
    perform private.fail('instructor_missing', 'A new course is imported by somebody, who becomes its instructor.', 400);
  end if;

  -- A course that is made by this very statement starts from the defaults, one that exists keeps what the document is
  -- silent about only where docs/course-format.md says so.
  v_new := v_course;
  v_new.slug := p_document ->> 'slug';
  v_new.title := p_document ->> 'title';
  v_new.description := coalesce(p_document ->> 'description', '');
  v_new.language := coalesce(p_document ->> 'language', 'en');
  v_new.difficulty := coalesce(p_document ->> 'difficulty', 'beginner');
  v_new.visibility := coalesce(p_document ->> 'visibility', v_course.visibility, 'restricted');
  v_new.estimated_minutes := (p_document ->> 'estimated_minutes')::integer;
  v_new.required_score := coalesce((p_document ->> 'required_score')::numeric, 0);
  v_new.is_sequential := coalesce((p_document ->> 'is_sequential')::boolean, false);
  v_new.allow_retake := coalesce((p_document ->> 'allow_retake')::boolean, true);
  v_new.max_attempts := (p_document ->> 'max_attempts')::integer;
  v_new.thumbnail_url := p_document ->> 'thumbnail_url';
  v_new.meta_description := p_document ->> 'meta_description';
  v_new.meta_keywords := p_document ->> 'meta_keywords';
  v_new.version_label := p_document ->> 'version_label';
  v_new.metadata := coalesce(nullif(p_document -> 'metadata', 'null'), '{}');

  if v_course.id is null then
    v_action := 'created';
    begin
      insert into lms.courses (
        tenant_id, slug, title, description, language, difficulty, visibility, estimated_minutes, required_score,
        is_sequential, allow_retake, max_attempts, thumbnail_url, meta_description, meta_keywords, version_label, metadata,
        instructor_id
      )
      values (
        p_tenant_id, v_new.slug, v_new.title, v_new.description, v_new.language, v_new.difficulty, v_new.visibility,
        v_new.estimated_minutes, v_new.required_score, v_new.is_sequential, v_new.allow_retake, v_new.max_attempts,
        v_new.thumbnail_url, v_new.meta_description, v_new.meta_keywords, v_new.version_label, v_new.metadata,
        (select auth.uid())
      )
      returning * into v_course;
    exception
      -- Somebody else was importing it at this moment.
      when unique_violation then
        perform private.fail(
          'course_slug_is_taken', 'Another course has this slug.', 409, jsonb_build_object('slug', p_document ->> 'slug'),
          'Import it again.'
        );
    end;
  elsif v_new is distinct from v_course then
    v_action := 'updated';
    update lms.courses c
    set title = v_new.title, description = v_new.description, language = v_new.language, difficulty = v_new.difficulty,
        visibility = v_new.visibility, estimated_minutes = v_new.estimated_minutes, required_score = v_new.required_score,
        is_sequential = v_new.is_sequential, allow_retake = v_new.allow_retake, max_attempts = v_new.max_attempts,
        thumbnail_url = v_new.thumbnail_url, meta_description = v_new.meta_description,
        meta_keywords = v_new.meta_keywords, version_label = v_new.version_label, metadata = v_new.metadata
    where c.id = v_course.id
    returning * into v_course;
  end if;
  return row(v_course, v_action)::private.imported_course;
end
$$;

-- A document that says nothing of training records leaves them as they are: an old document must not end what the law asks for.
create function private.import_record_settings(p_course lms.courses, p_settings jsonb)
returns void
language plpgsql
volatile
set search_path = ''
as $$
begin
  if coalesce(p_settings, 'null') = 'null' then
    return;
  end if;
  insert into lms.training_record_settings as s (course_id, keeps_training_record, materials, trainer_name, trainer_address)
  values (
    p_course.id, coalesce((p_settings ->> 'keeps_training_record')::boolean, true), p_settings ->> 'materials',
    p_settings ->> 'trainer_name', p_settings ->> 'trainer_address'
  )
  on conflict (course_id) do update
  set keeps_training_record = excluded.keeps_training_record, materials = excluded.materials,
      trainer_name = excluded.trainer_name, trainer_address = excluded.trainer_address
  where (s.keeps_training_record, s.materials, s.trainer_name, s.trainer_address)
    is distinct from (excluded.keeps_training_record, excluded.materials, excluded.trainer_name, excluded.trainer_address);
end
$$;

-- Definer, because nobody writes deletion by hand and lessons that were deleted are seen by nobody; so it checks its caller.
create function private.apply_course_document(p_tenant_id uuid, p_document jsonb)
returns jsonb
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  -- Not now(): two imports of one transaction are two.
  v_at constant timestamptz := clock_timestamp();
  v_unknown text[];
  v_row record;
  v_course lms.courses;
  v_matches private.block_match[];
  v_modules jsonb;
  v_lessons jsonb;
  v_blocks jsonb;
  v_prerequisites jsonb;
  v_skills jsonb;
  v_tags jsonb;
begin
  if private.is_api_call() and not coalesce(
    p_tenant_id = any (array(select private.tenants_partly_where('catalog.author')))
      or p_tenant_id = any (array(select private.tenants_where('catalog.write'))),
    false
  ) then
    -- The same for a tenant that the caller does not belong to and for none.
    raise insufficient_privilege using message = 'Importing a course takes catalog.author.';
  elsif not exists (select from lms.tenants t where t.id = p_tenant_id) then
    perform private.fail('tenant_not_found', 'There is no such tenant.', 404);
  end if;

  v_unknown := array(
    select distinct w.doc ->> 'key'
    from private.document_parts(p_document) w
    where w.level = 'lesson_skill'
      and not exists (select from private.document_parts(p_document) s where s.level = 'skill' and s.doc ->> 'key' = w.doc ->> 'key')
      and not exists (select from lms.skills s where s.tenant_id = p_tenant_id and s.key = w.doc ->> 'key')
  );
  if cardinality(v_unknown) > 0 then
    perform private.fail('skill_unknown', 'The document names skills that it does not describe.', 422, to_jsonb(v_unknown));
  end if;

  select * into v_row from private.import_course_row(p_tenant_id, p_document);
  v_course := v_row.course;
  -- Before the lessons, which come back: then it is no longer seen with which blocks they went.
  v_matches := array(select m from private.match_blocks(v_course.id, p_document) m where m.block_id is not null);
  v_modules := private.import_modules(v_course.id, p_document, v_at);
  v_lessons := private.import_lessons(v_course.id, p_document, v_at);
  v_matches := array(
    select row(w.lesson_id, w.place, coalesce(b.block_id, w.block_id), w.doc)::private.block_match
    from private.match_blocks(v_course.id, p_document) w
    left join unnest(v_matches) b on b.lesson_id = w.lesson_id and b.place = w.place
  );
  v_blocks := private.import_blocks(v_course.id, v_matches, v_at);
  v_prerequisites := private.import_prerequisites(v_course.id, p_document);
  v_skills := private.import_skills(v_course, p_document);
  v_tags := case
    when coalesce(p_document -> 'tags', 'null') = 'null' then '{"created": 0, "removed": 0}'
    else private.import_tags(v_course, p_document)
  end;
  perform private.import_record_settings(v_course, p_document -> 'training_record');

  return jsonb_build_object(
    'course_id', v_course.id, 'slug', v_course.slug, 'course', v_row.action, 'modules', v_modules, 'lessons', v_lessons,
    'blocks', v_blocks, 'prerequisites', v_prerequisites, 'skills', v_skills, 'tags', v_tags,
    'remarks', private.find_import_remarks(v_course, p_document)
  );
end
$$;

create function lms.import_course(p_tenant_id uuid, p_course jsonb, p_dry_run boolean default false)
returns jsonb
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_faults jsonb;
  v_answer jsonb;
begin
  select jsonb_agg(to_jsonb(f) order by f.path, f.code) into v_faults
  from (select * from private.find_document_faults(p_course) limit 1000) f;
  if v_faults is not null then
    perform private.fail('course_not_importable', 'The document is not a course.', 422, v_faults);
  end if;
  begin
    v_answer := private.apply_course_document(p_tenant_id, p_course);
    if p_dry_run then
      raise sqlstate 'LYDRY';
    end if;
  exception
    when sqlstate 'LYDRY' then
      v_answer := v_answer || '{"course_id": null}';
  end;
  return v_answer || jsonb_build_object('dry_run', coalesce(p_dry_run, false));
end
$$;

comment on function lms.import_course is
  'Makes the draft of a course what the document says (docs/course-format.md), all of it or nothing: {course_id, slug, course, '
  'modules, lessons, blocks, prerequisites, skills, tags, remarks, dry_run}; course is created, updated or unchanged, the '
  'parts count what was created, updated and removed. A course is found by its slug, modules and lessons by their keys; what '
  'is missing in the document is deleted, restorably. The same document again writes nothing. Takes catalog.author, for a '
  'course that exists being staff of it or catalog.write. 422 course_not_importable [{path, code, message}]; 422 skill_unknown; '
  '409 prerequisite_circle, course_slug_is_taken, course_deleted; 23514 when a value is out of its range.';

-- =====================================================================================================
-- Export
-- =====================================================================================================

create function lms.export_course(p_course_id uuid)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  v_course lms.courses;
  v_document jsonb;
begin
  select * into v_course
  from lms.courses c
  where c.id = p_course_id and c.deleted_at is null and (
    not private.is_api_call()
    or c.id = any (array(select private.staffed_courses()))
    or c.tenant_id = any (array(select private.tenants_where('catalog.write')))
  );
  if not found then
    perform private.fail('course_not_found', 'There is no such course.', 404);
  end if;

  -- What is not said has its default; lists are in the order of their places, or of keys.
  with blocks as (
    select
      b.lesson_id,
      jsonb_agg(
        jsonb_strip_nulls(jsonb_build_object(
          'type', b.type, 'title', b.title, 'is_optional', nullif(b.is_optional, false)
        ))
        -- Apart: nulls of the content are its own.
        || jsonb_build_object('content', b.content)
        || case when b.metadata = '{}' then '{}' else jsonb_build_object('metadata', b.metadata) end
        order by b.order_index
      ) as docs
    from lms.lesson_blocks b
    where b.course_id = p_course_id and b.deleted_at is null
    group by b.lesson_id
  ), skills as (
    select
      k.lesson_id,
      jsonb_agg(
        jsonb_strip_nulls(jsonb_build_object(
          'key', s.key, 'part', nullif(k.part, 'teaches'), 'mastery_threshold', k.mastery_threshold
        ))
        order by s.key collate "C"
      ) as docs
    from lms.lesson_skills k
    join lms.skills s on s.id = k.skill_id
    where k.course_id = p_course_id
    group by k.lesson_id
  ), prerequisites as (
    select p.lesson_id, jsonb_agg(n.key order by n.key collate "C") as keys
    from lms.lesson_prerequisites p
    join lms.lessons n on n.id = p.prerequisite_lesson_id and n.deleted_at is null
    join lms.modules m on m.id = n.module_id and m.deleted_at is null
    where p.course_id = p_course_id
    group by p.lesson_id
  ), lessons as (
    select
      l.module_id,
      jsonb_agg(
        jsonb_strip_nulls(jsonb_build_object(
          'key', l.key, 'title', l.title, 'description', nullif(l.description, ''), 'type', nullif(l.type, 'text'),
          'duration', l.duration, 'requires_completion', nullif(l.requires_completion, true),
          'is_published', nullif(l.is_published, true), 'is_preview', nullif(l.is_preview, false),
          'objectives', case when l.objectives <> '{}' then to_jsonb(l.objectives) end,
          'completion_rule', nullif(l.completion_rule, 'manual'),
          'required_watched_percentage', nullif(l.required_watched_percentage, 90),
          'release_after_days', l.release_after_days, 'release_on', l.release_on, 'prerequisites', p.keys, 'skills', k.docs
        ))
        || case when b.docs is null then '{}' else jsonb_build_object('blocks', b.docs) end
        order by l.order_index
      ) as docs
    from lms.lessons l
    left join prerequisites p on p.lesson_id = l.id
    left join skills k on k.lesson_id = l.id
    left join blocks b on b.lesson_id = l.id
    where l.course_id = p_course_id and l.deleted_at is null
    group by l.module_id
  )
  select
    jsonb_strip_nulls(jsonb_build_object(
      'format', 'lyceum-course-1', 'slug', v_course.slug, 'title', v_course.title,
      'description', nullif(v_course.description, ''), 'language', v_course.language, 'difficulty', v_course.difficulty,
      'visibility', v_course.visibility, 'estimated_minutes', v_course.estimated_minutes,
      'required_score', nullif(v_course.required_score, 0), 'is_sequential', nullif(v_course.is_sequential, false),
      'allow_retake', nullif(v_course.allow_retake, true), 'max_attempts', v_course.max_attempts,
      'thumbnail_url', v_course.thumbnail_url, 'meta_description', v_course.meta_description,
      'meta_keywords', v_course.meta_keywords, 'version_label', v_course.version_label
    ))
    || case when v_course.metadata = '{}' then '{}' else jsonb_build_object('metadata', v_course.metadata) end
    || coalesce((
      select jsonb_build_object('training_record', jsonb_strip_nulls(jsonb_build_object(
        'keeps_training_record', s.keeps_training_record, 'materials', s.materials, 'trainer_name', s.trainer_name,
        'trainer_address', s.trainer_address
      )))
      from lms.training_record_settings s
      where s.course_id = p_course_id
    ), '{}')
    || jsonb_build_object(
      'tags', coalesce((
        select jsonb_agg(t.slug order by t.slug collate "C")
        from lms.course_tags m
        join lms.tags t on t.id = m.tag_id
        where m.course_id = p_course_id
      ), '[]'),
      'skills', coalesce((
        select jsonb_agg(
          jsonb_strip_nulls(jsonb_build_object('key', s.key, 'name', s.name, 'description', nullif(s.description, '')))
          order by s.key collate "C"
        )
        from lms.skills s
        where s.id in (
          select k.skill_id
          from lms.lesson_skills k
          join lms.lessons l on l.id = k.lesson_id and l.deleted_at is null
          join lms.modules m on m.id = l.module_id and m.deleted_at is null
          where k.course_id = p_course_id
        )
      ), '[]'),
      'modules', coalesce((
        select jsonb_agg(
          jsonb_strip_nulls(jsonb_build_object('key', m.key, 'title', m.title, 'description', nullif(m.description, '')))
          || jsonb_build_object('lessons', coalesce(l.docs, '[]'))
          order by m.order_index
        )
        from lms.modules m
        left join lessons l on l.module_id = m.id
        where m.course_id = p_course_id and m.deleted_at is null
      ), '[]')
    )
  into v_document;
  return v_document;
end
$$;

comment on function lms.export_course is
  'The draft of a course as import_course takes it, keys instead of ids; without people, status, price, capacity and '
  'enrolment rules, which are not the course''s content. For its staff, or with catalog.write; 404 course_not_found.';

grant execute on function
  private.document_parts, private.document_fields, private.is_document_value, private.is_day, private.find_document_faults,
  private.apply_course_document
to authenticated, service_role;
grant execute on function lms.import_course, lms.export_course to authenticated, service_role;

notify pgrst, 'reload schema';
