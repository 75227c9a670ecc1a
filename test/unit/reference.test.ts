/**
 * The reference pages are complete, and name nothing that does not exist. The product is asked, not its source text: the command line
 * for its help, the registry for its metrics, the compiler for the keys of types. Settings: environments.test.ts; SQL: test/db/reference.test.ts.
 */
import { existsSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { commandNames, runCommandLine } from "../../src/cli/command-line.ts";
import { knownNames } from "../../src/config.ts";
import { apiRoutes } from "../../src/console/api.ts";
import { MESSAGES } from "../../src/customer-command/messages.ts";
import type {
  AccountData,
  AccountSync,
  AccountSyncOptions,
  AddressData,
  ApiOptions,
  BankAccountData,
  CustomerRecord,
  FailedUpdate,
  Finding,
  NotValidResult,
  PackageTierData,
  PicData,
  PicDetail,
  Preview,
  ProcessingResult,
  RefusalDetails,
  RefusedResult,
  RowsRecord,
  SyncedResult,
  TierDetail,
  UpdateResult,
  ValidationResult,
} from "../../src/index.ts";
import * as library from "../../src/index.ts";
import { createMetrics } from "../../src/ops/metrics.ts";
import { listDocuments } from "../support/deploy.ts";

const toPath = (file: string) => fileURLToPath(new URL(`../../${file}`, import.meta.url));
const read = (file: string) => readFileSync(toPath(file), "utf8");
const page = (name: string) => read(`docs/reference/${name}.md`);

/** All keys of a type: the compiler refuses a list that lacks one, or has another. */
type Keys<T> = Readonly<Record<keyof Required<T>, true>>;

const FUNCTIONS = {
  syncCustomerToExternalApi: true,
  retryFailedUpdates: true,
  processExternalApiResponse: true,
  updateAccount: true,
  updatePackageTier: true,
  updateAccountPIC: true,
  transformCustomerData: true,
  validateCustomerData: true,
  debugCustomerData: true,
  previewCustomerData: true,
  getAvailableBackendConfigs: true,
  close: true,
} as const satisfies Keys<AccountSync>;

const OPTIONS = {
  database: true,
  api: true,
  configId: true,
  userId: true,
  messages: true,
  concurrency: true,
  waitMs: true,
  log: true,
} as const satisfies Keys<AccountSyncOptions>;

const API_OPTIONS = {
  url: true,
  path: true,
  updateMethod: true,
  updatePath: true,
  token: true,
  clientId: true,
  clientSecret: true,
  tokenUrl: true,
  scope: true,
  tokenStyle: true,
  headers: true,
  timeoutMs: true,
  maxRps: true,
  unknownOutcome: true,
  notAppliedStatuses: true,
  lookupPath: true,
  lookupFirst: true,
  referenceField: true,
  allowedOrigins: true,
  insecure: true,
} as const satisfies Keys<ApiOptions>;

const account = {
  id: true,
  account_no: true,
  name: true,
  phone_no: true,
  email: true,
  account_type_id: true,
  account_type: true,
  parentId: true,
  parent: true,
  is_active: true,
  no_ktp: true,
  no_npwp: true,
  uuid_be: true,
  branch_uuid_be: true,
  package_tiers: true,
  pics: true,
  account_pic: true,
  addresses: true,
  account_address: true,
  account_bank: true,
} as const satisfies Keys<AccountData>;

const tier = {
  id: true,
  min_value: true,
  max_value: true,
  amount: true,
  start_date: true,
  end_date: true,
  percentage: true,
  is_active: true,
  billing_method: true,
  uuid_be: true,
} as const satisfies Keys<PackageTierData>;

const pic = {
  id: true,
  name: true,
  phone_no: true,
  email: true,
  no_ktp: true,
  no_npwp: true,
  username: true,
  is_active: true,
  created_at: true,
  uuid_be: true,
} as const satisfies Keys<PicData>;

const address = {
  id: true,
  address1: true,
  address2: true,
  sub_district: true,
  city: true,
  province: true,
  country: true,
  postalcode: true,
  is_primary: true,
  is_active: true,
  created_at: true,
} as const satisfies Keys<AddressData>;

const bankAccount = {
  id: true,
  bank_id: true,
  bank: true,
  bank_account_no: true,
  bank_account_holder_name: true,
  bank_account_holder_firstname: true,
  bank_account_holder_lastname: true,
  is_active: true,
  created_at: true,
} as const satisfies Keys<BankAccountData>;

const synced = {
  success: true,
  response: true,
  customerData: true,
  processingResult: true,
} as const satisfies Keys<SyncedResult>;

const notValid = {
  success: true,
  error: true,
  validationResult: true,
  customerData: true,
} as const satisfies Keys<NotValidResult>;

const refused = {
  success: true,
  error: true,
  details: true,
  customerData: true,
} as const satisfies Keys<RefusedResult>;

const refusal = {
  httpStatus: true,
  errorClass: true,
  delivery: true,
  retryAfterMs: true,
  explanation: true,
} as const satisfies Keys<RefusalDetails>;

const validation = {
  isValid: true,
  errors: true,
  warnings: true,
  summary: true,
} as const satisfies Keys<ValidationResult>;

const finding = { field: true, rule: true, message: true } as const satisfies Keys<Finding>;

const processing = {
  success: true,
  error: true,
  updatedRecords: true,
  errors: true,
  summary: true,
  failedUpdates: true,
} as const satisfies Keys<ProcessingResult>;

const processingSummary = {
  totalUpdated: true,
  totalErrors: true,
} as const satisfies Keys<ProcessingResult["summary"]>;

const customerRecord = {
  success: true,
  type: true,
  accountId: true,
  uuidBe: true,
  updatedAt: true,
} as const satisfies Keys<CustomerRecord>;

const rowsRecord = {
  success: true,
  type: true,
  updatedCount: true,
  failedCount: true,
  details: true,
} as const satisfies Keys<RowsRecord>;

const tierDetail = {
  success: true,
  tierId: true,
  uuidBe: true,
  error: true,
} as const satisfies Keys<TierDetail>;

const picDetail = {
  success: true,
  picId: true,
  uuidBe: true,
  error: true,
} as const satisfies Keys<PicDetail>;

const failedUpdate = {
  type: true,
  id: true,
  uuidBe: true,
  idempotencyKey: true,
} as const satisfies Keys<FailedUpdate>;

const update = {
  success: true,
  id: true,
  uuidBe: true,
  updatedAt: true,
  error: true,
} as const satisfies Keys<UpdateResult>;

const preview = {
  success: true,
  mode: true,
  originalData: true,
  transformedData: true,
  validationResult: true,
  previewData: true,
  debugReport: true,
  summary: true,
} as const satisfies Keys<Preview>;

const debugReport = {
  operation: true,
  obstacle: true,
  mapping: true,
  recommendations: true,
  difference: true,
  integrityFindings: true,
} as const satisfies Keys<Preview["debugReport"]>;

const SHAPES = {
  account,
  tier,
  pic,
  address,
  bankAccount,
  synced,
  notValid,
  refused,
  refusal,
  validation,
  finding,
  processing,
  processingSummary,
  customerRecord,
  rowsRecord,
  tierDetail,
  picDetail,
  failedUpdate,
  update,
  preview,
  debugReport,
};

describe("commands", () => {
  const text = page("commands");
  const sections = text.split(/^## /m).slice(1);
  const documented = sections.map((section) => section.split("\n")[0] ?? "");

  test("every command has a section, and no other has", () => {
    expect(documented.filter((name) => name !== "Exit codes").toSorted()).toEqual(
      commandNames().toSorted(),
    );
  });

  test.each(commandNames())("%s: options, defaults and arguments as in its help", async (name) => {
    const help = await helpOf(name);
    const section = sections.find((each) => each.startsWith(`${name}\n`)) ?? "";
    const rows = rowsOf(section).filter(([first = ""]) => first.startsWith("`--"));
    const shown = optionsIn(help).filter(({ flags }) => flags !== "--json");

    expect(rows.map(([flags = ""]) => flags.replaceAll("`", ""))).toEqual(
      shown.map(({ flags }) => flags),
    );
    for (const { flags, fallback } of shown) {
      const [, meaning = ""] = rows.find(([first]) => first === `\`${flags}\``) ?? [];
      if (fallback !== null) expect(meaning.replaceAll("`", "")).toContain(fallback);
    }
    const [, argument] = /^Usage: .*\[options\](?: (.+))?$/m.exec(help) ?? [];
    if (argument !== undefined)
      expect(section).toContain(`\`${name} ${argument.replace("...", "…")}\``);
  });

  test("no option is named that no command has", async () => {
    const helps = await Promise.all(commandNames().map(helpOf));
    const known = ["--help", "--version", ...helps.flatMap((help) => help.match(/--[a-z-]+/g))];
    const named = new Set(text.match(/(?<=[\s`])--[a-z][a-z-]*/g));

    expect([...named].filter((option) => !known.includes(option))).toEqual([]);
  });
});

describe("metrics", () => {
  const text = page("metrics");
  const rows = rowsOf(text).filter(([first = ""]) => first.startsWith("`account_sync_"));
  let scraped: Metric[];

  beforeAll(async () => {
    scraped = await scrape();
  });

  test("every metric has a row with its type and labels, and no other has", () => {
    const documented = rows.map(([name = "", type = "", labels = ""]) => ({
      name: name.replaceAll("`", ""),
      type,
      labels: codeIn(labels),
    }));

    expect(byName(documented)).toEqual(
      byName(scraped.map(({ name, type, values }) => ({ name, type, labels: [...values.keys()] }))),
    );
  });

  test("every label has a row with its values, and no other has", () => {
    const documented = rowsOf(text.split("## Label values")[1] ?? "").slice(1);
    const valuesOf = (label: string, metric: string) => {
      const [, values = ""] =
        documented.find(([first]) => first === `\`${label}\` of \`${metric}\``) ??
        documented.find(([first]) => first === `\`${label}\``) ??
        [];
      return codeIn(values).toSorted();
    };

    const labels = scraped.flatMap(({ name, values }) =>
      [...values].map(([label, given]) => ({ name, label, given: [...given].toSorted() })),
    );
    // Any version.
    for (const { name, label, given } of labels.filter(({ label }) => label !== "version"))
      expect([name, label, valuesOf(label, name)]).toEqual([name, label, given]);
    expect(new Set(documented.map(([first = ""]) => codeIn(first)[0]))).toEqual(
      new Set(labels.map(({ label }) => label)),
    );
  });

  test("error classes, outcomes and states are those of errors.md", () => {
    const [states, outcomes, classes] = ["Account states", "Outcomes", "Error classes"].map(
      (heading) => firstColumn(page("errors"), heading).toSorted(),
    );

    expect(states).toEqual([...valuesIn("pending_accounts", "state"), "clean"].toSorted());
    expect(outcomes).toEqual(valuesIn("runs_total", "outcome").toSorted());
    expect(classes).toEqual(valuesIn("failed_total", "reason").toSorted());
  });

  test("checks are those of the runbook, beside the three that only doctor makes", () => {
    const checks = firstColumn(read("docs/runbook.md"), "Checks");
    const ofDoctor = ["configuration", "connection", "api_credentials"];

    expect(checks.toSorted()).toEqual([...valuesIn("check_ok", "check"), ...ofDoctor].toSorted());
  });

  function valuesIn(metric: string, label: string): string[] {
    const found = scraped.find(({ name }) => name === `account_sync_${metric}`);
    return [...(found?.values.get(label) ?? [])];
  }
});

test("validation: every rule has a row, and no other has", () => {
  const documented = rowsOf(page("validation")).flatMap(([, , , rule = ""]) => codeIn(rule));

  expect([...new Set(documented)].toSorted()).toEqual(Object.keys(MESSAGES).toSorted());
});

test("settings: every name of a setting that the documents have is one", () => {
  const pages = ["README.md", "docs/runbook.md", "docs/install.md"].map(read);
  const texts = [...pages, ...["settings", "commands", "library", "sql", "http"].map(page)];
  const names = texts.join("\n").match(/\b(?:SYNC|CUSTOMER_API|HTTP|LOG|DATABASE)_[A-Z_]*[A-Z]\b/g);

  expect([...new Set(names)].filter((name) => !knownNames().includes(name))).toEqual([]);
});

test("secrets: the page lists those that may come from a file, and no other", () => {
  const [, section = ""] = page("settings").split("## Secrets from files");
  const [list = ""] = section.split(/\bmay\s+also\s+come/);

  expect(codeIn(list).toSorted()).toEqual(
    knownNames()
      .filter((name) => name.endsWith("_FILE"))
      .map((name) => name.replace(/_FILE$/, ""))
      .toSorted(),
  );
});

test("http: every endpoint has a row, and no other has", () => {
  const nothing = {} as Parameters<typeof apiRoutes>[0];
  const ofConsole = apiRoutes(nothing).map(({ method, path }) => `${method} ${path}`);
  const routes = ["GET /metrics", "GET /healthz", "GET /readyz", "GET /", ...ofConsole];

  expect(
    rowsOf(page("http").split("## Authentication")[0] ?? "")
      .slice(1)
      .flatMap(([endpoint = ""]) => codeIn(endpoint))
      .toSorted(),
  ).toEqual(routes.map((route) => route.replace(":id", "{id}")).toSorted());
});

describe("library", () => {
  const text = page("library");
  const code = codeIn(text).join(" ");

  test("every export is listed, and no other is", () => {
    const source = read("src/index.ts");
    const types = [...source.matchAll(/export type \{([^}]*)\}/g)].flatMap(([, names = ""]) =>
      names.split(",").map((name) => name.trim()),
    );
    const exported = [...Object.keys(library), ...types.filter((name) => name !== "")];

    expect(codeIn(text.split("## Exports")[1] ?? "").toSorted()).toEqual(exported.toSorted());
  });

  test("every function is in the table, and no other is", () => {
    const functions = firstColumn(text, "Functions").map((call) => call.replace(/\(.*/, ""));

    expect(functions.toSorted()).toEqual(Object.keys(FUNCTIONS).toSorted());
  });

  test("every option is in the table, and no other is", () => {
    expect(firstColumn(text, "createAccountSync")).toEqual(Object.keys(OPTIONS));
    const [, api = ""] = /`api` has one key per [^:]*: (.*?)\. Only/s.exec(text) ?? [];
    expect(codeIn(api)).toEqual(Object.keys(API_OPTIONS));
  });

  test.each(Object.entries(SHAPES))("every key of %s is named", (_, keys) => {
    const missing = Object.keys(keys).filter((key) => !new RegExp(`\\b${key}\\b`).test(code));

    expect(missing).toEqual([]);
  });
});

test.each(listDocuments())(
  "%s: every link leads to a file and a heading that are there",
  (file) => {
    const links = [...read(file).matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)/g)].map(
      ([, path = "", anchor]) => ({
        target: path === "" ? file : posix.join(posix.dirname(file), path),
        anchor,
      }),
    );

    expect(links.filter(({ target }) => !existsSync(toPath(target)))).toEqual([]);
    expect(
      links.filter(
        ({ target, anchor }) => anchor !== undefined && !anchorsOf(target).includes(anchor),
      ),
    ).toEqual([]);
  },
);

function anchorsOf(file: string): string[] {
  return [...read(file).matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

async function helpOf(command: string): Promise<string> {
  const written: string[] = [];
  const stdout = vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    written.push(String(text));
    return true;
  });
  try {
    const surroundings = { environment: {}, leave: () => {} };
    await runCommandLine(["node", "main.ts", "help", command], surroundings);
  } finally {
    stdout.mockRestore();
  }
  return written.join("");
}

/** Flags as the help has them, and the default it tells. */
function optionsIn(help: string) {
  const [, list = ""] = /^Options:\n(.*?)\n\n/ms.exec(help) ?? [];
  return list
    .split(/\n(?= {2}-)/)
    .map((entry) => {
      const [, flags = ""] = /^ *(?:-\w, )?(--[\w-]+(?: <[^>]+>)?)/.exec(entry) ?? [];
      const [, fallback = null] = /\(default: "?([^")]+)"?\)/.exec(entry) ?? [];
      return { flags, fallback };
    })
    .filter(({ flags }) => flags !== "--help");
}

interface Metric {
  readonly name: string;
  readonly type: string;
  /** By label. */
  readonly values: ReadonlyMap<string, ReadonlySet<string>>;
}

/** Every metric of ours; each label value is there from the start. */
async function scrape(): Promise<Metric[]> {
  const byState = { waiting: 0, due: 0, running: 0, retrying: 0, parked: 0, blocked: 0 };
  const queueStatus = async () => ({ byState, oldestPendingSeconds: 0 });
  const { body } = await createMetrics({ version: "1.2.3", queueStatus }).scrape();

  return [...body.matchAll(/^# TYPE (account_sync_\w+) (\w+)$/gm)].map(
    ([, name = "", type = ""]) => {
      const values = new Map<string, Set<string>>();
      for (const [, labels = ""] of body.matchAll(
        new RegExp(`^${name}(?:_bucket)?\\{(.*)\\}`, "gm"),
      )) {
        for (const [, label = "", value = ""] of labels.matchAll(/(\w+)="([^"]*)"/g)) {
          if (label !== "le") values.set(label, (values.get(label) ?? new Set()).add(value));
        }
      }
      return { name, type, values };
    },
  );
}

function byName<Named extends { readonly name: string }>(metrics: readonly Named[]): Named[] {
  return metrics.toSorted((one, other) => one.name.localeCompare(other.name));
}

/** The code in the first column of the first table below a heading. */
function firstColumn(text: string, heading: string): string[] {
  const [, below = ""] = text.split(new RegExp(`^##+ ${heading}$`, "m"));
  const [table = ""] = /(?:^\|.*\n)+/m.exec(below) ?? [];
  return rowsOf(table)
    .slice(1)
    .flatMap(([first = ""]) => codeIn(first));
}

/** The cells of every row of a table, the headings' too. */
function rowsOf(text: string): string[][] {
  return text
    .split("\n")
    .filter((line) => line.startsWith("| "))
    .map((line) => line.split("|").map((cell) => cell.trim()))
    .map((cells) => cells.slice(1, -1));
}

/** Inline code; blocks of code do not count. */
function codeIn(text: string): string[] {
  const prose = text.replaceAll(/^```.*?^```$/gms, "");
  return [...prose.matchAll(/`([^`]+)`/g)].map(([, code = ""]) => code);
}
