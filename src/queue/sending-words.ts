/** The words for who sends and what stops it: for a terminal, a page and a program. Pure. */
import type { KnownObstacle } from "../obstacle.ts";
import type { PendingState } from "../ops/labels.ts";
import type { Sending } from "./sending.ts";

export interface SendingWords {
  /** One sentence. */
  readonly line: string;
  /** What to do about it; null when nothing need be done. */
  readonly remedy: string | null;
}

/** Nothing is sent by itself: no daemon lives, or each of them is stopped. */
export function isStopped(
  sending: Sending,
): sending is Sending & { readonly obstacle: KnownObstacle } {
  return sending.obstacle !== null && sending.daemonsStopped === sending.daemons;
}

export function describeSending(sending: Sending): SendingWords {
  const { daemons, daemonsStopped, obstacle, at } = sending;
  if (obstacle === null) {
    return { line: daemons === 1 ? "1 daemon runs." : `${daemons} daemons run.`, remedy: null };
  }
  const what = describeObstacle(obstacle, at, daemons);
  const line = isStopped(sending)
    ? `Nothing is sent: ${what}.`
    : `${daemons} daemons run; ${daemonsStopped} of them ${daemonsStopped === 1 ? "sends" : "send"} nothing: ${what}.`;
  // One that leaves while another sends is a rollout.
  const needsNothing = obstacle.by === "draining" && !isStopped(sending);
  return { line, remedy: needsNothing ? null : REMEDIES[obstacle.by] };
}

/** As keys of a JSON object. */
export function toSendingJson(sending: Sending): Readonly<Record<string, unknown>> {
  const { daemons, daemonsStopped } = sending;
  const obstacle = isStopped(sending) ? sending.obstacle : null;
  return {
    daemons,
    daemons_stopped: daemonsStopped,
    stopped_by: obstacle?.by ?? null,
    since: obstacle?.since ?? null,
    until: obstacle?.until ?? null,
    reason: obstacle?.reason ?? null,
    remedy: obstacle === null ? null : REMEDIES[obstacle.by],
  };
}

/** What it means for accounts to be in a state, as long as sending stands as it does. */
export function meaningOf(state: PendingState, sending: Sending): string {
  if (!isStopped(sending)) return MEANINGS[state];
  const { by } = sending.obstacle;
  switch (state) {
    case "due":
      return `not sent, as ${WAITS_FOR[by]}`;
    case "retrying":
      return GOES_ON.has(by)
        ? `failed in a way that may pass; tried again when this is over, as ${WAITS_FOR[by]}`
        : `failed in a way that may pass; not tried again, as ${WAITS_FOR[by]}`;
    case "running":
      return by === "no_daemon" || by === "no_answer"
        ? "sent by a command, or left by a daemon that is gone; falls due again when its lease ends"
        : MEANINGS.running;
    case "waiting":
    case "parked":
    case "blocked":
      return MEANINGS[state];
    default:
      return state satisfies never;
  }
}

const MEANINGS: Readonly<Record<PendingState, string>> = {
  waiting: "changed a moment ago; more changes may come",
  due: "next in line",
  running: "being sent",
  retrying: "failed in a way that may pass; tried again by itself",
  parked: "set aside; `account-sync status <id>` says what to do",
  blocked: "waits for its parent's external id",
};

/** Overcome without a new daemon: each of these is tried again by the daemon that it stops. */
const GOES_ON: ReadonlySet<KnownObstacle["by"]> = new Set([
  "unauthorized",
  "configuration",
  "queue_trouble",
  "circuit_open",
  "retry_after",
]);

/** As a clause, for one daemon or several. */
export const WAITS_FOR: Readonly<Record<KnownObstacle["by"], string>> = {
  no_daemon: "no daemon runs",
  no_answer: "the daemon does not answer (stopped or hanging)",
  draining: "the daemon is leaving",
  unauthorized: "the API refuses our credentials",
  configuration: "the API's configuration cannot be used",
  queue_trouble: "the queue cannot be worked on",
  circuit_open: "the API does not answer as it should",
  retry_after: "the API asked to wait",
};

const REMEDIES: Readonly<Record<KnownObstacle["by"], string | null>> = {
  no_daemon: "Start one: `account-sync start`",
  no_answer:
    "Look at its process: continue it (`kill -CONT <pid>`), or end it and start one: `account-sync start`",
  draining: "Sending goes on when one is started: `account-sync start`",
  unauthorized:
    "Correct CUSTOMER_API_TOKEN, or CUSTOMER_API_CLIENT_ID and CUSTOMER_API_CLIENT_SECRET, and restart the daemon, or correct the row of m_backend_ext_config; `account-sync doctor` tries them.",
  configuration:
    "Correct the row of m_backend_ext_config, which is read again every few seconds, or the settings; `account-sync doctor` says whether it can be used.",
  queue_trouble: "`account-sync doctor` says what is wrong with the database.",
  circuit_open:
    "Sending goes on by itself as soon as the API answers; `account-sync doctor` asks it.",
  retry_after: null,
};

function describeObstacle(
  { by, since, until, reason }: KnownObstacle,
  at: string,
  daemons: number,
): string {
  switch (by) {
    case "no_daemon":
      return WAITS_FOR[by];
    case "no_answer":
      return daemons === 1
        ? `${WAITS_FOR[by]}${toSince(since, at)}`
        : `no answer${toSince(since, at)} (stopped or hanging)`;
    case "draining":
      return daemons === 1
        ? `the daemon is leaving${toSince(since, at)}, and takes nothing more`
        : `leaving${toSince(since, at)}`;
    case "retry_after":
      return until === null ? WAITS_FOR[by] : `${WAITS_FOR[by]} until ${toTimeOfDay(until, at)}`;
    case "queue_trouble":
      return `${reason}${toSince(since, at)}`;
    case "unauthorized":
    case "configuration":
    case "circuit_open":
      return `${WAITS_FOR[by]}${toSince(since, at)} (${reason}); ${toNextTry(until, at)}`;
    default:
      return by satisfies never;
  }
}

function toSince(since: string | null, at: string): string {
  return since === null ? "" : ` since ${toTimeOfDay(since, at)}`;
}

function toNextTry(until: string | null, at: string): string {
  return until === null || Date.parse(until) <= Date.parse(at)
    ? "being tried again"
    : `tried again at ${toTimeOfDay(until, at)}`;
}

/** In the zone of the database session, as everything else there; with the day where it is another one. */
function toTimeOfDay(iso: string, at: string): string {
  const day = iso.slice(0, 10);
  const time = iso.slice(11, 19);
  return day === at.slice(0, 10) ? time : `${day} ${time}`;
}
