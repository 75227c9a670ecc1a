/** What counts as a change, in the usual shape of the source tables: the payload columns and no other. */
import { randomUUID } from "node:crypto";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { migrate } from "../../src/db/migrate.ts";
import {
  byAccount,
  type CapturedTables,
  createCapturedTables,
} from "../support/captured-tables.ts";
import { createDatabase } from "../support/postgres.ts";

/** What changes the command, by domain.md. A change of anything else is none. */
const PAYLOAD: Record<string, string[]> = {
  m_account:
    "name email phone_no no_ktp no_npwp account_no account_type_id parentId is_active".split(" "),
  m_account_package_tier:
    "account_id min_value max_value amount start_date end_date percentage is_active billing_method_id".split(
      " ",
    ),
  m_account_pic: "account_id name phone_no email no_ktp no_npwp username is_active".split(" "),
  m_account_address:
    "account_id address1 address2 sub_district city province country postalcode is_primary is_active".split(
      " ",
    ),
  m_account_bank:
    "account_id bank_id bank_account_no bank_account_holder_name bank_account_holder_firstname bank_account_holder_lastname is_active".split(
      " ",
    ),
  m_bank: ["uuid_be"],
  m_account_type: ["name"],
  m_account_billing_method: ["method"],
};
const CHILDREN = ["m_account_package_tier", "m_account_pic", "m_account_address", "m_account_bank"];
const INDIRECT = ["m_bank", "m_account_type", "m_account_billing_method"];

let tables: CapturedTables;

beforeAll(async () => {
  tables = await createCapturedTables();
});

beforeEach(async () => {
  await tables.reset();
});

describe("what counts as a change", () => {
  test("inserting, updating and deleting an account", async () => {
    const id = await tables.insert("m_account");
    expect(await tables.takeChanges()).toEqual([{ account_id: id }]);

    await tables.query("update m_account set name = 'Toko Baru' where id = $1", [id]);
    expect(await tables.takeChanges()).toEqual([{ account_id: id }]);

    await tables.query("delete from m_account where id = $1", [id]);
    expect(await tables.takeChanges()).toEqual([{ account_id: id }]);
  });

  test.each(CHILDREN)("inserting, updating and deleting a row of %s", async (table) => {
    const account = await tables.insertAccount();
    await tables.takeChanges();

    const id = await tables.insert(table, { account_id: account });
    expect(await tables.takeChanges()).toEqual([{ account_id: account }]);

    await tables.query(`update ${table} set is_active = not is_active where id = $1`, [id]);
    expect(await tables.takeChanges()).toEqual([{ account_id: account }]);

    await tables.query(`delete from ${table} where id = $1`, [id]);
    expect(await tables.takeChanges()).toEqual([{ account_id: account }]);
  });

  test.each(INDIRECT)("inserting, updating and deleting a row of %s is a marker", async (table) => {
    const marker = { marker: table, marker_id: await tables.insert(table) };
    expect(await tables.takeChanges()).toEqual([marker]);

    const column = PAYLOAD[table]?.[0];
    await tables.query(`update ${table} set ${column} = 'other' where id = $1`, [marker.marker_id]);
    expect(await tables.takeChanges()).toEqual([marker]);

    await tables.query(`delete from ${table} where id = $1`, [marker.marker_id]);
    expect(await tables.takeChanges()).toEqual([marker]);
  });

  test.each(Object.keys(PAYLOAD))("exactly the payload columns of %s", async (table) => {
    const account = await tables.insertAccount();
    const id = await tables.insert(table, CHILDREN.includes(table) ? { account_id: account } : {});
    const columns = (await columnsOf(table)).filter((column) => column.name !== "id");
    await tables.takeChanges();

    const captured: Record<string, number> = {};
    for (const { name, type } of columns) {
      const other = await otherValue(name, type);
      await tables.query(`update ${table} set "${name}" = ${other} where id = $1`, [id]);
      captured[name] = (await tables.takeChanges()).length;
    }

    const expected = columns.map(({ name }) => [
      name,
      // A row that moves is a change of both accounts.
      name === "account_id" ? 2 : PAYLOAD[table]?.includes(name) ? 1 : 0,
    ]);
    expect(captured).toEqual(Object.fromEntries(expected));
  });

  test("a save that rewrites everything with the same data is none", async () => {
    const account = await tables.insertAccount();
    await tables.insert("m_account_pic", { account_id: account });
    await tables.takeChanges();

    await tables.query(
      "update m_account set name = name, email = email, updated_by = 'ani', updated_at = now()",
    );
    await tables.query("update m_account_pic set name = name, updated_at = now()");

    expect(await tables.takeChanges()).toEqual([]);
  });

  test("a PIC that moves is a change of both accounts", async () => {
    const [from, to] = [await tables.insertAccount(), await tables.insertAccount()];
    const pic = await tables.insert("m_account_pic", { account_id: from });
    await tables.takeChanges();

    await tables.query("update m_account_pic set account_id = $1 where id = $2", [to, pic]);

    expect(await tables.takeChanges()).toEqual(byAccount([from, to]));
  });

  test("a PIC of no account is nobody's change", async () => {
    const account = await tables.insertAccount();
    await tables.takeChanges();

    const pic = await tables.insert("m_account_pic", { account_id: null });
    await tables.query("update m_account_pic set name = 'Siti' where id = $1", [pic]);
    expect(await tables.takeChanges()).toEqual([]);

    await tables.query("update m_account_pic set account_id = $1 where id = $2", [account, pic]);
    expect(await tables.takeChanges()).toEqual([{ account_id: account }]);
  });

  test("a changed key is a change of the old and of the new account", async () => {
    const [id, newId] = [await tables.insertAccount(), randomUUID()];
    await tables.takeChanges();

    await tables.query("update m_account set id = $1 where id = $2", [newId, id]);

    expect(await tables.takeChanges()).toEqual(byAccount([id, newId]));
  });

  test("only case differs: a change also where the column compares without case", async () => {
    const insensitive = await createDatabase();
    await insensitive.query("create extension citext");
    await insensitive.query(
      "create collation folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
    );
    await insensitive.query(
      "alter table m_account alter email type citext, alter name type varchar(200) collate folded, alter brand_name type json using null",
    );
    await migrate({ url: insensitive.url, info: () => {} });
    await insensitive.query("insert into m_account (name, email) values ('toko', 'a@example.com')");
    await insensitive.query("delete from account_sync.change");

    await insensitive.query("update m_account set name = 'Toko'");
    await insensitive.query("update m_account set email = 'A@example.com'");
    await insensitive.query("update m_account set email = 'A@example.com', name = 'Toko'");

    expect(await insensitive.query("select account_id from account_sync.change")).toHaveLength(2);
  });
});

async function columnsOf(table: string): Promise<{ name: string; type: string }[]> {
  return await tables.query(
    "select attname as name, format_type(atttypid, null) as type from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped",
    [table],
  );
}

/** SQL for a value that the column of the row does not have yet. */
async function otherValue(column: string, type: string): Promise<string> {
  switch (type) {
    case "uuid": {
      const table =
        {
          account_type_id: "m_account_type",
          billing_method_id: "m_account_billing_method",
          bank_id: "m_bank",
        }[column] ?? "m_account";
      const id = await tables.insert(table);
      await tables.takeChanges();
      return `'${id}'`;
    }
    case "character varying":
      return `left('x' || coalesce("${column}", ''), 20)`;
    case "boolean":
      return `not coalesce("${column}", false)`;
    case "numeric":
    case "date":
      return `"${column}" + 1`;
    case "timestamp without time zone":
      return `coalesce("${column}", now()) + interval '1 day'`;
    case "json":
      return `'{"portal": true}'`;
    default:
      throw new Error(`no other value is known for a column of type ${type}`);
  }
}
