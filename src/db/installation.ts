/**
 * Schema account_sync as it is found: whose it is, and whether it is whole. It has to belong to one role, ours or one that ours is a
 * member of: the capture triggers run with the rights of their owner, inside the application's statements, and migrate replaces
 * functions, which is for the owner.
 *
 * A restore makes another role the owner, and `alter schema … owner to …` alone makes two of them.
 */
import type pg from "pg";
import { OperatorError } from "../operator-error.ts";
import { sqlOf } from "./queries.ts";

export interface Installation {
  /** Our own. */
  readonly role: string;
  readonly schemaOwner: string;
  /** What belongs to a role whose rights ours does not have, as PostgreSQL writes it. */
  readonly foreign: readonly string[];
  /** Roles that own a capture trigger's function and may not write what it writes. */
  readonly powerless: readonly string[];
  /** Whether there is something that the first migration makes. */
  readonly isMigrated: boolean;
}

/** One sentence each: what is wrong, and what to do about it. */
interface Trouble {
  readonly problem: string;
  readonly remedy: string;
}

/**
 * Before migrate changes anything: it would fail in the middle, with what the server says and without a word of what to do.
 *
 * @throws OperatorError
 */
export async function requireSoundSchema(client: pg.Client): Promise<void> {
  const [installation] = (await client.query<Installation>(sqlOf("check_installation"))).rows;
  if (installation === undefined) return;
  const foreignOwner = installation.foreign.length > 0 ? findForeignOwner(installation) : null;
  // As the server would put it, so that a start looks for everything else that is missing, too.
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

function toError({ problem, remedy }: Trouble, code: string): OperatorError {
  return new OperatorError(problem, {
    hint: remedy,
    cause: Object.assign(new Error(problem), { code }),
  });
}

export function findForeignOwner(installation: Installation | undefined): Trouble | null {
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

/** A dump that left out our tables, or what is in them, brings functions, types and triggers, and nothing for them to work with. */
export function findHollowSchema(
  installation: Installation | undefined,
  version: number,
): Trouble | null {
  if (installation === undefined || !installation.isMigrated || version > 0) return null;
  return {
    problem:
      "Schema account_sync was restored without its tables, or without what was in them: its queue, its journal and the record of its migrations are not there.",
    remedy: `Run this in the database as a superuser, then \`account-sync migrate\` and \`account-sync backfill\`:\ndrop schema account_sync cascade;\ncreate schema account_sync authorization ${quoted(installation.role)};`,
  };
}

/**
 * Gives the schema and all that is in it to one role, in one statement, which is one transaction: between two of them the
 * triggers would belong to one role and what they write to another. It asks the catalog, so that it fits other versions, too. Writers
 * of the application would wait behind it, so it gives up soon. Short enough for a line of the log.
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

/** As an identifier, ready to be pasted. */
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
