/** What may be logged of an API's words, and what may not. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { maskPersonal, toOneLine } from "../../src/customer-api/mask.ts";

const body = JSON.stringify({
  customer: {
    name: "Budi Santoso",
    email: "budi@example.test",
    msisdn: "+6281234567890",
    address: { building: "Menara 7", street: "Jl. Melati", city: "Bandung", country: "Indonesia" },
    customer_role: "branch",
    customer_type: "INDIVIDUAL",
    ktp: "3174012345678901",
    npwp: "09.254.294.3-407.000",
  },
  tier: [{ tier_type: "nominal", tier_category: "discount", min_amount: 10 }],
  "customer-crew": [{ name: "Ani", username: "ani.w", email: "", msisdn: "" }],
  branch: { name: "Customer Service Ltd", code: "ACC-7" },
});

describe("personal values", () => {
  test.each([
    ["name Budi Santoso is taken", "name [masked] is taken"],
    ["BUDI SANTOSO is taken", "[masked] is taken"],
    ["hello Budi", "hello [masked]"],
    ["user ani.w exists", "user [masked] exists"],
    ["crew Ani exists", "crew [masked] exists"],
    ["street Jl. Melati unknown", "street [masked] unknown"],
    ["code ACC-7 is taken", "code [masked] is taken"],
    ["ktp 3174012345678901 invalid", "ktp [masked] invalid"],
    ["npwp 09.254.294.3-407.000 invalid", "npwp [masked] invalid"],
    ["npwp 092542943407000 invalid", "npwp [masked] invalid"],
    ["phone 0812 3456 7890 invalid", "phone [masked] invalid"],
    ["phone 0812-3456-7890 invalid", "phone [masked] invalid"],
    ["phone +62 (812) 345-678 invalid", "phone [masked] invalid"],
    ["mail someone.else@other.example bounced", "mail [masked] bounced"],
  ])("%j becomes %j", (text, expected) => {
    expect(maskPersonal(text, body, [])).toBe(expected);
  });

  test("a name inside a longer value leaves nothing of that value behind", () => {
    const nested = JSON.stringify({
      customer: { name: "Sari" },
      branch: { name: "Toko Sari Jaya" },
    });

    expect(maskPersonal("Toko Sari Jaya exists", nested, [])).toBe("[masked] exists");
  });

  test("letters a regular expression reads differently are plain letters in a value", () => {
    const odd = JSON.stringify({ customer: { name: "A.*(x)|[y]{2}^$-z\\d" } });

    expect(maskPersonal("got A.*(x)|[y]{2}^$-z\\d here, not AAA", odd, [])).toBe(
      "got [masked] here, not AAA",
    );
  });

  test("composed and decomposed letters are the same name", () => {
    const composed = JSON.stringify({ customer: { name: "Jos\u00e9" } });

    expect(maskPersonal("Jose\u0301 is taken", composed, [])).toBe("[masked] is taken");
  });

  test("no value of six letters or more survives, whatever it is made of", () => {
    const name = fc
      .string({ minLength: 6, maxLength: 40 })
      .filter((text) => text.trim().length >= 6);

    fc.assert(
      fc.property(name, (value) => {
        const text = `value ${value.trim()} refused`;
        const masked = maskPersonal(text, JSON.stringify({ customer: { name: value } }), []);

        // A value made of the words around it, or of the mask itself, cannot be told from them.
        fc.pre(!"value refused [masked]".includes(value.trim().toLowerCase()));
        expect(masked).not.toContain(value.trim());
      }),
    );
  });
});

describe("harmless words", () => {
  test.each([
    "customer_type must be INDIVIDUAL",
    "tier[0].tier_category discount needs tier_type nominal",
    "customer name must not be blank",
    "customer_role branch is unknown",
    "animal urbanity country Indonesia",
    "limit is 12345",
  ])("%j stays", (text) => {
    expect(maskPersonal(text, body, [])).toBe(text);
  });
});

describe("secrets", () => {
  test.each([
    ["token tok-12 expired", "token [masked] expired"],
    ["Authorization: Bearer abc.def-123", "Authorization: Bearer [masked]"],
    ["sent Basic Y2xpZW50OnNlY3JldA==", "sent Basic [masked]"],
    ["jwt eyJhbGciOi.eyJzdWIi.c2ln here", "jwt [masked] here"],
  ])("%j becomes %j", (text, expected) => {
    expect(maskPersonal(text, null, ["tok-12", ""])).toBe(expected);
  });
});

describe("one line", () => {
  test("line ends, control characters and direction marks become spaces", () => {
    expect(toOneLine(" a\r\n\tb\u0000c\u001b[31md\u202ee\u2028f ")).toBe("a b c [31md e f");
  });

  test("500 characters are the end, whatever came in", () => {
    const masked = maskPersonal(`${"wrong ".repeat(100_000)}`, body, []);

    expect(masked).toHaveLength(500);
    expect(masked.endsWith("…")).toBe(true);
  });

  test("a body that is not JSON leaves the general patterns", () => {
    expect(maskPersonal("mail a@b.example", "{broken", [])).toBe("mail [masked]");
  });
});

test("of a command with more values than can be looked for, no word is let through", () => {
  const crew = Array.from({ length: 2_001 }, (_, n) => ({ name: `Budi Nomor${n}` }));
  const said = "crew Budi Nomor2000 is not welcome";

  expect(maskPersonal(said, JSON.stringify({ crew }), [])).toBe("[masked]");
  expect(maskPersonal(said, JSON.stringify({ crew: crew.slice(2_000) }), [])).toBe(
    "crew [masked] is not welcome",
  );
});
