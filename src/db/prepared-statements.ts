/**
 * The names under which our statements are prepared, once for each session: planning anew each time was a third of PostgreSQL's work.
 *
 * PostgreSQL plans a prepared statement anew when a table changes, but keeps the types of its parameters and results. After an
 * application's ALTER TABLE these may be wrong, and the wrongness can look like something else: of ids that have become text, the first one
 * that is no uuid fails like an id that no account can have. So a statement that fails in such a way is run again without a name; when that
 * succeeds, what was prepared is stale, and everything is prepared anew under other names.
 */
import { errorCode } from "./error-code.ts";

export class PreparedStatements {
  #edition = 1;

  nameOf(query: string): string {
    return `${query} ${this.#edition}`;
  }

  /** The old ones stay in their sessions until these are closed: a few dozen for each such ALTER TABLE. */
  prepareAnew(): void {
    this.#edition += 1;
  }
}

/** @param names null where nothing is prepared */
export async function unlessStale<T>(
  names: PreparedStatements | null,
  work: (names: PreparedStatements | null) => Promise<T>,
): Promise<T> {
  try {
    return await work(names);
  } catch (error) {
    if (names === null || !mayBeStale(error)) throw error;
  }
  const result = await work(null);
  names.prepareAnew();
  return result;
}

/**
 * 0A000: the result would have other types than were announced. 22P02, 22003: the value is none of the parameter's type. 42804, 42846,
 * 42883: the parameter's type does not go with the column's.
 */
function mayBeStale(error: unknown): boolean {
  return /^(?:0A000|22P02|22003|42804|42846|42883)$/.test(errorCode(error) ?? "");
}
