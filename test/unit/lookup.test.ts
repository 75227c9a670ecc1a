/** How the answer to a lookup is read. A wrong "not there" makes a second customer, and a wrong "found" takes another account's id. */
import { describe, expect, test } from "vitest";
import {
  type LookupAnswer,
  readLookup,
  type WantedCustomer,
} from "../../src/customer-api/lookup.ts";

const WANTED: WantedCustomer = { accountNo: "A-1", accountId: "local-1", referenceField: null };

/** As an answer to a command. */
const sections = (code: string, id = "cus-1") => ({
  success: true,
  customer: { data: { id, name: "Toko" } },
  branch: { data: { id: "brn-1", code } },
  tier: { data: [{ id: "tier-1", min_amount: 0, max_amount: 10 }] },
  crew: { data: [] },
});
/** The customer itself, with what belongs to it inside. */
const flat = (code: string, id = "cus-1") => ({
  id,
  code,
  name: "Toko",
  tiers: [{ id: "tier-1" }],
});
const many = (count: number) => Array.from({ length: count }, (_, n) => flat(`A-1${n}`, `c-${n}`));

describe("one customer is found where exactly one carries the very number", () => {
  test.each<[string, unknown]>([
    ["an answer like the one to a command", sections("A-1")],
    ["the same, wrapped", { data: sections("A-1") }],
    ["a bare customer", flat("A-1")],
    ["a wrapped customer", { success: true, data: flat("A-1") }],
    ["the number in the branch", { data: { id: "cus-1", branch: { id: "brn-1", code: "A-1" } } }],
    ["the branch's number beside a code of another kind", { ...sections("A-1"), code: "CUS-77" }],
    ["the number under account_no", { id: "cus-1", code: "CUS-77", account_no: "A-1" }],
    ["a list", [flat("A-1")]],
    ["a wrapped list", { data: [sections("A-1")] }],
    ["a twice wrapped list", { data: { data: [flat("A-1")], total: 1 } }],
    ["a list of what begins like it", [flat("A-10", "c-10"), flat("A-1"), flat("A-11", "c-11")]],
    ["a list with everybody", [flat("B-7", "c-7"), flat("A-1"), flat("C-8", "c-8")]],
    ["the same customer twice", [flat("A-1"), flat("A-1")]],
    ["a request id around it", { id: "request-1", data: [flat("A-1")] }],
  ])("%s", (_, body) => {
    expect(read(body)).toMatchObject({
      kind: "one",
      answer: { customer: { items: [{ id: "cus-1" }] } },
    });
  });

  test("F49 the same GUID twice, in either letter case, is one customer", () => {
    const guid = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";

    expect(read([flat("A-1", guid), flat("A-1", guid.toUpperCase())])).toMatchObject({
      kind: "one",
      answer: { customer: { items: [{ id: guid }] } },
    });
    expect(read([flat("A-1", "cus-a"), flat("A-1", "CUS-A")])).toMatchObject({ kind: "unclear" });
  });

  test("F49 our reference in the other letter case is ours where it is a GUID", () => {
    const accountId = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
    const wanted = { ...WANTED, accountId, referenceField: "ref" };

    expect(read({ ...flat("A-1"), ref: accountId.toUpperCase() }, wanted)).toMatchObject({
      kind: "one",
    });
    expect(
      read({ ...flat("A-1"), ref: "LOCAL-1" }, { ...wanted, accountId: "local-1" }),
    ).not.toMatchObject({ kind: "one" });
  });

  test("a number that is a JSON number is its digits", () => {
    expect(read({ id: 7, code: 4711 }, { ...WANTED, accountNo: "4711" })).toMatchObject({
      kind: "one",
      answer: { customer: { items: [{ id: "7" }] } },
    });
  });

  test("its tiers and crew come along, as evidence", () => {
    expect(read({ data: [flat("A-1")] })).toMatchObject({
      answer: { tier: { items: [{ id: "tier-1" }] }, crew: { present: false } },
    });
  });
});

describe("the customer is not there where the answer says so", () => {
  test.each<[string, number, unknown]>([
    ["404 that speaks of the customer", 404, { error: "no customer has this code" }],
    ["404 in Bahasa Indonesia", 404, { message: "pelanggan tidak ditemukan" }],
    ["404 with a code", 404, { code: "CUSTOMER_NOT_FOUND" }],
    ["204", 204, ""],
    ["an empty list", 200, []],
    ["a wrapped empty list", 200, { data: [], total: 0 }],
    ["others, as an inexact search finds them", 200, { data: [flat("A-10"), flat("XA-1", "c-2")] }],
    ["one other", 200, flat("A-10")],
  ])("%s", (_, status, body) => {
    expect(read(body, WANTED, status)).toEqual({ kind: "none" });
  });

  test("an account of ours with the same number has its own reference", () => {
    const wanted = { ...WANTED, referenceField: "ref" };
    const theirs = { ...sections("A-1"), customer: { data: { id: "c", ref: "local-2" } } };

    expect(read(theirs, wanted)).toEqual({ kind: "none" });
  });
});

describe("it is left to a person, with the reason", () => {
  test.each<[string, number, unknown, RegExp]>([
    ["two customers", 200, [flat("A-1", "c-1"), flat("A-1", "c-2")], /^2 customers carry/],
    ["three, among others", 200, [1, 2, 3].map((n) => flat("A-1", `c-${n}`)), /^3 customers carry/],
    ["a customer without a number", 200, { id: "cus-1", name: "Toko" }, /without the number/],
    ["a search that did not search", 200, [flat("B-1"), flat("A-10", "c")], /lists 2 customers/],
    ["a customer without our number", 200, [flat("B-1")], /does not search/],
    ["our number in another case", 200, [flat("a-1")], /another spelling/],
    ["our number without its separator", 200, [flat("A1")], /another spelling/],
    ["our number with leading zeros", 200, [flat("00A-1")], /another spelling/],
    ["ten or more: a page", 200, many(10), /lists 10 customers and may go on/],
    ["a list that counts more", 200, { data: many(2), meta: { total: 31 } }, /may go on/],
    ["a list with a next page", 200, { data: many(2), links: { next: "?page=2" } }, /may go on/],
    ["ours, on a page of more", 200, { data: [flat("A-1")], has_more: true }, /may go on/],
    ["success: false", 200, { success: false, message: "not found" }, /names no customer/],
    ["data: null", 200, { data: null }, /names no customer/],
    ["a word", 200, "none", /names no customer/],
    ["our customer without an id", 200, [{ code: "A-1" }], /no usable id/],
    ["a router's 404", 404, { message: "Route GET:/api/custmer not found" }, /about the path/],
    ["a framework's 404", 404, { statusCode: 404, message: "Cannot GET /x" }, /about the path/],
    ["another framework's", 404, { detail: "Not Found" }, /does not speak of a customer/],
    [
      "a problem document",
      404,
      { title: "Not Found", status: 404 },
      /does not speak of a customer/,
    ],
    ["an empty answer", 404, {}, /does not speak of a customer/],
  ])("%s", (_, status, body, reason) => {
    expect(read(body, WANTED, status)).toEqual({
      kind: "unclear",
      reason: expect.stringMatching(reason),
    });
  });

  test.each(["", "<html>404</html>", "404 page not found"])("a 404 that says only %j", (text) => {
    expect(readLookup({ status: 404, text, link: null }, WANTED)).toMatchObject({
      kind: "unclear",
    });
  });

  test("a list that goes on by its Link header", () => {
    const answer = { status: 200, text: "[]", link: '<https://api/x?page=2>; rel="next"' };

    expect(readLookup(answer, WANTED)).toMatchObject({ kind: "unclear" });
  });

  test("an account without a number, whose reference is not echoed", () => {
    const wanted = { ...WANTED, accountNo: " ", referenceField: "ref" };

    expect(read([flat("A-1")], wanted)).toMatchObject({ kind: "unclear" });
  });
});

test.each(["<html>maintenance</html>", '{"data": [{"id": "cus', ""])(
  "a success without JSON (%j) says nothing, and may pass",
  (text) => {
    expect(readLookup({ status: 200, text, link: null }, WANTED)).toBeNull();
  },
);

test("the reference proves it where it is echoed, whatever the number is", () => {
  const wanted = { ...WANTED, accountNo: "", referenceField: "ref" };

  expect(read([{ ...flat("Z-9"), ref: "local-1" }], wanted)).toMatchObject({ kind: "one" });
});

function read(body: unknown, wanted = WANTED, status = 200) {
  const answer: LookupAnswer = {
    status,
    text: status === 204 ? "" : JSON.stringify(body),
    link: null,
  };
  return readLookup(answer, wanted);
}
