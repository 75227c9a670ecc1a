/**
 * The transform: an account as it stands becomes the command that describes it to the customer API. Pure, and knows nothing
 * of what is valid (validate.ts) or of what was accepted before (fingerprint.ts).
 *
 * Every object is built with its keys in one fixed order, so equal accounts give equal JSON text.
 */

import type { Account, Address, Pic, Tier } from "../account/account.ts";
import type {
  BeneficiaryAccount,
  Branch,
  CommandAddress,
  CommandCrew,
  CommandTier,
  Customer,
  CustomerCommand,
  SentRow,
  SentRows,
} from "./command.ts";
import { toMsisdn } from "./phone.ts";

/**
 * Part of the fingerprint. Raise it with every change of the mapping that alters what is sent for the same rows: every
 * account then counts as changed.
 */
export const MAPPING_VERSION = 1;

export interface TransformOptions {
  /** ISO 3166 code, for phone numbers without a country code. */
  readonly defaultCountry: string;
  /** Name of a field that carries our local ids, for an API that stores or echoes them. */
  readonly referenceField: string | null;
}

/** The create form while the account has no external id, the update form once it has one. */
export function toCommand(
  account: Account,
  options: TransformOptions,
): { readonly command: CustomerCommand; readonly sent: SentRows } {
  const tiers = account.tiers.filter(isActive).toSorted(byMinValue);
  const pics = account.pics.filter(isActive).toSorted(byAge);
  const isUpdate = known(account.externalId) !== null;

  const command: CustomerCommand = {
    customer: withReference(toCustomer(account, tiers, isUpdate, options), account.id, options),
    tier: tiers.map((tier) => withReference(toTier(tier, isUpdate), tier.id, options)),
    "customer-crew": pics.map((pic) =>
      withReference(toCrew(pic, isUpdate, options), pic.id, options),
    ),
    "beneficiary-account": toBeneficiaryAccount(account),
    branch: withReference(toBranch(account, isUpdate), account.id, options),
    ...(isUpdate ? { "tier-assignment": { data: knownIds(tiers).map((id) => ({ id })) } } : {}),
  };

  return { command, sent: toSentRows(account, tiers, pics) };
}

function toCustomer(
  account: Account,
  activeTiers: readonly Tier[],
  isUpdate: boolean,
  options: TransformOptions,
): Customer {
  const deductionActiveType = toDeductionActiveType(activeTiers);

  return {
    ...idOf(account.externalId, isUpdate),
    name: account.name ?? "",
    email: (account.email ?? "").trim(),
    msisdn: toMsisdn(account.phoneNo, options.defaultCountry),
    address: toAddress(account.addresses),
    customer_role: filled(account.typeName) ?? "branch",
    parent_id: known(account.parent?.externalId ?? null),
    customer_type: "INDIVIDUAL",
    ktp: account.ktp ?? "",
    npwp: account.npwp ?? "",
    ...(deductionActiveType === null ? {} : { deduction_active_type: deductionActiveType }),
  };
}

function toDeductionActiveType(activeTiers: readonly Tier[]): "percentage" | "nominal" | null {
  const deducted = activeTiers.filter((tier) => isAutoDeduct(tier.billingMethod));
  if (deducted.length === 0) return null;

  const percentages = deducted.filter((tier) => tier.percentage).length;
  return percentages > deducted.length - percentages ? "percentage" : "nominal";
}

function isAutoDeduct(billingMethod: string | null): boolean {
  return billingMethod?.toLowerCase().replace(/[\s_-]/g, "") === "autodeduct";
}

function toAddress(addresses: readonly Address[]): CommandAddress {
  const [address] = addresses.filter(isActive).toSorted(byPrimaryThenAge);

  return {
    building: address?.address1 ?? "",
    street: address?.address2 ?? "",
    region: address?.subDistrict ?? "",
    city: address?.city ?? "",
    state: address?.province ?? "",
    country: filled(address?.country) ?? "Indonesia",
    zip_code: address?.postalCode ?? "",
  };
}

function toTier(tier: Tier, isUpdate: boolean): CommandTier {
  return {
    ...idOf(tier.externalId, isUpdate),
    tier_type: tier.percentage ? "percentage" : "nominal",
    tier_category: "discount",
    ...(tier.minValue === null ? {} : { min_amount: tier.minValue }),
    ...(tier.maxValue === null ? {} : { max_amount: tier.maxValue }),
    ...(tier.amount === null ? {} : { fee: tier.amount }),
    ...(tier.startDate === null ? {} : { valid_from: `${tier.startDate}T00:00:00` }),
    ...(tier.endDate === null ? {} : { valid_to: `${tier.endDate}T23:59:59` }),
  };
}

function toCrew(pic: Pic, isUpdate: boolean, options: TransformOptions): CommandCrew {
  const name = pic.name ?? "";

  return {
    ...idOf(pic.externalId, isUpdate),
    ktp: pic.ktp ?? "",
    npwp: pic.npwp ?? "",
    name,
    msisdn: toMsisdn(pic.phoneNo, options.defaultCountry),
    email: (pic.email ?? "").trim(),
    username: filled(pic.username) ?? name.toLowerCase().replace(/\s/g, ""),
  };
}

function toBeneficiaryAccount(account: Account): BeneficiaryAccount | null {
  const [bankAccount] = account.bankAccounts.filter(isActive).toSorted(byAge);
  if (bankAccount === undefined) return null;

  const holderName = bankAccount.holderName ?? "";
  const [firstWord = "", ...otherWords] = holderName.trim().split(/\s+/);

  return {
    firstname: filled(bankAccount.holderFirstname) ?? firstWord,
    lastname: filled(bankAccount.holderLastname) ?? otherWords.join(" "),
    bank: { id: known(bankAccount.bankExternalId) ?? "" },
    account_number: bankAccount.accountNumber ?? "",
    account_name: holderName,
    account_type: { id: "1" },
    customer_type: { id: "2" },
    region_code: { id: "31" },
    country_code: { id: "IDN" },
    // The customer's status, so the account's: the bank row itself is always an active one here.
    customer_status: { id: account.isActive ? "1" : "2" },
  };
}

function toBranch(account: Account, isUpdate: boolean): Branch {
  return {
    ...idOf(known(account.branchExternalId) ?? account.externalId, isUpdate),
    name: account.name ?? "",
    code: account.accountNo ?? "",
    address: toAddress(account.addresses),
  };
}

function toSentRows(account: Account, tiers: readonly Tier[], pics: readonly Pic[]): SentRows {
  const toSentRow = ({ id, externalId }: SentRow): SentRow => ({ id, externalId });

  return {
    accountId: account.id,
    externalId: account.externalId,
    branchExternalId: account.branchExternalId,
    tiers: tiers.map(toSentRow),
    pics: pics.map(toSentRow),
    unsentIds: {
      tiers: knownIds(account.tiers.filter((tier) => !tier.isActive)),
      pics: knownIds(account.pics.filter((pic) => !pic.isActive)),
    },
  };
}

/** A create carries no id of ours, not even of a tier that kept one from an earlier life of the account. */
function idOf(externalId: string | null, isUpdate: boolean): { readonly id?: string } {
  const id = known(externalId);
  return isUpdate && id !== null ? { id } : {};
}

function knownIds(rows: readonly { readonly externalId: string | null }[]): string[] {
  return rows.flatMap((row) => known(row.externalId) ?? []);
}

/** A blank `uuid_be` is an application's way of saying none. */
function known(externalId: string | null): string | null {
  return filled(externalId);
}

/** The command's own fields win: a reference field called `email` must not replace an e-mail address. */
function withReference<Item extends object>(
  item: Item,
  localId: string,
  { referenceField }: TransformOptions,
): Item {
  if (referenceField === null || referenceField in item) return item;
  return { ...item, [referenceField]: localId };
}

function filled(text: string | null | undefined): string | null {
  return text == null || text.trim() === "" ? null : text;
}

function isActive(row: { readonly isActive: boolean }): boolean {
  return row.isActive;
}

/** null (unknown) last, NaN before it, as PostgreSQL sorts them. */
function byMinValue(a: Tier, b: Tier): number {
  return compareMinValues(a.minValue, b.minValue) || compareIds(a.id, b.id);
}

function compareMinValues(a: number | null, b: number | null): number {
  const rank = (value: number | null) => (value === null ? 2 : Number.isNaN(value) ? 1 : 0);
  if (rank(a) !== rank(b)) return rank(a) - rank(b);
  return a === null || b === null || a === b || Number.isNaN(a) ? 0 : a < b ? -1 : 1;
}

function byPrimaryThenAge(a: Address, b: Address): number {
  return Number(b.isPrimary) - Number(a.isPrimary) || byAge(a, b);
}

interface Aged {
  readonly id: string;
  readonly createdAt: string | null;
}

/** Oldest first, without a date last, then the lowest id. */
function byAge(a: Aged, b: Aged): number {
  if (a.createdAt === b.createdAt) return compareIds(a.id, b.id);
  if (a.createdAt === null) return 1;
  if (b.createdAt === null) return -1;
  return compareText(a.createdAt, b.createdAt);
}

/** Ids of digits only compare as numbers (bigint keys read as text) and come before all others, so the order is total. */
function compareIds(a: string, b: string): number {
  const aIsNumber = DIGITS.test(a);
  const bIsNumber = DIGITS.test(b);
  if (aIsNumber !== bIsNumber) return aIsNumber ? -1 : 1;
  if (!aIsNumber) return compareText(a, b);

  const difference = BigInt(a) - BigInt(b);
  return difference === 0n ? compareText(a, b) : difference < 0n ? -1 : 1;
}

const DIGITS = /^[0-9]{1,100}$/;

function compareText(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}
