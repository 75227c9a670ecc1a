/**
 * `doctor`: the daemon's checks, and those that are made on request only: the configuration, the connection itself, and whether
 * the API accepts our credentials. Needs no daemon and no migrated database; changes nothing.
 */
import { defaultConnection, withCheckContext } from "../check-context.ts";
import { type CheckContext, lookAt, unchecked } from "../checks/check.ts";
import { CHECKS } from "../checks/list.ts";
import { CHECK_EFFECTS, type CheckEffect } from "../checks/names.ts";
import type { Config } from "../config.ts";
import type { ApiConnection } from "../customer-api/customer-api.ts";
import { createExchange } from "../customer-api/exchange.ts";
import { createTokens } from "../customer-api/token.ts";
import { tryCredentials } from "../customer-api/trial.ts";
import { type Diagnosis, OperatorError } from "../operator-error.ts";
import { version } from "../version.ts";
import { toApiFindings } from "./api-findings.ts";
import { locateDatabase } from "./connect.ts";
import { type Examined, reportExamined } from "./doctor-report.ts";

const API_TIMEOUT_MS = 10_000;

interface Examination {
  readonly name: string;
  readonly effect: CheckEffect;
  readonly expectation: string;
  readonly look: (context: CheckContext) => Promise<readonly Diagnosis[]>;
}

export async function doctor(
  readConfig: () => Config,
  { json }: { readonly json: boolean },
): Promise<number> {
  const results = await examine(readConfig);
  reportExamined(results, json);
  const isFine = results.every(({ status }) => status === "ok" || status === "warning");
  return isFine ? 0 : 1;
}

async function examine(readConfig: () => Config): Promise<Examined[]> {
  let located: Awaited<ReturnType<typeof locateDatabase>>;
  let isEmbedded: boolean;
  try {
    const config = readConfig();
    isEmbedded = config.database.url === null;
    located = await locateDatabase(config, { sends: true });
  } catch (error) {
    // Bad settings, or settings that lead to no database: nothing else can be checked.
    if (!(error instanceof OperatorError)) throw error;
    const finding = { problem: error.message, remedy: error.hint };
    return [
      toResult(CONFIGURATION, [finding]),
      ...notChecked(
        [CONNECTION, ...databaseExaminations, apiCredentials(null)],
        "the configuration",
      ),
    ];
  }

  const { config, databaseUrl } = located;
  return await withCheckContext(config, databaseUrl, async (common) => {
    const context = { ...common, isEmbedded };
    const configuration = toResult(CONFIGURATION, []);
    const connection = await examineOne(CONNECTION, context, databaseUrl);
    if (connection.status !== "ok") {
      const others = [...databaseExaminations, apiCredentials(null)];
      return [
        configuration,
        { ...connection, status: "failed" },
        ...notChecked(others, "the connection"),
      ];
    }

    const results = [configuration, connection];
    for (const examination of [...databaseExaminations, apiCredentials(config)]) {
      // A failure names the place that the check connects to.
      const url = examination.name === "listen" ? config.database.listenUrl : null;
      results.push(await examineOne(examination, context, url ?? databaseUrl));
    }
    return results;
  });
}

const CONFIGURATION: Omit<Examination, "look"> = {
  name: "configuration",
  effect: "stops",
  expectation: "the settings are valid",
};

const CONNECTION: Examination = {
  name: "connection",
  effect: "stops",
  expectation: "the database answers",
  async look({ db }) {
    await db.run("check_server");
    return [];
  },
};

const databaseExaminations: readonly Examination[] = CHECKS.map((check) => ({
  ...check,
  effect: CHECK_EFFECTS[check.name],
}));

/** Not among the daemon's checks: an API that is down must not keep a daemon from starting, and the daemon has its circuit. */
function apiCredentials(config: Config | null): Examination {
  return {
    name: "api_credentials",
    effect: "fails",
    expectation: "the API can be reached and does not refuse our credentials",
    async look({ db }) {
      if (config === null) return [];
      const connection = await defaultConnection(config, db);
      if ("error" in connection) {
        throw new OperatorError("It is not known where to send customers to.", {
          hint: "Correct what api_configuration has found first.",
        });
      }
      return await tryApi(connection);
    },
  };
}

async function tryApi(connection: ApiConnection): Promise<Diagnosis[]> {
  const { exchange, close } = createExchange({ timeoutMs: API_TIMEOUT_MS });
  const userAgent = `account-sync/${version}`;
  const tokens = createTokens({
    exchange,
    timeoutMs: API_TIMEOUT_MS,
    userAgent,
    // The metrics of a command are never scraped.
    observe: { apiRequest: () => {} },
    now: () => performance.now(),
    random: Math.random,
  });
  try {
    const context = { exchange, tokens, userAgent, timeoutMs: API_TIMEOUT_MS };
    return toApiFindings(await tryCredentials(context, connection), connection);
  } finally {
    await close();
  }
}

async function examineOne(
  examination: Examination,
  context: CheckContext,
  url: string,
): Promise<Examined> {
  const result = await lookAt(examination, context);
  if ("findings" in result) return toResult(examination, result.findings);
  return {
    ...examination,
    status: "not_checked",
    isSkipped: false,
    findings: [unchecked(result.error, url)],
  };
}

function toResult(
  examination: Omit<Examination, "look">,
  findings: readonly Diagnosis[],
): Examined {
  const status =
    findings.length === 0 ? "ok" : examination.effect === "warns" ? "warning" : "failed";
  return { ...examination, status, findings, isSkipped: false };
}

function notChecked(examinations: readonly Examination[], reason: string): Examined[] {
  return examinations.map((examination) => ({
    ...examination,
    status: "not_checked",
    isSkipped: true,
    findings: [
      {
        problem: `It could not be checked, as ${reason} failed.`,
        remedy: `Correct ${reason} first.`,
      },
    ],
  }));
}
