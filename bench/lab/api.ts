/** The customer API of a run (api-process.ts), from the outside. */
import type { ApiCounts, ApiQuestion, Arrival } from "./api-process.ts";
import { startModule } from "./children.ts";

export interface Api {
  readonly url: string;
  readonly pid: number;
  /** Forgets what it was asked, and answers after this time from now on. */
  reset(options: {
    readonly delayMs: number;
    readonly keepsArrivals?: boolean;
    /** Answers nothing before `release`. */
    readonly isHeld?: boolean;
  }): Promise<void>;
  release(): Promise<void>;
  counts(): Promise<ApiCounts>;
  arrivals(): Promise<readonly Arrival[]>;
  stop(): Promise<void>;
}

export async function startApi(): Promise<Api> {
  const child = await startModule("lab/api-process.ts", {});
  const ask = <Answer>(question: ApiQuestion) => child.ask<Answer>(question);

  return {
    url: await ask<string>({ kind: "address" }),
    pid: child.pid,
    reset: async ({ delayMs, keepsArrivals = false, isHeld = false }) => {
      await ask({ kind: "reset", delayMs, keepsArrivals, isHeld });
    },
    release: async () => {
      await ask({ kind: "release" });
    },
    counts: () => ask({ kind: "counts" }),
    arrivals: () => ask({ kind: "arrivals" }),
    stop: () => child.stop(),
  };
}
