/** `account-sync doctor` as a process: what it says about a good installation, and about each way in which one can be bad. */
import { once } from "node:events";
import { createServer as createHttpServer, type RequestListener } from "node:http";
import { createServer } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { toApiFindings } from "../../src/cli/api-findings.ts";
import type { ApiConnection } from "../../src/customer-api/customer-api.ts";
import { createExchange } from "../../src/customer-api/exchange.ts";
import { tryCredentials } from "../../src/customer-api/trial.ts";
import { migrate } from "../../src/db/migrate.ts";
import { type Sandbox, startSandbox } from "../../src/local/sandbox.ts";
import { createDatabase, type TestDatabase } from "../support/postgres.ts";
import { startProcess } from "../support/process.ts";
import { apiEnvironment } from "../support/product.ts";
import { createRole, LEAST_GRANTS, type TestRole } from "../support/roles.ts";

interface Said {
  readonly check: string;
  readonly status: "ok" | "warning" | "failed" | "not_checked";
  readonly severity: "failure" | "warning";
  readonly findings: readonly { readonly problem: string; readonly remedy: string }[];
}

let sandbox: Sandbox;
let database: TestDatabase;
let role: TestRole;

beforeAll(async () => {
  sandbox = await startSandbox();
  database = await createDatabase();
  role = await createRole(database, LEAST_GRANTS);
  await migrate({ url: role.url, info: () => {} });
});

afterAll(() => sandbox.close());

test("where all is well every check is ok, for people and for programs, and the exit code is 0", async () => {
  const [forPeople, forPrograms] = await Promise.all([run(), run({ json: true })]);

  expect(forPeople).toMatchObject({ code: 0, stderr: "" });
  expect(forPeople.stdout).toMatch(/^ok +triggers +the capture triggers are present/m);
  expect(forPeople.stdout).toMatch(/22 checks: none failed\.\n$/);
  expect(forPrograms).toMatchObject({ code: 0, stderr: "" });
  expect(toResults(forPrograms.stdout).map(({ check, status }) => `${check} ${status}`)).toEqual(
    [
      "configuration connection server_version server_writable schema_version source_tables triggers row_security rights",
      "excess_rights listen sequences markers api_configuration notification_queue prepared_transactions connections dump_rights clock encryption url_parameters api_credentials",
    ].flatMap((names) => names.split(" ").map((name) => `${name} ok`)),
  );
});

test("it asks for a token and sends nothing else", async () => {
  await sandbox.reset();

  await run();

  expect(sandbox.history().map(({ operation }) => operation)).toEqual(["token"]);
});

test("what is broken is one sentence and what to do, and the exit code is 1", async () => {
  await database.query(
    `alter table m_account disable trigger m_account_capture_update; revoke select on m_account_pic from ${role.name}`,
  );

  const [forPeople, forPrograms] = await Promise.all([run(), run({ json: true })]);
  await database.query(
    `alter table m_account enable trigger m_account_capture_update; grant select on m_account_pic to ${role.name}`,
  );

  expect(forPeople.code).toBe(1);
  expect(forPeople.stdout).toMatch(
    /^FAILED +triggers +Trigger m_account_capture_update on m_account is disabled/m,
  );
  expect(forPeople.stdout).toContain("→ alter table m_account enable trigger");
  expect(forPeople.stdout).toMatch(/2 failed\.\n$/);
  expect(forPrograms.code).toBe(1);
  expect(failed(forPrograms.stdout)).toEqual(["triggers failed", "rights failed"]);
});

test("a warning fails nothing", async () => {
  const { code, stdout } = await run({ env: { DATABASE_URL: database.url } });

  expect(code).toBe(0);
  expect(stdout).toMatch(/^WARNING +excess_rights +Role \w+ is a superuser\.$/m);
});

test("an unmigrated database is told to migrate, and a role that cannot is told why", async () => {
  const unmigrated = await createDatabase();
  const poor = await createRole(unmigrated, "");

  const { code, stdout } = await run({ json: true, env: { DATABASE_URL: poor.url } });

  expect(code).toBe(1);
  expect(failed(stdout)).toEqual(["schema_version failed", "triggers failed", "rights failed"]);
  const said = toResults(stdout).flatMap(({ findings }) => findings);
  expect(said.map(({ remedy }) => remedy)).toEqual(
    expect.arrayContaining([
      expect.stringContaining("account-sync migrate"),
      `create schema account_sync authorization ${poor.name};`,
      expect.stringContaining(
        `grant select, update (uuid_be, branch_uuid_be, updated_by, updated_at), trigger on public.m_account to ${poor.name};`,
      ),
    ]),
  );
});

describe("what cannot be reached", () => {
  test("a database that is down is one failed check, and the others say that they could not be run", async () => {
    const { code, stdout } = await run({
      json: true,
      env: { DATABASE_URL: `postgres://nobody@127.0.0.1:${await freePort()}/nowhere` },
    });

    expect(code).toBe(1);
    const [configuration, connection, ...others] = toResults(stdout);
    expect(configuration?.status).toBe("ok");
    expect(connection).toMatchObject({
      check: "connection",
      status: "failed",
      findings: [{ problem: expect.stringContaining("ECONNREFUSED") }],
    });
    expect(others).toHaveLength(20);
    expect(others.every(({ status }) => status === "not_checked")).toBe(true);
  });

  test("a login that is refused says so", async () => {
    const url = new URL(role.url);
    url.password = "wrong-secret";

    const { code, stdout } = await run({ env: { DATABASE_URL: url.href } });

    expect(code).toBe(1);
    expect(stdout).toMatch(/22 checks: 1 failed, 20 not checked\.\n$/);
    expect(stdout).toMatch(/^FAILED +connection .*refused the login/m);
    expect(stdout).not.toContain("wrong-secret");
  });

  test("an API that is down fails its token, and nothing else", async () => {
    const { code, stdout } = await run({
      json: true,
      env: { CUSTOMER_API_URL: `http://127.0.0.1:${await freePort()}` },
    });

    expect(code).toBe(1);
    expect(failed(stdout)).toEqual(["api_credentials failed"]);
    expect(stdout).toContain("a daemon may start meanwhile");
  });

  test("https to a port that speaks http says so, for the token and for the API", async () => {
    const url = sandbox.url.replace("http:", "https:");

    const asked = [
      await run({ env: { CUSTOMER_API_URL: url } }),
      await run({
        env: {
          CUSTOMER_API_URL: url,
          CUSTOMER_API_CLIENT_ID: "",
          CUSTOMER_API_CLIENT_SECRET: "",
          CUSTOMER_API_TOKEN: "some-token",
        },
      }),
    ];

    for (const { stdout } of asked) {
      expect(stdout).toMatch(
        /^FAILED +api_credentials .*ERR_SSL_\w+, what answers there does not speak TLS: speak http there, or https on another port\.$/m,
      );
    }
  });

  test("a token that is refused says which settings to look at, and no secret", async () => {
    const { code, stdout } = await run({ env: { CUSTOMER_API_CLIENT_SECRET: "wrong-secret" } });

    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^FAILED +api_credentials +The token endpoint \S+ gave no token \(401 [^;]*\)\.\n +→ Check CUSTOMER_API_CLIENT_ID, CUSTOMER_API_CLIENT_SECRET, CUSTOMER_API_SCOPE, /m,
    );
    expect(stdout).toMatch(/22 checks: 1 failed\.\n$/);
    expect(stdout).not.toContain("wrong-secret");
  });

  test("without anywhere to send, it says what to set", async () => {
    const { code, stdout } = await run({
      json: true,
      env: { CUSTOMER_API_URL: "", CUSTOMER_API_CLIENT_ID: "", CUSTOMER_API_CLIENT_SECRET: "" },
    });

    expect(code).toBe(1);
    // Without CUSTOMER_API_URL a row has to say where, and this role may not read the rows.
    expect(failed(stdout)).toEqual(expect.arrayContaining(["rights failed"]));
    expect(stdout).toContain("grant select on public.m_backend_ext_config");
  });
});

describe("credentials are tried with a request that changes nothing", () => {
  const noCredentials = { CUSTOMER_API_CLIENT_ID: "", CUSTOMER_API_CLIENT_SECRET: "" };

  test.each([
    [
      "a wrong static token",
      { ...noCredentials, CUSTOMER_API_TOKEN: "wrong-secret" },
      "CUSTOMER_API_TOKEN",
    ],
    ["no credentials at all", noCredentials, "requests without credentials"],
    [
      "a wrong static token where customers can be looked up",
      {
        ...noCredentials,
        CUSTOMER_API_TOKEN: "wrong-secret",
        CUSTOMER_API_LOOKUP_PATH: "/api/customer?code={account_no}",
      },
      "/api/customer, a request",
    ],
  ])("%s fails, and is told from an API that is down", async (_name, env, says) => {
    const { code, stdout } = await run({ json: true, env });

    expect(code).toBe(1);
    expect(failed(stdout)).toEqual(["api_credentials failed"]);
    expect(stdout).toContain("it answered 401 to GET");
    expect(stdout).toContain(says);
    expect(stdout).not.toContain("wrong-secret");
  });

  test("the right static token passes, and nothing is created", async () => {
    await sandbox.reset();
    const env = { ...noCredentials, CUSTOMER_API_TOKEN: sandbox.staticToken };

    const plain = await run({ json: true, env });
    const lookup = { CUSTOMER_API_LOOKUP_PATH: "/api/customer?code={account_no}" };
    const byLookup = await run({ json: true, env: { ...env, ...lookup } });

    expect([plain.code, byLookup.code]).toEqual([0, 0]);
    expect(
      sandbox.history().map(({ method, operation, status }) => [method, operation, status]),
    ).toEqual([["GET", "lookup", 404]]);
    expect(sandbox.customers()).toEqual([]);
  });

  // In this process: a command takes a second, and the API's answer is all that differs.
  test.each<[number, "taken" | "refused" | "failing"]>([
    [200, "taken"],
    [204, "taken"],
    [302, "taken"],
    [400, "taken"],
    [401, "refused"],
    [403, "refused"],
    [404, "taken"],
    [405, "taken"],
    [407, "refused"],
    [419, "refused"],
    [429, "taken"],
    [498, "refused"],
    [500, "failing"],
    [501, "taken"],
    [503, "failing"],
  ])("an API that answers %d: %s", async (status, kind) => {
    const api = await startApi((_request, response) => {
      response.writeHead(status).end(status === 204 ? undefined : "Budi's secret");
    });
    const { exchange, close } = createExchange({ timeoutMs: 5_000 });
    const connection: ApiConnection = {
      configId: null,
      baseUrl: api.url,
      createMethod: "POST",
      createPath: "/api/customer/command",
      updateMethod: "PUT",
      updatePath: "/api/customer/command/{id}",
      lookupPath: null,
      auth: { kind: "static", token: "some-token" },
      headers: { "x-key": "some-key" },
    };

    const trial = await tryCredentials(
      {
        exchange,
        tokens: { get: () => Promise.reject(new Error("a static token is not fetched")) },
        userAgent: "account-sync/test",
        timeoutMs: 5_000,
      },
      connection,
    );
    const findings = toApiFindings(trial, connection);
    await close();
    await api.close();

    expect(trial.kind).toBe(kind);
    expect(findings).toHaveLength(kind === "taken" ? 0 : 1);
    expect(JSON.stringify(findings)).not.toMatch(/Budi|some-token|some-key/);
    expect(api.asked).toEqual(["GET /api/customer/command Bearer some-token"]);
  });

  test("a token that its own endpoint gave and the API refuses fails, too", async () => {
    const api = await startApi((_request, response) => response.writeHead(401).end());

    const { stdout } = await run({
      json: true,
      env: {
        CUSTOMER_API_URL: api.url,
        CUSTOMER_API_TOKEN_URL: `${sandbox.url}/oauth/token`,
        CUSTOMER_API_ALLOWED_ORIGINS: `${api.url},${sandbox.url}`,
      },
    });
    await api.close();

    expect(failed(stdout)).toEqual(["api_credentials failed"]);
    expect(stdout).toContain("The API refuses the token that its token endpoint gave");
  });

  test("an API that hangs up says so", async () => {
    const api = await startApi((request) => request.socket.destroy());

    const { stdout } = await run({
      json: true,
      env: { ...noCredentials, CUSTOMER_API_TOKEN: "some-token", CUSTOMER_API_URL: api.url },
    });
    await api.close();

    expect(failed(stdout)).toEqual(["api_credentials failed"]);
    expect(stdout).toContain("cannot be reached");
  });
});

describe("settings", () => {
  test("that are bad are a failed check", async () => {
    const { code, stdout, stderr } = await run({ json: true, env: { SYNC_LEASE_MS: "soon" } });

    expect({ code, stderr }).toEqual({ code: 1, stderr: "" });
    expect(toResults(stdout)[0]).toMatchObject({
      check: "configuration",
      status: "failed",
      findings: [{ problem: expect.stringContaining("SYNC_LEASE_MS") }],
    });
  });

  test("that believe any certificate are one, too, and stop a start with exit code 2", async () => {
    const env = { NODE_TLS_REJECT_UNAUTHORIZED: "0" };

    const doctor = await run({ json: true, env });
    const start = startProcess({ args: ["start"], env: { ...environment(), ...env } });

    expect(doctor.code).toBe(1);
    expect(doctor.stdout).toContain("NODE_TLS_REJECT_UNAUTHORIZED is 0");
    expect(await start.exit).toEqual({ code: 2, signal: null });
    expect(start.stderr.join("\n")).toContain("NODE_TLS_REJECT_UNAUTHORIZED is 0");
  });
});

test("a start on what the doctor finds is refused with all of it in one error", async () => {
  const other = await createDatabase();
  const poor = await createRole(other, `grant create on database ${other.name} to %role`);

  const start = startProcess({
    args: ["start"],
    env: { ...environment(), DATABASE_URL: poor.url },
  });

  expect(await start.exit).toEqual({ code: 1, signal: null });
  const said = start.stderr.join("\n");
  expect(said).toContain("account-sync does not start");
  for (const table of ["m_account", "m_account_pic", "m_bank"])
    expect(said).toMatch(
      new RegExp(`grant select.* trigger on public\\.${table} to ${poor.name};`),
    );
  expect(said).toContain("npm start -- doctor");
});

async function run({
  json = false,
  env = {},
}: {
  readonly json?: boolean;
  readonly env?: Readonly<Record<string, string>>;
} = {}): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const running = startProcess({
    args: ["doctor", ...(json ? ["--json"] : [])],
    env: { ...environment(), ...env },
  });
  const { code } = await running.exit;
  // Node's own words about NODE_TLS_REJECT_UNAUTHORIZED are not ours.
  const stderr = running.stderr.filter((line) => !/Warning|--trace-warnings/.test(line));
  return { code, stdout: `${running.stdout.join("\n")}\n`, stderr: stderr.join("\n") };
}

function environment(): Record<string, string> {
  return {
    DATABASE_URL: role.url,
    // This server allows PREPARE TRANSACTION, for other tests.
    SYNC_NOTIFY: "off",
    HTTP_PORT: "0",
    ...apiEnvironment(sandbox),
  };
}

/** An API that answers as it is told, and says what it was asked. */
async function startApi(answer: RequestListener) {
  const asked: string[] = [];
  const server = createHttpServer((request, response) => {
    asked.push(`${request.method} ${request.url} ${request.headers.authorization}`);
    return answer(request, response);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    asked,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

function toResults(stdout: string): Said[] {
  return stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Said);
}

function failed(stdout: string): string[] {
  return toResults(stdout)
    .filter(({ status }) => status === "failed" || status === "not_checked")
    .map(({ check, status }) => `${check} ${status}`);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  return typeof address === "object" && address !== null ? address.port : 0;
}
