/**
 * Who sends, and what stops it: said alike by `status`, /readyz, /api/status and the status page while the API refuses, fails or asks to
 * wait, and while no daemon lives; and no longer when that is over.
 */
import { expect, test } from "vitest";
import { insertAccount } from "../support/accounts.ts";
import { eventually } from "../support/eventually.ts";
import { type TestDatabase, withClient } from "../support/postgres.ts";
import { startProcess, textOf } from "../support/process.ts";
import { apiEnvironment, createProduct, type Product, QUICK } from "../support/product.ts";
import { openScene } from "../support/scene.ts";

interface Said {
  readonly ready: { readonly status: number; readonly body: Record<string, unknown> };
  readonly json: Record<string, unknown>;
  readonly page: string;
}

const TIME = /\d\d:\d\d:\d\d/;

test("a wrong static token: doctor fails, /readyz says 503, and status says what to correct", async () => {
  const product = await createProduct();
  const wrong = {
    CUSTOMER_API_CLIENT_ID: "",
    CUSTOMER_API_CLIENT_SECRET: "",
    CUSTOMER_API_TOKEN: "wrong-secret",
  };
  const daemon = await product.start({ ...wrong, SYNC_BACKOFF_MIN_MS: "600" });
  await insertAccount(product.database);

  const said = await readAll(product, daemon.url, "unauthorized");
  const [doctor, status] = await Promise.all([
    run(product, ["doctor"], wrong),
    run(product, ["status"], wrong),
  ]);

  expect(said.ready.status).toBe(503);
  expect(said.ready.body).toMatchObject({
    reasons: [expect.stringContaining("the API refuses our credentials")],
    sending: { stopped_by: "unauthorized" },
  });
  expect(said.json).toMatchObject({ daemons: 1, daemons_stopped: 1 });
  expect(said.page).toContain("Nothing is sent: the API refuses our credentials since");
  expect(said.page).toMatch(/<dt>Circuit<\/dt>.*<\/strong>: the API refuses our credentials<\/dd>/);
  expect(status).toMatch(
    /^Nothing is sent: the API refuses our credentials since .*\nCorrect CUSTOMER_API_TOKEN/,
  );
  expect(status).not.toContain("next in line");
  expect(doctor).toMatch(/FAILED +api_credentials/);
  expect(JSON.stringify(said) + status + doctor).not.toContain("wrong-secret");
});

test.each([
  ["by the API", "create"],
  ["by its token endpoint", "token"],
] as const)(
  "credentials that are refused %s, and taken again: ready again without a restart",
  async (_name, on) => {
    const product = await createProduct();
    const daemon = await product.start();
    product.sandbox.setFaults({ always: { on, status: 401 } });
    await insertAccount(product.database);

    const { ready } = await eventually(async () => await readHttp(daemon.url, "unauthorized"));
    expect(ready.status).toBe(503);
    product.sandbox.clearFaults();

    await untilNothingStops(daemon.url);
  },
);

test("a row that was asked for and is refused is no reason to stop a rollout", async () => {
  const product = await createProduct();
  const daemon = await product.start();
  const [row] = await product.database.query<{ id: string }>(
    "insert into m_backend_ext_config (name, base_url, client_id, client_secret, url) values ('Elsewhere', $1, 'other', 'wrong-secret', '/api/customer/command') returning id::text",
    [product.sandbox.url],
  );
  const id = await insertAccount(product.database);
  await eventually(() => expect(product.sandbox.customers()).toHaveLength(1));
  await product.database.query("select account_sync.forget($1)", [id]);

  await fetch(`${daemon.url}/api/accounts/${id}/sync`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ config_id: row?.id }),
  });
  await eventually(async () =>
    expect(
      await product.database.query("select state, error_class from account_sync.status"),
    ).toEqual([{ state: "retrying", error_class: "unauthorized" }]),
  );

  const ready = await fetch(`${daemon.url}/readyz`);
  expect([ready.status, await ready.json()]).toEqual([200, { status: "ready" }]);
});

test("an API that is down: ready, with when it is tried again, until it is back", async () => {
  const product = await createProduct();
  const daemon = await product.start({
    SYNC_BACKOFF_MIN_MS: "1000",
    SYNC_BACKOFF_MAX_MS: "3000",
    CUSTOMER_API_NOT_APPLIED_STATUSES: "429,503",
  });
  product.sandbox.setFaults({ always: { on: "create", status: 503 } });
  for (let n = 0; n < 6; n += 1) await insertAccount(product.database, { accountNo: `A-${n}` });

  const said = await readAll(product, daemon.url, "circuit_open");
  const status = await run(product, ["status"]);
  product.sandbox.clearFaults();

  expect(said.ready).toMatchObject({ status: 200, body: { status: "ready" } });
  const sending = said.ready.body["sending"] as Record<string, string>;
  expect(Date.parse(sending["until"] ?? "")).toBeGreaterThan(Date.parse(sending["since"] ?? ""));
  expect(status).toMatch(/^Nothing is sent: the API does not answer as it should since \d/);
  expect(status).toMatch(
    /retrying +[1-6] .*: .*tried again when this is over, as the API does not answer/,
  );
  await untilNothingStops(daemon.url);
});

test("an API that asks to wait: ready, with until when", async () => {
  const product = await createProduct();
  const daemon = await product.start();
  product.sandbox.setFaults({ next: [{ on: "create", status: 429, retryAfter: 3 }] });
  await insertAccount(product.database);

  const said = await readAll(product, daemon.url, "retry_after");
  const status = await run(product, ["status"]);

  expect(said.ready).toMatchObject({ status: 200, body: { status: "ready" } });
  expect(Date.parse(String(said.json["until"])) - Date.now()).toBeLessThan(3_500);
  expect(status).toMatch(
    new RegExp(`^Nothing is sent: the API asked to wait until ${TIME.source}\\.$`, "m"),
  );
  await untilNothingStops(daemon.url);
});

test("told to leave, with a send under way: no daemon that takes a change, said by all at once", async () => {
  await using scene = await openScene();
  const environment = { ...apiEnvironment(scene.sandbox), DATABASE_URL: scene.database.url };
  const daemon = await scene.start();
  scene.sandbox.setFaults({ next: [{ on: "create", delayMs: 60_000 }] });
  await insertAccount(scene.database, { accountNo: "A-1" });
  await eventually(() => expect(scene.requests()).toHaveLength(1));
  daemon.signal("SIGTERM");
  await eventually(async () => expect((await fetch(`${daemon.url}/readyz`)).status).toBe(503));

  const id = await insertAccount(scene.database, { accountNo: "A-2" });
  const [status, ofOne, ready, api] = await Promise.all([
    statusOf(environment),
    textOf(["status", id], environment),
    fetch(`${daemon.url}/readyz`).then(async (answer) => await answer.json()),
    fetch(`${daemon.url}/api/status`).then(async (answer) => await answer.json()),
  ]);
  const toStderr = await errorsOf(["status", id], environment);

  expect(status).toMatch(/^Nothing is sent: the daemon is leaving since \d/);
  expect(ofOne + toStderr).toContain(
    "The daemon is leaving, so nothing is sent by itself. Start one",
  );
  expect(ready).toMatchObject({ reasons: ["draining"], sending: { stopped_by: "draining" } });
  expect(api).toMatchObject({ ready: false, sending: { stopped_by: "draining", daemons: 1 } });
});

test("a process that is stopped keeps its lock, and does not count as one that sends", async () => {
  await using scene = await openScene();
  const environment = { ...apiEnvironment(scene.sandbox), DATABASE_URL: scene.database.url };
  const daemon = await scene.start();
  daemon.signal("SIGSTOP");
  // As after half a minute.
  await scene.database.query(
    "update account_sync.replica set seen_at = seen_at - interval '40 s', renewed_at = renewed_at - interval '40 s'",
  );
  const stopped = await statusOf(environment);
  const [locks] = await scene.database.query<{ count: number }>(
    "select count(*)::int from account_sync.lock_holders(1937337955)",
  );
  daemon.signal("SIGCONT");

  expect(locks?.count).toBe(1);
  expect(stopped).toMatch(
    /^Nothing is sent: the daemon does not answer \(stopped or hanging\) since .*\nLook at its process/,
  );
});

test("a database that takes no writes: the daemon and status say it alike, though nothing can be noted", async () => {
  const product = await createProduct();
  const daemon = await product.start();
  const name = new URL(product.database.url).pathname.slice(1);
  await product.database.query(`alter database "${name}" set default_transaction_read_only = on`);
  await product.database
    .query(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
    )
    .catch(() => {});

  const { console } = await eventually(async () => await readHttp(daemon.url, "queue_trouble"), {
    timeoutMs: 8_000,
  });
  const page = await (await fetch(daemon.url)).text();
  const status = await run(product, ["status"]);
  await setWritable(product.database, name);
  await untilNothingStops(daemon.url);

  expect(console).toMatchObject({ daemons_stopped: 1 });
  expect(page).toContain("Nothing is sent: the database takes no writes");
  expect(status).toMatch(
    /^Nothing is sent: the database takes no writes \(transaction_read_only is on\)\.\n`npm start -- doctor`/,
  );
});

async function setWritable(database: TestDatabase, name: string): Promise<void> {
  await withClient(database.url, async (client) => {
    await client.query("set default_transaction_read_only = off");
    await client.query(`alter database "${name}" reset default_transaction_read_only`);
    await client.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
    );
  });
}

/** What each tells, once they agree. */
async function readAll(product: Product, url: string, stoppedBy: string): Promise<Said> {
  const { ready } = await eventually(async () => await readHttp(url, stoppedBy));
  const page = await (await fetch(url)).text();
  // The daemon has it in memory, and writes it down for others within a second.
  const json = await eventually(async () => {
    const said = JSON.parse(await run(product, ["status", "--json"]))["sending"];
    expect(said["stopped_by"]).toBe(stoppedBy);
    return said;
  });
  return { ready, json, page };
}

async function readHttp(url: string, stoppedBy: string | null) {
  const ready = await fetch(`${url}/readyz`);
  const body = (await ready.json()) as Record<string, unknown>;
  const sending = (body["sending"] ?? { stopped_by: null }) as Record<string, unknown>;
  expect(sending["stopped_by"]).toBe(stoppedBy);

  const api = (await (await fetch(`${url}/api/status`)).json()) as Record<string, unknown>;
  const console = api["sending"] as Record<string, unknown>;
  expect(console["stopped_by"]).toBe(stoppedBy);
  return { ready: { status: ready.status, body }, console };
}

async function untilNothingStops(url: string): Promise<void> {
  const { ready, console } = await eventually(async () => await readHttp(url, null));

  expect(ready).toEqual({ status: 200, body: { status: "ready" } });
  expect(console).toMatchObject({ daemons: 1, daemons_stopped: 0, since: null, until: null });
  expect(await (await fetch(url)).text()).toContain("1 daemon runs.");
}

async function run(
  { database, sandbox }: Pick<Product, "sandbox"> & { readonly database: TestDatabase },
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<string> {
  return await textOf(args, {
    ...QUICK,
    ...apiEnvironment(sandbox),
    DATABASE_URL: database.url,
    ...environment,
  });
}

async function statusOf(environment: Readonly<Record<string, string>>): Promise<string> {
  return await textOf(["status"], environment);
}

async function errorsOf(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<string> {
  const running = startProcess({ args, env });
  await running.exit;
  return running.stderr.join("\n");
}
