/** The settings: the name, the form and the default of each, and which of them go together. Nothing is read here. */
import { z } from "zod";
import { whyNotAllowed } from "./customer-api/allowed-url.ts";
import { canPromiseNotApplied } from "./customer-api/failure.ts";
import { LANGUAGES } from "./customer-command/messages.ts";
import { readConnectionUrl } from "./db/connection-url.ts";

/** Every setting, with its value as it is used. */
export type Settings = z.infer<typeof settings>;

/** setTimeout's ceiling, 24.8 days: beyond it Node would fire at once. */
const MS_MAX = 2_147_483_647;

function milliseconds(fallback: number, minimum = 0) {
  return wholeNumber(minimum, MS_MAX, "milliseconds").default(fallback);
}

function wholeNumber(minimum: number, maximum: number, unit: string) {
  const wanted = `must be a whole number of ${unit} from ${minimum} to ${maximum}`;
  return z
    .string()
    .regex(/^\d+$/, wanted)
    .transform(Number)
    .refine((value) => value >= minimum && value <= maximum, wanted);
}

const flag = flagOr(false);

function flagOr(unset: boolean) {
  return z
    .enum(["true", "false"], "must be true or false")
    .transform((value) => value === "true")
    .default(unset);
}

const databaseUrl = z.string().superRefine((text, context) => {
  for (const message of readConnectionUrl(text).problems)
    context.addIssue({ code: "custom", message });
});

const path = z.string().regex(/^\/\S*$/, "must be a path that begins with /");

function checkPlaceholders(path: string, context: z.RefinementCtx): void {
  const names = [...path.matchAll(/\{([^{}]*)\}/g)].map(([, name]) => name ?? "");
  const unknown = names.filter((name) => name !== "account_no" && name !== "account_id");
  const isBroken = /[{}]/.test(path.replaceAll(/\{[^{}]*\}/g, ""));
  if (names.length > 0 && unknown.length === 0 && !isBroken) return;

  const what =
    unknown.length > 0
      ? `has ${unknown.map((name) => `{${name}}`).join(", ")}, which nothing stands for`
      : isBroken
        ? "has a brace without its other half"
        : "names no account";
  context.addIssue({
    code: "custom",
    message: `${what}: use {account_no} or {account_id}, as in /api/customer?code={account_no}`,
  });
}

const headersShape = z.record(z.string().regex(/^[\w!#$%&'*+.^`|~-]+$/), z.string());

export const settings = z
  .object({
    DATABASE_URL: databaseUrl.optional(),
    LISTEN_DATABASE_URL: databaseUrl.optional(),
    DATABASE_POOL_MAX: wholeNumber(3, 1_000, "connections").default(10),
    CUSTOMER_API_URL: z
      .url({ protocol: /^https?$/, error: "must be a URL like https://api.example.com" })
      .optional(),
    CUSTOMER_API_CONFIG_ID: z.string().optional(),
    CUSTOMER_API_PATH: path.optional(),
    CUSTOMER_API_UPDATE_METHOD: z
      .enum(["PUT", "PATCH", "POST"], "must be PUT, PATCH or POST")
      .default("PUT"),
    CUSTOMER_API_UPDATE_PATH: path
      .regex(/\{id\}/, "must contain {id}, where the customer's id goes")
      .optional(),
    CUSTOMER_API_TOKEN: z.string().optional(),
    CUSTOMER_API_CLIENT_ID: z.string().optional(),
    CUSTOMER_API_CLIENT_SECRET: z.string().optional(),
    CUSTOMER_API_TOKEN_URL: z
      .url({
        protocol: /^https?$/,
        error: "must be a URL like https://api.example.com/oauth/token",
      })
      .optional(),
    CUSTOMER_API_SCOPE: z.string().optional(),
    CUSTOMER_API_TOKEN_STYLE: z.enum(["form", "json"], "must be form or json").default("form"),
    CUSTOMER_API_HEADERS: z
      .string()
      .transform((text, context) => {
        const headers = headersShape.safeParse(parseJson(text));
        if (headers.success) return headers.data;
        context.addIssue({
          code: "custom",
          message: 'must be a JSON map of strings like {"X-Name":"value"}',
        });
        return z.NEVER;
      })
      .default({}),
    CUSTOMER_API_TIMEOUT_MS: milliseconds(120_000, 1),
    CUSTOMER_API_MAX_RPS: wholeNumber(0, 100_000, "requests per second").default(0),
    CUSTOMER_API_UNKNOWN_OUTCOME: z
      .enum(["park", "resend", "lookup"], "must be park, resend or lookup")
      .optional(),
    CUSTOMER_API_NOT_APPLIED_STATUSES: z
      .string()
      .transform((text, context) => {
        const words = text.split(",").map((word) => word.trim());
        for (const word of words) {
          if (/^\d{3}$/.test(word) && canPromiseNotApplied(Number(word))) continue;
          context.addIssue({
            code: "custom",
            message: `has ${JSON.stringify(word.slice(0, 20))}: must be a list of statuses like 429,503, each 408, 425, 429 or a 5xx`,
          });
        }
        return words.map(Number);
      })
      .default([429]),
    CUSTOMER_API_LOOKUP_PATH: path.superRefine(checkPlaceholders).optional(),
    CUSTOMER_API_LOOKUP_FIRST: flagOr(true),
    CUSTOMER_API_REFERENCE_FIELD: z
      .string()
      .regex(/^[A-Za-z_][\w.-]*$/, "must be a field name")
      .optional(),
    CUSTOMER_API_ALLOWED_ORIGINS: z
      .string()
      .transform((text, context) => {
        const origins = text
          .split(",")
          .map((origin) => origin.trim())
          .filter((origin) => origin !== "");
        for (const origin of origins) {
          if (URL.canParse(origin) && new URL(origin).origin === origin) continue;
          context.addIssue({
            code: "custom",
            // Not as it was written, as it may contain a password.
            message: `has ${withoutSecrets(origin)}, which is not an origin like https://api.example.com`,
          });
        }
        return origins;
      })
      .optional(),
    CUSTOMER_API_INSECURE: flag,
    DEFAULT_COUNTRY: z
      .string()
      .regex(/^[A-Z]{2}$/, "must be an ISO country code like ID")
      .default("ID"),
    SYNC_QUIET_PERIOD_MS: milliseconds(1_000),
    SYNC_MAX_WAIT_MS: milliseconds(10_000),
    SYNC_CONCURRENCY: wholeNumber(1, 1_000, "requests").default(16),
    SYNC_MAX_ATTEMPTS: wholeNumber(0, 1_000_000, "attempts").default(0),
    SYNC_BACKOFF_MIN_MS: milliseconds(1_000, 1),
    SYNC_BACKOFF_MAX_MS: milliseconds(900_000, 1),
    SYNC_LEASE_MS: milliseconds(30_000, 500),
    SYNC_SWEEP_INTERVAL_MS: milliseconds(5_000, 50),
    SYNC_SHUTDOWN_TIMEOUT_MS: wholeNumber(0, MS_MAX, "milliseconds").optional(),
    SYNC_RECONCILE_INTERVAL_MS: milliseconds(3_600_000),
    SYNC_BACKFILL_ON_START: flag,
    SYNC_NOTIFY: z.enum(["auto", "always", "off"], "must be auto, always or off").default("auto"),
    SYNC_USER_ID: z
      .string()
      .max(50, "must have at most 50 characters, as updated_by has")
      .default("account-sync"),
    ON_ACCOUNT_DELETE: z.enum(["ignore", "delete"], "must be ignore or delete").default("ignore"),
    HISTORY_RETENTION_DAYS: wholeNumber(1, 36_500, "days").default(30),
    MESSAGES: z.enum(LANGUAGES, "must be en or id").default("en"),
    HTTP_HOST: z.string().default("127.0.0.1"),
    HTTP_PORT: wholeNumber(0, 65_535, "a port").default(9464),
    HTTP_TOKEN: z.string().min(8, "must have at least 8 characters").optional(),
    LOG_LEVEL: z
      .enum(
        ["trace", "debug", "info", "warn", "error", "fatal", "silent"],
        "must be trace, debug, info, warn, error, fatal or silent",
      )
      .default("info"),
    LOG_FORMAT: z.enum(["json", "pretty"], "must be json or pretty").optional(),
    // Node's own. With 0 Node accepts any certificate, so a proxy in between could read customers and credentials.
    NODE_TLS_REJECT_UNAUTHORIZED: z
      .string()
      .refine(
        (value) => value !== "0",
        "is 0, which believes any certificate: unset it, and name a private authority's certificate in NODE_EXTRA_CA_CERTS",
      )
      .optional(),
  })
  .superRefine((values, context) => {
    const refuse = (name: string, message: string) =>
      context.addIssue({ code: "custom", path: [name], message });
    const hasId = values.CUSTOMER_API_CLIENT_ID !== undefined;
    if (hasId !== (values.CUSTOMER_API_CLIENT_SECRET !== undefined)) {
      refuse(
        hasId ? "CUSTOMER_API_CLIENT_SECRET" : "CUSTOMER_API_CLIENT_ID",
        "is missing: id and secret go together",
      );
    }
    if (hasId && values.CUSTOMER_API_TOKEN !== undefined) {
      refuse(
        "CUSTOMER_API_TOKEN",
        "and CUSTOMER_API_CLIENT_ID are both set: choose the static token or the client credentials",
      );
    }
    const rules = {
      insecure: values.CUSTOMER_API_INSECURE,
      allowedOrigins: values.CUSTOMER_API_ALLOWED_ORIGINS ?? null,
    };
    for (const name of ["CUSTOMER_API_URL", "CUSTOMER_API_TOKEN_URL"] as const) {
      const url = values[name];
      const why = url === undefined ? null : whyNotAllowed(url, rules);
      if (why !== null) refuse(name, why);
    }
    if (
      values.CUSTOMER_API_UNKNOWN_OUTCOME === "lookup" &&
      values.CUSTOMER_API_LOOKUP_PATH === undefined
    ) {
      refuse(
        "CUSTOMER_API_LOOKUP_PATH",
        "is missing: CUSTOMER_API_UNKNOWN_OUTCOME=lookup needs to know where to look, as in /api/customer?code={account_no}",
      );
    }
    if (values.SYNC_MAX_WAIT_MS < values.SYNC_QUIET_PERIOD_MS) {
      refuse(
        "SYNC_MAX_WAIT_MS",
        `(${values.SYNC_MAX_WAIT_MS}) must not be shorter than SYNC_QUIET_PERIOD_MS (${values.SYNC_QUIET_PERIOD_MS})`,
      );
    }
    if (values.SYNC_BACKOFF_MAX_MS < values.SYNC_BACKOFF_MIN_MS) {
      refuse(
        "SYNC_BACKOFF_MAX_MS",
        `(${values.SYNC_BACKOFF_MAX_MS}) must not be shorter than SYNC_BACKOFF_MIN_MS (${values.SYNC_BACKOFF_MIN_MS})`,
      );
    }
  });

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function withoutSecrets(text: string): string {
  const url = URL.parse(text);
  return url === null ? "something" : `"${url.protocol}//${url.host}${url.pathname}"`;
}
