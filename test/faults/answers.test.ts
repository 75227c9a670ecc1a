/**
 * F23 to F26: answers that prove less than they seem to, and rows that change while the request is under way. Only proven ids are
 * written, an id that cannot be written is reported and kept, and no edit of the application is overwritten.
 */
import { expect, test } from "vitest";
import { externalIds, insertAccount } from "../support/accounts.ts";
import { audit } from "../support/audit.ts";
import { findLeaks } from "../support/canaries.ts";
import { eventually } from "../support/eventually.ts";
import { recordFault } from "../support/evidence.ts";
import { startFront } from "../support/front.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { createProduct, type Product } from "../support/product.ts";
import { countStates, stateOf, untilAtRest } from "../support/queue-state.ts";
import { FLAWLESS } from "../support/verdict.ts";

interface Item {
  id?: string | number | null;
  [field: string]: unknown;
}

interface Section {
  data: Item[];
  failed?: number;
  errors?: string[];
}

/** As the sandbox answers. */
interface Answer {
  success: boolean;
  error?: string;
  customer: { data: Item };
  branch: { data: Item };
  tier: Section;
  crew: Section;
}

interface Distortion {
  readonly distort: (answer: Answer) => Answer;
  /** Rows that the first answer proves an id for: all, those of the undistorted sections, or none. */
  readonly proven: { readonly account: boolean; readonly tiers: number; readonly pics: number };
  /** Of the first run. */
  readonly outcome: "synced" | "partial" | "parked";
}

const onTiers = (change: (data: Item[]) => Item[]) => (answer: Answer) => ({
  ...answer,
  tier: { ...answer.tier, data: change(answer.tier.data) },
});
const onCrew = (change: (data: Item[]) => Item[]) => (answer: Answer) => ({
  ...answer,
  crew: { ...answer.crew, data: change(answer.crew.data) },
});
const withId = (items: Item[], index: number, id: Item["id"]) =>
  items.map((item, n) => (n === index ? { ...item, id: id ?? null } : item));

const ALL = { account: true, tiers: 3, pics: 3 };
const NO_TIERS = { ...ALL, tiers: 0 };
const NO_PICS = { ...ALL, pics: 0 };

/** On the answer to a create with three tiers and three PICs, from an API that echoes nothing but ids. */
const DISTORTIONS: Readonly<Record<string, Distortion>> = {
  "some tiers failed": {
    distort: (answer) => ({
      ...answer,
      tier: { ...answer.tier, failed: 1, errors: ["one was refused"] },
    }),
    proven: NO_TIERS,
    outcome: "partial",
  },
  "some contact persons failed, and are not in the list": {
    distort: (answer) => ({ ...answer, crew: { data: answer.crew.data.slice(1), failed: 1 } }),
    proven: NO_PICS,
    outcome: "partial",
  },
  "fewer tiers": {
    distort: onTiers((data) => data.slice(0, 2)),
    proven: NO_TIERS,
    outcome: "partial",
  },
  "fewer contact persons": {
    distort: onCrew((data) => data.slice(1)),
    proven: NO_PICS,
    outcome: "partial",
  },
  "no tiers at all": { distort: onTiers(() => []), proven: NO_TIERS, outcome: "partial" },
  "more tiers": {
    distort: onTiers((data) => [...data, { id: "tier_of_nobody" }]),
    proven: NO_TIERS,
    outcome: "partial",
  },
  "more contact persons": {
    distort: onCrew((data) => [{ id: "crew_of_nobody" }, ...data]),
    proven: NO_PICS,
    outcome: "partial",
  },
  "one tier's id twice": {
    distort: onTiers((data) => withId(data, 2, data[0]?.id)),
    proven: NO_TIERS,
    outcome: "partial",
  },
  "one id for all contact persons": {
    distort: onCrew((data) => data.map(() => ({ id: "crew_one" }))),
    proven: NO_PICS,
    outcome: "partial",
  },
  "a tier's id of 256 characters": {
    distort: onTiers((data) => withId(data, 1, "x".repeat(256))),
    proven: NO_TIERS,
    outcome: "partial",
  },
  "an empty id": {
    distort: onTiers((data) => withId(data, 0, "")),
    proven: NO_TIERS,
    outcome: "partial",
  },
  "a blank id": {
    distort: onCrew((data) => withId(data, 1, "  ")),
    proven: NO_PICS,
    outcome: "partial",
  },
  "an id that is null": {
    distort: onCrew((data) => withId(data, 2, null)),
    proven: NO_PICS,
    outcome: "partial",
  },
  "an id that is no whole number": {
    distort: onTiers((data) => withId(data, 1, 2.5)),
    proven: NO_TIERS,
    outcome: "partial",
  },
  "an id with a zero byte": {
    distort: onTiers((data) => withId(data, 1, "tier\0one")),
    proven: NO_TIERS,
    outcome: "partial",
  },
};

test("F23 answers that prove too little: no id by guess, what is proven is written, the rest is reported and asked for", async () => {
  const product = await createProduct();
  const front = await startFront(product.sandbox.url);
  const daemon = await product.start({ CUSTOMER_API_URL: front.url });
  const cases = Object.entries(DISTORTIONS).flatMap(([name, distortion], kind) =>
    [1, 2].map((n) => ({ name, ...distortion, code: `D-${kind}-${n}` })),
  );
  /** The ids on the rows after the distorted answer was handled, before the next one came. */
  const seen = new Map<string, Awaited<ReturnType<typeof externalIds>>>();
  const ids = new Map<string, string>();
  front.rewrite = async (answer, request) => {
    if (request.path === "/oauth/token") return answer;
    const { code } = JSON.parse(request.body).branch;
    const one = cases.find((candidate) => candidate.code === code);
    if (one === undefined) return answer;
    const id = ids.get(code) ?? "";
    if (request.method === "PUT" && !seen.has(code))
      seen.set(code, await externalIds(product.database, id));
    if (request.method !== "POST") return answer;
    return { ...answer, body: JSON.stringify(one.distort(JSON.parse(answer.body))) };
  };

  for (const { code } of cases)
    ids.set(code, await insertAccount(product.database, { accountNo: code, tiers: 3, pics: 3 }));
  const recoveryMs = await untilAtRest(product.database);

  for (const { code, name, proven, outcome } of cases) {
    const written = seen.get(code);
    expect([name, written?.account !== null]).toEqual([name, proven.account]);
    expect([name, written?.tiers.filter((id) => id !== null).length]).toEqual([name, proven.tiers]);
    expect([name, written?.pics.filter((id) => id !== null).length]).toEqual([name, proven.pics]);
    const [first] = await product.database.query(
      "select outcome, error_class, error from account_sync.history where account_id = $1 order by started_at limit 1",
      [ids.get(code)],
    );
    expect([name, first]).toEqual([
      name,
      {
        outcome,
        error_class: "incomplete",
        error: expect.stringMatching(/of 3 (tiers|crew members) got no id/),
      },
    ]);
  }
  // One update each asked for the missing ones, and no more.
  expect(product.requests().filter(({ operation }) => operation === "update")).toHaveLength(
    cases.length,
  );
  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  expect(await findLeaks({ ...product, daemons: [daemon] })).toEqual([]);
  recordFault("F23", found, { tries: cases.length, recoveryMs });
});

test("F23 an API that echoes what it was sent may answer in any order: every id gets onto its own row", async () => {
  const product = await createProduct({ sandbox: { echo: true } });
  const front = await startFront(product.sandbox.url);
  await product.start({ CUSTOMER_API_URL: front.url });
  const orders: readonly ((items: Item[]) => Item[])[] = [
    (items) => items.toReversed(),
    (items) => [...items.slice(1), ...items.slice(0, 1)],
    (items) => [...items.slice(-2), ...items.slice(0, -2)],
  ];
  front.rewrite = (answer, request) => {
    if (request.path === "/oauth/token") return answer;
    const order = orders[front.requests.length % orders.length] ?? orders[0];
    const body: Answer = JSON.parse(answer.body);
    if (order === undefined || body.tier === undefined) return answer;
    body.tier.data = order(body.tier.data);
    body.crew.data = order(body.crew.data);
    return { ...answer, body: JSON.stringify(body) };
  };

  const accounts = 30;
  for (let n = 0; n < accounts; n += 1)
    await insertAccount(product.database, { accountNo: `A-${n}`, tiers: 4, pics: 4 });
  await untilAtRest(product.database);

  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  expect(product.requests()).toHaveLength(accounts);
  recordFault("F23", found, { tries: accounts, recoveryMs: null });
});

test("F23 the id of another row of the account is not given to a new one, and no row loses its own", async () => {
  const product = await createProduct();
  const front = await startFront(product.sandbox.url);
  const daemon = await product.start({ CUSTOMER_API_URL: front.url });
  const accounts = 10;
  const ids: string[] = [];
  for (let n = 0; n < accounts; n += 1)
    ids.push(await insertAccount(product.database, { accountNo: `A-${n}`, tiers: 2, pics: 1 }));
  await untilAtRest(product.database);
  const before = await Promise.all(ids.map((id) => externalIds(product.database, id)));

  // The answer to the update with a third tier gives it the first one's id, once per account.
  const lied = new Set<string>();
  front.rewrite = (answer, request) => {
    if (request.path === "/oauth/token" || lied.has(request.path)) return answer;
    lied.add(request.path);
    const body: Answer = JSON.parse(answer.body);
    body.tier.data = withId(body.tier.data, 2, body.tier.data[0]?.id);
    return { ...answer, body: JSON.stringify(body) };
  };
  await product.database.query(
    `insert into m_account_package_tier (account_id, min_value, max_value, amount, start_date, end_date, percentage)
     select id, 5000, 6000, 1, '2026-01-01', '2026-12-31', true from m_account`,
  );
  await eventually(() => expect(lied.size).toBe(accounts));
  const recoveryMs = await untilAtRest(product.database);

  for (const [n, id] of ids.entries()) {
    const after = await externalIds(product.database, id);
    expect(after.tiers.slice(0, 2)).toEqual(before[n]?.tiers);
    expect(after.account).toBe(before[n]?.account);
    expect(new Set(after.tiers).size).toBe(3);
  }
  expect(await daemon.metric("failed_total", { entity: "tier", reason: "incomplete" })).toBe(
    accounts,
  );
  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  recordFault("F23", found, { tries: accounts, recoveryMs });
});

test("F23 success: false in a 200 is a refusal, with the id of a new customer it is not lost", async () => {
  const product = await createProduct();
  const front = await startFront(product.sandbox.url);
  const daemon = await product.start({ CUSTOMER_API_URL: front.url });
  product.sandbox.setFaults({
    next: [{ code: "REFUSED", status: 200, body: { success: false, error: ["no", "reason"] } }],
  });
  front.rewrite = (answer, request) => {
    if (request.method !== "POST" || !request.body.includes('"MADE"')) return answer;
    return {
      ...answer,
      body: JSON.stringify({ ...JSON.parse(answer.body), success: false, error: "later, perhaps" }),
    };
  };

  const refused = await insertAccount(product.database, { accountNo: "REFUSED" });
  const made = await insertAccount(product.database, { accountNo: "MADE" });
  await untilAtRest(product.database);

  expect(await stateOf(product.database, refused)).toMatchObject({
    state: "parked",
    error_class: "rejected",
  });
  expect((await stateOf(product.database, refused)).error).toContain("no; reason");
  expect((await externalIds(product.database, refused)).account).toBeNull();
  const customer = product.sandbox.customers().find(({ code }) => code === "MADE");
  expect((await externalIds(product.database, made)).account).toBe(customer?.id);
  expect((await externalIds(product.database, made)).tiers).not.toContain(null);
  expect(await daemon.metric("failed_total", { reason: "rejected", entity: "account" })).toBe(1);
  const because = "the API refused the command";
  const found = await audit(product.database, product.sandbox, [
    { accounts: ["REFUSED"], are: "parked", errorClass: "rejected", because },
  ]);
  expect(found).toEqual({ ...FLAWLESS, explained: { [`parked: ${because}`]: 1 } });
  recordFault("F23", found, { tries: 2, recoveryMs: null });
});

/** Delays the answers, runs `interfere` while all requests are under way, then lets the answers come. */
async function duringFlight(
  product: Product,
  count: number,
  begin: () => Promise<unknown>,
  interfere: () => Promise<unknown>,
): Promise<void> {
  product.sandbox.setFaults({ always: { delayMs: FLIGHT_MS } });
  await begin();
  // All of them at once: received, and applied when the delay is over.
  await eventually(() => expect(product.sandbox.counts().inWork).toBe(count), {
    timeoutMs: 20_000,
  });
  await interfere();
  expect(product.sandbox.counts().inWork).toBe(count);
  product.sandbox.clearFaults();
}

/** Longer than a test takes on a slow machine: the faults are cleared before. */
const FLIGHT_MS = 60_000;

const FLIGHT = { CUSTOMER_API_TIMEOUT_MS: "20000" };

test("F24 rows edited while the request is under way: the ids are written all the same, and a second request carries the edit", async () => {
  const product = await createProduct();
  const daemon = await product.start(FLIGHT);
  const accounts = 12;

  for (const round of ["create", "update"]) {
    await duringFlight(
      product,
      accounts,
      async () => {
        if (round === "create")
          for (let n = 0; n < accounts; n += 1)
            await insertAccount(product.database, { accountNo: `A-${n}`, tiers: 2, pics: 2 });
        else await product.database.query("update m_account set name = name || ' Baru'");
      },
      async () => {
        await product.database.query("update m_account set email = $1", [`${round}@example.com`]);
        await product.database.query("update m_account_package_tier set amount = amount + 0.25");
        await product.database.query("update m_account_pic set email = $1 || name", [round]);
        await product.database.query(
          "update m_account_pic set email = replace(email, ' ', '.') || '@example.com'",
        );
      },
    );
    await untilAtRest(product.database);
  }

  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  const sent = Map.groupBy(product.requests(), ({ code }) => code);
  for (const requests of sent.values()) expect(requests).toHaveLength(4);
  expect(await daemon.metric("id_conflicts_total")).toBe(0);
  recordFault("F24", found, { tries: 2 * accounts, recoveryMs: null });
});

test("F25 tiers and contact persons deleted or moved while the request is under way: nothing is written there, it is reported, and no loop follows", async () => {
  const product = await createProduct();
  const daemon = await product.start(FLIGHT);
  const accounts = 12;
  const ids: string[] = [];
  const goner: { accountId: string; rowId: string }[] = [];

  await duringFlight(
    product,
    accounts,
    async () => {
      for (let n = 0; n < accounts; n += 1)
        ids.push(await insertAccount(product.database, { accountNo: `A-${n}`, tiers: 3, pics: 3 }));
    },
    async () => {
      for (const [n, id] of ids.entries()) {
        const other = ids[(n + 1) % ids.length];
        const kinds = [
          `delete from m_account_package_tier where account_id = $1 and min_value = 1000 returning id`,
          `delete from m_account_pic where account_id = $1 and name = 'Budi Uji 2' returning id`,
          `update m_account_package_tier set account_id = '${other}', min_value = 8000 + ${n}, max_value = 9000 where account_id = $1 and min_value = 1000 returning id`,
        ];
        const rows = await product.database.query<{ id: string }>(kinds[n % kinds.length] ?? "", [
          id,
        ]);
        goner.push({ accountId: id, rowId: rows[0]?.id ?? "" });
      }
    },
  );
  const recoveryMs = await untilAtRest(product.database);

  for (const { accountId, rowId } of goner) {
    const attempts = await product.database.query<{ error: string | null; received: string }>(
      "select error, received::text as received from account_sync.attempt where account_id = $1 and received is not null order by attempt_id",
      [accountId],
    );
    expect(attempts[0]?.error).toMatch(
      /was removed or moved meanwhile; the API gave it (tier|crew)_/,
    );
    // The id that has no row any more is kept.
    expect(attempts[0]?.received).toContain(rowId);
  }
  // The create, and one or two updates for the edits of this account and of its neighbour.
  for (const requests of Map.groupBy(product.requests(), ({ code }) => code).values())
    expect(requests.length).toBeLessThanOrEqual(3);
  expect(await countStates(product.database)).toEqual({ clean: accounts });
  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  expect(await findLeaks({ ...product, daemons: [daemon] })).toEqual([]);
  recordFault("F25", found, { tries: accounts, recoveryMs });
});

test("F25 accounts deleted while their create is under way: nothing is written, the customer's id is kept, and no loop follows", async () => {
  const product = await createProduct();
  const daemon = await product.start(FLIGHT);
  const accounts = 10;
  const ids: string[] = [];

  await duringFlight(
    product,
    accounts,
    async () => {
      for (let n = 0; n < accounts; n += 1)
        ids.push(await insertAccount(product.database, { accountNo: `A-${n}`, tiers: 1, pics: 1 }));
    },
    async () => {
      await product.database.query("delete from m_account_pic");
      await product.database.query("delete from m_account");
    },
  );
  const recoveryMs = await untilAtRest(product.database);

  const made = new Map(product.sandbox.customers().map(({ code, id }) => [code, id]));
  expect(made.size).toBe(accounts);
  for (const [n, id] of ids.entries()) {
    const [attempt] = await product.database.query<{ error: string; customer: string }>(
      "select error, received ->> 'customer' as customer from account_sync.attempt where account_id = $1 and received is not null",
      [id],
    );
    expect(attempt?.customer).toBe(made.get(`A-${n}`));
    expect(attempt?.error).toContain(`the API gave it ${made.get(`A-${n}`)}`);
  }
  expect(await countStates(product.database)).toEqual({ clean: accounts });
  expect(product.requests()).toHaveLength(accounts);
  expect(await daemon.metric("runs_total")).toBeLessThanOrEqual(2 * accounts);
  const because = "ON_ACCOUNT_DELETE is ignore, so the customer of a deleted account stays";
  const found = await audit(product.database, product.sandbox, [
    { accounts: ids.map((_, n) => `A-${n}`), are: "removed", because },
  ]);
  expect(found).toEqual({ ...FLAWLESS, explained: { [`removed: ${because}`]: accounts } });
  recordFault("F25", found, { tries: accounts, recoveryMs });
});

test("F26 ids set by hand while a create is under way stay, and each conflict is counted", async () => {
  const product = await createProduct();
  const daemon = await product.start(FLIGHT);
  const accounts = 12;
  const ids: string[] = [];

  await duringFlight(
    product,
    accounts,
    async () => {
      for (let n = 0; n < accounts; n += 1)
        ids.push(await insertAccount(product.database, { accountNo: `A-${n}`, tiers: 1, pics: 1 }));
    },
    () => setByHand(product.database),
  );
  await untilAtRest(product.database);

  for (const [n, id] of ids.entries()) {
    const { account, tiers, pics } = await externalIds(product.database, id);
    expect({ account, tiers, pics }).toEqual({
      account: `by-hand-A-${n}`,
      tiers: [`by-hand-tier-A-${n}`],
      pics: [`by-hand-pic-A-${n}`],
    });
  }
  expect(await daemon.metric("id_conflicts_total")).toBe(3 * accounts);
  for (const entity of ["account", "tier", "pic"])
    expect(await daemon.metric("failed_total", { reason: "id_conflict", entity })).toBe(accounts);
  expect(await conflictsInHistory(product)).toBe(accounts);
  expect(await countStates(product.database)).toEqual({ clean: accounts });
  expect(product.requests()).toHaveLength(accounts);
  await recordByHand(product, accounts);
});

test("F26 ids replaced by hand while an update is under way stay as the person left them, and each conflict is counted", async () => {
  const { product, daemon, ids } = await duringAnUpdate(setByHand);

  for (const [n, id] of ids.entries()) {
    const { account, tiers, pics } = await externalIds(product.database, id);
    expect({ account, tiers, pics }).toEqual({
      account: `by-hand-A-${n}`,
      tiers: [`by-hand-tier-A-${n}`],
      pics: [`by-hand-pic-A-${n}`],
    });
  }
  expect(await daemon.metric("id_conflicts_total")).toBe(3 * ids.length);
  expect(await conflictsInHistory(product)).toBe(ids.length);
  // An edit of ids causes no further request.
  expect(product.requests()).toHaveLength(2 * ids.length);
  await recordByHand(product, ids.length);
});

test("F41 ids that an application puts null over while an update is under way are put back, and no request is added", async () => {
  const { product, daemon, ids } = await duringAnUpdate(clearIds);

  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  expect(await daemon.metric("id_conflicts_total")).toBe(0);
  expect(product.requests()).toHaveLength(2 * ids.length);
  recordFault("F41", found, { tries: 3 * ids.length, recoveryMs: null });
});

async function duringAnUpdate(act: (database: TestDatabase) => Promise<void>) {
  const product = await createProduct();
  const daemon = await product.start(FLIGHT);
  const ids: string[] = [];
  for (let n = 0; n < 12; n += 1)
    ids.push(await insertAccount(product.database, { accountNo: `A-${n}`, tiers: 1, pics: 1 }));
  await untilAtRest(product.database);

  await duringFlight(
    product,
    ids.length,
    () => product.database.query("update m_account set name = name || ' Baru'"),
    () => act(product.database),
  );
  await untilAtRest(product.database);
  return { product, daemon, ids };
}

async function setByHand(database: TestDatabase): Promise<void> {
  await database.query("update m_account set uuid_be = 'by-hand-' || account_no");
  for (const [table, kind] of [
    ["m_account_package_tier", "tier"],
    ["m_account_pic", "pic"],
  ])
    await database.query(
      `update ${table} c set uuid_be = 'by-hand-${kind}-' || a.account_no from m_account a where a.id = c.account_id`,
    );
}

async function clearIds(database: TestDatabase): Promise<void> {
  for (const table of ["m_account", "m_account_package_tier", "m_account_pic"])
    await database.query(`update ${table} set uuid_be = null`);
}

/** The commands have arrived once, at the customer with the account's number. */
async function recordByHand(product: Product, accounts: number): Promise<void> {
  const are = "other ids";
  const because = "a person's edit of ids while the request was under way is kept";
  const found = await audit(product.database, product.sandbox, [
    { accounts: Array.from({ length: accounts }, (_, n) => `A-${n}`), are, because },
  ]);
  expect(found).toEqual({ ...FLAWLESS, explained: { [`${are}: ${because}`]: accounts } });
  recordFault("F26", found, { tries: 3 * accounts, recoveryMs: null });
}

async function conflictsInHistory(product: Product): Promise<number> {
  const [row] = await product.database.query<{ count: number }>(
    "select count(*)::integer as count from account_sync.history where error_class = 'id_conflict' and outcome = 'partial' and error like '%it was kept%'",
  );
  return row?.count ?? 0;
}
