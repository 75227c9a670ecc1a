import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { toMsisdn } from "../../src/customer-command/phone.ts";

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
  ])("%j becomes %j", (phoneNo, msisdn) => {
    expect(toMsisdn(phoneNo, "ID")).toBe(msisdn);
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
