/** Connections to a daemon's port that hang, as a scanner or a broken load balancer leaves them: health and metrics answer beside them. */
import { connect, type Socket } from "node:net";
import { afterEach, beforeAll, expect, test } from "vitest";
import { type Sandbox, startSandbox } from "../../src/local/sandbox.ts";
import { eventually } from "../support/eventually.ts";
import { createDatabase } from "../support/postgres.ts";
import { startProcess } from "../support/process.ts";
import { apiEnvironment, readMetric } from "../support/product.ts";

/** The limit, and what one turn of the event loop may take before those that made room are gone. */
const OPEN_FILES_MAX = 256 + 100;

const sockets: Socket[] = [];
let url: string;

beforeAll(async () => {
  const [database, sandbox]: [{ url: string }, Sandbox] = await Promise.all([
    createDatabase(),
    startSandbox(),
  ]);
  const daemon = startProcess({
    args: ["start"],
    env: {
      ...apiEnvironment(sandbox),
      DATABASE_URL: database.url,
      HTTP_PORT: "0",
      LOG_FORMAT: "json",
    },
  });
  ({ url } = JSON.parse(await daemon.waitForLine(/"msg":"started"/)));
  return async () => {
    daemon.signal("SIGTERM");
    await daemon.exit;
    await sandbox.close();
  };
});

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

const HANGING = {
  "send nothing": "",
  "send half a request line": "GET /heal",
  "send headers without an end": "GET /healthz HTTP/1.1\r\nHost: localhost\r\n",
  "send half a body": `POST /api/accounts/retry HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"`,
} as const;

const MANY: readonly string[] = ["send nothing", "send headers without an end"];

test.each(
  Object.entries(HANGING).flatMap(([kind, sent]) =>
    (MANY.includes(kind) ? [300, 2_000] : [300]).map((count) => ({ kind, sent, count })),
  ),
)(
  "beside $count connections that $kind, health and metrics answer within a second",
  async ({ count, sent }) => {
    const memory = await readMetric(url, "process_resident_memory_bytes").catch(() => 0);
    await hang(count, sent);

    for (const path of ["/healthz", "/metrics", "/readyz"]) {
      const beganAt = performance.now();
      const response = await fetch(`${url}${path}`, { signal: AbortSignal.timeout(1_000) });
      expect(response.status).toBe(200);
      await response.text();
      expect(performance.now() - beganAt).toBeLessThan(1_000);
    }
    const metrics = await processMetrics();
    expect(metrics.openFiles).toBeLessThan(OPEN_FILES_MAX);
    expect(metrics.memoryBytes - memory).toBeLessThan(200 * 1024 * 1024);
  },
);

test("connections that hang are closed after some seconds, also when they send a header now and then", async () => {
  const hanging = await hang(100, HANGING["send headers without an end"]);
  const silent = await hang(100, "");
  const dripping = setInterval(() => {
    for (const socket of hanging) socket.write("X-More: 1\r\n");
  }, 200);

  try {
    await eventually(
      () => expect([...hanging, ...silent].filter((socket) => !socket.closed)).toEqual([]),
      { timeoutMs: 8_000 },
    );
  } finally {
    clearInterval(dripping);
  }
  await eventually(async () => expect((await processMetrics()).openFiles).toBeLessThan(100));
});

test("connections that come all the time keep no request out, and no answer that is under way is lost", async () => {
  let isOver = false;
  const opening = (async () => {
    while (!isOver) await hang(50, HANGING["send half a request line"]);
  })();

  try {
    for (let n = 0; n < 20; n += 1) {
      const response = await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(1_000) });
      expect(await response.json()).toEqual({ status: "alive" });
    }
  } finally {
    isOver = true;
    await opening;
  }
});

/** Resolves when all are connected; the daemon may have closed some by then. */
async function hang(count: number, sent: string): Promise<readonly Socket[]> {
  const { hostname, port } = new URL(url);
  const opened = Array.from({ length: count }, () => connect(Number(port), hostname));
  sockets.push(...opened);
  await Promise.all(
    opened.map(
      (socket) =>
        new Promise<void>((resolve) => {
          socket.on("error", () => resolve());
          socket.on("close", () => resolve());
          socket.on("connect", () => {
            if (sent !== "") socket.write(sent);
            resolve();
          });
          socket.resume();
        }),
    ),
  );
  return opened;
}

/** 0 where the machine does not tell. */
async function processMetrics(): Promise<{ openFiles: number; memoryBytes: number }> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const read = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1] ?? 0);
  return {
    openFiles: read("process_open_fds"),
    memoryBytes: read("process_resident_memory_bytes"),
  };
}
