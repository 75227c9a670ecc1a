/**
 * Replicas as real processes, each behind a network of its own to the database, and started again when they have ended, as a supervisor
 * would do.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { eventually } from "./eventually.ts";
import { type RunningProcess, startProcess } from "./process.ts";
import { startTcpProxy, type TcpProxy } from "./tcp-proxy.ts";

export interface FleetOptions {
  readonly databaseUrl: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly slots: number;
}

export interface Fleet {
  readonly slots: readonly Slot[];
  /** What went wrong without a fault: exits, drains without an end. */
  readonly surprises: readonly string[];
  /** Everything that any of the processes has printed. */
  output(): string[];
  /**
   * These resolve false when nothing was done: the process is not running, or no other one is there to take over. On a machine that
   * starts processes slowly, a storm would otherwise only show that no replica does anything.
   */
  kill(slot: Slot, downMs: number): Promise<boolean>;
  terminate(slot: Slot, downMs: number): Promise<boolean>;
  suspend(slot: Slot, forMs: number): Promise<boolean>;
  /** A power cut: no replica is left. */
  killAll(downMs: number): Promise<boolean>;
  /** Resolves when every replica is there and ready. */
  allReady(): Promise<void>;
  /** Ends all of them with SIGTERM. */
  stop(): Promise<void>;
  /** Kills all of them. Harmless after `stop`. */
  abandon(): Promise<void>;
}

export interface Slot {
  readonly index: number;
  readonly network: TcpProxy;
  process: RunningProcess;
  /** null until the process has logged that it is started. */
  url: string | null;
  state: "starting" | "running" | "suspended" | "down";
}

/** A drain's timeout, the time for aborted requests, and a slow machine. */
const DRAIN_MAX_MS = 20_000;

export async function startFleet(options: FleetOptions): Promise<Fleet> {
  const { databaseUrl, environment } = options;
  const surprises: string[] = [];
  const processes: RunningProcess[] = [];
  const slots: Slot[] = [];
  let isOver = false;

  for (let index = 0; index < options.slots; index += 1) {
    const network = await startTcpProxy(Number(new URL(databaseUrl).port));
    const process = spawn(index, network);
    slots.push({ index, network, process, url: null, state: "starting" });
  }
  for (const slot of slots) supervise(slot);

  function spawn(index: number, network: TcpProxy): RunningProcess {
    const url = new URL(databaseUrl);
    url.hostname = "127.0.0.1";
    url.port = String(network.port);
    const started = startProcess({
      args: ["start"],
      env: {
        ...environment,
        DATABASE_URL: url.href,
        // Tells the API, and with it the test, which replica sent what.
        CUSTOMER_API_HEADERS: JSON.stringify({ "X-Replica": String(index) }),
        HTTP_PORT: "0",
        LOG_FORMAT: "json",
        LOG_LEVEL: "debug",
      },
    });
    processes.push(started);
    return started;
  }

  function start(slot: Slot): void {
    if (isOver) return;
    slot.process = spawn(slot.index, slot.network);
    slot.url = null;
    slot.state = "starting";
    supervise(slot);
  }

  function supervise(slot: Slot): void {
    const { process } = slot;
    process
      .waitForLine(/"msg":"started"/, 120_000)
      .then((line) => {
        if (slot.process !== process || slot.state !== "starting") return;
        slot.url = JSON.parse(line).url;
        slot.state = "running";
      })
      // An exit is handled below.
      .catch(() => {});
    void process.exit.then(async ({ code, signal }) => {
      if (slot.process !== process || slot.state === "down") return;
      // Fail fast at the start, patient afterwards: a start may fail where the database cannot be reached.
      if (slot.state !== "starting" || code !== 1) {
        surprises.push(
          `replica ${slot.index} left by itself when it was ${slot.state}: ${code ?? signal}\n${process.stderr.slice(-5).join("\n")}`,
        );
      }
      slot.state = "down";
      if (code === 2) return;
      // A supervisor waits before a restart, too.
      await sleep(300);
      start(slot);
    });
  }

  async function comeBack(slot: Slot, downMs: number): Promise<void> {
    // The fault itself is a time.
    await sleep(downMs);
    start(slot);
  }

  const isCovered = (slot: Slot) =>
    slots.some((other) => other !== slot && other.state === "running");

  async function kill(slot: Slot, downMs: number): Promise<void> {
    slot.state = "down";
    slot.process.signal("SIGKILL");
    await slot.process.exit;
    await comeBack(slot, downMs);
  }

  return {
    slots,
    surprises,
    output: () => processes.flatMap(({ stdout, stderr }) => [...stdout, ...stderr]),

    async kill(slot, downMs) {
      if (!["running", "starting"].includes(slot.state) || !isCovered(slot)) return false;
      await kill(slot, downMs);
      return true;
    },

    async killAll(downMs) {
      const running = slots.filter(({ state }) => state === "running");
      await Promise.all(running.map((slot) => kill(slot, downMs)));
      return running.length > 1;
    },

    async terminate(slot, downMs) {
      if (slot.state !== "running" || !isCovered(slot)) return false;
      slot.state = "down";
      const { process } = slot;
      process.signal("SIGTERM");
      const exit = await Promise.race([process.exit, sleep(DRAIN_MAX_MS, null, { ref: false })]);
      if (exit === null) {
        surprises.push(`replica ${slot.index} did not leave within ${DRAIN_MAX_MS} ms of SIGTERM`);
        process.signal("SIGKILL");
        await process.exit;
      } else if (exit.code !== 0) {
        surprises.push(`replica ${slot.index} left with ${exit.code ?? exit.signal} at SIGTERM`);
      }
      await comeBack(slot, downMs);
      return true;
    },

    async suspend(slot, forMs) {
      if (slot.state !== "running" || !isCovered(slot)) return false;
      slot.state = "suspended";
      slot.process.signal("SIGSTOP");
      // The fault itself.
      await sleep(forMs);
      slot.process.signal("SIGCONT");
      slot.state = "running";
      return true;
    },

    async allReady() {
      await eventually(
        async () => {
          for (const slot of slots) {
            const { stdout, stderr } = slot.process;
            const said = [...stdout, ...stderr].slice(-5).join("\n");
            if (slot.url === null)
              throw new Error(`replica ${slot.index} is ${slot.state}, and said\n${said}`);
            const { status } = await fetch(`${slot.url}/readyz`);
            if (status !== 200) throw new Error(`replica ${slot.index} answers ${status}`);
          }
        },
        { timeoutMs: 60_000 },
      );
    },

    async stop() {
      isOver = true;
      await Promise.all(
        slots.map(async (slot) => {
          if (slot.state === "down") return;
          slot.state = "down";
          slot.process.signal("SIGTERM");
          const { code, signal } = await slot.process.exit;
          if (code !== 0)
            surprises.push(`replica ${slot.index} left with ${code ?? signal} at the end`);
        }),
      );
      await Promise.all(slots.map(({ network }) => network.close()));
    },

    async abandon() {
      isOver = true;
      await Promise.all(
        slots.map(async (slot) => {
          slot.state = "down";
          slot.process.signal("SIGKILL");
          await slot.process.exit;
        }),
      );
    },
  };
}
