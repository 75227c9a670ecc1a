/** One statement of `sql/queries/`, run on a pool or a connection. */
import pg from "pg";
import type { StatementNames } from "./prepared-statements.ts";
import { sqlOf } from "./queries.ts";

export interface Queryable {
  /** Runs `sql/queries/<name>.sql`. */
  run<Row>(name: string, params?: readonly unknown[]): Promise<Row[]>;
}

/** Queries on one connection of the caller, in the transaction that it is in. */
export function queryableOn(client: Pick<pg.ClientBase, "query">): Queryable {
  return { run: (name, params) => runOn(client, name, params) };
}

export async function runOn<Row>(
  client: Pick<pg.Pool | pg.ClientBase, "query">,
  query: string,
  params: readonly unknown[] = [],
  names: StatementNames | null = null,
): Promise<Row[]> {
  const name = names?.nameOf(query);
  const result = await client.query({
    text: sqlOf(query),
    values: [...params],
    types: TYPES,
    ...(name !== undefined && { name }),
  });
  return result.rows as Row[];
}

/** The types in our results. Set for each query, since an application that uses the library may have changed those of the driver. */
const TYPES = new pg.TypeOverrides();
const asItStands = (text: string) => text;
TYPES.setTypeParser(pg.types.builtins.BOOL, (text) => text === "t");
TYPES.setTypeParser(pg.types.builtins.INT4, Number);
TYPES.setTypeParser(pg.types.builtins.FLOAT8, Number);
// A number does not hold all of them exactly.
TYPES.setTypeParser(pg.types.builtins.INT8, asItStands);
TYPES.setTypeParser(pg.types.builtins.TEXT, asItStands);
TYPES.setTypeParser(pg.types.builtins.JSON, (text) => JSON.parse(text) as unknown);
TYPES.setTypeParser(pg.types.builtins.JSONB, (text) => JSON.parse(text) as unknown);
