/** A history depends on its tape alone: that is what makes a seed worth printing. */
import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { playHistory } from "./history.ts";
import { tapes } from "./many.ts";
import { openStage, type Stage } from "./stage.ts";
import { Tape } from "./tape.ts";

let stage: Stage;

beforeAll(async () => {
  stage = await openStage();
  return () => stage.close();
});

test("the same tape is the same history, whatever was played before it", async () => {
  const circumstances = { unknownOutcome: "resend", honoursKeys: true } as const;
  const drawn = fc.sample(tapes, { seed: 1, numRuns: 10 });
  const tracesOf = async (order: readonly (readonly number[])[]) => {
    const traces = new Map<readonly number[], readonly string[]>();
    for (const numbers of order) {
      const { trace } = await playHistory(stage, circumstances, new Tape(numbers));
      traces.set(numbers, trace);
    }
    return drawn.map((numbers) => traces.get(numbers));
  };

  const first = await tracesOf(drawn);
  // As autovacuum does, whenever it likes.
  await stage.judge.script(
    "vacuum (analyze) account_sync.account, account_sync.attempt, account_sync.change",
  );
  const again = await tracesOf(drawn.toReversed());

  expect(again).toEqual(first);
  expect(new Set(first.map((trace) => trace?.join())).size).toBe(drawn.length);
});
