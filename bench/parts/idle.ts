/** What a daemon costs while nothing happens: the share of one processor core, its own and PostgreSQL's. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Contender } from "../contenders/contender.ts";
import { ensureInstalled } from "../contenders/templates.ts";
import { processorMs, residentMiB, serverProcessorMs } from "../lab/processor-time.ts";
import type { Metric } from "../measure/observations.ts";
import type { Lab, Observe, Part } from "./part.ts";

const ACCOUNTS = 2_000;

export const idle: Part = {
  name: "idle",
  async run(lab, observe) {
    // One figure of half a minute says more than five of some seconds: there are a hundred ticks in a second of processor time.
    for (const contender of lab.contenders) {
      lab.log(`idle: ${contender.name}`);
      await measureIdle(lab, contender, observe);
    }
  },
};

async function measureIdle(lab: Lab, contender: Contender, observe: Observe): Promise<void> {
  const { postgres, api } = lab;
  const database = await postgres.createDatabase(
    "bench",
    await ensureInstalled(postgres, contender, ACCOUNTS),
  );
  await database.disconnect();
  const daemon =
    contender.start === null || contender.install === null
      ? null
      : await contender.start({
          databaseUrl: database.url,
          apiUrl: api.url,
          concurrency: 32,
          accounts: ACCOUNTS,
        });
  try {
    // Until what a start does is done, and a checkpoint of the clone is written.
    await sleep(lab.quick ? 5_000 : 12_000);
    const read = () => ({
      daemon: daemon === null ? null : processorMs(daemon.pid),
      postgres: serverProcessorMs(postgres.postmasterPid),
    });
    const before = read();
    const seconds = lab.quick ? 15 : 30;
    await sleep(seconds * 1_000);
    const after = read();

    const report = (metric: Metric, value: number | null) => {
      if (value !== null) {
        observe({ scenario: "nothing happens", contender: contender.name, metric, value });
      }
    };
    const share = (from: number | null, to: number | null) =>
      from === null || to === null ? null : (to - from) / seconds / 10;
    report("daemon, % of a core", share(before.daemon, after.daemon));
    report("PostgreSQL, % of a core", share(before.postgres, after.postgres));
    report("daemon, MiB", daemon === null ? null : residentMiB(daemon.pid));
  } finally {
    await daemon?.stop();
    await database.drop();
  }
}
