-- Progress: what a learner has done in each lesson, and what that makes of the course.
-- Undo: drop functions lms.record_progress, complete_lesson, get_course_progress; drop table lms.lesson_progress; then the
-- types and functions below; drop type lms.lesson_gate.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Table
-- =====================================================================================================

create table lms.lesson_progress (
  enrollment_id uuid not null default '00000000-0000-0000-0000-000000000000',
  lesson_id uuid not null,
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  course_id uuid not null default '00000000-0000-0000-0000-000000000000',
  user_id uuid not null,
  progress_percentage private.percentage not null default 0,
  status text not null generated always as (
    case when progress_percentage >= 100 then 'completed' when progress_percentage > 0 then 'in_progress' else 'not_started' end
  ) stored,
  time_spent_seconds private.total_seconds not null default 0,
  last_position private.resume_position,
  first_accessed_at timestamptz not null default now(),
  last_accessed_at timestamptz not null default now(),
  completed_at timestamptz,
  updated_at timestamptz not null default now(),
  primary key (enrollment_id, lesson_id),
  constraint progress_is_of_the_enrolled_learner foreign key (enrollment_id, tenant_id, course_id, user_id)
    references lms.enrollments (id, tenant_id, course_id, user_id),
  constraint progress_lesson_is_of_the_same_course foreign key (tenant_id, course_id, lesson_id)
    references lms.lessons (tenant_id, course_id, id),
  constraint has_a_completion_date_exactly_when_completed check ((progress_percentage >= 100) = (completed_at is not null))
) with (fillfactor = 85);

create index lesson_progress_by_user on lms.lesson_progress (user_id, lesson_id);
create index lesson_progress_by_lesson on lms.lesson_progress (tenant_id, course_id, lesson_id);
create statistics lms.lesson_progress_dependent_columns (dependencies) on tenant_id, course_id, lesson_id from lms.lesson_progress;
create index lesson_progress_by_completion on lms.lesson_progress (user_id, completed_at desc)
  where completed_at is not null;

comment on table lms.lesson_progress is
  'One row per enrolment and lesson. Clients may upsert {user_id, lesson_id, progress_percentage}: the enrolment is found.';
comment on column lms.lesson_progress.progress_percentage is '0 to 100; never goes down; 100 completes the lesson.';
comment on column lms.lesson_progress.time_spent_seconds is 'Total so far, not an increment: sending it twice counts once.';
comment on column lms.lesson_progress.last_position is 'Where to resume, in the client''s own terms.';
comment on column lms.lesson_progress.completed_at is 'Server time; what a client sends is overruled.';

-- =====================================================================================================
-- Recording
-- =====================================================================================================

create function private.refuse_progress(p_reason text, p_course_id uuid)
returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  case p_reason
    when 'paused' then
      perform private.fail('enrollment_paused', 'The enrolment is paused.', 409, null, 'Resume it first: set_enrollment_status.');
    when 'over' then
      perform private.fail('enrollment_expired', 'The time for this course has run out.', 409);
    when 'suspended' then
      perform private.fail('membership_suspended', 'The membership is not active.', 403);
    when 'hidden' then
      perform private.fail('lesson_not_found', 'There is no such lesson.', 404);
    when 'other_version' then
      perform private.fail(
        'lesson_not_in_version', 'The lesson is not part of the version of the course that is being taken.', 409,
        jsonb_build_object('course_id', p_course_id), 'get_course_outline shows what is.'
      );
    else
      perform private.fail(
        'not_enrolled', 'There is no enrolment that this progress could count for.', 409,
        jsonb_build_object('course_id', p_course_id), 'Enrol first: lms.enroll.'
      );
  end case;
end
$$;

-- =====================================================================================================
-- What is missing before a lesson opens
-- =====================================================================================================

create type lms.lesson_gate as (lesson_id uuid, obstacles lms.eligibility_reason[]);

create function private.release_time(lesson lms.version_lessons, p_enrolled_at timestamptz, p_time_zone text)
returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
begin
  return coalesce(
    lesson.release_on::timestamp at time zone p_time_zone,
    ((p_enrolled_at at time zone p_time_zone)::date + lesson.release_after_days)::timestamp at time zone p_time_zone
  );
end
$$;

comment on function private.release_time is
  'When the lesson opens: the beginning of a day in the tenant''s time zone; null when it is not held back.';

-- INV-P4: the one place that says what a lesson waits for, asked by outline, content and refusals alike. Lessons without
-- obstacles have no row. Once a lesson is completed it stays open.
create function private.closed_lessons(p_enrollment_id uuid, p_lesson_id uuid default null)
returns setof lms.lesson_gate
language plpgsql
stable security definer
rows 10
set search_path = ''
as $$
declare
  v_enrollment lms.enrollments;
  v_time_zone text;
  v_courses lms.eligibility_reason;
begin
  select * into v_enrollment from lms.enrollments e where e.id = p_enrollment_id;
  -- Once begun, a course is not closed by what its authors ask for later. Pausing is no beginning.
  if v_enrollment.started_at is null then
    select 'prerequisite_unmet', 'Other courses come first.', jsonb_build_object('courses', m.courses)
    into v_courses
    from private.describe_missing_prerequisites(v_enrollment.course_id, v_enrollment.user_id) as m (courses)
    where m.courses is not null;
  end if;
  select t.time_zone into v_time_zone from lms.tenants t where t.id = v_enrollment.tenant_id;

  return query
  select g.lesson_id, array_remove(array[g.courses, g.prerequisites, g.release], null)
  from (
    select
      l.lesson_id,
      case when v_courses.code is not null then v_courses end as courses,
      case when cardinality(missing.lessons) > 0 then (
        'prerequisite_unmet', 'Other lessons come first.', jsonb_build_object('lessons', to_jsonb(missing.lessons))
      )::lms.eligibility_reason end as prerequisites,
      case when private.release_time(l, v_enrollment.enrolled_at, v_time_zone) > now() then (
        'not_released', 'The lesson opens later.',
        jsonb_build_object('release_at', private.release_time(l, v_enrollment.enrolled_at, v_time_zone))
      )::lms.eligibility_reason end as release
    from lms.version_lessons l
    cross join lateral (
      select array(
        select jsonb_build_object('lesson_id', needed.lesson_id, 'title', needed.title)
        from lms.version_lessons needed
        where needed.version_id = l.version_id and needed.lesson_id = any (l.prerequisite_ids)
          -- Whoever has completed the course has done what is required, also where only that was imported.
          and not (v_enrollment.status = 'completed' and needed.requires_completion)
          and not exists (
            select from lms.lesson_progress p
            where p.enrollment_id = p_enrollment_id and p.lesson_id = needed.lesson_id and p.completed_at is not null
          )
        order by needed.lesson_index
      ) as lessons
    ) missing
    where l.version_id = v_enrollment.version_id and (p_lesson_id is null or l.lesson_id = p_lesson_id)
      and not (v_enrollment.status = 'completed' and l.requires_completion)
      and (
        l.prerequisite_ids <> '{}' or l.release_after_days is not null or l.release_on is not null
        or v_courses.code is not null
      )
      and not exists (
        select from lms.lesson_progress p
        where p.enrollment_id = p_enrollment_id and p.lesson_id = l.lesson_id and p.completed_at is not null
      )
  ) g
  where g.courses is not null or g.prerequisites is not null or g.release is not null;
end
$$;

comment on function private.closed_lessons is
  'The lessons of an enrolment''s version that are not open to its learner yet, each with all reasons: prerequisite_unmet '
  '{lessons: [{lesson_id, title}]} or {courses: [{course_id, title, min_completion_percentage, percentage}]}, not_released '
  '{release_at}. Of one lesson when p_lesson_id is given.';

create function private.refuse_closed_lesson(p_enrollment_id uuid, p_lesson_id uuid)
returns void
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_gate lms.lesson_gate;
begin
  select * into v_gate from private.closed_lessons(p_enrollment_id, p_lesson_id);
  if found then
    perform private.fail(
      'lesson_locked', v_gate.obstacles[1].message, 409, to_jsonb(v_gate.obstacles), 'See details for every reason.'
    );
  end if;
end
$$;

-- =====================================================================================================
-- Recording
-- =====================================================================================================

-- The cycle that a learner's report counts for: the open one, else the latest completed one, where a replay changes
-- nothing. Null where there is none. INV-P6: locked, before any row of progress below it, as whoever judges evidence,
-- grades or corrects does it: two reports of one learner wait for each other instead of each for the other's rows.
create function private.cycle_to_record(p_user_id uuid, p_course_id uuid, p_client boolean)
returns lms.enrollments
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_enrollment lms.enrollments;
begin
  -- INV-P5: by the unique index of open cycles, which leaves the planner no reason to walk through a long history.
  select * into v_enrollment
  from lms.enrollments e
  where e.user_id = p_user_id and e.course_id = p_course_id and e.status in ('enrolled', 'in_progress', 'paused')
  for no key update;
  if not found then
    select * into v_enrollment
    from lms.enrollments e
    where e.user_id = p_user_id and e.course_id = p_course_id and e.status = 'completed'
    order by e.cycle desc
    limit 1
    for no key update;
  end if;
  if v_enrollment.id is null then
    return null;
  elsif v_enrollment.status = 'paused' then
    perform private.refuse_progress('paused', p_course_id);
  elsif p_client and not exists (
    select
    from lms.memberships m
    where m.tenant_id = v_enrollment.tenant_id and m.user_id = p_user_id and m.status = 'active'
      and (select t.is_active from lms.tenants t where t.id = m.tenant_id)
  ) then
    perform private.refuse_progress('suspended', p_course_id);
  elsif p_client and v_enrollment.expires_at <= now() then
    perform private.refuse_progress('over', p_course_id);
  end if;
  return v_enrollment;
end
$$;

-- Before the row is compared with an existing one: ON CONFLICT is decided after this trigger, which is how an upsert
-- that names no enrolment meets the right row.
create function private.place_progress()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_client boolean := private.is_api_call();
  v_lesson record;
  v_enrollment lms.enrollments;
begin
  -- No client names the enrolment: what does, is the database itself.
  if v_client and new.enrollment_id <> '00000000-0000-0000-0000-000000000000'
    and private.follows_from_others(new.enrollment_id, new.lesson_id, new.progress_percentage)
  then
    v_client := false;
  elsif v_client and new.user_id is distinct from auth.uid() then
    if not private.is_correction(new.enrollment_id, new.lesson_id, new.progress_percentage) then
      raise insufficient_privilege using message = 'Progress is recorded by the learner.';
    end if;
    v_client := false;
  end if;

  select l.tenant_id, l.course_id into v_lesson
  from lms.lessons l
  where l.id = new.lesson_id
    and (not v_client or (
      l.published_at is not null and (select c.deleted_at is null from lms.courses c where c.id = l.course_id)
    ));
  if not found then
    perform private.refuse_progress('hidden', null);
  end if;
  new.tenant_id := v_lesson.tenant_id;
  new.course_id := v_lesson.course_id;

  if v_client or new.enrollment_id = '00000000-0000-0000-0000-000000000000' then
    v_enrollment := private.cycle_to_record(new.user_id, v_lesson.course_id, v_client);
    if v_enrollment.id is null then
      -- Left to the next trigger.
      new.enrollment_id := '00000000-0000-0000-0000-000000000000';
      return new;
    end if;
    new.enrollment_id := v_enrollment.id;
  else
    perform from lms.enrollments e where e.id = new.enrollment_id for no key update;
  end if;

  if v_client then
    new.first_accessed_at := now();
    new.last_accessed_at := now();
    new.updated_at := now();
    new.completed_at := null;
    perform private.judge_progress(v_enrollment, new);
  end if;
  if new.progress_percentage >= 100 then
    new.completed_at := coalesce(new.completed_at, now());
  else
    new.completed_at := null;
  end if;
  return new;
end
$$;

-- INV-P3, INV-P4: what a client reports is about a lesson of the version, which is open, and claims no more than the
-- evidence says where the lesson completes by evidence. What was reported before can be reported again.
create function private.judge_progress(p_enrollment lms.enrollments, p_progress lms.lesson_progress)
returns void
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_lesson lms.version_lessons;
begin
  select * into v_lesson
  from lms.version_lessons l
  where l.version_id = p_enrollment.version_id and l.lesson_id = p_progress.lesson_id;
  if not found then
    perform private.refuse_progress('other_version', p_enrollment.course_id);
  elsif v_lesson.prerequisite_ids = '{}' and v_lesson.release_after_days is null and v_lesson.release_on is null
    and v_lesson.completion_rule = 'manual'
    and (p_enrollment.started_at is not null or not exists (
      select from lms.course_prerequisites p where p.course_id = p_enrollment.course_id
    ))
  then
    return;
  elsif exists (
    select
    from lms.lesson_progress p
    where p.enrollment_id = p_enrollment.id and p.lesson_id = p_progress.lesson_id
      and p.progress_percentage >= p_progress.progress_percentage
  ) then
    -- INV-P6
    return;
  end if;
  if v_lesson.completion_rule = 'assessment'
    and private.follows_from_scores(p_enrollment.id, p_progress.lesson_id, p_progress.progress_percentage)
  then
    return;
  end if;
  perform private.refuse_closed_lesson(p_enrollment.id, p_progress.lesson_id);

  if v_lesson.completion_rule <> 'manual'
    and p_progress.progress_percentage between 0 and 100
    and p_progress.progress_percentage > private.lesson_evidence(p_enrollment.id, v_lesson)
  then
    perform private.fail(
      'evidence_required',
      case v_lesson.completion_rule
        when 'watched' then 'This lesson completes by what was watched of it.'
        when 'assessment' then 'This lesson completes when its assessments are passed.'
        when 'attendance' then 'This lesson completes by being at one of its sessions.'
        when 'sign_off' then 'This lesson completes when a trainer signs it off.'
        else 'This lesson completes when all its mandatory blocks are completed.'
      end,
      409, jsonb_build_object('lesson_id', v_lesson.lesson_id, 'completion_rule', v_lesson.completion_rule),
      case v_lesson.completion_rule
        when 'assessment' then 'Take them: start_attempt.'
        when 'attendance' then 'Take a seat: book_session.'
        when 'sign_off' then 'Take a seat: book_session.'
        else 'Record its blocks: record_block_progress.'
      end
    );
  end if;
end
$$;

create trigger _200_place before insert on lms.lesson_progress
  for each row execute function private.place_progress();

-- Reads as the caller: a lesson that they cannot see must be answered like one that does not exist.
create function private.refuse_progress_without_enrollment()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  perform private.refuse_progress(
    case when exists (select from lms.lessons l where l.id = new.lesson_id) then 'not_enrolled' else 'hidden' end,
    new.course_id
  );
  return null;
end
$$;

create trigger _250_enrolled before insert on lms.lesson_progress
  for each row when (new.enrollment_id = '00000000-0000-0000-0000-000000000000')
  execute function private.refuse_progress_without_enrollment();

-- INV-P1, INV-P6: whatever is replayed, late or reordered, a lesson only moves forward; a replay that moves nothing
-- leaves the row as it is. Only the import's roles may go back.
create function private.advance_progress()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_enrollment lms.enrollments;
begin
  if (new.enrollment_id, new.lesson_id, new.user_id) is distinct from (old.enrollment_id, old.lesson_id, old.user_id) then
    raise insufficient_privilege using message = 'Progress keeps its learner, its lesson and its enrolment.';
  end if;
  if not private.is_api_call() or (
    old.user_id is distinct from auth.uid() and (
      private.is_correction(new.enrollment_id, new.lesson_id, new.progress_percentage)
      or private.follows_from_others(new.enrollment_id, new.lesson_id, new.progress_percentage)
    )
  ) then
    -- INV-O2: what is taken away or moved, audit.watch records. What is given by others than clients is recorded here:
    -- a condition of the trigger there would cost every client.
    if new.progress_percentage > old.progress_percentage then
      perform audit.record_change(
        new.tenant_id, 'lms.lesson_progress', concat_ws(',', new.enrollment_id, new.lesson_id),
        jsonb_build_object(
          'progress_percentage', jsonb_build_object('old', old.progress_percentage, 'new', new.progress_percentage)
        ) || case
          when new.completed_at is null then '{}'
          else jsonb_build_object('completed_at', jsonb_build_object('old', old.completed_at, 'new', new.completed_at))
        end
      );
    end if;
    return new;
  end if;

  -- Checked here because the CHECK sees only what is left after the comparison below.
  if not coalesce(new.progress_percentage between 0 and 100, false) then
    return new;
  end if;
  new.progress_percentage := greatest(old.progress_percentage, new.progress_percentage);
  new.time_spent_seconds := greatest(old.time_spent_seconds, new.time_spent_seconds);
  new.first_accessed_at := old.first_accessed_at;
  new.last_accessed_at := old.last_accessed_at;
  new.completed_at := old.completed_at;
  new.updated_at := old.updated_at;
  if (new.progress_percentage, new.time_spent_seconds, new.last_position)
    is not distinct from (old.progress_percentage, old.time_spent_seconds, old.last_position)
  then
    return new;
  end if;

  select * into v_enrollment from lms.enrollments e where e.id = old.enrollment_id;
  if v_enrollment.status = 'completed' and exists (
    select from lms.enrollments later
    where later.user_id = old.user_id and later.course_id = old.course_id and later.cycle > v_enrollment.cycle
  ) then
    return old;
  elsif v_enrollment.expires_at <= now()
    and not private.follows_from_others(new.enrollment_id, new.lesson_id, new.progress_percentage)
  then
    perform private.refuse_progress('over', old.course_id);
  elsif not (select c.deleted_at is null from lms.courses c where c.id = old.course_id) then
    perform private.refuse_progress('hidden', null);
  elsif new.progress_percentage > old.progress_percentage then
    perform private.judge_progress(v_enrollment, new);
  end if;
  new.last_accessed_at := now();
  new.updated_at := now();
  if new.progress_percentage >= 100 then
    new.completed_at := coalesce(old.completed_at, now());
  end if;
  return new;
end
$$;

create trigger _300_advance before update on lms.lesson_progress
  for each row execute function private.advance_progress();

-- =====================================================================================================
-- What it makes of the course
-- =====================================================================================================

-- INV-P2, INV-P5: adds what this row completed to its enrolment's counters, at a cost that depends on the row alone.
-- The enrolment is locked first and only then is it read in which version, and so whether the lesson counts: a move to
-- another version locks it too, so that each completion is counted by one of the two, once.
create function private.count_progress()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_completions integer := (new.completed_at is not null)::integer;
  v_seconds integer := new.time_spent_seconds;
  v_status text;
begin
  if tg_op = 'UPDATE' then
    -- Minus one when a role that may go back takes a completion away.
    v_completions := v_completions - (old.completed_at is not null)::integer;
    v_seconds := v_seconds - old.time_spent_seconds;
  end if;

  select e.status into v_status from lms.enrollments e where e.id = new.enrollment_id for no key update;
  if v_status in ('paused', 'dropped', 'expired') and private.is_api_call() and new.user_id = (select auth.uid()) then
    -- It may have been left since the row was placed. What others give (graders, by scores) is counted there as well.
    perform private.refuse_progress(v_status, new.course_id);
  end if;

  update lms.enrollments e
  set items_done = e.items_done + v_completions * coalesce((
        select l.requires_completion::integer
        from lms.version_lessons l
        where l.version_id = e.version_id and l.lesson_id = new.lesson_id
      ), 0),
      time_spent_seconds = e.time_spent_seconds + v_seconds,
      status = case when e.status = 'enrolled' then 'in_progress' else e.status end,
      started_at = coalesce(e.started_at, new.first_accessed_at),
      completed_at = new.completed_at,
      current_lesson_id = new.lesson_id,
      last_accessed_at = greatest(e.last_accessed_at, new.last_accessed_at)
  where e.id = new.enrollment_id and e.status <> 'completed';

  -- For the report on each lesson. Here, because a trigger of its own would cost as much again.
  if tg_op = 'INSERT' or v_completions <> 0 then
    insert into private.lesson_changes (tenant_id, course_id, lesson_id, reached, completed)
    values (new.tenant_id, new.course_id, new.lesson_id, (tg_op = 'INSERT')::integer, v_completions);
  end if;
  return null;
end
$$;

create trigger _500_count_first after insert on lms.lesson_progress
  for each row execute function private.count_progress();
create trigger _500_count_more after update on lms.lesson_progress
  for each row when (
    (old.last_accessed_at, old.time_spent_seconds, old.progress_percentage)
    is distinct from (new.last_accessed_at, new.time_spent_seconds, new.progress_percentage)
  )
  execute function private.count_progress();

-- Counters are kept by adding; this counts them again from the facts and writes only differences, of which there should be
-- none. For operators, after repairs by hand.
create function ops.recount_progress(p_course_id uuid default null)
returns bigint
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_ids uuid[];
  v_settled constant bigint := private.recount_assessments(p_course_id);
  v_corrected bigint;
begin
  with facts as (
    select done.enrollment_id, count(*) as items_done
    from (
      select p.enrollment_id
      from lms.lesson_progress p
      join lms.enrollments e on e.id = p.enrollment_id and e.status in ('enrolled', 'in_progress', 'paused')
      join lms.version_lessons l on l.version_id = e.version_id and l.lesson_id = p.lesson_id and l.requires_completion
      where p.completed_at is not null and (p_course_id is null or e.course_id = p_course_id)
      union all
      select p.enrollment_id
      from lms.assessment_progress p
      join lms.enrollments e on e.id = p.enrollment_id and e.status in ('enrolled', 'in_progress', 'paused')
      join lms.version_assessments a on a.version_id = e.version_id and a.assessment_id = p.assessment_id and a.is_mandatory
      where p.completed_at is not null and (p_course_id is null or e.course_id = p_course_id)
    ) done
    group by done.enrollment_id
  )
  select array_agg(e.id) into v_ids
  from lms.enrollments e
  join lms.course_versions v on v.id = e.version_id
  left join facts f on f.enrollment_id = e.id
  where e.status in ('enrolled', 'in_progress', 'paused') and (p_course_id is null or e.course_id = p_course_id)
    and (e.items_total, e.items_done) is distinct from (v.items_total, coalesce(f.items_done, 0)::integer);

  -- Locked before they are counted: what is completed meanwhile is counted by whoever completes it.
  perform from lms.enrollments e where e.id = any (v_ids) order by e.id for no key update;
  update lms.enrollments e
  set items_total = c.items_total, items_done = c.items_done
  from (
    select
      e.id, v.items_total,
      (
        select count(*)
        from lms.lesson_progress p
        join lms.version_lessons l on l.version_id = e.version_id and l.lesson_id = p.lesson_id
        where p.enrollment_id = e.id and p.completed_at is not null and l.requires_completion
      ) + private.count_assessments_done(e.id, e.version_id) as items_done
    from lms.enrollments e
    join lms.course_versions v on v.id = e.version_id
    where e.id = any (v_ids)
  ) c
  where e.id = c.id and e.status in ('enrolled', 'in_progress', 'paused')
    and (e.items_total, e.items_done) is distinct from (c.items_total, c.items_done::integer);
  get diagnostics v_corrected = row_count;
  return v_settled + v_corrected;
end
$$;

comment on function ops.recount_progress is
  'Counts the standings in assessments again from attempts and scores, then the open enrolments from lesson_progress, '
  'assessment_progress and their versions, all or those of one course; returns how many differed.';
grant execute on function ops.recount_progress to service_role;

-- Asking for less than before completes those who have done everything and now reach it; asking for more takes nothing
-- away. All open ones are locked first: whoever is about to finish by the old score is seen by the next statement. The
-- update changes nothing by itself: it has the enrolments settled.
create function private.settle_after_lowered_score()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform from lms.enrollments e
  where e.course_id = new.id and e.status in ('enrolled', 'in_progress')
  order by e.id
  for no key update;
  update lms.enrollments e
  set items_done = e.items_done
  where e.course_id = new.id and e.status in ('enrolled', 'in_progress')
    and e.items_total > 0 and e.items_done >= e.items_total
    and coalesce(e.final_grade, 0) >= new.required_score;
  return null;
end
$$;

create trigger _600_settle after update of required_score on lms.courses
  for each row when (new.required_score < old.required_score)
  execute function private.settle_after_lowered_score();

-- =====================================================================================================
-- Calls
-- =====================================================================================================

create type lms.progress_receipt as (
  enrollment_id uuid,
  lesson_id uuid,
  lesson_status text,
  lesson_percentage numeric,
  course_status text,
  course_percentage numeric,
  completed_lessons integer,
  total_lessons integer
);

comment on type lms.progress_receipt is 'Where a lesson and its course stand after progress was recorded; percentages 0 to 100.';

create function lms.record_progress(
  p_lesson_id uuid,
  p_progress_percentage numeric,
  p_time_spent_seconds integer default null,
  p_last_position jsonb default null
)
returns lms.progress_receipt
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_progress lms.lesson_progress;
  v_receipt lms.progress_receipt;
begin
  if p_progress_percentage is null or not p_progress_percentage between 0 and 100 then
    perform private.fail(
      'invalid_percentage', 'The percentage is a number from 0 to 100.', 422,
      jsonb_build_object('field', 'p_progress_percentage')
    );
  end if;
  insert into lms.lesson_progress as p (user_id, lesson_id, progress_percentage, time_spent_seconds, last_position)
  values ((select auth.uid()), p_lesson_id, p_progress_percentage, coalesce(p_time_spent_seconds, 0), p_last_position)
  on conflict (enrollment_id, lesson_id) do update
  set progress_percentage = excluded.progress_percentage,
      time_spent_seconds = excluded.time_spent_seconds,
      last_position = coalesce(excluded.last_position, p.last_position)
  returning * into v_progress;

  select v_progress.enrollment_id, v_progress.lesson_id, v_progress.status, v_progress.progress_percentage,
    e.status, e.progress_percentage, e.items_done, e.items_total
  into v_receipt
  from lms.enrollments e
  where e.id = v_progress.enrollment_id;
  return v_receipt;
end
$$;

comment on function lms.record_progress is
  'Records how far the caller is in a lesson and returns where lesson and course now stand. Percentages never go down; '
  'time is the total so far; repeating a call changes nothing. 404 lesson_not_found; 409 not_enrolled, enrollment_paused, '
  'lesson_locked with details = [{code, message, details}], lesson_not_in_version, evidence_required; 403 '
  'membership_suspended; 422 invalid_percentage.';

create function lms.complete_lesson(p_lesson_id uuid)
returns lms.progress_receipt
language sql
volatile
set search_path = ''
as $$
  select lms.record_progress(p_lesson_id, 100)
$$;

comment on function lms.complete_lesson is 'record_progress with 100 percent.';

create type lms.course_progress as (
  percentage numeric,
  completed_lessons integer,
  total_lessons integer,
  enrollment_id uuid,
  status text
);

create function lms.get_course_progress(p_course_id uuid, p_user_id uuid default null)
returns lms.course_progress
language plpgsql
stable
set search_path = ''
as $$
declare
  -- A variable: to the planner, coalesce() might leak, so that under row level security it would not be looked up by index.
  v_user_id constant uuid := coalesce(p_user_id, (select auth.uid()));
  v_progress lms.course_progress;
begin
  if not exists (select from lms.courses c where c.id = p_course_id) then
    perform private.fail('course_not_found', 'There is no such course.', 404);
  end if;
  select e.progress_percentage, e.items_done, e.items_total, e.id, e.status
  into v_progress
  from lms.enrollments e
  where e.course_id = p_course_id and e.user_id = v_user_id
  order by e.cycle desc
  limit 1;
  if not found then
    v_progress := (0, 0, private.count_course_items(p_course_id), null, null)::lms.course_progress;
  end if;
  return v_progress;
end
$$;

comment on function lms.get_course_progress is
  '{percentage, completed_lessons, total_lessons, enrollment_id, status} of the latest cycle of the caller, or of a '
  'learner whom the caller may follow; all zero, and no enrolment, where there is none. 404 course_not_found.';

grant execute on function lms.record_progress, lms.complete_lesson to authenticated, service_role;
grant execute on function lms.get_course_progress to authenticated, service_role;
grant execute on function private.refuse_progress to authenticated, service_role;

-- =====================================================================================================
-- Policies and grants
-- =====================================================================================================

alter table lms.lesson_progress enable row level security;

grant all on lms.lesson_progress to service_role;
grant select on lms.lesson_progress to authenticated;
-- completed_at and updated_at are accepted because clients send them, and overruled. The keys are updatable because
-- an upsert sets every column it names; the trigger refuses a change.
grant insert (user_id, lesson_id, progress_percentage, time_spent_seconds, last_position, updated_at, completed_at)
  on lms.lesson_progress to authenticated;
grant update (user_id, lesson_id, progress_percentage, time_spent_seconds, last_position, updated_at, completed_at)
  on lms.lesson_progress to authenticated;

create view private.enrollment_scopes as
  select e.id, e.user_id, e.tenant_id, e.unit_id, e.course_id from lms.enrollments e;

comment on view private.enrollment_scopes is
  'Where an enrolment belongs, for the policies of other tables. Not an invoker''s view, on purpose: the policy of '
  'enrollments would be planned again inside every query that asks. Tells only ids; clients cannot address it.';
grant select on private.enrollment_scopes to authenticated;

create policy "Progress is seen by its learner, staff and in scope" on lms.lesson_progress
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

-- INV-T4: the trigger refuses who is no active member; so does the policy for changes, which reach no insert trigger.
create policy "Learners record their own progress" on lms.lesson_progress
  for insert to authenticated
  with check (user_id = (select auth.uid()));

create policy "Learners advance their own progress" on lms.lesson_progress
  for update to authenticated
  using (user_id = (select auth.uid()) and tenant_id = any (array(select private.joined_tenants())))
  with check (user_id = (select auth.uid()));

notify pgrst, 'reload schema';
