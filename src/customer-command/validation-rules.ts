/**
 * The validation rules: what a command must hold to be sent (errors), and what is worth a warning. A command may have been built by
 * hand, so a rule must not rely on its shape.
 */
import type { CommandTier, CustomerCommand } from "./command.ts";
import { createFieldSearch } from "./field-paths.ts";
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
  const searches = patterns.map(createFieldSearch);

  return (command, context) => {
    const isWanted = (field: unknown) => isViolation(field, context);
    const violations: Violation[] = [];
    for (const search of searches) {
      for (const path of search(command, isWanted)) violations.push({ path });
    }
    return violations;
  };
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
  return tiersWhere(
    command,
    "max_amount",
    ({ min_amount: min, max_amount: max }) => isAmount(min) && isAmount(max) && min >= max,
  );
}

function feesAbove100(command: CustomerCommand): Violation[] {
  return tiersWhere(
    command,
    "fee",
    (tier) => tier.tier_type === "percentage" && Number(tier.fee) > 100,
  );
}

function isInvalidDate(value: unknown): boolean {
  return !isAbsent(value) && !isDate(value);
}

/** The form that the transform makes, and a day that exists. */
function isDate(value: unknown): value is string {
  if (typeof value !== "string" || !DATE.test(value)) return false;

  const day = Number(value.slice(8, 10));
  return day <= 28 || day <= daysIn(Number(value.slice(0, 4)), Number(value.slice(5, 7)));
}

const DATE = /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d$/;

/** @param month from 1 */
function daysIn(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

function datesOutOfOrder(command: CustomerCommand): Violation[] {
  return tiersWhere(
    command,
    "valid_to",
    ({ valid_from: from, valid_to: to }) => isDate(from) && isDate(to) && from >= to,
  );
}

/**
 * Amounts are half open, so 0–100 and 100–200 do not overlap; dates reach to the end of their last day. Each tier is reported once, with
 * the first one it overlaps.
 */
function overlappingTiers(command: CustomerCommand): Violation[] {
  const spans = itemsOf(command.tier)
    .map((tier, index) => toSpan(index, tier))
    .filter((span) => span !== null)
    .sort((a, b) => a.min - b.min);

  return spans.flatMap((span) => {
    const first = spans.find((earlier) => earlier === span || overlap(earlier, span)) ?? span;
    return first === span
      ? []
      : [{ path: `tier[${span.index}]`, otherPath: `tier[${first.index}]` }];
  });
}

interface Span {
  readonly index: number;
  readonly min: number;
  readonly max: number;
  readonly from: string;
  readonly to: string;
}

function toSpan(index: number, tier: CommandTier | null | undefined): Span | null {
  const { min_amount: min, max_amount: max, valid_from: from, valid_to: to } = tier ?? {};
  if (!isAmount(min) || !isAmount(max) || !isDate(from) || !isDate(to)) return null;
  return { index, min, max, from, to };
}

/** @param earlier the one that begins no later */
function overlap(earlier: Span, later: Span): boolean {
  return later.min < earlier.max && later.from < earlier.to && earlier.from < later.to;
}

/** Case is ignored, as it is at a login. */
function repeatedUsernames(command: CustomerCommand): Violation[] {
  const firstUse = new Map<string, number>();
  const toPath = (index: number) => `customer-crew[${index}].username`;

  return itemsOf(command["customer-crew"]).flatMap((pic, index) => {
    if (isBlank(pic?.username)) return [];

    const username = String(pic?.username).trim().toLowerCase();
    const first = firstUse.get(username);
    if (first !== undefined) return [{ path: toPath(index), otherPath: toPath(first) }];

    firstUse.set(username, index);
    return [];
  });
}

function missingAccountType(_command: CustomerCommand, context: RuleContext): Violation[] {
  return context.hasAccountType ? [] : [{ path: "customer.customer_role" }];
}

/** At this field of each tier for which `isViolation` holds. */
function tiersWhere(
  command: CustomerCommand,
  field: keyof CommandTier,
  isViolation: (tier: CommandTier) => boolean,
): Violation[] {
  return itemsOf(command.tier).flatMap((tier, index) =>
    tier != null && isViolation(tier) ? [{ path: `tier[${index}].${field}` }] : [],
  );
}

/** The items of a section; none of one that is no list. */
function itemsOf<Item>(section: readonly Item[]): readonly (Item | null | undefined)[] {
  return Array.isArray(section) ? section : [];
}
