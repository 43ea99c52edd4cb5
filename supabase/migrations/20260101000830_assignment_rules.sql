-- Assignment rules: who has to take what, by when, and how often again. What follows from a rule for a person is derived
-- from data, as often as one likes, and never from a job having run in time.
-- Undo: delete from ops.jobs where name in ('apply-assignment-marks', 'apply-assignment-rules'), with their cron jobs; drop
-- functions lms.set_assignment_rule_status, preview_assignment_rule, explain_assignment, grant_training_waiver,
-- revoke_training_waiver, get_training_status, ops.apply_assignment_marks, apply_assignment_rules; drop tables
-- private.rule_due_dates, assignment_marks, lms.training_waivers, training_requirements, assignment_rule_courses, assignment_rules; then the
-- triggers on memberships, role_grants, cohort_members, org_units, roles, cohorts, courses, learning paths and certificates,
-- types and functions below.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Rules
-- =====================================================================================================

create table lms.assignment_rules (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null constraint assignment_rule_belongs_to_a_tenant references lms.tenants (id),
  name private.title not null,
  description text not null default '' constraint assignment_rule_description_is_short check (length(description) <= 5000),
  status text not null default 'draft'
    constraint assignment_rule_status_is_known check (status in ('draft', 'active', 'ended')),
  role_id uuid,
  job_title text constraint assigned_job_title_is_1_to_200_characters check (job_title ~ '\S' and length(job_title) <= 200),
  unit_id uuid,
  cohort_id uuid,
  path_id uuid,
  due_after_days integer constraint due_is_within_10_years check (due_after_days between 0 and 3650),
  due_on date constraint due_is_a_day_of_calendars check (due_on between '1900-01-01' and '9999-12-31'),
  recurs_every_months integer constraint recurrence_is_1_to_120_months check (recurs_every_months between 1 and 120),
  renewal_window_days integer not null default 30
    constraint renewal_window_is_within_a_year check (renewal_window_days between 0 and 366),
  activated_at timestamptz,
  ended_at timestamptz,
  changed_at timestamptz not null default now(),
  created_by uuid,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint assignment_rule_of_its_tenant unique (tenant_id, id),
  constraint assignment_is_due_by_days_or_by_date check (due_after_days is null or due_on is null),
  constraint renewal_window_is_shorter_than_the_period check (renewal_window_days < 28 * recurs_every_months),
  constraint assignment_rule_has_the_dates_of_its_status check (
    (status = 'draft') = (activated_at is null) and (status = 'ended') = (ended_at is not null)
  ),
  constraint assignment_rule_role_is_of_the_same_tenant foreign key (tenant_id, role_id) references lms.roles (tenant_id, id),
  constraint assignment_rule_unit_is_of_the_same_tenant foreign key (tenant_id, unit_id) references lms.org_units (tenant_id, id),
  constraint assignment_rule_cohort_is_of_the_same_tenant foreign key (tenant_id, cohort_id)
    references lms.cohorts (tenant_id, id),
  constraint assignment_rule_path_is_of_the_same_tenant foreign key (tenant_id, path_id)
    references lms.learning_paths (tenant_id, id)
);
create index assignment_rules_by_tenant on lms.assignment_rules (tenant_id, created_at desc, id desc);
create index assignment_rules_by_role on lms.assignment_rules (tenant_id, role_id);
create index assignment_rules_by_unit on lms.assignment_rules (tenant_id, unit_id);
create index assignment_rules_by_unit_alone on lms.assignment_rules (unit_id);
create index assignment_rules_by_cohort on lms.assignment_rules (tenant_id, cohort_id);
create index assignment_rules_by_path on lms.assignment_rules (tenant_id, path_id);

comment on table lms.assignment_rules is
  'Everyone with this role, job title, unit and cohort (those that are named, all of them) takes these courses, by a date, and '
  'again every so many months. Takes effect once it is active.';
comment on column lms.assignment_rules.job_title is 'Compared without regard to case and spaces around it.';
comment on column lms.assignment_rules.unit_id is 'The unit and all below it.';
comment on column lms.assignment_rules.path_id is 'The required courses of this learning path, beside those of assignment_rule_courses.';
comment on column lms.assignment_rules.due_after_days is
  'Days after somebody came under the rule, to the end of that day in the tenant''s time zone.';
comment on column lms.assignment_rules.recurs_every_months is
  'How long a completion holds, to the end of that day in the tenant''s time zone; null: for good.';
comment on column lms.assignment_rules.renewal_window_days is 'So many days before that, the next cycle opens.';
comment on column lms.assignment_rules.changed_at is
  'When its status, whom it is about, or its courses were changed last: nobody is under it as it is now since before then.';

create table lms.assignment_rule_courses (
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  rule_id uuid not null,
  course_id uuid not null,
  created_at timestamptz not null default now(),
  primary key (rule_id, course_id),
  constraint assigned_by_a_rule_of_the_same_tenant foreign key (tenant_id, rule_id)
    references lms.assignment_rules (tenant_id, id) on delete cascade,
  constraint assigned_course_is_of_the_same_tenant foreign key (tenant_id, course_id) references lms.courses (tenant_id, id)
);
create index assignment_rule_courses_by_rule on lms.assignment_rule_courses (tenant_id, rule_id);
create index assignment_rule_courses_by_course on lms.assignment_rule_courses (tenant_id, course_id);
create index assignment_rule_courses_by_course_alone on lms.assignment_rule_courses (course_id);

comment on table lms.assignment_rule_courses is 'What a rule assigns.';
comment on column lms.assignment_rule_courses.tenant_id is 'Taken from the rule.';

create trigger _100_timestamps before update on lms.assignment_rules
  for each row execute function private.touch_updated_at();

create function private.place_assignment_rule_course()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  select r.tenant_id into new.tenant_id from lms.assignment_rules r where r.id = new.rule_id;
  new.tenant_id := coalesce(new.tenant_id, '00000000-0000-0000-0000-000000000000');
  return new;
end
$$;

create trigger _200_place before insert on lms.assignment_rule_courses
  for each row execute function private.place_assignment_rule_course();

create function private.note_rule_change()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  new.changed_at := private.training_clock();
  return new;
end
$$;

create trigger _210_changed before insert on lms.assignment_rules
  for each row execute function private.note_rule_change();
create trigger _210_changed_again before update on lms.assignment_rules
  for each row when (
    (old.role_id, old.job_title, old.unit_id, old.cohort_id, old.path_id, old.status)
    is distinct from (new.role_id, new.job_title, new.unit_id, new.cohort_id, new.path_id, new.status)
  )
  execute function private.note_rule_change();

-- =====================================================================================================
-- What rules name stays
-- =====================================================================================================
-- A rule without its cohort would be about everybody. So what a rule names is not deleted: a draft is changed or deleted
-- first, and what rules in effect or ended ones name is archived instead, or their record would not say any more whom they
-- were about. The foreign keys refuse it, too; this says which rules, to those who see them.

-- Definer, because rules that the caller does not see count as well; so it names those only that the policy of rules shows.
create function private.keep_what_rules_name()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_rules constant lms.assignment_rules[] := array(
    select r
    from lms.assignment_rules r
    where r.tenant_id = old.tenant_id and old.id in (r.role_id, r.unit_id, r.cohort_id, r.path_id)
      -- A path is only hidden: what has ended reads the same without it.
      and (tg_op = 'DELETE' or r.status <> 'ended')
  );
begin
  if cardinality(v_rules) > 0 then
    perform private.fail(
      'named_by_rules', 'Assignment rules name it.', 409,
      jsonb_build_object('rules', (
        select coalesce(jsonb_agg(jsonb_build_object('id', r.id, 'name', r.name, 'status', r.status) order by r.name, r.id), '[]')
        from unnest(v_rules) r
        where not private.is_api_call() or r.tenant_id = any (array(select private.tenants_where('enrollments.read')))
          or r.unit_id = any (array(select private.units_where('enrollments.read')))
      )),
      'Archive it, or have the rules name something else.'
    );
  end if;
  return case tg_op when 'DELETE' then old else new end;
end
$$;

create trigger _160_not_named before delete on lms.roles
  for each row execute function private.keep_what_rules_name();
create trigger _160_not_named before delete on lms.org_units
  for each row execute function private.keep_what_rules_name();
create trigger _160_not_named before delete on lms.cohorts
  for each row execute function private.keep_what_rules_name();
create trigger _160_not_named before update of deleted_at on lms.learning_paths
  for each row when (old.deleted_at is null and new.deleted_at is not null)
  execute function private.keep_what_rules_name();

-- =====================================================================================================
-- What follows from them
-- =====================================================================================================

create table lms.training_requirements (
  id uuid primary key default private.uuid_v7(),
  tenant_id uuid not null,
  rule_id uuid not null,
  course_id uuid not null,
  user_id uuid not null constraint training_requirement_is_of_a_person references public.profiles (id),
  since timestamptz not null,
  due_at timestamptz,
  ended_at timestamptz,
  end_reason text constraint requirement_end_reason_is_known
    check (end_reason in ('left', 'rule_ended', 'rule_changed', 'moved_on')),
  constraint requirement_has_a_reason_exactly_when_ended check ((ended_at is null) = (end_reason is null)),
  constraint requirement_ends_after_it_begins check (ended_at >= since),
  constraint requirement_is_of_a_rule_of_the_same_tenant foreign key (tenant_id, rule_id)
    references lms.assignment_rules (tenant_id, id),
  constraint required_course_is_of_the_same_tenant foreign key (tenant_id, course_id) references lms.courses (tenant_id, id),
  constraint requirement_is_of_a_member foreign key (tenant_id, user_id) references lms.memberships (tenant_id, user_id)
);
create unique index one_live_requirement on lms.training_requirements (rule_id, course_id, user_id) where ended_at is null;
create index training_requirements_by_user on lms.training_requirements (user_id, course_id);
create index training_requirements_by_member on lms.training_requirements (tenant_id, user_id);
create index training_requirements_by_course on lms.training_requirements (tenant_id, course_id);
create index training_requirements_by_course_alone on lms.training_requirements (course_id);
create index training_requirements_by_rule on lms.training_requirements (tenant_id, rule_id);

comment on table lms.training_requirements is
  'Who has to take which course by which rule, since when and until when. Derived; kept as a record when it ends.';
comment on column lms.training_requirements.due_at is
  'Of the first completion: overdue from then on. Null: without a date. Later ones are due when the last one has run out.';

create table lms.training_waivers (
  id uuid primary key default private.uuid_v7(),
  tenant_id uuid not null,
  user_id uuid not null constraint training_waiver_is_of_a_person references public.profiles (id),
  course_id uuid not null,
  reason text not null constraint waiver_reason_is_1_to_1000_characters check (reason ~ '\S' and length(reason) <= 1000),
  granted_by uuid,
  granted_at timestamptz not null default now(),
  expires_at timestamptz constraint waiver_expiry_is_finite check (isfinite(expires_at)),
  revoked_at timestamptz,
  revoked_by uuid,
  constraint waiver_ends_after_it_begins check (expires_at > granted_at),
  constraint waiver_is_of_a_member foreign key (tenant_id, user_id) references lms.memberships (tenant_id, user_id),
  constraint waived_course_is_of_the_same_tenant foreign key (tenant_id, course_id) references lms.courses (tenant_id, id)
);
create index training_waivers_by_user on lms.training_waivers (user_id, course_id);
create index training_waivers_by_member on lms.training_waivers (tenant_id, user_id);
create index training_waivers_by_course on lms.training_waivers (tenant_id, course_id);
create index training_waivers_by_course_alone on lms.training_waivers (course_id);
create index training_waivers_by_tenant on lms.training_waivers (tenant_id, granted_at desc, id desc);

comment on table lms.training_waivers is
  'Somebody does not have to take a course for the time being, and why. Written by grant_training_waiver and '
  'revoke_training_waiver.';

-- The clock of everything here. Operators and tests who replay a year set lyceum.now; for clients it is the server's.
create function private.training_clock()
returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
begin
  if private.is_api_call() then
    return now();
  end if;
  return coalesce(nullif(current_setting('lyceum.now', true), '')::timestamptz, now());
end
$$;

-- =====================================================================================================
-- Whom a rule is about
-- =====================================================================================================

create function private.same_job_title(p_one text, p_other text)
returns boolean
language sql
immutable
set search_path = ''
as $$
  select lower(btrim(p_one)) = lower(btrim(p_other))
$$;

-- Members, no guests. Who is suspended stays under a rule, or an hour's suspension would begin all due dates anew.
create function private.people_of_rule(rule lms.assignment_rules)
returns setof uuid
language plpgsql
stable
rows 100
set search_path = ''
as $$
begin
  return query
  select m.user_id
  from lms.memberships m
  where m.tenant_id = rule.tenant_id and m.status <> 'ended' and not m.is_guest
    and (rule.job_title is null or lower(btrim(m.job_title)) = lower(btrim(rule.job_title)))
    and (rule.unit_id is null or m.unit_id in (
      select c.descendant_id from private.org_unit_closure c where c.ancestor_id = rule.unit_id
    ))
    and (rule.role_id is null or exists (
      select from lms.role_grants g where g.membership_id = m.id and g.role_id = rule.role_id
    ))
    and (rule.cohort_id is null or exists (
      select from lms.cohort_members c where c.cohort_id = rule.cohort_id and c.user_id = m.user_id
    ));
end
$$;

-- All about one person that rules ask for: as it is, or as it was from `at` until `until` (null: to this day). `unit_ids`: the
-- home unit and all above it.
create type private.member_facts as (
  tenant_id uuid, user_id uuid, at timestamptz, until timestamptz, is_member boolean, has_left boolean, unit_ids uuid[],
  job_title text, role_ids uuid[], cohort_ids uuid[]
);

create function private.units_above(p_unit_id uuid)
returns uuid[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(select c.ancestor_id from private.org_unit_closure c where c.descendant_id = p_unit_id order by c.ancestor_id);
end
$$;

-- What is now, one row for each pair of tenant and person. In lateral form, so that any number of people costs a look into
-- three indexes each, whatever statistics say.
create function private.facts_of_members(p_tenant_ids uuid[], p_user_ids uuid[], p_at timestamptz)
returns setof private.member_facts
language plpgsql
stable
rows 1000
set search_path = ''
set plan_cache_mode = force_custom_plan
set jit = off
as $$
begin
  return query
  select
    w.tenant_id, w.user_id, p_at, null::timestamptz, coalesce(m.status <> 'ended' and not m.is_guest, false),
    coalesce(m.status = 'ended', false),
    array(select c.ancestor_id from private.org_unit_closure c where c.descendant_id = m.unit_id),
    m.job_title,
    array(select g.role_id from lms.role_grants g where g.membership_id = m.id),
    array(select c.cohort_id from lms.cohort_members c where c.user_id = m.user_id and c.tenant_id = m.tenant_id)
  from unnest(p_tenant_ids, p_user_ids) as w (tenant_id, user_id)
  left join lms.memberships m on m.tenant_id = w.tenant_id and m.user_id = w.user_id;
end
$$;

create type private.rule_of_person as (rule_id uuid, user_id uuid, at timestamptz, until timestamptz);

-- The same question as people_of_rule answers, of people as they were: that both agree is tested.
create function private.rules_of_people(p_tenant_id uuid, p_people private.member_facts[], p_rule_ids uuid[])
returns setof private.rule_of_person
language plpgsql
stable
rows 1000
set search_path = ''
set plan_cache_mode = force_custom_plan
set jit = off
as $$
begin
  return query
  select r.id, f.user_id, f.at, f.until
  from (
    select u.*, lower(btrim(u.job_title)) as title from unnest(p_people) u where u.is_member offset 0
  ) f
  join (
    select k.*, lower(btrim(k.job_title)) as title from lms.assignment_rules k where k.tenant_id = p_tenant_id and k.id = any (p_rule_ids) offset 0
  ) r
    on (r.title is null or r.title = f.title)
    and (r.unit_id is null or r.unit_id = any (f.unit_ids))
    and (r.role_id is null or r.role_id = any (f.role_ids))
    and (r.cohort_id is null or r.cohort_id = any (f.cohort_ids));
end
$$;

create function private.courses_of_rule(rule lms.assignment_rules)
returns setof uuid
language plpgsql
stable
rows 5
set search_path = ''
as $$
begin
  return query
  select a.course_id
  from (
    select c.course_id from lms.assignment_rule_courses c where c.rule_id = rule.id
    union
    select c.course_id
    from lms.learning_path_courses c
    join lms.learning_paths p on p.id = c.path_id and p.deleted_at is null
    where c.path_id = rule.path_id and c.is_required
  ) a
  join lms.courses k on k.id = a.course_id and k.deleted_at is null;
end
$$;

-- The first moment after the last day: overdue and run out from then on.
create function private.end_of_day(p_day date, p_time_zone text)
returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
begin
  return (p_day + 1)::timestamp at time zone p_time_zone;
end
$$;

create function private.requirement_due(rule lms.assignment_rules, p_since timestamptz, p_time_zone text)
returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
begin
  return private.end_of_day(
    coalesce(rule.due_on, (p_since at time zone p_time_zone)::date + rule.due_after_days), p_time_zone
  );
end
$$;

create function private.runs_out_at(rule lms.assignment_rules, p_completed_at timestamptz, p_time_zone text)
returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
begin
  return private.end_of_day(
    ((p_completed_at at time zone p_time_zone)::date + make_interval(months => rule.recurs_every_months))::date, p_time_zone
  );
end
$$;

comment on function private.runs_out_at is 'When a completion stops to hold by this rule; null when it never does.';

-- =====================================================================================================
-- Marks: whose requirements have to be looked at again, and since when
-- =====================================================================================================
-- Who changes a membership must not wait for, nor fail by, what a dozen rules make of it. The change leaves a mark with its
-- time and with what it has replaced; a job derives from them within a minute. Backwards from what is now, the marks say what
-- was at the time of each: however late the job comes, each change counts at its own time.

create table private.assignment_marks (
  id bigint generated always as identity primary key,
  tenant_id uuid not null,
  user_id uuid,
  rule_id uuid,
  marked_at timestamptz not null,
  was jsonb,
  after_user_id uuid
);
create index assignment_marks_by_person on private.assignment_marks (tenant_id, user_id);
create index assignment_marks_of_rules on private.assignment_marks (tenant_id, rule_id) where user_id is null;
alter table private.assignment_marks enable row level security;

comment on table private.assignment_marks is
  'People (user_id) and rules (rule_id) whose requirements are to be derived again, and tenants (neither) of which everybody is; '
  'removed by the job that does it.';
comment on column private.assignment_marks.was is
  'Of a person, what the change has replaced: {is_member, has_left, unit_ids, job_title}, {unit_ids}, {role_id, is_held} or {cohort_id, is_held}.';
comment on column private.assignment_marks.after_user_id is 'Of a rule or a tenant: how far the job has come, in the order of people.';

create function private.mark_people(p_tenant_id uuid, p_user_ids uuid[], p_was jsonb default null)
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  -- Drafts count: one may be put into effect while this is not committed yet.
  if exists (select from lms.assignment_rules r where r.tenant_id = p_tenant_id and r.status <> 'ended') then
    insert into private.assignment_marks (tenant_id, user_id, marked_at, was)
    select p_tenant_id, u.id, private.training_clock(), p_was from unnest(p_user_ids) as u (id);
  end if;
end
$$;

create function private.mark_member()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.mark_people(new.tenant_id, array[new.user_id], case tg_op
    when 'INSERT' then jsonb_build_object('is_member', false, 'has_left', false, 'unit_ids', null, 'job_title', null)
    else jsonb_build_object(
      'is_member', old.status <> 'ended' and not old.is_guest, 'has_left', old.status = 'ended',
      'unit_ids', private.units_above(old.unit_id), 'job_title', old.job_title
    )
  end);
  return null;
end
$$;

create trigger _700_mark after insert on lms.memberships
  for each row execute function private.mark_member();
create trigger _700_mark_change after update on lms.memberships
  for each row when (
    (old.status, old.unit_id, old.job_title, old.is_guest) is distinct from (new.status, new.unit_id, new.job_title, new.is_guest)
  )
  execute function private.mark_member();

-- Whoever has a role for two units has it until both grants are gone.
create function private.mark_holder()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_grant constant lms.role_grants := case tg_op when 'DELETE' then old else new end;
begin
  if not exists (
    select
    from lms.role_grants g
    where g.membership_id = v_grant.membership_id and g.role_id = v_grant.role_id and g.id <> v_grant.id
  ) then
    perform private.mark_people(
      m.tenant_id, array[m.user_id], jsonb_build_object('role_id', v_grant.role_id, 'is_held', tg_op = 'DELETE')
    )
    from lms.memberships m
    where m.id = v_grant.membership_id;
  end if;
  return null;
end
$$;

create trigger _700_mark after insert or delete on lms.role_grants
  for each row execute function private.mark_holder();

create function private.mark_cohort_member()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_member constant lms.cohort_members := case tg_op when 'DELETE' then old else new end;
begin
  perform private.mark_people(
    v_member.tenant_id, array[v_member.user_id],
    jsonb_build_object('cohort_id', v_member.cohort_id, 'is_held', tg_op = 'DELETE')
  );
  return null;
end
$$;

create trigger _700_mark after insert or delete on lms.cohort_members
  for each row execute function private.mark_cohort_member();

-- A unit that moves takes the people in it and below it under other rules, and out of some.
create function private.mark_unit()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.mark_people(new.tenant_id, array_agg(m.user_id order by m.user_id), jsonb_build_object(
    -- What was above it: the part that has moved along, and what its former parent is below of.
    'unit_ids', private.units_above(old.parent_id) || array(
      select a.ancestor_id
      from private.org_unit_closure a
      join private.org_unit_closure b on b.ancestor_id = new.id and b.descendant_id = a.ancestor_id
      where a.descendant_id = m.unit_id
    )
  ))
  from private.org_unit_closure c
  join lms.memberships m on m.tenant_id = new.tenant_id and m.unit_id = c.descendant_id
  where c.ancestor_id = new.id
  group by m.unit_id;
  return null;
end
$$;

create trigger _700_mark after update of parent_id on lms.org_units
  for each row when (old.parent_id is distinct from new.parent_id)
  execute function private.mark_unit();

create function private.mark_rule()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  insert into private.assignment_marks (tenant_id, rule_id, marked_at) values (new.tenant_id, new.id, private.training_clock());
  return null;
end
$$;

-- Not for another name or description.
create trigger _700_mark after update on lms.assignment_rules
  for each row when (
    new.status <> 'draft' and (
      old.role_id, old.job_title, old.unit_id, old.cohort_id, old.path_id, old.status, old.due_after_days, old.due_on,
      old.recurs_every_months, old.renewal_window_days
    ) is distinct from (
      new.role_id, new.job_title, new.unit_id, new.cohort_id, new.path_id, new.status, new.due_after_days, new.due_on,
      new.recurs_every_months, new.renewal_window_days
    )
  )
  execute function private.mark_rule();

-- Rules whose courses have changed. In the order of ids, as whoever holds several.
create function private.mark_rules_with_other_courses(p_rule_ids uuid[])
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  perform from lms.assignment_rules r where r.id = any (p_rule_ids) and r.status <> 'ended' order by r.id for no key update;
  update lms.assignment_rules r set changed_at = private.training_clock() where r.id = any (p_rule_ids) and r.status <> 'ended';
  insert into private.assignment_marks (tenant_id, rule_id, marked_at)
  select r.tenant_id, r.id, private.training_clock() from lms.assignment_rules r where r.id = any (p_rule_ids) and r.status = 'active';
end
$$;

create function private.mark_rule_courses()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.mark_rules_with_other_courses(array[case tg_op when 'DELETE' then old.rule_id else new.rule_id end]);
  return null;
end
$$;

create trigger _700_mark after insert or delete on lms.assignment_rule_courses
  for each row execute function private.mark_rule_courses();

create function private.mark_path_courses()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.mark_rules_with_other_courses(array(
    select r.id from lms.assignment_rules r where r.path_id = case tg_op when 'DELETE' then old.path_id else new.path_id end
  ));
  return null;
end
$$;

create trigger _700_mark after insert or delete on lms.learning_path_courses
  for each row execute function private.mark_path_courses();
create trigger _700_mark_change after update of is_required on lms.learning_path_courses
  for each row when (old.is_required <> new.is_required)
  execute function private.mark_path_courses();

create function private.mark_rules_of_path()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.mark_rules_with_other_courses(array(select r.id from lms.assignment_rules r where r.path_id = new.id));
  return null;
end
$$;

create trigger _700_mark after update of deleted_at on lms.learning_paths
  for each row when ((old.deleted_at is null) <> (new.deleted_at is null))
  execute function private.mark_rules_of_path();

create function private.mark_rules_of_course()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.mark_rules_with_other_courses(array(
    select c.rule_id from lms.assignment_rule_courses c where c.course_id = new.id
    union
    select r.id
    from lms.learning_path_courses c
    join lms.assignment_rules r on r.path_id = c.path_id
    where c.course_id = new.id and c.is_required
  ));
  return null;
end
$$;

create trigger _700_mark after update of deleted_at on lms.courses
  for each row when ((old.deleted_at is null) <> (new.deleted_at is null))
  execute function private.mark_rules_of_course();

-- A certificate that is found void, or issued again, says that the training has not, or has been done.
create function private.mark_certified()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.mark_people(new.tenant_id, array[new.user_id]);
  return null;
end
$$;

create trigger _700_mark after update of voids_training on lms.certificates
  for each row when (old.voids_training <> new.voids_training)
  execute function private.mark_certified();
create trigger _700_mark_again after insert on lms.certificates
  for each row when (new.edition > 1)
  execute function private.mark_certified();

-- =====================================================================================================
-- Deriving
-- =====================================================================================================

create function private.facts_before(p_facts private.member_facts, p_was jsonb)
returns private.member_facts
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_role_id constant uuid := (p_was ->> 'role_id')::uuid;
  v_cohort_id constant uuid := (p_was ->> 'cohort_id')::uuid;
begin
  if p_was ? 'is_member' then
    p_facts.is_member := (p_was ->> 'is_member')::boolean;
    p_facts.has_left := (p_was ->> 'has_left')::boolean;
    p_facts.job_title := p_was ->> 'job_title';
  end if;
  if p_was ? 'unit_ids' then
    p_facts.unit_ids := array(select u::uuid from jsonb_array_elements_text(nullif(p_was -> 'unit_ids', 'null')) u);
  end if;
  if v_role_id is not null then
    p_facts.role_ids := array_remove(p_facts.role_ids, v_role_id);
    if (p_was ->> 'is_held')::boolean then
      p_facts.role_ids := p_facts.role_ids || v_role_id;
    end if;
  end if;
  if v_cohort_id is not null then
    p_facts.cohort_ids := array_remove(p_facts.cohort_ids, v_cohort_id);
    if (p_was ->> 'is_held')::boolean then
      p_facts.cohort_ids := p_facts.cohort_ids || v_cohort_id;
    end if;
  end if;
  return p_facts;
end
$$;

-- What people have been since the time of each of their marks, and before the first of them (`at` = -infinity). Of marks of
-- one time, as one transaction leaves them, only what came of all of them counts.
create function private.unfold_marks(p_marks private.assignment_marks[], p_now private.member_facts[])
returns setof private.member_facts
language plpgsql
stable
rows 1000
set search_path = ''
as $$
declare
  v_mark record;
  v_facts private.member_facts;
begin
  for v_mark in
    select m.marked_at, m.was, f as facts
    from unnest(p_marks) m
    join unnest(p_now) f on (f.tenant_id, f.user_id) = (m.tenant_id, m.user_id)
    order by m.tenant_id, m.user_id, m.marked_at desc, m.id desc
  loop
    if (v_facts.tenant_id, v_facts.user_id) is distinct from ((v_mark.facts).tenant_id, (v_mark.facts).user_id) then
      if v_facts.user_id is not null then
        v_facts.until := v_facts.at;
        v_facts.at := '-infinity';
        return next v_facts;
      end if;
      v_facts := v_mark.facts;
      v_facts.at := null;
    end if;
    if v_facts.at is distinct from v_mark.marked_at then
      v_facts.until := v_facts.at;
      v_facts.at := v_mark.marked_at;
      return next v_facts;
    end if;
    if v_mark.was is not null then
      v_facts := private.facts_before(v_facts, v_mark.was);
    end if;
  end loop;
  if v_facts.user_id is not null then
    v_facts.until := v_facts.at;
    v_facts.at := '-infinity';
    return next v_facts;
  end if;
end
$$;

create type private.required_course as (rule_id uuid, course_id uuid, user_id uuid, since timestamptz, due_at timestamptz);

-- `p_people`: each person once. Nobody is under a rule since before it became what it is; what is so only since the next
-- mark of the person, or later, is for that one to say.
create function private.derive_requirements(p_tenant_id uuid, p_people private.member_facts[], p_rule_id uuid default null)
returns integer
language plpgsql
volatile security definer
set search_path = ''
-- Statistics know nothing of the thousands of rows that the same transaction may have written: hashed, whatever they say, and
-- planned for these very people. The price that this puts on what cannot be hashed would have each plan compiled.
set plan_cache_mode = force_custom_plan
set enable_nestloop = off
set jit = off
as $$
declare
  v_rule_ids uuid[];
  v_user_ids constant uuid[] := array(select f.user_id from unnest(p_people) f);
  v_time_zone text;
  v_live lms.training_requirements[];
  v_required private.required_course[];
  v_changed integer;
  v_rows integer;
begin
  if cardinality(v_user_ids) = 0 then
    return 0;
  end if;
  -- One at a time: what another run begins meanwhile would look to this one as if nothing asked for it.
  perform pg_advisory_xact_lock(hashtextextended('lyceum requirements ' || p_tenant_id, 0));
  -- An organisation that is switched off for a while does not begin anew.
  select t.time_zone into v_time_zone from lms.tenants t where t.id = p_tenant_id and t.is_active;
  if not found then
    return 0;
  end if;
  v_rule_ids := array(
    select r.id
    from lms.assignment_rules r
    where r.tenant_id = p_tenant_id and r.status = 'active' and (p_rule_id is null or r.id = p_rule_id)
  );
  v_live := array(
    select q
    from lms.training_requirements q
    where q.tenant_id = p_tenant_id and q.user_id = any (v_user_ids) and q.ended_at is null
      and (p_rule_id is null or q.rule_id = p_rule_id)
  );

  with courses as materialized (
    select r.id as rule_id, c.course_id, greatest(r.changed_at, r.activated_at) as changed_at
    from lms.assignment_rules r
    cross join lateral private.courses_of_rule(r) as c (course_id)
    where r.id = any (v_rule_ids)
  ),
  asked as (
    select w.rule_id, c.course_id, w.user_id, q.id is not null as is_live, w.until, coalesce(q.since, greatest(w.at, c.changed_at)) as since
    from private.rules_of_people(p_tenant_id, p_people, v_rule_ids) w
    join courses c on c.rule_id = w.rule_id
    left join unnest(v_live) q on (q.rule_id, q.course_id, q.user_id) = (w.rule_id, c.course_id, w.user_id)
  )
  select coalesce(
    array_agg(
      (a.rule_id, a.course_id, a.user_id, a.since, private.requirement_due(r, a.since, v_time_zone))::private.required_course
    ), '{}'
  )
  into v_required
  from asked a
  join lms.assignment_rules r on r.id = a.rule_id
  where a.is_live or a.until is null or a.since < a.until;

  with gone as (
    select
      q.id,
      -- A rule that has changed ends it when it did, somebody who has changed when they did.
      greatest(q.since, case when f.at = '-infinity' then coalesce(r.ended_at, r.changed_at) else f.at end) as ended_at,
      f.until,
      case
        when r.status <> 'active' then 'rule_ended'
        when f.has_left then 'left'
        when f.at = '-infinity' then 'rule_changed'
        else 'moved_on'
      end as reason
    from unnest(v_live) q
    join unnest(p_people) f on f.user_id = q.user_id
    join lms.assignment_rules r on r.id = q.rule_id
    left join unnest(v_required) w on (w.rule_id, w.course_id, w.user_id) = (q.rule_id, q.course_id, q.user_id)
    where w.rule_id is null
  )
  update lms.training_requirements q
  set ended_at = g.ended_at, end_reason = g.reason
  from gone g
  where q.id = g.id and (g.until is null or g.ended_at < g.until);
  get diagnostics v_changed = row_count;

  update lms.training_requirements q
  set due_at = w.due_at
  from unnest(v_required) w
  join unnest(v_live) l on (w.rule_id, w.course_id, w.user_id) = (l.rule_id, l.course_id, l.user_id)
  where q.id = l.id and l.due_at is distinct from w.due_at;
  get diagnostics v_rows = row_count;
  v_changed := v_changed + v_rows;

  insert into lms.training_requirements (tenant_id, rule_id, course_id, user_id, since, due_at)
  select p_tenant_id, w.rule_id, w.course_id, w.user_id, w.since, w.due_at
  from unnest(v_required) w
  left join unnest(v_live) l on (w.rule_id, w.course_id, w.user_id) = (l.rule_id, l.course_id, l.user_id)
  where l.id is null;
  get diagnostics v_rows = row_count;
  return v_changed + v_rows;
end
$$;

comment on function private.derive_requirements is
  'Begins, ends and re-dates requirements of people, as they are or were, by all rules or one; returns how many changed.';

-- =====================================================================================================
-- Where somebody stands
-- =====================================================================================================

create type private.void_training as (enrollment_id uuid, user_id uuid, course_id uuid, voided_at timestamptz);

-- A cycle of which the training was found void counts no more than one that was never done, until its certificate is issued
-- again: as far as was known then.
create function private.void_trainings(p_tenant_id uuid, p_at timestamptz)
returns setof private.void_training
language plpgsql
stable
rows 10
set search_path = ''
as $$
begin
  return query
  select c.enrollment_id, c.user_id, c.course_id, c.revoked_at
  from lms.certificates c
  where c.tenant_id = p_tenant_id and c.voids_training and c.revoked_at <= p_at and not exists (
    select
    from lms.certificates n
    where n.enrollment_id = c.enrollment_id and n.edition > c.edition and n.issued_at <= p_at
  );
end
$$;

create type lms.training_status as (
  user_id uuid,
  course_id uuid,
  state text,
  due_at timestamptz,
  completed_at timestamptz,
  expires_at timestamptz,
  opens_at timestamptz,
  rule_ids uuid[]
);
comment on type lms.training_status is
  'state: waived; due or overdue (not completed, or it had run out before the rule asked); done, expiring (the next cycle is open) '
  'or expired (it ran out). due_at: by when to be completed next. completed_at: the last completion. expires_at: when it runs '
  'out; opens_at: when the next cycle opens. Of several rules the strictest counts.';

-- The only place that says so. Definer, and it says so to whoever sees the person's requirement: rules, completions and
-- waivers may be hidden from them one by one, and without them the answer would be wrong.
create function private.training_status_at(
  p_tenant_id uuid, p_user_ids uuid[], p_course_id uuid, p_at timestamptz
)
returns setof lms.training_status
language plpgsql
stable security definer
rows 1000
set search_path = ''
-- For the people asked for: one, a page, or thousands. A plan for any number of them walks through the tenant.
set plan_cache_mode = force_custom_plan
set jit = off
as $$
declare
  v_time_zone text;
  v_is_client constant boolean := private.is_api_call();
  v_void constant private.void_training[] := array(select v from private.void_trainings(p_tenant_id, p_at) v);
  v_void_ids constant uuid[] := array(select v.enrollment_id from unnest(v_void) v);
begin
  select t.time_zone into v_time_zone from lms.tenants t where t.id = p_tenant_id;
  return query
  select
    s.user_id, s.course_id,
    case
      when s.is_waived then 'waived'
      when s.due_at <= p_at then 'overdue'
      when s.expires_at <= p_at then 'expired'
      when s.is_asked_anew then 'due'
      when s.opens_at <= p_at then 'expiring'
      else 'done'
    end,
    least(s.due_at, s.expires_at), s.completed_at, s.expires_at, s.opens_at, s.rule_ids
  from (
    select
      k.user_id, k.course_id, k.completed_at,
      bool_or(not k.does_count) as is_asked_anew,
      -- Training that was found void is due as if it had been asked for then.
      min(case
        when k.does_count then null
        when k.voided_at > k.since then private.requirement_due(k.rule, k.voided_at, v_time_zone)
        else k.due_at
      end) as due_at,
      min(k.runs_out_at) filter (where k.does_count) as expires_at,
      min(k.runs_out_at - make_interval(days => (k.rule).renewal_window_days)) filter (where k.does_count) as opens_at,
      array_agg((k.rule).id order by (k.rule).id) as rule_ids,
      exists (
        select
        from lms.training_waivers w
        where w.user_id = k.user_id and w.course_id = k.course_id and w.granted_at <= p_at
          and (w.expires_at is null or w.expires_at > p_at) and (w.revoked_at is null or w.revoked_at > p_at)
      ) as is_waived
    from (
      select
        a.*,
        -- What had run out before a rule asked is not what it asks for.
        a.completed_at is not null and (a.runs_out_at is null or a.runs_out_at > a.since) as does_count,
        case when a.completed_at is null and cardinality(v_void_ids) > 0 then (
          select max(v.voided_at) from unnest(v_void) v where v.user_id = a.user_id and v.course_id = a.course_id
        ) end as voided_at
      from (
        select d.*, private.runs_out_at(d.rule, d.completed_at, v_time_zone) as runs_out_at
        from (
          select
            q.user_id, q.course_id, q.since, q.due_at, r as rule,
            (
              select max(e.completed_at)
              from lms.enrollments e
              where e.user_id = q.user_id and e.course_id = q.course_id and e.status = 'completed' and e.completed_at <= p_at
                and e.id <> all (v_void_ids)
            ) as completed_at
          from lms.training_requirements q
          join lms.assignment_rules r on r.tenant_id = p_tenant_id and r.id = q.rule_id
          where q.tenant_id = p_tenant_id and q.since <= p_at and (q.ended_at is null or q.ended_at > p_at)
            and (p_user_ids is null or q.user_id = any (p_user_ids))
            and (p_course_id is null or q.course_id = p_course_id)
            and (
              not v_is_client
              or (q.user_id = (select auth.uid()) and q.tenant_id <> all (array(select private.closed_tenants())))
              or q.tenant_id = any (array(select private.tenants_where('enrollments.read')))
              or q.course_id = any (array(select private.staffed_courses()))
              or exists (
                select
                from lms.memberships m
                where m.user_id = q.user_id and m.tenant_id = q.tenant_id
                  and m.unit_id = any (array(select private.units_where('enrollments.read')))
              )
            )
          offset 0
        ) d
        offset 0
      ) a
      offset 0
    ) k
    group by k.user_id, k.course_id, k.completed_at
  ) s;
end
$$;

-- =====================================================================================================
-- Enrolling
-- =====================================================================================================

-- What rules have made of due dates. A date that is another one by now was set by hand, and stays.
create table private.rule_due_dates (
  enrollment_id uuid primary key constraint rule_due_date_is_of_an_enrollment references lms.enrollments (id) on delete cascade,
  due_at timestamptz
);
alter table private.rule_due_dates enable row level security;

comment on table private.rule_due_dates is 'The due date that rules have given an enrolment last. While it has it, it follows the rules.';

create type private.enrollment_step as (course_id uuid, user_id uuid, action text, enrollment_id uuid, due_at timestamptz);

-- What is to be done about enrolments, from where people stand: begin, date or drop.
create function private.enrollment_steps(p_tenant_id uuid, p_user_ids uuid[], p_at timestamptz)
returns setof private.enrollment_step
language plpgsql
stable
rows 1000
set search_path = ''
set plan_cache_mode = force_custom_plan
set enable_nestloop = off
set jit = off
as $$
declare
  v_path_rules constant uuid[] := array(
    select r.id from lms.assignment_rules r where r.tenant_id = p_tenant_id and r.path_id is not null
  );
begin
  return query
  with standing as materialized (
    select s as status, s.user_id, s.course_id, s.state, s.due_at
    from private.training_status_at(p_tenant_id, p_user_ids, null, p_at) s
  ),
  open as materialized (
    select e.id, e.user_id, e.course_id, e.status, e.source, e.due_at, e.enrolled_at, e.expires_at
    from lms.enrollments e
    where e.tenant_id = p_tenant_id and e.user_id = any (p_user_ids) and e.status in ('enrolled', 'in_progress', 'paused')
  )
  select s.course_id, s.user_id, 'begin', null::uuid, s.due_at
  from standing s
  left join open o on o.user_id = s.user_id and o.course_id = s.course_id and (o.expires_at is null or o.expires_at > p_at)
  where s.state in ('due', 'overdue', 'expiring', 'expired') and o.id is null
    and (not (s.status).rule_ids && v_path_rules or private.is_next_in_path(s.status))
  union all
  -- One that nobody has dated, or that has the date that rules gave it; which goes when no rule asks any more, lest somebody be
  -- late for what nobody asks.
  select o.course_id, o.user_id, 'date', o.id, s.due_at
  from open o
  left join standing s on s.user_id = o.user_id and s.course_id = o.course_id
  where (o.expires_at is null or o.expires_at > p_at) and s.due_at is distinct from o.due_at
    and case when s.state is null then o.source <> 'rule' or o.status <> 'enrolled' else s.state <> 'waived' end
    and o.due_at is not distinct from (select d.due_at from private.rule_due_dates d where d.enrollment_id = o.id)
  union all
  -- What a rule has begun, and nobody has touched, ends with the last requirement for it, and with a waiver.
  select o.course_id, o.user_id, 'drop', o.id, null::timestamptz
  from open o
  left join standing s on s.user_id = o.user_id and s.course_id = o.course_id
  where o.source = 'rule' and o.status = 'enrolled'
    and (s.state = 'waived' or not exists (
      select from lms.training_requirements q where q.user_id = o.user_id and q.course_id = o.course_id and q.ended_at is null
    ))
    -- Not what was begun for another reason, such as the renewal of a certificate.
    and exists (select from private.rule_due_dates d where d.enrollment_id = o.id);
end
$$;

-- Of an ordered path the next course only, unless another rule asks for the course itself. Renewals have their turn by date.
create function private.is_next_in_path(p_status lms.training_status)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return p_status.completed_at is not null or exists (
    select
    from lms.assignment_rules r
    where r.id = any (p_status.rule_ids) and (
      exists (select from lms.assignment_rule_courses c where c.rule_id = r.id and c.course_id = p_status.course_id)
      or p_status.course_id = any (private.open_path_courses(r.path_id, p_status.user_id))
    )
  );
end
$$;

-- INV-O4: who is to be enrolled follows from where they stand. INV-O1: people in order, until p_most things are to be done; what
-- is left, and who was busy, is `waiting`. Locks courses, memberships and enrolments, each in order, and waits for nobody. What
-- is full or otherwise closed is tried again by the next night.
create function private.enroll_required(
  p_tenant_id uuid, p_user_ids uuid[], p_at timestamptz, p_most integer, out done integer, out waiting uuid[]
)
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_steps private.enrollment_step[] := array(select s from private.enrollment_steps(p_tenant_id, p_user_ids, p_at) s);
  v_step private.enrollment_step;
  v_free uuid[] := array[]::uuid[];
  v_held uuid[];
  v_verdicts private.bulk_verdict[];
  v_verdict private.bulk_verdict;
  v_rows integer;
begin
  done := 0;
  waiting := array(
    select c.user_id
    from (
      select s.user_id, sum(count(*)) over (order by s.user_id) - count(*) as before
      from unnest(v_steps) s
      group by s.user_id
    ) c
    where c.before >= p_most
  );
  v_steps := array(select s from unnest(v_steps) s where s.user_id <> all (waiting) order by s.course_id, s.user_id);
  if cardinality(v_steps) = 0 then
    return;
  end if;

  for v_step.course_id in
    select distinct s.course_id from unnest(v_steps) s where s.action = 'begin' order by s.course_id
  loop
    if private.hold_course(v_step.course_id, p_wait => false) then
      v_free := v_free || v_step.course_id;
    end if;
  end loop;
  v_held := array(
    select m.user_id
    from lms.memberships m
    where m.tenant_id = p_tenant_id
      and m.user_id = any (array(select s.user_id from unnest(v_steps) s where s.action = 'begin' and s.course_id = any (v_free)))
    order by m.user_id
    for no key update skip locked
  );
  v_verdicts := array(
    select v
    from private.bulk_obstacles(array(
      select (row_number() over (order by s.course_id, s.user_id), s.course_id, s.user_id)::private.bulk_pair
      from unnest(v_steps) s
      where s.action = 'begin' and s.course_id = any (v_free) and s.user_id = any (v_held)
    )) v
    where cardinality(v.reasons) = 0
  );
  v_verdicts := array(
    select b
    from private.begin_enrollments(
      v_verdicts,
      array(
        select (v.line, v.line, null, null, null, null, null, null, s.due_at, null, null, null)::private.bulk_row
        from unnest(v_verdicts) v
        join unnest(v_steps) s on s.action = 'begin' and s.course_id = v.course_id and s.user_id = v.user_id
      ),
      'rule', null, p_at
    ) b
  );
  foreach v_verdict in array v_verdicts loop
    -- One that fails holds up no other.
    if cardinality(v_verdict.reasons) > 0 then
      raise warning 'Person % cannot be enrolled in course %: %', v_verdict.user_id, v_verdict.course_id, v_verdict.reasons[1].message;
    else
      done := done + 1;
    end if;
  end loop;
  insert into private.rule_due_dates (enrollment_id, due_at)
  select v.open_enrollment_id, s.due_at
  from unnest(v_verdicts) v
  join unnest(v_steps) s on s.action = 'begin' and s.course_id = v.course_id and s.user_id = v.user_id
  where cardinality(v.reasons) = 0;

  v_held := v_held || array(
    select e.id
    from lms.enrollments e
    where e.id = any (array(select s.enrollment_id from unnest(v_steps) s where s.enrollment_id is not null))
    order by e.course_id, e.user_id
    for no key update skip locked
  );
  with dated as (
    update lms.enrollments e
    set due_at = s.due_at
    from unnest(v_steps) s
    where s.action = 'date' and e.id = s.enrollment_id and e.id = any (v_held) and e.status in ('enrolled', 'in_progress', 'paused')
      and e.due_at is not distinct from (select d.due_at from private.rule_due_dates d where d.enrollment_id = e.id)
    returning e.id, e.due_at
  )
  insert into private.rule_due_dates as d (enrollment_id, due_at)
  select n.id, n.due_at from dated n
  on conflict (enrollment_id) do update set due_at = excluded.due_at;
  get diagnostics v_rows = row_count;
  done := done + v_rows;

  update lms.enrollments e
  set status = 'dropped', dropped_at = greatest(p_at, e.enrolled_at)
  from unnest(v_steps) s
  where s.action = 'drop' and e.id = s.enrollment_id and e.id = any (v_held) and e.status = 'enrolled';
  get diagnostics v_rows = row_count;
  done := done + v_rows;

  waiting := waiting || array(
    select distinct s.user_id
    from unnest(v_steps) s
    where case s.action
      when 'begin' then s.course_id <> all (v_free) or s.user_id <> all (v_held)
      else s.enrollment_id <> all (v_held)
    end
  );
end
$$;

-- =====================================================================================================
-- Jobs
-- =====================================================================================================

-- Enrols, leaves marks for who has to wait for the next run, and says how many things it did.
create function private.enroll_marked(p_tenant_id uuid, p_user_ids uuid[], p_most integer)
returns integer
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_result record;
begin
  select * into v_result from private.enroll_required(p_tenant_id, p_user_ids, private.training_clock(), p_most);
  -- Also where no rule is left: what the last one has opened is still to be closed.
  insert into private.assignment_marks (tenant_id, user_id, marked_at)
  select p_tenant_id, u.id, private.training_clock() from unnest(v_result.waiting) as u (id);
  return v_result.done;
end
$$;

-- INV-O1: at most p_people are looked at in a run, and about p_enrollments enrolments written; the next run goes on.
create function ops.apply_assignment_marks(p_people integer default 5000, p_enrollments integer default 500)
returns bigint
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_now constant timestamptz := private.training_clock();
  v_taken private.assignment_marks[];
  v_facts private.member_facts[];
  v_states private.member_facts[];
  v_tenant_id uuid;
  v_group record;
  v_people uuid[];
  v_looked_at integer;
  v_rows integer;
  v_enrolled integer := 0;
  v_done bigint := 0;
begin
  -- One run at a time, of the minute or of the night: each goes from organisation to organisation in an order of its own, and two
  -- would wait for each other.
  perform pg_advisory_xact_lock(hashtextextended('lyceum assignment marks', 0));
  -- What people are now, and what has changed, by one look: what is committed in between is in both or in neither.
  with taken as (
    delete from private.assignment_marks m
    where m.id in (
      select o.id
      from private.assignment_marks o
      join lms.tenants t on t.id = o.tenant_id and t.is_active
      where o.user_id is not null
      order by o.id
      limit p_people
      for update of o skip locked
    )
    returning m.*
  ),
  people as (
    select array_agg(p.tenant_id) as tenant_ids, array_agg(p.user_id) as user_ids
    from (select distinct t.tenant_id, t.user_id from taken t) p
  )
  select
    array(select (t.id, t.tenant_id, t.user_id, t.rule_id, t.marked_at, t.was, t.after_user_id)::private.assignment_marks from taken t),
    array(select f from people p, private.facts_of_members(p.tenant_ids, p.user_ids, v_now) f)
  into v_taken, v_facts;
  v_looked_at := cardinality(v_facts);
  v_states := array(select u from private.unfold_marks(v_taken, v_facts) u);

  for v_tenant_id in select distinct f.tenant_id from unnest(v_facts) f order by f.tenant_id loop
    -- What rules that have changed ask of people as they were before is begun, or ended, first: or it would seem to be
    -- the people's change that did it.
    if exists (
      select from private.assignment_marks m where m.tenant_id = v_tenant_id and m.rule_id is not null and m.user_id is null
    ) then
      v_done := v_done + private.derive_requirements(
        v_tenant_id, array(select s from unnest(v_states) s where s.tenant_id = v_tenant_id and s.at = '-infinity')
      );
    end if;
    for v_group in
      select o.place, array_agg(o.state) as states
      from (
        select s as state, row_number() over (partition by s.user_id order by s.at) as place
        from unnest(v_states) s
        where s.tenant_id = v_tenant_id and s.at > '-infinity'
      ) o
      group by o.place
      order by o.place
    loop
      v_done := v_done + private.derive_requirements(v_tenant_id, v_group.states);
    end loop;
    v_rows := private.enroll_marked(
      v_tenant_id, array(select f.user_id from unnest(v_facts) f where f.tenant_id = v_tenant_id), p_enrollments - v_enrolled
    );
    v_enrolled := v_enrolled + v_rows;
  end loop;

  -- Rules that changed, then tenants of which everybody is looked at: in the order of people, as far as this run goes. Who has a
  -- mark of their own is left to it: since when something is asked of them, it knows better.
  for v_group in
    select
      m.tenant_id, m.rule_id, array_agg(m.id) as ids,
      case when bool_and(m.after_user_id is not null) then (array_agg(m.after_user_id order by m.after_user_id))[1] end as after_user_id
    from private.assignment_marks m
    join lms.tenants t on t.id = m.tenant_id and t.is_active
    where m.user_id is null
    group by m.tenant_id, m.rule_id
    order by m.rule_id is null, min(m.id)
  loop
    exit when v_looked_at >= p_people or v_enrolled >= p_enrollments;
    continue when v_group.rule_id is null and exists (
      select from private.assignment_marks m where m.tenant_id = v_group.tenant_id and m.rule_id is not null and m.user_id is null
    );
    delete from private.assignment_marks m where m.id = any (v_group.ids);
    v_people := private.people_to_look_at(v_group.tenant_id, v_group.rule_id, v_group.after_user_id, p_people - v_looked_at);
    v_facts := array(
      select f
      from private.facts_of_members(
        array_fill(v_group.tenant_id, array[cardinality(v_people)]), v_people,
        -- What a rule asks anew, it asks since it changed.
        case when v_group.rule_id is null then v_now else '-infinity' end
      ) f
      where not exists (
        select from private.assignment_marks m where m.tenant_id = f.tenant_id and m.user_id = f.user_id
      )
    );
    v_done := v_done + private.derive_requirements(v_group.tenant_id, v_facts, v_group.rule_id);
    v_enrolled := v_enrolled + private.enroll_marked(
      v_group.tenant_id, array(select f.user_id from unnest(v_facts) f), p_enrollments - v_enrolled
    );
    if cardinality(v_people) = p_people - v_looked_at then
      insert into private.assignment_marks (tenant_id, rule_id, marked_at, after_user_id)
      values (v_group.tenant_id, v_group.rule_id, v_now, v_people[cardinality(v_people)]);
    end if;
    v_looked_at := v_looked_at + cardinality(v_people);
  end loop;
  return v_done + v_enrolled;
end
$$;

comment on function ops.apply_assignment_marks is
  'Derives the requirements of people and rules that have changed, and enrols; at most p_people and about p_enrollments per run; '
  'returns how many rows that made or changed.';

-- In the order of ids, the next of those whom a rule is or was about, or of everybody whom any could be.
create function private.people_to_look_at(p_tenant_id uuid, p_rule_id uuid, p_after_user_id uuid, p_most integer)
returns uuid[]
language plpgsql
stable
set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
begin
  if p_rule_id is null then
    return array(
      select m.user_id
      from lms.memberships m
      where m.tenant_id = p_tenant_id and (p_after_user_id is null or m.user_id > p_after_user_id)
        and (
          (m.status <> 'ended' and not m.is_guest)
          or exists (
            select from lms.training_requirements q where q.user_id = m.user_id and q.tenant_id = p_tenant_id and q.ended_at is null
          )
        )
      order by m.user_id
      limit p_most
    );
  end if;
  return array(
    select u.user_id
    from (
      select p.user_id
      from lms.assignment_rules r
      cross join lateral private.people_of_rule(r) as p (user_id)
      where r.id = p_rule_id and r.status = 'active'
      union
      select q.user_id
      from lms.training_requirements q
      where q.tenant_id = p_tenant_id and q.rule_id = p_rule_id and q.ended_at is null
    ) u
    where p_after_user_id is null or u.user_id > p_after_user_id
    order by u.user_id
    limit p_most
  );
end
$$;

-- INV-O4: everything, from the data alone: renewals that open, waivers that end, and what left no mark. In the steps of
-- apply_assignment_marks, of which this is the first.
create function ops.apply_assignment_rules(p_people integer default 5000, p_enrollments integer default 500)
returns bigint
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  insert into private.assignment_marks (tenant_id, marked_at)
  select distinct r.tenant_id, private.training_clock()
  from lms.assignment_rules r
  where r.status <> 'draft' and not exists (
    select
    from private.assignment_marks m
    where m.tenant_id = r.tenant_id and m.rule_id is null and m.user_id is null and m.after_user_id is null
  )
  order by r.tenant_id;
  return ops.apply_assignment_marks(p_people, p_enrollments);
end
$$;

comment on function ops.apply_assignment_rules is
  'Has everybody looked at again, by this run and those of apply_assignment_marks that follow; returns how many rows this one made '
  'or changed.';

grant execute on function ops.apply_assignment_marks, ops.apply_assignment_rules to service_role;

-- =====================================================================================================
-- Calls
-- =====================================================================================================

create function private.may_write_rule(rule lms.assignment_rules)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return not private.is_api_call() or coalesce(
    rule.tenant_id = any (array(select private.tenants_where('enrollments.write')))
      or rule.unit_id = any (array(select private.units_where('enrollments.write'))),
    false
  );
end
$$;

-- Definer, because `status` is granted to nobody, and people are looked up past the caller's view; so it checks its caller.
create function private.require_rule_writer(p_rule_id uuid)
returns lms.assignment_rules
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_rule lms.assignment_rules;
begin
  select * into v_rule from lms.assignment_rules r where r.id = p_rule_id for no key update;
  if v_rule.id is null or not private.may_write_rule(v_rule) then
    raise insufficient_privilege using message = 'Rules are kept with enrollments.write in the whole tenant, or in their unit.';
  end if;
  return v_rule;
end
$$;

create function private.change_rule_status(p_rule_id uuid, p_status text)
returns lms.assignment_rules
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_rule lms.assignment_rules := private.require_rule_writer(p_rule_id);
begin
  if v_rule.status = p_status then
    return v_rule;
  elsif v_rule.status = 'ended' or (v_rule.status = 'draft' and p_status = 'ended') then
    perform private.fail(
      'transition_not_allowed', format('A rule that is %s cannot become %s.', v_rule.status, p_status), 409,
      jsonb_build_object('from', v_rule.status, 'to', p_status), 'A draft is deleted; for an ended rule, make a new one.'
    );
  elsif p_status = 'active' and not exists (select from private.courses_of_rule(v_rule)) then
    perform private.fail('rule_without_courses', 'The rule assigns no course.', 409);
  end if;
  update lms.assignment_rules r
  set status = p_status,
      activated_at = coalesce(r.activated_at, private.training_clock()),
      ended_at = case p_status when 'ended' then private.training_clock() end
  where r.id = p_rule_id
  returning * into v_rule;
  return v_rule;
end
$$;

create function private.course_ids_of_rule(p_rule_id uuid)
returns setof uuid
language plpgsql
stable security definer
rows 5
set search_path = ''
as $$
begin
  return query select c.id from lms.assignment_rules r, private.courses_of_rule(r) as c (id) where r.id = p_rule_id;
end
$$;

create function lms.set_assignment_rule_status(p_rule_id uuid, p_status text)
returns lms.assignment_rules
language plpgsql
volatile
set search_path = ''
as $$
begin
  -- Read as the caller: a rule that they do not see does not exist for them.
  if not exists (select from lms.assignment_rules r where r.id = p_rule_id) then
    perform private.fail('rule_not_found', 'There is no such rule.', 404);
  elsif p_status is null or p_status not in ('active', 'ended') then
    perform private.fail(
      'invalid_status', 'The status can be set to active or ended.', 422, jsonb_build_object('field', 'p_status')
    );
  end if;
  if p_status = 'active' and exists (
    select from private.course_ids_of_rule(p_rule_id) as c (id) where not exists (select from lms.courses k where k.id = c.id)
  ) then
    perform private.fail('course_not_visible', 'The rule assigns a course that you do not see.', 403);
  end if;
  return private.change_rule_status(p_rule_id, p_status);
end
$$;

comment on function lms.set_assignment_rule_status is
  'Puts a rule into effect, or ends it: what it required ends with it, completions and cycles that have begun stay. Takes '
  'effect within a minute. With enrollments.write in the tenant, or in the rule''s unit. 404 rule_not_found; 403; 409 '
  'transition_not_allowed, rule_without_courses; 422 invalid_status.';

create type lms.assignment_preview as (user_id uuid, course_id uuid, change text, due_at timestamptz, completed_at timestamptz, enrolls boolean);
comment on type lms.assignment_preview is
  'change: begins, stays or ends. due_at: by when the person has to complete the course; null where they hold a completion '
  'that does not run out. enrolls: a cycle would be opened for them at once.';

create function private.preview_rule(p_rule_id uuid, p_limit integer, p_after_user_id uuid)
returns setof lms.assignment_preview
language plpgsql
volatile security definer
rows 100
set search_path = ''
as $$
declare
  v_rule constant lms.assignment_rules := private.require_rule_writer(p_rule_id);
  v_now constant timestamptz := private.training_clock();
  v_void constant private.void_training[] := array(select v from private.void_trainings(v_rule.tenant_id, v_now) v);
  v_time_zone text;
begin
  select t.time_zone into v_time_zone from lms.tenants t where t.id = v_rule.tenant_id;
  return query
  with matching as (
    select u.user_id, c.course_id
    from private.people_of_rule(v_rule) as u (user_id)
    cross join private.courses_of_rule(v_rule) as c (course_id)
    where v_rule.status <> 'ended'
  ), people as (
    select k.user_id
    from (
      select m.user_id from matching m
      union
      select q.user_id from lms.training_requirements q where q.rule_id = p_rule_id and q.ended_at is null
    ) k
    where p_after_user_id is null or k.user_id > p_after_user_id
    order by k.user_id
    limit p_limit
  ), compared as (
    select
      coalesce(m.user_id, q.user_id) as user_id, coalesce(m.course_id, q.course_id) as course_id,
      case when q.id is null then 'begins' when m.user_id is null then 'ends' else 'stays' end as change,
      coalesce(q.since, v_now) as since
    from (select k.* from matching k join people p on p.user_id = k.user_id) m
    full join (
      select k.* from lms.training_requirements k join people p on p.user_id = k.user_id where k.rule_id = p_rule_id and k.ended_at is null
    ) q on q.user_id = m.user_id and q.course_id = m.course_id
  )
  select
    c.user_id, c.course_id, c.change,
    case when c.change <> 'ends' then case
      when last.does_count then last.runs_out_at
      else private.requirement_due(
        v_rule,
        greatest(c.since, (
          select max(v.voided_at) from unnest(v_void) v where v.user_id = c.user_id and v.course_id = c.course_id
        )),
        v_time_zone
      )
    end end,
    last.completed_at,
    c.change <> 'ends'
      and (
        not last.does_count or last.runs_out_at - make_interval(days => v_rule.renewal_window_days) <= v_now
      ) is true
      -- Of an ordered path the next course, as private.is_next_in_path says.
      and (
        last.completed_at is not null
        or exists (select from lms.assignment_rule_courses k where k.rule_id = p_rule_id and k.course_id = c.course_id)
        or c.course_id = any (private.open_path_courses(v_rule.path_id, c.user_id))
      )
      and not exists (
        select
        from lms.enrollments e
        where e.user_id = c.user_id and e.course_id = c.course_id and e.status in ('enrolled', 'in_progress', 'paused')
          and (e.expires_at is null or e.expires_at > v_now)
      )
      and not exists (select from private.enrollment_obstacles(c.course_id, c.user_id, false))
      and not exists (
        select
        from lms.training_waivers w
        where w.user_id = c.user_id and w.course_id = c.course_id and w.revoked_at is null
          and (w.expires_at is null or w.expires_at > v_now)
      )
  from compared c
  cross join lateral (
    select d.completed_at, o.runs_out_at, d.completed_at is not null and (o.runs_out_at is null or o.runs_out_at > c.since) as does_count
    from (
      select max(e.completed_at) as completed_at
      from lms.enrollments e
      where e.user_id = c.user_id and e.course_id = c.course_id and e.status = 'completed'
        and e.id <> all (array(select v.enrollment_id from unnest(v_void) v))
    ) d
    cross join lateral (select private.runs_out_at(v_rule, d.completed_at, v_time_zone) as runs_out_at offset 0) o
  ) last
  order by c.user_id, c.course_id;
end
$$;

create function lms.preview_assignment_rule(p_rule_id uuid, p_limit integer default 100, p_after_user_id uuid default null)
returns setof lms.assignment_preview
language plpgsql
volatile
rows 100
set search_path = ''
as $$
begin
  if not exists (select from lms.assignment_rules r where r.id = p_rule_id) then
    perform private.fail('rule_not_found', 'There is no such rule.', 404);
  elsif p_limit is null or p_limit not between 1 and 1000 then
    perform private.fail('invalid_limit', 'The limit is a number from 1 to 1000.', 422, jsonb_build_object('field', 'p_limit'));
  end if;
  return query select * from private.preview_rule(p_rule_id, p_limit, p_after_user_id);
end
$$;

comment on function lms.preview_assignment_rule is
  'What a rule would do if it were applied now, also before it is active: p_limit people with all their courses. Next page: '
  'p_after_user_id = the last person received. 404 rule_not_found; 403 as set_assignment_rule_status; 422 invalid_limit.';

create type lms.assignment_criterion as (criterion text, required text, actual text, is_met boolean);
comment on type lms.assignment_criterion is
  'criterion: status (of the rule), membership, role, job_title, unit, cohort. The rule applies where all are met.';

create function private.explain_rule(p_rule lms.assignment_rules, p_user_id uuid)
returns setof lms.assignment_criterion
language plpgsql
stable security definer
rows 6
set search_path = ''
as $$
declare
  v_member lms.memberships;
begin
  select * into v_member
  from lms.memberships m
  where m.tenant_id = p_rule.tenant_id and m.user_id = p_user_id;
  if private.is_api_call() and not coalesce(
    (p_user_id = (select auth.uid()) and p_rule.tenant_id = any (array(select private.joined_tenants())))
      or p_rule.tenant_id = any (array(select private.tenants_where('members.read')))
      or v_member.unit_id = any (array(select private.units_where('members.read'))),
    false
  ) then
    perform private.fail('person_not_found', 'There is no such person.', 404);
  end if;

  return next ('status', 'active', p_rule.status, p_rule.status = 'active')::lms.assignment_criterion;
  return next (
    'membership', 'active', case when v_member.is_guest then 'guest' else v_member.status end,
    coalesce(v_member.status <> 'ended' and not v_member.is_guest, false)
  )::lms.assignment_criterion;
  if p_rule.role_id is not null then
    return next (
      'role', (select r.name::text from lms.roles r where r.id = p_rule.role_id),
      (
        select string_agg(distinct r.name, ', ' order by r.name)
        from lms.role_grants g
        join lms.roles r on r.id = g.role_id
        where g.membership_id = v_member.id
      ),
      exists (select from lms.role_grants g where g.membership_id = v_member.id and g.role_id = p_rule.role_id)
    )::lms.assignment_criterion;
  end if;
  if p_rule.job_title is not null then
    return next (
      'job_title', p_rule.job_title, v_member.job_title, coalesce(private.same_job_title(v_member.job_title, p_rule.job_title), false)
    )::lms.assignment_criterion;
  end if;
  if p_rule.unit_id is not null then
    return next (
      'unit', (select u.name::text from lms.org_units u where u.id = p_rule.unit_id),
      (select u.name::text from lms.org_units u where u.id = v_member.unit_id),
      exists (
        select from private.org_unit_closure c where c.ancestor_id = p_rule.unit_id and c.descendant_id = v_member.unit_id
      )
    )::lms.assignment_criterion;
  end if;
  if p_rule.cohort_id is not null then
    return next (
      'cohort', (select c.name::text from lms.cohorts c where c.id = p_rule.cohort_id),
      (
        select c.name::text
        from lms.cohort_members k
        join lms.cohorts c on c.id = k.cohort_id
        where k.cohort_id = p_rule.cohort_id and k.user_id = p_user_id
      ),
      exists (select from lms.cohort_members k where k.cohort_id = p_rule.cohort_id and k.user_id = p_user_id)
    )::lms.assignment_criterion;
  end if;
end
$$;

create function lms.explain_assignment(p_rule_id uuid, p_user_id uuid default null)
returns setof lms.assignment_criterion
language plpgsql
stable
rows 6
set search_path = ''
as $$
declare
  v_rule lms.assignment_rules;
begin
  select * into v_rule from lms.assignment_rules r where r.id = p_rule_id;
  if not found then
    perform private.fail('rule_not_found', 'There is no such rule.', 404);
  end if;
  return query select * from private.explain_rule(v_rule, coalesce(p_user_id, (select auth.uid())));
end
$$;

comment on function lms.explain_assignment is
  'Why a rule does or does not apply to the caller, or to somebody in whose scope the caller reads members: each criterion, '
  'what it asks for and what is. 404 rule_not_found, person_not_found.';

create function private.write_waiver(p_waiver lms.training_waivers)
returns lms.training_waivers
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_waiver lms.training_waivers;
begin
  if not exists (
    select
    from lms.memberships m
    where m.tenant_id = p_waiver.tenant_id and m.user_id = p_waiver.user_id and m.status <> 'ended'
      and (not private.is_api_call() or private.may_enroll_in_scope(p_waiver.tenant_id, p_waiver.user_id))
  ) then
    perform private.fail('person_not_found', 'There is no such person.', 404);
  elsif private.is_api_call() and p_waiver.user_id = (select auth.uid()) then
    perform private.fail('own_waiver', 'Nobody excuses themselves.', 403);
  end if;
  insert into lms.training_waivers (tenant_id, user_id, course_id, reason, granted_by, granted_at, expires_at)
  values (
    p_waiver.tenant_id, p_waiver.user_id, p_waiver.course_id, p_waiver.reason, (select auth.uid()), private.training_clock(),
    p_waiver.expires_at
  )
  returning * into v_waiver;
  -- What a rule has opened, and nobody has touched, is closed.
  perform private.mark_people(v_waiver.tenant_id, array[v_waiver.user_id]);
  return v_waiver;
end
$$;

create function private.may_enroll_in_scope(p_tenant_id uuid, p_user_id uuid)
returns boolean
language plpgsql
stable security definer
set search_path = ''
as $$
begin
  return coalesce(
    p_tenant_id = any (array(select private.tenants_where('enrollments.write')))
    or exists (
      select
      from lms.memberships m
      where m.tenant_id = p_tenant_id and m.user_id = p_user_id
        and m.unit_id = any (array(select private.units_where('enrollments.write')))
    ),
    false
  );
end
$$;

create function lms.grant_training_waiver(
  p_course_id uuid, p_user_id uuid, p_reason text, p_expires_at timestamptz default null
)
returns lms.training_waivers
language plpgsql
volatile
set search_path = ''
as $$
declare
  v_waiver lms.training_waivers;
begin
  select c.tenant_id into v_waiver.tenant_id from lms.courses c where c.id = p_course_id;
  if not found then
    perform private.fail('course_not_found', 'There is no such course.', 404);
  elsif coalesce(p_reason, '') !~ '\S' or length(p_reason) > 1000 then
    perform private.fail('invalid_reason', 'A waiver takes a reason of up to 1000 characters.', 422, jsonb_build_object('field', 'p_reason'));
  elsif p_expires_at <= now() or not isfinite(p_expires_at) then
    perform private.fail('invalid_expiry', 'A waiver ends in the future, or not at all (null).', 422, jsonb_build_object('field', 'p_expires_at'));
  end if;
  v_waiver.course_id := p_course_id;
  v_waiver.user_id := p_user_id;
  v_waiver.reason := p_reason;
  v_waiver.expires_at := p_expires_at;
  return private.write_waiver(v_waiver);
end
$$;

comment on function lms.grant_training_waiver is
  'Excuses somebody from a course that rules ask of them, for a time or until it is revoked. With enrollments.write in the '
  'person''s scope. 404 course_not_found, person_not_found; 403 own_waiver; 422 invalid_reason, invalid_expiry.';

create function private.end_waiver(p_waiver_id uuid)
returns lms.training_waivers
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_waiver lms.training_waivers;
begin
  select * into v_waiver from lms.training_waivers w where w.id = p_waiver_id for no key update;
  if private.is_api_call() and not private.may_enroll_in_scope(v_waiver.tenant_id, v_waiver.user_id) then
    raise insufficient_privilege using message = 'Revoking a waiver takes enrollments.write in the person''s scope.';
  elsif v_waiver.revoked_at is null then
    update lms.training_waivers w
    set revoked_at = greatest(private.training_clock(), w.granted_at), revoked_by = (select auth.uid())
    where w.id = p_waiver_id
    returning * into v_waiver;
    perform private.mark_people(v_waiver.tenant_id, array[v_waiver.user_id]);
  end if;
  return v_waiver;
end
$$;

create function lms.revoke_training_waiver(p_waiver_id uuid)
returns lms.training_waivers
language plpgsql
volatile
set search_path = ''
as $$
begin
  if not exists (select from lms.training_waivers w where w.id = p_waiver_id) then
    perform private.fail('waiver_not_found', 'There is no such waiver.', 404);
  end if;
  return private.end_waiver(p_waiver_id);
end
$$;

comment on function lms.revoke_training_waiver is
  'Ends a waiver; doing so again changes nothing. 404 waiver_not_found; 403 without enrollments.write in the person''s scope.';

create function lms.get_training_status(
  p_tenant_id uuid,
  p_user_id uuid default null,
  p_course_id uuid default null,
  p_unit_id uuid default null,
  p_at timestamptz default null,
  p_limit integer default 100,
  p_after_user_id uuid default null
)
returns setof lms.training_status
language plpgsql
stable
rows 100
set search_path = ''
as $$
declare
  v_people uuid[];
begin
  if p_limit is null or p_limit not between 1 and 1000 then
    perform private.fail('invalid_limit', 'The limit is a number from 1 to 1000.', 422, jsonb_build_object('field', 'p_limit'));
  end if;
  v_people := array(
    select distinct q.user_id
    from lms.training_requirements q
    where q.tenant_id = p_tenant_id
      and (p_user_id is null or q.user_id = p_user_id)
      and (p_course_id is null or q.course_id = p_course_id)
      and (p_after_user_id is null or q.user_id > p_after_user_id)
      and (p_unit_id is null or exists (
        select
        from private.membership_scopes m
        where m.user_id = q.user_id and m.tenant_id = q.tenant_id and m.unit_id = any (array(select private.units_below(p_unit_id)))
      ))
    order by q.user_id
    limit p_limit
  );
  return query
  select
    s.user_id, s.course_id, s.state, s.due_at, s.completed_at, s.expires_at, s.opens_at,
    -- Which rules, as far as the caller sees them.
    array(select r.id from lms.assignment_rules r where r.id = any (s.rule_ids) order by r.id)
  from private.training_status_at(p_tenant_id, v_people, p_course_id, coalesce(p_at, private.training_clock())) s
  order by s.user_id, s.course_id;
end
$$;

comment on function lms.get_training_status is
  'Where people stand with what rules ask of them, each with all their courses, as far as the caller may see them: the training '
  'matrix. p_unit_id: of the unit and all below it, by today''s home unit; p_at: as of then. p_limit people; next page: '
  'p_after_user_id = the last person received. 422 invalid_limit.';

create function private.units_below(p_unit_id uuid)
returns setof uuid
language plpgsql
stable security definer
rows 20
set search_path = ''
as $$
begin
  return query
  select c.descendant_id
  from private.org_unit_closure c
  join lms.org_units u on u.id = c.descendant_id
  where c.ancestor_id = p_unit_id and (
    not private.is_api_call()
    or u.tenant_id = any (array(select private.tenants_where('enrollments.read')))
    or u.id = any (array(select private.units_where('enrollments.read')))
  );
end
$$;

grant execute on function
  private.training_clock, private.training_status_at, private.change_rule_status,
  private.preview_rule, private.course_ids_of_rule, private.explain_rule, private.write_waiver, private.end_waiver, private.units_below
to authenticated, service_role;
grant execute on function
  lms.set_assignment_rule_status, lms.preview_assignment_rule, lms.explain_assignment, lms.grant_training_waiver,
  lms.revoke_training_waiver, lms.get_training_status
to authenticated, service_role;

-- =====================================================================================================
-- Policies and grants
-- =====================================================================================================

create function private.my_rules()
returns setof uuid
language plpgsql
stable security definer
rows 10
set search_path = ''
as $$
begin
  return query
  select distinct q.rule_id
  from lms.training_requirements q
  where q.user_id = (select auth.uid()) and q.tenant_id <> all (array(select private.closed_tenants()));
end
$$;

comment on function private.my_rules is 'Rules that ask or have asked something of the caller.';
grant execute on function private.my_rules to authenticated, service_role;

alter table lms.assignment_rules enable row level security;
alter table lms.assignment_rule_courses enable row level security;
alter table lms.training_requirements enable row level security;
alter table lms.training_waivers enable row level security;

grant all on lms.assignment_rules, lms.assignment_rule_courses to service_role;
grant select on lms.training_requirements, lms.training_waivers to service_role;
grant select on lms.assignment_rules, lms.assignment_rule_courses, lms.training_requirements, lms.training_waivers to authenticated;
grant insert (
  tenant_id, name, description, role_id, job_title, unit_id, cohort_id, path_id, due_after_days, due_on, recurs_every_months,
  renewal_window_days
) on lms.assignment_rules to authenticated;
grant update (
  name, description, role_id, job_title, unit_id, cohort_id, path_id, due_after_days, due_on, recurs_every_months,
  renewal_window_days
) on lms.assignment_rules to authenticated;
grant delete on lms.assignment_rules to authenticated;
grant insert (rule_id, course_id) on lms.assignment_rule_courses to authenticated;
grant delete on lms.assignment_rule_courses to authenticated;

create function private.note_rule_author()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  new.created_by := (select auth.uid());
  return new;
end
$$;

create trigger _200_author before insert on lms.assignment_rules
  for each row execute function private.note_rule_author();

create policy "Rules are seen in scope and by those they are about" on lms.assignment_rules
  for select to authenticated
  using (
    tenant_id = any (array(select private.tenants_where('enrollments.read')))
    or unit_id = any (array(select private.units_where('enrollments.read')))
    or id = any (array(select private.my_rules()))
  );

-- A rule for a unit stays within it: whoever manages a unit makes no rule for the whole tenant. What it names, its author
-- sees: a rule is no way to courses or names that are closed to them.
create policy "Rules are made in scope" on lms.assignment_rules
  for insert to authenticated
  with check (
    (
      tenant_id = any (array(select private.tenants_where('enrollments.write')))
      or unit_id = any (array(select private.units_where('enrollments.write')))
    )
    and (cohort_id is null or exists (select from lms.cohorts c where c.id = cohort_id))
    and (path_id is null or exists (select from lms.learning_paths p where p.id = path_id))
  );

create policy "Rules are changed in scope" on lms.assignment_rules
  for update to authenticated
  using (
    tenant_id = any (array(select private.tenants_where('enrollments.write')))
    or unit_id = any (array(select private.units_where('enrollments.write')))
  )
  with check (
    (
      tenant_id = any (array(select private.tenants_where('enrollments.write')))
      or unit_id = any (array(select private.units_where('enrollments.write')))
    )
    and (cohort_id is null or exists (select from lms.cohorts c where c.id = cohort_id))
    and (path_id is null or exists (select from lms.learning_paths p where p.id = path_id))
  );

create policy "Drafts of rules are removed in scope" on lms.assignment_rules
  for delete to authenticated
  using (
    status = 'draft' and (
      tenant_id = any (array(select private.tenants_where('enrollments.write')))
      or unit_id = any (array(select private.units_where('enrollments.write')))
    )
  );

create policy "What a rule assigns is seen with it" on lms.assignment_rule_courses
  for select to authenticated
  using (exists (select from lms.assignment_rules r where r.id = rule_id));

create policy "Courses are put into rules in scope" on lms.assignment_rule_courses
  for insert to authenticated
  with check (
    exists (select from lms.courses c where c.id = course_id)
    and exists (
      select
      from lms.assignment_rules r
      where r.id = rule_id and (
        r.tenant_id = any (array(select private.tenants_where('enrollments.write')))
        or r.unit_id = any (array(select private.units_where('enrollments.write')))
      )
    )
  );

create policy "Courses are taken out of rules in scope" on lms.assignment_rule_courses
  for delete to authenticated
  using (
    exists (
      select
      from lms.assignment_rules r
      where r.id = rule_id and (
        r.tenant_id = any (array(select private.tenants_where('enrollments.write')))
        or r.unit_id = any (array(select private.units_where('enrollments.write')))
      )
    )
  );

create policy "Requirements are seen by whom they are about, and in scope" on lms.training_requirements
  for select to authenticated
  using (
    (user_id = (select auth.uid()) and tenant_id <> all (array(select private.closed_tenants())))
    or tenant_id = any (array(select private.tenants_where('enrollments.read')))
    or course_id = any (array(select private.staffed_courses()))
    or exists (
      select
      from private.membership_scopes m
      where m.user_id = training_requirements.user_id and m.tenant_id = training_requirements.tenant_id
        and m.unit_id = any (array(select private.units_where('enrollments.read')))
    )
  );

create policy "Waivers are seen by whom they are about, and in scope" on lms.training_waivers
  for select to authenticated
  using (
    (user_id = (select auth.uid()) and tenant_id <> all (array(select private.closed_tenants())))
    or tenant_id = any (array(select private.tenants_where('enrollments.read')))
    or course_id = any (array(select private.staffed_courses()))
    or exists (
      select
      from private.membership_scopes m
      where m.user_id = training_waivers.user_id and m.tenant_id = training_waivers.tenant_id
        and m.unit_id = any (array(select private.units_where('enrollments.read')))
    )
  );

notify pgrst, 'reload schema';
