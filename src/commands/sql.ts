/** `sql`: a prompt on the database, for machines without psql. For development; hidden from the help. */
import type { Config } from "../config.ts";
import { runSqlPrompt } from "../local/sql-prompt.ts";
import { locateDatabase } from "./connect.ts";

export async function sql(config: Config): Promise<number> {
  const { databaseUrl } = await locateDatabase(config);
  return await runSqlPrompt({ url: databaseUrl, input: process.stdin, output: process.stdout });
}
