/** The first step of a sync: reads an account, and its earlier send that is not settled yet, from one snapshot. */
import { type LastSource, type LoadedAccount, loadAccountsWith } from "../account/load.ts";
import type { Database } from "../db/database.ts";
import { loadUnsettledAttempts, type UnsettledAttempt } from "./journal.ts";

/** What is known about an account when its sync begins. */
export interface Loaded extends LoadedAccount {
  /** An earlier send that is not settled; it is finished before anything new is sent. */
  readonly unsettled: UnsettledAttempt | null;
}

/** Resolves with one entry per id, in order. */
export async function loadForSync(
  db: Database,
  ids: readonly string[],
  last?: LastSource,
): Promise<Loaded[]> {
  const loaded = await loadAccountsWith(
    db,
    ids,
    {
      read: loadUnsettledAttempts,
      excess: ({ bodyBytes }, bytesMax) =>
        bodyBytes > bytesMax ? `a journaled command of ${bodyBytes} bytes` : null,
    },
    last,
  );
  return loaded.map(({ extra, ...account }) => ({ ...account, unsettled: extra }));
}
