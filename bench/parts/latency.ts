/** How long after its commit an edit is a request at the API: alone, forty a second, and five hundred a second. */
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import type { Contender } from "../contenders/contender.ts";
import { ensureInstalled } from "../contenders/templates.ts";
import { type AccountData, toCommand } from "../daemons/command.ts";
import { nowMs } from "../daemons/parent.ts";
import { CommandSender } from "../daemons/sync-one.ts";
import { toAccountNo } from "../lab/accounts.ts";
import type { Child } from "../lab/children.ts";
import type { Database } from "../lab/postgres.ts";
import { percentile } from "../measure/statistics.ts";
import { until } from "../measure/wait.ts";
import { type Lab, type Observe, type Part, scaled } from "./part.ts";

const ACCOUNTS = 20_000;
const CONCURRENCY = 32;

/** Ends a stream of single edits early where each waits for half a second. */
const ONE_AT_A_TIME_MS = 8_000;

/** What is edited, and how often. */
interface Stream {
  readonly scenario: string;
  readonly edits: number;
  /** null: the next edit waits for the request of the last one, and a moment. */
  readonly perSecond: number | null;
}

export const latency: Part = {
  name: "latency",
  async run(lab, observe) {
    for (let round = 1; round <= lab.rounds; round += 1) {
      for (const contender of lab.contenders) {
        lab.log(`latency, round ${round}: ${contender.name}`);
        await measureLatency(lab, contender, observe);
      }
    }
  },
};

function toStreams(lab: Lab, contender: Contender): readonly Stream[] {
  const seconds = lab.quick ? 3 : 4;
  const idle = { scenario: "one edit at a time", edits: scaled(lab, 100, 40), perSecond: null };
  const steady = { scenario: "40 edits/s", edits: scaled(lab, 40 * seconds, 40 * seconds) };
  const busy = { scenario: "500 edits/s", edits: scaled(lab, 500 * seconds, 500 * seconds) };
  return [
    idle,
    { ...steady, perSecond: 40 },
    // Far beyond what one request at a time can follow.
    ...(contender.concurrencyMax === 1 ? [] : [{ ...busy, perSecond: 500 }]),
  ];
}

async function measureLatency(lab: Lab, contender: Contender, observe: Observe): Promise<void> {
  const { postgres, api } = lab;
  const database = await postgres.createDatabase(
    "bench",
    await ensureInstalled(postgres, contender, ACCOUNTS),
  );
  const daemon = await startDaemon(lab, contender, database);
  const editor = await createEditor(database, contender.install === null ? api.url : null);
  try {
    await runStream(lab, editor, { scenario: "warm-up", edits: 30, perSecond: 40 });
    for (const stream of toStreams(lab, contender)) {
      // A daemon that has just been busy looks at its tables by itself for a while.
      await sleep(1_500);
      const latencies = await runStream(lab, editor, stream);
      for (const percent of [50, 99] as const) {
        observe({
          scenario: stream.scenario,
          contender: contender.name,
          metric: `p${percent} ms`,
          value: percentile(latencies, percent),
        });
      }
    }
  } finally {
    await editor.close();
    await daemon?.stop();
    await database.drop();
  }
}

async function startDaemon(
  lab: Lab,
  contender: Contender,
  database: Database,
): Promise<Child | null> {
  if (contender.start === null || contender.install === null) return null;
  return await contender.start({
    databaseUrl: database.url,
    apiUrl: lab.api.url,
    concurrency: CONCURRENCY,
    accounts: ACCOUNTS,
    settings: { SYNC_QUIET_PERIOD_MS: "0" },
  });
}

/** @returns milliseconds from each edit's commit to its request */
async function runStream(lab: Lab, editor: Editor, stream: Stream): Promise<number[]> {
  const { api } = lab;
  await api.reset({ delayMs: 0, keepsArrivals: true });
  const committedAtMs = new Map<string, number>();
  const edit = async () => {
    const name = await editor.editNext();
    committedAtMs.set(name, nowMs());
  };

  if (stream.perSecond === null) {
    const endsAt = performance.now() + ONE_AT_A_TIME_MS;
    for (let number = 1; number <= stream.edits && performance.now() < endsAt; number += 1) {
      await edit();
      await until(`edit ${number}`, 2, async () => {
        const { requests } = await api.counts();
        return { answer: requests >= number ? true : null };
      });
      // No beat that a poll could fall in step with.
      await sleep(20 + Math.random() * 60);
    }
  } else {
    await atRate(stream.perSecond, stream.edits, edit);
  }

  await until("the last requests", 20, async () => {
    const { requests } = await api.counts();
    return { answer: requests >= committedAtMs.size ? true : null, progress: requests };
  });
  const arrivedAtMs = new Map<string, number>();
  for (const { name, atMs } of await api.arrivals()) {
    if (!arrivedAtMs.has(name)) arrivedAtMs.set(name, atMs);
  }
  return [...committedAtMs].map(([name, atMs]) => {
    const arrived = arrivedAtMs.get(name);
    if (arrived === undefined) throw new Error(`${name} never arrived`);
    // A daemon can be told of a commit before the one who committed is.
    return Math.max(0, arrived - atMs);
  });
}

/** Each call at its time, whether the ones before have ended or not. */
async function atRate(perSecond: number, times: number, call: () => Promise<void>): Promise<void> {
  const startedAt = performance.now();
  const calls: Promise<void>[] = [];
  for (let number = 1; number <= times; number += 1) {
    const ahead = startedAt + (number * 1_000) / perSecond - performance.now();
    if (ahead > 0) await sleep(ahead);
    calls.push(call());
  }
  await Promise.all(calls);
}

interface Editor {
  /** Renames the next account; resolves with the name when that is committed. */
  editNext(): Promise<string>;
  close(): Promise<void>;
}

/** With a URL it sends each edit itself as soon as it is committed: the limit. */
async function createEditor(database: Database, apiUrl: string | null): Promise<Editor> {
  const pool = new pg.Pool({ connectionString: database.url, max: 4 });
  // Dropping the database ends connections that are just being closed.
  pool.on("error", () => {});
  const sender = apiUrl === null ? null : new CommandSender(apiUrl, CONCURRENCY);
  let edits = 0;
  return {
    async editNext() {
      edits += 1;
      const code = toAccountNo(1 + (edits % ACCOUNTS));
      // Never one that an account has had: it would be no change.
      const name = `Edit ${edits}`;
      await pool.query({
        name: "edit",
        text: "update m_account set name = $1, updated_at = now() where account_no = $2",
        values: [name, code],
      });
      void sender?.send(toCommand({ ...BLANK, accountNo: code, name }), null);
      return name;
    },
    async close() {
      await sender?.close();
      await pool.end();
    },
  };
}

const BLANK: AccountData = {
  accountNo: "",
  name: "",
  phoneNo: "081200000000",
  email: "",
  ktp: "",
  npwp: "",
  role: "branch",
  uuidBe: null,
  branchUuidBe: null,
  tiers: [],
  pics: [],
};
