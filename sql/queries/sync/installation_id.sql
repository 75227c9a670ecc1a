-- The namespace of the idempotency keys of creates.
select installation_id as "installationId"
from account_sync.installation
