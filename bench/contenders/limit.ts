/** Nothing installed, and the HTTP client alone: the limit of what writes and drains can reach. */
import { startModule } from "../lab/children.ts";
import type { Contender } from "./contender.ts";

export const limit: Contender = {
  name: "limit",
  install: null,
  start: ({ apiUrl, concurrency, accounts }) =>
    startModule("daemons/client.ts", {
      API_URL: apiUrl,
      CONCURRENCY: String(concurrency),
      ACCOUNTS: String(accounts),
    }),
  isDurable: false,
  pendingQuery: null,
  concurrencyMax: Number.POSITIVE_INFINITY,
  writes: { hasSlowFlush: true, updateRowsMax: 100_000 },
};
