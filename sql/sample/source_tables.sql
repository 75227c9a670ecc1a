-- The application's own tables, as they are found in the field, for the embedded database and for tests.
-- account-sync only reads them and writes external ids back; it never creates them in a real database.
--
-- src/local/source-tables.ts derives the other shapes from this text, so three habits matter here:
-- one statement per table; "uuid" only as the type of a key; a column that older databases lack ends in "-- newer".

create table m_account_type (
  id   uuid primary key default gen_random_uuid(),
  name varchar(100) not null
);

create table m_bank (
  id      uuid primary key default gen_random_uuid(),
  name    varchar(100) not null,
  uuid_be varchar(255)
);

create table m_account_billing_method (
  id     uuid primary key default gen_random_uuid(),
  method varchar(100) not null
);

create table m_account (
  id              uuid primary key default gen_random_uuid(),
  account_no      varchar(30),
  name            varchar(200) not null,
  brand_name      varchar(200),
  phone_no        varchar(30),
  email           varchar(200),
  account_type_id uuid references m_account_type (id),
  "parentId"      uuid references m_account (id),
  is_active       boolean default true,
  no_ktp          varchar(255),
  no_npwp         varchar(255),
  uuid_be         varchar(255),
  branch_uuid_be  varchar(255), -- newer
  created_by      varchar(50),
  created_at      timestamp default now(),
  updated_by      varchar(50),
  updated_at      timestamp
);

create table m_account_package_tier (
  id                uuid primary key default gen_random_uuid(),
  account_id        uuid not null references m_account (id) on delete cascade,
  billing_method_id uuid references m_account_billing_method (id),
  min_value         numeric(15, 2) not null,
  max_value         numeric(15, 2) not null,
  amount            numeric(15, 2) not null,
  start_date        date not null,
  end_date          date not null,
  percentage        boolean not null default false, -- newer
  is_active         boolean default true,
  uuid_be           varchar(255),
  created_by        varchar(50),
  created_at        timestamp default now(),
  updated_by        varchar(50),
  updated_at        timestamp,
  constraint tier_range_goes_up check (min_value < max_value),
  constraint tier_starts_before_it_ends check (start_date < end_date),
  constraint tier_values_not_negative check (min_value >= 0 and max_value >= 0 and amount >= 0)
);

create table m_account_pic (
  id          uuid primary key default gen_random_uuid(),
  account_id  uuid references m_account (id),
  name        varchar(100) not null,
  phone_no    varchar(30) not null,
  email       varchar not null,
  no_ktp      varchar(255),
  no_npwp     varchar(255),
  is_owner    boolean default false,
  is_active   boolean default true,
  username    varchar(100),
  password    varchar(255),
  role        varchar(50),
  role_access json,
  web_portal  boolean default false,
  mobile      boolean default false,
  uuid_be     varchar(255),
  created_by  varchar(50),
  created_at  timestamp default now(),
  updated_by  varchar(50),
  updated_at  timestamp
);

create table m_account_address (
  id           uuid primary key default gen_random_uuid(),
  account_id   uuid references m_account (id),
  address1     varchar(255),
  address2     varchar(255),
  sub_district varchar(100),
  district     varchar(100),
  city         varchar(100),
  province     varchar(100),
  country      varchar(100),
  postalcode   varchar(20),
  is_primary   boolean default false,
  is_active    boolean default true,
  created_by   varchar(50),
  created_at   timestamp default now(),
  updated_by   varchar(50),
  updated_at   timestamp
);

create table m_account_bank (
  id                            uuid primary key default gen_random_uuid(),
  account_id                    uuid references m_account (id),
  bank_id                       uuid references m_bank (id),
  bank_account_no               varchar(50),
  bank_account_holder_name      varchar(200),
  bank_account_holder_firstname varchar(100),
  bank_account_holder_lastname  varchar(100),
  is_active                     boolean default true,
  uuid_be                       varchar(255),
  created_by                    varchar(50),
  created_at                    timestamp default now(),
  updated_by                    varchar(50),
  updated_at                    timestamp
);

create table m_backend_ext_config (
  id                 uuid primary key default gen_random_uuid(),
  name               varchar(100) not null,
  base_url           varchar(255) not null,
  token_url          varchar(255),
  client_id          varchar(255),
  client_secret      varchar(255),
  default_scope      varchar(255),
  is_active          boolean default true,
  token_expires_in   integer default 3600,
  additional_headers json,
  method             varchar(10) default 'POST',
  url                varchar(255),
  created_by         varchar(50),
  created_at         timestamp default now(),
  updated_by         varchar(50),
  updated_at         timestamp
);
