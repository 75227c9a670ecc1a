/** Who may import whom, as data. Value imports only: a type knows nobody's behaviour. */
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const src = fileURLToPath(new URL("../src/", import.meta.url));
const sqlQueries = fileURLToPath(new URL("../sql/queries/", import.meta.url));

/** Folder or file → what it may import besides its own folder. Files at the top and `cli/` wire, so they may import anything. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  // drift.ts compares an account as a sync would send it; reconcile is handed that comparison.
  "capture/": ["account/", "backoff.ts", "clock.ts", "customer-command/", "db/", "exact-json.ts"],
  "queue/": ["backoff.ts", "clock.ts", "db/", "obstacle.ts"],
  "account/": ["db/", "same-id.ts"],
  // Pure; the list of error classes is sync's.
  "customer-command/": ["exact-json.ts", "same-id.ts", "sync/outcome.ts"],
  "sync/": ["account/", "call-on.ts", "clock.ts", "customer-command/", "db/", "same-id.ts"],
  // No folder of ours. What stops the sending is one list with one order, whichever part finds an obstacle.
  "customer-api/": ["backoff.ts", "exact-json.ts", "loopback.ts", "obstacle.ts", "same-id.ts"],
  "db/": ["backoff.ts", "clock.ts", "loopback.ts", "operator-error.ts"],
  // Wires, as commands do; nothing imports it but index.ts.
  "library/": [
    "account/",
    "config.ts",
    "customer-api/answer.ts",
    "customer-api/api-words.ts",
    "customer-command/",
    "db/",
    "exact-json.ts",
    "operator-error.ts",
    "ops/",
    "same-id.ts",
    "wiring.ts",
    "queue/",
    "sync/",
    "version.ts",
  ],
  // Checks look at the database by themselves; what the API says, and where it is, is handed in.
  "checks/": ["db/", "operator-error.ts", "version.ts"],
  // The words of log and metrics: the names of checks are among them.
  "ops/": [
    "exact-json.ts",
    "loopback.ts",
    "operator-error.ts",
    "checks/names.ts",
    "sync/outcome.ts",
  ],
  "console/": [
    "db/raised.ts",
    "exact-json.ts",
    "ops/",
    "queue/sending-words.ts",
    "sync/outcome.ts",
  ],
  // The playground decides whether the sandbox is needed, by the same reading of settings and rows as the daemon.
  "local/": [
    "db/",
    "invocation.ts",
    "operator-error.ts",
    "customer-api/connections.ts",
    "account/source.ts",
  ],
};

/** Pure folders and files: types, each other, and libraries that do no I/O. */
const PURE = [
  "customer-command/",
  "call-on.ts",
  "edit-distance.ts",
  "environment.ts",
  "exact-json.ts",
  "loopback.ts",
  "missing-database.ts",
  "obstacle.ts",
  "account/mapped-ids.ts",
  "same-id.ts",
  "service-links.ts",
  "unknown-settings.ts",
  "capture/notification.ts",
  "checks/names.ts",
  "cli/account-advice.ts",
  "cli/api-findings.ts",
  "cli/wording.ts",
  "customer-api/allowed-url.ts",
  "customer-api/api-words.ts",
  "customer-api/config-row.ts",
  "customer-api/environment-connection.ts",
  "customer-api/error-messages.ts",
  "customer-api/failure.ts",
  "customer-api/json.ts",
  "customer-api/judgement.ts",
  "customer-api/lookup.ts",
  "customer-api/mask.ts",
  "customer-api/masked-error.ts",
  "customer-api/request.ts",
  "customer-api/requested-wait.ts",
  "customer-api/token-failure.ts",
  "customer-api/answer.ts",
  "backoff.ts",
  "db/raised.ts",
  "queue/sending-words.ts",
  "sync/choice.ts",
  "sync/outcome.ts",
];

/** Libraries with exactly one home. */
const HOMES: Readonly<Record<string, string>> = {
  undici: "customer-api/exchange.ts",
  "prom-client": "ops/metrics.ts",
  pino: "ops/log.ts",
  fastify: "local/sandbox.ts ops/http.ts",
  "pg-listen": "capture/listener.ts",
  "postgres-migrations": "db/missing-migrations.ts",
  oauth4webapi: "customer-api/token-request.ts",
  cockatiel: "customer-api/circuit.ts",
  dataloader: "db/batched.ts",
  "libphonenumber-js": "customer-command/phone.ts",
};

interface Import {
  readonly from: string;
  readonly to: string;
  readonly isLocal: boolean;
}

const files = readdirSync(src, { recursive: true, encoding: "utf8" }).filter((file) =>
  file.endsWith(".ts"),
);
const imports = files.flatMap(importsOf);
const local = imports.filter((one) => one.isLocal);

test("the imports are found", () => {
  expect(local.map(toText)).toContain("daemon.ts → wiring.ts");
  expect(local.length).toBeGreaterThan(50);
});

test("every folder imports only what it may", () => {
  const forbidden = local.filter(({ from, to }) => {
    const folder = Object.keys(MAY_IMPORT).find((name) => from.startsWith(name));
    if (folder === undefined || to.startsWith(folder)) return false;
    return !MAY_IMPORT[folder]?.some((allowed) => to.startsWith(allowed));
  });

  expect(forbidden.map(toText)).toEqual([]);
});

test("every folder of src has its rule", () => {
  const folders = new Set(
    files.filter((file) => file.includes("/")).map((file) => `${file.split("/")[0]}/`),
  );
  folders.delete("cli/");

  expect([...folders].sort()).toEqual(Object.keys(MAY_IMPORT).sort());
});

test("pure files import nothing that does I/O", () => {
  const isPure = (file: string) => PURE.some((pure) => file.startsWith(pure));
  const io = imports.filter(
    ({ from, to, isLocal }) =>
      isPure(from) &&
      (isLocal ? !isPure(to) : /^(?:node:(?!crypto$)|pg|undici|fastify|pino)/.test(to)),
  );

  expect(io.map(toText)).toEqual([]);
});

test("local/ is loaded by the command line only, and never at the start of main", () => {
  const loaders = local.filter(
    ({ from, to }) => to.startsWith("local/") && !from.startsWith("local/"),
  );

  expect(loaders.filter(({ from }) => !from.startsWith("cli/")).map(toText)).toEqual([]);
});

test("src/ imports nothing of the tests or of the benchmark", () => {
  expect(local.filter(({ to }) => to.startsWith("..")).map(toText)).toEqual([]);
});

test("main.ts and index.ts say on any Node that it is too old: until then nothing is linked that may be missing", () => {
  const linked = new Set(["main.ts", "index.ts"]);
  for (const file of linked) {
    for (const { from, to } of local) if (from === file) linked.add(to);
  }

  expect([...linked].sort()).toEqual([
    "index.ts",
    "main.ts",
    "node-version.ts",
    "operator-error.ts",
    "refuse-old-node.ts",
  ]);
  expect(imports.filter(({ from, isLocal }) => linked.has(from) && !isLocal)).toEqual([]);
});

test.each(Object.entries(HOMES))("%s has one home: %s", (library, homes) => {
  const users = new Set(
    imports
      .filter(({ to }) => to === library || to.startsWith(`${library}/`))
      .map(({ from }) => from),
  );

  expect([...users].sort()).toEqual(homes.split(" "));
});

test("no file reads the environment but the configuration", () => {
  const readers = files.filter((file) => /process\.env\b/.test(readFileSync(src + file, "utf8")));

  expect(
    readers.filter(
      (file) => !["main.ts", "index.ts", "config.ts"].includes(file) && !file.startsWith("local/"),
    ),
  ).toEqual([]);
});

test("a query that writes is run by the part in whose folder it lies", () => {
  const writing = new Map(
    readdirSync(sqlQueries, { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".sql"))
      .filter((file) =>
        /^\s*(?:insert|update|delete)\b|\((?:insert|update|delete)\b/m.test(
          readFileSync(sqlQueries + file, "utf8"),
        ),
      )
      .map((file) => [basename(file, ".sql"), `${dirname(file)}/`]),
  );
  const strangers = files.flatMap((file) =>
    [...readFileSync(src + file, "utf8").matchAll(/"([a-z]+(?:_[a-z]+)+)"/g)]
      .map(([, name = ""]) => ({ name, folder: writing.get(name) }))
      .filter(({ folder }) => folder !== undefined && !file.startsWith(folder))
      .map(({ name, folder }) => `${file} runs ${folder}${name}`),
  );

  expect(writing.size).toBeGreaterThan(20);
  expect(strangers).toEqual([]);
});

test("no two types have one name", () => {
  const homes = Map.groupBy(
    files.flatMap((file) =>
      [
        ...readFileSync(src + file, "utf8").matchAll(
          /^(?:export )?(?:interface|type|class) (\w+)/gm,
        ),
      ].map(([, name = ""]) => ({ name, file })),
    ),
    ({ name }) => name,
  );
  const shared = [...homes]
    .filter(([, places]) => places.length > 1)
    .map(([name, places]) => `${name}: ${places.map(({ file }) => file).join(", ")}`);

  expect(shared).toEqual([]);
});

test("imports make no circle", () => {
  const importsByFile = Map.groupBy(local, ({ from }) => from);
  const done = new Set<string>();
  const circles: string[] = [];
  const visit = (file: string, path: readonly string[]) => {
    if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(" → "));
    if (done.has(file) || path.includes(file)) return;
    for (const { to } of importsByFile.get(file) ?? []) visit(to, [...path, file]);
    done.add(file);
  };
  for (const file of files) visit(file, []);

  expect(circles).toEqual([]);
});

function importsOf(file: string): Import[] {
  const text = readFileSync(src + file, "utf8");
  // Whole-statement `import type` is no import; neither is one that names types only.
  const statements = text.matchAll(
    /^(?:import|export)\s+(?!type\b)(?:([^;"']*?)\s+from\s+)?["']([^"']+)["']/gms,
  );
  return [...statements]
    .filter(
      ([, names]) =>
        names === undefined || !/^\{\s*(?:type\s+\w+(?:\s+as\s+\w+)?\s*,?\s*)+\}$/.test(names),
    )
    .map(([, , to]) => {
      const target = to ?? "";
      const isLocal = target.startsWith(".");
      return {
        from: file,
        isLocal,
        to: isLocal ? relative(src, resolve(src, dirname(file), target)) : target,
      };
    });
}

function toText({ from, to }: Import): string {
  return `${from} → ${to}`;
}
