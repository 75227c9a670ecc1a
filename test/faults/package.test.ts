/** The package as others get it: packed, installed into an empty project, typed, and used there. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { migrate } from "../../src/db/migrate.ts";
import { startSandbox } from "../../src/local/sandbox.ts";
import { externalIds, insertAccount } from "../support/accounts.ts";
import { createDatabase } from "../support/postgres.ts";

const checkout = fileURLToPath(new URL("../..", import.meta.url));
const run = promisify(execFile);
/** Installing fetches what the package depends on, and compiling is slow on a machine that runs other tests. */
const SLOW_MS = 240_000;

let folder: string;
let tarball: string;
let project: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "account-sync-package-"));
  const { stdout } = await run(
    "npm",
    ["pack", "--json", "--loglevel=error", "--pack-destination", folder],
    { cwd: checkout },
  );
  const [packed] = JSON.parse(stdout.slice(stdout.indexOf("["))) as { filename: string }[];
  tarball = join(folder, packed?.filename ?? "");

  project = join(folder, "project");
  await mkdir(project);
  await writeFile(
    join(project, "package.json"),
    JSON.stringify({ name: "project", private: true, type: "module" }),
  );
  await run(
    "npm",
    ["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefer-offline", tarball],
    { cwd: project },
  );
}, SLOW_MS);

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

test(
  "publint and arethetypeswrong have nothing to say against it",
  async () => {
    const publint = await run(process.execPath, [binOf("publint"), "run", tarball, "--strict"]);
    const types = await run(process.execPath, [
      binOf("@arethetypeswrong/cli", "attw"),
      tarball,
      "--profile",
      "esm-only",
      "--no-color",
    ]);

    expect(publint.stdout).toContain("All good!");
    // It would have left with 1.
    expect(types.stdout).toMatch(/node16 \(from ESM\) +│ 🟢/);
  },
  SLOW_MS,
);

test(
  "its types hold in a strict project that has no other types than its own",
  async () => {
    await writeFile(
      join(project, "strict.ts"),
      `import { type AccountSync, createAccountSync, type SyncResult } from "account-sync";

const library: AccountSync = await createAccountSync({ database: "postgres://localhost/shop" });
const { syncCustomerToExternalApi, retryFailedUpdates, close } = library;
const result: SyncResult = await syncCustomerToExternalApi({
  id: 1,
  name: "Toko",
  package_tiers: [{ id: 2, min_value: "1000.00" }],
  pics: [{ id: 3, name: "Budi" }],
});
if (result.success && "processingResult" in result && !result.processingResult.success)
  await retryFailedUpdates(result.processingResult, { id: 1 }, "siti");
if (!result.success && "details" in result) throw new Error(String(result.details.httpStatus));
// @ts-expect-error there is no such function
library.sync();
await close();
`,
    );
    await writeFile(
      join(project, "tsconfig.json"),
      JSON.stringify({
        compilerOptions: {
          strict: true,
          noEmit: true,
          module: "nodenext",
          target: "es2024",
          types: [],
          skipLibCheck: false,
          exactOptionalPropertyTypes: true,
        },
        files: ["strict.ts"],
      }),
    );

    const tsc = [binOf("typescript", "tsc"), "-p", project];
    const { stdout } = await run(process.execPath, tsc).catch((error: { stdout: string }) => error);

    expect(stdout).toBe("");
  },
  SLOW_MS,
);

test.each([
  [
    "four",
    `import { createAccountSync } from "account-sync";
const { syncCustomerToExternalApi } = await createAccountSync();`,
  ],
  ["three", `import { syncCustomerToExternalApi } from "account-sync";`],
])(
  "it syncs an account from a script of %s lines, which ends by itself",
  async (_, head) => {
    const database = await createDatabase();
    await migrate({ url: database.url, info: () => {} });
    const sandbox = await startSandbox();
    const id = await insertAccount(database, { tiers: 1, pics: 1 });
    await writeFile(
      join(project, "script.js"),
      `${head}
const result = await syncCustomerToExternalApi({ id: process.argv[2], name: "Toko", pics: [] });
console.log(JSON.stringify(result));
`,
    );

    const { stdout, stderr } = await run(process.execPath, ["script.js", id], {
      cwd: project,
      env: {
        PATH: process.env["PATH"],
        DATABASE_URL: database.url,
        CUSTOMER_API_URL: sandbox.url,
        CUSTOMER_API_CLIENT_ID: sandbox.clientId,
        CUSTOMER_API_CLIENT_SECRET: sandbox.clientSecret,
      },
    });

    expect(stderr).toBe("");
    expect(JSON.parse(stdout)).toMatchObject({
      success: true,
      processingResult: { success: true, summary: { totalUpdated: 1, totalErrors: 0 } },
    });
    expect((await externalIds(database, id)).account).not.toBeNull();
    await sandbox.close();
  },
  SLOW_MS,
);

/** The file of a dependency's command. */
function binOf(name: string, command = name): string {
  const require = createRequire(import.meta.url);
  let manifest: string;
  try {
    manifest = require.resolve(`${name}/package.json`);
  } catch {
    manifest = join(checkout, "node_modules", name, "package.json");
  }
  const { bin } = require(manifest) as { bin: string | Record<string, string> };
  return join(dirname(manifest), typeof bin === "string" ? bin : (bin[command] ?? ""));
}
