/** A run of the benchmark in reading order: what was asked for, the lab, the parts one after the other, their results. */
import { once } from "node:events";
import { type Request, readRequest, USAGE } from "./command-line.ts";
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

  if (request.reportOnly) {
    await writeReport(request);
    return 0;
  }

  const load = await chooseLoadGenerator();
  return await withLab(async ({ postgres, api }) => {
    for (const part of chosen.parts) {
      await runPart(part, { ...chosen, postgres, api, load, log: sayElapsed });
      await writeReport(chosen);
    }
  });
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

async function runPart(part: Part, lab: Lab): Promise<void> {
  const startedAt = new Date();
  const observations: Observation[] = [];
  const others = await part.run(lab, (observation) => observations.push(observation));

  const figures = toFigures(observations);
  for (const line of toLines(figures)) process.stdout.write(`${line}\n`);
  const result: PartResult = {
    part: part.name,
    run: {
      startedAt: startedAt.toISOString(),
      quick: lab.quick,
      scale: lab.scale,
      seconds: Math.round((Date.now() - startedAt.getTime()) / 1000),
    },
    environment: await describeEnvironment(lab.postgres.version, lab.load.name),
    figures,
    ...others,
  };
  await writeResult(result, isQuick(lab) ? QUICK_RESULTS : RESULTS);
}

/** A run that measured less than it should leaves no trace in what the repository keeps. */
function isQuick({ quick, scale }: Pick<Request, "quick" | "scale">): boolean {
  return quick || scale !== 1;
}

async function writeReport(request: Pick<Request, "quick" | "scale">): Promise<void> {
  if (isQuick(request)) await writeDocument(await readResults(QUICK_RESULTS), QUICK_RESULTS);
  else await writeDocument(await readResults(RESULTS));
}

/**
 * Starts the server and the API, and stops them whatever happens: after an error, and after Ctrl-C, which ends the run in the middle of
 * what it measures.
 */
async function withLab(
  work: (lab: { readonly postgres: Postgres; readonly api: Api }) => Promise<void>,
): Promise<number> {
  const interrupted = Promise.race([once(process, "SIGINT"), once(process, "SIGTERM")]);
  // An error of a connection that no one waits for would end the process before it has cleaned up.
  const failed = once(process, "uncaughtException").then(([error]) => {
    throw error;
  });
  const postgres = await startPostgres(() => {});
  try {
    const api = await startApi();
    const outcome = await Promise.race([
      work({ postgres, api }).then(() => "done" as const),
      interrupted.then(() => "interrupted" as const),
      failed,
    ]);
    return outcome === "done" ? 0 : 130;
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
