/**
 * Whether notifications arrive: one is sent as the application's are, through DATABASE_URL, and has to reach a session like the listener's.
 * Another database accepts LISTEN and delivers nothing. So does a transaction pooler, which is not tested with LISTEN: it would stay on a
 * session that the application uses next.
 */
import pg from "pg";
import { errorCode } from "../db/error-code.ts";
import { connectionOptions } from "../db/own-settings.ts";
import { findPooling } from "../db/pooling.ts";
import { findOtherDatabase } from "../db/same-database.ts";
import type { Diagnosis } from "../operator-error.ts";
import { version } from "../version.ts";
import type { CheckContext } from "./check.ts";

const WAIT_MS = 5_000;

export async function lookAtListen(context: CheckContext): Promise<Diagnosis[]> {
  const other = await findOtherDatabase({
    databaseUrl: context.databaseUrl,
    directUrl: context.listenUrl,
  });
  if (other !== null) return [other];
  const pooling = await findPooling(context.listenUrl);
  if (pooling === "transaction") return [diagnosePooler(context)];
  const client = new pg.Client({
    ...connectionOptions({
      url: context.listenUrl,
      applicationName: `account-sync ${version} check`,
      settingsPerTransaction: pooling !== "none",
      synchronousCommit: "on",
    }),
    connectionTimeoutMillis: WAIT_MS,
    query_timeout: WAIT_MS,
  });
  client.on("error", () => {});
  try {
    await client.connect();
    await client.query("listen account_sync_check");
    return (await hearsItself(client, context)) ? [] : [diagnoseDeafness(context)];
  } catch (error) {
    // The errors of a pooler or proxy for settings that it does not pass on, and for LISTEN.
    if (/^(?:08P01|0A000)$/.test(errorCode(error) ?? "")) return [diagnoseDeafness(context)];
    throw error;
  } finally {
    // A pooler may keep the session. Not awaited, as the server may not answer.
    void client
      .query("unlisten account_sync_check")
      .catch(() => {})
      .then(() => client.end())
      .catch(() => {});
  }
}

async function hearsItself(client: pg.Client, { db }: CheckContext): Promise<boolean> {
  const nonce = crypto.randomUUID();
  const heard = Promise.withResolvers<boolean>();
  const giveUp = setTimeout(() => heard.resolve(false), WAIT_MS);
  client.on("notification", ({ payload }) => {
    // Other daemons send theirs, too.
    if (payload === nonce) heard.resolve(true);
  });

  try {
    await db.run("check_listen", [nonce]);
    return await heard.promise;
  } finally {
    clearTimeout(giveUp);
  }
}

function diagnosePooler({ hasListenUrl }: CheckContext): Diagnosis {
  return hasListenUrl
    ? {
        problem:
          "LISTEN_DATABASE_URL goes through a transaction pooler, where LISTEN hears nothing: a start refuses.",
        remedy: "Let LISTEN_DATABASE_URL be a direct connection to the database of DATABASE_URL.",
      }
    : {
        problem:
          "DATABASE_URL goes through a transaction pooler, where LISTEN hears nothing: a start refuses.",
        remedy:
          "Also set LISTEN_DATABASE_URL to a direct connection to the same database; DATABASE_URL may stay as it is.",
      };
}

function diagnoseDeafness({ hasListenUrl }: CheckContext): Diagnosis {
  const name = hasListenUrl ? "LISTEN_DATABASE_URL" : "DATABASE_URL";
  return {
    problem: `A notification did not reach a session on ${name} that listens for it: changes wait for the sweep, and NOTIFY asks for nothing.`,
    remedy: hasListenUrl
      ? "Let LISTEN_DATABASE_URL be a direct connection to the database of DATABASE_URL, not one through a transaction pooler."
      : "If DATABASE_URL goes through a transaction pooler, set LISTEN_DATABASE_URL to a direct connection.",
  };
}
