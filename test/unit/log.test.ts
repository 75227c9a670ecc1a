/** Log lines hold no row values, are bounded, and never stop the process that writes them. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { afterEach, expect, test } from "vitest";
import { startHttpServer } from "../../src/ops/http.ts";
import { createLog, type Log } from "../../src/ops/log.ts";

const children: ChildProcess[] = [];

afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

test("a line is one JSON object with its time and level", async () => {
  const lines = await logged((log) => log.info({ account_id: "1" }, "account synced"));

  expect(lines).toEqual([
    {
      level: "info",
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
      pid: process.pid,
      account_id: "1",
      msg: "account synced",
    },
  ]);
});

test("lines below the level are not written", async () => {
  const lines = await logged((log) => log.debug({}, "detail"));

  expect(lines).toEqual([]);
});

test("the pretty format is one readable line", async () => {
  const destination = new PassThrough();
  const log = createLog({ level: "info", format: "pretty", destination });

  log.warn({ account_id: "1" }, "account retry");
  destination.end();

  expect(await text(destination)).toMatch(
    /^\[\d\d:\d\d:\d\d\.\d{3}\] WARN.*: account retry \{"account_id":"1"\}\n$/,
  );
});

test.each([
  ["pretty", "npm start -- retry"],
  ["json", "account-sync retry"],
] as const)("in the %s format commands are named %s", async (format, name) => {
  const destination = new PassThrough();
  const forPerson = (line: string) => line.replace("account-sync", "npm start --");
  const log = createLog({ level: "info", format, destination, forPerson });

  log.warn({ remedy: "account-sync retry", name: "Toko account-sync" }, "account-sync retry");
  destination.end();

  const line = await text(destination);
  expect(line.split(name)).toHaveLength(3);
  expect(line).toContain("Toko account-sync");
});

test("an error of PostgreSQL is named without the values it quotes", async () => {
  const error = Object.assign(new Error('duplicate key: (email)=("budi@example.com")'), {
    name: "error",
    severity: "ERROR",
    code: "23505",
    detail: "Key (email)=(budi@example.com) already exists.",
    where: "budi@example.com",
    schema: "public",
    table: "m_account",
    column: "email",
    constraint: "m_account_email_key",
    routine: "_bt_check_unique",
  });

  const [line] = await logged((log) => log.warn({ err: error }, "database trouble"));

  expect(line?.["err"]).toEqual({
    name: "error",
    severity: "ERROR",
    code: "23505",
    schema: "public",
    table: "m_account",
    column: "email",
    constraint: "m_account_email_key",
    routine: "_bt_check_unique",
  });
});

test("an error of the platform is named without its message, which may quote a body", async () => {
  const error = errorOf(() => JSON.parse('{"ktp": 3171234567890123, oops'));

  const [line] = await logged((log) => log.error({ err: error }, "bug"));

  expect(line?.["err"]).toEqual({ name: "SyntaxError" });
});

test("an error of our own code keeps its message, its frames and the name of its cause", async () => {
  const [line] = await logged(async (log) => {
    const error = await startHttpServer({
      host: "192.0.2.1",
      port: 0,
      token: null,
      metrics: () => Promise.reject(),
      readiness: () => [],
      console: [],
      onError: () => undefined,
    }).catch((refused: Error) => refused);
    if (error instanceof Error) error.cause = new Error("secret of somebody else");
    log.error({ err: error }, "cannot start");
  });

  expect(line?.["err"]).toEqual({
    name: "OperatorError",
    message: expect.stringContaining("HTTP_HOST 192.0.2.1 cannot be listened on"),
    stack: expect.arrayContaining([expect.stringMatching(/^at .*ops\/http\.ts:\d+:\d+\)$/)]),
    cause: { name: "Error" },
  });
});

test("errors are taken apart wherever they stand, and what is no error is only named", async () => {
  const error = new Error("budi@example.com");

  const lines = await logged((log) => {
    log.warn({ failures: [{ reason: error }] }, "nested");
    log.warn({ err: "budi@example.com was thrown" }, "text");
  });

  expect(lines[0]?.["failures"]).toEqual([{ reason: { name: "Error" } }]);
});

test("texts of the driver about its own connection are kept", async () => {
  const error = new Error("Connection terminated unexpectedly");

  const [line] = await logged((log) => log.warn({ err: error }, "database trouble"));

  expect(line?.["err"]).toEqual({ name: "Error", message: "Connection terminated unexpectedly" });
});

test("a line is bounded, whatever is in it", async () => {
  const circular: Record<string, unknown> = { big: 12n, never: () => undefined };
  circular["self"] = circular;
  const many = Array.from({ length: 10_000 }, () => "x".repeat(500));

  const raw = await loggedText((log) =>
    log.info({ error: "e".repeat(100_000), many, circular }, "m".repeat(100_000)),
  );

  expect(raw.length).toBeLessThan(16_000);
  expect(JSON.parse(raw)).toMatchObject({ msg: expect.stringMatching(/^m{1000}…$/) });
});

test("nobody reading stdout does not stop the process, and the lost lines are counted", async () => {
  const child = start(`
    const filler = "x".repeat(200);
    for (let line = 0; line < 50_000; line += 1) log.info({ line, filler }, "account synced");
    process.send({ alive: true, bufferedBytes: process.stdout.writableLength });
    process.once("message", () => log.info({}, "reader is back"));
  `);

  const [message] = await once(child, "message");
  expect(message.alive).toBe(true);
  expect(message.bufferedBytes).toBeLessThan(2 * 1024 * 1024);

  const output = collect(child);
  await output.has('"line":0,');
  await output.has('"line":3000,');
  child.send("go on");
  const lines = (await output.has("reader is back")).split("\n");

  const dropped = lines.find((line) => line.includes("dropped_lines"));
  const written = lines.filter((line) => line.includes("account synced")).length;
  expect(JSON.parse(dropped ?? "{}")).toMatchObject({
    level: "warn",
    dropped_lines: 50_000 - written,
  });
});

test("a closed stdout does not end the process", async () => {
  const child = start(`
    process.on("message", () => {
      for (let line = 0; line < 100; line += 1) log.info({ line }, "account synced");
      // The operating system reports the failed writes in real time.
      setTimeout(() => {
        log.info({}, "still here");
        process.send("alive");
      }, 50);
    });
    process.send("ready");
  `);
  await once(child, "message");

  child.stdout?.destroy();
  child.send("log");
  const [message] = await Promise.race([once(child, "message"), once(child, "exit")]);

  expect(message).toBe("alive");
});

test("the last line before an exit is not lost", async () => {
  const child = start(`
    log.fatal({}, "cannot start");
    process.exit(1);
  `);

  const output = collect(child);

  expect(await output.has("cannot start")).toContain('"level":"fatal"');
});

/** A process with a log on its real stdout, which is a pipe to us. */
function start(body: string) {
  const log = new URL("../../src/ops/log.ts", import.meta.url).href;
  const code = `
    const { createLog } = await import(${JSON.stringify(log)});
    const log = createLog({ level: "info", format: "json" });
    ${body}
  `;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", code], {
    stdio: ["ignore", "pipe", "inherit", "ipc"],
  });
  children.push(child);
  return child;
}

function collect(child: ChildProcess) {
  let output = "";
  child.stdout?.setEncoding("utf8").on("data", (chunk: string) => {
    output += chunk;
  });
  return {
    async has(part: string): Promise<string> {
      while (!output.includes(part)) {
        if (child.stdout === null) throw new Error("the child has no stdout");
        await once(child.stdout, "data");
      }
      return output;
    },
  };
}

async function logged(
  write: (log: Log) => void | Promise<void>,
): Promise<readonly Record<string, unknown>[]> {
  const lines = (await loggedText(write)).split("\n").filter((line) => line !== "");
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

async function loggedText(write: (log: Log) => void | Promise<void>): Promise<string> {
  const destination = new PassThrough({ highWaterMark: 1024 * 1024 });
  await write(createLog({ level: "info", format: "json", destination }));
  destination.end();
  return text(destination);
}

function errorOf(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}
