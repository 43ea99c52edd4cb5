-- Attestations: what somebody signs, electronically: a statement in the words that were shown to them, about one cycle of
-- one learner, by somebody who has just proved who they are. Never changed, never taken away.
-- Undo: drop functions lms.sign_attestation, publish_attestation_statement, retire_attestation_statement; drop tables
-- lms.attestations, lms.attestation_statements; then the functions below.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Statements
-- =====================================================================================================

create table lms.attestation_statements (
  id uuid primary key default private.uuid_v7(),
  tenant_id uuid not null constraint statement_belongs_to_a_tenant references lms.tenants (id),
  key private.slug not null,
  version integer not null,
  meaning text not null constraint statement_meaning_is_known
    check (meaning in ('understood', 'completed', 'trained', 'observed', 'approved')),
  signer text not null constraint statement_signer_is_known check (signer in ('learner', 'staff')),
  language private.locale not null,
  body text not null constraint statement_is_1_to_10000_characters
    check (body ~ '\S' and length(body) <= 10000),
  published_by uuid,
  published_at timestamptz not null default now(),
  retired_at timestamptz,
  constraint statement_of_its_tenant unique (tenant_id, id),
  constraint statement_version_is_taken unique (tenant_id, key, version)
);
-- Of each statement one version is signed; a new one takes its place.
create unique index one_current_statement on lms.attestation_statements (tenant_id, key) where retired_at is null;

comment on table lms.attestation_statements is
  'What can be signed, word for word. A version never changes; publish_attestation_statement makes the next one.';
comment on column lms.attestation_statements.key is 'What its versions have in common.';
comment on column lms.attestation_statements.meaning is
  'What the signature means: understood, completed (by the learner), trained, observed (by the trainer), approved.';
comment on column lms.attestation_statements.signer is
  'learner: signed by whoever takes the course; staff: about them, by staff of the course or with certificates.write.';
comment on column lms.attestation_statements.retired_at is 'Not signed any more from then on; signatures stay.';

create function private.keep_statement()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if tg_op = 'DELETE' or old.retired_at is not null
    or to_jsonb(new) - 'retired_at' is distinct from to_jsonb(old) - 'retired_at'
  then
    raise insufficient_privilege using message = 'A statement that could be signed stays as it is: publish another version.';
  end if;
  return new;
end
$$;

create trigger _200_kept before update or delete on lms.attestation_statements
  for each row execute function private.keep_statement();

create function private.require_statement_right(p_tenant_id uuid)
returns void
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  if private.is_api_call() and not coalesce(
    p_tenant_id = any (array(select private.tenants_where('certificates.write'))), false
  ) then
    raise insufficient_privilege using message = 'Statements to be signed take certificates.write in the whole organisation.';
  end if;
end
$$;

-- Definer, because nobody may write the table; so they check their caller. Two who publish the same statement at once go
-- one after the other: the tenant's row is no place to wait, so the statement's name is.
create function private.publish_statement(p_wanted lms.attestation_statements)
returns lms.attestation_statements
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_statement lms.attestation_statements;
begin
  perform private.require_statement_right(p_wanted.tenant_id);
  perform pg_advisory_xact_lock(
    hashtextextended('lyceum statement ' || p_wanted.tenant_id || ' ' || coalesce(p_wanted.key, ''), 0)
  );
  update lms.attestation_statements s
  set retired_at = now()
  where s.tenant_id = p_wanted.tenant_id and s.key = p_wanted.key and s.retired_at is null;
  insert into lms.attestation_statements (tenant_id, key, version, meaning, signer, language, body, published_by)
  values (
    p_wanted.tenant_id, p_wanted.key,
    (
      select coalesce(max(s.version), 0) + 1
      from lms.attestation_statements s
      where s.tenant_id = p_wanted.tenant_id and s.key = p_wanted.key
    ),
    p_wanted.meaning, p_wanted.signer, p_wanted.language, p_wanted.body, (select auth.uid())
  )
  returning * into v_statement;
  return v_statement;
end
$$;

create function lms.publish_attestation_statement(
  p_tenant_id uuid, p_key text, p_meaning text, p_signer text, p_body text, p_language text default 'en'
)
returns lms.attestation_statements
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_wanted lms.attestation_statements;
begin
  v_wanted.tenant_id := p_tenant_id;
  v_wanted.key := p_key;
  v_wanted.meaning := p_meaning;
  v_wanted.signer := p_signer;
  v_wanted.body := p_body;
  v_wanted.language := p_language;
  return private.publish_statement(v_wanted);
end
$$;

comment on function lms.publish_attestation_statement is
  'Makes a statement that can be signed, or the next version of one, which takes the place of the one before. Takes '
  'certificates.write in the whole tenant: 403. 23514 names what is wrong with a value.';

create function private.retire_statement(p_statement_id uuid)
returns lms.attestation_statements
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_statement lms.attestation_statements;
begin
  select * into v_statement from lms.attestation_statements s where s.id = p_statement_id for no key update;
  perform private.require_statement_right(v_statement.tenant_id);
  if v_statement.retired_at is null then
    update lms.attestation_statements s set retired_at = now() where s.id = p_statement_id returning * into v_statement;
  end if;
  return v_statement;
end
$$;

create function lms.retire_attestation_statement(p_statement_id uuid)
returns lms.attestation_statements
language plpgsql
volatile
set search_path = ''
as $$
begin
  -- Read as the caller: another tenant's statement does not exist for them.
  if not exists (select from lms.attestation_statements s where s.id = p_statement_id) then
    perform private.fail('statement_not_found', 'There is no such statement.', 404);
  end if;
  return private.retire_statement(p_statement_id);
end
$$;

comment on function lms.retire_attestation_statement is
  'Has a statement signed no more; again changes nothing. Takes certificates.write in the whole tenant: 403. 404 '
  'statement_not_found.';

-- =====================================================================================================
-- Attestations
-- =====================================================================================================

-- convert_to counts as stable only because it depends on the encoding of the database, which is UTF-8 for good.
create function private.sha256_of(p_text text)
returns text
language plpgsql
immutable
set search_path = ''
as $$
begin
  return encode(sha256(convert_to(p_text, 'UTF8')), 'hex');
end
$$;

create table lms.attestations (
  id uuid primary key default private.uuid_v7(),
  tenant_id uuid not null,
  statement_id uuid not null,
  enrollment_id uuid not null,
  course_id uuid not null,
  user_id uuid not null,
  unit_id uuid,
  signed_by uuid not null constraint attestation_signer_is_a_person references public.profiles (id),
  signed_at timestamptz not null,
  reauthenticated_at timestamptz not null,
  document text not null constraint signed_document_is_short check (length(document) <= 30000),
  sha256 text not null generated always as (private.sha256_of(document)) stored,
  constraint signed_once unique (enrollment_id, statement_id, signed_by),
  constraint attestation_is_of_the_learners_cycle foreign key (enrollment_id, tenant_id, course_id, user_id)
    references lms.enrollments (id, tenant_id, course_id, user_id),
  constraint attestation_statement_is_of_the_same_tenant foreign key (tenant_id, statement_id)
    references lms.attestation_statements (tenant_id, id),
  constraint attestation_unit_is_of_the_same_tenant foreign key (tenant_id, unit_id)
    references lms.org_units (tenant_id, id) on delete set null (unit_id),
  constraint signed_after_authentication check (reauthenticated_at <= signed_at + interval '30 seconds')
);
create index attestations_by_enrollment on lms.attestations (enrollment_id, tenant_id, course_id, user_id);
create index attestations_by_statement on lms.attestations (tenant_id, statement_id);
create index attestations_by_user on lms.attestations (user_id, signed_at desc);
create index attestations_by_signer on lms.attestations (signed_by, signed_at desc);
create index attestations_by_tenant on lms.attestations (tenant_id, signed_at desc, id desc);
create index attestations_by_course on lms.attestations (course_id, signed_at desc);
create index attestations_by_unit on lms.attestations (unit_id, signed_at desc);
create index attestations_by_unit_of_tenant on lms.attestations (tenant_id, unit_id);

comment on table lms.attestations is
  'Electronic signatures: who signed which version of which statement about whose cycle, and when. Written by sign_attestation, '
  'and never changed.';
comment on column lms.attestations.user_id is 'Whom it is about. Who signed is signed_by: the same person, or staff.';
comment on column lms.attestations.unit_id is 'The enrolment''s org unit at the time.';
comment on column lms.attestations.reauthenticated_at is 'When the signer last proved who they are, by password or another factor.';
comment on column lms.attestations.document is
  'What was signed, as JSON in one fixed form: the statement''s words, meaning and version, signer, learner, course and version, times.';
comment on column lms.attestations.sha256 is 'Of the document in UTF-8, hexadecimal: `printf %s "$document" | sha256sum`.';

create function private.keep_attestation()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  -- A unit that is dissolved is none of what was signed.
  if tg_op = 'UPDATE' and new.unit_id is null and to_jsonb(new) - 'unit_id' = to_jsonb(old) - 'unit_id' then
    return new;
  end if;
  raise insufficient_privilege using message = 'What was signed stays as it was signed.';
end
$$;

create trigger _200_kept before update or delete on lms.attestations
  for each row execute function private.keep_attestation();
create trigger _200_never_emptied before truncate on lms.attestations
  for each statement execute function private.keep_attestation();

-- When the caller last proved who they are. A refreshed token carries the time of its sign-in along, so that a session left
-- open signs nothing. Only what somebody enters with their own hands counts, not a provider that remembers the browser.
create function private.authenticated_at()
returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
declare
  v_claims jsonb;
begin
  v_claims := nullif(current_setting('request.jwt.claims', true), '')::jsonb;
  return (
    select to_timestamp(max(
      case jsonb_typeof(m -> 'timestamp') when 'number' then greatest(least((m ->> 'timestamp')::numeric, 1e11), 0) end
    ))
    from jsonb_array_elements(case jsonb_typeof(v_claims -> 'amr') when 'array' then v_claims -> 'amr' else '[]' end) as m
    where m ->> 'method' in ('password', 'otp', 'totp', 'mfa/totp', 'mfa/phone', 'mfa/webauthn')
  );
end
$$;

-- Definer, because nobody may write the table; so it checks its caller. The enrolment is held, so that what is signed about
-- it is what it says then.
create function private.sign_attestation_of(p_statement_id uuid, p_enrollment_id uuid)
returns lms.attestations
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  -- Wide enough to read the statement and type a password, too short to leave a desk.
  c_longest constant interval := interval '5 minutes';
  v_signer constant uuid := (select auth.uid());
  v_authenticated_at constant timestamptz := private.authenticated_at();
  v_statement lms.attestation_statements;
  v_enrollment lms.enrollments;
  v_attestation lms.attestations;
begin
  select * into v_enrollment from lms.enrollments e where e.id = p_enrollment_id for no key update;
  select * into v_statement from lms.attestation_statements s where s.id = p_statement_id for share;
  -- INV-T4, after the wait: a membership that was suspended meanwhile signs nothing.
  if not v_enrollment.tenant_id = any (array(select private.joined_tenants())) then
    perform private.fail('enrollment_not_found', 'There is no such enrolment.', 404);
  elsif v_statement.tenant_id is distinct from v_enrollment.tenant_id then
    perform private.fail('statement_not_found', 'There is no such statement.', 404);
  elsif (v_statement.signer = 'learner') <> (v_enrollment.user_id = v_signer)
    -- Nobody certifies themselves.
    or (v_statement.signer = 'staff' and not coalesce(
      v_enrollment.course_id = any (array(select private.staffed_courses()))
        or v_enrollment.tenant_id = any (array(select private.tenants_where('certificates.write')))
        or v_enrollment.unit_id = any (array(select private.units_where('certificates.write'))),
      false
    ))
  then
    perform private.fail(
      'not_the_signer', 'This statement is signed by somebody else.', 403, jsonb_build_object('signer', v_statement.signer)
    );
  end if;
  select * into v_attestation
  from lms.attestations a
  where a.enrollment_id = p_enrollment_id and a.statement_id = p_statement_id and a.signed_by = v_signer;
  if found then
    return v_attestation;
  elsif v_statement.retired_at is not null then
    perform private.fail('statement_retired', 'This statement is not signed any more.', 409, null, 'Show the current one.');
  elsif v_statement.meaning in ('completed', 'trained', 'approved') and v_enrollment.status <> 'completed' then
    perform private.fail(
      'not_completed', 'This is signed when the course is completed.', 409, jsonb_build_object('status', v_enrollment.status)
    );
  elsif v_enrollment.status in ('dropped', 'expired') then
    perform private.fail(
      'enrollment_not_open', 'The enrolment has ended.', 409, jsonb_build_object('status', v_enrollment.status)
    );
  elsif v_authenticated_at is null or v_authenticated_at not between now() - c_longest and now() + interval '30 seconds' then
    perform private.fail(
      'reauthentication_required', 'Signing takes having signed in within the last five minutes.', 403,
      jsonb_build_object('authenticated_at', v_authenticated_at, 'longest_seconds', extract(epoch from c_longest)::integer),
      'Ask for the password again: signInWithPassword, then repeat the call.'
    );
  end if;

  insert into lms.attestations (
    tenant_id, statement_id, enrollment_id, course_id, user_id, unit_id, signed_by, signed_at, reauthenticated_at, document
  )
  select
    v_enrollment.tenant_id, v_statement.id, v_enrollment.id, v_enrollment.course_id, v_enrollment.user_id,
    v_enrollment.unit_id, v_signer, now(), v_authenticated_at,
    -- jsonb has one form for one value: keys by length and alphabet, no doubles, no spaces to choose.
    jsonb_build_object(
      'type', 'lyceum-attestation-1',
      'tenant', jsonb_build_object('id', t.id, 'name', t.name),
      'statement', jsonb_build_object(
        'id', v_statement.id, 'key', v_statement.key, 'version', v_statement.version, 'meaning', v_statement.meaning,
        'language', v_statement.language, 'body', v_statement.body
      ),
      'signer', jsonb_build_object('id', v_signer, 'name', s.display_name),
      'learner', jsonb_build_object('id', l.id, 'name', l.display_name),
      'course', jsonb_build_object('id', c.id, 'title', c.title, 'version', v.number, 'content_hash', v.content_hash),
      'enrollment', jsonb_build_object(
        'id', v_enrollment.id, 'cycle', v_enrollment.cycle, 'status', v_enrollment.status,
        'completed_at', private.instant_text(v_enrollment.completed_at)
      ),
      'signed_at', private.instant_text(now()),
      'authenticated_at', private.instant_text(v_authenticated_at)
    )::text
  from lms.tenants t, public.profiles s, public.profiles l, lms.courses c, lms.course_versions v
  where t.id = v_enrollment.tenant_id and s.id = v_signer and l.id = v_enrollment.user_id and c.id = v_enrollment.course_id
    and v.id = v_enrollment.version_id
  returning * into strict v_attestation;
  return v_attestation;
end
$$;

-- The same text for the same instant, whatever time zone and format the session has.
create function private.instant_text(p_at timestamptz)
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
  return to_char(p_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
end
$$;

create function lms.sign_attestation(p_statement_id uuid, p_enrollment_id uuid)
returns lms.attestations
language plpgsql
volatile
set search_path = ''
as $$
begin
  -- Read as the caller: what they do not see, they do not sign.
  if not exists (select from lms.enrollments e where e.id = p_enrollment_id) then
    perform private.fail('enrollment_not_found', 'There is no such enrolment.', 404);
  elsif not exists (select from lms.attestation_statements s where s.id = p_statement_id) then
    perform private.fail('statement_not_found', 'There is no such statement.', 404);
  end if;
  return private.sign_attestation_of(p_statement_id, p_enrollment_id);
end
$$;

comment on function lms.sign_attestation is
  'Signs a statement about one cycle, in the caller''s own name; signing again answers the signature there is. Takes having '
  'signed in, by password or another factor, within five minutes: 403 reauthentication_required, ask for it and repeat. 403 '
  'not_the_signer; 404 enrollment_not_found, statement_not_found; 409 statement_retired, not_completed, enrollment_not_open.';

grant execute on function private.publish_statement, private.retire_statement, private.sign_attestation_of
  to authenticated, service_role;
grant execute on function lms.publish_attestation_statement, lms.retire_attestation_statement to authenticated, service_role;
-- Nobody signs for somebody else, the service neither.
grant execute on function lms.sign_attestation to authenticated;
revoke execute on function private.sign_attestation_of from service_role;

-- =====================================================================================================
-- Policies and grants
-- =====================================================================================================

alter table lms.attestation_statements enable row level security;
alter table lms.attestations enable row level security;

grant select on lms.attestation_statements, lms.attestations to authenticated, service_role;

-- Guests take courses, too, and read what they are to sign.
create policy "Statements are seen by members" on lms.attestation_statements
  for select to authenticated
  using (tenant_id = any (array(select private.joined_tenants())));

create policy "Attestations are seen by learner, signer, staff and in scope" on lms.attestations
  for select to authenticated
  using (
    (user_id = (select auth.uid()) and tenant_id <> all (array(select private.closed_tenants())))
    or (signed_by = (select auth.uid()) and tenant_id <> all (array(select private.closed_tenants())))
    or tenant_id = any (array(select private.tenants_where('enrollments.read')))
    or tenant_id = any (array(select private.tenants_where('certificates.write')))
    or unit_id = any (array(select private.units_where('enrollments.read')))
    or unit_id = any (array(select private.units_where('certificates.write')))
    or course_id = any (array(select private.staffed_courses()))
  );

notify pgrst, 'reload schema';
