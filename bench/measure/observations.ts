/** The figures of a run, gathered by scenario, contender and metric. */
import type { Observation } from "../parts/part.ts";
import { type Spread, toRatios, toSpread } from "./statistics.ts";

export interface Figure extends Spread {
  readonly scenario: string;
  readonly contender: string;
  readonly metric: string;
  /** Each round's, in order. */
  readonly values: readonly number[];
}

export function toFigures(observations: readonly Observation[]): Figure[] {
  const groups = Map.groupBy(observations, ({ scenario, contender, metric }) =>
    JSON.stringify([scenario, contender, metric]),
  );
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined) return [];
    const { scenario, contender, metric } = first;
    const values = group.map(({ value }) => value);
    return [{ scenario, contender, metric, values, ...toSpread(values) }];
  });
}

/** The ratio of a figure to another contender's of the same scenario, round by round; null when there is none. */
export function ratioTo(
  figures: readonly Figure[],
  figure: Figure,
  contender: string,
): Spread | null {
  const base = figures.find(
    (other) =>
      other.scenario === figure.scenario &&
      other.metric === figure.metric &&
      other.contender === contender,
  );
  if (base === undefined) return null;
  const ratios = toRatios(figure.values, base.values);
  return ratios.length === 0 ? null : toSpread(ratios);
}
