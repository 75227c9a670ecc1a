/** One check, what it reads, and how it is run. Checks read only: none of them changes or repairs anything. */
import type { ConnectionUrl } from "../db/connection-url.ts";
import type { Queryable } from "../db/database.ts";
import { explained } from "../db/explained.ts";
import { type Diagnosis, OperatorError } from "../operator-error.ts";
import type { CheckName } from "./names.ts";

export interface Check {
  readonly name: CheckName;
  /** What holds while there is no finding. */
  readonly expectation: string;
  /** Resolves with what is wrong. Rejects when that cannot be found out. */
  readonly look: (context: CheckContext) => Promise<readonly Diagnosis[]>;
}

export interface CheckContext {
  /** On DATABASE_URL. */
  readonly db: Queryable;
  readonly databaseUrl: string;
  /** LISTEN_DATABASE_URL, else DATABASE_URL: where the daemon's listener has its session. */
  readonly listenUrl: string;
  readonly hasListenUrl: boolean;
  /** The URLs of all sessions, by the names of their settings. */
  readonly urls: readonly { readonly name: string; readonly connection: ConnectionUrl }[];
  readonly poolMax: number;
  readonly notify: "auto" | "always" | "off";
  /** Whether rows of m_backend_ext_config are the API's configuration. */
  readonly readsApiConfigs: boolean;
  /** The embedded database, whose superuser is our own role. */
  readonly isEmbedded: boolean;
  /** Why nothing can be sent as things are configured; null when it can. */
  readonly apiTrouble: () => Promise<string | null>;
}

export async function lookAt(
  { look }: Pick<Check, "look">,
  context: CheckContext,
): Promise<{ readonly findings: readonly Diagnosis[] } | { readonly error: unknown }> {
  try {
    return { findings: await look(context) };
  } catch (error) {
    return { error };
  }
}

/** A check that cannot be run counts as a finding of its own. */
export function unchecked(error: unknown, url = ""): Diagnosis {
  const reason = explained(error, url);
  if (reason instanceof OperatorError) {
    return { problem: `It could not be checked. ${reason.message}`, remedy: reason.hint };
  }
  const { name, code } =
    error instanceof Error ? (error as NodeJS.ErrnoException) : { name: typeof error };
  return {
    problem: `It could not be checked (${code ?? name}).`,
    remedy: "Look into the log of the database server for what it refused.",
  };
}
