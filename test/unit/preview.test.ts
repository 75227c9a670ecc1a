/** The preview: what it reports of an account, and that each of its judgements can turn out either way. */
import { hash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Account } from "../../src/account/account.ts";
import { fieldsOf } from "../../src/customer-command/field-paths.ts";
import { fieldFingerprintsOf, fingerprintOf } from "../../src/customer-command/fingerprint.ts";
import { type PreviewInput, previewCommand } from "../../src/customer-command/preview.ts";
import { toCommand } from "../../src/customer-command/transform.ts";
import { anAccount, aPic, aTier } from "../support/sample-account.ts";

const NOTHING_KEPT = { isCurrent: false, fingerprint: null, fieldFingerprints: null };
const OPTIONS = { defaultCountry: "ID", referenceField: null };

test("a good account: what was given, what would be sent, and nothing to say", () => {
  const account = anAccount({});

  const preview = previewOf(account, { originalData: { id: "a1", package_tiers: [{ id: "t0" }] } });

  expect(preview).toMatchObject({
    success: true,
    mode: "debug",
    originalData: { id: "a1", package_tiers: [{ id: "t0" }] },
    transformedData: toCommand(account, OPTIONS).command,
    validationResult: { isValid: true, errors: [], warnings: [] },
    debugReport: {
      operation: "create",
      obstacle: null,
      recommendations: [],
      integrityFindings: [],
    },
    summary: {
      canSend: true,
      totalIssues: 0,
      customerName: "Toko Maju",
      dataIntegrity: "PASS",
    },
  });
  expect(JSON.parse(JSON.stringify(preview))).toEqual(preview);
});

describe("personal numbers", () => {
  test("keep their shape and their last digits only", () => {
    const account = anAccount({ ktp: "3174012345678901", npwp: "01.234.567.8-901.234" });

    const { previewData, transformedData } = previewOf(account);

    expect(previewData.customer).toMatchObject({
      name: "Toko Maju",
      ktp: "************8901",
      npwp: "**.***.***.*-**1.234",
      msisdn: "+*********7890",
    });
    expect(previewData["customer-crew"][0]?.msisdn).toBe("+*********2222");
    expect(previewData["beneficiary-account"]?.account_number).toBe("*****67");
    expect(transformedData.customer.ktp).toBe("3174012345678901");
  });

  test("never show more than a third, nor more than four digits", () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[0-9A-Za-z.\- ]{0,40}$/), (number) => {
        const { previewData } = previewOf(anAccount({ ktp: number }));

        const characters = (text: string) => text.match(/[\p{L}\p{N}]/gu)?.length ?? 0;
        expect(previewData.customer.ktp).toHaveLength(number.length);
        expect(characters(previewData.customer.ktp)).toBeLessThanOrEqual(
          Math.min(4, characters(number) / 3),
        );
      }),
    );
  });
});

describe("what stands in the way", () => {
  test.each<[string, Account, RegExp]>([
    ["it is not valid", anAccount({ name: "" }), /not valid/],
    [
      "its parent is not there yet",
      anAccount({ parent: { id: "a0", externalId: null } }),
      /parent a0/,
    ],
    [
      "it is too large",
      anAccount({
        pics: Array.from({ length: 2_000 }, (_, n) =>
          aPic({ id: `p${n}`, name: `${n}${'"'.repeat(300)}` }),
        ),
      }),
      /bytes; at most/,
    ],
  ])("%s", (_, account, obstacle) => {
    const { debugReport, summary } = previewOf(account);

    expect(summary.canSend).toBe(false);
    expect(debugReport.obstacle).toMatch(obstacle);
    expect(debugReport.recommendations.length).toBeGreaterThan(0);
  });

  test("each finding comes with where to correct it, in the language that was asked for", () => {
    const account = anAccount({ name: "", tiers: [aTier({}), aTier({ id: "t1", maxValue: 500 })] });

    const { debugReport, summary } = previewOf(account, { language: "id" });

    expect(debugReport.recommendations).toEqual([
      {
        field: "customer.name",
        severity: "error",
        rule: "required",
        columns: ["m_account.name"],
        message: "Isi m_account.name: tanpa itu tidak ada yang dikirim.",
      },
      {
        field: "branch.name",
        severity: "error",
        rule: "required",
        columns: ["m_account.name"],
        message: "Isi m_account.name: tanpa itu tidak ada yang dikirim.",
      },
      {
        field: "tier[1]",
        severity: "warning",
        rule: "tier_overlap",
        columns: [
          "m_account_package_tier.min_value",
          "m_account_package_tier.max_value",
          "m_account_package_tier.start_date",
          "m_account_package_tier.end_date",
        ],
        message: expect.stringContaining("Geser batas atau tanggal"),
      },
    ]);
    expect(summary.totalIssues).toBe(3);
  });
});

describe("the difference to the command last accepted", () => {
  test.each<[string, Account, PreviewInput["lastAccepted"], string]>([
    ["nobody was asked", anAccount({}), null, "unknown"],
    ["nothing is known, and it has no id", anAccount({}), NOTHING_KEPT, "none_accepted"],
    [
      "nothing is known, and it has an id",
      anAccount({ externalId: "ext" }),
      NOTHING_KEPT,
      "unknown",
    ],
    ["the same was accepted", anAccount({ externalId: "ext" }), accepted(anAccount({})), "same"],
    [
      "another one was accepted",
      anAccount({}),
      accepted(anAccount({ name: "Toko Lama" })),
      "different",
    ],
  ])("when %s", (_, account, lastAccepted, status) => {
    expect(previewOf(account, { lastAccepted }).debugReport.difference.status).toBe(status);
  });

  test("names the paths that were added, removed or changed", () => {
    const before = anAccount({ email: "lama@example.id", tiers: [aTier({ endDate: null })] });
    const after = anAccount({
      tiers: [aTier({ startDate: null }), aTier({ id: "t1", minValue: 5_000, maxValue: 6_000 })],
      bankAccounts: [],
    });

    const { difference } = previewOf(after, { lastAccepted: accepted(before) }).debugReport;

    expect(difference).toEqual({
      status: "different",
      isCurrent: true,
      paths: {
        added: ["tier[0].valid_to", "tier[1]", "beneficiary-account"],
        removed: expect.arrayContaining([
          "tier[0].valid_from",
          "beneficiary-account.account_number",
        ]),
        changed: ["customer.email"],
      },
    });
  });

  test("is found where the journal holds fingerprints of fields as versions before 2 made them", () => {
    const before = anAccount({ email: "lama@example.id" });
    const { fingerprint } = accepted(before);
    const fieldFingerprints = Object.fromEntries(
      fieldsOf(toCommand(before, OPTIONS).command).map(({ path, value }) => [
        path,
        hash("sha256", JSON.stringify(["a1", path, value])).slice(0, 4),
      ]),
    );

    const { difference } = previewOf(anAccount({}), {
      lastAccepted: { isCurrent: true, fingerprint, fieldFingerprints },
    }).debugReport;

    expect(difference.paths).toEqual({ added: [], removed: [], changed: ["customer.email"] });
  });

  test("is not told by fingerprints that another version made", () => {
    const { fingerprint } = accepted(anAccount({ email: "lama@example.id" }));

    const { difference } = previewOf(anAccount({}), {
      lastAccepted: { isCurrent: true, fingerprint, fieldFingerprints: "3(customer(email:0f3a))" },
    }).debugReport;

    expect(difference).toEqual({ status: "different", isCurrent: true, paths: null });
  });

  test("does not pretend to know the paths when only the whole fingerprint was kept", () => {
    const { fingerprint } = accepted(anAccount({ name: "Toko Lama" }));

    const { difference } = previewOf(anAccount({}), {
      lastAccepted: { isCurrent: true, fingerprint, fieldFingerprints: null },
    }).debugReport;

    expect(difference).toEqual({ status: "different", isCurrent: true, paths: null });
  });
});

test("neither findings nor report carry a value", () => {
  const secret = "SECRET-9";
  const account = anAccount({
    name: " ",
    email: secret,
    phoneNo: secret,
    ktp: secret,
    pics: [aPic({ email: secret, phoneNo: secret, npwp: secret })],
  });

  const { debugReport, validationResult } = previewOf(account, {
    lastAccepted: accepted(anAccount({})),
  });

  expect(validationResult.errors.length).toBeGreaterThan(3);
  expect(JSON.stringify([debugReport, validationResult])).not.toContain(secret);
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

function accepted(account: Account) {
  const { command } = toCommand(account, OPTIONS);
  return {
    isCurrent: true,
    fingerprint: fingerprintOf(command),
    fieldFingerprints: fieldFingerprintsOf(command, account.id),
  };
}
