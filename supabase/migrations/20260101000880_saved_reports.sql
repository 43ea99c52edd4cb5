-- Saved reports: which report somebody wants to see again, with which filters and in which form; and digests, which tell them
-- its headline figures regularly. A definition is no data: whoever runs it sees what they may see themselves.
-- Undo: delete from ops.jobs where name = 'schedule-report-digests', with its cron job; drop functions
-- ops.schedule_report_digests, analytics.describe_report; drop table analytics.saved_reports; then the functions below.

set lock_timeout = '5s';
set statement_timeout = '60s';

-- =====================================================================================================
-- What can be saved
-- =====================================================================================================

-- From the reports' own signatures, so that no second list can fall behind them. Null where there is no such report.
create function private.report_parameters(p_report text)
returns text[]
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_parameters text[];
begin
  select array_agg(substr(a.name, 3)) into v_parameters
  from pg_catalog.pg_proc p
  join pg_catalog.pg_namespace n on n.oid = p.pronamespace
  cross join lateral unnest(p.proargnames[1:p.pronargs]) as a (name)
  where p_report ~ '^[a-z]+(-[a-z]+)*$' and p.proname = 'get_' || replace(p_report, '-', '_')
    and (n.nspname = 'analytics' or (n.nspname = 'lms' and p_report = 'training-records'))
    and a.name not in ('p_tenant_id', 'p_after');
  if 'until' = any (v_parameters) then
    v_parameters := v_parameters || 'last_days'::text;
  end if;
  return v_parameters;
end
$$;

comment on function private.report_parameters is
  'What can be asked of a report, under the names that GET /reporting/{report} takes, but for tenant_id. training-records is the one '
  'report that is not in analytics.';

create function private.is_report_parameter(p_name text, p_value jsonb)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_text constant text := p_value #>> '{}';
begin
  return case
    when p_name ~ '_id$' then
      jsonb_typeof(p_value) = 'string' and v_text ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'
    when p_name in ('from', 'until', 'at') then
      jsonb_typeof(p_value) = 'string' and v_text ~ '^\d{4}-\d\d-\d\d$' and v_text::date between date '1900-01-01' and date '9999-01-01'
    when p_name in ('limit', 'min_attempts') then
      jsonb_typeof(p_value) = 'number' and v_text ~ '^\d{1,7}$' and v_text::integer between 1 and 1000000
    when p_name = 'last_days' then
      jsonb_typeof(p_value) = 'number' and v_text ~ '^\d{1,4}$' and v_text::integer between 1 and 3660
    when p_name = 'step' then jsonb_typeof(p_value) = 'string' and v_text in ('day', 'week', 'month')
    when p_name = 'states' then
      jsonb_typeof(p_value) = 'array' and p_value <> '[]'
      and p_value <@ '["due", "overdue", "expiring", "expired", "done", "waived"]' and jsonb_array_length(p_value) <= 6
    else jsonb_typeof(p_value) = 'string' and length(v_text) <= 200
  end;
exception
  when data_exception then
    -- The thirtieth of February.
    return false;
end
$$;

-- =====================================================================================================
-- Table
-- =====================================================================================================

create table analytics.saved_reports (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null constraint saved_report_belongs_to_a_tenant references lms.tenants (id),
  owner_id uuid not null default auth.uid(),
  name private.title not null,
  report text not null constraint saved_report_names_a_report check (report ~ '^[a-z]+(-[a-z]+)*$' and length(report) <= 60),
  parameters jsonb not null default '{}'
    constraint saved_parameters_are_a_small_object check (jsonb_typeof(parameters) = 'object' and length(parameters::text) <= 2000),
  -- Whom it is shared with goes by the unit that it is about.
  unit_id uuid,
  format text not null default 'html' constraint saved_format_is_known check (format in ('json', 'csv', 'xlsx', 'html', 'svg')),
  locale private.locale,
  is_shared boolean not null default false,
  schedule text constraint schedule_is_daily_weekly_or_monthly check (schedule in ('daily', 'weekly', 'monthly')),
  hour integer not null default 7 constraint hour_is_one_of_the_day check (hour between 0 and 23),
  digested_at timestamptz not null default now(),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint saved_report_of_its_tenant unique (tenant_id, id),
  constraint owner_is_a_member foreign key (tenant_id, owner_id)
    references lms.memberships (tenant_id, user_id) on delete cascade,
  constraint saved_report_is_about_a_unit_of_the_same_tenant foreign key (tenant_id, unit_id)
    references lms.org_units (tenant_id, id) on delete cascade
);
create index saved_reports_by_owner on analytics.saved_reports (tenant_id, owner_id);
create index saved_reports_of_person on analytics.saved_reports (owner_id);
create index saved_reports_by_unit on analytics.saved_reports (tenant_id, unit_id);
create index saved_reports_of_unit on analytics.saved_reports (unit_id) where is_shared;
create index saved_reports_scheduled on analytics.saved_reports (digested_at, id) where schedule is not null;

comment on table analytics.saved_reports is
  'Reports that somebody wants to see again: GET /reporting/{report} with tenant_id and the parameters, format and locale of the row. '
  'One''s own; shared ones also for holders of progress.read in the whole organisation, or in the unit that they are about. With a '
  'schedule their owner is told the headline figures: report_ready in lms.notifications, by mail where they want it.';
comment on column analytics.saved_reports.parameters is
  'As the report takes them: GET /reporting lists them; states as a list, last_days and limit as numbers. tenant_id is a column. '
  'Else 422 invalid_report_parameters.';
comment on column analytics.saved_reports.unit_id is 'parameters.unit_id.';
comment on column analytics.saved_reports.locale is 'Null: the reader''s.';
comment on column analytics.saved_reports.is_shared is
  'Shows the definition, not its rows, to holders of progress.read. Takes reports.read in the organisation or in the unit.';
comment on column analytics.saved_reports.schedule is
  'daily; weekly, on Mondays; monthly, on the first: at hour on the clock of the organisation. Null: never.';
comment on column analytics.saved_reports.digested_at is 'When the owner was last told, or began to wait.';

-- Parameters are checked against the report, so that what is saved can be run; a misspelt filter would show more than was meant.
create function private.check_saved_report()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_known constant text[] := private.report_parameters(new.report);
  v_faults text[];
begin
  if v_known is null then
    perform private.fail(
      'report_not_found', 'There is no such report.', 422, jsonb_build_object('field', 'report'), 'GET /reporting lists them.'
    );
  end if;
  if jsonb_typeof(new.parameters) = 'object' then
    v_faults := array(
      select p.key
      from jsonb_each(new.parameters) as p
      where p.key <> all (v_known) or not private.is_report_parameter(p.key, p.value)
      order by p.key
    );
    if new.parameters ? 'last_days' and new.parameters ?| '{from,until}' then
      v_faults := v_faults || 'last_days'::text;
    end if;
    if new.parameters ->> 'from' > new.parameters ->> 'until' then
      v_faults := v_faults || 'until'::text;
    end if;
    if new.report = 'lesson-drop-off' and not new.parameters ? 'course_id' then
      v_faults := v_faults || 'course_id'::text;
    end if;
    if v_faults <> '{}' then
      perform private.fail(
        'invalid_report_parameters', 'Some parameters are not known to this report, or their values are not.', 422,
        jsonb_build_object('parameters', v_faults, 'known', v_known)
      );
    end if;
    new.unit_id := (new.parameters ->> 'unit_id')::uuid;
  end if;
  if private.is_api_call() then
    if tg_op = 'INSERT' then
      -- Nobody's list is filled up, and nobody's inbox: each may be told of daily.
      perform pg_advisory_xact_lock(hashtextextended('lyceum saved reports ' || new.owner_id, 0));
      if (select count(*) from analytics.saved_reports s where s.tenant_id = new.tenant_id and s.owner_id = new.owner_id) >= 100 then
        perform private.fail('too_many_saved_reports', 'One person saves at most 100 reports in an organisation.', 409);
      end if;
      new.digested_at := now();
    elsif (new.schedule, new.hour) is distinct from (old.schedule, old.hour) then
      -- From now on: what lies before was on another schedule.
      new.digested_at := now();
    end if;
  end if;
  return new;
end
$$;

create trigger _100_timestamps before update on analytics.saved_reports
  for each row execute function private.touch_updated_at();
-- Not when a digest is noted: a definition that no longer holds would keep the others waiting.
create trigger _200_parameters before insert or update of report, parameters, unit_id, schedule, hour on analytics.saved_reports
  for each row execute function private.check_saved_report();

-- =====================================================================================================
-- What a report is about, in words
-- =====================================================================================================

create function analytics.describe_report(
  p_tenant_id uuid,
  p_user_id uuid default null,
  p_unit_id uuid default null,
  p_course_id uuid default null,
  p_cohort_id uuid default null,
  p_with_courses boolean default false
)
returns table (
  organization text, time_zone text, locale text, today date, person text, unit text, course text, cohort text, courses jsonb
)
language plpgsql
stable
rows 1
set search_path = ''
as $$
begin
  return query
  -- All of it as the caller reads it: what is hidden has no name here either.
  select
    t.name::text, t.time_zone::text, t.locale::text, (now() at time zone t.time_zone)::date,
    (select n.display_name::text from lms.people n where n.id = coalesce(p_user_id, (select auth.uid())) limit 1),
    (select u.name::text from lms.org_units u where u.id = p_unit_id and u.tenant_id = p_tenant_id),
    (select c.title::text from lms.courses c where c.id = p_course_id and c.tenant_id = p_tenant_id),
    (select k.name::text from lms.cohorts k where k.id = p_cohort_id and k.tenant_id = p_tenant_id),
    case when p_with_courses then (
      select jsonb_object_agg(c.id, c.title)
      from (
        select k.id, k.title from lms.courses k where k.tenant_id = p_tenant_id order by k.created_at desc limit 2000
      ) c
    ) end
  from lms.tenants t
  where t.id = p_tenant_id;
end
$$;

comment on function analytics.describe_report is
  'What heads a report: names of what its parameters stand for, as the caller sees them, and the organisation''s time zone, language and '
  'day; with p_with_courses the titles of its courses by their ids. Nothing where the caller does not see the organisation.';

grant execute on function analytics.describe_report to authenticated, service_role;

-- =====================================================================================================
-- Digests
-- =====================================================================================================

-- INV-O4: from the schedule and the clock on the wall, not from when the job runs.
create function private.latest_digest(p_schedule text, p_hour integer, p_time_zone text, p_now timestamptz)
returns timestamptz
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_unit constant text := case p_schedule when 'daily' then 'day' when 'weekly' then 'week' else 'month' end;
  v_local constant timestamp := p_now at time zone p_time_zone;
  v_slot timestamp := date_trunc(v_unit, v_local) + make_interval(hours => p_hour);
begin
  if v_slot at time zone p_time_zone > p_now then
    v_slot := date_trunc(v_unit, date_trunc(v_unit, v_local) - interval '1 hour') + make_interval(hours => p_hour);
  end if;
  return v_slot at time zone p_time_zone;
end
$$;

comment on function private.latest_digest is
  'When a schedule last came round: at the hour of the day, of Monday, or of the first, on the clock of the time zone.';

-- As the settings say for whom: definer functions of reports ask the same questions as in a call of that person, and there is
-- nothing here that reads rows any other way.
create function private.report_figures(p_saved analytics.saved_reports, p_language text)
returns text
language plpgsql
stable security definer
set search_path = ''
as $$
declare
  v_parameters constant jsonb := p_saved.parameters;
  v_zone constant text := (select t.time_zone from lms.tenants t where t.id = p_saved.tenant_id);
  v_unit_id constant uuid := (v_parameters ->> 'unit_id')::uuid;
  v_course_id constant uuid := (v_parameters ->> 'course_id')::uuid;
  v_cohort_id constant uuid := (v_parameters ->> 'cohort_id')::uuid;
  v_from date := (v_parameters ->> 'from')::date;
  v_until date := (v_parameters ->> 'until')::date;
  v_place constant integer := case split_part(p_language, '-', 1) when 'de' then 2 when 'es' then 3 else 1 end;
  v_figures text;
begin
  if v_parameters ? 'last_days' then
    v_until := (now() at time zone v_zone)::date;
    v_from := v_until - (v_parameters ->> 'last_days')::integer + 1;
  end if;
  if p_saved.report in ('completion-rate', 'progress-summary', 'enrollment-funnel') then
    select
      (array['Completed', 'Abgeschlossen', 'Completados'])[v_place] || ': ' || r.completed || ' / ' || r.total_enrolled || ' ('
        || case v_place when 1 then r.completion_rate || '%' else replace(r.completion_rate::text, '.', ',') || U&'\00A0%' end || ')'
    into v_figures
    from analytics.get_completion_rate(p_saved.tenant_id, v_unit_id, v_course_id, v_cohort_id, v_from, v_until) r;
  elsif p_saved.report in ('due-training', 'training-matrix') then
    select string_agg(w.words[v_place] || ': ' || n.number, ', ' order by w.place) into v_figures
    from (
      select s.state, count(*) as number
      from private.report_training(
        p_saved.tenant_id, v_unit_id, v_course_id, v_cohort_id, private.training_clock(),
        coalesce(
          array(select e.value from jsonb_array_elements_text(v_parameters -> 'states') as e (value)),
          case p_saved.report when 'due-training' then array['due', 'overdue', 'expiring', 'expired'] end
        ),
        100000, null, null
      ) s
      group by s.state
    ) n
    join (
      values
        ('overdue', array['Overdue', 'Überfällig', 'Vencidas'], 1), ('expired', array['Expired', 'Abgelaufen', 'Caducadas'], 2),
        ('due', array['Due', 'Fällig', 'Pendientes'], 3), ('expiring', array['Expiring', 'Laufen ab', 'Por caducar'], 4),
        ('done', array['Done', 'Erledigt', 'Hechas'], 5), ('waived', array['Waived', 'Befreit', 'Exentas'], 6)
    ) as w (state, words, place) on w.state = n.state;
  elsif p_saved.report = 'engagement' then
    select (array['Events', 'Ereignisse', 'Eventos'])[v_place] || ': ' || coalesce(sum(r.events), 0) || ', '
      || (array['completions', 'Abschlüsse', 'finalizaciones'])[v_place] || ': ' || coalesce(sum(r.completions), 0)
    into v_figures
    from analytics.get_engagement(
      p_saved.tenant_id, v_unit_id, v_course_id, v_cohort_id, v_from, v_until, coalesce(v_parameters ->> 'step', 'day')
    ) r;
  end if;
  return v_figures;
end
$$;

comment on function private.report_figures is
  'The headline figures of a saved report, for whom request.jwt.claims names; null where the report has none. 403 as the report.';

-- Never with more rights than the owner has now: figures are computed under their name, and whoever may no longer read a report
-- is told nothing. What goes wrong with one report is a warning and no reason for others to wait.
create function private.digest_report(p_saved analytics.saved_reports, p_slot timestamptz)
returns boolean
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_claims constant text := coalesce(current_setting('request.jwt.claims', true), '');
  v_language constant text := coalesce(
    p_saved.locale, (select p.locale from public.profile_private p where p.profile_id = p_saved.owner_id),
    (select t.locale from lms.tenants t where t.id = p_saved.tenant_id)
  );
  v_figures text;
  v_may boolean := true;
begin
  perform set_config('request.jwt.claims', jsonb_build_object('sub', p_saved.owner_id, 'role', 'authenticated')::text, true);
  perform set_config('lyceum.on_behalf', 'on', true);
  begin
    v_figures := private.report_figures(p_saved, v_language);
  exception
    when others then
      v_may := false;
      if sqlstate <> 'PGRST' then
        raise warning 'The digest of saved report % was not made: %: %', p_saved.id, sqlstate, sqlerrm;
      end if;
  end;
  perform set_config('lyceum.on_behalf', '', true);
  perform set_config('request.jwt.claims', v_claims, true);
  if v_may then
    perform private.notify(
      p_saved.tenant_id, p_saved.owner_id, 'report_ready', null, null,
      jsonb_strip_nulls(jsonb_build_object('report', p_saved.name, 'figures', v_figures, 'saved_report_id', p_saved.id)),
      'report_ready ' || p_saved.id || ' ' || to_char(p_slot at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"')
    );
  end if;
  return v_may;
end
$$;

create function ops.schedule_report_digests(p_batch integer default 500)
returns bigint
language plpgsql
volatile security definer
set search_path = ''
as $$
declare
  v_due record;
  v_done bigint := 0;
begin
  -- One for the latest time that has passed, however many the job has missed.
  for v_due in
    select s as saved, d.slot
    from analytics.saved_reports s
    join lms.tenants t on t.id = s.tenant_id and t.is_active
    join lms.memberships m on m.tenant_id = s.tenant_id and m.user_id = s.owner_id and m.status = 'active'
    cross join lateral private.latest_digest(s.schedule, s.hour, t.time_zone, now()) as d (slot)
    where s.schedule is not null and d.slot > s.digested_at
    order by s.digested_at, s.id
    limit p_batch
    for no key update of s skip locked
  loop
    perform private.digest_report(v_due.saved, v_due.slot);
    update analytics.saved_reports r set digested_at = v_due.slot where r.id = (v_due.saved).id;
    v_done := v_done + 1;
  end loop;
  return v_done;
end
$$;

comment on function ops.schedule_report_digests is
  'Tells the owners of scheduled reports whose time has come; returns how many reports that were, told of or not.';

-- =====================================================================================================
-- Policies and grants
-- =====================================================================================================

alter table analytics.saved_reports enable row level security;

grant all on analytics.saved_reports to service_role;
grant select, delete on analytics.saved_reports to authenticated;
grant insert (tenant_id, name, report, parameters, format, locale, is_shared, schedule, hour) on analytics.saved_reports to authenticated;
grant update (name, report, parameters, format, locale, is_shared, schedule, hour) on analytics.saved_reports to authenticated;

create policy "Owners see saved reports; those who follow people, shared ones" on analytics.saved_reports
  for select to authenticated
  using (
    (owner_id = (select auth.uid()) and tenant_id = any (array(select private.my_tenants())))
    or (
      is_shared
      and (
        tenant_id = any (array(select private.tenants_where('progress.read')))
        or unit_id = any (array(select private.units_where('progress.read')))
      )
    )
  );

-- Sharing writes into lists of others: not for everybody, and not beyond where one reads reports.
create policy "Members save reports, and share what they read reports of" on analytics.saved_reports
  for insert to authenticated
  with check (
    owner_id = (select auth.uid()) and tenant_id = any (array(select private.my_tenants()))
    and (
      not is_shared
      or tenant_id = any (array(select private.tenants_where('reports.read')))
      or unit_id = any (array(select private.units_where('reports.read')))
    )
  );

create policy "Owners change their saved reports" on analytics.saved_reports
  for update to authenticated
  using (owner_id = (select auth.uid()) and tenant_id = any (array(select private.my_tenants())))
  with check (
    owner_id = (select auth.uid()) and tenant_id = any (array(select private.my_tenants()))
    and (
      not is_shared
      or tenant_id = any (array(select private.tenants_where('reports.read')))
      or unit_id = any (array(select private.units_where('reports.read')))
    )
  );

create policy "Owners remove their saved reports" on analytics.saved_reports
  for delete to authenticated
  using (owner_id = (select auth.uid()) and tenant_id = any (array(select private.my_tenants())));

notify pgrst, 'reload schema';
