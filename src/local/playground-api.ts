/** Where the playground sends: to a sandbox, unless a row of m_backend_ext_config in the embedded database names an API. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { apiConfigReader, describeSource } from "../account/source.ts";
import type { Config } from "../config.ts";
import { createConnections } from "../customer-api/connections.ts";
import type { Log } from "../ops/log.ts";
import { withPlaygroundDatabase } from "./playground-database.ts";
import { type Sandbox, startSandbox } from "./sandbox.ts";

const SANDBOX_CLIENT = { clientId: "sandbox", clientSecret: "sandbox-secret" };

/** Resolves with null where a row names an API. */
export async function startSandboxIfNeeded(
  config: Config,
  databaseUrl: string,
  dataDir: string,
  log: Log,
): Promise<Sandbox | null> {
  if (await isApiConfigured(config, databaseUrl)) {
    log.warn(
      {},
      "a row of m_backend_ext_config says where to send: what the embedded database holds goes there, and not to a sandbox",
    );
    await writeChosenApi(dataDir, { pid: process.pid, sandboxPort: null });
    return null;
  }

  log.info({}, "using a sandbox as the customer API");
  const options = {
    ...SANDBOX_CLIENT,
    dataFile: join(dataDir, "sandbox.json"),
    log: (line: string) => log.debug({ line }, "sandbox API"),
  };
  const before = (await readChosenApi(dataDir))?.sandboxPort ?? 0;
  const sandbox = await startSandbox({ ...options, port: before }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code !== "EADDRINUSE") throw error;
      return startSandbox(options);
    },
  );
  await writeChosenApi(dataDir, {
    pid: process.pid,
    sandboxPort: Number(new URL(sandbox.url).port),
  });
  return sandbox;
}

/**
 * By a row of m_backend_ext_config, which gets into the embedded database by hand only. Never by the environment: the configuration
 * refuses settings of an API without a DATABASE_URL.
 */
async function isApiConfigured(config: Config, databaseUrl: string): Promise<boolean> {
  return await withPlaygroundDatabase(databaseUrl, async (db) => {
    const connections = createConnections(
      apiConfigReader(db, await describeSource(db)),
      config.api,
    );
    return !("error" in (await connections.of(null)));
  });
}

/**
 * The API that a start has chosen, for the commands that send: valid as long as process `pid` has the data directory. `sandboxPort` is
 * null where rows of m_backend_ext_config say where to send.
 */
type ChosenApi = z.infer<typeof chosenApiShape>;

const chosenApiShape = z.object({
  pid: z.number(),
  sandboxPort: z.number().int().min(1).max(65_535).nullable(),
});

async function writeChosenApi(dataDir: string, chosen: ChosenApi): Promise<void> {
  await writeFile(join(dataDir, "api"), `${JSON.stringify(chosen)}\n`);
}

/** null when no start has chosen yet, or the file was cut off by a crash. */
export async function readChosenApi(dataDir: string): Promise<ChosenApi | null> {
  try {
    return chosenApiShape.parse(JSON.parse(await readFile(join(dataDir, "api"), "utf8")));
  } catch {
    return null;
  }
}

export function withSandboxOnPort(config: Config, port: number): Config {
  return withSandbox(config, { url: `http://127.0.0.1:${port}`, ...SANDBOX_CLIENT });
}

export function withSandbox(
  config: Config,
  { url, clientId, clientSecret }: Pick<Sandbox, "url" | "clientId" | "clientSecret">,
): Config {
  return {
    ...config,
    api: {
      ...config.api,
      url,
      auth: {
        kind: "client_credentials",
        tokenUrl: `${url}/oauth/token`,
        clientId,
        clientSecret,
        scope: null,
        style: "form",
        defaultExpiresInSeconds: 3_600,
      },
      // The sandbox honours the idempotency key, so a create whose answer was lost may be sent again.
      unknownOutcome: config.api.unknownOutcome ?? "resend",
    },
  };
}
