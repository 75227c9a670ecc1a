/** The library as an application has it: on a database, a sandbox, and with options of the test. Closed at the end of the test. */
import { afterEach } from "vitest";
import { type AccountSync, type AccountSyncOptions, createAccountSync } from "../../src/index.ts";
import type { Sandbox } from "../../src/local/sandbox.ts";
import type { TestDatabase } from "./postgres.ts";
import type { Product } from "./product.ts";
import { untilAtRest } from "./queue-state.ts";

const opened: AccountSync[] = [];

afterEach(async () => {
  for (const library of opened.splice(0)) await library.close();
});

export async function openLibrary(
  { database, sandbox }: { readonly database: TestDatabase; readonly sandbox: Sandbox },
  { api, ...options }: Omit<AccountSyncOptions, "api"> & { readonly api?: object } = {},
): Promise<AccountSync> {
  const library = await createAccountSync({
    database: database.url,
    api: {
      url: sandbox.url,
      clientId: sandbox.clientId,
      clientSecret: sandbox.clientSecret,
      timeoutMs: 5_000,
      ...api,
    },
    log: false,
    ...options,
  });
  opened.push(library);
  return library;
}

/** The account with its relations, as an application's ORM loads it. */
export async function accountDataOf(
  database: Pick<TestDatabase, "query">,
  id: string,
): Promise<Parameters<AccountSync["syncCustomerToExternalApi"]>[0]> {
  const [account] = await database.query(
    "select id, account_no, name, phone_no, email, no_ktp, no_npwp, is_active, uuid_be from m_account where id = $1",
    [id],
  );
  const package_tiers = await database.query(
    "select id, min_value, max_value, amount, start_date, end_date, percentage, is_active, uuid_be from m_account_package_tier where account_id = $1",
    [id],
  );
  const pics = await database.query(
    "select id, name, phone_no, email, no_ktp, no_npwp, username, is_active, created_at, uuid_be from m_account_pic where account_id = $1",
    [id],
  );
  return { ...account, package_tiers, pics } as never;
}

/** A daemon beside the calls does what they have left to be done, and leaves. */
export async function settleByDaemon({
  start,
  database,
}: Pick<Product, "start" | "database">): Promise<void> {
  const daemon = await start();
  await untilAtRest(database);
  await daemon.stop("enough");
}
