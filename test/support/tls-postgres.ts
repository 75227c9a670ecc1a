/** A PostgreSQL of a test's own that offers TLS, with certificates that are changed while it runs. */
import { X509Certificate } from "node:crypto";
import { chmod, chown, mkdir, mkdtemp, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import pg from "pg";
import type { Issued } from "./certificates.ts";
import { eventually } from "./eventually.ts";
import { type OwnPostgres, startOwnPostgres } from "./own-postgres.ts";

export interface TlsPostgres extends OwnPostgres {
  /** Where its socket is. */
  readonly socketDir: string;
  /** New sessions meet this certificate, with the chain that it is sent with. */
  serve(issued: Issued, chain?: string): Promise<void>;
  /** New sessions meet a server without TLS. */
  stopTls(): Promise<void>;
  /** A URL like the superuser's, with another host and user, and with this behind the `?`. */
  url(query: string, place?: { readonly host?: string; readonly user?: string }): string;
}

/** The role that may log in with TLS only, and the one that has to show a certificate as well. */
export const TLS_ONLY = "tls_only";
export const WITH_CERTIFICATE = "with_certificate";
const PASSWORD = "p/w";

export async function startTlsPostgres(clientAuthority: string): Promise<TlsPostgres> {
  // Removed with the server.
  const dataDir = await mkdtemp(join(tmpdir(), "account-sync-tls-"));
  const socketDir = join(dataDir, "socket");
  await mkdir(socketDir);
  // The server may run as another user.
  await chmod(socketDir, 0o777);
  const own = await startOwnPostgres({ dataDir, settings: { unix_socket_directories: socketDir } });
  const { server, database } = own;
  const owner = await stat(server.clusterDir);
  const inCluster = async (name: string, text: string) => {
    const file = join(server.clusterDir, name);
    await writeFile(file, text, { mode: 0o600 });
    await chown(file, owner.uid, owner.gid);
  };

  await database.query(
    `create role ${TLS_ONLY} login superuser password '${PASSWORD}';
     create role ${WITH_CERTIFICATE} login superuser password '${PASSWORD}'`,
  );
  await inCluster("clients.pem", clientAuthority);
  await inCluster(
    "pg_hba.conf",
    [
      `hostssl all ${TLS_ONLY} all scram-sha-256`,
      `hostssl all ${WITH_CERTIFICATE} all scram-sha-256 clientcert=verify-ca`,
      "host all postgres all scram-sha-256",
      "local all postgres scram-sha-256",
    ].join("\n"),
  );
  await database.query("alter system set ssl_ca_file = 'clients.pem'");

  return {
    ...own,
    socketDir,
    async serve(issued, chain = "") {
      await inCluster("server.key", issued.key);
      await inCluster("server.crt", issued.certificate + chain);
      await database.query("alter system set ssl = on");
      await database.query("select pg_reload_conf()");
      const { fingerprint256 } = new X509Certificate(issued.certificate);
      await eventually(async () => {
        if ((await servedBy(server.url)) !== fingerprint256) throw new Error("not served yet");
      });
    },
    async stopTls() {
      await database.query("alter system set ssl = off");
      await database.query("select pg_reload_conf()");
      await eventually(async () => {
        if ((await servedBy(server.url)) !== null) throw new Error("still served");
      });
    },
    url(query, { host = "localhost", user = "postgres" } = {}) {
      const { password, port } = new URL(server.url);
      const secret = user === "postgres" ? password : encodeURIComponent(PASSWORD);
      return `postgres://${user}:${secret}@${host}:${port}/postgres${query === "" ? "" : `?${query}`}`;
    },
  };
}

/** The fingerprint of the certificate that a new session meets; null where there is no TLS. */
async function servedBy(url: string): Promise<string | null> {
  const client = new pg.Client({ connectionString: url, ssl: { rejectUnauthorized: false } });
  client.on("error", () => {});
  try {
    await client.connect();
    const { stream } = (client as unknown as { connection: { stream: TLSSocket } }).connection;
    return stream.getPeerCertificate().fingerprint256;
  } catch (error) {
    if (error instanceof Error && /does not support SSL/.test(error.message)) return null;
    throw error;
  } finally {
    await client.end().catch(() => {});
  }
}
