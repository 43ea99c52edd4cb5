-- Skills: the words in which a tenant says what can be learned, and which lessons teach or practise what.
-- Undo: drop tables lms.lesson_skills, skills; then the function below.

set lock_timeout = '5s';
set statement_timeout = '60s';

create table lms.skills (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null constraint skill_belongs_to_a_tenant references lms.tenants (id),
  key text not null constraint skill_key_is_a_slug check (key ~ '^[a-z0-9]+(-[a-z0-9]+)*$' and length(key) <= 200),
  name private.title not null,
  description text not null default '' constraint skill_description_is_short check (length(description) <= 5000),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint skill_of_its_tenant unique (tenant_id, id),
  constraint skill_key_is_taken unique (tenant_id, key)
);

comment on table lms.skills is 'Something that can be learned. One list for the whole tenant: courses share their skills.';
comment on column lms.skills.key is 'What imports and exports know it by, unique in the tenant.';

-- The key holds the tenant and the course: without them in the key, the API does not embed through it.
create table lms.lesson_skills (
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  course_id uuid not null default '00000000-0000-0000-0000-000000000000',
  lesson_id uuid not null,
  skill_id uuid not null,
  part text not null default 'teaches' constraint lesson_skill_part_is_known check (part in ('teaches', 'practices')),
  -- NaN compares as greater than every number, so it takes the upper bound to keep it out.
  mastery_threshold numeric constraint mastery_threshold_is_a_probability
    check (mastery_threshold > 0 and mastery_threshold <= 1 and scale(mastery_threshold) <= 10),
  created_at timestamptz not null default now(),
  primary key (tenant_id, course_id, lesson_id, skill_id),
  constraint lesson_with_skill_is_of_the_course foreign key (tenant_id, course_id, lesson_id)
    references lms.lessons (tenant_id, course_id, id),
  constraint skill_of_lesson_is_of_the_same_tenant foreign key (tenant_id, skill_id) references lms.skills (tenant_id, id)
);
create index lesson_skills_by_lesson on lms.lesson_skills (lesson_id);
create index lesson_skills_by_skill on lms.lesson_skills (tenant_id, skill_id);
create index lesson_skills_by_skill_alone on lms.lesson_skills (skill_id);

comment on table lms.lesson_skills is 'Which skills a lesson teaches or practises: lessons?select=title,skills(name).';
comment on column lms.lesson_skills.tenant_id is 'Taken from the lesson.';
comment on column lms.lesson_skills.course_id is 'Taken from the lesson.';
comment on column lms.lesson_skills.mastery_threshold is
  'How sure one has to be that the skill is mastered, above 0 to 1; null: the lesson asks for none.';

create trigger _100_timestamps before update on lms.skills
  for each row execute function private.touch_updated_at();

create function private.place_lesson_skill()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_lesson record;
begin
  select l.tenant_id, l.course_id into v_lesson from lms.lessons l where l.id = new.lesson_id;
  -- A lesson that does not exist is left to the foreign key.
  if found then
    new.tenant_id := v_lesson.tenant_id;
    new.course_id := v_lesson.course_id;
  end if;
  return new;
end
$$;

create trigger _200_place before insert or update of lesson_id on lms.lesson_skills
  for each row execute function private.place_lesson_skill();

-- =====================================================================================================
-- Access
-- =====================================================================================================

alter table lms.skills enable row level security;
alter table lms.lesson_skills enable row level security;

grant all on lms.skills, lms.lesson_skills to service_role;
grant select on lms.skills, lms.lesson_skills to anon, authenticated;
grant delete on lms.skills, lms.lesson_skills to authenticated;
grant insert (tenant_id, key, name, description) on lms.skills to authenticated;
grant update (key, name, description) on lms.skills to authenticated;
grant insert (lesson_id, skill_id, part, mastery_threshold) on lms.lesson_skills to authenticated;
grant update (part, mastery_threshold) on lms.lesson_skills to authenticated;

create policy "Skills are seen with public lessons about them" on lms.skills
  for select to anon
  using (exists (select from lms.lesson_skills k where k.skill_id = skills.id));

create policy "Skills are seen by members, and with lessons about them" on lms.skills
  for select to authenticated
  using (
    tenant_id = any (array(select private.my_tenants()))
    or exists (select from lms.lesson_skills k where k.skill_id = skills.id)
  );

create policy "Skills are added by authors" on lms.skills
  for insert to authenticated
  with check (
    tenant_id = any (array(select private.tenants_partly_where('catalog.author')))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
  );

-- An author who renamed a skill would rename it in everybody's courses.
create policy "Skills are changed by those who write the catalogue" on lms.skills
  for update to authenticated
  using (tenant_id = any (array(select private.tenants_where('catalog.write'))))
  with check (tenant_id = any (array(select private.tenants_where('catalog.write'))));

create policy "Skills are removed by those who write the catalogue" on lms.skills
  for delete to authenticated
  using (tenant_id = any (array(select private.tenants_where('catalog.write'))));

create policy "The skills of a public lesson are seen with it" on lms.lesson_skills
  for select to anon
  using (exists (select from lms.lessons l where l.id = lesson_id));

create policy "The skills of a lesson are seen with it" on lms.lesson_skills
  for select to authenticated
  using (exists (select from lms.lessons l where l.id = lesson_id));

create policy "The skills of a lesson are set by staff" on lms.lesson_skills
  for insert to authenticated
  with check (
    exists (select from lms.lessons l where l.id = lesson_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  );

create policy "The skills of a lesson are changed by staff" on lms.lesson_skills
  for update to authenticated
  using (
    exists (select from lms.lessons l where l.id = lesson_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  )
  with check (
    course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
  );

create policy "The skills of a lesson are taken away by staff" on lms.lesson_skills
  for delete to authenticated
  using (
    exists (select from lms.lessons l where l.id = lesson_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  );

notify pgrst, 'reload schema';
