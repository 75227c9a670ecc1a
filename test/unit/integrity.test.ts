/** The preview's check of the transform: it finds what a transform could lose or change, and nothing in what ours makes. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Account } from "../../src/account/account.ts";
import type { CustomerCommand } from "../../src/customer-command/command.ts";
import { checkIntegrity } from "../../src/customer-command/integrity.ts";
import { type PreviewInput, previewCommand } from "../../src/customer-command/preview.ts";
import { toCommand } from "../../src/customer-command/transform.ts";
import { aBankAccount, anAccount, aPic, aTier } from "../support/sample-account.ts";

const OPTIONS = { defaultCountry: "ID", referenceField: null };

describe("data integrity", () => {
  const account = anAccount({
    externalId: "ext-a",
    tiers: [aTier({ externalId: "ext-t" }), aTier({ id: "t1", minValue: 5_000, maxValue: 6_000 })],
    pics: [aPic({ externalId: "ext-p" })],
  });
  type Draft = { -readonly [Key in keyof CustomerCommand]: CustomerCommand[Key] };

  test.each<[string, (command: Draft) => void, string, string]>([
    [
      "a tier is missing",
      (command) => {
        command.tier = command.tier.slice(0, 1);
      },
      "rows_missing",
      "tier",
    ],
    [
      "there is a tier too many",
      (command) => {
        command.tier = [...command.tier, ...command.tier.slice(0, 1)];
      },
      "rows_unknown",
      "tier",
    ],
    [
      "a contact person is missing",
      (command) => {
        command["customer-crew"] = [];
      },
      "rows_missing",
      "customer-crew",
    ],
    [
      "the bank account is missing",
      (command) => {
        command["beneficiary-account"] = null;
      },
      "rows_missing",
      "beneficiary-account",
    ],
    [
      "an amount is another one",
      (command) => {
        command.tier = command.tier.map((item) => ({ ...item, fee: 6 }));
      },
      "value_changed",
      "tier[0].fee",
    ],
    [
      "an id is another one",
      (command) => {
        command.tier = command.tier.map((item) => ({ ...item, id: "ext-x" }));
      },
      "value_changed",
      "tier[0].id",
    ],
    [
      "a day is another one",
      (command) => {
        command.tier = command.tier.map((item) => ({ ...item, valid_from: "2025-12-31T00:00:00" }));
      },
      "value_changed",
      "tier[0].valid_from",
    ],
    [
      "the name is another one",
      (command) => {
        command.customer = { ...command.customer, name: "Toko" };
      },
      "value_changed",
      "customer.name",
    ],
    [
      "the customer's id is another one",
      (command) => {
        command.customer = { ...command.customer, id: "ext-x" };
      },
      "value_changed",
      "customer.id",
    ],
  ])("fails when %s", (_, spoil, check, field) => {
    const { command, sent } = toCommand(account, OPTIONS);
    const spoilt: Draft = { ...command };
    spoil(spoilt);

    const findings = checkIntegrity({
      originalData: null,
      account,
      command: spoilt,
      sent,
      language: "en",
    });

    expect(findings[0]).toMatchObject({ check, field });
  });

  test.each<[string, object]>([
    ["package_tiers", { package_tiers: [{ id: "t0" }, { id: "t9" }] }],
    ["account_pic", { account_pic: [{ name: "Budi" }, { name: "Siti" }] }],
  ])("fails when a row given as %s did not arrive", (field, originalData) => {
    const { debugReport, summary } = previewOf(account, { originalData });

    expect(summary.dataIntegrity).toBe("FAIL");
    expect(debugReport.integrityFindings).toMatchObject([{ check: "input_lost", field }]);
    expect(debugReport.recommendations.at(-1)).toMatchObject({ field, severity: "error" });
  });

  test("holds for every account that the transform is given", () => {
    fc.assert(
      fc.property(anyAccount(), (any) => {
        expect(previewOf(any, { originalData: any }).debugReport.integrityFindings).toEqual([]);
      }),
    );
  });
});

function previewOf(account: Account, input: Partial<PreviewInput> = {}) {
  return previewCommand({
    originalData: null,
    account,
    mapping: OPTIONS,
    language: "en",
    lastAccepted: null,
    ...input,
  });
}

function anyAccount(): fc.Arbitrary<Account> {
  const id = fc.option(fc.constantFrom("ext-1", "ext-2", " "));
  const amount = fc.option(fc.double({ noDefaultInfinity: true }));
  const date = fc.option(fc.constantFrom("2026-01-01", "infinity", "0044-03-15 BC"));
  return fc
    .record({
      name: fc.option(fc.string()),
      externalId: id,
      tiers: fc.array(
        fc.record({
          minValue: amount,
          maxValue: amount,
          amount,
          startDate: date,
          endDate: date,
          percentage: fc.boolean(),
          isActive: fc.boolean(),
          externalId: id,
        }),
      ),
      pics: fc.array(
        fc.record({ name: fc.option(fc.string()), isActive: fc.boolean(), externalId: id }),
      ),
      bankRows: fc.array(fc.boolean()),
    })
    .map(({ tiers, pics, bankRows, ...account }) =>
      anAccount({
        ...account,
        tiers: tiers.map((row, index) => aTier({ ...row, id: `t${index}` })),
        pics: pics.map((row, index) => aPic({ ...row, id: `p${index}` })),
        bankAccounts: bankRows.map((isActive, index) =>
          aBankAccount({ id: `b${index}`, isActive }),
        ),
      }),
    );
}
