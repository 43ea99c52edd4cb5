-- Learning paths: courses in an order, and people on their way through them.
-- Undo: select cron.unschedule('lyceum:advance-learning-paths'); drop functions lms.*learning_path*, enroll_in_path,
-- continue_path, leave_path; drop types lms.path_standing, lms.path_course; drop tables lms.path_enrollments,
-- learning_path_courses, learning_paths; then the functions below.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Tables
-- =====================================================================================================

create table lms.learning_paths (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null constraint learning_path_belongs_to_a_tenant references lms.tenants (id),
  slug private.slug not null,
  title private.title not null,
  description text not null default '' constraint path_description_is_short check (length(description) <= 20000),
  language private.locale not null default 'en',
  is_ordered boolean not null default true,
  status text not null default 'draft' constraint path_status_is_known check (status in ('draft', 'published', 'archived')),
  visibility text not null default 'restricted'
    constraint path_visibility_is_known check (visibility in ('public', 'restricted')),
  thumbnail_url private.web_address,
  published_at timestamptz,
  deleted_at timestamptz,
  created_by uuid,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint learning_path_of_its_tenant unique (tenant_id, id),
  constraint path_slug_is_taken unique (tenant_id, slug),
  constraint path_has_a_publication_date_once_published check (status = 'draft' or published_at is not null)
);
create index learning_paths_by_tenant_and_age on lms.learning_paths (tenant_id, created_at desc, id desc);
create index learning_paths_by_author on lms.learning_paths (created_by);
create index learning_paths_open_to_everyone on lms.learning_paths (created_at desc, id desc)
  where status = 'published' and visibility = 'public' and deleted_at is null;

comment on table lms.learning_paths is 'Courses that belong together, with a completion of their own.';
comment on column lms.learning_paths.is_ordered is
  'True: people are enrolled in one required course after the other. False: in all of them at once.';
comment on column lms.learning_paths.status is
  'Changed by publish_learning_path and archive_learning_path, never by writing the row.';
comment on column lms.learning_paths.created_by is 'Who edits it, beside those with catalog.write.';

create table lms.learning_path_courses (
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  path_id uuid not null,
  course_id uuid not null,
  order_index integer not null default -1 constraint path_order_is_within_a_million check (order_index between 0 and 999999),
  is_required boolean not null default true,
  created_at timestamptz not null default now(),
  -- With the tenant, or the API does not embed through it.
  primary key (tenant_id, path_id, course_id),
  constraint path_course_is_of_the_same_tenant foreign key (tenant_id, path_id)
    references lms.learning_paths (tenant_id, id) on delete cascade,
  constraint course_of_path_is_of_the_same_tenant foreign key (tenant_id, course_id) references lms.courses (tenant_id, id),
  constraint path_order_is_taken exclude using btree (path_id with =, order_index with =) deferrable
);
create index learning_path_courses_by_course on lms.learning_path_courses (course_id);
create index learning_path_courses_by_course_of_tenant on lms.learning_path_courses (tenant_id, course_id);

comment on table lms.learning_path_courses is 'Which courses a path has, in order; required ones are its items.';
comment on column lms.learning_path_courses.tenant_id is 'Taken from the path.';
comment on column lms.learning_path_courses.order_index is 'Position in the path, from 0; left out, the course goes last.';

create table lms.path_enrollments (
  id uuid primary key default private.uuid_v7(),
  tenant_id uuid not null,
  path_id uuid not null,
  user_id uuid not null constraint path_enrollment_is_of_a_person references public.profiles (id),
  unit_id uuid,
  status text not null default 'enrolled',
  source text not null default 'self' constraint path_enrollment_source_is_known check (source in ('self', 'assigned')),
  enrolled_by uuid,
  due_at timestamptz constraint path_due_date_is_finite check (isfinite(due_at)),
  enrolled_at timestamptz not null default now(),
  started_at timestamptz,
  completed_at timestamptz,
  dropped_at timestamptz,
  items_total integer not null default 0,
  items_done integer not null default 0,
  -- As with courses: 100.00 means all of them, so it is cut off, never rounded up.
  progress_percentage numeric(5, 2) not null generated always as (
    case when items_total = 0 then 0 else trunc(100.0 * items_done / items_total, 2) end
  ) stored,
  advance_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint path_enrollment_path_is_of_the_same_tenant foreign key (tenant_id, path_id)
    references lms.learning_paths (tenant_id, id),
  constraint path_enrollment_is_of_a_member foreign key (tenant_id, user_id) references lms.memberships (tenant_id, user_id),
  constraint path_enrollment_unit_is_of_the_same_tenant foreign key (tenant_id, unit_id)
    references lms.org_units (tenant_id, id) on delete set null (unit_id),
  constraint path_status_is_known_and_its_dates_follow check (
    case status
      when 'enrolled' then started_at is null
      when 'in_progress' then started_at is not null
      when 'completed' then started_at is not null and completed_at >= enrolled_at and items_done = items_total
      when 'dropped' then true
      else false
    end
    and (status = 'completed') = (completed_at is not null)
    and (status = 'dropped') = (dropped_at is not null)
  ),
  constraint path_counters_are_in_range check (items_done between 0 and items_total)
);
create unique index one_open_path_enrollment on lms.path_enrollments (user_id, path_id)
  where status in ('enrolled', 'in_progress');
create index path_enrollments_by_user on lms.path_enrollments (user_id, enrolled_at desc, id desc);
create index path_enrollments_by_tenant on lms.path_enrollments (tenant_id, enrolled_at desc, id desc);
create index path_enrollments_by_unit on lms.path_enrollments (unit_id, enrolled_at desc, id desc);
create index path_enrollments_by_path on lms.path_enrollments (path_id, enrolled_at desc, id desc);
create index path_enrollments_by_path_of_tenant on lms.path_enrollments (tenant_id, path_id);
create index path_enrollments_by_member on lms.path_enrollments (tenant_id, user_id);
create index path_enrollments_by_unit_of_tenant on lms.path_enrollments (tenant_id, unit_id);
create index path_enrollments_to_advance on lms.path_enrollments (advance_at) where advance_at is not null;

comment on table lms.path_enrollments is
  'Somebody on their way through a path. Written by enroll_in_path and leave_path; counted from completed courses.';
comment on column lms.path_enrollments.status is
  'enrolled; in_progress once a required course is done; completed once all are; dropped by leave_path.';
comment on column lms.path_enrollments.unit_id is
  'Org unit at the time: an open one moves along with the person, a finished one stays.';
comment on column lms.path_enrollments.items_total is 'Required courses of the path.';
comment on column lms.path_enrollments.items_done is 'Those that the person has completed, whenever that was.';
comment on column lms.path_enrollments.advance_at is 'When the job enrols in what is open then; null when nothing is to be done.';

create trigger _100_timestamps before update on lms.learning_paths
  for each row execute function private.touch_updated_at();
create trigger _100_timestamps before update on lms.path_enrollments
  for each row execute function private.touch_updated_at();

-- =====================================================================================================
-- Helpers of policies
-- =====================================================================================================

create function private.my_paths()
returns setof uuid
language plpgsql
stable security definer
rows 5
set search_path = ''
as $$
begin
  return query
  select e.path_id
  from lms.path_enrollments e
  where e.user_id = (select auth.uid()) and e.status <> 'dropped'
    and e.tenant_id = any (array(select private.joined_tenants()));
end
$$;

comment on function private.my_paths is 'Paths that the caller is on or has completed, as an active member or guest.';
grant execute on function private.my_paths to authenticated, service_role;

-- =====================================================================================================
-- Authors
-- =====================================================================================================

create function private.claim_path()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if private.is_api_call() then
    new.created_by := (select auth.uid());
  end if;
  return new;
end
$$;

create trigger _200_claim before insert on lms.learning_paths
  for each row execute function private.claim_path();

-- Locks the path, so that two who append do not meet on one place, and nobody begins it with the old count in between.
create function private.place_path_course()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  select p.tenant_id into new.tenant_id from lms.learning_paths p where p.id = new.path_id for no key update;
  new.tenant_id := coalesce(new.tenant_id, '00000000-0000-0000-0000-000000000000');
  if (select count(*) from lms.learning_path_courses c where c.path_id = new.path_id) >= 100 then
    perform private.fail('path_is_full', 'A path has at most 100 courses.', 409, jsonb_build_object('path_id', new.path_id));
  end if;
  if new.order_index < 0 then
    select private.next_place(max(c.order_index)) into new.order_index
    from lms.learning_path_courses c
    where c.path_id = new.path_id;
  end if;
  return new;
end
$$;

create trigger _200_place before insert on lms.learning_path_courses
  for each row execute function private.place_path_course();

-- People who are assigned a path are enrolled in its courses. Through a path of their own, an author must not fill
-- somebody else's course that its staff keeps closed, private or for money.
create function private.check_path_course()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if private.is_api_call()
    and not new.tenant_id = any (array(select private.tenants_where('catalog.write')))
    and not new.course_id = any (array(select private.staffed_courses()))
    and not exists (
      select
      from lms.courses c
      where c.id = new.course_id and c.visibility <> 'private' and c.self_enrollment = 'open' and c.price = 0
    )
  then
    raise insufficient_privilege using
      message = 'A course that is not open to learners is put into a path by its staff, or with catalog.write.';
  end if;
  return new;
end
$$;

create trigger _250_open before insert on lms.learning_path_courses
  for each row execute function private.check_path_course();

-- =====================================================================================================
-- Where somebody stands
-- =====================================================================================================

-- For whoever writes: what is finished is never reopened, dates follow from the status, and whoever has done everything
-- has completed the path.
create function private.settle_path_enrollment()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if tg_op = 'UPDATE' then
    if (new.id, new.tenant_id, new.path_id, new.user_id) is distinct from (old.id, old.tenant_id, old.path_id, old.user_id) then
      raise insufficient_privilege using message = 'A path enrolment keeps its person and its path.';
    end if;
    if new.status is distinct from old.status
      and (old.status in ('completed', 'dropped') or (old.status = 'in_progress' and new.status = 'enrolled'))
    then
      perform private.fail(
        'transition_not_allowed', format('A path enrolment that is %s cannot become %s.', old.status, new.status), 409,
        jsonb_build_object('from', old.status, 'to', new.status)
      );
    end if;
  end if;
  if new.status in ('enrolled', 'in_progress') then
    if new.items_total > 0 and new.items_done >= new.items_total then
      new.status := 'completed';
    elsif new.items_done > 0 then
      new.status := 'in_progress';
    end if;
  end if;
  if new.status in ('in_progress', 'completed') then
    new.started_at := coalesce(new.started_at, new.completed_at, now());
  end if;
  new.completed_at := case when new.status = 'completed' then coalesce(new.completed_at, now()) end;
  new.dropped_at := case when new.status = 'dropped' then coalesce(new.dropped_at, now()) end;
  if new.status in ('completed', 'dropped') then
    new.advance_at := null;
  end if;
  return new;
end
$$;

-- Joining a public path is one of the ways to belong, as a guest; not the way back for somebody whose membership has ended.
-- In a trigger, because nobody becomes a member by a statement of a client's.
create function private.admit_to_path()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if private.is_api_call() and new.user_id = (select auth.uid()) and exists (
    select
    from lms.learning_paths p
    where p.id = new.path_id and p.status = 'published' and p.visibility = 'public' and p.deleted_at is null
  ) then
    insert into lms.memberships (tenant_id, user_id, is_guest) values (new.tenant_id, new.user_id, true)
    on conflict (tenant_id, user_id) do nothing;
  end if;
  select m.unit_id into new.unit_id
  from lms.memberships m
  where m.tenant_id = new.tenant_id and m.user_id = new.user_id;
  return new;
end
$$;

create trigger _150_admit before insert on lms.path_enrollments
  for each row execute function private.admit_to_path();
create trigger _200_settle before insert or update on lms.path_enrollments
  for each row execute function private.settle_path_enrollment();

create function private.take_path_enrollments_along()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  update lms.path_enrollments e
  set unit_id = new.unit_id
  where e.tenant_id = new.tenant_id and e.user_id = new.user_id and e.status in ('enrolled', 'in_progress');
  return null;
end
$$;

create trigger _510_path_enrollments_follow after update of unit_id on lms.memberships
  for each row when (old.unit_id is distinct from new.unit_id)
  execute function private.take_path_enrollments_along();

-- An item is a required course that has not been deleted. It is done when the person has completed a cycle of it, whenever
-- that was: what somebody knows already, the path does not ask again.
create function private.count_path_items(p_path_id uuid, p_user_id uuid, out total integer, out done integer)
language sql
stable
set search_path = ''
as $$
  select
    count(*)::integer,
    (count(*) filter (where exists (
      select from lms.enrollments e where e.user_id = p_user_id and e.course_id = p.course_id and e.status = 'completed'
    )))::integer
  from lms.learning_path_courses p
  join lms.courses c on c.id = p.course_id and c.deleted_at is null
  where p.path_id = p_path_id and p.is_required
$$;

-- The rows are locked first and counted by the next statement, which sees what was done before the lock was given: of two
-- courses completed at once, the second one counts both. In the order of their ids, as everywhere.
create function private.recount_path_enrollments(p_ids uuid[], p_changed boolean)
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  perform from lms.path_enrollments e
  where e.id = any (p_ids) and e.status in ('enrolled', 'in_progress')
  order by e.id
  for no key update;
  update lms.path_enrollments e
  set items_total = n.total,
      items_done = n.done,
      -- Having done a course opens the next one. What authors add later is for those whom staff has assigned the path.
      advance_at = case
        when p_changed and e.source = 'assigned' then now()
        when not p_changed and n.is_ordered then now()
        else e.advance_at
      end
  from (
    select o.id, c.total, c.done, p.is_ordered
    from lms.path_enrollments o
    join lms.learning_paths p on p.id = o.path_id
    cross join lateral private.count_path_items(o.path_id, o.user_id) c
    where o.id = any (p_ids)
  ) n
  where e.id = n.id and e.status in ('enrolled', 'in_progress') and (e.items_total, e.items_done) is distinct from (n.total, n.done);
end
$$;

comment on function private.recount_path_enrollments is 'Sets the counters of open path enrolments from the facts.';

-- Whoever completes a course that is in no path pays one look into an index.
create function private.advance_paths()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_ids uuid[];
begin
  if exists (select from lms.learning_path_courses c where c.course_id = new.course_id) then
    v_ids := array(
      select e.id
      from lms.path_enrollments e
      join lms.learning_path_courses c on c.path_id = e.path_id and c.course_id = new.course_id and c.is_required
      where e.user_id = new.user_id and e.status in ('enrolled', 'in_progress')
    );
    if cardinality(v_ids) > 0 then
      perform private.recount_path_enrollments(v_ids, false);
    end if;
  end if;
  return null;
end
$$;

create trigger _600_advance_paths after update on lms.enrollments
  for each row when (new.status = 'completed' and old.status <> 'completed')
  execute function private.advance_paths();
create trigger _600_advance_paths_imported after insert on lms.enrollments
  for each row when (new.status = 'completed')
  execute function private.advance_paths();

-- When the courses of paths change, everybody on them is counted again. Locks: the path, so that nobody begins meanwhile;
-- then the learners' open cycles, or one that is being completed would see the old path, and this the old cycle.
create function private.recount_paths(p_path_ids uuid[])
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  if coalesce(cardinality(p_path_ids), 0) = 0 then
    return;
  end if;
  perform from lms.learning_paths p where p.id = any (p_path_ids) order by p.id for no key update;
  perform from lms.enrollments e
  -- A cycle that has run out is completed by nobody, and whoever enrols again holds it.
  where e.status in ('enrolled', 'in_progress', 'paused') and (e.expires_at is null or e.expires_at > now())
    and (e.user_id, e.course_id) in (
      select o.user_id, c.course_id
      from lms.path_enrollments o
      join lms.learning_path_courses c on c.path_id = o.path_id
      where o.path_id = any (p_path_ids) and o.status in ('enrolled', 'in_progress')
    )
  order by e.id
  for no key update;
  perform private.recount_path_enrollments(
    array(select o.id from lms.path_enrollments o where o.path_id = any (p_path_ids) and o.status in ('enrolled', 'in_progress')),
    true
  );
end
$$;

create function private.recount_after_added_path_courses()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.recount_paths(array(select distinct n.path_id from new_rows n where n.is_required));
  return null;
end
$$;

create function private.recount_after_changed_path_courses()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.recount_paths(array(
    select r.path_id
    from (
      select n.path_id, n.course_id, n.is_required from new_rows n
      except
      select o.path_id, o.course_id, o.is_required from old_rows o
    ) r
    union
    select r.path_id
    from (
      select o.path_id, o.course_id, o.is_required from old_rows o
      except
      select n.path_id, n.course_id, n.is_required from new_rows n
    ) r
  ));
  return null;
end
$$;

create function private.recount_after_removed_path_courses()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.recount_paths(array(select distinct o.path_id from old_rows o where o.is_required));
  return null;
end
$$;

create trigger _600_recount_added after insert on lms.learning_path_courses
  referencing new table as new_rows
  for each statement execute function private.recount_after_added_path_courses();
create trigger _600_recount_changed after update on lms.learning_path_courses
  referencing old table as old_rows new table as new_rows
  for each statement execute function private.recount_after_changed_path_courses();
create trigger _600_recount_removed after delete on lms.learning_path_courses
  referencing old table as old_rows
  for each statement execute function private.recount_after_removed_path_courses();

create function private.recount_paths_of_course()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.recount_paths(array(
    select c.path_id from lms.learning_path_courses c where c.course_id = new.id and c.is_required
  ));
  return null;
end
$$;

create trigger _600_recount_paths after update of deleted_at on lms.courses
  for each row when ((old.deleted_at is null) <> (new.deleted_at is null))
  execute function private.recount_paths_of_course();

-- =====================================================================================================
-- Publishing, archiving, deleting
-- =====================================================================================================

-- Definer, because `status` and `deleted_at` are granted to nobody; so it checks its caller.
create function private.set_path_status(p_path_id uuid, p_status text)
returns lms.learning_paths
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_path lms.learning_paths;
  v_faults jsonb;
begin
  select * into v_path from lms.learning_paths p where p.id = p_path_id for no key update;
  if private.is_api_call() and not coalesce(
    (v_path.created_by = (select auth.uid()) and v_path.tenant_id = any (array(select private.tenants_partly_where('catalog.author'))))
      or v_path.tenant_id = any (array(select private.tenants_where('catalog.publish'))),
    false
  ) then
    raise insufficient_privilege using message = 'Publishing takes being the author of the path, or catalog.publish.';
  end if;
  if p_status = 'published' then
    select jsonb_agg(f.fault) into v_faults
    from (
      select jsonb_build_object('code', 'no_required_course', 'message', 'The path has no required course.') as fault
      where (select n.total from private.count_path_items(p_path_id, null) n) = 0
      union all
      select jsonb_build_object(
        'code', 'course_not_published', 'message', 'A required course is not published.', 'course_id', c.id
      )
      from lms.learning_path_courses p
      join lms.courses c on c.id = p.course_id and c.deleted_at is null and c.status <> 'published'
      where p.path_id = p_path_id and p.is_required
    ) f;
    if v_faults is not null then
      perform private.fail('not_publishable', 'The path cannot be published yet.', 409, v_faults);
    end if;
  end if;
  update lms.learning_paths p
  set status = p_status, published_at = coalesce(p.published_at, now())
  where p.id = p_path_id
  returning * into v_path;
  return v_path;
end
$$;

create function lms.publish_learning_path(p_path_id uuid)
returns lms.learning_paths
language plpgsql
volatile
set search_path = ''
as $$
begin
  if not exists (select from lms.learning_paths p where p.id = p_path_id and p.deleted_at is null) then
    perform private.fail('path_not_found', 'There is no such path.', 404);
  end if;
  return private.set_path_status(p_path_id, 'published');
end
$$;

comment on function lms.publish_learning_path is
  'Makes a path visible and open to enrolment. Lists all faults at once: 409 not_publishable, details = '
  '[{code, message, course_id}]. 404 path_not_found; 403 when the caller is neither its author nor allowed to publish.';

create function lms.archive_learning_path(p_path_id uuid)
returns lms.learning_paths
language plpgsql
volatile
set search_path = ''
as $$
begin
  if not exists (select from lms.learning_paths p where p.id = p_path_id and p.deleted_at is null) then
    perform private.fail('path_not_found', 'There is no such path.', 404);
  end if;
  return private.set_path_status(p_path_id, 'archived');
end
$$;

comment on function lms.archive_learning_path is 'Closes a path to new enrolment; those on it keep it.';

-- INV-C3. Who may not restore a deleted path is told that there is none, like everybody.
create function private.set_path_deleted(p_path_id uuid, p_deleted boolean)
returns lms.learning_paths
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_path lms.learning_paths;
begin
  select * into v_path from lms.learning_paths p where p.id = p_path_id for no key update;
  if not found or (private.is_api_call() and not coalesce(
    (v_path.created_by = (select auth.uid()) and v_path.tenant_id = any (array(select private.tenants_partly_where('catalog.author'))))
      or v_path.tenant_id = any (array(select private.tenants_where('catalog.write'))),
    false
  )) then
    if p_deleted then
      raise insufficient_privilege using message = 'Deleting takes being the author of the path, or catalog.write.';
    end if;
    perform private.fail('path_not_found', 'There is no such path.', 404);
  end if;
  update lms.learning_paths p
  set deleted_at = case when p_deleted then coalesce(p.deleted_at, now()) end
  where p.id = p_path_id
  returning * into v_path;
  return v_path;
end
$$;

create function lms.delete_learning_path(p_path_id uuid)
returns lms.learning_paths
language plpgsql
volatile
set search_path = ''
as $$
begin
  if not exists (select from lms.learning_paths p where p.id = p_path_id) then
    perform private.fail('path_not_found', 'There is no such path.', 404);
  end if;
  return private.set_path_deleted(p_path_id, true);
end
$$;

comment on function lms.delete_learning_path is
  'Takes a path away from everybody; who was on it keeps the record. By its author or with catalog.write. '
  'restore_learning_path brings it back. 404 path_not_found; 403 for others; 409 named_by_rules while assignment rules name it.';

create function lms.restore_learning_path(p_path_id uuid)
returns lms.learning_paths
language plpgsql
volatile
set search_path = ''
as $$
begin
  return private.set_path_deleted(p_path_id, false);
end
$$;

comment on function lms.restore_learning_path is
  'Brings a deleted path back as it was. By its author or with catalog.write. 404 path_not_found, for others as well.';

grant execute on function private.set_path_status, private.set_path_deleted to authenticated, service_role;
grant execute on function
  lms.publish_learning_path, lms.archive_learning_path, lms.delete_learning_path, lms.restore_learning_path
to authenticated, service_role;

-- =====================================================================================================
-- Reading
-- =====================================================================================================

create type lms.path_course as (
  course_id uuid,
  title text,
  order_index integer,
  is_required boolean,
  state text,
  enrollment_id uuid,
  percentage numeric,
  obstacles lms.eligibility_reason[]
);
create type lms.path_standing as (
  path_id uuid,
  title text,
  description text,
  is_ordered boolean,
  path_status text,
  path_enrollment_id uuid,
  user_id uuid,
  status text,
  due_at timestamptz,
  items_total integer,
  items_done integer,
  percentage numeric,
  courses lms.path_course[]
);

comment on type lms.path_course is
  'A course of a path. state: completed, enrolled, open (may be begun now), locked (a required course before it is not '
  'done). obstacles: why enrolling failed just now. The title is null while the caller may not see the course.';
comment on type lms.path_standing is 'A path with its courses in order, and where somebody stands in it.';

-- As the caller. `p_obstacles`: {course id: [{code, message, details}]} of the enrolments just tried.
create function private.read_path(p_path_id uuid, p_user_id uuid, p_obstacles jsonb default '{}')
returns lms.path_standing
language plpgsql
stable
set search_path = ''
as $$
declare
  v_path lms.path_standing;
  v_cycles jsonb := jsonb_build_object();
begin
  select p.id, p.title, p.description, p.is_ordered, p.status
  into v_path.path_id, v_path.title, v_path.description, v_path.is_ordered, v_path.path_status
  from lms.learning_paths p
  where p.id = p_path_id and p.deleted_at is null;
  if not found then
    perform private.fail('path_not_found', 'There is no such path.', 404);
  end if;

  -- Anonymous callers hold no right on enrolments: for them these are never planned.
  if p_user_id is not null then
    select e.id, e.user_id, e.status, e.due_at, e.items_total, e.items_done, e.progress_percentage
    into v_path.path_enrollment_id, v_path.user_id, v_path.status, v_path.due_at, v_path.items_total, v_path.items_done,
      v_path.percentage
    from lms.path_enrollments e
    where e.path_id = p_path_id and e.user_id = p_user_id
    order by e.enrolled_at desc, e.id desc
    limit 1;
    select coalesce(jsonb_object_agg(l.course_id, jsonb_build_object(
      'id', l.id, 'percentage', l.progress_percentage, 'is_done', l.is_done, 'is_open', l.is_open
    )), '{}')
    into v_cycles
    from (
      select distinct on (e.course_id)
        e.course_id, e.id, e.progress_percentage,
        bool_or(e.status = 'completed') over (partition by e.course_id) as is_done,
        bool_or(e.status in ('enrolled', 'in_progress', 'paused') and (e.expires_at is null or e.expires_at > now()))
          over (partition by e.course_id) as is_open
      from lms.enrollments e
      where e.user_id = p_user_id
        and e.course_id = any (array(select c.course_id from lms.learning_path_courses c where c.path_id = p_path_id))
      order by e.course_id, e.cycle desc
    ) l;
  end if;

  select
    coalesce(array_agg((
      s.course_id, s.title, s.order_index, s.is_required,
      case when s.is_done then 'completed' when s.is_open then 'enrolled' when s.waits then 'locked' else 'open' end,
      s.enrollment_id, s.percentage,
      array(select (o.code, o.message, o.details)::lms.eligibility_reason from jsonb_to_recordset(p_obstacles -> s.course_id::text) as o (code text, message text, details jsonb))
    )::lms.path_course order by s.order_index), '{}'),
    coalesce(v_path.items_total, count(*) filter (where s.is_required)),
    coalesce(v_path.items_done, count(*) filter (where s.is_required and s.is_done))
  into v_path.courses, v_path.items_total, v_path.items_done
  from (
    select
      d.*,
      coalesce(v_path.is_ordered and bool_or(d.is_required and not d.is_done) over (
        order by d.order_index rows between unbounded preceding and 1 preceding
      ), false) as waits
    from (
      select
        p.course_id, c.title, p.order_index, p.is_required,
        coalesce((v_cycles -> p.course_id::text ->> 'is_done')::boolean, false) as is_done,
        coalesce((v_cycles -> p.course_id::text ->> 'is_open')::boolean, false) as is_open,
        (v_cycles -> p.course_id::text ->> 'id')::uuid as enrollment_id,
        coalesce((v_cycles -> p.course_id::text ->> 'percentage')::numeric, 0) as percentage
      from lms.learning_path_courses p
      left join lms.courses c on c.id = p.course_id
      where p.path_id = p_path_id
    ) d
  ) s;
  v_path.percentage := coalesce(
    v_path.percentage, case when v_path.items_total = 0 then 0 else trunc(100.0 * v_path.items_done / v_path.items_total, 2) end
  );
  return v_path;
end
$$;

create function lms.get_learning_path(p_path_id uuid)
returns lms.path_standing
language plpgsql
stable
set search_path = ''
as $$
begin
  return private.read_path(p_path_id, (select auth.uid()));
end
$$;

comment on function lms.get_learning_path is
  'A path with its courses in order, and where the caller stands in it, in one call. 404 path_not_found.';

grant execute on function private.read_path, lms.get_learning_path to anon, authenticated, service_role;

-- =====================================================================================================
-- Beginning and going on
-- =====================================================================================================
-- Locks in this order, here and above: course, membership, path, enrolment, path enrolment. The calls enrol in courses as
-- their caller, in the order of the courses' ids, by the same insert as everybody; so all the rules of enrolment hold.

create function private.require_path_right(p_path lms.learning_paths, p_user_id uuid)
returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  if private.is_api_call() and p_user_id is distinct from (select auth.uid()) and not private.may_assign_path(p_path.tenant_id, p_user_id) then
    raise insufficient_privilege using message = 'Enrolling other people in a path takes enrollments.write in their unit.';
  end if;
end
$$;

create function private.may_assign_path(p_tenant_id uuid, p_user_id uuid)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return coalesce(
    p_tenant_id = any (array(select private.tenants_where('enrollments.write')))
    or exists (
      select
      from lms.memberships m
      where m.tenant_id = p_tenant_id and m.user_id = p_user_id
        and m.unit_id = any (array(select private.units_where('enrollments.write')))
    ),
    false
  );
end
$$;

-- The required courses to be enrolled in now: all that are not done, or of an ordered path the first one; not those that
-- the person is taking.
create function private.open_path_courses(p_path_id uuid, p_user_id uuid)
returns uuid[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select s.course_id
    from (
      select p.course_id, not l.is_ordered or p.order_index = min(p.order_index) over () as is_next
      from lms.learning_path_courses p
      join lms.learning_paths l on l.id = p.path_id
      join lms.courses c on c.id = p.course_id and c.deleted_at is null
      where p.path_id = p_path_id and p.is_required and not exists (
        select from lms.enrollments e where e.user_id = p_user_id and e.course_id = p.course_id and e.status = 'completed'
      )
    ) s
    where s.is_next and not exists (
      select
      from lms.enrollments e
      where e.user_id = p_user_id and e.course_id = s.course_id and e.status in ('enrolled', 'in_progress', 'paused')
        and (e.expires_at is null or e.expires_at > now())
    )
    order by s.course_id
  );
end
$$;

-- First step: may this person be on this path, and in which courses are they to be enrolled? What must be read past the
-- caller's own view is read here, so it checks them. The row that it begins cannot be waited for by anybody, as long as it
-- is not committed; it is counted in the last step.
create function private.prepare_path(p_path_id uuid, p_user_id uuid, p_due_at timestamptz, p_begin boolean)
returns uuid[]
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_self constant boolean := p_user_id is not distinct from (select auth.uid());
  v_path lms.learning_paths;
  v_is_active boolean;
  v_member lms.memberships;
  v_is_on_it boolean;
  v_reasons lms.eligibility_reason[] := '{}'::lms.eligibility_reason[];
begin
  select * into v_path from lms.learning_paths p where p.id = p_path_id;
  perform private.require_path_right(v_path, p_user_id);
  if private.is_api_call() and p_due_at is not null and not private.may_assign_path(v_path.tenant_id, p_user_id) then
    raise insufficient_privilege using message = 'Due dates are set by staff.';
  end if;
  select t.is_active into v_is_active from lms.tenants t where t.id = v_path.tenant_id;
  perform private.hold_course(c.course_id)
  from unnest(private.open_path_courses(p_path_id, p_user_id)) as c (course_id);
  select * into v_member
  from lms.memberships m
  where m.tenant_id = v_path.tenant_id and m.user_id = p_user_id
  for no key update;
  v_is_on_it := exists (
    select
    from lms.path_enrollments e
    where e.path_id = p_path_id and e.user_id = p_user_id and e.status in ('enrolled', 'in_progress')
  );
  if not v_is_on_it and not p_begin then
    perform private.fail(
      'path_enrollment_not_found', 'The person is not on this path.', 404, null, 'Enrol first: lms.enroll_in_path.'
    );
  end if;

  if not v_is_active then
    v_reasons := v_reasons || ('tenant_inactive', 'The organisation is not active.', null)::lms.eligibility_reason;
  end if;
  if v_member.status = 'suspended' then
    v_reasons := v_reasons || ('membership_suspended', 'The membership is suspended.', null)::lms.eligibility_reason;
  elsif v_member.status = 'ended' or (v_member.id is null and not (v_self and v_path.visibility = 'public')) then
    v_reasons := v_reasons || ('not_a_member', 'The person is not a member of the organisation.', null)::lms.eligibility_reason;
  end if;
  if not v_is_on_it and v_path.status <> 'published' then
    v_reasons := v_reasons || (
      'not_published', 'The path is not published.', jsonb_build_object('status', v_path.status)
    )::lms.eligibility_reason;
  end if;
  if cardinality(v_reasons) > 0 then
    perform private.refuse_enrollment(v_reasons);
  end if;

  if not v_is_on_it then
    -- Nothing new to be done since the path was completed: that is the answer.
    if exists (
      select
      from lms.path_enrollments e, private.count_path_items(p_path_id, p_user_id) n
      where e.path_id = p_path_id and e.user_id = p_user_id and e.status = 'completed' and n.total = n.done
    ) then
      return '{}'::uuid[];
    end if;
    insert into lms.path_enrollments (tenant_id, path_id, user_id, source, enrolled_by, due_at)
    values (
      v_path.tenant_id, p_path_id, p_user_id, case when v_self then 'self' else 'assigned' end, (select auth.uid()), p_due_at
    )
    on conflict (user_id, path_id) where status in ('enrolled', 'in_progress') do nothing;
  elsif not v_self then
    -- Who joined on their own is assigned it now.
    update lms.path_enrollments e
    set source = 'assigned', enrolled_by = (select auth.uid()), due_at = coalesce(p_due_at, e.due_at)
    where e.path_id = p_path_id and e.user_id = p_user_id and e.status in ('enrolled', 'in_progress')
      and (e.source <> 'assigned' or p_due_at is not null);
  end if;
  return private.open_path_courses(p_path_id, p_user_id);
end
$$;

-- Second step, as the caller: enrols in the courses, and returns what stood in the way, by course.
create function private.enter_path_courses(p_course_ids uuid[], p_user_id uuid)
returns jsonb
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_course_id uuid;
  v_obstacles jsonb := jsonb_build_object();
  v_reasons jsonb;
  v_error jsonb;
begin
  foreach v_course_id in array p_course_ids loop
    v_reasons := null;
    begin
      if not private.is_api_call() then
        -- The service's inserts are imports, which pass the rules; here they are to hold.
        select jsonb_agg(to_jsonb(r)) into v_reasons
        from private.enrollment_obstacles_for_caller(v_course_id, p_user_id) r;
      end if;
      if v_reasons is null then
        insert into lms.enrollments (course_id, user_id) values (v_course_id, p_user_id);
      end if;
    exception
      when sqlstate 'PGRST' then
        v_error := sqlerrm::jsonb;
        v_reasons := case v_error ->> 'code'
          when 'not_eligible' then (v_error ->> 'details')::jsonb
          when 'course_not_found' then
            '[{"code": "not_visible", "message": "The course is not open to this person.", "details": null}]'
          else jsonb_build_array(jsonb_build_object('code', v_error ->> 'code', 'message', v_error ->> 'message', 'details', null))
        end;
    end;
    if v_reasons is not null then
      v_obstacles := v_obstacles || jsonb_build_object(v_course_id, v_reasons);
    end if;
  end loop;
  return v_obstacles;
end
$$;

-- Third step: counts, once nobody can complete a course unseen. Returns the obstacles, with those replaced that staff's
-- assignment overrules: the job then enrols in the name of the assignment.
create function private.settle_path(p_path_id uuid, p_user_id uuid, p_obstacles jsonb)
returns jsonb
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_path lms.learning_paths;
  v_id uuid;
  v_source text;
  v_shortly jsonb := jsonb_build_object();
begin
  select * into v_path from lms.learning_paths p where p.id = p_path_id for share;
  perform private.require_path_right(v_path, p_user_id);
  perform from lms.enrollments e
  where e.user_id = p_user_id and e.status in ('enrolled', 'in_progress', 'paused')
    and e.course_id in (select c.course_id from lms.learning_path_courses c where c.path_id = p_path_id)
  order by e.id
  for no key update;
  select e.id, e.source into v_id, v_source
  from lms.path_enrollments e
  where e.path_id = p_path_id and e.user_id = p_user_id and e.status in ('enrolled', 'in_progress');
  if found then
    perform private.recount_path_enrollments(array[v_id], false);
    if v_source = 'assigned' and p_user_id is not distinct from (select auth.uid()) then
      select coalesce(jsonb_object_agg(o.key, jsonb_build_array(jsonb_build_object(
        'code', 'enrolled_shortly',
        'message', 'Staff has assigned this course: the enrolment follows within minutes.',
        'details', null
      ))), '{}')
      into v_shortly
      from jsonb_each(p_obstacles) o
      where not exists (select from private.enrollment_obstacles(o.key::uuid, p_user_id, false));
    end if;
    update lms.path_enrollments e
    set advance_at = case when v_shortly <> '{}' then now() when p_obstacles <> '{}' then now() + interval '1 day' end
    where e.id = v_id and e.status in ('enrolled', 'in_progress');
  end if;
  return p_obstacles || v_shortly;
end
$$;

create function lms.enroll_in_path(p_path_id uuid, p_user_id uuid default null, p_due_at timestamptz default null)
returns lms.path_standing
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_user_id constant uuid := coalesce(p_user_id, (select auth.uid()));
  v_courses uuid[];
  v_obstacles jsonb;
begin
  if v_user_id is null then
    perform private.fail('user_required', 'Nobody to enrol: sign in, or name the learner.', 400);
  end if;
  -- Read as the caller: a path that they cannot see does not exist for them.
  if not exists (select from lms.learning_paths p where p.id = p_path_id and p.deleted_at is null) then
    perform private.fail('path_not_found', 'There is no such path.', 404);
  end if;
  v_courses := private.prepare_path(p_path_id, v_user_id, p_due_at, true);
  v_obstacles := private.enter_path_courses(v_courses, v_user_id);
  v_obstacles := private.settle_path(p_path_id, v_user_id, v_obstacles);
  return private.read_path(p_path_id, v_user_id, v_obstacles);
end
$$;

comment on function lms.enroll_in_path is
  'Puts the caller, or with enrollments.write somebody else, on a path, enrols them in the required courses that are open '
  'now, and returns where they stand; each course says what kept one out of it. Doing it again changes nothing. 404 '
  'path_not_found; 409 not_eligible with details = [{code, message, details}]; 403 without rights.';

create function lms.continue_path(p_path_id uuid)
returns lms.path_standing
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_user_id constant uuid := (select auth.uid());
  v_courses uuid[];
  v_obstacles jsonb;
begin
  if v_user_id is null then
    perform private.fail('user_required', 'Sign in to go on.', 400);
  end if;
  if not exists (select from lms.learning_paths p where p.id = p_path_id and p.deleted_at is null) then
    perform private.fail('path_not_found', 'There is no such path.', 404);
  end if;
  -- Completed: there is nothing to go on with.
  if not exists (
    select
    from lms.path_enrollments e
    where e.path_id = p_path_id and e.user_id = v_user_id and e.status in ('enrolled', 'in_progress')
  ) and exists (
    select from lms.path_enrollments e where e.path_id = p_path_id and e.user_id = v_user_id and e.status = 'completed'
  ) then
    return private.read_path(p_path_id, v_user_id);
  end if;
  v_courses := private.prepare_path(p_path_id, v_user_id, null, false);
  v_obstacles := private.enter_path_courses(v_courses, v_user_id);
  v_obstacles := private.settle_path(p_path_id, v_user_id, v_obstacles);
  return private.read_path(p_path_id, v_user_id, v_obstacles);
end
$$;

comment on function lms.continue_path is
  'Enrols the caller in the required courses of their path that are open now, and returns where they stand. 404 '
  'path_not_found, path_enrollment_not_found; 409 not_eligible.';

create function private.drop_path(p_path_id uuid, p_user_id uuid)
returns lms.path_enrollments
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_enrollment lms.path_enrollments;
begin
  select * into v_enrollment
  from lms.path_enrollments e
  where e.path_id = p_path_id and e.user_id = p_user_id
  order by e.status in ('enrolled', 'in_progress') desc, e.enrolled_at desc, e.id desc
  limit 1
  for no key update;
  if private.is_api_call() and not coalesce(
    (p_user_id = (select auth.uid()) and v_enrollment.tenant_id = any (array(select private.joined_tenants())))
      or private.may_assign_path(v_enrollment.tenant_id, p_user_id),
    false
  ) then
    raise insufficient_privilege using message = 'Taking somebody off a path takes being that person, or enrollments.write in their unit.';
  end if;
  if v_enrollment.status <> 'dropped' then
    update lms.path_enrollments e set status = 'dropped' where e.id = v_enrollment.id returning * into v_enrollment;
  end if;
  return v_enrollment;
end
$$;

create function lms.leave_path(p_path_id uuid, p_user_id uuid default null)
returns lms.path_enrollments
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_user_id constant uuid := coalesce(p_user_id, (select auth.uid()));
begin
  -- Read as the caller: somebody else's way does not exist for them.
  if not exists (select from lms.path_enrollments e where e.path_id = p_path_id and e.user_id = v_user_id) then
    perform private.fail('path_enrollment_not_found', 'The person is not on this path.', 404);
  end if;
  return private.drop_path(p_path_id, v_user_id);
end
$$;

comment on function lms.leave_path is
  'Takes the caller, or with enrollments.write somebody else, off a path; enrolments in its courses stay. 404 '
  'path_enrollment_not_found; 409 transition_not_allowed once it is completed; 403 without rights.';

grant execute on function
  private.prepare_path, private.enter_path_courses, private.settle_path, private.drop_path
to authenticated, service_role;
grant execute on function lms.enroll_in_path, lms.continue_path, lms.leave_path to authenticated, service_role;

-- =====================================================================================================
-- Job
-- =====================================================================================================

-- Whoever has done a course is enrolled in the next one, in the capacity in which they are on the path: by the rules for
-- learners, or as staff assigned it. What is closed to them is tried again a day later. Courses are gone through in the
-- order of their ids, and what somebody else is working on, course or membership, waits for the next run: so the job, which
-- holds its locks for all of a batch, waits for nobody who might wait for it.
create function ops.advance_learning_paths(p_batch integer default 500)
returns integer
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_due uuid[];
  v_pair record;
  v_stuck uuid[] := '{}'::uuid[];
  v_busy uuid[] := '{}'::uuid[];
  v_done integer := 0;
begin
  v_due := array(select e.id from lms.path_enrollments e where e.advance_at <= now() order by e.advance_at, e.id limit p_batch);
  for v_pair in
    select e.id, e.tenant_id, e.user_id, e.enrolled_by, e.source, c.course_id
    from lms.path_enrollments e
    join lms.learning_paths p on p.id = e.path_id and p.deleted_at is null
    cross join lateral unnest(private.open_path_courses(e.path_id, e.user_id)) as c (course_id)
    where e.id = any (v_due) and e.status in ('enrolled', 'in_progress')
    order by c.course_id, e.user_id
  loop
    -- As admission does it: seats are counted while the course is held.
    if not private.hold_course(v_pair.course_id, p_wait => false) then
      v_busy := v_busy || v_pair.id;
      continue;
    end if;
    perform from lms.memberships m
    where m.tenant_id = v_pair.tenant_id and m.user_id = v_pair.user_id
    for no key update skip locked;
    if not found then
      v_busy := v_busy || v_pair.id;
      continue;
    end if;
    if exists (
      select from private.enrollment_obstacles(v_pair.course_id, v_pair.user_id, v_pair.source = 'self')
    ) then
      v_stuck := v_stuck || v_pair.id;
    else
      insert into lms.enrollments (course_id, user_id, source, enrolled_by)
      values (v_pair.course_id, v_pair.user_id, v_pair.source, v_pair.enrolled_by);
      v_done := v_done + 1;
    end if;
  end loop;
  update lms.path_enrollments e
  set advance_at = case when e.id = any (v_stuck) then now() + interval '1 day' end
  where e.id = any (v_due) and e.id <> all (v_busy);
  return v_done;
end
$$;

comment on function ops.advance_learning_paths is
  'Enrols those who have done a course of their path in what is open to them now, at most p_batch people per run; returns '
  'into how many courses.';
grant execute on function ops.advance_learning_paths to service_role;

-- =====================================================================================================
-- Policies and grants
-- =====================================================================================================

alter table lms.learning_paths enable row level security;
alter table lms.learning_path_courses enable row level security;
alter table lms.path_enrollments enable row level security;

grant all on lms.learning_paths, lms.learning_path_courses, lms.path_enrollments to service_role;
grant select on lms.learning_paths, lms.learning_path_courses to anon, authenticated;
grant select on lms.path_enrollments to authenticated;
grant insert (tenant_id, slug, title, description, language, is_ordered, visibility, thumbnail_url)
  on lms.learning_paths to authenticated;
grant update (slug, title, description, language, is_ordered, visibility, thumbnail_url)
  on lms.learning_paths to authenticated;
grant insert (path_id, course_id, order_index, is_required) on lms.learning_path_courses to authenticated;
grant update (order_index, is_required) on lms.learning_path_courses to authenticated;
grant delete on lms.learning_path_courses to authenticated;
grant update (due_at) on lms.path_enrollments to authenticated;

create policy "Public paths are seen by everyone" on lms.learning_paths
  for select to anon
  using (deleted_at is null and status = 'published' and visibility = 'public');

create policy "Paths are seen by visibility, enrolment, authors and scope" on lms.learning_paths
  for select to authenticated
  using (
    deleted_at is null
    and (
      (status = 'published' and (visibility = 'public' or tenant_id = any (array(select private.my_tenants()))))
      or tenant_id = any (array(select private.tenants_partly_where('catalog.read')))
      or id = any (array(select private.my_paths()))
      or (created_by = (select auth.uid()) and tenant_id = any (array(select private.tenants_partly_where('catalog.author'))))
    )
  );

create policy "Authors create paths" on lms.learning_paths
  for insert to authenticated
  with check (
    tenant_id = any (array(select private.tenants_partly_where('catalog.author')))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
  );

create policy "Paths are changed by their author and by administrators" on lms.learning_paths
  for update to authenticated
  using (
    deleted_at is null
    and (
      (created_by = (select auth.uid()) and tenant_id = any (array(select private.tenants_partly_where('catalog.author'))))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  )
  with check (
    (created_by = (select auth.uid()) and tenant_id = any (array(select private.tenants_partly_where('catalog.author'))))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
  );

-- Not what leads to courses that one cannot see; but who is on the path knows how long it is, and who edits it what is in it.
create policy "Courses of public paths are seen with path and course" on lms.learning_path_courses
  for select to anon
  using (
    exists (select from lms.learning_paths p where p.id = path_id)
    and exists (select from lms.courses c where c.id = course_id)
  );

create policy "Courses of paths are seen with path and course" on lms.learning_path_courses
  for select to authenticated
  using (
    exists (
      select
      from lms.learning_paths p
      where p.id = path_id and (p.created_by = (select auth.uid()) or p.id = any (array(select private.my_paths())))
    )
    or (
      exists (select from lms.learning_paths p where p.id = path_id)
      and exists (select from lms.courses c where c.id = course_id)
    )
  );

create policy "Courses are put into paths by those who edit them" on lms.learning_path_courses
  for insert to authenticated
  with check (
    exists (
      select
      from lms.learning_paths p
      where p.id = path_id and (
        (p.created_by = (select auth.uid()) and p.tenant_id = any (array(select private.tenants_partly_where('catalog.author'))))
        or p.tenant_id = any (array(select private.tenants_where('catalog.write')))
      )
    )
    and exists (select from lms.courses c where c.id = course_id)
  );

create policy "Courses of paths are arranged by those who edit them" on lms.learning_path_courses
  for update to authenticated
  using (
    exists (
      select
      from lms.learning_paths p
      where p.id = path_id and (
        (p.created_by = (select auth.uid()) and p.tenant_id = any (array(select private.tenants_partly_where('catalog.author'))))
        or p.tenant_id = any (array(select private.tenants_where('catalog.write')))
      )
    )
  )
  with check (exists (select from lms.learning_paths p where p.id = path_id));

create policy "Courses are taken out of paths by those who edit them" on lms.learning_path_courses
  for delete to authenticated
  using (
    exists (
      select
      from lms.learning_paths p
      where p.id = path_id and (
        (p.created_by = (select auth.uid()) and p.tenant_id = any (array(select private.tenants_partly_where('catalog.author'))))
        or p.tenant_id = any (array(select private.tenants_where('catalog.write')))
      )
    )
  );

create policy "Path enrolments are seen by their person and in scope" on lms.path_enrollments
  for select to authenticated
  using (
    (user_id = (select auth.uid()) and tenant_id <> all (array(select private.closed_tenants())))
    or tenant_id = any (array(select private.tenants_where('enrollments.read')))
    or unit_id = any (array(select private.units_where('enrollments.read')))
  );

create policy "Due dates of paths are changed in scope" on lms.path_enrollments
  for update to authenticated
  using (
    tenant_id = any (array(select private.tenants_where('enrollments.write')))
    or unit_id = any (array(select private.units_where('enrollments.write')))
  )
  with check (
    tenant_id = any (array(select private.tenants_where('enrollments.write')))
    or unit_id = any (array(select private.units_where('enrollments.write')))
  );

notify pgrst, 'reload schema';
