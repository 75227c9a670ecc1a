/**
 * A guard against statements that get slower as the tables grow: every statement of sql/queries (account, queue, sync) that runs for each batch
 * of accounts finds its rows by an index, and touches no more buffers than are written here. With statistics and without, in our own
 * sessions and in those of a pooler, and planned while the tables were empty, which is when the sessions of a first backfill make the plans that
 * they keep.
 *
 * 200,000 accounts instead of a million, which take more than a minute to be written. What is counted does not change by it: an index is a level higher at most, a buffer per look-up.
 */
import { readdirSync } from "node:fs";
import { basename } from "node:path";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createDatabase as openDatabase } from "../../src/db/database.ts";
import { sqlDirectory } from "../../src/db/queries.ts";
import { createQueue } from "../../src/queue/queue.ts";
import {
  type Explained,
  explainPrepared,
  openPlanner,
  type Parameter,
  planNow,
  type SessionKind,
} from "../support/plans.ts";
import { createDatabase, type TestDatabase } from "../support/postgres.ts";

const ACCOUNTS = 200_000;
const BATCH = 64;
/** Every so manieth account is leased, and has an unsettled create under the key of the settled one. */
const LEASED_EVERY = 1_000;
/** Every so manieth account, beginning with the first, has a leased one for its parent; one account waits for each in the queue. */
const RESTING_EVERY = 1_777;
const TOKEN = "11111111-1111-4111-8111-111111111111";

const idOf = (number: number) => `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;
const numbers = Array.from({ length: BATCH }, (_, index) => index);
const leased = numbers.map((index) => idOf((index + 1) * LEASED_EVERY));
const resting = numbers.map((index) => idOf(index * RESTING_EVERY + 1));
const tokens = numbers.map(() => TOKEN);
const nulls = numbers.map(() => null);
/** Those of the accounts in `leased`, whose attempts were written after the settled ones. */
const attemptIds = numbers.map((index) => ACCOUNTS + index + 1);

interface Hot {
  readonly parameters: readonly Parameter[];
  readonly before?: string;
  /** Rows that it has to return, and to insert, update or delete: what finds nothing is cheap, whatever its plan. Default 0. */
  readonly returns?: number;
  readonly changes?: number;
  /** Tables, by the names that it gives them, which it need not look into for these parameters. */
  readonly unread?: readonly string[];
  /** Per account of the batch, about one and a half times what was measured with PostgreSQL 15 and 18. */
  readonly buffersPerAccount: number;
}

/** What runs for each batch, with a batch of 64. */
const HOT: Readonly<Record<string, Hot>> = {
  // Deletes the changes, and adds to their accounts.
  fold_changes: {
    parameters: [10_000, 0, 60_000],
    before: `insert into account_sync.change (account_id) select unnest('{${resting.join(",")}}'::text[])`,
    returns: 1,
    changes: 2 * BATCH,
    buffersPerAccount: 40,
  },
  // No accounts are named to it.
  claim_accounts: {
    parameters: [BATCH, 30_000, TOKEN, 1, null, 0, 0, 0, 0],
    returns: BATCH,
    changes: BATCH,
    unread: ["a"],
    buffersPerAccount: 30,
  },
  next_due: { parameters: [0, 0, 0, 0], returns: 1, buffersPerAccount: 2 },
  // Its own row among the replicas, too.
  renew_leases: {
    parameters: [leased, tokens, 30_000, 1],
    returns: BATCH,
    changes: BATCH + 1,
    buffersPerAccount: 40,
  },
  release_leases: { parameters: [leased, tokens], changes: BATCH, buffersPerAccount: 40 },
  lock_leases: { parameters: [leased, tokens], returns: BATCH, buffersPerAccount: 15 },
  settle_accounts: {
    parameters: [
      JSON.stringify(
        leased.map((accountId) => ({
          accountId,
          generation: 1,
          disposition: "clean",
          delayMs: 0,
          countsAsAttempt: false,
          endsCreate: false,
          request: "kept",
          fingerprint: "f",
        })),
      ),
      0,
      60_000,
    ],
    returns: BATCH,
    changes: BATCH,
    buffersPerAccount: 40,
  },
  take_accounts: {
    parameters: [resting, BATCH, 30_000, TOKEN],
    returns: BATCH,
    changes: BATCH,
    buffersPerAccount: 50,
  },
  wake_children: { parameters: [resting], changes: BATCH, buffersPerAccount: 36 },
  revive_answered: {
    parameters: [leased],
    before: `update account_sync.account set lease_token = null, error_class = 'unknown_outcome' where account_id = any ('{${leased.join(",")}}');
      update account_sync.attempt set delivery = 'answered', received = '{}' where attempt_id = any ('{${attemptIds.join(",")}}')`,
    returns: BATCH,
    changes: BATCH,
    unread: ["account"],
    buffersPerAccount: 40,
  },
  find_unanswered_claims: {
    parameters: [[TOKEN], 7_200_000],
    returns: ACCOUNTS / LEASED_EVERY,
    buffersPerAccount: 10,
  },
  // Renews the leases, and inserts the attempts.
  journal_sends: {
    parameters: [
      JSON.stringify(
        leased.map((accountId) => ({
          accountId,
          leaseToken: TOKEN,
          waitsFor: "http://127.0.0.1",
          generation: 2,
          trigger: "change",
          operation: "create",
          idempotencyKey: accountId,
          body: "{}",
          sent: {},
          fingerprint: "f",
          warnings: 0,
        })),
      ),
      30_000,
    ],
    before: `delete from account_sync.attempt where attempt_id = any ('{${attemptIds.join(",")}}');
      update account_sync.account set fingerprint = 'f' where account_id = any ('{${leased.join(",")}}')`,
    returns: BATCH,
    changes: 2 * BATCH,
    buffersPerAccount: 60,
  },
  journal_answers: {
    parameters: [attemptIds, numbers.map(() => '{"customer":"2"}'), numbers.map(() => 200)],
    // Half of them have made another customer before, the others were given up.
    before: `update account_sync.attempt set settled_at = now(), body = null, idempotency_key = gen_random_uuid()
      where attempt_id = any ('{${attemptIds.slice(BATCH / 2).join(",")}}')`,
    returns: BATCH,
    changes: BATCH,
    buffersPerAccount: 65,
  },
  finish_attempts: {
    parameters: [
      JSON.stringify(
        attemptIds.map((attemptId) => ({
          attemptId,
          outcome: "synced",
          delivery: "answered",
          received: { customer: "2" },
          isSettled: true,
        })),
      ),
    ],
    returns: BATCH,
    changes: BATCH,
    buffersPerAccount: 40,
  },
  record_attempts: {
    parameters: [
      JSON.stringify(
        resting.map((accountId) => ({
          accountId,
          generation: 1,
          trigger: "change",
          outcome: "unchanged",
          durationMs: 1,
          warnings: 0,
        })),
      ),
    ],
    changes: BATCH,
    buffersPerAccount: 30,
  },
  supersede_attempts: {
    parameters: [attemptIds, numbers.map(() => "t")],
    changes: BATCH,
    buffersPerAccount: 40,
  },
  load_unsettled_attempts: { parameters: [leased, 100_000], returns: BATCH, buffersPerAccount: 20 },
  load_mapped_ids: { parameters: [resting, resting], returns: 2 * BATCH, buffersPerAccount: 25 },
  map_ids: {
    parameters: [
      JSON.stringify(
        resting.map((id) => ({ accountId: id, entity: "branch", id, externalId: `b${id}` })),
      ),
    ],
    changes: BATCH,
    buffersPerAccount: 30,
  },
  find_mapped_owners: {
    parameters: [numbers.map((index) => `e${index + 1}`), leased, nulls],
    returns: BATCH,
    buffersPerAccount: 30,
  },
};

/** One statement per row of theirs, or per batch of rows: the ids of accounts, tiers and PICs are the same here. */
const NEW_IDS = numbers.map((index) => `n${index}`);
const SOURCE_TABLES: Readonly<Record<string, Hot>> = {
  find_accounts: { parameters: [resting], returns: BATCH, buffersPerAccount: 6 },
  load_accounts: { parameters: [resting, 1, 1_000_000], returns: BATCH, buffersPerAccount: 12 },
  load_tiers: { parameters: [resting, 100, 1_000_000], returns: BATCH, buffersPerAccount: 15 },
  load_pics: { parameters: [resting, 100, 1_000_000], returns: BATCH, buffersPerAccount: 15 },
  load_addresses: { parameters: [resting, 100, 1_000_000], returns: BATCH, buffersPerAccount: 15 },
  load_bank_accounts: {
    parameters: [resting, 100, 1_000_000],
    returns: BATCH,
    buffersPerAccount: 15,
  },
  read_account_ids: { parameters: [resting], returns: BATCH, buffersPerAccount: 10 },
  read_tier_ids: { parameters: [resting], returns: BATCH, buffersPerAccount: 10 },
  read_pic_ids: { parameters: [resting], returns: BATCH, buffersPerAccount: 10 },
  find_synced_parents: { parameters: [leased], returns: BATCH, buffersPerAccount: 10 },
  write_account_ids: {
    parameters: [resting, resting, NEW_IDS, nulls, nulls],
    returns: BATCH,
    changes: BATCH,
    buffersPerAccount: 30,
  },
  write_account_and_branch_ids: {
    parameters: [resting, resting, NEW_IDS, nulls, nulls, NEW_IDS, nulls],
    returns: BATCH,
    changes: BATCH,
    buffersPerAccount: 30,
  },
  write_tier_ids: {
    parameters: [resting, resting, NEW_IDS, nulls, nulls, resting],
    returns: BATCH,
    changes: BATCH,
    buffersPerAccount: 40,
  },
  write_pic_ids: {
    parameters: [resting, resting, NEW_IDS, nulls, nulls, resting],
    returns: BATCH,
    changes: BATCH,
    buffersPerAccount: 40,
  },
};

/** What is not held to it, and why. */
const EXEMPT: Readonly<Record<string, string>> = {
  ...because("a person asks, one account or one page at a time", [
    "account_history",
    "account_status",
    "adopt_customer",
    "canonical_ids",
    "forget_ids",
    "list_accounts",
    "list_kept_back_accounts",
    "request_accounts",
    "request_replacement",
    "retry_accounts",
  ]),
  ...because("counts, and is run for a twentieth of the time at most", [
    "count_backfill",
    "count_pending",
    "count_some_unqueued",
    "count_unqueued",
    "oldest_pending",
  ]),
  ...because("walks many accounts on purpose, in chunks", [
    "advance_expansion",
    "awaits_marker_table",
    "end_expansion",
    "expand_all",
    "expand_known",
    "expand_m_account_billing_method",
    "expand_m_account_type",
    "expand_m_bank",
    "expand_missing",
    "expand_unqueued",
    "mark_accounts",
    "next_expansion",
    "postpone_expansion",
    "request_marker",
    "waited_for_parents",
    "advance_id_takeover",
    "begin_id_takeover",
    "next_ids_to_take_over",
    "take_over_ids",
  ]),
  ...because("a table of a few rows, or none", [
    "announce_replica",
    "load_account_types",
    "load_api_configs",
    "load_banks",
    "load_billing_methods",
    "asked_wait",
    "forget_heard_notifications",
    "forget_replicas",
    "hear_notifications",
    "installation_id",
    "limit_lock_waits",
    "limit_statements",
    "lock_external_id",
    "note_lost_replicas",
    "note_obstacle",
    "read_sending",
    "reserve_sends",
    "ring",
    "share_wait",
  ]),
  ...because(
    "once for an accident: a replica that died, an id that two accounts have, a parent that is missing",
    [
      "find_id_owners",
      "find_mapped_elsewhere",
      "find_parent_cycle",
      "find_parent_state",
      "forget_left_out",
      "forget_mapped_ids",
      "last_home",
      "take_over_leases",
    ],
  ),
  ...because("housekeeping, in chunks", ["forget_old_attempts"]),
  ...because("reads the catalog", ["describe_source"]),
};

test("every statement of the queue, the load and the sync is held to it, or exempt for a reason", () => {
  const statements = ["account", "queue", "sync"]
    .flatMap((folder) => readdirSync(`${sqlDirectory}queries/${folder}`))
    .map((file) => basename(file, ".sql"));

  const known = [...Object.keys(HOT), ...Object.keys(SOURCE_TABLES), ...Object.keys(EXEMPT)];

  expect(known.toSorted()).toEqual(statements.toSorted());
});

let database: TestDatabase;
/** Its plans were made while our tables were empty. */
let young: pg.Client;
const sessions: pg.Client[] = [];

beforeAll(async () => {
  database = await createDatabase({ migrated: true });
  for (const table of ["account", "attempt", "mapped_id", "change"])
    await database.query(`alter table account_sync.${table} set (autovacuum_enabled = off)`);
  young = await planner("own", HOT);
  await fill(database);
}, 120_000);

afterAll(async () => {
  for (const session of sessions) await session.end();
});

describe("planned while the tables were empty", () => {
  test.each(Object.entries(HOT))("%s finds its rows by an index", async (name, hot) => {
    expectCheap(await explainPrepared(young, name, hot.parameters, hot), hot);
  });
});

test("a session of our own keeps one plan of each statement, for all parameters", async () => {
  const { rows } = await young.query(
    "select name, generic_plans > 0 as generic, custom_plans > 0 as custom from pg_prepared_statements order by name",
  );

  expect(rows).toEqual(
    Object.keys(HOT)
      .toSorted()
      .map((name) => ({ name, generic: true, custom: false })),
  );
});

describe.each(["without statistics", "with statistics"])("%s", (statistics) => {
  beforeAll(async () => {
    if (statistics === "with statistics") await database.query("analyze");
  });

  describe.each(["own", "shared"] as const)("in %s sessions", (kind) => {
    const statements = Object.entries({ ...HOT, ...SOURCE_TABLES });
    let session: pg.Client;
    beforeAll(async () => {
      session = await planner(kind, Object.fromEntries(statements));
    });

    test.each(statements)("%s finds its rows by an index", async (name, hot) => {
      expectCheap(await explainPrepared(session, name, hot.parameters, { ...hot, kind }), hot);
    });
  });
});

test("a fold of 10,000 of many changes costs per change what a small one does", async () => {
  const { parameters, buffersPerAccount } = HOT["fold_changes"] as Hot;
  const before = `insert into account_sync.change (account_id) select account_id from account_sync.account limit 50000`;
  const session = await planner("own", { fold_changes: HOT["fold_changes"] as Hot });

  const { buffers } = await explainPrepared(session, "fold_changes", parameters, { before });

  expect(buffers).toBeLessThan(10_000 * buffersPerAccount);
});

test("a claim among a thousand due accounts costs what it does among all", async () => {
  const session = await planner("own", {
    claim_accounts: HOT["claim_accounts"] as Hot,
  });
  const { parameters } = HOT["claim_accounts"] as Hot;
  const among = (due: number) =>
    `set local enable_seqscan = on;
     update account_sync.account set due_at = null, changed_at = null, blocked_by = null
     where lane = 'backfill' and account_id > '${idOf(due)}'`;

  const few = await explainPrepared(session, "claim_accounts", parameters, {
    before: among(1_000),
  });
  const all = await explainPrepared(session, "claim_accounts", parameters);

  expect(all.buffers).toBeLessThan(few.buffers * 1.5);
});

test("claims and the question for the next one pass by what was claimed under an old snapshot", async () => {
  // What the tests above have taken back is gone.
  await database.query("vacuum account_sync.account");
  // Not one of our own: it would be ended for its silence.
  const old = await planner("shared", {});
  await old.query(
    "begin isolation level repeatable read; select from account_sync.account limit 1",
  );
  const session = await planner("own", HOT);
  const [claim, next] = [HOT["claim_accounts"] as Hot, HOT["next_due"] as Hot];

  const bounds = await claimAndAsk(30_000);
  const fromBounds = [...claim.parameters.slice(0, 5), ...bounds];
  const bounded = await explainPrepared(session, "claim_accounts", fromBounds);
  const everything = await explainPrepared(session, "claim_accounts", claim.parameters);
  const boundedNext = await explainPrepared(session, "next_due", bounds);
  const everythingNext = await explainPrepared(session, "next_due", next.parameters);

  await old.query("commit");
  expect(everything.buffers).toBeGreaterThan(bounded.buffers + 500);
  expect(everythingNext.buffers).toBeGreaterThan(500);
  expectCheap(bounded, claim);
  expectCheap(boundedNext, next);
});

/** Claims so many accounts. Returns the bounds from which the queue then asks for the next one. */
async function claimAndAsk(accounts: number): Promise<readonly number[]> {
  const db = openDatabase({
    url: database.url,
    applicationName: "plans",
    max: 1,
    synchronousCommit: "off",
    settingsPerTransaction: false,
    onError: () => {},
  });
  const asked: (readonly unknown[])[] = [];
  const watched = {
    ...db,
    run: async <Row>(name: string, parameters: readonly unknown[] = []) => {
      if (name === "next_due") asked.push(parameters);
      return await db.run<Row>(name, parameters);
    },
  };
  const queue = createQueue({
    db: watched,
    relaxedDb: watched,
    quietPeriodMs: 0,
    maxWaitMs: 0,
    leaseMs: 30_000,
  });
  for (let claimed = 0; claimed < accounts; claimed += 5_000) await queue.claim(5_000);
  await queue.nextDueInMs();
  await db.close();
  return asked.flat() as number[];
}

async function planner(
  kind: SessionKind,
  statements: Readonly<Record<string, Hot>>,
): Promise<pg.Client> {
  const session = await openPlanner(database.url, kind);
  sessions.push(session);
  for (const [name, { parameters }] of Object.entries(statements))
    await planNow(session, name, parameters);
  return session;
}

/** The tables of a few rows, and the changes, which have no index, are read whole. */
const SMALL = /^(change|expansion|replica|api_hold)\b/;

function expectCheap(explained: Explained, hot: Hot): void {
  const { readWhole, unread, returned, changed, buffers, plan } = explained;
  expect({ returned, changed }, plan).toEqual({
    returned: hot.returns ?? 0,
    changed: hot.changes ?? 0,
  });
  expect(
    unread.filter((table) => hot.unread?.includes(table) !== true),
    plan,
  ).toEqual([]);
  expect(
    readWhole.filter((table) => !SMALL.test(table)),
    plan,
  ).toEqual([]);
  expect(buffers, plan).toBeLessThanOrEqual(hot.buffersPerAccount * BATCH);
}

async function fill(database: TestDatabase): Promise<void> {
  const all = `generate_series(1, ${ACCOUNTS}) i`;
  const textId = (number: string) =>
    `'00000000-0000-4000-8000-' || lpad((${number})::text, 12, '0')`;
  const id = textId("i");
  const key = "md5(i::text)::uuid";
  const some = `(i % 10 = 0 or i % ${RESTING_EVERY} = 1)`;
  await database.query(`
    set session_replication_role = replica;
    create index on m_account_package_tier (account_id);
    create index on m_account_pic (account_id);
    create index on m_account_address (account_id);
    create index on m_account_bank (account_id);
    -- Those of the resting accounts have a parent, which is a leased one. Only these have an external id.
    insert into m_account (id, name, "parentId", uuid_be)
    select
      (${id})::uuid,
      'n',
      case when i % ${RESTING_EVERY} = 1 then (${textId(`(i / ${RESTING_EVERY} + 1) * ${LEASED_EVERY}`)})::uuid end,
      case when i % ${LEASED_EVERY} = 0 then 'e' || i end
    from ${all};
    insert into m_account_package_tier (id, account_id, min_value, max_value, amount, start_date, end_date)
    select (${id})::uuid, (${id})::uuid, 0, 1, 1, '2026-01-01', '2026-12-31' from ${all};
    insert into m_account_pic (id, account_id, name, phone_no, email) select (${id})::uuid, (${id})::uuid, 'n', '1', 'e' from ${all};
    -- One in ten has an address and a bank account.
    insert into m_account_address (id, account_id, city) select (${id})::uuid, (${id})::uuid, 'c' from ${all} where ${some};
    insert into m_account_bank (id, account_id, bank_account_no) select (${id})::uuid, (${id})::uuid, '1' from ${all} where ${some};

    -- One in ten waits for another try, one in a hundred for a parent.
    insert into account_sync.account (account_id, lane, changed_at, last_changed_at, due_at, lease_token, error_class, blocked_by)
    select
      ${id},
      case when i % ${LEASED_EVERY} = 0 then 'change' else 'backfill' end::account_sync.lane,
      now() - interval '1 hour',
      now() - interval '1 hour',
      case
        when i % ${LEASED_EVERY} = 0 then now() + interval '1 hour'
        when i % 10 = 2 then now() + interval '3 hours'
        else now() - interval '1 hour' + i / 64 * interval '1 us'
      end,
      case when i % ${LEASED_EVERY} = 0 then '${TOKEN}'::uuid end,
      case when i % 10 = 2 then 'server' end,
      case
        when i % 1000 = 2 and i / 1000 < ${BATCH} then ${textId(`i / 1000 * ${RESTING_EVERY} + 1`)}
        when i % 100 = 2 then 'none'
      end
    from ${all};
    insert into account_sync.attempt
      (account_id, generation, trigger, finished_at, settled_at, operation, delivery, idempotency_key, sent, fingerprint, received, outcome)
    select ${id}, 1, 'change', now(), now(), 'create', 'answered', ${key}, '{}', md5(i::text), '{"customer":"1"}', 'synced'
    from ${all};
    insert into account_sync.attempt (account_id, generation, trigger, operation, delivery, idempotency_key, body, sent, fingerprint)
    select ${id}, 2, 'change', 'create', 'sending', ${key}, '{}', '{}', md5('new' || i)
    from ${all} where i % ${LEASED_EVERY} = 0 order by i;
    insert into account_sync.mapped_id (account_id, entity, row_id, external_id)
    select ${id}, 'account', ${id}, 'e' || i from ${all};
    set session_replication_role = origin`);
}

function because(reason: string, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, reason]));
}
