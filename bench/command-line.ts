/** Reads the command line of the benchmark. Pure. */
import { parseArgs } from "node:util";

export interface Request {
  /** Empty: all. */
  readonly parts: readonly string[];
  readonly quick: boolean;
  readonly rounds: number;
  /** Empty: all. */
  readonly contenders: readonly string[];
  readonly scale: number;
  /** Only the document and its plots are made again, from the results that are there. */
  readonly reportOnly: boolean;
}

export const USAGE = `npm run bench -- [part …] [--quick] [--rounds 5] [--only <contender>] [--scale 1] [--report]

  --quick     smaller sizes and two rounds; its results and report go to bench/results/quick
  --only      one contender, may be given more than once
  --scale     multiplies every size, to try the benchmark itself out
  --report    measures nothing, writes docs/performance.md from bench/results
`;

const ROUNDS = 5;
const ROUNDS_QUICK = 2;

/** @throws TypeError for an unknown option, Error for a number that is none */
export function readRequest(args: readonly string[]): Request {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      quick: { type: "boolean", default: false },
      rounds: { type: "string" },
      only: { type: "string", multiple: true, default: [] },
      scale: { type: "string", default: "1" },
      report: { type: "boolean", default: false },
    },
  });
  const { quick } = values;
  return {
    parts: positionals,
    quick,
    rounds: readNumber("--rounds", values.rounds ?? String(quick ? ROUNDS_QUICK : ROUNDS)),
    contenders: values.only,
    scale: readNumber("--scale", values.scale),
    reportOnly: values.report,
  };
}

function readNumber(option: string, text: string): number {
  const number = Number(text);
  if (!(number > 0)) throw new Error(`${option} wants a number above 0, not ${text}`);
  return number;
}
