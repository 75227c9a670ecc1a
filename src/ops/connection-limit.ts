/**
 * Limits what the connections of a server take.
 *
 * Idle connections do not block new ones: a new connection is always accepted, and an older one is closed for it.
 *
 * Node's own `maxConnections` refuses the new connection instead. Some hundred sockets that send nothing, opened by a scanner or a broken
 * load balancer, would then block a health check, and a supervisor would kill a daemon that works.
 *
 * A connection whose caller asks on without waiting for answers is closed. Node stops reading when the answers are not read, but by then one
 * read may have brought a thousand requests, and each takes some 10 KB until its turn has come.
 */
import type { Server } from "node:http";
import type { Socket } from "node:net";

/** How little is lost when a connection is closed: the least first, and among equals the one that has hung for the longest. */
const KINDS = ["nothing_asked", "still_asking", "kept_alive", "being_answered"] as const;
type ConnectionKind = (typeof KINDS)[number];

export interface ConnectionLimits {
  readonly connectionsMax: number;
  /** Requests on one connection that have not been answered yet. Browsers, scrapers and probes have one. */
  readonly unansweredMax: number;
}

export function limitConnections(
  server: Server,
  { connectionsMax, unansweredMax }: ConnectionLimits,
): void {
  /** In the order of their last change. */
  const kinds = new Map<Socket, ConnectionKind>();
  const unanswered = new WeakMap<Socket, number>();

  const note = (socket: Socket, kind: ConnectionKind) => {
    if (!kinds.delete(socket)) return;
    kinds.set(socket, kind);
  };

  server.on("connection", (socket: Socket) => {
    kinds.set(socket, "nothing_asked");
    socket.once("close", () => kinds.delete(socket));
    if (kinds.size > connectionsMax) closeOne(kinds, socket);
  });

  // In front of fastify's listener, which then finds the socket destroyed and answers nothing.
  server.prependListener("request", (request, response) => {
    const { socket, headers } = request;
    const waiting = (unanswered.get(socket) ?? 0) + 1;
    unanswered.set(socket, waiting);
    response.once("close", () => unanswered.set(socket, (unanswered.get(socket) ?? 1) - 1));
    if (waiting > unansweredMax) {
      socket.destroy();
      return;
    }
    const hasBody = "transfer-encoding" in headers || Number(headers["content-length"] ?? 0) > 0;
    note(socket, hasBody ? "still_asking" : "being_answered");
    if (hasBody) request.once("end", () => note(socket, "being_answered"));
    response.once("close", () => note(socket, "kept_alive"));
  });
}

function closeOne(kinds: Map<Socket, ConnectionKind>, newest: Socket): void {
  for (const kind of KINDS) {
    for (const [socket, itsKind] of kinds) {
      if (itsKind !== kind || socket === newest) continue;
      // Now, and not at the socket's event `close`: many connections may arrive in the same turn of the event loop.
      kinds.delete(socket);
      socket.destroy();
      return;
    }
  }
}
