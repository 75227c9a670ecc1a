/** What a text for a person names: commands that can be pasted where the process was started, and nothing else touched. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { commandNames } from "../../src/commands/command-line.ts";
import {
  COMMAND_NAMES,
  findInvocation,
  type Invocation,
  toPasteable,
} from "../../src/invocation.ts";

const NPM: Invocation = { by: "npm" };
const SCRIPT: Invocation = { by: "script", node: "/n/node", script: "/c/src/main.ts" };
const NAME: Invocation = { by: "name" };

test.each([
  ["account-sync migrate", "npm start -- migrate", "/n/node /c/src/main.ts migrate"],
  [
    "Run `account-sync migrate`; `account-sync start` does it, too.",
    "Run `npm start -- migrate`; `npm start` does it, too.",
    "Run `/n/node /c/src/main.ts migrate`; `/n/node /c/src/main.ts start` does it, too.",
  ],
  [
    "Send it with: account-sync sync 1",
    "Send it with: npm start -- sync 1",
    "Send it with: /n/node /c/src/main.ts sync 1",
  ],
  ["account-sync status.", "npm start -- status.", "/n/node /c/src/main.ts status."],
  [
    "(account-sync retry <id> …)",
    "(npm start -- retry <id> …)",
    "(/n/node /c/src/main.ts retry <id> …)",
  ],
  ["account-sync retry --all", "npm start -- retry --all", "/n/node /c/src/main.ts retry --all"],
  ["account-sync start --json", "npm start -- --json", "/n/node /c/src/main.ts start --json"],
  ["account-sync sql", "npm run sql", "/n/node /c/src/main.ts sql"],
  ["account-sync sql --json", "npm run sql -- --json", "/n/node /c/src/main.ts sql --json"],
  [
    `echo "select 1" | account-sync sql`,
    `echo "select 1" | npm run --silent sql`,
    `echo "select 1" | /n/node /c/src/main.ts sql`,
  ],
  ["account-sync --help lists", "npm start -- --help lists", "/n/node /c/src/main.ts --help lists"],
  [
    "account-sync help <command>",
    "npm start -- help <command>",
    "/n/node /c/src/main.ts help <command>",
  ],
  [
    "Usage: account-sync [options] [command]",
    "Usage: npm start -- [options] [command]",
    "Usage: /n/node /c/src/main.ts [options] [command]",
  ],
  [
    "Usage: account-sync sync [options] <id...>",
    "Usage: npm start -- sync [options] <id...>",
    "Usage: /n/node /c/src/main.ts sync [options] <id...>",
  ],
  ["account-sync check-config", "npm start -- check-config", "/n/node /c/src/main.ts check-config"],
])("%s", (text, byNpm, byScript) => {
  expect(toPasteable(text, NPM)).toBe(byNpm);
  expect(toPasteable(text, SCRIPT)).toBe(byScript);
  expect(toPasteable(text, NAME)).toBe(text);
});

test.each([
  "so account-sync does not start:",
  "account-sync needs PostgreSQL 14 or newer: upgrade the server.",
  "and this account-sync knows versions up to 9.",
  "account-sync runs, on a database of its own",
  "account-sync already runs on /data, as process 7.",
  "account-sync is being started on /data by process 7.",
  "Use the newer account-sync that upgraded it.",
  "account-sync goes beside the database of the application",
  "account-sync started, account-sync sync-account, account-sync statuses",
  "account-sync/0.1.0 status",
  "/opt/account-sync start",
  "@company/account-sync start",
  "account_sync status",
])("no command: %s", (text) => {
  expect(toPasteable(text, NPM)).toBe(text);
  expect(toPasteable(text, SCRIPT)).toBe(text);
});

test("a path with spaces is quoted", () => {
  const script = "/home/budi/it's mine/src/main.ts";

  expect(toPasteable("account-sync status", { by: "script", node: "node", script })).toBe(
    String.raw`node '/home/budi/it'\''s mine/src/main.ts' status`,
  );
});

test("quietly, npm does not print its own lines", () => {
  const quietly = { quietly: true };

  expect(toPasteable("account-sync status", NPM, quietly)).toBe("npm start --silent -- status");
  expect(toPasteable("account-sync sql", NPM, quietly)).toBe("npm run --silent sql");
});

test.each([
  ["file:///c/src/invocation.ts", "/c", NPM],
  ["file:///c/src/invocation.ts", "/elsewhere", SCRIPT],
  ["file:///c/dist/invocation.js", "/c", NAME],
  ["file:///usr/lib/node_modules/account-sync/dist/invocation.js", "/home", NAME],
])("%s in %s", (module, cwd, invocation) => {
  expect(findInvocation({ module, cwd, node: "/n/node" })).toEqual(invocation);
});

test("every command of the command line is known", () => {
  expect(commandNames().filter((name) => !COMMAND_NAMES.includes(name as never))).toEqual([]);
});

test("every call in the source names a command by its neutral name", () => {
  const src = fileURLToPath(new URL("../../src/", import.meta.url));
  const files = readdirSync(src, { recursive: true, encoding: "utf8" }).filter(
    (file) => file.endsWith(".ts") && file !== "invocation.ts",
  );
  const pasted = files.flatMap((file) =>
    readFileSync(src + file, "utf8")
      .split("\n")
      .filter((line) => /npm (?:start|run)\b/.test(line) && !/^\s*(?:\*|\/\*\*|\/\/)/.test(line))
      .map((line) => `${file}: ${line.trim()}`),
  );

  expect(pasted).toEqual([]);
});
