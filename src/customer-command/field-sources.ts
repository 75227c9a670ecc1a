/** Where the fields of one command come from, looked up in the mapping. */
import type { Column } from "./columns.ts";
import { fieldsOf, toPattern } from "./field-paths.ts";
import { type Conversion, MAPPING, type MappedField } from "./mapping.ts";

export interface FieldSource {
  /** Path in the command: `tier[0].fee`. */
  readonly field: string;
  /** `table.column`; none for a constant. */
  readonly columns: readonly Column[];
  readonly conversion: Conversion;
  /** The value is null or blank text. */
  readonly isEmpty: boolean;
}

/** One entry per field of the command, in its order. */
export function sourcesOf(command: object, referenceField: string | null): FieldSource[] {
  return fieldsOf(command).map(({ path, value }) => {
    const { columns, conversion } = mappedAt(path, referenceField);
    const isEmpty = value === null || (typeof value === "string" && value.trim() === "");
    return { field: path, columns, conversion, isEmpty };
  });
}

/** The line of the mapping for this path (`tier[0].fee`); without columns where there is none. */
export function mappedAt(
  path: string,
  referenceField: string | null = null,
): Pick<MappedField, "columns" | "conversion" | "isPersonalNumber"> {
  const pattern = toPattern(path);
  const mapped = BY_FIELD.get(pattern);
  if (mapped !== undefined) return mapped;

  const [section = "", ...below] = pattern.split(".");
  const id = below.join(".") === referenceField ? REFERENCE_COLUMNS[section] : undefined;
  return { columns: id === undefined ? [] : [id], conversion: "copied" };
}

const BY_FIELD = new Map(MAPPING.map((mapped) => [mapped.field, mapped]));

/** Section of the command → what the field named by `CUSTOMER_API_REFERENCE_FIELD` holds there. */
const REFERENCE_COLUMNS: Readonly<Record<string, Column>> = {
  customer: "m_account.id",
  branch: "m_account.id",
  "tier[]": "m_account_package_tier.id",
  "customer-crew[]": "m_account_pic.id",
};
