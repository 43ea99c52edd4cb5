-- Visibility: who sees which course, and who sees whom.
-- Apart from the tables because it closes a circle: being enrolled is a way to see a course, being staff of a course a
-- way to see people.
-- Undo: drop the policies below and view lms.people.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Courses
-- =====================================================================================================

create function private.enrolled_courses()
returns setof uuid
language plpgsql
stable security definer
rows 10
set search_path = ''
as $$
begin
  return query
  select e.course_id
  from lms.enrollments e
  where e.user_id = (select auth.uid())
    and e.status in ('enrolled', 'in_progress', 'paused', 'completed')
    and (e.expires_at is null or e.expires_at > now())
    and e.tenant_id = any (array(select private.joined_tenants()));
end
$$;

comment on function private.enrolled_courses is
  'Courses in which the caller has an open or a completed enrolment, as long as they are an active member: who left '
  'keeps the record, not the content.';
grant execute on function private.enrolled_courses to anon, authenticated, service_role;

create policy "Public courses are seen by everyone" on lms.courses
  for select to anon
  using (deleted_at is null and status = 'published' and visibility = 'public');

create function private.my_courses()
returns setof uuid
language plpgsql
stable security definer
rows 10
set search_path = ''
as $$
begin
  return query
  select * from private.staffed_courses()
  union all
  select * from private.enrolled_courses();
end
$$;

comment on function private.my_courses is 'Courses that the caller teaches or takes.';
grant execute on function private.my_courses to anon, authenticated, service_role;

-- Each question to a helper costs every query on courses some planning, so there are few: catalog.write comes with
-- catalog.read. The author of a course sees it in the statement that creates it, before it has staff: created_at is set by
-- the server, and only there equal to now().
create policy "Courses are seen by visibility, enrolment, staff and scope" on lms.courses
  for select to authenticated
  using (
    deleted_at is null
    and (
      (
        status = 'published'
        and (visibility = 'public' or (visibility = 'restricted' and tenant_id = any (array(select private.my_tenants()))))
      )
      or tenant_id = any (array(select private.tenants_partly_where('catalog.read')))
      or id = any (array(select private.my_courses()))
      or (created_by = (select auth.uid()) and created_at = now())
    )
  );

create policy "Authors create courses" on lms.courses
  for insert to authenticated
  with check (
    tenant_id = any (array(select private.tenants_partly_where('catalog.author')))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
  );

-- INV-C3: what was deleted is changed by nobody, like everything below it.
create policy "Courses are changed by their staff and by administrators" on lms.courses
  for update to authenticated
  using (
    deleted_at is null
    and (
      id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  )
  with check (
    id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
  );

create policy "The staff of a course is seen with the course" on lms.course_staff
  for select to authenticated
  using (exists (select from lms.courses c where c.id = course_id));

-- =====================================================================================================
-- Modules and lessons: the syllabus is seen with the course
-- =====================================================================================================

create policy "Published modules are seen with their public course" on lms.modules
  for select to anon
  using (deleted_at is null and published_at is not null and exists (select from lms.courses c where c.id = course_id));

create policy "Modules are seen with their course, drafts by staff and scope" on lms.modules
  for select to authenticated
  using (
    deleted_at is null
    and exists (select from lms.courses c where c.id = course_id)
    and (
      published_at is not null
      or course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_partly_where('catalog.read')))
    )
  );

create policy "Modules are added by staff" on lms.modules
  for insert to authenticated
  with check (
    exists (select from lms.courses c where c.id = course_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  );

create policy "Modules are changed by staff" on lms.modules
  for update to authenticated
  using (
    deleted_at is null
    and exists (select from lms.courses c where c.id = course_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  )
  with check (
    course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
  );

create policy "Published lessons are seen with their public course" on lms.lessons
  for select to anon
  using (
    deleted_at is null and is_published and published_at is not null
    and exists (select from lms.courses c where c.id = course_id)
  );

create policy "Lessons are seen with their course, drafts by staff and scope" on lms.lessons
  for select to authenticated
  using (
    deleted_at is null
    and exists (select from lms.courses c where c.id = course_id)
    and (
      (is_published and published_at is not null)
      or course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_partly_where('catalog.read')))
    )
  );

create policy "Lessons are added by staff" on lms.lessons
  for insert to authenticated
  with check (
    exists (select from lms.modules m where m.id = module_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  );

create policy "Lessons are changed by staff" on lms.lessons
  for update to authenticated
  using (
    deleted_at is null
    and exists (select from lms.modules m where m.id = module_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  )
  with check (
    course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
  );

-- =====================================================================================================
-- Blocks: the content itself, for authors only
-- =====================================================================================================

create policy "Blocks are seen by those who edit them" on lms.lesson_blocks
  for select to authenticated
  using (
    deleted_at is null
    and exists (select from lms.lessons l where l.id = lesson_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  );

create policy "Blocks are added by staff" on lms.lesson_blocks
  for insert to authenticated
  with check (
    exists (select from lms.lessons l where l.id = lesson_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  );

create policy "Blocks are changed by staff" on lms.lesson_blocks
  for update to authenticated
  using (
    deleted_at is null
    and exists (select from lms.lessons l where l.id = lesson_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  )
  with check (
    course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
  );

-- =====================================================================================================
-- People
-- =====================================================================================================

-- What the policies below need to know about other tables, without those tables' own policies being planned inside every
-- query on people. Not invoker's views, on purpose; ids only; clients cannot address them.
create view private.membership_scopes as
  select m.user_id, m.tenant_id, m.unit_id, m.status from lms.memberships m;

create view private.staff_scopes as
  select s.user_id, s.tenant_id, s.course_id, case c.status when 'published' then c.visibility else 'private' end as visibility
  from lms.course_staff s
  join lms.courses c on c.id = s.course_id and c.deleted_at is null;

create view private.learner_scopes as
  select e.user_id, e.tenant_id, e.unit_id, e.course_id from lms.enrollments e;

comment on view private.learner_scopes is 'Where a person learns, or asks to, for the policies of profiles.';
comment on view private.membership_scopes is 'Where a person belongs, for the policies of profiles.';
comment on view private.staff_scopes is 'Where a person teaches, for the policies of profiles.';
grant select on private.membership_scopes, private.staff_scopes, private.learner_scopes to authenticated;

-- A person is seen by those in whose scope they are, by their teachers, by those who see a course that they teach, and by
-- the others of their cohorts.
create policy "People are seen in scope, by teachers and by fellows" on public.profiles
  for select to authenticated
  using (
    id = (select auth.uid())
    or exists (
      select from private.membership_scopes m
      where m.user_id = profiles.id and (
        m.tenant_id = any (array(select private.tenants_where('members.read')))
        or m.unit_id = any (array(select private.units_where('members.read')))
      )
    )
    or exists (
      select from private.staff_scopes s
      where s.user_id = profiles.id and (
        s.visibility = 'public'
        or (s.visibility = 'restricted' and s.tenant_id = any (array(select private.my_tenants())))
        or s.course_id = any (array(select private.my_courses()))
        or s.tenant_id = any (array(select private.tenants_partly_where('catalog.read')))
      )
    )
    or exists (
      select from private.learner_scopes e
      where e.user_id = profiles.id and (
        e.tenant_id = any (array(select private.tenants_where('enrollments.read')))
        or e.unit_id = any (array(select private.units_where('enrollments.read')))
        or e.course_id = any (array(select private.staffed_courses()))
      )
    )
    or id = any (array(select private.my_fellows()))
  );

-- Not the private part of those who have left: what they change from then on is their own business.
create policy "The private part is seen with the membership" on public.profile_private
  for select to authenticated
  using (
    profile_id = (select auth.uid())
    or exists (
      select from private.membership_scopes m
      where m.user_id = profile_id and m.status <> 'ended' and (
        m.tenant_id = any (array(select private.tenants_where('members.read')))
        or m.unit_id = any (array(select private.units_where('members.read')))
      )
    )
  );

create view lms.people with (security_invoker = true) as
  select p.id, p.display_name, p.avatar_url
  from public.profiles p;

comment on view lms.people is
  'Names and pictures, as far as the caller may see them; embeds from every column that holds a person''s id.';

grant select on lms.people to authenticated, service_role;

notify pgrst, 'reload schema';
