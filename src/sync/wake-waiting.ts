/** Makes accounts due that wait for something which has happened: for their parent's id, or for an answer that came late. */
import type { Database } from "../db/database.ts";
import type { Queue } from "../queue/queue.ts";
import type { Conclusion } from "./conclusion.ts";
import type { Decision } from "./settlement.ts";

export interface WakeOptions {
  readonly db: Database;
  readonly queue: Pick<Queue, "wakeChildren" | "reviveAnswered">;
}

/**
 * Children wait for their parent's id. Parents that have one now wake them; and a child that has just gone to sleep looks once
 * more, since its parent may have been written between its load and its settling.
 *
 * An account parked for an unknown outcome waits for a human, unless the answer comes in late, from a worker whose lease was lost.
 * Both sides look after they have committed, so the second one sees the first.
 */
export async function wakeWaiting(
  { db, queue }: WakeOptions,
  conclusions: readonly Conclusion[],
  decisions: readonly Decision[],
): Promise<void> {
  const written = decisions
    .filter(({ outcome }) => outcome.updated.account === 1)
    .map(({ settlement }) => settlement.claim.accountId);
  const waitedFor = [
    ...new Set(decisions.map(({ settlement }) => settlement.blockedBy).filter((id) => id !== null)),
  ];
  const synced =
    waitedFor.length === 0 ? [] : await db.run<{ id: string }>("find_synced_parents", [waitedFor]);
  await queue.wakeChildren([...written, ...synced.map(({ id }) => id)]);

  const settled = new Set(decisions.map(({ conclusion }) => conclusion));
  const answeredLate = conclusions.filter(
    (conclusion) => conclusion.kind === "accepted" && !settled.has(conclusion),
  );
  const unknown = decisions.filter(({ outcome }) => outcome.errorClass === "unknown_outcome");
  await queue.reviveAnswered(
    [...answeredLate, ...unknown.map(({ conclusion }) => conclusion)].map(
      ({ claim }) => claim.accountId,
    ),
  );
}

/** Parents looked up by one step of a search. */
const PARENTS_CHUNK = 1_000;

/** Children whose parent has its id by now, and whose waker died between the commit and the waking. */
export async function wakeForgottenChildren({
  db,
  queue,
}: Pick<WakeOptions, "db"> & { readonly queue: Pick<Queue, "wakeChildren"> }): Promise<void> {
  for (let after: string | undefined = ""; after !== undefined; ) {
    const waitedFor: { id: string }[] = await db.run("waited_for_parents", [after, PARENTS_CHUNK]);
    const ids = waitedFor.map(({ id }) => id);
    const synced =
      ids.length === 0 ? [] : await db.run<{ id: string }>("find_synced_parents", [ids]);
    await queue.wakeChildren(synced.map(({ id }) => id));
    after = ids.length < PARENTS_CHUNK ? undefined : ids.at(-1);
  }
}
