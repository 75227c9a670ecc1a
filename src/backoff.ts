/** How long to wait before the next try. Pure; chance is handed in. */

export interface BackoffRange {
  readonly minMs: number;
  readonly maxMs: number;
}

/**
 * Of an account: exponential with full jitter, anything between the minimum and the doubled-per-attempt ceiling, so that a thousand accounts
 * that failed together do not come back together.
 *
 * @param attempts failures before this one; 0 for the first
 * @param random in [0, 1)
 */
export function backoffMs(attempts: number, range: BackoffRange, random: () => number): number {
  const ceiling = doubled(attempts + 1, range);
  return Math.round(range.minMs + random() * Math.max(0, ceiling - range.minMs));
}

/**
 * Of a connection, a loop or an API: doubled each time, the upper half of it random, so that replicas that lost it together do not all try
 * at once, and none tries at once.
 *
 * @param failures before this wait; 0 waits for the minimum at most
 * @param random in [0, 1)
 */
export function reconnectMs(failures: number, range: BackoffRange, random: () => number): number {
  return doubled(failures, range) * (0.5 + random() / 2);
}

function doubled(times: number, { minMs, maxMs }: BackoffRange): number {
  // 2^30 ms is twelve days: beyond any ceiling, and below where the shift would overflow.
  return Math.min(maxMs, minMs * 2 ** Math.min(times, 30));
}
