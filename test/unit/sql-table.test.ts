/** How rows become a table: aligned where that is cheap, and whole always. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { escapeControls, toTable } from "../../src/local/sql-table.ts";

test("every value is printed whole, one row a line, and one long value does not widen the other rows", () => {
  const value = fc.oneof(
    fc.string({ unit: "binary", maxLength: 20 }).map((text) => text.replaceAll(/[\r\n]/g, "")),
    fc.nat(5_000).map((length) => "x".repeat(length)),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(value, value, value), { maxLength: 30 }), (rows) => {
      const fields = [{ name: "a" }, { name: "b" }, { name: "c" }];

      const lines = [...toTable({ fields, rows }, (text) => text)];

      expect(lines).toHaveLength(rows.length + 3);
      const widths = fields.map((_, column) =>
        Math.min(200, Math.max(1, ...rows.map((row) => row[column]?.length ?? 0))),
      );
      for (const [index, row] of rows.entries()) {
        const line = lines[index + 2] ?? "";
        let at = 0;
        for (const [column, value] of row.entries()) {
          expect(line.slice(at, at + value.length)).toBe(value);
          at += column === 2 ? value.length : Math.max(value.length, widths[column] ?? 0) + 3;
        }
        expect(line).toHaveLength(at);
      }
    }),
  );
});

test("a table that is longer than a string can be is printed line by line", () => {
  const wide = "x".repeat(2 ** 20);
  const rows = Array.from({ length: 1_000 }, () => [wide]);

  let length = 0;
  for (const line of toTable({ fields: [{ name: "wide" }], rows }, (text) => text)) {
    length += line.length;
  }

  expect(length).toBeGreaterThan(1_000 * 2 ** 20);
});

test("columns are as wide as what is shown", () => {
  const rows = [
    ["\x1b[2J", "1"],
    ["a", null],
  ];

  expect([...toTable({ fields: [{ name: "v" }, { name: "n" }], rows }, escapeControls)]).toEqual([
    "v       | n",
    "--------+-----",
    "\\x1b[2J | 1",
    "a       | null",
    "(2 rows)",
  ]);
});

test("every control character but tab and line feed is made visible, and nothing else changes", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      const expected = [...text].map((character) => {
        if (/[\t\n]/.test(character)) return character;
        const code = character.charCodeAt(0).toString(16);
        if (/[\0-\x7f]/.test(character) && /\p{Cc}/u.test(character)) {
          return `\\x${code.padStart(2, "0")}`;
        }
        return /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u.test(character)
          ? `\\u${code.padStart(4, "0")}`
          : character;
      });

      expect(escapeControls(text)).toBe(expected.join(""));
    }),
    { numRuns: 1_000 },
  );
});
