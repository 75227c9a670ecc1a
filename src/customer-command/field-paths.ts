/** A command as a list of its fields, each with its path: `tier[0].max_amount`. */

export interface Field {
  readonly path: string;
  /** Text, number, boolean, or null: what has no fields below it. */
  readonly value: unknown;
}

/** In the order of the command. An empty list has no field. */
export function fieldsOf(value: unknown, path = ""): Field[] {
  if (Array.isArray(value)) {
    return value.flatMap((item: unknown, index) => fieldsOf(item, `${path}[${index}]`));
  }
  if (typeof value !== "object" || value === null) return [{ path, value }];
  return Object.entries(value).flatMap(([key, below]: [string, unknown]) =>
    fieldsOf(below, path === "" ? key : `${path}.${key}`),
  );
}

/** `tier[3].fee` → `tier[].fee` */
export function toPattern(path: string): string {
  return path.replaceAll(/\[\d+\]/g, "[]");
}
