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
    constraint sources_are_a_list check (jsonb_typeof(sources) = 'array' and length(sources::text) <= 20000),
  order_index integer not null default -1 constraint assessment_order_is_not_negative check (order_index >= 0),
  published_at timestamptz,
  deleted_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint assessment_opens_before_it_closes check (opens_at < closes_at),
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
comment on column lms.assessments.max_attempts is 'Null: any number.';
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
  order_index integer not null default -1 constraint section_order_is_not_negative check (order_index >= 0),
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
    constraint question_content_is_an_object check (jsonb_typeof(content) = 'object' and length(content::text) <= 100000),
  points numeric(8, 2) not null default 1 constraint points_are_positive check (points > 0 and points < 'Infinity'),
  scoring text not null default 'all_or_nothing'
    constraint scoring_is_known check (scoring in ('all_or_nothing', 'partial', 'partial_negative')),
  order_index integer not null default -1 constraint question_order_is_not_negative check (order_index >= 0),
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
  key jsonb not null constraint answer_key_is_an_object check (jsonb_typeof(key) = 'object' and length(key::text) <= 100000),
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

-- A publication reads the draft in several statements. It holds the course; whoever changes an assessment waits for it,
-- and it for them: what was checked is what is frozen. Authors do not wait for each other.
create function private.change_with_course()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if tg_op = 'DELETE' then
    perform from lms.courses c where c.id = old.course_id for share;
    return old;
  end if;
  perform from lms.courses c where c.id = new.course_id for share;
  return new;
end
$$;

create trigger _250_with_course before insert or update or delete on lms.assessments
  for each row execute function private.change_with_course();
create trigger _250_with_course before insert or update or delete on lms.assessment_sections
  for each row execute function private.change_with_course();
create trigger _250_with_course before insert or update or delete on lms.questions
  for each row execute function private.change_with_course();
create trigger _250_with_course before insert or update or delete on lms.question_skills
  for each row execute function private.change_with_course();
create trigger _250_with_course before insert or update or delete on private.answer_keys
  for each row execute function private.change_with_course();

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
  join lms.version_assessments v on v.version_id = e.version_id
  where e.user_id = (select auth.uid())
    and e.status in ('enrolled', 'in_progress', 'paused', 'completed')
    and (e.expires_at is null or e.expires_at > now())
    and e.tenant_id = any (array(select private.joined_tenants()))
    and (v.lesson_id is null or (v.version_id, v.lesson_id) in (select o.version_id, o.lesson_id from private.my_open_lessons() o))
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

-- AUTHORING

notify pgrst, 'reload schema';
