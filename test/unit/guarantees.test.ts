/** docs/guarantees.md says what the last run recorded, and in that run every fault was tried and the judge found nothing. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { FAULTS } from "../evidence/faults.ts";
import { readLastRun } from "../evidence/last-run.ts";
import { TRIED, withTables } from "../evidence/tables.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const document = readFileSync(`${root}docs/guarantees.md`, "utf8");
const faultTests = readdirSync(`${root}test/faults`)
  .map((file) => readFileSync(`${root}test/faults/${file}`, "utf8"))
  .join("\n");

const run = readLastRun();
const byFault = Map.groupBy(run.faults, ({ fault }) => fault);

test("no fault that was taken up is dropped", () => {
  expect(Object.keys(FAULTS).length).toBeGreaterThanOrEqual(41);
});

test.each(Object.entries(TRIED))(
  "%s, %s: tried, and the judge found nothing lost, no twin and no wrong id",
  (fault) => {
    const recorded = byFault.get(fault) ?? [];

    expect(recorded.length).toBeGreaterThan(0);
    for (const { tries, lost, twins, wrongIds } of recorded) {
      expect(tries).toBeGreaterThan(0);
      expect({ lost, twins, wrongIds }).toEqual({ lost: 0, twins: 0, wrongIds: 0 });
    }
  },
);

test("requests overlap only where a stopped process cannot call its own back", () => {
  const overlapping = run.faults.filter((one) => one.overlapping > 0).map(({ fault }) => fault);

  expect(["F8", "convergence"]).toEqual(expect.arrayContaining(overlapping));
});

test.each(run.speeds)("$what: within what is promised", ({ ms, withinMs }) => {
  expect(ms).toBeLessThanOrEqual(withinMs);
});

test("what was recorded comes from tests that exist", () => {
  const missing = [...run.faults, ...run.speeds].filter(({ file }) => !existsSync(root + file));

  expect(missing).toEqual([]);
});

test("the tables of the document are those of the last run", () => {
  expect(document).toBe(withTables(document, run));
});

test.each(Object.keys(FAULTS))("%s has a test that is named for it", (fault) => {
  expect(faultTests).toMatch(new RegExp(`test[^\\n]*\\(\\s*["\`]${fault}[ ,]`));
});

test("every link of the document leads somewhere", () => {
  const links = [...document.matchAll(/\]\((\.\.?\/[^)#]+)/g)].map(([, link = ""]) => link);

  expect(links.length).toBeGreaterThan(10);
  expect(links.filter((link) => !existsSync(`${root}docs/${link}`))).toEqual([]);
});
