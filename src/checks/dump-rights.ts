/** Whether the owners of the source tables can dump the database: pg_dump fails as a whole at a table that it may not read. */
import { errorCode } from "../db/error-code.ts";
import { dumpGrants, type HinderedOwner } from "../db/grant-dump.ts";
import type { Diagnosis } from "../operator-error.ts";
import type { CheckContext } from "./check.ts";

export async function lookAtDumpRights({ db }: CheckContext): Promise<Diagnosis[]> {
  return (await readHinderedOwners(db)).map(({ owner, unreadable }) => ({
    problem: `Role ${owner} owns source tables, and its pg_dump of the database fails: it may not ${unreadable.length === 0 ? "use schema account_sync" : `read ${unreadable.length} ${unreadable.length === 1 ? "relation" : "relations"} of schema account_sync`}.`,
    remedy: dumpGrants(owner),
  }));
}

async function readHinderedOwners(db: CheckContext["db"]): Promise<readonly HinderedOwner[]> {
  try {
    return await db.run<HinderedOwner>("check_dump_rights");
  } catch (error) {
    // 3F000: no such schema, 42883: no such function: before the first migrate nothing prevents a dump. 42501: the check `rights`
    // reports the owner of the schema.
    if (/^(?:3F000|42883|42501)$/.test(errorCode(error) ?? "")) return [];
    throw error;
  }
}
