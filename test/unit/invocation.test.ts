/** What a text for a person names: calls that can be pasted where the process was started; nothing else is touched. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test, vi } from "vitest";
import { commandNames } from "../../src/cli/command-line.ts";
import { printLine, printText, toTable } from "../../src/cli/output.ts";
import {
  findInvocation,
  type Invocation,
  toPasteable,
  toPasteableCall,
} from "../../src/invocation.ts";

const NPM: Invocation = { by: "npm" };
const SCRIPT: Invocation = { by: "script", node: "/n/node", script: "/c/src/main.ts" };
const NAME: Invocation = { by: "name" };

test.each([
  ["account-sync migrate", "npm start -- migrate", "/n/node /c/src/main.ts migrate"],
  ["account-sync sync 1", "npm start -- sync 1", "/n/node /c/src/main.ts sync 1"],
  ["account-sync retry <id> …", "npm start -- retry <id> …", "/n/node /c/src/main.ts retry <id> …"],
  ["account-sync retry --all", "npm start -- retry --all", "/n/node /c/src/main.ts retry --all"],
  ["account-sync check-config", "npm start -- check-config", "/n/node /c/src/main.ts check-config"],
  ["account-sync start", "npm start", "/n/node /c/src/main.ts start"],
  ["account-sync start --json", "npm start -- --json", "/n/node /c/src/main.ts start --json"],
  ["account-sync sql", "npm run sql", "/n/node /c/src/main.ts sql"],
  ["account-sync sql --json", "npm run sql -- --json", "/n/node /c/src/main.ts sql --json"],
  ["account-sync --help", "npm start -- --help", "/n/node /c/src/main.ts --help"],
  [
    "account-sync [options] [command]",
    "npm start -- [options] [command]",
    "/n/node /c/src/main.ts [options] [command]",
  ],
  [
    "account-sync sync [options] <id...>",
    "npm start -- sync [options] <id...>",
    "/n/node /c/src/main.ts sync [options] <id...>",
  ],
])("the call %s", (call, byNpm, byScript) => {
  expect(toPasteableCall(call, NPM)).toBe(byNpm);
  expect(toPasteableCall(call, SCRIPT)).toBe(byScript);
  expect(toPasteableCall(call, NAME)).toBe(call);
});

test("quietly, npm does not print its own lines", () => {
  const quietly = { quietly: true };

  expect(toPasteableCall("account-sync status", NPM, quietly)).toBe("npm start --silent -- status");
  expect(toPasteableCall("account-sync sql", NPM, quietly)).toBe("npm run --silent sql");
});

test("a path with spaces is quoted", () => {
  const script = "/home/budi/it's mine/src/main.ts";

  expect(toPasteableCall("account-sync status", { by: "script", node: "node", script })).toBe(
    String.raw`node '/home/budi/it'\''s mine/src/main.ts' status`,
  );
});

test("in a sentence, the calls in backticks are replaced", () => {
  const text = "Run `account-sync migrate`; `account-sync start` does it, too.";

  expect(toPasteable(text, NPM)).toBe("Run `npm start -- migrate`; `npm start` does it, too.");
  expect(toPasteable(text, SCRIPT)).toBe(
    "Run `/n/node /c/src/main.ts migrate`; `/n/node /c/src/main.ts start` does it, too.",
  );
  expect(toPasteable(text, NAME)).toBe(text);
});

test.each([
  "Toko account-sync sql",
  "account-sync start failed",
  "so account-sync does not start:",
  "account-sync needs PostgreSQL 14 or newer: upgrade the server.",
  "`npx account-sync start`, `account-sync` and `account_sync.status`",
  "`account-sync/0.1.0 status`",
  "the name ` account-sync start`",
])("no call: %s", (text) => {
  expect(toPasteable(text, NPM)).toBe(text);
  expect(toPasteable(text, SCRIPT)).toBe(text);
});

test.each([
  ["file:///c/src/invocation.ts", "/c", NPM],
  ["file:///c/src/invocation.ts", "/elsewhere", SCRIPT],
  ["file:///c/dist/invocation.js", "/c", NAME],
  ["file:///usr/lib/node_modules/account-sync/dist/invocation.js", "/home", NAME],
])("%s in %s", (module, cwd, invocation) => {
  expect(findInvocation({ module, cwd, node: "/n/node" })).toEqual(invocation);
});

test("a table with data is printed as it was aligned", () => {
  const table = toTable([
    ["name", "state"],
    ["Toko `account-sync sql`", "due"],
    ["account-sync start failed", "due"],
  ]);

  const print = () => {
    for (const line of table) printLine(line);
  };
  expect(printed(print)).toBe(`${table.join("\n")}\n`);
});

test("a text of ours is printed with calls for the folder of this process", () => {
  expect(printed(() => printText("Run `account-sync doctor`."))).toBe(
    "Run `npm start -- doctor`.\n",
  );
});

function printed(print: () => void): string {
  const write = vi.spyOn(process.stdout, "write").mockReturnValue(true);
  try {
    print();
    return write.mock.calls.map(([text]) => text).join("");
  } finally {
    write.mockRestore();
  }
}

/** Lines of the source, without comments. */
function sourceLines(): { readonly file: string; readonly line: string }[] {
  const src = fileURLToPath(new URL("../../src/", import.meta.url));
  return readdirSync(src, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && file !== "invocation.ts")
    .flatMap((file) =>
      readFileSync(src + file, "utf8")
        .split("\n")
        .filter((line) => !/^\s*(?:\*|\/\*\*|\/\/)/.test(line))
        .map((line) => ({ file, line: line.trim() })),
    );
}

test("every call in the source names a command by its neutral name", () => {
  expect(sourceLines().filter(({ line }) => /npm (?:start|run)\b/.test(line))).toEqual([]);
});

const COMMANDS = [...commandNames(), "help"];
/** `account-sync retry <id> …`, and nothing else: what follows the command are options with their values, and ids. */
const CALL = String.raw`account-sync (?:(?:${COMMANDS.join("|")})(?: --[\w-]+(?: [\w.-]+)?| <[^<>]+>| \$\{[^{}]+\}| …| [\da-f-]{36})*|--help)`;
/** As it stands in the source: in backticks in a text, or a text that is a call as a whole. */
const MARKED_CALL = new RegExp(String.raw`\\?(["\`])${CALL}\\?\1`, "g");

test("every call in the source is in backticks, or is a text of its own", () => {
  const unmarked = new RegExp(String.raw`account-sync (?:(?:${COMMANDS.join("|")})\b|--)`);

  const found = sourceLines().filter(
    ({ file, line }) =>
      !/application_?name/i.test(line) &&
      // Its call by npx is one already.
      file !== "node-version.ts" &&
      unmarked.test(line.replaceAll(MARKED_CALL, "")),
  );

  expect(found).toEqual([]);
});

test("every call in the source names a command that there is", () => {
  // In a template the backticks are escaped.
  const texts = sourceLines().flatMap(({ line }) => line.match(/"[^"]*"|\\`[^`]*`/g) ?? []);
  const named = texts.flatMap((text) =>
    [...text.matchAll(/`account-sync ([a-z][\w-]*)/g)].map(([, command = ""]) => command),
  );

  expect(named.length).toBeGreaterThan(20);
  expect(named.filter((command) => !COMMANDS.includes(command))).toEqual([]);
});

test("every command shows in its help a call of it that can be pasted", () => {
  const src = fileURLToPath(new URL("../../src/cli/command-line.ts", import.meta.url));
  const examples = [...readFileSync(src, "utf8").matchAll(/"account-sync ([a-z-]+)[^"]*"/g)];

  expect([...new Set(examples.map(([, command]) => command))].sort()).toEqual(
    commandNames().sort(),
  );
});
