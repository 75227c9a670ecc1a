/** Which source tables and columns this database has: optional tables and newer columns may be missing. */
import type { Queryable } from "../db/database.ts";

export interface Source {
  /** Tables that exist. */
  readonly tables: ReadonlySet<string>;
  /** Tables that were captured at the last migrate and do not exist any more: what they held must not be sent as empty. */
  readonly vanished: readonly string[];
  /** Those of them that hold an account's data, and can be locked: a foreign table cannot, nor a materialized view. */
  readonly lockable: readonly string[];
  /** Optional tables that do not exist, though their rows would be sent. */
  readonly missing: readonly string[];
  has(table: string): boolean;
  hasBranchIds: boolean;
  /** Whether the database can store every character. */
  isUnicode: boolean;
  /** Whether the account's key could hold this text; null when any text could. */
  isPossibleId: (id: string) => boolean;
}

const OPTIONAL_TABLES = [
  "m_account_address",
  "m_account_bank",
  "m_bank",
  "m_account_type",
  "m_account_billing_method",
];
const TABLES = ["m_account", "m_account_package_tier", "m_account_pic", ...OPTIONAL_TABLES];
const API_CONFIGS = "m_backend_ext_config";

/** PostgreSQL reads more forms of a uuid than these, which are the ones that programs display. */
const UUID = /^\{?[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\}?$/i;

export async function describeSource(db: Queryable): Promise<Source> {
  const rows = await db.run<{
    table: string;
    exists: boolean;
    hasBranchIds: boolean;
    keyType: string | null;
    encoding: string;
    isLockable: boolean;
  }>("describe_source", [[...TABLES, API_CONFIGS]]);
  const tables = new Set(rows.filter(({ exists }) => exists).map(({ table }) => table));
  const account = rows.find(({ table, exists }) => exists && table === "m_account");

  return {
    tables,
    vanished: rows.filter((row) => !row.exists).map((row) => row.table),
    lockable: rows
      .filter((row) => row.isLockable && row.table !== API_CONFIGS)
      .map((row) => row.table),
    missing: OPTIONAL_TABLES.filter((table) => !tables.has(table)),
    has: (table) => tables.has(table),
    hasBranchIds: account?.hasBranchIds ?? false,
    isUnicode: rows.some(({ encoding }) => encoding === "UTF8"),
    isPossibleId: idCheckOf(account?.keyType ?? "text"),
  };
}

type Tables = Pick<Source, "tables" | "lockable">;

export function hasSameTables(a: Tables, b: Tables): boolean {
  const isIn = (table: string) => b.tables.has(table);
  return (
    a.tables.size === b.tables.size &&
    [...a.tables].every(isIn) &&
    // A view that has become a table, or a table a view.
    a.lockable.join() === b.lockable.join()
  );
}

/**
 * As `describeSource`, but rejects while a captured table is missing: without its rows an account would look as if they had been
 * removed, so nothing may be sent.
 */
export async function describeWholeSource(db: Queryable): Promise<Source> {
  const source = await describeSource(db);
  if (source.vanished.length > 0) throw new VanishedTables(source.vanished);
  return source;
}

class VanishedTables extends Error {
  override readonly name = "VanishedTables";
  /** PostgreSQL's undefined_table: the sync is retried, and no attempt is counted. */
  readonly code = "42P01";

  constructor(tables: readonly string[]) {
    const names = tables.map((table) => `public.${table}`).join(", ");
    const statements = tables.map((table) => `select account_sync.remove_capture('${table}');`);
    super(
      `${names} was captured and is gone: restore it, or, if it was removed for good, run ${statements.join(" ")}`,
    );
  }
}

function idCheckOf(keyType: string): (id: string) => boolean {
  switch (keyType) {
    case "uuid":
      return (id) => UUID.test(id);
    case "bigint":
    case "integer":
    case "smallint":
    case "numeric":
      return (id) => /^-?\d{1,19}$/.test(id);
    default:
      // Any text may be a key; 255 characters is what the longest key columns hold.
      return (id) => id.length <= 255 && !/\p{Cc}/u.test(id);
  }
}

/** How to read the rows of `m_backend_ext_config`, as `createConnections` wants it; null where there is no such table. */
export function apiConfigReader(
  db: Queryable,
  source: Pick<Source, "has">,
): (() => Promise<readonly unknown[]>) | null {
  return source.has(API_CONFIGS) ? () => db.run<unknown>("load_api_configs") : null;
}
