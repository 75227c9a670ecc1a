/**
 * The validation rules: what a command must hold to be sent (errors), and what is worth a warning. A command may have been built by
 * hand, so a rule must not rely on its shape.
 */
import type { CommandTier, CustomerCommand } from "./command.ts";
import { fieldsAt } from "./field-paths.ts";
import type { RuleName } from "./messages.ts";
import { isPossiblePhone } from "./phone.ts";

/** One line per condition, in the order of the command. */
export const RULES: readonly Rule[] = [
  error("required", ["customer.name"], isBlank),
  error("email_malformed", ["customer.email"], isInvalidEmail),
  error("phone_impossible", ["customer.msisdn"], isInvalidPhone),
  warning("recommended", ["customer.email", "customer.msisdn"], isBlank),
  warning("recommended", ["customer.address.city", "customer.address.state"], isBlank),
  warning("ktp_length", ["customer.ktp"], isInvalidKtp),
  warning("npwp_length", ["customer.npwp"], isInvalidNpwp),
  { name: "account_type_missing", severity: "warning", findViolations: missingAccountType },

  error(
    "amount_invalid",
    ["tier[].min_amount", "tier[].max_amount", "tier[].fee"],
    isInvalidAmount,
  ),
  warning("amount_absent", ["tier[].min_amount", "tier[].max_amount", "tier[].fee"], isAbsent),
  { name: "amount_order", severity: "error", findViolations: amountsOutOfOrder },
  { name: "fee_above_100", severity: "error", findViolations: feesAbove100 },
  error("date_malformed", ["tier[].valid_from", "tier[].valid_to"], isInvalidDate),
  warning("date_absent", ["tier[].valid_from", "tier[].valid_to"], isAbsent),
  { name: "date_order", severity: "error", findViolations: datesOutOfOrder },
  { name: "tier_overlap", severity: "warning", findViolations: overlappingTiers },

  error("required", ["customer-crew[].name"], isBlank),
  error("email_malformed", ["customer-crew[].email"], isInvalidEmail),
  error("phone_impossible", ["customer-crew[].msisdn"], isInvalidPhone),
  warning("ktp_length", ["customer-crew[].ktp"], isInvalidKtp),
  warning("npwp_length", ["customer-crew[].npwp"], isInvalidNpwp),
  { name: "username_twice", severity: "warning", findViolations: repeatedUsernames },

  error("required", ["beneficiary-account.firstname"], isBlank),
  error("required", ["beneficiary-account.lastname"], isBlank),
  error("required", ["beneficiary-account.account_number"], isBlank),
  error("required", ["beneficiary-account.bank.id"], isBlank),

  error("required", ["branch.name"], isBlank),
  warning("recommended", ["branch.code"], isBlank),
];

export type Rule = {
  readonly findViolations: (command: CustomerCommand, context: RuleContext) => readonly Violation[];
} & (
  | { readonly severity: "error"; readonly name: ErrorRule }
  | { readonly severity: "warning"; readonly name: WarningRule }
);

type ErrorRule = Exclude<RuleName, WarningRule>;

/** Rules that do not keep a command from being sent. */
export type WarningRule =
  | "recommended"
  | "ktp_length"
  | "npwp_length"
  | "amount_absent"
  | "date_absent"
  | "tier_overlap"
  | "username_twice"
  | "account_type_missing";

/** What the rules need to know besides the command. */
export interface RuleContext {
  /** False when the account has no type, so its role is the default one. */
  readonly hasAccountType: boolean;
  /** ISO 3166 code, for phone numbers without a country code. The transform leaves none, so only commands built by hand need it. */
  readonly defaultCountry?: string;
}

export interface Violation {
  /** Path in the command: `tier[0].max_amount`. */
  readonly path: string;
  /** The path it conflicts with. */
  readonly otherPath?: string;
}

type IsViolation = (value: unknown, context: RuleContext) => boolean;

function error(name: ErrorRule, patterns: readonly string[], isViolation: IsViolation): Rule {
  return { name, severity: "error", findViolations: violationsIn(patterns, isViolation) };
}

function warning(name: WarningRule, patterns: readonly string[], isViolation: IsViolation): Rule {
  return { name, severity: "warning", findViolations: violationsIn(patterns, isViolation) };
}

function violationsIn(
  patterns: readonly string[],
  isViolation: IsViolation,
): Rule["findViolations"] {
  return (command, context) =>
    patterns
      .flatMap((pattern) => fieldsAt(command, pattern))
      .filter(({ value }) => isViolation(value, context))
      .map(({ path }) => ({ path }));
}

function isAbsent(value: unknown): boolean {
  return value === undefined;
}

function isBlank(value: unknown): boolean {
  return typeof value !== "string" || value.trim() === "";
}

function isInvalidEmail(value: unknown): boolean {
  return !isBlank(value) && !isEmail(String(value));
}

/**
 * Refuses only what no mail server could deliver to: real addresses have plus signs, dots in odd places, quotes and domains of any
 * script. A second address, a name in angle brackets and a domain without a dot are typing errors.
 */
function isEmail(text: string): boolean {
  const at = text.lastIndexOf("@");
  return at > 0 && LOCAL_PART.test(text.slice(0, at)) && MAIL_DOMAIN.test(text.slice(at + 1));
}

const LOCAL_PART = /^(?:"[^"\p{Cc}]+"|[^\s\p{Cc}"<>()[\],;:\\@]+)$/u;
const MAIL_DOMAIN = /^(?:(?:[\p{L}\p{N}\p{M}_-]+\.)+[\p{L}\p{N}\p{M}_-]+|\[[0-9a-zA-Z.:]+\])$/u;

function isInvalidPhone(value: unknown, { defaultCountry }: RuleContext): boolean {
  return !isBlank(value) && !isPossiblePhone(String(value), defaultCountry);
}

function isInvalidKtp(value: unknown): boolean {
  return !isBlank(value) && !/^[0-9]{16}$/.test(String(value).trim());
}

function isInvalidNpwp(value: unknown): boolean {
  return !isBlank(value) && !/^[0-9]{15,16}$/.test(String(value).replace(/[\s\p{P}]/gu, ""));
}

function isInvalidAmount(value: unknown): boolean {
  return !isAbsent(value) && !isAmount(value);
}

function isAmount(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}

function amountsOutOfOrder(command: CustomerCommand): Violation[] {
  return tiersOf(command)
    .filter(({ tier }) => isAmount(tier.min_amount) && isAmount(tier.max_amount))
    .filter(({ tier }) => Number(tier.min_amount) >= Number(tier.max_amount))
    .map(({ path }) => ({ path: `${path}.max_amount` }));
}

function feesAbove100(command: CustomerCommand): Violation[] {
  return tiersOf(command)
    .filter(({ tier }) => tier.tier_type === "percentage" && Number(tier.fee) > 100)
    .map(({ path }) => ({ path: `${path}.fee` }));
}

function isInvalidDate(value: unknown): boolean {
  return !isAbsent(value) && !isDate(value);
}

/** The form that the transform makes, and a day that exists: JavaScript reads the 30th of February as the 1st of March. */
function isDate(value: unknown): value is string {
  const date = typeof value === "string" ? DATE.exec(value)?.[1] : undefined;
  if (date === undefined) return false;

  const time = Date.parse(`${date}Z`);
  return !Number.isNaN(time) && new Date(time).toISOString().startsWith(date);
}

const DATE = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})$/;

function datesOutOfOrder(command: CustomerCommand): Violation[] {
  return tiersOf(command)
    .filter(({ tier }) => isDate(tier.valid_from) && isDate(tier.valid_to))
    .filter(({ tier }) => String(tier.valid_from) >= String(tier.valid_to))
    .map(({ path }) => ({ path: `${path}.valid_to` }));
}

/**
 * Amounts are half open, so 0–100 and 100–200 do not overlap; dates reach to the end of their last day. Each tier is reported once, with
 * the first one it overlaps.
 */
function overlappingTiers(command: CustomerCommand): Violation[] {
  const spans = tiersOf(command)
    .flatMap(({ path, tier }) => toSpan(path, tier) ?? [])
    .toSorted((a, b) => a.min - b.min);

  return spans.flatMap((span, index) => {
    const other = spans
      .slice(0, index)
      .find(
        (earlier) => span.min < earlier.max && span.from < earlier.to && earlier.from < span.to,
      );
    return other === undefined ? [] : [{ path: span.path, otherPath: other.path }];
  });
}

function toSpan(path: string, tier: CommandTier) {
  const { min_amount: min, max_amount: max, valid_from: from, valid_to: to } = tier;
  if (!isAmount(min) || !isAmount(max) || !isDate(from) || !isDate(to)) return null;
  return { path, min, max, from, to };
}

/** Case is ignored, as it is at a login. */
function repeatedUsernames(command: CustomerCommand): Violation[] {
  const firstUse = new Map<string, string>();

  return fieldsAt(command, "customer-crew[].username").flatMap(({ path, value }) => {
    if (isBlank(value)) return [];

    const username = String(value).trim().toLowerCase();
    const otherPath = firstUse.get(username);
    if (otherPath !== undefined) return [{ path, otherPath }];

    firstUse.set(username, path);
    return [];
  });
}

function missingAccountType(_command: CustomerCommand, context: RuleContext): Violation[] {
  return context.hasAccountType ? [] : [{ path: "customer.customer_role" }];
}

function tiersOf(command: CustomerCommand) {
  const tiers = Array.isArray(command.tier) ? command.tier : [];
  return tiers
    .map((tier: CommandTier, index) => ({ path: `tier[${index}]`, tier }))
    .filter(({ tier }) => typeof tier === "object" && tier !== null);
}
