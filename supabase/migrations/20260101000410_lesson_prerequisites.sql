-- Lesson prerequisites: which lessons open only after which others of the same course.
-- What an author sets here counts from the next version on: versions freeze it.
-- Undo: drop table lms.lesson_prerequisites; then the functions below.

set lock_timeout = '5s';
set statement_timeout = '60s';

create table lms.lesson_prerequisites (
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  course_id uuid not null default '00000000-0000-0000-0000-000000000000',
  lesson_id uuid not null,
  prerequisite_lesson_id uuid not null,
  created_at timestamptz not null default now(),
  primary key (lesson_id, prerequisite_lesson_id),
  constraint lesson_with_prerequisite_is_of_the_course foreign key (tenant_id, course_id, lesson_id)
    references lms.lessons (tenant_id, course_id, id),
  constraint prerequisite_lesson_is_of_the_same_course foreign key (tenant_id, course_id, prerequisite_lesson_id)
    references lms.lessons (tenant_id, course_id, id)
);
create index lesson_prerequisites_by_lesson on lms.lesson_prerequisites (tenant_id, course_id, lesson_id);
create index lesson_prerequisites_by_prerequisite on lms.lesson_prerequisites (tenant_id, course_id, prerequisite_lesson_id);

comment on table lms.lesson_prerequisites is
  'A lesson opens when its prerequisites are completed. Two keys lead to lessons: embed with '
  'lesson_prerequisites!lesson_with_prerequisite_is_of_the_course(...).';

create function private.place_lesson_prerequisite()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_lesson record;
begin
  select l.tenant_id, l.course_id into v_lesson from lms.lessons l where l.id = new.lesson_id;
  if not found then
    return new;
  end if;
  new.tenant_id := v_lesson.tenant_id;
  new.course_id := v_lesson.course_id;
  return new;
end
$$;

create trigger _200_place before insert or update on lms.lesson_prerequisites
  for each row execute function private.place_lesson_prerequisite();

-- Two concurrent rows could each be harmless and together make a circle, so those of one course queue up behind its row.
-- Afterwards, because the policies have judged by then: who may not write learns nothing of circles.
create function private.refuse_lesson_circle()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform from lms.courses c where c.id = new.course_id for no key update;
  if exists (
    with recursive needed (lesson_id) as (
      select new.prerequisite_lesson_id
      union
      select p.prerequisite_lesson_id
      from needed n
      join lms.lesson_prerequisites p on p.lesson_id = n.lesson_id
    )
    select from needed n where n.lesson_id = new.lesson_id
  ) then
    perform private.fail(
      'prerequisite_circle', 'The lesson would wait for itself.', 409,
      jsonb_build_object('lesson_id', new.lesson_id, 'prerequisite_lesson_id', new.prerequisite_lesson_id)
    );
  end if;
  return null;
end
$$;

create trigger _500_no_circle after insert or update on lms.lesson_prerequisites
  for each row execute function private.refuse_lesson_circle();

alter table lms.lesson_prerequisites enable row level security;

grant all on lms.lesson_prerequisites to service_role;
grant select on lms.lesson_prerequisites to anon, authenticated;
grant insert (lesson_id, prerequisite_lesson_id) on lms.lesson_prerequisites to authenticated;
grant delete on lms.lesson_prerequisites to authenticated;

create policy "Lesson prerequisites are seen with both public lessons" on lms.lesson_prerequisites
  for select to anon
  using (
    exists (select from lms.lessons l where l.id = lesson_id)
    and exists (select from lms.lessons l where l.id = prerequisite_lesson_id)
  );

create policy "Lesson prerequisites are seen with both lessons" on lms.lesson_prerequisites
  for select to authenticated
  using (
    exists (select from lms.lessons l where l.id = lesson_id)
    and exists (select from lms.lessons l where l.id = prerequisite_lesson_id)
  );

create policy "Lesson prerequisites are set by staff" on lms.lesson_prerequisites
  for insert to authenticated
  with check (
    exists (select from lms.lessons l where l.id = lesson_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  );

create policy "Lesson prerequisites are taken away by staff" on lms.lesson_prerequisites
  for delete to authenticated
  using (
    exists (select from lms.lessons l where l.id = lesson_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  );

notify pgrst, 'reload schema';
