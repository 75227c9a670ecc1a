/** Which outcomes are normal operation, and no warning: a parent on its way, a row that another transaction holds for a moment. */
import { beforeAll, beforeEach, expect, test } from "vitest";
import type { Outcome } from "../../src/sync/outcome.ts";
import { claimOne, createEngine, type Engine } from "../support/engine.ts";
import { createFakeApi, type FakeApi } from "../support/fake-api.ts";
import { withClient } from "../support/postgres.ts";

let engine: Engine;
let api: FakeApi;
let parent: string;
let child: string;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.reset();
  api = createFakeApi();
  parent = (await engine.insertAccount()).id;
  child = (await engine.insertAccount({ parentId: parent })).id;
  await engine.queue.fold();
});

const setParent = (assignments: string) =>
  engine.query(`update account_sync.account set ${assignments} where account_id = $1`, [parent]);

const FAR = "due_at = now() + interval '1 hour'";
const CLEAN =
  "changed_at = null, due_at = null, parked_at = null, lease_token = null, blocked_by = null";

test.each<[string, () => Promise<unknown>]>([
  ["waits its turn", () => setParent(FAR)],
  ["is tried again after an outage", () => setParent(`${FAR}, error_class = 'server'`)],
  ["waits for a parent of its own", () => setParent(`${FAR}, blocked_by = 'another'`)],
  [
    "is captured and not folded yet",
    async () => {
      await setParent(CLEAN);
      await engine.change(parent);
    },
  ],
  [
    "is in a backfill that goes on",
    async () => {
      await setParent(CLEAN);
      await engine.query(
        "insert into account_sync.expansion (marker, lane, changed_at) values ('all', 'backfill', now())",
      );
    },
  ],
])("a child whose parent %s is in normal operation", async (_name, prepare) => {
  await prepare();

  expect(await outcomeOfChild()).toMatchObject({ name: "blocked", isExpected: true });
});

test.each<[string, () => Promise<unknown>, RegExp]>([
  [
    "is parked",
    () => setParent("parked_at = now(), due_at = null, error_class = 'rejected'"),
    /which is parked; `account-sync status \S+` says why/,
  ],
  [
    "was never asked for",
    () => setParent(CLEAN),
    /not in the queue; `account-sync sync \S+` sends/,
  ],
  [
    "is not there",
    // As in an installation without foreign keys.
    () =>
      engine.query(
        `set session_replication_role = replica;
         delete from m_account where id = '${parent}';
         reset session_replication_role`,
      ),
    /not in m_account; correct the parent/,
  ],
])("a child whose parent %s is told so, as a warning", async (_name, prepare, error) => {
  await prepare();

  const outcome = await outcomeOfChild();

  expect(outcome).toMatchObject({ name: "blocked", error: expect.stringMatching(error) });
  expect(outcome?.isExpected ?? false).toBe(false);
});

test("an id whose row another transaction holds is in normal operation, and written a moment later", async () => {
  const held = await withClient(engine.database.url, async (client) => {
    await client.query("begin");
    await client.query("select from m_account where id = $1 for update", [parent]);
    return await outcomeOf(parent);
  });
  await setParent("due_at = now()");

  expect(held).toMatchObject({ name: "partial", errorClass: "database", isExpected: true });
  expect(await outcomeOf(parent)).toMatchObject({ name: "synced" });
});

const outcomeOfChild = () => outcomeOf(child);

async function outcomeOf(id: string): Promise<Outcome | null> {
  const claim = await claimOne(engine.queue, id);
  if (claim === null) throw new Error(`${id} is not due`);
  return (await engine.sync(api))(claim);
}
