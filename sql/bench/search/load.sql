-- 100,000 published courses of 50 tenants, 30,000 lessons with content, for measuring search. From hashes, so that they are
-- the same everywhere. Into a database that holds the migrations only:
--   lyceum with-database -- bash -c 'psql -q "$ADMIN_DB_URL" -f sql/bench/search/load.sql -f sql/bench/search/measure.sql'

set statement_timeout = 0;
set client_min_messages = warning;
create schema bench;

create function bench.draw(n bigint, purpose bigint) returns float8
language sql immutable parallel safe
return ((hashint8extended(n, purpose) >> 11) & 9007199254740991)::float8 / 9007199254740992;

-- 3,000 words; the first few are in most texts, as in real ones.
create function bench.word(n integer) returns text
language sql immutable parallel safe
return left(translate(md5('word:' || n), '0123456789abcdef', 'kolamiterusanbid'), 4 + n % 5);

create function bench.text(seed bigint, length integer) returns text
language sql immutable parallel safe
as $$
  select string_agg(bench.word(1 + floor(3000 * power(bench.draw(seed, i), 4))::integer), ' ' order by i)
  from generate_series(1, length) i
$$;

set session_replication_role = replica;

insert into auth.users (instance_id, id, aud, role, email, created_at, updated_at)
select '00000000-0000-0000-0000-000000000000', md5('user:' || n)::uuid, 'authenticated', 'authenticated', 'u' || n || '@example.com', now(), now()
from generate_series(1, 50) n;
insert into public.profiles (id) select md5('user:' || n)::uuid from generate_series(1, 50) n;
insert into lms.tenants (id, slug, name) select md5('tenant:' || t)::uuid, 'tenant-' || t, 'Tenant ' || t from generate_series(1, 50) t;
-- One learner per tenant, and nobody else.
insert into lms.memberships (id, tenant_id, user_id)
select md5('member:' || t)::uuid, md5('tenant:' || t)::uuid, md5('user:' || t)::uuid from generate_series(1, 50) t;

-- The largest tenant has a fifth of the courses, the last ones a few hundred. `course` is a word of every title.
insert into lms.courses (id, tenant_id, slug, title, description, status, visibility, instructor_id, difficulty, language, created_at, published_at)
select
  md5('course:' || n)::uuid, md5('tenant:' || 1 + floor(50 * power(bench.draw(n, 1), 3))::integer)::uuid, 'course-' || n,
  'Course ' || bench.text(n, 2 + (n % 3)::integer), bench.text(n + 1000000, 40), 'published',
  case when bench.draw(n, 2) < 0.25 then 'public' when bench.draw(n, 2) < 0.9 then 'restricted' else 'private' end,
  md5('user:1')::uuid, (array['beginner', 'intermediate', 'advanced', 'expert'])[1 + floor(4 * bench.draw(n, 3))::integer],
  case when bench.draw(n, 4) < 0.8 then 'en' else 'de' end, timestamptz '2024-01-01' + n * interval '1 minute', timestamptz '2024-01-01' + n * interval '1 minute'
from generate_series(1, 100000) n;

insert into lms.tags (id, tenant_id, slug, name)
select md5('tag:' || t || ':' || g)::uuid, md5('tenant:' || t)::uuid, 'tag-' || g, 'Tag ' || g from generate_series(1, 50) t, generate_series(1, 20) g;
insert into lms.course_tags (tenant_id, course_id, tag_id)
select c.tenant_id, c.id, g.id
from (select k.tenant_id, k.id, row_number() over (order by k.id) as n from lms.courses k) c
join lms.tags g on g.tenant_id = c.tenant_id and g.slug = 'tag-' || 1 + floor(20 * bench.draw(c.n, 5))::integer;

-- Every tenth course has content: three lessons of 300 words.
create table bench.lesson as
select c.n, l.l, c.id as course_id, k.tenant_id, md5('module:' || c.n)::uuid as module_id, md5('lesson:' || c.n || ':' || l.l)::uuid as id,
  md5('version:' || c.n)::uuid as version_id, md5('block:' || c.n || ':' || l.l)::uuid as block_id
from (select n, md5('course:' || n)::uuid as id from generate_series(10, 100000, 10) n) c
join lms.courses k on k.id = c.id
cross join generate_series(0, 2) as l (l);
insert into lms.modules (id, tenant_id, course_id, key, title, order_index, published_at) select module_id, tenant_id, course_id, 'module', 'Module', 0, now() from bench.lesson where l = 0;
insert into lms.lessons (id, tenant_id, course_id, module_id, key, title, order_index, is_preview, published_at)
select id, tenant_id, course_id, module_id, 'lesson-' || l, 'Lesson ' || bench.text(n * 10 + l, 3), l, l = 0, now() from bench.lesson;
insert into lms.course_versions (id, tenant_id, course_id, number, title, description, language, is_sequential, items_total, content_hash)
select b.version_id, b.tenant_id, b.course_id, 1, c.title, c.description, c.language, false, 3, 'x' from bench.lesson b join lms.courses c on c.id = b.course_id where b.l = 0;
insert into lms.version_lessons
select b.version_id, k.* from bench.lesson b, lateral (
  select d.lesson_id, d.tenant_id, d.course_id, d.module_id, d.module_title, d.module_description, d.module_index, d.lesson_index, d.title, d.description, d.type, d.duration,
    d.requires_completion, d.is_preview, d.objectives, d.completion_rule, d.required_watched_percentage, d.release_after_days, d.release_on, d.prerequisite_ids
  from private.draft_lessons(b.course_id) d
) k where b.l = 0;
insert into lms.block_revisions (id, tenant_id, course_id, lesson_id, block_id, content_hash, type, content, metadata, is_optional)
select block_id, tenant_id, course_id, id, block_id, 'x', 'markdown', jsonb_build_object('markdown', bench.text(n * 10 + l + 5000000, 300)), '{}', false from bench.lesson;
insert into lms.version_blocks (version_id, block_id, tenant_id, course_id, lesson_id, revision_id, order_index, is_preview)
select version_id, block_id, tenant_id, course_id, id, block_id, 0, l = 0 from bench.lesson;
analyze lms.courses, lms.modules, lms.lessons, lms.course_versions, lms.version_lessons, lms.version_blocks, lms.block_revisions, lms.course_tags, lms.tags;

set session_replication_role = origin;
-- Row by row into the index of words takes several times as long as making it afterwards.
select pg_get_indexdef('private.search_documents_by_words'::regclass) as index_of_words \gset
drop index private.search_documents_by_words;
set maintenance_work_mem = '512MB';
\timing on
select ops.rebuild_search() as documents;
:index_of_words;
\timing off

-- The learner of the tenth tenant takes thirty courses with content.
insert into lms.role_grants (tenant_id, membership_id, role_id)
select m.tenant_id, m.id, r.id from lms.memberships m join lms.roles r on r.tenant_id = m.tenant_id and r.key = 'learner';
insert into lms.enrollments (course_id, user_id)
select distinct b.course_id, md5('user:10')::uuid from bench.lesson b where b.tenant_id = md5('tenant:10')::uuid limit 30;
vacuum (analyze);
