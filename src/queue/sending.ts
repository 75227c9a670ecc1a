/**
 * Who sends, and what stops it: the daemons that live, and what they have written down (src/queue/obstacle-notice.ts), joined with the
 * waits that an API asked all of them for. For commands, the console and the status page alike; src/queue/sending-words.ts has the words.
 */
import type { Queryable } from "../db/database.ts";
import {
  compareObstacles,
  type KnownObstacle,
  type Obstacle,
  type StoppedBy,
  WAIT_ASKED_FOR,
} from "../obstacle.ts";
import { LOCK_CLASS, SILENCE_MAX_MS } from "./liveness.ts";

export interface Sending {
  /** The database's time, in the zone of its session, as are all others here. */
  readonly at: string;
  /** How many live. */
  readonly daemons: number;
  /** How many of them send nothing at present. */
  readonly daemonsStopped: number;
  /** What stops those that are stopped, that no daemon lives, or that nothing can be written; null when all may send. */
  readonly obstacle: KnownObstacle | null;
}

/** One daemon that lives; `replicaId` null: there is none. */
export interface SendingRow {
  readonly at: string;
  /** The session that asks can write nothing. */
  readonly isReadOnly: boolean;
  readonly heldUntil: string | null;
  readonly replicaId: number | null;
  /** It holds its lock, and has written nothing since then; null while it answers. */
  readonly silentSince: string | null;
  readonly stoppedBy: StoppedBy | null;
  readonly since: string | null;
  readonly until: string | null;
  readonly reason: string | null;
}

/** The daemon that asks: it knows what stops it without its row, which it may not be able to write. */
export interface Asker {
  readonly replicaId: number;
  readonly obstacle: Obstacle | null;
}

/** Three writes of a daemon that works (src/queue/obstacle-notice.ts). */
const NO_ANSWER_AFTER_MS = 30_000;

/** @param baseUrl of the API that is sent to by default; null when that is not known */
export async function readSending(
  db: Queryable,
  baseUrl: string | null,
  asker: Asker | null = null,
): Promise<Sending> {
  const now = performance.now();
  const own = asker?.obstacle ?? null;
  const rows = await db.run<SendingRow>("read_sending", [
    LOCK_CLASS,
    SILENCE_MAX_MS,
    baseUrl,
    NO_ANSWER_AFTER_MS,
    asker?.replicaId ?? null,
    own?.by ?? null,
    own === null ? null : now - own.sinceMs,
    own === null || own.untilMs === null ? null : own.untilMs - now,
    own?.reason ?? null,
  ]);
  return toSending(rows);
}

/** Pure. */
export function toSending(rows: readonly SendingRow[]): Sending {
  const [first] = rows;
  const at = first?.at ?? "";
  const alive = rows.filter(({ replicaId }) => replicaId !== null);
  const daemons = alive.length;
  if (first?.isReadOnly) return { at, daemons, daemonsStopped: daemons, obstacle: READ_ONLY };
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

/** Whatever else stops them: until this is mended nothing is. */
const READ_ONLY: KnownObstacle = {
  by: "queue_trouble",
  since: null,
  until: null,
  reason: "the database takes no writes (transaction_read_only is on)",
};

type DaemonsObstacle = KnownObstacle & { readonly by: StoppedBy | "no_answer" };

function toObstacle(row: SendingRow): DaemonsObstacle | null {
  const { silentSince, stoppedBy, since, until, reason } = row;
  // What it wrote before it fell silent may be over.
  if (silentSince !== null)
    return { by: "no_answer", since: silentSince, until: null, reason: NO_ANSWER };
  return stoppedBy === null ? null : { by: stoppedBy, since, until, reason: reason ?? stoppedBy };
}

const NO_ANSWER = "it does not answer (stopped or hanging)";

/** Among equals the one that is tried again first. */
function worstOf(obstacles: readonly DaemonsObstacle[]): DaemonsObstacle | null {
  const end = ({ until }: KnownObstacle) => (until === null ? Infinity : Date.parse(until));
  return obstacles.toSorted((a, b) => compareObstacles(a, b) || end(a) - end(b)).at(0) ?? null;
}
