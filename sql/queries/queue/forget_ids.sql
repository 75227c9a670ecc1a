-- Forgets the ids of an account at the API, or of one of its rows (account_sync.forget).
-- $1 account id, in any form   $2 tier, $3 contact person: only that one's id; both null: all of them
select account_sync.forget($1::text, tier_id => coalesce($2::text, ''), pic_id => coalesce($3::text, '')) as "forgotten"
