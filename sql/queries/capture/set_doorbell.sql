-- Sets until when the triggers NOTIFY.
-- $1 a point in time: '-infinity' never, 'infinity' always
update account_sync.doorbell
set wanted_until = $1::timestamptz
where wanted_until is distinct from $1::timestamptz
