/** Thousands of histories in which a create without an answer goes out again under its key. */
import { beforeAll, expect, test } from "vitest";
import { ordinaryPlay, playMany } from "./many.ts";
import { openStage, type Stage } from "./stage.ts";

let stage: Stage;

beforeAll(async () => {
  stage = await openStage();
  return () => stage.close();
});

test.each([
  ["an API that honours keys", true, 2],
  ["an API that knows no keys", false, 3],
])(
  "repeating creates of unknown outcome, nothing is lost, doubled or mixed up at %s",
  async (_, honoursKeys, offset) => {
    const play = ordinaryPlay(offset);

    const { histories } = await playMany(stage, { unknownOutcome: "resend", honoursKeys }, play);

    expect(histories).toBeGreaterThan(0);
  },
);
