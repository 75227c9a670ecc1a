/** The body of a 2xx in all its forms: which ids it gives, what it refuses, and what is no answer. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readAnswer } from "../../src/customer-api/answer.ts";
import { errorMessages } from "../../src/customer-api/error-messages.ts";

const BODY = {
  customer: { data: { id: "ext-customer-123" } },
  branch: { data: { id: "ext-branch-456" } },
  tier: { data: [{ id: "ext-tier-789" }, { id: "ext-tier-101" }] },
  crew: { data: [{ id: "ext-crew-202" }, { id: "ext-crew-303" }] },
};

describe("an answer in all its forms", () => {
  test.each<[string, unknown]>([
    ["bare", BODY],
    ["wrapped", { data: BODY }],
    ["wrapped twice", { success: true, data: { data: BODY } }],
    ["the customer's id without data", { ...BODY, customer: { id: "ext-customer-123" } }],
    [
      "the customer's id beside its data",
      { ...BODY, customer: { id: "ext-customer-123", data: { name: "Toko" } } },
    ],
    ["the customer's id alone", { ...BODY, customer: undefined, customer_id: "ext-customer-123" }],
    [
      "the customer's id beside a section without it",
      { ...BODY, customer: { data: null }, customer_id: "ext-customer-123" },
    ],
    ["sections as plain lists", { ...BODY, tier: BODY.tier.data, crew: BODY.crew.data }],
    ["tiers.data", { ...BODY, tier: undefined, tiers: BODY.tier }],
    ["tiers", { ...BODY, tier: null, tiers: BODY.tier.data }],
    ["tiers beside an empty tier", { ...BODY, tier: { data: [] }, tiers: BODY.tier.data }],
    ["crews", { ...BODY, crew: undefined, crews: BODY.crew.data }],
    ["customer-crew", { ...BODY, crew: undefined, "customer-crew": BODY.crew }],
  ])("%s", (_, json) => {
    const answer = readAnswer(json);

    expect(answer?.refusal).toBeNull();
    expect(idsOf(answer?.customer)).toEqual(["ext-customer-123"]);
    expect(idsOf(answer?.branch)).toEqual(["ext-branch-456"]);
    expect(idsOf(answer?.tier)).toEqual(["ext-tier-789", "ext-tier-101"]);
    expect(idsOf(answer?.crew)).toEqual(["ext-crew-202", "ext-crew-303"]);
  });

  test("sections that are missing are distinguished from empty ones", () => {
    const answer = readAnswer({ customer_id: 7, tier: { data: [] } });

    expect(answer?.tier).toEqual({ present: true, items: [], failed: 0, errors: [] });
    expect(answer?.crew).toEqual({ present: false, items: [], failed: 0, errors: [] });
    expect(answer?.customer.present).toBe(true);
  });

  test("an item keeps what was echoed with it", () => {
    const answer = readAnswer({ tier: [{ id: 1, min_amount: "5.00" }] });

    expect(answer?.tier.items).toEqual([{ id: "1", raw: { id: 1, min_amount: "5.00" } }]);
  });

  test.each<[unknown, string | null]>([
    ["x", "x"],
    [" x ", " x "],
    [42, "42"],
    [0, "0"],
    ["x".repeat(255), "x".repeat(255)],
    ["\u{1f600}".repeat(255), "\u{1f600}".repeat(255)],
    ["x".repeat(256), null],
    ["", null],
    ["  ", null],
    ["a\u0000b", null],
    ["\ud800", null],
    // Bytes that are no UTF-8 were read: another id can look the same.
    ["caf\ufffd", null],
    ["caf\u00e9", "caf\u00e9"],
    ["cafe\u0301", "cafe\u0301"],
    [2 ** 53, null],
    [1.5, null],
    [Number.NaN, null],
    [null, null],
    [undefined, null],
    [true, null],
    [["x"], null],
    [{ id: "x" }, null],
  ])("the id %j is read as %j", (id, expected) => {
    const answer = readAnswer({ tier: [{ id }] });

    expect(idsOf(answer?.tier)).toEqual([expected]);
  });

  test("an item that is no object still counts as one, without an id", () => {
    const answer = readAnswer({ crew: { data: ["x1", null, { id: "x3" }] } });

    expect(idsOf(answer?.crew)).toEqual([null, null, "x3"]);
  });
});

describe("what failed within an answer", () => {
  test.each<[string, unknown, number, string[]]>([
    ["a count and texts", { failed: 2, errors: ["fee", "date"] }, 2, ["fee", "date"]],
    ["texts alone are counted", { errors: ["fee", "date"] }, 2, ["fee", "date"]],
    ["a count as text", { failed: "3" }, 3, []],
    ["the failed items themselves", { failed: [{ name: "x" }] }, 1, []],
    ["objects with a message", { errors: [{ message: "fee", index: 0 }] }, 1, ["fee"]],
    ["one text", { errors: "fee" }, 1, ["fee"]],
    ["one error", { error: { message: "fee" } }, 1, ["fee"]],
    [
      "lists by field",
      { errors: { fee: ["too high"], date: ["wrong"] } },
      2,
      ["too high", "wrong"],
    ],
    [
      "zero counts before texts",
      { failed: 0, errors: ["just so you know"] },
      0,
      ["just so you know"],
    ],
    ["nonsense", { failed: "some", errors: {} }, 0, []],
    ["nothing", {}, 0, []],
  ])("%s", (_, fields, failed, errors) => {
    const answer = readAnswer({ tier: { data: [], ...(fields as object) } });

    expect(answer?.tier).toMatchObject({ present: true, failed, errors });
  });

  test("a section longer than any account could make it is read without items", () => {
    const items = Array.from({ length: 10_001 }, (_, index) => ({ id: index }));

    const tier = readAnswer({ tier: items })?.tier;

    expect(tier?.items).toEqual([]);
    expect(tier?.errors).toEqual(["more than 10000 items"]);
  });
});

describe("a refusal with status 200", () => {
  test.each<[string, unknown, string]>([
    ["in the body", { success: false, error: "name is taken" }, "name is taken"],
    ["below data", { data: { success: false, message: "name is taken" } }, "name is taken"],
    ["above data", { success: false, data: { errors: ["a", { message: "b" }] } }, "a; b"],
    ["without a reason", { success: false }, "the API answered success: false and gave no reason"],
  ])("%s", (_, json, refusal) => {
    expect(readAnswer(json)?.refusal).toBe(refusal);
  });

  test("it does not hide the sections", () => {
    const answer = readAnswer({ success: false, data: BODY });

    expect(answer?.refusal).not.toBeNull();
    expect(idsOf(answer?.customer)).toEqual(["ext-customer-123"]);
  });
});

describe("what is no answer", () => {
  test.each<[unknown]>([
    [null],
    [undefined],
    ["<html>"],
    [42],
    [[]],
    [[BODY]],
    [{}],
    [{ data: {} }],
    [{ success: true }],
    [{ success: "false" }],
    [{ customer: null, tier: null }],
    [{ customer: "ext-customer-123" }],
    [{ customer_id: "" }],
    [{ error: "not found" }],
    [{ data: { data: { data: BODY } } }],
  ])("%j", (json) => {
    expect(readAnswer(json)).toBeNull();
  });
});

test("no JSON makes the readers throw or break their bounds", () => {
  const key = fc.constantFrom(
    "data",
    "customer",
    "tier",
    "crew",
    "id",
    "errors",
    "message",
    "failed",
    "success",
  );
  const { json } = fc.letrec((tie) => ({
    json: fc.oneof(
      { depthSize: "medium" },
      fc.jsonValue(),
      fc.constant(false),
      fc.array(tie("json"), { maxLength: 3 }),
      fc.dictionary(key, tie("json"), { maxKeys: 4 }),
    ),
  }));

  fc.assert(
    fc.property(json, (body) => {
      const answer = readAnswer(body);
      const messages = errorMessages(body);

      for (const section of answer === null
        ? []
        : [answer.customer, answer.branch, answer.tier, answer.crew]) {
        for (const id of idsOf(section)) expect(id).not.toBe("");
        expect(section.failed).toBeGreaterThanOrEqual(0);
        expect(section.errors.length).toBeLessThanOrEqual(20);
      }
      expect(messages.length).toBeLessThanOrEqual(20);
    }),
    { numRuns: 1000 },
  );
});

function idsOf(
  section: { items: readonly { id: string | null }[] } | undefined,
): (string | null)[] {
  return section?.items.map((item) => item.id) ?? [];
}
