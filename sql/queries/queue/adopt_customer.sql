-- Takes the id of a customer that exists at the API for an account (account_sync.adopt).
-- $1 account id, in any form   $2 external id
select account_sync.adopt($1::text, $2::text)
