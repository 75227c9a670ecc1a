/** Whether the source tables are there, with the columns that our queries read and write, in types that fit each other. */
import { errorCode } from "../db/error-code.ts";
import { diagnoseMissingTables } from "../db/preconditions.ts";
import type { Diagnosis } from "../operator-error.ts";
import type { CheckContext } from "./check.ts";
import { type ExpectedTable, KEYS } from "./expected-tables.ts";
import { type ComparedTable, readTables } from "./found-tables.ts";

export async function lookAtSourceTables(context: CheckContext): Promise<Diagnosis[]> {
  const tables = await readTables(context);
  const findings = [
    ...findMissingTables(tables),
    ...tables.flatMap(findWrong),
    ...findUnlikeKeys(tables),
  ];
  if (findings.length > 0) return findings;

  for (const { expected, found } of tables) {
    if (found.kind === null) continue;
    const finding = await findUnreadable(context, expected);
    if (finding !== null) findings.push(finding);
  }
  return findings;
}

function findMissingTables(tables: readonly ComparedTable[]): Diagnosis[] {
  const missing = tables
    .filter(
      ({ expected, found }) => found.kind === null && !found.isCaptured && !expected.isOptional,
    )
    .map(({ expected }) => expected.table);
  return missing.length === 0 ? [] : [diagnoseMissingTables(missing)];
}

function findWrong({ expected, found }: ComparedTable): Diagnosis[] {
  const { table, reads, writes, newer } = expected;
  if (found.kind === null) {
    if (!found.isCaptured) return [];
    return [
      {
        problem: `Table public.${table} was captured at the last migrate and is gone: nothing is sent, as what it held would look removed.`,
        remedy: `Bring it back and run \`account-sync migrate\`, or, if it was removed for good, say so: select account_sync.remove_capture('${table}');`,
      },
    ];
  }
  if (expected.isCaptured && !/^[rp]$/.test(found.kind)) {
    return [
      {
        problem: `public.${table} is no table, and nothing but a table can have its changes captured.`,
        remedy: `Give account-sync a database in which ${table} is the table itself.`,
      },
    ];
  }

  const missing = [...new Set([...reads, ...writes])].filter(
    (column) => found.columns[column] === undefined && !newer.includes(column),
  );
  if (missing.length === 0) return [];
  return [
    {
      problem: `Table public.${table} has no column ${missing.join(", ")}.`,
      remedy: "Run the application's own migrations, or bring the column back.",
    },
  ];
}

/** A bigint never equals a uuid: the rows would belong to no account. */
function findUnlikeKeys(tables: readonly ComparedTable[]): Diagnosis[] {
  const typeOf = (path: string) => {
    const [table, column = ""] = path.split(".");
    const named = tables.find(({ found }) => found.table === table);
    return named?.found.columns[column]?.type;
  };

  return KEYS.flatMap(([column, key]) => {
    const [columnType, keyType] = [typeOf(column), typeOf(key)];
    if (columnType === undefined || keyType === undefined) return [];
    if (familyOf(columnType) === familyOf(keyType)) return [];
    return [
      {
        problem: `public.${column} is ${columnType}, and public.${key}, which it points to, is ${keyType}.`,
        remedy: "Give both the same type.",
      },
    ];
  });
}

function familyOf(type: string): string {
  if (/^(?:character varying|character|text|citext|varchar|bpchar)$/.test(type)) return "text";
  if (/^(?:bigint|integer|smallint|numeric)$/.test(type)) return "number";
  return type;
}

/** Runs the query for no account at all: an error is what else keeps it from being run. */
async function findUnreadable(
  context: CheckContext,
  expected: ExpectedTable,
): Promise<Diagnosis | null> {
  try {
    await context.db.run(expected.load, expected.loadNothing);
    return null;
  } catch (error) {
    const code = errorCode(error) ?? "";
    // Rights and row security have checks of their own.
    if (code === "42501") return null;
    // Class 42 is about names and types, and its messages hold no values. Anything else is not the table's fault.
    if (!code.startsWith("42")) throw error;
    const said = error instanceof Error ? error.message : code;
    return {
      problem: `public.${expected.table} cannot be read: ${said}.`,
      remedy: "Give the column the type that the application's own migrations give it.",
    };
  }
}
