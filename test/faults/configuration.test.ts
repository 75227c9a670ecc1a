/**
 * F38: the row of m_backend_ext_config is edited while the daemon works. The next attempts use the new row, with its URL and its secret
 * checked again; a row that may not be used stops the sends with a clear reason, logged once, and loses nothing.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { startSandbox } from "../../src/local/sandbox.ts";
import { insertAccount, insertAccounts } from "../support/accounts.ts";
import { type ApiWitness, audit } from "../support/audit.ts";
import { findLeaks } from "../support/canaries.ts";
import { eventually } from "../support/eventually.ts";
import { recordFault } from "../support/evidence.ts";
import { startFront } from "../support/front.ts";
import { createProduct, type Product, type RunningDaemon } from "../support/product.ts";
import { countStates, stateOf, untilAtRest } from "../support/queue-state.ts";
import { FLAWLESS } from "../support/verdict.ts";

/** Nothing from the environment: all settings are in the row. */
const FROM_THE_ROW = {
  CUSTOMER_API_URL: "",
  CUSTOMER_API_CLIENT_ID: "",
  CUSTOMER_API_CLIENT_SECRET: "",
};

/** An edit is noticed within five seconds; a loaded machine needs more. */
const SOON = { timeoutMs: 20_000 };

test("F38 base_url and secret are edited: the next attempts go there with a token from there, and the old API hears nothing more", async () => {
  const product = await createProduct();
  const other = await startSandbox({ clientId: "new-client", clientSecret: "new-canary-secret" });
  try {
    await insertConfig(product);
    const daemon = await product.start(FROM_THE_ROW);
    await insertMany(product, "A", 10);
    await untilAtRest(product.database);
    expect(product.sandbox.counts().byOperation.token).toBe(1);

    // During requests: those that are under way end at the old API.
    product.sandbox.setFaults({ always: { delayMs: 300 } });
    await insertMany(product, "B", 5);
    await eventually(() => expect(product.sandbox.counts().inWork).toBeGreaterThan(0));
    await product.database.query(
      "update m_backend_ext_config set base_url = $1, client_id = $2, client_secret = $3, updated_at = now()",
      [other.url, other.clientId, other.clientSecret],
    );
    // What the daemon knows of the row is at most five seconds old.
    await eventually(
      async () => {
        await insertAccount(product.database, {
          accountNo: `P-${crypto.randomUUID().slice(0, 8)}`,
          tiers: 0,
          pics: 0,
        });
        expect(other.counts().byOperation.create).toBeGreaterThan(0);
      },
      { ...SOON, intervalMs: 250 },
    );
    product.sandbox.clearFaults();
    const heardBefore = product.sandbox.counts().total;
    await insertMany(product, "C", 10);
    await untilAtRest(product.database);

    expect(product.sandbox.counts().total).toBe(heardBefore);
    expect(other.counts().byOperation.token).toBe(1);
    expect(other.counts().byStatus["401"]).toBeUndefined();
    expect(other.customers().filter(({ code }) => code.startsWith("C"))).toHaveLength(10);
    expect(await daemon.metric("unknown_outcomes_total")).toBe(0);
    // Every account is a customer at exactly one of the two.
    const found = await audit(product.database, both(product.sandbox, other));
    expect(found).toEqual(FLAWLESS);
    expect(
      await findLeaks({ ...product, daemons: [daemon], secrets: [other.clientSecret] }),
    ).toEqual([]);
    recordFault("F38", found, { tries: 1, recoveryMs: null });
  } finally {
    await other.close();
  }
});

test("F38 the secret is rotated: the token of the old one is dropped, and a wrong secret stops all sends until it is corrected", async () => {
  const product = await createProduct();
  await insertConfig(product);
  const daemon = await product.start(FROM_THE_ROW);
  await insertMany(product, "A", 5);
  await untilAtRest(product.database);
  const rounds = 2;
  let recoveryMs = 0;

  for (let round = 0; round < rounds; round += 1) {
    await product.database.query("update m_backend_ext_config set client_secret = $1", [
      `wrong-canary-secret-${round}`,
    ]);
    // The API still accepts the cached token, so an open circuit shows that the token was dropped with its secret.
    await eventually(
      async () => {
        await insertAccount(product.database, {
          accountNo: `P-${crypto.randomUUID().slice(0, 8)}`,
          tiers: 0,
          pics: 0,
        });
        expect(await daemon.metric("circuit_state", { state: "open" })).toBe(1);
      },
      { ...SOON, intervalMs: 250 },
    );
    const heard = product.requests().length;
    await insertMany(product, `R${round}-`, 10);
    await eventually(async () =>
      expect(await daemon.metric("pending_accounts")).toBeGreaterThanOrEqual(10),
    );
    expect(product.requests()).toHaveLength(heard);

    await product.database.query("update m_backend_ext_config set client_secret = $1", [
      product.sandbox.clientSecret,
    ]);
    recoveryMs = Math.max(recoveryMs, await untilAtRest(product.database));
  }

  expect((await countStates(product.database))["parked"]).toBeUndefined();
  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  expect(
    await findLeaks({
      ...product,
      daemons: [daemon],
      secrets: ["wrong-canary-secret-0", "wrong-canary-secret-1"],
    }),
  ).toEqual([]);
  recordFault("F38", found, { tries: rounds, recoveryMs });
});

test("F38 the path is edited: the next attempts use the new one", async () => {
  const product = await createProduct();
  const front = await startFront(product.sandbox.url);
  front.route = (path) => path.replace(/^\/v2\/customers/, "/api/customer/command");
  await insertConfig(product, front.url);
  await product.start(FROM_THE_ROW);
  await insertMany(product, "A", 5);
  await untilAtRest(product.database);

  await product.database.query("update m_backend_ext_config set url = '/v2/customers'");
  await eventually(
    async () => {
      await product.database.query("update m_account set name = name || '.'");
      expect(front.requests.some(({ path }) => path.startsWith("/v2/customers/"))).toBe(true);
    },
    { ...SOON, intervalMs: 500 },
  );
  await untilAtRest(product.database);
  const heard = front.requests.length;
  await insertMany(product, "B", 5);
  await untilAtRest(product.database);

  expect(front.requests.slice(heard).map(({ path }) => path)).toEqual(
    Array.from({ length: 5 }, () => "/v2/customers"),
  );
  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  recordFault("F38", found, { tries: 1, recoveryMs: null });
});

test("F38 edited to a URL that may not be used: nothing is sent, the reason is said once, no account spins, and nothing is lost", async () => {
  const product = await createProduct();
  await insertConfig(product);
  const daemon = await product.start(FROM_THE_ROW);
  const known = await insertMany(product, "A", 3);
  await untilAtRest(product.database);
  const said = /over http: use https/;

  await product.database.query(
    "update m_backend_ext_config set base_url = 'http://customer-api.example'",
  );
  await untilReason(product, known[0] ?? "", said);
  const heard = product.requests().length;
  await insertAccounts(product.database, 200);
  await eventually(async () => {
    const { clean = 0, waiting = 0 } = await countStates(product.database);
    expect({ clean, waiting }).toEqual({ clean: 2, waiting: 0 });
  });
  const runs = await countRuns(product);
  // The bound below is one per time, so there is no fact to wait for.
  await sleep(3_000);

  expect(product.requests()).toHaveLength(heard);
  // A few probes are enough; two hundred accounts trying twice a second would be 1,200.
  expect((await countRuns(product)) - runs).toBeLessThan(10);
  expect(saidOnTheWhole(daemon, said)).toHaveLength(1);
  expect(await sumOfAttempts(product)).toBe(0);
  expect((await countStates(product.database))["parked"]).toBeUndefined();
  await eventually(async () => expect(await daemon.metric("pending_accounts")).toBe(201));

  await product.database.query("update m_backend_ext_config set base_url = $1", [
    product.sandbox.url,
  ]);
  const recoveryMs = await untilAtRest(product.database);
  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  expect(saidOnTheWhole(daemon, /can be used again/)).toHaveLength(1);
  expect(await findLeaks({ ...product, daemons: [daemon] })).toEqual([]);
  recordFault("F38", found, { tries: 201, recoveryMs });
});

const UNUSABLE: Readonly<Record<string, RegExp>> = {
  "base_url = 'https://elsewhere.example'": /CUSTOMER_API_ALLOWED_ORIGINS does not list/,
  "base_url = 'the customer API'": /has an invalid URL/,
  "base_url = 'file:///etc/passwd'": /only https/,
  "additional_headers = '[\"a\"]'": /is not a map of strings/,
  "is_active = false": /no active row/i,
};

test("F38 edited again and again to what may not be used: each reason is told within seconds, and the corrected row sends everything", async () => {
  const product = await createProduct();
  await insertConfig(product);
  const daemon = await product.start({
    ...FROM_THE_ROW,
    CUSTOMER_API_ALLOWED_ORIGINS: product.sandbox.url,
  });
  const [known] = await insertMany(product, "A", 5);
  await untilAtRest(product.database);
  const heard = product.requests().length;

  for (const [edit, said] of Object.entries(UNUSABLE)) {
    await product.database.query(`update m_backend_ext_config set ${edit}`);
    await untilReason(product, known ?? "", said);
    expect(saidOnTheWhole(daemon, said)).toHaveLength(1);
  }
  // Until the first edit was noticed the old row was in use: only the changes of the test itself were sent.
  const nudges = product.requests().slice(heard);
  expect(nudges.filter(({ code }) => code !== "A0")).toEqual([]);
  await insertMany(product, "B", 10);

  await product.database.query(
    "update m_backend_ext_config set base_url = $1, additional_headers = null, is_active = true",
    [product.sandbox.url],
  );
  const recoveryMs = await untilAtRest(product.database);
  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  recordFault("F38", found, { tries: Object.keys(UNUSABLE).length, recoveryMs });
});

/** Changes one account until its state gives the reason, which only a try to send can meet. */
async function untilReason(product: Product, id: string, said: RegExp): Promise<void> {
  await eventually(
    async () => {
      await product.database.query("update m_account set name = name || '.' where id = $1", [id]);
      expect((await stateOf(product.database, id)).error ?? "").toMatch(said);
    },
    { ...SOON, intervalMs: 250 },
  );
}

/** Lines about all accounts, not about one. */
function saidOnTheWhole(daemon: RunningDaemon, said: RegExp): string[] {
  return daemon.log.filter((line) => said.test(line) && !line.includes("account_id"));
}

async function insertConfig(product: Product, url = product.sandbox.url): Promise<string> {
  const [row] = await product.database.query<{ id: string }>(
    "insert into m_backend_ext_config (name, base_url, client_id, client_secret, url) values ('Customer API', $1, $2, $3, '/api/customer/command') returning id",
    [url, product.sandbox.clientId, product.sandbox.clientSecret],
  );
  return row?.id ?? "";
}

async function insertMany(product: Product, prefix: string, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let n = 0; n < count; n += 1)
    ids.push(
      await insertAccount(product.database, { accountNo: `${prefix}${n}`, tiers: 1, pics: 1 }),
    );
  return ids;
}

async function countRuns(product: Product): Promise<number> {
  const [row] = await product.database.query<{ count: number }>(
    "select count(*)::integer as count from account_sync.history",
  );
  return row?.count ?? 0;
}

async function sumOfAttempts(product: Product): Promise<number> {
  const [row] = await product.database.query<{ sum: number }>(
    "select coalesce(sum(attempts), 0)::integer as sum from account_sync.status",
  );
  return row?.sum ?? 0;
}

/** Two APIs as one. */
function both(one: ApiWitness, other: ApiWitness): ApiWitness {
  return {
    history: () => [...one.history(), ...other.history()],
    customers: () => [...one.customers(), ...other.customers()],
    counts: () => ({
      ...one.counts(),
      overlapping: one.counts().overlapping + other.counts().overlapping,
    }),
  };
}
