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

/**
 * The fields that a pattern names: `tier[].fee` is one field per tier, absent ones (`undefined`) included. A section that is null has
 * none. Takes a value of any shape.
 */
export function fieldsAt(value: unknown, pattern: string): Field[] {
  const steps = pattern
    .split(".")
    .flatMap((step) => (step.endsWith("[]") ? [step.slice(0, -2), "[]"] : [step]));

  return steps.reduce<Field[]>(
    (fields, step) => fields.flatMap((field) => stepInto(field, step)),
    [{ path: "", value }],
  );
}

function stepInto({ path, value }: Field, step: string): Field[] {
  if (step === "[]") {
    const items = Array.isArray(value) ? value : [];
    return items.map((item: unknown, index) => ({ path: `${path}[${index}]`, value: item }));
  }

  if (value === null) return [];
  const below = typeof value === "object" ? Reflect.get(value, step) : undefined;
  return [{ path: path === "" ? step : `${path}.${step}`, value: below }];
}

/** `tier[3].fee` → `tier[].fee` */
export function toPattern(path: string): string {
  return path.replaceAll(/\[\d+\]/g, "[]");
}
