/** This product with its defaults: journal, validation and all. Only the number of requests in flight is what every contender has. */
import { migrate } from "../../src/db/migrate.ts";
import { startProduct } from "../lab/children.ts";
import type { Contender } from "./contender.ts";

export const accountSync: Contender = {
  name: "account-sync",
  title: "account-sync",
  install: async (database) => {
    await migrate({ url: database.url, info: () => {} });
  },
  start: ({ databaseUrl, apiUrl, concurrency, settings = {} }) =>
    startProduct(
      ["start"],
      {
        DATABASE_URL: databaseUrl,
        CUSTOMER_API_URL: apiUrl,
        CUSTOMER_API_TOKEN: "bench",
        SYNC_CONCURRENCY: String(concurrency),
        HTTP_PORT: "0",
        LOG_FORMAT: "json",
        ...settings,
      },
      /"msg":"started"/,
    ),
  isDurable: true,
  pendingQuery: `select exists (select from account_sync.change)
    or exists (select from account_sync.expansion)
    or exists (select from account_sync.account where changed_at is not null) as pending`,
  concurrencyMax: Number.POSITIVE_INFINITY,
};
