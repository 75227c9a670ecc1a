-- Forgets the ids of accounts whose customers are gone at the API.
-- $1 account ids
delete from account_sync.mapped_id
where account_id = any ($1::text[])
