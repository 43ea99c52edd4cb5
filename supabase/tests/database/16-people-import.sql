begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press');
select
  tests.unit('north', 'works'), tests.unit('dock', 'works', 'north'), tests.unit('south', 'works'), tests.unit('attic', 'works'),
  tests.unit('desk', 'press'), tests.unit('press dock', 'press');
update lms.org_units set code = upper(split_part(name, ' ', -1));
update lms.org_units set archived_at = now() where name = 'attic';
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'),
  tests.member('marco', 'works', 'unit_manager', 'north', 'north'), tests.member('ines', 'works', 'instructor'),
  tests.member('audrey', 'works', 'auditor'), tests.member('dora', 'works', 'learner', 'dock', 'dock'),
  tests.member('sid', 'works', 'learner', 'south'), tests.member('lea', 'works'),
  tests.member('quinn', 'works'), tests.member('susi', 'works', 'learner', 'south'),
  tests.member('petra', 'press', 'tenant_admin'), tests.member('paul', 'press', 'learner', 'desk');
select tests.person('noah'), tests.person('una'), tests.person('gus');
insert into lms.memberships (id, tenant_id, user_id, is_guest)
values (tests.id('gus in works'), tests.id('works'), tests.id('gus'), true);
update auth.users set email_confirmed_at = now() where id <> tests.id('una');
update lms.memberships m set employee_number = n.number
from (values ('boss', 'E0'), ('dora', 'E1'), ('sid', 'E2'), ('lea', 'E3'), ('quinn', 'E4'), ('susi', 'E5')) as n (name, number)
where m.id = tests.id(n.name || ' in works');
update lms.memberships set employee_number = 'E1' where id = tests.id('paul in press');
update lms.memberships set job_title = 'Clerk' where id = tests.id('dora in works');
update lms.memberships set status = 'suspended' where id = tests.id('susi in works');
update lms.memberships set status = 'ended', ended_by = tests.id('hanna') where id = tests.id('lea in works');
update lms.memberships set status = 'ended', ended_by = tests.id('quinn') where id = tests.id('quinn in works');
-- A role of the tenant's own: HR may not give it, since it carries more than HR holds.
insert into lms.roles (id, tenant_id, key, name) values (tests.id('coach'), tests.id('works'), 'coach', 'Coach');
insert into lms.role_permissions (tenant_id, role_id, permission) values (tests.id('works'), tests.id('coach'), 'assessments.grade');

-- What becomes of rows: '1 invited; 2 failed two_people'. Options: dry_run, end_limit, invite, tenant.
create function tests.feed(who text, rows jsonb, options jsonb default '{}') returns text language plpgsql as $$
declare
  v_result text;
begin
  perform tests.be(who);
  begin
    select string_agg(concat_ws(' ', coalesce(r.line::text, r.employee_number), r.action, r.code), '; ' order by r.line, r.employee_number)
    into v_result
    from unnest(lms.import_people(
      coalesce((options ->> 'tenant')::uuid, tests.id('works')), rows, coalesce((options ->> 'dry_run')::boolean, false),
      coalesce((options ->> 'end_limit')::integer, 0), coalesce((options ->> 'invite')::boolean, false)
    )) as r;
  exception
    when sqlstate 'PGRST' then
      v_result := (sqlerrm::jsonb) ->> 'code';
    when others then
      v_result := sqlstate;
  end;
  perform tests.as_owner();
  return coalesce(v_result, 'nothing');
end
$$;

-- The same, and undone: so that the cases of a list do not depend on each other.
create function tests.feed_once(who text, rows jsonb, options jsonb default '{}') returns text language plpgsql as $$
declare
  v_result text;
begin
  begin
    v_result := tests.feed(who, rows, options);
    raise exception using errcode = 'UNDO0';
  exception
    when sqlstate 'UNDO0' then null;
  end;
  perform tests.as_owner();
  return v_result;
end
$$;

-- 'status unit number title roles'; - where there is none.
create function tests.member_as(name text) returns text language sql as $$
  select concat_ws(
    ' ', m.status, coalesce(u.name, '-'), coalesce(m.employee_number, '-'), coalesce(m.job_title, '-'),
    coalesce((
      select string_agg(r.key || coalesce('@' || gu.name, ''), ',' order by r.key, gu.name)
      from lms.role_grants g
      join lms.roles r on r.id = g.role_id
      left join lms.org_units gu on gu.id = g.unit_id
      where g.membership_id = m.id
    ), '-'),
    case when m.is_guest then 'guest' end
  )
  from lms.memberships m
  left join lms.org_units u on u.id = m.unit_id
  where m.tenant_id = tests.id('works') and m.user_id = tests.id($1)
$$;

-- Everything that an import could touch, with the versions of rows.
create function tests.state() returns text language sql as $$
  select md5(string_agg(t, '|' order by t))
  from (
    select 'm' || m.xmin || m::text from lms.memberships m
    union all select 'g' || g.xmin || g::text from lms.role_grants g
    union all select 'i' || i.xmin || i::text from lms.invitations i
    union all select 'k' || k.xmin || k::text from private.invitation_tokens k
    union all select 'p' || p.xmin || p::text from public.profiles p
    union all select 'u' || u.xmin || u.id from auth.users u
  ) as all_rows (t)
$$;

-- =====================================================================================================
-- Who may
-- =====================================================================================================

select is(tests.feed_once(who, '[{"employee_number": "E1", "job_title": "Cook"}]'), expected, who || ' importing: ' || expected)
from (values
  ('hanna', '1 updated'), ('boss', '1 updated'), ('service', '1 updated'), ('owner', '1 updated'),
  ('marco', '42501'), ('dora', '42501'), ('ines', '42501'), ('audrey', '42501'), ('anonymous', '42501'),
  ('petra', 'tenant_not_found'), ('noah', 'tenant_not_found'), ('gus', '42501'), ('susi', 'tenant_not_found'),
  ('lea', 'tenant_not_found')
) as cases (who, expected)
where who <> 'gus';
select isnt(tests.feed_once('gus', '[{"employee_number": "E1", "job_title": "Cook"}]'), '1 updated', 'a guest imports nobody');

update lms.tenants set is_active = false where slug = 'works';
select is(tests.feed_once('hanna', '[{"employee_number": "E1", "job_title": "Cook"}]'), 'tenant_not_found', 'nor does HR of a closed tenant');
update lms.tenants set is_active = true where slug = 'works';

-- =====================================================================================================
-- What is refused as a whole
-- =====================================================================================================

select is(tests.feed_once(who, rows::jsonb, options::jsonb), expected, expected || ' for ' || who)
from (values
  ('hanna', '{}', '{}', 'invalid_rows'), ('hanna', 'null', '{}', 'invalid_rows'), ('service', '"x"', '{}', 'invalid_rows'),
  ('hanna', '[]', '{"end_limit": -1}', 'invalid_end_limit'), ('hanna', '[]', '{}', 'nothing')
) as cases (who, rows, options, expected)
union all
select is(tests.feed_once('hanna', jsonb_agg(1)), 'too_many_rows', 'too_many_rows') from generate_series(1, 20001)
union all
select is(tests.feed_once('service', '[]', jsonb_build_object('tenant', gen_random_uuid())), 'tenant_not_found', 'no such tenant');

-- =====================================================================================================
-- Faults of a row: it changes nothing, and the next one is applied
-- =====================================================================================================

create function tests.state_after(who text, rows jsonb) returns text language plpgsql as $$
begin
  perform tests.feed(who, rows);
  return tests.state();
end
$$;

create temporary table faults (who text, rows jsonb, expected text);
insert into faults values
  ('hanna', '[1]', '1 failed not_an_object'),
  ('hanna', '[null]', '1 failed not_an_object'),
  ('hanna', '[["E1"]]', '1 failed not_an_object'),
  ('hanna', '[{"employee_number": "E1", "is_admin": "yes"}]', '1 failed unknown_column'),
  ('hanna', '[{"employee_number": "E1", "job_title": 7}]', '1 failed not_text'),
  ('hanna', '[{"employee_number": {"a": 1}}]', '1 failed not_text'),
  ('hanna', '[{"job_title": "Cook"}]', '1 failed nobody_named'),
  ('hanna', '[{"employee_number": " \u00a0", "email": "\t"}]', '1 failed nobody_named'),
  ('hanna', jsonb_build_array(jsonb_build_object('employee_number', repeat('9', 61))), '1 failed employee_number_too_long'),
  ('hanna', '[{"email": "nobody"}]', '1 failed invalid_email'),
  ('hanna', '[{"email": "a b@example.com"}]', '1 failed invalid_email'),
  ('hanna', '[{"email": "x@example.com,y@example.com"}]', '1 failed invalid_email'),
  ('hanna', jsonb_build_array(jsonb_build_object('employee_number', 'E1', 'job_title', repeat('x', 201))), '1 failed job_title_too_long'),
  ('hanna', '[{"email": "new@example.com", "first_name": "A\nB"}]', '1 failed invalid_name'),
  ('hanna', jsonb_build_array(jsonb_build_object('email', 'new@example.com', 'last_name', repeat('x', 101))), '1 failed invalid_name'),
  ('hanna', '[{"employee_number": "E1", "role": "learner", "role_scope": "world"}]', '1 failed invalid_role_scope'),
  ('hanna', '[{"employee_number": "E1", "status": "fired"}]', '1 failed invalid_status'),
  ('hanna', '[{"employee_number": "E1", "unit": "NOWHERE"}]', '1 failed unit_not_found'),
  ('hanna', '[{"employee_number": "E1", "unit": "DESK"}]', '1 failed unit_not_found'),
  ('service', '[{"employee_number": "E1", "unit": "DESK"}]', '1 failed unit_not_found'),
  ('hanna', '[{"employee_number": "E1", "unit": "ATTIC"}]', '1 failed unit_archived'),
  ('hanna', '[{"email": "new@example.com", "unit": "ATTIC"}]', '1 failed unit_archived'),
  ('service', '[{"email": "noah@example.com", "unit": "ATTIC"}]', '1 failed unit_archived'),
  ('hanna', '[{"employee_number": "E1", "role": "king"}]', '1 failed role_not_found'),
  ('hanna', '[{"employee_number": "E9"}]', '1 failed email_missing'),
  ('hanna', '[{"employee_number": "E1", "email": "sid@example.com"}]', '1 failed two_people'),
  -- Numbers that were swapped: nobody can tell whether the numbers or the addresses are wrong.
  (
    'hanna',
    '[{"employee_number": "E2", "email": "dora@example.com"}, {"employee_number": "E1", "email": "sid@example.com"}]',
    '1 failed two_people; 2 failed two_people'
  ),
  -- A role with rights and without a unit would cover the tenant by oversight.
  ('hanna', '[{"email": "new@example.com", "role": "unit_manager"}]', '1 failed role_scope_missing'),
  ('hanna', '[{"email": "ines@example.com", "role": "unit_manager", "role_scope": "unit"}]', '1 failed role_scope_missing'),
  ('service', '[{"email": "noah@example.com", "role": "tenant_admin"}]', '1 failed role_scope_missing'),
  ('service', '[{"employee_number": "E1", "unit": "", "role": "unit_manager"}]', '1 failed role_scope_missing'),
  -- Who left by themselves comes back by themselves, also for the service.
  ('hanna', '[{"employee_number": "E4"}]', '1 failed left_by_choice'),
  ('boss', '[{"employee_number": "E4", "status": "active"}]', '1 failed left_by_choice'),
  ('service', '[{"employee_number": "E4", "status": "suspended"}]', '1 failed left_by_choice'),
  -- Escalation by columns: nobody gives what they do not have.
  ('hanna', '[{"email": "hanna@example.com", "role": "tenant_admin", "role_scope": "tenant"}]', '1 failed role_not_grantable'),
  ('hanna', '[{"employee_number": "E1", "role": "tenant_admin", "role_scope": "unit"}]', '1 failed role_not_grantable'),
  ('hanna', '[{"employee_number": "E1", "role": "auditor", "role_scope": "tenant"}]', '1 failed role_not_grantable'),
  ('hanna', '[{"employee_number": "E1", "role": "coach"}]', '1 failed role_not_grantable'),
  ('hanna', '[{"email": "new@example.com", "role": "tenant_admin", "role_scope": "tenant"}]', '1 failed role_not_grantable'),
  ('hanna', '[{"email": "new@example.com", "role": "coach", "unit": "DOCK"}]', '1 failed role_not_grantable'),
  ('hanna', '[{"employee_number": "E3", "role": "tenant_admin", "role_scope": "tenant"}]', '1 failed role_not_grantable'),
  -- Administrators are changed by administrators, and the last one stays.
  ('hanna', '[{"employee_number": "E0", "status": "ended"}]', '1 failed not_allowed'),
  ('hanna', '[{"employee_number": "E0", "status": "suspended"}]', '1 failed not_allowed'),
  ('hanna', '[{"employee_number": "E0", "unit": "DOCK"}]', '1 failed not_allowed'),
  ('boss', '[{"employee_number": "E0", "status": "ended"}]', '1 failed last_administrator'),
  ('service', '[{"employee_number": "E0", "status": "suspended"}]', '1 failed last_administrator');

select is(tests.feed_once(f.who, f.rows), f.expected, format('%s: %s', f.who, f.expected))
from faults f;

create temporary table before as select tests.state() as state;
select is(tests.state_after(f.who, f.rows), b.state, format('%s: %s leaves nothing', f.who, f.expected))
from faults f
cross join before b;

select is(
  tests.feed_once(f.who, f.rows || '[{"employee_number": "E5", "job_title": "Cook"}]'),
  format('%s; %s updated', f.expected, jsonb_array_length(f.rows) + 1), format('after %s, the next row is applied', f.expected)
)
from faults f;

-- Several faults at once are all told.
select tests.be('hanna');
select is(
  (r.code, jsonb_array_length(r.details -> 'faults'))::text, '(nobody_named,3)', 'all faults of a row are told'
)
from unnest(lms.import_people(tests.id('works'), '[{"status": "x", "role_scope": "y"}]')) as r;
select is(
  r.details, '{"unit": "NOWHERE"}', 'what is wrong is in the details'
)
from unnest(lms.import_people(tests.id('works'), '[{"employee_number": "E1", "unit": "NOWHERE"}]')) as r;
select matches(
  r.message, 'members\.write', 'the message says what to do'
)
from unnest(lms.import_people(tests.id('works'), '[{"employee_number": "E1", "role": "coach"}]')) as r;
select tests.as_owner();

-- =====================================================================================================
-- Named twice
-- =====================================================================================================

select is(tests.feed_once('hanna', rows::jsonb), expected, 'named twice: ' || what)
from (values
  ('by number', '[{"employee_number": "E1"}, {"employee_number": " E1 "}]', '1 unchanged; 2 failed named_twice'),
  ('by address', '[{"email": "dora@example.com"}, {"email": "DORA@example.com "}]', '1 unchanged; 2 failed named_twice'),
  ('by both', '[{"employee_number": "E1"}, {"email": "dora@example.com", "status": "ended"}]', '1 unchanged; 2 failed named_twice'),
  (
    'a number that was given away in the row before',
    '[{"employee_number": "E8", "email": "dora@example.com"}, {"employee_number": "E1", "email": "new@example.com"}]',
    '1 updated; 2 failed named_twice'
  ),
  ('new people', '[{"email": "n@example.com"}, {"email": "n@example.com", "employee_number": "E9"}]', '1 invited; 2 failed named_twice'),
  ('new people by number', '[{"email": "n@example.com", "employee_number": "E9"}, {"email": "o@example.com", "employee_number": "E9"}]', '1 invited; 2 failed named_twice'),
  ('even by a faulty row', '[{"employee_number": "E1", "x": "y"}, {"employee_number": "E1"}]', '1 failed unknown_column; 2 failed named_twice')
) as cases (what, rows, expected);

-- =====================================================================================================
-- Members
-- =====================================================================================================

create function tests.after_feed(who text, rows jsonb, name text) returns text language plpgsql as $$
declare
  v_result text;
begin
  begin
    v_result := tests.feed(who, rows);
    v_result := v_result || ' -> ' || tests.member_as(name);
    raise exception using errcode = 'UNDO0';
  exception
    when sqlstate 'UNDO0' then null;
  end;
  perform tests.as_owner();
  return v_result;
end
$$;

select is(tests.after_feed(who, rows::jsonb, name), expected, format('%s: %s', who, what))
from (values
  ('hanna', 'columns that are left out change nothing', 'dora', '[{"employee_number": "E1"}]', '1 unchanged -> active dock E1 Clerk learner@dock'),
  ('hanna', 'empty unit and job title are cleared', 'dora', '[{"employee_number": "E1", "unit": "", "job_title": null}]', '1 moved -> active - E1 - learner@dock'),
  ('hanna', 'an empty number clears nothing', 'dora', '[{"email": "dora@example.com", "employee_number": ""}]', '1 unchanged -> active dock E1 Clerk learner@dock'),
  ('hanna', 'found by address, however written', 'dora', '[{"email": " Dora@Example.COM", "employee_number": "E7"}]', '1 updated -> active dock E7 Clerk learner@dock'),
  ('hanna', 'a new title', 'dora', '[{"employee_number": "E1", "job_title": " Cook\u00a0"}]', '1 updated -> active dock E1 Cook learner@dock'),
  ('hanna', 'moved', 'dora', '[{"employee_number": "E1", "unit": "SOUTH"}]', '1 moved -> active south E1 Clerk learner@dock'),
  ('hanna', 'moved, and the role named with it', 'dora', '[{"employee_number": "E1", "unit": "SOUTH", "role": "learner"}]', '1 moved -> active south E1 Clerk learner@south'),
  ('hanna', 'a role that is held', 'dora', '[{"employee_number": "E1", "role": "learner"}]', '1 unchanged -> active dock E1 Clerk learner@dock'),
  ('service', 'a unit whose code another tenant has as well', 'sid', '[{"employee_number": "E2", "unit": "DOCK"}]', '1 moved -> active dock E2 - learner'),
  ('hanna', 'a role added', 'dora', '[{"employee_number": "E1", "role": "unit_manager"}]', '1 updated -> active dock E1 Clerk learner@dock,unit_manager@dock'),
  ('hanna', 'a role added with the unit of the row', 'dora', '[{"employee_number": "E1", "unit": "DOCK", "role": "unit_manager", "role_scope": "UNIT"}]', '1 updated -> active dock E1 Clerk learner@dock,unit_manager@dock'),
  ('hanna', 'a role that HR may assign without holding it', 'dora', '[{"employee_number": "E1", "role": "instructor", "role_scope": "tenant"}]', '1 updated -> active dock E1 Clerk instructor,learner@dock'),
  ('hanna', 'a role widened', 'marco', '[{"email": "marco@example.com", "role": "unit_manager", "role_scope": "tenant"}]', '1 updated -> active north - - unit_manager'),
  ('hanna', 'what is held for the whole tenant is not limited', 'ines', '[{"email": "ines@example.com", "unit": "SOUTH", "role": "instructor"}]', '1 moved -> active south - - instructor'),
  ('boss', 'an administrator made by an administrator', 'dora', '[{"employee_number": "E1", "role": "tenant_admin", "role_scope": "tenant"}]', '1 updated -> active dock E1 Clerk learner@dock,tenant_admin'),
  ('hanna', 'suspended', 'dora', '[{"employee_number": "E1", "status": "suspended"}]', '1 updated -> suspended dock E1 Clerk learner@dock'),
  ('hanna', 'a suspension stays until the feed says otherwise', 'susi', '[{"employee_number": "E5", "job_title": "Cook"}]', '1 updated -> suspended south E5 Cook learner'),
  ('hanna', 'a suspension lifted', 'susi', '[{"employee_number": "E5", "status": "Active"}]', '1 updated -> active south E5 - learner'),
  ('hanna', 'ended, and nothing else changed', 'dora', '[{"employee_number": "E1", "unit": "NOWHERE", "job_title": "Gone", "role": "king", "status": "ended"}]', '1 ended -> ended dock E1 Clerk -'),
  ('hanna', 'ended already', 'lea', '[{"employee_number": "E3", "status": "ended"}]', '1 unchanged -> ended - E3 - -'),
  ('hanna', 'who left may be ended again', 'quinn', '[{"employee_number": "E4", "status": "ended"}]', '1 unchanged -> ended - E4 - -'),
  ('hanna', 'restored as a plain member', 'lea', '[{"employee_number": "E3", "unit": "SOUTH"}]', '1 restored -> active south E3 - learner@south'),
  ('hanna', 'restored with a role', 'lea', '[{"employee_number": "E3", "unit": "SOUTH", "role": "unit_manager"}]', '1 restored -> active south E3 - unit_manager@south'),
  ('service', 'restored by address, which HR no longer sees', 'lea', '[{"email": "lea@example.com"}]', '1 restored -> active - E3 - learner'),
  ('hanna', 'who has left is invited when named by address', 'lea', '[{"email": "lea@example.com"}]', '1 invited -> ended - E3 - -'),
  ('hanna', 'a guest becomes a member', 'gus', '[{"email": "gus@example.com", "employee_number": "E7"}]', '1 updated -> active - E7 - learner'),
  ('hanna', 'another address is a remark', 'dora', '[{"employee_number": "E1", "email": "dora@elsewhere.example"}]', '1 unchanged email_differs -> active dock E1 Clerk learner@dock'),
  ('hanna', 'not of those who left, whose address is their own', 'lea', '[{"employee_number": "E3", "email": "lea@elsewhere.example", "status": "ended"}]', '1 unchanged -> ended - E3 - -'),
  ('hanna', 'HR numbers an administrator, as by REST', 'boss', '[{"email": "boss@example.com", "employee_number": "B1", "job_title": "Chief"}]', '1 updated -> active - B1 Chief tenant_admin')
) as cases (who, what, name, rows, expected);

-- Two logins of one address, one of them by single sign-on: the number tells them apart, or else who is still a member.
select tests.member('twin', 'works');
update auth.users set is_sso_user = true, email = 'dora@example.com' where id = tests.id('twin');
update lms.memberships set joined_at = now() + interval '1 day' where id = tests.id('twin in works');
select is(
  tests.after_feed('service', '[{"employee_number": "E1", "email": "dora@example.com", "job_title": "Cook"}]', 'dora'),
  '1 updated -> active dock E1 Cook learner@dock', 'a number and an address that two people have'
);
update lms.memberships set status = 'ended' where id = tests.id('twin in works');
select is(
  tests.after_feed('service', '[{"email": "dora@example.com", "job_title": "Cook"}]', 'dora'), '1 updated -> active dock E1 Cook learner@dock',
  'an address that somebody had who left'
);
delete from lms.memberships where id = tests.id('twin in works');

-- Names are the person's own.
select tests.feed('hanna', '[{"employee_number": "E1", "first_name": "Theodora", "last_name": "Renamed"}]');
select is((select p.first_name || p.last_name from public.profiles p where p.id = tests.id('dora')), 'Dora', 'names of members are not changed');

-- What somebody changes after the rows were matched, and the feed does not speak of, stays.
select is(
  private.update_imported_member(m), 'updated', 'a title that is out of date'
)
from private.match_people(tests.id('works'), '[{"employee_number": "E2", "job_title": "Cook"}]') as m,
lateral (select tests.rows_of(format('update lms.memberships set status = %L where id = %L', 'suspended', tests.id('sid in works')))) as meanwhile;
select is(tests.member_as('sid'), 'suspended south E2 Cook learner', 'leaves a suspension of the same moment alone');
update lms.memberships set status = 'active', job_title = null where id = tests.id('sid in works');

-- =====================================================================================================
-- New people
-- =====================================================================================================

-- People of another tenant with the same number or address, and people with a login, are all the same to HR: invited.
select is(
  tests.feed_once('hanna', format('[{"employee_number": "N1", "email": "%s@example.com"}]', name)::jsonb), '1 invited',
  format('HR does not learn whether %s has a login', name)
)
from unnest(array['noah', 'una', 'paul', 'petra', 'stranger']) as name;

select is(
  tests.feed_once('service', format('[{"employee_number": "N1", "email": "%s@example.com"}]', name)::jsonb, options::jsonb), expected,
  format('the service, %s: %s', name, expected)
)
from (values
  ('noah', '{}', '1 created'), ('paul', '{}', '1 created'), ('stranger', '{}', '1 invited'), ('noah', '{"invite": true}', '1 invited'),
  -- Whoever signed up with somebody else's address and never confirmed it must not become that person.
  ('una', '{}', '1 invited')
) as cases (name, options, expected);
update auth.users set is_sso_user = true where id = tests.id('noah');
select is(tests.feed_once('service', '[{"email": "noah@example.com"}]'), '1 invited', 'an address by single sign-on may be anybody''s');
update auth.users set is_sso_user = false where id = tests.id('noah');

select is(
  tests.after_feed(
    'service',
    '[{"employee_number": "N1", "email": "noah@example.com", "unit": "DOCK", "job_title": "Cook", "role": "unit_manager", "status": "suspended"}]',
    'noah'
  ),
  '1 created -> suspended dock N1 Cook unit_manager@dock', 'a member made by the service'
);
select is(
  tests.after_feed('service', '[{"email": "noah@example.com"}]', 'noah'), '1 created -> active - - - learner', 'a plain one'
);
select is(tests.feed_once('hanna', '[{"email": "n@example.com", "status": "ended"}]'), '1 unchanged', 'who is unknown is ended already');
select is(tests.feed_once('hanna', '[{"employee_number": "N9", "status": "ended"}]'), '1 unchanged', 'by number as well');

-- =====================================================================================================
-- Invitations
-- =====================================================================================================

create function tests.open_invitations() returns text language sql as $$
  select coalesce(string_agg(
    concat_ws(
      ' ', split_part(i.email, '@', 1), coalesce(i.employee_number, '-'), r.key, coalesce(u.name, '-'),
      case when i.limited_to_unit then 'limited' else 'wide' end, coalesce(i.job_title, '-'), nullif(i.first_name, ''),
      nullif(i.last_name, '')
    ), '; ' order by i.email
  ), 'none')
  from lms.invitations i
  join lms.roles r on r.id = i.role_id
  left join lms.org_units u on u.id = i.unit_id
  where i.tenant_id = tests.id('works') and i.accepted_at is null and i.revoked_at is null
$$;

select is(
  tests.feed('hanna', '[{"employee_number": "N1", "email": "ann@example.com", "first_name": "Ann", "last_name": "Lee", "unit": "DOCK"}]'),
  '1 invited', 'invited'
);
select is(tests.open_invitations(), 'ann N1 learner dock limited - Ann Lee', 'with all that the row says');
select is((select i.invited_by from lms.invitations i where i.email = 'ann@example.com' and i.tenant_id = tests.id('works')), tests.id('hanna'), 'in the name of HR');
insert into lms.invitations (tenant_id, email, role_id, expires_at)
values (tests.id('press'), 'ann@example.com', tests.role_id('press', 'learner'), now() + interval '1 day');
create temporary table token as select k.token_hash from private.invitation_tokens k;

select is(tests.feed('hanna', rows::jsonb), '1 unchanged', 'not renewed: ' || rows)
from (values
  ('[{"employee_number": "N1", "email": "ann@example.com", "first_name": "Ann", "last_name": "Lee", "unit": "DOCK"}]'),
  ('[{"employee_number": "N1", "email": "ANN@example.com"}]'),
  ('[{"email": "ann@example.com", "role": "learner", "role_scope": "unit"}]')
) as cases (rows);
select results_eq('select token_hash from private.invitation_tokens', 'select token_hash from token', 'its link stays as it was');

create function tests.after_invitations(who text, rows jsonb) returns text language plpgsql as $$
declare
  v_result text;
begin
  begin
    v_result := tests.feed(who, rows);
    v_result := v_result || ' -> ' || tests.open_invitations()
      || case when exists (select from private.invitation_tokens k join token t using (token_hash) join lms.invitations i on i.id = k.invitation_id where i.revoked_at is null) then '' else ' (new link)' end;
    raise exception using errcode = 'UNDO0';
  exception
    when sqlstate 'UNDO0' then null;
  end;
  perform tests.as_owner();
  return v_result;
end
$$;

select is(tests.after_invitations(who, rows::jsonb), expected, format('%s: %s', who, what))
from (values
  ('hanna', 'renewed with another unit', '[{"email": "ann@example.com", "unit": "SOUTH"}]', '1 invited -> ann N1 learner south limited - Ann Lee (new link)'),
  ('hanna', 'with a title', '[{"email": "ann@example.com", "job_title": "Cook"}]', '1 invited -> ann N1 learner dock limited Cook Ann Lee (new link)'),
  ('hanna', 'with another role', '[{"email": "ann@example.com", "role": "unit_manager"}]', '1 invited -> ann N1 unit_manager dock limited - Ann Lee (new link)'),
  ('hanna', 'with another scope', '[{"email": "ann@example.com", "role": "learner", "role_scope": "tenant"}]', '1 invited -> ann N1 learner dock wide - Ann Lee (new link)'),
  ('hanna', 'with another name', '[{"email": "ann@example.com", "first_name": "Anne", "last_name": "Lee"}]', '1 invited -> ann N1 learner dock limited - Anne Lee (new link)'),
  ('hanna', 'with another number', '[{"email": "ann@example.com", "employee_number": "N2"}]', '1 invited -> ann N2 learner dock limited - Ann Lee (new link)'),
  ('hanna', 'to another address: the old one is revoked', '[{"email": "anna@example.com", "employee_number": "N1"}]', '1 invited -> anna N1 learner - limited - (new link)'),
  (
    'hanna', 'a number passed on, in one feed',
    '[{"email": "ann@example.com", "employee_number": "N2"}, {"email": "bob@example.com", "employee_number": "N1"}]',
    '1 invited; 2 invited -> ann N2 learner dock limited - Ann Lee; bob N1 learner - limited - (new link)'
  ),
  (
    'hanna', 'a number passed on, and the one who had it listed after that without',
    '[{"email": "bob@example.com", "employee_number": "N1"}, {"email": "ann@example.com"}]',
    '1 invited; 2 invited -> ann - learner - limited -; bob N1 learner - limited - (new link)'
  ),
  ('hanna', 'ended by address', '[{"email": "ann@example.com", "status": "ended"}]', '1 ended -> none (new link)'),
  ('hanna', 'ended by number', '[{"employee_number": "N1", "status": "ended"}]', '1 ended -> none (new link)'),
  ('hanna', 'a role with rights keeps its unit', '[{"email": "ann@example.com", "role": "unit_manager", "unit": ""}]', '1 failed role_scope_missing -> ann N1 learner dock limited - Ann Lee')
) as cases (who, what, rows, expected);

-- Two open invitations whose numbers were swapped: the address is who is invited.
select tests.feed('hanna', '[{"employee_number": "N2", "email": "bob@example.com"}]');
select is(
  tests.after_invitations('hanna', '[{"employee_number": "N1", "email": "bob@example.com"}, {"employee_number": "N2", "email": "ann@example.com"}]'),
  '1 invited; 2 invited -> ann N2 learner - limited -; bob N1 learner - limited - (new link)', 'swapped numbers of the invited'
);
select tests.feed('hanna', '[{"employee_number": "N2", "status": "ended"}]');

-- A role limited to a unit that an administrator gave must not become the whole tenant's because the feed clears the unit.
update lms.invitations i set role_id = tests.role_id('works', 'unit_manager')
where i.email = 'ann@example.com' and i.tenant_id = tests.id('works');
select is(tests.feed_once(who, '[{"email": "ann@example.com", "unit": ""}]'), '1 failed role_scope_missing', who || ': no unit, no limited role')
from unnest(array['hanna', 'service']) as who;
update lms.invitations i set role_id = tests.role_id('works', 'learner')
where i.email = 'ann@example.com' and i.tenant_id = tests.id('works');

update lms.invitations set expires_at = now() - interval '1 minute' where email = 'ann@example.com';
select is(
  tests.after_invitations('hanna', rows::jsonb), '1 invited -> ann N1 learner dock limited - Ann Lee (new link)',
  'an expired invitation is renewed: ' || rows
)
from unnest(array['[{"email": "ann@example.com"}]', '[{"email": "ann@example.com", "employee_number": "N1"}]']) as rows;
update lms.invitations set expires_at = now() + interval '1 day' where email = 'ann@example.com';

-- The service makes a member of whoever has a confirmed login by now, with what the invitation said.
select tests.person('ann');
update auth.users set email_confirmed_at = now() where id = tests.id('ann');
select is(
  tests.after_feed('service', '[{"email": "ann@example.com"}]', 'ann'), '1 created -> active dock N1 - learner@dock', 'an invited person with a login'
);
select is(
  tests.after_invitations('service', '[{"email": "ann@example.com"}]'), '1 created -> none (new link)', 'whose invitation is revoked'
);
select is(
  tests.feed_once('service', '[{"email": "ann@example.com"}]', '{"invite": true}'), '1 unchanged', 'unless the service invites'
);

-- The token is in the answer, this once, and it is the one.
select tests.be('hanna');
create temporary table answer as
  select r.* from unnest(lms.import_people(tests.id('works'), '[{"email": "zed@example.com"}]')) as r;
select tests.as_owner();
select is(
  (select k.token_hash from private.invitation_tokens k join answer a on a.invitation_id = k.invitation_id),
  (select sha256(convert_to(a.token, 'UTF8')) from answer a), 'the token belongs to the invitation'
);
select is(
  (select count(*)::text from lms.invitations i join answer a on i::text like '%' || a.token || '%'), '0', 'and is kept nowhere'
);

-- =====================================================================================================
-- A dry run
-- =====================================================================================================

truncate before;
insert into before select tests.state();
create temporary table dry as select tests.feed(who, rows::jsonb, '{"dry_run": true, "end_limit": 10}') as result
from (values
  (1, 'hanna', '[{"employee_number": "E1", "unit": "SOUTH"}, {"email": "new@example.com"}, {"employee_number": "E5", "status": "ended"}, {"employee_number": "E3"}]'),
  (2, 'service', '[{"email": "noah@example.com"}, {"email": "ann@example.com"}]')
) as cases (n, who, rows)
order by n;
select results_eq(
  'table dry',
  $$values
    ('1 moved; 2 invited; 3 ended; 4 restored; E0 failed not_allowed; E2 ended; N1 ended'),
    ('1 created; 2 created; E0 failed last_administrator; E1 ended; E2 ended; E5 ended')$$,
  'a dry run tells what would be done'
);
select is(tests.state(), b.state, 'and leaves nothing') from before b;
select tests.be('hanna');
select is(
  (r.action, r.invitation_id, r.token)::text, '(invited,,)', 'nor does it hand out a token'
)
from unnest(lms.import_people(tests.id('works'), '[{"email": "new@example.com"}]', true)) as r;
select tests.as_owner();

-- =====================================================================================================
-- People missing from the rows
-- =====================================================================================================

create function tests.missing(who text, rows jsonb, end_limit integer) returns text language sql as $$
  select tests.feed_once(who, rows, jsonb_build_object('end_limit', end_limit))
$$;

select is(tests.missing(who, rows::jsonb, end_limit), expected, format('missing, %s, %s: %s', who, end_limit, expected))
from (values
  ('hanna', '[{"employee_number": "E1"}]', 0, '1 unchanged'),
  ('hanna', '[{"employee_number": "E1"}]', 3, 'too_many_missing'),
  ('hanna', '[{"employee_number": "E1"}]', 4, '1 unchanged; E0 failed not_allowed; E2 ended; E5 ended; N1 ended'),
  ('boss', '[{"employee_number": "E1"}]', 9, '1 unchanged; E0 failed last_administrator; E2 ended; E5 ended; N1 ended'),
  -- Named by address, by a faulty row, by a row of two people: they are there.
  (
    'hanna',
    '[{"email": "boss@example.com"}, {"employee_number": "E2", "x": "y"}, {"employee_number": "E1", "email": "susi@example.com"}, {"email": "ann@example.com"}]',
    9, '1 unchanged; 2 failed unknown_column; 3 failed two_people; 4 unchanged'
  ),
  (
    'hanna',
    '[{"employee_number": "E0"}, {"employee_number": "E1"}, {"employee_number": "E2"}, {"employee_number": "E5"}, {"employee_number": "N1", "x": "y"}]',
    9, '1 unchanged; 2 unchanged; 3 unchanged; 4 unchanged; 5 failed unknown_column'
  ),
  ('hanna', '[{"employee_number": "E7", "email": "dora@example.com"}, {"employee_number": "E0"}, {"employee_number": "E2"}]', 9, '1 updated; 2 unchanged; 3 unchanged; E5 ended; N1 ended')
) as cases (who, rows, end_limit, expected);

select tests.feed('hanna', '[{"employee_number": "E1"}]', '{"end_limit": 4}');
select is(
  array[tests.member_as('sid'), tests.member_as('susi'), tests.member_as('marco'), tests.member_as('gus'), tests.open_invitations()],
  array['ended south E2 - -', 'ended south E5 - -', 'active north - - unit_manager@north', 'active - - - - guest', 'zed - learner - limited -'],
  'the missing are ended; people without a number are none of the feed''s business'
);
select is((select m.ended_by from lms.memberships m where m.employee_number = 'E2' and m.tenant_id = tests.id('works')), tests.id('hanna'), 'by HR');
select is((select m.status from lms.memberships m where m.id = tests.id('paul in press')), 'active', 'the same number in another tenant stays');
select is(tests.feed('hanna', '[{"employee_number": "E1"}]', '{"end_limit": 4}'), '1 unchanged; E0 failed not_allowed', 'again: nothing is left to do');
select is(
  tests.feed('hanna', '[{"employee_number": "E1"}, {"employee_number": "E2"}]', '{"end_limit": 1}'), '1 unchanged; 2 restored; E0 failed not_allowed',
  'and whom the feed ended, it restores'
);

-- =====================================================================================================
-- Helpers are nobody's to call
-- =====================================================================================================

select is(
  has_function_privilege(role, 'private.login_of(text)', 'execute'), role = 'service_role', format('private.login_of for %s', role)
)
from unnest(array['anon', 'authenticated', 'service_role']) as role;

select * from finish();
rollback;
