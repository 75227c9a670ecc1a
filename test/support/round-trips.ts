/** A way to the database that counts: how often the client sends something after it has heard something, over all of its connections. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { afterAll } from "vitest";

export interface CountingProxy {
  /** The database's, by way of the proxy. */
  readonly url: string;
  /** Connections that the server sends something to now and then by itself (LISTEN) begin a round trip of their own with it. */
  readonly roundTrips: number;
}

export async function startCountingProxy(databaseUrl: string): Promise<CountingProxy> {
  const target = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  let roundTrips = 0;

  const server = createServer((near) => {
    const far = connect({ port: Number(target.port), host: target.hostname });
    let mayBegin = true;
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", () => {});
      socket.on("close", () => {
        near.destroy();
        far.destroy();
        sockets.delete(socket);
      });
    }
    near.on("data", (chunk) => {
      if (mayBegin) roundTrips += 1;
      mayBegin = false;
      far.write(chunk);
    });
    far.on("data", (chunk) => {
      mayBegin = true;
      near.write(chunk);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  afterAll(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });

  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the proxy is not on TCP");
  const url = new URL(databaseUrl);
  url.hostname = "127.0.0.1";
  url.port = String(address.port);
  return {
    url: url.href,
    get roundTrips() {
      return roundTrips;
    },
  };
}
