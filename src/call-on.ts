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
  // Otherwise the command line reads it as an option. After it everything is an argument, so options go before.
  const separator = id.startsWith("-") ? ["--"] : [];
  return ["account-sync", command, ...options.map(toShellWord), ...separator, toShellWord(id)].join(
    " ",
  );
}

/** One word of a POSIX shell. */
export function toShellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
