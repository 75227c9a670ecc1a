-- Housekeeping: notifications heard a minute ago are over.
delete from account_sync.heard
where heard_at < clock_timestamp() - interval '1 minute'
