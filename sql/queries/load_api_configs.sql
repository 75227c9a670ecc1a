-- Active API configurations, newest first.
select
  id::text as "id",
  name as "name",
  base_url as "baseUrl",
  token_url as "tokenUrl",
  client_id as "clientId",
  client_secret as "clientSecret",
  default_scope as "defaultScope",
  token_expires_in as "tokenExpiresIn",
  additional_headers::text as "additionalHeaders",
  method as "method",
  url as "path"
from public.m_backend_ext_config
where is_active is not false
order by created_at desc nulls last, id
