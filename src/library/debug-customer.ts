/** Looks at what is handed in without sending anything: the preview, the command alone, its validation. */
import type { CustomerCommand } from "../customer-command/command.ts";
import type { LastAccepted } from "../customer-command/difference.ts";
import type { Language } from "../customer-command/messages.ts";
import { previewCommand } from "../customer-command/preview.ts";
import { type TransformOptions, toCommand } from "../customer-command/transform.ts";
import { toValidationContext, validateCommand } from "../customer-command/validate.ts";
import type { AccountData } from "./account-data.ts";
import type { LibraryContext } from "./context.ts";
import type { DebugResult } from "./contract.ts";
import { notValid, toSentence, toValidation } from "./not-valid.ts";
import { parseAccountData } from "./parse-account-data.ts";
import type { ValidationResult } from "./results.ts";

/** Also of an account that is not in the tables, and without the database: what is handed in can be looked at all the same. */
export async function debugCustomer(
  { wiring, prepare, language }: LibraryContext,
  accountData: AccountData,
): Promise<DebugResult> {
  const { db, mapping } = wiring;
  const parsed = parseAccountData(accountData);
  if (!parsed.isShaped) return notValid(language, toValidation(parsed.errors), null);

  const prepared = await prepare(parsed, { kind: "reading" }).catch(() => null);
  const account = prepared?.kind === "prepared" ? prepared.account : parsed.account;
  const [lastAccepted = null] = await db
    .run<LastAccepted>("last_accepted", [account.id])
    .catch(() => []);
  return previewCommand({ originalData: accountData, account, mapping, language, lastAccepted });
}

/** What the input alone is made into a command with. */
export interface Reading {
  readonly mapping: TransformOptions;
  readonly language: Language;
}

/** @throws TypeError naming each field that has no shape to make a command of */
export function transformCustomer(
  { mapping }: Pick<Reading, "mapping">,
  accountData: AccountData,
): CustomerCommand {
  const parsed = parseAccountData(accountData);
  if (!parsed.isShaped) throw new TypeError(toSentence(parsed.errors));
  return toCommand(parsed.account, mapping).command;
}

export function validateCustomer(
  { mapping, language }: Reading,
  accountData: AccountData,
): ValidationResult {
  const parsed = parseAccountData(accountData);
  if (!parsed.isShaped) return toValidation(parsed.errors);
  const { command } = toCommand(parsed.account, mapping);
  return validateCommand(command, toValidationContext(parsed.account, language));
}
