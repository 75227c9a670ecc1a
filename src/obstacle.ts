/**
 * What stops a daemon from sending: a closed list, worst first. It begins with what waits for a person. Constraint
 * `stopped_by_what_is_known` of table `account_sync.replica` has the same list.
 */
export const STOPPED_BY = [
  /** The API, or its token endpoint, refuses our credentials. */
  "unauthorized",
  /** The API's configuration cannot be used. */
  "configuration",
  /** The queue cannot be worked on: the database, or our schema, is not there. */
  "queue_trouble",
  /** The API does not answer as it should: the circuit is open. */
  "circuit_open",
  /** The API asked all daemons to wait. */
  "retry_after",
  /** The daemon is stopping: it finishes what is under way, and claims nothing more. */
  "draining",
] as const;

export type StoppedBy = (typeof STOPPED_BY)[number];

/** What stops this daemon, or a part of it, just now. Times are monotonic milliseconds, since the wall clock may jump. */
export interface Obstacle {
  readonly by: StoppedBy;
  /** One line, secrets and personal values masked. */
  readonly reason: string;
  readonly sinceMs: number;
  /** When it is tried again; in the past while it is being tried, null when that is not known. */
  readonly untilMs: number | null;
}

/** What stops one daemon, or all of them, for output. Times are ISO 8601; null when they are not known. */
export interface KnownObstacle {
  readonly by: StoppedBy | "no_daemon" | "no_answer";
  readonly since: string | null;
  /** When it is tried again. It may have passed: then it is being tried. */
  readonly until: string | null;
  readonly reason: string;
}

/** The reason of a `retry_after`: the API gives none. */
export const WAIT_ASKED_FOR = "the API asked all daemons to wait";

/** After this long without a probe the state is unknown and is not reported. */
const UNPROBED_MAX_MS = 60_000;

/** For sorting: the worst first. A daemon that says nothing comes after those that say what stops them. */
export function compareObstacles(
  a: { readonly by: StoppedBy | "no_answer" },
  b: { readonly by: StoppedBy | "no_answer" },
): number {
  return ORDER.indexOf(a.by) - ORDER.indexOf(b.by);
}

const ORDER: readonly (StoppedBy | "no_answer")[] = [...STOPPED_BY, "no_answer"];

/**
 * An obstacle is found and overcome by sends: while there is nothing to send it is not probed after its time.
 *
 * @param untilMs when it was to be tried again
 */
export function isStateUnknown(untilMs: number, nowMs: number): boolean {
  return nowMs - untilMs > UNPROBED_MAX_MS;
}

/** By the wall clock as it is now. */
export function toKnownObstacle({ by, reason, sinceMs, untilMs }: Obstacle): KnownObstacle {
  const toIso = (ms: number) => new Date(Date.now() + ms - performance.now()).toISOString();
  return { by, reason, since: toIso(sinceMs), until: untilMs === null ? null : toIso(untilMs) };
}
