/** The environment becomes a typed configuration, or a list of every problem in it. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { knownNames, readConfig } from "../../src/config.ts";
import { OperatorError } from "../../src/operator-error.ts";

/** What every setting of an API needs beside itself. */
const OURS = { DATABASE_URL: "postgres://account_sync:secret@db.example.com/crm" };

const folder = mkdtempSync(join(tmpdir(), "account-sync-test-config-"));

afterAll(() => rmSync(folder, { recursive: true }));

test("with nothing set, every setting has the default that is written down", () => {
  const config = readConfig({});

  expect(config).toMatchObject({
    database: { url: null, listenUrl: null, poolMax: 10 },
    api: {
      url: null,
      configId: null,
      updateMethod: "PUT",
      auth: { kind: "none" },
      headers: {},
      tokenStyle: "form",
      insecure: false,
      timeoutMs: 120_000,
      unknownOutcome: null,
      notAppliedStatuses: [429],
      defaultCountry: "ID",
    },
    sync: {
      quietPeriodMs: 1_000,
      maxWaitMs: 10_000,
      concurrency: 16,
      maxAttempts: 0,
      backoff: { minMs: 1_000, maxMs: 900_000 },
      leaseMs: 30_000,
      sweepIntervalMs: 5_000,
      shutdownTimeoutMs: null,
      backfillOnStart: false,
      notify: "auto",
      userId: "account-sync",
      historyRetentionDays: 30,
    },
    http: { host: "127.0.0.1", port: 9464, token: null },
    log: { level: "info" },
  });
  expect(Object.isFrozen(config)).toBe(true);
});

test("certificates that nobody verifies stop everything", () => {
  expect(() => readConfig({ NODE_TLS_REJECT_UNAUTHORIZED: "0" })).toThrow(
    /NODE_TLS_REJECT_UNAUTHORIZED is 0/,
  );
  expect(readConfig({ NODE_TLS_REJECT_UNAUTHORIZED: "1" })).toEqual(readConfig({}));
});

test("an empty variable is one that is not set", () => {
  expect(readConfig({ DATABASE_URL: "", SYNC_LEASE_MS: "", CUSTOMER_API_TOKEN: "" })).toEqual(
    readConfig({}),
  );
});

test("durations may be as small as tests and demonstrations want them", () => {
  const { sync, api } = readConfig({
    ...OURS,
    SYNC_QUIET_PERIOD_MS: "0",
    SYNC_BACKOFF_MIN_MS: "50",
    SYNC_LEASE_MS: "1000",
    SYNC_SWEEP_INTERVAL_MS: "100",
    CUSTOMER_API_TIMEOUT_MS: "100",
  });

  expect([sync.quietPeriodMs, sync.backoff.minMs, sync.leaseMs]).toEqual([0, 50, 1_000]);
  expect([sync.sweepIntervalMs, api.timeoutMs]).toEqual([100, 100]);
});

test.each([
  ["SYNC_LEASE_MS", "soon"],
  ["SYNC_LEASE_MS", "-5"],
  ["SYNC_LEASE_MS", "1e5"],
  ["SYNC_QUIET_PERIOD_MS", "99999999999"],
  ["SYNC_CONCURRENCY", "0"],
  ["HTTP_PORT", "65536"],
  ["HTTP_TOKEN", "short"],
  ["DATABASE_URL", "mysql://localhost/app"],
  ["DATABASE_URL", "app"],
  ["DATABASE_URL", "postgres://db/app?sslmode=prefer"],
  ["LISTEN_DATABASE_URL", "postgres://db/app?sslmode=verify-full&sslrootcert=/nowhere"],
  ["CUSTOMER_API_URL", "ftp://api.example.com"],
  ["CUSTOMER_API_URL", "api.example.com"],
  ["CUSTOMER_API_UPDATE_PATH", "/api/customer"],
  ["CUSTOMER_API_UPDATE_METHOD", "put"],
  ["CUSTOMER_API_HEADERS", "X-Name: value"],
  ["CUSTOMER_API_HEADERS", '{"X-Name": 1}'],
  ["CUSTOMER_API_HEADERS", '{"X Name": "a"}'],
  ["CUSTOMER_API_ALLOWED_ORIGINS", "api.example.com"],
  ["CUSTOMER_API_ALLOWED_ORIGINS", "https://api.example.com/path"],
  ["CUSTOMER_API_INSECURE", "yes"],
  ["CUSTOMER_API_CLIENT_ID", "alone"],
  ["CUSTOMER_API_UNKNOWN_OUTCOME", "guess"],
  ["CUSTOMER_API_NOT_APPLIED_STATUSES", "unavailable"],
  ["CUSTOMER_API_NOT_APPLIED_STATUSES", "429;503"],
  ["CUSTOMER_API_NOT_APPLIED_STATUSES", "429,"],
  ["CUSTOMER_API_NOT_APPLIED_STATUSES", "5xx"],
  ["CUSTOMER_API_NOT_APPLIED_STATUSES", "200"],
  ["CUSTOMER_API_NOT_APPLIED_STATUSES", "409"],
  ["CUSTOMER_API_NOT_APPLIED_STATUSES", "600"],
  ["CUSTOMER_API_NOT_APPLIED_STATUSES", "5030"],
  ["CUSTOMER_API_LOOKUP_PATH", "api/customer?code={account_no}"],
  ["CUSTOMER_API_LOOKUP_PATH", "/api/customer?code={account_number}"],
  ["CUSTOMER_API_LOOKUP_PATH", "/api/customer?code={account_no"],
  ["CUSTOMER_API_LOOKUP_PATH", "/api/customer"],
  ["CUSTOMER_API_MAX_RPS", "2.5"],
  ["ON_ACCOUNT_DELETE", "archive"],
  ["MESSAGES", "fr"],
  ["DEFAULT_COUNTRY", "Indonesia"],
  ["SYNC_NOTIFY", "sometimes"],
  ["SYNC_USER_ID", "x".repeat(51)],
  ["LOG_LEVEL", "loud"],
  ["LOG_FORMAT", "xml"],
])("%s=%s is refused by name, with exit code 2", (name, value) => {
  const error = refusalOf({ ...OURS, [name]: value });

  expect(error.message).toContain(
    name === "CUSTOMER_API_CLIENT_ID" ? "CUSTOMER_API_CLIENT_SECRET is missing" : `${name} `,
  );
  expect(error.exitCode).toBe(2);
});

test("a database's URL is taken in every form that libpq knows, and completed by its variables", () => {
  const url = "postgres://u:p@/db?host=/cloudsql/project:region:instance";

  const { database } = readConfig({ DATABASE_URL: url, PGSSLMODE: "verify-full", PGPORT: "5433" });

  expect(database.url).toBe(`${url}&port=5433&sslmode=verify-full`);
});

test("every problem is listed, not the first one", () => {
  const { message } = refusalOf({
    HTTP_PORT: "no",
    LOG_LEVEL: "loud",
    DATABASE_URL: "mysql://app:s3cret@host/app",
  });

  expect(message).toContain("3 problems");
  for (const name of ["HTTP_PORT", "LOG_LEVEL", "DATABASE_URL"]) expect(message).toContain(name);
  expect(message).not.toContain("s3cret");
});

test.each([
  [{ SYNC_QUIET_PERIOD_MS: "5000", SYNC_MAX_WAIT_MS: "1000" }, "SYNC_MAX_WAIT_MS (1000)"],
  [{ SYNC_BACKOFF_MIN_MS: "5000", SYNC_BACKOFF_MAX_MS: "1000" }, "SYNC_BACKOFF_MAX_MS (1000)"],
  [
    {
      CUSTOMER_API_TOKEN: "t",
      CUSTOMER_API_CLIENT_ID: "id",
      CUSTOMER_API_CLIENT_SECRET: "secret",
    },
    "CUSTOMER_API_TOKEN and CUSTOMER_API_CLIENT_ID are both set",
  ],
])("settings that contradict each other are refused: %o", (environment, message) => {
  expect(refusalOf({ ...OURS, ...environment }).message).toContain(message);
});

test("lookup needs a path to look at, and takes both placeholders", () => {
  const lookup = { ...OURS, CUSTOMER_API_UNKNOWN_OUTCOME: "lookup" };
  const path = "/api/customer/{account_id}?code={account_no}";

  expect(refusalOf(lookup).message).toContain("CUSTOMER_API_LOOKUP_PATH is missing");
  expect(readConfig({ ...lookup, CUSTOMER_API_LOOKUP_PATH: path }).api).toMatchObject({
    unknownOutcome: "lookup",
    lookupPath: path,
  });
});

test("a placeholder that nothing stands for is named", () => {
  const { message } = refusalOf({
    ...OURS,
    CUSTOMER_API_LOOKUP_PATH: "/x?code={account_no}&name={name}",
  });

  expect(message).toContain("{name}, which nothing stands for");
});

test("a secret may come from a file, without the line's end", () => {
  const file = join(folder, "token");
  writeFileSync(file, "from-a-file\n");

  const { api } = readConfig({ ...OURS, CUSTOMER_API_TOKEN_FILE: file });

  expect(api.auth).toEqual({ kind: "static", token: "from-a-file" });
});

test.each(knownNames().filter((name) => name.endsWith("_FILE")))(
  "%s: an empty file is no secret, as with a volume that is not filled yet",
  (name) => {
    const file = join(folder, "empty");
    writeFileSync(file, "\n");

    expect(
      refusalOf({ ...OURS, [name]: file, [name.replace(/_FILE$/, "")]: "" }).message,
    ).toContain(`${name} names an empty file`);
  },
);

test("a secret's file that is not there, or beside the secret itself, is refused", () => {
  expect(refusalOf({ DATABASE_URL_FILE: join(folder, "none") }).message).toContain(
    "DATABASE_URL_FILE cannot be read: ENOENT",
  );
  expect(refusalOf({ HTTP_TOKEN: "12345678", HTTP_TOKEN_FILE: folder }).message).toContain(
    "HTTP_TOKEN and HTTP_TOKEN_FILE are both set",
  );
});

test("client credentials ask below the base URL unless told otherwise", () => {
  const { api } = readConfig({
    ...OURS,
    CUSTOMER_API_CLIENT_ID: "id",
    CUSTOMER_API_CLIENT_SECRET: "secret",
    CUSTOMER_API_TOKEN_STYLE: "json",
  });

  expect(api.auth).toMatchObject({ kind: "client_credentials", tokenUrl: "", style: "json" });
});

function refusalOf(environment: Readonly<Record<string, string>>): OperatorError {
  try {
    readConfig(environment);
  } catch (error) {
    if (error instanceof OperatorError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

test.each([
  ["CUSTOMER_API_URL", "http://api.example.com", /points to http:\/\/api\.example\.com over http/],
  ["CUSTOMER_API_TOKEN_URL", "http://id.example.com/token", /over http/],
  [
    "CUSTOMER_API_ALLOWED_ORIGINS",
    "https://user:s3cretpw@api.example.com",
    /"https:\/\/api\.example\.com\/"/,
  ],
])("%s=%s is refused before anything is started, without its secrets", (name, value, says) => {
  const environment = { DATABASE_URL: "postgres://u@127.0.0.1/x", [name]: value };

  expect(() => readConfig(environment)).toThrow(says);
  expect(() => readConfig(environment)).not.toThrow(/s3cretpw/);
});
