/** A clock that stands still until the test moves it: what takes hours in production takes no time, and a busy machine changes nothing. */
import type { Clock } from "../../src/clock.ts";
import { Timeline } from "../simulation/timeline.ts";

export interface PlayedClock extends Clock {
  /** Moves on by so many milliseconds and calls what falls due on the way, each at its time. Resolves when all of it has done its work. */
  pass(ms: number): Promise<void>;
}

/** Work in memory, without I/O, is done after far fewer turns of the event loop. */
const TURNS = 20;

/** @param random what chance says, always */
export function createPlayedClock(random = 0): PlayedClock {
  const timeline = new Timeline();
  const clock: PlayedClock = {
    now: () => timeline.now,
    after: (ms, call) => timeline.after(clock, ms, call),
    random: () => random,

    async pass(ms) {
      const until = timeline.now + ms;
      await workIsDone();
      for (;;) {
        const timer = timeline.next(() => true);
        if (timer === null || timer.at > until) break;
        timeline.fire(timer);
        await workIsDone();
      }
      timeline.now = until;
    },
  };
  return clock;
}

async function workIsDone(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn += 1)
    await new Promise<void>((resolve) => setImmediate(resolve));
}
