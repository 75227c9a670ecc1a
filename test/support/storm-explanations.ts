/** What the faults of a storm explain, derived from the requests that the API saw and from what the application removed. */
import type { SandboxRequest } from "../../src/local/sandbox-requests.ts";
import type { Explanation } from "./explanation.ts";
import { removedAccounts } from "./invariants.ts";
import type { TestDatabase } from "./postgres.ts";

/** What faults explain: an outage, however it shows, parks nothing but creates in doubt that may not be resent or were refused then. */
export function leftByFaults({
  policy,
  history,
  told,
}: {
  readonly policy: "resend" | "park";
  readonly history: readonly SandboxRequest[];
  readonly told: readonly string[];
}): Explanation[] {
  // By the key of the send: an account that was removed meanwhile has no number any more.
  const isRefusedKey = refusedLast(history, ({ key }) => key);
  return [
    {
      accounts: (_code, account) =>
        account?.uuid === null && (policy === "park" || isRefusedKey(account.unsettledKey)),
      are: "parked",
      errorClass: "unknown_outcome",
      because:
        policy === "park"
          ? "a create in doubt at an API that ignores keys"
          : "a create in doubt that was refused when it was resent",
    },
    leftByRefusals(history),
    {
      // Five tries, each of them applied: nothing is left to send, and a person has to ask the API for the ids.
      accounts: appliedLast(history),
      are: "parked",
      errorClass: "incomplete",
      because: "the faults left ids out of five answers",
    },
    {
      // The parent is judged like any other account.
      accounts: () => true,
      are: "blocked",
      because: "its parent has no id",
    },
    {
      accounts: (code) => told.includes(code),
      are: "other ids",
      because: "the conflict was reported, and the id that stands is kept",
    },
  ];
}

/** Also without a fault: a row that the application moved to another account brings the id of another customer along. */
export function leftByRefusals(history: readonly SandboxRequest[]): Explanation {
  return {
    accounts: refusedLast(history, ({ code }) => code),
    are: "parked",
    errorClass: "rejected",
    because: "the API refused the last command",
  };
}

function appliedLast(history: readonly SandboxRequest[]): (code: string) => boolean {
  const lastOf = new Map(history.map((request) => [request.code, request]));
  return (code) => lastOf.get(code)?.applied === true;
}

/** Whether the last request of those that have this in common was refused. */
function refusedLast(
  history: readonly SandboxRequest[],
  of: (request: SandboxRequest) => string | null,
): (common: string | null) => boolean {
  const lastOf = new Map(history.map((request) => [of(request), request]));
  return (common) => {
    const { status = null, applied = false } = lastOf.get(common) ?? {};
    return status !== null && (status < 300 ? !applied : status >= 400 && status < 500);
  };
}

export async function leftByRemovals(database: TestDatabase): Promise<Explanation> {
  const removed = await removedAccounts(database);
  return {
    accounts: (code) => removed.has(code),
    are: "removed",
    because: "ON_ACCOUNT_DELETE is ignore, so the customer of a deleted account stays",
  };
}
