-- Course prerequisites: which courses open only after which others, and how far those must be.
-- Undo: drop table lms.course_prerequisites; then type and functions below.

set lock_timeout = '5s';
set statement_timeout = '60s';

create table lms.course_prerequisites (
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  course_id uuid not null,
  prerequisite_course_id uuid not null,
  min_completion_percentage private.percentage not null default 100
    constraint min_completion_percentage_is_positive check (min_completion_percentage > 0),
  created_at timestamptz not null default now(),
  primary key (course_id, prerequisite_course_id),
  constraint course_with_prerequisite_is_of_the_same_tenant foreign key (tenant_id, course_id)
    references lms.courses (tenant_id, id),
  constraint prerequisite_course_is_of_the_same_tenant foreign key (tenant_id, prerequisite_course_id)
    references lms.courses (tenant_id, id)
);
create index course_prerequisites_by_course on lms.course_prerequisites (tenant_id, course_id);
create index course_prerequisites_by_prerequisite on lms.course_prerequisites (tenant_id, prerequisite_course_id);

comment on table lms.course_prerequisites is
  'A course may be begun when its prerequisites are met. Two keys lead to courses: embed with '
  'course_prerequisites!course_with_prerequisite_is_of_the_same_tenant(...).';
comment on column lms.course_prerequisites.min_completion_percentage is
  'How far the other course must be, in any of the learner''s cycles; 100 takes a completed one.';

create function private.place_course_prerequisite()
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

create trigger _200_place before insert or update of course_id, prerequisite_course_id on lms.course_prerequisites
  for each row execute function private.place_course_prerequisite();

-- Two concurrent rows could each be harmless and together make a circle, so those of one tenant queue up behind its row.
-- Afterwards, because the policies have judged by then: who may not write learns nothing of circles.
create function private.refuse_course_circle()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform from lms.tenants t where t.id = new.tenant_id for no key update;
  if exists (
    with recursive needed (course_id) as (
      select new.prerequisite_course_id
      union
      select p.prerequisite_course_id
      from needed n
      join lms.course_prerequisites p on p.course_id = n.course_id
    )
    select from needed n where n.course_id = new.course_id
  ) then
    perform private.fail(
      'prerequisite_circle', 'The course would wait for itself.', 409,
      jsonb_build_object('course_id', new.course_id, 'prerequisite_course_id', new.prerequisite_course_id)
    );
  end if;
  return null;
end
$$;

create trigger _500_no_circle after insert or update of course_id, prerequisite_course_id on lms.course_prerequisites
  for each row execute function private.refuse_course_circle();

-- The one place that says which prerequisites somebody has not met. What was deleted or archived since still counts: who
-- has it, has it; who has not, cannot get it any more, so nobody waits for it.
create function private.missing_course_prerequisites(p_course_id uuid, p_user_id uuid)
returns table (course_id uuid, title text, min_completion_percentage numeric, percentage numeric)
language plpgsql
stable security definer
rows 2
set search_path = ''
as $$
begin
  return query
  select c.id, c.title::text, p.min_completion_percentage::numeric, coalesce(best.percentage, 0)
  from lms.course_prerequisites p
  join lms.courses c on c.id = p.prerequisite_course_id and c.deleted_at is null and c.status <> 'archived'
  cross join lateral (
    select max(e.progress_percentage) as percentage, coalesce(bool_or(e.status = 'completed'), false) as is_completed
    from lms.enrollments e
    where e.user_id = p_user_id and e.course_id = c.id
  ) best
  where p.course_id = p_course_id and not best.is_completed
    and (p.min_completion_percentage >= 100 or coalesce(best.percentage, 0) < p.min_completion_percentage)
  order by c.title, c.id;
end
$$;

comment on function private.missing_course_prerequisites is
  'Prerequisites of a course that the person has not met: neither completed in any cycle nor, where less is asked for, as '
  'far as that.';

alter table lms.course_prerequisites enable row level security;

grant all on lms.course_prerequisites to service_role;
grant select on lms.course_prerequisites to anon, authenticated;
grant insert (course_id, prerequisite_course_id, min_completion_percentage) on lms.course_prerequisites to authenticated;
grant update (min_completion_percentage) on lms.course_prerequisites to authenticated;
grant delete on lms.course_prerequisites to authenticated;

create policy "Course prerequisites are seen with both public courses" on lms.course_prerequisites
  for select to anon
  using (
    exists (select from lms.courses c where c.id = course_id)
    and exists (select from lms.courses c where c.id = prerequisite_course_id)
  );

create policy "Course prerequisites are seen with both courses" on lms.course_prerequisites
  for select to authenticated
  using (
    exists (select from lms.courses c where c.id = course_id)
    and exists (select from lms.courses c where c.id = prerequisite_course_id)
  );

-- One cannot make learners wait for a course that one does not see.
create policy "Course prerequisites are set by staff" on lms.course_prerequisites
  for insert to authenticated
  with check (
    exists (select from lms.courses c where c.id = course_id)
    and exists (select from lms.courses c where c.id = prerequisite_course_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  );

create policy "Course prerequisites are changed by staff" on lms.course_prerequisites
  for update to authenticated
  using (
    exists (select from lms.courses c where c.id = course_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  )
  with check (
    course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
  );

create policy "Course prerequisites are taken away by staff" on lms.course_prerequisites
  for delete to authenticated
  using (
    exists (select from lms.courses c where c.id = course_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  );

notify pgrst, 'reload schema';
