/** The versions of PostgreSQL that account-sync works on. */
import type { Diagnosis } from "../operator-error.ts";
import type { Queryable } from "./database.ts";

/** CREATE OR REPLACE TRIGGER came with 14; the tests pass on 14, 15 and 18. */
const OLDEST_POSTGRESQL = 14;

/** Null where the server is new enough. */
export async function findOldServer(db: Queryable): Promise<Diagnosis | null> {
  const [version] = await db.run<{ number: number; text: string }>("server_version");
  if (version !== undefined && version.number >= OLDEST_POSTGRESQL * 10_000) return null;
  return {
    problem: `The server is PostgreSQL ${version?.text ?? "of an unknown version"}.`,
    remedy: `account-sync needs PostgreSQL ${OLDEST_POSTGRESQL} or newer: upgrade the server.`,
  };
}
