/** How long to wait before the next try. Pure. */

export interface BackoffRange {
  readonly minMs: number;
  readonly maxMs: number;
}

/**
 * Exponential with full jitter: anything between the minimum and the doubled-per-attempt ceiling, so that a thousand accounts that
 * failed together do not come back together.
 *
 * @param attempts failures before this one; 0 for the first
 * @param random in [0, 1)
 */
export function backoffMs(attempts: number, range: BackoffRange, random: () => number): number {
  // 2^30 ms is twelve days: beyond any ceiling, and below where the shift would overflow.
  const ceiling = Math.min(range.maxMs, range.minMs * 2 ** Math.min(attempts + 1, 30));
  return Math.round(range.minMs + random() * Math.max(0, ceiling - range.minMs));
}
