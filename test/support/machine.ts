/** Ports and memory of this machine. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { afterEach } from "vitest";

const cleanups: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanups.splice(0)) await cleanUp();
});

/** A port on which nothing listens. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

export interface Memory {
  /** The most that was resident since the watch began, or began again. */
  peakMb(): number;
  startAgain(): void;
}

/** Watches a process's resident memory by `ps`, which every machine has. Resolves when it has been looked at. */
export async function watchMemory(pid: number | undefined): Promise<Memory> {
  const ps = promisify(execFile);
  let peakKb = 0;
  let isOver = false;

  async function look(): Promise<void> {
    const shown = await ps("ps", ["-o", "rss=", "-p", String(pid)]).catch(() => null);
    peakKb = Math.max(peakKb, Number(shown?.stdout.trim() ?? 0));
  }

  await look();
  const watching = (async () => {
    while (!isOver) {
      // A sampling interval: watching must not take the processor from the watched process.
      await sleep(50);
      await look();
    }
  })();
  cleanups.push(async () => {
    isOver = true;
    await watching;
  });
  return {
    peakMb: () => peakKb / 1024,
    startAgain: () => {
      peakKb = 0;
    },
  };
}
