/**
 * Whether a pooler is between us and the server. It is found out before anything is set: behind a transaction pooler every setting, lock
 * and LISTEN of a session would be left on a server connection that the pooler hands to the application next.
 *
 * The process id that a pooler gives its clients is not the one of the server process. Only where they differ is it tested whether the
 * connection keeps one server process for as long as it is open. The test only reads, as a LISTEN or a SET could not be undone.
 */
import pg from "pg";
import { OperatorError } from "../operator-error.ts";
import type { UrlSetting } from "./connection-url.ts";
import { errorCode } from "./error-code.ts";
import { explained } from "./explained.ts";
import { connectionOptions } from "./own-settings.ts";

/**
 * none: a session of the server itself. session: a proxy or pooler that keeps one server session for each client, and may refuse the
 * settings that a session is started with. transaction: consecutive transactions may run in different server sessions.
 */
export type Pooling = "none" | "session" | "transaction";

/**
 * A pool shared by other clients may give back the same process by chance, and of several pooler processes on one port (so_reuseport) the
 * second client may reach another one each time: with eight of them all rounds miss in 1.4 % of the cases, with two never in practice.
 */
const ROUNDS = 32;
/** A pooler whose server connections are all in use lets a query wait, PgBouncer for two minutes. */
const QUERY_TIMEOUT_MS = 5_000;

/** Whether a connection is anything but a session of the server itself: then no settings are given at its start. @throws the connection's error */
export async function isPooled(url: string): Promise<boolean> {
  return await withProbe(url, async (client) => !(await isOwnSession(client)));
}

/** @throws the connection's error */
export async function findPooling(url: string): Promise<Pooling> {
  return await withProbe(url, async (first) => {
    if (await isOwnSession(first)) return "none";
    return (await keepsItsProcess(first, url)) ? "session" : "transaction";
  });
}

async function isOwnSession(client: Probe): Promise<boolean> {
  return client.processID === (await serverProcess(client));
}

/**
 * For what needs a session of its own: LISTEN, and locks that end with the process.
 *
 * @throws OperatorError behind a transaction pooler, or where there is no connection
 */
export async function requireSession(
  url: string,
  setting: UrlSetting,
): Promise<Exclude<Pooling, "transaction">> {
  const pooling = await findPooling(url).catch((error: unknown) => {
    throw explained(error, url, setting);
  });
  if (pooling !== "transaction") return pooling;
  throw sharedSession(setting);
}

export function sharedSession(setting: UrlSetting): OperatorError {
  return new OperatorError(
    `${setting} goes through a transaction pooler, where LISTEN hears nothing and a session's settings and locks would reach the application.`,
    {
      hint:
        setting === "DATABASE_URL"
          ? "Set LISTEN_DATABASE_URL to a direct connection to the same database; DATABASE_URL may stay as it is."
          : "Let LISTEN_DATABASE_URL be a direct connection to the database of DATABASE_URL.",
    },
  );
}

/** In the protocol's answer to a login; the types of the driver do not name it. */
type Probe = pg.Client & { readonly processID: number | null };

async function withProbe<T>(url: string, use: (client: Probe) => Promise<T>): Promise<T> {
  const client = new pg.Client({
    ...connectionOptions({
      url,
      applicationName: "account-sync probe",
      // A pooler refuses startup options, or passes them on to a session that other clients get.
      settingsPerTransaction: true,
      synchronousCommit: "on",
    }),
    query_timeout: QUERY_TIMEOUT_MS,
  }) as Probe;
  client.on("error", () => {});
  try {
    await client.connect();
    return await use(client);
  } finally {
    await client.end().catch(() => {});
  }
}

async function serverProcess(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  return rows[0]?.pid ?? 0;
}

/**
 * A second client, new in each round, takes a server connection for the length of a transaction. Where connections are shared, that is the
 * one which the first client used last, or the first client gets another one meanwhile.
 */
async function keepsItsProcess(first: pg.Client, url: string): Promise<boolean> {
  const own = await serverProcess(first);
  for (let round = 0; round < ROUNDS; round += 1) {
    if (await withProbe(url, (second) => sharesItsProcess(first, second, own))) return false;
  }
  return true;
}

async function sharesItsProcess(
  first: pg.Client,
  second: pg.Client,
  own: number,
): Promise<boolean> {
  try {
    await second.query("begin");
  } catch (error) {
    // PgBouncer's statement mode: even the statements of one client run in different sessions.
    if (errorCode(error) === "08P01") return true;
    throw error;
  }
  // In this order: where the pool holds one connection only, the second client has it now and the first one would wait for it.
  const isShared = (await serverProcess(second)) === own || (await serverProcess(first)) !== own;
  await second.query("rollback");
  return isShared;
}
