/** A process of the bench and the run that started it: questions come in, answers go out, and it does not outlive the run. */

/** Says that the process is ready, and answers questions from then on. */
export function serveParent(answer: (question: never) => unknown = () => null): void {
  process.on("disconnect", () => process.exit());
  process.on("message", ({ number, question }: { number: number; question: never }) => {
    void Promise.resolve(answer(question)).then((value) =>
      process.send?.({ to: number, answer: value }),
    );
  });
  process.send?.({ ready: true });
}

/** @throws Error that names the missing variable */
export function setting(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set`);
  return value;
}

/** On the clock that all processes of a machine share, in milliseconds. */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
