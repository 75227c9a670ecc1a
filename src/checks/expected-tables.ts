/** The application's tables as our queries name them: which columns are read and written, and which may be missing. Pure data. */

export interface ExpectedTable {
  readonly table: string;
  readonly isOptional: boolean;
  /** Migrate puts triggers on it. */
  readonly isCaptured: boolean;
  readonly reads: readonly string[];
  readonly writes: readonly string[];
  /** Missing in older databases; read where they exist. */
  readonly newer: readonly string[];
  /** The queries of sql/queries/ that read it when an account is loaded. */
  readonly load: string;
  /** Parameters with which it finds no row. */
  readonly loadNothing: readonly unknown[];
}

/** A test drops every column, one by one, and compares the finding with what the queries do then. */
export const EXPECTED_TABLES: readonly ExpectedTable[] = [
  {
    table: "m_account",
    isOptional: false,
    isCaptured: true,
    reads: words(
      "id account_no name phone_no email account_type_id is_active no_ktp no_npwp uuid_be parentId",
    ),
    writes: words("uuid_be branch_uuid_be updated_by updated_at"),
    newer: ["branch_uuid_be"],
    load: "load_accounts",
    loadNothing: [[], 0, 0],
  },
  {
    table: "m_account_package_tier",
    isOptional: false,
    isCaptured: true,
    reads: words(
      "id account_id min_value max_value amount start_date end_date is_active billing_method_id uuid_be",
    ),
    writes: words("uuid_be updated_by updated_at"),
    newer: ["percentage"],
    load: "load_tiers",
    loadNothing: [[], 0, 0],
  },
  {
    table: "m_account_pic",
    isOptional: false,
    isCaptured: true,
    reads: words(
      "id account_id name phone_no email no_ktp no_npwp username is_active created_at uuid_be",
    ),
    writes: words("uuid_be updated_by updated_at"),
    newer: [],
    load: "load_pics",
    loadNothing: [[], 0, 0],
  },
  {
    table: "m_account_address",
    isOptional: true,
    isCaptured: true,
    reads: words(
      "id account_id address1 address2 sub_district city province country postalcode is_primary is_active created_at",
    ),
    writes: [],
    newer: [],
    load: "load_addresses",
    loadNothing: [[], 0, 0],
  },
  {
    table: "m_account_bank",
    isOptional: true,
    isCaptured: true,
    reads: words(
      "id account_id bank_id bank_account_no bank_account_holder_name bank_account_holder_firstname bank_account_holder_lastname is_active created_at",
    ),
    writes: [],
    newer: [],
    load: "load_bank_accounts",
    loadNothing: [[], 0, 0],
  },
  {
    table: "m_bank",
    isOptional: true,
    isCaptured: true,
    reads: words("id uuid_be"),
    writes: [],
    newer: [],
    load: "load_banks",
    loadNothing: [[]],
  },
  {
    table: "m_account_type",
    isOptional: true,
    isCaptured: true,
    reads: words("id name"),
    writes: [],
    newer: [],
    load: "load_account_types",
    loadNothing: [[]],
  },
  {
    table: "m_account_billing_method",
    isOptional: true,
    isCaptured: true,
    reads: words("id method"),
    writes: [],
    newer: [],
    load: "load_billing_methods",
    loadNothing: [[]],
  },
];

export const API_CONFIGS: ExpectedTable = {
  table: "m_backend_ext_config",
  isOptional: true,
  isCaptured: false,
  reads: words(
    "id name base_url token_url client_id client_secret default_scope token_expires_in additional_headers method url is_active created_at",
  ),
  writes: [],
  newer: words(
    "name token_url client_id client_secret default_scope token_expires_in additional_headers method url is_active created_at",
  ),
  load: "load_api_configs",
  loadNothing: [],
};

/** [column, the key that it refers to] */
export const KEYS = [
  ["m_account.parentId", "m_account.id"],
  ["m_account.account_type_id", "m_account_type.id"],
  ["m_account_package_tier.account_id", "m_account.id"],
  ["m_account_package_tier.billing_method_id", "m_account_billing_method.id"],
  ["m_account_pic.account_id", "m_account.id"],
  ["m_account_address.account_id", "m_account.id"],
  ["m_account_bank.account_id", "m_account.id"],
  ["m_account_bank.bank_id", "m_bank.id"],
] as const;

function words(text: string): readonly string[] {
  return text.split(" ");
}
