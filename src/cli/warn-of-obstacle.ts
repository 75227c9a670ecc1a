/** For commands that leave the sending to a daemon: warns when none sends, and says what to do. */
import { describeSending, isStopped } from "../queue/sending-words.ts";
import { findSending, type Wiring } from "../wiring.ts";
import { printWarning } from "./output.ts";

/** Never rejects: the command's own work is done, and a missing warning must not make it fail. */
export async function warnOfObstacle(wiring: Wiring, json: boolean): Promise<void> {
  const sending = await findSending(wiring).catch(() => null);
  if (sending === null) return printWarning("It is not known whether a daemon sends.", json);
  if (!isStopped(sending)) return;
  const { line, remedy } = describeSending(sending);
  printWarning(remedy === null ? line : `${line} ${remedy}`, json);
}
