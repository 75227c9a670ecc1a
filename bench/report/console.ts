/** The figures of a part as lines for a terminal. */
import { type Figure, ratioTo } from "../measure/observations.ts";
import { formatNumber } from "./format.ts";

export function toLines(figures: readonly Figure[]): string[] {
  return figures.map((figure) => {
    const { scenario, contender, metric, median, min, max } = figure;
    const ratio = contender === "limit" ? null : ratioTo(figures, figure, { contender: "limit" });
    const range = `${formatNumber(min)}–${formatNumber(max)}`;
    const share = ratio === null ? "" : `  ${formatNumber(ratio.median)} of the limit`;
    return `${scenario} · ${contender} · ${metric}: ${formatNumber(median)} (${range})${share}`;
  });
}
