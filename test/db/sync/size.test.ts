/** An account that is too large is parked and not read whole; the largest that is allowed goes out. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createEngine, type Engine, only } from "../../support/engine.ts";
import { createFakeApi, type FakeApi, noAnswer } from "../../support/fake-api.ts";

let engine: Engine;
let api: FakeApi;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(async () => {
  await engine.reset();
  api = createFakeApi();
});

describe("an account that cannot be sent", () => {
  test("is parked when it has too many rows, with the figures and the limit, and is not read", async () => {
    const { id } = await engine.insertAccount();
    const small = await engine.insertAccount({ tiers: 3 });
    await engine.query(
      `insert into m_account_pic (account_id, name, phone_no, email)
       select $1, 'Budi Rahasia', '0812000000', '' from generate_series(1, 2001)`,
      [id],
    );

    const outcomes = await engine.round(api);

    expect(outcomes[id]).toMatchObject({ name: "parked", errorClass: "validation" });
    expect(outcomes[id]?.error).toMatch(
      /2001 rows of m_account_pic with \d+ bytes; at most 2000 rows/,
    );
    expect(outcomes[id]?.error).not.toContain("Rahasia");
    expect(outcomes[small.id]).toMatchObject({ name: "synced" });
    await engine.query(
      "delete from m_account_pic where ctid in (select ctid from m_account_pic limit 1)",
    );
    await engine.round(api);
    expect(JSON.parse(api.requests.at(-1)?.body ?? "")["customer-crew"]).toHaveLength(2_000);
    expect(await engine.row(id)).toMatchObject({ state: "clean" });
  });

  test("is parked when its rows have too many bytes, alone and in a batch", async () => {
    const { id } = await engine.insertAccount();
    await engine.query(
      `insert into m_account_pic (account_id, name, phone_no, email) values ($1, 'Budi', '0812000000', repeat('x', 1100000))`,
      [id],
    );

    const alone = await only(engine.round(api));
    await engine.insertAccount();
    await engine.change(id);
    const among = (await engine.round(api))[id];

    for (const outcome of [alone, among]) {
      expect(outcome).toMatchObject({
        name: "parked",
        errorClass: "validation",
        error: expect.stringMatching(/1 row of m_account_pic with 11000\d\d bytes/),
      });
    }
  });

  test("is parked when its command is too large, though each table is not", async () => {
    const { id } = await engine.insertAccount();
    await engine.query(
      `insert into m_account_pic (account_id, name, phone_no, email, username)
       select $1, repeat('"', 100), '0812000000', '', repeat('"', 100) from generate_series(1, 2000)`,
      [id],
    );
    await engine.query(
      `insert into m_account_package_tier (account_id, min_value, max_value, amount, start_date, end_date)
       select $1, n, n + 1, 5, '2026-01-01', '2026-12-31' from generate_series(1, 2000) n`,
      [id],
    );

    const outcome = await only(engine.round(api));

    expect(outcome).toMatchObject({
      name: "parked",
      errorClass: "validation",
      error: expect.stringMatching(/^The command has \d{7} bytes; at most 1048576 are sent$/),
    });
    expect(api.requests).toEqual([]);
  });

  test("of half a megabyte goes out whole, 20 of them at once, and comes back after a crash", async () => {
    const accounts = [];
    for (let n = 0; n < 20; n += 1) accounts.push(await engine.insertAccount());
    await engine.query(
      `insert into m_account_pic (account_id, name, phone_no, email)
       select id, 'Budi', '0812000000', repeat('x', 500000) || '@example.com' from m_account`,
    );
    api.next(...accounts.map(() => noAnswer()));
    const lengths = () => api.requests.map(({ body }) => body?.length ?? 0);

    await engine.round(api, { policy: { unknownOutcome: "resend" } });
    await engine.round(api, { policy: { unknownOutcome: "resend" } });

    expect(lengths()).toHaveLength(40);
    expect(Math.min(...lengths())).toBeGreaterThan(500_000);
    expect(new Set(api.requests.map(({ body }) => body)).size).toBe(1);
  });
});
