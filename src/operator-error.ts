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

  static of(
    { problem, remedy }: Diagnosis,
    options: { exitCode?: 1 | 2; cause?: unknown } = {},
  ): OperatorError {
    return new OperatorError(problem, { ...options, hint: remedy });
  }
}

/** What is wrong, in one sentence, and what to do about it, in another. */
export interface Diagnosis {
  /** What is wrong, on what. The same words for as long as the same thing is wrong. */
  readonly problem: string;
  readonly remedy: string;
}
