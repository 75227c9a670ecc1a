/** When two ids are the same: GUIDs in either letter case, all others to the last character. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { asItStands, isSameId, toComparableId } from "../../src/same-id.ts";

const GUID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";

describe("two ids", () => {
  test.each<[string, string | null, string | null, boolean]>([
    ["equal ones", "cus_1", "cus_1", true],
    ["a GUID in capitals", GUID, GUID.toUpperCase(), true],
    ["a GUID in mixed case", GUID, GUID.replace("3f", "3F"), true],
    ["two GUIDs", GUID, GUID.replace("3f", "3e"), false],
    ["no GUID, in another letter case", "cus_a", "CUS_A", false],
    ["base64 that differs in case", "dGVzdA==", "dgvzda==", false],
    ["nearly a GUID", `${GUID}0`, `${GUID.toUpperCase()}0`, false],
    ["a GUID and one with a space", GUID, `${GUID} `, false],
    ["a GUID and one with a line end", GUID, `${GUID}\n`, false],
    ["a space in front", "7", " 7", false],
    ["a zero in front", "7", "07", false],
    ["a number in another form", "1000", "1e3", false],
    ["two Unicode forms of one text", "caf\u00e9", "cafe\u0301", false],
    ["letters that look alike", "cus_a", "cus_\u0430", false],
    ["wide digits", "12", "\uff11\uff12", false],
    // The only letters besides a to f whose lower case could be taken for one of a GUID's would be beyond ASCII.
    ["capitals beyond ASCII", GUID, GUID.replace("e", "\u0415"), false],
    ["an id and none", "cus_1", null, false],
    ["none twice", null, null, true],
  ])("%s: %j and %j", (_, one, other, expected) => {
    expect(isSameId(one, other)).toBe(expected);
    expect(isSameId(other, one)).toBe(expected);
    expect(toComparableId(one) === toComparableId(other)).toBe(expected);
  });

  test("that are no GUIDs are the same only where they are equal", () => {
    const anyText = fc.oneof(
      fc.string(),
      fc.string({ unit: "grapheme" }),
      fc.stringMatching(/^[a-fA-F0-9-]{1,40}$/),
    );
    const isGuid = (text: string) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);
    fc.assert(
      fc.property(anyText, anyText, (one, other) => {
        fc.pre(!isGuid(one) && !isGuid(other));
        expect(isSameId(one, other)).toBe(one === other);
        expect(isSameId(one, one.toUpperCase())).toBe(one === one.toUpperCase());
        expect(isSameId(one, ` ${one}`)).toBe(false);
      }),
    );
  });

  test("that are GUIDs are the same in any letter case, and only then", () => {
    fc.assert(
      fc.property(fc.uuid(), fc.uuid(), (one, other) => {
        expect(isSameId(one, one.toUpperCase())).toBe(true);
        expect(isSameId(one, other.toUpperCase())).toBe(one === other);
      }),
    );
  });
});

test.each<[string, string | null, string | null, string | null]>([
  ["the row's spelling of a GUID is kept", GUID.toUpperCase(), GUID, GUID],
  ["another id is handed on", "new", "old", "new"],
  ["the first id is as it came", GUID.toUpperCase(), null, GUID.toUpperCase()],
  ["no id is none", null, "old", null],
])("%s", (_, answered, standing, expected) => {
  expect(asItStands(answered, standing)).toBe(expected);
});
