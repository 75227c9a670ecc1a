/** `sql`: a prompt on the database, for machines without psql. */
import type { Config } from "../config.ts";
import { runSqlPrompt } from "../local/sql-prompt.ts";
import { locateDatabase } from "./connect.ts";

/** A signal later than this after the first counts as a second one. */
const AGAIN_MS = 500;

export async function sql(
  config: Config,
  { leave }: { readonly leave: (exitCode: number) => void },
): Promise<number> {
  const { databaseUrl } = await locateDatabase(config);
  const interrupted = new AbortController();
  let interruptedAt = Number.POSITIVE_INFINITY;
  const onSignal = () => {
    // Under npm one Ctrl-C arrives twice at once, and the second must not end the process before the statement is cancelled.
    if (performance.now() - interruptedAt > AGAIN_MS) leave(1);
    interruptedAt = Math.min(interruptedAt, performance.now());
    interrupted.abort();
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  try {
    return await runSqlPrompt({
      url: databaseUrl,
      input: process.stdin,
      output: process.stdout,
      errors: process.stderr,
      interrupted: interrupted.signal,
    });
  } finally {
    process.off("SIGINT", onSignal);
    process.off("SIGTERM", onSignal);
  }
}
