/**
 * Checks the connection URLs: that a connection to another machine is encrypted and verified, and that every parameter has an effect.
 *
 * The URLs alone are read. No mode falls back to another one, so a session is encrypted as its URL says. pg_stat_ssl would describe the
 * connection from a pooler or proxy to the server, which our settings do not change.
 */
import type { Diagnosis } from "../operator-error.ts";
import type { CheckContext } from "./check.ts";

const VERIFY =
  "sslmode=verify-full, with sslrootcert=<file> where the server's certificate is issued by a provider or a private authority (docs/database-connection.md)";

export function lookAtEncryption({ urls }: Pick<CheckContext, "urls">): Diagnosis[] {
  return urls.flatMap(({ name, connection: { place, isLocal, sslmode, isVerified } }) => {
    // With `disable` the clear text is intended.
    if (isLocal || isVerified || sslmode === "disable") return [];
    return [
      sslmode === null
        ? {
            problem: `The connection to ${place} is not encrypted: ${name} has no sslmode, and customers' data can be read in the network.`,
            remedy: `Add ${VERIFY}; or add sslmode=disable if the network is trusted.`,
          }
        : {
            problem: `The connection to ${place} is encrypted, but the server is not verified: with sslmode=require in ${name} any server is accepted.`,
            remedy: `Use ${VERIFY}.`,
          },
    ];
  });
}

export function lookAtUrlParameters({ urls }: Pick<CheckContext, "urls">): Diagnosis[] {
  return urls.flatMap(({ name, connection }) =>
    connection.ignored.map((predicate) => ({
      problem: `${name} ${predicate}.`,
      remedy: "Leave it out; docs/database-connection.md lists what a URL may set.",
    })),
  );
}
