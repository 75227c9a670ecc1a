-- The state of these accounts, for a command that waits for their sync.
-- $1 account ids, as the source table writes them
select
  given.account_id as "accountId",
  given.account_id in (select c.account_id from account_sync.change c where c.account_id is not null) as "hasChanges",
  a.generation as "generation",
  s.state as "state",
  (extract(epoch from a.due_at - now()) * 1000)::float8 as "dueInMs",
  to_json(a.due_at) #>> '{}' as "dueAt",
  a.error_class as "errorClass",
  a.error as "error"
from unnest($1::text[]) as given (account_id)
left join account_sync.account a on a.account_id = given.account_id
left join account_sync.status s on s.account_id = given.account_id
