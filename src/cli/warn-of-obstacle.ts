/** For commands that leave the sending to a daemon: warns when none sends, and says what to do. */
import { findSending, type Parts } from "../parts.ts";
import { describeSending, isStopped } from "../queue/sending-words.ts";
import { printWarning } from "./output.ts";

/** Never rejects: the command's own work is done, and a missing warning must not make it fail. */
export async function warnOfObstacle(parts: Parts, json: boolean): Promise<void> {
  const sending = await findSending(parts).catch(() => null);
  if (sending === null) return printWarning("It is not known whether a daemon sends.", json);
  if (!isStopped(sending)) return;
  const { line, remedy } = describeSending(sending);
  printWarning(remedy === null ? line : `${line} ${remedy}`, json);
}
