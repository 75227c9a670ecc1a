/** The SQL functions that an application calls: a sync is requested, or a capture is skipped. */
import { randomUUID } from "node:crypto";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { migrate } from "../../src/db/migrate.ts";
import {
  type CapturedTables,
  createCapturedTables,
  openQueue,
} from "../support/captured-tables.ts";
import { createDatabase, withClient } from "../support/postgres.ts";

let tables: CapturedTables;

beforeAll(async () => {
  tables = await createCapturedTables();
});

beforeEach(async () => {
  await tables.reset();
});

describe("skip_capture", () => {
  test("holds for this transaction, and not for the next on the same connection", async () => {
    const account = await tables.insertAccount();
    await tables.takeChanges();

    await withClient(tables.url, async (client) => {
      await client.query("begin");
      await client.query("select account_sync.skip_capture()");
      await client.query("update m_account set name = 'skipped' where id = $1", [account]);
      await client.query("savepoint s");
      await client.query("update m_account set name = 'skipped too' where id = $1", [account]);
      await client.query("commit");
      expect(await tables.takeChanges()).toEqual([]);

      await client.query("update m_account set name = 'captured' where id = $1", [account]);
    });

    expect(await tables.takeChanges()).toEqual([{ account_id: account }]);
  });

  test("as a session setting it means nothing to the next transaction", async () => {
    const account = await tables.insertAccount();
    await tables.takeChanges();

    await withClient(tables.url, async (client) => {
      await client.query("begin");
      await client.query(
        "select set_config('account_sync.skip_capture', pg_current_xact_id()::text, false)",
      );
      await client.query("commit");
      await client.query("update m_account set name = 'captured' where id = $1", [account]);
    });

    expect(await tables.takeChanges()).toEqual([{ account_id: account }]);
  });

  test("asked for after a savepoint, it is undone with it", async () => {
    const account = await tables.insertAccount();
    await tables.takeChanges();

    await withClient(tables.url, async (client) => {
      await client.query("begin; savepoint s");
      await client.query("select account_sync.skip_capture()");
      await client.query("rollback to s");
      await client.query("update m_account set name = 'captured' where id = $1", [account]);
      await client.query("commit");
    });

    expect(await tables.takeChanges()).toEqual([{ account_id: account }]);
  });
});

describe("asking for a sync in SQL", () => {
  test("a uuid in upper case, in braces and as an argument of type uuid is one account", async () => {
    const id = await tables.insertAccount();
    await tables.takeChanges();

    await tables.query("select account_sync.request($1)", [id.toUpperCase()]);
    await tables.query("select account_sync.request($1)", [`{${id}}`]);
    await tables.query("select account_sync.request(id) from m_account where id = $1", [id]);

    expect(await tables.takeChanges()).toEqual([
      { account_id: id },
      { account_id: id },
      { account_id: id },
    ]);
  });

  test("keeps who asks for what, and not more", async () => {
    const id = await tables.insertAccount();
    await tables.takeChanges();

    await tables.query(
      "select account_sync.request($1, user_id => 'ani', config_id => 'c', force => false)",
      [id],
    );
    await tables.query("select account_sync.request($1)", [id]);
    await tables.query("select account_sync.request_all(user_id => 'ani')");
    await tables.query("select account_sync.request_all()");

    expect(
      await tables.query(
        "select c.lane::text, marker, request from account_sync.change c order by c.lane, request nulls last",
      ),
    ).toEqual([
      { lane: "manual", marker: null, request: { force: true } },
      { lane: "change", marker: null, request: { user_id: "ani", config_id: "c" } },
      { lane: "backfill", marker: "all", request: { user_id: "ani" } },
      { lane: "backfill", marker: "all", request: null },
    ]);
  });

  test.each(["not-a-uuid", randomUUID()])("an unknown id (%s) is kept as it came", async (id) => {
    await tables.query("select account_sync.request($1)", [id]);

    expect(await tables.takeChanges()).toEqual([{ account_id: id }]);
  });

  test.each(["''", "null"])("no id (%s) is an error that says what to call", async (id) => {
    await expect(tables.query(`select account_sync.request(${id})`)).rejects.toMatchObject({
      code: "22023",
      hint: expect.stringContaining("request_all"),
    });
  });

  test("request_all becomes every account", async () => {
    const everyone = await createDatabase();
    await everyone.query("insert into m_account (name) values ('a'), ('b')");
    await migrate({ url: everyone.url, info: () => {} });
    const queue = openQueue(everyone);

    await everyone.query("select account_sync.request_all()");
    await queue.fold();
    while (await queue.expand());
    await queue.fold();

    expect(await everyone.query("select lane::text from account_sync.account")).toEqual([
      { lane: "backfill" },
      { lane: "backfill" },
    ]);
  });

  test("is refused to others, and works for whom it is granted to", async () => {
    const id = await tables.insertAccount();
    await tables.takeChanges();

    await tables.asApplicationRole(async (client, role) => {
      await tables.query(`grant usage on schema account_sync to ${role}`);
      const ask = () => client.query("select account_sync.request($1::uuid)", [id]);
      await expect(ask()).rejects.toThrow(/permission denied for function/);

      await tables.query(
        `grant execute on function account_sync.request(uuid, text, text, boolean) to ${role}`,
      );
      await ask();

      await migrate({ url: tables.url, info: () => {} });
      await ask();
    });

    expect(await tables.takeChanges()).toEqual([{ account_id: id }, { account_id: id }]);
  });

  test.each([
    "request(text, text, text, boolean)",
    "request(bigint, text, text, boolean)",
    "request(text, boolean, text, text)",
    "request(uuid, boolean, text, text)",
    "request(bigint, boolean, text, text)",
    "request_all(text, text)",
    "retry(text, boolean)",
    "revive(text[], text, boolean)",
    "adopt(text, text)",
    "forget(text, text, text)",
    "clear_id(text, text, text, text, text, text)",
    "hold_account(text)",
    "has_account(text)",
    "canonical_row_id(text, text)",
    "column_type(text, text)",
    "decided_id(text, text)",
    "skip_capture()",
    "ring()",
    "canonical_id(text)",
    "install_capture(text)",
    "remove_capture(text)",
    "lagging_identity()",
    "repair_identity()",
  ])("%s is not for PUBLIC", async (name) => {
    const [row] = await tables.asApplicationRole((_, role) =>
      tables.query("select has_function_privilege($1, $2, 'execute') as allowed", [
        role,
        `account_sync.${name}`,
      ]),
    );

    expect(row).toEqual({ allowed: false });
  });

  test("one NOTIFY heard by two replicas is one request, its repetition another", async () => {
    const id = await tables.insertAccount();
    const queue = openQueue(tables.database);
    const heard = {
      notifierPid: 4711,
      payload: id,
      accountId: id,
      userId: null,
      configId: null,
      force: true,
    };
    const [first, second] = [1, 2];
    await tables.takeChanges();

    await Promise.all([queue.hear([heard], first), queue.hear([heard], second)]);
    expect(await tables.takeChanges()).toEqual([{ account_id: id }]);

    const [answered] = await tables.query<{ replica_id: number }>(
      "select replica_id from account_sync.heard where notifier_pid = 4711",
    );
    await queue.hear([heard], answered?.replica_id ?? 0);
    expect(await tables.takeChanges()).toEqual([{ account_id: id }]);
  });

  test("a NOTIFY for every account, or without an id that could be one, is kept too", async () => {
    const queue = openQueue(tables.database);
    const heard = { userId: "ani", configId: null, force: true };

    await queue.hear(
      [
        { ...heard, notifierPid: 1, payload: "*", accountId: null },
        { ...heard, notifierPid: 1, payload: "nobody", accountId: "nobody" },
      ],
      1,
    );

    expect(await tables.takeChanges()).toEqual([{ account_id: "nobody" }, { marker: "all" }]);
  });
});
