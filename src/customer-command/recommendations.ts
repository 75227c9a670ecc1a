/** What to do about the findings of a preview, and in which columns. */
import type { Column } from "./columns.ts";
import { mappedAt } from "./field-sources.ts";
import type { IntegrityFinding } from "./integrity.ts";
import { ADVICE, type Language, type RuleName, SENTENCES, say } from "./messages.ts";
import type { Validation, ValidationFinding } from "./validate.ts";

export interface Recommendation {
  /** Path in the command, `tier[0].fee`; null when it is about the account as a whole. */
  readonly field: string | null;
  readonly severity: "error" | "warning";
  readonly rule: RuleName | null;
  /** Where to correct it: `table.column`. */
  readonly columns: readonly Column[];
  readonly message: string;
}

export interface RecommendationInput {
  readonly validation: Validation;
  /** About the account as a whole. */
  readonly advice: string | null;
  readonly integrityFindings: readonly IntegrityFinding[];
  readonly language: Language;
}

/** Validation errors first, then its warnings, then the advice, then the integrity findings. */
export function recommend(input: RecommendationInput): Recommendation[] {
  const { validation, advice, integrityFindings, language } = input;
  const { errors, warnings } = validation;

  return [
    ...errors.map((finding) => toRecommendation("error", finding, language)),
    ...warnings.map((finding) => toRecommendation("warning", finding, language)),
    ...(advice === null ? [] : [toGeneralRecommendation(advice)]),
    ...integrityFindings.map((finding) => toReport(finding, language)),
  ];
}

function toRecommendation(
  severity: Recommendation["severity"],
  { field, rule }: ValidationFinding,
  language: Language,
): Recommendation {
  const columns = columnsBehind(field);
  const message = say(ADVICE[rule], language, { columns: columns.join(", ") });
  return { field, severity, rule, columns, message };
}

/** Tiers that overlap are reported as a whole (`tier[1]`); these fields of them can be corrected. */
const OVERLAP_FIELDS = ["min_amount", "max_amount", "valid_from", "valid_to"];

function columnsBehind(field: string): readonly Column[] {
  const fields = field.endsWith("]") ? OVERLAP_FIELDS.map((name) => `${field}.${name}`) : [field];
  return fields.flatMap((path) => mappedAt(path).columns);
}

function toGeneralRecommendation(message: string): Recommendation {
  return { field: null, severity: "error", rule: null, columns: [], message };
}

/** An integrity finding is an error of this program, which no column can correct. */
function toReport({ field }: IntegrityFinding, language: Language): Recommendation {
  return {
    field,
    severity: "error",
    rule: null,
    columns: mappedAt(field).columns,
    message: say(SENTENCES.do_not_send, language, { field }),
  };
}
