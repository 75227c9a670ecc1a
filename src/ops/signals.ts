/** SIGTERM and SIGINT: the first asks for a drain, the second for leaving at once. */

/**
 * Under `npm start` one Ctrl-C reaches us twice, from the terminal and passed on by npm a few milliseconds later; within this
 * time a second signal is the echo of the first.
 */
const echoMs = 150;

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

    if (performance.now() - firstAt >= echoMs) second();
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
