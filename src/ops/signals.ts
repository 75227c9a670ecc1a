/** SIGTERM and SIGINT: the first one begins the drain, the second one ends the process. */

/**
 * Under `npm start` one Ctrl-C arrives twice, from the terminal and, a few milliseconds later, from npm: within this time a second signal
 * counts as the same one.
 */
const SAME_SIGNAL_MS = 150;

export function onShutdownSignals({
  first,
  second,
}: {
  readonly first: (signal: NodeJS.Signals) => void;
  readonly second: () => void;
}): { dispose(): void } {
  let firstAt: number | null = null;

  function onSignal(signal: NodeJS.Signals): void {
    if (firstAt === null) {
      firstAt = performance.now();
      first(signal);
      return;
    }

    if (performance.now() - firstAt >= SAME_SIGNAL_MS) second();
  }

  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);

  return {
    dispose() {
      process.off("SIGTERM", onSignal);
      process.off("SIGINT", onSignal);
    },
  };
}
