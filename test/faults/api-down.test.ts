/**
 * F17 to F22: the customer API is away, silent, broken, without end, refuses access or asks to wait. What was not sent is sent later
 * without help; what may have been applied is never sent under another key; retries are bounded; and no output holds personal data.
 */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import type { SandboxFault } from "../../src/local/sandbox-faults.ts";
import { externalIds, insertAccount, insertAccounts } from "../support/accounts.ts";
import { audit } from "../support/audit.ts";
import { findLeaks, indiscreetMessage, insertCanaryAccount } from "../support/canaries.ts";
import { eventually } from "../support/eventually.ts";
import { recordFault } from "../support/evidence.ts";
import { freePort, watchMemory } from "../support/machine.ts";
import { startProcess } from "../support/process.ts";
import {
  apiEnvironment,
  createProduct,
  type Product,
  QUICK,
  type RunningDaemon,
  readMetric,
} from "../support/product.ts";
import { countStates, mostWithin, retryAll, stateOf, untilAtRest } from "../support/queue-state.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { FLAWLESS } from "../support/verdict.ts";

const cleanups: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanups.splice(0).reverse()) await cleanUp();
});

test("F17 connections are refused: tried again with backoff and known as not sent, and no burst follows", async () => {
  const product = await createProduct();
  const proxy = await startTcpProxy(portOf(product.sandbox.url));
  await proxy.refuse();
  const daemon = await product.start({
    ...withStaticToken(product),
    CUSTOMER_API_URL: `http://127.0.0.1:${proxy.port}`,
    CUSTOMER_API_MAX_RPS: "40",
    SYNC_BACKOFF_MIN_MS: "100",
  });

  await insertAccounts(product.database, 100);
  await eventually(async () =>
    expect(await daemon.metric("circuit_state", { state: "open" })).toBe(1),
  );
  const tried = await daemon.metric("api_requests_total", { operation: "create" });
  // Only probes are sent, at growing intervals.
  await eventually(async () =>
    expect(await daemon.metric("api_requests_total", { operation: "create" })).toBeGreaterThan(
      tried + 2,
    ),
  );

  // Each refused connection counts as one attempt of one account; accounts that were held back have none.
  const attempts = await sumOfAttempts(product);
  const refused = await daemon.metric("api_requests_total", { result: "network" });
  expect(attempts).toBeLessThanOrEqual(refused);
  expect(refused).toBeLessThan(50);
  expect(await daemon.metric("unknown_outcomes_total")).toBe(0);
  expect(await deliveries(product)).toEqual(["not_sent"]);
  expect((await countStates(product.database))["parked"]).toBeUndefined();
  expect(saidAboutCircuit(daemon)).toHaveLength(1);

  await proxy.accept();
  const backAt = performance.now();
  await eventually(() => expect(product.requests().length).toBeGreaterThan(0));
  const firstAfterMs = performance.now() - backAt;
  await untilAtRest(product.database);

  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  // Sends are 25 ms apart; in a starved process a few late ones come together (as in test/e2e/pace.test.ts).
  const times = product.requests().map(({ receivedAt }) => receivedAt);
  expect(times).toHaveLength(100);
  expect(mostWithin(times, 1_000)).toBeLessThanOrEqual(50);
  // The longest backoff, and the duration of a probe.
  expect(firstAfterMs).toBeLessThan(3_000);
  expect(await findLeaks({ ...product, daemons: [daemon] })).toEqual([]);
  recordFault("F17", found, { tries: refused, recoveryMs: firstAfterMs });
});

test("F17 the host name does not resolve: known as not sent, and a corrected name sends everything", async () => {
  const product = await createProduct();
  await product.database.query(
    "insert into m_backend_ext_config (name, base_url, client_id, client_secret, url) values ('Customer API', 'http://customer-api.invalid', $1, $2, '/api/customer/command')",
    [product.sandbox.clientId, product.sandbox.clientSecret],
  );
  const daemon = await product.start({ CUSTOMER_API_URL: "", CUSTOMER_API_INSECURE: "true" });

  await insertAccounts(product.database, 40);
  await eventually(async () =>
    expect(await daemon.metric("circuit_state", { state: "open" })).toBe(1),
  );
  const tries = await daemon.metric("api_requests_total", { result: "network" });
  expect(await sumOfAttempts(product)).toBe(0);
  expect(await daemon.metric("unknown_outcomes_total")).toBe(0);
  await eventually(async () => expect(await deliveries(product)).toEqual(["not_sent"]));

  await product.database.query("update m_backend_ext_config set base_url = $1", [
    product.sandbox.url,
  ]);
  const recoveryMs = await untilAtRest(product.database);

  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  expect(product.sandbox.customers()).toHaveLength(40);
  recordFault("F17", found, { tries, recoveryMs });
});

test.each([
  ["never applied", { hang: true }],
  ["applied", { hang: true, applied: true }],
] as const)(
  "F18 the API takes commands and never answers, %s: given up at the deadline, unknown, and no second customer",
  async (_, fault: SandboxFault) => {
    const product = await createProduct();
    const deadlineMs = 500;
    const daemon = await product.start({ CUSTOMER_API_TIMEOUT_MS: String(deadlineMs) });
    const known = await insertMany(product, "K", 5);
    await untilAtRest(product.database);
    const heard = product.requests().length;

    product.sandbox.setFaults({ always: fault });
    const created = await insertMany(product, "N", 10);
    await product.database.query("update m_account set name = 'Toko Uji Baru' where id = any($1)", [
      known,
    ]);
    await eventually(async () => {
      for (const id of created)
        expect(await stateOf(product.database, id)).toMatchObject({
          state: "parked",
          error_class: "unknown_outcome",
        });
      expect(await daemon.metric("api_requests_total", { result: "timeout" })).toBeGreaterThan(12);
    });

    const silent = product.requests().slice(heard);
    for (const { receivedAt, answeredAt } of silent.filter((one) => one.answeredAt !== null)) {
      expect((answeredAt ?? 0) - receivedAt).toBeGreaterThan(deadlineMs - 100);
      expect((answeredAt ?? 0) - receivedAt).toBeLessThan(deadlineMs + 2_000);
    }
    for (const id of created) expect((await externalIds(product.database, id)).account).toBeNull();
    expect(await daemon.metric("unknown_outcomes_total")).toBe(10);
    for (const id of known)
      expect((await stateOf(product.database, id)).error_class).not.toBe("unknown_outcome");

    product.sandbox.clearFaults();
    // The updates are repeated without help, the creates only on request, under their own keys.
    await eventually(async () => {
      for (const id of known) expect((await stateOf(product.database, id)).state).toBe("clean");
    });
    const backAt = performance.now();
    await retryAll(daemon);
    await untilAtRest(product.database);

    const found = await audit(product.database, product.sandbox);
    expect(found).toEqual(FLAWLESS);
    expect(product.sandbox.customers()).toHaveLength(15);
    expect(await findLeaks({ ...product, daemons: [daemon] })).toEqual([]);
    recordFault("F18", found, { tries: silent.length, recoveryMs: performance.now() - backAt });
  },
);

test("F18 where the API honours keys, creates that were never answered are resent by themselves: one customer each", async () => {
  const product = await createProduct();
  const daemon = await product.start({
    CUSTOMER_API_TIMEOUT_MS: "300",
    CUSTOMER_API_UNKNOWN_OUTCOME: "resend",
  });
  product.sandbox.setFaults({ always: { hang: true, applied: true } });

  await insertMany(product, "A", 20);
  await eventually(
    async () =>
      expect(await daemon.metric("api_requests_total", { result: "timeout" })).toBeGreaterThan(20),
    { timeoutMs: 30_000 },
  );
  const tries = await daemon.metric("api_requests_total", { result: "timeout" });
  product.sandbox.clearFaults();
  const recoveryMs = await untilAtRest(product.database);

  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  expect(product.sandbox.customers()).toHaveLength(20);
  recordFault("F18", found, { tries, recoveryMs });
});

const HTML_PAGE = `<html><body>Portal ${"masuk ".repeat(20_000)}</body></html>`;
const BROKEN_ANSWERS: readonly (readonly [string, SandboxFault])[] = [
  ["reset before it was applied", { dropConnection: "before", reset: true }],
  ["closed before it was applied", { dropConnection: "before" }],
  ["reset after it was applied", { dropConnection: "after", reset: true }],
  ["closed after it was applied", { dropConnection: "after" }],
  ["reset in the middle of the answer", { cutOff: true, reset: true }],
  ["closed in the middle of the answer", { cutOff: true }],
  [
    "truncated JSON of the right length",
    { body: '{"success":true,"customer":{"data":{"id":"cus_' },
  ],
  ["a page of HTML instead of the answer", { status: 200, body: HTML_PAGE }],
  ["a page of HTML although it was applied", { status: 200, applied: true, body: HTML_PAGE }],
  ["an empty 200", { status: 200, applied: true, body: "" }],
];

test("F19 connections that break and answers that are none: unknown, nothing written, the journal bounded, nothing twice", async () => {
  const product = await createProduct();
  const daemon = await product.start({ SYNC_BACKOFF_MAX_MS: "200" });
  const rounds = 3;
  const ids: string[] = [];
  const faults = Array.from({ length: rounds }, (_, round) =>
    BROKEN_ANSWERS.map(([, fault], kind) => ({ code: `B-${kind}-${round}`, fault })),
  ).flat();

  product.sandbox.setFaults({
    next: faults.map(({ code, fault }) => ({ ...fault, code, on: "create" as const })),
  });
  for (const { code } of faults)
    ids.push(await insertAccount(product.database, { accountNo: code, tiers: 2, pics: 1 }));
  await eventually(
    async () => expect(await countStates(product.database)).toEqual({ parked: faults.length }),
    { timeoutMs: 30_000 },
  );

  for (const id of ids) {
    expect((await stateOf(product.database, id)).error_class).toBe("unknown_outcome");
    expect(await externalIds(product.database, id)).toMatchObject({
      account: null,
      branch: null,
      tiers: [null, null],
      pics: [null],
    });
  }
  const [journal] = await product.database.query<Record<string, number>>(
    `select count(*)::integer as attempts, count(received)::integer as received,
       max(length(error)) as error, max(length(body)) as body, max(pg_column_size(a.*)) as row
     from account_sync.attempt a where settled_at is null`,
  );
  expect(journal).toMatchObject({ attempts: faults.length, received: 0 });
  expect(journal?.["error"]).toBeLessThanOrEqual(1_000);
  // The command itself, and nothing of the answer.
  expect(journal?.["body"]).toBeLessThan(4_000);
  expect(journal?.["row"]).toBeLessThan(8_000);

  await retryAll(daemon);
  await untilAtRest(product.database);
  expect(await audit(product.database, product.sandbox)).toEqual(FLAWLESS);

  // The same faults on updates, which are repeated without help.
  product.sandbox.setFaults({
    next: faults.map(({ code, fault }) => ({ ...fault, code, on: "update" as const })),
  });
  await product.database.query("update m_account set email = 'baru@example.com'");
  await eventually(
    async () =>
      expect(
        await daemon.metric("api_requests_total", { operation: "update", result: "network" }),
      ).toBe(faults.length),
    { timeoutMs: 30_000 },
  );
  const recoveryMs = await untilAtRest(product.database);

  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  expect(await findLeaks({ ...product, daemons: [daemon] })).toEqual([]);
  recordFault("F19", found, { tries: 2 * faults.length, recoveryMs });
});

test("F19 reset in the middle of the request: unknown, nothing written, and one customer after a person's retry", async () => {
  const product = await createProduct();
  const network = await startFickleNetwork(portOf(product.sandbox.url));
  const daemon = await product.start({
    ...withStaticToken(product),
    CUSTOMER_API_URL: `http://127.0.0.1:${network.port}`,
  });
  network.resets = true;

  // Large enough that it does not leave in one piece.
  const ids = await insertMany(product, "A", 5, { pics: 1_500 });
  await eventually(
    async () => expect(await countStates(product.database)).toEqual({ parked: ids.length }),
    { timeoutMs: 30_000 },
  );
  for (const id of ids) {
    expect((await stateOf(product.database, id)).error_class).toBe("unknown_outcome");
    expect((await externalIds(product.database, id)).account).toBeNull();
  }
  expect(product.sandbox.customers()).toEqual([]);

  network.resets = false;
  await retryAll(daemon);
  const recoveryMs = await untilAtRest(product.database);

  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  expect(product.sandbox.customers()).toHaveLength(ids.length);
  recordFault("F19", found, { tries: ids.length, recoveryMs });
});

const MEGABYTE = 1024 * 1024;
const ENDLESS_ANSWERS: readonly (readonly [string, SandboxFault, RegExp])[] = [
  ["200 MiB", { floodBytes: 200 * MEGABYTE }, /larger than 4 MiB/],
  ["a gzip bomb of 64 MiB", { floodBytes: 64 * MEGABYTE, gzip: true }, /sections of an answer/],
  ["a slow trickle", { trickleMs: 20 }, /in time/],
  ["10,000 headers", { headers: manyHeaders(10_000) }, /headers are larger|not HTTP/],
];

test("F20 answers without end: each is broken off within its limit, and the process's memory stays flat", async () => {
  const product = await createProduct();
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const daemon = startProcess({
    env: {
      ...QUICK,
      ...apiEnvironment(product.sandbox),
      DATABASE_URL: product.database.url,
      HTTP_PORT: String(port),
      CUSTOMER_API_UNKNOWN_OUTCOME: "resend",
      CUSTOMER_API_TIMEOUT_MS: "2500",
      SYNC_BACKOFF_MAX_MS: "100",
      // With a small young generation the garbage is collected early, so what is left is in use.
      NODE_OPTIONS: "--max-semi-space-size=8",
    },
  });
  await daemon.waitForLine(/"started"/);
  await insertMany(product, "A", 30);
  await untilAtRest(product.database);

  const memory = await watchMemory(daemon.pid);
  const before = memory.peakMb();
  let tries = 0;
  const peaks: Record<string, number> = {};
  for (const [name, fault, said] of ENDLESS_ANSWERS) {
    const startedAt = product.requests().length;
    product.sandbox.setFaults({ always: fault });
    memory.startAgain();
    await product.database.query("update m_account set name = $1", [`Toko Uji ${name}`]);
    await insertMany(product, `N${tries}`, 10);
    await eventually(
      () => {
        const requests = product.requests().slice(startedAt);
        const over = requests.filter(({ answeredAt }) => answeredAt !== null);
        expect(over.length).toBeGreaterThanOrEqual(16);
      },
      { timeoutMs: 30_000 },
    );
    const over = product.requests().slice(startedAt);
    tries += over.length;
    for (const { receivedAt, answeredAt } of over.filter((one) => one.answeredAt !== null))
      expect((answeredAt ?? 0) - receivedAt).toBeLessThan(2_500 + 2_000);
    peaks[name] = Math.round(memory.peakMb());
    // The API is done with a request before the daemon has written down what came of it.
    await eventually(async () => {
      const errors = await product.database.query<{ error: string }>(
        "select error from account_sync.history where error is not null order by started_at desc limit 5",
      );
      expect(errors.map(({ error }) => error).join("\n")).toMatch(said);
    });

    product.sandbox.clearFaults();
    await untilAtRest(product.database);
  }

  process.stdout.write(`${JSON.stringify({ beforeMb: Math.round(before), peaks })}\n`);
  // Sixteen requests in flight may hold 4 MiB each, as chunks, for a moment; without the limit it is 3.2 GiB.
  expect(Math.max(...Object.values(peaks)) - before).toBeLessThan(200);
  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  await eventually(async () => expect(await readMetric(url, "pending_accounts")).toBe(0));
  expect(await findLeaks({ ...product, daemons: [{ url, log: daemon.stdout }] })).toEqual([]);
  daemon.signal("SIGTERM");
  expect((await daemon.exit).code).toBe(0);
  recordFault("F20", found, { tries, recoveryMs: null });
});

test("F21 a token that stops working in the middle: one new token for everybody, each request repeated once under its key", async () => {
  const product = await createProduct();
  const daemon = await product.start();
  const rounds = 5;

  for (let round = 0; round < rounds; round += 1) {
    await insertMany(product, `R${round}-`, 16, { tiers: 1, pics: 1 });
    await untilAtRest(product.database);
    product.sandbox.revokeTokens();
  }
  const { byStatus, byOperation } = product.sandbox.counts();

  // The first one, and one for each time it stopped working with sends under way.
  expect(byOperation.token).toBe(rounds);
  // At most one refusal per request, and none of them ended an account's sync.
  expect(byStatus["401"]).toBeLessThanOrEqual((rounds - 1) * 16);
  const requestsByKey = Map.groupBy(product.requests(), ({ key }) => key);
  for (const sameKey of requestsByKey.values()) {
    expect(sameKey.length).toBeLessThanOrEqual(2);
    expect(new Set(sameKey.map(({ text }) => text)).size).toBe(1);
  }
  expect(await daemon.metric("runs_total", { outcome: "retry" })).toBe(0);
  expect(saidAboutCircuit(daemon)).toEqual([]);
  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  recordFault("F21", found, { tries: rounds - 1, recoveryMs: null });
});

/** The sandbox's secret by default. */
const INDISCREET = indiscreetMessage({ clientSecret: "sandbox-secret" });

interface LockedOut {
  readonly fault: SandboxFault;
  /** Requests for one token, and for one command, that one try may cost. */
  readonly commandsPerTry: number;
  readonly said: RegExp;
}

const LOCKED_OUT: Readonly<Record<string, LockedOut>> = {
  "401 for ever": {
    fault: { status: 401, body: { error: INDISCREET } },
    commandsPerTry: 2,
    said: /CUSTOMER_API_CLIENT_ID/,
  },
  "403 that speaks of the token, for ever": {
    fault: {
      status: 403,
      body: { message: `the access token has expired. ${INDISCREET}` },
    },
    commandsPerTry: 2,
    said: /CUSTOMER_API_CLIENT_ID/,
  },
  "a token endpoint that answers 500": {
    fault: { on: "token", status: 500, body: { error: "sandbox-secret is down" } },
    commandsPerTry: 0,
    said: /token endpoint .* answered 500/,
  },
  "a token endpoint that refuses": {
    fault: {
      on: "token",
      status: 400,
      // The token endpoint knows the client's secret, but no personal data.
      body: { error: "invalid_scope", error_description: "not with sandbox-secret" },
    },
    commandsPerTry: 0,
    said: /gave no token/,
  },
  "a token endpoint that hangs up": {
    fault: { on: "token", dropConnection: "before", reset: true },
    commandsPerTry: 0,
    said: /token endpoint/,
  },
};

test.each(Object.entries(LOCKED_OUT))(
  "F21 %s: all sends stop, it is said once, no account is to blame, and nothing is lost",
  async (_, { fault, commandsPerTry, said }) => {
    const product = await createProduct();
    const daemon = await product.start();
    const accounts = 30;
    product.sandbox.setFaults({ always: fault });

    for (let n = 0; n < accounts; n += 1)
      await insertCanaryAccount(product.database, { accountNo: `A${n}`, tiers: 1, pics: 1 });
    await eventually(async () =>
      expect(await daemon.metric("circuit_state", { state: "open" })).toBe(1),
    );
    // Until the third probe after the circuit opened.
    const probes = () => product.sandbox.counts().byOperation.token;
    const atOpening = probes();
    await eventually(() => expect(probes()).toBeGreaterThanOrEqual(atOpening + 3));

    const { byOperation } = product.sandbox.counts();
    const tries = byOperation.token + byOperation.create;
    // Sixteen were in flight when it began; since then one at a time.
    expect(byOperation.create).toBeLessThanOrEqual(commandsPerTry * (16 + byOperation.token + 1));
    expect(byOperation.token).toBeLessThan(20);
    const openings = saidAboutCircuit(daemon);
    expect(openings).toHaveLength(1);
    expect(openings[0]).toMatch(said);
    expect(await sumOfAttempts(product)).toBe(0);
    const states = await countStates(product.database);
    expect(states["parked"]).toBeUndefined();
    expect(states["clean"]).toBeUndefined();
    await eventually(async () => expect(await daemon.metric("pending_accounts")).toBe(accounts));
    expect(await daemon.metric("unknown_outcomes_total")).toBe(0);

    product.sandbox.clearFaults();
    const recoveryMs = await untilAtRest(product.database);
    const found = await audit(product.database, product.sandbox);
    expect(found).toEqual(FLAWLESS);
    expect(product.sandbox.customers()).toHaveLength(accounts);
    expect(await findLeaks({ ...product, daemons: [daemon] })).toEqual([]);
    recordFault("F21", found, { tries, recoveryMs });
  },
);

test.each([
  ["is slow", { on: "token", delayMs: 800 }],
  ["tells no expires_in", { on: "token" }],
] as const)("F21 a token endpoint that %s: one token serves all requests", async (_, fault) => {
  const product = await createProduct();
  const body = { access_token: product.sandbox.staticToken };
  product.sandbox.setFaults({ always: { ...fault, body } });
  const daemon = await product.start();

  await insertMany(product, "A", 60, { tiers: 1, pics: 1 });
  await untilAtRest(product.database);

  expect(product.sandbox.counts().byOperation).toMatchObject({ token: 1, create: 60 });
  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  expect(saidAboutCircuit(daemon)).toEqual([]);
  expect(await findLeaks({ ...product, daemons: [daemon] })).toEqual([]);
  recordFault("F21", found, { tries: 1, recoveryMs: null });
});

const REFUSALS: readonly (readonly [string, SandboxFault])[] = [
  // Without the words by which a 403 counts as a refused token.
  ["403", { status: 403, body: { error: INDISCREET.replace(/Bearer.*/, "") } }],
  ["409", { status: 409, body: { error: { message: INDISCREET, status: 409 } } }],
  ["422", { status: 422, body: { errors: [{ message: INDISCREET }] } }],
  ["400", { status: 400, body: { message: { message: INDISCREET } } }],
  ["404", { status: 404, body: INDISCREET }],
];

test("F22 403, 409 and 422: the account waits for a person with a reason that names nobody, all others go on", async () => {
  const product = await createProduct();
  const daemon = await product.start();
  const refused = REFUSALS.flatMap(([status, fault]) =>
    [1, 2, 3].map((n) => ({ code: `BAD-${status}-${n}`, status, fault })),
  );
  product.sandbox.setFaults({ next: refused.map(({ code, fault }) => ({ ...fault, code })) });

  const ids = new Map<string, string>();
  for (const { code } of refused)
    ids.set(
      code,
      await insertCanaryAccount(product.database, { accountNo: code, tiers: 1, pics: 1 }),
    );
  await insertMany(product, "GOOD", 30);
  await untilAtRest(product.database);

  expect(await countStates(product.database)).toEqual({ parked: refused.length, clean: 30 });
  for (const { code, status } of refused) {
    const state = await stateOf(product.database, ids.get(code) ?? "");
    expect(state).toMatchObject({ error_class: "rejected" });
    expect(state.error).toContain(status);
  }
  expect(await daemon.metric("circuit_state", { state: "closed" })).toBe(1);
  expect(product.requests()).toHaveLength(refused.length + 30);
  expect(await findLeaks({ ...product, daemons: [daemon] })).toEqual([]);

  // A change of the data puts it back.
  const backAt = performance.now();
  await product.database.query("update m_account set email = 'lain@example.com'");
  await untilAtRest(product.database);
  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  recordFault("F22", found, { tries: refused.length, recoveryMs: performance.now() - backAt });
});

test.each([
  [429, "2"],
  [503, "2"],
  [429, "an HTTP date"],
] as const)(
  "F22 %i with Retry-After %s: nothing is sent before, no attempt is used up, then everything arrives",
  async (status, form) => {
    const product = await createProduct();
    // About the wait: a 503 that leaves the create in doubt is F44, in mesh.test.ts.
    const daemon = await product.start({ CUSTOMER_API_NOT_APPLIED_STATUSES: "429,503" });
    const waitMs = 2_000;
    await insertMany(product, "K", 1);
    await untilAtRest(product.database);
    // Dates have a grain of a second, so this one asks for one to two seconds.
    const retryAfter = form === "an HTTP date" ? new Date(Date.now() + 3_000).toUTCString() : form;
    product.sandbox.setFaults({
      next: [{ status, retryAfter, body: { error: INDISCREET } }],
    });

    const first = await insertCanaryAccount(product.database, { accountNo: "F", pics: 1 });
    await eventually(() => expect(product.sandbox.counts().byStatus[status]).toBe(1));
    const toldAt = product.requests().at(-1)?.answeredAt ?? 0;
    await insertMany(product, "A", 30);
    await eventually(async () =>
      expect(await stateOf(product.database, first)).toMatchObject({ state: "retrying" }),
    );
    const waiting = await stateOf(product.database, first);
    expect(waiting.error_class).toBe(status === 429 ? "throttled" : "server");
    await untilAtRest(product.database);

    const after = product.requests().filter(({ receivedAt }) => receivedAt > toldAt);
    const earliest = Math.min(...after.map(({ receivedAt }) => receivedAt));
    expect(after).toHaveLength(31);
    expect(earliest - toldAt).toBeGreaterThan(form === "2" ? waitMs - 50 : 500);
    expect(earliest - toldAt).toBeLessThan(waitMs + 3_000);
    const found = await audit(product.database, product.sandbox);
    expect(found).toEqual(FLAWLESS);
    expect(await findLeaks({ ...product, daemons: [daemon] })).toEqual([]);
    recordFault("F22", found, {
      tries: 1,
      recoveryMs: earliest - toldAt - (form === "2" ? waitMs : 1_000),
    });
  },
);

test.each(["86400000", "Fri, 01 Jan 2100 00:00:00 GMT"])(
  "F22 an absurd Retry-After (%s) is capped at a quarter of an hour, and the account waits visibly",
  async (retryAfter) => {
    const product = await createProduct();
    const daemon = await product.start();
    product.sandbox.setFaults({ always: { status: 429, retryAfter } });

    const id = await insertAccount(product.database);
    await eventually(async () =>
      expect(await stateOf(product.database, id)).toMatchObject({
        state: "retrying",
        error_class: "throttled",
        attempts: 0,
      }),
    );

    const [row] = await product.database.query<{ seconds: number }>(
      "select extract(epoch from due_at - now())::float8 as seconds from account_sync.status where account_id = $1",
      [id],
    );
    expect(row?.seconds).toBeGreaterThan(14 * 60);
    expect(row?.seconds).toBeLessThanOrEqual(15 * 60);
    await eventually(async () =>
      expect(await daemon.metric("pending_accounts", { state: "retrying" })).toBe(1),
    );
    const because = "the API asked for a longer wait than the cap of a quarter of an hour";
    const found = await audit(product.database, product.sandbox, [
      { accounts: ["A-1"], are: "retrying", errorClass: "throttled", because },
    ]);
    expect(found).toEqual({ ...FLAWLESS, explained: { [`retrying: ${because}`]: 1 } });
    recordFault("F22", found, { tries: 1, recoveryMs: null });
  },
);

test("F22 a Retry-After that says nothing does not stop the retries", async () => {
  const product = await createProduct();
  await product.start({ CUSTOMER_API_NOT_APPLIED_STATUSES: "429,503" });
  const forms = ["-5", "soon", "", "0", "1e9"];
  product.sandbox.setFaults({
    next: forms.flatMap((retryAfter) =>
      [429, 503].map((status) => ({ code: `A${retryAfter}`, status, retryAfter })),
    ),
  });

  for (const form of forms) await insertAccount(product.database, { accountNo: `A${form}` });
  const recoveryMs = await untilAtRest(product.database);

  for (const form of forms) {
    const requests = product.requests().filter(({ code }) => code === `A${form}`);
    expect(requests.map(({ status }) => status)).toEqual([429, 503, 201]);
  }
  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  recordFault("F22", found, { tries: 2 * forms.length, recoveryMs });
});

test("F22 a Retry-After that one replica got holds for the other one too: nothing is sent before it is over", async () => {
  const product = await createProduct();
  const daemons = [await product.start(), await product.start()];
  await insertMany(product, "K", 10);
  await untilAtRest(product.database);
  product.sandbox.setFaults({ next: [{ status: 429, retryAfter: 3 }] });

  await insertMany(product, "F", 1);
  await eventually(() => expect(product.sandbox.counts().byStatus["429"]).toBe(1));
  const toldAt = product.requests().at(-1)?.answeredAt ?? 0;
  for (let n = 0; n < 10; n += 1) await insertMany(product, `A${n}-`, 5);
  await untilAtRest(product.database);

  const after = product.requests().filter(({ receivedAt }) => receivedAt > toldAt);
  const earliest = Math.min(...after.map(({ receivedAt }) => receivedAt));
  // Requests that the other replica had in flight at that moment may still arrive; here it had none.
  expect(earliest - toldAt).toBeGreaterThan(3_000 - 50);
  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  expect(await findLeaks({ ...product, daemons })).toEqual([]);
  recordFault("F22", found, { tries: 1, recoveryMs: earliest - toldAt - 3_000 });
});

async function insertMany(
  product: Product,
  prefix: string,
  count: number,
  { tiers = 0, pics = 0 }: { readonly tiers?: number; readonly pics?: number } = {},
): Promise<string[]> {
  const ids: string[] = [];
  for (let n = 0; n < count; n += 1)
    ids.push(await insertAccount(product.database, { accountNo: `${prefix}${n}`, tiers, pics }));
  return ids;
}

function withStaticToken(product: Product): Record<string, string> {
  return {
    CUSTOMER_API_CLIENT_ID: "",
    CUSTOMER_API_CLIENT_SECRET: "",
    CUSTOMER_API_TOKEN: product.sandbox.staticToken,
  };
}

async function sumOfAttempts(product: Product): Promise<number> {
  const [row] = await product.database.query<{ sum: number }>(
    "select coalesce(sum(attempts), 0)::integer as sum from account_sync.status",
  );
  return row?.sum ?? 0;
}

async function deliveries(product: Product): Promise<string[]> {
  const rows = await product.database.query<{ delivery: string }>(
    "select distinct delivery from account_sync.attempt where delivery <> 'sending'",
  );
  return rows.map(({ delivery }) => delivery);
}

function saidAboutCircuit(daemon: RunningDaemon): string[] {
  return daemon.log.filter((line) => JSON.parse(line).msg.startsWith("circuit open"));
}

function manyHeaders(count: number): Record<string, string> {
  return Object.fromEntries(Array.from({ length: count }, (_, n) => [`x-header-${n}`, "value"]));
}

function portOf(url: string): number {
  return Number(new URL(url).port);
}

/** A network that resets a connection as soon as the first piece of a request has come through. */
async function startFickleNetwork(
  targetPort: number,
): Promise<{ readonly port: number; resets: boolean }> {
  const network = { port: 0, resets: false };
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect({ port: targetPort, host: "127.0.0.1" });
    for (const socket of [near, far]) {
      sockets.add(socket);
      // "close" follows an error.
      socket.on("error", () => {});
    }
    near.on("close", () => far.destroy());
    far.on("close", () => near.destroy());
    far.pipe(near);
    near.on("data", (piece) => {
      far.write(network.resets ? piece.subarray(0, 300) : piece);
      if (!network.resets) return;
      near.resetAndDestroy();
      far.resetAndDestroy();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, "close");
  });
  network.port = (server.address() as { port: number }).port;
  return network;
}
