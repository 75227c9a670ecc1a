/** docs/reference/limits.md against the code: every bound that is written down is there, with its figure. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const read = (file: string) =>
  readFileSync(fileURLToPath(new URL(`../../${file}`, import.meta.url)), "utf8");

const bounds = read("docs/reference/limits.md")
  .split("\n")
  .filter((line) => line.startsWith("| ") && !line.startsWith("| what "))
  .map((line) => {
    const [, what = "", figure = "", where = ""] = line.split("|").map((cell) => cell.trim());
    const [file = "", name = ""] = where.replaceAll("`", "").split(" ");
    return { what, figure: Number(figure.replaceAll(",", "")), file, name };
  });

test.each(bounds)("$what: $figure", ({ figure, file, name }) => {
  const [, expression = ""] =
    new RegExp(`\\bconst ${name}(?::[^=]+)? = ([\\d_ *]+);`).exec(read(file)) ?? [];

  expect(product(expression)).toBe(figure);
  // Once where it is said, and at least once where it holds.
  expect(read(file).split(new RegExp(`\\b${name}\\b`)).length - 1).toBeGreaterThan(1);
});

test("the table was read", () => {
  expect(bounds.length).toBeGreaterThan(30);
});

function product(expression: string): number {
  return expression
    .replaceAll("_", "")
    .split("*")
    .reduce((total, factor) => total * Number.parseInt(factor.trim(), 10), 1);
}
