/** docs/performance.md: its text is written by hand, and what stands between markers comes from the results folder. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { fillMarkers } from "./markers.ts";
import { drawPlots, type Plot } from "./plots.ts";
import type { PartResult } from "./results.ts";
import { describeRounds, toTable } from "./tables.ts";

const docs = fileURLToPath(new URL("../../docs/", import.meta.url));

/** Writes the document and its plots below `folder`; the text comes from docs/performance.md. */
export async function writeDocument(results: readonly PartResult[], folder = docs): Promise<void> {
  const text = await readFile(`${docs}performance.md`, "utf8");
  const sections = new Map<string, string>();
  await mkdir(`${folder}performance`, { recursive: true });

  for (const result of results) {
    const plots = await drawPlots(result);
    for (const { name, svg } of plots) {
      await writeFile(`${folder}performance/${name}.svg`, `${svg}\n`);
    }
    sections.set(result.part, toSection(result, plots));
  }
  await writeFile(`${folder}performance.md`, fillMarkers(text, sections));
}

function toSection(result: PartResult, plots: readonly Plot[]): string {
  return [
    describeRun(result),
    ...plots.map(({ name, title }) => `![${title}](performance/${name}.svg)`),
    toTable(result.part, result.figures),
  ].join("\n\n");
}

function describeRun({ run, environment, figures }: PartResult): string {
  const { cpu, cores, memoryGiB, system, node, postgres, packages, loadGenerator, commit } =
    environment;
  const peers = ["graphile-worker", "pg-boss"].map((name) => `${name} ${packages[name]}`);
  const sentences = [
    `Run of ${run.startedAt.slice(0, 10)}${commit === null ? "" : ` at ${commit}`}, ${describeRounds(figures)}, ${Math.ceil(run.seconds / 60)} min.`,
    `${cpu}, ${cores} cores, ${memoryGiB} GiB, ${system}; Node ${node}, PostgreSQL ${postgres}, ${peers.join(", ")}, load by ${loadGenerator}.`,
  ];
  return `*${sentences.join(" ")}*`;
}
