/** The gate of the tests that stop the daemon at a named statement, tried with ordinary clients. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { sqlOf } from "../../src/db/queries.ts";
import { eventually } from "../support/eventually.ts";
import { createDatabase, type TestDatabase } from "../support/postgres.ts";
import { type StatementGate, startStatementGate } from "../support/statement-gate.ts";

let database: TestDatabase;
let gate: StatementGate;
const clients: pg.Client[] = [];

beforeAll(async () => {
  database = await createDatabase({ sourceTables: false });
  await database.query("create table note (text text)");
  gate = await startStatementGate(database.url);
});

afterAll(async () => {
  await gate.close();
  await Promise.all(clients.map((client) => client.end().catch(() => {})));
});

beforeEach(() => database.query("truncate note"));

const INSERT = "insert into note (text) values ($1)";

test("a statement that is held back never reaches the server when the client dies, and others pass", async () => {
  const moment = gate.holdBefore(/^insert into note/);
  const [doomed, other] = [await openClient(), await openClient()];

  const insert = doomed.query(INSERT, ["doomed"]).catch(() => "died");
  await moment.reached;
  await other.query(INSERT, ["other"]);
  await kill(doomed);

  expect(await insert).toBe("died");
  expect(await notes()).toEqual(["other"]);
});

test("what was held back is done once it is let go", async () => {
  const moment = gate.holdBefore("schema_version");
  const client = await openClient();

  const answer = client.query(sqlOf("schema_version"));
  // The server would say at once that there is no such table.
  answer.catch(() => {});
  await moment.reached;
  expect(
    await database.query("select state from pg_stat_activity where pid = $1", [pidOf(client)]),
  ).toEqual([{ state: "idle" }]);
  moment.release();

  await expect(answer).rejects.toMatchObject({ code: "42P01" });
});

test("held between execution and answer: done at the server, unknown to the client", async () => {
  const moment = gate.holdAnswer(/^insert into note/);
  const client = await openClient();

  let isAnswered = false;
  const insert = client.query(INSERT, ["done"]).then(() => {
    isAnswered = true;
  });
  await moment.reached;
  expect(await notes()).toEqual(["done"]);
  expect(isAnswered).toBe(false);

  moment.release();
  await insert;
  expect((await client.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
});

test("a statement of a transaction is held when its commit is done and not answered", async () => {
  const moment = gate.holdAnswer(/^insert into note/);
  const client = await openClient();

  await client.query("begin");
  await client.query(INSERT, ["rolled back"]);
  await client.query("rollback");
  await client.query("begin");
  await client.query(INSERT, ["committed"]);
  let isAnswered = false;
  const commit = client.query("commit").finally(() => {
    isAnswered = true;
  });
  commit.catch(() => {});
  await moment.reached;

  expect(await notes()).toEqual(["committed"]);
  expect(isAnswered).toBe(false);
  await kill(client);
  expect(await notes()).toEqual(["committed"]);
});

test("held before its commit a transaction is undone when the client dies", async () => {
  const moment = gate.holdBeforeCommit(/^insert into note/);
  const client = await openClient();

  await client.query("begin");
  await client.query(INSERT, ["almost"]);
  client.query("commit").catch(() => {});
  await moment.reached;
  await kill(client);

  expect(await notes()).toEqual([]);
});

test("a second wish is met by what the first one held", async () => {
  const before = gate.holdBefore(/^insert into note/);
  const client = await openClient();
  const insert = client.query(INSERT, ["twice"]);
  await before.reached;

  const after = gate.holdAnswer(/^insert into note/);
  expect(await notes()).toEqual([]);
  before.release();
  await after.reached;
  expect(await notes()).toEqual(["twice"]);
  after.release();

  expect((await insert).rowCount).toBe(1);
});

test("messages are understood however they are split and however long they are", async () => {
  const long = "x".repeat(1_000_000);
  const moment = gate.holdBefore(/^insert into note/);
  const client = await openClient(await startShredder(Number(new URL(gate.url).port)));

  const insert = client.query(INSERT, [long]);
  await moment.reached;
  expect(await notes()).toEqual([]);
  moment.release();
  await insert;

  expect((await client.query("select text from note")).rows).toEqual([{ text: long }]);
});

async function openClient(port?: number): Promise<pg.Client> {
  const url = new URL(gate.url);
  if (port !== undefined) url.port = String(port);
  const client = new pg.Client({ connectionString: url.href });
  client.on("error", () => {});
  clients.push(client);
  await client.connect();
  return client;
}

/** As a SIGKILL does it: the socket is closed, and nothing is said. Resolves when the server has noticed. */
async function kill(client: pg.Client): Promise<void> {
  (client as unknown as { connection: { stream: Socket } }).connection.stream.destroy();
  await eventually(async () =>
    expect(
      await database.query("select from pg_stat_activity where pid = $1", [pidOf(client)]),
    ).toEqual([]),
  );
}

function pidOf(client: pg.Client): number | null {
  return (client as unknown as { processID: number | null }).processID;
}

async function notes(): Promise<string[]> {
  return (await database.query<{ text: string }>("select text from note")).map(({ text }) => text);
}

/** A road that delivers the first bytes of every piece one by one. */
async function startShredder(targetPort: number): Promise<number> {
  const server = createServer((near) => {
    const far = connect({ port: targetPort, host: "127.0.0.1" });
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      to.setNoDelay(true);
      let road = Promise.resolve();
      from.on("data", (chunk) => {
        road = road.then(async () => {
          for (const byte of chunk.subarray(0, 200)) {
            to.write(Buffer.of(byte));
            await nextTurn();
          }
          to.write(chunk.subarray(200));
        });
      });
      from.on("close", () => to.destroy());
      from.on("error", () => {});
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  server.unref();
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("not on TCP");
  return address.port;
}
