begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'), tests.member('ines', 'works', 'instructor'), tests.member('ivan', 'works', 'instructor'),
  tests.member('dora', 'works'), tests.member('sid', 'works'), tests.member('petra', 'press', 'tenant_admin');
select tests.person('noah');
select
  tests.course('basics', 'works', 'ines', 4), tests.course('expert', 'works', 'ines', 2), tests.course('secret', 'works', 'ivan', 2, 'private'), tests.course('sketch', 'works', 'ines', 1, 'restricted', 'draft'),
  tests.course('open', 'works', 'ines', 1, 'public'), tests.course('novel', 'press', 'petra', 1);
create function tests.needs(course text, prerequisite text, minimum numeric default 100) returns text language sql as $$
  select format('insert into lms.course_prerequisites (course_id, prerequisite_course_id, min_completion_percentage) values (%L, %L, %s)', tests.id(course), tests.id(prerequisite), minimum)
$$;
create function tests.do(who text, statement text) returns text language plpgsql as $$
declare
  v_result text;
begin
  perform tests.be(who);
  v_result := tests.error_of(statement);
  perform tests.as_owner();
  return v_result;
end
$$;
create function tests.reasons(who text, course text) returns text language plpgsql as $$
declare
  v_reasons text;
begin
  perform tests.as(who);
  select string_agg(r.code, ' ' order by r.code) into v_reasons from unnest((lms.check_enrollment_eligibility(tests.id(course))).reasons) as r;
  perform tests.as_owner();
  return coalesce(v_reasons, '');
end
$$;
create function tests.complete(who text, variadic lessons text[]) returns text language plpgsql as $$
declare
  v_lesson text; v_result text;
begin
  foreach v_lesson in array lessons loop
    v_result := tests.do(who, format('select lms.complete_lesson(%L)', tests.id(v_lesson)));
  end loop;
  return v_result;
end
$$;
savepoint clean;

-- =====================================================================================================
-- Who sets them, and no circles
-- =====================================================================================================

select is(tests.try(who, tests.needs(course, prerequisite, minimum)), expected, format('%s lets %s wait for %s percent of %s: %s', who, course, minimum, prerequisite, expected))
from (values
  ('ines', 'expert', 'basics', 100, '1'), ('ines', 'expert', 'basics', 0.5, '1'), ('ines', 'expert', 'basics', 0, '23514 min_completion_percentage_is_positive'), ('ines', 'expert', 'basics', 101, '23514 percentage_is_between_0_and_100'),
  ('boss', 'expert', 'secret', 100, '1'), ('ines', 'expert', 'secret', 100, '42501'), ('ivan', 'expert', 'basics', 100, '42501'), ('dora', 'expert', 'basics', 100, '42501'), ('hanna', 'expert', 'basics', 100, '42501'), ('petra', 'expert', 'basics', 100, '42501'),
  ('anonymous', 'expert', 'basics', 100, '42501'), ('service', 'expert', 'novel', 100, '23503 prerequisite_course_is_of_the_same_tenant'), ('ines', 'expert', 'expert', 100, '409 prerequisite_circle'), ('ines', 'expert', 'nothing', 100, '42501')
) as cases (who, course, prerequisite, minimum, expected);
do $$ begin execute tests.needs('expert', 'basics'); execute tests.needs('basics', 'open'); end $$;
select is(tests.error_of(tests.needs('basics', 'expert')), '409 prerequisite_circle', 'two courses do not wait for each other');
select is(tests.try('dora', tests.needs('basics', 'expert')), '42501', 'who may not write learns nothing of circles');
select is(tests.error_of(tests.needs('open', 'expert')), '409 prerequisite_circle', 'nor in a larger circle');
select is(tests.sees_as(who, 'lms.course_prerequisites'), expected, format('%s sees %s', who, expected))
from (values ('dora', '2'), ('noah', '0'), ('petra', '0'), ('anonymous', '0'), ('ines', '2')) as cases (who, expected);
select is(tests.try(who, statement), expected, format('%s: %s: %s', who, statement, expected))
from (values
  ('ines', 'update lms.course_prerequisites set min_completion_percentage = 60', '2'), ('ines', 'update lms.course_prerequisites set course_id = gen_random_uuid()', '42501'), ('dora', 'update lms.course_prerequisites set min_completion_percentage = 60', '0'),
  ('dora', 'delete from lms.course_prerequisites', '0'), ('ines', 'delete from lms.course_prerequisites', '2')
) as cases (who, statement, expected);
rollback to clean;

-- =====================================================================================================
-- INV-E3: who may begin
-- =====================================================================================================

do $$ begin execute tests.needs('expert', 'basics', 75); execute tests.needs('expert', 'secret'); end $$;
select is(tests.reasons('dora', 'expert'), 'prerequisite_unmet', 'INV-E3: prerequisites are a reason');
select tests.as('dora');
select is(
  (select r.details from unnest((lms.check_enrollment_eligibility(tests.id('expert'))).reasons) as r),
  jsonb_build_object('courses', jsonb_build_array(
    jsonb_build_object('course_id', tests.id('basics'), 'title', 'Basics', 'min_completion_percentage', 75, 'percentage', 0),
    jsonb_build_object('course_id', tests.id('secret'), 'title', null, 'min_completion_percentage', 100, 'percentage', 0)
  )), '... that says which, and names no course that is hidden from the learner'
);
select tests.as_owner();
delete from lms.course_prerequisites where prerequisite_course_id = tests.id('secret');
select tests.enrollment('dora', 'basics');
select is(tests.complete('dora', 'basics/1', 'basics/2'), 'none', 'half of it is done');
select is(tests.reasons('dora', 'expert'), 'prerequisite_unmet', '... which is not enough');
select is(tests.complete('dora', 'basics/3'), 'none', 'three quarters are done');
select is(tests.reasons('dora', 'expert'), '', '... which is');
update lms.enrollments set status = 'dropped' where id = tests.id('dora takes basics');
select is(tests.reasons('dora', 'expert'), '', 'it counts in any cycle, also one that was left');
update lms.course_prerequisites set min_completion_percentage = 100;
select is(tests.reasons('dora', 'expert'), 'prerequisite_unmet', 'all of it takes a completed cycle');
select is(tests.do('dora', format('select lms.enroll(%L)', tests.id('expert'))), '409 not_eligible', '... by whichever way');
select is(tests.do('dora', format('insert into lms.enrollments (course_id, user_id) values (%L, %L)', tests.id('expert'), tests.id('dora'))), '409 not_eligible', '... REST as well');
update lms.courses set status = 'archived' where id = tests.id('basics');
select is(tests.reasons('dora', 'expert'), '', 'nobody waits for a course that cannot be taken any more');
rollback to clean;

-- =====================================================================================================
-- Assigned nevertheless: it waits
-- =====================================================================================================

do $$ begin execute tests.needs('expert', 'basics'); end $$;
select is(tests.do('hanna', format('select lms.enroll(%L, %L)', tests.id('expert'), tests.id('dora'))), 'none', 'staff assigns a course whose prerequisites are unmet');
select is(tests.complete('dora', 'expert/1'), '409 lesson_locked', 'INV-P4: it takes no progress');
select tests.as('dora');
select is(
  tests.failure_of(format('select lms.complete_lesson(%L)', tests.id('expert/1'))) #>> '{details,0,details,courses,0,title}', 'Basics', '... and says what is missing'
);
select is(tests.error_of(format('select lms.get_lesson(%L)', tests.id('expert/1'))), '409 lesson_locked', 'its content is closed');
select is(
  (select count(*) from lms.get_course_outline(tests.id('expert')) as o, unnest(o.modules) as m, unnest(m.lessons) as l where l.obstacles[1].code = 'prerequisite_unmet'), 2::bigint, 'the outline says so of every lesson'
);
select tests.as_owner();
select tests.enrollment('dora', 'basics');
select is(tests.complete('dora', 'basics/1', 'basics/2', 'basics/3', 'basics/4'), 'none', 'the other course is completed');
select is(tests.complete('dora', 'expert/1'), 'none', '... and it opens');
select is(tests.do('ines', tests.needs('expert', 'open')), 'none', 'one more prerequisite');
select is(tests.complete('dora', 'expert/2'), 'none', 'INV-C1: ... does not close what was begun');
rollback to clean;

-- =====================================================================================================
-- Windows
-- =====================================================================================================

create function tests.within(opens text, closes text) returns text language plpgsql as $$
begin
  execute format('update lms.courses set enrollment_opens_at = %s, enrollment_closes_at = %s where id = %L', opens, closes, tests.id('basics'));
  return tests.reasons('dora', 'basics');
end
$$;
select is(tests.within(opens, closes), expected, format('open from %s until %s: %s', opens, closes, expected))
from (values
  ('null', 'null', ''), ('now()', 'null', ''), ('now() + interval ''1 second''', 'null', 'window_closed'), ('null', 'now()', 'window_closed'), ('null', 'now() + interval ''1 second''', ''),
  ('now() - interval ''2 days''', 'now() - interval ''1 day''', 'window_closed')
) as cases (opens, closes, expected);
select is(tests.error_of(format('update lms.courses set enrollment_opens_at = now(), enrollment_closes_at = now() where id = %L', tests.id('basics'))), '23514 enrollment_opens_before_it_closes', 'a window opens before it closes');
select is(tests.do('hanna', format('select lms.enroll(%L, %L)', tests.id('basics'), tests.id('dora'))), 'none', 'staff enrols at any time');

-- What keeps such a course from being published.
do $$ begin execute tests.needs('expert', 'sketch'); execute tests.needs('expert', 'open'); end $$;
update lms.courses set status = 'archived' where id = tests.id('open');
select tests.as('ines');
select is((select string_agg(severity || ' ' || code, ', ' order by code) from lms.check_course(tests.id('expert'))), 'warning prerequisite_course_not_available, fault prerequisite_course_not_published', 'INV-C4: a prerequisite that nobody can complete');
select tests.as_owner();

select * from finish();
rollback;
