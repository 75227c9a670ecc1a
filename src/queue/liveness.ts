/**
 * Says that this daemon is alive, and notices when another one is not: a dead daemon's accounts are taken over within seconds, however
 * long their leases would have run.
 *
 * A session of its own holds an advisory lock on the daemon's number. When the process dies its sockets close, and the lock is
 * gone with the session; a machine that vanishes is noticed by the server's keepalive. A live daemon can lose the session too, so
 * the lock alone proves nothing. What does is silence: a daemon that has renewed no lease for SILENCE_MAX_MS aborts its own requests
 * (src/queue/dispatcher.ts), so an account is taken over only when its lease was taken, and its replica last renewed anything, longer
 * ago than that and a margin. Lease tokens could not do this: they fence journaling and writing, not a request that is in flight.
 */
import { randomInt } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import type { Queryable } from "../db/database.ts";

export interface LivenessOptions {
  readonly db: Queryable;
  /** A direct connection: the lock lives as long as its session. */
  readonly connection: pg.ClientConfig;
  readonly replicaId: number;
  /** The length of this daemon's leases. */
  readonly leaseMs: number;
  /** Accounts of a dead replica are due. */
  readonly onTakeOver: (accounts: number) => void;
  readonly onTrouble: (error: unknown) => void;
}

/** "sync" as bytes: the class of our advisory locks. */
export const LOCK_CLASS = 1_937_337_955;
/** While there are others: a dead one's accounts are due after the silence, the margin and this at the latest, 4 seconds. */
const LOOK_EVERY_MS = 500;
/**
 * While there is no other daemon: looking was most of what an idle one did. One that has come and died in between is found at the next
 * look, and from then on it is looked at as often as any other.
 */
const LOOK_ALONE_EVERY_MS = 5_000;
/** A daemon that has not been able to renew for so long aborts its requests: another daemon may have its accounts soon. */
export const SILENCE_MAX_MS = 3_000;
/** For an event loop that is late to notice, and a socket to close. */
const SILENCE_MARGIN_MS = 500;
/**
 * Taking the lock again after a terminated backend needs some milliseconds, at the worst the backoff below and a connect. Only so
 * that a live idle daemon is not forgotten; its requests do not hang on it.
 */
const GRACE_MS = 1_500;
const RECONNECT_MS = { first: 50, longest: 500 };

export function newReplicaId(): number {
  return randomInt(1, 2 ** 31 - 1);
}

export class Liveness {
  readonly #options: LivenessOptions;
  readonly #closing = new AbortController();
  #client: pg.Client | null = null;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: LivenessOptions) {
    this.#options = options;
  }

  /** @throws when the lock cannot be taken at the first start; later it is taken again for ever */
  async start(): Promise<void> {
    await this.#announce();
    await this.#keepLooking();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#timer);
    const { db, replicaId } = this.#options;
    await db.run("forget_replicas", [[replicaId], replicaId]).catch(() => {});
    // A pooler may keep the session, and with it the lock: we would seem to live.
    await this.#client
      ?.query("select pg_advisory_unlock($1, $2)", [LOCK_CLASS, replicaId])
      .catch(() => {});
    await this.#client?.end().catch(() => {});
  }

  async #announce(): Promise<void> {
    const { connection, replicaId, leaseMs, db } = this.#options;
    const client = new pg.Client(connection);
    let isOver = false;
    const onOver = () => {
      isOver = true;
      if (this.#client !== client) return;
      this.#client = null;
      void this.#announceAgain();
    };
    client.on("error", onOver);
    client.on("end", onOver);
    try {
      await client.connect();
      await client.query("select pg_advisory_lock($1, $2)", [LOCK_CLASS, replicaId]);
      await db.run("announce_replica", [replicaId, leaseMs]);
      // An end that came before it was the client was not handled.
      if (isOver) throw new Error("the session ended while the lock was being taken");
      this.#closing.signal.throwIfAborted();
    } catch (error) {
      await client.end().catch(() => {});
      throw error;
    }
    this.#client = client;
  }

  async #announceAgain(): Promise<void> {
    for (
      let waitMs = RECONNECT_MS.first;
      !this.#closing.signal.aborted;
      waitMs = Math.min(waitMs * 2, RECONNECT_MS.longest)
    ) {
      try {
        await this.#announce();
        return;
      } catch (error) {
        if (this.#closing.signal.aborted) return;
        this.#options.onTrouble(error);
        await sleep(waitMs, undefined, { signal: this.#closing.signal }).catch(() => {});
      }
    }
  }

  async #keepLooking(): Promise<void> {
    let isAlone = false;
    try {
      isAlone = await this.#look();
    } catch (error) {
      this.#options.onTrouble(error);
    }
    if (this.#closing.signal.aborted) return;
    this.#timer = setTimeout(
      () => void this.#keepLooking(),
      isAlone ? LOOK_ALONE_EVERY_MS : LOOK_EVERY_MS,
    );
  }

  /** Resolves with whether there is no other daemon, alive or dead. */
  async #look(): Promise<boolean> {
    const { db, replicaId, onTakeOver } = this.#options;
    const silenceMs = SILENCE_MAX_MS + SILENCE_MARGIN_MS;
    const others = await db.run<{ replicaId: number; isDead: boolean }>("note_lost_replicas", [
      LOCK_CLASS,
      GRACE_MS,
      silenceMs,
      replicaId,
    ]);
    const dead = others.filter(({ isDead }) => isDead).map((other) => other.replicaId);
    if (dead.length > 0) {
      const orphans = await db.run("take_over_leases", [dead, silenceMs]);
      await db.run("forget_replicas", [dead, replicaId]);
      if (orphans.length > 0) onTakeOver(orphans.length);
    }
    return others.length === 0;
  }
}
