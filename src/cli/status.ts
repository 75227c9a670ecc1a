/** `status`: the queue at a glance, or everything about one account. */
import type { Config } from "../config.ts";
import { describeAccount } from "./account-report.ts";
import { withParts } from "./connect.ts";
import { printLine } from "./output.ts";
import { describeQueue } from "./queue-report.ts";

export async function status(
  config: Config,
  id: string | null,
  { json }: { readonly json: boolean },
): Promise<number> {
  const lines = await withParts(config, { json }, async ({ parts }) =>
    id === null ? await describeQueue(parts, json) : await describeAccount(parts, id, json),
  );
  for (const line of lines) printLine(line);
  return 0;
}
