/** The database session of the SQL prompt: connects, runs one text at a time, cancels it. Values come as the server writes them. */
import pg from "pg";
import { parseConnectionUrl } from "../db/connection-url.ts";
import { explained } from "../db/explained.ts";

export type SqlRows = pg.QueryArrayResult<(string | null)[]>;

export interface SqlSession {
  /** @throws OperatorError, or the error of the driver */
  connect(): Promise<void>;
  /** @throws Error, one sentence, when it is a COPY from or to the client */
  query(text: string, values?: readonly unknown[]): Promise<SqlRows>;
  /**
   * Ends the statement that runs, if any; the session goes on. Not behind a pooler, whose process ids differ from the server's: there the
   * statement ends with the connection.
   */
  cancel(): Promise<void>;
  /** Never rejects. */
  end(): Promise<void>;
}

export interface SqlSessionEvents {
  readonly onNotification: (channel: string, payload: string) => void;
  readonly onNotice: (severity: string, message: string) => void;
  readonly onLost: (error: Error) => void;
}

export const COPY_NEEDS_PSQL =
  "COPY through the connection (STDIN, STDOUT) needs psql; here, insert and select do the same.";

export function createSqlSession(url: string, events: SqlSessionEvents): SqlSession {
  const client = new pg.Client({ ...toConnection(url), types: { getTypeParser: () => String } });
  client.on("notification", ({ channel, payload }) =>
    events.onNotification(channel, payload ?? ""),
  );
  client.on("notice", ({ severity, message }) =>
    events.onNotice(severity ?? "NOTICE", message ?? ""),
  );
  client.on("error", events.onLost);

  return {
    async connect() {
      try {
        await client.connect();
      } catch (error) {
        throw explained(error, url);
      }
    },

    async query(text, values) {
      let isCopy = false;
      const onCopy = () => {
        isCopy = true;
      };
      client.connection.on("copyInResponse", onCopy).on("copyOutResponse", onCopy);
      try {
        const result = await client.query<(string | null)[]>({
          text,
          ...(values === undefined ? {} : { values: [...values] }),
          rowMode: "array",
        });
        if (isCopy) throw new Error(COPY_NEEDS_PSQL);
        return result;
      } catch (error) {
        throw isCopy ? new Error(COPY_NEEDS_PSQL, { cause: error }) : error;
      } finally {
        client.connection.off("copyInResponse", onCopy).off("copyOutResponse", onCopy);
      }
    },

    cancel: () => cancelQueryOf(client, url),

    end: () => client.end().catch(() => {}),
  };
}

const CONNECT_WITHIN_MS = 5_000;

function toConnection(url: string): pg.ClientConfig {
  const { client, options } = parseConnectionUrl(url);
  return {
    ...client,
    options,
    application_name: "account-sync sql",
    // A server that accepts the connection and never answers would keep the prompt, and a Ctrl-C, waiting.
    connectionTimeoutMillis: CONNECT_WITHIN_MS,
  };
}

async function cancelQueryOf(client: pg.Client, url: string): Promise<void> {
  const other = new pg.Client(toConnection(url));
  other.on("error", () => {});
  try {
    await other.connect();
    await other.query("select pg_cancel_backend($1) where pg_backend_pid() = $2", [
      processOf(client),
      processOf(other),
    ]);
  } catch {
    // The server is gone, and the statement with it.
  } finally {
    await other.end().catch(() => {});
  }
}

function processOf(client: pg.Client): number | null {
  return (client as pg.Client & { readonly processID: number | null }).processID;
}
