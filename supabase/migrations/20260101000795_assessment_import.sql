-- Assessments as one document, in and out: what authors write elsewhere, and what goes to another course.
-- docs/question-banks.md describes it. An import makes the named assessments of a course what the document says, all of them
-- or nothing; others stay. What is as the document says is not written at all; what it leaves out of a named assessment is
-- marked as deleted, with its history.
-- Undo: drop functions lms.import_assessments, lms.export_assessments; drop type lms.assessment_import_report; then the
-- functions and the type private.imported_assessment below.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- The document
-- =====================================================================================================

-- Every object of the document with what it is and where it stands; below says in which assessment, from 0.
create function private.bank_parts(p_document jsonb)
returns table (level text, path text, below integer, place integer, doc jsonb)
language sql
immutable
set search_path = ''
as $$
  with assessments as (
    select (a.place - 1)::integer as place, a.doc
    from jsonb_array_elements(private.json_list(p_document -> 'assessments')) with ordinality as a (doc, place)
  )
  select 'document', '', null::integer, 0, p_document
  union all
  select 'assessment', format('assessments[%s]', a.place), a.place, a.place, a.doc from assessments a
  union all
  select 'section', format('assessments[%s].sections[%s]', a.place, s.place - 1), a.place, (s.place - 1)::integer, s.doc
  from assessments a
  cross join jsonb_array_elements(private.json_list(a.doc -> 'sections')) with ordinality as s (doc, place)
  union all
  select 'question', format('assessments[%s].questions[%s]', a.place, q.place - 1), a.place, (q.place - 1)::integer, q.doc
  from assessments a
  cross join jsonb_array_elements(private.json_list(a.doc -> 'questions')) with ordinality as q (doc, place)
$$;

-- Which fields there are, of which kind, and what their values are like: the columns' own constraints once more, because a
-- constraint stops at the first row and says no place. A field that is null is not there.
create function private.bank_fields()
returns table (level text, field text, kind text, is_needed boolean, longest integer, pattern text, lowest numeric, highest numeric)
language sql
immutable
set search_path = ''
as $$
  values
    ('document', 'format', 'string', true, 100, '^lyceum-assessments-1$', null::numeric, null::numeric),
    ('document', 'assessments', 'array', true, null, null, null, null),
    ('assessment', 'key', 'string', true, 100, '^[a-z0-9]+(-[a-z0-9]+)*$', null, null),
    ('assessment', 'lesson', 'string', false, null, null, null, null),
    ('assessment', 'kind', 'string', false, null, '^(quiz|exam|assignment|survey)$', null, null),
    ('assessment', 'title', 'string', true, 300, '^[^\x01-\x1f]*[^\s\x01-\x1f][^\x01-\x1f]*$', null, null),
    ('assessment', 'instructions', 'string', false, 20000, null, null, null),
    ('assessment', 'is_published', 'boolean', false, null, null, null, null),
    ('assessment', 'is_mandatory', 'boolean', false, null, null, null, null),
    ('assessment', 'weight', 'number', false, null, '^[0-9]+([.][0-9]{1,6})?$', 0, 1000000),
    ('assessment', 'passing_percentage', 'number', false, null, '^[0-9]+([.][0-9]{1,2})?$', 0, 100),
    ('assessment', 'max_attempts', 'integer', false, null, null, 1, 1000),
    ('assessment', 'cooldown_minutes', 'integer', false, null, null, 0, 525600),
    ('assessment', 'time_limit_minutes', 'integer', false, null, null, 1, 44640),
    ('assessment', 'opens_at', 'moment', false, null, null, null, null),
    ('assessment', 'closes_at', 'moment', false, null, null, null, null),
    ('assessment', 'shuffle_questions', 'boolean', false, null, null, null, null),
    ('assessment', 'shuffle_options', 'boolean', false, null, null, null, null),
    ('assessment', 'grading_method', 'string', false, null, '^(best|latest|average)$', null, null),
    ('assessment', 'answers_shown', 'string', false, null, '^(never|after_submit|after_pass|after_close)$', null, null),
    ('assessment', 'holds_grades', 'boolean', false, null, null, null, null),
    ('assessment', 'ai_generated', 'boolean', false, null, null, null, null),
    ('assessment', 'sources', 'array', false, 20000, null, null, null),
    ('assessment', 'sections', 'array', false, null, null, null, null),
    ('assessment', 'questions', 'array', false, null, null, null, null),
    ('section', 'key', 'string', true, 200, '^[A-Za-z0-9][A-Za-z0-9._:/-]*$', null, null),
    ('section', 'title', 'string', true, 300, '^[^\x01-\x1f]*[^\s\x01-\x1f][^\x01-\x1f]*$', null, null),
    ('section', 'draw_count', 'integer', false, null, null, 1, 999999999),
    ('question', 'question_key', 'string', true, 200, '^[A-Za-z0-9][A-Za-z0-9._:/-]*$', null, null),
    ('question', 'section', 'string', false, null, null, null, null),
    ('question', 'type', 'string', true, null, null, null, null),
    ('question', 'prompt', 'string', true, 20000, '\S', null, null),
    ('question', 'content', 'object', false, 100000, null, null, null),
    ('question', 'points', 'number', false, null, '^[0-9]+([.][0-9]{1,2})?$', 0.01, 999999.99),
    ('question', 'scoring', 'string', false, null, null, null, null),
    ('question', 'skills', 'strings', false, null, null, null, null),
    ('question', 'answer', 'object', false, 100000, null, null, null),
    ('question', 'explanation', 'string', false, 20000, null, null, null)
$$;

-- An instant as JSON holds it, with its distance from UTC: what it means must not depend on who reads it.
create function private.read_moment(p_text text)
returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
begin
  if p_text ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})$' then
    return p_text::timestamptz;
  end if;
  return null;
exception
  when datetime_field_overflow or invalid_datetime_format or invalid_time_zone_displacement_value then
    return null;
end
$$;

create function private.is_bank_value(p_kind text, p_value jsonb)
returns boolean
language sql
stable
set search_path = ''
as $$
  select case p_kind
    when 'moment' then jsonb_typeof(p_value) = 'string' and private.read_moment(p_value #>> '{}') is not null
    else private.is_document_value(p_kind, p_value)
  end
$$;

-- All that is wrong with a document, by itself and in this course. Definer's eyes: its caller has been checked.
create function private.find_bank_faults(p_course lms.courses, p_document jsonb)
returns table (path text, code text, message text)
language plpgsql
stable
set search_path = ''
as $$
begin
  return query
  select p.path, 'not_an_object', 'This is an object.'
  from private.bank_parts(p_document) p
  where jsonb_typeof(p.doc) is distinct from 'object';

  return query
  with parts as materialized (
    select p.* from private.bank_parts(p_document) p where jsonb_typeof(p.doc) = 'object'
  ), found as materialized (
    select
      concat_ws('.', nullif(p.path, ''), f.field) as path, f.*, p.doc -> f.field as value,
      coalesce(p.doc -> f.field, 'null') <> 'null' as is_there,
      private.is_bank_value(f.kind, p.doc -> f.field) as is_fine
    from parts p
    join private.bank_fields() f on f.level = p.level
  )
  select concat_ws('.', nullif(p.path, ''), k.field), 'unknown_field', format('This part has no field %s.', k.field)
  from parts p
  cross join jsonb_object_keys(p.doc) as k (field)
  where not exists (select from private.bank_fields() f where f.level = p.level and f.field = k.field)
  union all
  select f.path, 'missing_field', 'This must be there.' from found f where f.is_needed and not f.is_there
  union all
  select
    f.path, 'wrong_kind',
    case f.kind
      when 'strings' then 'This is a list of texts.'
      when 'moment' then 'This is an instant such as 2026-03-01T08:00:00Z.'
      else format('This is a %s.', f.kind)
    end
  from found f
  where f.is_there and not f.is_fine
  union all
  select f.path, 'too_long', format('This has at most %s characters.', f.longest)
  from found f
  where f.is_there and f.is_fine and length(case f.kind when 'string' then f.value #>> '{}' else f.value::text end) > f.longest
  union all
  select f.path, 'invalid_value', 'This is not a value that the field takes.'
  from found f
  where f.is_there and f.is_fine and (
    (f.value #>> '{}') !~ f.pattern
    or (f.lowest is not null and (f.value #>> '{}')::numeric not between f.lowest and f.highest)
  );

  -- Nothing below is worth saying of parts that cannot be read.
  return query
  select p.path || '.' || p.name, 'duplicate_key', format('%s is the key of an earlier part.', p.key)
  from (
    select
      d.path, k.name, d.doc ->> k.name as key,
      row_number() over (
        partition by d.level, case d.level when 'section' then d.below end, d.doc ->> k.name order by d.below, d.place
      ) as nth
    from private.bank_parts(p_document) d
    cross join lateral (select case d.level when 'question' then 'question_key' else 'key' end as name) k
    where d.level <> 'document' and jsonb_typeof(d.doc -> k.name) = 'string'
  ) p
  where p.nth > 1;

  return query
  with parts as materialized (
    select p.* from private.bank_parts(p_document) p where p.level in ('section', 'question')
  )
  select q.path || '.section', 'unknown_section', format('The assessment has no section %s.', q.doc ->> 'section')
  from parts q
  where q.level = 'question' and jsonb_typeof(q.doc -> 'section') = 'string' and not exists (
    select from parts s where s.level = 'section' and s.below = q.below and s.doc ->> 'key' = q.doc ->> 'section'
  );

  return query
  select a.path || '.lesson', 'unknown_lesson', format('The course has no lesson %s.', a.doc ->> 'lesson')
  from private.bank_parts(p_document) a
  where a.level = 'assessment' and jsonb_typeof(a.doc -> 'lesson') = 'string' and not exists (
    select
    from lms.lessons l
    join lms.modules m on m.id = l.module_id and m.deleted_at is null
    where l.course_id = p_course.id and l.key = a.doc ->> 'lesson' and l.deleted_at is null
  );

  return query
  select a.path || '.closes_at', 'closes_before_it_opens', 'The assessment closes after it opens.'
  from private.bank_parts(p_document) a
  where a.level = 'assessment' and private.read_moment(a.doc ->> 'opens_at') >= private.read_moment(a.doc ->> 'closes_at');

  return query
  select distinct on (q.path, n.key) q.path || '.skills', 'unknown_skill', format('The organisation has no skill %s.', n.key)
  from private.bank_parts(p_document) q
  cross join jsonb_array_elements_text(
    case when private.is_document_value('strings', q.doc -> 'skills') then q.doc -> 'skills' else '[]' end
  ) as n (key)
  where q.level = 'question'
    and not exists (select from lms.skills s where s.tenant_id = p_course.tenant_id and s.key = n.key);

  -- A question's answers and events belong to where it was asked.
  return query
  select
    q.path || '.question_key', 'question_of_another_assessment',
    format('%s is a question of the assessment %s.', o.question_key, h.key)
  from private.bank_parts(p_document) q
  join private.bank_parts(p_document) a on a.level = 'assessment' and a.below = q.below
  join lms.questions o on o.course_id = p_course.id and o.question_key = q.doc ->> 'question_key'
  join lms.assessments h on h.id = o.assessment_id
  where q.level = 'question' and h.key is distinct from a.doc ->> 'key';

  -- What is larger than a column takes has been said, and is not opened.
  return query
  with questions as materialized (
    select
      q.path, q.doc ->> 'type' as type, coalesce(q.doc ->> 'scoring', 'all_or_nothing') as scoring,
      coalesce(nullif(q.doc -> 'content', 'null'), '{}') as content, nullif(q.doc -> 'answer', 'null') as answer
    from private.bank_parts(p_document) q
    where q.level = 'question' and jsonb_typeof(q.doc -> 'type') = 'string'
  )
  select q.path || '.content', f.code, format('This is no content of a question of type %s.', q.type)
  from questions q
  cross join private.question_faults(q.type, q.content, q.scoring) as f (code)
  where jsonb_typeof(q.content) = 'object' and length(q.content::text) <= 100000
  union all
  select q.path || '.answer', f.code, format('This is no key to this question of type %s.', q.type)
  from questions q
  cross join private.key_faults(q.type, q.content, q.answer) as f (code)
  where jsonb_typeof(q.answer) = 'object' and jsonb_typeof(q.content) = 'object' and length(q.answer::text) <= 100000
    and f.code <> 'unknown_type';

  return query
  select q.path || '.explanation', 'explanation_without_answer', 'An explanation comes with an answer; {} where graders decide.'
  from private.bank_parts(p_document) q
  where q.level = 'question' and coalesce(q.doc -> 'explanation', 'null') not in ('null', '""')
    and coalesce(q.doc -> 'answer', 'null') = 'null';
end
$$;

-- =====================================================================================================
-- Import
-- =====================================================================================================

create type private.imported_assessment as (
  below integer, id uuid, key text, lesson_id uuid, order_index integer, kind text, title text, instructions text,
  is_published boolean, is_mandatory boolean, weight numeric, passing_percentage numeric, max_attempts integer,
  cooldown_minutes integer, time_limit_minutes integer, opens_at timestamptz, closes_at timestamptz,
  shuffle_questions boolean, shuffle_options boolean, grading_method text, answers_shown text, holds_grades boolean,
  ai_generated boolean, sources jsonb
);

-- What the document says of assessments, with the rows that they are and the places that they get. Assessments that the
-- document does not name keep their places: those that it names share the places that they have, in the document's order, and
-- what is new goes last.
create function private.bank_assessments(p_course_id uuid, p_document jsonb)
returns setof private.imported_assessment
language sql
stable
set search_path = ''
as $$
  with named as (
    select
      p.below, p.doc, a.id, l.id as lesson_id, coalesce(l.id, p_course_id) as parent_id, a.order_index,
      a.id is not null and a.deleted_at is null and a.lesson_id is not distinct from l.id as stays
    from private.bank_parts(p_document) p
    left join lms.lessons l on l.course_id = p_course_id and l.key = p.doc ->> 'lesson'
    left join lms.assessments a on a.course_id = p_course_id and a.key = p.doc ->> 'key'
    where p.level = 'assessment'
  ), places as (
    select s.parent_id, s.place, row_number() over (partition by s.parent_id order by s.place) as nth
    from (
      select n.parent_id, n.order_index::bigint as place from named n where n.stays
      union all
      select
        n.parent_id,
        coalesce((
          select max(o.order_index)
          from lms.assessments o
          where o.course_id = p_course_id and coalesce(o.lesson_id, o.course_id) = n.parent_id and o.deleted_at is null
        ), -1) + row_number() over (partition by n.parent_id order by n.below)
      from named n
      where not n.stays
    ) s
  )
  select
    n.below, n.id, n.doc ->> 'key', n.lesson_id, s.place::integer, coalesce(n.doc ->> 'kind', 'quiz'), n.doc ->> 'title',
    coalesce(n.doc ->> 'instructions', ''), coalesce((n.doc ->> 'is_published')::boolean, true),
    coalesce((n.doc ->> 'is_mandatory')::boolean, true), coalesce((n.doc ->> 'weight')::numeric, 1),
    (n.doc ->> 'passing_percentage')::numeric, (n.doc ->> 'max_attempts')::integer,
    coalesce((n.doc ->> 'cooldown_minutes')::integer, 0), (n.doc ->> 'time_limit_minutes')::integer,
    (n.doc ->> 'opens_at')::timestamptz, (n.doc ->> 'closes_at')::timestamptz,
    coalesce((n.doc ->> 'shuffle_questions')::boolean, false), coalesce((n.doc ->> 'shuffle_options')::boolean, false),
    coalesce(n.doc ->> 'grading_method', 'best'), coalesce(n.doc ->> 'answers_shown', 'after_pass'),
    coalesce((n.doc ->> 'holds_grades')::boolean, false), coalesce((n.doc ->> 'ai_generated')::boolean, false),
    coalesce(nullif(n.doc -> 'sources', 'null'), '[]')
  from (select n.*, row_number() over (partition by n.parent_id order by n.below) as nth from named n) n
  join places s on s.parent_id = n.parent_id and s.nth = n.nth
$$;

create function private.bank_sections(p_course_id uuid, p_document jsonb)
returns table (assessment_id uuid, key text, title text, draw_count integer, order_index integer)
language sql
stable
set search_path = ''
as $$
  select a.id, s.doc ->> 'key', s.doc ->> 'title', (s.doc ->> 'draw_count')::integer, s.place
  from private.bank_parts(p_document) p
  join lms.assessments a on a.course_id = p_course_id and a.key = p.doc ->> 'key'
  join private.bank_parts(p_document) s on s.level = 'section' and s.below = p.below
  where p.level = 'assessment'
$$;

create function private.bank_questions(p_course_id uuid, p_document jsonb)
returns table (
  assessment_id uuid, section_id uuid, question_key text, type text, prompt text, content jsonb, points numeric, scoring text,
  order_index integer, skills jsonb, answer jsonb, explanation text
)
language sql
stable
set search_path = ''
as $$
  select
    a.id, s.id, q.doc ->> 'question_key', q.doc ->> 'type', q.doc ->> 'prompt',
    coalesce(nullif(q.doc -> 'content', 'null'), '{}'), coalesce((q.doc ->> 'points')::numeric, 1),
    coalesce(q.doc ->> 'scoring', 'all_or_nothing'), q.place, coalesce(nullif(q.doc -> 'skills', 'null'), '[]'),
    nullif(q.doc -> 'answer', 'null'), coalesce(q.doc ->> 'explanation', '')
  from private.bank_parts(p_document) p
  join lms.assessments a on a.course_id = p_course_id and a.key = p.doc ->> 'key'
  join private.bank_parts(p_document) q on q.level = 'question' and q.below = p.below
  left join lms.assessment_sections s on s.assessment_id = a.id and s.key = q.doc ->> 'section'
  where p.level = 'assessment'
$$;

create function private.import_bank_assessments(p_course_id uuid, p_document jsonb)
returns jsonb
language plpgsql
volatile
set search_path = ''
as $$
declare
  -- Read before the first row is written: the places depend on those that there are.
  v_assessments constant private.imported_assessment[] :=
    array(select a from private.bank_assessments(p_course_id, p_document) a);
  v_updated integer;
  v_created integer;
begin
  update lms.assessments a
  set lesson_id = d.lesson_id, order_index = d.order_index, kind = d.kind, title = d.title, instructions = d.instructions,
      is_published = d.is_published, is_mandatory = d.is_mandatory, weight = d.weight,
      passing_percentage = d.passing_percentage, max_attempts = d.max_attempts, cooldown_minutes = d.cooldown_minutes,
      time_limit_minutes = d.time_limit_minutes, opens_at = d.opens_at, closes_at = d.closes_at,
      shuffle_questions = d.shuffle_questions, shuffle_options = d.shuffle_options, grading_method = d.grading_method,
      answers_shown = d.answers_shown, holds_grades = d.holds_grades, ai_generated = d.ai_generated, sources = d.sources,
      deleted_at = null
  from unnest(v_assessments) d
  where a.id = d.id
    and (
      a.lesson_id, a.order_index, a.kind, a.title::text, a.instructions, a.is_published, a.is_mandatory, a.weight,
      a.passing_percentage::numeric, a.max_attempts, a.cooldown_minutes, a.time_limit_minutes, a.opens_at, a.closes_at,
      a.shuffle_questions, a.shuffle_options, a.grading_method, a.answers_shown, a.holds_grades, a.ai_generated, a.sources,
      a.deleted_at
    ) is distinct from (
      d.lesson_id, d.order_index, d.kind, d.title, d.instructions, d.is_published, d.is_mandatory, d.weight,
      d.passing_percentage, d.max_attempts, d.cooldown_minutes, d.time_limit_minutes, d.opens_at, d.closes_at,
      d.shuffle_questions, d.shuffle_options, d.grading_method, d.answers_shown, d.holds_grades, d.ai_generated, d.sources,
      null::timestamptz
    );
  get diagnostics v_updated = row_count;

  insert into lms.assessments (
    course_id, key, lesson_id, order_index, kind, title, instructions, is_published, is_mandatory, weight, passing_percentage,
    max_attempts, cooldown_minutes, time_limit_minutes, opens_at, closes_at, shuffle_questions, shuffle_options,
    grading_method, answers_shown, holds_grades, ai_generated, sources
  )
  select
    p_course_id, d.key, d.lesson_id, d.order_index, d.kind, d.title, d.instructions, d.is_published, d.is_mandatory, d.weight,
    d.passing_percentage, d.max_attempts, d.cooldown_minutes, d.time_limit_minutes, d.opens_at, d.closes_at,
    d.shuffle_questions, d.shuffle_options, d.grading_method, d.answers_shown, d.holds_grades, d.ai_generated, d.sources
  from unnest(v_assessments) d
  where d.id is null
  order by d.below;
  get diagnostics v_created = row_count;
  return jsonb_build_object('created', v_created, 'updated', v_updated, 'removed', 0);
end
$$;

create function private.import_bank_sections(p_course_id uuid, p_assessments uuid[], p_document jsonb, p_at timestamptz)
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
  update lms.assessment_sections s
  set deleted_at = p_at
  where s.assessment_id = any (p_assessments) and s.deleted_at is null and not exists (
    select from private.bank_sections(p_course_id, p_document) d where d.assessment_id = s.assessment_id and d.key = s.key
  );
  get diagnostics v_removed = row_count;

  update lms.assessment_sections s
  set title = d.title, draw_count = d.draw_count, order_index = d.order_index, deleted_at = null
  from private.bank_sections(p_course_id, p_document) d
  where s.assessment_id = d.assessment_id and s.key = d.key
    and (s.title::text, s.draw_count, s.order_index, s.deleted_at)
      is distinct from (d.title, d.draw_count, d.order_index, null::timestamptz);
  get diagnostics v_updated = row_count;

  insert into lms.assessment_sections (assessment_id, key, title, draw_count, order_index)
  select d.assessment_id, d.key, d.title, d.draw_count, d.order_index
  from private.bank_sections(p_course_id, p_document) d
  where not exists (
    select from lms.assessment_sections s where s.assessment_id = d.assessment_id and s.key = d.key
  );
  get diagnostics v_created = row_count;
  return jsonb_build_object('created', v_created, 'updated', v_updated, 'removed', v_removed);
end
$$;

create function private.import_bank_questions(p_course_id uuid, p_assessments uuid[], p_document jsonb, p_at timestamptz)
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
  update lms.questions q
  set deleted_at = p_at
  where q.assessment_id = any (p_assessments) and q.deleted_at is null and q.question_key not in (
    select d.question_key from private.bank_questions(p_course_id, p_document) d
  );
  get diagnostics v_removed = row_count;

  update lms.questions q
  set section_id = d.section_id, type = d.type, prompt = d.prompt, content = d.content, points = d.points,
      scoring = d.scoring, order_index = d.order_index, deleted_at = null
  from private.bank_questions(p_course_id, p_document) d
  where q.course_id = p_course_id and q.question_key = d.question_key and q.assessment_id = d.assessment_id
    and (q.section_id, q.type, q.prompt, q.content, q.points, q.scoring, q.order_index, q.deleted_at)
      is distinct from
      (d.section_id, d.type, d.prompt, d.content, d.points, d.scoring, d.order_index, null::timestamptz);
  get diagnostics v_updated = row_count;

  insert into lms.questions (assessment_id, section_id, question_key, type, prompt, content, points, scoring, order_index)
  select d.assessment_id, d.section_id, d.question_key, d.type, d.prompt, d.content, d.points, d.scoring, d.order_index
  from private.bank_questions(p_course_id, p_document) d
  where not exists (select from lms.questions q where q.course_id = p_course_id and q.question_key = d.question_key)
  order by d.assessment_id, d.order_index;
  get diagnostics v_created = row_count;
  return jsonb_build_object('created', v_created, 'updated', v_updated, 'removed', v_removed);
end
$$;

-- A question without an answer keeps the key that it has, unless that is no key to it any more.
create function private.import_bank_keys(p_course_id uuid, p_document jsonb)
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
  delete from private.answer_keys k
  using private.bank_questions(p_course_id, p_document) d, lms.questions q
  where q.course_id = p_course_id and q.question_key = d.question_key and k.question_id = q.id and d.answer is null
    and exists (select from private.key_faults(q.type, q.content, k.key));
  get diagnostics v_removed = row_count;

  update private.answer_keys k
  set key = d.answer, explanation = d.explanation, updated_at = now(), updated_by = (select auth.uid())
  from private.bank_questions(p_course_id, p_document) d
  join lms.questions q on q.course_id = p_course_id and q.question_key = d.question_key
  where k.question_id = q.id and d.answer is not null
    and (k.key, k.explanation) is distinct from (d.answer, d.explanation);
  get diagnostics v_updated = row_count;

  insert into private.answer_keys (question_id, tenant_id, course_id, key, explanation, updated_by)
  select q.id, q.tenant_id, q.course_id, d.answer, d.explanation, (select auth.uid())
  from private.bank_questions(p_course_id, p_document) d
  join lms.questions q on q.course_id = p_course_id and q.question_key = d.question_key
  where d.answer is not null and not exists (select from private.answer_keys k where k.question_id = q.id);
  get diagnostics v_created = row_count;
  return jsonb_build_object('created', v_created, 'updated', v_updated, 'removed', v_removed);
end
$$;

create function private.import_bank_skills(p_course lms.courses, p_document jsonb)
returns jsonb
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_removed integer;
  v_created integer;
begin
  delete from lms.question_skills k
  using private.bank_questions(p_course.id, p_document) d, lms.questions q, lms.skills s
  where q.course_id = p_course.id and q.question_key = d.question_key and k.question_id = q.id and s.id = k.skill_id
    and not d.skills ? s.key::text;
  get diagnostics v_removed = row_count;

  insert into lms.question_skills (question_id, skill_id)
  select distinct q.id, s.id
  from private.bank_questions(p_course.id, p_document) d
  join lms.questions q on q.course_id = p_course.id and q.question_key = d.question_key
  cross join jsonb_array_elements_text(d.skills) as n (key)
  join lms.skills s on s.tenant_id = p_course.tenant_id and s.key = n.key
  where not exists (select from lms.question_skills k where k.question_id = q.id and k.skill_id = s.id);
  get diagnostics v_created = row_count;
  return jsonb_build_object('created', v_created, 'updated', 0, 'removed', v_removed);
end
$$;

create type lms.assessment_import_report as (
  course_id uuid, assessments jsonb, sections jsonb, questions jsonb, answer_keys jsonb, skills jsonb, dry_run boolean
);
comment on type lms.assessment_import_report is 'Of each kind of part: {created, updated, removed}.';

-- Who may edit a course's assessments reads its keys as well; for everybody else there is no such course (404), whether
-- they see it in the catalogue or not.
create function private.require_bank_author(p_course_id uuid)
returns lms.courses
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_course lms.courses;
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
  return v_course;
end
$$;

-- Definer, because nobody writes keys or deletion by hand; so it checks its caller.
create function private.apply_bank(p_course_id uuid, p_document jsonb)
returns lms.assessment_import_report
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_course constant lms.courses := private.require_bank_author(p_course_id);
  -- Not now(): two imports of one transaction are two.
  v_at constant timestamptz := clock_timestamp();
  v_faults jsonb;
  v_ids uuid[];
  v_report lms.assessment_import_report;
begin
  -- Two imports at once, or an import and a publication, come one after the other.
  perform from lms.courses c where c.id = v_course.id for no key update;
  select jsonb_agg(to_jsonb(f) order by f.path, f.code) into v_faults
  from (select * from private.find_bank_faults(v_course, p_document) limit 1000) f;
  if v_faults is not null then
    perform private.fail('assessments_not_importable', 'The document cannot be imported into this course.', 422, v_faults);
  end if;

  v_report.course_id := v_course.id;
  v_report.assessments := private.import_bank_assessments(v_course.id, p_document);
  v_ids := array(
    select a.id
    from private.bank_parts(p_document) p
    join lms.assessments a on a.course_id = v_course.id and a.key = p.doc ->> 'key'
    where p.level = 'assessment'
  );
  v_report.sections := private.import_bank_sections(v_course.id, v_ids, p_document, v_at);
  v_report.questions := private.import_bank_questions(v_course.id, v_ids, p_document, v_at);
  v_report.answer_keys := private.import_bank_keys(v_course.id, p_document);
  v_report.skills := private.import_bank_skills(v_course, p_document);
  return v_report;
end
$$;

create function lms.import_assessments(p_course_id uuid, p_document jsonb, p_dry_run boolean default false)
returns lms.assessment_import_report
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_report lms.assessment_import_report;
begin
  begin
    v_report := private.apply_bank(p_course_id, p_document);
    if p_dry_run then
      raise sqlstate 'LYDRY';
    end if;
  exception
    when sqlstate 'LYDRY' then
      null;
  end;
  v_report.dry_run := coalesce(p_dry_run, false);
  return v_report;
end
$$;

comment on function lms.import_assessments is
  'Makes the assessments that a document names what it says (docs/question-banks.md), all of them or nothing; others of the '
  'course stay. Assessments, sections and questions are found by their keys; what a named assessment no longer has is '
  'deleted, restorably. The same document again writes nothing. It changes the draft: learners get it with the next version. '
  'For staff of the course and catalog.write. 404 course_not_found; 422 assessments_not_importable [{path, code, message}].';

-- =====================================================================================================
-- Export
-- =====================================================================================================

create function private.write_moment(p_at timestamptz)
returns text
language sql
stable
set search_path = ''
as $$
  select regexp_replace(to_char(p_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), '[.]?0*$', '') || 'Z'
$$;

-- Definer, because nobody reads keys; so it checks its caller.
create function private.read_bank(p_course_id uuid)
returns jsonb
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_course constant lms.courses := private.require_bank_author(p_course_id);
  v_document jsonb;
begin
  -- What is not said has its default; lists are in the order of their places, or of keys.
  with sections as (
    select
      s.assessment_id,
      jsonb_agg(
        jsonb_strip_nulls(jsonb_build_object('key', s.key, 'title', s.title, 'draw_count', s.draw_count)) order by s.order_index
      ) as docs
    from lms.assessment_sections s
    where s.course_id = v_course.id and s.deleted_at is null
    group by s.assessment_id
  ), skills as (
    select k.question_id, jsonb_agg(s.key order by s.key collate "C") as keys
    from lms.question_skills k
    join lms.skills s on s.id = k.skill_id
    where k.course_id = v_course.id
    group by k.question_id
  ), questions as (
    select
      q.assessment_id,
      jsonb_agg(
        jsonb_strip_nulls(jsonb_build_object(
          'question_key', q.question_key, 'section', s.key, 'type', q.type, 'prompt', q.prompt,
          'points', nullif(trim_scale(q.points), 1), 'scoring', nullif(q.scoring, 'all_or_nothing'), 'skills', n.keys,
          'explanation', nullif(k.explanation, '')
        ))
        -- Apart: nulls in them are their own.
        || case when q.content = '{}' then '{}' else jsonb_build_object('content', q.content) end
        || case when k.key is null then '{}' else jsonb_build_object('answer', k.key) end
        order by q.order_index
      ) as docs
    from lms.questions q
    left join lms.assessment_sections s on s.id = q.section_id and s.deleted_at is null
    left join skills n on n.question_id = q.id
    left join private.answer_keys k on k.question_id = q.id
    where q.course_id = v_course.id and q.deleted_at is null
    group by q.assessment_id
  )
  select jsonb_build_object('format', 'lyceum-assessments-1', 'assessments', coalesce(jsonb_agg(
    jsonb_strip_nulls(jsonb_build_object(
      'key', a.key, 'lesson', l.key, 'kind', nullif(a.kind, 'quiz'), 'title', a.title,
      'instructions', nullif(a.instructions, ''), 'is_published', nullif(a.is_published, true),
      'is_mandatory', nullif(a.is_mandatory, true), 'weight', nullif(trim_scale(a.weight), 1),
      'passing_percentage', trim_scale(a.passing_percentage::numeric), 'max_attempts', a.max_attempts,
      'cooldown_minutes', nullif(a.cooldown_minutes, 0), 'time_limit_minutes', a.time_limit_minutes,
      'opens_at', private.write_moment(a.opens_at), 'closes_at', private.write_moment(a.closes_at),
      'shuffle_questions', nullif(a.shuffle_questions, false), 'shuffle_options', nullif(a.shuffle_options, false),
      'grading_method', nullif(a.grading_method, 'best'), 'answers_shown', nullif(a.answers_shown, 'after_pass'),
      'holds_grades', nullif(a.holds_grades, false), 'ai_generated', nullif(a.ai_generated, false)
    ))
    || case when a.sources = '[]' then '{}' else jsonb_build_object('sources', a.sources) end
    || jsonb_build_object('sections', coalesce(s.docs, '[]'), 'questions', coalesce(q.docs, '[]'))
    order by m.order_index nulls last, l.order_index, a.order_index
  ), '[]')) into v_document
  from lms.assessments a
  left join lms.lessons l on l.id = a.lesson_id
  left join lms.modules m on m.id = l.module_id
  left join sections s on s.assessment_id = a.id
  left join questions q on q.assessment_id = a.id
  where a.course_id = v_course.id and a.deleted_at is null
    -- What belongs to a deleted lesson has gone with it.
    and (a.lesson_id is null or (l.deleted_at is null and m.deleted_at is null));
  return v_document;
end
$$;

create function lms.export_assessments(p_course_id uuid)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return private.read_bank(p_course_id);
end
$$;

comment on function lms.export_assessments is
  'The draft of a course''s assessments as import_assessments takes it, with the answers: for its authors (staff of the '
  'course, or catalog.write); 404 course_not_found. Skills go by their keys; another organisation needs them first.';

grant execute on function private.apply_bank, private.read_bank to authenticated, service_role;
grant execute on function lms.import_assessments, lms.export_assessments to authenticated, service_role;

notify pgrst, 'reload schema';
