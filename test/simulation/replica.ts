/**
 * One replica of the daemon, of production's parts: dispatcher, queue with all its SQL, sync, circuits. What it has of the world is played:
 * its clock, its connections, the API. It can be stopped and go on (SIGSTOP), drain (SIGTERM), and die, in the middle of anything.
 */

import { backoffMs } from "../../src/backoff.ts";
import { createConnectionCircuits } from "../../src/customer-api/connection-circuits.ts";
import type { ApiConnection, UnusableConnection } from "../../src/customer-api/customer-api.ts";
import { type Database, databaseOver } from "../../src/db/database.ts";
import type { Observe } from "../../src/ops/observe.ts";
import { Dispatcher } from "../../src/queue/dispatcher.ts";
import { FoldLoop } from "../../src/queue/fold-loop.ts";
import { SILENCE_MAX_MS } from "../../src/queue/liveness.ts";
import { createQueue, type Queue } from "../../src/queue/queue.ts";
import { RequestSlots } from "../../src/queue/request-slots.ts";
import { createSync } from "../../src/sync/create-sync.ts";
import { createRateLimit } from "../../src/sync/rate-limit.ts";
import { wakeForgottenChildren } from "../../src/sync/wake-waiting.ts";
import { CONNECTION } from "../support/engine.ts";
import type { ModelApi, Sender } from "./api.ts";
import { type Call, createGate, type Gated } from "./gate.ts";
import type { Stage } from "./stage.ts";
import type { Tape } from "./tape.ts";
import type { Timeline } from "./timeline.ts";

export interface Settings {
  readonly leaseMs: number;
  readonly quietPeriodMs: number;
  readonly concurrency: number;
  readonly unknownOutcome: "park" | "resend" | "lookup";
  readonly apiTimeoutMs: number;
}

/** As in src/queue/liveness.ts, but for the class of the locks: whoever holds one is alive. */
const LOCK_CLASS = 7;
const GRACE_MS = 1_500;
const TAKE_OVER_AFTER_MS = SILENCE_MAX_MS + 500;
export const BACKOFF = { minMs: 200, maxMs: 8_000 };
const SWEEP_MS = 60_000;
/** Beside the environment's API there is one that a request has to name. */
export const OTHER_CONFIG = "b";
const CONNECTIONS: ReadonlyMap<string | null, ApiConnection> = new Map([
  [null, CONNECTION],
  [OTHER_CONFIG, { ...CONNECTION, configId: OTHER_CONFIG, baseUrl: "http://127.0.0.1:2" }],
]);
const UNKNOWN: UnusableConnection = { error: "there is no such configuration" };

interface World {
  readonly tape: Tape;
  readonly timeline: Timeline;
  readonly stage: Stage;
  readonly apis: readonly ModelApi[];
  apiOf(configId: string | null): ModelApi;
  note(event: string): void;
  /** Something failed that no fault of the history explains. */
  surprise(what: string): void;
  /** A process has come to its end. */
  left(): void;
  atCommit: Gated["atCommit"];
  /** Stops it for a while. */
  stop(replica: Replica): void;
  /** The other replicas are told to look. */
  ring(from: Replica): void;
}

export class Replica implements Sender {
  readonly name: string;
  readonly calls = new Set<Call>();
  /** Answers that came while it was stopped. */
  readonly inbox: (() => void)[] = [];
  isAlive = true;
  isStopped = false;
  isDraining = false;
  /** The session that says it is there can be lost, and the process live on. */
  hasLock = false;
  readonly number: number;
  readonly #db: Database;
  readonly #queue: Queue;
  readonly #dispatcher: Dispatcher;
  readonly #foldLoop: FoldLoop;
  readonly #leaseMs: number;
  readonly #world: World;

  constructor(world: World, number: number, settings: Settings) {
    this.#world = world;
    this.number = number;
    this.name = `replica ${number}`;
    this.#leaseMs = settings.leaseMs;
    const clock = {
      now: () => world.timeline.now,
      after: (ms: number, call: () => void) => this.after(ms, call),
      random: () => world.tape.fraction(),
    };
    const observe = this.#observe();
    const db = {
      ...databaseOver(
        createGate({
          session: world.stage.replicas,
          now: clock.now,
          submit: (call) => this.#submit(call),
          deliver: (answer) => this.deliver(answer),
          kill: () => this.kill(),
          stop: () => world.stop(this),
          atCommit: (statements) => world.atCommit(statements),
        }),
        { settingsPerTransaction: false },
      ),
      close: async () => {},
    };
    this.#db = db;
    const queue = createQueue({
      db,
      relaxedDb: db,
      maxWaitMs: 5_000,
      replicaId: number,
      now: clock.now,
      ...settings,
    });
    this.#queue = queue;
    const rateLimit = createRateLimit(db, 0);
    const circuits = createConnectionCircuits({
      onWaitAsked: (baseUrl, forMs) => void rateLimit.shareWait(baseUrl, forMs).catch(() => {}),
      backoffMinMs: BACKOFF.minMs,
      backoffMaxMs: BACKOFF.maxMs,
      now: clock.now,
      random: clock.random,
      observe,
    });
    const exchangeWith = ({ configId }: ApiConnection) => world.apiOf(configId).as(this);
    const slots = new RequestSlots(settings.concurrency, clock);
    const run = createSync({
      clock,
      db,
      queue,
      api: {
        send: (connection, request) =>
          circuits.guard(connection, {
            subject: request.externalId ?? request.idempotencyKey,
            run: () => exchangeWith(connection).send(connection, request),
          }),
        lookUp: (connection, request) => exchangeWith(connection).lookUp(connection, request),
        startWait: (connection, forMs) => circuits.startWait(connection, forMs),
      },
      connections: { of: async (configId) => CONNECTIONS.get(configId) ?? UNKNOWN },
      mapping: { defaultCountry: "ID", referenceField: null },
      rateLimit,
      slots,
      observe,
      policy: {
        unknownOutcome: settings.unknownOutcome,
        lookupFirst: false,
        beginWithinMs: settings.apiTimeoutMs,
        applyingMaxMs: settings.apiTimeoutMs * 2,
        maxAttempts: 0,
        onAccountDelete: "ignore",
        defaultUserId: "account-sync",
        language: "en",
        delayAfter: (attempts) => backoffMs(attempts, BACKOFF, clock.random),
        blockedRecheckMs: BACKOFF.maxMs,
      },
    });
    this.#dispatcher = new Dispatcher({
      clock,
      due: queue,
      run,
      capacity: {
        availableInMs: () => circuits.available(),
        usefulSends: () => circuits.usefulSends(),
      },
      onMoreDue: async () => world.ring(this),
      observe,
      concurrency: settings.concurrency,
      slots,
      sweepIntervalMs: SWEEP_MS,
    });
    this.#foldLoop = new FoldLoop({
      clock,
      fold: () => queue.fold(),
      expand: () => queue.expand(),
      doorbell: { afterLook: async () => SWEEP_MS },
      onDue: () => this.#dispatcher.wake(),
      observe,
      sweepIntervalMs: SWEEP_MS,
    });
    this.#dispatcher.start();
    this.#foldLoop.start();
  }

  get isRunning(): boolean {
    return this.isAlive && !this.isStopped;
  }

  /** Takes its lock, in a session of its own. */
  async announce(): Promise<void> {
    const { judge } = this.#world.stage;
    judge.setTime(this.#world.timeline.now);
    this.hasLock = true;
    await judge.script(`select pg_advisory_lock(${LOCK_CLASS}, ${this.number})`);
    await judge.db.run("announce_replica", [this.number, this.#leaseMs]);
  }

  async loseLock(): Promise<void> {
    if (!this.hasLock) return;
    this.hasLock = false;
    await this.#world.stage.judge.script(
      `select pg_advisory_unlock(${LOCK_CLASS}, ${this.number})`,
    );
  }

  /** What liveness does every half second: notes who is gone, and takes over. */
  async lookForTheDead(): Promise<void> {
    try {
      const others = await this.#db.run<{ replicaId: number; isDead: boolean }>(
        "note_lost_replicas",
        [LOCK_CLASS, GRACE_MS, TAKE_OVER_AFTER_MS, this.number],
      );
      const ids = others.filter(({ isDead }) => isDead).map(({ replicaId }) => replicaId);
      if (ids.length === 0) return;
      const orphans = await this.#db.run("take_over_leases", [ids, TAKE_OVER_AFTER_MS]);
      await this.#db.run("forget_replicas", [ids, this.number]);
      if (orphans.length > 0) this.#foldLoop.wake();
    } catch {
      // The next look comes.
    }
  }

  /** Something may have changed. */
  wake(): void {
    this.#foldLoop.wake();
  }

  /** As the daemon does once a minute. */
  async keepHouse(): Promise<void> {
    try {
      await this.#queue.reviveAnswered("all");
      await wakeForgottenChildren({ db: this.#db, queue: this.#queue });
    } catch {
      // The next minute comes.
    }
  }

  after(ms: number, call: () => void): () => void {
    return this.#world.timeline.after(this, ms, call);
  }

  deliver(answer: () => void): void {
    if (!this.isAlive) return;
    if (this.isStopped || this.inbox.length > 0) this.inbox.push(answer);
    else answer();
  }

  stop(): void {
    this.#world.note(`${this.name} is stopped`);
    this.isStopped = true;
    for (const api of this.#world.apis) api.stop(this);
  }

  goOn(): void {
    if (!this.isAlive) return;
    this.#world.note(`${this.name} goes on`);
    this.isStopped = false;
  }

  /** Everything of it is gone; what it has sent is on its way. */
  kill(): void {
    if (!this.isAlive) return;
    this.#world.note(`${this.name} dies`);
    this.isAlive = false;
    this.#world.left();
    this.calls.clear();
    this.inbox.length = 0;
    this.#world.timeline.forget(this);
    for (const api of this.#world.apis) api.abandon(this);
  }

  /** SIGTERM. */
  drain(timeoutMs: number): void {
    this.#world.note(`${this.name} drains`);
    this.isDraining = true;
    void this.#foldLoop.stop();
    void this.#dispatcher.stop(timeoutMs).then(() => this.kill());
  }

  #submit(call: Call): void {
    // What a dead process would still have asked for.
    if (this.isAlive) this.calls.add(call);
  }

  #observe(): Observe {
    const told: Partial<Observe> = {
      warning: (message, fields) => {
        const error = fields?.["error"];
        this.#world.surprise(`${message}: ${error instanceof Error ? error.stack : error}`);
      },
      databaseTrouble: ({ error }) => {
        if (!(error instanceof Error && "isOfTheHistory" in error))
          this.#world.surprise(`database trouble: ${error instanceof Error ? error.stack : error}`);
      },
      ran: ({ accountId, outcome, errorClass }) =>
        this.#world.note(
          `${this.name}: ${Number(accountId.slice(-12))} is ${outcome}${errorClass === null ? "" : ` (${errorClass})`}`,
        ),
      leaseLost: (accountId) =>
        this.#world.note(`${this.name} has lost ${Number(accountId.slice(-12))}`),
    };
    return new Proxy(told as Observe, {
      get: (methods, name) => methods[name as keyof Observe] ?? (() => {}),
    });
  }
}
