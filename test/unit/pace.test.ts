/** How often something happened in the last tenth of a second. */
import { expect, test } from "vitest";
import { PACE_WINDOW_MS, Pace } from "../../src/queue/pace.ts";

function createPace(startedAt = 0) {
  const clock = { at: startedAt, now: () => clock.at };
  return { clock, pace: new Pace(clock) };
}

function countTimes(pace: Pace, times: number): void {
  for (let n = 0; n < times; n += 1) pace.count();
}

test("nothing has happened before the first count", () => {
  expect(createPace().pace.lately()).toBe(0);
});

test("a start counts at once, before its window is over", () => {
  const { pace } = createPace();

  countTimes(pace, 7);

  expect(pace.lately()).toBe(7);
});

test.each([
  // in the window, in the next one, lately
  [10, 4, 10],
  [4, 10, 10],
  [0, 3, 3],
  [3, 0, 3],
])(
  "of the last whole window and the one that is not over, the larger counts: %i, %i → %i",
  (before, since, lately) => {
    const { clock, pace } = createPace();
    // So that the window begins here, even with nothing in it.
    pace.lately();
    countTimes(pace, before);

    clock.at += PACE_WINDOW_MS;
    countTimes(pace, since);

    expect(pace.lately()).toBe(lately);
  },
);

test.each([
  // milliseconds since the count, lately
  [PACE_WINDOW_MS - 1, 5],
  [PACE_WINDOW_MS, 5],
  [2 * PACE_WINDOW_MS - 1, 5],
  [2 * PACE_WINDOW_MS, 0],
  [3_600_000, 0],
])("%i ms after the last of it, %i count", (passedMs, lately) => {
  const { clock, pace } = createPace();
  countTimes(pace, 5);

  clock.at += passedMs;

  expect(pace.lately()).toBe(lately);
});

test("a steady pace is told rightly, whenever it is asked for", () => {
  const { clock, pace } = createPace(12_345.6);
  const told: number[] = [];

  for (let ms = 0; ms < 1_000; ms += 1) {
    clock.at += 1;
    pace.count();
    if (ms > 2 * PACE_WINDOW_MS) told.push(pace.lately());
  }

  expect(new Set(told)).toEqual(new Set([PACE_WINDOW_MS]));
});
