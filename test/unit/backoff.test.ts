/** Delays grow, spread, and stay within their bounds. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { backoffMs } from "../../src/backoff.ts";

const range = { minMs: 1_000, maxMs: 900_000 };

test.each([
  [0, 1_000, 2_000],
  [1, 1_000, 4_000],
  [5, 1_000, 64_000],
  [9, 1_000, 900_000],
  [1_000, 1_000, 900_000],
])("after %i failures: between %i and %i ms", (attempts, least, most) => {
  expect(backoffMs(attempts, range, () => 0)).toBe(least);
  expect(backoffMs(attempts, range, () => 1 - Number.EPSILON)).toBe(most);
});

test("accounts that failed together do not come back together", () => {
  const delays = Array.from({ length: 1_000 }, () => backoffMs(6, range, Math.random));

  expect(new Set(delays).size).toBeGreaterThan(900);
});

test("whatever the settings, a delay is a whole number within them", () => {
  fc.assert(
    fc.property(
      fc.nat(10_000),
      fc.nat(1_000_000),
      fc.nat(10_000_000),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (attempts, minMs, maxMs, random) => {
        const delay = backoffMs(attempts, { minMs, maxMs }, () => random);

        expect(Number.isInteger(delay)).toBe(true);
        expect(delay).toBeGreaterThanOrEqual(minMs);
        expect(delay).toBeLessThanOrEqual(Math.max(minMs, maxMs));
      },
    ),
  );
});
