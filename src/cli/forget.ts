/** `forget`: forgets what is known of an account's ids at the API, after a confirmation. */
import { canonicalId } from "../account/canonical-ids.ts";
import { callOn } from "../call-on.ts";
import type { Config } from "../config.ts";
import { callForPerson } from "../invocation.ts";
import { isConfirmed } from "./confirm.ts";
import { withWiring } from "./connect.ts";
import { printJson, printLine } from "./output.ts";
import type { FollowedAccount } from "./sync-report.ts";
import { warnOfObstacle } from "./warn-of-obstacle.ts";
import { counted } from "./wording.ts";

export interface ForgetHow {
  /** Only the id of this tier, or of this contact person; both null: all ids of the account. */
  readonly tierId: string | null;
  readonly picId: string | null;
  readonly isSure: boolean;
  readonly json: boolean;
}

export async function forget(config: Config, id: string, how: ForgetHow): Promise<number> {
  const { json, isSure } = how;
  if (!isSure && !(await isConfirmed(toAsked(id, how)))) {
    printLine("Nothing was forgotten.");
    return 1;
  }

  const { accountId, forgotten, isSentByItself } = await withWiring(
    config,
    { json },
    async ({ wiring }) => {
      const count = await wiring.queue.forgetIds(id, how);
      const canonical = await canonicalId(wiring.db, id);
      const [followed] = await wiring.db.run<FollowedAccount>("follow_accounts", [[canonical]]);
      const isPending = (followed?.state ?? "clean") !== "clean" || followed?.hasChanges === true;
      if (isPending) await warnOfObstacle(wiring, json);
      return { accountId: canonical, forgotten: count, isSentByItself: isPending };
    },
  );

  const isWhole = how.tierId === null && how.picId === null;
  if (json) printJson({ accountId, forgotten });
  else if (forgotten === 0 && !isWhole) {
    printLine(`No id of ${whose(accountId, how)} was known: nothing was forgotten.`);
  } else {
    const does = toDoes(how);
    printLine(
      forgotten === 0
        ? `No id of ${whose(accountId, how)} was known. The next sync ${does}.`
        : `Forgot ${counted(forgotten, "id")} of ${whose(accountId, how)}. The next sync ${does}.`,
    );
    const call = isSentByItself ? callOn("status", accountId) : callOn("sync", accountId);
    printLine(
      isSentByItself
        ? `It is sent by itself; \`${callForPerson(call)}\` tells when.`
        : `It is sent when it changes; now: \`${callForPerson(call)}\``,
    );
  }
  return 0;
}

function toAsked(id: string, how: ForgetHow) {
  const isWhole = how.tierId === null && how.picId === null;
  const only = [
    ...(how.tierId === null ? [] : ["--tier", how.tierId]),
    ...(how.picId === null ? [] : ["--pic", how.picId]),
  ];
  return {
    question: `This forgets ${isWhole ? "every id" : "the id"} of ${whose(id, how)} at the API, also in its rows. The next sync ${toDoes(how)}.`,
    does: `forget makes the next sync create ${isWhole ? "another customer" : "the row anew"}`,
    call: callOn("forget", id, ["--yes", ...only]),
    json: how.json,
  };
}

function whose(id: string, { tierId, picId }: ForgetHow): string {
  const rows = [
    ...(tierId === null ? [] : [`tier ${tierId}`]),
    ...(picId === null ? [] : [`contact person ${picId}`]),
  ];
  return [...rows, `account ${id}`].join(" of ").replace(/ of (?=contact person)/, " and ");
}

function toDoes({ tierId, picId }: ForgetHow): string {
  return tierId === null && picId === null
    ? "creates a customer, also where one exists"
    : "adds it to the customer anew, also where it exists";
}
