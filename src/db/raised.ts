/** What a function of schema account_sync refuses, with a sentence of its own, as opposed to an error of the server. Pure. */

export interface Refusal {
  /** `not_found`: no such account. `not_valid`: the arguments. `conflict`: not in this state. */
  readonly kind: "not_found" | "not_valid" | "conflict";
  /** Both are whole sentences. */
  readonly problem: string;
  readonly remedy: string;
}

/** null for any other error. Only such an error names a schema and no table of it. */
export function toRefusal(error: unknown): Refusal | null {
  if (!(error instanceof Error) || !("schema" in error) || error.schema !== "account_sync")
    return null;
  if ("table" in error && error.table !== undefined) return null;
  return {
    kind: ("code" in error && KINDS.get(String(error.code))) || "conflict",
    problem: `${error.message}.`,
    remedy: "hint" in error && typeof error.hint === "string" ? error.hint : "",
  };
}

/** P0002 no_data_found, 22023 invalid_parameter_value. */
const KINDS: ReadonlyMap<string, Refusal["kind"]> = new Map([
  ["P0002", "not_found"],
  ["22023", "not_valid"],
]);
