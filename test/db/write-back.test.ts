/** External ids reach their rows whatever the application does to these rows meanwhile, and nobody's decision is overwritten. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { decideWrite } from "../../src/sync/write-back.ts";
import { createEngine, type Engine, type InsertedAccount } from "../support/engine.ts";
import { accepted, createFakeApi, type FakeApi } from "../support/fake-api.ts";
import { withClient } from "../support/postgres.ts";

let engine: Engine;
let api: FakeApi;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.reset();
  api = createFakeApi();
});

const ACCEPTED = accepted({
  customer: "ext-1",
  branch: "ext-b",
  tiers: ["ext-t1", "ext-t2"],
  crew: ["ext-p"],
});

/** The next send is accepted, and this happens while it is under way. */
function meanwhile(work: (account: InsertedAccount) => Promise<unknown>, account: InsertedAccount) {
  api.next(async () => {
    await work(account);
    return ACCEPTED;
  });
}

/** Runs `work` while another session holds what `sql` locks. */
async function whileLocked(sql: string, work: () => Promise<void>): Promise<void> {
  await withClient(engine.database.url, async (client) => {
    await client.query("begin");
    await client.query(sql);
    await work();
    await client.query("rollback");
  });
}

const roundOf = async ({ id }: InsertedAccount) => (await engine.round(api))[id];

test.each([
  ["nothing there", null, null, false, "write"],
  ["it is there", "new", null, false, "confirmed"],
  ["it was there", "new", "new", true, "confirmed"],
  ["another one was there", "old", "old", false, "conflict"],
  ["another one was there, and a person insists", "old", "old", true, "write"],
  ["another one was written meanwhile", "other", null, false, "conflict"],
  ["another one was written meanwhile, and a person insists", "other", "old", true, "conflict"],
  ["it was cleared meanwhile, and another one came", null, "old", false, "conflict"],
  ["it was put over meanwhile with none", null, "new", false, "write"],
  ["it was cleared meanwhile, and a person insists", null, "old", true, "write"],
] as const)("%s: %s now, %s before, forced %s → %s", (_, current, read, replace, decision) => {
  expect(decideWrite({ current, read, received: "new", replace })).toBe(decision);
});

const GUID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";

test.each([
  ["a GUID in another letter case", GUID.toUpperCase(), GUID, "confirmed"],
  ["another GUID", GUID.replace("3f", "4f"), GUID, "conflict"],
  ["another id in another letter case", "CUS_a", "cus_a", "conflict"],
  ["the id with a space", "cus_a ", "cus_a", "conflict"],
  ["the id in another Unicode form", "caf\u00e9", "cafe\u0301", "conflict"],
] as const)("%s stands there: %s now, %s answered → %s", (_, current, received, decision) => {
  for (const replace of decision === "confirmed" ? [false, true] : [false])
    expect(decideWrite({ current, read: current, received, replace })).toBe(decision);
});

test("F49 GUIDs answered in another letter case are no conflict, and the rows keep what they have", async () => {
  const account = await engine.insertAccount({ tiers: 2, pics: 1 });
  const guid = (n: number) => GUID.replace(/.$/, String(n));
  const ids = {
    customer: guid(1),
    branch: guid(2),
    tiers: [guid(3), guid(4)],
    crew: [guid(5)],
  };
  const inCapitals = JSON.parse(JSON.stringify(ids, (_, id) => id.toUpperCase?.() ?? id));
  api.next(accepted(ids));
  await roundOf(account);
  const standing = await engine.ids(account.id);
  await engine.rename(account.id, "Renamed");
  // In another order, too: they are told apart by the ids.
  api.next(accepted({ ...inCapitals, tiers: inCapitals.tiers.toReversed() }));

  const outcome = await roundOf(account);

  expect(outcome).toMatchObject({ name: "synced", failed: [] });
  expect(standing).toMatchObject({ account: guid(1), tiers: [guid(3), guid(4)] });
  expect(await engine.ids(account.id)).toEqual(standing);
});

describe("a row that is locked", () => {
  test("gets its id a moment later, without a request, and uses up no attempt", async () => {
    const account = await engine.insertAccount({ tiers: 2, pics: 1 });
    api.next(ACCEPTED);

    await whileLocked(
      `select from m_account_package_tier where id = '${account.tiers[0]}' for update`,
      async () => {
        const outcome = await roundOf(account);

        expect(outcome).toMatchObject({
          name: "partial",
          errorClass: "database",
          updated: { account: 1, tier: 1, pic: 1 },
          failed: [{ entity: "tier", reason: "database", count: 1 }],
        });
        expect(await engine.ids(account.id)).toMatchObject({ tiers: [null, "ext-t2"] });
        const row = await engine.row(account.id);
        expect(row).toMatchObject({ state: "retrying", attempts: 0 });
        expect(row["due_in_ms"]).toBeLessThan(1_000);
      },
    );
    await engine.makeDue();
    const later = await roundOf(account);

    expect(later).toMatchObject({ name: "synced" });
    expect(await engine.ids(account.id)).toMatchObject({ tiers: ["ext-t1", "ext-t2"] });
    expect(api.requests).toHaveLength(1);
  });

  test("however often it takes", async () => {
    const account = await engine.insertAccount();
    api.next(accepted({ customer: "ext-1" }));

    await whileLocked("select from m_account for no key update", async () => {
      for (let round = 0; round < 7; round += 1) {
        await engine.makeDue();
        await engine.round(api);
      }
      expect(await engine.row(account.id)).toMatchObject({ state: "retrying", attempts: 0 });
    });
    await engine.makeDue();
    await engine.round(api);

    expect(await engine.ids(account.id)).toMatchObject({ account: "ext-1" });
    expect(api.requests).toHaveLength(1);
  });

  test("by a foreign key's check is no obstacle", async () => {
    const account = await engine.insertAccount();

    await whileLocked(
      `insert into m_account_pic (account_id, name, phone_no, email) values ('${account.id}', 'Siti', '1', '')`,
      async () => {
        expect(await roundOf(account)).toMatchObject({ name: "synced" });
      },
    );
  });

  test("with its whole table costs a short wait, and no try of any account", async () => {
    const accounts = [await engine.insertAccount(), await engine.insertAccount()];
    const startedAt = performance.now();

    // As building an index does.
    await whileLocked("lock table m_account in share mode", async () => {
      const locked = await engine.round(api);

      expect(Object.values(locked).map((outcome) => outcome?.errorClass)).toEqual([
        "database",
        "database",
      ]);
      for (const { id } of accounts)
        expect(await engine.row(id)).toMatchObject({ state: "retrying", attempts: 0 });
    });
    await engine.makeDue();
    const free = await engine.round(api);

    expect(Object.values(free).map((outcome) => outcome?.name)).toEqual(["synced", "synced"]);
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    expect(api.requests).toHaveLength(2);
  });
});

describe("a row that the database refuses", () => {
  test("costs only itself: other rows of the account and other accounts are written", async () => {
    const bad = await engine.insertAccount({ tiers: 2, pics: 1 });
    const good = await engine.insertAccount({ tiers: 1 });
    await engine.query(
      `alter table m_account_package_tier add constraint no_id check (id <> '${bad.tiers[0]}' or uuid_be is null)`,
    );
    try {
      const outcomes = await engine.round(api);

      expect(outcomes[good.id]).toMatchObject({ name: "synced" });
      expect(outcomes[bad.id]).toMatchObject({
        name: "partial",
        errorClass: "database",
        error: expect.stringContaining("23514"),
        updated: { account: 1, tier: 1, pic: 1 },
        failed: [{ entity: "tier", reason: "database", count: 1 }],
      });
      expect((await engine.ids(bad.id)).tiers).toEqual([null, expect.any(String)]);
      expect(await engine.row(bad.id)).toMatchObject({ attempts: 1 });
    } finally {
      await engine.query("alter table m_account_package_tier drop constraint no_id");
    }
    await engine.round(api);

    expect((await engine.ids(bad.id)).tiers).not.toContain(null);
    expect(api.requests).toHaveLength(2);
  });

  test("is parked after five tries, its id stays in the journal, and a retry writes it", async () => {
    const account = await engine.insertAccount();
    api.next(accepted({ customer: "ext-1" }));
    await engine.query("alter table m_account add constraint no_id check (uuid_be is null)");
    try {
      for (let round = 0; round < 6; round += 1) await engine.round(api);

      expect(await engine.row(account.id)).toMatchObject({
        state: "parked",
        error_class: "incomplete",
      });
      expect(await engine.attempts(account.id)).toMatchObject([
        { settled_at: null, received: { customer: "ext-1" } },
      ]);
    } finally {
      await engine.query("alter table m_account drop constraint no_id");
    }
    await engine.queue.retry({ ids: [account.id], errorClass: "incomplete" });
    await engine.round(api);

    expect(await engine.ids(account.id)).toMatchObject({ account: "ext-1" });
    expect(api.requests).toHaveLength(1);
  });

  test("at the commit only costs only itself too", async () => {
    const bad = await engine.insertAccount({ tiers: 2 });
    const good = await engine.insertAccount({ tiers: 1 });
    await engine.query(`
      create function refuse() returns trigger language plpgsql as $$
        begin
          if new.id = '${bad.tiers[0]}' and new.uuid_be is not null then raise exception 'never' using errcode = '23514'; end if;
          return null;
        end $$;
      create constraint trigger deferred after update on m_account_package_tier
        deferrable initially deferred for each row execute function refuse()`);
    try {
      const outcomes = await engine.round(api);

      expect(outcomes[good.id]).toMatchObject({ name: "synced" });
      expect(outcomes[bad.id]).toMatchObject({
        name: "partial",
        updated: { account: 1, tier: 1 },
        failed: [{ entity: "tier", reason: "database", count: 1 }],
      });
      expect(await engine.ids(bad.id)).toMatchObject({ account: expect.any(String) });
    } finally {
      await engine.query("drop function refuse cascade");
    }
  });
});

describe("while the request is under way", () => {
  test.each([
    ["sets", "'set by hand'", "set by hand"],
    ["clears", "null", null],
  ])("an operator %s an id: his decision stands", async (_, value, expected) => {
    const account = await engine.insertAccount({ tiers: 1 });
    if (value === "null") {
      await engine.round(api);
      await engine.change(account.id, { lane: "manual", request: { force: true } });
    }
    api.next(async () => {
      await engine.query(`update m_account_package_tier set uuid_be = ${value}`);
      return accepted({ customer: "ext-customer-1", tiers: ["ext-t1"] });
    });

    const outcome = await roundOf(account);

    expect(outcome).toMatchObject({
      name: "partial",
      errorClass: "id_conflict",
      failed: [{ entity: "tier", reason: "id_conflict", count: 1 }],
    });
    expect((await engine.ids(account.id)).tiers).toEqual([expected]);
    expect(await engine.row(account.id)).toMatchObject({ state: "clean" });
  });

  test("an operator writes the very id: it is confirmed", async () => {
    const account = await engine.insertAccount({ tiers: 2, pics: 1 });
    meanwhile(() => engine.query("update m_account set uuid_be = 'ext-1'"), account);

    expect(await roundOf(account)).toMatchObject({ name: "synced", updated: { account: 1 } });
  });

  test("a tier is deleted: the rest is written, and the id is kept in the history", async () => {
    const account = await engine.insertAccount({ tiers: 2, pics: 1 });
    meanwhile(
      ({ tiers }) => engine.query("delete from m_account_package_tier where id = $1", [tiers[0]]),
      account,
    );

    const outcome = await roundOf(account);

    expect(outcome).toMatchObject({ name: "synced", updated: { account: 1, tier: 1, pic: 1 } });
    expect(outcome?.error).toContain("ext-t1");
    expect(await engine.ids(account.id)).toMatchObject({ account: "ext-1", tiers: ["ext-t2"] });
    expect((await engine.attempts(account.id))[0]?.["received"]["tiers"]).toHaveLength(2);
  });

  test("a PIC moves to another account: it gets no id from this one", async () => {
    const other = await engine.insertAccount();
    await engine.round(api);
    const account = await engine.insertAccount({ tiers: 2, pics: 1 });
    meanwhile(
      ({ pics }) =>
        engine.query("update m_account_pic set account_id = $2 where id = $1", [pics[0], other.id]),
      account,
    );

    const outcome = await roundOf(account);
    const moved = await engine.ids(other.id);
    await engine.round(api);

    expect(outcome).toMatchObject({ updated: { account: 1, tier: 2, pic: 0 } });
    expect(moved.pics).toEqual([null]);
    expect((await engine.ids(other.id)).pics).toEqual([expect.stringMatching(/^ext-crew-/)]);
  });

  test("the account is deleted: nothing is written, and the next round finds it gone", async () => {
    const account = await engine.insertAccount({ tiers: 2 });
    meanwhile(({ id }) => engine.query("delete from m_account where id = $1", [id]), account);

    const outcome = await roundOf(account);
    const next = await roundOf(account);

    expect(outcome?.error).toContain("was removed");
    expect(outcome).toMatchObject({ updated: { account: 0, tier: 0, pic: 0 } });
    expect(next).toMatchObject({ name: "gone" });
    expect(await engine.row(account.id)).toMatchObject({ state: "clean" });
    expect((await engine.attempts(account.id))[0]?.["received"]).toMatchObject({
      customer: "ext-1",
    });
  });

  test("the lease is lost: no row is touched, and whoever has it finishes without a request", async () => {
    const account = await engine.insertAccount({ tiers: 2, pics: 1 });
    meanwhile(async () => {
      await engine.makeDue();
      await engine.queue.claim(1);
    }, account);

    const outcome = await roundOf(account);
    const untouched = await engine.ids(account.id);
    await engine.makeDue();
    const finished = await roundOf(account);

    expect(outcome).toBeNull();
    expect(untouched).toMatchObject({ account: null, tiers: [null, null], pics: [null] });
    expect(finished).toMatchObject({ name: "synced" });
    expect(await engine.ids(account.id)).toMatchObject({ account: "ext-1" });
    expect(api.requests).toHaveLength(1);
  });
});

test("the branch's id never replaces a different customer id, and both are written at once", async () => {
  const account = await engine.insertAccount();
  await engine.query("create table updates as select 0 as count");
  await engine.query(`
    create function count_update() returns trigger language plpgsql as $$
      begin update updates set count = count + 1; return new; end $$;
    create trigger counted before update on m_account for each row execute function count_update()`);
  api.next(accepted({ customer: "ext-1", branch: "ext-b" }));

  await engine.round(api);

  expect(await engine.ids(account.id)).toMatchObject({ account: "ext-1", branch: "ext-b" });
  expect(await engine.query("select count from updates")).toEqual([{ count: 1 }]);
  await engine.query("drop function count_update cascade; drop table updates");
});

test("where there is no column for the branch's id, it is left out", async () => {
  const older = await createEngine({ database: { withoutNewerColumns: true } });
  const account = await older.insertAccount({ tiers: 1, pics: 1 });

  const outcomes = await older.round(api);

  expect(outcomes[account.id]).toMatchObject({
    name: "synced",
    updated: { account: 1, tier: 1, pic: 1 },
  });
  expect(await older.ids(account.id)).toMatchObject({ account: "ext-customer-1", branch: null });
});

test("applications that lock parents and children in their own order never meet a deadlock of ours", async () => {
  const accounts: InsertedAccount[] = [];
  for (let index = 0; index < 6; index += 1)
    accounts.push(await engine.insertAccount({ tiers: 3, pics: 2 }));
  const until = performance.now() + 3_000;
  const errors: unknown[] = [];
  const application = async () => {
    while (performance.now() < until) {
      const { id, tiers } = accounts[Math.floor(Math.random() * accounts.length)] ?? {
        id: "",
        tiers: [],
      };
      await withClient(engine.database.url, async (client) => {
        await client.query("begin");
        await client.query("select from m_account_package_tier where id = $1 for update", [
          tiers.at(-1),
        ]);
        await client.query("update m_account set name = $2, updated_at = now() where id = $1", [
          id,
          String(Math.random()),
        ]);
        await client.query("update m_account_package_tier set amount = 6 where account_id = $1", [
          id,
        ]);
        await client.query("commit");
      }).catch((error: unknown) => errors.push(error));
    }
  };
  const sync = async () => {
    while (performance.now() < until) await engine.round(api);
  };

  // One application only: two of them could deadlock with each other.
  await Promise.all([application(), sync(), sync()]);
  for (let round = 0; round < 5; round += 1) {
    await engine.makeDue();
    await engine.round(api);
  }

  expect(errors).toEqual([]);
  for (const { id } of accounts) {
    const { account, tiers, pics } = await engine.ids(id);
    expect([account, ...tiers, ...pics]).not.toContain(null);
    expect(await engine.row(id)).toMatchObject({ state: "clean" });
  }
  const creates = api.requests.filter(({ operation }) => operation === "create");
  expect(creates).toHaveLength(accounts.length);
});
