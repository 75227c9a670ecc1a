/**
 * The table of the validation, line by line as it was agreed on, from the account to the finding: what stands in the source
 * tables is made into a command, and that is validated. validate.test.ts has the fine print of each rule.
 */
import { expect, test } from "vitest";
import type { Account, BankAccount, Pic, Tier } from "../../src/account/account.ts";
import type { Language } from "../../src/customer-command/messages.ts";
import { toCommand } from "../../src/customer-command/transform.ts";
import { toValidationContext, validateCommand } from "../../src/customer-command/validate.ts";
import { aBankAccount, anAccount, aPic, aTier } from "../support/sample-account.ts";

type Severity = "error" | "warning";
/** field, condition, severity; the account, and the paths that are named then */
type Line = [
  field: string,
  condition: string,
  severity: Severity,
  account: Account,
  paths: readonly string[],
];

const TABLE: readonly Line[] = [
  [
    "customer.name, branch.name",
    "blank",
    "error",
    anAccount({ name: " " }),
    ["customer.name", "branch.name"],
  ],
  [
    "customer.name, branch.name",
    "null",
    "error",
    anAccount({ name: null }),
    ["customer.name", "branch.name"],
  ],
  [
    "customer.email",
    "present and malformed",
    "error",
    anAccount({ email: "toko" }),
    ["customer.email"],
  ],
  [
    "crew email",
    "present and malformed",
    "error",
    pics({ email: "budi@" }),
    ["customer-crew[0].email"],
  ],
  ["customer.email", "blank", "warning", anAccount({ email: " " }), ["customer.email"]],
  ["customer.msisdn", "blank", "warning", anAccount({ phoneNo: null }), ["customer.msisdn"]],
  [
    "customer.msisdn",
    "not a possible number",
    "error",
    anAccount({ phoneNo: "0812" }),
    ["customer.msisdn"],
  ],
  [
    "customer.msisdn",
    "no number at all",
    "error",
    anAccount({ phoneNo: "tidak ada" }),
    ["customer.msisdn"],
  ],
  [
    "customer.msisdn",
    "two lines of one switchboard",
    "error",
    anAccount({ phoneNo: "021-5551234/35" }),
    ["customer.msisdn"],
  ],
  [
    "crew msisdn",
    "a number with an extension",
    "error",
    pics({ phoneNo: "021 555 1234 ext. 12" }),
    ["customer-crew[0].msisdn"],
  ],
  [
    "crew msisdn",
    "not a possible number",
    "error",
    pics({ phoneNo: "+62" }),
    ["customer-crew[0].msisdn"],
  ],
  [
    "customer.address city, state",
    "no address",
    "warning",
    anAccount({ addresses: [] }),
    ["customer.address.city", "customer.address.state"],
  ],
  [
    "customer ktp",
    "not 16 digits",
    "warning",
    anAccount({ ktp: "317401234567890" }),
    ["customer.ktp"],
  ],
  ["crew ktp", "letters", "warning", pics({ ktp: "3174O12345678901" }), ["customer-crew[0].ktp"]],
  [
    "customer npwp",
    "neither 15 nor 16 digits",
    "warning",
    anAccount({ npwp: "01.234.567.8-901.23" }),
    ["customer.npwp"],
  ],
  [
    "crew npwp",
    "17 digits",
    "warning",
    pics({ npwp: "01234567890123456" }),
    ["customer-crew[0].npwp"],
  ],
  [
    "tier amounts",
    "not finite (NaN)",
    "error",
    tiers({ minValue: Number.NaN }),
    ["tier[0].min_amount"],
  ],
  [
    "tier amounts",
    "not finite (infinite)",
    "error",
    tiers({ maxValue: Number.POSITIVE_INFINITY }),
    ["tier[0].max_amount"],
  ],
  ["tier amounts", "fee not finite", "error", tiers({ amount: Number.NaN }), ["tier[0].fee"]],
  ["tier amounts", "negative", "error", tiers({ minValue: -0.01 }), ["tier[0].min_amount"]],
  ["tier amounts", "fee negative", "error", tiers({ amount: -1 }), ["tier[0].fee"]],
  [
    "tier amounts",
    "min = max",
    "error",
    tiers({ minValue: 7, maxValue: 7 }),
    ["tier[0].max_amount"],
  ],
  [
    "tier amounts",
    "min > max",
    "error",
    tiers({ minValue: 8, maxValue: 7 }),
    ["tier[0].max_amount"],
  ],
  [
    "tier amounts",
    "absent in library input",
    "warning",
    tiers({ minValue: null, maxValue: null, amount: null }),
    ["tier[0].min_amount", "tier[0].max_amount", "tier[0].fee"],
  ],
  [
    "tier fee",
    "percentage above 100",
    "error",
    tiers({ percentage: true, amount: 100.01 }),
    ["tier[0].fee"],
  ],
  ["tier dates", "malformed", "error", tiers({ startDate: "01/02/2026" }), ["tier[0].valid_from"]],
  [
    "tier dates",
    "a day that does not exist",
    "error",
    tiers({ endDate: "2026-02-30" }),
    ["tier[0].valid_to"],
  ],
  ["tier dates", "infinity", "error", tiers({ endDate: "infinity" }), ["tier[0].valid_to"]],
  ["tier dates", "from > to", "error", tiers({ startDate: "2027-01-01" }), ["tier[0].valid_to"]],
  [
    "tier dates",
    "absent in library input",
    "warning",
    tiers({ startDate: null, endDate: null }),
    ["tier[0].valid_from", "tier[0].valid_to"],
  ],
  [
    "two active tiers",
    "overlapping in values and dates",
    "warning",
    tiers({}, { minValue: 500, maxValue: 2_000 }),
    ["tier[1]"],
  ],
  ["crew name", "blank", "error", pics({ name: " ", username: "budi" }), ["customer-crew[0].name"]],
  [
    "crew username",
    "twice in one command",
    "warning",
    pics({}, { id: "p2", name: "BUDI" }),
    ["customer-crew[1].username"],
  ],
  [
    "beneficiary firstname, lastname",
    "blank",
    "error",
    banks({ holderName: " " }),
    ["beneficiary-account.firstname", "beneficiary-account.lastname"],
  ],
  [
    "beneficiary lastname",
    "a holder with one name",
    "error",
    banks({ holderName: "Siti" }),
    ["beneficiary-account.lastname"],
  ],
  [
    "beneficiary account_number",
    "blank",
    "error",
    banks({ accountNumber: "" }),
    ["beneficiary-account.account_number"],
  ],
  [
    "beneficiary bank.id",
    "blank",
    "error",
    banks({ bankExternalId: null }),
    ["beneficiary-account.bank.id"],
  ],
  ["branch.code", "blank", "warning", anAccount({ accountNo: null }), ["branch.code"]],
  ["account type", "missing", "warning", anAccount({ typeName: null }), ["customer.customer_role"]],
  [
    "account type",
    "blank, so the default role is used",
    "warning",
    anAccount({ typeName: " " }),
    ["customer.customer_role"],
  ],
];

test.each(TABLE)("%s, %s: %s", (_field, _condition, severity, account, paths) => {
  const { errors, warnings, isValid } = validate(account);

  expect(isValid).toBe(severity === "warning");
  expect({ error: errors.map(toField), warning: warnings.map(toField) }).toEqual({
    error: [],
    warning: [],
    [severity]: paths,
  });
});

test.each<[string, Account]>([
  [
    "a parent without an external id: it is waited for",
    anAccount({ parent: { id: "a0", externalId: null } }),
  ],
  ["no bank account: there is no beneficiary", banks()],
  ["an overlapping tier that is not active", tiers({}, { minValue: 500, isActive: false })],
  [
    "the same tier in the year after",
    tiers({}, { startDate: "2027-01-01", endDate: "2027-12-31" }),
  ],
  ["a nominal fee above 100", tiers({ amount: 2_500 })],
  ["a percentage of exactly 100", tiers({ percentage: true, amount: 100 })],
  ["a tier of one day", tiers({ startDate: "2026-01-01", endDate: "2026-01-01" })],
  ["a contact person without an e-mail address and a number", pics({ email: "", phoneNo: "" })],
])("nothing to remark: %s", (_, account) => {
  expect(validate(account)).toMatchObject({ errors: [], warnings: [] });
});

test("in Bahasa Indonesia the same is found, and said otherwise", () => {
  for (const [, , severity, account, paths] of TABLE) {
    const english = validate(account, "en");
    const indonesian = validate(account, "id");
    const [said = []] = [severity === "error" ? indonesian.errors : indonesian.warnings];
    const [inEnglish = []] = [severity === "error" ? english.errors : english.warnings];

    expect(said.map(toField)).toEqual(paths);
    expect(said.map(({ rule }) => rule)).toEqual(inEnglish.map(({ rule }) => rule));
    for (const [index, { message, field }] of said.entries()) {
      expect(message).toContain(field);
      expect(message).not.toBe(inEnglish[index]?.message);
    }
  }
});

function validate(account: Account, language: Language = "en") {
  const { command } = toCommand(account, { defaultCountry: "ID", referenceField: null });
  return validateCommand(command, toValidationContext(account, language));
}

function toField({ field }: { readonly field: string }): string {
  return field;
}

function tiers(...changes: Partial<Tier>[]): Account {
  return anAccount({
    tiers: changes.map((change, index) => aTier({ id: `t${index}`, ...change })),
  });
}

function pics(...changes: Partial<Pic>[]): Account {
  return anAccount({ pics: changes.map(aPic) });
}

function banks(...changes: Partial<BankAccount>[]): Account {
  return anAccount({ bankAccounts: changes.map(aBankAccount) });
}
