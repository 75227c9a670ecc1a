/**
 * The natural key of a tier and of a crew member: which of the fields we sent identify an item that the API echoes, and when equal ones
 * prove that it is the same row.
 */
export type Json = Readonly<Record<string, unknown>>;

/** The fields that are compared with an echo, and which of them must be equal to prove that it is the same row. */
export interface NaturalKey {
  readonly fields: readonly { readonly name: string; readonly kind: FieldKind }[];
  readonly proves: (equal: ReadonlySet<string>) => boolean;
}

export const TIER: NaturalKey = {
  fields: [
    { name: "tier_type", kind: "text" },
    { name: "min_amount", kind: "number" },
    { name: "max_amount", kind: "number" },
    { name: "fee", kind: "number" },
    { name: "valid_from", kind: "date" },
    { name: "valid_to", kind: "date" },
  ],
  proves: (equal) => equal.has("min_amount") && equal.has("max_amount"),
};

export const CREW: NaturalKey = {
  fields: [
    { name: "username", kind: "text" },
    { name: "email", kind: "text" },
    { name: "msisdn", kind: "phone" },
    { name: "ktp", kind: "text" },
  ],
  proves: (equal) => equal.size > 0,
};

type FieldKind = "text" | "number" | "date" | "phone";

/** One value per field of the natural key, normalized for comparing; null where it proves nothing either way. */
export type ComparableKey = readonly (string | null)[];

export type Comparison = "same" | "different" | "unknown";

export function toComparableKey(
  item: Json,
  { fields }: NaturalKey,
  side: "sent" | "echoed",
): ComparableKey {
  return fields.map(({ name, kind }) => {
    const value = item[name];
    const text = typeof value === "number" ? String(value) : value;
    if (typeof text !== "string") return null;

    // A blank or masked echo proves nothing. A blank that we sent does: an item with a value there is another row.
    if (text.trim() === "") return side === "sent" ? "" : null;
    if (side === "echoed" && text.includes("*")) return null;
    return KINDS[kind].normalize(text.trim());
  });
}

export function compareKeys(
  sent: ComparableKey,
  echoed: ComparableKey,
  key: NaturalKey,
): Comparison {
  const equal = new Set<string>();

  for (const [index, { name, kind }] of key.fields.entries()) {
    const ours = sent[index] ?? null;
    const theirs = echoed[index] ?? null;
    if (ours === null || theirs === null) continue;

    const comparison = ours === theirs ? "same" : KINDS[kind].compareUnequal(ours, theirs);
    if (comparison === "different") return "different";
    if (comparison === "same") equal.add(name);
  }
  return key.proves(equal) ? "same" : "unknown";
}

interface Kind {
  /** null when the text is no value of this kind. */
  readonly normalize: (text: string) => string | null;
  readonly compareUnequal: (ours: string, theirs: string) => Comparison;
}

const KINDS: Readonly<Record<FieldKind, Kind>> = {
  text: {
    normalize: (text) => text.normalize("NFC").toLowerCase(),
    compareUnequal: () => "different",
  },
  number: {
    normalize: (text) => (NUMBER.test(text) ? String(Number(text)) : null),
    compareUnequal: () => "different",
  },
  date: { normalize: toDay, compareUnequal: compareUnequalDays },
  phone: {
    normalize: (text) => text.replace(/\D/g, "").replace(/^0+/, ""),
    compareUnequal: compareUnequalPhones,
  },
};

const NUMBER = /^[+-]?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?$/i;
const DAY = /^([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[T ].*?(Z|[+-][0-9]{2}:?[0-9]{2})?)?$/i;

/** The date part, followed by ` zoned` where the text names a time zone: then it may be the day before or after. */
function toDay(text: string): string | null {
  const [, day, zone] = DAY.exec(text) ?? [];
  return day === undefined ? null : zone === undefined ? day : `${day} zoned`;
}

/** Midnight in Jakarta is the day before in UTC: an echo in UTC is not another date. */
function compareUnequalDays(ours: string, theirs: string): Comparison {
  const [day = "", zone] = theirs.split(" ");
  if (day === ours) return "same";

  const isNextDay = Math.abs(Date.parse(day) - Date.parse(ours)) <= 24 * 60 * 60 * 1000;
  return zone !== undefined && isNextDay ? "unknown" : "different";
}

/** `same` where the echo is the number without its calling code (at most three digits). */
function compareUnequalPhones(ours: string, theirs: string): Comparison {
  const isNational =
    theirs.length >= 6 && ours.endsWith(theirs) && ours.length - theirs.length <= 3;
  return isNational ? "same" : "different";
}
