/** How commands reach the database: which one it is, whether it is migrated, and the wiring on it, closed at the end. */
import type { Config } from "../config.ts";
import { explained } from "../db/explained.ts";
import { forPerson } from "../invocation.ts";
import { createObserve } from "../ops/create-observe.ts";
import { createLog } from "../ops/log.ts";
import { createMetrics } from "../ops/metrics.ts";
import type { Observe } from "../ops/observe.ts";
import { version } from "../version.ts";
import { openWiring, requireMigrated, type Wiring } from "../wiring.ts";

export interface Connected {
  readonly wiring: Wiring;
  /** With the sandbox's settings where it is the API to send to. */
  readonly config: Config;
  readonly observe: Observe;
}

/** Runs `work` on a migrated database. @throws OperatorError */
export async function withWiring<T>(
  config: Config,
  { json, sends = false }: { readonly json: boolean; readonly sends?: boolean },
  work: (connected: Connected) => Promise<T>,
): Promise<T> {
  const located = await locateDatabase(config, { sends });
  const observe = createCommandObserve(located.config, json);
  try {
    const wiring = await openWiring(located.config, located.databaseUrl, observe);
    try {
      await requireMigrated(wiring);
      return await work({ wiring, config: located.config, observe });
    } finally {
      await wiring.close();
    }
  } catch (error) {
    throw explained(error, located.databaseUrl);
  }
}

/** DATABASE_URL, or the embedded database of the `npm start` that runs in this folder. */
export async function locateDatabase(
  config: Config,
  { sends = false }: { readonly sends?: boolean } = {},
): Promise<{ readonly config: Config; readonly databaseUrl: string }> {
  if (config.database.url !== null) return { config, databaseUrl: config.database.url };

  const { findPlayground } = await import("../local/playground.ts");
  return await findPlayground(config, { sends });
}

/** Warnings and worse, on stderr: stdout is for the result. */
function createCommandObserve(config: Config, json: boolean): Observe {
  return createObserve({
    log: createLog({
      level: config.log.level === "info" ? "warn" : config.log.level,
      format: json ? "json" : "pretty",
      destination: process.stderr,
      forPerson,
    }),
    // The metrics of a command are never scraped.
    metrics: createMetrics({
      version,
      queueStatus: async () => Promise.reject(new Error("unused")),
    }),
  });
}
