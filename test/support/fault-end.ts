/** How a fault test ends: the queue comes to rest, the judge looks at both sides, and what it found is recorded. */
import { expect } from "vitest";
import { audit } from "./audit.ts";
import { type FaultTrial, recordFault } from "./evidence.ts";
import type { Product } from "./product.ts";
import { untilAtRest } from "./queue-state.ts";
import { FLAWLESS } from "./verdict.ts";

/** Waits until nothing is left to do, and expects that nothing is wrong and no account is left waiting. */
export async function expectFlawless(
  product: Pick<Product, "database" | "sandbox">,
  fault: string,
  trial: FaultTrial,
): Promise<void> {
  await untilAtRest(product.database);

  const verdict = await audit(product.database, product.sandbox);
  expect(verdict).toEqual(FLAWLESS);
  recordFault(fault, verdict, trial);
}
