/** What was thrown, as an Error: JavaScript throws anything, and a pool and a batch are told of errors only. Pure. */
export function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
