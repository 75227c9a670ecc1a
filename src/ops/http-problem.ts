/** The refusals and failures of the HTTP server, as its callers see them. Pure. */

/** The body of RFC 9457. `detail` is shown to the caller, so it contains nothing internal. */
export interface HttpProblem {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly extra?: Readonly<Record<string, unknown>>;
}

export function unreadable(detail: string): HttpProblem {
  return { status: 400, title: "Bad Request", detail };
}

export function forbidden(detail: string): HttpProblem {
  return { status: 403, title: "Forbidden", detail };
}

export function notJson(): HttpProblem {
  return {
    status: 415,
    title: "Unsupported Media Type",
    detail: "A body must be application/json.",
  };
}
