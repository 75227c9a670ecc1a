/** `adopt`: takes the id of a customer that exists at the API for an account. */
import { canonicalId } from "../account/canonical-ids.ts";
import { callOn } from "../call-on.ts";
import type { Config } from "../config.ts";
import { callForPerson } from "../invocation.ts";
import { withWiring } from "./connect.ts";
import { printJson, printLine } from "./output.ts";
import { warnOfObstacle } from "./warn-of-obstacle.ts";

export async function adopt(
  config: Config,
  id: string,
  externalId: string,
  { json }: { readonly json: boolean },
): Promise<number> {
  const accountId = await withWiring(config, { json }, async ({ wiring }) => {
    await wiring.queue.adopt(id, externalId);
    await warnOfObstacle(wiring, json);
    return await canonicalId(wiring.db, id);
  });

  if (json) printJson({ accountId, externalId });
  else {
    printLine(
      `Account ${accountId} has the external id ${externalId} now. An update brings its current data to that customer; \`${callForPerson(callOn("status", accountId))}\` tells when it is sent.`,
    );
  }
  return 0;
}
