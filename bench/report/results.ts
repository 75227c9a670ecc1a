/**
 * The results folder: one file per part, written whole when the part is done. A file says of which run it is, so that tables of parts
 * that ran on different days can stand side by side without pretending otherwise.
 */
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Figure } from "../measure/observations.ts";
import type { Flame } from "../measure/profile.ts";
import type { Environment } from "./environment.ts";

export interface PartResult {
  readonly part: string;
  readonly run: {
    readonly startedAt: string;
    readonly quick: boolean;
    readonly scale: number;
    readonly seconds: number;
  };
  readonly environment: Environment;
  readonly figures: readonly Figure[];
  readonly flame?: Flame;
}

/** Of full runs, kept in the repository. */
export const RESULTS = fileURLToPath(new URL("../results/", import.meta.url));

/** Of quick runs, which say that everything works and little else. */
export const QUICK_RESULTS = `${RESULTS}quick/`;

/** Of parts that failed or were interrupted: for a look, and not for the report. */
export const UNFINISHED_RESULTS = `${RESULTS}unfinished/`;

/** @returns the path of the file */
export async function writeResult(result: PartResult, folder: string): Promise<string> {
  const file = `${folder}${result.part}.json`;
  await mkdir(folder, { recursive: true });
  await writeFile(file, `${JSON.stringify(result, null, 2)}\n`);
  return file;
}

export async function readResults(folder: string): Promise<PartResult[]> {
  const files = await readdir(folder).catch(() => []);
  return await Promise.all(
    files
      .filter((file) => file.endsWith(".json"))
      .map(async (file) => JSON.parse(await readFile(folder + file, "utf8")) as PartResult),
  );
}
