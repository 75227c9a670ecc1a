-- API configurations, newest first.
--
-- Some databases lack some of the columns: where the table has no such column, the name resolves to the null in "missing".
select
  found.id as "id",
  found.name as "name",
  found.base_url as "baseUrl",
  found.token_url as "tokenUrl",
  found.client_id as "clientId",
  found.client_secret as "clientSecret",
  found.default_scope as "defaultScope",
  found.token_expires_in as "tokenExpiresIn",
  found.additional_headers as "additionalHeaders",
  found.method as "method",
  found.url as "path",
  coalesce(found.is_active, true) as "isActive"
from (
  select
    null::text as name,
    null::text as token_url,
    null::text as client_id,
    null::text as client_secret,
    null::text as default_scope,
    null::integer as token_expires_in,
    null::json as additional_headers,
    null::text as method,
    null::text as url,
    null::boolean as is_active,
    null::timestamp as created_at
) as missing
cross join lateral (
  select
    config.id::text as id,
    name::text as name,
    config.base_url::text as base_url,
    token_url::text as token_url,
    client_id::text as client_id,
    client_secret::text as client_secret,
    default_scope::text as default_scope,
    token_expires_in::float8 as token_expires_in,
    additional_headers::text as additional_headers,
    method::text as method,
    url::text as url,
    is_active as is_active,
    created_at as created_at
  from public.m_backend_ext_config as config
) as found
order by found.created_at desc nulls last, found.id
