/**
 * A disk that a test can fill: a small file system in memory where we may mount one (Linux, root). Elsewhere null: then a trigger that
 * raises PostgreSQL's disk_full has to stand in.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, statfsSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";

export interface SmallDisk {
  readonly path: string;
  /** Not a byte is left. */
  fill(): void;
  free(): void;
}

export function mountSmallDisk(megabytes: number): SmallDisk | null {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return null;
  const path = mkdtempSync(join(tmpdir(), "account-sync-small-disk-"));
  const mounted = runShell(`exec mount -t tmpfs -o size=${megabytes}m tmpfs "$1"`, path);
  if (mounted.status !== 0) {
    rmSync(path, { recursive: true });
    return null;
  }
  const unmount = () => {
    if (!disks.delete(unmount)) return;
    runShell('exec umount --lazy "$1"', path);
    rmSync(path, { recursive: true, force: true });
  };
  disks.add(unmount);

  const filler = join(path, "filler");
  return {
    path,
    fill: () => {
      const { bavail, bsize } = statfsSync(path);
      try {
        // A page more than there is: tmpfs takes what fits.
        writeFileSync(filler, Buffer.alloc(bavail * bsize + bsize));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
      }
    },
    free: () => unlinkSync(filler),
  };
}

function runShell(script: string, path: string) {
  return spawnSync("sh", ["-c", script, "sh", path]);
}

const disks = new Set<() => void>();

afterAll(() => {
  for (const unmount of disks) unmount();
});
// A worker that is told to leave does not run its hooks.
process.once("exit", () => {
  for (const unmount of disks) unmount();
});
