/** How fast an outage, or a first installation, is worked off, and what processor time an account costs. */
import { startFolding, waitUntilFolded } from "../contenders/account-sync.ts";
import type { Contender } from "../contenders/contender.ts";
import { ensureWaiting } from "../contenders/templates.ts";
import { editEveryAccount, ensureAccounts } from "../lab/accounts.ts";
import type { Child } from "../lab/children.ts";
import type { Database } from "../lab/postgres.ts";
import { type Drain, measureDrain } from "../measure/drain.ts";
import { until } from "../measure/wait.ts";
import { type Lab, type Observe, type Part, scaled } from "./part.ts";

/** Requests in flight. */
const CONCURRENCY = 32;

const DELAYS_MS = [0, 20, 200];
/** A slow API shows little that 20 ms do not, and takes long. */
const DELAYS_QUICK_MS = [0, 20];

export const drain: Part = {
  name: "drain",
  async run(lab, observe) {
    for (const delayMs of lab.quick ? DELAYS_QUICK_MS : DELAYS_MS) {
      for (let round = 1; round <= lab.rounds; round += 1) {
        for (const contender of lab.contenders) {
          lab.log(`drain, API ${delayMs} ms, round ${round}: ${contender.name}`);
          await drainOnce(lab, contender, delayMs, observe);
        }
      }
    }
  },
};

async function drainOnce(
  lab: Lab,
  contender: Contender,
  delayMs: number,
  observe: Observe,
): Promise<void> {
  const { postgres } = lab;
  const accounts = countAccounts(lab, contender, delayMs);
  const database = await postgres.createDatabase(
    "bench",
    contender.install === null
      ? await ensureAccounts(postgres, 1)
      : await ensureWaiting(postgres, contender, accounts),
  );
  const concurrency = Math.min(CONCURRENCY, contender.concurrencyMax);
  const measure = (makeWork?: () => Promise<void>) =>
    measureDrain({
      ...lab,
      contender,
      database,
      accounts,
      concurrency,
      delayMs,
      ...(makeWork === undefined ? {} : { makeWork }),
    });
  const report = (scenario: string, drained: Drain) =>
    observeDrain(observe, contender, `${scenario}, API ${delayMs} ms`, drained);

  const needsDaemon = contender.install !== null && !contender.isDurable;
  report(
    "first sync",
    await measure(needsDaemon ? () => editEveryAccount(database, "First ") : undefined),
  );
  if (contender.name === "account-sync") {
    await editEveryAccount(database, "Second ");
    report("re-sync", await measure());
    if (delayMs === 0) await drainUnchanged(lab, contender, database, accounts, observe);
  }
  await database.drop();
}

/**
 * Fewer where a round would take minutes: behind a slow API, and for the contender that sends one request at a time. A rate needs
 * seconds, not accounts.
 */
function countAccounts(lab: Lab, contender: Contender, delayMs: number): number {
  if (contender.concurrencyMax === 1) {
    if (delayMs === 0) return scaled(lab, 2_000, 500);
    return scaled(lab, delayMs === 20 ? 150 : 30, delayMs === 20 ? 50 : 10);
  }
  if (delayMs === 200) return scaled(lab, 1_000, 320);
  if (delayMs === 20) return scaled(lab, 20_000, 2_000);
  // The client alone would be done before its code is compiled.
  const times = contender.install === null ? 5 : 1;
  return times * scaled(lab, 10_000, 2_000);
}

/**
 * Edited and edited back: everything is loaded and compared, and nothing sent. The changes are folded before the clock runs, from the first
 * tenth of the accounts on as in a drain.
 */
async function drainUnchanged(
  lab: Lab,
  contender: Contender,
  database: Database,
  accounts: number,
  observe: Observe,
): Promise<void> {
  await editEveryAccount(database, "Third ");
  await editEveryAccount(database, "Second ");
  const folding = await startFolding(database, lab.api.url);
  await waitUntilFolded(database);
  await folding.stop();
  await database.query("update account_sync.account set due_at = now()");

  await lab.api.reset({ delayMs: 0 });
  const daemon = await startContender(lab, contender, database, accounts);
  const waitUntilLeft = (wanted: number) =>
    until(`${wanted} accounts to compare`, 10, async () => {
      const left = await countPending(database);
      return { answer: left <= wanted ? { left, atMs: performance.now() } : null, progress: left };
    });
  const begun = await waitUntilLeft(accounts * 0.9);
  const done = await waitUntilLeft(0);
  await daemon.stop();

  const { requests } = await lab.api.counts();
  if (requests > 0) throw new Error(`${requests} unchanged accounts were sent`);
  observe({
    scenario: "unchanged",
    contender: contender.name,
    metric: "accounts/s",
    value: (begun.left * 1_000) / (done.atMs - begun.atMs),
  });
}

async function startContender(
  lab: Lab,
  contender: Contender,
  database: Database,
  accounts: number,
): Promise<Child> {
  if (contender.start === null) throw new Error(`${contender.name} has no daemon`);
  return await contender.start({
    databaseUrl: database.url,
    apiUrl: lab.api.url,
    concurrency: CONCURRENCY,
    accounts,
  });
}

async function countPending(database: Database): Promise<number> {
  const [row] = await database.query<{ count: number }>(
    "select count(*)::integer as count from account_sync.account where changed_at is not null",
  );
  return row?.count ?? 0;
}

function observeDrain(
  observe: Observe,
  contender: Contender,
  scenario: string,
  { accountsPerSecond, daemonMs, postgresMs }: Drain,
): void {
  const common = { scenario, contender: contender.name };
  observe({ ...common, metric: "accounts/s", value: accountsPerSecond });
  if (daemonMs !== null) observe({ ...common, metric: "daemon CPU ms/account", value: daemonMs });
  if (postgresMs !== null && contender.install !== null) {
    observe({ ...common, metric: "PostgreSQL CPU ms/account", value: postgresMs });
  }
}
