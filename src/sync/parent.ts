/** An account whose parent has no external id yet waits for it: the command names the parent by that id. */
import type { Account } from "../account/account.ts";
import { callOn } from "../call-on.ts";
import { end, type Step } from "./step.ts";
import type { SyncContext } from "./sync-context.ts";
import type { ParentState } from "./sync-wiring.ts";

/** null when the account has no parent, or one with an external id. */
export async function waitForParent(
  { wiring }: Pick<SyncContext, "wiring">,
  { id, parent }: Account,
): Promise<Step | null> {
  if (parent === null || parent.externalId !== null) return null;

  const blocked = {
    name: "blocked",
    blockedBy: parent.id,
    delayMs: wiring.policy.blockedRecheckMs,
  } as const;
  const cycle = await wiring.findParentCycle(id);
  if (cycle !== null) {
    return end({
      ...blocked,
      errorClass: "validation",
      error: describeCycle(id, parent.id, cycle),
    });
  }

  const state = await wiring.findParentState(parent.id);
  return end({
    ...blocked,
    isExpected: state === "on its way",
    error: `Waits for its parent ${parent.id}, ${describeState(parent.id, state)}.`,
  });
}

function describeCycle(id: string, parentId: string, cycle: readonly string[]): string {
  return parentId === id
    ? `The account ${parentId} is its own parent, so it cannot be sent. Remove its parent.`
    : `The accounts ${cycle.join(" -> ")} are each other's parents, so none of them can be sent first. Remove the parent of one of them.`;
}

function describeState(parentId: string, state: ParentState): string {
  switch (state) {
    case "on its way":
      return "which has no external id yet";
    case "parked":
      return `which is parked; \`${callOn("status", parentId)}\` says why`;
    case "not asked for":
      return `which has no external id and is not in the queue; \`${callOn("sync", parentId)}\` sends it`;
    case "missing":
      return "which is not in m_account; correct the parent of this account";
    default:
      return state satisfies never;
  }
}
