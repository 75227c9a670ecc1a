/** Asks a person before something that cannot be undone. */
import { createInterface } from "node:readline/promises";
import { OperatorError } from "../operator-error.ts";

/** @throws OperatorError where there is no terminal to ask on */
export async function isConfirmed(asked: {
  readonly question: string;
  /** What the command does, and the call that does it without a question. */
  readonly does: string;
  readonly call: string;
  readonly json: boolean;
}): Promise<boolean> {
  if (asked.json || process.stdin.isTTY !== true || process.stdout.isTTY !== true) {
    throw new OperatorError(`${asked.does}, and there is no terminal to ask on.`, {
      hint: `If that is what you want: \`${asked.call}\``,
      exitCode: 2,
    });
  }
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  try {
    const answer = await terminal.question(`${asked.question} Go on? (yes/no) `);
    return answer.trim().toLowerCase() === "yes";
  } finally {
    terminal.close();
  }
}
