/** Whether our role has the rights it needs, and sees all rows. */
import { quoted } from "../db/identifier.ts";
import { findForeignOwner, findPowerlessOwner, type Installation } from "../db/installation.ts";
import type { Diagnosis } from "../operator-error.ts";
import type { CheckContext } from "./check.ts";
import { type ComparedTable, type FoundRole, readRole, readTables } from "./found-tables.ts";

export async function lookAtRights(context: CheckContext): Promise<Diagnosis[]> {
  const [tables, role, [installation]] = await Promise.all([
    readTables(context),
    readRole(context),
    context.db.run<Installation>("check_installation"),
  ]);
  const owner =
    installation === undefined
      ? null
      : (findForeignOwner(installation) ?? findPowerlessOwner(installation));
  return [
    ...findMissingSchemaRights(role),
    ...(owner === null ? [] : [owner]),
    ...tables.flatMap((table) => [
      ...findPartitionsWithoutTrigger(table, role),
      ...findMissingTableRights(table, role),
    ]),
  ];
}

function findMissingSchemaRights(role: FoundRole): Diagnosis[] {
  const findings: Diagnosis[] = [];
  if (!role.usesPublic) {
    findings.push({
      problem: `Role ${role.name} may not use schema public.`,
      remedy: `grant usage on schema public to ${quoted(role.name)};`,
    });
  }
  if (!role.hasSchema && !role.createsSchemas) {
    findings.push({
      problem: `Role ${role.name} may not create schema account_sync.`,
      remedy: `create schema account_sync authorization ${quoted(role.name)};`,
    });
  }
  return findings;
}

function findPartitionsWithoutTrigger(
  { expected: { table, isCaptured }, found: { kind, partitionsWithoutTrigger } }: ComparedTable,
  role: FoundRole,
): Diagnosis[] {
  if (kind === null || !isCaptured || partitionsWithoutTrigger.length === 0) return [];
  return [
    {
      problem: `Role ${role.name} lacks TRIGGER on ${partitionsWithoutTrigger.length} of the partitions of public.${table}, which a grant on the table does not reach.`,
      remedy: `grant trigger on ${partitionsWithoutTrigger.join(", ")} to ${quoted(role.name)};`,
    },
  ];
}

function findMissingTableRights({ expected, found }: ComparedTable, role: FoundRole): Diagnosis[] {
  if (found.kind === null) return [];
  const { table, reads, writes, newer, isCaptured } = expected;
  const unreadable = [...reads, ...newer].filter(
    (column) => found.columns[column]?.maySelect === false,
  );
  const unwritable = writes.filter((column) => found.columns[column]?.mayUpdate === false);
  const rights = [
    ...(unreadable.length > 0 ? [`select${columnsUnlessAll(unreadable, reads, newer)}`] : []),
    ...(unwritable.length > 0 ? [`update (${unwritable.map(quoted).join(", ")})`] : []),
    ...(isCaptured && !found.mayTrigger ? ["trigger"] : []),
  ];
  if (rights.length === 0) return [];
  return [
    {
      problem: `Role ${role.name} lacks ${rights
        .join(", ")
        .toUpperCase()
        .replaceAll(/\(.*?\)/g, (columns) => columns.toLowerCase())} on public.${table}.`,
      remedy: `grant ${rights.join(", ")} on public.${table} to ${quoted(role.name)};`,
    },
  ];
}

function columnsUnlessAll(
  missing: readonly string[],
  reads: readonly string[],
  newer: readonly string[],
): string {
  const isAll = reads.every((column) => missing.includes(column) || newer.includes(column));
  return isAll ? "" : ` (${missing.map(quoted).join(", ")})`;
}

/** All of our sessions have row_security=off: a policy that would apply is an error, even where it hides no row. */
export async function lookAtRowSecurity(context: CheckContext): Promise<Diagnosis[]> {
  const [tables, role] = await Promise.all([readTables(context), readRole(context)]);
  return tables
    .filter(({ found }) => found.hidesRows)
    .map(({ expected: { table }, found }) => ({
      problem: `Row security on public.${table} hides rows from role ${role.name}: it cannot be read.`,
      remedy: found.isOurs
        ? `alter table public.${table} no force row level security;`
        : `alter role ${quoted(role.name)} bypassrls;`,
    }));
}
