/** Rows that should have an external id now and have none, or were refused by the API: error class `incomplete`. */
export interface MatchProblem {
  readonly entity: "account" | "tier" | "pic";
  readonly count: number;
  readonly message: string;
}

const ERRORS_QUOTED_MAX = 3;
const MESSAGE_CHARACTERS_MAX = 500;

/** @param errors the error texts of the API, masked by the client: they help most to find the cause, and the first few are enough */
export function toProblem(
  entity: MatchProblem["entity"],
  count: number,
  message: string,
  errors: readonly string[],
): MatchProblem {
  const text = [message, ...errors.slice(0, ERRORS_QUOTED_MAX)].join("; ");
  return { entity, count, message: text.slice(0, MESSAGE_CHARACTERS_MAX).toWellFormed() };
}
