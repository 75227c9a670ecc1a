/** What is left for a person when faults have ended: parked accounts are repaired and retried until the queue comes to rest. */
import { isAtRest } from "./audit.ts";
import { POISON } from "./careless-kinds.ts";
import { eventually } from "./eventually.ts";
import type { TestDatabase } from "./postgres.ts";
import type { Place, StormedApi } from "./storm-run.ts";

const WAITING = `from account_sync.status s left join m_account a on a.id::text = s.account_id where s.state in ('parked', 'blocked')`;

/**
 * As the error texts advise: correct what the API never takes, look the customer up, adopt it or give up what was not applied, clear ids
 * of other customers, retry.
 */
export async function repair(
  { database, sandbox, fleet }: Place,
  httpToken: string,
): Promise<void> {
  // Whose data are corrected waits no more, and is still to be decided over.
  let rows = await readWaiting(database, await toldOfConflicts(database));
  await database.query(
    `update m_account set name = replace(name, '${POISON}', 'Betul') where name like '${POISON}%'`,
  );
  // A table that is restored must not bring it back in the calm.
  await database.query(
    `update careless.kept
     set content = content || jsonb_build_object('name', replace(content ->> 'name', '${POISON}', 'Betul'))
     where content ->> 'name' like '${POISON}%'`,
  );
  // The API reports refused rows one at a time, and a child waits for its parent.
  for (let round = 0; round < 5; round += 1) {
    if (rows.length === 0 && (await countWaiting(database)) === 0)
      return await comeToRest(database, sandbox);
    const [began] = await database.query<{ at: string }>("select clock_timestamp()::text as at");

    for (const { id, code } of rows) {
      const known = sandbox.customers().filter((customer) => customer.code === code);
      const ids = known.flatMap(({ tiers, crew }) => [...tiers, ...crew].map((item) => item.id));
      for (const [table, entity] of [
        ["m_account_package_tier", "tier"],
        ["m_account_pic", "pic"],
      ])
        await whenItIsFree(() =>
          database.query(
            `select account_sync.forget(r.account_id::text, ${entity}_id => r.id::text)
             from ${table} r
             left join account_sync.id_mapping m on m.account_id = r.account_id::text and m.entity = '${entity}' and m.row_id = r.id::text
             where r.account_id = $1
               and coalesce(r.uuid_be, m.external_id) <> all ($2)
               -- What is unfinished would bring the id back: it is decided over first, and the next round comes here again.
               and not exists (
                 select from account_sync.attempt t
                 where t.account_id = r.account_id::text and t.settled_at is null
               )`,
            [id, ids],
          ),
        );
      await whenItIsFree(() => decide(database, id, known[0]?.id ?? null));
      await database.query("select account_sync.request($1::uuid)", [id]);
    }
    const url = fleet.slots[0]?.url;
    const retried = await fetch(`${url}/api/accounts/retry`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${httpToken}`,
        "content-type": "application/json",
      },
      body: JSON.stringify({ all: true }),
    });
    if (!retried.ok) throw new Error(`retry answered ${retried.status}: ${await retried.text()}`);
    await comeToRest(database, sandbox);
    // A create that was decided over may bring another id than stands on a row.
    rows = await readWaiting(database, await toldOfConflicts(database, began?.at));
  }
}

/** @param codes account numbers of others that are to be repaired */
async function readWaiting(
  database: TestDatabase,
  codes: readonly string[],
): Promise<{ id: string; code: string }[]> {
  return await database.query(
    `select a.id::text as id, a.account_no as code ${WAITING} and a.id is not null
     union
     select a.id::text, a.account_no from m_account a where a.account_no = any ($1)`,
    [codes],
  );
}

/** An account that is being synced right now is refused. */
async function whenItIsFree(act: () => Promise<unknown>): Promise<void> {
  await eventually(act, { timeoutMs: 30_000, intervalMs: 50 });
}

/**
 * Over what is unfinished; nothing is under way at the API any more.
 *
 * @param customerId what the API has of this account; null for nothing
 */
async function decide(
  database: TestDatabase,
  id: string,
  customerId: string | null,
): Promise<void> {
  const [account] = await database.query<{ isUnfinished: boolean; hasId: boolean }>(
    `select
       a.uuid_be is not null or exists (
         select from account_sync.id_mapping m where m.account_id = a.id::text and m.entity = 'account'
       ) as "hasId",
       exists (
         select from account_sync.attempt t
         where t.account_id = a.id::text and t.settled_at is null and t.delivery <> 'answered'
       ) as "isUnfinished"
     from m_account a where a.id = $1`,
    [id],
  );
  if (customerId !== null && account?.hasId === false)
    await database.query("select account_sync.adopt($1, $2)", [id, customerId]);
  else if (account?.isUnfinished === true)
    await database.query("select account_sync.retry($1, discard => true)", [id]);
}

export async function countWaiting(database: TestDatabase): Promise<number> {
  const [row] = await database.query<{ count: number }>(`select count(*)::int as count ${WAITING}`);
  return row?.count ?? 0;
}

export async function comeToRest(
  database: TestDatabase,
  sandbox: Pick<StormedApi, "counts">,
): Promise<void> {
  await eventually(
    async () => {
      if (sandbox.counts().inWork > 0 || !(await isAtRest(database))) {
        const rows = await database.query<{ text: string }>(
          "select (select count(*) from account_sync.change) || ' changes; ' || s::text as text from account_sync.status s where state <> 'clean' limit 5",
        );
        throw new Error(`not at rest: ${rows.map(({ text }) => text).join("\n")}`);
      }
    },
    { timeoutMs: 60_000, intervalMs: 100 },
  );
}

/** Account numbers for which an id conflict was reported: a row keeps the id that it was given as another account's. */
export async function toldOfConflicts(
  database: TestDatabase,
  since = "-infinity",
): Promise<string[]> {
  const rows = await database.query<{ code: string }>(
    "select distinct a.account_no as code from m_account a join account_sync.history h on h.account_id = a.id::text where h.error_class = 'id_conflict' and h.finished_at > $1",
    [since],
  );
  return rows.map(({ code }) => code);
}
