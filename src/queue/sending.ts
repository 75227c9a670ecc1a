/**
 * Who sends, and what stops it: the daemons that live, and what they have written down (src/queue/stop-notice.ts), joined with the waits
 * that an API asked all of them for. For commands, the console and the status page alike; src/queue/sending-words.ts has the words.
 */
import type { Queryable } from "../db/database.ts";
import { LOCK_CLASS, SILENCE_MAX_MS } from "./presence.ts";
import { STOPPED_BY, type StoppedBy } from "./stop.ts";

export interface Sending {
  /** The database's time, in the zone of its session, as are all others here. */
  readonly at: string;
  /** How many live. */
  readonly daemons: number;
  /** How many of them send nothing at present. */
  readonly daemonsStopped: number;
  /** Nothing is sent; null when at least one daemon may send. */
  readonly stop: SendingStop | null;
  /** What stops those that are stopped, while others send. */
  readonly partialStop: SendingStop | null;
}

export interface SendingStop {
  readonly by: StoppedBy | "no_daemon";
  /** null when that is not known. */
  readonly since: string | null;
  /** When it is tried again; null when that is not known. It may have passed: then it is being tried. */
  readonly until: string | null;
  readonly reason: string;
}

/** One daemon that lives; `replicaId` null: there is none. */
export interface SendingRow {
  readonly at: string;
  readonly heldUntil: string | null;
  readonly replicaId: number | null;
  readonly stoppedBy: StoppedBy | null;
  readonly since: string | null;
  readonly until: string | null;
  readonly reason: string | null;
}

/** @param baseUrl of the API that is sent to by default; null when that is not known */
export async function readSending(db: Queryable, baseUrl: string | null): Promise<Sending> {
  return toSending(await db.run<SendingRow>("read_sending", [LOCK_CLASS, SILENCE_MAX_MS, baseUrl]));
}

/** Pure. */
export function toSending(rows: readonly SendingRow[]): Sending {
  const [first] = rows;
  const alive = rows.filter(({ replicaId }) => replicaId !== null);
  const stops = alive.flatMap((row) => toStop(row) ?? []);
  const common = { at: first?.at ?? "", daemons: alive.length };
  if (alive.length === 0) {
    const none: SendingStop = {
      by: "no_daemon",
      since: null,
      until: null,
      reason: "no daemon runs",
    };
    return { ...common, daemonsStopped: 0, stop: none, partialStop: null };
  }

  const worst = worstOf(stops);
  // Meant for all, also for those that have not been told yet: each asks the database before it sends.
  const held = first?.heldUntil ?? null;
  if (held !== null && (stops.length < alive.length || worst?.by === "retry_after")) {
    const since = stops.find(({ by }) => by === "retry_after")?.since ?? null;
    const stop: SendingStop = { by: "retry_after", since, until: held, reason: WAIT_ASKED_FOR };
    return { ...common, daemonsStopped: alive.length, stop, partialStop: null };
  }
  return stops.length === alive.length
    ? { ...common, daemonsStopped: stops.length, stop: worst, partialStop: null }
    : { ...common, daemonsStopped: stops.length, stop: null, partialStop: worst };
}

const WAIT_ASKED_FOR = "the API asked all daemons to wait";

function toStop({ stoppedBy, since, until, reason }: SendingRow): SendingStop | null {
  return stoppedBy === null ? null : { by: stoppedBy, since, until, reason: reason ?? stoppedBy };
}

/** The first in the order of the list, which begins with what waits for a person; among equals the one that is tried again first. */
function worstOf(stops: readonly SendingStop[]): SendingStop | null {
  const rank = ({ by }: SendingStop) => (by === "no_daemon" ? -1 : STOPPED_BY.indexOf(by));
  const end = ({ until }: SendingStop) => (until === null ? Infinity : Date.parse(until));
  return stops.toSorted((a, b) => rank(a) - rank(b) || end(a) - end(b)).at(0) ?? null;
}
