/** What a NOTIFY payload asks for, and what is garbage. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { readNotification } from "../../src/capture/notification.ts";

const isUuid = (id: string) => /^[0-9a-f-]{36}$/.test(id);
const ID = "11111111-1111-4111-8111-111111111111";
const PLAIN = { accountId: ID, userId: null, configId: null, force: true };

test.each([
  ["an id", ID, PLAIN],
  ["an id with blanks around it", ` ${ID}\n`, PLAIN],
  ["everybody", "*", { ...PLAIN, accountId: null, force: false }],
  ["an id as JSON", JSON.stringify({ account_id: ID }), PLAIN],
  [
    "all there is to say",
    JSON.stringify({ account_id: ID, user_id: "ani", config_id: "c1", force: false }),
    { accountId: ID, userId: "ani", configId: "c1", force: false },
  ],
  ["nulls", JSON.stringify({ account_id: ID, user_id: null, config_id: null }), PLAIN],
  [
    "everybody for somebody",
    JSON.stringify({ account_id: "*", user_id: "ani" }),
    { accountId: null, userId: "ani", configId: null, force: true },
  ],
  ["more than we know", JSON.stringify({ account_id: ID, colour: "red" }), PLAIN],
])("%s", (_, payload, request) => {
  expect(readNotification(payload, isUuid)).toEqual({ kind: "request", request });
});

test("a number is an id where keys are numbers", () => {
  const read = readNotification('{"account_id": 42}', (id) => /^\d+$/.test(id));

  expect(read).toMatchObject({ kind: "request", request: { accountId: "42" } });
});

test.each([[""], [" "], ["\n"]])("%j only wakes", (payload) => {
  expect(readNotification(payload, isUuid)).toEqual({ kind: "wake" });
});

test.each([
  ["what is no id", "hello"],
  ["JSON that is cut off", '{"account_id": "'],
  ["JSON without an account", "{}"],
  ["JSON with an empty account", '{"account_id": ""}'],
  ["JSON with an account that is no id", '{"account_id": "hello"}'],
  ["a flag that is none", JSON.stringify({ account_id: ID, force: "false" })],
  ["a user that is none", JSON.stringify({ account_id: ID, user_id: 7 })],
  ["a list", `["${ID}"]`],
  ["7,999 bytes", "x".repeat(7_999)],
])("%s is garbage, and the reason does not repeat it", (_, payload) => {
  const read = readNotification(payload, isUuid);

  expect(read.kind).toBe("garbage");
  expect(JSON.stringify(read)).not.toContain("hello");
  expect(JSON.stringify(read)).not.toContain("xxx");
});

test.each([
  ["user_id", { user_id: "\0" }, "user_id has characters that cannot be stored"],
  ["user_id", { user_id: "\ud800" }, "user_id has characters that cannot be stored"],
  ["user_id", { user_id: "u".repeat(51) }, "user_id has more than 50 characters"],
  ["config_id", { config_id: "c\0" }, "config_id has characters that cannot be stored"],
  ["config_id", { config_id: "\udfff" }, "config_id has characters that cannot be stored"],
  ["config_id", { config_id: "c".repeat(101) }, "config_id has more than 100 characters"],
  ["account_id", { account_id: "a\0" }, "account_id has characters that cannot be stored"],
  ["account_id", { account_id: "\ud800" }, "account_id has characters that cannot be stored"],
  ["account_id", { account_id: "a".repeat(256) }, "account_id has more than 255 characters"],
])("a %s that PostgreSQL would refuse is garbage: %j", (_, fields, reason) => {
  const read = readNotification(JSON.stringify({ account_id: ID, ...fields }), () => true);

  expect(read).toEqual({ kind: "garbage", reason: `its JSON is not a request: ${reason}` });
});

test("a user of 50 characters passes, however many bytes they take", () => {
  const user = "😀".repeat(50);
  const payload = JSON.stringify({ account_id: ID, user_id: user });

  expect(readNotification(payload, isUuid)).toMatchObject({ request: { userId: user } });
});

test("nothing that anybody sends throws", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json(),
        fc.json().map((json) => `{"account_id": ${json}}`),
      ),
      (payload) => {
        expect(["wake", "request", "garbage"]).toContain(
          readNotification(payload, () => true).kind,
        );
      },
    ),
  );
});

test("a payload that is longer than any request is none, whatever it says", () => {
  const payload = JSON.stringify({ account_id: "1", padding: "x".repeat(2_000) });

  expect(readNotification(payload, () => true)).toEqual({
    kind: "garbage",
    reason: "it is longer than any request",
  });
});
