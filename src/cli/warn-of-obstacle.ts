/** For commands that leave the sending to a daemon: says on stderr that none sends, and what to do. */
import { findSending, type Parts } from "../parts.ts";
import { describeSending, isStopped } from "../queue/sending-words.ts";
import { printWarning } from "./output.ts";

/** Never throws: the command's own work is done by now, and its result is what counts. */
export async function warnOfObstacle(parts: Parts, json: boolean): Promise<void> {
  const sending = await findSending(parts).catch(() => null);
  if (sending === null) return printWarning("It is not known whether a daemon sends.", json);
  if (!isStopped(sending)) return;
  const { line, remedy } = describeSending(sending);
  printWarning(remedy === null ? line : `${line} ${remedy}`, json);
}
