#!/usr/bin/env node
/**
 * The entry point of every command: runs it, prints what went wrong, maps it to an exit code. The only process.exit.
 *
 *     0  done          1  it failed, or the process was told twice to leave          2  bad configuration or usage
 */
import { isForJson, runCommandLine } from "./commands/command-line.ts";
import { reportError } from "./commands/output.ts";

/** What may keep the process up once a command is done: a connection that does not close, a terminal's input. */
const STUCK_MS = 2_000;

const json = isForJson(process.argv, process.env);

process.on("uncaughtException", (error) => {
  process.exit(reportError(error, json));
});
// `account-sync status | head -1`: a reader that is gone is no failure of ours.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});

process.exitCode = await runCommandLine(process.argv, {
  environment: process.env,
  leave: (exitCode) => process.exit(exitCode),
}).catch((error: unknown) => reportError(error, json));

setTimeout(() => process.exit(), STUCK_MS).unref();
