-- Versions of what was written so far.

-- What is or was published has a version.
do $$
begin
  perform private.freeze_course(world.id('courses.' || name)) from world.courses where status <> 'draft';
end
$$;

insert into world.names (name, id)
select 'versions.' || c.name, v.id
from world.courses c
join lms.course_versions v on v.course_id = world.id('courses.' || c.name);
