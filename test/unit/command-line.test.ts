/** What the command line refuses, before anything is connected to. */
import { CommanderError } from "commander";
import { expect, test } from "vitest";
import { isForJson, runCommandLine } from "../../src/commands/command-line.ts";
import { describeError } from "../../src/commands/output.ts";

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

test("--json counts wherever it stands", () => {
  expect(isForJson(["node", "main.ts", "--json", "status"])).toBe(true);
  expect(isForJson(["node", "main.ts", "status", "--json"])).toBe(true);
  expect(isForJson(["node", "main.ts", "status"])).toBe(false);
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
