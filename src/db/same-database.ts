/**
 * LISTEN_DATABASE_URL is another way to the database of DATABASE_URL. Where it leads to another database, migrate would install the schema
 * there, and a daemon would hear no notification.
 */
import { type Diagnosis, OperatorError } from "../operator-error.ts";
import type { UrlSetting } from "./connection-url.ts";
import { explained } from "./explained.ts";
import { withDatabase } from "./with-database.ts";

export interface DatabaseUrls {
  readonly databaseUrl: string;
  /** The same one where LISTEN_DATABASE_URL is not set. */
  readonly directUrl: string;
}

/** @throws OperatorError when they differ, or where there is no connection */
export async function requireSameDatabase(urls: DatabaseUrls): Promise<void> {
  const difference = await findOtherDatabase(urls);
  if (difference === null) return;
  throw OperatorError.of(difference, { exitCode: 2 });
}

/** null: it is the same. @throws OperatorError where there is no connection */
export async function findOtherDatabase({
  databaseUrl,
  directUrl,
}: DatabaseUrls): Promise<Diagnosis | null> {
  if (directUrl === databaseUrl) return null;
  const [one, other] = await Promise.all([
    identify(databaseUrl, "DATABASE_URL"),
    identify(directUrl, "LISTEN_DATABASE_URL"),
  ]);
  if (one.identity === other.identity) return null;
  const which = one.name === other.name ? `database ${one.name} of another server` : other.name;
  return {
    problem: `LISTEN_DATABASE_URL leads to ${which}, and DATABASE_URL to ${one.name}.`,
    remedy:
      "Let LISTEN_DATABASE_URL be a direct connection to the database of DATABASE_URL, or unset it where DATABASE_URL is direct.",
  };
}

interface Identity {
  readonly name: string;
  readonly identity: string;
}

async function identify(url: string, setting: UrlSetting): Promise<Identity> {
  // It is not known yet whether there is a pooler.
  const connection = { url, applicationName: "account-sync probe", settingsPerTransaction: true };
  return await withDatabase(connection, async (db) => {
    const [identity] = await db.run<Identity>("identify_database");
    return identity ?? { name: "", identity: "" };
  }).catch((error: unknown) => {
    throw explained(error, url, setting);
  });
}
