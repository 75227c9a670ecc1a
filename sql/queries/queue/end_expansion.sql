-- An expansion has marked its last account.
-- $1 expansion id
delete from account_sync.expansion
where expansion_id = $1
