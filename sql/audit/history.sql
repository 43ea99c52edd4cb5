-- What happened to a row, column by column, and what a person did. Either or both:
--   psql "$DB_URL" -v row=<id> -v person=<id> -f sql/audit/history.sql

\if :{?row}
select recorded_at, operation, table_name, column_name, old_value, new_value, actor, via, address, request_id
from audit.row_history
where row_id = :'row'
order by id, column_name;
\endif

\if :{?person}
select recorded_at, tenant, operation, table_name, row_id, column_names, via, address, request_id
from audit.person_history
where actor_id = :'person'
order by id;
\endif
