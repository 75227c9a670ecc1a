/** Commands about one account, as they are suggested: whatever an id contains, a POSIX shell gives it to the command as it is. Pure. */

/** `account-sync <command> <id>`, as source texts name a command (see invocation.ts). */
export function callOn(command: "preview" | "retry" | "status" | "sync", id: string): string {
  // Else the command line takes it for an option.
  const separator = id.startsWith("-") ? "-- " : "";
  return `account-sync ${command} ${separator}${toShellWord(id)}`;
}

/** One word of a POSIX shell. */
export function toShellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
