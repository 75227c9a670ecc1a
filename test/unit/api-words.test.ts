/** What the API said is found again in the line that the history keeps, whatever the status and the form of the error. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { apiWordsIn } from "../../src/customer-api/api-words.ts";
import { judgeCommand } from "../../src/customer-api/judgement.ts";
import { toOneLine } from "../../src/customer-api/mask.ts";

const WORDS = "Invalid data format";

function lineOf(status: number, text: string, contentType = "application/json"): string {
  const answer = {
    kind: "answered" as const,
    status,
    header: (name: string) => (name === "content-type" ? contentType : null),
    text,
    durationMs: 1,
  };
  const what = "update (PUT https://api.example.com/api/customer/command/{id})";
  const result = judgeCommand(answer, {
    operation: "update",
    what,
    command: null,
    secrets: [],
    promisedNotApplied: [],
  });
  if (result.kind !== "failed") throw new Error("it was accepted");
  return result.failure.message;
}

test("of every refusing status, in every form of an error", () => {
  const status = fc.oneof(
    fc.integer({ min: 400, max: 599 }),
    fc.constantFrom(401, 403, 404, 413, 429, 503),
  );
  const form = fc.constantFrom(
    { error: WORDS },
    { error: [WORDS] },
    { error: [{ message: WORDS }] },
    { error: { message: { message: WORDS }, status: 400, data: null } },
    { success: false, error: WORDS },
  );

  fc.assert(
    fc.property(status, form, (code, body) => {
      expect(apiWordsIn(lineOf(code, JSON.stringify(body)))).toBe(WORDS);
    }),
  );
  expect(apiWordsIn(lineOf(200, JSON.stringify({ success: false, error: WORDS })))).toBe(WORDS);
  expect(apiWordsIn(lineOf(403, JSON.stringify({ error: "token expired" })))).toBe("token expired");
  expect(apiWordsIn(lineOf(502, WORDS, "text/plain"))).toBe(WORDS);
});

test("whatever the words are, as one line", () => {
  const words = fc.string({ minLength: 1, maxLength: 200 }).map(toOneLine);

  fc.assert(
    fc.property(words, (said) => {
      fc.pre(
        said.trim() !== "" &&
          !/\d{6}|@|bearer|basic|eyJ/i.test(said.replaceAll(/[\s().\-/+]/g, "")),
      );
      const found = apiWordsIn(lineOf(422, JSON.stringify({ error: said })));
      expect(found).toBe(toOneLine(said.normalize("NFC")));
    }),
  );
});

test.each([
  ["a page of HTML", lineOf(502, "<html>", "text/html")],
  ["another line", "not sent: the API asked all daemons to wait, 3.0 s more"],
])("%s has none", (_, line) => {
  expect(apiWordsIn(line)).toBeNull();
});
