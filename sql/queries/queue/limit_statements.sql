-- For the rest of this transaction: a statement that takes longer fails.
-- $1 ms
select set_config('statement_timeout', $1::integer::text, true)
