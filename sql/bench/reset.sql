-- Takes back what the completion benchmark did: its courses' enrolments are fresh again.

begin;
set local session_replication_role = replica;
delete from lms.lesson_progress p using bench.course c where c.is_special and p.tenant_id = c.tenant_id and p.course_id = c.id;
delete from bench.bare_progress p using bench.course c where c.is_special and p.tenant_id = c.tenant_id and p.course_id = c.id;
delete from lms.certificates f using bench.course c where c.is_special and f.tenant_id = c.tenant_id and f.course_id = c.id;
update lms.enrollments e
set status = 'enrolled', started_at = null, completed_at = null, items_done = 0, time_spent_seconds = 0,
    current_lesson_id = null, last_accessed_at = null
from bench.course c
where c.is_special and e.tenant_id = c.tenant_id and e.course_id = c.id and e.status <> 'enrolled';
commit;
