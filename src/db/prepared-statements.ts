/**
 * The names under which our statements are prepared, once for each session: planning anew each time was a third of PostgreSQL's work.
 *
 * PostgreSQL plans a prepared statement anew when a table changes, but keeps the types of its parameters and results. After an
 * application's ALTER TABLE these may be wrong, and the wrongness can look like something else: of ids that have become text, the first one
 * that is no uuid fails like an id that no account can have. So a statement that fails in such a way is run again without a name; when that
 * succeeds, what was prepared is stale, and everything is prepared anew under other names.
 */
import { errorCode } from "./error-code.ts";

export class StatementNames {
  #edition = 1;

  /** Part of each name; raised where what was prepared under it is stale. */
  get edition(): number {
    return this.#edition;
  }

  nameOf(query: string): string {
    return `${query} ${this.#edition}`;
  }

  /** The old ones stay in their sessions until these are closed: a few dozen for each such ALTER TABLE. */
  prepareAnew(): void {
    this.#edition += 1;
  }
}

/**
 * Runs `work`, and once more without names where what was prepared may be stale.
 *
 * @param names null where nothing is prepared
 */
export async function repeatIfStale<T>(
  names: StatementNames | null,
  work: (names: StatementNames | null) => Promise<T>,
): Promise<T> {
  if (names === null) return await work(null);
  const { edition } = names;
  try {
    return await work(names);
  } catch (error) {
    if (!mayBeStale(error)) throw error;
  }
  const result = await work(null);
  // Of all that was in flight under the stale names, only the first one to come here raises the edition.
  if (names.edition === edition) names.prepareAnew();
  return result;
}

/**
 * 0A000: the result would have other types than were announced. 22P02, 22003: the value is none of the parameter's type. 42804, 42846,
 * 42883: the parameter's type does not go with the column's.
 */
function mayBeStale(error: unknown): boolean {
  return /^(?:0A000|22P02|22003|42804|42846|42883)$/.test(errorCode(error) ?? "");
}
