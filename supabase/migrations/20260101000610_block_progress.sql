-- Block progress: how far a learner is within a lesson, and what of it is evidence that the lesson is completed.
-- Undo: drop function lms.record_block_progress, type lms.block_receipt; drop table lms.block_progress; then the functions
-- below.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Table
-- =====================================================================================================

create table lms.block_progress (
  enrollment_id uuid not null default '00000000-0000-0000-0000-000000000000',
  block_id uuid not null,
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  course_id uuid not null default '00000000-0000-0000-0000-000000000000',
  lesson_id uuid not null default '00000000-0000-0000-0000-000000000000',
  user_id uuid not null,
  progress_percentage private.percentage not null default 0,
  watched int4multirange not null default '{}' constraint watched_parts_are_seconds check (watched <@ '{[0,604800)}'::int4multirange)
    constraint watched_parts_are_few check (pg_column_size(watched) <= 32768),
  last_position private.resume_position,
  first_accessed_at timestamptz not null default now(),
  last_accessed_at timestamptz not null default now(),
  completed_at timestamptz,
  updated_at timestamptz not null default now(),
  primary key (enrollment_id, block_id),
  constraint block_progress_is_of_the_enrolled_learner foreign key (enrollment_id, tenant_id, course_id, user_id)
    references lms.enrollments (id, tenant_id, course_id, user_id),
  constraint block_progress_is_of_a_lesson_of_the_course foreign key (tenant_id, course_id, lesson_id)
    references lms.lessons (tenant_id, course_id, id),
  constraint block_has_a_completion_date_exactly_when_completed check ((progress_percentage >= 100) = (completed_at is not null))
) with (fillfactor = 85);
create index block_progress_by_user on lms.block_progress (user_id, block_id);
create index block_progress_by_lesson on lms.block_progress (tenant_id, course_id, lesson_id);
create index block_progress_by_lesson_of_enrollment on lms.block_progress (enrollment_id, lesson_id);

comment on table lms.block_progress is
  'One row per enrolment and block: where to resume, and what was seen. Clients may upsert {user_id, block_id, '
  'progress_percentage, watched, last_position}: the enrolment is found.';
comment on column lms.block_progress.progress_percentage is
  '0 to 100; never goes down. Of video and audio with a known duration it is the share that was watched.';
comment on column lms.block_progress.watched is
  'Seconds of a video or audio that were played, as the player says: {[0,30),[60,90)}. Reports add up; nothing is taken away.';

-- =====================================================================================================
-- Evidence
-- =====================================================================================================

create function private.watched_seconds(p_watched int4multirange)
returns integer
language sql
immutable
set search_path = ''
as $$
  select coalesce(sum(upper(part) - lower(part)), 0)::integer from unnest(p_watched) as part
$$;

-- INV-P3: what the blocks say of a lesson that completes by them; 100 exactly when its rule is met.
create function private.lesson_evidence(p_enrollment_id uuid, p_lesson lms.version_lessons)
returns numeric
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_total numeric;
  v_done numeric;
  v_percentage numeric;
begin
  if p_lesson.completion_rule = 'assessment' then
    -- The mandatory ones; where there are none, all of them.
    select count(*), count(p.passed_at) into v_total, v_done
    from lms.version_assessments a
    left join lms.assessment_progress p on p.enrollment_id = p_enrollment_id and p.assessment_id = a.assessment_id
    where a.version_id = p_lesson.version_id and a.lesson_id = p_lesson.lesson_id
      and (a.is_mandatory or not exists (
        select from lms.version_assessments m
        where m.version_id = a.version_id and m.lesson_id = a.lesson_id and m.is_mandatory
      ));
    return case when v_total = 0 then 0 else trunc(100 * v_done / v_total, 2) end;
  elsif p_lesson.completion_rule in ('attendance', 'sign_off') then
    return private.led_evidence(p_enrollment_id, p_lesson.lesson_id, p_lesson.completion_rule);
  elsif p_lesson.completion_rule = 'watched' then
    select
      sum(private.media_seconds(r.type, r.content)),
      sum(private.watched_seconds(
        coalesce(p.watched, '{}') * int4multirange(int4range(0, private.media_seconds(r.type, r.content)))
      ))
    into v_total, v_done
    from lms.version_blocks b
    join lms.block_revisions r on r.id = b.revision_id
    left join lms.block_progress p on p.enrollment_id = p_enrollment_id and p.block_id = b.block_id
    where b.version_id = p_lesson.version_id and b.lesson_id = p_lesson.lesson_id and not r.is_optional;
    if coalesce(v_total, 0) = 0 then
      return 0;
    end if;
    v_percentage := trunc(100 * v_done / v_total, 2);
    return case when v_percentage >= p_lesson.required_watched_percentage then 100 else v_percentage end;
  end if;

  select count(*), count(p.completed_at) into v_total, v_done
  from lms.version_blocks b
  join lms.block_revisions r on r.id = b.revision_id
  left join lms.block_progress p on p.enrollment_id = p_enrollment_id and p.block_id = b.block_id
  where b.version_id = p_lesson.version_id and b.lesson_id = p_lesson.lesson_id and not r.is_optional;
  return case when v_total = 0 then 0 else trunc(100 * v_done / v_total, 2) end;
end
$$;

-- =====================================================================================================
-- Recording
-- =====================================================================================================

-- What plays for a known time is done as far as it was watched; of the rest, clients say how far they are.
create function private.settle_block(p_block lms.block_progress, p_seconds integer, p_client boolean)
returns lms.block_progress
language plpgsql
stable
set search_path = ''
as $$
declare
  v_watched numeric;
begin
  if p_seconds > 0 then
    p_block.watched := p_block.watched * int4multirange(int4range(0, p_seconds));
    v_watched := trunc(100.0 * private.watched_seconds(p_block.watched) / p_seconds, 2);
    if p_client and p_block.progress_percentage > v_watched and p_block.progress_percentage <= 100 then
      perform private.fail(
        'evidence_required', 'How far this block is follows from what was watched of it.', 409,
        jsonb_build_object('block_id', p_block.block_id, 'watched_percentage', v_watched), 'Send watched instead.'
      );
    elsif p_block.progress_percentage between 0 and v_watched then
      p_block.progress_percentage := v_watched;
    end if;
  elsif p_client and p_block.watched <> '{}' then
    perform private.fail(
      'block_without_duration', 'What was watched is kept of video and audio whose duration the author has given.', 409,
      jsonb_build_object('block_id', p_block.block_id), 'Send progress_percentage instead.'
    );
  end if;
  p_block.completed_at := case when p_block.progress_percentage >= 100 then coalesce(p_block.completed_at, now()) end;
  return p_block;
end
$$;

create function private.place_block_progress()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_client constant boolean := private.is_api_call();
  v_course record;
  v_enrollment lms.enrollments;
  v_block record;
begin
  if v_client and new.user_id is distinct from auth.uid() then
    raise insufficient_privilege using message = 'Progress is recorded by the learner.';
  end if;
  -- Any version tells which course the block is of.
  select r.course_id, c.deleted_at into v_course
  from lms.block_revisions r
  join lms.courses c on c.id = r.course_id
  where r.block_id = new.block_id
  limit 1;
  if not found or (v_client and v_course.deleted_at is not null) then
    perform private.fail('block_not_found', 'There is no such block.', 404);
  end if;

  if v_client or new.enrollment_id = '00000000-0000-0000-0000-000000000000' then
    v_enrollment := private.cycle_to_record(new.user_id, v_course.course_id, v_client);
    if v_enrollment.id is null then
      new.enrollment_id := '00000000-0000-0000-0000-000000000000';
      new.course_id := v_course.course_id;
      return new;
    end if;
  else
    select * into v_enrollment from lms.enrollments e where e.id = new.enrollment_id for no key update;
  end if;
  select b.lesson_id, private.media_seconds(r.type, r.content) as seconds into v_block
  from lms.version_blocks b
  join lms.block_revisions r on r.id = b.revision_id
  where b.version_id = v_enrollment.version_id and b.block_id = new.block_id;
  if not found then
    perform private.refuse_progress('other_version', v_course.course_id);
  end if;
  new.enrollment_id := v_enrollment.id;
  new.tenant_id := v_enrollment.tenant_id;
  new.course_id := v_enrollment.course_id;
  new.lesson_id := v_block.lesson_id;

  if v_client then
    new.first_accessed_at := now();
    new.last_accessed_at := now();
    new.updated_at := now();
    new.completed_at := null;
    -- INV-P4; INV-P6: what was reported before can be reported again.
    if not exists (
      select
      from lms.block_progress p
      where p.enrollment_id = v_enrollment.id and p.block_id = new.block_id
        and p.progress_percentage >= new.progress_percentage and p.watched @> new.watched
    ) then
      perform private.refuse_closed_lesson(v_enrollment.id, v_block.lesson_id);
    end if;
  end if;
  return private.settle_block(new, v_block.seconds, v_client);
end
$$;

create trigger _200_place before insert on lms.block_progress
  for each row execute function private.place_block_progress();

-- Reads as the caller: a course that they cannot see must be answered like one that does not exist.
create function private.refuse_block_without_enrollment()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if not exists (select from lms.courses c where c.id = new.course_id) then
    perform private.fail('block_not_found', 'There is no such block.', 404);
  end if;
  perform private.refuse_progress('not_enrolled', new.course_id);
  return null;
end
$$;

create trigger _250_enrolled before insert on lms.block_progress
  for each row when (new.enrollment_id = '00000000-0000-0000-0000-000000000000')
  execute function private.refuse_block_without_enrollment();

-- INV-P1, INV-P6: a block only moves forward; what was watched adds up, from however many devices.
create function private.advance_block_progress()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_seconds integer;
  v_enrollment lms.enrollments;
begin
  if (new.enrollment_id, new.block_id, new.user_id) is distinct from (old.enrollment_id, old.block_id, old.user_id) then
    raise insufficient_privilege using message = 'Progress keeps its learner, its block and its enrolment.';
  elsif not private.is_api_call() or not coalesce(new.progress_percentage between 0 and 100, false) then
    return new;
  end if;
  new.progress_percentage := greatest(old.progress_percentage, new.progress_percentage);
  new.watched := old.watched + new.watched;
  new.first_accessed_at := old.first_accessed_at;
  new.last_accessed_at := old.last_accessed_at;
  new.completed_at := old.completed_at;
  new.updated_at := old.updated_at;
  if (new.progress_percentage, new.watched, new.last_position)
    is not distinct from (old.progress_percentage, old.watched, old.last_position)
  then
    return new;
  end if;
  -- An update by itself has passed no insert trigger, so what holds there is asked here.
  select * into v_enrollment from lms.enrollments e where e.id = old.enrollment_id;
  if v_enrollment.status = 'completed' and exists (
    select from lms.enrollments later
    where later.user_id = old.user_id and later.course_id = old.course_id and later.cycle > v_enrollment.cycle
  ) then
    return old;
  elsif v_enrollment.status in ('paused', 'dropped', 'expired') then
    perform private.refuse_progress(v_enrollment.status, old.course_id);
  elsif v_enrollment.expires_at <= now() then
    perform private.refuse_progress('over', old.course_id);
  elsif not (select c.deleted_at is null from lms.courses c where c.id = old.course_id) then
    perform private.fail('block_not_found', 'There is no such block.', 404);
  end if;
  select private.media_seconds(r.type, r.content) into v_seconds
  from lms.version_blocks b
  join lms.block_revisions r on r.id = b.revision_id
  where b.version_id = v_enrollment.version_id and b.block_id = old.block_id;
  if not found then
    perform private.refuse_progress('other_version', old.course_id);
  elsif (new.progress_percentage, new.watched) is distinct from (old.progress_percentage, old.watched) then
    perform private.refuse_closed_lesson(old.enrollment_id, old.lesson_id);
  end if;
  new.last_accessed_at := now();
  new.updated_at := now();
  -- What was reached before stands, also after the block became longer.
  new := private.settle_block(new, v_seconds, (new.progress_percentage, new.watched) is distinct from (old.progress_percentage, old.watched));
  new.progress_percentage := greatest(old.progress_percentage, new.progress_percentage);
  new.completed_at := coalesce(old.completed_at, new.completed_at);
  return new;
end
$$;

create trigger _300_advance before update on lms.block_progress
  for each row execute function private.advance_block_progress();

-- The lesson follows from its blocks where its rule says so. The enrolment is locked first: of two devices that complete
-- two blocks at the same moment, the second one counts both.
create function private.carry_evidence()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_enrollment lms.enrollments;
  v_lesson lms.version_lessons;
  v_evidence numeric;
begin
  select l.* into v_lesson
  from lms.enrollments e
  join lms.version_lessons l on l.version_id = e.version_id and l.lesson_id = new.lesson_id
  where e.id = new.enrollment_id;
  if v_lesson.completion_rule is null or v_lesson.completion_rule = 'manual' then
    return null;
  end if;
  select * into v_enrollment from lms.enrollments e where e.id = new.enrollment_id for no key update;
  if v_enrollment.status not in ('enrolled', 'in_progress', 'completed') then
    return null;
  end if;
  v_evidence := private.lesson_evidence(new.enrollment_id, v_lesson);
  insert into lms.lesson_progress as p (enrollment_id, user_id, lesson_id, progress_percentage)
  values (new.enrollment_id, new.user_id, new.lesson_id, v_evidence)
  on conflict (enrollment_id, lesson_id) do update
  set progress_percentage = greatest(p.progress_percentage, excluded.progress_percentage),
      completed_at = coalesce(p.completed_at, excluded.completed_at)
  where p.progress_percentage < excluded.progress_percentage;
  return null;
end
$$;

create trigger _500_evidence_first after insert on lms.block_progress
  for each row execute function private.carry_evidence();
create trigger _500_evidence_more after update on lms.block_progress
  for each row when ((old.progress_percentage, old.watched) is distinct from (new.progress_percentage, new.watched))
  execute function private.carry_evidence();

-- =====================================================================================================
-- Call
-- =====================================================================================================

create type lms.block_receipt as (
  block_id uuid,
  block_percentage numeric,
  lesson_id uuid,
  lesson_status text,
  lesson_percentage numeric,
  course_status text,
  course_percentage numeric
);
comment on type lms.block_receipt is 'Where block, lesson and course stand after a report; percentages 0 to 100.';

create function private.parse_watched(p_watched jsonb)
returns int4multirange
language plpgsql
immutable
set search_path = ''
as $$
begin
  return (
    select coalesce(range_agg(int4range((part ->> 0)::integer, (part ->> 1)::integer)), '{}')
    from jsonb_array_elements(p_watched) as part
    where jsonb_array_length(part) = 2
    having count(*) filter (where jsonb_array_length(part) = 2) = jsonb_array_length(p_watched)
  );
exception
  when others then
    return null;
end
$$;

create function lms.record_block_progress(
  p_block_id uuid,
  p_progress_percentage numeric default null,
  p_watched jsonb default null,
  p_last_position jsonb default null
)
returns lms.block_receipt
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_watched int4multirange := '{}'::int4multirange;
  v_block lms.block_progress;
  v_receipt lms.block_receipt;
begin
  if not p_progress_percentage between 0 and 100 then
    perform private.fail(
      'invalid_percentage', 'The percentage is a number from 0 to 100.', 422,
      jsonb_build_object('field', 'p_progress_percentage')
    );
  elsif p_watched is not null then
    -- Counted before it is read: reading costs more than writing.
    v_watched := case
      when jsonb_typeof(p_watched) = 'array' and jsonb_array_length(p_watched) <= 2000 then private.parse_watched(p_watched)
    end;
  end if;
  if v_watched is null then
    perform private.fail(
      'invalid_watched', 'What was watched is a list of at most 2000 [from, to] in seconds.', 422, jsonb_build_object('field', 'p_watched')
    );
  end if;
  insert into lms.block_progress as b (user_id, block_id, progress_percentage, watched, last_position)
  values ((select auth.uid()), p_block_id, coalesce(p_progress_percentage, 0), v_watched, p_last_position)
  on conflict (enrollment_id, block_id) do update
  set progress_percentage = excluded.progress_percentage,
      watched = excluded.watched,
      last_position = coalesce(excluded.last_position, b.last_position)
  returning * into v_block;

  select
    v_block.block_id, v_block.progress_percentage, v_block.lesson_id, coalesce(p.status, 'not_started'),
    coalesce(p.progress_percentage, 0), e.status, e.progress_percentage
  into v_receipt
  from lms.enrollments e
  left join lms.lesson_progress p on p.enrollment_id = e.id and p.lesson_id = v_block.lesson_id
  where e.id = v_block.enrollment_id;
  return v_receipt;
end
$$;

comment on function lms.record_block_progress is
  'Records how far the caller is in a block, or which seconds of it were played (p_watched = [[0, 30], [60, 90]]), and '
  'returns where block, lesson and course now stand. Nothing goes down; repeating a call changes nothing. 404 '
  'block_not_found; 409 not_enrolled, enrollment_paused, lesson_locked, lesson_not_in_version, evidence_required, '
  'block_without_duration; 403 membership_suspended; 422 invalid_percentage, invalid_watched.';

grant execute on function lms.record_block_progress to authenticated, service_role;
grant execute on function private.parse_watched to authenticated, service_role;

-- =====================================================================================================
-- Policies and grants
-- =====================================================================================================

alter table lms.block_progress enable row level security;

grant all on lms.block_progress to service_role;
grant select on lms.block_progress to authenticated;
-- The keys are updatable because an upsert sets every column it names; the trigger refuses a change.
grant insert (user_id, block_id, progress_percentage, watched, last_position) on lms.block_progress to authenticated;
grant update (user_id, block_id, progress_percentage, watched, last_position) on lms.block_progress to authenticated;

create policy "Block progress is seen by its learner, staff and in scope" on lms.block_progress
  for select to authenticated
  using (
    (user_id = (select auth.uid()) and tenant_id <> all (array(select private.closed_tenants())))
    or tenant_id = any (array(select private.tenants_where('progress.read')))
    or course_id = any (array(select private.staffed_courses()))
    or exists (
      select from private.enrollment_scopes e
      where e.id = enrollment_id and e.unit_id = any (array(select private.units_where('progress.read')))
    )
  );

create policy "Learners record their own block progress" on lms.block_progress
  for insert to authenticated
  with check (user_id = (select auth.uid()));

create policy "Learners advance their own block progress" on lms.block_progress
  for update to authenticated
  using (user_id = (select auth.uid()) and tenant_id = any (array(select private.joined_tenants())))
  with check (user_id = (select auth.uid()));

notify pgrst, 'reload schema';
