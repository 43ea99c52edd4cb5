begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press');
select tests.unit('north', 'works'), tests.unit('dock', 'works', 'north'), tests.unit('south', 'works'), tests.unit('desk', 'press');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('second', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'),
  tests.member('marco', 'works', 'unit_manager', 'north', 'north'), tests.member('suki', 'works', 'unit_manager', 'south', 'south'),
  tests.member('ines', 'works', 'instructor'), tests.member('audrey', 'works', 'auditor'),
  tests.member('dora', 'works', 'learner', 'dock'), tests.member('sid', 'works', 'learner', 'south'), tests.member('petra', 'press', 'tenant_admin');
select tests.person('noah'), tests.person('nina'), tests.person('unsure'), tests.person('gus');
select tests.confirm(n) from unnest(array['noah', 'nina', 'gus', 'dora', 'sid', 'ines', 'suki']) as n;

create function tests.invite(
  address text, role text default 'learner', unit text default null, limited boolean default true, tenant text default 'works', number text default null
)
returns text language sql stable as $$
  select format(
    'select lms.invite(%L, %L, %L, %L, %L, p_employee_number => %L)', tests.id(tenant), address, role, case when unit is not null then tests.id(unit) end, limited, number
  )
$$;

-- Invites for good, and returns the token.
create function tests.token(
  who text, address text, role text default 'learner', unit text default null, limited boolean default true, number text default null
)
returns text language plpgsql as $$
declare v_token text;
begin
  perform tests.be(who);
  select i.token into v_token
  from lms.invite(
    tests.id('works'), address, role, case when unit is not null then tests.id(unit) end, limited, p_employee_number => number, p_first_name => 'Invited', p_last_name => 'Person', p_job_title => 'Welder'
  ) as i;
  perform tests.as_owner();
  return v_token;
end
$$;
create function tests.accept(token text) returns text language sql immutable as $$ select format('select lms.accept_invitation(%L)', token) $$;
create function tests.standing_in_works(name text) returns text language sql stable as $$
  select concat_ws(', ', m.status, coalesce((select u.name from lms.org_units u where u.id = m.unit_id), 'no unit'), m.job_title, m.employee_number, case when m.is_guest then 'guest' end,
    (select string_agg(concat_ws(' at ', r.key, u.name), ' and ' order by r.key, u.name) from lms.role_grants g join lms.roles r on r.id = g.role_id left join lms.org_units u on u.id = g.unit_id where g.membership_id = m.id))
  from lms.memberships m where m.tenant_id = tests.id('works') and m.user_id = tests.id(name)
$$;

-- =====================================================================================================
-- Who may invite whom to what
-- =====================================================================================================

select is(tests.try(who, statement), expected, format('%s invites %s: %s', who, what, expected))
from (values
  ('boss', 'a learner', tests.invite('new@example.com'), '1'), ('boss', 'an administrator', tests.invite('new@example.com', 'tenant_admin', limited => false), '1'),
  ('hanna', 'a learner', tests.invite('new@example.com'), '1'), ('hanna', 'an instructor, whom HR may appoint', tests.invite('new@example.com', 'instructor'), '1'),
  ('hanna', 'an administrator', tests.invite('new@example.com', 'tenant_admin'), '403 role_not_grantable'),
  ('hanna', 'an administrator of a unit', tests.invite('new@example.com', 'tenant_admin', 'dock'), '403 role_not_grantable'),
  ('hanna', 'an auditor', tests.invite('new@example.com', 'auditor'), '403 role_not_grantable'),
  ('marco', 'a learner of the unit', tests.invite('new@example.com', unit => 'dock'), '1'),
  ('marco', 'a learner for everywhere', tests.invite('new@example.com', unit => 'dock', limited => false), '403 role_not_grantable'),
  ('marco', 'a learner of another unit', tests.invite('new@example.com', unit => 'south'), '403 role_not_grantable'),
  ('marco', 'a learner of no unit', tests.invite('new@example.com'), '403 role_not_grantable'),
  ('marco', 'a manager of the unit', tests.invite('new@example.com', 'unit_manager', 'dock'), '1'),
  ('marco', 'a manager of everything', tests.invite('new@example.com', 'unit_manager', 'dock', false), '403 role_not_grantable'),
  ('marco', 'HR', tests.invite('new@example.com', 'hr_admin', 'dock'), '403 role_not_grantable'),
  ('marco', 'an instructor', tests.invite('new@example.com', 'instructor', 'dock'), '403 role_not_grantable'),
  ('dora', 'a colleague', tests.invite('new@example.com'), '403 role_not_grantable'), ('ines', 'a learner', tests.invite('new@example.com'), '403 role_not_grantable'),
  ('audrey', 'a learner', tests.invite('new@example.com'), '403 role_not_grantable'), ('service', 'an administrator', tests.invite('new@example.com', 'tenant_admin', limited => false), '1'),
  ('petra', 'somebody to another tenant', tests.invite('new@example.com'), '404 tenant_not_found'), ('noah', 'somebody', tests.invite('new@example.com'), '404 tenant_not_found'),
  ('noah', 'somebody to no tenant', tests.invite('new@example.com', tenant => 'nowhere'), '404 tenant_not_found'),
  ('boss', 'to a unit of another tenant', tests.invite('new@example.com', unit => 'desk'), '404 unit_not_found'), ('boss', 'to no unit', tests.invite('new@example.com', unit => 'nowhere'), '404 unit_not_found'),
  ('boss', 'with no role', tests.invite('new@example.com', 'emperor'), '404 role_not_found'), ('boss', 'a member', tests.invite('Dora@Example.com'), '409 already_a_member'),
  ('boss', 'no address', tests.invite('new'), '23514 email_is_an_address_in_lower_case'), ('boss', 'two addresses', tests.invite('new@example.com, other@example.com'), '23514 email_is_an_address_in_lower_case'),
  ('anonymous', 'somebody', tests.invite('new@example.com'), '42501')
) as cases (who, what, statement, expected);
select is(tests.try(who, format('insert into lms.invitations (tenant_id, email, role_id, expires_at) values (%L, ''x@example.com'', %L, now())', tests.id('works'), tests.role_id('works', 'learner'))), '42501', format('invitations are made by the call alone, also for %s', who))
from unnest(array['boss', 'noah']) as who;
select is(tests.try('boss', format('update lms.invitations set %s', change)), '42501', 'nor is anything of them changed: ' || change)
from unnest(array['accepted_at = now()', 'expires_at = now() + interval ''1 year''', 'role_id = role_id', 'email = ''boss@example.com''']) as change;

-- =====================================================================================================
-- The token
-- =====================================================================================================

select tests.token('marco', ' Noah@Example.COM ', unit => 'dock', number => 'W-1') as token \gset
select is((select format('%s %s %s', i.email, i.invited_by = tests.id('marco'), i.expires_at - i.created_at) from lms.invitations i), 'noah@example.com t 14 days', 'an invitation says who invited which address until when');
select cmp_ok(length(:'token'), '>=', 43, 'a token has 256 bits');
select is((select k.token_hash from private.invitation_tokens k), sha256(convert_to(:'token', 'UTF8')), 'the database keeps a hash of it');
select is_empty(
  format($$ select 1 from lms.invitations i where i::text like '%%' || %L || '%%' union all select 1 from private.invitation_tokens k where k::text like '%%' || %1$L || '%%' $$, :'token'), '... and the token nowhere'
);
select is(tests.sees_as(who, 'private.invitation_tokens'), expected, format('%s sees tokens: %s', who, expected)) from (values ('boss', '42501'), ('noah', '42501'), ('anonymous', '42501'), ('service', '42501')) as sights (who, expected);

select is(tests.sees_as(who, 'lms.invitations'), expected, format('%s sees invitations: %s', who, expected))
from (values
  ('boss', '1'), ('hanna', '1'), ('marco', '1'), ('suki', '0'), ('dora', '0'), ('ines', '0'), ('audrey', '0'), ('petra', '0'), ('nina', '0'), ('noah', '1'), ('anonymous', '42501')
) as sights (who, expected);

select is(tests.try(who, format('select lms.get_invitation(%L)', token)), expected, format('%s previews: %s', who, expected))
from (values ('anonymous', :'token', '1'), ('nina', :'token', '1'), ('anonymous', 'wrong', '404 invitation_not_found'), ('anonymous', null, '404 invitation_not_found'), ('anonymous', '', '404 invitation_not_found')) as cases (who, token, expected);
select tests.as_anonymous();
select is(
  to_jsonb(lms.get_invitation(:'token')) - 'expires_at',
  jsonb_build_object('tenant_id', tests.id('works'), 'tenant_name', 'Works', 'email', 'noah@example.com', 'role_name', 'Learner', 'unit_name', 'dock', 'is_open', true),
  'the holder of a token learns where they are invited, and nothing of anybody else'
);
select tests.as_owner();

-- =====================================================================================================
-- Accepting
-- =====================================================================================================

select is(tests.try(who, tests.accept(token)), expected, format('%s accepts: %s', who, expected))
from (values
  ('nina', :'token', '403 invitation_for_another_address'), ('boss', :'token', '403 invitation_for_another_address'), ('marco', :'token', '403 invitation_for_another_address'),
  ('noah', 'wrong', '404 invitation_not_found'), ('noah', null, '404 invitation_not_found'), ('nina', 'wrong', '404 invitation_not_found'),
  ('anonymous', :'token', '42501'), ('service', :'token', '42501'), ('noah', :'token', '1')
) as cases (who, token, expected);
select set_config('role', 'authenticated', true), set_config('request.jwt.claims', '{"role": "authenticated", "email": "noah@example.com"}', true);
select is(tests.error_of(tests.accept(:'token')), '403 invitation_for_another_address', 'an address in the claims, without a person, accepts nothing');
select set_config('request.jwt.claims', format('{"sub": "%s", "role": "authenticated", "email": "noah@example.com"}', tests.id('nina')), true);
select is(tests.error_of(tests.accept(:'token')), '403 invitation_for_another_address', '... nor one that is not the person''s');
select set_config('request.jwt.claims', format('{"sub": "%s", "role": "authenticated", "email": "noah@example.com"}', tests.id('a login that is gone')), true);
select is(tests.error_of(tests.accept(:'token')), '403 invitation_for_another_address', '... nor one of a login that is gone');
select tests.as_owner();
update auth.users set email_confirmed_at = null where id = tests.id('noah');
select is(tests.try('noah', tests.accept(:'token')), '403 email_not_confirmed', 'an address that is not confirmed accepts nothing');
select is(tests.sees_as('noah', 'lms.invitations'), '0', '... and does not see the invitation');
select tests.confirm('noah');

savepoint open_invitation;
update lms.tenants set is_active = false where id = tests.id('works');
select is(tests.try('noah', tests.accept(:'token')), '409 tenant_inactive', 'nobody joins a tenant that is closed');
rollback to open_invitation;
update lms.invitations set expires_at = now();
select is(tests.try('noah', tests.accept(:'token')), '409 invitation_expired', 'an invitation expires');
select tests.as_anonymous();
select is((lms.get_invitation(:'token')).is_open, false, '... and its preview says so');
rollback to open_invitation;
select is(tests.try(who, format('select lms.revoke_invitation(%L)', i.id)), expected, format('%s revokes: %s', who, expected))
from lms.invitations i, (values
  ('boss', '1'), ('hanna', '1'), ('marco', '1'), ('suki', '404 invitation_not_found'), ('dora', '404 invitation_not_found'), ('petra', '404 invitation_not_found'), ('noah', '42501'), ('nina', '404 invitation_not_found'), ('service', '1')
) as cases (who, expected);
select is(tests.try('boss', format('select lms.revoke_invitation(%L)', tests.id('nowhere'))), '404 invitation_not_found', 'what does not exist is not revoked');
select tests.as('marco');
select lms.revoke_invitation(i.id) from lms.invitations i;
select is((select (lms.revoke_invitation(i.id)).revoked_at from lms.invitations i), now(), 'revoking twice is revoking');
select tests.as_owner();
select is(tests.try('noah', tests.accept(:'token')), '404 invitation_not_found', 'a revoked invitation is not there any more');
select is(tests.try('anonymous', format('select lms.get_invitation(%L)', :'token')), '404 invitation_not_found', '... nor is its preview');
rollback to open_invitation;
select is(tests.try(who, 'delete from lms.invitations'), expected, format('%s deletes invitations: %s', who, expected))
from (values ('boss', '1'), ('hanna', '0'), ('marco', '0'), ('noah', '0'), ('petra', '0'), ('dora', '0')) as cases (who, expected);

select tests.as('noah');
select is((select format('%s %s', m.user_id = tests.id('noah'), m.status) from lms.accept_invitation(:'token') as m), 't active', 'accepting answers with the membership');
select is((select format('%s %s', m.user_id = tests.id('noah'), m.status) from lms.accept_invitation(:'token') as m), 't active', '... again the same when repeated');
select tests.as_owner();
select is(tests.standing_in_works('noah'), 'active, dock, Welder, W-1, learner at dock', 'and the membership is what the invitation said');
select is((select p.first_name || ' ' || p.last_name from public.profiles p where p.id = tests.id('noah')), 'Invited Person', 'who had no name has the one that the invitation knew');
select is((select format('%s %s', i.accepted_at = now(), i.accepted_by = tests.id('noah')) from lms.invitations i), 't t', 'the invitation says when and by whom it was accepted');
select is(tests.try('nina', tests.accept(:'token')), '403 invitation_for_another_address', 'a used token is worth nothing to others');
select is(tests.try('boss', format('select lms.revoke_invitation(%L)', (select i.id from lms.invitations i))), '409 invitation_used', 'what was accepted is not revoked');
select tests.as('hanna');
update lms.memberships set status = 'ended' where user_id = tests.id('noah');
select tests.as_owner();
select is(tests.try('noah', tests.accept(:'token')), '409 invitation_used', 'a token is used once: it is no way back');
update lms.memberships set status = 'suspended' where user_id = tests.id('noah');
select is(tests.try('noah', tests.accept(:'token')), '409 invitation_used', '... nor out of a suspension');
select is(tests.sees_as('noah', 'lms.invitations'), '0', 'INV-T4: suspended, a person does not see even the invitation that they accepted');
rollback to open_invitation;

-- Another person takes over the address later.
select tests.as('noah');
select lms.accept_invitation(:'token');
select tests.as_owner();
update auth.users set email = 'noah.left@example.com' where id = tests.id('noah');
update auth.users set email = 'noah@example.com' where id = tests.id('nina');
select is(tests.try('nina', tests.accept(:'token')), '409 invitation_used', 'whoever has the address later gets nothing for a used token');
rollback to open_invitation;
update auth.users set email = 'noah.moved@example.com' where id = tests.id('noah');
select is(tests.try('noah', tests.accept(:'token')), '403 invitation_for_another_address', 'whoever gives an address up gives its invitations up');
rollback to open_invitation;
update auth.users set email = 'NOAH@example.com' where id = tests.id('noah');
select is(tests.try('noah', tests.accept(:'token')), '1', 'addresses are compared without regard to case');
rollback to open_invitation;

-- =====================================================================================================
-- Renewing
-- =====================================================================================================

select tests.token('hanna', 'noah@example.com', 'instructor', 'south') as renewed \gset
select is((select count(*) from lms.invitations where email = 'noah@example.com'), 1::bigint, 'inviting an address again renews its invitation');
select isnt(:'renewed'::text, :'token', '... with another token');
select is(tests.try('noah', tests.accept(:'token')), '404 invitation_not_found', '... and the old one is dead');
select is(tests.try('anonymous', format('select lms.get_invitation(%L)', :'token')), '404 invitation_not_found', '... for the preview as well');
select tests.as('noah');
select lms.accept_invitation(:'renewed');
select tests.as_owner();
select is(tests.standing_in_works('noah'), 'active, south, Welder, instructor at south', 'what was said last holds');
rollback to open_invitation;

-- An invitation that others have sent is not taken over by whoever invites into another unit.
select is(tests.try(who, tests.invite('noah@example.com', unit => unit)), expected, format('%s invites an invited address to %s: %s', who, unit, expected))
from (values
  ('suki', 'south', '409 already_invited'), ('marco', 'north', '1'), ('hanna', 'south', '1'), ('boss', 'south', '1'), ('service', 'south', '1')
) as cases (who, unit, expected);
select is(tests.try('noah', tests.accept(:'token')), '1', 'what was refused has changed nothing');
update lms.invitations set expires_at = now() - interval '1 second';
select is(tests.try('suki', tests.invite('noah@example.com', unit => 'south')), '1', 'one that has expired stands in nobody''s way');
rollback to open_invitation;

-- =====================================================================================================
-- What the inviter may has changed meanwhile
-- =====================================================================================================

select tests.token('hanna', 'nina@example.com', 'instructor') as from_hanna \gset
savepoint invited;
select is(tests.try('nina', tests.accept(:'from_hanna')), '1', 'an inviter in office: fine');
update lms.memberships set status = 'suspended' where id = tests.id('hanna in works');
select is(tests.try('nina', tests.accept(:'from_hanna')), '409 invitation_void', 'an inviter who is suspended gives nothing');
update lms.memberships set status = 'ended' where id = tests.id('hanna in works');
select is(tests.try('nina', tests.accept(:'from_hanna')), '409 invitation_void', 'nor one who has left');
rollback to invited;
update lms.role_grants set unit_id = tests.id('dock') where membership_id = tests.id('hanna in works');
select is(tests.try('nina', tests.accept(:'from_hanna')), '409 invitation_void', 'nor one whose rights cover less now');
rollback to invited;
delete from lms.assignable_roles where role_id = tests.role_id('works', 'hr_admin');
select is(tests.try('nina', tests.accept(:'from_hanna')), '409 invitation_void', 'nor one whose role may not assign it any more');
rollback to invited;
-- The role grew after it was promised.
select tests.custom_role('works', 'helper');
select tests.token('marco', 'gus@example.com', 'helper', 'dock') as from_marco \gset
select is(tests.try('gus', tests.accept(:'from_marco')), '1', 'a role as it was when promised');
insert into lms.role_permissions (tenant_id, role_id, permission) values (tests.id('works'), tests.role_id('works', 'helper'), 'roles.write');
select is(tests.try('gus', tests.accept(:'from_marco')), '409 invitation_void', 'a role that has grown beyond what the inviter may give is not given');
rollback to invited;
-- Whoever is about to lose their rights invites a second address of their own.
select tests.person('marco2'), tests.confirm('marco2');
select tests.token('marco', 'marco2@example.com', 'unit_manager', 'north') as second_self \gset
update lms.memberships set status = 'ended' where id = tests.id('marco in works');
select is(tests.try('marco2', tests.accept(:'second_self')), '409 invitation_void', 'rights are not kept by inviting oneself beforehand');
rollback to invited;
update lms.org_units set archived_at = now() where id = tests.id('dock');
select is(tests.try('noah', tests.accept(:'token')), '409 unit_archived', 'nobody joins a unit that was archived meanwhile');
select is(tests.try('boss', tests.invite('new@example.com', unit => 'dock')), '409 unit_archived', 'nor is anybody invited to one');
rollback to invited;

-- =====================================================================================================
-- Who has been there before
-- =====================================================================================================

select is(tests.try('boss', tests.invite('sid@example.com')), '409 already_a_member', 'a member is not invited');
-- Invited before they became a member by another way.
insert into lms.invitations (id, tenant_id, email, role_id, unit_id, limited_to_unit, expires_at, job_title, employee_number, first_name, last_name)
values (tests.id('to sid'), tests.id('works'), 'sid@example.com', tests.role_id('works', 'instructor'), tests.id('dock'), false, now() + interval '1 day', 'Trainer', 'W-9', 'Sidney', 'Miller');
insert into private.invitation_tokens values (tests.id('to sid'), sha256('sid'));
savepoint before;
select tests.as('sid');
select lms.accept_invitation('sid');
select tests.as_owner();
select is(tests.standing_in_works('sid'), 'active, south, Trainer, W-9, instructor and learner', 'a member keeps their unit and gains the role');
select is((select first_name from public.profiles where id = tests.id('sid')), 'Sid', '... and keeps their name');
rollback to before;
update lms.memberships set status = 'suspended' where id = tests.id('sid in works');
select is(tests.try('sid', tests.accept('sid')), '403 membership_suspended', 'an invitation does not end a suspension');
rollback to before;
update lms.memberships set employee_number = 'W-9' where id = tests.id('dora in works');
select is(tests.try('sid', tests.accept('sid')), '409 employee_number_taken', 'an employee number that somebody else has by now is a conflict that is explained');
rollback to before;
select tests.grant_role('sid', 'works', 'auditor', 'south');
update lms.memberships set status = 'ended', employee_number = 'W-3' where id = tests.id('sid in works');
select tests.as('sid');
select lms.accept_invitation('sid');
select tests.as_owner();
select is(tests.standing_in_works('sid'), 'active, dock, Trainer, W-3, instructor', 'who comes back has the unit and the role of the invitation, and none of the old ones');
select is((select format('%s %s', ended_at, ended_by) from lms.memberships where id = tests.id('sid in works')), ' ', '... and no end');
rollback to before;
-- Who left by choice comes back by their own doing.
select tests.as('sid');
select lms.leave_tenant(tests.id('works')), lms.accept_invitation('sid');
select tests.as_owner();
select is(tests.standing_in_works('sid'), 'active, dock, Trainer, W-9, instructor', 'who left comes back by accepting');
rollback to before;
insert into lms.memberships (tenant_id, user_id, is_guest) values (tests.id('works'), tests.id('gus'), true);
select tests.token('marco', 'gus@example.com', 'learner', 'dock') as to_guest \gset
select tests.as('gus');
select lms.accept_invitation(:'to_guest');
select tests.as_owner();
select is(tests.standing_in_works('gus'), 'active, dock, Welder, learner at dock', 'a guest who accepts is a member');
rollback to before;

-- =====================================================================================================
-- Employee numbers
-- =====================================================================================================

select is(tests.try('hanna', tests.invite('other@example.com', number => 'W-1')), '23505 one_open_invitation_per_employee_number', 'one number is promised once');
select is(tests.try('hanna', tests.invite('other@example.com', number => ' ')), '23514 invited_employee_number_is_short', 'a number has something in it');

-- =====================================================================================================
-- Forgetting
-- =====================================================================================================

delete from lms.invitations;
insert into lms.invitations (tenant_id, email, role_id, expires_at, accepted_at, accepted_by, revoked_at)
select tests.id('works'), format('%s.%s@example.com', kind, days), tests.role_id('works', 'learner'),
  now() + make_interval(days => case kind when 'expired' then -days else 1 end), case kind when 'accepted' then now() - make_interval(days => days) end,
  case kind when 'accepted' then tests.id('noah') end, case kind when 'revoked' then now() - make_interval(days => days) end
from unnest(array['expired', 'accepted', 'revoked']) as kind, unnest(array[89, 91]) as days;
insert into private.invitation_tokens select i.id, sha256(convert_to(i.email::text, 'UTF8')) from lms.invitations i;
select is(tests.try(who, 'select ops.forget_invitations()'), expected, format('%s runs the job: %s', who, expected))
from (values ('boss', '42501'), ('anonymous', '42501'), ('service', '1')) as cases (who, expected);
select is(ops.forget_invitations(2), 2, 'the job forgets so many at a time');
select is(ops.forget_invitations(), 1, '... and the rest the next time');
select is(ops.forget_invitations(), 0, '... and then nothing');
select set_eq($$ select email::text from lms.invitations $$, array['expired.89@example.com', 'accepted.89@example.com', 'revoked.89@example.com'], 'invitations are kept for 90 days after they ended');
select is((select count(*) from private.invitation_tokens), 3::bigint, 'with an invitation goes its token');

select * from finish();
rollback;
