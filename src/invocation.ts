/**
 * How the command line is called from the shell that called it. Texts everywhere name a command as `account-sync <command>`; what is
 * printed for a person names what can be pasted. What programs read (JSON) and what is stored keeps the neutral name: the same trouble
 * has the same text wherever a process was started, without paths of its machine.
 */
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

export type Invocation =
  /** From a checkout, in its folder: `npm start -- <command>`. */
  | { readonly by: "npm" }
  /** From a checkout, in another folder: `node …/src/main.ts <command>`. */
  | { readonly by: "script"; readonly node: string; readonly script: string }
  /** Installed, or in the image: `account-sync <command>`. */
  | { readonly by: "name" };

/** Every command that a text may name; a test holds it together with the command line. */
export const COMMAND_NAMES = [
  "start",
  "migrate",
  "uninstall",
  "sync",
  "preview",
  "backfill",
  "reconcile",
  "status",
  "retry",
  "adopt",
  "forget",
  "pause",
  "resume",
  "doctor",
  "check-config",
  "sandbox",
  "sql",
  "help",
] as const;

export function findInvocation(at: {
  /** URL of a module in `src/` or, once built, `dist/`. */
  readonly module: string;
  readonly cwd: string;
  readonly node: string;
}): Invocation {
  if (!at.module.endsWith(".ts")) return { by: "name" };
  const checkout = resolve(fileURLToPath(new URL("..", at.module)));
  return resolve(at.cwd) === checkout
    ? { by: "npm" }
    : { by: "script", node: at.node, script: resolve(checkout, "src/main.ts") };
}

/**
 * `account-sync` before a command, `--help` or a placeholder of the help. "account-sync does not start" and the like are no commands.
 * What follows decides whether npm needs its `--`; what is before, whether its own lines would go into a pipe.
 */
const CALL = new RegExp(
  String.raw`(?<pipe>\| )?(?<![\w./@-])account-sync (?:(?<command>${COMMAND_NAMES.join("|")})(?![\w-])|(?=--(?:help|version)\b|\[options\]))(?=(?<options> [-[])?)`,
  "g",
);

/** The text with every call in it as it can be pasted. `quietly`: without the lines that npm prints before. */
export function toPasteable(
  text: string,
  invocation: Invocation,
  { quietly = false }: { readonly quietly?: boolean } = {},
): string {
  if (invocation.by === "name") return text;
  return text.replaceAll(CALL, (...found) => {
    const { pipe = "", command = "", options } = found.at(-1) as Partial<Record<string, string>>;
    const hasOptions = options !== undefined;
    const isQuiet = quietly || pipe !== "";
    return `${pipe}${callOf(invocation, command, { hasOptions, isQuiet })}`;
  });
}

function callOf(
  invocation: Exclude<Invocation, { by: "name" }>,
  command: string,
  { hasOptions, isQuiet }: { readonly hasOptions: boolean; readonly isQuiet: boolean },
): string {
  if (invocation.by === "script") {
    const words = [invocation.node, invocation.script].map(quote).join(" ");
    return `${words} ${command}`;
  }
  const silent = isQuiet ? " --silent" : "";
  const separator = hasOptions ? " --" : "";
  switch (command) {
    case "sql":
      return `npm run${silent} sql${separator}`;
    case "start":
      return `npm start${silent}${separator}`;
    default:
      return `npm start${silent} -- ${command}`;
  }
}

function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Looked at once, at the start: later the folder may have been removed, and could not be named any more. */
const OWN = findInvocation({
  module: import.meta.url,
  cwd: process.cwd(),
  node: process.execPath,
});

/** For a person who sits where this process was started. */
export function forPerson(text: string, how?: { readonly quietly?: boolean }): string {
  return toPasteable(text, OWN, how);
}
