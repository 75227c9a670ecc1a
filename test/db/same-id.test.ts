/** One rule of which ids are the same, in TypeScript and in SQL, and everything that keeps two accounts from one customer asks it. */
import fc from "fast-check";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { sqlOf } from "../../src/db/queries.ts";
import { toComparableId } from "../../src/same-id.ts";
import { findIdOwners } from "../../src/sync/adopt.ts";
import { createEngine, type Engine } from "../support/engine.ts";
import { eventually } from "../support/eventually.ts";
import { withClient } from "../support/postgres.ts";

let engine: Engine;

beforeAll(async () => {
  engine = await createEngine();
});

beforeEach(() => engine.reset());

const GUID = "aaaaaaaa-0000-4000-8000-00000000000b";
const adopt = (id: string, externalId: string) =>
  engine.query("select account_sync.adopt($1, $2)", [id, externalId]);

test("SQL and TypeScript compare ids alike", async () => {
  const inSomeCase = (text: fc.Arbitrary<string>) =>
    fc
      .tuple(text, fc.infiniteStream(fc.boolean()))
      .map(([one, upper]) =>
        Array.from(one, (c) => (upper.next().value ? c.toUpperCase() : c)).join(""),
      );
  const id = fc.oneof(
    inSomeCase(fc.uuid()),
    fc.uuid().map((guid) => `${guid}\n`),
    fc.uuid().map((guid) => guid.replaceAll("-", "").toUpperCase()),
    inSomeCase(fc.string({ unit: "grapheme", minLength: 1 })).filter((s) => !s.includes("\0")),
    fc.constantFrom("AbC1", "ſ", "\u212a", "İ", ` ${GUID}`),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        id.filter((s) => s.isWellFormed()),
        { minLength: 1 },
      ),
      async (ids) => {
        const [row] = await engine.query(
          "select array_agg(account_sync.comparable_id(id) order by n) as ids from unnest($1::text[]) with ordinality as t (id, n)",
          [ids],
        );
        expect(row?.["ids"]).toEqual(ids.map((one) => toComparableId(one)));
      },
    ),
    { numRuns: 40 },
  );
});

describe.each([
  ["a GUID", GUID, GUID.toUpperCase(), true],
  ["a GUID that stands in upper case", GUID.toUpperCase(), GUID, true],
  ["another id", "AbC1", "abc1", false],
])("%s in another letter case", (_name, stands, wanted, isSame) => {
  const other = async (how: string) => {
    const { id } = await engine.insertAccount();
    await engine.query(how, [id, stands]);
    return id;
  };

  test.each([
    ["stands on another row", "update m_account set uuid_be = $2 where id::text = $1"],
    [
      "is mapped",
      "insert into account_sync.mapped_id (account_id, entity, row_id, external_id) values ($1, 'account', $1, $2)",
    ],
    [
      "was answered",
      `insert into account_sync.attempt (account_id, generation, trigger, operation, delivery, idempotency_key, sent, received)
       values ($1, 1, 'change', 'create', 'answered', gen_random_uuid(), '{}', jsonb_build_object('customer', $2::text))`,
    ],
  ])(`is the same: ${isSame}, where it %s`, async (_where, how) => {
    const ownerId = await other(how);
    const { id } = await engine.insertAccount();

    expect(
      await findIdOwners(
        engine.db,
        [{ externalId: wanted, accountId: id, configId: null }],
        "rows too",
      ),
    ).toEqual([isSame ? ownerId : null]);
    const adopted = adopt(id, wanted);
    if (isSame) await expect(adopted).rejects.toMatchObject({ code: "23505" });
    else await adopted;
  });

  test(`may be adopted by the account that has it: ${isSame}`, async () => {
    const id = await other("update m_account set uuid_be = $2 where id::text = $1");

    const adopted = adopt(id, wanted);

    if (isSame) await adopted;
    else await expect(adopted).rejects.toMatchObject({ code: "55000" });
    expect(await engine.ids(id)).toMatchObject({ account: stands });
  });
});

test.each(["AbC1", GUID.toUpperCase()])(
  "a lookup and a person that find customer %s for two accounts take turns",
  async (externalId) => {
    const [byLookup, byPerson] = await Promise.all([
      engine.insertAccount(),
      engine.insertAccount(),
    ]);

    const adopting = await engine.db.transaction(async (tx) => {
      await tx.run("lock_external_id", [externalId]);
      const started = adopt(byPerson.id, externalId);
      started.catch(() => {});
      await eventually(async () =>
        expect(
          await engine.query(
            "select from pg_locks join pg_stat_activity using (pid) where not granted and datname = current_database()",
          ),
        ).not.toEqual([]),
      );
      await tx.run("map_ids", [
        JSON.stringify([
          { accountId: byLookup.id, entity: "account", id: byLookup.id, externalId },
        ]),
      ]);
      return { started };
    });

    await expect(adopting.started).rejects.toMatchObject({ code: "23505" });
    expect(
      await findIdOwners(
        engine.db,
        [{ externalId, accountId: byPerson.id, configId: null }],
        "mapped",
      ),
    ).toEqual([byLookup.id]);
  },
);

test.each([
  ["find_id_owners", [["Ext-7", GUID.toUpperCase()], ["a", "b"], [null, null], false]],
  [
    "find_mapped_owners",
    [
      ["Ext-7", GUID.toUpperCase()],
      ["a", "b"],
      [null, null],
    ],
  ],
  ["find_mapped_elsewhere", ["a", ["Ext-7", GUID.toUpperCase()], ["account", "tier"], ["a", "t"]]],
])("%s finds an id in the mapping by its index", async (name, values) => {
  await engine.query(
    "insert into account_sync.mapped_id (account_id, entity, row_id, external_id) select n, 'account', n, 'Ext-' || n from generate_series(1, 20000) n",
  );
  await engine.query("analyze account_sync.mapped_id");

  const plan = await withClient(engine.database.url, async (client) =>
    (
      await client.query<{ "QUERY PLAN": string }>(`explain ${sqlOf(name)}`, values as unknown[])
    ).rows
      .map((row) => row["QUERY PLAN"])
      .join("\n"),
  );

  expect(plan).toContain("mapped_id_by_external_id");
});

test("a GUID that is mapped to another row is found in either letter case", async () => {
  await engine.query(
    "insert into account_sync.mapped_id (account_id, entity, row_id, external_id) values ('1', 'tier', 't', $1)",
    [GUID],
  );

  expect(
    await engine.db.run("find_mapped_elsewhere", ["2", [GUID.toUpperCase()], ["tier"], ["t"]]),
  ).toMatchObject([{ otherAccountId: "1", externalId: GUID }]);
});
