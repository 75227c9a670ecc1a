/**
 * F50: a sequence behind its table, as logical replication and a restore of rows without sequences leave it. It is noticed at the start and
 * when it happens, and repaired: nothing is lost, and nothing is sent twice.
 */
import { expect, test } from "vitest";
import { insertAccount } from "../support/accounts.ts";
import { audit } from "../support/audit.ts";
import { eventually } from "../support/eventually.ts";
import { recordFault } from "../support/evidence.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { createProduct, type Product, type RunningDaemon } from "../support/product.ts";
import { untilAtRest } from "../support/queue-state.ts";
import { FLAWLESS } from "../support/verdict.ts";

const ATTEMPT = "account_sync.attempt_attempt_id_seq";
const EXPANSION = "account_sync.expansion_expansion_id_seq";

test("F50 the journal's sequence set back under a running daemon: the next changes arrive, once each", async () => {
  const product = await createProduct({ database: { migrated: true } });
  const daemon = await product.start();
  const ids = [await insertAndSync(product, "A-1"), await insertAndSync(product, "A-2")];

  await setBack(product.database, ATTEMPT);
  await product.database.query("update m_account set name = 'Toko Lain' where id = $1", [ids[0]]);
  await insertAndSync(product, "A-3");

  expect(
    product
      .requests()
      .map(({ operation }) => operation)
      .sort(),
  ).toEqual(["create", "create", "create", "update"]);
  expect((await fetch(`${daemon.url}/readyz`)).status).toBe(200);
  expect(repairsOf(daemon, ATTEMPT)).toHaveLength(1);
  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  recordFault("F50", found, { tries: 1, recoveryMs: null });
});

test("F50 set back before the start: the start sets it and says so", async () => {
  const product = await createProduct({ database: { migrated: true } });
  const before = await product.start();
  await insertAndSync(product, "A-1");
  await before.stop("a failover");
  await setBack(product.database, ATTEMPT);
  await product.database.query("update m_account set name = 'Toko Lain'");

  const daemon = await product.start();
  await untilAtRest(product.database);

  expect(daemon.log.join("\n")).toContain(`Sequence ${ATTEMPT} was behind its table`);
  expect(await daemon.metric("check_ok", { check: "sequences" })).toBe(1);
  expect(product.requests().map(({ operation }) => operation)).toEqual(["create", "update"]);
  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  recordFault("F50", found, { tries: 1, recoveryMs: null });
});

test("F50 with two daemons, again and again, while they send", async () => {
  const product = await createProduct({ database: { migrated: true } });
  await Promise.all([product.start(), product.start()]);

  for (let round = 0; round < 5; round += 1) {
    await setBack(product.database, ATTEMPT);
    await Promise.all(
      Array.from({ length: 8 }, (_, n) =>
        insertAccount(product.database, { accountNo: `A-${round}-${n}` }),
      ),
    );
    await untilAtRest(product.database);
  }

  expect(product.sandbox.customers()).toHaveLength(40);
  expect(product.requests()).toHaveLength(40);
  const found = await audit(product.database, product.sandbox);
  expect(found).toEqual(FLAWLESS);
  recordFault("F50", found, { tries: 5, recoveryMs: null });
});

test("F50 the sequence of markers set back: request_all reaches every account, and other changes are folded", async () => {
  const product = await createProduct({ database: { migrated: true } });
  const daemon = await product.start();
  await insertAndSync(product, "A-1");
  // Set aside, so that their ids are there to collide with.
  await product.database.query(
    `insert into account_sync.expansion (marker, lane, changed_at, due_at)
     select 'known', lane, now(), now() + interval '1 hour' from unnest(enum_range(null::account_sync.lane)) lane`,
  );

  await product.database.query(
    `select setval('${EXPANSION}', (select min(expansion_id) from account_sync.expansion), false)`,
  );
  await product.database.query("select account_sync.request_all()");
  await product.database.query("update m_account set name = 'Toko Lain'");

  await eventually(() =>
    expect(product.sandbox.customers()).toMatchObject([
      { command: { customer: { name: "Toko Lain" } } },
    ]),
  );
  await untilNoMarkerIsLeft(product.database);
  expect(repairsOf(daemon, EXPANSION)).toHaveLength(1);
});

async function insertAndSync(product: Product, accountNo: string): Promise<string> {
  const id = await insertAccount(product.database, { accountNo });
  await untilAtRest(product.database);
  return id;
}

/** Of repairs, which the running daemon did. */
function repairsOf(daemon: RunningDaemon, sequence: string): string[] {
  return daemon.log.filter(
    (line) => line.includes("A sequence was behind its table") && line.includes(sequence),
  );
}

async function setBack(database: TestDatabase, sequence: string): Promise<void> {
  await database.query(`select setval('${sequence}', 1, false)`);
}

async function untilNoMarkerIsLeft(database: TestDatabase): Promise<void> {
  await eventually(async () =>
    expect(
      await database.query("select marker from account_sync.expansion where due_at <= now()"),
    ).toEqual([]),
  );
}
