/**
 * All faults at once: an application that writes all captured tables at random, null or old ids over those that were given out among it;
 * two APIs that give out the same ids; three replicas that come and go; and faults of the APIs, the network, the database and the
 * processes. When they stop, everything arrives, no customer is overwritten, and I1 to I9 hold.
 *
 * SEED=… repeats the same writes and faults at the same times, but not what the processes are doing at those times.
 */
import { expect, test } from "vitest";
import { CONVERGED, converge } from "../support/convergence.ts";
import { recordFault } from "../support/evidence.ts";

const STORM_MS = 18_000;
/** The storm, then twice a rest that may take a minute, where three replicas share two busy cores. */
const TIMEOUT_MS = 240_000;

test.each([
  ["an API that honours keys: everything arrives, each customer once", "resend"],
  ["an API that ignores keys: everything arrives or waits for a human, each customer once", "park"],
] as const)("convergence at %s", { timeout: TIMEOUT_MS }, async (_, policy) => {
  const seed = process.env["SEED"] ?? crypto.randomUUID().slice(0, 8);
  process.stdout.write(`SEED=${seed} (${policy})\n`);

  const { violations, verdict, figures } = await converge({ seed, policy, stormMs: STORM_MS });
  process.stdout.write(`${JSON.stringify(figures, null, 1)}\n`);

  expect(violations, `SEED=${seed}`).toEqual(CONVERGED);
  recordFault("convergence", verdict, {
    tries: Object.values(figures.faults).reduce((sum, count) => sum + count, 0),
    recoveryMs: figures.recoveryMs,
  });
});
