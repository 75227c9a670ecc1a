/**
 * F44: a mesh or router answers 502, 503 or 504 after the API has applied the command. Its word says nothing about what became of a
 * create, so it is an unknown outcome, and there is one customer whatever the policy. The sandbox applies, and a server before it
 * answers.
 */
import { expect, test } from "vitest";
import { externalIds, insertAccount } from "../support/accounts.ts";
import { audit } from "../support/audit.ts";
import { eventually } from "../support/eventually.ts";
import { recordFault } from "../support/evidence.ts";
import { type Front, type FrontAnswer, type FrontRequest, startFront } from "../support/front.ts";
import { createProduct, type Product } from "../support/product.ts";
import { countStates, retryAll, stateOf, untilAtRest } from "../support/queue-state.ts";
import { FLAWLESS } from "../support/verdict.ts";

/** As Istio, Heroku and nginx say it. */
const GATEWAYS = [
  [502, "<html><head><title>502 Bad Gateway</title></head></html>"],
  [
    503,
    "upstream connect error or disconnect/reset before headers. reset reason: connection termination",
  ],
  [504, "upstream request timeout"],
] as const;

test.each(GATEWAYS)(
  "F44 a %i after the create was applied, with `park`: one customer, and a person decides",
  async (status, text) => {
    const { product, front, start } = await createParts({ honourKeys: false });
    const daemon = await start();
    answerCreatesWith(front, status, text, 1);

    const id = await insertAccount(product.database);
    await untilAtRest(product.database);
    const parked = await stateOf(product.database, id);
    const customers = product.sandbox.customers();
    await product.database.query("update m_account set uuid_be = $2 where id = $1", [
      id,
      customers[0]?.id,
    ]);
    await retryAll(daemon);
    await untilAtRest(product.database);

    expect(parked).toMatchObject({ state: "parked", error_class: "unknown_outcome" });
    expect(parked.error).toContain(`answered ${status}`);
    expect(customers).toHaveLength(1);
    expect(await daemon.metric("unknown_outcomes_total")).toBe(1);
    expect(await stateOf(product.database, id)).toMatchObject({ state: "clean" });
    const found = await audit(product.database, product.sandbox);
    expect(found).toEqual(FLAWLESS);
    recordFault("F44", found, { tries: 1, recoveryMs: null });
  },
);

test.each(GATEWAYS)(
  "F44 a %i after the create was applied, with `resend`: the same create again, one customer",
  async (status, text) => {
    const { product, front, start } = await createParts();
    await start({ CUSTOMER_API_UNKNOWN_OUTCOME: "resend" });
    answerCreatesWith(front, status, text, 2);

    const id = await insertAccount(product.database);
    const recoveryMs = await untilAtRest(product.database);

    const creates = product.requests().filter(({ operation }) => operation === "create");
    expect(creates).toHaveLength(3);
    expect(new Set(creates.map(({ key, text: body }) => `${key} ${body}`)).size).toBe(1);
    expect((await externalIds(product.database, id)).account).toBe(
      product.sandbox.customers()[0]?.id,
    );
    const found = await audit(product.database, product.sandbox);
    expect(found).toEqual(FLAWLESS);
    recordFault("F44", found, { tries: 2, recoveryMs });
  },
);

test.each(GATEWAYS)(
  "F44 a %i after the create was applied, with `lookup`: the customer is found, and no second create is sent",
  async (status, text) => {
    const { product, front, start } = await createParts({ honourKeys: false });
    await start({
      CUSTOMER_API_UNKNOWN_OUTCOME: "lookup",
      CUSTOMER_API_LOOKUP_FIRST: "false",
      CUSTOMER_API_LOOKUP_PATH: "/api/customer?code={account_no}",
    });
    answerCreatesWith(front, status, text, 1);

    const id = await insertAccount(product.database);
    const recoveryMs = await untilAtRest(product.database);

    const { byOperation } = product.sandbox.counts();
    expect([byOperation.create, byOperation.lookup]).toEqual([1, 1]);
    expect((await externalIds(product.database, id)).account).toBe(
      product.sandbox.customers()[0]?.id,
    );
    const found = await audit(product.database, product.sandbox);
    expect(found).toEqual(FLAWLESS);
    recordFault("F44", found, { tries: 1, recoveryMs });
  },
);

test("F44 a 503 by which the API promises that it did nothing: the create goes out again by itself", async () => {
  const { product, front, start } = await createParts({ honourKeys: false });
  const daemon = await start({ CUSTOMER_API_NOT_APPLIED_STATUSES: "429, 503" });
  front.route = commandsToNowhere;
  answerCreatesWith(front, 503, '{"error": "down for maintenance"}', 3);

  await insertAccount(product.database);
  await eventually(() => expect(front.rewrite).toBeNull());
  front.route = asItIs;
  const recoveryMs = await untilAtRest(product.database);

  expect(await daemon.metric("unknown_outcomes_total")).toBe(0);
  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  recordFault("F44", found, { tries: 3, recoveryMs });
});

test("F44 a router that answers 503 to everything for a while parks a handful of creates in doubt, and nothing else", async () => {
  const { product, front, start } = await createParts({ honourKeys: false });
  const daemon = await start({ SYNC_CONCURRENCY: "4" });
  for (let n = 0; n < 20; n += 1)
    await insertAccount(product.database, { accountNo: `old-${n}`, tiers: 1, pics: 0 });
  await untilAtRest(product.database);
  front.rewrite = () => toAnswer(503, GATEWAYS[1][1]);
  front.route = commandsToNowhere;

  await product.database.query("update m_account set name = 'Renamed'");
  for (let n = 0; n < 40; n += 1)
    await insertAccount(product.database, { accountNo: `new-${n}`, tiers: 0, pics: 0 });
  await eventually(async () =>
    expect(await daemon.metric("circuit_state", { state: "open" })).toBe(1),
  );
  front.rewrite = null;
  front.route = asItIs;
  const backAt = performance.now();
  await untilAtRest(product.database);
  const recoveryMs = performance.now() - backAt;
  const { parked = 0 } = await countStates(product.database);
  const classes = await product.database.query<{ name: string }>(
    "select distinct error_class as name from account_sync.status where state = 'parked'",
  );
  await retryAll(daemon);
  await untilAtRest(product.database);

  // The five that open the circuit, and those that were under way beside them.
  expect(parked).toBeLessThanOrEqual(5 + 4);
  expect(classes.filter(({ name }) => name !== "unknown_outcome")).toEqual([]);
  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  recordFault("F44", found, { tries: 1, recoveryMs });
});

const asItIs = (path: string) => path;
const commandsToNowhere = (path: string) => (path.startsWith("/api/") ? "/nowhere" : path);

/** Hands creates on and answers them like this, so many times. */
function answerCreatesWith(front: Front, status: number, text: string, times: number): void {
  let left = times;
  front.rewrite = (answer: FrontAnswer, { method, path }: FrontRequest) => {
    if (method !== "POST" || !path.startsWith("/api/customer/command")) return answer;
    left -= 1;
    if (left === 0) front.rewrite = null;
    return toAnswer(status, text);
  };
}

function toAnswer(status: number, body: string): FrontAnswer {
  const type = body.startsWith("<") ? "text/html" : "text/plain";
  return { status, headers: { "content-type": type }, body };
}

async function createParts(sandbox: { readonly honourKeys?: boolean } = {}) {
  const product: Product = await createProduct({ sandbox });
  const front = await startFront(product.sandbox.url);
  return {
    product,
    front,
    start: (environment: Readonly<Record<string, string>> = {}) =>
      product.start({
        CUSTOMER_API_URL: front.url,
        // A retry, and a "not there", wait until the create cannot be under way any more: twice as long.
        CUSTOMER_API_TIMEOUT_MS: "500",
        ...environment,
      }),
  };
}
