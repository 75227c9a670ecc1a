/**
 * What changed between the command last accepted and the command of now. Of the accepted one only fingerprints are kept, so the answer
 * is a list of paths without values.
 */
import type { Account } from "../account/account.ts";
import type { CustomerCommand } from "./command.ts";
import type { FieldFingerprints, FingerprintsByPath } from "./field-fingerprints.ts";
import { fieldFingerprintsLike, fingerprintOf } from "./fingerprint.ts";

/**
 * External ids of our own rows do not count. Rows are compared by their position in the command: a row inserted between two others
 * makes those behind it look changed.
 */
export interface Difference {
  /** `none_accepted`: this would be the first command. `unknown`: a command was accepted, and no fingerprint of it is kept (any more). */
  readonly status: "none_accepted" | "unknown" | "same" | "different";
  /**
   * Whether the API is certain to hold the accepted command: no later send is in doubt, and no ids are missing. Then only a forced sync
   * sends a command that is the `same`.
   */
  readonly isCurrent: boolean;
  /** null when the changed fields are unknown: the history is gone, or the command has more than a thousand fields. */
  readonly paths: {
    /** A row that is new as a whole is one entry: `tier[2]`. */
    readonly added: readonly string[];
    readonly removed: readonly string[];
    readonly changed: readonly string[];
  } | null;
}

/** What is kept of the command last accepted. */
export interface LastAccepted {
  /** False when the API may hold something else by now: a later send is in doubt, or ids are missing. */
  readonly isCurrent: boolean;
  readonly fingerprint: string | null;
  readonly fieldFingerprints: FieldFingerprints | null;
}

/** @param lastAccepted null when the history was not read */
export function differenceOf(
  command: CustomerCommand,
  account: Pick<Account, "id" | "externalId">,
  lastAccepted: LastAccepted | null,
): Difference {
  const before = lastAccepted?.fingerprint ?? null;
  const isCurrent = lastAccepted?.isCurrent ?? false;
  if (before === null) {
    const isFirst = lastAccepted !== null && account.externalId === null;
    return { status: isFirst ? "none_accepted" : "unknown", isCurrent: false, paths: null };
  }
  if (before === fingerprintOf(command)) {
    return { status: "same", isCurrent, paths: { added: [], removed: [], changed: [] } };
  }

  const kept = lastAccepted?.fieldFingerprints ?? null;
  const fields = kept === null ? null : fieldFingerprintsLike(kept, command, account.id);
  return {
    status: "different",
    isCurrent,
    paths: fields === null ? null : comparePaths(fields.kept, fields.made),
  };
}

function comparePaths(before: FingerprintsByPath, after: FingerprintsByPath): Difference["paths"] {
  const pathsBefore = Object.keys(before);
  const pathsAfter = Object.keys(after);
  const added = pathsAfter.filter((path) => !Object.hasOwn(before, path));
  const removed = pathsBefore.filter((path) => !Object.hasOwn(after, path));
  const kept = pathsAfter.filter((path) => Object.hasOwn(before, path));

  return {
    added: toWholeRows(added, pathsBefore),
    removed: toWholeRows(removed, pathsAfter),
    changed: kept.filter((path) => before[path] !== after[path]),
  };
}

/** `tier[2]` in place of all of its fields, where the other side has no such row. */
function toWholeRows(paths: readonly string[], pathsOfOther: readonly string[]): string[] {
  const rowOf = (path: string) => /^[\w-]+\[\d+\]/.exec(path)?.[0] ?? path;
  const rowsOfOther = new Set(pathsOfOther.map(rowOf));
  return [...new Set(paths.map((path) => (rowsOfOther.has(rowOf(path)) ? path : rowOf(path))))];
}
