/**
 * Ids that are JSON numbers: at every place where the API, a NOTIFY or a request to the console may hold an id, it arrives digit for
 * digit. Through the text, as it comes from the network: what a parser has lost, no later check can find.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readNotification } from "../../src/capture/notification.ts";
import type { ApiResult } from "../../src/customer-api/customer-api.ts";
import type { HttpAnswer } from "../../src/customer-api/exchange.ts";
import { judgeCommand, judgeLookup } from "../../src/customer-api/judgement.ts";
import { echoedReference } from "../../src/customer-command/answered-id.ts";

/** Any whole number of up to 40 digits, as JSON may spell it, and its digits. */
const spelledNumber = fc
  .tuple(
    fc.bigInt({ min: -(10n ** 40n) + 1n, max: 10n ** 40n - 1n }),
    fc.constantFrom("", ".0", ".000", "e0", "E+0", "power", "fraction"),
  )
  .map(([number, form]) => {
    const digits = number.toString();
    const zeros = /0*$/.exec(digits)?.[0].length ?? 0;
    if (form === "power" && number !== 0n)
      return { digits, spelled: `${digits.slice(0, digits.length - zeros)}e${zeros}` };
    if (form === "fraction" && /^-?\d\d/.test(digits))
      return { digits, spelled: `${digits.slice(0, -1)}.${digits.slice(-1)}e1` };
    return { digits, spelled: /^[.eE]/.test(form) ? digits + form : digits };
  });

const ID = "@ID@";

const PLACES: readonly (readonly [string, object, "customer" | "branch" | "tier" | "crew"])[] = [
  ["customer.data.id", { customer: { data: { id: ID } } }, "customer"],
  ["customer.id", { customer: { id: ID } }, "customer"],
  ["customer_id", { customer_id: ID, branch: { data: { id: "b" } } }, "customer"],
  ["branch.data.id", { branch: { data: { id: ID } } }, "branch"],
  ["branch.id", { branch: { id: ID } }, "branch"],
  ["tier.data[].id", { tier: { data: [{ id: ID }] } }, "tier"],
  ["tier[].id", { tier: [{ id: ID }] }, "tier"],
  ["tiers.data[].id", { tiers: { data: [{ id: ID }] } }, "tier"],
  ["tiers[].id", { tiers: [{ id: ID }] }, "tier"],
  ["crew.data[].id", { crew: { data: [{ id: ID }] } }, "crew"],
  ["crew[].id", { crew: [{ id: ID }] }, "crew"],
  ["crews.data[].id", { crews: { data: [{ id: ID }] } }, "crew"],
  ["customer-crew.data[].id", { "customer-crew": { data: [{ id: ID }] } }, "crew"],
];

describe.each(PLACES)("in an answer, %s", (_, body, section) => {
  test.each<[string, (body: object) => unknown]>([
    ["bare", (bare) => bare],
    ["wrapped", (bare) => ({ data: bare })],
    ["wrapped twice", (bare) => ({ success: true, data: { data: bare } })],
  ])("%s: no digit is lost", (_name, wrap) => {
    fc.assert(
      fc.property(spelledNumber, ({ spelled, digits }) => {
        const result = judge(toText(wrap(body), spelled));

        expect(idsIn(result, section)).toEqual([digits]);
      }),
      { numRuns: 50 },
    );
  });
});

test.each<[string, object]>([
  ["a bare customer", { id: ID, code: "A-1" }],
  ["a list", [{ id: ID, code: "A-1" }]],
  [
    "a wrapped list of answers",
    { data: [{ customer: { data: { id: ID } }, branch: { data: { code: "A-1" } } }] },
  ],
])("in a lookup, %s: no digit is lost", (_, body) => {
  fc.assert(
    fc.property(spelledNumber, ({ spelled, digits }) => {
      const result = judgeLookup(answered(toText(body, spelled)), request("lookup"), {
        accountNo: "A-1",
        accountId: "1",
        referenceField: null,
        body: "{}",
        idempotencyKey: "k",
        mayBegin: () => true,
        signal: new AbortController().signal,
      });

      expect(result).toMatchObject({
        found: { kind: "one", answer: { customer: { items: [{ id: digits }] } } },
      });
    }),
  );
});

test("in a lookup, a customer whose number or reference differs in the last digit is not ours", () => {
  const wanted = "90071992547409931";
  const other = "90071992547409930";
  const text = (number: string) => `[{"id": 1, "code": ${number}, "ref": ${number}}]`;
  const look = (number: string, referenceField: string | null) =>
    judgeLookup(answered(text(number)), request("lookup"), {
      accountNo: wanted,
      accountId: wanted,
      referenceField,
      body: "{}",
      idempotencyKey: "k",
      mayBegin: () => true,
      signal: new AbortController().signal,
    });

  expect(look(wanted, null)).toMatchObject({ found: { kind: "one" } });
  expect(look(other, null)).toMatchObject({ found: { kind: "unclear" } });
  expect(look(wanted, "ref")).toMatchObject({ found: { kind: "one" } });
  expect(look(other, "ref")).not.toMatchObject({ found: { kind: "one" } });
});

test("an echoed local id: no digit is lost", () => {
  fc.assert(
    fc.property(spelledNumber, ({ spelled, digits }) => {
      const result = judge(`{"tier": [{"id": "t", "ref": ${spelled}}]}`);
      const item = result.kind === "accepted" ? result.answer.tier.items[0] : undefined;

      expect(item && echoedReference(item, "ref")).toBe(digits);
    }),
  );
});

test("an echoed local id that lost its digits in a caller's own parser names no row", () => {
  const raw = { ref: Number("90071992547409931") };

  expect(echoedReference({ id: "t", raw }, "ref")).toBeNull();
});

test("in a NOTIFY: no digit is lost", () => {
  fc.assert(
    fc.property(spelledNumber, spelledNumber, (account, config) => {
      const payload = `{"account_id": ${account.spelled}, "config_id": ${config.spelled}}`;

      expect(readNotification(payload, () => true)).toMatchObject({
        request: { accountId: account.digits, configId: config.digits },
      });
    }),
  );
});

test.each(["12.5", "1e-3", "true", "[12]", '{"a":1}'])(
  "in a NOTIFY, %s is no id: garbage, instead of another account",
  (value) => {
    expect(readNotification(`{"account_id": ${value}}`, () => true).kind).toBe("garbage");
  },
);

test("a number in a refusal is masked like a text, whatever its length", () => {
  const text =
    '{"error": [{"message": "no such customer", "id": 98765432109876543210}, 98765432109876543210]}';
  const result = judgeCommand({ ...answered(text), status: 422 }, request("update"));

  const { failure } = result as Extract<ApiResult, { kind: "failed" }>;
  expect(failure.message).toContain("no such customer");
  expect(failure.message).not.toContain("98765432109876543210");
});

function toText(body: unknown, spelled: string): string {
  return JSON.stringify(body).replaceAll(`"${ID}"`, spelled);
}

function judge(text: string): ApiResult {
  return judgeCommand(answered(text), request("create"));
}

function request(operation: "create" | "update" | "lookup") {
  return { operation, what: operation, command: null, secrets: [], promisedNotApplied: [] };
}

function answered(text: string): HttpAnswer {
  return { kind: "answered", status: 200, header: () => null, text, durationMs: 1 };
}

function idsIn(result: ApiResult, section: "customer" | "branch" | "tier" | "crew") {
  return result.kind === "accepted"
    ? result.answer[section].items.map(({ id }) => id)
    : [result.failure.message];
}
