/** A database for one piece of work: one connection, closed afterwards. */
import { createDatabase, type Database, type DatabaseOptions } from "./database.ts";

export async function withDatabase<Result>(
  options: Pick<DatabaseOptions, "url" | "applicationName" | "settingsPerTransaction">,
  work: (db: Database) => Promise<Result>,
): Promise<Result> {
  const db = createDatabase({ ...options, max: 1, synchronousCommit: "on", onError: () => {} });
  try {
    return await work(db);
  } finally {
    await db.close();
  }
}
