-- Categories and tags, and which courses are in them.

insert into lms.categories (id, tenant_id, parent_id, slug, name, description, icon_url, color)
select
  world.id('categories.' || name), world.id('tenants.' || tenant),
  case when parent <> '' then world.id('categories.' || parent) end,
  world.canary('category-slug.' || name), world.canary('category-name.' || name),
  world.canary('category-description.' || name), '/' || world.canary('category-icon.' || name), '#00ff00'
from (values
  -- Above one that holds a public course, and that one.
  ('above', 'home', ''), ('public', 'home', 'above'),
  ('restricted', 'home', ''), ('private', 'home', ''), ('hidden', 'home', ''), ('empty', 'home', ''),
  ('abroad_public', 'abroad', ''), ('abroad_restricted', 'abroad', ''), ('abroad_empty', 'abroad', '')
) as categories (name, tenant, parent);

insert into lms.tags (id, tenant_id, slug, name, color)
select
  world.id('tags.' || name), world.id('tenants.' || tenant), world.canary('tag-slug.' || name),
  world.canary('tag-name.' || name), '#ff0000'
from (values
  ('public', 'home'), ('restricted', 'home'), ('hidden', 'home'), ('empty', 'home'),
  ('abroad_public', 'abroad'), ('abroad_restricted', 'abroad'), ('abroad_empty', 'abroad')
) as tags (name, tenant);

insert into lms.course_categories (course_id, category_id)
select world.id('courses.' || course), world.id('categories.' || category)
from (values
  ('public', 'public'), ('restricted', 'restricted'), ('enrolled', 'private'), ('private', 'private'),
  ('draft', 'hidden'), ('archived', 'hidden'), ('deleted', 'hidden'), ('staffed', 'private'), ('staffed_draft', 'hidden'),
  ('abroad_public', 'abroad_public'), ('abroad_restricted', 'abroad_restricted'), ('abroad_draft', 'abroad_restricted')
) as places (course, category);

insert into lms.course_tags (course_id, tag_id)
select world.id('courses.' || course), world.id('tags.' || tag)
from (values
  ('public', 'public'), ('restricted', 'restricted'), ('enrolled', 'restricted'), ('private', 'restricted'),
  ('draft', 'hidden'), ('archived', 'hidden'), ('deleted', 'hidden'), ('staffed', 'restricted'),
  ('staffed_draft', 'hidden'),
  ('abroad_public', 'abroad_public'), ('abroad_restricted', 'abroad_restricted'), ('abroad_draft', 'abroad_restricted')
) as marks (course, tag);
