/** The key of a create: the same for the same create, and for no other. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { createKeyOf, uuidV5 } from "../../src/sync/idempotency-key.ts";

const OURS = "0192a6e0-0000-4000-8000-000000000001";

test("a UUIDv5, as in the example of RFC 9562", () => {
  expect(uuidV5("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "www.example.com")).toBe(
    "2ed6657d-e927-568b-95e1-2665a8aea6a2",
  );
});

test("derived from installation, account and ordinal, and from nothing else", () => {
  const create = fc.record({
    installation: fc.uuid(),
    account: fc.oneof(fc.uuid(), fc.nat().map(String), fc.string({ minLength: 1 })),
    ordinal: fc.nat({ max: 1_000 }),
  });
  const keyOf = ({
    installation,
    account,
    ordinal,
  }: {
    installation: string;
    account: string;
    ordinal: number;
  }) => createKeyOf(installation, account, ordinal);
  fc.assert(
    fc.property(create, create, (one, other) => {
      const isSame =
        one.installation === other.installation &&
        one.account === other.account &&
        one.ordinal === other.ordinal;
      expect(keyOf(one) === keyOf(other)).toBe(isSame);
      expect(keyOf(one)).toBe(keyOf({ ...one }));
    }),
  );
});

test("the accounts 1 and 11 with ordinals that read alike have keys of their own", () => {
  expect(createKeyOf(OURS, "1", 10)).not.toBe(createKeyOf(OURS, "1 1", 0));
});
