-- Cohorts: people who learn together, such as a class or this year's apprentices.
-- Undo: drop tables lms.cohort_members, lms.cohorts; then the functions below.

set lock_timeout = '5s';
set statement_timeout = '60s';

create table lms.cohorts (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null constraint cohort_belongs_to_a_tenant references lms.tenants (id),
  unit_id uuid,
  name private.title not null,
  description text not null default '' constraint cohort_description_is_short check (length(description) <= 5000),
  starts_on date,
  ends_on date,
  archived_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint cohort_of_its_tenant unique (tenant_id, id),
  constraint cohort_unit_is_of_the_same_tenant foreign key (tenant_id, unit_id)
    references lms.org_units (tenant_id, id) on delete set null (unit_id),
  constraint cohort_name_is_taken unique nulls not distinct (tenant_id, unit_id, name),
  constraint cohort_ends_after_it_starts check (ends_on >= starts_on)
);
create index cohorts_by_unit on lms.cohorts (unit_id);

comment on table lms.cohorts is 'A group of people who learn together. Its members see each other''s names.';
comment on column lms.cohorts.unit_id is 'The unit whose managers look after it; null for the whole tenant.';

create table lms.cohort_members (
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  cohort_id uuid not null,
  user_id uuid not null constraint cohort_member_is_a_person references public.profiles (id),
  created_at timestamptz not null default now(),
  -- Without the tenant: the API would take the table for a bridge between memberships and people, and ask on every embed of
  -- one in the other which way is meant.
  primary key (cohort_id, user_id),
  constraint cohort_member_is_of_the_same_tenant foreign key (tenant_id, cohort_id)
    references lms.cohorts (tenant_id, id) on delete cascade,
  constraint cohort_member_is_a_member foreign key (tenant_id, user_id)
    references lms.memberships (tenant_id, user_id) on delete cascade
);
create index cohort_members_by_cohort on lms.cohort_members (tenant_id, cohort_id);
create index cohort_members_by_user on lms.cohort_members (user_id);
create index cohort_members_by_member on lms.cohort_members (tenant_id, user_id);

comment on table lms.cohort_members is 'Who is in which cohort.';
comment on column lms.cohort_members.tenant_id is 'Taken from the cohort.';

create trigger _100_timestamps before update on lms.cohorts
  for each row execute function private.touch_updated_at();

create function private.place_cohort_member()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  select c.tenant_id into new.tenant_id from lms.cohorts c where c.id = new.cohort_id;
  new.tenant_id := coalesce(new.tenant_id, '00000000-0000-0000-0000-000000000000');
  return new;
end
$$;

create trigger _200_place before insert on lms.cohort_members
  for each row execute function private.place_cohort_member();

-- Fellow members see each other's names, so who leaves the tenant leaves its cohorts.
create function private.end_cohort_memberships()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  delete from lms.cohort_members c where c.tenant_id = new.tenant_id and c.user_id = new.user_id;
  return null;
end
$$;

create trigger _500_cohorts_end after update of status on lms.memberships
  for each row when (new.status = 'ended' and old.status <> 'ended')
  execute function private.end_cohort_memberships();

-- =====================================================================================================
-- Helpers of policies
-- =====================================================================================================

create function private.my_cohorts()
returns setof uuid
language plpgsql
stable security definer
rows 3
set search_path = ''
as $$
begin
  return query
  select c.cohort_id
  from lms.cohort_members c
  where c.user_id = (select auth.uid()) and c.tenant_id = any (array(select private.joined_tenants()));
end
$$;

comment on function private.my_cohorts is 'Cohorts that the caller is in, as an active member of the tenant.';

create function private.my_fellows()
returns setof uuid
language plpgsql
stable security definer
rows 30
set search_path = ''
as $$
begin
  return query
  select c.user_id
  from lms.cohort_members c
  where c.cohort_id = any (array(select private.my_cohorts()));
end
$$;

comment on function private.my_fellows is 'The people in the caller''s cohorts.';

create function private.cohorts_where(wanted text)
returns setof uuid
language plpgsql
stable security definer
rows 10
set search_path = ''
as $$
begin
  return query
  select c.id from lms.cohorts c
  where c.tenant_id = any (array(select private.tenants_where(wanted)))
    or c.unit_id = any (array(select private.units_where(wanted)));
end
$$;

comment on function private.cohorts_where is 'Cohorts in the caller''s scope of a permission.';

grant execute on function private.my_cohorts, private.my_fellows, private.cohorts_where to authenticated, service_role;

-- =====================================================================================================
-- Policies and grants
-- =====================================================================================================

alter table lms.cohorts enable row level security;
alter table lms.cohort_members enable row level security;
grant all on lms.cohorts, lms.cohort_members to service_role;

grant select, delete on lms.cohorts, lms.cohort_members to authenticated;
grant insert (tenant_id, unit_id, name, description, starts_on, ends_on) on lms.cohorts to authenticated;
grant update (unit_id, name, description, starts_on, ends_on, archived_at) on lms.cohorts to authenticated;
grant insert (cohort_id, user_id) on lms.cohort_members to authenticated;

create policy "Cohorts are seen by their members and in scope" on lms.cohorts
  for select to authenticated
  using (
    id = any (array(select private.my_cohorts()))
    or tenant_id = any (array(select private.tenants_where('members.read')))
    or unit_id = any (array(select private.units_where('members.read')))
  );

create policy "Cohorts are made in scope" on lms.cohorts
  for insert to authenticated
  with check (
    tenant_id = any (array(select private.tenants_where('members.write')))
    or unit_id = any (array(select private.units_where('members.write')))
  );

create policy "Cohorts are changed in scope" on lms.cohorts
  for update to authenticated
  using (
    tenant_id = any (array(select private.tenants_where('members.write')))
    or unit_id = any (array(select private.units_where('members.write')))
  )
  with check (
    tenant_id = any (array(select private.tenants_where('members.write')))
    or unit_id = any (array(select private.units_where('members.write')))
  );

create policy "Cohorts are deleted in scope" on lms.cohorts
  for delete to authenticated
  using (
    tenant_id = any (array(select private.tenants_where('members.write')))
    or unit_id = any (array(select private.units_where('members.write')))
  );

create policy "Members of cohorts are seen by fellows and in scope" on lms.cohort_members
  for select to authenticated
  using (
    cohort_id = any (array(select private.my_cohorts()))
    or cohort_id = any (array(select private.cohorts_where('members.read')))
  );

-- Both the cohort and the person must be in scope: being in a cohort together shows people to each other.
create policy "People in scope are added to cohorts in scope" on lms.cohort_members
  for insert to authenticated
  with check (
    cohort_id = any (array(select private.cohorts_where('members.write')))
    and exists (
      select
      from lms.memberships m
      where m.tenant_id = cohort_members.tenant_id and m.user_id = cohort_members.user_id and m.status <> 'ended'
        and (
          m.tenant_id = any (array(select private.tenants_where('members.write')))
          or m.unit_id = any (array(select private.units_where('members.write')))
        )
    )
  );

create policy "People are taken out of cohorts in scope" on lms.cohort_members
  for delete to authenticated
  using (cohort_id = any (array(select private.cohorts_where('members.write'))));

notify pgrst, 'reload schema';
