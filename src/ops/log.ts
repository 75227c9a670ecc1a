/**
 * The log: one JSON object (or, on a terminal, one readable line) per event on stdout. Only this file knows pino.
 *
 * Three promises. A reader of stdout that is slow, stuck or gone never stops the sync: lines are dropped instead, and counted.
 * Lines are bounded. And no error brings row values in: PostgreSQL repeats them in `message` and `detail`, so an error is
 * taken apart by an allow-list.
 */
import type { Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { type Logger, pino, stdTimeFunctions } from "pino";
import { prettyFactory } from "pino-pretty";

export type LogFields = Readonly<Record<string, unknown>>;

export interface Log {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
  fatal(fields: LogFields, message: string): void;
}

/** What may wait in memory for a stuck reader; about a thousand lines. */
const bufferedBytesMax = 1024 * 1024;

const textMax = 1_000;
const lineTextMax = 8_000;
const entriesMax = 50;
const depthMax = 4;

export function createLog(options: {
  readonly level: string;
  readonly format: "json" | "pretty";
  readonly destination?: Writable;
  /** Applied to texts of ours in lines for people. Data, and lines for programs, are not changed. */
  readonly forPerson?: (text: string) => string;
}): Log {
  const sink = createLineSink(options.destination ?? process.stdout);
  const pretty = toPretty(options.destination === undefined, sink);
  const toText = (options.format === "pretty" && options.forPerson) || ((text: string) => text);
  const destination = options.format === "json" ? sink : { write: pretty };

  const log: Logger = pino(
    {
      level: options.level,
      base: { pid: process.pid },
      timestamp: stdTimeFunctions.isoTime,
      formatters: {
        level: (label) => ({ level: label }),
        log: (fields) => withTexts(boundFields(fields), toText),
      },
      // pino's own would take an error apart without asking what is in it; ours has done so by then.
      serializers: { err: (err) => err },
      hooks: {
        logMethod(args, method) {
          const [fields, message] = args as unknown as [LogFields, string];
          method.call(this, fields, toText(cut(message, textMax)));
        },
      },
    },
    destination,
  );
  return log;
}

/**
 * Writes go through the stream, not through `fs.writeSync`: on a pipe Node first tries to write at once, so nothing is late
 * or lost when the process ends, and a full pipe queues in memory instead of blocking the only thread we have. (Waiting in a
 * thread of the pool is no way out either: the process could not exit before that write came back.)
 */
function createLineSink(stream: Writable): { write(line: string): void } {
  let droppedLines = 0;
  let readerIsGone = false;

  // Without a listener an EPIPE would end the process. A full disk may pass; a closed pipe does not come back.
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE" || error.code === "ECONNRESET") readerIsGone = true;
  });

  return {
    write(line) {
      if (readerIsGone) return;
      if (stream.writableLength > bufferedBytesMax) {
        droppedLines += 1;
        return;
      }

      if (droppedLines > 0) stream.write(toDroppedLine(droppedLines));
      droppedLines = 0;
      stream.write(line);
    },
  };
}

function toDroppedLine(droppedLines: number): string {
  const line = {
    level: "warn",
    time: new Date().toISOString(),
    pid: process.pid,
    dropped_lines: droppedLines,
    msg: "log lines were dropped because nobody read stdout fast enough",
  };
  return `${JSON.stringify(line)}\n`;
}

function toPretty(isStdout: boolean, sink: { write(line: string): void }): (line: string) => void {
  const prettify = prettyFactory({
    colorize: isStdout && process.stdout.isTTY === true && process.stdout.hasColors(),
    ignore: "pid",
    // Its default takes every `error` apart over lines of its own, also the null of a run that went well.
    errorLikeObjectKeys: ["err"],
    translateTime: "SYS:HH:MM:ss.l",
    singleLine: true,
  });
  return (line) => sink.write(prettify(line));
}

/** Fields that hold sentences of ours. */
const textFields = ["remedy", "reason", "error"] as const;

function withTexts(
  fields: Readonly<Record<string, unknown>>,
  toText: (text: string) => string,
): Record<string, unknown> {
  const texts = textFields.flatMap((name) => {
    const text = fields[name];
    return typeof text === "string" ? [[name, toText(text)]] : [];
  });
  return { ...fields, ...Object.fromEntries(texts) };
}

function boundFields(fields: object): Record<string, unknown> {
  const budget = { left: lineTextMax };
  return bound(fields, budget, 0) as Record<string, unknown>;
}

/** `budget` is shared by the whole line, so many small values cannot do what one big one may not. */
function bound(value: unknown, budget: { left: number }, depth: number): unknown {
  if (typeof value === "string") return spend(value, budget);
  if (typeof value === "bigint") return spend(value.toString(), budget);
  if (typeof value === "function" || typeof value === "symbol") return undefined;
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Date) return value;
  if (value instanceof Error) return bound(toLoggedError(value), budget, depth);
  if (depth >= depthMax || budget.left <= 0) return "…";

  if (Array.isArray(value)) {
    return value.slice(0, entriesMax).map((item) => bound(item, budget, depth + 1));
  }

  const entries = Object.entries(value)
    .slice(0, entriesMax)
    .map(([key, item]) => [cut(key, 100), bound(item, budget, depth + 1)]);
  return Object.fromEntries(entries);
}

function spend(text: string, budget: { left: number }): string {
  const spent = cut(text, Math.min(textMax, Math.max(0, budget.left)));
  budget.left -= spent.length;
  return spent;
}

function cut(text: string, max: number): string {
  return text.length <= max ? text : `${text.slice(0, max)}…`;
}

/** Properties of an error that name things of the schema or of the network, never a value of a row. */
const loggedProperties = [
  "code",
  "severity",
  "routine",
  "schema",
  "table",
  "column",
  "constraint",
  "syscall",
  "address",
  "port",
] as const;

/** Texts of the database driver about its own connection: the same every time, with nothing filled in. */
const harmlessMessages: ReadonlySet<string> = new Set([
  "Connection terminated",
  "Connection terminated unexpectedly",
  "Connection terminated due to connection timeout",
  "Client has encountered a connection error and is not queryable",
  "Query read timeout",
  "timeout expired",
  "timeout exceeded when trying to connect",
  "Cannot use a pool after calling end on the pool",
]);

/** The few texts of the language itself that quote the value they are about. */
const quotingMessage = /^Cannot (use 'in' operator|create property|assign to read only property)/;

/** `src/` or, once built, `dist/`; a frame names a file by its URL or, for a loader such as a test runner's, by its path. */
const ownFolder = new URL("../", import.meta.url);
const ownCode = [ownFolder.href, fileURLToPath(ownFolder)] as const;

const causesMax = 3;
const framesMax = 10;

/**
 * An error by allow-list. The message only of errors made by our own code, where we know what is in it: PostgreSQL quotes
 * rows, `JSON.parse` quotes bodies, `new URL` quotes what may hold a password.
 */
export function toLoggedError(error: unknown, causes = 0): LogFields {
  if (!(error instanceof Error)) return { name: typeof error };

  const logged: Record<string, unknown> = { name: cut(error.name, 100) };
  const properties: Readonly<Record<string, unknown>> = { ...error };

  for (const name of loggedProperties) {
    const value = properties[name];
    if (typeof value === "string" || typeof value === "number") logged[name] = value;
  }

  const frames = toFrames(error);
  const fromDatabase = "severity" in properties && "routine" in properties;
  const quotes = fromDatabase || quotingMessage.test(error.message);
  const isOurs = isOwnFrame(frames[0] ?? "") && !quotes;
  if (isOurs || harmlessMessages.has(error.message)) logged["message"] = error.message;

  const ownFrames = frames.filter(isOwnFrame).slice(0, framesMax);
  if (ownFrames.length > 0) logged["stack"] = ownFrames.map(withoutFolder);

  if (error.cause !== undefined && causes < causesMax) {
    logged["cause"] = toLoggedError(error.cause, causes + 1);
  }
  return logged;
}

function isOwnFrame(frame: string): boolean {
  return ownCode.some((folder) => frame.includes(folder));
}

function withoutFolder(frame: string): string {
  return ownCode.reduce((shorter, folder) => shorter.replace(folder, ""), frame);
}

/** The stack without its head: V8 repeats the message there, over as many lines as it has. */
function toFrames(error: Error): readonly string[] {
  const head = `${error.name}: ${error.message}`;
  const stack = error.stack ?? "";
  const tail = stack.startsWith(head) ? stack.slice(head.length) : stack;

  return tail
    .split("\n")
    .filter((line) => /^ {4}at .*(:\d+:\d+\)?|\(<anonymous>\))$/.test(line))
    .map((line) => line.trim());
}
