/** How far claims look back: src/queue/claimed-up-to.ts. */
import { expect, test } from "vitest";
import { ClaimedUpTo } from "../../src/queue/claimed-up-to.ts";

const NOTHING = { manual: null, change: null, backfill: null };
const EVERYTHING = [0, 0, 0, 0];

test("the first claim searches everything, and the next one goes on where it ended", () => {
  const { lanes, claim } = begin();

  expect(claim(2, { ...NOTHING, change: 700 })).toEqual(EVERYTHING);

  expect(lanes.searchDue().parameters).toEqual([0, 700, 0, 500]);
});

test("everything is searched for a tenth of the time", () => {
  const { claim, pass } = begin();
  claim(100, NOTHING);

  pass(899);
  expect(claim(1, NOTHING)).not.toEqual(EVERYTHING);
  expect(claim(100, NOTHING)).toEqual(EVERYTHING);
});

test("everything is searched at the latest after ten seconds, however long the last time took", () => {
  const { claim, pass } = begin();
  claim(3_600_000, NOTHING);

  pass(9_999);
  expect(claim(1, NOTHING)).not.toEqual(EVERYTHING);
  expect(claim(1, NOTHING)).toEqual(EVERYTHING);
});

test("a claim that may have overlooked something says when another one finds it", () => {
  const { lanes, claim, pass } = begin();
  claim(100, NOTHING);
  expect(lanes.searchesAllInMs).toBeNull();

  pass(400);
  claim(0, NOTHING);
  expect(lanes.searchesAllInMs).toBe(500);

  pass(500);
  claim(1, NOTHING);
  expect(lanes.searchesAllInMs).toBeNull();
});

test("a bound never goes down by a search", () => {
  const { lanes, claim } = begin();
  claim(1, { manual: 5, change: 700, backfill: 40 });
  claim(0, { manual: 6, change: 600, backfill: null });

  expect(lanes.searchNextDue().parameters).toEqual([6, 700, 40, 500]);
});

test("what a fold made due earlier is searched, the backfill apart", () => {
  const { lanes, claim } = begin();
  claim(1, { manual: 500, change: 700, backfill: 900 });

  lanes.folded(600);

  expect(lanes.searchNextDue().parameters).toEqual([500, 600, 900, 500]);
});

test("a search that began before a fold was known raises no bound above what was folded", () => {
  const { lanes, claim } = begin();
  claim(1, { manual: 500, change: 500, backfill: 500 });

  const before = lanes.searchNextDue();
  lanes.folded(600);
  before.found({ manual: 800, change: 800, backfill: 550 });
  before.end();
  expect(lanes.searchNextDue().parameters).toEqual([600, 600, 550, 500]);

  const after = lanes.searchNextDue();
  after.found({ ...NOTHING, change: 800 });
  after.end();
  expect(lanes.searchNextDue().parameters).toEqual([600, 800, 550, 500]);
});

test("a search that failed has found nothing", () => {
  const { lanes } = begin();

  lanes.searchDue().end();

  expect(lanes.searchNextDue().parameters).toEqual([0, 0, 0, 500]);
});

function begin() {
  let now = 0;
  const lanes = new ClaimedUpTo(() => now);
  return {
    lanes,
    pass(ms: number) {
      now += ms;
    },
    /** A claim that takes so long. Returns its parameters. */
    claim(ms: number, upTo: Parameters<ReturnType<ClaimedUpTo["searchDue"]>["found"]>[0]) {
      const search = lanes.searchDue();
      now += ms;
      search.found(upTo);
      search.end();
      return search.parameters;
    },
  };
}
