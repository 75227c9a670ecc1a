-- Gives the walk back where it is: another replica goes on at once.
-- $1 token
update account_sync.reconciliation
set
  turn_token = null,
  turn_until = null
where turn_token = $1
