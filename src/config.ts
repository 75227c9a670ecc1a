/**
 * Environment → frozen, typed Config. The only reader of process.env.
 *
 * A bad value stops the start with every problem listed by name; a secret may also come from a file (`NAME_FILE`).
 */
import { readFileSync } from "node:fs";
import { z } from "zod";
import { completeUrl, readConnectionUrl } from "./db/connection-url.ts";
import { OperatorError } from "./operator-error.ts";
import { LANGUAGES } from "./sync/messages.ts";
import {
  describeMissingDatabase,
  type Environment,
  findServiceLinkValues,
  findUnknownSettings,
  isUnset,
  type UnknownSetting,
} from "./unknown-settings.ts";

export type Config = ReturnType<typeof readConfig>;

/** Secrets that may come as `NAME_FILE` too. */
const SECRETS = [
  "DATABASE_URL",
  "LISTEN_DATABASE_URL",
  "CUSTOMER_API_TOKEN",
  "CUSTOMER_API_CLIENT_ID",
  "CUSTOMER_API_CLIENT_SECRET",
  "CUSTOMER_API_HEADERS",
  "HTTP_TOKEN",
] as const;

/** setTimeout's ceiling, 24.8 days: beyond it Node would fire at once. */
const MS_MAX = 2_147_483_647;

export interface ReadOptions {
  /** The caller never falls back to the embedded database, so settings of an API need no DATABASE_URL. */
  readonly usesOwnDatabase?: boolean;
}

/** @throws OperatorError (exit code 2) that names every problem */
export function readConfig(environment: Environment, options: ReadOptions = {}) {
  const { values, problems } = readSettings(environment, options);
  if (values === null) {
    throw new OperatorError(
      `The configuration has ${problems.length === 1 ? "a problem" : `${problems.length} problems`}:\n${problems.map((problem) => `  ${problem}`).join("\n")}`,
      {
        hint: "Correct the environment and start again; the README lists every setting.",
        exitCode: 2,
      },
    );
  }
  return toConfig(values);
}

/** What each setting comes to, defaults included, or everything that is wrong. */
export function readSettings(
  environment: Environment,
  { usesOwnDatabase = false }: ReadOptions = {},
):
  | { readonly values: z.infer<typeof settings>; readonly problems: readonly [] }
  | { readonly values: null; readonly problems: readonly string[] } {
  const { values, problems } = readSecretFiles(environment);
  for (const { name, problem } of findServiceLinkValues(environment, knownNames())) {
    problems.push(problem);
    delete values[name];
  }
  const missing = usesOwnDatabase ? null : describeMissingDatabase(environment, knownNames());
  if (missing !== null) problems.push(missing);
  const parsed = settings.safeParse(values);
  if (!parsed.success) {
    problems.push(
      ...parsed.error.issues.map((issue) => `${issue.path.join(".")} ${issue.message}`),
    );
  }
  return problems.length > 0 || !parsed.success
    ? { values: null, problems }
    : { values: parsed.data, problems: [] };
}

/** Variables that look like ours and are not: most likely misspelled. */
export function unknownSettings(environment: Environment): UnknownSetting[] {
  return findUnknownSettings(environment, knownNames());
}

/** Every name that is read from the environment. */
export function knownNames(): string[] {
  return [...Object.keys(settings.shape), ...SECRETS.map((name) => `${name}_FILE`)];
}

/** Whether its value is never shown. */
export function isSecret(name: string): boolean {
  return SECRETS.some((secret) => secret === name);
}

/** Where a session of our own is had: for LISTEN, for migrations. */
export function directDatabase(
  { database }: Pick<Config, "database">,
  databaseUrl: string,
): { readonly url: string; readonly setting: "DATABASE_URL" | "LISTEN_DATABASE_URL" } {
  return database.listenUrl === null
    ? { url: databaseUrl, setting: "DATABASE_URL" }
    : { url: database.listenUrl, setting: "LISTEN_DATABASE_URL" };
}

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

const flag = z
  .enum(["true", "false"], "must be true or false")
  .transform((value) => value === "true")
  .default(false);

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
        : "asks for nobody";
  context.addIssue({
    code: "custom",
    message: `${what}: use {account_no} or {account_id}, as in /api/customer?code={account_no}`,
  });
}

const settings = z
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
    CUSTOMER_API_LOOKUP_PATH: path.superRefine(checkPlaceholders).optional(),
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
            message: `has "${origin}", which is not an origin like https://api.example.com`,
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
    SYNC_SHUTDOWN_TIMEOUT_MS: milliseconds(20_000),
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
    // Node's own. With 0 it believes any certificate, and whoever is in the middle reads customers and credentials.
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

const headersShape = z.record(z.string().regex(/^[\w!#$%&'*+.^`|~-]+$/), z.string());

function toConfig(values: z.infer<typeof settings>) {
  return Object.freeze({
    database: {
      /** null: the embedded one. */
      url: values.DATABASE_URL ?? null,
      /** A direct connection, where DATABASE_URL goes through a transaction pooler. */
      listenUrl: values.LISTEN_DATABASE_URL ?? null,
      poolMax: values.DATABASE_POOL_MAX,
    },
    api: {
      url: values.CUSTOMER_API_URL ?? null,
      configId: values.CUSTOMER_API_CONFIG_ID ?? null,
      createPath: values.CUSTOMER_API_PATH ?? null,
      updateMethod: values.CUSTOMER_API_UPDATE_METHOD,
      updatePath: values.CUSTOMER_API_UPDATE_PATH ?? null,
      lookupPath: values.CUSTOMER_API_LOOKUP_PATH ?? null,
      auth: toAuth(values),
      headers: values.CUSTOMER_API_HEADERS,
      tokenStyle: values.CUSTOMER_API_TOKEN_STYLE,
      allowedOrigins: values.CUSTOMER_API_ALLOWED_ORIGINS ?? null,
      insecure: values.CUSTOMER_API_INSECURE,
      timeoutMs: values.CUSTOMER_API_TIMEOUT_MS,
      maxRps: values.CUSTOMER_API_MAX_RPS,
      /** null: `park`, or `resend` with the sandbox. */
      unknownOutcome: values.CUSTOMER_API_UNKNOWN_OUTCOME ?? null,
      referenceField: values.CUSTOMER_API_REFERENCE_FIELD ?? null,
      defaultCountry: values.DEFAULT_COUNTRY,
    },
    sync: {
      quietPeriodMs: values.SYNC_QUIET_PERIOD_MS,
      maxWaitMs: values.SYNC_MAX_WAIT_MS,
      concurrency: values.SYNC_CONCURRENCY,
      maxAttempts: values.SYNC_MAX_ATTEMPTS,
      backoff: { minMs: values.SYNC_BACKOFF_MIN_MS, maxMs: values.SYNC_BACKOFF_MAX_MS },
      leaseMs: values.SYNC_LEASE_MS,
      sweepIntervalMs: values.SYNC_SWEEP_INTERVAL_MS,
      shutdownTimeoutMs: values.SYNC_SHUTDOWN_TIMEOUT_MS,
      reconcileIntervalMs: values.SYNC_RECONCILE_INTERVAL_MS,
      backfillOnStart: values.SYNC_BACKFILL_ON_START,
      notify: values.SYNC_NOTIFY,
      userId: values.SYNC_USER_ID,
      onAccountDelete: values.ON_ACCOUNT_DELETE,
      historyRetentionDays: values.HISTORY_RETENTION_DAYS,
    },
    /** Of the messages about a customer's data. */
    language: values.MESSAGES,
    http: { host: values.HTTP_HOST, port: values.HTTP_PORT, token: values.HTTP_TOKEN ?? null },
    log: {
      level: values.LOG_LEVEL,
      format: values.LOG_FORMAT ?? (process.stdout.isTTY ? "pretty" : "json"),
    } as const,
  });
}

function toAuth(values: z.infer<typeof settings>) {
  if (values.CUSTOMER_API_TOKEN !== undefined)
    return { kind: "static", token: values.CUSTOMER_API_TOKEN } as const;
  if (values.CUSTOMER_API_CLIENT_ID === undefined) return { kind: "none" } as const;
  return {
    kind: "client_credentials",
    /** Empty: below the base URL. */
    tokenUrl: values.CUSTOMER_API_TOKEN_URL ?? "",
    clientId: values.CUSTOMER_API_CLIENT_ID,
    clientSecret: values.CUSTOMER_API_CLIENT_SECRET ?? "",
    scope: values.CUSTOMER_API_SCOPE ?? null,
    style: values.CUSTOMER_API_TOKEN_STYLE,
    defaultExpiresInSeconds: 3_600,
  } as const;
}

function readSecretFiles(environment: Environment) {
  const problems: string[] = [];
  const values: Record<string, string> = {};
  for (const [name, value] of Object.entries(environment)) {
    if (value !== undefined && !isUnset(value)) values[name] = value;
  }
  for (const name of SECRETS) {
    const file = values[`${name}_FILE`];
    if (file === undefined) continue;
    if (values[name] !== undefined) {
      problems.push(`${name} and ${name}_FILE are both set: keep one`);
      continue;
    }
    try {
      values[name] = readFileSync(file, "utf8").trim();
    } catch (error) {
      problems.push(
        `${name}_FILE cannot be read: ${error instanceof Error && "code" in error ? error.code : "unknown error"}`,
      );
    }
  }
  // What a URL leaves out, libpq's own variables say.
  for (const name of ["DATABASE_URL", "LISTEN_DATABASE_URL"]) {
    if (values[name] !== undefined) values[name] = completeUrl(values[name], values);
  }
  return { values, problems };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
