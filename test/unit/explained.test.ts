/** What the server says becomes one sentence and what to do; what nobody foresaw stays as it is. */
import { expect, test } from "vitest";
import { explained } from "../../src/db/explained.ts";
import { OperatorError } from "../../src/operator-error.ts";

const URL = "postgres://somebody:secret@db.example.com:5432/crm";

test.each([
  [
    "ECONNREFUSED",
    /^Could not connect to PostgreSQL at db\.example\.com:5432\/crm: ECONNREFUSED\.$/,
  ],
  ["57P01", /^PostgreSQL at db\.example\.com:5432\/crm is not available: 57P01\.$/],
  ["57P03", /is not available: 57P03/],
  ["53300", /is not available: 53300/],
  ["25006", /is read-only/],
])("%s", (code, message) => {
  const error = explained(Object.assign(new Error("said by the server"), { code }), URL);

  expect(error).toBeInstanceOf(OperatorError);
  expect((error as OperatorError).message).toMatch(message);
  expect((error as OperatorError).message).not.toContain("secret");
});

test("a bug is not explained away", () => {
  const bug = new TypeError("x is not a function");

  expect(explained(bug, URL)).toBe(bug);
});
