/**
 * The judge of the fault tests: holds the accounts in the source tables against what the customer API was sent and has made, and finds
 * what breaks invariants I1 to I4. Pure. Only `judge` makes a `Verdict`, so the figures of docs/guarantees.md cannot be written by hand.
 */
import type { SandboxRequest } from "../../src/local/sandbox-requests.ts";
import { type Explanation, type Explanations, openExplanations } from "./explanation.ts";
import type { SourceAccount } from "./source-accounts.ts";

/** What the API was sent and has made. */
export interface ApiHistory {
  readonly customers: readonly MadeCustomer[];
  readonly requests: readonly Pick<SandboxRequest, "operation" | "code" | "applied">[];
  /** Requests that were in work at the same time as another one for the same account. */
  readonly overlapping: number;
}

export interface MadeCustomer {
  readonly id: string;
  readonly code: string;
  /** The account numbers that commands for it were accepted with. */
  readonly codes: readonly string[];
  /** Of the command accepted last, in the form of `SourceAccount.payload`. */
  readonly payload: unknown;
  /** Ids that the API gave out for tiers and PICs → the keys of their rows. */
  readonly rows: ReadonlyMap<string, string>;
}

interface Findings {
  /** I1: accounts whose rows differ from the command accepted last, and that are neither parked nor blocked nor explained. */
  readonly lost: readonly string[];
  /** I1: accounts that wait and are not explained, and explanations that do not hold. */
  readonly unexplained: readonly string[];
  /** I2: requests that were in work at the same time as another one for the same account. */
  readonly overlapping: number;
  /** I3: account numbers for which more than one customer was made. */
  readonly twins: readonly string[];
  /** I3: account numbers of customers that have no account. */
  readonly strays: readonly string[];
  /** I4: customers that an update for another account has changed, as when two APIs give out the same ids. */
  readonly overwritten: readonly string[];
  /** I4: rows whose external id the API gave out for something else, or never. */
  readonly wrongIds: readonly string[];
  /** I4: rows of a settled account that lack the external id that the API gave out for them. */
  readonly lostIds: readonly string[];
  /** How many accounts were left as each of the explanations says. */
  readonly explained: Readonly<Record<string, number>>;
}

export const FLAWLESS: Findings = {
  lost: [],
  unexplained: [],
  overlapping: 0,
  twins: [],
  strays: [],
  overwritten: [],
  wrongIds: [],
  lostIds: [],
  explained: {},
};

declare const judged: unique symbol;
/** Nothing outside this file can make one: not for the compiler, nor at run time, where `isVerdict` knows each that was made. */
export type Verdict = Findings & { readonly [judged]: true };

const verdicts = new WeakSet<object>();

export function isVerdict(value: object): boolean {
  return verdicts.has(value);
}

/** Meant for when the faults have ended and the queue is at rest (`isAtRest`). */
export function judge(
  accounts: readonly SourceAccount[],
  api: ApiHistory,
  given: readonly Explanation[] = [],
): Verdict {
  const explanations = openExplanations(given);
  const customersOf = Map.groupBy(api.customers, ({ code }) => code);
  const known = new Set(accounts.map(({ code }) => code));

  const found = accounts.map((account) =>
    judgeAccount(account, customersOf.get(account.code) ?? [], explanations),
  );
  const strays = [...customersOf.keys()].filter(
    (code) => !known.has(code) && !explanations.explain("removed", code),
  );
  const findings: Findings = {
    lost: found.flatMap(({ lost }) => lost),
    unexplained: [...found.flatMap(({ waiting }) => waiting), ...explanations.unfounded()],
    overlapping: api.overlapping,
    twins: findTwins(api),
    strays,
    overwritten: findOverwritten(api.customers),
    wrongIds: found.flatMap(({ wrongIds }) => wrongIds),
    lostIds: found.flatMap(({ lostIds }) => lostIds),
    explained: explanations.counts(),
  };
  verdicts.add(Object.freeze(findings));
  return findings as Verdict;
}

interface AccountFindings extends Pick<Findings, "lost" | "wrongIds" | "lostIds"> {
  readonly waiting: readonly string[];
}

function judgeAccount(
  account: SourceAccount,
  customers: readonly MadeCustomer[],
  explanations: Explanations,
): AccountFindings {
  const { code, uuid, state, errorClass, error } = account;
  const name = `account ${code}`;
  const own = customers.find(({ id }) => id === uuid);
  const { wrongIds, lostIds } = judgeIds(account, customers, own);
  const hasOtherIds = wrongIds.length > 0 && explanations.explain("other ids", code, account);
  const hasClearedIds = lostIds.length > 0 && explanations.explain("cleared ids", code, account);
  // An id that is not the API's does not lead to the customer; the account's number does.
  const customer = own ?? (hasOtherIds || hasClearedIds ? customers[0] : undefined);

  const isSettled = state === null || state === "clean";
  const isExplained = !isSettled && explanations.explain(state, code, account);
  const isLost =
    (customer === undefined || !isDelivered(customer, account)) &&
    !isExplained &&
    !["parked", "blocked"].includes(state ?? "");
  return {
    lost: isLost
      ? [`${name} (${[state, errorClass].filter((word) => word !== null).join(", ")})`]
      : [],
    waiting:
      isSettled || isExplained || isLost ? [] : [`${name} is ${state} (${errorClass}): ${error}`],
    wrongIds: hasOtherIds ? [] : wrongIds,
    lostIds: hasClearedIds ? [] : lostIds,
  };
}

/** The API has accepted what stands in the account's rows. */
export function isDelivered(customer: MadeCustomer, account: SourceAccount): boolean {
  return JSON.stringify(customer.payload) === JSON.stringify(account.payload);
}

/** Rows are compared with the account's own customer only once the account is settled: until then an id may be on its way. */
function judgeIds(
  { code, uuid, state, tiers, pics }: SourceAccount,
  customers: readonly MadeCustomer[],
  own: MadeCustomer | undefined,
): Pick<Findings, "wrongIds" | "lostIds"> {
  const name = `account ${code}`;
  const wrongIds = uuid !== null && own === undefined ? [name] : [];
  if (state !== "clean") return { wrongIds, lostIds: [] };

  const lostIds = uuid === null && customers.length > 0 ? [name] : [];
  if (own === undefined) return { wrongIds, lostIds };
  for (const row of [...tiers, ...pics]) {
    if (row.uuid === null) lostIds.push(`${name}, row ${row.key}`);
    else if (own.rows.get(row.uuid) !== row.key) wrongIds.push(`${name}, row ${row.key}`);
  }
  return { wrongIds, lostIds };
}

/**
 * By the customers that there are, and by the creates that took effect: a customer may have been deleted since, and of the requests only
 * the last 10,000 are kept.
 */
function findTwins({ customers, requests }: ApiHistory): string[] {
  const creates = requests.filter(({ operation, applied }) => operation === "create" && applied);
  return [...new Set([...findRepeated(customers), ...findRepeated(creates)])];
}

function findOverwritten(customers: readonly MadeCustomer[]): string[] {
  return customers
    .filter(({ codes }) => codes.length > 1)
    .map(
      ({ id, codes }) => `customer ${id} of account ${codes[0]}, by ${codes.slice(1).join(", ")}`,
    );
}

function findRepeated(made: readonly { readonly code: string | null }[]): string[] {
  return [...Map.groupBy(made, ({ code }) => code ?? "")]
    .filter(([, ofCode]) => ofCode.length > 1)
    .map(([code]) => code);
}
