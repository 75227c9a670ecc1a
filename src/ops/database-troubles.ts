/**
 * Log lines about the database's failures. One kind of trouble is written at once, again after a minute, after two, after four, at most
 * every quarter of an hour. A kind stays quiet although the database was back in between, or one bad row among good ones would fill the log.
 */
import type { Log } from "./log.ts";

const FIRST_REPEAT_MS = 60_000;
const REPEAT_MAX_MS = 15 * 60_000;
/** Kinds are few (what was being done × error code); the bound holds should there be more. */
const KINDS_MAX = 100;

/** @param now monotonic milliseconds */
export function createDatabaseTroubles({
  log,
  now,
}: {
  readonly log: Log;
  readonly now: () => number;
}) {
  const kinds = new Map<string, TroubleKind>();
  let outage: { readonly since: number; failures: number; said: boolean } | null = null;

  return {
    happened(doing: string, error: unknown): void {
      outage ??= { since: now(), failures: 0, said: false };
      outage.failures += 1;

      const name = `${doing} ${toCode(error)}`;
      const kind = kinds.get(name);
      if (kind !== undefined && now() < kind.quietUntil) {
        kind.unsaid += 1;
        log.debug({ doing, err: error }, "database trouble");
        return;
      }

      outage.said = true;
      log.warn(
        { doing, err: error, repeated: kind?.unsaid ?? 0 },
        "database trouble, trying again",
      );
      remember(name, kind);
    },

    over(): void {
      if (outage === null) return;

      const { since, failures, said } = outage;
      outage = null;
      if (!said) return;

      const seconds = Math.round((now() - since) / 1_000);
      log.info({ failures, seconds }, "the database answers again");
    },
  };

  function remember(name: string, before: TroubleKind | undefined): void {
    // After a long pause it counts as a new one, and the intervals start from the beginning.
    const continues = before !== undefined && now() < before.quietUntil + before.repeatMs;
    const repeatMs = continues ? Math.min(before.repeatMs * 2, REPEAT_MAX_MS) : FIRST_REPEAT_MS;

    kinds.delete(name);
    kinds.set(name, { quietUntil: now() + repeatMs, repeatMs, unsaid: 0 });

    const oldest = kinds.keys().next().value;
    if (kinds.size > KINDS_MAX && oldest !== undefined) kinds.delete(oldest);
  }
}

function toCode(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  const { code } = error as NodeJS.ErrnoException;
  return typeof code === "string" ? code : error.name;
}

interface TroubleKind {
  quietUntil: number;
  repeatMs: number;
  unsaid: number;
}
