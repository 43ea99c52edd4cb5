-- Files that learners hand in: a private bucket, who may reach what lies in it, and what can no longer happen to a file once
-- its attempt is over. A file is at hand-ins/{tenant_id}/{attempt_id}/{question_id}/{name}.
-- Undo: drop the policies and the trigger _300_guard_hand_in on storage.objects, the trigger _300_files_exist on
-- lms.attempt_answers and the functions below; empty the bucket hand-ins and delete it through the Storage API.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- No list of types: what may be handed in, the question says by its file extensions.
insert into storage.buckets (id, name, public, file_size_limit)
values ('hand-ins', 'hand-ins', false, 50 * 1024 * 1024)
on conflict (id) do nothing;

-- =====================================================================================================
-- Who
-- =====================================================================================================

create function private.my_open_hand_ins()
returns setof text
language plpgsql
stable security definer
rows 5
set search_path = ''
as $$
begin
  return query
  select format('%s/%s/%s', t.tenant_id, t.id, q.question_id)
  from lms.assessment_attempts t
  join lms.attempt_questions q on q.attempt_id = t.id
  join lms.question_revisions r on r.id = q.revision_id and r.type = 'file_upload'
  join lms.enrollments e on e.id = t.enrollment_id and e.status in ('enrolled', 'in_progress', 'completed')
  where t.user_id = (select auth.uid()) and t.status = 'in_progress'
    and coalesce(private.attempt_end(t) > now(), true)
    and t.tenant_id = any (array(select private.joined_tenants()));
end
$$;

comment on function private.my_open_hand_ins is
  'Folders of the bucket hand-ins, one for each question of an open attempt of the caller that asks for files.';
grant execute on function private.my_open_hand_ins to authenticated, service_role;

-- The whole folder is compared: nothing lies deeper, higher or beside it.
create policy "Learners hand in files while their attempt is open" on storage.objects
  for insert to authenticated
  with check (
    bucket_id = 'hand-ins'
    and array_to_string(storage.foldername(name), '/') = any (array(select private.my_open_hand_ins()))
  );

create policy "Learners take back files while their attempt is open" on storage.objects
  for delete to authenticated
  using (
    bucket_id = 'hand-ins'
    and array_to_string(storage.foldername(name), '/') = any (array(select private.my_open_hand_ins()))
  );

-- Who sees an attempt sees its files: its learner, staff of the course, graders in scope. The attempt's own policy decides.
-- The case keeps names that are no such path, as other buckets have, away from the cast, which would fail on them.
create policy "Files handed in are seen with their attempt" on storage.objects
  for select to authenticated
  using (
    bucket_id = 'hand-ins'
    and exists (
      select
      from lms.assessment_attempts t
      where t.id = case
          when path_tokens[2] ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
          then path_tokens[2]::uuid
        end
        and t.tenant_id::text = path_tokens[1]
    )
  );

-- There is no policy for updates: nobody overwrites, renames or moves what lies there.

-- =====================================================================================================
-- When
-- =====================================================================================================

-- A policy asks what was so when its statement began, and the Storage service ends uploads with rights of its own, up to
-- two hours after it asked the policies (signed upload URLs). So what must hold whoever writes stands in a trigger, and the
-- attempt is locked: an upload that meets the handing in comes before it or is refused.
-- 42501 is the only error that the Storage service passes on as the caller's; it answers 403.
create function private.guard_hand_in()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_path text[];
  v_attempt lms.assessment_attempts;
  v_question record;
  v_is_open boolean;
  v_limit numeric;
begin
  if tg_op = 'UPDATE' then
    if 'hand-ins' in (old.bucket_id, new.bucket_id)
      and (old.bucket_id, old.name, old.version, old.metadata) is distinct from (new.bucket_id, new.name, new.version, new.metadata)
    then
      raise exception using errcode = '42501', message = 'A file that was handed in is not changed or moved: hand in another one.';
    end if;
    return new;
  end if;
  -- Not path_tokens: generated columns are computed after BEFORE triggers.
  if tg_op = 'INSERT' then
    if new.bucket_id is distinct from 'hand-ins' then
      return new;
    end if;
    v_path := string_to_array(new.name, '/');
  else
    if old.bucket_id is distinct from 'hand-ins' then
      return old;
    end if;
    v_path := string_to_array(old.name, '/');
  end if;

  if cardinality(v_path) = 4
    and v_path[2] ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' and v_path[3] ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
  then
    select t.* into v_attempt
    from lms.assessment_attempts t
    where t.id = v_path[2]::uuid and t.tenant_id::text = v_path[1]
    for share;
  end if;
  v_is_open := v_attempt.status = 'in_progress' and coalesce(private.attempt_end(v_attempt) > now(), true);

  if tg_op = 'DELETE' then
    -- Who erases a person or clears orphans is no client.
    if not private.is_api_call() then
      return old;
    end if;
    if not coalesce(v_is_open, false) then
      raise exception using errcode = '42501', message = 'The attempt is over: its files stay as they were handed in.';
    end if;
    if exists (
      select
      from lms.attempt_answers a
      where a.attempt_id = v_attempt.id and a.question_id = v_path[3]::uuid and a.response -> 'files' ? old.name
    ) then
      raise exception using errcode = '42501', message = 'The saved answer names this file: take it out of the answer first.';
    end if;
    return old;
  end if;

  if not coalesce(v_is_open, false) then
    raise exception using errcode = '42501', message = 'Files are handed in to a question of an open attempt.';
  end if;
  -- One upload to a question after the other, so that none slips past the count.
  select r.content, r.type into v_question
  from lms.attempt_questions q
  join lms.question_revisions r on r.id = q.revision_id
  where q.attempt_id = v_attempt.id and q.question_id = v_path[3]::uuid and q.tenant_id = v_attempt.tenant_id
  for no key update of q;
  if v_question.type is distinct from 'file_upload' then
    raise exception using errcode = '42501', message = 'Files are handed in to a question of an open attempt.';
  end if;

  -- As many as an answer names where the question does not say: a learner must not fill the disk.
  v_limit := coalesce((v_question.content ->> 'max_files')::numeric, 20);
  if (
    select count(*)
    from storage.objects o
    where o.bucket_id = 'hand-ins' and starts_with(o.name, array_to_string(v_path[1:3], '/') || '/')
  ) >= v_limit then
    raise exception using errcode = '42501', message = format('This question takes %s files at most.', v_limit);
  end if;
  v_limit := (v_question.content ->> 'max_bytes')::numeric;
  -- Unknown while the service asks for permission before it reads the file; known when it writes the row.
  if (new.metadata ->> 'size')::numeric > v_limit then
    raise exception using errcode = '42501', message = format('A file of this question has %s bytes at most.', v_limit);
  end if;
  if jsonb_typeof(v_question.content -> 'extensions') = 'array'
    and not exists (
      select
      from jsonb_array_elements_text(v_question.content -> 'extensions') as e
      where right(lower(v_path[4]), length(e) + 1) = '.' || lower(e)
    )
  then
    raise exception using errcode = '42501', message = format(
      'This question takes files that end in: %s.',
      (select string_agg(e, ', ') from jsonb_array_elements_text(v_question.content -> 'extensions') as e)
    );
  end if;
  return new;
end
$$;

create trigger _300_guard_hand_in before insert or update or delete on storage.objects
  for each row execute function private.guard_hand_in();

-- =====================================================================================================
-- Answers name files that are there
-- =====================================================================================================

-- An answer could otherwise name a file of somebody else, which its graders may see: handed in without having been written.
create function private.check_answer_files()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_missing text[];
begin
  -- Imports put answers in place before their files.
  if not private.is_api_call() or jsonb_typeof(new.response -> 'files') is distinct from 'array' then
    return new;
  end if;
  if not exists (
    select
    from lms.attempt_questions q
    join lms.question_revisions r on r.id = q.revision_id and r.type = 'file_upload'
    where q.attempt_id = new.attempt_id and q.question_id = new.question_id
  ) then
    return new;
  end if;
  select array_agg(f) into v_missing
  from jsonb_array_elements_text(new.response -> 'files') as f
  where not exists (
    select
    from storage.objects o
    where o.bucket_id = 'hand-ins' and o.name = f
      and starts_with(f, format('%s/%s/%s/', new.tenant_id, new.attempt_id, new.question_id))
  );
  if v_missing is not null then
    perform private.fail(
      'invalid_answers', 'An answer names files that were not uploaded to its question; nothing was saved.', 422,
      jsonb_build_array(jsonb_build_object(
        'question_id', new.question_id, 'faults', jsonb_build_array('file_not_handed_in'), 'files', to_jsonb(v_missing)
      )),
      'Upload them to the bucket hand-ins first, at {tenant_id}/{attempt_id}/{question_id}/{name}.'
    );
  end if;
  return new;
end
$$;

create trigger _300_files_exist before insert or update of response on lms.attempt_answers
  for each row execute function private.check_answer_files();

notify pgrst, 'reload schema';
