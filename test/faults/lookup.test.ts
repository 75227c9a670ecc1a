/**
 * F2 to F4 at an API that does not honour the idempotency key: a create in doubt is looked up before it is sent again, so there is one
 * customer. The real process, and the sandbox with `honourKeys: false`.
 */
import { afterEach, expect, test } from "vitest";
import { type Sandbox, startSandbox } from "../../src/local/sandbox.ts";
import type { SandboxFault } from "../../src/local/sandbox-faults.ts";
import { externalIds, insertAccount, insertAccounts } from "../support/accounts.ts";
import { audit } from "../support/audit.ts";
import { eventually } from "../support/eventually.ts";
import { recordFault } from "../support/evidence.ts";
import { createDatabase, type TestDatabase } from "../support/postgres.ts";
import { type RunningProcess, startProcess } from "../support/process.ts";
import { apiEnvironment, readMetric } from "../support/product.ts";
import { untilAtRest } from "../support/queue-state.ts";
import { FLAWLESS } from "../support/verdict.ts";

const cleanups: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanups.splice(0)) await cleanUp();
});

test.each<[string, string, SandboxFault, number]>([
  // With a timeout of 1 s, "not found" counts from 2 s after the create on.
  ["F4", "between apply and answer", { on: "create", applied: true, hang: true }, 1],
  ["F3", "before the API had it", { on: "create", dropConnection: "before", delayMs: 300 }, 2],
  ["F3", "while the API was still at work on it", { on: "create", delayMs: 1_200 }, 1],
])(
  "%s killed %s: the customer is looked up, and there is exactly one",
  async (fault, _, sandboxFault, creates) => {
    const { database, sandbox, start } = await createParts();
    sandbox.setFaults({ next: [sandboxFault] });
    const first = await start();
    const id = await insertAccount(database, { accountNo: "A-7" });
    await eventually(() => expect(sandbox.counts().byOperation.create).toBe(1));
    if (sandboxFault.hang === true)
      await eventually(() => expect(sandbox.customers()).toHaveLength(1));

    first.signal("SIGKILL");
    await first.exit;
    const killedAt = performance.now();
    await start();
    await untilAtRest(database, 40_000);
    const recoveryMs = performance.now() - killedAt;

    const found = await audit(database, sandbox);
    recordFault(fault, found, { tries: 1, recoveryMs });
    expect(found).toEqual(FLAWLESS);
    expect(sandbox.customers()).toHaveLength(1);
    expect(sandbox.counts().byOperation.create).toBe(creates);
    expect(sandbox.counts().byOperation.lookup).toBeGreaterThanOrEqual(1);
    expect((await externalIds(database, id)).account).toBe(sandbox.customers()[0]?.id);
  },
);

test("F3 killed again and again at random among 120 creates: no twin, no lost id, though the API ignores the key", async () => {
  const { database, sandbox, start } = await createParts();
  sandbox.setFaults({ always: { on: "create", delayMs: 20 } });
  const kills = 6;
  let daemon = await start({ SYNC_CONCURRENCY: "4" });
  await insertAccounts(database, 120);

  for (let kill = 0; kill < kills; kill += 1) {
    const before = sandbox.customers().length;
    await eventually(() => expect(sandbox.customers().length).toBeGreaterThan(before + 5 + kill), {
      timeoutMs: 20_000,
      intervalMs: 3,
    });
    daemon.signal("SIGKILL");
    await daemon.exit;
    daemon = await start({ SYNC_CONCURRENCY: "4" });
  }
  const lastKillAt = performance.now();
  await untilAtRest(database, 40_000);

  const found = await audit(database, sandbox);
  recordFault("F3", found, { tries: kills, recoveryMs: performance.now() - lastKillAt });
  expect(found).toEqual(FLAWLESS);
  expect(sandbox.customers()).toHaveLength(120);
});

test("customers that an earlier system created, whose ids were never written, are found before the first create: none is made twice", async () => {
  const { database, sandbox, start } = await createParts();
  const accounts = 12;
  for (let n = 0; n < accounts; n += 1) await createByHand(sandbox, `A-${n}`);
  for (let n = 0; n < accounts; n += 1)
    await insertAccount(database, { accountNo: `A-${n}`, tiers: 0, pics: 0 });

  await start({ SYNC_BACKFILL_ON_START: "true" });
  await eventually(() => expect(sandbox.counts().byOperation.update).toBe(accounts), {
    timeoutMs: 20_000,
  });
  await untilAtRest(database, 40_000);

  expect(sandbox.customers()).toHaveLength(accounts);
  expect(sandbox.counts().byOperation.create).toBe(accounts);
  expect(await audit(database, sandbox)).toEqual(FLAWLESS);
});

/** As a hand-written script does it. */
async function createByHand(sandbox: Sandbox, code: string): Promise<void> {
  const token = await fetch(`${sandbox.url}/oauth/token`, {
    method: "POST",
    headers: {
      authorization: `Basic ${btoa(`${sandbox.clientId}:${sandbox.clientSecret}`)}`,
      "content-type": "application/x-www-form-urlencoded",
    },
    body: "grant_type=client_credentials",
  });
  const { access_token } = (await token.json()) as { access_token: string };
  const created = await fetch(`${sandbox.url}/api/customer/command`, {
    method: "POST",
    headers: { authorization: `Bearer ${access_token}`, "content-type": "application/json" },
    body: JSON.stringify({
      customer: {
        name: "Earlier",
        email: "",
        msisdn: "",
        address: ADDRESS,
        customer_role: "branch",
        parent_id: null,
        customer_type: "INDIVIDUAL",
        ktp: "",
        npwp: "",
      },
      tier: [],
      "customer-crew": [],
      "beneficiary-account": null,
      branch: { name: "Earlier", code, address: ADDRESS },
    }),
  });
  expect(created.ok).toBe(true);
}

const ADDRESS = {
  building: "",
  street: "",
  region: "",
  city: "",
  state: "",
  country: "Indonesia",
  zip_code: "",
};

/** Creates go out without a lookup before them. */
const UNASKED = { CUSTOMER_API_LOOKUP_FIRST: "false" };

test("F3 the lookup fails for as long as the API is away, and nothing is sent until it has answered", async () => {
  const { database, sandbox, start } = await createParts();
  sandbox.setFaults({
    next: [{ on: "create", dropConnection: "after" }],
    always: { on: "lookup", status: 500 },
  });
  const daemon = await start(UNASKED);
  await insertAccount(database, { accountNo: "A-7" });
  const { url } = JSON.parse(await daemon.waitForLine(/"msg":"started"/));
  await eventually(async () => {
    const requests = { operation: "lookup", result: "server_error" };
    expect(await readMetric(url, "api_requests_total", requests)).toBeGreaterThan(2);
  });
  const duringOutage = sandbox.counts().byOperation.create;

  sandbox.clearFaults();
  const backAt = performance.now();
  await untilAtRest(database, 40_000);

  const found = await audit(database, sandbox);
  recordFault("F3", found, { tries: 1, recoveryMs: performance.now() - backAt });
  expect(duringOutage).toBe(1);
  expect(sandbox.counts().byOperation.create).toBe(1);
  expect(found).toEqual(FLAWLESS);
  expect(await readMetric(url, "unknown_outcomes_total")).toBe(1);
});

test("F3 customers that had our number before are not guessed between: the account is parked with their count", async () => {
  const { database, sandbox, start } = await createParts();
  await start(UNASKED);
  const first = await insertAccount(database, { accountNo: "A-7" });
  await untilAtRest(database, 40_000);
  // Two accounts of ours with one number: two customers at the API, before the third create is lost.
  await insertAccount(database, { accountNo: "A-7" });
  await untilAtRest(database, 40_000);
  sandbox.setFaults({ next: [{ on: "create", dropConnection: "before" }] });

  const third = await insertAccount(database, { accountNo: "A-7" });
  await eventually(
    async () => expect(await statusOf(database, third)).toMatchObject({ state: "parked" }),
    {
      timeoutMs: 20_000,
    },
  );

  expect(await statusOf(database, third)).toMatchObject({
    error_class: "unknown_outcome",
    error: expect.stringContaining("2 customers have this code"),
  });
  expect((await externalIds(database, third)).account).toBeNull();
  expect((await externalIds(database, first)).account).not.toBeNull();
  expect(sandbox.customers()).toHaveLength(2);
});

test("F3 an account without a number cannot be looked up, and waits for a human", async () => {
  const { database, sandbox, start } = await createParts();
  await start();
  sandbox.setFaults({ next: [{ on: "create", dropConnection: "after" }] });

  const id = await insertAccount(database, { accountNo: "" });
  await eventually(
    async () => expect(await statusOf(database, id)).toMatchObject({ state: "parked" }),
    {
      timeoutMs: 20_000,
    },
  );

  expect((await statusOf(database, id))["error"]).toContain("has no number");
  expect(sandbox.counts().byOperation.lookup).toBe(0);
});

async function statusOf(database: TestDatabase, id: string) {
  const [row] = await database.query("select * from account_sync.status where account_id = $1", [
    id,
  ]);
  return row ?? {};
}

async function createParts() {
  const database = await createDatabase();
  const sandbox: Sandbox = await startSandbox({ honourKeys: false });
  const running: RunningProcess[] = [];
  cleanups.push(async () => {
    for (const daemon of running) daemon.signal("SIGKILL");
    await Promise.all(running.map((daemon) => daemon.exit));
    await sandbox.close();
  });

  return {
    database,
    sandbox,
    async start(environment: Readonly<Record<string, string>> = {}) {
      const daemon = startProcess({
        args: ["start"],
        env: {
          ...apiEnvironment(sandbox),
          DATABASE_URL: database.url,
          CUSTOMER_API_UNKNOWN_OUTCOME: "lookup",
          CUSTOMER_API_LOOKUP_PATH: "/api/customer?code={account_no}",
          CUSTOMER_API_TIMEOUT_MS: "1000",
          SYNC_QUIET_PERIOD_MS: "50",
          SYNC_BACKOFF_MIN_MS: "50",
          SYNC_BACKOFF_MAX_MS: "500",
          HTTP_PORT: "0",
          ...environment,
        },
      });
      running.push(daemon);
      await daemon.waitForLine(/"msg":"started"/, 20_000);
      return daemon;
    },
  };
}
