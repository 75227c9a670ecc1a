/** Processor time of processes, from /proc: known on Linux only. */
import { existsSync, readdirSync, readFileSync } from "node:fs";

/** Ticks of /proc are a hundredth of a second on every Linux that Node runs on. */
const TICK_MS = 10;

const isProcessorTimeKnown = existsSync("/proc/self/stat");

/** Of one process, in milliseconds; null where it is not known. */
export function processorMs(pid: number): number | null {
  if (!isProcessorTimeKnown) return null;
  const { own } = readTimes(pid) ?? { own: 0 };
  return own;
}

/**
 * Of a PostgreSQL server: the postmaster, its children that run, and those that have ended, which it has counted as its own when it
 * collected them.
 */
export function serverProcessorMs(postmasterPid: number): number | null {
  const postmaster = readTimes(postmasterPid);
  if (postmaster === null) return null;
  const children = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => readTimes(Number(name)))
    .filter((times) => times?.parentPid === postmasterPid);
  return children.reduce(
    (sum, times) => sum + (times?.own ?? 0),
    postmaster.own + postmaster.ofEndedChildren,
  );
}

/** Resident memory, in MiB; null where it is not known. */
export function residentMiB(pid: number): number | null {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
  } catch {
    return null;
  }
}

interface Times {
  readonly parentPid: number;
  readonly own: number;
  readonly ofEndedChildren: number;
}

/** null when the process has ended. */
function readTimes(pid: number): Times | null {
  try {
    // After the name in brackets, which may hold anything: state, parent, and the times as fields 12 to 15.
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = text.slice(text.lastIndexOf(") ") + 2).split(" ");
    const ticks = (index: number) => Number(fields[index]) * TICK_MS;
    return {
      parentPid: Number(fields[1]),
      own: ticks(11) + ticks(12),
      ofEndedChildren: ticks(13) + ticks(14),
    };
  } catch {
    return null;
  }
}
