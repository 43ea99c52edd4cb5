begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press');
select tests.unit('north', 'works'), tests.unit('dock', 'works', 'north'), tests.unit('south', 'works');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'), tests.member('marco', 'works', 'unit_manager', 'north', 'north'), tests.member('audrey', 'works', 'auditor'),
  tests.member('ines', 'works', 'instructor'), tests.member('iva', 'works', 'instructor'), tests.member('dora', 'works', 'learner', 'dock'), tests.member('drew', 'works', 'learner', 'dock'), tests.member('sid', 'works', 'learner', 'south'),
  tests.member('sue', 'works'), tests.member('eve', 'works'), tests.member('petra', 'press', 'tenant_admin'), tests.member('pia', 'press', 'instructor');
select tests.person('noah'), tests.person('gus');
insert into lms.memberships (id, tenant_id, user_id, is_guest) values (tests.id('gus in works'), tests.id('works'), tests.id('gus'), true);
update lms.memberships set status = 'suspended' where id = tests.id('sue in works');
update lms.memberships set status = 'ended' where id = tests.id('eve in works');

select
  tests.course('one', 'works', 'ines', 1, visibility => 'public'), tests.course('two', 'works', 'ines', 1), tests.course('three', 'works', 'ines', 1), tests.course('extra', 'works', 'ines', 1),
  tests.course('closed', 'works', 'iva', 1), tests.course('secret', 'works', 'iva', 1, visibility => 'private'), tests.course('sketch', 'works', 'ines', 1, status => 'draft'), tests.course('news', 'press', 'pia', 1, visibility => 'public');
update lms.courses set self_enrollment = 'closed' where id = tests.id('closed');

create function tests.path(name text, tenant text, author text, courses text[], is_ordered boolean default true, visibility text default 'restricted', status text default 'published') returns uuid language plpgsql as $$
begin
  insert into lms.learning_paths (id, tenant_id, slug, title, is_ordered, visibility, status, published_at, created_by)
  values (tests.id(name), tests.id(tenant), name, initcap(name), is_ordered, visibility, status, case when status <> 'draft' then now() end, tests.id(author));
  insert into lms.learning_path_courses (path_id, course_id) select tests.id(name), tests.id(c) from unnest(courses) with ordinality as u (c, n) order by n;
  return tests.id(name);
end
$$;
create function tests.joins_path(path text, who text default null, due text default null) returns text language sql immutable as $$
  select format('select lms.enroll_in_path(%L%s%s)', tests.id(path), ', p_user_id => ' || quote_literal(tests.id(who)), ', p_due_at => ' || quote_literal(due))
$$;
-- 'status done/total percentage' of the latest path enrolment.
create function tests.way(name text, path text) returns text language sql as $$
  select format('%s %s/%s %s', e.status, e.items_done, e.items_total, e.progress_percentage) from lms.path_enrollments e
  where e.user_id = tests.id(name) and e.path_id = tests.id(path) order by e.enrolled_at desc, e.status in ('enrolled', 'in_progress') desc limit 1
$$;
-- 'title state (obstacles)' of each course.
create function tests.states(standing lms.path_standing) returns text language sql as $$
  select string_agg(format('%s %s%s', coalesce(c.title, '-'), c.state, (select ' ' || string_agg(o.code, '+' order by o.code) from unnest(c.obstacles) o)), ', ' order by c.order_index) from unnest(standing.courses) c
$$;
create function tests.states_as(name text, path text) returns text language plpgsql as $$
declare
  v_states text;
begin
  perform tests.be(name);
  v_states := tests.states(lms.get_learning_path(tests.id(path)));
  perform tests.as_owner();
  return v_states;
end
$$;
create function tests.completes(name text, course text) returns void language plpgsql as $$
begin
  perform tests.as(name);
  perform lms.complete_lesson(tests.id(course || '/1'));
  perform tests.as_owner();
end
$$;
-- Open path enrolments whose counters are not those of the facts.
create view tests.wrong_ways as
  select e.id
  from lms.path_enrollments e
  where e.status in ('enrolled', 'in_progress') and (e.items_total, e.items_done) is distinct from (
    select (count(*)::integer, (count(*) filter (where exists (select from lms.enrollments o where o.user_id = e.user_id and o.course_id = c.id and o.status = 'completed')))::integer)
    from lms.learning_path_courses p join lms.courses c on c.id = p.course_id where p.path_id = e.path_id and p.is_required and c.deleted_at is null
  );

select tests.path('steps', 'works', 'ines', array['one', 'two', 'three', 'extra'], visibility => 'public'), tests.path('pile', 'works', 'boss', array['one', 'two', 'closed'], is_ordered => false),
  tests.path('plan', 'works', 'ines', array['one', 'sketch'], status => 'draft'), tests.path('past', 'works', 'boss', array['one'], status => 'archived'), tests.path('hush', 'works', 'boss', array['secret', 'one'], visibility => 'public'),
  tests.path('gone', 'works', 'ines', array['one']), tests.path('reads', 'press', 'pia', array['news'], visibility => 'public');
update lms.learning_path_courses set is_required = false where course_id = tests.id('extra');
update lms.learning_paths set deleted_at = now() where id = tests.id('gone');

-- =====================================================================================================
-- Who sees and writes paths
-- =====================================================================================================

select is((tests.sees_as(who, 'lms.learning_paths'), tests.sees_as(who, 'lms.learning_path_courses'))::text, (paths, courses)::text, format('%s sees so many paths, courses in them', who))
from (values
  -- steps with one course and hush with one, reads with one.
  ('anonymous', 3, 3), ('noah', 3, 3), ('sue', 3, 3), ('eve', 3, 3), ('gus', 3, 3), ('petra', 3, 3), ('dora', 4, 9), ('audrey', 4, 9), ('ines', 5, 11), ('iva', 4, 10), ('marco', 6, 13), ('hanna', 6, 13), ('boss', 6, 13)
) as sights (who, paths, courses);

select is(tests.try(who, statement), expected, format('%s: %s: %s', who, what, expected))
from (values
  ('ines', 'creates a path', format('insert into lms.learning_paths (tenant_id, slug, title) values (%L, ''new'', ''New'') returning id', tests.id('works')), '1'), ('boss', 'creates a path', format('insert into lms.learning_paths (tenant_id, slug, title) values (%L, ''new'', ''New'') returning id', tests.id('works')), '1'),
  ('ines', 'in another tenant', format('insert into lms.learning_paths (tenant_id, slug, title) values (%L, ''new'', ''New'')', tests.id('press')), '42501'), ('ines', 'a slug again', format('insert into lms.learning_paths (tenant_id, slug, title) values (%L, ''steps'', ''New'')', tests.id('works')), '23505 path_slug_is_taken'),
  ('dora', 'creates a path', format('insert into lms.learning_paths (tenant_id, slug, title) values (%L, ''new'', ''New'')', tests.id('works')), '42501'), ('hanna', 'creates a path', format('insert into lms.learning_paths (tenant_id, slug, title) values (%L, ''new'', ''New'')', tests.id('works')), '42501'), ('gus', 'creates a path', format('insert into lms.learning_paths (tenant_id, slug, title) values (%L, ''new'', ''New'')', tests.id('works')), '42501'),
  ('ines', 'a published one', format('insert into lms.learning_paths (tenant_id, slug, title, status) values (%L, ''new'', ''New'', ''published'')', tests.id('works')), '42501'), ('ines', 'in somebody else''s name', format('insert into lms.learning_paths (tenant_id, slug, title, created_by) values (%L, ''new'', ''New'', %L)', tests.id('works'), tests.id('iva')), '42501'),
  ('ines', 'renames all', 'update lms.learning_paths set title = ''New''', '2'), ('iva', 'renames all', 'update lms.learning_paths set title = ''New''', '0'), ('boss', 'renames all', 'update lms.learning_paths set title = ''New''', '5'), ('hanna', 'renames all', 'update lms.learning_paths set title = ''New''', '0'), ('dora', 'renames all', 'update lms.learning_paths set title = ''New''', '0'),
  ('ines', 'publishes by writing', 'update lms.learning_paths set status = ''published''', '42501'), ('ines', 'deletes by writing', 'update lms.learning_paths set deleted_at = now()', '42501'), ('boss', 'removes the row', 'delete from lms.learning_paths', '42501'),
  ('ines', 'adds a course', format('insert into lms.learning_path_courses (path_id, course_id) values (%L, %L)', tests.id('plan'), tests.id('two')), '1'), ('ines', 'adds somebody''s closed course', format('insert into lms.learning_path_courses (path_id, course_id) values (%L, %L)', tests.id('plan'), tests.id('closed')), '42501'),
  ('iva', 'adds an own closed course to an own path', format('with p as (insert into lms.learning_paths (tenant_id, slug, title) values (%L, ''new'', ''New'') returning id) select 1 from p', tests.id('works')), '1'), ('boss', 'adds a closed course', format('insert into lms.learning_path_courses (path_id, course_id) values (%L, %L)', tests.id('plan'), tests.id('closed')), '1'),
  ('ines', 'adds a hidden course', format('insert into lms.learning_path_courses (path_id, course_id) values (%L, %L)', tests.id('plan'), tests.id('secret')), '42501'), ('ines', 'adds a course of another tenant', format('insert into lms.learning_path_courses (path_id, course_id) values (%L, %L)', tests.id('plan'), tests.id('news')), '23503 course_of_path_is_of_the_same_tenant'),
  ('boss', 'adds a course of another tenant', format('insert into lms.learning_path_courses (path_id, course_id) values (%L, %L)', tests.id('plan'), tests.id('news')), '23503 course_of_path_is_of_the_same_tenant'), ('iva', 'adds to somebody''s path', format('insert into lms.learning_path_courses (path_id, course_id) values (%L, %L)', tests.id('steps'), tests.id('closed')), '42501'),
  ('ines', 'adds to no path', format('insert into lms.learning_path_courses (path_id, course_id) values (%L, %L)', tests.id('nothing'), tests.id('one')), '42501'), ('ines', 'adds to a deleted path', format('insert into lms.learning_path_courses (path_id, course_id) values (%L, %L)', tests.id('gone'), tests.id('two')), '42501'), ('ines', 'adds one twice', format('insert into lms.learning_path_courses (path_id, course_id) values (%L, %L)', tests.id('plan'), tests.id('one')), '23505 learning_path_courses_pkey'),
  ('ines', 'reorders in one statement', format('update lms.learning_path_courses set order_index = 3 - order_index where path_id = %L', tests.id('steps')), '4'), ('iva', 'reorders somebody''s', 'update lms.learning_path_courses set order_index = order_index + 10', '0'), ('ines', 'takes all out', 'delete from lms.learning_path_courses', '6'), ('dora', 'takes all out', 'delete from lms.learning_path_courses', '0'), ('boss', 'takes all out', 'delete from lms.learning_path_courses', '12'),

  ('ines', 'publishes hers', format('select lms.publish_learning_path(%L)', tests.id('steps')), '1'), ('ines', 'publishes one with a draft', format('select lms.publish_learning_path(%L)', tests.id('plan')), '409 not_publishable'), ('boss', 'publishes any', format('select lms.publish_learning_path(%L)', tests.id('past')), '1'),
  ('iva', 'publishes somebody''s', format('select lms.publish_learning_path(%L)', tests.id('steps')), '42501'), ('iva', 'publishes a hidden one', format('select lms.publish_learning_path(%L)', tests.id('plan')), '404 path_not_found'), ('hanna', 'publishes', format('select lms.publish_learning_path(%L)', tests.id('past')), '42501'), ('dora', 'archives', format('select lms.archive_learning_path(%L)', tests.id('steps')), '42501'),
  ('ines', 'archives hers', format('select lms.archive_learning_path(%L)', tests.id('steps')), '1'), ('petra', 'archives elsewhere', format('select lms.archive_learning_path(%L)', tests.id('steps')), '42501'), ('ines', 'publishes a deleted one', format('select lms.publish_learning_path(%L)', tests.id('gone')), '404 path_not_found'),
  ('ines', 'deletes hers', format('select lms.delete_learning_path(%L)', tests.id('steps')), '1'), ('boss', 'deletes any', format('select lms.delete_learning_path(%L)', tests.id('steps')), '1'), ('iva', 'deletes somebody''s', format('select lms.delete_learning_path(%L)', tests.id('steps')), '42501'), ('dora', 'deletes', format('select lms.delete_learning_path(%L)', tests.id('steps')), '42501'), ('petra', 'deletes what is hidden', format('select lms.delete_learning_path(%L)', tests.id('pile')), '404 path_not_found'),
  ('ines', 'restores hers', format('select lms.restore_learning_path(%L)', tests.id('gone')), '1'), ('boss', 'restores any', format('select lms.restore_learning_path(%L)', tests.id('gone')), '1'), ('iva', 'restores somebody''s', format('select lms.restore_learning_path(%L)', tests.id('gone')), '404 path_not_found'), ('petra', 'restores elsewhere', format('select lms.restore_learning_path(%L)', tests.id('gone')), '404 path_not_found'), ('boss', 'restores nothing', format('select lms.restore_learning_path(%L)', tests.id('nothing')), '404 path_not_found'),
  ('ines', 'takes a place again', format('insert into lms.learning_path_courses (path_id, course_id, order_index) values (%L, %L, 0)', tests.id('plan'), tests.id('two')), '23P01 path_order_is_taken'), ('ines', 'a place before the first', format('update lms.learning_path_courses set order_index = -1 where path_id = %L and course_id = %L', tests.id('plan'), tests.id('one')), '23514 path_order_is_within_a_million'),
  ('ines', 'too long a description', format('update lms.learning_paths set description = repeat(''x'', 20001) where id = %L', tests.id('plan')), '23514 path_description_is_short'), ('ines', 'an unknown visibility', format('update lms.learning_paths set visibility = ''private'' where id = %L', tests.id('plan')), '23514 path_visibility_is_known'),
  ('service', 'a path of no tenant', format('insert into lms.learning_paths (tenant_id, slug, title) values (%L, ''new'', ''New'')', tests.id('nothing')), '23503 learning_path_belongs_to_a_tenant'), ('service', 'published without a date', format('update lms.learning_paths set status = ''published'' where id = %L', tests.id('plan')), '23514 path_has_a_publication_date_once_published'),
  ('service', 'an unknown status', format('update lms.learning_paths set status = ''open'', published_at = now() where id = %L', tests.id('plan')), '23514 path_status_is_known'), ('service', 'adds to no path', format('insert into lms.learning_path_courses (path_id, course_id) values (%L, %L)', tests.id('nothing'), tests.id('one')), '23503 path_course_is_of_the_same_tenant'),
  ('service', 'somebody of another tenant', format('insert into lms.path_enrollments (tenant_id, path_id, user_id) values (%L, %L, %L)', tests.id('works'), tests.id('steps'), tests.id('petra')), '23503 path_enrollment_is_of_a_member'), ('service', 'a path of another tenant', format('insert into lms.path_enrollments (tenant_id, path_id, user_id) values (%L, %L, %L)', tests.id('works'), tests.id('reads'), tests.id('dora')), '23503 path_enrollment_path_is_of_the_same_tenant'),
  ('service', 'an unknown source', format('insert into lms.path_enrollments (tenant_id, path_id, user_id, source) values (%L, %L, %L, ''rule'')', tests.id('works'), tests.id('steps'), tests.id('dora')), '23514 path_enrollment_source_is_known'), ('service', 'more done than there is', format('insert into lms.path_enrollments (tenant_id, path_id, user_id, items_total, items_done, status, dropped_at) values (%L, %L, %L, 1, 2, ''dropped'', now())', tests.id('works'), tests.id('steps'), tests.id('dora')), '23514 path_counters_are_in_range'),
  ('service', 'an unknown status of a way', format('insert into lms.path_enrollments (tenant_id, path_id, user_id, status) values (%L, %L, %L, ''paused'')', tests.id('works'), tests.id('steps'), tests.id('dora')), '23514 path_status_is_known_and_its_dates_follow'),
  ('anonymous', 'publishes', format('select lms.publish_learning_path(%L)', tests.id('steps')), '42501')
) as cases (who, what, statement, expected);
select is(
  tests.failure_of(format('select lms.publish_learning_path(%L)', tests.id('plan'))) -> 'details', jsonb_build_array(jsonb_build_object('code', 'course_not_published', 'message', 'A required course is not published.', 'course_id', tests.id('sketch'))),
  'publishing lists what is missing'
);
-- No author any more: the path is not theirs to change.
savepoint before;
delete from lms.role_grants where membership_id = tests.id('ines in works');
select is(tests.try('ines', 'update lms.learning_paths set title = ''New''') || tests.sees_as('ines', 'lms.learning_paths', 'slug = ''plan'''), '00', 'whoever is no author any more changes no path and sees no draft of hers');
rollback to before;

-- =====================================================================================================
-- Beginning a path
-- =====================================================================================================

select is(tests.states_as(who, path), states, format('%s, of %s: %s', who, path, states))
from (values
  ('anonymous', 'steps', 'One open'), ('dora', 'steps', 'One open, Two locked, Three locked, Extra locked'), ('dora', 'pile', 'One open, Two open, Closed open'), ('dora', 'hush', 'One open'), ('boss', 'hush', 'Secret open, One locked')
) as sights (who, path, states);
select is(tests.try(who, statement), expected, format('%s: %s: %s', who, what, expected))
from (values
  ('dora', 'joins', tests.joins_path('steps'), '1'), ('noah', 'a stranger joins a public one', tests.joins_path('steps'), '1'), ('gus', 'a guest joins a public one', tests.joins_path('steps'), '1'), ('noah', 'a stranger joins a restricted one', tests.joins_path('pile'), '404 path_not_found'), ('gus', 'a guest joins a restricted one', tests.joins_path('pile'), '404 path_not_found'),
  ('sue', 'suspended', tests.joins_path('steps'), '409 not_eligible'), ('eve', 'ended', tests.joins_path('steps'), '409 not_eligible'), ('ines', 'a draft', tests.joins_path('plan'), '409 not_eligible'), ('boss', 'an archived one', tests.joins_path('past'), '409 not_eligible'), ('dora', 'a deleted one', tests.joins_path('gone'), '404 path_not_found'), ('dora', 'none', tests.joins_path('nothing'), '404 path_not_found'),
  ('dora', 'sets a due date', tests.joins_path('steps', due => '2030-01-01'), '42501'), ('marco', 'enrols somebody in scope', tests.joins_path('steps', 'dora', '2030-01-01'), '1'), ('marco', 'enrols somebody out of scope', tests.joins_path('steps', 'sid'), '42501'), ('hanna', 'enrols anybody', tests.joins_path('steps', 'sid'), '1'), ('boss', 'enrols anybody', tests.joins_path('steps', 'sid'), '1'),
  ('ines', 'an author enrols somebody', tests.joins_path('steps', 'dora'), '42501'), ('dora', 'enrols a colleague', tests.joins_path('steps', 'drew'), '42501'), ('petra', 'enrols somebody of another tenant', tests.joins_path('steps', 'dora'), '42501'), ('hanna', 'enrols a stranger', tests.joins_path('steps', 'noah'), '409 not_eligible'), ('hanna', 'enrols somebody suspended', tests.joins_path('steps', 'sue'), '409 not_eligible'), ('hanna', 'enrols somebody who left', tests.joins_path('steps', 'eve'), '409 not_eligible'),
  ('anonymous', 'joins', tests.joins_path('steps'), '42501'), ('service', 'enrols nobody', tests.joins_path('steps'), '400 user_required'), ('service', 'enrols somebody', tests.joins_path('steps', 'dora'), '1'),
  ('dora', 'writes one', format('insert into lms.path_enrollments (tenant_id, path_id, user_id) values (%L, %L, %L)', tests.id('works'), tests.id('steps'), tests.id('dora')), '42501'), ('dora', 'goes on without having begun', format('select lms.continue_path(%L)', tests.id('steps')), '404 path_enrollment_not_found'), ('dora', 'leaves without having begun', format('select lms.leave_path(%L)', tests.id('steps')), '404 path_enrollment_not_found')
) as cases (who, what, statement, expected);

select tests.as('dora');
select is(tests.states(lms.enroll_in_path(tests.id('steps'))), 'One enrolled, Two locked, Three locked, Extra locked', 'an ordered path begins with its first course');
select is(tests.states(lms.enroll_in_path(tests.id('steps'))), 'One enrolled, Two locked, Three locked, Extra locked', '... and is begun once');
select is(tests.states(lms.enroll_in_path(tests.id('pile'))), 'One enrolled, Two enrolled, Closed open self_enrollment_closed', 'a free path begins with all; what is closed is said, and stops nothing');
select is(tests.states(lms.enroll_in_path(tests.id('hush'))), '- open not_visible, One enrolled', 'a course that one may not see keeps its title');
select tests.as_owner();
select is((select count(*) from lms.path_enrollments where user_id = tests.id('dora')), 3::bigint, 'one open path enrolment each');
select is((select (source, unit_id, enrolled_by)::text from lms.path_enrollments where user_id = tests.id('dora') and path_id = tests.id('steps')), ('self', tests.id('dock'), tests.id('dora'))::text, 'it says who, and where at the time');
select is(tests.error_of(format('insert into lms.path_enrollments (tenant_id, path_id, user_id) values (%L, %L, %L)', tests.id('works'), tests.id('steps'), tests.id('dora'))), '23505 one_open_path_enrollment', 'there is no second open one, whoever writes');
select tests.as('noah');
select is(tests.states(lms.enroll_in_path(tests.id('steps'))), 'One enrolled, - locked, - locked, - locked', 'a stranger joins as a guest');
select tests.as_owner();
select is((select is_guest from lms.memberships where user_id = tests.id('noah')), true, '... of the tenant');

select is(tests.sees_as(who, 'lms.path_enrollments'), ways, format('%s sees so many path enrolments', who))
from (values ('dora', '3'), ('drew', '0'), ('noah', '1'), ('marco', '3'), ('hanna', '4'), ('boss', '4'), ('audrey', '4'), ('ines', '0'), ('petra', '0'), ('anonymous', '42501')) as sights (who, ways);
select is(tests.try(who, 'update lms.path_enrollments set due_at = now()'), expected, format('%s sets due dates: %s', who, expected)) from (values ('dora', '0'), ('marco', '3'), ('hanna', '4'), ('audrey', '0'), ('ines', '0'), ('petra', '0')) as c (who, expected);
select is(tests.try(who, 'update lms.path_enrollments set status = ''completed'''), '42501', format('%s writes no status', who)) from unnest(array['dora', 'boss']) as who;

-- =====================================================================================================
-- Going on
-- =====================================================================================================

select tests.completes('dora', 'one');
select is((tests.way('dora', 'steps'), tests.way('dora', 'pile'), tests.way('dora', 'hush'))::text, ('in_progress 1/3 33.33', 'in_progress 1/3 33.33', 'in_progress 1/2 50.00')::text, 'a course completed counts in every path');
select is_empty('select * from tests.wrong_ways', '... exactly');
select is((select string_agg(p.slug, ',') from lms.path_enrollments e join lms.learning_paths p on p.id = e.path_id where e.advance_at <= now()), 'steps,hush', 'an ordered path is to be advanced');
select tests.as('dora');
select is(tests.states(lms.continue_path(tests.id('steps'))), 'One completed, Two enrolled, Three locked, Extra locked', 'going on enrols in the next one');
select tests.as_owner();
select is((select advance_at from lms.path_enrollments where user_id = tests.id('dora') and path_id = tests.id('steps')), null, '... after which nothing is to be done');
select tests.completes('dora', 'two');
select is((ops.run_job('advance-learning-paths')).rows_done, 1::bigint, 'the job does it for those who do not come by');
select is(tests.states_as('dora', 'steps'), 'One completed, Two completed, Three enrolled, Extra locked', '... by the same rules');
select is((ops.run_job('advance-learning-paths')).rows_done, 0::bigint, '... and has nothing more to do');
select is((select e.advance_at > now() + interval '23 hours' from lms.path_enrollments e where user_id = tests.id('dora') and path_id = tests.id('hush')), true, '... what is closed is tried again a day later');
select tests.completes('dora', 'three');
select is(tests.way('dora', 'steps'), 'completed 3/3 100.00', 'with all required courses the path is completed; optional ones are optional');
select is(tests.states_as('dora', 'steps'), 'One completed, Two completed, Three completed, Extra open', '... and stay open');
select tests.as('dora');
select is(tests.error_of(format('select lms.leave_path(%L)', tests.id('steps'))), '409 transition_not_allowed', 'a completed path is not left');
select is((lms.continue_path(tests.id('steps'))).status || ' ' || (lms.enroll_in_path(tests.id('steps'))).status, 'completed completed', 'nor begun anew while there is nothing new to do');
select tests.as_owner();
select is(tests.error_of(format('update lms.path_enrollments set status = ''in_progress'', completed_at = null where user_id = %L and path_id = %L', tests.id('dora'), tests.id('steps'))), '409 transition_not_allowed', 'nor reopened, by nobody');
select is(tests.try('service', format('update lms.path_enrollments set user_id = %L', tests.id('drew'))), '42501', 'a path enrolment keeps its person');

-- Whenever earned.
select tests.enrollment('drew', 'two');
select tests.completes('drew', 'two');
select tests.as('drew');
select is(tests.states(lms.enroll_in_path(tests.id('steps'))), 'One enrolled, Two completed, Three locked, Extra locked', 'what was done before the path counts');
select is(tests.rows_of(format('select lms.leave_path(%L)', tests.id('steps'))) || ' ' || (lms.leave_path(tests.id('steps'))).status, '1 dropped', 'a path is left, and left once');
select tests.as_owner();
select is(tests.standing('drew', 'one'), 'enrolled 0/1 0.00', '... its courses are not');
select tests.completes('drew', 'one');
select is(tests.way('drew', 'steps'), 'dropped 1/3 33.33', 'what is left is not counted on');
select tests.as('drew');
select is((lms.enroll_in_path(tests.id('steps'))).status, 'in_progress', 'coming back begins anew, with what was done');
select tests.as_owner();
select is((select string_agg(status, ',' order by status) from lms.path_enrollments where user_id = tests.id('drew')), 'dropped,in_progress', '... in an enrolment of its own');
select is(tests.try('marco', format('select lms.leave_path(%L, %L)', tests.id('steps'), tests.id('drew'))), '1', 'staff in scope takes somebody off');
select is(tests.try(who, format('select lms.leave_path(%L, %L)', tests.id('steps'), tests.id('drew'))), expected, format('%s does not: %s', who, expected)) from (values ('ines', '404 path_enrollment_not_found'), ('dora', '404 path_enrollment_not_found'), ('audrey', '42501'), ('petra', '404 path_enrollment_not_found')) as c (who, expected);

-- Imported.
select tests.as('audrey');
select is((lms.enroll_in_path(tests.id('steps'))).status, 'enrolled', 'somebody joins');
select tests.as_owner();
insert into lms.enrollments (course_id, user_id, status, items_done, enrolled_at, started_at, completed_at) values (tests.id('two'), tests.id('audrey'), 'completed', 1, now() - interval '2 days', now() - interval '2 days', now() - interval '1 day');
select is(tests.way('audrey', 'steps'), 'in_progress 1/3 33.33', 'a cycle that is imported as completed counts');
select is_empty('select * from tests.wrong_ways', 'the counters are right after all this');

-- =====================================================================================================
-- Assigned
-- =====================================================================================================

select tests.as('hanna');
select is(tests.states(lms.enroll_in_path(tests.id('pile'), tests.id('sid'), '2030-01-01')), 'One enrolled, Two enrolled, Closed enrolled', 'what staff assigns is not held back by rules for learners');
select is(tests.states(lms.enroll_in_path(tests.id('hush'), tests.id('sid'))), 'Secret enrolled, One enrolled', 'a private course comes with an assigned path');
select tests.as_owner();
select is((select (source, due_at, enrolled_by)::text from lms.path_enrollments where user_id = tests.id('sid') and path_id = tests.id('pile')), ('assigned', '2030-01-01'::timestamptz, tests.id('hanna'))::text, 'an assigned path says by whom and until when');
select tests.as('hanna');
select is((lms.enroll_in_path(tests.id('pile'), tests.id('dora'), '2031-01-01')).due_at, '2031-01-01'::timestamptz, 'who joined on their own can be assigned the path, too');
select tests.as_owner();
select is((select source from lms.path_enrollments where user_id = tests.id('dora') and path_id = tests.id('pile')), 'assigned', '... which it then is');

-- The next course of an assigned path is closed to learners: the learner alone does not get in, the assignment does.
select tests.path('duty', 'works', 'boss', array['one', 'closed']);
select tests.as('marco');
select is(tests.states(lms.enroll_in_path(tests.id('duty'), tests.id('marco'))), 'One enrolled, Closed locked', 'for oneself, also as a manager, one joins');
select tests.as('hanna');
select is(tests.states(lms.enroll_in_path(tests.id('duty'), tests.id('marco'))), 'One enrolled, Closed locked', 'assigned afterwards');
select tests.completes('marco', 'one');
select tests.as('marco');
select is((select tests.states(lms.continue_path(tests.id('duty')))), 'One completed, Closed open enrolled_shortly', 'going on says that the enrolment follows');
select tests.as_owner();
select is((ops.run_job('advance-learning-paths')).status, 'succeeded', 'the job runs');
select is(tests.states_as('marco', 'duty'), 'One completed, Closed enrolled', '... and enrols as staff assigned it');
select is((select source from lms.enrollments where user_id = tests.id('marco') and course_id = tests.id('closed')), 'assigned', '... saying so');
select tests.as('ines');
select is((lms.enroll_in_path(tests.id('duty'))).status, 'enrolled', 'somebody joins it');
select tests.completes('ines', 'one');
select lives_ok('select ops.run_job(''advance-learning-paths'')');
select is(tests.states_as('ines', 'duty'), 'One completed, Closed open', 'who joined on their own does not get into what is closed');

-- =====================================================================================================
-- Paths change, people move
-- =====================================================================================================

savepoint before_changes;
insert into lms.learning_path_courses (path_id, course_id) values (tests.id('pile'), tests.id('three'));
select is((tests.way('dora', 'pile'), tests.way('sid', 'pile'))::text, ('in_progress 3/4 75.00', 'enrolled 0/4 0.00')::text, 'a course added counts for those on the path');
select is(tests.way('dora', 'steps'), 'completed 3/3 100.00', '... of that path');
delete from lms.learning_path_courses where path_id = tests.id('pile') and course_id = tests.id('closed');
select is((tests.way('dora', 'pile'), tests.way('sid', 'pile'))::text, ('completed 3/3 100.00', 'enrolled 0/3 0.00')::text, 'taken out, it does not, and may have been the last one missing');
update lms.learning_path_courses set is_required = false where path_id = tests.id('pile') and course_id = tests.id('one');
select is((tests.way('dora', 'pile'), tests.way('sid', 'pile'))::text, ('completed 3/3 100.00', 'enrolled 0/2 0.00')::text, 'what is finished stays as it was');
update lms.courses set deleted_at = now() where id = tests.id('two');
select is(tests.way('sid', 'pile'), 'enrolled 0/1 0.00', 'a deleted course does not count');
update lms.courses set deleted_at = null where id = tests.id('two');
select is(tests.way('sid', 'pile'), 'enrolled 0/2 0.00', '... restored, it does');
select is_empty('select * from tests.wrong_ways', 'all exactly');
insert into lms.learning_path_courses (path_id, course_id) values (tests.id('steps'), tests.id('closed'));
select is(tests.way('dora', 'steps'), 'completed 3/3 100.00', 'a completed path stays completed when it grows');
select tests.as('dora');
select is((lms.enroll_in_path(tests.id('steps'))).items_total, 4, '... and can be begun again for what is new');
select tests.as_owner();
rollback to before_changes;
select tests.as('hanna');
select lives_ok(format('update lms.memberships set unit_id = %L where id in (%L, %L)', tests.id('south'), tests.id('dora in works'), tests.id('drew in works')));
select tests.as_owner();
select is((select string_agg(format('%s %s', e.status, u.name), ', ' order by e.status, u.name) from lms.path_enrollments e join lms.org_units u on u.id = e.unit_id where e.user_id in (tests.id('dora'), tests.id('drew'))),
  'completed dock, dropped dock, in_progress south, in_progress south, in_progress south', 'open path enrolments move along, finished ones stay');
select is(tests.error_of(format('delete from lms.org_units where id = %L', tests.id('dock'))), '409 unit_in_use', 'a unit where a path was completed is in use');
rollback to before_changes;
update lms.learning_paths set deleted_at = now() where id = tests.id('pile');
select is(tests.sees_as('dora', 'lms.learning_paths', 'slug = ''pile''') || tests.sees_as('boss', 'lms.learning_paths', 'slug = ''pile''') || tests.sees_as('dora', 'lms.path_enrollments', format('path_id = %L', tests.id('pile'))), '001', 'INV-C3: a deleted path vanishes, and who was on it keeps the record');
rollback to before_changes;
update lms.learning_paths set status = 'archived' where id = tests.id('pile');
select is(tests.sees_as('dora', 'lms.learning_paths', 'slug = ''pile''') || tests.sees_as('drew', 'lms.learning_paths', 'slug = ''pile'''), '10', 'who is on an archived path keeps it');
update lms.memberships set status = 'suspended' where id = tests.id('dora in works');
select is(tests.sees_as('dora', 'lms.path_enrollments') || tests.try('dora', format('select lms.continue_path(%L)', tests.id('hush'))), '0409 not_eligible', 'INV-T4: suspended, nobody sees a way or goes on');
rollback to before_changes;

-- =====================================================================================================
-- What a completion costs
-- =====================================================================================================

create function tests.rows_read() returns bigint language sql as $$
  select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint from pg_stat_xact_user_tables where schemaname = 'lms'
$$;
insert into lms.courses (tenant_id, slug, title, instructor_id) select tests.id('works'), 'past-' || n, 'Past ' || n, tests.id('ines') from generate_series(1, 300) n;
insert into lms.enrollments (course_id, user_id, status, started_at, completed_at)
select c.id, tests.id('iva'), 'completed', now(), now() from lms.courses c where c.slug like 'past-%';
select tests.course('alone', 'works', 'ines', 1), tests.course('warm', 'works', 'ines', 1), tests.course('inpath', 'works', 'ines', 1);
select tests.path('measured', 'works', 'boss', array['inpath', 'warm', 'three']);
select tests.enrollment(who, course) from unnest(array['iva', 'audrey']) who, unnest(array['alone', 'warm', 'inpath']) course;
insert into lms.path_enrollments (tenant_id, path_id, user_id, items_total) select tests.id('works'), tests.id('measured'), tests.id(who), 3 from unnest(array['iva', 'audrey']) who;
analyze lms.courses, lms.enrollments, lms.lesson_progress, lms.lessons, lms.learning_path_courses, lms.path_enrollments, lms.learning_paths;
create function tests.cost(name text, course text) returns bigint language plpgsql as $$
declare
  v_before constant bigint := tests.rows_read();
begin
  perform tests.completes(name, course);
  return tests.rows_read() - v_before;
end
$$;
select tests.cost('audrey', 'warm'), tests.cost('iva', 'warm');
select tests.cost('audrey', 'inpath') as novice, tests.cost('iva', 'inpath') as veteran, tests.cost('audrey', 'alone') as alone \gset
select cmp_ok(:veteran::bigint, '<=', :novice::bigint + 5, format('INV-P5: a completion in a path reads as many rows with 300 courses behind one: %s, %s', :novice, :veteran));
select cmp_ok(:alone::bigint, '<=', :novice::bigint, format('a completion in no path reads fewer: %s', :alone));
select is(tests.way('iva', 'measured'), 'in_progress 2/3 66.66', 'and it is counted');

select * from finish();
rollback;
