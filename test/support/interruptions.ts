/**
 * Syncs that are interrupted at a chosen moment: between load and journal, on the wire, between answer and write-back. The only place
 * in which tests of the sync reach into its parts.
 */
import { expect } from "vitest";
import type { ApiResult, CustomerApi } from "../../src/customer-api/customer-api.ts";
import type { Outcome } from "../../src/sync/outcome.ts";
import { CONNECTION, type Engine, type SyncTestOptions } from "./engine.ts";
import { eventually } from "./eventually.ts";
import type { FakeApi } from "./fake-api.ts";
import { heldLease, type TestLease } from "./leases.ts";

/** `work` runs when the account has been loaded and its send is not journaled yet; told which configuration it is for. */
export function beforeTheJournal(
  work: (configId: string | null) => Promise<unknown>,
): SyncTestOptions {
  const connections = {
    of: async (configId: string | null) => {
      await work(configId);
      return { ...CONNECTION, configId };
    },
  };
  return { overrides: { connections } };
}

/** `work` runs while a send waits for its turn at the rate limit: after the journal was read, before it is written. */
export function whileWaitingForItsTurn(work: () => Promise<unknown>): SyncTestOptions {
  const rateLimit = {
    shareWait: async () => {},
    waitForTurn: async () => {
      await work();
      return true;
    },
    askedWaitMs: async () => 0,
  };
  return { overrides: { rateLimit } };
}

/** The database commits this statement, or the transaction that it is part of, and the connection is lost before it says so. Once. */
export function losingOneAnswer({ db }: Engine, statement: string): SyncTestOptions {
  let isLost = false;
  const loseOnce = () => {
    if (isLost) return;
    isLost = true;
    throw new Error("Connection terminated unexpectedly");
  };
  const losing: Engine["db"] = {
    ...db,
    run: async <Row>(name: string, params?: readonly unknown[]) => {
      const rows = await db.run<Row>(name, params);
      if (name === statement) loseOnce();
      return rows;
    },
    transaction: async (work) => {
      let isIt = false;
      const result = await db.transaction((tx) => {
        const run = <Row>(name: string, params?: readonly unknown[]) => {
          isIt ||= name === statement;
          return tx.run<Row>(name, params);
        };
        return work({ ...tx, run });
      });
      if (isIt) loseOnce();
      return result;
    },
  };
  return { overrides: { db: losing } };
}

/** The process pauses between journal and send for so long that another worker has its lease when it asks. */
export function pausedPastItsLease({ queue }: Engine): SyncTestOptions {
  return { overrides: { queue: { ...queue, silenceMs: 0, renew: async () => new Set() } } };
}

export interface OverdueSend {
  /** The answer comes after all. Resolves with the outcome of its run. */
  answer(result: ApiResult): Promise<Outcome | null>;
}

/** Begins a send that is not answered before its lease has run out. Its process and its request go on. */
export async function sendPastItsLease(
  engine: Engine,
  api: FakeApi,
  options?: SyncTestOptions,
): Promise<OverdueSend> {
  const lease = heldLease();
  const overdue = await beginSend(engine, api, lease, options);
  await engine.makeDue();
  lease.lose();
  return overdue;
}

/** The process ends while its request is on the wire, and its lease runs out. */
export async function crashDuringSend(
  engine: Engine,
  api: FakeApi,
  options?: SyncTestOptions,
): Promise<void> {
  await beginSend(engine, api, heldLease(), options);
  await engine.makeDue();
}

async function beginSend(
  engine: Engine,
  api: FakeApi,
  lease: TestLease,
  options?: SyncTestOptions,
): Promise<OverdueSend> {
  const { promise: answer, resolve } = Promise.withResolvers<ApiResult>();
  const sentBefore = api.requests.length;
  api.next(() => answer);

  const run = await engine.sync(api, options);
  const running = run(await engine.claimNext(), lease);
  await eventually(() => expect(api.requests).toHaveLength(sentBefore + 1));

  return {
    answer: async (result) => {
      resolve(result);
      return await running;
    },
  };
}

/** The answer of a send or of a lookup is journaled, and the process ends before an id is written. */
export async function crashBeforeWriteBack(
  engine: Engine,
  api: CustomerApi,
  options: SyncTestOptions = {},
): Promise<void> {
  const lease = heldLease();
  const leaving: CustomerApi = {
    ...api,
    send: async (connection, request) => {
      const result = await api.send(connection, request);
      lease.leave();
      return result;
    },
    lookUp: async (connection, request) => {
      const result = await api.lookUp(connection, request);
      lease.leave();
      return result;
    },
  };
  const queue = {
    ...engine.queue,
    lockLeases: () => Promise.reject(new Error("Connection terminated")),
  };

  const run = await engine.sync(leaving, { ...options, overrides: { queue } });
  await expect(run(await engine.claimNext(), lease)).rejects.toThrow("Connection terminated");
}
