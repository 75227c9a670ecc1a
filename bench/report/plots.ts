/** The plots of docs/performance.md: SVG from Vega-Lite specifications, rendered without a browser. */
import { parse, View } from "vega";
import { compile, type TopLevelSpec } from "vega-lite";
import { type Figure, siblingOf } from "../measure/observations.ts";
import type { Spread } from "../measure/statistics.ts";
import { drawFlameGraph } from "./flame-graph.ts";
import type { PartResult } from "./results.ts";
import { isMetric, shareOfLimit, slowdownOf } from "./tables.ts";

export interface Plot {
  /** Of the file, without its ending. */
  readonly name: string;
  /** For those who do not see it. */
  readonly title: string;
  readonly svg: string;
}

/** One mark: a contender in a scenario. */
interface Mark extends Pick<Spread, "min" | "max"> {
  readonly scenario: string;
  readonly contender: string;
  readonly value: number;
}

export async function drawPlots({
  part,
  figures,
  flame,
}: Pick<PartResult, "part" | "figures" | "flame">): Promise<Plot[]> {
  switch (part) {
    case "write":
      return [
        await draw("write", "How many times slower a write is", {
          marks: marksOf(figures, isMeasured, (figure) => slowdownOf(figures, figure)),
          axis: "times slower than without triggers",
          scale: "log",
        }),
      ];
    case "drain":
      return [
        await draw(
          "drain",
          "Accounts per second, as a share of what the HTTP client alone reaches",
          {
            marks: marksOf(
              figures,
              (figure) => isMeasured(figure) && isMetric("accounts/s")(figure),
              (figure) => shareOfLimit(figures, figure),
            ),
            axis: "share of the limit",
            scale: "linear",
          },
        ),
        await draw("cost", "Processor time of daemon and PostgreSQL per account", {
          marks: costsOf(figures),
          axis: "ms per account",
          scale: "linear",
        }),
      ];
    case "latency":
      return [
        await draw("latency", "From commit to request: p50, and p99 at the end of the line", {
          marks: latenciesOf(figures),
          axis: "ms",
          scale: "log",
        }),
      ];
    case "profile": {
      const title = "Where the daemon's processor time goes, from the first request to the last";
      if (flame === undefined) return [];
      return [{ name: "flame-graph", title, svg: await drawFlameGraph(title, flame) }];
    }
    default:
      return [];
  }
}

function isMeasured({ contender }: Figure): boolean {
  return contender !== "limit";
}

function marksOf(
  figures: readonly Figure[],
  isShown: (figure: Figure) => boolean,
  toSpread: (figure: Figure) => Spread | null,
): Mark[] {
  return figures.filter(isShown).flatMap((figure) => {
    const spread = toSpread(figure);
    if (spread === null) return [];
    const { scenario, contender } = figure;
    return [{ scenario, contender, value: spread.median, min: spread.min, max: spread.max }];
  });
}

function costsOf(figures: readonly Figure[]): Mark[] {
  return figures.filter(isMetric("daemon CPU ms/account")).map((daemon) => {
    const { scenario, contender, median } = daemon;
    const postgres = siblingOf(figures, daemon, { metric: "PostgreSQL CPU ms/account" });
    const value = median + (postgres?.median ?? 0);
    return { scenario, contender, value, min: value, max: value };
  });
}

function latenciesOf(figures: readonly Figure[]): Mark[] {
  return figures.filter(isMetric("p50 ms")).map((half) => {
    const { scenario, contender, median } = half;
    const most = siblingOf(figures, half, { metric: "p99 ms" });
    return { scenario, contender, value: median, min: median, max: most?.median ?? median };
  });
}

/** One colour per contender in every plot; ours, in all its states, has one hue. */
const COLOURS: Readonly<Record<string, string>> = {
  limit: "#9e9e9e",
  notify: "#e0a100",
  "graphile-worker": "#c2410c",
  "pg-boss": "#7c3aed",
  "account-sync": "#0369a1",
  "account-sync (stopped)": "#0369a1",
  "account-sync (resting)": "#38a3d8",
  "account-sync (folding)": "#8ccbec",
};

async function draw(
  name: string,
  title: string,
  {
    marks,
    axis,
    scale,
  }: { readonly marks: readonly Mark[]; readonly axis: string; readonly scale: "log" | "linear" },
): Promise<Plot> {
  const contenders = Object.keys(COLOURS).filter((contender) =>
    marks.some((mark) => mark.contender === contender),
  );
  const position = {
    y: {
      field: "scenario",
      type: "nominal",
      sort: [...new Set(marks.map(({ scenario }) => scenario))],
      title: null,
      axis: { labelLimit: 0, ticks: false, grid: true },
    },
    yOffset: { field: "contender", type: "nominal", sort: contenders },
    color: {
      field: "contender",
      type: "nominal",
      sort: contenders,
      scale: { domain: contenders, range: contenders.map((contender) => COLOURS[contender]) },
      title: null,
      legend: { symbolOpacity: 1, symbolType: "circle", labelLimit: 0 },
    },
  } as const;
  const specification: TopLevelSpec = {
    title,
    background: "white",
    padding: 12,
    width: 480,
    height: { step: 10, for: "offset" },
    data: { values: marks.map((mark) => ({ ...mark })) },
    layer: [
      {
        mark: { type: "rule", strokeWidth: 2, opacity: 0.45 },
        encoding: { ...position, x: { field: "min", type: "quantitative" }, x2: { field: "max" } },
      },
      {
        mark: { type: "point", filled: true, size: 45, opacity: 1 },
        encoding: {
          ...position,
          x: {
            field: "value",
            type: "quantitative",
            scale: scale === "log" ? { type: "log" } : { zero: true },
            title: axis,
          },
        },
      },
    ],
    config: { font: "sans-serif", view: { stroke: "#dddddd" } },
  };
  const view = new View(parse(compile(specification).spec), { renderer: "none" });
  return { name, title, svg: await view.toSVG() };
}
