/**
 * Invariant I8 from outside: personal data and secrets that a test knows, looked for in everything the product shows: its log,
 * its metrics, its console, and the views that people read. A find names the place and the kind of data, never the data, so that a
 * failing test leaks nothing either.
 */
import type pg from "pg";
import type { Sandbox } from "../../src/local/sandbox.ts";
import { insertAccount, type NewAccount } from "./accounts.ts";
import type { TestDatabase } from "./postgres.ts";

export interface Watched {
  readonly database: Pick<TestDatabase, "query">;
  readonly daemons: readonly { readonly url: string; readonly log: readonly string[] }[];
  readonly sandbox: Pick<Sandbox, "clientSecret" | "staticToken">;
  /** Beyond those of the sandbox and `CANARY`, such as tokens the test gave out. */
  readonly secrets?: readonly string[];
}

/** What no innocent text contains. The first half is what every test account has (see accounts.ts). */
export const CANARY = {
  name: "Toko Uji",
  email: "toko@example.com",
  phone: "81234567890",
  ktp: "3171234567890123",
  npwp: "12.345.678.9-012.345",
  "a contact person's name": "Budi Uji",
  "a contact person's email": "budi1@example.com",
  "a contact person's phone": "81211112",
  street: "Jalan Kenari 77",
  city: "Kanariville",
  "the holder of a bank account": "Siti Kenariwati",
  "the number of a bank account": "9907788990077",
  "a contact person's password": "kenari-rahasia-1",
  "a bearer token": "kenari-token-5f2a90",
} as const;

/**
 * An account with a canary in everything that can be sent and in what must not be, the address and the bank account included. In one
 * transaction, so that its first command carries all of it. Wants a migrated database.
 */
export async function insertCanaryAccount(
  database: Pick<TestDatabase, "pool">,
  account: NewAccount = {},
): Promise<string> {
  const client = await database.pool.connect();
  const inside: Pick<TestDatabase, "query"> = {
    query: async <Row extends pg.QueryResultRow>(sql: string, params: readonly unknown[] = []) =>
      (await client.query<Row>(sql, [...params])).rows,
  };
  try {
    const bankId = await ensureBank(client);
    await client.query("begin");
    const id = await insertAccount(inside, account);
    await inside.query("update m_account_pic set password = $2 where account_id = $1", [
      id,
      CANARY["a contact person's password"],
    ]);
    await inside.query(
      "insert into m_account_address (account_id, address1, city, province, is_primary) values ($1, $2, $3, $3, true)",
      [id, CANARY.street, CANARY.city],
    );
    await inside.query(
      "insert into m_account_bank (account_id, bank_id, bank_account_no, bank_account_holder_name) values ($1, $2, $3, $4)",
      [id, bankId, CANARY["the number of a bank account"], CANARY["the holder of a bank account"]],
    );
    await client.query("commit");
    return id;
  } finally {
    client.release();
  }
}

/** Not captured: a bank that comes is a change of whoever banks there, which would send an account a second time. */
async function ensureBank(client: pg.PoolClient): Promise<string> {
  const found = await client.query<{ id: string }>("select id from m_bank limit 1");
  if (found.rows[0] !== undefined) return found.rows[0].id;
  await client.query("begin");
  await client.query("select account_sync.skip_capture()");
  const { rows } = await client.query<{ id: string }>(
    "insert into m_bank (name, uuid_be) values ('Bank Uji', 'bank-1') returning id",
  );
  await client.query("commit");
  return rows[0]?.id ?? "";
}

/**
 * As an indiscreet API would write: all it was sent about a canary account quoted in one sentence, and the credentials too. (It cannot
 * quote the password, which it was never sent.)
 */
export function indiscreetMessage({ clientSecret }: Pick<Sandbox, "clientSecret">): string {
  const {
    "a contact person's password": _,
    "a bearer token": token,
    name,
    phone,
    ...others
  } = CANARY;
  const quoted = [name.toUpperCase(), name.slice(5), `+62${phone}`, "0812-3456-7890", clientSecret];
  return `refused for ${[...Object.values(others), ...quoted].map((value) => `"${value}"`).join(", ")}, Authorization: Bearer ${token}`;
}

/** Where which canary shows; empty when the product kept all of them to itself. */
export async function findLeaks(watched: Watched): Promise<string[]> {
  const secrets: Record<string, string> = {
    ...CANARY,
    "the client secret": watched.sandbox.clientSecret,
    "the static token": watched.sandbox.staticToken,
    ...Object.fromEntries((watched.secrets ?? []).map((secret, n) => [`secret ${n + 1}`, secret])),
  };
  const places = { ...(await readViews(watched)), ...(await readDaemons(watched)) };

  return Object.entries(places).flatMap(([place, text]) =>
    Object.entries(secrets)
      .filter(([, secret]) => text.toLowerCase().includes(secret.toLowerCase()))
      .map(([kind]) => `${place}: ${kind}`),
  );
}

async function readViews({ database }: Watched): Promise<Record<string, string>> {
  const places: Record<string, string> = {};
  for (const view of ["account_sync.status", "account_sync.history"]) {
    const rows = await database.query(`select to_json(v)::text as row from ${view} as v`);
    places[view] = rows.map((row) => String(row["row"])).join("\n");
  }
  // What is settled has left the journal, bodies included.
  const settled = await database.query(
    "select to_json(a)::text as row from account_sync.attempt as a where settled_at is not null",
  );
  places["settled attempts"] = settled.map((row) => String(row["row"])).join("\n");
  return places;
}

/** Few accounts in full are enough: all of them are in the views. */
const ACCOUNTS_MAX = 20;

async function readDaemons({ database, daemons }: Watched): Promise<Record<string, string>> {
  const places: Record<string, string> = {};
  const ids = await database.query<{ account_id: string }>(
    "select account_id from account_sync.status order by changed_at desc nulls last limit $1",
    [ACCOUNTS_MAX],
  );
  const paths = [
    "/",
    "/metrics",
    "/readyz",
    "/api/status",
    "/api/accounts?limit=500",
    ...ids.map(({ account_id }) => `/api/accounts/${encodeURIComponent(account_id)}`),
  ];
  for (const [n, daemon] of daemons.entries()) {
    places[`the log of daemon ${n + 1}`] = daemon.log.join("\n");
    for (const path of paths) {
      const answer = await fetch(`${daemon.url}${path}`);
      places[`${path} of daemon ${n + 1}`] = await answer.text();
    }
  }
  return places;
}
