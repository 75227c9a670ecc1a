-- Remembers how far an expansion has come.
-- $1 expansion id   $2 watermark
update account_sync.expansion
set
  watermark = $2,
  failures = 0,
  error = null
where expansion_id = $1
