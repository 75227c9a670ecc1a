-- Parents that accounts wait for, a chunk at a time in the order of their ids.
-- $1 after this id   $2 at most so many
select distinct blocked_by as "id"
from account_sync.account
where blocked_by > $1
order by blocked_by
limit $2
