-- Schemas that are not the system's, for the SQL prompt.
select n.nspname as "schema", pg_get_userbyid(n.nspowner) as "owner"
from pg_namespace n
where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
order by n.nspname
