/** The simulation with new seeds, for as long as asked. */
import { randomInt } from "node:crypto";
import { beforeAll, expect, test } from "vitest";
import type { Circumstances } from "../simulation/history.ts";
import { playMany } from "../simulation/many.ts";
import { openStage, type Stage } from "../simulation/stage.ts";
import { soakDeadline } from "../support/soak.ts";

let stage: Stage;

beforeAll(async () => {
  stage = await openStage();
  return () => stage.close();
});

const ALL: readonly Circumstances[] = [
  { unknownOutcome: "park", honoursKeys: true },
  { unknownOutcome: "park", honoursKeys: false },
  { unknownOutcome: "resend", honoursKeys: true },
  { unknownOutcome: "lookup", honoursKeys: false },
];

test("in new histories nothing is lost, doubled or mixed up", async () => {
  const deadline = soakDeadline();
  const total = { histories: 0, requests: 0, faults: 0, deaths: 0, stops: 0 };

  while (performance.now() < deadline) {
    for (const circumstances of ALL) {
      const play = { seed: randomInt(2 ** 31), runs: 250, deadline };
      const { histories, counts } = await playMany(stage, circumstances, play);
      total.histories += histories;
      for (const name of ["requests", "faults", "deaths", "stops"] as const)
        total[name] += counts[name];
    }
  }

  process.stdout.write(`${JSON.stringify(total)}\n`);
  expect(total.histories).toBeGreaterThan(0);
});
