/** For commands that leave the sending to a daemon: says on stderr that none sends, and what to do. */
import { findSending, type Parts } from "../parts.ts";
import { describeSending, isStopped } from "../queue/sending-words.ts";
import { printWarning } from "./output.ts";

export async function warnOfObstacle(parts: Parts, json: boolean): Promise<void> {
  const sending = await findSending(parts);
  if (!isStopped(sending)) return;
  const { line, remedy } = describeSending(sending);
  printWarning(remedy === null ? line : `${line} ${remedy}`, json);
}
