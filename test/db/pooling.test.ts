/** Finding out whether a connection is a session of its own, without leaving anything behind on one that is not. */
import { describe, expect, test } from "vitest";
import { findPooling, requireSession } from "../../src/db/pooling.ts";
import { lacksPgBouncer, startPgBouncer } from "../support/pgbouncer.ts";
import { createDatabase, withClient } from "../support/postgres.ts";

test("a direct connection is a session of its own", async () => {
  const database = await createDatabase();

  expect(await findPooling(database.url)).toBe("none");
  expect(await requireSession(database.url, "DATABASE_URL")).toBe("none");
});

describe.skipIf(lacksPgBouncer)("behind PgBouncer", () => {
  test.each([
    ["transaction", 8, "transaction"],
    ["transaction", 1, "transaction"],
    ["statement", 8, "transaction"],
    ["session", 8, "session"],
  ] as const)("in %s mode, with a pool of %i: %s", async (mode, poolSize, pooling) => {
    const database = await createDatabase();
    const url = await startPgBouncer(database.url, { mode, poolSize });

    expect(await findPooling(url)).toBe(pooling);
  });

  test("among thirty other clients that keep the pool busy, fifty times in a row", async () => {
    const database = await createDatabase();
    const url = await startPgBouncer(database.url, { mode: "transaction" });
    let isOver = false;
    const others = Array.from({ length: 30 }, () =>
      withClient(url, async (client) => {
        while (!isOver) {
          await client.query("begin");
          await client.query("select 1");
          await client.query("commit");
        }
      }),
    );

    const found = new Set<string>();
    for (let time = 0; time < 50; time += 1) found.add(await findPooling(url));
    isOver = true;
    await Promise.all(others);

    expect([...found]).toEqual(["transaction"]);
  });

  test("as two processes on one port, thirty times in a row", async () => {
    const database = await createDatabase();
    const url = await startPgBouncer(database.url, { mode: "transaction", processes: 2 });

    const found = new Set<string>();
    for (let time = 0; time < 30; time += 1) found.add(await findPooling(url));

    expect([...found]).toEqual(["transaction"]);
  });

  test("a session is refused in one sentence with the setting to use", async () => {
    const database = await createDatabase();
    const url = await startPgBouncer(database.url, { mode: "transaction" });

    await expect(requireSession(url, "DATABASE_URL")).rejects.toMatchObject({
      message: expect.stringContaining("DATABASE_URL goes through a transaction pooler"),
      hint: expect.stringContaining("Set LISTEN_DATABASE_URL to a direct connection"),
    });
    await expect(requireSession(url, "LISTEN_DATABASE_URL")).rejects.toMatchObject({
      hint: expect.stringContaining("Let LISTEN_DATABASE_URL be a direct connection"),
    });
  });
});
