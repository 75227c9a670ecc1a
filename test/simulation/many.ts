/**
 * Plays many histories, made by fast-check from a seed. One that fails is made as short as a minute allows, and told with its trace
 * and the command that plays it again.
 */
import fc from "fast-check";
import { expect } from "vitest";
import { type Circumstances, type Counts, playHistory, type Told } from "./history.ts";
import type { Stage } from "./stage.ts";
import { Tape } from "./tape.ts";

/** About how many events a history has before its faults stop. */
const TAPE_LENGTH = 300;
const SHORTEN_MS = Number(process.env["SIMULATION_SHORTEN_MS"] ?? 60_000);

/** Most tapes have the whole length; shorter ones are what fast-check comes to when it makes one shorter. */
const lengths = fc.noBias(fc.nat({ max: TAPE_LENGTH * 8 }));
// Not biased towards small numbers: those are the harmless choices.
const numbers = fc.noBias(
  fc.array(fc.nat({ max: 2 ** 32 - 1 }), {
    minLength: TAPE_LENGTH,
    maxLength: TAPE_LENGTH,
    size: "max",
  }),
);
export const tapes = fc.tuple(lengths, numbers).map(([length, drawn]) => drawn.slice(0, length));

export interface Play {
  readonly seed: number;
  readonly path?: string | undefined;
  readonly runs: number;
  /** For `performance.now()`: no history begins after it. */
  readonly deadline?: number;
}

export interface Played {
  readonly histories: number;
  readonly counts: Counts;
}

/** As the environment says, else the same histories as ever: what passed does not fail for another reason than a change. */
export function ordinaryPlay(defaultSeed: number): Play {
  return {
    seed: Number(process.env["SIMULATION_SEED"] ?? defaultSeed),
    path: process.env["SIMULATION_PATH"],
    runs: Number(process.env["SIMULATION_RUNS"] ?? 500),
  };
}

/** @throws with the history and how to play it again, when one breaks an invariant */
export async function playMany(
  stage: Stage,
  circumstances: Circumstances,
  play: Play,
): Promise<Played> {
  if (play.path !== undefined) return await playAgain(stage, circumstances, play);

  const startedAt = performance.now();
  const counts: Counts = { events: 0, calls: 0, requests: 0, faults: 0, deaths: 0, stops: 0 };
  let histories = 0;
  let failedAt = Number.POSITIVE_INFINITY;
  let worst: Told | null = null;

  const property = fc.asyncProperty(tapes, async (tape) => {
    const now = performance.now();
    if (now > (play.deadline ?? now) || now > failedAt + SHORTEN_MS) return true;
    const told = await playHistory(stage, circumstances, new Tape(tape));
    histories += 1;
    for (const name of Object.keys(counts) as (keyof Counts)[]) counts[name] += told.counts[name];
    if (told.findings.length === 0) return true;
    failedAt = Math.min(failedAt, now);
    worst = told;
    return false;
  });
  const result = await fc.check(property, { seed: play.seed, numRuns: play.runs });

  const seconds = (performance.now() - startedAt) / 1_000;
  const perSecond = Object.entries(counts).map(
    ([name, count]) => `${count} ${name} (${Math.round(count / seconds)}/s)`,
  );
  process.stdout.write(
    `${histories} histories in ${seconds.toFixed(0)} s, ${perSecond.join(", ")}\n`,
  );
  if (result.failed) {
    const { seed, counterexamplePath, numRuns, errorInstance } = result;
    const which = { seed, path: counterexamplePath ?? "" };
    throw new Error(
      worst === null
        ? storyOf(`History ${numRuns} could not be played: ${String(errorInstance)}`, which)
        : storyOf(`History ${numRuns} breaks an invariant:`, which, worst),
    );
  }
  return { histories, counts };
}

/** This one history: fast-check would go on from there with shorter ones when it has become a good one. */
async function playAgain(
  stage: Stage,
  circumstances: Circumstances,
  { seed, path = "" }: Play,
): Promise<Played> {
  const [tape = []] = fc.sample(tapes, { seed, path, numRuns: 1 });
  const told = await playHistory(stage, circumstances, new Tape(tape));
  if (told.findings.length > 0)
    throw new Error(storyOf("It breaks an invariant:", { seed, path }, told));
  return { histories: 1, counts: told.counts };
}

function storyOf(
  problem: string,
  { seed, path }: { readonly seed: number; readonly path: string },
  told: Told | null = null,
): string {
  const { currentTestName = "", testPath = "" } = expect.getState();
  return [
    problem,
    ...(told?.findings ?? []),
    "",
    `Play it again: SIMULATION_SEED=${seed} SIMULATION_PATH=${path} npm run test:simulation -- ${testPath.split("/").at(-1)} -t '${currentTestName}'`,
    "",
    ...(told?.trace ?? []),
  ].join("\n");
}
