/** The ways in which a dump comes back, as data: restore.test.ts runs them, and docs/backup-and-restore.md has a row for each. */
export interface Case {
  readonly what: string;
  readonly dump?: readonly string[];
  /** Roles that the cluster of the restore does not have. */
  readonly without?: readonly string[];
  /** What the target is before the restore. Default: an empty database. */
  readonly into?: "a copy";
  readonly restore?: readonly string[];
  /** Owns the target, and runs pg_restore. Default: the superuser. */
  readonly by?: string;
  /** What pg_restore says, without the statements that it could not run. */
  readonly complaints?: RegExp;
  /** Run after the restore, as the document says for this case: SQL of a superuser, or pg_restore again, for the privileges alone. */
  readonly afterwards?: readonly (string | "the privileges again")[];
  /** How the application's statements fail until then. Default: they work. */
  readonly fails?: RegExp;
  /** Whose statements the application's are. Default: app_user. */
  readonly writer?: string;
  /** The checks that find something, in their order; `(not checked)` for one that cannot be made. Default: none. */
  readonly finds?: readonly string[];
  /** Whether a daemon sends a change in the end; the others only capture it, which takes less time. */
  readonly sends?: boolean;
}

const ALL_IS_FOREIGN = ["schema_version (not checked)", "triggers (not checked)", "rights"];
const CLEAN = ["--clean", "--if-exists"];

export const CASES: readonly Case[] = [
  { what: "everything, as a superuser", sends: true },
  {
    what: "everything, by a role that becomes the owner of all",
    restore: ["--no-owner"],
    by: "other",
    finds: ALL_IS_FOREIGN,
    sends: true,
  },
  {
    what: "everything, by such a role and without privileges",
    restore: ["--no-owner", "--no-privileges"],
    by: "other",
    writer: "other",
    finds: ALL_IS_FOREIGN,
  },
  {
    what: "everything, where the role of account-sync is missing, without owners and privileges",
    without: ["account_sync"],
    restore: ["--no-owner", "--no-privileges"],
    writer: "postgres",
    afterwards: ["create role account_sync login"],
    finds: ALL_IS_FOREIGN,
  },
  {
    // pg_restore runs all grants on a table as one: if ours fail, so do the application's.
    what: "everything, where the role of account-sync is missing, and its errors are passed over",
    without: ["account_sync"],
    complaints: /^role "account_sync" does not exist$/,
    afterwards: ["create role account_sync login", "the privileges again"],
    fails: /permission denied for table m_account/,
    finds: ALL_IS_FOREIGN,
  },
  {
    what: "everything, where no role is there",
    without: ["account_sync", "app_owner", "app_user"],
    restore: ["--no-owner", "--no-privileges"],
    writer: "postgres",
    afterwards: ["create role account_sync login"],
    finds: ALL_IS_FOREIGN,
  },
  {
    what: "everything, where the owner of the tables is missing",
    without: ["app_owner"],
    complaints: /^role "app_owner" does not exist$/,
  },
  { what: "everything, cleaning what is there", into: "a copy", restore: CLEAN },
  {
    what: "schema public alone",
    dump: ["--schema=public"],
    complaints: /^schema "(?:public" already exists|account_sync" does not exist)$/,
    finds: ["schema_version", "triggers", "rights"],
  },
  {
    what: "schema public alone, cleaning, beside the schema account_sync that is there",
    dump: ["--schema=public"],
    into: "a copy",
    restore: CLEAN,
    // As with every dump of schema public alone: what PostgreSQL itself grants on it is in no dump.
    fails: /relation "m_account" does not exist/,
    afterwards: ["grant usage on schema public to public"],
  },
  {
    what: "the rows alone",
    dump: ["--schema=public"],
    into: "a copy",
    restore: ["--data-only"],
  },
  {
    what: "the rows alone, with triggers disabled",
    dump: ["--schema=public"],
    into: "a copy",
    restore: ["--data-only", "--disable-triggers"],
  },
  {
    what: "the rows of everything alone",
    into: "a copy",
    restore: ["--data-only"],
    complaints: /^duplicate key value violates unique constraint "\w+_pkey"$/,
  },
  {
    what: "a single table out of a dump of everything, cleaning",
    into: "a copy",
    restore: [...CLEAN, "--table=m_account_pic"],
    finds: ["triggers"],
  },
  {
    what: "a single table out of a dump of its own, cleaning",
    dump: ["--table=public.m_account_pic"],
    into: "a copy",
    restore: CLEAN,
  },
  {
    what: "the definitions alone",
    dump: ["--schema-only"],
    finds: ["schema_version"],
    sends: true,
  },
  {
    what: "everything but our tables",
    dump: ["--exclude-table=account_sync.*"],
    finds: ["schema_version"],
  },
  {
    what: "everything but the rows of our tables",
    dump: ["--exclude-table-data=account_sync.*"],
    finds: ["schema_version"],
  },
];
