/** How a fault test ends: the faults are over, the queue comes to rest, and the product is judged from outside. */
import { expect } from "vitest";
import { audit, FLAWLESS, isAtRest } from "./audit.ts";
import { eventually } from "./eventually.ts";
import { type FaultEvidence, recordFault } from "./evidence.ts";
import type { Product } from "./product.ts";

/** Waits until nothing is left to do, expects that nothing is wrong and nobody set aside, and writes the evidence down. */
export async function expectFlawless(
  product: Pick<Product, "database" | "sandbox">,
  evidence: Pick<FaultEvidence, "fault" | "tries" | "recoveryMs">,
  { timeoutMs = 30_000 }: { readonly timeoutMs?: number } = {},
): Promise<void> {
  await comesToRest(product, timeoutMs);

  const verdict = await audit(product.database, product.sandbox);
  expect(verdict).toEqual(FLAWLESS);
  // Parked is a visible end, but not one that any of these faults leaves to a human.
  expect(
    await product.database.query(
      "select state, error_class, error from account_sync.status where state <> 'clean'",
    ),
  ).toEqual([]);
  recordFault({ ...evidence, lost: verdict.lost.length, twins: verdict.twins.length });
}

/** Resolves when nothing is captured and unfolded, and every account is clean or waits for a human or a parent. */
export async function comesToRest(
  product: Pick<Product, "database">,
  timeoutMs = 30_000,
): Promise<void> {
  await eventually(async () => expect(await isAtRest(product.database)).toBe(true), {
    timeoutMs,
    intervalMs: 50,
  });
}
