/** Databases in encodings other than UTF-8: our text is stored or replaced, and where it cannot be, one sentence says so. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { sqlDirectory } from "../../src/db/queries.ts";
import { insertAccount } from "../support/accounts.ts";
import { eventually } from "../support/eventually.ts";
import { startProcess } from "../support/process.ts";
import { apiEnvironment, createProduct } from "../support/product.ts";
import { untilAtRest } from "../support/queue-state.ts";

describe.each(["LATIN1", "WIN1252", "EUC_JP", "SQL_ASCII"])("a database in %s", (encoding) => {
  test("is migrated, synced, and told of refusals in other scripts", async () => {
    const product = await createProduct({ database: { encoding } });
    const daemon = await product.start();
    product.sandbox.setFaults({
      next: [{ status: 422, body: { success: false, error: "Nama ’tidak valid’ → 无效 ✗" } }],
    });
    const account = await insertAccount(product.database, { accountNo: "A-1", tiers: 1, pics: 1 });

    await eventually(async () =>
      expect(
        await product.database.query("select state, error from account_sync.status"),
      ).toMatchObject([{ state: "parked", error: expect.stringContaining("Nama") }]),
    );
    await product.database.query("update m_account set name = 'Toko Dua' where id = $1", [account]);
    await untilAtRest(product.database);

    expect(await product.database.query("select state from account_sync.status")).toEqual([
      { state: "clean" },
    ]);
    expect(daemon.log.filter((line) => line.includes('"level":50'))).toEqual([]);
  });
});

test("a user whose name the encoding does not have is refused in one sentence, and nothing is asked for", async () => {
  const product = await createProduct({ database: { encoding: "LATIN1" } });
  await product.start();
  const account = await insertAccount(product.database, { accountNo: "A-1" });
  await untilAtRest(product.database);

  const sync = startProcess({
    args: ["sync", account, "--user", "Ольга"],
    env: { ...apiEnvironment(product.sandbox), DATABASE_URL: product.database.url },
  });
  const { code } = await sync.exit;

  expect(code).toBe(1);
  expect(sync.stderr).toEqual([
    expect.stringMatching(/^error: The database at \S+ cannot store a character .*LATIN1/),
    expect.stringContaining("write the value without it"),
  ]);
  expect(product.requests()).toHaveLength(1);
});

test("all SQL but the comments of the first migrations is ASCII, which every encoding holds", () => {
  const files = readdirSync(sqlDirectory, { recursive: true, encoding: "utf8" }).filter((file) =>
    file.endsWith(".sql"),
  );

  const others = files.filter((file) =>
    readFileSync(sqlDirectory + file, "utf8")
      .split("\n")
      .some(
        (line) =>
          /[^\p{ASCII}]/u.test(line) && !(file.startsWith("migrations/") && /^\s*--/.test(line)),
      ),
  );

  expect(others).toEqual([]);
});
