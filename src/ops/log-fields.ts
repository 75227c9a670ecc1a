/** The fields of a log line, bounded: texts, entries and depth have limits, and errors are reduced to what may be logged. */
import { toLoggedError } from "./logged-error.ts";

export type LogFields = Readonly<Record<string, unknown>>;

export const TEXT_MAX = 1_000;
const LINE_TEXT_MAX = 8_000;
const ENTRIES_MAX = 50;
const DEPTH_MAX = 4;

/** Fields that contain sentences of ours. */
const TEXT_FIELDS = ["remedy", "reason", "error"] as const;

export function withTexts(
  fields: Readonly<Record<string, unknown>>,
  toText: (text: string) => string,
): Record<string, unknown> {
  const texts = TEXT_FIELDS.flatMap((name) => {
    const text = fields[name];
    return typeof text === "string" ? [[name, toText(text)]] : [];
  });
  return { ...fields, ...Object.fromEntries(texts) };
}

export function boundFields(fields: object): Record<string, unknown> {
  const budget = { left: LINE_TEXT_MAX };
  return bound(fields, budget, 0) as Record<string, unknown>;
}

/** `budget` is shared by the whole line, so many small values cannot do what one big one may not. */
function bound(value: unknown, budget: { left: number }, depth: number): unknown {
  if (typeof value === "string") return spend(value, budget);
  if (typeof value === "bigint") return spend(value.toString(), budget);
  if (typeof value === "function" || typeof value === "symbol") return undefined;
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Date) return value;
  if (value instanceof Error) return bound(toLoggedError(value), budget, depth);
  if (depth >= DEPTH_MAX || budget.left <= 0) return "…";

  if (Array.isArray(value)) {
    return value.slice(0, ENTRIES_MAX).map((item) => bound(item, budget, depth + 1));
  }

  const entries: [string, unknown][] = Object.entries(value);
  if (entries.length > ENTRIES_MAX) entries.length = ENTRIES_MAX;
  // In place: every line passes here, and `Object.entries` has made these for it.
  for (const entry of entries) {
    entry[0] = cut(entry[0], 100);
    entry[1] = bound(entry[1], budget, depth + 1);
  }
  return Object.fromEntries(entries);
}

function spend(text: string, budget: { left: number }): string {
  const spent = cut(text, Math.min(TEXT_MAX, Math.max(0, budget.left)));
  budget.left -= spent.length;
  return spent;
}

export function cut(text: string, max: number): string {
  return text.length <= max ? text : `${text.slice(0, max)}…`;
}
