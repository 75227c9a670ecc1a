/**
 * The product as its users run it: a process of its own, with signals, exit codes and output. Whatever still runs at the end of
 * the test file is killed.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";
import { eventually } from "./eventually.ts";

export interface ProcessOptions {
  /** Of the command line after the script, such as `["sync", id]`. */
  readonly args?: readonly string[];
  /** The whole environment but PATH, HOME and TMPDIR: nothing of the machine's own settings leaks into a test. */
  readonly env?: Readonly<Record<string, string>>;
  /** Default: the checkout. */
  readonly cwd?: string;
  /** Default: `src/main.ts` of the checkout. */
  readonly script?: string;
  /** In a process group of its own, as a shell starts a command, for `signalGroup`. */
  readonly ownGroup?: boolean;
  /** A command that runs the process, such as one that enters a network namespace. */
  readonly within?: readonly string[];
  /** Needs root. */
  readonly runAs?: { readonly uid: number; readonly gid: number };
}

export interface RunningProcess {
  readonly pid: number;
  /** Lines so far. */
  readonly stdout: readonly string[];
  readonly stderr: readonly string[];
  readonly exit: Promise<ProcessExit>;
  /** The first line on standard output that matches, from the beginning on. Fails at once when the process ends without one. */
  waitForLine(pattern: RegExp, timeoutMs?: number): Promise<string>;
  signal(name: NodeJS.Signals): void;
  /** What a terminal does at Ctrl-C. Needs `ownGroup`. */
  signalGroup(name: NodeJS.Signals): void;
}

interface ProcessExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

const checkout = fileURLToPath(new URL("../..", import.meta.url));

export function startProcess(options: ProcessOptions = {}): RunningProcess {
  const { args = [], env = {}, cwd = checkout, ownGroup = false, within = [], runAs } = options;
  const script = options.script ?? `${checkout}src/main.ts`;
  const [command = "", ...rest] = [...within, process.execPath, script, ...args];
  const child = spawn(command, rest, {
    cwd,
    env: { ...inheritedEnvironment(), ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: ownGroup,
    ...runAs,
  });
  const { pid } = child;
  if (pid === undefined) {
    throw new Error(`${process.execPath} ${script} could not be started.`);
  }

  const stdout: string[] = [];
  const stderr: string[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => stdout.push(line));
  createInterface({ input: child.stderr }).on("line", (line) => stderr.push(line));

  // "close" and not "exit": by then all output has been read.
  const exit = once(child, "close").then(([code, signal]): ProcessExit => ({ code, signal }));
  let ended: ProcessExit | null = null;
  const running: RunningProcess = {
    pid,
    stdout,
    stderr,
    exit,
    waitForLine,
    signal: (name) => {
      child.kill(name);
    },
    signalGroup: (name) => {
      process.kill(-pid, name);
    },
  };
  runningProcesses.add(running);
  void exit.then((value) => {
    ended = value;
    runningProcesses.delete(running);
  });

  async function waitForLine(pattern: RegExp, timeoutMs = 20_000): Promise<string> {
    const isOver = () => ended !== null;
    const find = () => stdout.find((line) => pattern.test(line));

    const found = await eventually(
      () => {
        const line = find();
        if (line === undefined && !isOver()) {
          throw new Error(`no line like ${pattern} within ${timeoutMs} ms\n${describeOutput()}`);
        }
        return line;
      },
      { timeoutMs },
    );
    if (found === undefined) {
      throw new Error(`ended (${JSON.stringify(ended)}) without ${pattern}\n${describeOutput()}`);
    }
    return found;
  }

  function describeOutput(): string {
    return [...stdout.slice(-20), ...stderr.slice(-20)].join("\n");
  }

  return running;
}

const runningProcesses = new Set<RunningProcess>();

afterAll(async () => {
  for (const running of runningProcesses) {
    running.signal("SIGKILL");
    await running.exit;
  }
});

function inheritedEnvironment(): Record<string, string> {
  const names = ["PATH", "HOME", "TMPDIR"];
  const inherited = names.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value]];
  });
  // Compiled once for all: a start then costs 0.36 s of processor time instead of 0.6 s.
  return {
    ...Object.fromEntries(inherited),
    NODE_COMPILE_CACHE: join(tmpdir(), "account-sync-compile-cache"),
  };
}

/** What a command prints on standard output, when it has ended. */
export async function textOf(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<string> {
  const running = startProcess({ args, env });
  await running.exit;
  return running.stdout.map((line) => `${line}\n`).join("");
}
