/** The list of protections speaks of the code as it is: each text stands once in its file, each test exists. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { PROTECTIONS } from "../protections/protections.ts";

const read = (file: string) =>
  readFileSync(fileURLToPath(new URL(`../../${file}`, import.meta.url)), "utf8");

test.each(PROTECTIONS)("$name", ({ file, text, without, foundBy }) => {
  expect(read(file).split(text)).toHaveLength(2);
  expect(without).not.toBe(text);
  expect(read(foundBy.file)).toContain(foundBy.test);
});

test("each is named once", () => {
  expect(new Set(PROTECTIONS.map(({ name }) => name)).size).toBe(PROTECTIONS.length);
});
