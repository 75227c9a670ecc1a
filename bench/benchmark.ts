/** A run of the benchmark in reading order: what was asked for, the parts one after the other, the lab of a part, its results. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { isWhole, type Request, readRequest, USAGE } from "./command-line.ts";
import { CONTENDERS } from "./contenders/all.ts";
import { type Api, startApi } from "./lab/api.ts";
import { killChildren } from "./lab/children.ts";
import { chooseLoadGenerator } from "./lab/load.ts";
import { type Postgres, startPostgres } from "./lab/postgres.ts";
import { type Observation, toFigures } from "./measure/observations.ts";
import { database } from "./parts/database.ts";
import { drain } from "./parts/drain.ts";
import { idle } from "./parts/idle.ts";
import { latency } from "./parts/latency.ts";
import type { Lab, Part } from "./parts/part.ts";
import { profile } from "./parts/profile.ts";
import { scalePart } from "./parts/scale.ts";
import { snapshot } from "./parts/snapshot.ts";
import { write } from "./parts/write.ts";
import { toLines } from "./report/console.ts";
import { writeDocument } from "./report/document.ts";
import { describeEnvironment } from "./report/environment.ts";
import {
  type PartResult,
  QUICK_RESULTS,
  RESULTS,
  readResults,
  UNFINISHED_RESULTS,
  writeResult,
} from "./report/results.ts";

const PARTS: readonly Part[] = [
  write,
  drain,
  latency,
  database,
  profile,
  scalePart,
  idle,
  snapshot,
];

/** Resolves with the exit code. */
export async function runBenchmark(args: readonly string[]): Promise<number> {
  let request: Request;
  let chosen: Chosen;
  try {
    request = readRequest(args);
    chosen = choose(request);
  } catch (error) {
    say(`${error instanceof Error ? error.message : error}\n\n${USAGE}`);
    return 2;
  }

  if (request.wantsHelp) {
    process.stdout.write(USAGE);
    return 0;
  }
  if (request.reportOnly) {
    await writeReport(request);
    return 0;
  }

  const [part, ...others] = chosen.parts;
  if (part === undefined || others.length > 0) return await runEach(chosen.parts, request.options);
  return await runPart(part, chosen, request);
}

interface Chosen extends Pick<Lab, "contenders" | "quick" | "rounds" | "scale"> {
  readonly parts: readonly Part[];
}

/** @throws Error for a name that is none */
function choose(request: Request): Chosen {
  return {
    ...request,
    parts: pick("part", PARTS, request.parts),
    contenders: pick("contender", CONTENDERS, request.contenders),
  };
}

function pick<Named extends { readonly name: string }>(
  kind: string,
  all: readonly Named[],
  names: readonly string[],
): readonly Named[] {
  const unknown = names.find((name) => !all.some((one) => one.name === name));
  if (unknown !== undefined) {
    const known = all.map(({ name }) => name).join(", ");
    throw new Error(`There is no ${kind} ${unknown}; there are ${known}`);
  }
  return names.length === 0 ? all : all.filter(({ name }) => names.includes(name));
}

const INTERRUPTED = 130;

/** Each in a process of its own: a part that fails leaves nothing behind that could disturb the next. */
async function runEach(parts: readonly Part[], options: readonly string[]): Promise<number> {
  const failed: string[] = [];
  for (const { name } of parts) {
    const code = await runInProcess(name, options);
    if (code === INTERRUPTED) return code;
    if (code !== 0) failed.push(name);
  }
  if (failed.length === 0) return 0;

  const names = failed.join(" ");
  say(`\nFailed: ${names}. Once more: npm run bench -- ${[names, ...options].join(" ")}`);
  return 1;
}

async function runInProcess(part: string, options: readonly string[]): Promise<number | null> {
  const run = fileURLToPath(new URL("run.ts", import.meta.url));
  const child = spawn(process.execPath, [run, part, ...options], { stdio: "inherit" });
  const stop = () => child.kill();
  for (const signal of STOP_SIGNALS) process.on(signal, stop);
  const [code] = (await once(child, "exit")) as [number | null];
  for (const signal of STOP_SIGNALS) process.off(signal, stop);
  return code;
}

/** Writes what was measured whatever happens, and into the results only what is complete. */
async function runPart(part: Part, chosen: Chosen, request: Request): Promise<number> {
  const load = await chooseLoadGenerator();
  const startedAt = new Date();
  const observations: Observation[] = [];
  let postgresVersion = "unknown";
  let others: Awaited<ReturnType<Part["run"]>>;
  const code = await withLab(async ({ postgres, api }) => {
    postgresVersion = postgres.version;
    others = await part.run({ ...chosen, postgres, api, load, log: sayElapsed }, (observation) =>
      observations.push(observation),
    );
  });

  const figures = toFigures(observations);
  for (const line of toLines(figures)) process.stdout.write(`${line}\n`);
  const result: PartResult = {
    part: part.name,
    run: {
      startedAt: startedAt.toISOString(),
      quick: chosen.quick,
      scale: chosen.scale,
      seconds: Math.round((Date.now() - startedAt.getTime()) / 1000),
    },
    environment: await describeEnvironment(postgresVersion, load.name),
    figures,
    ...others,
  };
  if (code !== 0) {
    const file = await writeResult(result, UNFINISHED_RESULTS);
    say(`The part ${part.name} did not finish; its figures until then are in ${file}`);
  } else if (figures.length === 0) {
    say(`The part ${part.name} has nothing to measure of these contenders`);
  } else {
    await writeResult(result, isWhole(request) ? RESULTS : QUICK_RESULTS);
    await writeReport(request);
  }
  return code;
}

async function writeReport(request: Request): Promise<void> {
  if (isWhole(request)) await writeDocument(await readResults(RESULTS));
  else await writeDocument(await readResults(QUICK_RESULTS), QUICK_RESULTS);
}

const STOP_SIGNALS = ["SIGINT", "SIGTERM"] as const;

/**
 * Starts the server and the API, and stops them whatever happens: after an error, and after Ctrl-C, which ends the run in the middle of
 * what it measures. Resolves with the exit code.
 */
async function withLab(
  work: (lab: { readonly postgres: Postgres; readonly api: Api }) => Promise<void>,
): Promise<number> {
  // Both stay until the process ends: what was under way may fail again, and Ctrl-C may come twice, before all is cleaned up.
  const interrupted = new Promise<"interrupted">((resolve) => {
    for (const signal of STOP_SIGNALS) process.on(signal, () => resolve("interrupted"));
  });
  const failed = new Promise<never>((_, reject) => {
    process.on("uncaughtException", reject);
  });
  const postgres = await startPostgres(() => {});
  try {
    const api = await startApi();
    const outcome = await Promise.race([work({ postgres, api }), interrupted, failed]);
    return outcome === "interrupted" ? INTERRUPTED : 0;
  } catch (error) {
    say(error instanceof Error ? (error.stack ?? error.message) : String(error));
    return 1;
  } finally {
    killChildren();
    await postgres.stop();
  }
}

/** With the seconds since the start: what takes long in a run shows. */
function sayElapsed(line: string): void {
  say(`${String(Math.round(process.uptime())).padStart(5)} s  ${line}`);
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
