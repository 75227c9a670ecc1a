/** What a benchmark knows of a contender: how it is installed, how its daemon is started, and how it says that nothing is left to do. */
import type { Child } from "../lab/children.ts";
import type { Database } from "../lab/postgres.ts";

export interface Contender {
  readonly name: string;
  /** On a database that has the source tables. null: it installs nothing. */
  readonly install: ((database: Database) => Promise<void>) | null;
  /** null: it has no daemon. Resolves when the daemon works, or would if there were something to do. */
  readonly start: ((options: DaemonOptions) => Promise<Child>) | null;
  /** What is changed while its daemon is down is done later. */
  readonly isDurable: boolean;
  /** A query for one boolean, `pending`: whether anything waits or is under way. null: not known from outside. */
  readonly pendingQuery: string | null;
  /** Requests in flight, where the contender cannot do what the others are told. */
  readonly concurrencyMax: number;
  readonly writes: WritesMeasured;
}

/** How the application's writes are measured with the contender installed. */
export interface WritesMeasured {
  /** What its daemon does meanwhile, where more is measured than a stopped one. */
  readonly states?: readonly WriteState[];
  /** Whether they are measured with the slow flush too: where the shared lock of NOTIFY shows. */
  readonly hasSlowFlush: boolean;
  /** The rows of one UPDATE that ends within half a minute. */
  readonly updateRowsMax: number;
}

export interface WriteState {
  readonly name: string;
  /** Resolves with what has to be stopped again, if anything. */
  readonly enter: (database: Database, apiUrl: string) => Promise<Child | null>;
}

export interface DaemonOptions {
  readonly databaseUrl: string;
  readonly apiUrl: string;
  /** Requests in flight. */
  readonly concurrency: number;
  /** How many accounts there are. */
  readonly accounts: number;
  /** Of the product's settings. */
  readonly settings?: Readonly<Record<string, string>>;
}
