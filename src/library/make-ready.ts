/** Before a call: what is handed in becomes the command that would be sent, checked and completed by the row. */

import type { Account } from "../account/account.ts";
import type { CustomerCommand, SentRows } from "../customer-command/command.ts";
import { toCommand } from "../customer-command/transform.ts";
import { toValidationContext, validateCommand } from "../customer-command/validate.ts";
import type { AccountData } from "./account-data.ts";
import type { LibraryContext } from "./context.ts";
import { toDatabaseError } from "./database-error.ts";
import { notValid, toValidation } from "./not-valid.ts";
import { parseAccountData } from "./parse-account-data.ts";
import type { SyncResult, ValidationResult } from "./results.ts";

export interface Ready {
  readonly kind: "ready";
  /** As it was handed in, with what it refers to. */
  readonly given: Account;
  readonly command: CustomerCommand;
  readonly sent: SentRows;
  readonly validation: ValidationResult;
}

export interface NotReady {
  readonly kind: "not ready";
  readonly result: Extract<SyncResult, { success: false }>;
}

/** The command as it would be sent now, or why there is none. */
export async function makeReady(
  { wiring, prepare, language, userOf }: LibraryContext,
  accountData: AccountData,
  userId: string | null,
): Promise<Ready | NotReady> {
  const { mapping } = wiring;
  const parsed = parseAccountData(accountData);
  if (!parsed.isShaped) return notReady(notValid(language, toValidation(parsed.errors), null));
  try {
    const prepared = await prepare(parsed, { kind: "adopting", userId: userOf(userId) });
    if (prepared.kind === "unusable") {
      const { field, rule, message } = prepared;
      const { command } = toCommand(parsed.account, mapping);
      return notReady(notValid(language, toValidation([{ field, rule, message }]), command));
    }
    const { given, account } = prepared;
    const { command, sent } = toCommand(account, mapping);
    const validation = validateCommand(command, toValidationContext(account, language));
    return { kind: "ready", given, command, sent, validation };
  } catch (error) {
    const customerData = toCommand(parsed.account, mapping).command;
    return notReady({ success: false, error: toDatabaseError(error), customerData });
  }
}

function notReady(result: NotReady["result"]): NotReady {
  return { kind: "not ready", result };
}
