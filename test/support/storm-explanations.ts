/** What the faults of a storm explain, derived from the requests that the API saw and from what the application removed. */
import type { SandboxCustomer } from "../../src/local/sandbox-customers.ts";
import type { SandboxRequest } from "../../src/local/sandbox-requests.ts";
import type { Explanation } from "./explanation.ts";
import { removedAccounts } from "./invariants.ts";
import { toMadeCustomer } from "./made-customers.ts";
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
      accounts: failedAlike(history),
      are: "parked",
      errorClass: "server",
      because: "the API answered with the same 5xx five times",
    },
    {
      accounts: (_code, account) => account?.error?.includes("does not know that id") === true,
      are: "parked",
      errorClass: "validation",
      because: "its parent is a customer of the other API",
    },
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

/** To write an id and nothing else is no change of what is sent: it comes back with the next one, and the mapping keeps it until then. */
export function leftByClearing(customers: readonly SandboxCustomer[]): Explanation {
  const made = customers.map(toMadeCustomer);
  return {
    accounts(code, account) {
      const own = made.find(
        (customer) => customer.code === code && customer.id === (account?.uuid ?? account?.kept),
      );
      const rows = account === undefined ? [] : [...account.tiers, ...account.pics];
      return (
        own !== undefined &&
        rows.every(({ key, uuid, kept }) => own.rows.get(uuid ?? kept ?? "") === key)
      );
    },
    are: "cleared ids",
    because: "the application cleared ids, and the id mapping keeps them",
  };
}

/** Not only since the last 200: what came with it may have been no answer, which does not end the row. */
function failedAlike(history: readonly SandboxRequest[]): (code: string) => boolean {
  const failed = history.filter(({ status }) => (status ?? 0) >= 500);
  const times = Map.groupBy(failed, ({ code, status }) => `${code} ${status}`);
  const alike = new Set(
    [...times.values()].filter(({ length }) => length >= 5).map(([first]) => first?.code),
  );
  return (code) => alike.has(code);
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
