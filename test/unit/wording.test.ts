/** How long texts are shown. */
import { expect, test } from "vitest";
import { toShortened } from "../../src/cli/wording.ts";

test.each([
  ["short", "short"],
  ["exactly twenty chars", "exactly twenty chars"],
  ["the name of the customer is missing", "the name of the…"],
  ["aVeryLongWordWithoutAnySpaces", "aVeryLongWordWithou…"],
])("%s", (text, shown) => {
  expect(toShortened(text, 20)).toBe(shown);
});
