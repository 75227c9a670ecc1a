/** The API's error body as a caller is told it: its codes and trace ids whole, what we sent masked, and never large. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createMask } from "../../src/customer-api/mask.ts";
import { toMaskedError } from "../../src/customer-api/masked-error.ts";

const sent = {
  customer: { name: "Budi Santoso", email: "budi@example.test", ktp: "3174012345678901" },
  branch: { name: "Toko Melati", code: "ACC-7" },
};
const mask = createMask(JSON.stringify(sent), ["s3cret-token"]);

describe("an error body", () => {
  test.each([
    ["its code", { code: "E-4711" }, { code: "E-4711" }],
    ["a long trace id", { traceId: "20261130-1234567890" }, { traceId: "20261130-1234567890" }],
    ["a long numeric id", { request_id: 12345678901 }, { request_id: 12345678901 }],
    ["a number", { status: 400, limit: 50 }, { status: 400, limit: 50 }],
    ["a value that was sent", { message: "Budi Santoso exists" }, { message: "[masked] exists" }],
    ["a sent value as an id", { id: "3174012345678901" }, { id: "[masked]" }],
    ["a sent value as a number", { value: 3174012345678901 }, { value: "[masked]" }],
    ["another long number", { hint: "call 0812 3456 7890" }, { hint: "call [masked]" }],
    ["a key", { "budi@example.test": ["taken"] }, { "[masked]": ["taken"] }],
    ["a secret", { error: "bad s3cret-token" }, { error: "bad [masked]" }],
    ["flags and null", { retryable: false, cause: null }, { retryable: false, cause: null }],
  ])("%s", (_, body, expected) => {
    expect(toMaskedError(body, mask)).toStrictEqual(expected);
  });

  test("that holds an error object is told by that object's keys, too; its own come first", () => {
    const body = { trace_id: "t", code: "OUTER", error: { code: "INNER", field: "name" } };

    expect(toMaskedError(body, mask)).toStrictEqual({ ...body, field: "name" });
  });

  test.each([[undefined], [null], ["text"], [5], [{}]])("%j is none", (body) => {
    expect(toMaskedError(body, mask)).toBeNull();
  });

  test("of a list is told as its errors", () => {
    expect(toMaskedError([{ field: "name" }], mask)).toStrictEqual({ errors: [{ field: "name" }] });
  });

  test("however large or deep, is bounded", () => {
    const wide = {
      errors: Array.from({ length: 50_000 }, (_, n) => ({ message: `x${n}`.repeat(99) })),
    };
    const deep = JSON.parse(`${'{"a":'.repeat(500)}1${"}".repeat(500)}`) as unknown;

    expect(JSON.stringify(toMaskedError(wide, mask)).length).toBeLessThan(40_000);
    expect(JSON.stringify(toMaskedError(deep, mask)).length).toBeLessThan(100);
  });
});

test("no value that was sent is in it, wherever the API quotes it", () => {
  const quoted = fc.constantFrom(
    "Budi Santoso",
    "budi@example.test",
    "3174012345678901",
    "Toko Melati",
  );
  const leaf = fc.oneof(
    quoted,
    quoted.map((value) => `${value} is taken`),
    fc.string(),
    fc.double(),
  );
  const key = fc.oneof(fc.constantFrom("code", "trace_id", "id", "message", "error"), quoted);
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof({ maxDepth: 5 }, leaf, fc.array(tie("tree")), fc.dictionary(key, tie("tree"))),
  }));

  fc.assert(
    fc.property(tree, (body) => {
      const text = JSON.stringify(toMaskedError(body, mask));
      for (const value of ["Budi", "Santoso", "budi@", "3174012345678901", "Melati"])
        expect(text).not.toContain(value);
    }),
  );
});
