-- The role that account-sync connects as: no superuser, and no more rights than it uses. README.md shows the same statements.
-- The password is for sample data behind a loopback port.

CREATE ROLE account_sync LOGIN PASSWORD 'account_sync';
CREATE SCHEMA account_sync AUTHORIZATION account_sync;
GRANT SELECT, TRIGGER ON m_account, m_account_package_tier, m_account_pic, m_account_address, m_account_bank, m_bank,
  m_account_type, m_account_billing_method TO account_sync;
GRANT UPDATE (uuid_be, branch_uuid_be, updated_by, updated_at) ON m_account TO account_sync;
GRANT UPDATE (uuid_be, updated_by, updated_at) ON m_account_package_tier, m_account_pic TO account_sync;
-- Only where a row of m_backend_ext_config says where to send:
GRANT SELECT ON m_backend_ext_config TO account_sync;
