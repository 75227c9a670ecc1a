/**
 * A backfill beside an old snapshot, such as a pg_dump holds for as long as it runs: nothing that dies meanwhile can be vacuumed away.
 * Every account is synced again and again, first without and then beside a snapshot that stays open all the time.
 */
import pg from "pg";
import type { Contender } from "../contenders/contender.ts";
import { ensureWaiting } from "../contenders/templates.ts";
import { editEveryAccount } from "../lab/accounts.ts";
import type { Database } from "../lab/postgres.ts";
import { measureDrain } from "../measure/drain.ts";
import { type Lab, type Observe, type Part, scaled } from "./part.ts";

const CONCURRENCY = 32;
const MINUTE_MS = 60_000;

export const snapshot: Part = {
  name: "snapshot",
  async run(lab, observe) {
    const contender = lab.contenders.find(({ name }) => name === "account-sync");
    if (contender === undefined) return;
    const accounts = scaled(lab, 10_000, 1_000);
    const database = await lab.postgres.createDatabase(
      "bench",
      await ensureWaiting(lab.postgres, contender, accounts),
    );

    for (let time = 1; time <= 2; time += 1) {
      lab.log(`snapshot: without, ${time}`);
      await backfill(lab, contender, database, accounts, "no snapshot", observe);
    }
    const holder = await holdSnapshot(database);
    const endsAt = performance.now() + (lab.quick ? 0.5 : 10) * MINUTE_MS;
    for (let time = 1; performance.now() < endsAt || time <= 2; time += 1) {
      lab.log(`snapshot: beside it, ${time}`);
      await backfill(lab, contender, database, accounts, "beside a snapshot", observe);
    }
    await holder.end();
    await database.drop();
  },
};

async function backfill(
  lab: Lab,
  contender: Contender,
  database: Database,
  accounts: number,
  scenario: string,
  observe: Observe,
): Promise<void> {
  await editEveryAccount(database, `${Math.random().toString(36).slice(2)} `);
  const { accountsPerSecond, postgresMs } = await measureDrain({
    ...lab,
    contender,
    database,
    accounts,
    concurrency: CONCURRENCY,
    delayMs: 0,
  });
  const common = { scenario, contender: contender.name };
  observe({ ...common, metric: "accounts/s", value: accountsPerSecond });
  if (postgresMs !== null) {
    observe({ ...common, metric: "PostgreSQL CPU ms/account", value: postgresMs });
  }
}

async function holdSnapshot(database: Database): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: database.url });
  client.on("error", () => {});
  await client.connect();
  await client.query("begin isolation level repeatable read");
  await client.query("select count(*) from m_account");
  return client;
}
