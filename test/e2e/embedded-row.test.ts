/**
 * Where the invented accounts of the embedded database go. A row of m_backend_ext_config in it was written by hand, so it decides at the next
 * start, which warns of it; commands send where the running start does.
 */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startProcess } from "../support/process.ts";

const WARNING = /a row of m_backend_ext_config says where to send/;
/** The discard port of this machine: nothing listens there, and if something did, it would get nothing. */
const ELSEWHERE = "https://127.0.0.1:9";

const SAMPLE = "11111111-1111-4111-8111-111111111111";

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "account-sync-test-embedded-row-"));
  // As root, a database that its server's user cannot reach here would be made elsewhere, and stay there.
  await chmod(folder, 0o755);
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

test("the start after it was written uses it instead of the sandbox, and says so", async () => {
  const first = start();
  await first.waitForLine(/^Ctrl-C/, 30_000);
  await insertRow();
  first.signal("SIGTERM");
  await first.exit;

  const second = start();
  await second.waitForLine(/^Ctrl-C/, 30_000);
  second.signal("SIGTERM");
  await second.exit;

  expect(first.stdout.filter((line) => WARNING.test(line))).toEqual([]);
  expect(first.stdout.find((line) => line.startsWith("  API"))).toContain("a sandbox on");
  expect(second.stdout.filter((line) => WARNING.test(line))).toHaveLength(1);
  expect(second.stdout.find((line) => line.startsWith("  API"))).not.toContain("sandbox");
});

test("commands send where the running start does: not to a row written since, nor to a port that a former one had", async () => {
  const cwd = join(folder, "running");
  await mkdir(cwd);
  const running = startProcess({ cwd, env: { HTTP_PORT: "0" } });
  await running.waitForLine(/^Ctrl-C/, 30_000);
  const heard: string[] = [];
  const foreign = createServer((request, response) => {
    heard.push(request.url ?? "");
    response.end("{}");
  }).listen(0, "127.0.0.1");
  await once(foreign, "listening");
  const { port } = foreign.address() as AddressInfo;
  await insertRow(cwd, `http://127.0.0.1:${port}`);

  const sync = startProcess({ cwd, args: ["sync", SAMPLE] });
  await sync.exit;
  await writeFile(join(cwd, ".data/api"), JSON.stringify({ pid: 1, sandboxPort: port }));
  const stale = startProcess({ cwd, args: ["sync", SAMPLE] });
  const { code } = await stale.exit;
  running.signal("SIGTERM");
  await running.exit;
  foreign.close();

  expect(JSON.parse(sync.stdout[0] ?? "")).toMatchObject({ success: true });
  expect([code, stale.stderr[0]]).toEqual([1, expect.stringContaining("is being started")]);
  expect(heard).toEqual([]);
});

function start() {
  return startProcess({ cwd: folder, env: { HTTP_PORT: "0" } });
}

async function insertRow(cwd = folder, url = ELSEWHERE): Promise<void> {
  const { PATH, HOME, TMPDIR } = process.env;
  const script = new URL("../../src/main.ts", import.meta.url).pathname;
  const running = promisify(execFile)(process.execPath, [script, "sql"], {
    cwd,
    env: { PATH, HOME, TMPDIR },
  });
  running.child.stdin?.end(
    `insert into m_backend_ext_config (name, base_url, client_id, client_secret) values ('Customer API', '${url}', 'id', 'secret');`,
  );
  await running;
}
