/**
 * The SQL of `sql/queries/`, one statement a file, by file name; a folder holds the queries of one part. All are read once,
 * at the first import.
 */
import { readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";

export const sqlDirectory = fileURLToPath(new URL("../../sql/", import.meta.url));

const queries = readQueries();

function readQueries(): ReadonlyMap<string, string> {
  const texts = new Map<string, string>();
  for (const file of readdirSync(`${sqlDirectory}queries`, { recursive: true, encoding: "utf8" })) {
    if (!file.endsWith(".sql")) continue;
    const name = basename(file, ".sql");
    if (texts.has(name)) throw new Error(`Two files of sql/queries/ are called ${name}.sql`);
    texts.set(name, readFileSync(`${sqlDirectory}queries/${file}`, "utf8"));
  }
  return texts;
}

export function sqlOf(name: string): string {
  const text = queries.get(name);
  if (text === undefined) throw new Error(`No file of sql/queries/ is called ${name}.sql`);
  return text;
}

export function queryNames(): readonly string[] {
  return [...queries.keys()];
}
