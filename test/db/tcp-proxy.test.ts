/** The network of the other tests, tried on a database connection. */
import pg from "pg";
import { afterEach, beforeEach, expect, test } from "vitest";
import { serverUrl } from "../support/postgres.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";

let proxy: TcpProxy;
const clients: pg.Client[] = [];

beforeEach(async () => {
  proxy = await startTcpProxy(Number(new URL(serverUrl()).port));
});

afterEach(async () => {
  await proxy.close();
  await Promise.all(clients.splice(0).map((client) => client.end().catch(() => {})));
});

test("a cut ends every connection, and new ones are welcome", async () => {
  const client = await connect();

  proxy.cut();

  await expect(client.query("select 1")).rejects.toThrow();
  expect((await (await connect()).query("select 1 as one")).rows).toEqual([{ one: 1 }]);
});

test("refusing leaves the connections that stand", async () => {
  const client = await connect();

  await proxy.refuse();

  await expect(connect()).rejects.toMatchObject({ code: "ECONNREFUSED" });
  expect((await client.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
  await proxy.accept();
  expect((await (await connect()).query("select 1 as one")).rows).toEqual([{ one: 1 }]);
});

test("a blackhole answers nothing until it is over", async () => {
  const client = await connect();
  proxy.blackhole(true);

  let isAnswered = false;
  const answer = client.query("select 1 as one").finally(() => {
    isAnswered = true;
  });
  const newcomer = connect({ connectionTimeoutMillis: 300 });

  await expect(newcomer).rejects.toThrow(/timeout/);
  expect(isAnswered).toBe(false);
  proxy.blackhole(false);
  expect((await answer).rows).toEqual([{ one: 1 }]);
});

test("a delay counts once in each direction", async () => {
  const client = await connect();
  proxy.delay(100);
  const askedAt = performance.now();

  await client.query("select 1");

  const tookMs = performance.now() - askedAt;
  // Node counts a timer from the start of its loop's turn, so each of the two may end a millisecond early.
  expect(tookMs).toBeGreaterThanOrEqual(198);
  expect(tookMs).toBeLessThan(1_000);
});

async function connect(options: pg.ClientConfig = {}): Promise<pg.Client> {
  const url = new URL(serverUrl());
  url.port = String(proxy.port);
  const client = new pg.Client({ connectionString: url.href, ...options });
  client.on("error", () => {});
  clients.push(client);
  await client.connect();
  return client;
}
