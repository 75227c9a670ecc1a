/** What a connection URL may look like, what becomes of each part, and what is refused in which words. */
import { createPrivateKey } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterAll, describe, expect, test } from "vitest";
import { completeUrl, parseConnectionUrl, readConnectionUrl } from "../../src/db/connection-url.ts";
import { connectionOptions } from "../../src/db/own-settings.ts";
import { OWN_SETTINGS, readSessionOptions } from "../../src/db/session-options.ts";
import { OperatorError } from "../../src/operator-error.ts";
import { createAuthority } from "../support/certificates.ts";

const folder = mkdtempSync(join(tmpdir(), "account-sync-test-url-"));
const authority = createAuthority("An authority");
const [mine, other] = ["mine", "other"].map((commonName) => authority.issue({ commonName }));
const CA = write("ca.pem", authority.certificate);
const CERT = write("client.pem", mine?.certificate ?? "");
const KEY = write("client.key", mine?.key ?? "");
const LOCKED_KEY = write("locked.key", withPassword(mine?.key ?? "", "opens"));
const OTHER_KEY = write("other.key", other?.key ?? "");
const GARBAGE = write("garbage.pem", "no certificate");

afterAll(() => rmSync(folder, { recursive: true }));

describe("the forms that libpq knows", () => {
  const plain = { host: "db", port: 5432, user: "u", password: "p", database: "crm" };

  test.each<[url: string, client: object]>([
    ["postgres://u:p@db/crm", plain],
    ["postgresql://u:p@db:5432/crm", plain],
    ["postgres://u:p@db:/crm", plain],
    [" postgres://u:p@db/crm\n", plain],
    ["POSTGRES://u:p@db/crm", plain],
    ["postgres://db/crm?user=u&password=p", plain],
    ["postgres://u:p@other:1/x?host=db&port=5432&dbname=crm", plain],
    ["postgres://db", { host: "db", port: 5432, user: undefined, database: undefined }],
    ["postgres://u@db/", { host: "db", user: "u", password: undefined, database: undefined }],
    ["postgres://", { host: "localhost", port: 5432 }],
    ["postgres:///crm", { host: "localhost", database: "crm" }],
    ["postgres://u:p@/crm?host=/cloudsql/a:b:c", { ...plain, host: "/cloudsql/a:b:c" }],
    ["postgres:///crm?host=/run/postgresql", { host: "/run/postgresql", database: "crm" }],
    ["postgres://u:p@%2Frun%2Fpostgresql/crm", { ...plain, host: "/run/postgresql" }],
    ["postgres://%2Frun%2Fpostgresql:5433/crm", { host: "/run/postgresql", port: 5433 }],
    ["postgres://u:p@[::1]:5433/crm", { ...plain, host: "::1", port: 5433 }],
    ["postgres://[2001:db8::7]/crm", { host: "2001:db8::7" }],
    ["postgres://[fe80::1%25eth0]/crm", { host: "fe80::1%eth0" }],
    ["postgres://a_b/crm", { host: "a_b" }],
    ["postgres://u%40x:p%3A%2F%3F%23%40%25@db/c%20m", { user: "u@x", password: "p:/?#@%" }],
    ["postgres://u:p@ss#1:2@db/crm", { user: "u", password: "p@ss#1:2", host: "db" }],
    ["postgres://u:100%@db/crm", { password: "100%" }],
    ["postgres://u:a+b@db/crm", { password: "a+b" }],
    ["postgres://u:%C3%A9@db/crm", { password: "é" }],
  ])("%s", (url, client) => {
    expect(parseConnectionUrl(url).client).toMatchObject(definedOf(client));
    for (const [name, value] of Object.entries(client))
      if (value === undefined) expect(parseConnectionUrl(url).client).not.toHaveProperty(name);
  });

  test.each([
    ["mysql://db/crm", /must be a URL like postgres:\/\//],
    ["host=db dbname=crm", /must be a URL like/],
    ["postgres:crm", /must be a URL like/],
    ["postgres://a,b/crm", /several hosts/],
    ["postgres://a:1,b:2/crm", /several hosts/],
    ["postgres:///crm?host=a,b", /several hosts/],
    ["postgres://db:none/crm", /no readable host and port/],
    ["postgres://db:70000/crm", /an invalid port/],
    ["postgres:///crm?port=0", /an invalid port/],
    ["postgres:///crm?host=a%20b", /an invalid host/],
    ["postgres://u%00options%00-c@db/crm", /a user that is not percent-encoded text/],
    ["postgres://u:%FF@db/crm", /a password that is not percent-encoded text/],
    ["postgres://db/crm?sslmode=require&sslmode=disable", /sslmode twice/],
    ["postgres://db/crm?host", /not name=value/],
  ])("%s is refused", (url, problem) => {
    expect(problemsOf(url)).toMatch(problem);
  });

  test.each([
    "postgres://u:hunter/2@db/crm",
    "postgres://u:hunter?2@db/crm",
    "postgres://u:12?hunter2@db/crm",
    "postgres://u:12?hunter2=x@db/crm",
    "postgres://u:[hunter@db:x/crm",
    "postgres://u:hunter@@db:x/crm",
    "postgres://u:hunter,a@db,b/crm",
  ])("no part of a password is repeated: %s", (url) => {
    const { problems, connection } = readConnectionUrl(url);

    expect(`${problems} ${connection.ignored} ${connection.place}`).not.toContain("hunter");
  });
});

describe("sslmode", () => {
  const checksNothing = { rejectUnauthorized: false };
  const checksChain = { rejectUnauthorized: true, checkServerIdentity: expect.any(Function) };

  test.each<[query: string, ssl: unknown, isVerified: boolean]>([
    ["", false, false],
    ["sslmode=disable", false, false],
    [`sslmode=disable&sslrootcert=${CA}`, false, false],
    ["sslmode=require", checksNothing, false],
    ["ssl=true", checksNothing, false],
    ["ssl=0", false, false],
    [`sslmode=require&sslrootcert=${CA}`, { ...checksChain, ca: authority.certificate }, true],
    [`sslmode=verify-ca&sslrootcert=${CA}`, { ...checksChain, ca: authority.certificate }, true],
    ["sslmode=verify-full", { rejectUnauthorized: true }, true],
    ["sslrootcert=system", { rejectUnauthorized: true }, true],
    ["sslmode=verify-full&sslrootcert=system", { rejectUnauthorized: true }, true],
    [
      `sslmode=verify-full&sslrootcert=${CA}`,
      { rejectUnauthorized: true, ca: authority.certificate },
      true,
    ],
    [
      `sslmode=require&sslcert=${CERT}&sslkey=${KEY}`,
      { ...checksNothing, cert: mine?.certificate, key: mine?.key },
      false,
    ],
    [
      `sslmode=require&sslcert=${CERT}&sslkey=${LOCKED_KEY}&sslpassword=opens`,
      { ...checksNothing, cert: mine?.certificate, key: expect.any(String), passphrase: "opens" },
      false,
    ],
    [
      "sslmode=require&ssl_min_protocol_version=TLSv1.3",
      { ...checksNothing, minVersion: "TLSv1.3" },
      false,
    ],
  ])("%s", (query, ssl, isVerified) => {
    const connection = parseConnectionUrl(`postgres://db/crm?${query}`);

    expect(connection.client.ssl).toEqual(ssl);
    expect(connection.isVerified).toBe(isVerified);
  });

  test.each([
    ["sslmode=prefer", /sslmode=prefer, which uses clear text/],
    ["sslmode=allow", /sslmode=allow, which uses clear text/],
    ["sslmode=no-verify", /use sslmode=require/],
    ["sslmode=Require", /it must be disable, require, verify-ca or verify-full/],
    ["ssl=maybe", /an invalid value for ssl/],
    ["sslmode=verify-ca", /verify-ca without sslrootcert/],
    ["sslmode=require&sslrootcert=system", /use sslmode=verify-full/],
    [`sslrootcert=${CA}`, /has sslrootcert and no sslmode/],
    ["sslnegotiation=direct", /has sslnegotiation and no sslmode/],
    ["sslnegotiation=direct&sslmode=disable", /sslnegotiation=direct with sslmode=disable/],
    [
      `sslmode=verify-full&sslrootcert=${folder}/none.pem`,
      /none\.pem, which cannot be read: ENOENT/,
    ],
    [`sslmode=verify-full&sslrootcert=${folder}`, /which cannot be read: EISDIR/],
    [`sslmode=verify-full&sslrootcert=${GARBAGE}`, /contains no readable certificate/],
    [`sslmode=require&sslcert=${CERT}`, /sslcert without sslkey/],
    [`sslmode=require&sslkey=${KEY}`, /sslkey without sslcert/],
    [
      `sslmode=require&sslcert=${CERT}&sslkey=${OTHER_KEY}`,
      /check that sslkey is the key of sslcert/,
    ],
    [`sslmode=require&sslcert=${CERT}&sslkey=${GARBAGE}`, /client certificate that cannot be used/],
    [`sslmode=require&sslcert=${CERT}&sslkey=${LOCKED_KEY}`, /and sslpassword the key's password/],
    [
      `sslmode=require&sslcert=${CERT}&sslkey=${LOCKED_KEY}&sslpassword=wrong`,
      /and sslpassword the key's password/,
    ],
    ["sslmode=require&ssl_max_protocol_version=SSLv3", /it must be one of TLSv1,/],
  ])("%s is refused", (query, problem) => {
    expect(problemsOf(`postgres://db/crm?${query}`)).toMatch(problem);
  });

  test("a socket of this machine is never encrypted", () => {
    const { client } = parseConnectionUrl(
      "postgres:///crm?host=/run/postgresql&sslmode=verify-full",
    );

    expect(client.ssl).toBe(false);
  });

  test.each([
    ["localhost", true],
    ["127.0.0.1", true],
    ["127.1.2.3", true],
    ["[::1]", true],
    ["[::ffff:127.0.0.1]", true],
    ["%2Frun%2Fpostgresql", true],
    ["db.example.com", false],
    ["localhost.example.com", false],
    ["10.0.0.1", false],
    ["[2001:db8::1]", false],
  ])("%s is this machine: %s", (host, isLocal) => {
    expect(parseConnectionUrl(`postgres://${host}/crm`).isLocal).toBe(isLocal);
  });
});

describe("the other parameters", () => {
  test.each([
    "gssencmode=prefer",
    "target_session_attrs=read-write",
    "channel_binding=prefer",
    "client_encoding=UTF8",
    "uselibpqcompat=true",
    "sslsni=1",
    "krbsrvname=postgres",
    "options=-c%20geqo%3Doff",
  ])("%s is fine", (query) => {
    const { connection, problems } = readConnectionUrl(`postgres://db/crm?${query}`);

    expect([...problems, ...connection.ignored]).toEqual([]);
  });

  test.each([
    ["gssencmode=require", /use sslmode/],
    ["channel_binding=require", /can prefer channel binding, but not enforce it/],
    ["target_session_attrs=standby", /name the primary/],
    ["load_balance_hosts=random", /name the primary/],
    ["client_encoding=LATIN1", /UTF8 only/],
    ["replication=database", /ordinary session/],
    ["service=crm", /service files are not read/],
    ["hostaddr=10.0.0.1", /as the host/],
    ["sslcrl=/x", /revoked certificates are not read/],
    ["require_auth=scram-sha-256", /cannot enforce a method/],
    ["SSLMODE=verify-full", /SSLMODE, which libpq does not know/],
    ["sslmod=verify-full", /sslmod, which libpq does not know/],
  ])("%s is refused", (query, problem) => {
    expect(problemsOf(`postgres://db/crm?${query}`)).toMatch(problem);
  });

  test.each([
    ["application_name=crm", /application_name, which account-sync sets itself/],
    ["statement_timeout=0", /statement_timeout, which account-sync sets itself/],
    ["query_timeout=0", /query_timeout/],
    ["connect_timeout=10", /connect_timeout/],
    ["keepalives=0", /keepalives/],
    ["pgbouncer=true", /pgbouncer, which is unknown to account-sync/],
    ["options=-c%20array_nulls%3Doff", /sets array_nulls .* which account-sync relies on/],
    ["options=-c%20lock_timeout%3D0", /sets lock_timeout in options=/],
  ])("%s does not count, and that is said", (query, sentence) => {
    const { connection, problems } = readConnectionUrl(`postgres://db/crm?${query}`);

    expect(problems).toEqual([]);
    expect(connection.ignored.join()).toMatch(sentence);
  });
});

describe("options=", () => {
  test.each([
    ["-c geqo=off", "-c geqo=off"],
    ["-cgeqo=off --work-mem=8MB", "-c geqo=off -c work_mem=8MB"],
    ["  -c\tsearch_path=a,\\ b  ", "-c search_path=a,\\ b"],
    ["-c log_line_prefix=a\\\\b", "-c log_line_prefix=a\\\\b"],
    ["endpoint=ep-cool-1", "endpoint=ep-cool-1"],
    ["-c geqo=off -c LOCK_TIMEOUT=0 --row-security=on", "-c geqo=off"],
    ["-c geqo=off\\", "-c geqo=off"],
    ["", ""],
  ])("%s", (text, passedOn) => {
    expect(readSessionOptions(text)).toMatchObject({ text: passedOn, problems: [] });
  });

  test.each(["--", "-c", "-c geqo", "-e", "-f s", "-W 60", "geqo off", "-c =x", "-c -c geqo=off"])(
    "%s is refused",
    (text) => {
      expect(readSessionOptions(text)).toMatchObject({
        text: "",
        problems: [expect.stringContaining("-c name=value")],
      });
    },
  );

  test("a plus is a space in it, as forms write one", () => {
    expect(parseConnectionUrl("postgres://db/crm?options=-c+geqo%3Doff").options).toBe(
      "-c geqo=off",
    );
  });
});

describe("what a URL says takes none of our guards away", () => {
  const common = { applicationName: "account-sync", synchronousCommit: "on" } as const;
  const bare = connectionOptions({
    ...common,
    url: "postgres://db/crm",
    settingsPerTransaction: false,
  });
  // By the names of the server and by those of the driver; what a URL is there to say left out.
  const everything = [...new Set([...OWN_SETTINGS, ...Object.keys(bare), "connect_timeout", "max"])]
    .filter((name) => !/^(?:ssl|client_encoding|port|host|user|options)/.test(name))
    .map((name) => `${name}=1`);

  test.each([false, true])(
    "as a parameter or in options=, settings per transaction: %s",
    (settingsPerTransaction) => {
      const without = connectionOptions({
        ...common,
        url: "postgres://db/crm",
        settingsPerTransaction,
      });
      const options = [...OWN_SETTINGS].map((name) => `-c ${name}=1`).join(" ");
      const url = `postgres://db/crm?${everything.join("&")}&options=${encodeURIComponent(options)}`;

      expect(connectionOptions({ ...common, url, settingsPerTransaction })).toEqual(without);
    },
  );

  test("what it adds stands in front of ours, of which the server takes the later", () => {
    const { options } = connectionOptions({
      ...common,
      url: "postgres://db/crm?options=-c%20geqo%3Doff",
      settingsPerTransaction: false,
    });

    expect(options).toBe(`-c geqo=off ${bare.options}`);
  });

  test("every setting of ours is known as one", () => {
    const set = [...(bare.options ?? "").matchAll(/-c (\w+)=/g)].map(([, name]) => name);

    expect(set.length).toBeGreaterThan(6);
    expect(set.filter((name) => !OWN_SETTINGS.has(name ?? ""))).toEqual([]);
  });

  test("a URL that did not go through the configuration is refused in one sentence", () => {
    const url = "postgres://u:secret@db/crm?sslmode=prefer&replication=on";
    const open = () => connectionOptions({ ...common, url, settingsPerTransaction: false });

    expect(open).toThrow(OperatorError);
    expect(open).toThrow(
      /^The URL of the database has replication=on: .*; it has sslmode=prefer, [^;]*\.$/,
    );
  });
});

describe("libpq's variables", () => {
  const environment = {
    PGHOST: "db",
    PGPORT: "5433",
    PGUSER: "u",
    PGPASSWORD: "p&?#",
    PGDATABASE: "crm",
    PGOPTIONS: "-c geqo=off -c lock_timeout=0",
    PGSSLMODE: "verify-full",
    PGSSLROOTCERT: CA,
  };

  test("fill in what the URL leaves out", () => {
    const { client, options } = parseConnectionUrl(completeUrl("postgres://\n", environment));

    expect(client).toMatchObject({
      host: "db",
      port: 5433,
      user: "u",
      password: "p&?#",
      database: "crm",
      ssl: { rejectUnauthorized: true, ca: authority.certificate },
    });
    expect(options).toBe("-c geqo=off");
  });

  test("change nothing that the URL says", () => {
    const url = "postgres://me:mine@host:1/mydb?sslmode=disable&options=-c%20geqo%3Don";
    const completed = parseConnectionUrl(completeUrl(url, environment));

    expect(completed).toEqual(parseConnectionUrl(url));
  });

  test("name files for sessions that are encrypted, and make none encrypted", () => {
    expect(completeUrl("postgres://db/crm", { PGSSLROOTCERT: CA, PGSSLCERT: CERT })).toBe(
      "postgres://db/crm",
    );
    expect(completeUrl("postgres://db/crm?ssl=false", { PGSSLMODE: "require" })).toBe(
      "postgres://db/crm?ssl=false",
    );
  });

  test("with a mode that falls back are refused", () => {
    expect(problemsOf(completeUrl("postgres://db/crm", { PGSSLMODE: "prefer" }))).toMatch(
      /sslmode=prefer/,
    );
  });

  test("are read by the driver no more, where the URL has been read", () => {
    const variables = {
      PGSSLMODE: "require",
      PGPORT: "1",
      PGHOST: "elsewhere",
      PGOPTIONS: "-c a=b",
    };
    const before = { ...process.env };
    Object.assign(process.env, variables);
    try {
      const client = new pg.Client(
        connectionOptions({
          url: "postgres://u:p@/crm",
          applicationName: "account-sync",
          synchronousCommit: "on",
          settingsPerTransaction: false,
        }),
      );

      expect([client.host, client.port, client.ssl]).toEqual(["localhost", 5432, false]);
    } finally {
      process.env = before;
    }
  });
});

function problemsOf(url: string): string {
  return readConnectionUrl(url).problems.join("\n");
}

function definedOf(client: object): object {
  return Object.fromEntries(Object.entries(client).filter(([, value]) => value !== undefined));
}

function withPassword(key: string, passphrase: string): string {
  const cipher = "aes-256-cbc";
  return createPrivateKey(key)
    .export({ type: "pkcs8", format: "pem", cipher, passphrase })
    .toString();
}

function write(name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

test.each([
  "postgres://app:my@pass/SECRET@db.example.com:5432/crm",
  "postgres://app:12/SECRET@db.example.com:5432/crm",
])("a password that is not encoded is refused, and no part of it is repeated: %s", (url) => {
  const { connection, problems } = readConnectionUrl(url);

  expect(problems).toEqual([expect.stringContaining("write : / ? # @ % as %3A")]);
  expect(JSON.stringify([connection.place, problems])).not.toMatch(/SECRET|my|pass\//);
});
