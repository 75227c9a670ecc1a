/** The commands as their users run them: processes with exit codes, results on stdout, and one clear error on stderr. */
import { execFileSync } from "node:child_process";
import { createServer } from "node:net";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { callOn } from "../../src/call-on.ts";
import { migrate } from "../../src/db/migrate.ts";
import { type Sandbox, startSandbox } from "../../src/local/sandbox.ts";
import { insertSampleAccounts } from "../../src/local/source-tables.ts";
import { eventually } from "../support/eventually.ts";
import {
  createDatabase,
  serverUrl,
  type TestDatabase,
  type TestDatabaseOptions,
} from "../support/postgres.ts";
import { type ProcessOptions, startProcess } from "../support/process.ts";
import { apiEnvironment, createProduct } from "../support/product.ts";
import { createRole, LEAST_GRANTS } from "../support/roles.ts";

const HEAD_OFFICE = "11111111-1111-4111-8111-111111111111";
const BRANCH = "22222222-2222-4222-8222-222222222222";
const SHOP = "33333333-3333-4333-8333-333333333333";
const NOBODY = "99999999-9999-4999-8999-999999999999";

let database: TestDatabase;
let sandbox: Sandbox;

beforeAll(async () => {
  sandbox = await startSandbox();
  await openDatabase();
});

afterEach(() => sandbox.reset());

afterAll(() => sandbox.close());

describe("migrate and uninstall", () => {
  beforeEach(() => openDatabase());

  test("migrate says what it did, and the second time that there was nothing to do", async () => {
    const first = await run(["migrate"]);
    const second = await run(["migrate", "--json"]);

    expect(first).toMatchObject({ code: 0, stderr: "" });
    expect(first.stdout).toMatch(/^Schema account_sync, version \d+: installed\.\n/);
    expect(first.stdout).toContain("m_account_package_tier");
    expect(JSON.parse(second.stdout)).toMatchObject({
      created_schema: false,
      migrations_applied: 0,
      captured_tables: expect.arrayContaining(["m_account", "m_account_pic"]),
    });
  });

  test("migrate tells of accounts that were there before", async () => {
    await insertSampleAccounts(database.pool);

    const { stdout } = await run(["migrate"]);

    expect(stdout).toContain("3 accounts from before");
  });

  test("uninstall asks for --yes, then removes everything and says what", async () => {
    await run(["migrate"]);

    const unsure = await run(["uninstall"]);
    const sure = await run(["uninstall", "--yes", "--json"]);
    const again = await run(["uninstall", "--yes"]);

    expect(unsure).toMatchObject({ code: 2, stdout: "" });
    expect(unsure.stderr).toContain("npm start -- uninstall --yes");
    expect(JSON.parse(sure.stdout)).toEqual({
      removed_schema: true,
      removed_triggers_from: expect.arrayContaining(["m_account", "m_bank"]),
    });
    expect(again).toMatchObject({ code: 0, stdout: expect.stringContaining("nothing to remove") });
    expect(await database.query("select from pg_trigger where not tgisinternal")).toEqual([]);
  });
});

describe("sync", () => {
  beforeEach(prepare);

  test("needs no daemon: the account reaches the API, its ids stand, the result is one line", async () => {
    const { code, stdout } = await run(["sync", HEAD_OFFICE, "--user", "budi"]);

    expect(code).toBe(0);
    const customer = sandbox.customers()[0];
    expect(JSON.parse(stdout)).toMatchObject({
      success: true,
      accountId: HEAD_OFFICE,
      outcome: "synced",
      httpStatus: 201,
      customerData: { customer: { name: expect.any(String) } },
      response: { customer: { data: { id: expect.any(String) } } },
      processingResult: {
        success: true,
        updatedRecords: [
          { success: true, type: "customer", accountId: HEAD_OFFICE, uuidBe: customer?.id },
          { success: true, type: "tier", updatedCount: 2, failedCount: 0 },
          { success: true, type: "crew", updatedCount: 2, failedCount: 0 },
        ],
        errors: [],
        summary: { totalUpdated: 3, totalErrors: 0 },
      },
    });
    expect(
      await database.query("select uuid_be, updated_by from m_account where id = $1", [
        HEAD_OFFICE,
      ]),
    ).toEqual([{ uuid_be: customer?.id, updated_by: "budi" }]);
    const tiers = await database.query(
      "select id, uuid_be from m_account_package_tier where account_id = $1",
      [HEAD_OFFICE],
    );
    const details = JSON.parse(stdout).processingResult.updatedRecords[1].details;
    expect(details).toHaveLength(2);
    expect(details).toEqual(
      expect.arrayContaining(
        tiers.map(({ id, uuid_be }) => ({ success: true, tierId: id, uuidBe: uuid_be })),
      ),
    );
  });

  test("is forced, and with --no-force leaves alone what is unchanged", async () => {
    await run(["sync", SHOP]);

    const forced = await run(["sync", SHOP]);
    const unforced = await run(["sync", SHOP, "--no-force"]);

    expect(JSON.parse(forced.stdout)).toMatchObject({ outcome: "synced", httpStatus: 200 });
    expect(unforced.code).toBe(0);
    expect(JSON.parse(unforced.stdout)).toMatchObject({ success: true, outcome: "unchanged" });
    expect(sandbox.counts().byOperation).toMatchObject({ create: 1, update: 1 });
  });

  test("tells of each account what became of it, and fails when one did", async () => {
    await database.query("update m_account set name = ' ' where id = $1", [SHOP]);

    const { code, stdout } = await run(["sync", HEAD_OFFICE, SHOP, NOBODY, "no id at all"]);

    expect(code).toBe(1);
    const results = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    const outcomes = new Map(results.map((result) => [result.accountId, result]));
    expect(outcomes.get(HEAD_OFFICE)).toMatchObject({
      success: true,
      outcome: "synced",
      warnings: 0,
    });
    expect(outcomes.get(SHOP)).toMatchObject({
      success: false,
      outcome: "parked",
      errorClass: "validation",
      error: expect.stringContaining("customer.name"),
    });
    expect(outcomes.get(NOBODY)).toMatchObject({ success: false, outcome: "gone" });
    expect(outcomes.get("no id at all")).toMatchObject({ success: false, outcome: "gone" });
  });

  test("a branch whose head office is unknown to the API waits for it", async () => {
    const { code, stdout } = await run(["sync", BRANCH]);

    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      success: false,
      outcome: "blocked",
      error: expect.stringContaining(HEAD_OFFICE),
    });
  });

  test("when the API is down, it says when the next attempt is", async () => {
    sandbox.setFaults({ always: { status: 503 } });

    const { code, stdout, stderr } = await run(["sync", SHOP], {
      CUSTOMER_API_NOT_APPLIED_STATUSES: "429,503",
    });

    expect(code).toBe(1);
    const result = JSON.parse(stdout);
    expect(result).toMatchObject({ success: false, outcome: "retry", httpStatus: 503 });
    expect(Date.parse(result.nextAttemptAt)).toBeGreaterThan(Date.now() - 1_000);
    expect(stderr).toBe("");
  });

  test("a refused token fails every account at once, instead of waiting for better times", async () => {
    const { code, stdout } = await run(["sync", HEAD_OFFICE, SHOP], {
      CUSTOMER_API_CLIENT_SECRET: "wrong-secret",
    });

    expect(code).toBe(1);
    const results = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(results).toHaveLength(2);
    for (const result of results) {
      expect(result).toMatchObject({ outcome: "retry", errorClass: "unauthorized" });
    }
    expect(stdout).not.toContain("wrong-secret");
  });

  test("says what the API said, whichever process sent", async () => {
    const product = await createProduct();
    await insertSampleAccounts(product.database.pool);
    const fault = { status: 422, body: { error: { message: "Invalid data format", code: "E1" } } };
    product.sandbox.setFaults({ always: fault });
    const environment = {
      DATABASE_URL: product.database.url,
      ...apiEnvironment(product.sandbox),
    };
    await run(["migrate"], environment);

    const own = await run(["sync", SHOP], environment);
    await product.start();
    const ofDaemon = await run(["sync", HEAD_OFFICE], environment);

    expect(JSON.parse(own.stdout).details).toMatchObject({
      code: "E1",
      httpStatus: 422,
      delivery: "not_applied",
    });
    for (const { code, stdout } of [own, ofDaemon]) {
      expect(code).toBe(1);
      expect(JSON.parse(stdout)).toMatchObject({
        success: false,
        outcome: "parked",
        httpStatus: 422,
        errorClass: "rejected",
        error: "External API Error: Invalid data format",
        processingResult: {
          success: false,
          error: "External API Error: Invalid data format",
          updatedRecords: [],
          errors: [expect.stringMatching(/^Failed to update account UUID: External API Error/)],
        },
      });
    }
  });

  test("has one sentence for a section that the database refused, and no record of it", async () => {
    await database.query(
      `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$`,
    );
    await database.query(
      "create trigger refuse before update of uuid_be on m_account_package_tier for each row execute function refuse()",
    );

    const { code, stdout } = await run(["sync", HEAD_OFFICE]);

    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      success: true,
      outcome: "partial",
      processingResult: {
        success: false,
        updatedRecords: [{ type: "customer" }, { type: "crew", success: true }],
        errors: [expect.stringMatching(/^Failed to update tier UUID: tier .*P0001/)],
        summary: { totalUpdated: 2, totalErrors: 1 },
      },
    });
  });

  test("with daemons at work, it waits for whoever does it", async () => {
    const product = await createProduct();
    await insertSampleAccounts(product.database.pool);
    await product.start();
    await product.start();

    const { code, stdout } = await run(["sync", HEAD_OFFICE, SHOP], {
      DATABASE_URL: product.database.url,
      ...apiEnvironment(product.sandbox),
    });

    expect(code).toBe(0);
    expect(stdout.trim().split("\n")).toHaveLength(2);
    expect(product.sandbox.counts()).toMatchObject({ overlapping: 0, byOperation: { create: 2 } });
  });

  test("gives up after its time, and the request stays", async () => {
    // Somebody else has the account, for longer than anybody waits.
    await database.query("select account_sync.request($1)", [SHOP]);
    await run(["sync", HEAD_OFFICE]);
    await database.query(
      "update account_sync.account set lease_token = gen_random_uuid(), due_at = now() + interval '1 hour' where account_id = $1",
      [SHOP],
    );

    const { code, stdout } = await run(["sync", SHOP, "--timeout", "1"]);

    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      success: false,
      outcome: "unfinished",
      error: expect.stringContaining("running"),
    });
  });

  test("told to leave, it finishes the request under way first", async () => {
    sandbox.setFaults({ always: { delayMs: 1_000 } });
    const running = startProcess({ args: ["sync", SHOP], env: environment() });
    await eventually(() => expect(sandbox.counts().byOperation.create).toBe(1));

    running.signal("SIGINT");

    expect(await running.exit).toEqual({ code: 0, signal: null });
    expect(JSON.parse(running.stdout.join(""))).toMatchObject({ outcome: "synced" });
  });
});

describe("preview", () => {
  beforeEach(prepare);

  test("shows the command and sends and writes nothing", async () => {
    const { code, stdout } = await run(["preview", HEAD_OFFICE.toUpperCase(), "--json"], {
      CUSTOMER_API_URL: "",
      CUSTOMER_API_CLIENT_ID: "",
      CUSTOMER_API_CLIENT_SECRET: "",
    });

    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      accountId: HEAD_OFFICE,
      success: true,
      mode: "debug",
      originalData: { id: HEAD_OFFICE, name: "PT Maju Mundur Sentosa" },
      transformedData: { customer: { name: "PT Maju Mundur Sentosa" } },
      validationResult: { isValid: true, errors: [] },
      debugReport: {
        operation: "create",
        obstacle: null,
        difference: { status: "none_accepted", isCurrent: false, paths: null },
      },
      summary: {
        canSend: true,
        customerName: "PT Maju Mundur Sentosa",
        dataIntegrity: "PASS",
      },
    });
    expect(sandbox.counts().total).toBe(0);
    expect(await database.query("select from account_sync.attempt")).toEqual([]);
    expect(await database.query("select from account_sync.account")).toEqual([]);
  });

  test("tells whether the account differs from what was last accepted", async () => {
    await run(["sync", SHOP]);

    const same = await run(["preview", SHOP]);
    await database.query("update m_account set name = 'Warung Kopi Fajar' where id = $1", [SHOP]);
    const different = await run(["preview", SHOP]);

    expect(same.stdout).toContain("equals the command last accepted");
    expect(different.stdout).toContain(
      "differs from the command last accepted:\n  changed: customer.name, branch.name\n",
    );
    expect(different.stdout).toContain("to update the customer");
  });

  test("says that it is not known what changed, when the history is gone", async () => {
    await run(["sync", SHOP]);
    await database.query("delete from account_sync.attempt");
    await database.query("update m_account set name = 'Warung Kopi Fajar' where id = $1", [SHOP]);

    const different = await run(["preview", SHOP]);

    expect(different.code).toBe(0);
    expect(different.stdout).toContain("in which fields is not known, as nothing is kept of them");
  });

  test("speaks Bahasa Indonesia about the data, and shows no whole personal number", async () => {
    await database.query(
      "update m_account set name = ' ', no_ktp = '3174012345678901' where id = $1",
      [SHOP],
    );

    const { stdout } = await run(["preview", SHOP], { MESSAGES: "id" });

    expect(stdout).toContain("Perintah tidak valid.");
    expect(stdout).toContain("error: customer.name wajib diisi");
    expect(stdout).toContain(
      "customer.name: Isi m_account.name: tanpa itu tidak ada yang dikirim.",
    );
    expect(stdout).toMatch(/customer\.ktp +"\*{12}8901" +m_account\.no_ktp/);
    expect(stdout).not.toContain("3174012345678901");
  });

  test.each([
    ["is not valid", SHOP, "customer.name is missing"],
    ["waits for its parent", BRANCH, `Its parent ${HEAD_OFFICE} has no external id yet`],
    ["does not exist", NOBODY, `There is no account ${NOBODY}`],
  ])("exits with 1 when the account %s", async (_why, id, message) => {
    await database.query("update m_account set name = ' ' where id = $1", [SHOP]);

    const { code, stdout, stderr } = await run(["preview", id]);

    expect(code).toBe(1);
    expect(stdout + stderr).toContain(message);
  });
});

describe("status, retry and backfill", () => {
  beforeEach(prepare);

  test("a parked account is shown with its reason, put back, and shown again", async () => {
    await database.query("update m_account set name = ' ', email = '' where id = $1", [SHOP]);
    const synced = await run(["sync", SHOP]);

    const overview = await run(["status"]);
    const detail = await run(["status", SHOP]);
    const json = await run(["status", SHOP, "--json"]);
    const others = await run(["retry", "--class", "rejected", "--json"]);
    const retried = await run(["retry", SHOP]);
    const after = await run(["status", "--json"]);

    expect(overview.stdout).toMatch(/parked +1 +validation 1: set aside; /);
    expect(overview.stdout).toContain("1 account is parked.");
    expect(overview.stdout).not.toContain("on its way");
    expect(overview.stdout).toContain(SHOP);
    expect(detail.stdout).toMatch(/state +parked/);
    expect(detail.stdout).toContain("customer.name is missing");
    expect(JSON.parse(synced.stdout)).toMatchObject({ outcome: "parked", warnings: 1 });
    expect(detail.stdout).toMatch(/warnings +1 at the last try: npm start -- preview/);
    expect(JSON.parse(json.stdout)).toMatchObject({
      account_id: SHOP,
      state: "parked",
      error_class: "validation",
      history: [{ outcome: "parked", trigger: "manual", warnings: 1 }],
    });
    expect(JSON.parse(others.stdout)).toEqual({ retried: 0 });
    expect(retried).toMatchObject({
      code: 0,
      stdout: `Put 1 parked account back. \`npm start -- status ${SHOP}\` tells when it is sent.\n`,
      stderr: "warning: Nothing is sent: no daemon runs. Start one: `npm start`\n",
    });
    expect(JSON.parse(after.stdout)).toMatchObject({
      pending_accounts: { parked: 0, due: 1 },
      unfolded_changes: 0,
    });
  });

  test("status tells of requests for many accounts that are set aside", async () => {
    await database.query(
      "insert into account_sync.expansion (marker, lane, changed_at, due_at, failures, error) values ('all', 'backfill', now(), now() + interval '1 minute', 1, '42P01')",
    );

    const overview = await run(["status"]);
    const json = await run(["status", "--json"]);

    expect(overview.stdout).toContain(
      "1 request for many accounts is set aside and tried again: `npm start -- doctor` says why.",
    );
    expect(JSON.parse(json.stdout)).toMatchObject({ unfolded_markers: 1, set_aside_markers: 1 });
  });

  test("accounts are put back and marked also when it cannot be told whether a daemon sends", async () => {
    await database.query("update m_account set name = ' ' where id = $1", [SHOP]);
    await run(["sync", SHOP]);
    await database.query("drop function account_sync.lock_holders");

    const retried = await run(["retry", SHOP]);
    const marked = await run(["backfill", "--json"]);

    expect(retried).toEqual({
      code: 0,
      stdout: `Put 1 parked account back. \`npm start -- status ${SHOP}\` tells when it is sent.\n`,
      stderr: "warning: It is not known whether a daemon sends.\n",
    });
    expect(marked).toMatchObject({
      code: 0,
      stderr: `${JSON.stringify({ warning: "It is not known whether a daemon sends." })}\n`,
    });
  });

  test("status shows its numbers also to a role that may not read where customers are sent", async () => {
    // Open to the end of the file, as the role is.
    const role = await createRole(await createDatabase(), LEAST_GRANTS);
    await migrate({ url: role.url, info: () => {} });

    const { code, stdout, stderr } = await run(["status"], {
      DATABASE_URL: role.url,
      CUSTOMER_API_URL: "",
      CUSTOMER_API_CLIENT_ID: "",
      CUSTOMER_API_CLIENT_SECRET: "",
    });

    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain("Nothing is pending");
  });

  test.each(["-5", "--all", "--json", "--help", "$(echo x) y"])(
    "the command that is suggested for account %s reaches it",
    async (id) => {
      const args = execFileSync("sh", ["-c", `printf '%s\\0' ${callOn("status", id)}`], {
        encoding: "utf8",
      });

      const { stderr } = await run(args.split("\0").slice(1, -1));

      expect(stderr).toMatch(/^error: The queue does not know account /);
      expect(stderr).toContain(`account ${id}.`);
    },
  );

  test("status does not call captured changes delivered while nobody has folded them", async () => {
    const before = await run(["status"]);
    await database.query("update m_account set name = 'Warung' where id = $1", [SHOP]);
    const after = await run(["status"]);

    expect(before.stdout).toContain("Nothing is pending");
    expect(before.stdout).toMatch(
      /\n\d+ accounts from before the first migrate are not in the queue: `npm start -- backfill` sends them\.\n/,
    );
    expect(after.stdout).toContain("1 change captured");
  });

  test("backfill --wait shows how a daemon works it off", async () => {
    const product = await createProduct();
    await insertSampleAccounts(product.database.pool);
    await product.start();

    const { code, stdout } = await run(["backfill", "--missing", "--wait"], {
      DATABASE_URL: product.database.url,
    });

    expect(code).toBe(0);
    expect(stdout).toMatch(/marked[\s\S]*to go[\s\S]*All through/);
    expect(product.sandbox.counts().byOperation.create).toBeGreaterThanOrEqual(2);
  });
});

describe("start on a database of somebody", () => {
  beforeEach(() => openDatabase());

  test("syncs, and ends with 0 when it is told to stop", async () => {
    const running = startProcess({
      args: ["start", "--json"],
      env: { ...environment(), SYNC_QUIET_PERIOD_MS: "50" },
    });
    await running.waitForLine(/"msg":"started"/);

    await insertSampleAccounts(database.pool);
    await eventually(() => expect(sandbox.customers()).toHaveLength(3));
    running.signal("SIGTERM");

    expect(await running.exit).toEqual({ code: 0, signal: null });
    expect(running.stderr).toEqual([]);
    for (const line of running.stdout) expect(JSON.parse(line)).toHaveProperty("msg");
  });

  test("a second signal ends it at once, with what is under way left to the next start", async () => {
    sandbox.setFaults({ always: { on: "create", hang: true } });
    const running = startProcess({
      args: ["start"],
      env: { ...environment(), SYNC_QUIET_PERIOD_MS: "50" },
    });
    await running.waitForLine(/"msg":"started"/);
    await insertSampleAccounts(database.pool);
    await eventually(() => expect(sandbox.counts().byOperation.create).toBeGreaterThan(0));

    running.signal("SIGTERM");
    await running.waitForLine(/draining/);

    // Within 150 ms of the first, a signal is its echo.
    await eventually(async () => {
      running.signal("SIGTERM");
      expect(await Promise.race([running.exit, null])).toEqual({ code: 1, signal: null });
    });
  });
});

test("the sandbox says how to send to it, and stops when it is told to", async () => {
  const running = startProcess({ args: ["sandbox", "--port", "0", "--json"] });
  const line = await running.waitForLine(/^\{/);

  const { url, ...credentials } = JSON.parse(line);
  expect(credentials).toMatchObject({ client_id: "sandbox", client_secret: "sandbox-secret" });
  expect((await fetch(`${url}/sandbox/customers`)).status).toBe(200);

  running.signal("SIGTERM");
  expect(await running.exit).toEqual({ code: 0, signal: null });
});

describe("every mistake is one clear message with what to do", () => {
  beforeEach(() => openDatabase());

  test.each([
    ["an unknown command", ["statu"], "Did you mean status?"],
    ["an option that takes a number", ["sync", "a", "--timeout", "soon"], "whole number from 1"],
    ["retry of nothing", ["retry"], "needs to know which accounts"],
  ])("usage: %s", async (_name, args, message) => {
    const { code, stdout, stderr } = await run(args);

    expect(code).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toContain(message);
    expect(stderr).not.toContain(" at ");
  });

  test("configuration: every problem is listed by name, and a misspelled setting is pointed out", async () => {
    const { code, stderr } = await run(["start"], {
      SYNC_LEASE_MS: "soon",
      DATABASE_URL: "mysql://app:s3cret@host/app",
      SYNC_QUIT_PERIOD_MS: "5",
    });

    expect(code).toBe(2);
    expect(stderr).toContain("SYNC_LEASE_MS");
    expect(stderr).toContain("DATABASE_URL must be a URL like");
    expect(stderr).toContain("warning: SYNC_QUIT_PERIOD_MS is not a setting");
    expect(stderr).not.toContain("s3cret");
  });

  test("a database that is not there, a login that is refused, a server that is down", async () => {
    const withUser = (name: string, password: string) => {
      const url = new URL(database.url);
      url.username = name;
      url.password = password;
      return url.href;
    };
    const otherDatabase = new URL(serverUrl());
    otherDatabase.pathname = "/nowhere";
    const cases: [string, RegExp][] = [
      [otherDatabase.href, /no such database[\s\S]*Check the database name/],
      [withUser("stranger", "s3cret"), /refused the login[\s\S]*Check user and password/],
      [
        `postgres://app:s3cret@127.0.0.1:${await closedPort()}/app`,
        /Could not connect[\s\S]*ECONNREFUSED[\s\S]*Check that the server runs/,
      ],
    ];

    for (const [url, message] of cases) {
      const commands = ["status", "start", "migrate"];
      const ended = await Promise.all(commands.map((each) => run([each], { DATABASE_URL: url })));

      for (const { code, stderr } of ended) {
        expect(stderr).toMatch(message);
        expect(stderr).not.toContain("s3cret");
        expect(code).toBe(1);
      }
    }
  });

  test("a database without the application's tables, or not migrated, or migrated by a newer version", async () => {
    const empty = await createDatabase({ sourceTables: false });
    const noTables = await run(["migrate"], { DATABASE_URL: empty.url });
    const notMigrated = await run(["status", "--json"]);
    await migrate({ url: database.url, info: () => {} });
    await database.query(
      "insert into account_sync.migrations (id, name, hash) values (1000, 'from the future', 'x')",
    );
    const newer = await run(["sync", SHOP]);

    expect(noTables).toMatchObject({ code: 1, stderr: expect.stringContaining("m_account_pic") });
    expect(notMigrated.code).toBe(1);
    expect(JSON.parse(notMigrated.stderr)).toEqual({
      error: expect.stringContaining("no schema account_sync"),
      hint: expect.stringContaining("account-sync migrate"),
    });
    expect(newer).toMatchObject({ code: 1, stderr: expect.stringContaining("version 1000") });
  });

  test("an API that nobody named is asked for only where something is sent", async () => {
    await prepare();
    const nowhere = {
      CUSTOMER_API_URL: "",
      CUSTOMER_API_CLIENT_ID: "",
      CUSTOMER_API_CLIENT_SECRET: "",
    };

    const sync = await run(["sync", SHOP], nowhere);
    const start = await run(["start"], nowhere);
    const status = await run(["status"], nowhere);

    for (const { code, stderr } of [sync, start]) {
      expect(code).toBe(2);
      expect(stderr).toContain("Set CUSTOMER_API_URL");
    }
    expect(status.code).toBe(0);
  });

  test("an account the queue does not know", async () => {
    await prepare();

    const { code, stderr } = await run(["status", SHOP]);

    expect(code).toBe(1);
    expect(stderr).toContain(`npm start -- sync ${SHOP}`);
  });
});

test("every command explains itself, with an example", async () => {
  const { stdout } = await run(["--help"]);
  const commands = [...stdout.matchAll(/^ {2}(\w+) (?:\[|<)/gm)].map(([, name]) => name ?? "");

  expect(commands).toEqual([
    ...["start", "migrate", "uninstall", "sync", "preview"],
    ...[
      "backfill",
      "reconcile",
      "status",
      "retry",
      "adopt",
      "forget",
      "doctor",
      "sandbox",
      "sql",
      "help",
    ],
  ]);
  for (const name of commands.slice(0, -1)) {
    const { code, stdout: help } = await run([name, "--help"]);
    expect(code).toBe(0);
    expect(help).toContain("--json");
    expect(help).toMatch(/Example:\n {2}.*npm (?:start|run)/);
  }
});

/** Three sample accounts that are older than the first migrate, so that nothing happens by itself. */
async function prepare(): Promise<void> {
  await openDatabase({ sampleAccounts: true, migrated: true });
}

/** Dropped at the end of the file. */
async function openDatabase(options: TestDatabaseOptions = {}): Promise<void> {
  database = await createDatabase(options);
}

async function run(args: readonly string[], env: ProcessOptions["env"] = {}) {
  const running = startProcess({ args, env: { ...environment(), ...env } });
  const { code } = await running.exit;
  const toText = (lines: readonly string[]) => lines.map((line) => `${line}\n`).join("");
  return { code, stdout: toText(running.stdout), stderr: toText(running.stderr) };
}

function environment(): Record<string, string> {
  return { DATABASE_URL: database.url, HTTP_PORT: "0", ...apiEnvironment(sandbox) };
}

async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  await new Promise((resolve) => {
    server.close(resolve);
  });
  return typeof address === "object" && address !== null ? address.port : 0;
}
