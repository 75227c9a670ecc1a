/** The server: its version, whether it accepts writes, the version of our schema, and the limits that we share with the application. */
import { findHollowSchema, type Installation } from "../db/installation.ts";
import { diagnoseSchemaVersion, readSchemaVersion } from "../db/schema-version.ts";
import { findOldServer } from "../db/server-version.ts";
import type { Diagnosis } from "../operator-error.ts";
import type { CheckContext } from "./check.ts";

/** Above one half the triggers send no notification; a full queue fails the commits of the application. */
const QUEUE_USAGE_MAX = 0.5;
const CLOCK_DIFFERENCE_MAX_MS = 5_000;
/** Beside the pool: the listener, the liveness lock, one migrate. */
const CONNECTIONS_BESIDE_POOL = 3;

interface ServerFacts {
  readonly isStandby: boolean;
  readonly isReadOnly: boolean;
  readonly notificationQueueUsage: number;
  readonly preparedTransactionsMax: number;
  readonly clockMs: number;
}

export async function lookAtServerVersion({ db }: CheckContext): Promise<Diagnosis[]> {
  const oldServer = await findOldServer(db);
  return oldServer === null ? [] : [oldServer];
}

export async function lookAtServerWritable({ db }: CheckContext): Promise<Diagnosis[]> {
  const { isStandby, isReadOnly } = await readServer(db);
  if (isStandby) {
    return [
      {
        problem: "The server is a standby and takes no writes.",
        remedy: "Let DATABASE_URL point to the primary.",
      },
    ];
  }
  if (!isReadOnly) return [];
  return [
    {
      problem: "The server takes no writes from this role: default_transaction_read_only is on.",
      remedy:
        "Turn default_transaction_read_only off for this role, this database, or the server, or let DATABASE_URL point to the primary.",
    },
  ];
}

export async function lookAtSchemaVersion({ db }: CheckContext): Promise<Diagnosis[]> {
  const installed = await readSchemaVersion(db);
  const diagnosis = diagnoseSchemaVersion(installed);
  if (diagnosis === null) return [];
  const [installation] = await db.run<Installation>("check_installation");
  const hollow = installation === undefined ? null : findHollowSchema(installation, installed ?? 0);
  return [hollow ?? diagnosis];
}

export async function lookAtNotificationQueue({ db }: CheckContext): Promise<Diagnosis[]> {
  const { notificationQueueUsage } = await readServer(db);
  if (notificationQueueUsage <= QUEUE_USAGE_MAX) return [];
  return [
    {
      problem:
        "The server's notification queue is more than half full; when it is full, every commit that notifies fails.",
      remedy:
        "Find the session that listens and does not come to an end: select pid, usename, xact_start, query from pg_stat_activity where xact_start is not null order by xact_start; and end it.",
    },
  ];
}

export async function lookAtPreparedTransactions({
  db,
  notify,
}: CheckContext): Promise<Diagnosis[]> {
  const { preparedTransactionsMax } = await readServer(db);
  if (preparedTransactionsMax === 0 || notify === "off") return [];
  return [
    {
      problem: `The server allows PREPARE TRANSACTION, which fails in a transaction whose trigger has notified, and SYNC_NOTIFY is ${notify}.`,
      remedy:
        "If any application prepares transactions that change accounts, set SYNC_NOTIFY=off; if none does, there is nothing to do.",
    },
  ];
}

export async function lookAtClock({ db }: CheckContext): Promise<Diagnosis[]> {
  const askedAt = Date.now();
  const { clockMs } = await readServer(db);
  const answeredAt = Date.now();
  // The database read its clock somewhere between the two.
  const aheadMs = clockMs > answeredAt ? clockMs - answeredAt : Math.min(clockMs - askedAt, 0);
  if (Math.abs(aheadMs) <= CLOCK_DIFFERENCE_MAX_MS) return [];
  return [
    {
      problem: `This machine's clock and the database's are more than ${CLOCK_DIFFERENCE_MAX_MS / 1000} s apart; the times in log and history do not fit each other.`,
      remedy:
        "Let both machines set their clocks by NTP; nothing is sent too early or late meanwhile.",
    },
  ];
}

export async function lookAtConnections({ db, poolMax }: CheckContext): Promise<Diagnosis[]> {
  const [row] = await db.run<{ free: number }>("check_connections");
  const wanted = poolMax + CONNECTIONS_BESIDE_POOL;
  if (row === undefined || row.free >= wanted) return [];
  return [
    {
      problem: `Fewer than ${wanted} more connections are free to this role, which is what one daemon may open.`,
      remedy:
        "Lower DATABASE_POOL_MAX, or raise max_connections (or the limit of the role or database).",
    },
  ];
}

async function readServer(db: CheckContext["db"]): Promise<ServerFacts> {
  const [facts] = await db.run<ServerFacts>("check_server");
  if (facts === undefined) throw new Error("the server said nothing about itself");
  return facts;
}
