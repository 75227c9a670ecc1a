/** The convergence test (test/faults/convergence.test.ts) again and again, with new seeds and both policies in turn. */
import { expect, test } from "vitest";
import { CONVERGED, converge } from "../support/convergence.ts";
import { soakDeadline } from "../support/soak.ts";

const STORM_MS = 30_000;

test("convergence, seed after seed", async () => {
  const deadline = soakDeadline();
  const sum = { rounds: 0, faults: 0, requests: 0, transactions: 0, overlapsOfStopped: 0 };

  do {
    const policy = sum.rounds % 2 === 0 ? "resend" : "park";
    const seed = process.env["SEED"] ?? crypto.randomUUID().slice(0, 8);
    process.stdout.write(`SEED=${seed} (${policy})\n`);
    const { violations, figures } = await converge({ seed, policy, stormMs: STORM_MS });

    expect(violations, `SEED=${seed} (${policy})`).toEqual(CONVERGED);
    sum.rounds += 1;
    sum.faults += Object.values(figures.faults).reduce((total, count) => total + count, 0);
    sum.requests += figures.requests;
    sum.transactions += figures.transactions;
    sum.overlapsOfStopped += figures.overlapsOfStopped;
    process.stdout.write(`${JSON.stringify(sum)}\n`);
  } while (performance.now() < deadline);
});
