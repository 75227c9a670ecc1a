/**
 * The circuit of one connection: stops the sends while the API is down, refuses our token, or has asked for a wait.
 *
 *     closed ──5 outages in a row, or one refused token──▶ open ──backoff over, a send begins──▶ half open
 *        ▲                                                  ▲                                        │
 *        └───────────────── the one probe got through ──────┼────────────────────────────────────────┤
 *                                                           └──────── it did not: a longer backoff ──┘
 *
 * While it is open or half open, every send but the probe fails at once, not sent, and uses up no attempt.
 */

import { CircuitState, circuitBreaker, handleWhenResult, type IBreaker } from "cockatiel";
import { reconnectMs } from "../backoff.ts";

import { isStateUnknown, type Obstacle, WAIT_ASKED_FOR } from "../obstacle.ts";
import type { ApiFailure, ApiResult } from "./customer-api.ts";
import { createRequestedWait } from "./requested-wait.ts";

export interface Circuit {
  guard(send: GuardedSend): Promise<ApiResult>;
  /** Starts the wait that the API asked another daemon for. */
  startWait(forMs: number): void;
  /** Milliseconds until a send makes sense; 0 for now. */
  waitMs(): number;
  view(): CircuitView;
  findObstacle(): Obstacle | null;
}

export interface GuardedSend {
  /** What stays the same when the same is tried again: the customer that it is about, or the create's key. */
  readonly subject: string;
  readonly run: () => Promise<ApiResult>;
}

export interface CircuitView {
  readonly state: "closed" | "open" | "half_open";
  readonly reason: string;
}

export interface CircuitOptions {
  /** First wait of an open circuit; doubled with every probe that fails. */
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
  /** Monotonic milliseconds; a wall clock may jump. */
  readonly now: () => number;
  /** 0 to 1. */
  readonly random: () => number;
}

interface CircuitListeners {
  readonly onChange: () => void;
  readonly onWaitAsked: (forMs: number) => void;
}

/** Enough to tell an outage from chance, few enough that an outage parks only a handful of creates. */
const OUTAGES_TO_OPEN = 5;

/** Of so many commands that failed it is remembered whether others got through since. */
const FAILED_COMMANDS_MAX = 1_000;

/** By a gateway, a mesh or a router, for an API that it cannot reach. */
const GATEWAY_STATUSES: ReadonlySet<number> = new Set([502, 503, 504]);

export function createCircuit(options: CircuitOptions, listeners: CircuitListeners): Circuit {
  const { now, random, backoffMinMs, backoffMaxMs } = options;
  const range = { minMs: backoffMinMs, maxMs: backoffMaxMs };
  /** @param times openings or waits so far, this one included */
  const backoffMs = (times: number) => reconnectMs(times - 1, range, random);
  const wait = createRequestedWait({ now, backoffMs, onAsked: listeners.onWaitAsked });

  /** Outages since the last success, each named by what it may be blamed on. */
  const outages = new Set<string>();
  /** Sends that got through; and how many had when a command failed last, by its key. */
  let passed = 0;
  const passedAtFailure = new Map<string, number>();
  let failure: ApiFailure | null = null;
  let reason = "a new configuration";
  let openings = 0;
  let openSince = 0;
  let openUntil = 0;

  const breaker: IBreaker = {
    state: null,
    success: () => outages.clear(),
    failure: () => failure?.errorClass === "unauthorized" || outages.size >= OUTAGES_TO_OPEN,
  };

  // cockatiel keeps the states and lets exactly one probe through. It measures its wait on the wall clock, which may jump by an
  // hour, so its own wait is over at once and `openUntil` decides.
  const policy = circuitBreaker(
    handleWhenResult((result) => !isSignOfLife(result as ApiResult)),
    { breaker, halfOpenAfter: Number.NEGATIVE_INFINITY },
  );
  policy.onBreak(() => {
    if (openings === 0) openSince = now();
    openings += 1;
    openUntil = now() + backoffMs(openings);
    reason = `${toOwnWords(failure) ?? "no answer"} (next try in ${toSeconds(openUntil - now())})`;
    listeners.onChange();
  });
  policy.onHalfOpen(listeners.onChange);
  policy.onReset(() => {
    openings = 0;
    failure = null;
    reason = "requests get through";
    listeners.onChange();
  });

  function note(subject: string, wasClosed: boolean, result: ApiResult): ApiResult {
    if (isSignOfLife(result)) passed += 1;
    if (result.kind === "accepted") {
      passedAtFailure.delete(subject);
      wait.reset();
      return result;
    }
    const isAboutSend = judgeBlame(subject, wasClosed, result.failure);

    if (isOutage(result.failure) || result.failure.errorClass === "unauthorized") {
      if (openings > 0 && toStoppedBy(result.failure) !== toStoppedBy(failure)) openSince = now();
      failure = result.failure;
      outages.add(nameOutage(result.failure, subject, outages.size));
    }
    return {
      kind: "failed",
      failure: { ...wait.obey(result.failure), ...(isAboutSend && { isAboutSend }) },
    };
  }

  /**
   * Whether a 5xx is to be blamed on the command. A gateway's says nothing of it, unless others got through since it failed last; another
   * one does, unless the circuit was open, which is an outage.
   */
  function judgeBlame(subject: string, wasClosed: boolean, failure: ApiFailure) {
    const { errorClass, httpStatus, delivery } = failure;
    // Not sent: the token endpoint's, which knows nothing of the command.
    if (errorClass !== "server" || httpStatus === null || delivery === "not_sent") return false;
    const before = passedAtFailure.get(subject);
    passedAtFailure.delete(subject);
    passedAtFailure.set(subject, passed);
    const [oldest] = passedAtFailure.keys();
    if (passedAtFailure.size > FAILED_COMMANDS_MAX && oldest !== undefined)
      passedAtFailure.delete(oldest);
    const othersPassed = before !== undefined && passed > before;
    return othersPassed || (wasClosed && !GATEWAY_STATUSES.has(httpStatus));
  }

  function waitMs(): number {
    return Math.ceil(Math.max(wait.untilMs - now(), circuitWaitMs(), 0));
  }

  function circuitWaitMs(): number {
    if (policy.state === CircuitState.Closed) return 0;
    if (policy.state === CircuitState.Open) return openUntil - now();
    // The probe is out, for as long as a request may take: look again soon.
    return options.backoffMinMs;
  }

  function toNotSent(forMs: number): ApiFailure {
    const isClosed = policy.state === CircuitState.Closed;
    return {
      errorClass: isClosed ? "throttled" : (failure?.errorClass ?? "network"),
      delivery: "not_sent",
      countsAsAttempt: false,
      httpStatus: null,
      message: isClosed
        ? `not sent: ${WAIT_ASKED_FOR}, ${toSeconds(forMs)} more`
        : `not sent: ${toOwnWords(failure) ?? "the API is not reachable"} (next try in ${toSeconds(forMs)})`,
      retryAfterMs: forMs,
    };
  }

  function findWait(): Obstacle | null {
    const { sinceMs, untilMs } = wait;
    return untilMs > now() ? { by: "retry_after", reason: WAIT_ASKED_FOR, sinceMs, untilMs } : null;
  }

  return {
    async guard(send) {
      const forMs = waitMs();
      if (forMs > 0) return { kind: "failed", failure: toNotSent(forMs) };

      const wasClosed = policy.state === CircuitState.Closed;
      return policy.execute(async () => note(send.subject, wasClosed, await send.run()));
    },

    startWait: (forMs) => wait.start(forMs),

    waitMs,

    view() {
      if (policy.state === CircuitState.Closed) return { state: "closed", reason };
      return { state: policy.state === CircuitState.HalfOpen ? "half_open" : "open", reason };
    },

    findObstacle() {
      if (policy.state === CircuitState.Closed) return findWait();

      const untilMs = Math.max(openUntil, wait.untilMs);
      if (policy.state === CircuitState.Open && isStateUnknown(untilMs, now())) return null;
      return {
        by: toStoppedBy(failure),
        reason: toOwnWords(failure) ?? "the API is not reachable",
        sinceMs: openSince,
        untilMs,
      };
    },
  };
}

/** A refusal, even a 422 or a 429, comes from an API that works. */
function isSignOfLife(result: ApiResult): boolean {
  if (result.kind === "accepted") return true;
  return result.failure.errorClass === "rejected" || result.failure.errorClass === "throttled";
}

function isOutage({ errorClass, isGivenUp = false }: ApiFailure): boolean {
  return (
    !isGivenUp && (errorClass === "server" || errorClass === "network" || errorClass === "timeout")
  );
}

/**
 * A 5xx of the API itself or a hang may be caused by this one command, so the same command counts once however often it is repeated: one
 * account must not stop all others. A refused connection, or a 503 that promises that nothing was applied, is not caused by an account and
 * counts each time.
 */
function nameOutage(failure: ApiFailure, subject: string, ordinal: number): string {
  const { delivery, httpStatus } = failure;
  const isOfApi =
    delivery === "not_applied" && httpStatus !== null && !GATEWAY_STATUSES.has(httpStatus);
  return delivery === "unknown" || isOfApi ? `about ${subject}` : `outage ${ordinal}`;
}

function toStoppedBy(failure: ApiFailure | null): "unauthorized" | "circuit_open" {
  return failure?.errorClass === "unauthorized" ? "unauthorized" : "circuit_open";
}

/**
 * What is said of all sends. The API's answer was about one account and may have quoted its name; that text stays in the account's own
 * error. Where there was an answer, only text that is marked as ours is used.
 */
function toOwnWords(failure: ApiFailure | null): string | null {
  if (failure === null) return null;
  const { ownWords, httpStatus, message } = failure;
  return ownWords ?? (httpStatus === null ? message : `the API answered ${httpStatus}`);
}

function toSeconds(ms: number): string {
  return `${Math.max(ms / 1000, 0).toFixed(1)} s`;
}
