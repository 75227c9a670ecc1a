-- Wakes the resting replicas.
select account_sync.ring()
