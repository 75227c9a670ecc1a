/**
 * Ends syncs through whatever trouble there is, in batches (settle.ts): what an answer gave out is kept in memory until it is journaled, since
 * the request cannot be taken back. And says what is worth a metric or a warning.
 */
import type { LastSource } from "../account/load.ts";
import type { Clock } from "../clock.ts";
import type { Database } from "../db/database.ts";
import { isClosed } from "../db/error-code.ts";
import { type AwayRetry, retryWhileAway } from "../db/retry-while-away.ts";
import type { Observe } from "../ops/observe.ts";
import type { Claim, Queue } from "../queue/queue.ts";
import { batchedAccounts, bytesOfIds } from "./batch.ts";
import type { Conclusion } from "./conclusion.ts";
import { toAnswers } from "./finish-attempts.ts";
import { type Answered, journalAnswers, type StrayCustomer } from "./journal.ts";
import { rowOf } from "./map-ids.ts";
import type { FailedRows, Outcome } from "./outcome.ts";
import { settleAll } from "./settle.ts";

/**
 * No request waits for a settling. At 1,450 accounts a second it came in batches of seven; of thirty it takes a seventh less of the
 * processor in all. Not longer: until an answer is journaled, a crash leaves its create in doubt.
 */
const GATHERING = { enough: 32, forMs: 15 };

export interface SettlingOptions {
  readonly clock: Clock;
  readonly db: Database;
  readonly queue: Queue;
  readonly delayAfter: (attempts: number) => number;
  readonly lastSource: LastSource;
  readonly observe: Observe;
  readonly retrying: (doing: string, signal: AbortSignal) => AwayRetry;
}

export interface Settling {
  /** At once. Where a settling follows, that does it. */
  journalAnswer(answered: Answered, signal: AbortSignal): Promise<void>;
  /** Writes back and settles. Resolves null when the lease was lost. */
  settle(conclusion: Conclusion, signal: AbortSignal): Promise<Outcome | null>;
}

export function createSettling(options: SettlingOptions): Settling {
  const { clock, db, queue, delayAfter, lastSource, observe, retrying } = options;
  const onStray = (stray: StrayCustomer) => observe.strayCustomer(stray);
  const onTrouble = (error: unknown) =>
    observe.databaseTrouble({ doing: "waking accounts that wait", error });
  const settleBatch = batchedAccounts<Conclusion, Outcome | null>(
    (conclusions) =>
      settleAll({ clock, db, queue, delayAfter, lastSource, onStray, onTrouble }, conclusions),
    (conclusion) => (conclusion.kind === "accepted" ? bytesOfIds(conclusion.received) : 0),
    { ...GATHERING, clock },
  );
  const answerBatch = batchedAccounts<Answered, true>(
    async (answers) => {
      for (const stray of await journalAnswers(db, answers)) onStray(stray);
      return answers.map(() => true);
    },
    ({ received }) => bytesOfIds(received),
  );

  const journalAnswer = async (answered: Answered, signal: AbortSignal) => {
    const retry = retrying("journaling an answer", signal);
    await retryWhileAway({ ...retry, mayPass: (error) => !isClosed(error) }, () =>
      answerBatch(answered),
    );
  };
  const settleRetrying = (conclusion: Conclusion, signal: AbortSignal) =>
    retryWhileAway(retrying("settling", signal), () => settleBatch(conclusion));
  const settleAnyhow = async (conclusion: Conclusion, signal: AbortSignal) => {
    const [answer] = toAnswers([conclusion]);
    if (answer === undefined || conclusion.kind === "ended")
      return await settleRetrying(conclusion, signal);
    try {
      return await settleBatch(conclusion);
    } catch (error) {
      observe.databaseTrouble({ doing: "settling", error });
    }
    await journalAnswer(answer, signal);
    return await settleRetrying({ ...conclusion, isJournaled: true }, signal);
  };

  return {
    journalAnswer,
    async settle(conclusion, signal) {
      const outcome = await settleAnyhow(conclusion, signal);
      if (outcome !== null) {
        reportConflicts(observe, conclusion.claim, outcome);
        reportMended(observe, conclusion, outcome);
      }
      return outcome;
    },
  };
}

/** Once per conflict: while other ids of the answer still wait to be written, all of it comes here again. */
function reportConflicts(
  observe: Pick<Observe, "idConflict">,
  { accountId }: Claim,
  { errorClass, failed }: Outcome,
): void {
  if (errorClass === "database") return;
  const isConflict = ({ reason }: FailedRows) => reason === "id_conflict";
  for (const { entity, count } of failed.filter(isConflict))
    for (let told = 0; told < count; told += 1) observe.idConflict({ accountId, entity });
}

function reportMended(
  observe: Pick<Observe, "idsMended">,
  conclusion: Conclusion,
  { errorClass, rows = [] }: Outcome,
): void {
  if (conclusion.kind !== "accepted" || errorClass === "database") return;
  const { restored = [], unmapped = [] } = conclusion.attempt.sent;
  const written = new Set(
    rows.filter(({ status }) => status === "written").map(({ entity, id }) => `${entity} ${id}`),
  );
  const mended = {
    restored: restored.filter(({ entity, id }) => written.has(`${rowOf(entity)} ${id}`)).length,
    followed: unmapped.filter(({ mappedAs }) => mappedAs !== null).length,
  };
  if (mended.restored + mended.followed > 0)
    observe.idsMended({ accountId: conclusion.claim.accountId, ...mended });
}
