/** `status`: the queue at a glance, or everything about one account. */
import type { Config } from "../config.ts";
import { describeAccount } from "./account-report.ts";
import { withWiring } from "./connect.ts";
import { printLine } from "./output.ts";
import { describeQueue } from "./queue-report.ts";

export async function status(
  config: Config,
  id: string | null,
  { json }: { readonly json: boolean },
): Promise<number> {
  const lines = await withWiring(config, { json }, async ({ wiring }) =>
    id === null ? await describeQueue(wiring, json) : await describeAccount(wiring, id, json),
  );
  for (const line of lines) printLine(line);
  return 0;
}
