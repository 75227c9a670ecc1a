/** Callers go on a few at a time, in their order, and everything else has its turn between them. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test } from "vitest";
import { createPauses } from "../../src/sync/pauses.ts";

test("so many go on in one turn of the event loop, in the order of asking", async () => {
  const pause = createPauses(2);
  const gone: number[] = [];
  const seen: number[] = [];

  const all = Promise.all(
    [1, 2, 3, 4, 5].map(async (caller) => {
      await pause();
      gone.push(caller);
    }),
  );
  for (let turns = 0; turns < 4; turns += 1) {
    await nextTurn();
    seen.push(gone.length);
  }
  await all;

  expect(gone).toEqual([1, 2, 3, 4, 5]);
  expect(seen).toEqual([4, 5, 5, 5]);
});

test("one that comes alone does not wait", async () => {
  const pause = createPauses(2);
  let isGone = false;

  void pause().then(() => {
    isGone = true;
  });
  await Promise.resolve();
  await Promise.resolve();

  expect(isGone).toBe(true);
});

test("who comes while others wait goes behind them", async () => {
  const pause = createPauses(1);
  const gone: string[] = [];
  const go = async (name: string) => {
    await pause();
    gone.push(name);
  };

  const first = [go("a"), go("b"), go("c")];
  await nextTurn();
  await Promise.all([...first, go("d")]);

  expect(gone).toEqual(["a", "b", "c", "d"]);
});
