/**
 * Who sends, and what stops it: the daemons that live, and what they have written down (src/queue/obstacle-notice.ts), joined with the
 * waits that an API asked all of them for. For commands, the console and the status page alike; src/queue/sending-words.ts has the words.
 */
import type { Queryable } from "../db/database.ts";
import {
  compareObstacles,
  type KnownObstacle,
  type StoppedBy,
  WAIT_ASKED_FOR,
} from "./obstacle.ts";
import { LOCK_CLASS, SILENCE_MAX_MS } from "./presence.ts";

export interface Sending {
  /** The database's time, in the zone of its session, as are all others here. */
  readonly at: string;
  /** How many live. */
  readonly daemons: number;
  /** How many of them send nothing at present. */
  readonly daemonsStopped: number;
  /** What stops those that are stopped, or that no daemon lives; null when all may send. */
  readonly obstacle: KnownObstacle | null;
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
  const at = first?.at ?? "";
  const alive = rows.filter(({ replicaId }) => replicaId !== null);
  const daemons = alive.length;
  if (daemons === 0) return { at, daemons, daemonsStopped: 0, obstacle: NO_DAEMON };

  const obstacles = alive.flatMap((row) => toObstacle(row) ?? []);
  const worst = worstOf(obstacles);
  // Meant for all, also for those that have not been told yet: each asks the database before it sends.
  const held = first?.heldUntil ?? null;
  if (held !== null && (obstacles.length < daemons || worst?.by === "retry_after")) {
    const since = obstacles.find(({ by }) => by === "retry_after")?.since ?? null;
    const obstacle = { by: "retry_after", since, until: held, reason: WAIT_ASKED_FOR } as const;
    return { at, daemons, daemonsStopped: daemons, obstacle };
  }
  return { at, daemons, daemonsStopped: obstacles.length, obstacle: worst };
}

const NO_DAEMON: KnownObstacle = {
  by: "no_daemon",
  since: null,
  until: null,
  reason: "no daemon runs",
};

type DaemonsObstacle = KnownObstacle & { readonly by: StoppedBy };

function toObstacle({ stoppedBy, since, until, reason }: SendingRow): DaemonsObstacle | null {
  return stoppedBy === null ? null : { by: stoppedBy, since, until, reason: reason ?? stoppedBy };
}

/** Among equals the one that is tried again first. */
function worstOf(obstacles: readonly DaemonsObstacle[]): DaemonsObstacle | null {
  const end = ({ until }: KnownObstacle) => (until === null ? Infinity : Date.parse(until));
  return obstacles.toSorted((a, b) => compareObstacles(a, b) || end(a) - end(b)).at(0) ?? null;
}
