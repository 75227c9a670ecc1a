/** JSON without the loss of a digit: which numbers stay numbers, which become text, and that all else is as `JSON.parse` reads it. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseExactJson, toIdText } from "../../src/exact-json.ts";

describe("a number", () => {
  test.each<[string, number | string]>([
    ["12", 12],
    ["12.0", 12],
    ["1e3", 1_000],
    ["1.50e1", 15],
    ["0", 0],
    ["-0", -0],
    ["0e99", 0],
    ["2.5", 2.5],
    ["100.50", 100.5],
    ["0.1", 0.1],
    ["0.30000000000000004", 0.30000000000000004],
    ["9007199254740991", 9_007_199_254_740_991],
    ["-9007199254740991", -9_007_199_254_740_991],
    ["9007199254740992", "9007199254740992"],
    ["9007199254740993", "9007199254740993"],
    ["-9007199254740993", "-9007199254740993"],
    ["1234567890123456789", "1234567890123456789"],
    ["1234567890123456789.0", "1234567890123456789"],
    ["12345678901234567.89e2", "1234567890123456789"],
    ["1e21", "1000000000000000000000"],
    ["-1.5E+23", "-150000000000000000000000"],
    // As it stands: no JavaScript number holds it, and it is no whole number that an id could be.
    ["9007199254740990.9", "9007199254740990.9"],
    ["12.00000000000000000001", "12.00000000000000000001"],
    ["1e-400", "1e-400"],
    ["1e400", "1e400"],
    ["1e999999999", "1e999999999"],
  ])("%s is read as %j", (source, expected) => {
    for (const wrapped of [source, ` ${source} `, `[${source}]`, `{"id":${source}}`])
      expect([parseExactJson(wrapped)].flat().map(unwrap)).toEqual([expected]);
  });

  test("of any kind comes back as what it was: no digit is lost", () => {
    fc.assert(
      fc.property(
        fc.bigInt(),
        fc.nat(40),
        fc.integer({ min: -50, max: 50 }),
        (n, places, power) => {
          const sign = n < 0n ? "-" : "";
          const digits = (n < 0n ? -n : n).toString().padStart(places + 1, "0");
          const whole = digits.slice(0, digits.length - places).replace(/^0+(?=\d)/, "");
          const source = `${sign}${whole}${places > 0 ? `.${digits.slice(-places)}` : ""}e${power}`;

          expect(toFraction(String(parseExactJson(source)))).toEqual(toFraction(source));
        },
      ),
    );
  });
});

test("all else is read as JSON.parse reads it", () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      // fast-check's numbers come from JavaScript, so none of them loses anything, but whole ones beyond 2^53 become text.
      expect(normalized(parseExactJson(text))).toEqual(normalized(JSON.parse(text)));
    }),
  );
});

test("digits in a text stay a text, and keys stay keys", () => {
  const text = '{"12345678901234567890":"98765432109876543210","a":", 1e400 ]","n":[ -1e30]}';

  expect(parseExactJson(text)).toEqual({
    "12345678901234567890": "98765432109876543210",
    a: ", 1e400 ]",
    n: [`-1${"0".repeat(30)}`],
  });
});

test.each(["", "1e", "[1e5,", "01", "1.", "{'a':1}", "[12345678901234567890", "NaN", "1_000e3"])(
  "%j is no JSON",
  (text) => {
    expect(() => parseExactJson(text)).toThrow(SyntaxError);
  },
);

test.each<[string, string]>([
  ["one number without end", "1".repeat(512 * 1024)],
  ["one fraction without end", `0.${"0".repeat(512 * 1024)}1`],
  ["many numbers", `[${"1e21,".repeat(50_000)}1]`],
  // What grew with the square of the length would not end within the time of a test.
])("%s is read in time that grows with its length", (_, text) => {
  expect(parseExactJson(text)).toBeDefined();
});

test("zeros and no end are refused", () => {
  expect(() => parseExactJson(`[${"0.".repeat(256 * 1024)}`)).toThrow(SyntaxError);
});

test.each<[unknown, string | null]>([
  ["x", "x"],
  [" 12 ", " 12 "],
  [12, "12"],
  [-0, "0"],
  [12n, "12"],
  [2n ** 64n, "18446744073709551616"],
  [2 ** 53, null],
  [1.5, null],
  [Number.NaN, null],
  [Number.POSITIVE_INFINITY, null],
  [true, null],
  [null, null],
  [undefined, null],
  [["12"], null],
])("the id %s has the text %j", (value, text) => {
  expect(toIdText(value)).toBe(text);
});

function unwrap(value: unknown): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, "id") : value;
}

/** A decimal number as digits and a power of ten, compared as numbers of any size. */
function toFraction(text: string): { readonly digits: bigint; readonly power: number } {
  const [, sign, whole = "", fraction = "", power = "0"] =
    /^(-?)(\d+)\.?(\d*)(?:e([+-]?\d+))?$/i.exec(text) ?? [];
  let digits = BigInt(`${whole}${fraction}`);
  let exponent = Number(power) - fraction.length;
  if (digits === 0n) return { digits, power: 0 };
  while (digits % 10n === 0n) {
    digits /= 10n;
    exponent += 1;
  }
  return { digits: sign === "-" ? -digits : digits, power: exponent };
}

const LONG_NUMBER = /^-?(?:\d{16,}|\d[\d.]*e[+-]?\d+)$/i;

function normalized(value: unknown): unknown {
  if (typeof value === "number") return Number.isInteger(value) ? toFraction(String(value)) : value;
  if (typeof value === "string") return LONG_NUMBER.test(value) ? toFraction(value) : value;
  if (Array.isArray(value)) return value.map(normalized);
  if (typeof value !== "object" || value === null) return value;
  return Object.entries(value).map(([key, inner]) => [key, normalized(inner)]);
}
