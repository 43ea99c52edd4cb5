begin;
\ir ../helpers.sql
select * from no_plan();

-- =====================================================================================================
-- A small company, and some months of it
-- =====================================================================================================

select tests.tenant('works'), tests.tenant('mill');
update lms.tenants set time_zone = 'America/Los_Angeles' where id = tests.id('works');
delete from private.stale_reports;
select tests.unit('plant', 'works'), tests.unit('line', 'works', 'plant'), tests.unit('dock', 'works', 'plant'), tests.unit('office', 'works'), tests.unit('saw', 'mill');
select tests.member('ines', 'works', 'instructor'), tests.member('ina', 'mill', 'instructor');
select tests.member('p' || n, 'works', 'learner', case n % 5 when 0 then 'line' when 1 then 'dock' when 2 then 'office' when 3 then 'plant' end)
from generate_series(1, 20) n;
select tests.member('m' || n, 'mill', 'learner', 'saw') from generate_series(1, 3) n;
select tests.course(c, 'works', 'ines', 3) from unnest(array['safety', 'ladders', 'paint', 'cranes']) c;
select tests.course('planks', 'mill', 'ina', 3);

-- As if each of these had been a transaction of its own, long ago: the horizon passes them.
create function tests.long_ago(is_long_ago boolean) returns void language plpgsql as $$
declare
  v_table text;
begin
  foreach v_table in array array['analytics.question_events', 'analytics.activity_events', 'private.report_changes', 'private.lesson_changes'] loop
    execute format('alter table %s alter column xid set default %s', v_table, case when is_long_ago then '''7''' else 'pg_current_xact_id()' end);
  end loop;
end $$;

create function tests.draw(n integer, purpose integer) returns integer language sql immutable as $$
  select abs(hashint8extended(n, purpose) % 1000)::integer
$$;

-- Some enrolments, progress, answers and sessions; what they are is drawn by lot, and the same every time.
create function tests.live(seed integer) returns void language plpgsql as $$
declare
  v_person text; v_course text; v_enrollment lms.enrollments;
begin
  for i in 1..60 loop
    v_person := 'p' || 1 + tests.draw(seed * 100 + i, 1) % 20;
    v_course := (array['safety', 'ladders', 'paint', 'cranes'])[1 + tests.draw(seed * 100 + i, 2) % 4];
    select * into v_enrollment from lms.enrollments e where e.user_id = tests.id(v_person) and e.course_id = tests.id(v_course) order by e.cycle desc limit 1;
    if not found or v_enrollment.status in ('completed', 'dropped', 'expired') then
      insert into lms.enrollments (course_id, user_id, enrolled_at)
      values (tests.id(v_course), tests.id(v_person), now() - tests.draw(seed * 100 + i, 3) % 200 * interval '7 hours');
      continue;
    end if;
    case tests.draw(seed * 100 + i, 4) % 10
      when 0 then update lms.enrollments set status = 'dropped' where id = v_enrollment.id;
      when 1 then update lms.memberships set unit_id = (array[tests.id('line'), tests.id('dock'), tests.id('office'), null])[1 + i % 4] where user_id = tests.id(v_person);
      when 2 then
        insert into analytics.learning_sessions (tenant_id, course_id, user_id, unit_id, enrollment_id, started_at, last_activity_at, ended_at)
        values (v_enrollment.tenant_id, v_enrollment.course_id, v_enrollment.user_id, v_enrollment.unit_id, v_enrollment.id, now() - i * interval '1 day', now() - i * interval '1 day' + interval '99 s', now() - i * interval '1 day' + interval '99 s');
      when 3, 4 then
        insert into analytics.question_events (user_id, course_id, section_key, question_key, is_correct, received_at)
        select tests.id(v_person), tests.id(v_course), 's' || k % 2, 'q' || k, (array[true, false, null])[1 + (i + k) % 3], now() - tests.draw(i * 10 + k, seed) % 150 * interval '11 hours' from generate_series(1, 4) k;
      when 5 then
        insert into analytics.activity_events (user_id, course_id, event_type, received_at)
        values (tests.id(v_person), tests.id(v_course), 'view_section', now() - tests.draw(i, seed) % 150 * interval '13 hours');
      else
        insert into lms.lesson_progress (user_id, lesson_id, progress_percentage, enrollment_id)
        select tests.id(v_person), l.id, (array[40, 100, 100])[1 + i % 3], v_enrollment.id
        from lms.lessons l where l.course_id = tests.id(v_course) order by hashtext(l.id::text || seed) limit 1
        on conflict (enrollment_id, lesson_id) do update set progress_percentage = greatest(lesson_progress.progress_percentage, excluded.progress_percentage), completed_at = coalesce(lesson_progress.completed_at, excluded.completed_at);
    end case;
  end loop;
end $$;

-- =====================================================================================================
-- Every scope, by the sums and by the facts
-- =====================================================================================================

create table tests.scopes as
select row_number() over () as n, (
  tests.id('works'), 'America/Los_Angeles', s.is_whole, s.units, s.courses, u.of_units, c.of_course, null::uuid[], d.from_day, d.until_day, coalesce(d.from_day::timestamp at time zone 'America/Los_Angeles', '-infinity'), coalesce((d.until_day + 1)::timestamp at time zone 'America/Los_Angeles', 'infinity'), '{}'::uuid[]
)::private.report_scope as scope
from (values
  (true, '{}'::uuid[], '{}'::uuid[]),
  (false, array[tests.id('line')], '{}'),
  (false, array[tests.id('line'), tests.id('dock'), tests.id('plant')], array[tests.id('safety')]),
  (false, '{}', array[tests.id('safety'), tests.id('paint')])
) s (is_whole, units, courses)
cross join (values (null::uuid[]), (array[tests.id('line'), tests.id('office')]), (array[tests.id('dock')]), ('{}')) u (of_units)
cross join (values (null::uuid), (tests.id('safety')), (tests.id('ladders'))) c (of_course)
cross join (values
  (null::date, null::date), ((now() - interval '40 days')::date, null), (null, (now() - interval '20 days')::date),
  ((now() - interval '75 days')::date, (now() - interval '3 days')::date), ((now() - interval '3 days')::date, now()::date),
  (date_trunc('month', now() - interval '2 months')::date, (date_trunc('month', now()) - interval '1 day')::date)
) d (from_day, until_day);

create function tests.differences() returns setof text language plpgsql as $$
declare
  v_scope private.report_scope;
  v_horizon xid8;
  v_name text;
begin
  for v_scope in select (s.scope).* from tests.scopes s loop
    v_scope.deleted_courses := array(select c.id from lms.courses c where c.deleted_at is not null);
    v_horizon := private.rollup_horizon(v_scope);
    return query
    with pairs as (
      select 'enrolments by ' || g as what, array(select n::text from private.enrollment_sums(v_scope, g, v_horizon) n order by 1) as sums, array(select n::text from private.enrollment_facts(v_scope, g) n order by 1) as facts
      from unnest(array['total', 'course', 'unit']) g
      union all
      select 'answers', array(select n::text from private.question_sums(v_scope, v_horizon) n order by 1), array(select n::text from private.question_facts(v_scope) n order by 1)
    )
    select format('%s of %s: %s instead of %s', p.what, v_scope, p.sums, p.facts) from pairs p where p.sums <> p.facts;
    continue when v_scope.from_day is null or v_scope.until_day is null;
    foreach v_name in array array['day', 'week', 'month'] loop
      v_scope := private.set_period(v_scope, date_trunc(v_name, v_scope.from_day::timestamp)::date, (date_trunc(v_name, v_scope.until_day::timestamp) + ('1 ' || v_name)::interval - interval '1 day')::date);
      return query
      with pairs as (
        select 'activity' as what, array(select n::text from private.activity_sums(v_scope, v_name, v_horizon) n order by 1) as sums, array(select n::text from private.activity_facts(v_scope, v_name) n order by 1) as facts
        union all
        select 'outcomes', array(select n::text from private.outcome_sums(v_scope, v_name, v_horizon) n order by 1), array(select n::text from private.outcome_facts(v_scope, v_name) n where n.completions <> 0 or n.seconds <> 0 order by 1)
      )
      select format('%s by %s of %s: %s instead of %s', p.what, v_name, v_scope, p.sums, p.facts) from pairs p where p.sums <> p.facts;
    end loop;
  end loop;
  return query
  select format('people of %s: %s instead of %s', s.scope, array(select n::text from private.people_sums(s.scope, private.rollup_horizon(s.scope)) n order by 1), array(select n::text from private.people_facts(s.scope) n order by 1)) from tests.scopes s
  where array(select n::text from private.people_sums(s.scope, private.rollup_horizon(s.scope)) n order by 1) <> array(select n::text from private.people_facts(s.scope) n order by 1);
  return query
  select format('lessons of %s', s.scope) from tests.scopes s
  where array(select n::text from private.lesson_numbers(s.scope) n order by 1) <> array(select n::text from private.lesson_facts(s.scope) n order by 1);
end $$;

select tests.live(1);
select cmp_ok((select count(*) from private.report_changes), '>', 50::bigint, 'changes are noted');
select is_empty('select tests.differences()', 'before anything was added up, everything is beyond the horizon');

select tests.long_ago(true);
select tests.live(2), tests.live(3), tests.live(4);
select is((select count(*) from private.report_changes where xid = '7') > 20, true, 'some changes are long over');
select tests.long_ago(false);
update private.report_state set horizon = '7';
select cmp_ok(ops.fold_reports(), '>', 100::bigint, 'the job adds up what is over');
select is((select count(*) from private.report_changes where xid = '7'), 0::bigint, '... and removes its lines');
select cmp_ok((select count(*) from private.report_changes), '>', 50::bigint, '... and leaves what is not over');
select cmp_ok((select count(*) from private.activity_cells), '>', 20::bigint);
select cmp_ok((select count(*) from private.question_cells), '>', 20::bigint);
select cmp_ok((select count(*) from private.active_elsewhere), '>', 0::bigint);
select is_empty('select tests.differences()', 'INV-N1: sums and what lies beyond the horizon are the facts, in every scope');
select is(ops.fold_reports(), 0::bigint, 'INV-O1: adding up again adds nothing');

select tests.live(5), tests.live(6);
select is_empty('select tests.differences()', 'the same with more beyond it');
update lms.courses set deleted_at = now() where id = tests.id('ladders');
select is_empty('select tests.differences()', 'a deleted course is left out');
update lms.courses set deleted_at = null where id = tests.id('ladders');
select is_empty('select tests.differences()', '... and back when it is restored');
select is((select count(*) from tests.scopes s, private.enrollment_sums(s.scope, 'course', private.rollup_horizon(s.scope)) n where n.group_id = tests.id('ladders')) > 0, true);
delete from lms.lesson_progress; delete from lms.assessment_progress; delete from analytics.learning_sessions; delete from lms.certificates;
delete from lms.enrollments where user_id in (tests.id('p3'), tests.id('p4'));
select is_empty($$ select d from tests.differences() d where d not like 'lessons%' $$, 'removed rows are taken off');
insert into lms.memberships (tenant_id, user_id) select tests.id('mill'), tests.id('p' || n) from generate_series(1, 5) n;
update lms.memberships set status = 'ended' where user_id = tests.id('p1');
update lms.memberships set status = 'suspended' where user_id = tests.id('p2');
select is_empty($$ select d from tests.differences() d where d like 'people%' $$, 'INV-N2: people who come, leave and are suspended');

-- =====================================================================================================
-- Anew
-- =====================================================================================================

select lives_ok('select ops.rebuild_rollups()', 'the sums are made anew');
select is_empty('select tests.differences()', '... and are the facts again');
select lives_ok($$ select ops.rebuild_rollups(tests.id('works')) $$);
select is_empty('select tests.differences()', '... also those of one organisation');

create table tests.before as select * from private.report_cells order by tenant_id;
select results_eq('select ops.check_rollups(100)', $$ values (2::bigint) $$, 'the check finds them right');
update private.report_cells set completed = completed + 1 where tenant_id = tests.id('works') and unit_key = tests.id('line') and day = '-infinity';
select throws_like('select ops.check_rollups(100)', '%Sums of reports of organisation % differ from the facts: enrolments by %', 'a wrong sum is an alarm');
select ops.run_job('check-rollups') from generate_series(1, 9);
select matches((select last_error from ops.health where name = 'check-rollups'), 'differ from the facts', '... that shows in the health of jobs');
select ops.rebuild_rollups(tests.id('works'));
select results_eq('select ops.check_rollups(100)', $$ values (2::bigint) $$, '... and is repaired by making them anew');
update private.question_cells set correct = correct - 1 where tenant_id = tests.id('works');
select throws_like('select ops.check_rollups(100)', '%answers%');
select ops.rebuild_rollups();
update private.activity_cells set people = people + 1 where tenant_id = tests.id('works');
select throws_like('select ops.check_rollups(100)', '%activity%');
select ops.rebuild_rollups();

-- =====================================================================================================
-- What nobody changes, changed; other hours; another cluster
-- =====================================================================================================

alter table analytics.question_events disable trigger _100_append_only;
delete from analytics.question_events where user_id = tests.id('p5');
alter table analytics.question_events enable trigger _100_append_only;
select is((select count(*) from private.stale_reports), 1::bigint, 'removed events are noticed');
select is(private.rollup_horizon((select scope from tests.scopes where n = 1)), null, '... and the facts are asked instead of the sums');
select ops.fold_reports();
select is((select count(*) from private.stale_reports), 0::bigint, 'the job makes the sums anew');
select is_empty('select tests.differences()');

update lms.tenants set time_zone = 'Asia/Tokyo' where id = tests.id('works');
select is((select count(*) from private.stale_reports), 1::bigint, 'days that begin at other hours are other days');
select ops.fold_reports();
update tests.scopes set scope.time_zone = 'Asia/Tokyo';
update tests.scopes set scope = private.set_period(scope, (scope).from_day, (scope).until_day);
select is_empty('select tests.differences()', '... and are added up anew');

update private.report_state set system_identifier = 1, horizon = '999999999999';
select is(private.rollup_horizon((select scope from tests.scopes where n = 1)), null, 'in a restored dump, transactions have other ids: the facts are asked');
select tests.live(7);
select lives_ok('select ops.fold_reports()', '... until the job has made the sums anew');
select isnt(private.rollup_horizon((select scope from tests.scopes where n = 1)), null);
select is_empty('select tests.differences()');

-- =====================================================================================================
-- Whose they are
-- =====================================================================================================

select is_empty(
  $$ select format('%s %s', c.relname, r) from pg_class c, unnest(array['anon', 'authenticated', 'service_role']) r, unnest(array['select', 'insert', 'update', 'delete']) v
     where c.relnamespace = 'private'::regnamespace and (c.relname ~ '^(report|lesson|question|activity)_(cells|changes|state)$' or c.relname in ('active_days', 'active_elsewhere', 'stale_reports')) and c.relkind = 'r' and has_table_privilege(r, c.oid, v) $$,
  'nobody but the functions reads or writes the sums'
);

select finish();
rollback;
