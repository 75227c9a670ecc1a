/** How many accounts the queue does not know, told to a person. */
import { expect, test } from "vitest";
import { createDatabase as connect } from "../../src/db/database.ts";
import { migrate } from "../../src/db/migrate.ts";
import { countSomeUnqueued } from "../../src/queue/unqueued.ts";
import { insertAccount } from "../support/accounts.ts";
import { createDatabase } from "../support/postgres.ts";

test("accounts from before the first migrate are counted up to a number, and not while a request for them is on its way", async () => {
  const database = await createDatabase();
  for (let n = 0; n < 3; n += 1) await insertAccount(database, { accountNo: `A-${n}` });
  await migrate({ url: database.url, info: () => {} });
  await insertAccount(database, { accountNo: "captured" });
  const db = connect({
    url: database.url,
    applicationName: "unqueued test",
    max: 1,
    synchronousCommit: "on",
    settingsPerTransaction: false,
    onError: () => {},
  });

  try {
    const [all, some] = [await countSomeUnqueued(db, 10), await countSomeUnqueued(db, 2)];
    await db.run("request_marker", ["unqueued"]);

    expect([all, some]).toEqual([3, 2]);
    expect(await countSomeUnqueued(db, 10)).toBeNull();
  } finally {
    await db.close();
  }
});
