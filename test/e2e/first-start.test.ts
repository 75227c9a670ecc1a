/** A start from nothing is normal operation from its first line to its last: no warning, and nothing on standard error. */
import { chmod, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { type RunningProcess, startProcess } from "../support/process.ts";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "account-sync-test-first-"));
  // Started by root, the server is another user's.
  await chmod(folder, 0o755);
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

test.each(["json", "pretty"])(
  "from nothing to three synced accounts, Ctrl-C and a second start, the %s log has no warning",
  async (format) => {
    const start = () =>
      startProcess({
        cwd: folder,
        ownGroup: true,
        env: { HTTP_PORT: "0", LOG_FORMAT: format, LOG_LEVEL: "info" },
      });

    const first = start();
    await first.waitForLine(/^Ctrl-C stops/, 30_000);
    await eventually(() =>
      expect(first.stdout.filter((line) => line.includes("account synced"))).toHaveLength(3),
    );
    await stop(first);
    const second = start();
    await second.waitForLine(/^Ctrl-C stops/, 30_000);
    await stop(second);

    for (const { stdout, stderr } of [first, second]) {
      expect(stdout.filter(isAboveInfo)).toEqual([]);
      expect(stderr).toEqual([]);
    }
  },
);

test("a folder that cannot be written to is one sentence", async () => {
  // A file where the folder would be: not even root can make it.
  await writeFile(join(folder, ".data"), "");

  const refused = startProcess({ cwd: folder, env: { HTTP_PORT: "0" } });

  expect(await refused.exit).toEqual({ code: 1, signal: null });
  expect(refused.stderr).toEqual([
    expect.stringMatching(
      /^error: The embedded database is kept in \S+, and this user cannot write there \(EEXIST\): start in a folder that it can write to\.$/,
    ),
    expect.stringContaining("DATABASE_URL"),
  ]);
});

test("when the folder is removed while it runs, it says so, and what to do", async () => {
  const running = startProcess({ cwd: folder, env: { HTTP_PORT: "0", LOG_FORMAT: "pretty" } });
  await running.waitForLine(/^Ctrl-C stops/, 30_000);

  // The folder it was started in as well: what it prints from here on must not ask for it.
  await rm(folder, { recursive: true, force: true, maxRetries: 20 });

  await running.waitForLine(/ERROR.*was removed while it is in use.*Ctrl-C/);
  running.signal("SIGINT");
  expect(await running.exit).toEqual({ code: 0, signal: null });
  expect(running.stderr).toEqual([]);
  await expect(readdir(folder)).rejects.toThrow("ENOENT");
});

test("Ctrl-C while the first database is being made leaves nothing half-made", async () => {
  const running = startProcess({ cwd: folder, ownGroup: true, env: { HTTP_PORT: "0" } });
  await eventually(async () =>
    expect(await readdir(join(folder, ".data"))).toContainEqual(
      expect.stringMatching(/^cluster\.\d+$/),
    ),
  );

  running.signalGroup("SIGINT");

  expect(await running.exit).toEqual({ code: 0, signal: null });
  expect(running.stderr).toEqual([]);
  const left = await readdir(join(folder, ".data"));
  expect(left.filter((name) => /^cluster\.|^owner/.test(name))).toEqual([]);
});

async function stop(running: RunningProcess): Promise<void> {
  running.signalGroup("SIGINT");
  expect(await running.exit).toEqual({ code: 0, signal: null });
}

function isAboveInfo(line: string): boolean {
  return /"level":"(?:warn|error|fatal)"|\b(?:WARN|ERROR|FATAL)\b/.test(line);
}
