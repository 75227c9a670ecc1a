/** The product's own pool on a test's database. Closed after the test. */
import { afterEach } from "vitest";
import { createDatabase, type Database, type DatabaseOptions } from "../../src/db/database.ts";

const opened: Database[] = [];

afterEach(async () => {
  for (const db of opened.splice(0)) await db.close();
});

export function openOwnDatabase(url: string, options: Partial<DatabaseOptions> = {}): Database {
  const db = createDatabase({
    url,
    applicationName: "account-sync test",
    max: 2,
    synchronousCommit: "on",
    settingsPerTransaction: false,
    onError: () => {},
    ...options,
  });
  opened.push(db);
  return db;
}
