-- Certificates: what proves that somebody completed a course, who may check it, and when the course is to be taken again.
-- Undo: drop functions lms.verify_certificate, revoke_certificate, reissue_certificate, issue_certificate; delete from
-- ops.jobs where name in ('issue-certificates', 'open-renewals'), with their cron jobs; drop functions
-- ops.issue_certificates, open_renewals; drop the triggers _550_certificate* on lms.enrollments; drop table
-- private.renewals, lms.certificates; then the types and functions below; drop the columns of lms.courses named after certificates.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Table
-- =====================================================================================================

-- 128 bits that nobody guesses, in letters and digits that nobody confuses (Crockford's base 32): whoever has the code may
-- read what the certificate says, so it is long, and says nothing by itself.
create function private.new_certificate_code()
returns text
language plpgsql
volatile
set search_path = ''
as $$
declare
  -- 26 times 5 bits are 130: the first character holds three of the 128.
  v_number constant bit(130) := B'00' || ('x' || encode(extensions.gen_random_bytes(16), 'hex'))::bit(128);
  v_code text := '';
begin
  for v_place in 0..25 loop
    v_code := v_code || substr(
      '0123456789ABCDEFGHJKMNPQRSTVWXYZ', substring(v_number from v_place * 5 + 1 for 5)::bit(5)::integer + 1, 1
    );
  end loop;
  return v_code;
end
$$;

-- What people type: in groups, in lower case, with the letters that look like digits.
create function private.normalize_certificate_code(p_code text)
returns text
language plpgsql
immutable
set search_path = ''
as $$
begin
  return translate(upper(left(p_code, 100)), 'OIL -', '011');
end
$$;

create table lms.certificates (
  id uuid primary key default private.uuid_v7(),
  tenant_id uuid not null,
  course_id uuid not null,
  user_id uuid not null constraint certificate_is_of_a_person references public.profiles (id),
  enrollment_id uuid not null,
  unit_id uuid,
  cycle integer not null,
  edition integer not null default 1 constraint certificate_edition_is_positive check (edition >= 1),
  serial text not null,
  code text not null constraint certificate_code_is_26_of_base_32 check (code ~ '^[0-7][0-9A-HJKMNP-TV-Z]{25}$'),
  holder_name text not null constraint certificate_names_its_holder check (holder_name ~ '\S' and length(holder_name) <= 300),
  course_title private.title not null,
  version_number integer not null,
  issued_at timestamptz not null default now(),
  issued_by uuid,
  issue_reason text constraint certificate_issue_reason_is_short check (length(issue_reason) <= 1000),
  valid_from timestamptz not null,
  expires_at timestamptz,
  revoked_at timestamptz,
  revoked_by uuid,
  revoked_reason text constraint certificate_revocation_reason_is_1_to_1000_characters
    check (revoked_reason ~ '\S' and length(revoked_reason) <= 1000),
  voids_training boolean not null default false,
  renewed_by uuid,
  constraint certificate_serial_is_taken unique (tenant_id, serial),
  constraint certificate_code_is_taken unique (code),
  -- Exactly one per completed cycle; another edition replaces it, and only after it was revoked.
  constraint one_certificate_per_cycle_and_edition unique (enrollment_id, edition),
  constraint certificate_is_of_the_learners_cycle foreign key (enrollment_id, tenant_id, course_id, user_id)
    references lms.enrollments (id, tenant_id, course_id, user_id),
  constraint certificate_course_is_of_the_same_tenant foreign key (tenant_id, course_id) references lms.courses (tenant_id, id),
  constraint certificate_unit_is_of_the_same_tenant foreign key (tenant_id, unit_id)
    references lms.org_units (tenant_id, id) on delete set null (unit_id),
  constraint certificate_of_its_tenant unique (tenant_id, id),
  constraint renewing_certificate_is_of_the_same_tenant foreign key (tenant_id, renewed_by) references lms.certificates (tenant_id, id),
  constraint certificate_expires_after_it_begins check (expires_at > valid_from),
  constraint certificate_has_a_reason_exactly_when_revoked check ((revoked_at is null) = (revoked_reason is null)),
  constraint certificate_voids_training_once_revoked check (not voids_training or revoked_at is not null)
);
create unique index one_standing_certificate_per_cycle on lms.certificates (enrollment_id) where revoked_at is null;
create index certificates_by_enrollment on lms.certificates (enrollment_id, tenant_id, course_id, user_id);
create index certificates_of_void_training on lms.certificates (tenant_id) where voids_training;
create index certificates_by_user on lms.certificates (user_id, course_id, cycle desc);
create index certificates_by_tenant on lms.certificates (tenant_id, issued_at desc, id desc);
create index certificates_by_course on lms.certificates (course_id, issued_at desc, id desc);
create index certificates_by_course_of_tenant on lms.certificates (tenant_id, course_id);
create index certificates_by_unit on lms.certificates (unit_id, issued_at desc, id desc);
create index certificates_by_unit_of_tenant on lms.certificates (tenant_id, unit_id);
create index certificates_by_renewal on lms.certificates (renewed_by);
-- What runs out, and nothing has followed yet: the reminders to be sent.
create index certificates_by_expiry on lms.certificates (expires_at, id) where revoked_at is null and renewed_by is null;

comment on table lms.certificates is
  'Proof of a completed cycle, exactly one for each. It keeps what it said when it was issued: names, title, dates. Valid: '
  'revoked_at is null, and expires_at is null or ahead. Anybody who has the code may verify it: verify_certificate.';
comment on column lms.certificates.unit_id is 'Org unit at the time of completion, as the enrolment''s.';
comment on column lms.certificates.edition is '1, or higher where reissue_certificate replaced an earlier one of the same cycle.';
comment on column lms.certificates.serial is 'For people and files: organisation, year, number. Unique in the tenant; proves nothing.';
comment on column lms.certificates.code is 'What verify_certificate and the address of the verification page take: 26 letters and digits.';
comment on column lms.certificates.holder_name is 'As it was when the certificate was issued. Training law has it kept when the person leaves.';
comment on column lms.certificates.valid_from is 'When the cycle was completed.';
comment on column lms.certificates.expires_at is 'Valid before then; null is without end.';
comment on column lms.certificates.voids_training is
  'Revoked because the training itself did not hold: rules that require it ask for it anew, unless it is issued again.';
comment on column lms.certificates.renewed_by is 'The certificate of the person''s next completed cycle of the course.';

-- A certificate is what was issued. Withdrawing it, and what came after it, are all that is ever added to the row, and no
-- role of the API withdraws twice or takes it back.
create function private.keep_certificate()
returns trigger
language plpgsql
set search_path = ''
as $$
declare
  v_may_change constant text[] := '{unit_id, revoked_at, revoked_by, revoked_reason, voids_training, renewed_by}';
begin
  if to_jsonb(new) - v_may_change is distinct from to_jsonb(old) - v_may_change
    or (old.revoked_at is not null and (new.revoked_at, new.revoked_by, new.revoked_reason)
      is distinct from (old.revoked_at, old.revoked_by, old.revoked_reason))
    -- That the training did not hold may turn out later, once.
    or (old.voids_training and not new.voids_training)
  then
    raise insufficient_privilege using message = 'A certificate stays as it was issued: revoke it, or issue another one.';
  end if;
  return new;
end
$$;

create trigger _200_kept before update on lms.certificates
  for each row execute function private.keep_certificate();

create function private.keep_certificate_row()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  raise insufficient_privilege using message = 'Certificates are kept: revoke it instead.';
end
$$;

create trigger _200_never_deleted before delete on lms.certificates
  for each row execute function private.keep_certificate_row();

-- =====================================================================================================
-- Issuing
-- =====================================================================================================

-- Two cycles of one person whose certificates change at once, one of them late, must each see the other: taken after all
-- other locks, and by nobody else.
create function private.hold_certificates(p_user_id uuid, p_course_id uuid)
returns void
language plpgsql
volatile
set search_path = ''
as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('lyceum certificates ' || p_user_id || ' ' || p_course_id, 0));
end
$$;

-- Writes the certificate of a completed cycle. Whoever calls it holds the enrolment's row, so that no two do it at once for
-- one cycle; the unique constraint is what makes it exact.
create function private.write_certificate(
  p_enrollment lms.enrollments, p_reason text default null, p_replaced lms.certificates default null,
  p_holder_name text default null
)
returns lms.certificates
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_tenant lms.tenants;
  v_course lms.courses;
  -- What it is to say. A replacement says what the one before it did, but for the name.
  v_new lms.certificates := p_replaced;
  v_certificate lms.certificates;
begin
  select * into strict v_tenant from lms.tenants t where t.id = p_enrollment.tenant_id;
  select coalesce(p_holder_name, p.display_name) into strict v_new.holder_name
  from public.profiles p
  where p.id = p_enrollment.user_id;
  if p_replaced.id is null then
    select * into strict v_course from lms.courses c where c.id = p_enrollment.course_id;
    select v.number into strict v_new.version_number from lms.course_versions v where v.id = p_enrollment.version_id;
    v_new.course_title := v_course.title;
    v_new.valid_from := p_enrollment.completed_at;
    -- Months of the calendar on the wall: a course done at 9 in winter is due at 9 in summer.
    v_new.expires_at := (
      (v_new.valid_from at time zone v_tenant.time_zone) + make_interval(months => v_course.certificate_validity_months)
    ) at time zone v_tenant.time_zone;
  end if;

  perform private.hold_certificates(p_enrollment.user_id, p_enrollment.course_id);
  -- The number is drawn rather than counted: counting would make everybody who completes anything in a tenant wait for
  -- everybody else, and tell how many there are. One that is taken is drawn again.
  for v_try in 1..20 loop
    insert into lms.certificates (
      tenant_id, course_id, user_id, enrollment_id, unit_id, cycle, edition, serial, code, holder_name, course_title,
      version_number, issued_by, issue_reason, valid_from, expires_at, renewed_by
    )
    select
      p_enrollment.tenant_id, p_enrollment.course_id, p_enrollment.user_id, p_enrollment.id, p_enrollment.unit_id,
      p_enrollment.cycle, coalesce(p_replaced.edition, 0) + 1,
      format(
        '%s-%s-%s', rtrim(left(upper(v_tenant.slug), 20), '-'),
        to_char(v_new.valid_from at time zone v_tenant.time_zone, 'YYYY'),
        lpad(floor(random() * 1e8)::bigint::text, 8, '0')
      ),
      private.new_certificate_code(), v_new.holder_name, v_new.course_title, v_new.version_number,
      case when p_reason is not null then (select auth.uid()) end, p_reason, v_new.valid_from, v_new.expires_at,
      (
        select c.id
        from lms.certificates c
        where c.user_id = p_enrollment.user_id and c.course_id = p_enrollment.course_id and c.cycle > p_enrollment.cycle
          and c.revoked_at is null
        order by c.cycle
        limit 1
      )
    on conflict (tenant_id, serial) do nothing
    returning * into v_certificate;
    exit when v_certificate.id is not null;
  end loop;
  if v_certificate.id is null then
    raise exception 'No serial number is free for certificates of tenant %.', p_enrollment.tenant_id;
  end if;

  update lms.certificates c
  set renewed_by = v_certificate.id
  where c.user_id = v_certificate.user_id and c.course_id = v_certificate.course_id and c.cycle < v_certificate.cycle
    and c.revoked_at is null
    and not exists (
      select
      from lms.certificates n
      where n.id = c.renewed_by and n.cycle < v_certificate.cycle and n.revoked_at is null
    );
  return v_certificate;
end
$$;

-- The certificate that a completion brings, in the same transaction. INV-P3: whatever goes wrong here, the completion
-- stands: the job below finds it without one.
create function private.certify_completion()
returns trigger
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  if exists (select from lms.courses c where c.id = new.course_id and c.issues_certificate) then
    begin
      perform private.write_certificate(new);
    exception
      when others then
        raise warning 'The certificate of enrolment % was not issued: %: %', new.id, sqlstate, sqlerrm;
    end;
  end if;
  return null;
end
$$;

create trigger _550_certificate after update on lms.enrollments
  for each row when (new.status = 'completed' and old.status <> 'completed')
  execute function private.certify_completion();
create trigger _550_certificate_imported after insert on lms.enrollments
  for each row when (new.status = 'completed')
  execute function private.certify_completion();

-- INV-O4: found by looking for completions without one, whatever the reason and however long ago.
create function ops.issue_certificates(p_batch integer default 1000)
returns integer
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_enrollment lms.enrollments;
  v_issued integer := 0;
begin
  for v_enrollment in
    select e.*
    from lms.enrollments e
    join lms.courses c on c.id = e.course_id and c.issues_certificate
    where e.status = 'completed' and not exists (select from lms.certificates f where f.enrollment_id = e.id)
    order by e.course_id, e.user_id
  loop
    exit when v_issued >= p_batch;
    -- Somebody who issues it by hand at this moment holds the row, and then there is one.
    perform from lms.enrollments e where e.id = v_enrollment.id for no key update skip locked;
    continue when not found
      or exists (select from lms.certificates f where f.enrollment_id = v_enrollment.id);
    begin
      perform private.write_certificate(v_enrollment);
      v_issued := v_issued + 1;
    exception
      -- One that cannot be issued keeps none of the others from it.
      when others then
        raise warning 'The certificate of enrolment % was not issued: %: %', v_enrollment.id, sqlstate, sqlerrm;
    end;
  end loop;
  return v_issued;
end
$$;

comment on function ops.issue_certificates is
  'Issues certificates of completed cycles that should have one and have none, at most p_batch per run; returns how many.';

-- =====================================================================================================
-- Renewal
-- =====================================================================================================

-- Certificates that run out, and of which it is not settled yet that something followed. They could be found among all
-- certificates, but those that have run out pile up over the years, and every run would go through them.
create table private.renewals (
  certificate_id uuid primary key constraint renewal_is_of_a_certificate references lms.certificates (id) on delete cascade,
  course_id uuid not null,
  expires_at timestamptz not null,
  checked_at timestamptz not null default '-infinity'
);
create index renewals_by_course on private.renewals (course_id, checked_at, expires_at);
alter table private.renewals enable row level security;

comment on table private.renewals is
  'Certificates with an end that a cycle may have to follow; removed by ops.open_renewals when one has, or none is to follow.';
comment on column private.renewals.checked_at is 'When it was looked at last, and could not be settled; -infinity: not yet.';

create function private.expect_renewal()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  insert into private.renewals (certificate_id, course_id, expires_at) values (new.id, new.course_id, new.expires_at);
  return null;
end
$$;

create trigger _300_renewal after insert on lms.certificates
  for each row when (new.expires_at is not null)
  execute function private.expect_renewal();

-- What is due and new, then what could not be settled a day or more ago, the longest first: of each course by two looks into
-- one index, at most p_most.
create function private.due_renewals(p_most integer)
returns setof private.renewals
language plpgsql
stable
rows 100
set search_path = ''
as $$
begin
  return query
  select d.*
  from lms.courses k
  cross join lateral (
    (
      select r.*
      from private.renewals r
      where r.course_id = k.id and r.checked_at = '-infinity'
        and r.expires_at <= now() + make_interval(days => k.certificate_renewal_days)
      order by r.expires_at
      limit p_most
    )
    union all
    (
      select r.*
      from private.renewals r
      where r.course_id = k.id and r.checked_at > '-infinity' and r.checked_at < now() - interval '20 hours'
      order by r.checked_at
      limit p_most
    )
  ) d
  where k.certificate_renewal_days is not null and k.status = 'published' and k.deleted_at is null
  order by d.checked_at, d.expires_at
  limit p_most;
end
$$;

-- INV-O4: who is to be enrolled again follows from the certificates that run out and the cycles there are, so that a run
-- that was missed is made up for. A later cycle, also one that was dropped, is not opened again: whether somebody who left
-- has to come back is for staff, or for assignment rules. Who cannot be enrolled is tried again each day. Rows in the order of
-- course and person, as all who enrol many. INV-O1: at most p_batch are opened, and ten times as many looked at.
create function ops.open_renewals(p_batch integer default 500)
returns integer
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_due record;
  v_settled uuid[] := array[]::uuid[];
  v_checked uuid[] := array[]::uuid[];
  v_opened integer := 0;
begin
  for v_due in
    select
      r.certificate_id, c.tenant_id, c.course_id, c.user_id, c.cycle, c.expires_at,
      c.revoked_at is not null or c.renewed_by is not null or exists (
        select from lms.enrollments e where e.user_id = c.user_id and e.course_id = c.course_id and e.cycle > c.cycle
      ) as is_settled
    from private.due_renewals(10 * p_batch) r
    join lms.certificates c on c.id = r.certificate_id
    order by c.course_id, c.user_id
  loop
    if v_due.is_settled then
      v_settled := v_settled || v_due.certificate_id;
      continue;
    end if;
    exit when v_opened >= p_batch;
    continue when not private.hold_course(v_due.course_id, false);
    perform from lms.memberships m
    where m.user_id = v_due.user_id and m.tenant_id = v_due.tenant_id
    for no key update skip locked;
    -- Who is busy is renewed by the next run.
    continue when not found or exists (
      select
      from lms.enrollments e
      where e.user_id = v_due.user_id and e.course_id = v_due.course_id and e.cycle > v_due.cycle
    );
    if exists (select from private.enrollment_obstacles(v_due.course_id, v_due.user_id, false)) then
      v_checked := v_checked || v_due.certificate_id;
      continue;
    end if;
    insert into lms.enrollments (course_id, user_id, source, due_at)
    values (v_due.course_id, v_due.user_id, 'rule', v_due.expires_at);
    v_settled := v_settled || v_due.certificate_id;
    v_opened := v_opened + 1;
  end loop;
  delete from private.renewals r where r.certificate_id = any (v_settled);
  update private.renewals r set checked_at = now() where r.certificate_id = any (v_checked);
  return v_opened;
end
$$;

comment on function ops.open_renewals is
  'Enrols holders of certificates that are about to expire in the next cycle of the course, due when the certificate '
  'expires, where the course says so (certificate_renewal_days); at most p_batch per run; returns how many. Who cannot be '
  'enrolled is tried again a day later.';

grant execute on function ops.issue_certificates, ops.open_renewals to service_role;

-- =====================================================================================================
-- By hand: issuing, revoking, replacing
-- =====================================================================================================
-- Definer, because nobody may write the table; so they check their caller. Each holds the enrolment first: two who issue,
-- or one who issues and one who replaces, go one after the other.

create function private.require_certificate_right(p_enrollment lms.enrollments)
returns void
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  if private.is_api_call() then
    if not coalesce(
      p_enrollment.tenant_id = any (array(select private.tenants_where('certificates.write')))
        or p_enrollment.unit_id = any (array(select private.units_where('certificates.write'))),
      false
    ) then
      raise insufficient_privilege using message = 'Certificates take certificates.write in the unit where they were earned.';
    elsif p_enrollment.user_id = (select auth.uid()) then
      perform private.fail('own_certificate', 'Nobody issues, revokes or changes their own certificate.', 403);
    end if;
  end if;
end
$$;

create function private.check_certificate_reason(p_reason text)
returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  if coalesce(p_reason, '') !~ '\S' or length(p_reason) > 1000 then
    perform private.fail(
      'invalid_reason', 'This takes a reason of up to 1000 characters.', 422, jsonb_build_object('field', 'p_reason')
    );
  end if;
end
$$;

create function private.issue_certificate_of(p_enrollment_id uuid, p_reason text)
returns lms.certificates
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_enrollment lms.enrollments;
begin
  select * into v_enrollment from lms.enrollments e where e.id = p_enrollment_id for no key update;
  perform private.require_certificate_right(v_enrollment);
  if v_enrollment.status <> 'completed' then
    perform private.fail(
      'not_completed', 'Only a completed cycle has a certificate.', 409, jsonb_build_object('status', v_enrollment.status)
    );
  elsif exists (select from lms.certificates c where c.enrollment_id = p_enrollment_id) then
    perform private.fail(
      'certificate_exists', 'This cycle has its certificate.', 409, null, 'Replace it, if it is wrong: reissue_certificate.'
    );
  end if;
  return private.write_certificate(v_enrollment, p_reason);
end
$$;

create function lms.issue_certificate(p_enrollment_id uuid, p_reason text)
returns lms.certificates
language plpgsql
volatile
set search_path = ''
as $$
begin
  -- Read as the caller: somebody else's enrolment does not exist for them.
  if not exists (select from lms.enrollments e where e.id = p_enrollment_id) then
    perform private.fail('enrollment_not_found', 'There is no such enrolment.', 404);
  end if;
  perform private.check_certificate_reason(p_reason);
  return private.issue_certificate_of(p_enrollment_id, p_reason);
end
$$;

comment on function lms.issue_certificate is
  'Issues the certificate of a completed cycle of a course that issues none by itself. Takes certificates.write where the '
  'cycle was done: 403 42501; nobody for themselves: 403 own_certificate. 404 enrollment_not_found; 409 not_completed, '
  'certificate_exists; 422 invalid_reason.';

create function private.revoke_certificate_of(p_certificate_id uuid, p_reason text, p_voids_training boolean)
returns lms.certificates
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_enrollment lms.enrollments;
  v_certificate lms.certificates;
begin
  select e.* into v_enrollment
  from lms.enrollments e
  where e.id = (select c.enrollment_id from lms.certificates c where c.id = p_certificate_id)
  for no key update;
  perform private.require_certificate_right(v_enrollment);
  update lms.certificates c
  set revoked_at = now(), revoked_by = (select auth.uid()), revoked_reason = p_reason, voids_training = p_voids_training
  where c.id = p_certificate_id and c.revoked_at is null
  returning * into v_certificate;
  if not found then
    update lms.certificates c
    set voids_training = true
    where c.id = p_certificate_id and p_voids_training and not c.voids_training;
    select * into v_certificate from lms.certificates c where c.id = p_certificate_id;
    return v_certificate;
  end if;
  perform private.hold_certificates(v_certificate.user_id, v_certificate.course_id);
  update lms.certificates c
  set renewed_by = (
    select n.id
    from lms.certificates n
    where n.user_id = c.user_id and n.course_id = c.course_id and n.cycle > c.cycle and n.revoked_at is null
    order by n.cycle
    limit 1
  )
  where c.renewed_by = p_certificate_id;
  return v_certificate;
end
$$;

create function private.require_certificate(p_certificate_id uuid)
returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  -- Read as the caller: somebody else's certificate does not exist for them.
  if not exists (select from lms.certificates c where c.id = p_certificate_id) then
    perform private.fail('certificate_not_found', 'There is no such certificate.', 404);
  end if;
end
$$;

create function lms.revoke_certificate(p_certificate_id uuid, p_reason text, p_voids_training boolean default false)
returns lms.certificates
language plpgsql
volatile
set search_path = ''
as $$
begin
  perform private.require_certificate(p_certificate_id);
  perform private.check_certificate_reason(p_reason);
  return private.revoke_certificate_of(p_certificate_id, p_reason, coalesce(p_voids_training, false));
end
$$;

comment on function lms.revoke_certificate is
  'Withdraws a certificate, for good; doing it again changes nothing. p_voids_training: the training itself did not hold, and '
  'whoever has to have it by a rule is due again; that may also be said of a certificate that was revoked before. The completed '
  'cycle stays as history. Verifiers see that and when it was revoked, not why. Takes '
  'certificates.write where the cycle was done: 403 42501; nobody for themselves: 403 own_certificate. 404 '
  'certificate_not_found; 422 invalid_reason.';

create function private.reissue_certificate_of(p_certificate_id uuid, p_holder_name text, p_reason text)
returns lms.certificates
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_enrollment lms.enrollments;
  v_certificate lms.certificates;
begin
  select e.* into v_enrollment
  from lms.enrollments e
  where e.id = (select c.enrollment_id from lms.certificates c where c.id = p_certificate_id)
  for no key update;
  perform private.require_certificate_right(v_enrollment);
  select * into v_certificate from lms.certificates c where c.id = p_certificate_id;
  if exists (
    select from lms.certificates c where c.enrollment_id = v_enrollment.id and c.edition > v_certificate.edition
  ) then
    perform private.fail('certificate_replaced', 'This certificate was replaced by a later one.', 409);
  end if;
  update lms.certificates c
  set revoked_at = now(), revoked_by = (select auth.uid()), revoked_reason = p_reason
  where c.id = p_certificate_id and c.revoked_at is null;
  return private.write_certificate(v_enrollment, p_reason, v_certificate, p_holder_name);
end
$$;

create function lms.reissue_certificate(p_certificate_id uuid, p_reason text, p_holder_name text default null)
returns lms.certificates
language plpgsql
volatile
set search_path = ''
as $$
begin
  perform private.require_certificate(p_certificate_id);
  perform private.check_certificate_reason(p_reason);
  if p_holder_name is not null and (p_holder_name !~ '\S' or length(p_holder_name) > 300 or p_holder_name ~ '[\x01-\x1f\x7f]') then
    perform private.fail(
      'invalid_name', 'A name is one line of 1 to 300 characters.', 422, jsonb_build_object('field', 'p_holder_name')
    );
  end if;
  return private.reissue_certificate_of(p_certificate_id, p_holder_name, p_reason);
end
$$;

comment on function lms.reissue_certificate is
  'Replaces a certificate by another one of the same cycle, in the given name or the one that the person has now, with a '
  'serial number and a code of its own; the old one is revoked, if it was not. Takes certificates.write where the cycle '
  'was done: 403 42501; nobody for themselves: 403 own_certificate. 404 certificate_not_found; 409 certificate_replaced; '
  '422 invalid_reason, invalid_name.';

grant execute on function private.issue_certificate_of, private.revoke_certificate_of, private.reissue_certificate_of,
  private.require_certificate, private.check_certificate_reason to authenticated, service_role;
grant execute on function lms.issue_certificate, lms.revoke_certificate, lms.reissue_certificate to authenticated, service_role;

-- =====================================================================================================
-- Verifying
-- =====================================================================================================

create type lms.certificate_verification as (
  status text,
  code text,
  serial text,
  holder_name text,
  course_title text,
  issuer_name text,
  issuer_id uuid,
  issued_at timestamptz,
  valid_from timestamptz,
  expires_at timestamptz,
  revoked_at timestamptz,
  valid_from_day date,
  expires_on_day date,
  revoked_on_day date,
  achievement_id uuid,
  language text
);

comment on type lms.certificate_verification is
  'What a verifier needs of a certificate and no more. status: valid, expired or revoked. achievement_id stands for the '
  'course in this version, issuer_id for the organisation; they are no ids of rows. The days are those of the organisation''s time zone.';

-- Definer: by the code alone, whoever asks. It answers one row that was named by 128 bits, and only this much of it.
create function private.read_certificate(p_code text)
returns lms.certificate_verification
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_verification lms.certificate_verification;
begin
  select
    case
      when c.revoked_at is not null then 'revoked'
      when c.expires_at <= now() then 'expired'
      else 'valid'
    end,
    c.code, c.serial, c.holder_name, c.course_title, t.name, md5('lyceum issuer ' || t.id)::uuid, c.issued_at, c.valid_from, c.expires_at, c.revoked_at,
    (c.valid_from at time zone t.time_zone)::date, (c.expires_at at time zone t.time_zone)::date,
    (c.revoked_at at time zone t.time_zone)::date,
    md5('lyceum achievement ' || c.course_id || ' ' || c.version_number)::uuid, k.language
  into v_verification
  from lms.certificates c
  join lms.tenants t on t.id = c.tenant_id
  join lms.courses k on k.id = c.course_id
  where c.code = private.normalize_certificate_code(p_code);
  return v_verification;
end
$$;

create function lms.verify_certificate(p_code text)
returns lms.certificate_verification
language plpgsql
stable
set search_path = ''
as $$
declare
  v_verification constant lms.certificate_verification := private.read_certificate(p_code);
begin
  if v_verification.status is null then
    perform private.fail('certificate_not_found', 'There is no certificate with this code.', 404);
  end if;
  return v_verification;
end
$$;

comment on function lms.verify_certificate is
  'What a certificate says and whether it holds: valid, expired or revoked. For everybody who has the code; spaces, '
  'hyphens, lower case and O, I, L for 0, 1, 1 do not matter. 404 certificate_not_found.';

grant execute on function private.read_certificate, lms.verify_certificate to anon, authenticated, service_role;

-- =====================================================================================================
-- Policies and grants
-- =====================================================================================================

alter table lms.certificates enable row level security;

grant select on lms.certificates to authenticated, service_role;

-- INV-T4: what somebody has earned stays theirs, also while they are suspended and after the organisation was closed.
create policy "Certificates are seen by their holder, staff and in scope" on lms.certificates
  for select to authenticated
  using (
    user_id = (select auth.uid())
    or tenant_id = any (array(select private.tenants_where('enrollments.read')))
    or tenant_id = any (array(select private.tenants_where('certificates.write')))
    or unit_id = any (array(select private.units_where('enrollments.read')))
    or unit_id = any (array(select private.units_where('certificates.write')))
    or course_id = any (array(select private.staffed_courses()))
  );

notify pgrst, 'reload schema';
