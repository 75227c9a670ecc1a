/**
 * Stands for a proxy that comes in no package, such as RDS Proxy: the settings that a session is started with are refused or ignored, and
 * notifications are not delivered. PgBouncer is there for real (pgbouncer.ts).
 */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { afterAll } from "vitest";

const closers: (() => void)[] = [];

afterAll(() => {
  for (const close of closers.splice(0)) close();
});

/** Resolves with its URL. */
export async function startPooler(
  databaseUrl: string,
  {
    refusesSettings,
    refusal = { code: "08P01", message: "unsupported startup parameter: options" },
  }: {
    readonly refusesSettings: boolean;
    readonly refusal?: { readonly code: string; readonly message: string };
  },
): Promise<string> {
  const target = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect({ host: target.hostname, port: Number(target.port) });
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
      // What follows an error is "close".
      socket.on("error", () => {});
    }
    near.on("close", () => far.destroy());
    far.on("close", () => near.destroy());
    near.once("data", (startup) => {
      if (refusesSettings && startup.includes("\0options\0")) {
        near.end(toError(refusal.code, refusal.message));
        return;
      }
      far.write(startup);
      near.pipe(far);
    });
    let rest = Buffer.alloc(0);
    far.on("data", (data) => {
      const { messages, unfinished } = toMessages(Buffer.concat([rest, data]));
      rest = unfinished;
      // "A" is a notification.
      for (const message of messages) if (message[0] !== 0x41) near.write(message);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });

  const address = server.address();
  const url = new URL(databaseUrl);
  url.host = `127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
  return url.href;
}

/** A message is one byte for its type, four for its length without that byte, and the rest. */
function toMessages(data: Buffer): { messages: Buffer[]; unfinished: Buffer<ArrayBuffer> } {
  const messages: Buffer[] = [];
  let position = 0;
  while (position + 5 <= data.length) {
    const end = position + 1 + data.readInt32BE(position + 1);
    if (end > data.length) break;
    messages.push(data.subarray(position, end));
    position = end;
  }
  return { messages, unfinished: Buffer.from(data.subarray(position)) };
}

function toError(code: string, message: string): Buffer {
  const fields = Buffer.from(`SFATAL\0VFATAL\0C${code}\0M${message}\0\0`);
  const head = Buffer.alloc(5);
  head.write("E");
  head.writeInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, fields]);
}
