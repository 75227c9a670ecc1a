/**
 * What a fault is tried on: a database, a customer API, and real `start` processes, each with a gate of its own between it and the
 * database. Several scenes may run at the same time.
 */
import { type Sandbox, startSandbox } from "../../src/local/sandbox.ts";
import type { SandboxRequest } from "../../src/local/sandbox-requests.ts";
import { eventually } from "./eventually.ts";
import { createDatabase, type TestDatabase } from "./postgres.ts";
import { type RunningProcess, startProcess } from "./process.ts";
import { apiEnvironment, readMetric } from "./product.ts";
import { type StatementGate, startStatementGate } from "./statement-gate.ts";

export interface Scene extends AsyncDisposable {
  readonly database: TestDatabase;
  readonly sandbox: Sandbox;
  /** What the API was asked, without tokens, oldest first. */
  requests(): SandboxRequest[];
  /** Starts one more process, with the default lease. Resolves as soon as it runs. */
  spawn(environment?: Readonly<Record<string, string>>): Promise<SpawnedDaemon>;
  /** The same, and resolves when the process is ready. */
  start(environment?: Readonly<Record<string, string>>): Promise<StartedDaemon>;
}

export interface SpawnedDaemon extends RunningProcess {
  readonly gate: StatementGate;
  /** performance.now() of the start. */
  readonly spawnedAt: number;
  kill(): Promise<void>;
  started(): Promise<StartedDaemon>;
}

export interface StartedDaemon extends SpawnedDaemon {
  readonly url: string;
  metric(name: string, labels?: Readonly<Record<string, string>>): Promise<number>;
}

export async function openScene({
  honourKeys = true,
}: {
  readonly honourKeys?: boolean;
} = {}): Promise<Scene> {
  const database = await createDatabase();
  const sandbox = await startSandbox({ honourKeys });
  const daemons: SpawnedDaemon[] = [];

  const scene: Scene = {
    database,
    sandbox,
    requests: () => sandbox.history().filter(({ operation }) => operation !== "token"),
    spawn: async (environment = {}) => {
      const gate = await startStatementGate(database.url);
      const spawnedAt = performance.now();
      const running = startProcess({
        args: ["start"],
        env: {
          ...apiEnvironment(sandbox),
          DATABASE_URL: gate.url,
          // Due at once, so that the next claim after a fold is the one that takes it.
          SYNC_QUIET_PERIOD_MS: "0",
          SYNC_BACKOFF_MIN_MS: "50",
          SYNC_BACKOFF_MAX_MS: "500",
          HTTP_PORT: "0",
          ...environment,
        },
      });
      const daemon: SpawnedDaemon = {
        ...running,
        gate,
        spawnedAt,
        kill: async () => {
          running.signal("SIGKILL");
          await running.exit;
        },
        started: async () => {
          const { url } = JSON.parse(await running.waitForLine(/"msg":"started"/, 60_000));
          return { ...daemon, url, metric: (name, labels) => readMetric(url, name, labels) };
        },
      };
      daemons.push(daemon);
      return daemon;
    },
    start: async (environment) => await (await scene.spawn(environment)).started(),
    async [Symbol.asyncDispose]() {
      for (const daemon of daemons) {
        await daemon.kill();
        await daemon.gate.close();
      }
      await sandbox.close();
      await database.close();
    },
  };
  return scene;
}

/** The requests in words: `create 201`, `update no answer`. */
export function inWords(requests: readonly SandboxRequest[]): string[] {
  return requests.map(({ operation, status }) => `${operation} ${status ?? "no answer"}`);
}

export async function stateOf(
  { database }: Pick<Scene, "database">,
  accountId: string,
): Promise<{ readonly state: string; readonly error_class: string | null } | null> {
  const [row] = await database.query<{ state: string; error_class: string | null }>(
    "select state, error_class from account_sync.status where account_id = $1",
    [accountId],
  );
  return row ?? null;
}

/** A retry in the console an hour after the account was parked: its request cannot be under way any more. */
export async function retryByHandLater(
  scene: Scene,
  daemon: StartedDaemon,
  accountId: string,
): Promise<void> {
  await scene.database.query(
    "update account_sync.attempt set started_at = started_at - interval '1 hour' where account_id = $1",
    [accountId],
  );
  await retryByHand(daemon, accountId);
}

/** A retry in the console. */
export async function retryByHand(daemon: StartedDaemon, accountId: string): Promise<void> {
  await fetch(`${daemon.url}/api/accounts/retry`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ids: [accountId] }),
  });
}

/** Resolves when the account is clean and no change waits to be folded. */
export async function untilClean(scene: Scene, accountId: string): Promise<void> {
  await eventually(
    async () => {
      // In this order: a change that is folded between the two shows in the state.
      const changes = await scene.database.query("select from account_sync.change");
      const status = await stateOf(scene, accountId);
      if (status?.state !== "clean" || changes.length > 0)
        throw new Error(
          `account ${accountId} is ${JSON.stringify(status)} with ${changes.length} changes not folded`,
        );
    },
    { timeoutMs: 30_000 },
  );
}
