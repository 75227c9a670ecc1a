-- Notes how far the takeover has come.
-- $1 the last account; null: all are done
update account_sync.id_takeover
set
  watermark = coalesce($1::text, watermark),
  finished_at = case when $1 is null then now() end
