/** The wired daemon on a real database and a real HTTP API, in this process: what most end-to-end tests need. */
import { Writable } from "node:stream";
import { afterEach } from "vitest";
import { readConfig } from "../../src/config.ts";
import { type Daemon, startDaemon, type Timing } from "../../src/daemon.ts";
import { type Sandbox, startSandbox } from "../../src/local/sandbox.ts";
import type { SandboxRequest } from "../../src/local/sandbox-requests.ts";
import { createLog } from "../../src/ops/log.ts";
import { createDatabase, type TestDatabase } from "./postgres.ts";

export interface ProductOptions {
  readonly database?: Parameters<typeof createDatabase>[0];
  /** A database that is there already, such as one on a server of its own. */
  readonly on?: TestDatabase;
  readonly sandbox?: Parameters<typeof startSandbox>[0];
}

export interface Product {
  readonly database: TestDatabase;
  readonly sandbox: Sandbox;
  /** Starts one more daemon. Settings are environment variables on top of the test's own small durations. */
  start(environment?: Readonly<Record<string, string>>, timing?: Timing): Promise<RunningDaemon>;
  /** What the API was asked, without tokens, oldest first. */
  requests(): SandboxRequest[];
}

export interface RunningDaemon extends Daemon {
  readonly log: readonly string[];
  metric(name: string, labels?: Readonly<Record<string, string>>): Promise<number>;
}

/** Small enough for a test, and in the proportions of the defaults. */
export const QUICK = {
  SYNC_QUIET_PERIOD_MS: "50",
  SYNC_MAX_WAIT_MS: "500",
  SYNC_BACKOFF_MIN_MS: "50",
  SYNC_BACKOFF_MAX_MS: "1000",
  SYNC_LEASE_MS: "2000",
  SYNC_SWEEP_INTERVAL_MS: "1000",
  SYNC_SHUTDOWN_TIMEOUT_MS: "5000",
  CUSTOMER_API_TIMEOUT_MS: "5000",
  HTTP_PORT: "0",
  LOG_FORMAT: "json",
};

const cleanups: (() => Promise<void>)[] = [];

afterEach(async () => {
  // In reverse: daemons before the API and the database they use.
  for (const cleanUp of cleanups.splice(0).reverse()) await cleanUp();
});

export async function createProduct(options: ProductOptions = {}): Promise<Product> {
  const database = options.on ?? (await createDatabase(options.database));
  const sandbox = await startSandbox(options.sandbox);
  cleanups.push(() => sandbox.close());

  return {
    database,
    sandbox,
    requests: () => sandbox.history().filter((request) => request.operation !== "token"),
    async start(environment = {}, timing = {}) {
      const lines: string[] = [];
      const destination = new Writable({
        write(chunk, _encoding, done) {
          lines.push(...String(chunk).split("\n").filter(Boolean));
          done();
        },
      });
      const config = readConfig({
        ...QUICK,
        ...apiEnvironment(sandbox),
        DATABASE_URL: database.url,
        ...environment,
      });
      const log = createLog({ level: config.log.level, format: config.log.format, destination });
      const daemon = await startDaemon(config, config.database.url ?? database.url, log, timing);
      let stopped: Promise<void> | null = null;
      const stop = (reason: string) => {
        stopped ??= daemon.stop(reason);
        return stopped;
      };
      cleanups.push(() => stop("the test is over"));
      return {
        url: daemon.url,
        log: lines,
        stop,
        metric: (name, labels) => readMetric(daemon.url, name, labels),
      };
    },
  };
}

export function apiEnvironment(sandbox: Sandbox): Record<string, string> {
  return {
    CUSTOMER_API_URL: sandbox.url,
    CUSTOMER_API_CLIENT_ID: sandbox.clientId,
    CUSTOMER_API_CLIENT_SECRET: sandbox.clientSecret,
  };
}

/** The value of one series as a scrape shows it; 0 labels match the sum of all. */
export async function readMetric(
  url: string,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const series = text
    .split("\n")
    .filter(
      (line) =>
        line.startsWith(`account_sync_${name}{`) || line.startsWith(`account_sync_${name} `),
    );
  const wanted = series.filter((line) =>
    Object.entries(labels).every(([label, value]) => line.includes(`${label}="${value}"`)),
  );
  if (wanted.length === 0)
    throw new Error(`/metrics has no account_sync_${name} ${JSON.stringify(labels)}`);
  return wanted.reduce((sum, line) => sum + toNumber(line.slice(line.lastIndexOf(" "))), 0);
}

/** As Prometheus writes numbers. */
export function toNumber(text: string): number {
  return Number(text.replace("Inf", "Infinity"));
}
