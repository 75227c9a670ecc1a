/** docs/guarantees.md speaks of every fault, with evidence, and of tests that exist. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { FAULTS } from "../evidence/faults.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const document = readFileSync(`${root}docs/guarantees.md`, "utf8");
const faultTests = readdirSync(`${root}test/faults`)
  .map((file) => readFileSync(`${root}test/faults/${file}`, "utf8"))
  .join("\n");
const rows = new Map(
  [...document.matchAll(/^\| (F\d+) \|(.*)\|$/gm)].map(([, fault = "", cells = ""]) => [
    fault,
    cells.split("|").map((cell) => cell.trim()),
  ]),
);

test("no fault that was taken up is dropped", () => {
  expect(Object.keys(FAULTS).length).toBeGreaterThanOrEqual(41);
});

test.each(Object.entries(FAULTS))("%s, %s: tried, nothing lost, no twin", (fault, what) => {
  const [described, tries, lost, twins] = rows.get(fault) ?? [];

  expect(described).toBe(what);
  expect(Number(tries)).toBeGreaterThan(0);
  expect([lost, twins]).toEqual(["0", "0"]);
});

test.each(Object.keys(FAULTS))("%s has a test that is named for it", (fault) => {
  expect(faultTests).toMatch(new RegExp(`test[^\\n]*\\(\\s*["\`]${fault}[ ,]`));
});

test("every link leads somewhere", () => {
  const links = [...document.matchAll(/\]\((\.\.?\/[^)#]+)/g)].map(([, link = ""]) => link);

  expect(links.length).toBeGreaterThan(10);
  expect(links.filter((link) => !existsSync(`${root}docs/${link}`))).toEqual([]);
});
