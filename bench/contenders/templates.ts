/** Databases in which a contender is installed, to be cloned. */
import { editEveryAccount, ensureAccounts } from "../lab/accounts.ts";
import type { Postgres } from "../lab/postgres.ts";
import type { Contender } from "./contender.ts";

/** The name of a template in which the contender is installed and nothing waits. */
export async function ensureInstalled(
  postgres: Postgres,
  { name, install }: Contender,
  accounts: number,
): Promise<string> {
  const template = await ensureAccounts(postgres, accounts);
  if (install === null) return template;

  return await postgres.ensureTemplate(
    `template_${toWord(name)}_${accounts}`,
    async (database) => {
      await install(database);
      await database.query("vacuum (analyze)");
    },
    template,
  );
}

/** The name of a template in which every account waits for its first sync, where the contender can keep that. */
export async function ensureWaiting(
  postgres: Postgres,
  contender: Contender,
  accounts: number,
): Promise<string> {
  const installed = await ensureInstalled(postgres, contender, accounts);
  if (!contender.isDurable) return installed;

  return await postgres.ensureTemplate(
    `template_${toWord(contender.name)}_${accounts}_waiting`,
    async (database) => {
      await editEveryAccount(database, "First ");
      await database.query("vacuum (analyze)");
    },
    installed,
  );
}

function toWord(name: string): string {
  return name.replaceAll("-", "_");
}
