/** The source tables and our role as the catalog has them. */
import type { CheckContext } from "./check.ts";
import { API_CONFIGS, EXPECTED_TABLES, type ExpectedTable } from "./expected-tables.ts";

export interface ComparedTable {
  readonly expected: ExpectedTable;
  readonly found: FoundTable;
}

export async function readTables({ db, readsApiConfigs }: CheckContext): Promise<ComparedTable[]> {
  const expected = readsApiConfigs ? [...EXPECTED_TABLES, API_CONFIGS] : EXPECTED_TABLES;
  const found = await db.run<FoundTable>("check_tables", [expected.map(({ table }) => table)]);
  return expected.flatMap((one) => {
    const match = found.find(({ table }) => table === one.table);
    return match === undefined ? [] : [{ expected: one, found: match }];
  });
}

export async function readRole({ db }: CheckContext): Promise<FoundRole> {
  const [role] = await db.run<FoundRole>("check_role");
  if (role === undefined) throw new Error("the server does not know our role");
  return role;
}

export interface FoundTable {
  readonly table: string;
  /** As in pg_class; null: there is none. */
  readonly kind: string | null;
  readonly isCaptured: boolean;
  readonly isOurs: boolean;
  readonly hidesRows: boolean;
  readonly hasRowSecurity: boolean;
  readonly mayTrigger: boolean;
  /** As they are written in SQL. */
  readonly partitionsWithoutTrigger: readonly string[];
  readonly mayAlso: readonly string[];
  readonly columns: Readonly<
    Record<
      string,
      { readonly type: string; readonly maySelect: boolean; readonly mayUpdate: boolean }
    >
  >;
}

export interface FoundRole {
  readonly name: string;
  readonly isSuperuser: boolean;
  readonly createsRoles: boolean;
  readonly createsDatabases: boolean;
  readonly replicates: boolean;
  readonly bypassesRowSecurity: boolean;
  readonly createsSchemas: boolean;
  readonly usesPublic: boolean;
  readonly hasSchema: boolean;
}
