/** The words for who sends and what stops it: for a terminal, a page and a program. Pure. */
import type { PendingState } from "../ops/metrics.ts";
import type { Sending, SendingStop } from "./sending.ts";

export interface SendingWords {
  /** One sentence. */
  readonly line: string;
  /** What to do about it; null when nothing need be done. */
  readonly remedy: string | null;
}

export function describeSending(sending: Sending): SendingWords {
  const { daemons, daemonsStopped, stop, partialStop, at } = sending;
  if (stop !== null) {
    return { line: `Nothing is sent: ${describeStop(stop, at)}.`, remedy: REMEDIES[stop.by] };
  }
  if (partialStop !== null) {
    return {
      line: `${daemons} daemons run; ${daemonsStopped} of them ${daemonsStopped === 1 ? "sends" : "send"} nothing: ${describeStop(partialStop, at)}.`,
      remedy: REMEDIES[partialStop.by],
    };
  }
  return { line: daemons === 1 ? "1 daemon runs." : `${daemons} daemons run.`, remedy: null };
}

/** As keys of a JSON object. */
export function toSendingJson(sending: Sending): Readonly<Record<string, unknown>> {
  const { daemons, daemonsStopped, stop } = sending;
  return {
    daemons,
    daemons_stopped: daemonsStopped,
    stopped_by: stop?.by ?? null,
    since: stop?.since ?? null,
    until: stop?.until ?? null,
    reason: stop?.reason ?? null,
    remedy: stop === null ? null : REMEDIES[stop.by],
  };
}

/** What it means for accounts to be in a state, as long as sending stands as it does. */
export function meaningOf(state: PendingState, sending: Pick<Sending, "stop">): string {
  const { stop } = sending;
  if (stop === null) return MEANINGS[state];
  const isAlive = stop.by !== "no_daemon";
  switch (state) {
    case "due":
      return `not sent: ${WAITS_FOR[stop.by]}`;
    case "retrying":
      return `failed in a way that may pass; not tried again: ${WAITS_FOR[stop.by]}`;
    case "running":
      return isAlive
        ? MEANINGS.running
        : "sent by a command, or left by a daemon that is gone: falls due again when its lease ends";
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
  parked: "set aside: account-sync status <id> says what to do",
  blocked: "waits for its parent's external id",
};

const WAITS_FOR: Readonly<Record<SendingStop["by"], string>> = {
  no_daemon: "no daemon runs",
  unauthorized: "the API refuses our credentials",
  configuration: "the API's configuration cannot be used",
  queue_trouble: "the queue cannot be worked on",
  circuit_open: "the API does not answer as it should",
  retry_after: "the API asked to wait",
};

const REMEDIES: Readonly<Record<SendingStop["by"], string | null>> = {
  no_daemon: "Start one: account-sync start",
  unauthorized:
    "Correct CUSTOMER_API_TOKEN, or CUSTOMER_API_CLIENT_ID and CUSTOMER_API_CLIENT_SECRET, or the row of m_backend_ext_config; account-sync doctor tries them.",
  configuration:
    "Correct the row of m_backend_ext_config, which is read again every few seconds, or the settings; account-sync doctor says whether it can be used.",
  queue_trouble: "account-sync doctor says what is wrong with the database.",
  circuit_open:
    "Sending goes on by itself as soon as the API answers; account-sync doctor asks it.",
  retry_after: null,
};

function describeStop({ by, since, until, reason }: SendingStop, at: string): string {
  switch (by) {
    case "no_daemon":
      return WAITS_FOR[by];
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
