-- Reviews: what those who have taken a course say of it, the reply of its staff, reports and moderation.
-- The sums that they add up to are columns of courses, in the catalogue file.
-- Undo: drop functions lms.reply_to_review, report_review, moderate_review; drop tables lms.review_reports, course_reviews;
-- then the functions below.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- Tables
-- =====================================================================================================

create table lms.course_reviews (
  id uuid primary key default private.uuid_v7(),
  tenant_id uuid not null default '00000000-0000-0000-0000-000000000000',
  course_id uuid not null,
  user_id uuid not null default auth.uid() constraint review_is_of_a_person references public.profiles (id),
  rating integer not null constraint rating_is_1_to_5 check (rating between 1 and 5),
  title private.title,
  body text constraint review_is_at_most_5000_characters check (length(body) <= 5000),
  status text not null default 'visible' constraint review_status_is_known check (status in ('visible', 'hidden')),
  hidden_reason text constraint hidden_reason_is_short check (length(hidden_reason) <= 2000),
  reply text constraint reply_is_1_to_5000_characters check (reply ~ '\S' and length(reply) <= 5000),
  replied_at timestamptz,
  replied_by uuid,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint review_of_its_tenant unique (tenant_id, id),
  constraint one_review_per_course_and_person unique (course_id, user_id),
  constraint review_is_of_the_same_tenant foreign key (tenant_id, course_id) references lms.courses (tenant_id, id),
  constraint review_is_of_a_member foreign key (tenant_id, user_id) references lms.memberships (tenant_id, user_id),
  constraint review_is_hidden_for_a_reason check ((status = 'hidden') = (hidden_reason is not null)),
  constraint reply_has_a_date check ((reply is null) = (replied_at is null) and (reply is not null or replied_by is null))
);
create index course_reviews_by_course on lms.course_reviews (course_id, created_at desc, id desc);
create index course_reviews_by_course_of_tenant on lms.course_reviews (tenant_id, course_id);
create index course_reviews_by_member on lms.course_reviews (tenant_id, user_id);
create index course_reviews_by_user on lms.course_reviews (user_id, created_at desc, id desc);

comment on table lms.course_reviews is
  'What somebody who has begun a course says of it; one per person and course. Names are shown to those who may see the '
  'person anyway: embed people(display_name), which is null for the others.';
comment on column lms.course_reviews.tenant_id is 'Taken from the course.';
comment on column lms.course_reviews.rating is '1 to 5.';
comment on column lms.course_reviews.status is 'visible, or hidden by moderate_review; hidden ones do not count.';
comment on column lms.course_reviews.hidden_reason is 'Why it was hidden, for its author and the staff.';
comment on column lms.course_reviews.reply is 'The staff''s answer: reply_to_review.';

create table lms.review_reports (
  id uuid primary key default private.uuid_v7(),
  tenant_id uuid not null,
  review_id uuid not null,
  user_id uuid not null constraint review_report_is_of_a_person references public.profiles (id),
  reason text not null constraint report_reason_is_1_to_2000_characters check (reason ~ '\S' and length(reason) <= 2000),
  created_at timestamptz not null default now(),
  closed_at timestamptz,
  closed_by uuid,
  outcome text constraint report_outcome_is_known check (outcome in ('hidden', 'kept')),
  outcome_note text constraint outcome_note_is_short check (length(outcome_note) <= 2000),
  constraint one_report_per_review_and_person unique (review_id, user_id),
  constraint report_is_of_the_same_tenant foreign key (tenant_id, review_id)
    references lms.course_reviews (tenant_id, id) on delete cascade,
  constraint report_has_an_outcome_once_closed check (
    (closed_at is null) = (outcome is null) and (closed_at is not null or (closed_by is null and outcome_note is null))
  )
);
create index review_reports_by_review on lms.review_reports (tenant_id, review_id);
create index review_reports_by_user on lms.review_reports (user_id);
create index review_reports_open on lms.review_reports (tenant_id, created_at, id) where closed_at is null;

comment on table lms.review_reports is
  'Reviews that somebody found wanting, for moderators. Written by report_review, closed by moderate_review.';
comment on column lms.review_reports.outcome is 'What the moderator did with the review: hidden or kept; null while open.';

create trigger _100_timestamps before update on lms.course_reviews
  for each row execute function private.touch_updated_at();

-- =====================================================================================================
-- Who reviews
-- =====================================================================================================

-- Reads as the caller: a hidden course is answered like none. A rating by somebody who never opened the course would be
-- worth nothing; how far they came does not matter, for who gives up has something to say as well.
create function private.place_review()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  select c.tenant_id into new.tenant_id from lms.courses c where c.id = new.course_id;
  if not found then
    perform private.fail('course_not_found', 'There is no such course.', 404);
  end if;
  if private.is_api_call() and not exists (
    select
    from lms.enrollments e
    where e.user_id = new.user_id and e.course_id = new.course_id and e.started_at is not null
  ) then
    perform private.fail(
      'course_not_started', 'Only those who have begun a course review it.', 409,
      jsonb_build_object('course_id', new.course_id)
    );
  end if;
  return new;
end
$$;

create trigger _200_place before insert or update of course_id on lms.course_reviews
  for each row execute function private.place_review();

-- =====================================================================================================
-- What they add up to
-- =====================================================================================================

-- INV-C2: adds differences to sums, so that the cost does not depend on how many reviews there are, and exactly under
-- concurrency, because the courses are locked first: in the order of their ids, or two statements that move reviews
-- between the same two courses would wait for each other.
create function private.add_to_ratings(p_course_ids uuid[], p_counts integer[], p_sums integer[])
returns void
language plpgsql
volatile security definer
set search_path = ''
as $$
begin
  if coalesce(cardinality(p_course_ids), 0) = 0 then
    return;
  end if;
  perform from lms.courses c where c.id = any (p_course_ids) order by c.id for no key update;
  update lms.courses c
  set rating_count = c.rating_count + d.count, rating_sum = c.rating_sum + d.sum
  from unnest(p_course_ids, p_counts, p_sums) as d (course_id, count, sum)
  where c.id = d.course_id;
end
$$;

create function private.count_added_reviews()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.add_to_ratings(array_agg(d.course_id), array_agg(d.count), array_agg(d.sum))
  from (
    select n.course_id, count(*)::integer as count, sum(n.rating)::integer as sum
    from new_rows n
    where n.status = 'visible'
    group by n.course_id
  ) d;
  return null;
end
$$;

create function private.count_removed_reviews()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.add_to_ratings(array_agg(d.course_id), array_agg(d.count), array_agg(d.sum))
  from (
    select o.course_id, -count(*)::integer as count, -sum(o.rating)::integer as sum
    from old_rows o
    where o.status = 'visible'
    group by o.course_id
  ) d;
  return null;
end
$$;

-- Whatever changed, the old row goes and the new one comes: the rating, the status, and the course, too.
create function private.count_changed_reviews()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.add_to_ratings(array_agg(d.course_id), array_agg(d.count), array_agg(d.sum))
  from (
    select r.course_id, sum(r.count)::integer as count, sum(r.rating)::integer as sum
    from (
      select n.course_id, 1 as count, n.rating from new_rows n where n.status = 'visible'
      union all
      select o.course_id, -1, -o.rating from old_rows o where o.status = 'visible'
    ) r
    group by r.course_id
    having sum(r.count) <> 0 or sum(r.rating) <> 0
  ) d;
  return null;
end
$$;

create function private.forget_ratings()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  update lms.courses c set rating_count = 0, rating_sum = 0 where c.rating_count > 0;
  return null;
end
$$;

create trigger _500_count_added after insert on lms.course_reviews
  referencing new table as new_rows
  for each statement execute function private.count_added_reviews();
create trigger _500_count_changed after update on lms.course_reviews
  referencing old table as old_rows new table as new_rows
  for each statement execute function private.count_changed_reviews();
create trigger _500_count_removed after delete on lms.course_reviews
  referencing old table as old_rows
  for each statement execute function private.count_removed_reviews();
create trigger _500_count_emptied after truncate on lms.course_reviews
  for each statement execute function private.forget_ratings();

-- =====================================================================================================
-- Replying, reporting, moderating
-- =====================================================================================================
-- The calls read as the caller: a review that they do not see does not exist for them. What they change is granted to
-- nobody, so definer functions do it, which check their caller.

create function private.set_review_reply(p_review_id uuid, p_reply text)
returns lms.course_reviews
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_review lms.course_reviews;
begin
  if private.is_api_call() and not exists (
    select
    from lms.course_reviews r
    where r.id = p_review_id and (
      r.course_id = any (array(select private.staffed_courses()))
      or r.tenant_id = any (array(select private.tenants_where('catalog.write')))
    )
  ) then
    raise insufficient_privilege using message = 'Replying takes being staff of the course.';
  end if;
  update lms.course_reviews r
  set reply = p_reply,
      replied_at = case when p_reply is not null then now() end,
      replied_by = case when p_reply is not null then (select auth.uid()) end
  where r.id = p_review_id
  returning * into v_review;
  return v_review;
end
$$;

create function lms.reply_to_review(p_review_id uuid, p_reply text)
returns lms.course_reviews
language plpgsql
volatile
set search_path = ''
as $$
begin
  if not exists (select from lms.course_reviews r where r.id = p_review_id) then
    perform private.fail('review_not_found', 'There is no such review.', 404);
  end if;
  return private.set_review_reply(p_review_id, p_reply);
end
$$;

comment on function lms.reply_to_review is
  'Sets the staff''s reply, in place of an earlier one; null takes it away. For staff of the course. 404 '
  'review_not_found; 403 for others.';

create function private.file_review_report(p_review_id uuid, p_reason text)
returns lms.review_reports
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_review lms.course_reviews;
  v_report lms.review_reports;
begin
  select * into v_review from lms.course_reviews r where r.id = p_review_id;
  -- INV-T4: whoever is suspended sees public reviews as a stranger does, but not what they have reported before.
  if v_review.tenant_id = any (array(select private.closed_tenants())) then
    perform private.fail('review_not_found', 'There is no such review.', 404);
  elsif v_review.user_id = (select auth.uid()) then
    perform private.fail('own_review', 'One''s own review is not reported but changed or removed.', 409);
  end if;
  insert into lms.review_reports (tenant_id, review_id, user_id, reason)
  values (v_review.tenant_id, v_review.id, (select auth.uid()), p_reason)
  on conflict (review_id, user_id) do nothing
  returning * into v_report;
  if not found then
    select * into v_report
    from lms.review_reports r
    where r.review_id = p_review_id and r.user_id = (select auth.uid());
  end if;
  return v_report;
end
$$;

create function lms.report_review(p_review_id uuid, p_reason text)
returns lms.review_reports
language plpgsql
volatile
set search_path = ''
as $$
begin
  if not exists (select from lms.course_reviews r where r.id = p_review_id) then
    perform private.fail('review_not_found', 'There is no such review.', 404);
  end if;
  if coalesce(p_reason !~ '\S', true) then
    perform private.fail(
      'reason_required', 'Say what is wrong with the review.', 422, jsonb_build_object('field', 'p_reason')
    );
  end if;
  return private.file_review_report(p_review_id, p_reason);
end
$$;

comment on function lms.report_review is
  'Brings a review to the moderators, once per person: saying it again returns the first report. 404 review_not_found; '
  '409 own_review; 422 reason_required.';

create function private.set_review_status(p_review_id uuid, p_status text, p_reason text)
returns lms.course_reviews
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_review lms.course_reviews;
begin
  if private.is_api_call() and not exists (
    select
    from lms.course_reviews r
    where r.id = p_review_id and r.tenant_id = any (array(select private.tenants_where('content.moderate')))
  ) then
    raise insufficient_privilege using message = 'Moderating takes the permission content.moderate.';
  end if;
  update lms.course_reviews r
  set status = p_status, hidden_reason = case p_status when 'hidden' then p_reason end
  where r.id = p_review_id
  returning * into v_review;
  update lms.review_reports r
  set closed_at = now(), closed_by = (select auth.uid()),
      outcome = case p_status when 'hidden' then 'hidden' else 'kept' end, outcome_note = p_reason
  where r.review_id = p_review_id and r.closed_at is null;
  return v_review;
end
$$;

create function lms.moderate_review(p_review_id uuid, p_status text, p_reason text default null)
returns lms.course_reviews
language plpgsql
volatile
set search_path = ''
as $$
begin
  if not exists (select from lms.course_reviews r where r.id = p_review_id) then
    perform private.fail('review_not_found', 'There is no such review.', 404);
  end if;
  if p_status is null or p_status not in ('visible', 'hidden') then
    perform private.fail(
      'invalid_status', 'The status can be set to visible or hidden.', 422,
      jsonb_build_object('allowed', array['visible', 'hidden'])
    );
  end if;
  if p_status = 'hidden' and coalesce(p_reason !~ '\S', true) then
    perform private.fail(
      'reason_required', 'Say why the review is hidden: its author is told.', 422, jsonb_build_object('field', 'p_reason')
    );
  end if;
  return private.set_review_status(p_review_id, p_status, p_reason);
end
$$;

comment on function lms.moderate_review is
  'Hides a review, which takes a reason, or shows it; closes the open reports on it. Takes content.moderate. 404 '
  'review_not_found; 403 for others; 422 invalid_status, reason_required.';

grant execute on function private.set_review_reply, private.file_review_report, private.set_review_status
  to authenticated, service_role;
grant execute on function lms.reply_to_review, lms.report_review, lms.moderate_review to authenticated, service_role;

-- =====================================================================================================
-- Policies and grants
-- =====================================================================================================

alter table lms.course_reviews enable row level security;
alter table lms.review_reports enable row level security;

grant all on lms.course_reviews, lms.review_reports to service_role;
grant select on lms.course_reviews to anon, authenticated;
grant select on lms.review_reports to authenticated;
grant delete on lms.course_reviews to authenticated;
grant insert (course_id, user_id, rating, title, body) on lms.course_reviews to authenticated;
grant update (rating, title, body) on lms.course_reviews to authenticated;

create policy "Reviews are seen with their public course" on lms.course_reviews
  for select to anon
  using (status = 'visible' and exists (select from lms.courses c where c.id = course_id));

create policy "Reviews are seen with their course, hidden ones by staff" on lms.course_reviews
  for select to authenticated
  using (
    (user_id = (select auth.uid()) and tenant_id <> all (array(select private.closed_tenants())))
    or (
      (
        status = 'visible'
        or course_id = any (array(select private.staffed_courses()))
        or tenant_id = any (array(select private.tenants_where('content.moderate')))
      )
      and exists (select from lms.courses c where c.id = course_id)
    )
  );

create policy "People review in their own name" on lms.course_reviews
  for insert to authenticated
  with check (user_id = (select auth.uid()) and tenant_id = any (array(select private.joined_tenants())));

create policy "People change their own review" on lms.course_reviews
  for update to authenticated
  using (user_id = (select auth.uid()) and tenant_id = any (array(select private.joined_tenants())))
  with check (user_id = (select auth.uid()));

-- A hidden one stays, or its author would simply write it again.
create policy "People remove their own review" on lms.course_reviews
  for delete to authenticated
  using (
    user_id = (select auth.uid()) and status = 'visible' and tenant_id = any (array(select private.joined_tenants()))
  );

create policy "Reports are seen by those who made them and by moderators" on lms.review_reports
  for select to authenticated
  using (
    (user_id = (select auth.uid()) and tenant_id <> all (array(select private.closed_tenants())))
    or tenant_id = any (array(select private.tenants_where('content.moderate')))
  );

notify pgrst, 'reload schema';
