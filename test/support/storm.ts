/**
 * The faults of a convergence test, as data, planned from a seed. Faults of the network, the database and the processes come at planned
 * times, each part on a schedule of its own, so that faults of different parts meet. Faults of the API belong to requests: the n-th
 * request meets the n-th fault of a tape, however fast the machine is.
 */
import type { SandboxFault } from "../../src/local/sandbox-faults.ts";
import type { Random } from "./random.ts";

export interface PlannedFault {
  readonly atMs: number;
  readonly fault: Fault;
}

export type Fault = TokenFault | NetworkFault | DatabaseFault | ProcessFault;

/** The tokens given out so far stop working. */
export interface TokenFault {
  readonly part: "api";
  readonly name: "revoked tokens";
  readonly forMs: 0;
}

export interface NetworkFault {
  readonly part: "network";
  readonly name: "cut" | "delay" | "blackhole" | "refuse";
  readonly forMs: number;
  readonly slot: number;
  readonly delayMs: number;
}

export interface DatabaseFault {
  readonly part: "database";
  readonly name: "terminate";
  readonly forMs: 0;
  /** The sessions' role: what their application_name has after the version. */
  readonly role: "" | " listener" | " liveness" | "any";
}

export interface ProcessFault {
  readonly part: "process";
  readonly name: "kill" | "term" | "stop" | "kill all";
  /** Down, or stopped, for so long. */
  readonly forMs: number;
  /** Of `kill all` the one that is killed first. */
  readonly slot: number;
}

export interface Storm {
  readonly faults: readonly PlannedFault[];
  /** For each request to the API what happens to it; `{}` for nothing. */
  readonly tape: readonly SandboxFault[];
}

export interface StormOptions {
  readonly durationMs: number;
  readonly slots: number;
  readonly tapeLength: number;
  /** The API tells which item is which, so that it may change their order. */
  readonly echo: boolean;
  /** Personal data for an API that quotes what it was sent. */
  readonly quote: string;
}

export function planStorm(random: Random, options: StormOptions): Storm {
  const { durationMs, slots } = options;
  const faults = [
    ...course(random.fork("tokens"), durationMs, [4_000, 9_000], (): TokenFault => {
      return { part: "api", name: "revoked tokens", forMs: 0 };
    }),
    ...course(random.fork("network"), durationMs, [500, 2_500], (own): NetworkFault => {
      const name = own.weighted({ cut: 4, delay: 3, blackhole: 2, refuse: 2 });
      return {
        part: "network",
        name,
        slot: own.int(0, slots - 1),
        delayMs: own.int(20, 250),
        forMs: name === "cut" ? 0 : own.int(300, name === "blackhole" ? 4_000 : 2_000),
      };
    }),
    ...course(
      random.fork("database"),
      durationMs,
      [800, 3_500],
      (own): DatabaseFault => ({
        part: "database",
        name: "terminate",
        role: own.weighted({ "": 3, " listener": 2, " liveness": 2, any: 2 }),
        forMs: 0,
      }),
    ),
    ...course(random.fork("process"), durationMs, [500, 2_500], (own): ProcessFault => {
      const name = own.weighted({ kill: 8, term: 4, stop: 6, "kill all": 1 });
      return {
        part: "process",
        name,
        slot: own.int(0, slots - 1),
        // Sometimes stopped for longer than the others wait before they take over.
        forMs: name === "stop" && own.chance(0.4) ? own.int(4_500, 7_000) : own.int(100, 1_500),
      };
    }),
  ].sort((a, b) => a.atMs - b.atMs);
  return { faults, tape: planTape(random.fork("tape"), options) };
}

/** One fault after another. Those of processes may overlap: the slots differ. */
function course(
  random: Random,
  durationMs: number,
  [gapMinMs, gapMaxMs]: readonly [number, number],
  next: (random: Random) => Fault,
): PlannedFault[] {
  const planned: PlannedFault[] = [];
  for (let atMs = random.int(0, gapMaxMs); atMs < durationMs; ) {
    const fault = next(random);
    planned.push({ atMs, fault });
    atMs += random.int(gapMinMs, gapMaxMs);
  }
  return planned;
}

function planTape(random: Random, { tapeLength, echo, quote }: StormOptions): SandboxFault[] {
  const refusal = [{ message: `customer.email "${quote}" is taken` }];
  const single: Readonly<Record<string, SandboxFault>> = {
    "500 not applied": { status: 500 },
    "500 applied": { status: 500, applied: true },
    "502 applied": { status: 502, applied: true },
    "504 not applied": { status: 504 },
    "503 with Retry-After": { status: 503, retryAfter: 1 },
    "503 applied": { status: 503, applied: true },
    "429 with Retry-After": { status: 429, retryAfter: 1 },
    "401": { status: 401 },
    "403": { status: 403, body: { error: "the token has expired" } },
    "409": { status: 409 },
    "422 that quotes": { status: 422, body: { success: false, error: refusal } },
    "success: false": { applied: false, status: 200, body: { success: false, error: refusal } },
    "dropped before": { dropConnection: "before" },
    "dropped after": { dropConnection: "after" },
    "cut off": { cutOff: true },
    "hangs, not applied": { hang: true },
    "hangs, applied": { hang: true, applied: true },
    "reset after": { dropConnection: "after", reset: true },
    "cut off with a reset": { cutOff: true, reset: true },
    "a flood": { floodBytes: 2 ** 24 },
    "a bomb": { floodBytes: 2 ** 24, gzip: true },
    "a trickle": { trickleMs: 100 },
    "late, then dropped": { delayMs: 600, dropConnection: "after" },
    "200 with HTML": { body: "<html>welcome</html>" },
    "200 with nothing": { body: {} },
    "without tiers": { omit: ["tier"] },
    "without crew": { omit: ["crew"] },
    // Without the customer alone, the branch's id would be the customer's.
    "without ids": { omit: ["customer", "branch"] },
    "token endpoint 500": { on: "token", status: 500 },
    "token endpoint hangs": { on: "token", hang: true },
    "token endpoint slow": { on: "token", delayMs: 900 },
    ...(echo ? { "other order": { reverse: true } } : {}),
  };
  const outages: readonly SandboxFault[] = [
    { status: 500 },
    { status: 503, retryAfter: 1 },
    { dropConnection: "before" },
    { dropConnection: "after" },
  ];

  const tape: SandboxFault[] = [];
  while (tape.length < tapeLength) {
    const kind = random.weighted({ well: 10, slow: 5, single: 14, outage: 1 });
    switch (kind) {
      case "well":
        tape.push({});
        break;
      case "slow":
        tape.push({ delayMs: random.int(20, 500) });
        break;
      case "single":
        tape.push(single[random.pick(Object.keys(single))] ?? {});
        break;
      case "outage":
        // Enough to open the circuit, and to meet its probes.
        tape.push(...Array.from({ length: random.int(5, 8) }, () => random.pick(outages)));
        break;
      default:
        kind satisfies never;
    }
  }
  return tape;
}
