/** What the parts observe, round by round, and the figures of a run: gathered by scenario, contender and metric. */
import { type Spread, toRatios, toSpread } from "./statistics.ts";

/** All there are, each with its unit: parts, tables and plots name the same. */
export type Metric =
  | "transactions/s"
  | "ms"
  | "accounts/s"
  | "daemon CPU ms/account"
  | "PostgreSQL CPU ms/account"
  | "p50 ms"
  | "p99 ms"
  | "statements/account"
  | "buffers/account"
  | "WAL bytes/account"
  | "transactions/account"
  | "queue bytes/account"
  | "id mapping bytes/account"
  | "history bytes/sync"
  | "daemon µs/account"
  | "PostgreSQL µs/account"
  | "folded at the start, changes/s"
  | "tables after the start, MiB"
  | "memory after the start, MiB"
  | "tables after as many again, MiB"
  | "memory after as many again, MiB"
  | "daemon, % of a core"
  | "PostgreSQL, % of a core"
  | "daemon, MiB";

/** What a value is of. */
interface Subject {
  /** What was measured: "first sync, API 20 ms". */
  readonly scenario: string;
  readonly contender: string;
  readonly metric: Metric;
}

/** One value of one round. */
export interface Observation extends Subject {
  readonly value: number;
}

export interface Figure extends Subject, Spread {
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

/** The figure that differs from this one only in what is given; undefined when it was not measured. */
export function siblingOf(
  figures: readonly Figure[],
  figure: Subject,
  difference: Partial<Subject>,
): Figure | undefined {
  const wanted = { ...figure, ...difference };
  return figures.find(
    ({ scenario, contender, metric }) =>
      scenario === wanted.scenario && contender === wanted.contender && metric === wanted.metric,
  );
}

/** The ratio of a figure to its sibling, round by round; null when there is none. */
export function ratioTo(
  figures: readonly Figure[],
  figure: Figure,
  difference: Partial<Subject>,
): Spread | null {
  const base = siblingOf(figures, figure, difference);
  if (base === undefined) return null;
  const ratios = toRatios(figure.values, base.values);
  return ratios.length === 0 ? null : toSpread(ratios);
}
