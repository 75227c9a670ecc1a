/** What an error body of an API says, in all its forms. */
import { describe, expect, test } from "vitest";
import { errorMessages } from "../../src/customer-api/error-messages.ts";

describe("the messages of an error body", () => {
  test.each<[string, unknown, string[]]>([
    ["a text", { error: "not found" }, ["not found"]],
    ["a list of texts", { error: ["a", "b"] }, ["a", "b"]],
    ["a list of objects", { errors: [{ field: "x", message: "a" }, { message: "b" }] }, ["a", "b"]],
    ["an object", { error: { message: "a", status: 422, data: null } }, ["a"]],
    [
      "an object that holds the original body",
      { error: { message: "a", status: 422, data: { errors: ["b"] } } },
      ["a", "b"],
    ],
    ["a message with a message", { message: { message: "a" } }, ["a"]],
    ["deeper still", { error: { message: { message: { message: "a" } } } }, ["a"]],
    ["a message and errors", { message: "invalid", errors: ["a"] }, ["invalid", "a"]],
    ["the same one twice", { message: "a", error: "a" }, ["a"]],
    [
      "lists by field",
      { message: "invalid", errors: { email: ["is taken"] } },
      ["invalid", "is taken"],
    ],
    [
      "of a token endpoint",
      { error: "invalid_client", error_description: "unknown" },
      ["invalid_client", "unknown"],
    ],
    [
      "problem+json",
      { type: "about:blank", title: "Conflict", detail: "taken" },
      ["taken", "Conflict"],
    ],
    ["a bare text", "Bad  gateway\r\n", ["Bad gateway"]],
    ["wrapped", { data: { error: "a" } }, ["a"]],
    ["no message but values", { errors: [{ code: "E7", value: "Budi" }] }, []],
    ["a text below data", { data: "token" }, []],
    ["lists of data", { data: { names: ["Budi"] }, names: ["Budi"] }, []],
    ["blank", { error: " " }, []],
    ["nothing", null, []],
  ])("%s", (_, json, messages) => {
    expect(errorMessages(json)).toEqual(messages);
  });

  test("are bounded in number, length and depth", () => {
    let deep: unknown = "bottom";
    for (let depth = 0; depth < 100_000; depth++) deep = { message: deep };

    expect(
      errorMessages({ errors: Array.from({ length: 1000 }, (_, index) => `e${index}`) }),
    ).toHaveLength(20);
    expect(errorMessages("x".repeat(1_000_000))[0]).toHaveLength(5000);
    expect(errorMessages(deep)).toEqual([]);
  });
});
