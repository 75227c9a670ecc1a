/** A row of m_backend_ext_config in the embedded database: written by hand, so it decides, and the start warns of where accounts go. */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startProcess } from "../support/process.ts";

const WARNING = /a row of m_backend_ext_config says where to send/;
/** The discard port of this machine: nothing listens there, and if something did, it would get nothing. */
const ELSEWHERE = "https://127.0.0.1:9";

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "account-sync-test-embedded-row-"));
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

function start() {
  return startProcess({ cwd: folder, env: { HTTP_PORT: "0" } });
}

async function insertRow(): Promise<void> {
  const { PATH, HOME, TMPDIR } = process.env;
  const script = new URL("../../src/main.ts", import.meta.url).pathname;
  const running = promisify(execFile)(process.execPath, [script, "sql"], {
    cwd: folder,
    env: { PATH, HOME, TMPDIR },
  });
  running.child.stdin?.end(
    `insert into m_backend_ext_config (name, base_url, client_id, client_secret) values ('Customer API', '${ELSEWHERE}', 'id', 'secret');`,
  );
  await running;
}
