/**
 * An error for the person who runs this: what we tried, on what, what came back (`message`), and what to do (`hint`).
 *
 * `main.ts` prints both and maps `exitCode`; nothing below it prints.
 */
export class OperatorError extends Error {
  override readonly name = "OperatorError";
  readonly hint: string;
  readonly exitCode: 1 | 2;

  constructor(message: string, options: { hint: string; exitCode?: 1 | 2; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.hint = options.hint;
    this.exitCode = options.exitCode ?? 1;
  }
}
