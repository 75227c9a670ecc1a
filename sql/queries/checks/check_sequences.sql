-- Sequences of schema account_sync that are behind the rows of their table.
select
  identity_table as "table",
  identity_sequence as "sequence",
  last_id::text as "last",
  highest_id::text as "highest"
from account_sync.lagging_identity()
