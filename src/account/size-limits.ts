/** How much of one account is read at most. The queries measure the rows of each account and leave out those of a larger one. */

/** Of one account, and of its rows in one table. */
export interface SizeLimits {
  readonly rows: number;
  readonly bytes: number;
}

/** No real account has so many tiers or contact persons. More could not be sent in one command, nor written back in one transaction. */
const ACCOUNT_ROWS_MAX = 2_000;
const ACCOUNT_BYTES_MAX = 1024 * 1024;
export const ACCOUNT_LIMITS: SizeLimits = { rows: ACCOUNT_ROWS_MAX, bytes: ACCOUNT_BYTES_MAX };

/** Of each account in a batch: a larger one is read alone, so that 64 large ones are never in memory at once. */
const BATCH_ROWS_MAX = 100;
const BATCH_BYTES_EACH_MAX = 64 * 1024;
export const BATCH_LIMITS: SizeLimits = { rows: BATCH_ROWS_MAX, bytes: BATCH_BYTES_EACH_MAX };

export interface Owned {
  readonly accountId: string;
}

/** What a query returns: of an account above the limits one row without an id, with its number of rows and bytes. */
export type Measured<Row> = Owned & {
  readonly ownerRows: number;
  readonly ownerBytes: number;
} & (Row | { readonly id: null });

export interface SizeCheck {
  readonly limits: SizeLimits;
  /** Records the accounts that are too large; returns the rows of the others. */
  accept<Row extends { readonly id: string }>(
    table: string,
    rows: readonly Measured<Row>[],
  ): (Row & Owned)[];
  /** Records something else that is too large, in words: `a journaled command of 70000 bytes`. */
  reject(accountId: string, what: string): void;
  /** Why the account is too large, with the figures and the limits; null when it is not. */
  problemOf(accountId: string): string | null;
}

export function createSizeCheck(limits: SizeLimits): SizeCheck {
  const rejected = new Map<string, string[]>();
  const reject = (accountId: string, what: string) => {
    rejected.set(accountId, [...(rejected.get(accountId) ?? []), what]);
  };

  return {
    limits,
    reject,

    accept<Row extends { readonly id: string }>(table: string, rows: readonly Measured<Row>[]) {
      for (const { id, accountId, ownerRows, ownerBytes } of rows) {
        if (id !== null) continue;
        const noun = ownerRows === 1 ? "row" : "rows";
        reject(accountId, `${ownerRows} ${noun} of ${table} with ${ownerBytes} bytes`);
      }
      return rows.filter((row): row is Measured<Row> & Row => row.id !== null);
    },

    problemOf(accountId) {
      const what = rejected.get(accountId);
      if (what === undefined) return null;
      return (
        `The account is too large to be sent: ${what.join(", ")}; ` +
        `at most ${limits.rows} rows and ${limits.bytes} bytes of each table are read`
      );
    },
  };
}
