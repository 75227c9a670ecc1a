-- An API asked all daemons to wait: none sends to it before then. The longest wait that was asked for counts, on a clock that has not been
-- set back since.
-- $1 base URL   $2 for so long, ms
insert into account_sync.api_hold as h (base_url, held_until, asked_at)
values ($1, clock_timestamp() + $2 * interval '1 ms', clock_timestamp())
on conflict (base_url) do update set
  held_until = case when h.asked_at <= excluded.asked_at then greatest(h.held_until, excluded.held_until) else excluded.held_until end,
  asked_at = excluded.asked_at
