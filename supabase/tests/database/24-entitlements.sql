begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press'), tests.unit('north', 'works'), tests.unit('south', 'works');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'), tests.member('marco', 'works', 'unit_manager', 'north', 'north'), tests.member('ines', 'works', 'instructor'),
  tests.member('audrey', 'works', 'auditor'), tests.member('dora', 'works', 'learner', 'north'), tests.member('sid', 'works', 'learner', 'south'), tests.member('petra', 'press', 'tenant_admin'), tests.member('paul', 'press');
select tests.course('paid', 'works', 'ines', 1), tests.course('dear', 'works', 'ines', 1), tests.course('novel', 'press', 'petra', 1);
update lms.courses set price = 10;

create function tests.grants(who text, learner text, course text, tenant text default 'works') returns text language sql as $$
  select tests.try(who, format('select billing.grant_entitlement(%L, %L, %L)', tests.id(tenant), tests.id(learner), case when course <> '' then tests.id(course) end))
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
-- What an entitlement with these dates makes of the two courses.
create function tests.entitled(course text, starts text, ends text, revoked text) returns text language plpgsql as $$
declare
  v_result text;
begin
  begin
    execute format(
      'insert into billing.entitlements (tenant_id, user_id, course_id, source, valid_from, valid_until, revoked_at) values (%L, %L, %L, %L, %s, %s, %s)',
      tests.id('works'), tests.id('dora'), case when course <> '' then tests.id(course) end, 'purchase', starts, ends, revoked
    );
    v_result := format('%s/%s', tests.reasons('dora', 'paid'), tests.reasons('dora', 'dear'));
    raise exception using errcode = 'UNDO0';
  exception when sqlstate 'UNDO0' then null;
  end;
  perform tests.as_owner();
  return v_result;
end
$$;

select is(tests.grants(who, learner, course, tenant), expected, format('%s grants %s %s of %s: %s', who, learner, course, tenant, expected))
from (values
  ('boss', 'dora', 'paid', 'works', '1'), ('boss', 'dora', '', 'works', '1'), ('hanna', 'dora', 'paid', 'works', '42501'), ('marco', 'dora', 'paid', 'works', '42501'), ('ines', 'dora', 'paid', 'works', '42501'), ('dora', 'dora', 'paid', 'works', '42501'),
  ('petra', 'dora', 'paid', 'works', '42501'), ('petra', 'dora', 'paid', 'press', '404 person_not_found'), ('boss', 'paul', 'paid', 'works', '404 person_not_found'), ('boss', 'dora', 'novel', 'works', '404 course_not_found'), ('boss', 'dora', 'paid', 'press', '42501'),
  ('anonymous', 'dora', 'paid', 'works', '42501'), ('service', 'dora', 'paid', 'works', '1')
) as cases (who, learner, course, tenant, expected);

select is(tests.reasons('dora', 'paid'), 'payment_required', 'INV-E3: what costs something has to be paid for');
select is(tests.entitled(course, starts, ends, revoked), expected, format('an entitlement to %s from %s until %s, revoked %s: %s', coalesce(nullif(course, ''), 'everything'), starts, ends, revoked, expected))
from (values
  ('paid', 'now()', 'null', 'null', '/payment_required'), ('', 'now()', 'null', 'null', '/'), ('dear', 'now()', 'null', 'null', 'payment_required/'),
  ('', 'now() + interval ''1 second''', 'null', 'null', 'payment_required/payment_required'), ('', 'now() - interval ''1 day''', 'now()', 'null', 'payment_required/payment_required'), ('', 'now() - interval ''1 day''', 'now() + interval ''1 second''', 'null', '/'),
  ('', 'now()', 'null', 'now()', 'payment_required/payment_required'), ('', 'now()', 'null', 'now() + interval ''1 second''', '/')
) as cases (course, starts, ends, revoked, expected);
select is(tests.error_of(format('insert into billing.entitlements (tenant_id, user_id, course_id, source) values (%L, %L, %L, %L)', tests.id('works'), tests.id('dora'), tests.id('novel'), 'grant')), '23503 entitlement_course_is_of_the_same_tenant', 'INV-T1: not for another tenant''s course');

-- Granted, used, revoked.
select tests.as('boss');
select (billing.grant_entitlement(tests.id('works'), tests.id('dora'), tests.id('paid'), p_reason => 'Prize')).id as entitlement \gset
select tests.as('dora');
select is((lms.enroll(tests.id('paid'))).status, 'enrolled', 'whoever is entitled enrols');
select tests.as('boss');
select isnt((billing.revoke_entitlement(:'entitlement')).revoked_at, null, 'an entitlement is revoked');
select is((billing.revoke_entitlement(:'entitlement')).revoked_at, now(), '... once');
select tests.as('dora');
select is((lms.complete_lesson(tests.id('paid/1'))).course_status, 'completed', 'what has begun goes on');
select is(tests.error_of(format('select lms.enroll(%L)', tests.id('paid'))), '409 not_eligible', '... and is not begun again');
select tests.as_owner();
select is(tests.try(who, format('select billing.revoke_entitlement(%L)', :'entitlement')), expected, format('%s revokes it: %s', who, expected))
from (values ('boss', '1'), ('hanna', '42501'), ('marco', '42501'), ('dora', '42501'), ('sid', '404 entitlement_not_found'), ('petra', '404 entitlement_not_found')) as cases (who, expected);
select is(tests.sees_as(who, 'billing.entitlements'), expected, format('%s sees %s entitlements', who, expected))
from (values ('dora', '1'), ('sid', '0'), ('boss', '1'), ('hanna', '1'), ('marco', '1'), ('ines', '0'), ('audrey', '1'), ('petra', '0'), ('anonymous', '42501')) as cases (who, expected);
select is(tests.try('boss', statement), '42501', left(statement, 40))
from unnest(array['insert into billing.entitlements (source) values (''grant'')', 'update billing.entitlements set valid_until = null', 'delete from billing.entitlements']) as statement;

select * from finish();
rollback;
