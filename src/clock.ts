/**
 * Time and chance, as far as decisions hang on them. Handed in: the daemon gets the system's, the simulation plays its own. The
 * database has its own clock, which rules over leases and due times.
 */
export interface Clock {
  /** Monotonic milliseconds; a wall clock may jump. */
  now(): number;
  /** Calls back once, after `ms`. What it returns calls that off. */
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
  const callOff = clock.after(ms, resolve);
  const wake = () => resolve();
  signal.addEventListener("abort", wake, { once: true });
  await promise;
  callOff();
  signal.removeEventListener("abort", wake);
}
