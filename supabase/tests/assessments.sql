-- Builders of assessments, after helpers.sql. Names are ids, as there: tests.id('quiz').

-- Of a lesson, or of the course; `settings`: columns of lms.assessments.
create function tests.assessment(name text, course text, lesson text default null, settings jsonb default '{}') returns uuid language plpgsql as $$
declare
  v_setting record;
begin
  insert into lms.assessments (id, course_id, lesson_id, key, title, answers_shown)
  values (tests.id(name), tests.id(course), case when lesson is not null then tests.id(lesson) end, name, initcap(name), 'after_submit');
  for v_setting in select * from jsonb_each_text(settings) loop
    execute format('update lms.assessments set %I = %L where id = %L', v_setting.key, v_setting.value, tests.id(name));
  end loop;
  return tests.id(name);
end
$$;

create function tests.section(name text, assessment text, draw integer default null) returns uuid language sql as $$
  insert into lms.assessment_sections (id, assessment_id, key, title, draw_count) values (tests.id(name), tests.id(assessment), name, initcap(name), draw) returning id
$$;

create function tests.question(
  name text, assessment text, type text, content jsonb default '{}', key jsonb default null, points numeric default 1,
  scoring text default 'all_or_nothing', section text default null
)
returns uuid language plpgsql as $$
begin
  insert into lms.questions (id, assessment_id, section_id, question_key, type, prompt, content, points, scoring)
  values (
    tests.id(name), tests.id(assessment), case when section is not null then tests.id(section) end, name, type, 'Prompt of ' || name,
    content, points, scoring
  );
  if key is not null then
    insert into private.answer_keys (question_id, tenant_id, course_id, key)
    select q.id, q.tenant_id, q.course_id, $5 from lms.questions q where q.id = tests.id(name);
  end if;
  return tests.id(name);
end
$$;

create function tests.put_in_section(question text, section text) returns void language sql as $$
  update lms.questions set section_id = tests.id(section) where id = tests.id(question)
$$;

-- As if the assessment had been passed: a fact without an attempt.
create function tests.pass(who text, assessment text) returns void language sql as $$
  insert into lms.assessment_progress (enrollment_id, assessment_id, tenant_id, course_id, user_id, percentage, passed_at, completed_at)
  select e.id, a.id, e.tenant_id, e.course_id, e.user_id, 100, now(), now()
  from lms.assessments a join lms.enrollments e on e.course_id = a.course_id and e.user_id = tests.id(who)
  where a.id = tests.id(assessment);
  update lms.enrollments set status = 'in_progress' where user_id = tests.id(who) and status = 'enrolled'
$$;
