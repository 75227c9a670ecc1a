/** Whether our role has no more rights than it needs. */
import { quoted } from "../db/identifier.ts";
import type { Diagnosis } from "../operator-error.ts";
import type { CheckContext } from "./check.ts";
import { type FoundRole, type FoundTable, readRole, readTables } from "./found-tables.ts";

const ENOUGH =
  "SELECT, TRIGGER and UPDATE of uuid_be, branch_uuid_be, updated_by, updated_at on the source tables";

export async function lookAtExcessRights(context: CheckContext): Promise<Diagnosis[]> {
  // The embedded server has no other role than its superuser, and no other client.
  if (context.isEmbedded) return [];
  const [tables, role] = await Promise.all([readTables(context), readRole(context)]);
  if (role.isSuperuser) {
    return [
      {
        problem: `Role ${role.name} is a superuser.`,
        remedy: `Give account-sync a role of its own: ${ENOUGH}, and a schema account_sync that it owns.`,
      },
    ];
  }

  const found = tables.map((table) => table.found).filter(({ kind }) => kind !== null);
  return [
    ...findAttributes(
      role,
      tables.some((table) => table.found.hasRowSecurity),
    ),
    ...findOwned(role, found),
    ...findWritable(role, found),
  ];
}

function findAttributes(role: FoundRole, isRowSecurityInUse: boolean): Diagnosis[] {
  const attributes = [
    ...(role.createsRoles ? ["createrole"] : []),
    ...(role.createsDatabases ? ["createdb"] : []),
    ...(role.replicates ? ["replication"] : []),
    ...(role.bypassesRowSecurity && !isRowSecurityInUse ? ["bypassrls"] : []),
  ];
  if (attributes.length === 0) return [];
  return [
    {
      problem: `Role ${role.name} has ${attributes.join(", ").toUpperCase()}, which account-sync has no use for.`,
      remedy: `alter role ${quoted(role.name)} ${attributes.map((attribute) => `no${attribute}`).join(" ")};`,
    },
  ];
}

function findOwned(role: FoundRole, tables: readonly FoundTable[]): Diagnosis[] {
  const owned = tables.filter(({ isOurs }) => isOurs).map(({ table }) => table);
  if (owned.length === 0) return [];
  return [
    {
      problem: `Role ${role.name} owns ${owned.join(", ")} and could alter or drop ${owned.length === 1 ? "it" : "them"}.`,
      remedy: `A role of its own with ${ENOUGH} is enough.`,
    },
  ];
}

function findWritable(role: FoundRole, tables: readonly FoundTable[]): Diagnosis[] {
  return tables
    .filter(({ isOurs, mayAlso }) => !isOurs && mayAlso.length > 0)
    .map(({ table, mayAlso }) => ({
      problem: `Role ${role.name} has ${mayAlso.join(", ")} on public.${table}, which account-sync has no use for.`,
      remedy: `revoke ${mayAlso.join(", ").toLowerCase()} on public.${table} from ${quoted(role.name)};`,
    }));
}
