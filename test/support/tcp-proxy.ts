/**
 * A TCP proxy that stands for the network: it cuts, refuses, delays, and swallows. A blackhole keeps every connection open and
 * delivers nothing, new ones included, until it is over; then everything held arrives, as after a router's return.
 */
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll } from "vitest";

export interface TcpProxy {
  /** On 127.0.0.1; the same over `refuse()` and `accept()`. */
  readonly port: number;
  readonly connections: number;
  /** Destroys every connection there is; new ones are welcome. */
  cut(): void;
  /** New connections are refused; those that stand stay. */
  refuse(): Promise<void>;
  accept(): Promise<void>;
  blackhole(on: boolean): void;
  /** Each piece of data arrives this much later, in either direction. */
  delay(ms: number): void;
  /** Also called at the end of the file. */
  close(): Promise<void>;
}

export async function startTcpProxy(targetPort: number): Promise<TcpProxy> {
  const network = { delayMs: 0, blackhole: openGate() };
  const sockets = new Set<Socket>();
  let server = await listen(0);
  const port = toPort(server);

  async function listen(wanted: number): Promise<Server> {
    const listening = createServer({ allowHalfOpen: true }, (near) => {
      const far = connect({ port: targetPort, host: "127.0.0.1", allowHalfOpen: true });
      for (const socket of [near, far]) {
        sockets.add(socket);
        socket.setNoDelay(true);
        socket.on("close", () => sockets.delete(socket));
        // What follows an error is "close", and that is handled.
        socket.on("error", () => {});
      }
      forward(near, far, network);
      forward(far, near, network);
    });
    listening.listen(wanted, "127.0.0.1");
    await once(listening, "listening");
    return listening;
  }

  const proxy: TcpProxy = {
    port,
    get connections() {
      return sockets.size / 2;
    },
    cut: () => {
      for (const socket of sockets) {
        socket.destroy();
      }
    },
    refuse: async () => {
      server.close();
    },
    accept: async () => {
      if (!server.listening) {
        server = await listen(port);
      }
    },
    blackhole: (on) => {
      network.blackhole.open();
      network.blackhole = on ? closedGate() : openGate();
    },
    delay: (ms) => {
      network.delayMs = ms;
    },
    close: async () => {
      openProxies.delete(proxy);
      network.blackhole.open();
      server.close();
      proxy.cut();
    },
  };
  openProxies.add(proxy);
  return proxy;
}

const openProxies = new Set<TcpProxy>();

afterAll(async () => {
  for (const proxy of openProxies) {
    await proxy.close();
  }
});

interface Network {
  delayMs: number;
  blackhole: Gate;
}

/** Data, the end of data and the loss of the connection go over the same road, in order. */
function forward(from: Socket, to: Socket, network: Network): void {
  let road = Promise.resolve();

  const send = (deliver: () => void) => {
    const arrivesAt = performance.now() + network.delayMs;
    road = road.then(async () => {
      const waitMs = arrivesAt - performance.now();
      if (waitMs > 0) {
        await sleep(waitMs);
      }
      while (network.blackhole.isClosed) {
        await network.blackhole.opened;
      }
      deliver();
    });
  };

  from.on("data", (chunk) => send(() => to.writable && to.write(chunk)));
  from.on("end", () => send(() => to.end()));
  from.on("close", () => send(() => to.destroy()));
}

interface Gate {
  isClosed: boolean;
  readonly opened: Promise<void>;
  open(): void;
}

function closedGate(): Gate {
  const { promise, resolve } = Promise.withResolvers<void>();
  const gate = {
    isClosed: true,
    opened: promise,
    open: () => {
      gate.isClosed = false;
      resolve();
    },
  };
  return gate;
}

function openGate(): Gate {
  const gate = closedGate();
  gate.open();
  return gate;
}

function toPort(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === "string") {
    throw new Error("The proxy does not listen on TCP.");
  }
  return address.port;
}
