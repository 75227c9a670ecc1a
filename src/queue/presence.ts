/**
 * Says that this daemon is alive, and notices when another one is not: a dead daemon's accounts are taken over within seconds, however
 * long their leases would have run.
 *
 * A session of its own holds an advisory lock on the daemon's number. When the process dies its sockets close, and the lock is
 * gone with the session; a machine that vanishes is noticed by the server's keepalive. A live daemon can lose the session too
 * (a terminated backend), so a replica is taken for dead only after a grace, well beyond what taking the lock again needs.
 * Leases still fence: whoever was wrongly taken for dead finds its token gone before it sends, and before it writes.
 */
import { randomInt } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import type { Queryable } from "../db/database.ts";

export interface PresenceOptions {
  readonly db: Queryable;
  /** A direct connection: the lock lives as long as its session. */
  readonly connection: pg.ClientConfig;
  readonly replicaId: number;
  /** Accounts of a dead replica are due. */
  readonly onTakeOver: (accounts: number) => void;
  readonly onTrouble: (error: unknown) => void;
}

/** "sync" as bytes: the class of our advisory locks. */
const LOCK_CLASS = 1_937_337_955;
const LOOK_EVERY_MS = 1_500;
/** Taking the lock again after a terminated backend needs some milliseconds, at the worst this backoff and a connect. */
const GRACE_MS = 2_000;
const RECONNECT_MS = { first: 50, longest: 500 };

export function newReplicaId(): number {
  return randomInt(1, 2 ** 31 - 1);
}

export class Presence {
  readonly #options: PresenceOptions;
  readonly #closing = new AbortController();
  #client: pg.Client | null = null;
  #timer: NodeJS.Timeout | undefined;
  #looking = false;

  constructor(options: PresenceOptions) {
    this.#options = options;
  }

  /** @throws when the lock cannot be taken at the first start; later it is taken again for ever */
  async start(): Promise<void> {
    await this.#announce();
    await this.#look();
    this.#timer = setInterval(() => void this.#look(), LOOK_EVERY_MS);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    clearInterval(this.#timer);
    await this.#options.db.run("forget_replicas", [[this.#options.replicaId]]).catch(() => {});
    await this.#client?.end().catch(() => {});
  }

  async #announce(): Promise<void> {
    const { connection, replicaId, db } = this.#options;
    const client = new pg.Client(connection);
    let isOver = false;
    const onOver = () => {
      if (isOver || this.#client !== client) return;
      isOver = true;
      this.#client = null;
      void this.#announceAgain();
    };
    client.on("error", onOver);
    client.on("end", onOver);
    try {
      await client.connect();
      await client.query("select pg_advisory_lock($1, $2)", [LOCK_CLASS, replicaId]);
      await db.run("announce_replica", [replicaId]);
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
        this.#options.onTrouble(error);
        await sleep(waitMs, undefined, { signal: this.#closing.signal }).catch(() => {});
      }
    }
  }

  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    const { db, onTakeOver, onTrouble } = this.#options;
    try {
      const dead = (
        await db.run<{ replicaId: number }>("note_lost_replicas", [LOCK_CLASS, GRACE_MS])
      ).map((row) => row.replicaId);
      if (dead.length === 0) return;
      const orphans = await db.run("take_over_leases", [dead]);
      await db.run("forget_replicas", [dead]);
      onTakeOver(orphans.length);
    } catch (error) {
      onTrouble(error);
    } finally {
      this.#looking = false;
    }
  }
}
