/** Names that look like ours are told with what was meant, names of other programs are not; and no API is configured without a database. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { knownNames, readConfig, unknownSettings } from "../../src/config.ts";
import { editDistance } from "../../src/edit-distance.ts";
import { OperatorError } from "../../src/operator-error.ts";
import { describeUnknownSetting } from "../../src/unknown-settings.ts";

const DATABASE = "postgres://account_sync:s3cret@db.example.com/crm";
/** Read, but not ours: Node's own. */
const ours = knownNames().filter((name) => !name.startsWith("NODE_"));

const folder = mkdtempSync(join(tmpdir(), "account-sync-test-settings-"));

afterAll(() => rmSync(folder, { recursive: true }));

describe("an unknown setting", () => {
  test.each([
    ["SYNC_QUIT_PERIOD_MS", "SYNC_QUIET_PERIOD_MS"],
    ["SNYC_LEASE_MS", "SYNC_LEASE_MS"],
    ["CUSTMER_API_URL", "CUSTOMER_API_URL"],
    ["CUSTOMER_API_SECRET", "CUSTOMER_API_CLIENT_SECRET"],
    ["DATABSE_URL", "DATABASE_URL"],
    ["DATABASE_URI", "DATABASE_URL"],
    ["LISTEN_DATABASE_UR", "LISTEN_DATABASE_URL"],
    ["DATABASE_MAX_POOL", "DATABASE_POOL_MAX"],
    ["DEFUALT_COUNTRY", "DEFAULT_COUNTRY"],
    ["MESAGES", "MESSAGES"],
    ["LOGLEVEL", "LOG_LEVEL"],
    ["HTTP_TOKN", "HTTP_TOKEN"],
    ["HTTP_TOKEN_FIEL", "HTTP_TOKEN_FILE"],
    ["ON_ACCOUNT_DELET", "ON_ACCOUNT_DELETE"],
    // Only secrets come from files.
    ["SYNC_LEASE_MS_FILE", "SYNC_LEASE_MS"],
    ["database_url", "DATABASE_URL"],
  ])("%s is told with %s", (name, nearest) => {
    expect(unknownSettings({ [name]: "1" })).toMatchObject([{ name, nearest }]);
  });

  test("is asked about where it is near, and told with the nearest where it is not", () => {
    const sentences = unknownSettings({ LOG_DIRECTORY: "/var/log", LOG_LEVL: "info" });

    expect(sentences.map(describeUnknownSetting)).toEqual([
      expect.stringMatching(/^LOG_DIRECTORY is not a setting .* the nearest one is [A-Z_]+$/),
      "LOG_LEVL is not a setting of account-sync and is ignored; did you mean LOG_LEVEL?",
    ]);
  });

  test("is found for every slip in every name", () => {
    const slip = fc.record({
      name: fc.constantFrom(...ours),
      at: fc.nat(),
      kind: fc.constantFrom("miss", "double", "swap", "wrong"),
    });

    fc.assert(
      fc.property(slip, ({ name, at, kind }) => {
        const place = at % (name.length - 1);
        const [before, letter, next, after] = [
          name.slice(0, place),
          name[place] ?? "",
          name[place + 1] ?? "",
          name.slice(place + 2),
        ];
        const slipped = {
          miss: before + next + after,
          double: before + letter + letter + next + after,
          swap: before + next + letter + after,
          wrong: `${before}X${next}${after}`,
        }[kind];
        fc.pre(!knownNames().includes(slipped));

        const [found] = unknownSettings({ [slipped]: "1" });

        expect(found).toMatchObject({ name: slipped, isNear: true });
        // Another name may be as near: SYNC_BACKOFF_MXN_MS.
        expect(editDistance(slipped, found?.nearest ?? "")).toBeLessThanOrEqual(1);
      }),
    );
  });
});

describe("nothing is told of", () => {
  test("any setting that is read, however near another one is", () => {
    expect(unknownSettings(Object.fromEntries(knownNames().map((name) => [name, "1"])))).toEqual(
      [],
    );
  });

  test("an empty variable, which is one that is not set", () => {
    expect(unknownSettings({ SYNC_LEASE: "", DATABSE_URL: "" })).toEqual([]);
  });

  test.each([
    "HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY http_proxy https_proxy no_proxy",
    "NODE_ENV NODE_OPTIONS NODE_EXTRA_CA_CERTS NODE_TLS_REJECT_UNAUTHORIZED npm_config_loglevel npm_package_name NODE_VERSION",
    "PATH HOME HOSTNAME PWD OLDPWD SHELL SHLVL LANG LANGUAGE LC_ALL LC_MESSAGES LOGNAME USER TERM TZ EDITOR PAGER MAIL DISPLAY",
    "PGHOST PGPORT PGUSER PGPASSWORD PGDATABASE PGSSLMODE POSTGRES_USER POSTGRES_PASSWORD POSTGRES_DB",
    "TEST_DATABASE_URL CI NO_COLOR FORCE_COLOR DEBUG PORT HOST TOKEN KUBERNETES_PORT KUBERNETES_SERVICE_HOST INVOCATION_ID JOURNAL_STREAM",
  ])("%s", (names) => {
    const environment = Object.fromEntries(names.split(" ").map((name) => [name, "1"]));

    expect(unknownSettings(environment)).toEqual([]);
  });

  test.each(["http", "database", "log", "sync", "customer-api", "listen-database", "account-sync"])(
    "what Kubernetes sets for a Service named %s",
    (service) => {
      const { HTTP_PORT: _, ...links } = serviceLinks(service);

      expect(unknownSettings(links)).toEqual([]);
      expect(() => readConfig(links)).not.toThrow();
    },
  );
});

test("an HTTP_PORT that Kubernetes has set is refused with the reason and the way out, once", () => {
  const { message } = refusalOf(serviceLinks("http"));

  expect(message).toContain("HTTP_PORT is tcp://10.96.0.7:80");
  expect(message).toContain('a Service named "http"');
  expect(message).toContain("enableServiceLinks: false");
  expect(message).toContain("has a problem:");
});

describe("without a database of one's own", () => {
  const known = knownNames();

  test.each(known.filter((name) => /^(?:CUSTOMER_API|LISTEN_DATABASE)_/.test(name)))(
    "%s is refused",
    (name) => {
      expect(refusalOf({ [name]: "1" }).message).toContain(
        `DATABASE_URL is missing, and ${name} is for a database of your own`,
      );
    },
  );

  test.each(known.filter((name) => /^(?:SYNC|HTTP|LOG)_/.test(name) && !name.endsWith("_FILE")))(
    "%s is not refused for that",
    (name) => {
      expect(messageOf({ [name]: "1" })).not.toContain("DATABASE_URL");
    },
  );

  test.each<[string, Record<string, string>]>([
    ["empty", { DATABASE_URL: "" }],
    ["empty, and its file too", { DATABASE_URL: "", DATABASE_URL_FILE: "" }],
    ["blank", { DATABASE_URL: "  " }],
    ["in a file that is empty", { DATABASE_URL_FILE: fileWith("") }],
    ["in a file that is blank", { DATABASE_URL_FILE: fileWith(" \n") }],
    ["in a file that is not there", { DATABASE_URL_FILE: join(folder, "none") }],
    ["told for LISTEN only", { LISTEN_DATABASE_URL: DATABASE }],
  ])("an API is refused when DATABASE_URL is %s", (_, environment) => {
    const error = refusalOf({ CUSTOMER_API_URL: "https://api.example.com", ...environment });

    expect(error.message).toContain("DATABASE_URL");
    expect(error.exitCode).toBe(2);
  });

  test("a name of the API's that is not known, or a token in a file, is refused as well", () => {
    const { message } = refusalOf({
      CUSTOMER_API_URI: "https://api.example.com",
      CUSTOMER_API_TOKEN_FILE: fileWith("token"),
    });

    expect(message).toContain("CUSTOMER_API_URI and CUSTOMER_API_TOKEN_FILE are for a database");
  });

  test.each([
    ["DATABSE_URL", "app"],
    ["DATABASE_URI", "app"],
    ["DATABASE_URL_FIEL", "/run/secrets/database"],
    ["PGDATABASE", "crm"],
    ["PGHOST", "db.example.com"],
    ["DATABASE_HOST", "db.example.com"],
    ["DB_HOST", "db.example.com"],
    ["POSTGRES_URL", DATABASE],
    ["CRM_DB", DATABASE],
  ])("%s is named as what may be meant", (name, value) => {
    const { message } = refusalOf({ CUSTOMER_API_URL: "https://api.example.com", [name]: value });

    expect(message).toContain(` ${name} is set: did you mean DATABASE_URL?`);
    expect(message).not.toContain("s3cret");
  });

  test("nothing is guessed where nothing is near", () => {
    const { message } = refusalOf({ CUSTOMER_API_URL: "https://api.example.com", PATH: "/bin" });

    expect(message).not.toContain("mean");
  });

  test("an empty setting of the API is none", () => {
    expect(() => readConfig({ CUSTOMER_API_URL: "", CUSTOMER_API_TOKEN_FILE: "" })).not.toThrow();
  });

  test("a caller that brings a database may have an API", () => {
    const environment = { CUSTOMER_API_URL: "https://api.example.com" };

    expect(readConfig(environment, { usesOwnDatabase: true }).api.url).toBe(
      environment.CUSTOMER_API_URL,
    );
  });
});

/** As https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables has them. */
function serviceLinks(service: string): Record<string, string> {
  const name = service.toUpperCase().replaceAll("-", "_");
  return {
    [`${name}_SERVICE_HOST`]: "10.96.0.7",
    [`${name}_SERVICE_PORT`]: "80",
    [`${name}_SERVICE_PORT_WEB`]: "80",
    [`${name}_PORT`]: "tcp://10.96.0.7:80",
    [`${name}_PORT_80_TCP`]: "tcp://10.96.0.7:80",
    [`${name}_PORT_80_TCP_PROTO`]: "tcp",
    [`${name}_PORT_80_TCP_PORT`]: "80",
    [`${name}_PORT_80_TCP_ADDR`]: "10.96.0.7",
  };
}

function fileWith(text: string): string {
  const file = join(mkdtempSync(join(folder, "file-")), "secret");
  writeFileSync(file, text);
  return file;
}

function messageOf(environment: Readonly<Record<string, string>>): string {
  try {
    readConfig(environment);
    return "";
  } catch (error) {
    return error instanceof Error ? error.message : "";
  }
}

function refusalOf(environment: Readonly<Record<string, string>>): OperatorError {
  try {
    readConfig(environment);
  } catch (error) {
    if (error instanceof OperatorError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

test.each(
  "SMTP_HOST SMTP_PORT SFTP_HOST FTP_HOST NTP_HOST TCP_PORT HTTPS_PORT DATABASE_CONNECTION_POOL_URL DATABASE_URL_UNPOOLED DATABASE_PUBLIC_URL DATABASE_PRIVATE_URL".split(
    " ",
  ),
)("%s, which other programs and platforms set, is no misspelled setting", (name) => {
  expect(unknownSettings({ [name]: "value" })).toEqual([]);
});
