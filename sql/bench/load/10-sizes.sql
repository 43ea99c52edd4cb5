-- How much, and of what shape: sizes of the scale, how skewed shares fall to tenants, and the deterministic draws.
-- The scale arrives in the setting bench.scale. Runs as superuser on a database that holds the migrations only.

set client_min_messages = warning;

create schema bench;
grant usage on schema bench to authenticated, service_role;

-- A number in [0, 1) that depends on the row and on what it is drawn for, and on nothing else.
create function bench.draw(n bigint, purpose bigint) returns float8
language sql immutable parallel safe
return ((hashint8extended(n, purpose) >> 11) & 9007199254740991)::float8 / 9007199254740992;

create function bench.id(kind text, n bigint) returns uuid
language sql immutable parallel safe
return md5(kind || ':' || n)::uuid;

create table bench.size as
select scale, tenants, units, people, courses, enrollments, cohort
from (values
  -- So few tenants and courses as a hundredth of m has would leave nothing to be skewed: s has some more of them.
  ('s', 3, 15, 2000, 40, 10000, 60),
  ('m', 50, 500, 200000, 1000, 1000000, 2000),
  ('l', 150, 1500, 600000, 3000, 3000000, 2000)
) as s (scale, tenants, units, people, courses, enrollments, cohort)
where scale = current_setting('bench.scale');

-- Tenant t gets the t-th share: people, units and courses in proportion to t ^ -0.9, with a small floor.
create table bench.tenant as
with weighed as (
  select t, power(t, -0.9) as weight, s.*
  from bench.size s, generate_series(1, s.tenants) t
), shares as (
  select t, weight,
    people, units - 2 * tenants as units, courses - 4 * tenants as courses,
    sum(weight) over (order by t) / sum(weight) over () as upto,
    (sum(weight) over (order by t) - weight) / sum(weight) over () as above
  from weighed
)
select
  t::integer,
  bench.id('tenant', t) as id,
  round(above * people)::integer as first_person,
  (round(upto * people) - round(above * people))::integer as people,
  (round(above * units) + 2 * (t - 1))::integer as first_unit,
  (round(upto * units) - round(above * units) + 2)::integer as units,
  (round(above * courses) + 4 * (t - 1))::integer as first_course,
  (round(upto * courses) - round(above * courses) + 4)::integer as courses,
  -- The personas live in the third tenant (of three) or the fifth: neither the largest nor a tiny one.
  t = least(5, (select tenants from bench.size) - 1) as is_home
from shares;

-- Person n of tenant t; `rank` counts within the tenant, from 1. The last ranks of the home tenant are the learners
-- whom the completion benchmark moves: one with 10 past records, one with 10,000, and a cohort of fresh ones.
create table bench.person as
select
  t.first_person + rank as n,
  bench.id('person', t.first_person + rank) as id,
  t.t,
  t.id as tenant_id,
  bench.id('membership', t.first_person + rank) as membership_id,
  rank,
  case when bench.draw(t.first_person + rank, 1) >= 0.05 then
    bench.id('unit', t.first_unit + 1 + floor(t.units * power(bench.draw(t.first_person + rank, 2), 1.5))::integer)
  end as unit_id,
  case
    when not t.is_home then null
    when rank = t.people then 'learner_10'
    when rank = t.people - 1 then 'learner_10000'
    when rank > t.people - 2 - (select cohort from bench.size) then 'cohort'
  end as part
from bench.tenant t, generate_series(1, t.people) rank;
alter table bench.person add primary key (n);
create index on bench.person (t, rank);
analyze bench.tenant, bench.person;
