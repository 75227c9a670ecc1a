/** The fields of a command, each with its path: `tier[0].max_amount`. */

export interface Field {
  readonly path: string;
  readonly value: unknown;
}

/** Every field that has no fields below it (text, number, boolean, null), in the order of the command. An empty list has none. */
export function fieldsOf(value: unknown, path = ""): Field[] {
  if (Array.isArray(value)) {
    return value.flatMap((item: unknown, index) => fieldsOf(item, `${path}[${index}]`));
  }
  if (typeof value !== "object" || value === null) return [{ path, value }];
  return Object.entries(value).flatMap(([key, below]: [string, unknown]) =>
    fieldsOf(below, path === "" ? key : `${path}.${key}`),
  );
}

/** The paths of the fields for which `isWanted` holds, in the order of the command. */
export type FieldSearch = (
  value: unknown,
  isWanted: (field: unknown) => boolean,
) => readonly string[];

/**
 * Looks at the fields that a pattern names: `tier[].fee` is one field per tier, absent ones (`undefined`) included. A section that is
 * null has none. Takes a value of any shape.
 *
 * A command is searched some forty times, mostly in vain: the pattern is taken apart once, and a path is made only of a field that is found.
 */
export function createFieldSearch(pattern: string): FieldSearch {
  const steps = pattern
    .split(".")
    .flatMap((step) => (step.endsWith("[]") ? [step.slice(0, -2), "[]"] : [step]));

  return (value, isWanted) => pathsBelow(value, steps, 0, isWanted);
}

const NONE: readonly string[] = [];
const HERE: readonly string[] = [""];

function pathsBelow(
  value: unknown,
  steps: readonly string[],
  depth: number,
  isWanted: (field: unknown) => boolean,
): readonly string[] {
  const step = steps[depth];
  if (step === undefined) return isWanted(value) ? HERE : NONE;
  if (step === "[]") {
    return Array.isArray(value) ? pathsInList(value, steps, depth, isWanted) : NONE;
  }

  if (value === null) return NONE;
  const below = typeof value === "object" ? (value as Record<string, unknown>)[step] : undefined;
  const found = pathsBelow(below, steps, depth + 1, isWanted);
  return within(depth === 0 ? step : `.${step}`, found);
}

function pathsInList(
  list: readonly unknown[],
  steps: readonly string[],
  depth: number,
  isWanted: (field: unknown) => boolean,
): readonly string[] {
  const all: string[] = [];
  for (let index = 0; index < list.length; index += 1) {
    const found = pathsBelow(list[index], steps, depth + 1, isWanted);
    all.push(...within(`[${index}]`, found));
  }
  return all;
}

function within(prefix: string, paths: readonly string[]): readonly string[] {
  return paths.length === 0 ? NONE : paths.map((path) => prefix + path);
}

/** `tier[3].fee` → `tier[].fee` */
export function toPattern(path: string): string {
  return path.replaceAll(/\[\d+\]/g, "[]");
}
