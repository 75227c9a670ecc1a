/**
 * Which column becomes which field of the command: the transform as a table, for people to read. toCommand does the work;
 * test/unit/mapping.test.ts changes every column and holds each line of this table true.
 */
import { fieldsOf, toPattern } from "./field-paths.ts";

/** Columns of the source tables, and where `Account` holds what stands in them. */
export const COLUMNS = {
  "m_account.id": "id",
  "m_account.account_no": "accountNo",
  "m_account.name": "name",
  "m_account.phone_no": "phoneNo",
  "m_account.email": "email",
  "m_account.no_ktp": "ktp",
  "m_account.no_npwp": "npwp",
  "m_account.is_active": "isActive",
  "m_account.uuid_be": "externalId",
  "m_account.branch_uuid_be": "branchExternalId",
  "m_account.account_type_id": "typeName",
  "m_account_type.name": "typeName",
  "m_account.parentId": "parent.externalId",
  "m_account_package_tier.id": "tiers[].id",
  "m_account_package_tier.min_value": "tiers[].minValue",
  "m_account_package_tier.max_value": "tiers[].maxValue",
  "m_account_package_tier.amount": "tiers[].amount",
  "m_account_package_tier.start_date": "tiers[].startDate",
  "m_account_package_tier.end_date": "tiers[].endDate",
  "m_account_package_tier.percentage": "tiers[].percentage",
  "m_account_package_tier.is_active": "tiers[].isActive",
  "m_account_package_tier.billing_method_id": "tiers[].billingMethod",
  "m_account_billing_method.method": "tiers[].billingMethod",
  "m_account_package_tier.uuid_be": "tiers[].externalId",
  "m_account_pic.id": "pics[].id",
  "m_account_pic.name": "pics[].name",
  "m_account_pic.phone_no": "pics[].phoneNo",
  "m_account_pic.email": "pics[].email",
  "m_account_pic.no_ktp": "pics[].ktp",
  "m_account_pic.no_npwp": "pics[].npwp",
  "m_account_pic.username": "pics[].username",
  "m_account_pic.is_active": "pics[].isActive",
  "m_account_pic.uuid_be": "pics[].externalId",
  "m_account_address.address1": "addresses[].address1",
  "m_account_address.address2": "addresses[].address2",
  "m_account_address.sub_district": "addresses[].subDistrict",
  "m_account_address.city": "addresses[].city",
  "m_account_address.province": "addresses[].province",
  "m_account_address.country": "addresses[].country",
  "m_account_address.postalcode": "addresses[].postalCode",
  "m_account_address.is_active": "addresses[].isActive",
  "m_account_bank.bank_id": "bankAccounts[].bankExternalId",
  "m_bank.uuid_be": "bankAccounts[].bankExternalId",
  "m_account_bank.bank_account_no": "bankAccounts[].accountNumber",
  "m_account_bank.bank_account_holder_name": "bankAccounts[].holderName",
  "m_account_bank.bank_account_holder_firstname": "bankAccounts[].holderFirstname",
  "m_account_bank.bank_account_holder_lastname": "bankAccounts[].holderLastname",
  "m_account_bank.is_active": "bankAccounts[].isActive",
} as const satisfies Readonly<Record<string, string>>;

export type Column = keyof typeof COLUMNS;

/**
 * `copied`: as it stands, missing text as "". `trimmed`: without white space around it. `e164`: a phone number in international
 * form. `defaulted`: as it stands, else a fixed value. `derived`: worked out from the columns. `constant`: the same for everybody.
 */
export type Conversion = "copied" | "trimmed" | "e164" | "defaulted" | "derived" | "constant";

interface Mapped {
  /** Path in the command, `[]` for any item. */
  readonly field: string;
  readonly columns: readonly Column[];
  readonly conversion: Conversion;
  /** A number that belongs to a person: shown with its last digits only. */
  readonly isPersonalNumber?: true;
}

export const MAPPING: readonly Mapped[] = [
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

  // null without an active row.
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

function personalNumber(field: string, column: Column, conversion: Conversion): Mapped {
  return { field, columns: [column], conversion, isPersonalNumber: true };
}

/** Of the address that is used: active, primary first, then the oldest. */
function addressOf(section: "customer" | "branch"): Mapped[] {
  const copied = (name: string, column: Column): Mapped => ({
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

/** One field of a command, and where it comes from. */
export interface FieldSource {
  /** Path in the command: `tier[0].fee`. */
  readonly field: string;
  /** `table.column`; none for a constant. */
  readonly columns: readonly Column[];
  readonly conversion: Conversion;
  /** Nothing stands there: null, or blank text. */
  readonly isEmpty: boolean;
}

/** The fields of this command, in its order. */
export function sourcesOf(command: object, referenceField: string | null): FieldSource[] {
  return fieldsOf(command).map(({ path, value }) => {
    const { columns, conversion } = mappedAt(path, referenceField);
    const isEmpty = value === null || (typeof value === "string" && value.trim() === "");
    return { field: path, columns, conversion, isEmpty };
  });
}

export function mappedAt(
  path: string,
  referenceField: string | null = null,
): Pick<Mapped, "columns" | "conversion" | "isPersonalNumber"> {
  const pattern = toPattern(path);
  const mapped = BY_FIELD.get(pattern);
  if (mapped !== undefined) return mapped;

  const [section = "", ...below] = pattern.split(".");
  const id = below.join(".") === referenceField ? REFERENCED[section] : undefined;
  return { columns: id === undefined ? [] : [id], conversion: "copied" };
}

const BY_FIELD = new Map(MAPPING.map((mapped) => [mapped.field, mapped]));

/** What the field says that is named by `CUSTOMER_API_REFERENCE_FIELD`. */
const REFERENCED: Readonly<Record<string, Column>> = {
  customer: "m_account.id",
  branch: "m_account.id",
  "tier[]": "m_account_package_tier.id",
  "customer-crew[]": "m_account_pic.id",
};
