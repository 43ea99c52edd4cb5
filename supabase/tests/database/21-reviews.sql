begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.tenant('press');
select
  tests.member('boss', 'works', 'tenant_admin'), tests.member('hanna', 'works', 'hr_admin'), tests.member('ines', 'works', 'instructor'), tests.member('iva', 'works', 'instructor'),
  tests.member('lena', 'works'), tests.member('liam', 'works'), tests.member('lou', 'works'), tests.member('sue', 'works'), tests.member('eve', 'works'), tests.member('petra', 'press', 'tenant_admin'), tests.member('pia', 'press', 'instructor');
select tests.custom_role('works', 'moderator', '{content.moderate}'), tests.member('mona', 'works', 'moderator');
select tests.person('noah'), tests.person('gus');
insert into lms.memberships (id, tenant_id, user_id, is_guest) values (tests.id('gus in works'), tests.id('works'), tests.id('gus'), true);
select
  tests.course('open', 'works', 'ines', visibility => 'public'), tests.course('inside', 'works', 'ines'), tests.course('secret', 'works', 'ines', visibility => 'private'),
  tests.course('other', 'works', 'iva'), tests.course('news', 'press', 'pia', visibility => 'public');
select tests.enrollment(who, course) from (values
  ('lena', 'open'), ('lena', 'inside'), ('liam', 'open'), ('liam', 'secret'), ('gus', 'open'), ('sue', 'open'), ('eve', 'open'), ('lou', 'open'), ('ines', 'other')
) as e (who, course);
-- Everybody but lou has begun; liam has given up one of the two.
update lms.enrollments set status = 'in_progress' where user_id <> tests.id('lou');
update lms.enrollments set status = 'dropped' where id = tests.id('liam takes open');
update lms.memberships set status = 'suspended' where id = tests.id('sue in works');
update lms.memberships set status = 'ended' where id = tests.id('eve in works');

create function tests.review(course text, rating integer default 4, who text default null) returns text language sql immutable as $$
  select format('insert into lms.course_reviews (course_id, rating, title, body%s) values (%L, %s, ''Title'', ''Body''%s)', case when who <> '' then ', user_id' end, tests.id(course), rating, ', ' || quote_literal(tests.id(who)))
$$;
-- 'average of count' of a course.
create function tests.rating(course text) returns text language sql as $$
  select format('%s of %s', coalesce(c.rating_average::text, '-'), c.rating_count) from lms.courses c where c.id = tests.id(course)
$$;
-- Courses whose sums are not those of their reviews.
create view tests.wrong_ratings as
  select c.slug
  from lms.courses c
  left join lms.course_reviews r on r.course_id = c.id and r.status = 'visible'
  group by c.id
  having (c.rating_count, c.rating_sum, c.rating_average) is distinct from (count(r.id)::integer, coalesce(sum(r.rating), 0)::integer, round(avg(r.rating), 2));

-- =====================================================================================================
-- Who reviews what
-- =====================================================================================================

select is(tests.rating('open'), '- of 0', 'INV-C2: null without reviews');
select is(tests.try(who, statement), expected, format('%s: %s: %s', who, what, expected))
from (values
  ('lena', 'a course begun', tests.review('open'), '1'), ('liam', 'a course given up', tests.review('open'), '1'), ('gus', 'a guest, a course begun', tests.review('open'), '1'),
  ('lena', 'says whose', tests.review('open', 4, 'lena'), '1'), ('lena', 'in somebody else''s name', tests.review('open', 4, 'liam'), '409 course_not_started'), ('ines', 'in the name of a learner of hers', tests.review('open', 4, 'lena'), '42501'),
  ('boss', 'in the name of a learner', tests.review('open', 4, 'lena'), '42501'), ('lou', 'a course not begun', tests.review('open'), '409 course_not_started'), ('boss', 'a course not taken', tests.review('open'), '409 course_not_started'),
  ('noah', 'a stranger', tests.review('open'), '409 course_not_started'), ('sue', 'suspended', tests.review('open'), '409 course_not_started'), ('eve', 'ended', tests.review('open'), '42501'), ('anonymous', 'nobody', tests.review('open'), '42501'),
  ('noah', 'a hidden course', tests.review('inside'), '404 course_not_found'), ('petra', 'a course of another tenant', tests.review('inside'), '404 course_not_found'), ('lena', 'no course', tests.review('nothing'), '404 course_not_found'),
  ('lena', 'no stars', tests.review('open', 0), '23514 rating_is_1_to_5'), ('lena', 'six stars', tests.review('open', 6), '23514 rating_is_1_to_5'),
  ('lena', 'too long', format('insert into lms.course_reviews (course_id, rating, body) values (%L, 3, repeat(''x'', 5001))', tests.id('open')), '23514 review_is_at_most_5000_characters'),
  ('lena', 'with a status', format('insert into lms.course_reviews (course_id, rating, status) values (%L, 3, ''visible'')', tests.id('open')), '42501'), ('lena', 'with a reply', format('insert into lms.course_reviews (course_id, rating, reply) values (%L, 3, ''Thanks'')', tests.id('open')), '42501'),
  ('lena', 'with a date', format('insert into lms.course_reviews (course_id, rating, created_at) values (%L, 3, now())', tests.id('open')), '42501'), ('lena', 'with a tenant', format('insert into lms.course_reviews (course_id, rating, tenant_id) values (%L, 3, %L)', tests.id('open'), tests.id('press')), '42501'),
  ('lena', 'writes an average', 'update lms.courses set rating_count = 1', '42501'), ('boss', 'writes an average', 'update lms.courses set rating_sum = 5', '42501'),
  ('service', 'of nobody here', tests.review('open', 4, 'noah'), '23503 review_is_of_a_member')
) as cases (who, what, statement, expected);

select tests.as('lena');
select is(tests.rows_of(tests.review('open', 5)), 1::bigint, 'one review');
select is(tests.error_of(tests.review('open', 1)), '23505 one_review_per_course_and_person', '... and not a second');
select is(tests.rows_of(tests.review('inside', 4)), 1::bigint, '... but one of another course');
select tests.as_owner();
select is((select tenant_id from lms.course_reviews where user_id = tests.id('lena') limit 1), tests.id('works'), 'a review is of the tenant of the course');
insert into lms.course_reviews (id, course_id, user_id, rating, body)
select tests.id(who || ' on ' || course), tests.id(course), tests.id(who), rating, 'Body'
from (values ('liam', 'open', 4), ('gus', 'open', 4), ('sue', 'open', 2), ('liam', 'secret', 3)) as r (who, course, rating);
update lms.course_reviews set id = tests.id('lena on open') where user_id = tests.id('lena') and course_id = tests.id('open');
select is(tests.rating('open') || ', ' || tests.rating('inside') || ', ' || tests.rating('other'), '3.75 of 4, 4.00 of 1, - of 0', 'INV-C2: the averages');

-- =====================================================================================================
-- INV-C2: exact after anything
-- =====================================================================================================

savepoint before;
update lms.courses set updated_at = now() - interval '1 day' where id = tests.id('open');
select set_config('tests.updated_at', updated_at::text, true) from lms.courses where id = tests.id('open');
update lms.course_reviews set rating = 1 where id = tests.id('lena on open');
select is(tests.rating('open'), '2.75 of 4', 'changed');
select is((select updated_at::text from lms.courses where id = tests.id('open')), current_setting('tests.updated_at'), '... which is no change of the course');
select is((select count(*) from audit.log where table_name = 'lms.courses' and operation = 'UPDATE' and changes ?| array['rating_count', 'rating_sum']), 0::bigint, '... nor worth a row of its own in the audit log');
update lms.course_reviews set body = 'Other';
select is(tests.rating('open'), '2.75 of 4', 'a change of words is none of the average');
update lms.course_reviews set course_id = tests.id('other') where id = tests.id('liam on open');
select is(tests.rating('open') || ', ' || tests.rating('other'), '2.33 of 3, 4.00 of 1', 'moved');
update lms.course_reviews set course_id = case course_id when tests.id('other') then tests.id('inside') else tests.id('open') end, rating = 6 - rating where user_id = tests.id('liam');
select is_empty('select * from tests.wrong_ratings', 'several moved crosswise and changed in one statement');
update lms.course_reviews set status = 'hidden', hidden_reason = 'Rude' where id = tests.id('gus on open');
select is(tests.rating('open'), '2.00 of 3', 'hidden');
update lms.course_reviews set rating = 5 where id = tests.id('gus on open');
select is(tests.rating('open'), '2.00 of 3', 'changed while hidden');
update lms.course_reviews set course_id = tests.id('inside') where id = tests.id('gus on open');
select is_empty('select * from tests.wrong_ratings', 'moved while hidden');
update lms.course_reviews set status = 'visible', hidden_reason = null, rating = 3 where id = tests.id('gus on open');
select is_empty('select * from tests.wrong_ratings', 'shown again');
delete from lms.course_reviews where course_id = tests.id('open');
select is(tests.rating('open'), '- of 0', 'all removed');
select is_empty('select * from tests.wrong_ratings', '... exactly those');
truncate lms.course_reviews, lms.review_reports;
select is_empty('select * from tests.wrong_ratings', 'emptied');
rollback to before;
insert into lms.course_reviews (course_id, user_id, rating) select tests.id('news'), user_id, 3 from lms.memberships where tenant_id = tests.id('press');
select is_empty('select * from tests.wrong_ratings', 'many at once');
select is(tests.try('service', format('update lms.course_reviews set course_id = %L where id = %L', tests.id('news'), tests.id('liam on open'))), '23503 review_is_of_a_member', 'a review does not move to a tenant where its author is nobody');
rollback to before;

-- =====================================================================================================
-- Who sees and changes them
-- =====================================================================================================

select tests.as('mona');
select is((lms.moderate_review(tests.id('gus on open'), 'hidden', 'Rude')).status, 'hidden', 'a moderator hides a review');
select tests.as_owner();
select is(tests.rating('open'), '3.67 of 3', '... which does not count any more');
select is(tests.sees_as(who, 'lms.course_reviews'), reviews, format('%s sees so many reviews', who))
from (values
  ('anonymous', '3'), ('noah', '3'), ('petra', '3'), ('sue', '3'), ('eve', '3'), ('gus', '4'), ('lena', '4'), ('liam', '5'), ('iva', '4'), ('hanna', '5'), ('ines', '6'), ('mona', '5'), ('boss', '6')
) as sights (who, reviews);
select is(tests.sees_as(who, 'lms.people', format('id = %L', tests.id('lena'))), '0', format('a review shows %s no name', who)) from unnest(array['liam', 'gus', 'noah']) as who;
select is(tests.try(who, statement), expected, format('%s: %s: %s', who, what, expected))
from (values
  ('lena', 'changes hers', 'update lms.course_reviews set rating = 1, title = null, body = null', '2'), ('boss', 'changes them', 'update lms.course_reviews set rating = 1', '0'), ('ines', 'changes them', 'update lms.course_reviews set rating = 1', '0'), ('mona', 'changes them', 'update lms.course_reviews set body = ''x''', '0'),
  ('sue', 'changes hers', 'update lms.course_reviews set rating = 1', '0'), ('gus', 'changes his hidden one', 'update lms.course_reviews set rating = 1', '1'), ('noah', 'changes them', 'update lms.course_reviews set rating = 1', '0'),
  ('gus', 'shows his again', 'update lms.course_reviews set status = ''visible''', '42501'), ('lena', 'moves hers', format('update lms.course_reviews set course_id = %L', tests.id('other')), '42501'), ('lena', 'gives hers away', format('update lms.course_reviews set user_id = %L', tests.id('liam')), '42501'),
  ('lena', 'removes hers', 'delete from lms.course_reviews', '2'), ('gus', 'removes his hidden one, to write it again', 'delete from lms.course_reviews', '0'), ('sue', 'removes hers', 'delete from lms.course_reviews', '0'), ('eve', 'removes them', 'delete from lms.course_reviews', '0'),
  ('boss', 'removes them', 'delete from lms.course_reviews', '0'), ('ines', 'removes them', 'delete from lms.course_reviews', '0'), ('anonymous', 'removes them', 'delete from lms.course_reviews', '42501'),

  ('ines', 'replies', format('select lms.reply_to_review(%L, ''Thanks'')', tests.id('lena on open')), '1'), ('boss', 'replies', format('select lms.reply_to_review(%L, ''Thanks'')', tests.id('lena on open')), '1'),
  ('ines', 'replies to a hidden one', format('select lms.reply_to_review(%L, ''Thanks'')', tests.id('gus on open')), '1'), ('ines', 'replies with nothing', format('select lms.reply_to_review(%L, '' '')', tests.id('lena on open')), '23514 reply_is_1_to_5000_characters'),
  ('iva', 'replies elsewhere', format('select lms.reply_to_review(%L, ''Thanks'')', tests.id('lena on open')), '42501'), ('lena', 'replies to herself', format('select lms.reply_to_review(%L, ''Thanks'')', tests.id('lena on open')), '42501'), ('mona', 'replies', format('select lms.reply_to_review(%L, ''Thanks'')', tests.id('lena on open')), '42501'),
  ('petra', 'replies elsewhere', format('select lms.reply_to_review(%L, ''Thanks'')', tests.id('lena on open')), '42501'), ('lena', 'replies to a hidden one', format('select lms.reply_to_review(%L, ''Thanks'')', tests.id('gus on open')), '404 review_not_found'), ('noah', 'replies to what is hidden', format('select lms.reply_to_review(%L, ''Thanks'')', tests.id('liam on secret')), '404 review_not_found'),
  ('anonymous', 'replies', format('select lms.reply_to_review(%L, ''Thanks'')', tests.id('lena on open')), '42501'),

  ('liam', 'reports', format('select lms.report_review(%L, ''Wrong'')', tests.id('lena on open')), '1'), ('noah', 'a stranger reports', format('select lms.report_review(%L, ''Wrong'')', tests.id('lena on open')), '1'), ('lena', 'reports herself', format('select lms.report_review(%L, ''Wrong'')', tests.id('lena on open')), '409 own_review'),
  ('liam', 'reports without a reason', format('select lms.report_review(%L, '' '')', tests.id('lena on open')), '422 reason_required'), ('liam', 'reports with too many words', format('select lms.report_review(%L, repeat(''x'', 2001))', tests.id('lena on open')), '23514 report_reason_is_1_to_2000_characters'),
  ('liam', 'reports a hidden one', format('select lms.report_review(%L, ''Wrong'')', tests.id('gus on open')), '404 review_not_found'), ('noah', 'reports what is hidden', format('select lms.report_review(%L, ''Wrong'')', tests.id('liam on secret')), '404 review_not_found'), ('liam', 'reports nothing', format('select lms.report_review(%L, ''Wrong'')', tests.id('nothing')), '404 review_not_found'),
  ('liam', 'writes a report', format('insert into lms.review_reports (tenant_id, review_id, user_id, reason) values (%L, %L, %L, ''x'')', tests.id('works'), tests.id('lena on open'), tests.id('liam')), '42501'), ('anonymous', 'reports', format('select lms.report_review(%L, ''Wrong'')', tests.id('lena on open')), '42501'),

  ('boss', 'moderates', format('select lms.moderate_review(%L, ''hidden'', ''Rude'')', tests.id('lena on open')), '1'), ('ines', 'moderates her course', format('select lms.moderate_review(%L, ''hidden'', ''Rude'')', tests.id('lena on open')), '42501'), ('hanna', 'moderates', format('select lms.moderate_review(%L, ''hidden'', ''Rude'')', tests.id('lena on open')), '42501'),
  ('lena', 'moderates her own', format('select lms.moderate_review(%L, ''hidden'', ''Rude'')', tests.id('lena on open')), '42501'), ('gus', 'shows his own', format('select lms.moderate_review(%L, ''visible'')', tests.id('gus on open')), '42501'), ('petra', 'moderates elsewhere', format('select lms.moderate_review(%L, ''hidden'', ''Rude'')', tests.id('lena on open')), '42501'),
  ('boss', 'hides without a reason', format('select lms.moderate_review(%L, ''hidden'')', tests.id('lena on open')), '422 reason_required'), ('boss', 'an unknown status', format('select lms.moderate_review(%L, ''gone'')', tests.id('lena on open')), '422 invalid_status'), ('boss', 'moderates nothing', format('select lms.moderate_review(%L, ''visible'')', tests.id('nothing')), '404 review_not_found'),
  ('service', 'replies', format('select lms.reply_to_review(%L, ''Thanks'')', tests.id('lena on open')), '1'), ('service', 'moderates', format('select lms.moderate_review(%L, ''hidden'', ''Rude'')', tests.id('lena on open')), '1')
) as cases (who, what, statement, expected);

-- =====================================================================================================
-- A reply, a report and what becomes of it
-- =====================================================================================================

select tests.as('ines');
select is((r.reply, r.replied_by, r.replied_at = now())::text, ('Thanks', tests.id('ines'), true)::text, 'a reply says who and when') from lms.reply_to_review(tests.id('lena on open'), 'Thanks') r;
select is((r.reply, r.replied_by, r.replied_at)::text, '(,,)', '... and can be taken back') from lms.reply_to_review(tests.id('lena on open'), null) r;
select tests.as('liam');
select is((r.reason, r.closed_at)::text, '(Wrong,)', 'a report is open') from lms.report_review(tests.id('lena on open'), 'Wrong') r;
select is((lms.report_review(tests.id('lena on open'), 'Still wrong')).reason, 'Wrong', '... and is made once');
select tests.as('noah');
select is((lms.report_review(tests.id('lena on open'), 'Untrue')).user_id, tests.id('noah'), 'others report as well');
select tests.as_owner();
select is((select count(*) from lms.review_reports), 2::bigint, 'one report per person');
select is(tests.sees_as(who, 'lms.review_reports'), reports, format('%s sees so many reports', who)) from (values ('liam', '1'), ('noah', '1'), ('lena', '0'), ('ines', '0'), ('hanna', '0'), ('mona', '2'), ('boss', '2'), ('petra', '0'), ('anonymous', '42501')) as sights (who, reports);
select tests.as('mona');
select is((lms.moderate_review(tests.id('lena on open'), 'visible', 'Fair')).status, 'visible', 'a moderator keeps it');
select tests.as_owner();
select is((select string_agg(format('%s %s %s', outcome, outcome_note, closed_by = tests.id('mona')), ', ') from lms.review_reports), 'kept Fair t, kept Fair t', '... which closes the reports');
select tests.as('mona');
select is((r.status, r.hidden_reason)::text, '(hidden,Rude)', 'on second thoughts, it is hidden') from lms.moderate_review(tests.id('lena on open'), 'hidden', 'Rude') r;
select tests.as_owner();
select is((select string_agg(outcome, ', ') from lms.review_reports), 'kept, kept', '... which changes nothing about closed reports');
select is(tests.sees_as('lena', 'lms.course_reviews', 'hidden_reason = ''Rude'''), '1', 'its author is told why');
select tests.as('boss');
select is((r.status, r.hidden_reason)::text, '(visible,)', 'shown again, without the reason') from lms.moderate_review(tests.id('lena on open'), 'visible') r;
select tests.as_owner();
select is_empty('select * from tests.wrong_ratings', 'INV-C2: the averages are right after all this');
delete from lms.course_reviews where id = tests.id('lena on open');
select is((select count(*) from lms.review_reports), 0::bigint, 'with a review go the reports on it');

-- Deleted and closed.
savepoint deleted;
update lms.courses set deleted_at = now() where id = tests.id('open');
select is(tests.sees_as(who, 'lms.course_reviews', format('course_id = %L', tests.id('open'))), reviews, format('of a deleted course %s sees so many reviews', who)) from (values ('anonymous', '0'), ('boss', '0'), ('ines', '0'), ('liam', '1')) as sights (who, reviews);
select is(tests.try('liam', tests.review('open')), '404 course_not_found', '... and writes none');
rollback to deleted;
update lms.tenants set is_active = false where id = tests.id('works');
select is(tests.try('liam', 'update lms.course_reviews set rating = 1') || tests.try('gus', 'delete from lms.course_reviews'), '00', 'in a closed tenant nobody changes theirs');

select * from finish();
rollback;
