import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Account } from "../../src/account/account.ts";
import { fingerprintsByPath } from "../../src/customer-command/field-fingerprints.ts";
import { fieldsOf } from "../../src/customer-command/field-paths.ts";
import {
  fieldFingerprintsOf,
  fingerprintOf,
  serializeCommand,
} from "../../src/customer-command/fingerprint.ts";
import { toCommand } from "../../src/customer-command/transform.ts";
import { anAccount, aPic, aTier } from "../support/sample-account.ts";

test("the create form and the update form of the same data have one fingerprint", () => {
  fc.assert(
    fc.property(anyAccount(), fc.option(fc.constant("ref")), (account, referenceField) => {
      const created = fingerprint(withoutIds(account), referenceField);

      expect(fingerprint({ ...account, externalId: "ext" }, referenceField)).toBe(created);
      expect(fingerprint({ ...account, externalId: null }, referenceField)).toBe(created);
    }),
  );
});

test("a fingerprint is 64 hex digits and the same in every process", () => {
  const account: Account = { ...EMPTY, id: "a1", name: "Toko" };

  // Written down, not computed: it moves only together with MAPPING_VERSION.
  expect(fingerprint(account)).toBe(
    "dfb33368c10425e4f4a2b3248ed33251e62f8f31c805603c4f13524853782b62",
  );
});

test("the fingerprint of an update is the one that existing databases hold", () => {
  const account = anAccount({
    externalId: "ext",
    branchExternalId: "ext-branch",
    tiers: [aTier({ externalId: "ext-tier" })],
    pics: [aPic({ externalId: "ext-pic" })],
  });

  // Written down, as above.
  expect(fingerprint(account, "ref")).toBe(
    "407d3835cae4a039a1aa2f8b1c12e045fe8d6550815cc7618434b557a442452d",
  );
});

test("body and fingerprint made together are those made alone", () => {
  fc.assert(
    fc.property(anyAccount(), fc.option(fc.constant("ref")), (account, referenceField) => {
      const { command } = toCommand(account, { defaultCountry: "ID", referenceField });

      expect(serializeCommand(command)).toEqual({
        body: JSON.stringify(command),
        fingerprint: fingerprintOf(command),
      });
    }),
  );
});

test.each<[string, Partial<Account>]>([
  ["the name", { name: "Toko Lain" }],
  ["the parent", { parent: { id: "a0", externalId: "ext-parent" } }],
  ["the type", { typeName: "parent" }],
  ["one more tier", { tiers: [tier(), tier()] }],
  ["an amount", { tiers: [{ ...tier(), amount: 11 }] }],
  ["a crew member's e-mail", { pics: [{ ...pic(), email: "budi@example.id" }] }],
  ["the bank", { bankAccounts: [{ ...bankAccount(), bankExternalId: "ext-bank-2" }] }],
])("%s changes the fingerprint", (_, change) => {
  const account = { ...EMPTY, tiers: [tier()], pics: [pic()], bankAccounts: [bankAccount()] };

  expect(fingerprint({ ...account, ...change })).not.toBe(fingerprint(account));
});

test("a command read back from its JSON text keeps its fingerprint", () => {
  fc.assert(
    fc.property(anyAccount(), (account) => {
      const { command } = toCommand(account, { defaultCountry: "ID", referenceField: null });

      expect(fingerprintOf(JSON.parse(JSON.stringify(command)))).toBe(fingerprintOf(command));
    }),
  );
});

const OPTIONS = { defaultCountry: "ID", referenceField: null };

const EMPTY: Account = {
  id: "a1",
  accountNo: null,
  name: null,
  phoneNo: null,
  email: null,
  typeName: null,
  isActive: true,
  ktp: null,
  npwp: null,
  externalId: null,
  branchExternalId: null,
  parent: null,
  tiers: [],
  pics: [],
  addresses: [],
  bankAccounts: [],
};

describe("fingerprints of fields", () => {
  const account: Account = {
    ...EMPTY,
    tiers: [tier()],
    pics: [pic()],
    bankAccounts: [bankAccount()],
  };

  test("differ where the values differ, and nowhere else", () => {
    const before = fields(account);
    const after = fields({ ...account, name: "Toko Lain", tiers: [{ ...tier(), amount: 11 }] });

    const changed = Object.keys(before).filter((path) => before[path] !== after[path]);

    expect(Object.keys(after)).toEqual(Object.keys(before));
    expect(changed).toEqual(["customer.name", "tier[0].fee", "branch.name"]);
  });

  test("are the same for the create form and the update form", () => {
    const withIds = {
      ...account,
      externalId: "ext",
      branchExternalId: "ext-branch",
      tiers: [{ ...tier(), externalId: "ext-tier" }],
      pics: [{ ...pic(), externalId: "ext-pic" }],
    };

    expect(fields(withIds)).toEqual(fields(account));
  });

  test("are four hex digits, which reveal no value, nor that two accounts share one", () => {
    const one = fields({ ...account, name: "Toko" });
    const other = fields({ ...account, id: "a2", name: "Toko" });

    for (const fingerprint of Object.values(one)) expect(fingerprint).toMatch(/^[0-9a-f]{4}$/);
    expect(other["customer.name"]).not.toBe(one["customer.name"]);
    expect(one["branch.name"]).not.toBe(one["customer.name"]);
  });

  test("are as many as their four digits allow", () => {
    const numbers = Array.from({ length: 20_000 }, (_, n) => `08123${String(n).padStart(7, "0")}`);

    const distinct = new Set(numbers.map((ktp) => fields({ ...EMPTY, ktp })["customer.ktp"]));

    // Of 65,536, so many are met by 20,000 values at random; the deviation is about a hundred.
    expect(distinct.size).toBeGreaterThan(17_230 - 400);
    expect(distinct.size).toBeLessThan(17_230 + 400);
  });

  test("tell a number from the text of it", () => {
    const tierOf = (fee: unknown) => ({ ...toCommand(account, OPTIONS).command, tier: [{ fee }] });
    const fee = (value: unknown) =>
      fingerprintsByPath(fieldFingerprintsOf(tierOf(value) as never, "a1") ?? "")["tier[0].fee"];

    expect(new Set([fee(5), fee("5"), fee(null), fee("null")]).size).toBe(4);
  });

  test("are not kept of a command with thousands of fields", () => {
    const tiers = Array.from({ length: 150 }, (_, n) => ({ ...tier(), id: `t${n}` }));
    const { command } = toCommand({ ...EMPTY, tiers }, OPTIONS);

    expect(fieldFingerprintsOf(command, "a1")).toBeNull();
  });

  test("are kept in half the length of their paths, and read as they were made", () => {
    const { command } = toCommand(account, OPTIONS);
    const kept = fieldFingerprintsOf(command, account.id) ?? "";

    const paths = fieldsOf(command).map(({ path }) => path);
    expect(Object.keys(fingerprintsByPath(kept))).toEqual(paths);
    expect(kept.length).toBeLessThan(JSON.stringify(fingerprintsByPath(kept)).length * 0.6);
  });

  function fields(of: Account) {
    return fingerprintsByPath(fieldFingerprintsOf(toCommand(of, OPTIONS).command, of.id) ?? "2()");
  }
});

function fingerprint(account: Account, referenceField: string | null = null): string {
  return fingerprintOf(toCommand(account, { defaultCountry: "ID", referenceField }).command);
}

function withoutIds(account: Account): Account {
  return {
    ...account,
    externalId: null,
    branchExternalId: null,
    tiers: account.tiers.map((tier) => ({ ...tier, externalId: null })),
    pics: account.pics.map((pic) => ({ ...pic, externalId: null })),
  };
}

function tier() {
  return {
    id: "t1",
    minValue: 0,
    maxValue: 100,
    amount: 10,
    startDate: "2024-01-01",
    endDate: "2024-12-31",
    percentage: false,
    isActive: true,
    billingMethod: null,
    externalId: null,
  };
}

function pic() {
  return {
    id: "p1",
    name: "Budi",
    phoneNo: null,
    email: null,
    ktp: null,
    npwp: null,
    username: null,
    isActive: true,
    createdAt: null,
    externalId: null,
  };
}

function bankAccount() {
  return {
    id: "b1",
    bankExternalId: "ext-bank",
    accountNumber: null,
    holderName: null,
    holderFirstname: null,
    holderLastname: null,
    isActive: true,
    createdAt: null,
  };
}

function anyAccount(): fc.Arbitrary<Account> {
  const text = fc.option(fc.string({ maxLength: 8 }));
  const externalId = fc.option(fc.uuid());
  const amount = fc.option(fc.integer({ min: 0, max: 1000 }).map((cents) => cents / 100));
  const anyTier = fc.record({
    id: fc.uuid(),
    minValue: amount,
    maxValue: amount,
    amount,
    startDate: fc.option(fc.constantFrom("2024-01-01", "2024-06-01")),
    endDate: fc.option(fc.constantFrom("2024-12-31", "2025-12-31")),
    percentage: fc.boolean(),
    isActive: fc.boolean(),
    billingMethod: fc.option(fc.constantFrom("auto deduct", "invoice")),
    externalId,
  });
  const anyPic = fc.record({
    id: fc.uuid(),
    name: text,
    phoneNo: text,
    email: text,
    ktp: text,
    npwp: text,
    username: text,
    isActive: fc.boolean(),
    createdAt: text,
    externalId,
  });

  return fc.record({
    id: fc.uuid(),
    accountNo: text,
    name: text,
    phoneNo: text,
    email: text,
    typeName: text,
    isActive: fc.boolean(),
    ktp: text,
    npwp: text,
    externalId,
    branchExternalId: externalId,
    parent: fc.option(fc.record({ id: fc.uuid(), externalId })),
    tiers: fc.array(anyTier, { maxLength: 4 }),
    pics: fc.array(anyPic, { maxLength: 4 }),
    addresses: fc.constant([]),
    bankAccounts: fc.constant([bankAccount()]),
  });
}
