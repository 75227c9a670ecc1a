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
