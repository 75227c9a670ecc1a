/**
 * Masks the API's messages for logs and the journal: values that we sent, personal data and secrets become `[masked]`. Pure.
 *
 * APIs quote the value that they refuse. A word too many is masked rather than one too few: what a person needs, the field's path
 * and the rule, contains no such value.
 */

/**
 * One line of at most 500 characters.
 *
 * @param body JSON text of the command that the text is about
 * @param secrets those shorter than four characters are not masked
 */
export function maskPersonal(
  text: string,
  body: string | null,
  secrets: readonly string[],
): string {
  return createMask(body, secrets).text(text);
}

export interface Mask {
  text(text: string): string;
  /** For what is no sentence but a name of the API's own, such as a trace id: long numbers stay. Values that we sent do not. */
  name(text: string): string;
}

/** For many texts about one command. */
export function createMask(body: string | null, secrets: readonly string[]): Mask {
  const secretPatterns = secrets.filter((secret) => secret.length >= 4).map(anywhere);
  const values = body === null ? [] : personalValues(body);
  const valuePatterns = values.length > VALUES_MAX ? null : personalPatterns(values);

  function mask(text: string, keepsDigits: boolean): string {
    let masked = text.slice(0, TEXT_LENGTH_MAX).normalize("NFC");
    masked = masked.replaceAll(AUTHORIZATION, `$1 ${MASK}`);
    masked = masked.replaceAll(JSON_WEB_TOKEN, MASK);
    masked = replaceEach(masked, secretPatterns);
    masked = masked.replaceAll(EMAIL, MASK);
    if (valuePatterns === null) return MASK;
    masked = replaceEach(masked, valuePatterns);
    if (!keepsDigits) masked = masked.replaceAll(DIGITS, MASK);
    return toOneLine(masked);
  }
  return { text: (text) => mask(text, false), name: (text) => mask(text, true) };
}

/** One line, no control characters, at most 500 characters. */
export function toOneLine(text: string): string {
  // Bidirectional overrides and zero-width characters, too: with them a terminal shows something else than the text.
  const line = text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, " ").trim();
  return line.length <= LINE_LENGTH_MAX ? line : `${line.slice(0, LINE_LENGTH_MAX - 1)}…`;
}

const MASK = "[masked]";
const LINE_LENGTH_MAX = 500;
/** Far more than is kept, so that a value cut in two at this end never gets into the 500 characters. */
const TEXT_LENGTH_MAX = 20_000;
/** A command holds some dozen values. When it holds more than can be looked for, the whole text is masked. */
const VALUES_MAX = 2_000;

const AUTHORIZATION = /\b(Bearer|Basic)\s+[\w.~+/=-]{4,}/gi;
const JSON_WEB_TOKEN = /\beyJ[\w-]+\.[\w-]+\.[\w-]*/g;
const EMAIL = /[^\s@"'<>()[\],;:]+@[^\s@"'<>()[\],;:]+/gu;
/** Six digits or more, also with the usual separators between them. */
const DIGITS = /\+?\d(?:[\s().\-/]{0,2}\d){5,}/g;

/** Keys whose values are words of the API or ids, not personal data. */
const HARMLESS_KEYS = new Set([
  "id",
  "parent_id",
  "customer_role",
  "customer_type",
  "deduction_active_type",
  "tier_type",
  "tier_category",
  "valid_from",
  "valid_to",
  "country",
]);

/** Words of the API's own messages. They stay readable also when a customer is called "Customer Service Ltd". */
const HARMLESS_WORDS = new Set(
  (
    "customer branch tier crew beneficiary account name email address msisdn phone username user role type " +
    "code bank number first last invalid value field error must required blank missing with already exists from than"
  ).split(" "),
);

function personalPatterns(personal: readonly string[]): RegExp[] {
  const values = new Set<string>();
  const words = new Set<string>();
  for (const value of personal) {
    const text = value.normalize("NFC").trim();
    if (text.length >= 3) values.add(text);
    for (const word of text.split(/[\s,.;:/()]+/)) {
      // A message may quote a first name alone.
      if (word.length >= 4 && !HARMLESS_WORDS.has(word.toLowerCase())) words.add(word);
    }
  }

  // Longest first: a name within a longer value would leave the rest of that value unmasked.
  const longestFirst = [...values].sort((a, b) => b.length - a.length);
  return [
    ...longestFirst.map((value) => (value.length < 5 ? wholeWord(value) : anywhere(value))),
    ...[...words].map(wholeWord),
  ];
}

function personalValues(body: string): string[] {
  const found: string[] = [];
  try {
    collect(JSON.parse(body), found);
  } catch {
    // Not JSON, so not a command of ours. The general patterns still apply.
  }
  return found;
}

function collect(node: unknown, found: string[]): void {
  if (typeof node !== "object" || node === null) return;

  for (const [key, value] of Object.entries(node)) {
    if (found.length > VALUES_MAX) return;
    if (typeof value !== "string") collect(value, found);
    else if (!HARMLESS_KEYS.has(key) && value !== "") found.push(value);
  }
}

function replaceEach(text: string, patterns: readonly RegExp[]): string {
  return patterns.reduce((rest, pattern) => rest.replaceAll(pattern, MASK), text);
}

function anywhere(value: string): RegExp {
  return new RegExp(escapePattern(value), "giu");
}

/** Three letters occur inside many innocent words. */
function wholeWord(value: string): RegExp {
  return new RegExp(`(?<![\\p{L}\\p{N}])${escapePattern(value)}(?![\\p{L}\\p{N}])`, "giu");
}

function escapePattern(value: string): string {
  return value.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, (character) =>
    character === "-" ? "\\x2d" : `\\${character}`,
  );
}
