begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press'), tests.unit('north', 'works'), tests.unit('line', 'works', 'north'), tests.unit('south', 'works');
update lms.org_units set code = upper(name);
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'), tests.member('marco', 'works', 'unit_manager', 'north', 'north'),
  tests.member('ines', 'works', 'instructor'), tests.member('ivan', 'works', 'instructor'), tests.member('audrey', 'works', 'auditor'),
  tests.member('dora', 'works', 'learner', 'north'), tests.member('lena', 'works', 'learner', 'line'), tests.member('sid', 'works', 'learner', 'south'), tests.member('eve', 'works', 'learner', 'north'), tests.member('finn', 'works', 'learner', 'north'),
  tests.member('petra', 'press', 'tenant_admin'), tests.member('paul', 'press', 'learner');
select tests.person('noah');
update lms.memberships m set employee_number = 'N-' || p.first_name from public.profiles p where p.id = m.user_id and p.first_name <> '';
select tests.course('free', 'works', 'ines', 1), tests.course('small', 'works', 'ines', 1), tests.course('secret', 'works', 'ines', 1, 'private'), tests.course('open', 'works', 'ines', 1, 'public'), tests.course('idea', 'works', 'ines', 1, 'restricted', 'draft'), tests.course('novel', 'press', 'petra', 1, 'public');
update lms.courses set capacity = 2 where slug = 'small';
update lms.courses set self_enrollment = 'approval' where slug = 'open';

-- A row: who by id, a course by slug.
create function tests.row_of(who text, course text, extra jsonb default '{}') returns jsonb language sql as $$
  select jsonb_build_object('user_id', tests.id(who), 'course_slug', course) || extra
$$;
create function tests.bulk(who text, rows jsonb, dry_run boolean default false, invite boolean default false, key text default null, tenant text default 'works')
returns setof lms.bulk_row_result language plpgsql as $$
declare
  v_results lms.bulk_row_result[];
begin
  perform tests.be(who);
  v_results := lms.enroll_in_bulk(tests.id(tenant), rows, dry_run, invite, key);
  perform tests.as_owner();
  return query select * from unnest(v_results);
end
$$;
-- What became of the rows: outcomes, or codes of what was refused, joined by blanks.
create function tests.told(who text, rows jsonb, dry_run boolean default false, invite boolean default false, key text default null) returns text language sql as $$
  select coalesce(string_agg(case when b.outcome = 'refused' then b.code else b.outcome end, ' '), '') from tests.bulk(who, rows, dry_run, invite, key) b
$$;
-- The same, without doing it.
create function tests.would_tell(who text, rows jsonb, invite boolean default false) returns text language plpgsql as $$
begin
  raise exception using errcode = 'UNDO2', message = tests.told(who, rows, false, invite);
exception
  when sqlstate 'UNDO2' then
    perform tests.as_owner();
    return sqlerrm;
  when others then
    perform tests.as_owner();
    return sqlstate;
end
$$;
create function tests.taking(course text) returns text language sql as $$
  select coalesce(string_agg(p.first_name, ' ' order by p.first_name), '')
  from lms.enrollments e join public.profiles p on p.id = e.user_id where e.course_id = tests.id(course) and e.status in ('enrolled', 'in_progress', 'paused')
$$;
create table tests.heard (token text);
grant select on tests.heard to authenticated;
create function tests.invite_all(who text, rows jsonb, key text default null) returns text language plpgsql as $$
declare
  v_results lms.bulk_row_result[] := array(select b from tests.bulk(who, rows, false, true, key) b);
begin
  insert into tests.heard select r.details ->> 'token' from unnest(v_results) r where r.details ? 'token';
  return (select string_agg(case when r.outcome = 'refused' then r.code else r.outcome end, ' ') from unnest(v_results) r);
end
$$;
savepoint clean;

-- =====================================================================================================
-- Who may call it, and for whom
-- =====================================================================================================

select is(tests.outcome_of('select tests.bulk(''' || who || ''', ''[]'')'), expected, format('%s calls: %s', who, expected))
from (values ('hanna', 'none'), ('boss', 'none'), ('marco', 'none'), ('ines', 'none'), ('service', 'none'), ('ivan', '42501'), ('dora', '42501'), ('audrey', '42501'), ('petra', '404 tenant_not_found'), ('noah', '404 tenant_not_found'), ('anonymous', '42501')) as cases (who, expected);
select tests.as_owner();
select is(tests.would_tell(who, jsonb_build_array(tests.row_of(person, course))), expected, format('%s enrols %s in %s: %s', who, person, course, expected))
from (values
  ('hanna', 'dora', 'free', 'enrolled'), ('hanna', 'sid', 'secret', 'enrolled'), ('hanna', 'paul', 'free', 'not_eligible'), ('hanna', 'nobody', 'free', 'not_eligible'), ('hanna', 'dora', 'novel', 'course_not_found'),
  ('marco', 'dora', 'free', 'enrolled'), ('marco', 'lena', 'secret', 'enrolled'), ('marco', 'sid', 'free', 'out_of_scope'), ('marco', 'boss', 'free', 'out_of_scope'), ('marco', 'paul', 'free', 'out_of_scope'), ('marco', 'nobody', 'free', 'out_of_scope'),
  ('marco', 'marco', 'free', 'enrolled'), ('marco', 'marco', 'secret', 'not_eligible'),
  ('ines', 'sid', 'free', 'enrolled'), ('ines', 'sid', 'idea', 'not_eligible'), ('ines', 'paul', 'free', 'not_eligible'),
  ('service', 'sid', 'free', 'enrolled'), ('service', 'paul', 'free', 'not_eligible')
) as cases (who, person, course, expected);
-- By number and address: only whom one may see.
select is(tests.would_tell(who, jsonb_build_array(jsonb_build_object(by, value, 'course_slug', 'free'))), expected, format('%s names somebody by %s %s: %s', who, by, value, expected))
from (values
  ('hanna', 'email', ' SID@example.com ', 'enrolled'), ('hanna', 'employee_number', 'N-Sid', 'enrolled'), ('hanna', 'employee_number', 'N-Paul', 'person_not_found'), ('hanna', 'email', 'paul@example.com', 'person_not_found'), ('hanna', 'email', 'nobody@example.com', 'person_not_found'),
  ('marco', 'email', 'lena@example.com', 'enrolled'), ('marco', 'employee_number', 'N-Lena', 'enrolled'), ('marco', 'email', 'sid@example.com', 'person_not_found'), ('marco', 'employee_number', 'N-Sid', 'person_not_found'),
  -- Staff of a course without members.read learns of no address.
  ('ines', 'email', 'sid@example.com', 'person_not_found'), ('ines', 'employee_number', 'N-Sid', 'person_not_found'), ('service', 'email', 'sid@example.com', 'enrolled')
) as cases (who, by, value, expected);
-- One who lost their right a moment ago.
update lms.memberships set status = 'suspended' where user_id = tests.id('marco');
select is(tests.outcome_of($$ select tests.bulk('marco', '[]') $$), '404 tenant_not_found', 'INV-T4: a suspended manager enrols nobody');
select tests.as_owner();
rollback to clean;

-- =====================================================================================================
-- Rows
-- =====================================================================================================

select is(tests.would_tell('hanna', jsonb_build_array(row)), expected, format('%s: %s', left(row::text, 90), expected))
from (values
  ('7'::jsonb, 'not_an_object'), ('null', 'not_an_object'), ('[]', 'not_an_object'), ('{}', 'person_missing'), ('{"email": " "}', 'person_missing'), ('{"email": null, "course_slug": "free"}', 'person_missing'),
  ('{"email": "sid@example.com"}', 'course_missing'), ('{"email": "sid@example.com", "course_slug": "\ufeff"}', 'course_missing'), ('{"email": 7, "course_slug": "free"}', 'not_text'), ('{"email": {"a": 1}, "course_slug": "free"}', 'not_text'), ('{"email": ["sid@example.com"], "course_slug": "free"}', 'not_text'), ('{"email": [], "course_slug": "free"}', 'not_text'),
  ('{"email": "sid@example.com", "course_slug": "free", "colour": "red"}', 'unknown_column'), ('{"email": "sid@example.com", "course_slug": "free", "row": "7"}', 'invalid_row'), ('{"email": "sid@example.com", "course_slug": "free", "row": -1}', 'invalid_row'), ('{"email": "sid@example.com", "course_slug": "free", "row": 1e300}', 'invalid_row'),
  ('{"user_id": "x", "course_slug": "free"}', 'invalid_id'), ('{"email": "sid@example.com", "course_id": "free"}', 'invalid_id'), ('{"email": "sid@example.com", "course_id": "''; drop table lms.enrollments; --"}', 'invalid_id'),
  ('{"email": "sid@example.com", "course_slug": "none"}', 'course_not_found'), ('{"email": "sid@example.com", "course_slug": "%"}', 'course_not_found'), ('{"email": "=cmd|''/C calc''!A0", "course_slug": "free"}', 'person_not_found'), ('{"email": "%@example.com", "course_slug": "free"}', 'person_not_found'),
  ('{"email": "sid@example.com", "course_slug": "free", "employee_number": "N-Dora"}', 'person_ambiguous'), ('{"email": "sid@example.com", "course_slug": "free", "employee_number": "N-Sid"}', 'enrolled'), ('{"email": "sid@example.com", "course_slug": "free", "employee_number": "N-None"}', 'person_not_found'),
  ('{"email": "sid@example.com", "course_slug": "FREE", "row": 12}', 'enrolled'), ('{"email": "\u00a0sid@example.com\t", "course_slug": "free\r\n"}', 'enrolled')
) as cases (row, expected);
select is(tests.would_tell('hanna', jsonb_build_array(tests.row_of('sid', 'free', jsonb_build_object(field, value)))), expected, format('%s %s: %s', field, value, expected))
from (values
  ('due_at', '2031-05-01', 'enrolled'), ('due_at', '2031-05-01T08:00:00Z', 'enrolled'), ('due_at', '2031-05-01 08:00+02:00', 'enrolled'), ('due_at', '2001-05-01', 'enrolled'), ('due_at', '', 'enrolled'), ('due_at', '31.12.2031', 'invalid_date'), ('due_at', '2031-02-30', 'invalid_date'),
  ('due_at', '2031-05-01T08:00:00', 'invalid_date'), ('due_at', 'tomorrow', 'invalid_date'), ('due_at', 'infinity', 'invalid_date'), ('due_at', '-infinity', 'invalid_date'), ('due_at', '0000-00-00', 'invalid_date'), ('due_at', '2031-05-01T25:00:00Z', 'invalid_date'), ('due_at', '2031-05-01T08:00:00+99:99', 'invalid_date'), ('due_at', 'epoch', 'invalid_date'),
  ('expires_at', '2031-05-01', 'enrolled'), ('expires_at', '2001-05-01', 'invalid_date'), ('expires_at', 'never', 'invalid_date')
) as cases (field, value, expected);
select is(tests.would_tell('hanna', jsonb_build_array(tests.row_of('sid', 'free', jsonb_build_object('course_id', tests.id(course))))), expected, 'both ways to name a course: ' || expected)
from (values ('free', 'enrolled'), ('small', 'course_ambiguous'), ('none', 'course_not_found')) as cases (course, expected);
-- A day ends where the organisation is.
update lms.tenants set time_zone = 'America/Denver' where id = tests.id('works');
select is((select e.due_at from lms.enrollments e, tests.bulk('hanna', jsonb_build_array(tests.row_of('sid', 'free', '{"due_at": "2031-07-01"}'))) b where e.id = b.enrollment_id), null, 'the statement that enrols does not see the row yet');
select is((select due_at from lms.enrollments where user_id = tests.id('sid')), '2031-07-02 05:59:59+00', 'a day means its last second in the time zone of the tenant');
-- Two members with one address.
update public.profile_private set email = 'SAME@example.com' where profile_id in (tests.id('dora'), tests.id('eve'));
select is(tests.would_tell('hanna', '[{"email": "same@example.com", "course_slug": "free"}]'), 'person_ambiguous', 'an address that two have is nobody''s');
select is(tests.would_tell('hanna', '[{"email": "same@example.com", "employee_number": "N-Eve", "course_slug": "free"}]'), 'enrolled', '... unless the number says who');
update lms.memberships set status = 'ended' where user_id = tests.id('dora');
select is(tests.would_tell('hanna', '[{"email": "same@example.com", "course_slug": "free"}]'), 'enrolled', 'who has left does not count');
select is(tests.would_tell('hanna', '[{"employee_number": "N-Dora", "course_slug": "free"}]'), 'not_eligible', '... and is not enrolled by number');
-- A guest may have signed up with any address.
insert into lms.memberships (tenant_id, user_id, is_guest) values (tests.id('works'), tests.id('noah'), true);
select is(tests.would_tell('hanna', '[{"email": "noah@example.com", "course_slug": "secret"}]'), 'person_not_found', 'an unconfirmed address of a guest is nobody''s');
select tests.confirm('noah');
select is(tests.would_tell('hanna', '[{"email": "noah@example.com", "course_slug": "secret"}]'), 'enrolled', 'a confirmed one is theirs');
rollback to clean;

select is(tests.outcome_of(format('select tests.bulk(''hanna'', %L)', rows)), expected, expected)
from (values ('{}', '422 rows_not_a_list'), ('7', '422 rows_not_a_list'), ('null', '422 rows_not_a_list'), ((select jsonb_agg('{}'::jsonb)::text from generate_series(1, 10001)), '413 too_many_rows')) as cases (rows, expected);
select tests.as_owner();
select is(tests.told('hanna', '[]'), '', 'no rows are nothing to do');

-- =====================================================================================================
-- Each for itself, in order
-- =====================================================================================================

select is(
  (select array_agg((b."row", b.outcome, b.code, b.user_id, b.course_id, b.enrollment_id is not null)::text) from tests.bulk('hanna', jsonb_build_array(
    tests.row_of('dora', 'free', '{"row": 2}'), '{}'::jsonb, tests.row_of('sid', 'none', '{"row": 4}'), tests.row_of('dora', 'free', '{"row": 9}'), tests.row_of('eve', 'idea'), tests.row_of('eve', 'free')
  )) b),
  array[
    (2, 'enrolled', null, tests.id('dora'), tests.id('free'), true)::text, (2, 'refused', 'person_missing', null, null, false)::text, (4, 'refused', 'course_not_found', tests.id('sid'), null, false)::text,
    (9, 'refused', 'duplicate_row', tests.id('dora'), tests.id('free'), false)::text, (5, 'refused', 'not_eligible', tests.id('eve'), tests.id('idea'), false)::text, (6, 'enrolled', null, tests.id('eve'), tests.id('free'), true)::text
  ],
  'rows are answered in their order, by their number'
);
select is(tests.taking('free'), 'Dora Eve', 'good rows are enrolled');
select is((select array_agg(distinct (e.source, e.enrolled_by, e.cycle, e.status, e.unit_id, e.items_total, e.version_id is not null, e.enrolled_at = now())::text) from lms.enrollments e), array[('bulk', tests.id('hanna'), 1, 'enrolled', tests.id('north'), 1, true, true)::text], '... with everything that the server knows');
select is((select details from tests.bulk('hanna', jsonb_build_array(tests.row_of('eve', 'idea'))) b), '[{"code": "not_published", "message": "The course is not published.", "details": {"status": "draft"}}]', 'a refused one has every reason');
select is((select details from tests.bulk('hanna', jsonb_build_array(tests.row_of('lena', 'free', '{"row": 3}'), '{"row": 8, "employee_number": "N-Lena", "course_slug": "free"}'::jsonb)) b where b.outcome = 'refused'), '{"row": 3}', 'a duplicate names the row that it repeats, however both are spelt');
select is((select count(*) from audit.log l where l.table_name = 'lms.enrollments' and l.operation = 'INSERT' and l.actor_id = tests.id('hanna')), 3::bigint, 'INV-O2: each is in the audit trail, with who did it');
select is(tests.told('hanna', jsonb_build_array(tests.row_of('dora', 'free'), tests.row_of('eve', 'free'), tests.row_of('sid', 'free'))), 'already_enrolled already_enrolled enrolled', 'sent again, nobody is enrolled twice');
select is((select count(*) from lms.enrollments), 4::bigint, '... indeed');
select is((select b.enrollment_id from tests.bulk('hanna', jsonb_build_array(tests.row_of('dora', 'free'))) b), (select id from lms.enrollments where user_id = tests.id('dora')), '... and told which enrolment it is');
update lms.courses set status = 'archived' where slug = 'free';
select is(tests.told('hanna', jsonb_build_array(tests.row_of('dora', 'free'))), 'already_enrolled', '... also when the course has been archived since');
rollback to clean;

-- INV-E4: seats, by row; a full course does not stop those who are in.
select is(tests.told('hanna', jsonb_build_array(tests.row_of('paul', 'small'), tests.row_of('dora', 'small'), tests.row_of('eve', 'small'), tests.row_of('sid', 'small'), tests.row_of('sid', 'free')), dry), expected, expected)
from (values (true, 'not_eligible would_enroll would_enroll not_eligible would_enroll'), (false, 'not_eligible enrolled enrolled not_eligible enrolled'), (true, 'not_eligible already_enrolled already_enrolled not_eligible already_enrolled')) as cases (dry, expected);
select is(tests.taking('small'), 'Dora Eve', 'as many as there are seats');
update lms.enrollments set expires_at = now() - interval '1 day' where user_id = tests.id('dora') and course_id = tests.id('small');
select is(tests.told('hanna', jsonb_build_array(tests.row_of('dora', 'small', '{"due_at": "2031-01-01"}'))), 'enrolled', 'INV-E1: who has run out of time begins anew');
select is((select array_agg((cycle, status)::text order by cycle) from lms.enrollments where user_id = tests.id('dora') and course_id = tests.id('small')), '{"(1,expired)","(2,enrolled)"}', '... in the next cycle');
rollback to clean;

-- A dry run writes nothing at all.
select is(tests.told('hanna', jsonb_build_array(tests.row_of('dora', 'free'), '{"email": "new@example.com", "course_slug": "free"}'::jsonb, tests.row_of('hanna', 'free')), true, true, 'k'), 'would_enroll would_invite would_enroll', 'a dry run tells');
select is((select count(*) from lms.enrollments) + (select count(*) from lms.invitations) + (select count(*) from lms.pending_enrollments) + (select count(*) from private.idempotency_keys), 0::bigint, '... and writes nothing');

-- Somebody's own trigger, or whatever nobody thought of: that row alone.
create function tests.dislike() returns trigger language plpgsql as $$
begin
  if new.user_id = tests.id('eve') then
    raise exception 'Not this one.';
  end if;
  return null;
end
$$;
create trigger _999_dislike after insert on lms.enrollments for each row execute function tests.dislike();
select is(tests.told('hanna', jsonb_build_array(tests.row_of('dora', 'free'), tests.row_of('eve', 'free'), tests.row_of('sid', 'free'), tests.row_of('finn', 'free'), tests.row_of('lena', 'free'))), 'enrolled not_eligible enrolled enrolled enrolled', 'a row that fails while it is written fails alone');
select is(tests.taking('free'), 'Dora Finn Lena Sid', '... and the others are there');
rollback to clean;

-- Who asked is let in, also from outside, and stops asking.
select tests.as('noah');
select lms.request_enrollment(tests.id('open'));
select tests.as_owner();
select is(tests.told('ines', jsonb_build_array(tests.row_of('noah', 'open'))), 'enrolled', 'who has asked for a public course is let in');
select is((select (m.is_guest, r.status)::text from lms.memberships m, lms.enrollment_requests r where m.user_id = tests.id('noah') and r.user_id = tests.id('noah')), '(t,enrolled)', '... as a guest, and asks no longer');
rollback to clean;

-- =====================================================================================================
-- INV-E3: the same as one by one
-- =====================================================================================================
-- Every kind of person against every kind of course. What the call says of each row is what private.enrollment_obstacles says
-- after the rows before it, and begins the same cycle as lms.enroll.

create table tests.kinds as
select
  'p-' || state || '-' || open as person, state, open
from unnest(array['active', 'suspended', 'ended', 'guest', 'none', 'asking']) as state, unnest(array['never', 'open', 'run-out', 'completed', 'dropped']) as open
where state not in ('none', 'asking') or open = 'never';
create table tests.courses_of_kinds as
select 'c-' || status || '-' || visibility || '-' || capacity as course, status, visibility, capacity
from unnest(array['published', 'draft', 'archived']) as status, unnest(array['public', 'restricted', 'private']) as visibility, unnest(array['any', '0', '12', '20']) as capacity
where status = 'published' or capacity = 'any';
select tests.person(person, '{"first_name": "X"}') from tests.kinds;
insert into lms.memberships (tenant_id, user_id, unit_id, status, is_guest)
select tests.id('works'), tests.id(person), tests.id('north'), 'active', state = 'guest' from tests.kinds where state not in ('none', 'asking');
select tests.course(course, 'works', 'ines', 1, visibility) from tests.courses_of_kinds;
insert into lms.enrollments (course_id, user_id, expires_at) select tests.id(course), tests.id(person), case open when 'run-out' then now() - interval '1 hour' end from tests.kinds, tests.courses_of_kinds where open <> 'never' and state not in ('none', 'asking');
update lms.enrollments e set status = case k.open when 'completed' then 'in_progress' else 'dropped' end from tests.kinds k where e.user_id = tests.id(k.person) and k.open in ('completed', 'dropped');
update lms.enrollments e set items_done = items_total from tests.kinds k where e.user_id = tests.id(k.person) and k.open = 'completed';
insert into lms.enrollment_requests (tenant_id, course_id, user_id, status) select tests.id('works'), tests.id(course), tests.id(person), 'pending' from tests.kinds, tests.courses_of_kinds where state = 'asking' and visibility = 'public';
update lms.memberships m set status = k.state from tests.kinds k where m.user_id = tests.id(k.person) and k.state in ('suspended', 'ended');
update lms.courses c set status = k.status, capacity = case k.capacity when 'any' then null else k.capacity::integer end from tests.courses_of_kinds k where c.id = tests.id(k.course);

create table tests.pairs as select row_number() over (order by md5(person || course))::integer as line, person, course from tests.kinds, tests.courses_of_kinds where state <> 'asking' or visibility = 'public';
select cmp_ok((select count(*) from tests.pairs), '>=', 300::bigint, 'there is something to compare');

create function tests.one_by_one() returns setof text language plpgsql as $$
declare
  v_pair record;
  v_reasons jsonb;
begin
  for v_pair in select * from tests.pairs order by line loop
    -- As admission does it: whoever has asked becomes a guest first.
    v_reasons := (select jsonb_agg(to_jsonb(o)) from private.enrollment_obstacles(tests.id(v_pair.course), tests.id(v_pair.person), false) o);
    if v_reasons is null then
      perform tests.as('hanna');
      perform lms.enroll(tests.id(v_pair.course), tests.id(v_pair.person));
      perform tests.as_owner();
    end if;
    return next format('%s %s %s', v_pair.person, v_pair.course, coalesce((
      select case when o ? 'already_enrolled' and not o ? 'membership_suspended' then 'already_enrolled' else v_reasons::text end
      from (select jsonb_agg(r -> 'code') as o from jsonb_array_elements(v_reasons) r) x
    ), 'enrolled'));
  end loop;
end
$$;
create function tests.at_once(dry boolean) returns setof text language sql as $$
  select format('%s %s %s', p.person, p.course, case b.outcome when 'refused' then b.details::text when 'would_enroll' then 'enrolled' else b.outcome end)
  from tests.bulk('hanna', (select jsonb_agg(tests.row_of(q.person, q.course, jsonb_build_object('row', q.line)) order by q.line) from tests.pairs q), dry) b
  join tests.pairs p on p.line = b."row"
$$;
create function tests.everything() returns setof text language sql as $$
  select format('%s %s %s %s %s %s %s %s %s', e.user_id, e.course_id, e.cycle, e.status, e.unit_id, e.version_id, e.items_total, e.due_at, e.enrolled_by) from lms.enrollments e
  union all
  select format('%s %s %s', m.user_id, m.status, m.is_guest) from lms.memberships m
  union all
  select format('%s %s %s', r.user_id, r.course_id, r.status) from lms.enrollment_requests r
$$;
create function tests.without_trace(which text) returns text[] language plpgsql as $$
declare
  v_told text[];
  v_left text[];
begin
  begin
    v_told := case which when 'one' then array(select o from tests.one_by_one() o order by o) when 'bulk' then array(select o from tests.at_once(false) o order by o) else array(select o from tests.at_once(true) o order by o) end;
    v_left := case which when 'dry' then '{}' else array(select o from tests.everything() o order by o) end;
    raise exception using errcode = 'UNDO3';
  exception
    when sqlstate 'UNDO3' then null;
  end;
  perform tests.as_owner();
  return v_told || array['--'] || v_left;
end
$$;
create table tests.answers as select which, tests.without_trace(which) as told from unnest(array['one', 'bulk', 'dry']) as which;
select is((select count(*) from tests.answers a, unnest(a.told) t where a.which = 'one' and t like '% enrolled'), 77::bigint, 'many of them are enrolled');
create function tests.differences(one text, other text, many boolean) returns text[] language sql as $$
  with said as (select a.which, t from tests.answers a, unnest(case when many then a.told else a.told[:array_position(a.told, '--')] end) t)
  select array(select s.which || ': ' || s.t from said s where s.which = one and not exists (select from said o where o.which = other and o.t = s.t) order by 1)
    || array(select s.which || ': ' || s.t from said s where s.which = other and not exists (select from said o where o.which = one and o.t = s.t) order by 1)
$$;
select is(tests.differences('one', 'bulk', true), '{}', 'row by row, the call refuses and enrols what enrolling one by one does, and leaves the same behind');
select is(tests.differences('dry', 'bulk', false), '{}', 'a dry run says the same');
update lms.tenants set is_active = false where id = tests.id('works');
create function tests.reasons_at_once() returns setof text language sql as $$
  select format('%s %s %s', p.person, p.course, v.reasons)
  from private.bulk_obstacles(array(select (p.line, tests.id(p.course), tests.id(p.person))::private.bulk_pair from tests.pairs p order by p.line)) v
  join tests.pairs p on p.line = v.line
$$;
select set_eq(
  'select * from tests.reasons_at_once()',
  $$ select format('%s %s %s', p.person, p.course, array(select o from private.enrollment_obstacles(tests.id(p.course), tests.id(p.person), false) o)) from tests.pairs p $$,
  'so it is in an organisation that is closed'
);
rollback to clean;

-- =====================================================================================================
-- Sent again under a key
-- =====================================================================================================

select is(tests.told('hanna', jsonb_build_array(tests.row_of('dora', 'free'), tests.row_of('sid', 'free'), '{}'::jsonb), key => 'list 7'), 'enrolled enrolled person_missing', 'a list with a key');
update lms.enrollments set status = 'dropped' where user_id = tests.id('dora');
select is(tests.told('hanna', jsonb_build_array(tests.row_of('dora', 'free'), tests.row_of('sid', 'free'), '{}'::jsonb), key => 'list 7'), 'enrolled enrolled person_missing', 'sent again it is answered as the first time');
select is((select count(*) from lms.enrollments), 2::bigint, '... and who has left since is not enrolled again');
select is(tests.outcome_of($$ select tests.bulk('hanna', '[{}]', key => 'list 7') $$), '422 idempotency_key_reused', 'a key is for one list');
select tests.as_owner();
select is(tests.outcome_of(format('select tests.bulk(''hanna'', ''[]'', key => %L)', key)), '422 invalid_idempotency_key', 'a key has 1 to 255 characters') from unnest(array['', repeat('x', 256)]) as key;
select tests.as_owner();
select is(tests.told('boss', jsonb_build_array(tests.row_of('dora', 'free')), key => 'list 7'), 'enrolled', 'somebody else''s key is another one');
select is((select request ? 'rows' or request::text like '%' || tests.id('dora') || '%' from private.idempotency_keys where user_id = tests.id('hanna')), false, 'the rows are not kept');
-- A kept answer is for those who may still read it.
select is(tests.told('marco', jsonb_build_array(tests.row_of('lena', 'free'), tests.row_of('finn', 'free')), key => 'mine'), 'enrolled enrolled', 'a manager''s list');
update lms.memberships set unit_id = tests.id('south') where user_id = tests.id('lena');
select is((select array_agg((b.code, b.user_id is null, b.enrollment_id is null)::text) from tests.bulk('marco', jsonb_build_array(tests.row_of('lena', 'free'), tests.row_of('finn', 'free')), key => 'mine') b), '{"(out_of_scope,t,t)","(,f,f)"}', 'who has moved away is not told of any more');
rollback to clean;

-- =====================================================================================================
-- Inviting
-- =====================================================================================================

select is(tests.invite_all('hanna', '[
  {"email": "new@example.com", "course_slug": "free", "due_at": "2031-01-01", "unit_code": "LINE"}, {"email": "sid@example.com", "course_slug": "free"}, {"email": "new@example.com", "course_slug": "secret"}, {"email": "NEW@example.com", "course_slug": "free"},
  {"email": "not an address", "course_slug": "free"}, {"email": "other@example.com", "course_slug": "none"}, {"email": "third@example.com", "course_slug": "free", "unit_code": "MOON"}, {"employee_number": "N-None", "course_slug": "free"}
]', 'inviting'), 'invited enrolled invited duplicate_row email_is_an_address_in_lower_case course_not_found unit_not_found person_not_found', 'unknown addresses are invited');
select is((select string_agg(i.email, ' ') from lms.invitations i), 'new@example.com', '... once');
select is((select count(token) from tests.heard), 1::bigint, '... and the token is told');
select is((select response::text like '%' || token || '%' from private.idempotency_keys, tests.heard), false, '... once: it is kept nowhere');
select is(tests.invite_all('hanna', '[{"email": "new@example.com", "course_slug": "free"}, {"email": "new@example.com", "course_slug": "small"}]'), 'invited invited', 'sent again');
select is((select count(token) from tests.heard), 1::bigint, '... the invitation stands: its link would die');
select is((select array_agg((c.slug, p.status)::text order by c.slug) from lms.pending_enrollments p join lms.courses c on c.id = p.course_id), '{"(free,pending)","(secret,pending)","(small,pending)"}', '... and each course waits once');
select is(tests.told('hanna', '[{"email": "more@example.com", "course_slug": "free"}]'), 'person_not_found', 'nobody is invited unasked');
select is(tests.sees_as(who, 'lms.pending_enrollments'), expected, format('%s sees %s pending enrolments', who, expected))
from (values ('hanna', '3'), ('boss', '3'), ('audrey', '3'), ('marco', '3'), ('ines', '3'), ('ivan', '0'), ('dora', '0'), ('petra', '0'), ('anonymous', '42501')) as cases (who, expected);
select is(tests.try(who, 'delete from lms.pending_enrollments'), expected, format('%s calls off: %s', who, expected)) from (values ('hanna', '3'), ('ines', '3'), ('marco', '0'), ('audrey', '0'), ('petra', '0')) as cases (who, expected);
select is(tests.try('boss', statement), '42501', left(statement, 50)) from unnest(array['insert into lms.pending_enrollments (tenant_id) values (null)', 'update lms.pending_enrollments set status = ''enrolled''', 'truncate lms.pending_enrollments']) as statement;

-- They come, by the rules for whom staff enrols: this course is private, and full by now is another.
update lms.courses set capacity = 0 where slug = 'small';
select tests.person('new', '{"first_name": "New"}'), tests.confirm('new');
select tests.as('new');
select is(tests.error_of(format('select lms.accept_invitation(%L)', (select token from tests.heard))), 'none', 'the invited comes');
select tests.as_owner();
select is((select array_agg((c.slug, e.source, e.enrolled_by, e.due_at is not null, e.unit_id)::text order by c.slug) from lms.enrollments e join lms.courses c on c.id = e.course_id where e.user_id = tests.id('new')), array[('free', 'invitation', tests.id('hanna'), true, tests.id('line'))::text, ('secret', 'invitation', tests.id('hanna'), false, tests.id('line'))::text], '... and is enrolled');
select is((select array_agg((c.slug, p.status, p.reasons -> 0 ->> 'code')::text order by c.slug) from lms.pending_enrollments p join lms.courses c on c.id = p.course_id), '{"(free,enrolled,)","(secret,enrolled,)","(small,refused,capacity_full)"}', '... or is told why not');
rollback to clean;

-- The right to enrol has to be there when they come.
select is(tests.invite_all(who, format('[{"email": "%s@example.com", "course_slug": "secret", "unit_code": "%s"}]', email, unit)::jsonb), expected, format('%s invites into %s: %s', who, unit, expected))
from (values ('marco', 'new', 'LINE', 'invited'), ('marco', 'two', 'SOUTH', 'role_not_grantable'), ('marco', 'three', '', 'role_not_grantable'), ('ines', 'four', 'LINE', 'role_not_grantable'), ('hanna', 'five', 'SOUTH', 'invited'), ('marco', 'five', 'LINE', 'already_invited'), ('ines', 'five', '', 'role_not_grantable')) as cases (who, email, unit, expected);
-- Of somebody else's invitation nobody learns more than inviting tells: neither where it is for, nor by trying it out.
select is((select string_agg(coalesce(b.code, b.outcome), ' ') from tests.bulk(who, jsonb_build_array(jsonb_build_object('email', email || '@example.com', 'course_slug', 'secret', 'unit_code', 'LINE')), true, true) b), expected, format('%s tries out %s: %s', who, email, expected))
from (values ('marco', 'five', 'already_invited'), ('ines', 'five', 'role_not_grantable'), ('ines', 'six', 'role_not_grantable'), ('marco', 'six', 'would_invite'), ('marco', 'new', 'would_invite'), ('hanna', 'five', 'would_invite')) as cases (who, email, expected);
select tests.grant_role('sid', 'works', 'unit_manager', 'line');
select is(tests.told('sid', '[{"email": "new@example.com", "course_slug": "free"}]', invite => true), 'invited', 'another manager adds to it');
delete from lms.role_grants where membership_id = tests.id('sid in works');
select tests.person('new', '{"first_name": "New"}'), tests.confirm('new');
create table tests.first as select token from tests.heard limit 1;
grant select on tests.first to authenticated;
select tests.as('new');
select is(tests.error_of(format('select lms.accept_invitation(%L)', (select token from tests.first))), 'none', 'they come');
select tests.as_owner();
select is(tests.taking('secret') || ' | ' || tests.taking('free'), 'New | ', 'whose right has gone has enrolled nobody');
select is((select p.reasons -> 0 ->> 'code' from lms.pending_enrollments p where p.created_by = tests.id('sid')), 'not_allowed', '... which is noted');
delete from lms.invitations;
select is((select count(*) from lms.pending_enrollments), 0::bigint, 'with the invitation goes what waited for it');
rollback to clean;

-- Nobody gets past admission by saying what the call says.
select is(tests.try('dora', $$ insert into lms.enrollments (user_id, course_id, source) values (tests.id('dora'), tests.id('secret'), 'bulk') $$), '42501', 'clients write no source');
select set_config('lyceum.admitted', 'true', true);
select is(tests.try('dora', $$ insert into lms.enrollments (user_id, course_id) values (tests.id('dora'), tests.id('secret')) $$), '404 course_not_found', '... and the setting alone opens nothing');

select * from finish();
rollback;
