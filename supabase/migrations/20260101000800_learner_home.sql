-- Learner's home: the reads that a learner's screens are made of, each in one call.
-- All run as the caller, so they show what REST would show; the one exception is the content of a lesson, for which
-- this is the only route.
-- Undo: drop the functions, then the types below.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Outline of a course
-- =====================================================================================================

create type lms.outline_assessment as (
  id uuid,
  title text,
  kind text,
  order_index integer,
  is_mandatory boolean,
  attempts_count integer,
  percentage numeric,
  passed_at timestamptz,
  completed_at timestamptz
);
create type lms.outline_lesson as (
  id uuid,
  title text,
  type text,
  duration integer,
  order_index integer,
  requires_completion boolean,
  is_published boolean,
  is_preview boolean,
  status text,
  progress_percentage numeric,
  completed_at timestamptz,
  obstacles lms.eligibility_reason[],
  assessments lms.outline_assessment[]
);
create type lms.outline_module as (
  id uuid, title text, description text, order_index integer, lessons lms.outline_lesson[]
);
create type lms.course_outline as (
  course_id uuid,
  title text,
  enrollment_id uuid,
  enrollment_status text,
  version integer,
  percentage numeric,
  completed_lessons integer,
  total_lessons integer,
  modules lms.outline_module[],
  assessments lms.outline_assessment[]
);

comment on type lms.course_outline is
  'Modules and lessons of a course in order, each lesson with the caller''s progress, what keeps it closed to them, and the '
  'assessments that are open to them; those of the course as a whole beside the modules.';

-- Definer, because the latest version is readable by those enrolled in it only; the caller has seen the course.
create function private.version_outline(p_course_id uuid, p_version_id uuid)
returns setof lms.version_lessons
language plpgsql
stable security definer
rows 20
set search_path = ''
as $$
declare
  v_version_id constant uuid := coalesce(p_version_id, (private.latest_version(p_course_id)).id);
begin
  return query select * from lms.version_lessons l where l.version_id = v_version_id;
end
$$;

create function lms.get_course_outline(p_course_id uuid)
returns lms.course_outline
language plpgsql
stable
set search_path = ''
as $$
declare
  v_outline lms.course_outline;
  v_version_id uuid;
begin
  select c.id, c.title into v_outline.course_id, v_outline.title
  from lms.courses c
  where c.id = p_course_id;
  if not found then
    perform private.fail('course_not_found', 'There is no such course.', 404);
  end if;

  select e.id, e.status, e.progress_percentage, e.items_done, e.items_total, e.version_id
  into v_outline.enrollment_id, v_outline.enrollment_status, v_outline.percentage,
    v_outline.completed_lessons, v_outline.total_lessons, v_version_id
  from lms.enrollments e
  where e.course_id = p_course_id and e.user_id = (select auth.uid())
  order by e.cycle desc
  limit 1;
  if not found then
    v_outline.percentage := 0;
    v_outline.completed_lessons := 0;
    v_outline.total_lessons := private.count_course_items(p_course_id);
  else
    select v.number, v.title into v_outline.version, v_outline.title
    from lms.course_versions v
    where v.id = v_version_id;
  end if;

  -- Whoever works on the course, or may see drafts, and does not take it sees the draft.
  if v_version_id is null and (
    p_course_id = any (array(select private.staffed_courses()))
    or (select c.tenant_id from lms.courses c where c.id = p_course_id)
      = any (array(select private.tenants_partly_where('catalog.read')))
  ) then
    select coalesce(array_agg(
      (a.id, a.title, a.kind, a.order_index, a.is_mandatory, 0, null, null, null)::lms.outline_assessment order by a.order_index
    ), '{}')
    into v_outline.assessments
    from lms.assessments a
    where a.course_id = p_course_id and a.lesson_id is null;
    with tests as (
      select
        a.lesson_id,
        array_agg(
          (a.id, a.title, a.kind, a.order_index, a.is_mandatory, 0, null, null, null)::lms.outline_assessment order by a.order_index
        ) as list
      from lms.assessments a
      where a.course_id = p_course_id
      group by a.lesson_id
    )
    select coalesce(array_agg(
      (m.id, m.title, m.description, m.order_index, lessons.list)::lms.outline_module order by m.order_index
    ), '{}')
    into v_outline.modules
    from lms.modules m
    cross join lateral (
      select coalesce(
        array_agg((
          l.id, l.title, l.type, l.duration, l.order_index, l.requires_completion, l.is_published, l.is_preview,
          'not_started', 0, null, '{}', coalesce(t.list, '{}')
        )::lms.outline_lesson order by l.order_index),
        '{}'
      ) as list
      from lms.lessons l
      left join tests t on t.lesson_id = l.id
      where l.module_id = m.id
    ) lessons
    where m.course_id = p_course_id;
    return v_outline;
  end if;

  -- Read as the caller: an assessment is listed once its lesson is open to them.
  with tests as (
    select
      a.lesson_id,
      array_agg((
        a.assessment_id, a.title, a.kind, a.order_index, a.is_mandatory, coalesce(p.attempts_count, 0), p.percentage,
        p.passed_at, p.completed_at
      )::lms.outline_assessment order by a.order_index) as list
    from lms.version_assessments a
    left join lms.assessment_progress p
      on p.enrollment_id = v_outline.enrollment_id and p.assessment_id = a.assessment_id
    where a.version_id = v_version_id
    group by a.lesson_id
  ), lessons as (
    select
      l.module_id, l.module_title, l.module_description, l.module_index, l.lesson_index,
      (
        l.lesson_id, l.title, l.type, l.duration, l.lesson_index, l.requires_completion, true, l.is_preview,
        coalesce(p.status, 'not_started'), coalesce(p.progress_percentage, 0), p.completed_at,
        coalesce(g.obstacles, '{}'), coalesce(t.list, '{}')
      )::lms.outline_lesson as item
    from private.version_outline(p_course_id, v_version_id) l
    left join lms.lesson_progress p on p.enrollment_id = v_outline.enrollment_id and p.lesson_id = l.lesson_id
    left join private.closed_lessons_of_caller(v_outline.enrollment_id) g on g.lesson_id = l.lesson_id
    left join tests t on t.lesson_id = l.lesson_id
  ), modules as (
    select
      (
        l.module_id, l.module_title, l.module_description, l.module_index, array_agg(l.item order by l.lesson_index)
      )::lms.outline_module as item,
      l.module_index
    from lessons l
    group by l.module_id, l.module_title, l.module_description, l.module_index
  )
  select
    coalesce(array_agg(m.item order by m.module_index), '{}'),
    coalesce((select t.list from tests t where t.lesson_id is null), '{}')
  into v_outline.modules, v_outline.assessments
  from modules m;
  return v_outline;
end
$$;

comment on function lms.get_course_outline is
  'Structure of a course and the caller''s progress in its latest cycle, in one call: of the version that they take; for '
  'others of the latest version, for staff and those who see drafts of the draft. Each lesson says what keeps it closed '
  '(obstacles, empty when it is open), and what is asked in it, with the standing of the caller. 404 course_not_found.';

-- =====================================================================================================
-- Content of a lesson
-- =====================================================================================================

create type lms.lesson_content_block as (
  id uuid, type text, title text, content jsonb, metadata jsonb, is_optional boolean, order_index integer
);
create type lms.lesson_content as (
  lesson_id uuid,
  course_id uuid,
  module_id uuid,
  version integer,
  title text,
  description text,
  type text,
  duration integer,
  objectives text[],
  status text,
  progress_percentage numeric,
  last_position jsonb,
  blocks lms.lesson_content_block[]
);

comment on type lms.lesson_content is
  'A lesson with its blocks in order and the learner''s progress. version: null of the draft.';

-- Definer, because obstacles are found in tables that learners do not read; own enrolments only.
create function private.closed_lessons_of_caller(p_enrollment_id uuid)
returns setof lms.lesson_gate
language plpgsql
stable security definer
rows 10
set search_path = ''
as $$
begin
  if exists (
    select from lms.enrollments e
    where e.id = p_enrollment_id and e.user_id = (select auth.uid())
      and e.status in ('enrolled', 'in_progress', 'paused', 'completed')
  ) then
    return query select * from private.closed_lessons(p_enrollment_id);
  end if;
end
$$;

-- Definer, because this is the only route to content for most; so it decides by the caller: of the cycle that they take or
-- have completed, for authors of the draft, and for others of the latest version's previews.
create function private.read_lesson(p_lesson_id uuid, p_enrollment_id uuid)
returns lms.lesson_content
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_content lms.lesson_content;
  v_enrollment lms.enrollments;
  v_course record;
  v_lesson lms.version_lessons;
  v_is_author boolean;
begin
  select l.tenant_id, l.course_id into v_course from lms.lessons l where l.id = p_lesson_id;
  v_is_author := not private.is_api_call() or coalesce(
    v_course.course_id = any (array(select private.staffed_courses()))
      or v_course.tenant_id = any (array(select private.tenants_where('catalog.write'))),
    false
  );
  -- The date is the fact: an open cycle that has run out shows nothing, whether a job has been by or not.
  select * into v_enrollment
  from lms.enrollments e
  where e.course_id = v_course.course_id and e.status in ('enrolled', 'in_progress', 'paused', 'completed')
    and e.user_id = (select auth.uid())
    and e.tenant_id = any (array(select private.joined_tenants()))
    and (e.expires_at is null or e.expires_at > now())
    and (p_enrollment_id is null or e.id = p_enrollment_id)
  order by e.cycle desc
  limit 1;

  if v_enrollment.id is null and p_enrollment_id is not null then
    -- What somebody was trained on is shown to those who answer for the course.
    select * into v_enrollment
    from lms.enrollments e
    where e.id = p_enrollment_id and e.course_id = v_course.course_id and v_is_author;
    if not found then
      perform private.fail('enrollment_not_found', 'There is no such enrolment.', 404);
    end if;
  end if;

  if v_enrollment.id is not null then
    select * into v_lesson
    from lms.version_lessons l
    where l.version_id = v_enrollment.version_id and l.lesson_id = p_lesson_id;
    if not found and not v_is_author then
      perform private.refuse_progress('other_version', v_course.course_id);
    elsif found and not v_lesson.is_preview and v_enrollment.user_id is not distinct from (select auth.uid()) then
      perform private.refuse_closed_lesson(v_enrollment.id, p_lesson_id);
    end if;
  elsif not v_is_author then
    select * into v_lesson
    from lms.version_lessons l
    where l.version_id = (private.latest_version(v_course.course_id)).id and l.lesson_id = p_lesson_id and l.is_preview;
    if not found then
      perform private.fail(
        'not_enrolled', 'The content of this lesson is for those enrolled in the course.', 403,
        jsonb_build_object('course_id', v_course.course_id), 'Enrol first: lms.enroll.'
      );
    end if;
  end if;

  if v_lesson.lesson_id is not null then
    v_content := (
      v_lesson.lesson_id, v_lesson.course_id, v_lesson.module_id,
      (select v.number from lms.course_versions v where v.id = v_lesson.version_id),
      v_lesson.title, v_lesson.description, v_lesson.type, v_lesson.duration, v_lesson.objectives, null, null, null, null
    )::lms.lesson_content;
    select array_agg((r.block_id, r.type, r.title, r.content, r.metadata, r.is_optional, b.order_index)::lms.lesson_content_block
      order by b.order_index)
    into v_content.blocks
    from lms.version_blocks b
    join lms.block_revisions r on r.id = b.revision_id
    where b.version_id = v_lesson.version_id and b.lesson_id = p_lesson_id;
  else
    select l.id, l.course_id, l.module_id, l.title, l.description, l.type, l.duration, l.objectives
    into v_content.lesson_id, v_content.course_id, v_content.module_id, v_content.title, v_content.description,
      v_content.type, v_content.duration, v_content.objectives
    from lms.lessons l
    where l.id = p_lesson_id and l.deleted_at is null;
    if not found then
      perform private.fail('lesson_not_found', 'There is no such lesson.', 404);
    end if;
    select array_agg((b.id, b.type, b.title, b.content, b.metadata, b.is_optional, b.order_index)::lms.lesson_content_block
      order by b.order_index)
    into v_content.blocks
    from lms.lesson_blocks b
    where b.lesson_id = p_lesson_id and b.deleted_at is null;
  end if;
  v_content.blocks := coalesce(v_content.blocks, '{}');

  select p.status, p.progress_percentage, p.last_position
  into v_content.status, v_content.progress_percentage, v_content.last_position
  from lms.lesson_progress p
  where p.enrollment_id = v_enrollment.id and p.lesson_id = p_lesson_id
    -- Who answers for the content does not thereby see how far people are.
    and (
      p.user_id = (select auth.uid())
      or not private.is_api_call()
      or p.tenant_id = any (array(select private.tenants_where('progress.read')))
      or p.course_id = any (array(select private.staffed_courses()))
      or v_enrollment.unit_id = any (array(select private.units_where('progress.read')))
    );
  v_content.status := coalesce(v_content.status, 'not_started');
  v_content.progress_percentage := coalesce(v_content.progress_percentage, 0);
  return v_content;
end
$$;

create function lms.get_lesson(p_lesson_id uuid, p_enrollment_id uuid default null)
returns lms.lesson_content
language plpgsql
stable
set search_path = ''
as $$
begin
  -- Read as the caller. A lesson that has left the draft since is known to those who take it.
  if not exists (select from lms.lessons l where l.id = p_lesson_id)
    and not private.takes_lesson(p_lesson_id)
  then
    perform private.fail('lesson_not_found', 'There is no such lesson.', 404);
  end if;
  return private.read_lesson(p_lesson_id, p_enrollment_id);
end
$$;

create function private.takes_lesson(p_lesson_id uuid)
returns boolean
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  return exists (
    select
    from lms.version_lessons l
    join lms.courses c on c.id = l.course_id and c.deleted_at is null
    where l.lesson_id = p_lesson_id and l.version_id = any (array(select private.my_versions()))
      and l.course_id = any (array(select private.enrolled_courses()))
  );
end
$$;

comment on function lms.get_lesson is
  'A lesson with its blocks, as the caller takes it: the version of their cycle, the latest one or p_enrollment_id. Authors '
  'who are not enrolled get the draft; previews of the latest version are for everyone who sees the lesson. With '
  'p_enrollment_id, authors see what a learner was trained on. 404 lesson_not_found, enrollment_not_found; 403 '
  'not_enrolled; 409 lesson_locked with details = [{code, message, details}], lesson_not_in_version.';

-- =====================================================================================================
-- Courses of a learner
-- =====================================================================================================

create function lms.get_user_courses(
  p_user_id uuid default null,
  p_limit integer default 100,
  p_after_enrollment_id uuid default null
)
returns table (
  course_id uuid,
  title text,
  progress numeric,
  enrollment_id uuid,
  status text,
  cycle integer,
  slug text,
  thumbnail_url text,
  enrolled_at timestamptz,
  due_at timestamptz,
  completed_at timestamptz,
  last_accessed_at timestamptz
)
language plpgsql
stable
rows 20
set search_path = ''
as $$
declare
  -- A variable: to the planner, coalesce() might leak what it is compared with, so that under row level security it would
  -- not be looked up by index.
  v_user_id constant uuid := coalesce(p_user_id, (select auth.uid()));
  v_after timestamptz;
begin
  if p_limit is null or p_limit not between 1 and 1000 then
    perform private.fail('invalid_limit', 'The limit is a number from 1 to 1000.', 422, jsonb_build_object('field', 'p_limit'));
  end if;
  if p_after_enrollment_id is not null then
    select a.enrolled_at into v_after
    from lms.enrollments a
    where a.id = p_after_enrollment_id and a.user_id = v_user_id;
    if not found then
      perform private.fail(
        'invalid_cursor', 'There is no such enrolment to continue after.', 422,
        jsonb_build_object('field', 'p_after_enrollment_id')
      );
    end if;
  end if;
  return query
  -- INV-C3: a course that is no longer shown stays in the record, under the title that it was taken by.
  select e.course_id, coalesce(c.title, v.title)::text, e.progress_percentage, e.id, e.status, e.cycle, c.slug::text,
    c.thumbnail_url::text, e.enrolled_at, e.due_at, e.completed_at, e.last_accessed_at
  from lms.enrollments e
  left join lms.courses c on c.id = e.course_id
  left join lms.course_versions v on v.id = e.version_id
  where e.user_id = v_user_id and (c.id is not null or v.id is not null)
    and (p_after_enrollment_id is null or (e.enrolled_at, e.id) < (v_after, p_after_enrollment_id))
  order by e.enrolled_at desc, e.id desc
  limit p_limit;
end
$$;

comment on function lms.get_user_courses is
  'Enrolments of the caller, or of a learner whom the caller may follow, newest first, with their progress (0 to 100). '
  'Next page: p_after_enrollment_id = the last one received. 422 invalid_limit, invalid_cursor.';

-- =====================================================================================================
-- Dashboard
-- =====================================================================================================

create type lms.dashboard_course as (
  enrollment_id uuid,
  course_id uuid,
  title text,
  thumbnail_url text,
  status text,
  percentage numeric,
  completed_lessons integer,
  total_lessons integer,
  current_lesson_id uuid,
  due_at timestamptz,
  last_accessed_at timestamptz
);
create type lms.dashboard_statistics as (
  active_courses integer,
  completed_courses integer,
  completed_lessons integer,
  time_spent_seconds bigint,
  average_percentage numeric,
  overdue_courses integer
);
create type lms.dashboard_activity as (
  course_id uuid, course_title text, lesson_id uuid, lesson_title text, completed_at timestamptz
);
create type lms.dashboard_due_item as (
  enrollment_id uuid, course_id uuid, title text, due_at timestamptz, is_overdue boolean, percentage numeric
);
create type lms.dashboard as (
  active_courses lms.dashboard_course[],
  statistics lms.dashboard_statistics,
  recent_activity lms.dashboard_activity[],
  due_items lms.dashboard_due_item[]
);

comment on type lms.dashboard_statistics is
  'Over all cycles: open and completed ones, required lessons done, seconds spent; the average is over open cycles.';
comment on type lms.dashboard_activity is 'A lesson that was completed.';

create function lms.get_dashboard()
returns lms.dashboard
language plpgsql
stable
set search_path = ''
as $$
declare
  v_user_id constant uuid := (select auth.uid());
  v_dashboard lms.dashboard;
begin
  -- Courses are asked for once: each mention of a table has its policy planned and its questions asked again.
  with mine as materialized (
    select e.*, c.id is not null as is_seen, c.title, c.thumbnail_url
    from lms.enrollments e
    left join lms.courses c on c.id = e.course_id
    where e.user_id = v_user_id
  ), active as (
    select
      (e.id, e.course_id, e.title, e.thumbnail_url, e.status, e.progress_percentage, e.items_done, e.items_total,
        e.current_lesson_id, e.due_at, e.last_accessed_at)::lms.dashboard_course as item,
      e.last_accessed_at, e.enrolled_at
    from mine e
    where e.is_seen and e.status in ('enrolled', 'in_progress', 'paused')
    order by e.last_accessed_at desc nulls last, e.enrolled_at desc
    limit 10
  ), due as (
    select
      (e.id, e.course_id, e.title, e.due_at, e.due_at < now(), e.progress_percentage)::lms.dashboard_due_item as item,
      e.due_at
    from mine e
    where e.is_seen and e.status in ('enrolled', 'in_progress', 'paused') and e.due_at is not null
    order by e.due_at
    limit 10
  ), latest as materialized (
    -- Some more than are shown, for the lessons that have been taken away since.
    select p.enrollment_id, p.course_id, p.lesson_id, p.completed_at
    from lms.lesson_progress p
    where p.user_id = v_user_id and p.completed_at is not null
    order by p.completed_at desc
    limit 30
  ), recent as (
    select
      (p.course_id, e.title, p.lesson_id, l.title, p.completed_at)::lms.dashboard_activity as item,
      p.completed_at
    from latest p
    join mine e on e.id = p.enrollment_id and e.is_seen
    join lms.lessons l on l.id = p.lesson_id
    order by p.completed_at desc
    limit 10
  )
  select
    coalesce((select array_agg(a.item order by a.last_accessed_at desc nulls last, a.enrolled_at desc) from active a), '{}'),
    (
      select (
        count(*) filter (where e.status in ('enrolled', 'in_progress', 'paused')),
        count(*) filter (where e.status = 'completed'),
        coalesce(sum(e.items_done), 0),
        coalesce(sum(e.time_spent_seconds), 0),
        round(coalesce(avg(e.progress_percentage) filter (where e.status in ('enrolled', 'in_progress', 'paused')), 0), 2),
        count(*) filter (where e.status in ('enrolled', 'in_progress', 'paused') and e.due_at < now())
      )::lms.dashboard_statistics
      from mine e
    ),
    coalesce((select array_agg(r.item order by r.completed_at desc) from recent r), '{}'),
    coalesce((select array_agg(d.item order by d.due_at) from due d), '{}')
  into v_dashboard.active_courses, v_dashboard.statistics, v_dashboard.recent_activity, v_dashboard.due_items;
  return v_dashboard;
end
$$;

comment on function lms.get_dashboard is
  'The caller''s home screen in one call: up to 10 active courses (last used first), statistics, the 10 lessons completed '
  'last, and up to 10 due items (soonest first).';

grant execute on function private.read_lesson, private.takes_lesson, lms.get_lesson to anon, authenticated, service_role;
grant execute on function private.version_outline, private.closed_lessons_of_caller to authenticated, service_role;
grant execute on function lms.get_course_outline, lms.get_user_courses, lms.get_dashboard to authenticated, service_role;

notify pgrst, 'reload schema';
