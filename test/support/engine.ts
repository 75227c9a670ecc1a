/**
 * The queue and the sync without the daemon: on a real database, with an API that the test writes. Everything falls due at once
 * unless a test says otherwise, and a round is run by hand.
 */
import { afterAll, expect } from "vitest";
import { describeSource } from "../../src/account/source.ts";
import { systemClock } from "../../src/clock.ts";
import type { ApiConnection, CustomerApi } from "../../src/customer-api/customer-api.ts";
import { createDatabase, type Database } from "../../src/db/database.ts";
import type { Observe } from "../../src/ops/observe.ts";
import type { Lease } from "../../src/queue/lease.ts";
import { type Claim, createQueue, type Queue, type QueueOptions } from "../../src/queue/queue.ts";
import { RequestSlots } from "../../src/queue/request-slots.ts";
import { createSync, type SyncOptions } from "../../src/sync/create-sync.ts";
import type { Outcome } from "../../src/sync/outcome.ts";
import type { SyncPolicy } from "../../src/sync/policy.ts";
import { createRateLimit } from "../../src/sync/rate-limit.ts";
import { heldLease } from "./leases.ts";
import {
  createDatabase as createTestDatabase,
  type TestDatabase,
  type TestDatabaseOptions,
} from "./postgres.ts";

export interface Engine {
  readonly database: TestDatabase;
  readonly db: Database;
  readonly queue: Queue;
  /** What another replica knows and says of the rate limit, and of the waits that an API asked for. */
  readonly rateLimit: ReturnType<typeof createRateLimit>;
  /** A second replica's queue, or one with other settings. */
  queueWith(options: Partial<QueueOptions>): Queue;
  query: TestDatabase["query"];
  /** Empties the source tables and the queue. */
  reset(): Promise<void>;
  /** Appends a change as a trigger would. */
  change(accountId: string, change?: Change): Promise<void>;
  /** A person's request with `force`: the account is sent also when its data were accepted before. */
  forceSync(accountId: string): Promise<void>;
  /** Folds what has changed and claims one account. */
  claimNext(): Promise<Claim>;
  /** Ends every wait (quiet period, backoff, lease) of one account or of all. Parked accounts stay parked. */
  makeDue(accountId?: string): Promise<void>;
  /** Lets everything that is due, or will be, wait for an hour. */
  putOffAll(): Promise<void>;
  /** The account's row of the queue. */
  row(accountId: string): Promise<QueueRow>;
  /** Puts the row into a state as settling would leave it. */
  set(accountId: string, columns: string): Promise<void>;
  attempts(accountId: string): Promise<AttemptRow[]>;
  insertAccount(account?: NewAccount): Promise<InsertedAccount>;
  /** Changes a column that is sent, as the application would. */
  rename(accountId: string, name: string): Promise<void>;
  /** External ids and users as they stand on an account, its tiers and its PICs, in the order they were inserted. */
  ids(accountId: string): Promise<ExternalIds>;
  /** The function that brings one claimed account to its outcome. */
  sync(
    api: CustomerApi,
    options?: SyncTestOptions,
  ): Promise<(claim: Claim, lease?: Lease) => Promise<Outcome | null>>;
  /** Folds, claims everything that is due and runs it at once. Resolves with the outcomes by account. */
  round(
    api: CustomerApi,
    options?: SyncTestOptions,
  ): Promise<Readonly<Record<string, Outcome | null>>>;
}

export interface SyncTestOptions {
  readonly policy?: Partial<SyncPolicy>;
  readonly observe?: Partial<Observe>;
  readonly overrides?: Partial<SyncOptions>;
}

export interface Change {
  readonly lane?: "manual" | "change" | "backfill";
  readonly request?: object;
  /** Default: now. */
  readonly secondsAgo?: number;
  readonly externalId?: string;
}

export interface NewAccount {
  readonly tiers?: number;
  readonly pics?: number;
  readonly parentId?: string;
  readonly name?: string;
}

export interface InsertedAccount {
  readonly id: string;
  readonly tiers: readonly string[];
  readonly pics: readonly string[];
}

export interface ExternalIds {
  readonly account: string | null;
  readonly branch: string | null;
  readonly tiers: readonly (string | null)[];
  readonly pics: readonly (string | null)[];
  readonly updatedBy: string | null;
}

// biome-ignore lint/suspicious/noExplicitAny: rows are asserted by their columns, whatever those are
export type QueueRow = Record<string, any>;
export type AttemptRow = QueueRow;

export const LEASE_MS = 30_000;

const cleanups: (() => Promise<void>)[] = [];

afterAll(async () => {
  for (const cleanUp of cleanups.splice(0).reverse()) await cleanUp();
});

export async function createEngine(
  options: { readonly database?: TestDatabaseOptions; readonly max?: number } = {},
): Promise<Engine> {
  const database = await createTestDatabase({ ...options.database, migrated: true });
  const connect = (max: number) => {
    const opened = createDatabase({
      url: database.url,
      applicationName: "account-sync test",
      max,
      synchronousCommit: "off",
      settingsPerTransaction: false,
      onError: () => {},
    });
    cleanups.push(() => opened.close());
    return opened;
  };
  const db = connect(options.max ?? 10);
  const source = await describeSource(db);
  const queueWith = (changed: Partial<QueueOptions>) =>
    createQueue({
      db,
      relaxedDb: db,
      quietPeriodMs: 0,
      maxWaitMs: 0,
      leaseMs: LEASE_MS,
      ...changed,
    });
  const queue = queueWith({});
  const { query } = database;

  const engine: Engine = {
    database,
    db,
    queue,
    rateLimit: createRateLimit(db, 0),
    queueWith,
    query,

    async reset() {
      const tables = ["m_account", "m_account_package_tier", "m_account_pic", "m_account_address"];
      const existing = tables.filter((table) => source.has(table));
      await query(`truncate ${existing.join(", ")} cascade`);
      await query(
        "truncate account_sync.change, account_sync.account, account_sync.attempt, account_sync.expansion, account_sync.api_hold, account_sync.mapped_id",
      );
    },

    async change(accountId, { lane = "change", request, secondsAgo = 0, externalId } = {}) {
      await query(
        `insert into account_sync.change (account_id, lane, request, changed_at, external_id)
         values ($1, $2, $3, now() - $4 * interval '1 s', $5)`,
        [accountId, lane, request ?? null, secondsAgo, externalId ?? null],
      );
    },

    forceSync: (accountId) =>
      engine.change(accountId, { lane: "manual", request: { force: true } }),

    async claimNext() {
      await queue.fold();
      const [claim] = await queue.claim(1);
      if (claim === undefined) throw new Error("nothing is due");
      return claim;
    },

    async makeDue(accountId) {
      await query(
        `update account_sync.account set due_at = now()
         where due_at is not null and ($1::text is null or account_id = $1)`,
        [accountId ?? null],
      );
    },

    async putOffAll() {
      await query(
        "update account_sync.account set due_at = now() + interval '1 hour' where due_at is not null",
      );
    },

    async set(accountId, columns) {
      await query(`update account_sync.account set ${columns} where account_id = $1`, [accountId]);
    },

    async row(accountId) {
      const [row] = await query(
        `select
           *,
           (extract(epoch from due_at - now()) * 1000)::float8 as due_in_ms,
           (extract(epoch from now() - changed_at))::float8 as changed_seconds_ago,
           (select state from account_sync.status s where s.account_id = a.account_id) as state
         from account_sync.account a
         where account_id = $1`,
        [accountId],
      );
      if (row === undefined) throw new Error(`no row of account ${accountId}`);
      return row;
    },

    attempts: (accountId) =>
      query("select * from account_sync.attempt where account_id = $1 order by attempt_id", [
        accountId,
      ]),

    async insertAccount({ tiers = 0, pics = 0, parentId, name = "Toko Uji" } = {}) {
      const id = crypto.randomUUID();
      await query(
        `insert into m_account (id, account_no, name, phone_no, email, "parentId") values ($1, 'A-1', $2, '081234567890', 'toko@example.com', $3)`,
        [id, name, parentId ?? null],
      );
      const tierRows = await query<{ id: string }>(
        `insert into m_account_package_tier (account_id, min_value, max_value, amount, start_date, end_date)
         select $1, n * 1000, n * 1000 + 999, 5, '2026-01-01', '2026-12-31' from generate_series(1, $2) n
         returning id::text`,
        [id, tiers],
      );
      const picRows = await query<{ id: string }>(
        `insert into m_account_pic (account_id, name, phone_no, email, username, created_at)
         select $1, 'Budi Uji ' || n, '0812000000' || n, '', 'budi' || n, timestamp '2026-01-01' + n * interval '1 day'
         from generate_series(1, $2) n
         returning id::text`,
        [id, pics],
      );
      return { id, tiers: tierRows.map((row) => row.id), pics: picRows.map((row) => row.id) };
    },

    async rename(accountId, name) {
      await query("update m_account set name = $2 where id::text = $1", [accountId, name]);
    },

    async ids(accountId) {
      const branch = source.hasBranchIds ? "branch_uuid_be" : "null";
      const [account] = await query(
        `select uuid_be, ${branch} as branch, updated_by from m_account where id::text = $1`,
        [accountId],
      );
      const tiers = await query(
        "select uuid_be from m_account_package_tier where account_id::text = $1 order by min_value",
        [accountId],
      );
      const pics = await query(
        "select uuid_be from m_account_pic where account_id::text = $1 order by created_at",
        [accountId],
      );
      return {
        account: account?.["uuid_be"] ?? null,
        branch: account?.["branch"] ?? null,
        tiers: tiers.map((row) => row["uuid_be"]),
        pics: pics.map((row) => row["uuid_be"]),
        updatedBy: account?.["updated_by"] ?? null,
      };
    },

    async sync(api, { policy = {}, observe = {}, overrides = {} } = {}) {
      const run = createSync({
        clock: systemClock,
        db,
        queue,
        api,
        connections: { of: async () => CONNECTION },
        mapping: { defaultCountry: "ID", referenceField: null },
        rateLimit: createRateLimit(db, 0),
        slots: new RequestSlots(16, systemClock),
        observe: { ...SILENT, ...observe },
        policy: {
          unknownOutcome: "park",
          lookupFirst: false,
          beginWithinMs: 30_000,
          applyingMaxMs: 0,
          maxAttempts: 0,
          onAccountDelete: "ignore",
          defaultUserId: "account-sync",
          language: "en",
          delayAfter: () => 0,
          blockedRecheckMs: 300_000,
          ...policy,
        },
        ...overrides,
      });
      return (claim, lease = heldLease()) => run(claim, lease);
    },

    async round(api, options) {
      const run = await engine.sync(api, options);
      while ((await queue.fold()).changes > 0);
      const claims = await queue.claim(1_000);
      const outcomes = await Promise.all(
        claims.map(async (claim) => [claim.accountId, await run(claim)] as const),
      );
      return Object.fromEntries(outcomes);
    },
  };
  return engine;
}

/** The outcome of a round that ran one account. */
export async function only(
  outcomes: Promise<Readonly<Record<string, Outcome | null>>>,
): Promise<Outcome | null> {
  const values = Object.values(await outcomes);
  expect(values).toHaveLength(1);
  return values[0] ?? null;
}

export const CONNECTION: ApiConnection = {
  configId: null,
  baseUrl: "http://127.0.0.1:1",
  createMethod: "POST",
  createPath: "/api/customer/command",
  updateMethod: "PUT",
  updatePath: "/api/customer/command/{id}",
  lookupPath: "/api/customer?code={account_no}",
  auth: { kind: "none" },
  headers: {},
};

const SILENT: Observe = {
  started() {},
  draining() {},
  stopped() {},
  folded() {},
  ran() {},
  validated() {},
  apiRequest() {},
  circuit() {},
  listenerUp() {},
  listenerDown() {},
  listenerReconnected() {},
  listenerRoundTrip() {},
  notificationIgnored() {},
  idConflict() {},
  idsMended() {},
  unknownOutcome() {},
  reconciled() {},
  walked() {},
  strayCustomer() {},
  leaseLost() {},
  databaseTrouble() {},
  databaseBack() {},
  checked() {},
  warning() {},
  info() {},
};

/** Takes this account when it is due and not leased; null otherwise. */
export async function claimOne(
  queue: Pick<Queue, "claim">,
  accountId: string,
): Promise<Claim | null> {
  const [claim = null] = await queue.claim(1, [accountId]);
  return claim;
}

/** Takes this account, which has to be due. */
export async function claimed(queue: Pick<Queue, "claim">, accountId: string): Promise<Claim> {
  const claim = await claimOne(queue, accountId);
  if (claim === null) throw new Error(`account ${accountId} is not due`);
  return claim;
}
