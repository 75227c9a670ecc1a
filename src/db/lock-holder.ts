/** Who holds a lock that was not given in time, in words: an administrator ends that process, not ours. */
import type { ClientBase } from "pg";
import { sqlOf } from "./queries.ts";

export interface Wanted {
  /** Key of an advisory lock; null when only tables are wanted. */
  readonly advisoryLock: string | null;
  /** With their schemas. Those that do not exist are held by nothing. */
  readonly relations: readonly string[];
}

interface Holder {
  /** null: a prepared transaction, which has no process. */
  readonly pid: number | null;
  readonly role: string | null;
  readonly applicationName: string | null;
  /** null where our role may not see it. */
  readonly state: string | null;
  readonly since: string | null;
}

/** The one whose transaction is the oldest; it may have ended meanwhile. */
export async function describeHolder(client: ClientBase, wanted: Wanted): Promise<string> {
  const { rows } = await client.query<Holder>(sqlOf("find_lock_holder"), [
    wanted.advisoryLock,
    wanted.relations,
  ]);
  const [holder] = rows;
  if (holder === undefined) return "a transaction that has just ended";
  const { pid, role, applicationName, state, since } = holder;
  if (pid === null) return "a prepared transaction (see pg_prepared_xacts)";
  const facts = [
    ...(role === null ? [] : [`role ${role}`]),
    ...(applicationName === null || applicationName === ""
      ? []
      : [`application ${applicationName}`]),
    ...(state === null ? [] : [state]),
    ...(since === null ? [] : [`in a transaction since ${since}`]),
  ];
  return `process ${pid}${facts.length === 0 ? "" : ` (${facts.join(", ")})`}`;
}
