/**
 * The real PostgreSQL that histories are played on, one after the other: production's migrations, triggers and queries, and the
 * simulation's time (setup.sql). Three sessions: the replicas', of which one statement or transaction runs at a time; the
 * application's, whose transactions may stay open; and the judge's.
 */
import { readFile } from "node:fs/promises";
import pg from "pg";
import { type Database, databaseOver } from "../../src/db/database.ts";
import { migrate } from "../../src/db/migrate.ts";
import { createDatabase, type TestDatabase } from "../support/postgres.ts";

export interface Stage {
  readonly replicas: Session;
  readonly application: Session;
  readonly judge: Session;
  /** Empties everything. */
  reset(): Promise<void>;
  close(): Promise<void>;
}

export interface Session {
  readonly client: pg.Client;
  /** Milliseconds since the history's beginning. */
  setTime(ms: number): void;
  /** Runs statements one after the other as they stand. */
  script(sql: string): Promise<void>;
  rows<Row extends pg.QueryResultRow>(sql: string): Promise<Row[]>;
  /** Without faults and gates: what a person does. */
  readonly db: Omit<Database, "close">;
}

/** Later than the server's start, which note_lost_replicas asks for. */
const BEGINNING = Date.parse("2100-01-01T00:00:00Z");

export function toInstant(ms: number): string {
  return new Date(BEGINNING + ms).toISOString();
}

export async function openStage(): Promise<Stage> {
  const database = await createDatabase();
  await migrate({ url: database.url, info: () => {} });
  for (const file of ["setup.sql", "../support/careless-writers.sql"])
    await database.query(await readFile(new URL(file, import.meta.url), "utf8"));

  const replicas = await openSession(database, "replica");
  const application = await openSession(database, "application");
  const judge = await openSession(database, "judge");
  return {
    replicas,
    application,
    judge,
    async reset() {
      await judge.script(RESET);
    },
    async close() {
      for (const { client } of [replicas, application, judge]) await client.end();
      await database.close();
    },
  };
}

/** Deletes, because to truncate so many tables costs more than a history does. The triggers would capture it. */
const RESET = `
  set session_replication_role = replica;
  delete from m_account_pic;
  delete from m_account_package_tier;
  delete from m_account;
  delete from account_sync.change;
  delete from account_sync.account;
  delete from account_sync.attempt;
  delete from account_sync.expansion;
  delete from account_sync.replica;
  delete from account_sync.api_hold;
  delete from account_sync.mapped_id;
  update account_sync.id_takeover set watermark = '', finished_at = null;
  update account_sync.installation set installation_id = '00000000-0000-4000-8000-0000000000ff';
  select pg_advisory_unlock_all();
  delete from simulation.captured;
  delete from careless.kept;
  update m_account_type set name = case id when '00000000-0000-4000-8000-0000000000a1' then 'parent' else 'branch' end;
  set session_replication_role = origin`;

const OPTIONS = {
  search_path: "simulation,pg_catalog,public",
  synchronous_commit: "off",
  lock_timeout: "2s",
  plan_cache_mode: "force_generic_plan",
  // Rows come in the order of an index, not of where they lie: a history must not depend on what was played, or vacuumed, before it.
  enable_seqscan: "off",
  enable_bitmapscan: "off",
};

async function openSession(database: TestDatabase, actor: string): Promise<Session> {
  const client = new pg.Client({
    connectionString: database.url,
    options: Object.entries(OPTIONS)
      .map(([name, value]) => `-c ${name}=${value}`)
      .join(" "),
  });
  client.on("error", () => {});
  await client.connect();
  await client.query(`set simulation.actor = '${actor}'; set simulation.now = '${toInstant(0)}'`);

  let setTo = -1;
  const setTime = (ms: number) => {
    if (setTo === ms) return;
    setTo = ms;
    // Not awaited: the client sends what follows after it.
    void client.query(`set simulation.now = '${toInstant(ms)}'`);
  };
  return {
    client,
    setTime,
    script: async (sql) => {
      await client.query(sql);
    },
    rows: async <Row extends pg.QueryResultRow>(sql: string) => (await client.query<Row>(sql)).rows,
    db: databaseOver(
      {
        query: client.query.bind(client),
        connect: async () => Object.assign(Object.create(client), { release: () => {} }),
      } as never,
      { settingsPerTransaction: false },
    ),
  };
}
