/** Waits for a fact instead of for time: repeats an assertion until it holds, and fails with its last error when it never does. */
import { setTimeout as sleep } from "node:timers/promises";

export async function eventually<T>(
  assertion: () => T | Promise<T>,
  options: { readonly timeoutMs?: number; readonly intervalMs?: number } = {},
): Promise<T> {
  const { timeoutMs = 10_000, intervalMs = 20 } = options;
  const givesUpAt = performance.now() + timeoutMs;

  for (;;) {
    try {
      return await assertion();
    } catch (error) {
      if (performance.now() >= givesUpAt) {
        throw error;
      }
    }

    await sleep(intervalMs);
  }
}
