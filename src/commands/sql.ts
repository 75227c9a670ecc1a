/** `sql`: a prompt on the database, for machines without psql. */
import type { Config } from "../config.ts";
import { runSqlPrompt } from "../local/sql-prompt.ts";
import { locateDatabase } from "./connect.ts";

export async function sql(config: Config): Promise<number> {
  const { databaseUrl } = await locateDatabase(config);
  const interrupted = new AbortController();
  // Every time: under npm one Ctrl-C comes twice, and the second would end us before the statement is cancelled.
  const onSignal = () => interrupted.abort();
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
