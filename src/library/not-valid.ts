/** Results that say that nothing was sent because the input, or the command made of it, is not valid. Pure. */
import type { CustomerCommand } from "../customer-command/command.ts";
import { type Language, SENTENCES, say } from "../customer-command/messages.ts";
import type { Finding, NotValidResult, ValidationResult } from "./results.ts";

export function notValid(
  language: Language,
  validation: ValidationResult,
  customerData: CustomerCommand | null,
): NotValidResult {
  return {
    success: false,
    error: say(SENTENCES.validation_failed, language, { findings: toSentence(validation.errors) }),
    validationResult: validation,
    customerData,
  };
}

/** A validation result of these errors alone. */
export function toValidation(errors: readonly Finding[]): ValidationResult {
  return {
    isValid: false,
    errors,
    warnings: [],
    summary: { totalErrors: errors.length, totalWarnings: 0 },
  };
}

export function toSentence(findings: readonly Finding[]): string {
  return findings.map(({ message }) => message).join("; ");
}
