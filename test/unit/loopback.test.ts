/** Which hosts are this machine: http needs no encryption to them, and a console that listens on them needs no token. */
import { expect, test } from "vitest";
import { isLoopback } from "../../src/loopback.ts";

test.each([
  ["localhost", true],
  ["LOCALHOST", true],
  ["127.0.0.1", true],
  ["127.1.2.3", true],
  ["127.255.255.255", true],
  ["::1", true],
  ["[::1]", true],
  ["0:0:0:0:0:0:0:1", true],
  ["0000::0001", true],
  ["0::0:1", true],
  ["::ffff:127.0.0.1", true],
  ["[::ffff:7f00:1]", true],
  ["", false],
  ["0.0.0.0", false],
  ["::", false],
  ["10.0.0.1", false],
  ["128.0.0.1", false],
  ["127.0.0.256", false],
  // No address: a resolver may ask the network for it.
  ["127.0.0.08", false],
  ["127.00.0.1", false],
  ["127.0.0.1.evil.example", false],
  ["localhost.evil.example", false],
  ["notlocalhost", false],
  // A resolver may ask the network for it.
  ["db.localhost", false],
  ["::ffff:10.0.0.1", false],
  ["::ffff:8000:1", false],
  ["0:1", false],
  ["1::1", false],
  ["::1:1", false],
  ["2001:db8::1", false],
  ["/run/postgresql", false],
])("%j is this machine: %s", (host, expected) => {
  expect(isLoopback(host)).toBe(expected);
});
