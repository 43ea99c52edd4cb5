-- Training records: what 49 CFR 172.704(d) has an employer keep of each hazmat employee's training: name, date of the most recent
-- completion, materials, who trained them and where to find them, and who certifies that they were trained and tested. One row for
-- each completed cycle of a course that says so, as it was then.
-- Undo: delete from ops.jobs where name in ('write-training-records', 'forget-training-records'), with their cron jobs; drop functions
-- lms.get_training_records, correct_training_record, ops.write_training_records, forget_training_records; drop the triggers
-- _560_training_record* on lms.enrollments, lms.outside_training, lms.attestations and lms.session_bookings; drop tables
-- private.record_checks, lms.training_records, lms.training_record_settings; then the functions and the view below; take the settings out of duplication and course import.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Which courses, and what is the same for all who take one
-- =====================================================================================================

-- Apart from the course, because everybody sees that one: a trainer's address is nobody's business who only browses.
create table lms.training_record_settings (
  course_id uuid primary key,
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  keeps_training_record boolean not null default true,
  materials text constraint course_materials_are_1_to_5000_characters check (materials ~ '\S' and length(materials) <= 5000),
  trainer_name text constraint course_trainer_name_is_1_to_300_characters
    check (trainer_name ~ '\S' and length(trainer_name) <= 300),
  trainer_address text constraint course_trainer_address_is_1_to_1000_characters
    check (trainer_address ~ '\S' and length(trainer_address) <= 1000),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint record_settings_are_of_the_same_tenant foreign key (tenant_id, course_id) references lms.courses (tenant_id, id)
);
create index training_record_settings_by_tenant on lms.training_record_settings (tenant_id, course_id);

comment on table lms.training_record_settings is
  'Courses of which training records are kept, and what they print unless a session or outside training says otherwise. Changes show '
  'in records written from then on.';
comment on column lms.training_record_settings.tenant_id is 'Taken from the course.';
comment on column lms.training_record_settings.keeps_training_record is 'Each completed cycle gets a record.';
comment on column lms.training_record_settings.materials is
  'A description of the training materials, or where a copy is kept; null: the version of the course, which is kept for good.';
comment on column lms.training_record_settings.trainer_name is 'Who provides the training; null: the instructor of the course.';

create trigger _100_timestamps before update on lms.training_record_settings
  for each row execute function private.touch_updated_at();

create function private.place_record_settings()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  select c.tenant_id into new.tenant_id from lms.courses c where c.id = new.course_id;
  new.tenant_id := coalesce(new.tenant_id, '00000000-0000-0000-0000-000000000000');
  return new;
end
$$;

create trigger _200_place before insert on lms.training_record_settings
  for each row execute function private.place_record_settings();

-- =====================================================================================================
-- Records
-- =====================================================================================================

create table lms.training_records (
  id uuid primary key default private.uuid_v7(),
  tenant_id uuid not null,
  course_id uuid not null,
  user_id uuid not null constraint training_record_is_of_a_person references public.profiles (id),
  enrollment_id uuid not null,
  unit_id uuid,
  cycle integer not null,
  edition integer not null constraint record_edition_is_positive check (edition >= 1),
  employer_name text not null,
  employee_name text not null constraint record_names_the_employee check (employee_name ~ '\S' and length(employee_name) <= 300),
  course_title text not null,
  version_number integer not null,
  content_hash text not null,
  completed_at timestamptz not null,
  completed_on date not null,
  materials text constraint record_materials_are_1_to_6000_characters check (materials ~ '\S' and length(materials) <= 6000),
  trainer_name text constraint record_trainer_name_is_1_to_300_characters
    check (trainer_name ~ '\S' and length(trainer_name) <= 300),
  trainer_address text constraint record_trainer_address_is_1_to_1000_characters
    check (trainer_address ~ '\S' and length(trainer_address) <= 1000),
  tested_at timestamptz,
  tested_by text constraint test_is_known check (tested_by in ('assessment', 'sign_off', 'evidence')),
  test_percentage numeric,
  certified_at timestamptz,
  certified_by uuid,
  certifier_name text,
  certification text constraint certification_is_known check (certification in ('attestation', 'sign_off', 'grader', 'evidence')),
  certification_text text,
  attestation_id uuid,
  missing text[] not null generated always as (
    array_remove(array[
      -- What profiles show of who has said no name, or taken theirs away.
      case when employee_name = 'Learner' then 'employee_name' end,
      case when materials is null then 'materials' end,
      case when trainer_name is null then 'trainer_name' end,
      case when trainer_address is null then 'trainer_address' end,
      case when tested_at is null then 'tested_at' end,
      case when certified_at is null then 'certified_at' end
    ], null)
  ) stored,
  recorded_at timestamptz not null default now(),
  corrected_by uuid,
  correction_reason text constraint record_correction_reason_is_1_to_1000_characters
    check (correction_reason ~ '\S' and length(correction_reason) <= 1000),
  constraint one_record_per_cycle_and_edition unique (enrollment_id, edition),
  constraint training_record_is_of_the_learners_cycle foreign key (enrollment_id, tenant_id, course_id, user_id)
    references lms.enrollments (id, tenant_id, course_id, user_id),
  constraint training_record_course_is_of_the_same_tenant foreign key (tenant_id, course_id) references lms.courses (tenant_id, id),
  constraint training_record_unit_is_of_the_same_tenant foreign key (tenant_id, unit_id)
    references lms.org_units (tenant_id, id) on delete set null (unit_id),
  constraint first_edition_corrects_nothing check ((edition = 1) = (correction_reason is null)),
  constraint tested_and_certified_by_something check (
    (tested_at is null) = (tested_by is null) and (certified_at is null) = (certification is null)
    and (certified_at is null) = (certifier_name is null)
  )
);
create index training_records_by_enrollment on lms.training_records (enrollment_id, tenant_id, course_id, user_id);
create index training_records_by_tenant on lms.training_records (tenant_id, completed_at desc, id desc);
create index training_records_by_course on lms.training_records (course_id, completed_at desc, id desc);
create index training_records_by_course_of_tenant on lms.training_records (tenant_id, course_id);
create index training_records_by_user on lms.training_records (user_id, completed_at desc, id desc);
create index training_records_by_unit on lms.training_records (unit_id, completed_at desc, id desc);
create index training_records_by_unit_of_tenant on lms.training_records (tenant_id, unit_id);
create index training_records_by_completion on lms.training_records (completed_on, id);

comment on table lms.training_records is
  'What 49 CFR 172.704(d) asks for, of each completed cycle of a course that keeps records, frozen when it was written. A row never '
  'changes: the next edition takes its place, with a reason. Kept also when the person leaves, is erased, or loses their login. '
  'get_training_records answers the current editions with how long they are kept.';
comment on column lms.training_records.edition is '1, or higher where it takes the place of an earlier one of the same cycle.';
comment on column lms.training_records.employer_name is 'The organisation''s name at the time.';
comment on column lms.training_records.employee_name is '172.704(d)(1). As it was when the record was written.';
comment on column lms.training_records.completed_on is '172.704(d)(2). A day in the tenant''s time zone.';
comment on column lms.training_records.materials is
  '172.704(d)(3). A description, or where a copy is kept. What the course itself held is version_number, by content_hash.';
comment on column lms.training_records.trainer_name is '172.704(d)(4), with trainer_address: who provided the training.';
comment on column lms.training_records.tested_at is 'When they passed: an assessment, a practical sign-off, or as the evidence says.';
comment on column lms.training_records.certified_at is
  '172.704(d)(5): when somebody certified that they were trained and tested, by an attestation of staff, a practical sign-off, '
  'grading it by hand, or accepting evidence.';
comment on column lms.training_records.certification_text is 'What was signed, word for word, where it was an attestation.';
comment on column lms.training_records.missing is
  'Columns that the law asks for and that are not known. A job fills in what becomes known later, but for the name: HR corrects it.';

-- Until when the law has a record kept: as long as somebody is employed and 90 days, and three years at least. Null: employed.
create function private.record_kept_until(p_tenant_id uuid, p_user_id uuid, p_completed_on date)
returns date
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  return (
    select greatest((m.ended_at at time zone t.time_zone)::date + 90, (p_completed_on + interval '3 years')::date)
    from lms.memberships m
    join lms.tenants t on t.id = m.tenant_id
    where m.tenant_id = p_tenant_id and m.user_id = p_user_id and m.status = 'ended'
  );
end
$$;

create function private.keep_training_record()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if tg_op = 'UPDATE' then
    -- A unit that is dissolved is none of what is recorded.
    if new.unit_id is null and to_jsonb(new) - 'unit_id' = to_jsonb(old) - 'unit_id' then
      return new;
    end if;
  elsif tg_op = 'DELETE' and not private.is_api_call()
    and private.record_kept_until(old.tenant_id, old.user_id, old.completed_on) < current_date
  then
    return old;
  end if;
  raise insufficient_privilege using
    message = 'A training record stays as it was written, for as long as the law says.', hint = 'Correct it: correct_training_record.';
end
$$;

create trigger _200_kept before update or delete on lms.training_records
  for each row execute function private.keep_training_record();
create trigger _200_never_emptied before truncate on lms.training_records
  for each statement execute function private.keep_training_record();

-- =====================================================================================================
-- Writing them
-- =====================================================================================================

-- What a record of this cycle would say now. Name and address of a trainer come from one place: another trainer's address would be
-- worse than none.
create function private.compose_training_record(p_enrollment lms.enrollments)
returns lms.training_records
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_record lms.training_records;
  v_course lms.courses;
  v_settings lms.training_record_settings;
  v_evidence lms.outside_training;
  v_session lms.led_sessions;
  v_signed lms.session_bookings;
  v_attestation record;
  v_grader record;
begin
  select * into v_course from lms.courses c where c.id = p_enrollment.course_id;
  select * into v_settings from lms.training_record_settings s where s.course_id = p_enrollment.course_id;
  select * into v_evidence from lms.outside_training o where o.enrollment_id = p_enrollment.id;
  v_record.tenant_id := p_enrollment.tenant_id;
  v_record.course_id := p_enrollment.course_id;
  v_record.user_id := p_enrollment.user_id;
  v_record.enrollment_id := p_enrollment.id;
  v_record.unit_id := p_enrollment.unit_id;
  v_record.cycle := p_enrollment.cycle;
  v_record.completed_at := p_enrollment.completed_at;
  select t.name, (p_enrollment.completed_at at time zone t.time_zone)::date
  into v_record.employer_name, v_record.completed_on
  from lms.tenants t
  where t.id = p_enrollment.tenant_id;
  select p.display_name into v_record.employee_name from public.profiles p where p.id = p_enrollment.user_id;
  select v.title, v.number, v.content_hash
  into v_record.course_title, v_record.version_number, v_record.content_hash
  from lms.course_versions v
  where v.id = p_enrollment.version_id;

  if v_evidence.id is not null then
    v_record.materials := v_evidence.materials;
    v_record.trainer_name := v_evidence.provider_name;
    v_record.trainer_address := v_evidence.provider_address;
    if v_evidence.was_tested then
      v_record.tested_at := p_enrollment.completed_at;
      v_record.tested_by := 'evidence';
      v_record.certified_at := v_evidence.reviewed_at;
      v_record.certified_by := v_evidence.reviewed_by;
      v_record.certification := 'evidence';
    end if;
  elsif p_enrollment.source = 'evidence' then
    -- Written once the evidence says that it is accepted.
    return null;
  else
    select s.* into v_session
    from lms.session_bookings b
    join lms.led_sessions s on s.id = b.session_id
    where b.enrollment_id = p_enrollment.id and b.status = 'attended'
    order by s.starts_at desc, s.id
    limit 1;
    v_record.materials := coalesce(v_session.materials, v_settings.materials, format(
      '%s, version %s, kept in full under %s', v_record.course_title, v_record.version_number, v_record.content_hash
    ));
    v_record.trainer_name := coalesce(
      v_session.trainer_name, (select p.display_name from public.profiles p where p.id = v_session.trainer_id)
    );
    v_record.trainer_address := v_session.trainer_address;
    if v_record.trainer_name is null then
      v_record.trainer_name := coalesce(
        v_settings.trainer_name, (select p.display_name from public.profiles p where p.id = v_course.instructor_id)
      );
      v_record.trainer_address := coalesce(v_record.trainer_address, v_settings.trainer_address);
    elsif v_record.trainer_name = v_settings.trainer_name then
      v_record.trainer_address := coalesce(v_record.trainer_address, v_settings.trainer_address);
    end if;

    select p.passed_at, 'assessment', p.percentage
    into v_record.tested_at, v_record.tested_by, v_record.test_percentage
    from lms.assessment_progress p
    join lms.version_assessments a
      on a.version_id = p_enrollment.version_id and a.assessment_id = p.assessment_id and a.kind <> 'survey'
    where p.enrollment_id = p_enrollment.id and p.passed_at is not null
    order by p.passed_at desc
    limit 1;
    select b.* into v_signed
    from lms.session_bookings b
    where b.enrollment_id = p_enrollment.id and b.signed_off_at is not null
    order by b.signed_off_at desc
    limit 1;
    if v_record.tested_at is null and v_signed.id is not null then
      v_record.tested_at := v_signed.signed_off_at;
      v_record.tested_by := 'sign_off';
    end if;
  end if;

  -- The employer certifies: by what was signed in so many words, else by who saw it, else by who graded it.
  select a.id, a.signed_at, a.signed_by, s.body into v_attestation
  from lms.attestations a
  join lms.attestation_statements s on s.id = a.statement_id
  where a.enrollment_id = p_enrollment.id and a.user_id <> a.signed_by and s.signer = 'staff' and s.meaning in ('trained', 'approved')
  order by a.signed_at desc
  limit 1;
  if v_attestation.id is not null then
    v_record.certified_at := v_attestation.signed_at;
    v_record.certified_by := v_attestation.signed_by;
    v_record.certification := 'attestation';
    v_record.certification_text := v_attestation.body;
    v_record.attestation_id := v_attestation.id;
  elsif v_evidence.id is null and v_signed.id is not null then
    v_record.certified_at := v_signed.signed_off_at;
    v_record.certified_by := v_signed.signed_off_by;
    v_record.certification := 'sign_off';
    v_record.certification_text := v_signed.sign_off_note;
  elsif v_evidence.id is null then
    select s.graded_at, s.graded_by into v_grader
    from lms.answer_scores s
    join lms.attempt_scores t on t.attempt_id = s.attempt_id and t.enrollment_id = p_enrollment.id and t.passed
    -- Who corrected a key has graded nobody.
    where s.source = 'grader' and s.graded_by is not null and s.graded_by <> p_enrollment.user_id
    order by s.graded_at desc
    limit 1;
    if v_grader.graded_by is not null then
      v_record.certified_at := v_grader.graded_at;
      v_record.certified_by := v_grader.graded_by;
      v_record.certification := 'grader';
    end if;
  end if;
  if v_record.certified_at is not null then
    select p.display_name into v_record.certifier_name from public.profiles p where p.id = v_record.certified_by;
    if v_record.certifier_name is null then
      -- An import signs for nobody.
      v_record.certified_at := null;
      v_record.certified_by := null;
      v_record.certification := null;
      v_record.certification_text := null;
      v_record.attestation_id := null;
    end if;
  end if;
  return v_record;
end
$$;

create function private.current_record(p_enrollment_id uuid)
returns lms.training_records
language plpgsql
stable
set search_path = ''
as $$
declare
  v_record lms.training_records;
begin
  select * into v_record
  from lms.training_records r
  where r.enrollment_id = p_enrollment_id
  order by r.edition desc
  limit 1;
  return v_record;
end
$$;

create function private.insert_training_record(p_record lms.training_records)
returns lms.training_records
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_record lms.training_records;
begin
  insert into lms.training_records (
    tenant_id, course_id, user_id, enrollment_id, unit_id, cycle, edition, employer_name, employee_name, course_title, version_number,
    content_hash, completed_at, completed_on, materials, trainer_name, trainer_address, tested_at, tested_by, test_percentage,
    certified_at, certified_by, certifier_name, certification, certification_text, attestation_id, corrected_by, correction_reason
  )
  values (
    p_record.tenant_id, p_record.course_id, p_record.user_id, p_record.enrollment_id, p_record.unit_id, p_record.cycle,
    p_record.edition, p_record.employer_name, p_record.employee_name, p_record.course_title, p_record.version_number,
    p_record.content_hash, p_record.completed_at, p_record.completed_on, p_record.materials, p_record.trainer_name,
    p_record.trainer_address, p_record.tested_at, p_record.tested_by, p_record.test_percentage, p_record.certified_at,
    p_record.certified_by, p_record.certifier_name, p_record.certification, p_record.certification_text, p_record.attestation_id,
    p_record.corrected_by, p_record.correction_reason
  )
  returning * into v_record;
  return v_record;
end
$$;

create function private.is_signed_off(p_enrollment_id uuid, p_signed_off_at timestamptz)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return exists (
    select
    from lms.session_bookings b
    where b.enrollment_id = p_enrollment_id and b.signed_off_at = p_signed_off_at
  );
end
$$;

-- Writes the record of a completed cycle, or an edition that fills in what was missing; what a record says already stays, but for a
-- sign-off that was withdrawn: the employer would go on certifying what nobody testifies to. The caller holds the enrolment. True
-- when it wrote something.
create function private.write_training_record(p_enrollment lms.enrollments)
returns boolean
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_current constant lms.training_records := private.current_record(p_enrollment.id);
  v_now constant lms.training_records := private.compose_training_record(p_enrollment);
  v_new lms.training_records;
  v_withdrawn boolean := false;
begin
  if v_now.enrollment_id is null or p_enrollment.status <> 'completed' then
    return false;
  elsif v_current.id is null then
    v_new := v_now;
    v_new.edition := 1;
    perform private.insert_training_record(v_new);
    return true;
  end if;
  v_new := v_current;
  v_new.materials := coalesce(v_current.materials, v_now.materials);
  if v_current.trainer_name is null or (v_current.trainer_address is null and v_current.trainer_name = v_now.trainer_name) then
    v_new.trainer_name := v_now.trainer_name;
    v_new.trainer_address := v_now.trainer_address;
  end if;
  if v_current.tested_by = 'sign_off' and not private.is_signed_off(p_enrollment.id, v_current.tested_at) then
    v_new.tested_at := null;
    v_withdrawn := true;
  end if;
  if v_current.certification = 'sign_off' and not private.is_signed_off(p_enrollment.id, v_current.certified_at) then
    v_new.certified_at := null;
    v_withdrawn := true;
  end if;
  if v_new.tested_at is null then
    v_new.tested_at := v_now.tested_at;
    v_new.tested_by := v_now.tested_by;
    v_new.test_percentage := v_now.test_percentage;
  end if;
  if v_new.certified_at is null then
    v_new.certified_at := v_now.certified_at;
    v_new.certified_by := v_now.certified_by;
    v_new.certifier_name := v_now.certifier_name;
    v_new.certification := v_now.certification;
    v_new.certification_text := v_now.certification_text;
    v_new.attestation_id := v_now.attestation_id;
  end if;
  if v_new is not distinct from v_current then
    return false;
  end if;
  v_new.edition := v_current.edition + 1;
  v_new.corrected_by := null;
  v_new.correction_reason := case
    when v_withdrawn then 'The sign-off was withdrawn.'
    else 'What was missing has become known.'
  end;
  perform private.insert_training_record(v_new);
  return true;
end
$$;

create function private.keeps_training_record(p_course_id uuid)
returns boolean
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  return exists (
    select from lms.training_record_settings s where s.course_id = p_course_id and s.keeps_training_record
  );
end
$$;

-- INV-P3: whatever goes wrong here, the completion, the signature and the review stand: the job below finds what is missing.
create function private.record_completion()
returns trigger
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_enrollment lms.enrollments;
begin
  if not private.keeps_training_record(new.course_id) then
    return null;
  end if;
  begin
    case tg_table_name
      when 'enrollments' then v_enrollment := new;
      when 'outside_training' then select * into v_enrollment from lms.enrollments e where e.id = new.enrollment_id;
      else
        select * into v_enrollment from lms.enrollments e where e.id = new.enrollment_id for no key update;
    end case;
    perform private.write_training_record(v_enrollment);
  exception
    when others then
      raise warning 'The training record of enrolment % was not written: %: %', v_enrollment.id, sqlstate, sqlerrm;
  end;
  return null;
end
$$;

create trigger _560_training_record after update on lms.enrollments
  for each row when (new.status = 'completed' and old.status <> 'completed')
  execute function private.record_completion();
create trigger _560_training_record_imported after insert on lms.enrollments
  for each row when (new.status = 'completed')
  execute function private.record_completion();
create trigger _560_training_record after update on lms.outside_training
  for each row when (new.status = 'accepted' and old.status <> 'accepted')
  execute function private.record_completion();
create trigger _560_training_record after insert on lms.attestations
  for each row execute function private.record_completion();
create trigger _560_training_record after update on lms.session_bookings
  for each row when (new.signed_off_at is distinct from old.signed_off_at)
  execute function private.record_completion();

-- When the job last looked at a cycle, so that what nobody will ever say is not looked for in every run.
create table private.record_checks (
  enrollment_id uuid primary key constraint record_check_is_of_a_cycle references lms.enrollments (id) on delete cascade,
  checked_at timestamptz not null
);
alter table private.record_checks enable row level security;
comment on table private.record_checks is 'When ops.write_training_records last looked at a completed cycle.';

-- INV-O4: found by looking: completions without a record, whatever the reason and however long ago, and records that lack what is
-- known by now. Not what was forgotten when its time was over.
create function ops.write_training_records(p_batch integer default 1000)
returns integer
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_enrollment lms.enrollments;
  v_written integer := 0;
begin
  for v_enrollment in
    select e.*
    from lms.training_record_settings k
    join lms.enrollments e on e.course_id = k.course_id and e.status = 'completed'
    left join lateral (
      select r.missing, r.recorded_at, r.tested_by, r.certification
      from lms.training_records r
      where r.enrollment_id = e.id
      order by r.edition desc
      limit 1
    ) r on true
    left join private.record_checks c on c.enrollment_id = e.id
    cross join lateral (select greatest(r.recorded_at, c.checked_at) as looked_at) l
    where k.keeps_training_record and (
      -- Only where something has been said since.
      (
        (r.missing <> '{}' or r.tested_by = 'sign_off' or r.certification = 'sign_off') and (
          (k.updated_at > l.looked_at and r.missing <> '{}')
          or exists (select from lms.attestations a where a.enrollment_id = e.id and a.signed_at > l.looked_at)
          or exists (select from lms.session_bookings b where b.enrollment_id = e.id and b.updated_at > l.looked_at)
          or exists (select from lms.assessment_progress p where p.enrollment_id = e.id and p.updated_at > l.looked_at)
        )
      )
      or (
        r.missing is null
        and coalesce(private.record_kept_until(e.tenant_id, e.user_id, e.completed_at::date) >= current_date, true)
      )
    )
    -- Those that were looked at go to the end, also where they cannot be written, and keep no others from their turn.
    order by c.checked_at nulls first, e.course_id, e.user_id, e.cycle
    limit p_batch
  loop
    perform from lms.enrollments e where e.id = v_enrollment.id for no key update skip locked;
    continue when not found;
    insert into private.record_checks as c (enrollment_id, checked_at) values (v_enrollment.id, now())
    on conflict (enrollment_id) do update set checked_at = excluded.checked_at;
    begin
      v_written := v_written + private.write_training_record(v_enrollment)::integer;
    exception
      -- One that cannot be written keeps none of the others from it.
      when others then
        raise warning 'The training record of enrolment % was not written: %: %', v_enrollment.id, sqlstate, sqlerrm;
    end;
  end loop;
  return v_written;
end
$$;

comment on function ops.write_training_records is
  'Writes training records of completed cycles that have none, and editions that fill in what has become known; looks at p_batch '
  'cycles at most per run, and returns how many it wrote.';

-- Nothing before its time: the trigger refuses that, whoever asks. All editions of a cycle go together.
create function ops.forget_training_records(p_batch integer default 1000)
returns integer
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_forgotten integer;
begin
  delete from lms.training_records r
  where r.id in (
    select o.id
    from lms.memberships m
    join lms.training_records o on o.user_id = m.user_id and o.tenant_id = m.tenant_id
    where m.status = 'ended' and m.ended_at < now() - interval '90 days'
      and private.record_kept_until(o.tenant_id, o.user_id, o.completed_on) < current_date - 1
    order by o.completed_on, o.id
    limit p_batch
  );
  get diagnostics v_forgotten = row_count;
  return v_forgotten;
end
$$;

comment on function ops.forget_training_records is
  'Removes records of people who left, 90 days after they did and three years after the training, at most p_batch per run; returns '
  'how many.';
grant execute on function ops.write_training_records, ops.forget_training_records to service_role;

-- =====================================================================================================
-- Correcting them
-- =====================================================================================================

create function private.correct_record(
  p_record_id uuid, p_reason text, p_employee_name text, p_materials text, p_trainer_name text, p_trainer_address text
)
returns lms.training_records
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_enrollment lms.enrollments;
  v_record lms.training_records;
begin
  select e.* into v_enrollment
  from lms.enrollments e
  where e.id = (select r.enrollment_id from lms.training_records r where r.id = p_record_id)
  for no key update;
  if private.is_api_call() then
    if not coalesce(
      v_enrollment.tenant_id = any (array(select private.tenants_where('certificates.write')))
        or v_enrollment.unit_id = any (array(select private.units_where('certificates.write'))),
      false
    ) then
      raise insufficient_privilege using message = 'Training records take certificates.write in the unit where they were earned.';
    elsif v_enrollment.user_id = (select auth.uid()) then
      perform private.fail('own_record', 'Nobody corrects their own training record.', 403);
    end if;
  end if;
  v_record := private.current_record(v_enrollment.id);
  if v_record.id <> p_record_id then
    -- What they looked at is not what they would change.
    perform private.fail(
      'record_replaced', 'A later edition took the place of this one.', 409, jsonb_build_object('record_id', v_record.id)
    );
  end if;
  v_record.employee_name := coalesce(p_employee_name, v_record.employee_name);
  v_record.materials := coalesce(p_materials, v_record.materials);
  v_record.trainer_name := coalesce(p_trainer_name, v_record.trainer_name);
  v_record.trainer_address := coalesce(p_trainer_address, v_record.trainer_address);
  v_record.edition := v_record.edition + 1;
  v_record.corrected_by := (select auth.uid());
  v_record.correction_reason := p_reason;
  return private.insert_training_record(v_record);
end
$$;

create function lms.correct_training_record(
  p_record_id uuid,
  p_reason text,
  p_employee_name text default null,
  p_materials text default null,
  p_trainer_name text default null,
  p_trainer_address text default null
)
returns lms.training_records
language plpgsql
volatile
set search_path = ''
as $$
begin
  -- Read as the caller: somebody else's record does not exist for them.
  if not exists (select from lms.training_records r where r.id = p_record_id) then
    perform private.fail('record_not_found', 'There is no such training record.', 404);
  end if;
  perform private.check_certificate_reason(p_reason);
  if num_nonnulls(p_employee_name, p_materials, p_trainer_name, p_trainer_address) = 0 then
    perform private.fail('nothing_to_correct', 'This takes what is to be corrected.', 422);
  end if;
  return private.correct_record(p_record_id, p_reason, p_employee_name, p_materials, p_trainer_name, p_trainer_address);
end
$$;

comment on function lms.correct_training_record is
  'Writes the next edition of a record, with what is given changed (null: as it was) and the reason; the earlier one stays. Dates, tests '
  'and certification follow from what happened and are not written by hand: sign_attestation certifies. Takes certificates.write where it '
  'was earned: 403 42501; nobody for themselves: 403 own_record. 404 record_not_found; 409 record_replaced; 422 invalid_reason, '
  'nothing_to_correct; 23514 names what is wrong with a value.';

grant execute on function private.correct_record to authenticated, service_role;
grant execute on function lms.correct_training_record to authenticated, service_role;

-- =====================================================================================================
-- Reading them
-- =====================================================================================================

create view private.employment_ends as
  select m.user_id, m.tenant_id, m.ended_at, t.time_zone
  from lms.memberships m
  join lms.tenants t on t.id = m.tenant_id
  where m.status = 'ended';

comment on view private.employment_ends is
  'When somebody left, for get_training_records. Not an invoker''s view, on purpose: who may read a record is told how long it is kept, '
  'whether they see the membership or not. Clients cannot address it.';
grant select on private.employment_ends to authenticated, service_role;

create type lms.training_record as (
  id uuid,
  tenant_id uuid,
  user_id uuid,
  course_id uuid,
  enrollment_id uuid,
  unit_id uuid,
  edition integer,
  employer_name text,
  employee_name text,
  course_title text,
  version_number integer,
  content_hash text,
  completed_on date,
  completed_at timestamptz,
  is_most_recent boolean,
  materials text,
  trainer_name text,
  trainer_address text,
  tested_at timestamptz,
  tested_by text,
  test_percentage numeric,
  certified_at timestamptz,
  certified_by uuid,
  certifier_name text,
  certification text,
  certification_text text,
  missing text[],
  recorded_at timestamptz,
  corrected_by uuid,
  correction_reason text,
  kept_at_least_until date,
  kept_until date,
  cursor text
);
comment on type lms.training_record is
  'A record as 49 CFR 172.704(d) has it kept. is_most_recent: of the person''s records of the course that the caller sees, the latest. '
  'missing: fields that the law asks for and that are not known. kept_at_least_until: three years after completion; kept_until: 90 days '
  'after the person left, if that is later; null while they are employed.';

create function private.parse_record_cursor(p_after text)
returns lms.training_records
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_place lms.training_records;
begin
  if p_after is not null then
    v_place.completed_at := 'epoch'::timestamptz + split_part(p_after, '|', 1)::bigint * interval '1 microsecond';
    v_place.id := split_part(p_after, '|', 2)::uuid;
  end if;
  return v_place;
exception
  when others then
    perform private.fail('invalid_cursor', 'This takes the cursor of the last row.', 422, jsonb_build_object('field', 'p_after'));
    return null;
end
$$;

create function lms.get_training_records(
  p_tenant_id uuid,
  p_user_id uuid default null,
  p_unit_id uuid default null,
  p_course_id uuid default null,
  p_from date default null,
  p_until date default null,
  p_limit integer default 100,
  p_after text default null
)
returns setof lms.training_record
language plpgsql
stable
rows 100
set search_path = ''
as $$
declare
  v_place lms.training_records;
begin
  if p_limit is null or p_limit not between 1 and 1000 then
    perform private.fail('invalid_limit', 'The limit is a number from 1 to 1000.', 422, jsonb_build_object('field', 'p_limit'));
  end if;
  v_place := private.parse_record_cursor(p_after);
  return query
  select
    r.id, r.tenant_id, r.user_id, r.course_id, r.enrollment_id, r.unit_id, r.edition, r.employer_name, r.employee_name,
    r.course_title, r.version_number, r.content_hash, r.completed_on, r.completed_at,
    not exists (
      select
      from lms.training_records l
      where l.user_id = r.user_id and l.course_id = r.course_id and l.completed_at > r.completed_at
    ),
    r.materials, r.trainer_name, r.trainer_address, r.tested_at, r.tested_by, r.test_percentage, r.certified_at, r.certified_by,
    r.certifier_name, r.certification, r.certification_text, r.missing, r.recorded_at, r.corrected_by, r.correction_reason,
    (r.completed_on + interval '3 years')::date,
    greatest((m.ended_at at time zone m.time_zone)::date + 90, case when m.user_id is not null then (r.completed_on + interval '3 years')::date end),
    (extract(epoch from r.completed_at) * 1000000)::bigint || '|' || r.id
  from lms.training_records r
  left join private.employment_ends m on m.user_id = r.user_id and m.tenant_id = r.tenant_id
  where r.tenant_id = p_tenant_id
    and not exists (select from lms.training_records n where n.enrollment_id = r.enrollment_id and n.edition > r.edition)
    and (p_user_id is null or r.user_id = p_user_id)
    and (p_course_id is null or r.course_id = p_course_id)
    and (p_unit_id is null or r.unit_id = any (array(select private.units_below(p_unit_id))))
    and (p_from is null or r.completed_on >= p_from)
    and (p_until is null or r.completed_on <= p_until)
    and (v_place.id is null or (r.completed_at, r.id) < (v_place.completed_at, v_place.id))
  order by r.completed_at desc, r.id desc
  limit p_limit;
end
$$;

comment on function lms.get_training_records is
  'Training records as 49 CFR 172.704(d) has them kept, in their current editions, latest completion first, as far as the caller sees '
  'them. p_unit_id: earned in the unit or below it; p_from, p_until: days of completion, both included. p_limit rows; next page: p_after '
  '= the last row''s cursor. 422 invalid_limit, invalid_cursor.';

grant execute on function private.parse_record_cursor to authenticated, service_role;
grant execute on function lms.get_training_records to authenticated, service_role;

-- =====================================================================================================
-- Policies and grants
-- =====================================================================================================

alter table lms.training_record_settings enable row level security;
alter table lms.training_records enable row level security;

grant all on lms.training_record_settings to service_role;
grant select on lms.training_records to service_role;
grant select on lms.training_record_settings, lms.training_records to authenticated;
grant insert (course_id, keeps_training_record, materials, trainer_name, trainer_address)
  on lms.training_record_settings to authenticated;
grant update (keeps_training_record, materials, trainer_name, trainer_address)
  on lms.training_record_settings to authenticated;

create policy "What records print is seen by those who write or read records" on lms.training_record_settings
  for select to authenticated
  using (
    course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
    or tenant_id = any (array(select private.tenants_partly_where('enrollments.read')))
  );

create policy "What records print is said by staff of the course" on lms.training_record_settings
  for insert to authenticated
  with check (
    exists (select from lms.courses c where c.id = course_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  );

create policy "What records print is changed by staff of the course" on lms.training_record_settings
  for update to authenticated
  using (
    course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
  )
  with check (
    course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
  );

-- INV-T4: as certificates, what somebody has earned stays theirs.
create policy "Training records are seen by whom they are about, and in scope" on lms.training_records
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
