/**
 * The lines of a pipe or a file, byte for byte: only LF ends one. node:readline also splits at CR, U+2028 and U+2029, and decodes
 * bytes that are not UTF-8 to U+FFFD, so that a string literal would be stored changed. Reads on only when the next line is asked for.
 */
import { isUtf8 } from "node:buffer";
import { addAbortSignal, type Readable } from "node:stream";

const LF = 0x0a;

/**
 * Ends early, without an error, when `signal` is aborted. A byte order mark at the very beginning is left out.
 * @throws Error, one sentence that names the line, at bytes that no statement can hold
 */
export async function* readPipedLines(
  input: Readable,
  signal: AbortSignal,
): AsyncGenerator<string> {
  let number = 0;
  let parts: Buffer[] = [];

  const takeLine = (): string => {
    number += 1;
    const bytes = Buffer.concat(parts);
    parts = [];
    const line = decode(bytes, number);
    return number === 1 ? line.replace(/^\ufeff/, "") : line;
  };

  try {
    for await (const chunk of addAbortSignal(signal, input)) {
      const bytes: Buffer = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
      let start = 0;
      for (let end = bytes.indexOf(LF); end !== -1; end = bytes.indexOf(LF, start)) {
        parts.push(bytes.subarray(start, end));
        yield takeLine();
        start = end + 1;
      }
      parts.push(bytes.subarray(start));
    }
  } catch (error) {
    if (signal.aborted) return;
    throw error;
  }
  if (parts.some((part) => part.length > 0)) yield takeLine();
}

function decode(bytes: Buffer, number: number): string {
  if (bytes.includes(0))
    throw refuseLine(number, "has a zero byte, which no text in PostgreSQL has");
  if (!isUtf8(bytes)) throw refuseLine(number, "is not UTF-8");
  return bytes.toString("utf8");
}

function refuseLine(number: number, why: string): Error {
  return new Error(
    `Line ${number} of the input ${why}: its statement was not run, nor what comes after it.`,
  );
}
