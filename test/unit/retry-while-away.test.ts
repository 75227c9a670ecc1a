/** What is repeated through an outage of the database, and what is not. */
import { describe, expect, test } from "vitest";
import { retryWhileAway } from "../../src/db/retry-while-away.ts";
import { createPlayedClock } from "../support/played-clock.ts";

describe("work on a database that is away", () => {
  const outage = () => Object.assign(new Error("x"), { code: "57P03" });

  test("repeats through an outage until it is over, and tells of it", async () => {
    const clock = createPlayedClock();
    let calls = 0;
    const troubles: unknown[] = [];

    const repeated = retryWhileAway(
      { clock, signal: new AbortController().signal, onTrouble: (error) => troubles.push(error) },
      async () => {
        calls += 1;
        if (calls < 3) throw outage();
        return "back";
      },
    );
    await clock.pass(300);
    const result = await repeated;

    expect(result).toBe("back");
    expect(troubles).toHaveLength(2);
  });

  test("ends at once for an error that will not pass", async () => {
    let calls = 0;

    const failing = retryWhileAway(
      { clock: createPlayedClock(), signal: new AbortController().signal, onTrouble: () => {} },
      async () => {
        calls += 1;
        throw new RangeError("not so");
      },
    );

    await expect(failing).rejects.toThrow(RangeError);
    expect(calls).toBe(1);
  });

  test("ends with the outage's error when it is told to leave", async () => {
    const leaving = new AbortController();

    const failing = retryWhileAway(
      { clock: createPlayedClock(), signal: leaving.signal, onTrouble: () => leaving.abort() },
      () => Promise.reject(outage()),
    );

    await expect(failing).rejects.toMatchObject({ code: "57P03" });
  });
});
