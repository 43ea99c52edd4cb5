-- Training taken elsewhere: what somebody brings as evidence, who looked at it, and the completed cycle that follows from it.
-- Undo: drop functions lms.submit_outside_training, review_outside_training, withdraw_outside_training; drop table
-- lms.outside_training; drop the policies of evidence and the trigger _300_guard_evidence on storage.objects; empty the bucket
-- evidence and delete it through the Storage API; then the functions below.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Table
-- =====================================================================================================

create table lms.outside_training (
  id uuid primary key default private.uuid_v7(),
  tenant_id uuid not null,
  course_id uuid not null,
  user_id uuid not null constraint outside_training_is_of_a_person references public.profiles (id),
  provider_name text not null constraint provider_name_is_1_to_300_characters
    check (provider_name ~ '\S' and length(provider_name) <= 300),
  provider_address text constraint provider_address_is_1_to_1000_characters
    check (provider_address ~ '\S' and length(provider_address) <= 1000),
  taken_on date not null constraint taken_on_is_a_day_of_calendars check (taken_on >= '1950-01-01' and isfinite(taken_on)),
  was_tested boolean not null default false,
  materials text constraint outside_materials_are_1_to_5000_characters check (materials ~ '\S' and length(materials) <= 5000),
  document_path text constraint document_path_is_1_to_1000_characters
    check (document_path ~ '\S' and length(document_path) <= 1000),
  note text constraint outside_note_is_1_to_5000_characters check (note ~ '\S' and length(note) <= 5000),
  status text not null default 'submitted'
    constraint outside_training_status_is_known check (status in ('submitted', 'accepted', 'rejected', 'withdrawn')),
  submitted_by uuid,
  submitted_at timestamptz not null default now(),
  reviewed_by uuid,
  reviewed_at timestamptz,
  review_reason text constraint review_reason_is_1_to_1000_characters
    check (review_reason ~ '\S' and length(review_reason) <= 1000),
  withdrawn_at timestamptz,
  enrollment_id uuid,
  constraint outside_training_is_of_a_member foreign key (tenant_id, user_id) references lms.memberships (tenant_id, user_id),
  constraint outside_training_course_is_of_the_same_tenant foreign key (tenant_id, course_id) references lms.courses (tenant_id, id),
  constraint outside_training_made_a_cycle_of_the_learner foreign key (enrollment_id, tenant_id, course_id, user_id)
    references lms.enrollments (id, tenant_id, course_id, user_id),
  constraint one_piece_of_evidence_per_cycle unique (enrollment_id),
  constraint outside_training_has_the_dates_of_its_status check (
    (status in ('accepted', 'rejected')) = (reviewed_at is not null)
    and (status = 'accepted') = (enrollment_id is not null)
    and (status = 'withdrawn') = (withdrawn_at is not null)
    and (status <> 'rejected' or review_reason is not null)
  ),
  constraint nobody_reviews_what_is_their_own check (reviewed_by <> user_id and reviewed_by is distinct from submitted_by
    or reviewed_by is null)
);
-- The same training does not count twice, however often it is handed in.
create unique index training_was_submitted on lms.outside_training (user_id, course_id, taken_on)
  where status in ('submitted', 'accepted');
create index outside_training_by_user on lms.outside_training (user_id, submitted_at desc);
create index outside_training_by_member on lms.outside_training (tenant_id, user_id);
create index outside_training_by_course on lms.outside_training (course_id, submitted_at desc);
create index outside_training_by_course_of_tenant on lms.outside_training (tenant_id, course_id);
create index outside_training_by_tenant on lms.outside_training (tenant_id, submitted_at desc, id desc);
create index outside_training_to_review on lms.outside_training (tenant_id, submitted_at, id) where status = 'submitted';
create index outside_training_by_document on lms.outside_training (document_path);

comment on table lms.outside_training is
  'Evidence of training taken elsewhere that stands for a course. Written by submit_outside_training, review_outside_training and '
  'withdraw_outside_training; accepted, it is a completed cycle (enrollment_id, source evidence) dated as it was taken.';
comment on column lms.outside_training.provider_address is 'Training records print it: 49 CFR 172.704(d)(4).';
comment on column lms.outside_training.taken_on is 'When it was completed; a day in the tenant''s time zone.';
comment on column lms.outside_training.was_tested is 'The evidence shows that they were tested, too.';
comment on column lms.outside_training.materials is 'What was used, or where it is kept. Training records print it.';
comment on column lms.outside_training.document_path is
  'A file in the bucket evidence, at {tenant_id}/{user_id}/{name}; it stays as it is once it is named here.';
comment on column lms.outside_training.review_reason is 'Always there when it was rejected.';

-- =====================================================================================================
-- Calls
-- =====================================================================================================
-- Definer, because nobody may write the table; so they check their caller.

create function private.write_evidence(p_evidence lms.outside_training)
returns lms.outside_training
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_self constant boolean := p_evidence.user_id is not distinct from (select auth.uid());
  v_evidence lms.outside_training;
begin
  if private.is_api_call() and not coalesce(
    case
      when v_self then p_evidence.tenant_id = any (array(select private.joined_tenants()))
      else private.may_enroll_others(p_evidence.tenant_id, p_evidence.course_id, p_evidence.user_id)
    end,
    false
  ) then
    perform private.fail('person_not_found', 'There is no such person.', 404);
  elsif not exists (
    select
    from lms.memberships m
    where m.tenant_id = p_evidence.tenant_id and m.user_id = p_evidence.user_id and m.status <> 'ended'
  ) then
    perform private.fail('person_not_found', 'There is no such person.', 404);
  elsif p_evidence.taken_on > (
    select (now() at time zone t.time_zone)::date from lms.tenants t where t.id = p_evidence.tenant_id
  ) then
    perform private.fail(
      'taken_in_the_future', 'Training that was taken was taken by today.', 422, jsonb_build_object('field', 'p_taken_on')
    );
  elsif p_evidence.document_path is not null and not exists (
    select
    from storage.objects o
    where o.bucket_id = 'evidence' and o.name = p_evidence.document_path
      -- Somebody else's file would be shown to all who see this.
      and starts_with(o.name, format('%s/%s/', p_evidence.tenant_id, p_evidence.user_id))
    -- Held, so that it is not taken back in between: private.guard_evidence looks only once this is decided.
    for key share
  ) then
    perform private.fail(
      'document_not_found', 'The document was not uploaded.', 422, jsonb_build_object('field', 'p_document_path'),
      'Upload it to the bucket evidence first, at {tenant_id}/{user_id}/{name}.'
    );
  end if;
  insert into lms.outside_training (
    tenant_id, course_id, user_id, provider_name, provider_address, taken_on, was_tested, materials, document_path, note, submitted_by
  )
  values (
    p_evidence.tenant_id, p_evidence.course_id, p_evidence.user_id, p_evidence.provider_name, p_evidence.provider_address,
    p_evidence.taken_on, p_evidence.was_tested, p_evidence.materials, p_evidence.document_path, p_evidence.note, (select auth.uid())
  )
  on conflict (user_id, course_id, taken_on) where status in ('submitted', 'accepted') do nothing
  returning * into v_evidence;
  if v_evidence.id is null then
    perform private.fail(
      'training_was_submitted', 'This training was handed in already.', 409, jsonb_build_object('taken_on', p_evidence.taken_on),
      'Withdraw what waits for review, to hand in something better: withdraw_outside_training.'
    );
  end if;
  return v_evidence;
end
$$;

create function lms.submit_outside_training(
  p_course_id uuid,
  p_provider_name text,
  p_taken_on date,
  p_user_id uuid default null,
  p_provider_address text default null,
  p_was_tested boolean default false,
  p_materials text default null,
  p_document_path text default null,
  p_note text default null
)
returns lms.outside_training
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_evidence lms.outside_training;
begin
  -- Read as the caller: a course that they cannot see does not exist for them.
  select c.tenant_id into v_evidence.tenant_id from lms.courses c where c.id = p_course_id;
  if not found then
    perform private.fail('course_not_found', 'There is no such course.', 404);
  elsif p_taken_on is null or not isfinite(p_taken_on) then
    perform private.fail('invalid_date', 'This takes the day when it was completed.', 422, jsonb_build_object('field', 'p_taken_on'));
  elsif p_document_path is not null and not exists (
    select from storage.objects o where o.bucket_id = 'evidence' and o.name = p_document_path
  ) then
    -- As the caller, too: staff of one course would be shown, by naming it, what was filed for another or for nobody yet.
    perform private.fail(
      'document_not_found', 'The document was not uploaded.', 422, jsonb_build_object('field', 'p_document_path'),
      'Upload it to the bucket evidence first, at {tenant_id}/{user_id}/{name}.'
    );
  end if;
  v_evidence.course_id := p_course_id;
  v_evidence.user_id := coalesce(p_user_id, (select auth.uid()));
  v_evidence.provider_name := p_provider_name;
  v_evidence.provider_address := p_provider_address;
  v_evidence.taken_on := p_taken_on;
  v_evidence.was_tested := coalesce(p_was_tested, false);
  v_evidence.materials := p_materials;
  v_evidence.document_path := p_document_path;
  v_evidence.note := p_note;
  return private.write_evidence(v_evidence);
end
$$;

comment on function lms.submit_outside_training is
  'Hands in training taken elsewhere for a course: the caller''s own, or with enrollments.write in scope, or as staff of the course, '
  'somebody else''s. 404 course_not_found, person_not_found; 409 training_was_submitted; 422 taken_in_the_future, document_not_found, '
  'invalid_date; 23514 names what is wrong with a value.';

create function private.require_evidence(p_evidence_id uuid)
returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  if not exists (select from lms.outside_training o where o.id = p_evidence_id) then
    perform private.fail('evidence_not_found', 'There is no such evidence.', 404);
  end if;
end
$$;

create function private.withdraw_evidence(p_evidence_id uuid)
returns lms.outside_training
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_evidence lms.outside_training;
begin
  select * into v_evidence from lms.outside_training o where o.id = p_evidence_id for no key update;
  if private.is_api_call() and not coalesce(
    (select auth.uid()) in (v_evidence.user_id, v_evidence.submitted_by)
      and v_evidence.tenant_id = any (array(select private.joined_tenants())),
    false
  ) then
    raise insufficient_privilege using message = 'Evidence is withdrawn by whom it is about, or who handed it in.';
  elsif v_evidence.status = 'withdrawn' then
    return v_evidence;
  elsif v_evidence.status <> 'submitted' then
    perform private.fail('already_reviewed', 'It was reviewed.', 409, jsonb_build_object('status', v_evidence.status));
  end if;
  update lms.outside_training o
  set status = 'withdrawn', withdrawn_at = now()
  where o.id = p_evidence_id
  returning * into v_evidence;
  return v_evidence;
end
$$;

create function lms.withdraw_outside_training(p_evidence_id uuid)
returns lms.outside_training
language plpgsql
volatile
set search_path = ''
as $$
begin
  perform private.require_evidence(p_evidence_id);
  return private.withdraw_evidence(p_evidence_id);
end
$$;

comment on function lms.withdraw_outside_training is
  'Takes back evidence that nobody has reviewed; again changes nothing. By whom it is about, or who handed it in: 403. 404 '
  'evidence_not_found; 409 already_reviewed.';

-- The completed cycle that accepted evidence is. Course, membership and open cycle are held, in this order.
create function private.add_evidence_cycle(p_evidence lms.outside_training, p_end_open_cycle boolean)
returns uuid
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_course lms.courses;
  v_version lms.course_versions;
  v_open lms.enrollments;
  v_unit_id uuid;
  v_time_zone text;
  v_taken_at timestamptz;
  v_last_completed_at timestamptz;
  v_cycle integer;
  v_enrollment_id uuid;
begin
  select * into v_course from lms.courses c where c.id = p_evidence.course_id;
  v_version := private.latest_version(p_evidence.course_id);
  select m.unit_id into v_unit_id
  from lms.memberships m
  where m.tenant_id = p_evidence.tenant_id and m.user_id = p_evidence.user_id and m.status <> 'ended'
  for no key update;
  if not found then
    perform private.fail('not_a_member', 'The person has left.', 409);
  elsif v_course.deleted_at is not null or v_version.id is null then
    perform private.fail('not_published', 'The course was never published.', 409, jsonb_build_object('status', v_course.status));
  end if;

  -- Noon, so that it is this day for everybody who looks at it; not ahead of now.
  select t.time_zone into v_time_zone from lms.tenants t where t.id = p_evidence.tenant_id;
  v_taken_at := least((p_evidence.taken_on + time '12:00') at time zone v_time_zone, now());

  update lms.enrollments e
  set status = 'expired', expired_at = e.expires_at
  where e.user_id = p_evidence.user_id and e.course_id = p_evidence.course_id
    and e.status in ('enrolled', 'in_progress', 'paused') and e.expires_at <= now();
  perform from lms.enrollments e
  where e.user_id = p_evidence.user_id and e.course_id = p_evidence.course_id and e.status in ('enrolled', 'in_progress', 'paused')
  for no key update;
  select * into v_open
  from lms.enrollments e
  where e.user_id = p_evidence.user_id and e.course_id = p_evidence.course_id and e.status in ('enrolled', 'in_progress', 'paused');
  select max(e.completed_at), coalesce(max(e.cycle), 0) + 1 into v_last_completed_at, v_cycle
  from lms.enrollments e
  where e.user_id = p_evidence.user_id and e.course_id = p_evidence.course_id;

  -- Cycles follow each other in time: certificates and renewals rely on it, and older training changes nothing of today.
  if v_last_completed_at >= v_taken_at then
    perform private.fail(
      'completed_later', 'The course was completed since: older training changes nothing.', 409,
      jsonb_build_object('completed_at', v_last_completed_at)
    );
  elsif v_open.id is not null and not p_end_open_cycle and (v_open.started_at is not null or v_open.status = 'paused') then
    -- INV-E1: what somebody has begun is not thrown away in passing.
    perform private.fail(
      'cycle_under_way', 'The course is being taken.', 409, jsonb_build_object('enrollment_id', v_open.id),
      'With p_end_open_cycle that cycle is dropped.'
    );
  elsif v_open.id is not null then
    update lms.enrollments e
    set status = 'dropped', dropped_at = greatest(now(), e.enrolled_at)
    where e.id = v_open.id;
  end if;

  -- INV-E5: dated as taken, by nobody's clock but the evidence's.
  perform set_config('lyceum.admitted', 'true', true);
  insert into lms.enrollments (
    tenant_id, course_id, version_id, user_id, unit_id, cycle, status, source, enrolled_by, enrolled_at, started_at, completed_at,
    items_total, items_done, last_accessed_at
  )
  values (
    p_evidence.tenant_id, p_evidence.course_id, v_version.id, p_evidence.user_id, v_unit_id, v_cycle, 'completed', 'evidence',
    (select auth.uid()), v_taken_at, v_taken_at, v_taken_at, v_version.items_total, v_version.items_total, v_taken_at
  )
  returning id into v_enrollment_id;
  perform set_config('lyceum.admitted', '', true);
  -- What rules ask for next follows from it within a minute.
  perform private.mark_people(p_evidence.tenant_id, array[p_evidence.user_id]);
  return v_enrollment_id;
end
$$;

create function private.review_evidence(p_evidence_id uuid, p_accept boolean, p_reason text, p_end_open_cycle boolean)
returns lms.outside_training
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_evidence lms.outside_training;
begin
  select * into v_evidence from lms.outside_training o where o.id = p_evidence_id;
  if private.is_api_call() then
    if (select auth.uid()) in (v_evidence.user_id, v_evidence.submitted_by) then
      perform private.fail('own_evidence', 'Nobody reviews their own evidence, or what they handed in.', 403);
    elsif not coalesce(private.may_enroll_others(v_evidence.tenant_id, v_evidence.course_id, v_evidence.user_id), false) then
      raise insufficient_privilege using message = 'Reviewing takes being staff of the course, or enrollments.write in the person''s scope.';
    end if;
  end if;
  -- Course, membership, enrolment, and only then the evidence: as all who open a cycle.
  if p_accept then
    perform private.hold_course(v_evidence.course_id);
    perform from lms.memberships m
    where m.tenant_id = v_evidence.tenant_id and m.user_id = v_evidence.user_id
    for no key update;
  end if;
  select * into v_evidence from lms.outside_training o where o.id = p_evidence_id for no key update;
  if v_evidence.status = (case when p_accept then 'accepted' else 'rejected' end) then
    return v_evidence;
  elsif v_evidence.status <> 'submitted' then
    perform private.fail('already_reviewed', 'It does not wait for review.', 409, jsonb_build_object('status', v_evidence.status));
  end if;
  if p_accept then
    v_evidence.enrollment_id := private.add_evidence_cycle(v_evidence, coalesce(p_end_open_cycle, false));
    update lms.outside_training o
    set status = 'accepted', reviewed_by = (select auth.uid()), reviewed_at = now(), review_reason = p_reason,
        enrollment_id = v_evidence.enrollment_id
    where o.id = p_evidence_id
    returning * into v_evidence;
  else
    update lms.outside_training o
    set status = 'rejected', reviewed_by = (select auth.uid()), reviewed_at = now(), review_reason = p_reason
    where o.id = p_evidence_id
    returning * into v_evidence;
  end if;
  return v_evidence;
end
$$;

create function lms.review_outside_training(
  p_evidence_id uuid, p_accept boolean, p_reason text default null, p_end_open_cycle boolean default false
)
returns lms.outside_training
language plpgsql
volatile
set search_path = ''
as $$
begin
  perform private.require_evidence(p_evidence_id);
  if p_accept is null then
    perform private.fail('invalid_decision', 'It is accepted or not.', 422, jsonb_build_object('field', 'p_accept'));
  elsif not p_accept or p_reason is not null then
    perform private.check_session_reason(p_reason);
  end if;
  return private.review_evidence(p_evidence_id, p_accept, p_reason, p_end_open_cycle);
end
$$;

comment on function lms.review_outside_training is
  'Accepts evidence, which adds a completed cycle dated as the training was taken, or rejects it with a reason; the same decision again '
  'changes nothing. An open cycle that nobody has begun is dropped; one that was begun only with p_end_open_cycle. By staff of the '
  'course, or with enrollments.write in the person''s scope, and neither by the person nor by who handed it in: 403 own_evidence. 404 '
  'evidence_not_found; 409 already_reviewed, cycle_under_way, completed_later, not_a_member, not_published; 422 invalid_reason, '
  'invalid_decision.';

grant execute on function private.write_evidence, private.require_evidence, private.withdraw_evidence, private.review_evidence
  to authenticated, service_role;
grant execute on function lms.submit_outside_training, lms.withdraw_outside_training, lms.review_outside_training
  to authenticated, service_role;

-- =====================================================================================================
-- Documents
-- =====================================================================================================

insert into storage.buckets (id, name, public, file_size_limit)
values ('evidence', 'evidence', false, 20 * 1024 * 1024)
on conflict (id) do nothing;

-- Folders of the people for whom the caller may hand something in, and nothing deeper.
create function private.my_evidence_folders()
returns setof text
language plpgsql
stable security definer
rows 5
set search_path = ''
as $$
begin
  return query
  select format('%s/%s', t.id, (select auth.uid()))
  from private.joined_tenants() as t (id);
end
$$;

comment on function private.my_evidence_folders is 'Folders of the bucket evidence: the caller''s own in each of their tenants.';

-- Those of others: for staff, asked of one folder at a time, because a manager may have thousands of people.
create function private.may_file_evidence(p_name text)
returns boolean
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_path constant text[] := string_to_array(p_name, '/');
begin
  return case
    when cardinality(v_path) = 3
      and v_path[1] ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' and v_path[2] ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
    then private.may_enroll_in_scope(v_path[1]::uuid, v_path[2]::uuid)
      and exists (
        select from lms.memberships m where m.tenant_id = v_path[1]::uuid and m.user_id = v_path[2]::uuid
      )
    else false
  end;
end
$$;

grant execute on function private.my_evidence_folders, private.may_file_evidence to authenticated, service_role;

create policy "Evidence is filed for oneself and in scope" on storage.objects
  for insert to authenticated
  with check (
    bucket_id = 'evidence'
    and (
      array_to_string(storage.foldername(name), '/') = any (array(select private.my_evidence_folders()))
      or private.may_file_evidence(name)
    )
  );

create policy "Evidence that nothing names is taken back" on storage.objects
  for delete to authenticated
  using (
    bucket_id = 'evidence'
    and (
      array_to_string(storage.foldername(name), '/') = any (array(select private.my_evidence_folders()))
      or private.may_file_evidence(name)
    )
  );

-- With the evidence that names it; before that, by whom it is about.
create policy "Evidence is seen with what names it" on storage.objects
  for select to authenticated
  using (
    bucket_id = 'evidence'
    and (
      array_to_string(storage.foldername(name), '/') = any (array(select private.my_evidence_folders()))
      or private.may_file_evidence(name)
      or exists (select from lms.outside_training o where o.document_path = objects.name)
    )
  );

-- Whoever writes, the Storage service too: a document stays what was looked at. 42501 is the only error that the Storage service
-- passes on as the caller's.
create function private.guard_evidence()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if tg_op = 'INSERT' then
    if new.bucket_id = 'evidence' and new.name !~ '^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/){2}[^/]+$' then
      raise exception using errcode = '42501', message = 'Evidence lies at {tenant_id}/{user_id}/{name}.';
    elsif new.bucket_id = 'evidence' and private.is_api_call()
      and exists (select from lms.outside_training o where o.document_path = new.name)
    then
      -- What was looked at may have been removed since, by the service.
      raise exception using errcode = '42501', message = 'The name belongs to evidence that was handed in: file another document.';
    end if;
    return new;
  elsif tg_op = 'UPDATE' then
    if 'evidence' in (old.bucket_id, new.bucket_id)
      and (old.bucket_id, old.name, old.version, old.metadata) is distinct from (new.bucket_id, new.name, new.version, new.metadata)
    then
      raise exception using errcode = '42501', message = 'Evidence is not changed or moved: file another document.';
    end if;
    return new;
  end if;
  if old.bucket_id = 'evidence' and private.is_api_call()
    and exists (select from lms.outside_training o where o.document_path = old.name)
  then
    raise exception using errcode = '42501', message = 'The document belongs to evidence that was handed in.';
  end if;
  return old;
end
$$;

create trigger _300_guard_evidence before insert or update or delete on storage.objects
  for each row execute function private.guard_evidence();

-- =====================================================================================================
-- Policies and grants
-- =====================================================================================================

alter table lms.outside_training enable row level security;

grant select on lms.outside_training to authenticated, service_role;

create policy "Outside training is seen by whom it is about, and in scope" on lms.outside_training
  for select to authenticated
  using (
    (user_id = (select auth.uid()) and tenant_id <> all (array(select private.closed_tenants())))
    or tenant_id = any (array(select private.tenants_where('enrollments.read')))
    or course_id = any (array(select private.staffed_courses()))
    or exists (
      select
      from private.membership_scopes m
      where m.user_id = outside_training.user_id and m.tenant_id = outside_training.tenant_id
        and m.unit_id = any (array(select private.units_where('enrollments.read')))
    )
  );

notify pgrst, 'reload schema';
