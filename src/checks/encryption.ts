/**
 * What the connection URLs ask for, and whether it is enough: encryption on the way to another machine, and nothing that would not count.
 *
 * The URL alone is looked at. No mode falls back to another one, so a session that stands is as its URL says; the server's own word
 * (pg_stat_ssl) would be about the last stretch only, from a pooler or proxy to the server, which no setting of ours changes.
 */
import type { Grounds } from "./check.ts";
import type { Finding } from "./names.ts";

const VERIFY =
  "sslmode=verify-full, with sslrootcert=<file> where the server's certificate is of a provider's or a private authority (docs/database-connection.md)";

export function lookAtEncryption({ urls }: Pick<Grounds, "urls">): Finding[] {
  return urls.flatMap(({ name, connection: { place, isLocal, sslmode, isVerified } }) => {
    // `disable` is an answer, too.
    if (isLocal || isVerified || sslmode === "disable") return [];
    return [
      sslmode === null
        ? {
            problem: `The connection to ${place} is not encrypted: ${name} has no sslmode, and customers' data can be read on the way.`,
            remedy: `Add ${VERIFY}; or say sslmode=disable where nothing can listen on the way.`,
          }
        : {
            problem: `The connection to ${place} is encrypted, but the server is not verified: with sslmode=require in ${name} any server may stand in for it.`,
            remedy: `Use ${VERIFY}.`,
          },
    ];
  });
}

export function lookAtUrlParameters({ urls }: Pick<Grounds, "urls">): Finding[] {
  return urls.flatMap(({ name, connection }) =>
    connection.ignored.map((predicate) => ({
      problem: `${name} ${predicate}.`,
      remedy: "Leave it out; docs/database-connection.md says what a URL may set.",
    })),
  );
}
