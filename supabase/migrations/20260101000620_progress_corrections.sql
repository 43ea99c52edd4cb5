-- Corrections: what permitted staff changes in somebody's progress, with the reason, kept beside it.
-- Undo: drop function lms.correct_progress; drop table lms.progress_corrections; drop function private.is_correction,
-- private.correct_progress_of.

set lock_timeout = '5s';
set statement_timeout = '60s';

create table lms.progress_corrections (
  id uuid primary key default private.uuid_v7(),
  tenant_id uuid not null,
  course_id uuid not null,
  user_id uuid not null,
  enrollment_id uuid not null,
  lesson_id uuid not null,
  old_percentage private.percentage not null,
  new_percentage private.percentage not null,
  reason text not null constraint correction_reason_is_1_to_1000_characters check (reason ~ '\S' and length(reason) <= 1000),
  corrected_by uuid,
  corrected_at timestamptz not null default now(),
  constraint correction_is_of_the_enrolled_learner foreign key (enrollment_id, tenant_id, course_id, user_id)
    references lms.enrollments (id, tenant_id, course_id, user_id),
  constraint correction_is_of_a_lesson_of_the_course foreign key (tenant_id, course_id, lesson_id)
    references lms.lessons (tenant_id, course_id, id)
);
create index progress_corrections_by_enrollment on lms.progress_corrections (enrollment_id, tenant_id, course_id, user_id);
create index progress_corrections_by_user on lms.progress_corrections (user_id, corrected_at desc);
create index progress_corrections_by_lesson on lms.progress_corrections (tenant_id, course_id, lesson_id);
create index progress_corrections_by_tenant on lms.progress_corrections (tenant_id, corrected_at desc, id desc);

comment on table lms.progress_corrections is 'Progress that staff has set, up or down, and why. Written by correct_progress.';

-- The rules that hold progress to going forward, and to its learner, let exactly the change pass that was written down
-- here by the same transaction.
create function private.is_correction(p_enrollment_id uuid, p_lesson_id uuid, p_percentage numeric)
returns boolean
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  return exists (
    select
    from lms.progress_corrections c
    where c.enrollment_id = p_enrollment_id and c.lesson_id = p_lesson_id and c.new_percentage = p_percentage
      and c.corrected_at = now()
  );
end
$$;

-- Definer, because nobody may write the table, and progress only its learner; so it checks its caller.
create function private.correct_progress_of(p_enrollment_id uuid, p_lesson_id uuid, p_percentage numeric, p_reason text)
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_enrollment lms.enrollments;
  v_old numeric;
begin
  select * into v_enrollment from lms.enrollments e where e.id = p_enrollment_id for no key update;
  if private.is_api_call() then
    if not coalesce(
      v_enrollment.tenant_id = any (array(select private.tenants_where('progress.correct')))
        or v_enrollment.unit_id = any (array(select private.units_where('progress.correct'))),
      false
    ) then
      raise insufficient_privilege using message = 'Correcting progress takes progress.correct in the learner''s unit.';
    elsif v_enrollment.user_id = (select auth.uid()) then
      perform private.fail('own_progress', 'Nobody corrects their own progress.', 403);
    end if;
  end if;
  if v_enrollment.status not in ('enrolled', 'in_progress') then
    perform private.fail(
      'enrollment_not_open', 'Only an enrolment that is under way can be corrected.', 409,
      jsonb_build_object('status', v_enrollment.status)
    );
  elsif not exists (
    select from lms.version_lessons l where l.version_id = v_enrollment.version_id and l.lesson_id = p_lesson_id
  ) then
    perform private.fail('lesson_not_found', 'The course has no such lesson in the version that is being taken.', 404);
  end if;

  select p.progress_percentage into v_old
  from lms.lesson_progress p
  where p.enrollment_id = p_enrollment_id and p.lesson_id = p_lesson_id;
  insert into lms.progress_corrections (
    tenant_id, course_id, user_id, enrollment_id, lesson_id, old_percentage, new_percentage, reason, corrected_by
  )
  values (
    v_enrollment.tenant_id, v_enrollment.course_id, v_enrollment.user_id, p_enrollment_id, p_lesson_id,
    coalesce(v_old, 0), p_percentage, p_reason, (select auth.uid())
  );
  insert into lms.lesson_progress as p (enrollment_id, user_id, lesson_id, progress_percentage)
  values (p_enrollment_id, v_enrollment.user_id, p_lesson_id, p_percentage)
  on conflict (enrollment_id, lesson_id) do update
  set progress_percentage = excluded.progress_percentage,
      completed_at = case when excluded.progress_percentage >= 100 then coalesce(p.completed_at, now()) end,
      last_accessed_at = now(),
      updated_at = now();
end
$$;

create function lms.correct_progress(
  p_enrollment_id uuid, p_lesson_id uuid, p_progress_percentage numeric, p_reason text
)
returns lms.progress_receipt
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_receipt lms.progress_receipt;
begin
  -- Read as the caller: somebody else's enrolment does not exist for them.
  if not exists (select from lms.enrollments e where e.id = p_enrollment_id) then
    perform private.fail('enrollment_not_found', 'There is no such enrolment.', 404);
  elsif p_progress_percentage is null or not p_progress_percentage between 0 and 100 then
    perform private.fail(
      'invalid_percentage', 'The percentage is a number from 0 to 100.', 422,
      jsonb_build_object('field', 'p_progress_percentage')
    );
  elsif coalesce(p_reason, '') !~ '\S' or length(p_reason) > 1000 then
    perform private.fail('invalid_reason', 'A correction takes a reason of up to 1000 characters.', 422, jsonb_build_object('field', 'p_reason'));
  end if;
  perform private.correct_progress_of(p_enrollment_id, p_lesson_id, p_progress_percentage, p_reason);

  select e.id, p.lesson_id, p.status, p.progress_percentage, e.status, e.progress_percentage, e.items_done, e.items_total
  into v_receipt
  from lms.enrollments e
  join lms.lesson_progress p on p.enrollment_id = e.id and p.lesson_id = p_lesson_id
  where e.id = p_enrollment_id;
  return v_receipt;
end
$$;

comment on function lms.correct_progress is
  'Sets somebody''s percentage in a lesson, up or down, with a reason that is kept in progress_corrections; takes '
  'progress.correct in the learner''s scope, and is nobody''s for themselves. Finished enrolments are not corrected. 404 '
  'enrollment_not_found, lesson_not_found; 403 own_progress, 42501; 409 enrollment_not_open; 422 invalid_percentage, '
  'invalid_reason.';

grant execute on function private.correct_progress_of to authenticated, service_role;
grant execute on function lms.correct_progress to authenticated, service_role;

alter table lms.progress_corrections enable row level security;

grant select on lms.progress_corrections to authenticated, service_role;

create policy "Corrections are seen by their learner, staff and in scope" on lms.progress_corrections
  for select to authenticated
  using (
    (user_id = (select auth.uid()) and tenant_id <> all (array(select private.closed_tenants())))
    or tenant_id = any (array(select private.tenants_where('progress.read')))
    or course_id = any (array(select private.staffed_courses()))
    or exists (
      select from private.enrollment_scopes e
      where e.id = enrollment_id and e.unit_id = any (array(select private.units_where('progress.read')))
    )
  );

notify pgrst, 'reload schema';
