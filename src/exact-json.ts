/**
 * JSON from outside, of which no digit is lost. Ids may be numbers beyond 2^53 (snowflakes), and `JSON.parse` makes another id of such a
 * number without an error. Pure.
 */

/**
 * As `JSON.parse`, except for numbers that a JavaScript number does not hold exactly. They become text: a whole number in plain digits
 * (`1e21` as `1000000000000000000000`), any other as it stands in the source. All other numbers stay numbers, so `12.0` is 12 and `1e3`
 * is 1000.
 *
 * @throws SyntaxError as `JSON.parse`
 */
export function parseExactJson(text: string): unknown {
  return MAY_LOSE_DIGITS.test(text) ? JSON.parse(text, keepDigits) : JSON.parse(text);
}

/** The text of an id that is a text or a whole number; null for any other value, and for a number that may have lost digits. */
export function toIdText(value: unknown): string | null {
  if (typeof value === "string") return value;
  return typeof value === "bigint" || Number.isSafeInteger(value) ? String(value) : null;
}

/**
 * A number of more than 15 digits, or one with an exponent, seen anywhere but behind a quotation mark. Up to 15 digits are always held
 * exactly, and the reviver below makes parsing several times slower.
 */
const MAY_LOSE_DIGITS = /(?:^|[[,:\s])-?(?:[\d.]{16}|\d[\d.]*[eE])/;

function keepDigits(
  this: unknown,
  _key: string,
  value: unknown,
  // Of primitive values only.
  context?: { readonly source?: string },
): unknown {
  if (typeof value !== "number" || context?.source === undefined) return value;
  return isExact(value, context.source) ? value : toPlainText(context.source);
}

function isExact(value: number, source: string): boolean {
  const meant = readDecimal(source);
  // All whole numbers below 2^53 are held exactly, and none above it becomes one below.
  if (meant.exponent >= 0) return Number.isSafeInteger(value);
  const held = readDecimal(String(value));
  return held.digits === meant.digits && held.exponent === meant.exponent;
}

/** Longer numbers are no ids (a varchar(255) holds an id), and an exponent could ask for gigabytes of zeros. */
const PLAIN_DIGITS_MAX = 255;

function toPlainText(source: string): string {
  const { sign, digits, exponent } = readDecimal(source);
  const isPlain = exponent >= 0 && digits.length + exponent <= PLAIN_DIGITS_MAX;
  return isPlain ? sign + digits + "0".repeat(exponent) : source;
}

/** `digits` times ten to the power of `exponent`, without zeros at either end; zero has no digits. */
interface Decimal {
  readonly sign: "-" | "";
  readonly digits: string;
  readonly exponent: number;
}

function readDecimal(text: string): Decimal {
  const [, sign = "", whole = "", fraction = "", power = "0"] =
    /^(-?)(\d*)\.?(\d*)(?:[eE]([+-]?\d+))?$/.exec(text) ?? [];
  const all = whole + fraction;
  let begin = 0;
  let end = all.length;
  while (begin < end && all[begin] === "0") begin += 1;
  while (begin < end && all[end - 1] === "0") end -= 1;

  const digits = all.slice(begin, end);
  const exponent = digits === "" ? 0 : Number(power) - fraction.length + (all.length - end);
  return { sign: sign === "-" ? "-" : "", digits, exponent };
}
