import fc from "fast-check";
import { parsePhoneNumberFromString } from "libphonenumber-js/max";
import { describe, expect, test } from "vitest";
import { isPossiblePhone, toMsisdn } from "../../src/customer-command/phone.ts";

describe("phone numbers", () => {
  test.each([
    ["081234567890", "+6281234567890"],
    ["6281234567890", "+6281234567890"],
    ["81234567890", "+6281234567890"],
    ["+6281234567890", "+6281234567890"],
    ["+62 (812) 3456-7890", "+6281234567890"],
    ["0812\u20113456\u00a07890", "+6281234567890"],
    ["\u202a+62 812-3456-7890\u202c", "+6281234567890"],
    ["+62 0812 3456 7890", "+6281234567890"],
    ["0062 812 3456 7890", "+6281234567890"],
    ["62812345678", "+62812345678"],
    ["628123456", "+628123456"],
    ["62215551234", "+62215551234"],
    ["(021) 555-1234", "+62215551234"],
    ["+1 202 555 0123", "+12025550123"],
    ["", ""],
    ["  - ", ""],
    ["0812.3456.7890", "+6281234567890"],
    ["(021) 555 1234.", "+62215551234"],
    ["[021] {555} 1234", "+62215551234"],
    ["0812\u20133456\u22127890", "+6281234567890"],
    ["\uff0b\uff16\uff12 \uff08812\uff09 3456\uff0d7890", "+6281234567890"],
    [
      "\u0660\u0668\u0661\u0662 \u0663\u0664\u0665\u0666 \u0667\u0668\u0669\u0660",
      "+6281234567890",
    ],
    [
      "\u06f0\u06f8\u06f1\u06f2-\u06f3\u06f4\u06f5\u06f6-\u06f7\u06f8\u06f9\u06f0",
      "+6281234567890",
    ],
    ["(+62) 812 3456 7890", "+6281234567890"],
    ["\t0812 3456 7890\r\n", "+6281234567890"],
    ["-\n0812 3456 7890", "+6281234567890"],
  ])("%j becomes %j", (phoneNo, msisdn) => {
    expect(toMsisdn(phoneNo, "ID")).toBe(msisdn);
  });

  test.each([
    "021-5551234/35",
    "021 555 1234 / 1235",
    "021/5551234",
    "0812 3456 7890 / 0813 1111 2222",
    "0812 3456 7890, 0813 1111 2222",
    "0812 3456 7890;",
    "0812 3456 7890 & 91",
    "0812 3456 7890\n0813 1111 2222",
    "021 5551\n5552",
    "021 5551\u20285552",
    "021 555 1234 ext. 12",
    "021 555 1234 ext 12",
    "021 555 1234 x12",
    "021 555 1234 pes. 12",
    "021 555 1234 #12",
    "021 555 1234;ext=12",
    "021 555 1234 (12, 13)",
    "021 5551234~35",
    "021 5551234\u301c35",
    "0812 3456 7890 (WA)",
    "WA 0812 3456 7890",
    "tel:+6281234567890",
    "+6281234567890;phone-context=+62",
    "O812 3456 7890",
    "0812-FLOWERS",
    "0812+34567890",
    "62+81234567890",
    "++6281234567890",
    "0812 3456 7890*",
    "0812:3456:7890",
    "0812_3456_7890",
    "0812 3456 789\u00b2",
    "0812 3456 789\u2460",
    "0812 3456 789\u00bd",
    "\u0966\u096e\u0967\u0968 3456 7890",
    "081234567890\u0000",
    "08123456789\u20e3",
  ])("%j holds more than one number, or other characters: not read, and an error", (phoneNo) => {
    const msisdn = toMsisdn(phoneNo, "ID");

    expect(msisdn).not.toMatch(/^\+?\d+$/);
    expect(isPossiblePhone(msisdn, undefined)).toBe(false);
    expect(isPossiblePhone(phoneNo, "ID")).toBe(false);
  });

  test("between its digits a number may hold separators, and nothing else", () => {
    const digits = fc
      .tuple(
        fc.constantFrom("0812", "021", "+62812", "62812", "812", "+6221", "+1202", "0044207"),
        fc.stringMatching(/^[0-9]{6,8}$/),
      )
      .map(([prefix, rest]) => prefix + rest);
    const separator = fc.constantFrom(
      " ",
      "-",
      ".",
      "(",
      ")",
      "[",
      "]",
      "\u00a0",
      "\u2013",
      "\u2212",
      "\u200e",
    );
    const stranger = fc
      .string({ unit: "grapheme", minLength: 1, maxLength: 1 })
      .filter(
        (text) => !/[\p{Nd}\p{Zs}\p{Pd}\p{Cf}\p{Ps}\p{Pe}\s.+\u2212\uff0b\uff0e]/u.test(text),
      );
    fc.assert(
      fc.property(digits, separator, stranger, fc.nat(), (number, between, other, position) => {
        // Not before a plus, and a stranger at any place at which something follows or precedes.
        const at = 1 + (position % (number.length - 1));
        const insert = (text: string) => number.slice(0, at) + text + number.slice(at);
        const msisdn = toMsisdn(number, "ID");

        expect(toMsisdn(insert(between), "ID")).toBe(msisdn);
        expect(isPossiblePhone(toMsisdn(insert(other), "ID"), "ID")).toBe(false);
        expect(isPossiblePhone(toMsisdn(`${number}${other}12`, "ID"), "ID")).toBe(false);
      }),
    );
  });

  test("of an Indonesian number every digit that was written is sent, in this order, or it is an error", () => {
    const prefix = fc.constantFrom("0", "62", "+62", "0062", "+62 0", "(+62) ");
    const rest = fc.string({ unit: fc.constantFrom(..."0123456789 -()./x;,"), maxLength: 16 });
    fc.assert(
      fc.property(prefix, fc.constantFrom("8", "2", "3"), rest, (before, first, after) => {
        const msisdn = toMsisdn(before + first + after, "ID");

        if (isPossiblePhone(msisdn, undefined)) {
          expect(msisdn).toMatch(/^\+62/);
          expect(msisdn.endsWith(first + after.replaceAll(/\D/g, ""))).toBe(true);
          expect(after).not.toMatch(/[/x;,]/);
        }
      }),
      { numRuns: 1_000 },
    );
  });

  test("Indonesian numbers that are read without libphonenumber are read as it reads them", () => {
    const prefix = fc.constantFrom("0", "62", "+62", "");
    const near = fc.stringMatching(/^[28][0-9]{5,13}$/);
    const known = fc.stringMatching(/^(?:8[1-35-9][0-9]{7,10}|2[124][0-9]{7,8})$/);
    fc.assert(
      fc.property(prefix, fc.oneof(near, known), (before, national) => {
        const international = before === "62" ? `+62${national}` : before + national;
        const read = parsePhoneNumberFromString(international, "ID");
        const msisdn = toMsisdn(before + national, "ID");

        // Otherwise 62819737 may have the calling code or not.
        if (read?.isValid() === true) expect(msisdn).toBe(read.number);
        else if (before !== "62") expect(isAssigned(msisdn)).toBe(false);
        expect(isPossiblePhone(msisdn, undefined)).toBe(
          parsePhoneNumberFromString(msisdn)?.isPossible() ?? false,
        );
        expect(toMsisdn(`+62${national}`, "GB")).toBe(toMsisdn(`+62${national}`, "ID"));
      }),
      { numRuns: 2_000 },
    );
  });

  test("a number in its national form is Indonesian only where the default country is", () => {
    expect(toMsisdn("02155512345", "GB")).not.toMatch(/^\+62/);
    expect(toMsisdn("6281234567890", "GB")).toBe("6281234567890");
    expect(toMsisdn("81234567890", "SG")).not.toMatch(/^\+62/);
  });

  test.each([
    ["0812 3456 7890 / 0813 1111 2222", "081234567890/081311112222"],
    ["abc", "abc"],
    ["0812", "0812"],
    ["+999 123", "+999123"],
  ])("%j cannot be read and stays as it is, cleaned", (phoneNo, bare) => {
    expect(toMsisdn(phoneNo, "ID")).toBe(bare);
  });

  test.each([
    ["020 7946 0018", "GB", "+442079460018"],
    ["44 20 7946 0018", "GB", "+442079460018"],
    ["391 234 5678", "IT", "+393912345678"],
    ["39 391 234 5678", "IT", "+393912345678"],
    ["0812 3456 7890", "id", "+6281234567890"],
    ["0812 3456 7890", "??", "081234567890"],
    ["+62 812 3456 7890", "??", "+6281234567890"],
  ])("%j in %s is %s", (phoneNo, country, msisdn) => {
    expect(toMsisdn(phoneNo, country)).toBe(msisdn);
  });

  test("a number of zeros reads as it was sent", () => {
    const msisdn = toMsisdn("000000000", "ID");

    expect(toMsisdn(msisdn, "ID")).toBe(msisdn);
  });

  test("no text makes it throw, and reading its result again changes nothing", () => {
    const phoneLike = fc.string({ unit: fc.constantFrom(..."0123456789+ -()/x.") });

    fc.assert(
      fc.property(fc.oneof(phoneLike, fc.string({ unit: "binary" })), (phoneNo) => {
        const msisdn = toMsisdn(phoneNo, "ID");
        expect(toMsisdn(msisdn, "ID")).toBe(msisdn);
      }),
    );
  });
});

function isAssigned(msisdn: string): boolean {
  return parsePhoneNumberFromString(msisdn)?.isValid() ?? false;
}
