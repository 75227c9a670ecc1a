/**
 * The SQL of `sql/queries/`, one statement a file, by file name. Read once; a file that is missing fails at the first import
 * rather than at three in the morning.
 */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const sqlDirectory = fileURLToPath(new URL("../../sql/", import.meta.url));

const queries: ReadonlyMap<string, string> = new Map(
  readdirSync(`${sqlDirectory}queries`)
    .filter((file) => file.endsWith(".sql"))
    .map((file) => [
      file.slice(0, -".sql".length),
      readFileSync(`${sqlDirectory}queries/${file}`, "utf8"),
    ]),
);

export function sqlOf(name: string): string {
  const text = queries.get(name);
  if (text === undefined) throw new Error(`sql/queries/${name}.sql does not exist`);
  return text;
}

export function queryNames(): readonly string[] {
  return [...queries.keys()];
}
