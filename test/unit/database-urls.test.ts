/** Which connection URLs are warned of, and in which words. */
import { expect, test } from "vitest";
import { lookAtEncryption, lookAtUrlParameters } from "../../src/checks/database-urls.ts";
import { parseConnectionUrl } from "../../src/db/connection-url.ts";

test.each([
  [
    "postgres://u:secret@db.example.com/crm",
    /^The connection to db\.example\.com:5432\/crm is not encrypted: DATABASE_URL has no sslmode/,
  ],
  [
    "postgres://u:secret@db.example.com/crm?sslmode=require",
    /is encrypted, but the server is not verified: with sslmode=require in DATABASE_URL/,
  ],
  ["postgres://u:secret@db.example.com/crm?ssl=true", /not verified/],
])("%s", (url, problem) => {
  const [finding, ...more] = lookAtEncryption(on(url));

  expect(finding?.problem).toMatch(problem);
  expect(finding?.remedy).toMatch(/sslmode=verify-full, with sslrootcert=<file>/);
  expect(JSON.stringify(finding)).not.toContain("secret");
  expect(more).toEqual([]);
});

test.each([
  "postgres://db.example.com/crm?sslmode=verify-full",
  "postgres://db.example.com/crm?sslmode=disable",
  "postgres://localhost/crm",
  "postgres://127.0.0.1/crm?sslmode=require",
  "postgres:///crm?host=/cloudsql/project:region:instance",
])("%s is as it should be", (url) => {
  expect(lookAtEncryption(on(url))).toEqual([]);
});

test("each setting has its own findings", () => {
  const connection = parseConnectionUrl("postgres://db/crm?keepalives=0");
  const urls = ["DATABASE_URL", "LISTEN_DATABASE_URL"].map((name) => ({ name, connection }));

  expect(lookAtEncryption({ urls })).toHaveLength(2);
  expect(lookAtUrlParameters({ urls }).map(({ problem }) => problem)).toEqual([
    "DATABASE_URL has keepalives, which account-sync sets itself: the value in the URL is ignored.",
    "LISTEN_DATABASE_URL has keepalives, which account-sync sets itself: the value in the URL is ignored.",
  ]);
});

function on(url: string) {
  return { urls: [{ name: "DATABASE_URL", connection: parseConnectionUrl(url) }] };
}
