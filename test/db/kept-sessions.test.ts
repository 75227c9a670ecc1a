/** How many sessions of a pool stay open when nothing happens. */
import { afterEach, expect, test, vi } from "vitest";
import { eventually } from "../support/eventually.ts";
import { openOwnDatabase } from "../support/own-database.ts";
import { createDatabase } from "../support/postgres.ts";

afterEach(() => {
  vi.useRealTimers();
});

test.each([
  { what: "as many as are kept", options: { kept: 2 }, left: 2 },
  { what: "no more than there may be", options: { kept: 9 }, left: 3 },
  // The library's: an application runs it in many processes.
  { what: "none by default", options: {}, left: 0 },
])("after a minute at rest: $what", async ({ options, left }) => {
  const database = await createDatabase({ migrated: true });
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const db = openOwnDatabase(database.url, { max: 3, ...options });
  await Promise.all([1, 2, 3].map(() => db.run("installation_id")));

  vi.advanceTimersByTime(61_000);
  vi.useRealTimers();

  await eventually(async () => {
    const sessions = await database.query(
      "select from pg_stat_activity where datname = current_database() and application_name = 'account-sync test'",
    );
    expect(sessions).toHaveLength(left);
  });
});
