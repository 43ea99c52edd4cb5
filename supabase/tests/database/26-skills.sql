-- Skills, and whole courses that come and go as one document.

begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('ines', 'works', 'instructor'), tests.member('ivan', 'works', 'instructor'),
  tests.member('dora', 'works'), tests.member('petra', 'press', 'tenant_admin'), tests.member('quinn', 'works', 'instructor');
select tests.person('noah');
update lms.memberships set status = 'suspended' where user_id = tests.id('quinn');

-- =====================================================================================================
-- Skills
-- =====================================================================================================

select tests.course('safety', 'works', 'ines', 2, 'public');
select tests.course('other', 'works', 'ivan', 2, 'private'), tests.course('novel', 'press', 'petra', 2, 'private');

create function tests.add_skill(tenant text, key text) returns text language sql as $$
  select format('insert into lms.skills (tenant_id, key, name) values (%L, %L, %L)', tests.id(tenant), key, initcap(key))
$$;
select is(tests.try('ines', tests.add_skill('works', 'fire')), '1', 'an author adds a skill');
select is(tests.try('boss', tests.add_skill('works', 'ice')), '1', 'an administrator, too');
select is(tests.try('petra', tests.add_skill('press', 'prose')), '1', 'each tenant has its own');
select is(tests.try(who, tests.add_skill('works', 'new')), '42501', who || ' adds none')
from unnest(array['dora', 'petra', 'noah', 'quinn']) as who;
insert into lms.skills (tenant_id, key, name) values (tests.id('works'), 'fire', 'Fire!'), (tests.id('works'), 'ice', 'Ice'), (tests.id('press'), 'prose', 'Prose');
select is(tests.try('ines', tests.add_skill('works', 'fire')), '23505 skill_key_is_taken', 'a key is taken once');
select is(tests.try('ines', $$ update lms.skills set name = 'Mine' $$), '0', 'an author renames no skill, which is everybody''s');
select is(tests.try('ines', $$ delete from lms.skills $$), '0', 'nor removes one');
select is(tests.try('boss', $$ update lms.skills set name = 'Flames' where key = 'fire' $$), '1', 'who writes the catalogue does');

create function tests.teach(lesson text, skill text, tenant text) returns text language sql as $$
  select format(
    'insert into lms.lesson_skills (lesson_id, skill_id) values (%L, %L)', tests.id(lesson),
    (select id from lms.skills where key = skill and tenant_id = tests.id(tenant))
  )
$$;
select is(tests.try('ines', tests.teach('safety/1', 'fire', 'works')), '1', 'staff says what a lesson teaches');
select is(tests.try('boss', tests.teach('safety/2', 'ice', 'works')), '1', 'so do administrators');
select is(tests.try('ivan', tests.teach('safety/2', 'fire', 'works')), '42501', 'other instructors do not');
select is(tests.try('dora', tests.teach('safety/2', 'fire', 'works')), '42501', 'learners do not');
select is(tests.try('petra', tests.teach('novel/1', 'fire', 'works')), '23503 skill_of_lesson_is_of_the_same_tenant', 'INV-T1: a skill of another tenant does not exist');
insert into lms.lesson_skills (lesson_id, skill_id)
select tests.id(lesson), s.id from (values ('safety/1', 'fire'), ('safety/2', 'ice')) as k (lesson, key) join lms.skills s on s.key = k.key;
select is(tests.try('boss', $$ delete from lms.skills where key = 'fire' $$), '23503 skill_of_lesson_is_of_the_same_tenant', 'a skill that is taught is not removed');
select is(tests.try('ines', $$ update lms.lesson_skills set mastery_threshold = 'NaN' $$), '23514 mastery_threshold_is_a_probability', 'a threshold is a number');
select is(tests.try('ines', $$ update lms.lesson_skills set mastery_threshold = 0.85, part = 'practices' $$), '2', 'staff changes it');

create function tests.skills_seen(who text) returns text language plpgsql as $$
declare
  v_keys text;
begin
  perform tests.be(who);
  select coalesce(string_agg(s.key || case when k.lesson_id is null then '' else '*' end, ' ' order by s.key), '') into v_keys
  from lms.skills s left join lms.lesson_skills k on k.skill_id = s.id;
  perform tests.as_owner();
  return v_keys;
end
$$;
update lms.lessons set published_at = null where id = tests.id('safety/2');
select is(tests.skills_seen(who), seen, format('%s sees the skills: %s', who, seen))
from (values
  ('anonymous', 'fire*'), ('noah', 'fire*'), ('petra', 'fire* prose'), ('quinn', 'fire*'), ('dora', 'fire* ice'), ('ines', 'fire* ice*'),
  ('boss', 'fire* ice*')
) as sights (who, seen);
select is(tests.try('ines', $$ delete from lms.lesson_skills where lesson_id = (select id from lms.lessons where key = 'lesson-2' and course_id = tests.id('safety')) $$), '1', 'staff takes a skill off a lesson');

-- =====================================================================================================
-- Keys
-- =====================================================================================================

select is(
  array(
    select private.key_of_title(title, 'lesson', '00000000-0000-0000-0000-000000000000', place)
    from (values ('  Hello, World! ', 1), ('Hello, World!', 2), ('Охрана труда', 1), (repeat('a-', 90), 1)) as titles (title, place)
  ),
  array['hello-world', 'hello-world-2', 'lesson', rtrim(repeat('a-', 40), '-')],
  'a key is made of the title'
);
insert into lms.lessons (module_id, title) select tests.id('safety/m'), 'Same' from generate_series(1, 15);
select is(count(distinct key), 15::bigint, 'lessons of one title have different keys') from lms.lessons where title = 'Same';
update lms.lessons set title = 'Renamed' where course_id = tests.id('safety') and key = 'lesson-1';
select is(key, 'lesson-1', 'a key stays when the title changes') from lms.lessons where id = tests.id('safety/1');
select is(tests.try('ines', format($$ insert into lms.lessons (module_id, title, key) values (%L, 'x', 'lesson-1') $$, tests.id('safety/m'))), '23505 lesson_key_is_taken', 'a key is taken once in a course');
select is(tests.try('ines', format($$ insert into lms.lessons (module_id, title, key) values (%L, 'x', '../x') $$, tests.id('safety/m'))), '23514 lesson_key_is_a_slug', 'a key is no path');

-- =====================================================================================================
-- Import
-- =====================================================================================================

create function tests.import(who text, tenant text, document jsonb, dry_run boolean default false) returns text language plpgsql as $$
declare
  v_answer jsonb;
begin
  perform tests.be(who);
  v_answer := lms.import_course(tests.id(tenant), document, dry_run);
  perform tests.as_owner();
  return format(
    '%s m%s l%s b%s p%s s%s t%s', v_answer ->> 'course',
    concat_ws('/', v_answer #>> '{modules,created}', v_answer #>> '{modules,updated}', v_answer #>> '{modules,removed}'),
    concat_ws('/', v_answer #>> '{lessons,created}', v_answer #>> '{lessons,updated}', v_answer #>> '{lessons,removed}'),
    concat_ws('/', v_answer #>> '{blocks,created}', v_answer #>> '{blocks,updated}', v_answer #>> '{blocks,removed}'),
    concat_ws('/', v_answer #>> '{prerequisites,created}', v_answer #>> '{prerequisites,removed}'),
    concat_ws('/', v_answer #>> '{skills,created}', v_answer #>> '{skills,updated}', v_answer #>> '{skills,removed}'),
    concat_ws('/', v_answer #>> '{tags,created}', v_answer #>> '{tags,removed}')
  ) || case when v_answer -> 'remarks' = '[]' then '' else ' ' || jsonb_path_query_array(v_answer, '$.remarks[*].code')::text end;
exception
  when others then
    perform tests.as_owner();
    return coalesce((select format('%s %s', j ->> 'code', coalesce((select string_agg(d ->> 'path' || ' ' || (d ->> 'code'), ', ') from jsonb_array_elements(case when j ->> 'details' like '[{%' then (j ->> 'details')::jsonb else '[]' end) d), '')) from (select case when sqlstate = 'PGRST' then sqlerrm::jsonb end as j) x where j is not null), sqlstate);
end
$$;

create temporary table documents (name text primary key, doc jsonb);
grant select on documents to authenticated;
insert into documents values ('first', $$
{
  "format": "lyceum-course-1", "slug": "welding", "title": "Welding", "language": "de", "visibility": "private", "tags": ["metal"],
  "required_score": 70, "is_sequential": true, "metadata": {"source": null},
  "skills": [{"key": "fire", "name": "Fire!"}, {"key": "arc", "name": "Arc", "description": "Electric."}],
  "modules": [
    {"key": "basics", "title": "Basics", "lessons": [
      {"key": "gas", "title": "Gas", "duration": 20, "objectives": ["Tell gases apart"], "skills": [{"key": "fire", "mastery_threshold": 0.85}],
       "blocks": [{"type": "markdown", "content": {"markdown": "One"}}, {"type": "markdown", "content": {"markdown": "Two"}},
                  {"type": "video", "title": "See", "content": {"url": "https://a.b/c.mp4", "duration": null}, "metadata": {"x": null}, "is_optional": true}]},
      {"key": "spark", "title": "Spark", "prerequisites": ["gas"], "completion_rule": "watched", "required_watched_percentage": 75.5,
       "release_after_days": 3, "blocks": []}
    ]},
    {"key": "more", "title": "More", "description": "Later.", "lessons": [
      {"key": "arc", "title": "Arc", "type": "video", "prerequisites": ["gas", "spark"], "requires_completion": false, "is_preview": true,
       "skills": [{"key": "arc", "part": "practices"}], "blocks": [{"type": "markdown", "content": {"markdown": "Arc"}}]}
    ]}
  ]
}
$$);
create function tests.document(name text) returns jsonb language sql as $$ select doc from documents d where d.name = $1 $$;
create function tests.welding(tenant text default 'works') returns uuid language sql as $$ select id from lms.courses c where c.tenant_id = tests.id(tenant) and c.slug = 'welding' $$;

select is(tests.import(who, 'works', tests.document('first')), '42501', format('%s imports nothing', who)) from unnest(array['dora', 'petra', 'noah', 'quinn']) as who;
select is(tests.import('petra', 'nowhere', tests.document('first')), '42501', 'a tenant that does not exist is one that one has no rights in');
select is(tests.import('ines', 'works', tests.document('first'), true), 'created m2/0/0 l3/0/0 b4/0/0 p3/0 s2/0/0 t0/0 ["tag_left_out"]', 'a dry run tells what would be done');
select is(tests.welding(), null, 'and does nothing');
select is(tests.import('ines', 'works', tests.document('first')), 'created m2/0/0 l3/0/0 b4/0/0 p3/0 s2/0/0 t0/0 ["tag_left_out"]', 'an author imports a course, without adding tags');
select is(status || ' ' || instructor_id, 'draft ' || tests.id('ines'), 'as a draft of theirs') from lms.courses where id = tests.welding();

create function tests.places() returns text language sql as $$
  select string_agg(x, ' ' order by x) from (
    select 'c' || xmin || ctid as x from lms.courses
    union all select 'm' || xmin || ctid from lms.modules
    union all select 'l' || xmin || ctid from lms.lessons
    union all select 'b' || xmin || ctid from lms.lesson_blocks
    union all select 'p' || xmin || ctid from lms.lesson_prerequisites
    union all select 's' || xmin || ctid from lms.skills
    union all select 'k' || xmin || ctid from lms.lesson_skills
    union all select 't' || xmin || ctid from lms.course_tags
  ) rows
$$;
create temporary table before as select tests.places() as places;
select is(tests.import('ines', 'works', tests.document('first')), 'unchanged m0/0/0 l0/0/0 b0/0/0 p0/0 s0/0/0 t0/0 ["tag_left_out"]', 'the same document changes nothing');
select is(tests.places(), places, 'and writes no row') from before;
select is(tests.import('boss', 'works', tests.document('first')), 'unchanged m0/0/0 l0/0/0 b0/0/0 p0/0 s0/0/0 t1/0', 'who writes the catalogue adds the tag');
select is(tests.import('ivan', 'works', tests.document('first')), 'course_slug_is_taken ', 'another instructor''s course is not overwritten');

-- What was exported is what was imported.
create function tests.export(who text, course uuid) returns jsonb language plpgsql as $$
declare
  v_answer jsonb;
begin
  perform tests.be(who);
  v_answer := lms.export_course(course);
  perform tests.as_owner();
  return v_answer;
exception
  when others then
    perform tests.as_owner();
    return to_jsonb(sqlerrm::json ->> 'code');
end
$$;
select is(tests.export(who, tests.welding()), '"course_not_found"', who || ' exports nothing') from unnest(array['dora', 'petra', 'noah', 'ivan', 'quinn']) as who;
insert into documents select 'exported', tests.export('ines', tests.welding());
select is(tests.document('exported') - '{skills,modules}'::text[], tests.document('first') - '{skills,modules}'::text[] || '{"difficulty": "beginner"}', 'the course comes out as it went in');
select is(jsonb_path_query_array(tests.document('exported'), 'strict $.modules[*].lessons[*] ? (exists (@.blocks)).blocks'), jsonb_path_query_array(tests.document('first'), 'strict $.modules[*].lessons[*].blocks ? (@.size() > 0)'), 'its blocks too');
select is(tests.import('petra', 'press', tests.document('exported')), 'created m2/0/0 l3/0/0 b4/0/0 p3/0 s2/0/0 t1/0', 'another tenant takes it');
select is(tests.export('petra', tests.welding('press')), tests.document('exported'), 'and has the same course');
select is(tests.import('ines', 'works', tests.document('exported')), 'unchanged m0/0/0 l0/0/0 b0/0/0 p0/0 s0/0/0 t0/0', 'what was exported changes nothing');

-- What changes is changed where it is, what is gone is deleted, what comes back comes back.
create temporary table ids as
  select b.id, b.content ->> 'markdown' as text from lms.lesson_blocks b where b.course_id = tests.welding();
create temporary table lesson_ids as select l.id, l.key from lms.lessons l where l.course_id = tests.welding();
insert into documents select 'second', tests.document('first') #- '{modules,0,lessons,1}';
update documents set doc = jsonb_set(doc, '{modules,1,lessons,0,title}', '"Arcs"') where name = 'second';
update documents set doc = jsonb_set(doc, '{modules,1,lessons,0,prerequisites}', '["gas"]') where name = 'second';
update documents set doc = jsonb_set(doc, '{modules,0,lessons,0,blocks}', $$ [{"type": "markdown", "content": {"markdown": "Zero"}},
  {"type": "markdown", "content": {"markdown": "Two"}}, {"type": "markdown", "content": {"markdown": "One"}}] $$) where name = 'second';
select is(tests.import('boss', 'works', tests.document('second')), 'unchanged m0/0/0 l0/1/1 b1/1/1 p0/1 s0/0/0 t0/0', 'what differs is written');
select is(
  (select string_agg(i.text, ' ' order by b.order_index) from lms.lesson_blocks b join ids i on i.id = b.id where b.course_id = tests.welding() and b.deleted_at is null and i.text <> 'Arc'),
  'Two One', 'blocks that were moved are the same blocks'
);
select is(tests.import('boss', 'works', tests.document('first')), 'unchanged m0/0/0 l0/2/0 b1/1/1 p1/0 s0/0/0 t0/0', 'and back');
select is((select string_agg(l.key, ' ' order by l.key) from lms.lessons l join lesson_ids i on i.id = l.id and i.key = l.key where l.deleted_at is null), 'arc gas spark', 'a lesson that comes back is the one that went, with its history');
select is(tests.export(who, tests.id('safety')), '"course_not_found"', who || ' sees a course, and does not export it') from unnest(array['noah', 'dora', 'ivan', 'quinn']) as who;
select is(tests.export('service', tests.welding()), tests.export('ines', tests.welding()), 'the service, which sees what is deleted, exports the same');

insert into documents select 'empty', tests.document('first') || '{"modules": []}';
select is(tests.import('boss', 'works', tests.document('empty')), 'unchanged m0/0/2 l0/0/3 b0/0/4 p0/0 s0/0/0 t0/0', 'all of it goes');
select is(tests.import('boss', 'works', tests.document('first')), 'unchanged m0/2/0 l0/3/0 b0/4/0 p0/0 s0/0/0 t0/0', 'and comes back with its blocks');
select is((select count(*) from lms.lesson_blocks b join ids i on i.id = b.id where b.deleted_at is null and i.text is not null), 3::bigint, 'which are the same ones');
insert into documents select 'swapped', jsonb_set(tests.document('first'), '{modules}', jsonb_build_array(
  tests.document('first') #> '{modules,1}' || jsonb_build_object('lessons', tests.document('first') #> '{modules,0,lessons}'),
  tests.document('first') #> '{modules,0}' || jsonb_build_object('lessons', tests.document('first') #> '{modules,1,lessons}'))) ;
select is(tests.import('boss', 'works', tests.document('swapped')), 'unchanged m0/2/0 l0/3/0 b0/0/0 p0/0 s0/0/0 t0/0', 'modules and lessons change places');
select is(tests.import('boss', 'works', tests.document('first')), 'unchanged m0/2/0 l0/3/0 b0/0/0 p0/0 s0/0/0 t0/0', 'and change back');
select is(tests.import('boss', 'works', tests.document('first') || '{"title": "Welding 2", "tags": []}'), 'updated m0/0/0 l0/0/0 b0/0/0 p0/0 s0/0/0 t0/1', 'the course is changed');
select is(tests.import('boss', 'works', tests.document('first') - 'visibility' - 'tags' || '{"title": "Welding 2"}'), 'unchanged m0/0/0 l0/0/0 b0/0/0 p0/0 s0/0/0 t0/0', 'a document that is silent about visibility and tags leaves them');
select is(name, 'Fire!', 'a course does not rename the tenant''s skills') from lms.skills where key = 'fire';
select is(tests.import('boss', 'works', jsonb_set(tests.document('first'), '{skills,0,name}', '"Feuer"') - 'tags'), 'updated m0/0/0 l0/0/0 b0/0/0 p0/0 s0/0/0 t0/0 ["skill_differs"]', 'which it is told');

-- Faults, all at once, and nothing is written.
update before set places = tests.places();
select is(tests.import('boss', 'works', document::jsonb), faults, left(faults, 80))
from (values
  ('[]', 'course_not_importable  not_an_object, format unknown_format'),
  ('{"format": "lyceum-course-1", "slug": "x"}', 'course_not_importable title missing_field'),
  ('{"format": "x", "slug": "x", "title": 5, "status": "published", "tags": [1]}', 'course_not_importable format unknown_format, status unknown_field, tags wrong_kind, title wrong_kind'),
  ('{"format": "lyceum-course-1", "slug": "x", "title": "x", "modules": {"a": 1}, "skills": 1, "estimated_minutes": 1.5, "metadata": []}', 'course_not_importable estimated_minutes wrong_kind, metadata wrong_kind, modules wrong_kind, skills wrong_kind'),
  ('{"format": "lyceum-course-1", "slug": "x", "title": "x", "modules": [1, {"key": "m", "title": "M"}, {"key": "m", "title": "M", "lessons": [{"key": "l", "title": "L", "prerequisites": ["k"]}, {"key": "l", "title": "L", "id": 1}]}]}',
   'course_not_importable modules[0] not_an_object, modules[2].key duplicate_key, modules[2].lessons[0].prerequisites unknown_prerequisite, modules[2].lessons[1].id unknown_field, modules[2].lessons[1].key duplicate_key'),
  ('{"format": "lyceum-course-1", "slug": "x", "title": "x", "modules": [{"key": "m", "title": "M", "lessons": [{"key": "l", "title": "L", "blocks": [{"type": "rich_text", "content": {"html": "<script>"}}, {"type": "x", "content": {}}]}]}]}',
   'course_not_importable modules[0].lessons[0].blocks[0].content invalid_content, modules[0].lessons[0].blocks[1].content invalid_content'),
  ('{"format": "lyceum-course-1", "slug": "x", "title": "x", "modules": [{"key": "m", "title": "M", "lessons": [{"key": "l", "title": "L", "skills": [{"key": "unheard-of"}]}]}]}', 'skill_unknown '),
  ('{"format": "lyceum-course-1", "slug": "x", "title": "x", "modules": [{"key": "m", "title": "M", "lessons": [{"key": "a", "title": "L", "prerequisites": ["b"]}, {"key": "b", "title": "L", "prerequisites": ["a"]}]}]}', 'prerequisite_circle '),
  ('{"format": "lyceum-course-1", "slug": "x", "title": "x", "modules": [{"key": "m", "title": "M", "lessons": [{"key": "../../etc", "title": "L"}]}]}', '23514'),
  ('{"format": "lyceum-course-1", "slug": "X", "title": "x"}', '23514'),
  ('{"format": "lyceum-course-1", "slug": "x", "title": "x", "required_score": 1e9}', '23514')
) as cases (document, faults);
select is(tests.places(), places, 'a document with faults writes nothing') from before;
update lms.courses set deleted_at = now() where id = tests.welding('press');
select is(tests.import('petra', 'press', tests.document('first')), 'course_deleted ', 'a deleted course is restored first');
select is(tests.export(who, tests.welding('press')), '"course_not_found"', 'and not exported by ' || who) from unnest(array['petra', 'service']) as who;
select throws_like($$ select lms.import_course(tests.id('works'), tests.document('first') || '{"slug": "y"}') $$, '%instructor_missing%', 'the service imports no course that is nobody''s');

-- A document of many lessons, twice.
insert into documents select 'large', jsonb_build_object('format', 'lyceum-course-1', 'slug', 'large', 'title', 'Large', 'modules', jsonb_agg(jsonb_build_object('key', 'm' || m, 'title', 'M', 'lessons', (
  select jsonb_agg(jsonb_build_object('key', format('l%s-%s', m, l), 'title', 'L', 'blocks', jsonb_build_array(jsonb_build_object('type', 'markdown', 'content', jsonb_build_object('markdown', repeat('x', 200))))))
  from generate_series(1, 50) l)))) from generate_series(1, 20) m;
select is(tests.import('ines', 'works', tests.document('large')), 'created m20/0/0 l1000/0/0 b1000/0/0 p0/0 s0/0/0 t0/0', 'a thousand lessons are imported');
select is(tests.import('ines', 'works', tests.document('large')), 'unchanged m0/0/0 l0/0/0 b0/0/0 p0/0 s0/0/0 t0/0', 'once');

-- Copies know the same keys and skills.
select tests.be('boss');
create temporary table copy as select (lms.duplicate_course(tests.welding(), null, 'welding-copy')).id;
select tests.as_owner();
select is(tests.export('boss', c.id) - '{slug,tags,metadata}'::text[], tests.export('boss', tests.welding()) - '{slug,tags,metadata}'::text[], 'a copy is exported as the original') from copy c;

select * from finish();
rollback;
