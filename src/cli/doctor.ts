/**
 * `doctor`: what the daemon checks, and what only makes sense when somebody asks: the configuration, the connection itself, and whether
 * the API takes our credentials. Needs no daemon and no migrated database; changes nothing.
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
import { counted, printJson, printLine, printText } from "./output.ts";

const API_TIMEOUT_MS = 10_000;

interface Examination {
  readonly name: string;
  readonly effect: CheckEffect;
  readonly promise: string;
  readonly look: (context: CheckContext) => Promise<readonly Diagnosis[]>;
}

interface Result extends Omit<Examination, "look"> {
  readonly status: "ok" | "warning" | "failed" | "not_checked";
  readonly findings: readonly Diagnosis[];
}

export async function doctor(
  readConfig: () => Config,
  { json }: { readonly json: boolean },
): Promise<number> {
  const results = await examine(readConfig);
  for (const result of results) {
    if (json) printJson(toJson(result));
    else printResult(result);
  }

  const failed = results.filter(({ status }) => status === "failed" || status === "not_checked");
  if (!json) printSummary(results);
  return failed.length > 0 ? 1 : 0;
}

async function examine(readConfig: () => Config): Promise<Result[]> {
  let located: Awaited<ReturnType<typeof locateDatabase>>;
  let isEmbedded: boolean;
  try {
    const config = readConfig();
    isEmbedded = config.database.url === null;
    located = await locateDatabase(config, { sends: true });
  } catch (error) {
    // Bad settings, or no database to be found by them. Without these there is nothing to look at.
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
      // The place it speaks of is the one that it connects to.
      const url = examination.name === "listen" ? config.database.listenUrl : null;
      results.push(await examineOne(examination, context, url ?? databaseUrl));
    }
    return results;
  });
}

const CONFIGURATION: Omit<Examination, "look"> = {
  name: "configuration",
  effect: "stops",
  promise: "the settings are valid",
};

const CONNECTION: Examination = {
  name: "connection",
  effect: "stops",
  promise: "the database answers",
  async look({ db }) {
    await db.run("check_server");
    return [];
  },
};

const databaseExaminations: readonly Examination[] = CHECKS.map((check) => ({
  ...check,
  effect: CHECK_EFFECTS[check.name],
}));

/** Only here: an API that is down must not keep a daemon from starting, and the daemon's circuit notices by itself. */
function apiCredentials(config: Config | null): Examination {
  return {
    name: "api_credentials",
    effect: "fails",
    promise: "the API can be reached and does not refuse our credentials",
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
    // Nobody scrapes a command.
    observe: { apiRequest: () => {} },
    now: () => performance.now(),
    random: Math.random,
  });
  try {
    const parts = { exchange, tokens, userAgent, timeoutMs: API_TIMEOUT_MS };
    return toApiFindings(await tryCredentials(parts, connection), connection);
  } finally {
    await close();
  }
}

async function examineOne(
  examination: Examination,
  context: CheckContext,
  url: string,
): Promise<Result> {
  const result = await lookAt(examination, context);
  if ("findings" in result) return toResult(examination, result.findings);
  return { ...examination, status: "not_checked", findings: [unchecked(result.error, url)] };
}

function toResult(examination: Omit<Examination, "look">, findings: readonly Diagnosis[]): Result {
  const status =
    findings.length === 0 ? "ok" : examination.effect === "warns" ? "warning" : "failed";
  return { ...examination, status, findings };
}

function notChecked(examinations: readonly Examination[], reason: string): Result[] {
  return examinations.map((examination) => ({
    ...examination,
    status: "not_checked",
    findings: [
      {
        problem: `It could not be checked, as ${reason} failed.`,
        remedy: `Correct ${reason} first.`,
      },
    ],
  }));
}

function toJson({ name, promise, status, effect, findings }: Result) {
  return {
    check: name,
    status,
    severity: effect === "warns" ? "warning" : "failure",
    stops_start: effect === "stops",
    promise,
    findings,
  };
}

const MARKS = {
  ok: "ok",
  warning: "WARNING",
  failed: "FAILED",
  not_checked: "NOT CHECKED",
} as const;
const MARK_WIDTH = 13;
const NAME_WIDTH = 23;

function printResult({ name, promise, status, findings }: Result): void {
  const head = MARKS[status].padEnd(MARK_WIDTH) + name.padEnd(NAME_WIDTH);
  const [first = promise] = findings.map(({ problem }) => problem);
  printText(head + indented(first));
  for (const [index, { problem, remedy }] of findings.entries()) {
    if (index > 0) printText(" ".repeat(MARK_WIDTH + NAME_WIDTH) + indented(problem));
    // Told once, by the check that failed.
    if (status !== "not_checked" || !problem.startsWith("It could not be checked, as"))
      printText(`${" ".repeat(MARK_WIDTH + NAME_WIDTH)}→ ${indented(remedy)}`);
  }
}

function indented(text: string): string {
  return text.replaceAll("\n", `\n${" ".repeat(MARK_WIDTH + NAME_WIDTH)}`);
}

function printSummary(results: readonly Result[]): void {
  const count = (status: Result["status"]) =>
    results.filter((result) => result.status === status).length;
  const [failed, unknown, warnings] = [count("failed"), count("not_checked"), count("warning")];
  const told = [
    failed === 0 ? "none failed" : `${failed} failed`,
    ...(unknown === 0 ? [] : [`${unknown} not checked`]),
    ...(warnings === 0 ? [] : [counted(warnings, "warning")]),
  ];
  printLine();
  printLine(`${counted(results.length, "check")}: ${told.join(", ")}.`);
}
