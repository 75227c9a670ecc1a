/** Runs the files of sql/migrations/ that the database lacks. Only this file knows postgres-migrations. */
import type pg from "pg";
import { migrate as runMigrations } from "postgres-migrations";
import { sqlDirectory } from "./queries.ts";

/**
 * To be called in a transaction. Resolves with whether one has run and others may be left.
 *
 * The package looks for its table in any schema and might take an application's own for ours: search_path begins with our schema.
 */
export async function runMissingMigrations(
  client: pg.Client,
  which: "all" | "next",
): Promise<boolean> {
  // What is in it already stays in it, for the application's event triggers.
  await client.query(
    "select set_config('search_path', concat_ws(', ', 'account_sync', nullif(current_setting('search_path'), '')), true)",
  );
  let begun = 0;
  // The package's own errors do not have the server's code.
  let refusal: unknown = null;
  const query = async (statement: unknown) => {
    if (statement === "START TRANSACTION") {
      begun += 1;
      if (which === "next" && begun > 1) {
        refusal = ENOUGH;
        throw ENOUGH;
      }
    }
    if (typeof statement === "string" && SESSION_STATEMENTS.test(statement))
      return { rows: [{ pg_try_advisory_lock: true }] };
    // Comments of the first migrations hold characters that a server with another encoding does not take. A file's hash is kept.
    const text = typeof statement === "string" ? replaceNonAscii(statement) : statement;
    try {
      return await client.query(text as string);
    } catch (error) {
      refusal ??= error;
      throw error;
    }
  };
  try {
    await runMigrations({ client: { query } as pg.Client }, `${sqlDirectory}migrations`);
  } catch (error) {
    if (refusal !== ENOUGH) throw refusal ?? error;
  }
  return begun > 0;
}

/** Ends the package's run before its second migration. */
const ENOUGH = new Error("one migration was asked for");

/** With these postgres-migrations takes a lock of the session and a transaction per file; our transaction has both. */
const SESSION_STATEMENTS =
  /^(?:select pg_(?:try_advisory_lock|advisory_unlock)\b.*|start transaction|commit|rollback)$/i;

function replaceNonAscii(sql: string): string {
  return sql.replaceAll(/[^\p{ASCII}]/gu, "?");
}
