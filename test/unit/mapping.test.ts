/** The mapping as a table against the transform itself: every column is changed, and what changes then is what the table says. */
import { expect, test } from "vitest";
import type { Account } from "../../src/account/account.ts";
import { COLUMNS, type Column } from "../../src/customer-command/columns.ts";
import { fieldsOf, toPattern } from "../../src/customer-command/field-paths.ts";
import { mappedAt, sourcesOf } from "../../src/customer-command/field-sources.ts";
import { MAPPING } from "../../src/customer-command/mapping.ts";
import { toCommand } from "../../src/customer-command/transform.ts";
import { aBankAccount, anAccount, aPic, aTier } from "../support/sample-account.ts";

const OPTIONS = { defaultCountry: "ID", referenceField: null };

/** Removing a row removes all of its fields, so these columns have a test of their own. */
const CHOOSES_ROWS: readonly Column[] = [
  "m_account_package_tier.is_active",
  "m_account_pic.is_active",
  "m_account_address.is_active",
  "m_account_bank.is_active",
];

const columns = Object.keys(COLUMNS) as Column[];

test.each(columns.filter((column) => !CHOOSES_ROWS.includes(column)))(
  "a change of %s shows in the fields of the table, and in no other",
  (column) => {
    const changed = new Set(
      accounts().flatMap((account) => patternsChanged(account, withOther(account, column))),
    );

    expect([...changed].sort()).toEqual(fieldsFrom(column));
  },
);

test.each<[Column, string]>([
  ["m_account_package_tier.is_active", "tier[]."],
  ["m_account_pic.is_active", "customer-crew[]."],
  ["m_account_bank.is_active", "beneficiary-account"],
])("%s decides whether %s is there", (column, section) => {
  const [account] = accounts();
  const gone = withOther(account, column);

  const left = fieldsOf(toCommand(gone, OPTIONS).command).map(({ path }) => toPattern(path));

  expect(left.filter((pattern) => pattern.startsWith(section))).toEqual(
    section === "beneficiary-account" ? ["beneficiary-account"] : [],
  );
});

test("every field of a command stands in the table, and every line of the table occurs", () => {
  const patterns = accounts().flatMap((account) =>
    fieldsOf(toCommand(account, OPTIONS).command).map(({ path }) => toPattern(path)),
  );

  expect([...new Set(patterns)].sort()).toEqual(MAPPING.map(({ field }) => field).sort());
});

test("a field that carries our ids comes from the ids", () => {
  const [account] = accounts();
  const { command } = toCommand(account, { ...OPTIONS, referenceField: "ref" });

  const carried = sourcesOf(command, "ref").filter(({ field }) => field.endsWith(".ref"));

  expect(carried.map(({ field, columns: from }) => [field, ...from])).toEqual([
    ["customer.ref", "m_account.id"],
    ["tier[0].ref", "m_account_package_tier.id"],
    ["customer-crew[0].ref", "m_account_pic.id"],
    ["branch.ref", "m_account.id"],
  ]);
});

test("numbers of a person are marked, wherever they stand", () => {
  const marked = MAPPING.filter(({ field }) => mappedAt(field).isPersonalNumber === true);

  expect(marked.map(({ field }) => field)).toEqual([
    "customer.msisdn",
    "customer.ktp",
    "customer.npwp",
    "customer-crew[].ktp",
    "customer-crew[].npwp",
    "customer-crew[].msisdn",
    "beneficiary-account.account_number",
  ]);
});

function fieldsFrom(column: Column): string[] {
  const property = COLUMNS[column];
  return MAPPING.filter(({ columns: from }) => from.some((one) => COLUMNS[one] === property))
    .map(({ field }) => field)
    .sort();
}

function patternsChanged(before: Account, after: Account): string[] {
  const valuesOf = (account: Account) =>
    new Map(fieldsOf(toCommand(account, OPTIONS).command).map(({ path, value }) => [path, value]));
  const [old, young] = [valuesOf(before), valuesOf(after)];
  return [...new Set([...old.keys(), ...young.keys()])]
    .filter(
      (path) => !Object.is(old.get(path), young.get(path)) || old.has(path) !== young.has(path),
    )
    .map(toPattern);
}

/** The account with something else in this column. Null stays null: there is no row to change, or no value. */
function withOther(account: Account, column: Column): Account {
  const [first = "", second] = COLUMNS[column].split(".");
  const list = first.endsWith("[]") ? first.slice(0, -2) : null;
  const other = (value: unknown) => (OTHER[column] ?? otherOf)(value);
  if (list === null && second === undefined) {
    return { ...account, [first]: other(Reflect.get(account, first)) };
  }
  const change = (row: object) => ({
    ...row,
    [second ?? ""]: other(Reflect.get(row, second ?? "")),
  });
  if (list !== null) {
    return { ...account, [list]: (Reflect.get(account, list) as object[]).map(change) };
  }
  const row = Reflect.get(account, first) as object | null;
  return row === null ? account : { ...account, [first]: change(row) };
}

function otherOf(value: unknown): unknown {
  if (typeof value === "boolean") return !value;
  if (typeof value === "number") return value + 1;
  return typeof value === "string" ? `lain ${value}` : value;
}

const OTHER: Partial<Record<Column, (value: unknown) => unknown>> = {
  "m_account.phone_no": () => "081399998888",
  "m_account_pic.phone_no": () => "081399998888",
};

/** With everything filled, and with what stands in for something else left out; new ones, and ones that have their ids. */
function accounts(): [Account, ...Account[]] {
  const full = fullAccount();
  const sparse: Account = {
    ...full,
    branchExternalId: null,
    pics: full.pics.map((pic) => ({ ...pic, username: null })),
    bankAccounts: full.bankAccounts.map((row) => ({
      ...row,
      holderFirstname: null,
      holderLastname: null,
    })),
  };
  const bare: Account = { ...full, externalId: null, bankAccounts: [] };
  return [full, sparse, bare, { ...full, externalId: null }];
}

function fullAccount(): Account {
  return anAccount({
    externalId: "ext-a",
    branchExternalId: "ext-b",
    parent: { id: "a0", externalId: "ext-parent" },
    tiers: [aTier({ percentage: true, billingMethod: "auto deduct", externalId: "ext-t" })],
    pics: [aPic({ ktp: "3174", npwp: "0123", username: "budi.s", externalId: "ext-p" })],
    bankAccounts: [aBankAccount({ holderFirstname: "Siti", holderLastname: "Aini" })],
  });
}
