/** Commands about one account that can be pasted into a POSIX shell, whatever the id contains. Pure. */

/**
 * `account-sync <command> <id>`, as source texts name a command (see invocation.ts).
 *
 * @param options as they are typed: `--discard`, or `--tier` and its value
 */
export function callOn(
  command: "adopt" | "forget" | "preview" | "retry" | "status" | "sync",
  id: string,
  options: readonly string[] = [],
): string {
  const given = options.map(toShellWord);
  const word = toShellWord(id);
  // Otherwise the command line reads the id as an option. After `--` everything is an argument.
  const words = id.startsWith("-") ? [...given, "--", word] : [word, ...given];
  return ["account-sync", command, ...words].join(" ");
}

/** One word of a POSIX shell. */
export function toShellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
