-- Learning paths, and people on them.

create table world.paths (name text primary key, tenant text, status text, visibility text, author text, courses text[]);

insert into world.paths values
  ('public', 'home', 'published', 'public', 'teacher', '{public,restricted}'),
  -- Everybody who belongs to home is on it.
  ('basics', 'home', 'published', 'public', 'teacher', '{public}'),
  ('restricted', 'home', 'published', 'restricted', 'teacher', '{restricted,private}'),
  ('enrolled', 'home', 'archived', 'restricted', 'teacher', '{public,private}'),
  ('draft', 'home', 'draft', 'public', 'teacher', '{public}'),
  ('own', 'home', 'draft', 'restricted', 'instructor', '{staffed,public}'),
  ('deleted', 'home', 'published', 'public', 'teacher', '{public}'),
  ('abroad_public', 'abroad', 'published', 'public', 'abroad_teacher', '{abroad_public,abroad_restricted}'),
  ('abroad_restricted', 'abroad', 'published', 'restricted', 'abroad_teacher', '{abroad_restricted}');

insert into lms.learning_paths (
  id, tenant_id, slug, title, description, thumbnail_url, status, visibility, published_at, created_by, deleted_at
)
select
  world.id('paths.' || name), world.id('tenants.' || tenant), world.canary('path-slug.' || name),
  world.canary('path-title.' || name), world.canary('path-description.' || name),
  '/' || world.canary('path-thumbnail.' || name), status, visibility, case when status <> 'draft' then now() end,
  world.id('people.' || author), case when name = 'deleted' then now() end
from world.paths;

insert into lms.learning_path_courses (path_id, course_id)
select world.id('paths.' || p.name), world.id('courses.' || c.name)
from world.paths p
cross join unnest(p.courses) with ordinality as c (name, place)
order by p.name, c.place;

insert into lms.path_enrollments (id, tenant_id, path_id, user_id, source, items_total)
select
  world.id('ways.' || e.name), world.id('tenants.' || e.tenant), world.id('paths.' || e.path),
  world.id('people.' || e.person), 'assigned', (select count(*) from lms.learning_path_courses c where c.path_id = world.id('paths.' || e.path))
from (
  select p.name, p.tenant, 'basics', p.name
  from world.people p
  where p.tenant = 'home' and p.name not in ('teacher', 'colleague', 'deputy', 'chief', 'neighbor', 'fellow', 'mover')
  union all values
    ('learner_archived', 'home', 'enrolled', 'learner'), ('colleague', 'home', 'restricted', 'colleague'),
    ('neighbor', 'home', 'restricted', 'neighbor'), ('abroad_learner', 'abroad', 'abroad_restricted', 'abroad_learner'),
    ('outsider', 'abroad', 'abroad_restricted', 'outsider')
) as e (name, tenant, path, person);

-- What a path is to this person.
create function world.path_is(p_kind text, p_path_id uuid, p_person_id uuid)
returns boolean
language sql
stable
return (
  select p_kind = case
    when p.deleted_at is not null then 'deleted'
    when p.created_by = p_person_id then 'own'
    when p.status = 'published' and p.visibility = 'public' then
      case p.tenant_id when world.the('tenants.home') then 'public' else 'foreign_public' end
    when p.tenant_id <> world.the('tenants.home') then 'foreign'
    when p.status = 'published' then 'restricted'
    when exists (select from lms.path_enrollments e where e.path_id = p.id and e.user_id = p_person_id) then 'enrolled'
    else 'private'
  end
  from lms.learning_paths p
  where p.id = p_path_id
);
