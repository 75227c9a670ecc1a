/**
 * When nothing may be sent: the circuit breaker, which a refused token opens, too, and the wait a throttling API asked for.
 *
 *     closed ──5 outages in a row, or one refused token──▶ open ──backoff over, somebody sends──▶ half open
 *        ▲                                                  ▲                                        │
 *        └───────────────── the one probe got through ──────┼────────────────────────────────────────┤
 *                                                           └──────── it did not: a longer backoff ──┘
 *
 * While open or half open every other send resolves at once as not sent and uses up no attempt. There is one circuit per
 * connection (configuration row, or the environment); an edited configuration starts with a fresh one. A closed one that nobody used
 * for minutes is forgotten: a configuration used once would otherwise keep promising that sends make sense while the API that
 * everybody uses is down.
 */
import { CircuitState, circuitBreaker, handleWhenResult, type IBreaker } from "cockatiel";
import { compareObstacles, isStateUnknown, type Obstacle, WAIT_ASKED_FOR } from "../obstacle.ts";
import type { Observe } from "../ops/observe.ts";
import type { ApiConnection, ApiFailure, ApiResult } from "./customer-api.ts";

export interface LimitsOptions {
  /** First wait of an open circuit; doubled with every probe that fails. */
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
  /** Monotonic milliseconds; a wall clock may jump. */
  readonly now: () => number;
  /** 0 to 1. */
  readonly random: () => number;
  readonly observe: Pick<Observe, "circuit">;
  /** The API told us to wait, and means everybody who sends to it. */
  readonly onHold: (baseUrl: string, forMs: number) => void;
}

export interface Limits {
  /** Runs the sends unless the connection's circuit says no. */
  guard(connection: ApiConnection, send: GuardedSend): Promise<ApiResult>;
  /** Somebody else was told to wait. */
  hold(connection: ApiConnection, forMs: number): void;
  /** Milliseconds until a send makes sense; 0 as soon as one connection used lately is, or might be, open to sends. */
  available(): number;
  /** How many sends make sense now: none while all wait, one where only a probe would get through, any number else. */
  slots(): number;
  /** What stops the sends over the connection of this configuration. */
  findObstacle(configId: string | null): Obstacle | null;
  /** The worst of what stops all connections used lately: nothing is claimed then. null as soon as one of them is open to sends. */
  findCommonObstacle(): Obstacle | null;
}

interface GuardedSend {
  /** What stays the same when the same command is tried again. */
  readonly idempotencyKey: string;
  readonly run: () => Promise<ApiResult>;
}

/** Enough to tell an outage from bad luck, few enough that an outage parks only a handful of creates. */
const OUTAGES_TO_OPEN = 5;

/** Longer than a request may take by default, shorter than an outage that hurts. */
const FORGET_AFTER_MS = 5 * 60_000;

export function createLimits(options: LimitsOptions): Limits {
  const circuits = new Map<string | null, KnownCircuit>();
  let reported: CircuitView = { state: "closed", reason: "a new configuration" };

  function circuitOf(connection: ApiConnection): KnownCircuit {
    const identity = JSON.stringify([connection.baseUrl, connection.auth, connection.headers]);
    const known = circuits.get(connection.configId);
    if (known?.identity === identity) return known;

    const circuit = createCircuit(options, {
      onChange: () => report(connection.configId, circuit),
      onHold: (forMs) => options.onHold(connection.baseUrl, forMs),
    });
    const fresh: KnownCircuit = { identity, circuit, usedAt: options.now() };
    circuits.set(connection.configId, fresh);
    if (known !== undefined) report(connection.configId, circuit);
    return fresh;
  }

  /** There is one gauge for all connections: it shows the worst, so that one healthy connection hides no sick one. */
  function report(configId: string | null, changed: Circuit): void {
    // The last sends of a configuration that has been edited since.
    if (circuits.get(configId)?.circuit !== changed) return;

    const worst = [...circuits.values()]
      .map(({ circuit }) => circuit.view())
      .reduce((a, b) => (BADNESS[b.state] > BADNESS[a.state] ? b : a), changed.view());
    if (worst.state === reported.state && worst.reason === reported.reason) return;
    if (worst.state === "closed" && reported.state === "closed") return;

    reported = worst;
    options.observe.circuit(worst.state, worst.reason);
  }

  /** Only those that hold nobody back: an open circuit is not used while it waits, and must not be forgotten for that. */
  function forgetIdle(): void {
    for (const [configId, { circuit, usedAt }] of circuits) {
      const isIdle = options.now() - usedAt >= FORGET_AFTER_MS;
      if (isIdle && circuit.view().state === "closed" && circuit.waitMs() === 0) {
        circuits.delete(configId);
      }
    }
  }

  return {
    async guard(connection, send) {
      const used = circuitOf(connection);
      used.usedAt = options.now();
      try {
        return await used.circuit.guard(send);
      } finally {
        used.usedAt = options.now();
      }
    },

    hold(connection, forMs) {
      const used = circuitOf(connection);
      used.usedAt = options.now();
      used.circuit.hold(forMs);
    },

    available() {
      forgetIdle();
      const waits = [...circuits.values()].map(({ circuit }) => circuit.waitMs());
      return waits.length === 0 ? 0 : Math.min(...waits);
    },

    slots() {
      forgetIdle();
      const open = [...circuits.values()].filter(({ circuit }) => circuit.waitMs() === 0);
      if (circuits.size > 0 && open.length === 0) return 0;
      const onlyProbes =
        open.length > 0 && open.every(({ circuit }) => circuit.view().state !== "closed");
      return onlyProbes ? 1 : Number.POSITIVE_INFINITY;
    },

    findObstacle: (configId) => circuits.get(configId)?.circuit.findObstacle() ?? null,

    findCommonObstacle() {
      forgetIdle();
      const found = [...circuits.values()].map(({ circuit }) => circuit.findObstacle());
      const obstacles = found.filter((obstacle) => obstacle !== null);
      if (obstacles.length < found.length) return null;
      return obstacles.toSorted(compareObstacles).at(0) ?? null;
    },
  };
}

interface KnownCircuit {
  readonly identity: string;
  readonly circuit: Circuit;
  /** When a send last began or ended. */
  usedAt: number;
}

interface CircuitView {
  readonly state: "closed" | "open" | "half_open";
  readonly reason: string;
}

const BADNESS = { closed: 0, half_open: 1, open: 2 } as const;

interface Circuit {
  guard(send: GuardedSend): Promise<ApiResult>;
  hold(forMs: number): void;
  waitMs(): number;
  view(): CircuitView;
  findObstacle(): Obstacle | null;
}

function createCircuit(
  options: LimitsOptions,
  { onChange, onHold }: { onChange: () => void; onHold: (forMs: number) => void },
): Circuit {
  const { now, random, backoffMinMs, backoffMaxMs } = options;

  /** Outages since the last success, each named by what it says something about. */
  const outages = new Set<string>();
  let failure: ApiFailure | null = null;
  let reason = "a new configuration";
  let openings = 0;
  let openSince = 0;
  let openUntil = 0;
  let throttles = 0;
  let throttledSince = 0;
  let throttledUntil = 0;

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
    onChange();
  });
  policy.onHalfOpen(onChange);
  policy.onReset(() => {
    openings = 0;
    failure = null;
    reason = "requests get through";
    onChange();
  });

  async function guard(send: GuardedSend): Promise<ApiResult> {
    const wait = waitMs();
    if (wait > 0) return { kind: "failed", failure: refuse(wait) };

    return policy.execute(async () => {
      return note(send.idempotencyKey, await send.run());
    });
  }

  function note(idempotencyKey: string, result: ApiResult): ApiResult {
    if (result.kind === "accepted") {
      throttles = 0;
      return result;
    }

    if (isOutage(result.failure) || result.failure.errorClass === "unauthorized") {
      if (openings > 0 && stoppedBy(result.failure) !== stoppedBy(failure)) openSince = now();
      failure = result.failure;
      outages.add(nameOf(result.failure, idempotencyKey, outages.size));
    }
    return { kind: "failed", failure: obey(result.failure) };
  }

  /** "Too many requests" and "not available" are said to all of us, not to one account. */
  function obey(asked: ApiFailure): ApiFailure {
    const throttled = asked.errorClass === "throttled";
    const asksAll = throttled || (asked.httpStatus === 503 && asked.retryAfterMs !== null);
    if (!asksAll) return asked;

    throttles += 1;
    // Without a useful time from the server ("0" would have us knock without a pause) we choose our own.
    const wait =
      asked.retryAfterMs === null || asked.retryAfterMs === 0
        ? backoffMs(throttles)
        : asked.retryAfterMs;
    hold(wait);
    onHold(wait);
    return { ...asked, retryAfterMs: Math.ceil(throttledUntil - now()) };
  }

  function hold(forMs: number): void {
    if (throttledUntil <= now()) throttledSince = now();
    throttledUntil = Math.max(throttledUntil, now() + forMs);
  }

  function waitMs(): number {
    return Math.ceil(Math.max(throttledUntil - now(), circuitWaitMs(), 0));
  }

  function circuitWaitMs(): number {
    if (policy.state === CircuitState.Closed) return 0;
    if (policy.state === CircuitState.Open) return openUntil - now();
    // The probe is out, for as long as a request may take: look again soon.
    return backoffMinMs;
  }

  function refuse(wait: number): ApiFailure {
    const closed = policy.state === CircuitState.Closed;
    return {
      errorClass: closed ? "throttled" : (failure?.errorClass ?? "network"),
      delivery: "not_sent",
      countsAsAttempt: false,
      httpStatus: null,
      message: closed
        ? `not sent: the API asked everybody to wait, ${toSeconds(wait)} more`
        : `not sent: ${toOwnWords(failure) ?? "the API is not reachable"} (next try in ${toSeconds(wait)})`,
      retryAfterMs: wait,
    };
  }

  function view(): CircuitView {
    if (policy.state === CircuitState.Closed) return { state: "closed", reason };
    return { state: policy.state === CircuitState.HalfOpen ? "half_open" : "open", reason };
  }

  function findObstacle(): Obstacle | null {
    if (policy.state === CircuitState.Closed) {
      if (throttledUntil <= now()) return null;
      return {
        by: "retry_after",
        reason: WAIT_ASKED_FOR,
        sinceMs: throttledSince,
        untilMs: throttledUntil,
      };
    }
    const untilMs = Math.max(openUntil, throttledUntil);
    if (policy.state === CircuitState.Open && isStateUnknown(untilMs, now())) return null;
    return {
      by: stoppedBy(failure),
      reason: toOwnWords(failure) ?? "the API is not reachable",
      sinceMs: openSince,
      untilMs,
    };
  }

  /** Doubling, the upper half of it random: replicas that opened together do not probe together. */
  function backoffMs(times: number): number {
    const full = Math.min(backoffMaxMs, backoffMinMs * 2 ** Math.min(times - 1, 30));
    return full / 2 + (random() * full) / 2;
  }

  return { guard, hold, waitMs, view, findObstacle };
}

/**
 * What is told of all sends. The API spoke of one account, and may have quoted its name; the account's own error has those words. Where
 * there was an answer, nothing that is not marked as ours is taken for ours.
 */
function toOwnWords(failure: ApiFailure | null): string | null {
  if (failure === null) return null;
  const { ownWords, httpStatus, message } = failure;
  return ownWords ?? (httpStatus === null ? message : `the API answered ${httpStatus}`);
}

function stoppedBy(failure: ApiFailure | null): "unauthorized" | "circuit_open" {
  return failure?.errorClass === "unauthorized" ? "unauthorized" : "circuit_open";
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
 * A 500 or a hang may be the doing of this one command, so the same command counts once however often it is repeated: one
 * poisonous account must not stop all others. A refused connection or a 503 is no account's fault and counts each time.
 */
function nameOf(failure: ApiFailure, idempotencyKey: string, ordinal: number): string {
  return failure.delivery === "unknown" ? `command ${idempotencyKey}` : `outage ${ordinal}`;
}

function toSeconds(ms: number): string {
  return `${Math.max(ms / 1000, 0).toFixed(1)} s`;
}
