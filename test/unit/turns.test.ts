/** Callers go on a few at a time, in their order, and everything else has its turn between them. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test } from "vitest";
import { createTurns } from "../../src/sync/turns.ts";

test("so many go on in one turn of the event loop, in the order of asking", async () => {
  const turn = createTurns(2);
  const gone: number[] = [];
  const seen: number[] = [];

  const all = Promise.all(
    [1, 2, 3, 4, 5].map(async (caller) => {
      await turn();
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
  const turn = createTurns(2);
  let isGone = false;

  void turn().then(() => {
    isGone = true;
  });
  await Promise.resolve();
  await Promise.resolve();

  expect(isGone).toBe(true);
});

test("who comes while others wait goes behind them", async () => {
  const turn = createTurns(1);
  const gone: string[] = [];
  const go = async (name: string) => {
    await turn();
    gone.push(name);
  };

  const first = [go("a"), go("b"), go("c")];
  await nextTurn();
  await Promise.all([...first, go("d")]);

  expect(gone).toEqual(["a", "b", "c", "d"]);
});
