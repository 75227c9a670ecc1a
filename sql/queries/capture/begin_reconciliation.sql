-- Takes the walk, when it is time for one and no replica walks.
-- $1 interval, ms   $2 turn, ms   $3 token
update account_sync.reconciliation
set
  turn_token = $3,
  turn_until = now() + $2 * interval '1 ms'
where (turn_until is null or turn_until <= now())
  -- One that was broken off goes on at once.
  and (watermark <> '' or finished_at is null or finished_at + $1 * interval '1 ms' <= now())
returning watermark as "watermark"
