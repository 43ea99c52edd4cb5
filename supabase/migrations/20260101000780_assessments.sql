-- Assessments: what is asked of learners, for a lesson or for the course as a whole; the keys, which nobody reads before the
-- assessment's own rule shows them; and what of it is frozen when a course is published.
-- Undo: drop functions lms.set_answer_key, get_answer_key, delete_assessment, delete_assessment_section, delete_question,
-- restore_assessment, restore_assessment_section, restore_question, grant_accommodation, revoke_accommodation; drop tables
-- lms.accommodations, private.key_revisions, lms.version_questions, version_assessments, question_revisions,
-- private.answer_keys, lms.question_skills, questions, assessment_sections, assessments; then the functions below.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- The authors' draft
-- =====================================================================================================

create table lms.assessments (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  course_id uuid not null default '00000000-0000-0000-0000-000000000000',
  lesson_id uuid,
  key text not null default '' constraint assessment_key_is_a_slug
    check (key ~ '^[a-z0-9]+(-[a-z0-9]+)*$' and length(key) <= 100),
  kind text not null default 'quiz'
    constraint assessment_kind_is_known check (kind in ('quiz', 'exam', 'assignment', 'survey')),
  title private.title not null,
  instructions text not null default '' constraint instructions_are_short check (length(instructions) <= 20000),
  is_published boolean not null default true,
  is_mandatory boolean not null default true,
  -- NaN and infinity compare as greater than every number, so it takes an upper bound to keep them out.
  weight numeric not null default 1
    constraint weight_is_not_negative check (weight >= 0 and weight <= 1000000 and scale(weight) <= 6),
  passing_percentage private.percentage,
  max_attempts integer constraint attempts_are_1_to_1000 check (max_attempts between 1 and 1000),
  cooldown_minutes integer not null default 0 constraint cooldown_is_within_a_year check (cooldown_minutes between 0 and 525600),
  time_limit_minutes integer constraint time_limit_is_within_a_month check (time_limit_minutes between 1 and 44640),
  opens_at timestamptz,
  closes_at timestamptz,
  shuffle_questions boolean not null default false,
  shuffle_options boolean not null default false,
  grading_method text not null default 'best'
    constraint grading_method_is_known check (grading_method in ('best', 'latest', 'average')),
  answers_shown text not null default 'after_pass'
    constraint answers_shown_is_known check (answers_shown in ('never', 'after_submit', 'after_pass', 'after_close')),
  holds_grades boolean not null default false,
  ai_generated boolean not null default false,
  sources jsonb not null default '[]'
    constraint sources_are_a_list check (jsonb_typeof(sources) = 'array' and pg_column_size(sources) <= 20000),
  order_index integer not null default -1 constraint assessment_order_is_within_a_million check (order_index between 0 and 999999),
  published_at timestamptz,
  deleted_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint assessment_opens_before_it_closes check (opens_at < closes_at),
  constraint assessment_window_is_finite check (isfinite(opens_at) and isfinite(closes_at)),
  constraint assessment_of_its_course unique (tenant_id, course_id, id),
  -- Among deleted ones too, as for lessons: a part that comes back in an import is found again, with its history.
  constraint assessment_key_is_taken unique (course_id, key),
  constraint assessment_is_of_a_course_of_the_same_tenant foreign key (tenant_id, course_id)
    references lms.courses (tenant_id, id),
  constraint assessment_is_of_a_lesson_of_the_same_course foreign key (tenant_id, course_id, lesson_id)
    references lms.lessons (tenant_id, course_id, id),
  constraint assessment_order_is_taken exclude using btree ((coalesce(lesson_id, course_id)) with =, order_index with =)
    where (deleted_at is null) deferrable
);
create index assessments_by_lesson on lms.assessments (tenant_id, course_id, lesson_id);
create index assessments_by_course_alone on lms.assessments (course_id) where deleted_at is null;
create index assessments_by_lesson_alone on lms.assessments (lesson_id);

comment on table lms.assessments is
  'A quiz, exam, assignment or survey: of a lesson, or (lesson_id null) of the course as a whole. Its questions hang below '
  'it. What counts (title, questions, points, weight, passing percentage, mandatory or not) learners get as it was when the '
  'version that they take was published; how it is conducted (attempts, times, shuffling, what is shown) holds at once.';
comment on column lms.assessments.tenant_id is 'Taken from the lesson or the course.';
comment on column lms.assessments.course_id is 'Of an assessment of a lesson it may be left out.';
comment on column lms.assessments.lesson_id is 'Null: of the course as a whole.';
comment on column lms.assessments.key is
  'What imports and exports know it by, unique in the course; left out, it is made of the title.';
comment on column lms.assessments.is_published is 'Part of the next version.';
comment on column lms.assessments.is_mandatory is 'Counts towards the course''s percentage, as a required lesson does.';
comment on column lms.assessments.weight is 'Its share in the final grade, among the weights of all; 0: none.';
comment on column lms.assessments.passing_percentage is 'Null: handing it in is enough.';
comment on column lms.assessments.max_attempts is
  'In one cycle, together with cycles dropped before it; null: any number.';
comment on column lms.assessments.cooldown_minutes is 'To wait between handing in and starting again.';
comment on column lms.assessments.time_limit_minutes is
  'From the start of an attempt; the server''s clock decides. Null: no limit but closes_at.';
comment on column lms.assessments.closes_at is 'Nothing is handed in from then on; what was saved before counts.';
comment on column lms.assessments.grading_method is 'Which of several attempts counts: the best, the latest or their average.';
comment on column lms.assessments.answers_shown is
  'When a learner sees points, keys and explanations of an attempt: never, after_submit, after_pass (this attempt or another '
  'one of theirs), after_close (for everybody, accommodations included).';
comment on column lms.assessments.holds_grades is 'Scores stay with the graders until release_grades.';
comment on column lms.assessments.sources is 'What generated questions were made from; free form.';
comment on column lms.assessments.order_index is 'Position in its lesson, or among those of the course; left out, it goes last.';
comment on column lms.assessments.published_at is 'When it first became part of a version; until then only authors see it.';

create table lms.assessment_sections (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  course_id uuid not null default '00000000-0000-0000-0000-000000000000',
  assessment_id uuid not null,
  key text not null default '' constraint section_key_is_short check (key ~ '^[A-Za-z0-9][A-Za-z0-9._:/-]*$' and length(key) <= 200),
  title private.title not null,
  draw_count integer constraint draw_count_is_positive check (draw_count > 0),
  order_index integer not null default -1 constraint section_order_is_within_a_million check (order_index between 0 and 999999),
  deleted_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint section_of_its_assessment unique (tenant_id, course_id, assessment_id, id),
  constraint section_key_is_taken unique (assessment_id, key),
  constraint section_is_of_an_assessment_of_the_course foreign key (tenant_id, course_id, assessment_id)
    references lms.assessments (tenant_id, course_id, id),
  constraint section_order_is_taken exclude using btree (assessment_id with =, order_index with =)
    where (deleted_at is null) deferrable
);

comment on table lms.assessment_sections is 'A part of an assessment; also a pool, of which each attempt draws some questions.';
comment on column lms.assessment_sections.tenant_id is 'Taken from the assessment.';
comment on column lms.assessment_sections.course_id is 'Taken from the assessment.';
comment on column lms.assessment_sections.draw_count is 'How many of its questions each attempt draws; null: all of them.';

create table lms.questions (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  course_id uuid not null default '00000000-0000-0000-0000-000000000000',
  assessment_id uuid not null,
  section_id uuid,
  question_key text not null default '' constraint question_key_is_short
    check (question_key ~ '^[A-Za-z0-9][A-Za-z0-9._:/-]*$' and length(question_key) <= 200),
  type text not null constraint question_type_is_known check (type in (
    'single', 'multiple', 'true_false', 'short_answer', 'numeric', 'matching', 'ordering', 'essay', 'file_upload'
  )),
  prompt text not null constraint prompt_is_1_to_20000_characters check (prompt ~ '\S' and length(prompt) <= 20000),
  content jsonb not null default '{}'
    constraint question_content_is_an_object check (jsonb_typeof(content) = 'object' and pg_column_size(content) <= 200000),
  points numeric(8, 2) not null default 1 constraint points_are_positive check (points > 0 and points < 'Infinity'),
  scoring text not null default 'all_or_nothing'
    constraint scoring_is_known check (scoring in ('all_or_nothing', 'partial', 'partial_negative')),
  order_index integer not null default -1 constraint question_order_is_within_a_million check (order_index between 0 and 999999),
  deleted_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint question_of_its_course unique (tenant_id, course_id, id),
  -- In the course, because events name a question by its key.
  constraint question_key_is_taken unique (course_id, question_key),
  constraint question_is_of_an_assessment_of_the_course foreign key (tenant_id, course_id, assessment_id)
    references lms.assessments (tenant_id, course_id, id),
  constraint question_is_of_a_section_of_the_assessment foreign key (tenant_id, course_id, assessment_id, section_id)
    references lms.assessment_sections (tenant_id, course_id, assessment_id, id),
  constraint question_order_is_taken exclude using btree (assessment_id with =, order_index with =)
    where (deleted_at is null) deferrable
);
create index questions_by_assessment on lms.questions (tenant_id, course_id, assessment_id, section_id);

comment on table lms.questions is
  'A question, as its authors work on it. The key to it is set by set_answer_key and read by get_answer_key, never by REST.';
comment on column lms.questions.tenant_id is 'Taken from the assessment.';
comment on column lms.questions.course_id is 'Taken from the assessment.';
comment on column lms.questions.question_key is
  'What imports, exports and events know it by, unique in the course; left out, it is made of the id.';
comment on column lms.questions.content is
  'By type: single, multiple {options: [{id, text}]}; true_false, short_answer {}; numeric {units?}; matching {prompts, '
  'choices}; ordering {items}; essay {min_words?, max_words?}; file_upload {max_files?, extensions?, max_bytes?}.';
comment on column lms.questions.scoring is
  'all_or_nothing; partial: a share for what is right; partial_negative: what is wrong costs, down to 0 for the attempt.';
comment on column lms.questions.order_index is 'Position in the assessment; left out, the question goes last.';

-- The key holds the tenant and the course: without them in the key, the API does not embed through it.
create table lms.question_skills (
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  course_id uuid not null default '00000000-0000-0000-0000-000000000000',
  question_id uuid not null,
  skill_id uuid not null,
  created_at timestamptz not null default now(),
  primary key (tenant_id, course_id, question_id, skill_id),
  constraint question_with_skill_is_of_the_course foreign key (tenant_id, course_id, question_id)
    references lms.questions (tenant_id, course_id, id),
  constraint skill_of_question_is_of_the_same_tenant foreign key (tenant_id, skill_id) references lms.skills (tenant_id, id)
);
create index question_skills_by_question on lms.question_skills (question_id);
create index question_skills_by_skill on lms.question_skills (tenant_id, skill_id);

comment on table lms.question_skills is 'Which skills a question is evidence of: questions?select=prompt,skills(name).';
comment on column lms.question_skills.tenant_id is 'Taken from the question.';
comment on column lms.question_skills.course_id is 'Taken from the question.';

-- INV-A1: a table of its own, without grants to clients, so that no select, embedding or error can reach it.
create table private.answer_keys (
  question_id uuid primary key,
  tenant_id uuid not null,
  course_id uuid not null,
  key jsonb not null constraint answer_key_is_an_object check (jsonb_typeof(key) = 'object' and pg_column_size(key) <= 200000),
  explanation text not null default '' constraint answer_explanation_is_short check (length(explanation) <= 20000),
  updated_at timestamptz not null default now(),
  updated_by uuid,
  constraint answer_key_is_of_a_question_of_the_course foreign key (tenant_id, course_id, question_id)
    references lms.questions (tenant_id, course_id, id)
);
create index answer_keys_by_question on private.answer_keys (tenant_id, course_id, question_id);

comment on table private.answer_keys is 'The right answers to the questions of drafts.';

-- =====================================================================================================
-- What was published
-- =====================================================================================================

create table lms.version_assessments (
  version_id uuid not null,
  assessment_id uuid not null,
  tenant_id uuid not null,
  course_id uuid not null,
  lesson_id uuid,
  key text not null,
  kind text not null,
  title text not null,
  instructions text not null,
  is_mandatory boolean not null,
  weight numeric not null,
  passing_percentage numeric,
  grading_method text not null,
  order_index integer not null,
  primary key (version_id, assessment_id),
  constraint version_assessment_of_its_version unique (tenant_id, course_id, version_id, assessment_id),
  constraint version_assessment_is_of_a_version_of_the_course foreign key (tenant_id, course_id, version_id)
    references lms.course_versions (tenant_id, course_id, id),
  constraint version_assessment_is_of_a_lesson_of_the_version foreign key (tenant_id, course_id, version_id, lesson_id)
    references lms.version_lessons (tenant_id, course_id, version_id, lesson_id),
  constraint version_assessment_is_an_assessment_of_the_course foreign key (tenant_id, course_id, assessment_id)
    references lms.assessments (tenant_id, course_id, id)
);
create index version_assessments_by_lesson on lms.version_assessments (tenant_id, course_id, version_id, lesson_id);
create index version_assessments_by_assessment on lms.version_assessments (tenant_id, course_id, assessment_id);
create index version_assessments_by_assessment_alone on lms.version_assessments (assessment_id);

comment on table lms.version_assessments is
  'The assessments of a version as they were when it was published: what counts. How they are conducted is in assessments.';
comment on column lms.version_assessments.order_index is
  'Position within the course, from 0, without gaps: those of lessons in the order of the lessons, those of the course last.';

-- Unchanged questions are shared by all versions that contain them.
create table lms.question_revisions (
  id uuid primary key default private.uuid_v7(),
  tenant_id uuid not null,
  course_id uuid not null,
  assessment_id uuid not null,
  question_id uuid not null,
  question_key text not null,
  content_hash text not null,
  type text not null,
  prompt text not null,
  content jsonb not null,
  points numeric(8, 2) not null,
  scoring text not null,
  skill_ids uuid[] not null,
  created_at timestamptz not null default now(),
  constraint question_revision_of_its_course unique (tenant_id, course_id, id),
  constraint question_revision_is_taken unique (question_id, content_hash),
  constraint question_revision_is_of_a_question_of_the_course foreign key (tenant_id, course_id, question_id)
    references lms.questions (tenant_id, course_id, id)
);
create index question_revisions_by_question on lms.question_revisions (tenant_id, course_id, question_id);
-- Asked for every event of a client, whose question it names by its key.
create index question_revisions_by_key on lms.question_revisions (course_id, question_key);

comment on table lms.question_revisions is
  'What a question held when it was published. Learners see those that an attempt of theirs asked.';
comment on column lms.question_revisions.content_hash is
  'A keyed hash over all of it, the answer key too: it tells equal from different, and nothing can be found out by guessing.';
comment on column lms.question_revisions.content is
  'As in questions; what is to be put in order or matched stands here in an order that says nothing.';

create table lms.version_questions (
  version_id uuid not null,
  question_id uuid not null,
  tenant_id uuid not null,
  course_id uuid not null,
  assessment_id uuid not null,
  revision_id uuid not null,
  section_id uuid,
  section_key text,
  section_title text,
  draw_count integer,
  order_index integer not null,
  primary key (version_id, question_id),
  constraint version_question_is_of_an_assessment_of_the_version foreign key (tenant_id, course_id, version_id, assessment_id)
    references lms.version_assessments (tenant_id, course_id, version_id, assessment_id),
  constraint version_question_is_a_revision_of_the_course foreign key (tenant_id, course_id, revision_id)
    references lms.question_revisions (tenant_id, course_id, id)
);
create index version_questions_by_assessment on lms.version_questions (version_id, assessment_id, order_index);
create index version_questions_by_assessment_of_course
  on lms.version_questions (tenant_id, course_id, version_id, assessment_id);
create index version_questions_by_revision on lms.version_questions (tenant_id, course_id, revision_id);

comment on table lms.version_questions is
  'Which question revisions an assessment of a version consists of. For authors: version_questions?select=*,question_revisions(*).';
comment on column lms.version_questions.order_index is
  'Position in the assessment, from 0, without gaps: sections in their order after questions that are in none.';

-- A correction adds a revision and takes none away, so that it can always be said against which key an answer was graded.
create table private.key_revisions (
  id uuid primary key default private.uuid_v7(),
  tenant_id uuid not null,
  course_id uuid not null,
  revision_id uuid not null,
  number integer not null constraint key_revision_number_is_positive check (number >= 1),
  key jsonb not null,
  explanation text not null,
  reason text constraint key_revision_reason_is_short check (length(reason) <= 1000),
  created_by uuid,
  created_at timestamptz not null default now(),
  constraint key_revision_of_its_tenant unique (tenant_id, id),
  constraint key_revision_number_is_taken unique (revision_id, number),
  constraint key_revision_is_of_a_question_revision_of_the_course foreign key (tenant_id, course_id, revision_id)
    references lms.question_revisions (tenant_id, course_id, id)
);
create index key_revisions_by_revision on private.key_revisions (tenant_id, course_id, revision_id);

comment on table private.key_revisions is
  'The keys of published questions. New attempts take the highest number; earlier ones keep theirs until they are regraded.';

create trigger _100_immutable before update or delete on lms.version_assessments
  for each row execute function private.refuse_version_change();
create trigger _100_immutable before update or delete on lms.question_revisions
  for each row execute function private.refuse_version_change();
create trigger _100_immutable before update or delete on lms.version_questions
  for each row execute function private.refuse_version_change();
create trigger _300_in_one_go after insert on lms.version_assessments
  referencing new table as new_rows
  for each statement execute function private.refuse_late_version_rows();
create trigger _300_in_one_go after insert on lms.version_questions
  referencing new table as new_rows
  for each statement execute function private.refuse_late_version_rows();

create function private.refuse_key_revision_change()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  raise insufficient_privilege using message = 'A key that was published stays on record.', hint = 'Correct it: correct_answer_key.';
end
$$;

create trigger _100_immutable before update or delete on private.key_revisions
  for each row execute function private.refuse_key_revision_change();

-- =====================================================================================================
-- Accommodations
-- =====================================================================================================

create table lms.accommodations (
  id uuid primary key default private.uuid_v7(),
  tenant_id uuid not null,
  course_id uuid not null,
  user_id uuid not null constraint accommodation_is_of_a_person references public.profiles (id),
  assessment_id uuid,
  extra_time_percentage integer not null default 0
    constraint extra_time_is_0_to_400_percent check (extra_time_percentage between 0 and 400),
  extra_attempts integer not null default 0 constraint extra_attempts_are_0_to_100 check (extra_attempts between 0 and 100),
  opens_at timestamptz,
  closes_at timestamptz,
  reason text not null default '' constraint accommodation_reason_is_short check (length(reason) <= 1000),
  granted_by uuid,
  granted_at timestamptz not null default now(),
  revoked_at timestamptz,
  revoked_by uuid,
  constraint accommodation_opens_before_it_closes check (opens_at < closes_at),
  constraint accommodation_dates_are_finite check (isfinite(opens_at) and isfinite(closes_at)),
  constraint accommodation_is_of_a_member foreign key (tenant_id, user_id) references lms.memberships (tenant_id, user_id),
  constraint accommodation_is_in_a_course_of_the_same_tenant foreign key (tenant_id, course_id)
    references lms.courses (tenant_id, id),
  constraint accommodation_is_of_an_assessment_of_the_course foreign key (tenant_id, course_id, assessment_id)
    references lms.assessments (tenant_id, course_id, id)
);
create index accommodations_by_user on lms.accommodations (user_id, course_id);
create index accommodations_by_member on lms.accommodations (tenant_id, user_id);
create index accommodations_by_assessment on lms.accommodations (tenant_id, course_id, assessment_id);

comment on table lms.accommodations is
  'What a learner is granted beyond the rules of an assessment, or (assessment_id null) of all of a course. Written by '
  'grant_accommodation and revoke_accommodation. Of several that hold, the most generous counts.';
comment on column lms.accommodations.extra_time_percentage is '50: half as long again as the time limit.';
comment on column lms.accommodations.opens_at is 'Earlier than the assessment''s; null: as the assessment.';
comment on column lms.accommodations.closes_at is 'Later than the assessment''s; null: as the assessment.';

create trigger _100_timestamps before update on lms.assessments
  for each row when (old.published_at is not distinct from new.published_at) execute function private.touch_updated_at();
create trigger _100_timestamps before update on lms.assessment_sections
  for each row execute function private.touch_updated_at();
create trigger _100_timestamps before update on lms.questions
  for each row execute function private.touch_updated_at();
create trigger _100_timestamps before update on private.answer_keys
  for each row execute function private.touch_updated_at();

-- =====================================================================================================
-- Keys and positions that follow from the parent
-- =====================================================================================================

create function private.place_assessment()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  -- A lesson or course that does not exist, or not together, is left to the foreign keys.
  if new.lesson_id is not null and new.deleted_at is null
    and exists (select from lms.lessons l where l.id = new.lesson_id and l.deleted_at is not null)
  then
    perform private.fail('lesson_not_found', 'There is no such lesson.', 404);
  elsif tg_op = 'UPDATE' then
    return new;
  end if;
  if new.lesson_id is not null and new.course_id = '00000000-0000-0000-0000-000000000000' then
    select l.course_id into new.course_id from lms.lessons l where l.id = new.lesson_id;
    new.course_id := coalesce(new.course_id, '00000000-0000-0000-0000-000000000000');
  end if;
  select c.tenant_id into new.tenant_id from lms.courses c where c.id = new.course_id;
  new.tenant_id := coalesce(new.tenant_id, '00000000-0000-0000-0000-000000000000');
  if new.key = '' or new.order_index < 0 then
    -- Two authors who add something at once do not meet on one key or place.
    perform from lms.courses c where c.id = new.course_id for no key update;
  end if;
  if new.key = '' then
    for attempt in 1..12 loop
      new.key := private.key_of_title(new.title, 'assessment', new.id, attempt);
      exit when not exists (select from lms.assessments a where a.course_id = new.course_id and a.key = new.key);
    end loop;
  end if;
  if new.order_index < 0 then
    select coalesce(max(a.order_index), -1) + 1 into new.order_index
    from lms.assessments a
    where coalesce(a.lesson_id, a.course_id) = coalesce(new.lesson_id, new.course_id) and a.deleted_at is null;
  end if;
  return new;
end
$$;

create trigger _200_place before insert on lms.assessments
  for each row execute function private.place_assessment();
create trigger _200_place_moved before update of lesson_id on lms.assessments
  for each row when (new.lesson_id is distinct from old.lesson_id) execute function private.place_assessment();

create function private.place_in_assessment()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_parent record;
begin
  select a.tenant_id, a.course_id into v_parent from lms.assessments a where a.id = new.assessment_id;
  if found then
    new.tenant_id := v_parent.tenant_id;
    new.course_id := v_parent.course_id;
  end if;
  if new.order_index < 0 then
    perform from lms.courses c where c.id = new.course_id for no key update;
    perform from lms.assessments a where a.id = new.assessment_id for no key update;
  end if;
  if tg_table_name = 'questions' then
    if new.question_key = '' then
      new.question_key := 'question-' || replace(new.id::text, '-', '');
    end if;
    if new.order_index < 0 then
      select coalesce(max(q.order_index), -1) + 1 into new.order_index
      from lms.questions q
      where q.assessment_id = new.assessment_id and q.deleted_at is null;
    end if;
  else
    if new.key = '' then
      new.key := 'section-' || replace(new.id::text, '-', '');
    end if;
    if new.order_index < 0 then
      select coalesce(max(s.order_index), -1) + 1 into new.order_index
      from lms.assessment_sections s
      where s.assessment_id = new.assessment_id and s.deleted_at is null;
    end if;
  end if;
  return new;
end
$$;

create trigger _200_place before insert on lms.assessment_sections
  for each row execute function private.place_in_assessment();
create trigger _200_place before insert on lms.questions
  for each row execute function private.place_in_assessment();

create function private.place_question_skill()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_question record;
begin
  select q.tenant_id, q.course_id into v_question from lms.questions q where q.id = new.question_id;
  if found then
    new.tenant_id := v_question.tenant_id;
    new.course_id := v_question.course_id;
  end if;
  return new;
end
$$;

create trigger _200_place before insert on lms.question_skills
  for each row execute function private.place_question_skill();

-- =====================================================================================================
-- Who sees them
-- =====================================================================================================

create function private.my_open_assessments()
returns table (version_id uuid, assessment_id uuid)
language plpgsql
stable security definer
rows 50
set search_path = ''
as $$
begin
  return query
  select v.version_id, v.assessment_id
  from lms.enrollments e
  join lms.courses c on c.id = e.course_id and c.deleted_at is null
  join lms.version_assessments v on v.version_id = e.version_id
  where e.user_id = (select auth.uid())
    and e.status in ('enrolled', 'in_progress', 'paused', 'completed')
    and (e.expires_at is null or e.expires_at > now())
    and e.tenant_id = any (array(select private.joined_tenants()))
    and case
      when v.lesson_id is not null then
        (v.version_id, v.lesson_id) in (select o.version_id, o.lesson_id from private.my_open_lessons() o)
      else e.started_at is not null or private.describe_missing_prerequisites(e.course_id, e.user_id) is null
    end
  union
  -- What somebody has taken, they may name, also after they have left.
  select a.version_id, a.assessment_id
  from lms.assessment_attempts a
  where a.user_id = (select auth.uid()) and a.tenant_id <> all (array(select private.closed_tenants()));
end
$$;

comment on function private.my_open_assessments is
  'Assessments that the caller may take, as far as lessons go that must come first, and those that they have taken.';

alter table lms.assessments enable row level security;
alter table lms.assessment_sections enable row level security;
alter table lms.questions enable row level security;
alter table lms.question_skills enable row level security;
alter table lms.version_assessments enable row level security;
alter table lms.question_revisions enable row level security;
alter table lms.version_questions enable row level security;
alter table lms.accommodations enable row level security;
alter table private.answer_keys enable row level security;
alter table private.key_revisions enable row level security;

create policy "Assessments are seen by those they are open to and by staff" on lms.assessments
  for select to authenticated
  using (
    deleted_at is null
    and exists (select from lms.courses c where c.id = course_id)
    and (
      id = any (array(select o.assessment_id from private.my_open_assessments() o))
      or course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  );

create policy "Assessments are added by staff" on lms.assessments
  for insert to authenticated
  with check (
    exists (select from lms.courses c where c.id = course_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  );

create policy "Assessments are changed by staff" on lms.assessments
  for update to authenticated
  using (
    deleted_at is null
    and exists (select from lms.courses c where c.id = course_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  )
  with check (
    course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
  );

create policy "Sections are seen by those who edit them" on lms.assessment_sections
  for select to authenticated
  using (
    deleted_at is null
    and exists (select from lms.courses c where c.id = course_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  );

create policy "Sections are added by staff" on lms.assessment_sections
  for insert to authenticated
  with check (
    exists (select from lms.assessments a where a.id = assessment_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  );

create policy "Sections are changed by staff" on lms.assessment_sections
  for update to authenticated
  using (
    deleted_at is null
    and exists (select from lms.courses c where c.id = course_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  )
  with check (
    course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
  );

create policy "Questions are seen by those who edit them" on lms.questions
  for select to authenticated
  using (
    deleted_at is null
    and exists (select from lms.courses c where c.id = course_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  );

create policy "Questions are added by staff" on lms.questions
  for insert to authenticated
  with check (
    exists (select from lms.assessments a where a.id = assessment_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  );

create policy "Questions are changed by staff" on lms.questions
  for update to authenticated
  using (
    deleted_at is null
    and exists (select from lms.courses c where c.id = course_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  )
  with check (
    course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
  );

create policy "The skills of a question are seen with it" on lms.question_skills
  for select to authenticated
  using (exists (select from lms.questions q where q.id = question_id));

create policy "The skills of a question are set by staff" on lms.question_skills
  for insert to authenticated
  with check (
    exists (select from lms.questions q where q.id = question_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  );

create policy "The skills of a question are taken away by staff" on lms.question_skills
  for delete to authenticated
  using (
    exists (select from lms.questions q where q.id = question_id)
    and (
      course_id = any (array(select private.staffed_courses()))
      or tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  );

create policy "Published assessments are seen by takers, staff and in scope" on lms.version_assessments
  for select to authenticated
  using (
    (version_id, assessment_id) in (select o.version_id, o.assessment_id from private.my_open_assessments() o)
    or course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_partly_where('catalog.read')))
    or tenant_id = any (array(select private.tenants_partly_where('assessments.grade')))
  );

create policy "What a published assessment consists of is seen by authors" on lms.version_questions
  for select to authenticated
  using (
    course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('catalog.write')))
  );

-- A reason may speak of somebody's health: auditors do not read it.
create policy "Accommodations are seen by their learner, staff and in scope" on lms.accommodations
  for select to authenticated
  using (
    (user_id = (select auth.uid()) and tenant_id <> all (array(select private.closed_tenants())))
    or course_id = any (array(select private.staffed_courses()))
    or tenant_id = any (array(select private.tenants_where('enrollments.write')))
    or exists (
      select from private.membership_scopes m
      where m.user_id = accommodations.user_id and m.tenant_id = accommodations.tenant_id
        and m.unit_id = any (array(select private.units_where('enrollments.write')))
    )
  );

grant all on lms.assessments, lms.assessment_sections, lms.questions, lms.question_skills, private.answer_keys to service_role;
grant select on
  lms.version_assessments, lms.question_revisions, lms.version_questions, lms.accommodations, private.key_revisions
to service_role;
grant select on
  lms.assessments, lms.assessment_sections, lms.questions, lms.question_skills, lms.version_assessments,
  lms.question_revisions, lms.version_questions, lms.accommodations
to authenticated;
grant delete on lms.question_skills to authenticated;

grant insert (
  course_id, lesson_id, key, kind, title, instructions, is_published, is_mandatory, weight, passing_percentage,
  max_attempts, cooldown_minutes, time_limit_minutes, opens_at, closes_at, shuffle_questions, shuffle_options,
  grading_method, answers_shown, holds_grades, ai_generated, sources, order_index
) on lms.assessments to authenticated;
grant update (
  lesson_id, key, kind, title, instructions, is_published, is_mandatory, weight, passing_percentage,
  max_attempts, cooldown_minutes, time_limit_minutes, opens_at, closes_at, shuffle_questions, shuffle_options,
  grading_method, answers_shown, holds_grades, ai_generated, sources, order_index
) on lms.assessments to authenticated;

grant insert (assessment_id, key, title, draw_count, order_index) on lms.assessment_sections to authenticated;
grant update (key, title, draw_count, order_index) on lms.assessment_sections to authenticated;

grant insert (assessment_id, section_id, question_key, type, prompt, content, points, scoring, order_index)
  on lms.questions to authenticated;
grant update (section_id, question_key, type, prompt, content, points, scoring, order_index)
  on lms.questions to authenticated;

grant insert (question_id, skill_id) on lms.question_skills to authenticated;

grant execute on function private.my_open_assessments to authenticated, service_role;

-- =====================================================================================================
-- The draft, as it would be published
-- =====================================================================================================

-- The only place that says of which assessments a course consists, and in which order.
create function private.draft_assessments(p_course_id uuid)
returns setof lms.version_assessments
language sql
stable
set search_path = ''
as $$
  select
    null::uuid, a.id, a.tenant_id, a.course_id, a.lesson_id, a.key, a.kind, a.title::text, a.instructions, a.is_mandatory,
    -- A survey is handed in, not graded.
    case a.kind when 'survey' then 0 else a.weight end,
    a.passing_percentage::numeric, a.grading_method,
    (row_number() over (order by l.lesson_index nulls last, a.order_index, a.id) - 1)::integer
  from lms.assessments a
  left join private.draft_lessons(p_course_id) l on l.lesson_id = a.lesson_id
  where a.course_id = p_course_id and a.is_published and a.deleted_at is null
    and (a.lesson_id is null or l.lesson_id is not null)
  order by 14
$$;

-- An author writes items in the order that is right, and pairs beside each other: as published they stand in an order that
-- says nothing, since learners see the revision itself (INV-A1).
create function private.scrambled_content(p_question_id uuid, p_type text, p_content jsonb)
returns jsonb
language sql
immutable
set search_path = ''
as $$
  select case
    when list.name is null or jsonb_typeof(p_content -> list.name) <> 'array' then p_content
    else p_content || jsonb_build_object(list.name, (
      select coalesce(jsonb_agg(part.item order by md5(p_question_id::text || part.item::text), part.place), '[]')
      from jsonb_array_elements(p_content -> list.name) with ordinality as part (item, place)
    ))
  end
  from (select case p_type when 'ordering' then 'items' when 'matching' then 'choices' end as name) list
$$;

create type private.draft_question as (
  question_id uuid, tenant_id uuid, course_id uuid, assessment_id uuid, question_key text, type text, prompt text, content jsonb,
  points numeric, scoring text, skill_ids uuid[], key jsonb, explanation text, content_hash text,
  section_id uuid, section_key text, section_title text, draw_count integer, order_index integer
);

-- A keyed hash, because it goes over the key as well: a learner reads it beside the question, and could otherwise try which
-- of four answers makes it (INV-A1).
create function private.question_hash(p_question jsonb)
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
  return audit.hash_personal('lms.question_revisions', p_question) ->> 'hash';
end
$$;

create function private.draft_questions(p_course_id uuid)
returns setof private.draft_question
language sql
stable
set search_path = ''
as $$
  select
    q.id, q.tenant_id, q.course_id, q.assessment_id, q.question_key, q.type, q.prompt, q.content, q.points, q.scoring, q.skill_ids,
    q.key, q.explanation,
    private.question_hash(jsonb_build_array(
      q.question_key, q.type, q.prompt, q.content, q.points, q.scoring, q.skill_ids, q.key, q.explanation
    )),
    q.section_id, q.section_key, q.section_title, q.draw_count,
    (row_number() over (
      partition by q.assessment_id order by q.section_index nulls first, q.section_id, q.order_index, q.id
    ) - 1)::integer
  from (
    select
      q.*, private.scrambled_content(q.id, q.type, q.content) as scrambled,
      array(select k.skill_id from lms.question_skills k where k.question_id = q.id order by k.skill_id) as skill_ids,
      k.key, k.explanation, s.key as section_key, s.title::text as section_title, s.draw_count, s.order_index as section_index
    from lms.questions q
    left join lms.assessment_sections s on s.id = q.section_id and s.deleted_at is null
    left join private.answer_keys k on k.question_id = q.id
    where q.course_id = p_course_id and q.deleted_at is null
  ) as r
  cross join lateral (
    select
      r.id, r.tenant_id, r.course_id, r.assessment_id, r.question_key, r.type, r.prompt, r.scrambled as content, r.points,
      r.scoring, r.skill_ids, r.key, r.explanation, case when r.section_key is not null then r.section_id end as section_id,
      r.section_key, r.section_title, r.draw_count, r.section_index, r.order_index
  ) as q
  where q.assessment_id in (select a.assessment_id from private.draft_assessments(p_course_id) a)
  order by q.assessment_id, 19
$$;

-- As one value, which the publication reads together with lessons and blocks.
create function private.read_draft_assessments(p_course_id uuid)
returns jsonb
language sql
stable
set search_path = ''
as $$
  select jsonb_build_object(
    'assessments', d.assessments, 'questions', d.questions, 'items', d.items,
    -- Nothing where there is nothing, so that courses without assessments keep their hash.
    'hash', case when d.assessments <> '[]' then (d.assessments || (
      select coalesce(jsonb_agg(q.value - array['key', 'explanation']), '[]') from jsonb_array_elements(d.questions) as q
    ))::text end
  )
  from (
    select
      (select coalesce(jsonb_agg(to_jsonb(a) order by a.order_index), '[]') from private.draft_assessments(p_course_id) a)
        as assessments,
      (
        select coalesce(jsonb_agg(to_jsonb(q) order by q.assessment_id, q.order_index), '[]')
        from private.draft_questions(p_course_id) q
      ) as questions,
      (select count(*) from private.draft_assessments(p_course_id) a where a.is_mandatory) as items
  ) d
$$;

-- =====================================================================================================
-- What stands in the way of publishing
-- =====================================================================================================

create function private.asks_for_key(p_kind text, p_type text)
returns boolean
language sql
immutable
set search_path = ''
as $$
  select p_kind <> 'survey' and p_type not in ('essay', 'file_upload')
$$;

create function private.find_assessment_faults(p_course_id uuid)
returns setof lms.course_finding
language plpgsql
stable
set search_path = ''
as $$
declare
  v_course lms.courses;
  v_settings jsonb;
begin
  select * into v_course from lms.courses c where c.id = p_course_id;
  select t.settings into v_settings from lms.tenants t where t.id = v_course.tenant_id;

  return query
  select
    'fault', 'assessment_without_questions', format('"%s" asks nothing.', a.title),
    jsonb_build_object('assessment_id', a.assessment_id)
  from private.draft_assessments(p_course_id) a
  where not exists (
    select from lms.questions q where q.assessment_id = a.assessment_id and q.deleted_at is null
  );

  return query
  select
    'fault', 'too_many_questions', format('"%s" asks more than 500 questions.', a.title),
    jsonb_build_object('assessment_id', a.assessment_id, 'questions', count(*))
  from private.draft_questions(p_course_id) q
  join private.draft_assessments(p_course_id) a on a.assessment_id = q.assessment_id
  group by a.assessment_id, a.title
  having count(*) > 500;

  return query
  select
    'fault', 'question_without_key', format('A question of "%s" has no key.', a.title),
    jsonb_build_object('assessment_id', a.assessment_id, 'question_id', q.question_id, 'question_key', q.question_key)
  from private.draft_questions(p_course_id) q
  join private.draft_assessments(p_course_id) a on a.assessment_id = q.assessment_id
  where q.key is null and private.asks_for_key(a.kind, q.type);

  -- Codes only: what is wrong with a key must not say what it is.
  return query
  select
    'fault', 'question_invalid', format('A question of "%s" cannot be asked as it is.', a.title),
    jsonb_build_object(
      'assessment_id', a.assessment_id, 'question_id', q.question_id, 'question_key', q.question_key, 'faults', to_jsonb(found.codes)
    )
  from private.draft_questions(p_course_id) q
  join private.draft_assessments(p_course_id) a on a.assessment_id = q.assessment_id
  cross join lateral (
    select array(
      select private.question_faults(q.type, q.content, q.scoring)
      union
      select private.key_faults(q.type, q.content, q.key) where q.key is not null
      order by 1
    ) as codes
  ) found
  where cardinality(found.codes) > 0;

  return query
  select
    'fault', 'draw_count_too_high',
    format('"%s" draws %s questions and has %s.', q.section_title, q.draw_count, count(*)),
    jsonb_build_object(
      'assessment_id', q.assessment_id, 'section_id', q.section_id, 'draw_count', q.draw_count, 'questions', count(*)
    )
  from private.draft_questions(p_course_id) q
  group by q.assessment_id, q.section_id, q.section_title, q.draw_count
  having q.draw_count > count(*);

  return query
  select
    'fault', 'lesson_rule_without_assessment',
    format('"%s" is completed by its assessments, and has none.', l.title), jsonb_build_object('lesson_id', l.lesson_id)
  from private.draft_lessons(p_course_id) l
  where l.completion_rule = 'assessment' and not exists (
    select from private.draft_assessments(p_course_id) a where a.lesson_id = l.lesson_id
  );

  if v_course.required_score > 0 and not exists (
    select from private.draft_assessments(p_course_id) a where a.weight > 0
  ) then
    return next (
      'fault', 'required_score_unreachable',
      'The course asks for a final grade, and has no assessment that makes one.',
      jsonb_build_object('required_score', v_course.required_score)
    )::lms.course_finding;
  end if;

  if v_settings -> 'assessment_per_lesson' = 'true' then
    return query
    select
      'fault', 'lesson_without_assessment', format('"%s" has no mandatory assessment, which the organisation asks for.', l.title),
      jsonb_build_object('lesson_id', l.lesson_id)
    from private.draft_lessons(p_course_id) l
    where l.requires_completion and not exists (
      select from private.draft_assessments(p_course_id) a where a.lesson_id = l.lesson_id and a.is_mandatory
    );
  end if;
  if v_settings -> 'final_assessment' = 'true' and not exists (
    select from private.draft_assessments(p_course_id) a where a.lesson_id is null and a.is_mandatory
  ) then
    return next (
      'fault', 'no_final_assessment',
      'The course has no mandatory assessment of its own, which the organisation asks for.', null
    )::lms.course_finding;
  end if;

  return query
  select
    'warning', 'ids_tell_the_order', format('The ids of what is to be put in order in "%s" tell the order.', a.title),
    jsonb_build_object('assessment_id', a.assessment_id, 'question_id', q.question_id, 'question_key', q.question_key)
  from private.draft_questions(p_course_id) q
  join private.draft_assessments(p_course_id) a on a.assessment_id = q.assessment_id
  where q.type = 'ordering' and jsonb_typeof(q.key -> 'order') = 'array' and q.key -> 'order' = (
    select jsonb_agg(item.id order by item.id collate "C")
    from jsonb_array_elements_text(q.key -> 'order') as item (id)
  );

  -- a to a, or p1 to c1.
  return query
  select
    'warning', 'ids_tell_the_pairs', format('The ids of what is to be matched in "%s" tell the pairs.', a.title),
    jsonb_build_object('assessment_id', a.assessment_id, 'question_id', q.question_id, 'question_key', q.question_key)
  from private.draft_questions(p_course_id) q
  join private.draft_assessments(p_course_id) a on a.assessment_id = q.assessment_id
  where q.type = 'matching' and jsonb_typeof(q.key -> 'pairs') = 'object' and (
    select bool_and(pair.prompt_id = pair.choice_id or (
      pair.prompt_id ~ '\d$' and substring(pair.prompt_id from '\d+$') = substring(pair.choice_id from '\d+$')
    ))
    from jsonb_each_text(q.key -> 'pairs') as pair (prompt_id, choice_id)
  );
end
$$;

-- =====================================================================================================
-- Freezing
-- =====================================================================================================

-- The key of a question that did not change otherwise may have been corrected since it was published, and then set back in
-- the draft: the draft's is what counts. Locked as a correction does it, so that attempts that are being started take one or
-- the other.
create function private.renew_keys(p_draft jsonb)
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_assessments uuid[];
begin
  select array_agg(distinct q.assessment_id) into v_assessments
  from jsonb_populate_recordset(null::private.draft_question, p_draft -> 'questions') q
  join lms.question_revisions r on r.question_id = q.question_id and r.content_hash = q.content_hash
  cross join lateral private.current_key(r.id) as k
  where q.key is not null and (k.key, k.explanation) is distinct from (q.key, q.explanation);
  if v_assessments is null then
    return;
  end if;
  perform from lms.assessments a where a.id = any (v_assessments) order by a.id for update;
  insert into private.key_revisions (tenant_id, course_id, revision_id, number, key, explanation, reason, created_by)
  select q.tenant_id, q.course_id, r.id, coalesce(k.number, 0) + 1, q.key, q.explanation, 'published', (select auth.uid())
  from jsonb_populate_recordset(null::private.draft_question, p_draft -> 'questions') q
  join lms.question_revisions r on r.question_id = q.question_id and r.content_hash = q.content_hash
  cross join lateral private.current_key(r.id) as k
  where q.key is not null and (k.key, k.explanation) is distinct from (q.key, q.explanation);
end
$$;

create function private.freeze_assessments(p_version lms.course_versions, p_draft jsonb)
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  insert into lms.version_assessments (
    version_id, assessment_id, tenant_id, course_id, lesson_id, key, kind, title, instructions, is_mandatory, weight,
    passing_percentage, grading_method, order_index
  )
  select
    p_version.id, a.assessment_id, a.tenant_id, a.course_id, a.lesson_id, a.key, a.kind, a.title, a.instructions,
    a.is_mandatory, a.weight, a.passing_percentage, a.grading_method, a.order_index
  from jsonb_populate_recordset(null::lms.version_assessments, p_draft -> 'assessments') a;

  insert into lms.question_revisions (
    tenant_id, course_id, assessment_id, question_id, question_key, content_hash, type, prompt, content, points, scoring, skill_ids
  )
  select
    q.tenant_id, q.course_id, q.assessment_id, q.question_id, q.question_key, q.content_hash, q.type, q.prompt, q.content,
    q.points, q.scoring, q.skill_ids
  from jsonb_populate_recordset(null::private.draft_question, p_draft -> 'questions') q
  on conflict (question_id, content_hash) do nothing;

  perform private.renew_keys(p_draft);

  insert into lms.version_questions (
    version_id, question_id, tenant_id, course_id, assessment_id, revision_id, section_id, section_key, section_title,
    draw_count, order_index
  )
  select
    p_version.id, q.question_id, q.tenant_id, q.course_id, q.assessment_id, r.id, q.section_id, q.section_key,
    q.section_title, q.draw_count, q.order_index
  from jsonb_populate_recordset(null::private.draft_question, p_draft -> 'questions') q
  join lms.question_revisions r on r.question_id = q.question_id and r.content_hash = q.content_hash;

  update lms.assessments a
  set published_at = now()
  from lms.version_assessments v
  where v.version_id = p_version.id and a.id = v.assessment_id and a.published_at is null;
end
$$;

-- =====================================================================================================
-- What changed
-- =====================================================================================================

create function private.version_assessments_of(p_course_id uuid, p_number integer)
returns setof lms.version_assessments
language plpgsql
stable
set search_path = ''
as $$
begin
  if p_number is null then
    return query select * from private.draft_assessments(p_course_id);
  else
    return query
    select a.*
    from lms.course_versions v
    join lms.version_assessments a on a.version_id = v.id
    where v.course_id = p_course_id and v.number = p_number;
  end if;
end
$$;

create type private.placed_question as (
  question_id uuid, assessment_id uuid, content_hash text, section_key text, section_title text, draw_count integer,
  order_index integer
);

create function private.version_questions_of(p_course_id uuid, p_number integer)
returns setof private.placed_question
language plpgsql
stable
set search_path = ''
as $$
begin
  if p_number is null then
    return query
    select q.question_id, q.assessment_id, q.content_hash, q.section_key, q.section_title, q.draw_count, q.order_index
    from private.draft_questions(p_course_id) q;
  else
    return query
    select q.question_id, q.assessment_id, r.content_hash, q.section_key, q.section_title, q.draw_count, q.order_index
    from lms.course_versions v
    join lms.version_questions q on q.version_id = v.id
    join lms.question_revisions r on r.id = q.revision_id
    where v.course_id = p_course_id and v.number = p_number;
  end if;
end
$$;

-- The part of get_version_diff that is about assessments. Of a question only that it changed: a key is part of the hash and
-- of nothing else here.
create function private.diff_assessments(p_course_id uuid, p_from integer, p_to integer)
returns setof lms.version_change
language plpgsql
stable security definer
rows 50
set search_path = ''
as $$
declare
  v_places constant text[] := array['version_id', 'assessment_id', 'tenant_id', 'course_id', 'lesson_id', 'order_index'];
begin
  return query
  with compared as (
    select
      f.assessment_id as was, t.assessment_id as is_now, coalesce(t.lesson_id, f.lesson_id) as lesson_id,
      coalesce(t.title, f.title) as title, coalesce(t.order_index, f.order_index) as place,
      private.changed_fields(to_jsonb(f) - v_places, to_jsonb(t) - v_places) as changed,
      private.changed_fields(
        jsonb_build_object('lesson_id', f.lesson_id, 'order_index', f.order_index),
        jsonb_build_object('lesson_id', t.lesson_id, 'order_index', t.order_index)
      ) as moved
    from private.version_assessments_of(p_course_id, p_from) f
    full join private.version_assessments_of(p_course_id, p_to) t on t.assessment_id = f.assessment_id
  )
  select
    'assessment',
    case
      when c.was is null then 'added'
      when c.is_now is null then 'removed'
      when c.changed is not null then 'changed'
      else 'moved'
    end,
    null::uuid, c.lesson_id, null::uuid, c.title,
    case when c.was is not null and c.is_now is not null then coalesce(c.changed || coalesce(c.moved, '{}'), c.moved) end,
    coalesce(c.is_now, c.was), null::uuid
  from compared c
  where c.was is null or c.is_now is null or c.changed is not null or c.moved is not null
  order by c.place, 8;

  return query
  select
    'question',
    case
      when f.question_id is null then 'added'
      when t.question_id is null then 'removed'
      when f.content_hash <> t.content_hash then 'changed'
      else 'moved'
    end,
    null::uuid, null::uuid, null::uuid, null::text,
    case
      when f.question_id is not null and t.question_id is not null then
        private.changed_fields(to_jsonb(f) - 'question_id', to_jsonb(t) - 'question_id')
    end,
    coalesce(t.assessment_id, f.assessment_id), coalesce(t.question_id, f.question_id)
  from private.version_questions_of(p_course_id, p_from) f
  full join private.version_questions_of(p_course_id, p_to) t on t.question_id = f.question_id
  left join private.version_assessments_of(p_course_id, p_from) was on was.assessment_id = f.assessment_id
  left join private.version_assessments_of(p_course_id, p_to) now on now.assessment_id = t.assessment_id
  where (f.*) is distinct from (t.*)
  order by coalesce(now.order_index, was.order_index), coalesce(t.order_index, f.order_index), 9;
end
$$;

-- =====================================================================================================
-- Keys
-- =====================================================================================================

create type lms.answer_key as (question_id uuid, key jsonb, explanation text, updated_at timestamptz);
comment on type lms.answer_key is
  'key by type: single {correct: id}; multiple {correct: [ids]}; true_false {correct: boolean}; short_answer {accepted: '
  '[{text, fraction?}], case_sensitive?, keep_diacritics?, keep_punctuation?}; numeric {value, tolerance?, tolerance_kind?, '
  'units?, unit_required?}; matching {pairs: {prompt: choice}}; ordering {order: [ids]}; essay and file_upload {rubric?, '
  'model_answer?}.';

-- Definer, because nobody reads keys; so it checks its caller.
create function private.require_key_author(p_question_id uuid)
returns lms.questions
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_question lms.questions;
begin
  select q.* into v_question
  from lms.questions q
  join lms.courses c on c.id = q.course_id and c.deleted_at is null
  where q.id = p_question_id and q.deleted_at is null and (
    not private.is_api_call()
    or q.course_id = any (array(select private.staffed_courses()))
    or q.tenant_id = any (array(select private.tenants_where('catalog.write')))
  );
  if not found then
    perform private.fail('question_not_found', 'There is no such question.', 404);
  end if;
  return v_question;
end
$$;

create function private.write_answer_key(p_question_id uuid, p_key jsonb, p_explanation text)
returns lms.answer_key
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_question constant lms.questions := private.require_key_author(p_question_id);
  v_faults text[];
  v_key lms.answer_key;
begin
  v_faults := case
    when p_key is null or jsonb_typeof(p_key) <> 'object' then array['not_an_object']
    when pg_column_size(p_key) > 200000 then array['too_long']
    else array(select private.key_faults(v_question.type, v_question.content, p_key))
  end;
  if cardinality(v_faults) > 0 then
    perform private.fail(
      'invalid_key', 'This is not a key to this question.', 422,
      jsonb_build_object('field', 'p_key', 'type', v_question.type, 'faults', to_jsonb(v_faults))
    );
  elsif p_explanation is null or length(p_explanation) > 20000 then
    perform private.fail(
      'invalid_explanation', 'An explanation has at most 20000 characters.', 422, jsonb_build_object('field', 'p_explanation')
    );
  end if;
  insert into private.answer_keys as k (question_id, tenant_id, course_id, key, explanation, updated_at, updated_by)
  values (v_question.id, v_question.tenant_id, v_question.course_id, p_key, p_explanation, now(), (select auth.uid()))
  on conflict (question_id) do update
  set key = excluded.key, explanation = excluded.explanation, updated_at = now(), updated_by = excluded.updated_by
  returning k.question_id, k.key, k.explanation, k.updated_at into v_key;
  return v_key;
end
$$;

create function private.read_answer_key(p_question_id uuid)
returns lms.answer_key
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_question constant lms.questions := private.require_key_author(p_question_id);
  v_key lms.answer_key;
begin
  select k.question_id, k.key, k.explanation, k.updated_at into v_key
  from private.answer_keys k
  where k.question_id = v_question.id;
  v_key.question_id := v_question.id;
  return v_key;
end
$$;

create function lms.set_answer_key(p_question_id uuid, p_key jsonb, p_explanation text default '')
returns lms.answer_key
language plpgsql
volatile
set search_path = ''
as $$
begin
  return private.write_answer_key(p_question_id, p_key, p_explanation);
end
$$;

comment on function lms.set_answer_key is
  'Sets the key to a question of the draft, and what is explained once answers are shown; with the next version it holds for '
  'learners (correct_answer_key changes that of published ones). For staff of the course and catalog.write; for everybody '
  'else there is no such question. 404 question_not_found; 422 invalid_key {faults}, invalid_explanation.';

create function lms.get_answer_key(p_question_id uuid)
returns lms.answer_key
language plpgsql
stable
set search_path = ''
as $$
begin
  return private.read_answer_key(p_question_id);
end
$$;

comment on function lms.get_answer_key is
  'The key to a question of the draft; key null: it has none yet. For those who may set it. 404 question_not_found.';

-- =====================================================================================================
-- Taking away and bringing back
-- =====================================================================================================
-- As lessons: rows are marked. What hangs below goes and comes back with it: it bears the same instant.

create function private.delete_assessment_part(p_kind text, p_id uuid)
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_course_id uuid;
  v_at constant timestamptz := clock_timestamp();
begin
  v_course_id := case p_kind
    when 'assessment' then (select a.course_id from lms.assessments a where a.id = p_id)
    when 'section' then (select s.course_id from lms.assessment_sections s where s.id = p_id)
    else (select q.course_id from lms.questions q where q.id = p_id)
  end;
  perform private.require_course_editor(v_course_id, p_kind);
  update lms.assessments a set deleted_at = v_at where p_kind = 'assessment' and a.id = p_id and a.deleted_at is null;
  update lms.assessment_sections s
  set deleted_at = v_at
  where s.deleted_at is null
    and case p_kind when 'assessment' then s.assessment_id = p_id when 'section' then s.id = p_id else false end;
  update lms.questions q
  set deleted_at = v_at
  where q.deleted_at is null and q.course_id = v_course_id and case p_kind
    when 'assessment' then q.assessment_id = p_id
    when 'section' then q.section_id = p_id
    else q.id = p_id
  end;
end
$$;

create function private.restore_assessment_part(p_kind text, p_id uuid)
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_part record;
begin
  if p_kind = 'assessment' then
    select a.course_id, a.deleted_at, coalesce(c.deleted_at, l.deleted_at) is not null as is_below_deleted into v_part
    from lms.assessments a
    join lms.courses c on c.id = a.course_id
    left join lms.lessons l on l.id = a.lesson_id
    where a.id = p_id;
  elsif p_kind = 'section' then
    select s.course_id, s.deleted_at, coalesce(c.deleted_at, a.deleted_at) is not null as is_below_deleted into v_part
    from lms.assessment_sections s
    join lms.assessments a on a.id = s.assessment_id
    join lms.courses c on c.id = s.course_id
    where s.id = p_id;
  else
    select q.course_id, q.deleted_at, coalesce(c.deleted_at, a.deleted_at, s.deleted_at) is not null as is_below_deleted
    into v_part
    from lms.questions q
    join lms.assessments a on a.id = q.assessment_id
    join lms.courses c on c.id = q.course_id
    left join lms.assessment_sections s on s.id = q.section_id
    where q.id = p_id;
  end if;
  perform private.require_course_restorer(v_part.course_id, p_kind);
  if v_part.is_below_deleted then
    perform private.fail(
      'parent_deleted', format('What this %s belongs to is deleted.', p_kind), 409, jsonb_build_object('id', p_id),
      'Restore that first.'
    );
  end if;

  -- Its place may have been taken since: then it goes last. The constraint is deferred, so that several that come back at
  -- once may pass through a place that one of them is about to take.
  update lms.assessments a
  set deleted_at = null,
      order_index = case
        when exists (
          select from lms.assessments o
          where coalesce(o.lesson_id, o.course_id) = coalesce(a.lesson_id, a.course_id) and o.order_index = a.order_index
            and o.deleted_at is null
        ) then (
          select max(o.order_index) + 1 from lms.assessments o
          where coalesce(o.lesson_id, o.course_id) = coalesce(a.lesson_id, a.course_id) and o.deleted_at is null
        )
        else a.order_index
      end
  where p_kind = 'assessment' and a.id = p_id and a.deleted_at is not null;
  update lms.assessment_sections s
  set deleted_at = null,
      order_index = case
        when exists (
          select from lms.assessment_sections o
          where o.assessment_id = s.assessment_id and o.order_index = s.order_index and o.deleted_at is null
        ) then (
          select max(o.order_index) + 1 from lms.assessment_sections o
          where o.assessment_id = s.assessment_id and o.deleted_at is null
        )
        else s.order_index
      end
  where s.deleted_at = v_part.deleted_at
    and case p_kind when 'assessment' then s.assessment_id = p_id when 'section' then s.id = p_id else false end;
  -- Several may come back, each to a place of its own: after those that are there, in their old order.
  update lms.questions q
  set deleted_at = null,
      order_index = case when back.is_taken then back.last + back.place else q.order_index end
  from (
    select
      r.id, row_number() over (partition by r.assessment_id order by r.order_index, r.id) as place,
      exists (
        select from lms.questions o
        where o.assessment_id = r.assessment_id and o.order_index = r.order_index and o.deleted_at is null
      ) as is_taken,
      greatest(
        (select max(o.order_index) from lms.questions o where o.assessment_id = r.assessment_id and o.deleted_at is null),
        max(r.order_index) over (partition by r.assessment_id)
      ) as last
    from lms.questions r
    where r.deleted_at = v_part.deleted_at and r.course_id = v_part.course_id and case p_kind
      when 'assessment' then r.assessment_id = p_id
      when 'section' then r.section_id = p_id
      else r.id = p_id
    end
  ) back
  where q.id = back.id;
end
$$;

create function lms.delete_assessment(p_assessment_id uuid)
returns void
language plpgsql
volatile
set search_path = ''
as $$
begin
  if not exists (select from lms.assessments a where a.id = p_assessment_id) then
    perform private.fail('assessment_not_found', 'There is no such assessment.', 404);
  end if;
  perform private.delete_assessment_part('assessment', p_assessment_id);
end
$$;

comment on function lms.delete_assessment is
  'Takes an assessment with its sections and questions out of the draft; published versions keep it, and so do attempts. '
  'restore_assessment brings all of it back. 404 assessment_not_found; 403 when the caller is neither staff of the course '
  'nor holds catalog.write.';

create function lms.delete_assessment_section(p_section_id uuid)
returns void
language plpgsql
volatile
set search_path = ''
as $$
begin
  if not exists (select from lms.assessment_sections s where s.id = p_section_id) then
    perform private.fail('section_not_found', 'There is no such section.', 404);
  end if;
  perform private.delete_assessment_part('section', p_section_id);
end
$$;

comment on function lms.delete_assessment_section is
  'Takes a section and its questions out of the draft; published versions keep them. 404 section_not_found.';

create function lms.delete_question(p_question_id uuid)
returns void
language plpgsql
volatile
set search_path = ''
as $$
begin
  if not exists (select from lms.questions q where q.id = p_question_id) then
    perform private.fail('question_not_found', 'There is no such question.', 404);
  end if;
  perform private.delete_assessment_part('question', p_question_id);
end
$$;

comment on function lms.delete_question is
  'Takes a question out of the draft; published versions keep it. 404 question_not_found.';

create function lms.restore_assessment(p_assessment_id uuid)
returns lms.assessments
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_assessment lms.assessments;
begin
  perform private.restore_assessment_part('assessment', p_assessment_id);
  select * into v_assessment from lms.assessments a where a.id = p_assessment_id;
  return v_assessment;
end
$$;

comment on function lms.restore_assessment is
  'Brings back an assessment with what was deleted together with it, in its old place or, if that is taken, last. 404 '
  'assessment_not_found; 409 parent_deleted.';

create function lms.restore_assessment_section(p_section_id uuid)
returns lms.assessment_sections
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_section lms.assessment_sections;
begin
  perform private.restore_assessment_part('section', p_section_id);
  select * into v_section from lms.assessment_sections s where s.id = p_section_id;
  return v_section;
end
$$;

comment on function lms.restore_assessment_section is
  'As restore_assessment, for a section. 404 section_not_found; 409 parent_deleted.';

create function lms.restore_question(p_question_id uuid)
returns lms.questions
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_question lms.questions;
begin
  perform private.restore_assessment_part('question', p_question_id);
  select * into v_question from lms.questions q where q.id = p_question_id;
  return v_question;
end
$$;

comment on function lms.restore_question is 'As restore_assessment, for a question. 404 question_not_found; 409 parent_deleted.';

-- =====================================================================================================
-- Granting accommodations
-- =====================================================================================================

-- Definer, because nobody may write the table; so it checks its caller. Time that is granted while an attempt is open is
-- time in that attempt.
create function private.grant_accommodation_to(p_accommodation lms.accommodations)
returns lms.accommodations
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_member lms.memberships;
  v_granted lms.accommodations;
begin
  select c.tenant_id into p_accommodation.tenant_id from lms.courses c where c.id = p_accommodation.course_id;
  select * into v_member
  from lms.memberships m
  where m.tenant_id = p_accommodation.tenant_id and m.user_id = p_accommodation.user_id;
  if private.is_api_call() then
    if not coalesce(
      p_accommodation.tenant_id = any (array(select private.tenants_where('assessments.grade')))
        or v_member.unit_id = any (array(select private.units_where('assessments.grade'))),
      false
    ) then
      raise insufficient_privilege using message = 'Granting this takes assessments.grade in the learner''s unit.';
    elsif p_accommodation.user_id = (select auth.uid()) then
      perform private.fail('own_accommodation', 'Nobody grants themselves more than others have.', 403);
    end if;
  end if;
  if v_member.id is null or v_member.status = 'ended' then
    perform private.fail('person_not_found', 'The organisation has no such member.', 404);
  elsif p_accommodation.assessment_id is not null and not exists (
    select from lms.assessments a where a.id = p_accommodation.assessment_id and a.course_id = p_accommodation.course_id
  ) then
    perform private.fail('assessment_not_found', 'There is no such assessment.', 404);
  end if;
  insert into lms.accommodations (
    tenant_id, course_id, user_id, assessment_id, extra_time_percentage, extra_attempts, opens_at, closes_at, reason, granted_by
  )
  values (
    p_accommodation.tenant_id, p_accommodation.course_id, p_accommodation.user_id, p_accommodation.assessment_id,
    p_accommodation.extra_time_percentage, p_accommodation.extra_attempts, p_accommodation.opens_at,
    p_accommodation.closes_at, p_accommodation.reason, (select auth.uid())
  )
  returning * into v_granted;
  perform private.extend_open_attempts(v_granted);
  return v_granted;
end
$$;

create function lms.grant_accommodation(
  p_user_id uuid,
  p_course_id uuid,
  p_assessment_id uuid default null,
  p_extra_time_percentage integer default 0,
  p_extra_attempts integer default 0,
  p_opens_at timestamptz default null,
  p_closes_at timestamptz default null,
  p_reason text default ''
)
returns lms.accommodations
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_accommodation lms.accommodations;
begin
  perform private.require_course(p_course_id);
  v_accommodation.user_id := p_user_id;
  v_accommodation.course_id := p_course_id;
  v_accommodation.assessment_id := p_assessment_id;
  v_accommodation.extra_time_percentage := coalesce(p_extra_time_percentage, 0);
  v_accommodation.extra_attempts := coalesce(p_extra_attempts, 0);
  v_accommodation.opens_at := p_opens_at;
  v_accommodation.closes_at := p_closes_at;
  v_accommodation.reason := coalesce(p_reason, '');
  return private.grant_accommodation_to(v_accommodation);
end
$$;

comment on function lms.grant_accommodation is
  'Grants a learner more time, more attempts or other dates, in one assessment or (p_assessment_id null) all of a course; an '
  'open attempt gains the time at once. Takes assessments.grade in the learner''s scope, and is nobody''s for themselves. '
  '404 course_not_found, assessment_not_found, person_not_found; 403 own_accommodation, 42501; 23514 out of range.';

create function private.revoke_accommodation_of(p_accommodation_id uuid)
returns lms.accommodations
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_accommodation lms.accommodations;
begin
  select * into v_accommodation from lms.accommodations a where a.id = p_accommodation_id for no key update;
  if private.is_api_call() then
    if not coalesce(
      v_accommodation.tenant_id = any (array(select private.tenants_where('assessments.grade')))
        or exists (
          select from lms.memberships m
          where m.tenant_id = v_accommodation.tenant_id and m.user_id = v_accommodation.user_id
            and m.unit_id = any (array(select private.units_where('assessments.grade')))
        ),
      false
    ) then
      raise insufficient_privilege using message = 'Revoking this takes assessments.grade in the learner''s unit.';
    end if;
  end if;
  update lms.accommodations a
  set revoked_at = now(), revoked_by = (select auth.uid())
  where a.id = p_accommodation_id and a.revoked_at is null;
  select * into v_accommodation from lms.accommodations a where a.id = p_accommodation_id;
  return v_accommodation;
end
$$;

create function lms.revoke_accommodation(p_accommodation_id uuid)
returns lms.accommodations
language plpgsql
volatile
set search_path = ''
as $$
begin
  if not exists (select from lms.accommodations a where a.id = p_accommodation_id) then
    perform private.fail('accommodation_not_found', 'There is no such accommodation.', 404);
  end if;
  return private.revoke_accommodation_of(p_accommodation_id);
end
$$;

comment on function lms.revoke_accommodation is
  'Takes an accommodation back for attempts that start from now on. 404 accommodation_not_found; 403 without the right to '
  'grant it.';

grant execute on function
  private.write_answer_key, private.read_answer_key, private.delete_assessment_part,
  private.restore_assessment_part, private.grant_accommodation_to, private.revoke_accommodation_of
to authenticated, service_role;
grant execute on function
  lms.set_answer_key, lms.get_answer_key, lms.delete_assessment, lms.delete_assessment_section, lms.delete_question,
  lms.restore_assessment, lms.restore_assessment_section, lms.restore_question, lms.grant_accommodation,
  lms.revoke_accommodation
to authenticated, service_role;

notify pgrst, 'reload schema';
