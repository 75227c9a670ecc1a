/** The two languages side by side: neither may lack a sentence, or say it without what the other one names. */
import { expect, test } from "vitest";
import {
  ADVICE,
  LANGUAGES,
  MESSAGES,
  SENTENCES,
  say,
} from "../../src/customer-command/messages.ts";

const texts = Object.entries({ MESSAGES, ADVICE, SENTENCES }).flatMap(([table, rows]) =>
  Object.entries(rows).map(([name, text]) => ({ name: `${table}.${name}`, text })),
);

test.each(texts)("$name is said in every language, with the same placeholders", ({ text }) => {
  const said = LANGUAGES.map((language) => text[language]);

  expect(Object.keys(text).sort()).toEqual([...LANGUAGES].sort());
  for (const sentence of said) expect(sentence).toMatch(/\S/);
  expect(new Set(said).size).toBe(LANGUAGES.length);
  expect(new Set(said.map((sentence) => placeholders(sentence).join()))).toHaveProperty("size", 1);
});

test("every rule has its advice", () => {
  expect(Object.keys(ADVICE).sort()).toEqual(Object.keys(MESSAGES).sort());
});

test("a value with a placeholder's look is said as it is", () => {
  const text = { en: "{field} and {other}", id: "{field} dan {other}" };

  expect(say(text, "id", { field: "{other}", other: "$&" })).toBe("{other} dan $&");
});

function placeholders(sentence: string): string[] {
  return [...sentence.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => name).sort();
}
