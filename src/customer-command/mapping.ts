/**
 * Which column becomes which field of the command: a description of the transform, for people to read. `toCommand` does the work;
 * test/unit/mapping.test.ts changes every column and proves each line of this table.
 */
import type { Column } from "./columns.ts";

/**
 * - `copied`: unchanged; missing text as "".
 * - `trimmed`: without white space around it.
 * - `e164`: a phone number in international form.
 * - `defaulted`: unchanged, or a fixed value where it is missing.
 * - `derived`: computed from the columns.
 * - `constant`: the same for every account.
 */
export type Conversion = "copied" | "trimmed" | "e164" | "defaulted" | "derived" | "constant";

export interface MappedField {
  /** Path in the command, `[]` for any item. */
  readonly field: string;
  readonly columns: readonly Column[];
  readonly conversion: Conversion;
  /** A number that identifies a person or a bank account: previews show its last digits only. */
  readonly isPersonalNumber?: true;
}

export const MAPPING: readonly MappedField[] = [
  { field: "customer.id", columns: ["m_account.uuid_be"], conversion: "copied" },
  { field: "customer.name", columns: ["m_account.name"], conversion: "copied" },
  { field: "customer.email", columns: ["m_account.email"], conversion: "trimmed" },
  personalNumber("customer.msisdn", "m_account.phone_no", "e164"),
  ...addressOf("customer"),
  {
    field: "customer.customer_role",
    columns: ["m_account.account_type_id", "m_account_type.name"],
    conversion: "defaulted",
  },
  { field: "customer.parent_id", columns: ["m_account.parentId"], conversion: "copied" },
  { field: "customer.customer_type", columns: [], conversion: "constant" },
  personalNumber("customer.ktp", "m_account.no_ktp", "copied"),
  personalNumber("customer.npwp", "m_account.no_npwp", "copied"),
  {
    field: "customer.deduction_active_type",
    columns: [
      "m_account_package_tier.billing_method_id",
      "m_account_billing_method.method",
      "m_account_package_tier.percentage",
    ],
    conversion: "derived",
  },

  { field: "tier[].id", columns: ["m_account_package_tier.uuid_be"], conversion: "copied" },
  {
    field: "tier[].tier_type",
    columns: ["m_account_package_tier.percentage"],
    conversion: "derived",
  },
  { field: "tier[].tier_category", columns: [], conversion: "constant" },
  {
    field: "tier[].min_amount",
    columns: ["m_account_package_tier.min_value"],
    conversion: "copied",
  },
  {
    field: "tier[].max_amount",
    columns: ["m_account_package_tier.max_value"],
    conversion: "copied",
  },
  { field: "tier[].fee", columns: ["m_account_package_tier.amount"], conversion: "copied" },
  {
    field: "tier[].valid_from",
    columns: ["m_account_package_tier.start_date"],
    conversion: "derived",
  },
  { field: "tier[].valid_to", columns: ["m_account_package_tier.end_date"], conversion: "derived" },

  { field: "customer-crew[].id", columns: ["m_account_pic.uuid_be"], conversion: "copied" },
  personalNumber("customer-crew[].ktp", "m_account_pic.no_ktp", "copied"),
  personalNumber("customer-crew[].npwp", "m_account_pic.no_npwp", "copied"),
  { field: "customer-crew[].name", columns: ["m_account_pic.name"], conversion: "copied" },
  personalNumber("customer-crew[].msisdn", "m_account_pic.phone_no", "e164"),
  { field: "customer-crew[].email", columns: ["m_account_pic.email"], conversion: "trimmed" },
  {
    field: "customer-crew[].username",
    columns: ["m_account_pic.username", "m_account_pic.name"],
    conversion: "derived",
  },

  // null without an active bank account.
  { field: "beneficiary-account", columns: ["m_account_bank.is_active"], conversion: "derived" },
  {
    field: "beneficiary-account.firstname",
    columns: [
      "m_account_bank.bank_account_holder_firstname",
      "m_account_bank.bank_account_holder_name",
    ],
    conversion: "derived",
  },
  {
    field: "beneficiary-account.lastname",
    columns: [
      "m_account_bank.bank_account_holder_lastname",
      "m_account_bank.bank_account_holder_name",
    ],
    conversion: "derived",
  },
  {
    field: "beneficiary-account.bank.id",
    columns: ["m_account_bank.bank_id", "m_bank.uuid_be"],
    conversion: "copied",
  },
  personalNumber("beneficiary-account.account_number", "m_account_bank.bank_account_no", "copied"),
  {
    field: "beneficiary-account.account_name",
    columns: ["m_account_bank.bank_account_holder_name"],
    conversion: "copied",
  },
  { field: "beneficiary-account.account_type.id", columns: [], conversion: "constant" },
  { field: "beneficiary-account.customer_type.id", columns: [], conversion: "constant" },
  { field: "beneficiary-account.region_code.id", columns: [], conversion: "constant" },
  { field: "beneficiary-account.country_code.id", columns: [], conversion: "constant" },
  {
    field: "beneficiary-account.customer_status.id",
    columns: ["m_account.is_active"],
    conversion: "derived",
  },

  {
    field: "branch.id",
    columns: ["m_account.branch_uuid_be", "m_account.uuid_be"],
    conversion: "derived",
  },
  { field: "branch.name", columns: ["m_account.name"], conversion: "copied" },
  { field: "branch.code", columns: ["m_account.account_no"], conversion: "copied" },
  ...addressOf("branch"),

  {
    field: "tier-assignment.data[].id",
    columns: ["m_account_package_tier.uuid_be"],
    conversion: "copied",
  },
];

function personalNumber(field: string, column: Column, conversion: Conversion): MappedField {
  return { field, columns: [column], conversion, isPersonalNumber: true };
}

/** Of the one address that is sent: active, primary first, then the oldest. */
function addressOf(section: "customer" | "branch"): MappedField[] {
  const copied = (name: string, column: Column): MappedField => ({
    field: `${section}.address.${name}`,
    columns: [column],
    conversion: name === "country" ? "defaulted" : "copied",
  });
  return [
    copied("building", "m_account_address.address1"),
    copied("street", "m_account_address.address2"),
    copied("region", "m_account_address.sub_district"),
    copied("city", "m_account_address.city"),
    copied("state", "m_account_address.province"),
    copied("country", "m_account_address.country"),
    copied("zip_code", "m_account_address.postalcode"),
  ];
}
