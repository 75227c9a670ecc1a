/**
 * A way to the database that understands what goes over it: it can stop a connection before a named statement, before the commit of
 * its transaction, or between what the server did and the answer. A test then kills, stops or terminates the daemon exactly there.
 *
 * Speaks PostgreSQL's plain protocol, without TLS. Statements are told apart by their text, which the driver sends whole, comments
 * included, when it prepares them, so a query of sql/queries/ is known by its name.
 */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { afterAll } from "vitest";
import { sqlOf } from "../../src/db/queries.ts";

/** The name of a file in sql/queries/, or what the statement's text looks like. */
export type NamedStatement = string | RegExp;

export interface StatementGate {
  /** The database's, by way of the gate. */
  readonly url: string;
  /** The statement does not reach the server. */
  holdBefore(statement: NamedStatement): Moment;
  /** The statement is executed; the commit of its transaction does not reach the server. */
  holdBeforeCommit(statement: NamedStatement): Moment;
  /** The server has executed it, and committed the transaction it was part of; nobody is told. */
  holdAnswer(statement: NamedStatement): Moment;
  /** Also called at the end of the file. */
  close(): Promise<void>;
}

/** Comes once, on the first connection that gets there; the others go on. */
export interface Moment {
  /** Rejects when it does not come within half a minute. */
  readonly reached: Promise<void>;
  /** Lets what was held go on its way, or forgets the wish. What belongs to a connection that has ended meanwhile is gone. */
  release(): void;
}

const REACHED_WITHIN_MS = 30_000;

export async function startStatementGate(databaseUrl: string): Promise<StatementGate> {
  const target = new URL(databaseUrl);
  const wishes = new Set<Wish>();
  const sockets = new Set<Socket>();

  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({
      port: Number(target.port),
      host: target.hostname,
      allowHalfOpen: true,
    });
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("close", () => sockets.delete(socket));
      // What follows an error is "close", and that is handled.
      socket.on("error", () => {});
    }
    join(near, far, wishes);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the gate is not on TCP");
  const url = new URL(databaseUrl);
  url.hostname = "127.0.0.1";
  url.port = String(address.port);

  const gate: StatementGate = {
    url: url.href,
    holdBefore: (statement) => hold("before", statement),
    holdBeforeCommit: (statement) => hold("before commit", statement),
    holdAnswer: (statement) => hold("answer", statement),
    async close() {
      openGates.delete(gate);
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
  openGates.add(gate);
  return gate;

  function hold(where: Wish["where"], statement: NamedStatement): Moment {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // Who does not wait for it does not want to hear that it did not come.
    promise.catch(() => {});
    const timer = setTimeout(
      () => reject(new Error(`the moment ${where} ${statement} did not come`)),
      REACHED_WITHIN_MS,
    );
    const wish: Wish = {
      where,
      matches: matcherOf(statement),
      come: () => {
        clearTimeout(timer);
        resolve();
      },
      letGo: () => {},
    };
    wishes.add(wish);
    return {
      reached: promise,
      release: () => {
        clearTimeout(timer);
        wishes.delete(wish);
        wish.letGo();
      },
    };
  }
}

const openGates = new Set<StatementGate>();

afterAll(async () => {
  for (const gate of openGates) await gate.close();
});

interface Wish {
  readonly where: "before" | "before commit" | "answer";
  readonly matches: (text: string) => boolean;
  /** The moment has come. */
  come(): void;
  letGo(): void;
}

function matcherOf(statement: NamedStatement): Wish["matches"] {
  if (statement instanceof RegExp) return (text) => statement.test(text);
  const wanted = sqlOf(statement).trim();
  return (text) => text === wanted;
}

/** Passes everything on, message by message, and stops where a wish says so. */
function join(near: Socket, far: Socket, wishes: Set<Wish>): void {
  const toServer = createRoad((message) => far.writable && far.write(message));
  const toClient = createRoad((message) => near.writable && near.write(message));
  const fromClient = createSplitter({ beginsUntyped: true });
  const fromServer = createSplitter({ beginsUntyped: false });
  const statementIn = createStatementReader();
  // As the client sees it: what it sends right behind its "begin" is part of the transaction, answered or not.
  let isInTransaction = false;
  /** Its statement was part of the transaction that is open now. */
  let awaitsCommit: Wish | null = null;
  /** What the server answers next is held, and the moment has come when it is ready for more. */
  let awaitsAnswer: Wish | null = null;

  near.on("data", (chunk) => {
    for (const message of fromClient(chunk)) toServer.send(message, onStatement);
  });
  far.on("data", (chunk) => {
    for (const message of fromServer(chunk)) toClient.send(message, () => true);
  });
  // A client that is gone takes with it what had not got through.
  near.on("end", () => far.end());
  near.on("close", () => {
    far.destroy();
    if (awaitsCommit !== null) wishes.add(awaitsCommit);
  });
  far.on("end", () => near.end());
  far.on("close", () => near.destroy());

  function onStatement(message: Buffer): boolean {
    const text = statementIn(message);
    if (text === null) return true;
    if (/^begin\b/i.test(text)) isInTransaction = true;
    if (/^(?:commit|rollback)$/i.test(text)) isInTransaction = false;
    if (awaitsCommit !== null && /^(?:commit|rollback)$/i.test(text)) {
      const wish = awaitsCommit;
      awaitsCommit = null;
      // Rolled back, nothing came of it: the wish is open again.
      if (!/^commit$/i.test(text)) wishes.add(wish);
      else return wish.where === "answer" ? holdAnswerTo(wish) : holdBack(wish);
    }

    for (const wish of wishes) {
      if (!wish.matches(text)) continue;
      wishes.delete(wish);
      if (wish.where === "before") return holdBack(wish);
      if (wish.where === "answer" && !isInTransaction) return holdAnswerTo(wish);
      awaitsCommit = wish;
    }
    return true;
  }

  function holdBack(wish: Wish): false {
    wish.letGo = () => toServer.open(onStatement);
    wish.come();
    return false;
  }

  function holdAnswerTo(wish: Wish): true {
    awaitsAnswer = wish;
    wish.letGo = () => toClient.open(() => true);
    toClient.close();
    return true;
  }

  // Also while the road is closed: it is from here that the test learns that the server is done.
  toClient.onHeld = (message) => {
    if (message[0] !== READY_FOR_QUERY) return;
    awaitsAnswer?.come();
    awaitsAnswer = null;
  };
}

interface Road {
  /** Delivers unless the road is closed, or `mayPass` closes it. */
  send(message: Buffer, mayPass: (message: Buffer) => boolean): void;
  close(): void;
  /** What was held goes first, and may be held again on the way. */
  open(mayPass: (message: Buffer) => boolean): void;
  onHeld: (message: Buffer) => void;
}

function createRoad(deliver: (message: Buffer) => void): Road {
  let held: Buffer[] | null = null;

  const road: Road = {
    send(message, mayPass) {
      if (held !== null) {
        held.push(message);
        road.onHeld(message);
      } else if (mayPass(message)) {
        deliver(message);
      } else {
        held = [message];
      }
    },
    close() {
      held ??= [];
    },
    open(mayPass) {
      const messages = held ?? [];
      held = null;
      for (const message of messages) road.send(message, mayPass);
    },
    onHeld: () => {},
  };
  return road;
}

const [QUERY, PARSE, BIND, READY_FOR_QUERY] = [..."QPBZ"].map((letter) => letter.charCodeAt(0));

/** Reads which statement a message runs; a prepared one is run when its parameters are bound. */
function createStatementReader(): (message: Buffer) => string | null {
  const prepared = new Map<string, string>();

  return (message) => {
    switch (message[0]) {
      case QUERY:
        return textFrom(message, 5);
      case PARSE: {
        const name = textFrom(message, 5);
        prepared.set(name, textFrom(message, message.indexOf(0, 5) + 1));
        return null;
      }
      case BIND:
        return prepared.get(textFrom(message, message.indexOf(0, 5) + 1)) ?? null;
      default:
        return null;
    }
  };
}

function textFrom(message: Buffer, start: number): string {
  return message.toString("utf8", start, message.indexOf(0, start)).trim();
}

/** Cuts a stream into whole messages, however it was split on the way: a type, a length that counts itself, the rest. */
function createSplitter({ beginsUntyped }: { readonly beginsUntyped: boolean }) {
  let rest = Buffer.alloc(0);
  // The first message of a client has no type.
  let typeBytes = beginsUntyped ? 0 : 1;

  return (chunk: Buffer): Buffer[] => {
    rest = Buffer.concat([rest, chunk]);
    const messages: Buffer[] = [];
    while (rest.length >= typeBytes + 4) {
      const length = typeBytes + rest.readInt32BE(typeBytes);
      if (rest.length < length) break;
      messages.push(rest.subarray(0, length));
      rest = rest.subarray(length);
      typeBytes = 1;
    }
    return messages;
  };
}
