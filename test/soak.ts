/**
 * The long run: `npm run test:soak -- --minutes 30`. Every file of test/soak/ goes on for its share of the time, one after the other, so
 * that each has the machine to itself.
 */
import { parseArgs } from "node:util";
import { startVitest } from "vitest/node";

const minutes = readMinutes();
if (minutes === null) {
  process.stderr.write("Say for how long: npm run test:soak -- --minutes 30\n");
  process.exitCode = 2;
} else {
  process.env["SOAK_MINUTES"] = String(minutes);
  const vitest = await startVitest("test", [], {
    project: ["soak"],
    watch: false,
    fileParallelism: false,
  });
  await vitest.close();
}

/** null unless `--minutes` and a number above 0 are all there is. */
function readMinutes(): number | null {
  try {
    const { values } = parseArgs({ options: { minutes: { type: "string" } } });
    const given = Number(values.minutes ?? "nothing");
    return Number.isFinite(given) && given > 0 ? given : null;
  } catch {
    return null;
  }
}
