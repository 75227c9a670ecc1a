import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type {
  CommandCrew,
  CommandTier,
  CustomerCommand,
} from "../../src/customer-command/command.ts";
import { MESSAGES } from "../../src/customer-command/messages.ts";
import { validateCommand } from "../../src/customer-command/validate.ts";

const CONTEXT = { hasAccountType: true };

test("a complete command has nothing to remark", () => {
  expect(validateCommand(command(), CONTEXT)).toEqual({
    isValid: true,
    errors: [],
    warnings: [],
    summary: { totalErrors: 0, totalWarnings: 0 },
  });
});

test("the smallest useful command is valid, with warnings", () => {
  const smallest = command({
    customer: { name: "Toko", email: "", msisdn: "", ktp: "", npwp: "", address: NO_ADDRESS },
    branch: { name: "Toko", code: "", address: NO_ADDRESS },
    tier: [{ tier_type: "nominal", tier_category: "discount", min_amount: 0 }],
    "customer-crew": [{ ...CREW, email: "", msisdn: "" }],
    "beneficiary-account": null,
  });

  const { isValid, warnings, summary } = validateCommand(smallest, { hasAccountType: false });

  expect(isValid).toBe(true);
  expect(summary).toEqual({ totalErrors: 0, totalWarnings: 10 });
  expect(warnings.map((warning) => warning.field)).toEqual([
    "customer.email",
    "customer.msisdn",
    "customer.address.city",
    "customer.address.state",
    "customer.customer_role",
    "tier[0].max_amount",
    "tier[0].fee",
    "tier[0].valid_from",
    "tier[0].valid_to",
    "branch.code",
  ]);
});

type Row = [field: string, rule: keyof typeof MESSAGES, change: Change];

describe("errors", () => {
  test.each<Row>([
    ["customer.name", "required", { customer: { name: " " } }],
    ["branch.name", "required", { branch: { name: "" } }],
    ["customer.email", "email_malformed", { customer: { email: "toko.example.id" } }],
    ["customer.msisdn", "phone_impossible", { customer: { msisdn: "+62812" } }],
    ["customer.msisdn", "phone_impossible", { customer: { msisdn: "081234567890" } }],
    ["customer-crew[1].email", "email_malformed", crew({}, { email: "a@b", username: "b" })],
    ["customer-crew[1].msisdn", "phone_impossible", crew({}, { msisdn: "x", username: "b" })],
    ["customer-crew[0].name", "required", crew({ name: "" })],
    ["tier[0].min_amount", "amount_invalid", tiers({ min_amount: -1 })],
    ["tier[0].max_amount", "amount_invalid", tiers({ max_amount: Number.POSITIVE_INFINITY })],
    ["tier[0].fee", "amount_invalid", tiers({ fee: Number.NaN })],
    ["tier[0].max_amount", "amount_order", tiers({ min_amount: 5, max_amount: 5 })],
    ["tier[0].fee", "fee_above_100", tiers({ tier_type: "percentage", fee: 100.01 })],
    ["tier[0].valid_from", "date_malformed", tiers({ valid_from: "01/02/2024T00:00:00" })],
    ["tier[0].valid_from", "date_malformed", tiers({ valid_from: "2023-02-29T00:00:00" })],
    ["tier[0].valid_to", "date_malformed", tiers({ valid_to: "infinityT23:59:59" })],
    ["tier[0].valid_to", "date_order", tiers({ valid_to: "2023-12-31T23:59:59" })],
    ["tier[0].valid_to", "date_order", tiers({ valid_to: "2024-01-01T00:00:00" })],
    ["beneficiary-account.firstname", "required", beneficiary({ firstname: "" })],
    ["beneficiary-account.lastname", "required", beneficiary({ lastname: "" })],
    ["beneficiary-account.account_number", "required", beneficiary({ account_number: " " })],
    ["beneficiary-account.bank.id", "required", beneficiary({ bank: { id: "" } })],
  ])("%s: %s", (field, rule, change) => {
    const { isValid, errors, warnings } = validateCommand(command(change), CONTEXT);

    expect(isValid).toBe(false);
    expect(errors).toEqual([{ field, rule, message: MESSAGES[rule].en.replace("{field}", field) }]);
    expect(warnings).toEqual([]);
  });
});

describe("warnings", () => {
  test.each<Row>([
    ["customer.email", "recommended", { customer: { email: "" } }],
    ["customer.msisdn", "recommended", { customer: { msisdn: "" } }],
    ["customer.address.city", "recommended", { customer: { address: { ...ADDRESS, city: "" } } }],
    ["customer.address.state", "recommended", { customer: { address: { ...ADDRESS, state: "" } } }],
    ["branch.code", "recommended", { branch: { code: "" } }],
    ["customer.ktp", "ktp_length", { customer: { ktp: "123456789012345" } }],
    ["customer-crew[0].ktp", "ktp_length", crew({ ktp: "12345678901234567" })],
    ["customer.npwp", "npwp_length", { customer: { npwp: "01.234.567.8-901.23" } }],
    ["customer-crew[0].npwp", "npwp_length", crew({ npwp: "none" })],
    ["tier[0].max_amount", "amount_absent", tiers({ max_amount: undefined })],
    ["tier[0].valid_to", "date_absent", tiers({ valid_to: undefined })],
  ])("%s: %s", (field, rule, change) => {
    const { isValid, errors, warnings } = validateCommand(command(change), CONTEXT);

    expect(isValid).toBe(true);
    expect(errors).toEqual([]);
    expect(warnings).toEqual([
      { field, rule, message: MESSAGES[rule].en.replace("{field}", field) },
    ]);
  });

  test("tiers that overlap in amounts and in dates name each other", () => {
    const change = tiers({ min_amount: 0, max_amount: 100 }, { min_amount: 99, max_amount: 200 });

    const { warnings } = validateCommand(command(change), CONTEXT);

    expect(warnings.map((warning) => warning.message)).toEqual([
      "tier[1] overlaps tier[0] in amounts and dates",
    ]);
  });

  test.each<[string, Change]>([
    ["amounts that only touch", tiers({ max_amount: 100 }, { min_amount: 100 })],
    [
      "the same amounts in the year after",
      tiers({}, { valid_from: "2025-01-01T00:00:00", valid_to: "2025-12-31T23:59:59" }),
    ],
  ])("%s do not overlap", (_, change) => {
    expect(validateCommand(command(change), CONTEXT).warnings).toEqual([]);
  });

  test("a user name that occurs twice names its first use", () => {
    const change = crew({ username: "budi" }, { username: "siti" }, { username: "Budi" });

    const { isValid, warnings } = validateCommand(command(change), CONTEXT);

    expect(isValid).toBe(true);
    expect(warnings.map((warning) => warning.message)).toEqual([
      "customer-crew[2].username is the same as customer-crew[0].username",
    ]);
  });

  test("an account without a type goes out in the default role", () => {
    const { warnings } = validateCommand(command(), { hasAccountType: false });

    expect(warnings.map((warning) => warning.rule)).toEqual(["account_type_missing"]);
  });
});

describe("what is right stays unremarked", () => {
  test.each([
    "toko@example.id",
    "a@b.c",
    "toko+tag@mail.example.co.id",
    "o'brien@example.com",
    ".dot..dot.@docomo.example.jp",
    "_x-y_@sub-domain.example",
    "budi@bücher.example",
    "用户@例子.公司",
    '"budi santoso"@example.id',
    "budi@[192.0.2.1]",
    "!#$%&'*/=?^`{|}~@example.id",
  ])("e-mail %s", (email) => {
    expect(validateCommand(command({ customer: { email } }), CONTEXT).isValid).toBe(true);
  });

  test.each([
    "toko",
    "@example.id",
    "toko@",
    "toko@example",
    "toko@example..id",
    "toko@.id",
    "toko@example.id.",
    "to ko@example.id",
    "toko@example.id, budi@example.id",
    "Toko <toko@example.id>",
    "toko@@example.id",
    "toko@exa mple.id",
    "toko\n@example.id",
  ])("but not e-mail %j", (email) => {
    expect(validateCommand(command({ customer: { email } }), CONTEXT).isValid).toBe(false);
  });

  test.each<[string, Change]>([
    ["a tax number with punctuation", { customer: { npwp: "01.234.567.8-901.234" } }],
    ["a tax number of 16 digits", { customer: { npwp: "0123456789012345" } }],
    ["a landline", { customer: { msisdn: "+62215551234" } }],
    ["a foreign number", { customer: { msisdn: "+442079460018" } }],
    ["a nominal fee above 100", tiers({ fee: 5000 })],
    ["a tier of one day", tiers({ valid_to: "2024-01-01T23:59:59" })],
    ["the 29th of February of a leap year", tiers({ valid_from: "2024-02-29T00:00:00" })],
    ["no beneficiary account", { "beneficiary-account": null }],
    ["crew without user names", crew({ username: "" }, { username: "" })],
  ])("%s", (_, change) => {
    expect(validateCommand(command(change), CONTEXT)).toMatchObject({ errors: [], warnings: [] });
  });

  test("a time that exists, and no other", () => {
    const two = (min: number, max: number) =>
      fc.integer({ min, max }).map((number) => String(number).padStart(2, "0"));
    const date = [two(0, 13), fc.oneof(two(0, 32), two(28, 31))] as const;
    const clock = [two(0, 25), two(58, 60), two(58, 61)] as const;
    const year = fc.constantFrom("0000", "0004", "1900", "2000", "2023", "2024", "2100", "9999");
    fc.assert(
      fc.property(year, ...date, ...clock, (at, month, day, hour, minute, second) => {
        const text = `${at}-${month}-${day}T${hour}:${minute}:${second}`;
        const time = Date.parse(`${text}Z`);
        // JavaScript reads the 30th of February as the 1st of March.
        const exists = !Number.isNaN(time) && new Date(time).toISOString().startsWith(text);

        const { errors } = validateCommand(command(tiers({ valid_to: text })), CONTEXT);

        expect(errors.some(({ rule }) => rule === "date_malformed")).toBe(!exists);
      }),
      { numRuns: 2_000 },
    );
  });

  test("a number without a country code, where the default country is given", () => {
    const handmade = command({ customer: { msisdn: "081234567890" } });

    expect(validateCommand(handmade, { ...CONTEXT, defaultCountry: "ID" }).isValid).toBe(true);
  });
});

test("messages never contain a value", () => {
  const secret = fc.stringMatching(/^SECRET[0-9@ .]{0,12}$/);

  fc.assert(
    fc.property(secret, secret, (first, second) => {
      const telling = command({
        customer: { email: first, msisdn: first, ktp: first, npwp: first },
        "customer-crew": [
          { ...CREW, email: second, msisdn: second, ktp: second, npwp: second, username: first },
          { ...CREW, username: first },
        ],
        tier: [{ ...TIER, valid_from: first, valid_to: second }],
      });

      const validation = validateCommand(telling, CONTEXT);

      expect(validation.errors.length).toBeGreaterThan(4);
      expect(JSON.stringify(validation)).not.toContain("SECRET");
    }),
  );
});

test("a command built by hand gets findings, never an exception", () => {
  fc.assert(
    fc.property(fc.anything(), fc.anything(), fc.anything(), (customer, tier, crewMembers) => {
      const handmade = { customer, tier, "customer-crew": crewMembers } as CustomerCommand;

      expect(validateCommand(handmade, CONTEXT).isValid).toBe(false);
    }),
  );
});

const ADDRESS = {
  building: "Gedung A",
  street: "Jalan Sudirman 1",
  region: "Setiabudi",
  city: "Jakarta",
  state: "DKI Jakarta",
  country: "Indonesia",
  zip_code: "12920",
};

const NO_ADDRESS = { ...ADDRESS, building: "", street: "", region: "", city: "", state: "" };

const TIER: CommandTier = {
  tier_type: "nominal",
  tier_category: "discount",
  min_amount: 0,
  max_amount: 1000,
  fee: 10,
  valid_from: "2024-01-01T00:00:00",
  valid_to: "2024-12-31T23:59:59",
};

const CREW: CommandCrew = {
  ktp: "",
  npwp: "",
  name: "Budi",
  msisdn: "+6281234567890",
  email: "budi@example.id",
  username: "budi",
};

const BENEFICIARY = {
  firstname: "Siti",
  lastname: "Aini",
  bank: { id: "ext-bank" },
  account_number: "1234567",
  account_name: "Siti Aini",
  account_type: { id: "1" },
  customer_type: { id: "2" },
  region_code: { id: "31" },
  country_code: { id: "IDN" },
  customer_status: { id: "1" },
} as const;

type Change = Partial<Omit<CustomerCommand, "customer" | "branch">> & {
  readonly customer?: Partial<CustomerCommand["customer"]>;
  readonly branch?: Partial<CustomerCommand["branch"]>;
};

function command(change: Change = {}): CustomerCommand {
  return {
    tier: [TIER],
    "customer-crew": [CREW],
    "beneficiary-account": BENEFICIARY,
    ...change,
    customer: {
      name: "Toko Maju",
      email: "toko@example.id",
      msisdn: "+6281234567890",
      address: ADDRESS,
      customer_role: "branch",
      parent_id: null,
      customer_type: "INDIVIDUAL",
      ktp: "3174012345678901",
      npwp: "012345678901234",
      ...change.customer,
    },
    branch: { name: "Toko Maju", code: "A-1", address: ADDRESS, ...change.branch },
  };
}

function tiers(
  ...changes: { readonly [Key in keyof CommandTier]?: CommandTier[Key] | undefined }[]
): Change {
  // An absent key, as toCommand leaves it: undefined takes the template's value away.
  const all = changes.map((change) =>
    Object.fromEntries(
      Object.entries({ ...TIER, ...change }).filter(([, value]) => value !== undefined),
    ),
  );
  return { tier: all as unknown as CommandTier[] };
}

function crew(...changes: Partial<CommandCrew>[]): Change {
  return { "customer-crew": changes.map((change) => ({ ...CREW, ...change })) };
}

function beneficiary(change: Partial<NonNullable<CustomerCommand["beneficiary-account"]>>): Change {
  return { "beneficiary-account": { ...BENEFICIARY, ...change } };
}
