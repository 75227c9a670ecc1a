/**
 * How the command line is called from the shell that called it. Source texts name a command as `account-sync <command>`, in backticks where
 * it stands in a sentence. For a person, such a call is replaced by one that can be pasted; everything else in the text is left as it is,
 * as it may be data. JSON and what is stored keep the neutral name, so a text does not depend on how a process was started.
 */
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { toShellWord } from "./call-on.ts";

export type Invocation =
  /** From a checkout, in its folder: `npm start -- <command>`. */
  | { readonly by: "npm" }
  /** From a checkout, in another folder: `node …/src/main.ts <command>`. */
  | { readonly by: "script"; readonly node: string; readonly script: string }
  /** Installed, or in the image: `account-sync <command>`. */
  | { readonly by: "name" };

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

/** What stands in backticks, from the first to the last character. */
const CALL_IN_TEXT = /`(account-sync [^`\n]+)`/g;

/** The text with every call in backticks as it can be pasted. */
export function toPasteable(text: string, invocation: Invocation): string {
  return text.replaceAll(
    CALL_IN_TEXT,
    (_, call: string) => `\`${toPasteableCall(call, invocation)}\``,
  );
}

/**
 * A text that is one call, `account-sync status 1`, as it can be pasted.
 *
 * @param how.quietly without the lines that npm prints before: for a pipe
 */
export function toPasteableCall(
  call: string,
  invocation: Invocation,
  { quietly = false }: { readonly quietly?: boolean } = {},
): string {
  const [, command = "", rest = ""] = /^account-sync (\S+)(.*)$/s.exec(call) ?? [];
  if (invocation.by === "name" || command === "") return call;
  if (invocation.by === "script") {
    const words = [invocation.node, invocation.script].map(toShellWord).join(" ");
    return `${words} ${command}${rest}`;
  }
  const silent = quietly ? " --silent" : "";
  switch (command) {
    case "sql":
      return `npm run${silent} sql${afterSeparator(rest)}`;
    case "start":
      return `npm start${silent}${afterSeparator(rest)}`;
    default:
      return `npm start${silent} -- ${command}${rest}`;
  }
}

function afterSeparator(rest: string): string {
  return rest === "" ? "" : ` --${rest}`;
}

/** Found once, at the start: cwd() fails when the folder has been removed since. */
const OWN = findInvocation({
  module: import.meta.url,
  cwd: process.cwd(),
  node: process.execPath,
});

/** For a person at the terminal of this process: a text of ours, with the calls in it. */
export function forPerson(text: string): string {
  return toPasteable(text, OWN);
}

/** For a person at the terminal of this process: one call. */
export function callForPerson(call: string, how?: { readonly quietly?: boolean }): string {
  return toPasteableCall(call, OWN, how);
}
