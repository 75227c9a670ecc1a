/**
 * The circuits of all connections: one for each configuration (a row of `m_backend_ext_config`, or the environment). An edited
 * configuration starts with a new circuit. A closed one that was not used for minutes is forgotten: a configuration used once would
 * otherwise keep saying that sends make sense while the API that all others use is down.
 */
import { compareObstacles, type Obstacle } from "../obstacle.ts";
import type { Observe } from "../ops/observe.ts";
import {
  type Circuit,
  type CircuitOptions,
  type CircuitView,
  createCircuit,
  type GuardedSend,
} from "./circuit.ts";
import type { ApiConnection, ApiResult } from "./customer-api.ts";

export interface ConnectionCircuitsOptions extends CircuitOptions {
  readonly observe: Pick<Observe, "circuit">;
  /** The API asked all clients to wait, so the other daemons have to know. */
  readonly onWaitAsked: (baseUrl: string, forMs: number) => void;
}

export interface ConnectionCircuits {
  /** Runs the send, unless the connection's circuit is open: then it fails at once, not sent. */
  guard(connection: ApiConnection, send: GuardedSend): Promise<ApiResult>;
  /** Starts the wait that the API asked another daemon for. */
  startWait(connection: ApiConnection, forMs: number): void;
  /** Milliseconds until a send makes sense; 0 as soon as one connection used lately is, or might be, open to sends. */
  available(): number;
  /** How many sends make sense now: 0 while all wait, 1 where only a probe would be sent, Infinity otherwise. */
  usefulSends(): number;
  /** What stops the sends over the connection of this configuration. */
  findObstacle(configId: string | null): Obstacle | null;
  /** The worst of what stops all connections used lately: nothing is claimed then. null as soon as one of them is open to sends. */
  findCommonObstacle(): Obstacle | null;
}

/** Longer than a request may take by default, shorter than an outage that matters. */
const FORGET_AFTER_MS = 5 * 60_000;

export function createConnectionCircuits(options: ConnectionCircuitsOptions): ConnectionCircuits {
  const circuits = new Map<string | null, UsedCircuit>();
  let reported: CircuitView = { state: "closed", reason: "a new configuration" };

  function use(connection: ApiConnection): UsedCircuit {
    const used = findCircuit(connection) ?? addCircuit(connection);
    used.usedAt = options.now();
    return used;
  }

  function findCircuit(connection: ApiConnection): UsedCircuit | null {
    const known = circuits.get(connection.configId);
    return known?.identity === identify(connection) ? known : null;
  }

  function addCircuit(connection: ApiConnection): UsedCircuit {
    const { configId, baseUrl } = connection;
    const circuit = createCircuit(options, {
      onChange: () => report(configId, circuit),
      onWaitAsked: (forMs) => options.onWaitAsked(baseUrl, forMs),
    });
    const added: UsedCircuit = { identity: identify(connection), circuit, usedAt: options.now() };
    const isReplaced = circuits.has(configId);
    circuits.set(configId, added);
    if (isReplaced) report(configId, circuit);
    return added;
  }

  /** One gauge stands for all connections. It shows the worst, so that a healthy connection does not hide a sick one. */
  function report(configId: string | null, changed: Circuit): void {
    // A send that began before the configuration was edited.
    if (circuits.get(configId)?.circuit !== changed) return;

    const worst = [...circuits.values()]
      .map(({ circuit }) => circuit.view())
      .reduce((a, b) => (BADNESS[b.state] > BADNESS[a.state] ? b : a), changed.view());
    if (worst.state === reported.state && worst.reason === reported.reason) return;
    if (worst.state === "closed" && reported.state === "closed") return;

    reported = worst;
    options.observe.circuit(worst.state, worst.reason);
  }

  function remembered(): Circuit[] {
    forgetIdle();
    return [...circuits.values()].map(({ circuit }) => circuit);
  }

  /** Only those that are open to sends: an open circuit is not used while it waits, and is not forgotten for that. */
  function forgetIdle(): void {
    for (const [configId, { circuit, usedAt }] of circuits) {
      const isIdle = options.now() - usedAt >= FORGET_AFTER_MS;
      if (isIdle && circuit.view().state === "closed" && circuit.waitMs() === 0) {
        circuits.delete(configId);
      }
    }
  }

  return {
    async guard(connection, send) {
      const used = use(connection);
      try {
        return await used.circuit.guard(send);
      } finally {
        used.usedAt = options.now();
      }
    },

    startWait(connection, forMs) {
      use(connection).circuit.startWait(forMs);
    },

    available() {
      const waits = remembered().map((circuit) => circuit.waitMs());
      return waits.length === 0 ? 0 : Math.min(...waits);
    },

    usefulSends() {
      const known = remembered();
      if (known.length === 0) return Number.POSITIVE_INFINITY;
      const willing = known.filter((circuit) => circuit.waitMs() === 0);
      if (willing.length === 0) return 0;
      return willing.some((circuit) => circuit.view().state === "closed")
        ? Number.POSITIVE_INFINITY
        : 1;
    },

    findObstacle: (configId) => circuits.get(configId)?.circuit.findObstacle() ?? null,

    findCommonObstacle() {
      const found = remembered().map((circuit) => circuit.findObstacle());
      const obstacles = found.filter((obstacle) => obstacle !== null);
      if (obstacles.length < found.length) return null;
      return obstacles.toSorted(compareObstacles).at(0) ?? null;
    },
  };
}

interface UsedCircuit {
  readonly identity: string;
  readonly circuit: Circuit;
  /** When a send last began or ended. */
  usedAt: number;
}

/** What a circuit is about: an edit of any of it makes another API of the connection. Each send asks, over few connections. */
function identify(connection: ApiConnection): string {
  const known = identities.get(connection);
  if (known !== undefined) return known;
  const { baseUrl, auth, headers } = connection;
  const identity = JSON.stringify([baseUrl, auth, headers]);
  identities.set(connection, identity);
  return identity;
}

const identities = new WeakMap<ApiConnection, string>();

const BADNESS = { closed: 0, half_open: 1, open: 2 } as const;
