/** Waiting for facts of other processes. */
import { setTimeout as sleep } from "node:timers/promises";

/** How long nothing may change before a measurement is given up. */
const STALLED_MS = 60_000;

/**
 * Asks until the answer is not null.
 *
 * @throws Error when `progress` has been the same for a minute
 */
export async function until<Answer>(
  what: string,
  everyMs: number,
  ask: () => Promise<{ readonly answer: Answer | null; readonly progress?: number }>,
): Promise<Answer> {
  let last = Number.NaN;
  let changedAt = performance.now();
  for (;;) {
    const { answer, progress = 0 } = await ask();
    if (answer !== null) return answer;
    if (progress !== last) {
      last = progress;
      changedAt = performance.now();
    }
    if (performance.now() - changedAt > STALLED_MS) {
      throw new Error(`${what}: nothing has changed for ${STALLED_MS / 1000} s (at ${progress})`);
    }
    await sleep(everyMs);
  }
}
