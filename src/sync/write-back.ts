/**
 * The last verb: writes external ids to `uuid_be`. Besides it only the SQL functions `adopt` and `forget` do, by which a
 * person decides.
 *
 * Never waits for a row (SKIP LOCKED): against applications that lock parents and children in their own order, a plain batch
 * measured 52 application deadlocks in five seconds, one in key order 56, this way none. A row that is locked is tried again in
 * a moment. Never overwrites what it did not read: an operator's edit in between wins.
 */
import type { MappedEntity } from "../account/mapped-ids.ts";
import type { SentRows } from "../customer-command/command.ts";
import type { ReceivedIds } from "../customer-command/match-ids.ts";
import type { Transaction } from "../db/database.ts";
import { isContention } from "../db/error-code.ts";
import { isSameId } from "../same-id.ts";
import type { RowResult, RowStatus } from "./outcome.ts";

/** The ids one account's answer brought. */
export interface WriteBack {
  readonly sent: SentRows;
  readonly received: ReceivedIds;
  readonly userId: string;
  /** A person asked for it: a different id that was there when it was read is replaced. */
  readonly replace: boolean;
}

export interface WriteBackOptions {
  readonly hasBranchIds: boolean;
  /** Each row in a savepoint of its own, so that one the database refuses costs only itself. */
  readonly rowByRow: boolean;
}

/** Resolves with the results per write-back, in order. */
export async function writeBack(
  tx: Transaction,
  writeBacks: readonly WriteBack[],
  options: WriteBackOptions,
): Promise<RowResult[][]> {
  const writes = [
    () => writeAccounts(tx, writeBacks, options),
    () => writeChildren(tx, childrenOf(writeBacks, "tier"), "tier", options),
    () => writeChildren(tx, childrenOf(writeBacks, "pic"), "pic", options),
  ];
  // Savepoints are for one table at a time.
  const results = options.rowByRow
    ? await oneByOne(writes)
    : await Promise.all(writes.map((write) => write()));

  return writeBacks.map(({ sent }) => results.flatMap((rows) => rows.get(sent.accountId) ?? []));
}

async function oneByOne<Result>(works: readonly (() => Promise<Result>)[]): Promise<Result[]> {
  const results: Result[] = [];
  for (const work of works) results.push(await work());
  return results;
}

/** The ids of an answer, with those that were known and that their rows have lost. The answer's go first. */
export function withRestored(received: ReceivedIds, { restored = [] }: SentRows): ReceivedIds {
  if (restored.length === 0) return received;
  const one = (entity: MappedEntity) =>
    restored.find((row) => row.entity === entity)?.externalId ?? null;
  const others = (entity: MappedEntity, answered: readonly { readonly id: string }[]) => {
    const ids = new Set(answered.map(({ id }) => id));
    return restored.filter((row) => row.entity === entity && !ids.has(row.id));
  };
  return {
    ...received,
    customer: received.customer ?? one("account"),
    branch: received.branch ?? one("branch"),
    tiers: [...received.tiers, ...others("tier", received.tiers)],
    pics: [...received.pics, ...others("pic", received.pics)],
  };
}

/** What to do with one id, by what stands on the row now, what was read before sending, and what came back. */
export function decideWrite(ids: {
  readonly current: string | null;
  readonly read: string | null;
  readonly received: string;
  readonly replace: boolean;
}): "write" | "confirmed" | "conflict" {
  if (isSameId(ids.current, ids.received)) return "confirmed";
  // The row has no id, or has lost it: the application puts null over it when it saves a row as it was loaded before.
  if (ids.current === null) {
    const isFree = ids.read === null || isSameId(ids.read, ids.received) || ids.replace;
    return isFree ? "write" : "conflict";
  }
  return ids.current === ids.read && ids.replace ? "write" : "conflict";
}

function decideOptionalWrite(
  current: string | null,
  read: string | null,
  received: string | null,
  replace: boolean,
) {
  return received === null ? "confirmed" : decideWrite({ current, read, received, replace });
}

interface AccountIds {
  readonly id: string;
  readonly externalId: string | null;
  readonly branchExternalId: string | null;
}

async function writeAccounts(
  tx: Transaction,
  writeBacks: readonly WriteBack[],
  options: WriteBackOptions,
): Promise<Map<string, RowResult[]>> {
  const results = new Map<string, RowResult>();
  const wanted = writeBacks.filter(
    ({ received }) =>
      received.customer !== null || (options.hasBranchIds && received.branch !== null),
  );
  if (wanted.length === 0) return new Map();

  const rows = await tx.run<AccountIds>("read_account_ids", [
    wanted.map(({ sent }) => sent.accountId),
  ]);
  const current = new Map(rows.map((row) => [row.id, row]));
  const writes: AccountWrite[] = [];
  for (const { sent, received, userId, replace } of wanted) {
    const result = {
      entity: "account" as const,
      id: sent.accountId,
      externalId: received.customer ?? received.branch ?? "",
      error: null,
    };
    const row = current.get(sent.accountId);
    if (row === undefined) {
      results.set(sent.accountId, { ...result, status: "gone" });
      continue;
    }

    const customer = decideOptionalWrite(
      row.externalId,
      sent.externalId,
      received.customer,
      replace,
    );
    const branch = options.hasBranchIds
      ? decideOptionalWrite(row.branchExternalId, sent.branchExternalId, received.branch, replace)
      : "confirmed";
    const isConflict = customer === "conflict" || branch === "conflict";
    results.set(sent.accountId, {
      ...result,
      ...(customer !== "conflict" &&
        branch === "conflict" && { externalId: received.branch ?? "" }),
      status: isConflict ? "conflict" : "confirmed",
    });
    if (customer !== "write" && branch !== "write") continue;
    writes.push({
      accountId: sent.accountId,
      externalId: customer === "write" ? received.customer : row.externalId,
      readExternalId: row.externalId,
      userId,
      branchExternalId: branch === "write" ? received.branch : row.branchExternalId,
      readBranchExternalId: row.branchExternalId,
    });
  }

  const query = options.hasBranchIds ? "write_account_and_branch_ids" : "write_account_ids";
  const run = async (batch: readonly AccountWrite[]) => {
    const ids = batch.map((write) => write.accountId);
    const written = await tx.run<{ id: string }>(query, [
      ids,
      ids,
      batch.map((write) => write.externalId),
      batch.map((write) => write.readExternalId),
      batch.map((write) => write.userId),
      ...(options.hasBranchIds
        ? [
            batch.map((write) => write.branchExternalId),
            batch.map((write) => write.readBranchExternalId),
          ]
        : []),
    ]);
    return written.map((row) => row.id);
  };
  const outcome = await runWrites(tx, writes, options, run);
  for (const write of writes) {
    const planned = results.get(write.accountId);
    if (planned === undefined) continue;
    const became = statusOf(write.accountId, outcome);
    // A conflict of the one id is told once the other one is written.
    if (planned.status === "conflict" && became.status === "written") continue;
    results.set(write.accountId, { ...planned, ...became });
  }
  return Map.groupBy(results.values(), ({ id }) => id);
}

interface AccountWrite {
  readonly accountId: string;
  readonly externalId: string | null;
  readonly readExternalId: string | null;
  readonly userId: string;
  readonly branchExternalId: string | null;
  readonly readBranchExternalId: string | null;
}

interface ChildWrite {
  readonly accountId: string;
  readonly id: string;
  readonly read: string | null;
  readonly received: string;
  readonly userId: string;
  readonly replace: boolean;
}

function childrenOf(writeBacks: readonly WriteBack[], entity: "tier" | "pic"): ChildWrite[] {
  return writeBacks.flatMap(({ sent, received, userId, replace }) => {
    const read = new Map(
      (entity === "tier" ? sent.tiers : sent.pics).map((row) => [row.id, row.externalId]),
    );
    return (entity === "tier" ? received.tiers : received.pics).map((row) => ({
      accountId: sent.accountId,
      id: row.id,
      read: read.get(row.id) ?? null,
      received: row.externalId,
      userId,
      replace,
    }));
  });
}

async function writeChildren(
  tx: Transaction,
  children: readonly ChildWrite[],
  entity: "tier" | "pic",
  options: WriteBackOptions,
): Promise<Map<string, RowResult[]>> {
  const results: (RowResult & { readonly accountId: string })[] = [];
  if (children.length > 0) {
    const rows = await tx.run<{ id: string; accountId: string | null; externalId: string | null }>(
      `read_${entity}_ids`,
      [children.map((child) => child.id)],
    );
    const current = new Map(rows.map((row) => [row.id, row]));

    const plan = children.map((child) => {
      const row = current.get(child.id);
      const decision =
        row === undefined || row.accountId !== child.accountId
          ? ("gone" as const)
          : decideWrite({
              current: row.externalId,
              read: child.read,
              received: child.received,
              replace: child.replace,
            });
      return { child, decision, current: row?.externalId ?? null };
    });

    const writes = plan
      .filter(({ decision }) => decision === "write")
      .map(({ child, current }) => ({ ...child, current }));
    const outcome = await runWrites(tx, writes, options, async (batch) => {
      const ids = batch.map((child) => child.id);
      const written = await tx.run<{ id: string }>(`write_${entity}_ids`, [
        ids,
        ids,
        batch.map((child) => child.received),
        batch.map((child) => child.current),
        batch.map((child) => child.userId),
        batch.map((child) => child.accountId),
      ]);
      return written.map((row) => row.id);
    });

    for (const { child, decision } of plan) {
      results.push({
        accountId: child.accountId,
        entity,
        id: child.id,
        externalId: child.received,
        ...(decision === "write" ? statusOf(child.id, outcome) : { status: decision, error: null }),
      });
    }
  }
  return Map.groupBy(results, (result) => result.accountId);
}

interface WrittenRows {
  readonly ids: ReadonlySet<string>;
  readonly errors: ReadonlyMap<string, unknown>;
}

/** All writes in one statement; or, row by row, each in a savepoint. */
async function runWrites<Write extends { readonly accountId: string; readonly id?: string }>(
  tx: Transaction,
  writes: readonly Write[],
  options: WriteBackOptions,
  run: (batch: readonly Write[]) => Promise<string[]>,
): Promise<WrittenRows> {
  if (writes.length === 0) return { ids: new Set(), errors: new Map() };
  if (!options.rowByRow) return { ids: new Set(await run(writes)), errors: new Map() };

  const ids = new Set<string>();
  const errors = new Map<string, unknown>();
  for (const write of writes) {
    const tried = await tx.trySavepoint(() => run([write]));
    if ("error" in tried) {
      // Left out, it counts as locked.
      if (!isContention(tried.error)) errors.set(write.id ?? write.accountId, tried.error);
    } else for (const id of tried.value) ids.add(id);
  }
  return { ids, errors };
}

function statusOf(id: string, written: WrittenRows): { status: RowStatus; error: unknown } {
  if (written.errors.has(id)) return { status: "failed", error: written.errors.get(id) };
  return { status: written.ids.has(id) ? "written" : "locked", error: null };
}
