/** F51: requests for many accounts that are made while a captured table is away for two seconds. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { insertAccount } from "../support/accounts.ts";
import { audit } from "../support/audit.ts";
import { eventually } from "../support/eventually.ts";
import { createProduct } from "../support/product.ts";
import { untilAtRest } from "../support/queue-state.ts";
import { FLAWLESS } from "../support/verdict.ts";

const AWAY = [
  {
    how: "renamed",
    away: "alter table m_account rename to kept",
    back: "alter table kept rename to m_account",
  },
  {
    how: "with its key renamed",
    away: "alter table m_account rename id to kept",
    back: "alter table m_account rename kept to id",
  },
] as const;

const REQUESTS = [
  { what: "request_all()", asks: "select account_sync.request_all()" },
  {
    what: "a backfill of what lacks ids",
    asks: "insert into account_sync.change (marker, lane) values ('missing', 'backfill')",
  },
] as const;

test.each(AWAY.flatMap((away) => REQUESTS.map((request) => ({ ...away, ...request }))))(
  "F51 m_account $how for two seconds: $what is told once, kept, and reaches every account within seconds",
  async ({ away, back, asks }) => {
    const product = await createProduct({ database: { migrated: true } });
    await product.database.query("alter table m_account disable trigger m_account_capture_insert");
    for (let n = 0; n < 3; n += 1) await insertAccount(product.database, { accountNo: `A-${n}` });
    await product.database.query("truncate account_sync.change");
    await product.database.query("alter table m_account enable trigger m_account_capture_insert");
    // A sweep that is far away: the marker is looked for when it is due.
    const daemon = await product.start({ SYNC_SWEEP_INTERVAL_MS: "60000" });
    const troubles = () => daemon.log.filter((line) => line.includes("expanding a marker"));

    await product.database.query(away);
    await product.database.query(asks);
    await eventually(() => expect(troubles()).toHaveLength(1));
    // The two seconds of the fault.
    await sleep(2_000);
    await product.database.query(back);
    const backAt = performance.now();

    await eventually(() => expect(product.sandbox.customers()).toHaveLength(3));
    expect(performance.now() - backAt).toBeLessThan(9_000);
    await untilAtRest(product.database);
    expect(troubles()).toHaveLength(1);
    expect(await product.database.query("select from account_sync.expansion")).toEqual([]);
    expect(await audit(product.database, product.sandbox)).toEqual(FLAWLESS);
  },
);
