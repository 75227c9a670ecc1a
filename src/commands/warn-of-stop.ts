/** For commands that leave the sending to a daemon: says on stderr that none sends, and what to do. */
import { findSending, type Parts } from "../parts.ts";
import { describeSending } from "../queue/sending-words.ts";
import { printWarning } from "./output.ts";

export async function warnOfStop(parts: Parts, json: boolean): Promise<void> {
  const sending = await findSending(parts);
  if (sending.stop === null) return;
  const { line, remedy } = describeSending(sending);
  printWarning(remedy === null ? line : `${line} ${remedy}`, json);
}
