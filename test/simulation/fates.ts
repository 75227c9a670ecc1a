/** What may become of a request to the simulation's API, and the failures that its sender is told of. */
import type { ApiFailure } from "../../src/customer-api/customer-api.ts";

export const FAILURES = {
  "connection reset": { errorClass: "network", delivery: "unknown" },
  "503": { errorClass: "server", delivery: "unknown", httpStatus: 503 },
  "503, as promised": { errorClass: "server", delivery: "not_applied", httpStatus: 503 },
  "429": {
    errorClass: "throttled",
    delivery: "not_applied",
    httpStatus: 429,
    countsAsAttempt: false,
  },
  "500": { errorClass: "server", delivery: "unknown", httpStatus: 500 },
  "422": { errorClass: "rejected", delivery: "not_applied", httpStatus: 422 },
  "connection refused": { errorClass: "network", delivery: "not_sent" },
  "401": {
    errorClass: "unauthorized",
    delivery: "not_applied",
    httpStatus: 401,
    countsAsAttempt: false,
  },
} as const satisfies Record<string, Partial<ApiFailure>>;

export const NOT_APPLIED_YET = [
  "applied, no answer yet",
  "hangs",
  "incomplete answer",
  "connection reset",
  "503",
  "503, as promised",
  "429",
  "500",
  "422",
  "connection refused",
  "401",
] as const;

export const LOOKING_UP = [
  "hangs",
  "connection reset",
  "503",
  "429",
  "500",
  "connection refused",
] as const;

export const APPLIED = ["connection reset", "500", "503", "hangs", "incomplete answer"] as const;

/** A customer of this name the API answers with 500 for ever, until the application corrects it. */
export const POISON = "Toko Rusak";
