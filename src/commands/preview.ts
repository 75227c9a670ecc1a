/** `preview`: what would be sent for an account, and what stands in its way. Sends and writes nothing. */
import type { Config } from "../config.ts";
import { OperatorError } from "../operator-error.ts";
import type { Parts } from "../parts.ts";
import { type CustomerCommand, toCommand } from "../sync/command.ts";
import { fingerprintOf } from "../sync/fingerprint.ts";
import { type Loaded, loadAccounts } from "../sync/load.ts";
import { type Finding, type Validation, validateCommand } from "../sync/validate.ts";
import { withParts } from "./connect.ts";
import { printJson, printLine } from "./output.ts";

interface Preview {
  readonly accountId: string;
  readonly operation: "create" | "update";
  readonly canSend: boolean;
  /** Why not. */
  readonly problem: string | null;
  /** null when no command was accepted yet, or not since the mapping changed. */
  readonly differsFromLastAccepted: boolean | null;
  /** A send of before that would go out first, as it was. */
  readonly unfinished: string | null;
  readonly validation: Validation;
  readonly command: CustomerCommand;
}

export async function preview(
  config: Config,
  id: string,
  { json }: { readonly json: boolean },
): Promise<number> {
  const previewed = await withParts(config, { json }, ({ parts }) => previewAccount(parts, id));
  if (json) printJson(previewed);
  else for (const line of describe(previewed)) printLine(line);
  return previewed.canSend ? 0 : 1;
}

async function previewAccount({ db, mapping }: Parts, id: string): Promise<Preview> {
  const [canonical] = await db.run<{ accountId: string }>("canonical_ids", [[id]]);
  const accountId = canonical?.accountId ?? id;
  const [loaded] = await loadAccounts(db, [accountId]);
  const account = loaded?.account ?? null;
  if (loaded !== undefined && loaded.tooLarge !== null) {
    throw new OperatorError(`${loaded.tooLarge}.`, {
      hint: "Remove rows of the account that are no longer needed, inactive ones included.",
    });
  }
  if (account === null) {
    throw new OperatorError(`There is no account ${id}.`, {
      hint: "Ids are those of m_account.id; account-sync knows nothing of account numbers or names.",
    });
  }

  const { command } = toCommand(account, mapping);
  const validation = validateCommand(command, { hasAccountType: account.typeName !== null });
  const waitsFor =
    account.parent !== null && account.parent.externalId === null ? account.parent.id : null;
  const [accepted] = await db.run<{ fingerprint: string | null }>("account_fingerprint", [id]);
  const fingerprint = accepted?.fingerprint ?? null;

  return {
    accountId,
    operation: account.externalId === null ? "create" : "update",
    canSend: validation.isValid && waitsFor === null,
    problem: problemOf(validation, waitsFor),
    differsFromLastAccepted: fingerprint === null ? null : fingerprint !== fingerprintOf(command),
    unfinished: describeUnfinished(loaded?.unsettled ?? null),
    validation,
    command,
  };
}

function problemOf(validation: Validation, waitsFor: string | null): string | null {
  if (!validation.isValid) return "The command is not valid.";
  if (waitsFor === null) return null;
  return `Its parent ${waitsFor} has no external id yet: the account waits for it.`;
}

function describeUnfinished(unsettled: Loaded["unsettled"]): string | null {
  if (unsettled === null) return null;
  return unsettled.delivery === "answered"
    ? `The ids of a ${unsettled.operation} that the API has answered are written first.`
    : `A ${unsettled.operation} of before is not finished (${unsettled.delivery}): it is dealt with first.`;
}

function describe(previewed: Preview): string[] {
  const { accountId, operation, canSend, problem, differsFromLastAccepted, unfinished } = previewed;
  const difference = {
    true: "It differs from the command last accepted.",
    false: "It equals the command last accepted: only a forced sync sends it again.",
    null: "No command of this account was accepted yet.",
  }[String(differsFromLastAccepted) as "true" | "false" | "null"];

  return [
    `Account ${accountId}: ${canSend ? "this" : "nothing, though this"} would be sent, to ${operation} the customer.`,
    ...(problem === null ? [] : [problem]),
    difference,
    ...(unfinished === null ? [] : [unfinished]),
    "",
    ...findings("error", previewed.validation.errors),
    ...findings("warning", previewed.validation.warnings),
    JSON.stringify(previewed.command, null, 2),
  ];
}

function findings(severity: string, found: readonly Finding[]): string[] {
  if (found.length === 0) return [];
  return [...found.map(({ message }) => `${severity}: ${message}`), ""];
}
