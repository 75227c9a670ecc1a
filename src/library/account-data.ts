/**
 * What callers hand in: an account with its relations, as an ORM loads it. Parsed here, and an `Account` from there on.
 *
 * What a caller leaves out is sent as missing, not filled in from the tables. From there come only what nobody but the tables can know
 * (external ids, and in which order rows are told apart) and the three names that a relation may not have loaded: account type,
 * parent's and bank's external id.
 */
import { z } from "zod";
import type { Account, BankAccount, Parent, Pic, Tier } from "../account/account.ts";
import type { Finding } from "./results.ts";

/** A primary key: of whatever type, text from here on. */
type Id = string | number | bigint;
/** `numeric` comes as text from the driver. */
type Amount = number | string;
/** `YYYY-MM-DD`, a timestamp that begins so, or the local midnight that the driver makes of a `date`. */
type Day = string | Date;

export interface AccountData {
  readonly id: Id;
  readonly account_no?: string | null;
  readonly name?: string | null;
  readonly phone_no?: string | null;
  readonly email?: string | null;
  /** Looked up when `account_type` is absent. */
  readonly account_type_id?: Id | null;
  readonly account_type?: { readonly name?: string | null } | null;
  readonly parentId?: Id | null;
  /** Its external id is looked up when it is absent. */
  readonly parent?: { readonly id?: Id | null; readonly uuid_be?: string | number | null } | null;
  /** Default true. */
  readonly is_active?: boolean | null;
  readonly no_ktp?: string | null;
  readonly no_npwp?: string | null;
  /** Written to a row that has none, unless another account has it; then it is an update. A row's own id counts for more. */
  readonly uuid_be?: string | number | null;
  readonly branch_uuid_be?: string | number | null;
  readonly package_tiers?: readonly PackageTierData[] | null;
  readonly pics?: readonly PicData[] | null;
  readonly account_pic?: readonly PicData[] | null;
  readonly addresses?: readonly AddressData[] | null;
  readonly account_address?: readonly AddressData[] | null;
  readonly account_bank?: readonly BankAccountData[] | null;
}

export interface PackageTierData {
  readonly id: Id;
  readonly min_value?: Amount | null;
  readonly max_value?: Amount | null;
  readonly amount?: Amount | null;
  readonly start_date?: Day | null;
  readonly end_date?: Day | null;
  readonly percentage?: boolean | null;
  readonly is_active?: boolean | null;
  /** The row's, when it is absent. */
  readonly billing_method?: { readonly method?: string | null } | null;
  readonly uuid_be?: string | number | null;
}

export interface PicData {
  readonly id: Id;
  readonly name?: string | null;
  readonly phone_no?: string | null;
  readonly email?: string | null;
  readonly no_ktp?: string | null;
  readonly no_npwp?: string | null;
  readonly username?: string | null;
  readonly is_active?: boolean | null;
  readonly created_at?: Day | null;
  readonly uuid_be?: string | number | null;
}

export interface AddressData {
  readonly id?: Id;
  readonly address1?: string | null;
  readonly address2?: string | null;
  readonly sub_district?: string | null;
  readonly city?: string | null;
  readonly province?: string | null;
  readonly country?: string | null;
  readonly postalcode?: string | null;
  readonly is_primary?: boolean | null;
  readonly is_active?: boolean | null;
  readonly created_at?: Day | null;
}

export interface BankAccountData {
  readonly id?: Id;
  readonly bank_id?: Id | null;
  /** Looked up when it is absent. */
  readonly bank?: { readonly uuid_be?: string | number | null } | null;
  readonly bank_account_no?: string | null;
  readonly bank_account_holder_name?: string | null;
  readonly bank_account_holder_firstname?: string | null;
  readonly bank_account_holder_lastname?: string | null;
  readonly is_active?: boolean | null;
  readonly created_at?: Day | null;
}

/** The account as it was handed in, and what it refers to without having it. */
export interface GivenAccount {
  readonly account: Account;
  readonly refersTo: {
    readonly typeId: string | null;
    readonly parentId: string | null;
    /** By the bank account's position. */
    readonly bankIds: readonly (string | null)[];
  };
}

export type Parsed =
  | ({ readonly isShaped: true } & GivenAccount)
  | { readonly isShaped: false; readonly errors: readonly Finding[] };

export function parseAccountData(data: unknown): Parsed {
  const parsed = accountShape.safeParse(data);
  if (!parsed.success) {
    return {
      isShaped: false,
      errors: parsed.error.issues.map(({ path, message }) => {
        const field = toPath(path);
        return { field, rule: "malformed", message: `${field} ${message}` };
      }),
    };
  }
  const given = parsed.data;
  const banks = given.account_bank ?? [];
  return {
    isShaped: true,
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

/**
 * The account to send, made of what was handed in and what stands in the tables. Rows that were not handed in are not sent; they
 * come along as inactive, so that their external ids are not taken for anybody else's.
 */
export function completedBy(stored: Account, given: Account): Account {
  const tiers = new Map(stored.tiers.map((tier) => [tier.id, tier]));
  const pics = new Map(stored.pics.map((pic) => [pic.id, pic]));
  const banks = new Map(stored.bankAccounts.map((bankAccount) => [bankAccount.id, bankAccount]));
  return {
    ...given,
    typeName: given.typeName ?? stored.typeName,
    externalId: stored.externalId,
    branchExternalId: stored.branchExternalId,
    parent: parentOf(given.parent, stored.parent),
    tiers: [
      ...given.tiers.map((tier): Tier => {
        const row = tiers.get(tier.id);
        return {
          ...tier,
          billingMethod: tier.billingMethod ?? row?.billingMethod ?? null,
          externalId: row?.externalId ?? null,
        };
      }),
      ...notAmong(stored.tiers, given.tiers),
    ],
    pics: [
      ...given.pics.map((pic): Pic => {
        const row = pics.get(pic.id);
        return {
          ...pic,
          createdAt: row?.createdAt ?? pic.createdAt,
          externalId: row?.externalId ?? null,
        };
      }),
      ...notAmong(stored.pics, given.pics),
    ],
    bankAccounts: given.bankAccounts.map((bankAccount): BankAccount => {
      const row = banks.get(bankAccount.id);
      return {
        ...bankAccount,
        bankExternalId: bankAccount.bankExternalId ?? row?.bankExternalId ?? null,
        createdAt: row?.createdAt ?? bankAccount.createdAt,
      };
    }),
  };
}

function parentOf(given: Parent | null, stored: Parent | null): Parent | null {
  if (given === null) return stored;
  if (given.externalId !== null || stored?.id !== given.id) return given;
  return stored;
}

function notAmong<Row extends { readonly id: string; readonly isActive: boolean }>(
  stored: readonly Row[],
  given: readonly { readonly id: string }[],
): Row[] {
  const ids = new Set(given.map(({ id }) => id));
  return stored.filter(({ id }) => !ids.has(id)).map((row) => ({ ...row, isActive: false }));
}

/** A parent that is only named by its id, and one that is only there with its external id. */
function toParent(
  parent: { readonly id: string | null; readonly uuid_be: string | null } | null,
  parentId: string | null,
): Parent | null {
  const id = parent?.id ?? parentId;
  const externalId = parent?.uuid_be ?? null;
  return id === null && externalId === null ? null : { id: id ?? "", externalId };
}

const EXTERNAL_ID_CHARACTERS_MAX = 255;
const ROWS_MAX = 2_000;

const id = z
  .union([z.string(), z.number(), z.bigint()], "must be an id: a text or a number")
  .transform(String)
  .refine((text) => text.trim() !== "", "must not be empty");
const optionalId = id.nullish().transform((value) => value ?? null);
const text = z
  .string("must be a text")
  .nullish()
  .transform((value) => value ?? null);
/** A blank one is an application's way of saying none. */
const externalId = z
  .union([z.string(), z.number()], "must be an external id: a text or a number")
  .nullish()
  .transform((value) => (value == null || String(value).trim() === "" ? null : String(value)))
  .refine(
    (value) => value === null || value.length <= EXTERNAL_ID_CHARACTERS_MAX,
    `must have at most ${EXTERNAL_ID_CHARACTERS_MAX} characters`,
  );
const truth = z.boolean("must be true or false").nullish();
const yesByDefault = truth.transform((value) => value ?? true);
const amount = z
  .union([z.number(), z.string().regex(/^\s*-?\d+(?:\.\d+)?\s*$/)], "must be a number")
  .nullish()
  .transform((value) => (value == null ? null : Number(value)));
const day = z
  .union([z.date(), z.string()], "must be a date")
  .nullish()
  .transform((value) => (value == null ? null : toDay(value)));
/** Sortable as text, as the tables' own are. */
const instant = z
  .union([z.date(), z.string()], "must be a date")
  .nullish()
  .transform((value) => (value == null ? null : value instanceof Date ? toText(value) : value));

const tierShape = z.object({
  id,
  min_value: amount,
  max_value: amount,
  amount,
  start_date: day,
  end_date: day,
  percentage: truth,
  is_active: yesByDefault,
  billing_method: z.object({ method: text }).nullish(),
  uuid_be: externalId,
});
const picShape = z.object({
  id,
  name: text,
  phone_no: text,
  email: text,
  no_ktp: text,
  no_npwp: text,
  username: text,
  is_active: yesByDefault,
  created_at: instant,
  uuid_be: externalId,
});
const addressShape = z.object({
  id: id.optional(),
  address1: text,
  address2: text,
  sub_district: text,
  city: text,
  province: text,
  country: text,
  postalcode: text,
  is_primary: truth,
  is_active: yesByDefault,
  created_at: instant,
});
const bankAccountShape = z.object({
  id: id.optional(),
  bank_id: optionalId,
  bank: z.object({ uuid_be: externalId }).nullish(),
  bank_account_no: text,
  bank_account_holder_name: text,
  bank_account_holder_firstname: text,
  bank_account_holder_lastname: text,
  is_active: yesByDefault,
  created_at: instant,
});

function rowsOf<Row extends z.ZodType>(row: Row) {
  return z
    .array(row, "must be a list")
    .max(ROWS_MAX, `must have at most ${ROWS_MAX} entries`)
    .nullish();
}

const accountShape = z.object(
  {
    id,
    account_no: text,
    name: text,
    phone_no: text,
    email: text,
    account_type_id: optionalId,
    account_type: z.object({ name: text }).nullish(),
    parentId: optionalId,
    parent: z
      .object({ id: optionalId, uuid_be: externalId })
      .nullish()
      .transform((value) => value ?? null),
    is_active: yesByDefault,
    no_ktp: text,
    no_npwp: text,
    uuid_be: externalId,
    branch_uuid_be: externalId,
    package_tiers: rowsOf(tierShape),
    pics: rowsOf(picShape),
    account_pic: rowsOf(picShape),
    addresses: rowsOf(addressShape),
    account_address: rowsOf(addressShape),
    account_bank: rowsOf(bankAccountShape),
  },
  "must be an account: an object with an id",
);

/**
 * The day somebody means. The driver makes local midnight of a `date`, which is another day in UTC; a text that has been through JSON
 * since is an instant, so it is read as the day it is here.
 */
function toDay(value: Date | string): string {
  if (value instanceof Date) return toText(value).slice(0, 10);
  const isInstant = /^\d{4}-\d{2}-\d{2}[T ].*(?:Z|[+-]\d{2}(?::?\d{2})?)$/i.test(value.trim());
  const instantOf = isInstant ? new Date(value) : null;
  if (instantOf !== null && !Number.isNaN(instantOf.getTime()))
    return toText(instantOf).slice(0, 10);
  return value.trim().replace(/^(\d{4}-\d{2}-\d{2})[T ].*$/, "$1");
}

/** `YYYY-MM-DD HH:MM:SS.mmm`, local. */
function toText(date: Date): string {
  if (Number.isNaN(date.getTime())) return "not a date";
  const two = (number: number) => String(number).padStart(2, "0");
  const day = `${String(date.getFullYear()).padStart(4, "0")}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return `${day} ${time}.${String(date.getMilliseconds()).padStart(3, "0")}`;
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
