/**
 * LISTEN: hints that something may be due, and manual requests. Losing every one of them costs latency, never a change.
 *
 * pg-listen in the one setting that survived terminated backends, restarts, garbage payloads, throwing handlers and blackholes;
 * each option below says what goes wrong without it. The handlers only set flags. A notification to ourselves with a random
 * nonce proves the whole way round, and drives `listener_up`.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { ClientConfig } from "pg";
import createSubscriber, { type Options, type Subscriber } from "pg-listen";
import { reconnectMs } from "../backoff.ts";
import { isClosed, isContention, isOutage } from "../db/error-code.ts";
import type { Observe } from "../ops/observe.ts";
import type { Notification } from "./notification.ts";
import { readNotification } from "./notification.ts";

export interface ListenerOptions {
  readonly connection: ClientConfig;
  readonly observe: Observe;
  readonly isPossibleId: (id: string) => boolean;
  /** Something may be due. */
  readonly onWake: () => void;
  /**
   * A person asked by NOTIFY. Resolves when the requests are durable. When it rejects it is called again with the same ones, until
   * the database is back; or with each alone, to find the one that the database refuses.
   */
  readonly onRequests: (notifications: readonly Notification[]) => Promise<void>;
}

const CHANNEL = "account_sync";
const ROUND_TRIP_CHANNEL = "account_sync_roundtrip";
const ROUND_TRIP_EVERY_MS = 3_000;
/** A round trip that takes longer counts as a dead connection: with the interval, noticed within ten seconds. */
const ROUND_TRIP_TIMEOUT_MS = 5_000;
/** Whatever else is heard: one of ours that was never sent would otherwise be waited for as long as other replicas say theirs. */
const ROUND_TRIP_MAX_MS = 60_000;
/** Between two tries to take a deaf listener's place. A try that meets silence takes five seconds by itself. */
const RESTART_EVERY_MS = 500;
/** Requests that could not be made durable yet; beyond this, repetitions of what is waiting already. */
const PENDING_MAX = 100_000;
/** One statement; what was heard beyond that waits for the next. */
const FLUSH_CHUNK = 1_000;
const FLUSH_RETRY_MS = 1_000;
const RECONNECT = { minMs: 50, maxMs: 2_000 };

export class Listener {
  readonly #options: ListenerOptions;
  #subscriber: Subscriber<Record<string, string>> | null = null;
  /** The subscriber knows that its connection is lost, and is making a new one. */
  #isReconnecting = false;
  #pending = new Map<string, Notification>();
  #flushing = false;
  #closed = false;
  #roundTrip: { nonce: string; sentAt: number } | null = null;
  /** Anything at all. In a storm our own notification stands in line behind the others, on a connection that is very much alive. */
  #heardAt = Number.NEGATIVE_INFINITY;
  #heartbeat: NodeJS.Timeout | undefined;
  #restarting: Promise<void> | null = null;

  constructor(options: ListenerOptions) {
    this.#options = options;
  }

  /**
   * Connects and listens; from then on it keeps itself alive. Look at the tables after it resolves: no
   * notification came for what changed before.
   *
   * @throws the connection's error at the first start; later failures are repeated for ever
   */
  async start(): Promise<void> {
    await this.#subscribe();
    this.#heartbeat = setInterval(() => void this.#beat(), ROUND_TRIP_EVERY_MS);
    await this.#beat();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#heartbeat);
    await this.#restarting;
    const subscriber = this.#subscriber;
    this.#subscriber = null;
    await subscriber?.close().catch(() => {});
  }

  async #subscribe(): Promise<void> {
    const subscriber = createListener(this.#options.connection);
    const isCurrent = () => this.#subscriber === subscriber;
    // Without an `error` listener an unreadable payload or a lost connection wedges the subscriber permanently.
    subscriber.events.on("error", (error) => {
      if (!isCurrent()) return;
      // Its reconnecting came to nothing (a LISTEN that failed on the new connection), and it has given up on it.
      this.#isReconnecting = false;
      this.#options.observe.listenerDown(reasonOf(error));
    });
    subscriber.events.on("reconnect", () => {
      // close() does not end a reconnecting that has begun: it would listen for ever, beside the next subscriber. Throwing does.
      if (!isCurrent()) throw new Error("closed while reconnecting");
      this.#isReconnecting = true;
      this.#options.observe.listenerReconnected();
    });
    subscriber.events.on("connected", () => {
      // It was closed while the connection that now stands was being made.
      if (!isCurrent()) return void subscriber.close().catch(() => {});
      const isBack = this.#isReconnecting;
      this.#isReconnecting = false;
      // What was sent to ourselves before is lost, and says nothing about this connection.
      this.#roundTrip = null;
      this.#options.onWake();
      // It listens again, and shows it now rather than at the next beat. At the first start it does not listen yet.
      if (isBack) void this.#beat();
    });
    subscriber.notifications.on(CHANNEL, () => {});
    subscriber.events.on("notification", (notification) => {
      if (!isCurrent()) return;
      this.#heardAt = performance.now();
      this.#heard(notification.channel, notification.processId, notification.payload ?? "");
    });

    this.#subscriber = subscriber;
    this.#isReconnecting = false;
    // connect() that rejects keeps retrying behind: close it, or it would listen beside the next one.
    try {
      await subscriber.connect();
      await subscriber.listenTo(CHANNEL);
      await subscriber.listenTo(ROUND_TRIP_CHANNEL);
    } catch (error) {
      this.#subscriber = null;
      // A connect() that failed may have begun to reconnect before we were told.
      this.#isReconnecting = false;
      await subscriber.close().catch(() => {});
      throw error;
    }
  }

  #heard(channel: string, notifierPid: number, payload: string): void {
    if (channel === ROUND_TRIP_CHANNEL) {
      this.#hearRoundTrip(payload);
      return;
    }
    const notification = readNotification(payload, this.#options.isPossibleId);
    switch (notification.kind) {
      case "wake":
        this.#options.onWake();
        break;
      case "garbage":
        this.#options.observe.notificationIgnored({
          reason: notification.reason,
          length: payload.length,
        });
        break;
      case "request":
        this.#keep({ ...notification.request, notifierPid, payload });
        break;
      default:
        notification satisfies never;
    }
  }

  #keep(notification: Notification): void {
    const key = `${notification.notifierPid} ${notification.payload}`;
    if (this.#pending.size >= PENDING_MAX && !this.#pending.has(key)) {
      this.#options.observe.notificationIgnored({
        reason: "more manual requests than can be kept while the database does not take them",
        length: notification.payload.length,
      });
      return;
    }
    this.#pending.set(key, notification);
    void this.#flush();
  }

  /** Makes what was heard durable, together, so that a storm of notifications costs work per account and not per notification. */
  async #flush(): Promise<void> {
    if (this.#flushing) return;
    this.#flushing = true;
    try {
      while (this.#pending.size > 0 && !this.#closed) {
        await new Promise((resolve) => setImmediate(resolve));
        const chunk = [...this.#pending].slice(0, FLUSH_CHUNK);
        for (const [key] of chunk) this.#pending.delete(key);
        const failure = await this.#record(chunk);
        if (failure === null) continue;
        this.#options.observe.databaseTrouble({
          doing: "recording manual requests",
          error: failure.error,
        });
        this.#pending = new Map([...failure.unrecorded, ...this.#pending]);
        await new Promise((resolve) => setTimeout(resolve, FLUSH_RETRY_MS));
      }
    } finally {
      this.#flushing = false;
    }
  }

  /** Resolves with what has to be tried again, or null. A request that the database refuses by itself must not hold up the others. */
  async #record(chunk: readonly Pending[]): Promise<Failure | null> {
    try {
      await this.#options.onRequests(chunk.map(([, notification]) => notification));
      this.#options.onWake();
      return null;
    } catch (error) {
      if (mayPass(error)) return { error, unrecorded: chunk };
      const [only] = chunk;
      if (chunk.length === 1 && only !== undefined) {
        this.#options.observe.notificationIgnored({
          reason: `the database refuses the request (${reasonOf(error)})`,
          length: only[1].payload.length,
        });
        return null;
      }
    }
    for (const [index, one] of chunk.entries()) {
      const failure = await this.#record([one]);
      if (failure !== null) return { error: failure.error, unrecorded: chunk.slice(index) };
    }
    return null;
  }

  async #beat(): Promise<void> {
    const now = performance.now();
    const sentAt = this.#roundTrip?.sentAt ?? now;
    if (
      now - Math.max(sentAt, this.#heardAt) > ROUND_TRIP_TIMEOUT_MS ||
      now - sentAt > ROUND_TRIP_MAX_MS
    ) {
      this.#options.observe.listenerDown("a notification to ourselves did not come back");
      this.#roundTrip = null;
      if (!this.#isReconnecting) await this.#restart();
      return;
    }
    if (this.#roundTrip !== null || this.#restarting !== null || this.#closed) return;
    const nonce = crypto.randomUUID();
    this.#roundTrip = { nonce, sentAt: now };
    await this.#subscriber?.notify(ROUND_TRIP_CHANNEL, nonce).catch(() => {});
  }

  #hearRoundTrip(nonce: string): void {
    // Other replicas say theirs on the same channel.
    if (this.#roundTrip?.nonce !== nonce) return;
    this.#options.observe.listenerRoundTrip((performance.now() - this.#roundTrip.sentAt) / 1000);
    this.#options.observe.listenerUp();
    this.#roundTrip = null;
  }

  /** pg-listen believes that it is connected, and is deaf: a new one takes its place. */
  async #restart(): Promise<void> {
    if (this.#closed || this.#restarting !== null) return;
    this.#restarting = (async () => {
      const deaf = this.#subscriber;
      this.#subscriber = null;
      // Closing waits for a server that may not answer; nothing waits for it.
      void deaf?.close().catch(() => {});
      while (!this.#closed) {
        try {
          await this.#subscribe();
          this.#options.observe.listenerReconnected();
          this.#options.onWake();
          return;
        } catch (error) {
          this.#options.observe.listenerDown(reasonOf(error));
          await sleep(RESTART_EVERY_MS);
        }
      }
    })();
    await this.#restarting;
    this.#restarting = null;
    await this.#beat();
  }
}

type Pending = readonly [key: string, notification: Notification];

interface Failure {
  readonly error: unknown;
  readonly unrecorded: readonly Pending[];
}

/** The same requests may be taken another time: it is not they that are wrong. */
function mayPass(error: unknown): boolean {
  return isOutage(error) || isContention(error) || isClosed(error);
}

function createListener(connection: ClientConfig): Subscriber<Record<string, string>> {
  const options: Options = {
    // Payloads are plain text; the default JSON parsing turns an id into an error event.
    parse: (payload) => payload,
    serialize: (payload) => payload,
    // 0: never give up. The default is three seconds, then silence for ever.
    retryTimeout: 0,
    retryLimit: Number.POSITIVE_INFINITY,
    retryInterval: (attempt) => reconnectMs(attempt, RECONNECT, Math.random),
    // A connection lost between reconnect and LISTEN is noticed by this check only.
    paranoidChecking: 15_000,
  };
  // The default import of this CommonJS module is its namespace.
  return createSubscriber.default(
    // A blackhole is noticed only when both timeouts are set.
    {
      ...connection,
      keepAliveInitialDelayMillis: 10_000,
      query_timeout: 5_000,
      connectionTimeoutMillis: 5_000,
    },
    options,
  );
}

/** Codes and names only: a message of the server may carry what it was sent. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  return "code" in error && typeof error.code === "string"
    ? error.code
    : error.name === "Error"
      ? error.message.slice(0, 200)
      : error.name;
}
