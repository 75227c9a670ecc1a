/** The distance between two names is the number of slips of the keyboard between them. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { editDistance } from "../../src/edit-distance.ts";

const word = fc.string({ unit: fc.constantFrom("A", "B", "_"), maxLength: 8 });

test.each([
  ["DATABASE_URL", "DATABASE_URL", 0],
  ["DATABSE_URL", "DATABASE_URL", 1],
  ["DATABASE_URI", "DATABASE_URL", 1],
  ["DATABASSE_URL", "DATABASE_URL", 1],
  ["DATABAES_URL", "DATABASE_URL", 1],
  ["DATABASE", "DATABASE_URL", 4],
  ["", "URL", 3],
])("%s is as far from %s as %i edits", (one, other, distance) => {
  expect(editDistance(one, other)).toBe(distance);
});

test("it is 0 for the same word only, the same in both directions, and within the words' lengths", () => {
  fc.assert(
    fc.property(word, word, (one, other) => {
      const distance = editDistance(one, other);

      expect(distance === 0).toBe(one === other);
      expect(distance).toBe(editDistance(other, one));
      expect(distance).toBeGreaterThanOrEqual(Math.abs(one.length - other.length));
      expect(distance).toBeLessThanOrEqual(Math.max(one.length, other.length));
    }),
  );
});

test("it is what the definition says, tried out at every place", () => {
  fc.assert(
    fc.property(word, word, (one, other) => {
      expect(editDistance(one, other)).toBe(distanceByDefinition(one, other));
    }),
  );
});

/** Slow and plain: the best of all ways to end. */
function distanceByDefinition(one: string, other: string): number {
  if (one === "" || other === "") return one.length + other.length;
  const [shorter, otherShorter] = [one.slice(0, -1), other.slice(0, -1)];
  const isSame = one.at(-1) === other.at(-1);
  const isSwap =
    one.length > 1 &&
    other.length > 1 &&
    one.at(-1) === other.at(-2) &&
    one.at(-2) === other.at(-1);
  return Math.min(
    distanceByDefinition(shorter, other) + 1,
    distanceByDefinition(one, otherShorter) + 1,
    distanceByDefinition(shorter, otherShorter) + (isSame ? 0 : 1),
    isSwap ? distanceByDefinition(one.slice(0, -2), other.slice(0, -2)) + 1 : Infinity,
  );
}
