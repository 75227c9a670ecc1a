/**
 * The results folder: one file per part, written whole when the part is done. A file says of which run it is, so that tables of parts
 * that ran on different days can stand side by side without pretending otherwise.
 */
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Figure } from "../measure/observations.ts";
import type { Environment } from "./environment.ts";

export interface PartResult {
  readonly part: string;
  readonly run: {
    readonly startedAt: string;
    readonly quick: boolean;
    readonly rounds: number;
    readonly scale: number;
    readonly seconds: number;
  };
  readonly environment: Environment;
  readonly figures: readonly Figure[];
}

const folder = fileURLToPath(new URL("../results/", import.meta.url));

export async function writeResult(result: PartResult, to = folder): Promise<void> {
  await mkdir(to, { recursive: true });
  await writeFile(`${to}${result.part}.json`, `${JSON.stringify(result, null, 2)}\n`);
}

export async function readResults(): Promise<PartResult[]> {
  const files = await readdir(folder).catch(() => []);
  return await Promise.all(
    files
      .filter((file) => file.endsWith(".json"))
      .map(async (file) => JSON.parse(await readFile(folder + file, "utf8")) as PartResult),
  );
}
