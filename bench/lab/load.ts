/**
 * The application's writes: a script that several clients run over and over for some seconds. pgbench where it is installed, else in this
 * process, which then takes a share of the processor that the result names by its generator.
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import type { Database } from "./postgres.ts";

/** A transaction of the application. `:n` is the number of an account, `:value` a random number. */
export interface Script {
  readonly statements: readonly string[];
  /** Accounts that are written to: 1 for a hot one. */
  readonly accounts: number;
}

export interface LoadGenerator {
  readonly name: string;
  /** @returns transactions per second */
  run(options: {
    readonly database: Database;
    readonly script: Script;
    readonly clients: number;
    readonly seconds: number;
  }): Promise<number>;
}

const VALUE_MAX = 1_000_000_000;
const SECONDS_MAX = 10;

export async function chooseLoadGenerator(): Promise<LoadGenerator> {
  try {
    const { stdout } = await execFileAsync("pgbench", ["--version"]);
    return { name: stdout.trim(), run: runPgbench };
  } catch {
    return { name: "in process", run: runInProcess };
  }
}

const execFileAsync = promisify(execFile);

const runPgbench: LoadGenerator["run"] = async (options) => {
  const { database, script, clients, seconds } = options;
  const directory = await mkdtemp(join(tmpdir(), "account-sync-bench-load-"));
  try {
    const file = join(directory, "script.sql");
    const draws = [`\\set n random(1, ${script.accounts})`, `\\set value random(1, ${VALUE_MAX})`];
    const statements = script.statements.map((sql) => `${sql.replaceAll(/\s+/g, " ").trim()};`);
    await writeFile(file, `${[...draws, ...statements].join("\n")}\n`);
    const { stdout } = await execFileAsync("pgbench", [
      ...["--no-vacuum", "--protocol=prepared", "--file", file],
      // A deadlock that a contender brings in is tried again, as an application does, and costs what it costs.
      ...["--max-tries=100", "--client", String(clients), "--time", String(seconds)],
      database.url,
    ]);
    const rate = /^tps = ([\d.]+)/m.exec(stdout)?.[1];
    if (rate !== undefined) return Number(rate);
    // On a machine that is busy with other things the clients were not even connected in time.
    if (seconds > SECONDS_MAX) throw new Error(`pgbench said no rate:\n${stdout}`);
    return await runPgbench({ ...options, seconds: 2 * seconds });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
};

const runInProcess: LoadGenerator["run"] = async ({ database, script, clients, seconds }) => {
  const statements = script.statements.map(toParameters);
  const endsAt = performance.now() + seconds * 1_000;
  let transactions = 0;
  const runClient = async () => {
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    while (performance.now() < endsAt) {
      const drawn = { n: draw(script.accounts), value: draw(VALUE_MAX) };
      for (const [index, { text, names }] of statements.entries()) {
        const values = names.map((name) => drawn[name]);
        await client.query({ name: `load-${index}`, text, values });
      }
      transactions += 1;
    }
    await client.end();
  };
  await Promise.all(Array.from({ length: clients }, runClient));
  return transactions / seconds;
};

type Name = "n" | "value";

/** `:n` → `$1`, in the order of the first occurrence. */
function toParameters(sql: string): { readonly text: string; readonly names: readonly Name[] } {
  const names: Name[] = [];
  const text = sql.replaceAll(/(?<!:):(n|value)\b/g, (_, name: Name) => {
    if (!names.includes(name)) names.push(name);
    return `$${names.indexOf(name) + 1}`;
  });
  return { text, names };
}

function draw(max: number): string {
  return String(1 + Math.floor(Math.random() * max));
}
