-- Taxonomy: the categories of a tenant, a tree, and its tags; which courses are in them.
-- Undo: drop function lms.get_categories; drop type lms.category_node; drop tables lms.course_tags, course_categories, tags;
-- drop view private.category_scopes; drop tables private.category_closure, lms.categories; then the functions below.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Tables
-- =====================================================================================================

create domain private.color as text
  constraint color_is_a_hash_and_six_digits check (value ~ '^#[0-9A-Fa-f]{6}$');

create table lms.categories (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null constraint category_belongs_to_a_tenant references lms.tenants (id),
  parent_id uuid,
  slug private.slug not null,
  name private.title not null,
  description text not null default '' constraint category_description_is_short check (length(description) <= 5000),
  icon_url private.web_address,
  color private.color,
  order_index integer not null default -1 constraint category_order_is_within_a_million check (order_index between 0 and 999999),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint category_of_its_tenant unique (tenant_id, id),
  constraint category_slug_is_taken unique (tenant_id, slug),
  constraint category_parent_is_of_the_same_tenant foreign key (tenant_id, parent_id) references lms.categories (tenant_id, id),
  -- As with modules: a reorder is one statement that passes through duplicates.
  constraint category_order_is_taken exclude using btree (coalesce(parent_id, tenant_id) with =, order_index with =) deferrable
);
create index categories_by_parent on lms.categories (tenant_id, parent_id, order_index);

comment on table lms.categories is 'A branch of the catalogue of a tenant; a tree. Removable while nothing is in it.';
comment on column lms.categories.parent_id is 'The category above; set it to move a whole branch.';
comment on column lms.categories.order_index is
  'Position among its siblings, from 0; left out, or when moved to another parent, the category goes last.';
comment on column lms.categories.color is '#rrggbb';

create table private.category_closure (
  ancestor_id uuid not null references lms.categories (id) on delete cascade,
  descendant_id uuid not null references lms.categories (id) on delete cascade,
  depth integer not null,
  primary key (ancestor_id, descendant_id)
);
create index category_closure_by_descendant on private.category_closure (descendant_id);
alter table private.category_closure enable row level security;

comment on table private.category_closure is
  'Every category with each category at or below it, kept by trigger: policies and counts ask for subtrees by equality.';

create table lms.tags (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null constraint tag_belongs_to_a_tenant references lms.tenants (id),
  slug private.slug not null,
  name private.title not null,
  color private.color,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint tag_of_its_tenant unique (tenant_id, id),
  constraint tag_slug_is_taken unique (tenant_id, slug)
);

comment on table lms.tags is 'A word that courses of a tenant are marked with. Removing it takes it off the courses.';
comment on column lms.tags.color is '#rrggbb';

-- The keys of both bridges hold the tenant: without it in the key, the API does not embed through them.
create table lms.course_categories (
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  course_id uuid not null,
  category_id uuid not null,
  created_at timestamptz not null default now(),
  primary key (tenant_id, course_id, category_id),
  constraint categorised_course_is_of_the_same_tenant foreign key (tenant_id, course_id)
    references lms.courses (tenant_id, id) on delete cascade,
  constraint category_of_course_is_of_the_same_tenant foreign key (tenant_id, category_id)
    references lms.categories (tenant_id, id)
);
create index course_categories_by_category on lms.course_categories (tenant_id, category_id, course_id);
create index course_categories_by_category_alone on lms.course_categories (category_id, course_id);

comment on table lms.course_categories is 'Which course is in which category; any number of them.';
comment on column lms.course_categories.tenant_id is 'Taken from the course.';

create table lms.course_tags (
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  course_id uuid not null,
  tag_id uuid not null,
  created_at timestamptz not null default now(),
  primary key (tenant_id, course_id, tag_id),
  constraint tagged_course_is_of_the_same_tenant foreign key (tenant_id, course_id)
    references lms.courses (tenant_id, id) on delete cascade,
  constraint tag_of_course_is_of_the_same_tenant foreign key (tenant_id, tag_id)
    references lms.tags (tenant_id, id) on delete cascade
);
create index course_tags_by_tag on lms.course_tags (tenant_id, tag_id, course_id);
create index course_tags_by_tag_alone on lms.course_tags (tag_id, course_id);

comment on table lms.course_tags is 'Which course is marked with which tag.';
comment on column lms.course_tags.tenant_id is 'Taken from the course.';

create trigger _100_timestamps before update on lms.categories
  for each row execute function private.touch_updated_at();
create trigger _100_timestamps before update on lms.tags
  for each row execute function private.touch_updated_at();

-- =====================================================================================================
-- The tree
-- =====================================================================================================

-- As with org units: two concurrent moves could each be harmless and together make a cycle, and two additions meet on
-- one place, so changes of one tenant's tree queue up behind the tenant's row.
create function private.place_category()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if tg_op = 'UPDATE' and (new.tenant_id, new.id) is distinct from (old.tenant_id, old.id) then
    raise insufficient_privilege using message = 'A category keeps its id and its tenant.';
  end if;
  perform from lms.tenants where id = new.tenant_id for no key update;
  -- Among its new siblings a moved category has no place of its own, unless it is given one by the same statement.
  if new.order_index < 0
    or (tg_op = 'UPDATE' and new.parent_id is distinct from old.parent_id and new.order_index = old.order_index)
  then
    select private.next_place(max(c.order_index)) into new.order_index
    from lms.categories c
    where c.tenant_id = new.tenant_id and c.parent_id is not distinct from new.parent_id and c.id <> new.id;
  end if;
  return new;
end
$$;

create trigger _200_place before insert or update of id, tenant_id, parent_id on lms.categories
  for each row execute function private.place_category();

create function private.keep_category_tree()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if tg_op = 'INSERT' then
    -- One statement may bring children before their parents: those that came before hang below the new one.
    insert into private.category_closure (ancestor_id, descendant_id, depth)
    select new.id, new.id, 0
    union all
    select new.id, below.descendant_id, below.depth + 1
    from lms.categories child
    join private.category_closure below on below.ancestor_id = child.id
    where child.parent_id = new.id;
  end if;

  if exists (
    select from private.category_closure where ancestor_id = new.id and descendant_id = new.parent_id
  ) then
    perform private.fail(
      'category_below_itself', 'A category cannot be placed below itself.', 409,
      jsonb_build_object('category_id', new.id, 'parent_id', new.parent_id)
    );
  end if;

  if tg_op = 'UPDATE' then
    delete from private.category_closure c
    using private.category_closure below
    where below.ancestor_id = new.id
      and c.descendant_id = below.descendant_id
      and not exists (
        select from private.category_closure inner_link
        where inner_link.ancestor_id = new.id and inner_link.descendant_id = c.ancestor_id
      );
  end if;

  insert into private.category_closure (ancestor_id, descendant_id, depth)
  select above.ancestor_id, below.descendant_id, above.depth + below.depth + 1
  from private.category_closure above
  cross join private.category_closure below
  where above.descendant_id = new.parent_id and below.ancestor_id = new.id;

  -- A chain of thousands would make the closure as large as its square.
  if exists (
    select
    from private.category_closure below
    join private.category_closure chain on chain.descendant_id = below.descendant_id
    where below.ancestor_id = new.id and chain.depth >= 10
  ) then
    perform private.fail(
      'category_too_deep', 'Categories go ten levels deep.', 409,
      jsonb_build_object('category_id', new.id, 'levels', 10)
    );
  end if;
  return null;
end
$$;

create trigger _500_tree_on_insert after insert on lms.categories
  for each row execute function private.keep_category_tree();
create trigger _500_tree_on_move after update of parent_id on lms.categories
  for each row when (old.parent_id is distinct from new.parent_id)
  execute function private.keep_category_tree();

-- Whoever deletes a branch by mistake would have to find all of its courses again. Courses that were deleted do not
-- hold a category that nobody could empty; restored, they come back without it.
create function private.keep_used_category()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if exists (select from lms.categories c where c.tenant_id = old.tenant_id and c.parent_id = old.id)
    or exists (
      select
      from lms.course_categories p
      join lms.courses c on c.id = p.course_id and c.deleted_at is null
      where p.tenant_id = old.tenant_id and p.category_id = old.id
    )
  then
    perform private.fail(
      'category_in_use', 'Courses or other categories are in this category.', 409,
      jsonb_build_object('category_id', old.id), 'Move or remove them first.'
    );
  end if;
  delete from lms.course_categories p where p.tenant_id = old.tenant_id and p.category_id = old.id;
  return old;
end
$$;

create trigger _150_unused before delete on lms.categories
  for each row execute function private.keep_used_category();

-- The tenant follows from the course, so that a claimed one cannot be wrong; the foreign key then refuses categories and
-- tags of another tenant exactly as those that do not exist.
create function private.place_in_tenant_of_course()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  select c.tenant_id into new.tenant_id from lms.courses c where c.id = new.course_id;
  new.tenant_id := coalesce(new.tenant_id, '00000000-0000-0000-0000-000000000000');
  return new;
end
$$;

create trigger _200_place before insert or update on lms.course_categories
  for each row execute function private.place_in_tenant_of_course();
create trigger _200_place before insert or update on lms.course_tags
  for each row execute function private.place_in_tenant_of_course();

-- =====================================================================================================
-- Calls
-- =====================================================================================================

create view private.category_scopes as
  select c.ancestor_id, c.descendant_id from private.category_closure c;

comment on view private.category_scopes is
  'Which category lies at or below which, for policies and counts. Not an invoker''s view, on purpose: the closure is no '
  'client''s table. Tells only ids; clients cannot address it.';
grant select on private.category_scopes to anon, authenticated;

create type lms.category_node as (
  id uuid,
  parent_id uuid,
  depth integer,
  slug text,
  name text,
  description text,
  icon_url text,
  color text,
  order_index integer,
  course_count integer,
  total_course_count integer
);

comment on type lms.category_node is
  'A category; how many published courses that the caller sees are in it, and in it or below it (a course that is in '
  'several of these counts once).';

create function lms.get_categories(p_tenant_id uuid)
returns lms.category_node[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    with recursive tree as (
      select c.id, 0 as depth, array[c.order_index] as path
      from lms.categories c
      where c.tenant_id = p_tenant_id and c.parent_id is null
      union all
      select c.id, t.depth + 1, t.path || c.order_index
      from tree t
      join lms.categories c on c.tenant_id = p_tenant_id and c.parent_id = t.id
    ), placed as materialized (
      select p.category_id, p.course_id
      from lms.course_categories p
      join lms.courses c on c.id = p.course_id
      where p.tenant_id = p_tenant_id and c.status = 'published'
    ), counted as (
      select
        k.ancestor_id as id,
        count(*) filter (where p.category_id = k.ancestor_id) as own,
        count(distinct p.course_id) as total
      from placed p
      join private.category_scopes k on k.descendant_id = p.category_id
      group by k.ancestor_id
    )
    select coalesce(
      array_agg((
        c.id, c.parent_id, t.depth, c.slug, c.name, c.description, c.icon_url, c.color, c.order_index,
        coalesce(n.own, 0), coalesce(n.total, 0)
      )::lms.category_node order by t.path),
      '{}'
    )
    from tree t
    join lms.categories c on c.id = t.id
    left join counted n on n.id = t.id
  );
end
$$;

comment on function lms.get_categories is
  'The categories of a tenant that the caller sees, each before those below it, with the numbers of published courses '
  'that the caller sees. Empty for a tenant that shows the caller nothing.';

grant execute on function lms.get_categories to anon, authenticated, service_role;

-- =====================================================================================================
-- Policies and grants
-- =====================================================================================================
-- Members see the whole taxonomy of their tenant. Everybody else sees what leads to a course that they see: the name of
-- a category may tell what an organisation is up to. Which courses those are, is asked of the policies of courses.

alter table lms.categories enable row level security;
alter table lms.tags enable row level security;
alter table lms.course_categories enable row level security;
alter table lms.course_tags enable row level security;

grant all on lms.categories, lms.tags, lms.course_categories, lms.course_tags to service_role;
grant select on lms.categories, lms.tags, lms.course_categories, lms.course_tags to anon, authenticated;
grant delete on lms.categories, lms.tags, lms.course_categories, lms.course_tags to authenticated;
grant insert (tenant_id, parent_id, slug, name, description, icon_url, color, order_index) on lms.categories to authenticated;
grant update (parent_id, slug, name, description, icon_url, color, order_index) on lms.categories to authenticated;
grant insert (tenant_id, slug, name, color) on lms.tags to authenticated;
grant update (slug, name, color) on lms.tags to authenticated;
grant insert (course_id, category_id) on lms.course_categories to authenticated;
grant insert (course_id, tag_id) on lms.course_tags to authenticated;

create policy "Categories are seen with public courses in or below them" on lms.categories
  for select to anon
  using (
    exists (
      select
      from private.category_scopes k
      join lms.course_categories p on p.category_id = k.descendant_id
      where k.ancestor_id = categories.id
    )
  );

create policy "Categories are seen by members, and with courses in or below" on lms.categories
  for select to authenticated
  using (
    tenant_id = any (array(select private.my_tenants()))
    or exists (
      select
      from private.category_scopes k
      join lms.course_categories p on p.category_id = k.descendant_id
      where k.ancestor_id = categories.id
    )
  );

create policy "Categories are added by those who write the catalogue" on lms.categories
  for insert to authenticated
  with check (tenant_id = any (array(select private.tenants_where('catalog.write'))));

create policy "Categories are changed by those who write the catalogue" on lms.categories
  for update to authenticated
  using (tenant_id = any (array(select private.tenants_where('catalog.write'))))
  with check (tenant_id = any (array(select private.tenants_where('catalog.write'))));

create policy "Categories are removed by those who write the catalogue" on lms.categories
  for delete to authenticated
  using (tenant_id = any (array(select private.tenants_where('catalog.write'))));

create policy "Tags are seen with public courses that bear them" on lms.tags
  for select to anon
  using (exists (select from lms.course_tags m where m.tag_id = tags.id));

create policy "Tags are seen by members, and with courses that bear them" on lms.tags
  for select to authenticated
  using (
    tenant_id = any (array(select private.my_tenants()))
    or exists (select from lms.course_tags m where m.tag_id = tags.id)
  );

create policy "Tags are added by those who write the catalogue" on lms.tags
  for insert to authenticated
  with check (tenant_id = any (array(select private.tenants_where('catalog.write'))));

create policy "Tags are changed by those who write the catalogue" on lms.tags
  for update to authenticated
  using (tenant_id = any (array(select private.tenants_where('catalog.write'))))
  with check (tenant_id = any (array(select private.tenants_where('catalog.write'))));

create policy "Tags are removed by those who write the catalogue" on lms.tags
  for delete to authenticated
  using (tenant_id = any (array(select private.tenants_where('catalog.write'))));

create policy "The categories of a public course are seen with it" on lms.course_categories
  for select to anon
  using (exists (select from lms.courses c where c.id = course_id));

create policy "The categories of a course are seen with it" on lms.course_categories
  for select to authenticated
  using (exists (select from lms.courses c where c.id = course_id));

create policy "Courses are put into categories by staff" on lms.course_categories
  for insert to authenticated
  with check (
    exists (select from lms.courses c where c.id = course_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  );

create policy "Courses are taken out of categories by staff" on lms.course_categories
  for delete to authenticated
  using (
    exists (select from lms.courses c where c.id = course_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  );

create policy "The tags of a public course are seen with it" on lms.course_tags
  for select to anon
  using (exists (select from lms.courses c where c.id = course_id));

create policy "The tags of a course are seen with it" on lms.course_tags
  for select to authenticated
  using (exists (select from lms.courses c where c.id = course_id));

create policy "Courses are tagged by staff" on lms.course_tags
  for insert to authenticated
  with check (
    exists (select from lms.courses c where c.id = course_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  );

create policy "Tags are taken off courses by staff" on lms.course_tags
  for delete to authenticated
  using (
    exists (select from lms.courses c where c.id = course_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  );

notify pgrst, 'reload schema';
