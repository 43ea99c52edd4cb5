-- The newest seal of every tenant as JSON, for sql/audit/verify.sql. Keep it where nobody who administers the database
-- can change it:
--   psql "$DB_URL" -XAtf sql/audit/export-heads.sql > heads.json

select coalesce(
  jsonb_agg(
    jsonb_build_object(
      'tenant_id', h.tenant_id, 'number', h.number, 'hash', encode(h.hash, 'hex'), 'sealed_at', h.sealed_at
    )
    order by h.tenant_id
  ),
  '[]'
)
from audit.heads h;
