/**
 * The preview (debug mode): what would be sent for an account, whether it may be sent, where each field comes from, and what changed
 * since the command last accepted. Pure: no network, no database, no writes. The `preview` command and the library both show it.
 */
import type { Account } from "../account/account.ts";
import { type CustomerCommand, sizeProblem } from "./command.ts";
import { type Difference, differenceOf, type LastAccepted } from "./difference.ts";
import { type FieldSource, sourcesOf } from "./field-sources.ts";
import { checkIntegrity, type IntegrityFinding } from "./integrity.ts";
import { maskPersonalNumbers } from "./masked-command.ts";
import { type Language, SENTENCES, say } from "./messages.ts";
import { type Recommendation, recommend } from "./recommendations.ts";
import { type TransformOptions, toCommand } from "./transform.ts";
import { toValidationContext, type Validation, validateCommand } from "./validate.ts";

export interface PreviewInput {
  /** What the account was made from. Returned unchanged; its rows are counted. */
  readonly originalData: unknown;
  readonly account: Account;
  readonly mapping: TransformOptions;
  readonly language: Language;
  /** null when the history was not read. */
  readonly lastAccepted: LastAccepted | null;
}

/** Survives a round trip through JSON. `originalData` and `transformedData` hold personal data, unmasked. */
export interface Preview {
  readonly success: true;
  readonly mode: "debug";
  readonly originalData: unknown;
  /** The command, exactly as it would be sent. */
  readonly transformedData: CustomerCommand;
  readonly validationResult: Validation;
  /** The command with all but the last digits of personal numbers (ktp, npwp, phone, bank account) replaced by `*`. */
  readonly previewData: CustomerCommand;
  readonly debugReport: DebugReport;
  readonly summary: {
    /** False when the command is not valid, is too large, or waits for its parent. */
    readonly canSend: boolean;
    /** Errors and warnings of the validation. */
    readonly totalIssues: number;
    readonly customerName: string;
    /** FAIL when the command does not hold what the source does: see `IntegrityFinding`. */
    readonly dataIntegrity: "PASS" | "FAIL";
  };
}

export interface DebugReport {
  readonly operation: "create" | "update";
  /** Why it cannot be sent, in one sentence; null when it can. */
  readonly obstacle: string | null;
  /** One entry per field of the command, in its order. */
  readonly mapping: readonly FieldSource[];
  /** What to do: validation errors first, then warnings, then other reasons not to send. */
  readonly recommendations: readonly Recommendation[];
  readonly difference: Difference;
  /** Empty when `dataIntegrity` is PASS. */
  readonly integrityFindings: readonly IntegrityFinding[];
}

export function previewCommand(input: PreviewInput): Preview {
  const { originalData, account, mapping, language, lastAccepted } = input;
  const { command, sent } = toCommand(account, mapping);
  const validation = validateCommand(command, toValidationContext(account, language));
  const reason = findReasonNotToSend(account, command, validation, language);
  const advice = reason?.advice ?? null;
  const integrityFindings = checkIntegrity({ originalData, account, command, sent, language });

  return {
    success: true,
    mode: "debug",
    originalData,
    transformedData: command,
    validationResult: validation,
    previewData: maskPersonalNumbers(command),
    debugReport: {
      operation: account.externalId === null ? "create" : "update",
      obstacle: reason?.message ?? null,
      mapping: sourcesOf(command, mapping.referenceField),
      recommendations: recommend({ validation, advice, integrityFindings, language }),
      difference: differenceOf(command, account, lastAccepted),
      integrityFindings,
    },
    summary: {
      canSend: reason === null,
      totalIssues: validation.summary.totalErrors + validation.summary.totalWarnings,
      customerName: command.customer.name,
      dataIntegrity: integrityFindings.length === 0 ? "PASS" : "FAIL",
    },
  };
}

interface ReasonNotToSend {
  readonly message: string;
  /** null where each validation error has its own. */
  readonly advice: string | null;
}

/** In the order in which a sync checks them. */
function findReasonNotToSend(
  account: Account,
  command: CustomerCommand,
  validation: Validation,
  language: Language,
): ReasonNotToSend | null {
  if (account.parent !== null && account.parent.externalId === null) {
    const parent = account.parent.id;
    return {
      message: say(SENTENCES.waits_for_parent, language, { parent }),
      advice: say(SENTENCES.send_parent_first, language, { parent }),
    };
  }
  if (!validation.isValid) {
    return { message: say(SENTENCES.not_valid, language, {}), advice: null };
  }
  const problem = sizeProblem(JSON.stringify(command));
  if (problem === null) return null;
  return { message: `${problem}.`, advice: say(SENTENCES.make_smaller, language, { problem }) };
}
