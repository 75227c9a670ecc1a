-- Parked, retrying and blocked accounts are few among many, and are what people look for: with a million pending ones, walking to them
-- in the order of ids took fifteen seconds.
create index account_kept_back on account_sync.account (account_id) where error_class is not null or blocked_by is not null;
