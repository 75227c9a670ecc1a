/** Which process holds a lock that was not given in time, in words for an administrator, who may end that process. */
import type { Queryable } from "./database.ts";

export type WantedLock =
  | { readonly advisoryLock: string }
  /** These, with their schemas and partitions, and all of schema account_sync. What does not exist is held by nothing. */
  | { readonly tables: readonly string[] };

export interface LockHolder {
  /** As in "waiting for …". */
  readonly words: string;
  /** A process of the server's own, such as an autovacuum. */
  readonly isBackground: boolean;
}

interface HolderRow {
  /** null: a prepared transaction, which has no process. */
  readonly pid: number | null;
  /** null: a process of the server's own. */
  readonly role: string | null;
  readonly applicationName: string | null;
  /** null where our role may not see it. */
  readonly state: string | null;
  readonly since: string | null;
}

/** The one with the oldest transaction; it may have ended meanwhile. */
export async function findHolder(db: Queryable, wanted: WantedLock): Promise<LockHolder> {
  const [holder] = await db.run<HolderRow>("find_lock_holder", [
    "advisoryLock" in wanted ? wanted.advisoryLock : null,
    "tables" in wanted ? wanted.tables : null,
  ]);
  if (holder === undefined) return { words: "another transaction", isBackground: false };
  const { pid, role, applicationName, state, since } = holder;
  if (pid === null)
    return { words: "a prepared transaction (see pg_prepared_xacts)", isBackground: false };
  if (role === null)
    return { words: `process ${pid} of the server (an autovacuum?)`, isBackground: true };
  const facts = [
    `role ${role}`,
    ...(applicationName === null || applicationName === ""
      ? []
      : [`application ${applicationName}`]),
    ...(state === null ? [] : [state]),
    ...(since === null ? [] : [`in a transaction since ${since}`]),
  ];
  return { words: `process ${pid} (${facts.join(", ")})`, isBackground: false };
}
