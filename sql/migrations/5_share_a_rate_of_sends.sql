-- When the next request may go out, over all replicas together: one row that every reservation moves ahead.
create table account_sync.send_rate (
  next_at   timestamptz not null,
  singleton boolean primary key default true,
  constraint send_rate_is_one_row check (singleton)
);

insert into account_sync.send_rate (next_at) values ('-infinity');
