-- Is the audit log as it was written? One line for each tenant whose chain is broken, at its first broken link; no rows
-- is the answer to hope for. With heads that were kept elsewhere it also finds what was rewritten or cut off at the end:
--   psql "$DB_URL" -v heads="$(cat heads.json)" -f sql/audit/verify.sql
-- Reads the whole log: about 15 to 25 seconds per million rows.

\if :{?heads}
\else
  \set heads '[]'
\endif

select v.tenant_id, t.slug as tenant, v.seal_number, v.log_id, v.problem
from audit.verify(null, :'heads') as v
left join lms.tenants t on t.id = v.tenant_id;
