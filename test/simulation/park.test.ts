/** Thousands of histories in which a create without an answer is a person's business: the default. */
import { beforeAll, expect, test } from "vitest";
import { ordinaryPlay, playMany } from "./many.ts";
import { openStage, type Stage } from "./stage.ts";

let stage: Stage;

beforeAll(async () => {
  stage = await openStage();
  return () => stage.close();
});

test.each([
  ["an API that honours keys", true, 0],
  ["an API that knows no keys", false, 1],
])(
  "parking creates of unknown outcome, nothing is lost, doubled or mixed up at %s",
  async (_, honoursKeys, offset) => {
    const play = ordinaryPlay(offset);

    const { histories } = await playMany(stage, { unknownOutcome: "park", honoursKeys }, play);

    expect(histories).toBeGreaterThan(0);
  },
);
