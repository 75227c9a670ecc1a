/** Thousands of histories in which a create without an answer goes out again by itself: at once, or when nobody is found. */
import { beforeAll, expect, test } from "vitest";
import { ordinaryPlay, playMany } from "./many.ts";
import { openStage, type Stage } from "./stage.ts";

let stage: Stage;

beforeAll(async () => {
  stage = await openStage();
  return () => stage.close();
});

test("an API that honours keys is sent creates of unknown outcome again, and nothing is lost, doubled or mixed up", async () => {
  const circumstances = { unknownOutcome: "resend", honoursKeys: true } as const;

  const { histories } = await playMany(stage, circumstances, ordinaryPlay(3));

  expect(histories).toBeGreaterThan(0);
});

test("an API that knows no keys is asked before a create goes out again, and nothing is lost, doubled or mixed up", async () => {
  const circumstances = { unknownOutcome: "lookup", honoursKeys: false } as const;

  const { histories } = await playMany(stage, circumstances, ordinaryPlay(4));

  expect(histories).toBeGreaterThan(0);
});
