-- Search: what can be found of the published catalogue, for each caller exactly what they may see.
-- Undo: select cron.unschedule('lyceum:repair-search'); drop functions lms.search, get_search_facets, suggest_searches; drop
-- types lms.search_page, search_result, search_facets, search_facet; drop triggers _700_search on lms.courses, lessons,
-- tags, course_tags; drop tables private.search_documents, indexed_courses; then types and functions below; take the call of
-- private.index_course out of private.freeze_course; drop extension pg_trgm.

set lock_timeout = '5s';
set statement_timeout = '60s';

create extension if not exists pg_trgm with schema extensions;

-- =====================================================================================================
-- Words
-- =====================================================================================================

-- Constants, chosen by CASE: a cast of the language itself would not be immutable, and fail for languages that PostgreSQL
-- does not know.
create function private.search_config(p_language text)
returns regconfig
language sql
immutable
set search_path = ''
as $$
  select case split_part(p_language, '-', 1)
    when 'ar' then 'pg_catalog.arabic'::regconfig
    when 'ca' then 'pg_catalog.catalan'::regconfig
    when 'da' then 'pg_catalog.danish'::regconfig
    when 'de' then 'pg_catalog.german'::regconfig
    when 'el' then 'pg_catalog.greek'::regconfig
    when 'en' then 'pg_catalog.english'::regconfig
    when 'es' then 'pg_catalog.spanish'::regconfig
    when 'eu' then 'pg_catalog.basque'::regconfig
    when 'fi' then 'pg_catalog.finnish'::regconfig
    when 'fr' then 'pg_catalog.french'::regconfig
    when 'ga' then 'pg_catalog.irish'::regconfig
    when 'hi' then 'pg_catalog.hindi'::regconfig
    when 'hu' then 'pg_catalog.hungarian'::regconfig
    when 'hy' then 'pg_catalog.armenian'::regconfig
    when 'id' then 'pg_catalog.indonesian'::regconfig
    when 'it' then 'pg_catalog.italian'::regconfig
    when 'lt' then 'pg_catalog.lithuanian'::regconfig
    when 'nb' then 'pg_catalog.norwegian'::regconfig
    when 'ne' then 'pg_catalog.nepali'::regconfig
    when 'nl' then 'pg_catalog.dutch'::regconfig
    when 'nn' then 'pg_catalog.norwegian'::regconfig
    when 'no' then 'pg_catalog.norwegian'::regconfig
    when 'pt' then 'pg_catalog.portuguese'::regconfig
    when 'ro' then 'pg_catalog.romanian'::regconfig
    when 'ru' then 'pg_catalog.russian'::regconfig
    when 'sr' then 'pg_catalog.serbian'::regconfig
    when 'sv' then 'pg_catalog.swedish'::regconfig
    when 'ta' then 'pg_catalog.tamil'::regconfig
    when 'tr' then 'pg_catalog.turkish'::regconfig
    when 'yi' then 'pg_catalog.yiddish'::regconfig
    else 'pg_catalog.simple'::regconfig
  end
$$;

comment on function private.search_config is 'How words of a language are reduced to their stems; unknown languages: as written.';

-- Title, tags, description, body: weights A to D. One more lexeme names the configuration, with a space in front, which
-- no parser of words yields: a query asks for the stems of a language together with it. A lesson of any length can be
-- published, so a text of more words than an index entry holds is cut instead of refused.
create function private.search_words(p_config regconfig, p_title text, p_tags text, p_description text, p_body text)
returns tsvector
language plpgsql
immutable
set search_path = ''
set client_min_messages = warning
as $$
declare
  v_length integer := 200000;
begin
  while v_length > 0 loop
    begin
      return setweight(to_tsvector(p_config, left(p_title, v_length)), 'A')
        || setweight(to_tsvector(p_config, left(p_tags, v_length)), 'B')
        || setweight(to_tsvector(p_config, left(p_description, v_length)), 'C')
        || setweight(to_tsvector(p_config, left(p_body, v_length)), 'D')
        || array_to_tsvector(array[' ' || p_config]);
    exception
      when program_limit_exceeded then
        v_length := v_length / 2;
    end;
  end loop;
  return ''::tsvector;
end
$$;

-- Tags hold no angle brackets inside (private.is_safe_html), so this leaves what a reader sees.
create function private.plain_text(html text)
returns text
language sql
immutable
set search_path = ''
as $$
  select replace(replace(replace(replace(replace(replace(
    regexp_replace(html, '<[^>]*>', ' ', 'g'),
    '&nbsp;', ' '), '&lt;', '<'), '&gt;', '>'), '&quot;', '"'), '&#39;', ''''), '&amp;', '&')
$$;

create function private.block_text(type text, title text, content jsonb)
returns text
language sql
immutable
set search_path = ''
as $$
  select concat_ws(
    E'\n', title,
    case type
      when 'rich_text' then private.plain_text(content ->> 'html')
      when 'markdown' then content ->> 'markdown'
      when 'image' then concat_ws(E'\n', content ->> 'alt_text', content ->> 'caption')
      when 'file' then content ->> 'filename'
      else concat_ws(
        E'\n', content ->> 'title', content ->> 'description', content ->> 'instructions', content ->> 'transcript'
      )
    end
  )
$$;

comment on function private.block_text is 'What a block says in words.';

create function private.published_text(p_version_id uuid, p_lesson_id uuid)
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select coalesce(string_agg(private.block_text(r.type, r.title, r.content), E'\n' order by b.order_index), '')
    from lms.version_blocks b
    join lms.block_revisions r on r.id = b.revision_id
    where b.version_id = p_version_id and b.lesson_id = p_lesson_id
  );
end
$$;

-- Marks what was searched for. Safe as HTML, whatever the text holds: it is escaped, and only then the marks, until then
-- two control characters that the text has been rid of, become tags.
create function private.highlight(p_config regconfig, p_text text, p_query tsquery, p_options text)
returns text
language sql
immutable
set search_path = ''
as $$
  select replace(replace(
    replace(replace(replace(replace(replace(
      ts_headline(
        p_config, translate(left(p_text, 20000), chr(2) || chr(3), ''), p_query,
        format('StartSel=%s, StopSel=%s, %s', chr(2), chr(3), p_options)
      ),
      '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;'),
    chr(2), '<mark>'), chr(3), '</mark>')
$$;

-- =====================================================================================================
-- Documents
-- =====================================================================================================

create table private.search_documents (
  id uuid primary key,
  kind text not null constraint document_kind_is_known check (kind in ('course', 'lesson')),
  tenant_id uuid not null,
  course_id uuid not null,
  lesson_id uuid,
  version_id uuid,
  config text not null,
  language text not null,
  difficulty text not null,
  published_at timestamptz not null,
  is_preview boolean not null,
  content_key text,
  title text not null,
  access text[] not null,
  title_words tsvector not null,
  public_words tsvector not null,
  all_words tsvector,
  constraint document_is_of_the_same_tenant foreign key (tenant_id, course_id)
    references lms.courses (tenant_id, id) on delete cascade,
  constraint document_is_of_a_lesson_of_the_course foreign key (tenant_id, course_id, lesson_id)
    references lms.lessons (tenant_id, course_id, id) on delete cascade,
  constraint document_is_named_after_its_row check (id = coalesce(lesson_id, course_id)),
  constraint document_of_a_lesson_has_its_content check (
    case kind
      when 'course' then num_nulls(lesson_id, content_key, all_words) = 3
      else num_nulls(lesson_id, version_id, content_key, all_words) = 0
    end
  )
);
create index search_documents_by_config on private.search_documents (config);
create index search_documents_by_course on private.search_documents (tenant_id, course_id, lesson_id);
-- One index for all conditions: it intersects words with who may see them before any row is read. Without a list of
-- pending entries, which every search would have to walk.
create index search_documents_by_words on private.search_documents
  using gin (public_words, all_words, access, title extensions.gin_trgm_ops) with (fastupdate = off);
alter table private.search_documents enable row level security;

comment on table private.search_documents is
  'What is searched: each published course, and each lesson of its latest version that is still listed. Derived by '
  'private.index_course; ops.rebuild_search makes all of it anew.';
comment on column private.search_documents.public_words is 'Of what everybody reads who sees the row: title, tags, description.';
comment on column private.search_documents.all_words is 'Together with the content, which only those read whom it is open to.';
comment on column private.search_documents.access is
  'Who may see it, as words: p and p:tenant of a public course, r:tenant of a restricted one, t:tenant, c:course; the same '
  'after an o where the content is open as a preview. A first sieve for the index; private.visible_documents decides.';
comment on column private.search_documents.content_key is 'Of the blocks: equal keys, equal content, whatever the version.';

-- Who derives the documents of a course holds its row here, so that two changes at once (two tags, say) do not each miss
-- the other's. Not the row of the course: that one is locked before lessons and tags, and this one after them.
create table private.indexed_courses (
  course_id uuid primary key constraint indexed_course_is_a_course references lms.courses (id) on delete cascade,
  checked_at timestamptz not null
);
create index indexed_courses_by_age on private.indexed_courses (checked_at);
alter table private.indexed_courses enable row level security;

comment on table private.indexed_courses is 'When the documents of a course were last derived from the data.';

create function private.index_course(p_course_id uuid, p_lesson_id uuid default null, p_with_lessons boolean default true)
returns integer
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_course lms.courses;
  v_version lms.course_versions;
  v_config regconfig;
  v_access text[];
  v_kept uuid[];
  v_removed integer;
  v_written integer;
  v_changed integer := 0;
begin
  insert into private.indexed_courses as i (course_id, checked_at)
  values (p_course_id, clock_timestamp())
  on conflict (course_id) do update set checked_at = excluded.checked_at;

  select * into v_course from lms.courses c where c.id = p_course_id;
  if v_course.status <> 'published' or v_course.deleted_at is not null then
    delete from private.search_documents d where d.tenant_id = v_course.tenant_id and d.course_id = p_course_id;
    get diagnostics v_removed = row_count;
    return v_removed;
  end if;

  v_version := private.latest_version(p_course_id);
  v_config := private.search_config(v_course.language);
  v_access := array['t:' || v_course.tenant_id, 'c:' || p_course_id] || case v_course.visibility
    when 'public' then array['p', 'p:' || v_course.tenant_id]
    when 'restricted' then array['r:' || v_course.tenant_id]
    else '{}'
  end;

  insert into private.search_documents as d (
    id, kind, tenant_id, course_id, version_id, config, language, difficulty, published_at, is_preview, title, access,
    title_words, public_words
  )
  select
    p_course_id, 'course', v_course.tenant_id, p_course_id, v_version.id, v_config::text, v_course.language,
    v_course.difficulty, v_course.published_at, false, v_course.title, v_access,
    private.search_words(v_config, v_course.title, '', '', ''),
    private.search_words(v_config, v_course.title, tags.names, v_course.description, '')
  from (
    select coalesce(string_agg(g.name, E'\n' order by g.name, g.id), '') as names
    from lms.course_tags m
    join lms.tags g on g.id = m.tag_id
    where m.tenant_id = v_course.tenant_id and m.course_id = p_course_id
  ) tags
  where p_lesson_id is null
  on conflict (id) do update
  set version_id = excluded.version_id, config = excluded.config, language = excluded.language,
      difficulty = excluded.difficulty, published_at = excluded.published_at, title = excluded.title,
      access = excluded.access, title_words = excluded.title_words, public_words = excluded.public_words
  where (
    d.version_id, d.config, d.language, d.difficulty, d.published_at, d.title, d.access, d.title_words, d.public_words
  ) is distinct from (
    excluded.version_id, excluded.config, excluded.language, excluded.difficulty, excluded.published_at, excluded.title,
    excluded.access, excluded.title_words, excluded.public_words
  );
  get diagnostics v_written = row_count;
  v_changed := v_changed + v_written;
  if not p_with_lessons then
    return v_changed;
  end if;

  v_kept := array(
    select l.lesson_id
    from lms.version_lessons l
    join lms.lessons listed on listed.id = l.lesson_id and listed.is_published and listed.deleted_at is null
    where l.version_id = v_version.id and (p_lesson_id is null or l.lesson_id = p_lesson_id)
  );
  delete from private.search_documents d
  where d.tenant_id = v_course.tenant_id and d.course_id = p_course_id
    and d.lesson_id is not null and d.lesson_id <> all (v_kept)
    and (p_lesson_id is null or d.lesson_id = p_lesson_id);
  get diagnostics v_removed = row_count;

  insert into private.search_documents as d (
    id, kind, tenant_id, course_id, lesson_id, version_id, config, language, difficulty, published_at, is_preview,
    content_key, title, access, title_words, public_words, all_words
  )
  select
    l.lesson_id, 'lesson', l.tenant_id, l.course_id, l.lesson_id, l.version_id, v_config::text, v_course.language,
    v_course.difficulty, v_course.published_at, l.is_preview, private.content_key(l.version_id, l.lesson_id), l.title,
    v_access || case when l.is_preview then array(select 'o' || a from unnest(v_access) a) else '{}' end,
    private.search_words(v_config, l.title, '', '', ''),
    private.search_words(v_config, l.title, '', texts.shown, ''),
    private.search_words(v_config, l.title, '', texts.shown, texts.body)
  from lms.version_lessons l
  cross join lateral (
    select
      concat_ws(E'\n', l.description, array_to_string(l.objectives, E'\n')) as shown,
      private.published_text(l.version_id, l.lesson_id) as body
  ) texts
  where l.version_id = v_version.id and l.lesson_id = any (v_kept)
  on conflict (id) do update
  set version_id = excluded.version_id, config = excluded.config, language = excluded.language,
      difficulty = excluded.difficulty, published_at = excluded.published_at, is_preview = excluded.is_preview,
      content_key = excluded.content_key, title = excluded.title, access = excluded.access,
      title_words = excluded.title_words, public_words = excluded.public_words, all_words = excluded.all_words
  where (
    d.version_id, d.config, d.language, d.difficulty, d.published_at, d.is_preview, d.content_key, d.title, d.access,
    d.title_words, d.public_words, d.all_words
  ) is distinct from (
    excluded.version_id, excluded.config, excluded.language, excluded.difficulty, excluded.published_at,
    excluded.is_preview, excluded.content_key, excluded.title, excluded.access, excluded.title_words,
    excluded.public_words, excluded.all_words
  );
  get diagnostics v_written = row_count;
  return v_changed + v_removed + v_written;
end
$$;

comment on function private.index_course is
  'Derives the documents of a course from the data; returns how many differed. With p_lesson_id only that lesson''s, without '
  'p_with_lessons only the course''s own. Costs as much as the course has content.';

create function private.content_key(p_version_id uuid, p_lesson_id uuid)
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select md5(coalesce(string_agg(b.revision_id::text, ',' order by b.order_index), ''))
    from lms.version_blocks b
    where b.version_id = p_version_id and b.lesson_id = p_lesson_id
  );
end
$$;

-- =====================================================================================================
-- Kept up to date
-- =====================================================================================================
-- Publishing derives the documents at the end of private.freeze_course. What authors change in the draft is not found
-- before they publish it; what is live at once is.

create function private.index_changed_course()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.index_course(
    new.id,
    p_with_lessons => tg_op = 'INSERT' or (
      (old.status, old.visibility, old.deleted_at, old.language, old.difficulty, old.published_at)
      is distinct from (new.status, new.visibility, new.deleted_at, new.language, new.difficulty, new.published_at)
    )
  );
  return null;
end
$$;

create trigger _700_search_added after insert on lms.courses
  for each row when (new.status = 'published')
  execute function private.index_changed_course();
create trigger _700_search after update of title, description, status, visibility, deleted_at, language, difficulty, published_at
  on lms.courses
  for each row when (
    (
      old.title, old.description, old.status, old.visibility, old.deleted_at, old.language, old.difficulty, old.published_at
    ) is distinct from (
      new.title, new.description, new.status, new.visibility, new.deleted_at, new.language, new.difficulty, new.published_at
    )
  )
  execute function private.index_changed_course();

create function private.index_changed_lesson()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.index_course(new.course_id, new.id);
  return null;
end
$$;

create trigger _700_search after update of is_published, deleted_at on lms.lessons
  for each row when ((old.is_published, old.deleted_at) is distinct from (new.is_published, new.deleted_at))
  execute function private.index_changed_lesson();

-- The tag is held, so that it is not renamed meanwhile by somebody who does not yet see that the course bears it.
create function private.index_tagged_course()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if tg_op <> 'DELETE' then
    perform from lms.tags g where g.id = new.tag_id for share;
    perform private.index_course(new.course_id, p_with_lessons => false);
  end if;
  -- Gone with the course, the mark is nobody's business any more.
  if tg_op <> 'INSERT' and exists (select from lms.courses c where c.id = old.course_id) then
    perform private.index_course(old.course_id, p_with_lessons => false);
  end if;
  return null;
end
$$;

create trigger _700_search after insert or update or delete on lms.course_tags
  for each row execute function private.index_tagged_course();

create function private.index_renamed_tag()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.index_course(m.course_id, p_with_lessons => false)
  from (select t.course_id from lms.course_tags t where t.tag_id = new.id order by t.course_id) m;
  return null;
end
$$;

create trigger _700_search after update of name on lms.tags
  for each row when (old.name is distinct from new.name)
  execute function private.index_renamed_tag();

create function ops.rebuild_search()
returns integer
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  return (
    select coalesce(sum(private.index_course(c.id)), 0) from (select k.id from lms.courses k order by k.id) c
  );
end
$$;

comment on function ops.rebuild_search is
  'Derives what is searched from the data, for all courses in one transaction; returns how many documents were wrong. For '
  'after a restore or an import past triggers.';

-- INV-O4: what was not checked for longest comes first, and what never was before that.
create function ops.repair_search(p_batch integer default 500)
returns integer
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  return (
    select coalesce(sum(private.index_course(c.id)), 0)
    from (
      select k.id
      from lms.courses k
      left join private.indexed_courses i on i.course_id = k.id
      order by i.checked_at nulls first, k.id
      limit p_batch
    ) c
  );
end
$$;

comment on function ops.repair_search is
  'Derives what is searched from the data again, for the p_batch courses for which that is longest ago; returns how many '
  'documents were wrong.';
grant execute on function ops.rebuild_search, ops.repair_search to service_role;

-- =====================================================================================================
-- Who may see what
-- =====================================================================================================

create type private.search_rights as (
  is_everybody boolean,
  member_of uuid[],
  reads uuid[],
  courses uuid[],
  staffs uuid[],
  writes uuid[],
  lessons uuid[],
  access text[],
  body_access text[]
);

-- The documents hold the latest version; somebody who takes an older one reads the content of theirs. So they search the
-- content of lessons that are the same in both, and not what their version does not show them.
create function private.my_searchable_lessons()
returns setof uuid
language plpgsql
stable security definer
rows 100
set search_path = ''
as $$
begin
  return query
  select o.lesson_id
  from private.my_open_lessons() o
  join private.search_documents d on d.id = o.lesson_id
  where d.version_id = o.version_id or d.content_key = private.content_key(o.version_id, o.lesson_id);
end
$$;

create function private.search_rights_of_caller(p_tenant_id uuid)
returns private.search_rights
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_rights private.search_rights;
begin
  v_rights.is_everybody := not private.is_api_call();
  v_rights.member_of := array(select private.my_tenants());
  v_rights.reads := array(select private.tenants_partly_where('catalog.read'));
  v_rights.courses := array(select private.my_courses());
  v_rights.staffs := array(select private.staffed_courses());
  v_rights.writes := array(select private.tenants_where('catalog.write'));
  v_rights.lessons := array(select private.my_searchable_lessons());

  v_rights.access := array[case when p_tenant_id is null then 'p' else 'p:' || p_tenant_id end]
    || array(select 'r:' || t from unnest(v_rights.member_of) t where p_tenant_id is null or t = p_tenant_id)
    || array(select 't:' || t from unnest(v_rights.reads) t where p_tenant_id is null or t = p_tenant_id)
    || array(select 'c:' || c from unnest(v_rights.courses) c);
  if v_rights.is_everybody then
    v_rights.access := array(select 't:' || t.id from lms.tenants t where p_tenant_id is null or t.id = p_tenant_id);
  end if;
  v_rights.body_access := array(select 'o' || a from unnest(v_rights.access) a)
    || array(select 't:' || t from unnest(v_rights.writes) t where p_tenant_id is null or t = p_tenant_id)
    || array(select 'c:' || c from unnest(v_rights.courses) c);
  if v_rights.is_everybody then
    v_rights.body_access := v_rights.access;
  end if;
  return v_rights;
end
$$;

-- INV-O5: the rules of "Courses are seen by visibility, enrolment, staff and scope" and "Lessons are seen with their
-- course, drafts by staff and scope" once more, for documents: @@ and the operators of trigrams are not leakproof, so under
-- the policies no index would serve them, and policies that called a function shared with this one would not be planned
-- into indexes. A test compares the two for everybody, and fails when one of those policies is changed.
create function private.visible_documents(p_ids uuid[], p_rights private.search_rights)
returns setof uuid
language plpgsql
stable security definer
rows 1000
set search_path = ''
as $$
begin
  return query
  select d.id
  from private.search_documents d
  join lms.courses c on c.id = d.course_id
  left join lms.lessons l on l.id = d.lesson_id
  where d.id = any (p_ids)
    and c.deleted_at is null and c.status = 'published'
    and (
      p_rights.is_everybody
      or c.visibility = 'public'
      or (c.visibility = 'restricted' and c.tenant_id = any (p_rights.member_of))
      or c.tenant_id = any (p_rights.reads)
      or c.id = any (p_rights.courses)
    )
    and (d.lesson_id is null or (l.deleted_at is null and l.is_published and l.published_at is not null));
end
$$;

-- =====================================================================================================
-- Finding
-- =====================================================================================================

-- For each configuration its words of the query, and what of them is worth marking and ranking: without negations, and each
-- word for itself. Ranking by how near the words of an AND are to each other would let a long text win over a title.
create type private.search_words_of as (config text, wanted tsquery, ranked tsquery);

create function private.parse_search(p_query text, p_configs text[])
returns setof private.search_words_of
language sql
immutable
rows 2
set search_path = ''
set client_min_messages = warning
as $$
  select
    q.config, q.wanted,
    regexp_replace(querytree(q.wanted), ' (&|<(-|[0-9]+)>) ', ' | ', 'g')::tsquery
  from (
    select c.config, websearch_to_tsquery(c.config::regconfig, p_query) as wanted from unnest(p_configs) as c (config)
  ) q
  -- Nothing but stop words, or but what is not to be found: finds nothing, instead of everything.
  where querytree(q.wanted) not in ('', 'T')
$$;

-- The words of each configuration together with its name, or without where all make the same of the query.
create function private.combine_search(p_words private.search_words_of[], p_configs text[])
returns tsquery
language sql
immutable
set search_path = ''
as $$
  select string_agg(
    case q.count when cardinality(p_configs) then q.wanted else format('( %s ) & ( %s )', q.wanted, q.configs) end, ' | '
  )::tsquery
  from (
    select w.wanted::text as wanted, string_agg(quote_literal(' ' || w.config), ' | ') as configs, count(*) as count
    from unnest(p_words) w
    group by 1
  ) q
$$;

-- Those that documents use, each found by one step along the index.
create function private.used_configs()
returns text[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    with recursive used as (
      (select d.config from private.search_documents d order by d.config limit 1)
      union all
      select (select d.config from private.search_documents d where d.config > u.config order by d.config limit 1)
      from used u
      where u.config is not null
    )
    select u.config from used u where u.config is not null
  );
end
$$;

-- Two letters in the wrong order leave a third of the trigrams of a word as they were. Not a setting of the functions that
-- need it: naming a setting of an extension there takes a superuser, unless the session happens to have loaded it.
create function private.loosen_similarity()
returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  perform set_config('pg_trgm.word_similarity_threshold', '0.3', true);
end
$$;

create type private.search_filter as (
  tenant_id uuid, kind text, category_id uuid, tag text, difficulty text, language text
);

create type private.search_match as (
  id uuid, course_id uuid, lesson_id uuid, is_readable boolean, rank double precision, place bigint
);

-- What matches and the caller may see. At most p_cap + 1 of them, so that one more tells that there are more: those with the
-- words in their titles first, then the newest. The cap counts what the caller sees, and ranks depend on the document alone:
-- what somebody may not see changes nothing in what they get.
-- Typing errors are forgiven where the words as written find nothing, in queries without operators.
create function private.find_documents(
  p_query text, p_filter private.search_filter, p_rights private.search_rights, p_cap integer
)
returns setof private.search_match
language plpgsql
stable security definer
rows 1000
set search_path = ''
-- One plan, made without knowing how common a word is: the index, always.
set plan_cache_mode = force_generic_plan
as $$
declare
  v_used constant text[] := private.used_configs();
  v_words constant private.search_words_of[] := array(select w from private.parse_search(p_query, v_used) w);
  v_configs constant text[] := array(select w.config from unnest(v_words) w);
  v_ranked constant tsquery[] := array(select w.ranked from unnest(v_words) w);
  v_wanted constant tsquery := private.combine_search(v_words, v_used);
  -- A negation is about all that the caller may read, not about the public part of it.
  v_negates constant boolean := coalesce(v_wanted::text like '%!%', false);
  v_loose constant text := btrim(p_query);
  v_found integer := 0;
begin
  if v_wanted is not null then
    return query
    with matching as (
      select
        d.id, d.kind, d.tenant_id, d.course_id, d.difficulty, d.language, d.published_at, r.is_readable,
        d.title_words @@ v_wanted as is_in_title
      from private.search_documents d
      cross join lateral (
        select d.lesson_id is not null and (
          p_rights.is_everybody or d.is_preview or d.lesson_id = any (p_rights.lessons)
          or d.course_id = any (p_rights.staffs) or d.tenant_id = any (p_rights.writes)
        ) as is_readable
      ) r
      where d.access && p_rights.access and d.public_words @@ v_wanted
        and (not v_negates or not r.is_readable or d.all_words @@ v_wanted)
      union all
      select d.id, d.kind, d.tenant_id, d.course_id, d.difficulty, d.language, d.published_at, true, false
      from private.search_documents d
      where d.access && p_rights.body_access and d.all_words @@ v_wanted and not d.public_words @@ v_wanted
        and (
          p_rights.is_everybody or d.is_preview or d.lesson_id = any (p_rights.lessons)
          or d.course_id = any (p_rights.staffs) or d.tenant_id = any (p_rights.writes)
        )
    ), best as materialized (
      select m.id, m.is_readable, row_number() over (order by m.is_in_title desc, m.published_at desc, m.id) as place
      from matching m
      where (p_filter.tenant_id is null or m.tenant_id = p_filter.tenant_id)
        and (p_filter.kind is null or m.kind = p_filter.kind)
        and (p_filter.difficulty is null or m.difficulty = p_filter.difficulty)
        and (p_filter.language is null or m.language = p_filter.language)
        and (p_filter.category_id is null or exists (
          select
          from lms.course_categories p
          join private.category_closure k on k.descendant_id = p.category_id and k.ancestor_id = p_filter.category_id
          where p.tenant_id = m.tenant_id and p.course_id = m.course_id
        ))
        and (p_filter.tag is null or exists (
          select
          from lms.course_tags t
          join lms.tags g on g.id = t.tag_id and g.slug = p_filter.tag
          where t.tenant_id = m.tenant_id and t.course_id = m.course_id
        ))
      order by place
      limit p_cap + 1
    )
    select
      d.id, d.course_id, d.lesson_id, b.is_readable,
      1 + ts_rank(
        '{0.1, 0.2, 0.4, 1}', case when b.is_readable then d.all_words else d.public_words end,
        v_ranked[array_position(v_configs, d.config)]
      )::double precision,
      b.place
    from best b
    join private.search_documents d on d.id = b.id
    where b.id in (select private.visible_documents(array(select k.id from best k), p_rights));
    get diagnostics v_found = row_count;
  end if;

  if v_found = 0 and v_loose !~* '"|(^|\s)-|\yor\y' then
    perform private.loosen_similarity();
    return query
    with best as materialized (
      select d.id, row_number() over (
        order by extensions.word_similarity(v_loose, d.title) desc, d.published_at desc, d.id
      ) as place
      from private.search_documents d
      where d.access && p_rights.access and d.title operator(extensions.%>) v_loose
        and (p_filter.tenant_id is null or d.tenant_id = p_filter.tenant_id)
        and (p_filter.kind is null or d.kind = p_filter.kind)
        and (p_filter.difficulty is null or d.difficulty = p_filter.difficulty)
        and (p_filter.language is null or d.language = p_filter.language)
        and (p_filter.category_id is null or exists (
          select
          from lms.course_categories p
          join private.category_closure k on k.descendant_id = p.category_id and k.ancestor_id = p_filter.category_id
          where p.tenant_id = d.tenant_id and p.course_id = d.course_id
        ))
        and (p_filter.tag is null or exists (
          select
          from lms.course_tags t
          join lms.tags g on g.id = t.tag_id and g.slug = p_filter.tag
          where t.tenant_id = d.tenant_id and t.course_id = d.course_id
        ))
      order by place
      limit p_cap + 1
    )
    select
      d.id, d.course_id, d.lesson_id, false, 0.99 * extensions.word_similarity(v_loose, d.title)::double precision,
      b.place
    from best b
    join private.search_documents d on d.id = b.id
    where b.id in (select private.visible_documents(array(select k.id from best k), p_rights));
  end if;
end
$$;

create function private.check_search(
  p_query text, p_tenant_id uuid, p_kind text, p_category_id uuid, p_tag text, p_difficulty text, p_language text
)
returns private.search_filter
language plpgsql
stable
set search_path = ''
as $$
begin
  if coalesce(p_query !~ '\S', true) then
    perform private.fail('query_required', 'Say what to search for.', 422, jsonb_build_object('field', 'p_query'));
  end if;
  if length(p_query) > 300 then
    perform private.fail(
      'query_too_long', 'A search has at most 300 characters.', 422, jsonb_build_object('field', 'p_query', 'maximum', 300)
    );
  end if;
  if p_kind not in ('course', 'lesson') then
    perform private.fail('invalid_kind', 'The kind is course or lesson.', 422, jsonb_build_object('field', 'p_kind'));
  end if;
  if p_difficulty not in ('beginner', 'intermediate', 'advanced', 'expert') then
    perform private.fail(
      'invalid_difficulty', 'The difficulty is beginner, intermediate, advanced or expert.', 422,
      jsonb_build_object('field', 'p_difficulty')
    );
  end if;
  return (p_tenant_id, p_kind, p_category_id, p_tag, p_difficulty, p_language)::private.search_filter;
end
$$;

-- =====================================================================================================
-- Calls
-- =====================================================================================================

create type lms.search_result as (
  kind text,
  tenant_id uuid,
  course_id uuid,
  lesson_id uuid,
  course_slug text,
  course_title text,
  title text,
  rank double precision,
  title_html text,
  excerpt_html text
);
comment on type lms.search_result is
  'kind: course, or lesson, with the lesson''s id. title_html and excerpt_html are safe as HTML: escaped, with <mark> around '
  'what was searched for. rank: above 1 for words as written, below for similar titles.';

create type lms.search_page as (results lms.search_result[], next_cursor text, is_partial boolean);
comment on type lms.search_page is
  'next_cursor: null on the last page. is_partial: more was found than is ranked, so there are results that no page shows.';

create type lms.search_facet as (id uuid, key text, name text, count integer);
create type lms.search_facets as (
  total integer,
  categories lms.search_facet[],
  tags lms.search_facet[],
  difficulties lms.search_facet[],
  languages lms.search_facet[]
);
comment on type lms.search_facets is
  'How many results there are and how many of them each filter would leave. key: what the filter takes, except p_category_id, '
  'which takes the id; categories count what is in or below them.';

-- The calls below run as their caller and leave the work to these, which are definer: documents are nobody's table. Each
-- answers by the rights of its caller.

create function private.search_for_caller(p_query text, p_filter private.search_filter, p_limit integer, p_cursor text)
returns lms.search_page
language plpgsql
stable security definer
set search_path = ''
set client_min_messages = warning
as $$
declare
  -- So many are ranked; reading more texts would take long where a word is in all of them.
  v_cap constant integer := 5000;
  v_page lms.search_page;
  v_rights private.search_rights;
  v_matches private.search_match[];
  v_rank double precision;
  v_id uuid;
begin
  if p_limit is null or p_limit not between 1 and 100 then
    perform private.fail('invalid_limit', 'The limit is a number from 1 to 100.', 422, jsonb_build_object('field', 'p_limit'));
  end if;
  if p_cursor is not null then
    begin
      v_rank := split_part(convert_from(decode(p_cursor, 'hex'), 'UTF8'), ' ', 1)::double precision;
      v_id := split_part(convert_from(decode(p_cursor, 'hex'), 'UTF8'), ' ', 2)::uuid;
    exception
      when data_exception then
        perform private.fail('invalid_cursor', 'Pass next_cursor of the page before.', 422, jsonb_build_object('field', 'p_cursor'));
    end;
  end if;

  v_rights := private.search_rights_of_caller(p_filter.tenant_id);
  with found as materialized (
    select m.* from private.find_documents(p_query, p_filter, v_rights, v_cap) m
  ), page as (
    select f.*
    from found f
    where f.place <= v_cap and (p_cursor is null or f.rank < v_rank or (f.rank = v_rank and f.id > v_id))
    order by f.rank desc, f.id
    limit p_limit + 1
  )
  select
    array(select (p.id, p.course_id, p.lesson_id, p.is_readable, p.rank, p.place)::private.search_match
      from page p order by p.rank desc, p.id),
    (select coalesce(max(f.place) > v_cap, false) from found f)
  into v_matches, v_page.is_partial;

  if cardinality(v_matches) > p_limit then
    v_matches := v_matches[1:p_limit];
    v_page.next_cursor := encode(convert_to(v_matches[p_limit].rank || ' ' || v_matches[p_limit].id, 'UTF8'), 'hex');
  end if;

  select coalesce(array_agg((
    d.kind, d.tenant_id, d.course_id, d.lesson_id, c.slug, c.title, d.title, m.rank,
    private.highlight(d.config::regconfig, d.title, q.ranked, 'HighlightAll=true'),
    case
      when m.is_readable and shown.html not like '%<mark>%' and inside.html like '%<mark>%' then inside.html
      else shown.html
    end
  )::lms.search_result order by m.rank desc, m.id), '{}')
  into v_page.results
  from unnest(v_matches) m
  join private.search_documents d on d.id = m.id
  join lms.courses c on c.id = d.course_id
  left join lms.version_lessons l on l.version_id = d.version_id and l.lesson_id = d.lesson_id
  left join private.parse_search(p_query, private.used_configs()) parsed on parsed.config = d.config
  cross join lateral (select coalesce(parsed.ranked, ''::tsquery) as ranked) q
  cross join lateral (
    select private.highlight(
      d.config::regconfig,
      case d.kind when 'course' then c.description else concat_ws(E'\n', l.description, array_to_string(l.objectives, E'\n')) end,
      q.ranked, 'MaxFragments=2, MaxWords=25, MinWords=10'
    ) as html
  ) shown
  left join lateral (
    select private.highlight(
      d.config::regconfig, private.published_text(d.version_id, d.lesson_id), q.ranked,
      'MaxFragments=2, MaxWords=25, MinWords=10'
    ) as html
    where m.is_readable and shown.html not like '%<mark>%'
  ) inside on true;
  return v_page;
end
$$;

create function lms.search(
  p_query text,
  p_tenant_id uuid default null,
  p_kind text default null,
  p_category_id uuid default null,
  p_tag text default null,
  p_difficulty text default null,
  p_language text default null,
  p_limit integer default 20,
  p_cursor text default null
)
returns lms.search_page
language plpgsql
stable
set search_path = ''
as $$
begin
  return private.search_for_caller(
    p_query, private.check_search(p_query, p_tenant_id, p_kind, p_category_id, p_tag, p_difficulty, p_language),
    p_limit, p_cursor
  );
end
$$;

comment on function lms.search is
  'Published courses and lessons that the caller may see, best first. p_query: words (all of them), "phrases", or, -not; '
  'titles count more than tags, those more than descriptions and objectives, those more than content, which is searched where '
  'the caller may read it. Filters: p_kind course or lesson; p_category_id with all below it; p_tag a slug; p_difficulty; '
  'p_language as courses name it. Next page: the same with p_cursor = next_cursor. 422 query_required, query_too_long, '
  'invalid_kind, invalid_difficulty, invalid_limit, invalid_cursor.';

create function private.count_facets_for_caller(p_query text, p_filter private.search_filter)
returns lms.search_facets
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_facets lms.search_facets;
begin
  with courses as materialized (
    select m.course_id, count(*) as found
    from private.find_documents(p_query, p_filter, private.search_rights_of_caller(p_filter.tenant_id), null) m
    group by m.course_id
  ), described as materialized (
    select f.course_id, f.found, c.tenant_id, c.difficulty, c.language
    from courses f
    join lms.courses c on c.id = f.course_id
  ), categories as (
    select b.id, sum(b.found) as found
    from (
      select distinct k.ancestor_id as id, f.course_id, f.found
      from described f
      join lms.course_categories p on p.tenant_id = f.tenant_id and p.course_id = f.course_id
      join private.category_closure k on k.descendant_id = p.category_id
    ) b
    group by b.id
  ), tags as (
    select t.tag_id as id, sum(f.found) as found
    from described f
    join lms.course_tags t on t.tenant_id = f.tenant_id and t.course_id = f.course_id
    group by t.tag_id
  ), difficulties as (
    select f.difficulty as key, sum(f.found) as found from described f group by f.difficulty
  ), languages as (
    select f.language::text as key, sum(f.found) as found from described f group by f.language::text
  )
  select
    (select coalesce(sum(f.found), 0) from courses f),
    (
      select coalesce(array_agg((k.id, c.slug, c.name, k.found)::lms.search_facet order by k.found desc, c.name, k.id), '{}')
      from categories k
      join lms.categories c on c.id = k.id
    ),
    (
      select coalesce(array_agg((k.id, g.slug, g.name, k.found)::lms.search_facet order by k.found desc, g.name, k.id), '{}')
      from tags k
      join lms.tags g on g.id = k.id
    ),
    (select coalesce(array_agg((null, k.key, k.key, k.found)::lms.search_facet order by k.found desc, k.key), '{}') from difficulties k),
    (select coalesce(array_agg((null, k.key, k.key, k.found)::lms.search_facet order by k.found desc, k.key), '{}') from languages k)
  into v_facets;
  return v_facets;
end
$$;

create function lms.get_search_facets(
  p_query text,
  p_tenant_id uuid default null,
  p_kind text default null,
  p_category_id uuid default null,
  p_tag text default null,
  p_difficulty text default null,
  p_language text default null
)
returns lms.search_facets
language plpgsql
stable
set search_path = ''
as $$
begin
  return private.count_facets_for_caller(
    p_query, private.check_search(p_query, p_tenant_id, p_kind, p_category_id, p_tag, p_difficulty, p_language)
  );
end
$$;

comment on function lms.get_search_facets is
  'How many results lms.search has for the caller, all pages and beyond what is ranked, exactly: in all, and by category, '
  'tag, difficulty and language. Same parameters, same errors.';

create function private.suggest_to_caller(p_prefix text, p_tenant_id uuid, p_limit integer)
returns text[]
language plpgsql
stable security definer
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
declare
  v_rights constant private.search_rights := private.search_rights_of_caller(p_tenant_id);
  v_prefix constant text := lower(btrim(p_prefix));
begin
  perform private.loosen_similarity();
  return (
    with near as materialized (
      select
        d.id, d.title, starts_with(lower(d.title), v_prefix) as begins,
        extensions.word_similarity(v_prefix, d.title) as similarity
      from private.search_documents d
      where d.access && v_rights.access and d.title operator(extensions.%>) v_prefix
        and (p_tenant_id is null or d.tenant_id = p_tenant_id)
    ), titles as (
      select min(n.title) as title, bool_or(n.begins) as begins, max(n.similarity) as similarity
      from near n
      where n.id in (select private.visible_documents(array(select o.id from near o), v_rights))
      group by lower(n.title)
      order by 2 desc, 3 desc, 1
      limit p_limit
    )
    select coalesce(array_agg(t.title order by t.begins desc, t.similarity desc, t.title), '{}') from titles t
  );
end
$$;

create function lms.suggest_searches(p_prefix text, p_tenant_id uuid default null, p_limit integer default 10)
returns text[]
language plpgsql
stable
set search_path = ''
as $$
begin
  if length(p_prefix) > 300 then
    perform private.fail(
      'query_too_long', 'A search has at most 300 characters.', 422, jsonb_build_object('field', 'p_prefix', 'maximum', 300)
    );
  end if;
  if p_limit is null or p_limit not between 1 and 100 then
    perform private.fail('invalid_limit', 'The limit is a number from 1 to 100.', 422, jsonb_build_object('field', 'p_limit'));
  end if;
  return private.suggest_to_caller(p_prefix, p_tenant_id, p_limit);
end
$$;

comment on function lms.suggest_searches is
  'Titles that the caller may see and that begin like, hold or resemble what was typed: to complete it, or when nothing was '
  'found. 422 query_too_long, invalid_limit.';

grant execute on function
  private.search_for_caller, private.count_facets_for_caller, private.suggest_to_caller, private.check_search
to anon, authenticated, service_role;
grant execute on function lms.search, lms.get_search_facets, lms.suggest_searches to anon, authenticated, service_role;

notify pgrst, 'reload schema';
