-- One round of measure.sql: each way with two courses of its own.

call bench.ours(:course);
select :course + 2 as course \gset

copy (select md5('course:' || c)::uuid, p.id, timestamptz '2031-05-01 23:59:59Z' from generate_series(:course, :course + 1) c, bench.person p) to :'file';
select extract(epoch from clock_timestamp()) * 1000 as started \gset
begin;
truncate bench.stage;
copy bench.stage from :'file';
insert into lms.enrollments (course_id, user_id, due_at, source) select course_id, user_id, due_at, 'bulk' from bench.stage;
commit;
insert into bench.result values ('superuser, all triggers', extract(epoch from clock_timestamp()) * 1000 - :started);
select :course + 2 as course \gset

copy (select md5('course:' || c)::uuid, p.id, timestamptz '2031-05-01 23:59:59Z' from generate_series(:course, :course + 1) c, bench.person p) to :'file';
select extract(epoch from clock_timestamp()) * 1000 as started \gset
begin;
alter table lms.enrollments disable trigger _200_begin;
alter table lms.enrollments disable trigger _500_requests;
truncate bench.stage;
copy bench.stage from :'file';
insert into lms.enrollments (tenant_id, course_id, version_id, user_id, unit_id, cycle, due_at, source, enrolled_by, items_total)
select m.tenant_id, s.course_id, v.id, s.user_id, m.unit_id, 1, s.due_at, 'bulk', md5('user:0')::uuid, v.items_total
from bench.stage s
join lms.memberships m on m.tenant_id = md5('tenant')::uuid and m.user_id = s.user_id
join lms.course_versions v on v.course_id = s.course_id;
alter table lms.enrollments enable trigger _200_begin;
alter table lms.enrollments enable trigger _500_requests;
commit;
insert into bench.result values ('superuser, audit and foreign keys only', extract(epoch from clock_timestamp()) * 1000 - :started);
select :course + 2 as course \gset
