/**
 * A PostgreSQL that offers TLS, requires it, or has none, with the right certificate and with wrong ones: every mode of libpq does what
 * libpq does, and who has to set something else is told so in a sentence by the real commands.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { explained } from "../../src/db/explained.ts";
import { migrate } from "../../src/db/migrate.ts";
import { connectionOptions } from "../../src/db/own-settings.ts";
import { createAccountSync } from "../../src/index.ts";
import { runSqlPrompt } from "../../src/local/sql-prompt.ts";
import { OperatorError } from "../../src/operator-error.ts";
import { createAuthority, type Issued, issueSelfSigned } from "../support/certificates.ts";
import { eventually } from "../support/eventually.ts";
import { startPooler } from "../support/pooler.ts";
import { startProcess } from "../support/process.ts";
import { createProduct } from "../support/product.ts";
import {
  startTlsPostgres,
  TLS_ONLY,
  type TlsPostgres,
  WITH_CERTIFICATE,
} from "../support/tls-postgres.ts";

const folder = mkdtempSync(join(tmpdir(), "account-sync-test-tls-"));
const authority = createAuthority("The provider's authority");
const stranger = createAuthority("Another authority");
const localhost = { commonName: "db", hosts: ["localhost"] };
const right = authority.issue(localhost);
const selfSigned = issueSelfSigned(localhost);
const CA = write("ca.pem", authority.certificate);
const WRONG_CA = write("wrong-ca.pem", stranger.certificate);
const SERVER_CERT = write("server.pem", selfSigned.certificate);
const clients = createAuthority("The clients' authority");
const client = clients.issue({ commonName: "account-sync" });
const CLIENT = `sslcert=${write("client.pem", client.certificate)}&sslkey=${write("client.key", client.key)}`;
/** This machine too, by an address that is not its loopback's: what remote databases are told. */
const REMOTE = "0.0.0.0";
/** In the certificate is the name, and not the address. */
const WRONG_NAME = "127.0.0.1";

let postgres: TlsPostgres;

beforeAll(async () => {
  postgres = await startTlsPostgres(clients.certificate);
  await migrate({ url: postgres.server.url, info: () => {} });
});

afterAll(() => rmSync(folder, { recursive: true }));

type Outcome = "encrypted" | "clear" | RegExp;
type Place = { readonly host?: string; readonly user?: string };
type Row = [query: string, outcome: Outcome, place?: Place];

describe("a server with a certificate of a provider's authority", () => {
  beforeAll(() => postgres.serve(right, authority.certificate));

  test.each<Row>([
    ["", "clear"],
    ["sslmode=disable", "clear"],
    ["sslmode=require", "encrypted"],
    ["sslmode=require", "encrypted", { host: WRONG_NAME }],
    ["sslmode=require&sslnegotiation=direct", "encrypted"],
    ["sslmode=require&channel_binding=prefer", "encrypted"],
    [`sslmode=require&sslrootcert=${CA}`, "encrypted"],
    [`sslmode=require&sslrootcert=${CA}`, "encrypted", { host: WRONG_NAME }],
    [`sslmode=require&sslrootcert=${WRONG_CA}`, /SELF_SIGNED_CERT_IN_CHAIN.*does not contain/s],
    [`sslmode=verify-ca&sslrootcert=${CA}`, "encrypted"],
    [`sslmode=verify-ca&sslrootcert=${CA}`, "encrypted", { host: WRONG_NAME }],
    [`sslmode=verify-ca&sslrootcert=${WRONG_CA}`, /SELF_SIGNED_CERT_IN_CHAIN.*does not contain/s],
    [`sslmode=verify-full&sslrootcert=${CA}`, "encrypted"],
    [
      `sslmode=verify-full&sslrootcert=${CA}`,
      /another name: .*sslmode=verify-ca/s,
      { host: WRONG_NAME },
    ],
    [`sslmode=verify-full&sslrootcert=${WRONG_CA}`, /SELF_SIGNED_CERT_IN_CHAIN.*does not contain/s],
    ["sslmode=verify-full", /SELF_SIGNED_CERT_IN_CHAIN.*add sslrootcert=<file>/s],
    ["sslrootcert=system", /SELF_SIGNED_CERT_IN_CHAIN.*add sslrootcert=<file>/s],
    ["", /refused a session that is not encrypted: .*add sslmode=verify-full/s, { user: TLS_ONLY }],
    ["sslmode=disable", /refused a session that is not encrypted/, { user: TLS_ONLY }],
    [`sslmode=verify-full&sslrootcert=${CA}`, "encrypted", { user: TLS_ONLY }],
    ["sslmode=require", /requires a client certificate.*Add sslcert/s, { user: WITH_CERTIFICATE }],
    [`sslmode=require&${CLIENT}`, "encrypted", { user: WITH_CERTIFICATE }],
    ["sslmode=require&ssl_min_protocol_version=TLSv1.3", "encrypted"],
  ])("%s: %s (%o)", tryConnection);

  test("a socket of this machine needs none of it", async () => {
    const { password, port } = new URL(postgres.server.url);
    const url = `postgres://postgres:${password}@/postgres?host=${postgres.socketDir}&port=${port}&sslmode=verify-full`;

    expect(await connect(url)).toBe("clear");
  });
});

/** [what the server shows, the chain with it, what is asked for, what comes of it] */
describe.each<[what: string, issued: () => Issued, rows: Row[]]>([
  [
    "a certificate that it issued itself",
    () => selfSigned,
    [
      ["sslmode=require", "encrypted"],
      ["sslmode=verify-full", /DEPTH_ZERO_SELF_SIGNED_CERT.*copy that certificate into a file/s],
      [`sslmode=verify-full&sslrootcert=${CA}`, /DEPTH_ZERO_SELF_SIGNED_CERT.*not the one in/s],
      [`sslmode=verify-full&sslrootcert=${SERVER_CERT}`, "encrypted"],
    ],
  ],
  [
    "a certificate without its chain",
    () => right,
    [
      ["sslmode=verify-full", /UNABLE_TO_VERIFY_LEAF_SIGNATURE.*add sslrootcert=<file>/s],
      [`sslmode=verify-full&sslrootcert=${CA}`, "encrypted"],
    ],
  ],
  [
    "a certificate that has expired",
    () => authority.issue({ ...localhost, validUntil: new Date(Date.now() - 60_000) }),
    [
      ["sslmode=require", "encrypted"],
      [`sslmode=verify-ca&sslrootcert=${CA}`, /CERT_HAS_EXPIRED.*Renew the certificate/s],
    ],
  ],
  [
    "a certificate of tomorrow",
    () => authority.issue({ ...localhost, validFrom: new Date(Date.now() + 3_600_000) }),
    [[`sslmode=verify-ca&sslrootcert=${CA}`, /CERT_NOT_YET_VALID.*clock/s]],
  ],
])("a server with %s", (_, issued, rows) => {
  beforeAll(() => postgres.serve(issued()));

  test.each<Row>(rows)("%s: %s", tryConnection);
});

describe("a server without TLS", () => {
  beforeAll(() => postgres.stopTls());

  test.each<Row>([
    ["", "clear"],
    ["sslmode=disable", "clear"],
    ["sslmode=require", /does not offer TLS, which sslmode=require needs.*sslmode=disable/s],
    [`sslmode=verify-ca&sslrootcert=${CA}`, /does not offer TLS, which sslmode=verify-ca needs/],
    ["sslmode=verify-full", /does not offer TLS, which sslmode=verify-full needs/],
  ])("%s: %s", tryConnection);

  test("is told by `migrate`, which has done nothing then", async () => {
    const { code, said } = await run(["migrate"], {
      DATABASE_URL: postgres.url("sslmode=require"),
    });

    expect(said).toMatch(/does not offer TLS, which sslmode=require needs/);
    expect(code).toBe(1);
  });
});

describe("told by the commands", () => {
  beforeAll(() => postgres.serve(right, authority.certificate));

  test.each<[what: string, query: string, user: string, said: RegExp, code: number]>([
    [
      "a server that demands TLS",
      "",
      TLS_ONLY,
      /refused a session that is not encrypted.*add sslmode=verify-full/s,
      1,
    ],
    [
      "an unknown authority",
      "sslmode=verify-full",
      "postgres",
      /SELF_SIGNED_CERT_IN_CHAIN.*add sslrootcert=<file>/s,
      1,
    ],
    [
      "a mode that falls back",
      "sslmode=prefer",
      "postgres",
      /has a problem:\s+DATABASE_URL has sslmode=prefer/,
      2,
    ],
    [
      "a file that is not there",
      "sslmode=verify-full&sslrootcert=/nowhere/ca.pem",
      "postgres",
      /has a problem:\s+DATABASE_URL has sslrootcert=\/nowhere\/ca\.pem, which cannot be read: ENOENT/,
      2,
    ],
  ])("%s, by `migrate`", async (_, query, user, wanted, expectedCode) => {
    const { code, said } = await run(["migrate"], { DATABASE_URL: postgres.url(query, { user }) });

    expect(said).toMatch(wanted);
    expect(said).not.toMatch(/not foreseen|Deprecation|p%2Fw/);
    expect(code).toBe(expectedCode);
  });

  test.each(["doctor", "start"])("a server that demands TLS, by `%s`", async (command) => {
    const { code, said } = await run([command], {
      DATABASE_URL: postgres.url("", { user: TLS_ONLY }),
      HTTP_PORT: "0",
    });

    expect(said).toMatch(/refused a session that is not encrypted.*add sslmode=verify-full/s);
    expect(code).toBe(1);
  });

  test("where nothing is missing `migrate` works, also when libpq's variables say how", async () => {
    const { code, said } = await run(["migrate"], {
      DATABASE_URL: postgres.url("", { user: TLS_ONLY }),
      PGSSLMODE: "verify-full",
      PGSSLROOTCERT: CA,
    });

    expect(said).toMatch(/there already, nothing to do/);
    expect(code).toBe(0);
  });

  test("`doctor` warns of a remote database in clear text, of one that is not verified, and of what does not count", async () => {
    const { code, stdout } = await run(["doctor", "--json"], {
      DATABASE_URL: postgres.url("sslmode=require&pgbouncer=true", { host: REMOTE }),
      LISTEN_DATABASE_URL: postgres.url("", { host: REMOTE, user: TLS_ONLY }),
      CUSTOMER_API_URL: "http://127.0.0.1:9",
    });

    const found = findingsIn(stdout);
    expect(found["encryption"]).toMatchObject({
      status: "warning",
      findings: [
        {
          problem: expect.stringMatching(
            /is encrypted, but the server is not verified: with sslmode=require in DATABASE_URL/,
          ),
        },
        { problem: expect.stringMatching(/is not encrypted: LISTEN_DATABASE_URL has no sslmode/) },
      ],
    });
    expect(found["listen"]).toMatchObject({
      status: "not_checked",
      findings: [{ problem: expect.stringContaining("refused a session that is not encrypted") }],
    });
    expect(found["url_parameters"]).toMatchObject({
      status: "warning",
      findings: [{ problem: "DATABASE_URL has pgbouncer, which is unknown to account-sync." }],
    });
    // Nothing listens at port 9.
    expect(code).toBe(1);
  });

  test("`doctor` finds nothing about a remote database that is verified", async () => {
    const { stdout } = await run(["doctor", "--json"], {
      DATABASE_URL: postgres.url(`sslmode=verify-ca&sslrootcert=${CA}`, { host: REMOTE }),
    });

    expect(findingsIn(stdout)).toMatchObject({
      connection: { status: "ok" },
      listen: { status: "ok" },
      encryption: { status: "ok" },
      url_parameters: { status: "ok" },
    });
  });

  test("the SQL prompt keeps to the mode, and says the same", async () => {
    const url = postgres.url(`sslmode=verify-full&sslrootcert=${CA}`, { host: WRONG_NAME });

    expect(await prompt(url)).toMatch(/^ERROR: The certificate of .* is for another name.*HINT: /s);
    expect(await prompt(postgres.url(`sslmode=verify-full&sslrootcert=${CA}`))).toMatch(/\n1\n/);
  });

  test("the library throws it, with what to do", async () => {
    const opening = createAccountSync({ database: postgres.url("", { user: TLS_ONLY }) });

    await expect(opening).rejects.toMatchObject({
      message: expect.stringContaining("refused a session that is not encrypted"),
      hint: expect.stringContaining("add sslmode=verify-full"),
    });
  });

  test("a proxy that takes no startup options is told from a statement that is wrong", async () => {
    const refusal = {
      code: "0A000",
      message: "Feature not supported: RDS Proxy currently doesn't support command-line options.",
    };
    const url = await startPooler(postgres.server.url, { refusesSettings: true, refusal });

    const { code, said } = await run(["migrate"], { DATABASE_URL: url });

    expect(said).toMatch(/does not take the settings of a session.*set LISTEN_DATABASE_URL/s);
    expect(code).toBe(1);
  });
});

describe("a daemon over TLS", () => {
  beforeAll(() => postgres.serve(right, authority.certificate));

  test("has every session encrypted, and goes on after a certificate that it did not take", async () => {
    const { database } = postgres;
    const url = postgres.url(`sslmode=verify-full&sslrootcert=${CA}`, { user: TLS_ONLY });
    const product = await createProduct({ on: database });
    const daemon = await product.start({ DATABASE_URL: url });
    const sessions = () =>
      database.query(
        `select s.ssl from pg_stat_activity a join pg_stat_ssl s using (pid) where a.usename = '${TLS_ONLY}'`,
      );
    const states = () => database.query("select state, error_class from account_sync.status");

    await eventually(async () => expect(await daemon.metric("listener_up")).toBe(1));
    const encrypted = await sessions();
    expect(encrypted.length).toBeGreaterThan(2);
    expect(encrypted.every(({ ssl }) => ssl === true)).toBe(true);

    // No session can be opened: the certificate is one of an authority that the daemon does not trust.
    await postgres.serve(stranger.issue(localhost));
    await database.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where usename = '${TLS_ONLY}'`,
    );
    await database.query("insert into m_account (name, is_active) values ('Toko', true)");
    await eventually(() =>
      expect(daemon.log.join("\n")).toContain("UNABLE_TO_VERIFY_LEAF_SIGNATURE"),
    );
    expect(product.requests()).toEqual([]);

    await postgres.serve(right, authority.certificate);
    await eventually(async () => expect(product.requests()).toHaveLength(1), { timeoutMs: 20_000 });
    await eventually(async () =>
      expect(await states()).toEqual([{ state: "clean", error_class: null }]),
    );
  });

  test("says at its start that the way to a remote database is in clear text", async () => {
    const product = await createProduct({ on: postgres.database });

    const daemon = await product.start({ DATABASE_URL: postgres.url("", { host: REMOTE }) });

    expect(daemon.log.join("\n")).toMatch(/is not encrypted: DATABASE_URL has no sslmode/);
    expect(await daemon.metric("check_ok", { check: "encryption" })).toBe(0);
  });
});

async function tryConnection(query: string, outcome: Outcome, place?: Place): Promise<void> {
  const came = await connect(postgres.url(query, place));

  if (typeof outcome === "string") expect(came).toBe(outcome);
  else expect(came).toMatch(outcome);
}

/** What the server says of the session; or the sentence about why there is none, and what to do. */
async function connect(url: string): Promise<string> {
  const session = new pg.Client(
    connectionOptions({
      url,
      applicationName: "database-tls.test",
      settingsPerTransaction: false,
      synchronousCommit: "on",
    }),
  );
  session.on("error", () => {});
  try {
    await session.connect();
    const { rows } = await session.query<{ ssl: boolean }>(
      "select ssl from pg_stat_ssl where pid = pg_backend_pid()",
    );
    return rows[0]?.ssl === true ? "encrypted" : "clear";
  } catch (error) {
    const sentence = explained(error, url);
    if (!(sentence instanceof OperatorError)) throw error;
    return `${sentence.message}\n${sentence.hint}`;
  } finally {
    await session.end().catch(() => {});
  }
}

async function run(args: readonly string[], environment: Readonly<Record<string, string>>) {
  const process = startProcess({ args, env: environment });
  const { code } = await process.exit;
  const stdout = process.stdout.join("\n");
  return { code, stdout, said: [stdout, ...process.stderr].join("\n") };
}

function findingsIn(lines: string): Record<string, unknown> {
  const results = lines.split("\n").map((line) => JSON.parse(line) as { check: string });
  return Object.fromEntries(results.map((result) => [result.check, result]));
}

async function prompt(url: string): Promise<string> {
  const input = new PassThrough();
  const output = new PassThrough();
  input.end("select 1 as one;\n");
  await runSqlPrompt({ url, input, output });
  return String(output.read());
}

function write(name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}
