/**
 * Invariants I2 and I5 to I8, judged from outside: from the API's history, the database's own views, and the output of our processes.
 * I1 to I4 are in verdict.ts.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import type { Sandbox } from "../../src/local/sandbox.ts";
import type { SandboxRequest } from "../../src/local/sandbox-requests.ts";
import { hiddenAccounts } from "./audit.ts";
import type { Slot } from "./fleet.ts";
import { type TestDatabase, withClient } from "./postgres.ts";
import { toNumber } from "./product.ts";

/** A fault of ours: a request may have been sent in this time, and its answer lost. Monotonic milliseconds. */
export interface Disturbance {
  /** null: all of them. */
  readonly slot: number | null;
  readonly name: string;
  readonly from: number;
  to: number;
}

/** A replica that is silent for less does not count as dead. */
const TAKE_OVER_MIN_MS = 3_000;

/**
 * I2: requests for one account that were in work at once. `ofStopped` counts those of a replica that was stopped while it waited for the
 * answer, for so long that another one took over: such a request cannot be called back, as the guarantees say.
 */
export function overlaps(
  requests: readonly SandboxRequest[],
  disturbances: readonly Disturbance[],
): { readonly forbidden: string[]; readonly ofStopped: number } {
  const forbidden: string[] = [];
  let ofStopped = 0;
  for (const [code, ofAccount] of perAccount(requests)) {
    for (const [index, later] of ofAccount.entries()) {
      for (const earlier of ofAccount.slice(0, index)) {
        if ((earlier.answeredAt ?? Number.POSITIVE_INFINITY) <= later.receivedAt) continue;
        const wasStopped = disturbances.some(
          ({ name, slot, from, to }) =>
            name === "stop" &&
            String(slot) === earlier.headers["x-replica"] &&
            earlier.receivedAt <= to &&
            from <= later.receivedAt &&
            later.receivedAt - Math.max(earlier.receivedAt, from) >= TAKE_OVER_MIN_MS,
        );
        if (wasStopped) ofStopped += 1;
        else
          forbidden.push(
            `${code}: ${earlier.operation} of replica ${earlier.headers["x-replica"]} at ${Math.round(earlier.receivedAt)}, ${later.operation} of replica ${later.headers["x-replica"]} at ${Math.round(later.receivedAt)}`,
          );
      }
    }
  }
  return { forbidden, ofStopped };
}

/**
 * I5: an account gets at most one request per change, its retries, and one more. A retry is a request whose predecessor was not answered
 * with a success, or was under way during a disturbance, so that its answer may not have been journaled.
 */
export function needlessRequests(
  requests: readonly SandboxRequest[],
  changesOf: (code: string) => number,
  disturbances: readonly Disturbance[],
): string[] {
  return [...perAccount(requests)].flatMap(([code, ofAccount]) => {
    const retries = ofAccount.filter((request, index) => {
      const before = ofAccount[index - 1];
      if (before === undefined) return false;
      const isAnswered = before.status !== null && before.status < 300 && before.applied;
      return (
        !isAnswered ||
        disturbances.some(({ from, to }) => from <= request.receivedAt && before.receivedAt <= to)
      );
    }).length;
    const allowed = changesOf(code) + retries + 1;
    return ofAccount.length <= allowed
      ? []
      : [`${code}: ${ofAccount.length} requests, ${changesOf(code)} changes, ${retries} retries`];
  });
}

function perAccount(requests: readonly SandboxRequest[]): Map<string, SandboxRequest[]> {
  const commands = requests.filter(
    ({ operation, code }) => code !== null && operation !== "token" && operation !== "lookup",
  );
  return Map.groupBy(commands, ({ code }) => code ?? "");
}

export interface Watch<Findings> {
  /** Stops looking. Resolves with what was seen. */
  end(): Promise<Findings>;
}

function watch<Findings>(
  everyMs: number,
  findings: Findings,
  look: () => Promise<void>,
): Watch<Findings> {
  let isOver = false;
  const loop = (async () => {
    while (!isOver) {
      await look();
      // The sampling interval.
      await sleep(everyMs);
    }
  })();
  // `end` rejects with it; until then nothing awaits the loop.
  loop.catch(() => {});
  return {
    async end() {
      isOver = true;
      await loop;
      return findings;
    },
  };
}

export interface Waits {
  /** How long a session of the application waited at most for a lock that one of ours held, sampled. */
  longestMs: number;
  /** Longest wait in milliseconds by what our session was doing. */
  readonly examples: Map<string, number>;
}

/** I6: sessions of the application, known by their names, that wait for one of ours. */
export function watchWaits(database: TestDatabase): Watch<Waits> {
  const findings: Waits = { longestMs: 0, examples: new Map() };
  return watch(100, findings, async () => {
    const rows = await database.query<{ ms: number; doing: string }>(
      `select
         extract(epoch from clock_timestamp() - w.query_start)::float8 * 1000 as ms,
         b.application_name || ' ' || b.state || ': ' || left(regexp_replace(b.query, '\\s+', ' ', 'g'), 120) as doing
       from pg_stat_activity w
       cross join lateral unnest(pg_blocking_pids(w.pid)) as blocking (pid)
       join pg_stat_activity b on b.pid = blocking.pid
       where w.datname = current_database()
         and w.application_name like 'application%'
         and b.application_name like 'account-sync%'`,
    );
    for (const { ms, doing } of rows) {
      findings.longestMs = Math.max(findings.longestMs, ms);
      findings.examples.set(doing, Math.max(findings.examples.get(doing) ?? 0, ms));
    }
  });
}

export async function deadlocks(database: TestDatabase): Promise<number> {
  const [row] = await database.query<{ deadlocks: string }>(
    "select deadlocks from pg_stat_database where datname = current_database()",
  );
  return Number(row?.deadlocks ?? 0);
}

export interface Visibility {
  looks: number;
  scrapes: number;
  /** Accounts with an undelivered change that looked clean, and replicas whose metrics did not show one. */
  readonly hidden: Set<string>;
}

/** A metric may be read this long before it is shown, and the machine may be slow. */
const METRIC_LATE_S = 3;

/** I7, at every moment of the storm: what is undelivered is seen in the status view, and in the metrics of every replica that answers. */
export function watchVisibility(
  database: TestDatabase,
  sandbox: Pick<Sandbox, "customers">,
  slots: readonly Slot[],
): Watch<Visibility> {
  const findings: Visibility = { looks: 0, scrapes: 0, hidden: new Set() };
  // A change is as old as its statement, and nobody sees it before its transaction has committed.
  const oldestSeen: { change: string | null; at: number } = { change: null, at: 0 };
  // Since when so many are parked: a retry makes them fewer, and a scrape may be a little late.
  const parkedSince = { count: -1, at: 0 };
  return watch(500, findings, async () => {
    for (const code of await hiddenAccounts(database, sandbox))
      findings.hidden.add(`account ${code}`);
    findings.looks += 1;

    const before = await readPending(database);
    if (before.oldest !== oldestSeen.change)
      Object.assign(oldestSeen, { change: before.oldest, at: performance.now() });
    if (before.parked !== parkedSince.count)
      Object.assign(parkedSince, { count: before.parked, at: performance.now() });
    const scrapes = await Promise.all(slots.map(scrape));
    const after = await readPending(database);
    for (const [index, metrics] of scrapes.entries()) {
      if (metrics === null) continue;
      findings.scrapes += 1;
      // The metrics say that they are stale.
      if ((metrics.get("queue_status_age_seconds") ?? 0) > 1) continue;
      const seconds = metrics.get("oldest_pending_seconds") ?? 0;
      const isSeen =
        before.oldest !== null &&
        before.oldest === after.oldest &&
        performance.now() - oldestSeen.at > METRIC_LATE_S * 1_000;
      if (isSeen && seconds < before.seconds - METRIC_LATE_S)
        findings.hidden.add(
          `replica ${index}: oldest_pending_seconds ${seconds}, it is ${before.seconds}`,
        );
      const parked = metrics.get('pending_accounts{state="parked"}') ?? 0;
      const isStable =
        before.parked === after.parked &&
        before.parkedSince > METRIC_LATE_S &&
        performance.now() - parkedSince.at > METRIC_LATE_S * 1_000;
      if (isStable && parked !== before.parked)
        findings.hidden.add(
          `replica ${index}: ${parked} accounts parked, there are ${before.parked}`,
        );
    }
  });
}

interface Pending {
  readonly oldest: string | null;
  readonly seconds: number;
  readonly parked: number;
  /** Seconds since an account was parked last. */
  readonly parkedSince: number;
}

async function readPending(database: TestDatabase): Promise<Pending> {
  const [row] = await database.query<Pending & Record<string, unknown>>(
    `with pending as (
       select changed_at from account_sync.account where changed_at is not null and parked_at is null
       union all
       select changed_at from account_sync.change
     )
     select
       min(changed_at)::text as oldest,
       coalesce(extract(epoch from now() - min(changed_at)), 0)::float8 as seconds,
       (select count(*)::int from account_sync.account where parked_at is not null) as parked,
       coalesce((select extract(epoch from now() - max(parked_at)) from account_sync.account), 1e9)::float8 as "parkedSince"
     from pending`,
  );
  if (row === undefined) throw new Error("an aggregate has one row");
  return row;
}

/** null where the replica does not answer. */
async function scrape({ url, state }: Slot): Promise<Map<string, number> | null> {
  if (url === null || state !== "running") return null;
  try {
    const text = await readMetrics(url);
    return new Map(
      [...text.matchAll(/^account_sync_(\S+) (\S+)$/gm)].map(([, name = "", value = ""]) => [
        name,
        toNumber(value),
      ]),
    );
  } catch {
    return null;
  }
}

export async function readMetrics(url: string): Promise<string> {
  return await (await fetch(`${url}/metrics`, { signal: AbortSignal.timeout(3_000) })).text();
}

/** I8: all rows of our schema, as text. Bodies of sends are kept until they are settled, and no longer. */
export async function keptTexts(database: TestDatabase): Promise<string[]> {
  const tables = await database.query<{ name: string }>(
    "select c.oid::regclass::text as name from pg_class c where c.relnamespace = 'account_sync'::regnamespace and c.relkind in ('r', 'v')",
  );
  const texts: string[] = [];
  for (const { name } of tables) {
    const rows = await database.query<{ text: string }>(`select t::text as text from ${name} t`);
    texts.push(...rows.map(({ text }) => `${name}: ${text}`));
  }
  return texts;
}

/** The lines that hold one of the canaries, in either case of letters. */
export function leaks(texts: readonly string[], canaries: readonly string[]): string[] {
  return texts.filter((text) => {
    const lower = text.toLowerCase();
    return canaries.some((canary) => lower.includes(canary));
  });
}

/**
 * Notes every change of an external id in the source tables, with the session that made it, and every removal of an account: by triggers,
 * as an application could.
 */
export async function witnessChanges(database: TestDatabase): Promise<void> {
  await withClient(database.url, async (client: pg.Client) => {
    await client.query(`
      create schema witness;
      create table witness.id_change (source_table text, row_id text, old_id text, new_id text, by_whom text);
      create table witness.removal (account_no text);
      create function witness.note() returns trigger language plpgsql as $$
      begin
        insert into witness.id_change values (tg_table_name, old.id::text, old.uuid_be, new.uuid_be, current_setting('application_name'));
        return null;
      end $$;
      create function witness.note_removal() returns trigger language plpgsql as $$
      begin
        insert into witness.removal values (old.account_no);
        return null;
      end $$;
      create trigger note_removal after delete on m_account for each row execute function witness.note_removal();`);
    for (const table of ["m_account", "m_account_package_tier", "m_account_pic"])
      await client.query(
        `create trigger note_id after update of uuid_be on ${table} for each row
         when (old.uuid_be is distinct from new.uuid_be) execute function witness.note()`,
      );
  });
}

/** I4: changes by which one of our sessions put another id in the place of one that stood there. */
export async function replacedIds(database: TestDatabase): Promise<string[]> {
  const rows = await database.query<{ text: string }>(
    "select w::text as text from witness.id_change w where by_whom like 'account-sync%' and old_id is not null",
  );
  return rows.map(({ text }) => text);
}

/** Numbers of the accounts that the application has removed. */
export async function removedAccounts(database: TestDatabase): Promise<ReadonlySet<string>> {
  const rows = await database.query<{ code: string }>(
    "select distinct account_no as code from witness.removal",
  );
  return new Set(rows.map(({ code }) => code));
}
