-- Every way of taking away or widening one rule of the database, one row each: what it concerns, what is done, the SQL.
-- Runs on a freshly migrated database; extensions' own objects are left out.

with
schemas as (
  select oid, nspname from pg_namespace
  where nspname in ('public', 'lms', 'content', 'media', 'billing', 'analytics', 'private', 'audit', 'ops')
),
relations as (
  select c.oid, c.relname, c.relkind, n.nspname, c.oid::regclass::text as name
  from pg_class c
  join schemas n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p', 'v') and not c.relispartition
    and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
),
api_roles (role) as (values ('anon'), ('authenticated')),

policies as (
  select
    r.name as relation, p.polname, p.polcmd,
    format('policy %I on %s', p.polname, r.name) as policy,
    pg_get_expr(p.polqual, p.polrelid) is not null as has_using,
    pg_get_expr(p.polwithcheck, p.polrelid) is not null as has_check
  from pg_policy p
  join relations r on r.oid = p.polrelid
),

grants as (
  select r.name as relation, a.grantee::regrole::text as role, a.privilege_type as privilege, null::text as columns
  from relations r
  join pg_class c on c.oid = r.oid
  cross join lateral aclexplode(c.relacl) a
  where a.grantee in ('anon'::regrole, 'authenticated'::regrole)
  union all
  select r.name, g.grantee::regrole::text, g.privilege_type, quote_ident(t.attname)
  from relations r
  join pg_attribute t on t.attrelid = r.oid
  cross join lateral aclexplode(t.attacl) g
  where g.grantee in ('anon'::regrole, 'authenticated'::regrole)
),

functions as (
  select p.oid::regprocedure::text as name, a.grantee::regrole::text as role, p.oid
  from pg_proc p
  join schemas n on n.oid = p.pronamespace
  cross join lateral aclexplode(p.proacl) a
  where a.grantee in ('anon'::regrole, 'authenticated'::regrole)
    and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
)

select *
from (
select 'policy' as kind, relation as about, 'dropped: ' || polname as change, 'drop ' || policy as statement from policies
union all
select 'policy', relation, 'reads and touches every row: ' || polname, format('alter %s using (true)', policy) from policies where has_using
union all
select 'policy', relation, 'accepts every new row: ' || polname, format('alter %s with check (true)', policy) from policies where has_check

union all
select 'grant', relation, format('%s loses %s %s', role, privilege, coalesce(columns, '')),
  format('revoke %s %s on %s from %I', privilege, coalesce('(' || columns || ')', ''), relation, role)
from grants
union all
select 'grant', r.name, format('%s gains %s', a.role, v.privilege), format('grant %s on %s to %I', v.privilege, r.name, a.role)
from relations r
cross join api_roles a
cross join (values ('select'), ('insert'), ('update'), ('delete')) as v (privilege)
where not has_table_privilege(a.role, r.oid, v.privilege) and (r.relkind <> 'v' or v.privilege = 'select')

union all
select 'function', name, format('%s may not execute it', role), format('revoke execute on function %s from %I', name, role) from functions
union all
select 'function', p.oid::regprocedure::text, 'anon may execute it', format('grant execute on function %s to anon', p.oid::regprocedure)
from pg_proc p
join schemas n on n.oid = p.pronamespace and n.nspname not in ('private', 'audit', 'ops')
where p.prorettype <> 'trigger'::regtype and not has_function_privilege('anon', p.oid, 'execute')
  and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')

union all
select 'trigger', r.name, 'dropped: ' || t.tgname, format('drop trigger %I on %s', t.tgname, r.name)
from pg_trigger t
join relations r on r.oid = t.tgrelid
where not t.tgisinternal
union all
select 'constraint', r.name, 'dropped: ' || k.conname, format('alter table %s drop constraint %I cascade', r.name, k.conname)
from pg_constraint k
join relations r on r.oid = k.conrelid
where k.contype in ('c', 'u', 'f', 'x')
union all
select 'constraint', i.indrelid::regclass::text, 'dropped: ' || c.relname, format('drop index %s', i.indexrelid::regclass)
from pg_index i
join pg_class c on c.oid = i.indexrelid
join relations r on r.oid = i.indrelid
where i.indisunique and not exists (select from pg_constraint k where k.conindid = i.indexrelid)
union all
select 'constraint', format_type(t.oid, null), 'dropped: ' || k.conname, format('alter domain %s drop constraint %I', format_type(t.oid, null), k.conname)
from pg_constraint k
join pg_type t on t.oid = k.contypid
join schemas n on n.oid = t.typnamespace
where not exists (select from pg_depend d where d.classid = 'pg_type'::regclass and d.objid = t.oid and d.deptype = 'e')
) as mutants
order by array_position(array['policy', 'trigger', 'grant', 'function', 'constraint'], kind), 2, 3
