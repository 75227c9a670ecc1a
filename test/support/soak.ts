/** How long a file of test/soak/ goes on: an equal share of what `npm run test:soak` was given. */
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const files = readdirSync(fileURLToPath(new URL("../soak/", import.meta.url)));

/** For `performance.now()`: when this file's share of the time is over. To be asked once, at its beginning. */
export function soakDeadline(): number {
  const share = files.filter((file) => file.endsWith(".soak.ts")).length;
  return performance.now() + (Number(process.env["SOAK_MINUTES"]) * 60_000) / share;
}
