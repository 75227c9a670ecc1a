/** What the command line refuses, before anything is connected to. */
import { CommanderError } from "commander";
import { expect, test } from "vitest";
import { runCommandLine } from "../../src/cli/command-line.ts";
import { describeError } from "../../src/cli/error-report.ts";
import { isForJson } from "../../src/cli/given-arguments.ts";

test.each([
  ["an unknown command", ["statu"], "unknown command 'statu'"],
  ["an unknown option", ["status", "--jsn"], "unknown option '--jsn'"],
  ["an option that start does not have", ["--port", "1"], "unknown option '--port'"],
  ["sync without an id", ["sync"], "missing required argument 'id'"],
  ["preview of two accounts", ["preview", "a", "b"], "too many arguments"],
  ["an empty id", ["sync", ""], "an account id has 1 to 255 characters"],
  ["a blank id", ["status", "  "], "an account id has 1 to 255 characters"],
  ["a timeout that is no number", ["sync", "a", "--timeout", "soon"], "whole number from 1 to"],
  ["no time at all", ["sync", "a", "--timeout", "0"], "whole number from 1 to"],
  ["a user that updated_by cannot hold", ["sync", "a", "--user", "x".repeat(51)], "1 to 50"],
  ["an empty user", ["sync", "a", "--user", ""], "1 to 50"],
  ["retry of nothing", ["retry"], "needs to know which accounts"],
  ["retry of some and all", ["retry", "a", "--all"], "not both"],
  ["a class that is none", ["retry", "--class", "odd"], "Allowed choices are validation,"],
  ["a port that is none", ["sandbox", "--port", "99999"], "from 0 to 65535"],
])("%s is refused with exit code 2", async (_name, args, message) => {
  const error = await runCommandLine(["node", "main.ts", ...args], {
    environment: {},
    leave: () => {},
  }).then(
    () => null,
    (reason: unknown) => reason,
  );

  const report = describeError(error);
  expect(report).toMatchObject({ exitCode: 2, message: expect.stringContaining(message) });
  expect(report.hint).toContain("account-sync");
});

test("--json counts wherever it stands, and where npm took it", () => {
  const byNpm = { npm_lifecycle_event: "start", npm_config_json: "true" };

  expect(isForJson(["node", "main.ts", "--json", "status"], {})).toBe(true);
  expect(isForJson(["node", "main.ts", "status", "--json"], {})).toBe(true);
  expect(isForJson(["node", "main.ts", "status"], byNpm)).toBe(true);
  expect(isForJson(["node", "main.ts", "status"], {})).toBe(false);
  expect(isForJson(["node", "main.ts", "status", "--", "--json"], {})).toBe(false);
  expect(isForJson(["node", "main.ts"], { npm_config_json: "true" })).toBe(false);
});

test.each([
  ["reconcile --dry-run", ["reconcile"], { npm_config_dry_run: "true" }],
  ["backfill --missing", ["backfill"], { npm_config_missing: "true" }],
  ["retry --all", ["retry", "validation"], { npm_config_all: "true" }],
  ["uninstall --yes", ["uninstall"], { npm_config_yes: "true" }],
  ["sync --user", ["sync", "1", "budi"], { npm_config_user: "budi" }],
  ["sandbox --port", ["sandbox"], { npm_config_port: "8080" }],
])("npm start %s, which npm keeps for itself, does nothing but say so", async (call, args, npm) => {
  const error = await runCommandLine(["node", "main.ts", ...args], {
    environment: { npm_lifecycle_event: "start", ...npm },
    leave: () => {},
  }).then(
    () => null,
    (reason: unknown) => reason,
  );

  const [, option] = call.split(" ");
  expect(describeError(error)).toMatchObject({
    exitCode: 2,
    message: `npm consumed ${option}, so account-sync did not receive it.`,
    hint: `Put -- before it: \`account-sync ${call}\``,
  });
});

test.each([
  ["given after --", ["retry", "--all"], { npm_lifecycle_event: "start", npm_config_all: "true" }],
  ["of a script that is not ours", ["retry"], { npm_lifecycle_event: "x", npm_config_all: "true" }],
  ["switched off", ["retry"], { npm_lifecycle_event: "start", npm_config_all: "" }],
])("an option %s is not taken for one that npm kept", async (_name, args, environment) => {
  const error = await runCommandLine(["node", "main.ts", ...args, "--class", "odd"], {
    environment,
    leave: () => {},
  }).catch((reason: unknown) => reason);

  expect(describeError(error).message).toContain("Allowed choices are validation,");
});

test("an error that was not foreseen is described without what it says", () => {
  const error = Object.assign(new Error("Key (email)=(budi@example.com) already exists"), {
    severity: "ERROR",
    routine: "_bt_check_unique",
    code: "23505",
    constraint: "account_pkey",
  });

  const report = describeError(error);

  expect(report.exitCode).toBe(1);
  expect(JSON.stringify(report)).not.toContain("budi");
  expect(report.details).toMatchObject({ code: "23505", constraint: "account_pkey" });
});

test("commander's own errors are usage", () => {
  const report = describeError(new CommanderError(1, "commander.any", "error: odd"));

  expect(report).toMatchObject({ message: "odd", exitCode: 2, details: null });
});
