/** What the library is told, as the settings of the environment: read, checked and refused like those. */
import type { Config } from "../config.ts";
import { readConfig } from "../config.ts";
import type { Environment } from "../environment.ts";
import type { AccountSyncOptions, ApiOptions } from "./contract.ts";

const SETTINGS = {
  url: "CUSTOMER_API_URL",
  path: "CUSTOMER_API_PATH",
  updateMethod: "CUSTOMER_API_UPDATE_METHOD",
  updatePath: "CUSTOMER_API_UPDATE_PATH",
  token: "CUSTOMER_API_TOKEN",
  clientId: "CUSTOMER_API_CLIENT_ID",
  clientSecret: "CUSTOMER_API_CLIENT_SECRET",
  tokenUrl: "CUSTOMER_API_TOKEN_URL",
  scope: "CUSTOMER_API_SCOPE",
  tokenStyle: "CUSTOMER_API_TOKEN_STYLE",
  headers: "CUSTOMER_API_HEADERS",
  timeoutMs: "CUSTOMER_API_TIMEOUT_MS",
  maxRps: "CUSTOMER_API_MAX_RPS",
  unknownOutcome: "CUSTOMER_API_UNKNOWN_OUTCOME",
  notAppliedStatuses: "CUSTOMER_API_NOT_APPLIED_STATUSES",
  lookupPath: "CUSTOMER_API_LOOKUP_PATH",
  lookupFirst: "CUSTOMER_API_LOOKUP_FIRST",
  referenceField: "CUSTOMER_API_REFERENCE_FIELD",
  allowedOrigins: "CUSTOMER_API_ALLOWED_ORIGINS",
  insecure: "CUSTOMER_API_INSECURE",
} as const satisfies Record<keyof ApiOptions, string>;

/** @throws OperatorError that names every problem */
export function toConfig(options: AccountSyncOptions, environment: Environment): Config {
  const { database, api, configId, userId, messages, concurrency } = options;
  const told: Record<string, string | undefined> = {
    ...(api === undefined ? environment : withoutApi(environment)),
    ...(api === undefined ? {} : toSettings(api)),
  };
  if (typeof database === "string") told["DATABASE_URL"] = database;
  if (configId !== undefined) {
    told["CUSTOMER_API_CONFIG_ID"] = configId;
    // Else the environment's URL would be the one that calls without a configuration go to.
    if (api === undefined) told["CUSTOMER_API_URL"] = undefined;
  }
  if (userId !== undefined) told["SYNC_USER_ID"] = userId;
  if (messages !== undefined) told["MESSAGES"] = messages;
  if (concurrency !== undefined) told["SYNC_CONCURRENCY"] = String(concurrency);
  // The library never uses the embedded database; a pool is not in the settings.
  return readConfig(told, { usesOwnDatabase: true });
}

function withoutApi(environment: Environment): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.entries(environment).filter(([name]) => !name.startsWith("CUSTOMER_API_")),
  );
}

function toSettings(api: ApiOptions): Record<string, string> {
  return Object.fromEntries(
    Object.entries(SETTINGS).flatMap(([option, setting]) => {
      const value = api[option as keyof ApiOptions];
      if (value === undefined) return [];
      const text = Array.isArray(value)
        ? value.join(",")
        : typeof value === "object"
          ? JSON.stringify(value)
          : String(value);
      return [[setting, text]];
    }),
  );
}
