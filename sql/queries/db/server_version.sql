-- The version of the server. Nothing in it needs a newer one.
select
  current_setting('server_version_num')::int as "number",
  current_setting('server_version') as "text"
