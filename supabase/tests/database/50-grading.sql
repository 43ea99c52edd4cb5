-- Grading: what questions, keys and answers look like, and what an answer is worth.

begin;
\ir ../helpers.sql
select * from no_plan();

-- Questions that the lists below are about.
create table tests.questions (name text primary key, type text, content jsonb, key jsonb);
insert into tests.questions values
  ('single', 'single', '{"options": [{"id": "a", "text": "A"}, {"id": "b", "text": "B"}, {"id": "c", "text": "C"}, {"id": "d", "text": "D"}]}', '{"correct": "a"}'),
  ('multiple', 'multiple', '{"options": [{"id": "a", "text": "A"}, {"id": "b", "text": "B"}, {"id": "c", "text": "C"}, {"id": "d", "text": "D"}, {"id": "e", "text": "E"}]}', '{"correct": ["a", "b", "c"]}'),
  ('true_false', 'true_false', '{}', '{"correct": true}'),
  ('short', 'short_answer', '{}', '{"accepted": [{"text": "Café au lait"}, {"text": "milk coffee", "fraction": 0.5}, {"text": "latte", "fraction": 0.333333}]}'),
  ('strict', 'short_answer', '{}', '{"accepted": [{"text": "É-mail."}], "case_sensitive": true, "keep_diacritics": true, "keep_punctuation": true}'),
  ('maths', 'short_answer', '{}', '{"accepted": [{"text": "10² + 3½"}]}'),
  ('numeric', 'numeric', '{}', '{"value": "1.50", "tolerance": "0.01"}'),
  ('third', 'numeric', '{}', '{"value": "1/3"}'),
  ('relative', 'numeric', '{}', '{"value": "-200", "tolerance": "0.05", "tolerance_kind": "relative"}'),
  ('length', 'numeric', '{"units": ["m", "cm"]}', '{"value": "1.5", "units": [{"unit": "m", "factor": 1}, {"unit": "cm", "factor": "0.01"}], "unit_required": true}'),
  ('percent', 'numeric', '{}', '{"value": 0.5, "units": [{"unit": "%", "factor": "1/100"}, {"unit": "µg", "factor": 1}]}'),
  ('matching', 'matching', '{"prompts": [{"id": "p1", "text": "1"}, {"id": "p2", "text": "2"}, {"id": "p3", "text": "3"}], "choices": [{"id": "c1", "text": "1"}, {"id": "c2", "text": "2"}]}', '{"pairs": {"p1": "c1", "p2": "c2", "p3": "c2"}}'),
  ('ordering', 'ordering', '{"items": [{"id": "a", "text": "A"}, {"id": "b", "text": "B"}, {"id": "c", "text": "C"}, {"id": "d", "text": "D"}]}', '{"order": ["a", "b", "c", "d"]}'),
  ('essay', 'essay', '{"min_words": 10, "max_words": 100}', '{"rubric": [{"id": "r1", "criterion": "Clear", "points": 2.5}], "model_answer": "So."}'),
  ('file', 'file_upload', '{"max_files": 2, "extensions": ["pdf", "txt"]}', '{}');

select is(
  (select array_agg(f) from private.question_faults(q.type, q.content, 'all_or_nothing') f), null, q.name || ' is in order'
) from tests.questions q;
select is((select array_agg(f) from private.key_faults(q.type, q.content, q.key) f), null, 'so is the key of ' || q.name)
from tests.questions q;

-- =====================================================================================================
-- What an answer is worth
-- =====================================================================================================

create function tests.grade(name text, scoring text, response jsonb, points numeric default 3) returns text language sql as $$
  select concat_ws(' ', g.points, case when g.is_correct then 'correct' end, case when g.waits then 'waits' end, g.explanation ->> 'reason')
  from tests.questions q, private.grade_response(q.type, q.content, scoring, points, q.key, response) g where q.name = $1
$$;

select is(tests.grade(q, s, a::jsonb), expected, format('%s, %s: %s', q, s, a))
from (values
  ('single', 'all_or_nothing', '"a"', '3.00 correct correct'),
  ('single', 'all_or_nothing', '"b"', '0.00 wrong'),
  ('single', 'partial', '"b"', '0.00 wrong'),
  ('single', 'partial_negative', '"b"', '-1.00 wrong'),
  ('single', 'partial_negative', '"a"', '3.00 correct correct'),
  ('single', 'partial_negative', 'null', '0 unanswered'),
  ('single', 'partial_negative', '"z"', '0 invalid_response'),
  ('single', 'all_or_nothing', '["a"]', '0 invalid_response'),
  ('true_false', 'all_or_nothing', 'true', '3.00 correct correct'),
  ('true_false', 'partial_negative', 'false', '-3.00 wrong'),
  ('true_false', 'all_or_nothing', '"true"', '0 invalid_response'),
  ('multiple', 'all_or_nothing', '["c", "a", "b"]', '3.00 correct correct'),
  ('multiple', 'all_or_nothing', '["a", "b"]', '0.00 wrong'),
  ('multiple', 'partial', '["a", "b"]', '2.00 partly_correct'),
  ('multiple', 'partial', '["a", "b", "d"]', '1.00 partly_correct'),
  ('multiple', 'partial', '["d", "e"]', '0.00 wrong'),
  ('multiple', 'partial', '["a", "b", "c", "d", "e"]', '1.00 partly_correct'),
  ('multiple', 'partial_negative', '["d", "e"]', '-2.00 wrong'),
  ('multiple', 'partial', '["a", "a", "a"]', '0 invalid_response'),
  ('multiple', 'partial', '[]', '0 unanswered'),
  ('matching', 'all_or_nothing', '{"p1": "c1", "p2": "c2", "p3": "c2"}', '3.00 correct correct'),
  ('matching', 'all_or_nothing', '{"p1": "c1", "p2": "c2"}', '0.00 wrong'),
  ('matching', 'partial', '{"p1": "c1", "p2": "c2", "p3": null}', '2.00 partly_correct'),
  ('matching', 'partial', '{"p1": "c1", "p2": "c1", "p3": "c1"}', '1.00 partly_correct'),
  ('matching', 'partial_negative', '{"p1": "c1", "p2": "c1", "p3": "c1"}', '-1.00 wrong'),
  ('matching', 'partial_negative', '{"p1": "c1", "p2": "c1"}', '0.00 wrong'),
  ('matching', 'partial', '{"p1": null}', '0 unanswered'),
  ('matching', 'partial', '{"p9": "c1"}', '0 invalid_response'),
  ('ordering', 'all_or_nothing', '["a", "b", "c", "d"]', '3.00 correct correct'),
  ('ordering', 'partial', '["b", "c", "d", "a"]', '2.00 partly_correct'),
  ('ordering', 'partial', '["d", "c", "b", "a"]', '0.00 wrong'),
  ('ordering', 'partial', '["a", "b"]', '1.00 partly_correct'),
  ('ordering', 'partial_negative', '["d", "c", "b", "a"]', '-3.00 wrong'),
  ('ordering', 'partial_negative', '["b", "c", "d", "a"]', '1.00 partly_correct'),
  ('ordering', 'all_or_nothing', '["a"]', '0.00 wrong'),
  ('short', 'all_or_nothing', '" café  AU lait! "', '3.00 correct correct'),
  ('short', 'all_or_nothing', '"cafe\u0301 au lait"', '3.00 correct correct'),
  ('short', 'all_or_nothing', '"cafe au lait"', '3.00 correct correct'),
  ('short', 'all_or_nothing', '"ｃａｆｅ\u00a0au\tlait"', '3.00 correct correct'),
  ('short', 'all_or_nothing', '"cafe aulait"', '0.00 wrong'),
  ('short', 'all_or_nothing', '"milk coffee"', '0.00 wrong'),
  ('short', 'partial', '"Milk Coffee."', '1.50 partly_correct'),
  ('short', 'partial', '"latte"', '1.00 partly_correct'),
  ('short', 'partial', '"..."', '0.00 wrong'),
  ('short', 'partial', '"  "', '0 unanswered'),
  ('strict', 'all_or_nothing', '"É-mail."', '3.00 correct correct'),
  ('strict', 'all_or_nothing', '"É–mail."', '3.00 correct correct'),
  ('strict', 'all_or_nothing', '"é-mail."', '0.00 wrong'),
  ('strict', 'all_or_nothing', '"E-mail."', '0.00 wrong'),
  ('strict', 'all_or_nothing', '"É-mail"', '0.00 wrong'),
  ('maths', 'all_or_nothing', '"10^2 + 3 1/2"', '3.00 correct correct'),
  ('maths', 'all_or_nothing', '"102 + 3½"', '0.00 wrong'),
  ('maths', 'all_or_nothing', '"10² + 31/2"', '0.00 wrong'),
  ('numeric', 'all_or_nothing', '1.5', '3.00 correct correct'),
  ('numeric', 'all_or_nothing', '"1.51"', '3.00 correct correct'),
  ('numeric', 'all_or_nothing', '"1.510000000000000000000000000001"', '0.00 wrong'),
  ('numeric', 'all_or_nothing', '{"value": " 15e-1 "}', '3.00 correct correct'),
  ('numeric', 'all_or_nothing', '"3/2"', '3.00 correct correct'),
  ('numeric', 'all_or_nothing', '"1,5"', '0.00 not_a_number'),
  ('numeric', 'all_or_nothing', '"3/0"', '0.00 not_a_number'),
  ('numeric', 'all_or_nothing', '"one"', '0.00 not_a_number'),
  ('numeric', 'all_or_nothing', '"NaN"', '0.00 not_a_number'),
  ('numeric', 'all_or_nothing', '"1e300"', '0.00 not_a_number'),
  ('numeric', 'all_or_nothing', '1e300', '0 invalid_response'),
  ('numeric', 'all_or_nothing', '1e99', '0.00 wrong'),
  ('numeric', 'all_or_nothing', '"1.5 m"', '0.00 unit_unknown'),
  ('numeric', 'all_or_nothing', '{"value": ""}', '0 unanswered'),
  ('third', 'all_or_nothing', '"2/6"', '3.00 correct correct'),
  ('third', 'all_or_nothing', '"-1/-3"', '3.00 correct correct'),
  ('third', 'all_or_nothing', '"0.3333333333333333333333"', '0.00 wrong'),
  ('relative', 'all_or_nothing', '"-190"', '3.00 correct correct'),
  ('relative', 'all_or_nothing', '"−210.0"', '3.00 correct correct'),
  ('relative', 'all_or_nothing', '"-189.99"', '0.00 wrong'),
  ('relative', 'all_or_nothing', '200', '0.00 wrong'),
  ('length', 'all_or_nothing', '{"value": "150", "unit": "cm"}', '3.00 correct correct'),
  ('length', 'all_or_nothing', '"150cm"', '3.00 correct correct'),
  ('length', 'all_or_nothing', '{"value": "1.5", "unit": "m"}', '3.00 correct correct'),
  ('length', 'all_or_nothing', '{"value": "1.5"}', '0.00 unit_missing'),
  ('length', 'all_or_nothing', '{"value": "1.5 m", "unit": "cm"}', '0.00 unit_unknown'),
  ('length', 'all_or_nothing', '{"value": "1.5", "unit": "km"}', '0 invalid_response'),
  ('percent', 'all_or_nothing', '"50 %"', '3.00 correct correct'),
  ('percent', 'all_or_nothing', '"1/2"', '3.00 correct correct'),
  ('percent', 'all_or_nothing', '"100/2%"', '3.00 correct correct'),
  ('percent', 'all_or_nothing', '"0.5 μg"', '3.00 correct correct'),
  ('essay', 'all_or_nothing', '{"text": "Because."}', 'waits waits_for_grader'),
  ('essay', 'all_or_nothing', '{"text": " "}', '0 unanswered'),
  ('file', 'all_or_nothing', '{"files": ["t/me/a.pdf"]}', 'waits waits_for_grader'),
  ('file', 'all_or_nothing', '{"files": []}', '0 unanswered'),
  ('file', 'all_or_nothing', '{"files": ["t/../a.pdf"]}', '0 invalid_response')
) as c (q, s, a, expected);

select is(tests.grade('single', 'partial_negative', null), '0 unanswered', 'no answer is none');
select is(tests.grade('true_false', 'partial_negative', null), '0 unanswered', 'nor here');

-- Halves go up, below zero as well; nothing is rounded twice.
select is(tests.grade('multiple', 'partial', '["a"]', 0.01), '0.00 partly_correct', 'a third of a hundredth is nothing');
select is(tests.grade('multiple', 'partial', '["a", "b"]', 0.01), '0.01 partly_correct', 'two thirds of it are one');
select is(tests.grade('short', 'partial', '"milk coffee"', 0.25), '0.13 partly_correct', 'half of 0.25 is 0.13');
select is(tests.grade('single', 'partial_negative', '"b"', 0.015), '0.00 wrong', 'minus half a hundredth is 0');
select is(tests.grade('single', 'partial_negative', '"b"', 0.375), '-0.12 wrong', 'minus 0.125 is minus 0.12');
select is(tests.grade('single', 'all_or_nothing', '"a"', p), '0.00 correct correct', 'points that are none: ' || p)
from unnest(array['NaN', '-1', '1e300']::numeric[]) as p;
select is((private.grade_response('single', '{"options": [{"id": "a"}]}', 'partial_negative', 1, '{"correct": "a"}', '"a"')).points, 1.00, 'a single choice of one');
select is(
  (private.grade_response('multiple', q.content, 'partial', 3, k::jsonb, '["a"]')).explanation, '{"reason": "no_key"}',
  'without a key that can be applied nobody is wrong: ' || coalesce(k, 'null')
) from tests.questions q, unnest(array[null, '{}', '{"correct": []}', '{"correct": ["z"]}', '{"correct": "a"}', '[]', '7']) as k
where q.name = 'multiple';
select is(
  (private.grade_response('multiple', content, 'partial', 3, key, '["a", "d", "b"]')).explanation,
  '{"reason": "partly_correct", "earned": 1, "of": 3, "right": 2, "wrong": 1}', 'INV-A4: it says how it came about'
) from tests.questions where name = 'multiple';

-- INV-A1: an explanation names no right answer.
select is_empty(
  $$ select q.name, g.explanation
     from tests.questions q
     cross join unnest(array['"b"', '["d"]', 'false', '"beer"', '1', '{"value": "7", "unit": "m"}', '{"p1": "c2"}', '["d", "a"]']::jsonb[]) as a
     cross join unnest(array['all_or_nothing', 'partial', 'partial_negative']) as s
     cross join lateral private.grade_response(q.type, q.content, s, 3, q.key, a) as g
     where g.explanation::text ~* '(caf|lait|1\.50?|"c1"|"a"|: true|0\.01)' $$,
  'INV-A1: an explanation names no right answer'
);

-- =====================================================================================================
-- Faults
-- =====================================================================================================

create function tests.faults(what text, type text, a text, b text default null) returns text language plpgsql as $$
begin
  return case what
    when 'question' then (select string_agg(f, ' ') from private.question_faults(type, a::jsonb, coalesce(b, 'all_or_nothing')) f)
    when 'key' then (select string_agg(f, ' ') from private.key_faults(type, a::jsonb, b::jsonb) f)
    else (select string_agg(f, ' ') from private.response_faults(type, a::jsonb, b::jsonb) f)
  end;
end
$$;

select is(tests.faults('question', t, c, s), expected, format('question %s %s %s', t, c, s))
from (values
  ('poem', '{}', null, 'unknown_type'),
  (null, '{}', null, 'unknown_type'),
  ('single', '[]', null, 'content_is_not_an_object'),
  ('single', null, null, 'content_is_not_an_object'),
  ('true_false', '{}', 'some', 'unknown_scoring'),
  ('numeric', '{}', 'partial_negative', 'negative_credit_needs_choices'),
  ('single', '{}', null, 'list_missing'),
  ('single', '{"options": {}}', null, 'list_missing'),
  ('single', '{"options": []}', null, 'too_few_entries'),
  ('single', '{"options": [{"id": "a", "text": "A"}, {"id": "a", "text": "B"}]}', null, 'id_not_unique'),
  ('single', '{"options": [{"id": "a", "text": "A", "correct": true}, {"id": "b", "text": "B"}]}', null, 'unknown_field'),
  ('single', '{"options": [{"id": "a", "text": "A"}, {"id": "b", "text": "B"}], "correct": "a"}', null, 'unknown_field'),
  ('single', '{"options": [{"id": 1, "text": "A"}, {"id": " ", "text": ""}]}', null, 'id_invalid text_invalid'),
  ('single', '{"options": ["a", 7, null, [], {}]}', null, 'id_invalid text_invalid'),
  ('single', format('{"options": [%s]}', (select string_agg(format('{"id": "%s", "text": "x"}', n), ',') from generate_series(1, 101) n)), null, 'too_many_entries'),
  ('single', jsonb_build_object('options', repeat('ab', 100001))::text, null, 'content_too_large'),
  ('true_false', '{"correct": true}', null, 'unknown_field'),
  ('numeric', '{"units": ["m", " m "]}', null, 'unit_not_unique'),
  ('numeric', '{"units": ["m", ""]}', null, 'unit_invalid'),
  ('numeric', '{"units": "m"}', null, 'list_missing'),
  ('numeric', '{"units": []}', null, 'too_many_entries'),
  ('matching', '{"prompts": [{"id": "p", "text": "P"}], "choices": [{"id": "c", "text": "C"}]}', null, 'too_few_entries'),
  ('ordering', '{"items": null}', null, 'list_missing'),
  ('essay', '{"min_words": 5, "max_words": 4}', null, 'words_invalid'),
  ('essay', '{"min_words": 1e300}', null, 'words_invalid'),
  ('essay', '{"min_words": 1.5}', null, 'words_invalid'),
  ('file_upload', '{"max_files": 0, "max_bytes": "1", "extensions": [".pdf"]}', null, 'extension_invalid max_bytes_invalid max_files_invalid')
) as c (t, c, s, expected);

select is(tests.faults('key', q.type, q.content::text, k), expected, format('key of %s: %s', q.name, k))
from (values
  ('single', null, 'key_is_not_an_object'),
  ('single', '"a"', 'key_is_not_an_object'),
  ('single', '{"correct": "z"}', 'correct_invalid'),
  ('single', '{"correct": ["a"]}', 'correct_invalid'),
  ('single', '{"correct": "a", "why": "x"}', 'unknown_field'),
  ('multiple', '{"correct": []}', 'correct_invalid'),
  ('multiple', '{"correct": ["a", "a"]}', 'correct_invalid'),
  ('multiple', '{"correct": ["a", null]}', 'correct_invalid'),
  ('multiple', '{"correct": "a"}', 'correct_invalid'),
  ('true_false', '{"correct": "true"}', 'correct_invalid'),
  ('short', '{}', 'accepted_invalid'),
  ('short', '{"accepted": [{"text": " ... "}]}', 'accepted_invalid'),
  ('short', '{"accepted": [{"text": " ... "}], "keep_punctuation": true}', null),
  ('short', '{"accepted": ["text"]}', 'accepted_invalid'),
  ('short', '{"accepted": [{"text": "a", "fraction": 0}]}', 'fraction_invalid'),
  ('short', '{"accepted": [{"text": "a", "fraction": 1.1}]}', 'fraction_invalid'),
  ('short', '{"accepted": [{"text": "a", "fraction": "NaN"}]}', 'fraction_invalid'),
  ('short', '{"accepted": [{"text": "a", "fraction": 0.5}]}', 'nothing_earns_full_credit'),
  ('short', '{"accepted": [{"text": "a"}], "case_sensitive": "yes"}', 'flag_invalid'),
  ('numeric', '{}', 'value_invalid'),
  ('numeric', '{"value": "NaN"}', 'value_invalid'),
  ('numeric', '{"value": 1e300}', 'value_invalid'),
  ('numeric', '{"value": "1/0"}', 'value_invalid'),
  ('numeric', '{"value": 1, "tolerance": -1}', 'tolerance_invalid'),
  ('numeric', '{"value": 1, "tolerance": "Infinity"}', 'tolerance_invalid'),
  ('numeric', '{"value": 1, "tolerance_kind": "about"}', 'tolerance_kind_invalid'),
  ('numeric', '{"value": 1, "unit_required": true}', 'unit_without_factor'),
  ('numeric', '{"value": 1, "unit_required": 1}', 'unit_required_invalid'),
  ('numeric', '{"value": 1, "units": {}}', 'units_invalid'),
  ('numeric', '{"value": 1, "units": [{"unit": "m", "factor": 0}]}', 'units_invalid'),
  ('numeric', '{"value": 1, "units": [{"unit": "m", "factor": 1}, {"unit": "m ", "factor": 2}]}', 'unit_not_unique'),
  ('length', '{"value": 1, "units": [{"unit": "m", "factor": 1}]}', 'unit_without_factor'),
  ('matching', '{"pairs": {"p1": "c1"}}', 'pairs_invalid'),
  ('matching', '{"pairs": {"p1": "c1", "p2": "c1", "p3": "p1"}}', 'pairs_invalid'),
  ('matching', '{"pairs": []}', 'pairs_invalid'),
  ('ordering', '{"order": ["a", "b", "c"]}', 'order_invalid'),
  ('ordering', '{"order": ["a", "b", "c", "c"]}', 'order_invalid'),
  ('essay', '{"rubric": []}', 'rubric_invalid'),
  ('essay', '{"rubric": [{"id": "a", "criterion": "x", "points": 0}]}', 'rubric_invalid'),
  ('essay', '{"rubric": [{"id": "a", "criterion": "x", "points": 0.001}]}', 'rubric_invalid'),
  ('essay', '{"rubric": [{"id": "a", "criterion": "x", "points": 1}, {"id": "a", "criterion": "y", "points": 1}]}', 'id_not_unique'),
  ('essay', '{"model_answer": 7}', 'model_answer_invalid')
) as c (name, k, expected)
join tests.questions q using (name);
select is(tests.faults('key', 'ordering', '{}', '{"order": []}'), 'order_invalid', 'a key without a question is none');
select is(tests.faults('key', 'matching', '{}', '{"pairs": {}}'), 'pairs_invalid', 'nor is this');

select is(tests.faults('response', q.type, q.content::text, r), expected, format('answer to %s: %s', q.name, left(r, 60)))
from (values
  ('single', 'null', null),
  ('single', '""', null),
  ('single', '7', 'not_an_option'),
  ('multiple', '["a"]', null),
  ('multiple', '["a", ["b"]]', 'not_a_list_of_options'),
  ('multiple', '{"a": true}', 'not_a_list_of_options'),
  ('true_false', '1', 'not_true_or_false'),
  ('short', '["x"]', 'not_a_text'),
  ('short', to_jsonb(repeat('x', 1001))::text, 'text_too_long'),
  ('short', to_jsonb(repeat('x', 300000))::text, 'response_too_large'),
  ('numeric', 'true', 'not_a_number'),
  ('numeric', '{"value": "1", "why": 1}', 'unknown_field'),
  ('numeric', '{"why": 1}', 'unknown_field'),
  ('numeric', '{"value": 1e100}', 'number_out_of_range'),
  ('numeric', '{"value": 1, "unit": 7}', 'unit_unknown'),
  ('length', '{"value": 1, "unit": "km"}', 'unit_unknown'),
  ('matching', '["c1"]', 'not_a_list_of_pairs'),
  ('matching', '{"p1": "p2"}', 'not_a_choice'),
  ('matching', '{"p1": null, "x": null}', 'unknown_field'),
  ('ordering', '["a", "a"]', 'not_a_list_of_items'),
  ('ordering', '["a", "b", "c", "d", "e"]', 'not_a_list_of_items'),
  ('essay', '"text"', 'not_a_text'),
  ('essay', '{"text": ["x"]}', 'not_a_text'),
  ('essay', jsonb_build_object('text', repeat('xy', 25001))::text, 'text_too_long'),
  ('essay', jsonb_build_object('text', repeat('xy', 25000))::text, null),
  ('file', '{"files": "a.pdf"}', 'not_a_list_of_files'),
  ('file', '{"files": ["a.pdf", "b.pdf", "c.pdf"]}', 'too_many_files'),
  ('file', '{"files": ["a.pdf", "a.pdf"]}', 'file_not_unique'),
  ('file', '{"files": ["a.PDF"]}', null),
  ('file', '{"files": ["a.exe"]}', 'extension_not_allowed'),
  ('file', '{"files": ["pdf"]}', 'extension_not_allowed'),
  ('file', '{"files": ["/a.pdf"]}', 'path_invalid'),
  ('file', '{"files": ["a/./a.pdf"]}', 'path_invalid'),
  ('file', '{"files": ["a\\b.pdf"]}', 'path_invalid'),
  ('file', '{"files": [7]}', 'path_invalid')
) as c (name, r, expected)
join tests.questions q using (name);

-- =====================================================================================================
-- Anything may be handed in
-- =====================================================================================================

create table tests.oddities (value jsonb);
insert into tests.oddities values
  (null), ('null'), ('true'), ('0'), ('-1e-300'), ('1e300'), ('1e131071'), ('""'), ('"\u0001"'), ('"NaN"'), ('[]'), ('{}'), ('[null]'), ('[[]]'), ('{"": null}'),
  ('{"id": {"id": {}}}'), ('{"options": [{"id": "a", "text": "A"}, {"id": "a", "text": "A"}]}'), ('{"options": 7, "prompts": "x", "choices": null, "items": {}, "units": [[]]}'),
  ('{"correct": {"correct": []}}'), ('{"accepted": [null, 7, {"text": 8, "fraction": []}]}'), ('{"pairs": {"a": {"b": []}}}'), ('{"order": {"a": 1}}'), ('{"rubric": [[]]}'),
  ('{"value": {"value": 1}, "tolerance": [], "tolerance_kind": 1, "units": [null, 1], "unit_required": "x"}'), ('{"value": 1e131071, "unit": "m"}'), ('{"text": 1}'), ('{"files": [null, {}]}'),
  ((repeat('[', 2000) || repeat(']', 2000))::jsonb), ((repeat('{"a":', 2000) || '1' || repeat('}', 2000))::jsonb),
  ((select jsonb_agg(n) from generate_series(1, 20000) n)), ((select jsonb_agg(1e131071::numeric) from generate_series(1, 500))),
  ((select jsonb_object_agg(n, 'c1') from generate_series(1, 20000) n)), (to_jsonb(repeat('1', 240000))), (to_jsonb(repeat('1/', 1000))), (to_jsonb(repeat('a.', 400)));

create function tests.survives(statement text) returns text language plpgsql as $$
declare
  v_started timestamptz := clock_timestamp();
  v_nulls bigint;
begin
  execute statement into v_nulls;
  return case when v_nulls > 0 then v_nulls || ' are null' when clock_timestamp() - v_started > interval '60 s' then 'slow' else 'fine' end;
exception when others then
  return sqlerrm;
end
$$;
create view tests.types as select unnest(array[null, 'odd', 'single', 'multiple', 'true_false', 'short_answer', 'numeric', 'matching', 'ordering', 'essay', 'file_upload']) as type;

select is(tests.survives($$ select count(*) filter (where f is null) from tests.types t, tests.oddities o, private.question_faults(t.type, o.value, 'partial') f $$), 'fine', 'any question is judged');
select is(tests.survives($$ select count(*) filter (where f is null) from tests.types t, tests.oddities o, tests.oddities k, private.key_faults(t.type, o.value, k.value) f $$), 'fine', 'any key is judged');
select is(tests.survives($$ select count(*) filter (where f is null) from tests.types t, tests.oddities o, tests.oddities r, private.response_faults(t.type, o.value, r.value) f $$), 'fine', 'any answer is judged');
select is(tests.survives($$
  select count(*) filter (where g.waits is null or g.explanation is null or (g.points is null) <> g.waits)
  from tests.types t, tests.questions q, tests.oddities r, private.grade_response(t.type, q.content, 'partial_negative', 1, q.key, r.value) g
$$), 'fine', 'any answer to a question is graded');
select is(tests.survives($$
  select count(*) filter (where g.waits is null or g.explanation is null)
  from tests.questions q, tests.oddities k, unnest(array['"a"', '["a"]', 'true', '"x"', '1', '{"p1": "c1"}']::jsonb[]) r, private.grade_response(q.type, q.content, null, 'NaN', k.value, r) g
$$), 'fine', 'by any key');
select is(tests.survives($$
  select count(*) filter (where g.waits is null or g.explanation is null)
  from tests.types t, tests.oddities c, tests.questions q, unnest(array['"a"', '["a"]', 'true', '"x"', '1', '{"p1": "c1"}']::jsonb[]) r, private.grade_response(t.type, c.value, 'odd', null, q.key, r) g
$$), 'fine', 'of any content');

select * from finish();
rollback;
