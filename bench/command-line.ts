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
  readonly wantsHelp: boolean;
  /** As they were given, without the parts. */
  readonly options: readonly string[];
}

export const USAGE = `npm run bench -- [part …] [--quick] [--rounds 5] [--only <contender>] [--scale 1] [--report]

  --quick     smaller sizes and two rounds
  --only      one contender, may be given more than once
  --scale     multiplies every size, to try the benchmark itself out
  --report    measures nothing, writes docs/performance.md from bench/results

Each part is a process of its own; when one fails, the others run all the same. Results go to bench/results and docs/performance.md, those
of a run with --quick, --only, --scale or less than five rounds to bench/results/quick.
`;

const ROUNDS = 5;
const ROUNDS_QUICK = 2;

/** @throws TypeError for an unknown option, Error for a number that is none */
export function readRequest(args: readonly string[]): Request {
  const { values, positionals, tokens } = parseArgs({
    args: [...args],
    allowPositionals: true,
    tokens: true,
    options: {
      quick: { type: "boolean", default: false },
      rounds: { type: "string" },
      only: { type: "string", multiple: true, default: [] },
      scale: { type: "string", default: "1" },
      report: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
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
    wantsHelp: values.help,
    options: tokens.flatMap((token) => {
      if (token.kind !== "option") return [];
      return [token.value === undefined ? token.rawName : `${token.rawName}=${token.value}`];
    }),
  };
}

/** A run that measures less than it could leaves no trace in what the repository keeps. */
export function isWhole({
  quick,
  rounds,
  contenders,
  scale,
}: Pick<Request, "quick" | "rounds" | "contenders" | "scale">): boolean {
  return !quick && rounds >= ROUNDS && contenders.length === 0 && scale === 1;
}

function readNumber(option: string, text: string): number {
  const number = Number(text);
  if (!(number > 0)) throw new Error(`${option} wants a number above 0, not ${text}`);
  return number;
}
