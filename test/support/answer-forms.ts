/**
 * Every form in which a customer API answers, as data: what came back to a create and to an update of one account with two tiers and
 * two contact persons, and what has to come of it. docs/reference/answers.md is made of it, test/e2e/answers.test.ts plays it.
 */

export interface AnswerForm {
  readonly name: string;
  readonly status: number;
  /** A string goes out as it is, anything else as JSON; a function is given the command, to echo it. */
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly create: Verdict;
  readonly update: Verdict;
  /** What the account's error has to say, in the API's own words. */
  readonly says?: string;
  /** Default: MEANT. */
  readonly meant?: MeantIds;
}

/**
 * `outcome (class) | updated | failed | ids that stand afterwards | what is sent next`. The figures are of account, tiers and contact
 * persons. Before an update the account, its branch, the first tier and the first contact person have their ids.
 */
export type Verdict = string;

export interface AnswerGroup {
  readonly title: string;
  readonly intro: string;
  readonly forms: readonly AnswerForm[];
}

export interface MeantIds {
  readonly account: string;
  readonly branch: string;
  readonly tiers: readonly string[];
  readonly pics: readonly string[];
}

/** The ids that the API means, in the order of the rows. */
export const MEANT = {
  account: "ext-customer-123",
  branch: "ext-branch-456",
  tiers: ["ext-tier-789", "ext-tier-101"],
  pics: ["ext-crew-202", "ext-crew-303"],
} as const satisfies MeantIds;

const TIERS = MEANT.tiers.map((id) => ({ id }));
const CREW = MEANT.pics.map((id) => ({ id }));
const BODY = {
  customer: { data: { id: MEANT.account } },
  branch: { data: { id: MEANT.branch } },
  tier: { data: TIERS },
  crew: { data: CREW },
};

const WHOLE = "synced | 1 2 2 | 0 0 0 | all | nothing";
const LACKS_A_TIER =
  "partial (incomplete) | 1 1 2 | 0 1 0 | account, branch, 1 tier, 2 crew | update";
const LACKS_TIERS = "partial (incomplete) | 1 0 2 | 0 2 0 | account, branch, 2 crew | update";
const LACKS_A_PIC =
  "partial (incomplete) | 1 2 1 | 0 0 1 | account, branch, 2 tiers, 1 crew | update";
const LACKS_CREW = "partial (incomplete) | 1 2 0 | 0 0 2 | account, branch, 2 tiers | update";
const NOTHING_NEW = "account, branch, 1 tier, 1 crew";
const LACKS_BOTH = `partial (incomplete) | 1 1 1 | 0 1 1 | ${NOTHING_NEW} | update`;

/** A create that may or may not have been applied. */
const UNKNOWN = "parked (unknown_outcome) | 0 0 0 | 1 2 2 | none | nothing until a person retries";
const REJECTED = "parked (rejected) | 0 0 0 | 1 2 2 | none | nothing until the data change";
const UPDATE_REJECTED = `parked (rejected) | 0 0 0 | 1 2 2 | ${NOTHING_NEW} | nothing until the data change`;

const retried = (errorClass: string, next: string) => ({
  create: `retry (${errorClass}) | 0 0 0 | 1 2 2 | none | ${next.replace("%", "create")}`,
  update: `retry (${errorClass}) | 0 0 0 | 1 2 2 | ${NOTHING_NEW} | ${next.replace("%", "update")}`,
});
/** What became of it is known: not applied. */
const notApplied = (errorClass: string) => ({
  create: retried(errorClass, "the same %").create,
  update: retried(errorClass, "a new %").update,
});
/** An update that adds rows may have added them, so it is repeated as it was. */
const unknown = (errorClass: string) => ({
  create: UNKNOWN,
  update: retried(errorClass, "the same %").update,
});
const whole = { create: WHOLE, update: WHOLE };
const rejected = { create: REJECTED, update: UPDATE_REJECTED };

const ok = (
  name: string,
  body: unknown,
  verdicts: Pick<AnswerForm, "create" | "update"> = whole,
) => ({
  name,
  status: 200,
  body,
  ...verdicts,
});

const without = (...names: (keyof typeof BODY)[]) =>
  Object.fromEntries(Object.entries(BODY).filter(([name]) => !names.some((each) => each === name)));

const WORDS = "tier 2 is not for you";

/** As error bodies say why; the same in a 4xx and in a 200 with `success: false`. */
const ERROR_FORMS: readonly (readonly [string, object])[] = [
  ["`error` as a string", { error: WORDS }],
  ["`error` as an array of strings", { error: [WORDS, "nor is tier 1"] }],
  ["`errors` as an array of strings", { errors: [WORDS] }],
  ["`error` as an array of objects with `message`", { error: [{ field: "tier", message: WORDS }] }],
  ["`error` as `{message, status, data}`", { error: { message: WORDS, status: 422, data: null } }],
  [
    "`error` as `{message, status, data}` around the original body",
    { error: { message: "Bad Request", status: 400, data: { errors: [WORDS] } } },
  ],
  ["`message` as a string", { message: WORDS }],
  ["`message` as an object with `message`", { message: { message: WORDS } }],
  ["`error.message` as an object with `message`", { error: { message: { message: WORDS } } }],
];

/** An API that repeats what it was sent, and sorts it by its own ideas. */
function echoedBackwards(command: {
  readonly tier: readonly object[];
  readonly "customer-crew": readonly object[];
}): object {
  const echo = (items: readonly object[], ids: readonly string[]) =>
    items.map((item, index) => ({ ...item, id: ids[index] })).toReversed();
  return {
    ...BODY,
    tier: { data: echo(command.tier, MEANT.tiers) },
    crew: { data: echo(command["customer-crew"], MEANT.pics) },
  };
}

export const ANSWER_GROUPS: readonly AnswerGroup[] = [
  {
    title: "Whole answers",
    intro: "The answer contains every id, in one form or another. All ids are written.",
    forms: [
      ok("bare", BODY),
      ok("wrapped once: `{data: …}`", { data: BODY }),
      ok("wrapped twice: `{data: {data: …}}`", { data: { data: BODY } }),
      ok("`success: true` beside it", { success: true, message: "OK", data: BODY }),
      { ...ok("status 201", BODY), status: 201 },
      { ...ok("status 202", BODY), status: 202 },
      ok("`customer.id`", { ...BODY, customer: { id: MEANT.account } }),
      ok("`customer_id`", { ...without("customer"), customer_id: MEANT.account }),
      ok("`customer_id`, wrapped", {
        data: { ...without("customer"), customer_id: MEANT.account },
      }),
      ok("`customer.id` beside a `data` without one", {
        ...BODY,
        customer: { id: MEANT.account, data: { name: "Toko" } },
      }),
      ok("`branch.id`", { ...BODY, branch: { id: MEANT.branch } }),
      ok("`tier` as the list itself", { ...BODY, tier: TIERS }),
      ok("`tiers.data`", { ...without("tier"), tiers: { data: TIERS } }),
      ok("`tiers` as the list itself", { ...without("tier"), tiers: TIERS }),
      ok("`tiers` beside an empty `tier`", { ...BODY, tier: { data: [] }, tiers: TIERS }),
      ok("`crew` as the list itself", { ...BODY, crew: CREW }),
      ok("`crews.data`", { ...without("crew"), crews: { data: CREW } }),
      ok("`crews` as the list itself", { ...without("crew"), crews: CREW }),
      ok("`customer-crew.data`", { ...without("crew"), "customer-crew": { data: CREW } }),
      ok("`failed: 0` and empty `errors`", {
        ...BODY,
        tier: { data: TIERS, failed: 0, errors: [] },
        crew: { data: CREW, failed: 0, errors: null },
      }),
      {
        ...ok("ids that are numbers", {
          customer: { data: { id: 123 } },
          branch: { data: { id: 456 } },
          tier: { data: [{ id: 789 }, { id: 101 }] },
          crew: { data: [{ id: 202 }, { id: 303 }] },
        }),
        meant: { account: "123", branch: "456", tiers: ["789", "101"], pics: ["202", "303"] },
      },
      {
        ...ok(
          "ids that are numbers beyond 2^53",
          `{"customer": {"data": {"id": 1234567890123456789}}, "branch": {"data": {"id": 9007199254740993}},
            "tier": {"data": [{"id": 12345678901234567890}, {"id": 12345678901234567891}]},
            "crew": {"data": [{"id": 1e21}, {"id": 1000000000000000000001}]}}`,
        ),
        meant: {
          account: "1234567890123456789",
          branch: "9007199254740993",
          tiers: ["12345678901234567890", "12345678901234567891"],
          pics: ["1000000000000000000000", "1000000000000000000001"],
        },
      },
      ok("unknown fields", { ...BODY, trace: "x", tier: { data: TIERS, total: 2 } }),
      ok("every item echoed, in another order", echoedBackwards),
    ],
  },
  {
    title: "Answers that leave something out",
    intro:
      "Ids that certainly belong to a row are written; an update asks for the others, at most five times. No id is guessed.",
    forms: [
      ok("no `tier`", without("tier"), { create: LACKS_TIERS, update: LACKS_A_TIER }),
      ok(
        "an empty `tier.data`",
        { ...BODY, tier: { data: [] } },
        {
          create: LACKS_TIERS,
          update: LACKS_A_TIER,
        },
      ),
      ok("`tier: null`", { ...BODY, tier: null }, { create: LACKS_TIERS, update: LACKS_A_TIER }),
      ok("no `crew`", without("crew"), { create: LACKS_CREW, update: LACKS_A_PIC }),
      ok(
        "the first tier's id alone",
        { ...BODY, tier: { data: TIERS.slice(0, 1) } },
        {
          create: LACKS_TIERS,
          update: LACKS_A_TIER,
        },
      ),
      ok(
        "one tier more than was sent",
        { ...BODY, tier: { data: [...TIERS, { id: "of-nobody" }] } },
        {
          create: LACKS_TIERS,
          update: LACKS_A_TIER,
        },
      ),
      ok(
        "one id for both tiers",
        { ...BODY, tier: { data: [{ id: "one" }, { id: "one" }] } },
        {
          create: LACKS_TIERS,
          update: LACKS_A_TIER,
        },
      ),
      ok(
        "a contact person's id of 256 characters",
        {
          ...BODY,
          crew: { data: [{ id: MEANT.pics[0] }, { id: "x".repeat(256) }] },
        },
        { create: LACKS_CREW, update: LACKS_A_PIC },
      ),
      ok("no `branch`", without("branch"), {
        create: "synced | 1 2 2 | 0 0 0 | account, 2 tiers, 2 crew | nothing",
        update: WHOLE,
      }),
      ok(
        "no customer id, but a `branch`: it is the customer's",
        {
          ...without("customer"),
          branch: { data: { id: MEANT.account } },
        },
        {
          create:
            "synced | 1 2 2 | 0 0 0 | account, branch, 2 tiers, 2 crew; the branch's is the account's | nothing",
          // It was known under another branch id, which is kept.
          update: "partial (id_conflict) | 0 2 2 | 1 0 0 | all | nothing",
        },
      ),
      ok("neither customer nor branch", without("customer", "branch"), {
        create: UNKNOWN,
        update: WHOLE,
      }),
    ],
  },
  {
    title: "Partial failures",
    intro: "A 200 whose section says that items failed.",
    forms: [
      {
        ...ok(
          "`failed: 1` beside every id",
          { ...BODY, tier: { data: TIERS, failed: 1, errors: [WORDS] } },
          {
            create: LACKS_TIERS,
            update: LACKS_A_TIER,
          },
        ),
        says: WORDS,
      },
      {
        ...ok(
          "`failed: 1` and one id",
          { ...BODY, tier: { data: TIERS.slice(0, 1), failed: 1, errors: [WORDS] } },
          {
            create: LACKS_TIERS,
            update: LACKS_A_TIER,
          },
        ),
        says: WORDS,
      },
      {
        ...ok(
          "`errors` alone, of objects",
          { ...BODY, crew: { data: [], errors: [{ message: WORDS }] } },
          {
            create: LACKS_CREW,
            update: LACKS_A_PIC,
          },
        ),
        says: WORDS,
      },
      {
        ...ok(
          "the customer itself in part",
          {
            ...BODY,
            customer: { data: { id: MEANT.account }, failed: 1, errors: [WORDS] },
          },
          {
            create: "partial (incomplete) | 1 2 2 | 1 0 0 | all | update",
            update: "partial (incomplete) | 1 2 2 | 1 0 0 | all | update",
          },
        ),
        says: WORDS,
      },
    ],
  },
  {
    title: "Refusals in a 200",
    intro: "`success: false`: the account is parked with the API's message.",
    forms: [
      ...ERROR_FORMS.map(([name, body]) => ({
        ...ok(name, { success: false, ...body }, rejected),
        says: WORDS,
      })),
      { ...ok("wrapped", { data: { success: false, error: WORDS } }, rejected), says: WORDS },
      ok("without a reason", { success: false }, rejected),
      ok(
        "with the ids of a new customer all the same: it is there",
        { success: false, ...BODY },
        {
          create: WHOLE,
          update: UPDATE_REJECTED,
        },
      ),
    ],
  },
  {
    title: "Refusals by status",
    intro: "A 4xx: the account is parked with the API's message.",
    forms: [
      ...ERROR_FORMS.map(([name, body]) => ({ name, status: 422, body, ...rejected, says: WORDS })),
      ...[400, 404, 405, 409, 410, 413, 418].map((status) => ({
        name: `status ${status}`,
        status,
        body: { error: WORDS },
        ...rejected,
        says: WORDS,
      })),
      {
        name: "a plain line of text",
        status: 400,
        body: WORDS,
        headers: { "content-type": "text/plain" },
        ...rejected,
        says: WORDS,
      },
      {
        name: "a page of HTML",
        status: 400,
        body: "<html>no</html>",
        headers: { "content-type": "text/html" },
        ...rejected,
      },
      { name: "no body", status: 400, body: "", ...rejected },
      {
        name: "a redirect",
        status: 302,
        body: "",
        headers: { location: "https://elsewhere.example" },
        ...rejected,
      },
    ],
  },
  {
    title: "Errors that may pass",
    intro:
      "Retried automatically. After 429 nothing was applied. After a 5xx a create may have been applied, so the account is parked (`CUSTOMER_API_UNKNOWN_OUTCOME` can change that), unless `CUSTOMER_API_NOT_APPLIED_STATUSES` lists the status: then it is handled as after 429, but by its own class.",
    forms: [
      { name: "401", status: 401, body: { error: "expired" }, ...notApplied("unauthorized") },
      {
        name: "403 that speaks of a token",
        status: 403,
        body: { error: "invalid token" },
        ...notApplied("unauthorized"),
      },
      { name: "403 that does not", status: 403, body: { error: WORDS }, ...rejected, says: WORDS },
      { name: "429", status: 429, body: { error: "slow down" }, ...notApplied("throttled") },
      { name: "503", status: 503, body: { error: WORDS }, ...unknown("server"), says: WORDS },
      {
        name: "503 of a mesh, in plain text",
        status: 503,
        body: "upstream connect error or disconnect/reset before headers",
        headers: { "content-type": "text/plain" },
        ...unknown("server"),
        says: "upstream connect error",
      },
      {
        name: "500",
        status: 500,
        body: { error: { message: WORDS } },
        ...unknown("server"),
        says: WORDS,
      },
      { name: "502", status: 502, body: "", ...unknown("server") },
      { name: "504", status: 504, body: "", ...unknown("server") },
      { name: "408", status: 408, body: "", ...unknown("timeout") },
    ],
  },
  {
    title: "Answers that are not understood",
    intro: "A 2xx without a result of the command: its outcome is unknown.",
    forms: [
      { ...ok("204", ""), status: 204, create: UNKNOWN, update: LACKS_BOTH },
      ok("`{success: true}` alone", { success: true }, { create: UNKNOWN, update: LACKS_BOTH }),
      ok("no body", "", unknown("network")),
      ok("a page of HTML", "<html>Welcome</html>", unknown("network")),
      ok("JSON that breaks off", '{"customer": {"data": {"id": "ext-cus', unknown("network")),
      ok("`{}`", {}, unknown("network")),
      ok("`[]`", [], unknown("network")),
      ok("another service's JSON", { status: "up" }, unknown("network")),
      { ...ok("`error` without `success`", { error: WORDS }, unknown("server")), says: WORDS },
      ok("wrapped three times", { data: { data: { data: BODY } } }, unknown("network")),
    ],
  },
];
