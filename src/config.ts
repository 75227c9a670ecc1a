/**
 * Environment → frozen, typed Config. The only reader of process.env.
 *
 * A bad value stops the start with every problem listed by name; a secret may also come from a file (`NAME_FILE`).
 */
import { readFileSync } from "node:fs";
import { completeUrl, type UrlSetting } from "./db/connection-url.ts";
import { type Environment, isUnset } from "./environment.ts";
import { describeMissingDatabase } from "./missing-database.ts";
import { OperatorError } from "./operator-error.ts";
import { findServiceLinkValues } from "./service-links.ts";
import { type Settings, settings } from "./settings.ts";
import { findUnknownSettings, type UnknownSetting } from "./unknown-settings.ts";

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
        hint: "Correct the environment and start again; docs/reference/settings.md lists every setting.",
        exitCode: 2,
      },
    );
  }
  return toConfig(values);
}

/** The value of each setting, including defaults, or everything that is wrong. */
export function readSettings(
  environment: Environment,
  { usesOwnDatabase = false }: ReadOptions = {},
):
  | { readonly values: Settings; readonly problems: readonly [] }
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

/** Variables that are probably misspelled settings. */
export function unknownSettings(environment: Environment): UnknownSetting[] {
  return findUnknownSettings(environment, knownNames());
}

/** Every name that is read from the environment. */
export function knownNames(): string[] {
  return [...Object.keys(settings.shape), ...SECRETS.map((name) => `${name}_FILE`)];
}

/** Whether the value is a secret, which is never shown. */
export function isSecret(name: string): boolean {
  return SECRETS.some((secret) => secret === name);
}

/** Where a session of our own is had: for LISTEN, for migrations. */
export function directDatabase(
  { database }: Pick<Config, "database">,
  databaseUrl: string,
): { readonly url: string; readonly setting: UrlSetting } {
  return database.listenUrl === null
    ? { url: databaseUrl, setting: "DATABASE_URL" }
    : { url: database.listenUrl, setting: "LISTEN_DATABASE_URL" };
}

function toConfig(values: Settings) {
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
      lookupFirst: values.CUSTOMER_API_LOOKUP_FIRST,
      notAppliedStatuses: values.CUSTOMER_API_NOT_APPLIED_STATUSES,
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
      /** null: by what is in flight (shutdown-timeout.ts). */
      shutdownTimeoutMs: values.SYNC_SHUTDOWN_TIMEOUT_MS ?? null,
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

function toAuth(values: Settings) {
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
      const secret = readFileSync(file, "utf8").trim();
      if (secret === "") problems.push(`${name}_FILE names an empty file`);
      else values[name] = secret;
    } catch (error) {
      problems.push(
        `${name}_FILE cannot be read: ${error instanceof Error && "code" in error ? error.code : "unknown error"}`,
      );
    }
  }
  // The variables of libpq supply what a URL does not say.
  for (const name of ["DATABASE_URL", "LISTEN_DATABASE_URL"]) {
    if (values[name] !== undefined) values[name] = completeUrl(values[name], values);
  }
  return { values, problems };
}
