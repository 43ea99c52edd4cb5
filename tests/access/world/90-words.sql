-- Words of the matrix' predicates.

-- The unit that the manager manages, and all below it.
create function world.in_unit(p_unit_id uuid)
returns boolean
language sql
stable
return coalesce(
  p_unit_id in (world.the('units.plant'), world.the('units.line'), world.the('units.empty_line')), false
);

-- What a course is to this person.
create function world.course_is(p_kind text, p_course_id uuid, p_person_id uuid)
returns boolean
language sql
stable
return (
  select p_kind = case
    when c.deleted_at is not null then 'deleted'
    when exists (select from lms.course_staff s where s.course_id = c.id and s.user_id = p_person_id) then 'staffed'
    when c.status = 'published' and c.visibility = 'public' then
      case c.tenant_id when world.the('tenants.home') then 'public' else 'foreign_public' end
    when c.tenant_id <> world.the('tenants.home') then 'foreign'
    when c.status = 'published' and c.visibility = 'restricted' then 'restricted'
    when exists (select from lms.enrollments e where e.course_id = c.id and e.user_id = p_person_id) then 'enrolled'
    else 'private'
  end
  from lms.courses c
  where c.id = p_course_id
);

-- What published content is to this person.
create function world.content_is(p_kind text, p_version_id uuid, p_course_id uuid, p_is_preview boolean, p_person_id uuid)
returns boolean
language sql
stable
return p_kind = case
  when world.course_is('deleted', p_course_id, p_person_id) then 'deleted'
  when world.course_is('staffed', p_course_id, p_person_id) then 'staffed'
  when p_is_preview and world.course_is('public', p_course_id, p_person_id) then 'preview'
  when p_is_preview and world.course_is('foreign_public', p_course_id, p_person_id) then 'foreign_preview'
  when p_is_preview and world.course_is('restricted', p_course_id, p_person_id) then 'restricted_preview'
  when exists (
    select from lms.enrollments e where e.version_id = p_version_id and e.user_id = p_person_id
  ) then 'own'
  when p_is_preview and world.course_is('private', p_course_id, p_person_id) then 'private_preview'
  when world.course_is('foreign', p_course_id, p_person_id) or world.course_is('foreign_public', p_course_id, p_person_id)
    then 'foreign'
  else 'tenant'
end;
