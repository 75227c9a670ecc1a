/**
 * What the application's writes cost with each contender's triggers installed. The peers' daemons are stopped, which favours them; ours is
 * measured stopped, with a resting daemon's request to be notified, and with a daemon that folds on the same processors.
 */
import type { Contender, WriteState } from "../contenders/contender.ts";
import { ensureInstalled } from "../contenders/templates.ts";
import type { Script } from "../lab/load.ts";
import type { Database } from "../lab/postgres.ts";
import { type Lab, type Observe, type Part, scaled } from "./part.ts";

/** A contender in one of its states. */
interface Entrant {
  readonly name: string;
  readonly contender: Contender;
  /** Resolves with what has to be stopped again, if anything. */
  readonly enter: WriteState["enter"];
}

interface Cell {
  readonly scenario: string;
  readonly script: Script;
  readonly clients: number;
  readonly isQuick: boolean;
}

/** Some thousand transactions: what varies from round to round is the machine, and more seconds would not change that. */
const CELL_SECONDS = 1;

const ACCOUNTS = 20_000;
const ACCOUNTS_LARGE = 100_000;

/** What a flush costs: as fast as this disk, and like a networked one. */
const FLUSHES = [
  { name: "fast flush", settings: { commit_delay: "0", commit_siblings: "5" } },
  // Every commit waits 2 ms before its flush, and takes those along that arrive meanwhile.
  { name: "2 ms flush", settings: { commit_delay: "2000", commit_siblings: "0" } },
] as const;

export const write: Part = {
  name: "write",
  async run(lab, observe) {
    const entrants = lab.contenders.flatMap(toEntrants);
    for (let round = 1; round <= lab.rounds; round += 1) {
      for (const flush of FLUSHES) {
        await lab.postgres.configure(flush.settings);
        for (const entrant of entrants) {
          const isSlow = flush.name !== "fast flush";
          if (isSlow && !entrant.contender.writes.hasSlowFlush) continue;
          lab.log(`write, ${flush.name}, round ${round}: ${entrant.name}`);
          await writeOnce(lab, entrant, isSlow ? SLOW_FLUSH_CELLS : CELLS, flush.name, observe);
        }
      }
      await lab.postgres.configure(FLUSHES[0].settings);
      for (const entrant of entrants) {
        lab.log(`write, one large UPDATE, round ${round}: ${entrant.name}`);
        await updateManyRows(lab, entrant, observe);
      }
    }
  },
};

function toEntrants(contender: Contender): Entrant[] {
  const { name, writes } = contender;
  if (writes.states === undefined) {
    return [{ name, contender, enter: () => Promise.resolve(null) }];
  }
  return writes.states.map((state) => ({
    name: `${name} (${state.name})`,
    contender,
    enter: state.enter,
  }));
}

const ACCOUNT_NO = "'A' || lpad(:n::text, 7, '0')";
const ACCOUNT_ID = `(select id from m_account where account_no = ${ACCOUNT_NO})`;

const SINGLE_ROW: Script = {
  accounts: ACCOUNTS,
  statements: [
    `update m_account set name = 'Toko ' || :value::text, updated_at = now() where account_no = ${ACCOUNT_NO}`,
  ],
};

const THREE_TABLES: Script = {
  accounts: ACCOUNTS,
  statements: [
    "begin",
    ...SINGLE_ROW.statements,
    `update m_account_package_tier set amount = :value::numeric % 100, updated_at = now()
     where account_id = ${ACCOUNT_ID} and min_value = 0`,
    `update m_account_pic set phone_no = '0813' || :value::text, updated_at = now()
     where account_id = ${ACCOUNT_ID} and name like '% 1'`,
    "commit",
  ],
};

const NEW_NO = "'N' || :value::text || '-' || :n::text";
const NEW_ID = `(select id from m_account where account_no = ${NEW_NO} limit 1)`;

const INSERT_WITH_CHILDREN: Script = {
  accounts: ACCOUNTS,
  statements: [
    "begin",
    `insert into m_account (account_no, name, phone_no, email)
     values (${NEW_NO}, 'Toko ' || :value::text, '081200000000', 'toko@melati.example')`,
    `insert into m_account_package_tier (account_id, min_value, max_value, amount, start_date, end_date)
     select ${NEW_ID}, t * 1000, t * 1000 + 999, 1, '2026-01-01', '2035-12-31' from generate_series(0, 1) t`,
    `insert into m_account_pic (account_id, name, phone_no, email)
     select ${NEW_ID}, 'Siti ' || p, '0813' || p, '' from generate_series(1, 2) p`,
    "commit",
  ],
};

const CELLS: readonly Cell[] = [
  { scenario: "single row, 1 client", script: SINGLE_ROW, clients: 1, isQuick: false },
  { scenario: "single row, 8 clients", script: SINGLE_ROW, clients: 8, isQuick: true },
  { scenario: "single row, 32 clients", script: SINGLE_ROW, clients: 32, isQuick: false },
  { scenario: "three tables, 8 clients", script: THREE_TABLES, clients: 8, isQuick: true },
  {
    scenario: "insert with children, 8 clients",
    script: INSERT_WITH_CHILDREN,
    clients: 8,
    isQuick: false,
  },
  {
    scenario: "one hot account, 8 clients",
    script: { ...SINGLE_ROW, accounts: 1 },
    clients: 8,
    isQuick: false,
  },
];

/** Where the flush decides, one statement shows it. */
const SLOW_FLUSH_CELLS = CELLS.filter(({ script }) => script === SINGLE_ROW);

async function writeOnce(
  lab: Lab,
  entrant: Entrant,
  cells: readonly Cell[],
  flush: string,
  observe: Observe,
): Promise<void> {
  const database = await openPrepared(lab, entrant, ACCOUNTS);
  const daemon = await entrant.enter(database, lab.api.url);
  try {
    // Fills the caches of a cloned database, and lets a daemon notice that it is busy now.
    await lab.load.run({ database, script: SINGLE_ROW, clients: 8, seconds: 1 });
    for (const { scenario, script, clients, isQuick } of cells) {
      if (lab.quick && !isQuick) continue;
      const rate = await lab.load.run({ database, script, clients, seconds: CELL_SECONDS });
      observe({
        scenario: `${scenario}, ${flush}`,
        contender: entrant.name,
        metric: "transactions/s",
        value: rate,
      });
    }
  } finally {
    await daemon?.stop();
    await database.drop();
  }
}

const UPDATE_ROWS = [10_000, 100_000];
const UPDATE_ROWS_QUICK = [2_000];

async function updateManyRows(lab: Lab, entrant: Entrant, observe: Observe): Promise<void> {
  const { updateRowsMax } = entrant.contender.writes;
  const sizes = lab.quick ? UPDATE_ROWS_QUICK : UPDATE_ROWS;
  const accounts = lab.quick ? ACCOUNTS : ACCOUNTS_LARGE;
  const database = await openPrepared(lab, entrant, accounts);
  const daemon = await entrant.enter(database, lab.api.url);
  try {
    // A cloned table is on disk only.
    await database.query("select count(*) from m_account where name is not null");
    for (const size of sizes.filter((rows) => rows <= updateRowsMax)) {
      const rows = scaled(lab, size, size);
      const startedAt = performance.now();
      await database.query(
        "update m_account set name = name || '.' where account_no <= 'A' || lpad($1::text, 7, '0')",
        [rows],
      );
      observe({
        scenario: `one UPDATE of ${rows.toLocaleString("en")} rows`,
        contender: entrant.name,
        metric: "ms",
        value: performance.now() - startedAt,
      });
    }
  } finally {
    await daemon?.stop();
    await database.drop();
  }
}

async function openPrepared(lab: Lab, entrant: Entrant, accounts: number): Promise<Database> {
  const { postgres } = lab;
  return await postgres.createDatabase(
    "bench",
    await ensureInstalled(postgres, entrant.contender, accounts),
  );
}
