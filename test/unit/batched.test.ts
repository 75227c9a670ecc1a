/** Batches: as many as there are, as heavy as a statement may be, and a bad item or part costs only itself. */
import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/clock.ts";
import { BATCH_BYTES_MAX, batched } from "../../src/db/batched.ts";

const MEGABYTE = 1024 * 1024;

test("a batch of 64 items of a megabyte is eight statements of eight megabytes", async () => {
  const statements: number[][] = [];
  const run = batched<number, number>(
    64,
    async (items) => {
      statements.push([...items]);
      return items;
    },
    () => MEGABYTE,
  );

  const results = await Promise.all(Array.from({ length: 64 }, (_, n) => run(n)));

  expect(results).toEqual(Array.from({ length: 64 }, (_, n) => n));
  expect(statements.map((items) => items.length)).toEqual(Array.from({ length: 8 }, () => 8));
  expect(8 * MEGABYTE).toBe(BATCH_BYTES_MAX);
});

test("an item that is heavier than a statement may be goes alone", async () => {
  const statements: number[][] = [];
  const run = batched<number, true>(
    64,
    async (items) => {
      statements.push([...items]);
      return items.map(() => true);
    },
    (bytes) => bytes,
  );

  await Promise.all([1, 2 * BATCH_BYTES_MAX, 2, 3].map((bytes) => run(bytes)));

  expect(statements).toEqual([[1], [2 * BATCH_BYTES_MAX], [2, 3]]);
});

test("a part that fails does not undo what the parts before it have done", async () => {
  const outage = Object.assign(new Error("Connection terminated"), { code: "57P01" });
  const run = batched<number, number>(
    64,
    async (items) => {
      if (items.includes(2)) throw outage;
      return items;
    },
    () => BATCH_BYTES_MAX,
  );

  const results = await Promise.allSettled([1, 2, 3].map((item) => run(item)));

  expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
});

describe("gathering", () => {
  /** Time passes when the test says so. */
  function setUp() {
    const waits: (() => void)[] = [];
    const clock = {
      after: (_: number, call: () => void) => {
        waits.push(call);
        return () => void waits.splice(waits.indexOf(call), 1);
      },
    };
    const statements: number[][] = [];
    const run = batched<number, number>(
      8,
      async (items) => {
        statements.push([...items]);
        return items;
      },
      () => 0,
      { enough: 4, forMs: 15, clock },
    );
    const ask = (...items: number[]) => Promise.all(items.map((item) => run(item)));
    return { waits, statements, ask };
  }
  const settled = async () => {
    for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  };

  test("lone items, and the first ones, do not wait", async () => {
    const { statements, ask, waits } = setUp();

    await ask(1);
    await ask(2);
    await ask(3, 4);

    expect(statements).toEqual([[1], [2], [3, 4]]);
    expect(waits).toEqual([]);
  });

  test("after several, the next wait until time is up", async () => {
    const { statements, ask, waits } = setUp();
    await ask(1, 2);

    const asked = [ask(3), settled().then(() => ask(4))];
    await settled();
    await settled();
    const before = [...statements];
    waits[0]?.();
    await Promise.all(asked);

    expect(before).toEqual([[1, 2]]);
    expect(statements).toEqual([
      [1, 2],
      [3, 4],
    ]);
  });

  test("or until there are enough, and nothing is left to wait for", async () => {
    const { statements, ask, waits } = setUp();
    await ask(1, 2);

    const first = ask(3);
    await settled();
    expect(waits).toHaveLength(1);
    await Promise.all([first, ask(4, 5, 6)]);

    expect(statements).toEqual([
      [1, 2],
      [3, 4, 5, 6],
    ]);
    expect(waits).toEqual([]);
  });

  test("a batch that fails counts like any other", async () => {
    const failing = batched<number, number>(
      8,
      async () => {
        throw new Error("refused");
      },
      () => 0,
      { enough: 4, forMs: 1, clock: systemClock },
    );

    for (let round = 0; round < 3; round += 1)
      await expect(Promise.all([failing(1), failing(2)])).rejects.toThrow("refused");
  });
});
