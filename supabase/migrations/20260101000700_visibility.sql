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
    and e.tenant_id = any (array(select private.my_tenants()));
end
$$;

comment on function private.enrolled_courses is
  'Courses in which the caller has an open or a completed enrolment, as long as they are an active member: who left '
  'keeps the record, not the content.';
grant execute on function private.enrolled_courses to anon, authenticated, service_role;

create policy "Public courses are seen by everyone" on lms.courses
  for select to anon
  using (deleted_at is null and status = 'published' and visibility = 'public');

-- A new course is seen by its instructor through a direct predicate: the row in course_staff comes after the
-- statement that returns the course.
create policy "Courses are seen by visibility, enrolment, staff and scope" on lms.courses
  for select to authenticated
  using (
    deleted_at is null
    and (
      (status = 'published' and visibility = 'public')
      or (status = 'published' and visibility = 'restricted' and tenant_id = any (array(select private.my_tenants())))
      or tenant_id = any (array(select private.tenants_partly_where('catalog.read')))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
      or id = any (array(select private.staffed_courses()))
      or id = any (array(select private.enrolled_courses()))
      or (
        instructor_id = (select auth.uid())
        and tenant_id = any (array(select private.tenants_partly_where('catalog.author')))
      )
    )
  );

create policy "Authors create courses" on lms.courses
  for insert to authenticated
  with check (
    tenant_id = any (array(select private.tenants_partly_where('catalog.author')))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
  );

create policy "Courses are changed by their staff and by administrators" on lms.courses
  for update to authenticated
  using (
    id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
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

create policy "Modules are seen with their public course" on lms.modules
  for select to anon
  using (deleted_at is null and exists (select from lms.courses c where c.id = course_id));

create policy "Modules are seen with their course" on lms.modules
  for select to authenticated
  using (deleted_at is null and exists (select from lms.courses c where c.id = course_id));

create policy "Modules are added by staff" on lms.modules
  for insert to authenticated
  with check (
    course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
  );

create policy "Modules are changed by staff" on lms.modules
  for update to authenticated
  using (
    course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
  )
  with check (
    course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
  );

create policy "Published lessons are seen with their public course" on lms.lessons
  for select to anon
  using (deleted_at is null and is_published and exists (select from lms.courses c where c.id = course_id));

create policy "Lessons are seen with their course, drafts by staff and scope" on lms.lessons
  for select to authenticated
  using (
    deleted_at is null
    and exists (select from lms.courses c where c.id = course_id)
    and (
      is_published
      or course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_partly_where('catalog.read')))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  );

create policy "Lessons are added by staff" on lms.lessons
  for insert to authenticated
  with check (
    course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
  );

create policy "Lessons are changed by staff" on lms.lessons
  for update to authenticated
  using (
    course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
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
    course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
  );

create policy "Blocks are changed by staff" on lms.lesson_blocks
  for update to authenticated
  using (
    course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
  )
  with check (
    course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
  );

-- =====================================================================================================
-- People
-- =====================================================================================================

-- A person is seen by those who see a row about them: a membership in their scope, an enrolment in their course, a
-- part in the staff of a course they can see. Each of these tables has its own policy, so nothing is decided twice.
create policy "People are seen by those who see a row about them" on public.profiles
  for select to authenticated
  using (
    id = (select auth.uid())
    or exists (select from lms.memberships m where m.user_id = profiles.id)
    or exists (select from lms.course_staff s where s.user_id = profiles.id)
    or exists (select from lms.enrollments e where e.user_id = profiles.id)
  );

create policy "The private part is seen with the membership" on public.profile_private
  for select to authenticated
  using (
    profile_id = (select auth.uid())
    -- Not of those who have left: what they change from then on is their own business.
    or exists (select from lms.memberships m where m.user_id = profile_id and m.status <> 'ended')
  );

create view lms.people with (security_invoker = true) as
  select p.id, p.display_name, p.avatar_url
  from public.profiles p;

comment on view lms.people is
  'Names and pictures, as far as the caller may see them; embeds from every column that holds a person''s id.';

grant select on lms.people to authenticated, service_role;

notify pgrst, 'reload schema';
