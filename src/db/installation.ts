/**
 * Checks the owner of schema account_sync, and that the schema is complete. It has to belong to one role, ours or one that ours is a
 * member of: the capture triggers run with the rights of their owner, inside the application's statements, and only the owner may replace
 * functions, as migrate does.
 *
 * After a restore the owner can be another role, and after `alter schema … owner to …` alone there are two owners.
 */
import type pg from "pg";
import { type Diagnosis, OperatorError } from "../operator-error.ts";
import { sqlOf } from "./queries.ts";

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

/**
 * Runs before migrate changes anything: otherwise migrate would fail in the middle, with an error of the server that has no solution.
 *
 * @throws OperatorError
 */
export async function requireSoundSchema(client: pg.Client): Promise<void> {
  const [installation] = (await client.query<Installation>(sqlOf("check_installation"))).rows;
  if (installation === undefined) return;
  const foreignOwner = installation.foreign.length > 0 ? findForeignOwner(installation) : null;
  // With the code of the server, so that a start looks for everything else that is missing, too.
  if (foreignOwner !== null) throw toError(foreignOwner, "42501");

  const hollow = findHollowSchema(installation, await readVersion(client));
  if (hollow !== null) throw toError(hollow, "42P01");
}

async function readVersion(client: pg.Client): Promise<number> {
  const table = await client.query<{ exists: boolean }>(
    "select to_regclass('account_sync.migrations') is not null as exists",
  );
  if (table.rows[0]?.exists !== true) return 0;
  const { rows } = await client.query<{ version: number }>(sqlOf("schema_version"));
  return rows[0]?.version ?? 0;
}

function toError({ problem, remedy }: Diagnosis, code: string): OperatorError {
  return new OperatorError(problem, {
    hint: remedy,
    cause: Object.assign(new Error(problem), { code }),
  });
}

export function findForeignOwner(installation: Installation | undefined): Diagnosis | null {
  if (installation === undefined) return null;
  const { role, schemaOwner, foreign, powerless } = installation;
  if (foreign.length > 0) {
    return {
      problem: `Role ${role} does not own ${abridged(foreign)}: it can neither use nor upgrade what belongs to another role.`,
      remedy: `After a restore, or a change of roles, run this in the database as a superuser, or as a member of both roles (again, where it meets a lock):\n${changeOfOwner(role)}`,
    };
  }
  if (powerless.length > 0) {
    return {
      problem: `The capture triggers run with the rights of role ${powerless.join(", ")}, which may not write to schema account_sync: changes go unnoticed.`,
      remedy: `Run this in the database as a superuser, or as a member of both roles, then \`account-sync backfill\` for what changed meanwhile:\n${changeOfOwner(schemaOwner)}`,
    };
  }
  return null;
}

/** A dump without our tables, or without their rows, restores functions, types and triggers that cannot work. */
export function findHollowSchema(
  installation: Installation | undefined,
  version: number,
): Diagnosis | null {
  if (installation === undefined || !installation.isMigrated || version > 0) return null;
  return {
    problem:
      "Schema account_sync was restored without its tables, or without their rows: its queue, its journal and the record of its migrations are missing.",
    remedy: `Run this in the database as a superuser, then \`account-sync migrate\` and \`account-sync backfill\`:\ndrop schema account_sync cascade;\ncreate schema account_sync authorization ${quoted(installation.role)};`,
  };
}

/**
 * Makes one role the owner of the schema and of everything in it, in one transaction: between two transactions the triggers would
 * belong to one role and their tables to another. It reads the catalog, so that it works with other versions, too. Writers of the
 * application would wait behind it, so its lock timeout is short. Short enough for a line of the log.
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

/** As an identifier that can be pasted. */
export function quoted(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) && !RESERVED.has(name)
    ? name
    : `"${name.replaceAll('"', '""')}"`;
}

/** From pg_get_keywords() of PostgreSQL 18: those that are no name without quotes. */
const RESERVED = new Set(
  `
    all analyse analyze and any array as asc asymmetric authorization binary both case cast
    check collate collation column concurrently constraint create cross current_catalog
    current_date current_role current_schema current_time current_timestamp current_user default
    deferrable desc distinct do else end except false fetch for foreign freeze from full grant
    group having ilike in initially inner intersect into is isnull join lateral leading left
    like limit localtime localtimestamp natural not notnull null offset on only or order outer
    overlaps placing primary references returning right select session_user similar some
    symmetric system_user table tablesample then to trailing true union unique user using
    variadic verbose when where window with
  `.match(/\w+/g),
);

const NAMED_MAX = 3;

function abridged(names: readonly string[]): string {
  const rest = names.length - NAMED_MAX;
  const named = names.slice(0, NAMED_MAX).join(", ");
  return rest > 0 ? `${named} and ${rest} more in schema account_sync` : named;
}
