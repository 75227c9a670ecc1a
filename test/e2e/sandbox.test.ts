/** The stand-in customer API: it judges like a strict real one, remembers what came in, and misbehaves exactly as told. */
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, describe, expect, test } from "vitest";

import { type Sandbox, type SandboxOptions, startSandbox } from "../../src/local/sandbox.ts";
import { eventually } from "../support/eventually.ts";

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

describe("tokens", () => {
  test.each([
    ["form", "application/x-www-form-urlencoded", "grant_type=client_credentials&scope=customer"],
    ["JSON", "application/json", '{"scope":"customer"}'],
  ])("are given for a %s body and open the API", async (_, type, body) => {
    const sandbox = await start();

    const given = await fetch(`${sandbox.url}/oauth/token`, {
      method: "POST",
      headers: { authorization: basic(sandbox), "content-type": type },
      body,
    });
    const { access_token, token_type, expires_in } = (await given.json()) as Record<string, string>;
    const created = await create(sandbox, command(), { token: access_token ?? "" });

    expect({ token_type, expires_in }).toEqual({ token_type: "Bearer", expires_in: 3600 });
    expect(created.status).toBe(201);
  });

  test("are refused to a wrong secret, and a revoked one no longer opens anything", async () => {
    const sandbox = await start();
    const token = await getToken(sandbox);

    const wrong = await fetch(`${sandbox.url}/oauth/token`, {
      method: "POST",
      headers: { authorization: `Basic ${btoa("sandbox:wrong")}` },
      body: "grant_type=client_credentials",
    });
    sandbox.revokeTokens();
    const revoked = await create(sandbox, command(), { token });

    expect(wrong.status).toBe(401);
    expect(revoked.status).toBe(401);
  });
});

describe("commands", () => {
  test("a create gives out ids, without repeating what was sent", async () => {
    const sandbox = await start();

    const { body } = await create(sandbox, command({ tiers: 2, crew: 1 }));

    expect(body).toEqual({
      success: true,
      customer: { data: { id: expect.stringMatching(/^cus_\w{12}$/) } },
      branch: { data: { id: expect.stringMatching(/^brn_/) } },
      tier: {
        data: [{ id: expect.stringMatching(/^tier_/) }, { id: expect.stringMatching(/^tier_/) }],
      },
      crew: { data: [{ id: expect.stringMatching(/^crew_/) }] },
    });
  });

  test("with echo each item comes back as it was sent", async () => {
    const sandbox = await start({ echo: true });

    const { body } = await create(sandbox, command({ tiers: 1 }));

    expect(body).toMatchObject({
      tier: { data: [{ id: expect.any(String), tier_type: "nominal", min_amount: 0 }] },
    });
  });

  test.each([
    ["PUT", "/api/customer/command"],
    ["PATCH", "/api/customer"],
  ])("a %s keeps known ids and gives new ones to new items", async (method, path) => {
    const sandbox = await start();
    const created = await create(sandbox, command({ tiers: 1, crew: 1 }));
    const [tierId, crewId] = [created.body.tier.data[0]?.id, created.body.crew.data[0]?.id];
    const changed = command({ tiers: 2, crew: 2 });
    Object.assign(changed.tier[1] ?? {}, { id: tierId });
    Object.assign(changed["customer-crew"][0] ?? {}, { id: crewId });

    const id = created.body.customer.data.id;
    const updated = await call(sandbox, method, `${path}/${id}`, changed);

    expect(updated.status).toBe(200);
    expect(updated.body.customer.data.id).toBe(id);
    expect(updated.body.tier.data[1]?.id).toBe(tierId);
    expect(updated.body.tier.data[0]?.id).toMatch(/^tier_/);
    expect(updated.body.tier.data[0]?.id).not.toBe(tierId);
    expect(updated.body.crew.data[0]?.id).toBe(crewId);
    expect(sandbox.customers()).toMatchObject([{ id, revision: 2 }]);
  });

  test("an update of nobody is a 404, a delete removes once", async () => {
    const sandbox = await start();
    const { body } = await create(sandbox, command());
    const path = `/api/customer/command/${body.customer.data.id}`;

    const nobody = await call(sandbox, "PUT", "/api/customer/command/cus_nobody", command());
    const removed = await call(sandbox, "DELETE", path);
    const again = await call(sandbox, "DELETE", path);

    expect([nobody.status, removed.status, again.status]).toEqual([404, 200, 404]);
    expect(sandbox.customers()).toEqual([]);
  });

  test("a customer is found by its account number", async () => {
    const sandbox = await start();
    const { body } = await create(sandbox, command({ code: "ACC 7/8" }));
    await create(sandbox, command({ code: "TWIN" }), { key: "a" });
    await create(sandbox, command({ code: "TWIN" }), { key: "b" });

    const found = await call(sandbox, "GET", "/api/customer?code=ACC%207%2F8");
    const nobody = await call(sandbox, "GET", "/api/customer?code=ACC-9");
    const twins = await call(sandbox, "GET", "/api/customer?code=TWIN");

    expect(found.body.customer.data.id).toBe(body.customer.data.id);
    expect([nobody.status, twins.status]).toEqual([404, 409]);
  });

  test.each<[string, (sent: Command) => unknown]>([
    ["customer.name must not be blank", (sent) => Object.assign(sent.customer, { name: " " })],
    [
      'customer.email "nope" is not an email address',
      (sent) => Object.assign(sent.customer, { email: "nope" }),
    ],
    [
      'customer.msisdn "0812" is not an E.164 number',
      (sent) => Object.assign(sent.customer, { msisdn: "0812" }),
    ],
    [
      "customer.parent_id cus_x is not a customer",
      (sent) => Object.assign(sent.customer, { parent_id: "cus_x" }),
    ],
    [
      "tier[0] min_amount must be below max_amount",
      (sent) => Object.assign(sent.tier[0] ?? {}, { max_amount: 0 }),
    ],
    ["branch", (sent) => Object.assign(sent, { branch: null })],
  ])("%s: 422", async (message, spoil) => {
    const sandbox = await start();
    const sent = command({ tiers: 1 });
    spoil(sent);

    const { status, body } = await create(sandbox, sent);

    expect(status).toBe(422);
    expect(JSON.stringify(body)).toContain(JSON.stringify(message).slice(1, -1));
    expect(sandbox.customers()).toEqual([]);
  });
});

describe("idempotency keys", () => {
  test("the same key and body get the same answer, another body is refused", async () => {
    const sandbox = await start();

    const first = await create(sandbox, command(), { key: "k1" });
    const again = await create(sandbox, command(), { key: "k1" });
    const other = await create(sandbox, command({ code: "ACC-2" }), { key: "k1" });

    expect(again).toEqual(first);
    expect(other.status).toBe(422);
    expect(sandbox.customers()).toHaveLength(1);
  });

  test("a refused command does not use its key up", async () => {
    const sandbox = await start();
    const wrong = command();
    Object.assign(wrong.customer, { name: "" });

    await create(sandbox, wrong, { key: "k1" });
    const corrected = await create(sandbox, command(), { key: "k1" });

    expect(corrected.status).toBe(201);
  });

  test("an API that does not know them makes two customers", async () => {
    const sandbox = await start({ honourKeys: false });

    await create(sandbox, command(), { key: "k1" });
    await create(sandbox, command(), { key: "k1" });

    expect(sandbox.customers()).toHaveLength(2);
  });
});

describe("the data file", () => {
  test("brings customers and keys over a restart, also after a kill", async () => {
    const dataFile = join(await makeFolder(), "deep", "sandbox.json");
    const before = await start({ dataFile });

    const created = await Promise.all(
      Array.from({ length: 30 }, (_, i) =>
        create(before, command({ code: `ACC-${i}` }), { key: `k${i}` }),
      ),
    );
    // Read while the first one still runs: what was answered is in the file, whatever happens next.
    const after = await start({ dataFile });
    const repeated = await create(after, command({ code: "ACC-3" }), { key: "k3" });

    expect(after.customers()).toHaveLength(30);
    expect(repeated.body).toEqual(created[3]?.body);
    expect(await readdir(join(dataFile, ".."))).toEqual(["sandbox.json"]);
  });

  test("goes on without its folder where that was removed, and does not make it again", async () => {
    const folder = join(await makeFolder(), "removed");
    const sandbox = await start({ dataFile: join(folder, "sandbox.json") });
    await rm(folder, { recursive: true });

    const response = await create(sandbox, command());

    expect(response.status).toBe(201);
    await expect(readdir(folder)).rejects.toThrow("ENOENT");
  });

  test("a file that is something else stays as it is and stops the start", async () => {
    const dataFile = join(await makeFolder(), "notes.json");
    await writeFile(dataFile, "my notes");

    await expect(startSandbox({ dataFile })).rejects.toThrow(/not a file of the sandbox/);

    expect(await readFile(dataFile, "utf8")).toBe("my notes");
  });
});

describe("faults", () => {
  test("cleared while a request is being delayed: it is answered at once, as usual", async () => {
    const sandbox = await start();
    sandbox.setFaults({ next: [{ delayMs: 60_000 }] });

    const delayed = create(sandbox, command());
    await eventually(() => expect(sandbox.counts().inWork).toBe(1));
    sandbox.clearFaults();

    expect((await delayed).status).toBe(201);
    expect(sandbox.customers()).toHaveLength(1);
  });

  test("next are used up one by one, always stays until switched off", async () => {
    const sandbox = await start();

    sandbox.setFaults({ next: [{ status: 503, retryAfter: 1 }, { status: 500 }] });
    const first = await create(sandbox, command());
    const second = await create(sandbox, command());
    const third = await create(sandbox, command());
    sandbox.setFaults({ always: { status: 502 } });
    const fourth = await create(sandbox, command());
    const fifth = await create(sandbox, command());
    sandbox.clearFaults();
    const sixth = await create(sandbox, command());

    expect([first, second, third, fourth, fifth, sixth].map(({ status }) => status)).toEqual([
      503, 500, 201, 502, 502, 201,
    ]);
    expect(first.headers.get("retry-after")).toBe("1");
    expect(sandbox.customers()).toHaveLength(2);
  });

  test("can be applied all the same", async () => {
    const sandbox = await start();
    sandbox.setFaults({ next: [{ status: 502, applied: true }] });

    const { status } = await create(sandbox, command());

    expect(status).toBe(502);
    expect(sandbox.history()).toMatchObject([{ status: 502, applied: true }]);
    expect(sandbox.customers()).toHaveLength(1);
  });

  test.each([
    ["before", 0],
    ["after", 1],
  ] as const)("a connection dropped %s leaves %i customers", async (dropConnection, customers) => {
    const sandbox = await start();
    sandbox.setFaults({ next: [{ dropConnection }] });

    await expect(create(sandbox, command())).rejects.toThrow();

    await eventually(() => expect(sandbox.history()[0]?.answeredAt).not.toBeNull());
    expect(sandbox.customers()).toHaveLength(customers);
    expect(sandbox.history()).toMatchObject([{ status: null, applied: customers === 1 }]);
  });

  test("an answer cut off in the middle", async () => {
    const sandbox = await start();
    sandbox.setFaults({ next: [{ cutOff: true }] });

    await expect(create(sandbox, command())).rejects.toThrow();

    expect(sandbox.customers()).toHaveLength(1);
  });

  test("a hanging request does not keep the sandbox from closing", async () => {
    const sandbox = await start();
    sandbox.setFaults({ next: [{ hang: true }] });

    const hanging = create(sandbox, command()).catch(() => "broken off");
    await eventually(() => expect(sandbox.counts()).toMatchObject({ inWork: 1 }));
    await sandbox.close();

    expect(await hanging).toBe("broken off");
  });

  test("a client that goes away does not stop the work", async () => {
    const sandbox = await start();
    sandbox.setFaults({ next: [{ delayMs: 100 }] });
    const controller = new AbortController();

    const going = create(sandbox, command(), { signal: controller.signal });
    await eventually(() => expect(sandbox.counts()).toMatchObject({ inWork: 1 }));
    controller.abort();

    await expect(going).rejects.toThrow();
    await eventually(() =>
      expect(sandbox.history()).toMatchObject([{ applied: true, status: null }]),
    );
    expect(sandbox.counts()).toMatchObject({ inWork: 0, byStatus: { none: 1 } });
  });

  test("only one operation, or only one account", async () => {
    const sandbox = await start();
    sandbox.setFaults({
      next: [{ on: "update", status: 500 }],
      always: { code: "BAD", status: 422 },
    });

    const good = await create(sandbox, command());
    const bad = await create(sandbox, command({ code: "BAD" }));
    const path = `/api/customer/command/${good.body.customer.data.id}`;
    const update = await call(sandbox, "PUT", path, command());

    expect([good.status, bad.status, update.status]).toEqual([201, 422, 500]);
  });

  test("an answer without a section, turned around, late, or a page of HTML", async () => {
    const sandbox = await start();
    sandbox.setFaults({
      next: [
        { omit: ["tier"], reverse: true },
        { delayMs: 60, body: "<html>" },
      ],
    });

    const distorted = await create(sandbox, command({ tiers: 1, crew: 2 }));
    const html = await create(sandbox, command({ code: "ACC-2" }));

    const [customer] = sandbox.customers();
    expect(distorted.body).not.toHaveProperty("tier");
    expect(distorted.body.crew.data.map(({ id }) => id)).toEqual(
      customer?.crew.map(({ id }) => id).reverse(),
    );
    expect(html).toMatchObject({ status: 201, body: "<html>" });
    const late = sandbox.history()[1];
    expect((late?.answeredAt ?? 0) - (late?.receivedAt ?? 0)).toBeGreaterThan(55);
  });

  test("a reset instead of a closed connection", async () => {
    const sandbox = await start();
    sandbox.setFaults({ next: [{ dropConnection: "before", reset: true }] });

    const going = create(sandbox, command());

    await expect(going).rejects.toMatchObject({ cause: { code: "ECONNRESET" } });
  });

  test("a flood, a bomb and a trickle are valid answers to whoever reads on", async () => {
    const sandbox = await start();
    const megabyte = 1024 * 1024;
    sandbox.setFaults({
      next: [
        { floodBytes: megabyte },
        { floodBytes: 20 * megabyte, gzip: true },
        { trickleMs: 0.1 },
      ],
    });

    const flood = await rawCreate(sandbox, "A");
    const bomb = await rawCreate(sandbox, "B");
    const trickle = await rawCreate(sandbox, "C");

    expect(flood.body).toHaveLength(megabyte);
    expect(bomb.headers.get("content-encoding")).toBe("gzip");
    expect(bomb.body).toHaveLength(20 * megabyte);
    const ids = [flood, bomb, trickle].map(({ body }) => JSON.parse(body).customer.data.id);
    expect(ids).toEqual(sandbox.customers().map(({ id }) => id));
    await eventually(() =>
      expect(sandbox.counts()).toMatchObject({ inWork: 0, byStatus: { 201: 3 } }),
    );
  });

  test("a flood ends with the reader who hangs up", async () => {
    const sandbox = await start();
    sandbox.setFaults({ next: [{ floodBytes: 2 ** 40 }] });
    const giveUp = new AbortController();

    const answer = await fetch(`${sandbox.url}/api/customer/command`, {
      ...creating(sandbox, "A"),
      signal: giveUp.signal,
    });
    giveUp.abort();

    await expect(answer.text()).rejects.toThrow();
    await eventually(() => expect(sandbox.counts()).toMatchObject({ byStatus: { none: 1 } }));
  });

  test("are set over HTTP, and a typing error is told", async () => {
    const sandbox = await start();

    const wrong = await call(sandbox, "POST", "/sandbox/faults", { next: [{ statsu: 503 }] });
    const set = await call(sandbox, "POST", "/sandbox/faults", { next: [{ status: 503 }] });
    const failed = await create(sandbox, command());
    await call(sandbox, "POST", "/sandbox/faults", { always: { status: 503 } });
    const cleared = await call(sandbox, "DELETE", "/sandbox/faults");

    expect([wrong.status, set.status, failed.status]).toEqual([400, 200, 503]);
    expect(JSON.stringify(wrong.body)).toContain("statsu");
    expect(cleared.body).toEqual({ next: [] });
  });
});

describe("the history", () => {
  test("has key, generation, exact text and times, and no token", async () => {
    const sandbox = await start();

    await create(sandbox, command({ code: "ACC-1" }), { key: "k1", generation: "7" });

    const [request] = sandbox.history();
    expect(request).toMatchObject({
      operation: "create",
      method: "POST",
      path: "/api/customer/command",
      key: "k1",
      generation: "7",
      text: JSON.stringify(command({ code: "ACC-1" })),
      body: command({ code: "ACC-1" }),
      code: "ACC-1",
      status: 201,
      applied: true,
      overlapping: false,
    });
    expect(request?.answeredAt).toBeGreaterThanOrEqual(request?.receivedAt ?? Infinity);
    expect(JSON.stringify(request)).not.toContain(sandbox.staticToken);
  });

  test("shows requests of one account that overlap, not those of different accounts", async () => {
    const sandbox = await start();
    sandbox.setFaults({ always: { delayMs: 50 } });

    await Promise.all(
      ["A", "A", "B"].map((code, i) => create(sandbox, command({ code }), { key: `k${i}` })),
    );
    await create(sandbox, command({ code: "A" }), { key: "k4" });

    const overlapping = sandbox.history().map((entry) => [entry.code, entry.overlapping]);
    expect(overlapping.filter(([code]) => code === "B")).toEqual([["B", false]]);
    expect(overlapping.filter(([code]) => code === "A")).toEqual([
      ["A", true],
      ["A", true],
      ["A", false],
    ]);
    expect(sandbox.counts()).toMatchObject({ total: 4, overlapping: 2, inWork: 0 });
  });

  test("is read over HTTP, and counts stay exact", async () => {
    const sandbox = await start();
    for (let i = 0; i < 5; i++) await create(sandbox, command({ code: `A${i}` }), { key: `k${i}` });
    await create(sandbox, {});

    const { body } = await call(sandbox, "GET", "/sandbox/requests?limit=2");

    expect(body).toMatchObject({
      total: 6,
      byOperation: { create: 6, update: 0 },
      byStatus: { 201: 5, 422: 1 },
      requests: [{ code: "A4" }, { code: null, status: 422 }],
    });
  });

  test("reset forgets it all", async () => {
    const sandbox = await start();
    await create(sandbox, command());

    await call(sandbox, "POST", "/sandbox/reset");

    expect(sandbox.history()).toEqual([]);
    expect(sandbox.customers()).toEqual([]);
    expect(sandbox.counts()).toMatchObject({ total: 0 });
  });
});

async function rawCreate(sandbox: Sandbox, code: string) {
  const answer = await fetch(`${sandbox.url}/api/customer/command`, creating(sandbox, code));
  return { headers: answer.headers, body: await answer.text() };
}

function creating(sandbox: Sandbox, code: string): RequestInit {
  return {
    method: "POST",
    headers: {
      authorization: `Bearer ${sandbox.staticToken}`,
      "content-type": "application/json",
      "idempotency-key": code,
    },
    body: JSON.stringify(command({ code })),
  };
}

type Command = ReturnType<typeof command>;

function command(given: { code?: string; tiers?: number; crew?: number } = {}) {
  const address = {
    building: "",
    street: "Jl. Melati",
    region: "",
    city: "Bandung",
    state: "Jawa Barat",
    country: "Indonesia",
    zip_code: "",
  };
  return {
    customer: {
      name: "Toko Melati",
      email: "toko@example.test",
      msisdn: "+6281234567890",
      address,
      customer_role: "branch",
      parent_id: null,
      customer_type: "INDIVIDUAL",
      ktp: "",
      npwp: "",
    },
    tier: Array.from({ length: given.tiers ?? 0 }, (_, i) => ({
      tier_type: "nominal",
      tier_category: "discount",
      min_amount: i * 100,
      max_amount: i * 100 + 100,
      fee: 5,
      valid_from: "2026-01-01T00:00:00",
      valid_to: "2026-12-31T23:59:59",
    })),
    "customer-crew": Array.from({ length: given.crew ?? 0 }, (_, i) => ({
      ktp: "",
      npwp: "",
      name: `Ani ${i}`,
      msisdn: "",
      email: "",
      username: `ani${i}`,
    })),
    "beneficiary-account": null,
    branch: { name: "Toko Melati", code: given.code ?? "ACC-1", address },
  };
}

interface Answered {
  readonly status: number;
  readonly headers: Headers;
  readonly body: {
    customer: { data: { id: string } };
    tier: { data: { id: string }[] };
    crew: { data: { id: string }[] };
  };
}

interface CallOptions {
  readonly key?: string;
  readonly generation?: string;
  readonly token?: string;
  readonly signal?: AbortSignal;
}

function create(sandbox: Sandbox, body: unknown, options: CallOptions = {}) {
  return call(sandbox, "POST", "/api/customer/command", body, options);
}

async function call(
  sandbox: Sandbox,
  method: string,
  path: string,
  body?: unknown,
  options: CallOptions = {},
): Promise<Answered> {
  const response = await fetch(sandbox.url + path, {
    method,
    signal: options.signal ?? null,
    headers: {
      authorization: `Bearer ${options.token ?? sandbox.staticToken}`,
      ...(options.key === undefined ? {} : { "idempotency-key": options.key }),
      ...(options.generation === undefined ? {} : { "x-sync-generation": options.generation }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const isJson = response.headers.get("content-type")?.includes("json");
  const answer = isJson ? await response.json() : await response.text();
  return { status: response.status, headers: response.headers, body: answer as Answered["body"] };
}

async function getToken(sandbox: Sandbox): Promise<string> {
  const response = await fetch(`${sandbox.url}/oauth/token`, {
    method: "POST",
    headers: { authorization: basic(sandbox) },
    body: new URLSearchParams({ grant_type: "client_credentials" }),
  });
  return ((await response.json()) as { access_token: string }).access_token;
}

function basic(sandbox: Sandbox): string {
  return `Basic ${btoa(`${sandbox.clientId}:${sandbox.clientSecret}`)}`;
}

async function start(options: SandboxOptions = {}): Promise<Sandbox> {
  const sandbox = await startSandbox(options);
  cleanups.push(() => sandbox.close());
  return sandbox;
}

async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "sandbox-"));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  return folder;
}
