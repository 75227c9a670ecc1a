/** Who holds the data folder is told in a file, which is gone when nobody does. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { lockData, readOwner } from "../../src/local/data-lock.ts";

let dataDir: string;

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "account-sync-data-"));
});

afterEach(() => rm(dataDir, { recursive: true }));

test("a state that is being told when the folder is released is not left behind", async () => {
  for (let round = 0; round < 20; round += 1) {
    const lock = await lockData(dataDir);
    void lock.tell("running");
    void lock.tell("stopping");

    await lock.release();

    expect(await readdir(dataDir)).toEqual(["lock"]);
  }
});

test("of states that are told together the last one stands", async () => {
  const lock = await lockData(dataDir);
  await Promise.all([lock.tell("running"), lock.tell("stopping")]);

  expect(await readOwner(dataDir)).toEqual({ pid: process.pid, state: "stopping" });
  await lock.release();
});
