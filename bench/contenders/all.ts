import { accountSync } from "./account-sync.ts";
import type { Contender } from "./contender.ts";
import { graphileWorker } from "./graphile-worker.ts";
import { limit } from "./limit.ts";
import { notify } from "./notify.ts";
import { pgBoss } from "./pg-boss.ts";

/** In the order of the tables, and of each round. */
export const CONTENDERS: readonly Contender[] = [
  limit,
  notify,
  graphileWorker,
  pgBoss,
  accountSync,
];
