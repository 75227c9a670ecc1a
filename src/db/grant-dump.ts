/**
 * The grants that a dump of the database needs. pg_dump locks every table, and fails as a whole where it may not: without these grants, a
 * nightly backup by the owner of the tables would fail from the installation of account-sync on.
 */
import type pg from "pg";
import { quoted } from "./identifier.ts";
import { sqlOf } from "./queries.ts";

/** An owner of captured tables that can read all of them, but not all of schema account_sync. */
export interface HinderedOwner {
  readonly owner: string;
  readonly unreadable: readonly string[];
  /** Whether our role may grant what it lacks. */
  readonly mayGrant: boolean;
}

/**
 * Lets the owners of the captured tables dump schema account_sync, too. Resolves with a sentence for each owner that got
 * a grant, so a second run resolves with none. The check `dump_rights` reports what our role may not grant.
 */
export async function grantDump(client: pg.Client): Promise<readonly string[]> {
  const { rows } = await client.query<HinderedOwner>(sqlOf("check_dump_rights"));
  const granted = rows.filter(({ mayGrant }) => mayGrant).map(({ owner }) => owner);
  for (const owner of granted) await client.query(dumpGrants(owner));
  return granted.map(
    (owner) =>
      `Role ${owner}, which owns source tables, may now read schema account_sync: otherwise its pg_dump would fail`,
  );
}

/** Statements that can be pasted. */
export function dumpGrants(role: string): string {
  const name = quoted(role);
  return [
    `grant usage on schema account_sync to ${name};`,
    `grant select on all tables in schema account_sync to ${name};`,
    `grant select on all sequences in schema account_sync to ${name};`,
  ].join(" ");
}
