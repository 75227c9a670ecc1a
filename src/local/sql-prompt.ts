/**
 * A small SQL prompt for machines without psql (the embedded PostgreSQL comes without). Statements end with `;` and may span
 * lines; values are shown as the server writes them. Knows nothing of account-sync.
 *
 *                               at a terminal                    in a pipe or from a file
 *     an error                  is shown, the prompt goes on     ends it, with exit code 1; nothing after it runs
 *     a statement without `;`   is left at Ctrl-D                is run at the end
 *     an open quote             is shown by the prompt           ends it, with exit code 1; the statement is not run
 *     Ctrl-C                    drops what was typed, or         cancels the statement that runs and ends it, with
 *                               cancels what runs                exit code 1
 *     a line                    ends where readline ends it,     ends at LF alone; every other byte is kept
 *                               at CR, U+2028 and U+2029, too
 *
 * Control characters are made visible where the output is a terminal, and go on unchanged to a pipe or a file.
 */
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import pg from "pg";
import { OperatorError } from "../operator-error.ts";
import { readPipedLines } from "./piped-lines.ts";
import { answerCommand } from "./sql-commands.ts";
import { COPY_NEEDS_PSQL, createSqlSession, type SqlRows, type SqlSession } from "./sql-session.ts";
import { createStatementReader, type Piece } from "./sql-statements.ts";
import { escapeControls, toTable } from "./sql-table.ts";

export interface SqlPromptOptions {
  readonly url: string;
  /** A terminal gets prompts. */
  readonly input: Readable & { readonly isTTY?: boolean };
  readonly output: Output;
  /** For errors, notices and the like of a pipe, whose output is for a program. Default: `output`. */
  readonly errors?: Output;
  /** Aborted by Ctrl-C, where that is a signal: at a terminal that readline reads it is a key. */
  readonly interrupted?: AbortSignal;
}

type Output = NodeJS.WritableStream & { readonly isTTY?: boolean };

/** Resolves with the exit code: 0, or 1 after an error or a signal that ended it. */
export async function runSqlPrompt(options: SqlPromptOptions): Promise<number> {
  const { url, input, output, interrupted } = options;
  const isTerminal = input.isTTY === true;
  const errors = isTerminal ? output : (options.errors ?? output);
  const show = toShown(output);
  const print = (line: string) => output.write(`${show(line)}\n`);
  const complain = (line: string) => errors.write(`${toShown(errors)(line)}\n`);
  const ending = new AbortController();
  const endInput = () => ending.abort();
  let isConnected = true;

  const session = createSqlSession(url, {
    onNotification: (channel, payload) => print(`NOTIFY ${channel}, '${payload}'`),
    onNotice: (severity, message) => complain(`${severity}: ${message}`),
    onLost: (error) => {
      complain(`Connection lost: ${error.message}`);
      isConnected = false;
      endInput();
    },
  });
  const onInterrupted = () => {
    endInput();
    void session.cancel();
  };

  try {
    await session.connect();
    interrupted?.addEventListener("abort", onInterrupted);
    if (interrupted?.aborted === true) onInterrupted();

    const ended = ending.signal;
    const io = { input, output, ended, print, show, complain, isTerminal };
    const isFine = await answerLines({ session, ...io });
    interrupted?.removeEventListener("abort", onInterrupted);
    return isFine && isConnected && interrupted?.aborted !== true ? 0 : 1;
  } catch (error) {
    complain(describeError(error));
    return 1;
  } finally {
    endInput();
    await session.end();
  }
}

function toShown({ isTTY }: Output): (text: string) => string {
  return isTTY === true ? escapeControls : (text) => text;
}

interface Conversation {
  readonly session: SqlSession;
  readonly input: Readable;
  readonly output: Output;
  /** Aborted when nothing more is to be read and run. */
  readonly ended: AbortSignal;
  readonly print: (line: string) => void;
  /** How a value looks in the output. */
  readonly show: (text: string) => string;
  readonly complain: (line: string) => void;
  readonly isTerminal: boolean;
}

/** False when an error or a signal ended it. */
async function answerLines(conversation: Conversation): Promise<boolean> {
  const { session, input, output, ended, print, complain, isTerminal } = conversation;
  if (ended.aborted) return false;
  const reader = createStatementReader();
  const readline = isTerminal ? createInterface({ input, output, terminal: true }) : null;
  let isOpen = true;
  let isRunning = false;

  ended.addEventListener("abort", () => readline?.close());
  readline?.on("close", () => {
    isOpen = false;
  });
  const prompt = () => {
    if (isOpen) {
      readline?.setPrompt(toPrompt(reader.open));
      readline?.prompt();
    }
  };
  readline?.on("SIGINT", () => {
    print("^C");
    if (isRunning) return void session.cancel();
    reader.clear();
    prompt();
  });
  const answer = async (piece: Piece) => {
    isRunning = true;
    try {
      return await answerPiece(piece, conversation);
    } finally {
      isRunning = false;
    }
  };

  if (isTerminal) {
    print("Statements end with ;   \\? lists commands, \\q or Ctrl-D leaves.");
  }
  prompt();

  for await (const line of readline ?? readPipedLines(input, ended)) {
    const pieces = reader.open === null ? toPieces(line) : null;
    for (const piece of pieces ?? reader.feed(line)) {
      const outcome = await answer(piece);
      if (outcome === "left") return true;
      if (ended.aborted || (outcome === "failed" && !isTerminal)) return false;
    }
    prompt();
  }

  if (ended.aborted) return false;
  if (reader.open === null) return true;
  if (isTerminal) {
    print("\nThe unfinished statement was not run.");
    return true;
  }
  if (reader.open !== ";") {
    complain(
      `ERROR: the input ends within ${describeOpen(reader.open)}: its statement was not run.`,
    );
    return false;
  }
  return (await answer(reader.rest)) !== "failed";
}

const COMMAND_WORDS: ReadonlyMap<string, string> = new Map([
  ["exit", "\\q"],
  ["quit", "\\q"],
  ["help", "\\?"],
]);

/** Words that stand for a command when they are alone on a line, as in psql. */
function toPieces(line: string): Piece[] | null {
  const command = COMMAND_WORDS.get(line.trim().toLowerCase());
  return command === undefined ? null : [{ kind: "command", text: command }];
}

function toPrompt(open: string | null): string {
  if (open === null) return "sql> ";
  return open === ";" ? "...> " : `${open}> `;
}

const OPEN_NAMES: ReadonlyMap<string, string> = new Map([
  ["'", "a string (')"],
  ['"', 'a quoted name (")'],
  ["/*", "a comment (/*)"],
  ["(", "parentheses"],
  ["begin", "a body (begin atomic)"],
]);

function describeOpen(open: string): string {
  return OPEN_NAMES.get(open) ?? `a dollar quote (${open})`;
}

async function answerPiece(
  piece: Piece,
  { session, print, show, complain }: Conversation,
): Promise<"done" | "left" | "failed"> {
  const printResult = (result: SqlRows) => {
    if (result.fields.length > 0) for (const line of toTable(result, show)) print(line);
    else print([result.command, result.rowCount].filter((part) => part !== null).join(" "));
  };
  try {
    if (piece.kind === "command") {
      return await answerCommand(piece.text, { query: session.query, print, show: printResult });
    }
    if (piece.kind === "copy") throw new Error(COPY_NEEDS_PSQL);
    const result = await session.query(piece.text);
    // An array where the server saw several statements in one of the prompt's (with standard_conforming_strings off).
    for (const one of [result].flat()) printResult(one);
    return "done";
  } catch (error) {
    complain(describeError(error));
    return "failed";
  }
}

function describeError(error: unknown): string {
  if (error instanceof OperatorError) return `ERROR: ${error.message}\nHINT: ${error.hint}`;
  if (!(error instanceof pg.DatabaseError)) {
    return `ERROR: ${error instanceof Error ? error.message : String(error)}`;
  }

  return [
    `${error.severity} ${error.code}: ${error.message}`,
    ...(error.detail === undefined ? [] : [`DETAIL: ${error.detail}`]),
    ...(error.hint === undefined ? [] : [`HINT: ${error.hint}`]),
  ].join("\n");
}
