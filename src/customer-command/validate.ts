import type { Account } from "../account/account.ts";
import type { CustomerCommand } from "./command.ts";
import { type Language, MESSAGES, type RuleName, SENTENCES, say } from "./messages.ts";
import { isPossiblePhone } from "./phone.ts";

/** Validation: what is wrong with a command before it is sent. Errors keep it back, warnings only tell. Pure. */
export function validateCommand(command: CustomerCommand, context: ValidationContext): Validation {
  const errors: Finding[] = [];
  const warnings: Finding<WarningRule>[] = [];
  for (const { severity, name, broken } of RULES) {
    for (const each of broken(command, context)) {
      if (severity === "error") errors.push(toFinding(name, each, context));
      else warnings.push(toFinding(name, each, context));
    }
  }

  return {
    isValid: errors.length === 0,
    errors,
    warnings,
    summary: { totalErrors: errors.length, totalWarnings: warnings.length },
  };
}

/** What the rules need to know of the account beside its command. */
export function toValidationContext(
  account: Pick<Account, "typeName">,
  language: Language,
): ValidationContext {
  return { hasAccountType: !isBlank(account.typeName), language };
}

/** One line that names every error. */
export function describeErrors({ errors }: Validation, language: Language): string {
  const findings = errors.map(({ message }) => message).join("; ");
  return say(SENTENCES.validation_failed, language, { findings });
}

export interface ValidationContext {
  /** False when the account has no type, so its role is the default one. */
  readonly hasAccountType: boolean;
  /** ISO code. Only a command written by hand has numbers without a country code that could still be read. */
  readonly defaultCountry?: string;
  /** Of the messages; English when nothing is said. */
  readonly language?: Language;
}

export interface Validation {
  readonly isValid: boolean;
  readonly errors: readonly Finding[];
  readonly warnings: readonly Finding<WarningRule>[];
  readonly summary: { readonly totalErrors: number; readonly totalWarnings: number };
}

export interface Finding<Rule extends RuleName = RuleName> {
  /** Path in the command: `tier[0].max_amount`. */
  readonly field: string;
  readonly rule: Rule;
  /** Names the field and the rule, never the value: messages are logged and kept in the history. */
  readonly message: string;
}

/** Rules that only tell. */
export type WarningRule =
  | "recommended"
  | "ktp_length"
  | "npwp_length"
  | "amount_absent"
  | "date_absent"
  | "tier_overlap"
  | "username_twice"
  | "account_type_missing";

type ErrorRule = Exclude<RuleName, WarningRule>;

type Rule = {
  readonly broken: (command: CustomerCommand, context: ValidationContext) => readonly Broken[];
} & (
  | { readonly severity: "error"; readonly name: ErrorRule }
  | { readonly severity: "warning"; readonly name: WarningRule }
);

interface Broken {
  readonly field: string;
  readonly other?: string;
}

/** One line per condition, in the order of the command. */
const RULES: readonly Rule[] = [
  error("required", ["customer.name"], isBlank),
  error("email_malformed", ["customer.email"], isNoEmail),
  error("phone_impossible", ["customer.msisdn"], isNoPhone),
  warning("recommended", ["customer.email", "customer.msisdn"], isBlank),
  warning("recommended", ["customer.address.city", "customer.address.state"], isBlank),
  warning("ktp_length", ["customer.ktp"], isNoKtp),
  warning("npwp_length", ["customer.npwp"], isNoNpwp),
  { name: "account_type_missing", severity: "warning", broken: missingAccountType },

  error("amount_invalid", ["tier[].min_amount", "tier[].max_amount", "tier[].fee"], isNoAmount),
  warning("amount_absent", ["tier[].min_amount", "tier[].max_amount", "tier[].fee"], isAbsent),
  { name: "amount_order", severity: "error", broken: amountsOutOfOrder },
  { name: "fee_above_100", severity: "error", broken: feesAbove100 },
  error("date_malformed", ["tier[].valid_from", "tier[].valid_to"], isNoDate),
  warning("date_absent", ["tier[].valid_from", "tier[].valid_to"], isAbsent),
  { name: "date_order", severity: "error", broken: datesOutOfOrder },
  { name: "tier_overlap", severity: "warning", broken: overlappingTiers },

  error("required", ["customer-crew[].name"], isBlank),
  error("email_malformed", ["customer-crew[].email"], isNoEmail),
  error("phone_impossible", ["customer-crew[].msisdn"], isNoPhone),
  warning("ktp_length", ["customer-crew[].ktp"], isNoKtp),
  warning("npwp_length", ["customer-crew[].npwp"], isNoNpwp),
  { name: "username_twice", severity: "warning", broken: repeatedUsernames },

  error("required", ["beneficiary-account.firstname"], isBlank),
  error("required", ["beneficiary-account.lastname"], isBlank),
  error("required", ["beneficiary-account.account_number"], isBlank),
  error("required", ["beneficiary-account.bank.id"], isBlank),

  error("required", ["branch.name"], isBlank),
  warning("recommended", ["branch.code"], isBlank),
];

type IsBroken = (value: unknown, context: ValidationContext) => boolean;

function error(name: ErrorRule, paths: readonly string[], isBroken: IsBroken): Rule {
  return { name, severity: "error", broken: fieldsThat(isBroken, paths) };
}

function warning(name: WarningRule, paths: readonly string[], isBroken: IsBroken): Rule {
  return { name, severity: "warning", broken: fieldsThat(isBroken, paths) };
}

function fieldsThat(isBroken: IsBroken, paths: readonly string[]): Rule["broken"] {
  return (command, context) =>
    paths
      .flatMap((path) => fieldsAt(command, path))
      .filter(({ value }) => isBroken(value, context));
}

interface Field {
  readonly field: string;
  readonly value: unknown;
}

/**
 * The fields a path means: `tier[].fee` is one per tier, and below a section that is null there is none. The library lets
 * people validate what they built themselves, so nothing is taken for granted here.
 */
function fieldsAt(command: CustomerCommand, path: string): Field[] {
  const steps = path
    .split(".")
    .flatMap((step) => (step.endsWith("[]") ? [step.slice(0, -2), "[]"] : [step]));

  return steps.reduce<Field[]>(
    (fields, step) => fields.flatMap((field) => stepInto(field, step)),
    [{ field: "", value: command }],
  );
}

function stepInto({ field, value }: Field, step: string): Field[] {
  if (step === "[]") {
    const items = Array.isArray(value) ? value : [];
    return items.map((item: unknown, index) => ({ field: `${field}[${index}]`, value: item }));
  }

  if (value === null) return [];
  const below = typeof value === "object" ? Reflect.get(value, step) : undefined;
  return [{ field: field === "" ? step : `${field}.${step}`, value: below }];
}

function isAbsent(value: unknown): boolean {
  return value === undefined;
}

function isBlank(value: unknown): boolean {
  return typeof value !== "string" || value.trim() === "";
}

function isNoEmail(value: unknown): boolean {
  return !isBlank(value) && !isEmail(String(value));
}

/**
 * Refuses what no mail server could deliver to, and nothing else: real ones take plus signs, dots in odd places, quotes and
 * domains of any script. A second address, a name in angle brackets and a domain without a dot are slips of the keyboard.
 */
function isEmail(text: string): boolean {
  const at = text.lastIndexOf("@");
  return at > 0 && LOCAL_PART.test(text.slice(0, at)) && MAIL_DOMAIN.test(text.slice(at + 1));
}

const LOCAL_PART = /^(?:"[^"\p{Cc}]+"|[^\s\p{Cc}"<>()[\],;:\\@]+)$/u;
const MAIL_DOMAIN = /^(?:(?:[\p{L}\p{N}\p{M}_-]+\.)+[\p{L}\p{N}\p{M}_-]+|\[[0-9a-zA-Z.:]+\])$/u;

function isNoPhone(value: unknown, { defaultCountry }: ValidationContext): boolean {
  return !isBlank(value) && !isPossiblePhone(String(value), defaultCountry);
}

function isNoKtp(value: unknown): boolean {
  return !isBlank(value) && !/^[0-9]{16}$/.test(String(value).trim());
}

function isNoNpwp(value: unknown): boolean {
  return !isBlank(value) && !/^[0-9]{15,16}$/.test(String(value).replace(/[\s\p{P}]/gu, ""));
}

function isNoAmount(value: unknown): boolean {
  return !isAbsent(value) && !isAmount(value);
}

function isAmount(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}

function amountsOutOfOrder(command: CustomerCommand): Broken[] {
  return tiersOf(command)
    .filter(({ tier }) => isAmount(tier.min_amount) && isAmount(tier.max_amount))
    .filter(({ tier }) => Number(tier.min_amount) >= Number(tier.max_amount))
    .map(({ field }) => ({ field: `${field}.max_amount` }));
}

function feesAbove100(command: CustomerCommand): Broken[] {
  return tiersOf(command)
    .filter(({ tier }) => tier.tier_type === "percentage" && Number(tier.fee) > 100)
    .map(({ field }) => ({ field: `${field}.fee` }));
}

function isNoDate(value: unknown): boolean {
  return !isAbsent(value) && !isDate(value);
}

/** The form the transform makes, and a day that exists: JavaScript takes the 30th of February for the 1st of March. */
function isDate(value: unknown): value is string {
  const date = typeof value === "string" ? DATE.exec(value)?.[1] : undefined;
  if (date === undefined) return false;

  const time = Date.parse(`${date}Z`);
  return !Number.isNaN(time) && new Date(time).toISOString().startsWith(date);
}

const DATE = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})$/;

function datesOutOfOrder(command: CustomerCommand): Broken[] {
  return tiersOf(command)
    .filter(({ tier }) => isDate(tier.valid_from) && isDate(tier.valid_to))
    .filter(({ tier }) => String(tier.valid_from) >= String(tier.valid_to))
    .map(({ field }) => ({ field: `${field}.valid_to` }));
}

/**
 * Amounts are half open, so 0–100 and 100–200 are neighbours; dates reach to the end of their last day. Each tier is
 * reported once, with the first one it overlaps.
 */
function overlappingTiers(command: CustomerCommand): Broken[] {
  const spans = tiersOf(command)
    .flatMap(({ field, tier }) => toSpan(field, tier) ?? [])
    .toSorted((a, b) => a.min - b.min);

  return spans.flatMap((span, index) => {
    const other = spans
      .slice(0, index)
      .find(
        (earlier) => span.min < earlier.max && span.from < earlier.to && earlier.from < span.to,
      );
    return other === undefined ? [] : [{ field: span.field, other: other.field }];
  });
}

function toSpan(field: string, tier: CustomerCommand["tier"][number]) {
  const { min_amount: min, max_amount: max, valid_from: from, valid_to: to } = tier;
  if (!isAmount(min) || !isAmount(max) || !isDate(from) || !isDate(to)) return null;
  return { field, min, max, from, to };
}

/** Without regard to case, as people log in. */
function repeatedUsernames(command: CustomerCommand): Broken[] {
  const firstUse = new Map<string, string>();

  return fieldsAt(command, "customer-crew[].username").flatMap(({ field, value }) => {
    if (isBlank(value)) return [];

    const username = String(value).trim().toLowerCase();
    const other = firstUse.get(username);
    if (other !== undefined) return [{ field, other }];

    firstUse.set(username, field);
    return [];
  });
}

function missingAccountType(_command: CustomerCommand, context: ValidationContext): Broken[] {
  return context.hasAccountType ? [] : [{ field: "customer.customer_role" }];
}

function tiersOf(command: CustomerCommand) {
  const tiers = Array.isArray(command.tier) ? command.tier : [];
  return tiers
    .map((tier: CustomerCommand["tier"][number], index) => ({ field: `tier[${index}]`, tier }))
    .filter(({ tier }) => typeof tier === "object" && tier !== null);
}

function toFinding<Name extends RuleName>(
  rule: Name,
  { field, other = "" }: Broken,
  { language = "en" }: ValidationContext,
): Finding<Name> {
  return { field, rule, message: say(MESSAGES[rule], language, { field, other }) };
}
