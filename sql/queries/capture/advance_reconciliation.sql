-- Moves the walk on, and the end of the turn with it. Nothing comes back when another replica has taken it.
-- $1 watermark; empty: it is finished   $2 turn, ms   $3 token
update account_sync.reconciliation
set
  watermark = $1::text,
  finished_at = case when $1 = '' then now() else finished_at end,
  turn_token = case when $1 <> '' then turn_token end,
  turn_until = case when $1 <> '' then now() + $2 * interval '1 ms' end
where turn_token = $3
returning watermark as "watermark"
