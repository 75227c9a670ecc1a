#!/usr/bin/env node
/**
 * The entry point of every command: runs it, prints what went wrong, maps it to an exit code. The only process.exit.
 *
 *     0  done          1  it failed, or the process was told twice to leave          2  bad configuration or usage
 *
 * Everything else is imported after the check of the Node version: an import that an old Node cannot link would fail before the first
 * line runs.
 */
import { findNodeProblem } from "./node-version.ts";

/** How long a connection that does not close, or a terminal's input, may keep the process running once a command is done. */
const STUCK_MS = 2_000;

const nodeProblem = findNodeProblem(process.versions.node);
if (nodeProblem !== null) {
  const { message, hint } = nodeProblem;
  const isForProgram = process.argv.includes("--json");
  process.stderr.write(
    isForProgram
      ? `${JSON.stringify({ error: message, hint })}\n`
      : `error: ${message}\n       ${hint}\n`,
  );
  process.exit(2);
}

const { runCommandLine } = await import("./cli/command-line.ts");
const { isForJson } = await import("./cli/given-arguments.ts");
const { reportError } = await import("./cli/error-report.ts");
const json = isForJson(process.argv, process.env);

process.on("uncaughtException", (error) => {
  process.exit(reportError(error, json));
});
// `account-sync status | head -1`: a reader that has gone is not a failure.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});

const environment = { ...process.env };
// The driver would read these by itself. The configuration puts those that count into its URLs.
for (const name of Object.keys(process.env)) if (/^PG[A-Z]+$/.test(name)) delete process.env[name];

process.exitCode = await runCommandLine(process.argv, {
  environment,
  leave: (exitCode) => process.exit(exitCode),
}).catch((error: unknown) => reportError(error, json));

setTimeout(() => process.exit(), STUCK_MS).unref();
