/** How long SIGTERM waits: longer for creates on the wire where one that is broken off is parked. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readConfig } from "../../src/config.ts";
import { findShortShutdown, shutdownTimeouts } from "../../src/shutdown-timeout.ts";

const database = { DATABASE_URL: "postgres://db.example.com/crm" };
const timeoutsWith = (environment: Readonly<Record<string, string>>) =>
  shutdownTimeouts(readConfig({ ...database, ...environment }));

test.each([
  [{}, 20_000, 125_000],
  [{ CUSTOMER_API_UNKNOWN_OUTCOME: "park" }, 20_000, 125_000],
  [{ CUSTOMER_API_UNKNOWN_OUTCOME: "resend" }, 20_000, 20_000],
  [
    { CUSTOMER_API_UNKNOWN_OUTCOME: "lookup", CUSTOMER_API_LOOKUP_PATH: "/c/{account_no}" },
    20_000,
    20_000,
  ],
  [{ CUSTOMER_API_TIMEOUT_MS: "300000" }, 20_000, 305_000],
  [{ CUSTOMER_API_TIMEOUT_MS: "1000" }, 20_000, 20_000],
  [{ SYNC_SHUTDOWN_TIMEOUT_MS: "60000" }, 60_000, 60_000],
  [{ SYNC_SHUTDOWN_TIMEOUT_MS: "0" }, 0, 0],
] as const)("with %o everything has %i ms, creates %i ms", (environment, timeoutMs, createsMs) => {
  expect(timeoutsWith(environment)).toEqual({ timeoutMs, createsMs });
});

describe("a drain that is configured", () => {
  const outcomes = fc.constantFrom<"park" | "resend" | "lookup" | null>(
    "park",
    "resend",
    "lookup",
    null,
  );

  test("is warned of exactly when it parks what a restart breaks off", () => {
    fc.assert(
      fc.property(
        outcomes,
        fc.integer({ min: 1, max: 300_000 }),
        fc.option(fc.integer({ min: 0, max: 300_000 })),
        (unknownOutcome, timeoutMs, shutdownTimeoutMs) => {
          const settings = { api: { unknownOutcome, timeoutMs }, sync: { shutdownTimeoutMs } };

          const warning = findShortShutdown(settings);

          const parks = unknownOutcome === "park" || unknownOutcome === null;
          const breaksOff = shutdownTimeouts(settings).createsMs < timeoutMs;
          expect(warning !== null).toBe(parks && breaksOff);
        },
      ),
    );
  });
});
