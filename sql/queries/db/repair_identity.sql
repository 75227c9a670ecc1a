-- Sets one sequence of ours that is behind its table to the table's highest id. No row: none is behind.
select
  identity_sequence as "sequence",
  last_id::text as "last",
  highest_id::text as "highest"
from account_sync.repair_identity()
