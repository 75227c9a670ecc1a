/** Who holds a lock that was not given in time, in words: an administrator ends that process, not ours. */
import type { ClientBase } from "pg";
import { sqlOf } from "./queries.ts";

export type Wanted =
  | { readonly advisoryLock: string }
  /** Those of schema account_sync, or these, with their schemas; what does not exist is held by nothing. */
  | { readonly relations: "ours" | readonly string[] };

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
    "advisoryLock" in wanted ? wanted.advisoryLock : null,
    "relations" in wanted && wanted.relations !== "ours" ? wanted.relations : [],
    "relations" in wanted && wanted.relations === "ours",
  ]);
  const [holder] = rows;
  if (holder === undefined) return "another transaction";
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
