/**
 * F13: packets between a daemon and the database vanish without a reset or an error. The daemon notices and gives up its accounts, the
 * server ends its sessions, another daemon takes over, and never do two of them send for one account.
 */
import { expect, test } from "vitest";
import { insertAccount } from "../support/accounts.ts";
import { type DaemonProcess, startDaemonProcess } from "../support/daemon-process.ts";
import { eventually } from "../support/eventually.ts";
import { recordSpeed } from "../support/evidence.ts";
import { expectFlawless } from "../support/fault-end.ts";
import { createNetwork, type Network } from "../support/network.ts";
import { type OwnPostgres, startOwnPostgres } from "../support/own-postgres.ts";
import { createProduct, type Product, type RunningDaemon } from "../support/product.ts";
import { untilAtRest } from "../support/queue-state.ts";

/** The matrix allows the daemon this long to notice, and the server to end the sessions. */
const NOTICED_WITHIN_MS = 20_000;
/** What README promises for a dead listener. */
const LISTENER_WITHIN_MS = 10_000;

test("F13 silence at rest: noticed in time, the sessions are freed, and another daemon has gone on meanwhile", async () => {
  const { network, postgres, product, lonely } = await createParts();
  await product.start(nearby(network));
  await insertAccount(postgres.database, { accountNo: "A-1" });
  await untilAtRest(product.database);

  network.blackhole(true);
  const silentAt = performance.now();
  const since = () => Math.round(performance.now() - silentAt);
  await insertAccount(postgres.database, { accountNo: "A-2" });
  await eventually(() => expect(product.sandbox.customers()).toHaveLength(2));
  const goesOnMs = since();
  const [listenerMs, poolMs, freedMs] = await Promise.all([
    listenerDown(lonely).then(since),
    poolTroubled(lonely).then(since),
    sessionsFreed(network, postgres).then(since),
  ]);
  print(network, { goesOnMs, listenerMs, poolMs, freedMs });
  network.blackhole(false);
  const healedAt = performance.now();
  await eventually(async () => expect((await fetch(`${lonely.url}/readyz`)).status).toBe(200), {
    timeoutMs: 30_000,
  });
  const recoveryMs = performance.now() - healedAt;

  const by = `behind a silent network (${network.kind})`;
  recordSpeed({ what: `a dead listener noticed ${by}`, ms: listenerMs, withinMs: 10_000 });
  recordSpeed({ what: `a dead connection noticed ${by}`, ms: poolMs, withinMs: 20_000 });
  if (network.daemonAddress !== null)
    recordSpeed({ what: `its sessions freed by the server ${by}`, ms: freedMs, withinMs: 20_000 });
  expect(listenerMs).toBeLessThan(LISTENER_WITHIN_MS);
  expect(poolMs).toBeLessThan(NOTICED_WITHIN_MS);
  expect(freedMs).toBeLessThan(NOTICED_WITHIN_MS);
  await judge(product, recoveryMs);
});

test("F13 silence while a request is in flight: it is given up before another daemon sends the same create again", async () => {
  const { network, postgres, product, lonely } = await createParts({
    CUSTOMER_API_UNKNOWN_OUTCOME: "resend",
  });
  product.sandbox.setFaults({ next: [{ delayMs: 60_000 }] });
  await insertAccount(postgres.database, { accountNo: "A-1" });
  await eventually(() => expect(product.sandbox.counts().inWork).toBe(1));
  await product.start({ ...nearby(network), CUSTOMER_API_UNKNOWN_OUTCOME: "resend" });

  network.blackhole(true);
  const silentAt = performance.now();
  await eventually(() => expect(product.sandbox.customers()).toHaveLength(1), {
    timeoutMs: 40_000,
  });
  const takenOverMs = Math.round(performance.now() - silentAt);
  recordSpeed({
    what: `the accounts of a daemon taken over that is behind a silent network (${network.kind})`,
    ms: takenOverMs,
    withinMs: NOTICED_WITHIN_MS,
  });
  await untilAtRest(product.database);
  const [first, second] = product.requests();
  network.blackhole(false);
  const healedAt = performance.now();
  await eventually(async () => expect((await fetch(`${lonely.url}/readyz`)).status).toBe(200), {
    timeoutMs: 30_000,
  });

  expect(product.requests()).toHaveLength(2);
  expect([second?.key, second?.text]).toEqual([first?.key, first?.text]);
  expect(first?.answeredAt ?? Number.POSITIVE_INFINITY).toBeLessThan(second?.receivedAt ?? 0);
  expect(takenOverMs).toBeLessThan(NOTICED_WITHIN_MS);
  await judge(product, performance.now() - healedAt);
});

test("F13 silence while a create is in flight that may not be repeated: its answer is kept until it can be journaled", async () => {
  const { network, postgres, product, lonely } = await createParts();
  product.sandbox.setFaults({ next: [{ delayMs: 60_000 }] });
  const id = await insertAccount(postgres.database, { accountNo: "A-1" });
  await eventually(() => expect(product.sandbox.counts().inWork).toBe(1));
  await product.start(nearby(network));

  network.blackhole(true);
  product.sandbox.clearFaults();
  // The other daemon finds a create that was sent and not answered, and parks it.
  await eventually(
    async () => expect(await stateOf(postgres, id)).toMatchObject({ state: "parked" }),
    { timeoutMs: 40_000 },
  );
  expect(await stateOf(postgres, id)).toMatchObject({ error_class: "unknown_outcome" });
  expect(product.sandbox.counts().inWork).toBe(0);
  network.blackhole(false);
  const healedAt = performance.now();
  // Revived: the daemon that received the answer has journaled it.
  await eventually(
    async () => expect(await stateOf(postgres, id)).toMatchObject({ state: "clean" }),
    { timeoutMs: 40_000 },
  );
  const recoveryMs = performance.now() - healedAt;
  print(network, { answerWrittenAfterMs: Math.round(recoveryMs) });

  expect(product.requests()).toHaveLength(1);
  expect(lonely.stdout.join("\n")).not.toMatch(/"level":"(?:error|fatal)"/);
  await judge(product, recoveryMs);
});

/** One daemon behind the network, as a process of its own; others may run beside the database. */
async function createParts(environment: Readonly<Record<string, string>> = {}) {
  const network = await createNetwork();
  const postgres = await startOwnPostgres({
    settings: { listen_addresses: network.databaseHosts },
    ...(network.daemonAddress === null ? {} : { admit: network.daemonAddress }),
  });
  const product = await createProduct({
    on: postgres.database,
    sandbox: { host: network.apiHost },
  });
  const behind = await network.daemon(postgres);
  const lonely = await startDaemonProcess(
    product,
    { ...PATIENT, ...behind.environment, ...environment },
    { within: behind.within },
  );
  return { network, postgres, product, lonely };
}

const PATIENT = {
  // So long that a takeover before its end is due to liveness, not to the lease.
  SYNC_LEASE_MS: "15000",
  // So long that a request is given up for the silence, not for its timeout.
  CUSTOMER_API_TIMEOUT_MS: "60000",
};

function nearby(network: Network): Record<string, string> {
  return {
    ...PATIENT,
    ...(network.apiHost === "127.0.0.1" ? {} : { CUSTOMER_API_INSECURE: "true" }),
  };
}

async function listenerDown(daemon: DaemonProcess | RunningDaemon): Promise<void> {
  await eventually(
    async () => expect((await fetch(`${daemon.url}/readyz`)).status).toBe(503),
    WITHIN_A_MINUTE,
  );
}

/** Until the pool has said that it gets no answers. */
async function poolTroubled(daemon: DaemonProcess): Promise<void> {
  await eventually(
    () => expect(daemon.stdout.join("\n")).toContain("database trouble"),
    WITHIN_A_MINUTE,
  );
}

/** Until the server has ended every session from behind the network. A proxy keeps them open, so there it cannot be seen. */
async function sessionsFreed(network: Network, postgres: OwnPostgres): Promise<void> {
  if (network.daemonAddress === null) return;
  await eventually(async () => {
    const [row] = await postgres.database.query<{ sessions: number }>(
      "select count(*)::int as sessions from pg_stat_activity where client_addr = $1",
      [network.daemonAddress],
    );
    expect(row?.sessions).toBe(0);
  }, WITHIN_A_MINUTE);
}

const WITHIN_A_MINUTE = { timeoutMs: 60_000, intervalMs: 50 };

async function stateOf(postgres: OwnPostgres, id: string) {
  const [row] = await postgres.database.query(
    "select state, error_class from account_sync.status where account_id = $1",
    [id],
  );
  return row;
}

function print(network: Network, figures: Readonly<Record<string, number>>): void {
  process.stdout.write(`silence made by ${network.kind}: ${JSON.stringify(figures)}\n`);
}

async function judge(product: Product, recoveryMs: number): Promise<void> {
  await expectFlawless(product, "F13", { tries: 1, recoveryMs });
}
