/**
 * How account-sync gets onto a machine: from a git repository, as a command of the image, as a checkout; and what a Node says that is
 * too old for it. Real old Nodes, from npm's packages of their binaries.
 */
import { execFile } from "node:child_process";
import {
  chmod,
  copyFile,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { DockerfileParser } from "dockerfile-ast";
import { afterAll, describe, expect, test } from "vitest";
import { version } from "../../src/version.ts";
import { installPackages } from "../support/registry.ts";

const checkout = fileURLToPath(new URL("../..", import.meta.url));
const run = promisify(execFile);

const folder = await mkdtemp(join(tmpdir(), "account-sync-install-"));
/** A project that has the package, as `git+file://…` made it. */
const project = join(folder, "project");
const installed = join(project, "node_modules/account-sync");

afterAll(() => rm(folder, { recursive: true, force: true }));

test("a git repository installs as a package with what was compiled of it", async () => {
  await withDependencies(async () => {
    const command = await run(process.execPath, [`${installed}/dist/main.js`, "--version"]);
    const library = await run(process.execPath, ["-e", printLibrary("import")], { cwd: project });

    expect(command).toEqual({ stdout: `${version}\n`, stderr: "" });
    expect(library).toEqual({ stdout: "function\n", stderr: "" });
  });
});

test("where npm brings no compiler, as with --global, it says what to install instead", async () => {
  const clone = join(folder, "clone");
  await mkdir(clone);

  const end = await runNode(process.execPath, [join(checkout, "prepare.js")], clone);

  expect(end.code).toBe(1);
  expect(end.stderr).toMatch(/^error: .*--global.*\n {7}Run npm pack .*\n$/);
});

test("account-sync is a command in the image", async () => {
  const bin = await replayImage();

  const { stdout } = await run("account-sync", ["--version"], {
    cwd: folder,
    env: { PATH: `${bin}:${join(process.execPath, "..")}:/usr/bin:/bin` },
  });

  expect(stdout).toBe(`${version}\n`);
});

/** 20.9 is the first of its line to be called stable; it lacks names of node: modules that later ones of 20 have. */
const VERSIONS = ["20.9.0", "22.23.5"] as const;
const [oldNodes] = await Promise.all([fetchOldNodes(), installFromGit()]).catch(async (error) => {
  // No test runs now, so nothing is removed after them.
  await rm(folder, { recursive: true, force: true });
  throw error;
});
const skips = oldNodes === null;
const missing = "the npm registry did not give old Nodes";
if (skips) process.stderr.write(`install.test.ts: skipping the tests of old Nodes: ${missing}\n`);

describe.skipIf(skips)(`a Node that is too old${skips ? ` [${missing}]` : ""}`, () => {
  // Nothing that the package depends on is installed here: whatever is imported before the check fails.
  test.each(VERSIONS)("Node %s ends every command with one sentence", async (old) => {
    const lines = [[], ["start"], ["status"], ["--help"], ["--version"], ["nonsense"]];
    const sentence = `account-sync needs Node 24 or newer, and this is Node ${old}.`;

    const ends = await Promise.all(lines.map((args) => runOnOldNode(old, args)));
    const json = await runOnOldNode(old, ["status", "--json"]);

    for (const { code, stdout, stderr } of ends) {
      expect([code, stdout]).toEqual([2, ""]);
      expect(stderr.split("\n")).toEqual([
        `error: ${sentence}`,
        expect.stringMatching(/^ {7}Install Node 24 /),
        "",
      ]);
    }
    expect(json.code).toBe(2);
    expect(JSON.parse(json.stderr)).toEqual({
      error: sentence,
      hint: expect.stringMatching(/^Install Node 24 /),
    });
  });

  test.each<[old: (typeof VERSIONS)[number], how: "import" | "require"]>([
    ["20.9.0", "import"],
    ["22.23.5", "import"],
    ["22.23.5", "require"],
  ])("Node %s fails to %s the library with that sentence", async (old, how) => {
    const end = await runNode(nodeOf(old), ["-e", printLibrary(how)]);

    expect(end.code).toBe(1);
    expect(end.stderr).toContain(
      `OperatorError: account-sync needs Node 24 or newer, and this is Node ${old}.`,
    );
    expect(end.stderr).toContain("Install Node 24");
  });

  test("npm ci in a checkout warns of nothing on an old Node", async () => {
    const empty = join(folder, "checkout");
    await mkdir(empty);
    for (const file of ["package.json", "package-lock.json", ".npmrc"]) {
      await copyFile(join(checkout, file), join(empty, file));
    }
    const PATH = `${join(nodeOf("22.23.5"), "..")}:${process.env["PATH"]}`;
    const ci = (...options: string[]) =>
      runNode("npm", ["ci", "--dry-run", "--ignore-scripts", "--no-audit", ...options], empty, {
        PATH,
      });

    const quiet = await ci();
    const loud = await ci("--loglevel=warn");

    expect([quiet.code, quiet.stderr]).toEqual([0, ""]);
    expect(loud.stderr).toContain("EBADENGINE");
  });

  test("npm ci without the Node of development says that Node 20 will not do", async () => {
    const end = await runNode(
      nodeOf("20.9.0"),
      ["prepare.js"],
      checkout,
      // As npm sets it.
      { npm_config_local_prefix: checkout },
    );

    expect([end.code, end.stdout]).toEqual([0, ""]);
    expect(end.stderr).toMatch(/^warning: account-sync needs Node 24 or newer, .* 20\.9\.0\./);
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

/** What the last stage of the Dockerfile copies and runs, below a folder of ours instead of the root. Returns its /usr/local/bin. */
async function replayImage(): Promise<string> {
  const app = join(folder, "image/app");
  const bin = join(folder, "image/usr/local/bin");
  await mkdir(bin, { recursive: true });
  await cp(join(installed, "dist"), join(app, "dist"), { recursive: true });
  // As the compiler leaves it; npm made the package's commands executable.
  await chmod(join(app, "dist/main.js"), 0o644);
  await copyFile(join(installed, "package.json"), join(app, "package.json"));
  await symlink(join(checkout, "node_modules"), join(app, "node_modules"));

  const dockerfile = DockerfileParser.parse(await readFile(join(checkout, "Dockerfile"), "utf8"));
  const instructions = dockerfile.getInstructions();
  const lastStage = instructions.slice(
    instructions.findLastIndex((instruction) => instruction.getKeyword() === "FROM"),
  );
  for (const instruction of lastStage) {
    const command = instruction.getArgumentsContent() ?? "";
    if (instruction.getKeyword() !== "RUN" || !command.includes("/usr/local/bin")) continue;
    const script = command.replaceAll(/(?<= )\/(?=app\/|usr\/)/g, `${folder}/image/`);
    await run("sh", ["-ec", script], { cwd: app });
  }
  return bin;
}

/** The files of their binaries; null where the registry cannot be reached. */
async function fetchOldNodes(): Promise<Readonly<Record<string, string>> | null> {
  const home = join(folder, "old-nodes");
  const binaries = `node-${process.platform}-${process.arch}`;
  const aliases = VERSIONS.map((old) => `node-${old}@npm:${binaries}@${old}`);
  if (!(await installPackages(home, aliases))) return null;
  return Object.fromEntries(
    VERSIONS.map((old) => [old, join(home, "node_modules", `node-${old}`, "bin/node")]),
  );
}

function nodeOf(old: string): string {
  return oldNodes?.[old] ?? "";
}

function npm(args: readonly string[], cwd: string) {
  return run("npm", [...args, "--no-audit", "--no-fund", "--loglevel=error"], { cwd });
}

function printLibrary(how: "import" | "require"): string {
  const print = "console.log(typeof library.createAccountSync)";
  return how === "import"
    ? `import("account-sync").then((library) => ${print})`
    : `const library = require("account-sync"); ${print}`;
}

function runOnOldNode(old: string, args: readonly string[]): Promise<End> {
  return runNode(nodeOf(old), [`${installed}/dist/main.js`, ...args]);
}

interface End {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Without the npm settings of the run that tests. */
function runNode(
  node: string,
  args: readonly string[],
  cwd = project,
  env: Readonly<Record<string, string>> = {},
): Promise<End> {
  const { PATH = "", HOME = "" } = process.env;
  return run(node, [...args], { cwd, env: { PATH, HOME, ...env } }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: End) => ({ code: error.code, stdout: error.stdout, stderr: error.stderr }),
  );
}
