/**
 * How account-sync gets onto a machine: from a git repository.
 */
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { version } from "../../src/version.ts";

const checkout = fileURLToPath(new URL("../..", import.meta.url));
const run = promisify(execFile);

const folder = await mkdtemp(join(tmpdir(), "account-sync-install-"));
/** A project that has the package, as `git+file://…` made it. */
const project = join(folder, "project");
const installed = join(project, "node_modules/account-sync");
const printLibrary =
  'import("account-sync").then((library) => console.log(typeof library.createAccountSync))';

beforeAll(installFromGit, 240_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

test("a git repository installs as a package with what was compiled of it", async () => {
  await withDependencies(async () => {
    const command = await run(process.execPath, [`${installed}/dist/main.js`, "--version"]);
    const library = await run(process.execPath, ["-e", printLibrary], { cwd: project });

    expect(command).toEqual({ stdout: `${version}\n`, stderr: "" });
    expect(library).toEqual({ stdout: "function\n", stderr: "" });
  });
});

async function installFromGit(): Promise<void> {
  const repository = await makeRepository();
  await npm(["pack", `git+file://${repository}`, "--prefer-offline"], folder);
  const tarball = (await readdir(folder)).find((file) => file.endsWith(".tgz")) ?? "";
  await mkdir(installed, { recursive: true });
  await run("tar", ["-xzf", join(folder, tarball), "-C", installed, "--strip-components=1"]);
}

/** The checkout as it stands, committed or not, with only the development dependencies that it is built with. */
async function makeRepository(): Promise<string> {
  const repository = join(folder, "repository");
  await mkdir(repository);
  for (const file of [
    ".npmrc",
    "package-lock.json",
    "prepare.js",
    "tsconfig.json",
    "tsconfig.build.json",
    "src",
    "sql",
  ]) {
    await cp(join(checkout, file), join(repository, file), { recursive: true });
  }
  const manifest = JSON.parse(await readFile(join(checkout, "package.json"), "utf8")) as {
    devDependencies: Record<string, string>;
  };
  manifest.devDependencies = Object.fromEntries(
    Object.entries(manifest.devDependencies).filter(([name]) => /^(typescript|@types)/.test(name)),
  );
  await writeFile(join(repository, "package.json"), JSON.stringify(manifest));

  const git = (...args: string[]) => run("git", ["-C", repository, ...args]);
  await git("init", "--quiet");
  await git("add", ".");
  await git("-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-qm", "All");
  return repository;
}

/** With the checkout's dependencies, where npm would have installed the package's own. */
async function withDependencies(work: () => Promise<void>): Promise<void> {
  const dependencies = join(installed, "node_modules");
  await symlink(join(checkout, "node_modules"), dependencies);
  try {
    await work();
  } finally {
    await rm(dependencies);
  }
}

function npm(args: readonly string[], cwd: string) {
  return run("npm", [...args, "--no-audit", "--no-fund", "--loglevel=error"], { cwd });
}
