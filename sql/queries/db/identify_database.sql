-- Which database of which server this is, as long as the server runs: two connections to the same one get the same answer.
select
  d.datname::text as "name",
  d.oid::text || ' ' || extract(epoch from pg_postmaster_start_time())::text as "identity"
from pg_database d
where d.datname = current_database()
