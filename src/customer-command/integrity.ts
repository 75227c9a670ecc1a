/**
 * The preview's check of the transform: does the command hold the rows, and the values that matter most, of the account it was made
 * from? It compares the two without any function of the transform, so that an error there cannot hide itself here.
 */
import type { Account } from "../account/account.ts";
import type { CustomerCommand, SentRows } from "./command.ts";
import { mappedAt } from "./field-sources.ts";
import { type Language, SENTENCES, say } from "./messages.ts";

/** Data was lost or changed between the source and the command. */
export interface IntegrityFinding {
  /**
   * - `input_lost`: rows that were given are not part of the account.
   * - `rows_missing`: active rows without an item in the command.
   * - `rows_unknown`: items of the command without an active row.
   * - `value_changed`: a name, an amount, a date or an id is not the one of its row.
   */
  readonly check: "input_lost" | "rows_missing" | "rows_unknown" | "value_changed";
  readonly field: string;
  readonly message: string;
}

export interface IntegrityInput {
  /** What the account was made from; only objects are looked at. */
  readonly originalData: unknown;
  readonly account: Account;
  readonly command: CustomerCommand;
  readonly sent: SentRows;
  readonly language: Language;
}

export function checkIntegrity(input: IntegrityInput): IntegrityFinding[] {
  return [...lostInput(input), ...lostRows(input), ...changedValues(input)];
}

/** The names under which each kind of row may be given. */
const GIVEN_AS = {
  tiers: ["package_tiers", "tiers"],
  pics: ["pics", "account_pic"],
  addresses: ["addresses", "account_address"],
  bankAccounts: ["account_bank", "bankAccounts"],
} as const satisfies Partial<Record<keyof Account, readonly string[]>>;

function lostInput({ originalData, account, language }: IntegrityInput): IntegrityFinding[] {
  if (typeof originalData !== "object" || originalData === null) return [];

  return Object.entries(GIVEN_AS).flatMap(([key, names]) => {
    const rows = account[key as keyof typeof GIVEN_AS];
    const field = names.find((name) => Array.isArray(Reflect.get(originalData, name)));
    if (field === undefined) return [];

    const given = Reflect.get(originalData, field) as readonly unknown[];
    const loaded = new Set<string>(rows.map((row) => row.id));
    const unknown = given.map(idOf).filter((id) => id !== null && !loaded.has(id));
    const lost = Math.max(unknown.length, given.length - rows.length);
    return lost === 0
      ? []
      : [toFinding("input_lost", field, { count: String(lost), field }, language)];
  });
}

function idOf(row: unknown): string | null {
  const id: unknown = typeof row === "object" && row !== null ? Reflect.get(row, "id") : null;
  return typeof id === "string" || typeof id === "number" ? String(id) : null;
}

function lostRows({ account, command, sent, language }: IntegrityInput): IntegrityFinding[] {
  const sections = [
    {
      field: "tier",
      table: "m_account_package_tier",
      rows: account.tiers,
      sentRows: sent.tiers,
      items: command.tier.length,
    },
    {
      field: "customer-crew",
      table: "m_account_pic",
      rows: account.pics,
      sentRows: sent.pics,
      items: command["customer-crew"].length,
    },
    {
      field: "beneficiary-account",
      table: "m_account_bank",
      // A command holds one of them.
      rows: account.bankAccounts.filter((row) => row.isActive).slice(0, 1),
      sentRows: null,
      items: command["beneficiary-account"] === null ? 0 : 1,
    },
  ];

  return sections.flatMap(({ field, table, rows, sentRows, items }) => {
    const active = rows.filter((row) => row.isActive).map((row) => row.id);
    const sentIds = sentRows?.slice(0, items).map((row) => row.id) ?? active.slice(0, items);
    const counts = {
      rows_missing: active.filter((id) => !sentIds.includes(id)).length,
      rows_unknown: items - sentIds.filter((id) => active.includes(id)).length,
    };
    return (["rows_missing", "rows_unknown"] as const)
      .filter((check) => counts[check] !== 0)
      .map((check) =>
        toFinding(check, field, { field, table, count: String(counts[check]) }, language),
      );
  });
}

function changedValues({ account, command, sent, language }: IntegrityInput): IntegrityFinding[] {
  const isUpdate = knownId(account.externalId) !== null;
  const tiers = new Map(account.tiers.map((tier) => [tier.id, tier]));
  const pics = new Map(account.pics.map((pic) => [pic.id, pic]));
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
        [`tier[${index}].valid_from`, toDay(item.valid_from), row.startDate],
        [`tier[${index}].valid_to`, toDay(item.valid_to), row.endDate],
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
    .map(([field]) => {
      const columns = mappedAt(field).columns.join(", ");
      return toFinding("value_changed", field, { field, columns }, language);
    });
}

function knownId(externalId: string | null): string | null {
  return externalId === null || externalId.trim() === "" ? null : externalId;
}

/** Cuts the nine characters of the time (`T00:00:00`) off: not every date has ten characters (`infinity`, `0044-03-15 BC`). */
function toDay(time: string | undefined): string | null {
  return time?.slice(0, -9) ?? null;
}

function toFinding(
  check: IntegrityFinding["check"],
  field: string,
  values: Readonly<Record<string, string>>,
  language: Language,
): IntegrityFinding {
  return { check, field, message: say(SENTENCES[check], language, values) };
}
