begin;
\ir ../helpers.sql
select * from no_plan();

select tests.tenant('works'), tests.unit('line', 'works'), tests.member('ines', 'works', 'instructor'), tests.member('mia', 'works', 'unit_manager', 'line', 'line');
select tests.member('dora', 'works', 'learner', 'line'), tests.member('eve', 'works'), tests.member('tina', 'works', 'tenant_admin');
select tests.course('safety', 'works', 'ines'), tests.course('ladders', 'works', 'ines');
select tests.enrollment('dora', 'safety'), tests.enrollment('dora', 'ladders'), tests.enrollment('eve', 'safety');

-- One transaction has one time, so an event of some minutes ago comes from the service; its own time says when.
create function tests.answered(name text, ago interval, course text default 'safety', late interval default '0') returns void language sql as $$
  insert into analytics.question_events (user_id, course_id, section_key, question_key, received_at, answered_at)
  values (tests.id(name), tests.id(course), 's', 'q', now() - ago, now() - ago - late)
$$;
create function tests.acted(name text, ago interval, course text default 'safety', late interval default '0') returns void language sql as $$
  insert into analytics.activity_events (user_id, course_id, event_type, received_at, occurred_at)
  values (tests.id(name), tests.id(course), 'view_section', now() - ago, now() - ago - late)
$$;
-- Minutes ago: beginning, end or 'open', duration.
create function tests.sessions(name text, course text default 'safety') returns setof text language sql as $$
  select concat_ws(' ', round(extract(epoch from now() - started_at) / 60), coalesce(round(extract(epoch from now() - ended_at) / 60)::text, 'open'), duration_seconds)
  from analytics.learning_sessions where user_id = tests.id(name) and course_id = tests.id(course) order by started_at
$$;

-- Time passes.
create function tests.later(minutes integer) returns void language plpgsql as $$
begin
  alter table private.question_events disable trigger _100_append_only;
  alter table private.activity_events disable trigger _100_append_only;
  update private.question_events set received_at = received_at - make_interval(mins => minutes), answered_at = answered_at - make_interval(mins => minutes);
  update private.activity_events set received_at = received_at - make_interval(mins => minutes), occurred_at = occurred_at - make_interval(mins => minutes);
  alter table private.question_events enable trigger _100_append_only;
  alter table private.activity_events enable trigger _100_append_only;
  update analytics.learning_sessions set started_at = started_at - make_interval(mins => minutes), last_activity_at = last_activity_at - make_interval(mins => minutes), ended_at = ended_at - make_interval(mins => minutes);
end $$;

-- A batch that begins with what was kept offline.
select tests.as('eve');
insert into analytics.question_events (course_id, section_key, question_key, answered_at)
select tests.id('safety'), 's', 'q', now() - ago from unnest(array[interval '2 hours', interval '1 minute', interval '0']) ago;
select tests.as_owner();
select results_eq($$ select tests.sessions('eve') $$, array['0 open'], 'one of a batch is enough, wherever in it, and opens one session');
select tests.later(10000);
delete from analytics.learning_sessions;

select tests.as('dora');
insert into analytics.activity_events (course_id, event_type) values (tests.id('safety'), 'start_course');
select results_eq($$ select tests.sessions('dora') $$, array['0 open'], 'a session opens with the first event');
select tests.as_owner();
select results_eq('select tenant_id, unit_id, enrollment_id, started_at between now() and clock_timestamp() from analytics.learning_sessions', $$ values (tests.id('works'), tests.id('line'), tests.id('dora takes safety'), true) $$, 'of the cycle and the unit at the time');
select tests.later(10000);
delete from analytics.learning_sessions;

select tests.answered('dora', interval '29 minutes');
select results_eq($$ select tests.sessions('dora') $$, array['29 open'], 'answers open one as well');
select tests.acted('dora', interval '10 minutes');
select tests.answered('dora', interval '9.5 minutes');
select tests.acted('dora', interval '20 minutes');
select results_eq($$ select tests.sessions('dora') $$, array['29 open'], 'what follows belongs to it, also when it comes in another order');
select is((select last_activity_at from analytics.learning_sessions), now() - interval '10 minutes', 'its last activity is kept to the minute');
select tests.acted('dora', interval '5 minutes', 'ladders');
select results_eq($$ select tests.sessions('dora', 'ladders') $$, array['5 open'], 'each course has its own');
select tests.acted('eve', interval '4 minutes'), tests.acted('eve', interval '3 minutes', 'safety', interval '2 days');
select is((select last_activity_at from analytics.learning_sessions where user_id = tests.id('eve')), now() - interval '4 minutes', 'what happened offline says nothing of now');
delete from analytics.learning_sessions where user_id = tests.id('eve');
select tests.acted('eve', interval '2 minutes', 'safety', interval '31 minutes'), tests.answered('eve', interval '2 minutes', 'safety', interval '31 minutes'), tests.answered('eve', interval '1 day');
select results_eq($$ select tests.sessions('eve') $$, array[]::text[], '... and opens nothing; nor does what an import brings');

-- =====================================================================================================
-- Ended by the job, and by the next event
-- =====================================================================================================

select tests.as_service();
select is(ops.end_learning_sessions(), 0, 'what is going on goes on');
select tests.as_owner();
-- Two hours later.
select tests.later(120);
select tests.as_service();
select is(ops.end_learning_sessions(1), 1, 'a run is bounded');
select is(ops.end_learning_sessions(), 1, 'INV-O4: the next one catches up');
select is(ops.end_learning_sessions(), 0, 'INV-O1: then there is nothing to do');
select tests.as_owner();
select is((select ended_at from analytics.learning_sessions where course_id = tests.id('safety')), now() - interval '129.5 minutes', 'INV-O4: a session ends with its last event, to the microsecond, whenever the job runs');
select is((select duration_seconds from analytics.learning_sessions where course_id = tests.id('safety')), 1170, '... which gives its duration');
select results_eq($$ select tests.sessions('dora', 'ladders') $$, array['125 125 0'], 'one event makes no duration');

select tests.acted('dora', interval '25 minutes');
select is((select count(*) filter (where ended_at is null) || ' of ' || count(*) from analytics.learning_sessions where course_id = tests.id('safety')), '1 of 2', 'the next event opens the next session');
select tests.later(20);
select tests.answered('dora', interval '1 minute');
select results_eq($$ select tests.sessions('dora') $$, array['169 150 1170', '45 45 0', '1 open'], 'without the job, the next event ends the session before');
-- What was not written, being within the minute, is found.
select tests.answered('dora', interval '0.5 minutes');
select tests.later(30);
select tests.answered('dora', interval '0.8 minutes');
select results_eq($$ select tests.sessions('dora') $$, array['199 180 1170', '75 75 0', '31 open'], 'half an hour is counted from the last event, not from the last that was written');
select is((select last_activity_at from analytics.learning_sessions where ended_at is null), now() - interval '0.8 minutes', '... and the session goes on');

-- =====================================================================================================
-- Who sees them, and what holds whoever writes
-- =====================================================================================================

select is(tests.sees_as(who, 'analytics.learning_sessions'), n, format('%s sees %s', who, n)) from (values ('dora', '4'), ('eve', '0'), ('mia', '4'), ('ines', '4'), ('tina', '4'), ('anonymous', '42501')) as c (who, n);
select is(tests.try('dora', statement), '42501', statement) from (values
  ('delete from analytics.learning_sessions'), ('update analytics.learning_sessions set started_at = now()'),
  (format('insert into analytics.learning_sessions (tenant_id, course_id, user_id, enrollment_id, started_at, last_activity_at) values (%L, %L, %L, %L, now(), now())', tests.id('works'), tests.id('safety'), tests.id('dora'), tests.id('dora takes safety')))
) as c (statement);
select is(tests.error_of(statement), answer, answer) from (values
  (format('insert into analytics.learning_sessions (tenant_id, course_id, user_id, enrollment_id, started_at, last_activity_at) values (%L, %L, %L, %L, now(), now())', tests.id('works'), tests.id('safety'), tests.id('dora'), tests.id('dora takes safety')), '23505 one_open_session'),
  (format('insert into analytics.learning_sessions (tenant_id, course_id, user_id, enrollment_id, started_at, last_activity_at, ended_at) values (%L, %L, %L, %L, now(), now(), now())', tests.id('works'), tests.id('safety'), tests.id('eve'), tests.id('dora takes safety')), '23503 session_is_of_the_enrolled_learner'),
  ('update analytics.learning_sessions set last_activity_at = started_at - interval ''1 second''', '23514 session_goes_forward'),
  ('update analytics.learning_sessions set ended_at = now() + interval ''1 day''', '23514 session_goes_forward'),
  (format('update analytics.learning_sessions set unit_id = %L', tests.id('nowhere')), '23503 session_unit_is_of_the_same_tenant'),
  (format('update analytics.learning_sessions set user_id = %L', tests.id('eve')), '23503 session_is_of_the_enrolled_learner')
) as c (statement, answer);

select * from finish();
rollback;
