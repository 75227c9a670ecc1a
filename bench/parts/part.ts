/** What every part of the benchmark is given, and what it hands back. */
import type { Contender } from "../contenders/contender.ts";
import type { Api } from "../lab/api.ts";
import type { LoadGenerator } from "../lab/load.ts";
import type { Postgres } from "../lab/postgres.ts";
import type { Observation } from "../measure/observations.ts";
import type { Flame } from "../measure/profile.ts";

export interface Lab {
  readonly postgres: Postgres;
  readonly api: Api;
  readonly load: LoadGenerator;
  /** Those that were asked for, in the order of the tables. */
  readonly contenders: readonly Contender[];
  readonly quick: boolean;
  readonly rounds: number;
  /** Every size times this, for trying the benchmark itself out. */
  readonly scale: number;
  /** One line of progress. */
  readonly log: (line: string) => void;
}

export interface Part {
  readonly name: string;
  /** Calls `observe` with each figure of each round. Resolves with what is no figure. */
  run(lab: Lab, observe: Observe): Promise<{ readonly flame?: Flame } | undefined>;
}

export type Observe = (observation: Observation) => void;

export function scaled(lab: Lab, full: number, quick: number): number {
  return Math.max(1, Math.round((lab.quick ? quick : full) * lab.scale));
}
