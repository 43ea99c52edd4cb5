begin;
\ir ../helpers.sql
select * from no_plan();

-- INV-P5: one completion costs the same whatever the learner did before and however long the course is. Cost is counted in
-- rows read, which no busy machine changes.

select tests.tenant('works');
select tests.member('ines', 'works', 'instructor'), tests.member('novice', 'works'), tests.member('veteran', 'works');
select tests.course('short', 'works', 'ines', 5), tests.course('long', 'works', 'ines', 1000);

-- Three hundred finished courses, a thousand lessons done: as an import would have brought them.
insert into lms.courses (tenant_id, slug, title, instructor_id)
select tests.id('works'), 'past-' || n, 'Past ' || n, tests.id('ines') from generate_series(1, 300) n;
insert into lms.modules (course_id, title) select c.id, 'Only' from lms.courses c where c.slug like 'past-%';
insert into lms.lessons (module_id, title, order_index)
select m.id, 'Lesson ' || n, n from lms.modules m join lms.courses c on c.id = m.course_id, generate_series(1, 4) n where c.slug like 'past-%';
insert into lms.enrollments (course_id, user_id)
select c.id, tests.id('veteran') from lms.courses c where c.slug like 'past-%';
insert into lms.lesson_progress (user_id, lesson_id, progress_percentage)
select tests.id('veteran'), l.id, 100 from lms.lessons l join lms.courses c on c.id = l.course_id where c.slug like 'past-%';
-- Others, so that the veteran is not all there is to the statistics: where courses have one learner on average, the planner
-- takes the foreign key's (tenant, course) for as good as a unique key.
select tests.member('other ' || n, 'works') from generate_series(1, 40) n;
select tests.enrollment('other ' || n, 'short') from generate_series(1, 40) n;
insert into lms.enrollments (course_id, user_id)
select c.id, tests.id('other ' || n) from lms.courses c, generate_series(1, 40) n where c.slug like 'past-%' and hashtext(c.slug || n) % 5 = 0;
select tests.enrollment('novice', 'short'), tests.enrollment('veteran', 'short'), tests.enrollment('novice', 'long');
analyze lms.tenants, lms.memberships, lms.courses, lms.modules, lms.lessons, lms.enrollments, lms.lesson_progress;

create function tests.rows_read() returns bigint language sql as $$
  select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint from pg_stat_xact_user_tables where schemaname = 'lms'
$$;

-- Rows read by completing the third lesson; the first two warm the plans up.
create function tests.cost(name text, course text) returns bigint language plpgsql as $$
declare
  v_before bigint;
  v_cost bigint;
begin
  perform tests.as(name);
  perform lms.complete_lesson(tests.id(course || '/1'));
  perform lms.complete_lesson(tests.id(course || '/2'));
  v_before := tests.rows_read();
  perform lms.complete_lesson(tests.id(course || '/3'));
  v_cost := tests.rows_read() - v_before;
  perform tests.as_owner();
  return v_cost;
end
$$;

select tests.cost('novice', 'short') as novice_short, tests.cost('veteran', 'short') as veteran_short, tests.cost('novice', 'long') as novice_long \gset
select cmp_ok(:novice_short::bigint, '<', 60::bigint, 'INV-P5: a completion reads few rows');
-- A row more or less: the older versions of a row that an index still leads to.
select cmp_ok(:veteran_short::bigint, '<=', :novice_short::bigint + 3, 'INV-P5: as many for a learner with a thousand past records');
select cmp_ok(:novice_long::bigint, '<=', :novice_short::bigint + 3, 'INV-P5: as many in a course of a thousand lessons');
select is(tests.standing('veteran', 'short'), 'in_progress 3/5 60.00', 'and it is counted');

select * from finish();
rollback;
