-- What a bare upsert is measured against: the same rows, columns, CHECKs and indexes, without triggers, foreign keys
-- and row level security.

set client_min_messages = warning;
set maintenance_work_mem = '1GB';

create table bench.bare_progress (like lms.lesson_progress including defaults including generated including constraints including storage)
with (fillfactor = 85);
insert into bench.bare_progress (
  enrollment_id, lesson_id, tenant_id, course_id, user_id, progress_percentage, time_spent_seconds, last_position,
  first_accessed_at, last_accessed_at, completed_at, updated_at
)
select enrollment_id, lesson_id, tenant_id, course_id, user_id, progress_percentage, time_spent_seconds, last_position,
  first_accessed_at, last_accessed_at, completed_at, updated_at
from lms.lesson_progress;

do $$
declare
  definition text;
begin
  for definition in
    select regexp_replace(
      replace(pg_get_indexdef(i.indexrelid), 'lms.lesson_progress', 'bench.bare_progress'), 'INDEX \S+ ON', 'INDEX ON'
    )
    from pg_index i
    where i.indrelid = 'lms.lesson_progress'::regclass
  loop
    execute definition;
  end loop;
end
$$;
grant select, insert, update on bench.bare_progress to authenticated;
