/** Medians, percentiles and ratios. Pure. */

/** A figure of several rounds. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly rounds: number;
}

/** @throws Error when there are no values */
export function toSpread(values: readonly number[]): Spread {
  return {
    median: percentile(values, 50),
    min: Math.min(...values),
    max: Math.max(...values),
    rounds: values.length,
  };
}

/** Linear between the neighbours, so that the median of two is their mean. @throws Error when there are no values */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const position = ((sorted.length - 1) * percent) / 100;
  const below = sorted[Math.floor(position)];
  const above = sorted[Math.ceil(position)];
  if (below === undefined || above === undefined) throw new Error("There are no values");
  return below + (above - below) * (position - Math.floor(position));
}

/**
 * Each round's value over the same round's base: what slows the machine down for minutes slows both, and cancels out. Rounds that only one
 * of them has are left out.
 */
export function toRatios(values: readonly number[], bases: readonly number[]): number[] {
  return values.flatMap((value, round) => {
    const base = bases[round];
    return base === undefined || base === 0 ? [] : [value / base];
  });
}
