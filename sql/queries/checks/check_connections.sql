-- How many more sessions our role may open in this database: the tightest of the server's, the database's and the role's limit.
select
  least(
    current_setting('max_connections')::int
      - case when r.rolsuper then 0 else current_setting('superuser_reserved_connections')::int end
      -- Since PostgreSQL 16.
      - case when r.rolsuper then 0 else coalesce(current_setting('reserved_connections', true)::int, 0) end
      - count(s.pid),
    case when d.datconnlimit >= 0 and not r.rolsuper then d.datconnlimit - count(s.pid) filter (where s.datid = d.oid) end,
    case when r.rolconnlimit >= 0 and not r.rolsuper then r.rolconnlimit - count(s.pid) filter (where s.usesysid = r.oid) end
  )::int as "free"
from pg_roles r
join pg_database d on d.datname = current_database()
left join pg_stat_activity s on s.backend_type = 'client backend'
where r.rolname = current_user
group by r.rolsuper, r.rolconnlimit, d.datconnlimit
