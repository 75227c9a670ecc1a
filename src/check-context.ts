/** The context of the checks, made of the configuration: on the daemon's own database, or on a connection of its own for a command. */
import { apiConfigReader, describeSource } from "./account/source.ts";
import type { CheckContext } from "./checks/check.ts";
import { type Config, directDatabase } from "./config.ts";
import { createConnections } from "./customer-api/connections.ts";
import { parseConnectionUrl } from "./db/connection-url.ts";
import type { Queryable } from "./db/database.ts";
import { isPooled } from "./db/pooling.ts";
import { withDatabase } from "./db/with-database.ts";
import { version } from "./version.ts";

export function checkContextOn(config: Config, databaseUrl: string, db: Queryable): CheckContext {
  return {
    db,
    databaseUrl,
    listenUrl: directDatabase(config, databaseUrl).url,
    urls: [
      { name: "DATABASE_URL", connection: parseConnectionUrl(databaseUrl) },
      ...(config.database.listenUrl === null
        ? []
        : [
            {
              name: "LISTEN_DATABASE_URL",
              connection: parseConnectionUrl(config.database.listenUrl),
            },
          ]),
    ],
    hasListenUrl: config.database.listenUrl !== null,
    poolMax: config.database.poolMax,
    notify: config.sync.notify,
    readsApiConfigs: config.api.url === null || config.api.configId !== null,
    isEmbedded: config.database.url === null,
    apiTrouble: async () => {
      const connection = await defaultConnection(config, db);
      return "error" in connection ? connection.error : null;
    },
  };
}

/** Reads the tables each time, as rows, and the table itself, may be added and removed. */
export async function defaultConnection(config: Config, db: Queryable) {
  return await createConnections(apiConfigReader(db, await describeSource(db)), config.api).of(
    null,
  );
}

export async function withCheckContext<T>(
  config: Config,
  databaseUrl: string,
  use: (context: CheckContext) => Promise<T>,
): Promise<T> {
  const connection = {
    url: databaseUrl,
    applicationName: `account-sync ${version} check`,
    // Where there is no connection, the first query fails; a pooler that had no connection left gets no settings on its session.
    settingsPerTransaction: await isPooled(databaseUrl).catch(() => true),
  };
  return await withDatabase(connection, (db) => use(checkContextOn(config, databaseUrl, db)));
}
