/**
 * The application beside which account-sync runs, as data: what it will write, planned from a seed, so that a seed brings the
 * same writes back. It writes every captured table in every way an application does: row by row, in bulk, by upsert, MERGE and
 * COPY; it rolls back, wholly and to savepoints; it holds transactions open; it moves rows between accounts, and deletes.
 *
 * Each writer has accounts of its own. Writers so never wait for one another, and whoever waits, waits for us.
 */
import { CARELESS_KINDS } from "./careless-kinds.ts";
import type { Random } from "./random.ts";

export interface PlannedTransaction {
  readonly name: string;
  readonly pauseMs: number;
  readonly steps: readonly Step[];
  readonly ends: "commit" | "rollback";
  /** Account numbers whose payload it may change, or "all" of them. */
  readonly touches: readonly string[] | "all";
}

export type Step =
  | { readonly sql: string; readonly params?: readonly unknown[]; readonly fails?: string }
  | { readonly holdMs: number };

export interface ApplicationPlan {
  /** Written first of all, in one transaction: what the accounts refer to. */
  readonly reference: PlannedTransaction;
  readonly writers: readonly (readonly PlannedTransaction[])[];
  /** Planned on the state the writers leave behind, for when everything is quiet again. */
  readonly calm: readonly PlannedTransaction[];
}

/** In every personal value that is written, in none that is not. Digits too, since telephone numbers are personal. */
export const PERSONAL_CANARIES = ["kenarixq", "91827364", "9182 7364"];
/** Passwords are never even read. */
export const PASSWORD_CANARY = "rahasiaxq";

export function planApplication(
  random: Random,
  options: {
    readonly writers: number;
    readonly accountsEach: number;
    readonly transactionsEach: number;
    readonly pauseMaxMs: number;
    readonly holdMaxMs: number;
    /** A configuration that some accounts are meant for; null where there is one API only. */
    readonly otherConfig: string | null;
  },
): ApplicationPlan {
  const reference = planReference(random.fork("reference"));
  const books = Array.from({ length: options.writers }, (_, index) =>
    openBook(reference, index, options.otherConfig),
  );
  const writers = books.map((book, index) => {
    const own = random.fork(`writer ${index}`);
    const first = Array.from({ length: options.accountsEach }, () => ({
      ...plan(own, book, "insertAccount", options),
      pauseMs: own.int(0, 50),
    }));
    return [
      ...first,
      ...Array.from({ length: options.transactionsEach }, () => planAny(own, book, options)),
    ];
  });

  const quiet = random.fork("calm");
  const calm = Array.from({ length: 40 }, (_, index) =>
    planAny(quiet, books[index % books.length] ?? openBook(reference, 0, null), {
      pauseMaxMs: 30,
      holdMaxMs: 0,
    }),
  );
  return {
    reference: reference.transaction,
    writers: [...writers, planReferenceWriter(random.fork("reference writer"), reference, options)],
    calm,
  };
}

// What the accounts refer to.

interface Reference {
  readonly types: readonly string[];
  readonly banks: readonly string[];
  readonly methods: readonly string[];
  readonly transaction: PlannedTransaction;
}

function planReference(random: Random): Reference {
  const [types, banks, methods] = [3, 2, 3].map((count) =>
    Array.from({ length: count }, () => random.uuid()),
  ) as [string[], string[], string[]];
  return {
    types,
    banks,
    methods,
    transaction: {
      name: "reference",
      pauseMs: 0,
      ends: "commit",
      touches: [],
      steps: [
        {
          sql: "insert into m_account_type (id, name) select id, 'type ' || n from unnest($1::uuid[]) with ordinality t (id, n)",
          params: [types],
        },
        {
          sql: "insert into m_bank (id, name, uuid_be) select id, 'bank', 'bank-' || n from unnest($1::uuid[]) with ordinality t (id, n)",
          params: [banks],
        },
        {
          sql: "insert into m_account_billing_method (id, method) select id, case when n = 1 then 'Auto Deduct' else 'method ' || n end from unnest($1::uuid[]) with ordinality t (id, n)",
          params: [methods],
        },
      ],
    },
  };
}

/** Rows that many accounts depend on change, too, though rarely. */
function planReferenceWriter(
  random: Random,
  { types, banks, methods }: Reference,
  options: { readonly transactionsEach: number; readonly pauseMaxMs: number },
): PlannedTransaction[] {
  const count = Math.ceil(options.transactionsEach / 12);
  return Array.from({ length: count }, (_, n) => {
    const steps = {
      type: [
        {
          sql: "update m_account_type set name = $2 where id = $1",
          params: [random.pick(types), `type ${random.int(1, 99)}`],
        },
      ],
      bank: [
        {
          sql: "update m_bank set uuid_be = $2 where id = $1",
          params: [random.pick(banks), `bank-${n}-${random.int(1, 99)}`],
        },
      ],
      method: [
        {
          sql: "update m_account_billing_method set method = $2 where id = $1",
          params: [random.pick(methods), random.pick(["Auto Deduct", "auto-deduct", "Post Paid"])],
        },
      ],
      // Of a bank only its id is sent.
      name: [{ sql: "update m_bank set name = $1", params: [`bank ${n}`] }],
    };
    const name = random.weighted({ type: 3, bank: 3, method: 3, name: 1 });
    return {
      name: `reference: ${name}`,
      pauseMs: random.int(options.pauseMaxMs * 4, options.pauseMaxMs * 12),
      ends: "commit",
      touches: name === "name" ? [] : "all",
      steps: steps[name],
    };
  });
}

// A writer's own accounts, as it remembers them.

export interface Book extends Omit<Reference, "transaction"> {
  readonly writer: number;
  readonly otherConfig: string | null;
  accounts: OwnAccount[];
  numbers: number;
}

export interface OwnAccount {
  readonly id: string;
  /** Meant for the other API. */
  readonly isElsewhere: boolean;
  readonly no: string;
  /** Of the same book, and older, so that parents make no circle. */
  parent: string | null;
  readonly tiers: string[];
  readonly pics: string[];
  readonly addresses: string[];
  readonly banks: string[];
}

function openBook(
  { types, banks, methods }: Reference,
  writer: number,
  otherConfig: string | null,
): Book {
  return { types, banks, methods, writer, otherConfig, accounts: [], numbers: 0 };
}

type Kind =
  | "insertAccount"
  | "updateAccount"
  | "touchOnly"
  | "parent"
  | "tier"
  | "moveTier"
  | "pic"
  | "movePic"
  | "address"
  | "bank"
  | "bulk"
  | "upsert"
  | "merge"
  | "copy"
  | "deleteAccount"
  | "request"
  | "several"
  | "long"
  | "savepoint"
  | "rollback"
  | keyof typeof CARELESS_KINDS;
type Pace = { readonly pauseMaxMs: number; readonly holdMaxMs: number };

function planAny(random: Random, book: Book, pace: Pace): PlannedTransaction {
  const kind = random.weighted<Kind>({
    insertAccount: 6,
    updateAccount: 14,
    touchOnly: 5,
    parent: 4,
    tier: 12,
    moveTier: 4,
    pic: 12,
    movePic: 6,
    address: 10,
    bank: 8,
    bulk: 3,
    upsert: 5,
    merge: 4,
    copy: 4,
    deleteAccount: 3,
    request: 4,
    several: 8,
    long: pace.holdMaxMs > 0 ? 5 : 0,
    savepoint: 6,
    rollback: 6,
    load: 6,
    saveAsLoaded: 10,
    clearIds: 4,
    importAgain: 5,
    restoreTable: 2,
    requestElsewhere: 3,
    // In the calm everything arrives.
    poison: pace.holdMaxMs > 0 ? 2 : 0,
  });
  return plan(random, book, kind, pace);
}

function plan(random: Random, book: Book, kind: Kind, pace: Pace): PlannedTransaction {
  const before = structuredClone(book.accounts);
  const planned = KINDS[kind](random, book, pace);
  if (planned.ends === "rollback") book.accounts = before;
  return { name: kind, pauseMs: random.int(0, pace.pauseMaxMs), ends: "commit", ...planned };
}

interface Planned
  extends Pick<PlannedTransaction, "steps">,
    Partial<Pick<PlannedTransaction, "ends">> {
  readonly touches: readonly string[];
}
export type Planner = (random: Random, book: Book, pace: Pace) => Planned;

/** What most transactions of several steps are made of. */
const SIMPLE = ["updateAccount", "tier", "pic", "address", "bank", "movePic", "moveTier"] as const;

const KINDS: Readonly<Record<Kind, Planner>> = {
  ...CARELESS_KINDS,

  insertAccount(random, book) {
    book.numbers += 1;
    const isElsewhere = book.otherConfig !== null && random.chance(0.4);
    // A parent of another API is not known there.
    const parents = book.accounts.filter((other) => other.isElsewhere === isElsewhere);
    const account: OwnAccount = {
      id: random.uuid(),
      isElsewhere,
      no: `W${book.writer}-${book.numbers}`,
      parent: parents.length > 0 && random.chance(0.3) ? random.pick(parents).id : null,
      tiers: [],
      pics: [],
      addresses: [],
      banks: [],
    };
    const steps: Step[] = [
      {
        sql: `insert into m_account (id, account_no, name, phone_no, email, no_ktp, no_npwp, account_type_id, "parentId", created_by)
              values ($1, $2, $3, $4, $5, $6, '12.345.678.9-012.345', $7, $8, 'app')`,
        params: [
          account.id,
          account.no,
          personName(random),
          phone(random),
          email(random),
          ktp(random),
          random.chance(0.8) ? random.pick(book.types) : null,
          account.parent,
        ],
      },
    ];
    if (isElsewhere)
      steps.push({
        sql: "select account_sync.request($1::uuid, config_id => $2, force => false)",
        params: [account.id, book.otherConfig],
      });
    for (let n = random.int(0, 3); n > 0; n -= 1) steps.push(insertTier(random, book, account));
    for (let n = random.int(0, 2); n > 0; n -= 1) steps.push(insertPic(random, account));
    if (random.chance(0.6)) steps.push(insertAddress(random, account));
    if (random.chance(0.4)) steps.push(insertBank(random, book, account));
    book.accounts.push(account);
    return { steps, touches: [account.no] };
  },

  updateAccount(random, book) {
    const account = someAccount(random, book);
    const [column, value] = random.pick<readonly [string, unknown]>([
      ["name", personName(random)],
      ["name", personName(random)],
      ["phone_no", phone(random)],
      ["email", email(random)],
      ["no_ktp", ktp(random)],
      ["no_npwp", null],
      ["is_active", random.chance(0.5)],
      ["account_type_id", random.pick(book.types)],
    ]);
    return {
      steps: [
        {
          sql: `update m_account set ${column} = $2, updated_by = 'app', updated_at = localtimestamp where id = $1`,
          params: [account.id, value],
        },
      ],
      touches: [account.no],
    };
  },

  /** Saved without a difference, or with one that nobody is told of. */
  touchOnly(random, book) {
    const account = someAccount(random, book);
    return {
      steps: [
        {
          sql: "update m_account set name = name, updated_by = 'app', updated_at = localtimestamp, brand_name = $2 where id = $1",
          params: [account.id, personName(random)],
        },
        {
          sql: "update m_account_pic set password = $2, role = 'owner', updated_at = localtimestamp where account_id = $1",
          params: [account.id, `${PASSWORD_CANARY}-${random.int(1, 999)}`],
        },
      ],
      touches: [],
    };
  },

  parent(random, book) {
    const account = someAccount(random, book);
    const older = book.accounts
      .slice(0, book.accounts.indexOf(account))
      .filter(({ isElsewhere }) => isElsewhere === account.isElsewhere);
    account.parent = older.length > 0 && random.chance(0.7) ? random.pick(older).id : null;
    return {
      steps: [
        {
          sql: 'update m_account set "parentId" = $2 where id = $1',
          params: [account.id, account.parent],
        },
      ],
      touches: [account.no],
    };
  },

  tier(random, book) {
    const account = someAccount(random, book);
    if (account.tiers.length === 0 || random.chance(0.35))
      return { steps: [insertTier(random, book, account)], touches: [account.no] };
    const id = random.pick(account.tiers);
    const change = random.pick<readonly [string, unknown]>([
      ["amount", random.int(0, 8_999) / 100],
      ["end_date", `20${random.int(30, 40)}-06-30`],
      ["percentage", random.chance(0.5)],
      ["billing_method_id", random.pick(book.methods)],
      // Removal is soft, and mostly for good.
      ["is_active", random.chance(0.2)],
    ]);
    if (random.chance(0.1)) {
      account.tiers.splice(account.tiers.indexOf(id), 1);
      return {
        steps: [{ sql: "delete from m_account_package_tier where id = $1", params: [id] }],
        touches: [account.no],
      };
    }
    return {
      steps: [
        {
          sql: `update m_account_package_tier set ${change[0]} = $2 where id = $1`,
          params: [id, change[1]],
        },
      ],
      touches: [account.no],
    };
  },

  moveTier: (random, book) => move(random, book, "tiers", "m_account_package_tier"),

  pic(random, book) {
    const account = someAccount(random, book);
    if (account.pics.length === 0 || random.chance(0.35))
      return { steps: [insertPic(random, account)], touches: [account.no] };
    const id = random.pick(account.pics);
    if (random.chance(0.2)) {
      account.pics.splice(account.pics.indexOf(id), 1);
      return {
        steps: [{ sql: "delete from m_account_pic where id = $1", params: [id] }],
        touches: [account.no],
      };
    }
    const [column, value] = random.pick<readonly [string, unknown]>([
      ["name", personName(random)],
      ["phone_no", phone(random)],
      ["email", random.chance(0.2) ? "" : email(random)],
      ["username", `user${random.int(1, 9_999)}`],
      ["is_active", random.chance(0.3)],
    ]);
    return {
      steps: [
        { sql: `update m_account_pic set ${column} = $2 where id = $1`, params: [id, value] },
      ],
      touches: [account.no],
    };
  },

  movePic: (random, book) => move(random, book, "pics", "m_account_pic"),

  address(random, book) {
    const account = someAccount(random, book);
    if (account.addresses.length === 0 || random.chance(0.3))
      return { steps: [insertAddress(random, account)], touches: [account.no] };
    const id = random.pick(account.addresses);
    if (random.chance(0.2)) {
      account.addresses.splice(account.addresses.indexOf(id), 1);
      return {
        steps: [{ sql: "delete from m_account_address where id = $1", params: [id] }],
        touches: [account.no],
      };
    }
    if (random.chance(0.2)) {
      const other = someAccount(random, book);
      account.addresses.splice(account.addresses.indexOf(id), 1);
      other.addresses.push(id);
      return {
        steps: [
          {
            sql: "update m_account_address set account_id = $2 where id = $1",
            params: [id, other.id],
          },
        ],
        touches: [account.no, other.no],
      };
    }
    return {
      steps: [
        {
          sql: "update m_account_address set address1 = $2, city = $3, is_primary = $4, is_active = $5 where id = $1",
          params: [id, street(random), city(random), random.chance(0.5), random.chance(0.8)],
        },
      ],
      touches: [account.no],
    };
  },

  bank(random, book) {
    const account = someAccount(random, book);
    if (account.banks.length === 0 || random.chance(0.3))
      return { steps: [insertBank(random, book, account)], touches: [account.no] };
    return {
      steps: [
        {
          sql: "update m_account_bank set bank_account_holder_name = $2, bank_id = $3, is_active = $4 where id = $1",
          params: [
            random.pick(account.banks),
            personName(random),
            random.pick(book.banks),
            random.chance(0.7),
          ],
        },
      ],
      touches: [account.no],
    };
  },

  bulk(random, book) {
    const ids = book.accounts.map(({ id }) => id);
    const sql = random.pick([
      "update m_account set phone_no = '0812 9182 7364 ' || right(account_no, 1) where id = any ($1)",
      "update m_account_package_tier set amount = mod(amount + 1, 90) where account_id = any ($1)",
      "update m_account_pic set username = 'user' || right(id::text, 6) where account_id = any ($1)",
      "update m_account_address set province = 'Jawa' where account_id = any ($1)",
      "update m_account_bank set bank_account_no = bank_account_no || '0' where account_id = any ($1) and length(bank_account_no) < 20",
    ]);
    return { steps: [{ sql, params: [ids] }], touches: book.accounts.map(({ no }) => no) };
  },

  upsert(random, book) {
    const account = someAccount(random, book);
    const isThere = account.pics.length > 0 && random.chance(0.6);
    const id = isThere ? random.pick(account.pics) : random.uuid();
    if (!isThere) account.pics.push(id);
    return {
      steps: [
        {
          sql: `insert into m_account_pic (id, account_id, name, phone_no, email) values ($1, $2, $3, $4, $5)
                on conflict (id) do update set name = excluded.name, phone_no = excluded.phone_no, email = excluded.email`,
          params: [id, account.id, personName(random), phone(random), email(random)],
        },
      ],
      touches: [account.no],
    };
  },

  merge(random, book) {
    const account = someAccount(random, book);
    const gone = account.pics.length > 0 && random.chance(0.5) ? random.pick(account.pics) : null;
    const kept = account.pics.find((id) => id !== gone) ?? null;
    const added = random.uuid();
    if (gone !== null) account.pics.splice(account.pics.indexOf(gone), 1);
    account.pics.push(added);
    const news = [gone, kept, added].filter((id) => id !== null);
    return {
      steps: [
        {
          sql: `merge into m_account_pic p
                using unnest($1::uuid[], $2::boolean[], $3::text[], $4::text[]) n (id, is_gone, name, email) on p.id = n.id
                when matched and n.is_gone then delete
                when matched then update set name = n.name, email = n.email
                when not matched then insert (id, account_id, name, phone_no, email) values (n.id, $5, n.name, '0812 9182 73640', n.email)`,
          params: [
            news,
            news.map((id) => id === gone),
            news.map(() => personName(random)),
            news.map(() => email(random)),
            account.id,
          ],
        },
      ],
      touches: [account.no],
    };
  },

  copy(random, book) {
    const accounts = [someAccount(random, book), someAccount(random, book)];
    const lines = accounts.map((account) => {
      const id = random.uuid();
      account.pics.push(id);
      return [id, account.id, personName(random), phone(random), email(random)].join("|");
    });
    return {
      steps: [
        {
          sql: `copy m_account_pic (id, account_id, name, phone_no, email) from program 'printf "%s\\n" ${lines.map((line) => `"${line}"`).join(" ")}' with (delimiter '|')`,
        },
      ],
      touches: [...new Set(accounts.map(({ no }) => no))],
    };
  },

  deleteAccount(random, book, pace) {
    const leaves = book.accounts.filter(
      ({ id }) => !book.accounts.some(({ parent }) => parent === id),
    );
    if (book.accounts.length < 5 || leaves.length === 0)
      return KINDS.updateAccount(random, book, pace);
    const account = random.pick(leaves);
    book.accounts.splice(book.accounts.indexOf(account), 1);
    const tables = ["m_account_pic", "m_account_address", "m_account_bank"];
    return {
      steps: [
        ...tables.map((table) => ({
          sql: `delete from ${table} where account_id = $1`,
          params: [account.id],
        })),
        // Its tiers go with it.
        { sql: "delete from m_account where id = $1", params: [account.id] },
      ],
      touches: [account.no],
    };
  },

  request(random, book) {
    const account = someAccount(random, book);
    const step = random.pick<Step>([
      { sql: "select account_sync.request($1::uuid, force => false)", params: [account.id] },
      {
        sql: "select pg_notify('account_sync', $1)",
        params: [JSON.stringify({ account_id: account.id, force: false })],
      },
      { sql: "select pg_notify('account_sync', 'no such thing')" },
      { sql: "select pg_notify('account_sync', '')" },
    ]);
    return { steps: [step], touches: [account.no] };
  },

  several(random, book, pace) {
    return together(random, book, pace, random.int(2, 4));
  },

  long(random, book, pace) {
    const { steps, touches } = together(random, book, pace, random.int(2, 3));
    return {
      steps: steps.flatMap((step) => [
        step,
        { holdMs: random.int(pace.holdMaxMs / 8, pace.holdMaxMs / 2) },
      ]),
      touches,
      ends: random.chance(0.3) ? "rollback" : "commit",
    };
  },

  savepoint(random, book, pace) {
    const first = together(random, book, pace, 1);
    const before = structuredClone(book.accounts);
    const undone = together(random, book, pace, 1);
    book.accounts = before;
    const last = together(random, book, pace, 1);
    const failing: Step = {
      sql: "insert into m_account_package_tier (account_id, min_value, max_value, amount, start_date, end_date) values (gen_random_uuid(), 2, 1, 0, '2026-01-01', '2026-01-02')",
      fails: "23514",
    };
    return {
      steps: [
        ...first.steps,
        { sql: "savepoint here" },
        ...undone.steps,
        ...(random.chance(0.5) ? [failing] : []),
        { sql: "rollback to savepoint here" },
        ...last.steps,
      ],
      touches: [...first.touches, ...last.touches],
    };
  },

  rollback(random, book, pace) {
    return { ...together(random, book, pace, random.int(1, 4)), touches: [], ends: "rollback" };
  },
};

function together(
  random: Random,
  book: Book,
  pace: Pace,
  count: number,
): { steps: Step[]; touches: string[] } {
  const parts = Array.from({ length: count }, () => KINDS[random.pick(SIMPLE)](random, book, pace));
  return {
    steps: parts.flatMap(({ steps }) => steps),
    touches: [...new Set(parts.flatMap(({ touches }) => touches))],
  };
}

/**
 * To another account of the book. Most applications clear the external id, which is the other customer's; some do not know of it, and
 * then the API refuses the row, and a human has to clear it.
 */
function move(random: Random, book: Book, rows: "tiers" | "pics", table: string): Planned {
  const from = someAccount(random, book);
  const to = someAccount(random, book);
  const [id] = from[rows];
  if (id === undefined || from === to) return { steps: [], touches: [] };
  from[rows].splice(0, 1);
  to[rows].push(id);
  const staysAtApi = !from.isElsewhere && !to.isElsewhere;
  const clears = random.chance(0.85) || !staysAtApi ? ", uuid_be = null" : "";
  return {
    steps: [
      { sql: `update ${table} set account_id = $2${clears} where id = $1`, params: [id, to.id] },
    ],
    touches: [from.no, to.no],
  };
}

function insertTier(random: Random, book: Book, account: OwnAccount): Step {
  const id = random.uuid();
  account.tiers.push(id);
  const min = random.int(0, 900) * 1_000;
  return {
    sql: `insert into m_account_package_tier (id, account_id, billing_method_id, min_value, max_value, amount, start_date, end_date, percentage)
          values ($1, $2, $3, $4, $5, $6, '2026-01-01', $7, $8)`,
    params: [
      id,
      account.id,
      random.chance(0.5) ? random.pick(book.methods) : null,
      min,
      min + random.int(1, 50) * 1_000,
      random.int(0, 8_999) / 100,
      `20${random.int(27, 40)}-12-31`,
      random.chance(0.5),
    ],
  };
}

function insertPic(random: Random, account: OwnAccount): Step {
  const id = random.uuid();
  account.pics.push(id);
  return {
    sql: "insert into m_account_pic (id, account_id, name, phone_no, email, no_ktp, password) values ($1, $2, $3, $4, $5, $6, $7)",
    params: [
      id,
      account.id,
      personName(random),
      phone(random),
      email(random),
      random.chance(0.5) ? ktp(random) : null,
      `${PASSWORD_CANARY}-${random.int(1, 999)}`,
    ],
  };
}

function insertAddress(random: Random, account: OwnAccount): Step {
  const id = random.uuid();
  account.addresses.push(id);
  return {
    sql: "insert into m_account_address (id, account_id, address1, address2, sub_district, city, province, country, postalcode, is_primary) values ($1, $2, $3, $4, 'Umpama', $5, 'Jawa', $6, '10000', $7)",
    params: [
      id,
      account.id,
      street(random),
      street(random),
      city(random),
      random.pick(["Indonesia", "", null]),
      random.chance(0.5),
    ],
  };
}

function insertBank(random: Random, book: Book, account: OwnAccount): Step {
  const id = random.uuid();
  account.banks.push(id);
  return {
    sql: "insert into m_account_bank (id, account_id, bank_id, bank_account_no, bank_account_holder_name) values ($1, $2, $3, $4, $5)",
    params: [
      id,
      account.id,
      random.pick(book.banks),
      `91827364${random.int(10, 99)}`,
      personName(random),
    ],
  };
}

function someAccount(random: Random, book: Book): OwnAccount {
  return random.pick(book.accounts);
}

function personName(random: Random): string {
  return `${random.pick(["Siti", "Budi", "Dewi", "Joko", "Wati"])} Kenarixq${random.int(1, 999_999)}`;
}

function email(random: Random): string {
  return `kenarixq${random.int(1, 999_999)}@example.com`;
}

function phone(random: Random): string {
  return `0812 9182 7364${random.int(0, 9)}`;
}

function ktp(random: Random): string {
  return `3191827364${random.int(100_000, 999_999)}`;
}

function street(random: Random): string {
  return `Jl. Kenarixq No. ${random.int(1, 999)}`;
}

function city(random: Random): string {
  return random.pick(["Bandung", "Jakarta Pusat", "Yogyakarta"]);
}
