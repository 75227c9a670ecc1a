/** A hint is pasted: what a real process prints for a person is run, as it is, by a shell in the same folder. */
import { execFile } from "node:child_process";
import { cp, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase } from "../support/postgres.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

let folder: string;
let checkout: string;
let elsewhere: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "account-sync-test-paste-"));
  checkout = join(folder, "a checkout");
  elsewhere = tmpdir();
  for (const part of ["package.json", "src", "sql"])
    await cp(join(root, part), join(checkout, part), { recursive: true });
  await symlink(join(root, "node_modules"), join(checkout, "node_modules"));
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

test.each([
  { where: "in the checkout, by npm", by: "npm start --silent --", inCheckout: true },
  { where: "in another folder, by the script's path", by: "script", inCheckout: false },
])("$where: the hint to migrate migrates, and the command works then", async (how) => {
  const database = await createDatabase();
  const cwd = how.inCheckout ? checkout : elsewhere;
  const script = `"${process.execPath}" "${checkout}/src/main.ts"`;
  const call = how.by === "script" ? script : how.by;

  const refused = await shell(cwd, `${call} status`, database.url);
  const hint = /Run `([^`]+migrate)` first/.exec(refused.stderr)?.[1] ?? "no hint";
  const pasted = await shell(cwd, hint, database.url);
  const works = await shell(cwd, `${call} status`, database.url);

  expect(refused.code).toBe(1);
  expect(pasted).toMatchObject({ code: 0, stderr: "" });
  expect(pasted.stdout).toContain("Changes are captured on");
  expect(works).toMatchObject({ code: 0, stderr: "" });
});

test("the hint after a misspelled command leads to the help, whose examples can be pasted, too", async () => {
  const misspelled = await shell(checkout, "npm start --silent -- stauts");
  const [help = "no hint"] = /npm start -- --help/.exec(misspelled.stderr) ?? [];
  const helped = await shell(checkout, help);
  const ofSync = await shell(checkout, "npm start --silent -- help preview");
  const example = ofSync.stdout.split("Example:")[1]?.trim() ?? "no example";
  const pasted = await shell(checkout, example);

  expect(misspelled.code).toBe(2);
  expect(misspelled.stderr).toContain("Did you mean status?");
  expect(helped.code).toBe(0);
  expect(helped.stdout).toContain("Usage: npm start -- [options] [command]");
  // Understood, though there is no database to ask.
  expect(pasted.code).toBe(1);
  expect(pasted.stderr).toContain("DATABASE_URL is not set");
});

test("what programs read has the neutral name", async () => {
  const { stderr } = await shell(checkout, "npm start --silent -- status --json");

  expect(JSON.parse(stderr).hint).toContain("`account-sync start`");
});

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function shell(cwd: string, line: string, databaseUrl?: string): Promise<Ended> {
  const { PATH, HOME, TMPDIR } = process.env;
  const env = {
    PATH,
    HOME,
    TMPDIR,
    ...(databaseUrl !== undefined && { DATABASE_URL: databaseUrl }),
  };
  return new Promise((resolve) => {
    execFile("sh", ["-c", line], { cwd, env }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}
