-- One organisation of 20,000 people in 200 units with 200,000 enrolments, and 40 courses that nobody takes yet, for measuring
-- bulk enrolment. Into a database that holds the migrations only, by a superuser:
--   lyceum with-database -- sh -c 'psql -q "$ADMIN_DB_URL" -f sql/bench/bulk/load.sql -f sql/bench/bulk/measure.sql'

set statement_timeout = 0;
set client_min_messages = warning;
create schema bench;
set session_replication_role = replica;

insert into auth.users (instance_id, id, aud, role, email, email_confirmed_at, created_at, updated_at)
select '00000000-0000-0000-0000-000000000000', md5('user:' || n)::uuid, 'authenticated', 'authenticated', 'u' || n || '@example.com', now(), now(), now()
from generate_series(0, 20000) n;
insert into public.profiles (id, user_id) select md5('user:' || n)::uuid, md5('user:' || n)::uuid from generate_series(0, 20000) n;
insert into public.profile_private (profile_id, email) select md5('user:' || n)::uuid, 'u' || n || '@example.com' from generate_series(0, 20000) n;
set session_replication_role = origin;
insert into lms.tenants (id, slug, name) values (md5('tenant')::uuid, 'works', 'Works');
insert into lms.org_units (id, tenant_id, name) select md5('unit:' || n)::uuid, md5('tenant')::uuid, 'Unit ' || n from generate_series(1, 200) n;
set session_replication_role = replica;
insert into lms.memberships (id, tenant_id, user_id, unit_id, employee_number)
select md5('member:' || n)::uuid, md5('tenant')::uuid, md5('user:' || n)::uuid, md5('unit:' || 1 + n % 200)::uuid, 'E' || n from generate_series(0, 20000) n;
-- Person 0 is HR.
insert into lms.role_grants (tenant_id, membership_id, role_id)
select md5('tenant')::uuid, md5('member:0')::uuid, r.id from lms.roles r where r.key = 'hr_admin';
insert into lms.courses (id, tenant_id, slug, title, status, instructor_id, published_at)
select md5('course:' || n)::uuid, md5('tenant')::uuid, 'course-' || n, 'Course ' || n, 'published', md5('user:0')::uuid, now() from generate_series(1, 50) n;
set session_replication_role = origin;
select count(private.freeze_course(id)) as courses from lms.courses;
set session_replication_role = replica;
insert into lms.enrollments (tenant_id, course_id, version_id, user_id, unit_id, cycle)
select m.tenant_id, c.id, v.id, m.user_id, m.unit_id, 1
from lms.memberships m, generate_series(41, 50) n
join lms.courses c on c.id = md5('course:' || n)::uuid
join lms.course_versions v on v.course_id = c.id;
set session_replication_role = origin;
vacuum analyze;
