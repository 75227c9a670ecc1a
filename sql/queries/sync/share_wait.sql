-- An API asked all daemons to wait: none sends to it before then. The longest wait that was asked for counts.
-- $1 base URL   $2 for so long, ms
insert into account_sync.api_hold as h (base_url, held_until)
values ($1, clock_timestamp() + $2 * interval '1 ms')
on conflict (base_url) do update set held_until = greatest(h.held_until, excluded.held_until)
