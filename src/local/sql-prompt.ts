/**
 * A small SQL prompt for machines without psql (the embedded PostgreSQL brings none). Statements end with `;` and may span
 * lines; values are shown as the server writes them. Knows nothing of account-sync.
 */
import { createInterface, type Interface } from "node:readline";
import pg from "pg";

export interface SqlPromptOptions {
  readonly url: string;
  /** A terminal gets prompts, and goes on after an error; from a pipe or file the first error ends it, as in a script. */
  readonly input: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  readonly output: NodeJS.WritableStream;
}

/** Resolves with the exit code: 0, or 1 after an error that ended it. */
export async function runSqlPrompt({ url, input, output }: SqlPromptOptions): Promise<number> {
  const print = (line: string) => output.write(`${line}\n`);
  const client = new pg.Client({
    connectionString: url,
    application_name: "account-sync sql",
    types: { getTypeParser: () => String },
  });
  let endInput = () => {};
  let isConnected = true;

  client.on("notification", ({ channel, payload }) => print(`NOTIFY ${channel}, '${payload}'`));
  client.on("notice", ({ severity, message }) => print(`${severity}: ${message}`));
  client.on("error", (error) => {
    print(`Connection lost: ${error.message}`);
    isConnected = false;
    endInput();
  });

  try {
    await client.connect();
    // Not before: readline starts to read at once, and lines nobody waits for yet are lost.
    const isTerminal = input.isTTY === true;
    const readline = createInterface({ input, output, terminal: isTerminal });
    endInput = () => readline.close();

    const isFine = await answerLines({ client, readline, print, isTerminal });
    return isFine && isConnected ? 0 : 1;
  } catch (error) {
    print(describeError(error));
    return 1;
  } finally {
    endInput();
    await client.end().catch(() => {});
  }
}

interface Conversation {
  readonly client: pg.Client;
  readonly readline: Interface;
  readonly print: (line: string) => void;
  readonly isTerminal: boolean;
}

/** False when an error ended it. */
async function answerLines(conversation: Conversation): Promise<boolean> {
  const { readline, print, isTerminal } = conversation;
  let unfinished = "";
  let isOpen = true;

  readline.on("close", () => {
    isOpen = false;
  });
  const prompt = () => {
    if (isTerminal && isOpen) {
      readline.setPrompt(unfinished.trim() === "" ? "sql> " : "...> ");
      readline.prompt();
    }
  };
  readline.on("SIGINT", () => {
    unfinished = "";
    print("^C");
    prompt();
  });

  if (isTerminal) {
    print("Statements end with ;   \\q or Ctrl-D leaves.");
  }
  prompt();

  for await (const line of readline) {
    if (/^\s*\\q\s*$/.test(line)) {
      return true;
    }

    const { statements, rest } = splitStatements(`${unfinished}${line}\n`);
    unfinished = rest;
    for (const statement of statements) {
      const isFine = await runStatement(statement, conversation);
      if (!isFine && !isTerminal) {
        return false;
      }
    }
    prompt();
  }

  // At the end of a script the last `;` may be missing; at a terminal Ctrl-D means: leave it.
  return isTerminal || isBlank(unfinished) || runStatement(unfinished, conversation);
}

async function runStatement(statement: string, { client, print }: Conversation): Promise<boolean> {
  try {
    const result = await client.query<(string | null)[]>({ text: statement, rowMode: "array" });
    print(describeResult(result));
    return true;
  } catch (error) {
    print(describeError(error));
    return false;
  }
}

function describeResult(result: pg.QueryArrayResult<(string | null)[]>): string {
  if (result.fields.length === 0) {
    return [result.command, result.rowCount].filter((part) => part !== null).join(" ");
  }

  const count = `(${result.rows.length} ${result.rows.length === 1 ? "row" : "rows"})`;
  return `${toTable(result)}\n${count}`;
}

function toTable({ fields, rows }: pg.QueryArrayResult<(string | null)[]>): string {
  const header = fields.map((field) => field.name);
  const body = rows.map((row) => row.map((value) => toCell(value)));
  const widths = header.map((name, column) =>
    body.reduce((width, row) => Math.max(width, row[column]?.length ?? 0), name.length),
  );

  const toLine = (cells: readonly string[]) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join(" | ")
      .trimEnd();
  const ruler = widths.map((width) => "-".repeat(width)).join("-+-");
  return [toLine(header), ruler, ...body.map(toLine)].join("\n");
}

function toCell(value: string | null): string {
  return value === null ? "null" : value.replaceAll("\r", "\\r").replaceAll("\n", "\\n");
}

function describeError(error: unknown): string {
  if (!(error instanceof pg.DatabaseError)) {
    return `ERROR: ${error instanceof Error ? error.message : String(error)}`;
  }

  return [
    `${error.severity} ${error.code}: ${error.message}`,
    ...(error.detail === undefined ? [] : [`DETAIL: ${error.detail}`]),
    ...(error.hint === undefined ? [] : [`HINT: ${error.hint}`]),
  ].join("\n");
}

/** What a `;` does not end a statement in: strings, quoted names, comments and dollar quotes. The last branch is any character. */
const TOKEN =
  /\b[eE]'(?:\\[\s\S]|''|[^'\\])*'|'(?:''|[^'])*'|"[^"]*"|--[^\n]*\n|\/\*[\s\S]*?\*\/|\$(\w*)\$[\s\S]*?\$\1\$|(?<open>'|"|--|\/\*|\$\w*\$)|[\s\S]/g;

function splitStatements(text: string): { statements: string[]; rest: string } {
  const statements: string[] = [];
  let start = 0;

  for (const token of text.matchAll(TOKEN)) {
    if (token.groups?.["open"] !== undefined) {
      break;
    }
    if (token[0] === ";") {
      const statement = text.slice(start, token.index);
      start = token.index + 1;
      if (!isBlank(statement)) {
        statements.push(statement);
      }
    }
  }
  return { statements, rest: text.slice(start) };
}

function isBlank(statement: string): boolean {
  return statement.replaceAll(/--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\//g, "").trim() === "";
}
