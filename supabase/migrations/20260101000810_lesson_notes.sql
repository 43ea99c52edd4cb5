-- Lesson notes: what learners write down for themselves. Nobody else reads them, whatever their rights.
-- Undo: drop table lms.lesson_notes; drop function private.place_lesson_note.

set lock_timeout = '5s';
set statement_timeout = '60s';

create table lms.lesson_notes (
  id uuid primary key default private.uuid_v7(),
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  course_id uuid not null default '00000000-0000-0000-0000-000000000000',
  lesson_id uuid not null,
  user_id uuid not null default auth.uid() constraint note_is_of_a_person references public.profiles (id),
  body text not null constraint note_is_1_to_20000_characters check (body ~ '\S' and length(body) <= 20000),
  position private.resume_position,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint note_is_on_a_lesson_of_the_course foreign key (tenant_id, course_id, lesson_id)
    references lms.lessons (tenant_id, course_id, id)
);
create index lesson_notes_by_user on lms.lesson_notes (user_id, lesson_id);
create index lesson_notes_by_lesson on lms.lesson_notes (tenant_id, course_id, lesson_id);

comment on table lms.lesson_notes is 'Notes of a learner on a lesson; seen by nobody else.';
comment on column lms.lesson_notes.position is 'What in the lesson the note is about, in the client''s own terms.';

create trigger _100_timestamps before update on lms.lesson_notes
  for each row execute function private.touch_updated_at();

create function private.place_lesson_note()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  select l.tenant_id, l.course_id into new.tenant_id, new.course_id from lms.lessons l where l.id = new.lesson_id;
  new.tenant_id := coalesce(new.tenant_id, '00000000-0000-0000-0000-000000000000');
  new.course_id := coalesce(new.course_id, '00000000-0000-0000-0000-000000000000');
  return new;
end
$$;

create trigger _200_place before insert on lms.lesson_notes
  for each row execute function private.place_lesson_note();

alter table lms.lesson_notes enable row level security;

grant all on lms.lesson_notes to service_role;
grant select, delete on lms.lesson_notes to authenticated;
grant insert (lesson_id, user_id, body, position) on lms.lesson_notes to authenticated;
grant update (body, position) on lms.lesson_notes to authenticated;

create policy "Notes are seen by whoever wrote them" on lms.lesson_notes
  for select to authenticated
  using (user_id = (select auth.uid()) and tenant_id <> all (array(select private.closed_tenants())));

create policy "Notes are written by those who take or teach the course" on lms.lesson_notes
  for insert to authenticated
  with check (user_id = (select auth.uid()) and course_id = any (array(select private.my_courses())));

create policy "Notes are changed by whoever wrote them" on lms.lesson_notes
  for update to authenticated
  using (user_id = (select auth.uid()) and tenant_id <> all (array(select private.closed_tenants())))
  with check (user_id = (select auth.uid()));

create policy "Notes are removed by whoever wrote them" on lms.lesson_notes
  for delete to authenticated
  using (user_id = (select auth.uid()) and tenant_id <> all (array(select private.closed_tenants())));

notify pgrst, 'reload schema';
