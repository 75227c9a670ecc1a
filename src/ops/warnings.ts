/**
 * Log lines at level warn, limited by kind: the first of a minute are written, and the others counted. There is no timer: the sum is
 * written with the next warning or the next run, and after an outage one comes.
 */
import type { Log } from "./log.ts";
import type { LogFields } from "./log-fields.ts";

/** Of one kind; the rest of the minute is counted, and is in the log at level debug. */
const PER_MINUTE = 30;
const MINUTE_MS = 60_000;
/** Kinds come from our own words, but `observe.warning` takes any text; beyond this many they share one count. */
const KINDS_MAX = 100;

/** @param now monotonic milliseconds */
export function createWarnings({ log, now }: { readonly log: Log; readonly now: () => number }) {
  const said = new Map<string, number>();
  const unsaid = new Map<string, number>();
  let minuteStartedAt = now();

  return {
    warn(kind: string, fields: LogFields, message: string): void {
      sumUp();

      const counted = said.has(kind) || said.size < KINDS_MAX ? kind : "other";
      const lines = (said.get(counted) ?? 0) + 1;
      said.set(counted, lines);

      if (lines <= PER_MINUTE) {
        log.warn(fields, message);
        return;
      }
      unsaid.set(counted, (unsaid.get(counted) ?? 0) + 1);
      log.debug(fields, message);
    },

    sumUp,
  };

  function sumUp(): void {
    if (now() - minuteStartedAt < MINUTE_MS) return;

    for (const [kind, lines] of unsaid) {
      log.warn({ kind, lines }, "more warnings of this kind were left out");
    }
    said.clear();
    unsaid.clear();
    minuteStartedAt = now();
  }
}
