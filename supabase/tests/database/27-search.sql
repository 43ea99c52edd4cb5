begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'), tests.member('ines', 'works', 'instructor'), tests.member('iva', 'works', 'instructor'),
  tests.member('lena', 'works'), tests.member('otto', 'works'), tests.member('sue', 'works', 'tenant_admin'), tests.member('petra', 'press', 'tenant_admin'), tests.member('pia', 'press', 'instructor');
select tests.person('noah'), tests.person('gus');
insert into lms.memberships (id, tenant_id, user_id, is_guest) values (tests.id('gus in works'), tests.id('works'), tests.id('gus'), true);
update lms.memberships set status = 'suspended' where id = tests.id('sue in works');

-- =====================================================================================================
-- Helpers
-- =====================================================================================================

-- A course of one lesson; the words say what it is about.
create function tests.book(
  slug text, tenant text, instructor text, title text, visibility text default 'public', description text default '', lesson text default 'Chapter',
  objectives text[] default '{}', body text default '', language text default 'en', preview boolean default false
) returns uuid language plpgsql as $$
begin
  insert into lms.courses (id, tenant_id, slug, title, description, visibility, language, status, published_at, instructor_id)
  values (tests.id(slug), tests.id(tenant), slug, title, description, visibility, language, 'published', now(), tests.id(instructor));
  insert into lms.modules (id, course_id, title) values (tests.id(slug || '/m'), tests.id(slug), 'Module');
  insert into lms.lessons (id, module_id, title, objectives, is_preview) values (tests.id(slug || '/1'), tests.id(slug || '/m'), lesson, objectives, preview);
  insert into lms.lesson_blocks (id, lesson_id, type, content) values (tests.id(slug || '/1/1'), tests.id(slug || '/1'), 'markdown', jsonb_build_object('markdown', body));
  perform private.freeze_course(tests.id(slug));
  return tests.id(slug);
end
$$;

-- What somebody finds, in order: slugs of courses, with /1 for their lessons. Read in pages of `page`.
create function tests.find(name text, query text, filters text default '', page integer default 100) returns text[] language plpgsql as $$
declare
  v_found text[] := '{}';
  v_page lms.search_page;
  v_cursor text;
begin
  perform tests.be(name);
  loop
    execute format('select * from lms.search(p_query => $1, p_limit => $2, p_cursor => $3 %s)', case when filters <> '' then ',' || filters end) into v_page using query, page, v_cursor;
    v_found := v_found || array(
      select r.course_slug || case r.kind when 'lesson' then '/1' else '' end from unnest(v_page.results) with ordinality r order by r.ordinality
    );
    v_cursor := v_page.next_cursor;
    exit when v_cursor is null;
  end loop;
  perform tests.as_owner();
  return v_found;
end
$$;
create function tests.first_of(name text, query text) returns lms.search_result language plpgsql as $$
declare
  v_page lms.search_page;
begin
  perform tests.be(name);
  v_page := lms.search(query);
  perform tests.as_owner();
  return v_page.results[1];
end
$$;
create function tests.suggested(name text, prefix text) returns text[] language plpgsql as $$
declare
  v_titles text[];
begin
  perform tests.be(name);
  v_titles := lms.suggest_searches(prefix);
  perform tests.as_owner();
  return v_titles;
end
$$;

-- =====================================================================================================
-- What is found, and in which order
-- =====================================================================================================

select
  tests.book('t', 'works', 'ines', 'Welding'), tests.book('g', 'works', 'ines', 'Something'), tests.book('d', 'works', 'ines', 'Anything', description => 'About welding. ' || repeat('words ', 50)),
  tests.book('b', 'works', 'ines', 'Nothing', body => repeat('welding welding steel ', 100), preview => true), tests.book('x', 'works', 'ines', 'Elsewhere', description => 'Brewing');
insert into lms.tags (id, tenant_id, slug, name) values (tests.id('#metal'), tests.id('works'), 'metal', 'Welds');
insert into lms.course_tags (course_id, tag_id) values (tests.id('g'), tests.id('#metal'));

select is(tests.find('anonymous', 'welding'), array['t', 'g', 'd', 'b/1'], 'titles come before tags, tags before descriptions, descriptions before content');
select is(tests.find('anonymous', 'welded'), array['t', 'g', 'd', 'b/1'], 'words are compared by their stems');
select is(tests.find('anonymous', 'welding -anything'), array['t', 'g', 'b/1'], '- leaves out');
select is(tests.find('anonymous', 'welding -steel'), array['t', 'g', 'd'], '- leaves out by content, too, where the caller reads it');
select is(tests.find('anonymous', '"welding steel"'), array['b/1'], 'quotes ask for a phrase');
select is(tests.find('anonymous', '"steel nothing"'), '{}', 'a phrase that is not there is not found');
select is(tests.find('anonymous', 'brewing or anything'), array['d', 'x'], 'or finds either');
select is(tests.find('anonymous', 'chapter steel'), array['b/1'], 'words may stand in different parts');
select is(tests.find('anonymous', 'wleding'), array['t'], 'typing errors are forgiven, in titles');
select is(tests.find('anonymous', 'weldign safety'), array['t'], 'and in one of several words');
select is(tests.find('anonymous', 'wleding -x'), '{}', 'not in queries with operators');
select tests.book('both', 'works', 'ines', 'Mortar and bricks'), tests.book('often', 'works', 'ines', 'Walls', body => repeat('mortar bricks ', 300), preview => true);
select is(tests.find('anonymous', 'mortar bricks'), array['both', 'often/1'], 'however often a text says what a title says');
select is(tests.find('anonymous', 'welding', page => 1), array['t', 'g', 'd', 'b/1'], 'pages follow each other without gap or repetition');
select is(tests.find('anonymous', 'welding', 'p_kind => ''course'''), array['t', 'g', 'd'], 'only courses');
select is(tests.find('anonymous', 'welding', 'p_kind => ''lesson'''), array['b/1'], 'only lessons');
select is(tests.find('anonymous', 'welding', format('p_tenant_id => %L', tests.id('works'))), array['t', 'g', 'd', 'b/1'], 'of one tenant');
select is(tests.find('anonymous', 'welding', format('p_tenant_id => %L', tests.id('press'))), '{}', 'of another one: none');
select is(tests.find('anonymous', 'welding', 'p_tag => ''metal'''), array['g'], 'of one tag');

insert into lms.categories (id, tenant_id, slug, name) values (tests.id('trades'), tests.id('works'), 'trades', 'Trades');
insert into lms.categories (id, tenant_id, parent_id, slug, name) values (tests.id('heat'), tests.id('works'), tests.id('trades'), 'heat', 'Heat');
insert into lms.course_categories (course_id, category_id) values (tests.id('t'), tests.id('heat')), (tests.id('b'), tests.id('trades')), (tests.id('t'), tests.id('trades'));
update lms.courses set difficulty = 'expert', language = 'en-GB' where id = tests.id('d');
select is(tests.find('anonymous', 'welding', format('p_category_id => %L', tests.id('trades'))), array['t', 'b/1'], 'of a category and all below it');
select is(tests.find('anonymous', 'welding', format('p_category_id => %L', tests.id('heat'))), array['t'], 'of the one below');
select is(tests.find('anonymous', 'welding', 'p_difficulty => ''expert'''), array['d'], 'of a difficulty');
select is(tests.find('anonymous', 'welding', 'p_language => ''en-GB'''), array['d'], 'of a language');

select tests.as_anonymous();
select is(
  (select row(f.total, f.difficulties::text, f.languages::text) from lms.get_search_facets('welding') f),
  row(4, '{"(,beginner,beginner,3)","(,expert,expert,1)"}'::text, '{"(,en,en,3)","(,en-GB,en-GB,1)"}'::text), 'facets count results'
);
select is(
  (select array_agg(c.key || ' ' || c.count order by c.key) from unnest((lms.get_search_facets('welding')).categories) c), array['heat 1', 'trades 2'],
  'a category counts what is in or below it, each once'
);
select is((select array_agg(c.key || ' ' || c.name || ' ' || c.count) from unnest((lms.get_search_facets('welding')).tags) c), array['metal Welds 1'], 'tags are counted');
select is((lms.get_search_facets('welding', p_tag => 'metal')).total, 1, 'facets take the filters of the search');
select is((lms.get_search_facets('wleding')).total, 1, 'and count what is found in spite of typing errors');
select tests.as_owner();

-- Languages
select
  tests.book('de', 'works', 'ines', 'Häuser bauen', language => 'de', description => 'Bauwerke'), tests.book('fr', 'works', 'ines', 'Les chevaux', language => 'fr'),
  tests.book('zz', 'works', 'ines', 'The houses', language => 'zu');
select is(tests.find('anonymous', 'haus'), array['de'], 'German is stemmed as German');
select is(tests.find('anonymous', 'chevaux'), array['fr'], 'French as French');
select is(tests.find('anonymous', 'house -x'), '{}', 'an unknown language is not stemmed');
select is(tests.find('anonymous', 'the -x'), array['zz'], 'nor has it stop words');
update lms.courses set language = 'en' where id = tests.id('zz');
select is(tests.find('anonymous', 'house -x'), array['zz'], 'until the course''s language is another one');
select is(tests.find('anonymous', 'english -x'), '{}', 'the name of a configuration is not a word');

-- =====================================================================================================
-- Highlights
-- =====================================================================================================

select tests.book('evil', 'works', 'ines', 'Tricks <script>alert(1)</script> & "pranks"', description => 'The <b onmouseover="x">pranks</b> of ' || chr(2) || 'monks' || chr(3) || ' <mark>unmarked</mark>');
select is((tests.first_of('anonymous', 'pranks')).title_html, 'Tricks &lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;<mark>pranks</mark>&quot;', 'titles are escaped and marked');
select is(
  regexp_replace((tests.first_of('anonymous', 'pranks')).excerpt_html, '</?mark>', '', 'g') ~ '[<>"'']', false, 'excerpts hold no tag but marks'
);
select ok((tests.first_of('anonymous', 'pranks')).excerpt_html like '%<mark>pranks</mark>%', 'and those around what was searched for');
select ok((tests.first_of('anonymous', 'monks')).excerpt_html not like '%<mark>unmarked%', 'and nowhere else');
select ok((tests.first_of('anonymous', 'steel')).excerpt_html like '%<mark>steel</mark>%', 'content is quoted where that is what matches');

-- =====================================================================================================
-- Who finds what
-- =====================================================================================================

select
  tests.book('open', 'works', 'ines', 'Zebra open', body => 'quokka'), tests.book('inside', 'works', 'ines', 'Zebra inside', 'restricted', body => 'quokka'),
  tests.book('secret', 'works', 'ines', 'Zebra secret', 'private', body => 'quokka'), tests.book('other', 'works', 'iva', 'Zebra other', 'private', body => 'quokka'),
  tests.book('shown', 'works', 'ines', 'Zebra shown', 'restricted', body => 'quokka', preview => true),
  tests.book('news', 'press', 'pia', 'Zebra news', body => 'quokka'), tests.book('memo', 'press', 'pia', 'Zebra memo', 'restricted', body => 'quokka'),
  tests.book('gone', 'works', 'ines', 'Zebra gone', body => 'quokka'), tests.book('old', 'works', 'ines', 'Zebra old', body => 'quokka'), tests.book('sketch', 'works', 'ines', 'Zebra sketch', body => 'quokka');
select tests.enrollment('lena', 'secret'), tests.enrollment('gus', 'secret'), tests.enrollment('sue', 'secret');
update lms.courses set deleted_at = now() where id = tests.id('gone');
update lms.courses set status = 'archived' where id = tests.id('old');
update lms.courses set status = 'draft' where id = tests.id('sketch');

create function tests.found(name text, query text) returns text language sql as $$
  select coalesce(string_agg(f, ' ' order by f), '') from unnest(tests.find(name, query)) f
$$;
select is(tests.found(name, 'zebra'), courses, name || ' finds what they see')
from (values
  ('anonymous', 'news open'), ('noah', 'news open'), ('sue', 'news open'), ('gus', 'news open secret'), ('lena', 'inside news open secret shown'), ('otto', 'inside news open shown'),
  ('ines', 'inside news open secret shown'), ('iva', 'inside news open other shown'), ('boss', 'inside news open other secret shown'), ('hanna', 'inside news open other secret shown'),
  ('petra', 'memo news open'), ('service', 'inside memo news open other secret shown')
) as c (name, courses);
select is(tests.found(name, 'quokka'), lessons, name || ' finds content that is open to them')
from (values
  ('anonymous', ''), ('noah', ''), ('sue', ''), ('gus', 'secret/1'), ('lena', 'secret/1 shown/1'), ('otto', 'shown/1'), ('ines', 'inside/1 open/1 secret/1 shown/1'), ('iva', 'other/1 shown/1'),
  ('boss', 'inside/1 open/1 other/1 secret/1 shown/1'), ('hanna', 'shown/1'), ('petra', 'memo/1 news/1'), ('service', 'inside/1 memo/1 news/1 open/1 other/1 secret/1 shown/1')
) as c (name, lessons);
select is(tests.suggested('noah', 'zebr'), array['Zebra news', 'Zebra open'], 'suggestions are titles that the caller sees');
select is(tests.suggested('noah', 'zerba'), tests.suggested('noah', 'zebra'), 'in spite of typing errors');
select is(tests.suggested('noah', 'gone'), '{}', 'a title that nobody sees is suggested to nobody');

update lms.enrollments set expires_at = now() - interval '1 hour', enrolled_at = now() - interval '1 day' where user_id = tests.id('lena');
select is(tests.found('lena', 'zebra secret -x'), '', 'an expired enrolment finds nothing');
update lms.enrollments set expires_at = null where user_id = tests.id('lena');

-- =====================================================================================================
-- Kept up to date
-- =====================================================================================================

update lms.courses set title = 'Giraffe' where id = tests.id('open');
select is(tests.found('noah', 'giraffe'), 'open', 'a new title is found');
select is(tests.found('noah', 'zebra -x'), 'news', 'an old one is not');
update lms.courses set visibility = 'private' where id = tests.id('open');
select is(tests.found('noah', 'giraffe'), '', 'a course that becomes private is no longer found');
update lms.courses set visibility = 'public' where id = tests.id('open');
update lms.courses set deleted_at = null where id = tests.id('gone');
select is(tests.found('noah', '"zebra gone"'), 'gone', 'a course that is restored is found again');
update lms.courses set status = 'published' where id = tests.id('sketch');
select is(tests.found('ines', 'sketch or quokka'), 'gone/1 inside/1 open/1 secret/1 shown/1 sketch sketch/1', 'a course that is published again is, with its content');
update lms.tags set name = 'Forges' where id = tests.id('#metal');
select is(tests.found('noah', 'forge'), 'g', 'a tag is found by its new name');
select is(tests.found('noah', 'weld something -x'), '', 'not by the old one');
delete from lms.tags where id = tests.id('#metal');
select is(tests.found('noah', 'forge -x'), '', 'nor when it is gone');

update lms.lessons set title = 'Okapi' where id = tests.id('secret/1');
insert into lms.lesson_blocks (lesson_id, type, content) values (tests.id('secret/1'), 'rich_text', '{"html": "<p class=\"tapir\">Fish &amp; lemur</p>"}');
select is(tests.found('lena', 'okapi'), '', 'a draft is not found before it is published');
select tests.republish('secret');
select is(tests.found('lena', 'okapi'), 'secret/1', 'then it is');
select is(tests.found('ines', 'lemur'), 'secret/1', 'content is found, by those who read it');
select is(tests.found('ines', 'tapir'), '', 'what only its markup says is not');
select is(tests.found('lena', 'lemur -x'), '', 'who takes an older version does not find content of the newer one');
select is(tests.found('lena', 'quokka'), 'shown/1', 'nor the lesson by content that has changed since');
insert into lms.lessons (id, module_id, title) values (tests.id('secret/2'), tests.id('secret/m'), 'Ibis');
select tests.as('ines'); select lms.migrate_enrollments(tests.id('secret'), 'move'); select tests.as_owner();
select tests.republish('secret');
select is(tests.found('lena', 'lemur'), 'secret/1', 'who takes an older version finds content that is the same in both');
update lms.lessons set is_published = false where id = tests.id('secret/2');
select is(tests.found('lena', 'ibis'), '', 'a lesson that is taken off is not found');
update lms.lessons set is_published = true where id = tests.id('secret/2');
select is(tests.found('lena', 'ibis'), 'secret/1', 'until it is back');
update lms.lessons set deleted_at = now() where id = tests.id('secret/2');
select is(tests.found('boss', 'ibis'), '', 'nor one that is deleted');
update lms.lessons set release_on = current_date + 10 where id = tests.id('inside/1');
select tests.republish('inside'), tests.enrollment('otto', 'inside');
select is(tests.found('otto', 'quokka'), 'shown/1', 'content that is not released yet is not found by it');

-- INV-O4
update private.search_documents set title = 'Wrong', title_words = 'wrong', public_words = 'wrong' where id = tests.id('news');
delete from private.search_documents where id = tests.id('open/1');
alter table lms.courses disable trigger _700_search;
alter table lms.lessons disable trigger _700_search;
update lms.courses set status = 'archived' where id = tests.id('sketch');
update lms.courses set deleted_at = now() where id = tests.id('gone');
update lms.lessons set is_published = false where id = tests.id('shown/1');
alter table lms.courses enable trigger _700_search;
alter table lms.lessons enable trigger _700_search;
select is(tests.found(name, 'sketch or gone or "zebra shown" or quokka'), found, 'documents that are out of date show ' || name || ' nothing that they do not see')
from (values ('noah', ''), ('otto', 'shown'), ('boss', 'inside/1 other/1 secret/1 shown'), ('service', 'inside/1 memo/1 news/1 other/1 secret/1 shown')) as c (name, found);
select is(ops.repair_search(), 7, 'the repair finds what is wrong');
select is(ops.repair_search(), 0, 'and puts it right');
select is(tests.found('noah', '"zebra news"'), 'news', 'so that it is found');
delete from private.search_documents;
select cmp_ok(ops.rebuild_search(), '>', 20, 'all of it can be made anew');
select is(ops.rebuild_search(), 0, 'exactly as the triggers keep it');
update private.indexed_courses set checked_at = checked_at - interval '1 day' where course_id = tests.id('t');
select ops.repair_search(1);
select is((select count(*) from private.indexed_courses where checked_at < now() - interval '1 hour'), 0::bigint, 'what was not checked for longest is repaired first');
delete from lms.course_tags; delete from lms.course_categories;

-- A text of more words than an index entry holds does not keep a lesson from being published.
insert into lms.lesson_blocks (lesson_id, type, content)
select tests.id('t/1'), 'markdown', jsonb_build_object('markdown', (select string_agg(md5(b || '-' || n), ' ') from generate_series(1, 14000) n)) from generate_series(1, 3) b;
select lives_ok($$ select tests.republish('t') $$, 'very long lessons are published');
select is(tests.found('boss', md5('1-1')), 't/1', 'and found by what they begin with');

-- =====================================================================================================
-- Bad input
-- =====================================================================================================

select tests.as_anonymous();
select is(tests.error_of(format('select lms.search(%L)', query)), expected, 'refused: ' || left(query, 20))
from (values ('', '422 query_required'), ('  ' || chr(10), '422 query_required'), (repeat('a', 10000), '422 query_too_long'), (repeat('- ', 5000), '422 query_too_long')) as c (query, expected);
select is(tests.error_of('select lms.search(null)'), '422 query_required', 'refused: null');
select is(tests.error_of(format('select lms.get_search_facets(%L)', '')), '422 query_required', 'facets refuse the same');
select is(tests.error_of(format('select lms.suggest_searches(%L)', repeat('a', 301))), '422 query_too_long', 'suggestions refuse what is too long');
select is(tests.error_of('select lms.search(''a'', ' || arguments || ')'), expected, 'refused: ' || arguments)
from (values
  ('p_limit => 0', '422 invalid_limit'), ('p_limit => 101', '422 invalid_limit'), ('p_limit => null', '422 invalid_limit'), ('p_kind => ''x''', '422 invalid_kind'), ('p_difficulty => ''x''', '422 invalid_difficulty'),
  ('p_cursor => ''x''', '422 invalid_cursor'), ('p_cursor => ''''', '422 invalid_cursor'), ('p_cursor => ''ff''', '422 invalid_cursor'), ('p_cursor => ''3120''', '422 invalid_cursor'), ('p_cursor => ''00''', '422 invalid_cursor')
) as c (arguments, expected);
select is(cardinality((lms.search(query)).results), 0, 'finds nothing: ' || query)
from unnest(array['-zebra', '"', '""', '-', '- -', 'or', '&', '|', '!', '!!', '( )', ':*', '<->', '%', '%%%', '''', '''''', '\', '\\', '_', '*', E'\t"\t', chr(1), '-"zebra"', '-a or -b', '😀']) query;
select is(tests.error_of(format('select lms.search(%L)', query)), 'none', 'harmless: ' || left(query, 20))
from unnest(array['zebra'' or ''1''=''1', '"zebra', 'zebra:*A & | !', repeat('zebra or ', 33), repeat('-a ', 100), repeat('"', 300), repeat('a b" ', 60), '<script>', ' english', E'''\\''', 'ŻÓŁW', repeat('é', 300)]) query;
select is(tests.error_of(format('select lms.suggest_searches(%L)', prefix)), 'none', 'harmless: ' || coalesce(prefix, 'null')) from unnest(array['', '%', '_', '''', null, ' ', '\']) prefix;
select is(lms.suggest_searches(''), '{}', 'nothing typed, nothing suggested');
select tests.as_owner();

-- =====================================================================================================
-- INV-O5: everybody finds exactly what a walk through REST would find for them
-- =====================================================================================================

create function tests.words(seed text, n integer) returns text language sql immutable as $$
  select string_agg((array['amber', 'birch', 'cedar', 'dune', 'ember', 'fjord', 'grove', 'heath', 'inlet', 'jetty', 'kelp', 'lagoon'])[1 + abs(hashtext(seed || i)) % 12], ' ') from generate_series(1, n) i
$$;
select tests.book(
  'r' || n, case when n % 4 = 0 then 'press' else 'works' end, case when n % 4 = 0 then 'pia' when n % 4 = 1 then 'iva' else 'ines' end, tests.words('t' || n, 2),
  (array['public', 'restricted', 'private'])[1 + n % 3], tests.words('d' || n, 3), tests.words('l' || n, 2), array[tests.words('o' || n, 2)], tests.words('b' || n, 5),
  (array['en', 'de', 'xx'])[1 + n % 5 % 3], n % 7 = 0
) from generate_series(1, 48) n;
select tests.enrollment(name, 'r' || n) from generate_series(1, 48) n, unnest(array['lena', 'otto', 'gus']) name where n % 4 <> 0 and hashtext(name || n) % 3 = 0;
-- Newer versions, some of them different where somebody takes an older one.
update lms.lesson_blocks set content = jsonb_build_object('markdown', tests.words('new' || course_id, 5)) where course_id in (select tests.id('r' || n) from generate_series(1, 48) n where n % 5 = 0);
update lms.courses set description = tests.words('e' || id, 3) where id in (select tests.id('r' || n) from generate_series(1, 48) n where n % 3 = 1);
select tests.republish('r' || n) from generate_series(1, 48) n where n % 5 = 0 or n % 3 = 1;
update lms.courses set status = 'archived' where id in (tests.id('r6'), tests.id('r13'));
update lms.courses set deleted_at = now() where id in (tests.id('r9'), tests.id('r22'));
update lms.lessons set is_published = false where id in (tests.id('r3/1'), tests.id('r15/1'), tests.id('r18/1'));
update lms.lessons set deleted_at = now() where id in (tests.id('r21/1'), tests.id('r27/1'));
insert into lms.tags (id, tenant_id, slug, name) select tests.id('#' || w), tests.id('works'), w, w from unnest(array['amber', 'kelp']) w;
insert into lms.course_tags (course_id, tag_id) select tests.id('r' || n), tests.id('#' || w) from generate_series(1, 48) n, unnest(array['amber', 'kelp']) w where n % 4 <> 0 and hashtext(w || n) % 4 = 0;

-- The texts, without the question who may read them; and who finds them, asked of the policies.
create table tests.texts as
select c.id, c.id as course_id, null::uuid as lesson_id, null::uuid as version_id, c.title::text as title, private.search_config(c.language) as config, c.difficulty,
  to_tsvector(private.search_config(c.language), c.title) || to_tsvector(private.search_config(c.language), coalesce((
    select string_agg(g.name, ' ' order by g.name) from lms.course_tags t join lms.tags g on g.id = t.tag_id where t.course_id = c.id
  ), '')) || to_tsvector(private.search_config(c.language), c.description) as shown, null::tsvector as complete, null::uuid[] as revisions
from lms.courses c
union all
select l.lesson_id, c.id, l.lesson_id, v.id, l.title, private.search_config(c.language), c.difficulty,
  to_tsvector(private.search_config(c.language), l.title) || to_tsvector(private.search_config(c.language), l.description || ' ' || array_to_string(l.objectives, ' ')),
  to_tsvector(private.search_config(c.language), l.title) || to_tsvector(private.search_config(c.language), l.description || ' ' || array_to_string(l.objectives, ' '))
    || to_tsvector(private.search_config(c.language), coalesce((
      select left(string_agg(coalesce(r.content ->> 'markdown', r.content ->> 'html'), ' ' order by b.order_index), 1000) from lms.version_blocks b join lms.block_revisions r on r.id = b.revision_id where b.version_id = v.id and b.lesson_id = l.lesson_id
    ), '')),
  array(select b.revision_id from lms.version_blocks b where b.version_id = v.id and b.lesson_id = l.lesson_id order by b.order_index)
from lms.courses c, private.latest_version(c.id) v join lms.version_lessons l on l.version_id = v.id;
grant select on tests.texts to public;

create table tests.personas as select p from unnest(array['anonymous', 'noah', 'sue', 'gus', 'lena', 'otto', 'ines', 'iva', 'boss', 'hanna', 'petra', 'pia']) p;
create table tests.seen (p text, id uuid, is_readable boolean);
create function tests.look_around(name text) returns void language plpgsql as $$
declare
  v_seen tests.seen[];
begin
  perform tests.be(name);
  v_seen := array(
    select (name, t.id, t.lesson_id is not null and (
      exists (select from lms.version_blocks b where b.version_id = t.version_id and b.lesson_id = t.lesson_id)
      or t.revisions in (select array_agg(b.revision_id order by b.order_index) from lms.version_blocks b where b.lesson_id = t.lesson_id group by b.version_id)
    ))::tests.seen
    from tests.texts t
    where exists (select from lms.courses c where c.id = t.course_id and c.status = 'published')
      and (t.lesson_id is null or exists (select from lms.lessons l where l.id = t.lesson_id and l.is_published and l.published_at is not null))
  );
  perform tests.as_owner();
  insert into tests.seen select * from unnest(v_seen);
end
$$;
select tests.look_around(p) from tests.personas;

create function tests.naive(name text, query text) returns text[] language sql as $$
  with judged as (
    select t.id, t.title, querytree(websearch_to_tsquery(t.config, query)) not in ('', 'T')
      and case when s.is_readable then t.complete else t.shown end @@ websearch_to_tsquery(t.config, query) as matches
    from tests.seen s
    join tests.texts t on t.id = s.id
    where s.p = name
  )
  select array(
    select j.id::text
    from judged j
    where j.matches or (
      not exists (select from judged where matches) and query !~ '"|-' and query !~ ' or ' and word_similarity(query, j.title) >= 0.3
    )
    order by 1
  )
$$;
create function tests.found_ids(name text, query text) returns text[] language plpgsql as $$
declare
  v_page lms.search_page;
  v_found text[] := '{}';
begin
  perform tests.be(name);
  loop
    v_page := lms.search(query, p_limit => 7, p_cursor => v_page.next_cursor);
    v_found := v_found || array(select coalesce(r.lesson_id, r.course_id)::text from unnest(v_page.results) r);
    exit when v_page.next_cursor is null;
  end loop;
  perform tests.as_owner();
  return array(select f from unnest(v_found) f order by 1);
end
$$;
create function tests.facet_counts(name text, query text) returns integer[] language plpgsql as $$
declare
  v_counts integer[];
begin
  perform tests.be(name);
  select array[f.total, (select coalesce(sum(d.count), 0) from unnest(f.difficulties) d), (select coalesce(sum(d.count), 0) from unnest(f.languages) d)] into v_counts from lms.get_search_facets(query) f;
  perform tests.as_owner();
  return v_counts;
end
$$;

create table tests.queries as
select q from unnest(array['amber', 'birch cedar', 'dune or ember', 'fjord -grove', '"heath inlet"', 'jetty kelp or lagoon', 'the amber', 'embers', 'ambre', 'lagon', 'zebra', 'quokka', 'lemur', 'welding -steel', 'mebar hheat']) q
union all select tests.words('q' || n, 1 + n % 3) from generate_series(1, 15) n;
grant select on tests.queries to public;

create table tests.compared as
select p, q, tests.found_ids(p, q) as found, tests.naive(p, q) as shown, tests.facet_counts(p, q) as counted from tests.personas, tests.queries;
select is_empty('select p, q, found, shown from tests.compared where found <> shown', 'for every query everybody finds exactly what REST shows them, in pages');
select is_empty(
  'select p, q, counted, shown from tests.compared where counted <> array_fill(cardinality(shown), array[3])', 'and facets count exactly that'
);
select cmp_ok((select count(distinct shown) from tests.compared where q = 'dune or ember'), '>', 6::bigint, 'personas differ in what they find');
select cmp_ok((select count(*) from tests.compared where cardinality(shown) between 1 and 30), '>', 200::bigint, 'and queries in what they ask for');

-- What the documents say about who may see them is a sieve for the index and nothing that is relied on.
create table tests.kept as select id, access from private.search_documents;
update private.search_documents set access = access || array['p', 'op'];
select is_empty(
  $$ select p, q, f, shown from (select p, q, tests.found_ids(p, q) as f, shown from tests.compared where q in ('dune or ember', 'amber', 'zebra', 'quokka', 'mebar hheat')) c where f <> shown $$,
  'documents that claim to be everybody''s show nobody more'
);
update private.search_documents d set access = k.access from tests.kept k where k.id = d.id;

-- Whatever is added that somebody does not see, nothing changes for them.
create function tests.answers(name text) returns text language plpgsql as $$
declare
  v_answers text;
begin
  perform tests.be(name);
  select string_agg(q || lms.search(q)::text || lms.get_search_facets(q)::text || lms.suggest_searches(q)::text, E'\n' order by q) into v_answers from tests.queries;
  perform tests.as_owner();
  return md5(v_answers);
end
$$;
create table tests.before as select p, tests.answers(p) as answers from tests.personas;
select tests.book('h' || n, 'press', 'pia', tests.words('h' || n, 2), 'private', tests.words('hd' || n, 5), tests.words('hl' || n, 2), array[tests.words('ho' || n, 2)], tests.words('hb' || n, 9), preview => true) from generate_series(1, 30) n;
update lms.courses set visibility = 'public', status = 'draft' where id in (select tests.id('h' || n) from generate_series(10, 14) n);
update lms.courses set visibility = 'public', deleted_at = now() where id in (select tests.id('h' || n) from generate_series(15, 19) n);
update lms.courses set visibility = 'restricted' where id in (select tests.id('h' || n) from generate_series(20, 30) n);
insert into lms.tags (id, tenant_id, slug, name) values (tests.id('#h'), tests.id('press'), 'h', 'amber');
insert into lms.course_tags (course_id, tag_id) select tests.id('h' || n), tests.id('#h') from generate_series(1, 30) n;
select set_eq(
  $$ select b.p from tests.before b where tests.answers(b.p) <> b.answers $$, array['petra', 'pia'],
  'what is hidden changes no result, rank, order, facet or suggestion of anybody who does not see it'
);

-- =====================================================================================================
-- The rules that are repeated here
-- =====================================================================================================

select is(
  (select array_agg(md5(regexp_replace(pg_get_expr(p.polqual, p.polrelid), '\s+', ' ', 'g')) order by p.polname) from pg_policy p
   where p.polrelid in ('lms.courses'::regclass, 'lms.lessons'::regclass) and p.polcmd = 'r'),
  array['cfbb1fe00ad7fba72ebc457a0e10bf3a', 'd2afb5a59fbdb1b58f70b582f0ff1edf', '9dd3d27dddd407b45defa55510307983', '6e6e74fae92eb7eee58f75bbc816ac72'],
  'the policies of courses and lessons are those that private.visible_documents repeats: whoever changes them changes it, and then this'
);

-- =====================================================================================================
-- Plans
-- =====================================================================================================

insert into lms.courses (tenant_id, slug, title, visibility, status, published_at, instructor_id, description)
select tests.id('works'), 'bulk-' || n, 'Quarry ' || n || ' ' || md5(n::text), case when n % 2 = 0 then 'public' else 'private' end, 'published', now() - n * interval '1 minute', tests.id('ines'), 'Limestone'
from generate_series(1, 6000) n;
analyze private.search_documents, lms.courses;
-- Scans of this transaction: of the table from end to end, of the index of words.
create function tests.scans() returns bigint[] language sql as $$
  select array[pg_stat_get_xact_numscans('private.search_documents'::regclass), pg_stat_get_xact_numscans('private.search_documents_by_words'::regclass)]
$$;
create function tests.scans_of(name text, statement text) returns bigint[] language plpgsql as $$
declare
  v_before constant bigint[] := tests.scans();
  v_after bigint[];
begin
  perform tests.be(name);
  execute statement;
  perform tests.as_owner();
  v_after := tests.scans();
  return array[v_after[1] - v_before[1], v_after[2] - v_before[2]];
end
$$;
select is(tests.scans_of('lena', 'select lms.search(''limestone'')'), array[0, 2]::bigint[], 'words that many documents hold are looked up in the index, public and other ones');
select is(tests.scans_of('lena', format('select lms.search(%L)', md5('7'))), array[0, 3]::bigint[], 'so are rare ones, and titles like them');
select is(tests.scans_of('lena', 'select lms.search(''qaurry'')'), array[0, 3]::bigint[], 'and typing errors');
select is(tests.scans_of('lena', 'select lms.suggest_searches(''quarr'')'), array[0, 1]::bigint[], 'and suggestions');
select is(tests.scans_of('lena', 'select lms.get_search_facets(''limestone'')'), array[0, 2]::bigint[], 'and facets');

select tests.as('boss');
select is((lms.search('limestone')).is_partial, true, 'a word of more documents than are ranked says so');
select tests.as('otto');
select is((lms.search('limestone')).is_partial, false, 'what one does not see does not count towards it');
select is((lms.get_search_facets('limestone')).total, 3000, 'facets count all');
select is((lms.search('limestone', p_limit => 1)).results[1].course_slug is not null, true, 'and there are results');
select tests.as('boss');
select is((lms.get_search_facets('limestone')).total, 6000, 'also beyond what is ranked');
select tests.as_owner();

select * from finish();
rollback;
