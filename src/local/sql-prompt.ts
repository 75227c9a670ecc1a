/**
 * A small SQL prompt for machines without psql (the embedded PostgreSQL brings none). Statements end with `;` and may span
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
 * Control characters are made visible where what is printed goes to a terminal, and go on unchanged to a pipe or a file.
 */
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import pg from "pg";
import { parseConnectionUrl } from "../db/connection-url.ts";
import { explained } from "../db/explained.ts";
import { OperatorError } from "../operator-error.ts";
import { readPipedLines } from "./piped-lines.ts";
import { answerCommand } from "./sql-commands.ts";
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
type Rows = pg.QueryArrayResult<(string | null)[]>;

/** Resolves with the exit code: 0, or 1 after an error or a signal that ended it. */
export async function runSqlPrompt(options: SqlPromptOptions): Promise<number> {
  const { url, input, output, interrupted } = options;
  const isTerminal = input.isTTY === true;
  const errors = isTerminal ? output : (options.errors ?? output);
  const show = toShown(output);
  const print = (line: string) => output.write(`${show(line)}\n`);
  const complain = (line: string) => errors.write(`${toShown(errors)(line)}\n`);
  const client = new pg.Client({
    ...toConnection(url),
    types: { getTypeParser: () => String },
  });
  const ending = new AbortController();
  const endInput = () => ending.abort();
  let isConnected = true;

  client.on("notification", ({ channel, payload }) => print(`NOTIFY ${channel}, '${payload}'`));
  client.on("notice", ({ severity, message }) => complain(`${severity}: ${message}`));
  client.on("error", (error) => {
    complain(`Connection lost: ${error.message}`);
    isConnected = false;
    endInput();
  });

  try {
    await client.connect().catch((error: unknown) => {
      throw explained(error, url);
    });
    const onInterrupted = () => {
      endInput();
      void cancel(client, url);
    };
    interrupted?.addEventListener("abort", onInterrupted);
    if (interrupted?.aborted === true) onInterrupted();

    const isFine = await answerLines({
      client,
      url,
      input,
      output,
      ended: ending.signal,
      print,
      show,
      complain,
      isTerminal,
    });
    interrupted?.removeEventListener("abort", onInterrupted);
    return isFine && isConnected && interrupted?.aborted !== true ? 0 : 1;
  } catch (error) {
    complain(describeError(error));
    return 1;
  } finally {
    endInput();
    await client.end().catch(() => {});
  }
}

const CONNECT_WITHIN_MS = 5_000;

function toConnection(url: string): pg.ClientConfig {
  const { client, options } = parseConnectionUrl(url);
  return {
    ...client,
    options,
    application_name: "account-sync sql",
    // What accepts and never answers would keep the prompt, and a Ctrl-C, waiting.
    connectionTimeoutMillis: CONNECT_WITHIN_MS,
  };
}

/**
 * Ends what the client's session runs, if anything; the session goes on. Not behind a pooler, whose process ids are none of the server's:
 * there the statement ends with the connection.
 */
async function cancel(client: pg.Client, url: string): Promise<void> {
  const other = new pg.Client(toConnection(url));
  other.on("error", () => {});
  try {
    await other.connect();
    await other.query("select pg_cancel_backend($1) where pg_backend_pid() = $2", [
      processOf(client),
      processOf(other),
    ]);
  } catch {
    // The server is gone, and with it what it ran.
  } finally {
    await other.end().catch(() => {});
  }
}

function processOf(client: pg.Client): number | null {
  return (client as pg.Client & { readonly processID: number | null }).processID;
}

function toShown({ isTTY }: Output): (text: string) => string {
  return isTTY === true ? escapeControls : (text) => text;
}

const NEEDS_PSQL =
  "COPY through the connection (STDIN, STDOUT) needs psql; here, insert and select do the same.";

interface Conversation {
  readonly client: pg.Client;
  readonly url: string;
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
  const { client, url, input, output, ended, print, complain, isTerminal } = conversation;
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
    if (isRunning) return void cancel(client, url);
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

/** Words that stand for a command when they are all there is on a line, as in psql. */
function toPieces(line: string): Piece[] | null {
  switch (line.trim().toLowerCase()) {
    case "exit":
    case "quit":
      return [{ kind: "command", text: "\\q" }];
    case "help":
      return [{ kind: "command", text: "\\?" }];
    default:
      return null;
  }
}

function toPrompt(open: string | null): string {
  if (open === null) return "sql> ";
  return open === ";" ? "...> " : `${open}> `;
}

function describeOpen(open: string): string {
  switch (open) {
    case "'":
      return "a string (')";
    case '"':
      return 'a quoted name (")';
    case "/*":
      return "a comment (/*)";
    case "(":
      return "parentheses";
    case "begin":
      return "a body (begin atomic)";
    default:
      return `a dollar quote (${open})`;
  }
}

async function answerPiece(
  piece: Piece,
  { client, print, show, complain }: Conversation,
): Promise<"done" | "left" | "failed"> {
  const query = async (text: string, values?: readonly unknown[]): Promise<Rows> =>
    await client.query<(string | null)[]>({
      text,
      ...(values === undefined ? {} : { values: [...values] }),
      rowMode: "array",
    });
  const printResult = (result: Rows) => {
    if (result.fields.length > 0) for (const line of toTable(result, show)) print(line);
    else print([result.command, result.rowCount].filter((part) => part !== null).join(" "));
  };
  let isCopy = piece.kind === "copy";
  const onCopy = () => {
    isCopy = true;
  };
  client.connection.on("copyInResponse", onCopy).on("copyOutResponse", onCopy);
  try {
    if (piece.kind === "command") {
      return await answerCommand(piece.text, { query, print, show: printResult });
    }
    const result = isCopy ? null : await query(piece.text);
    if (result === null || isCopy) throw new Error(NEEDS_PSQL);
    // An array where the server saw several statements in what is one here (with standard_conforming_strings off).
    for (const one of [result].flat()) printResult(one);
    return "done";
  } catch (error) {
    complain(isCopy ? `ERROR: ${NEEDS_PSQL}` : describeError(error));
    return "failed";
  } finally {
    client.connection.off("copyInResponse", onCopy).off("copyOutResponse", onCopy);
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
