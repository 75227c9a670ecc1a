/** `start`: the daemon, from the first look at the database to the end of the drain. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Config } from "../config.ts";
import { startDaemon } from "../daemon.ts";
import { forPerson } from "../invocation.ts";
import { createLog, type Log } from "../ops/log.ts";
import { onShutdownSignals } from "../ops/signals.ts";
import { printLine } from "./output.ts";

interface Started {
  stop(reason: string): Promise<void>;
}

/** How long a start that is told to stop may take until it can be stopped in good order. */
const EARLY_STOP_GRACE_MS = 5_000;

export async function start(
  config: Config,
  how: { readonly json: boolean; readonly leave: (exitCode: number) => void },
): Promise<number> {
  const format = how.json ? "json" : config.log.format;
  const log = createLog({ level: config.log.level, format, forPerson });
  const asked = Promise.withResolvers<NodeJS.Signals>();
  const signals = onShutdownSignals({
    first: asked.resolve,
    // Not drained, so not 0: the next start finds what was in flight.
    second: () => how.leave(1),
  });

  const starting =
    config.database.url === null
      ? startOnEmbedded(config, log, how.json)
      : startDaemon(config, config.database.url, log);
  const early = await Promise.race([starting.then(() => null), asked.promise]);
  if (early !== null) {
    log.info({ reason: early }, "stopped before the start was complete");
    const late = await Promise.race([
      starting.catch(() => null),
      sleep(EARLY_STOP_GRACE_MS, null, { ref: false }),
    ]);
    await late?.stop(early);
    return 0;
  }

  const running = await starting;
  await running.stop(await asked.promise);
  signals.dispose();
  return 0;
}

/** With nothing configured: starts the playground before the daemon and stops it after the daemon. */
async function startOnEmbedded(config: Config, log: Log, json: boolean): Promise<Started> {
  const { startPlayground } = await import("../local/playground.ts");
  const playground = await startPlayground(config, log);
  try {
    const daemon = await startDaemon(playground.config, playground.databaseUrl, log);
    if (json)
      log.info({ ...playground.facts, http: daemon.url }, "running on an embedded database");
    else for (const line of playground.introduction(daemon.url)) printLine(line);
    return {
      async stop(reason) {
        await daemon.stop(reason);
        await playground.close();
      },
    };
  } catch (error) {
    await playground.close();
    throw error;
  }
}
