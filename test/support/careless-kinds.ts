/**
 * What the planned application (application.ts) does to its external ids, which it does not know of: it saves rows as it loaded them before
 * the write-back, imports an account anew, restores a table (careless-writers.sql). And what no API ever takes.
 */
import type { OwnAccount, Planner } from "./application.ts";

/** Part of a name that the API answers with 500 for ever. */
export const POISON = "Rusak";

export const CARELESS_KINDS = {
  /** What it saves later, and restores. */
  load(random, book) {
    const name = random.pick(["loaded", "loaded", "backup"]);
    return {
      steps: [{ sql: "select careless.keep($1, $2)", params: [name, idsOf(book.accounts)] }],
      touches: [],
    };
  },

  /** The account's whole row with a new name; or of its rows, those of a kind. */
  saveAsLoaded(random, book) {
    const account = random.pick(book.accounts);
    const name = `Tini Kenarixq${random.int(1, 999_999)}`;
    const sources = {
      account: [account.id, "m_account", { name }],
      unchanged: [account.id, "m_account", {}],
      tier: [account.tiers[0], "m_account_package_tier", { amount: random.int(0, 89) }],
      pic: [account.pics[0], "m_account_pic", { name }],
    } as const;
    const [id, source, changes] =
      sources[random.weighted({ account: 3, unchanged: 1, tier: 2, pic: 2 })];
    if (id === undefined) return { steps: [], touches: [] };
    return {
      steps: [
        {
          sql: "select careless.save('loaded', $1, $2, $3)",
          params: [source, id, JSON.stringify(changes)],
        },
      ],
      touches: [account.no],
    };
  },

  /** As an import of a row that knows none of the columns that were added for the API. */
  clearIds(random, book) {
    const account = random.pick(book.accounts);
    const table = random.pick(["m_account", "m_account_package_tier", "m_account_pic"]);
    return {
      steps: [
        {
          sql: `update ${table} set uuid_be = null where ${table === "m_account" ? "id" : "account_id"} = $1`,
          params: [account.id],
        },
      ],
      touches: [account.no],
    };
  },

  importAgain(random, book) {
    const account = random.pick(book.accounts);
    const children = book.accounts.filter(({ parent }) => parent === account.id);
    return {
      steps: [{ sql: "select careless.import_again($1)", params: [account.id] }],
      touches: [account, ...children].map(({ no }) => no),
    };
  },

  restoreTable(_random, book) {
    return {
      steps: [
        {
          sql: "select careless.restore_table('m_account', $1)",
          params: [idsOf(book.accounts)],
        },
      ],
      touches: book.accounts.map(({ no }) => no),
    };
  },

  poison(random, book) {
    const account = random.pick(book.accounts);
    return {
      steps: [
        {
          sql: "update m_account set name = $2 where id = $1",
          params: [account.id, `${POISON} Kenarixq${random.int(1, 999_999)}`],
        },
      ],
      touches: [account.no],
    };
  },

  /** By a request that names a configuration: one that has ids belongs where it is, and the request is refused. */
  requestElsewhere(random, book) {
    const account = random.pick(book.accounts);
    if (book.otherConfig === null) return { steps: [], touches: [] };
    return {
      steps: [
        {
          sql: `select account_sync.request(m.account_id, config_id => $2, force => false)
                from account_sync.id_mapping m where m.account_id = $1 and m.entity = 'account'`,
          params: [account.id, book.otherConfig],
        },
      ],
      touches: [account.no],
    };
  },
} satisfies Readonly<Record<string, Planner>>;

function idsOf(accounts: readonly OwnAccount[]): readonly string[] {
  return accounts.map(({ id }) => id);
}
