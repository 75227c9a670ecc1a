/**
 * What of an error is logged, by allow-list. The message only of errors made by our own code, whose contents are known: PostgreSQL quotes
 * rows in `message` and `detail`, `JSON.parse` quotes bodies, `new URL` quotes what may contain a password.
 */
import { fileURLToPath } from "node:url";

type LoggedError = Readonly<Record<string, unknown>>;

/** @param causes how many causes have been followed already */
export function toLoggedError(error: unknown, causes = 0): LoggedError {
  if (!(error instanceof Error)) return { name: typeof error };

  const { name } = error;
  const logged: Record<string, unknown> = {
    name: name.length <= NAME_MAX ? name : `${name.slice(0, NAME_MAX)}…`,
  };
  const properties: Readonly<Record<string, unknown>> = { ...error };

  for (const property of LOGGED_PROPERTIES) {
    const value = properties[property];
    if (typeof value === "string" || typeof value === "number") logged[property] = value;
  }

  const frames = toFrames(error);
  const fromDatabase = "severity" in properties && "routine" in properties;
  const quotes = fromDatabase || QUOTING_MESSAGE.test(error.message);
  const isOurs = isOwnFrame(frames[0] ?? "") && !quotes;
  if (isOurs || HARMLESS_MESSAGES.has(error.message)) logged["message"] = error.message;

  const ownFrames = frames.filter(isOwnFrame).slice(0, FRAMES_MAX);
  if (ownFrames.length > 0) logged["stack"] = ownFrames.map(withoutFolder);

  if (error.cause !== undefined && causes < CAUSES_MAX) {
    logged["cause"] = toLoggedError(error.cause, causes + 1);
  }
  return logged;
}

/** Properties of an error that name things of the schema or of the network, never a value of a row. */
const LOGGED_PROPERTIES = [
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
const HARMLESS_MESSAGES: ReadonlySet<string> = new Set([
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
const QUOTING_MESSAGE = /^Cannot (use 'in' operator|create property|assign to read only property)/;

/** `src/` or, once built, `dist/`; a frame names a file by its URL or, for a loader such as a test runner's, by its path. */
const OWN_FOLDER = new URL("../", import.meta.url);
const OWN_CODE = [OWN_FOLDER.href, fileURLToPath(OWN_FOLDER)] as const;

const NAME_MAX = 100;
const CAUSES_MAX = 3;
const FRAMES_MAX = 10;

function isOwnFrame(frame: string): boolean {
  return OWN_CODE.some((folder) => frame.includes(folder));
}

function withoutFolder(frame: string): string {
  return OWN_CODE.reduce((shorter, folder) => shorter.replace(folder, ""), frame);
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
