/**
 * The preview (debug mode): what would be sent for an account, whether it may be, where each field comes from, and what is
 * different from last time. Pure: no network, no database, nothing is written. `preview` and the library show the same.
 */

import type { Account } from "../account/account.ts";
import { type CustomerCommand, type SentRows, sizeProblem } from "./command.ts";
import { type FieldFingerprints, fieldFingerprintsOf, fingerprintOf } from "./fingerprint.ts";
import { type Column, type FieldSource, mappedAt, sourcesOf } from "./mapping.ts";
import { ADVICE, type Language, type RuleName, SENTENCES, say } from "./messages.ts";
import type { TransformOptions } from "./transform.ts";
import { toCommand } from "./transform.ts";
import { toValidationContext, type Validation, validateCommand } from "./validate.ts";

export interface PreviewInput {
  /** What the account was made from: given back as it is, and counted. */
  readonly originalData: unknown;
  readonly account: Account;
  readonly mapping: TransformOptions;
  readonly language: Language;
  /** null when nobody was asked. */
  readonly lastAccepted: LastAccepted | null;
}

/** What is known of the command last accepted; its values are not. */
export interface LastAccepted {
  /** False when the API may hold something else by now: a later send is in doubt, or ids are missing. */
  readonly isCurrent: boolean;
  readonly fingerprint: string | null;
  readonly fieldFingerprints: FieldFingerprints | null;
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
    /** False when it is not valid, too large, or waits for its parent. */
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
  /** What to do: errors first, then warnings, then what stands in the way otherwise. */
  readonly recommendations: readonly Recommendation[];
  readonly difference: Difference;
  /** Empty when `dataIntegrity` is PASS. */
  readonly integrityFindings: readonly IntegrityFinding[];
}

export interface Recommendation {
  /** Path in the command, `tier[0].fee`; null when it is about the account as a whole. */
  readonly field: string | null;
  readonly severity: "error" | "warning";
  readonly rule: RuleName | null;
  /** Where to correct it: `table.column`. */
  readonly columns: readonly Column[];
  readonly message: string;
}

/**
 * The difference to the command last accepted; external ids of ours do not count. Paths without values: of what was accepted only
 * fingerprints are kept. Rows count in the order they are sent, so one that comes in between moves those behind it.
 */
export interface Difference {
  /** `none_accepted`: this would be the first. `unknown`: something was accepted, and nothing is kept of it (any more). */
  readonly status: "none_accepted" | "unknown" | "same" | "different";
  /** Whether the API holds that command for sure: no later send is in doubt, and no ids are missing. Then `same` is sent only by force. */
  readonly isCurrent: boolean;
  /** null when it is not known which fields: the history is gone, or the command has more than a thousand of them. */
  readonly paths: {
    /** A whole new row is told as one: `tier[2]`. */
    readonly added: readonly string[];
    readonly removed: readonly string[];
    readonly changed: readonly string[];
  } | null;
}

/**
 * Between the source and the command something got lost or became something else:
 * `input_lost`: rows that were given are not part of the account. `rows_missing`: active rows without an item in the command.
 * `rows_unknown`: items without an active row. `value_changed`: a name, an amount or an id is not the one of its row.
 */
export interface IntegrityFinding {
  readonly check: "input_lost" | "rows_missing" | "rows_unknown" | "value_changed";
  readonly field: string;
  readonly message: string;
}

export function previewCommand(input: PreviewInput): Preview {
  const { originalData, account, mapping, language } = input;
  const { command, sent } = toCommand(account, mapping);
  const validation = validateCommand(command, toValidationContext(account, language));
  const obstacle = obstacleOf(account, command, validation, language);
  const integrityFindings = checkIntegrity({ originalData, account, command, sent, language });

  return {
    success: true,
    mode: "debug",
    originalData,
    transformedData: command,
    validationResult: validation,
    previewData: masked(command),
    debugReport: {
      operation: account.externalId === null ? "create" : "update",
      obstacle: obstacle?.message ?? null,
      mapping: sourcesOf(command, mapping.referenceField),
      recommendations: recommend({ validation, obstacle, integrityFindings, language }),
      difference: differenceOf(input, command),
      integrityFindings,
    },
    summary: {
      canSend: obstacle === null,
      totalIssues: validation.summary.totalErrors + validation.summary.totalWarnings,
      customerName: command.customer.name,
      dataIntegrity: integrityFindings.length === 0 ? "PASS" : "FAIL",
    },
  };
}

interface Obstacle {
  readonly message: string;
  /** null where the findings have their own. */
  readonly advice: string | null;
}

/** In the order in which a sync comes to them. */
function obstacleOf(
  account: Account,
  command: CustomerCommand,
  validation: Validation,
  language: Language,
): Obstacle | null {
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

interface Compared {
  readonly originalData: unknown;
  readonly account: Account;
  readonly command: CustomerCommand;
  readonly sent: SentRows;
  readonly language: Language;
}

/** What a transform must not do, looked at from outside of it: the rows and the values that matter most, one by one. */
export function checkIntegrity(compared: Compared): IntegrityFinding[] {
  return [...lostInput(compared), ...lostRows(compared), ...changedValues(compared)];
}

/** The names under which each kind of row may be given. */
const GIVEN_AS = {
  tiers: ["package_tiers", "tiers"],
  pics: ["pics", "account_pic"],
  addresses: ["addresses", "account_address"],
  bankAccounts: ["account_bank", "bankAccounts"],
} as const satisfies Partial<Record<keyof Account, readonly string[]>>;

function lostInput({ originalData, account, language }: Compared): IntegrityFinding[] {
  if (typeof originalData !== "object" || originalData === null) return [];

  return Object.entries(GIVEN_AS).flatMap(([key, names]) => {
    const rows = account[key as keyof typeof GIVEN_AS];
    const field = names.find((name) => Array.isArray(Reflect.get(originalData, name)));
    if (field === undefined) return [];

    const given = Reflect.get(originalData, field) as readonly unknown[];
    const known = new Set<string>(rows.map((row) => row.id));
    const strangers = given.map(idOf).filter((id) => id !== null && !known.has(id));
    const lost = Math.max(strangers.length, given.length - rows.length);
    return lost === 0
      ? []
      : [finding("input_lost", field, { count: String(lost), field }, language)];
  });
}

function idOf(row: unknown): string | null {
  const id: unknown = typeof row === "object" && row !== null ? Reflect.get(row, "id") : null;
  return typeof id === "string" || typeof id === "number" ? String(id) : null;
}

function lostRows({ account, command, sent, language }: Compared): IntegrityFinding[] {
  const sections = [
    {
      field: "tier",
      table: "m_account_package_tier",
      rows: account.tiers,
      behind: sent.tiers,
      items: command.tier.length,
    },
    {
      field: "customer-crew",
      table: "m_account_pic",
      rows: account.pics,
      behind: sent.pics,
      items: command["customer-crew"].length,
    },
    {
      field: "beneficiary-account",
      table: "m_account_bank",
      // One of them is sent.
      rows: account.bankAccounts.filter((row) => row.isActive).slice(0, 1),
      behind: null,
      items: command["beneficiary-account"] === null ? 0 : 1,
    },
  ];

  return sections.flatMap(({ field, table, rows, behind, items }) => {
    const active = rows.filter((row) => row.isActive).map((row) => row.id);
    const sentIds = behind?.slice(0, items).map((row) => row.id) ?? active.slice(0, items);
    const missing = active.filter((id) => !sentIds.includes(id)).length;
    const unknown = items - sentIds.filter((id) => active.includes(id)).length;
    const values = { field, table };
    return [
      ...(missing === 0
        ? []
        : [finding("rows_missing", field, { ...values, count: String(missing) }, language)]),
      ...(unknown === 0
        ? []
        : [finding("rows_unknown", field, { ...values, count: String(unknown) }, language)]),
    ];
  });
}

function changedValues({ account, command, sent, language }: Compared): IntegrityFinding[] {
  const isUpdate = knownId(account.externalId) !== null;
  const tiers = new Map(account.tiers.map((tier) => [tier.id, tier]));
  const pics = new Map(account.pics.map((pic) => [pic.id, pic]));
  /** Field, what stands in the command, what stands in the row. */
  const pairs: [field: string, inCommand: unknown, inRow: unknown][] = [
    ["customer.name", command.customer.name, account.name ?? ""],
    ["customer.id", command.customer.id ?? null, knownId(account.externalId)],
    ["customer.ktp", command.customer.ktp, account.ktp ?? ""],
    ["customer.npwp", command.customer.npwp, account.npwp ?? ""],
    ...command.tier.flatMap((item, index): typeof pairs => {
      const row = tiers.get(sent.tiers[index]?.id ?? "");
      if (row === undefined) return [];
      return [
        [`tier[${index}].id`, item.id ?? null, isUpdate ? knownId(row.externalId) : null],
        [`tier[${index}].tier_type`, item.tier_type === "percentage", row.percentage],
        [`tier[${index}].min_amount`, item.min_amount ?? null, row.minValue],
        [`tier[${index}].max_amount`, item.max_amount ?? null, row.maxValue],
        [`tier[${index}].fee`, item.fee ?? null, row.amount],
        [`tier[${index}].valid_from`, item.valid_from?.slice(0, -9) ?? null, row.startDate],
        [`tier[${index}].valid_to`, item.valid_to?.slice(0, -9) ?? null, row.endDate],
      ];
    }),
    ...command["customer-crew"].flatMap((item, index): typeof pairs => {
      const row = pics.get(sent.pics[index]?.id ?? "");
      if (row === undefined) return [];
      return [
        [`customer-crew[${index}].id`, item.id ?? null, isUpdate ? knownId(row.externalId) : null],
        [`customer-crew[${index}].name`, item.name, row.name ?? ""],
      ];
    }),
  ];

  return pairs
    .filter(([, inCommand, inRow]) => !Object.is(inCommand, inRow))
    .map(([field]) =>
      finding(
        "value_changed",
        field,
        { field, columns: mappedAt(field).columns.join(", ") },
        language,
      ),
    );
}

function knownId(externalId: string | null): string | null {
  return externalId === null || externalId.trim() === "" ? null : externalId;
}

function finding(
  check: IntegrityFinding["check"],
  field: string,
  values: Readonly<Record<string, string>>,
  language: Language,
): IntegrityFinding {
  return { check, field, message: say(SENTENCES[check], language, values) };
}

/** `*` for every letter and digit but the last; what divides them stays, so that the shape can be recognised. */
function masked(command: CustomerCommand): CustomerCommand {
  return maskedBelow(command, "") as CustomerCommand;
}

function maskedBelow(value: unknown, path: string): unknown {
  if (Array.isArray(value)) {
    return value.map((item: unknown, index) => maskedBelow(item, `${path}[${index}]`));
  }
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(
      Object.entries(value).map(([key, below]: [string, unknown]) => [
        key,
        maskedBelow(below, path === "" ? key : `${path}.${key}`),
      ]),
    );
  }
  return typeof value === "string" && mappedAt(path).isPersonalNumber === true
    ? maskNumber(value)
    : value;
}

const CHARACTERS_SHOWN_MAX = 4;

/** At most the last four, and never more than a third: of a short one they would be nearly all. */
function maskNumber(text: string): string {
  const length = text.match(/[\p{L}\p{N}]/gu)?.length ?? 0;
  const shown = Math.min(CHARACTERS_SHOWN_MAX, Math.floor(length / 3));
  let seen = 0;
  return text.replaceAll(/[\p{L}\p{N}]/gu, (character) => {
    seen += 1;
    return seen > length - shown ? character : "*";
  });
}

function recommend({
  validation,
  obstacle,
  integrityFindings,
  language,
}: {
  readonly validation: Validation;
  readonly obstacle: Obstacle | null;
  readonly integrityFindings: readonly IntegrityFinding[];
  readonly language: Language;
}): Recommendation[] {
  const ofFindings = (["error", "warning"] as const).flatMap((severity) =>
    validation[severity === "error" ? "errors" : "warnings"].map(
      ({ field, rule }): Recommendation => {
        const columns = columnsBehind(field);
        const message = say(ADVICE[rule], language, { columns: columns.join(", ") });
        return { field, severity, rule, columns, message };
      },
    ),
  );
  const ofObstacle: Recommendation[] =
    obstacle?.advice == null
      ? []
      : [{ field: null, severity: "error", rule: null, columns: [], message: obstacle.advice }];
  const ofIntegrity = integrityFindings.map(
    ({ field }): Recommendation => ({
      field,
      severity: "error",
      rule: null,
      columns: mappedAt(field).columns,
      message: say(SENTENCES.do_not_send, language, { field }),
    }),
  );
  return [...ofFindings, ...ofObstacle, ...ofIntegrity];
}

/** What two tiers clash in is no single field. */
const TIER_SPAN = ["min_amount", "max_amount", "valid_from", "valid_to"];

function columnsBehind(field: string): readonly Column[] {
  const fields = /\]$/.test(field) ? TIER_SPAN.map((name) => `${field}.${name}`) : [field];
  return fields.flatMap((path) => mappedAt(path).columns);
}

function differenceOf(
  { account, lastAccepted }: PreviewInput,
  command: CustomerCommand,
): Difference {
  const before = lastAccepted?.fingerprint ?? null;
  const isCurrent = lastAccepted?.isCurrent ?? false;
  if (before === null) {
    const isFirst = lastAccepted !== null && account.externalId === null;
    return { status: isFirst ? "none_accepted" : "unknown", isCurrent: false, paths: null };
  }
  if (before === fingerprintOf(command)) {
    return { status: "same", isCurrent, paths: { added: [], removed: [], changed: [] } };
  }
  const fields = fieldFingerprintsOf(command, account.id);
  const fieldsBefore = lastAccepted?.fieldFingerprints ?? null;
  return {
    status: "different",
    isCurrent,
    paths: fields === null || fieldsBefore === null ? null : comparePaths(fieldsBefore, fields),
  };
}

function comparePaths(before: FieldFingerprints, after: FieldFingerprints): Difference["paths"] {
  const [old, young] = [Object.keys(before), Object.keys(after)];
  return {
    added: wholeRows(
      young.filter((path) => !Object.hasOwn(before, path)),
      old,
    ),
    removed: wholeRows(
      old.filter((path) => !Object.hasOwn(after, path)),
      young,
    ),
    changed: young.filter((path) => Object.hasOwn(before, path) && before[path] !== after[path]),
  };
}

/** `tier[2]` for all of its fields, where the other side has no such row. */
function wholeRows(paths: readonly string[], others: readonly string[]): string[] {
  const rowOf = (path: string) => /^[\w-]+\[\d+\]/.exec(path)?.[0] ?? path;
  const rowsOfOthers = new Set(others.map(rowOf));
  return [...new Set(paths.map((path) => (rowsOfOthers.has(rowOf(path)) ? path : rowOf(path))))];
}
