/**
 * Work that comes in batches is done a few items at a time: between them the event loop reads answers that have come in, whose slots the
 * next requests wait for. A batch of 128 accounts that are validated in one go would leave them empty for many milliseconds.
 */

/** Resolves for at most `perTurn` callers in one turn of the event loop, in the order of asking. */
export function createPauses(perTurn: number): () => Promise<void> {
  const waiting: (() => void)[] = [];
  let taken = 0;

  const next = () => {
    const callers = waiting.splice(0, perTurn);
    taken = callers.length;
    if (taken > 0) setImmediate(next);
    for (const resolve of callers) resolve();
  };
  return async () => {
    if (taken === 0) setImmediate(next);
    taken += 1;
    if (taken > perTurn) await new Promise<void>((resolve) => waiting.push(resolve));
  };
}
