/** What people are shown of the queue, also when it is long: every account in its state, page by page, and counts that cost little. */
import { beforeAll, expect, test } from "vitest";
import { createInspector } from "../../src/queue/inspect.ts";
import { createEngine, type Engine } from "../support/engine.ts";

let engine: Engine;

beforeAll(async () => {
  engine = await createEngine();
  await engine.query(
    `insert into account_sync.account (account_id, lane, changed_at, last_changed_at, due_at, parked_at, error_class, blocked_by, lease_token)
     select
       lpad(n::text, 6, '0'),
       'change',
       case when n % 5 > 0 then now() end,
       now(),
       case when n % 5 in (1, 2, 4) then now() + (case when n % 10 < 5 then 1 else -1 end) * interval '1 hour' end,
       case when n % 5 = 3 then now() end,
       case when n % 5 in (2, 3) then 'server' end,
       case when n % 5 = 4 then '000000' end,
       case when n % 1000 = 1 then gen_random_uuid() end
     from generate_series(1, 30000) n`,
  );
  await engine.query("analyze account_sync.account");
});

test.each(["clean", "waiting", "due", "running", "retrying", "parked", "blocked", null])(
  "the pages of state %s hold exactly the accounts that are in it, each once",
  async (state) => {
    const inspector = createInspector(engine.db);
    const listed: string[] = [];
    let cursor: string | null = null;
    let pages = 0;
    do {
      const page: { accounts: { account_id: string; state: string }[]; nextCursor: string | null } =
        await inspector.accounts({ state, cursor, limit: 500 });
      listed.push(...page.accounts.map((account) => account.account_id));
      if (state !== null) for (const account of page.accounts) expect(account.state).toBe(state);
      cursor = page.nextCursor;
      pages += 1;
    } while (cursor !== null && pages < 1_000);

    const wanted = await engine.query<{ account_id: string }>(
      "select account_id from account_sync.status where state = $1 or $1 is null order by account_id",
      [state],
    );
    expect(wanted.length).toBeGreaterThan(10);
    expect(listed).toEqual(wanted.map((row) => row.account_id));
  },
);

test("a state that nobody is in is looked for in steps, each of which says where to go on", async () => {
  await engine.query("update account_sync.account set lease_token = null");
  const inspector = createInspector(engine.db);

  const first = await inspector.accounts({ state: "running", cursor: null, limit: 500 });
  const last = await inspector.accounts({ state: "running", cursor: "020000", limit: 500 });
  const beyond = await inspector.accounts({ state: "running", cursor: "030000", limit: 500 });

  expect(first).toEqual({ accounts: [], nextCursor: "010000" });
  expect(last).toEqual({ accounts: [], nextCursor: "030000" });
  expect(beyond).toEqual({ accounts: [], nextCursor: null });
});

test("parked accounts are found by their index, however many others there are", async () => {
  const plan = await engine.query<{ "QUERY PLAN": string }>(
    "explain select account_id from account_sync.account where (error_class is not null or blocked_by is not null) and account_id > '0' order by account_id limit 100",
  );

  expect(plan.map((line) => line["QUERY PLAN"]).join("\n")).toContain("account_kept_back");
});

test("however often somebody asks, the queue is counted for a twentieth of the time, and its age counts from the question", async () => {
  const clock = { now: 0 };
  const { inspector, countings } = slowInspector(clock, 1_000);

  const together = await Promise.all([inspector.status(), inspector.status()]);
  clock.now += 19_999;
  const old = await inspector.status();
  clock.now += 1;
  const fresh = await inspector.status();

  expect(together.map(({ readMsAgo }) => readMsAgo)).toEqual([1_000, 1_000]);
  expect(old.readMsAgo).toBe(20_999);
  expect(fresh.readMsAgo).toBe(1_000);
  expect(countings()).toBe(2);
});

test("an answer that was long on its way is kept for half a minute", async () => {
  const clock = { now: 0 };
  const { inspector, countings } = slowInspector(clock, 15_000);

  await inspector.status();
  clock.now += 29_999;
  await inspector.status();
  expect(countings()).toBe(1);
  clock.now += 1;
  await inspector.status();
  expect(countings()).toBe(2);
});

/** On a database that takes so long to count. */
function slowInspector(clock: { now: number }, tookMs: number) {
  let countings = 0;
  const inspector = createInspector(
    {
      run: async <Row>(name: string): Promise<Row[]> => {
        if (name === "count_pending") {
          countings += 1;
          clock.now += tookMs;
        }
        return [];
      },
    },
    () => clock.now,
  );
  return { inspector, countings: () => countings };
}
