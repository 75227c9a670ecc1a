/** Thousands of histories in which a create without an answer is left to a person: the default. */
import { beforeAll, expect, test } from "vitest";
import { ordinaryPlay, playMany } from "./many.ts";
import { openStage, type Stage } from "./stage.ts";

let stage: Stage;

beforeAll(async () => {
  stage = await openStage();
  return () => stage.close();
});

test.each([
  ["honours keys", true, 1],
  ["knows no keys", false, 2],
])(
  "creates of unknown outcome are left to a person, and nothing is lost, doubled or mixed up at an API that %s",
  async (_, honoursKeys, seed) => {
    const circumstances = { unknownOutcome: "park", honoursKeys } as const;

    const { histories } = await playMany(stage, circumstances, ordinaryPlay(seed));

    expect(histories).toBeGreaterThan(0);
  },
);
