-- Facts about the server, and about a session on it, that checks use.
select
  pg_is_in_recovery() as "isStandby",
  current_setting('transaction_read_only')::boolean as "isReadOnly",
  current_setting('session_replication_role') as "replicationRole",
  pg_notification_queue_usage() as "notificationQueueUsage",
  current_setting('max_prepared_transactions')::int as "preparedTransactionsMax",
  extract(epoch from clock_timestamp())::float8 * 1000 as "clockMs"
