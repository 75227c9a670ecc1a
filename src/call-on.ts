/** Commands about one account that can be pasted into a POSIX shell, whatever the id contains. Pure. */

/** `account-sync <command> <id>`, as source texts name a command (see invocation.ts). */
export function callOn(
  command: "adopt" | "forget" | "preview" | "retry" | "status" | "sync",
  id: string,
): string {
  // Otherwise the command line reads it as an option.
  const separator = id.startsWith("-") ? "-- " : "";
  return `account-sync ${command} ${separator}${toShellWord(id)}`;
}

/** One word of a POSIX shell. */
export function toShellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
