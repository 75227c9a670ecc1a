/** Parses what a caller gives into an `Account`. */
import type { Account, Parent } from "../account/account.ts";
import type { AccountData } from "./account-data.ts";
import { type AccountInput, type AccountOutput, accountShape } from "./account-shape.ts";
import type { Finding } from "./results.ts";

/** An account as it was given, and the ids of related rows that were not given with it. */
export interface GivenAccount {
  readonly account: Account;
  readonly refersTo: {
    readonly typeId: string | null;
    readonly parentId: string | null;
    /** In the order of the account's bank accounts. */
    readonly bankIds: readonly (string | null)[];
  };
}

export type ParsedAccountData =
  | ({ readonly isShaped: true } & GivenAccount)
  | { readonly isShaped: false; readonly errors: readonly Finding[] };

export function parseAccountData(data: AccountData): ParsedAccountData {
  const parsed = accountShape.safeParse(data satisfies AccountInput);
  if (!parsed.success) {
    return {
      isShaped: false,
      errors: parsed.error.issues.map(({ path, message }) => {
        const field = toPath(path);
        return { field, rule: "malformed", message: `${field} ${message}` };
      }),
    };
  }
  return { isShaped: true, ...toGivenAccount(parsed.data) };
}

function toGivenAccount(given: AccountOutput): GivenAccount {
  const banks = given.account_bank ?? [];
  return {
    account: {
      id: given.id,
      accountNo: given.account_no,
      name: given.name,
      phoneNo: given.phone_no,
      email: given.email,
      typeName: given.account_type?.name ?? null,
      isActive: given.is_active,
      ktp: given.no_ktp,
      npwp: given.no_npwp,
      externalId: given.uuid_be,
      branchExternalId: given.branch_uuid_be,
      parent: toParent(given.parent, given.parentId),
      tiers: (given.package_tiers ?? []).map((tier) => ({
        id: tier.id,
        minValue: tier.min_value,
        maxValue: tier.max_value,
        amount: tier.amount,
        startDate: tier.start_date,
        endDate: tier.end_date,
        percentage: tier.percentage ?? false,
        isActive: tier.is_active,
        billingMethod: tier.billing_method?.method ?? null,
        externalId: tier.uuid_be,
      })),
      pics: (given.pics ?? given.account_pic ?? []).map((pic) => ({
        id: pic.id,
        name: pic.name,
        phoneNo: pic.phone_no,
        email: pic.email,
        ktp: pic.no_ktp,
        npwp: pic.no_npwp,
        username: pic.username,
        isActive: pic.is_active,
        createdAt: pic.created_at,
        externalId: pic.uuid_be,
      })),
      addresses: (given.addresses ?? given.account_address ?? []).map((address, position) => ({
        id: address.id ?? String(position),
        address1: address.address1,
        address2: address.address2,
        subDistrict: address.sub_district,
        city: address.city,
        province: address.province,
        country: address.country,
        postalCode: address.postalcode,
        isPrimary: address.is_primary ?? false,
        isActive: address.is_active,
        createdAt: address.created_at,
      })),
      bankAccounts: banks.map((bankAccount, position) => ({
        id: bankAccount.id ?? String(position),
        bankExternalId: bankAccount.bank?.uuid_be ?? null,
        accountNumber: bankAccount.bank_account_no,
        holderName: bankAccount.bank_account_holder_name,
        holderFirstname: bankAccount.bank_account_holder_firstname,
        holderLastname: bankAccount.bank_account_holder_lastname,
        isActive: bankAccount.is_active,
        createdAt: bankAccount.created_at,
      })),
    },
    refersTo: {
      typeId: given.account_type?.name == null ? given.account_type_id : null,
      parentId: given.parent?.uuid_be == null ? (given.parent?.id ?? given.parentId) : null,
      bankIds: banks.map(({ bank, bank_id }) => (bank?.uuid_be == null ? bank_id : null)),
    },
  };
}

/** A parent may be given by its id only, or with its external id only. */
function toParent(
  parent: { readonly id: string | null; readonly uuid_be: string | null } | null,
  parentId: string | null,
): Parent | null {
  const id = parent?.id ?? parentId;
  const externalId = parent?.uuid_be ?? null;
  return id === null && externalId === null ? null : { id: id ?? "", externalId };
}

/** `package_tiers[0].min_value`. */
function toPath(path: readonly PropertyKey[]): string {
  if (path.length === 0) return "the account";
  return path
    .map((step, index) =>
      typeof step === "number" ? `[${step}]` : `${index === 0 ? "" : "."}${String(step)}`,
    )
    .join("");
}
