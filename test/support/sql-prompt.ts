/** The SQL prompt on a database, fed by a test instead of a terminal or a pipe. */
import { PassThrough } from "node:stream";
import { runSqlPrompt, type SqlPromptOptions } from "../../src/local/sql-prompt.ts";

export interface PromptGiven extends Partial<SqlPromptOptions> {
  /** The prompt is typed into. */
  readonly isTTY?: boolean;
  /** What it prints goes to a terminal. */
  readonly isShownAtTerminal?: boolean;
}

/** Gives it all of `text`, and waits for its end. */
export async function pipeInto(
  databaseUrl: string,
  text: string | Buffer,
  given: PromptGiven = {},
): Promise<{ code: number; printed: string }> {
  const prompt = openPrompt(databaseUrl, given);
  prompt.input.end(text);
  return { code: await prompt.code, printed: prompt.printed() };
}

export function openPrompt(
  databaseUrl: string,
  { isTTY = false, isShownAtTerminal = false, ...options }: PromptGiven = {},
) {
  const input = Object.assign(new PassThrough(), { isTTY });
  const output = Object.assign(new PassThrough(), { isTTY: isShownAtTerminal });
  let printed = "";
  output.on("data", (chunk) => {
    printed += chunk;
  });
  const code = runSqlPrompt({ url: databaseUrl, input, output, ...options });
  return { input, code, printed: () => printed };
}
