/**
 * The processes that a run starts: each is one module of this folder's neighbours, or the product itself. Whatever is still running
 * when the run ends, or is interrupted, is killed.
 */
import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export interface Child {
  readonly pid: number;
  /** Asks with SIGTERM, and with SIGKILL after ten seconds. */
  stop(): Promise<void>;
}

export interface ModuleChild extends Child {
  /** Resolves with the answer to this question. */
  ask<Answer>(question: object): Promise<Answer>;
}

const STOP_TIMEOUT_MS = 10_000;
const checkout = fileURLToPath(new URL("../..", import.meta.url));
const running = new Set<ChildProcess>();
let isOver = false;

/** Runs a module of the bench; resolves when it has said `{ ready: true }`. It ends by itself when this process is gone. */
export async function startModule(
  path: string,
  environment: Readonly<Record<string, string>>,
): Promise<ModuleChild> {
  const child = fork(`${checkout}bench/${path}`, {
    env: { ...baseEnvironment(), ...environment },
    execArgv: [],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const answers = new Map<number, (answer: unknown) => void>();
  let questions = 0;
  const isReady = new Promise<void>((resolve, reject) => {
    child.on("message", (message: { ready?: true; to?: number; answer?: unknown }) => {
      if (message.ready) resolve();
      if (message.to !== undefined) answers.get(message.to)?.(message.answer);
    });
    child.once("exit", (code) => reject(new Error(`${path} ended with code ${code}`)));
  });
  const started = track(child, path);
  await isReady;

  return {
    ...started,
    ask: <Answer>(question: object) =>
      new Promise<Answer>((resolve, reject) => {
        questions += 1;
        const number = questions;
        const fail = (code: number | null) => reject(new Error(`${path} ended with code ${code}`));
        child.once("exit", fail);
        answers.set(number, (answer) => {
          answers.delete(number);
          child.off("exit", fail);
          resolve(answer as Answer);
        });
        child.send({ number, question });
      }),
  };
}

/** Runs the product's command line; resolves when a line of its log matches. */
export async function startProduct(
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
  readyLine: RegExp,
): Promise<Child> {
  const child = spawn(process.execPath, [`${checkout}src/main.ts`, ...args], {
    cwd: checkout,
    env: { ...baseEnvironment(), ...environment },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const started = track(child, "src/main.ts");
  const lines = createInterface({ input: child.stdout });
  await new Promise<void>((resolve, reject) => {
    const last: string[] = [];
    lines.on("line", (text) => {
      last.push(text);
      last.splice(0, last.length - 5);
      if (readyLine.test(text)) resolve();
    });
    child.once("exit", (code) =>
      reject(new Error(`src/main.ts ended with code ${code}:\n${last.join("\n")}`)),
    );
  });
  return started;
}

/** From then on none can be started: an interrupted measurement may be about to. */
export function killChildren(): void {
  isOver = true;
  for (const child of running) child.kill("SIGKILL");
}

function track(child: ChildProcess, name: string): Child {
  if (isOver) child.kill("SIGKILL");
  const { pid } = child;
  if (pid === undefined) throw new Error(`${name} could not be started`);
  const ended = once(child, "exit");
  running.add(child);
  child.once("exit", () => running.delete(child));

  return {
    pid,
    stop: async () => {
      if (!running.has(child)) return;
      child.kill("SIGTERM");
      const timeout = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
      await ended;
      clearTimeout(timeout);
    },
  };
}

/** Nothing of the machine's own settings decides over a measurement. */
function baseEnvironment(): Record<string, string> {
  const names = ["PATH", "HOME", "TMPDIR"];
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}
