-- Version visibility: who sees which version of a course, and the calls that move people between versions.
-- Undo: drop functions lms.preview_enrollment_migration, migrate_enrollments; drop types lms.migration_preview,
-- migration_result; drop the policies below; then the helpers.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Policies
-- =====================================================================================================

create function private.my_versions()
returns setof uuid
language plpgsql
stable security definer
rows 10
set search_path = ''
as $$
begin
  return query
  select distinct e.version_id
  from lms.enrollments e
  where e.user_id = (select auth.uid()) and e.tenant_id <> all (array(select private.closed_tenants()));
end
$$;

comment on function private.my_versions is
  'Versions that the caller takes or has taken. Who has left keeps the record of what it was, not the content.';

-- The content of a lesson, for REST: of versions that the caller takes or has completed, lessons that are open to them.
create function private.my_open_lessons()
returns table (version_id uuid, lesson_id uuid)
language plpgsql
stable security definer
rows 100
set search_path = ''
as $$
begin
  return query
  -- Materialised: what is closed is asked once for a cycle, and of those only where anything can be; left to itself, the
  -- planner asks it again for each lesson.
  with cycles as materialized (
    select
      e.version_id,
      case
        when (e.started_at is null and exists (select from lms.course_prerequisites p where p.course_id = e.course_id))
          or exists (
            select from lms.version_lessons g
            where g.version_id = e.version_id
              and (g.prerequisite_ids <> '{}' or g.release_after_days is not null or g.release_on is not null)
          )
        then array(select g.lesson_id from private.closed_lessons(e.id) g)
        else '{}'
      end as closed
    from (
      -- Of many cycles with one version the last one: what opens for somebody who begins again opens again.
      select distinct on (k.course_id, k.version_id) k.*
      from lms.enrollments k
      where k.user_id = (select auth.uid())
        and k.status in ('enrolled', 'in_progress', 'paused', 'completed')
        and (k.expires_at is null or k.expires_at > now())
        and k.tenant_id = any (array(select private.joined_tenants()))
      order by k.course_id, k.version_id, k.cycle desc
    ) e
    join lms.courses c on c.id = e.course_id and c.deleted_at is null
  )
  select l.version_id, l.lesson_id
  from cycles y
  join lms.version_lessons l on l.version_id = y.version_id and l.lesson_id <> all (y.closed);
end
$$;

comment on function private.my_open_lessons is 'Lessons whose content the caller may read because they take them.';
grant execute on function private.my_versions, private.my_open_lessons to authenticated, service_role;

create policy "Versions are seen by those enrolled, staff and scope" on lms.course_versions
  for select to authenticated
  using (
    id = any (array(select private.my_versions()))
    or course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_partly_where('catalog.read')))
  );

create policy "The lessons of a version are seen with it" on lms.version_lessons
  for select to authenticated
  using (
    version_id = any (array(select private.my_versions()))
    or course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_partly_where('catalog.read')))
  );

-- A preview can be taken back, by publishing or with its lesson: what an older version showed to everybody is no longer shown. Ids only, and not an
-- invoker's view: nobody who is shown a preview has to see the versions.
create view private.latest_versions as
  select v.id
  from lms.course_versions v
  where not exists (select from lms.course_versions later where later.course_id = v.course_id and later.number > v.number);

comment on view private.latest_versions is 'The latest version of each course, for the policies on what is shown as a preview.';
grant select on private.latest_versions to anon, authenticated;

create policy "Published previews are seen with their public course" on lms.version_blocks
  for select to anon
  using (
    is_preview
    and exists (select from lms.lessons l where l.id = lesson_id)
    and exists (select from private.latest_versions v where v.id = version_id)
  );

create policy "Published content is seen by those it is open to, and by staff" on lms.version_blocks
  for select to authenticated
  using (
    (
      is_preview
      and exists (select from lms.lessons l where l.id = lesson_id)
      and exists (select from private.latest_versions v where v.id = version_id)
    )
    or (version_id, lesson_id) in (select o.version_id, o.lesson_id from private.my_open_lessons() o)
    or course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
  );

create policy "The content of published previews is seen by everyone" on lms.block_revisions
  for select to anon
  using (exists (select from lms.version_blocks b where b.revision_id = block_revisions.id));

create policy "The content of blocks is seen with them" on lms.block_revisions
  for select to authenticated
  using (exists (select from lms.version_blocks b where b.revision_id = block_revisions.id));

-- =====================================================================================================
-- Moving people to another version
-- =====================================================================================================

create type lms.migration_preview as (
  enrollment_id uuid,
  user_id uuid,
  status text,
  from_version integer,
  to_version integer,
  moves boolean,
  items_done_before integer,
  items_total_before integer,
  items_done_after integer,
  items_total_after integer,
  percentage_before numeric,
  percentage_after numeric,
  completes boolean
);
comment on type lms.migration_preview is
  'One open enrolment: whether the policy moves it, and where its learner would stand then.';

create type lms.migration_result as (moved integer, kept integer, completed integer, gained integer, lost integer, remaining integer);
comment on type lms.migration_result is
  'How many open enrolments were moved and kept; of those moved, how many are completed thereby, gained or lost percentage; '
  'remaining: how many are still to be moved by calling again.';

create function private.migration_target(p_course_id uuid, p_policy text, p_version integer)
returns lms.course_versions
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_version lms.course_versions;
begin
  perform private.require_course_publisher(p_course_id);
  if p_policy is null or p_policy not in ('keep', 'move', 'move_if_not_started') then
    perform private.fail(
      'invalid_policy', 'The policy is keep, move or move_if_not_started.', 422, jsonb_build_object('field', 'p_policy')
    );
  end if;
  select * into v_version
  from lms.course_versions v
  where v.course_id = p_course_id and (p_version is null or v.number = p_version)
  order by v.number desc
  limit 1;
  if not found then
    perform private.fail('version_not_found', 'The course has no such version.', 404);
  end if;
  return v_version;
end
$$;

-- Where an enrolment would stand in another version: what count_for_version makes of it.
create function private.preview_migration_of(p_enrollment lms.enrollments, p_target lms.course_versions, p_policy text)
returns lms.migration_preview
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_preview lms.migration_preview;
  v_grade numeric := p_enrollment.final_grade;
begin
  select v.number into v_preview.from_version from lms.course_versions v where v.id = p_enrollment.version_id;
  v_preview.enrollment_id := p_enrollment.id;
  v_preview.user_id := p_enrollment.user_id;
  v_preview.status := p_enrollment.status;
  v_preview.to_version := p_target.number;
  v_preview.moves := p_enrollment.version_id <> p_target.id
    and (p_policy = 'move' or (p_policy = 'move_if_not_started' and p_enrollment.started_at is null));
  v_preview.items_done_before := p_enrollment.items_done;
  v_preview.items_total_before := p_enrollment.items_total;
  v_preview.percentage_before := p_enrollment.progress_percentage;
  v_preview.items_done_after := p_enrollment.items_done;
  v_preview.items_total_after := p_enrollment.items_total;
  if v_preview.moves then
    v_preview.items_total_after := p_target.items_total;
    select count(*) into v_preview.items_done_after
    from lms.version_lessons l
    left join lms.lesson_progress p on p.enrollment_id = p_enrollment.id and p.lesson_id = l.lesson_id
    where l.version_id = p_target.id and l.requires_completion and (
      p.completed_at is not null
      or (l.completion_rule = 'assessment' and private.lesson_evidence(p_enrollment.id, l) = 100)
    );
    v_preview.items_done_after := v_preview.items_done_after + (
      select count(*)
      from lms.version_assessments a
      left join lms.assessment_progress p on p.enrollment_id = p_enrollment.id and p.assessment_id = a.assessment_id
      where a.version_id = p_target.id and a.is_mandatory and coalesce(
        p.completed_at, (private.assessment_facts(p_enrollment.id, a.assessment_id, p_target.id)).completed_at
      ) is not null
    );
    if exists (
      select from lms.version_assessments a where a.version_id in (p_enrollment.version_id, p_target.id) and a.weight > 0
    ) then
      v_grade := private.weighted_grade(p_enrollment.id, p_target.id, true);
    end if;
  end if;
  v_preview.percentage_after := case
    when v_preview.items_total_after = 0 then 0
    else trunc(100.0 * v_preview.items_done_after / v_preview.items_total_after, 2)
  end;
  v_preview.completes := v_preview.moves and p_enrollment.status <> 'paused'
    and v_preview.items_total_after > 0 and v_preview.items_done_after >= v_preview.items_total_after
    and coalesce(v_grade, 0) >= (select c.required_score from lms.courses c where c.id = p_target.course_id);
  return v_preview;
end
$$;

create function lms.preview_enrollment_migration(
  p_course_id uuid,
  p_policy text,
  p_version integer default null,
  p_limit integer default 100,
  p_after_enrollment_id uuid default null
)
returns setof lms.migration_preview
language plpgsql
stable
rows 100
set search_path = ''
as $$
declare
  v_target lms.course_versions;
begin
  perform private.require_course(p_course_id);
  v_target := private.migration_target(p_course_id, p_policy, p_version);
  if p_limit is null or p_limit not between 1 and 1000 then
    perform private.fail('invalid_limit', 'The limit is a number from 1 to 1000.', 422, jsonb_build_object('field', 'p_limit'));
  end if;
  -- Read as the caller: whose enrolments they do not see, they are not shown here.
  return query
  select (private.preview_migration_of(e, v_target, p_policy)).*
  from lms.enrollments e
  where e.course_id = p_course_id and e.status in ('enrolled', 'in_progress', 'paused')
    and (p_after_enrollment_id is null or e.id > p_after_enrollment_id)
  order by e.id
  limit p_limit;
end
$$;

comment on function lms.preview_enrollment_migration is
  'What migrate_enrollments would do to each open enrolment that the caller sees: who moves, and who gains, loses or '
  'completes. Next page: p_after_enrollment_id = the last one received. 404 course_not_found, version_not_found; 403 when '
  'the caller is neither staff of the course nor allowed to publish; 422 invalid_policy, invalid_limit.';

create function private.move_enrollments(p_target lms.course_versions, p_policy text, p_limit integer)
returns lms.migration_result
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_result lms.migration_result := (0, 0, 0, 0, 0, 0);
  v_enrollment lms.enrollments;
  v_moved lms.enrollments;
begin
  perform private.require_course_publisher(p_target.course_id);
  for v_enrollment in
    select e.*
    from lms.enrollments e
    where e.course_id = p_target.course_id and e.status in ('enrolled', 'in_progress', 'paused')
      and e.version_id <> p_target.id
      and (p_policy = 'move' or (p_policy = 'move_if_not_started' and e.started_at is null))
    order by e.id
    limit p_limit
    for no key update
  loop
    update lms.enrollments e set version_id = p_target.id where e.id = v_enrollment.id;
    -- A lesson that the new version completes by its assessments may have them already.
    perform private.settle_assessment(e.id, a.assessment_id)
    from lms.enrollments e
    join lms.assessment_progress p on p.enrollment_id = e.id
    join lms.version_assessments a on a.version_id = p_target.id and a.assessment_id = p.assessment_id
    join lms.version_lessons l on l.version_id = p_target.id and l.lesson_id = a.lesson_id and l.completion_rule = 'assessment'
    where e.id = v_enrollment.id and e.status in ('enrolled', 'in_progress', 'paused');
    select * into v_moved from lms.enrollments e where e.id = v_enrollment.id;
    v_result.moved := v_result.moved + 1;
    v_result.completed := v_result.completed + (v_moved.status = 'completed')::integer;
    v_result.gained := v_result.gained + (v_moved.progress_percentage > v_enrollment.progress_percentage)::integer;
    v_result.lost := v_result.lost + (v_moved.progress_percentage < v_enrollment.progress_percentage)::integer;
  end loop;
  select
    count(*) filter (where p_policy = 'move' or (p_policy = 'move_if_not_started' and e.started_at is null)),
    count(*) filter (where not (p_policy = 'move' or (p_policy = 'move_if_not_started' and e.started_at is null)))
  into v_result.remaining, v_result.kept
  from lms.enrollments e
  where e.course_id = p_target.course_id and e.status in ('enrolled', 'in_progress', 'paused') and e.version_id <> p_target.id;
  return v_result;
end
$$;

create function lms.migrate_enrollments(
  p_course_id uuid, p_policy text, p_version integer default null, p_limit integer default 5000
)
returns lms.migration_result
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_target lms.course_versions;
begin
  perform private.require_course(p_course_id);
  v_target := private.migration_target(p_course_id, p_policy, p_version);
  if p_limit is null or p_limit not between 1 and 10000 then
    perform private.fail('invalid_limit', 'The limit is a number from 1 to 10000.', 422, jsonb_build_object('field', 'p_limit'));
  end if;
  return private.move_enrollments(v_target, p_policy, p_limit);
end
$$;

comment on function lms.migrate_enrollments is
  'Moves open enrolments to a version, the latest one by default: keep moves nobody, move everybody, move_if_not_started '
  'those who have not begun. Finished ones keep theirs. At most p_limit at a time: call again while remaining > 0. Each '
  'move is in the audit trail. Errors as preview_enrollment_migration.';

grant execute on function private.migration_target, private.preview_migration_of, private.move_enrollments
  to authenticated, service_role;
grant execute on function lms.preview_enrollment_migration, lms.migrate_enrollments to authenticated, service_role;

notify pgrst, 'reload schema';
