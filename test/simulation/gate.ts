/**
 * What a replica has for a pool: every statement outside a transaction, and every transaction, waits until the history lets it
 * through. Let through, it runs to its end on the one session of all replicas, with the fault that was drawn for it.
 */
import type { ConnectionPool } from "../../src/db/database.ts";
import { queryNames, sqlOf } from "../../src/db/queries.ts";
import type { Session } from "./stage.ts";

export type Fault =
  | { readonly kind: "none" }
  /** Nothing of it happened. */
  | { readonly kind: "before"; readonly error: Error }
  /** It happened, and whoever asked for it does not hear of it. */
  | { readonly kind: "answer lost"; readonly error: Error }
  /** In a transaction: the statement of this number fails, and all is rolled back. */
  | { readonly kind: "within"; readonly statement: number; readonly error: Error }
  /** The process dies when this statement is asked for, or right after the commit. */
  | { readonly kind: "killed within"; readonly statement: number }
  | { readonly kind: "killed after" }
  /** The process is stopped (SIGSTOP) when it has happened, and hears of it when it goes on. */
  | { readonly kind: "stopped after" };

export interface Call {
  readonly name: string;
  readonly isTransaction: boolean;
  /** When it was asked for. */
  readonly since: number;
  /** Resolves when it has ended, with what it was. */
  perform(fault: Fault): Promise<string>;
}

export interface Gated {
  readonly session: Session;
  readonly now: () => number;
  /** A call waits. */
  readonly submit: (call: Call) => void;
  /** Hands an answer to the replica, at once or when it can hear it. */
  readonly deliver: (answer: () => void) => void;
  readonly kill: () => void;
  readonly stop: () => void;
  /** What becomes of the process in the moment after a transaction of these statements. */
  readonly atCommit: (statements: readonly string[]) => "lives" | "killed after" | "stopped after";
}

export function createGate(gated: Gated): ConnectionPool {
  const { session, submit, deliver, now, kill, stop, atCommit } = gated;
  const { client } = session;

  function query(config: Statement): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const name = nameOf(config);
    submit({
      name,
      isTransaction: false,
      since: now(),
      async perform(fault) {
        if (fault.kind === "before" || fault.kind === "within") {
          deliver(() => reject(fault.error));
          return name;
        }
        if (fault.kind === "killed within") {
          kill();
          return name;
        }
        session.setTime(now());
        try {
          const result = await client.query(prepared(config));
          if (fault.kind === "stopped after") stop();
          if (fault.kind === "killed after") kill();
          else if (fault.kind === "answer lost") deliver(() => reject(fault.error));
          else deliver(() => resolve(result));
        } catch (error) {
          deliver(() => reject(error));
        }
        return name;
      },
    });
    return promise;
  }

  function connect(): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    submit({
      name: "transaction",
      isTransaction: true,
      since: now(),
      async perform(fault) {
        if (fault.kind === "before") {
          deliver(() => reject(fault.error));
          return "transaction";
        }
        session.setTime(now());
        const ended = Promise.withResolvers<void>();
        const ran: string[] = [];
        let broken = false;
        const fail = async (how: Error | "killed") => {
          broken = true;
          await client.query("rollback");
          if (how !== "killed") throw how;
          kill();
          ended.resolve();
          await new Promise<never>(() => {});
        };
        deliver(() =>
          resolve({
            async query(given: string | Statement) {
              if (broken) throw lost();
              const isStatement = typeof given !== "string";
              if (isStatement) ran.push(nameOf(given));
              if (isStatement && "statement" in fault && ran.length === fault.statement)
                await fail(fault.kind === "within" ? fault.error : "killed");
              const result = await client.query(isStatement ? prepared(given) : { text: given });
              if (given !== "commit") return result;
              if (fault.kind === "answer lost") {
                broken = true;
                throw fault.error;
              }
              const becomes = fault.kind === "none" ? atCommit(ran) : fault.kind;
              if (becomes === "stopped after") {
                const goesOn = Promise.withResolvers<void>();
                stop();
                deliver(goesOn.resolve);
                ended.resolve();
                await goesOn.promise;
              }
              if (becomes === "killed after") {
                kill();
                ended.resolve();
                await new Promise<never>(() => {});
              }
              return result;
            },
            release: () => ended.resolve(),
          }),
        );
        await ended.promise;
        return ran.join(", ");
      },
    });
    return promise;
  }

  return { query, connect } as never;
}

/** What the driver says of a connection that a fault of the history has ended. */
function lost(): Error {
  return Object.assign(new Error("Client was closed and is not queryable"), {
    isOfTheHistory: true,
  });
}

interface Statement {
  readonly text: string;
  readonly values: unknown[];
}

const names = new Map(queryNames().map((name) => [sqlOf(name), name]));

function nameOf({ text }: Statement): string {
  return names.get(text) ?? "a statement of none of ours";
}

function prepared(statement: Statement) {
  return { name: nameOf(statement), ...statement };
}
