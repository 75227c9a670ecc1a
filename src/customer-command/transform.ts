/**
 * The transform: makes the command that describes an account to the customer API. Pure; it does not know what is valid (validate.ts) or
 * what was accepted before (fingerprint.ts).
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
import { byAge, byMinValue, byPrimaryThenAge } from "./row-order.ts";

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

/** A create while the account has no external id, an update once it has one; and the rows behind the items of the command. */
export function toCommand(
  account: Account,
  options: TransformOptions,
): { readonly command: CustomerCommand; readonly sent: SentRows } {
  const tiers = account.tiers.filter(isActive).toSorted(byMinValue);
  const pics = account.pics.filter(isActive).toSorted(byAge);
  const isUpdate = filled(account.externalId) !== null;

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
    parent_id: filled(account.parent?.externalId),
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
    bank: { id: filled(bankAccount.bankExternalId) ?? "" },
    account_number: bankAccount.accountNumber ?? "",
    account_name: holderName,
    account_type: { id: "1" },
    customer_type: { id: "2" },
    region_code: { id: "31" },
    country_code: { id: "IDN" },
    // The customer's status is the account's: the bank row sent is always an active one.
    customer_status: { id: account.isActive ? "1" : "2" },
  };
}

function toBranch(account: Account, isUpdate: boolean): Branch {
  return {
    ...idOf(filled(account.branchExternalId) ?? account.externalId, isUpdate),
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

/** A create carries no external id, not even of a tier that kept one from before the account lost its own. */
function idOf(externalId: string | null, isUpdate: boolean): { readonly id?: string } {
  const id = filled(externalId);
  return isUpdate && id !== null ? { id } : {};
}

function knownIds(rows: readonly { readonly externalId: string | null }[]): string[] {
  return rows.flatMap((row) => filled(row.externalId) ?? []);
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

/** null for a blank text, also for an external id: applications write a blank `uuid_be` for none. */
function filled(text: string | null | undefined): string | null {
  return text == null || text.trim() === "" ? null : text;
}

function isActive(row: { readonly isActive: boolean }): boolean {
  return row.isActive;
}
