/**
 * The state of schema account_sync: who owns it, and whether it is complete. It has to belong to one role, ours or one that ours is a
 * member of: the capture triggers run with the rights of their owner, inside the application's statements, and only the owner may replace
 * functions, as migrate does.
 *
 * After a restore the owner can be another role, and after `alter schema … owner to …` alone there are two owners.
 */
import type { Diagnosis } from "../operator-error.ts";
import { quoted } from "./identifier.ts";

/** The row of check_installation.sql. */
export interface Installation {
  /** Our own. */
  readonly role: string;
  readonly schemaOwner: string;
  /** Objects of a role whose rights ours does not have, as PostgreSQL describes them. */
  readonly foreign: readonly string[];
  /** Roles that own the function of a capture trigger and may not write to its tables. */
  readonly powerless: readonly string[];
  /** Whether an object of the first migration exists. */
  readonly isMigrated: boolean;
}

/** The objects that belong to another role. */
export function findForeignOwner({ role, foreign }: Installation): Diagnosis | null {
  if (foreign.length === 0) return null;
  return {
    problem: `Role ${role} does not own ${abridged(foreign)}: it can neither use nor upgrade what belongs to another role.`,
    remedy: `After a restore, or a change of roles, run this in the database as a superuser, or as a member of both roles (again, where it meets a lock):\n${changeOfOwner(role)}`,
  };
}

/** The owners of triggers that may not write what the triggers capture. */
export function findPowerlessOwner({ schemaOwner, powerless }: Installation): Diagnosis | null {
  if (powerless.length === 0) return null;
  return {
    problem: `The capture triggers run with the rights of role ${powerless.join(", ")}, which may not write to schema account_sync: changes go unnoticed.`,
    remedy: `Run this in the database as a superuser, or as a member of both roles, then \`account-sync backfill\` for what changed meanwhile:\n${changeOfOwner(schemaOwner)}`,
  };
}

/** A dump without our tables, or without their rows, restores functions, types and triggers that cannot work. */
export function findHollowSchema(
  { role, isMigrated }: Installation,
  version: number,
): Diagnosis | null {
  if (!isMigrated || version > 0) return null;
  return {
    problem:
      "Schema account_sync was restored without its tables, or without their rows: its queue, its journal and the record of its migrations are missing.",
    remedy: `Run this in the database as a superuser, then \`account-sync migrate\` and \`account-sync backfill\`:\ndrop schema account_sync cascade;\ncreate schema account_sync authorization ${quoted(role)};`,
  };
}

/**
 * Makes one role the owner of the schema and of everything in it, in one transaction: between two transactions the triggers would
 * belong to one role and their tables to another. It reads the catalog, so that it works with other versions, too. Writers of the
 * application would wait behind it, so its lock timeout is short. The text has to fit into a line of the log.
 */
export function changeOfOwner(role: string): string {
  return `do $$
declare object text;
begin
  set local lock_timeout = '2s';
  for object in
    select 'schema account_sync'
    union all select format('table %s', oid::regclass) from pg_class where relnamespace = 'account_sync'::regnamespace and relkind in ('r', 'p', 'v', 'm')
    union all select format('routine %s', oid::regprocedure) from pg_proc where pronamespace = 'account_sync'::regnamespace
    union all select format('type %s', oid::regtype) from pg_type where typnamespace = 'account_sync'::regnamespace and typtype in ('d', 'e')
  loop
    execute format('alter %s owner to %I', object, '${role.replaceAll("'", "''")}');
  end loop;
end $$;`;
}

const NAMED_MAX = 3;

function abridged(names: readonly string[]): string {
  const rest = names.length - NAMED_MAX;
  const named = names.slice(0, NAMED_MAX).join(", ");
  return rest > 0 ? `${named} and ${rest} more in schema account_sync` : named;
}
