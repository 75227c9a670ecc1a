/**
 * The benchmark: `npm run bench`, or `npm run bench -- drain --quick` for one part in a minute or two. Starts everything that it needs,
 * runs the contenders in turns, writes bench/results and docs/performance.md, and leaves nothing running.
 */
import { installPackages } from "./install.ts";

installPackages();
// Loads the peers, which are there only now.
const { runBenchmark } = await import("./benchmark.ts");
// An interrupted measurement is still waiting for something.
process.exit(await runBenchmark(process.argv.slice(2)));
