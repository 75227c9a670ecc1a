/** A flame graph as SVG, lying on its side so that every name has room: calls from left to right, as high as the time they took. */
import { parse, View } from "vega";
import { compile, type TopLevelSpec } from "vega-lite";
import type { Flame } from "../measure/profile.ts";

/** The smallest share in a profile is one in a hundred: a line of text. */
const HEIGHT = 1_300;
const COLUMN_WIDTH = 180;
/** Characters that fit beside the share. Vega would cut by an estimate that is too wide. */
const NAME_MAX = 20;
/** As wide as a page; calls further in are part of their callers. */
const COLUMNS = 6;
const LEGEND_COLUMNS = 7;

interface Rectangle {
  readonly from: number;
  readonly to: number;
  readonly depth: number;
  readonly area: string;
  readonly label: string;
}

export async function drawFlameGraph(title: string, flame: Flame): Promise<string> {
  const rectangles = toRectangles(flame, flame.ms).filter(({ depth }) => depth < COLUMNS);
  const areas = [...new Set(rectangles.map(({ area }) => area))];
  const x = { type: "quantitative" as const, scale: { domain: [0, COLUMNS] }, axis: null };
  const y = { type: "quantitative" as const, scale: { domain: [1, 0] }, axis: null };
  const specification: TopLevelSpec = {
    title,
    background: "white",
    padding: 12,
    width: COLUMNS * COLUMN_WIDTH,
    height: HEIGHT,
    data: {
      values: rectangles.map(({ from, to, depth, ...others }) => ({
        ...others,
        ...{ from, to, middle: (from + to) / 2 },
        ...{ left: depth, right: depth + 1 },
      })),
    },
    layer: [
      {
        mark: { type: "rect", stroke: "white", strokeWidth: 0.7 },
        encoding: {
          x: { ...x, field: "left" },
          x2: { field: "right" },
          y: { ...y, field: "from" },
          y2: { field: "to" },
          color: {
            field: "area",
            type: "nominal",
            sort: areas,
            scale: { scheme: "tableau20" },
            title: null,
            legend: { orient: "top", columns: LEGEND_COLUMNS, labelLimit: 0, columnPadding: 14 },
          },
        },
      },
      {
        mark: { type: "text", align: "left", dx: 4, fontSize: 12 },
        encoding: {
          x: { ...x, field: "left" },
          y: { ...y, field: "middle" },
          text: { field: "label", type: "nominal" },
        },
      },
    ],
    config: { font: "sans-serif", view: { stroke: null } },
  };
  const view = new View(parse(compile(specification).spec), { renderer: "none" });
  return await view.toSVG();
}

function toRectangles(flame: Flame, total: number, from = 0, depth = 0): Rectangle[] {
  const share = flame.ms / total;
  const { name, area } = flame;
  const shown = name.length > NAME_MAX ? `${name.slice(0, NAME_MAX - 1)}…` : name;
  const label = `${shown} ${Math.round(share * 100)} %`;
  let next = from;
  const called = flame.children.flatMap((child) => {
    const rectangles = toRectangles(child, total, next, depth + 1);
    next += child.ms / total;
    return rectangles;
  });
  return [{ from, to: from + share, depth, area, label }, ...called];
}
