/**
 * Who sends, and what stops it: said alike by `status`, /readyz, /api/status and the status page while the API refuses, fails or asks to
 * wait, and while no daemon lives; and no longer when that is over.
 */
import { expect, test } from "vitest";
import { insertAccount } from "../support/accounts.ts";
import { eventually } from "../support/eventually.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { startProcess } from "../support/process.ts";
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
  const daemon = await product.start({ SYNC_BACKOFF_MIN_MS: "1000", SYNC_BACKOFF_MAX_MS: "3000" });
  product.sandbox.setFaults({ always: { on: "create", status: 503 } });
  for (let n = 0; n < 6; n += 1) await insertAccount(product.database, { accountNo: `A-${n}` });

  const said = await readAll(product, daemon.url, "circuit_open");
  const status = await run(product, ["status"]);
  product.sandbox.clearFaults();

  expect(said.ready).toMatchObject({ status: 200, body: { status: "ready" } });
  const sending = said.ready.body["sending"] as Record<string, string>;
  expect(Date.parse(sending["until"] ?? "")).toBeGreaterThan(Date.parse(sending["since"] ?? ""));
  expect(status).toMatch(/^Nothing is sent: the API does not answer as it should since \d/);
  expect(status).toMatch(/retrying +[1-6] .*not tried again: the API does not answer/);
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

test("no daemon: status says so at once after a kill, and what to do, and no longer when one runs", async () => {
  await using scene = await openScene();
  const environment = { ...apiEnvironment(scene.sandbox), DATABASE_URL: scene.database.url };
  const daemon = await scene.start();
  const running = await statusOf(environment);
  const killedAt = performance.now();
  await daemon.kill();
  await insertAccount(scene.database);

  const dead = await eventually(async () => {
    const text = await statusOf(environment);
    expect(text).toMatch(/^Nothing is sent: no daemon runs\.\nStart one: `npm start`/);
    return text;
  });
  expect(performance.now() - killedAt).toBeLessThan(8_000);
  await scene.start();
  await eventually(async () => expect(await statusOf(environment)).toMatch(/^1 daemon runs\./));

  expect(running).toMatch(/^1 daemon runs\.\nNothing is pending/);
  expect(dead).toMatch(/\d changes? captured/);
});

/** What each tells, once they agree. */
async function readAll(product: Product, url: string, stoppedBy: string): Promise<Said> {
  const { ready } = await eventually(async () => await readHttp(url, stoppedBy));
  const page = await (await fetch(url)).text();
  const json = JSON.parse(await run(product, ["status", "--json"]))["sending"];
  expect(json["stopped_by"]).toBe(stoppedBy);
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

async function textOf(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<string> {
  const running = startProcess({ args, env });
  await running.exit;
  return running.stdout.map((line) => `${line}\n`).join("");
}
