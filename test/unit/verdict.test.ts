/** The judge of the fault tests: it finds each kind of harm, and its verdicts cannot be made by hand. */
import { expect, test } from "vitest";
import { recordFault } from "../support/evidence.ts";
import type { Explanation } from "../support/explanation.ts";
import type { SourceAccount } from "../support/source-accounts.ts";
import { FLAWLESS, judge, type MadeCustomer, type Verdict } from "../support/verdict.ts";

const refused: Explanation = {
  accounts: ["A-1"],
  are: "parked",
  errorClass: "rejected",
  because: "the API refused it",
};
const parked = { state: "parked", errorClass: "rejected", error: "answered 422", payload: "new" };

test("finds nothing where every account has arrived", () => {
  expect(judgeOne({}, {})).toEqual(FLAWLESS);
});

test.each<[string, Partial<SourceAccount>, Partial<MadeCustomer>, Partial<typeof FLAWLESS>]>([
  ["a lost change", { payload: "edited" }, {}, { lost: ["account A-1 (clean)"] }],
  [
    "an account that never arrived",
    { uuid: null },
    { code: "A-2", id: "cus_2" },
    { lost: ["account A-1 (clean)"], strays: ["A-2"] },
  ],
  [
    "the id of another customer",
    { uuid: "cus_9" },
    {},
    { lost: ["account A-1 (clean)"], wrongIds: ["account A-1"] },
  ],
  [
    "the id of another row",
    { tiers: [{ key: "0", uuid: "crew_1", kept: null }] },
    {},
    { wrongIds: ["account A-1, row 0"] },
  ],
  [
    "an id that was given out and is on no row",
    { pics: [{ key: "Budi", uuid: null, kept: null }] },
    {},
    { lostIds: ["account A-1, row Budi"] },
  ],
  [
    "an account that waits and is not explained",
    parked,
    {},
    { unexplained: ["account A-1 is parked (rejected): answered 422"] },
  ],
  [
    "an account that never comes to rest",
    { state: "retrying", payload: "edited" },
    {},
    { lost: ["account A-1 (retrying)"] },
  ],
])("finds %s", (_, account, customer, found) => {
  expect(judgeOne(account, customer)).toEqual({ ...FLAWLESS, ...found });
});

test("finds a twin that is there, and one that has been deleted since", () => {
  const create = { operation: "create", code: "A-1", applied: true } as const;
  const lost = { ...create, applied: false };
  const [one, other] = [toCustomer({}), toCustomer({ id: "cus_2" })];

  expect(judge([toAccount({})], { ...API, customers: [one, other] }).twins).toEqual(["A-1"]);
  expect(judge([toAccount({})], { ...API, requests: [create, create] }).twins).toEqual(["A-1"]);
  expect(judge([toAccount({})], { ...API, requests: [lost, create] })).toEqual(FLAWLESS);
});

test("finds a customer that was overwritten, also where its own account has written since", () => {
  const overwritten = ["customer cus_1 of account A-1, by A-2"];

  expect(judgeOne({}, { codes: ["A-1", "A-2"] })).toEqual({ ...FLAWLESS, overwritten });
  expect(
    judgeOne({}, { code: "A-2", codes: ["A-1", "A-2"] }, [
      { accounts: ["A-2"], are: "removed", because: "it was deleted" },
    ]).overwritten,
  ).toEqual(overwritten);
});

test("takes the same id at two APIs for two customers, and two customers of one account for twins", () => {
  const accounts = [toAccount({}), toAccount({ code: "A-2", payload: "other" })];
  const [one, other] = [toCustomer({}), toCustomer({ code: "A-2", payload: "other" })];

  expect(judge(accounts, { ...API, customers: [one, other] })).toEqual(FLAWLESS);
  expect(judge(accounts, { ...API, customers: [one, other, one] }).twins).toEqual(["A-1"]);
});

test("finds an account that is parked for a 5xx that the API never gave", () => {
  const inDoubt = { ...parked, errorClass: "server", error: "answered 500" };
  const poisoned: Explanation = {
    accounts: (code) => code === "A-2",
    are: "parked",
    errorClass: "server",
    because: "the API fails on its body for ever",
  };

  expect(judgeOne(inDoubt, {}, [poisoned])).toEqual({
    ...FLAWLESS,
    unexplained: ["account A-1 is parked (server): answered 500"],
  });
  expect(judgeOne({ ...inDoubt, code: "A-2" }, { code: "A-2" }, [poisoned]).unexplained).toEqual(
    [],
  );
});

test("finds overlapping requests", () => {
  expect(judge([toAccount({})], { ...API, overlapping: 2 })).toEqual({
    ...FLAWLESS,
    overlapping: 2,
  });
});

test("counts an account that waits as the fault explains, and only that one", () => {
  const accounts = [toAccount(parked), toAccount({ ...parked, code: "A-2", uuid: "cus_2" })];
  const api = { ...API, customers: [toCustomer({}), toCustomer({ id: "cus_2", code: "A-2" })] };

  expect(judge(accounts, api, [refused])).toEqual({
    ...FLAWLESS,
    unexplained: ["account A-2 is parked (rejected): answered 422"],
    explained: { "parked: the API refused it": 1 },
  });
});

test("does not take an explanation for another state, another error, or an account that has arrived", () => {
  const unfounded = "account A-1 is not left as explained: parked, the API refused it";

  expect(judgeOne({ ...parked, state: "blocked" }, {}, [refused]).unexplained).toEqual([
    "account A-1 is blocked (rejected): answered 422",
    unfounded,
  ]);
  expect(judgeOne({ ...parked, errorClass: "unknown_outcome" }, {}, [refused]).unexplained).toEqual(
    ["account A-1 is parked (unknown_outcome): answered 422", unfounded],
  );
  expect(judgeOne({}, {}, [refused]).unexplained).toEqual([unfounded]);
});

test("still finds a lost change where other ids are explained", () => {
  const byHand: Explanation = { accounts: ["A-1"], are: "other ids", because: "by hand" };

  expect(judgeOne({ uuid: "by-hand" }, {}, [byHand])).toEqual({
    ...FLAWLESS,
    explained: { "other ids: by hand": 1 },
  });
  expect(judgeOne({ uuid: "by-hand", payload: "edited" }, {}, [byHand]).lost).toEqual([
    "account A-1 (clean)",
  ]);
});

test("alone makes what can be recorded", () => {
  const forged = { ...FLAWLESS } as Verdict;
  const copied = { ...judgeOne({ payload: "edited" }, {}), lost: [] };

  for (const verdict of [forged, copied, []])
    expect(() => recordFault("F1", verdict, { tries: 1, recoveryMs: null })).toThrow(
      "do not come from the judge",
    );
});

const API = { customers: [toCustomer({})], requests: [], overlapping: 0 };

function judgeOne(
  account: Partial<SourceAccount>,
  customer: Partial<MadeCustomer>,
  explanations: readonly Explanation[] = [],
): Verdict {
  return judge([toAccount(account)], { ...API, customers: [toCustomer(customer)] }, explanations);
}

/** An account with a tier and a PIC, all of which have arrived. */
function toAccount(account: Partial<SourceAccount>): SourceAccount {
  return {
    code: "A-1",
    uuid: "cus_1",
    kept: null,
    state: "clean",
    errorClass: null,
    unsettledKey: null,
    error: null,
    isNoted: false,
    payload: "accepted",
    tiers: [{ key: "0", uuid: "tier_1", kept: null }],
    pics: [{ key: "Budi", uuid: "crew_1", kept: null }],
    ...account,
  };
}

function toCustomer(customer: Partial<MadeCustomer>): MadeCustomer {
  return {
    id: "cus_1",
    code: "A-1",
    codes: [customer.code ?? "A-1"],
    payload: "accepted",
    rows: new Map([
      ["tier_1", "0"],
      ["crew_1", "Budi"],
    ]),
    ...customer,
  };
}
