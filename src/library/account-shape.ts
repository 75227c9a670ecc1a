/**
 * The zod schema of what callers give. The types in account-data.ts describe the same for the compiler and for readers: inferred from
 * this schema, their declarations would be nested zod types without comments. The compiler compares the two: `FieldsOf` the names,
 * `parseAccountData` the values.
 */
import { z } from "zod";
import type {
  AccountData,
  AddressData,
  BankAccountData,
  PackageTierData,
  PicData,
} from "./account-data.ts";

type FieldsOf<Data> = { readonly [Name in keyof Data]-?: z.ZodType };

const EXTERNAL_ID_CHARACTERS_MAX = 255;
const ROWS_MAX = 2_000;

/** A number beyond 2^53 has lost digits before it came here, and would name another row. */
const exactNumber = (what: string) =>
  z.number().refine(Number.isSafeInteger, `must be ${what}: a text, or a whole number below 2^53`);

const id = z
  .union([z.string(), exactNumber("an id"), z.bigint()], "must be an id: a text or a number")
  .transform(String)
  .refine((text) => text.trim() !== "", "must not be empty");
const optionalId = id.nullish().transform((value) => value ?? null);
const text = z
  .string("must be a text")
  .nullish()
  .transform((value) => value ?? null);
/** Applications write a blank external id for none. */
const externalId = z
  .union([z.string(), exactNumber("an external id")], "must be an external id: a text or a number")
  .nullish()
  .transform((value) => (value == null || String(value).trim() === "" ? null : String(value)))
  .refine(
    (value) => value === null || value.length <= EXTERNAL_ID_CHARACTERS_MAX,
    `must have at most ${EXTERNAL_ID_CHARACTERS_MAX} characters`,
  );
const flag = z.boolean("must be true or false").nullish();
const flagOrTrue = flag.transform((value) => value ?? true);
const amount = z
  .union([z.number(), z.string().regex(/^\s*-?\d+(?:\.\d+)?\s*$/)], "must be a number")
  .nullish()
  .transform((value) => (value == null ? null : Number(value)));
const day = z
  .union([z.date(), z.string()], "must be a date")
  .nullish()
  .transform((value) => (value == null ? null : toDay(value)));
/** Sortable text, as the load queries return it. */
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
  percentage: flag,
  is_active: flagOrTrue,
  billing_method: z.object({ method: text }).nullish(),
  uuid_be: externalId,
} satisfies FieldsOf<PackageTierData>);

const picShape = z.object({
  id,
  name: text,
  phone_no: text,
  email: text,
  no_ktp: text,
  no_npwp: text,
  username: text,
  is_active: flagOrTrue,
  created_at: instant,
  uuid_be: externalId,
} satisfies FieldsOf<PicData>);

const addressShape = z.object({
  id: id.optional(),
  address1: text,
  address2: text,
  sub_district: text,
  city: text,
  province: text,
  country: text,
  postalcode: text,
  is_primary: flag,
  is_active: flagOrTrue,
  created_at: instant,
} satisfies FieldsOf<AddressData>);

const bankAccountShape = z.object({
  id: id.optional(),
  bank_id: optionalId,
  bank: z.object({ uuid_be: externalId }).nullish(),
  bank_account_no: text,
  bank_account_holder_name: text,
  bank_account_holder_firstname: text,
  bank_account_holder_lastname: text,
  is_active: flagOrTrue,
  created_at: instant,
} satisfies FieldsOf<BankAccountData>);

export const accountShape = z.object(
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
    is_active: flagOrTrue,
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
  } satisfies FieldsOf<AccountData>,
  "must be an account: an object with an id",
);

export type AccountInput = z.input<typeof accountShape>;
export type AccountOutput = z.output<typeof accountShape>;

function rowsOf<Row extends z.ZodType>(row: Row) {
  return z
    .array(row, "must be a list")
    .max(ROWS_MAX, `must have at most ${ROWS_MAX} entries`)
    .readonly()
    .nullish();
}

/**
 * The day that is meant. The driver returns local midnight for a `date`, which is another day in UTC. After a round trip through JSON it
 * is a text in UTC, so that is read as the day in local time.
 */
function toDay(value: Date | string): string {
  if (value instanceof Date) return toText(value).slice(0, 10);
  const hasZone = /^\d{4}-\d{2}-\d{2}[T ].*(?:Z|[+-]\d{2}(?::?\d{2})?)$/i.test(value.trim());
  const date = hasZone ? new Date(value) : null;
  if (date !== null && !Number.isNaN(date.getTime())) return toText(date).slice(0, 10);
  return value.trim().replace(/^(\d{4}-\d{2}-\d{2})[T ].*$/, "$1");
}

/** `YYYY-MM-DD HH:MM:SS.mmm` in local time. */
function toText(date: Date): string {
  if (Number.isNaN(date.getTime())) return "not a date";
  const two = (number: number) => String(number).padStart(2, "0");
  const day = `${String(date.getFullYear()).padStart(4, "0")}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return `${day} ${time}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}
