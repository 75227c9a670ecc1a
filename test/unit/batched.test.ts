/** Batches: as many as there are, as heavy as a statement may be, and a bad item or part costs only itself. */
import { expect, test } from "vitest";
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
