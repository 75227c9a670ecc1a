/** What tutorials do: a row trigger that sends the row with pg_notify, and a daemon that handles one account at a time. */
import { startModule } from "../lab/children.ts";
import type { Contender } from "./contender.ts";
import { installRowTriggers } from "./row-triggers.ts";

export const notify: Contender = {
  name: "notify",
  install: (database) =>
    installRowTriggers(database, "perform pg_notify('account_changed', row_to_json(new)::text);"),
  start: ({ databaseUrl, apiUrl }) =>
    startModule("daemons/notify.ts", { DATABASE_URL: databaseUrl, API_URL: apiUrl }),
  isDurable: false,
  pendingQuery: null,
  concurrencyMax: 1,
  writes: { hasSlowFlush: true, updateRowsMax: 100_000 },
};
