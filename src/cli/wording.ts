/** How counts, durations, long texts and sentences are put into words. Pure. */

/** `1 account`, `2 accounts`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** At most so many characters, cut between words where there are any. */
export function toShortened(text: string, most: number): string {
  if (text.length <= most) return text;
  const cut = text.slice(0, most - 1);
  const lastSpace = cut.lastIndexOf(" ");
  return `${(lastSpace > most / 2 ? cut.slice(0, lastSpace) : cut).trimEnd()}…`.toWellFormed();
}

/** `850 ms`, `12 s`, `4 min`, `3 h`, `2 d`: rounded to the unit that a reader needs. */
export function toDuration(ms: number): string {
  const units = [
    { unit: "d", ms: 86_400_000 },
    { unit: "h", ms: 3_600_000 },
    { unit: "min", ms: 60_000 },
    { unit: "s", ms: 1_000 },
  ];
  const fitting = units.find((each) => ms >= 2 * each.ms) ?? (ms >= 1_000 ? units.at(-1) : null);
  return fitting === null || fitting === undefined
    ? `${Math.max(0, Math.round(ms))} ms`
    : `${Math.round(ms / fitting.ms)} ${fitting.unit}`;
}

export function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
