/**
 * What stops a daemon from sending: a closed list, which constraint `stopped_by_what_is_known` of table `account_sync.replica` knows too.
 */
export const STOPPED_BY = [
  /** The API, or its token endpoint, refuses our credentials. */
  "unauthorized",
  /** The API's configuration cannot be used. */
  "configuration",
  /** The queue cannot be worked on: the database, or our schema, is not there. */
  "queue_trouble",
  /** The API does not answer as it should: the circuit breaker is open. */
  "circuit_open",
  /** The API asked all daemons to wait. */
  "retry_after",
] as const;

export type StoppedBy = (typeof STOPPED_BY)[number];

/** What stops a part of the daemon just now. */
export interface Stop {
  readonly by: StoppedBy;
  /** One line, secrets and personal values masked. */
  readonly reason: string;
  /** Milliseconds until it is tried again, negative while it is being tried; null when that is not known. */
  readonly forMs: number | null;
  /** It stops what is sent by default; false: only accounts that were asked to go elsewhere. */
  readonly isDefault: boolean;
}
