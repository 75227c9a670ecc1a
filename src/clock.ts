/**
 * The time and random numbers that decisions depend on, as a parameter: the daemon uses the system's, the simulation its own. Leases and
 * due times depend on the clock of the database instead.
 */
export interface Clock {
  /** Monotonic milliseconds; a wall clock may jump. */
  now(): number;
  /** Calls back once, after `ms`. Returns a function that cancels it. */
  after(ms: number, call: () => void): () => void;
  /** In [0, 1): for jitter. */
  random(): number;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  after(ms, call) {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};

/** Resolves when the time is up, or `signal` is aborted. */
export async function sleep(
  clock: Pick<Clock, "after">,
  ms: number,
  signal: AbortSignal,
): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const cancel = clock.after(ms, resolve);
  const wake = () => resolve();
  signal.addEventListener("abort", wake, { once: true });
  await promise;
  cancel();
  signal.removeEventListener("abort", wake);
}
