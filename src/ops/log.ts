/**
 * The log: one JSON object (or, on a terminal, one readable line) per event on stdout. Only this file knows pino.
 *
 * A reader of stdout that is slow, stuck or gone never stops the sync: lines are dropped instead, and counted. Lines are bounded
 * (log-fields.ts), and no error brings in values of a row (logged-error.ts).
 */
import type { Writable } from "node:stream";
import { type Logger, pino, stdTimeFunctions } from "pino";
import { prettyFactory } from "pino-pretty";
import { boundFields, cut, type LogFields, TEXT_MAX, withTexts } from "./log-fields.ts";

export interface Log {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
  fatal(fields: LogFields, message: string): void;
}

/** What may wait in memory for a reader that is stuck: about a thousand lines. */
const BUFFERED_BYTES_MAX = 1024 * 1024;

export function createLog(options: {
  readonly level: string;
  readonly format: "json" | "pretty";
  readonly destination?: Writable;
  /** Applied to texts of ours in lines for people. Data, and lines for programs, are not changed. */
  readonly forPerson?: (text: string) => string;
}): Log {
  const sink = createLineSink(options.destination ?? process.stdout);
  const pretty = toPretty(options.destination === undefined, sink);
  const toText = options.format === "pretty" ? options.forPerson : undefined;
  const destination = options.format === "json" ? sink : { write: pretty };

  const log: Logger = pino(
    {
      level: options.level,
      base: { pid: process.pid },
      timestamp: stdTimeFunctions.isoTime,
      formatters: {
        level: (label) => ({ level: label }),
        log: (fields) => {
          const bounded = boundFields(fields);
          return toText === undefined ? bounded : withTexts(bounded, toText);
        },
      },
      // pino's own would write all properties of an error; boundFields has chosen them already.
      serializers: { err: (err) => err },
      hooks: {
        logMethod(args, method) {
          const [fields, message] = args as unknown as [LogFields, string];
          const text = cut(message, TEXT_MAX);
          method.call(this, fields, toText === undefined ? text : toText(text));
        },
      },
    },
    destination,
  );
  return log;
}

/**
 * Writes go through the stream and not through `fs.writeSync`: on a pipe Node first tries to write at once, so nothing is late or lost when
 * the process ends, and a full pipe queues in memory instead of blocking the only thread. (A write in a thread of the pool would block, too:
 * the process could not exit before it returns.)
 */
function createLineSink(stream: Writable): { write(line: string): void } {
  let droppedLines = 0;
  let readerIsGone = false;

  // Without a listener an EPIPE would end the process. Only a closed pipe is final: a full disk may have room again.
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE" || error.code === "ECONNRESET") readerIsGone = true;
  });

  return {
    write(line) {
      if (readerIsGone) return;
      if (stream.writableLength > BUFFERED_BYTES_MAX) {
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
    msg: "log lines were dropped because stdout was not read fast enough",
  };
  return `${JSON.stringify(line)}\n`;
}

function toPretty(isStdout: boolean, sink: { write(line: string): void }): (line: string) => void {
  const prettify = prettyFactory({
    colorize: isStdout && process.stdout.isTTY === true && process.stdout.hasColors(),
    ignore: "pid",
    // By default every field `error` is written over several lines, even the null of a run that succeeded.
    errorLikeObjectKeys: ["err"],
    translateTime: "SYS:HH:MM:ss.l",
    singleLine: true,
  });
  return (line) => sink.write(prettify(line));
}
