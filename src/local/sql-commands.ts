/** The psql commands that the SQL prompt supports, and an error for the others. */
import { sqlOf } from "../db/queries.ts";
import type { SqlRows } from "./sql-session.ts";

export interface CommandContext {
  /** Runs a file of sql/queries/. */
  query(sql: string, values: readonly unknown[]): Promise<SqlRows>;
  print(line: string): void;
  show(result: SqlRows): void;
}

const HELP = [
  "Statements end with ; and may span lines. Besides:",
  "  \\d             all tables, views and sequences      \\dt  tables alone      \\dn  schemas",
  "  \\d <name>      what one has: columns, indexes, constraints, triggers; * stands for any characters",
  "  \\?             this list",
  "  \\q             leaves",
  "In a pipe or from a file the first error ends it with exit code 1, and nothing after it runs.",
  "COPY from STDIN or to STDOUT needs psql.",
];

/** Values of pg_class.relkind. */
const RELATIONS = ["r", "p", "v", "m", "f", "S"];
const TABLES = ["r", "p", "f"];

/** `left`: the prompt is to end. @throws Error, one sentence, when there is no such command or it finds nothing */
export async function answerCommand(
  text: string,
  { query, print, show }: CommandContext,
): Promise<"done" | "left"> {
  const [, name = "", pattern = ""] = /^\\([A-Za-z]+|\S?)\+?\s*(.*?)[\s;]*$/s.exec(text) ?? [];
  switch (name) {
    case "q":
      return "left";
    case "?":
      for (const line of HELP) print(line);
      return "done";
    case "dn":
      show(await query(sqlOf("list_schemas"), []));
      return "done";
    case "dt":
      show(await query(sqlOf("list_relations"), [TABLES, ...toLike(pattern)]));
      return "done";
    case "d":
      if (pattern === "") show(await query(sqlOf("list_relations"), [RELATIONS, null, null]));
      else await describe(pattern, { query, print, show });
      return "done";
    default:
      throw new Error(
        `\\${name} is not known here: \\? lists what is, and psql has all the others.`,
      );
  }
}

async function describe(pattern: string, { query, print, show }: CommandContext): Promise<void> {
  const { rows } = await query(sqlOf("list_relations"), [RELATIONS, ...toLike(pattern)]);
  if (rows.length === 0) throw new Error(`There is no table or view ${pattern}: \\d lists them.`);

  for (const [schema, name] of rows) {
    print(`${schema}.${name}`);
    show(await query(sqlOf("list_columns"), [schema, name]));
    const details = await query(sqlOf("list_relation_details"), [schema, name]);
    for (const [kind, text] of details.rows) print(`${kind}: ${text}`);
  }
}

/** `schema.name`, each with `*` and `?`, as patterns of LIKE; names fold to lower case unless quoted, as in SQL. */
function toLike(pattern: string): [string | null, string | null] {
  if (pattern === "") return [null, null];
  const parts = [...pattern.matchAll(/"((?:[^"]|"")*)"|([^."]+)/g)].map(([, quoted, plain]) =>
    quoted === undefined
      ? (plain ?? "")
          .toLowerCase()
          .replaceAll(/[\\%_]/g, "\\$&")
          .replaceAll("*", "%")
          .replaceAll("?", "_")
      : quoted.replaceAll('""', '"').replaceAll(/[\\%_]/g, "\\$&"),
  );
  return parts.length > 1 ? [parts[0] ?? null, parts[1] ?? null] : [null, parts[0] ?? null];
}
