-- Deletion: what authors take away, bring back, and put in another order. Rows are marked, never removed: an UPDATE that
-- makes a row invisible to its writer fails under row level security, so these are calls.
-- Undo: drop functions lms.delete_*, restore_*, get_deleted_items, reorder; drop type lms.deleted_item; then the helpers.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Who may
-- =====================================================================================================

-- Of a course that the caller does not see nothing exists for them; of one that they see, only its staff and
-- administrators take something away. The course is locked: what is deleted is not published meanwhile.
create function private.require_course_editor(p_course_id uuid, p_kind text)
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  if private.is_api_call() and not exists (
    select from lms.courses c
    where c.id = p_course_id and (
      c.id = any (array(select private.staffed_courses()))
      or c.tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  ) then
    raise insufficient_privilege using message = 'This takes being staff of the course, or catalog.write.';
  end if;
  perform from lms.courses c where c.id = p_course_id for no key update;
  if not found then
    perform private.fail(p_kind || '_not_found', format('There is no such %s.', p_kind), 404);
  end if;
end
$$;

-- The same for what is deleted, which nobody sees: who may not restore it is told that there is nothing.
create function private.require_course_restorer(p_course_id uuid, p_kind text)
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  perform private.require_course_editor(p_course_id, p_kind);
exception
  when insufficient_privilege then
    perform private.fail(p_kind || '_not_found', format('There is no such %s.', p_kind), 404);
end
$$;

-- =====================================================================================================
-- Courses
-- =====================================================================================================

create function private.delete_course_of(p_course_id uuid)
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_open integer;
begin
  perform private.require_course_editor(p_course_id, 'course');
  v_open := private.count_taken_seats(p_course_id);
  if v_open > 0 then
    perform private.fail(
      'course_in_use', 'People are taking this course.', 409, jsonb_build_object('open_enrollments', v_open),
      'Archive it: archive_course.'
    );
  end if;
  update lms.courses c set deleted_at = now() where c.id = p_course_id and c.deleted_at is null;
end
$$;

create function lms.delete_course(p_course_id uuid)
returns void
language plpgsql
volatile
set search_path = ''
as $$
begin
  perform private.require_course(p_course_id);
  perform private.delete_course_of(p_course_id);
end
$$;

comment on function lms.delete_course is
  'Takes a course away; what people did in it stays on record, and restore_course brings it back. 404 course_not_found; 403 '
  'when the caller is neither staff of it nor holds catalog.write; 409 course_in_use {open_enrollments}.';

create function private.restore_course_of(p_course_id uuid)
returns lms.courses
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_course lms.courses;
begin
  perform private.require_course_restorer(p_course_id, 'course');
  update lms.courses c set deleted_at = null where c.id = p_course_id returning * into v_course;
  return v_course;
end
$$;

create function lms.restore_course(p_course_id uuid)
returns lms.courses
language plpgsql
volatile
set search_path = ''
as $$
begin
  return private.restore_course_of(p_course_id);
end
$$;

comment on function lms.restore_course is 'Brings back a course that was deleted. 404 course_not_found.';

-- =====================================================================================================
-- Modules, lessons and blocks
-- =====================================================================================================
-- What hangs below goes and comes back with it: it bears the same instant. What was deleted before stays deleted.

create function private.delete_part(p_kind text, p_id uuid)
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_course_id uuid;
  -- Not now(): two deletions of one transaction are two.
  v_at constant timestamptz := clock_timestamp();
begin
  v_course_id := case p_kind
    when 'module' then (select m.course_id from lms.modules m where m.id = p_id)
    when 'lesson' then (select l.course_id from lms.lessons l where l.id = p_id)
    else (select b.course_id from lms.lesson_blocks b where b.id = p_id)
  end;
  perform private.require_course_editor(v_course_id, p_kind);
  update lms.modules m set deleted_at = v_at where p_kind = 'module' and m.id = p_id and m.deleted_at is null;
  update lms.lessons l
  set deleted_at = v_at
  where l.deleted_at is null
    and case p_kind when 'module' then l.module_id = p_id when 'lesson' then l.id = p_id else false end;
  update lms.lesson_blocks b
  set deleted_at = v_at
  where b.deleted_at is null and b.course_id = v_course_id and case p_kind
    when 'block' then b.id = p_id
    else b.lesson_id in (select l.id from lms.lessons l where l.course_id = v_course_id and l.deleted_at = v_at)
  end;
end
$$;

create function private.restore_part(p_kind text, p_id uuid)
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_part record;
begin
  if p_kind = 'module' then
    select m.course_id, m.deleted_at, c.deleted_at is not null as is_below_deleted into v_part
    from lms.modules m
    join lms.courses c on c.id = m.course_id
    where m.id = p_id;
  elsif p_kind = 'lesson' then
    select l.course_id, l.deleted_at, coalesce(c.deleted_at, m.deleted_at) is not null as is_below_deleted into v_part
    from lms.lessons l
    join lms.modules m on m.id = l.module_id
    join lms.courses c on c.id = l.course_id
    where l.id = p_id;
  else
    select b.course_id, b.deleted_at, coalesce(c.deleted_at, l.deleted_at) is not null as is_below_deleted into v_part
    from lms.lesson_blocks b
    join lms.lessons l on l.id = b.lesson_id
    join lms.courses c on c.id = b.course_id
    where b.id = p_id;
  end if;
  perform private.require_course_restorer(v_part.course_id, p_kind);
  if v_part.is_below_deleted then
    perform private.fail(
      'parent_deleted', format('What this %s belongs to is deleted.', p_kind), 409, jsonb_build_object('id', p_id),
      'Restore that first: get_deleted_items lists it.'
    );
  end if;

  -- Its place may have been taken since: then it goes last.
  update lms.modules m
  set deleted_at = null,
      order_index = case
        when exists (
          select from lms.modules s where s.course_id = m.course_id and s.order_index = m.order_index and s.deleted_at is null
        ) then (select private.next_place(max(s.order_index)) from lms.modules s where s.course_id = m.course_id and s.deleted_at is null)
        else m.order_index
      end
  where p_kind = 'module' and m.id = p_id and m.deleted_at is not null;
  update lms.lessons l
  set deleted_at = null,
      order_index = case
        when exists (
          select from lms.lessons s where s.module_id = l.module_id and s.order_index = l.order_index and s.deleted_at is null
        ) then (select private.next_place(max(s.order_index)) from lms.lessons s where s.module_id = l.module_id and s.deleted_at is null)
        else l.order_index
      end
  where l.deleted_at = v_part.deleted_at
    and case p_kind when 'module' then l.module_id = p_id when 'lesson' then l.id = p_id else false end;
  update lms.lesson_blocks b
  set deleted_at = null,
      order_index = case
        when exists (
          select from lms.lesson_blocks s where s.lesson_id = b.lesson_id and s.order_index = b.order_index and s.deleted_at is null
        ) then (select private.next_place(max(s.order_index)) from lms.lesson_blocks s where s.lesson_id = b.lesson_id and s.deleted_at is null)
        else b.order_index
      end
  where b.deleted_at = v_part.deleted_at and b.course_id = v_part.course_id and case p_kind
    when 'block' then b.id = p_id
    when 'lesson' then b.lesson_id = p_id
    else b.lesson_id in (select l.id from lms.lessons l where l.module_id = p_id)
  end;
end
$$;

create function lms.delete_module(p_module_id uuid)
returns void
language plpgsql
volatile
set search_path = ''
as $$
begin
  if not exists (select from lms.modules m where m.id = p_module_id) then
    perform private.fail('module_not_found', 'There is no such module.', 404);
  end if;
  perform private.delete_part('module', p_module_id);
end
$$;

comment on function lms.delete_module is
  'Takes a module, its lessons and their blocks out of the draft; published versions keep them. restore_module brings all '
  'of it back. 404 module_not_found; 403 when the caller is neither staff of the course nor holds catalog.write.';

create function lms.delete_lesson(p_lesson_id uuid)
returns void
language plpgsql
volatile
set search_path = ''
as $$
begin
  if not exists (select from lms.lessons l where l.id = p_lesson_id) then
    perform private.fail('lesson_not_found', 'There is no such lesson.', 404);
  end if;
  perform private.delete_part('lesson', p_lesson_id);
end
$$;

comment on function lms.delete_lesson is
  'Takes a lesson and its blocks out of the draft; published versions keep them. 404 lesson_not_found; 403 as delete_module.';

create function lms.delete_block(p_block_id uuid)
returns void
language plpgsql
volatile
set search_path = ''
as $$
begin
  if not exists (select from lms.lesson_blocks b where b.id = p_block_id) then
    perform private.fail('block_not_found', 'There is no such block.', 404);
  end if;
  perform private.delete_part('block', p_block_id);
end
$$;

comment on function lms.delete_block is
  'Takes a block out of the draft; published versions keep it. 404 block_not_found; 403 as delete_module.';

create function lms.restore_module(p_module_id uuid)
returns lms.modules
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_module lms.modules;
begin
  perform private.restore_part('module', p_module_id);
  select * into v_module from lms.modules m where m.id = p_module_id;
  return v_module;
end
$$;

comment on function lms.restore_module is
  'Brings back a module with what was deleted together with it, in its old place or, if that is taken, last. 404 '
  'module_not_found; 409 parent_deleted.';

create function lms.restore_lesson(p_lesson_id uuid)
returns lms.lessons
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_lesson lms.lessons;
begin
  perform private.restore_part('lesson', p_lesson_id);
  select * into v_lesson from lms.lessons l where l.id = p_lesson_id;
  return v_lesson;
end
$$;

comment on function lms.restore_lesson is 'As restore_module, for a lesson. 404 lesson_not_found; 409 parent_deleted.';

create function lms.restore_block(p_block_id uuid)
returns lms.lesson_blocks
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_block lms.lesson_blocks;
begin
  perform private.restore_part('block', p_block_id);
  select * into v_block from lms.lesson_blocks b where b.id = p_block_id;
  return v_block;
end
$$;

comment on function lms.restore_block is 'As restore_module, for a block. 404 block_not_found; 409 parent_deleted.';

-- =====================================================================================================
-- What can be restored
-- =====================================================================================================

create type lms.deleted_item as (kind text, id uuid, course_id uuid, title text, deleted_at timestamptz);
comment on type lms.deleted_item is
  'kind: course, module, lesson, block, assessment, section or question; what was deleted with it is not listed apart.';

-- Definer, because nobody sees what is deleted; so it answers for courses that the caller may restore.
create function private.list_deleted_items(p_tenant_id uuid, p_limit integer, p_after_id uuid)
returns setof lms.deleted_item
language plpgsql
stable security definer
rows 100
set search_path = ''
as $$
begin
  return query
  with mine as (
    select c.id, c.title, c.deleted_at
    from lms.courses c
    where c.tenant_id = p_tenant_id and (
      not private.is_api_call()
      or c.id = any (array(select private.staffed_courses()))
      or c.tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  ), items as (
    select 'course' as kind, c.id, c.id as course_id, c.title::text as title, c.deleted_at
    from mine c
    where c.deleted_at is not null
    union all
    select 'module', m.id, m.course_id, m.title::text, m.deleted_at
    from lms.modules m
    join mine c on c.id = m.course_id and c.deleted_at is null
    where m.deleted_at is not null
    union all
    select 'lesson', l.id, l.course_id, l.title::text, l.deleted_at
    from lms.lessons l
    join mine c on c.id = l.course_id and c.deleted_at is null
    join lms.modules m on m.id = l.module_id and m.deleted_at is null
    where l.deleted_at is not null
    union all
    select 'block', b.id, b.course_id, coalesce(b.title::text, l.title), b.deleted_at
    from lms.lesson_blocks b
    join mine c on c.id = b.course_id and c.deleted_at is null
    join lms.lessons l on l.id = b.lesson_id and l.deleted_at is null
    where b.deleted_at is not null
    union all
    select 'assessment', a.id, a.course_id, a.title::text, a.deleted_at
    from lms.assessments a
    join mine c on c.id = a.course_id and c.deleted_at is null
    where a.deleted_at is not null
    union all
    select 'section', s.id, s.course_id, s.title::text, s.deleted_at
    from lms.assessment_sections s
    join mine c on c.id = s.course_id and c.deleted_at is null
    join lms.assessments a on a.id = s.assessment_id and a.deleted_at is null
    where s.deleted_at is not null
    union all
    select 'question', q.id, q.course_id, left(q.prompt, 300), q.deleted_at
    from lms.questions q
    join mine c on c.id = q.course_id and c.deleted_at is null
    join lms.assessments a on a.id = q.assessment_id and a.deleted_at is null
    left join lms.assessment_sections s on s.id = q.section_id
    where q.deleted_at is not null and s.deleted_at is null
  )
  select i.kind, i.id, i.course_id, i.title, i.deleted_at
  from items i
  where p_after_id is null
    or (i.deleted_at, i.id) < (select a.deleted_at, a.id from items a where a.id = p_after_id)
  order by i.deleted_at desc, i.id desc
  limit p_limit;
end
$$;

create function lms.get_deleted_items(p_tenant_id uuid, p_limit integer default 100, p_after_id uuid default null)
returns setof lms.deleted_item
language plpgsql
stable
rows 100
set search_path = ''
as $$
begin
  if p_limit is null or p_limit not between 1 and 1000 then
    perform private.fail('invalid_limit', 'The limit is a number from 1 to 1000.', 422, jsonb_build_object('field', 'p_limit'));
  end if;
  return query select * from private.list_deleted_items(p_tenant_id, p_limit, p_after_id);
end
$$;

comment on function lms.get_deleted_items is
  'What the caller can restore in a tenant, last deleted first: courses that they are staff of, or all with catalog.write. '
  'Next page: p_after_id = the last one received. 422 invalid_limit.';

-- =====================================================================================================
-- Order
-- =====================================================================================================

create function lms.reorder(p_parent_id uuid, p_ids uuid[])
returns void
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_kind text;
  v_siblings uuid[];
begin
  -- Read and locked as the caller, so that what they may not change is not touched: an appended sibling waits. The course
  -- first, as publishing does it.
  if exists (select from lms.courses c where c.id = p_parent_id) then
    v_kind := 'module';
    perform from lms.courses c where c.id = p_parent_id for no key update;
  elsif exists (select from lms.modules m where m.id = p_parent_id) then
    v_kind := 'lesson';
    perform from lms.courses c where c.id = (select m.course_id from lms.modules m where m.id = p_parent_id) for no key update;
    perform from lms.modules m where m.id = p_parent_id for no key update;
  elsif exists (select from lms.lessons l where l.id = p_parent_id) then
    v_kind := 'block';
    perform from lms.courses c where c.id = (select l.course_id from lms.lessons l where l.id = p_parent_id) for no key update;
    perform from lms.lessons l where l.id = p_parent_id for no key update;
  elsif exists (select from lms.assessments a where a.id = p_parent_id) then
    v_kind := 'question';
    perform from lms.courses c where c.id = (select a.course_id from lms.assessments a where a.id = p_parent_id) for no key update;
    perform from lms.assessments a where a.id = p_parent_id for no key update;
  elsif exists (select from lms.learning_paths p where p.id = p_parent_id) then
    v_kind := 'course';
    perform from lms.learning_paths p where p.id = p_parent_id for no key update;
  elsif exists (select from lms.categories k where coalesce(k.parent_id, k.tenant_id) = p_parent_id) then
    v_kind := 'category';
    perform from lms.categories k where coalesce(k.parent_id, k.tenant_id) = p_parent_id order by k.id for no key update;
  else
    perform private.fail(
      'parent_not_found', 'There is no such course, module, lesson, assessment or learning path, nor categories below it.', 404
    );
  end if;
  if not found then
    raise insufficient_privilege using message = 'Reordering takes being staff of the course, or catalog.write.';
  end if;

  v_siblings := case v_kind
    when 'module' then array(select m.id from lms.modules m where m.course_id = p_parent_id)
    when 'lesson' then array(select l.id from lms.lessons l where l.module_id = p_parent_id)
    when 'question' then array(select q.id from lms.questions q where q.assessment_id = p_parent_id)
    when 'course' then array(select c.course_id from lms.learning_path_courses c where c.path_id = p_parent_id)
    when 'category' then array(select k.id from lms.categories k where coalesce(k.parent_id, k.tenant_id) = p_parent_id)
    else array(select b.id from lms.lesson_blocks b where b.lesson_id = p_parent_id)
  end;
  if p_ids is null or cardinality(p_ids) <> cardinality(v_siblings)
    or not (p_ids <@ v_siblings and v_siblings <@ p_ids)
  then
    perform private.fail(
      'order_out_of_date', format('The list is not that of the %s as they are now.', case v_kind when 'category' then 'categories' else v_kind || 's' end), 409,
      jsonb_build_object(
        'missing', to_jsonb(array(select s from unnest(v_siblings) s where s <> all (coalesce(p_ids, '{}')))),
        'unknown', to_jsonb(array(select i from unnest(p_ids) i where i <> all (v_siblings)))
      ),
      'Read the list again.'
    );
  end if;

  case v_kind
    when 'module' then
      update lms.modules m set order_index = p.place - 1
      from unnest(p_ids) with ordinality as p (id, place)
      where m.id = p.id and m.order_index <> p.place - 1;
    when 'lesson' then
      update lms.lessons l set order_index = p.place - 1
      from unnest(p_ids) with ordinality as p (id, place)
      where l.id = p.id and l.order_index <> p.place - 1;
    when 'question' then
      update lms.questions q set order_index = p.place - 1
      from unnest(p_ids) with ordinality as p (id, place)
      where q.id = p.id and q.order_index <> p.place - 1;
    when 'course' then
      -- In the places that they have: a course that was deleted keeps its own, unseen.
      update lms.learning_path_courses c set order_index = s.order_index
      from unnest(p_ids) with ordinality as p (id, place)
      join (
        select k.order_index, row_number() over (order by k.order_index) as place
        from lms.learning_path_courses k
        where k.path_id = p_parent_id
      ) s on s.place = p.place
      where c.path_id = p_parent_id and c.course_id = p.id and c.order_index <> s.order_index;
    when 'category' then
      update lms.categories k set order_index = p.place - 1
      from unnest(p_ids) with ordinality as p (id, place)
      where k.id = p.id and k.order_index <> p.place - 1;
    else
      update lms.lesson_blocks b set order_index = p.place - 1
      from unnest(p_ids) with ordinality as p (id, place)
      where b.id = p.id and b.order_index <> p.place - 1;
  end case;
end
$$;

comment on function lms.reorder is
  'Puts the modules of a course, the lessons of a module, the blocks of a lesson, the questions of an assessment, '
  'the courses of a learning path, the categories below a category, or those at the top of a tenant (p_parent_id) into the order of p_ids, which lists all of '
  'them. 404 parent_not_found; 403 when the caller is neither staff of the course nor holds '
  'catalog.write; 409 order_out_of_date {missing, unknown}.';

grant execute on function
  private.delete_course_of, private.restore_course_of, private.delete_part, private.restore_part, private.list_deleted_items
to authenticated, service_role;
grant execute on function
  lms.delete_course, lms.restore_course, lms.delete_module, lms.restore_module, lms.delete_lesson, lms.restore_lesson,
  lms.delete_block, lms.restore_block, lms.get_deleted_items, lms.reorder
to authenticated, service_role;

notify pgrst, 'reload schema';
