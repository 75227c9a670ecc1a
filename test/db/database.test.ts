/** Transactions always end, killed connections cost nobody else anything, and an outage is told from a statement that is wrong. */
import pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createDatabase, type Database } from "../../src/db/database.ts";
import { isClosed, isContention, isImpossibleValue, isOutage } from "../../src/db/error-code.ts";
import { migrate } from "../../src/db/migrate.ts";
import { connectionOptions } from "../../src/db/own-settings.ts";
import { OWN_SETTINGS, RELIED_ON } from "../../src/db/session-options.ts";
import { eventually } from "../support/eventually.ts";
import {
  createDatabase as createTestDatabase,
  serverUrl,
  type TestDatabase,
  withClient,
} from "../support/postgres.ts";

let database: TestDatabase;
let db: Database;
const connectionErrors: Error[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  await migrate({ url: database.url, info: () => {} });
  db = connect("on");
});

beforeEach(async () => {
  await database.query("truncate account_sync.change");
});

afterAll(() => db.close());

function connect(
  synchronousCommit: "on" | "off",
  settingsPerTransaction = false,
  url = database.url,
): Database {
  return createDatabase({
    url,
    applicationName: "account-sync test",
    max: 3,
    synchronousCommit,
    settingsPerTransaction,
    onError: (error) => connectionErrors.push(error),
  });
}

/** Any small write of ours will do. */
const write = (tx: Pick<Database, "run">, marker: string) => tx.run("request_marker", [marker]);

async function written(): Promise<unknown[]> {
  const rows = await database.query("select marker from account_sync.change order by 1");
  return rows.map((row) => row["marker"]);
}

async function terminateConnections(): Promise<void> {
  await withClient(serverUrl(), (client) =>
    client.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and application_name = 'account-sync test'",
      [database.name],
    ),
  );
}

describe("a transaction", () => {
  test("commits what its work did", async () => {
    const result = await db.transaction(async (tx) => {
      await write(tx, "all");
      return "done";
    });

    expect(result).toBe("done");
    expect(await written()).toEqual(["all"]);
  });

  test("rolls back when its work throws, and its connection is of use afterwards", async () => {
    const attempts = Array.from({ length: 5 }, () =>
      db.transaction(async (tx) => {
        await write(tx, "all");
        throw new RangeError("not so");
      }),
    );

    const results = await Promise.allSettled(attempts);

    expect(results.every((result) => result.status === "rejected")).toBe(true);
    expect(await written()).toEqual([]);
    await db.transaction((tx) => write(tx, "missing"));
    expect(await written()).toEqual(["missing"]);
  });

  test("whose connection is killed is an outage, and the pool recovers", async () => {
    const killed = db.transaction(async (tx) => {
      await write(tx, "all");
      await terminateConnections();
      await write(tx, "missing");
    });

    const error = await killed.catch((reason: unknown) => reason);

    expect(isOutage(error)).toBe(true);
    expect(await written()).toEqual([]);
    await eventually(() => db.transaction((tx) => write(tx, "all")));
    expect(await written()).toEqual(["all"]);
  });

  test("that only reads sees one snapshot", async () => {
    const seen = await db.snapshot(async (tx) => {
      const first = await tx.run("count_unqueued");
      await database.query("insert into m_account (name) values ('Toko Uji')");
      return [first, await tx.run("count_unqueued")];
    });

    expect(seen[0]).toEqual(seen[1]);
  });
});

describe("an attempt within a transaction", () => {
  test("that fails leaves the transaction as it was before", async () => {
    await db.transaction(async (tx) => {
      await write(tx, "all");
      const tried = await tx.trySavepoint(async () => {
        await write(tx, "missing");
        const blank = { accountId: "a", entity: "account", id: "a", externalId: " " };
        await tx.run("map_ids", [JSON.stringify([blank])]);
      });

      expect(tried).toMatchObject({ error: { code: "23514" } });
      expect(await tx.trySavepoint(() => write(tx, "unqueued"))).toEqual({ value: [] });
    });

    expect(await written()).toEqual(["all", "unqueued"]);
  });

  test("bears its own deferred constraints", async () => {
    await database.query(`
      create function refuse() returns trigger language plpgsql as $$
        begin raise exception 'no' using errcode = '23514'; end $$;
      create constraint trigger refusing after insert on account_sync.change
        deferrable initially deferred for each row when (new.marker = 'missing') execute function refuse()`);

    await db.transaction(async (tx) => {
      await write(tx, "all");
      expect(await tx.trySavepoint(() => write(tx, "missing"))).toMatchObject({
        error: { code: "23514" },
      });
    });

    expect(await written()).toEqual(["all"]);
    await database.query("drop function refuse cascade");
  });

  test("does not go on without a connection", async () => {
    const killed = db.transaction(async (tx) => {
      await tx.trySavepoint(async () => {
        await terminateConnections();
        await write(tx, "all");
      });
    });

    expect(isOutage(await killed.catch((error: unknown) => error))).toBe(true);
  });
});

test("a connection that is killed while nobody uses it is told, and replaced", async () => {
  await db.run("count_unqueued");
  connectionErrors.splice(0);

  await terminateConnections();
  await eventually(() => expect(connectionErrors.length).toBeGreaterThan(0));

  expect(await db.run("count_unqueued")).toHaveLength(1);
});

test.each([
  ["on", false, ["on", "10s", "15s", "off"]],
  ["off", false, ["off", "10s", "15s", "off"]],
  // Nothing of it may be set there: the next transaction is somebody else's.
  ["off", true, ["on", "0", "0", "on"]],
] as const)(
  "with synchronous commit %s, behind a pooler %s, a session has %j",
  async (commit, settingsPerTransaction, settings) => {
    const client = new pg.Client(
      connectionOptions({
        url: database.url,
        applicationName: "account-sync test",
        settingsPerTransaction,
        synchronousCommit: commit,
      }),
    );
    await client.connect();

    const { rows } = await client.query({
      text: "select current_setting('synchronous_commit'), current_setting('lock_timeout'), current_setting('statement_timeout'), current_setting('row_security')",
      rowMode: "array",
    });
    await client.end();

    expect(rows[0]).toEqual(settings);
  },
);

test.each([
  ["08006", true],
  ["08P01", true],
  ["57P01", true],
  ["57P03", true],
  ["53300", true],
  ["53100", true],
  ["58030", true],
  ["25006", true],
  ["25P03", true],
  ["ECONNREFUSED", true],
  ["ECONNRESET", true],
  ["ENOTFOUND", true],
  ["EAI_AGAIN", true],
  ["ETIMEDOUT", true],
  ["23505", false],
  ["42601", false],
  ["57014", false],
  ["22P02", false],
  ["40P01", false],
  ["55P03", false],
  ["ERR_INVALID_ARG_TYPE", false],
])("code %s: an outage is %s", (code, expected) => {
  expect(isOutage(Object.assign(new Error("x"), { code }))).toBe(expected);
});

test.each([
  ["Connection terminated unexpectedly", true],
  ["Connection terminated", true],
  ["Connection terminated due to connection timeout", true],
  ["Client has encountered a connection error and is not queryable", true],
  ["Client was closed and is not queryable", true],
  ["Query read timeout", true],
  ["timeout exceeded when trying to connect", true],
  ["the connection of Toko Uji is closed", false],
  ["Cannot read properties of undefined (reading 'timeout')", false],
])('"%s" without a code: an outage is %s', (message, expected) => {
  expect(isOutage(new Error(message))).toBe(expected);
});

describe("what a URL says", () => {
  /** By the server's word. */
  const settingsWith = async (query: string) => {
    const url = new URL(database.url);
    url.search = query;
    const options = { applicationName: "account-sync test", synchronousCommit: "off" } as const;
    const client = new pg.Client(
      connectionOptions({ ...options, url: url.href, settingsPerTransaction: false }),
    );
    await client.connect();
    const { rows } = await client.query<{ name: string; setting: string }>(
      "select name, setting from pg_settings where name = any($1)",
      [[...OWN_SETTINGS, ...RELIED_ON, "geqo", "search_path", "work_mem"]],
    );
    await client.end();
    return Object.fromEntries(rows.map(({ name, setting }) => [name, setting]));
  };

  test("takes none of a session's guards away, changes nothing that statements rely on, and adds the rest", async () => {
    const bare = await settingsWith("");
    const hostile = [...OWN_SETTINGS, ...RELIED_ON]
      .map((name) => `-c ${name}=${HOSTILE[name] ?? "0"}`)
      .join(" ");
    const parameters = Object.entries(HOSTILE).map(([name, value]) => `${name}=${value}`);
    const added = "-c geqo=off -c search_path=one,\\ two --work-mem=8MB";
    const options = encodeURIComponent(`${hostile} ${added} ${hostile}`);

    const settings = await settingsWith(
      [...parameters, "query_timeout=1", "keepalives=0", `options=${options}`].join("&"),
    );

    expect(settings).toEqual({
      ...bare,
      geqo: "off",
      search_path: "one, two",
      work_mem: "8192",
    });
    expect(bare).toMatchObject({
      row_security: "off",
      lock_timeout: "10000",
      statement_timeout: "15000",
      idle_in_transaction_session_timeout: "5000",
      tcp_keepalives_idle: "5",
      tcp_user_timeout: "10000",
      default_transaction_isolation: "read committed",
      synchronous_commit: "off",
    });
    expect(Object.keys(bare)).toEqual(expect.arrayContaining([...OWN_SETTINGS]));
  });

  test("stands behind our own settings, should one of them slip through", async () => {
    const { options } = connectionOptions({
      url: database.url,
      applicationName: "account-sync test",
      settingsPerTransaction: false,
      synchronousCommit: "on",
    });
    const client = new pg.Client({
      connectionString: database.url,
      options: `-c lock_timeout=1 -c row_security=on ${options}`,
    });
    await client.connect();
    const { rows } = await client.query(
      "select current_setting('lock_timeout') as lock, current_setting('row_security') as rows",
    );
    await client.end();

    expect(rows).toEqual([{ lock: "10s", rows: "off" }]);
  });

  const HOSTILE: Readonly<Record<string, string>> = {
    application_name: "mine",
    client_encoding: "UTF8",
    default_transaction_isolation: "serializable",
    idle_session_timeout: "1000",
    quote_all_identifiers: "on",
    row_security: "on",
    session_replication_role: "replica",
    synchronous_commit: "on",
    transaction_timeout: "1000",
  };
});

test("a server that is not there is an outage", async () => {
  const nowhere = connect("on", false, "postgres://127.0.0.1:1/nothing");

  const error = await nowhere.run("ring").catch((reason: unknown) => reason);
  await nowhere.close();

  expect(isOutage(error)).toBe(true);
});

test("a closed pool will never answer again", async () => {
  const closed = connect("on");
  await closed.close();

  const error = await closed.run("ring").catch((reason: unknown) => reason);

  expect(isClosed(error)).toBe(true);
  expect(isOutage(error)).toBe(false);
});

test("others in the way are told from a value that is impossible", () => {
  const withCode = (code: string) => Object.assign(new pg.DatabaseError("x", 1, "error"), { code });

  expect(["40001", "40P01", "55P03", "23505"].map((code) => isContention(withCode(code)))).toEqual([
    true,
    true,
    true,
    false,
  ]);
  expect(["22P02", "22003", "22012"].map((code) => isImpossibleValue(withCode(code)))).toEqual([
    true,
    true,
    false,
  ]);
});
