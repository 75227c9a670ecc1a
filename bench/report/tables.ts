/** The tables of docs/performance.md, from the figures of a part. Pure. */
import { type Figure, type Metric, ratioTo, siblingOf } from "../measure/observations.ts";
import type { Spread } from "../measure/statistics.ts";
import { formatNumber } from "./format.ts";

/** Of how many rounds the figures are: a part may have less time for some. */
export function describeRounds(figures: readonly Figure[]): string {
  const rounds = figures.map((figure) => figure.rounds);
  const [min, max] = [Math.min(...rounds), Math.max(...rounds)];
  if (min < max) return `${min} to ${max} rounds`;
  return max === 1 ? "1 round" : `${max} rounds`;
}

/** The table of a part, in Markdown. */
export function toTable(part: string, figures: readonly Figure[]): string {
  switch (part) {
    case "write":
      return pivot(figures, isAny, (figure) => describeSlowdown(figures, figure));
    case "drain":
      return [
        pivot(figures, isMetric("accounts/s"), (figure) => describeShare(figures, figure)),
        "Processor time per account, of the daemon and of PostgreSQL, in milliseconds:",
        pivot(figures, isMetric("daemon CPU ms/account"), (figure) =>
          describeCost(figures, figure),
        ),
      ].join("\n\n");
    case "latency":
      return pivot(figures, isMetric("p50 ms"), (figure) => describeLatency(figures, figure));
    case "database":
    case "idle":
      return pivot(
        figures.map((figure) => ({ ...figure, scenario: figure.metric })),
        isAny,
        ({ median }) => formatNumber(median),
      );
    case "profile":
      return [
        listTimes("daemon", figures.filter(isMetric("daemon µs/account"))),
        listTimes("PostgreSQL", figures.filter(isMetric("PostgreSQL µs/account"))),
      ].join("\n\n");
    default:
      return list(figures);
  }
}

const isAny = () => true;
export const isMetric =
  (metric: Metric) =>
  (figure: Figure): boolean =>
    figure.metric === metric;

/** Scenarios down, contenders across. */
function pivot(
  figures: readonly Figure[],
  isShown: (figure: Figure) => boolean,
  toCell: (figure: Figure) => string,
): string {
  const shown = figures.filter(isShown);
  const contenders = [...new Set(shown.map(({ contender }) => contender))];
  const rows = [...Map.groupBy(shown, ({ scenario }) => scenario)].map(([scenario, row]) => {
    const cells = new Map(row.map((figure) => [figure.contender, toCell(figure)]));
    return [scenario, ...contenders.map((contender) => cells.get(contender) ?? "")];
  });
  return toMarkdown(["", ...contenders], rows);
}

/** Microseconds per account, the longest first. */
function listTimes(where: string, figures: readonly Figure[]): string {
  const total = figures.reduce((sum, { median }) => sum + median, 0);
  return toMarkdown(
    [where, "µs per account", "share"],
    figures.map(({ scenario, median }) => [
      scenario,
      formatNumber(median),
      `${Math.round((100 * median) / total)} %`,
    ]),
  );
}

function list(figures: readonly Figure[]): string {
  return toMarkdown(
    ["", "metric", "median", "from–to", "rounds"],
    figures.map(({ scenario, metric, median, min, max, rounds }) => [
      scenario,
      metric,
      formatNumber(median),
      toRange({ median, min, max, rounds }),
      String(rounds),
    ]),
  );
}

/** How many times slower than without triggers; the base itself as it was measured. */
function describeSlowdown(figures: readonly Figure[], figure: Figure): string {
  const value = `${formatNumber(figure.median)} ${figure.metric === "ms" ? "ms" : "tps"}`;
  if (figure.contender === "limit") return value;
  const slowdown = slowdownOf(figures, figure);
  return slowdown === null ? value : describeRatio(slowdown);
}

/** Of times and of rates alike: above 1 is slower. null where the base was not measured. */
export function slowdownOf(figures: readonly Figure[], figure: Figure): Spread | null {
  const ratio = ratioTo(figures, figure, { contender: "limit" });
  if (ratio === null || figure.metric === "ms") return ratio;
  return { ...ratio, median: 1 / ratio.median, min: 1 / ratio.max, max: 1 / ratio.min };
}

function describeShare(figures: readonly Figure[], figure: Figure): string {
  const value = formatNumber(figure.median);
  // The client alone has no second sync; its first is the limit of both.
  const share = shareOfLimit(figures, figure);
  return figure.contender === "limit" || share === null
    ? value
    : `${value} · ${describeRatio(share)}`;
}

/** Of a drain; of a re-sync too, which the limit does not have. */
export function shareOfLimit(figures: readonly Figure[], figure: Figure): Spread | null {
  const scenario = figure.scenario.replace("re-sync", "first sync");
  return ratioTo(figures, figure, { scenario, contender: "limit" });
}

function describeCost(figures: readonly Figure[], daemon: Figure): string {
  const postgres = siblingOf(figures, daemon, { metric: "PostgreSQL CPU ms/account" });
  return postgres === undefined
    ? formatNumber(daemon.median)
    : `${formatNumber(daemon.median)} + ${formatNumber(postgres.median)}`;
}

function describeLatency(figures: readonly Figure[], half: Figure): string {
  const most = siblingOf(figures, half, { metric: "p99 ms" });
  return `${formatNumber(half.median)} / ${most === undefined ? "" : formatNumber(most.median)}`;
}

function describeRatio(ratio: Spread): string {
  return `**${formatNumber(ratio.median)}** (${toRange(ratio)})`;
}

function toRange({ min, max }: Spread): string {
  return `${formatNumber(min)}–${formatNumber(max)}`;
}

function toMarkdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}
