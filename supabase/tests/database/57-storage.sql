-- Files that learners hand in: who reaches them, and that nothing happens to them once the attempt is over.

begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press'), tests.unit('north', 'works'), tests.unit('south', 'works');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('ines', 'works', 'instructor'), tests.member('ivan', 'works', 'instructor'),
  tests.member('dora', 'works', 'learner', 'north'), tests.member('otto', 'works', 'learner', 'south'),
  tests.member('petra', 'press', 'tenant_admin'), tests.member('quinn', 'works', 'tenant_admin');
select tests.person('noah');
update lms.memberships set status = 'suspended' where user_id = tests.id('quinn');
select tests.custom_role('works', 'grader', array['assessments.grade']);
select tests.member('gina', 'works', 'grader'), tests.member('nora', 'works', 'grader', 'north', 'north'), tests.member('sara', 'works', 'grader', 'south', 'south');
select tests.course('safety', 'works', 'ines', 2);
select tests.enrollment('dora', 'safety'), tests.enrollment('otto', 'safety');

-- =====================================================================================================
-- An exam with two questions that ask for files and one that does not
-- =====================================================================================================

create function tests.version_of(course text) returns uuid language sql as $$
  select id from lms.course_versions where course_id = tests.id(course) order by number desc limit 1
$$;
insert into lms.assessments (id, course_id, title) values (tests.id('exam'), tests.id('safety'), 'Exam');
insert into lms.version_assessments
  (version_id, assessment_id, tenant_id, course_id, key, kind, title, instructions, is_mandatory, weight, grading_method, order_index)
values
  (tests.version_of('safety'), tests.id('exam'), tests.id('works'), tests.id('safety'), 'exam', 'exam', 'Exam', '', true, 1, 'best', 0);
insert into lms.questions (id, assessment_id, type, prompt, content)
select tests.id(name), tests.id('exam'), type, 'Show it.', content::jsonb
from (values
  ('report', 'file_upload', '{"max_files": 2, "extensions": ["pdf", "gz"], "max_bytes": 1000}'), ('photos', 'file_upload', '{}'), ('words', 'essay', '{}')
) as q (name, type, content);
insert into lms.question_revisions (id, tenant_id, course_id, assessment_id, question_id, question_key, content_hash, type, prompt, content, points, scoring, skill_ids)
select tests.id('revision of ' || name), q.tenant_id, q.course_id, q.assessment_id, q.id, q.question_key, 'hash', q.type, q.prompt, q.content, q.points, q.scoring, '{}'
from lms.questions q join (values ('report'), ('photos'), ('words')) as n (name) on tests.id(n.name) = q.id;

-- The attempt is tests.id('<name> tries exam').
create function tests.attempt(name text) returns uuid language plpgsql as $$
begin
  insert into lms.assessment_attempts (id, tenant_id, course_id, user_id, enrollment_id, version_id, assessment_id, number, started_at, deadline_at)
  values (
    tests.id(name || ' tries exam'), tests.id('works'), tests.id('safety'), tests.id(name), tests.id(name || ' takes safety'),
    tests.version_of('safety'), tests.id('exam'), 1, now() - interval '1 hour', now() + interval '1 hour'
  );
  insert into lms.attempt_questions (attempt_id, question_id, tenant_id, course_id, user_id, revision_id, position, points)
  select tests.id(name || ' tries exam'), tests.id(q), tests.id('works'), tests.id('safety'), tests.id(name), tests.id('revision of ' || q), row_number() over () - 1, 1
  from unnest(array['report', 'photos', 'words']) as q;
  return tests.id(name || ' tries exam');
end
$$;
select tests.attempt('dora'), tests.attempt('otto');

create function tests.path(name text, question text, file text, tenant text default 'works') returns text language sql as $$
  select format('%s/%s/%s/%s', tests.id(tenant), tests.id(name || ' tries exam'), tests.id(question), file)
$$;
create function tests.upload(path text, size integer default 10, bucket text default 'hand-ins') returns text language sql as $$
  select format(
    'insert into storage.objects (bucket_id, name, version, metadata) values (%L, %L, gen_random_uuid(), %L)', bucket, path, jsonb_build_object('size', size)
  )
$$;
create function tests.remove(path text) returns text language sql as $$
  select format('delete from storage.objects where bucket_id = %L and name = %L', 'hand-ins', path)
$$;
-- As the Storage service does before it deletes.
set local storage.allow_delete_query = 'true';

select is((select (public, file_size_limit)::text from storage.buckets where id = 'hand-ins'), '(f,52428800)', 'the bucket is private and bounded');
savepoint start;

-- =====================================================================================================
-- While the attempt is open
-- =====================================================================================================

select is(tests.try('dora', tests.upload(tests.path('dora', 'report', 'r.pdf'))), '1', 'a learner hands in a file');
select is(tests.try('dora', tests.upload(tests.path('dora', 'photos', 'any thing.EXE'))), '1', '... of any kind where the question does not say');
select is(tests.try('dora', tests.upload(path)), '42501', 'refused: ' || what)
from (values
  ('into the attempt of another', tests.path('otto', 'report', 'r.pdf')),
  ('to a question that asks for none', tests.path('dora', 'words', 'r.pdf')),
  ('to a question of no attempt', tests.path('dora', 'nothing', 'r.pdf')),
  ('under another tenant', tests.path('dora', 'report', 'r.pdf', 'press')),
  ('into a folder below', tests.path('dora', 'report', 'a/r.pdf')),
  ('into the folder above', format('%s/%s/r.pdf', tests.id('works'), tests.id('dora tries exam'))),
  ('at the top', 'r.pdf'),
  ('in capitals', upper(tests.path('dora', 'report', 'r')) || '.pdf'),
  ('without a name', tests.path('dora', 'report', '')),
  ('of another kind', tests.path('dora', 'report', 'r.exe')),
  ('of a kind that only looks right', tests.path('dora', 'report', 'pdf'))
) as cases (what, path);
select is(tests.try('dora', tests.upload(tests.path('dora', 'report', 'R.PDF'))), '1', 'an extension is no matter of capitals');
select is(tests.try('dora', tests.upload(tests.path('dora', 'report', 'r.tar.gz'))), '1', '... nor of how many dots there are');
select is(tests.try('dora', tests.upload(tests.path('dora', 'report', 'r.pdf'), 1001)), '42501', 'a question bounds the size');
select is(tests.try('dora', tests.upload(tests.path('dora', 'report', 'r.pdf'), 10, 'elsewhere')), '42501', 'other buckets have rules of their own, here none');
select is(tests.try('service', tests.upload(tests.path('dora', 'report', 'r.pdf', 'press'))), '42501', 'not even the service role puts a file under another tenant');
select is(tests.try('service', tests.upload(tests.path('dora', 'words', 'r.pdf'))), '42501', '... or to a question that asks for none');
select is(tests.try('service', tests.upload(tests.path('dora', 'report', 'r.pdf'))), '1', '... but where it belongs it may');
select is(tests.try(who, tests.upload(tests.path('dora', 'report', 'r.pdf'))), '42501', 'nobody hands in for a learner: ' || who)
from unnest(array['otto', 'boss', 'ines', 'gina', 'petra', 'noah', 'quinn', 'anonymous']) as who;

select tests.as('dora');
select tests.error_of(tests.upload(tests.path('dora', 'report', 'r.pdf'))), tests.error_of(tests.upload(tests.path('dora', 'photos', 'p.png')));
select is(tests.error_of(tests.upload(tests.path('dora', 'report', 'r.pdf'))), '23505 bucketid_objname', 'a name is taken once');
select is(tests.error_of(tests.upload(tests.path('dora', 'report', 's.pdf'))), 'none', 'a second file is taken');
select is(tests.error_of(tests.upload(tests.path('dora', 'report', 't.pdf'))), '42501', 'a third is one too many');
select is(tests.rows_of(tests.remove(tests.path('dora', 'report', 's.pdf'))), 1::bigint, 'a file is taken back');
select is(tests.error_of(tests.upload(tests.path('dora', 'report', 't.pdf'))), 'none', '... and makes room');
select is(tests.rows_of($$ update storage.objects set version = 'other' $$), 0::bigint, 'nothing is overwritten');
select is(tests.rows_of($$ update storage.objects set name = name || '.pdf' $$), 0::bigint, '... or renamed');
select is(tests.error_of(format(
  'insert into storage.objects (bucket_id, name, version) values (%L, %L, gen_random_uuid()) on conflict (bucket_id, name) do update set version = excluded.version',
  'hand-ins', tests.path('dora', 'report', 't.pdf')
)), '42501', '... or replaced by an upsert');
select tests.as_owner();
insert into storage.objects (bucket_id, name, metadata) select 'hand-ins', tests.path('otto', 'photos', n || '.png'), '{}' from generate_series(1, 20) as n;
select is(tests.try('otto', tests.upload(tests.path('otto', 'photos', '21.png'))), '42501', 'a question without a limit takes twenty');

-- =====================================================================================================
-- Who sees them
-- =====================================================================================================

-- A bucket whose names are no paths of ours must not break the policies.
insert into storage.buckets (id, name) values ('other', 'other');
insert into storage.objects (bucket_id, name) values ('other', 'a'), ('other', 'x/not-a-uuid/y'), ('other', tests.path('dora', 'report', 'r.pdf'));
-- Nor is a name that some restore put under the wrong tenant.
set local session_replication_role = replica;
insert into storage.objects (bucket_id, name) values ('hand-ins', tests.path('dora', 'report', 'r.pdf', 'press')), ('hand-ins', 'lost'), ('hand-ins', 'a/no-uuid/b/c');
set local session_replication_role = origin;
select is(tests.sees_as(who, 'storage.objects'), seen, format('%s sees %s files', who, seen))
from (values
  ('dora', '3'), ('otto', '20'), ('ines', '23'), ('gina', '23'), ('nora', '3'), ('sara', '20'), ('boss', '23'),
  ('ivan', '0'), ('petra', '0'), ('noah', '0'), ('quinn', '0'), ('anonymous', '0')
) as cases (who, seen);
select is(tests.try(who, tests.remove(tests.path('dora', 'photos', 'p.png'))), '0', 'nobody else takes a file back: ' || who)
from unnest(array['otto', 'ines', 'gina', 'boss', 'petra', 'noah', 'anonymous']) as who;
savepoint leaves;
update lms.memberships set status = 'suspended' where user_id = tests.id('dora');
select is(tests.sees_as('dora', 'storage.objects'), '0', 'a suspended learner sees no file');
select is(tests.try('dora', tests.upload(tests.path('dora', 'photos', 'q.png'))), '42501', '... and hands in none');
select is(tests.try('dora', tests.remove(tests.path('dora', 'photos', 'p.png'))), '0', '... and takes none back');
rollback to leaves;
update lms.enrollments set status = 'paused' where id = tests.id('dora takes safety');
select is(tests.try('dora', tests.upload(tests.path('dora', 'photos', 'q.png'))), '42501', 'a paused enrolment hands in nothing');
select is(tests.sees_as('dora', 'storage.objects'), '3', '... and still sees it');
rollback to leaves;

-- =====================================================================================================
-- Answers
-- =====================================================================================================

-- As save_answers does it: the owner's rights, a client behind them.
create function tests.answer(question text, files text[]) returns text language sql as $$
  select format(
    'insert into lms.attempt_answers (attempt_id, question_id, tenant_id, course_id, user_id, response) values (%L, %L, %L, %L, %L, %L)
     on conflict (attempt_id, question_id) do update set response = excluded.response',
    tests.id('dora tries exam'), tests.id(question), tests.id('works'), tests.id('safety'), tests.id('dora'), jsonb_build_object('files', files)
  )
$$;
create function tests.save(question text, files text[]) returns text language plpgsql security definer as $$
begin
  return tests.outcome_of(tests.answer(question, files));
end
$$;
select tests.as('dora');
select is(tests.save('report', array[tests.path('dora', 'report', 'r.pdf')]), 'none', 'an answer names files of its question');
select is(tests.save('report', '{}'), 'none', '... or none');
select is(tests.save('words', array['anything']), 'none', 'what other questions are answered is their matter');
select is(tests.save('report', array[tests.path('dora', 'report', 'r.pdf'), path]), '422 invalid_answers', 'refused: ' || what)
from (values
  ('a file that is not there', tests.path('dora', 'report', 'x.pdf')), ('a file of another question', tests.path('dora', 'photos', 'p.png')),
  ('a file of another learner', tests.path('otto', 'photos', '1.png')), ('no path at all', 'r.pdf')
) as cases (what, path);
select tests.as_owner();
select tests.error_of(tests.answer('report', array[tests.path('dora', 'report', 'r.pdf')]));
select is(tests.try('dora', tests.remove(tests.path('dora', 'report', 'r.pdf'))), '42501', 'a file that the answer names stays');
select is(tests.try('dora', tests.remove(tests.path('dora', 'report', 't.pdf'))), '1', 'another one goes');

-- =====================================================================================================
-- Once it is over
-- =====================================================================================================

create function tests.assert_closed(how text) returns setof text language plpgsql as $$
begin
  return next is(tests.try('dora', tests.upload(tests.path('dora', 'photos', 'late.png'))), '42501', how || ': nothing is handed in');
  return next is(tests.try('dora', tests.remove(tests.path('dora', 'photos', 'p.png'))), '0', how || ': nothing is taken back');
  return next is(tests.try('dora', 'update storage.objects set name = ''x'''), '0', how || ': nothing is renamed');
  return next is(tests.sees_as('dora', 'storage.objects'), '3', how || ': it is still seen');
  -- The Storage service writes at an upload's end with rights of its own.
  return next is(tests.try('service', tests.upload(tests.path('dora', 'photos', 'late.png'))), '42501', how || ': not by the service role');
  return next is(tests.try('service', format($f$ update storage.objects set version = 'other' where name = %L $f$, tests.path('dora', 'report', 'r.pdf'))), '42501', how || ': the service role changes nothing');
  return next is(tests.try('service', format($f$ update storage.objects set last_accessed_at = now() where bucket_id = 'hand-ins' and name = %L $f$, tests.path('dora', 'report', 'r.pdf'))), '1', how || ': it may note an access');
  return next is(tests.try('service', tests.remove(tests.path('dora', 'photos', 'p.png'))), '1', how || ': it erases');
end
$$;
savepoint open;
update lms.assessment_attempts set deadline_at = now() - interval '1 minute' where id = tests.id('dora tries exam');
select tests.assert_closed('after the deadline');
rollback to open;
update lms.enrollments set expires_at = now() - interval '1 minute' where id = tests.id('dora takes safety');
select tests.assert_closed('after the enrolment ran out');
rollback to open;
update lms.assessment_attempts set status = 'submitted', submitted_at = now(), closed_by = 'learner' where id = tests.id('dora tries exam');
select tests.assert_closed('handed in');
-- A client whose right was looked up before: the trigger looks again.
create policy leftover on storage.objects for delete to authenticated using (bucket_id = 'hand-ins' and (storage.foldername(name))[2] = tests.id('dora tries exam')::text);
select is(tests.try('dora', tests.remove(tests.path('dora', 'photos', 'p.png'))), '42501', 'handed in: whatever a policy says');
rollback to open;

-- =====================================================================================================
-- How
-- =====================================================================================================

select is_empty(
  $$ select polname from pg_policy where polrelid = 'storage.objects'::regclass and polcmd in ('w', '*') $$, 'no policy lets anybody change a stored file'
);
select is_empty(
  $$ select polname from pg_policy where polrelid in ('storage.objects'::regclass, 'storage.buckets'::regclass) and (polroles && array[0::oid, 'anon'::regrole] or not polpermissive) $$,
  'nor is one for everybody'
);
select is((select count(*) from pg_policy where polrelid = 'storage.buckets'::regclass), 0::bigint, 'buckets are the service role''s');

select * from finish();
rollback;
