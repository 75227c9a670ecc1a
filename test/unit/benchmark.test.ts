/** What the benchmark computes from its measurements; the measurements themselves are not repeated here. */
import { describe, expect, test } from "vitest";
import { isWhole, readRequest } from "../../bench/command-line.ts";
import { ratioTo, toFigures } from "../../bench/measure/observations.ts";
import { readProfile } from "../../bench/measure/profile.ts";
import { percentile, toRatios, toSpread } from "../../bench/measure/statistics.ts";
import { formatNumber } from "../../bench/report/format.ts";
import { fillMarkers } from "../../bench/report/markers.ts";
import { describeRounds, toTable } from "../../bench/report/tables.ts";

describe("command line", () => {
  test("the options are kept as they were given, to start each part with", () => {
    const args = ["drain", "--quick", "--only", "limit", "latency", "--only=pg-boss"];

    expect(readRequest(args)).toMatchObject({
      parts: ["drain", "latency"],
      contenders: ["limit", "pg-boss"],
      options: ["--quick", "--only=limit", "--only=pg-boss"],
    });
  });

  test.each([
    ["", true],
    ["drain", true],
    ["--rounds 7", true],
    ["--rounds 1", false],
    ["--quick", false],
    ["--scale 0.1", false],
    ["--only limit", false],
  ])("a run with %j is whole: %s", (line, expected) => {
    const args = line.split(" ").filter((word) => word !== "");

    expect(isWhole(readRequest(args))).toBe(expected);
  });
});

describe("statistics", () => {
  test("a spread has the median, and the smallest and largest of the rounds", () => {
    expect(toSpread([9, 1, 5])).toEqual({ median: 5, min: 1, max: 9, rounds: 3 });
    expect(toSpread([1, 2]).median).toBe(1.5);
    expect(() => toSpread([])).toThrow("no values");
  });

  test.each([
    [0, 10],
    [50, 20],
    [75, 25],
    [99, 29.8],
    [100, 30],
  ])("percentile %i of 10, 20, 30 is %f", (percent, expected) => {
    expect(percentile([30, 10, 20], percent)).toBeCloseTo(expected);
  });

  test("a ratio compares within a round, so a slow round counts for both", () => {
    expect(toRatios([50, 5, 7], [100, 10])).toEqual([0.5, 0.5]);
  });
});

const drained = (contender: string, value: number) => ({
  scenario: "first sync, API 20 ms",
  contender,
  metric: "accounts/s" as const,
  value,
});

describe("figures", () => {
  test("the rounds of a contender are one figure", () => {
    const figures = toFigures([drained("limit", 100), drained("peer", 60), drained("limit", 50)]);

    expect(figures.map(({ contender, values }) => [contender, values])).toEqual([
      ["limit", [100, 50]],
      ["peer", [60]],
    ]);
  });

  test("a table shows the value, and the share of the limit with its spread", () => {
    const figures = toFigures([
      drained("limit", 100),
      drained("peer", 60),
      drained("limit", 50),
      drained("peer", 40),
    ]);

    const peer = figures.find(({ contender }) => contender === "peer");
    expect(peer && ratioTo(figures, peer, { contender: "limit" })).toMatchObject({
      min: 0.6,
      max: 0.8,
    });
    expect(toTable("drain", figures)).toContain(
      "| first sync, API 20 ms | 75.0 | 50.0 · **0.70** (0.60–0.80) |",
    );
  });

  test("a slowdown is above 1 for a rate that is lower and for a time that is longer", () => {
    const table = toTable(
      "write",
      toFigures([
        { scenario: "single row", contender: "limit", metric: "transactions/s", value: 300 },
        { scenario: "single row", contender: "peer", metric: "transactions/s", value: 100 },
        { scenario: "one UPDATE", contender: "limit", metric: "ms", value: 10 },
        { scenario: "one UPDATE", contender: "peer", metric: "ms", value: 20 },
      ]),
    );

    expect(table).toContain("| single row | 300 tps | **3.00** (3.00–3.00) |");
    expect(table).toContain("| one UPDATE | 10.0 ms | **2.00** (2.00–2.00) |");
  });

  test.each([
    [[1], "1 round"],
    [[5, 5], "5 rounds"],
    [[5, 2], "2 to 5 rounds"],
  ])("figures of %j rounds are of %s", (rounds, said) => {
    const figures = toFigures(
      rounds.flatMap((count, index) => Array(count).fill(drained(`peer ${index}`, 1))),
    );

    expect(describeRounds(figures)).toBe(said);
  });

  test.each([
    [0.1234, "0.12"],
    [12.34, "12.3"],
    [1234.5, "1,235"],
  ])("%f is shown as %s", (value, shown) => {
    expect(formatNumber(value)).toBe(shown);
  });
});

test("markers are filled, what is around them stays, and a part that was not measured says how to", () => {
  const text =
    "# Title\n\n<!-- bench: drain -->\nold\n<!-- /bench -->\n\nBetween.\n\n<!-- bench: write -->\n<!-- /bench -->\n";

  const filled = fillMarkers(text, new Map([["drain", "new"]]));

  expect(filled).toBe(
    "# Title\n\n<!-- bench: drain -->\n\nnew\n\n<!-- /bench -->\n\nBetween.\n\n<!-- bench: write -->\n\nNot measured yet: `npm run bench -- write`.\n\n<!-- /bench -->\n",
  );
  expect(fillMarkers(filled, new Map([["drain", "new"]]))).toBe(filled);
});

describe("a processor profile", () => {
  const node = (id: number, functionName: string, url: string, ...children: number[]) => ({
    id,
    callFrame: { functionName, url },
    children,
  });
  const profile = {
    startTime: 1_000_000,
    nodes: [
      node(1, "(root)", "", 2, 3, 4),
      node(2, "(idle)", ""),
      node(3, "(garbage collector)", ""),
      node(4, "runMicrotasks", "", 5),
      node(5, "settle", "file:///somewhere/src/sync/settle.ts", 6),
      node(6, "query", "file:///somewhere/node_modules/pg/lib/client.js", 7),
      node(7, "write", "file:///somewhere/node_modules/pg-protocol/dist/index.js", 8),
      node(8, "writev", ""),
    ],
    // At 1,001 ms, 1,002 ms and so on; each lasts until the next.
    samples: [8, 5, 2, 3, 4, 8],
    timeDeltas: [1_000, 1_000, 2_000, 4_000, 8_000, 16_000],
  };

  test("what Node.js does counts for the package, or the folder, that called it", () => {
    const { areas } = readProfile(profile, { fromMs: 0, toMs: 9_999 });

    expect(Object.fromEntries(areas)).toEqual({
      pg: 1,
      "src/sync": 2,
      "garbage collection": 8,
      "Node.js": 16,
    });
  });

  test("calls nest without what is between them, and a package is one", () => {
    const { flame } = readProfile(profile, { fromMs: 0, toMs: 1_002 });

    const leaf = { name: "writev", area: "pg", ms: 1, children: [] };
    const driver = { name: "pg", area: "pg", ms: 1, children: [leaf] };
    const settle = { name: "settle", area: "src/sync", ms: 3, children: [driver] };
    expect(flame).toEqual({ name: "busy", area: "Node.js", ms: 3, children: [settle] });
  });

  test("a recursion, and a function without a name, belong to the call that they are in", () => {
    const own = "file:///somewhere/src/customer-command/fingerprint.ts";
    const { flame } = readProfile(
      {
        startTime: 1_000,
        nodes: [
          node(1, "(root)", "", 2),
          node(2, "hashFields", own, 3),
          node(3, "", own, 4),
          node(4, "toText", own, 5),
          node(5, "toText", own),
        ],
        samples: [5, 5],
        timeDeltas: [0, 1_000],
      },
      { fromMs: 0, toMs: 9 },
    );

    const area = "src/customer-command";
    const text = { name: "toText", area, ms: 1, children: [] };
    expect(flame.children).toEqual([{ name: "hashFields", area, ms: 1, children: [text] }]);
  });

  test("only what ran in the window counts", () => {
    const { areas } = readProfile(profile, { fromMs: 1_002, toMs: 1_003 });

    expect(Object.fromEntries(areas)).toEqual({ "src/sync": 2 });
  });
});
