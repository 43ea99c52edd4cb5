-- Duplication: a course as the beginning of another one, also in another tenant.
-- Undo: drop functions lms.duplicate_course, private.duplicate_course_of, private.copied_id.

set lock_timeout = '5s';
set statement_timeout = '60s';

create function private.copied_id(p_course_id uuid, p_original_id uuid)
returns uuid
language sql
immutable
set search_path = ''
as $$
  select md5(p_course_id::text || p_original_id::text)::uuid
$$;

comment on function private.copied_id is 'The id of the copy, in the new course, of a module, lesson or block.';

-- Definer, because blocks and two tenants are involved; so it checks its caller on both sides.
create function private.duplicate_course_of(p_course_id uuid, p_tenant_id uuid, p_slug text, p_title text)
returns lms.courses
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_source lms.courses;
  v_copy lms.courses;
begin
  select * into v_source from lms.courses c where c.id = p_course_id for share;
  if private.is_api_call() then
    if not coalesce(
      v_source.id = any (array(select private.staffed_courses()))
        or v_source.tenant_id = any (array(select private.tenants_where('catalog.write'))),
      false
    ) then
      raise insufficient_privilege using message = 'Copying a course takes being staff of it, or catalog.write.';
    elsif not coalesce(
      p_tenant_id = any (array(select private.tenants_partly_where('catalog.author')))
        or p_tenant_id = any (array(select private.tenants_where('catalog.write'))),
      false
    ) then
      -- The same for a tenant that the caller does not belong to and for none.
      raise insufficient_privilege using message = 'Creating a course there takes catalog.author.';
    end if;
  end if;

  insert into lms.courses (
    tenant_id, slug, title, description, visibility, difficulty, language, estimated_minutes, price, currency,
    instructor_id, required_score, allow_retake, max_attempts, capacity, self_enrollment, is_sequential,
    issues_certificate, certificate_validity_months, certificate_renewal_days, thumbnail_url, meta_description,
    meta_keywords, version_label, metadata
  )
  values (
    p_tenant_id,
    coalesce(p_slug, (
      select s.slug
      from (
        select v_source.slug as slug, 0 as place
        union all
        select rtrim(left(v_source.slug, 90), '-') || '-copy' || case when n > 1 then '-' || n else '' end, n
        from generate_series(1, 1000) n
      ) s
      where not exists (select from lms.courses c where c.tenant_id = p_tenant_id and c.slug = s.slug)
      order by s.place
      limit 1
    )),
    coalesce(p_title, v_source.title), v_source.description, v_source.visibility, v_source.difficulty, v_source.language,
    v_source.estimated_minutes, v_source.price, v_source.currency, coalesce((select auth.uid()), v_source.instructor_id),
    v_source.required_score, v_source.allow_retake, v_source.max_attempts, v_source.capacity, v_source.self_enrollment,
    v_source.is_sequential, v_source.issues_certificate, v_source.certificate_validity_months,
    v_source.certificate_renewal_days, v_source.thumbnail_url, v_source.meta_description, v_source.meta_keywords,
    v_source.version_label, v_source.metadata
  )
  returning * into v_copy;

  insert into lms.modules (id, course_id, key, title, description, order_index)
  select private.copied_id(v_copy.id, m.id), v_copy.id, m.key, m.title, m.description, m.order_index
  from lms.modules m
  where m.course_id = p_course_id and m.deleted_at is null;

  insert into lms.lessons (
    id, module_id, key, title, description, type, duration, order_index, requires_completion, is_published, is_preview,
    objectives, completion_rule, required_watched_percentage, release_after_days, release_on
  )
  select
    private.copied_id(v_copy.id, l.id), private.copied_id(v_copy.id, l.module_id), l.key, l.title, l.description,
    l.type, l.duration, l.order_index, l.requires_completion, l.is_published, l.is_preview, l.objectives, l.completion_rule,
    l.required_watched_percentage, l.release_after_days, l.release_on
  from lms.lessons l
  join lms.modules m on m.id = l.module_id and m.deleted_at is null
  where l.course_id = p_course_id and l.deleted_at is null;

  insert into lms.lesson_blocks (id, lesson_id, type, title, content, metadata, is_optional, order_index)
  select
    private.copied_id(v_copy.id, b.id), l.id, b.type, b.title, b.content, b.metadata, b.is_optional, b.order_index
  from lms.lesson_blocks b
  join lms.lessons l on l.id = private.copied_id(v_copy.id, b.lesson_id)
  where b.course_id = p_course_id and b.deleted_at is null;

  insert into lms.lesson_prerequisites (lesson_id, prerequisite_lesson_id)
  select l.id, needed.id
  from lms.lesson_prerequisites p
  join lms.lessons l on l.id = private.copied_id(v_copy.id, p.lesson_id)
  join lms.lessons needed on needed.id = private.copied_id(v_copy.id, p.prerequisite_lesson_id)
  where p.course_id = p_course_id;

  -- Skills are the tenant's: elsewhere those of the same key are taken, and added where there is none.
  insert into lms.skills (tenant_id, key, name, description)
  select p_tenant_id, s.key, s.name, s.description
  from lms.skills s
  where exists (
    select
    from lms.lesson_skills k
    join lms.lessons l on l.id = private.copied_id(v_copy.id, k.lesson_id)
    where k.skill_id = s.id and k.course_id = p_course_id
  ) or exists (
    select
    from lms.question_skills k
    join lms.questions q on q.id = k.question_id and q.deleted_at is null
    where k.skill_id = s.id and k.course_id = p_course_id
  )
  on conflict (tenant_id, key) do nothing;
  insert into lms.lesson_skills (lesson_id, skill_id, part, mastery_threshold)
  select l.id, s.id, k.part, k.mastery_threshold
  from lms.lesson_skills k
  join lms.lessons l on l.id = private.copied_id(v_copy.id, k.lesson_id)
  join lms.skills original on original.id = k.skill_id
  join lms.skills s on s.tenant_id = p_tenant_id and s.key = original.key
  where k.course_id = p_course_id;

  insert into lms.assessments (
    id, course_id, lesson_id, key, kind, title, instructions, is_published, is_mandatory, weight, passing_percentage,
    max_attempts, cooldown_minutes, time_limit_minutes, shuffle_questions, shuffle_options, grading_method, answers_shown,
    holds_grades, ai_generated, sources, order_index
  )
  select
    private.copied_id(v_copy.id, a.id), v_copy.id, l.id, a.key, a.kind, a.title, a.instructions, a.is_published,
    a.is_mandatory, a.weight, a.passing_percentage, a.max_attempts, a.cooldown_minutes, a.time_limit_minutes,
    a.shuffle_questions, a.shuffle_options, a.grading_method, a.answers_shown, a.holds_grades, a.ai_generated, a.sources,
    a.order_index
  from lms.assessments a
  left join lms.lessons l on l.id = private.copied_id(v_copy.id, a.lesson_id)
  where a.course_id = p_course_id and a.deleted_at is null and (a.lesson_id is null or l.id is not null);
  insert into lms.assessment_sections (id, assessment_id, key, title, draw_count, order_index)
  select private.copied_id(v_copy.id, s.id), a.id, s.key, s.title, s.draw_count, s.order_index
  from lms.assessment_sections s
  join lms.assessments a on a.id = private.copied_id(v_copy.id, s.assessment_id)
  where s.course_id = p_course_id and s.deleted_at is null;
  insert into lms.questions (
    id, assessment_id, section_id, question_key, type, prompt, content, points, scoring, order_index
  )
  select
    private.copied_id(v_copy.id, q.id), a.id, s.id, q.question_key, q.type, q.prompt, q.content, q.points, q.scoring,
    q.order_index
  from lms.questions q
  join lms.assessments a on a.id = private.copied_id(v_copy.id, q.assessment_id)
  left join lms.assessment_sections s on s.id = private.copied_id(v_copy.id, q.section_id)
  where q.course_id = p_course_id and q.deleted_at is null;
  insert into private.answer_keys (question_id, tenant_id, course_id, key, explanation, updated_by)
  select q.id, q.tenant_id, q.course_id, k.key, k.explanation, (select auth.uid())
  from private.answer_keys k
  join lms.questions q on q.id = private.copied_id(v_copy.id, k.question_id)
  where k.course_id = p_course_id;
  insert into lms.question_skills (question_id, skill_id)
  select q.id, s.id
  from lms.question_skills k
  join lms.questions q on q.id = private.copied_id(v_copy.id, k.question_id)
  join lms.skills original on original.id = k.skill_id
  join lms.skills s on s.tenant_id = p_tenant_id and s.key = original.key
  where k.course_id = p_course_id;

  -- Who trains, and where, is the organisation's; what has to be kept, and of which materials, is the course's.
  insert into lms.training_record_settings (course_id, keeps_training_record, materials, trainer_name, trainer_address)
  select
    v_copy.id, s.keeps_training_record, s.materials, case when s.tenant_id = p_tenant_id then s.trainer_name end,
    case when s.tenant_id = p_tenant_id then s.trainer_address end
  from lms.training_record_settings s
  where s.course_id = p_course_id;

  -- Categories and tags belong to their tenant.
  insert into lms.course_categories (course_id, category_id)
  select v_copy.id, c.category_id
  from lms.course_categories c
  where c.course_id = p_course_id and c.tenant_id = p_tenant_id;
  insert into lms.course_tags (course_id, tag_id)
  select v_copy.id, t.tag_id
  from lms.course_tags t
  where t.course_id = p_course_id and t.tenant_id = p_tenant_id;
  return v_copy;
end
$$;

create function lms.duplicate_course(
  p_course_id uuid, p_tenant_id uuid default null, p_slug text default null, p_title text default null
)
returns lms.courses
language plpgsql
volatile
set search_path = ''
as $$
begin
  perform private.require_course(p_course_id);
  return private.duplicate_course_of(
    p_course_id, coalesce(p_tenant_id, (select c.tenant_id from lms.courses c where c.id = p_course_id)), p_slug, p_title
  );
end
$$;

comment on function lms.duplicate_course is
  'Copies the draft of a course, blocks, assessments and keys included, into a new draft of the same or another tenant; the caller becomes its '
  'instructor. Within a tenant it keeps categories and tags. Takes being staff of the course, or catalog.write, and catalog.author where the copy goes. Without p_slug the '
  'old one is used, or one with -copy. 404 course_not_found; 403; 23505 course_slug_is_taken.';

grant execute on function private.duplicate_course_of to authenticated, service_role;
grant execute on function lms.duplicate_course to authenticated, service_role;

notify pgrst, 'reload schema';
