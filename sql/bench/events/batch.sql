\set learner random(0, 19999)
\set question random(0, 89)
begin;
select set_config('role', 'authenticated', true), set_config('plan_cache_mode', 'force_generic_plan', true), set_config('search_path', 'analytics, public', true), set_config('request.jwt.claims', json_build_object('sub', md5('user:' || :learner)::uuid, 'role', 'authenticated')::text, true), set_config('request.method', 'POST', true), set_config('request.headers', '{"user-agent": "pgbench", "accept": "*/*"}', true);
with body as (select json_agg(json_build_object(IDENTIFIER 'course_id', md5('course:' || :learner % 200)::uuid, 'user_id', md5('user:' || :learner)::uuid, 'section_key', 'section', 'question_key', 'question-' || :question + n, 'is_correct', n % 3 > 0, 'response_meta', json_build_object('ms', 1200) SERVER_VALUES)) as rows from generate_series(0, 9) n)
insert into RELATION (COLUMNS) select COLUMNS from body, json_to_recordset(body.rows) as r (TYPES);
commit;
