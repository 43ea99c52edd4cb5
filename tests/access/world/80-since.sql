-- What happened since.

update lms.memberships set unit_id = world.id('units.site') where id = world.id('memberships.mover');
update lms.memberships set status = 'suspended' where id = world.id('memberships.suspended');
update lms.memberships set status = 'ended' where id = world.id('memberships.ended');
update lms.courses set deleted_at = now() where id = world.id('courses.deleted');
update lms.modules set deleted_at = now() where id = world.id('modules.deleted');
update lms.lessons set deleted_at = now() where course_id = world.id('courses.deleted');
update lms.lesson_blocks set deleted_at = now() where course_id = world.id('courses.deleted');
