/** A flame graph as SVG: calls from top to bottom, as wide as the time they took. */
import { parse, View } from "vega";
import { compile, type TopLevelSpec } from "vega-lite";
import type { Flame } from "../measure/profile.ts";

const WIDTH = 960;
const ROW_HEIGHT = 17;
const CHARACTER_WIDTH = 5.6;

interface Rectangle {
  readonly from: number;
  readonly to: number;
  readonly depth: number;
  readonly area: string;
  readonly label: string;
  readonly share: number;
}

export async function drawFlameGraph(title: string, flame: Flame): Promise<string> {
  const rectangles = toRectangles(flame, flame.ms);
  const areas = [...new Set(rectangles.map(({ area }) => area))];
  const x = { field: "from", type: "quantitative" as const, scale: { domain: [0, 1] }, axis: null };
  const y = { field: "depth", type: "ordinal" as const, axis: null };
  const specification: TopLevelSpec = {
    title,
    background: "white",
    padding: 12,
    width: WIDTH,
    height: { step: ROW_HEIGHT },
    data: { values: rectangles.map((rectangle) => ({ ...rectangle })) },
    layer: [
      {
        mark: { type: "rect", stroke: "white", strokeWidth: 0.7 },
        encoding: {
          x,
          y,
          x2: { field: "to" },
          color: {
            field: "area",
            type: "nominal",
            sort: areas,
            scale: { scheme: "tableau20" },
            title: null,
            legend: { orient: "bottom", columns: 7, labelLimit: 0 },
          },
        },
      },
      {
        mark: { type: "text", align: "left", dx: 3, fontSize: 10, limit: WIDTH },
        encoding: { x, y, text: { field: "label", type: "nominal" } },
      },
    ],
    config: { font: "sans-serif", view: { stroke: null } },
  };
  const view = new View(parse(compile(specification).spec), { renderer: "none" });
  return await view.toSVG();
}

function toRectangles(flame: Flame, total: number, from = 0, depth = 0): Rectangle[] {
  const share = flame.ms / total;
  const own: Rectangle = {
    from,
    to: from + share,
    depth,
    area: flame.area,
    label: toLabel(flame.name, share),
    share,
  };
  let next = from;
  const called = flame.children.flatMap((child) => {
    const rectangles = toRectangles(child, total, next, depth + 1);
    next += child.ms / total;
    return rectangles;
  });
  return [own, ...called];
}

/** As much of a name as fits, with its share where there is room for that. */
function toLabel(name: string, share: number): string {
  const characters = Math.floor((share * WIDTH - 6) / CHARACTER_WIDTH);
  const whole = `${name} ${Math.round(share * 100)} %`;
  if (whole.length <= characters) return whole;
  if (name.length <= characters) return name;
  return characters < 3 ? "" : `${name.slice(0, characters - 1)}…`;
}
