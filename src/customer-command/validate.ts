/** Validation: what is wrong with a command before it is sent. An error keeps it from being sent; a warning is only reported. Pure. */
import type { Account } from "../account/account.ts";
import type { CustomerCommand } from "./command.ts";
import { type Language, MESSAGES, type RuleName, SENTENCES, say } from "./messages.ts";
import { RULES, type RuleContext, type Violation, type WarningRule } from "./validation-rules.ts";

export function validateCommand(command: CustomerCommand, context: ValidationContext): Validation {
  const errors: ValidationFinding[] = [];
  const warnings: ValidationFinding<WarningRule>[] = [];
  for (const { severity, name, findViolations } of RULES) {
    for (const violation of findViolations(command, context)) {
      if (severity === "error") errors.push(toFinding(name, violation, context));
      else warnings.push(toFinding(name, violation, context));
    }
  }

  return {
    isValid: errors.length === 0,
    errors,
    warnings,
    summary: { totalErrors: errors.length, totalWarnings: warnings.length },
  };
}

export interface ValidationContext extends RuleContext {
  /** Language of the messages; default English. */
  readonly language?: Language;
}

export interface Validation {
  readonly isValid: boolean;
  readonly errors: readonly ValidationFinding[];
  readonly warnings: readonly ValidationFinding<WarningRule>[];
  readonly summary: { readonly totalErrors: number; readonly totalWarnings: number };
}

export interface ValidationFinding<Rule extends RuleName = RuleName> {
  /** Path in the command: `tier[0].max_amount`. */
  readonly field: string;
  readonly rule: Rule;
  /** Names the field and the rule, never the value: messages are logged and kept in the history. */
  readonly message: string;
}

function toFinding<Rule extends RuleName>(
  rule: Rule,
  { path, otherPath = "" }: Violation,
  { language = "en" }: ValidationContext,
): ValidationFinding<Rule> {
  const message = say(MESSAGES[rule], language, { field: path, other: otherPath });
  return { field: path, rule, message };
}

/** What the rules need to know of the account besides its command. */
export function toValidationContext(
  { typeName }: Pick<Account, "typeName">,
  language: Language,
): ValidationContext {
  return { hasAccountType: typeName !== null && typeName.trim() !== "", language };
}

/** One line that names every error. */
export function describeErrors({ errors }: Validation, language: Language): string {
  const findings = errors.map(({ message }) => message).join("; ");
  return say(SENTENCES.validation_failed, language, { findings });
}
